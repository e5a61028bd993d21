"""The log lines of a start, a decision and a publication, in NeoLight's wording. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from heapq import nlargest
from typing import Final

from capital_governor.core.fleet_range import FleetRange
from capital_governor.core.hold import EXITS
from capital_governor.core.model import WHOLE, Agent, Ppm, Publication, Rules, Snapshot, State, iso_text, utc_text
from capital_governor.core.reason import GATE_REFUSALS, STAYS, Reason
from capital_governor.core.trace import Decision
from capital_governor.wording.amounts import count_text, ratio_text
from capital_governor.wording.log_events import Line, LogEvent
from capital_governor.wording.reason_texts import Announcement, brake_text, figures, message
from capital_governor.wording.withheld_texts import causes_after, end_text, lapse_end_text

SCORE_LINES: Final = 20
"""Score lines per cycle, so that those of a large fleet do not hide all else in the log."""

FLEET_LINE: Final = 50
"""Shares per log line; the files have all of them."""

NAMED_AGENTS: Final = 10
"""So many agents are named in an alert."""

WITHHELD_LINES: Final = 20
"""Lines per cycle about what is withheld from an agent."""


def start_lines(rules: Rules, now: float, *, telegram: bool, dry_run: bool = False) -> Iterator[Line]:
    """Yield the lines of a start; ``now`` in seconds since 1970 UTC."""
    yield LogEvent.STARTING.line(at=iso_text(now))
    yield LogEvent.CONFIG.line(min_alloc=rules.min_alloc, max_alloc=rules.max_alloc, threshold=rules.threshold)
    if telegram and dry_run:
        yield LogEvent.TELEGRAM_DRY_RUN.line()
    elif telegram:
        yield LogEvent.TELEGRAM_ON.line()
    else:
        yield LogEvent.TELEGRAM_OFF.line()


def fleet_range_line(room: FleetRange, rules: Rules) -> Line:
    """Return how far scores can move a weight; a warning if that is less than any threshold."""
    if not room.freezes(rules):
        return LogEvent.FLEET_RANGE.line(
            agents=room.agents,
            min_alloc=rules.min_alloc,
            max_alloc=rules.max_alloc,
            lowest=room.lowest,
            highest=room.highest,
            forced_reserve=room.forced_reserve,
        )
    remedy = (
        "lower CAPITAL_GOVERNOR_MIN_ALLOC" if room.highest < rules.max_alloc else "raise CAPITAL_GOVERNOR_MAX_ALLOC"
    )
    return LogEvent.FLEET_FROZEN.line(
        agents=room.agents,
        min_alloc=rules.min_alloc,
        max_alloc=rules.max_alloc,
        lowest=room.lowest,
        highest=room.highest,
        forced_reserve=room.forced_reserve,
        remedy=remedy,
    )


def unwell_texts(decision: Decision, payload: Snapshot) -> dict[Agent, str]:
    """Return what is wrong, by agent: faulty, absent or lapsed members, and other agents with a faulty record."""
    trace = decision.trace
    texts = {agent: f"faulty record, not admitted: {fault}" for agent, fault in payload.faults.items()}
    texts |= {agent: f"faulty record, may not gain: {fault}" for agent, fault in trace.faulty.items()}
    texts |= dict.fromkeys(trace.absent, "no record, may not gain")
    for agent in trace.lapsed:
        if agent not in payload.metrics:
            fault = payload.faults.get(agent)
            texts[agent] = "no record, lapsed" if fault is None else f"faulty record, lapsed: {fault}"
    return texts


def hold_line(
    decision: Decision,
    rules: Rules,
    *,
    visible: Publication | None,
    now: float = 0.0,
    interval_seconds: float | None = None,
) -> Line:
    """Return why a cycle held or was refused, and what ends that.

    Of a hold because of the agents also which they are, with their shares, and when their capital goes, to nobody.

    Args:
        decision: the hold.
        rules: of the cycle.
        visible: what the agents see after it.
        now: its time, in seconds since 1970 UTC.
        interval_seconds: between cycles; None: times are told in cycles only.
    """
    hold = decision.trace.hold
    if hold is None or decision.reason in GATE_REFUSALS:
        return LogEvent.GATE_REFUSED.line(reason=decision.reason.value, message=message(decision.reason, rules))
    unwell = _unwell(decision)
    if visible is not None and unwell:
        shares, more = shown_shares({agent: visible.shares.get(agent, 0) for agent in unwell}, NAMED_AGENTS)
        return LogEvent.AGENTS_HOLD_BEGAN.line(
            reason=hold.reason.value,
            message=message(hold.reason, rules),
            detail=hold.detail,
            shares=shares,
            more=more,
            total=sum(visible.shares.get(agent, 0) for agent in unwell) / WHOLE,
            then=_then(decision, rules, now, interval_seconds),
            ends_with=EXITS[hold.reason],
        )
    return LogEvent.HOLD_BEGAN.line(
        reason=hold.reason.value,
        message=message(hold.reason, rules),
        detail=hold.detail,
        ends_with=EXITS[hold.reason],
    )


def _unwell(decision: Decision) -> tuple[Agent, ...]:
    """Return the members because of which a cycle holds."""
    trace, reason = decision.trace, decision.trace.hold and decision.trace.hold.reason
    if reason is Reason.MEMBERS_GONE:
        excused = decision.after.latches.accepted
        return tuple(agent for agent, cycles in trace.absent.items() if cycles == 0 and agent not in excused)
    if reason is Reason.FAULTY_MAJORITY:
        return tuple(trace.faulty)
    return (*trace.faulty, *trace.absent) if reason is Reason.NO_AGENTS else ()


def _then(decision: Decision, rules: Rules, now: float, interval_seconds: float | None) -> str:
    """Return what becomes of these members' capital, and when, if nothing changes."""
    if decision.trace.hold is None or decision.trace.hold.reason is not Reason.MEMBERS_GONE:
        return "Their shares stay as they are while this lasts; nobody else gets them."
    grace = rules.membership_grace_cycles
    cycles = 4 * max(1, grace) - decision.after.latches.gone_cycles + grace + 1
    when = f"in {count_text(cycles, 'cycle')}"
    if interval_seconds is not None:
        when += f", at {utc_text(now + cycles * interval_seconds)}"
    if rules.release_after_cycles == 0:
        return f"Their shares stay; if nothing changes, they are shared out among the others {when} (RELEASE_AFTER=0)."
    return f"Their shares stay; if nothing changes, they go to the reserve {when}, and to nobody else."


