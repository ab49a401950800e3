"""The credit commands: what they print, what they exit with, and what they say when they cannot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner, Result

from entitlements import Entitlements
from entitlements.cli import main
from entitlements.ledger.encoding import show_entry
from entitlements.testing import FrozenClock

CATALOG = """\
features:
  chat: {type: metered, reset: month, scale: 1}
credits:
  ai: {scale: 2, currency: USD}
  img: {}
plans:
  pro: {entitlements: {chat: 100}}
"""
NOON = datetime(2025, 1, 10, 12, tzinfo=UTC)
MONTH = ("--start", "2025-01-01T00:00Z", "--end", "2025-02-01T00:00Z")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and no settings from outside."""
    monkeypatch.chdir(tmp_path)
    for name in ("ENTITLEMENTS_CATALOG", "ENTITLEMENTS_STORAGE", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def ent(here: Path) -> Iterator[Entitlements]:
    """An engine on the database that the commands look into."""
    path = here / "catalog.yaml"
    path.write_text(CATALOG, encoding="utf-8")
    with Entitlements(path, clock=FrozenClock(NOON)) as engine:
        ends = datetime(2025, 3, 11, tzinfo=UTC)
        engine.grant_credits("acme", "ai", 300, key="pack", cost_basis="10.00", expires_at=ends)
        engine.grant_credits("acme", "ai", 50, key="for-chat", features=["chat"], scope="team:x")
        engine.consume_credits("acme", "ai", 100, key="use")
        engine.reserve_credits("acme", "ai", "2.50", key="job", ttl=timedelta(days=2))
        yield engine


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words), catch_exceptions=False)


def printed(*words: str, code: int = 0) -> list[str]:
    result = run(*words)
    assert result.exit_code == code, result.output
    return result.stdout.splitlines()


def answer(*words: str, code: int = 0) -> Any:
    """Return the one JSON document that a command prints; nothing else may be printed."""
    result = run(*words, "--json")
    assert (result.exit_code, result.stderr) == (code, "")
    return json.loads(result.stdout)


class TestBalance:
    def test_it_shows_the_blocks_in_the_order_they_burn(self, ent: Entitlements) -> None:
        assert printed("balance", "acme", "ai", "--at", "2025-01-11T00:00Z") == [
            "197.50 ai left (2.50 held) in 2 blocks, next expiry 2025-03-11 00:00 UTC",
            "  BLOCK       LEFT  HELD      OF  CATEGORY  EXPIRES               ONLY FOR",
            "  for-chat   50.00  0.00   50.00  paid      never                 chat in team:x",
            "  pack      197.50  2.50  300.00  paid      2025-03-11 00:00 UTC",
        ]

    def test_as_json_it_is_the_balance(self, ent: Entitlements) -> None:
        at = ("--at", "2025-01-11T00:00Z")
        assert answer("balance", "acme", "ai", *at) == ent.balance("acme", "ai").to_dict()
        assert answer("balance", "acme", "ai", "--as-of", "1", *at)["available"] == "300.00"

    def test_a_feature_counts_the_blocks_that_are_for_it(self, ent: Entitlements) -> None:
        ent.grant_credits("acme", "ai", 7, key="chat-alone", features=["chat"])
        at = ("--at", "2025-01-11T00:00Z")
        assert answer("balance", "acme", "ai", "--feature", "chat", *at)["available"] == "204.50"

    def test_a_customer_without_credits_has_none(self, ent: Entitlements) -> None:
        assert printed("balance", "nobody", "img") == ["0 img left (0 held) in 0 blocks"]

    def test_an_unknown_credit_is_misuse(self, ent: Entitlements) -> None:
        assert answer("balance", "acme", "imgs", code=2)["error"]["message"].endswith("did you mean 'img'?")
        assert run("balance", "$x", "ai").exit_code == 2


class TestLedger:
    def test_it_shows_each_line_with_its_amount(self, ent: Entitlements) -> None:
        ent.subscribe("acme", "pro")
        ent.consume("acme", "chat", "1.5", key="talk")
        lines = printed("ledger", "acme")
        assert lines[:2] == [
            "SEQ  WHEN                  WHAT        OF       AMOUNT  BLOCK     KEY",
            "  1  2025-01-10 12:00 UTC  granted     ai       300.00  pack      pack",
        ]
        assert lines[4] == "  4  2025-01-10 12:00 UTC  reserved    ai                         job"
        assert lines[-1] == "  7  2025-01-10 12:00 UTC  used        chat        1.5            talk"

    def test_a_page_says_how_to_go_on(self, ent: Entitlements) -> None:
        result = run("ledger", "acme", "--after", "1", "--limit", "2")
        assert [line.split()[0] for line in result.stdout.splitlines()] == ["SEQ", "2", "3"]
        assert result.stderr == "more: entitlements ledger acme --after 3\n"
        assert printed("ledger", "acme", "--after", "5") == ["the log of acme has no entries after 5"]
        assert printed("ledger", "nobody") == ["the log of nobody has no entries"]

    def test_as_json_it_is_a_list_of_entries(self, ent: Entitlements) -> None:
        shown = answer("ledger", "acme")
        entries = ent.entries("acme")
        assert [line["seq"] for line in shown] == [1, 2, 3, 4, 5]
        for line, entry in zip(shown, entries, strict=True):
            assert line.items() >= json.loads(json.dumps(show_entry(entry))).items()
        assert (shown[2]["kind"], shown[2]["amount"], shown[2]["block"]) == ("burned", 10000, "pack")
        assert answer("ledger", "nobody") == []

    def test_what_left_the_catalog_is_shown_in_smallest_units(self, ent: Entitlements, here: Path) -> None:
        (here / "catalog.yaml").write_text("features: {}", encoding="utf-8")
        assert "30,000" in printed("ledger", "acme", "--limit", "1")[1]

    @pytest.mark.parametrize("words", [("--after", "-1"), ("--limit", "0"), ("--limit", "many")])
    def test_pages_are_counted(self, ent: Entitlements, words: tuple[str, str]) -> None:
        assert run("ledger", "acme", *words).exit_code == 2


