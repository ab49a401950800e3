"""Catalogs in use: changed while an engine runs, sold and kept, and held to what was used first."""

import json
import logging
import os
import shutil
import time

import pytest

from entitlements import Catalog, Entitlements, configure
from entitlements.errors import CatalogError, StorageUnavailable
from entitlements.storage.memory import MemoryStorage

TOKENS = {"type": "metered", "scale": 2}


def document(limit=5, *, feature=None, version="latest", **features):
    """Return a catalog with one plan that gives `limit` tokens."""
    plan = {"version": version, "trial": {"days": 14}, "entitlements": {"tokens": limit}}
    return {"version": 1, "features": {"tokens": feature or TOKENS, **features}, "plans": {"pro": plan}}


class CatalogFile:
    """A catalog file that can be written again; each time it counts as changed."""

    def __init__(self, path):
        self.path = path
        self.changes = 0

    def write(self, content):
        """Replace the file at once, as an editor or a deployment does."""
        self.changes += 1
        fresh = self.path.with_suffix(".new")
        fresh.write_text(content if isinstance(content, str) else json.dumps(content))
        os.utime(fresh, (1_000_000_000 + self.changes,) * 2)
        fresh.replace(self.path)


@pytest.fixture
def file(tmp_path):
    file = CatalogFile(tmp_path / "sold.json")
    file.write(document())
    return file


@pytest.fixture
def soon(monkeypatch):
    """Engines look at their file much more often, so that a test need not wait."""
    monkeypatch.setattr("entitlements.freshness.LOOK_EVERY", 0.02)


@pytest.fixture
def ent(soon, opened, file):
    ent = opened(file.path)
    ent.subscribe("acme", "pro")
    return ent


def limit(ent, customer="acme"):
    return ent.check(customer, "tokens").limit


def eventually(answer, expected, *, within=3.0):
    """Ask until the answer is the expected one, and return how long that took."""
    began = time.monotonic()
    while (found := answer()) != expected:
        assert time.monotonic() - began < within, f"still {found!r} after {within} s"
        time.sleep(0.01)
    return time.monotonic() - began


# --- a file that changes


def test_a_changed_file_is_in_use_within_about_a_second(opened, file):
    ent = opened(file.path)
    ent.subscribe("acme", "pro")
    assert limit(ent) == 5
    told = []
    ent.on("catalog", told.append)
    file.write(document(9))
    assert eventually(lambda: limit(ent), 9) < 2
    assert [catalog.version for catalog in told] == [ent.catalog.version]
    assert ent.consume("acme", "tokens", 9)


def test_a_write_sees_a_changed_file_too(ent, file):
    file.write(document(9))
    eventually(lambda: ent.consume("acme", "tokens", 9).allowed, True)


def test_a_broken_file_keeps_the_catalog_in_use_and_is_logged_once(ent, file, caplog):
    told = []
    ent.on("catalog", told.append)
    version = ent.catalog.version
    with caplog.at_level(logging.WARNING, logger="entitlements"):
        file.write('{"version": 1, "features": {"tokens": {"type": "meterd"}}}')
        eventually(lambda: limit(ent) == 5 and len(caplog.records), 1)
        time.sleep(0.2)
        assert limit(ent) == 5
    assert len(caplog.records) == 1
    assert "sold.json was not reloaded" in caplog.text
    assert "did you mean 'metered'?" in caplog.text
    assert (ent.catalog.version, told) == (version, [])
    file.write(document(9))
    eventually(lambda: limit(ent), 9)


def test_a_file_that_is_gone_keeps_the_catalog_in_use(ent, file, caplog):
    with caplog.at_level(logging.WARNING, logger="entitlements"):
        file.path.unlink()
        eventually(lambda: limit(ent) == 5 and len(caplog.records), 1)
    assert limit(ent) == 5
    file.write(document(9))
    eventually(lambda: limit(ent), 9)


def test_a_process_that_goes_elsewhere_takes_its_catalog_along(soon, opened, file, tmp_path, monkeypatch, caplog):
    """As a daemon does, which leaves for the root once it has begun: the file is where it was named."""
    monkeypatch.chdir(tmp_path)
    ent = opened(file.path.name)
    ent.subscribe("acme", "pro")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    file.write(document(9))
    assert ent.reload().version == ent.catalog.version
    assert limit(ent) == 9
    file.write(document(11))
    time.sleep(0.1)
    assert limit(ent) == 11
    file.write("{")
    with pytest.raises(CatalogError, match=f"1 problem in {file.path}"):
        ent.reload()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CatalogError, match=f"1 problem in {file.path.name}"):
        ent.reload()


