"""What one source gives, and how two of them join: every part of "the most generous"."""

from decimal import Decimal

import pytest

from entitlements.amounts import MAX_UNITS, UNLIMITED
from entitlements.catalog.model import Catalog, Entitlement, Feature, Limit, Period
from entitlements.catalog.standing import (
    Share,
    Source,
    Standing,
    add,
    at_least,
    bound,
    flatten,
    join,
    lineage,
    promoted,
    standing_of,
)

DAY, MONTH = Period("day"), Period("month")
FIVE_HOURS, WEEK = Period("hour", 5), Period("week")
CALLS = Feature("calls", "metered", reset=MONTH)
EXPORTS = Feature("exports", "boolean")
PRO, FREE = Source("plan", "pro"), Source("parent", "free")
LAUNCH = Source("promotion", "launch")


def metered(source, *limits):
    return standing_of(source, Entitlement("calls", limits=limits))


def valued(source, value):
    return standing_of(source, Entitlement("x", value=value))


def monthly(source, amount, depletion="hard", ceiling=None):
    return metered(source, Limit(amount, MONTH, depletion, ceiling))


def only(standing):
    (share,) = standing.shares
    (limit,) = share.limits
    return limit


def config(value, prefer=None):
    return Feature("x", "config", value=value, prefer=prefer)


# --- sources


def test_a_source_is_labelled_by_kind_and_key():
    assert Source("add-on", "extra_seats").label == "add-on:extra_seats"


def test_sources_rank_override_promotion_trial_add_on_plan_parent_then_by_key():
    kinds = ["parent", "plan", "add-on", "trial", "promotion", "override"]
    ranked = sorted((Source(kind, "k") for kind in kinds), key=lambda source: source.rank)
    assert [source.kind for source in ranked] == ["override", "promotion", "trial", "add-on", "plan", "parent"]
    assert Source("plan", "a").rank < Source("plan", "b").rank < Source("parent", "a").rank


# --- one source


def test_a_metered_entry_is_one_share_with_its_shortest_period_first():
    standing = metered(PRO, Limit(200, WEEK), Limit(50, FIVE_HOURS))
    assert standing == Standing(PRO, None, (Share(PRO, (Limit(50, FIVE_HOURS), Limit(200, WEEK))),))


def test_a_list_is_kept_sorted():
    assert valued(PRO, ("b", "a")).value == ("a", "b")


def test_an_entry_of_neither_value_nor_limits_grants_nothing():
    assert standing_of(PRO, Entitlement("calls", "deny")) == Standing(PRO)


# --- booleans and config values


@pytest.mark.parametrize("first", [LAUNCH, PRO])
def test_true_beats_false_whatever_the_rank(first):
    second = PRO if first is LAUNCH else LAUNCH
    joined = join(EXPORTS, valued(first, False), valued(second, True))
    assert (joined.value, joined.source) == (True, second)


def test_equal_values_are_labelled_by_the_source_of_the_better_rank():
    assert join(EXPORTS, valued(PRO, True), valued(LAUNCH, True)).source == LAUNCH
    assert join(EXPORTS, valued(LAUNCH, True), valued(PRO, True)).source == LAUNCH


@pytest.mark.parametrize(
    ("prefer", "better", "worse"),
    [
        ("max", 30, 7),
        ("min", 7, 30),
        ("max", Decimal("0.5"), Decimal("0.25")),
        ("min", Decimal("-1.5"), Decimal("0.25")),
        ("max", True, False),
        ("min", False, True),
        (("gold", "silver", "bronze"), "gold", "silver"),
        (("gold", "silver", "bronze"), "silver", "bronze"),
        ((3, 1, 2), 1, 2),
    ],
)
def test_config_values_compete_in_the_order_the_catalog_prefers(prefer, better, worse):
    feature = config("text", prefer)
    assert join(feature, valued(PRO, worse), valued(FREE, better)).value == better
    assert join(feature, valued(FREE, better), valued(PRO, worse)).value == better
    assert at_least(feature, better, worse)
    assert not at_least(feature, worse, better)


def test_a_value_the_order_lists_beats_one_it_does_not_list():
    feature = config("text", ("gold", "silver"))
    assert join(feature, valued(LAUNCH, "tin"), valued(FREE, "silver")).value == "silver"
    assert join(feature, valued(FREE, "silver"), valued(LAUNCH, "tin")).value == "silver"
    assert not at_least(feature, "tin", "silver")
    assert not at_least(feature, "gold", "tin")


