"""P11: paused means no new generation and no write to the two files; a fresh, complete payload ends it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import closing
from typing import Final

import pytest

from capital_governor.core import hold
from capital_governor.core.model import Inputs, Latches
from capital_governor.core.reason import SILENT_HOLDS, Reason
from tests.model import documents, tamper
from tests.model.fleet import Dashboard, Said
from tests.model.steps import Killed
from tests.model.world import World
from tests.promises.ledger import Account, require
from tests.rigs.cycle_rig import footprint

PAUSES: Final = ("payload", "on", "until", "torn", "empty", "endless")
"""The payload says so, or the pause file: for ever, for a time, or in a way that cannot be understood."""
BAD: Final = ("fetch_failed", "error", "torn", "schema", "stale", "future")
INCOMPLETE: Final = ("no guardian", "no stamp", "no agents")
STEPS: Final = 14
"""So many steps has a paused cycle at least, which writes nothing but the journal and its status."""
Cycle = Callable[[World, Dashboard], Said]


def _odd(kind: str) -> Cycle:
    return lambda world, dashboard: tamper.odd(dashboard, world, kind, ())


def _lacking(kind: str) -> Cycle:
    def said(world: World, dashboard: Dashboard) -> Said:
        dashboard.lacks = {kind.removeprefix("no ")} & {"guardian", "stamp"}
        dashboard.absent = set(dashboard.records) if kind == "no agents" else set()
        spoilt = dashboard.payload(world.now)
        dashboard.lacks, dashboard.absent = set(), set()
        return spoilt

    return said


def _restarted(world: World, dashboard: Dashboard) -> Said:
    world.kill()
    world.begin()
    return dashboard.payload(world.now)


def _robbed(*, garbage: bool) -> Cycle:
    """Let the governor die and its journal be gone, or damaged, before it starts again."""

    def said(world: World, dashboard: Dashboard) -> Said:
        world.kill()
        tamper.lose_journal(world, garbage=garbage)
        world.begin()
        return dashboard.payload(world.now)

    return said


def _killed(step: int) -> Cycle:
    """Let the governor die at this step of a cycle of its own, and start again."""

    def said(world: World, dashboard: Dashboard) -> Said:
        counted = itertools.count(1)

        def take(_: str) -> None:
            if next(counted) == step:
                raise Killed

        assert world.conclude(dashboard.payload(world.now), take) is None, "the governor did not die"
        return _restarted(world, dashboard)

    return said


def _jumped(seconds: float) -> Cycle:
    def said(world: World, dashboard: Dashboard) -> Said:
        world.now += seconds
        return dashboard.payload(world.now)

    return said


def _rescored(world: World, dashboard: Dashboard) -> Said:
    dashboard.rescore(int(world.now), set(dashboard.records))
    return dashboard.payload(world.now)


STARTS: Final[dict[str, Cycle]] = {
    "restarted": _restarted,
    "journal gone": _robbed(garbage=False),
    "journal damaged": _robbed(garbage=True),
}
FAULTS: Final[dict[str, Cycle]] = (
    {kind: _odd(kind) for kind in BAD}
    | {kind: _lacking(kind) for kind in INCOMPLETE}
    | {f"killed at step {step}": _killed(step) for step in range(1, STEPS + 1)}
    | STARTS
    | {"clock back": _jumped(-4_000), "clock on": _jumped(20), "another fleet": _rescored}
)


def paused_world(kind: str) -> tuple[World, Dashboard]:
    """Return a world that has published, and was then paused."""
    world, dashboard = World(tamper.rules(5)), Dashboard()
    dashboard.rescore(3, {"Atlas", "Bolt", "Crest"})
    for _ in range(4):
        world.conclude(dashboard.payload(world.now))
        world.now += 300
    assert world.cycle.state.published is not None
    dashboard.rescore(9, set(dashboard.records))
    dashboard.paused = kind == "payload"
    if kind != "payload":
        tamper.pause(world, kind, "cooling")
    return world, dashboard


def silent(world: World, said: Said, what: str) -> None:
    """Let a rival write, then a paused cycle pass: it leaves the rival's file as it is, and nothing is published."""
    tamper.rival(world, "override foreign", 0)
    generation = world.cycle.state.generation
    before = footprint(world.primary, world.override)
    world.conclude(said)
    require(footprint(world.primary, world.override) == before, f"{what}: written while paused")
    require(world.cycle.state.generation == generation, f"{what}: a new generation while paused")
    world.now += 1


def check_pauses() -> int:
    """Pause in every way, let every fault befall each pause, and end it; return the paused cycles."""
    cycles = 0
    for kind in PAUSES:
        world, dashboard = paused_world(kind)
        with closing(world):
            for name, fault in FAULTS.items():
                silent(world, dashboard.payload(world.now), kind)
                tamper.rival(world, "override foreign", 0)
                before = footprint(world.primary, world.override)
                said = fault(world, dashboard)
                require(footprint(world.primary, world.override) == before, f"{kind}, {name}: written while paused")
                silent(world, said, f"{kind}, {name}")
                cycles += 3 if name.startswith("killed") else 2
            # The pause is taken back, and no payload yet that is fresh and complete.
            dashboard.paused = False
            tamper.pause(world, "gone", "")
            for name in (*BAD, *INCOMPLETE, *STARTS):
                said = FAULTS[name](world, dashboard)
                if name in STARTS:
                    said = FAULTS["no guardian"](world, dashboard)
                silent(world, said, f"{kind} taken back, {name}")
                cycles += 1
            done = world.conclude(dashboard.payload(world.now))
            assert done is not None
            require(done.decision.reason is not Reason.PAUSED, f"{kind}: a fresh complete payload ends nothing")
            assert documents.signed_generation(world.override) > 0, "nothing is repaired after the pause"
    return cycles


def test_p11_paused_means_no_write(promise: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """In no paused cycle a byte of either file changes, whatever else happens; a complete payload ends the pause."""
    cycles = check_pauses()
    promise.figure(f"writes while paused 0 in {cycles} cycles, {len(PAUSES)} pauses x {len(FAULTS)} faults")
    with monkeypatch.context() as mutating, promise.mutant("files are repaired in a pause"):
        mutating.setattr("capital_governor.service.cycle.SILENT_HOLDS", SILENT_HOLDS - {Reason.PAUSED})
        check_pauses()

    with monkeypatch.context() as mutating, promise.mutant("a pause ends with its journal"):
        mutating.setattr("capital_governor.service.recovery.recall", lambda state, *_: state)
        check_pauses()

    judged = hold._pause

    def forgetful(inputs: Inputs, _: Latches, problem: object) -> object:
        return judged(inputs, Latches(), problem)  # type: ignore[arg-type]  # it is what it was called with

    with monkeypatch.context() as mutating, promise.mutant("any payload ends a pause"):
        mutating.setattr(hold, "_pause", forgetful)
        check_pauses()
