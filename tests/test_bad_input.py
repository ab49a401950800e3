"""Bad input, over the whole interface: one clear typed error each, quickly, with nothing written.

Every verb is called with exactly one argument wrong, on both storages, and again under a decimal context in which
nearly every operation of decimal arithmetic raises. All outcomes must be the same.
"""

import re
import shutil
import time
from datetime import UTC, datetime, timedelta, timezone
from decimal import Context, Decimal, localcontext

import pytest

from entitlements import UNLIMITED, Decision, Entitlements, Request
from entitlements.errors import EntitlementsError, StorageError
from entitlements.testing import FrozenClock

START = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOSTILE = Context(prec=1, Emin=-1, Emax=1, traps=list(Context().flags))
LONG = "x" * 10_000
BOTTOMLESS: list[object] = []
BOTTOMLESS.append(BOTTOMLESS)
RAW = re.compile(
    r"unhashable|not supported between|object has no|must be (str|int|real)|positional|cannot be interpreted"
    r"|can't compare|can't subtract|can't adapt|not subscriptable|not iterable|unexpected keyword|InvalidOperation"
    r"|codec|Exceeds the|recursion|literal for"
)

WRONG_TYPES = [7, 1.5, True, b"acme", ["acme"], {"a": "b"}, object(), Decimal(1)]
NO_IDS = ["", LONG, "a\0b", "a\nb", "\ud800", "$acme", " acme", "acme ", "\u00a0"]
NO_NAMES = [*WRONG_TYPES, None]
UNKNOWN_NAMES = ["", "nope", LONG, "a\0b", "\ud800", "PRO", " pro"]
NO_INSTANTS = [
    START.replace(tzinfo=None),
    "2026-03-10T12:00:00Z",
    0,
    1.5,
    START.date(),
    datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))),
    datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
]
NO_NUMBERS = [
    1.5, 0.1, float("nan"), float("inf"), True, b"1", [1], object(), UNLIMITED,
    Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal("-Infinity"), Decimal("1E+3000000"),
    Decimal("1E-3000000"),
    Decimal("0." + "1" * 5000), Decimal("9" * 5000), -1, "-1", Decimal(-1), 10**100, -(10**100), 10**5000,
    "", " 1", "1 ", "1e6", "1_000", "0x10", "NaN", LONG, "\ud800", "a\0b",
]  # fmt: skip
NO_AMOUNTS = [*NO_NUMBERS, None, {"input": 3}, "0.5", Decimal("0.5"), 2**63, "9223372036854775808"]
NO_COUNTS = [0, -1, True, 1.5, "3", Decimal(3), 10**100, 10**5000, b"3", [3], 1_000_001]
NO_WORDS = [7, b"keep", ["keep"], "", "nope", LONG, "\ud800", "a\0b", object()]
NO_PROSE = [7, True, ["a"], {"a": 1}, b"agreed", "x" * 10_001, "a\0b", "\ud800", 0, [], b"", {}, False]
NO_SCOPES = [
    7, 1.5, ["team:a"], {}, {"team": 7}, {7: "team"}, {"team": ""}, {"team": LONG}, {"$team": "a"}, {"team": None},
    "", "team", "team:", ":a", "team:a/", "team:a/team:b", "team:%ff", "team:" + LONG, "team:a\0b", "team:\ud800",
]  # fmt: skip
NO_DIMENSIONS = ["model", 7, ["model"], {"model": 7}, {"model": None}, {7: "a"}, {"": "a"}, {"model": ""}, {"m": LONG}]
NO_VALUES = [
    1.5, float("nan"), b"1", object(), {1, 2}, None, BOTTOMLESS, Decimal("NaN"), Decimal("1E+3000000"), 10**5000,
    -1, 2**63, "1e6", "", " 1", "\ud800", "a\0b", LONG + "x", True, ["a"], {}, {"limit": 1.5},
    {"limit": -1}, {"limit": None},
    {"limit": 5, "rest": 5}, {5: 5}, {"limits": []}, {"limits": 5}, {"limit": 5, "reset": "fortnight"},
    {"limit": 5, "reset": {"every": "day", "count": 0}}, {"limit": 5, "ceiling": 9}, {"limit": 5, "mode": "add"},
]  # fmt: skip
NO_ASKED_VALUES = [
    1.5, b"1", object(), {1, 2}, BOTTOMLESS, Decimal("NaN"), Decimal("1E+3000000"), Decimal("7.5"), 10**5000, "7", True,
    ["a"], {"a": 1}, UNLIMITED,
]  # fmt: skip

NO_POSITIONS = ["3", 1.5, True, None, b"3", [3], object()]

