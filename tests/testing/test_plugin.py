"""The pytest plugin, in runs of pytest of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from entitlements import Catalog, Entitlements

pytest_plugins = ["pytester"]

CATALOG = """
features:
  exports: {type: boolean}
  reports: {type: metered, reset: month}
plans:
  pro: {trial: {days: 14}, entitlements: {exports: true, reports: 2}}
"""
USING_ENT = """
    from datetime import timedelta

    def test_first(ent, ent_clock):
        ent.start_trial("acme", "pro")
        assert ent.consume("acme", "reports", 2)
        ent_clock.advance(timedelta(days=14))
        assert ent.check("acme", "exports").code == "trial_ended"

    def test_second(ent, ent_clock):
        assert ent_clock().isoformat() == "2026-01-15T12:00:00+00:00"
        assert ent.check("acme", "exports").code == "unknown_customer"
"""


@pytest.fixture(scope="module", autouse=True)
def everything_imported(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A run within this process forgets the modules it imported; C extensions cannot be imported twice."""
    directory = tmp_path_factory.mktemp("imported")
    (directory / "catalog.yaml").write_text(CATALOG)
    with Entitlements(Catalog.load(directory / "catalog.yaml"), storage=f"sqlite:///{directory}/app.db") as ent:
        assert ent.start_trial("acme", "pro")


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project with a catalog beside its ini file; the plugin comes by its entry point alone."""
    pytester.makefile(".yaml", catalog=CATALOG)
    pytester.makeini("[pytest]\nentitlements_catalog = catalog.yaml\naddopts = -p no:cov --strict-markers")
    return pytester


def test_an_installed_package_gives_every_test_an_engine_of_its_own(project: pytest.Pytester) -> None:
    project.makepyfile(USING_ENT)
    project.runpytest_subprocess().assert_outcomes(passed=2)


def test_the_catalog_is_found_beside_the_ini_file_from_any_directory(project: pytest.Pytester) -> None:
    inner = project.mkdir("inner")
    (inner / "test_inner.py").write_text("def test_it(ent):\n    assert list(ent.catalog.plans) == ['pro']\n")
    project.chdir()
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "test_inner.py"], cwd=inner, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout


def test_the_nearest_mark_beats_the_fixture_and_the_fixture_beats_the_option(project: pytest.Pytester) -> None:
    project.makepyfile("""
        import pytest

        @pytest.fixture
        def ent_catalog():
            return {"features": {"fixture": {"type": "boolean"}}}

        def test_of_the_fixture(ent):
            assert list(ent.catalog.features) == ["fixture"]

        @pytest.mark.entitlements({"features": {"marked": {"type": "boolean"}}})
        class TestMarked:
            def test_of_the_class(self, ent, ent_factory):
                assert list(ent.catalog.features) == list(ent_factory().catalog.features) == ["marked"]

            @pytest.mark.entitlements("catalog.yaml")
            def test_of_its_own(self, ent):
                assert list(ent.catalog.plans) == ["pro"]
    """)
    project.runpytest_inprocess().assert_outcomes(passed=3)


def test_the_factory_opens_engines_that_share_a_clock_and_are_closed_afterwards(project: pytest.Pytester) -> None:
    project.makepyfile("""
        import pytest
        from entitlements import StorageUnavailable
        from entitlements.storage.memory import MemoryStorage

        opened = []

        def test_opening(ent_factory, ent_clock, tmp_path):
            storage = MemoryStorage()
            one, other = ent_factory(storage=storage), ent_factory(storage=storage)
            one.subscribe("acme", "pro")
            assert other.check("acme", "exports")
            assert other.check("acme", "exports").catalog_version == one.catalog.version
            plain = ent_factory({"features": {}}, storage=f"sqlite:///{tmp_path}/app.db")
            assert plain.check("acme", "exports").code == "unknown_feature"
            opened.extend([one, other, plain])

        def test_closed():
            assert len(opened) == 3
            for engine in opened:
                with pytest.raises(StorageUnavailable):
                    engine.entries("acme")
    """)
    project.runpytest_inprocess().assert_outcomes(passed=2)


def test_without_a_catalog_it_says_where_to_name_one(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\naddopts = -p no:cov")
    pytester.makepyfile(
        "def test_it(ent):\n    pass\n\ndef test_factory(ent_factory):\n    assert ent_factory({'features': {}})\n"
    )
    run = pytester.runpytest_inprocess()
    run.assert_outcomes(passed=1, errors=1)
    run.stdout.fnmatch_lines(["*`entitlements_catalog = catalog.yaml`*@pytest.mark.entitlements*`ent_catalog`*"])


def test_a_fixture_that_names_a_file_means_the_one_beside_the_ini_file(project: pytest.Pytester) -> None:
    inner = project.mkdir("inner")
    (inner / "test_inner.py").write_text("""
