"""The words of a decision: everything that goes into it and outlives it. What comes out of it is in ``trace``.

Units: ``now``, ``at``, ``until`` are seconds since 1970 UTC, at most those of the year 9999. Weights, ratios and
exposure are 0..1. Shares and the reserve are integers in millionths of all capital (``Ppm``), so that nothing after
rounding compares floats.
A *weight* is a part of what is deployed, a *share* (or allocation) a part of all capital: share = weight x exposure.

All of it is frozen. Metrics and Memory are named tuples, since a cycle makes one of each for each agent, and a frozen
dataclass takes more than twice as long to make; all else are dataclasses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NamedTuple, TypeAlias

from capital_governor.core.reason import Reason

Agent: TypeAlias = str
Ppm: TypeAlias = int

WHOLE: Final[Ppm] = 1_000_000
DAY_SECONDS: Final = 86_400.0
FUTURE_TOLERANCE_SECONDS: Final = 60.0
"""How far another machine's clock may be ahead of ours."""

RESERVE: Final = "reserve"
"""What the reserve is called where it stands among the agents; no agent may have that name."""

REGIME: Final = "regime"
DRAWDOWN: Final = "drawdown"
"""The names of the exposure multipliers."""


def ppm(weight: float, exposure: float) -> Ppm:
    """Return ``weight x exposure`` in millionths, rounded down.

    The one expression by which limits become integers, in allocation, breach test and gate alike; the millionth of a
    millionth keeps a product that is an integer but for its last float digit from losing a whole unit.
    """
    return math.floor(weight * exposure * WHOLE + 1e-6)


# --- what a cycle may know -------------------------------------------------------------------------------------------


class Metrics(NamedTuple):
    """What is scored of one agent: all finite, ``winrate_30d`` 0..1, ``max_dd_30d`` percent and not negative."""

    pnl_7d: float
    sharpe_30d: float
    winrate_30d: float
    max_dd_30d: float


@dataclass(frozen=True, slots=True)
class Guardian:
    """The payload's guardian block. ``drawdown_percent`` is None where the block does not say."""

    is_paused: bool
    drawdown_percent: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Regime:
    """The payload's market regime.

    Args:
        name: what it is called.
        risk_multiplier: 0..10, None where it is unknown.
        at: when it was detected, None where its age is unknown; without a time zone the older reading.
    """

    name: str = ""
    risk_multiplier: float | None = None
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One payload that could be read, agent by agent.

    Args:
        at: the producer's time stamp, None if it sent none; without a time zone the older reading.
        metrics: the agents whose record is good.
        faults: the agents whose record is not, and what is wrong with it; names that are themselves at fault are
            escaped, so every key here can be printed.
        guardian: None if the block is missing.
        regime: None if the block is missing.
        warnings: what was odd but usable, one sentence each.
        at_note: where the time stamp says no zone and its readings differ, how it was read and what to do about it.
    """

    at: float | None
    metrics: Mapping[Agent, Metrics]
    faults: Mapping[Agent, str] = field(default_factory=dict)
    guardian: Guardian | None = None
    regime: Regime | None = None
    warnings: tuple[str, ...] = ()
    at_note: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """No snapshot: ``reason`` is FETCH_FAILED or PAYLOAD_REFUSED, ``detail`` one printable sentence."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Pause:
    """The Guardian's pause file as it stands.

    Args:
        paused: whether it says so.
        until: when the pause is over by itself; without a time zone the later reading.
        reason: the Guardian's words.
        problem: why the file could not be read; unknown counts as paused.
        note: how ``until`` was read where it says no time zone.
    """

    paused: bool
    until: float | None = None
    reason: str = ""
    problem: str = ""
    note: str = ""


