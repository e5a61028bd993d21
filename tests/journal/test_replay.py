"""Every decision ever recorded can be taken again, to the byte; and a restart at any point changes none of them."""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest

from capital_governor.contracts.allocation_files import documents
from capital_governor.contracts.payload import parse
from capital_governor.core.acceptance import open_hold
from capital_governor.core.decision import commit, resolve
from capital_governor.core.model import Refusal, Snapshot
from capital_governor.core.orders import Order, OrderEnd, OrderKind
from capital_governor.core.reason import CUTS, HOLDS, MOVES, STAYS, Reason
from capital_governor.journal.codec import encode
from capital_governor.journal.protocol import Entry
from tests.rigs.builders import INTERVAL
from tests.rigs.cycle_rig import CycleRig
from tests.rigs.dashboard import payload, record

CYCLES: Final = 500
NAMES: Final = ("Ada", "Bob", "Cyd", "Dan", "Eve", "Fay", "Gus", "Hal")
RULES: Final[dict[str, Any]] = {
    "PNL_WEIGHT": 0.4,
    "SHARPE_WEIGHT": 0.3,
    "WINRATE_WEIGHT": 0.2,
    "DRAWDOWN_WEIGHT": 0.1,
    "COOLDOWN": 1_200,
    "CONFIRM_CYCLES": 2,
    "PROBATION": 4,
    "MAX_STEP": 0.12,
    "RELEASE_AFTER": 3,
}
"""The default scores, and every brake on."""


