"""P11: paused means no new generation and no write to the two files, but for an operator's own cut.

Such a cut is written until it has once reached both files; nothing else is repaired. A fresh, complete payload ends it.
"""

from __future__ import annotations

import errno
import itertools
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from typing import Any, Final

import pytest

from capital_governor.adapters.file_convergence import Convergence
from capital_governor.core import decision, hold
from capital_governor.core.model import EVERYBODY, Inputs, Latches, Publication, Rules, State
from capital_governor.core.orders import OrderKind
from capital_governor.core.reason import SILENT_HOLDS, Reason
from capital_governor.core.trace import Decision, Hold
from capital_governor.service.publisher import Publisher
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
REAL_PUBLISH: Final = Publisher.publish
REAL_HOLD: Final = decision._hold
REAL_PAUSE: Final = hold._pause


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
    world, dashboard = World(tamper.DEFAULTS), Dashboard()
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
    require(world.cycle.state.generation == generation, f"{what}: a new generation while paused")
    require(footprint(world.primary, world.override) == before, f"{what}: written while paused")
    world.now += 1


def ended(world: World, dashboard: Dashboard, what: str) -> None:
    """Let a fresh, complete payload come after the pause was taken back: it ends it, and the files are repaired."""
    done = world.conclude(dashboard.payload(world.now))
    assert done is not None
    require(done.decision.trace.hold is None, f"{what}: a fresh complete payload ends nothing")
    assert documents.signed_generation(world.override) > 0, "nothing is repaired after the pause"


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
            ended(world, dashboard, kind)
    return cycles


# --- an operator's own cut --------------------------------------------------------------------------------------------


def _exposure(world: World) -> None:
    world.order(OrderKind.EXPOSURE, None, cap=0.5)


def _cap(world: World) -> None:
    world.order(OrderKind.LIMIT, None, agent="Atlas", cap=0.1)


def _cap_for_all(world: World) -> None:
    world.order(OrderKind.LIMIT, None, agent=EVERYBODY, cap=0.1, share_out=True)


def _reserve(world: World) -> None:
    world.rules = replace(world.rules, min_reserve=0.4)
    world.kill()
    world.begin()


TIGHTENINGS: Final[dict[str, Callable[[World], None]]] = {
    "exposure": _exposure,
    "limit": _cap,
    "limit for all, shared out": _cap_for_all,
    "MIN_RESERVE": _reserve,
}


CUT_IN: Final = [
    *((kind, "exposure") for kind in ("payload", "on", "torn")),
    *(("on", name) for name in TIGHTENINGS if name != "exposure"),
]
"""Each kind of pause, and each tightening."""
AFTER: Final = {name: FAULTS[name] for name in ("fetch_failed", "restarted", "another fleet")}
"""What may befall a pause after the cut."""


class Fault:
    """Let the disk refuse a step of a cycle, or the governor die there; ``name`` is the step's once that has happened.

    Steps count from 1; at step 0 there is no fault.
    """

    def __init__(self, at: int, *, deadly: bool) -> None:
        self.left, self.deadly, self.name = at, deadly, ""

    def __call__(self, step: str) -> None:
        if not self.deadly and (step.startswith("after") or step == "before look for STOP"):
            return  # no disk refuses these
        self.left -= 1
        if self.left == 0:
            self.name = step
            if self.deadly:
                raise Killed
            raise OSError(errno.ENOSPC, "No space left on device")


