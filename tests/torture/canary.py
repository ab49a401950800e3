"""Known bugs, put into a storage on purpose: a torture run that does not find them is worth nothing."""

import attrs

from entitlements.ledger.state import State
from entitlements.storage.connection import Connection


def broken(storage, bug):
    """Return the storage with one of the bugs of `BUGS` in it."""
    return BUGS[bug](storage)


def forgets_keys(storage):
    """Shows no decision the batch of its key, and writes a repeat down under another key: charged twice."""
    transact, made = storage.transact, iter(range(10**9))

    def transacted(customer, key, reads, decide):
        def blind(state: State):
            verdict = decide(attrs.evolve(state, prior=None))
            if verdict.batch is None or state.prior is None:
                return verdict
            batch = attrs.evolve(verdict.batch, key=f"{key}~{id(storage)}.{next(made)}")
            return attrs.evolve(verdict, batch=batch, record=None)

        return transact(customer, key, reads, blind)

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
    """Shows one decision in twenty an empty customer, as if a lock not had in time were a customer unknown."""
    transact, count = storage.transact, iter(range(10**9))

    def transacted(customer, key, reads, decide):
        def confused(state):
            verdict = decide(state)
            denied = getattr(verdict.result, "receipt", None) is not None and next(count) % 20 == 19
            if not denied or verdict.batch is None:
                return verdict
            return type(verdict)(attrs.evolve(verdict.result, allowed=False, code="limit_reached", receipt=None, limit=0))

        return transact(customer, key, reads, confused)

    storage.transact = transacted
    return storage


BUGS = {bug.__name__: bug for bug in (forgets_keys, answers_before_the_commit, reads_the_past, denies_when_busy)}
