"""Plays a story on four engines at once, and holds all of them to laws that need no second model after each step.

One lives in memory and is never swept; one is its twin and is swept after every step; one is on SQLite and
is opened anew now and then; and one on the data of the first is new at every look.
"""

import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random

import attrs

from entitlements import UNLIMITED, Catalog, Entitlements
from entitlements.consuming import Request
from entitlements.decisions import Allowance, Decision
from entitlements.errors import EntitlementsError, StorageError
from entitlements.holds import Hold
from entitlements.ledger.entries import Batch
from entitlements.ledger.facts import Subscription
from entitlements.reports.flows import adds_up
from entitlements.storage.memory import MemoryStorage
from entitlements.storage.sqlite import SQLiteStorage
from entitlements.testing import FrozenClock
from entitlements.testing.soundness import flaws, log_of

from .catalogs import CREDITS, FEATURES
from .drawing import CUSTOMER, Step

EARLY = datetime.fromisoformat("2020-01-01T00:00:00+00:00")
PURPOSES = ({}, {"feature": "chat", "scope": {"team": "x", "user": "ann", "agent": "b"}})
DRAWS = {"consume", "consume_credits", "reserve", "reserve_credits"}
DRAWN = re.compile(r"\b(?:[0-9a-f]{64}|[0-9a-f]{32})\b")
"""Ids, keys and salts that an engine draws by chance."""
UNLIKE = {"seq", "number"}
"""What may differ between an engine that was swept and one that was not: where in the log a thing stands."""


class Broken(Exception):
    """A law does not hold; the first line says which."""


def plain(value: object, without: frozenset = frozenset()) -> object:
    """Return a value as data that compares, some fields left out."""
    if isinstance(value, Hold):
        return plain(value.decision, without)
    if attrs.has(type(value)):
        told = {a.name: getattr(value, a.name) for a in attrs.fields(type(value)) if a.name not in without}
        return {"is": type(value).__name__, **{name: plain(part, without) for name, part in told.items()}}
    if isinstance(value, Mapping):
        return {name: plain(part, without) for name, part in value.items() if name not in without}
    if isinstance(value, str):
        return DRAWN.sub("drawn", value)
    return [plain(part, without) for part in value] if isinstance(value, list | tuple) else value


