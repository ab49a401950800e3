"""The part of the workload that spends: customers with prices, budgets, plan credits, and blocks granted to a scope."""

SPENDERS = 4
VERBS = {
    "u:subscribe": 1.5, "u:change_plan": 0.6, "u:cancel": 0.2, "u:grant": 2, "u:set_budget": 2, "u:remove_budget": 1.5,
    "u:consume": 9, "u:record": 3, "u:reserve": 5, "u:settle": 5, "u:release": 1, "u:refund": 3, "u:correct_usage": 0.5,
    "u:sweep": 0.5, "u:usage_tree": 3,
}  # fmt: skip
SCOPES = (
    {}, {"team": "x"}, {"team": "x", "user": "ann"}, {"team": "x", "user": "ann", "agent": "a1"}, {"team": "y", "user": "ann"},
    {"team": "y", "user": "bob", "agent": "a1"},
)  # fmt: skip
CAPPED = ({}, {"team": "x"}, {"user": "ann"}, {"team": "x", "user": "ann"}, {"agent": "a1"})
TAKE = {"u:consume", "u:record", "u:reserve"}


def arguments(workload, verb, stream, n, draw):
    """Return what a call of a spender asks for, its customer included."""
    mine = {"customer": f"u{draw.randrange(SPENDERS)}"}
    match verb.removeprefix("u:"):
        case "subscribe" | "change_plan":
            return {**mine, "plan": draw.choice(("agents", "agents", "crew"))}
        case "grant":
            return {**mine, "credit": draw.choice(("gas", "gas", "fuel")), "amount": draw.choice((10, 60, 300)),
                    "lasts": draw.choice((None, 10, 60, 3600)), "priority": draw.choice((50, 50, 10)),
                    "paid": draw.random() < 0.6, "scope": draw.choice(({}, {}, *CAPPED))}  # fmt: skip
        case "set_budget":
            terms = {"limit": draw.choice((10, 50, 200, 1000, 5000)), "action": draw.choice(("block", "block", "notify"))}
            return {**mine, **budget(draw), **terms}
        case "remove_budget":
            return {**mine, **budget(draw)}
        case "consume" | "record":
            return {**mine, **use(draw)}
        case "reserve":
            about = {"scope": draw.choice(SCOPES), "dimensions": draw.choice(({}, {}, {"model": "large"}))}
            more = {"amount": draw.choice((1, 2, 3, 5)), "ttl": draw.choice((1, 5, 30, 600))}
            return {**mine, "feature": "chat", **about, **more}
        case "settle" | "release":
            hold = workload.recent(draw, stream, n, {"u:reserve"}, mine | {"key": "never", "amount": 1})
            more = {"amount": max(0, hold["amount"] + draw.choice((-2, -1, 0, 0, 1, 4)))} if verb == "u:settle" else {}
            return {"customer": hold["customer"], "hold": hold["key"], **more}
        case "refund":
            batch = workload.recent(draw, stream, n, TAKE, mine | {"key": "never"})
            return {"customer": batch["customer"], "of": batch["key"], "amount": draw.choice((None, None, 1, 2, 7))}
        case "correct_usage":
            return {**mine, "feature": "chat", "amount": draw.choice((0, 5, 20))}
    return mine


def budget(draw):
    """Return what names a budget."""
    about = draw.choice(({"feature": "chat"}, {"credit": "gas"}, {"credit": "fuel"}, {"feature": "tokens"}))
    dimensions = draw.choice(({}, {}, {}, {"model": "large"}))
    return {"scope": draw.choice(CAPPED), "every": draw.choice(("hour", "day", "none")), "dimensions": dimensions, **about}


def use(draw):
    """Return a use of the feature that has a price of its own, or of the one that is priced by kind."""
    about = {"scope": draw.choice(SCOPES), "dimensions": draw.choice(({}, {}, {"model": "large"}))}
    if draw.random() < 0.7:
        return {"feature": "chat", "amount": draw.choice((1, 1, 2, 3, 5)), **about}
    kinds = {"input": draw.choice((1, 9, 40)), "output": draw.choice((0, 3, 25))}
    return {"feature": "tokens", "amount": kinds, **about}
