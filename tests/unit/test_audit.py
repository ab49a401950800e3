"""The audit of a log: what is wrong is named, once, and where; what is sound is sound."""

import tracemalloc
from datetime import timedelta
from itertools import islice

import attrs
import pytest

from entitlements.ledger.audit import MOST_OF_A_KIND, Problem, audit
from entitlements.ledger.blocks import Block
from entitlements.ledger.chain import chain, chained
from entitlements.ledger.entries import EPOCH, Batch, Entry, numbered
from entitlements.ledger.facts import Facts, Trial
from entitlements.ledger.records import NO_SECRETS, Kept, batch_of, digests_of
from entitlements.ledger.sealing import Secret
from entitlements.ledger.state import fold
from entitlements.testing.histories import CALLS, START, personal_kinds

MINUTE = timedelta(minutes=1)
BLOCK = Block("g", "ai", 0, 10**9, 10**9, 0, "paid", 50, None, START, None, number=1)
GRANT = Entry("granted", START, "ai", amount=10**9, block="g", data={"block": BLOCK})
BURN = Entry("burned", START, "ai", amount=2, block="g")
USE = Entry("used", START, "calls", *CALLS, 3)
ERASED = Entry("erased", START, "acme")


def log(*batches, salt="salt"):
    """Return the records of batches of these entries, chained."""
    previous, seq, records = "", 0, []
    for number, entries in enumerate(batches, start=1):
        lines = numbered(entries, after=seq, key=f"k{number}", at=START)
        _, record = chain(Batch("acme", f"k{number}", number, START, {"n": number}, {}, lines, salt=salt), previous)
        previous, seq = record.hash, seq + len(lines)
        records.append(record)
    return records


def kept(log, **changes):
    head, counters = fold(map(batch_of, log))
    values = {"head": head, "counters": iter(counters.items()), "records": iter(log), **changes}
    return Kept("acme", **values)


def rehashed(records):
    """Return the records with hashes that hold, as somebody who rewrote the whole log would leave them."""
    previous, again = "", []
    for record in records:
        previous = chained(record, previous)
        again.append(record._replace(hash=previous))
    return again


def told(records, *, saved=None, now=START, **changes):
    good = log([GRANT], [BURN, USE], [BURN], [BURN], [USE])
    audited = kept(good, **{"records": iter(records), **changes})
    return [str(problem) for problem in audit(audited, now=now, head=saved)]


GOOD = log([GRANT], [BURN, USE], [BURN], [BURN], [USE])


def test_a_sound_log_has_no_problems():
    for record in GOOD:
        assert told(GOOD, saved=record.hash) == []
    assert told(GOOD, saved="") == []
    assert audit(Kept("acme", None, iter(()), iter(())), now=START) == ()


def test_a_log_of_everything_personal_is_sound():
    records = log(personal_kinds(), [attrs.evolve(BURN, block="free", amount=1)])
    secrets = {digest: secret for record in records for digest, secret in record.secrets.items()}
    assert audit(kept(records, secrets=len(secrets)), now=START) == ()


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"request": '{"n":7}'}, 3),
        ({"result": '{"n":7}'}, 3),
        ({"key": "k7"}, 3),
        ({"at": 7}, 3),
        ({"hash": "0" * 64}, 3),
        ({"lines": (GOOD[2].lines[0]._replace(amount=1),)}, 3),
        ({"lines": (GOOD[2].lines[0]._replace(data='{"a":1}'),)}, 3),
    ],
)
def test_a_changed_batch_is_named_once(change, where):
    records = [record._replace(**change) if record.number == where else record for record in GOOD]
    chain_problems = [problem for problem in told(records) if "hash" in problem]
    assert chain_problems == [f"acme, batch {where}: its hash does not follow from what it holds and the batch before"]


def test_a_change_that_was_hashed_again_shows_in_the_head_alone():
    """Who rewrites the batch and all after it is found by the head that is kept, and by a saved one."""
    changed = GOOD[2]._replace(lines=(GOOD[2].lines[0]._replace(amount=1),))
    records = rehashed([*GOOD[:2], changed, *GOOD[3:]])
    assert told(records) == [
        "acme: the head differs from the log in its blocks (g)",
        "acme: the head differs from the log in its hash",
    ]
    head, counters = fold(map(batch_of, records))
    rewritten = {"head": head, "counters": iter(counters.items())}
    assert told(records, **rewritten) == []
    rewritten["counters"] = iter(counters.items())
    said = "acme: the saved head is not in the chain: its end was cut off, or it was rewritten"
    assert told(records, saved=GOOD[-1].hash, **rewritten) == [said]


def test_a_batch_that_is_gone_is_named_and_nothing_else_is():
    assert told([*GOOD[:2], *GOOD[3:]]) == [
        "acme, batch 4: batch 3 is missing before it",
        "acme, batch 4, entry 4: it is to hold entries 5 to 5, and follows entry 3 with 1",
        "acme, batch 4, entry 4: entry 5 of batch 4 stands in its place",
    ]


