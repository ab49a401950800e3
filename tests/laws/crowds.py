"""Several customers in one story, on every kind of storage at once, inside and outside of the host's transactions.

Each step is played on engines in memory, on SQLite, on PostgreSQL and on PostgreSQL awaited, two engines on each
storage of which one follows what the other publishes; and for each customer on an engine that knows nobody else.
Some steps are written inside a transaction of the host's, and some are undone there first.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import attrs
import psycopg

from entitlements import Catalog, Entitlements
from entitlements.consuming import Request
from entitlements.errors import EntitlementsError, StorageError
from entitlements.storage.memory import MemoryStorage
from entitlements.storage.opening import open_storage
from entitlements.testing import FrozenClock
from entitlements.testing.blocking_engine import BlockingEngine
from entitlements.testing.soundness import flaws, log_of

from . import catalogs
from .catalogs import CREDITS, FEATURES
from .drawing import STARTS, Drawer, Step
from .playing import EARLY, Broken, need, plain, within_limits
from .stories import said
from .stories import shortened as shorter

MEMBERS = ("acme", "bolt", "coil")
KEYED = {"grant_credits", "consume_credits", "reserve_credits", "refund"}
TURNS = {"wait", "sweep", "reopen", "catalog", "many"}


TABLES = ("batches", "entries", "personal", "erased", "heads", "blocks", "holds", "budgets", "counters")


@contextmanager
def emptied(server: str) -> Iterator[Callable[[], dict[str, str]]]:
    """Give what empties two schemas of a PostgreSQL server, one for each kind of engine, and returns their addresses."""
    begun = f"{server}{'&' if '?' in server else '?'}schema="
    schemas = {name: f"laws_{name}_{os.getpid()}" for name in ("postgres", "awaited")}
    for schema in schemas.values():
        open_storage(f"{begun}{schema}").close()
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")

        def addresses() -> dict[str, str]:
            connection.execute("; ".join(f"DELETE FROM {each}.{table}" for each in schemas.values() for table in TABLES))
            return {name: f"{begun}{schema}" for name, schema in schemas.items()}

        yield addresses
        for schema in schemas.values():
            connection.execute(f"DROP SCHEMA {schema} CASCADE")


class Place:
    """Two engines on one storage: one is given the catalog and publishes it, the other uses what is published."""

    def __init__(self, name: str, storage: object, clock: FrozenClock, catalog: Catalog, draw: Random) -> None:
        self.name, self.storage, self.clock, self.draw = name, storage, clock, draw
        self.make = BlockingEngine if name == "awaited" else Entitlements
        self.told: list[tuple[str, int]] = []
        self.quiet: set[tuple[str, int]] = set()
        self.connection: object = None
        self.blocking: Entitlements | None = None
        self.engines: list[Entitlements] = []
        self.open(catalog)
        if name == "sqlite":
            self.connection = sqlite3.connect(str(storage).removeprefix("sqlite:///"), isolation_level=None)
        elif name == "postgres":
            self.connection = psycopg.connect(str(storage).partition("schema=")[0].rstrip("?&"), autocommit=True)

    def open(self, catalog: Catalog) -> None:
        """Open both engines anew, the catalog published."""
        self._leave()
        for source in (catalog, None):
            engine = self.make(source, storage=self.storage, clock=self.clock, timeout=10)
            engine.on("threshold", lambda alert: self.told.append((alert.customer, alert.seq)))
            self.engines.append(engine)
            if source is not None:
                engine.publish()
        if self.name == "awaited":
            self.blocking = Entitlements(None, storage=self.storage, clock=self.clock)
        need(f"what is published is in use ({self.name})", catalog.version, self.engines[1].reload().version)

    def close(self) -> None:
        """Let go of everything."""
        self._leave()
        if self.connection is not None:
            self.connection.close()

    def _leave(self) -> None:
        for engine in self.engines if self.name != "memory" else ():  # its storage goes with the engine
            engine.close()
        if self.blocking is not None:
            self.blocking.close()
        self.engines = []

    @property
    def any(self) -> Entitlements:
        """One of the engines, whichever."""
        return self.draw.choice(self.engines)

    @property
    def reader(self) -> Entitlements:
        """An engine that blocks, to look into the storage with."""
        return self.draw.choice(self.engines) if self.blocking is None else self.blocking

    def head(self, customer: str) -> object:
        """Return what a customer's log comes to, as one of the engines sees it."""
        return self.reader._storage.state(customer, lambda _: ()).head

    def do(self, work: Callable[[Entitlements], object], whose: tuple[str, ...], alone: bool) -> object:
        """Do some work directly or inside a transaction of the host's, undone there first by chance."""
        how = "alone" if alone or self.connection is None else self.draw.choice(["alone", "alone", "joined", "undone"])
        if how == "undone":
            before = [self.head(who) for who in (*MEMBERS, "$catalog")]
            with self._transaction("ROLLBACK"):
                joined = self.any.joined(self.connection)
                work(joined)
                outcome(joined, Step(self.clock(), "consume_credits", {"credit": "owed", "amount": 1, "key": "gone"}, whose[0]))
            after = [self.head(who) for who in (*MEMBERS, "$catalog")]
            need(f"what is rolled back never was ({self.name})", before, after)
        if how != "joined":
            return work(self.any)
        stood = {who: self.head(who).seq for who in whose}
        with self._transaction("COMMIT"):
            found = work(self.any.joined(self.connection))
        for who, seq in stood.items():
            self.quiet |= {(who, number) for number in range(seq + 1, self.head(who).seq + 1)}
        return found

    @contextmanager
    def _transaction(self, end: str) -> Iterator[None]:
        self.connection.execute("BEGIN IMMEDIATE" if self.name == "sqlite" else "BEGIN")
        try:
            yield
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute(end)