def cut(world: World, dashboard: Dashboard, tighten: Callable[[World], None], fault: Fault, what: str) -> None:
    """Tighten in a pause, let the cycle that cuts have a fault, and look at both files from then on.

    One generation is made, and no share of it is above its former one. The next cycle at the latest writes it to both
    files. After that nothing is written, and a rival's file stays.
    """
    old = documents.read(world.primary)
    assert old is not None
    tighten(world)
    died = world.conclude(dashboard.payload(world.now), fault) is None
    world.now += 1
    said = _restarted(world, dashboard) if died else dashboard.payload(world.now)
    what = f"{what}, {'died' if died else 'refused'} {fault.name or 'nowhere'}"
    if fault.name:
        world.conclude(said)
        world.now += 1
    for path in (world.primary, world.override):
        new, before = documents.read(path), old.published
        assert new is not None
        found = new.published
        require(found.generation == before.generation + 1, f"{what}: {path.name} has {found.generation}")
        require(found.shares != before.shares, f"{what}: nothing is cut in {path.name}")
        raised = [name for name, share in found.shares.items() if share > before.shares[name]]
        require(not raised, f"{what}: raised {raised}")
    for name, fault_after in AFTER.items():
        silent(world, fault_after(world, dashboard), f"{what}; after the cut, {name}")
    dashboard.paused = False
    tamper.pause(world, "gone", "")
    ended(world, dashboard, what)


def check_cuts(chosen: Iterable[tuple[str, str]]) -> tuple[int, int]:
    """Let every fault befall the cycle that cuts, in these pauses; return the cuts, and how many had a fault."""
    cuts, faults = 0, 0
    for kind, name in chosen:
        for deadly, first in ((False, 0), (True, 1)):
            for at in itertools.count(first):
                fault = Fault(at, deadly=deadly)
                world, dashboard = paused_world(kind)
                with closing(world):
                    cut(world, dashboard, TIGHTENINGS[name], fault, f"{kind}, {name}")
                cuts += 1
                if at and not fault.name:
                    break
                faults += bool(at)
    return cuts, faults


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

    def forgetful(inputs: Inputs, _: Latches, problem: Hold | None) -> Hold | None:
        return REAL_PAUSE(inputs, Latches(), problem)

    with monkeypatch.context() as mutating, promise.mutant("any payload ends a pause"):
        mutating.setattr(hold, "_pause", forgetful)
        check_pauses()


def test_p11_a_cut_in_a_pause_reaches_both_files_once(promise: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fails or dies while an operator's cut is written: the next cycle writes it, and none after that."""
    cuts, faults = check_cuts(CUT_IN)
    promise.figure(f"operator's cuts in a pause {cuts}, {faults} with a fault: in both files by the next cycle, once")

    def tried_once(publisher: Publisher, published: Publication | None) -> Convergence | None:
        convergence = REAL_PUBLISH(publisher, published)
        publisher.settled = 0 if published is None else published.generation
        return convergence

    def ever_again(publisher: Publisher, published: Publication | None) -> Convergence | None:
        convergence = REAL_PUBLISH(publisher, published)
        publisher.settled = 0
        return convergence

    def numbered(inputs: Inputs, state: State, rules: Rules, *others: Any) -> Decision:
        found = REAL_HOLD(inputs, state, rules, *others)
        published = state.published
        if found.proposal is not None or published is None:
            return found
        return replace(found, proposal=replace(published, generation=state.generation + 1))

    def until_an_order(inputs: Inputs, *others: Any) -> Hold | None:
        return None if inputs.ceiling is not None else REAL_PAUSE(inputs, *others)

    mutants: dict[str, tuple[object, str, object, str]] = {
        "a cut that could not be written is not tried again": (Publisher, "publish", tried_once, "has 1"),
        "a cut is written in every cycle": (Publisher, "publish", ever_again, "written while paused"),
        "a start writes a cut again": (Publisher, "may_lag", lambda *_: True, "written while paused"),
        "a start does not look at the override": (Publisher, "may_lag", lambda *_: False, "override.json has 1"),
        "every paused cycle publishes": (decision, "_hold", numbered, "a new generation"),
        "an order ends the pause": (hold, "_pause", until_an_order, "written while paused"),
        "no cut in a pause": (decision, "_hold", lambda i, *o: REAL_HOLD(replace(i, stopped=True), *o), "has 1"),
    }
    for name, (where, part, by, found) in mutants.items():
        with monkeypatch.context() as mutating, promise.mutant(name, found):
            mutating.setattr(where, part, by)
            check_cuts([("on", "exposure")])
