"""Broken storages: each must be rejected by the test that is there to reject it, or that test is blind.

    python tests/storage/mutants.py            all of them; exit code 1 if one survives
    python tests/storage/mutants.py lock       those of a kind, and why each test failed

How a bug is seeded, and how it is tried, is written in `tests/credits/mutants.py`.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "credits"))

from mutants import Mutant, main

FILE = "../storage/test_sqlite.py::TestFile::"
MEMORY = "../storage/test_memory.py::TestMemory::"
SQLITE = "../storage/test_sqlite.py::"
GROUPS = "../storage/test_grouping.py::"
LINE = "../storage/test_line.py::"

EARLY = """            writing.decide_all(calls)
            answers = iter(writing.outcomes)
            for party in self._turns._under_way:
                outcomes = [next(answers) for _ in party.calls]
                if {}:
                    party.settle(outcomes)
            time.sleep(0.002)
"""

MUTANTS = [
    Mutant("lock", "memory: no lock", "storage/memory.py",
           "if not each.lock.acquire(timeout=max(0.0, deadline - time.monotonic())):", "if time.monotonic() < 0:",
           MEMORY + "test_decisions_of_one_customer_never_overlap"),
    Mutant("lock", "several customers are locked in the order they come", "storage/memory.py",
           "sorted({call.customer for call in calls})", "[call.customer for call in calls]",
           MEMORY + "test_groups_that_wait_for_one_customer_in_opposite_order_all_come_through"),
    Mutant("lock", "SQLite: anybody may lead beside the leader", "storage/grouping.py",
           "        if not self._turn.acquire(blocking=False):\n            return False\n",
           "        self._turn.acquire(blocking=False)\n",
           FILE + "test_decisions_of_one_customer_never_overlap"),
    Mutant("lock", "SQLite: deferred begin", "storage/connection.py",
           'self.run("BEGIN IMMEDIATE")', 'self.run("BEGIN")',
           SQLITE + "test_two_storages_on_one_file_never_overlap"),
    Mutant("lock", "an error leaves the transaction open", "storage/sqlite.py",
           "connection.roll_back()\n        except StorageError:", "pass\n        except StorageError:",
           SQLITE + "test_no_lock_is_left_behind_by_an_exception"),
    Mutant("commit", "committed after an error", "storage/writing.py",
           "            self._forget_all()\n            outcome = Outcome(error=error)\n",
           "            self.has_written = True\n            outcome = Outcome(error=error)\n",
           SQLITE + "test_lines_already_inserted_go_when_a_later_one_collides"),
    Mutant("commit", "the batch in one transaction, its key and head in another", "storage/statements.py",
           "    connection.run_each(_ADD_ENTRY, [",
           '    connection.run("COMMIT")\n    connection.run("BEGIN IMMEDIATE")\n    connection.run_each(_ADD_ENTRY, [',
           GROUPS + "test_an_interrupt_at_any_point_of_a_write_leaves_a_storage_that_works"),
    Mutant("commit", "each call of a group in a commit of its own", "storage/writing.py",
           "            self._decide_together(calls)\n",
           "            for call in calls:\n                self._decide_alone(call)\n"
           '                self._connection.run("COMMIT")\n                self._connection.run("BEGIN IMMEDIATE")\n',
           FILE + "test_groups_are_seen_whole"),
    Mutant("commit", "answered, and never committed", "storage/sqlite.py",
           "                self._commit(connection, calls[0].key)\n", "                self._committed += 1\n",
           FILE + "test_what_was_appended_is_read_back"),
    Mutant("commit", "a failed commit is a failure", "storage/connection.py",
           "            raise OutcomeUnknown(key) from error\n", "            raise translated(error, self.path) from error\n",
           SQLITE + "test_a_commit_that_fails_is_an_unknown_outcome"),
    Mutant("key", "no unique key: a batch is not shown to its key", "storage/memory.py",
           "prior = None if key is None else self._by_key.get(key)", "prior = None",
           MEMORY + "test_a_key_that_comes_back_is_shown_its_batch"),
    Mutant("key", "no unique key: whoever has it, the first customer's batch is shown", "storage/statements.py",
           "(SELECT number FROM batches WHERE batches.customer = heads.customer AND key = ?)",
           "(SELECT number FROM batches WHERE key = ? LIMIT 1)",
           FILE + "test_a_key_belongs_to_one_customer"),
    Mutant("key", "a key written by an earlier call of the group is not seen", "storage/memory.py",
           "state = log.shown(head, call.reads, call.key)", "state = log.shown(log.head, call.reads, call.key)",
           MEMORY + "test_a_later_call_sees_what_an_earlier_one_appended"),
    Mutant("key", "SQLite: a key written by an earlier call of the group is not seen", "storage/writing.py",
           "growth.batches.get(key) or self._stored(customer, key)",
           "batch_with(self._connection, customer, key)",
           FILE + "test_a_later_call_sees_what_an_earlier_one_appended"),
    Mutant("group", "everybody is answered before the commit", "storage/sqlite.py",
           "            writing.decide_all(calls)\n", EARLY.format("True"),
           FILE + "test_what_is_answered_is_committed"),
    Mutant("group", "denials are answered before the commit", "storage/sqlite.py",
           "            writing.decide_all(calls)\n", EARLY.format("outcomes[0].result == (False, 5)"),
           FILE + "test_what_is_answered_is_committed"),
    Mutant("group", "one exception loses the neighbours before it", "storage/writing.py",
           "                raise\n            return Outcome(error=error)\n",
           "                raise\n            self._logs, self._records = {}, []\n            return Outcome(error=error)\n",
           FILE + "test_a_call_that_raises_touches_no_other"),
    Mutant("group", "what a failing call wrote stays", "storage/writing.py",
           'self._connection.run(f"ROLLBACK TO {savepoint}")', "pass",
           GROUPS + "test_lines_already_inserted_go_when_a_later_one_collides_and_nobody_elses_do"),
    Mutant("group", "an interrupt among calls is one call's outcome", "storage/writing.py",
           "        except Exception as error:\n            if not", "        except BaseException as error:\n            if not",
           FILE + "test_an_interrupt_among_calls_passes_and_nothing_is_written"),
    Mutant("group", "a failed commit fails all of its group", "storage/grouping.py",
           "        party.is_alone = True\n", "        party.fail(error)\n",
           GROUPS + "test_a_failed_commit_undoes_the_group_and_each_is_decided_again_alone"),
    Mutant("group", "what may have been committed is said not to be", "storage/grouping.py",
           "if self.is_in_doubt and isinstance(error, StorageUnavailable):", "if False:",
           GROUPS + "test_of_what_may_have_been_committed_nobody_says_that_it_was_not"),
    Mutant("group", "the main thread decides for others", "storage/grouping.py",
           "if leader.is_interruptible or len(self._waiting) == 1:", "if len(self._waiting) == 1:",
           GROUPS + "test_the_main_thread_decides_for_nobody_but_itself"),
    Mutant("group", "who came last is decided first", "storage/grouping.py",
           "        for party in self._waiting:\n", "        for party in reversed(self._waiting):\n",
           GROUPS + "test_those_who_wait_share_the_next_commit_in_the_order_they_came"),
    Mutant("wait", "a commit under way is abandoned at the timeout", "storage/grouping.py",
           "if party in self._under_way or party.is_settled:", "if party.is_settled:",
           GROUPS + "test_a_commit_under_way_is_never_abandoned"),
    Mutant("wait", "who was interrupted while waiting is carried out all the same", "storage/grouping.py",
           "            self._waiting.pop(party, None)\n            if self._called is party:", "            if self._called is party:",
           GROUPS + "test_who_is_interrupted_while_waiting_is_withdrawn_or_stays_with_the_leader"),
    Mutant("wait", "the turn is kept by who was interrupted", "storage/grouping.py",
           "            return party.answer()\n        finally:\n            try:  # noqa: SIM105  (inline, so that an exception out of a signal handler finds no gap)\n                self._turn.release()\n",
           "            return party.answer()\n        finally:\n            try:\n                pass\n",
           GROUPS + "test_an_interrupt_at_any_point_leaves_turns_that_go_on"),
    Mutant("wait", "memory: half a group stays where it is broken off", "storage/memory.py",
           "                del feed[length:]\n", "",
           GROUPS + "test_an_interrupt_at_any_point_of_several_calls_leaves_all_or_none_of_them"),
    Mutant("wait", "the line is kept by who was at its head", "storage/line.py",
           "            fcntl.flock(file, fcntl.LOCK_UN)\n", "            pass\n",
           LINE + "test_who_writes_in_a_loop_does_not_pass_who_waits"),
    Mutant("wait", "a frozen head is waited for until the end", "storage/line.py",
           "_SHARE: Final = 0.25", "_SHARE: Final = 1.0",
           LINE + "test_a_head_that_is_frozen_holds_up_nobody_for_longer_than_a_part_of_the_timeout"),
]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], MUTANTS))