def test_a_batch_that_is_there_twice_is_named():
    assert "acme, batch 2: it comes twice" in told([*GOOD[:2], GOOD[1], *GOOD[2:]])


def test_batches_that_changed_places_are_named():
    assert told([*GOOD[:2], GOOD[3], GOOD[2], GOOD[4]])[0] == "acme, batch 4: batch 3 is missing before it"


def test_lines_that_are_gone_added_or_swapped_are_named():
    first, second = GOOD[1].lines
    for lines in ((first,), (second,), (second, first), (first, second, second._replace(seq=4)), ()):
        problems = told([GOOD[0], GOOD[1]._replace(lines=lines), *GOOD[2:]])
        assert problems[0].startswith("acme, batch 2")
        assert not any(problem.startswith("acme, batch 5") for problem in problems)


def test_a_line_of_another_batch_is_named():
    lines = (GOOD[2].lines[0]._replace(batch=2),)
    records = [*GOOD[:2], GOOD[2]._replace(lines=lines), *GOOD[3:]]
    assert "acme, batch 3, entry 4: entry 4 of batch 2 stands in its place" in told(records)


def test_batches_that_changed_places_in_the_feed_are_named():
    placed = [record._replace(position=position) for record, position in zip(GOOD, (3, 5, 4, 9, 10), strict=True)]
    assert told(placed) == ["acme, batch 3: it stands in the feed before the batch it follows"]


def test_a_line_the_books_cannot_bear_is_named_and_the_fold_ends_there():
    records = rehashed([*GOOD[:2], GOOD[2]._replace(lines=(GOOD[2].lines[0]._replace(amount=10**10),)), *GOOD[3:]])
    assert told(records) == ["acme, batch 3: entry 4: block 'g' cannot bear burned of 10000000000"]


def test_data_that_cannot_be_read_is_named():
    for data in ("{", "[]", '{"block":{}}'):
        records = rehashed([GOOD[0]._replace(lines=(GOOD[0].lines[0]._replace(data=data),)), *GOOD[1:]])
        (problem,) = told(records)
        assert problem.startswith("acme, batch 1: it cannot be read")


def test_time_that_goes_back_is_named():
    records = rehashed([*GOOD[:2], GOOD[2]._replace(at=GOOD[2].at - 1), *GOOD[3:]])
    assert told(records) == ["acme, batch 3: batch 3 is empty or goes back in time"]


def test_a_counter_out_of_its_range_is_named():
    records = rehashed([*GOOD[:4], GOOD[4]._replace(lines=(GOOD[4].lines[0]._replace(amount=-4),))])
    assert told(records) == ["acme, batch 5: counter 'calls' would become -1; nothing was written"]


OTHER = {"seq": 7, "batches": 7, "at": START + MINUTE, "facts": Facts(trials=(Trial("pro", START, None),)), "hash": "0"}


@pytest.mark.parametrize("part", [*OTHER, "opened", "noted", "blocks", "debts", "salt"])
def test_a_changed_head_is_named_with_its_part(part):
    head, _ = fold(map(batch_of, GOOD))
    (problem,) = told(GOOD, head=attrs.evolve(head, **{part: OTHER.get(part, {"a": 1})}))
    assert problem.startswith(f"acme: the head differs from the log in its {part}")


def test_a_head_that_is_gone_and_one_without_a_log_are_named():
    assert told(GOOD, head=None) == ["acme: no head is kept of this log"]
    assert told(GOOD, head=None, folded_anew=True) == []
    head, _ = fold(map(batch_of, GOOD))
    assert "acme: the head differs from the log in its seq" in told([], head=head)


def test_counters_that_differ_are_named():
    start, more = START.isoformat(), ("more", EPOCH)
    for counters, said in (
        ({CALLS: 7}, f"acme: counter 'calls' from {start} is kept as 7, the log says 6"),
        ({}, f"acme: counter 'calls' from {start} is not kept, the log says 6"),
        (
            {CALLS: 6, more: 1},
            f"acme: counter 'more' from {EPOCH.isoformat()} is kept as 1, the log says 0",
        ),
    ):
        assert told(GOOD, counters=iter(counters.items())) == [said]


def test_a_log_ahead_of_the_clock_is_reported():
    assert told(GOOD, now=START - 5 * MINUTE) == []
    (problem,) = told(GOOD, now=START - 5 * MINUTE - timedelta(microseconds=1))
    assert problem == f"acme, batch 5: the log is ahead of the clock, at {START.isoformat()}"


def test_what_the_storage_finds_is_passed_on():
    assert told(GOOD, flaws=("a page is torn",)) == ["acme: a page is torn"]


# Secrets


def personal():
    records = log(personal_kinds(), [attrs.evolve(USE, data={"scope": {"user": "ann"}})], [USE])
    return records, len({digest for record in records for digest in record.secrets})


