"""Known bugs, put into a storage on purpose: a torture run that does not find them is worth nothing."""

import os

import attrs

from entitlements import charging, holding
from entitlements.ledger.entries import Verdict
from entitlements.storage.connection import Connection


def broken(storage, bug):
    """Return the storage with one of the bugs of `BUGS` in it."""
    return BUGS[bug](storage)


def forgets_keys(storage):
    """Carries a repeated call out again, under a key of its own: charged twice."""
    transact, made = storage.transact, iter(range(10**9))

    def transacted(customer, key, reads, decide):
        if not customer.startswith("$") and storage.batch(customer, key) is not None:
            hearing = decide.__self__
            key = hearing.key = f"{key}~{os.getpid()}.{next(made)}"
        return transact(customer, key, reads, decide)

    storage.transact = transacted
    return storage


def answers_before_the_commit(storage):
    """Lets one commit in fifty go missing after it was answered."""
    commit, count = Connection.commit, iter(range(10**9))

    def sometimes(connection, key):
        if next(count) % 50 == 49:
            connection.roll_back()
        else:
            commit(connection, key)

    Connection.commit = sometimes
    return storage


def reads_the_past(storage):
    """Answers every other reading of a state with what was read the time before."""
    state, last, count = storage.state, {}, iter(range(10**9))

    def stale(customer, reads):
        if customer in last and next(count) % 2:
            return last[customer](reads)
        found = state(customer, reads)
        last[customer] = lambda wanted: attrs.evolve(found, counters={name: found.counters.get(name, 0) for name in wanted(found.head)})
        return found

    storage.state = stale
    return storage


def denies_when_busy(storage):
    """Denies one use in twenty that there is room for, as if a lock not had in time were a limit reached."""
    transact, count = storage.transact, iter(range(10**9))

    def transacted(customer, key, reads, decide):
        def confused(state):
            verdict = decide(state)
            batch = verdict.batch
            if batch is None or batch.request.get("verb") != "consume" or next(count) % 20 != 19:
                return verdict
            return Verdict(attrs.evolve(verdict.result, allowed=False, code="limit_reached", receipt=None))

        return transact(customer, key, reads, confused)

    storage.transact = transacted
    return storage


def forgets_a_budget(storage):
    """Settles a hold without counting in any budget what it comes to beyond what was held."""
    holding._beyond = lambda case, under: iter(())
    return storage


def overshoots_a_budget(storage):
    """Lets every charge pass the budgets it falls under, as if they were all there to notify."""
    charging.refused = lambda under, decision, case: None
    return storage


BUGS = {
    bug.__name__: bug
    for bug in (
        forgets_keys, answers_before_the_commit, reads_the_past, denies_when_busy, forgets_a_budget, overshoots_a_budget,
    )
}  # fmt: skip
