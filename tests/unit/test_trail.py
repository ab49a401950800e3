"""Who repaid what: first borrowed is first repaid, and what is given back is given back by who repaid it last."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from entitlements.ledger.trail import Account


def account(*moves):
    made = Account()
    for move, *told in moves:
        getattr(made, move)(*told)
    return made


def test_what_was_borrowed_first_is_repaid_first():
    made = account(("borrow", "a", 3), ("borrow", "b", 4), ("borrow", "a", 2), ("repay", "x", 6))
    assert (made.owed, made.repaid) == ({"b": 3}, {"a": [("x", 5)], "b": [("x", 1)]})


def test_what_is_given_back_is_that_of_who_repaid_last():
    made = account(("borrow", "a", 9), ("repay", "x", 4), ("repay", "y", 5))
    assert made.give_back("a", 6) == [("y", 5), ("x", 1)]
    assert made.repaid["a"] == [("x", 3)]
    assert made.give_back("a", 0) == []


def test_a_refund_forgives_its_own_charge_first_and_stands_in_for_others():
    made = account(("borrow", "a", 4), ("repay", "x", 3), ("borrow", "b", 2), ("borrow", "c", 5), ("forgive", "a", 4))
    assert (made.owed, made.repaid["a"]) == ({"c": 4}, [])
    assert (made.repaid["b"], made.repaid["c"]) == ([("x", 2)], [("x", 1)])


def test_a_copy_leaves_the_account_as_it_is():
    made = account(("borrow", "a", 4), ("repay", "x", 3))
    copy = made.copied()
    copy.repay("y", 1)
    copy.give_back("a", 4)
    assert (made.owed, made.repaid) == ({"a": 1}, {"a": [("x", 3)]})


charges, blocks, units = st.sampled_from("abc"), st.sampled_from("xyz"), st.integers(1, 9)


@given(st.lists(st.tuples(st.sampled_from(["borrow", "repay", "refund"]), charges, blocks, units), max_size=40))
def test_every_charge_is_given_back_what_it_took_and_no_block_more_than_it_repaid(story):
    """The law of a refund: it never gives more than was taken, nor more of a block than that repaid."""
    made, taken, repaid, back = Account(), Counter(), Counter(), Counter()
    for move, key, block, amount in story:
        owed = sum(made.owed.values())
        if move == "borrow":
            made.borrow(key, amount)
            taken[key] += amount
        elif move == "repay" and owed:
            made.repay(block, min(amount, owed))
            repaid[block] += min(amount, owed)
        elif move == "refund" and taken[key]:
            part = min(amount, taken[key])
            made.forgive(key, min(part, owed))
            given = made.give_back(key, part - min(part, owed))
            for each, units in given:
                back[each] += units
            assert sum(units for _, units in given) == part - min(part, owed)
            taken[key] -= part
        for each in taken:
            paid = sum(units for _, units in made.repaid.get(each, []))
            assert made.owed.get(each, 0) + paid == taken[each]
        assert all(back[each] <= repaid[each] for each in back)
