"""What happens next in a story, drawn from what the customer has at that moment; each step is plain data."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

import attrs

from entitlements import Entitlements

from . import catalogs
from .catalogs import ADDONS, CREDITS, FEATURES, METERED, PLANS, PROMOTIONS, SUMMED

CUSTOMER = "acme"
STARTS = (
    datetime(2026, 1, 31, 12, tzinfo=UTC),
    datetime(2026, 3, 28, 23, 30, tzinfo=UTC),
    datetime(2026, 10, 30, 6, tzinfo=UTC),
    datetime(2024, 2, 29, 0, tzinfo=UTC),
)
ZONES = ("UTC", "UTC", "Europe/Berlin", "America/New_York", "Asia/Tokyo")
SCOPES = (
    None, None, None, "team:x", {"team": "x", "user": "ann"}, {"team": "x", "user": "ann", "agent": "b"},
    {"user": "ann"}, {"team": "y", "user": "bob"}, {"user": "ann", "team": "x"},
)  # fmt: skip
SPANS = (0, 0, 0, 1, 60, 3600, 3600, 6 * 3600, 86400, 86400, 2 * 86400, 7 * 86400, 20 * 86400, 31 * 86400)
WEIGHTS = {
    "wait": 12, "sweep": 2, "reopen": 2, "catalog": 1,
    "subscribe": 7, "change_plan": 7, "cancel": 3, "set_status": 2, "start_trial": 3, "add_addon": 3,
    "remove_addon": 1, "promote": 2, "override": 4, "remove_override": 1, "set_budget": 6, "remove_budget": 1,
    "consume": 16, "record": 5, "free": 4, "reset_usage": 1, "correct_usage": 3, "reserve": 8, "consume_many": 3,
    "grant_credits": 10, "consume_credits": 10, "reserve_credits": 8, "settle": 8, "release": 3, "refund": 8,
    "void_block": 2, "erase": 1, "repeat": 3, "mutated": 2,
}  # fmt: skip
FREELY = {"back", "catalog", "erase", "sweep"}


@attrs.define
class Step:
    """One verb with its arguments, what the clock shows then, and of whom it is."""

    at: datetime
    verb: str
    told: dict
    who: str = CUSTOMER

    def __str__(self) -> str:
        told = ", ".join(f"{name}={value!r}" for name, value in self.told.items())
        return f"{self.at:%Y-%m-%d %H:%M:%S.%f} {self.verb}({told})"


class Drawer:
    """Draws one step after another; `ent` is looked at, and never written to."""

    def __init__(
        self, seed: object, document: dict, start: datetime, without: frozenset = frozenset(), who: str = CUSTOMER
    ) -> None:
        self.draw, self.document, self.without, self.who = Random(f"{seed} steps"), document, without, who
        self.now, self.made, self.done = start, 0, []
        self.keys, self.holds, self.blocks = [], [], []
        self.weights = {verb: weight for verb, weight in WEIGHTS.items() if verb not in without}
        self.weights |= {verb: self.draw.choice([0, 1, 1, 3]) * weight for verb, weight in self.weights.items()}
        self.weights["wait"] = 12
        self.features, self.credits = self.draw.sample(METERED, 3), self.draw.sample([*CREDITS], 2)
        self.large = self.draw.choice([[]] * 7 + [[2**31, 2**62, 2**63 - 1]])
        self.begun = self.draw.choice([0, 1, 3, 3, 3])

    def next(self, ent: Entitlements) -> Step:
        """Return the next step."""
        self.ent, self.head = ent, ent._storage.state(self.who, lambda _: ()).head
        self.blocks += [block for block in self.head.blocks if block not in self.blocks]
        verb = self.draw.choices([*self.weights], [*self.weights.values()])[0]
        if verb == "wait" or self.draw.random() < 0.25:
            self._move()
        if self.begun:
            verb, self.begun = ("subscribe", "grant_credits", "grant_credits")[self.begun - 1], self.begun - 1
        told = getattr(self, f"_{verb}", lambda: None)()
        if verb in {"repeat", "mutated"}:
            if told is None:
                return Step(self.now, "wait", {})
            verb, told = told
        elif told is None:
            verb, told = "wait", {}
        return Step(self.now, verb, told)

    def heard(self, step: Step, took: bool) -> None:
        """Take note of a step that went well, and whether it took anything that may be refunded."""
        key = step.told.get("key")
        if key is not None and step.verb not in {"wait", "sweep", "reopen", "catalog", "consume_many"}:
            self.done.append(step)
            if step.verb in {"reserve", "reserve_credits"}:
                self.holds.append(key)
            if step.verb == "grant_credits":
                self.blocks.append(key)
        if took:
            self.keys.append(step.told.get("hold_id", key))

    # Time

    def edges(self) -> list[datetime]:
        """Return the instants to come at which something begins or ends."""
        head, found = self.head, []
        for block in head.blocks.values():
            found += [block.effective_at, block.expires_at]
        found += [hold.ends_at for hold in head.holds.values()]
        for section in attrs.asdict(head.facts, recurse=False).values():
            for fact in section:
                found += [fact.since, fact.until]
        for rows in head.grants.values():
            for row in rows:
                found += [row.since, row.until, row.period(max(self.now, row.anchor)).end]
        for feature in self.draw.sample(METERED, 2):
            found.append(self.ent.check(self.who, feature, requested="1").resets_at)
        return sorted({instant for instant in found if instant is not None and instant > self.now})

    def _move(self) -> None:
        edges = self.edges()
        if "back" not in self.without and self.draw.random() < 0.05:
            self.now -= timedelta(seconds=self.draw.choice([1, 3600, 86400, 8 * 86400]))
        elif edges and self.draw.random() < 0.55:
            off = self.draw.choice([timedelta(0)] * 4 + [timedelta(microseconds=-1), timedelta(seconds=1)])
            self.now = max(self.now, self.draw.choice(edges[:4]) + off)
        else:
            self.now += timedelta(seconds=self.draw.choice(SPANS))

    def _instant(self, chance: float = 0.25) -> datetime | None:
        if self.draw.random() > chance:
            return None
        edges = self.edges()
        if edges and self.draw.random() < 0.5:
            return self.draw.choice(edges)
        return self.now + timedelta(hours=self.draw.choice([-48, -1, 0, 1, 12, 24, 48, 24 * 7, 24 * 31]))

    # Verbs

    def _wait(self) -> dict:
        return {}

    def _sweep(self) -> dict:
        return {}

    def _reopen(self) -> dict:
        return {}

    def _catalog(self) -> dict:
        self.document = catalogs.replaced(self.document, self.draw)
        return {"document": self.document}

    def _feature(self) -> str:
        return self.draw.choice(self.features if self.draw.random() < 0.85 else METERED)

    def _kind(self) -> str:
        return self.draw.choice(self.credits if self.draw.random() < 0.85 else [*CREDITS])

    def _told(self, **told: object) -> dict:
        self.made += 1
        return {name: value for name, value in told.items() if value is not None} | {"key": f"k{self.made}"}

    def _subscribe(self) -> dict:
        anchor = self._instant(0.15)
        return self._told(plan=self.draw.choice(PLANS), at=self._instant(0.2), ends_at=self._instant(0.2),
                          zone=self.draw.choice(ZONES), anchor=anchor)  # fmt: skip

    def _change_plan(self) -> dict:
        held = {row.product for row in self.head.facts.subscriptions}
        plans = [plan for plan in PLANS if ("crm" if plan.startswith("crm") else "app") in held]
        return self._told(plan=self.draw.choice(plans or PLANS), usage=self.draw.choice(["keep", "keep", "reset"]),
                          at=self._instant(0.3))  # fmt: skip

    def _cancel(self) -> dict:
        return self._told(product=self.draw.choice(["app", "app", "crm", None]), at=self._instant(0.4))

    def _set_status(self) -> dict:
        return self._told(status=self.draw.choice(["active", "past_due", "paused"]),
                          product=self.draw.choice(["app", "app", "crm"]), at=self._instant(0.2))  # fmt: skip

    def _start_trial(self) -> dict:
        ends = self._instant(0.2)
        days = self.draw.choice([1, 3, 40]) if ends is None else None
        return self._told(plan=self.draw.choice(PLANS), days=days, ends_at=ends, at=self._instant(0.2))

    def _add_addon(self) -> dict:
        return self._told(addon=self.draw.choice(ADDONS), quantity=self.draw.choice([1, 1, 2, 3]),
                          ends_at=self._instant(0.3), at=self._instant(0.2))  # fmt: skip

    def _remove_addon(self) -> dict:
        return self._told(addon=self.draw.choice(ADDONS), at=self._instant(0.2))

    def _promote(self) -> dict:
        return self._told(promotion=self.draw.choice(PROMOTIONS), ends_at=self._instant(0.3), at=self._instant(0.2))

    def _override(self) -> dict:
        feature = self.draw.choice([*METERED, *FEATURES])
        worth = [0, 1, 3, 6, *self.large, "unlimited", {"limit": 4, "depletion": "soft"}, {"limit": 2, "depletion": "partial"}]
        worth += [{"limit": 5, "reset": self.draw.choice(["day", "hour", "month"])}]
        value = self.draw.choice(worth) if feature in METERED else self.draw.choice([True, 5, 9, False])
        mode = self.draw.choice(["set", "set", "add", "grant", "deny"])
        return self._told(feature=feature, value=None if mode == "deny" else value, mode=mode,
                          ends_at=self._instant(0.4), at=self._instant(0.2),
                          reason=self.draw.choice([None, "asked for"]))  # fmt: skip

    def _remove_override(self) -> dict:
        return self._told(feature=self.draw.choice(METERED), at=self._instant(0.2))

    def _about(self) -> dict:
        every = ["hour", "day", "day", "month", "none", {"every": "week", "count": 2, "align": "anniversary"}]
        about = {"scope": self.draw.choice(SCOPES), "every": self.draw.choice(every)}
        if self.draw.random() < 0.5:
            about["feature"] = self._feature()
        else:
            about["credit"] = self._kind()
        if self.draw.random() < 0.15:
            about["dimensions"] = {"model": "large"}
        return about

    def _set_budget(self) -> dict:
        told = self._told(**self._about(), limit=self.draw.choice([0, 2, 4, 10, 30, *self.large]), at=self._instant(0.15),
                          ends_at=self._instant(0.25), action=self.draw.choice([None, None, "notify"]))  # fmt: skip
        return {"scope": None, **told}

    def _remove_budget(self) -> dict | None:
        rows = [rows[-1] for rows in self.head.budgets.rows.values() if rows]
        if not rows or any(kind.startswith("$") for row in rows for kind, _ in row.scope):
            return None
        row = self.draw.choice(rows)
        period = row.period
        every = "none" if period.every == "none" else {"every": period.every, "count": period.count, "align": period.align}
        told = self._told(scope=dict(row.scope) or None, feature=row.feature, credit=row.credit, every=every,
                          dimensions=dict(row.dimensions) or None, at=self._instant(0.2))  # fmt: skip
        return {"scope": None, **told}

    def _units(self, feature: str) -> object:
        choices = [0, 1, 1, 1, 2, 3, 5, 9, *self.large]
        scale = FEATURES[feature].get("scale", 0)
        choices += ["0.5", "1.3"] if scale else []
        if self.draw.random() < 0.3:
            left = self.ent.check(self.who, feature, requested="1").remaining
            if isinstance(left, int | Decimal):
                one = Decimal(1).scaleb(-scale)
                return max(Decimal(0), left + self.draw.choice([-one, Decimal(0), Decimal(0), one]))
        return self.draw.choice(choices)

    def _use(self, feature: str) -> dict:
        told = {"feature": feature, "amount": self._units(feature), "scope": self.draw.choice(SCOPES)}
        if self.draw.random() < 0.3:
            told["dimensions"] = {"model": self.draw.choice(["large", "small"])}
        return told

    def _consume(self) -> dict:
        told = self._use(self._feature())
        if told["feature"] == "tokens" and self.draw.random() < 0.4:
            told["amount"] = {"input": self.draw.choice([0, 1, 3]), "output": self.draw.choice([0, 1, 2])}
        late = self.now - timedelta(hours=self.draw.choice([1, 20, 47, 49, 72]))
        return self._told(**told, occurred_at=late if self.draw.random() < 0.1 else None,
                          depletion=self.draw.choice([None] * 9 + ["hard", "partial", "soft"]))  # fmt: skip

    def _consume_many(self) -> dict:
        self.made += 1
        asked = [self._use(self._feature()) for _ in range(self.draw.choice([1, 2, 3]))]
        return {"requests": [{**told, "key": f"m{self.made}-{number}"} for number, told in enumerate(asked)]}

    def _record(self) -> dict:
        late = self.now - timedelta(hours=self.draw.choice([1, 20, 47, 49, 72]))
        told = self._use(self._feature())
        return self._told(**told, occurred_at=late if self.draw.random() < 0.35 else None)

    def _free(self) -> dict:
        late = self.now - timedelta(hours=self.draw.choice([1, 20, 72]))
        told = self._use(self.draw.choice([*SUMMED, *METERED]))
        return self._told(**told, occurred_at=late if self.draw.random() < 0.25 else None)

    def _reset_usage(self) -> dict:
        return self._told(feature=self.draw.choice(METERED))

    def _correct_usage(self) -> dict:
        feature = self._feature()
        late = self.now - timedelta(hours=self.draw.choice([1, 20, 47]))
        return self._told(feature=feature, used=self._units(feature),
                          occurred_at=late if self.draw.random() < 0.3 else None,
                          reason=self.draw.choice([None, "counted twice"]))  # fmt: skip

    def _reserve(self) -> dict:
        told = self._use(self.draw.choice([*SUMMED, *SUMMED, *METERED]))
        ttl = self.draw.choice([60, 3600, 86400, 40 * 86400, None])
        return {**self._told(**told, late=self.draw.choice([None, None, "refuse"])), "ttl": ttl}

    def _credit(self) -> tuple[str, object]:
        credit = self._kind()
        scale = CREDITS[credit].get("scale", 0)
        if self.draw.random() < 0.35:
            left = self.ent.balance(self.who, credit).available
            one = Decimal(1).scaleb(-scale)
            return credit, max(Decimal(0), left + self.draw.choice([-one, Decimal(0), Decimal(0), one]))
        return credit, self.draw.choice([0, 1, 2, 3, 5, 8, 13, 21, *self.large] + (["0.5", "2.7"] if scale else []))

    def _grant_credits(self) -> dict:
        ends = {"expires_at": self._instant(0.9)} if self.draw.random() < 0.3 else {}
        ends = ends or {"expires_in": self.draw.choice([None, None, 60, 3600, 86400])}
        return self._told(
            credit=self._kind(), **ends, amount=self.draw.choice([1, 3, 10, 10, 40, *self.large]),
            category=self.draw.choice([None, "promotional"]), effective_at=self._instant(0.2),
            priority=self.draw.choice([None, None, 10, 90]), cost_basis=self.draw.choice([None, "9.99", "0", "0.01", 7]),
            features=self.draw.choice([None, None, None, ["chat"], ["chat", "draw"]]),
            scope=self.draw.choice(SCOPES), settle_debt=self.draw.choice([None, None, False]),
            metadata=self.draw.choice([None, None, {"note": "é"}]), at=self._instant(0.1),
        )  # fmt: skip

    def _consume_credits(self) -> dict:
        credit, amount = self._credit()
        return self._told(credit=credit, amount=amount, feature=self.draw.choice([None, None, "chat", "draw"]),
                          scope=self.draw.choice(SCOPES), at=self._instant(0.05),
                          depletion=self.draw.choice([None] * 6 + ["hard", "partial", "soft"]))  # fmt: skip

    def _reserve_credits(self) -> dict:
        credit, amount = self._credit()
        told = self._told(credit=credit, amount=amount, feature=self.draw.choice([None, None, "chat", "draw"]),
                          scope=self.draw.choice(SCOPES), at=self._instant(0.05),
                          late=self.draw.choice([None, None, "refuse"]))  # fmt: skip
        return {**told, "ttl": self.draw.choice([60, 3600, 86400, 40 * 86400, None])}

    def _hold(self) -> str | None:
        held = [*self.head.holds]
        if held and self.draw.random() < 0.8:
            return self.draw.choice(sorted(held))
        return self.draw.choice(self.holds) if self.holds else None

    def _settle(self) -> dict | None:
        hold = self._hold()
        if hold is None:
            return None
        found = self.head.holds.get(hold)
        most = [] if found is None else [found.units, found.units, found.units + 1, max(0, found.units - 1)]
        return {"hold_id": hold, "amount": self.draw.choice([0, 1, 2, 5, 30, *most, *self.large])}

    def _release(self) -> dict | None:
        hold = self._hold()
        return None if hold is None else {"hold_id": hold}

    def _refund(self) -> dict | None:
        if not self.keys:
            return None
        named = self.draw.choice(self.keys[-8:] if self.draw.random() < 0.7 else self.keys)
        return self._told(batch_key=named, amount=self.draw.choice([None, None, 0, 1, 1, 2, 3, "0.5"]))

    def _void_block(self) -> dict | None:
        return {"block_id": self.draw.choice(self.blocks)} if self.blocks else None

    def _erase(self) -> dict:
        return {}

    def _repeat(self) -> tuple[str, dict] | None:
        if not self.done:
            return None
        step = self.draw.choice(self.done)
        return step.verb, dict(step.told)

    def _mutated(self) -> tuple[str, dict] | None:
        found = self._repeat()
        if found is None or "amount" not in found[1]:
            return None
        verb, told = found
        return verb, {**told, "amount": 4 if told["amount"] != 4 else 6}
