"""The operator's orders in the governor's cycles: given as from another process, obeyed, kept, used once, and over."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from capital_governor.contracts.status import order_document, standing_orders
from capital_governor.core.acceptance import ACCEPTABLE, EXPIRES_SECONDS, open_hold
from capital_governor.core.model import Refusal, Snapshot
from capital_governor.core.orders import Order, OrderEnd, OrderKind
from capital_governor.core.reason import PAYLOAD_HOLDS, Reason
from capital_governor.core.trace import WithheldBy
from capital_governor.journal.store import Store
from tests.rigs.builders import FLEET, INTERVAL, NOW, snapshot
from tests.rigs.cycle_rig import CycleRig, footprint, locked
from tests.rigs.order_desk import Restarting, desk, give, kept, published, take_back
from tests.rigs.patience import PATIENCE_SECONDS

SWAPPED: Final = {"Ada": 0.2, "Bob": 0.3, "Cyd": 0.5}
"""Scores that turn 0.40, 0.36, 0.24 into 0.24, 0.36, 0.40: a move."""
DOWN: Final = Refusal(Reason.FETCH_FAILED, "connection refused")
R = Reason


@pytest.fixture(params=[False, True], ids=["one process", "a fresh process each cycle"])
def rig(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[CycleRig]:
    """A governor that has published 0.40, 0.36, 0.24; in half of the runs every cycle is the first of a process."""
    with Restarting(tmp_path) if request.param else CycleRig(tmp_path) as made:
        made.see()
        yield made


# --- hold ------------------------------------------------------------------------------------------------------------


def test_a_hold_keeps_both_files_until_its_time_is_over(rig: CycleRig) -> None:
    """Under it a payload that asks for a move moves nothing; the first cycle after its end does."""
    give(rig, OrderKind.HOLD, 2 * INTERVAL, reason="broker migration")
    before = footprint(rig.primary, rig.override)
    for _ in range(2):
        outcome = rig.see(SWAPPED)
        assert outcome.decision.reason is R.OPERATOR_HOLD
        assert footprint(rig.primary, rig.override) == before
    status = rig.status()
    assert status["detail"] == "held by anna until 2025-11-03 22:15:00 UTC: broker migration"
    assert "`capital-governor resume`" in status["exit"]
    (shown,) = status["orders"]
    assert (shown["order"], shown["author"], shown["reason"]) == ("hold", "anna", "broker migration")
    assert (shown["given_at"], shown["until"]) == ("2025-11-03T22:05:00Z", "2025-11-03T22:15:00Z")
    assert rig.see(SWAPPED).decision.reason is R.THRESHOLD
    assert published(rig) == {"Ada": 0.24, "Bob": 0.36, "Cyd": 0.4}
    assert rig.status()["orders"] == []


@pytest.mark.parametrize("down", [False, True], ids=["stale", "down"])
def test_a_hold_outlives_a_clock_that_leaps_and_returns(rig: CycleRig, down: bool) -> None:
    """For a cycle it is a hundred days later: what seems to be over since long is not deleted by that."""
    hold, days = give(rig, OrderKind.HOLD, 7_200), 100 * 86_400
    rig.see(SWAPPED)
    rig.now += days
    rig.cycle(DOWN if down else snapshot(SWAPPED, at=rig.now - days))
    assert held(rig) is (R.FETCH_FAILED if down else R.PAYLOAD_STALE)
    rig.now -= days
    assert rig.see(SWAPPED).decision.reason is R.OPERATOR_HOLD
    assert kept(rig, hold) == hold


def test_a_hold_that_is_taken_back_ends_with_the_next_cycle(rig: CycleRig) -> None:
    """The journal goes on saying who gave it and who took it back, when."""
    order = give(rig, OrderKind.HOLD)
    assert rig.see(SWAPPED).decision.reason is R.OPERATOR_HOLD
    take_back(rig, order)
    ended_at = rig.now
    assert rig.see(SWAPPED).decision.reason is R.THRESHOLD
    found = kept(rig, order)
    assert (found.author, found.given_at) == ("anna", NOW + INTERVAL)
    assert (found.end, found.ended_by, found.ended_at) == (OrderEnd.TAKEN_BACK, "bert", ended_at)


def test_a_hold_is_told_once_and_so_is_its_end(tmp_path: Path) -> None:
    """However long it lasts, the operator gets one alert that it is on and one that it is over."""
    with CycleRig(tmp_path) as rig:
        rig.see()
        order = give(rig, OrderKind.HOLD)
        for _ in range(4):
            rig.see()
        take_back(rig, order)
        for _ in range(2):
            rig.see()
        began, over = rig.alerted
        assert [(each.topic, each.over) for each in rig.alerted] == [("operator_hold", False), ("operator_hold", True)]
        assert "anna holds all shares." in began.text
        assert " resume --root " in began.text
        assert "anna's hold was lifted by bert after 20 min." in over.text


# --- limits ----------------------------------------------------------------------------------------------------------


def test_a_cap_cuts_at_once_and_ends_with_its_time(rig: CycleRig) -> None:
    """0.40 goes down to the cap of 0.10 in the next cycle, the rest is reserve, and comes back when the cap ends."""
    give(rig, OrderKind.LIMIT, INTERVAL, agent="Ada", cap=0.1, reason="new strategy")
    outcome = rig.see()
    assert outcome.decision.reason is R.CUT_LIMIT
    assert published(rig) == {"Ada": 0.1, "Bob": 0.36, "Cyd": 0.24}
    (shown,) = rig.status()["orders"]
    assert (shown["agent"], shown["max"], shown["min"], shown["share_out"]) == ("Ada", 0.1, None, False)
    assert rig.status()["withheld"] == {"Ada": 0.3}
    withheld = outcome.decision.trace.withheld
    assert [*withheld] == ["Ada"]
    assert (withheld["Ada"].amount, withheld["Ada"].by) == (300_000, WithheldBy.CAP)
    assert withheld["Ada"].detail == "by anna until 2025-11-03 22:10:00 UTC: new strategy"
    assert rig.see().decision.reason is R.RESTORE
    assert published(rig) == {"Ada": 0.4, "Bob": 0.36, "Cyd": 0.24}


def test_a_cap_that_is_shared_out_cuts_at_once_and_ends_with_its_time(rig: CycleRig) -> None:
    """0.40 goes down to the cap of 0.10 in the next cycle; the other two rise to MAX_ALLOC, the rest is reserve."""
    give(rig, OrderKind.LIMIT, INTERVAL, agent="Ada", cap=0.1, reason="new strategy", share_out=True)
    outcome = rig.see()
    assert outcome.decision.reason is R.LIMIT_BREACHED
    assert published(rig) == {"Ada": 0.1, "Bob": 0.4, "Cyd": 0.4}
    (shown,) = rig.status()["orders"]
    assert (shown["agent"], shown["max"], shown["min"], shown["share_out"]) == ("Ada", 0.1, None, True)
    binding = outcome.decision.trace.limits["Ada"].hi_by
    assert (binding.value, binding.detail) == (0.1, "by anna until 2025-11-03 22:10:00 UTC: new strategy")
    assert rig.see().decision.reason is R.THRESHOLD
    assert published(rig) == {"Ada": 0.4, "Bob": 0.36, "Cyd": 0.24}


def test_a_floor_lifts_in_the_next_cycle(rig: CycleRig) -> None:
    """0.24 rises to the floor of 0.30; Bob has what Ada's cap and that floor leave."""
    give(rig, OrderKind.LIMIT, agent="Cyd", floor=0.3)
    assert rig.see().decision.reason is R.BELOW_FLOOR
    assert published(rig) == {"Ada": 0.4, "Bob": 0.3, "Cyd": 0.3}


