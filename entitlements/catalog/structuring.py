"""One strict cattrs converter: plain data to the `written` values, and its errors as findings.

Nothing is coerced, no key is ignored, and everything that is wrong is reported, not the first alone.
"""

from __future__ import annotations

from collections import abc
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from functools import cache
from types import MappingProxyType, NoneType
from typing import Any, Final, Literal, TypeAlias, TypeVar, cast, get_args, get_origin

import attrs
from cattrs import (
    BaseValidationError,
    ClassValidationError,
    Converter,
    ForbiddenExtraKeysError,
    IterableValidationError,
)
from cattrs.errors import IterableValidationNote
from cattrs.gen import make_dict_structure_fn

from ..errors import shown
from . import words
from .findings import Finding, Path, near
from .model import (
    Aggregate,
    AllowanceOnChange,
    Category,
    ConfigType,
    Depletion,
    FeatureType,
    Mode,
    OnUnavailable,
    Period,
    Rounding,
    TrialTerms,
    Unused,
)
from .words import Misfit, Misfits, misfit
from .written import (
    ABSENT,
    Align,
    BurnOrder,
    CreditEvery,
    Entries,
    Entry,
    Every,
    Keys,
    Metadata,
    OneOrMore,
    PlanVersion,
    Price,
    Scale,
    Shorthand,
    WrittenCase,
    WrittenEntitlement,
    WrittenLimit,
    WrittenPeriod,
    WrittenPlanCredit,
    WrittenRate,
)

T = TypeVar("T")
Hook = Callable[[Any, Any], Any]
StandIns: TypeAlias = Mapping[Any, Mapping[str, Any]]

_NOUNS: Final[Mapping[Any, str]] = {
    FeatureType: "a feature type",
    ConfigType: "a config type",
    Aggregate: "an aggregate",
    Depletion: "a depletion",
    Mode: "a mode",
    Category: "a category",
    OnUnavailable: "an on_unavailable",
    Rounding: "a way to round",
    AllowanceOnChange: "an allowance",
    Unused: "a word for unused",
    Every: "a period",
    CreditEvery: "a period for credits",
    Align: "an align",
    PlanVersion: "a plan version",
}
_RESET: Final = "a period such as month, or {every: month, count: 1, align: calendar}"


def structured(value: object, kind: type[T]) -> T:
    """Return plain data as a `written` value; raises cattrs' BaseValidationError or Misfit."""
    return _CONVERTER.structure(value, kind)


def structured_in_part(value: object, kind: type[T]) -> T:
    """Return what `structured` does, where something stands in for each key that must be there and is not."""
    return _in_part().structure(value, kind)


def findings_of(error: BaseException, path: Path = ()) -> Iterator[Finding]:
    """Yield a finding for everything in what `structured` raised."""
    if isinstance(error, ClassValidationError):
        yield from _entry_findings(error, path)
    elif isinstance(error, IterableValidationError):
        for inner, note in error.group_exceptions()[0]:
            yield from findings_of(inner, (*path, note.index))
    elif isinstance(error, _BadKey):
        yield Finding(path, str(error), at_key=True, kept=True)
    elif isinstance(error, Misfits):
        yield from (Finding((*path, *misfit.inside), str(misfit)) for misfit in error.misfits)
    elif isinstance(error, Misfit):
        yield Finding((*path, *error.inside), str(error))
    else:
        raise error


class _BadKey(Misfit):
    """A key that is no text."""


def _entry_findings(error: ClassValidationError, path: Path) -> Iterator[Finding]:
    placed, loose = error.group_exceptions()
    known = [field.name for field in attrs.fields(error.cl)]
    meant = set()
    for extra in (key for one in loose if isinstance(one, ForbiddenExtraKeysError) for key in one.extra_fields):
        finding, guess = _unknown_key(extra, known, path)
        meant.add(guess)
        yield finding
    for inner, note in placed:
        if not isinstance(inner, KeyError):
            yield from findings_of(inner, (*path, note.name))
        elif near(note.name, [note.name]) not in meant:
            yield Finding((*path, note.name), f"needs the key {note.name!r}{_choices(note.type)}")


