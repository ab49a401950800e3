"""Doing a call of a spender on an engine: what is priced, capped, or granted to a scope."""

import json
from datetime import timedelta


def about(call, *names):
    """The arguments that a call names, what is empty left out."""
    return {name: call[name] for name in names if call.get(name)}


def subscribe(ent, call):
    ent.subscribe(call["customer"], call["plan"], key=call["key"])
    return done()


def change_plan(ent, call):
    ent.change_plan(call["customer"], call["plan"], key=call["key"])
    return done()


def cancel(ent, call):
    ent.cancel(call["customer"], product="agents", key=call["key"])
    return done()


def grant(ent, call):
    lasts = None if call["lasts"] is None else timedelta(seconds=call["lasts"])
    category = "paid" if call["paid"] else "promotional"
    ent.grant_credits(call["customer"], call["credit"], call["amount"], key=call["key"], category=category,
                      priority=call["priority"], expires_in=lasts, **about(call, "scope"))  # fmt: skip
    return done()


def set_budget(ent, call):
    terms = {"limit": call["limit"], "every": call["every"], "action": call["action"], "key": call["key"]}
    ent.set_budget(call["customer"], call["scope"] or None, **about(call, "feature", "credit", "dimensions"), **terms)
    return done()


def remove_budget(ent, call):
    told = about(call, "feature", "credit", "dimensions")
    ent.remove_budget(call["customer"], call["scope"] or None, every=call["every"], key=call["key"], **told)
    return done()


def consume(ent, call):
    told = about(call, "scope", "dimensions")
    return decided(ent.consume(call["customer"], call["feature"], call["amount"], key=call["key"], **told))


def record(ent, call):
    told = about(call, "scope", "dimensions")
    return decided(ent.record(call["customer"], call["feature"], call["amount"], key=call["key"], **told))


def reserve(ent, call):
    told = about(call, "scope", "dimensions")
    terms = {"key": call["key"], "ttl": call["ttl"]}
    return decided(ent.reserve(call["customer"], call["feature"], call["amount"], **terms, **told).decision)


def settle(ent, call):
    return decided(ent.settle(call["customer"], call["hold"], call["amount"]))


def release(ent, call):
    return decided(ent.release(call["customer"], call["hold"]))


def refund(ent, call):
    return decided(ent.refund(call["customer"], call["of"], call["amount"], key=call["key"]))


def correct_usage(ent, call):
    return decided(ent.correct_usage(call["customer"], call["feature"], call["amount"], key=call["key"]))


def sweep(ent, call):
    ent.sweep(call["customer"])
    return done()


def usage_tree(ent, call):
    """Every budget by its scope, subject, dimensions and period: its limit, and what is used and held of it."""
    found = [
        [sorted(node.scope.items()), budget.feature or budget.credit, sorted(budget.dimensions.items()),
         budget.every.partition(" ")[0], int(budget.limit), int(budget.used), int(budget.held)]
        for node in ent.usage_tree(call["customer"])
        for budget in node.budgets
    ]  # fmt: skip
    return {"ended": "answer", "answer": {"budgets": sorted(json.loads(json.dumps(found)))}}


def done():
    return {"ended": "answer", "answer": {}}


def decided(decision):
    """How a call ended that is answered with a decision: with its price, and who paid it."""
    answer, receipt = {"allowed": decision.allowed, "code": decision.code}, decision.receipt
    if receipt is None:
        return {"ended": "answer", "answer": answer}
    if receipt.price is not None:
        burned = {block: int(amount) for block, amount in receipt.burned.items()}
        answer |= {"price": int(receipt.price), "unpaid": int(receipt.unpaid), "burned": burned}
    return {"ended": "answer", "answer": answer, "replayed": receipt.replayed}


VERBS = {
    verb.__name__: verb
    for verb in (
        subscribe, change_plan, cancel, grant, set_budget, remove_budget, consume, record, reserve, settle, release, refund,
        correct_usage, sweep, usage_tree,
    )
}  # fmt: skip