def test_a_limit_on_a_stranger_waits_for_it(rig: CycleRig) -> None:
    """It moves nothing while nobody has that name, and binds the newcomer from its first cycle."""
    give(rig, OrderKind.LIMIT, agent="Dan", cap=0.02)
    assert rig.see().decision.reason is R.UNCHANGED
    rig.see({**FLEET, "Dan": 0.9})
    assert published(rig)["Dan"] == 0.02


def test_limits_are_logged_when_they_begin_and_end(tmp_path: Path) -> None:
    """Each once, with author and reason, not in every cycle."""
    with CycleRig(tmp_path) as rig:
        rig.see()
        order = give(rig, OrderKind.LIMIT, agent="Ada", cap=0.1, reason="new strategy")
        rig.see()
        rig.see()
        take_back(rig, order)
        rig.see()
        rig.see()
        assert [text for text in rig.texts() if text.startswith("Operator's order")] == [
            "Operator's order: limit Ada --max 0.1 by anna: new strategy",
            "Operator's order is over: limit Ada --max 0.1 by anna: new strategy",
        ]


# --- accept ----------------------------------------------------------------------------------------------------------

Say = Callable[[CycleRig], Snapshot | Refusal]


def _without_guardian(rig: CycleRig) -> Snapshot:
    return replace(snapshot(at=rig.now), guardian=None)


