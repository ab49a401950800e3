"""What a customer gains and loses where one catalog replaces another.

Entries are compared as they resolve: a plan with all it inherits, by the same join that decides what
a customer has. What covers the other is more generous; what neither covers has changed. So have the terms
beside them, such as the plans an add-on goes with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal, TypeAlias, TypeVar

import attrs

from ..amounts import MAX_SCALE, Bound, Number, Unlimited, bound_number, canonical, from_units
from ..periods import duration_text
from .diff_terms import (
    NOTHING,
    Terms,
    addon_terms,
    catalog_terms,
    credit_terms,
    feature_terms,
    moved,
    plan_terms,
    promotion_terms,
)
from .model import (
    EMPTY,
    Catalog,
    ConfigValue,
    Entitlement,
    Feature,
    Limit,
    Mode,
    PlanCredit,
    Rate,
    RateCase,
    Rollover,
)
from .standing import Share, Source, Standing, at_least, credits_of, flatten, join, standing_of

T = TypeVar("T")
Change: TypeAlias = Literal["gains", "loses", "changes"]
Given: TypeAlias = Mapping[str, Standing]


@attrs.frozen
class Difference:
    """One thing that a new catalog changes for whoever holds `subject` ("plan:pro", "add-on:seats", "feature:calls").

    `name` is the feature or credit that changes, or the term, as in the file ("trial", "default_plan"); empty where
    the subject itself comes or goes. `before` and `after` are what it was and what it becomes, in a few words.
    """

    kind: Change
    subject: str
    name: str
    before: str
    after: str

    def __str__(self) -> str:
        if not self.name:
            return f"{self.subject} is {self.after}"
        return f"{self.subject} {self.kind} {self.name}: {self.before} -> {self.after}"


def diff(old: Catalog, new: Catalog) -> tuple[Difference, ...]:
    """Return what a customer gains and loses where `new` replaces `old`, in catalog order."""
    return tuple(_Comparison(old, new).differences())


@attrs.frozen
class _Comparison:
    old: Catalog
    new: Catalog

    def differences(self) -> Iterator[Difference]:
        old, new = self.old, self.new
        yield from _terms("catalog", catalog_terms(old), catalog_terms(new))
        yield from self._kept("feature", old.features, new.features, self._feature)
        yield from self._kept("credit", old.credits, new.credits, self._credit)
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
                yield Difference("loses", subject, "", "sold", "removed")
            else:
                yield from compare(subject, key)

    def _kept(
        self,
        kind: str,
        before: Mapping[str, T],
        after: Mapping[str, T],
        compare: Callable[[str, str], Iterator[Difference]],
    ) -> Iterator[Difference]:
        for key in before:
            if key in after:
                yield from compare(f"{kind}:{key}", key)

    def _feature(self, subject: str, key: str) -> Iterator[Difference]:
        before, after = self.old.features[key], self.new.features[key]
        if (before.type, before.value) == (after.type, after.value):
            yield from _terms(subject, feature_terms(before), feature_terms(after))

    def _credit(self, subject: str, key: str) -> Iterator[Difference]:
        yield from _terms(subject, credit_terms(self.old.credits[key]), credit_terms(self.new.credits[key]))

    def _plan(self, subject: str, key: str) -> Iterator[Difference]:
        yield from _terms(subject, plan_terms(self.old.plans[key]), plan_terms(self.new.plans[key]))
        yield from self._features(subject, flatten(self.old, key), flatten(self.new, key))
        before, after = credits_of(self.old, key), credits_of(self.new, key)
        for credit in _both(before, after):
            one = _Granted(before.get(credit), _scale(self.old, credit))
            other = _Granted(after.get(credit), _scale(self.new, credit))
            kind = _granted_change(one, other)
            if kind is not None:
                yield Difference(kind, subject, credit, str(one), str(other))

    def _addon(self, subject: str, key: str) -> Iterator[Difference]:
        yield from _terms(subject, addon_terms(self.old.addons[key]), addon_terms(self.new.addons[key]))
        yield from self._entries(subject, self.old.addons[key].entitlements, self.new.addons[key].entitlements)

    def _promotion(self, subject: str, key: str) -> Iterator[Difference]:
        before, after = self.old.promotions[key], self.new.promotions[key]
        yield from _terms(subject, promotion_terms(before), promotion_terms(after))
        yield from self._entries(subject, self.old.promotions[key].entitlements, self.new.promotions[key].entitlements)

    def _rate(self, subject: str, key: str) -> Iterator[Difference]:
        before, after = self.old.rates[key], self.new.rates[key]
        if before != after:
            yield Difference("changes", subject, key, _priced(before), _priced(after))

    def _entries(
        self, subject: str, before: Mapping[str, Entitlement], after: Mapping[str, Entitlement]
    ) -> Iterator[Difference]:
        source = Source("add-on", subject)
        one, other = ({key: standing_of(source, entry) for key, entry in side.items()} for side in (before, after))
        modes = {key: (before[key].mode, after[key].mode) for key in before if key in after}
        yield from self._features(subject, one, other, {key: both for key, both in modes.items() if len({*both}) > 1})

    def _features(
        self, subject: str, before: Given, after: Given, modes: Mapping[str, tuple[Mode, Mode]] = EMPTY
    ) -> Iterator[Difference]:
        for key in _both(self.old.features, self.new.features):
            if key not in before and key not in after:
                continue
            one = _Side(self.old.features.get(key), before.get(key))
            other = _Side(self.new.features.get(key), after.get(key))
            kind = "changes" if key in modes else _change(one, other)
            if kind is not None:
                yield Difference(kind, subject, key, *_told_apart(str(one), str(other), modes.get(key)))


def _terms(subject: str, before: Terms, after: Terms) -> Iterator[Difference]:
    for name, one in before.items():
        if one != after[name]:
            yield Difference(moved(one, after[name]), subject, name, one.text, after[name].text)


def _told_apart(one: str, other: str, modes: tuple[Mode, Mode] | None) -> tuple[str, str]:
    """Return what two entries say; with their modes, where that is all that differs."""
    return (f"{one} ({modes[0]})", f"{other} ({modes[1]})") if modes is not None and one == other else (one, other)


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


@attrs.frozen
class _Granted:
    """What one catalog grants of a credit."""

    terms: PlanCredit | None
    scale: int

    @property
    def amount(self) -> Number:
        """The amount of each period."""
        return from_units(self.terms.grant, self.scale) if self.terms is not None else 0

    def __str__(self) -> str:
        if self.terms is None:
            return NOTHING
        often = self.terms.every if self.terms.count == 1 else f"{self.terms.count} {self.terms.every}s"
        texts = [f"{canonical(self.amount)} per {often}"]
        if self.terms.category != "paid":
            texts.append(self.terms.category)
        if self.terms.priority != 50:
            texts.append(f"priority {self.terms.priority}")
        if self.terms.cost_basis is not None:
            texts.append(f"cost basis {canonical(self.terms.cost_basis)}")
        if self.terms.rollover is not None:
            texts.append(_rollover_text(self.terms.rollover, self.scale))
        if self.terms.allowance != "full":
            texts.append(f"allowance {self.terms.allowance.replace('_', ' ')}")
        if self.terms.unused != "keep":
            texts.append(f"unused {self.terms.unused}")
        return ", ".join(texts)


def _scale(catalog: Catalog, credit: str) -> int:
    return catalog.credits[credit].scale if credit in catalog.credits else 0


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
    if any(all(isinstance(limit.amount, Unlimited) for limit in share.limits) for share in fine.shares):
        return True
    return _allowed(join(feature, fine, other)) == _allowed(fine)


def _allowed(standing: Standing) -> frozenset[frozenset[Limit]]:
    return frozenset(frozenset(share.limits) for share in standing.shares)


def _at_scale(standing: Standing, scale: int) -> Standing:
    """Return a standing with its amounts at the finest scale, so that two catalogs' amounts compare."""
    times = 10 ** (MAX_SCALE - scale)

    def finer(limit: Limit) -> Limit:
        amount = limit.amount if isinstance(limit.amount, Unlimited) else limit.amount * times
        return attrs.evolve(limit, amount=amount, ceiling=None if limit.ceiling is None else limit.ceiling * times)

    shares = tuple(Share(share.source, tuple(finer(limit) for limit in share.limits)) for share in standing.shares)
    return attrs.evolve(standing, shares=shares)


