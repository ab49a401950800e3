"""The history checker: what clients saw, held against the log, the rules, and the order of real time.

The order is not searched for; it is read from the log. Each customer is a stream of its own, and no call
touches two, so streams are judged one by one: what is strictly serializable in each is so in all.

    structure     numbers and seqs without gaps, time never back, each key once
    whose         every batch was asked for by a call; every call that was answered has its batch, no call that
                  failed has one; none is there in part (the lines are those of the rules, all of them)
    answers       as the rules give them, played in the order of the log; repeats get the first answer again
    real time     what had ended before another began stands before it
    laws          of customers that spend: budgets, prices, payment, refunds, plan grants, at every prefix (see `laws`)
    observations  denials, errors and readings are true at some point between their beginning and their end

Nothing of the library is imported.
"""

import bisect
import itertools
from collections import Counter, defaultdict

from . import laws, rules
from .model import State
from .workload import KEYLESS

FOREVER = 2**63
STALE_AFTER = 1_000_000_000
VERBS = {"grant": "grant_credits"}
DRAWN = {"sweep", "erase"}
SHOWN_MOVES = {
    "granted", "burned", "held", "settled", "released", "refunded", "expired", "voided", "repaid", "overdrawn", "forgiven",
    "used", "recorded", "freed", "usage_reset", "usage_held", "usage_released", "usage_refunded",
    "subscribed", "plan_changed", "canceled", "overridden", "override_removed",
}  # fmt: skip
FACTS = {"subscribed", "plan_changed", "canceled", "overridden", "override_removed"}


class Anomaly(Exception):
    """Something a correct library cannot do; `about` is what it concerns, to be printed with it."""

    def __init__(self, kind, said, customer, *about):
        super().__init__(f"{kind}: {customer}: {said}")
        self.kind, self.customer, self.about = kind, customer, about


def check_run(calls, batches, jumps=()):
    """Check every customer of a run; returns counts, raises Anomaly.

    `calls` are those of `history.calls_of`, `batches` the exported log, `jumps` the moments at which the
    clock was moved, each with what it showed before and after.
    """
    counts, streams, logs = Counter(), defaultdict(list), defaultdict(list)
    for call in calls:
        streams[call["customer"]].append(call)
    for batch in batches:
        logs[batch["customer"]].append(batch)
    for customer in sorted(streams.keys() | logs.keys()):
        if not customer.startswith("$"):
            Stream(customer, streams[customer], logs[customer], jumps, counts).check()
    return counts


def key_of(call):
    """The key under which a call would stand in the log, None for one that writes nothing or draws its key."""
    match call["f"]:
        case "settle" | "release":
            return f"$close:{call['hold']}"
        case "void_block":
            return f"$void:{call['block']}"
    return call.get("key") if call["f"] not in KEYLESS else None


def asks_for(call, batch):
    """Tell whether a batch is what a call asks for."""
    asked = batch["request"]
    if asked["verb"] != VERBS.get(call["f"], call["f"]):
        return False
    told = {**call, "batch_key": call.get("of"), "value": call.get("value")}
    named = ("amount", "credit", "feature", "plan", "hold", "batch_key", "value", "limit")
    return all(spelled(asked.get(name)) == spelled(told.get(name)) for name in named)


def spelled(value):
    """A value as requests spell it, a mapping of kinds too."""
    return {kind: str(units) for kind, units in value.items()} if isinstance(value, dict) else str(value)