def test_texts_without_an_order_go_by_rank_and_cover_only_themselves():
    feature = config("text")
    assert join(feature, valued(PRO, "blue"), valued(LAUNCH, "red")).value == "red"
    assert join(feature, valued(LAUNCH, "red"), valued(PRO, "blue")).value == "red"
    assert at_least(feature, "red", "red")
    assert not at_least(feature, "red", "blue")


def test_one_source_saying_two_things_is_settled_without_regard_to_order():
    feature = config("text")
    one, other = valued(PRO, "blue"), valued(PRO, "red")
    assert join(feature, one, other) == join(feature, other, one)


def test_lists_unite():
    joined = join(config("list"), valued(PRO, ("de", "en")), valued(FREE, ("en", "fr")))
    assert joined.value == ("de", "en", "fr")
    assert joined.source == PRO


def test_a_united_list_is_labelled_by_the_longest_of_its_parts():
    joined = join(config("list"), valued(LAUNCH, ("en",)), valued(FREE, ("de", "en")))
    assert (joined.value, joined.source) == (("de", "en"), FREE)


def test_the_label_of_a_united_list_does_not_depend_on_who_was_joined_first():
    feature = config("list")
    one, two, three = valued(Source("plan", "a"), ("x",)), valued(Source("plan", "b"), ("y",)), valued(FREE, ("x", "z"))
    left = join(feature, join(feature, one, two), three)
    right = join(feature, one, join(feature, two, three))
    assert left == right == join(feature, join(feature, three, one), two)
    assert (left.value, left.source) == (("x", "y", "z"), FREE)


def test_a_list_covers_each_of_its_items_and_any_of_its_parts():
    feature = config("list")
    assert at_least(feature, ("de", "en"), "en")
    assert at_least(feature, ("de", "en"), ("en", "de"))
    assert at_least(feature, ("de", "en"), ())
    assert not at_least(feature, ("de", "en"), "fr")
    assert not at_least(feature, ("de", "en"), ("en", "fr"))


def test_equal_numbers_cover_each_other_however_they_are_written():
    assert at_least(config("decimal", "max"), Decimal("30.0"), 30)
    assert at_least(config("decimal", "min"), Decimal("30.0"), 30)


def test_a_value_covers_no_value_of_another_type():
    assert not at_least(config("boolean", ("yes", True)), "yes", False)
    assert not at_least(config("text"), "1", 1)


def test_what_grants_no_value_never_wins():
    nothing = Standing(LAUNCH)
    assert join(EXPORTS, nothing, valued(PRO, True)).source == PRO
    assert join(EXPORTS, valued(PRO, True), nothing).source == PRO


# --- limits, part by part


def test_the_largest_limit_wins_and_gives_its_label():
    joined = join(CALLS, monthly(LAUNCH, 100), monthly(FREE, 101))
    assert only(joined) == Limit(101, MONTH)
    assert joined.shares[0].source == FREE


def test_equal_limits_are_labelled_by_rank():
    assert join(CALLS, monthly(PRO, 100), monthly(LAUNCH, 100)).shares[0].source == LAUNCH
    assert join(CALLS, monthly(LAUNCH, 100), monthly(PRO, 100)).shares[0].source == LAUNCH


def test_unlimited_beats_any_number():
    for pair in ((UNLIMITED, MAX_UNITS), (MAX_UNITS, UNLIMITED)):
        joined = join(CALLS, monthly(PRO, pair[0]), monthly(LAUNCH, pair[1]))
        assert only(joined) == Limit(UNLIMITED, MONTH)
        assert joined.shares[0].source == (PRO if pair[0] is UNLIMITED else LAUNCH)


def test_a_limit_is_soft_if_any_is_soft():
    joined = join(CALLS, monthly(PRO, 100), monthly(FREE, 10, "soft"))
    assert only(joined) == Limit(100, MONTH, "soft")
    assert joined.shares[0].source == PRO


def test_the_largest_ceiling_wins():
    joined = join(CALLS, monthly(PRO, 100, "soft", 120), monthly(FREE, 10, "soft", 150))
    assert only(joined) == Limit(100, MONTH, "soft", 150)


def test_no_ceiling_is_larger_than_any():
    joined = join(CALLS, monthly(PRO, 100, "soft", 120), monthly(FREE, 10, "soft"))
    assert only(joined) == Limit(100, MONTH, "soft", None)