def _unknown_key(extra: object, known: list[str], path: Path) -> tuple[Finding, str]:
    if not isinstance(extra, str):
        return Finding((*path, words.key_word(extra)), words.no_text(extra), at_key=True), ""
    guess = near(extra, known)
    message = f"unknown key {shown(extra)}{guess or '; the keys here are ' + ', '.join(known)}"
    return Finding((*path, extra), message, at_key=True), guess


def _choices(kind: Any) -> str:
    return f": {words.one_of(get_args(kind))}" if get_origin(kind) is Literal else ""


def _listed(items: Iterable[Any], convert: Callable[[Any], Any], kind: Any) -> tuple[Any, ...]:
    done, errors = [], []
    for index, item in enumerate(items):
        try:
            done.append(convert(item))
        except (Misfit, BaseValidationError) as error:
            errors.append(_placed(error, index, kind))
    return _unless(errors, tuple(done), kind)


def _keyed(items: Mapping[Any, Any], convert: Callable[[str, Any], Any], kind: Any) -> dict[str, Any]:
    """Return what each entry converts to; one whose key is wrong is read all the same."""
    done, errors = {}, []
    for key, item in items.items():
        word = words.key_word(key)
        if not isinstance(key, str):
            errors.append(_placed(_BadKey(words.no_text(key)), word, kind))
        try:
            done[word] = convert(word, item)
        except (Misfit, BaseValidationError) as error:
            errors.append(_placed(error, word, kind))
    return _unless(errors, done, kind)


def _placed(error: Exception, index: Any, kind: Any) -> Exception:
    error.add_note(IterableValidationNote("entry", index, kind))
    return error


def _unless(errors: list[Exception], done: T, kind: Any) -> T:
    if errors:
        raise IterableValidationError("while reading a catalog", errors, kind)
    return done


def _mapping(value: object, convert: Hook, kind: Any, wanted: str) -> Mapping[str, Any]:
    return MappingProxyType(_keyed(words.mapped(value, wanted), lambda _, item: convert(item, kind), kind))


def _list(value: object, convert: Hook, kind: Any, wanted: str = "a list") -> tuple[Any, ...]:
    return _listed(words.listed(value, wanted), lambda item: convert(item, kind), kind)


def _entry(converter: Converter, kind: type[Any], stand_ins: StandIns) -> Hook:
    generated = make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=True)
    wanted = f"a mapping with keys such as {', '.join(field.name for field in attrs.fields(kind)[:3])}"
    if kind not in stand_ins:
        return lambda value, _: generated(words.mapped(value, wanted), kind)
    return lambda value, _: generated({**stand_ins[kind], **words.mapped(value, wanted)}, kind)


def _optional(converter: Converter, kind: Any) -> Hook:
    (inner,) = (part for part in get_args(kind) if part is not NoneType)
    return converter.get_structure_hook(inner)


def _word(kind: Any) -> Hook:
    noun, choices = _NOUNS[kind], get_args(kind)
    return lambda value, _: words.word(value, noun, choices)


def _section(converter: Converter, kind: Any) -> Hook:
    inner = get_args(kind)[1]
    convert = converter.get_structure_hook(inner)
    return lambda value, _: _mapping(value, convert, inner, "a mapping from keys to entries")


def _tuple(converter: Converter, kind: Any) -> Hook:
    inner = get_args(kind)[0]
    convert = converter.get_structure_hook(inner)
    return lambda value, _: _list(value, convert, inner)


def _scalar(convert: Callable[[object], Any]) -> Hook:
    return lambda value, _: convert(value)


def _text(value: object, _: Any = None) -> str:
    return words.text(value)


def _keys(value: object, _: Any = None) -> Keys:
    return Keys(_list(value, _text, str, "a list of keys"))


