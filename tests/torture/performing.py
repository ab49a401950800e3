"""Doing a call of the workload on an engine, and telling what came of it in the model's words.

The one module of the torture run, with the storages it opens, that knows the library.
"""

from datetime import timedelta

from entitlements import Catalog, Request
from entitlements.errors import EntitlementsError, LogCorrupt, OutcomeUnknown, StorageError, StorageUnavailable

from . import performing_spending
from .hosts import HostFailed

READS = {"balance", "check", "snapshot", "usage_tree"}
CATALOG = Catalog.load(
    {
        "version": 1,
        "default_plan": "free",
        "features": {
            "sso": {"type": "boolean"},
            "calls": {"type": "metered", "reset": {"every": "hour", "align": "calendar"}},
            "seats": {"type": "metered", "reset": "none"},
            "chat": {"type": "metered", "reset": {"every": "hour", "align": "calendar"}},
            "tokens": {"type": "metered", "reset": "none"},
        },
        "credits": {
            "ai": {},
            "tab": {"depletion": "soft"},
            "part": {"depletion": "partial"},
            "gas": {},
            "fuel": {"depletion": "soft"},
        },
        "products": {"app": {}, "agents": {}},
        "plans": {
            "free": {"product": "app", "entitlements": {"calls": 40, "seats": 5}},
            "team": {"product": "app", "entitlements": {"calls": 90, "seats": 9}},
            "pro": {"product": "app", "entitlements": {"sso": True, "calls": 200, "seats": 20}},
            "agents": {
                "product": "agents",
                "entitlements": {"chat": 2000, "tokens": "unlimited"},
                "credits": {"gas": {"grant": 300, "every": "day", "rollover": {"max": 50}}},
            },
            "crew": {"product": "agents", "entitlements": {"chat": 500}, "credits": {"gas": {"grant": 100, "every": "day"}}},
        },
        "rates": {
            "chat": {"credit": "gas", "price": "2", "when": [{"model": "large", "price": "5"}]},
            "tokens": {
                "credit": "fuel",
                "per": 10,
                "when": [
                    {"kind": "input", "price": "1"},
                    {"kind": "output", "price": "3"},
                    {"kind": "output", "model": "large", "price": "7"},
                ],
            },
        },
    }
)


def perform(ent, call):
    """Return how a call ended: `answer`, `refused` with its error, `failed` (nothing was done), `unknown` or `broken`."""
    try:
        verbs = performing_spending.VERBS if call["customer"].startswith("u") else VERBS
        return verbs[call["f"]](ent, call)
    except OutcomeUnknown:
        return {"ended": "unknown"}
    except LogCorrupt as error:
        return {"ended": "broken", "why": f"{type(error).__name__}: {error}"}
    except StorageUnavailable as error:
        unscrubbed = call["f"] == "erase" and "is booked" in str(error)
        return {"ended": "unknown" if unscrubbed else "failed", "why": str(error)}
    except StorageError as error:
        return {"ended": "failed", "why": f"{type(error).__name__}: {error}"}
    except (EntitlementsError, LookupError) as error:
        return {"ended": "refused", "refused": type(error).__name__}
    except Exception as error:
        return {"ended": "broken", "why": f"{type(error).__name__}: {error}"}


def perform_many(ent, parts):
    """Return how each part of a call ended that consumes several things in one commit: all or none of it is done."""
    requests = [Request(part["customer"], part["feature"], part["amount"], key=part["key"]) for part in parts]
    try:
        return [counted(decision) for decision in ent.consume_many(requests)]
    except OutcomeUnknown:
        return [{"ended": "unknown"}] * len(parts)
    except LogCorrupt as error:
        return [{"ended": "broken", "why": f"{type(error).__name__}: {error}"}] * len(parts)
    except EntitlementsError as error:
        return [{"ended": "failed", "why": f"{type(error).__name__}: {error}"}] * len(parts)


def perform_joined(ent, host, call, *, commits):
    """Do a call in a transaction of the host's, and commit that or not; return how the call ended."""
    try:
        with host() as transaction:
            end = perform(transaction.joined(ent), call)
            transaction.end(commits=commits)
    except StorageUnavailable as error:  # the host's connection was lost before there was anything to join
        return {"ended": "failed", "why": str(error)}
    except HostFailed as failed:
        return {"ended": "unknown" if failed.at_commit else "failed", "why": f"the host: {failed}"}
    if not commits and end["ended"] == "answer" and call["f"] not in READS and may_write(call, end["answer"]):
        return {"ended": "failed", "why": "rolled back"}
    return {**end, "ended": "failed"} if end["ended"] == "unknown" else end


def may_write(call, answer):
    """Whether an answer stands for something that was booked: a settle books what it can, also where it is denied."""
    return answer.get("allowed", True) or call["f"] == "settle"


def grant(ent, call):
    lasts = None if call["lasts"] is None else timedelta(seconds=call["lasts"])
    category = "paid" if call["paid"] else "promotional"
    block = ent.grant_credits(call["customer"], call["credit"], call["amount"], key=call["key"], category=category,
                              priority=call["priority"], expires_in=lasts, metadata={"note": "private"})  # fmt: skip
    return of_block(block)


