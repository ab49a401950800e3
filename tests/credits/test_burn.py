"""Burn order: which block is drawn on first, for every key of every policy, and that it is a total order."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise, permutations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entitlements import Catalog
from entitlements.ledger.blocks import Block, Purpose
from entitlements.ledger.burn import KEYS, POLICIES, burn, burn_order, keys_of, usable
from entitlements.ledger.crediting import Books
from entitlements.ledger.state import in_burn_order
from entitlements.spending import Charge, payment_of

from .reading import DAY, HOUR, START, consume, grant, left, moves

BLOCK = Block("b", "plain", 0, 10, 10, 0, "paid", 50, None, START, None)
NOBODY = Purpose()
FIRST = {
    "priority": {"priority": 49},
    "expires_at": {"expires_at": START + DAY},
    "category": {"category": "promotional"},
    "cost_basis": {"cost_basis": Decimal(-1)},
    "restricted": {"features": ("chat",)},
    "effective_at": {"effective_at": START - DAY},
    "granted": {"number": -1},
    "plan": {"source": "plan:pro"},
}
SCOPES = [(("team", "a"),), (("user", "x"),), (("user", "x"), ("team", "a")), (("team", "b"),)]
DEFAULT = ("priority", "expires_at", "category", "cost_basis", "restricted", "effective_at", "granted")


def ids(blocks, policy="default"):
    return [block.id for block in burn_order(blocks, policy)]


# --- the default order


def test_the_default_order_is_the_one_that_is_written_down():
    assert POLICIES["default"] == keys_of("default") == DEFAULT


@pytest.mark.parametrize("key", DEFAULT)
def test_each_key_decides_where_all_keys_before_it_tie(key):
    one = attrs.evolve(BLOCK, id="z", **FIRST[key])
    assert ids([BLOCK, one]) == ids([one, BLOCK]) == ["z", "b"]


@pytest.mark.parametrize(("earlier", "later"), list(pairwise(DEFAULT)))
def test_each_key_weighs_more_than_the_next(earlier, later):
    one = attrs.evolve(BLOCK, id="z", **FIRST[earlier])
    other = attrs.evolve(BLOCK, id="a", **FIRST[later])
    assert ids([other, one]) == ["z", "a"]


def test_the_id_ends_every_tie():
    blocks = [attrs.evolve(BLOCK, id=name) for name in ("b", "a", "A", "é", "ab")]
    assert ids(blocks) == ids(reversed(blocks)) == ["A", "a", "ab", "b", "é"]


def test_a_block_without_an_end_comes_after_every_end():
    last = datetime.max.replace(tzinfo=UTC)
    assert ids([BLOCK, attrs.evolve(BLOCK, id="z", expires_at=last)]) == ["z", "b"]


def test_instants_are_compared_to_the_microsecond():
    one = attrs.evolve(BLOCK, id="z", expires_at=START + DAY)
    other = attrs.evolve(BLOCK, id="a", expires_at=START + DAY + timedelta(microseconds=1))
    assert ids([other, one]) == ["z", "a"]


def test_cost_is_compared_by_the_unit_and_exactly():
    dear = attrs.evolve(BLOCK, id="a", units=3, cost_basis=Decimal(1))
    cheap = attrs.evolve(BLOCK, id="z", units=3 * 10**17, cost_basis=Decimal("99999999999999999.9"))
    free = attrs.evolve(BLOCK, id="zz", units=3, cost_basis=Decimal(0))
    assert ids([dear, cheap, free]) == ["zz", "z", "a"]


def test_no_cost_is_a_cost_of_nothing():
    known = attrs.evolve(BLOCK, id="a", cost_basis=Decimal(0))
    assert ids([BLOCK, known]) == ["a", "b"]


blocks = st.builds(
    Block,
    id=st.sampled_from("abcdefgh"),
    credit=st.just("plain"),
    scale=st.just(0),
    units=st.just(10),
    free_units=st.just(10),
    held_units=st.just(0),
    category=st.sampled_from(["paid", "promotional"]),
    priority=st.integers(49, 51),
    cost_basis=st.sampled_from([None, Decimal(0), Decimal(5)]),
    effective_at=st.sampled_from([START, START + HOUR]),
    expires_at=st.sampled_from([None, START + DAY, START + 2 * DAY]),
    features=st.sampled_from([None, ("chat",)]),
    scope=st.sampled_from([None, None, (), *SCOPES]),
    source=st.sampled_from(["grant", "plan:pro"]),
    number=st.integers(1, 3),
)


@given(st.lists(blocks, min_size=2, max_size=4, unique_by=lambda block: block.id), st.sampled_from(sorted(POLICIES)))
def test_the_order_does_not_depend_on_how_blocks_arrive(blocks, policy):
    assert {tuple(ids(each, policy)) for each in permutations(blocks)} == {tuple(ids(blocks, policy))}


# --- other orders


@pytest.mark.parametrize(
    ("policy", "key"), [("first_in_first_out", "granted"), ("soonest_expiry", "expires_at"), ("plan_first", "plan")]
)
def test_a_policy_puts_its_own_key_before_the_default_order(policy, key):
    assert keys_of(policy) == (key, *(each for each in DEFAULT if each != key))
    one = attrs.evolve(BLOCK, id="z", priority=99, **FIRST[key])
    assert ids([BLOCK, one], policy) == ["z", "b"]


def test_a_list_of_keys_is_followed_by_the_rest_of_the_default_order():
    assert keys_of(("category", "granted")) == (
        "category", "granted", "priority", "expires_at", "cost_basis", "restricted", "effective_at",
    )  # fmt: skip
    cheap = attrs.evolve(BLOCK, id="z", category="promotional", priority=99)
    assert ids([BLOCK, cheap], ("category",)) == ["z", "b"]


def test_every_key_has_a_name_in_the_catalog():
    for key in KEYS:
        catalog = Catalog.load({"version": 1, "credits": {"plain": {"burn_order": [key]}}})
        assert catalog.credits["plain"].burn_order == (key,)


# --- allocations


@pytest.mark.parametrize("key", [*DEFAULT, "plan"])
@pytest.mark.parametrize("policy", [*POLICIES, ("category", "granted")])
def test_an_allocation_comes_before_every_shared_block_whatever_the_policy(policy, key):
    allocation = attrs.evolve(BLOCK, id="z", scope=(("team", "a"),))
    for shared in (BLOCK, attrs.evolve(BLOCK, id="a", **FIRST[key])):
        assert ids([shared, allocation], policy) == ["z", shared.id]


def test_of_two_allocations_the_one_of_more_pairs_comes_first():
    team = attrs.evolve(BLOCK, id="a", priority=1, scope=(("team", "a"),))
    user = attrs.evolve(BLOCK, id="z", scope=(("team", "a"), ("user", "x")))
    assert ids([team, user]) == ids([team, user], "first_in_first_out") == ["z", "a"]


@pytest.mark.parametrize("key", DEFAULT)
def test_among_allocations_of_as_many_pairs_the_burn_order_decides(key):
    one, other = (attrs.evolve(BLOCK, id=name, scope=((kind, "x"),)) for name, kind in (("b", "team"), ("z", "user")))
    sooner = attrs.evolve(other, **FIRST[key])
    assert ids([one, other]) == ["b", "z"]
    assert ids([one, sooner]) == (["b", "z"] if key == "restricted" else ["z", "b"])  # both are restricted


def test_a_block_for_a_scope_of_no_pairs_is_shared():
    everybody = attrs.evolve(BLOCK, id="z", scope=())
    assert ids([everybody, attrs.evolve(BLOCK, priority=49)]) == ["b", "z"]


@given(st.lists(blocks, max_size=8, unique_by=lambda block: block.id), st.sampled_from(sorted(POLICIES)))
def test_among_blocks_of_as_many_pairs_only_the_keys_of_the_policy_decide(blocks, policy):
    for pairs in range(3):
        alike = [block for block in blocks if len(block.scope or ()) == pairs]
        by_keys = sorted(alike, key=lambda block: (*(KEYS[key](block) for key in keys_of(policy)), block.id))
        assert [block for block in burn_order(blocks, policy) if block in alike] == by_keys


shared = st.lists(blocks, min_size=1, max_size=5, unique_by=lambda block: block.id)
allocations = st.lists(
    st.builds(lambda block, scope: attrs.evolve(block, id=block.id.upper(), scope=scope), blocks, st.sampled_from(SCOPES)),
    min_size=1, max_size=5, unique_by=lambda block: block.id,
)  # fmt: skip
inside = st.builds(Purpose, st.sampled_from(["chat", "chat", None]), st.sampled_from([SCOPES[2], SCOPES[2], *SCOPES, ()]))


@given(st.builds(list.__add__, shared, allocations), st.sampled_from(sorted(POLICIES)), inside, st.integers(0, 90), st.booleans())
def test_no_shared_block_is_touched_while_an_allocation_has_something_free(blocks, policy, purpose, units, as_kept):
    credit = attrs.evolve(Catalog.load({"version": 1, "credits": {"plain": {}}}).credits["plain"], burn_order=policy)
    books = Books(in_burn_order(blocks) if as_kept else {block.id: block for block in blocks}, in_order=as_kept)
    payment = payment_of(books, Charge(credit, units, purpose, "hard", START + HOUR))
    can_pay = usable(blocks, "plain", purpose, START + HOUR)
    assert sum(payment.burned.values()) == min(units, 10 * len(can_pay))
    left = {block.id: block.free_units - payment.burned.get(block.id, 0) for block in can_pay if block.scope}
    for block in can_pay:
        if not block.scope and payment.burned.get(block.id):
            assert not any(left.values())


def test_charges_and_holds_use_allocations_up_first(ent):
    grant(ent, 2, "queue", key="shared", priority=1, expires_in=3600)
    grant(ent, 2, "queue", key="of a", scope="team:a")
    grant(ent, 2, "queue", key="of x", scope="team:a/user:x", expires_in=7200)
    grant(ent, 2, "queue", key="of b", scope="team:b", priority=0)
    assert [block.id for block in ent.balance("acme", "queue").blocks] == ["of x", "of a", "of b", "shared"]
    assert consume(ent, 3, "queue", scope="team:a/user:x").receipt.burned == {"of x": 2, "of a": 1}
    assert ent.reserve_credits("acme", "queue", 2, key="h", scope="team:a")
    assert [line.block for line in ent.entries("acme") if line.kind == "held"] == ["of a", "shared"]
    assert consume(ent, 1, "queue", key="alone").receipt.burned == {"shared": 1}


# --- what is usable


@pytest.mark.parametrize(
    ("told", "at"),
    [
        ({"free_units": 0}, START),
        ({"credit": "other"}, START),
        ({"effective_at": START + HOUR}, START),
        ({"expires_at": START + HOUR}, START + HOUR),
        ({"voided": True}, START),
        ({"features": ("chat",)}, START),
        ({"scope": (("team", "a"),)}, START),
    ],
)
def test_a_block_is_not_usable_if(told, at):
    assert usable([BLOCK], "plain", NOBODY, at) == [BLOCK]
    assert usable([attrs.evolve(BLOCK, **told)], "plain", NOBODY, at) == []


def test_a_restricted_block_is_usable_for_its_purpose():
    block = attrs.evolve(BLOCK, features=("chat",), scope=(("team", "a"),))
    inside = Purpose("chat", (("user", "x"), ("team", "a")))
    assert usable([block], "plain", inside, START) == [block]
    assert usable([block], "plain", Purpose("chat", (("team", "b"),)), START) == []
    assert usable([block], "plain", Purpose("sso", (("team", "a"),)), START) == []


# --- burning


def test_burning_takes_each_block_whole_before_the_next():
    two = [BLOCK, attrs.evolve(BLOCK, id="c", free_units=5)]
    assert burn(two, 12) == ([("b", 10), ("c", 2)], 0)
    assert burn(two, 20) == ([("b", 10), ("c", 5)], 5)
    assert burn(two, 10) == ([("b", 10)], 0)
    assert burn(two, 0) == ([], 0)
    assert burn([], 3) == ([], 3)


def test_a_charge_over_several_blocks_is_one_line_for_each_in_burn_order(ent):
    grant(ent, 3, key="paid")
    grant(ent, 3, key="gift", category="promotional")
    grant(ent, 3, key="soon", expires_in=3600)
    grant(ent, 3, key="first", priority=1)
    decision = consume(ent, 11)
    assert list(decision.receipt.burned.items()) == [("first", 3), ("soon", 3), ("gift", 3), ("paid", 2)]
    assert moves(ent)[4:] == [("burned", units, block) for block, units in decision.receipt.burned.items()]


def test_a_restricted_block_goes_first_where_it_may_pay(ent):
    grant(ent, 3, key="any")
    grant(ent, 3, key="chat", features=["chat"])
    assert consume(ent, 4, feature="chat").receipt.burned == {"chat": 3, "any": 1}


def test_the_catalog_may_write_another_order(ent):
    grant(ent, 3, "queue", key="z first")
    grant(ent, 3, "queue", key="urgent", priority=1, expires_in=3600)
    assert [block.id for block in ent.balance("acme", "queue").blocks] == ["z first", "urgent"]
    assert consume(ent, 4, "queue").receipt.burned == {"z first": 3, "urgent": 1}
    grant(ent, 2, "queue", key="third", priority=0)
    assert ent.reserve_credits("acme", "queue", 3, key="h")
    assert [line.block for line in ent.entries("acme") if line.kind == "held"] == ["urgent", "third"]


def test_two_hundred_equal_blocks_are_spent_to_the_last_and_none_twice(ent):
    for number in range(200):
        grant(ent, 1, key=f"b{number}", expires_at=START + DAY)
    for start in (0, 50, 100, 150):
        assert list(consume(ent, 50, key=f"c{start}").receipt.burned) == [f"b{n}" for n in range(start, start + 50)]
    assert left(ent) == 0
    assert not consume(ent, 1)
