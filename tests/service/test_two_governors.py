"""Two governors that write one journal: each cycle is decided on what was recorded last, or it publishes nothing."""

from __future__ import annotations

import asyncio
import io
import json
import time
from pathlib import Path
from typing import Any

import pytest

from capital_governor.adapters.file_convergence import Convergence, FileOutcome, FileResult
from capital_governor.adapters.logs import configure
from capital_governor.core.reason import Reason
from capital_governor.journal.protocol import JournalConflictError
from capital_governor.journal.sqlite.sqlite_driver import open_sqlite
from capital_governor.service.governor import open_governor
from capital_governor.settings.load import load
from tests.rigs.cycle_rig import CycleRig, footprint, locked
from tests.rigs.dashboard import Dashboard, fresh

SWAPPED = {"Ada": 0.2, "Bob": 0.3, "Cyd": 0.5}


def test_a_cycle_beside_another_governors_publishes_nothing_and_takes_the_state_anew(tmp_path: Path) -> None:
    """Decided on what is not the newest any more, it is neither recorded nor published; the next one goes on."""
    with CycleRig(tmp_path) as one, CycleRig(tmp_path) as other:
        one.see()
        before = footprint(one.primary, one.override)
        with pytest.raises(JournalConflictError, match=r"two governors use the same journal, .*; end one of the two"):
            other.see(SWAPPED)
        assert footprint(one.primary, one.override) == before
        assert [entry.generation for entry in one.entries()] == [1]
        assert other.governor.state.published == one.governor.state.published
        assert other.see(SWAPPED).published == other.governor.state.published
        assert [entry.generation for entry in one.entries()] == [1, 2]
        with pytest.raises(JournalConflictError):
            one.see()
        assert one.see(SWAPPED).decision.reason is Reason.UNCHANGED


def test_what_is_late_is_not_published_over_another_governors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A generation that did not reach the files is not written once another governor has recorded a later one."""
    with CycleRig(tmp_path) as one:
        one.see()
        with monkeypatch.context() as failing:
            failing.setattr("capital_governor.adapters.file_convergence.converge", _refused)
            one.see(SWAPPED)
        with CycleRig(tmp_path, now=one.now) as other:
            other.see()
            assert other.governor.state.generation == 3
            before = footprint(one.primary, one.override)
            with pytest.raises(JournalConflictError):
                one.see(SWAPPED)
            assert footprint(one.primary, one.override) == before


def _refused(*_: Any, **__: Any) -> Convergence:
    failed = FileResult(FileOutcome.FAILED, "no")
    return Convergence(failed, failed)


def test_what_waits_in_memory_is_given_up_for_what_another_governor_has_recorded(tmp_path: Path) -> None:
    """Cycles of an outage are not written over another program's; this one goes on from those, and says so."""
    with CycleRig(tmp_path) as one:
        one.see()
        with locked(one.settings.journal_path):
            one.see()
            one.see()
        with CycleRig(tmp_path, now=one.now) as other:
            other.see(SWAPPED)
            before = footprint(one.primary, one.override)
            with pytest.raises(JournalConflictError, match="3 of its cycles waited in memory, and are given up"):
                one.see()
            assert footprint(one.primary, one.override) == before
            assert not one.journal.lost
            assert one.governor.state == other.governor.state
            one.see(SWAPPED)
            assert [entry.generation for entry in other.entries()] == [1, 2, None]


def test_an_outage_without_another_governor_is_no_conflict(tmp_path: Path) -> None:
    """A journal that could not be read at the start, or was deleted meanwhile, is gone on with."""
    with CycleRig(tmp_path) as first:
        first.see()
        first.journal.close()
        with locked(first.settings.journal_path):
            rig = CycleRig(tmp_path, now=first.now)
            rig.see()
        rig.see(SWAPPED)
        assert [entry.generation for entry in rig.entries()] == [1, None, 2]
        for path in first.settings.journal_path.parent.glob("capital_governor.sqlite3*"):
            path.unlink()
        rig.see()
        rig.see()
        assert not rig.journal.lost
        rig.journal.close()
    journal = open_sqlite(first.settings.journal_path, read_only=True)
    assert [entry.generation for entry in journal.entries("live")] == [3, None]
    journal.close()


def test_a_daemon_says_what_happened_and_goes_on_in_its_next_cycle(tmp_path: Path) -> None:
    """Log and status file say that another program writes the journal and what to do; the files stay as they are."""
    lines = io.StringIO()
    sink = configure(level="INFO", fmt="console", secrets=(), stream=lines)
    loop = asyncio.new_event_loop()
    status = tmp_path / "runtime" / "capital_governor_status.json"
    with Dashboard(fresh()) as dashboard:
        settings = load(tmp_path, {"NEOLIGHT_DASHBOARD_URL": dashboard.url})
        governor = loop.run_until_complete(open_governor(settings, sink))
        try:
            assert loop.run_until_complete(governor.guarded_tick())
            with CycleRig(tmp_path, now=time.time()) as other:
                other.see(SWAPPED)
                before = footprint(other.primary, other.override)
            assert not loop.run_until_complete(governor.guarded_tick())
            assert footprint(other.primary, other.override) == before
            for said in (lines.getvalue(), str(json.loads(status.read_bytes()))):
                assert f"another program has recorded a cycle in the journal {settings.journal_path}" in said
                assert "end one of the two, or give each a journal of its own (CAPITAL_GOVERNOR_JOURNAL)" in said
            assert "journal_conflict" in lines.getvalue()
            assert "Traceback" not in lines.getvalue()
            assert loop.run_until_complete(governor.guarded_tick())
            with CycleRig(tmp_path, now=time.time()) as other:
                other.see(SWAPPED)
                other.primary.write_text("no allocations")
            assert not loop.run_until_complete(governor.guarded_tick())
            assert "primary_not_adopted" in lines.getvalue(), "what it found while it read the journal again"
        finally:
            loop.run_until_complete(governor.close())
            loop.close()