def utc_text(at: float) -> str:
    """Return a time in words, to the second."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def signed(author: str, until: float | None, reason: str) -> str:
    """Return who gave an order, until when and why, in words."""
    ends = "" if until is None else f" until {utc_text(until)}"
    return f"by {author}{ends}" + (f": {reason}" if reason else "")


@dataclass(frozen=True, slots=True)
class OperatorHold:
    """An operator's order to keep still, until it expires (None: until it is taken back)."""

    author: str
    reason: str = ""
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """An operator's cap or floor (or both) on one agent's weight, until it expires (None: until it is taken back)."""

    agent: Agent
    author: str
    cap: float | None = None
    floor: float | None = None
    until: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that one decision may know besides state and rules.

    Args:
        now: the time of the decision.
        payload: what the dashboard said.
        pause: the pause file; None if there is none.
        stopped: whether the STOP file exists.
        hold: an operator's hold, expired ones included.
        limits: operator's limits, expired ones included.
        accept: the operator accepts what this payload lacks (a lost block, faulty or vanished members).
        accept_only: of that, only what this hold is about; None: all of it.
        known_generation: the largest generation any readable allocation file carries; 0 if none does.
        files_problem: why an allocation file could not be written at all (it is a directory, say); empty if it could.
    """

    now: float
    payload: Snapshot | Refusal
    pause: Pause | None = None
    stopped: bool = False
    hold: OperatorHold | None = None
    limits: tuple[Limit, ...] = ()
    accept: bool = False
    known_generation: int = 0
    files_problem: str = ""
    accept_only: Reason | None = None

    def accepts(self, *holds: Reason) -> bool:
        """Whether the operator lets pass what one of these holds is about."""
        return self.accept and (self.accept_only is None or self.accept_only in holds)


@dataclass(frozen=True, slots=True)
class Rules:
    """How to decide. The settings of the same names give units and ranges; defaults are those of the settings."""

    min_alloc: float = 0.05
    max_alloc: float = 0.40
    threshold: float = 0.10
    derisk_threshold: float = 0.05
    turnover_threshold: float = 0.20
    cooldown_seconds: float = 0.0
    confirm_cycles: int = 1
    max_step: float = 1.0
    probation_cycles: int = 0
    membership_grace_cycles: int = 3
    max_age_seconds: float = 900.0
    pnl_weight: float = 0.40
    sharpe_weight: float = 0.30
    winrate_weight: float = 0.20
    drawdown_weight: float = 0.10
    pnl_scale: float = 10_000.0
    sharpe_scale: float = 3.0
    drawdown_scale_percent: float = 20.0
    drawdown_cut_start_percent: float = 5.0
    drawdown_cut_end_percent: float = 15.0
    drawdown_cut_floor: float = 0.25


# --- what outlives a cycle -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Publication:
    """One generation: what the two files say.

    ``sum(shares.values()) + reserve == 1_000_000``. ``weights``, ``exposure``, ``scores`` and ``floor_scale`` (below 1
    where the floors did not fit and were lowered) are how it came about; everything the files say is here, so that
    they can be made again to the byte.
    """

    generation: int
    decision_id: str
    at: float
    reason: Reason
    shares: Mapping[Agent, Ppm]
    reserve: Ppm
    weights: Mapping[Agent, float]
    exposure: float
    scores: Mapping[Agent, float]
    min_alloc: float
    max_alloc: float
    floor_scale: float = 1.0


class Memory(NamedTuple):
    """What is remembered of one agent.

    Args:
        metrics: its last good metrics; None for one known from an adopted file only, or retired.
        member: whether it has a line, limits and a floor.
        tenured: whether it was there from the start (first allocation or adopted file), hence without probation.
        healthy: decided cycles since it joined in which its record was good, whatever the probation's length then:
            that may be raised later. 0 if tenured.
        absent: decided cycles in a row without any record.
        retired_at: when it last ceased to be a member; None if it never did. Forgotten a day later.
    """

    metrics: Metrics | None = None
    member: bool = True
    tenured: bool = False
    healthy: int = 0
    absent: int = 0
    retired_at: float | None = None


@dataclass(frozen=True, slots=True)
class Latches:
    """What holds remember.

    Args:
        paused: a pause was seen; only a fresh and complete payload ends it.
        guardian_seen: the guardian block was once there, so its absence is a loss.
        timestamp_seen: likewise the time stamp.
        gone_cycles: cycles spent in the MEMBERS_GONE hold.
        accepted: members, sorted, whose fault or absence the operator accepted, until they are healthy again.
    """

    paused: bool = False
    guardian_seen: bool = False
    timestamp_seen: bool = False
    gone_cycles: int = 0
    accepted: tuple[Agent, ...] = ()


@dataclass(frozen=True, slots=True)
class State:
    """All that outlives a cycle.

    Args:
        published: the last generation that was committed; the only "previous".
        generation: the largest number ever used, also by generations that were abandoned.
        agents: memory by agent, sorted by name.
        multipliers: the last known value of each exposure multiplier.
        latches: what the holds remember.
        asked: decided cycles in a row that asked for a move and did not get it in full.
        moved_at: when the last full move was published; cuts do not count.
    """

    published: Publication | None = None
    generation: int = 0
    agents: Mapping[Agent, Memory] = field(default_factory=dict)
    multipliers: Mapping[str, float] = field(default_factory=dict)
    latches: Latches = Latches()
    asked: int = 0
    moved_at: float | None = None
