"""Usage of language models, normalised: what a call took, in tokens of kinds that do not overlap.

    usage = TokenUsage.of(response)
    ent.consume("acme", "tokens", usage, key=response.id)

Every library counts differently: some count cached tokens among the input and some beside it, and
reasoning is a part of the output. Nothing is imported: an object is known by the names it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from .errors import AmountError

_INPUT: Final = ("prompt_tokens", "input_tokens")
_OUTPUT: Final = ("completion_tokens", "output_tokens")
_BESIDE: Final = ("cache_read_input_tokens", "cache_creation_input_tokens")
_WITHIN: Final = {
    "cached": (
        ("prompt_tokens_details", "cached_tokens"),
        ("input_tokens_details", "cached_tokens"),
        ("input_token_details", "cache_read", "flex_cache_read", "priority_cache_read"),
        ("input_token_details", "cached_tokens"),
        ("", "cache_read_tokens"),
        ("", "cache_read_input_tokens"),
    ),
    "cache_write": (
        ("prompt_tokens_details", "cache_write_tokens"),
        ("prompt_tokens_details", "cache_creation_tokens"),
        ("input_tokens_details", "cache_write_tokens"),
        ("input_token_details", "cache_creation"),
        ("input_token_details", "ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"),
        ("", "cache_write_tokens"),
        ("", "cache_creation_input_tokens"),
    ),
    "reasoning": (
        ("completion_tokens_details", "reasoning_tokens"),
        ("output_tokens_details", "reasoning_tokens"),
        ("output_tokens_details", "thinking_tokens"),
        ("output_token_details", "reasoning", "flex_reasoning", "priority_reasoning"),
        ("details", "reasoning_tokens"),
    ),
}
"""Where each part is told of, and by which names, whose counts add up; the first place that tells of any counts."""
_PART_OF: Final = {"cached": "input", "cache_write": "input", "reasoning": "output"}


@attrs.frozen
class TokenUsage:
    """Tokens by kind, each counted once.

    `input` is what was read anew, `cached` what came from a cache, `cache_write` what was put into one;
    `output` is what was written, `reasoning` apart. All together they are `total`.
    """

    input: int = 0
    output: int = 0
    cached: int = 0
    cache_write: int = 0
    reasoning: int = 0

    def __attrs_post_init__(self) -> None:
        for name in attrs.fields_dict(TokenUsage):
            _count(getattr(self, name), name)

    def __add__(self, other: TokenUsage) -> TokenUsage:
        if not isinstance(other, TokenUsage):
            return NotImplemented
        return TokenUsage(*(one + more for one, more in zip(attrs.astuple(self), attrs.astuple(other), strict=True)))

    @property
    def total(self) -> int:
        """All tokens, of whatever kind."""
        return sum(attrs.astuple(self))

    @property
    def kinds(self) -> dict[str, int]:
        """The tokens of every kind there were any of, as `consume` takes them."""
        return {name: tokens for name, tokens in attrs.asdict(self).items() if tokens}

    def folded(self, *kinds: str) -> dict[str, int]:
        """Return the tokens by these kinds alone, a kind left out added to the one that it is a part of.

        For a rate that prices `input` and `output` and nothing finer. Raises ValueError where `input`
        or `output` is left out and there are tokens of it.
        """
        folded: dict[str, int] = {}
        for name, tokens in self.kinds.items():
            kind = name if name in kinds else _PART_OF.get(name, name)
            if kind not in kinds:
                raise ValueError(f"there are {tokens} tokens of {name}, and no kind for them; name {kind!r} too")
            folded[kind] = folded.get(kind, 0) + tokens
        return folded

    @classmethod
    def of(cls, obj: object) -> TokenUsage:
        """Return what a response or its usage says, of OpenAI, Anthropic, LangChain, pydantic-ai or LiteLLM.

        Raises TypeError for an object that says nothing of tokens, AmountError for counts that cannot
        be: negative, no whole numbers, parts larger than what they are a part of.
        """
        usage = _usage_in(obj)
        taken, written = _first(usage, _INPUT), _first(usage, _OUTPUT)
        parts = {kind: _within(usage, paths) for kind, paths in _WITHIN.items()}
        cached = parts["cached"] + parts["cache_write"]
        if not _counts_beside(usage):
            taken = _rest(taken, cached, "input", "cached tokens")
        written = _rest(written, parts["reasoning"], "output", "reasoning tokens")
        return cls(taken, written, **parts)


def _usage_in(obj: object) -> object:
    """Return the object that holds the counts: itself, or what it keeps as its usage."""
    if any(_get(obj, name) is not None for name in (*_INPUT, *_OUTPUT)):
        return obj
    for name in ("usage_metadata", "usage"):
        inner = _get(obj, name)
        inner = inner() if callable(inner) else inner
        if inner is not None and any(_get(inner, field) is not None for field in (*_INPUT, *_OUTPUT)):
            return inner
    raise TypeError(
        f"an object of type {type(obj).__name__} says nothing of tokens; give a response, or its usage with "
        "input_tokens or prompt_tokens"
    )


def _counts_beside(usage: object) -> bool:
    """Tell whether cached tokens are counted beside the input, as Anthropic alone does."""
    return _get(usage, "prompt_tokens") is None and any(_get(usage, name) is not None for name in _BESIDE)


def _within(usage: object, places: tuple[tuple[str, ...], ...]) -> int:
    for place, *names in places:
        held = _get(usage, place) if place else usage
        said = {f"{place}.{name}".lstrip("."): _get(held, name) for name in names}
        tokens = sum(_count(value, name) for name, value in said.items() if value is not None)
        if tokens:
            return tokens
    return 0


def _first(usage: object, names: tuple[str, ...]) -> int:
    found = next((name for name in names if _get(usage, name) is not None), None)
    return 0 if found is None else _count(_get(usage, found), found)


def _rest(whole: int, part: int, name: str, what: str) -> int:
    if part > whole:
        raise AmountError(f"{part} {what} are counted among {whole} of {name}; a part is no larger than the whole")
    return whole - part


def _get(obj: object, name: str) -> Any:
    return obj.get(name) if isinstance(obj, Mapping) else getattr(obj, name, None)


def _count(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise AmountError(f"{name} is {value!r:.40}; tokens are counted in whole numbers from zero")
    return value
