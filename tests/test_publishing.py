"""Publishing: a catalog that is kept in the storage, for engines that are opened without one."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import time
from contextlib import closing

import attrs
import pytest
from click.testing import CliRunner

from entitlements import AsyncEntitlements, Catalog, Entitlements
from entitlements.cli import main
from entitlements.errors import CatalogError, LogCorrupt, OutcomeUnknown, StorageUnavailable
from entitlements.storage.memory import MemoryStorage
from entitlements.testing import FrozenClock
from tests.aio.conftest import Suspending
from tests.conftest import START
from tests.test_verify import tamper

LINES = {"catalog_kept", "catalog_published"}


def document(limit, **feature):
    """Return a catalog with one plan that gives `limit` seats."""
    seats = {"type": "metered", **feature}
    return {"features": {"seats": seats}, "plans": {"pro": {"entitlements": {"seats": limit}}}}


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Engines look for another catalog much more often, so that a test need not wait."""
    monkeypatch.setattr("entitlements.freshness.LOOK_EVERY", 0.02)


@pytest.fixture
def open_with(shared, clock):
    """Opens engines on one storage; they are closed when the test is over."""
    engines = []

    def opened(catalog, **options):
        engines.append(Entitlements(catalog, **{"storage": shared, "clock": clock, **options}))
        return engines[-1]

    yield opened
    for engine in engines:
        engine.close()


def limit(ent, customer="acme"):
    return ent.check(customer, "seats").limit


def eventually(answer, expected):
    deadline = time.monotonic() + 3
    while (found := answer()) != expected:
        assert time.monotonic() < deadline, f"still {found!r}"
        time.sleep(0.01)


def lines(ent):
    return [entry.kind for batch in ent.feed().batches for entry in batch.entries if entry.kind in LINES]


def test_engines_without_a_catalog_use_the_one_that_is_published(open_with):
    selling = open_with(document(3))
    assert selling.publish() is selling.catalog
    ent = open_with(None)
    assert ent.catalog == selling.catalog
    ent.subscribe("acme", "pro")
    assert limit(ent) == 3
    assert ent.consume("acme", "seats", 3)
    assert not ent.consume("acme", "seats")
    assert ent.verify() == ()


def test_what_is_published_next_is_in_use_soon_and_so_is_what_was_published_before(open_with):
    first, second = open_with(document(3)), open_with(document(5))
    first.publish()
    ent, told = open_with(None), []
    ent.subscribe("acme", "pro")
    ent.on("catalog", told.append)
    assert limit(ent) == 3
    second.publish()
    eventually(lambda: limit(ent), 5)
    first.publish()
    eventually(lambda: limit(ent), 3)
    assert told == [second.catalog, first.catalog]
    second.publish()
    assert ent.reload() == second.catalog
    assert limit(ent) == 5


def test_publishing_what_is_published_writes_nothing(open_with):
    selling, other = open_with(document(3)), open_with(document(5))
    selling.publish()
    selling.publish()
    open_with(None).publish()
    assert lines(selling) == ["catalog_kept", "catalog_published"]
    other.publish()
    selling.publish()  # kept already, and published once more
    assert lines(selling) == [*["catalog_kept", "catalog_published"] * 2, "catalog_published"]


def test_an_engine_with_a_catalog_of_its_own_does_not_mind_what_is_published(open_with):
    ent = open_with(document(3))
    ent.subscribe("acme", "pro")
    open_with(document(5)).publish()
    time.sleep(0.1)
    assert limit(ent) == 3
    assert ent.reload() == ent.catalog
    assert limit(ent) == 3


def test_where_nothing_is_published_that_is_said_at_once(open_with):
    with pytest.raises(CatalogError, match=r"none is published in this storage; run `entitlements catalog publish"):
        open_with(None)


def test_a_catalog_that_changes_what_was_used_is_not_published(open_with):
    ent, other = open_with(document(3)), open_with(document(3, scale=2))
    ent.publish()
    ent.subscribe("acme", "pro")
    assert ent.consume("acme", "seats")
    with pytest.raises(CatalogError, match="was first used with"):
        other.publish()
    assert open_with(None).catalog == ent.catalog


