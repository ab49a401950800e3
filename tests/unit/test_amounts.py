"""Amounts: exact at every scale, refused where they are none, and deaf to the host's decimal context."""

import copy
import pickle
from decimal import Context, Decimal, localcontext
from enum import IntEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entitlements.amounts import MAX_UNITS, UNLIMITED, Unlimited, bound_number, canonical, exact, from_units, to_units
from entitlements.errors import AmountError

HOSTILE = Context(prec=1, Emin=-1, Emax=1, traps=list(Context().flags))


class Size(IntEnum):
    LARGE = 12


# --- from what a user writes to smallest units


@pytest.mark.parametrize(
    ("value", "scale", "units"),
    [
        (0, 0, 0),
        (10, 0, 10),
        (10, 2, 1000),
        ("10", 0, 10),
        ("10.00", 0, 10),
        ("0.5", 2, 50),
        ("0.05", 2, 5),
        ("+5", 0, 5),
        ("007", 0, 7),
        ("-0", 0, 0),
        (Decimal("10.00"), 0, 10),
        (Decimal("1E+3"), 2, 100_000),
        (Decimal("-0.00"), 2, 0),
        (Decimal("0E+39"), 0, 0),
        (Decimal("1.234567891"), 9, 1_234_567_891),
        (Size.LARGE, 2, 1200),
        (MAX_UNITS, 0, MAX_UNITS),
        ("92233720368547758.07", 2, MAX_UNITS),
    ],
)
def test_an_amount_becomes_smallest_units_exactly(value, scale, units):
    assert to_units(value, scale) == units
    assert type(to_units(value, scale)) is int


@pytest.mark.parametrize(
    ("value", "scale", "said"),
    [
        (1.5, 0, "amount is the float 1.5; floats are not exact, write the string '1.5' or a Decimal"),
        (1e16, 0, "amount is the float 1e+16; floats are not exact, write the string '10000000000000000' or a Decimal"),
        (1e-7, 0, "amount is the float 1e-07; floats are not exact, write the string '0.0000001' or a Decimal"),
        (1e300, 0, "amount is the float 1e+300; floats are not exact, write an int or a Decimal"),
        (float("nan"), 0, "amount is nan; an amount is a finite number"),
        (float("-inf"), 0, "amount is -inf; an amount is a finite number"),
        (True, 0, "of type bool; write an int, a Decimal or an exact string"),
        (None, 0, "of type NoneType"),
        (b"1", 0, "of type bytes"),
        (UNLIMITED, 0, "is unlimited; only a limit may be"),
        (-1, 0, "amount is -1; an amount is zero or more"),
        ("-0.01", 2, "amount is '-0.01'; an amount is zero or more"),
        ("1.5", 0, "amount is '1.5'; its scale allows 0 decimal places"),
        (Decimal("0.001"), 2, "amount is 0.001; its scale allows 2 decimal places"),
        (MAX_UNITS + 1, 0, f"the largest at scale 0 is {MAX_UNITS}"),
        (MAX_UNITS, 2, "the largest at scale 2 is 92233720368547758.07"),
        (10**100, 0, "a number of 333 bits; amounts have at most 63"),
        (-(10**100), 0, "a number of 333 bits"),
        pytest.param(10**5000, 0, "a number of 16610 bits", id="longer than Python prints"),
        pytest.param(-(10**5000), 2, "a number of 16610 bits", id="longer than Python prints, negative"),
        ("9" * 41, 0, "write a plain number"),
        (Decimal("9" * 41), 0, "at most 40 digits on either side"),
        (Decimal("1E-41"), 9, "at most 40 digits on either side"),
        (Decimal("0E+40"), 0, "at most 40 digits on either side"),
        (Decimal("1E+3000000"), 0, "at most 40 digits on either side"),
        (Decimal("1E-3000000"), 9, "at most 40 digits on either side"),
        (Decimal("1." + "1" * 90), 9, "at most 40 digits on either side"),
        (Decimal("NaN"), 0, "amount is NaN; an amount is a finite number"),
        (Decimal("sNaN"), 0, "amount is sNaN; an amount is a finite number"),
        (Decimal("-Infinity"), 0, "amount is -Infinity; an amount is a finite number"),
    ],
)
def test_what_is_no_amount_is_refused_and_the_message_says_what_to_write(value, scale, said):
    with pytest.raises(AmountError) as refused:
        to_units(value, scale)
    assert said in str(refused.value)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    "text", ["", " 1", "1 ", "1\n", "1e6", "1_000", "1,000", "0x1", ".5", "5.", "--1", "\u0661", "\uff11", "inf", "NaN"]
)
def test_text_that_is_no_plain_number_is_refused(text):
    with pytest.raises(AmountError, match=r"write a plain number such as '12' or '12\.50'"):
        to_units(text, 2)