def outcome(engine: Entitlements, step: Step) -> object:
    """Return what a step comes to on an engine, or what it raises."""
    told, who = dict(step.told), (step.who,)
    if step.verb == "many":
        return _told(engine.consume_many, [Request(**asked) for asked in told["requests"]])
    if step.verb in {"set_budget", "remove_budget"}:
        who = (*who, told.pop("scope", None))
    if step.verb in KEYED:
        told.setdefault("key", None)
    return _told(getattr(engine, step.verb), *who, **told)


def _told(verb: Callable, *arguments: object, **told: object) -> object:
    try:
        return verb(*arguments, **told)
    except StorageError as error:
        raise Broken(f"no legal verb finds the storage broken\n  {type(error).__name__}: {error}") from error
    except (EntitlementsError, ValueError, TypeError, LookupError) as error:
        if type(error) in {KeyError, IndexError, UnicodeError}:
            raise Broken(f"a verb raises what is documented\n  {type(error).__name__}: {error}") from error
        return type(error).__name__, str(error)


def shown(result: object) -> object:
    """Return a result as data; a hold that was awaited is told by its decision as any other."""
    return plain(getattr(result, "decision", result))


class Crowd:
    """The places of one story, and an engine for each customer that knows nobody else."""

    def __init__(self, document: dict, start: datetime, seed: object, addresses: dict[str, str]) -> None:
        self.clock, self.catalog, self.closing = FrozenClock(start), Catalog.load(document), ExitStack()
        self.draw, self.latest = Random(f"{seed} crowd"), start
        self.folder = Path(self.closing.enter_context(tempfile.TemporaryDirectory(prefix="crowd")))
        self.file = self.folder / "crowd.db"
        storages = {"memory": MemoryStorage(), "sqlite": f"sqlite:///{self.file}", **addresses}
        self.places = []
        for name, storage in storages.items():
            place = Place(name, storage, self.clock, self.catalog, Random(f"{seed} {name}"))
            self.places.append(place)
            self.closing.callback(place.close)
        self.alone = {who: MemoryStorage() for who in MEMBERS}
        self.marks = dict.fromkeys(MEMBERS, 0)
        self.cursors, self.feeds = {place.name: None for place in self.places}, {place.name: [] for place in self.places}

    def close(self) -> None:
        """Let go of everything."""
        self.closing.close()

    @property
    def live(self) -> Entitlements:
        """The engine in memory that drawers look at."""
        return self.places[0].engines[0]

    def engine_of(self, who: str) -> Entitlements:
        """Return an engine that knows one customer alone."""
        return Entitlements(self.catalog, storage=self.alone[who], clock=self.clock)

    # Steps

    def play(self, step: Step) -> bool:
        """Do one step everywhere, hold everything to the laws; return whether it went well."""
        self.clock.set(step.at)
        self.latest = max(self.latest, step.at)
        before = {who: self.places[0].head(who) for who in MEMBERS}
        went = self._turn(step) if step.verb in TURNS - {"many"} else self._do(step, before)
        touched = {step.who} if step.verb != "many" else {asked["customer"] for asked in step.told["requests"]}
        for who in () if step.verb in TURNS - {"many"} else set(MEMBERS) - touched:
            need(f"what others do changes nothing ({step.verb})", before[who], self.places[0].head(who))
        self._look(step.who)
        return went

    def _turn(self, step: Step) -> bool:
        if step.verb == "sweep":
            found = [place.any.sweep(step.who) for place in self.places]
            need("storages sweep alike", [found[0]] * len(found), [*found])
            self.engine_of(step.who).sweep(step.who)
        elif step.verb == "catalog":
            self.catalog = Catalog.load(step.told["document"])
        if step.verb in {"reopen", "catalog"}:
            for place in self.places:
                place.open(self.catalog)
        return True

    def _do(self, step: Step, before: dict) -> bool:
        if step.verb == "erase" and not before[step.who].known:
            return False
        whose = tuple({asked["customer"] for asked in step.told["requests"]}) if step.verb == "many" else (step.who,)
        results = []
        for place in self.places:
            results.append(place.do(lambda engine: outcome(engine, step), whose, alone=step.verb == "erase"))
            need(f"storages answer alike ({step.verb}, {place.name})", shown(results[0]), shown(results[-1]))
        result = results[0]
        raised = isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], str)
        if raised:
            stands = {who: self.places[0].head(who) for who in MEMBERS}
            need(f"what raises books nothing ({step.verb})", [*before.values()], [*stands.values()])
        self._alone(step, result, raised=raised)
        if step.verb in {"consume", "reserve"} and not raised:
            within_limits(self.live, step, result)
        if step.verb == "erase":
            self._erased(step.who)
        return not raised and (bool(result) or result is None)

    def _alone(self, step: Step, result: object, *, raised: bool) -> None:
        """Who is alone is answered alike."""
        if step.verb != "many":
            need(f"who is alone is answered alike ({step.verb})", shown(result), shown(outcome(self.engine_of(step.who), step)))
        elif not raised:
            for who in MEMBERS:
                mine = [number for number, asked in enumerate(step.told["requests"]) if asked["customer"] == who]
                asked = attrs.evolve(step, told={"requests": [step.told["requests"][number] for number in mine]})
                if mine:
                    found = outcome(self.engine_of(who), asked)
                    need("who is alone is answered alike (many)", plain([result[number] for number in mine]), plain(found))

    # Laws

    def _look(self, who: str) -> None:
        if self.draw.random() < 0.12:
            self.views(who)
        if self.draw.random() < 0.1:
            self.whole()

    def views(self, who: str) -> None:
        """Hold what the engines tell of one customer to be the same everywhere."""
        told = []
        features = self.draw.sample([*FEATURES], 4)
        alone = self.engine_of(who)
        for engine in (alone, *(self._fresh(place) for place in self.places)):
            found = {credit: plain(engine.balance(who, credit)) for credit in CREDITS}
            found |= {feature: plain(engine.check(who, feature)) for feature in features}
            found["statement"] = plain(engine.statement(who, "ai", start=EARLY, end=self.latest + timedelta(days=40)).to_dict())
            told.append(found)
            if engine is not alone:
                engine.close()
        for place, found in zip(self.places, told[1:], strict=True):
            need(f"engines that are new read alike ({place.name})", told[0], found)

    def _fresh(self, place: Place) -> Entitlements:
        if place.name == "memory":
            return _Kept(Entitlements(None, storage=place.storage, clock=self.clock))
        return place.make(None, storage=place.storage, clock=self.clock, timeout=10)

    def whole(self) -> None:
        """Hold what is told of all customers to be what is told of each."""
        end = self.latest + timedelta(hours=self.draw.choice([-30, 0, 0, 24 * 31]))
        rows = [row for who in MEMBERS for row in self.engine_of(who).revenue(start=EARLY, end=end).rows]
        for place in self.places:
            found = place.any.revenue(start=EARLY, end=end)
            need(f"revenue over all is that of each ({place.name})", plain(rows), plain(list(found.rows)))
            while True:
                page = place.any.feed(after=self.cursors[place.name], limit=self.draw.choice([1, 7, 100]))
                self.cursors[place.name] = page.cursor
                self.feeds[place.name] += [(each.customer, each.number) for each in page.batches]
                if not page.batches:
                    break
            for who in MEMBERS:
                mine = [number for customer, number in self.feeds[place.name] if customer == who]
                need(f"the feed is each log in order ({place.name})", [*range(1, len(mine) + 1)], mine)
                need(f"the feed has all ({place.name})", place.head(who).batches, len(mine))

    def _erased(self, who: str) -> None:
        """Nothing personal is left anywhere, and from now on what is personal is another's."""
        mark = mark_of(who, self.marks[who])
        self.marks[who] += 1
        for place in self.places:
            engine = place.any
            told = [engine.entries(who, limit=10_000), log_of(place.reader, who), engine.feed(limit=10_000).batches, place.head(who)]
            told += [engine.balance(who, credit) for credit in CREDITS]
            told += [engine.check(who, feature) for feature in FEATURES]
            told += [engine.explain(who, feature).to_dict() for feature in FEATURES]
            told += [engine.statement(who, credit, start=EARLY, end=self.latest + timedelta(days=9)) for credit in CREDITS]
            told += [engine.revenue(start=EARLY, end=self.latest).to_csv(), engine.snapshot(who).to_dict()]
            told += [engine.usage_tree(who)]
            for number, each in enumerate(told):
                if mark in repr(each):
                    raise Broken(f"what is erased is told no more ({place.name}, {number})\n  {repr(each)[:2000]}")
        for file in self.folder.iterdir():
            if mark.encode() in file.read_bytes():
                raise Broken(f"what is erased is in no file\n  {file.name}")

    def end(self) -> None:
        """All goes on long after, all logs are sound and the same, and every alert was told once."""
        for days in (1, 40):
            self.clock.set(self.latest + timedelta(days=days))
            self.latest = self.clock()
            for who in MEMBERS:
                if self.places[0].head(who).known:
                    self._do(Step(self.clock(), "consume_credits", {"credit": "ai", "amount": 0, "key": f"end {days}"}, who), {
                        each: self.places[0].head(each) for each in MEMBERS
                    })
        for who in MEMBERS:
            self.views(who)
            lines = plain(list(self.engine_of(who).entries(who, limit=10_000)))
            for place in self.places:
                need(f"storages book alike ({place.name})", lines, plain(list(place.any.entries(who, limit=10_000))))
                if place.head(who).known:
                    found = flaws(place.reader, who)
                    if found:
                        raise Broken(f"a log is sound ({place.name})\n  " + "\n  ".join(found))
        self.whole()
        for place in self.places:
            need(f"all verifies ({place.name})", [], [str(problem) for problem in place.any.verify()])
            self._alerted(place)

    def _alerted(self, place: Place) -> None:
        wanted = [
            (who, line.seq)
            for who in MEMBERS
            for line in place.any.entries(who, limit=10_000)
            if line.kind == "crossed" and (who, line.seq) not in place.quiet
        ]
        need(f"every alert is told once ({place.name})", sorted(wanted), sorted(place.told))


