"""The types of a decision: its inputs, its rules, and the state that is kept between cycles. See ``trace`` for results.

Units: ``now``, ``at``, ``until`` are seconds since 1970 UTC, at most those of the year 9999. Weights, ratios and
exposure are 0..1. Shares and the reserve are integers in millionths of all capital (``Ppm``), so that shares are
compared exactly.
A *weight* is a part of what is deployed, a *share* (or allocation) a part of all capital. The *plan* is what scores and
limits give each agent: plan line = weight x exposure. A share is its plan line less what is *withheld* from it.

All types are frozen. Metrics and Memory are named tuples, since a cycle may make one of each for each agent, and a
frozen dataclass takes more than twice as long to make. All others are dataclasses.
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
"""How far the clock of another machine may be ahead of this one's."""

RESERVE: Final = "reserve"
"""The name of the reserve in a list of agents; no agent may have it."""

REGIME: Final = "regime"
DRAWDOWN: Final = "drawdown"
OPERATOR: Final = "operator"
MIN_RESERVE: Final = "reserve"
"""The names of the exposure multipliers."""

EVERYBODY: Final = "*"
"""The agent of a limit that is meant for every agent."""


def ppm(weight: float, exposure: float) -> Ppm:
    """Return ``weight x exposure`` in millionths, rounded down.

    Allocation, breach test and gate all use it to turn limits into integers. The added millionth of a millionth keeps a
    product that misses an integer only by float rounding from losing a whole unit.
    """
    return math.floor(weight * exposure * WHOLE + 1e-6)


# --- inputs and rules ------------------------------------------------------------------------------------------------


class Metrics(NamedTuple):
    """The metrics of one agent: all finite, ``winrate_30d`` 0..1, ``max_dd_30d`` in percent and not negative."""

    pnl_7d: float
    sharpe_30d: float
    winrate_30d: float
    max_dd_30d: float


@dataclass(frozen=True, slots=True)
class Guardian:
    """The payload's guardian block. ``drawdown_percent`` is None if the block has none."""

    is_paused: bool
    drawdown_percent: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Regime:
    """The payload's market regime.

    Args:
        name: such as "BEAR".
        risk_multiplier: 0..10; None if unknown.
        at: when it was detected; None if unknown. Without a time zone, the earlier of the two possible times.
    """

    name: str = ""
    risk_multiplier: float | None = None
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One readable payload.

    Args:
        at: the payload's time stamp; None if it has none. Without a time zone, the earlier of the two possible times.
        metrics: by agent, for each good record.
        faults: by agent, what is wrong with each faulty record. Faulty names are escaped, so every key is printable.
        guardian: None if the block is missing.
        regime: None if the block is missing.
        warnings: about values that are odd but usable, one sentence each.
        at_note: for a time stamp without a time zone: how it was read, and what to do about it.
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
    """Content of Guardian's pause file.

    Args:
        paused: whether it says paused.
        until: when the pause ends by itself. Without a time zone, the later of the two possible times.
        reason: Guardian's reason.
        problem: why the file could not be read; then it counts as paused.
        note: how ``until`` was read if it has no time zone.
    """

    paused: bool
    until: float | None = None
    reason: str = ""
    problem: str = ""
    note: str = ""


def utc_text(at: float) -> str:
    """Return a time in words, to the second."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def iso_text(at: float) -> str:
    """Return a time as files and documents have it: ISO 8601 in UTC, to the second."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"


def signed(author: str, until: float | None, reason: str) -> str:
    """Return in words who gave an order, until when and why."""
    ends = "" if until is None else f" until {utc_text(until)}"
    return f"by {author}{ends}" + (f": {reason}" if reason else "")


@dataclass(frozen=True, slots=True)
class OperatorHold:
    """An operator's order to keep all shares as they are; ``until`` None: until it is lifted."""

    author: str
    reason: str = ""
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Ceiling:
    """An operator's upper limit on exposure, 0..1; ``until`` None: until it is taken back."""

    value: float
    author: str
    reason: str = ""
    until: float | None = None

    def in_force(self, now: float) -> bool:
        """Whether it has not expired."""
        return self.until is None or now < self.until


@dataclass(frozen=True, slots=True)
class Limit:
    """An operator's cap or floor (or both) on one agent's weight; ``until`` None: until it is taken back.

    What a cap takes is withheld, or with ``share_out`` given to the others: then it is a limit of the projection.
    """

    agent: Agent
    author: str
    cap: float | None = None
    floor: float | None = None
    until: float | None = None
    reason: str = ""
    share_out: bool = False

    def in_force(self, now: float) -> bool:
        """Whether it has not expired."""
        return self.until is None or now < self.until


