"""Why a cycle ended as it did, and what kinds of reasons there are."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Reason(StrEnum):
    """Why a cycle ended as it did. Every cycle has exactly one."""

    # Moves: a new generation is published.
    FIRST_ALLOCATION = "first_allocation"
    LIMIT_BREACHED = "limit_breached"
    EXPOSURE_ZERO = "exposure_zero"
    MEMBER_LEFT = "member_left"
    MEMBER_JOINED = "member_joined"
    BELOW_FLOOR = "below_floor"
    THRESHOLD = "threshold"
    DERISK = "derisk"
    TURNOVER = "turnover"
    # Cuts: a new generation that withholds more, or lowers exposure. No brake delays them, and most are published in
    # holds too, where no share rises. In a decided cycle other agents may get something back in the same generation.
    CUT_CEILING = "cut_ceiling"
    CUT_EXPOSURE_ZERO = "cut_exposure_zero"
    CUT_DERISK = "cut_derisk"
    CUT_LIMIT = "cut_limit"
    CUT_LAPSE = "cut_lapse"
    # What was withheld is given back, and nothing else changes.
    RESTORE = "restore"
    # Stays: decided, and the published shares stay.
    UNCHANGED = "unchanged"
    BELOW_THRESHOLD = "below_threshold"
    COOLDOWN = "cooldown"
    CONFIRMING = "confirming"
    # Holds: nothing was decided.
    STOPPED = "stopped"
    PAUSED = "paused"
    OPERATOR_HOLD = "operator_hold"
    FILES_UNWRITABLE = "files_unwritable"
    FETCH_FAILED = "fetch_failed"
    PAYLOAD_REFUSED = "payload_refused"
    PAYLOAD_STALE = "payload_stale"
    PAYLOAD_FUTURE = "payload_future"
    GUARDIAN_LOST = "guardian_lost"
    TIMESTAMP_LOST = "timestamp_lost"
    NO_AGENTS = "no_agents"
    FAULTY_MAJORITY = "faulty_majority"
    MEMBERS_GONE = "members_gone"
    # Refusals of the gate: the decision was found wrong.
    GATE_SUM = "gate_sum"
    GATE_EXPOSURE = "gate_exposure"
    GATE_LIMIT = "gate_limit"
    GATE_FAULTY_GAIN = "gate_faulty_gain"
    GATE_MULTIPLIER = "gate_multiplier"
    GATE_STRANGER = "gate_stranger"
    GATE_RISE = "gate_rise"
    GATE_FORBIDDEN = "gate_forbidden"
    GATE_GENERATION = "gate_generation"
    # The cycle itself could not be completed.
    INTERNAL_ERROR = "internal_error"


MOVES: Final = frozenset(
    {
        Reason.FIRST_ALLOCATION,
        Reason.LIMIT_BREACHED,
        Reason.EXPOSURE_ZERO,
        Reason.MEMBER_LEFT,
        Reason.MEMBER_JOINED,
        Reason.BELOW_FLOOR,
        Reason.THRESHOLD,
        Reason.DERISK,
        Reason.TURNOVER,
    }
)
CUTS: Final = frozenset(
    {Reason.CUT_CEILING, Reason.CUT_EXPOSURE_ZERO, Reason.CUT_DERISK, Reason.CUT_LIMIT, Reason.CUT_LAPSE}
)
STAYS: Final = frozenset({Reason.UNCHANGED, Reason.BELOW_THRESHOLD, Reason.COOLDOWN, Reason.CONFIRMING})
AGENT_HOLDS: Final = frozenset({Reason.NO_AGENTS, Reason.FAULTY_MAJORITY, Reason.MEMBERS_GONE})
"""Holds because of the agents. Guardian and regime are known, so that exposure may still fall."""
TIGHTENED: Final = frozenset({Reason.CUT_CEILING, Reason.CUT_LIMIT})
"""Cuts because of an order or a setting, which a pause lets through."""
SILENT_HOLDS: Final = frozenset({Reason.STOPPED, Reason.PAUSED})
"""Holds in which the two allocation files are not repaired. A pause lets through an operator's cut, STOP nothing."""
PAYLOAD_HOLDS: Final = frozenset(
    {Reason.FETCH_FAILED, Reason.PAYLOAD_REFUSED, Reason.PAYLOAD_STALE, Reason.PAYLOAD_FUTURE}
)
HOLDS: Final = (
    AGENT_HOLDS
    | SILENT_HOLDS
    | PAYLOAD_HOLDS
    | {
        Reason.OPERATOR_HOLD,
        Reason.FILES_UNWRITABLE,
        Reason.GUARDIAN_LOST,
        Reason.TIMESTAMP_LOST,
        Reason.INTERNAL_ERROR,
    }
)
GATE_REFUSALS: Final = frozenset(reason for reason in Reason if reason.name.startswith("GATE_"))
