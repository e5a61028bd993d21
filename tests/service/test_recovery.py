"""What is found on disk at a start and between cycles: adopted, repaired, given up, swept away, or held for."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from capital_governor.adapters import file_convergence
from capital_governor.contracts.allocation_files import documents
from capital_governor.core.model import Refusal
from capital_governor.core.orders import OrderKind
from capital_governor.core.reason import Reason
from tests.rigs.allocation_files import SETTLED, previous_program
from tests.rigs.builders import FLEET, FLEET_SHARES, INTERVAL
from tests.rigs.cycle_rig import CycleRig, footprint
from tests.rigs.order_desk import give

SWAPPED: Final = {"Ada": 0.2, "Bob": 0.3, "Cyd": 0.5}


def said(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


# --- the previous program's file --------------------------------------------------------------------------------------


def test_the_previous_programs_shares_stand_until_a_move(tmp_path: Path) -> None:
    """A primary without generation is adopted: its bytes stay, restarts included, and the first move is number 1."""
    content = previous_program(tmp_path, SETTLED)
    with CycleRig(tmp_path) as rig:
        assert rig.found == "adopted another program's shares from capital_governor_allocations.json"
        assert rig.see().decision.reason is Reason.UNCHANGED
        rig.restart()
        assert rig.see({"Ada": 0.5, "Bob": 0.3, "Cyd": 0.22}).decision.reason is Reason.BELOW_THRESHOLD
        assert rig.primary.read_bytes() == content
        assert not rig.override.exists()
        outcome = rig.see(SWAPPED)
        assert outcome.decision.reason is Reason.THRESHOLD
        assert said(rig.primary)["generation"] == said(rig.override)["generation"] == 1
        assert said(rig.primary)["allocations"] == {"Ada": 0.24, "Bob": 0.36, "Cyd": 0.4}


def test_shares_that_rounding_makes_more_than_all_are_adopted_and_scaled(tmp_path: Path) -> None:
    """Four decimals each may add up to 1.0001: the file stays, and its shares count scaled down to 1."""
    rounded = {"CryptoTrend": 0.3637, "SmartTrader": 0.2728, "DropshipAgent": 0.1818, "NewsScalper": 0.1818}
    content = previous_program(tmp_path, rounded)
    with CycleRig(tmp_path) as rig:
        assert rig.found == "adopted another program's shares from capital_governor_allocations.json"
        published = rig.governor.state.published
        assert published is not None
        # 0.3637 / 1.0001 = 0.36366363..., 0.2728 / 1.0001 = 0.27277272..., 0.1818 / 1.0001 = 0.18178182...
        assert published.shares == {
            "CryptoTrend": 363_663,
            "SmartTrader": 272_772,
            "DropshipAgent": 181_781,
            "NewsScalper": 181_781,
        }
        assert published.reserve == 3
        rig.cycle(Refusal(Reason.FETCH_FAILED, "refused"))
        assert rig.primary.read_bytes() == content
        assert not rig.governor.remarks


def kept_beside(root: Path) -> list[Path]:
    return sorted((root / "runtime").glob("capital_governor_allocations.json.not-adopted-*"))


def test_a_primary_that_is_not_adopted_is_said_and_kept(tmp_path: Path) -> None:
    """What adds up to more than rounding explains is no state of ours: the log says why, and a copy stays, once."""
    content = previous_program(tmp_path, {"Ada": 0.6, "Bob": 0.4002})
    with CycleRig(tmp_path) as rig:
        for _ in range(2):
            (copy,) = kept_beside(tmp_path)
            assert copy.read_bytes() == content
            refused, kept = (line.text for line in rig.governor.remarks)
            why = "allocations add up to 1.000200, more than 1 and what rounding explains"
            assert refused == f"{rig.primary} was not adopted ({why}): a first allocation takes its place"
            assert kept == f"{rig.primary} is kept as {copy.name}"
            rig.restart()
        rig.see()
        assert said(rig.primary)["generation"] == 1
        rig.restart()
        assert not rig.governor.remarks


def test_a_primary_of_an_earlier_generation_is_said_and_kept(tmp_path: Path) -> None:
    """A copy that somebody put back is put right from the journal, not without a word."""
    with CycleRig(tmp_path) as rig:
        rig.see()
        old = rig.primary.read_bytes()
        rig.see(SWAPPED)
        rig.primary.write_bytes(old)
        rig.restart()
        refused, _ = (line.text for line in rig.governor.remarks)
        why = "it has generation 1, and the journal knows a later one"
        assert refused == f"{rig.primary} was not adopted ({why}): generation 2 takes its place"
        (copy,) = kept_beside(tmp_path)
        assert copy.read_bytes() == old
        rig.see(SWAPPED)
        assert said(rig.primary)["generation"] == 2


def test_an_adopted_agent_that_nobody_vouches_for_does_not_gain(tmp_path: Path) -> None:
    """An agent of the previous program's file that is faulty from the first payload on keeps its share at most."""
    previous_program(tmp_path, {"Ada": 0.4, "Bob": 0.1, "Cyd": 0.4})
    with CycleRig(tmp_path) as rig:
        published = rig.see({"Ada": 0.1, "Cyd": 0.9, "Dan": 0.9}, faulty=("Bob",)).published
        assert published is not None
        assert published.generation == 1
        assert published.shares["Bob"] == 100_000