def _without_stamp(rig: CycleRig) -> Snapshot:
    del rig
    return snapshot(at=None)


def _empty(rig: CycleRig) -> Snapshot:
    return snapshot({}, at=rig.now)


def _mostly_faulty(rig: CycleRig) -> Snapshot:
    return snapshot({"Ada": 0.5}, at=rig.now, faulty=("Bob", "Cyd"))


def _half_gone(rig: CycleRig) -> Snapshot:
    return snapshot({"Ada": 0.5}, at=rig.now)


PROBLEMS: Final[dict[Reason, Say]] = {
    R.GUARDIAN_LOST: _without_guardian,
    R.TIMESTAMP_LOST: _without_stamp,
    R.NO_AGENTS: _empty,
    R.FAULTY_MAJORITY: _mostly_faulty,
    R.MEMBERS_GONE: _half_gone,
}
problems = pytest.mark.parametrize("about", PROBLEMS, ids=lambda reason: reason.value)


def held(rig: CycleRig) -> Reason | None:
    """The hold of the newest cycle, though a cut may have been published under it."""
    hold = rig.entries()[-1].decision.trace.hold
    return None if hold is None else hold.reason


def accept(rig: CycleRig) -> Order:
    """What the command does: accept the hold that is on."""
    with desk(rig) as journal:
        found = open_hold(entry.decision for entry in reversed(list(journal.entries("live"))))
    assert found is not None
    return give(rig, OrderKind.ACCEPT, EXPIRES_SECONDS, accepts=found.reason.value)


def test_every_hold_that_names_it_is_tried() -> None:
    """The problems below are all those that ``accept`` ends."""
    assert PROBLEMS.keys() == ACCEPTABLE


@problems
def test_an_accept_ends_the_hold_that_it_names_and_is_used_up(rig: CycleRig, about: Reason) -> None:
    """The next cycle decides in spite of the problem, and the order is kept as used, with what it let pass."""
    rig.cycle(PROBLEMS[about](rig))
    assert held(rig) is about
    assert "`capital-governor accept`" in rig.status()["exit"]
    order = accept(rig)
    outcome = rig.cycle(PROBLEMS[about](rig))
    assert held(rig) is None
    assert outcome.inputs.accept
    found = kept(rig, order)
    assert (found.end, found.ended_by) == (OrderEnd.USED, "governor")
    assert found.end_detail == ", ".join(outcome.decision.trace.accepted) != ""
    assert rig.status()["orders"] == []
    rig.cycle(PROBLEMS[about](rig))
    assert held(rig) is None, "what was accepted holds nothing while it lasts"
    assert not rig.entries()[-1].inputs.accept