class Stream:
    """One customer: the calls, the log, and what is worked out of both."""

    def __init__(self, customer, calls, batches, jumps, counts):
        self.customer, self.calls, self.batches = customer, calls, batches
        self.jumps, self.counts = jumps, counts
        self.by_key, self.owners = {}, defaultdict(list)

    def check(self):
        self.structure()
        self.whose()
        self.bounds()
        if self.customer.startswith("u"):
            self.obey()
        else:
            self.replay()

    def anomaly(self, kind, said, *about):
        return Anomaly(kind, said, self.customer, *about)

    def structure(self):
        seq, at = 0, 0
        for number, batch in enumerate(self.batches, start=1):
            if batch["number"] != number or [line["seq"] for line in batch["lines"]] != list(
                range(seq + 1, seq + 1 + len(batch["lines"]))
            ):
                raise self.anomaly("gap", f"batch {batch['number']} stands where {number} is due", batch)
            if batch["at"] < at:
                raise self.anomaly("time goes back", f"batch {number} is recorded before the one before it", batch)
            if batch["key"] in self.by_key:
                raise self.anomaly("duplicate effect", f"key {batch['key']} stands twice in the log", batch)
            self.by_key[batch["key"]] = number
            seq, at = seq + len(batch["lines"]), batch["at"]

    def whose(self):
        """Match calls with batches, and hold what clients were told against what is there."""
        for call in self.calls:
            self.count(call)
            number, end = self.by_key.get(key_of(call)), call["end"]
            mine = number is not None and asks_for(call, self.batches[number - 1])
            if mine:
                self.owners[number].append(call)
            wrote = end and end["ended"] == "answer" and end["answer"].get("allowed", True)
            if wrote and key_of(call) is not None and not mine and not at_odds(call, end):
                raise self.anomaly("lost write", f"{call['id']} was answered, and is not in the log", call)
            if end and end["ended"] == "broken":
                raise self.anomaly("broken", f"{call['id']} ended with {end['why']}", call)
        for number, batch in enumerate(self.batches, start=1):
            self.check_owned(number, batch)

    def count(self, call):
        end = call["end"]
        self.counts["calls"] += 1
        self.counts["open" if end is None else end["ended"]] += 1
        self.counts[f"verb {call['f']}"] += 1

    def check_owned(self, number, batch):
        self.counts["batches"] += 1
        if batch["request"]["verb"] in DRAWN:
            return
        if not self.owners[number]:
            raise self.anomaly("phantom write", f"nobody asked for batch {number}", batch)
        ends = [call["end"] for call in self.owners[number]]
        if not any(end is None or end["ended"] in {"answer", "unknown"} for end in ends):
            raise self.anomaly("failed, but applied", f"batch {number}", batch, *self.owners[number])
        first = [end for end in ends if end and end["ended"] == "answer" and end.get("replayed") is False
                 and end["answer"].get("allowed") is not False]  # fmt: skip
        if len(first) > 1 and batch["request"]["verb"] != "settle":
            raise self.anomaly("answered twice as new", f"batch {number}", batch, *self.owners[number])

    # Real time

    def bounds(self):
        """Work out between which moments each batch was committed; it raises where the order contradicts real time."""
        self.lo, self.hi = [0], [0]
        for number in range(1, len(self.batches) + 1):
            owners = self.owners[number]
            may_have = [call for call in owners if not (call["end"] and call["end"]["ended"] in {"failed", "refused"})]
            writers = [call for call in may_have if is_first(call)] or may_have
            told = [call["end"]["mono"] for call in owners if call["end"] and call["end"]["ended"] == "answer" and wrote(call)]
            self.lo.append(min((call["mono"] for call in writers), default=0))
            self.hi.append(min(told, default=FOREVER))
        latest = 0
        for number in range(1, len(self.lo)):
            if self.hi[number] < self.lo[latest]:
                about = [self.batches[latest - 1], *self.owners[latest], self.batches[number - 1], *self.owners[number]]
                said = f"batch {number} had been answered before batch {latest}, which precedes it, was asked for"
                raise self.anomaly("order against real time", said, *about)
            if self.lo[number] > self.lo[latest]:
                latest = number
        self.begun = list(itertools.accumulate(self.lo, max))
        ended = sorted((hi, number) for number, hi in enumerate(self.hi))
        self.ends = [hi for hi, _ in ended]
        self.newest = list(itertools.accumulate((number for _, number in ended), max))

    def seen_by(self, call):
        """Return the first and the last state that a call may have seen."""
        began = call["mono"] - (STALE_AFTER if call["f"] == "check" else 0)
        before = bisect.bisect_left(self.ends, began)
        low = self.newest[before - 1] if before else 0
        return low, max(low, bisect.bisect_right(self.begun, call["end"]["mono"]) - 1)

    # The laws of those who spend

    def obey(self):
        """Hold each batch against the laws, and the answers that tell of it against each other."""
        books, waiting = laws.Books(), Spending(self)
        waiting.look(books, 0)
        for number, batch in enumerate(self.batches, start=1):
            call = self.owners[number][0] if self.owners[number] else {"f": batch["request"]["verb"]}
            try:
                books.follow(batch, call)
            except laws.Broken as broken:
                raise self.anomaly(broken.law, f"batch {number}: {broken.said}", batch, call) from None
            told = [call for call in self.owners[number] if call["end"] and call["end"]["ended"] == "answer" and wrote(call)]
            if any(call["end"]["answer"] != told[0]["end"]["answer"] for call in told):
                raise self.anomaly("wrong answer", f"batch {number} was answered in two ways", batch, *told)
            self.counts[f"lawful {call['f']}"] += 1
            waiting.look(books, number)
        waiting.done()

    # Playing the log

    def replay(self):
        state, waiting = State(), Observations(self)
        waiting.look(state, 0)
        for number, batch in enumerate(self.batches, start=1):
            self.play(state, number, batch)
            waiting.look(state, number)
        waiting.done()

    def play(self, state, number, batch):
        call = self.owners[number][0] if self.owners[number] else {"f": batch["request"]["verb"]}
        before = state.trial()
        try:
            answer = rules.apply(state, call, batch["at"])
        except rules.Refused as refused:
            said = f"the rules refuse batch {number} with {refused.kind}"
            raise self.anomaly("against the rules", said, batch, call, alive(before)) from None
        if answer.get("allowed") is False and call["f"] != "settle":
            raise self.anomaly("overspent", f"the rules deny batch {number}: {answer}", batch, call, alive(before))
        expected, found = sorted(state.moves, key=repr), sorted(map(move_of, shown(batch)), key=repr)
        if expected != found:
            said = f"batch {number} does not move what the rules move"
            raise self.anomaly("wrong or torn", said, {"expected": expected, "found": found}, batch, call, alive(before))
        state.bury()
        state.number, state.last = number, batch["at"]
        state.answers[batch["key"]] = number
        for call in self.owners[number]:
            if call["end"] and call["end"]["ended"] == "answer" and wrote(call) and call["end"]["answer"] != answer:
                raise self.anomaly("wrong answer", f"batch {number}: the rules say {answer}", call, batch, alive(before))


