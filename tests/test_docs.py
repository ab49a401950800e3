"""The documentation, executed.

Every fenced block of README.md and docs/ is one of these; any other fails the test:

    python           run; the blocks of a page share one namespace and one empty working directory
    yaml toml json   written to the file that the block names, in its first line (`# catalog.yaml`) or in the
                     line above it (`<!-- catalog.json -->`); without a name it is loaded as a catalog
    sh               each line a command, run in that directory: it must exit 0, or as it says itself
                     (`# exit 1`); `make` and `pip` lines are checked against the Makefile and pyproject.toml
    ini              shown, not run; it names something that the package reads
    text             exactly what the block before it printed; a block that prints needs one

A python block under the name of a file (`<!-- test_shop.py -->`) is not run: it stands in that file of
examples/, word for word, and is run there.

`python tests/test_docs.py` writes what the blocks print now into the pages. Read the diff it makes.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import itertools
import os
import re
import shlex
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any, get_args

import attrs
import pytest

import entitlements
import entitlements.aio.gating
from entitlements import (
    Allowance,
    Balance,
    Catalog,
    Decision,
    Entitlements,
    Explanation,
    Hold,
    Receipt,
    Revenue,
    Snapshot,
    Statement,
    aio,
    decisions,
    errors,
    gating,
)
from entitlements.alerting import Alert
from entitlements.caps import Cap
from entitlements.catalog import written
from entitlements.contest import Candidate
from entitlements.credit_verbs import CreditVerbs
from entitlements.ledger import facts
from entitlements.ledger.budgets import Budget
from entitlements.ledger.burn import KEYS, POLICIES
from entitlements.reports.flows import CreditFlow, DeferredFlow
from entitlements.reports.revenue import RevenueRow, RevenueTotal
from entitlements.reports.statement import Flows, Standing, StatementLine
from entitlements.storage.base import FeedPage, Storage
from entitlements.usage import TokenUsage
from entitlements.usage_tree import BudgetUsage, ScopeUsage, UsageTree
from entitlements.usage_verbs import UsageVerbs

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
CATALOGS = {"yaml", "toml", "json"}
FENCE = re.compile(
    r"(?:^<!-- (?P<above>[\w.-]+) -->\n)?^```(?P<language>[^\n]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
NAMED = re.compile(r"# (?P<name>[\w-]+\.(?:yaml|yml|toml))\n")
EXIT = re.compile(r"\s+# exit (?P<status>\d)$")
RUN = {"entitlements", "python", "cat"}
HOSTS = {"keepachangelog.com", "semver.org"}

by_name = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@attrs.frozen
class Block:
    """One fenced block: `line` is the first line of its text, `span` where its text stands in the page."""

    language: str
    text: str
    name: str | None
    line: int
    span: tuple[int, int]


def blocks_of(page: Path) -> list[Block]:
    source = page.read_text(encoding="utf-8")
    blocks = []
    for fence in FENCE.finditer(source):
        text, language = fence["text"], fence["language"]
        named = NAMED.match(text) if language in CATALOGS else None
        line = source.count("\n", 0, fence.start("text")) + 1
        name = fence["above"] or (named["name"] if named else None)
        blocks.append(Block(language, text, name, line, fence.span("text")))
    return blocks


class Reader:
    """Somebody who types a page in from top to bottom, in an empty directory."""

    def __init__(self, page: Path, directory: Path) -> None:
        self.page, self.directory = page, directory
        self.names: dict[str, Any] = {"__name__": page.stem}

    def follow(self, block: Block) -> str:
        """Do what a block says, and return what it printed."""
        if block.language == "python" and block.name is not None:
            sources = [path.read_text(encoding="utf-8") for path in (ROOT / "examples").rglob(block.name)]
            assert any(f"\n{block.text}" in source for source in sources), f"{self._place(block)}: not in {block.name}"
            return ""
        if block.language == "python":
            return self._python(block)
        if block.language == "ini":
            assert "entitlements_catalog" in block.text, f"{self._place(block)}: the package reads nothing of this"
            return ""
        if block.language == "sh":
            return "".join(self._command(line, block) for line in block.text.splitlines())
        if block.language in CATALOGS:
            path = self.directory / (block.name or f"unnamed.{block.language}")
            path.write_text(block.text, encoding="utf-8")
            if block.name is None:
                Catalog.load(path)
            return ""
        raise AssertionError(f"{self._place(block)}: no block may be in {block.language!r}")

    def close(self) -> None:
        for value in self.names.values():
            if isinstance(value, Entitlements):
                value.close()
        gating._Default.engine = gating._Default.opened = None
        aio.gating._Default.engine = aio.gating._Default.opened = None

    def _place(self, block: Block) -> str:
        return f"{self.page.relative_to(ROOT)}:{block.line}"

    def _python(self, block: Block) -> str:
        printed = io.StringIO()
        code = compile("\n" * (block.line - 1) + block.text, str(self.page), "exec")
        with contextlib.redirect_stdout(printed):
            exec(code, self.names)
        return printed.getvalue()

    def _command(self, line: str, block: Block) -> str:
        verb, *rest = shlex.split(line, comments=True)
        if verb == "make":
            makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
            assert rest, f"{self._place(block)}: make what?"
            assert all(re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE) for target in rest), line
            return ""
        if verb == "pip":
            installable(rest)
            return ""
        assert verb in RUN, f"{self._place(block)}: no rule says what becomes of {line!r}"
        said = EXIT.search(line)
        environment = {
            **{name: value for name, value in os.environ.items() if name != "FORCE_COLOR"},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "COLUMNS": "120",
            "NO_COLOR": "1",
        }
        done = subprocess.run(
            ["bash", "-c", EXIT.sub("", line)],
            cwd=self.directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == (int(said["status"]) if said else 0), f"{self._place(block)}: {line}\n{done.stdout}"
        return done.stdout


def installable(arguments: list[str]) -> None:
    """Fail unless this is `install .`, perhaps with extras that pyproject.toml has."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = re.fullmatch(r"install \.(?:\[(?P<extras>[\w,]+)\])?", " ".join(arguments))
    assert wanted, f"pip {' '.join(arguments)}"
    assert set((wanted["extras"] or "").split(",")) - {""} <= project["optional-dependencies"].keys()