@problems
def test_an_accepted_problem_holds_again_when_it_comes_back(rig: CycleRig, about: Reason) -> None:
    """One accept is for one loss: once all was well, the same loss holds anew."""
    rig.cycle(PROBLEMS[about](rig))
    accept(rig)
    rig.cycle(PROBLEMS[about](rig))
    rig.see()
    rig.see()
    rig.cycle(PROBLEMS[about](rig))
    assert held(rig) is about


@problems
def test_an_accept_waits_for_a_cycle_that_can_use_it(rig: CycleRig, about: Reason) -> None:
    """A dashboard that is down, a pause, STOP and an operator's hold neither use it up nor end it."""
    rig.cycle(PROBLEMS[about](rig))
    order = accept(rig)
    rig.cycle(DOWN)
    rig.cycle(replace(snapshot(at=rig.now - 5_000), guardian=None))
    assert held(rig) is R.PAYLOAD_STALE
    assert kept(rig, order).end is None
    assert [shown["accepts"] for shown in rig.status()["orders"]] == [about.value]
    if about not in {R.GUARDIAN_LOST, R.TIMESTAMP_LOST}:  # which can be told behind these
        rig.stop_file.touch()
        rig.cycle(PROBLEMS[about](rig))
        assert held(rig) is R.STOPPED
        rig.stop_file.unlink()
        hold = give(rig, OrderKind.HOLD)
        rig.cycle(PROBLEMS[about](rig))
        assert held(rig) is R.OPERATOR_HOLD
        take_back(rig, hold)
        assert kept(rig, order).end is None
    rig.cycle(PROBLEMS[about](rig))
    assert held(rig) is None
    assert kept(rig, order).end is OrderEnd.USED


@problems
def test_an_accept_lapses_when_the_hold_is_over_by_itself(rig: CycleRig, about: Reason) -> None:
    """It lets nothing pass later: the same problem, days after, holds as if it had never been given."""
    rig.cycle(PROBLEMS[about](rig))
    order = accept(rig)
    rig.see()
    found = kept(rig, order)
    assert (found.end, found.end_detail) == (OrderEnd.LAPSED, f"{about.value} is over")
    rig.now += 3 * 86_400
    rig.cycle(PROBLEMS[about](rig))
    assert held(rig) is about
    assert any(text.startswith(f"Operator's order lapsed: accept of {about.value} by anna") for text in rig.texts())


@pytest.mark.parametrize(
    ("about", "instead"),
    [
        (R.MEMBERS_GONE, R.FAULTY_MAJORITY),
        (R.FAULTY_MAJORITY, R.NO_AGENTS),
        (R.NO_AGENTS, R.MEMBERS_GONE),
        (R.GUARDIAN_LOST, R.TIMESTAMP_LOST),
        (R.GUARDIAN_LOST, R.MEMBERS_GONE),
        (R.TIMESTAMP_LOST, R.NO_AGENTS),
    ],
)
def test_an_accept_never_passes_another_problem(rig: CycleRig, about: Reason, instead: Reason) -> None:
    """Where the problem that it names has given way to another, it lapses and the other one holds."""
    rig.cycle(PROBLEMS[about](rig))
    order = accept(rig)
    rig.cycle(PROBLEMS[instead](rig))
    assert held(rig) is instead
    assert kept(rig, order).end is OrderEnd.LAPSED
    rig.cycle(PROBLEMS[instead](rig))
    assert held(rig) is instead


def test_an_accept_of_a_lost_block_lets_no_lost_member_pass(rig: CycleRig) -> None:
    """Where members go before it is used, the cycle that uses it holds for them: nobody has accepted that."""
    rig.cycle(PROBLEMS[R.GUARDIAN_LOST](rig))
    order = accept(rig)
    before = published(rig)
    gone = rig.cycle(replace(snapshot({"Ada": 0.5}, at=rig.now), guardian=None))
    assert (held(rig), kept(rig, order).end) == (R.MEMBERS_GONE, OrderEnd.USED)
    assert kept(rig, order).end_detail == "guardian block"
    assert gone.decision.trace.accepted == ("guardian block",)
    rig.cycle(replace(snapshot({"Ada": 0.5}, at=rig.now), guardian=None))
    assert (held(rig), published(rig)) == (R.MEMBERS_GONE, before)