class Observations:
    """Denials, errors and readings, each waiting for a state in which it is true."""

    def __init__(self, stream):
        self.stream, self.open = stream, []
        self.coming = sorted(
            ((*stream.seen_by(call), call["id"], call) for call in stream.calls if observes(stream, call)), reverse=True
        )

    def look(self, state, number):
        """Try all that may have seen this state."""
        while self.coming and self.coming[-1][0] <= number:
            self.open.append(self.coming.pop())
        still = []
        for low, high, name, call in self.open:
            if self.is_true(state, call):
                self.stream.counts["observations"] += 1
            elif high <= number:
                raise self.stream.anomaly(*said_of(call), call, {"seen": [low, high]}, alive(state))
            else:
                still.append((low, high, name, call))
        self.open = still

    def done(self):
        """Raise Anomaly for what was never true."""
        for low, high, _, call in self.open:
            raise self.stream.anomaly(*said_of(call), call, {"seen": [low, high]})

    def is_true(self, state, call):
        end = call["end"]
        said = {"refused": end["refused"]} if end["ended"] == "refused" else {"answer": end["answer"]}
        number = state.answers.get(key_of(call))
        if number is not None:
            return said == replayed(call, self.stream.batches[number - 1])
        first, last = self.stream_clock(call)
        first, last = max(first, state.last), max(last, state.last)
        if any(rules.outcome(state, call, at) == said for at in (first, last)):
            return True
        return any(rules.outcome(state, call, at) == said for at in state.edges(first, last))

    def stream_clock(self, call):
        """Return the least and the greatest that the clock showed while a call went on."""
        began, ended = call["mono"], call["end"]["mono"]
        shown = [call["clock"], call["end"]["clock"]]
        for jump in self.stream.jumps:
            if jump["began"] <= ended and began <= jump["mono"]:
                shown += [jump["before"], jump["after"]]
        return min(shown), max(shown)