def _one_or_more(value: object, _: Any = None) -> OneOrMore:
    return OneOrMore((words.text(value),) if isinstance(value, str) else _list(value, _text, str, "a key or a list"))


def _burn_order(value: object, _: Any = None) -> BurnOrder:
    return words.text(value) if isinstance(value, str) else _list(value, _text, str, "an order or a list of keys")


def _period(converter: Converter, stand_ins: StandIns) -> Hook:
    generated = _entry(converter, WrittenPeriod, stand_ins)

    def hook(value: object, _: Any = None) -> Period:
        if isinstance(value, Mapping):
            written = generated(value, WrittenPeriod)
            return Period(written.every, written.count, written.align)
        if not isinstance(value, str):
            raise misfit(value, _RESET)
        return Period(words.word(value, _NOUNS[Every], get_args(Every)))  # type: ignore[arg-type]

    return hook


def _entries(converter: Converter) -> Hook:
    generated = _entry(converter, WrittenEntitlement, {})

    def one(value: object, kind: Any) -> Entry:
        return cast("WrittenEntitlement", generated(value, kind)) if isinstance(value, Mapping) else Shorthand(value)

    return lambda value, _: _mapping(value, one, WrittenEntitlement, "a mapping from features to entitlements")


def _case(value: object, absent: object = ABSENT) -> WrittenCase:
    def part(key: str, item: object) -> Any:
        if item is ABSENT:
            raise Misfit("needs the key 'price'")
        return words.price_number(item) if key == "price" else words.text(item)

    written = {"price": absent, **words.mapped(value, "a mapping such as {model: large, price: 4}")}
    parts = _keyed(written, part, WrittenCase)
    price = parts.pop("price")
    return WrittenCase(MappingProxyType(parts), price)


def _generic(origin: type[Any]) -> Callable[[Any], bool]:
    def is_one(kind: Any) -> bool:
        found: Any = get_origin(kind)
        return found is origin

    return is_one


def _converter(stand_ins: StandIns) -> Converter:
    converter = Converter(forbid_extra_keys=True, detailed_validation=True)
    register = converter.register_structure_hook
    for kind, convert in _SCALARS.items():
        register(kind, _scalar(convert))
    for kind, hook in _SHAPES.items():
        register(kind, hook)
    register_factory = converter.register_structure_hook_factory
    register_factory(attrs.has, lambda kind: _entry(converter, kind, stand_ins))
    register_factory(_generic(abc.Mapping), lambda kind: _section(converter, kind))
    register_factory(_generic(tuple), lambda kind: _tuple(converter, kind))
    register_factory(lambda kind: kind in _NOUNS, _word)
    register_factory(lambda kind: NoneType in get_args(kind), lambda kind: _optional(converter, kind))
    converter.register_structure_hook_func(lambda kind: kind == BurnOrder, _burn_order)
    register(WrittenCase, lambda value, _: _case(value, **stand_ins.get(WrittenCase, {})))
    register(Period, _period(converter, stand_ins))
    register(Entries, _entries(converter))
    return converter


_SCALARS: Final[Mapping[Any, Callable[[object], Any]]] = {
    str: words.text,
    int: words.integer,
    bool: words.boolean,
    Decimal: words.price_number,
    timedelta: words.duration,
    Price: words.display_price,
    Scale: words.scale,
    Metadata: words.metadata,
}
_SHAPES: Final[Mapping[Any, Hook]] = {Keys: _keys, OneOrMore: _one_or_more}
_STAND_INS: Final[StandIns] = {
    TrialTerms: {"days": 1},
    WrittenCase: {"absent": 0},
    WrittenLimit: {"limit": "unlimited"},
    WrittenPeriod: {"every": "hour"},
    WrittenPlanCredit: {"grant": 1, "every": "day"},
    WrittenRate: {"credit": ""},
}
"""For each key that must be there a value that nothing beside it is wrong for: the periods of the largest counts."""
_CONVERTER: Final = _converter({})


@cache
def _in_part() -> Converter:
    return _converter(_STAND_INS)
