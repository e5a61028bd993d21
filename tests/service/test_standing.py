"""The status file: how the governor stands after each kind of cycle, in a documented shape."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from capital_governor import __version__
from capital_governor.adapters import atomic_replacement
from capital_governor.core.hold import EXITS
from capital_governor.core.model import Refusal, Rules
from capital_governor.core.reason import Reason
from capital_governor.service.standing import Outcome, Standing, Vitals, status_document
from tests.rigs.builders import NOW, cycle, observe, settled, snapshot
from tests.rigs.cycle_rig import CycleRig

SWAPPED = {"Ada": 0.2, "Bob": 0.3, "Cyd": 0.5}
FIELDS = {
    "state",
    "reason",
    "message",
    "detail",
    "exit",
    "timestamp",
    "valid_until",
    "interval_seconds",
    "last_success",
    "failures_in_row",
    "generation",
    "published_at",
    "published_reason",
    "agents",
    "reserve",
    "exposure",
    "floor_scale",
    "withheld",
    "warnings",
    "orders",
    "latches",
    "multipliers",
    "journal_problem",
    "journal_dropped",
    "log_failures",
    "heartbeat_failures",
    "heartbeat_problem",
    "notices_pending",
    "notices_pending_detail",
    "notices_refused",
    "notices_refused_detail",
    "dry_run",
    "pid",
    "version",
}
GONE = Refusal(Reason.FETCH_FAILED, "connection refused")


def shown(standing: Standing, interval: float = 300.0) -> dict[str, Any]:
    content = status_document(standing, Vitals(), interval_seconds=interval, rules=Rules(), dry_run=False, pid=1)
    found: dict[str, Any] = json.loads(content)
    return found


def test_a_move_is_shown_in_full(rig: CycleRig) -> None:
    """After a move the file says what was published, when, why, and how much is in reserve."""
    rig.see(risk=0.8)
    status = rig.status()
    assert set(status) == FIELDS
    assert status | {"pid": 0} == {
        "state": "governing",
        "reason": "first_allocation",
        "message": "Reallocation triggered (first allocation)",
        "detail": "",
        "exit": "",
        "timestamp": "2025-11-03T22:00:00Z",
        "valid_until": "2025-11-03T22:15:00Z",
        "interval_seconds": 300,
        "last_success": "2025-11-03T22:00:00Z",
        "failures_in_row": 0,
        "generation": 1,
        "published_at": "2025-11-03T22:00:00Z",
        "published_reason": "first_allocation",
        "agents": 3,
        "reserve": 0.2,
        "exposure": 0.8,
        "floor_scale": 1.0,
        "withheld": {},
        "warnings": [],
        "orders": [],
        "latches": {"paused": False, "guardian_seen": True, "timestamp_seen": True},
        "multipliers": {"regime": 0.8, "drawdown": 1.0},
        "journal_problem": "",
        "journal_dropped": 0,
        "log_failures": 0,
        "heartbeat_failures": 0,
        "heartbeat_problem": "",
        "notices_pending": 0,
        "notices_pending_detail": "",
        "notices_refused": 0,
        "notices_refused_detail": "",
        "dry_run": False,
        "pid": 0,
        "version": __version__,
    }


def test_a_stay_renews_the_file_but_not_the_generation(rig: CycleRig) -> None:
    """A cycle that stays moves the times on and leaves what is published."""
    rig.see()
    rig.see()
    status = rig.status()
    assert (status["state"], status["reason"], status["generation"]) == ("governing", "unchanged", 1)
    assert (status["timestamp"], status["valid_until"]) == ("2025-11-03T22:05:00Z", "2025-11-03T22:20:00Z")
    assert status["published_at"] == "2025-11-03T22:00:00Z"


def test_holds_are_shown_with_reason_and_exit_and_counted(rig: CycleRig) -> None:
    """A hold says why and what ends it; the last success stays where it was, and the next one resets the count."""
    rig.see()
    for failures in (1, 2, 3):
        rig.cycle(GONE)
        status = rig.status()
        assert (status["state"], status["reason"]) == ("holding", "fetch_failed")
        assert (status["detail"], status["exit"]) == ("connection refused", EXITS[Reason.FETCH_FAILED])
        assert status["failures_in_row"] == failures
        assert status["last_success"] == "2025-11-03T22:00:00Z"
        assert status["generation"] == 1
    assert rig.status()["valid_until"] == "2025-11-03T22:30:00Z"
    rig.see()
    assert (rig.status()["failures_in_row"], rig.status()["last_success"]) == (0, "2025-11-03T22:20:00Z")


def test_a_pause_is_a_hold_in_the_file_and_still_renews_it(rig: CycleRig) -> None:
    """Under a pause the status file is still written, so that nobody takes the governor for dead."""
    rig.see()
    rig.see(paused=True, said="Drawdown")
    status = rig.status()
    assert (status["state"], status["reason"], status["detail"]) == ("holding", "paused", "the payload says: Drawdown")
    assert status["timestamp"] == "2025-11-03T22:05:00Z"


def test_a_cut_in_a_hold_is_shown_as_holding(rig: CycleRig) -> None:
    """A cut published in an agents' hold shows the cut as reason, and the hold as state, detail and exit."""
    rig.see()
    rig.see({"Ada": 0.5}, risk=0.5)
    status = rig.status()
    assert (status["state"], status["reason"], status["generation"]) == ("holding", "cut_derisk", 2)
    assert status["exit"] == EXITS[Reason.MEMBERS_GONE]
    assert (status["exposure"], status["reserve"]) == (0.5, 0.5)