def followed(page: Path, directory: Path) -> Iterator[tuple[Block, str, Block | None]]:
    """Yield each block that does something, what it printed, and the block that shows it."""
    blocks = blocks_of(page)
    reader = Reader(page, directory)
    try:
        for block, after in itertools.zip_longest(blocks, blocks[1:]):
            if block.language == "text":
                continue
            shown = after if after is not None and after.language == "text" else None
            yield block, reader.follow(block), shown
    finally:
        reader.close()


@by_name
def test_every_block_does_what_its_page_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.chdir(tmp_path)
    if "DATABASE_URL" in page.read_text(encoding="utf-8"):
        monkeypatch.setenv("DATABASE_URL", request.getfixturevalue("emptied")())
    for block, printed, shown in followed(page, tmp_path):
        place = f"{page.relative_to(ROOT)}:{block.line}"
        expected = shown.text if shown is not None else ""
        assert printed == expected, f"{place} printed otherwise than the page shows"
        assert shown is None or printed, f"{place} printed nothing, yet the page shows something"


@by_name
def test_what_is_shown_was_printed_by_a_block_before_it(page: Path) -> None:
    languages = ["", *(block.language for block in blocks_of(page))]
    for before, language in itertools.pairwise(languages):
        assert language != "text" or before in {"python", "sh"}, f"{page}: nothing printed this"
    assert page.read_text(encoding="utf-8").count("```") == 2 * len(languages[1:]), f"{page}: a fence is not closed"
    assert not re.search(r"^(?:~~~|\t| {4})", prose_of(page), re.MULTILINE), f"{page}: a block without a language"


# Links and words


