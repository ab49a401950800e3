"""Amounts: exact at their scale, bounded to 64 bits, and refused with what to write where they are none."""

import decimal
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from entitlements import Catalog
from entitlements.amounts import MAX_UNITS
from entitlements.errors import AmountError

from .conftest import DOCUMENT
from .reading import START, consume, grant, left, reserve, size, standing

NAIVE = datetime(2026, 3, 10)  # noqa: DTZ001  (what is to be refused)
MOST = Decimal(MAX_UNITS) / 100


# --- exact


@pytest.mark.parametrize("scale", range(10))
def test_the_smallest_unit_of_every_scale_is_counted_exactly(opened, scale):
    ent = opened(Catalog.load({"version": 1, "credits": {"plain": {"scale": scale}}}))
    unit = Decimal(1).scaleb(-scale)
    grant(ent, 1000)
    for number in range(3):
        consume(ent, unit, key=f"c{number}")
    assert left(ent) == 1000 - 3 * unit
    assert str(left(ent)) == str(Decimal(1000).quantize(unit) - 3 * unit)
    with pytest.raises(AmountError, match=f"its scale allows {scale} decimal places"):
        consume(ent, str(unit / 10) if scale < 6 else "0.0000000001", key="finer")


def test_a_tenth_ten_times_is_one(ent):
    grant(ent, 1, "ai")
    for number in range(10):
        assert consume(ent, "0.1", "ai", key=f"c{number}")
    assert standing(ent, "ai") == (0, 0, 0)


def test_trailing_zeros_are_no_finer_amount(ent):
    grant(ent, "1.0000", "ai")
    assert consume(ent, Decimal("1.00000000"), "ai")


@pytest.mark.parametrize(
    "context",
    [
        decimal.Context(prec=1, rounding=decimal.ROUND_UP),
        decimal.Context(prec=2, Emax=1, Emin=-1, traps=[decimal.Inexact, decimal.Rounded, decimal.Overflow]),
        decimal.Context(prec=6, traps=[decimal.FloatOperation, decimal.Subnormal, decimal.Clamped]),
        decimal.ExtendedContext,
    ],
)
def test_no_decimal_context_of_the_host_changes_an_amount(ent, context):
    with decimal.localcontext(context):
        block = grant(ent, "123456789.12", "ai", cost_basis="1234567.891")
        hold = reserve(ent, "100000.01", "ai")
        decision = hold.settle("99999.99")
        consume(ent, "23356789.13", "ai")
        balance = ent.balance("acme", "ai")
        refunded = ent.refund("acme", "c", "0.01", key="r")
        shown = [decision.limit, decision.used, decision.remaining, balance.available, balance.total, block.cost_basis]
        told = (str(balance), balance.to_dict()["total"], str(refunded.receipt.balance_after))
    assert [str(number) for number in shown] == [
        "123456789.12", "99999.99", "123356789.13", "100000000.00", "100000000.00", "1234567.891",
    ]  # fmt: skip
    assert told == ("100,000,000.00 ai left (0.00 held) in 1 block", "100000000.00", "100000000.01")


# --- bounded


def test_the_largest_amount_is_granted_held_spent_and_given_back_exactly(ent):
    assert grant(ent, MOST, "ai").amount == MOST
    assert reserve(ent, MOST, "ai").settle(MOST - Decimal("0.01")).used == MOST - Decimal("0.01")
    assert left(ent, "ai") == Decimal("0.01")
    assert ent.refund("acme", "h", key="r").receipt.booked == MOST - Decimal("0.01")
    assert standing(ent, "ai") == (MOST, 0, 0)


@pytest.mark.parametrize("verb", ["grant_credits", "consume_credits", "reserve_credits"])
@pytest.mark.parametrize("amount", [MOST + Decimal("0.01"), 2**64, "9" * 40])
def test_one_unit_beyond_64_bits_is_refused(ent, verb, amount):
    with pytest.raises(AmountError, match="the largest at scale 2 is 92233720368547758.07"):
        getattr(ent, verb)("acme", "ai", amount, key="k")
    assert size(ent) == 0


def test_all_blocks_of_a_credit_together_stay_within_64_bits(ent):
    grant(ent, MAX_UNITS - 1)
    grant(ent, 1, key="the last one")
    with pytest.raises(AmountError, match="credits of 'plain' would come to more than a log can hold"):
        grant(ent, 1, key="one more")
    reserve(ent, 5)
    with pytest.raises(AmountError):
        grant(ent, 1, key="one more")
    assert grant(ent, MAX_UNITS, "soft", key="of another kind")
    consume(ent, 1)
    assert grant(ent, 1, key="one more")


