"""P14: with the brakes set there are no more moves than they allow, restarts included.

Cuts and restores are no moves and are counted apart. What is given back waits for COOLDOWN.
"""

from __future__ import annotations

import itertools
import json
import zlib
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Final

import pytest

from capital_governor.core import decision, threshold
from capital_governor.core.model import Inputs, Rules, State
from capital_governor.core.orders import OrderKind
from capital_governor.core.reason import CUTS, MOVES, Reason
from capital_governor.core.trace import Brake, Decision
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
STEADY: Final = {"pnl_7d": 4_000.0, "sharpe_30d": 1.0, "winrate_30d": 0.5, "max_dd_30d": 10.0}
UNBRAKED: Final = replace(tamper.DEFAULTS, max_alloc=0.9, membership_grace_cycles=3)
BRAKES: Final = {
    "COOLDOWN 900": (900.0, 1),
    "CONFIRM_CYCLES 3": (0.0, 3),
    "COOLDOWN 1000, CONFIRM_CYCLES 2": (1_000.0, 2),
}
PERIODS: Final = (1, 2, 3, 4, 8)
"""After so many cycles two agents change places."""


@dataclass(frozen=True, slots=True)
class Published:
    """One generation: when and why, its shares and plan lines in millionths, its exposure."""

    at: float
    reason: Reason
    shares: Mapping[str, int]
    plan: Mapping[str, int]
    exposure: float

    def moves(self, before: Published) -> bool:
        """Whether the plan is another one, and not only a smaller exposure of the same."""
        grown = [agent for agent, line in self.plan.items() if line > before.plan.get(agent, 0)]
        return bool(grown) or self.exposure > before.exposure

    def gives_back(self, before: Published) -> bool:
        """Whether a share rises, and the plan does not."""
        return not self.moves(before) and any(share > before.shares[agent] for agent, share in self.shares.items())


@dataclass(slots=True)
class History:
    """All that was published in half a day, and the number of starts."""

    published: list[Published]
    starts: int

    @property
    def moves(self) -> list[float]:
        """The times of all moves."""
        return [each.at for each in self.published if each.reason in MOVES]

    def count(self, reasons: frozenset[Reason]) -> int:
        return sum(each.reason in reasons for each in self.published)


def half_a_day(rules: Settings, period: int) -> History:
    """Let two agents change places every ``period`` cycles, and a start come after every other cycle.

    A third is capped for a while, has a faulty record or none for a cycle, and exposure is lowered for a while.
    """
    world, dashboard, starts, kills = World(rules), Dashboard(), 0, 0
    with closing(world):
        for number in range(CYCLES):
            first = number // period % 2 == 0
            dashboard.records = {"Atlas": HIGH if first else LOW, "Bolt": LOW if first else HIGH, "Crest": STEADY}
            dashboard.faulty = {"Crest": "null"} if number % 13 == 5 else {}
            dashboard.absent = {"Crest"} if number % 17 == 9 else set()
            if number % 7 == 3:
                world.order(OrderKind.LIMIT, 1.5 * INTERVAL, agent="Crest", cap=0.1)
            if number % 36 == 20:
                world.order(OrderKind.EXPOSURE, 1.5 * INTERVAL, cap=0.7)
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
        documents = world.ask("SELECT doc FROM publications ORDER BY generation")
    assert kills > CYCLES // 10
    return History([_published(json.loads(zlib.decompress(document))) for (document,) in documents], starts)


def _published(said: dict[str, Any]) -> Published:
    withheld = said.get("withheld", {})
    plan = {agent: share + withheld.get(agent, 0) for agent, share in said["shares"].items()}
    return Published(said["at"], Reason(said["reason"]), said["shares"], plan, said["exposure"])


def most_in_an_hour(times: list[float]) -> int:
    return max(sum(start <= at < start + HOUR for at in times) for start in times)


