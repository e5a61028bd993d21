"""P12: a STOP file stops publication; it is looked for right before each rename."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from capital_governor.adapters import atomic_replacement
from capital_governor.service.cycle import Cycle
from tests.model.steps import every_step
from tests.promises.ledger import Account, require
from tests.rigs.builders import snapshot
from tests.rigs.cycle_rig import CycleRig, footprint

pytestmark = pytest.mark.no_cover  # thousands of sequences, which tracing slows down several times

SWAPPED: Final = {"Ada": 0.2, "Bob": 0.3, "Cyd": 0.5}
FILES: Final = ("capital_governor_allocations.json", "allocations_override.json")
RENAMES: Final = {f"before rename {name}" for name in FILES}


def _first(_: CycleRig) -> None:
    """Nothing is published yet."""


def _move(rig: CycleRig) -> None:
    rig.see()


def _repair(rig: CycleRig) -> None:
    rig.see(SWAPPED)
    rig.primary.write_bytes(b"{")
    rig.override.write_bytes(b"{}")


SITUATIONS: Final[dict[str, Callable[[CycleRig], None]]] = {
    "first allocation": _first,
    "move": _move,
    "repair": _repair,
}


def steps_with_stop(root: Path, prepare: Callable[[CycleRig], None], at: int) -> tuple[list[str], int]:
    """Run one cycle, put the STOP file there at its step number ``at``; return its steps, and renames too late."""
    taken: list[str] = []
    with CycleRig(root) as rig:
        prepare(rig)
        before: list[Any] = []

        def take(name: str) -> None:
            taken.append(name)
            if len(taken) == at:
                rig.stop_file.touch()
            if len(taken) == at + 1:
                before.extend(footprint(rig.primary, rig.override))

        with every_step(take):
            rig.governor.conclude(snapshot(SWAPPED, at=rig.now))
        # Between the look and the rename that follows it nothing can be done about a STOP any more.
        looked = taken[at - 1 : at] == ["after look for STOP"] and taken[at] in RENAMES
        late = sum(name in RENAMES for name in taken[at:]) - looked
        rig.cycle(snapshot({"Ada": 0.5, "Bob": 0.3, "Cyd": 0.2}, at=rig.now))
        if before and not looked and taken[at - 1] not in RENAMES:
            require(footprint(rig.primary, rig.override) == before, f"STOP at {taken[at - 1]}, and a file has changed")
    return taken, late


def check_stop(folder: Path) -> tuple[int, int]:
    """Put STOP before and after every step of every situation; return the points, and the cycles that they were in."""
    points = 0
    for number, (name, prepare) in enumerate(SITUATIONS.items()):
        root = folder / str(number)
        (root / "all").mkdir(parents=True)
        steps, _ = steps_with_stop(root / "all", prepare, 10**6)
        renames = [index for index, step in enumerate(steps) if step in RENAMES]
        assert len(renames) == len(FILES), f"{name} writes both files: {steps}"
        for index in renames:
            require(
                steps[index - 1] == "after look for STOP", f"before a rename comes {steps[index - 1]}, not the look"
            )
        for at in range(1, len(steps) + 1):
            (root / str(at)).mkdir()
            _, late = steps_with_stop(root / str(at), prepare, at)
            require(late == 0, f"{name}: STOP at {steps[at - 1]} ({at}), and {late} publications after it")
            points += 1
    return points, len(SITUATIONS)


def test_p12_nothing_is_published_after_stop(promise: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """STOP between any two steps of a first allocation, a move and a repair: no file is replaced after it."""
    points, situations = check_stop(tmp_path / "product")
    promise.figure(f"publications after STOP 0 of {points} points in {situations} kinds of cycle")
    real = atomic_replacement.replace_all

    def unlooked(contents: Mapping[Path, bytes], *, durable: bool = True, **_: object) -> dict[Path, str | OSError]:
        return real(contents, durable=durable)

    with monkeypatch.context() as mutating, promise.mutant("STOP is looked for when writing begins only"):
        mutating.setattr(atomic_replacement, "replace_all", unlooked)
        check_stop(tmp_path / "unlooked")

    asked: dict[int, bool] = {}
    look = Cycle._stopped

    def once(cycle: Cycle) -> bool:
        return asked.setdefault(id(cycle), look(cycle))

    with monkeypatch.context() as mutating, promise.mutant("STOP is looked for once"):
        mutating.setattr(Cycle, "_stopped", once)
        check_stop(tmp_path / "once")
