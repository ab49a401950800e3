"""Rates: which price fits, how a charge comes to its credits, and that it is rounded once."""

from decimal import Decimal
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entitlements import Catalog, UnknownPrice
from entitlements.errors import AmountError, CatalogError, UnknownFeature
from entitlements.rates import price_of

from .conftest import DOCUMENT


def rated(scale=2, feature_scale=0, **rate):
    return Catalog.load(
        {
            "version": 1,
            "features": {"calls": {"type": "metered", "scale": feature_scale}},
            "credits": {"ai": {"scale": scale}},
            "rates": {"calls": {"credit": "ai", **rate}},
        }
    )


def price(catalog, units, **dimensions):
    return price_of(catalog, catalog.features["calls"], units, dimensions)


def test_a_plain_price(ent):
    assert ent.estimate("acme", "chat", 3) == Decimal("4.50")
    assert ent.estimate("acme", "chat", 0) == 0


def test_the_case_that_names_most_wins(ent):
    assert ent.estimate("acme", "chat", dimensions={"model": "large"}) == 4
    assert ent.estimate("acme", "chat", dimensions={"model": "large", "region": "eu"}) == 4
    assert ent.estimate("acme", "tokens", {"input": 1000}, dimensions={"model": "large"}) == 10
    assert ent.estimate("acme", "tokens", {"input": 1000}, dimensions={"model": "small"}) == 1


def test_an_unknown_value_has_the_default_price_or_is_an_error(ent):
    assert ent.estimate("acme", "chat", dimensions={"model": "huge"}) == Decimal("1.50")
    with pytest.raises(UnknownPrice, match=r"no price for \{kind: inputs\}; did you mean 'input'\?"):
        ent.estimate("acme", "tokens", {"inputs": 5})
    with pytest.raises(UnknownPrice, match="nothing is said of kind, model"):
        ent.consume("acme", "tokens", 5)
    assert ent.entries("acme")[-1].kind == "granted"


def test_a_feature_without_a_rate_costs_nothing(ent):
    assert ent.estimate("acme", "seats", 3) == 0
    with pytest.raises(UnknownFeature):
        ent.estimate("acme", "seat")


@pytest.mark.parametrize(
    ("terms", "units", "cost"),
    [
        ({"price": "1", "per": 1000}, 1, "0.01"),
        ({"price": "1", "per": 1000}, 1001, "1.01"),
        ({"price": "1", "per": 1000, "round": "down"}, 1009, "1.00"),
        ({"price": "1", "per": 1000, "round": "nearest"}, 1004, "1.00"),
        ({"price": "1", "per": 1000, "round": "nearest"}, 1005, "1.01"),
        ({"price": "1", "per": 1000, "whole": True}, 1, "1.00"),
        ({"price": "1", "per": 1000, "whole": True}, 1000, "1.00"),
        ({"price": "1", "per": 1000, "whole": True}, 1001, "2.00"),
        ({"price": "0"}, 5, "0.00"),
    ],
)
def test_blocks_and_rounding(terms, units, cost):
    found = price(rated(**terms), units)
    assert Decimal(found.units).scaleb(-2) == Decimal(cost)


def test_kinds_are_rounded_together():
    catalog = rated(per=1000, when=[{"kind": "a", "price": "1"}, {"kind": "b", "price": "1"}])
    assert price(catalog, {"a": 4, "b": 4}).units == 1
    assert price(catalog, {"a": 4}).units + price(catalog, {"b": 4}).units == 2
    assert price(catalog, {"a": 4, "b": 4}).unrounded == "0.008"


def test_what_no_decimal_says_exactly_is_told_as_a_fraction():
    assert price(rated(price="1", per=3), 1).unrounded == "1/3"


@given(
    units=st.integers(0, 10**12),
    tenths=st.integers(0, 10**6),
    per=st.integers(1, 10**6),
    scale=st.integers(0, 9),
    more=st.integers(0, 10**6),
)
def test_a_price_is_the_exact_cost_rounded_up_and_never_falls_with_more_units(units, tenths, per, scale, more):
    catalog = rated(scale=scale, price=str(Decimal(tenths) / 10), per=per)
    exact = Fraction(units * tenths, 10 * per) * 10**scale
    if exact > 2**63 - 1:
        with pytest.raises(AmountError, match="more ai than a log can hold"):
            price(catalog, units)
        return
    found = price(catalog, units)
    assert found.units == ceil(exact)
    assert Fraction(found.unrounded) * 10**scale == exact
    if Fraction((units + more) * tenths, 10 * per) * 10**scale <= 2**63 - 1:
        assert price(catalog, units + more).units >= found.units


@given(units=st.integers(0, 10**6), split=st.integers(0, 10**6))
def test_splitting_a_use_never_makes_it_cheaper_and_costs_at_most_one_unit_more(units, split):
    catalog = rated(price="0.37", per=7)
    one, two = min(units, split), units - min(units, split)
    apart = price(catalog, one).units + price(catalog, two).units
    assert 0 <= apart - price(catalog, units).units <= 1


def test_ties_are_refused_when_the_catalog_is_read():
    tie = [{"model": "large", "price": "1"}, {"region": "eu", "price": "2"}]
    with pytest.raises(CatalogError, match=r"ties with when\[0\]"):
        rated(price="1", when=tie)


def test_words_of_a_rate_are_checked_and_written_again():
    with pytest.raises(CatalogError, match="a way to round"):
        rated(price="1", round="upwards")
    catalog = Catalog.load({**DOCUMENT, "rates": {"chat": {"credit": "ai", "price": "2", "whole": True, "round": "down"}}})
    assert Catalog.load(catalog.document) == catalog
    (change,) = [found for found in Catalog.load(DOCUMENT).diff(catalog) if found.name == "chat"]
    assert change.after == "2 ai per begun 1, rounded down"


def test_the_price_is_stamped_on_the_log(ent):
    decision = ent.consume("acme", "tokens", {"input": 1234, "output": 1}, key="k", dimensions={"model": "large"})
    (stamp,) = [entry for entry in ent.entries("acme") if entry.kind == "priced"]
    assert decision.receipt.price == Decimal("12.37")
    assert (stamp.subject, stamp.amount) == ("tokens", 1237)
    assert stamp.data == {
        "credit": "ai", "unrounded": "12.37", "per": "1000", "dimensions": {"model": "large"},
        "parts": [["input", "1234", "10"], ["output", "1", "30"]],
    }  # fmt: skip


def test_a_later_catalog_explains_an_old_charge_by_its_stamp(ent, changed):
    ent.consume("acme", "chat", key="old")
    later = changed(rates={"chat": {"credit": "ai", "price": "9"}})
    assert later.consume("acme", "chat", key="new").receipt.price == 9
    assert later.consume("acme", "chat", key="old").receipt.price == Decimal("1.50")
    assert [entry.amount for entry in ent.entries("acme") if entry.kind == "priced"] == [150, 900]
