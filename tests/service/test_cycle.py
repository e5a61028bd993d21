"""One tick on real files and a real journal: what is written when, and what never is."""

from __future__ import annotations

import errno
import importlib
import itertools
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from capital_governor.adapters import atomic_replacement, file_convergence
from capital_governor.cli.once_table import once_document
from capital_governor.contracts.allocation_files import documents
from capital_governor.contracts.allocations import read_primary
from capital_governor.core.decision import decide
from capital_governor.core.model import Inputs, Refusal, Rules, Snapshot, State
from capital_governor.core.reason import Reason
from capital_governor.core.trace import Decision
from tests.rigs.allocation_files import previous
from tests.rigs.builders import FLEET, INTERVAL, NOW, snapshot
from tests.rigs.cycle_rig import CycleRig, footprint

SWAPPED: Final = {"Ada": 0.2, "Bob": 0.3, "Cyd": 0.5}
"""Scores that turn 0.40, 0.36, 0.24 into 0.24, 0.36, 0.40: a move."""
RIVAL: Final = b'{"allocations": {"BTC-USD": 1.0}, "source": "rl_inference", "timestamp": "2025-11-03T22:00:00Z"}'


def spoil(rig: CycleRig) -> None:
    """A rival has written the override, and half of the primary is missing."""
    rig.override.write_bytes(RIVAL)
    content = rig.primary.read_bytes()
    rig.primary.write_bytes(content[: len(content) // 2])


def test_no_file_of_our_own_is_parsed(rig: CycleRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cycle after cycle, moves among them: what lies there as it was written is known by its bytes."""
    rig.see()
    parsed: list[bytes] = []

    def watched(real: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
        def parse(content: bytes) -> Any:
            parsed.append(content)
            return real(content)

        return parse

    for where, name in (
        ("service.cycle", "generation_of"),
        ("service.publisher", "read_primary"),
        ("adapters.file_convergence", "source_of"),
    ):
        module = importlib.import_module(f"capital_governor.{where}")
        monkeypatch.setattr(module, name, watched(getattr(module, name)))
    for scores in (SWAPPED, SWAPPED, FLEET, SWAPPED):
        rig.see(scores)
    assert json.loads(rig.override.read_bytes())["generation"] == 4
    assert parsed == []
    rig.override.write_bytes(RIVAL)
    rig.see(SWAPPED)
    assert RIVAL in parsed


# --- retention --------------------------------------------------------------------------------------------------------


def test_old_entries_are_deleted_now_and_then_and_a_backlog_at_once(
    rig: CycleRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the first cycle and then in each twelfth; while much is deleted, in every cycle."""
    asked: list[int] = []
    deletes = itertools.chain((200, 200, 7), itertools.repeat(12))
    done = itertools.count()

    def prune(*_: object) -> int:
        asked.append(next(done))
        return next(deletes)

    monkeypatch.setattr(rig.journal, "prune", prune)
    for number in range(40):
        done = itertools.count(number)
        rig.see()
    assert asked == [0, 1, 2, 14, 26, 38]


def test_what_is_older_than_the_set_days_goes(tmp_path: Path) -> None:
    """JOURNAL_DAYS is kept within a dozen cycles, by the clock of cycles that had a payload."""
    with CycleRig(tmp_path, JOURNAL_DAYS="1") as rig:
        for _ in range(5):
            rig.see()
        rig.now += 2 * 86_400.0
        for _ in range(13):
            rig.see()
        assert rig.entries()[0].at > rig.now - 86_400.0


# --- writing ----------------------------------------------------------------------------------------------------------


def test_a_first_allocation_is_on_disk_and_in_the_journal(rig: CycleRig) -> None:
    """The first good payload makes both files exactly as published, and the journal has the cycle."""
    outcome = rig.see()
    published = outcome.published
    assert published is not None
    assert (rig.primary.read_bytes(), rig.override.read_bytes()) == documents(published)
    for path in (rig.primary, rig.override):
        said = json.loads(path.read_bytes())
        assert said["allocations"] == {"Ada": 0.4, "Bob": 0.36, "Cyd": 0.24}
        assert (said["source"], said["generation"], said["reserve"]) == ("capital_governor", 1, 0.0)
    (entry,) = rig.entries()
    assert (entry.reason, entry.generation, entry.after.published) == (Reason.FIRST_ALLOCATION, 1, published)
    assert rig.journal.unreached("live") is None
    assert rig.journal.last_reached("live") == published


@pytest.mark.parametrize("damage", ["torn", "gone"])
def test_what_another_program_published_is_put_back(tmp_path: Path, damage: str) -> None:
    """Its file was adopted, and nothing has moved since: the agents go by that file, so it must not stay away.

    It is put back in its own form, read back as the same, and not under STOP; one that can be read is left alone.
    """
    with CycleRig(tmp_path) as rig:
        shares = {"Ada": 0.4, "Bob": 0.3600001, "Cyd": 0.2399999}
        rig.primary.write_text(json.dumps(previous(allocations=shares, timestamp="2025-11-03T21:59:59.123456")))
        rig.restart()
        assert rig.see().decision.reason is Reason.BELOW_THRESHOLD
        adopted, written = rig.governor.state.published, rig.primary.read_bytes()
        rig.see()
        assert rig.primary.read_bytes() == written
        if damage == "torn":
            rig.primary.write_bytes(written[:40])
        else:
            rig.primary.unlink()
        rig.stop_file.touch()
        before = footprint(rig.primary)
        rig.see()
        assert footprint(rig.primary) == before
        rig.stop_file.unlink()
        assert rig.see().decision.reason is Reason.BELOW_THRESHOLD
        assert read_primary(rig.primary.read_bytes()) == adopted
        assert not rig.override.exists()
        rig.restart()
        assert rig.found == "resumed at generation 0"


def test_what_is_unchanged_is_not_written_again(rig: CycleRig) -> None:
    """A cycle that stays touches neither file."""
    rig.see()
    before = footprint(rig.primary, rig.override)
    assert rig.see().decision.reason is Reason.UNCHANGED
    assert footprint(rig.primary, rig.override) == before


def test_a_move_replaces_both_files(rig: CycleRig) -> None:
    """A move puts the next generation into both files."""
    rig.see()
    outcome = rig.see(SWAPPED)
    assert outcome.decision.reason is Reason.THRESHOLD
    for path in (rig.primary, rig.override):
        said = json.loads(path.read_bytes())
        assert (said["generation"], said["allocations"]) == (2, {"Ada": 0.24, "Bob": 0.36, "Cyd": 0.4})


def test_a_preview_writes_nothing(rig: CycleRig, tmp_path: Path) -> None:
    """A preview answers as the cycle would and leaves files, journal and state as they are."""
    rig.see()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    outcome = rig.governor.preview(snapshot(SWAPPED, at=rig.now))
    assert outcome.decision.reason is Reason.THRESHOLD
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert rig.see(SWAPPED).decision == outcome.decision


# --- paused and stopped: nothing writes -------------------------------------------------------------------------------


def pause_in_payload(_: CycleRig) -> dict[str, Any]:
    return {"paused": True}


def pause_file(rig: CycleRig) -> dict[str, Any]:
    rig.pause_file.write_text('{"paused": true, "reason": "cooldown"}')
    return {}


def torn_pause_file(rig: CycleRig) -> dict[str, Any]:
    rig.pause_file.write_text('{"pau')
    return {}


def empty_pause_file(rig: CycleRig) -> dict[str, Any]:
    rig.pause_file.touch()
    return {}


def endless_pause_file(rig: CycleRig) -> dict[str, Any]:
    rig.pause_file.write_text('{"paused": true, "until": "soon"}')
    return {}


def stop_file(rig: CycleRig) -> dict[str, Any]:
    rig.stop_file.touch()
    return {}


def stop_link_to_nothing(rig: CycleRig) -> dict[str, Any]:
    rig.stop_file.symlink_to("nowhere")
    return {}


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (pause_in_payload, Reason.PAUSED),
        (pause_file, Reason.PAUSED),
        (torn_pause_file, Reason.PAUSED),
        (empty_pause_file, Reason.PAUSED),
        (endless_pause_file, Reason.PAUSED),
        (stop_file, Reason.STOPPED),
        (stop_link_to_nothing, Reason.STOPPED),
    ],
)
def test_nothing_is_written_while_paused_or_stopped(
    rig: CycleRig, order: Callable[[CycleRig], dict[str, Any]], reason: Reason
) -> None:
    """Under a pause or a STOP no byte of the two files changes, damage included; its end brings repair and the move."""
    rig.see()
    spoil(rig)
    before = footprint(rig.primary, rig.override)
    payload = order(rig)
    for _ in range(3):
        outcome = rig.see(SWAPPED, **payload)
        assert (outcome.decision.reason, outcome.convergence) == (reason, None)
        assert footprint(rig.primary, rig.override) == before
        assert rig.status()["reason"] == reason.value
    assert [entry.reason for entry in rig.entries()[1:]] == [reason] * 3
    assert sorted(rig.primary.parent.glob(".*")) == []
    rig.pause_file.unlink(missing_ok=True)
    rig.stop_file.unlink(missing_ok=True)
    published = rig.see(SWAPPED).published
    assert published is not None
    assert published.generation == 2
    assert (rig.primary.read_bytes(), rig.override.read_bytes()) == documents(published)


def test_a_pause_outlives_a_bad_payload_and_a_restart(rig: CycleRig) -> None:
    """Once paused, neither a failed fetch nor a restart nor an empty payload resumes; a complete one does."""
    rig.see()
    before = footprint(rig.primary, rig.override)
    assert rig.see(SWAPPED, paused=True).decision.reason is Reason.PAUSED
    rig.restart()
    gone = Refusal(Reason.FETCH_FAILED, "connection refused")
    assert rig.cycle(gone).decision.reason is Reason.PAUSED
    assert rig.see({}).decision.reason is Reason.PAUSED
    assert footprint(rig.primary, rig.override) == before
    assert rig.see(SWAPPED).decision.reason is Reason.THRESHOLD


# --- other holds repair -----------------------------------------------------------------------------------------------


def good(at: float) -> Snapshot:
    return snapshot(SWAPPED, at=at)


HELD: Final[dict[Reason, Callable[[float], Snapshot | Refusal]]] = {
    Reason.FETCH_FAILED: lambda _: Refusal(Reason.FETCH_FAILED, "connection refused"),
    Reason.PAYLOAD_REFUSED: lambda _: Refusal(Reason.PAYLOAD_REFUSED, "the payload is not JSON"),
    Reason.PAYLOAD_STALE: lambda now: good(now - 901),
    Reason.PAYLOAD_FUTURE: lambda now: good(now + 61),
    Reason.GUARDIAN_LOST: lambda now: replace(good(now), guardian=None),
    Reason.TIMESTAMP_LOST: lambda now: replace(good(now), at=None),
    Reason.NO_AGENTS: lambda now: snapshot({}, at=now),
    Reason.FAULTY_MAJORITY: lambda now: snapshot({"Ada": 0.5}, at=now, faulty=("Bob", "Cyd")),
    Reason.MEMBERS_GONE: lambda now: snapshot({"Ada": 0.5}, at=now),
}


@pytest.mark.parametrize("reason", HELD)
def test_every_other_hold_repairs_the_files(rig: CycleRig, reason: Reason) -> None:
    """A hold decides nothing new, and still puts a rival's override and a torn primary right from the journal."""
    rig.see()
    wanted = rig.primary.read_bytes(), rig.override.read_bytes()
    spoil(rig)
    outcome = rig.cycle(HELD[reason](rig.now))
    assert (outcome.decision.reason, outcome.decision.proposal) == (reason, None)
    assert (rig.primary.read_bytes(), rig.override.read_bytes()) == wanted
    assert rig.entries()[-1].reason is reason
    assert rig.status()["reason"] == reason.value
    assert rig.status()["generation"] == 1


def test_an_agents_hold_still_publishes_a_cut(rig: CycleRig) -> None:
    """Members are gone, yet a regime that halves the exposure halves every share on disk."""
    rig.see()
    outcome = rig.see({"Ada": 0.5}, risk=0.5)
    assert outcome.decision.reason is Reason.CUT_DERISK
    said = json.loads(rig.primary.read_bytes())
    assert said["allocations"] == {"Ada": 0.2, "Bob": 0.18, "Cyd": 0.12}
    assert (said["generation"], said["reserve"], said["reason"]) == (2, 0.5, "cut_derisk")


# --- STOP in the middle -----------------------------------------------------------------------------------------------


def test_a_stop_between_decision_and_commit_publishes_nothing(rig: CycleRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A STOP that appears while deciding turns the move into a hold: no generation, no write."""
    rig.see()
    before = footprint(rig.primary, rig.override)
    real = decide

    def decide_and_stop(inputs: Inputs, state: State, rules: Rules) -> Decision:
        rig.stop_file.touch()
        return real(inputs, state, rules)

    monkeypatch.setattr("capital_governor.service.cycle.decide", decide_and_stop)
    assert rig.see(SWAPPED).decision.reason is Reason.STOPPED
    assert footprint(rig.primary, rig.override) == before
    entry = rig.entries()[-1]
    assert (entry.reason, entry.inputs.stopped, entry.after.generation) == (Reason.STOPPED, True, 1)


def test_a_stop_between_commit_and_first_rename_leaves_both_files(
    rig: CycleRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A STOP after the commit keeps the generation from both files until it is gone; then they get that very one."""
    rig.see()
    before = footprint(rig.primary, rig.override)
    real = file_convergence.converge

    def converge(*arguments: Any, **more: Any) -> file_convergence.Convergence:
        rig.stop_file.touch()
        return real(*arguments, **more)

    monkeypatch.setattr(file_convergence, "converge", converge)
    outcome = rig.see(SWAPPED)
    monkeypatch.undo()
    assert outcome.decision.reason is Reason.THRESHOLD
    assert footprint(rig.primary, rig.override) == before
    assert rig.journal.unreached("live") == outcome.published
    assert rig.see(SWAPPED).decision.reason is Reason.STOPPED
    assert footprint(rig.primary, rig.override) == before
    rig.stop_file.unlink()
    assert rig.see(SWAPPED).decision.reason is Reason.UNCHANGED
    assert outcome.published is not None
    assert (rig.primary.read_bytes(), rig.override.read_bytes()) == documents(outcome.published)
    assert rig.journal.unreached("live") is None


def test_a_stop_between_the_two_renames_keeps_the_second_file(rig: CycleRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A STOP after the first rename leaves the override old and nothing half-written, until it is gone."""
    rig.see()
    (old,) = footprint(rig.override)
    real = os.replace

    def replace_and_stop(source: Path, target: Path) -> None:
        real(source, target)
        if target == rig.primary:
            rig.stop_file.touch()

    monkeypatch.setattr(os, "replace", replace_and_stop)
    outcome = rig.see(SWAPPED)
    monkeypatch.undo()
    assert outcome.convergence is not None
    assert (outcome.convergence.primary.outcome, outcome.convergence.override.outcome) == ("written", "stopped")
    assert footprint(rig.override) == [old]
    assert json.loads(rig.primary.read_bytes())["generation"] == 2
    assert sorted(rig.primary.parent.glob(".*")) == []
    rig.stop_file.unlink()
    rig.see(SWAPPED)
    assert json.loads(rig.override.read_bytes())["generation"] == 2


# --- the override's policy --------------------------------------------------------------------------------------------


def test_assert_rewrites_a_rivals_override_once_a_cycle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often rivals write, the governor writes the override at most once a cycle, and tells of it once."""
    written: list[Path] = []
    sources = itertools.cycle(("rl_inference", "portfolio_optimizer", "strategy_lab"))
    real = os.replace

    def counting(source: Path, target: Path) -> None:
        written.append(target)
        real(source, target)
        if target.name == "allocations_override.json":
            # At once: whoever checked again within the cycle would write again.
            target.write_text(json.dumps({"allocations": {"BTC-USD": 1.0}, "source": next(sources)}))

    with CycleRig(tmp_path) as rig:
        rig.see()
        monkeypatch.setattr(os, "replace", counting)
        rig.override.write_bytes(RIVAL)
        for _ in range(5):
            rig.see()
        assert written.count(rig.override) == 5
        assert written.count(rig.primary) == 0
        told = "Another writer (rl_inference) changes the override file; rewritten"
        assert [text for text in rig.texts() if "override" in text] == [told]
        monkeypatch.undo()
        for _ in range(4):
            rig.see()
        over = "Nobody else has written the override file for 600 s"
        assert [text for text in rig.texts() if "override" in text] == [told, over]


@pytest.mark.parametrize("content", [RIVAL, None])
@pytest.mark.parametrize("policy", ["report", "off"])
def test_report_and_off_never_write_the_override(tmp_path: Path, policy: str, content: bytes | None) -> None:
    """Under both policies the override stays whatever it is, missing included; only "report" tells of a rival."""
    with CycleRig(tmp_path, OVERRIDE=policy) as rig:
        if content is not None:
            rig.override.write_bytes(content)
        before = footprint(rig.override)
        rig.see()
        rig.see(SWAPPED)
        assert footprint(rig.override) == before
        assert json.loads(rig.primary.read_bytes())["generation"] == 2
        told = [text for text in rig.texts() if text.startswith("Another writer")]
        assert told == (
            ["Another writer (rl_inference) changes the override file; left as it is"]
            if (policy, content) == ("report", RIVAL)
            else []
        )


def test_off_does_not_even_read_the_override(tmp_path: Path) -> None:
    """Under "off" neither a generation in the override nor a folder in its place matters."""
    with CycleRig(tmp_path, OVERRIDE="off") as rig:
        rig.override.write_text('{"source": "capital_governor", "generation": 900}')
        assert rig.see().published == rig.governor.state.published
        assert rig.governor.state.generation == 1
        rig.override.unlink()
        rig.override.mkdir()
        assert rig.see(SWAPPED).decision.reason is Reason.THRESHOLD


def test_what_a_file_system_cannot_keep_is_told_once(rig: CycleRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is written without its old owner is a warning, once until a write loses nothing; the move counts."""
    rig.see()
    real = atomic_replacement.replace_all

    def lacking(contents: Mapping[Path, bytes], **more: Any) -> dict[Path, str | OSError]:
        return {path: f"{path} was written, but it could not keep its owner" for path in real(contents, **more)}

    monkeypatch.setattr(atomic_replacement, "replace_all", lacking)
    for scores in (SWAPPED, SWAPPED, FLEET, SWAPPED):
        rig.see(scores)
    assert rig.texts("warning") == [f"{rig.primary} was written, but it could not keep its owner"]
    monkeypatch.undo()
    rig.see(SWAPPED)
    over = "The allocation files were written with nothing lost"
    assert over not in rig.texts()
    rig.see(FLEET)
    assert rig.texts().count(over) == 1
    assert json.loads(rig.primary.read_bytes())["generation"] == 5


def refusing(refused: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the disk refuse this one file."""
    real = atomic_replacement._make

    def make_or_fail(target: Path, *arguments: Any) -> Any:
        if target == refused:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(target, *arguments)

    monkeypatch.setattr(atomic_replacement, "_make", make_or_fail)


def test_an_override_that_cannot_be_written_keeps_no_risk_cut_back(
    rig: CycleRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Agents read the primary: a regime that halves the exposure reaches it, whatever becomes of the override."""
    rig.see()
    refusing(rig.override, monkeypatch)
    rig.see(SWAPPED)
    assert rig.status()["reason"] == "files_unwritable"
    outcome = rig.see(SWAPPED, risk=0.5)
    assert outcome.decision.reason in {Reason.THRESHOLD, Reason.DERISK}
    said = json.loads(rig.primary.read_bytes())
    assert (said["generation"], said["reserve"]) == (3, 0.5)
    assert json.loads(rig.override.read_bytes())["generation"] == 1
    monkeypatch.undo()
    rig.see(SWAPPED, risk=0.5)
    assert json.loads(rig.override.read_bytes())["generation"] == 3


def test_what_waits_is_shown_as_such_and_not_as_published(rig: CycleRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """`once` tells of shares that the agents see; a generation that waits is named, and has moved nothing."""
    rules = rig.settings.rules()
    rig.see()
    refusing(rig.primary, monkeypatch)
    shown = once_document(rig.settings.root, rig.see(SWAPPED), rules, dry_run=False)
    assert (shown["generation"], shown["moved"], shown["waiting"]) == (1, False, 2)
    assert {row["agent"]: row["share"] for row in shown["agents"]} == {"Ada": 0.4, "Bob": 0.36, "Cyd": 0.24}
    held = rig.see(SWAPPED)
    assert held.decision.reason is Reason.FILES_UNWRITABLE
    rig.restart()
    assert rig.governor.preview(snapshot(SWAPPED, at=rig.now)).decision.reason is Reason.FILES_UNWRITABLE
    monkeypatch.undo()
    shown = once_document(rig.settings.root, rig.see(SWAPPED), rules, dry_run=False)
    assert (shown["generation"], shown["moved"], shown["waiting"]) == (2, True, None)
    assert {row["agent"]: row["change"] for row in shown["agents"]} == pytest.approx(
        {"Ada": -0.16, "Bob": 0, "Cyd": 0.16}
    )


def test_a_stop_while_an_earlier_move_is_written_decides_no_further(
    rig: CycleRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where STOP comes before the rename of what waits, the cycle is a stopped one, and nothing more is decided."""
    rig.see()
    refusing(rig.primary, monkeypatch)
    rig.see(SWAPPED)
    monkeypatch.undo()
    real = file_convergence.converge

    def converge(*arguments: Any, **more: Any) -> file_convergence.Convergence:
        rig.stop_file.touch()
        found = real(*arguments, **more)
        rig.stop_file.unlink()
        return found

    monkeypatch.setattr(file_convergence, "converge", converge)
    assert rig.see(FLEET).decision.reason is Reason.STOPPED
    monkeypatch.undo()
    assert json.loads(rig.primary.read_bytes())["generation"] == 1
    assert "Both allocation files can be written again" not in rig.texts()
    rig.see(SWAPPED)
    assert json.loads(rig.primary.read_bytes())["generation"] == 2
    assert "Both allocation files can be written again" in rig.texts()


# --- dry run ----------------------------------------------------------------------------------------------------------


def test_a_dry_run_writes_below_its_own_folder_only(tmp_path: Path) -> None:
    """A dry run beside a live governor leaves every live file as it is, and obeys the same pause and STOP."""
    with CycleRig(tmp_path) as live:
        live.see()
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        with CycleRig(tmp_path, dry_run=True, JOURNAL="runtime/dry_run/journal.sqlite3") as dry:
            dry.see(SWAPPED)
            live.stop_file.touch()
            assert dry.see().decision.reason is Reason.STOPPED
            live.stop_file.unlink()
        after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    added = {path.relative_to(tmp_path).parts[:2] for path in after.keys() - before.keys()}
    assert added == {("runtime", "dry_run")}
    assert {path: after[path] for path in before} == before
    folder = tmp_path / "runtime" / "dry_run"
    assert json.loads((folder / "capital_governor_allocations.json").read_bytes())["allocations"]["Cyd"] == 0.4
    assert json.loads((folder / "capital_governor_status.json").read_bytes())["dry_run"] is True


# --- time -------------------------------------------------------------------------------------------------------------


def test_the_decision_is_dated_when_it_is_taken(rig: CycleRig) -> None:
    """A payload that was fresh when fetched and is stale when decided upon is stale: suspend cannot make it pass."""
    said = snapshot(at=NOW)
    rig.now = NOW + 901
    assert rig.cycle(said).decision.reason is Reason.PAYLOAD_STALE


def test_a_clock_set_back_takes_no_payload_from_the_future(rig: CycleRig) -> None:
    """After the clock was set back by an hour, payloads from before are refused, and new ones go on."""
    rig.see()
    said = snapshot(SWAPPED, at=rig.now)
    rig.now -= 3600
    assert rig.cycle(said).decision.reason is Reason.PAYLOAD_FUTURE
    assert rig.see(FLEET).decision.reason is Reason.UNCHANGED
    assert rig.now == NOW + 3 * INTERVAL - 3600


def test_without_a_grace_a_fleet_that_vanishes_is_held_over_restarts(tmp_path: Path) -> None:
    """MEMBERSHIP_GRACE=0 is about one agent: nine of ten gone at once hold for 4 cycles, counted in the journal.

    Then they lapse: nine times 0.10 goes to the reserve, and nothing to the tenth.
    """
    fleet = {f"A{number}": 0.5 for number in range(10)}
    with CycleRig(tmp_path, MEMBERSHIP_GRACE=0, MAX_ALLOC=0.4) as rig:
        rig.see(fleet)
        before = rig.primary.read_bytes()
        for count in range(1, 5):
            rig.restart()
            rig.governor.recover()
            held = rig.see({"A0": 0.5}).decision.trace.hold
            assert held is not None
            assert (held.reason, held.detail) == (
                Reason.MEMBERS_GONE,
                f"9 of 10 members are gone at once, cycle {count} of 4",
            )
            assert rig.primary.read_bytes() == before
        for reason in (Reason.CUT_LAPSE, Reason.UNCHANGED, Reason.UNCHANGED):
            rig.restart()
            rig.governor.recover()
            assert rig.see({"A0": 0.5}).decision.reason is reason
            found = json.loads(rig.primary.read_bytes())
            assert found["allocations"] == {"A0": 0.1} | dict.fromkeys(list(fleet)[1:], 0.0)
            assert found["withheld"] == dict.fromkeys(list(fleet)[1:], 0.1)
            assert found["reserve"] == 0.9