def lapsed_line(lapsed: Collection[Agent], published: Publication | None, rules: Rules) -> Line:
    """Return which agents are lapsed, with what they would have, and what ends it."""
    plan = _plan_lines(lapsed, published)
    shares, more = shown_shares(plan, NAMED_AGENTS)
    return LogEvent.AGENTS_LAPSED.line(
        cycles=rules.membership_grace_cycles,
        shares=shares,
        more=more,
        withheld=sum(plan.values()) / WHOLE,
        ends_with=lapse_end_text(plan, rules),
    )


def lapse_over_line(returned: Collection[Agent], published: Publication | None) -> Line:
    """Return which agents are back after a lapse, with their plan lines and their shares now."""
    plan, more = shown_shares(_plan_lines(returned, published), NAMED_AGENTS)
    now = {} if published is None else published.shares
    shares = {agent: now.get(agent, 0) / WHOLE for agent in plan}
    return LogEvent.LAPSE_OVER.line(plan=plan, shares=shares, more=more)


def retired_lines(decision: Decision, before: State, rules: Rules) -> Iterator[Line]:
    """Yield why each member that this cycle retires is none any more."""
    lines = {} if before.published is None else before.published.shares
    for agent in decision.trace.retired:
        cause = f"no record in {count_text(rules.release_after_cycles or 0, 'decided cycle')} since it lapsed"
        if agent in decision.after.latches.accepted:
            cause = "the operator accepted or released it"
        elif agent not in lines:
            cause = "absent for too long, and it had no share"
        elif rules.release_after_cycles == 0:
            cause = "absent for too long"
        yield LogEvent.AGENT_RETIRED.line(agent=agent, cause=cause)


def released_line(decision: Decision, before: State) -> Line | None:
    """Return which members with a part in the published plan this cycle retires; None if none."""
    retired = {agent: line for agent, line in _plan_lines(decision.trace.retired, before.published).items() if line}
    shares, more = shown_shares(retired, NAMED_AGENTS)
    return LogEvent.AGENTS_RELEASED.line(shares=shares, more=more) if retired else None


def _plan_lines(agents: Collection[Agent], published: Publication | None) -> dict[Agent, Ppm]:
    plan = {} if published is None else published.plan
    return {agent: plan.get(agent, 0) for agent in sorted(agents)}


