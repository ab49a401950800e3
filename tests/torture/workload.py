"""The workload: what stream number `stream` does as its call number `n`, as a pure function of the seed.

That a call can be worked out by everybody is what makes repeats across processes possible: now and
then a stream does again what another one did a moment ago, with its key, or with its key and another
amount. Holds, blocks and batches are named in the same way.
"""

import random

from . import spending

CUSTOMERS = 6
SMALL = (1, 1, 2, 3, 5, 8, 13)
VERBS = {
    "grant": 6, "consume_credits": 16, "reserve_credits": 6, "reserve": 3, "settle": 7, "release": 2, "refund": 4,
    "void_block": 1, "sweep": 1, "consume": 14, "record": 2, "free": 2, "reset_usage": 1, "subscribe": 2, "change_plan": 2,
    "cancel": 2, "override": 2, "remove_override": 2, "balance": 8, "check": 9, "snapshot": 4, "erase": 0.2,
    "consume_many": 4, **spending.VERBS,
}  # fmt: skip
CLOSES = {"settle", "release"}
NEVER = {"customer": "c0", "key": "never", "amount": 1}
KEYLESS = {"sweep", "erase", "balance", "check", "snapshot", "usage_tree", "settle", "release", "void_block"}


class Workload:
    """What is called, for each of `streams` streams; `verbs` may leave some verbs out."""

    def __init__(self, seed, streams, verbs=None):
        self.seed, self.streams = seed, streams
        self.weights = {verb: weight for verb, weight in VERBS.items() if verbs is None or verb in verbs}

    def call(self, stream, n):
        """Return a call as JSON values, repeats and mutated repeats of others' calls among them."""
        draw = random.Random(f"{self.seed}/{stream}/{n}/again")
        if draw.random() < 0.22:
            other = self.first(draw.randrange(self.streams), max(0, n - int(draw.expovariate(0.3))))
            if draw.random() < 0.2 and isinstance(other.get("amount"), int) and other["amount"]:
                return {**other, "amount": other["amount"] + 1}
            return other
        return self.first(stream, n)

    def first(self, stream, n):
        """Return a call as it was first thought of."""
        draw, verb = self.drawn(stream, n)
        customer = min(int(draw.paretovariate(1.1)), CUSTOMERS) - 1
        call = {"f": verb.removeprefix("u:"), "customer": f"c{customer}"}
        if verb == "consume_many":
            return {**call, "parts": self.parts(stream, n, draw)}
        if call["f"] not in KEYLESS:
            call["key"] = f"k{stream}.{n}"
        if verb in spending.VERBS:
            return call | spending.arguments(self, verb, stream, n, draw)
        return call | self.arguments(verb, stream, n, draw)

    def drawn(self, stream, n):
        """Return the source of chance of a call, and its verb, the first thing drawn from it."""
        draw = random.Random(f"{self.seed}/{stream}/{n}")
        (verb,) = draw.choices(list(self.weights), list(self.weights.values()))
        return draw, verb

    def arguments(self, verb, stream, n, draw):  # noqa: C901  (a table of verbs)
        amount, credit = draw.choice(SMALL), draw.choices(("ai", "tab", "part"), (6, 2, 2))[0]
        match verb:
            case "grant":
                lasts = draw.choice((None, 3, 10, 60, 3600))
                return {"credit": credit, "amount": draw.choice((3, 8, 15)), "lasts": lasts,
                        "priority": draw.choice((50, 50, 10)), "paid": draw.random() < 0.6}  # fmt: skip
            case "consume_credits":
                return {"credit": credit, "amount": amount}
            case "reserve_credits":
                return {"credit": credit, "amount": amount, "ttl": draw.choice((1, 5, 30, 600))}
            case "reserve":
                return {"feature": "calls", "amount": amount, "ttl": draw.choice((1, 5, 30, 600))}
            case "settle" | "release":
                hold = self.recent(draw, stream, n, {"reserve_credits", "reserve"})
                more = {"amount": max(0, hold["amount"] + draw.choice((-2, -1, 0, 0, 0, 1, 4)))} if verb == "settle" else {}
                return {"customer": hold["customer"], "hold": hold["key"], **more}
            case "refund":
                batch = self.recent(draw, stream, n, {"consume_credits", "consume", "reserve_credits", "reserve"})
                return {"customer": batch["customer"], "of": batch["key"], "amount": draw.choice((None, None, 1, 2))}
            case "void_block":
                block = self.recent(draw, stream, n, {"grant"})
                return {"customer": block["customer"], "block": block["key"]}
            case "consume" | "record":
                return {"feature": draw.choice(("calls", "calls", "seats")), "amount": amount}
            case "free":
                return {"feature": "seats", "amount": draw.choice((1, 1, 2, 3))}
            case "reset_usage":
                return {"feature": "calls"}
            case "subscribe" | "change_plan":
                return {"plan": draw.choice(("pro", "team"))}
            case "override":
                feature, value = draw.choice((("sso", False), ("calls", 60), ("calls", 0), ("calls", 500)))
                return {"feature": feature, "value": value}
            case "remove_override":
                return {"feature": draw.choice(("sso", "calls"))}
            case "balance":
                return {"credit": credit}
            case "check":
                return {"feature": draw.choice(("calls", "seats", "sso"))}
        return {}

    def parts(self, stream, n, draw):
        """Return what is consumed in one commit: two or three uses, of different customers perhaps."""
        return [
            {"f": "consume", "customer": f"c{draw.randrange(CUSTOMERS)}", "key": f"k{stream}.{n}+{part}",
             "feature": draw.choice(("calls", "calls", "seats")), "amount": draw.choice(SMALL)}
            for part in range(draw.choice((2, 3)))
        ]  # fmt: skip

    def recent(self, draw, stream, n, verbs, none=NEVER):
        """Return a call of one of these verbs that some stream did not long ago; `none` where there is none."""
        stream = draw.choice((stream, draw.randrange(self.streams)))
        for back in range(1 + int(draw.expovariate(0.2)), 400):
            if n >= back and self.drawn(stream, n - back)[1] in verbs:
                return self.first(stream, n - back)
        return none
