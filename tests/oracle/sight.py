"""What a governor can see in one cycle, and what it can answer, in the oracle's own words.

Times are seconds since 1970 UTC (``inf``: without end), weights and exposure 0..1, shares and reserve millionths of
all capital.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from math import inf


@dataclass(frozen=True, slots=True)
class Settings:
    """The operator's settings, under the names an operator knows."""

    min_alloc: float
    max_alloc: float
    threshold: float
    derisk_threshold: float
    turnover_threshold: float
    cooldown_seconds: float
    confirm_cycles: int
    max_step: float
    probation_cycles: int
    membership_grace_cycles: int
    max_age_seconds: float
    pnl_weight: float
    sharpe_weight: float
    winrate_weight: float
    drawdown_weight: float
    pnl_scale: float
    sharpe_scale: float
    drawdown_scale_percent: float
    drawdown_cut_start_percent: float
    drawdown_cut_end_percent: float
    drawdown_cut_floor: float
    min_reserve: float = 0.0
    release_after: int | None = None
    groups: tuple[tuple[str, float, tuple[str, ...]], ...] = ()
    """Each group's name, the cap on the sum of its weights, and who is in it: names or globs."""

    def teams(self, names: Iterable[str]) -> list[tuple[float, set[str]]]:
        """Return, for each group, its cap and which of ``names`` are in it: each is in the first that matches."""
        left, found = set(names), []
        for _, cap, patterns in self.groups:
            team = {name for name in left if any(fnmatchcase(name, pattern) for pattern in patterns)}
            left -= team
            found.append((cap, team))
        return found


@dataclass(frozen=True, slots=True)
class GuardianBlock:
    """What the payload says of the Guardian."""

    paused: bool
    drawdown: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Payload:
    """A payload that could be read; a record that is None is a faulty one, ``regime_at`` the regime's own stamp."""

    at: float | None
    records: dict[str, dict[str, float] | None]
    guardian: GuardianBlock | None
    multiplier: float | None
    regime_at: float | None = None


@dataclass(frozen=True, slots=True)
class PauseFile:
    """The Guardian's pause file; one that cannot be read is a pause."""

    readable: bool
    paused: bool
    until: float
    reason: str


@dataclass(frozen=True, slots=True)
class OperatorLimit:
    """A cap and a floor that an operator set on one weight, or on everybody's (``*``); 1 and 0 say nothing.

    What the cap takes is shared out among the others only with ``share_out``.
    """

    agent: str
    cap: float
    floor: float
    until: float
    share_out: bool = False

    def is_for(self, name: str, now: float) -> bool:
        """Say whether it limits this agent now."""
        return self.agent in (name, "*") and now < self.until


AGENT_HOLDS = ("no_agents", "faulty_majority", "members_gone")
"""The holds that are about the agents: whoever accepts one of them accepts how the agents are."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What one cycle can see. A payload that is a word is the reason why there is none.

    ``accept`` lets pass what holds, ``accept_about`` a word: only what the hold of this name is about.
    ``ceiling`` is the largest exposure that the operator allows, and until when. ``release`` are the agents that a
    person releases.
    """

    now: float
    payload: Payload | str
    pause_file: PauseFile | None = None
    stopped: bool = False
    operator_hold_until: float | None = None
    operator_limits: tuple[OperatorLimit, ...] = ()
    accept: bool = False
    known_generation: int = 0
    files_unwritable: bool = False
    accept_about: str = ""
    ceiling: tuple[float, float] | None = None
    release: frozenset[str] = frozenset()

    def most_exposure(self) -> float:
        """Return the exposure that the operator allows now."""
        most, until = (1.0, inf) if self.ceiling is None else self.ceiling
        return most if self.now < until else 1.0

    def accepts(self, *holds: str) -> bool:
        """Say whether what one of these holds is about shall pass."""
        return self.accept and (not self.accept_about or self.accept_about in holds)


@dataclass(frozen=True, slots=True)
class Published:
    """One publication: weights and exposure are the plan's; a line of the plan is share + withheld."""

    generation: int
    shares: dict[str, int]
    reserve: int
    weights: dict[str, float]
    exposure: float
    withheld: dict[str, int] = field(default_factory=dict)

    def plan(self) -> dict[str, int]:
        """Return the lines of the plan."""
        return {name: share + self.withheld.get(name, 0) for name, share in self.shares.items()}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What has to happen: ``kind`` is hold, stay, cut, restore or move, ``reasons`` are those that all fit.

    ``delicate``: the last digit of a float decides, so each share may differ by one millionth; ``close``: and by that
    a threshold may be met or missed. ``hold`` is the hold of this cycle, of one that publishes a cut too.
    """

    kind: str
    reasons: frozenset[str]
    published: Published | None = None
    delicate: bool = False
    close: bool = False
    hold: str = ""


@dataclass(slots=True)
class Person:
    """What is remembered of one agent.

    ``pin`` is its weight in the file that it was adopted from. While it has lapsed, ``good_in_a_row`` counts decided
    cycles in a row with a good record, ``silent_cycles`` those in a row without any.
    """

    record: dict[str, float] | None = None
    member: bool = False
    no_probation: bool = False
    healthy_cycles: int = 0
    absent_cycles: int = 0
    retired_at: float | None = None
    on_probation: bool = False
    pin: float = 0.0
    lapsed: bool = False
    good_in_a_row: int = 0
    silent_cycles: int = 0