@dataclass(frozen=True, slots=True)
class Inputs:
    """What one decision is based on, besides state and rules.

    Args:
        now: the time of the decision.
        payload: what the dashboard sent, or why there is none.
        pause: the pause file; None if there is none.
        stopped: whether the STOP file exists.
        hold: an operator's hold, expired or not.
        limits: the operator's limits, expired or not.
        ceiling: the operator's upper limit on exposure, expired or not.
        released: agents that the operator releases.
        accept: the operator accepts what is missing (a lost block, faulty or vanished members).
        accept_only: the accept is for this hold only; None: for all of them.
        known_generation: the largest generation in any readable allocation file; 0 if there is none.
        files_problem: why an allocation file cannot be written (a folder in its place, say); empty if it can.
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
    ceiling: Ceiling | None = None
    released: tuple[Agent, ...] = ()

    def accepts(self, *holds: Reason) -> bool:
        """Whether the operator's accept ends one of these holds."""
        return self.accept and (self.accept_only is None or self.accept_only in holds)


@dataclass(frozen=True, slots=True)
class Group:
    """A named set of agents with a cap on the sum of their weights.

    Args:
        name: the group's name.
        cap: 0..1.
        patterns: names or globs (``Grid*``) of its agents; an agent belongs to the first group that matches.
    """

    name: str
    cap: float
    patterns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings that decisions depend on; the settings of the same names have the units, ranges and defaults."""

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
    min_reserve: float = 0.0
    release_after_cycles: int | None = None
    groups: tuple[Group, ...] = ()


# --- kept between cycles ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Publication:
    """One generation, as the two allocation files have it.

    ``sum(shares.values()) + reserve == 1_000_000``. It has everything that is in the files, so that they can be written
    again to the byte.

    Args:
        generation: its number.
        decision_id: its name for people.
        at: when it was decided.
        reason: why.
        shares: by agent; an agent with nothing has a line too.
        reserve: the rest of all capital, what is withheld included.
        weights: of the plan.
        exposure: of the plan.
        scores: of the plan.
        min_alloc: the setting.
        max_alloc: the setting.
        floor_scale: below 1 if the floors together did not fit and were lowered.
        withheld: what is withheld from each agent's plan line; only agents from which something is.
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
    withheld: Mapping[Agent, Ppm] = field(default_factory=dict)

    @property
    def plan(self) -> dict[Agent, Ppm]:
        """The plan line of each agent: its share and what is withheld from it."""
        more = {agent: self.shares[agent] + amount for agent, amount in self.withheld.items() if agent in self.shares}
        return {**self.shares, **more}


class Memory(NamedTuple):
    """State of one agent.

    Args:
        member: whether it is a member of the fleet, with a line in the files and limits.
        tenured: whether it was in the first allocation or in the adopted file, and so has no probation.
        healthy: decided cycles with a good record since it joined; also counted after the probation, whose length may
            be raised later. 0 if tenured.
        absent: decided cycles in a row without a record.
        retired_at: when it last ceased to be a member; None if it never did, or more than a day ago.
        lapsed: it was absent for too long; all of its plan line is withheld.
        returned: decided cycles in a row with a good record since it lapsed.
        silent: decided cycles in a row without a record since it lapsed.
        pin: its weight in an adopted file, at which it stays until its first good record.
    """

    member: bool = True
    tenured: bool = False
    healthy: int = 0
    absent: int = 0
    retired_at: float | None = None
    lapsed: bool = False
    returned: int = 0
    silent: int = 0
    pin: float | None = None


@dataclass(frozen=True, slots=True)
class Latches:
    """State of the holds.

    Args:
        paused: a pause was seen; only a fresh and complete payload ends it.
        guardian_seen: a payload had a guardian block, so that its absence is a loss.
        timestamp_seen: a payload had a time stamp, so that its absence is a loss.
        gone_cycles: cycles spent in the MEMBERS_GONE hold.
        accepted: members, sorted, whose fault or absence the operator accepted, until they have a good record again.
    """

    paused: bool = False
    guardian_seen: bool = False
    timestamp_seen: bool = False
    gone_cycles: int = 0
    accepted: tuple[Agent, ...] = ()


@dataclass(frozen=True, slots=True)
class State:
    """What is kept from one cycle to the next.

    Args:
        published: the last generation that was committed; new shares are compared with it.
        generation: the largest number ever used, abandoned generations included.
        agents: memory by agent, sorted by name.
        metrics: the last good metrics of each member that has sent any, sorted by name.
        multipliers: the last known value of each exposure multiplier.
        latches: the state of the holds.
        asked: decided cycles in a row that asked for a move and did not get it in full.
        moved_at: when the last move was published; cuts and restores do not count.
    """

    published: Publication | None = None
    generation: int = 0
    agents: Mapping[Agent, Memory] = field(default_factory=dict)
    metrics: Mapping[Agent, Metrics] = field(default_factory=dict)
    multipliers: Mapping[str, float] = field(default_factory=dict)
    latches: Latches = Latches()
    asked: int = 0
    moved_at: float | None = None
