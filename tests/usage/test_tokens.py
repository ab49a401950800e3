"""Tokens as each library counts them, in kinds that do not overlap."""

from types import SimpleNamespace as Of

import pytest

from entitlements.errors import AmountError
from entitlements.usage import TokenUsage

OPENAI_CHAT = Of(
    prompt_tokens=1000,
    completion_tokens=300,
    total_tokens=1300,
    prompt_tokens_details=Of(cached_tokens=400, audio_tokens=0),
    completion_tokens_details=Of(reasoning_tokens=100, audio_tokens=0),
)
OPENAI_RESPONSES = Of(
    input_tokens=1000,
    output_tokens=300,
    total_tokens=1300,
    input_tokens_details=Of(cached_tokens=400),
    output_tokens_details=Of(reasoning_tokens=100),
)
ANTHROPIC = Of(input_tokens=600, output_tokens=200, cache_read_input_tokens=400, cache_creation_input_tokens=50)
LANGCHAIN = {
    "input_tokens": 1050,
    "output_tokens": 300,
    "total_tokens": 1350,
    "input_token_details": {"cache_read": 400, "cache_creation": 50},
    "output_token_details": {"reasoning": 100},
}
PYDANTIC_AI = Of(
    input_tokens=1050,
    output_tokens=300,
    cache_read_tokens=400,
    cache_write_tokens=50,
    requests=2,
    details={"reasoning_tokens": 100},
)
LITELLM = Of(
    prompt_tokens=1050,
    completion_tokens=300,
    prompt_tokens_details=Of(cached_tokens=400),
    cache_read_input_tokens=400,
    cache_creation_input_tokens=50,
    completion_tokens_details=Of(reasoning_tokens=100),
)
WRITTEN, THOUGHT = {"input": 600, "cached": 400, "cache_write": 50}, {"output": 200, "reasoning": 100}


@pytest.mark.parametrize(
    ("usage", "kinds"),
    [
        (OPENAI_CHAT, {"input": 600, "cached": 400, **THOUGHT}),
        (OPENAI_RESPONSES, {"input": 600, "cached": 400, **THOUGHT}),
        (ANTHROPIC, {**WRITTEN, "output": 200}),
        (LANGCHAIN, {**WRITTEN, **THOUGHT}),
        (PYDANTIC_AI, {**WRITTEN, **THOUGHT}),
        (LITELLM, {**WRITTEN, **THOUGHT}),
    ],
    ids=["openai chat", "openai responses", "anthropic", "langchain", "pydantic-ai", "litellm"],
)
def test_each_library_comes_to_the_same_kinds(usage, kinds):
    found = TokenUsage.of(usage)
    assert found.kinds == kinds
    assert found.total == sum(kinds.values())
    assert TokenUsage.of(Of(usage=usage)) == found
    assert TokenUsage.of({"usage": usage}) == found


def test_a_message_of_langchain_and_a_run_of_pydantic_ai_are_known_by_where_they_keep_it():
    assert TokenUsage.of(Of(usage_metadata=LANGCHAIN)).total == 1350
    assert TokenUsage.of(Of(usage=lambda: PYDANTIC_AI)).total == 1350


@pytest.mark.parametrize(
    ("read", "kinds"),
    [
        ({"cache_read": 40, "cache_creation": 0, "ephemeral_5m_input_tokens": 7}, {"cached": 40, "cache_write": 7}),
        ({"cache_creation": 0, "ephemeral_5m_input_tokens": 7, "ephemeral_1h_input_tokens": 5}, {"cache_write": 12}),
        ({"cache_creation": 12, "ephemeral_5m_input_tokens": 7, "ephemeral_1h_input_tokens": 5}, {"cache_write": 12}),
        ({"cache_creation": None, "ephemeral_5m_input_tokens": None, "ephemeral_1h_input_tokens": 5}, {"cache_write": 5}),
        ({"flex_cache_read": 40, "flex": 17}, {"cached": 40}),
        ({"priority_cache_read": 40, "priority": 17}, {"cached": 40}),
        ({"cache_read": 10, "flex_cache_read": 20, "priority_cache_read": 10}, {"cached": 40}),
        ({"cached_tokens": 40}, {"cached": 40}),
    ],
)
def test_what_was_read_is_known_by_each_name_that_langchain_gives_it(read, kinds):
    found = TokenUsage.of({"input_tokens": 57, "output_tokens": 50, "input_token_details": read})
    assert found.kinds == {"input": 57 - sum(kinds.values()), "output": 50, **kinds}


