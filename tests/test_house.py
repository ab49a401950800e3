"""The house rules, executed: who may import whom, what stays pure, how long things may get."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import entitlements
import entitlements.aio
from entitlements.aio.bound import AsyncCustomer
from entitlements.aio.engine import AsyncEntitlements
from entitlements.aio.holds import AsyncHold
from entitlements.bound import Customer
from entitlements.engine import Entitlements
from entitlements.holds import Hold
from entitlements.storage.base import AsyncStorage, Storage
from entitlements.storage.threaded import Threaded

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "entitlements"
MODULES = {str(path.relative_to(PACKAGE).with_suffix("")).replace("/", "."): path for path in PACKAGE.rglob("*.py")}

PURE = re.compile(
    r"amounts|errors|frozen|periods|catalog\..+|ledger\..+|resolution|metering|judging|using|changing|upgrades|cases|deciding"
    r"|consuming|spending|shortages|granting|holding|refunding|balances"
    r"|rates|usage|weighing|charging|budgeting|capping|caps|usage_tree|plan_credits|alerting|thresholds"
    r"|decisions|contest|requests|wording|snapshots|reports\..+"
)
READS_FILES = {"catalog.loading", "catalog.pricing2yaml"}
IMPURE_IMPORTS = {
    "asyncio", "threading", "time", "sqlite3", "psycopg", "random", "os", "logging", "socket", "subprocess", "uuid",
    "io", "secrets",
}  # fmt: skip
IMPURE_CALLS = {"now", "utcnow", "today", "open", "print", "input", "monotonic", "read_text", "read_bytes", "urandom"}

# A module may import from the layers below its own, and from its own.
LAYERS = [
    r"errors|amounts|frozen|periods|wording|usage",
    r"catalog\..+",
    r"ledger\..+|decisions|snapshots|caps",
    r"requests|consuming|resolution|metering|weighing|judging|contest|rates|plan_credits|alerting|thresholds",
    (
        r"cases|changing|upgrades|using|spending|shortages|granting|holding|refunding|balances|deciding|hearing|resolved"
        r"|charging|budgeting|capping|usage_tree"
    ),
    r"storage\..+",
    r"steps|cache|offering|locating|versions|freshness|telling|desk|attempts|inquiries|reports\..+",
    r"holds|credit_verbs|usage_verbs|audit_verbs|engine|joined|bound|bound_credits|bound_usage",
    r"aio\.(?!gating).+",
    r"gating",
    r"aio.gating",
    r"gates|wrapping",
    r"web\..+|observing\..+|celery|openfeature|billing\..+|cli\..+|cli|testing\..+|__main__",
]
ALLOWED_UP = {
    ("ledger.facts", "catalog.model"),
    ("hearing", "offering"),
    ("errors", "catalog.problems"),
    ("errors", "decisions"),
    ("wording", "decisions"),
    ("requests", "periods"),
    ("catalog.model", "catalog.diff"),
}


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def layer(module: str) -> int | None:
    return next((n for n, pattern in enumerate(LAYERS) if re.fullmatch(pattern, module)), None)


def imports_of(module: str, path: Path) -> set[str]:
    """Return the modules of this package that a module imports, wherever in it."""
    package = module.split(".")[:-1]
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1] if node.level > 1 else package
            target = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            found |= {target} if target in MODULES else {f"{target}.{alias.name}".strip(".") for alias in node.names}
    return found & MODULES.keys()


CODE = sorted(name for name, path in MODULES.items() if path.name != "__init__.py")


@pytest.mark.parametrize("module", CODE)
def test_a_module_imports_only_what_lies_below_it(module: str) -> None:
    own = layer(module)
    assert own is not None, f"{module} has no place in the house yet: give it a layer"
    for target in imports_of(module, MODULES[module]):
        below = layer(target)
        assert below is not None
        assert below <= own or (module, target) in ALLOWED_UP, f"{module} imports {target}, which lies above it"


@pytest.mark.parametrize("module", [name for name in CODE if PURE.fullmatch(name)])
def test_what_decides_reads_no_clock_and_does_no_io(module: str) -> None:
    for node in ast.walk(tree(MODULES[module])):
        assert not isinstance(node, ast.AsyncFunctionDef | ast.Await), f"{module}:{node.lineno} is async"
        if isinstance(node, ast.Import):
            names = {alias.name.split(".")[0] for alias in node.names}
            allowed = {"os"} if module in READS_FILES else set()
            assert not names & (IMPURE_IMPORTS - allowed), f"{module}:{node.lineno} imports {names}"
        if isinstance(node, ast.ImportFrom) and not node.level:
            allowed = {"os"} if module in READS_FILES else set()
            assert (node.module or "").split(".")[0] not in IMPURE_IMPORTS - allowed, f"{module}:{node.lineno}"
        if isinstance(node, ast.Call) and module not in READS_FILES:
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            assert called not in IMPURE_CALLS, f"{module}:{node.lineno} calls {called}"


def test_the_engine_knows_no_concrete_storage() -> None:
    facades = {"engine", "desk", "steps", "inquiries", "bound", "gating"} | {
        name for name in CODE if name[:4] == "aio."
    }
    for module in sorted(facades):
        concrete = {name for name in imports_of(module, MODULES[module]) if name.startswith("storage.")}
        known = {"storage.base", "storage.opening", "storage.threads", "storage.joining"}
        assert concrete <= known, f"{module} imports {concrete}"


def test_no_storage_knows_a_catalog_or_decides() -> None:
    for module in (name for name in CODE if name.startswith("storage.")):
        for target in imports_of(module, MODULES[module]):
            assert target.startswith(("storage.", "ledger.", "errors")), f"{module} imports {target}"


def test_nothing_imports_the_testing_kit() -> None:
    for module in (name for name in CODE if not name.startswith("testing.")):
        assert not {name for name in imports_of(module, MODULES[module]) if name.startswith("testing.")}, module


@pytest.mark.parametrize("module", CODE)
def test_functions_have_at_most_60_lines_and_modules_400(module: str) -> None:
    source = MODULES[module].read_text(encoding="utf-8")
    assert source.count("\n") <= 400, f"{module} has {source.count(chr(10))} lines"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= 60, f"{module}.{node.name} has {length} lines"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_invariants_are_never_asserts(module: str) -> None:
    asserts = [node.lineno for node in ast.walk(tree(MODULES[module])) if isinstance(node, ast.Assert)]
    if not module.startswith("testing."):
        assert asserts == [], f"{module} asserts at {asserts}; an assert vanishes under -O"


def test_names_of_modules_are_nouns_of_the_domain() -> None:
    banned = {
        "utils",
        "util",
        "helpers",
        "helper",
        "manager",
        "service",
        "core",
        "common",
        "misc",
        "domain",
        "adapters",
    }
    assert not banned & {part for module in MODULES for part in module.split(".")}


def test_a_bound_customer_has_every_verb_of_the_engine_alike() -> None:
    verbs = {
        name: function
        for name, function in inspect.getmembers(Entitlements, inspect.isfunction)
        if not name.startswith("_") and "customer" in inspect.signature(function).parameters
    }
    del verbs["customer"]
    assert verbs.keys() == {
        name for name, _ in inspect.getmembers(Customer, inspect.isfunction) if not name.startswith("_")
    }
    for name, function in verbs.items():
        engine = [p for p in inspect.signature(function).parameters.values() if p.name != "customer"]
        bound = list(inspect.signature(getattr(Customer, name)).parameters.values())
        assert [(p.name, p.kind, p.default) for p in engine] == [(p.name, p.kind, p.default) for p in bound], name
        assert (
            inspect.signature(function).return_annotation
            == inspect.signature(getattr(Customer, name)).return_annotation
        )


PLAIN = {"on", "customer", "report", "joined"}  # nothing in them waits
ENTERED = {"reserve", "reserve_credits"}  # awaited, or entered by `async with`
TWINS = [
    (Entitlements, AsyncEntitlements),
    (Customer, AsyncCustomer),
    (Hold, AsyncHold),
    (Storage, AsyncStorage),
    (Storage, Threaded),
]


def methods_of(kind: type) -> dict[str, Callable[..., object]]:
    return {name: method for name, method in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}


def shape_of(function: Callable[..., object]) -> list[tuple[str, object, object]]:
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


def differences(blocking: type, awaited: type) -> list[str]:
    """Return how an awaited class differs from its blocking twin in names, parameters, defaults, first lines and colour."""
    ours, theirs = methods_of(blocking), methods_of(awaited)
    found = [f"{name} is on one side alone" for name in sorted(ours.keys() ^ theirs.keys())]
    for name in sorted(ours.keys() & theirs.keys()):
        if shape_of(ours[name]) != shape_of(theirs[name]):
            found.append(f"{name}: {inspect.signature(ours[name])} against {inspect.signature(theirs[name])}")
        if (ours[name].__doc__ or "").split("\n")[0].rstrip(".") not in (theirs[name].__doc__ or ""):
            found.append(f"{name} is described differently")
        waits = inspect.iscoroutinefunction(theirs[name])
        if waits == (name in PLAIN | ENTERED) and "kept" not in name:
            found.append(f"{name} is {'' if waits else 'not '}a coroutine function")
    return found


@pytest.mark.parametrize(("blocking", "awaited"), TWINS)
def test_what_is_awaited_is_alike_in_everything_else(blocking: type, awaited: type) -> None:
    assert differences(blocking, awaited) == []
    assert shape_of(Entitlements.__init__) == shape_of(AsyncEntitlements.__init__)


def test_a_verb_that_is_missing_or_different_would_be_found() -> None:
    missing = type("Missing", (), {name: m for name, m in methods_of(AsyncEntitlements).items() if name != "promote"})
    assert differences(Entitlements, missing) == ["promote is on one side alone"]

    class Different(AsyncEntitlements):
        async def free(self, customer: str, feature: str, amount: int = 2, *, key: str | None = None) -> None:
            """Give."""

        def cancel(self, *args: object, **kwargs: object) -> None:
            """Forget."""

    found = differences(Entitlements, Different)
    assert [line.split(":")[0].split(" is ")[0] for line in found] == ["cancel"] * 3 + ["free"] * 2


@pytest.mark.parametrize("name", ["configure", "check", "consume_credits"])
def test_the_module_functions_have_awaited_twins(name: str) -> None:
    awaited = getattr(entitlements.aio, name)
    assert inspect.iscoroutinefunction(awaited)
    if hasattr(entitlements, name):
        assert shape_of(awaited) == shape_of(getattr(entitlements, name))


def test_every_public_name_resolves_and_is_documented() -> None:
    homes = entitlements._HOMES
    assert sorted(entitlements.__all__) == sorted(name for names in homes.values() for name in names)
    reference = "\n".join(
        page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs" / "reference").glob("*.md"))
    )
    for name in entitlements.__all__:
        assert getattr(entitlements, name).__doc__, f"{name} has no docstring"
        assert f"`{name}" in reference, f"{name} is not in docs/reference"
    for name in (name for name in dir(Entitlements) if not name.startswith("_")):
        assert f"`{name}" in reference, f"Entitlements.{name} is not in docs/reference"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Entitlement'"):
        entitlements.Entitlement  # noqa: B018
    assert {"Entitlements", "check"} <= set(dir(entitlements))