def _granted_change(one: _Granted, other: _Granted) -> Change | None:
    if one.terms is None or other.terms is None:
        return "gains" if one.terms is None else "loses"
    if attrs.evolve(one.terms, grant=0) != attrs.evolve(other.terms, grant=0):
        return "changes"
    before, after = one.amount, other.amount
    return None if before == after else "gains" if after > before else "loses"


def _rollover_text(rollover: Rollover, scale: int) -> str:
    part = "" if rollover.fraction == 1 else f" a part of {canonical(rollover.fraction)}"
    most = "" if rollover.max is None else f" up to {canonical(from_units(rollover.max, scale))}"
    life = "" if rollover.expires_after is None else f" for {duration_text(rollover.expires_after)}"
    return f"rolls over{part}{most}{life}{'' if rollover.times == 1 else f' {rollover.times} times'}"


def _limit_text(limit: Limit, scale: int) -> str:
    period = "" if limit.period.every == "none" else f" per {limit.period}"
    depletion = "" if limit.depletion == "hard" else f", {limit.depletion}"
    ceiling = "" if limit.ceiling is None else f" up to {_bound_text(limit.ceiling, scale)}"
    return f"{_bound_text(limit.amount, scale)}{period}{depletion}{ceiling}"


def _bound_text(bound: Bound, scale: int) -> str:
    number = bound_number(bound, scale)
    return "unlimited" if isinstance(number, Unlimited) else canonical(number)


def _value_text(value: ConfigValue | None) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "an empty list"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _priced(rate: Rate) -> str:
    per = "" if rate.per == 1 and not rate.whole else f" per {'begun ' * rate.whole}{canonical(rate.per)}"
    per += "" if rate.round == "up" else f", rounded {rate.round}"
    cases = [f"{_case_text(case)} {canonical(case.price)}" for case in rate.when]
    default = [] if rate.price is None else [canonical(rate.price)]
    return f"{', '.join([*default, *cases])} {rate.credit}{per}"


def _case_text(case: RateCase) -> str:
    return " ".join(f"{name}={value}" for name, value in case.match.items())