class Spending(Observations):
    """What those who spend were denied or read, each waiting for a state in which it may be so."""

    def __init__(self, stream):
        self.stream, self.open = stream, []
        seen = [call for call in stream.calls if call["f"] in {"consume", "reserve", "usage_tree"} and has_seen(call)]
        self.coming = sorted(((*stream.seen_by(call), call["id"], call) for call in seen), reverse=True)

    def is_true(self, state, call):
        first, last = (max(shown, state.last) for shown in self.stream_clock(call))
        instants = (first, last, *state.edges(first, last))
        if call["f"] == "usage_tree":
            return any(state.tree(at) == call["end"]["answer"]["budgets"] for at in instants)
        return any(state.may_deny(call, at) for at in instants)


def has_seen(call):
    """Tell whether a call was answered with a denial or a reading."""
    end = call["end"]
    told = end is not None and end["ended"] == "answer"
    return told and (call["f"] in rules.READS or end["answer"].get("allowed") is False)


def replayed(call, batch):
    """What a call whose key stands in the log already is told, where that is no repeat of the first answer."""
    if call["f"] in rules.READS or asks_for(call, batch):
        return None
    if call["f"] in {"settle", "release"}:
        return {"refused": "HoldClosed"}
    return {"refused": "IdempotencyConflict"}


def observes(stream, call):
    """Tell whether what a call was told is to be true of some state."""
    end = call["end"]
    if end is None or end["ended"] not in {"answer", "refused"}:
        return False
    return call["f"] in rules.READS or end["ended"] == "refused" or not wrote(call)


def wrote(call):
    """Tell whether an answer says that something was written; a settle that could not pay is booked all the same."""
    answer = call["end"]["answer"]
    return call["f"] not in rules.READS and (answer.get("allowed", True) or call["f"] == "settle")


def is_first(call):
    """Tell whether a call was told that it was the first with its key."""
    end = call["end"]
    return bool(end and end["ended"] == "answer" and end.get("replayed") is False and wrote(call))


def at_odds(call, end):
    """Tell whether an answer needs no batch: a sweep with nothing to book."""
    return call["f"] in DRAWN


def said_of(call):
    end = call["end"]
    if call["f"] in rules.READS:
        return "reading of no state", f"{call['id']} {call['f']} read {end['answer']}"
    if end["ended"] == "refused":
        return "phantom error", f"{call['id']} {call['f']} was refused with {end['refused']}"
    return "phantom denial", f"{call['id']} {call['f']} was denied with {end['answer']}"


def shown(batch):
    """The lines of a batch that move something."""
    return [line for line in batch["lines"] if line["kind"] in SHOWN_MOVES]


def move_of(line):
    """A line as the rules write it."""
    if line["kind"] in FACTS:
        return (line["at"], line["kind"], "", 0, "", None)
    return (line["at"], line["kind"], line["subject"], line["amount"], line["block"], line["window"])


def alive(state):
    """What is left in a state, for a report."""
    if isinstance(state, laws.Books):
        counts = {f"{name} {start}": units for (name, start), units in state.counts.items() if units}
        return {"at": state.last, "plan": state.plan, "counts": counts, "budgets": state.budgets, "blocks": state.blocks}
    blocks = {name: (block.credit, block.free, block.held, block.ends) for name, block in state.blocks.items()}
    return {"at": state.last, "number": state.number, "blocks": blocks, "holds": list(state.holds), "debts": dict(state.debts),
            "counters": {f"{name} {start}": units for (name, start), units in state.counters.items() if units},
            "plan": state.plan, "overrides": state.overrides}  # fmt: skip
