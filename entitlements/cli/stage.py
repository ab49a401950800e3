"""The stage of the demo: asks an engine, shows question and answer, and keeps both as data."""

from __future__ import annotations

import shutil
import textwrap
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any, Final

import click

from ..caps import scope_text
from ..decisions import Decision, json_number
from ..engine import Entitlements
from ..errors import EntitlementsError
from ..ledger.budgets import Budget
from ..ledger.facts import Fact, HeldAddOn, Override, PromotionRun, Subscription, Trial
from ..reports.explain import Explanation
from ..wording import instant, number
from .crowd import PROCESSES, THREADS, Counts, rush
from .replies import colour, columns, heading, painted

OPENS_AT: Final = datetime(2027, 1, 4, 9, tzinfo=UTC)
PATIENCE: Final = 5.0
_WIDEST: Final = 100
_POLL: Final = 0.05


class DemoClock:
    """A clock that stands still until it is moved."""

    def __init__(self, at: datetime = OPENS_AT) -> None:
        self.at = at

    def __call__(self) -> datetime:
        """Return the instant it shows."""
        return self.at


class Stage:
    """Where chapters play; `chapters` is everything that was said, as JSON values."""

    def __init__(
        self, engine: Entitlements, clock: DemoClock, catalog: Path, database: Path, *, quiet: bool = False
    ) -> None:
        self.engine, self.clock = engine, clock
        self.chapters: list[dict[str, Any]] = []
        self._catalog, self._database, self._quiet = catalog, database, quiet

    def open(self, title: str, chapter: Callable[[Stage], None]) -> None:
        """Play a chapter."""
        self.chapters.append({"title": title, "steps": []})
        self.say(f"\n{heading(f'{len(self.chapters)}. {title}')}")
        chapter(self)

    def say(self, text: str) -> None:
        """Print text, unless the story is told as JSON."""
        if not self._quiet:
            click.echo(text, color=colour())

    def tell(self, text: str) -> None:
        """Tell what happens, in words."""
        self.say("")
        self.say(textwrap.fill(text, _width(), initial_indent="   ", subsequent_indent="   "))
        self._keep("told", text=text)

    def ask(self, python: str, **expected: object) -> None:
        """Run one line of Python and show its answer, whose attributes are to be as expected."""
        try:
            answer = eval(python, {"ent": self.engine})  # noqa: S307  (the line shown is the line that is run)
        except EntitlementsError as error:
            answer = error
        found = _subject(answer)
        wrong = {name: getattr(found, name, None) for name, wanted in expected.items() if _differs(found, name, wanted)}
        self.say(f"   >>> {python}\n{painted(_indented(_said(answer)))}")
        self._judge("asked", not wrong, python=python, said=_said(answer), answer=_data(answer))
        for name, value in wrong.items():
            self.say(f"       NOT AS EXPECTED: {name} is {value!r}, expected {expected[name]!r}")

    def pass_time(self, **span: float) -> None:
        """Move the clock on."""
        self.clock.at += timedelta(**span)
        self.say(f"\n   ... the clock now shows {instant(self.clock.at)}")
        self._keep("clock", at=self.clock.at.isoformat())

    def rush(self, customer: str, feature: str, each: int) -> None:
        """Let processes full of threads ask for one each, `each` times in every process, all at once."""
        self.say(f'   >>> ent.consume("{customer}", "{feature}")   # in {PROCESSES} processes of {THREADS} threads')
        counts = rush(self._catalog, self._database, self.clock.at, customer, feature, each)
        logged = sum(e.amount for e in self.engine.entries(customer) if e.kind == "used" and e.subject == feature)
        limit = self.engine.check(customer, feature).limit
        total = Counts.total(counts)
        fits = (total.allowed, total.denied, logged) == (limit, total.asked - total.allowed, limit)
        rows = [(f"process {at}", *_counted(one)) for at, one in enumerate(counts, start=1)]
        rows += [("together", *_counted(total)), ("in the log", "", f"{logged} booked", f"of at most {limit}")]
        self.say("\n".join(columns(rows, indent=7)))
        if not fits:
            self.say("       NOT AS EXPECTED: allowed, the log and the limit are to be one number")
        processes = [one.to_dict() for one in counts]
        self._judge(
            "rush", fits, processes=processes, together=total.to_dict(), in_the_log=logged, limit=json_number(limit)
        )

    def edit(self, before: str, after: str) -> None:
        """Change the catalog's file, and wait until the engine has seen it by itself."""
        version = self.engine.catalog.version
        text = self._catalog.read_text(encoding="utf-8")
        self._catalog.write_text(text.replace(before, after, 1), encoding="utf-8")
        self.say(f"       - {before}\n       + {after}")
        started, pause = monotonic(), threading.Event()
        while self.engine.catalog.version == version and monotonic() - started < PATIENCE:
            pause.wait(_POLL)
            self.engine.check("anyone", "anything")
        seconds = round(monotonic() - started, 1)
        seen = self.engine.catalog.version != version
        found = "saw the change" if seen else "NOT AS EXPECTED: has not seen the change"
        self.say(f"       ... the engine looks at the file once a second; {seconds} s later it {found}")
        self._judge("edited", seen, before=before, after=after, seconds=seconds)

    def surprises(self) -> list[dict[str, Any]]:
        """Return the steps that did not come out as expected."""
        return [step for chapter in self.chapters for step in chapter["steps"] if step.get("as_expected") is False]

    def _judge(self, kind: str, as_expected: bool, **known: object) -> None:
        self._keep(kind, **known, as_expected=as_expected)

    def _keep(self, kind: str, **known: object) -> None:
        self.chapters[-1]["steps"].append({"kind": kind, **known})


def _subject(answer: object) -> object:
    return answer.decision if isinstance(answer, Explanation) else answer


def _differs(found: object, name: str, wanted: object) -> bool:
    return not hasattr(found, name) or getattr(found, name) != wanted


def _counted(counts: Counts) -> tuple[str, str, str]:
    return f"{counts.asked} asked", f"{counts.allowed} allowed", f"{counts.denied} denied"


def _width() -> int:
    return max(40, min(_WIDEST, shutil.get_terminal_size((_WIDEST, 24)).columns))


def _indented(text: str) -> str:
    if "\n" in text:
        return textwrap.indent(text, "       ")
    return textwrap.fill(text, _width(), initial_indent="       ", subsequent_indent="         ")


def _said(answer: object) -> str:
    match answer:
        case EntitlementsError():
            return f"raised {type(answer).__name__}: {answer}"
        case Subscription() | Trial() | HeldAddOn() | PromotionRun() | Override():
            until = "until it is ended" if answer.until is None else f"until {instant(answer.until)}"
            return f"{_named(answer)}, from {instant(answer.since)} {until}"
        case Budget():
            amount = f"{number(answer.limit)} {answer.subject}"
            return f"budget of {scope_text(dict(answer.scope))}: {amount} per {answer.period.every}"
        case _:
            return str(answer)


def _named(fact: Fact) -> str:
    match fact:
        case Subscription():
            return f"plan {fact.plan}"
        case Trial():
            return f"trial of plan {fact.plan}"
        case HeldAddOn():
            return f"add-on {fact.addon}, {fact.quantity} of it"
        case PromotionRun():
            return f"promotion {fact.promotion}"
        case Override():
            return f"override of {fact.entitlement.feature} ({fact.entitlement.mode})"


def _data(answer: object) -> Any:
    return answer.to_dict() if isinstance(answer, Decision | Explanation) else _said(answer)
