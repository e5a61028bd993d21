"""A small language for what befalls a fleet, cycle by cycle, that the oracle and the program can both be run on.

A scenario is a list of events: a cycle with all that it sees and the settings that it has, a file that is found at the
start, or the loss of the journal (all that was remembered; what is published is then found as a file). ``play`` runs
the oracle on one. Whoever runs the program on it goes through ``events`` in the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, Final, TypeAlias

from tests.oracle.decision import Oracle
from tests.oracle.sight import GuardianBlock, Observation, OperatorLimit, Outcome, Payload, Published, Settings

INTERVAL: Final = 300
START: Final = 1_760_000_000.0
DEFAULTS: Final = Settings(
    min_alloc=0.05,
    max_alloc=0.40,
    threshold=0.10,
    derisk_threshold=0.05,
    turnover_threshold=0.20,
    cooldown_seconds=0.0,
    confirm_cycles=1,
    max_step=1.0,
    probation_cycles=0,
    membership_grace_cycles=3,
    max_age_seconds=900.0,
    pnl_weight=1.0,
    sharpe_weight=0.0,
    winrate_weight=0.0,
    drawdown_weight=0.0,
    pnl_scale=10_000.0,
    sharpe_scale=3.0,
    drawdown_scale_percent=20.0,
    drawdown_cut_start_percent=5.0,
    drawdown_cut_end_percent=15.0,
    drawdown_cut_floor=0.25,
)
"""The defaults, but for the weights of the score: here a score is 1/10,000 of the profit."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One cycle: what it sees, and the settings that the governor runs with."""

    seen: Observation
    settings: Settings


@dataclass(frozen=True, slots=True)
class Found:
    """A start finds this file and adopts it."""

    published: Published
    at: float


@dataclass(frozen=True, slots=True)
class JournalLost:
    """A start finds no journal, and adopts what is published from its file."""


Event: TypeAlias = Turn | Found | JournalLost


@dataclass(slots=True)
class Scenario:
    """What befalls a fleet. Change its fields, then let cycles pass.

    ``scores`` are those of the agents that report good records, ``faulty`` and ``absent`` those of them that do not.
    ``payload`` is a reason for which there is none. ``orders`` are fields of ``Observation``: what the operator sets.
    """

    scores: dict[str, float]
    settings: Settings = DEFAULTS
    faulty: set[str] = field(default_factory=set)
    absent: set[str] = field(default_factory=set)
    multiplier: float = 1.0
    paused: bool = False
    payload: str = ""
    orders: dict[str, Any] = field(default_factory=dict)
    now: float = START
    events: list[Event] = field(default_factory=list)

    def cycles(self, count: int = 1) -> Scenario:
        """Let cycles pass."""
        for _ in range(count):
            self.events.append(Turn(self._seen(), self.settings))
            self.now += INTERVAL
        return self

    def change(self, **settings: Any) -> None:
        """Restart with other settings."""
        self.settings = replace(self.settings, **settings)

    def limit(self, *limits: OperatorLimit) -> None:
        """Let these be the operator's limits from now on."""
        self.orders["operator_limits"] = limits

    def find(self, published: Published) -> None:
        """Let a file be found at the start."""
        self.events.append(Found(published, self.now - INTERVAL))

    def lose_journal(self) -> None:
        """Lose all that is remembered."""
        self.events.append(JournalLost())

    def _seen(self) -> Observation:
        records = {
            name: None if name in self.faulty else {"pnl_7d": 10_000 * score, "sharpe_30d": 0.0} | REST
            for name, score in self.scores.items()
            if name not in self.absent
        }
        guardian = GuardianBlock(paused=self.paused, drawdown=0.0, reason="")
        payload = Payload(at=self.now, records=records, guardian=guardian, multiplier=self.multiplier)
        return Observation(now=self.now, payload=self.payload or payload, **self.orders)


REST: Final = {"winrate_30d": 0.0, "max_dd_30d": 0.0}


def cap(agent: str, most: float, *, share_out: bool = False) -> OperatorLimit:
    return OperatorLimit(agent, cap=most, floor=0.0, until=inf, share_out=share_out)


def floor(agent: str, least: float) -> OperatorLimit:
    return OperatorLimit(agent, cap=1.0, floor=least, until=inf)


@dataclass(frozen=True, slots=True)
class Result:
    """What has to be published after the last cycle, to four digits, and how that cycle has to end.

    ``moves`` and ``publications`` are those since the first cycle, which is not counted.
    """

    kind: str
    reasons: frozenset[str]
    shares: Mapping[str, float]
    withheld: Mapping[str, float] = field(default_factory=dict)
    exposure: float = 1.0
    moves: int | None = None
    publications: int | None = None


QUIET: Final = frozenset({"unchanged", "below_threshold"})


def quiet(shares: Mapping[str, float], withheld: Mapping[str, float] | None = None, exposure: float = 1.0) -> Result:
    """Return the result of a last cycle that changes nothing."""
    return Result("stay", QUIET, shares, withheld or {}, exposure)


def play(events: Iterable[Event]) -> tuple[Oracle, list[Outcome]]:
    """Run the oracle on a scenario; return it as it is afterwards, with its answer in each cycle."""
    oracle, outcomes, published_at = Oracle(), [], 0.0
    for event in events:
        if isinstance(event, Turn):
            outcome = oracle.step(event.seen, event.settings)
            outcomes.append(outcome)
            published_at = published_at if outcome.published is None else event.seen.now
        elif isinstance(event, Found):
            oracle.adopt(event.published, event.at)
        else:
            found, oracle = oracle.published, Oracle()
            assert found is not None
            oracle.adopt(found, published_at)
    return oracle, outcomes
