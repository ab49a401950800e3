"""Requests: arguments checked once, in one canonical form, refused with a message that says what to write."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Context, Decimal, localcontext
from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entitlements.amounts import UNLIMITED
from entitlements.errors import AmountError
from entitlements.requests import DEEPEST, ID_LENGTH, PROSE_LENGTH, aware, identifier, prose, request, scope_of

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOSTILE = Context(prec=1, Emin=-1, Emax=1, traps=list(Context().flags))


def asked(**values):
    return request("consume", "acme", "k", **values).asked


# --- one form for each request


@pytest.mark.parametrize("amount", [10, "10", "10.0", Decimal("10.00"), Decimal("1E+1")])
def test_the_same_amount_in_any_spelling_is_the_same_request(amount):
    assert asked(feature="seats", amount=amount) == asked(feature="seats", amount=10)


@pytest.mark.parametrize("value", [10, Decimal("10.00"), "10"])
def test_the_same_number_in_any_spelling_is_the_same_value(value):
    assert asked(value=value) == asked(value=10)
    assert asked(value={"limit": value}) == asked(value={"limit": 10})


def test_true_is_not_one():
    assert asked(value=True) != asked(value=1)


def test_the_same_instant_in_any_zone_is_the_same_request():
    berlin = timezone(timedelta(hours=1))
    assert asked(at=datetime(2026, 3, 10, 13, tzinfo=berlin)) == asked(at=NOON)


def test_a_scope_is_the_same_as_a_mapping_and_in_short():
    written = {"team": "research/dev", "user": "ann:1"}
    assert asked(scope="team:research%2Fdev/user:ann:1") == asked(scope=written)


def test_what_is_not_given_is_no_part_of_a_request():
    assert asked(feature="seats", scope=None, at=None) == {"verb": "consume", "feature": "seats"}


def test_a_request_is_json_whatever_it_holds():
    whole = asked(
        value={"limits": [{"limit": UNLIMITED}, {"limit": Decimal("2.50")}], "flags": (True, "x")},
        at=NOON,
        quantity=3,
        dimensions={"model": "large"},
    )
    assert whole == {
        "verb": "consume",
        "value": {"limits": [{"limit": "unlimited"}, {"limit": "2.5"}], "flags": [True, "x"]},
        "at": "2026-03-10T12:00:00+00:00",
        "quantity": "3",
        "dimensions": {"model": "large"},
    }


def test_a_hostile_decimal_context_changes_no_request():
    plain = asked(amount=Decimal("123.450"), value=Decimal("98.760"))
    with localcontext(HOSTILE):
        assert asked(amount=Decimal("123.450"), value=Decimal("98.760")) == plain


# --- what is refused


@pytest.mark.parametrize(
    "name", ["plan", "addon", "promotion", "feature", "status", "usage", "mode", "zone", "quantity", "amount"]
)
def test_none_is_refused_where_something_must_be(name):
    with pytest.raises((TypeError, AmountError), match=f"{name} is of type NoneType"):
        request("consume", "acme", None, **{name: None})


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        (None, TypeError, "customer is of type NoneType; it is text"),
        (b"acme", TypeError, "customer is of type bytes; it is text"),
        ("", ValueError, "customer has 0 characters; it has 1 to 255"),
        ("x" * 256, ValueError, "customer has 256 characters; it has 1 to 255"),
        ("$catalog", ValueError, r"customer is '\$catalog'; it does not start with '\$'"),
        (" acme", ValueError, "nor start or end with a space"),
        ("acme\u00a0", ValueError, "nor start or end with a space"),
        ("a\0b", ValueError, "control characters and lone surrogates are refused"),
        ("a\nb", ValueError, "control characters and lone surrogates are refused"),
        ("a\x85b", ValueError, "control characters and lone surrogates are refused"),
        ("a\ud800", ValueError, "control characters and lone surrogates are refused"),
    ],
)
def test_an_id_that_is_none_is_refused(value, kind, said):
    with pytest.raises(kind, match=said):
        identifier(value, "customer")


@pytest.mark.parametrize("value", ["a", "x" * ID_LENGTH, "a b", "a:b", "é", "e\u0301", "😀", "a$", "x\u2028x", "None"])
def test_an_id_is_kept_as_it_is(value):
    assert identifier(value, "customer") == value


class Who(str, Enum):  # noqa: UP042  (as older code writes them)
    ACME = "acme"


def test_the_text_of_an_enum_is_plain_text():
    """Found in review: messages and receipts said `Who.ACME`."""
    made = request("consume", Who.ACME, Who.ACME, feature=Who.ACME, scope={"team": Who.ACME})
    texts = (made.customer, made.key, made.values["feature"], made.values["scope"]["team"])
    assert texts == ("acme",) * 4
    assert {type(each) for each in texts} == {str}


@given(st.text())
def test_any_text_is_an_id_unchanged_or_a_value_error(value):
    try:
        assert identifier(value, "key") == value
    except ValueError as refused:
        assert str(refused).isascii()  # noqa: PT017
        assert len(str(refused)) < 1200  # noqa: PT017


@pytest.mark.parametrize("value", ["2026-03-10", 0, None, NOON.date()])
def test_only_a_datetime_is_an_instant(value):
    with pytest.raises(TypeError, match=r"at is of type .*; it is a datetime with a time zone"):
        aware(value, "at")


def test_a_naive_instant_is_refused_and_the_message_says_what_to_do():
    with pytest.raises(TypeError, match="at is the naive 2026-03-10T12:00:00; give it a time zone, as in tzinfo=UTC"):
        aware(NOON.replace(tzinfo=None), "at")


def test_an_instant_outside_of_the_years_of_utc_is_refused():
    with pytest.raises(ValueError, match="in UTC it lies outside the years 1 to 9999"):
        aware(datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))), "at")


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        ("team", ValueError, "scope is 'team'; each part is written kind:name"),
        ("team:a/", ValueError, "each part is written kind:name"),
        ("team:", ValueError, "scope has 0 characters"),
        ("", ValueError, "each part is written kind:name"),
        ("team:a/team:b", ValueError, "scope is 'team:a/team:b'; it names 'team' twice"),
        ("team:%ff", ValueError, "scope is 'team:%ff'; what % escapes in it is not UTF-8"),
        ({}, TypeError, "scope is a mapping such as"),
        (["team:a"], TypeError, "scope is a mapping such as"),
        (7, TypeError, "scope is a mapping such as"),
        ({"team": 7}, TypeError, "scope is of type int; it is text"),
        ({7: "team"}, TypeError, "scope is of type int; it is text"),
        ({"team": "x" * 256}, ValueError, "scope has 256 characters"),
        ({"$team": "x"}, ValueError, "does not start with"),
    ],
)
def test_a_scope_that_is_none_is_refused(value, kind, said):
    with pytest.raises(kind, match=said):
        scope_of(value)


def test_a_scope_keeps_its_order():
    assert list(scope_of("user:ann/team:research")) == ["user", "team"]


@pytest.mark.parametrize(
    ("name", "value", "kind", "said"),
    [
        ("days", 0, ValueError, "days is 0; it is 1 to 1,000,000"),
        ("days", -3, ValueError, "days is -3; it is 1 to 1,000,000"),
        ("days", 10**100, ValueError, "days is too large; it is 1 to 1,000,000"),
        ("days", True, TypeError, "days is of type bool; it is a whole number"),
        ("days", 1.5, TypeError, "days is of type float; it is a whole number"),
        ("quantity", "2", TypeError, "quantity is of type str; it is a whole number"),
        ("status", "activ", ValueError, "it is one of active, past_due, paused; did you mean 'active'?"),
        ("mode", "Set", ValueError, "mode is 'Set'; it is one of grant, add, set, deny"),
        ("usage", "drop", ValueError, "usage is 'drop'; it is one of keep, reset"),
        ("depletion", "Hard", ValueError, "depletion is 'Hard'; it is one of hard, partial, soft"),
        ("zone", "Europe/Berln", ValueError, "did you mean 'Europe/Berlin'?"),
        ("zone", 7, TypeError, "zone is of type int; it is text"),
        ("amount", -1, AmountError, "amount is -1; an amount is zero or more"),
        ("amount", {"input": -3}, AmountError, "amount of input is -3; an amount is zero or more"),
        ("dimensions", "model:large", TypeError, "dimensions is a mapping such as"),
        ("dimensions", {"model": 4}, TypeError, "dimension is of type int; it is text"),
        ("value", 1.5, AmountError, "value is the float 1.5; floats are not exact"),
        ("value", {1, 2}, TypeError, "value is of type set; write it as in the catalog"),
        ("value", {"limit": None}, TypeError, "value is of type NoneType; write it as in the catalog"),
        ("value", {5: 1}, TypeError, "value is of type int; it is text"),
        ("value", "a\0b", ValueError, "control characters and lone surrogates are refused"),
        ("value", "x" * 10_001, ValueError, "value has 10001 characters; it has at most 10000"),
        ("reason", 7, TypeError, "reason is of type int; it is text"),
        ("metadata", 7, TypeError, "metadata is of type int; it is a mapping"),
        ("metadata", {7: "a"}, TypeError, "metadata key is of type int; it is text"),
        (
            "metadata", {"a": 1.5}, TypeError,
            "metadata['a'] is of type float; it is text, a whole number, true, false, null, a list or a mapping; write '1.5'",
        ),
        ("metadata", {"a": Decimal("2.50")}, TypeError, "metadata['a'] is of type Decimal; it is text"),
        ("metadata", {"a": Decimal("2.50")}, TypeError, "; write '2.50'"),
        ("metadata", {"a": [1, {"b": NOON}]}, TypeError, "metadata['a'][1]['b'] is of type datetime; it is text"),
        ("metadata", {"a": NOON}, TypeError, "; write '2026-03-10T12:00:00+00:00'"),
        ("metadata", {"a": b"x"}, TypeError, "a list or a mapping; write it as text"),
        ("metadata", {"a": [2**64]}, ValueError, "metadata['a'][0] is a number of more than 63 bits; write it as text"),
        ("metadata", {"a": "\0"}, ValueError, "metadata['a'] is '\\x00'; control characters"),
        ("billing_id", "", ValueError, "billing_id has 0 characters"),
    ],
)
def test_an_argument_that_is_none_is_refused(name, value, kind, said):
    with pytest.raises(kind) as refused:
        request("override", "acme", None, **{name: value})
    assert said in str(refused.value)


def test_a_value_that_is_nested_without_end_is_refused():
    bottomless: list[object] = []
    bottomless.append(bottomless)
    with pytest.raises(ValueError, match=f"value is nested more than {DEEPEST} deep; write it as in the catalog"):
        request("override", "acme", None, value=bottomless)


def test_prose_may_have_lines_and_anything_printable():
    assert prose("for\tAnn,\nas agreed 😀", "reason") == "for\tAnn,\nas agreed 😀"
    assert prose("x" * PROSE_LENGTH, "reason")


def test_a_request_cannot_be_changed():
    made = request("consume", "acme", None, feature="seats")
    with pytest.raises(TypeError):
        made.values["feature"] = "exports"  # type: ignore[index]
    with pytest.raises(AttributeError):
        made.customer = "other"  # type: ignore[misc]