def test_a_ceiling_is_never_below_the_limit_it_is_joined_to():
    joined = join(CALLS, monthly(PRO, 100), monthly(FREE, 10, "soft", 15))
    assert only(joined) == Limit(100, MONTH, "soft", 100)


def test_partial_is_more_than_hard_and_less_than_soft():
    assert only(join(CALLS, monthly(PRO, 100), monthly(FREE, 10, "partial"))) == Limit(100, MONTH, "partial")
    assert only(join(CALLS, monthly(PRO, 100, "partial"), monthly(FREE, 10, "soft"))) == Limit(100, MONTH, "soft")


def test_partial_and_a_soft_ceiling_keep_both_what_is_good_in_them():
    """Counterexample: 100 partial joined with 100 soft up to 110 denied at 95 what partial alone let pass."""
    joined = join(CALLS, monthly(PRO, 100, "partial"), monthly(FREE, 100, "soft", 110))
    assert only(joined) == Limit(100, MONTH, "partial", 110)
    assert bound(only(joined)) == 110


def test_unlimited_forgets_ceilings_in_any_order():
    soft, partial, unlimited = monthly(PRO, 5, "soft", 20), monthly(FREE, 5, "partial"), monthly(LAUNCH, UNLIMITED)
    left = join(CALLS, join(CALLS, soft, partial), unlimited)
    assert only(left) == Limit(UNLIMITED, MONTH, "soft")
    assert (
        left == join(CALLS, soft, join(CALLS, partial, unlimited)) == join(CALLS, join(CALLS, soft, unlimited), partial)
    )


def test_what_usage_may_not_pass():
    assert bound(Limit(10, MONTH)) == 10
    assert bound(Limit(10, MONTH, "partial")) == 10
    assert bound(Limit(10, MONTH, "soft", 15)) == 15
    assert bound(Limit(10, MONTH, "soft")) is None
    assert bound(Limit(UNLIMITED, MONTH)) is None


@pytest.mark.parametrize(
    "other",
    [DAY, Period("month", 2), Period("month", align="calendar"), Period("month", align="first_use"), Period("none")],
)
def test_limits_compete_only_in_the_same_period_count_and_alignment(other):
    joined = join(CALLS, monthly(PRO, 100), metered(LAUNCH, Limit(5000, other)))
    assert {share.limits for share in joined.shares} == {(Limit(100, MONTH),), (Limit(5000, other),)}


def test_shares_stand_in_the_order_of_their_periods_whoever_comes_first():
    daily, weekly = metered(PRO, Limit(1, DAY)), metered(LAUNCH, Limit(2, WEEK))
    joined = join(CALLS, weekly, join(CALLS, monthly(FREE, 3), daily))
    assert [share.limits[0].period for share in joined.shares] == [DAY, WEEK, MONTH]
    assert joined == join(CALLS, join(CALLS, daily, weekly), monthly(FREE, 3))


def test_several_limits_join_limit_by_limit_each_with_its_own_giver():
    one = metered(PRO, Limit(50, FIVE_HOURS), Limit(200, WEEK))
    other = metered(FREE, Limit(20, FIVE_HOURS), Limit(300, WEEK))
    (share,) = join(CALLS, one, other).shares
    assert share.limits == (Limit(50, FIVE_HOURS), Limit(300, WEEK))
    assert share.sources == (PRO, FREE)
    assert share.source == PRO


def test_the_labels_of_several_limits_do_not_depend_on_who_was_joined_first():
    """Counterexample: the label went by the first limit that differed, and depended on the order of joining."""
    one = metered(Source("plan", "a"), Limit(10, FIVE_HOURS), Limit(1, WEEK))
    two = metered(Source("plan", "b"), Limit(9, FIVE_HOURS), Limit(20, WEEK))
    three = metered(Source("plan", "c"), Limit(10, FIVE_HOURS), Limit(5, WEEK))
    left = join(CALLS, join(CALLS, one, two), three)
    assert left == join(CALLS, one, join(CALLS, two, three)) == join(CALLS, join(CALLS, one, three), two)
    assert left.shares[0].sources == (Source("plan", "a"), Source("plan", "b"))


