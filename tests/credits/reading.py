"""Short ways to say what a test of credits looks at."""

from datetime import UTC, datetime, timedelta

START = datetime(2026, 3, 10, 12, tzinfo=UTC)
SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
QUIET = {"refund", "reserved", "hold_closed", "reopened", "nothing", "opened"}


def left(ent, credit="plain", **more):
    """What may be spent now, as a number."""
    return ent.balance("acme", credit, **more).available


def standing(ent, credit="plain", **more):
    """Available, held and owed."""
    balance = ent.balance("acme", credit, **more)
    return balance.available, balance.held, balance.debt


def moves(ent, after=0, customer="acme"):
    """What moved, line by line: kind, amount in smallest units, block."""
    lines = ent.entries(customer, after=after)
    return [(line.kind, line.amount, line.block) for line in lines if line.kind not in QUIET]


def size(ent, customer="acme"):
    """How many lines there are: a test of "nothing was written" compares two of these."""
    return len(ent.entries(customer, limit=10_000))


def grant(ent, amount, credit="plain", *, key="g", customer="acme", **more):
    return ent.grant_credits(customer, credit, amount, key=key, **more)


def consume(ent, amount, credit="plain", *, key="c", customer="acme", **more):
    return ent.consume_credits(customer, credit, amount, key=key, **more)


def reserve(ent, amount, credit="plain", *, key="h", customer="acme", **more):
    return ent.reserve_credits(customer, credit, amount, key=key, **more)


def refund(ent, batch_key="c", amount=None, *, key="r", customer="acme"):
    return ent.refund(customer, batch_key, amount, key=key)