class TestStatement:
    def test_it_prints_the_statement(self, ent: Entitlements) -> None:
        start, end = (datetime(2025, month, 1, tzinfo=UTC) for month in (1, 2))
        found = ent.statement("acme", "ai", start=start, end=end)
        assert printed("statement", "acme", "ai", *MONTH) == str(found).splitlines()
        assert answer("statement", "acme", "ai", *MONTH) == found.to_dict()
        assert run("statement", "acme", "ai", *MONTH, "--csv").stdout == found.to_csv()
        assert found.lines[-1].what == "2.50 given back, hold job"

    def test_a_period_must_be_named_and_must_last(self, ent: Entitlements) -> None:
        assert "Missing option '--end'" in run("statement", "acme", "ai", *MONTH[:2]).stderr
        wrong = answer("statement", "acme", "ai", "--start", MONTH[3], "--end", MONTH[1], code=2)
        assert "--start is 2025-02-01T00:00:00+00:00; it must come before --end" in wrong["error"]["message"]
        local = run("statement", "acme", "ai", "--start", "2025-01-01", "--end", MONTH[3])
        assert (local.exit_code, "has no time zone" in local.stderr) == (2, True)

    def test_only_one_format_can_be_printed(self, ent: Entitlements) -> None:
        for words in (("--csv", "--json"), ("--json", "--csv")):
            result = run("statement", "acme", "ai", *MONTH, *words)
            assert result.exit_code == 2
            assert "choose one" in json.loads(result.stdout)["error"]["message"]


class TestRevenue:
    def test_it_prints_the_report(self, ent: Entitlements) -> None:
        ent.grant_credits("beta", "img", 4, key="pack", cost_basis=1)
        start, end = (datetime(2025, month, 1, tzinfo=UTC) for month in (1, 2))
        found = ent.revenue(start=start, end=end)
        assert printed("revenue", *MONTH) == str(found).splitlines()
        assert answer("revenue", *MONTH) == found.to_dict()
        assert run("revenue", *MONTH, "--csv").stdout == found.to_csv()
        assert len(answer("revenue", *MONTH, "--credit", "img")["rows"]) == 1
        assert answer("revenue", *MONTH, "--credit", "imgs", code=2)["error"]["type"] == "UnknownCredit"


class TestVerify:
    def test_sound_logs(self, ent: Entitlements) -> None:
        assert printed("verify", "acme") == ["the log of acme is sound"]
        assert printed("verify") == ["every log is sound"]
        assert answer("verify") == {"customer": None, "sound": True, "empty": False, "problems": []}
        assert printed("verify", "acme", "--head", ent.head("acme")) == ["the log of acme is sound"]

    def test_problems_are_told_and_the_exit_code_is_1(self, ent: Entitlements) -> None:
        (line, *problems) = printed("verify", "acme", "--head", "0" * 64, code=1)
        assert line == "1 problem"
        assert problems[0].startswith("  acme: the saved head is not in the chain")
        found = answer("verify", "acme", "--head", "0" * 64, code=1)
        assert (found["sound"], found["problems"][0]["customer"]) == (False, "acme")
        assert found["problems"] == [attrs.asdict(problem) for problem in ent.verify("acme", head="0" * 64)]

    def test_a_log_that_is_not_there_is_not_called_sound(self, ent: Entitlements) -> None:
        assert printed("verify", "acm") == ["the log of acm has no entries: there is nothing to prove"]
        assert answer("verify", "acm")["empty"] is True

    def test_a_head_is_of_one_customer(self, ent: Entitlements) -> None:
        assert "name the customer" in answer("verify", "--head", "0" * 64, code=2)["error"]["message"]


class TestSweep:
    def test_it_books_what_fell_due_and_says_how_much(self, ent: Entitlements) -> None:
        ent.grant_credits("beta", "img", 4, key="pack", expires_in=60)
        assert printed("sweep", "beta") == ["1 entry booked"]
        assert answer("sweep", "beta") == {"customer": "beta", "booked": 0}
        assert answer("sweep")["booked"] >= 2
        assert ent.entries("beta")[-1].kind == "expired"

    def test_a_customer_id_is_checked(self, ent: Entitlements) -> None:
        assert run("sweep", "$catalog").exit_code == 2


class TestStorage:
    @pytest.mark.parametrize(
        "words",
        [("balance", "acme", "ai"), ("ledger", "acme"), ("statement", "acme", "ai", *MONTH), ("revenue", *MONTH),
         ("verify",), ("sweep",)],
        ids=lambda words: words[0],
    )  # fmt: skip
    def test_no_database_is_a_storage_error_and_none_is_made(self, here: Path, words: tuple[str, ...]) -> None:
        (here / "catalog.yaml").write_text(CATALOG, encoding="utf-8")
        assert answer(*words, code=3)["error"]["kind"] == "storage"
        assert not (here / "entitlements.db").exists()
        assert run(*words, "--storage", "memory:").exit_code == 0
        assert run(*words, "--catalog", "none.yaml").exit_code == 2