def test_a_refusal_names_the_argument_it_is_about():
    with pytest.raises(AmountError, match=r"^ceiling is -1; an amount is zero or more$"):
        to_units(-1, what="ceiling")


def test_an_amount_error_is_a_value_error():
    assert issubclass(AmountError, ValueError)


# --- and back


@pytest.mark.parametrize(
    ("units", "scale", "number"),
    [(0, 0, 0), (1234, 0, 1234), (1234, 2, Decimal("12.34")), (5, 2, Decimal("0.05")), (-1234, 2, Decimal("-12.34"))],
)
def test_smallest_units_read_as_int_at_scale_zero_and_else_as_a_decimal(units, scale, number):
    read = from_units(units, scale)
    assert read == number
    assert type(read) is type(number)
    assert str(read) == str(number)


def test_a_decimal_always_shows_every_place_of_its_scale():
    assert str(from_units(1000, 2)) == "10.00"
    assert str(exact(0, 2)) == "0.00"


def test_unlimited_passes_where_bounds_are_read():
    assert bound_number(UNLIMITED, 2) is UNLIMITED
    assert bound_number(150, 2) == Decimal("1.50")
    assert bound_number(150, 0) == 150


# --- one spelling


@pytest.mark.parametrize("value", [10, "10", "10.0", "10.00", "+10", "0010", Decimal("10.00"), Decimal("1E+1")])
def test_ten_has_one_spelling(value):
    assert canonical(value) == "10"


@pytest.mark.parametrize(
    ("value", "spelling"),
    [
        (0, "0"),
        ("-0.00", "0"),
        (Decimal("0E+39"), "0"),
        (Decimal("0E-40"), "0"),
        ("100", "100"),
        ("0.10", "0.1"),
        (-3, "-3"),
        (Size.LARGE, "12"),
        (Decimal("1E+2"), "100"),
    ],
)
def test_a_spelling_has_no_padding_and_no_exponent(value, spelling):
    assert canonical(value) == spelling


def test_unlimited_is_one_value_of_its_own_type():
    assert Unlimited() is UNLIMITED
    assert copy.deepcopy(UNLIMITED) is UNLIMITED
    assert pickle.loads(pickle.dumps(UNLIMITED)) is UNLIMITED
    assert str(UNLIMITED) == "unlimited"
    assert UNLIMITED not in (-1, float("inf"), None, "unlimited")


# --- whatever the host set up


def test_no_decimal_context_of_the_host_changes_an_amount():
    with localcontext(HOSTILE):
        assert to_units("12345.67", 2) == 1_234_567
        assert to_units(Decimal("12345.67"), 2) == 1_234_567
        assert str(from_units(1_234_567, 2)) == "12345.67"
        assert canonical(Decimal("12345.6700")) == "12345.67"
        for wrong in (Decimal("sNaN"), Decimal("1.555"), Decimal("1E+3000000"), 1.5):
            with pytest.raises(AmountError):
                to_units(wrong, 2)


units_at_scale = st.tuples(st.integers(0, MAX_UNITS), st.integers(0, 9))


@given(units_at_scale)
def test_what_is_read_back_is_what_went_in(pair):
    units, scale = pair
    number = from_units(units, scale)
    assert to_units(number, scale) == units
    assert to_units(f"{number:f}" if scale else str(number), scale) == units
    assert to_units(canonical(number), scale) == units


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30, places=40))
def test_two_amounts_have_one_spelling_exactly_when_they_are_equal(number):
    assert Decimal(canonical(number)) == number
    assert canonical(canonical(number)) == canonical(number)


@given(st.one_of(st.text(), st.decimals(), st.floats(), st.integers(), st.binary(), st.none(), st.booleans()))
def test_any_value_at_all_is_an_amount_or_an_amount_error(value):
    try:
        units = to_units(value, 2)
    except AmountError as refused:
        assert str(refused).startswith("amount is ")  # noqa: PT017
    else:
        assert 0 <= units <= MAX_UNITS
