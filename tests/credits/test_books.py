"""The books: what each kind of line does to blocks, holds and debt, and what no books can bear."""

import attrs
import pytest

from entitlements.amounts import MAX_UNITS
from entitlements.errors import LogCorrupt
from entitlements.ledger.blocks import Block, Debt, OpenHold, Purpose, live, over
from entitlements.ledger.crediting import CREDIT_KINDS, Books
from entitlements.ledger.entries import Entry

from .reading import DAY, SECOND, START

BLOCK = Block("b", "plain", 0, 10, 6, 3, "paid", 50, None, START, None)
HOLD = OpenHold("h", "plain", 3, Purpose(), None, "charge", (("b", 3),))
OWED = Purpose("chat")


def books():
    """One block with 6 free, 3 held and 1 used, the hold on it, and a debt of 4."""
    return Books({"b": BLOCK}, {"h": HOLD}, {("plain", OWED): Debt("plain", OWED, 4)})


def line(kind, amount=1, *, block="b", subject="plain", **data):
    return Entry(kind, START, subject, amount=amount, block=block, data=data, seq=7)


@pytest.mark.parametrize(
    ("kind", "free", "held"),
    [
        ("burned", 5, 3), ("held", 5, 4), ("settled", 6, 2), ("released", 7, 2), ("refunded", 7, 3), ("expired", 5, 3),
        ("voided", 5, 3), ("rolled", 5, 3),
    ],
)  # fmt: skip
def test_each_kind_moves_one_way_within_its_block(kind, free, held):
    standing = books()
    standing.post(line(kind))
    block = standing.blocks["b"]
    assert (block.free_units, block.held_units, block.voided) == (free, held, kind == "voided")


@pytest.mark.parametrize(("kind", "owed", "free"), [("overdrawn", 5, 6), ("repaid", 3, 5), ("forgiven", 3, 6)])
def test_each_kind_moves_debt_one_way(kind, owed, free):
    standing = books()
    standing.post(line(kind, purpose=OWED))
    assert standing.debts == {("plain", OWED): Debt("plain", OWED, owed)}
    assert standing.blocks["b"].free_units == free


def test_debt_that_is_paid_off_is_gone():
    standing = books()
    standing.post(line("forgiven", 4, purpose=OWED))
    assert standing.debts == {}


def test_a_hold_is_opened_and_closed():
    standing = books()
    standing.post(line("hold_closed", 0, hold="h", state="released"))
    assert standing.holds == {}
    standing.post(line("reserved", 0, hold=HOLD))
    assert standing.holds == {"h": HOLD}


@pytest.mark.parametrize(
    "bad",
    [
        line("burned", 7), line("held", 7), line("expired", 7), line("voided", 7), line("settled", 4),
        line("released", 4), line("refunded", 2), line("burned", -1), line("refunded", -1), line("settled", -1),
        line("repaid", 7, purpose=OWED), line("repaid", 5, purpose=OWED),
        line("burned", block="none"), line("burned", block=""), line("burned", subject="other"),
    ],
    ids=lambda bad: f"{bad.kind} {bad.amount} {bad.block} {bad.subject}",
)  # fmt: skip
def test_a_line_its_block_cannot_bear_is_refused(bad):
    with pytest.raises(LogCorrupt, match="entry 7"):
        books().post(bad)


@pytest.mark.parametrize(
    "bad",
    [
        line("forgiven", 5, purpose=OWED), line("forgiven", 1, purpose=Purpose()), line("overdrawn", -1, purpose=OWED),
        line("overdrawn", MAX_UNITS, purpose=OWED),
    ],
    ids=lambda bad: f"{bad.kind} {bad.amount}",
)  # fmt: skip
def test_debt_stays_between_nothing_and_64_bits(bad):
    with pytest.raises(LogCorrupt, match="debt in 'plain' cannot bear"):
        books().post(bad)


NEW = attrs.evolve(BLOCK, id="n", free_units=10, held_units=0)


@pytest.mark.parametrize(
    ("block", "amount"),
    [
        (attrs.evolve(NEW, id="b"), 10), (NEW, 9), (attrs.evolve(NEW, free_units=9), 10),
        (attrs.evolve(NEW, free_units=9, held_units=1), 10), (attrs.evolve(NEW, held_units=1), 10),
    ],
)  # fmt: skip
def test_a_block_is_granted_once_and_whole(block, amount):
    with pytest.raises(LogCorrupt, match="granted before, or in another amount"):
        books().post(Entry("granted", START, "plain", amount=amount, block=block.id, data={"block": block}))


def test_only_an_empty_block_is_reopened():
    empty = attrs.evolve(BLOCK, free_units=0, held_units=0)
    for block in (BLOCK, empty, attrs.evolve(NEW, free_units=0, held_units=1), NEW):
        with pytest.raises(LogCorrupt, match="only an empty one is reopened"):
            books().post(Entry("reopened", START, "plain", block=block.id, data={"block": block}))
    standing = Books({"b": empty}, {}, {})
    standing.post(Entry("reopened", START, "plain", block="b", data={"block": attrs.evolve(empty, voided=True)}))
    assert standing.blocks["b"].voided


def test_a_hold_is_opened_once_and_closed_once():
    with pytest.raises(LogCorrupt, match="'h' was opened before"):
        books().post(line("reserved", 0, hold=HOLD))
    with pytest.raises(LogCorrupt, match="'none' is not open"):
        books().post(line("hold_closed", 0, hold="none"))


def test_sweeping_lets_go_of_what_is_empty_and_keeps_what_was_voided():
    none = attrs.evolve(BLOCK, free_units=0, held_units=0)
    blocks = {
        "free": attrs.evolve(none, free_units=1),
        "held": attrs.evolve(none, held_units=1),
        "none": none,
        "void": attrs.evolve(none, voided=True),
    }
    assert list(Books(blocks, {}, {}).swept().blocks) == ["free", "held", "void"]


def test_every_kind_has_its_test():
    moved, owed = "burned held settled released refunded expired voided rolled", "overdrawn repaid forgiven"
    opened, granting = "granted reopened reserved hold_closed", "plan_credits_set plan_left"
    assert {*moved.split(), *owed.split(), *opened.split(), *granting.split()} == CREDIT_KINDS


def test_a_block_is_live_from_its_first_instant_to_just_before_its_end():
    block = attrs.evolve(BLOCK, expires_at=START + DAY)
    instants = [START - SECOND, START, START + DAY - SECOND, START + DAY]
    assert [live(block, at) for at in instants] == [False, True, True, False]
    assert [over(block, at) for at in instants] == [False, False, False, True]
    assert live(BLOCK, START + 10_000 * DAY)
    assert over(attrs.evolve(BLOCK, voided=True), START)
    assert not live(attrs.evolve(BLOCK, voided=True), START)


def test_what_was_forfeited_with_a_plan_is_said_by_its_line_and_a_line_of_an_older_log_says_nothing():
    standing = books()
    standing.post(line("plan_left", 0, block="", subject="ai", source="app-1/ai"))
    assert standing.forfeited == {}
    standing.post(line("plan_left", 0, block="", subject="ai", source="app-1/ai", forfeits=["pro", 7]))
    assert standing.forfeited == standing.copied().forfeited == standing.swept().forfeited == {"pro/ai": ((7, START),)}
