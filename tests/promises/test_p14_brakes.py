"""P14: with the brakes set there are no more moves than they allow, restarts included."""

from __future__ import annotations

import itertools
from contextlib import closing
from dataclasses import replace
from typing import Final

import pytest

from capital_governor.core import threshold
from capital_governor.core.reason import MOVES
from capital_governor.journal.fallback import ResilientJournal
from capital_governor.journal.protocol import Head
from tests.model import tamper
from tests.model.fleet import Dashboard
from tests.model.steps import Killed
from tests.model.world import World
from tests.oracle.sight import Settings
from tests.promises.ledger import Account, require

pytestmark = pytest.mark.no_cover  # thousands of sequences, which tracing slows down several times

INTERVAL: Final = 300
HOUR: Final = 3_600
CYCLES: Final = 144
"""Half a day."""
HIGH: Final = {"pnl_7d": 9_000.0, "sharpe_30d": 3.0, "winrate_30d": 0.9, "max_dd_30d": 0.0}
LOW: Final = {"pnl_7d": 0.0, "sharpe_30d": 0.0, "winrate_30d": 0.1, "max_dd_30d": 20.0}
UNBRAKED: Final = replace(tamper.DEFAULTS, max_alloc=0.9, membership_grace_cycles=3)
BRAKES: Final = {
    "COOLDOWN 900": (900.0, 1),
    "CONFIRM_CYCLES 3": (0.0, 3),
    "COOLDOWN 1000, CONFIRM_CYCLES 2": (1_000.0, 2),
}


def moves(rules: Settings, period: int) -> tuple[list[float], int]:
    """Let two agents change places every ``period`` cycles, and a start come after every other cycle.

    Returns the times of all full moves as the journal has them, and the number of starts.
    """
    world, dashboard, starts, kills = World(rules), Dashboard(), 0, 0
    with closing(world):
        for number in range(CYCLES):
            first = number // period % 2 == 0
            dashboard.records = {"Atlas": HIGH if first else LOW, "Bolt": LOW if first else HIGH}
            step, counted = number % 29, itertools.count(1)

            def take(_: str, at: int = step, count: itertools.count[int] = counted) -> None:
                if next(count) == at:
                    raise Killed

            done = world.conclude(dashboard.payload(world.now), take if number % 3 == 2 else None)
            kills += done is None
            if number % 2 or done is None:
                world.kill()
                world.begin()
                starts += 1
            world.now += INTERVAL
        marks = ", ".join(f"'{reason.value}'" for reason in sorted(MOVES))
        found = world.ask(f"SELECT at FROM cycles WHERE reason IN ({marks}) ORDER BY seq")  # noqa: S608 - own words
    assert kills > CYCLES // 10
    return [at for (at,) in found], starts


def most_in_an_hour(times: list[float]) -> int:
    return max(sum(start <= at < start + HOUR for at in times) for start in times)


def check_brakes() -> dict[str, tuple[int, int]]:
    """Return, for each setting of the brakes, the most moves in any hour and the number of starts."""
    found = {}
    for name, (cooldown, confirm) in BRAKES.items():
        rules, worst, all_starts = replace(UNBRAKED, cooldown_seconds=cooldown, confirm_cycles=confirm), 0, 0
        for period in (1, 2, 3, 4):
            times, starts = moves(rules, period)
            least = max(cooldown, confirm * INTERVAL)
            gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
            require(all(gap >= least for gap in gaps), f"{name}: two moves {min(gaps, default=0)} s apart, not {least}")
            worst, all_starts = max(worst, most_in_an_hour(times)), all_starts + starts
        assert worst, "nothing ever moves"
        found[name] = worst, all_starts
    return found


def test_p14_no_more_moves_than_the_brakes_allow(promise: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """Agents that change places all the time, and starts and kills all the time: the brakes hold."""
    free = most_in_an_hour(moves(UNBRAKED, 1)[0])
    figures = [f"{name}: {most} ({starts} restarts)" for name, (most, starts) in check_brakes().items()]
    promise.figure(f"most moves in an hour without brakes {free}; {', '.join(figures)}")
    assert free > 4
    monkeypatch.setattr("capital_governor.service.cycle.gate", lambda *_: None)
    with monkeypatch.context() as mutating, promise.mutant("no brakes"):
        mutating.setattr(threshold, "brakes", lambda *_: ())
        check_brakes()
    remembered = ResilientJournal.head

    def forgetful(journal: ResilientJournal, book: str) -> Head | None:
        head = remembered(journal, book)
        return None if head is None else replace(head, state=replace(head.state, moved_at=None))

    with monkeypatch.context() as mutating, promise.mutant("a start forgets the last move"):
        mutating.setattr(ResilientJournal, "head", forgetful)
        check_brakes()