def test_two_lost_blocks_take_two_accepts(rig: CycleRig) -> None:
    """The first lets the guardian block pass and shows that the stamp is lost, too; the second ends that."""
    both = replace(snapshot(SWAPPED, at=None), guardian=None)
    rig.cycle(both)
    assert held(rig) is R.GUARDIAN_LOST
    first = accept(rig)
    rig.cycle(both)
    assert (held(rig), kept(rig, first).end_detail) == (R.TIMESTAMP_LOST, "guardian block")
    rig.cycle(both)
    assert held(rig) is R.TIMESTAMP_LOST, "the guardian block stays accepted"
    second = accept(rig)
    assert rig.cycle(both).decision.reason is R.THRESHOLD
    assert kept(rig, second).end_detail == "time stamp"


def test_a_lost_guardian_block_hides_whether_the_stamp_is_lost(rig: CycleRig) -> None:
    """An accept of the lost stamp waits while the guardian block is gone too, since that holds first."""
    rig.cycle(PROBLEMS[R.TIMESTAMP_LOST](rig))
    order = accept(rig)
    rig.cycle(replace(snapshot(at=rig.now), guardian=None))
    assert held(rig) is R.GUARDIAN_LOST
    assert kept(rig, order).end is None
    rig.cycle(PROBLEMS[R.TIMESTAMP_LOST](rig))
    assert (held(rig), kept(rig, order).end) == (None, OrderEnd.USED)


def test_an_accept_is_over_after_a_day(rig: CycleRig) -> None:
    """After a day of a dashboard that is down it accepts nothing any more."""
    rig.cycle(PROBLEMS[R.MEMBERS_GONE](rig))
    accept(rig)
    rig.cycle(DOWN)
    rig.now += EXPIRES_SECONDS
    rig.cycle(PROBLEMS[R.MEMBERS_GONE](rig))
    assert held(rig) is R.MEMBERS_GONE
    assert rig.status()["orders"] == []


def test_the_hold_that_an_accept_is_about_may_be_hidden_now(rig: CycleRig) -> None:
    """Behind a failed fetch or a STOP it is the last that could be seen; once shown to be over there is none."""

    def about() -> Reason | None:
        found = open_hold(entry.decision for entry in reversed(rig.entries()))
        return None if found is None else found.reason

    assert about() is None
    rig.cycle(PROBLEMS[R.MEMBERS_GONE](rig))
    rig.cycle(DOWN)
    assert held(rig) in PAYLOAD_HOLDS
    assert about() is R.MEMBERS_GONE
    rig.cycle(PROBLEMS[R.GUARDIAN_LOST](rig))
    assert about() is R.GUARDIAN_LOST
    rig.stop_file.touch()
    rig.see()
    assert about() is R.MEMBERS_GONE, "the block is back, and nobody has seen the fleet since"
    rig.stop_file.unlink()
    rig.see()
    assert about() is None


# --- crashes and lost journals ---------------------------------------------------------------------------------------

