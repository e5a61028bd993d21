"""Alerts over restarts: a new process, or one with new settings, goes on where the journal ends."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from capital_governor.core.model import Refusal
from capital_governor.core.orders import OrderKind
from capital_governor.core.reason import Reason
from tests.rigs.cycle_rig import CycleRig, settings_of
from tests.rigs.order_desk import give

DOWN = Refusal(Reason.FETCH_FAILED, "connection refused by http://localhost:8100/meta/metrics")
WITHOUT_CYD = {"Ada": 0.5, "Bob": 0.45}
TEN = {**{f"Agent{number}": 0.1 for number in range(8)}, "Cyd": 0.3, "Dan": 0.3}
"""A fleet of which two are not half. The cycles of the rig are five minutes apart."""


def sentences(rig: CycleRig) -> list[str]:
    """The second line of each alert so far: what has happened."""
    return [alert.text.splitlines()[1] for alert in rig.alerted]


def without(*agents: str) -> dict[str, float]:
    return {agent: score for agent, score in TEN.items() if agent not in agents}


@pytest.mark.parametrize("restarts", [{10}, {5, 10, 15, 20}, {0}])
def test_an_outage_is_told_after_its_delay_also_over_restarts(tmp_path: Path, restarts: set[int]) -> None:
    """Begun at minute 0 and restarted at minute 10, it is told once, at minute 15; its end has the whole length."""
    with CycleRig(tmp_path, notify=True) as rig:
        rig.see()
        told = []
        for minute in (0, 5, 10, 15, 20):
            rig.cycle(DOWN)
            told.append(len(rig.alerted))
            if minute in restarts:
                rig.restart()
        rig.see()
        assert told == [0, 0, 0, 1, 1]
        assert sentences(rig)[0].startswith("Dashboard unreachable for 15 min: ")
        assert sentences(rig)[1:] == ["Usable metrics again after 25 min."]


def test_an_outage_behind_a_cut_keeps_its_beginning(tmp_path: Path) -> None:
    """A cut that a person orders in the outage, and a restart right after it, do not make the outage a new one."""
    with CycleRig(tmp_path, notify=True) as rig:
        rig.see()
        rig.cycle(DOWN)
        give(rig, OrderKind.EXPOSURE, cap=0.3)
        assert rig.cycle(DOWN).decision.reason is Reason.CUT_CEILING
        rig.restart()
        rig.cycle(DOWN)
        assert not rig.alerted
        rig.cycle(DOWN)
        assert sentences(rig)[0].startswith("Dashboard unreachable for 15 min: ")


@pytest.mark.parametrize("kind", ["silent", "faulty"])
def test_an_agent_is_told_after_its_delay_also_over_restarts(tmp_path: Path, kind: str) -> None:
    """Faulty or silent from minute 0 on, with a restart in each cycle, it is told once, at minute 10; its end too."""
    with CycleRig(tmp_path, notify=True, MEMBERSHIP_GRACE=9) as rig:
        rig.see()
        told = []
        for _ in range(4):
            rig.see(WITHOUT_CYD, faulty=["Cyd"] if kind == "faulty" else [])
            told.append(len(rig.alerted))
            rig.restart()
        rig.see()
        assert told == [0, 0, 1, 1]
        first, last = sentences(rig)
        assert first.startswith("Cyd (24 %) ")
        assert "10 min" in first
        assert last == "Cyd reports well again after 20 min. Its share is 24 %, and may rise again."


def test_an_agent_that_was_not_told_of_before_a_restart_is_told_after_it(tmp_path: Path) -> None:
    """Cyd is told before the restart. Dan, silent for 5 minutes by then, is told when its 10 minutes are over."""
    with CycleRig(tmp_path, notify=True, MEMBERSHIP_GRACE=9) as rig:
        rig.see(TEN)
        rig.see(without("Cyd"))
        rig.see(without("Cyd"))
        rig.see(without("Cyd", "Dan"))
        assert [text.split()[0] for text in sentences(rig)] == ["Cyd"]
        rig.restart()
        rig.see(without("Cyd", "Dan"))
        assert len(rig.alerted) == 1
        rig.see(without("Cyd", "Dan"))
        assert [text.split()[0] for text in sentences(rig)] == ["Cyd", "Dan"]
        rig.restart()
        rig.see(TEN)
        assert len(rig.alerted) == 3
        lines = rig.alerted[-1].text.splitlines()
        assert lines[1].startswith("Cyd reports well again after 25 min.")
        assert lines[2].startswith("Dan reports well again after 15 min.")


def test_an_outage_between_does_not_hide_since_when_an_agent_is_silent(tmp_path: Path) -> None:
    """Nobody knows who reports while the dashboard is down. Who was silent before and after was so all the time."""
    with CycleRig(tmp_path, notify=True, MEMBERSHIP_GRACE=9) as rig:
        rig.see()
        rig.see(WITHOUT_CYD)
        rig.cycle(DOWN)
        rig.restart()
        rig.see(WITHOUT_CYD)
        assert sentences(rig) == ["Cyd (24 %) has been silent for 10 min."]


def test_who_was_well_in_between_has_its_delay_anew(tmp_path: Path) -> None:
    """A good record ends a silence, whatever the restart after it finds further back."""
    with CycleRig(tmp_path, notify=True, MEMBERSHIP_GRACE=9) as rig:
        rig.see(TEN)
        rig.see(without("Cyd", "Dan"))
        rig.see(without("Cyd"))
        rig.see(without("Cyd", "Dan"))
        rig.restart()
        rig.see(without("Cyd", "Dan"))
        assert [text.split()[0] for text in sentences(rig)] == ["Cyd"]
        rig.see(without("Cyd", "Dan"))
        assert sentences(rig)[1:] == ["Dan (21.4 %) has been silent for 10 min."]


@pytest.mark.parametrize(("hours", "told"), [(0.9, [1, 1, 1, 1]), (30, [0, 0, 0, 1])])
def test_a_time_without_a_governor_is_no_outage(tmp_path: Path, hours: float, told: list[int]) -> None:
    """The governor ended 10 minutes into an outage. Started hours later, before the dashboard, it has the delay anew.

    After less than an hour it goes on with the delay.
    """
    with CycleRig(tmp_path, notify=True) as rig:
        rig.see()
        for _ in range(3):
            rig.cycle(DOWN)
        rig.now += hours * 3_600
        rig.restart()
        found = []
        for _ in range(4):
            rig.cycle(DOWN)
            found.append(len(rig.alerted))
        assert found == told
        assert ("for 15 min" in sentences(rig)[0]) == (hours > 1)


def test_what_was_told_goes_on_over_a_time_without_a_governor(tmp_path: Path) -> None:
    """It is not told again, and its end has its whole length: dashboard and agent alike."""
    with CycleRig(tmp_path, notify=True, MEMBERSHIP_GRACE=9) as rig:
        rig.see()
        for _ in range(3):
            rig.see(WITHOUT_CYD)
        for _ in range(4):
            rig.cycle(DOWN)
        rig.now += 36_000
        rig.restart()
        rig.cycle(DOWN)
        assert len(rig.alerted) == 2
        rig.see()
        assert sentences(rig)[2:] == [
            "Usable metrics again after 10 h 25 min.",
            "Cyd reports well again after 10 h 40 min. Its share is 24 %, and may rise again.",
        ]


def test_an_agent_that_was_not_told_of_has_its_delay_anew_after_a_time_without_a_governor(tmp_path: Path) -> None:
    """Silent for 5 minutes before it and in the first cycle after it, Cyd is told of 10 minutes later."""
    with CycleRig(tmp_path, notify=True, MEMBERSHIP_GRACE=20, ALERT_AGENT=15) as rig:
        rig.see()
        rig.see(WITHOUT_CYD)
        rig.see(WITHOUT_CYD)
        rig.now += 36_000
        rig.restart()
        found = []
        for _ in range(4):
            rig.see(WITHOUT_CYD)
            found.append(len(rig.alerted))
        assert found == [0, 0, 0, 1]
        assert sentences(rig) == ["Cyd (24 %) has been silent for 15 min."]


def test_another_interval_does_not_change_how_long_an_agent_is_silent(tmp_path: Path) -> None:
    """After a reload with INTERVAL=60 the five minutes before it are still five minutes."""
    with CycleRig(tmp_path, notify=True, MEMBERSHIP_GRACE=9, ALERT_AGENT=5) as rig:
        rig.see()
        rig.see(WITHOUT_CYD)
        rig.settings = settings_of(tmp_path, MEMBERSHIP_GRACE=9, ALERT_AGENT=5, INTERVAL=60)
        rig.restart()
        rig.see(WITHOUT_CYD)
        assert sentences(rig) == ["Cyd (24 %) has been silent for 5 min."]
        # The 8th cycle more is the 10th in a row, one more than the grace, and comes after 8 minutes.
        assert "goes to the reserve from 22:18 UTC on" in rig.alerted[0].text


def test_a_shorter_delay_after_a_reload_is_that_of_the_next_cycle(tmp_path: Path) -> None:
    """An outage of 5 minutes that was not to be told yet is told when 5 minutes are enough; not again with 1."""
    with CycleRig(tmp_path, notify=True) as rig:
        rig.see()
        rig.cycle(DOWN)
        rig.settings = settings_of(tmp_path, ALERT_UNREACHABLE=5, NAME="fleet2")
        rig.restart()
        rig.cycle(DOWN)
        assert sentences(rig)[0].startswith("Dashboard unreachable for 5 min: ")
        assert rig.alerted[0].text.startswith("⚠️ fleet2 · ")
        rig.settings = settings_of(tmp_path, ALERT_UNREACHABLE=1)
        rig.restart()
        rig.cycle(DOWN)
        assert len(rig.alerted) == 1


def test_a_journal_of_an_older_version_tells_what_it_can(tmp_path: Path) -> None:
    """Without facts of its cycles, the count of cycles without a record says since when an agent is silent."""
    with CycleRig(tmp_path, notify=True, MEMBERSHIP_GRACE=9) as rig:
        rig.see()
        rig.see(WITHOUT_CYD)
        rig.see(WITHOUT_CYD)
        rig.journal.close()
        with sqlite3.connect(rig.settings.journal_path) as db:
            assert "absent" in json.loads(db.execute("SELECT facts FROM cycles WHERE seq = 2").fetchone()[0])
            db.execute("UPDATE cycles SET facts = NULL")
        db.close()
        rig.restart()
        rig.see(WITHOUT_CYD)
        assert sentences(rig) == ["Cyd (24 %) has been silent for 10 min."]