def test_a_joined_engine_decides_with_what_is_published_and_publishes_nothing(database, clock):
    address = f"sqlite:///{database}"
    with Entitlements(document(3), storage=address, clock=clock) as selling, closing(
        sqlite3.connect(database, isolation_level=None)
    ) as connection:
        selling.publish()
        selling.subscribe("acme", "pro")
        with Entitlements(None, storage=address, clock=clock) as ent:
            connection.execute("BEGIN IMMEDIATE")
            assert limit(ent.joined(connection)) == 3
            with pytest.raises(ValueError, match="the catalog is the engine's; reload or publish it there"):
                ent.joined(connection).publish()
            connection.execute("ROLLBACK")
            with Entitlements(document(5), storage=address, clock=clock) as other:
                other.publish()
            connection.execute("BEGIN IMMEDIATE")
            assert ent.joined(connection).consume("acme", "seats", 5)
            connection.execute("COMMIT")
            assert limit(ent) == 5


@pytest.mark.parametrize("kind", [MemoryStorage, Suspending])
def test_an_awaited_engine_reads_it_as_it_opens(kind, clock):
    async def scenario():
        storage = kind()
        with pytest.raises(CatalogError, match="none is published"):
            await AsyncEntitlements(None, storage=storage, clock=clock).__aenter__()
        selling = AsyncEntitlements(document(3), storage=storage, clock=clock)
        catalog = await selling.publish()
        entered = await AsyncEntitlements(None, storage=storage, clock=clock).__aenter__()
        assert entered.catalog == catalog
        unopened = AsyncEntitlements(None, storage=storage, clock=clock)  # the first verb opens it
        await unopened.subscribe("acme", "pro")
        assert (await unopened.check("acme", "seats")).limit == 3
        other = AsyncEntitlements(document(5), storage=storage, clock=clock)
        await other.publish()
        assert (await unopened.reload()) == other.catalog
        await other.close()

    asyncio.run(scenario())


class Doubtful(MemoryStorage):
    """Commits what is published, and once does not know whether it did; meanwhile somebody else publishes."""

    meanwhile = None

    def transact(self, customer, key, reads, decide):
        result = super().transact(customer, key, reads, decide)
        if key.startswith("published:") and self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
            raise OutcomeUnknown(key)
        return result


def test_who_publishes_again_because_it_was_not_known_takes_nobody_elses_place(clock):
    storage = Doubtful()
    first, second = (Entitlements(document(n), storage=storage, clock=clock) for n in (3, 5))
    storage.meanwhile = second.publish
    first.publish()
    assert Entitlements(None, storage=storage, clock=clock).catalog == second.catalog
    assert lines(first).count("catalog_published") == 2


class Away(MemoryStorage):
    """A storage that can be away, for whoever reads."""

    is_away = False

    def state(self, customer, reads):
        if self.is_away:
            raise StorageUnavailable("away")
        return super().state(customer, reads)

    def pulse(self):
        if self.is_away:
            raise StorageUnavailable("away")
        return super().pulse()


class Waiting(MemoryStorage):
    """A storage that may have to wait, and is told for how long; of the log of catalogs that is written down."""

    waits = True

    def __init__(self):
        super().__init__()
        self.waited = []

    def state(self, customer, reads, *, within=None):
        self.waited += [within] if customer == "$catalog" else []
        return super().state(customer, reads)

    def pulse(self, *, within=None):
        return super().pulse()

    def written(self, *, after, within=None):
        return super().written(after=after)


def test_what_is_published_is_looked_for_no_longer_than_a_check_may_take(clock):
    storage = Waiting()
    Entitlements(document(3), storage=storage, clock=clock).publish()
    ent = Entitlements(None, storage=storage, clock=clock, timeout=0.3)
    storage.waited.clear()
    time.sleep(0.1)
    assert not ent.check("acme", "seats")
    assert storage.waited == [0.3]