def test_a_file_that_cannot_be_written_is_shown(rig: CycleRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A move that the disk refuses shows as holding, with the disk's words, until the file is there."""
    rig.see()
    real = atomic_replacement._make

    def full(target: Path, *arguments: Any) -> Any:
        if target != rig.governor.paths.status:
            raise OSError(28, "No space left on device", str(target))
        return real(target, *arguments)

    monkeypatch.setattr(atomic_replacement, "_make", full)
    rig.see(SWAPPED)
    monkeypatch.undo()
    status = rig.status()
    assert (status["state"], status["reason"]) == ("holding", "files_unwritable")
    assert "No space left on device (ENOSPC); free some space" in status["detail"]
    assert status["exit"] == EXITS[Reason.FILES_UNWRITABLE]
    rig.see(SWAPPED)
    assert rig.status()["state"] == "governing"
    assert json.loads(rig.primary.read_bytes())["generation"] == 2


def test_what_is_withheld_is_shown_beside_the_exposure_of_the_plan() -> None:
    """By agent, as a part of all capital; the reserve contains it."""
    before = settled(shares={"Ada": 300_000, "Bob": 360_000, "Cyd": 240_000})
    assert before.published is not None
    seen = replace(before.published, withheld={"Ada": 100_000})
    status = shown(Standing(published=seen))
    assert (status["withheld"], status["reserve"], status["exposure"]) == ({"Ada": 0.1}, 0.1, 1.0)
    assert shown(Standing())["withheld"] is None


def test_a_refusal_of_the_gate_is_shown_as_holding() -> None:
    """What the gate refuses leaves the published generation, and counts as a hold."""
    before = settled()
    inputs = observe(SWAPPED)
    wrong = replace(cycle(inputs, before)[0], reason=Reason.GATE_LIMIT, proposal=None)
    status = shown(Standing().after(Outcome(inputs, before, wrong, visible=before.published)))
    assert (status["state"], status["reason"], status["generation"]) == ("holding", "gate_limit", 1)


def test_a_failed_cycle_is_shown_with_its_error(rig: CycleRig) -> None:
    """An unexpected error is shown as such, beside what is still published."""
    rig.see()
    assert rig.governor.fail("ValueError: odd") == ""
    status = rig.status()
    assert (status["state"], status["reason"], status["detail"]) == ("holding", "internal_error", "ValueError: odd")
    assert (status["exit"], status["generation"]) == (EXITS[Reason.INTERNAL_ERROR], 1)
    assert status["failures_in_row"] == 1


def test_failed_cycles_do_not_renew_the_validity(rig: CycleRig) -> None:
    """A governor whose cycles all fail is dead to the agents three intervals after the last completed one."""
    rig.see()
    until = rig.status()["valid_until"]
    for _ in range(4):
        rig.governor.fail("odd")
        rig.now += 300
    assert rig.status()["valid_until"] == until < f"{datetime.fromtimestamp(rig.now, UTC):%Y-%m-%dT%H:%M:%SZ}"
    rig.see()
    assert rig.status()["valid_until"] > until


def test_a_governor_that_never_completed_a_cycle_has_one_validity(tmp_path: Path) -> None:
    """From its first failure on."""
    with CycleRig(tmp_path) as rig:
        rig.governor.fail("odd")
        before = rig.status()
        rig.now += 300
        rig.governor.fail("odd")
        assert rig.status() == before | {"failures_in_row": 2}
        assert before["timestamp"] == "2025-11-03T22:00:00Z"


def test_an_end_leaves_the_validity_as_it_is(rig: CycleRig) -> None:
    """A governor that ends says so, and leaves the validity, so that a quick restart alarms nobody."""
    rig.see()
    before = rig.status()
    assert rig.governor.leave() == ""
    assert rig.status() == before | {"state": "ended"}


@pytest.mark.parametrize("how", ["leave", "fail"])
def test_an_end_before_the_first_cycle_unpublishes_nothing(rig: CycleRig, how: str) -> None:
    """A restart whose first cycle never ends, or fails, still shows the generation that the files carry."""
    rig.see()
    rig.restart()
    assert (rig.governor.leave() if how == "leave" else rig.governor.fail("odd")) == ""
    status = rig.status()
    assert (status["generation"], status["reserve"]) == (1, 0.0)
    assert status["valid_until"] >= "2025-11-03T22:15:00Z"


@pytest.mark.parametrize("why", ["paused", "stopped"])
def test_a_stale_payload_is_no_success_under_a_pause_either(rig: CycleRig, why: str) -> None:
    """What is too old to decide on does not count as the last success, whatever else holds."""
    rig.see()
    if why == "stopped":
        rig.stop_file.touch()
    stale = snapshot(at=rig.now - 3_600.0, paused=why == "paused")
    rig.cycle(stale)
    assert rig.status()["last_success"] == "2025-11-03T22:00:00Z"
    assert rig.status()["failures_in_row"] == 1


@pytest.mark.parametrize("stamp", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_an_impossible_time_in_an_adopted_file_stops_nothing(tmp_path: Path, stamp: str) -> None:
    """The previous program's file may be dated before the first year or after the last."""
    (tmp_path / "runtime").mkdir()
    said = {"allocations": {"Ada": 0.4, "Bob": 0.36, "Cyd": 0.24}, "source": "capital_governor", "timestamp": stamp}
    (tmp_path / "runtime" / "capital_governor_allocations.json").write_text(json.dumps(said))
    with CycleRig(tmp_path) as rig:
        assert rig.see().decision.reason is Reason.UNCHANGED
        assert rig.status()["state"] == "governing"


@pytest.mark.parametrize(("interval", "until"), [(0.5, "22:01:00"), (20.0, "22:01:00"), (21.0, "22:01:03")])
def test_the_validity_is_three_intervals_but_at_least_a_minute(interval: float, until: str) -> None:
    """A reader must take the governor for dead after the larger of 60 s and three intervals."""
    status = shown(Standing(at=NOW), interval)
    assert status["valid_until"] == f"2025-11-03T{until}Z"


def test_a_status_file_that_cannot_be_written_is_told_and_stops_nothing(rig: CycleRig) -> None:
    """With a folder in its place the cycle is completed, and the log has the problem once and its end."""
    rig.governor.paths.status.mkdir()
    assert rig.see().decision.reason is Reason.FIRST_ALLOCATION
    rig.see()
    told = [text for text in rig.texts("error") if "could not be written" in text]
    status = rig.governor.paths.status
    assert told == [
        f"{status} could not be written: is a folder, not a file (EISDIR); move it away, the next cycle tries again."
    ]
    rig.governor.paths.status.rmdir()
    rig.see()
    assert "The status file can be written again" in rig.texts("info")
    assert rig.status()["generation"] == 1


def test_a_status_file_that_cannot_be_written_is_told_under_a_pause_too(rig: CycleRig) -> None:
    """A pause does not silence the problem."""
    rig.see()
    rig.governor.paths.status.unlink()
    rig.governor.paths.status.mkdir()
    rig.see(paused=True)
    assert any("could not be written" in text for text in rig.texts("error"))
