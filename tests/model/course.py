"""How a sequence goes: its cycles, what is checked after each, starts and deaths, exits, and how it ends."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field, fields, replace
from typing import ClassVar, Final

from hypothesis import currently_in_test_context, event
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from capital_governor.core.model import Inputs
from capital_governor.core.orders import OrderKind
from capital_governor.core.reason import AGENT_HOLDS, GATE_REFUSALS, HOLDS, Reason
from capital_governor.core.trace import Decision
from capital_governor.service.standing import Outcome
from tests.model import check, decided, ending, tamper
from tests.model.fleet import NAMES, Dashboard, Said
from tests.model.steps import Killed, Step
from tests.model.twins import twins
from tests.model.world import Done, World
from tests.oracle.comparison import as_published, assert_same
from tests.oracle.sight import Observation
from tests.oracle.sight import Outcome as Expected
from tests.promises.ledger import require
from tests.rigs.cycle_rig import footprint

INTERVAL: Final = 300
SEEDS: Final = st.integers(0, 2**32)
TEAM: Final = st.sets(st.sampled_from(NAMES), min_size=1)
ACCEPTABLE: Final = AGENT_HOLDS | {Reason.GUARDIAN_LOST, Reason.TIMESTAMP_LOST}


@dataclass(slots=True)
class Tally:
    """What all sequences of a run have met; ``undecided``: given up where a float's last digit decides.

    Attributes:
        cuts: publications in holds, by the hold.
        slowest: by the kind of ending, the most cycles that it took to govern again after the last fault.
        given_back: the most cycles that it took from then on until nothing was withheld.
    """

    sequences: int = 0
    cycles: int = 0
    starts: int = 0
    kills: int = 0
    exits: int = 0
    undecided: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    cuts: Counter[str] = field(default_factory=Counter)
    slowest: Counter[str] = field(default_factory=Counter)
    given_back: int = 0

    def add(self, other: Tally) -> None:
        """Add what another part of the run has met."""
        slowest = self.slowest | other.slowest  # of each the larger one
        given_back = max(self.given_back, other.given_back)
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))
        self.slowest, self.given_back = slowest, given_back

    def __str__(self) -> str:
        said = f"{self.sequences:,} sequences, {self.cycles:,} cycles, {self.starts:,} restarts, {self.kills:,} kills"
        said = f"{said} between two steps, {self.exits:,} exits of holds driven, {self.cuts.total():,} cuts in holds"
        return f"{said}, {self.undecided} undecided"


class Course(RuleBasedStateMachine):
    """One governor with its dashboard, and the oracle beside it; what befalls it are the rules of subclasses."""

    tally: ClassVar[Tally] = Tally()
    parts_with_oracle: ClassVar[bool] = False
    """Whether a decision that is not the oracle's only ends its sequence: of a mutant none is, and what counts is
    whether it breaks a promise."""

    def __init__(self) -> None:
        super().__init__()
        self.dashboard = Dashboard()
        self.world: World | None = None
        self.earlier: list[Said] = []
        self.over = False
        self.last: Decision | None = None
        self.expected = Expected("stay", frozenset())
        self.ending = ending.Ending()
        self.ahead = 0.0
        self.outcome: Outcome | None = None
        self.outside = sys.exception()

    def teardown(self) -> None:
        if self.world is None:
            return
        self.tally.sequences += 1
        try:
            if sys.exception() is self.outside:  # no rule has failed, and none was given up
                self._end()
        finally:
            self.world.close()

    @property
    def on(self) -> World:
        assert self.world is not None
        return self.world

    # --- how it goes ---

    def _cycles(self, count: int) -> None:
        for _ in range(count):
            self._cycle(self._said())

    def _said(self) -> Said:
        return self.dashboard.payload(self.on.now)

    def _cycle(self, said: Said) -> None:
        """Let one cycle pass and check all that has to hold after it."""
        if self.over:
            return
        world = self.on
        self.earlier = [*self.earlier[-5:], said]
        seen, files = world.look(said), footprint(*tamper.regular(world))
        world.give_up_in_a_pause(seen)
        outcome = self.outcome = self._conclude(said)
        if self.over:
            return
        assert outcome is not None
        try:
            self._settle(seen, outcome.inputs, outcome.decision)
            if self.over:
                return
            self._files_follow(files)
            check.journal_has_it(world)
            check.orders_stand(world)
            check.status_remembers(world)
            check.told_once(world)
            self._exit_is_named(outcome.decision)
        except AssertionError as error:
            proposed = f"{outcome.decision.reason}, proposed {outcome.decision.proposal}"
            error.add_note(f"{outcome.inputs}\nbefore: {outcome.before}\n{world.rules}\n{proposed}")
            raise
        world.now += INTERVAL

    def _files_follow(self, before: list[tuple[bytes, int, int] | None]) -> None:
        """Under STOP no file is written, in a pause none that has once had the newest generation; else both have it."""
        world, hold, published = self.on, self.expected.hold, self.on.oracle.published
        newest = 0 if published is None else published.generation
        if hold == "stopped" or (hold == "paused" and newest <= world.in_all_files):
            require(footprint(*tamper.regular(world)) == before, f"written while {hold}")
            return
        check.files_say_what_is_published(world)
        if not world.primary.is_dir() and (world.policy == "off" or not world.override.is_dir()):
            world.in_all_files = newest

    def _conclude(self, said: Said, step: Step | None = None) -> Outcome | None:
        """Let the governor have a cycle; an unexpected error of a mutant ends the cycle, and the oracle's part."""
        try:
            return self.on.conclude(said, step)
        except Exception as error:
            if not self.parts_with_oracle:
                raise
            self.on.cycle.fail(repr(error))
            self.over = True
            return None

    def _settle(self, seen: Observation, inputs: Inputs, decision: Decision) -> None:
        """Compare a recorded decision with the oracle's, and let the oracle go on from it."""
        world = self.on
        if inputs.accept:
            used = world.standing(OrderKind.ACCEPT)
            require(len(used) == 1, f"accepted, and the operator has given {len(used)} accepts")
            (given,) = used
            require(inputs.accept_only == given.accepts, f"accepted {inputs.accept_only}, said was {given.accepts}")
            del world.orders[given.key]
            seen = replace(seen, accept=True, accept_about=given.accepts)
        before = world.oracle.copy()
        expected = self.expected = world.oracle.step(seen, world.rules)
        case = decided.Case(
            seen, world.rules, before, world.oracle, expected, twins(before, seen, world.rules), decision
        )
        require(decision.reason not in GATE_REFUSALS, f"the gate refused: {decision.reason}")
        for holds in decided.DECIDED:
            holds(case)
        self.last = decision
        if expected.close and decision.reason not in expected.reasons:
            self.over = True
            self.tally.undecided += 1
            return
        try:
            assert_same(expected, decision)
            require((decision.trace.hold is not None) == bool(expected.hold), f"{decision.trace.hold}: {expected}")
        except AssertionError:
            if not self.parts_with_oracle:
                raise
            self.over = True
            return
        self._count(decision)
        if decision.proposal is not None:
            old = 0 if before.published is None else before.published.generation
            require(decision.proposal.generation > old, f"generation {decision.proposal.generation} after {old}")
            world.oracle.published = as_published(decision.proposal)
        if not expected.hold or expected.hold in AGENT_HOLDS:
            # Which members have a good record is known, so each release was used, or there is nothing to release.
            world.end(OrderKind.RELEASE)
        world.done.append(Done(world.oracle.copy(), decided.is_told(case)))

    def _exit_is_named(self, decision: Decision) -> None:
        if decision.reason in HOLDS:
            status, named = self.on.status(), {decision.reason}
            if len(tamper.regular(self.on)) < 2:
                # The status tells rather that a file could not be put right.
                named.add(Reason.FILES_UNWRITABLE)
            require(status["state"] == "holding" and status["reason"] in named, f"the status says {status}")
            require(status["exit"], f"no exit of {decision.reason} is named")

    def _count(self, decision: Decision) -> None:
        self.tally.cycles += 1
        self.tally.reasons[decision.reason.value] += 1
        if self.expected.hold and decision.proposal is not None:
            self.tally.cuts[self.expected.hold] += 1
        if currently_in_test_context():  # a sequence may be written down, too
            event(decision.reason.value)

    # --- the process ---

    def _down(self, *, graceful: bool) -> None:
        if graceful:
            self.on.journal.close()
        else:
            self.on.kill()

    def _restart(self) -> None:
        if self.over:
            self.on.begin()
            return
        self.tally.starts += 1
        self.on.restart()
        world, published = self.on, self.on.cycle.state.published
        expected = world.oracle.published
        found = None if published is None else as_published(published)
        require(found == expected, f"started with {found} instead of {expected}: {world.found}")

    def _die(self, step: int) -> None:
        """Let a cycle die before it takes its ``step``-th step, or right after it if it takes fewer."""
        if self.over:
            self._down(graceful=False)
            return
        self.tally.kills += 1
        world, said, taken = self.on, self.dashboard.payload(self.on.now), []

        def take(name: str) -> None:
            taken.append(name)
            if len(taken) == step:
                raise Killed

        before, seen = tamper.documents_of(world), world.look(said)
        world.give_up_in_a_pause(seen)
        outcome = self._conclude(said, take)
        after = tamper.documents_of(world)
        self._down(graceful=False)
        if self.over:
            return
        if outcome is not None:
            self._settle(seen, outcome.inputs, outcome.decision)
        elif world.rows() > len(world.done):
            entry = world.last_entry()
            self._settle(seen, entry.inputs, entry.decision)
        published = world.oracle.published
        for old, new in zip(before, after, strict=True):
            is_new = new is not None and published is not None and new.published.shares == published.shares
            require(self.over or new == old or is_new, f"killed at {taken[-1]}: neither the old nor the new file")

    # --- exits ---

    def _mend(self) -> None:
        """Let everything be as an operator wishes."""
        if self.on.journal.lost:
            self._cycles(1)
            require(self.over or not self.on.journal.lost, "a journal that can be written is still lost")
        ending.mend(self.on, self.dashboard)

    def _take_exit(self, reason: Reason, *, wait: bool, accept: bool) -> None:
        """Do what the exit of this hold says and no more, and see that it ends with the next cycle."""
        world, holds = self.on, self.on.standing(OrderKind.HOLD)
        fleet = world.oracle.published is not None and world.oracle.fleet.members()
        if reason in ACCEPTABLE and accept and not world.journal.lost and (fleet or reason is not Reason.NO_AGENTS):
            world.order(OrderKind.ACCEPT, 86_400.0, accepts=reason.value)
        elif reason is Reason.MEMBERS_GONE and wait:
            self._cycles(4 * max(1, world.rules.membership_grace_cycles))
        elif reason is Reason.STOPPED:
            world.stop.unlink()
        elif reason is Reason.OPERATOR_HOLD and wait and holds and all(hold.until is not None for hold in holds):
            world.now = max(hold.until or 0.0 for hold in holds)
        else:
            self._mend()
        self._cycles(1)
        if not self.over:
            assert self.last is not None
            still = self.last.trace.hold
            require(still is None or still.reason is not reason, f"its exit was taken, and it still holds: {still}")
            self.tally.exits += 1

    # --- the end of a sequence ---

    def _end(self) -> None:
        """Let all faults be over, the clock be right again, and see that the governor governs again."""
        world = self.on
        world.now -= self.ahead
        if self.over or world.journal.lost:
            # So that there is a journal in which a hold can be taken back.
            self._pass(self.dashboard.payload(world.now))
        if self.over:
            world.take_back(OrderKind.HOLD)  # beside the oracle nobody knows whether one is in force
        ending.mend(world, self.dashboard)
        took = ending.govern_again(world, self.dashboard, self.ending, cycle=self._pass, start=self._start_again)
        self.tally.slowest[self.ending.kind] = max(took, self.tally.slowest[self.ending.kind])
        if self.ending.kind == "mended" and world.rules.max_step >= ending.SMALLEST_STEP:
            took = ending.give_back(world, self.dashboard, self._pass)
            self.tally.given_back = max(took, self.tally.given_back)

    def _pass(self, said: Said) -> Outcome | None:
        """Let one cycle pass, beside the oracle while that goes along."""
        if self.over:
            return ending.let_pass(self.on, said, INTERVAL)
        self._cycle(said)
        return self.outcome

    def _start_again(self) -> None:
        self._down(graceful=False)
        self._restart()
