"""Sealing: what is personal is kept apart from the log, which holds only its salted digest.

Scopes, metadata and reasons are personal. Where one stands in a JSON value, the log keeps
`{"$sealed": digest}` instead; the value and its salt are secrets, kept beside the log. Erasing a
customer deletes the secrets and touches nothing else, so the hash chain over the log still holds.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

SEALED: Final = "$sealed"
PERSONAL: Final = frozenset({"scope", "metadata", "reason"})
_NAMES: Final = tuple((name, f'"{name}":') for name in sorted(PERSONAL))
MARK: Final = f'{{"{SEALED}":"'
_LEAVES: Final = frozenset({str, int, bool, type(None)})
_DIGESTS: Final = re.compile(re.escape(MARK) + r'([0-9a-f]{64})"\}')


class Secret(NamedTuple):
    """A personal value as JSON text, the salt it is sealed with, and the first batch that holds it.

    Once it is erased, text and salt are empty.
    """

    salt: str
    text: str
    number: int = 0


class Sealed(str):
    """What is left of a text that was erased: its digest."""

    __slots__ = ()


def _plain(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a value of type {type(value).__name__} is no JSON value")


to_text = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False, default=_plain).encode
"""Returns a JSON value as text: compact, exact, in the order given."""


class Seal:
    """Seals what is personal in the texts of one batch; the same scope stands in several of them.

    `salt` and `number` are the batch's. `secrets` are those that were sealed so far, by digest.
    """

    __slots__ = ("_digests", "_latest", "number", "salt", "secrets")

    def __init__(self, salt: str, number: int = 0) -> None:
        self.salt, self.number = salt, number
        self.secrets: dict[str, Secret] = {}
        self._digests: dict[str, str] = {}
        self._latest: tuple[Any, Any] = (None, None)

    def text(self, value: Any) -> str:
        """Return a JSON value as text with what is personal sealed.

        Most of what is personal is a field of the value itself; only where its names stand deeper, too, is all
        of the value looked through.
        """
        own = _personal(value) if type(value) is dict or isinstance(value, Mapping) else []
        text = to_text(self._with_sealed(value, own) if own else value)
        for name, written in _NAMES:
            if written in text and text.count(written) > (name in own):
                return to_text(self._sealed(value))
        return text

    def _sealed(self, value: Any) -> Any:
        """Return a value that is no leaf with what is personal in it sealed."""
        if isinstance(value, Mapping):
            return self._sealed_fields(value)
        if not isinstance(value, list | tuple) or _LEAVES.issuperset(map(type, value)):
            return value
        return [inner if type(inner) in _LEAVES else self._sealed(inner) for inner in value]

    def _sealed_fields(self, value: Mapping[str, Any]) -> dict[str, Any]:
        fields = self._with_sealed(value, _personal(value))
        for name, inner in value.items():
            if type(inner) not in _LEAVES and fields[name] is inner:
                fields[name] = self._sealed(inner)
        return fields

    def _with_sealed(self, value: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
        """Return a mapping with some of its fields sealed."""
        fields = dict(value)
        for name in names:
            fields[name] = self._in_place_of(fields[name])
        return fields

    def _in_place_of(self, value: Any) -> Any:
        """Return what stands for a personal value: itself where it says nothing or is sealed already."""
        latest, sealed = self._latest
        if value is not latest:
            is_open = not (is_sealed(value) or value in (None, "", [], {}))
            sealed = {SEALED: self._kept(to_text(value))} if is_open else value
            self._latest = value, sealed
        return sealed

    def _kept(self, text: str) -> str:
        """Return the digest of a secret, which is kept under it."""
        digest = self._digests.get(text)
        if digest is None:
            digest = self._digests[text] = digest_of(text, self.salt)
            self.secrets[digest] = Secret(self.salt, text, self.number)
        return digest


def sealed_text(value: Any, salt: str) -> str:
    """Return a JSON value as text with what is personal sealed; its secrets are kept elsewhere."""
    return Seal(salt).text(value)


def opened_value(text: str, secrets: Mapping[str, Secret]) -> Any:
    """Return the JSON value of a text with every secret that is known put back; the others stay sealed."""
    value = json.loads(text)
    return _opened(value, secrets) if secrets and MARK in text else value


def salt_of(secrets: Mapping[str, Secret]) -> str:
    """Return the salt that secrets are sealed with, empty where none is known."""
    return next((secret.salt for secret in secrets.values() if secret.salt), "") if secrets else ""


def digest_of(text: str, salt: str) -> str:
    """Return the salted digest of a secret's JSON text."""
    return hashlib.sha256(f"{len(salt)}:{salt}{text}".encode()).hexdigest()


def digests_in(text: str | None) -> list[str]:
    """Return the digests that stand in a JSON text."""
    return _DIGESTS.findall(text) if text is not None and MARK in text else []


def is_sealed(value: Any) -> bool:
    """Tell whether a value is the digest of what was erased, or was sealed for keeping."""
    return isinstance(value, Mapping) and value.keys() == {SEALED}


def erased(value: Any, salt: str) -> dict[str, Any]:
    """Return what an erasure leaves of a personal JSON value."""
    return {SEALED: digest_of(to_text(value), salt)}


def _personal(value: Mapping[str, Any]) -> list[str]:
    return [name for name, _ in _NAMES if name in value]


def _opened(value: Any, secrets: Mapping[str, Secret]) -> Any:
    if isinstance(value, dict):
        secret = secrets.get(value[SEALED]) if value.keys() == {SEALED} else None
        if secret is not None and secret.text:
            return json.loads(secret.text)
        return {name: _opened(inner, secrets) for name, inner in value.items()}
    return [_opened(inner, secrets) for inner in value] if isinstance(value, list) else value