@dataclass(slots=True)
class Weather:
    """A fleet through good times and bad: agents drift, join, fail, vanish and return; so does everything else."""

    rng: random.Random
    members: list[str] = field(default_factory=lambda: list(NAMES[:4]))
    skill: dict[str, float] = field(default_factory=lambda: dict.fromkeys(NAMES, 0.4))
    bad: dict[str, int] = field(default_factory=dict)
    """Cycles for which something is not as usual, by what it is: an agent, or the name of a condition."""

    def next(self, now: float) -> Snapshot | Refusal:
        """What the dashboard says in this cycle."""
        self._live()
        if self.bad.get("dashboard"):
            detail = self.rng.choice(("connection refused", "no answer within 20 s"))
            return Refusal(Reason.FETCH_FAILED, detail)
        return parse(json.dumps(self._document(now)).encode())

    def _live(self) -> None:
        rng = self.rng
        self.bad = {what: cycles - 1 for what, cycles in self.bad.items() if cycles > 1}
        if rng.random() < 0.03:
            self.bad["calm"] = rng.randint(4, 12)
        for name in NAMES if not self.bad.get("calm") else ():
            self.skill[name] = min(1.0, max(0.0, self.skill[name] + rng.gauss(0, 0.06)))
        if rng.random() < 0.03:
            self.bad[rng.choice(NAMES)] = rng.randint(1, 7)
        for what in ("dashboard", "producer", "guardian", "stamp", "agents", "half", "pause", "bear", "error", "rot"):
            if rng.random() < 0.012:
                self.bad[what] = rng.randint(1, 5)
        if rng.random() < 0.02:
            name = rng.choice(NAMES)
            # Who leaves does so by being gone: no farewell is ever said.
            self.members = [*self.members, name] if name not in self.members else [n for n in self.members if n != name]

    def _document(self, now: float) -> dict[str, Any]:
        bad = self.bad
        at = now - 5_000 if bad.get("producer") else now - self.rng.choice((1.0, 40.5, 280.25))
        agents = {name: self._record(name) for name in self.members}
        if bad.get("half"):
            agents = dict(list(agents.items())[: len(agents) // 2])
        said = payload(
            {} if bad.get("agents") else agents,
            at=at,
            risk=0.8 if bad.get("calm") else self.rng.choice((0.5, 0.3) if bad.get("bear") else (1.2, 0.8, 0.8)),
            drawdown=self.rng.choice((0.0, 2.0, 4.0, 7.5)),
            paused=bool(bad.get("pause")),
            said="Drawdown",
        )
        if bad.get("guardian"):
            del said["guardian"]
        if bad.get("stamp"):
            del said["timestamp"]
        if bad.get("error"):
            said["error"] = "cache empty"
        return said

    def _record(self, name: str) -> dict[str, Any]:
        skill = self.skill[name]
        made = record(10_000 * skill - 1_000, 3 * skill - 0.3, round(0.2 + 0.6 * skill, 3), 20 * (1 - skill))
        if self.bad.get(name) or self.bad.get("rot"):
            made[self.rng.choice(("pnl_7d", "winrate_30d"))] = self.rng.choice(("n/a", None, True))
        return made


@dataclass(frozen=True, slots=True)
class Run:
    """What a run recorded, where, what was decided in each cycle, and what its two files held after it."""

    entries: list[Entry]
    decisions: list[bytes]
    journal: Path
    files: list[tuple[bytes | None, ...]]


def live(root: Path, seed: int, cycles: int, *, restarts: float, adopt: bool = False) -> Run:
    """Run so many cycles of one weather, with a restart after each cycle with this probability."""
    weather, dice = Weather(random.Random(seed)), random.Random(seed + 1)  # noqa: S311 - weather, not secrets
    root.mkdir()
    decisions: list[bytes] = []
    files: list[tuple[bytes | None, ...]] = []
    with CycleRig(root, **RULES) as rig:
        if adopt:
            rig.primary.write_text(
                '{"allocations": {"Ada": 0.3, "Bob": 0.3, "Cyd": 0.2}, "source": "capital_governor"}'
            )
            rig.restart()
        for _ in range(cycles):
            disturb(rig, weather)
            decisions.append(encode(rig.cycle(weather.next(rig.now)).decision))
            if weather.rng.random() < 0.01:
                rig.now += weather.rng.choice((3_600.0, 90_000.0)) - INTERVAL
            if dice.random() < restarts:
                rig.restart()
            files.append(tuple(path.read_bytes() if path.exists() else None for path in (rig.primary, rig.override)))
        return Run(rig.entries(), decisions, rig.settings.journal_path, files)


def disturb(rig: CycleRig, weather: Weather) -> None:
    """What other programs and the operator do between two cycles."""
    chance = weather.rng.random
    order(rig, weather.rng)
    for path, content in ((rig.stop_file, ""), (rig.pause_file, '{"paused": true, "reason": "cooldown"}')):
        if path.exists():
            if chance() < 0.4:
                path.unlink()
        elif chance() < 0.015:
            path.write_text(content)
    if chance() < 0.04:
        rig.override.write_text('{"allocations": {"BTC-USD": 1.0}, "source": "rl_inference"}')
    if chance() < 0.005:
        signed = {
            "source": "capital_governor",
            "generation": rig.governor.state.generation + weather.rng.randint(1, 40),
        }
        rig.override.write_text(json.dumps(signed))
    if chance() < 0.02 and rig.primary.exists() and rig.governor.state.generation:
        rig.primary.write_bytes(rig.primary.read_bytes()[:50])


def order(rig: CycleRig, rng: random.Random) -> None:
    """Now and then the operator holds, limits, accepts, or takes an order back."""
    standing, kind = rig.journal.orders(rig.now), None
    if rng.random() < 0.02:
        kind = OrderKind.HOLD
    elif rng.random() < 0.03:
        kind = OrderKind.LIMIT
    elif rng.random() < 0.1:
        about = open_hold(entry.decision for entry in reversed(list(rig.journal.entries("live", last=20))))
        if about is not None:
            given = Order(
                key=f"{rng.random()}",
                kind=OrderKind.ACCEPT,
                author="anna",
                given_at=rig.now,
                accepts=about.reason.value,
            )
            rig.journal.put_orders([given])
    elif standing and rng.random() < 0.1:
        rig.journal.put_orders([rng.choice(standing).ended(rig.now, OrderEnd.TAKEN_BACK, "bert")])
    if kind is not None:
        limit = {"agent": rng.choice(NAMES), "cap": rng.choice((0.1, 0.2)), "floor": rng.choice((None, 0.08))}
        until = rig.now + rng.randint(1, 5) * INTERVAL
        more: dict[str, Any] = limit if kind is OrderKind.LIMIT else {"reason": "broker migration"}
        rig.journal.put_orders(
            [Order(key=f"{rng.random()}", kind=kind, author="anna", given_at=rig.now, until=until, **more)]
        )


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    """A folder in memory where there is one: thousands of commits, none of which has to outlive a power cut."""
    shared = Path("/dev/shm")  # noqa: S108 - only the parent of a folder that nobody else can guess or read
    with TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def interrupted(memory: Path) -> Run:
    """A long run with restarts."""
    return live(memory / "interrupted", 2025, CYCLES, restarts=0.1)


def test_the_run_met_everything(interrupted: Run) -> None:
    """The recorded run has every kind of reason in it: otherwise the tests below would show little."""
    seen = Counter(entry.reason for entry in interrupted.entries)
    assert len(interrupted.entries) == CYCLES
    assert seen.keys() >= STAYS
    assert len(seen.keys() & MOVES) >= 4
    assert seen.keys() & CUTS
    missing = {Reason.FILES_UNWRITABLE, Reason.PAYLOAD_FUTURE, Reason.INTERNAL_ERROR}
    assert seen.keys() >= HOLDS - missing
    assert sum(seen[reason] for reason in STAYS | MOVES | CUTS) > CYCLES // 2
    assert any(entry.inputs.accept and entry.decision.trace.accepted for entry in interrupted.entries)
    assert any(entry.inputs.limits for entry in interrupted.entries)
    assert any(entry.decision.trace.retired for entry in interrupted.entries)
    assert any(entry.decision.trace.lapsed for entry in interrupted.entries)
    assert any(entry.decision.trace.withheld for entry in interrupted.entries)
    assert any(entry.decision.trace.step < 1 for entry in interrupted.entries)


def test_every_decision_is_taken_again_to_the_byte(interrupted: Run) -> None:
    """From its recorded inputs, state and rules each decision comes out the same, and so does the state after it."""
    different = 0
    for entry, made in zip(interrupted.entries, interrupted.decisions, strict=True):
        again = resolve(entry.inputs, entry.state, entry.rules)
        different += not encode(again) == encode(entry.decision) == made
        different += encode(commit(again)) != encode(entry.after)
        different += not entry.derived
    print(f"decisions {len(interrupted.entries)}, different {different}")  # noqa: T201 - a promise shows its figure
    assert different == 0


def test_a_changed_input_does_not_pass_for_the_same(interrupted: Run) -> None:
    """The comparison can fail: with the exposure of another regime, decisions come out different."""
    changed = 0
    for entry in interrupted.entries:
        said = entry.inputs.payload
        if isinstance(said, Snapshot) and said.regime is not None and entry.decided:
            other = replace(said, regime=replace(said.regime, risk_multiplier=0.111))
            again = resolve(replace(entry.inputs, payload=other), entry.state, entry.rules)
            changed += encode(again) != encode(entry.decision)
    assert changed > 100


def test_another_process_decides_the_same(interrupted: Run) -> None:
    """A fresh interpreter with another order of hashes takes every decision of the journal again, to the byte."""
    script = (
        "import hashlib, pathlib, sys\n"
        "from capital_governor.journal.sqlite.sqlite_driver import open_sqlite\n"
        "from capital_governor.core.decision import resolve\n"
        "from capital_governor.journal.codec import encode\n"
        "journal = open_sqlite(pathlib.Path(sys.argv[1]), read_only=True)\n"
        "made = [encode(resolve(each.inputs, each.state, each.rules)) for each in journal.entries('live')]\n"
        "journal.close()\n"
        "print(len(made), hashlib.sha256(b'\\n'.join(made)).hexdigest())\n"
    )
    environment = os.environ | {"PYTHONHASHSEED": "4711"}
    command = [sys.executable, "-c", script, str(interrupted.journal)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(CYCLES), sha256(b"\n".join(interrupted.decisions)).hexdigest()]


def test_the_journal_is_one_chain(interrupted: Run) -> None:
    """The state before each cycle is the state after the one before it, restarts included; generations only grow."""
    for before, after in itertools.pairwise(interrupted.entries):
        assert after.state == before.after
        assert after.after.generation >= before.after.generation
    numbers = [entry.generation for entry in interrupted.entries if entry.generation is not None]
    assert numbers == sorted(set(numbers))


def test_the_files_are_what_the_journal_published(interrupted: Run) -> None:
    """After every cycle that may write, both files are exactly the publication that the journal has."""
    silent = {Reason.STOPPED, Reason.PAUSED}
    checked = 0
    for entry, files in zip(interrupted.entries, interrupted.files, strict=True):
        if entry.reason not in silent and entry.after.published is not None:
            assert files == documents(entry.after.published)
            checked += 1
    assert checked > CYCLES // 2


@pytest.mark.parametrize("restarts", [0.0, 1.0])
def test_restarts_change_nothing(memory: Path, interrupted: Run, restarts: float) -> None:
    """The same weather without a restart, and with one after every cycle, gives the same journal to the byte."""
    twin = live(memory / f"twin-{restarts}", 2025, CYCLES, restarts=restarts)
    assert all(map(same, twin.entries, interrupted.entries))
    assert len(twin.entries) == len(interrupted.entries)
    assert twin.files == interrupted.files


@pytest.mark.parametrize("seed", range(4))
def test_restarts_change_nothing_after_an_adoption(memory: Path, seed: int) -> None:
    """The same holds where the first thing found is the previous program's file."""
    one, other = (
        live(memory / f"adopted-{seed}-{restarts}", seed, 60, restarts=restarts, adopt=True) for restarts in (0.0, 0.5)
    )
    assert all(map(same, one.entries, other.entries))
    assert one.files == other.files


def same(one: Entry, other: Entry) -> bool:
    """Whether two cycles are the same to the byte."""
    return _bytes(one) == _bytes(other)


def _bytes(entry: Entry) -> bytes:
    parts = (entry.inputs, entry.state, entry.rules, entry.decision, entry.after)
    return b"\n".join(encode(part) for part in parts)