FACT = {"at": NO_INSTANTS, "key": [*WRONG_TYPES, *NO_IDS]}
USE = {"key": [*WRONG_TYPES, *NO_IDS], "scope": NO_SCOPES, "dimensions": NO_DIMENSIONS, "occurred_at": NO_INSTANTS}
CUSTOMER = [*WRONG_TYPES, None, *NO_IDS]
ENDS = [*NO_INSTANTS, START, START - timedelta(days=1)]

# Of each verb: a call that would pass, and what is wrong for each of its arguments.
VERBS = {
    "subscribe": (
        {"customer": "new", "plan": "pro"},
        {"plan": [*NO_NAMES, *UNKNOWN_NAMES], "anchor": NO_INSTANTS, "ends_at": ENDS,
         "zone": [*NO_WORDS, None, "Mars/Base"],
         "billing_id": [*WRONG_TYPES, *NO_IDS], **FACT},
    ),
    "change_plan": (
        {"customer": "acme", "plan": "free"},
        {"plan": [*NO_NAMES, *UNKNOWN_NAMES], "usage": [*NO_WORDS, None], **FACT},
    ),
    "cancel": ({"customer": "acme"}, {"product": [*WRONG_TYPES, *UNKNOWN_NAMES], **FACT}),
    "start_trial": (
        {"customer": "acme", "plan": "pro"},
        {"plan": [*NO_NAMES, *UNKNOWN_NAMES], "days": NO_COUNTS, "ends_at": ENDS, **FACT},
    ),
    "set_status": (
        {"customer": "acme", "status": "paused"},
        {"status": [*NO_WORDS, None], "product": [*WRONG_TYPES, *UNKNOWN_NAMES], **FACT},
    ),
    "add_addon": (
        {"customer": "acme", "addon": "extra_seats"},
        {"addon": [*NO_NAMES, *UNKNOWN_NAMES], "quantity": [*NO_COUNTS, None], "ends_at": ENDS, **FACT},
    ),
    "remove_addon": ({"customer": "acme", "addon": "extra_seats"}, {"addon": [*NO_NAMES, *UNKNOWN_NAMES], **FACT}),
    "promote": (
        {"customer": "acme", "promotion": "launch"},
        {"promotion": [*NO_NAMES, *UNKNOWN_NAMES], "ends_at": ENDS, **FACT},
    ),
    "override": (
        {"customer": "acme", "feature": "seats", "value": 5},
        {"feature": [*NO_NAMES, *UNKNOWN_NAMES], "value": NO_VALUES, "mode": [*NO_WORDS, None], "ends_at": ENDS,
         "reason": NO_PROSE, **FACT},
    ),
    "remove_override": ({"customer": "acme", "feature": "seats"}, {"feature": [*NO_NAMES, *UNKNOWN_NAMES], **FACT}),
    "check": (
        {"customer": "acme", "feature": "seats"},
        {"feature": [*NO_NAMES, *UNKNOWN_NAMES], "requested": NO_AMOUNTS, "value": [5, "a"], "scope": NO_SCOPES,
         "dimensions": NO_DIMENSIONS, "at": NO_INSTANTS, "as_of": [bad for bad in NO_POSITIONS if bad is not None]},
    ),
    "check of a value": ({"customer": "acme", "feature": "history"}, {"value": NO_ASKED_VALUES}),
    "consume": (
        {"customer": "acme", "feature": "seats"},
        {"feature": [*NO_NAMES, *UNKNOWN_NAMES], "amount": NO_AMOUNTS, "depletion": NO_WORDS, **USE},
    ),
    "consume_many": (
        {"requests": [Request("acme", "seats")]},
        {"requests": [7, None, "acme", b"acme", {"a": 1}, Request("acme", "seats"), [None], [7], [("acme", "seats")],
                      *([Request(bad, "seats")] for bad in CUSTOMER), *([Request("acme", bad)] for bad in NO_NAMES),
                      *([Request("acme", "seats", bad)] for bad in NO_AMOUNTS),
                      *([Request("acme", "seats", **{name: bad})] for name, wrong in USE.items() for bad in wrong)]},
    ),
    "record": (
        {"customer": "acme", "feature": "seats"},
        {"feature": [*NO_NAMES, *UNKNOWN_NAMES], "amount": NO_AMOUNTS, "depletion": NO_WORDS, **USE},
    ),
    "free": (
        {"customer": "acme", "feature": "seats"},
        {"feature": [*NO_NAMES, *UNKNOWN_NAMES], "amount": [*NO_AMOUNTS, 999], "key": [*WRONG_TYPES, *NO_IDS]},
    ),
    "reset_usage": (
        {"customer": "acme", "feature": "seats"},
        {"feature": [*NO_NAMES, *UNKNOWN_NAMES], "key": [*WRONG_TYPES, *NO_IDS]},
    ),
    "snapshot": ({"customer": "acme"}, {"at": NO_INSTANTS}),
    "explain": ({"customer": "acme", "feature": "seats"}, {"feature": NO_NAMES, "at": NO_INSTANTS,
         "as_of": [bad for bad in NO_POSITIONS if bad is not None]}),
    "customer": ({"customer": "acme"}, {}),
    "entries": ({"customer": "acme"}, {"after": NO_POSITIONS, "limit": NO_POSITIONS}),
    "feed": ({}, {"after": [*WRONG_TYPES, "", "x", "-1", "1.5", "\u0661", LONG, "\ud800"], "limit": NO_POSITIONS}),
    "on": ({"event": "denied", "listener": print}, {"event": NO_WORDS, "listener": [None, 7, "print"]}),
}  # fmt: skip
CASES = [
    pytest.param(verb, name, bad, id=f"{verb}-{name}-{number}")
    for verb, (good, wrong) in VERBS.items()
    for name, values in {**({"customer": CUSTOMER} if "customer" in good else {}), **wrong}.items()
    for number, bad in enumerate(values)
]


