"""What a decision says to a person: why, and for a denial what to do next."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import attrs
import pytest

from entitlements.amounts import UNLIMITED
from entitlements.decisions import Decision, Receipt
from entitlements.wording import alternatives, instant, moment, number, reason, source

RESET = datetime(2026, 12, 1, tzinfo=UTC)
CALLS = Decision(True, "ok", "acme", "calls", limit=100_000, used=82_140, source="plan:pro")


def denied(code, outcome="block", **more):
    return Decision(False, code, "acme", "calls", outcome, **more)


FULL = denied("limit_reached", limit=100, used=98, requested=5, source="plan:pro", resets_at=RESET, lifted_at=RESET)


# --- numbers, instants, names


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0"),
        (82_140, "82,140"),
        (Decimal("1250.50"), "1,250.50"),
        (Decimal("0.00"), "0.00"),
        (Decimal("1E+3"), "1,000"),
        (UNLIMITED, "unlimited"),
    ],
)
def test_numbers_as_people_read_them(amount, text):
    assert number(amount) == text


def test_instants_are_read_in_utc_to_the_minute():
    assert instant(RESET) == "2026-12-01 00:00 UTC"
    assert instant(datetime(2026, 12, 1, 2, tzinfo=timezone(timedelta(hours=2)))) == "2026-12-01 00:00 UTC"


def test_what_happened_is_never_said_to_be_later_than_it_was():
    assert moment(RESET - timedelta(microseconds=1)) == "2026-11-30 23:59:59 UTC"
    assert moment(RESET + timedelta(microseconds=1)) == moment(RESET) == "2026-12-01 00:00 UTC"
    assert moment(datetime.max.replace(tzinfo=UTC)) == "9999-12-31 23:59:59 UTC"


def test_an_instant_is_never_said_to_be_earlier_than_it_is():
    assert instant(RESET + timedelta(seconds=1)) == "2026-12-01 00:00:01 UTC"
    assert instant(RESET + timedelta(microseconds=1)) == "2026-12-01 00:00:01 UTC"


def test_the_ends_of_time_can_be_said():
    assert instant(datetime.max.replace(tzinfo=UTC)) == "9999-12-31 23:59:59 UTC"
    assert instant(datetime.min.replace(tzinfo=UTC)) == "0001-01-01 00:00 UTC"


def test_sources_as_people_read_them():
    assert source("add-on:extra:seats") == "add-on extra:seats"
    assert source(None) == "nothing"
    assert alternatives(("plan:pro", "add-on:extra_seats")) == "plan pro or add-on extra_seats"


# --- allowed


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "calls is granted by plan pro: 82,140 of 100,000 used"),
        (
            {"overage": 1, "requested": 1, "used": 100_500},
            "calls is granted by plan pro: 100,500 of 100,000 used, 500 over the limit",
        ),
        (
            {"overage": 3, "requested": 5, "used": 99_998},
            "calls is granted by plan pro: 99,998 of 100,000 used, 3 of the 5 asked for would be over the limit",
        ),
        (
            {"overage": 1, "requested": 1, "limit": 5, "used": 7, "receipt": Receipt("k", 1, booked=1)},
            "calls is granted by plan pro: 7 of 5 used, 2 over the limit",
        ),
        (
            {"limit": Decimal("2.50"), "used": Decimal("3.00")},
            "calls is granted by plan pro: 3.00 of 2.50 used, 0.50 over the limit",
        ),
        (
            {"overage": 5, "requested": 9, "used": 100_000, "receipt": Receipt("k", 1, booked=4)},
            "calls is granted by plan pro: 100,000 of 100,000 used, 5 did not fit",
        ),
        ({"limit": UNLIMITED}, "calls is granted by plan pro, unlimited"),
        ({"limit": None, "used": None, "value": True}, "calls is granted by plan pro"),
        ({"limit": None, "used": None, "value": 30}, "calls is granted by plan pro: 30"),
        ({"limit": None, "used": None, "value": False}, "calls is granted by plan pro: no"),
        ({"limit": None, "used": None, "value": ("de", "en")}, "calls is granted by plan pro: de, en"),
        ({"limit": None, "used": None, "value": ()}, "calls is granted by plan pro: nothing"),
    ],
)
def test_what_is_allowed_says_who_grants_it_and_how_much_is_used(changes, text):
    assert reason(attrs.evolve(CALLS, **changes)) == text


# --- denied


@pytest.mark.parametrize(
    ("decision", "text"),
    [
        (denied("unknown_customer"), "no customer 'acme' is known; subscribe the customer to a plan first"),
        (denied("denied_by_override"), "calls was revoked for acme by an override; remove the override to restore it"),
        (denied("no_active_subscription"), "acme has no active subscription; subscribe the customer to a plan"),
        (denied("trial_ended"), "the trial that granted calls has ended; no plan or add-on on sale would allow it"),
        (denied("not_in_plan"), "nothing acme holds grants calls; no plan or add-on on sale would allow it"),
        (
            denied("value_not_allowed", value=30, source="plan:pro"),
            "calls is 30 (plan pro), which does not cover what was asked; no plan or add-on on sale would allow it",
        ),
        (denied("storage_unavailable"), "calls is denied: storage unavailable; try again shortly"),
    ],
)
def test_a_denial_says_why_and_what_to_do(decision, text):
    assert reason(decision) == text


def test_what_an_override_set_is_lifted_by_the_override_alone():
    none = denied("limit_reached", limit=0, used=0, source="override:set")
    assert reason(none) == "1 of calls asked for, 0 left of 0 (override set); raise or remove the override"
    value = denied("value_not_allowed", value=30, source="override:set")
    assert reason(value).endswith(", which does not cover what was asked; change or remove the override")
    assert reason(attrs.evolve(FULL, source="override:set")).endswith("; it resets on 2026-12-01 00:00 UTC")
    assert reason(attrs.evolve(none, source="override:grant")).endswith("; no plan or add-on on sale would allow it")


def test_an_upgrade_is_the_next_step():
    decision = denied("not_in_plan", upgrade=("plan:pro", "add-on:pack"))
    assert reason(decision) == "nothing acme holds grants calls; plan pro or add-on pack would allow it"


def test_a_limit_says_what_was_asked_what_is_left_and_when_it_resets():
    assert reason(FULL) == ("5 of calls asked for, 2 left of 100 (plan pro); it resets on 2026-12-01 00:00 UTC")


def test_a_limit_with_a_ceiling_says_what_is_left_up_to_it():
    full = denied("limit_reached", limit=5, ceiling=7, used=6, requested=2, source="plan:pro", soft=True)
    said = "2 of calls asked for, 0 left of 5, 1 up to the ceiling of 7 (plan pro); "
    assert reason(full).startswith(said)
    assert ", 0 left of 5, 0 up to the ceiling of 7 (plan pro); " in reason(attrs.evolve(full, used=8))


def test_a_throttle_says_when_to_try_again():
    assert reason(attrs.evolve(FULL, outcome="throttle")).endswith("; try again after 2026-12-01 00:00 UTC")


def test_a_reset_and_an_upgrade_are_both_said():
    assert reason(attrs.evolve(FULL, upgrade=("plan:top",))).endswith(
        "; it resets on 2026-12-01 00:00 UTC or plan top would allow it"
    )


def test_a_reset_that_would_not_help_is_not_said():
    assert reason(attrs.evolve(FULL, lifted_at=None)).endswith("; no plan or add-on on sale would allow it")


def test_when_a_reset_lifts_it_counts_not_when_the_shown_limit_resets():
    later = attrs.evolve(FULL, lifted_at=RESET + timedelta(days=1))
    assert reason(later).endswith("; there is room again on 2026-12-02 00:00 UTC")
