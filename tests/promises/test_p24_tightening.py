"""P24: what a person tightens takes effect in the next cycle, in every hold but STOP, and gives nobody more."""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Self

import pytest

from capital_governor.core import decision
from capital_governor.core.model import EVERYBODY
from capital_governor.core.orders import OrderKind
from capital_governor.core.reason import HOLDS, Reason
from tests.promises.ledger import Account, require
from tests.rigs.allocation_files import previous_program
from tests.rigs.broken_holds import BROKEN_HOLDS, deaf_to_caps, deaf_to_ceilings
from tests.rigs.builders import INTERVAL, NOW
from tests.rigs.cycle_rig import CycleRig, footprint, settings_of
from tests.rigs.holds import BRAKES, NO_HOLD, PAYLOADS, Hold, eager, give, holds, nothing, take_back

pytestmark = pytest.mark.no_cover  # thousands of cycles, which tracing slows down several times

TEAM: Final = ("Ada", "Bob")
"""The agents of the only group that is ever set."""
MILLION: Final = 1_000_000
ROUNDING: Final = Fraction(1, MILLION)
"""What is added to a product of floats before it is rounded down to millionths."""
UNTRIED: Final = {Reason.INTERNAL_ERROR}
"""A hold in which no cycle ends, so that there is no next cycle."""