def test_limits_of_fewer_periods_are_an_allowance_of_their_own():
    joined = join(CALLS, metered(PRO, Limit(50, FIVE_HOURS), Limit(200, WEEK)), metered(LAUNCH, Limit(300, WEEK)))
    assert [share.limits for share in joined.shares] == [
        (Limit(50, FIVE_HOURS), Limit(200, WEEK)),
        (Limit(300, WEEK),),
    ]


# --- adding


def extra(*limits):
    return Entitlement("calls", "add", limits=limits)


PACK = Source("add-on", "pack")


def test_an_addition_from_nothing_is_an_allowance_of_its_own():
    standing = add(None, PACK, extra(Limit(5, MONTH)), 3)
    assert standing == Standing(PACK, None, (Share(PACK, (Limit(15, MONTH),)),))


def test_an_addition_goes_on_top_and_leaves_the_label():
    standing = add(monthly(PRO, 100), PACK, extra(Limit(5, MONTH)), 3)
    assert standing == monthly(PRO, 115)


def test_an_addition_to_unlimited_stays_unlimited():
    assert only(add(monthly(PRO, UNLIMITED), PACK, extra(Limit(5, MONTH)))) == Limit(UNLIMITED, MONTH)
    assert only(add(monthly(PRO, 7), PACK, extra(Limit(UNLIMITED, MONTH)), 2)) == Limit(UNLIMITED, MONTH)


def test_an_addition_of_another_period_stands_beside():
    standing = add(monthly(PRO, 100), PACK, extra(Limit(5, DAY)))
    assert [share.limits for share in standing.shares] == [(Limit(5, DAY),), (Limit(100, MONTH),)]


def test_an_addition_raises_a_ceiling_by_as_much():
    assert only(add(monthly(PRO, 100, "soft", 150), PACK, extra(Limit(5, MONTH)), 2)) == Limit(110, MONTH, "soft", 160)


def test_a_sum_is_soft_if_a_part_is():
    """Counterexample: a second add-on made the soft allowance of a first one hard, and denied what had passed."""
    softened = add(monthly(PRO, 10), PACK, extra(Limit(5, MONTH, "soft")))
    assert only(softened) == Limit(15, MONTH, "soft")
    capped = add(monthly(PRO, 10), PACK, extra(Limit(5, MONTH, "soft", 8)), 2)
    assert only(capped) == Limit(20, MONTH, "soft", 26)


def test_sums_do_not_depend_on_who_was_added_first():
    hard, soft = extra(Limit(5, MONTH)), extra(Limit(7, MONTH, "soft", 9))
    one = add(add(monthly(PRO, 1), PACK, hard, 2), LAUNCH, soft)
    other = add(add(monthly(PRO, 1), LAUNCH, soft), PACK, hard, 2)
    assert one == other
    assert only(one) == Limit(18, MONTH, "soft", 20)


def test_a_sum_never_exceeds_what_a_counter_holds():
    assert only(add(monthly(PRO, MAX_UNITS), PACK, extra(Limit(5, MONTH)))) == Limit(MAX_UNITS, MONTH)
    huge = add(None, PACK, extra(Limit(MAX_UNITS - 1, MONTH, "soft", MAX_UNITS)), 3)
    assert only(huge) == Limit(MAX_UNITS, MONTH, "soft", MAX_UNITS)


def test_several_limits_are_added_to_limit_by_limit():
    base = metered(PRO, Limit(50, FIVE_HOURS), Limit(200, WEEK))
    standing = add(base, PACK, extra(Limit(20, WEEK), Limit(10, FIVE_HOURS)), 2)
    assert standing == metered(PRO, Limit(70, FIVE_HOURS), Limit(240, WEEK))


# --- plans with their parents


def offer(**plans):
    return Catalog.load(
        {
            "features": {
                "calls": {"type": "metered", "reset": "month"},
                "exports": {"type": "boolean"},
                "tier": {"type": "config", "value": "text"},
            },
            "plans": {key: {"extends": [], **plan} for key, plan in plans.items()},
            "promotions": {"launch": {"entitlements": {"calls": 7}}},
        }
    )


def limit_and_label(catalog, plan, kind="plan"):
    share = flatten(catalog, plan, kind)["calls"].shares[0]
    return share.limits[0].amount, share.source.label


def test_a_plan_has_what_its_parents_have_over_several_levels():
    catalog = offer(
        free={"entitlements": {"calls": 10}},
        basic={"extends": ["free"]},
        pro={"extends": ["basic"], "entitlements": {"exports": True}},
    )
    assert limit_and_label(catalog, "pro") == (10, "parent:free")
    assert flatten(catalog, "pro")["exports"] == Standing(Source("plan", "pro"), True)
    assert limit_and_label(catalog, "free") == (10, "plan:free")


