"""Seeded bugs: each must be caught by the test that is there to catch it, or that test is blind.

    python tests/credits/mutants.py            all of them; exit code 1 if one survives
    python tests/credits/mutants.py M11 M12    those of a kind, and why each test failed

Each bug is one textual replacement in a copy of the package, which comes first on the path of one
pytest run. A text that is not found exactly once is an error: the bug has to be written anew. The
tests must pass without any bug, and a canary that nobody can miss shows that a failure is seen.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
AT_ONCE = max(2, os.cpu_count() or 2)


class Mutant(NamedTuple):
    """One bug: of which kind (research/invariants.md, Part 4), where, what becomes what, and who must see it."""

    kind: str
    bug: str
    module: str
    text: str
    becomes: str
    caught_by: str


MUTANTS = [
    Mutant("M0", "canary: nothing can be imported", "credit_verbs.py",
           "class CreditVerbs(Driven):", "raise ImportError\n\n\nclass CreditVerbs(Driven):",
           "test_spending.py::test_credits_of_another_kind_are_never_touched"),
    Mutant("M1", "BEGIN instead of BEGIN IMMEDIATE", "storage/connection.py",
           'self.run("BEGIN IMMEDIATE")', 'self.run("BEGIN")',
           "test_isolation.py::test_nobody_writes_between_what_a_decision_reads_and_what_it_writes"),
    Mutant("M5", "no unique index on the key", "storage/schema.py",
           "      UNIQUE (customer, key),\n", "",
           "test_isolation.py::test_the_database_itself_refuses_a_second_batch_of_a_key"),
    Mutant("M7", "key not scoped by customer", "storage/statements.py",
           "(SELECT number FROM batches WHERE batches.customer = heads.customer AND key = ?)",
           "(SELECT number FROM batches WHERE key = ? LIMIT 1)",
           "test_idempotency.py::test_a_key_belongs_to_one_customer"),
    Mutant("M8", "answered before the commit, which never comes", "storage/sqlite.py",
           "                self._commit(connection, calls[0].key)\n", "                self._committed += 1\n",
           "test_isolation.py::test_what_was_answered_is_in_the_file"),
    Mutant("M11", "expiry: <= where < is meant, and the end belongs to the block", "ledger/blocks.py",
           "is not None and block.expires_at <= at)", "is not None and block.expires_at < at)",
           "test_books.py::test_a_block_is_live_from_its_first_instant_to_just_before_its_end"),
    Mutant("M11", "a block is drawn on at the instant it ends", "ledger/burn.py",
           "block.expires_at is None or at < block.expires_at", "block.expires_at is None or at <= block.expires_at",
           "test_burn.py::test_a_block_is_not_usable_if"),
    Mutant("M11", "a hold lapses one tick late", "ledger/due.py",
           "if instant is not None and instant <= at]", "if instant is not None and instant < at]",
           "test_holds.py::test_at_its_end_a_hold_has_given_everything_back"),
    Mutant("M12", "the last tiebreak removed", "ledger/blocks.py",
           "self.effective_at, self.number, self.id)", "self.effective_at, self.number)",
           "test_burn.py::test_the_id_ends_every_tie"),
    Mutant("M13", "refund to whatever burns first today", "refunding.py",
           '    yield from reopened(case, books, line.block)\n',
           "    line = attrs.evolve(line, block=min(books.blocks.values(), key=lambda block: block.rank).id)\n",
           "test_refunds.py::test_blocks_are_those_that_paid_whatever_would_burn_first_today"),
    Mutant("M13", "refund in the order of burning", "refunding.py",
           "for line in reversed(lines):", "for line in lines:",
           "test_refunds.py::test_parts_go_back_in_the_reverse_of_the_order_they_burned_in"),
    Mutant("M14", "the sweeper does not note what it expired", "ledger/due.py",
           'yield _posted(books, Entry("expired", at, block.credit, amount=block.free_units, block=block_id))',
           'yield Entry("expired", at, block.credit, amount=block.free_units, block=block_id)',
           "test_due.py::test_what_fell_due_once_does_not_fall_due_again"),
    Mutant("M15", "settling beyond what is held", "holding.py",
           "taken = min(held, units)", "taken = units",
           "test_holds.py::test_settling_more_draws_on_in_burn_order"),
    Mutant("M15", "held may go below zero unnoticed", "ledger/crediting.py",
           "free_units < 0 or held_units < 0 or", "free_units < 0 or",
           "test_books.py::test_a_line_its_block_cannot_bear_is_refused"),
    Mutant("M16", "the wall clock instead of ledger time", "hearing.py",
           "at = max(now, head.at)", "at = now",
           "test_due.py::test_what_expired_on_the_record_stays_expired_when_the_clock_goes_back"),
    Mutant("M17", "what was remembered is not forgotten after a write", "desk.py",
           "self.cache.forget(request.customer)", "pass",
           "test_due.py::test_a_check_of_another_feature_is_valid_as_long_as_before"),
    Mutant("M18", "hash preimage without the length of the key", "ledger/chain.py",
           "{number};{len(key)}:{key}{at};", "{number};{key}{at};",
           "../unit/test_chain.py::test_no_two_records_share_a_preimage"),
    Mutant("M19", "a float between units and amounts", "amounts.py",
           "Decimal(units).scaleb(-scale, _CONTEXT)", 'Decimal(f"{units / 10**scale:.{scale}f}")',
           "test_money.py::test_the_largest_amount_is_granted_held_spent_and_given_back_exactly"),
    Mutant("M23", "rollback missing: an error leaves the lock", "storage/sqlite.py",
           "connection.roll_back()\n        except StorageError:", "pass\n        except StorageError:",
           "test_isolation.py::test_a_decision_that_raises_leaves_no_lock_behind"),
    Mutant("M24", "the end of a window belongs to it", "metering.py",
           "        if at < end:\n", "        if at <= end:\n",
           "test_holds.py::test_what_settling_adds_opens_a_window_of_first_use"),
    Mutant("M25", "blocks burn in the order they happen to lie in", "ledger/burn.py",
           "return sorted(blocks, key=RANK)", "return list(blocks)",
           "test_burn.py::test_the_order_does_not_depend_on_how_blocks_arrive"),
    Mutant("allocation", "it burns where its terms put it", "ledger/blocks.py",
           "return (-depth(self), self.priority,", "return (0, self.priority,",
           "test_burn.py::test_an_allocation_comes_before_every_shared_block_whatever_the_policy"),
    Mutant("allocation", "the catalog's order comes before it", "ledger/burn.py",
           "(-depth(block), *(key(block) for key in keys), block.id)", "(*(key(block) for key in keys), block.id)",
           "test_burn.py::test_charges_and_holds_use_allocations_up_first"),
    Mutant("allocation", "the shallow scope before the deep", "ledger/blocks.py",
           "return len(block.scope) if block.scope else 0", "return int(bool(block.scope))",
           "test_burn.py::test_of_two_allocations_the_one_of_more_pairs_comes_first"),
    Mutant("debt", "a grant does not repay what is owed", "granting.py",
           "repaid = list(repay(books, block, case.at))", "repaid = list[Entry]()",
           "test_debt.py::test_the_next_grant_repays_first_as_far_as_it_goes"),
    Mutant("debt", "a block repays debt it could not have paid", "ledger/due.py",
           "live(block, at) and pays(block, purpose):", "live(block, at):",
           "test_debt.py::test_a_block_repays_only_what_it_could_have_paid"),
    Mutant("debt", "no floor", "spending.py",
           "return max(0, floor - owed_in(books, credit.key) - promised_in(books, credit.key) + charge.promised)",
           "return MAX_UNITS",
           "test_spending.py::test_soft_with_a_floor_owes_up_to_it_and_not_one_more"),
    Mutant("debt", "a hold reserves nothing of the floor", "spending.py",
           " - promised_in(books, credit.key) + charge.promised)", ")",
           "test_debt.py::test_what_holds_have_promised_counts_against_the_floor"),
    Mutant("debt", "a hold may not owe what it promised", "spending.py",
           " + charge.promised)", ")",
           "test_debt.py::test_what_holds_have_promised_counts_against_the_floor"),
    Mutant("refund", "more than was taken", "refunding.py",
           "if units > left or not units:", "if not units:",
           "test_refunds.py::test_never_more_than_was_taken_in_one_refund_or_in_many"),
    Mutant("refund", "an open hold is refunded as if it had been used", "refunding.py",
           'USED = frozenset({"used", "recorded"})', 'USED = frozenset({"used", "recorded", "usage_held"})',
           "test_refunds.py::test_a_hold_that_took_nothing_has_nothing_to_refund"),
    Mutant("key", "another request under a key gets the first answer", "deciding.py",
           "if first != second and (second is None or not is_sealed(first)):", "if is_sealed(first) and second:",
           "test_idempotency.py::test_another_grant_under_the_same_key_conflicts_and_names_the_field"),
    Mutant("hold", "released to a block that ended, and usable again", "ledger/due.py",
           "        yield from lose(books, block_id, units, at)\n", "",
           "test_holds.py::test_what_is_released_to_a_block_that_ended_expires_with_it"),
    Mutant("hold", "an interrupted body leaves its hold open", "holds.py",
           "self._close(failed=error is not None)\n",
           "error and not isinstance(error, Exception) or self._close(failed=error is not None)\n",
           "test_holds.py::test_a_body_that_is_interrupted_settles_what_it_reported_and_else_releases"),
]  # fmt: skip


def main(kinds: list[str], mutants: list[Mutant] = MUTANTS) -> int:
    """Try every bug and print what became of it; return 1 where one survived, 2 where one cannot be tried."""
    chosen = [mutant for mutant in mutants if not kinds or mutant.kind in kinds]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(AT_ONCE) as workers:
        sound = Path(place) / "sound"
        copy_to(sound)
        try:
            copies = [seeded(mutant, Path(place) / str(number)) for number, mutant in enumerate(chosen)]
        except ValueError as error:
            print(error)
            return 2
        tests = sorted({mutant.caught_by for mutant in chosen})
        passes, said = run(sound, *tests)
        if not passes:
            print(f"the tests fail without any bug:\n{said}")
            return 2
        outcomes = list(workers.map(lambda copy, mutant: run(copy, mutant.caught_by), copies, chosen))
    for mutant, (survived, said) in zip(chosen, outcomes, strict=True):
        print(f"{'SURVIVED' if survived else 'caught':9}{mutant.kind:7}{mutant.bug:66}{mutant.caught_by}")
        if kinds and not survived:
            failed = [line.partition(" - ")[2] for line in said.splitlines() if line.startswith("FAILED")]
            print(" " * 16 + (failed[0] if failed else said.strip()[-150:]))
    survivors = sum(survived for survived, _ in outcomes)
    print(f"{len(chosen) - survivors} of {len(chosen)} bugs caught in {time.monotonic() - began:.0f} s")
    return 1 if survivors else 0


def seeded(mutant: Mutant, place: Path) -> Path:
    """Return a copy of the package with the bug in it."""
    copy_to(place)
    path = place / "entitlements" / mutant.module
    source = path.read_text(encoding="utf-8")
    if source.count(mutant.text) != 1:
        raise ValueError(f"{mutant.module} holds {source.count(mutant.text)} times, not once: {mutant.text!r}")
    path.write_text(source.replace(mutant.text, mutant.becomes), encoding="utf-8")
    return place


def copy_to(place: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", ".mypy_cache")
    shutil.copytree(ROOT / "entitlements", place / "entitlements", ignore=ignored)


def run(copy: Path, *tests: str) -> tuple[bool, str]:
    """Return whether the tests pass with this copy of the package, and what pytest said."""
    nodes = [str((ROOT / "tests" / "credits").joinpath(test)) for test in tests]
    options = f"-x -q --no-header --tb=line -p no:cacheprovider --rootdir={ROOT} -c {ROOT / 'pyproject.toml'}"
    here = {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "HYPOTHESIS_STORAGE_DIRECTORY": str(copy / "x")}
    command = [sys.executable, "-m", "pytest", *options.split(), *nodes]
    done = subprocess.run(command, cwd=copy, env=os.environ | here, capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stdout + done.stderr


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
