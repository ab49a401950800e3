"""Every exception of the library.

    EntitlementsError
    ├── CatalogError                      all problems of a catalog at once
    ├── UnknownFeature, UnknownPlan, UnknownAddOn, UnknownPromotion,
    │   UnknownCredit, UnknownCustomer, UnknownBlock, UnknownHold, UnknownBudget (also LookupError)
    ├── UnknownPrice                      a rate has no price for what was used (also LookupError)
    ├── NotSubscribed                     nothing to change, cancel or remove (also LookupError)
    ├── AlreadySubscribed                 the product is held already
    ├── AddOnRefused                      an add-on's own rules forbid it here
    ├── NotConfigured                     no default engine yet
    ├── EntitlementDenied                 raised only on request; carries the Decision
    ├── IdempotencyConflict               a key came back with another request
    ├── KeyUsed                           work under a client's key is under way or done
    ├── HoldExpired, HoldClosed
    ├── AmountError                       not an amount (also ValueError)
    └── StorageError
        ├── StorageUnavailable            nothing was written; try again
        ├── OutcomeUnknown                ask again with the same key
        └── LogCorrupt                    an invariant of the log does not hold

An expected outcome is never an exception: a denial is a `Decision`. What is here is misuse
by the caller, or a fact about a broken world.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .catalog.problems import Problem
    from .decisions import Decision


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the known word nearest to `word`, or nothing."""
    near = nearest(word, known)
    return "" if near is None else f"; did you mean {near!r}?"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word nearest to `word`, in whatever case, if one is near."""
    folded = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(word[:80].casefold(), folded, n=1)
    return folded[near[0]] if near else None


def shown(word: str) -> str:
    """Return `word` as it may stand in a message: quoted, escaped and cut to 80 characters."""
    return ascii(word if len(word) <= 80 else word[:79] + "…")


class EntitlementsError(Exception):
    """The parent of all exceptions of this library; one that was pickled or copied says and carries the same."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.args), {key: kept for key, kept in vars(self).items() if key != "__notes__"}


def _again(kind: type[EntitlementsError], said: tuple[object, ...]) -> EntitlementsError:
    """Return an exception as it was made; what `__init__` takes makes a message, and is not the message."""
    return kind.__new__(kind, *said)


class CatalogError(EntitlementsError):
    """A catalog cannot be used; `problems` lists everything that is wrong with it, in file order."""

    def __init__(self, problems: Sequence[Problem], *, origin: str = "the catalog") -> None:
        self.problems = tuple(problems)
        self.origin = origin
        count = f"{len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"
        super().__init__("\n".join([f"{count} in {origin}", *(f"  {problem}" for problem in self.problems)]))


def near_or_some(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?", or, where none is near, up to five of those known: "; there are 'a', 'b', …".

    Where none is known: "; the catalog declares none".
    """
    names = list(known)
    if not names:
        return "; the catalog declares none"
    near = did_you_mean(word, names)
    if near:
        return near
    more = ", …" if len(names) > 5 else ""
    return f"; there {'is' if len(names) == 1 else 'are'} {', '.join(shown(name) for name in names[:5])}{more}"


class _Unknown(EntitlementsError, LookupError):
    noun = "name"
    suggested = staticmethod(did_you_mean)

    def __init__(self, word: str, known: Iterable[str] | None = None, *, hint: str = "") -> None:
        self.word = word
        text = f"unknown {self.noun} {shown(word)}{'' if known is None else self.suggested(word, known)}"
        super().__init__(f"{text}; {hint}" if hint else text)


class UnknownFeature(_Unknown):
    """The catalog names no such feature."""

    noun = "feature"
    suggested = staticmethod(near_or_some)


class UnknownPlan(_Unknown):
    """The catalog names no such plan."""

    noun = "plan"
    suggested = staticmethod(near_or_some)


class UnknownAddOn(_Unknown):
    """The catalog names no such add-on."""

    noun = "add-on"
    suggested = staticmethod(near_or_some)


class UnknownPromotion(_Unknown):
    """The catalog names no such promotion."""

    noun = "promotion"
    suggested = staticmethod(near_or_some)


class UnknownCredit(_Unknown):
    """The catalog names no such credit."""

    noun = "credit"
    suggested = staticmethod(near_or_some)


class UnknownCustomer(_Unknown):
    """No log was ever opened for this customer."""

    noun = "customer"


class UnknownBlock(_Unknown):
    """No block of this customer has that id."""

    noun = "block"


class UnknownBudget(EntitlementsError, LookupError):
    """There is no budget on that scope, subject and period."""


class UnknownHold(_Unknown):
    """No hold of this customer has that id."""

    noun = "hold"


class UnknownPrice(EntitlementsError, LookupError):
    """The rate of a feature has no price for what was used."""


class NotSubscribed(EntitlementsError, LookupError):
    """The customer does not hold what was to be changed, cancelled or removed."""


class AlreadySubscribed(EntitlementsError):
    """The customer already holds a plan of that product."""


class AddOnRefused(EntitlementsError, ValueError):
    """The add-on's own rules (plans, requires, excludes) forbid it for this customer now."""


class NotConfigured(EntitlementsError):
    """A module function was called before `configure()`."""


class EntitlementDenied(EntitlementsError):
    """A denial that the caller asked to have raised; `decision` is the whole answer."""

    def __init__(self, decision: Decision) -> None:
        self.decision = decision
        super().__init__(decision.reason)


class IdempotencyConflict(EntitlementsError):
    """A key was used before, for another request; `field` is the first that differs."""

    def __init__(self, field: str, first: object, second: object, *, key: str = "") -> None:
        self.field, self.first, self.second = field, first, second
        super().__init__(
            f"key {shown(key)} was used before with {field} = {first!r}, now {field} = {second!r}; "
            "nothing was done: use a new key for a new request"
        )


class KeyUsed(EntitlementsError):
    """Work that may be done only once under a key is "under way" or "done"; `state` says which."""

    def __init__(self, key: str, state: str) -> None:
        self.key, self.state = key, state
        super().__init__(f"the work under key {shown(key)} is {state}; use a new key for a new request")


class HoldExpired(EntitlementsError):
    """The hold's life ended before it was settled, and it refuses late settling."""


class HoldClosed(EntitlementsError):
    """The hold was settled or released before; `state` says which."""

    def __init__(self, hold: str, state: str) -> None:
        self.state = state
        super().__init__(f"hold {shown(hold)} is already {state}; a hold is settled or released once")


class AmountError(EntitlementsError, ValueError):
    """A value is not an amount: negative, not a number, too fine for its scale, or too large."""


class StorageError(EntitlementsError):
    """The storage failed; the driver's exception is the cause."""


class StorageUnavailable(StorageError):
    """The storage could not be reached or locked in time; nothing was written."""


class OutcomeUnknown(StorageError):
    """A commit failed in a way that may have happened or not; ask again with the same `key`."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(f"it is not known whether batch {shown(key)} was committed; call again with the same key")


class LogCorrupt(StorageError):
    """An invariant of a customer's log does not hold; nothing was written."""