@pytest.mark.parametrize(
    "usage",
    [
        {"input_tokens": 10, "output_tokens": 50, "output_token_details": {"flex_reasoning": 30, "flex": 20}},
        {"input_tokens": 10, "output_tokens": 50, "output_token_details": {"reasoning": 10, "priority_reasoning": 20}},
        Of(input_tokens=10, output_tokens=50, cache_read_input_tokens=0, output_tokens_details=Of(thinking_tokens=30)),
    ],
)
def test_what_was_thought_is_known_by_each_of_its_names(usage):
    assert TokenUsage.of(usage).kinds == {"input": 10, "output": 20, "reasoning": 30}


def test_a_place_that_tells_of_none_does_not_hide_one_that_tells_of_some():
    told = Of(prompt_tokens=57, prompt_tokens_details=Of(cached_tokens=0), cache_read_input_tokens=40)
    assert TokenUsage.of(told).kinds == {"input": 17, "cached": 40}


def test_what_is_not_said_is_nothing():
    assert TokenUsage.of({"prompt_tokens": 5, "prompt_tokens_details": None}).kinds == {"input": 5}
    plain = Of(input_tokens=5, output_tokens=0, cache_read_input_tokens=None, cache_creation_input_tokens=None)
    assert TokenUsage.of(plain).kinds == {"input": 5}
    assert TokenUsage().kinds == {}


def test_usage_adds_up():
    assert TokenUsage(1, 2, 3, 4, 5) + TokenUsage(10, 20, 30, 40, 50) == TokenUsage(11, 22, 33, 44, 55)
    with pytest.raises(TypeError):
        TokenUsage(1) + 1


def test_finer_kinds_fold_into_those_a_rate_knows():
    usage = TokenUsage.of(LANGCHAIN)
    assert usage.folded("input", "output") == {"input": 1050, "output": 300}
    assert usage.folded("input", "cached", "output") == {"input": 650, "cached": 400, "output": 300}
    with pytest.raises(ValueError, match="300|output"):
        usage.folded("input")


@pytest.mark.parametrize("obj", [None, "text", 5, {}, Of(), Of(usage=None), Of(usage={"pages": 3})])
def test_an_object_that_says_nothing_of_tokens_is_refused(obj):
    with pytest.raises(TypeError, match="says nothing of tokens"):
        TokenUsage.of(obj)


@pytest.mark.parametrize(
    ("usage", "said"),
    [
        ({"input_tokens": -1}, "whole numbers from zero"),
        ({"input_tokens": 1.5}, "whole numbers from zero"),
        ({"input_tokens": True}, "whole numbers from zero"),
        ({"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 6}}, "6 cached tokens are counted among 5"),
        ({"output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 6}}, "6 reasoning tokens"),
    ],
)
def test_counts_that_cannot_be_are_refused(usage, said):
    with pytest.raises(AmountError, match=said):
        TokenUsage.of(usage)


def test_a_usage_is_an_amount(ent):
    usage = TokenUsage(input=2000, output=1000)
    assert ent.estimate("acme", "tokens", usage) == 5
    assert ent.consume("acme", "tokens", usage, key="a").receipt.price == 5
    assert ent.consume("acme", "tokens", {"output": 1000, "input": 2000}, key="a").receipt.replayed
