"""How an agent came by its share in a decision, in words or as plain data. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Final, cast

from capital_governor.core.decision import score_of
from capital_governor.core.groups import group_indices
from capital_governor.core.membership import RETURN_CYCLES
from capital_governor.core.model import EVERYBODY, WHOLE, Agent, Inputs, Ppm, Rules, State
from capital_governor.core.orders import Order, OrderKind, limits_of
from capital_governor.core.reason import Reason
from capital_governor.core.trace import AgentLimits, Decision, Trigger
from capital_governor.wording.amounts import count_text, ratio_text
from capital_governor.wording.reason_texts import brake_text, message
from capital_governor.wording.withheld_texts import cause_text, end_text

_ROUNDING: Final = 1e-9
"""A weight may miss a limit by this much through float rounding."""


def explanation_document(agent: Agent, before: State, rules: Rules, decision: Decision) -> dict[str, object] | None:
    """Return how ``agent`` came by its share in this decision, as plain data; None if it played no part in it.

    Shares are 0..1; ``share_after`` is ``plan_published`` less ``withheld``. ``limits`` lists every limit of the agent;
    ``triggers`` and ``brakes`` are of the whole fleet.
    """
    trace = decision.trace
    published = before.published.shares.get(agent) if before.published else None
    proposed = decision.proposal.shares.get(agent) if decision.proposal else published
    if agent not in trace.limits and published is None and proposed is None:
        return None
    seen, score = decision.after.agents.get(agent), score_of(agent, decision, rules)
    metrics = decision.after.metrics.get(agent)
    known, withheld = decision.proposal or decision.after.published, trace.withheld.get(agent)
    return {
        "agent": agent,
        "reason": decision.reason.value,
        "message": message(decision.reason, rules),
        "hold": None if trace.hold is None else trace.hold.detail,
        "share_before": _share(published),
        "share_after": _share(proposed),
        "fault": trace.faulty.get(agent),
        "absent_cycles": trace.absent.get(agent),
        "lapsed": seen is not None and seen.lapsed,
        "metrics": None if metrics is None else metrics._asdict(),
        "score": None if score is None else score._asdict(),
        "limits": asdict(trace.limits[agent]) if agent in trace.limits else None,
        "group": _group(agent, rules, decision),
        "floor_scale": trace.floor_scale,
        "weight_projected": trace.projected.get(agent),
        "weight": trace.weights.get(agent),
        "step": trace.step,
        "multipliers": [asdict(multiplier) for multiplier in trace.multipliers],
        "exposure": trace.exposure,
        "exposure_by": trace.exposure_by,
        "share_wanted": _share(trace.target.get(agent)),
        "plan": _share(trace.plan.get(agent)),
        "plan_published": _share(None if known is None else known.plan.get(agent)),
        "withheld": _share(0 if known is None else known.withheld.get(agent, 0)),
        "withheld_by": None if withheld is None else cause_text(withheld),
        "withheld_ends": None if withheld is None else end_text(agent, withheld, rules),
        "triggers": [asdict(trigger) for trigger in trace.triggers],
        "brakes": [asdict(brake) for brake in trace.brakes],
    }


def explanation_lines(agent: Agent, before: State, rules: Rules, decision: Decision) -> Iterator[str]:
    """Yield the same as ``explanation_document`` in plain words, with the arithmetic."""
    trace = decision.trace
    published = before.published.shares.get(agent) if before.published else None
    after = decision.proposal.shares.get(agent) if decision.proposal else published
    yield f"{agent}: {_percent(published)} before, {_percent(after)} after"
    yield f"outcome    {message(decision.reason, rules)}"
    if trace.hold is not None:
        yield f"hold       {trace.hold.detail}"
    if agent in trace.faulty:
        yield f"record     faulty, so it may not gain: {trace.faulty[agent]}"
    if agent in trace.absent:
        yield f"record     {_absence(trace.absent[agent], rules)}: it may not gain"
    yield from _lapse_lines(agent, rules, decision)
    yield from _score_lines(agent, rules, decision)
    if agent in trace.limits:
        yield from _weight_lines(agent, trace.limits[agent], decision)
    yield from _exposure_lines(decision)
    yield from _share_lines(agent, rules, decision)
    for trigger in trace.triggers:
        yield f"threshold  {_trigger_text(trigger)}"
    for brake in trace.brakes:
        yield f"brake      {brake.reason.value}: {f'on: {brake_text(brake)}' if brake.active else 'off'}"


def hold_cut_lines(agent: Agent, before: State, rules: Rules, decision: Decision) -> Iterator[str]:
    """Yield what a cut in a hold made of an agent's share, and what is withheld from it since then.

    Args:
        agent: that had a share.
        before: the state before the cut.
        rules: of its cycle.
        decision: the cut.
    """
    old = None if before.published is None else before.published.shares.get(agent)
    new = None if decision.proposal is None else decision.proposal.shares.get(agent)
    yield f"cut        {_percent(old)} to {_percent(new)} in a hold: {message(decision.reason, rules)}"
    yield from _exposure_lines(decision)
    yield from _share_lines(agent, rules, decision)


def _exposure_lines(decision: Decision) -> Iterator[str]:
    trace = decision.trace
    if trace.multipliers:
        each = ", ".join(f"{m.name} {_figure(m.value)} ({m.origin})" for m in trace.multipliers)
        by = f"set by {trace.exposure_by}, the smallest of {each}" if trace.exposure < 1.0 else "nothing reduces it"
        yield f"exposure   {_figure(trace.exposure)}: {by}"


def _lapse_lines(agent: Agent, rules: Rules, decision: Decision) -> Iterator[str]:
    memory = decision.after.agents.get(agent)
    if memory is None or not memory.lapsed:
        return
    now = f"{memory.returned} of {RETURN_CYCLES} good records in a row to end that"
    if not memory.returned and agent not in decision.trace.faulty:
        now = f"{count_text(memory.silent, 'decided cycle')} without a record since then"
    yield f"record     lapsed after more than {count_text(rules.membership_grace_cycles, 'cycle')} without one: {now}"


def _share_lines(agent: Agent, rules: Rules, decision: Decision) -> Iterator[str]:
    """Yield the group and the plan line of this decision, the published one, and what is withheld from that."""
    yield from _group_lines(agent, rules, decision)
    trace, known = decision.trace, decision.proposal or decision.after.published
    line = None if known is None else known.plan.get(agent)
    if agent in trace.plan:
        stays = "" if trace.plan[agent] == line else ", not published"
        product = f"{trace.weights[agent]:.6f} x {trace.exposure:.6g}"
        yield f"plan       {product} = {_percent(trace.plan[agent])}{stays}"
        if stays:
            yield f"             published: {_percent(line)}"
    elif known is not None and trace.hold is not None and decision.proposal is not None:
        yield f"plan       {_percent(line)} at an exposure of {known.exposure:.6g}"
    if known is None or not known.withheld.get(agent):
        return
    withheld = trace.withheld.get(agent)
    amount = _percent(known.withheld[agent])
    yield f"withheld   {amount}" + ("" if withheld is None else f": {cause_text(withheld)}")
    if withheld is not None:
        yield f"             ends with: {end_text(agent, withheld, rules)}"
    yield f"share      {_percent(line)} - {amount} = {_percent(known.shares[agent])}; the reserve has the difference"


def left_out(version: str, *, derived: bool) -> str:
    """Return what is missing if another version decided and this one would decide differently; else empty."""
    if derived:
        return ""
    who = f"version {version}" if version else "an earlier version"
    return f"decided by {who}; this version would decide differently, so how it came about cannot be shown in full"


def limits_to_come(
    agent: Agent, orders: Iterable[Order], decided: Inputs, cut: Inputs | None = None
) -> tuple[Order, ...]:
    """Return the operator's limits for ``agent`` that were given after the decision.

    Args:
        agent: whose.
        orders: in force.
        decided: what the decision was based on.
        cut: what a later cut in a hold was based on; it has obeyed caps that are not to be shared out, but no floors.
    """
    own = (order for order in orders if order.kind is OrderKind.LIMIT and order.agent in {agent, EVERYBODY})
    return tuple(
        order
        for order in own
        if (limit := limits_of((order,))[0]) not in decided.limits
        and (cut is None or limit not in cut.limits or limit.share_out or limit.floor is not None)
    )


def _score_lines(agent: Agent, rules: Rules, decision: Decision) -> Iterator[str]:
    score, seen = score_of(agent, decision, rules), decision.after.metrics.get(agent)
    if score is None or seen is None:
        if agent in decision.trace.limits and decision.trace.scores:
            yield "score      none: it has not yet sent a good record"
        return
    yield (
        f"score      {score.total:.4f} = PnL {score.pnl:.4f} + Sharpe {score.sharpe:.4f}"
        f" + win rate {score.winrate:.4f} + drawdown {score.drawdown:.4f}"
    )
    yield f"             PnL: {ratio_text(rules.pnl_weight)} x {seen.pnl_7d:.2f} / {rules.pnl_scale:.15g}, in 0..1"
    sharpe_weight = ratio_text(rules.sharpe_weight)
    yield f"             Sharpe: {sharpe_weight} x {seen.sharpe_30d:.3f} / {rules.sharpe_scale:g}, in 0..1"
    yield f"             win rate: {ratio_text(rules.winrate_weight)} x {seen.winrate_30d:.3f}"
    yield (
        f"             drawdown: {ratio_text(rules.drawdown_weight)} x (1 - {seen.max_dd_30d:.2f} %"
        f" / {rules.drawdown_scale_percent:g} %), in 0..1"
    )


def _weight_lines(agent: Agent, limits: AgentLimits, decision: Decision) -> Iterator[str]:
    trace, weight = decision.trace, decision.trace.projected.get(agent)
    lowest = limits.lo * trace.floor_scale
    for name, binding, candidates, end in (
        ("floor", limits.lo_by, limits.floors, lowest),
        ("cap", limits.hi_by, limits.caps, limits.hi),
    ):
        for limit in candidates:
            said = f" {limit.detail}" if limit.detail else ""
            binds = " (binds)" if limit == binding and weight == end else ""
            yield f"{name:<10} {limit.value:.4f} {limit.source.value}{said}{binds}"
    if trace.floor_scale < 1.0:
        yield f"floors     do not fit: all are lowered to {trace.floor_scale:.4f} of themselves"
    if weight is None:
        return
    yield f"weight     {weight:.6f}, {_place(weight, lowest, limits.hi)}"
    if trace.step < 1.0:
        yield f"step       MAX_STEP allows {_figure(trace.step)} of the way: {trace.weights[agent]:.6f}"


def _group(agent: Agent, rules: Rules, decision: Decision) -> dict[str, object] | None:
    """Return name, cap, number of agents and sum of weights of an agent's group; None if it is in none."""
    weights = decision.trace.projected
    by_agent = dict(zip(weights, group_indices(weights, rules.groups), strict=True))
    number = by_agent.get(agent, -1)
    if number < 0:
        return None
    members = [weights[name] for name, of in by_agent.items() if of == number]
    group = rules.groups[number]
    return {"name": group.name, "cap": group.cap, "agents": len(members), "weight": math.fsum(members)}