KILLED: Final = """
import os, signal, sys
from pathlib import Path
from tests.rigs.builders import snapshot
from tests.rigs.cycle_rig import CycleRig
rig = CycleRig(Path(sys.argv[1]))
rig.now = float(sys.argv[2])
moment, seen = sys.argv[3], []

def trace(sql):
    seen.append(sql)
    if any("INSERT INTO cycles" in each for each in seen):
        used = any("INSERT INTO orders" in each for each in seen)
        if (moment == "before" and sql == "COMMIT" and used) or (moment == "after" and "COMMIT" in seen[:-1] and used):
            os.kill(os.getpid(), signal.SIGKILL)

rig.journal._store._db._db.set_trace_callback(trace)
rig.cycle(snapshot({"Ada": 0.5}, at=rig.now))
"""
"""A governor that is killed right before, or right after, the commit of the cycle that uses an accept."""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_neither_loses_nor_doubles_an_accept(tmp_path: Path, moment: str) -> None:
    """Before the commit it is as if the cycle had not been: the next one uses it. After it, it is used."""
    with CycleRig(tmp_path) as rig:
        rig.see()
        rig.cycle(PROBLEMS[R.MEMBERS_GONE](rig))
        order, now = accept(rig), rig.now
        rig.journal.close()
        command = [sys.executable, "-c", KILLED, str(tmp_path), str(now), moment]
        done = subprocess.run(command, check=False, timeout=PATIENCE_SECONDS, capture_output=True, text=True)
        assert done.returncode == -signal.SIGKILL, done.stderr
        rig.restart()
        rig.now = now
        cycles = len(rig.entries())
        assert (cycles, kept(rig, order).end) == ((2, None) if moment == "before" else (3, OrderEnd.USED))
        rig.cycle(PROBLEMS[R.MEMBERS_GONE](rig))
        assert (held(rig), kept(rig, order).end) == (None, OrderEnd.USED)
        assert sum(entry.inputs.accept for entry in rig.entries()) == 1


@contextmanager
def shut(path: Path) -> Iterator[None]:
    """Keep everybody else even from reading."""
    other = sqlite3.connect(path, isolation_level=None)
    try:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
        yield
    finally:
        other.close()


def test_orders_are_obeyed_while_the_journal_is_lost(tmp_path: Path) -> None:
    """What was known last goes on; an accept that was used meanwhile is not used again once the journal is back."""
    with CycleRig(tmp_path) as rig:
        rig.see()
        give(rig, OrderKind.LIMIT, agent="Ada", cap=0.1)
        rig.cycle(PROBLEMS[R.GUARDIAN_LOST](rig))
        order = accept(rig)
        rig.cycle(DOWN)
        with locked(rig.settings.journal_path):
            rig.cycle(PROBLEMS[R.GUARDIAN_LOST](rig))
            assert rig.journal.lost
            assert published(rig)["Ada"] == 0.1
            rig.see()
            rig.cycle(PROBLEMS[R.GUARDIAN_LOST](rig))
            assert rig.journal.lost
            assert rig.status()["reason"] == R.GUARDIAN_LOST.value, "it was used for the first loss"
        rig.cycle(PROBLEMS[R.GUARDIAN_LOST](rig))
        assert not rig.journal.lost
        assert held(rig) is R.GUARDIAN_LOST
        assert kept(rig, order).end is OrderEnd.USED
        assert [each.agent for each in rig.journal.orders(rig.now)] == ["Ada"]