def test_while_the_storage_is_away_the_catalog_stays_and_the_log_is_quiet(clock, caplog):
    storage = Away()
    selling = Entitlements(document(3), storage=storage, clock=clock)
    selling.publish()
    selling.subscribe("acme", "pro")
    ent = Entitlements(None, storage=storage, clock=clock)
    assert limit(ent) == 3
    storage.is_away = True
    with caplog.at_level(logging.WARNING, logger="entitlements"):
        for _ in range(5):
            time.sleep(0.03)
            assert limit(ent) == 3
    assert "catalog" not in caplog.text
    storage.is_away = False
    Entitlements(document(5), storage=storage, clock=clock).publish()
    eventually(lambda: limit(ent), 5)


def test_what_only_a_newer_release_can_read_is_told_once_and_the_catalog_in_use_stays(open_with, caplog):
    """As where releases are changed one machine after another."""
    selling = open_with(document(3))
    selling.publish()
    selling.subscribe("acme", "pro")
    ent = open_with(None)
    newer = attrs.evolve(Catalog.load(document(5)), document={**document(5), "later": {}}, version="f" * 32)
    with caplog.at_level(logging.WARNING, logger="entitlements"):
        open_with(newer).publish()
        eventually(lambda: limit(ent) == 3 and len(caplog.records), 1)
        time.sleep(0.2)
        assert limit(ent) == 3
    assert [record.getMessage() for record in caplog.records if "ffff" not in record.getMessage()] == []
    assert len(caplog.records) == 1
    assert "use the newest release that wrote to this storage" in caplog.text
    open_with(document(7)).publish()
    eventually(lambda: limit(ent), 7)


def test_a_published_version_that_cannot_be_read_is_a_broken_log_and_found_by_verify(database):
    address = f"sqlite:///{database}"
    with Entitlements(document(3), storage=address) as selling:
        selling.publish()
    tamper(database, "UPDATE entries SET data = replace(data, 'features', 'faetures') WHERE kind = 'catalog_kept'")
    with Entitlements(None, storage=address) as ent:
        assert "$catalog" in {problem.customer for problem in ent.verify()}
        with pytest.raises(LogCorrupt, match="cannot be read"):
            ent.check("acme", "seats")


# --- from the command line


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "catalog.json").write_text(json.dumps(document(3)))
    return tmp_path


def run(*words):
    result = CliRunner().invoke(main, list(words), catch_exceptions=False)
    return result.exit_code, result.output


def test_from_the_command_line_a_file_is_published_and_then_asked_about(here):
    code, said = run("catalog", "publish", "catalog.json", "--storage", "sqlite:///app.db")
    assert code == 0
    assert said.startswith("Published catalog.json: 1 plan, 1 feature. Version ")
    with Entitlements(None, storage="sqlite:///app.db", clock=FrozenClock(START)) as ent:
        ent.subscribe("acme", "pro")
        version = ent.catalog.version
    asked = ("check", "acme", "seats", "--storage", "sqlite:///app.db", "--catalog", "published:", "--json")
    code, said = run(*asked)
    assert (code, json.loads(said)["limit"]) == (0, 3)
    code, said = run("catalog", "publish", "catalog.json", "--storage", "sqlite:///app.db", "--json")
    assert (code, json.loads(said)) == (0, {"file": "catalog.json", "version": version})


def test_what_cannot_be_published_is_said_and_so_is_what_is_not(here):
    code, said = run("catalog", "publish", "catalog.json", "--storage", "memory:")
    assert (code, "memory: keeps nothing; name the database" in said) == (2, True)
    code, said = run("catalog", "publish", "none.json")
    assert (code, "there is no catalog at none.json" in said) == (2, True)
    (here / "broken.json").write_text(json.dumps({"plans": {"pro": {"entitlements": {"seats": 1}}}}))
    code, said = run("catalog", "publish", "broken.json", "--storage", "sqlite:///app.db")
    assert (code, "seats" in said) == (1, True)
    assert not (here / "app.db").exists()
    code, said = run("check", "acme", "seats", "--catalog", "published:", "--storage", "sqlite:///app.db")
    assert (code, "there is no database at app.db" in said) == (3, True)
    Entitlements("catalog.json", storage="sqlite:///app.db").close()
    code, said = run("check", "acme", "seats", "--catalog", "published:", "--storage", "sqlite:///app.db")
    assert (code, "none is published in this storage" in said) == (2, True)