def test_the_most_generous_of_a_plan_and_its_parents_wins():
    catalog = offer(
        free={"entitlements": {"calls": 10}},
        basic={"extends": ["free"], "entitlements": {"calls": 50}},
        pro={"extends": ["basic"], "entitlements": {"calls": 20}},
        top={"extends": ["pro"], "entitlements": {"calls": 50}},
    )
    assert limit_and_label(catalog, "pro") == (50, "parent:basic")
    assert limit_and_label(catalog, "top") == (50, "plan:top")


def test_a_set_entry_stands_alone_even_below_its_parents():
    catalog = offer(
        free={"entitlements": {"calls": 10}},
        lite={"extends": ["free"], "entitlements": {"calls": {"limit": 3, "mode": "set"}}},
        child={"extends": ["lite"]},
        wide={"extends": ["child"], "entitlements": {"calls": 2}},
    )
    assert limit_and_label(catalog, "lite") == (3, "plan:lite")
    assert limit_and_label(catalog, "child") == (3, "parent:lite")
    assert limit_and_label(catalog, "wide") == (3, "parent:lite")


def test_a_set_entry_holds_back_only_what_comes_through_it():
    catalog = offer(
        free={"entitlements": {"calls": 10}},
        lite={"extends": ["free"], "entitlements": {"calls": {"limit": 3, "mode": "set"}}},
        other={"entitlements": {"calls": 5}},
        both={"extends": ["lite", "other"]},
        around={"extends": ["lite", "free"]},
    )
    assert limit_and_label(catalog, "both") == (5, "parent:other")
    assert limit_and_label(catalog, "around") == (10, "parent:free")


def test_a_set_entry_of_one_feature_leaves_the_others():
    catalog = offer(
        free={"entitlements": {"calls": 10, "exports": True}},
        lite={"extends": ["free"], "entitlements": {"calls": {"limit": 3, "mode": "set"}}},
    )
    assert flatten(catalog, "lite")["exports"] == Standing(Source("parent", "free"), True)


def test_the_order_in_which_a_plan_names_its_parents_does_not_matter():
    plans = {"a": {"entitlements": {"calls": 5, "tier": "x"}}, "b": {"entitlements": {"calls": 5, "tier": "y"}}}
    one = offer(**plans, pro={"extends": ["a", "b"]})
    other = offer(**plans, pro={"extends": ["b", "a"]})
    for kind in ("plan", "trial"):
        assert flatten(one, "pro", kind) == flatten(other, "pro", kind)
    assert flatten(one, "pro")["tier"] == Standing(Source("parent", "a"), "x")


def test_a_trial_gives_what_the_plan_gives_with_one_voice():
    catalog = offer(
        free={"entitlements": {"calls": 10, "tier": "a"}},
        pro={"extends": ["free"], "entitlements": {"calls": 5, "tier": "b", "exports": True}},
    )
    given = flatten(catalog, "pro", "trial")
    assert limit_and_label(catalog, "pro", "trial") == (10, "trial:pro")
    assert given["tier"] == Standing(Source("trial", "pro"), "b")
    assert {standing.source for standing in given.values()} == {Source("trial", "pro")}


def test_a_plan_or_promotion_the_catalog_lacks_gives_nothing():
    catalog = offer(free={})
    assert flatten(catalog, "gone") == {}
    assert flatten(catalog, "gone", "trial") == {}
    assert promoted(catalog, "gone") == {}
    assert lineage(catalog, "gone") == ()


def test_a_promotion_gives_its_entries():
    assert promoted(offer(free={}), "launch") == {"calls": monthly(LAUNCH, 7)}


def test_a_lineage_names_each_ancestor_once_the_nearest_first():
    catalog = offer(free={}, a={"extends": ["free"]}, b={"extends": ["free"]}, pro={"extends": ["a", "b"]})
    assert lineage(catalog, "pro") == ("pro", "a", "b", "free")


def test_what_a_plan_gives_is_worked_out_once():
    catalog = offer(free={"entitlements": {"calls": 10}})
    assert flatten(catalog, "free") is flatten(catalog, "free")
    assert promoted(catalog, "launch") is promoted(catalog, "launch")