def test_reload_reads_the_file_now_and_raises_what_is_wrong_with_it(ent, file):
    told = []
    ent.on("catalog", told.append)
    file.write(document(9))
    assert ent.reload().version == ent.catalog.version
    assert limit(ent) == 9
    assert len(told) == 1
    ent.reload()
    assert len(told) == 1
    file.write("{")
    with pytest.raises(CatalogError):
        ent.reload()
    assert limit(ent) == 9


def test_a_plan_that_is_renamed_is_missed_by_name_and_its_holder_can_move_on(ent, file):
    sold = document()
    sold["plans"]["gratis"] = sold["plans"].pop("pro")
    file.write(sold)
    ent.reload()
    said = "the customer holds plan 'pro', which the catalog no longer has; put it back, or change_plan"
    decision = ent.check("acme", "tokens")
    assert (decision.code, decision.upgrade) == ("not_in_plan", ("plan:gratis",))
    assert decision.reason == f"{said}; plan gratis would allow it"
    lost = "- plan:pro  nothing  not in the catalog: the catalog no longer has it"
    assert lost in str(ent.explain("acme", "tokens"))
    ent.change_plan("acme", "gratis")
    assert limit(ent) == 5


def test_a_paused_subscription_is_resumed_as_its_denial_says(ent):
    ent.set_status("acme", "paused")
    denied = ent.check("acme", "tokens")
    assert denied.code == "no_active_subscription"
    assert denied.reason == "the subscription to plan 'pro' is paused; set_status to active resumes it"
    ent.set_status("acme", "active")
    assert limit(ent) == 5


def test_a_file_with_the_same_content_is_the_same_catalog(ent, file):
    told = []
    ent.on("catalog", told.append)
    version = ent.catalog.version
    file.write(json.dumps(document(), indent=4))
    ent.reload()
    assert (ent.catalog.version, told) == (version, [])


class Away(MemoryStorage):
    """A storage that can be away for reads of the log `$catalog`."""

    away = False

    def state(self, customer, reads):
        if self.away and customer == "$catalog":
            raise StorageUnavailable("away")
        return super().state(customer, reads)


def test_a_changed_file_is_taken_up_once_the_storage_is_back(soon, opened, file):
    """Found in review: the change was lost, and every check raised."""
    storage = Away()
    ent = opened(file.path, storage=storage)
    ent.subscribe("acme", "pro")
    storage.away = True
    file.write(document(9))
    time.sleep(0.2)
    assert limit(ent) == 5
    storage.away = False
    eventually(lambda: limit(ent), 9)


# --- what the first use fixes


@pytest.mark.parametrize("feature", [{"type": "metered", "scale": 3}, {"type": "metered"}, {"type": "boolean"}])
def test_type_and_scale_are_fixed_at_first_use(ent, file, feature):
    limit_or_value = True if feature["type"] == "boolean" else 5
    changed = document(limit_or_value, feature=feature)
    file.write(changed)
    ent.reload()
    file.write(document())
    ent.reload()
    ent.consume("acme", "tokens", "0.05")
    file.write(changed)
    with pytest.raises(CatalogError) as refused:
        ent.reload()
    assert "features.tokens" in str(refused.value)
    assert "type and scale stay as first used: name a new feature" in str(refused.value)
    assert limit(ent) == 5


def test_what_is_fixed_stays_fixed_after_a_restart(database, file, clock):
    with Entitlements(file.path, storage=f"sqlite:///{database}", clock=clock) as ent:
        ent.override("acme", "tokens", "0.05")
    with pytest.raises(CatalogError, match="type and scale stay as first used"):
        Entitlements(document(feature={"type": "metered"}), storage=f"sqlite:///{database}", clock=clock)
    with Entitlements(document(9), storage=f"sqlite:///{database}", clock=clock) as ent:
        assert ent.consume("acme", "tokens", "0.01")


def test_a_changed_file_that_breaks_what_is_fixed_is_not_taken_up(ent, file, caplog):
    ent.consume("acme", "tokens")
    with caplog.at_level(logging.WARNING, logger="entitlements"):
        file.write(document(9, feature={"type": "metered"}))
        eventually(lambda: limit(ent) == 5 and len(caplog.records), 1)
    assert "type and scale stay as first used" in caplog.text


def test_a_process_whose_place_is_gone_keeps_the_catalog_it_has(soon, opened, file, tmp_path, monkeypatch, caplog):
    """As where a release is deleted from which something still runs: a check is answered all the same."""
    (tmp_path / "release").mkdir()
    monkeypatch.chdir(tmp_path / "release")
    ent = opened(file.path.rename("sold.json").name)
    ent.subscribe("acme", "pro")
    shutil.rmtree(tmp_path / "release")
    time.sleep(0.1)
    assert limit(ent) == 5
    assert "sold.json was not reloaded, version" in caplog.text
    with pytest.raises(FileNotFoundError, match="release/sold.json"):
        ent.reload()


