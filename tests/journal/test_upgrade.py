"""A root of an earlier version: its journal is read and goes on, and no capital moves for that."""

from __future__ import annotations

import json
import resource
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from capital_governor.core.decision import commit, resolve
from capital_governor.core.model import Memory
from capital_governor.core.orders import Order, OrderKind
from capital_governor.core.reason import Reason
from capital_governor.journal.notices import NoticeState
from capital_governor.journal.protocol import LIVE, JournalError
from capital_governor.journal.sqlite.sqlite_driver import open_sqlite
from capital_governor.journal.store import Store
from capital_governor.journal.tables import SCHEMA_VERSION
from tests.rigs.builders import FLEET, NOW, rated
from tests.rigs.cycle_rig import CycleRig, footprint, locked
from tests.rigs.stored_roots import OLD_CYCLES, unpack, unpack_schema_4, unpack_schema_5

TURNED = {name: 1 - score for name, score in FLEET.items()}
"""What the old root's last payload scored."""
AFTER = NOW + OLD_CYCLES * 300.0
REASONS = [
    Reason.FIRST_ALLOCATION,
    Reason.THRESHOLD,
    Reason.FETCH_FAILED,
    Reason.PAUSED,
    Reason.UNCHANGED,
    Reason.OPERATOR_HOLD,
    Reason.OPERATOR_HOLD,
    Reason.OPERATOR_HOLD,
    Reason.LIMIT_BREACHED,
    Reason.UNCHANGED,
]


