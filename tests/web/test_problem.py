"""Problems: every code and error has its status, and nothing in it breaks a header or tells too much."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import get_args

import pytest

from entitlements import UNLIMITED, Decision, decisions, errors
from entitlements.web.problem import Problems, limit_headers, status_for

AT = datetime(2026, 3, 10, 12, tzinfo=UTC)
USUAL = {
    "unknown_feature": 403,
    "unknown_customer": 403,
    "denied_by_override": 403,
    "no_active_subscription": 402,
    "trial_ended": 402,
    "not_in_plan": 402,
    "value_not_allowed": 403,
    "limit_reached": 402,
    "budget_exceeded": 402,
    "insufficient_credits": 402,
    "unknown_credit": 403,
    "storage_unavailable": 503,
}


def denial(code="limit_reached", **told):
    return Decision(
        False, code, "acme", told.pop("feature", "chat"), outcome=told.pop("outcome", "block"), at=AT, **told
    )


def throttle(seconds):
    ends = AT + timedelta(seconds=seconds)
    return denial(
        outcome="throttle", limit=3, used=3, lifted_at=ends, resets_at=ends, window_start=AT - timedelta(hours=1)
    )


def test_every_code_has_its_status():
    assert USUAL.keys() == set(get_args(decisions.Code)) - {"ok"}
    assert {code: status_for(denial(code)) for code in USUAL} == USUAL


@pytest.mark.parametrize("code", USUAL)
def test_no_body_names_the_customer_unless_asked(code):
    error = errors.EntitlementDenied(denial(code))
    assert b"acme" not in Problems().of(error).body
    assert Problems(customer=True).of(error).to_dict()["customer"] == "acme"


@pytest.mark.parametrize("seconds", [0, 0.2, 59.5, 3600])
def test_what_waiting_fixes_is_429_and_never_retried_too_early(seconds):
    problem = Problems().of(errors.EntitlementDenied(throttle(seconds)))
    assert problem.status == 429
    assert int(problem.headers["Retry-After"]) >= max(1, seconds)
    assert int(problem.headers["RateLimit"].split("t=")[1]) <= int(problem.headers["Retry-After"])
    assert problem.type == "https://iana.org/assignments/http-problem-types#quota-exceeded"


def test_only_429_and_503_say_when_to_come_back():
    told = {code: "Retry-After" in Problems().of(errors.EntitlementDenied(denial(code))).headers for code in USUAL}
    assert {code for code, waits in told.items() if waits} == {"storage_unavailable"}


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.IdempotencyConflict("amount", "secret-1", "secret-2", key="secret-3"), 422, "key_reused"),
        (errors.AmountError("secret"), 422, "invalid_amount"),
        (errors.KeyUsed("secret", "done"), 409, "key_used"),
        (errors.HoldClosed("secret", "settled"), 409, "hold_closed"),
        (errors.HoldExpired("secret"), 409, "hold_expired"),
        (errors.AlreadySubscribed("secret"), 409, "already_subscribed"),
        (errors.AddOnRefused("secret"), 409, "addon_refused"),
        (errors.NotSubscribed("secret"), 409, "not_subscribed"),
        (errors.StorageUnavailable("secret"), 503, "storage_unavailable"),
        (errors.OutcomeUnknown("secret"), 503, "outcome_unknown"),
    ],
)
def test_every_error_has_its_status_and_tells_no_detail(error, status, code):
    problem = Problems().of(error)
    assert (problem.status, problem.code) == (status, code)
    assert b"secret" not in problem.body
    assert ("Retry-After" in problem.headers) == (status == 503)


@pytest.mark.parametrize(
    "error", [errors.LogCorrupt("x"), errors.NotConfigured("x"), LookupError("x"), ValueError("x")]
)
def test_what_is_our_own_mistake_stays_one(error):
    assert Problems().of(error) is None


def test_a_status_may_be_chosen_even_one_without_a_name():
    error = errors.EntitlementDenied(denial("not_in_plan"))
    assert (
        Problems(status=lambda decision: 499 if decision.code == "not_in_plan" else None).of(error).to_dict()["title"]
        == ""
    )
    assert Problems(status=lambda decision: None).of(error).status == 402


def test_limits_are_whole_numbers_in_headers():
    told = denial(limit=Decimal("2.75"), used=Decimal("0.50"), resets_at=AT + timedelta(seconds=1.5), window_start=AT)
    assert limit_headers(told) == {"RateLimit-Policy": '"chat";q=2;w=2', "RateLimit": '"chat";r=2;t=2'}
    assert limit_headers(denial(limit=UNLIMITED, used=1)) == {}
    assert "RateLimit" not in Problems(limits=False).of(errors.EntitlementDenied(throttle(5))).headers


@pytest.mark.parametrize("name", ["a\r\nset-cookie: x", "ünlimited", "a\x00", "a\x7f"])
def test_no_name_breaks_a_header(name):
    assert limit_headers(denial(feature=name, limit=1, used=1)) == {}
    assert limit_headers(denial(feature='a"b\\', limit=1, used=1))["RateLimit"] == r'"a\"b\\";r=0'