# --- what a person tightens ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tightening:
    """What a person orders, and what that allows.

    Args:
        name: of it.
        orders: given by commands.
        settings: lowered by a restart.
        exposure: the most that it allows.
        caps: the most that it allows of each agent's weight; an agent without one is not limited.
        team: the most that it allows of TEAM's weights together.
    """

    name: str
    orders: tuple[Mapping[str, Any], ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    exposure: str = "1"
    caps: Mapping[str, str] = field(default_factory=dict)
    team: str = "1"


FOR_A_TIME: Final = {"seconds": 1.5 * INTERVAL}
"""Until after the cycle in which it has to take effect."""


def ceiling(value: str) -> dict[str, Any]:
    return {"kind": OrderKind.EXPOSURE, "cap": float(value)}


def cap(agent: str, value: str, **more: Any) -> dict[str, Any]:
    return {"kind": OrderKind.LIMIT, "agent": agent, "cap": float(value), **more}


def everyone(value: str) -> dict[str, str]:
    return dict.fromkeys(("Ada", "Bob", "Cyd"), value)


EXPOSURES: Final = [
    *[Tightening(f"exposure {most}", (ceiling(most),), exposure=most) for most in ("0.5", "0", "0.7999")],
    Tightening("exposure 0.5 for a time", (ceiling("0.5") | FOR_A_TIME,), exposure="0.5"),
]
CAPS: Final = [
    Tightening("limit Ada 0.1", (cap("Ada", "0.1"),), caps={"Ada": "0.1"}),
    Tightening("limit Bob 0", (cap("Bob", "0"),), caps={"Bob": "0"}),
    Tightening("limit Cyd 0.15, floor 0.15", (cap("Cyd", "0.15", floor=0.15),), caps={"Cyd": "0.15"}),
    Tightening("limit Bob 0.1 for a time", (cap("Bob", "0.1") | FOR_A_TIME,), caps={"Bob": "0.1"}),
    Tightening("limit * 0.2", (cap(EVERYBODY, "0.2"),), caps=everyone("0.2")),
    Tightening(
        "limit * 0.2, limit Bob 0.1",
        (cap(EVERYBODY, "0.2"), cap("Bob", "0.1")),
        caps=everyone("0.2") | {"Bob": "0.1"},
    ),
    Tightening("exposure 0.5, limit Ada 0.1", (ceiling("0.5"), cap("Ada", "0.1")), exposure="0.5", caps={"Ada": "0.1"}),
]
SHARED_OUT: Final = [
    Tightening("share out Ada 0.1", (cap("Ada", "0.1", share_out=True),), caps={"Ada": "0.1"}),
    Tightening("share out * 0.2", (cap(EVERYBODY, "0.2", share_out=True),), caps=everyone("0.2")),
    Tightening(
        "share out * 0.25, limit Bob 0.1",
        (cap(EVERYBODY, "0.25", share_out=True), cap("Bob", "0.1")),
        caps=everyone("0.25") | {"Bob": "0.1"},
    ),
]
SETTINGS: Final = [
    Tightening("MIN_RESERVE 0.4", settings={"MIN_RESERVE": 0.4}, exposure="0.6"),
    Tightening("MAX_ALLOC 0.25", settings={"MAX_ALLOC": 0.25}, caps=everyone("0.25")),
    Tightening("GROUPS 0.4", settings={"GROUPS": "team=0.4:Ada,B*"}, team="0.4"),
    Tightening(
        "MIN_RESERVE 0.4, MAX_ALLOC 0.25, GROUPS 0.4, exposure 0.5, share out Bob 0.1",
        (ceiling("0.5"), cap("Bob", "0.1", share_out=True)),
        {"MIN_RESERVE": 0.4, "MAX_ALLOC": 0.25, "GROUPS": "team=0.4:Ada,B*"},
        exposure="0.5",
        caps=everyone("0.25") | {"Bob": "0.1"},
        team="0.4",
    ),
]
ALL: Final = [*EXPOSURES, *CAPS, *SHARED_OUT, *SETTINGS]
LOOSE: Final = [
    Tightening("exposure 0.9", (ceiling("0.9"),), exposure="0.9"),
    Tightening("limit Ada 0.6", (cap("Ada", "0.6"),)),
    Tightening("share out Bob 0.6", (cap("Bob", "0.6", share_out=True),)),
    Tightening("floor Cyd 0.9", ({"kind": OrderKind.LIMIT, "agent": "Cyd", "floor": 0.9},)),
    Tightening("MAX_ALLOC 0.9", settings={"MAX_ALLOC": 0.9}),
]
"""Orders and settings that take nothing from a plan of 0.32, 0.288, 0.192 at an exposure of 0.8."""


# --- what is published -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shown:
    """What an allocation file shows: shares and plan lines in millionths, and the plan's exposure."""

    shares: Mapping[str, int]
    plan: Mapping[str, int]
    exposure: Fraction

    @classmethod
    def read(cls, path: Path) -> Self:
        said = json.loads(path.read_bytes(), parse_float=Fraction)
        shares = {agent: round(share * MILLION) for agent, share in said["allocations"].items()}
        kept = {agent: round(amount * MILLION) for agent, amount in said.get("withheld", {}).items()}
        plan = {agent: share + kept.get(agent, 0) for agent, share in shares.items()}
        return cls(shares, plan, Fraction(said.get("exposure", 1)))


def allowed(before: Shown, by: Tightening) -> dict[str, Fraction]:
    """Return, in millionths, what each agent has left after exactly what was ordered."""
    exposure = min(before.exposure, Fraction(by.exposure))
    ratio = exposure / before.exposure
    lines = {
        agent: min(line * ratio, Fraction(by.caps.get(agent, "1")) * exposure * MILLION)
        for agent, line in before.plan.items()
    }
    together, most = sum(lines[agent] for agent in TEAM), Fraction(by.team) * exposure * MILLION
    for agent in TEAM:
        lines[agent] *= min(Fraction(1), most / together) if together else 1
    return {agent: min(share * ratio, lines[agent]) for agent, share in before.shares.items()}


# --- one case --------------------------------------------------------------------------------------------------------


def ours(root: Path) -> None:
    """Publish 0.32, 0.288, 0.192 at an exposure of 0.8."""
    with CycleRig(root) as rig:
        rig.see(risk=0.8)
        assert Shown.read(rig.primary).shares == {"Ada": 320_000, "Bob": 288_000, "Cyd": 192_000}


def withheld(root: Path) -> None:
    """The same, but half of Ada's share is withheld; the order for that has been taken back since."""
    ours(root)
    with CycleRig(root, now=NOW + 300) as rig:
        order = give(rig, OrderKind.LIMIT, agent="Ada", cap=0.2)
        rig.see(risk=0.8)
        assert Shown.read(rig.primary).shares == {"Ada": 160_000, "Bob": 288_000, "Cyd": 192_000}
        take_back(rig, order)


def adopted(root: Path) -> None:
    """The same, and then a file of the previous program, which has no generation and no exposure."""
    ours(root)
    previous_program(root, {"Ada": 0.4, "Bob": 0.35, "Cyd": 0.24})


ORIGINS: Final[Mapping[str, Callable[[Path], None]]] = {"ours": ours, "withheld": withheld, "adopted": adopted}


def play(root: Path, hold: Hold, by: Tightening, where: str, *, fresh: bool) -> None:
    """Tighten in a hold on a prepared root, then take that back.

    Args:
        root: prepared.
        hold: in force all the time.
        by: ordered after one cycle.
        where: names the case.
        fresh: each cycle is one of a process of its own, as it always is where settings are changed.
    """
    fresh = fresh or bool(by.settings)
    with CycleRig(root, now=NOW + 3 * INTERVAL, **hold.settings) as rig:
        before = Shown.read(rig.primary)
        hold.begin(rig)
        files, generation = _files(rig), rig.governor.state.generation
        _held(rig, hold, fresh=fresh)
        require(_files(rig) == files, f"{where}: a file has changed before anything was ordered")
        require(Shown.read(rig.primary) == before, f"{where}: shares have changed before anything was ordered")
        orders = [give(rig, **order) for order in by.orders]
        rig.settings = settings_of(root, **hold.settings, **by.settings)
        _held(rig, hold, fresh=fresh)
        if hold.lift is not None:
            require(_files(rig) == files, f"{where}: a file has changed, and none may be written")
            unseen = hold.decides_nothing and rig.governor.state.generation != generation
            require(not unseen, f"{where}: published what nobody may see")
            hold.lift(rig)
            _cycle(rig, hold, fresh=fresh)
        elif allowed(before, by) == before.shares:
            require(_files(rig) == files, f"{where}: a file has changed, and nothing was tightened")
        _compare(before, rig, by, where)
        if hold.reason is not None:
            files, rig.now = _files(rig), rig.now + INTERVAL
            take_back(rig, *[order for order in orders if order.until is None])
            rig.settings = settings_of(root, **hold.settings)
            _cycle(rig, hold, fresh=fresh)
            require(_files(rig) == files, f"{where}: loosened in the hold")


def _cycle(rig: CycleRig, hold: Hold, *, fresh: bool) -> Reason | None:
    """Pass one cycle, of a process that has just read back all that it knows if ``fresh``; return what held it."""
    if fresh:
        rig.restart()
    held = rig.cycle(hold.payload(rig.now)).decision.trace.hold
    return None if held is None else held.reason


def _held(rig: CycleRig, hold: Hold, *, fresh: bool) -> None:
    """Pass one cycle in this hold."""
    with hold.around():
        found = _cycle(rig, hold, fresh=fresh)
    assert found is hold.reason, f"held by {found}, not by {hold.name}"


def _files(rig: CycleRig) -> object:
    """What shows any write to the two files."""
    return footprint(rig.primary, *([] if rig.override.is_dir() else [rig.override]))


def _compare(before: Shown, rig: CycleRig, by: Tightening, where: str) -> None:
    """Hold what both files show now against what was shown before and what was ordered."""
    after, most = Shown.read(rig.primary), allowed(before, by)
    raised = {agent: share for agent, share in after.shares.items() if share > before.shares[agent]}
    require(not raised, f"{where}: raised, {raised} after {before.shares}")
    late = {agent: share for agent, share in after.shares.items() if share > most[agent] + ROUNDING}
    require(not late, f"{where}: late, {late} of {_floats(most)} allowed")
    require(after.exposure <= Fraction(by.exposure), f"{where}: late, exposure {after.exposure}")
    less = {agent: share for agent, share in after.shares.items() if share < math.floor(most[agent]) - 1}
    require(not less, f"{where}: took more than was ordered, {less} of {_floats(most)}")
    if after.shares != before.shares:
        require(Shown.read(rig.override).shares == after.shares, f"{where}: late, the override file has other shares")


def _floats(most: Mapping[str, Fraction]) -> dict[str, float]:
    return {agent: float(share) for agent, share in most.items()}


@pytest.fixture(scope="module")
def prepared(quick_folder: Path) -> Path:
    """A folder with a root for each origin."""
    for name, prepare in ORIGINS.items():
        (root := quick_folder / "p24" / name).mkdir(parents=True)
        prepare(root)
    return quick_folder / "p24"


def check(prepared: Path, tried: Iterable[Hold], origins: Mapping[str, Sequence[Tightening]]) -> int:
    """Play every hold with every tightening of each origin, half of them in one process; return the cases."""
    cases = 0
    for hold, (origin, tightenings) in itertools.product(tried, origins.items()):
        for by in tightenings:
            with tempfile.TemporaryDirectory(dir=prepared) as root:
                shutil.copytree(prepared / origin, root, dirs_exist_ok=True)
                play(Path(root), hold, by, f"{origin}, {hold.name}, {by.name}", fresh=cases % 2 == 0)
            cases += 1
    return cases


# --- the promise -----------------------------------------------------------------------------------------------------

HELD: Final = holds()
MAIN: Final = [
    hold
    for hold in HELD
    if (hold.begin is nothing and hold.lift is None) or hold.payload in {eager, PAYLOADS[Reason.FETCH_FAILED]}
]
"""Every hold once, and each thing that holds with a good payload and with none."""
SAMPLE: Final = [EXPOSURES[0], CAPS[0], SETTINGS[-1]]
"""An exposure, a cap, and all settings."""


EVERY: Final = "TIGHTEN_EVERYWHERE" in os.environ
"""Whether every hold is tried with every order, on every kind of publication: some minutes."""


def test_p24_a_tightening_waits_for_no_hold_and_raises_nobody(promise: Account, prepared: Path) -> None:
    """Every hold with every order, once; what else there is with some of them."""
    assert {hold.reason for hold in HELD} == HOLDS - UNTRIED
    cases = check(prepared, [*MAIN, *BRAKES], {"ours": [*ALL, *LOOSE]})
    cases += check(prepared, [NO_HOLD], {"ours": [*EXPOSURES, *CAPS, SETTINGS[0]]})
    cases += check(prepared, [hold for hold in HELD if hold not in MAIN], {"ours": SAMPLE})
    cases += check(prepared, MAIN, {"withheld": SAMPLE, "adopted": SAMPLE})
    if EVERY:
        cases += check(prepared, HELD, {origin: [*ALL, *LOOSE] for origin in ORIGINS})
    orders = len(ALL) + len(LOOSE)
    promise.figure(
        f"{cases:,} cases, {len(HELD)} holds and {len(BRAKES)} brakes, {orders} orders and settings: late 0, raised 0,"
        " loosened in a hold 0"
    )


def test_p24_mutants_are_caught(promise: Account, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each hold deaf to ceilings or caps, one that raises, loosens or publishes under STOP: the same check finds it."""
    every = {hold.name: hold for hold in (*HELD, *BRAKES)}
    for reason in sorted(HOLDS - UNTRIED - {Reason.STOPPED, Reason.FILES_UNWRITABLE}):
        mine = [hold for hold in MAIN if hold.reason is reason]
        for deaf, orders in ((deaf_to_ceilings, EXPOSURES), (deaf_to_caps, CAPS)):
            with (
                monkeypatch.context() as mutating,
                promise.mutant(f"{reason.value} is {deaf.__name__}".replace("_", " "), "late"),
            ):
                mutating.setattr(decision, "_hold", deaf(reason))
                check(prepared, mine, {"ours": orders})
    for broken in BROKEN_HOLDS:
        with monkeypatch.context() as mutating, promise.mutant(broken.name, broken.found):
            for part, by in broken.parts.items():
                mutating.setattr(part, by)
            check(prepared, [every[name] for name in broken.holds], {broken.origin: [*ALL, *LOOSE]})
