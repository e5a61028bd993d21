"""Reasons and causes of decisions in NeoLight's wording, for log, messages and tables. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from capital_governor.core.model import RESERVE, WHOLE, Agent, Ppm, Publication, Rules, State
from capital_governor.core.reason import CUTS, GATE_REFUSALS, HOLDS, MOVES, Reason
from capital_governor.core.trace import Brake, Decision
from capital_governor.wording.amounts import ratio_text
from capital_governor.wording.log_events import WAITING, Line

NAMED_CHANGES: Final = 5
"""So many agents are named in the figures of a cut or restore, the largest changes first."""

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
    Reason.CUT_CEILING: "Shares cut (exposure is above its ceiling)",
    Reason.CUT_EXPOSURE_ZERO: "Shares cut (exposure is 0)",
    Reason.CUT_DERISK: "Shares cut (lower exposure frees >= {derisk})",
    Reason.CUT_LIMIT: "Shares cut (a published share is above its limit)",
    Reason.CUT_LAPSE: "Shares cut (an agent has lapsed or left the fleet)",
    Reason.RESTORE: "Shares restored (less is withheld)",
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
    Reason.GATE_STRANGER: "Gate refused the proposal (a share for a lapsed agent, or for no member)",
    Reason.GATE_RISE: "Gate refused the proposal (a share would rise under a brake or a hold)",
    Reason.GATE_FORBIDDEN: "Gate refused the proposal (nothing may move now)",
    Reason.GATE_GENERATION: "Gate refused the proposal (its generation is not the next)",
    Reason.INTERNAL_ERROR: "Unexpected error - maintaining current allocations",
}
"""By reason, its sentence; ``{...}`` are the thresholds in force."""


def message(reason: Reason, rules: Rules) -> str:
    """Return the sentence of a reason."""
    return MESSAGES[reason].format(
        threshold=ratio_text(rules.threshold),
        derisk=ratio_text(rules.derisk_threshold),
        turnover=ratio_text(rules.turnover_threshold),
    )


def figures(value: Ppm, limit: Ppm) -> tuple[str, str]:
    """Return two shares with four digits, or with six if four would show different shares as equal."""
    digits = 4 if value == limit or abs(value - limit) >= 100 else 6  # noqa: PLR2004 - the fourth digit
    return f"{value / WHOLE:.{digits}f}", f"{limit / WHOLE:.{digits}f}"


def reason_kind(reason: Reason) -> str:
    """Return the kind of a reason: move, cut, restore, stay, hold or refused."""
    for kind, reasons in (("move", MOVES), ("cut", CUTS), ("hold", HOLDS), ("refused", GATE_REFUSALS)):
        if reason in reasons:
            return kind
    return "restore" if reason is Reason.RESTORE else "stay"


@dataclass(frozen=True, slots=True)
class Announcement:
    """A move, cut or restore that the agents can see, since it is in the primary file.

    Args:
        publication: what is in the file.
        before: what was in it before; None if it had nothing readable.
        evidence: the cause with figures, which follows the sentence of its reason; empty if unknown after a restart.
        lapses: lines about lapses that were decided with it; none if unknown after a restart.
    """

    publication: Publication
    before: Publication | None
    evidence: str = ""
    lapses: tuple[Line, ...] = ()


def waiting_text(generation: int) -> str:
    """Return the sentence that a generation is decided, but that the agents cannot see it yet."""
    return WAITING.format(generation=generation)


def evidence(decision: Decision, before: State) -> str:
    """Return the first trigger that fired with its figures; a change with its sign.

    Of a cut or restore: the exposure, and the shares that changed otherwise.
    """
    fired = next((trigger for trigger in decision.trace.triggers if trigger.fired), None)
    new, old = decision.proposal, before.published
    if new is None or old is None:
        return ""
    if decision.reason in CUTS | {Reason.RESTORE}:
        return f": {_changes_text(new, old)}"
    if fired is None or fired.reason is Reason.EXPOSURE_ZERO:  # the figures add nothing to the sentence
        return ""
    if fired.reason in {Reason.MEMBER_LEFT, Reason.MEMBER_JOINED}:
        return f": {fired.subject}" + (f" and {fired.value - 1} more" if fired.value > 1 else "")
    sign = ""
    if fired.reason is Reason.THRESHOLD:
        is_reserve = fired.subject == RESERVE
        rise = _growth(new, old) if is_reserve else _line(new, fired.subject) - _line(old, fired.subject)
        sign = "+" if rise > 0 else "-"
    subject = f"{fired.subject} " if fired.subject else ""
    value, limit = figures(fired.value, fired.limit)
    return f": {subject}{sign}{value} against {limit}"


def _line(publication: Publication, agent: Agent) -> Ppm:
    return publication.shares.get(agent, 0) + publication.withheld.get(agent, 0)


def _growth(new: Publication, old: Publication) -> Ppm:
    """Return by how much the reserve of the plan grows: what is withheld plays no part."""
    return sum(old.plan.values()) - sum(new.plan.values())


def _changes_text(new: Publication, old: Publication) -> str:
    """Return how exposure changes, whose shares change besides, and what that makes of the reserve."""
    parts = []
    changed = {agent: share for agent, share in new.shares.items() if share != old.shares.get(agent, 0)}
    if new.exposure != old.exposure:
        parts.append(f"exposure {ratio_text(old.exposure)} to {ratio_text(new.exposure)}")
        # A lower exposure lowers all shares; the others are those from which more is withheld, too.
        changed = {agent: changed[agent] for agent in changed if _withheld(new, agent) > _withheld(old, agent)}
    ranked = sorted(changed, key=lambda agent: (-abs(changed[agent] - old.shares.get(agent, 0)), agent))
    for agent in ranked[:NAMED_CHANGES]:
        was, now = figures(old.shares.get(agent, 0), changed[agent])
        parts.append(f"{agent} {was} to {now}")
    if len(ranked) > NAMED_CHANGES:
        parts.append(f"{len(ranked) - NAMED_CHANGES} more")
    freed = new.reserve - old.reserve
    amount, _ = figures(abs(freed), 0)
    return ", ".join([*parts, f"{amount} {'more' if freed > 0 else 'less'} in reserve"])


def _withheld(publication: Publication, agent: Agent) -> Ppm:
    return publication.withheld.get(agent, 0)


def brake_text(brake: Brake) -> str:
    """Return how far a brake is, rounded down, so that a brake that is on is never shown as complete."""
    unit = "s" if brake.reason is Reason.COOLDOWN else "cycles"
    return f"{math.floor(brake.value)} of {brake.limit:.15g} {unit}"
