"""The demo: what it claims comes out of the library, and it fails where the library does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner

from entitlements import Entitlements
from entitlements.cli import crowd, demo, main, stage, story
from entitlements.cli.crowd import Counts
from entitlements.cli.stage import DemoClock, Stage
from entitlements.errors import StorageUnavailable

CATALOG = Path(demo.__file__).with_name("demo_catalog.yaml")


@attrs.frozen
class Shown:
    """One run of the real program: what it printed and what it left behind."""

    code: int
    text: str
    errors: str
    left: tuple[str, ...]


def shown(place: Path, *words: str) -> Shown:
    settings = {name: value for name, value in os.environ.items() if name not in {"FORCE_COLOR", "COLUMNS"}}
    (place / "tmp").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "entitlements", "demo", *words],
        cwd=place,
        env={**settings, "TMPDIR": str(place / "tmp"), "TEMP": str(place / "tmp"), "TMP": str(place / "tmp")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    left = tuple(str(path.relative_to(place)) for path in place.rglob("*"))
    return Shown(done.returncode, done.stdout, done.stderr, left)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """The demo as a newcomer sees it."""
    return shown(tmp_path_factory.mktemp("told"))


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The demo as data."""
    done = shown(tmp_path_factory.mktemp("facts"), "--json")
    assert (done.code, done.errors) == (0, "")
    return json.loads(done.text)


def steps_of(facts: Any, kind: str) -> list[Any]:
    return [step for chapter in facts["chapters"] for step in chapter["steps"] if step["kind"] == kind]


class TestWhatItShows:
    def test_it_succeeds_in_plain_text_and_leaves_nothing_behind(self, told: Shown) -> None:
        assert (told.code, told.errors) == (0, "")
        assert told.text.isascii()
        assert "\x1b" not in told.text
        assert "NOT AS EXPECTED" not in told.text
        assert told.left == ("tmp",)

    def test_every_chapter_is_told(self, told: Shown, facts: Any) -> None:
        titles = [chapter["title"] for chapter in facts["chapters"]]
        assert titles == list(story.CHAPTERS)
        for number, title in enumerate(titles, start=1):
            assert f"\n{number}. {title}\n" in told.text

    def test_both_tell_the_same(self, told: Shown, facts: Any) -> None:
        flat = " ".join(told.text.split())
        for step in steps_of(facts, "asked"):
            assert f">>> {step['python']}\n" in told.text
            assert " ".join(step["said"].split()) in flat

    def test_it_ends_with_what_to_do_next(self, told: Shown, facts: Any) -> None:
        _, _, rest = told.text.partition("Everything came out as it should.\n\nNext:\n")
        lines = [line.strip() for line in rest.splitlines()]
        assert len(lines) == 3
        assert all(line.startswith(command) for line, command in zip(lines, facts["next"], strict=True))

    def test_the_kinds_of_answers_it_promises(self, facts: Any) -> None:
        answers = [step["answer"] for step in steps_of(facts, "asked") if isinstance(step["answer"], dict)]
        decisions = [answer for answer in answers if "code" in answer]
        assert {decision["code"] for decision in decisions} >= {
            "ok", "not_in_plan", "value_not_allowed", "limit_reached", "trial_ended", "denied_by_override", "budget_exceeded",
        }  # fmt: skip
        assert {(decision["source"] or "").partition(":")[0] for decision in decisions} >= {
            "plan", "trial", "promotion", "override",
        }  # fmt: skip
        assert any(decision["upgrade"] == ["plan:team", "add-on:more_research"] for decision in decisions)
        assert any("candidates" in answer for answer in answers)

    def test_a_limit_is_met_exactly_by_processes_full_of_threads(self, facts: Any) -> None:
        (rush,) = steps_of(facts, "rush")
        assert len(rush["processes"]) == crowd.PROCESSES == 2
        for counts in [*rush["processes"], rush["together"]]:
            assert counts["asked"] == counts["allowed"] + counts["denied"]
        assert rush["together"] == {"asked": 200, "allowed": 100, "denied": 100}
        assert rush["in_the_log"] == rush["limit"] == 100

    def test_a_priced_use_goes_through_the_budget_of_its_team(self, facts: Any) -> None:
        (chapter,) = [chapter for chapter in facts["chapters"] if "budget" in chapter["title"]]
        asked = [step for step in chapter["steps"] if step["kind"] == "asked"]
        _, budget, used, denied, tree = [step["answer"] for step in asked]
        assert budget == "budget of team:research: 50.00 ai per day"
        assert (used["receipt"]["price"], denied["allowed"]) == ("40.00", False)
        assert [(cap["limit"], cap["used"], cap["remaining"]) for cap in denied["budgets"]] == [("50.00", "40.00", "10.00")]
        assert "ai per day: 40.00 used, 10.00 left of 50.00" in tree

    def test_the_edited_file_changes_the_same_question(self, facts: Any) -> None:
        chapter = facts["chapters"][-1]
        before, after = [step for step in chapter["steps"] if step["kind"] == "asked"]
        assert before["python"] == after["python"]
        assert (before["answer"]["allowed"], after["answer"]["allowed"]) == (False, True)
        assert before["answer"]["catalog_version"] != after["answer"]["catalog_version"]
        (edit,) = steps_of(facts, "edited")
        assert edit["before"] in CATALOG.read_text(encoding="utf-8")

    def test_every_step_that_claims_something_was_checked(self, facts: Any) -> None:
        assert facts["as_expected"] is True
        claims = [step for kind in ("asked", "rush", "edited") for step in steps_of(facts, kind)]
        assert len(claims) > 20
        assert all(step["as_expected"] is True for step in claims)


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("deep_research: 100", "deep_research: 99"),
        ("code_runner: true", "code_runner: false"),
        ("entitlements: {messages: unlimited}", "entitlements: {messages: 20}"),
    ],
)
def test_it_fails_where_an_answer_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, was: str, now: str
) -> None:
    text = CATALOG.read_text(encoding="utf-8")
    assert was in text
    (tmp_path / "other.yaml").write_text(text.replace(was, now), encoding="utf-8")
    monkeypatch.setattr(demo, "CATALOG", tmp_path / "other.yaml")
    monkeypatch.setattr(stage, "rush", lambda *_: [Counts(100, 50, 50), Counts(100, 50, 50)])
    result = CliRunner().invoke(main, ["demo"], catch_exceptions=False)
    assert result.exit_code == 1
    assert "NOT AS EXPECTED" in result.stdout
    assert "did not come out as expected" in result.stdout
    assert "Everything came out as it should." not in result.stdout


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Stage]:
    """A stage with one open chapter, on a storage in memory."""
    catalog = tmp_path / "catalog.yaml"
    catalog.write_text(CATALOG.read_text(encoding="utf-8"), encoding="utf-8")
    clock = DemoClock()
    with closing(Entitlements(catalog, storage="memory:", clock=clock)) as engine:
        scene = Stage(engine, clock, catalog, tmp_path / "none.db")
        scene.open("A chapter", lambda _: None)
        yield scene