CHANGED = {
    ".yaml": "features:\n  tokens:\n    type: metered\n    scale: 3\ncredits:\n  ai: {title: AI}\n",
    ".json": '{"features": {"tokens":\n  {"type": "metered", "scale": 3}},\n "credits": {"ai": {"title": "AI"}}}',
    ".toml": '[features.tokens]\ntype = "metered"\nscale = 3\n[credits]\nai = {title = "AI"}\n',
}
PLACES = {".yaml": [(4, 12), (6, 7)], ".json": [(2, 32), (3, 20)], ".toml": [(3, 9), (5, 6)]}


@pytest.fixture
def used(database):
    """A storage in which the scale of a feature and of a credit are fixed."""
    first = {"features": {"tokens": {"type": "metered", "scale": 2}}, "credits": {"ai": {"scale": 1}}}
    with Entitlements(first, storage=f"sqlite:///{database}") as ent:
        ent.override("acme", "tokens", 5)
        ent.grant_credits("acme", "ai", 5, key="g")
    return f"sqlite:///{database}"


def refused(catalog, storage):
    with pytest.raises(CatalogError) as error:
        Entitlements(catalog, storage=storage)
    paths = [problem.path for problem in error.value.problems]
    assert paths == ["features.tokens.scale", "credits.ai"]
    assert "first used with type metered and scale 2, now says type metered and scale 3; " in str(error.value)
    return error.value, [(problem.line, problem.column) for problem in error.value.problems]


@pytest.mark.parametrize("suffix", CHANGED)
def test_what_changes_something_fixed_is_told_with_its_place_in_the_new_file(tmp_path, used, suffix):
    path = tmp_path / f"new{suffix}"
    path.write_text(CHANGED[suffix])
    error, places = refused(path, used)
    assert places == PLACES[suffix]
    assert {problem.file for problem in error.problems} == {error.origin} == {str(path)}
    loaded = Catalog.load(path)
    assert refused(loaded, used)[1] == places
    path.write_text(CHANGED[suffix].replace("AI", "Artificial"))  # and so another catalog, by now
    assert refused(loaded, used)[1] == [(None, None)] * 2
    path.write_text("{")
    assert refused(loaded, used)[1] == [(None, None)] * 2
    path.unlink()
    error, places = refused(loaded, used)
    assert (error.problems[0].file, places) == (str(path), [(None, None)] * 2)


def test_what_changes_something_fixed_in_a_mapping_has_a_path_and_no_place(used):
    changed = {"features": {"tokens": {"type": "metered", "scale": 3}}, "credits": {"ai": {"title": "AI"}}}
    error, places = refused(changed, used)
    assert (error.problems[0].file, places) == (None, [(None, None)] * 2)


def test_a_first_use_that_came_second_is_told_with_its_place_too(tmp_path, opened, shared):
    path = tmp_path / "other.yaml"
    path.write_text("features:\n  tokens: {type: metered, scale: 3}\nplans: {pro: {entitlements: {tokens: 5}}}\n")
    one, other = opened(document(), storage=shared), opened(path, storage=shared)
    other.subscribe("other", "pro")
    one.subscribe("acme", "pro")
    one.consume("acme", "tokens", "0.5")
    with pytest.raises(CatalogError) as error:
        other.consume("other", "tokens")
    (problem,) = error.value.problems
    assert (problem.path, problem.file, problem.line, problem.column) == ("features.tokens.scale", str(path), 2, 34)


def test_a_feature_that_comes_back_is_still_what_it_was(ent, file):
    ent.consume("acme", "tokens")
    file.write({"version": 1, "features": {"other": {"type": "boolean"}}})
    ent.reload()
    file.write(document(feature={"type": "metered"}))
    with pytest.raises(CatalogError):
        ent.reload()


def test_another_engine_may_not_use_what_one_has_fixed_otherwise(opened, shared):
    one = opened(document(), storage=shared)
    other = opened(document(feature={"type": "metered"}), storage=shared)
    one.consume("acme", "tokens", "0.5")
    one.subscribe("acme", "pro")
    one.consume("acme", "tokens", "0.5")
    other.subscribe("other", "pro")
    with pytest.raises(CatalogError, match="was first used with"):
        other.consume("other", "tokens", 1)
    assert len(other.entries("other")) == 1