class _Kept:
    """An engine on a storage that is not to be closed with it."""

    def __init__(self, engine: Entitlements) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> object:
        return getattr(self._engine, name)

    def close(self) -> None:
        """Do nothing."""


def mark_of(who: str, number: int) -> str:
    """Return what stands in everything personal of a customer until it is erased for the next time."""
    return f"qz{who}{number}qz"


def marked(told: dict, mark: str) -> dict:
    """Return what a step is told with a mark in everything that is personal."""
    said = dict(told)
    if isinstance(said.get("scope"), str):
        kind, _, name = said["scope"].partition(":")
        said["scope"] = f"{kind}:{name if 'qz' in name else mark + name}"
    elif said.get("scope"):
        said["scope"] = {kind: name if "qz" in name else mark + name for kind, name in said["scope"].items()}
    if said.get("reason"):
        said["reason"] = f"{mark} {said['reason']}" if "qz" not in said["reason"] else said["reason"]
    if said.get("metadata"):
        said["metadata"] = {"note": mark}
    return said


@attrs.define
class CrowdStory:
    """A catalog, where each place begins, and what happens to whom."""

    seed: object
    document: dict
    steps: list


def told(seed: object, length: int, addresses: Callable[[], dict[str, str]]) -> tuple[CrowdStory, str | None]:
    """Draw and play a story of a crowd; return it and what broke, or None."""
    draw = Random(f"{seed} crowd story")
    document, start = catalogs.drawn(draw), draw.choice(STARTS)
    without = frozenset({"back", "consume_many"})
    drawers = {who: Drawer(f"{seed} {who}", document, start, without, who) for who in MEMBERS}
    story = CrowdStory(seed, document, [Step(start, "wait", {})])
    crowd = Crowd(document, start, seed, addresses())
    made = 0
    try:
        for _ in range(length):
            who = draw.choice(MEMBERS)
            if draw.random() < 0.08:
                made += 1
                step = Step(story.steps[-1].at, "many", {"requests": _many(draw, drawers, crowd, made)}, who)
            else:
                drawer = drawers[who]
                drawer.now, drawer.document = max(drawer.now, story.steps[-1].at), story.document
                step = drawer.next(crowd.live)
                step = attrs.evolve(step, who=who, told=marked(step.told, mark_of(who, crowd.marks[who])))
            story.steps.append(step)
            if crowd.play(step) and step.verb != "many":
                drawers[who].heard(step, step.verb in {"consume", "record", "consume_credits", "settle"})
            if step.verb == "erase":
                drawers[who].done.clear()
            if step.verb == "catalog":
                for drawer in drawers.values():
                    drawer.document = step.told["document"]
        crowd.end()
    except Exception as broken:
        return story, said(broken)
    finally:
        crowd.close()
    return story, None


