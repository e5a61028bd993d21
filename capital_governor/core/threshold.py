"""Whether a proposal differs enough from what is published to move; the brakes, and the cut that passes them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from capital_governor.core.model import DAY_SECONDS, RESERVE, WHOLE, Agent, Memory, Ppm, Publication, Rules, State, ppm
from capital_governor.core.reason import Reason
from capital_governor.core.trace import AgentLimits, Brake, Trigger


@dataclass(frozen=True, slots=True)
class Proposal:
    """What is compared with the published shares.

    Args:
        shares: from the projected weights (before MAX_STEP), less what faulty and absent agents would gain.
        cut: what faulty and absent agents would have gained, which goes to the reserve.
        exposure: the new exposure.
        limits: of every member.
        floor_scale: below 1 if the floors together did not fit and were lowered.
        unwell: faulty and absent members.
    """

    shares: Mapping[Agent, Ppm]
    cut: Ppm
    exposure: float
    limits: Mapping[Agent, AgentLimits]
    floor_scale: float
    unwell: Collection[Agent]


def compare(
    proposal: Proposal, published: Publication | None, agents: Mapping[Agent, Memory], now: float, rules: Rules
) -> tuple[Trigger, ...]:
    """Return all triggers of a move, the most urgent first.

    What is cut from faulty and absent agents does not count as growth of the reserve: their fault alone is no reason
    to move the others.
    """
    if published is None:
        return (Trigger(Reason.FIRST_ALLOCATION, True, WHOLE, WHOLE),)  # noqa: FBT003 - its field is named fired
    before = [published.shares.get(agent, 0) for agent in proposal.limits]
    left = [agent for agent in published.shares if agent not in proposal.limits]
    return (
        _breach(proposal.limits, before, published.exposure),
        Trigger(Reason.EXPOSURE_ZERO, proposal.exposure == 0.0 < published.exposure, ppm(1.0, proposal.exposure), 0),
        Trigger(Reason.MEMBER_LEFT, bool(left), len(left), 1, left[0] if left else ""),
        _joined(proposal, published, agents, now),
        _below_floor(proposal, published, before),
        *_changes(proposal, published, left, rules),
    )


def _breach(limits: Mapping[Agent, AgentLimits], before: Sequence[Ppm], exposure: float) -> Trigger:
    """Trigger if a published share is above its cap times the published exposure; it names the worst.

    Args:
        limits: of every member.
        before: their published shares, 0 for a member that has none.
        exposure: the published one.
    """
    worst, over, allowed = "", 0, 0
    hi = [limit.hi for limit in limits.values()]
    caps = {cap: ppm(cap, exposure) for cap in set(hi)}
    for agent, cap, share in zip(limits, hi, before, strict=True):
        if share - caps[cap] > over:
            worst, over, allowed = agent, share - caps[cap], caps[cap]
    return Trigger(Reason.LIMIT_BREACHED, over > 0, allowed + over, allowed, worst)


def _joined(proposal: Proposal, published: Publication, agents: Mapping[Agent, Memory], now: float) -> Trigger:
    """Trigger if a member has no line yet; ``value`` counts them.

    A member that was retired less than a day ago does not count, so that an agent that comes and goes does not move the
    fleet each time.
    """
    without = {agent: agents[agent].retired_at for agent in proposal.limits if agent not in published.shares}
    joined = [agent for agent, left in without.items() if left is None or now - left >= DAY_SECONDS]
    return Trigger(Reason.MEMBER_JOINED, bool(joined), len(joined), 1, joined[0] if joined else "")


def _below_floor(proposal: Proposal, published: Publication, before: Sequence[Ppm]) -> Trigger:
    """Trigger if the proposal would raise a healthy member's share that is below its floor; it names the lowest.

    The floor is multiplied by the smaller of old and new exposure, so that neither a lower exposure after a cut nor a
    higher one alone counts as a share below its floor.
    """
    worst, lack, floor = "", 0, 0
    exposure = min(published.exposure, proposal.exposure)
    lo = [limit.lo for limit in proposal.limits.values()]
    floors = {low: ppm(low * proposal.floor_scale, exposure) for low in set(lo)}
    for agent, low, share in zip(proposal.limits, lo, before, strict=True):
        if (
            floors[low] - share > lack
            and agent in published.shares
            and agent not in proposal.unwell
            and proposal.shares[agent] > share
        ):
            worst, lack, floor = agent, floors[low] - share, floors[low]
    return Trigger(Reason.BELOW_FLOOR, lack > 0, floor - lack, floor, worst)


def _changes(
    proposal: Proposal, published: Publication, left: Sequence[Agent], rules: Rules
) -> tuple[Trigger, Trigger, Trigger]:
    """Return the triggers for the largest change of a line, the growth of the reserve, and the turnover."""
    old, new = published.shares, proposal.shares
    lines = [*new, *left]
    changes = [abs(share - old.get(agent, 0)) for agent, share in new.items()] + [old[agent] for agent in left]
    growth = WHOLE - sum(new.values()) - published.reserve
    if growth > 0:
        growth = max(0, growth - proposal.cut)
    largest = max(changes, default=0)
    line = min([agent for agent, change in zip(lines, changes, strict=True) if change == largest]) if largest else ""
    if abs(growth) > largest:
        largest, line = abs(growth), RESERVE
    moved = sum(changes) + abs(growth)
    single, derisk, turnover = (
        max(1, round(limit * WHOLE)) for limit in (rules.threshold, rules.derisk_threshold, rules.turnover_threshold)
    )
    return (
        Trigger(Reason.THRESHOLD, largest >= single, largest, single, line),
        Trigger(Reason.DERISK, growth >= derisk, growth, derisk, RESERVE),
        Trigger(Reason.TURNOVER, moved >= 2 * turnover, moved // 2, turnover),
    )


def brakes(state: State, now: float, rules: Rules) -> tuple[Brake, Brake]:
    """Return both brakes for the case that this cycle asks for a move."""
    asked = state.asked + 1
    # If the clock was set back since the last move, the move counts as made now: the wait is at most one cool-down.
    since = None if state.moved_at is None else max(0.0, now - state.moved_at)
    cooling = rules.cooldown_seconds > 0 and since is not None and since < rules.cooldown_seconds
    return (
        Brake(Reason.COOLDOWN, cooling, rules.cooldown_seconds if since is None else since, rules.cooldown_seconds),
        Brake(Reason.CONFIRMING, asked < rules.confirm_cycles, asked, rules.confirm_cycles),
    )


@dataclass(frozen=True, slots=True)
class Cut:
    """Shares that may be published under a brake or a hold for agents: none is above its published share."""

    reason: Reason
    shares: dict[Agent, Ppm]
    weights: dict[Agent, float]
    exposure: float


def cut(published: Publication, limits: Mapping[Agent, AgentLimits], exposure: float, rules: Rules) -> Cut | None:
    """Return the cut that is due, or None.

    Exposure becomes the smaller of published and new. Every share is scaled with it and then cut to its cap, and lines
    of non-members become 0; what is freed goes to the reserve. A cut is due if a share is above its cap, if exposure
    becomes 0, or if the scaling alone frees DERISK_THRESHOLD.
    """
    lowered = min(published.exposure, exposure)
    ratio = lowered / published.exposure if published.exposure > 0 else 1.0
    scaled = {agent: int(share * ratio + 1e-6) for agent, share in published.shares.items()}
    if sum(scaled.values()) > ppm(1.0, lowered):
        # In a large fleet the added 1e-6 can sum up to a millionth more than exposure allows.
        scaled = {agent: int(share * ratio) for agent, share in published.shares.items()}
    freed = sum(published.shares.values()) - sum(scaled.values())
    before = [published.shares.get(agent, 0) for agent in limits]
    if _breach(limits, before, published.exposure).fired:
        reason = Reason.CUT_LIMIT
    elif lowered == 0.0 < published.exposure:
        reason = Reason.CUT_EXPOSURE_ZERO
    elif freed >= max(1, round(rules.derisk_threshold * WHOLE)):
        reason = Reason.CUT_DERISK
    else:
        return None
    shares: dict[Agent, Ppm] = {}
    weights: dict[Agent, float] = {}
    for agent, share in scaled.items():
        if agent not in limits:
            shares[agent], weights[agent] = 0, 0.0
            continue
        allowed = ppm(limits[agent].hi, lowered)
        shares[agent] = min(share, allowed)
        uncut = share <= allowed or lowered == 0.0
        weights[agent] = published.weights[agent] if uncut else shares[agent] / WHOLE / lowered
    return None if shares == published.shares else Cut(reason, shares, weights, lowered)
