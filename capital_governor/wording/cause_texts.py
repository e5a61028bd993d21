"""Why capital is where it is: causes in plain words and percent, for ``status``, ``history`` and ``decisions``. Pure.

Facts are plain data, as the journal has them; see ``facts_of`` in ``journal/turns.py``. An older journal has none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from capital_governor.core.model import RESERVE, Agent
from capital_governor.core.reason import AGENT_HOLDS, CUTS, GATE_REFUSALS, MOVES, Reason
from capital_governor.core.trace import LimitSource, WithheldBy
from capital_governor.wording.amounts import NAMED, change_text, names_text, percent_text
from capital_governor.wording.exposure_texts import exposure_cause
from capital_governor.wording.fetch_texts import fetch_act, fetch_problem

Facts: TypeAlias = Mapping[str, Any]

PLAIN: Final[Mapping[Reason, str]] = {
    Reason.FIRST_ALLOCATION: "first allocation",
    Reason.LIMIT_BREACHED: "a share was above its limit",
    Reason.EXPOSURE_ZERO: "nothing may be deployed",
    Reason.MEMBER_LEFT: "an agent with a share left the fleet",
    Reason.MEMBER_JOINED: "an agent joined the fleet",
    Reason.BELOW_FLOOR: "a share was below its floor",
    Reason.THRESHOLD: "a large enough change of one share or of the reserve",
    Reason.DERISK: "the reserve had to grow",
    Reason.TURNOVER: "many shares had changed a little",
    Reason.CUT_CEILING: "more was deployed than the ceiling allows",
    Reason.CUT_EXPOSURE_ZERO: "nothing may be deployed",
    Reason.CUT_DERISK: "exposure had to fall",
    Reason.CUT_LIMIT: "a share was above its limit",
    Reason.CUT_LAPSE: "an agent has lapsed or left the fleet",
    Reason.RESTORE: "what was withheld is given back",
    Reason.UNCHANGED: "what is wanted is what is published",
    Reason.BELOW_THRESHOLD: "no change is worth a move",
    Reason.COOLDOWN: "a move is wanted, and waits for the end of COOLDOWN",
    Reason.CONFIRMING: "a move is wanted, and waits for CONFIRM_CYCLES",
    Reason.STOPPED: "the STOP file is there",
    Reason.PAUSED: "Guardian has paused the fleet",
    Reason.OPERATOR_HOLD: "an operator's hold",
    Reason.FILES_UNWRITABLE: "the allocation files cannot be written",
    Reason.FETCH_FAILED: "no metrics could be fetched",
    Reason.PAYLOAD_REFUSED: "the dashboard's answer cannot be used",
    Reason.PAYLOAD_STALE: "the dashboard's metrics are stale",
    Reason.PAYLOAD_FUTURE: "the dashboard's clock is ahead",
    Reason.GUARDIAN_LOST: "the dashboard no longer sends Guardian's data",
    Reason.TIMESTAMP_LOST: "the dashboard no longer sends a time stamp",
    Reason.NO_AGENTS: "no agent reports",
    Reason.FAULTY_MAJORITY: "most agents report faulty records",
    Reason.MEMBERS_GONE: "half of the fleet or more stopped reporting at once",
    Reason.INTERNAL_ERROR: "an unexpected error in the program",
} | dict.fromkeys(GATE_REFUSALS, "the program's own check refused what it had decided")
"""By reason, a clause."""

_ACTS: Final[Mapping[Reason, str]] = {
    Reason.STOPPED: "remove runtime/capital_governor.STOP when capital may move again",
    Reason.FILES_UNWRITABLE: "see what keeps it from writing; agents still have the shares before",
    Reason.FETCH_FAILED: fetch_act(""),
    Reason.PAYLOAD_REFUSED: "see the dashboard's log, or correct NEOLIGHT_DASHBOARD_URL",
    Reason.PAYLOAD_STALE: "the dashboard answers: restart what produces its metrics",
    Reason.PAYLOAD_FUTURE: "set the clocks of this machine and the dashboard's",
    Reason.GUARDIAN_LOST: "see why Guardian is silent, or `capital-governor accept`: that counts as not paused",
    Reason.TIMESTAMP_LOST: "see the dashboard, or `capital-governor accept`: that counts as fresh",
    Reason.NO_AGENTS: "see why no agent reports; `capital-governor accept` goes on without them",
    Reason.FAULTY_MAJORITY: "`capital-governor check` names each fault; `capital-governor accept` goes on without them",
    Reason.MEMBERS_GONE: "see why they are silent; `capital-governor accept` goes on without them",
    Reason.INTERNAL_ERROR: "see the end of the log: this is a fault of the program, please report it",
} | dict.fromkeys(GATE_REFUSALS, "none now, nothing moved: this is a fault of the program, please report it")
_ENDS_BY_ITSELF: Final[Mapping[Reason, str]] = {
    Reason.PAUSED: "it ends when Guardian lifts the pause (file and dashboard)",
    Reason.OPERATOR_HOLD: "it ends as ordered, or with `capital-governor resume`",
}
_SAYS: Final = re.compile(r"the (pause file|payload) says: (.*)", re.DOTALL)


def act_text(reason: Reason | None, detail: str = "") -> tuple[bool, str]:
    """Return whether a person must act on the state after a cycle, and how; why not where none must.

    Args:
        reason: of the cycle; None if it is not known.
        detail: the facts of a hold.
    """
    if reason is None:
        return False, ""
    if reason is Reason.FETCH_FAILED:
        return True, fetch_act(detail)
    return reason in _ACTS, _ACTS.get(reason) or _ENDS_BY_ITSELF.get(reason, "")


def hold_cause(reason: Reason, facts: Facts) -> str:
    """Return why nothing is decided, in one clause."""
    detail = facts.get("hold", "")
    if reason is Reason.PAUSED and (said := _SAYS.fullmatch(detail)):
        why = "no reason given" if said[2] == "paused" else said[2]
        return f"Guardian paused ({said[1]}): {why}"
    if reason is Reason.OPERATOR_HOLD:
        return detail.removeprefix("held ") or PLAIN[reason]
    if reason in AGENT_HOLDS:
        silent = sorted({**facts.get("absent", {}), **facts.get("faulty", {})})
        detail = names_text(silent) or detail
    if reason is Reason.FETCH_FAILED:
        detail = fetch_problem(detail)
    if reason in {Reason.GUARDIAN_LOST, Reason.TIMESTAMP_LOST, Reason.STOPPED} or not detail:
        return PLAIN[reason]
    return f"{PLAIN[reason]}: {detail}"


def move_cause(reason: Reason, facts: Facts, before: float | None, now: float) -> str:
    """Return why shares changed, in one clause.

    Args:
        reason: of a move, cut or restore.
        facts: of its cycle.
        before: the exposure before, 0..1; None if nothing was published.
        now: the exposure that it published.
    """
    exposure = facts.get("exposure", {})
    moved = before is not None and now != before
    fell_or_rose = f"exposure {change_text(before, now)}" if before is not None and moved else ""
    if reason in {Reason.EXPOSURE_ZERO, Reason.CUT_EXPOSURE_ZERO, Reason.CUT_CEILING, Reason.CUT_DERISK}:
        parts = [exposure_cause(exposure) if exposure.get("by") else PLAIN[reason], fell_or_rose]
    elif reason in MOVES:
        parts = [_move_cause(reason, facts, exposure, moved=moved), fell_or_rose]
        if moved and exposure and "by" not in exposure:
            parts = [fell_or_rose, "nothing reduces it now"]
    elif reason in CUTS:
        parts = [_cut_cause(reason, facts), fell_or_rose]
    else:
        parts = [PLAIN[reason]]
    return ", ".join(filter(None, parts))


def _move_cause(reason: Reason, facts: Facts, exposure: Facts, *, moved: bool) -> str:
    trigger = facts.get("trigger", {})
    subject = trigger.get("subject", "")
    if reason in {Reason.THRESHOLD, Reason.DERISK, Reason.TURNOVER}:
        if moved and exposure:
            return exposure_cause(exposure)
        return _score_change(trigger) or PLAIN[reason]
    more = f" and {trigger['value'] - 1} more" if subject and trigger["value"] > 1 else ""
    cap = "its cap"
    if trigger.get("cap_by") == LimitSource.OPERATOR_CAP.value:
        cap = f"the operator's cap {trigger['cap_detail']}".rstrip()
    sentences = {
        Reason.MEMBER_LEFT: f"{subject}{more} left the fleet",
        Reason.MEMBER_JOINED: f"{subject}{more} joined the fleet",
        Reason.LIMIT_BREACHED: f"{subject} was above {cap}",
        Reason.BELOW_FLOOR: f"{subject} was below its floor",
    }
    return sentences.get(reason, PLAIN[reason]) if subject else PLAIN[reason]


def _score_change(trigger: Facts) -> str:
    """Return how the score of the agent with the largest change has changed since the last move."""
    old, new = trigger.get("scores", (None, None))
    agent = trigger.get("subject", "")
    if agent in {"", RESERVE}:
        return ""
    if old is None or new is None or abs(new - old) < 0.005:  # noqa: PLR2004 - too little for two digits
        return f"scores changed, most for {agent}"
    return f"score of {agent} {'rose' if new > old else 'fell'} from {old:.2f} to {new:.2f}"


def _cut_cause(reason: Reason, facts: Facts) -> str:
    withheld: Mapping[Agent, tuple[str, str]] = facts.get("withheld", {})
    lapsed = [agent for agent, (by, _) in withheld.items() if by == WithheldBy.LAPSED.value]
    said = []
    if lapsed:
        said.append(f"{names_text(lapsed)} {'have' if len(lapsed) > 1 else 'has'} lapsed: no record for too long")
    others = [agent for agent in withheld if agent not in lapsed]
    said += [f"{agent}: {' '.join(filter(None, withheld[agent]))}" for agent in others[:NAMED]]
    if len(others) > NAMED:
        said.append(f"{len(others) - NAMED} more")
    return ", ".join(said) or PLAIN[reason]


def stay_cause(reason: Reason, facts: Facts) -> str:
    """Return why a decided cycle moved nothing, with the largest change that it would like."""
    trigger = facts.get("trigger", {})
    if not trigger or reason in {Reason.UNCHANGED, Reason.COOLDOWN, Reason.CONFIRMING}:
        return PLAIN[reason]
    largest, needs = (percent_text(int(trigger[name])) for name in ("value", "limit"))
    if largest == percent_text(0):
        return f"no share is to change by 0.01 % or more, a move needs {needs}"
    whose = f" ({trigger['subject']})" if trigger.get("subject") else ""
    return f"the largest wanted change is {largest}{whose}, a move needs {needs}"


def stored_order_text(text: str, accepts: str | None) -> str:
    """Return the text of a stored order; an accept names what it accepts in words.

    Args:
        text: as it is stored.
        accepts: the code of what an accept accepts; empty or None for another order.
    """
    if not accepts:
        return text
    reason = next((reason for reason in Reason if reason.value == accepts), None)
    return text.replace(f"accept of {accepts}", "accept" if reason is None else f"accept that {PLAIN[reason]}", 1)