@pytest.fixture(params=[1, 2, 3])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A root with a journal of each older schema. From 2 to 3 only a number has changed; 1 had no orders."""
    unpack(tmp_path)
    plain = sqlite3.connect(tmp_path / "state" / "capital_governor.sqlite3")
    if request.param == 1:
        plain.execute("DROP TABLE orders")
    plain.execute(f"PRAGMA user_version = {request.param}")
    plain.commit()
    plain.close()
    return tmp_path


def read(journal: Store) -> dict[str, Any]:
    """All that a start and a look at the journal ask for."""
    entries = list(journal.entries(LIVE))
    # With the cap on Ada this version decides otherwise: it withholds what a cap takes, in a hold too.
    assert [entry.derived for entry in entries] == [True] * 5 + [False] * 5
    assert all(resolve(entry.inputs, entry.state, entry.rules) == entry.decision for entry in entries[:5])
    assert all(commit(entry.decision) == entry.after for entry in entries[:5])
    head, reached = journal.head(LIVE), journal.last_reached(LIVE)
    assert head is not None
    assert reached is not None
    return {
        "reasons": [entry.reason for entry in entries],
        "generations": [entry.generation for entry in entries],
        "told": [reason for _, reason in journal.timeline(LIVE, 0.0)],
        "goes on": head.state == entries[-1].after and head.key == entries[-1].key,
        "reached": reached == head.state.published and journal.unreached(LIVE) is None,
        "shares": reached.shares,
        "pending": len(journal.notices(NoticeState.PENDING, 99)),
        "cap": [(order.cap, order.share_out) for order in journal.orders(AFTER)],
    }


def test_an_older_journal_is_read_and_upgraded_without_a_loss(root: Path) -> None:
    """Read as it is and after the upgrade it says the same: every cycle, what is published, notices and orders."""
    path = root / "state" / "capital_governor.sqlite3"
    plain = sqlite3.connect(path)
    orders = plain.execute("SELECT name FROM sqlite_master WHERE name = 'orders'").fetchall()
    plain.close()
    expected = {
        "reasons": REASONS,
        "generations": [1, 2, None, None, None, None, None, None, 3, None],
        "told": REASONS,
        "goes on": True,
        "reached": True,
        "shares": {"Ada": 100_000, "Bob": 400_000, "Cyd": 400_000},
        "pending": 4,
        "cap": [(0.1, True)] if orders else [],
    }
    for read_only in (True, False, False, True):
        journal = open_sqlite(path, read_only=read_only)
        assert read(journal) == expected, read_only
        journal.close()
    plain = sqlite3.connect(path)
    assert plain.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    assert plain.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert plain.execute("PRAGMA foreign_key_check").fetchall() == []
    plain.close()


def test_a_root_of_an_earlier_version_is_taken_over_without_a_move(tmp_path: Path) -> None:
    """Generation, files, orders and the paths of both are as they were, and the next real change is a move."""
    unpack(tmp_path)
    with CycleRig(tmp_path, now=AFTER) as rig:
        before = footprint(rig.primary, rig.override)
        assert rig.found == "resumed at generation 3"
        assert rig.see(TURNED).decision.reason is Reason.UNCHANGED
        assert footprint(rig.primary, rig.override) == before
        assert rig.status()["generation"] == 3
        assert [order["agent"] for order in rig.status()["orders"]] == ["Ada"]
        assert rig.see(TURNED, risk=0.4).decision.reason is Reason.THRESHOLD
        assert json.loads(rig.primary.read_bytes())["generation"] == 4
        rig.restart()
        assert rig.found == "resumed at generation 4"
        assert [entry.reason for entry in rig.entries()] == [*REASONS, Reason.UNCHANGED, Reason.THRESHOLD]
        assert rig.told == []


def test_a_root_of_schema_4_is_taken_over_without_a_move(tmp_path: Path) -> None:
    """What is published is plan and shares at once, its cap shares out as before, and the files keep every byte.

    Dan has been absent for three cycles. The version before would retire it in the next one; now its grace begins anew,
    and it lapses, to the gain of nobody, when it has been absent for more than three cycles of this version's count.
    """
    unpack_schema_4(tmp_path)
    with CycleRig(tmp_path, now=NOW + 3_300.0) as rig:
        before = footprint(rig.primary, rig.override)
        assert rig.found == "resumed at generation 3"
        seen = {"Ada": 0.2, "Bob": 0.5, "Cyd": 0.3}
        for absences in (2, 3):
            assert rig.see(seen).decision.reason is Reason.UNCHANGED
            assert rig.governor.state.agents["Dan"] == Memory(tenured=True, absent=absences)
            assert rig.governor.state.metrics["Dan"] == rated(0.25)
            rig.restart()
        assert footprint(rig.primary, rig.override) == before
        published = rig.governor.state.published
        assert published is not None
        assert published.plan == published.shares == {"Ada": 100_000, "Bob": 400_000, "Cyd": 272_727, "Dan": 227_273}
        assert [(order["max"], order["share_out"]) for order in rig.status()["orders"]] == [(0.1, True), (None, False)]
        assert rig.see(seen).decision.reason is Reason.CUT_LAPSE
        file = json.loads(rig.primary.read_bytes())
        assert (file["generation"], file["reserve"], file["withheld"]) == (4, 0.227273, {"Dan": 0.227273})
        assert file["allocations"] == {"Ada": 0.1, "Bob": 0.4, "Cyd": 0.272727, "Dan": 0.0}
        assert rig.told == []


def test_a_root_of_schema_5_is_taken_over_without_a_move(tmp_path: Path) -> None:
    """What its cap and its lapsed agent withhold stays withheld, and ends as that version had it."""
    unpack_schema_5(tmp_path)
    seen = {"Ada": 0.5, "Bob": 0.7}
    with CycleRig(tmp_path, now=NOW + 2_700.0) as rig:
        before = footprint(rig.primary, rig.override)
        assert rig.found == "resumed at generation 4"
        assert all(entry.derived for entry in rig.entries())
        assert rig.see(seen).decision.reason is Reason.UNCHANGED
        rig.restart()
        assert footprint(rig.primary, rig.override) == before
        published = rig.governor.state.published
        assert published is not None
        assert published.shares == {"Ada": 100_000, "Bob": 350_000, "Cyd": 0}
        assert published.withheld == {"Ada": 150_000, "Cyd": 400_000}
        reasons = [rig.see(seen | {"Cyd": 0.8}).decision.reason for _ in range(3)]
        assert reasons == [Reason.UNCHANGED, Reason.UNCHANGED, Reason.RESTORE]
        assert json.loads(rig.primary.read_bytes())["allocations"] == {"Ada": 0.1, "Bob": 0.35, "Cyd": 0.4}
        assert len(rig.journal.notices(NoticeState.PENDING, 9)) == 5


@pytest.mark.parametrize("read_only", [True, False])
def test_a_journal_of_schema_4_is_read_as_it_is_and_upgraded(tmp_path: Path, *, read_only: bool) -> None:
    """Both ways it says the same; what this version decides otherwise than the one before says so."""
    unpack_schema_4(tmp_path)
    journal = open_sqlite(tmp_path / "state" / "capital_governor.sqlite3", read_only=read_only)
    entries = list(journal.entries(LIVE))
    assert [entry.version for entry in entries] == ["0.1.0"] * 11
    assert [entry.derived for entry in entries] == [True] * 7 + [False] * 4
    assert [entry.generation for entry in entries] == [1, 2, None, None, None, None, None, 3, None, None, None]
    assert journal.unreached(LIVE) is None
    assert [(each.agent, each.share_out) for each in journal.orders(AFTER)] == [("Ada", True), ("Cyd", False)]
    assert len(journal.order_history()) == 4
    assert [notice.key for notice in journal.notices(NoticeState.PENDING, 9)] == ["alert-1"]
    assert journal._db.rows("PRAGMA main.user_version") == [(4 if read_only else SCHEMA_VERSION,)]
    journal.close()


def test_old_entries_are_pruned_with_all_that_they_alone_refer_to(tmp_path: Path) -> None:
    """States and publications of an older journal go with its cycles, as do those of today."""
    unpack(tmp_path)
    with CycleRig(tmp_path, now=AFTER) as rig:
        rig.see(TURNED)
        rig.see(TURNED, risk=0.4)
    journal = open_sqlite(tmp_path / "state" / "capital_governor.sqlite3")
    try:
        for _ in range(2):
            journal.prune(AFTER + 400 * 86_400.0, 90)
        assert [entry.generation for entry in journal.entries(LIVE)] == [4]
        assert journal._db.rows("SELECT count(*) FROM states") == [(2,)]
        assert journal._db.rows("SELECT generation FROM publications ORDER BY 1") == [(3,), (4,)]
    finally:
        journal.close()


def test_an_upgrade_can_be_taken_up_by_nobody_half_way(tmp_path: Path) -> None:
    """Something in its way leaves the journal as it was, to the byte of its content."""
    unpack(tmp_path)
    path = tmp_path / "state" / "capital_governor.sqlite3"
    plain = sqlite3.connect(path)
    plain.execute("CREATE TABLE heads (id)")
    plain.commit()
    before = list(plain.iterdump())
    plain.close()
    shutil.copy(path, tmp_path / "copy")
    with pytest.raises(JournalError, match="heads"):
        open_sqlite(path)
    plain = sqlite3.connect(path)
    assert list(plain.iterdump()) == before
    plain.close()


@pytest.mark.parametrize("why", ["locked", "full"])
def test_a_journal_that_cannot_be_upgraded_yet_is_obeyed(tmp_path: Path, why: str) -> None:
    """State and orders are those that it has, also one that no status file tells of; the upgrade comes later.

    The operator's hold was given while no governor ran, before the disk filled up.
    """
    unpack(tmp_path)
    path = tmp_path / "state" / "capital_governor.sqlite3"
    order = Order(key="late", kind=OrderKind.HOLD, author="anna", given_at=AFTER - 1)
    desk = open_sqlite(path, upgrade=False)
    desk.put_orders([order])
    desk.close()
    with unwritable(path, why):
        rig = CycleRig(tmp_path, now=AFTER)
        assert rig.found == "resumed at generation 3"
        assert rig.see(TURNED, risk=0.4).decision.reason is Reason.OPERATOR_HOLD
        assert rig.see(TURNED, risk=0.4).decision.reason is Reason.OPERATOR_HOLD
        assert "late" in {each.key for each in rig.journal.orders(AFTER + 900)}
    with rig:
        assert rig.see(TURNED, risk=0.4).decision.reason is Reason.OPERATOR_HOLD
        (lost, restored) = rig.told
        assert {"locked": "locked", "full": "disk"}[why] in str(lost)
        assert restored == 3
        assert [entry.reason for entry in rig.entries()] == [*REASONS, *[Reason.OPERATOR_HOLD] * 3]
        assert len(rig.journal.orders(AFTER + 900)) == 2
    plain = sqlite3.connect(path)
    assert plain.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    plain.close()


@contextmanager
def unwritable(path: Path, why: str) -> Iterator[None]:
    """Let nothing be written to the journal; files may not grow beyond what others than it need."""
    if why == "locked":
        with locked(path):
            yield
        return
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (36_864, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