class TestWhatItNotices:
    def test_an_attribute_that_is_another(self, scene: Stage, capsys: pytest.CaptureFixture[str]) -> None:
        scene.ask('ent.check("ann", "code_runner")', code="ok", nonsense=None)
        (wrong,) = scene.surprises()
        assert wrong["python"] == 'ent.check("ann", "code_runner")'
        printed = capsys.readouterr().out
        assert "NOT AS EXPECTED: code is 'not_in_plan', expected 'ok'" in printed
        assert "NOT AS EXPECTED: nonsense" in printed

    def test_an_error(self, scene: Stage, capsys: pytest.CaptureFixture[str]) -> None:
        scene.ask('ent.subscribe("ann", "por")', plan="pro")
        assert len(scene.surprises()) == 1
        assert "raised UnknownPlan: unknown plan 'por'; did you mean 'pro'?" in capsys.readouterr().out

    @pytest.mark.parametrize("counts", [Counts(100, 101, 0), Counts(100, 99, 1), Counts(100, 100, 0)])
    def test_an_overshoot_a_shortfall_and_a_log_that_says_otherwise(
        self, scene: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], counts: Counts
    ) -> None:
        scene.engine.subscribe("crew", "team")
        scene.engine.record("crew", "deep_research", 100 if counts.allowed != 100 else 101)
        monkeypatch.setattr(stage, "rush", lambda *_: [counts])
        scene.rush("crew", "deep_research", each=100)
        assert len(scene.surprises()) == 1
        assert "NOT AS EXPECTED" in capsys.readouterr().out

    def test_an_edit_that_is_never_seen(
        self, scene: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(stage, "PATIENCE", 0.1)
        scene.edit("this is not in the file", "nor is this")
        assert len(scene.surprises()) == 1
        assert "NOT AS EXPECTED: has not seen the change" in capsys.readouterr().out

    def test_a_storage_that_is_away(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def away(*_: object) -> list[Counts]:
            raise StorageUnavailable("demo.db was busy for 5 s; nothing was written")

        monkeypatch.setattr(stage, "rush", away)
        result = CliRunner().invoke(main, ["demo"])
        assert result.exit_code == 3
        assert "Error: demo.db was busy for 5 s; nothing was written" in result.stderr

    def test_a_disk_that_is_full(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("shutil.copyfile", full)
        result = CliRunner().invoke(main, ["demo", "--json"])
        assert result.exit_code == 2
        assert json.loads(result.stdout)["error"]["kind"] == "file"