def differing(one: object, other: object, where: str = "") -> str:
    """Return where two plain values differ."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return "; ".join(differing(one[name], other[name], f"{where}.{name}") for name in one if one[name] != other[name])
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return "; ".join(differing(a, b, f"{where}[{number}]") for number, (a, b) in pairs if a != b)
    return f"{where}: {one!r} and {other!r}"


def need(law: str, one: object, other: object) -> None:
    """Raise Broken where two plain values are not equal."""
    if one != other:
        raise Broken(f"{law}\n  {differing(one, other)}")


def _spendable(engine: Entitlements, credit: str, seq: int, at: datetime) -> Decimal:
    """Return what there was of a credit for whatever purpose, with the knowledge of an entry."""
    return sum(block.remaining for block in engine.balance(CUSTOMER, credit, as_of=seq, at=at).blocks)


def _between(before: dict, batch: Batch) -> set[datetime]:
    """Return the instants between two batches at which a balance may have risen by itself."""
    found = {line.at for line in batch.entries} | {*before["begin"], before["at"], batch.at}
    return {at for at in found if before["at"] <= at <= batch.at}


def within_limits(engine: Entitlements, step: Step, result: object) -> None:
    """Hold what was let through to have room in one of its allowances once it is counted."""
    decision = result.decision if isinstance(result, Hold) else result
    if not decision or {"occurred_at", "depletion"} & step.told.keys():
        return
    if decision.receipt.replayed or not decision.receipt.booked or FEATURES[step.told["feature"]].get("aggregate") == "latest":
        return
    asked = {name: step.told[name] for name in ("scope", "dimensions") if name in step.told}
    found = engine.check(step.who, step.told["feature"], requested=0, **asked)
    if not any(_has_room(allowance) for allowance in found.allowances):
        raise Broken(f"no use is let through beyond every limit ({step.verb})\n  {found.allowances}")


def _has_room(allowance: Allowance) -> bool:
    if allowance.limits:
        return all(_has_room(each) for each in allowance.limits)
    if allowance.limit is UNLIMITED or allowance.used <= allowance.limit:
        return True
    return allowance.soft and (allowance.ceiling is None or allowance.used <= allowance.ceiling)


class World:
    """The engines of one story, and what was learnt of it so far."""

    def __init__(
        self, document: dict, start: datetime, seed: object, *, steady: bool, about: Sequence[str] | None = None
    ) -> None:
        self.clock, self.steady, self.draw = FrozenClock(start), steady, Random(f"{seed} laws")
        self.about, self.erased = about, False
        self.place, self.closing = tempfile.mkdtemp(prefix="laws"), ExitStack()
        self.closing.callback(shutil.rmtree, self.place)
        self.catalog, self.memory, self.swept = Catalog.load(document), MemoryStorage(), MemoryStorage()
        self.disk = self._disk()
        self._open()
        self.seen, self.used, self.latest, self.closed, self.answers = {}, set(), start, [], []

    def _disk(self) -> SQLiteStorage:
        return SQLiteStorage(Path(self.place) / "laws.db", durability="normal")

    def _open(self) -> None:
        storages = (self.memory, self.swept, self.disk)
        self.live, self.twin, self.sqlite = (self._engine(storage) for storage in storages)

    def _engine(self, storage: object) -> Entitlements:
        return Entitlements(self.catalog, storage=storage, clock=self.clock)

    def close(self) -> None:
        self.disk.close()
        self.closing.close()

    # Steps

    def play(self, step: Step) -> bool:
        """Do one step everywhere, hold everything to the laws; return whether it went well."""
        self.took = False
        self._wait(step.at)
        if step.verb in {"wait", "sweep", "reopen", "catalog"}:
            self._turn(step)
            went = True
        else:
            went = self._do(step)
        if self.steady:
            self.twin.sweep(CUSTOMER)
        self._look()
        return went

    def _wait(self, at: datetime) -> None:
        back, asked, what = at < self.latest, at - self.clock(), self._what()
        foretold = not back and asked and self._is_due("what was asked", 0.5)
        told = self._views(self.live, what, at=at) if foretold else None
        self.clock.set(at)
        self.latest = max(self.latest, at)
        if told is not None:
            then = self._views(self.live, what, at=at)
            need("what was asked of an instant to come is what is answered then", told, then)

    def _is_due(self, law: str, chance: float) -> bool:
        """Tell whether a law is to be looked at now: by chance, or always where the story is about it."""
        return self.draw.random() < chance if self.about is None else any(said in law or law in said for said in self.about)

    def _turn(self, step: Step) -> None:
        if step.verb == "sweep":
            found = self.live.sweep(CUSTOMER), self.sqlite.sweep(CUSTOMER)
            need("storages sweep alike", *found)
            need("what was swept is swept", self.live.sweep(CUSTOMER), 0)
        elif step.verb == "catalog":
            self.catalog, self.answers = Catalog.load(step.told["document"]), []
        if step.verb in {"reopen", "catalog"}:
            self.disk.close()
            self.disk = self._disk()
            self._open()

    def _do(self, step: Step) -> bool:
        before = self._before(step)
        results = [self._outcome(engine, step) for engine in (self.live, self.sqlite, self.twin)]
        need(f"storages answer alike ({step.verb})", plain(results[0]), plain(results[1]))
        if self.steady:
            unlike = {"id"} if isinstance(results[0], Subscription) else set()  # it is told by where it began in the log
            told = [plain(result, frozenset({*UNLIKE, *unlike})) for result in (results[0], results[2])]
            need(f"an engine that is swept answers alike ({step.verb})", *told)
        result = results[0]
        self._known(step, result, before)
        if isinstance(result, tuple):
            return False
        self._after(step, result, before)
        if step.verb == "erase":
            self.seen, self.answers, self.closed, self.erased = {}, [], [], True
        return bool(result) or result is None

    def _outcome(self, engine: Entitlements, step: Step) -> object:
        told = dict(step.told)
        if step.verb == "consume_many":
            told["requests"] = [Request(CUSTOMER, **asked) for asked in told["requests"]]
        who = () if step.verb == "consume_many" else (CUSTOMER,)
        if step.verb == "set_budget" or step.verb == "remove_budget":
            who = (*who, told.pop("scope"))
        if step.verb in {"grant_credits", "consume_credits", "reserve_credits", "refund"}:
            told.setdefault("key", None)
        try:
            return getattr(engine, step.verb)(*who, **told)
        except StorageError as error:
            raise Broken(f"no legal verb finds the storage broken\n  {type(error).__name__}: {error}") from error
        except (EntitlementsError, ValueError, TypeError, LookupError) as error:
            if type(error) in {KeyError, IndexError, UnicodeError, TypeError}:
                raise Broken(f"a verb raises what is documented\n  {type(error).__name__}: {error}") from error
            return type(error).__name__, str(error)
        except Exception as error:
            raise Broken(f"a verb raises what is documented\n  {type(error).__name__}: {error}") from error

    # Laws of one step

    def _before(self, step: Step) -> dict:
        """Return what a step is to be compared with: the check just before it, what stood in budgets and limits."""
        key, told = step.told.get("key"), step.told
        before = {"seq": self.live._storage.state(CUSTOMER, lambda _: ()).head.seq, "repeat": key in self.used}
        if key in self.seen:
            before["first"] = self.seen[key]
        if step.verb in DRAWS:
            before["caps"] = self._caps()
        fits = step.verb in {"consume", "reserve"} and not before["repeat"]
        fits = fits and not isinstance(told["amount"], dict) and not {"occurred_at", "depletion"} & told.keys()
        if fits:
            asked = {name: told[name] for name in ("scope", "dimensions") if name in told}
            try:
                before["check"] = self.live.check(CUSTOMER, told["feature"], requested=told["amount"], **asked)
                about = {"dimensions": told["dimensions"]} if "dimensions" in told else {}
                before["price"] = self.live.estimate(CUSTOMER, told["feature"], told["amount"], **about)
            except (ValueError, LookupError):
                pass
        return before

    def _known(self, step: Step, result: object, before: dict) -> None:
        """A key that is known is answered as before where the request is the same, else it is a conflict."""
        if "first" not in before:
            return
        first, refused = before["first"][0], result[0] if isinstance(result, tuple) else None
        if (first.verb, first.told) == (step.verb, step.told):
            need(f"a repeat is answered ({step.verb})", None, refused and result)
        elif first.told.get("amount") != step.told.get("amount"):
            need(f"another request under a known key is a conflict ({step.verb})", "IdempotencyConflict", refused)

    def _after(self, step: Step, result: object, before: dict) -> None:
        key, head = step.told.get("key"), self.live._storage.state(CUSTOMER, lambda _: ()).head
        shown = result.decision if isinstance(result, Hold) else result
        if step.verb in {"consume", "record", "consume_credits", "settle"} and shown.receipt is not None:
            self.took = bool(shown.receipt.booked)
        if isinstance(shown, Decision) and not shown:
            if step.verb != "settle":
                need("a denial writes nothing", head.seq, before["seq"])
        elif before["repeat"] and "first" in before:
            self._repeated(step, shown, before, head.seq)
        elif key is not None and head.seq > before["seq"]:
            self.seen[key] = (step, shown)
            self.used.add(key)
        if step.verb in DRAWS and "caps" in before:
            self._bounded(before["caps"])
        if step.verb in {"consume", "reserve"}:
            within_limits(self.live, step, result)
        if "check" in before and isinstance(shown, Decision):
            asked = before["check"]
            names = ["allowed", "code", *(["limit"] if len(asked.allowances) < 2 else [])]  # of several, that with most left
            told = ([getattr(each, name) for name in names] for each in (asked, shown))
            need(f"a check and the {step.verb} that follows agree", *told)
            partly = shown.receipt is not None and str(shown.receipt.booked) != str(shown.requested)
            if shown and shown.receipt is not None and "price" in before and not partly and step.verb == "consume":
                need("an estimate is what is charged", before["price"], shown.receipt.price or 0)

    def _repeated(self, step: Step, shown: object, before: dict, seq: int) -> None:
        need("a repeat writes nothing", seq, before["seq"])
        first = before["first"][1]
        if isinstance(shown, Decision):
            need("a repeat says so", shown.receipt.replayed, True)
            first, shown = (plain(each, frozenset({"replayed"})) for each in (first, shown))
        if step.verb == before["first"][0].verb:
            need("a repeat gives the first answer", plain(first), plain(shown))

    def _caps(self) -> dict:
        tree, caps = self.live.usage_tree(CUSTOMER), {}
        for node in tree:
            for budget in node.budgets:
                if budget.action == "block":
                    name = (str(dict(node.scope)), budget.feature, budget.credit, str(dict(budget.dimensions)), budget.every)
                    caps[name] = budget.used + budget.held, budget.limit
        for credit in CREDITS:
            found = self.live.balance(CUSTOMER, credit)
            floor = self.catalog.credits[credit].floor
            if floor is not None:
                caps[credit, "floor"] = found.debt + found.promised, floor
        return caps

    def _bounded(self, before: dict) -> None:
        for name, (used, limit) in self._caps().items():
            if used > limit and used != before.get(name, (0, 0))[0]:
                raise Broken(f"nothing that may be refused goes over a cap\n  {name}: {used} of {limit}, {before.get(name)}")

    # Laws of what is read

    def _what(self) -> tuple[list[str], Sequence[int]]:
        """Return what to look at: a few things by chance, or all."""
        if self.about is not None:
            return [*FEATURES], (0, 1)
        return self.draw.sample([*FEATURES], 4), [self.draw.choice([0, 1])]

    def _views(self, engine: Entitlements, what: tuple[list[str], Sequence[int]], **at: datetime) -> dict:
        told, scope = {}, PURPOSES[1]["scope"]
        for credit in CREDITS:
            for number in what[1]:
                told[f"{credit}{number}"] = plain(engine.balance(CUSTOMER, credit, **PURPOSES[number], **at))
        for feature in what[0]:
            told[feature] = plain(engine.check(CUSTOMER, feature, scope=scope, **at), frozenset({"upgrade"}))
        if not self.erased:  # scopes that were erased stand in the order of what was drawn to seal them
            told["tree"] = plain(engine.usage_tree(CUSTOMER, **at).to_dict())
        return told

    def _look(self) -> None:
        looks = [("an engine that is new answers alike", self.memory), ("storages read alike", self.sqlite)]
        looks += [("an engine that is swept reads alike", self.twin)] if self.steady else []
        due = [look for look in looks if self._is_due(look[0], 0.25)]
        what = self._what()
        views = self._views(self.live, what) if due else {}
        for law, other in due:
            without = frozenset({*UNLIKE, "metadata"} if other is self.twin else ())
            engine = self._engine(other) if other is self.memory else other
            need(law, *(plain(each, without) for each in (views, self._views(engine, what))))
        if self._is_due("a log is sound, storages book alike", 0.12):
            self._sound()
        if self._is_due("revenue adds up, a statement adds up, a period opens, a closed period", 0.15):
            self._books()
        self._past()

    def _sound(self) -> None:
        for engine in (self.live, self.sqlite, self.twin):
            if self.live._storage.state(CUSTOMER, lambda _: ()).head.known:
                found = flaws(engine, CUSTOMER)
                if found:
                    raise Broken("a log is sound\n  " + "\n  ".join(found))
        lines = self.live.entries(CUSTOMER), self.sqlite.entries(CUSTOMER)
        need("storages book alike", *(plain(list(each)) for each in lines))

    def _books(self) -> None:
        now = self._now()
        shift = timedelta(hours=self.draw.choice([0, 0, 1, 24, 24 * 31, -24 * 40]))
        end = now - shift
        found = self.live.revenue(start=EARLY, end=end)
        for row in found.rows:
            if not (adds_up(row.credits) and adds_up(row.deferred)):
                raise Broken(f"revenue adds up\n  {row}")
        if self.draw.random() < 0.5:
            middle = min(end, now) - timedelta(hours=self.draw.choice([1, 24, 24 * 7]))
            self._joined(middle, end)
        for credit in CREDITS:
            statement = self.live.statement(CUSTOMER, credit, start=min(now, end) - timedelta(days=2), end=end + timedelta(days=9))
            if not statement.adds_up:
                raise Broken(f"a statement adds up\n  {statement}")
        if end <= now and (self.steady or end <= self.latest - timedelta(days=10)):
            self.closed.append((end, found.to_dict()))

    def _joined(self, middle: datetime, end: datetime) -> None:
        """One period closes where the next opens."""
        if middle >= end:
            return
        first = {row.block: row for row in self.live.revenue(start=EARLY, end=middle).rows}
        then = {row.block: row for row in self.live.revenue(start=middle, end=end).rows}
        for block in first.keys() | then.keys():
            closing = [each.closing for each in (first[block].credits, first[block].deferred)] if block in first else [0, 0]
            opening = [each.opening for each in (then[block].credits, then[block].deferred)] if block in then else [0, 0]
            need(f"a period opens as the one before closed ({block})", closing, opening)

    def _past(self) -> None:
        """What is over is not told otherwise."""
        for end, told in self.closed[-3:]:
            if self.steady:
                need("a closed period is never restated", told, self.live.revenue(start=EARLY, end=end).to_dict())
        for asked, credit, told in self.answers[-3:]:
            need("an answer about the past stays", told, plain(self.live.balance(CUSTOMER, credit, **asked)))
        head = self.live._storage.state(CUSTOMER, lambda _: ()).head
        if head.known and self.draw.random() < 0.3:
            credit, asked = self.draw.choice([*CREDITS]), {"as_of": head.seq, "at": self._now()}
            self.answers.append((asked, credit, plain(self.live.balance(CUSTOMER, credit, **asked))))
            self.draw.shuffle(self.answers)

    def _now(self) -> datetime:
        return max(self.clock(), self.live._storage.state(CUSTOMER, lambda _: ()).head.at)

    def end(self) -> None:
        """Nobody is shut out: long after, the engine still takes a write, and all is sound."""
        for days in (1, 40):
            self.clock.set(self.latest + timedelta(days=days))
            self.latest = self.clock()
            for engine in (self.live, self.sqlite, self.twin):
                if self.live.entries(CUSTOMER):
                    engine.consume_credits(CUSTOMER, "ai", 0, key=f"end {days}")
                    engine.record(CUSTOMER, "calls", 0, key=f"use {days}")
            self._look()
        self._sound()
        self._books()
        for engine in (self.live, self.twin) if self.steady else ():
            self._alerted(engine)
        if self.steady:
            told = [self._told_of(engine, {"limit", "budget"}) for engine in (self.live, self.twin)]
            need("an engine that is swept tells of limits alike", *told)

    def _told_of(self, engine: Entitlements, kinds: set) -> list:
        crossed = [line for line in engine.entries(CUSTOMER, limit=10_000) if line.kind == "crossed"]
        return [plain({"subject": line.subject, **line.data}) for line in crossed if line.data["of"] in kinds]

    def _alerted(self, engine: Entitlements) -> None:
        """A balance is told of by the batches over which it fell to a threshold, and by no other; a block once."""
        batches, before = log_of(engine, CUSTOMER), {}
        ends = Counter(line.block for batch in batches for line in batch.entries if line.data.get("of") == "expiry")
        need("the end of a block is told of once", [], [block for block, times in ends.items() if times > 1])
        for batch in batches:
            told = {(line.subject, line.data["threshold"]) for line in batch.entries if line.data.get("of") == "balance"}
            for credit, kind in CREDITS.items():
                left = _spendable(engine, credit, batch.entries[-1].seq, batch.at)
                for threshold in kind.get("alerts", ()) if before else ():
                    fell = left <= threshold < max(_spendable(engine, credit, before["seq"], at) for at in _between(before, batch))
                    text = f"{threshold:.{kind.get('scale', 0)}f}"
                    need(f"a balance that falls is told of once ({credit})", fell, (credit, text) in told)
            begun = [line.data["block"].effective_at for line in batch.entries if line.kind == "granted"]
            before = {"seq": batch.entries[-1].seq, "at": batch.at, "begin": [*before.get("begin", ()), *begun]}
