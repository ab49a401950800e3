"""The story of the demo, chapter by chapter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from .stage import Stage


def who_may_do_what(stage: Stage) -> None:
    """Show a plan, a denial with what would lift it, and why a plan grants what it grants."""
    stage.tell("Ann never subscribed to anything, so she has the catalog's default plan, free.")
    stage.ask('ent.check("ann", "code_runner")', code="not_in_plan", upgrade=("plan:pro", "plan:team"))
    stage.ask('ent.check("ann", "models", value="large")', code="value_not_allowed", source="plan:free")
    stage.tell("Bo subscribes to pro, which extends free.")
    stage.ask('ent.subscribe("bo", "pro")', plan="pro")
    stage.ask('ent.check("bo", "code_runner")', code="ok", source="plan:pro")
    stage.ask('ent.explain("bo", "deep_research")', code="ok", limit=25, used=0)


def a_limit(stage: Stage) -> None:
    """Show a limit used up, the wait for its reset, and the reset."""
    stage.tell("Free has 20 messages in five hours, from the first one on. consume checks and records in one step.")
    stage.ask('ent.consume("ann", "messages", 20)', code="ok", remaining=0)
    stage.ask('ent.consume("ann", "messages")', code="limit_reached", outcome="block", used=20)
    stage.pass_time(hours=4, minutes=15)
    stage.tell("Now the reset is near, so the answer is: wait. It says how many seconds.")
    stage.ask('ent.check("ann", "messages").retry_after()', real=2700)
    stage.pass_time(minutes=45)
    stage.ask('ent.consume("ann", "messages", 20)', code="ok", used=20)


def a_promotion(stage: Stage) -> None:
    """Show a promotion that lifts a limit, and the limit again when it has ended."""
    stage.tell("Two weeks without a limit on messages, given to Ann.")
    stage.ask('ent.check("ann", "messages")', code="limit_reached")
    stage.ask('ent.promote("ann", "winter")', promotion="winter")
    stage.ask('ent.consume("ann", "messages", 500)', code="ok", source="promotion:winter", unlimited=True)
    stage.pass_time(days=14)
    stage.ask('ent.consume("ann", "messages", 21)', code="limit_reached", limit=20, source="plan:free")


def a_trial(stage: Stage) -> None:
    """Show a plan lent for two weeks."""
    stage.tell("The catalog gives pro a trial of 14 days.")
    stage.ask('ent.start_trial("cy", "pro")', plan="pro")
    stage.ask('ent.check("cy", "code_runner")', code="ok", source="trial:pro")
    stage.pass_time(days=14)
    stage.ask('ent.check("cy", "code_runner")', code="trial_ended", upgrade=("plan:pro", "plan:team"))


def one_customer(stage: Stage) -> None:
    """Show what was bought and decided for one customer alone."""
    stage.tell("Bo writes all the research reports of the month, and wants one more.")
    stage.ask('ent.consume("bo", "deep_research", 25)', code="ok", remaining=0)
    stage.ask('ent.consume("bo", "deep_research")', code="limit_reached", upgrade=("plan:team", "add-on:more_research"))
    stage.ask('ent.add_addon("bo", "more_research")', quantity=1)
    stage.ask('ent.consume("bo", "deep_research")', code="ok", limit=45, used=26)
    stage.tell("Support lets Bo try single sign-on, and takes running code away.")
    stage.ask('ent.override("bo", "sso", True, reason="asked for by sales")', reason="asked for by sales")
    stage.ask('ent.check("bo", "sso")', code="ok", source="override:set")
    stage.ask('ent.override("bo", "code_runner", mode="deny", reason="mined coins")', reason="mined coins")
    stage.ask('ent.check("bo", "code_runner")', code="denied_by_override")


def a_budget(stage: Stage) -> None:
    """Show use that is priced in credits, capped by the budget of a team, and told scope by scope."""
    stage.tell("A team gets 1,000 credits a month. One of its groups may take 50 of them a day, its agents included.")
    stage.ask('ent.subscribe("lab", "team")', plan="team")
    stage.ask('ent.set_budget("lab", "team:research", credit="ai", limit=50, every="day")', limit=50)
    stage.ask('ent.consume("lab", "tokens", {"output": 20_000}, scope="team:research/agent:bot-7")', code="ok")
    stage.ask(
        'ent.consume("lab", "tokens", {"output": 9_000}, scope="team:research/agent:bot-7")',
        code="budget_exceeded",
        source="budget:team:research",
    )
    stage.ask('ent.usage_tree("lab")', customer="lab")


def a_crowd(stage: Stage) -> None:
    """Show that callers in many threads and processes get what there is, and no more."""
    stage.tell("A team has 100 research reports a month. Two processes now ask for one report 100 times each.")
    stage.ask('ent.subscribe("crew", "team")', plan="team")
    stage.rush("crew", "deep_research", each=100)
    stage.ask('ent.check("crew", "deep_research")', code="limit_reached", used=100)


def an_edited_catalog(stage: Stage) -> None:
    """Show one question answered differently, because a file was edited."""
    stage.tell("Free is to run code from now on. Somebody edits catalog.yaml; nothing is deployed or restarted.")
    stage.ask('ent.check("ann", "code_runner")', code="not_in_plan")
    stage.edit("code_runner: false", "code_runner: true")
    stage.ask('ent.check("ann", "code_runner")', code="ok", source="plan:free")


CHAPTERS: Final[Mapping[str, Callable[[Stage], None]]] = {
    "Who may do what, and why": who_may_do_what,
    "A limit is used up, and comes back by itself": a_limit,
    "A promotion lifts the limit, and ends": a_promotion,
    "A trial ends": a_trial,
    "An add-on, and overrides for one customer": one_customer,
    "Agents spend credits, a budget caps them": a_budget,
    "Many callers, one limit, no overshoot": a_crowd,
    "The catalog changes while the program runs": an_edited_catalog,
}
