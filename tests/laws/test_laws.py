"""Stories in which everything happens at once, held to laws after every step; `python -m tests.laws` has no end of them."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from entitlements.ledger import plan_grants

from . import catalogs, crowds
from .drawing import Step
from .stories import Story, law_of, played, shortened, told

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def crowded(postgres_url):
    """Two schemas of a PostgreSQL server, emptied for each story."""
    with crowds.emptied(postgres_url) as addresses:
        yield addresses


@pytest.mark.parametrize("seed", range(12))
def test_no_story_breaks_a_law(seed):
    story, broken = told(f"suite-{seed}", 30)
    assert broken is None, f"{broken}\n" + "\n".join(map(str, story.steps))


@pytest.mark.parametrize("seed", range(2))
def test_no_story_of_several_customers_breaks_a_law_on_any_storage(seed, crowded):
    story, broken = crowds.told(f"crowd-{seed}", 30, crowded)
    assert broken is None, f"{broken}\n" + "\n".join(f"{step.who} {step}" for step in story.steps)


@pytest.mark.parametrize("seed", range(2))
def test_no_story_of_several_customers_breaks_a_law_without_a_server(seed):
    story, broken = crowds.told(f"crowd-of-files-{seed}", 40, dict)
    assert broken is None, f"{broken}\n" + "\n".join(f"{step.who} {step}" for step in story.steps)


def test_a_story_is_the_same_whenever_it_is_told():
    first, again = (told("same", 12)[0] for _ in range(2))
    assert [str(step) for step in first.steps] == [str(step) for step in again.steps]
    assert len({step.verb for step in first.steps}) > 4


def test_what_shuts_a_customer_out_is_found_and_told_as_shortly_as_it_goes(monkeypatch):
    """A test of the laws: blocks that rolled over were once named by their plan alone where its name had a plus."""
    document = catalogs.drawn(Random("any"))
    terms = {"grant": 10, "every": "month", "rollover": {"times": 2}}
    document["plans"]["team+"]["credits"] = {"ai": terms, "gold": terms}
    steps = [
        Step(NOON, "wait", {}),
        Step(NOON, "grant_credits", {"credit": "ai", "amount": 5, "key": "k1"}),
        Step(NOON, "subscribe", {"plan": "team+", "zone": "Europe/Berlin", "key": "k2"}),
        Step(NOON, "consume", {"feature": "seats", "amount": 1, "key": "k3"}),
        Step(NOON + timedelta(days=40), "wait", {}),
    ]
    story = Story("any", document, True, steps)
    assert played(story, "all") is None
    monkeypatch.setattr(plan_grants, "_origin", lambda block: block.partition("+")[0])
    broken = played(story, "all")
    assert "was granted before" in broken
    short = shortened(story, broken)
    assert [step.verb for step in short.steps] == ["wait", "subscribe"]
    assert short.steps[1].told == {"plan": "team+", "key": "k2"}
    assert law_of(played(short, law_of(broken))) == law_of(broken)
