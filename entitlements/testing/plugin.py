"""The pytest plugin: an engine in memory, its clock, and more engines like it, as fixtures.

pytest loads it by itself once the package is installed, and `-p no:entitlements` keeps it out. It
imports nothing of the package until a test asks for a fixture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from ..catalog.model import Catalog
    from ..engine import Entitlements
    from .clock import FrozenClock

OPTION: Final = "entitlements_catalog"
MARK: Final = "entitlements"
_NO_CATALOG: Final = (
    f"the fixture `ent` has no catalog: name its file in pytest's ini options, `{OPTION} = catalog.yaml`, "
    f"or give the test one, `@pytest.mark.{MARK}({{...}})`, or define a fixture `ent_catalog` that returns it"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the ini option that names the catalog."""
    parser.addini(OPTION, "the catalog of the fixture `ent`: a file, relative to the directory of the ini file")


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark that gives a test its own catalog."""
    config.addinivalue_line("markers", f"{MARK}(catalog): the catalog of the fixture `ent`")


@pytest.fixture(scope="session")
def ent_catalog(pytestconfig: pytest.Config) -> Catalog:
    """Return the catalog that the ini option names, loaded once; override it to take the catalog from elsewhere."""
    named = pytestconfig.getini(OPTION)
    if not named:
        pytest.fail(_NO_CATALOG, pytrace=False)
    return _loaded(named, pytestconfig)


@pytest.fixture
def ent_clock() -> FrozenClock:
    """Return a clock that stands at noon of 15 January 2026, UTC, until the test moves it."""
    from datetime import UTC, datetime  # noqa: PLC0415

    from .clock import FrozenClock  # noqa: PLC0415

    return FrozenClock(datetime(2026, 1, 15, 12, tzinfo=UTC))


@pytest.fixture
def ent_factory(request: pytest.FixtureRequest, ent_clock: FrozenClock) -> Iterator[Callable[..., Entitlements]]:
    """Open engines: `ent_factory(catalog=None, **options)`, in memory and on the test's clock unless told otherwise.

    Without a catalog it is the one of the test's mark, else that of the fixture `ent_catalog`. The
    options are those of `Entitlements`. What was opened is closed when the test is over.
    """
    from ..engine import Entitlements  # noqa: PLC0415

    with ExitStack() as engines:

        def opened(catalog: object = None, **options: Any) -> Entitlements:
            chosen = _catalog_of(request) if catalog is None else catalog
            return engines.enter_context(Entitlements(chosen, **{"storage": "memory:", "clock": ent_clock, **options}))

        yield opened


@pytest.fixture
def ent(ent_factory: Callable[..., Entitlements]) -> Entitlements:
    """Return an engine in memory, on the test's clock and catalog, of this test alone."""
    return ent_factory()


def _catalog_of(request: pytest.FixtureRequest) -> Catalog:
    """Return the catalog of the nearest mark, else what the fixture gives."""
    mark = request.node.get_closest_marker(MARK)
    if mark is None:
        return _loaded(request.getfixturevalue("ent_catalog"), request.config)
    if len(mark.args) != 1 or mark.kwargs:
        pytest.fail(f"@pytest.mark.{MARK} takes one argument: a mapping, a file or a Catalog", pytrace=False)
    return _loaded(mark.args[0], request.config)


def _loaded(named: object, config: pytest.Config) -> Catalog:
    """Return a catalog; a path is relative to the directory of the ini file, or to the root of the tests."""
    import os  # noqa: PLC0415

    from ..catalog.model import Catalog  # noqa: PLC0415

    if isinstance(named, Catalog):
        return named
    if isinstance(named, str | os.PathLike):
        base = config.rootpath if config.inipath is None else config.inipath.parent
        return Catalog.load(base / named)
    return Catalog.load(named)
