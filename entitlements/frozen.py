"""Frozen JSON values: what a log and a head hold, as mappings and lists that nobody can change.

They are dicts and lists to whoever reads, compares, prints or encodes them. A deep copy of one, and what a
pickle brings back, is a plain dict or list, all the way down: it is the caller's own.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn


class FrozenDict(dict[str, Any]):
    """A dict that stays as it is; changing it raises TypeError."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


class FrozenList(list[Any]):
    """A list that stays as it is; changing it raises TypeError."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)


def frozen(value: Any) -> Any:
    """Return a JSON value with every dict and list in it frozen; all else in it stays the very same."""
    kind = type(value)
    if kind is dict:
        opened = {name: frozen(inner) for name, inner in value.items() if type(inner) in _OPEN}
        return FrozenDict({**value, **opened} if opened else value)
    if kind is list:
        return FrozenList(value if _OPEN.isdisjoint(map(type, value)) else map(frozen, value))
    return value


def _refuse(self: object, *_: object, **__: object) -> NoReturn:
    kind = "dict" if isinstance(self, dict) else "list"
    raise TypeError(f"this {kind} is as it was asked or booked, and stays so; change a copy of it, by copy.deepcopy")


_OPEN: Final = frozenset({dict, list})
_CHANGING: Final = (
    (FrozenDict, ("__setitem__", "__delitem__", "__ior__", "clear", "pop", "popitem", "setdefault", "update")),
    (
        FrozenList,
        (
            "__setitem__", "__delitem__", "__iadd__", "__imul__", "append", "clear", "extend", "insert", "pop",
            "remove", "reverse", "sort",
        ),
    ),
)  # fmt: skip
for _kind, _names in _CHANGING:
    for _name in _names:
        setattr(_kind, _name, _refuse)
