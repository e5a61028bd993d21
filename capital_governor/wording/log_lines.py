"""The log lines of a start, a decision and a publication, in NeoLight's wording. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from heapq import nlargest
from typing import Final

from capital_governor.core.fleet_range import FleetRange
from capital_governor.core.hold import EXITS
from capital_governor.core.model import WHOLE, Agent, Ppm, Publication, Rules, Snapshot, iso_text
from capital_governor.core.reason import GATE_REFUSALS, STAYS, Reason
from capital_governor.core.trace import Decision
from capital_governor.wording.amounts import ratio_text
from capital_governor.wording.log_events import Line, LogEvent
from capital_governor.wording.reason_texts import Announcement, brake_text, figures, message

SCORE_LINES: Final = 20
"""Score lines per cycle, so that those of a large fleet do not hide all else in the log."""

FLEET_LINE: Final = 50
"""Shares per log line; the files have all of them."""


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
    """Return what is wrong, by agent: faulty or absent members, and other agents with a faulty record."""
    trace = decision.trace
    texts = {agent: f"faulty record, not admitted: {fault}" for agent, fault in payload.faults.items()}
    texts |= {agent: f"faulty record, may not gain: {fault}" for agent, fault in trace.faulty.items()}
    texts |= dict.fromkeys(trace.absent, "no record, may not gain")
    return texts


def hold_line(decision: Decision, rules: Rules) -> Line:
    """Return why a cycle held or was refused, and what ends that."""
    hold = decision.trace.hold
    if hold is None or decision.reason in GATE_REFUSALS:
        return LogEvent.GATE_REFUSED.line(reason=decision.reason.value, message=message(decision.reason, rules))
    return LogEvent.HOLD_BEGAN.line(
        reason=hold.reason.value,
        message=message(hold.reason, rules),
        detail=hold.detail,
        ends_with=EXITS[hold.reason],
    )


def decided_lines(decision: Decision, rules: Rules) -> Iterator[Line]:
    """Yield the lines of a cycle that decided: scores, multiplier, and if nothing moves, why."""
    trace, after = decision.trace, decision.after
    for agent in trace.retired:
        yield LogEvent.AGENT_RETIRED.line(agent=agent)
    for agent in list(trace.scores)[:SCORE_LINES]:
        seen = after.agents[agent].metrics
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
    """Yield the lines of a move or cut."""
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


def waiting_line(waiting: Publication, visible: Publication | None) -> Line:
    """Return the line of a move or cut that was decided, but that the agents cannot see yet."""
    seen = "no shares yet" if visible is None else f"generation {visible.generation}"
    return LogEvent.MOVE_WAITS.line(generation=waiting.generation, agents_have=seen)


def shown_shares(shares: Mapping[Agent, Ppm]) -> tuple[dict[Agent, float], int]:
    """Return the shares for a log line, 0..1, the largest of a large fleet, and how many are left out."""
    shown: Iterable[Agent] = shares
    if len(shares) > FLEET_LINE:
        shown = nlargest(FLEET_LINE, shares, key=shares.__getitem__)
    parts = {agent: shares[agent] / WHOLE for agent in shown}
    return parts, len(shares) - len(parts)