def test_a_previous_program_that_takes_over_again_is_adopted_again(tmp_path: Path) -> None:
    """After a spell of the previous program the next start takes its shares over, and numbers go on."""
    with CycleRig(tmp_path) as rig:
        rig.see()
        previous_program(tmp_path, {"Ada": 0.24, "Bob": 0.36, "Cyd": 0.4})
        rig.restart()
        published = rig.governor.state.published
        assert published is not None
        assert dict(published.shares) == {"Ada": 240_000, "Bob": 360_000, "Cyd": 400_000}
        moved = rig.see().published
        assert moved is not None
        assert (moved.generation, dict(moved.shares)) == (2, dict(FLEET_SHARES))


def test_the_previous_programs_file_is_adopted_once(tmp_path: Path) -> None:
    """An agent of an adopted file that was retired while a brake was on is not a member again after a restart."""
    previous_program(tmp_path, SETTLED)
    with CycleRig(tmp_path, CONFIRM_CYCLES=3, RELEASE_AFTER=0) as rig:
        for _ in range(4):  # a grace of three, and the cycle that retires
            assert rig.see({"Ada": 0.5, "Bob": 0.3}).published == rig.governor.state.published
        known = rig.governor.state
        assert not known.agents["Cyd"].member
        rig.restart()
        assert rig.governor.state == known


# --- the journal and the primary disagree -----------------------------------------------------------------------------


def test_a_primary_of_a_later_generation_is_adopted(tmp_path: Path) -> None:
    """A primary that is ahead of a journal restored from a backup is what the agents obey: it is taken over."""
    with CycleRig(tmp_path) as rig:
        rig.see()
        rig.journal.close()
        backup = rig.settings.journal_path.read_bytes()
        rig.restart()
        rig.see(SWAPPED)
        rig.see()
        ahead = rig.primary.read_bytes()
        assert said(rig.primary)["generation"] == 3
        rig.journal.close()
        for path in rig.settings.journal_path.parent.glob("capital_governor.sqlite3*"):
            path.unlink()
        rig.settings.journal_path.write_bytes(backup)
        rig.restart()
        assert rig.found == "adopted generation 3 from capital_governor_allocations.json"
        assert rig.see().decision.reason is Reason.UNCHANGED
        assert rig.primary.read_bytes() == ahead
        assert rig.see(SWAPPED).decision.after.generation + 1 == said(rig.primary)["generation"] == 4