def audited(records, count):
    good, _ = personal()
    return [str(problem) for problem in audit(kept(good, records=iter(records), secrets=count), now=START)]


def without_secrets(record):
    """Return a record as an erasure leaves it."""
    return record._replace(secrets={digest: Secret("", "", kept.number) for digest, kept in record.secrets.items()})


def test_a_changed_secret_is_named():
    records, count = personal()
    for digest, secret in records[1].secrets.items():
        for changed in (secret._replace(text='{"user":"bob"}'), secret._replace(salt="pepper")):
            problems = audited([records[0], records[1]._replace(secrets={digest: changed}), records[2]], count)
            assert "acme, batch 2: a personal value in it was changed" in problems


def test_a_secret_that_is_gone_without_an_erasure_is_named():
    records, count = personal()
    problems = audited([records[0], records[1]._replace(secrets={}), records[2]], count - 1)
    assert problems == ["acme, batch 2: a personal value in it is gone"]
    problems = audited([records[0], without_secrets(records[1]), records[2]], count)
    assert problems == ["acme, batch 2: a personal value in it was erased, and no erasure is booked"]


def test_that_all_secrets_are_gone_is_named():
    """A storage that knows none of them leaves records as they are, and so they must be asked for all the same."""
    records, count = personal()
    bare = [record._replace(secrets=NO_SECRETS) for record in records]
    assert audited(bare, 0)[:count] == [
        f"acme, batch {number}: a personal value in it is gone" for number in [1] * (count - 1) + [2]
    ]


def test_a_secret_that_nobody_holds_is_named():
    records, count = personal()
    assert audited(records, count + 1) == [f"acme: {count + 1} personal values are kept, the log holds {count}"]


def test_an_erasure_explains_that_secrets_are_gone():
    records = log(personal_kinds(), [ERASED], [USE])
    erased = [without_secrets(record) for record in records]
    assert audit(kept(erased, secrets=len(records[0].secrets)), now=START) == ()


def test_what_was_erased_may_be_spoken_of_later():
    """A debt that was bound to an erased scope is repaid: the digest stands in a batch after the erasure."""
    records = log(personal_kinds(), [ERASED])
    (debt,) = fold(map(batch_of, records))[0].debts.values()
    repaid = Entry("repaid", START, "ai", amount=1, block="free", data={"purpose": debt.purpose})
    records = log(personal_kinds(), [ERASED], [repaid])
    erased = [without_secrets(record) for record in records[:2]]
    (digest,) = digests_of(records[2])
    known = erased[0].secrets[digest]
    assert (
        audit(kept([*erased, records[2]._replace(secrets={digest: known})], secrets=len(erased[0].secrets)), now=START)
        == ()
    )


def test_secrets_that_outlive_an_erasure_are_named():
    records = log(personal_kinds(), [ERASED], [USE])
    problems = [str(problem) for problem in audit(kept(records, secrets=len(records[0].secrets)), now=START)]
    assert problems == ["acme, batch 2: personal values from before this erasure are still kept"]


def test_an_erasure_folds_to_the_same_head_from_what_is_left():
    """The fold over the log before the erasure, and over what the erasure left of it, are one."""
    records = log(personal_kinds(), [ERASED])
    before, after = fold(map(batch_of, records)), fold(batch_of(record._replace(secrets={})) for record in records)
    assert before == after
    assert before[0].salt == ""
    assert all(block.scope is None or block.scope[0][0] == "$sealed" for block in before[0].blocks.values())


# No flood, and no memory


def test_of_each_kind_ten_are_named():
    records = log([GRANT], *([BURN] for _ in range(60)))
    broken = [record._replace(request="{}") if record.number > 1 else record for record in records]
    problems = audit(kept(records, records=iter(broken)), now=START)
    assert len(problems) == MOST_OF_A_KIND
    assert [problem.batch for problem in problems] == list(range(2, 2 + MOST_OF_A_KIND))


def test_memory_does_not_grow_with_the_log():
    def endless():
        previous, number, seq = "", 0, 0
        while True:
            number += 1
            lines = numbered([GRANT if number == 1 else BURN], after=seq, key=f"k{number}", at=START)
            _, record = chain(Batch("acme", f"k{number}", number, START, {}, {}, lines), previous)
            previous, seq = record.hash, seq + 1
            yield record

    def peak(batches):
        tracemalloc.start()
        audit(Kept("acme", None, islice(endless(), batches), iter(()), folded_anew=True), now=START)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(20_000) < peak(2500) + 300_000  # CPython itself keeps up to 2000 tuples of each size for reuse


def test_a_problem_reads_as_a_sentence():
    assert str(Problem("acme", 3, 7, "is torn")) == "acme, batch 3, entry 7: is torn"
    assert str(Problem("acme", None, None, "is torn")) == "acme: is torn"
    assert str(Problem("", None, None, "is torn")) == "the storage: is torn"
