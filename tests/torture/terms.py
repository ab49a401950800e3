"""What is sold to those who spend, as the rules have it: limits, plan credits, the rate card, and the windows things count in."""

from collections import Counter
from dataclasses import dataclass

SECOND = 1_000_000
HOUR = 3_600 * SECOND
DAY = 24 * HOUR
SPANS = {"hour": HOUR, "day": DAY, "none": None}
NEVER = 2**62
LIMITS = {"agents": 2000, "crew": 500}
GRANTS = {"agents": 300, "crew": 100}
ROLLS = {"agents": 50, "crew": 0}
CREDIT_OF = {"chat": "gas", "tokens": "fuel"}
SOFT = {"fuel"}


@dataclass
class Block:
    """What is free and held of a grant; without a `scope` nobody says for whom: debt that was repaid and comes back."""

    credit: str
    begins: int
    ends: int
    scope: dict | None
    free: int = 0
    held: int = 0


@dataclass
class Hold:
    """What was set aside, and where it counts."""

    call: dict
    ends: int
    usage: tuple
    budgets: dict


@dataclass
class Taken:
    """What a batch took: credits by where they came from, units in counters, the last to come back first."""

    paid: int
    units: int
    usage: dict
    budgets: dict
    blocks: Counter
    back: int = 0


def price_of(call):
    """What a use costs by the rate card of the run, rounded up once."""
    large = call["dimensions"].get("model") == "large"
    if call["feature"] == "chat":
        return call["amount"] * (5 if large else 2)
    return -(-(call["amount"]["input"] + call["amount"]["output"] * (7 if large else 3)) // 10)


def share(grant, before, at, ends):
    """What of a grant a block that ends with its day brings: the rest of it where some was granted `before`."""
    return grant * (ends - at) // DAY if before > ends - DAY else grant


def units_of(amount):
    return sum(amount.values()) if isinstance(amount, dict) else amount


def counted_in(feature, at):
    """The window in which a feature is counted: chat starts again with each hour, tokens never do."""
    return window("hour" if feature == "chat" else "none", at)


def window(every, at):
    return 0 if SPANS[every] is None else at // SPANS[every] * SPANS[every]


def within(pairs, all_pairs):
    return pairs.items() <= all_pairs.items()
