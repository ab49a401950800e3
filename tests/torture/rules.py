"""What each verb comes to on a state: the lines it writes, and the answer; written from DESIGN.md, not from the code."""

from .model import CREDITS, LIMITS, NEVER, SECOND, Block, Hold, Refused, counter_of


def apply(state, call, at):
    """Play what fell due and one call; return its answer, or raise Refused."""
    state.moves = []
    state.fall_due(at)
    answer = VERBS[call["f"]](state, call, at)
    if call.get("key") is not None and answer.get("allowed", True):
        state.taken.setdefault(call["key"], [])
    return answer


def outcome(state, call, at):
    """What a call would come to on a copy of the state: its answer, or the name of its error."""
    try:
        if call["f"] in READS and state.next_end() > at:
            return {"answer": VERBS[call["f"]](state, call, at)}
        return {"answer": apply(state.trial(), call, at)}
    except Refused as refused:
        return {"refused": refused.kind}


# Credits


def grant(state, call, at):
    ends = NEVER if call["lasts"] is None else at + call["lasts"] * SECOND
    block = Block(call["key"], call["credit"], call["amount"], call["priority"], call["paid"], at, ends,
                  state.number + 1, call["amount"])  # fmt: skip
    state.blocks[block.id] = block
    state.move(at, "granted", block.credit, block.units, block.id)
    state.repay([block], at)
    return {"block": [block.units, block.free, block.held]}


def consume_credits(state, call, at):
    credit, units = call["credit"], call["amount"]
    slices, short = burn(state, credit, units, at)
    if short and not may_pass(credit, slices):
        return insufficient(state, credit, at)
    state.taken[call["key"]] = lines = pay(state, call["key"], credit, slices, short, at)
    return paid(state, credit, lines, short, at)


def reserve_credits(state, call, at):
    credit, units = call["credit"], call["amount"]
    slices, short = burn(state, credit, units, at)
    if short and not may_pass(credit, slices):
        return insufficient(state, credit, at)
    for name, part in slices:
        block = state.blocks[name]
        block.free, block.held = block.free - part, block.held + part
        state.move(at, "held", credit, part, name)
    hold = Hold(call["key"], credit, at + call["ttl"] * SECOND, tuple(slices))
    state.holds[hold.id] = hold
    booked = sum(part for _, part in slices)
    return {"allowed": True, "code": "ok", "booked": booked, "after": state.available(credit, at)}


def settle(state, call, at):
    hold, late = held(state, call["hold"])
    if hold.counter:
        return settle_usage(state, call, hold, late, at)
    lines, rest, left = [], [], call["amount"]
    for name, part in () if late else hold.slices:
        taken = min(part, left)
        left -= taken
        rest += [(name, part - taken)] if part > taken else []
        if taken:
            state.block(name).held -= taken
            state.move(at, "settled", hold.subject, taken, name)
            lines.append((name, taken))
    if not late:
        state.let_go(hold, rest, 0, at)
    slices, short = burn(state, hold.subject, left, at)
    lines += pay(state, f"$close:{hold.id}", hold.subject, slices, short, at)
    state.repay([state.block(name) for name, _ in rest], at)
    state.taken[f"$close:{hold.id}"] = [(name, part, hold.subject) for name, part, *_ in lines]
    answer = paid(state, hold.subject, state.taken[f"$close:{hold.id}"], short, at)
    denied = short and CREDITS[hold.subject] != "soft" and not (CREDITS[hold.subject] == "partial" and answer["burned"])
    return {**answer, "late": late} | ({"allowed": False, "code": "insufficient_credits"} if denied else {})


def settle_usage(state, call, hold, late, at):
    units, before = call["amount"], 0 if late else hold.units
    if not late:
        state.let_go(hold, (), max(0, before - units), at)
    kept = [(hold.counter, min(units, before), hold.subject)] if min(units, before) else []
    allowed, more = True, units - before
    if more > 0:
        allowed = state.used(hold.subject, at) + more <= state.limit(hold.subject)
        state.count(at, "recorded", counter_of(hold.subject, at), more)
        kept.append((counter_of(hold.subject, at), more, hold.subject))
    state.taken[f"$close:{hold.id}"] = kept
    return {"allowed": allowed, "code": "ok" if allowed else "limit_reached", "booked": units, "late": late}


def release(state, call, at):
    hold, late = held(state, call["hold"])
    if not late:
        state.let_go(hold, hold.slices, hold.units, at)
        state.repay([state.block(name) for name, _ in hold.slices], at)
    state.taken[f"$close:{hold.id}"] = []
    return {"allowed": True, "code": "ok"}


