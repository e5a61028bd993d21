"""Reason and Decision -> words: log lines in NeoLight's wording, and messages to the operator. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import nlargest
from typing import Final

from capital_governor.core.fleet_range import Leeway
from capital_governor.core.hold import EXITS
from capital_governor.core.model import RESERVE, WHOLE, Agent, Ppm, Publication, Rules, Snapshot, State
from capital_governor.core.reason import CUTS, GATE_REFUSALS, HOLDS, MOVES, STAYS, Reason
from capital_governor.core.trace import Brake, Decision
from capital_governor.wording.amounts import count_text, ratio_text
from capital_governor.wording.log_events import WAITING, Line, LogEvent

MESSAGES: Final[Mapping[Reason, str]] = {
    Reason.FIRST_ALLOCATION: "Reallocation triggered (first allocation)",
    Reason.LIMIT_BREACHED: "Reallocation triggered (a published share is above its limit)",
    Reason.EXPOSURE_ZERO: "Reallocation triggered (exposure is 0)",
    Reason.MEMBER_LEFT: "Reallocation triggered (an agent with a share left the fleet)",
    Reason.MEMBER_JOINED: "Reallocation triggered (an agent joined the fleet)",
    Reason.BELOW_FLOOR: "Reallocation triggered (a published share is below its floor)",
    Reason.THRESHOLD: "Reallocation triggered (change >= {threshold})",
    Reason.DERISK: "Reallocation triggered (reserve must grow >= {derisk})",
    Reason.TURNOVER: "Reallocation triggered (turnover >= {turnover})",
    Reason.CUT_LIMIT: "Shares cut (a published share is above its limit)",
    Reason.CUT_EXPOSURE_ZERO: "Shares cut (exposure is 0)",
    Reason.CUT_DERISK: "Shares cut (lower exposure frees >= {derisk})",
    Reason.UNCHANGED: "No reallocation needed (the proposal is what is published)",
    Reason.BELOW_THRESHOLD: "No reallocation needed (no change is worth a move)",
    Reason.COOLDOWN: "Reallocation wanted, but cooling down since the last move",
    Reason.CONFIRMING: "Reallocation wanted, but not yet asked for often enough in a row",
    Reason.STOPPED: "STOP file present - writing nothing",
    Reason.PAUSED: "Guardian paused - maintaining current allocations",
    Reason.OPERATOR_HOLD: "Operator hold - maintaining current allocations",
    Reason.FILES_UNWRITABLE: "Allocation files cannot be written - maintaining current allocations",
    Reason.FETCH_FAILED: "Meta-metrics not fetched - maintaining current allocations",
    Reason.PAYLOAD_REFUSED: "Meta-metrics refused - maintaining current allocations",
    Reason.PAYLOAD_STALE: "Meta-metrics are stale - maintaining current allocations",
    Reason.PAYLOAD_FUTURE: "Meta-metrics are from the future - maintaining current allocations",
    Reason.GUARDIAN_LOST: "Guardian block lost - maintaining current allocations",
    Reason.TIMESTAMP_LOST: "Time stamp lost - maintaining current allocations",
    Reason.NO_AGENTS: "No agents - maintaining current allocations",
    Reason.FAULTY_MAJORITY: "Most agents are faulty - maintaining current allocations",
    Reason.MEMBERS_GONE: "Half of the fleet or more is gone - maintaining current allocations",
    Reason.GATE_SUM: "Gate refused the proposal (shares and reserve do not add up)",
    Reason.GATE_EXPOSURE: "Gate refused the proposal (more is deployed than exposure allows)",
    Reason.GATE_LIMIT: "Gate refused the proposal (a share is above its limit)",
    Reason.GATE_FAULTY_GAIN: "Gate refused the proposal (a faulty or absent agent would gain)",
    Reason.GATE_MULTIPLIER: "Gate refused the proposal (exposure is above a multiplier)",
    Reason.GATE_STRANGER: "Gate refused the proposal (a name that is no member)",
    Reason.GATE_RISE: "Gate refused the proposal (a share would rise under a brake or a hold)",
    Reason.GATE_FORBIDDEN: "Gate refused the proposal (nothing may move now)",
    Reason.GATE_GENERATION: "Gate refused the proposal (its generation is not the next)",
    Reason.INTERNAL_ERROR: "Unexpected error - maintaining current allocations",
}
"""One message a reason; ``{...}`` are the thresholds in force."""

LONGEST_NOTICE: Final = 4096
"""What one Telegram message may hold, reckoned in UTF-16 units, which are never fewer than characters."""
SCORE_LINES: Final = 20
"""Score lines of one cycle; a fleet above that would drown everything else in the log."""

FLEET_LINE: Final = 50
"""Shares in one log line; the files have them all."""


def message(reason: Reason, rules: Rules) -> str:
    """Return the sentence of a reason."""
    return MESSAGES[reason].format(
        threshold=ratio_text(rules.threshold),
        derisk=ratio_text(rules.derisk_threshold),
        turnover=ratio_text(rules.turnover_threshold),
    )


def figures(value: Ppm, limit: Ppm) -> tuple[str, str]:
    """Return two shares with four digits, or with all six where four would show them as equal, and they are not."""
    digits = 4 if value == limit or abs(value - limit) >= 100 else 6  # noqa: PLR2004 - the last of four digits
    return f"{value / WHOLE:.{digits}f}", f"{limit / WHOLE:.{digits}f}"


def outcome(reason: Reason) -> str:
    """Return the kind of a reason: move, cut, stay, hold or refused."""
    for kind, reasons in (("move", MOVES), ("cut", CUTS), ("hold", HOLDS), ("refused", GATE_REFUSALS)):
        if reason in reasons:
            return kind
    return "stay"


def shown_shares(shares: Mapping[Agent, Ppm]) -> tuple[dict[Agent, float], int]:
    """Return what the log shows of shares, 0..1, and how many it leaves out: of a large fleet it shows the largest."""
    shown: Iterable[Agent] = shares
    if len(shares) > FLEET_LINE:
        shown = nlargest(FLEET_LINE, shares, key=shares.__getitem__)
    parts = {agent: shares[agent] / WHOLE for agent in shown}
    return parts, len(shares) - len(parts)


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


@dataclass(frozen=True, slots=True)
class Announcement:
    """A move or a cut that the agents can see: the primary file carries it.

    Args:
        publication: what the file says.
        before: what it said before; None if nothing that anybody could read.
        evidence: what drove it, with figures, to follow the sentence of its reason; empty if that is not known any
            more, after a restart in between.
    """

    publication: Publication
    before: Publication | None
    evidence: str = ""


def announcement_lines(told: Announcement, rules: Rules) -> Iterator[Line]:
    """Yield what the log says of a move or a cut."""
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
    """Return what the log says of a move or a cut that was decided, and that the agents cannot see yet."""
    seen = "no shares yet" if visible is None else f"generation {visible.generation}"
    return LogEvent.MOVE_WAITS.line(generation=waiting.generation, agents_have=seen)


def waiting_text(generation: int) -> str:
    """Return that a generation is decided, and that the agents cannot see it yet."""
    return WAITING.format(generation=generation)


def decided_lines(decision: Decision, rules: Rules) -> Iterator[Line]:
    """Yield the lines of a cycle that decided: scores, multiplier, and why nothing moves where that is so."""
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


def start_lines(rules: Rules, now: float, *, telegram: bool, dry_run: bool = False) -> Iterator[Line]:
    """Yield what a start says of itself; ``now`` in seconds since 1970 UTC."""
    yield LogEvent.STARTING.line(at=f"{datetime.fromtimestamp(now, UTC):%Y-%m-%dT%H:%M:%SZ}")
    yield LogEvent.CONFIG.line(min_alloc=rules.min_alloc, max_alloc=rules.max_alloc, threshold=rules.threshold)
    if telegram and dry_run:
        yield LogEvent.TELEGRAM_DRY_RUN.line()
    elif telegram:
        yield LogEvent.TELEGRAM_ON.line()
    else:
        yield LogEvent.TELEGRAM_OFF.line()


def telegram_text(decision: Decision, before: State, rules: Rules) -> str:
    """Return what the operator is told of a move or a cut, in at most LONGEST_NOTICE characters.

    A line for each agent by falling share, one for the reserve if there is any, and one that says what drove it. Of a
    fleet that does not fit, the smallest shares are added up in one line.
    """
    new = decision.proposal
    if new is None:
        raise ValueError(f"a decision that publishes nothing is no move: {decision.reason}")
    tail = [f"Reserve: {_percent(new.reserve)}"] if new.reserve else []
    tail.append(message(decision.reason, rules) + evidence(decision, before))
    return _shares_notice("🎯 Capital Reallocation:", new, tail)


def taken_back_text(given_up: Publication, visible: Publication | None) -> str:
    """Return what the operator is told where a move or cut that they were told of is given up.

    Args:
        given_up: what no agent has, and never will.
        visible: what the agents have instead; None: nothing of this governor's.
    """
    when = f"{datetime.fromtimestamp(given_up.at, UTC):%Y-%m-%d %H:%M} UTC"
    head = f"↩️ Capital Reallocation taken back: generation {given_up.generation} of {when} is not in force"
    if visible is None:
        return f"{head}. Agents have no shares from this governor yet."
    return _shares_notice(f"{head}. Agents have:", visible, [f"Reserve: {_percent(visible.reserve)}"])


def _shares_notice(head: str, published: Publication, tail: list[str]) -> str:
    """Return head, a line for each agent by falling share, and tail, in at most LONGEST_NOTICE characters."""
    ranked = sorted(published.shares.items(), key=lambda item: (-item[1], item[0]))
    lines, room = [head], LONGEST_NOTICE - _length(head, *tail)
    whole = _length(*(_share_line(agent, share) for agent, share in ranked)) <= room
    room -= 0 if whole else _length(f"... and {len(ranked)} more: 100.0%")
    for place, (agent, share) in enumerate(ranked):
        line = _share_line(agent, share)
        room -= _length(line)
        if room < 0:
            rest = ranked[place:]
            lines.append(f"... and {len(rest)} more: {_percent(sum(share for _, share in rest))}")
            break
        lines.append(line)
    return "\n".join(lines + tail)


def digest_text(generation: int | None, moves: int, holds: int) -> str:
    """Return what the operator is told once a day of the 24 hours before."""
    published = "nothing published" if generation is None else f"generation {generation}"
    return f"☀️ Capital Governor: alive, {published}, {count_text(moves, 'move')}, {count_text(holds, 'hold')} in 24 h"


def alert_text(line: Line) -> str:
    """Return what the operator is told of an alert."""
    return f"{'✅' if line.over else '⚠️'} {line.text}"


def _share_line(agent: Agent, share: Ppm) -> str:
    return f"{agent}: {_percent(share)}"


def _percent(share: Ppm) -> str:
    return f"{100 * share / WHOLE:.1f}%"


def _length(*lines: str) -> int:
    """Return what these lines take, line ends included."""
    return sum(len(line.encode("utf-16-le")) // 2 + 1 for line in lines)


def leeway_line(room: Leeway, rules: Rules) -> Line:
    """Return how far scores can move a share, as a warning where that is less than what moves."""
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
    """Return what is wrong, by agent: faulty or absent members, and strangers whose record is faulty."""
    trace = decision.trace
    texts = {agent: f"faulty record, not admitted: {fault}" for agent, fault in payload.faults.items()}
    texts |= {agent: f"faulty record, may not gain: {fault}" for agent, fault in trace.faulty.items()}
    texts |= dict.fromkeys(trace.absent, "no record, may not gain")
    return texts


def evidence(decision: Decision, before: State) -> str:
    """Return what fired first, with its figures; a change with its direction."""
    fired = next((trigger for trigger in decision.trace.triggers if trigger.fired), None)
    new, old = decision.proposal, before.published
    if new is None or old is None:
        return ""
    if decision.reason in CUTS:
        freed = (new.reserve - old.reserve) / WHOLE
        from_to = f"{ratio_text(old.exposure)} to {ratio_text(new.exposure)}"
        return f": exposure {from_to}, {freed:.4f} more in reserve"
    if fired is None or fired.reason is Reason.EXPOSURE_ZERO:  # whose figures say no more than its message
        return ""
    if fired.reason in {Reason.MEMBER_LEFT, Reason.MEMBER_JOINED}:
        return f": {fired.subject}" + (f" and {fired.value - 1} more" if fired.value > 1 else "")
    sign = ""
    if fired.reason is Reason.THRESHOLD:
        is_reserve = fired.subject == RESERVE
        rise = new.reserve - old.reserve if is_reserve else _line(new, fired.subject) - _line(old, fired.subject)
        sign = "+" if rise > 0 else "-"
    subject = f"{fired.subject} " if fired.subject else ""
    value, limit = figures(fired.value, fired.limit)
    return f": {subject}{sign}{value} against {limit}"


def _line(publication: Publication, agent: Agent) -> Ppm:
    return publication.shares.get(agent, 0)


def _nearest_miss(decision: Decision) -> str:
    """Return the largest change next to its threshold, or how far a brake is; nothing where neither was missed."""
    for brake in decision.trace.brakes:
        if brake.reason is decision.reason:
            return brake_text(brake)
    for trigger in decision.trace.triggers:
        if decision.reason in STAYS and trigger.reason is Reason.THRESHOLD and trigger.value and not trigger.fired:
            value, _ = figures(trigger.value, trigger.limit)
            return f"largest change {value} ({trigger.subject}) < {ratio_text(trigger.limit / WHOLE)}"
    return ""


def brake_text(brake: Brake) -> str:
    """Return how far a brake is, rounded down: one that is on has not reached its end."""
    unit = "s" if brake.reason is Reason.COOLDOWN else "cycles"
    return f"{math.floor(brake.value)} of {brake.limit:.15g} {unit}"
