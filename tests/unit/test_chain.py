"""The hash chain: one preimage for each record, whatever stands in it, and none of it personal."""

import json
from datetime import UTC, datetime, timedelta
from itertools import product

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entitlements.ledger.chain import chain, chained
from entitlements.ledger.entries import EPOCH, Batch, Entry, numbered
from entitlements.ledger.records import Line, Record, batch_of, digests_of, recorded
from entitlements.ledger.sealing import Seal, Secret, digest_of, is_sealed, opened_value
from entitlements.testing.histories import START, credit_kinds, every_kind, personal_kinds

SECRET = "wvutsr"

TRICKY = ["", "1", "1:", "0:", "1;"]


def batch(*entries, request=None, result=None, salt="salt"):
    made = numbered(entries or [Entry("used", START, "calls", "calls", EPOCH, 1)], after=0, key="k", at=START)
    return Batch("acme", "k", 1, START, request or {}, result or {}, made, salt=salt)


def test_no_two_records_share_a_preimage():
    """Among all that are made of nothing but the marks that lengths and numbers are written with."""
    rows = [
        (Record(customer, number, key, at, 1, 1, request, result, "", ()), previous)
        for previous, customer, key, request, result in product(TRICKY, repeat=5)
        for number, at in ((1, 1), (11, 1), (1, 11))
    ]
    assert len({chained(*row) for row in rows}) == len(rows)


def test_no_two_lines_share_a_preimage():
    lines = [
        Line(seq, 1, kind, at, subject, counter, window, 1, data, block)
        for kind, subject, counter, block in product(TRICKY, repeat=4)
        for data in (None, "", "-;", "1")
        for seq, at, window in ((1, 1, None), (1, 1, 1), (1, 11, -1), (11, 1, None))
    ]
    records = [Record("", 1, "", 1, 1, 1, "", "", "", (line,)) for line in lines]
    assert len({chained(record, "") for record in records}) == len(records)


@pytest.mark.parametrize("name", [name for name in Record._fields if name not in {"hash", "secrets", "position"}])
def test_every_field_of_a_record_is_hashed(name):
    _, record = chain(batch(*every_kind()), "")
    values = {"customer": "b", "key": "b", "request": "{}x", "result": "{}x", "lines": record.lines[:-1]}
    if name in {"first", "last"}:  # said by the lines
        return
    changed = record._replace(**{name: values.get(name, getattr(record, name) if name in values else 77)})
    assert chained(changed, "") != record.hash


@pytest.mark.parametrize("name", Line._fields)
def test_every_field_of_a_line_is_hashed(name):
    _, record = chain(batch(*every_kind()), "")
    for n, line in enumerate(record.lines):
        was = getattr(line, name)
        changed = line._replace(**{name: was + 1 if isinstance(was, int) else f"{was or ''}x"})
        assert chained(record._replace(lines=(*record.lines[:n], changed, *record.lines[n + 1 :])), "") != record.hash


def test_a_hash_covers_all_that_came_before():
    first, _ = chain(batch(), "")
    second, record = chain(attrs.evolve(batch(), number=2), first.hash)
    assert chained(record, first.hash) == second.hash
    assert chained(record, "") != second.hash


@pytest.mark.parametrize("kinds", [every_kind, credit_kinds, personal_kinds])
def test_a_record_survives_and_is_written_the_same_again(kinds):
    told = {"metadata": {"b": 1, "a": [None, True, "é"]}, "amount": "1", "scope": {"user": "u", "team": "t"}}
    made, record = chain(batch(*kinds(), request=told, result={"scope": told["scope"], "none": None}), "0" * 64)
    back = batch_of(record)
    assert back == made
    assert list(back.request["scope"]) == ["user", "team"]
    assert recorded(back) == record
    assert chained(recorded(back), "0" * 64) == made.hash