def consume_credits(ent, call):
    return charged(ent.consume_credits(call["customer"], call["credit"], call["amount"], key=call["key"]), "overage", "burned")


def reserve_credits(ent, call):
    hold = ent.reserve_credits(call["customer"], call["credit"], call["amount"], key=call["key"], ttl=call["ttl"])
    return charged(hold.decision)


def reserve(ent, call):
    told = {"key": call["key"], "ttl": call["ttl"]}
    return counted(ent.reserve(call["customer"], call["feature"], call["amount"], **told).decision)


def settle(ent, call):
    decision = ent.settle(call["customer"], call["hold"], call["amount"])
    told = charged(decision, "overage", "burned") if decision.receipt.balance_after is not None else charged(decision)
    return told | {"answer": told["answer"] | {"late": decision.receipt.late}}


def release(ent, call):
    decision = ent.release(call["customer"], call["hold"])
    return ended(decision, {})


def refund(ent, call):
    decision = ent.refund(call["customer"], call["of"], call["amount"], key=call["key"])
    return charged(decision, "burned") if decision.receipt.balance_after is not None else charged(decision)


def void_block(ent, call):
    return of_block(ent.void_block(call["customer"], call["block"]))


def sweep(ent, call):
    ent.sweep(call["customer"])
    return {"ended": "answer", "answer": {}}


def erase(ent, call):
    ent.erase(call["customer"])
    return {"ended": "answer", "answer": {}}


def consume(ent, call):
    return counted(ent.consume(call["customer"], call["feature"], call["amount"], key=call["key"]))


def record(ent, call):
    return counted(ent.record(call["customer"], call["feature"], call["amount"], key=call["key"]))


def free(ent, call):
    return counted(ent.free(call["customer"], call["feature"], call["amount"], key=call["key"]))


def reset_usage(ent, call):
    return counted(ent.reset_usage(call["customer"], call["feature"], key=call["key"]))


def subscribe(ent, call):
    return fact(plan=ent.subscribe(call["customer"], call["plan"], key=call["key"]).plan)


def change_plan(ent, call):
    return fact(plan=ent.change_plan(call["customer"], call["plan"], key=call["key"]).plan)


def cancel(ent, call):
    ent.cancel(call["customer"], product="app", key=call["key"])
    return fact(plan=None)


def override(ent, call):
    ent.override(call["customer"], call["feature"], call["value"], reason="private", key=call["key"])
    return fact()


def remove_override(ent, call):
    ent.remove_override(call["customer"], call["feature"], key=call["key"])
    return fact()


def balance(ent, call):
    found = ent.balance(call["customer"], call["credit"])
    blocks = [[block.id, block.free_units, block.held_units] for block in found.blocks]
    answer = {"available": int(found.available), "held": int(found.held), "debt": int(found.debt), "blocks": blocks}
    return {"ended": "answer", "answer": answer}


def check(ent, call):
    decision = ent.check(call["customer"], call["feature"])
    answer = {"allowed": decision.allowed}
    if call["feature"] != "sso":
        answer |= {"used": decision.used, "limit": decision.limit}
    if decision.stale or decision.fallback:
        return {"ended": "failed", "why": "a fallback, and said so"}
    return {"ended": "answer", "answer": answer}


def snapshot(ent, call):
    found = ent.snapshot(call["customer"])
    answer = {
        "used": [found.features[feature].used for feature in ("calls", "seats")],
        "sso": found.features["sso"].allowed,
        "available": [int(found.credits[credit]["available"]) for credit in ("ai", "tab", "part")],
        "debt": int(found.credits["tab"]["debt"]),
    }
    return {"ended": "answer", "answer": answer}


def of_block(block):
    return {"ended": "answer", "answer": {"block": [block.units, block.free_units, block.held_units]}}


def charged(decision, *more):
    if decision.receipt is None:
        return {"ended": "answer", "answer": {"allowed": False, "code": decision.code, "left": int(decision.limit)}}
    told = {"booked": int(decision.receipt.booked)}
    if decision.receipt.balance_after is not None:
        told |= {"after": int(decision.receipt.balance_after)}
    if "overage" in more:
        told |= {"overage": int(decision.overage)}
    if "burned" in more:
        told |= {"burned": {block: int(amount) for block, amount in decision.receipt.burned.items()}}
    return ended(decision, told)


def counted(decision):
    return ended(decision, {"used": decision.used, "limit": decision.limit})


def ended(decision, told):
    answer = {"allowed": decision.allowed, "code": decision.code, **told}
    replayed = decision.receipt is not None and decision.receipt.replayed
    return {"ended": "answer", "answer": answer, "replayed": replayed}


def fact(**told):
    return {"ended": "answer", "answer": told}


VERBS = {
    verb.__name__: verb
    for verb in (
        grant, consume_credits, reserve_credits, reserve, settle, release, refund, void_block, sweep, erase, consume, record,
        free, reset_usage, subscribe, change_plan, cancel, override, remove_override, balance, check, snapshot,
    )
}  # fmt: skip