def refund(state, call, at):
    of = f"$close:{call['of']}" if f"$close:{call['of']}" in state.taken else call["of"]
    lines = state.taken.get(of)
    if not lines:
        raise Refused("LookupError")
    before, subject = state.refunded.get(of, 0), lines[0][2]
    left = sum(units for _, units, _ in lines) - before
    units = left if call["amount"] is None else call["amount"]
    if not 0 < units <= left:
        raise Refused("AmountError")
    state.refunded[of] = before + units
    if subject not in CREDITS:
        for counter, part in parts(lines, before, units):
            free = max(0, state.counters.get(counter, 0) - state.held_of(counter))
            state.count(at, "usage_refunded", counter, -min(part, free))
        return {"allowed": True, "code": "ok", "booked": units}
    back = {}
    for name, part in parts(lines, before, units):
        if name:
            back[name] = back.get(name, 0) + part
            state.come_back(state.block(name), at, "refunded", part, held=False)
        else:
            forgive(state, call["key"], of, subject, part, at, back)
    state.repay([state.block(name) for name in back], at)
    burned = {name: -part for name, part in back.items()}
    return {"allowed": True, "code": "ok", "booked": units, "burned": burned, "after": state.available(subject, at)}


def forgive(state, key, of, credit, part, at, back):
    """What is still owed is forgiven; what was repaid meanwhile comes back as a block of its own.

    Whoever is forgiven what others owe has these repaid by the blocks that repaid their own.
    """
    owed = min(part, state.debts.get(credit, 0))
    if owed:
        state.owe(credit, -owed)
        state.move(at, "forgiven", credit, owed)
        own = min(owed, state.unpaid(credit, of))
        state.note(credit, lambda note: note == (of, ""), [(None, own)] if own else [])
        state.note(credit, lambda note: note[1] == "", state.unrepaid(credit, of, owed - own))
    if part > owed:
        back[key] = part - owed
        again(state, key, credit, state.unrepaid(credit, of, part - owed), at)


def again(state, key, credit, repaid, at):
    """A block for what blocks repaid, until the first of them ends; what those that are over repaid is lost at once."""
    known = {name: state.blocks.get(name) or state.spent[name] for name, _ in repaid}
    over = {name for name, block in known.items() if block.void or block.ends <= at}
    ends = min(block.ends for name, block in known.items() if name not in over or over == set(known))
    units = sum(part for _, part in repaid)
    state.blocks[key] = block = Block(key, credit, units, 50, False, at, ends, state.number + 1, units)
    state.move(at, "granted", credit, units, key)
    lost = sum(part for name, part in repaid if name in over)
    if lost:
        state.take(block, at, "expired", lost)


def void_block(state, call, at):
    block = state.block(call["block"])
    block.void = True
    state.take(block, at, "voided", block.free)
    return {"block": [block.units, 0, block.held]}


def sweep(state, call, at):
    return {}


def burn(state, credit, units, at):
    """What each usable block would pay, in burn order, and what none could."""
    slices = []
    for block in state.usable(credit, at):
        if not units:
            break
        part = min(units, block.free)
        slices.append((block.id, part))
        units -= part
    return slices, units


def may_pass(credit, slices):
    return CREDITS[credit] == "soft" or (CREDITS[credit] == "partial" and bool(slices))


def pay(state, key, credit, slices, short, at):
    for name, part in slices:
        state.take(state.blocks[name], at, "burned", part)
    lines = [(name, part, credit) for name, part in slices]
    if short and CREDITS[credit] == "soft":
        state.owe(credit, short)
        state.notes[credit] = [*state.notes.get(credit, []), (key, "", short)]
        state.move(at, "overdrawn", credit, short)
        lines.append(("", short, credit))
    return lines


def paid(state, credit, lines, short, at):
    burned = {}
    for name, part, _ in lines:
        if name:
            burned[name] = burned.get(name, 0) + part
    booked = sum(part for _, part, _ in lines)
    return {"allowed": True, "code": "ok", "booked": booked, "overage": short, "burned": burned,
            "after": state.available(credit, at)}  # fmt: skip


def insufficient(state, credit, at):
    return {"allowed": False, "code": "insufficient_credits", "left": state.available(credit, at)}


def held(state, name):
    """A hold, and whether it has lapsed."""
    if name in state.holds:
        return state.holds[name], False
    if name in state.closed:
        return state.closed[name], True
    raise Refused("UnknownHold")