def test_a_denial_fixes_nothing(ent, file):
    assert not ent.consume("acme", "tokens", 6)
    file.write(document(feature={"type": "metered"}))
    ent.reload()
    assert ent.consume("acme", "tokens", 5)


# --- plans that stay as sold


def test_a_latest_plan_follows_the_catalog(ent, file):
    file.write(document(9))
    ent.reload()
    assert limit(ent) == 9


@pytest.fixture
def sold(opened, file):
    """An engine in which acme bought a pinned plan, and the catalog has changed since."""
    file.write(document(5, version="pinned"))
    ent = opened(file.path)
    bought = ent.subscribe("acme", "pro")
    ent.start_trial("trying", "pro")
    file.write(document(9, version="pinned"))
    ent.reload()
    assert bought.version not in (None, ent.catalog.version)
    return ent


def test_a_pinned_plan_stays_as_sold(sold):
    sold.subscribe("other", "pro")
    assert (limit(sold), limit(sold, "trying"), limit(sold, "other")) == (5, 5, 9)
    assert not sold.consume("acme", "tokens", 6)
    assert sold.snapshot("acme").features["tokens"].limit == 5


def test_a_plan_sold_again_is_sold_as_it_is_now(sold):
    sold.change_plan("acme", "pro")
    assert limit(sold) == 9


def test_a_pinned_plan_survives_its_removal_from_the_catalog(sold, file):
    file.write({"version": 1, "features": {"tokens": TOKENS}})
    sold.reload()
    assert limit(sold) == 5


def test_another_engine_finds_what_was_sold(database, file, clock):
    file.write(document(5, version="pinned"))
    with Entitlements(file.path, storage=f"sqlite:///{database}", clock=clock) as ent:
        ent.subscribe("acme", "pro")
        ent.subscribe("other", "pro")
    file.write(document(9, version="pinned"))
    with Entitlements(file.path, storage=f"sqlite:///{database}", clock=clock) as ent:
        assert limit(ent) == 5
        assert not ent.consume("acme", "tokens", 6)
        assert ent.explain("acme", "tokens").decision.limit == 5
        assert ent.check("acme", "tokens", at=clock()).limit == 5
        kept = [entry for entry in ent.entries("acme") if entry.kind == "catalog_kept"]
        assert kept == []


def test_a_version_is_kept_once_and_before_the_batch_that_needs_it(opened, file):
    file.write(document(5, version="pinned"))
    ent = opened(file.path)
    for customer in ("a", "b", "c"):
        ent.subscribe(customer, "pro")
    batches = ent.feed().batches
    assert [batch.customer for batch in batches] == ["$catalog", "$catalog", "a", "b", "c"]
    assert [batch.entries[0].kind for batch in batches[:2]] == ["fixed", "catalog_kept"]


def test_the_log_of_catalogs_is_no_customer(opened, file):
    ent = opened(file.path)
    for call in (ent.entries, ent.snapshot, ent.customer, lambda customer: ent.check(customer, "tokens")):
        with pytest.raises(ValueError, match=r"it does not start with '\$'"):
            call("$catalog")


# --- sources


def test_a_catalog_may_be_a_mapping_a_path_or_a_catalog(opened, file):
    by_path, by_text = opened(file.path), opened(str(file.path))
    by_mapping, by_catalog = opened(document()), opened(by_path.catalog)
    versions = {ent.catalog.version for ent in (by_path, by_text, by_mapping, by_catalog)}
    assert len(versions) == 1
    assert by_catalog.catalog is by_path.catalog


def test_a_catalog_that_is_not_there_is_looked_for_at_a_whole_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = f"there is no catalog at {tmp_path / 'none.yaml'}; pass another path, or let `entitlements init` write one"
    for opening in (Entitlements, configure):
        with pytest.raises(FileNotFoundError) as missing:
            opening("none.yaml", storage="memory:")
        assert str(missing.value) == said


def test_a_catalog_that_is_gone_cannot_be_read_again(opened, file):
    ent = opened(file.path)
    file.path.unlink()
    with pytest.raises(FileNotFoundError, match="entitlements init"):
        ent.reload()
    assert ent.catalog.plans


def test_a_broken_catalog_opens_nothing(tmp_path, clock):
    with pytest.raises(CatalogError):
        Entitlements({"version": 1, "plans": {"p": {"extends": "q"}}}, storage=f"sqlite:///{tmp_path / 'a.db'}")
    with pytest.raises(FileNotFoundError, match="there is no catalog at"):
        Entitlements(tmp_path / "none.yaml", storage="memory:")
    with pytest.raises(TypeError, match="a catalog is a path, a mapping or a Catalog, not int"):
        Entitlements(7, storage="memory:")
