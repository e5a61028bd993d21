"""The loop as a state machine: whatever may befall a governor, in any order, and what has to hold after each cycle."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from capital_governor.journal.notices import NoticeState
from tests.model import ending, tamper
from tests.model.course import SEEDS, TEAM
from tests.model.fleet import FAULTS, LOST
from tests.model.operator_rules import OperatorRules
from tests.model.world import MOVES, World
from tests.promises.ledger import require


class Loop(OperatorRules):
    """One governor, its dashboard, its operator, and all that goes wrong."""

    @initialize(
        settings=SEEDS,
        policy=st.sampled_from(("assert", "assert", "assert", "report", "off")),
        names=TEAM,
        fleet=SEEDS,
        found=st.sampled_from((None, None, None, "ours", "previous")),
        multiplier=st.sampled_from((1.0, 0.8, 1.2)),
        kind=st.sampled_from(("mended", "mended", *ending.KINDS)),
        starts=st.sampled_from(("none", "none", *ending.STARTS)),
    )
    def begin(  # noqa: PLR0913 - by name, each a value that hypothesis picks
        self,
        settings: int,
        policy: str,
        names: set[str],
        fleet: int,
        found: str | None,
        multiplier: float,
        kind: ending.Kind,
        starts: ending.Starts,
    ) -> None:
        """A root, on which something may have governed before; the first cycle."""
        self.ending = ending.Ending(kind, starts)
        self.world = World(tamper.rules(settings), policy)
        self.dashboard.multiplier = multiplier
        self.dashboard.rescore(fleet, names)
        if found is not None:
            tamper.leave_primary(self.world, found, fleet)
            self._restart()
        self._cycles(1)

    # --- the payload ---

    @rule(names=TEAM, seed=SEEDS, cycles=st.integers(1, 3))
    def rescored(self, names: set[str], seed: int, cycles: int) -> None:
        """Agents do better or worse, or join."""
        self.dashboard.rescore(seed, names)
        self._cycles(cycles)

    @rule(names=TEAM, fault=st.sampled_from(sorted(FAULTS)), seed=SEEDS, cycles=st.integers(1, 3))
    def faulty(self, names: set[str], fault: str, seed: int, cycles: int) -> None:
        """Records are at fault while the others change."""
        self.dashboard.faulty = dict.fromkeys(sorted(names), fault)
        self.dashboard.rescore(seed, set(self.dashboard.records) - names)
        self._cycles(cycles)

    @rule(names=TEAM, cycles=st.integers(1, 6))
    def absent(self, names: set[str], cycles: int) -> None:
        """Agents vanish for a while; those that had vanished before are back."""
        self.dashboard.absent = names
        self._cycles(cycles)

    @rule(names=TEAM, seed=SEEDS, cycles=st.integers(4, 8), back=st.integers(0, 4))
    def silent(self, names: set[str], seed: int, cycles: int, back: int) -> None:
        """Agents are silent for long while the others change; they may be back after it."""
        self.dashboard.absent = names
        self._cycles(1)
        self.dashboard.rescore(seed, set(self.dashboard.records) - names)
        self._cycles(cycles)
        if back:
            self.dashboard.absent = set()
            self._cycles(back)

    @rule(names=TEAM, away=st.integers(1, 6), there=st.integers(1, 3), times=st.integers(2, 3))
    def flapping(self, names: set[str], away: int, there: int, times: int) -> None:
        """Agents come and go around the grace and around the records that end a lapse."""
        for _ in range(times):
            self.dashboard.absent = names
            self._cycles(away)
            self.dashboard.absent = set()
            self._cycles(there)

    @rule(lacks=st.sets(st.sampled_from(LOST), max_size=2), stranger=st.booleans(), seed=st.none() | SEEDS)
    def lacking(self, lacks: set[str], stranger: bool, seed: int | None) -> None:
        """The payload lacks blocks, or has an agent of an impossible name; the others may change."""
        self.dashboard.lacks, self.dashboard.stranger = lacks, stranger
        if seed is not None:
            self.dashboard.rescore(seed, set(self.dashboard.records))
        self._cycles(1)

    @rule(
        multiplier=st.sampled_from((0.0, 0.5, 0.74, 0.8, 0.93, 1.0, 1.2, 10.0)) | st.floats(0, 1),
        drawdown=st.sampled_from((0.0, 0.0, 5.0, 7.5, 15.0, 40.0)) | st.floats(0, 20),
    )
    def exposed(self, multiplier: float, drawdown: float) -> None:
        """Regime and drawdown move, up or down."""
        self.dashboard.multiplier, self.dashboard.drawdown = multiplier, drawdown
        self._cycles(1)

    @rule(
        age=st.sampled_from((None, 0.0, 1_000.0, 4_000.0, 200_000.0, -100.0)),
        multiplier=st.none() | st.sampled_from((0.0, 0.5, 1.0, 1.0)),
    )
    def regime_ages(self, age: float | None, multiplier: float | None) -> None:
        """The regime says how old it is: of now, old since its detector is dead, or of the future; or what it is."""
        self.dashboard.regime_age = age
        if multiplier is not None:
            self.dashboard.multiplier = multiplier
        self._cycles(1)

    @rule(
        kind=st.sampled_from(
            ("fetch_failed", "error", "torn", "schema", "stale", "future", "edge", "reordered", "regime")
        )
    )
    def odd_payload(self, kind: str) -> None:
        """One payload that is refused, stale, of the future, or an earlier one again."""
        self._cycle(tamper.odd(self.dashboard, self.on, kind, self.earlier))

    # --- those who say stop ---

    @rule(said=st.sampled_from(("", "cooling", "losses")), on=st.booleans())
    def says_paused(self, said: str, on: bool) -> None:
        """The payload says paused, or not."""
        self.dashboard.paused, self.dashboard.said = on, said
        self._cycles(1)

    @rule(
        kind=st.sampled_from(("on", "on", "until", "torn", "empty", "endless", "over", "off", "gone")),
        reason=st.sampled_from(("", "cooling")),
        cycles=st.integers(1, 2),
    )
    def pause_file(self, kind: str, reason: str, cycles: int) -> None:
        """The Guardian's pause file comes, changes or goes."""
        tamper.pause(self.on, kind, reason)
        self._cycles(cycles)

    @rule(on=st.booleans())
    def stop(self, on: bool) -> None:
        """The STOP file comes or goes."""
        self.on.stop.unlink(missing_ok=True)
        if on:
            self.on.stop.touch()
        self._cycles(1)

    # --- time, disk, rivals ---

    @rule(seconds=st.sampled_from((1, 61, 901, 4_000, 90_000, -400, -90_000)))
    def clock_jumps(self, seconds: int) -> None:
        """The clock is set forward or back, or the machine slept."""
        self.on.now += seconds
        self.ahead += seconds
        self._cycles(1)

    @rule(kind=st.sampled_from(tamper.RIVALS), seed=SEEDS)
    def rival(self, kind: str, seed: int) -> None:
        """Somebody writes, tears or removes an allocation file, or puts a folder in its place."""
        tamper.rival(self.on, kind, seed)
        self._cycles(1)

    @precondition(lambda self: not self.on.journal.lost)
    @rule(garbage=st.booleans(), cycles=st.integers(1, 2))
    def journal_lost(self, garbage: bool, cycles: int) -> None:
        """The journal is deleted, or another file takes its place, under the running governor."""
        self.on.lose_journal()
        tamper.lose_journal(self.on, garbage=garbage)
        self._cycles(cycles)

    @precondition(lambda self: self.on.journal.notices(NoticeState.PENDING, 1))
    @rule()
    def told(self) -> None:
        """The operator gets one message, and the next cycle comes."""
        (notice,) = self.on.journal.notices(NoticeState.PENDING, 1)
        self.on.journal.put_notices([notice.sent()])
        if notice.key.startswith(MOVES):
            self.on.taken.add(notice.key)
        self._cycles(1)

    @rule(
        seconds=st.sampled_from((0, 0, 10, 300, 1000, 100_000)),
        graceful=st.booleans(),
        settings=st.none() | SEEDS,
        meanwhile=st.sampled_from((None, None, None, "ours", "previous", "torn", "gone", "deleted", "garbage")),
        seed=SEEDS,
    )
    def restarted(self, seconds: int, graceful: bool, settings: int | None, meanwhile: str | None, seed: int) -> None:
        """The governor ends or is killed between two cycles, and starts again on what it then finds."""
        self._down(graceful=graceful)
        self.on.now += seconds
        if settings is not None:
            self.on.rules = tamper.rules(settings)
        if meanwhile in {"deleted", "garbage"}:
            tamper.lose_journal(self.on, garbage=meanwhile == "garbage")
        elif meanwhile in {"torn", "gone"}:
            tamper.rival(self.on, f"primary {meanwhile}", seed)
        elif meanwhile is not None:
            tamper.leave_primary(self.on, meanwhile, seed)
        self._restart()
        self._cycles(1)

    @rule(step=st.integers(1, 60), seed=SEEDS, seconds=st.sampled_from((0, 10, 1000)), stopped=st.booleans())
    def killed(self, step: int, seed: int, seconds: int, stopped: bool) -> None:
        """The governor dies between two steps of a cycle in which much changes, and starts again."""
        self.dashboard.rescore(seed, set(self.dashboard.records))
        self._die(step)
        self.on.now += seconds
        if stopped:
            self.on.stop.touch()
        self._restart()
        self._cycles(1)

    # --- calm ---

    @rule(cycles=st.integers(1, 5))
    def calm(self, cycles: int) -> None:
        """Time passes."""
        self._cycles(cycles)

    @precondition(lambda self: self.last is not None and self.last.trace.hold is not None)
    @rule(wait=st.booleans(), accept=st.booleans())
    def exit_taken(self, wait: bool, accept: bool) -> None:
        """The exit that a hold names is taken; it ends that hold."""
        assert self.last is not None
        assert self.last.trace.hold is not None
        if not self.over:
            self._take_exit(self.last.trace.hold.reason, wait=wait, accept=accept)

    @rule()
    def mended(self) -> None:
        """All that is wrong is over; the next cycle decides."""
        self._mend()
        self._cycles(1)
        assert self.last is not None
        if not self.over:
            require(self.last.trace.hold is None, f"all is well, and it holds: {self.last.trace.hold}")