@pytest.fixture(scope="module")
def engines(empty_database, tmp_path_factory):
    """The same customer in memory and in SQLite."""
    database = shutil.copy(empty_database, tmp_path_factory.mktemp("bad") / "app.db")
    catalog = __file__.replace("test_bad_input.py", "catalog.yaml")
    with (
        Entitlements(catalog, storage="memory:", clock=FrozenClock(START)) as memory,
        Entitlements(catalog, storage=f"sqlite:///{database}", clock=FrozenClock(START)) as sqlite,
    ):
        for engine in (memory, sqlite):
            engine.subscribe("acme", "pro", key="a")
            engine.add_addon("acme", "extra_seats", key="b")
            engine.override("acme", "exports", True, key="c")
            engine.override("acme", "seats", 30, key="d")
            engine.consume("acme", "seats", 3, key="e")
        yield memory, sqlite


def outcome(engine, verb, arguments):
    """Return what a call comes to: the type and message of its error, or the denial."""
    began = time.thread_time()
    try:
        result = getattr(engine, verb.split()[0])(**arguments)
    except Exception as error:
        spent = time.thread_time() - began
        return spent, (type(error), str(error))
    return time.thread_time() - began, result


@pytest.mark.parametrize(("verb", "name", "bad"), CASES)
def test_bad_input_is_one_clear_error_everywhere(engines, verb, name, bad):
    arguments = {**VERBS[verb][0], name: bad}
    logs = [engine.feed().batches for engine in engines]
    outcomes = []
    for engine in engines:
        outcomes.append(outcome(engine, verb, arguments))
        with localcontext(HOSTILE):
            outcomes.append(outcome(engine, verb, arguments))
    assert [engine.feed().batches for engine in engines] == logs, "something was written"
    (_, first), *_ = outcomes
    assert all(found == first for _, found in outcomes)
    if isinstance(first, Decision):
        assert name == "feature"
        assert (first.allowed, first.code) == (False, "unknown_feature")
        assert len(first.reason) < 500
    else:
        kind, message = first
        assert issubclass(kind, TypeError | ValueError | EntitlementsError), f"{kind.__name__}: {message}"
        assert not issubclass(kind, StorageError | KeyError | UnicodeError), f"{kind.__name__}: {message}"
        assert not RAW.search(message), message
        assert 10 < len(message) < 1500
        assert "\ud800" not in message
    assert min(spent for spent, _ in outcomes) < 0.05


@pytest.mark.parametrize("verb", VERBS)
def test_the_same_call_with_nothing_wrong_passes(verb, catalog_file):
    """Or else the errors above would prove nothing."""
    with Entitlements(catalog_file, storage="memory:", clock=FrozenClock(START)) as engine:
        engine.subscribe("acme", "pro", key="a")
        engine.add_addon("acme", "extra_seats", key="b")
        engine.override("acme", "seats", 30, key="d")
        engine.consume("acme", "seats", 3, key="e")
        _, result = outcome(engine, verb, VERBS[verb][0])
        assert not isinstance(result, tuple) or verb == "entries", result


def test_every_verb_and_every_argument_is_here():
    missing = []
    for verb in vars(Entitlements):
        function = getattr(Entitlements, verb)
        if verb.startswith("_") or not callable(function) or verb in {"reload", "close", "joined"}:
            continue
        tried = set().union(*(wrong for name, (_, wrong) in VERBS.items() if name.split()[0] == verb), {"customer"})
        names = function.__code__.co_varnames[1 : function.__code__.co_argcount + function.__code__.co_kwonlyargcount]
        missing += [(verb, name) for name in names if name not in tried]
    assert missing == []