@pytest.mark.parametrize("kinds", [every_kind, credit_kinds, personal_kinds])
def test_a_record_without_its_secrets_has_the_same_hash(kinds):
    _, record = chain(batch(*kinds(), request={"reason": SECRET}, result={"scope": {"user": SECRET}}), "")
    left = record._replace(secrets={})
    erased = batch_of(left)
    assert chained(left, "") == record.hash
    assert chained(recorded(erased), "") == record.hash
    assert recorded(erased) == left
    assert batch_of(recorded(erased)) == erased
    assert erased.salt == ""
    assert SECRET not in repr((left, erased))


def test_what_is_personal_stands_nowhere_in_a_record_but_in_its_secrets():
    told = {
        "scope": {"user": SECRET},
        "metadata": {"deep": [{"scope": SECRET}]},
        "reason": SECRET,
        "list": [{"reason": SECRET}, {"block": {"metadata": {"a": SECRET}}}],
        "amount": "1",
    }
    entry = Entry("used", START, "calls", "calls", EPOCH, 1, {"scope": {"user": SECRET}})
    made, record = chain(batch(entry, request=told, result=told), "")
    assert SECRET not in repr(record._replace(secrets={}))
    assert sorted(secret.text for secret in record.secrets.values()) == sorted(
        {json.dumps(value, separators=(",", ":")) for value in (SECRET, told["scope"], told["metadata"], {"a": SECRET})}
    )
    assert set(digests_of(record)) == set(record.secrets)
    assert all(digest_of(secret.text, "salt") == digest for digest, secret in record.secrets.items())
    assert batch_of(record) == made


@pytest.mark.parametrize("value", [None, "", [], {}])
def test_what_is_not_given_is_not_sealed(value):
    seal = Seal("salt")
    assert json.loads(seal.text({"scope": value, "reason": value})) == {"scope": value, "reason": value}
    assert seal.secrets == {}


def test_a_digest_depends_on_the_salt_and_never_on_where_salt_and_value_part():
    assert digest_of('"ab"', "") != digest_of('"ab"', "1")
    assert digest_of("23", "1") != digest_of("3", "12")


def test_a_batch_with_nothing_personal_keeps_no_salt():
    made, record = chain(batch(salt="a salt"), "")
    assert (made.salt, record.secrets) == ("", {})


def test_only_what_is_known_is_opened():
    seal = Seal("s")
    text, secrets = seal.text({"scope": {"a": "1"}, "inner": [{"reason": "why"}]}), seal.secrets
    (known,) = [digest for digest, secret in secrets.items() if secret.text == '"why"']
    value = opened_value(text, {known: secrets[known]})
    assert value["inner"] == [{"reason": "why"}]
    assert is_sealed(value["scope"])
    assert opened_value(text, secrets) == {"scope": {"a": "1"}, "inner": [{"reason": "why"}]}


def test_a_secret_that_looks_like_a_seal_is_not_taken_for_one():
    """Whoever writes a digest into metadata gets their own words back, not somebody's secret."""
    other = digest_of('"hers"', "s")
    known = {other: Secret("s", '"hers"')}
    seal = Seal("s")
    text = seal.text({"metadata": {"a": {"$sealed": other}}})
    assert opened_value(text, {**seal.secrets, **known}) == {"metadata": {"a": {"$sealed": other}}}


@given(st.dictionaries(st.sampled_from(["scope", "reason", "a", "$sealed"]), st.text(max_size=3), max_size=3))
def test_every_value_survives_sealing(value):
    seal = Seal("s")
    sealed = seal.text({"metadata": value, "at": [value if "$sealed" not in value else 1]})
    assert opened_value(sealed, seal.secrets) == {"metadata": value, "at": [value if "$sealed" not in value else 1]}


def test_an_instant_before_1970_is_hashed_like_any_other():
    early = datetime(1969, 12, 31, tzinfo=UTC) - timedelta(microseconds=1)
    entry = Entry("used", early, "calls", "calls", early, 1)
    made, record = chain(batch(entry), "")
    assert batch_of(record) == made
    assert record.lines[0].window == record.lines[0].at < 0