import pytest

@pytest.fixture
def ent_catalog():
    return "catalog.yaml"

def test_it(ent):
    assert list(ent.catalog.plans) == ["pro"]
""")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(inner)
        project.runpytest_inprocess("-c", "../tox.ini").assert_outcomes(passed=1)


@pytest.mark.parametrize("arguments", ["", "{}, {}", "catalog={}"])
def test_a_mark_that_gives_no_catalog_is_told_so(project: pytest.Pytester, arguments: str) -> None:
    project.makepyfile(f"import pytest\n\n@pytest.mark.entitlements({arguments})\ndef test_it(ent):\n    pass\n")
    run = project.runpytest_inprocess()
    run.assert_outcomes(errors=1)
    run.stdout.fnmatch_lines(["*pytest.mark.entitlements takes one argument*"])


def test_a_broken_catalog_fails_with_all_that_is_wrong_with_it(project: pytest.Pytester) -> None:
    project.makefile(".yaml", catalog="features: {a: {type: bolean}}\nplan: {}\n")
    project.makepyfile("def test_it(ent):\n    pass\n")
    run = project.runpytest_inprocess()
    run.assert_outcomes(errors=1)
    run.stdout.fnmatch_lines(["*CatalogError*", "*did you mean*boolean*"])


def test_pytest_runs_without_the_plugin_where_it_is_not_wanted(project: pytest.Pytester) -> None:
    project.makeini("[pytest]\naddopts = -p no:cov -p no:entitlements")
    project.makepyfile("def test_plain():\n    pass\n\ndef test_ent(ent):\n    pass\n")
    run = project.runpytest_subprocess()
    run.assert_outcomes(passed=1, errors=1)
    run.stdout.fnmatch_lines(["*fixture 'ent' not found*"])


def test_nothing_is_imported_for_a_test_that_asks_for_nothing(project: pytest.Pytester) -> None:
    """Neither the engine nor a library it stands on: a project that only has this installed pays nothing."""
    project.makepyfile("""
        import sys

        def test_plain():
            ours = {name for name in sys.modules if name.partition(".")[0] == "entitlements"}
            assert ours == {"entitlements", "entitlements.testing", "entitlements.testing.plugin"}
            assert not {"attrs", "cattrs", "yaml", "sqlite_utils"} & sys.modules.keys()
    """)
    project.runpytest_subprocess("-p", "no:hypothesispytest").assert_outcomes(passed=1)


def test_hypothesis_draws_public_values_by_their_types(tmp_path: Path) -> None:
    """In a process of its own, where nothing but Hypothesis itself can have told it."""
    program = """
import sys
import hypothesis.strategies as st
assert "entitlements.testing.strategies" not in sys.modules, "registered, but not built"
from hypothesis import Phase, find, settings
from entitlements import UNLIMITED, Block, Catalog, Decision, Entry, Subscription, Unlimited, Window
quick = settings(phases=[Phase.generate], database=None, deadline=None)
for kind in (Block, Catalog, Decision, Entry, Subscription, Unlimited, Window):
    assert isinstance(find(st.from_type(kind), lambda value: True, settings=quick), kind), kind
assert find(st.from_type(Unlimited), lambda value: True, settings=quick) is UNLIMITED
assert find(st.from_type(Catalog), lambda catalog: len(catalog.plans) > 1, settings=quick).plans
"""
    run = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