def withheld_lines(decision: Decision, known: Mapping[Agent, str], rules: Rules) -> Iterator[Line]:
    """Yield a line for each agent from which something begins to be withheld, by something else, or no longer is.

    Args:
        decision: of a cycle that decided, or of a cut in a hold.
        known: by agent, what withheld something in the cycle before: ``causes_after``.
        rules: of the cycle.
    """
    withheld, published = decision.trace.withheld, decision.proposal or decision.after.published
    plan = {} if published is None else published.plan
    causes = causes_after(decision.trace, known)
    changed = [agent for agent, cause in causes.items() if known.get(agent) != cause]
    changed += sorted(known.keys() - withheld.keys())
    for agent in changed[:WITHHELD_LINES]:
        found = withheld.get(agent)
        if found is None:
            yield LogEvent.AGENT_RESTORED.line(agent=agent)
            continue
        yield LogEvent.AGENT_WITHHELD.line(
            agent=agent,
            withheld=found.amount / WHOLE,
            plan=plan.get(agent, 0) / WHOLE,
            cause=causes[agent],
            ends_with=end_text(agent, found, rules),
        )
    if len(changed) > WITHHELD_LINES:
        yield LogEvent.WITHHELD_LEFT_OUT.line(left_out=len(changed) - WITHHELD_LINES)


def decided_lines(decision: Decision, rules: Rules) -> Iterator[Line]:
    """Yield the lines of a cycle that decided: scores, multiplier, and if nothing moves, why."""
    trace, after = decision.trace, decision.after
    for agent in list(trace.scores)[:SCORE_LINES]:
        seen = after.metrics.get(agent)
        if seen is not None:
            yield LogEvent.AGENT_SCORED.line(
                agent=agent,
                score=trace.scores[agent],
                pnl_7d=seen.pnl_7d,
                sharpe_30d=seen.sharpe_30d,
                winrate_30d=seen.winrate_30d,
            )
    if len(trace.scores) > SCORE_LINES:
        yield LogEvent.SCORES_LEFT_OUT.line(left_out=len(trace.scores) - SCORE_LINES)
    for multiplier in trace.multipliers:
        if multiplier.name == trace.exposure_by and multiplier.value < 1.0:
            yield LogEvent.MULTIPLIER_APPLIED.line(
                value=multiplier.value, multiplier=multiplier.name, origin=multiplier.origin
            )
    if decision.proposal is None:
        yield LogEvent.NO_MOVE.line(
            reason=decision.reason.value, message=message(decision.reason, rules), nearest=_nearest_miss(decision)
        )


def _nearest_miss(decision: Decision) -> str:
    """Return the largest change and its threshold, or how far a brake is; empty if neither prevented a move."""
    for brake in decision.trace.brakes:
        if brake.reason is decision.reason:
            return brake_text(brake)
    for trigger in decision.trace.triggers:
        if decision.reason in STAYS and trigger.reason is Reason.THRESHOLD and trigger.value and not trigger.fired:
            value, _ = figures(trigger.value, trigger.limit)
            return f"largest change {value} ({trigger.subject}) < {ratio_text(trigger.limit / WHOLE)}"
    return ""


def announcement_lines(told: Announcement, rules: Rules) -> Iterator[Line]:
    """Yield the lines of a move, cut or restore."""
    old, new = told.before, told.publication
    yield LogEvent.MOVE_MADE.line(
        reason=new.reason.value,
        generation=new.generation,
        message=message(new.reason, rules),
        evidence=told.evidence.removeprefix(": "),
    )
    shares, more = shown_shares(old.shares if old else {})
    yield LogEvent.OLD_SHARES.line(shares=shares, more=more, generation=None if old is None else old.generation)
    shares, more = shown_shares(new.shares)
    yield LogEvent.NEW_SHARES.line(shares=shares, more=more, generation=new.generation)
    if new.withheld:
        shares, more = shown_shares(new.withheld)
        yield LogEvent.WITHHELD.line(shares=shares, more=more, generation=new.generation)


def waiting_line(waiting: Publication, visible: Publication | None) -> Line:
    """Return the line of a move or cut that was decided, but that the agents cannot see yet."""
    seen = "no shares yet" if visible is None else f"generation {visible.generation}"
    return LogEvent.MOVE_WAITS.line(generation=waiting.generation, agents_have=seen)


def shown_shares(shares: Mapping[Agent, Ppm], most: int = FLEET_LINE) -> tuple[dict[Agent, float], int]:
    """Return shares for a log line, 0..1, the largest if there are more than ``most``, and how many are left out."""
    shown: Iterable[Agent] = shares
    if len(shares) > most:
        shown = nlargest(most, shares, key=shares.__getitem__)
    parts = {agent: shares[agent] / WHOLE for agent in shown}
    return parts, len(shares) - len(parts)
