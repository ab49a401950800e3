"""The command line: what it prints, what it exits with, and that every mistake says what to do next."""

from __future__ import annotations

import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import click
import pytest
from click.testing import CliRunner, Result

from entitlements import Catalog, Entitlements
from entitlements.cli import main
from entitlements.desk import Desk
from entitlements.errors import StorageUnavailable

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
ESCAPE = "\x1b"

CATALOG = """\
version: 1
default_plan: free
features:
  exports: {type: boolean}
  seats: {type: metered, unit: seat, reset: none}
  calls: {type: metered, reset: month, scale: 2}
  history: {type: config, value: integer, unit: day}
  ratio: {type: config, value: decimal}
  models: {type: config, value: list}
  region: {type: config, value: text}
  beta: {type: config, value: boolean}
credits:
  ai: {scale: 2, currency: USD, depletion: soft, floor: 5}
plans:
  free: {entitlements: {seats: 2, calls: 1000, history: 7, models: [small], region: eu, ratio: "0.5", beta: false}}
  pro:
    extends: free
    price: "20"
    trial: {days: 14}
    entitlements: {exports: true, seats: 20, history: 90, models: [large], beta: true}
    credits: {ai: {grant: 500, every: month, rollover: {max: 100}}}
addons:
  extra_seats: {plans: [pro], price: "5", entitlements: {seats: 5}}
promotions:
  launch: {days: 14, entitlements: {calls: unlimited}}
  open: {entitlements: {exports: true}}
rates:
  calls: {credit: ai, price: "1.5", per: 10, when: [{model: large, price: 4}]}
"""

BROKEN = """\
version: 1
features:
  exports: {type: bolean}
  seats: {type: metered}
plans:
  free: {entitlements: {seets: 2}}
  pro: {extends: fre, entitlements: {seats: 1.5}}
"""