def test_debt_ends_where_64_bits_do(ent):
    assert consume(ent, MAX_UNITS - 1, "soft", key="most")
    assert not consume(ent, 2, "soft", key="too much")
    assert consume(ent, 1, "soft", key="the last one")
    assert not consume(ent, 1, "soft", key="one more")
    assert standing(ent, "soft") == (0, 0, MAX_UNITS)
    grant(ent, 5, "soft", settle_debt=False)
    assert consume(ent, 5, "soft", key="paid by a block")


# --- refused, with what to write instead


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        (1.5, "write the string '1.5' or a Decimal"),
        (0.1 + 0.2, "write the string '0.30000000000000004'"),
        (float("nan"), "amount is nan"),
        (-1, "zero or more"),
        ("-0.01", "zero or more"),
        (True, "of type bool"),
        (None, "of type NoneType"),
        (b"5", "of type bytes"),
        ("1e3", "write a plain number"),
        ("1,000", "write a plain number"),
        (" 5", "write a plain number"),
        ("\u0665", "write a plain number"),
        ("", "write a plain number"),
        (Decimal("NaN"), "a finite number"),
        (Decimal("Infinity"), "a finite number"),
        (Decimal("1e50"), "at most 40 digits"),
        (2**200, "a number of 201 bits"),
        ({"input": 5}, "is a mapping of kinds; .*only .*a feature with a rate"),
    ],
)
@pytest.mark.parametrize("verb", ["grant_credits", "consume_credits", "reserve_credits", "reserve", "settle", "refund"])
def test_what_is_no_amount_is_refused_by_every_verb_and_nothing_is_written(ent, verb, amount, said):
    grant(ent, 10)
    reserve(ent, 2)
    consume(ent, 1)
    calls: dict[str, Callable[[], Any]] = {
        "settle": lambda: ent.settle("acme", "h", amount),
        "refund": lambda: ent.refund("acme", "c", amount, key="k"),
        "reserve": lambda: ent.reserve("acme", "seats", amount, key="k"),
    }
    if verb == "refund" and amount is None:
        return
    lines = size(ent)
    with pytest.raises(AmountError, match=said.replace("(", r"\(")):
        calls.get(verb, lambda: getattr(ent, verb)("acme", "plain", amount, key="k"))()
    assert size(ent) == lines


@pytest.mark.parametrize("cost", [1.5, -1, "x", True, Decimal("NaN")])
def test_what_is_no_cost_is_refused(ent, cost):
    with pytest.raises(AmountError, match="cost_basis"):
        grant(ent, 1, cost_basis=cost)
    assert size(ent) == 0


IDS: list[tuple[Any, type[Exception]]] = [
    ("", ValueError), ("x" * 256, ValueError), ("$x", ValueError), (" x", ValueError), ("x ", ValueError),
    ("a\nb", ValueError), ("\ud800", ValueError), (7, TypeError), (b"x", TypeError),
]  # fmt: skip
TERMS: list[tuple[str, Any, type[Exception]]] = [
    ("category", "gift", ValueError), ("category", 1, TypeError),
    ("priority", -1, ValueError), ("priority", 1001, ValueError), ("priority", "50", TypeError), ("priority", True, TypeError),
    ("expires_at", NAIVE, TypeError), ("expires_at", "2026-04-01", TypeError), ("effective_at", NAIVE, TypeError),
    ("expires_in", 0, ValueError), ("expires_in", -1, ValueError), ("expires_in", 1.5, TypeError),
    ("expires_in", True, TypeError), ("expires_in", timedelta(0), ValueError), ("at", NAIVE, TypeError),
    ("features", "chat", TypeError), ("features", [], TypeError), ("features", [1], TypeError),
    ("scope", {}, TypeError), ("scope", "team", ValueError), ("scope", "team:a/team:b", ValueError), ("scope", 7, TypeError),
    ("settle_debt", 1, TypeError), ("metadata", ["a"], TypeError), ("metadata", {"a": 1.5}, TypeError),
    ("metadata", {"a": 2**70}, ValueError), ("metadata", {7: "a"}, TypeError),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "error"), TERMS)
def test_every_term_of_a_grant_is_checked(ent, name, value, error):
    with pytest.raises(error, match=name.split("_")[0] if name != "metadata" else "metadata"):
        grant(ent, 1, **{name: value})
    assert size(ent) == 0