def _group_lines(agent: Agent, rules: Rules, decision: Decision) -> Iterator[str]:
    group = _group(agent, rules, decision)
    if group is None:
        return
    cap, weight = cast("float", group["cap"]), cast("float", group["weight"])
    agents = count_text(cast("int", group["agents"]), "agent")
    where = "at its cap" if weight >= cap - _ROUNDING else "below its cap"
    yield f"group      {group['name']}: {agents} with {weight:.6f} in all, {where}, {cap:g}"


def _place(weight: float, lowest: float, highest: float) -> str:
    """Return where a weight is; beyond its limits only in a proposal that the gate refuses."""
    if weight > highest + _ROUNDING:
        return "above its cap"
    if weight >= highest:
        return "at its cap"
    if weight < lowest - _ROUNDING:
        return "below its floor"
    return "at its floor" if weight <= lowest else "between its limits"


def _absence(cycles: int, rules: Rules) -> str:
    """Return for how many cycles there was no record; the cycles of a hold do not count."""
    return f"absent for {cycles} of {rules.membership_grace_cycles} cycles" if cycles else "none in this payload"


def _trigger_text(trigger: Trigger) -> str:
    """Return one trigger as a question, with the answer and its figures."""
    value, limit = _figure(trigger.value / WHOLE), _figure(trigger.limit / WHOLE)
    question, figures = {
        Reason.FIRST_ALLOCATION: ("nothing published yet?", ""),
        Reason.LIMIT_BREACHED: ("above its cap?", f"{value} > {limit}" if trigger.fired else ""),
        Reason.EXPOSURE_ZERO: ("exposure 0?", value),
        Reason.MEMBER_LEFT: ("an agent left?", f"{trigger.value}" if trigger.fired else ""),
        Reason.MEMBER_JOINED: ("an agent joined?", f"{trigger.value}" if trigger.fired else ""),
        Reason.BELOW_FLOOR: ("below its floor?", f"{value} < {limit}" if trigger.fired else ""),
        Reason.THRESHOLD: (f"one share or the reserve changes by {limit}?", value),
        Reason.DERISK: (f"the reserve rises by {limit}?", value),
        Reason.TURNOVER: (f"all changes together reach {limit}?", value),
    }[trigger.reason]
    whose = trigger.subject if trigger.reason is not Reason.DERISK else ""
    told = ", ".join(filter(None, (figures, whose)))
    return f"{question}  {'yes' if trigger.fired else 'no'}{told and f': {told}'}"


def _figure(ratio: float) -> str:
    """Return a ratio in percent with as many digits as it needs, four at most."""
    text = f"{100 * ratio:.4f}".rstrip("0").rstrip(".")
    return f"{'0' if text == '-0' else text} %"


def _share(share: Ppm | None) -> float | None:
    return None if share is None else share / WHOLE


def _percent(share: Ppm | None) -> str:
    return "no line" if share is None else f"{100 * share / WHOLE:.4f} %"