def test_orders_outlive_a_damaged_journal(tmp_path: Path) -> None:
    """The journal that is begun anew knows what the operator has ordered, and the next process obeys it."""
    with CycleRig(tmp_path) as rig:
        rig.see()
        order = give(rig, OrderKind.HOLD)
        rig.see(SWAPPED)
        path = rig.settings.journal_path
        with path.open("r+b") as file:
            file.write(b"garbage " * (path.stat().st_size // 8))
        with Path(f"{path}-wal").open("r+b") as file:
            file.write(bytes(Path(f"{path}-wal").stat().st_size))
        store = rig.journal._store
        assert isinstance(store, Store)
        store._db.rows("PRAGMA shrink_memory")
        assert rig.see(SWAPPED).decision.reason is R.OPERATOR_HOLD
        assert list(path.parent.glob("*.corrupt-*")), "the damage was met"
        rig.restart()
        assert rig.see(SWAPPED).decision.reason is R.OPERATOR_HOLD
        assert kept(rig, order) == order
        take_back(rig, order)
        assert rig.see(SWAPPED).decision.reason is R.THRESHOLD


@pytest.mark.parametrize("what", ["moved away", "damaged", "locked"])
def test_orders_outlive_a_journal_that_is_lost_at_the_start(tmp_path: Path, what: str) -> None:
    """A governor that cannot read the journal goes on with the holds and limits of the status file."""
    with CycleRig(tmp_path) as rig:
        rig.see()
        hold, cap = give(rig, OrderKind.HOLD), give(rig, OrderKind.LIMIT, agent="Ada", cap=0.1)
        rig.see(SWAPPED)
        assert published(rig) == {"Ada": 0.1, "Bob": 0.36, "Cyd": 0.24}, "the cap is published in the hold"
        rig.journal.close()
        path = rig.settings.journal_path
        if what == "moved away":
            path.rename(path.with_name("aside"))
        elif what == "damaged":
            path.write_bytes(b"garbage " * 1_000)
        with shut(path) if what == "locked" else nullcontext():
            rig.restart()
            assert rig.journal.lost is (what != "moved away")
            assert rig.see(SWAPPED).decision.reason is R.OPERATOR_HOLD
            assert {order.key for order in rig.journal.orders(rig.now)} == {hold.key, cap.key}
        assert rig.see(SWAPPED).decision.reason is R.OPERATOR_HOLD
        rig.restart()
        take_back(rig, hold)
        rig.see()
        assert published(rig) == {"Ada": 0.1, "Bob": 0.36, "Cyd": 0.24}
        assert rig.status()["withheld"] == {"Ada": 0.3}


def test_an_order_that_was_taken_back_does_not_return_from_the_status_file(tmp_path: Path) -> None:
    """Where the journal is only locked at the start, what it says counts as soon as it can be read."""
    with CycleRig(tmp_path) as rig:
        rig.see()
        hold = give(rig, OrderKind.HOLD)
        rig.see(SWAPPED)
        take_back(rig, hold)
        rig.journal.close()
        with shut(rig.settings.journal_path):
            rig.restart()
            assert rig.see(SWAPPED).decision.reason is R.OPERATOR_HOLD
        rig.see(SWAPPED)
        assert rig.see(SWAPPED).decision.reason is R.THRESHOLD
        assert kept(rig, hold).ended_by == "bert"


@pytest.mark.parametrize(
    "damage",
    [
        "kind = 'obey'",
        "until = 'soon'",
        "until = 1e300",
        "given_at = 'once'",
        "given_at = -1e12",
        "cap = -0.1",
        "floor = 7.0",
        "kind = 'accept', accepts = 'all'",
    ],
)
def test_orders_outlive_their_damaged_table(tmp_path: Path, damage: str) -> None:
    """Where the journal has its state and no legible orders, those of the status file go on, and all is begun anew."""
    with CycleRig(tmp_path) as rig:
        rig.see()
        hold = give(rig, OrderKind.HOLD)
        rig.see(SWAPPED)
        plain = sqlite3.connect(rig.settings.journal_path, isolation_level=None)
        plain.execute(f"UPDATE orders SET {damage}")  # noqa: S608 - constants
        plain.close()
        rig.restart()
        assert rig.see(SWAPPED).decision.reason is R.OPERATOR_HOLD
        assert list(rig.settings.journal_path.parent.glob("*.corrupt-*")), "the damage was met"
        rig.restart()
        assert rig.see(SWAPPED).decision.reason is R.OPERATOR_HOLD
        assert kept(rig, hold) == hold


def test_orders_outlive_an_older_journal_put_in_its_place(tmp_path: Path) -> None:
    """A copy that is restored knows nothing of the hold that is on: the status file does."""
    with CycleRig(tmp_path) as rig:
        rig.see()
        path, copy = rig.settings.journal_path, tmp_path / "copy"
        plain = sqlite3.connect(path)
        plain.execute("VACUUM INTO ?", [str(copy)])
        plain.close()
        hold = give(rig, OrderKind.HOLD)
        rig.see(SWAPPED)
        rig.journal.close()
        for file in path.parent.glob(f"{path.name}*"):
            file.unlink()
        copy.rename(path)
        rig.restart()
        assert rig.see(SWAPPED).decision.reason is R.OPERATOR_HOLD
        take_back(rig, hold)
        assert rig.see(SWAPPED).decision.reason is R.THRESHOLD
        rig.restart()
        assert rig.see(SWAPPED).decision.reason is not R.OPERATOR_HOLD


def test_an_order_given_to_a_new_journal_replaces_that_of_the_status_file(tmp_path: Path) -> None:
    """The command could not see the old limit; of the two, the one given last counts alone."""
    with CycleRig(tmp_path) as rig:
        rig.see()
        old = give(rig, OrderKind.LIMIT, agent="Ada", cap=0.1)
        rig.see()
        rig.journal.close()
        rig.settings.journal_path.rename(tmp_path / "aside")
        give(rig, OrderKind.LIMIT, agent="Ada", cap=0.3)
        rig.restart()
        rig.see()
        assert published(rig)["Ada"] == 0.3
        assert kept(rig, old).end is OrderEnd.REPLACED


@pytest.mark.parametrize("how", ["leave", "fail"])
def test_a_start_without_a_completed_cycle_keeps_the_orders_in_the_status_file(tmp_path: Path, how: str) -> None:
    """Ended or failed before its first cycle, it goes on to say what is in force, and a lost journal costs nothing."""
    with CycleRig(tmp_path) as rig:
        rig.see()
        hold = give(rig, OrderKind.HOLD)
        rig.see()
        rig.restart()
        assert (rig.governor.leave() if how == "leave" else rig.governor.fail("odd")) == ""
        assert [each["key"] for each in rig.status()["orders"]] == [hold.key]


WHOLE: Final[dict[str, Any]] = {
    "key": "k",
    "order": "limit",
    "author": "anna",
    "given_at": "2025-11-03T22:00:00Z",
    "until": None,
    "reason": "",
    "agent": "Ada",
    "max": 0.1,
    "min": None,
    "accepts": None,
}


@pytest.mark.parametrize(
    "orders",
    [
        None,
        7,
        [7],
        [{}],
        [WHOLE | {"max": 1.5}],
        [WHOLE | {"max": "0.1"}],
        [WHOLE | {"order": "obey"}],
        [WHOLE | {"given_at": "soon"}],
        [WHOLE | {"author": 7}],
        [WHOLE | {"author": "an\na"}],
        [WHOLE | {"reason": "\ud800"}],
        [WHOLE | {"key": ""}],
        [WHOLE | {"agent": "../x"}],
        [WHOLE | {"given_at": "0001-01-01T00:00:00+14:00"}],
        [WHOLE | {"until": "0001-01-01T00:00:00+14:00"}],
        [WHOLE | {"until": 7}],
        [WHOLE | {"order": "accept", "accepts": "members_gone"}],
    ],
)
def test_a_status_file_that_says_no_orders_gives_none(orders: object) -> None:
    """What another program put there is not obeyed, and an accept is not taken up a second time."""
    assert [order.cap for order in standing_orders(json.dumps({"orders": [WHOLE]}).encode())] == [0.1]
    assert standing_orders(json.dumps({"orders": orders}).encode()) == ()


def test_orders_come_back_from_a_status_file_as_they_were_given() -> None:
    """An exposure order and a limit for everybody too; a release does not, and an older file's caps share out."""
    given = (
        Order(key="1", kind=OrderKind.LIMIT, author="anna", given_at=NOW, agent="Ada", cap=0.1, share_out=True),
        Order(key="2", kind=OrderKind.LIMIT, author="anna", given_at=NOW, agent="*", cap=0.2),
        Order(key="3", kind=OrderKind.EXPOSURE, author="anna", given_at=NOW, cap=0.5),
    )
    release = Order(key="4", kind=OrderKind.RELEASE, author="anna", given_at=NOW, agent="Ada")
    said = [order_document(order) for order in (*given, release)]
    assert standing_orders(json.dumps({"orders": said}).encode()) == given
    older = [{name: value for name, value in each.items() if name != "share_out"} for each in said[:1]]
    assert standing_orders(json.dumps({"orders": older}).encode()) == given[:1]
    assert standing_orders(json.dumps({"orders": [said[0] | {"share_out": 1}]}).encode()) == ()