@pytest.mark.parametrize(
    ("verb", "name", "value", "error"),
    [
        ("consume_credits", "depletion", "softly", ValueError),
        ("consume_credits", "feature", 7, TypeError),
        ("consume_credits", "scope", "team", ValueError),
        ("consume_credits", "at", NAIVE, TypeError),
        ("reserve_credits", "ttl", 0, ValueError),
        ("reserve_credits", "ttl", "60", TypeError),
        ("reserve_credits", "ttl", True, TypeError),
        ("reserve_credits", "ttl", timedelta(0), ValueError),
        ("reserve_credits", "ttl", 2**70, ValueError),
        ("reserve_credits", "late", "never", ValueError),
        ("reserve_credits", "at", NAIVE, TypeError),
        ("reserve", "ttl", -1, ValueError),
        ("reserve", "late", 7, TypeError),
        ("reserve", "scope", 7, TypeError),
        ("reserve", "dimensions", "large", TypeError),
        ("reserve", "dimensions", {"model": 7}, TypeError),
        ("reserve", "at", NAIVE, TypeError),
        ("balance", "at", NAIVE, TypeError),
        ("balance", "feature", 7, TypeError),
        ("balance", "scope", "team", ValueError),
    ],
)
def test_every_argument_of_every_other_verb_is_checked(ent, verb, name, value, error):
    grant(ent, 10)
    given: dict[str, tuple[Any, ...]] = {"reserve": ("acme", "seats", 1), "balance": ("acme", "plain")}
    key = {} if verb == "balance" else {"key": "k"}
    with pytest.raises(error, match=name.removesuffix("s")):
        getattr(ent, verb)(*given.get(verb, ("acme", "plain", 1)), **key, **{name: value})
    assert size(ent) == 1


@pytest.mark.parametrize(("value", "error"), IDS)
@pytest.mark.parametrize("argument", ["customer", "key", "hold", "batch_key", "block"])
def test_what_is_no_id_is_refused_wherever_one_stands(ent, argument, value, error):
    calls: dict[str, list[Callable[[], Any]]] = {
        "customer": [
            lambda: grant(ent, 1, customer=value), lambda: consume(ent, 1, customer=value),
            lambda: reserve(ent, 1, customer=value), lambda: ent.settle(value, "h", 1), lambda: ent.release(value, "h"),
            lambda: ent.refund(value, "c", key="r"), lambda: ent.void_block(value, "g"),
            lambda: ent.balance(value, "plain"), lambda: ent.sweep(value),
        ],
        "key": [
            lambda: grant(ent, 1, key=value), lambda: consume(ent, 1, key=value), lambda: reserve(ent, 1, key=value),
            lambda: ent.refund("acme", "c", key=value), lambda: ent.reserve("acme", "seats", key=value),
        ],
        "hold": [lambda: ent.settle("acme", value, 1), lambda: ent.release("acme", value)],
        "batch_key": [lambda: ent.refund("acme", value, key="r")],
        "block": [lambda: ent.void_block("acme", value)],
    }  # fmt: skip
    for call in calls[argument]:
        with pytest.raises(error, match=argument):
            call()
    assert size(ent) == 0


@pytest.mark.parametrize("value", [7, None, b"plain"])
def test_a_credit_is_named_by_text(ent, value):
    for call in (lambda: grant(ent, 1, value), lambda: consume(ent, 1, value), lambda: reserve(ent, 1, value)):
        with pytest.raises(TypeError, match="credit"):
            call()
    with pytest.raises(TypeError, match="credit"):
        ent.balance("acme", value)


def test_what_must_be_named_cannot_be_none(ent):
    for call, named in [
        (lambda: ent.settle("acme", None, 1), "hold"),
        (lambda: ent.release("acme", None), "hold"),
        (lambda: ent.refund("acme", None, key="r"), "batch_key"),
        (lambda: ent.void_block("acme", None), "block"),
        (lambda: grant(ent, 1, customer=None), "customer"),
    ]:
        with pytest.raises(TypeError, match=f"{named} is of type NoneType; it is text"):
            call()


def test_the_scale_of_a_credit_is_fixed_at_its_first_use(ent, changed):
    grant(ent, "1.50", "ai")
    with pytest.raises(Exception, match="first used"):
        changed(credits={**DOCUMENT["credits"], "ai": {"scale": 0}})


def test_nothing_of_an_amount_is_lost_in_the_log(ent):
    grant(ent, "92233720368547758.07", "ai", cost_basis="1" * 40, at=START)
    (line,) = ent.entries("acme")
    assert (line.amount, line.data["block"].cost_basis) == (MAX_UNITS, Decimal("1" * 40))
