"""What a customer gains and loses where one catalog replaces another.

Entries are compared as they resolve: a plan with all it inherits, by the same join that decides what
a customer has. What covers the other is more generous; what neither covers has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Literal, TypeAlias, TypeVar

import attrs

from ..amounts import MAX_SCALE, Bound, Unlimited, bound_number, canonical, from_units
from .model import (
    EMPTY,
    Catalog,
    ConfigValue,
    Credit,
    Entitlement,
    Feature,
    Limit,
    PlanCredit,
    Rate,
    Rollover,
)
from .standing import Share, Source, Standing, at_least, flatten, join, standing_of

T = TypeVar("T")
Change: TypeAlias = Literal["gains", "loses", "changes"]
Given: TypeAlias = Mapping[str, Standing]
NOTHING: Final = "nothing"


@attrs.frozen
class Difference:
    """One thing that a new catalog changes for whoever holds `subject` ("plan:pro", "add-on:seats").

    `name` is the feature or credit that changes, empty where the subject itself comes or goes;
    `before` and `after` are what it was and what it becomes, in a few words.
    """

    kind: Change
    subject: str
    name: str
    before: str
    after: str

    def __str__(self) -> str:
        about = f"{self.subject} {self.kind} {self.name}" if self.name else f"{self.subject} {self.kind}"
        return f"{about}: {self.before} -> {self.after}"


def diff(old: Catalog, new: Catalog) -> tuple[Difference, ...]:
    """Return what a customer gains and loses where `new` replaces `old`, in catalog order."""
    return tuple(_Comparison(old, new).differences())


@attrs.frozen
class _Comparison:
    old: Catalog
    new: Catalog

    def differences(self) -> Iterator[Difference]:
        old, new = self.old, self.new
        yield from self._sections("plan", old.plans, new.plans, self._plan)
        yield from self._sections("add-on", old.addons, new.addons, self._addon)
        yield from self._sections("promotion", old.promotions, new.promotions, self._promotion)
        yield from self._sections("rate", old.rates, new.rates, self._rate)

    def _sections(
        self,
        kind: str,
        before: Mapping[str, T],
        after: Mapping[str, T],
        compare: Callable[[str, str], Iterator[Difference]],
    ) -> Iterator[Difference]:
        for key in _both(before, after):
            subject = f"{kind}:{key}"
            if key not in before:
                yield Difference("gains", subject, "", NOTHING, "added")
            elif key not in after:
                yield Difference("loses", subject, "", "there", "removed")
            else:
                yield from compare(subject, key)

    def _plan(self, subject: str, key: str) -> Iterator[Difference]:
        yield from self._features(subject, flatten(self.old, key), flatten(self.new, key))
        before, after = self.old.plans[key].credits, self.new.plans[key].credits
        for credit in _both(before, after):
            one = before.get(credit), self.old.credits.get(credit)
            other = after.get(credit), self.new.credits.get(credit)
            yield from _credit_difference(subject, credit, one, other)

    def _addon(self, subject: str, key: str) -> Iterator[Difference]:
        yield from self._entries(subject, self.old.addons[key].entitlements, self.new.addons[key].entitlements)

    def _promotion(self, subject: str, key: str) -> Iterator[Difference]:
        yield from self._entries(subject, self.old.promotions[key].entitlements, self.new.promotions[key].entitlements)

    def _rate(self, subject: str, key: str) -> Iterator[Difference]:
        before, after = self.old.rates[key], self.new.rates[key]
        if before != after:
            yield Difference("changes", subject, after.credit, _priced(before), _priced(after))

    def _entries(
        self, subject: str, before: Mapping[str, Entitlement], after: Mapping[str, Entitlement]
    ) -> Iterator[Difference]:
        source = Source("add-on", subject)
        one, other = ({key: standing_of(source, entry) for key, entry in side.items()} for side in (before, after))
        adding = [key for key in before if key in after and before[key].mode != after[key].mode]
        yield from self._features(subject, one, other, differing=adding)

    def _features(
        self, subject: str, before: Given, after: Given, differing: Iterable[str] = ()
    ) -> Iterator[Difference]:
        for key in _both(self.old.features, self.new.features):
            if key not in before and key not in after:
                continue
            one = _Side(self.old.features.get(key), before.get(key))
            other = _Side(self.new.features.get(key), after.get(key))
            kind = "changes" if key in differing else _change(one, other)
            if kind is not None:
                yield Difference(kind, subject, key, str(one), str(other))


@attrs.frozen
class _Side:
    """What one catalog gives for a feature."""

    feature: Feature | None
    standing: Standing | None

    @property
    def empty(self) -> bool:
        """Whether this is as good as nothing."""
        if self.standing is None or self.feature is None:
            return True
        return self.feature.type == "boolean" and self.standing.value is False

    def __str__(self) -> str:
        if self.standing is None or self.feature is None:
            return NOTHING
        if self.feature.type == "metered":
            scale = self.feature.scale
            return " or ".join(
                " and ".join(_limit_text(limit, scale) for limit in share.limits) for share in self.standing.shares
            )
        return _value_text(self.standing.value)


def _both(before: Iterable[str], after: Iterable[str]) -> dict[str, None]:
    return dict.fromkeys([*before, *after])


def _change(one: _Side, other: _Side) -> Change | None:
    if one.empty or other.empty:
        return None if one.empty and other.empty else "gains" if one.empty else "loses"
    if one.feature is None or other.feature is None or one.feature.type != other.feature.type:
        return "changes"
    more, less = _covers(other, one), _covers(one, other)
    if more and less:
        return None
    return "gains" if more else "loses" if less else "changes"


def _covers(wide: _Side, narrow: _Side) -> bool:
    """Tell whether one side gives all that the other gives."""
    feature, mine, theirs = wide.feature, wide.standing, narrow.standing
    if feature is None or narrow.feature is None or mine is None or theirs is None:
        return False
    if feature.type != "metered":
        return mine.value is not None and theirs.value is not None and at_least(feature, mine.value, theirs.value)
    fine, other = _at_scale(mine, feature.scale), _at_scale(theirs, narrow.feature.scale)
    if any(isinstance(limit.amount, Unlimited) for share in fine.shares for limit in share.limits[:1]):
        return all(len(share.limits) == 1 for share in fine.shares)
    return _allowed(join(feature, fine, other)) == _allowed(fine)