def hold_to_brakes(history: History, cooldown: float, confirm: int, name: str) -> None:
    """Require that moves are as far apart as the brakes say, that restores wait, and that nothing else moves."""
    least = max(cooldown, confirm * INTERVAL)
    gaps = [later - earlier for earlier, later in itertools.pairwise(history.moves)]
    require(all(gap >= least for gap in gaps), f"{name}: two moves {min(gaps, default=0)} s apart, not {least}")
    moved_at = history.published[0].at
    for before, after in itertools.pairwise(history.published):
        since = after.at - moved_at
        if after.moves(before):
            require(after.reason in MOVES, f"{name}: the plan rises, and is called {after.reason}")
        if after.gives_back(before):
            require(since >= cooldown, f"{name}: given back {since} s after a move, not {cooldown}")
        if after.reason in MOVES:
            moved_at = after.at


def check_brakes() -> dict[str, str]:
    """Return, for each setting of the brakes, the most moves in any hour, and what else there was."""
    found = {}
    for name, (cooldown, confirm) in BRAKES.items():
        rules = replace(UNBRAKED, cooldown_seconds=cooldown, confirm_cycles=confirm)
        worst, sums = 0, Counter[str]()
        for period in PERIODS:
            history = half_a_day(rules, period)
            hold_to_brakes(history, cooldown, confirm, name)
            worst = max(worst, most_in_an_hour(history.moves))
            sums += Counter(
                restarts=history.starts,
                restores=history.count(frozenset({Reason.RESTORE})),
                cuts=history.count(CUTS),
            )
        assert worst, "nothing ever moves"
        assert min(sums[each] for each in ("restores", "cuts")) > 0, f"{name}: nothing is cut and given back: {sums}"
        found[name] = f"{worst} ({sums['restarts']} restarts; {sums['restores']} restores, {sums['cuts']} cuts)"
    return found


def test_p14_no_more_moves_than_the_brakes_allow(promise: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """Agents that change places all the time, caps, faults, starts and kills all the time: the brakes hold."""
    free = most_in_an_hour(half_a_day(UNBRAKED, 1).moves)
    figures = [f"{name}: {found}" for name, found in check_brakes().items()]
    promise.figure(f"most moves in an hour without brakes {free}; {', '.join(figures)}")
    assert free > 4
    monkeypatch.setattr("capital_governor.service.cycle.gate", lambda *_: None)

    def no_brakes(*arguments: Any) -> tuple[Brake, ...]:
        return tuple(replace(brake, active=False) for brake in real_brakes(*arguments))

    real_brakes, real_decide = threshold.brakes, decision.decide
    with monkeypatch.context() as mutating, promise.mutant("no brakes", "s apart"):
        mutating.setattr(threshold, "brakes", no_brakes)
        check_brakes()
    remembered = ResilientJournal.head

    def forgetful(journal: ResilientJournal, book: str) -> Head | None:
        head = remembered(journal, book)
        return None if head is None else replace(head, state=replace(head.state, moved_at=None))

    with monkeypatch.context() as mutating, promise.mutant("a start forgets the last move", "s apart"):
        mutating.setattr(ResilientJournal, "head", forgetful)
        check_brakes()

    with monkeypatch.context() as mutating, promise.mutant("a restore does not wait", "given back"):
        mutating.setattr(decision, "_not_restored", lambda _, withheld: withheld)
        check_brakes()

    def disguised(inputs: Inputs, state: State, rules: Rules) -> Decision:
        """Make the moves that a brake keeps back all the same, and call them restores."""
        found = real_decide(inputs, state, rules)
        if found.reason not in {Reason.COOLDOWN, Reason.CONFIRMING}:
            return found
        free = real_decide(inputs, replace(state, moved_at=None, asked=rules.confirm_cycles), rules)
        assert free.proposal is not None
        return replace(
            found, reason=Reason.RESTORE, proposal=replace(free.proposal, reason=Reason.RESTORE), after=found.after
        )

    with monkeypatch.context() as mutating, promise.mutant("a move is called a restore", "the plan rises"):
        mutating.setattr("capital_governor.service.cycle.decide", disguised)
        check_brakes()