def parts(lines, skip, units):
    """What units are of each line, the last line first, past what was refunded before."""
    for where, whole, _ in reversed(lines):
        skipped = min(skip, whole)
        part = min(units, whole - skipped)
        skip, units = skip - skipped, units - part
        if part:
            yield where, part


# Usage and facts


def consume(state, call, at):
    feature, units = call["feature"], call["amount"]
    used, limit = state.used(feature, at), state.limit(feature)
    if used + units > limit:
        return {"allowed": False, "code": "limit_reached", "used": used, "limit": limit}
    return used_up(state, call, "used", at)


def record(state, call, at):
    return used_up(state, call, "recorded", at)


def used_up(state, call, kind, at):
    counter = counter_of(call["feature"], at)
    state.count(at, kind, counter, call["amount"])
    state.taken[call["key"]] = [(counter, call["amount"], call["feature"])]
    return stands(state, call, at)


def reserve(state, call, at):
    feature, units = call["feature"], call["amount"]
    used, limit = state.used(feature, at), state.limit(feature)
    if used + units > limit:
        return {"allowed": False, "code": "limit_reached", "used": used, "limit": limit}
    counter = counter_of(feature, at)
    state.count(at, "usage_held", counter, units)
    state.holds[call["key"]] = Hold(call["key"], feature, at + call["ttl"] * SECOND, (), counter, units)
    return stands(state, call, at)


def free(state, call, at):
    feature, units = call["feature"], call["amount"]
    if units > state.used(feature, at):
        raise Refused("AmountError")
    state.count(at, "freed", counter_of(feature, at), -units)
    return stands(state, call, at)


def reset_usage(state, call, at):
    counter = counter_of(call["feature"], at)
    state.count(at, "usage_reset", counter, state.held_of(counter) - state.counters.get(counter, 0))
    return stands(state, call, at)


def stands(state, call, at):
    feature = call["feature"]
    return {"allowed": True, "code": "ok", "used": state.used(feature, at), "limit": state.limit(feature)}


def subscribe(state, call, at):
    if state.plan is not None:
        raise Refused("AlreadySubscribed")
    return with_plan(state, call["plan"], "subscribed", at)


def change_plan(state, call, at):
    if state.plan is None:
        raise Refused("NotSubscribed")
    return with_plan(state, call["plan"], "plan_changed", at)


def cancel(state, call, at):
    if state.plan is None:
        raise Refused("NotSubscribed")
    return with_plan(state, None, "canceled", at)


def with_plan(state, plan, kind, at):
    state.plan = plan
    state.moves.append((at, kind, "", 0, "", None))
    return {"plan": plan}


def override(state, call, at):
    state.overrides[call["feature"]] = call["value"]
    state.moves.append((at, "overridden", "", 0, "", None))
    return {}


def remove_override(state, call, at):
    if call["feature"] not in state.overrides:
        raise Refused("NotSubscribed")
    del state.overrides[call["feature"]]
    state.moves.append((at, "override_removed", "", 0, "", None))
    return {}


def erase(state, call, at):
    if not state.number:
        raise Refused("UnknownCustomer")
    return {}


# Reads


def balance(state, call, at):
    credit = call["credit"]
    mine = sorted((block for block in state.blocks.values() if block.credit == credit), key=burns_first)
    live = [[block.id, block.free, block.held] for block in mine if block.begins <= at < block.ends and not block.void]
    return {"available": state.available(credit, at), "held": sum(block.held for block in mine),
            "debt": state.debts.get(credit, 0), "blocks": [each for each in live if each[1] or each[2]]}  # fmt: skip


def burns_first(block):
    return (block.priority, block.ends, block.paid, block.begins, block.number, block.id)


def check(state, call, at):
    feature = call["feature"]
    if feature == "sso":
        return {"allowed": state.has_sso()}
    used, limit = state.used(feature, at), state.limit(feature)
    return {"allowed": used + 1 <= limit, "used": used, "limit": limit}


def snapshot(state, call, at):
    return {
        "used": [state.used(feature, at) for feature in LIMITS[None]],
        "sso": state.has_sso(),
        "available": [state.available(credit, at) for credit in CREDITS],
        "debt": state.debts.get("tab", 0),
    }


VERBS = {
    verb.__name__: verb
    for verb in (
        grant, consume_credits, reserve_credits, reserve, settle, release, refund, void_block, sweep, consume, record,
        free, reset_usage, subscribe, change_plan, cancel, override, remove_override, erase, balance, check, snapshot,
    )
}  # fmt: skip
READS = {"balance", "check", "snapshot", "usage_tree"}