@pytest.mark.parametrize("loss", ["gone", "garbage", "torn"])
def test_without_a_journal_the_state_comes_from_the_primary(tmp_path: Path, loss: str) -> None:
    """A lost or damaged journal is begun anew from the primary: not a byte of the files changes until a move."""
    with CycleRig(tmp_path) as rig:
        rig.see()
        rig.see(SWAPPED)
        before = footprint(rig.primary, rig.override)
        rig.journal.close()
        path = rig.settings.journal_path
        content = path.read_bytes()
        path.unlink()
        if loss != "gone":
            path.write_bytes(b"no database" * 999 if loss == "garbage" else content[: len(content) // 2])
        rig.restart()
        assert rig.see(SWAPPED).decision.reason is Reason.UNCHANGED
        assert footprint(rig.primary, rig.override) == before
        assert len(rig.told) == (0 if loss == "gone" else 2)
        aside = list(path.parent.glob("capital_governor.sqlite3.corrupt-*"))
        assert len(aside) == (0 if loss == "gone" else 1)
        published = rig.see().published
        assert published is not None
        assert (published.generation, dict(published.shares)) == (3, dict(FLEET_SHARES))
        assert [entry.reason for entry in rig.entries()] == [Reason.UNCHANGED, Reason.THRESHOLD]
        rig.restart()
        assert rig.found == "resumed at generation 3"


@pytest.mark.parametrize("while_running", [False, True], ids=["found at a start", "gone under the governor"])
@pytest.mark.parametrize("paused", [False, True])
def test_what_stood_in_the_primary_is_not_given_up_after_a_lost_journal(
    tmp_path: Path, while_running: bool, paused: bool
) -> None:
    """A generation that the agents had is restored to a torn primary whatever its age, though the journal was lost."""
    with CycleRig(tmp_path) as rig:
        rig.see()
        whole = rig.primary.read_bytes()
        if not while_running:
            rig.journal.close()
        for suffix in ("", "-wal", "-shm"):
            rig.settings.journal_path.with_name(rig.settings.journal_path.name + suffix).unlink(missing_ok=True)
        if not while_running:
            rig.restart()
        rig.see(paused=paused)
        rig.see(paused=paused)
        rig.primary.write_bytes(whole[:60])
        rig.now += 901
        rig.restart()
        assert rig.found == "resumed at generation 1"
        rig.see()
        assert rig.primary.read_bytes() == whole


def test_a_torn_primary_at_a_start_is_restored_from_the_journal(tmp_path: Path) -> None:
    """A primary that stands for nothing is never adopted; the journal's is put back in the first cycle."""
    with CycleRig(tmp_path) as rig:
        rig.see()
        whole = rig.primary.read_bytes()
        rig.primary.write_bytes(whole[:60])
        rig.override.unlink()
        rig.restart()
        assert rig.found == "resumed at generation 1"
        assert rig.see().decision.reason is Reason.UNCHANGED
        assert rig.primary.read_bytes() == whole
        assert said(rig.override)["generation"] == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"allocations": {"Ada": 0.9',
        b'{"allocations": {"BTC-USD": 0.5}, "source": "rl_inference", "generation": 50}',
        b'{"allocations": {"Ada": 0.9, "Bob": 0.9}, "source": "capital_governor"}',
        b'{"allocations": {"Ada": NaN}, "source": "capital_governor"}',
        b'{"allocations": {"../x": 0.1}, "source": "capital_governor"}',
        b'{"allocations": {"Ada": 0.1}, "source": "capital_governor", "generation": 7}',
    ],
)
def test_what_is_no_allocation_of_ours_is_never_adopted(tmp_path: Path, content: bytes) -> None:
    """With nothing published and a primary or override that is torn, foreign or wrong, the first allocation is made."""
    (tmp_path / "runtime").mkdir()
    for name in ("capital_governor_allocations.json", "allocations_override.json"):
        (tmp_path / "runtime" / name).write_bytes(content)
    with CycleRig(tmp_path) as rig:
        assert rig.found == "nothing is published yet"
        outcome = rig.see()
        assert outcome.decision.reason is Reason.FIRST_ALLOCATION
        assert outcome.published is not None
        assert (rig.primary.read_bytes(), rig.override.read_bytes()) == documents(outcome.published)


# --- a generation that never reached the file -------------------------------------------------------------------------


def kill(*_: object, **__: object) -> None:
    """End the process at once."""
    raise SystemExit(9)


def unreached(rig: CycleRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commit generation 2 and be killed before its first rename."""
    rig.see()
    monkeypatch.setattr(file_convergence, "converge", kill)
    with pytest.raises(SystemExit):
        rig.see(SWAPPED)
    monkeypatch.undo()
    assert said(rig.primary)["generation"] == 1
    waiting = rig.journal.unreached("live")
    assert waiting is not None
    assert waiting.generation == 2


def test_an_old_intent_is_given_up_and_its_number_not_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was committed, never seen by an agent and is older than MAX_AGE, is forgotten but for its number."""
    with CycleRig(tmp_path) as rig:
        unreached(rig, monkeypatch)
        before = footprint(rig.primary, rig.override)
        rig.now += 901
        rig.restart()
        assert rig.found == "abandoned generation 2, which never reached the agents"
        assert rig.see().decision.reason is Reason.UNCHANGED
        assert footprint(rig.primary, rig.override) == before
        rig.restart()
        assert rig.found == "resumed at generation 1"
        assert rig.see(SWAPPED).decision.reason is Reason.THRESHOLD
        assert said(rig.primary)["generation"] == said(rig.override)["generation"] == 3


@pytest.mark.parametrize("intent", ["a move", "a cut"])
def test_an_intent_that_is_given_up_leaves_the_cool_down_of_the_last_move(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, intent: str
) -> None:
    """Neither what was given up nor the cut that agents have seen begins one: that of the move before is over."""
    with CycleRig(tmp_path, COOLDOWN=1_800) as rig:
        moved_at = rig.now
        rig.see()
        rig.now = moved_at + 1_500
        give(rig, OrderKind.LIMIT, agent="Ada", cap=0.3)
        assert rig.see().decision.reason is Reason.CUT_LIMIT
        rig.restart()
        if intent == "a cut":
            give(rig, OrderKind.LIMIT, agent="Bob", cap=0.3)
        monkeypatch.setattr(file_convergence, "converge", kill)
        with pytest.raises(SystemExit):
            rig.see(SWAPPED if intent == "a move" else FLEET)
        monkeypatch.undo()
        assert (rig.now, rig.entries()[-1].generation) == (moved_at + 1_800, 3)
        rig.now += 901
        rig.restart()
        assert rig.found == "abandoned generation 3, which never reached the agents"
        assert rig.governor.state.moved_at == moved_at
        rig.restart()  # nothing was recorded since then
        assert rig.governor.state.moved_at == moved_at
        assert rig.see(SWAPPED).decision.reason is Reason.THRESHOLD
        rig.restart()
        assert rig.governor.state.moved_at == moved_at + 1_800 + 901


def test_what_stands_after_an_intent_is_given_up_is_known_to_a_new_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Agents have long seen it, so it is not given up as well where the journal is lost before the next write."""
    with CycleRig(tmp_path) as rig:
        unreached(rig, monkeypatch)
        rig.now += 901
        rig.stop_file.touch()
        rig.restart()
        rig.see()
        for file in rig.settings.journal_path.parent.glob(f"{rig.settings.journal_path.name}*"):
            file.unlink()
        for _ in range(3):
            assert rig.see().decision.reason is Reason.STOPPED
        assert not rig.journal.lost
        rig.primary.write_text("torn")
        rig.now += 901
        rig.restart()
        assert rig.found == "resumed at generation 1"


def test_an_intent_from_the_future_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that was set back, as after a power loss, does not tell how old it is: it may be as old as any."""
    with CycleRig(tmp_path) as rig:
        unreached(rig, monkeypatch)
        before = footprint(rig.primary, rig.override)
        rig.now -= 400 * 86_400
        rig.restart()
        assert rig.found == "abandoned generation 2, which never reached the agents"
        assert rig.see({}).decision.reason is Reason.NO_AGENTS
        assert footprint(rig.primary, rig.override) == before


def test_a_young_intent_is_carried_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was committed shortly before a crash is in both files after the next cycle, which need not be a good one."""
    with CycleRig(tmp_path) as rig:
        unreached(rig, monkeypatch)
        rig.now += 800
        rig.restart()
        assert rig.found == "resumed at generation 2"
        assert rig.see({}).decision.reason is Reason.NO_AGENTS
        assert said(rig.primary)["generation"] == said(rig.override)["generation"] == 2
        assert rig.journal.unreached("live") is None


def test_an_abandoned_first_allocation_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing was ever on disk, giving up the intent leaves nothing published, and the next one is number 2."""
    with CycleRig(tmp_path) as rig:
        monkeypatch.setattr(file_convergence, "converge", kill)
        with pytest.raises(SystemExit):
            rig.see()
        monkeypatch.undo()
        rig.now += 901
        rig.restart()
        assert rig.see().decision.reason is Reason.FIRST_ALLOCATION
        assert said(rig.primary)["generation"] == 2


# --- the journal that says all this ---------------------------------------------------------------------------------


def test_a_damaged_last_entry_does_not_keep_the_governor_from_starting(tmp_path: Path) -> None:
    """The journal is set aside, as for any damage, and the state that could be read goes on."""
    with CycleRig(tmp_path) as rig:
        rig.see()
        rig.see()
        plain = sqlite3.connect(rig.settings.journal_path)
        plain.execute("UPDATE cycles SET inputs = x'00' WHERE seq = (SELECT max(seq) FROM cycles)")
        plain.commit()
        plain.close()
        rig.restart()
        assert rig.found == "resumed at generation 1"
        assert rig.see().decision.reason is Reason.UNCHANGED
        assert list(rig.settings.journal_path.parent.glob("*.corrupt-*")), "the damage was met"
        rig.restart()
        assert rig.see(SWAPPED).decision.reason is Reason.THRESHOLD
        assert said(rig.primary)["generation"] == 2


# --- generations of others --------------------------------------------------------------------------------------------


def test_a_generation_above_ours_in_the_override_is_overtaken(tmp_path: Path) -> None:
    """A signed override with a huge number makes the next generation greater still, and nothing of it is adopted."""
    with CycleRig(tmp_path) as rig:
        rig.see()
        rig.override.write_text('{"source": "capital_governor", "generation": 1000000, "allocations": {"Ada": 1.0}}')
        assert rig.see().decision.reason is Reason.UNCHANGED
        assert said(rig.override)["generation"] == 1
        rig.restart()
        assert rig.see(SWAPPED).decision.reason is Reason.THRESHOLD
        assert said(rig.primary)["generation"] == said(rig.override)["generation"] == 1_000_001


def test_the_largest_generation_that_is_read_leaves_room_for_ours(tmp_path: Path) -> None:
    """Whatever number a rival signs, what is published next can be read again after the journal was lost."""
    with CycleRig(tmp_path) as rig:
        rig.see()
        rig.override.write_text(json.dumps({"source": "capital_governor", "generation": 2**53 - 1}))
        assert rig.see(SWAPPED).decision.reason is Reason.THRESHOLD
        rig.journal.close()
        rig.settings.journal_path.unlink()
        rig.restart()
        assert rig.found.startswith("adopted")


# --- no file at all where one belongs ---------------------------------------------------------------------------------


def folder(path: Path) -> None:
    path.mkdir()
    (path / "something").touch()


@pytest.mark.parametrize("name", ["primary", "override"])
@pytest.mark.parametrize(("make", "what"), [(folder, "is a folder"), (os.mkfifo, "is a FIFO")])
def test_a_target_that_is_no_file_holds_until_it_is_gone(
    tmp_path: Path, make: Callable[[Path], None], what: str, name: str
) -> None:
    """A folder or FIFO in place of a file is a hold with its reason everywhere, told once, over when it is gone."""
    with CycleRig(tmp_path) as rig:
        rig.see()
        target: Path = getattr(rig, name)
        target.unlink()
        make(target)
        for _ in range(3):
            outcome = rig.see(SWAPPED)
            assert (outcome.decision.reason, outcome.decision.proposal) == (Reason.FILES_UNWRITABLE, None)
        assert [entry.reason for entry in rig.entries()[1:]] == [Reason.FILES_UNWRITABLE] * 3
        status = rig.status()
        assert (status["state"], status["reason"], status["generation"]) == ("holding", "files_unwritable", 1)
        assert what in status["detail"]
        assert str(target) in status["detail"]
        held = [text for text in rig.texts("warning") if text.startswith("Allocation files cannot be written")]
        assert len(held) == 1
        assert what in held[0]
        assert sum("could not be written" in text for text in rig.texts("error")) == 1
        if target.is_dir():
            (target / "something").unlink()
            target.rmdir()
        else:
            target.unlink()
        assert rig.see(SWAPPED).decision.reason is Reason.THRESHOLD
        assert said(rig.primary)["generation"] == said(rig.override)["generation"] == 2
        assert rig.status()["state"] == "governing"
        assert {"Hold is over: files_unwritable", "Both allocation files can be written again"} <= set(rig.texts())


def test_a_target_that_is_no_file_holds_the_first_allocation(tmp_path: Path) -> None:
    """With a folder in its place from the start, nothing is published, not even into the other file."""
    folder_at = tmp_path / "runtime" / "capital_governor_allocations.json"
    folder_at.mkdir(parents=True)
    with CycleRig(tmp_path) as rig:
        assert rig.see().decision.reason is Reason.FILES_UNWRITABLE
        assert not rig.override.exists()
        assert rig.status()["generation"] is None
        folder_at.rmdir()
        assert rig.see().decision.reason is Reason.FIRST_ALLOCATION


# --- leftovers --------------------------------------------------------------------------------------------------------


def test_only_our_own_leftovers_are_swept(tmp_path: Path) -> None:
    """A start deletes the temporaries that a kill left, and nothing that merely looks like them."""
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    ours = runtime / ".capital_governor_allocations.json.0123456789abcdef.tmp"
    others = [
        runtime / ".capital_governor_allocations.json.0123456789ABCDEF.tmp",
        runtime / ".capital_governor_allocations.json.tmp",
        runtime / ".market_regime.json.0123456789abcdef.tmp",
        runtime / "allocations_override.json.bak",
    ]
    for path in (ours, *others):
        path.write_text("half")
    with CycleRig(tmp_path):
        assert not ours.exists()
        assert all(path.read_text() == "half" for path in others)


# --- a journal that cannot be written for a while ---------------------------------------------------------------------


def test_a_locked_journal_stops_no_cycle_and_is_written_back(tmp_path: Path) -> None:
    """While another program holds the journal, moves go on, said once; afterwards it has every cycle."""
    with CycleRig(tmp_path) as rig:
        rig.see()
        rig.journal.close()
        locker = sqlite3.connect(rig.settings.journal_path, isolation_level=None)
        try:
            locker.execute("PRAGMA locking_mode = EXCLUSIVE")
            locker.execute("BEGIN EXCLUSIVE")
            rig.restart()
            assert rig.found == "adopted generation 1 from capital_governor_allocations.json"
            assert rig.see().decision.reason is Reason.UNCHANGED
            assert rig.see(SWAPPED).decision.reason is Reason.THRESHOLD
            assert said(rig.primary)["generation"] == 2
            assert len(rig.told) == 1
        finally:
            locker.close()
        rig.see(SWAPPED)
        assert rig.told[1:] == [3]
        reasons = [Reason.FIRST_ALLOCATION, Reason.UNCHANGED, Reason.THRESHOLD, Reason.UNCHANGED]
        assert [entry.reason for entry in rig.entries()] == reasons
        rig.now += INTERVAL
        rig.restart()
        assert rig.found == "resumed at generation 2"