def prose_of(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors_of(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links_of(page: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", prose_of(page))


@by_name
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links_of(page):
        if "://" in link:
            assert link.split("/")[2] in HOSTS, f"{page.name}: {link}"
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT), f"{page.name}: {link} leads out of the project"
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors_of(target), f"{page.name}: {link} names no heading"


def test_every_page_is_reached_from_the_index() -> None:
    reached, waiting = set(), [DOCS / "index.md"]
    while waiting:
        page = waiting.pop()
        if page not in reached and page.suffix == ".md" and page.is_relative_to(DOCS):
            reached.add(page)
            local = [link.partition("#")[0] for link in links_of(page) if "://" not in link]
            waiting += [(page.parent / link).resolve() for link in local if link]
    assert set(PAGES[1:]) <= reached


@by_name
def test_the_words_are_those_of_the_design(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"\bwallets?\b|\bquotas?\b|/work/|/tmp/|/home/", text, re.IGNORECASE)


# The reference is complete


def signature(function: FunctionType, *, bound: bool = True) -> str:
    """Return a signature without annotations, its result apart: `check(customer, feature) -> Decision`."""
    found = inspect.signature(function)
    parameters = [each.replace(annotation=each.empty) for each in found.parameters.values()][bound:]
    shown = found.replace(parameters=parameters, return_annotation=inspect.Signature.empty)
    gives = found.return_annotation
    result = "" if gives in (inspect.Signature.empty, None, "None") else f" -> {gives}"
    return f"{function.__name__}{shown}{result}"


def headings_of(page: Path) -> set[str]:
    return set(re.findall(r"^#+ `(.+)`$", prose_of(page), re.MULTILINE))


VERBS = [value for name, value in inspect.getmembers(Entitlements, inspect.isfunction) if name[0] != "_"]
FUNCTIONS = [value for value in map(entitlements.__getattr__, entitlements.__all__) if inspect.isfunction(value)]


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
def test_every_verb_is_documented_as_it_is(verb: FunctionType) -> None:
    homes = {"credits.md": CreditVerbs, "usage.md": UsageVerbs}
    home = next((page for page, verbs in homes.items() if verb.__name__ in vars(verbs)), "engine.md")
    assert signature(verb) in headings_of(REFERENCE / home)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_every_module_function_is_documented_as_it_is(function: FunctionType) -> None:
    home = "periods.md" if function.__module__ == "entitlements.periods" else "engine.md"
    shown, _, _ = signature(inspect.unwrap(function), bound=False).partition(" -> ")
    assert shown in {heading.partition(" -> ")[0] for heading in headings_of(REFERENCE / home)}


def test_the_constructor_is_documented_as_it_is() -> None:
    shown = signature(Entitlements.__init__).replace("__init__", "Entitlements")  # type: ignore[arg-type]
    assert shown in headings_of(REFERENCE / "engine.md")
    assert shown.replace("Entitlements", "AsyncEntitlements") in headings_of(REFERENCE / "engine.md")


def section(page: Path, heading: str) -> str:
    """Return the text under a heading, up to the next one."""
    _, found, rest = prose_of(page).partition(f"# {heading}\n")
    assert found, f"{page.name} has no heading {heading}"
    return re.split(r"^#", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> set[str]:
    return set(re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE))


@pytest.mark.parametrize(
    ("heading", "kind"),
    [
        ("features", written.WrittenFeature),
        ("reset", written.Period),
        ("credits", written.WrittenCredit),
        ("products", written.WrittenProduct),
        ("plans", written.WrittenPlan),
        ("plans.*.credits", written.WrittenPlanCredit),
        ("plans.*.credits.*.rollover", written.WrittenRollover),
        ("entitlements", written.WrittenEntitlement),
        ("addons", written.WrittenAddOn),
        ("promotions", written.WrittenPromotion),
        ("rates", written.WrittenRate),
    ],
)
def test_every_key_of_a_catalog_file_is_documented(heading: str, kind: type[Any]) -> None:
    names = {field.name for field in attrs.fields(kind)}
    assert names == rows(section(REFERENCE / "catalog-file.md", f"`{heading}`"))


def test_every_section_of_a_catalog_file_is_documented() -> None:
    names = {field.name for field in attrs.fields(written.WrittenCatalog)}
    assert names == rows(section(REFERENCE / "catalog-file.md", "The whole file"))


def public(kind: type[Any]) -> set[str]:
    fields = {field.name for field in attrs.fields(kind)}
    members = {name for name, value in vars(kind).items() if isinstance(value, property | FunctionType)}
    cached = {name for name, value in vars(kind).items() if type(value).__name__ == "cached_property"}
    return {name for name in fields | members | cached if not name.startswith("_")}


ANSWERS = [Decision, Allowance, Receipt, Explanation, Candidate, Snapshot]
FLOWS = [CreditFlow, DeferredFlow]
CREDIT_ANSWERS = [Balance, Statement, Standing, StatementLine, Flows, Revenue, RevenueRow, RevenueTotal, *FLOWS]


def shown_in(page: str, kind: type[Any]) -> set[str]:
    return {name.partition("(")[0] for name in rows(section(REFERENCE / page, f"`{kind.__name__}`"))}


@pytest.mark.parametrize("kind", ANSWERS, ids=lambda kind: kind.__name__)
def test_every_field_of_an_answer_is_documented(kind: type[Any]) -> None:
    assert shown_in("decision.md", kind) == public(kind)


@pytest.mark.parametrize("kind", CREDIT_ANSWERS, ids=lambda kind: kind.__name__)
def test_every_field_of_what_credit_verbs_return_is_documented(kind: type[Any]) -> None:
    assert shown_in("credits.md", kind) == public(kind)


@pytest.mark.parametrize("kind", [Alert, Cap], ids=lambda kind: kind.__name__)
def test_every_field_of_what_usage_tells_is_documented(kind: type[Any]) -> None:
    assert shown_in("usage.md", kind) == public(kind)


def test_every_field_of_a_token_usage_is_documented() -> None:
    assert shown_in("usage.md", TokenUsage) == public(TokenUsage) | {"of"}


def test_every_field_of_a_block_is_documented() -> None:
    fields = {field.name for field in attrs.fields(entitlements.Block)}
    read = {name for name, value in vars(entitlements.Block).items() if isinstance(value, property)}
    assert shown_in("credits.md", entitlements.Block) == fields | read


def test_everything_a_hold_has_is_documented() -> None:
    with Entitlements({"credits": {"ai": {}}}, storage="memory:") as ent:
        held = vars(ent.reserve_credits("acme", "ai", 1, key="job"))
    methods = {name for name, _ in inspect.getmembers(Hold, inspect.isfunction)}
    assert shown_in("credits.md", Hold) == {name for name in held.keys() | methods if name[0] != "_"}


def test_every_method_of_a_storage_is_documented() -> None:
    table = rows(section(REFERENCE / "storage.md", "A storage of your own"))
    told = {call.partition("(")[0] for call in table}
    assert told - {"heard"} == {name for name in vars(Storage) if name[0] != "_"}, "`heard` may be left out"


def test_the_burn_order_is_documented_as_it_is() -> None:
    page = DOCS / "explanation" / "credits.md"
    order, policies = re.split(r"^A catalog may choose.*$", section(page, "Burn order"), flags=re.MULTILINE)
    keys = re.findall(r"^\| `(\w+)` \|", order, re.MULTILINE)
    assert tuple(keys) == POLICIES["default"]
    assert set(re.findall(r"`(\w+)`", policies)) >= KEYS.keys()
    named = dict(re.findall(r"^\| `(\w+)` \| (`.+) \|$", policies, re.MULTILINE))
    assert {name: tuple(re.findall(r"`(\w+)`", own)) for name, own in named.items()} == POLICIES


def test_every_code_and_outcome_is_documented() -> None:
    page = REFERENCE / "decision.md"
    assert rows(section(page, "Codes")) == set(get_args(decisions.Code))
    assert rows(section(page, "Outcomes")) == set(get_args(decisions.Outcome))


def test_it_is_said_of_every_denial_what_to_do() -> None:
    text = section(DOCS / "explanation" / "reading-a-decision.md", "The code says what to do")
    cells = re.findall(r"^\| (`[^|]+`) \|", text, re.MULTILINE)
    told = [code for cell in cells for code in re.findall(r"`(\w+)`", cell)]
    assert sorted(told) == sorted(set(get_args(decisions.Code)) - {"ok"})


RETURNED = [
    facts.Subscription, facts.Trial, facts.HeldAddOn, facts.PromotionRun, facts.Override, entitlements.Entry, Budget,
    UsageTree, ScopeUsage, BudgetUsage, FeedPage,
]  # fmt: skip


@pytest.mark.parametrize("kind", RETURNED, ids=lambda kind: kind.__name__)
def test_every_field_of_what_verbs_return_is_documented(kind: type[Any]) -> None:
    text = section(REFERENCE / "engine.md", "What verbs return")
    told = re.search(rf"^\| `{kind.__name__}` \| (.+) \|$", text, re.MULTILINE)
    assert told is not None
    assert set(re.findall(r"`(\w+)`", told[1])) >= {field.name for field in attrs.fields(kind)}


def test_every_error_is_documented() -> None:
    kinds = {name: value for name, value in vars(errors).items() if inspect.isclass(value) and name[0] != "_"}
    raised = {name for name, kind in kinds.items() if issubclass(kind, Exception)}
    assert rows(section(REFERENCE / "errors.md", "All of them")) == raised


def rewrite(page: Path) -> None:
    """Put what the blocks of a page print now where the page shows what they print."""
    source = page.read_text(encoding="utf-8")
    moved = 0
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        for block, printed, shown in list(followed(page, Path(name))):
            if shown is not None:
                start, end = (at + moved for at in shown.span)
                source = source[:start] + printed + source[end:]
                moved += len(printed) - len(shown.text)
            elif printed:
                print(f"{page.relative_to(ROOT)}:{block.line} prints, and nothing shows it:\n{printed}")
        os.chdir(ROOT)
    page.write_text(source, encoding="utf-8")


if __name__ == "__main__":
    for each in PAGES:
        rewrite(each)