PRICING = """\
saasName: Notes
syntaxVersion: "3.0"
createdAt: "2025-01-15"
currency: EUR
starts: "2025-01-01"
features:
  sync: {valueType: BOOLEAN, defaultValue: false, type: DOMAIN}
usageLimits:
  notes: {valueType: NUMERIC, defaultValue: 100, unit: note, type: NON_RENEWABLE, linkedFeatures: [sync]}
plans:
  BASIC: {price: 0, features: {sync: {value: true}}}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and no settings from outside."""
    monkeypatch.chdir(tmp_path)
    for name in ("ENTITLEMENTS_CATALOG", "ENTITLEMENTS_STORAGE", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def catalog(here: Path) -> Path:
    path = here / "catalog.yaml"
    path.write_text(CATALOG, encoding="utf-8")
    return path


@pytest.fixture
def database(catalog: Path) -> Path:
    """A database in which acme holds pro."""
    with Entitlements(catalog) as ent:
        ent.subscribe("acme", "pro")
        ent.consume("acme", "seats", 3)
    return catalog.with_name("entitlements.db")


def run(*words: str, **extra: Any) -> Result:
    return CliRunner().invoke(main, list(words), catch_exceptions=False, **extra)


def answer(*words: str) -> Any:
    """Return the one JSON document that a command prints; nothing else may be printed."""
    result = run(*words, "--json")
    assert result.stderr == ""
    return json.loads(result.stdout)


def environment(**extra: str) -> dict[str, str]:
    return {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **extra}


def shell(line: str, **extra: str) -> subprocess.CompletedProcess[str]:
    words = shlex.split(line)
    return subprocess.run(words, env=environment(**extra), capture_output=True, text=True, timeout=60, check=False)


class TestInit:
    def test_what_it_says_to_try_next_works_line_by_line(self) -> None:
        codes = [(shell(line), line) for line in answer("init")["next"]]
        assert [done.returncode for done, _ in codes] == [0, 1, 0, 0, 0], codes
        show, before, _, after, explained = [done.stdout for done, _ in codes]
        assert "free (default)" in show
        assert before.startswith("denied (not_in_plan): nothing acme holds grants exports; plan pro or plan business")
        assert after == "allowed: exports is granted by plan pro\n"
        assert "+ plan:pro     10  won: the most generous" in explained

    def test_it_says_what_it_wrote(self, here: Path) -> None:
        result = run("init")
        assert result.exit_code == 0
        assert result.stdout.startswith("Wrote catalog.yaml: 3 plans, 4 features. Next:\n  entitlements catalog show\n")
        written = (here / "catalog.yaml").read_text(encoding="utf-8")
        assert written.count("#") > 10
        assert run("catalog", "validate").exit_code == 0

    def test_it_writes_elsewhere_and_the_next_lines_name_the_place(self, here: Path) -> None:
        lines = answer("init", "sold.yml")["next"]
        assert (here / "sold.yml").exists()
        assert all("sold.yml" in line for line in lines)

    def test_it_overwrites_only_when_forced(self, catalog: Path) -> None:
        result = run("init")
        assert result.exit_code == 2
        assert "catalog.yaml is there already and was left alone" in result.stderr
        assert "--force" in result.stderr
        assert catalog.read_text(encoding="utf-8") == CATALOG
        assert run("init", "--force").exit_code == 0
        assert catalog.read_text(encoding="utf-8") != CATALOG

    @pytest.mark.parametrize(
        ("file", "words"), [("catalog.json", "does not end in .yaml"), ("no/where.yaml", "cannot be written")]
    )
    def test_a_file_it_cannot_write(self, file: str, words: str) -> None:
        result = run("init", file)
        assert (result.exit_code, result.stdout) == (2, "")
        assert words in result.stderr


class TestCheck:
    def test_allowed(self, database: Path) -> None:
        result = run("check", "acme", "exports")
        assert (result.exit_code, result.stdout) == (0, "allowed: exports is granted by plan pro\n")

    def test_how_much_is_left(self, database: Path) -> None:
        assert (
            run("check", "acme", "seats").stdout == "allowed: seats is granted by plan pro: 3 of 20 used\n  17 left\n"
        )
        assert re.search(
            r"\n  1,000\.00 left, resets 20\d\d-\d\d-\d\d \d\d:\d\d(:\d\d)? UTC\n", run("check", "acme", "calls").stdout
        )

    def test_how_much_is_left_beyond_a_soft_limit(self, catalog: Path, database: Path) -> None:
        with Entitlements(catalog) as ent:
            ent.override("acme", "seats", {"limit": 5, "depletion": "soft", "ceiling": 9})
            ent.consume("acme", "seats", 4)
        granted = "allowed: seats is granted by override set: 7 of 5 used, 2 over the limit\n"
        assert run("check", "acme", "seats").stdout == f"{granted}  0 left, 2 up to the ceiling of 9\n"

    def test_denied_says_what_would_allow_it(self, database: Path) -> None:
        result = run("check", "acme", "seats", "--requested", "18")
        assert (result.exit_code, result.stderr) == (1, "")
        assert result.stdout.startswith("denied (limit_reached): 18 of seats asked for, 17 left of 20 (plan pro)")
        assert "add-on extra_seats would allow it" in result.stdout

    def test_the_json_is_the_decision(self, catalog: Path, database: Path) -> None:
        with Entitlements(catalog) as ent:
            expected = ent.check("acme", "seats", requested=18).to_dict()
        assert answer("check", "acme", "seats", "--requested", "18") == expected

    def test_an_unknown_feature_is_a_denial_with_a_suggestion(self, database: Path) -> None:
        result = run("check", "acme", "exprots")
        assert result.exit_code == 1
        assert (
            result.stdout == "denied (unknown_feature): no feature 'exprots' in the catalog; did you mean 'exports'?\n"
        )

    @pytest.mark.parametrize(
        ("feature", "value", "code"),
        [
            ("history", "90", 0),
            ("history", "91", 1),
            ("ratio", "0.50", 0),
            ("ratio", "0.51", 1),
            ("models", "small, large", 0),
            ("models", "small,huge", 1),
            ("region", "eu", 0),
            ("region", "us", 1),
            ("beta", "true", 0),
        ],
    )
    def test_a_value_is_read_as_the_feature_holds_it(self, database: Path, feature: str, value: str, code: int) -> None:
        assert run("check", "acme", feature, "--value", value).exit_code == code

    def test_another_instant(self, catalog: Path, database: Path) -> None:
        with Entitlements(catalog) as ent:
            ent.start_trial("cy", "pro")
        later = (datetime.now(UTC) + timedelta(days=15)).isoformat()
        assert run("check", "cy", "exports").exit_code == 0
        assert "denied (trial_ended)" in run("check", "cy", "exports", "--at", later).stdout

    def test_catalog_and_storage_by_option_and_by_environment(self, here: Path, database: Path) -> None:
        (here / "sold").mkdir()
        moved = (here / "catalog.yaml").rename(here / "sold" / "catalog.yaml")
        kept = database.rename(here / "sold" / "app.db")
        asked = ("check", "acme", "exports")
        assert run(*asked, "--catalog", str(moved), "--storage", f"sqlite:///{kept}").exit_code == 0
        settings = {"ENTITLEMENTS_CATALOG": str(moved), "ENTITLEMENTS_STORAGE": "sqlite:///sold/app.db"}
        assert run(*asked, env=settings).exit_code == 0
        assert run(*asked, "--storage", "memory:", env=settings).exit_code == 1


class TestMisuse:
    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["seats", "--at", "2026-12-01T10:30"], "has no time zone; write 2026-12-01T10:30Z for UTC"),
            (["seats", "--at", "2026-12-01"], "has no time zone; write 2026-12-01T00:00Z for UTC"),
            (["seats", "--at", "tomorrow"], "'tomorrow' is no instant; write one such as 2026-12-01T00:00Z"),
            (["seats", "--at", "0001-01-01T00:00+14:00"], "lies outside the years 1 to 9999"),
            (["seats", "--requested", "many"], "it is 'many'; write a plain number"),
            (["seats", "--requested", "-1"], "it is -1; an amount is zero or more"),
            (["seats", "--requested", "1.5"], "its scale allows 0 decimal places"),
            (["exports", "--requested", "2"], "exports is a boolean feature and has no amount; leave --requested out"),
            (["seats", "--value", "2"], "seats is a metered feature and has no values; leave --value out"),
            (["history", "--value", "long"], "--value is 'long'; history holds a whole number"),
            (["ratio", "--value", "half"], "--value is 'half'; ratio holds a number such as 2.50"),
            (["beta", "--value", "yes"], "--value is 'yes'; beta holds true or false"),
            (["seats", "--storage", "app.db"], "a file is written 'sqlite:///app.db'"),
            (["seats", "--storage", "mysql://db"], "no storage is called 'mysql'"),
            (["seats", "--catalog", "nope.yaml"], "there is no catalog at nope.yaml; let `entitlements init` write"),
            (["seats", "--catalog", "."], "a catalog file ends in .yaml"),
            (["seats", "--nope"], "No such option"),
            ([], "Missing argument 'FEATURE'"),
        ],
    )
    def test_each_mistake_says_what_to_write(self, database: Path, words: list[str], said: str) -> None:
        result = run("check", "acme", *words)
        assert (result.exit_code, result.stdout) == (2, "")
        assert said in result.stderr.replace("\n", " ")
        told = answer("check", "acme", *words)["error"]
        assert said in told["message"]
        assert (told["exit"], told["kind"]) == (2, "catalog" if words[1:] == ["--catalog", "."] else "misuse")

    @pytest.mark.parametrize("customer", ["", " acme", "$catalog", "a\tb", "x" * 256])
    def test_a_customer_that_can_be_none(self, database: Path, customer: str) -> None:
        result = run("check", customer, "seats")
        assert result.exit_code == 2
        assert "the customer id" in result.stderr

    def test_a_catalog_that_is_a_directory(self, here: Path) -> None:
        (here / "catalog.yaml").mkdir()
        result = run("catalog", "validate")
        assert result.exit_code == 2
        assert "catalog.yaml cannot be read" in result.stderr

    def test_an_unknown_command_has_a_suggestion(self) -> None:
        assert "there is no command 'chek'; did you mean 'check'?" in run("chek").stderr
        commands = "init, demo, check, explain, balance, statement, revenue, ledger, verify, sweep, catalog"
        assert answer("subscribe")["error"]["message"].endswith(f"there are {commands}")

    def test_an_unknown_command_of_a_group_has_a_suggestion_too(self) -> None:
        assert "there is no command 'valdate'; did you mean 'validate'?" in run("catalog", "valdate").stderr
        assert "there is no command 'dif'; did you mean 'diff'?" in run("catalog", "dif").stderr
        assert "there is no command 'plans'; there are diff, import, publish, show, validate" in run("catalog", "plans").stderr

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--catalog", "catalog.yaml", "check", "acme", "seats"], "entitlements check … --catalog"),
            (["--csv", "statement", "acme", "ai"], "entitlements statement … --csv"),
            (["catalog", "--plan", "pro", "show"], "entitlements catalog show … --plan"),
            (["catalog", "--json", "validate"], "entitlements catalog diff … --json"),
            (["--json", "check", "acme", "seats"], "entitlements init … --json"),
        ],
    )
    def test_an_option_before_its_command_is_told_where_it_belongs(self, words: list[str], said: str) -> None:
        result = run(*words)
        option = said.rpartition(" ")[2]
        message = f"{option} is an option of a command; write it after the command, as in: {said}"
        told = json.loads(result.stdout)["error"]["message"] if option == "--json" else result.stderr
        assert result.exit_code == 2
        assert message in told

    def test_an_option_that_no_command_has_is_none(self) -> None:
        assert "No such option '--nope'" in run("--nope", "check").stderr

    def test_without_a_command_it_shows_its_help(self) -> None:
        result = run()
        assert result.exit_code == 2
        assert "entitlements demo" in result.output
        assert run("--help").exit_code == 0
        assert run("--version").stdout.startswith("entitlements 0.")

    def test_a_dumb_terminal_gets_no_colour(self, database: Path) -> None:
        assert ESCAPE in run("check", "acme", "seats", color=True, env={"TERM": "xterm"}).stdout
        assert ESCAPE not in run("check", "acme", "seats", color=True, env={"TERM": "dumb"}).stdout
        assert ESCAPE not in run("check", "acme", "seats", color=True, env={"NO_COLOR": "1"}).stdout

    def test_an_interrupt_is_no_denial(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(click.Group, "invoke", interrupted)
        assert run("init").exit_code == 130


class TestStorage:
    def test_asking_creates_no_database(self, here: Path, catalog: Path) -> None:
        for words in (["check", "acme", "exports"], ["explain", "acme"]):
            result = run(*words)
            assert (result.exit_code, result.stdout) == (3, "")
            assert "there is no database at entitlements.db, and asking creates none" in result.stderr
            assert "--storage memory:" in result.stderr
        assert answer("check", "acme", "exports")["error"]["kind"] == "storage"
        assert [path.name for path in here.iterdir()] == ["catalog.yaml"]

    def test_the_command_it_names_creates_one(self, catalog: Path) -> None:
        said = run("check", "acme", "exports", "--storage", "sqlite:///new.db").stderr
        (line,) = (line for line in said.splitlines() if line.startswith("  python -c"))
        assert shell(line).returncode == 0
        assert run("check", "acme", "exports", "--storage", "sqlite:///new.db").exit_code == 0

    def test_a_database_of_somebody_else_stays_as_it_is(self, here: Path, catalog: Path) -> None:
        with closing(sqlite3.connect(here / "app.db")) as theirs:
            theirs.execute("CREATE TABLE entries (id)")
            theirs.commit()
        before = (here / "app.db").read_bytes()
        result = run("check", "acme", "exports", "--storage", "sqlite:///app.db")
        assert result.exit_code == 3
        assert "there is no log of any customer in app.db" in result.stderr
        assert (here / "app.db").read_bytes() == before

    def test_what_is_no_database(self, here: Path, catalog: Path) -> None:
        (here / "notes.txt").write_text("hello, this is certainly not a database file" * 30)
        result = run("check", "acme", "exports", "--storage", "sqlite:///notes.txt")
        assert result.exit_code == 3
        assert "notes.txt is not an SQLite database" in result.stderr

    def test_a_storage_that_goes_away_is_no_denial(self, database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def away(*_: object, **__: object) -> None:
            raise StorageUnavailable("the disk is gone")

        monkeypatch.setattr(Desk, "case", away)
        result = run("check", "acme", "seats")
        assert result.exit_code == 3
        assert result.stdout.startswith("denied (storage_unavailable): the storage is unavailable")

    def test_no_database_at_all(self, here: Path, catalog: Path) -> None:
        assert run("check", "anyone", "seats", "--storage", "memory:").exit_code == 0
        assert [path.name for path in here.iterdir()] == ["catalog.yaml"]


class TestExplain:
    def test_one_feature(self, database: Path) -> None:
        result = run("explain", "acme", "seats")
        assert result.exit_code == 0
        assert result.stdout.splitlines() == [
            "seats for acme",
            "  allowed: seats is granted by plan pro: 3 of 20 used",
            "  3 of 20 used",
            "  sources:",
            "    + plan:pro     20  won: the most generous",
            "    - parent:free  2   lower: plan:pro grants more",
        ]

    def test_every_feature_in_a_line(self, database: Path) -> None:
        result = run("explain", "anyone")
        lines = result.stdout.splitlines()
        assert result.exit_code == 0
        assert lines[0] == "anyone: 7 of 8 features allowed"
        assert lines[1].split() == ["denied", "exports", "not", "in", "plan", "plan", "pro", "would", "allow", "it"]
        assert re.fullmatch(r"  allowed  seats    0 of 2 used +plan free", lines[2])
        assert re.fullmatch(r"  allowed  calls    0\.00 of 1,000\.00 used, resets 20.* UTC  plan free", lines[3])
        assert lines[-1] == "Why, for one of them: entitlements explain anyone FEATURE"

    def test_the_json_is_the_explanation(self, catalog: Path, database: Path) -> None:
        with Entitlements(catalog) as ent:
            expected = ent.explain("acme", "seats").to_dict()
        assert answer("explain", "acme", "seats") == expected
        everything = answer("explain", "acme")
        assert everything["features"]["seats"] == expected
        assert list(everything["features"]) == list(Catalog.load(catalog).features)

    def test_a_denial_exits_as_check_does(self, database: Path) -> None:
        assert run("explain", "anyone", "exports").exit_code == 1
        result = run("explain", "acme", "exprots")
        assert result.exit_code == 1
        assert "did you mean 'exports'?" in result.stdout

    def test_what_was_known_then(self, catalog: Path, database: Path) -> None:
        assert "2 of 2 used" not in run("explain", "acme", "seats", "--as-of", "1").stdout
        assert answer("explain", "acme", "seats", "--as-of", "0")["decision"]["source"] == "plan:free"
        with Entitlements(catalog) as ent:
            used = ent.entries("acme")[-1].seq
        assert answer("explain", "acme", "seats", "--as-of", str(used - 1))["decision"]["used"] == 0
        assert answer("explain", "acme", "seats", "--as-of", str(used))["decision"]["used"] == 3
        assert run("explain", "acme", "seats", "--as-of", "-1").exit_code == 2

    def test_a_page_on_its_own(self, here: Path, database: Path) -> None:
        told = answer("explain", "<b>&", "--html", "why.html")
        page = (here / "why.html").read_text(encoding="utf-8")
        assert told["html"] == "why.html"
        assert page.startswith("<!doctype html>")
        assert page.count("<section>") == 8
        assert "&lt;b&gt;&amp;" in page
        assert not re.search(r"<b>|<script|https?:|src=|href=", page)
        assert run("explain", "acme", "seats", "--html", "one.html").stdout.endswith("Written to one.html\n")

    def test_a_page_that_cannot_be_written(self, database: Path) -> None:
        result = run("explain", "acme", "--html", "no/where.html")
        assert result.exit_code == 2
        assert "no/where.html cannot be written" in result.stderr.replace("\\", "/")


class TestCatalog:
    def test_a_good_one(self, catalog: Path) -> None:
        result = run("catalog", "validate", "catalog.yaml")
        version = Catalog.load(catalog).version
        assert result.exit_code == 0
        assert result.stdout == (
            f"catalog.yaml is fine: 2 plans, 8 features, 1 credit, 1 add-on, 2 promotions, 1 rate. Version {version}.\n"
        )
        assert answer("catalog", "validate") == {
            "valid": True,
            "file": "catalog.yaml",
            "version": version,
            "notes": [],
            "problems": [],
        }

    def test_a_broken_one_shows_every_problem_with_its_place(self, here: Path) -> None:
        (here / "catalog.yaml").write_text(BROKEN, encoding="utf-8")
        result = run("catalog", "validate")
        assert (result.exit_code, result.stderr) == (1, "")
        lines = result.stdout.splitlines()
        assert lines[0] == "4 problems in catalog.yaml"
        assert [re.match(r"  catalog\.yaml:(\d+):\d+ ", line)[1] for line in lines[1:]] == ["3", "6", "7", "7"]  # type: ignore[index]
        for words in ("did you mean 'boolean'", "did you mean 'seats'", "did you mean 'free'", '"1.5" in quotes'):
            assert words in result.stdout

    def test_a_broken_one_as_json(self, here: Path) -> None:
        (here / "catalog.yaml").write_text(BROKEN, encoding="utf-8")
        told = answer("catalog", "validate")
        assert told["valid"] is False
        assert [(problem["line"], problem["path"]) for problem in told["problems"]] == [
            (3, "features.exports.type"),
            (6, "plans.free.entitlements.seets"),
            (7, "plans.pro.extends"),
            (7, "plans.pro.entitlements.seats"),
        ]
        assert {problem["file"] for problem in told["problems"]} == {"catalog.yaml"}

    def test_a_broken_one_answers_nothing_else(self, here: Path) -> None:
        (here / "catalog.yaml").write_text(BROKEN, encoding="utf-8")
        for words, code in ((["check", "acme", "seats"], 2), (["explain", "acme"], 2), (["catalog", "show"], 1)):
            result = run(*words)
            assert (result.exit_code, result.stdout) == (code, "")
            assert result.stderr.startswith("Error: 4 problems in catalog.yaml\n  catalog.yaml:3:")
            told = answer(*words)["error"]
            assert (told["kind"], told["exit"], len(told["problems"])) == ("catalog", code, 4)

    @pytest.mark.parametrize("command", ["validate", "show", "import"])
    def test_none_there(self, command: str) -> None:
        result = run("catalog", command, "nope.yaml")
        assert result.exit_code == 2
        assert "nope.yaml" in result.stderr

    def test_the_grid(self, catalog: Path) -> None:
        result = run("catalog", "show")
        assert result.exit_code == 0
        assert result.stdout == GRID

    def test_one_plan(self, catalog: Path) -> None:
        result = run("catalog", "show", "--plan", "pro")
        assert result.exit_code == 0
        assert result.stdout == ONE_PLAN
        told = answer("catalog", "show", "--plan", "pro")
        assert told["plans"].keys() == {"pro"}
        assert told["plans"]["pro"]["seats"] == {"says": "20", "source": "plan:pro"}

    def test_the_grid_as_json_carries_the_catalog(self, catalog: Path) -> None:
        told = answer("catalog", "show")
        assert Catalog.load(told["catalog"]) == Catalog.load(catalog)
        assert told["plans"]["pro"]["region"] == {"says": "eu", "source": "parent:free"}

    def test_an_unknown_plan(self, catalog: Path) -> None:
        result = run("catalog", "show", "--plan", "por")
        assert result.exit_code == 2
        assert "unknown plan 'por'; did you mean 'pro'?\n" in result.stderr
        assert "unknown plan 'gold'; there are 'free', 'pro'" in run("catalog", "show", "--plan", "gold").stderr

    def test_text_of_a_catalog_cannot_steer_a_terminal(self, catalog: Path) -> None:
        catalog.write_text(CATALOG.replace("region: eu", r'region: "eu\e[31m\u202e"'), encoding="utf-8")
        result = run("catalog", "show")
        assert r"eu\x1b[31m\u202e" in result.stdout
        assert ESCAPE not in result.stdout
        assert ESCAPE not in run("explain", "acme", "--storage", "memory:", color=False).stdout


class TestDiff:
    def test_what_customers_gain_and_lose(self, catalog: Path) -> None:
        text = CATALOG.replace("seats: 20", "seats: 15").replace("default_plan: free", "default_plan: pro")
        (catalog.parent / "next.yaml").write_text(text, encoding="utf-8")
        result = run("catalog", "diff", "catalog.yaml", "next.yaml")
        assert (result.exit_code, result.stdout.splitlines()) == (
            0,
            [
                "From catalog.yaml to next.yaml: 2 differences",
                "  catalog changes default_plan: free -> pro",
                "  plan:pro loses seats: 20 -> 15",
            ],
        )

    def test_the_json_is_the_difference(self, catalog: Path) -> None:
        (catalog.parent / "old.yaml").write_text(CATALOG.replace("seats: 20", "seats: 15"), encoding="utf-8")
        told = answer("catalog", "diff", "old.yaml")
        old, new = Catalog.load("old.yaml"), Catalog.load(catalog)
        assert told["differences"] == [attrs.asdict(one) for one in old.diff(new)]
        assert told["old"] == {"file": "old.yaml", "version": old.version}
        assert told["new"] == {"file": "catalog.yaml", "version": new.version}

    def test_the_same_one(self, catalog: Path) -> None:
        assert run("catalog", "diff", "catalog.yaml").stdout == "From catalog.yaml to catalog.yaml: 0 differences\n"

    def test_a_broken_one_and_none(self, catalog: Path) -> None:
        (catalog.parent / "broken.yaml").write_text(BROKEN, encoding="utf-8")
        assert run("catalog", "diff", "catalog.yaml", "broken.yaml").exit_code == 1
        assert answer("catalog", "diff", "broken.yaml")["error"]["problems"][0]["line"] == 3
        assert run("catalog", "diff", "nope.yaml").exit_code == 2


class TestImport:
    def test_to_stdout_with_the_notes_apart(self, here: Path) -> None:
        (here / "notes.yml").write_text(PRICING, encoding="utf-8")
        result = run("catalog", "import", "notes.yml")
        assert result.exit_code == 0
        (here / "mine.yaml").write_text(result.stdout, encoding="utf-8")
        assert Catalog.load(here / "mine.yaml").plans["BASIC"].entitlements["sync"].value is True
        assert result.stderr.startswith("note: ")
        assert "starts" in result.stderr

    def test_to_a_file_which_is_not_overwritten(self, here: Path) -> None:
        (here / "notes.yml").write_text(PRICING, encoding="utf-8")
        result = run("catalog", "import", "notes.yml", "-o", "mine.yaml")
        assert result.stdout == "Wrote mine.yaml: 1 plan, 2 features.\n"
        assert run("catalog", "validate", "mine.yaml").exit_code == 0
        again = run("catalog", "import", "notes.yml", "-o", "mine.yaml")
        assert again.exit_code == 2
        assert "--force" in again.stderr
        assert run("catalog", "import", "notes.yml", "-o", "mine.yaml", "--force").exit_code == 0

    def test_as_json(self, here: Path) -> None:
        (here / "notes.yml").write_text(PRICING, encoding="utf-8")
        told = answer("catalog", "import", "notes.yml")
        assert Catalog.load(told["catalog"]).version == told["version"]
        assert any("starts" in note for note in told["notes"])

    def test_what_is_none(self, catalog: Path) -> None:
        result = run("catalog", "import", "catalog.yaml")
        assert (result.exit_code, result.stdout) == (1, "")
        assert "catalog.yaml:1:1 needs the key 'saasName'" in result.stderr
        assert answer("catalog", "import", "catalog.yaml")["error"]["problems"][0]["line"] == 1


class TestProgram:
    def test_exit_codes_of_the_real_program(self, database: Path) -> None:
        lines = {
            "entitlements check acme exports": 0,
            "python -m entitlements check acme seats --requested 99": 1,
            "entitlements check acme seats --at 2026-12-01": 2,
            "entitlements check acme seats --storage sqlite:///nope.db": 3,
        }
        assert {line: shell(line).returncode for line in lines} == lines

    def test_piped_output_is_plain_ascii(self, database: Path) -> None:
        for line in ("entitlements explain acme", "entitlements check --help"):
            text = shell(line).stdout
            assert text.isascii()
            assert ESCAPE not in text

    def test_a_terminal_of_few_letters_gets_the_others_spelled_out(self, database: Path) -> None:
        done = shell("entitlements explain жук", PYTHONIOENCODING="latin-1")
        assert done.returncode == 0
        assert done.stdout.startswith(r"\u0436\u0443\u043a: ")

    @pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
    def test_colour_is_for_terminals_and_never_alone(self, database: Path) -> None:
        asked = ["check", "acme", "seats", "--requested", "99"]
        coloured = in_a_terminal(*asked)
        assert f"{ESCAPE}[31m" in coloured
        assert "denied" in coloured
        assert ESCAPE not in in_a_terminal(*asked, NO_COLOR="1")

    @pytest.mark.skipif(sys.platform == "win32", reason="needs a shell with pipes")
    def test_a_reader_who_leaves_early_is_no_failure(self, catalog: Path) -> None:
        many = "\n".join(f"  feature_{n}: {{type: boolean}}" for n in range(5000))
        catalog.write_text(f"version: 1\nfeatures:\n{many}\n", encoding="utf-8")
        done = shell("bash -c 'set -o pipefail; entitlements catalog show | head -1'")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "catalog.yaml: 5,000 features\n"
        done = shell("bash -c 'set -o pipefail; entitlements demo | head -1'")
        assert (done.returncode, done.stderr) == (0, "")

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
    @pytest.mark.parametrize(("line", "said"), [("show", "answer could not be written"), ("show --help", "No space")])
    def test_an_answer_that_cannot_be_written_is_no_denial(self, catalog: Path, line: str, said: str) -> None:
        done = shell(f"bash -c 'entitlements catalog {line} > /dev/full'")
        assert done.returncode == 2
        assert done.stderr.startswith("Error: ")
        assert said in done.stderr

    @pytest.mark.skipif(sys.platform == "win32", reason="needs a shell that closes streams")
    def test_a_closed_stdout_is_no_failure(self, catalog: Path) -> None:
        done = shell("bash -c 'entitlements catalog show --json >&-'")
        assert (done.returncode, done.stderr) == (0, "")


def in_a_terminal(*words: str, **extra: str) -> str:
    import pty

    leader, follower = pty.openpty()
    settings = {**environment(), "TERM": "xterm", **extra}
    command = [sys.executable, "-m", "entitlements", *words]
    with subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, env=settings) as program:
        os.close(follower)
        seen = b""
        try:
            while chunk := os.read(leader, 4096):
                seen += chunk
        except OSError:  # Linux says so when the other side has gone
            pass
        program.wait(60)
    os.close(leader)
    return seen.decode()


class TestExamples:
    def test_the_quickstart_runs_and_prints_its_answers(self) -> None:
        done = subprocess.run(
            [sys.executable, str(ROOT / "examples" / "quickstart.py")],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "2. allowed: exports is granted by plan pro" in done.stdout
        assert "limit_reached 2 ('add-on:extra_seats',)" in done.stdout
        assert "7. allowed: seats is granted by plan pro: 21 of 25 used" in done.stdout

    @pytest.mark.parametrize(
        "path", ["examples/catalog.yaml", "entitlements/cli/demo_catalog.yaml", "entitlements/cli/first_catalog.yaml"]
    )
    def test_the_catalogs_we_show_are_fine_and_commented(self, path: str) -> None:
        assert run("catalog", "validate", str(ROOT / path)).exit_code == 0
        assert (ROOT / path).read_text(encoding="utf-8").count("#") >= 4

    def test_the_example_catalog_is_the_one_the_tests_use(self) -> None:
        assert Catalog.load(ROOT / "examples" / "catalog.yaml") == Catalog.load(ROOT / "tests" / "catalog.yaml")


GRID = """\
catalog.yaml: 2 plans, 8 features, 1 credit, 1 add-on, 2 promotions, 1 rate

  FEATURE                 free (default)      pro
  price                   -                   20
  trial                   -                   14 days
  exports  boolean        -                   yes
  seats    metered, seat  2                   20
  calls    metered        1,000.00 per month  1,000.00 per month
  history  config, day    7                   90
  ratio    config         0.5                 0.5
  models   config         small               large, small
  region   config         eu                  eu
  beta     config         no                  yes
  ai       credit         -                   500.00 per month, rolls over

Add-ons
  extra_seats  seats +5  with pro  price 5

Promotions
  launch  calls unlimited  for 14 days
  open    exports yes      until it is ended

Credits
  ai  2 decimal places, soft to 5.00  USD

Rates
  calls  1.5 ai per 10; 4 where model is large
"""

ONE_PLAN = """\
plan pro
  product default
  extends free
  price 20
  trial 14 days

  FEATURE                 GIVES                         FROM
  exports  boolean        yes                           plan pro
  seats    metered, seat  20                            plan pro
  calls    metered        1,000.00 per month            parent free
  history  config, day    90                            plan pro
  ratio    config         0.5                           parent free
  models   config         large, small                  plan pro
  region   config         eu                            parent free
  beta     config         yes                           plan pro
  ai       credit         500.00 per month, rolls over

Add-ons
  extra_seats  seats +5  with pro  price 5
"""