def _many(draw: Random, drawers: dict[str, Drawer], crowd: Crowd, made: int) -> list[dict]:
    requests = []
    for number in range(draw.choice([1, 2, 3, 5])):
        who = draw.choice(MEMBERS)
        drawers[who].ent, drawers[who].head = crowd.live, crowd.live._storage.state(who, lambda _: ()).head
        asked = marked(drawers[who]._use(drawers[who]._feature()), mark_of(who, crowd.marks[who]))
        requests.append({**asked, "customer": who, "key": f"m{made}-{number}"})
    if draw.random() < 0.4:
        spoilt, how = draw.choice(requests), draw.choice(["feature", "amount", "key", "first"])
        spoilt |= {"feature": {"feature": "nothing"}, "amount": {"amount": -1}, "key": {"key": "k1"}, "first": {"key": "m1-0"}}[how]
    return requests


def played(story: CrowdStory, addresses: Callable[[], dict[str, str]]) -> str | None:
    """Play a story again; return what broke, or None."""
    crowd = Crowd(story.document, story.steps[0].at, story.seed, addresses())
    try:
        for step in story.steps[1:]:
            crowd.play(step)
        crowd.end()
    except Exception as broken:
        return said(broken)
    finally:
        crowd.close()
    return None


def shortened(story: CrowdStory, what: str, addresses: Callable[[], dict[str, str]]) -> CrowdStory:
    """Return the story with every step left out, and every argument, without which the same still breaks."""
    return shorter(story, what, lambda less, _: played(less, addresses))
