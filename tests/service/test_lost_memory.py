"""What makes for caution outlives the journal: a pause, a lost block, a drawdown do not end with their record."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from capital_governor.contracts.status import Remembered, remembered
from capital_governor.core.model import Latches, Snapshot
from capital_governor.core.reason import Reason
from tests.rigs.builders import FLEET, NOW, snapshot
from tests.rigs.cycle_rig import CycleRig, footprint

LOSSES: Final = ("moved away", "damaged", "locked", "an older copy")


def without_guardian(rig: CycleRig) -> Snapshot:
    return replace(snapshot(FLEET, at=rig.now, risk=1.0), guardian=None)


def without_stamp(rig: CycleRig) -> Snapshot:
    return replace(snapshot(FLEET, at=rig.now, risk=1.0), at=None)


@contextmanager
def losing(rig: CycleRig, how: str) -> Iterator[None]:
    """Let the process and its journal be gone, and a new one start without it."""
    path = rig.settings.journal_path
    rig.journal.close()
    shut: AbstractContextManager[object] = nullcontext()
    if how == "moved away":
        path.rename(path.with_name("aside"))
    elif how == "damaged":
        path.write_bytes(b"garbage " * 1_000)
    elif how == "an older copy":
        for file in path.parent.glob(f"{path.name}*"):
            file.unlink()
        (rig.root / "copy").rename(path)
    else:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN IMMEDIATE")
        shut = closing(other)
    with shut:
        rig.restart()
        yield


def copy_journal(rig: CycleRig) -> None:
    plain = sqlite3.connect(rig.settings.journal_path)
    plain.execute("VACUUM INTO ?", [str(rig.root / "copy")])
    plain.close()


@pytest.mark.parametrize("how", LOSSES)
def test_a_pause_outlives_the_journal(tmp_path: Path, how: str) -> None:
    """Without the record of a pause it still takes a fresh complete payload to end it, and nothing is written."""
    with CycleRig(tmp_path) as rig:
        rig.see(risk=0.4)
        copy_journal(rig)
        assert rig.see(paused=True).decision.reason is Reason.PAUSED
        before = footprint(rig.primary, rig.override)
        with losing(rig, how):
            for payload in (without_guardian, without_stamp):
                assert rig.cycle(payload(rig)).decision.reason is Reason.PAUSED
            assert footprint(rig.primary, rig.override) == before
            assert rig.see(risk=0.4).decision.trace.hold is None


@pytest.mark.parametrize("how", LOSSES)
@pytest.mark.parametrize(
    ("payload", "reason"),
    [(without_guardian, Reason.GUARDIAN_LOST), (without_stamp, Reason.TIMESTAMP_LOST)],
)
def test_a_block_that_was_there_is_missed_without_the_journal(
    tmp_path: Path, payload: Any, reason: Reason, how: str
) -> None:
    """Guardian block and time stamp were seen once: their absence is a loss, whatever became of the journal."""
    with CycleRig(tmp_path) as rig:
        rig.see(risk=0.4)
        copy_journal(rig)
        rig.see(risk=0.4)
        with losing(rig, how):
            done = rig.cycle(payload(rig))
            assert done.decision.reason is reason
            assert done.published is not None
            assert done.published.exposure == 0.4
            assert rig.see(risk=0.4).decision.trace.hold is None


@pytest.mark.parametrize("how", LOSSES)
def test_a_missing_drawdown_lifts_no_exposure_without_the_journal(tmp_path: Path, how: str) -> None:
    """The last known drawdown counts on, though nothing but the status file still knows it."""
    with CycleRig(tmp_path) as rig:
        rig.see()
        copy_journal(rig)
        assert rig.see(drawdown=15.0).published is not None
        assert rig.governor.state.multipliers["drawdown"] == 0.25
        with losing(rig, how):
            done = rig.see(drawdown=None)
            assert done.decision.trace.exposure == 0.25
            assert done.published is not None
            assert done.published.exposure == 0.25


def test_a_whole_number_in_the_status_file_is_as_good_as_a_fraction(tmp_path: Path) -> None:
    """Whoever wrote 1 for 1.0 does not keep the cycles after it out of the journal."""
    with CycleRig(tmp_path) as rig:
        rig.see(risk=0.4)
        status = rig.status() | {"multipliers": {"regime": 0, "drawdown": 1}}
        rig.journal.close()
        rig.settings.journal_path.unlink()
        rig.governor.paths.status.write_text(json.dumps(status))
        rig.restart()
        done = rig.see(risk=None, drawdown=None)
        assert done.decision.trace.exposure == 0.0
        assert [entry.decision.reason for entry in rig.entries()] == [done.decision.reason]


def test_a_journal_that_is_newer_than_the_status_file_counts_alone(tmp_path: Path) -> None:
    """A status file that could not be rewritten does not bring back a pause that has ended."""
    with CycleRig(tmp_path) as rig:
        rig.see()
        rig.see(paused=True)
        stale = rig.governor.paths.status.read_bytes()
        rig.see()
        rig.governor.paths.status.write_bytes(stale)
        rig.restart()
        assert not rig.governor.state.latches.paused
        assert rig.cycle(without_guardian(rig)).decision.reason is Reason.GUARDIAN_LOST


def test_a_start_that_fails_leaves_the_status_file_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it is taken up it may be all that knows of a pause."""
    with CycleRig(tmp_path) as rig:
        rig.see(paused=True)
        before = rig.governor.paths.status.read_bytes()
        rig.journal.close()
        rig.settings.journal_path.unlink()
        with monkeypatch.context() as broken:
            broken.setattr("capital_governor.adapters.paths.Paths.sweep", lambda _: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                rig.restart()
            assert rig.governor.fail("ZeroDivisionError") == ""
        assert rig.governor.paths.status.read_bytes() == before
        rig.restart()
        assert rig.cycle(without_guardian(rig)).decision.reason is Reason.PAUSED


GOOD: Final[dict[str, Any]] = {
    "timestamp": "2025-11-03T22:00:00Z",
    "latches": {"paused": True, "guardian_seen": False, "timestamp_seen": True},
    "multipliers": {"drawdown": 0.25, "volatility": 7},
}


def test_what_a_status_file_says_is_read_back() -> None:
    """Time, latches and the multipliers that there are, by hand; a name that means nothing is left out."""
    latches = Latches(paused=True, timestamp_seen=True)
    assert remembered(json.dumps(GOOD).encode()) == Remembered(NOW, latches, {"drawdown": 0.25})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"[" * 100_000,
        json.dumps(GOOD | {"timestamp": 7}).encode(),
        json.dumps(GOOD | {"timestamp": "soon"}).encode(),
        json.dumps(GOOD | {"latches": None}).encode(),
        json.dumps(GOOD | {"latches": {"paused": True}}).encode(),
        json.dumps(GOOD | {"multipliers": [0.5]}).encode(),
        json.dumps(GOOD | {"multipliers": {"regime": 1.5}}).encode(),
        json.dumps(GOOD | {"multipliers": {"regime": "0.5"}}).encode(),
        json.dumps(GOOD | {"multipliers": {"regime": True}}).encode(),
        json.dumps(GOOD | {"multipliers": {"regime": float("nan")}}).encode(),
        json.dumps(GOOD | {"latches": {"paused": "yes", "guardian_seen": False, "timestamp_seen": True}}).encode(),
    ],
)
def test_a_status_file_that_says_nothing_of_it_gives_none(content: bytes) -> None:
    """Torn, of an earlier version, or another program's."""
    assert remembered(content) is None
