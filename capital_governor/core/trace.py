"""The result of a decision with all intermediate values: hold, scores, limits, multipliers, triggers and brakes.

All types are frozen. Units are those of ``model``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from capital_governor.core.model import Agent, Ppm, Publication, State
from capital_governor.core.reason import Reason


@dataclass(frozen=True, slots=True)
class Hold:
    """Why nothing may be decided. ``detail`` is one sentence with the facts of this case."""

    reason: Reason
    detail: str


class LimitSource(StrEnum):
    """Who set a limit."""

    MIN_ALLOC = "MIN_ALLOC"
    MAX_ALLOC = "MAX_ALLOC"
    PROBATION = "probation"
    OPERATOR_CAP = "operator's cap"
    OPERATOR_FLOOR = "operator's floor"
    PINNED = "held at its published weight"


@dataclass(frozen=True, slots=True)
class WeightLimit:
    """One limit on a weight and its source; ``detail`` may name author and reason."""

    value: float
    source: LimitSource
    detail: str = ""


@dataclass(frozen=True, slots=True)
class AgentLimits:
    """An agent's limits: ``lo <= hi``, the floor and the cap that apply, and all floors and caps."""

    lo: float
    hi: float
    lo_by: WeightLimit
    hi_by: WeightLimit
    floors: tuple[WeightLimit, ...]
    caps: tuple[WeightLimit, ...]


class WithheldBy(StrEnum):
    """What withholds a part of a plan line."""

    LIMIT = "its upper limit"
    GROUP = "its group's cap"
    LAPSED = "lapsed"
    NO_MEMBER = "no member"
    UNWELL = "its record is faulty or missing"
    CAP = "operator's cap"
    STEP = "MAX_STEP"
    COOLDOWN = "COOLDOWN"
    BEFORE = "since before this hold"


@dataclass(frozen=True, slots=True)
class Withholding:
    """What is withheld from one plan line, and what withholds it."""

    amount: Ppm
    by: WithheldBy
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Multiplier:
    """One exposure multiplier, 0..1.

    ``origin`` is "payload", "stale payload", "last known", "default", "order" or "setting".
    """

    name: str
    value: float
    origin: str
    raw: float | None = None


@dataclass(frozen=True, slots=True)
class Trigger:
    """One reason to move: ``value`` compared with ``limit`` (in millionths, or counts), and whether it fired."""

    reason: Reason
    fired: bool
    value: Ppm
    limit: Ppm
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Brake:
    """One brake: active while ``value`` (seconds or cycles) has not reached ``limit``."""

    reason: Reason
    active: bool
    value: float
    limit: float


@dataclass(frozen=True, slots=True)
class Trace:
    """All intermediate values of a decision. Mappings are by agent, sorted by name; empty if a hold came first.

    Args:
        hold: the hold, if there was one.
        unusable: the hold that the payload alone would cause, also behind another hold.
        accepted: what the operator's ``accept`` or ``release`` let pass in this cycle.
        faulty: members whose record is faulty, and what is wrong.
        absent: members without a record, and for how many decided cycles.
        retired: members retired in this cycle.
        lapsed: members that are lapsed.
        scores: the scores of all members that have metrics.
        limits: the limits of all members on their weights.
        floor_scale: below 1 if the floors together did not fit.
        projected: weights before MAX_STEP.
        step: the fraction of the way from the published to the projected weights that was taken.
        weights: weights after MAX_STEP.
        multipliers: every exposure multiplier.
        exposure: the smallest of them.
        exposure_by: its name.
        target: plan lines of the projected weights; they are compared with the published plan.
        plan: plan lines of the stepped weights; a move publishes them.
        withheld: what is withheld from the plan that is published after this cycle; in a hold only if it cuts.
        triggers: every threshold with its arithmetic.
        brakes: every brake.
        warnings: what the operator should know, although it causes no hold.
    """

    hold: Hold | None = None
    unusable: Hold | None = None
    accepted: tuple[str, ...] = ()
    faulty: Mapping[Agent, str] = field(default_factory=dict)
    absent: Mapping[Agent, int] = field(default_factory=dict)
    retired: tuple[Agent, ...] = ()
    lapsed: tuple[Agent, ...] = ()
    scores: Mapping[Agent, float] = field(default_factory=dict)
    limits: Mapping[Agent, AgentLimits] = field(default_factory=dict)
    floor_scale: float = 1.0
    projected: Mapping[Agent, float] = field(default_factory=dict)
    step: float = 1.0
    weights: Mapping[Agent, float] = field(default_factory=dict)
    multipliers: tuple[Multiplier, ...] = ()
    exposure: float = 1.0
    exposure_by: str = ""
    target: Mapping[Agent, Ppm] = field(default_factory=dict)
    plan: Mapping[Agent, Ppm] = field(default_factory=dict)
    withheld: Mapping[Agent, Withholding] = field(default_factory=dict)
    triggers: tuple[Trigger, ...] = ()
    brakes: tuple[Brake, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """The result of ``decide``.

    Args:
        reason: why it moves, cuts, stays or holds.
        proposal: what to publish; None: nothing.
        after: the next state, in which ``commit`` sets ``published``.
        trace: all intermediate values.
    """

    reason: Reason
    proposal: Publication | None
    after: State
    trace: Trace
