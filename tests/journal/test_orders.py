"""Orders in every kind of journal: put down, ended once, kept as history, and a journal from before there were any."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from capital_governor.core.model import EVERYBODY, Limit, OperatorHold, State
from capital_governor.core.orders import Order, OrderEnd, OrderKind, accept_of, hold_of, limits_of
from capital_governor.journal.protocol import (
    Journal,
    JournalCorruptError,
    JournalError,
    JournalUnavailableError,
    Record,
)
from capital_governor.journal.sqlite.sqlite_driver import open_sqlite
from capital_governor.journal.store import Store
from tests.rigs.journal_cycles import held
from tests.rigs.patience import PATIENCE_SECONDS
from tests.rigs.stored_roots import OLD_CYCLES, unpack, unpack_schema_4

NOW = 1_762_200_000.0
DAY = 86_400.0


def order(number: int, kind: OrderKind = OrderKind.HOLD, **more: Any) -> Order:
    return Order(key=f"k{number}", kind=kind, author="anna", given_at=NOW + number, **more)


def capped(number: int, agent: str, cap: float = 0.1, **more: Any) -> Order:
    return order(number, OrderKind.LIMIT, agent=agent, cap=cap, **more)


def record(number: int, *orders: Order) -> Record:
    return replace(held(State(), NOW + number), orders=orders)


def test_what_is_ordered_comes_back_exactly(journal: Journal) -> None:
    """Every field, and the oldest first."""
    full = capped(2, "Ada", floor=0.02, until=NOW + 99, reason="new strategy", share_out=True)
    asked = order(3, OrderKind.ACCEPT, accepts="members_gone")
    given = (order(1), full, asked, order(4, OrderKind.EXPOSURE, cap=0.5), order(5, OrderKind.RELEASE, agent="Ada"))
    journal.put_orders(given)
    assert journal.orders(NOW + 50) == given


def test_an_order_is_in_force_until_its_time_is_over(journal: Journal) -> None:
    """The moment of its end is the first at which it is not."""
    journal.put_orders([order(1, until=NOW + 60)])
    assert journal.orders(NOW + 59.9)
    assert not journal.orders(NOW + 60)


def test_an_order_that_has_ended_stays_ended(journal: Journal) -> None:
    """Neither the order as it was given nor another end changes that."""
    ended = order(1).ended(NOW + 5, OrderEnd.TAKEN_BACK, "bert")
    journal.put_orders([order(1)])
    journal.put_orders([ended])
    journal.put_orders([order(1)])
    assert journal.orders(NOW + 1) == ()
    journal.put_orders([order(1).ended(NOW + 9, OrderEnd.USED, "governor")])
    assert journal.orders(NOW + 1) == ()
    if isinstance(journal, Store):
        assert journal.order_history() == (ended,)


def test_a_cycle_ends_orders_in_its_own_transaction(journal: Journal) -> None:
    """What a recorded cycle used is over when it is recorded."""
    journal.put_orders([order(1, OrderKind.ACCEPT, accepts="no_agents"), order(2)])
    (used, hold) = journal.orders(NOW + 3)
    journal.record(record(1, used.ended(NOW + 3, OrderEnd.USED, "governor")))
    assert journal.orders(NOW + 4) == (hold,)


def test_a_cycle_that_is_not_recorded_ends_none(sqlite: Store) -> None:
    """The end of an order goes the way of its transaction."""
    sqlite.put_orders([order(1, OrderKind.ACCEPT, accepts="no_agents")])
    sqlite._db.change("CREATE TRIGGER full BEFORE INSERT ON cycles BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    with pytest.raises(JournalError, match="disk full"):
        sqlite.record(record(1, order(1).ended(NOW, OrderEnd.USED, "governor")))
    assert len(sqlite.orders(NOW + 2)) == 1


def test_retention_keeps_what_is_in_force(sqlite: Store) -> None:
    """Orders that were over long ago go with the old cycles; one that stands stays, however old it is."""
    kept = [
        order(1),
        capped(2, "Ada"),
        capped(3, "Bob", until=NOW + 200 * DAY),
        capped(4, "Cyd", until=NOW + 50 * DAY),
        order(5, until=NOW + 300 * DAY).ended(NOW + 50 * DAY, OrderEnd.TAKEN_BACK, "bert"),
    ]
    gone = [
        order(6).ended(NOW + 5 * DAY, OrderEnd.REPLACED, "bert"),
        capped(7, "Dan", until=NOW + 5 * DAY),
        capped(8, "Eve", until=NOW + 5 * DAY).ended(NOW + 2 * DAY, OrderEnd.TAKEN_BACK, "bert"),
    ]
    sqlite.put_orders([*kept, *gone])
    sqlite.prune(NOW + 100 * DAY, 90.0)
    assert sqlite.order_history() == tuple(kept)
    assert sqlite.orders(NOW + 100 * DAY) == tuple(kept[:3])


def test_a_change_returns_what_it_ended(sqlite: Store) -> None:
    """One transaction ends the old and puts the new, and the history has both."""
    sqlite.put_orders([capped(1, "Ada"), capped(2, "Bob")])

    def ends(old: Order) -> Order | None:
        return old.ended(NOW + 5, OrderEnd.REPLACED, "bert") if old.agent == "Ada" else None

    new = capped(5, "Ada", 0.2)
    assert sqlite.change_orders(NOW + 5, ends, new) == (capped(1, "Ada"),)
    assert sqlite.orders(NOW + 5) == (capped(2, "Bob"), new)
    assert [each.end for each in sqlite.order_history()] == [OrderEnd.REPLACED, None, None]


def test_what_decide_takes() -> None:
    """The newest hold and accept count; limits come by agent."""
    orders = [capped(3, "Bob"), order(1, reason="old"), order(4, reason="new", until=9.0), capped(2, "Ada", floor=0.1)]
    assert hold_of(orders) == OperatorHold("anna", "new", 9.0)
    assert limits_of(orders) == (Limit("Ada", "anna", 0.1, 0.1), Limit("Bob", "anna", 0.1))
    assert (hold_of([]), limits_of([]), accept_of(orders)) == (None, (), None)


# --- journals of schema 1 --------------------------------------------------------------------------------------------


@pytest.fixture
def old(path: Path) -> Path:
    """A journal as the version before orders left it."""
    path.parent.mkdir()
    unpack(path.parent.parent / "old")
    (path.parent.parent / "old" / "state" / "capital_governor.sqlite3").rename(path)
    plain = sqlite3.connect(path)
    plain.execute("DROP TABLE orders")
    plain.execute("PRAGMA user_version = 1")
    plain.close()
    return path


def schema(path: Path) -> tuple[int, dict[str, set[tuple[str, ...]]]]:
    """The version, and of each table the columns and indices."""
    plain = sqlite3.connect(path)
    (version,) = plain.execute("PRAGMA user_version").fetchone()
    names = [name for (name,) in plain.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    made = {}
    for name in names:
        columns = {(column, kind) for _, column, kind, *_ in plain.execute(f"PRAGMA table_info({name})")}
        indices = {
            tuple(sql)
            for sql in plain.execute("SELECT sql FROM sqlite_master WHERE type = 'index' AND tbl_name = ?", (name,))
        }
        made[name] = columns | {each for each in indices if each[0]}
    plain.close()
    return version, made


def test_an_older_journal_is_upgraded_in_place(old: Path, tmp_path: Path) -> None:
    """Opened for writing it has every table, column and index of a new one, its cycles, and takes orders."""
    assert schema(old)[0] == 1
    journal = open_sqlite(old)
    assert len(list(journal.entries("live"))) == OLD_CYCLES
    journal.put_orders([order(1)])
    assert journal.orders(NOW + 2) == (order(1),)
    journal.close()
    open_sqlite(tmp_path / "new.sqlite3").close()
    assert schema(old) == schema(tmp_path / "new.sqlite3")


def test_an_older_journal_can_be_read_as_it_is(old: Path) -> None:
    """A reader upgrades nothing, and finds its cycles and no orders."""
    before = old.read_bytes()
    journal = open_sqlite(old, read_only=True)
    assert journal.orders(NOW) == journal.order_history() == ()
    assert len(list(journal.entries("live"))) == OLD_CYCLES
    journal.close()
    assert old.read_bytes() == before


def test_a_journal_that_lacks_its_orders_is_damaged(old: Path) -> None:
    """Of schema 2, one without the table is not an older one."""
    plain = sqlite3.connect(old)
    plain.execute("PRAGMA user_version = 2")
    plain.close()
    with pytest.raises(JournalCorruptError, match="lacks orders"):
        open_sqlite(old)


def test_an_older_journal_takes_only_orders_that_its_governor_obeys_as_they_are_meant(path: Path) -> None:
    """A cap shares out there; what an older governor would not know, or would obey otherwise, is refused."""
    unpack_schema_4(path.parent.parent / "root")
    stored = path.parent.parent / "root" / "state" / "capital_governor.sqlite3"
    desk = open_sqlite(stored, upgrade=False)
    before = desk.orders(NOW + DAY)
    assert [(each.agent, each.share_out) for each in before] == [("Ada", True), ("Cyd", False)]
    for odd in (
        capped(1, "Bob"),
        capped(2, EVERYBODY, share_out=True),
        order(3, OrderKind.EXPOSURE, cap=0.5),
        order(4, OrderKind.RELEASE, agent="Dan"),
    ):
        with pytest.raises(JournalUnavailableError, match=r"older version.*start the governor of this version"):
            desk.put_orders([odd])
    taken = (order(5), capped(6, "Bob", share_out=True), order(7, OrderKind.LIMIT, agent="Dan", floor=0.1))
    desk.put_orders([*taken, before[0].ended(NOW, OrderEnd.TAKEN_BACK, "bert")])
    assert desk.orders(NOW + DAY) == (before[1], *taken)
    desk.close()
    assert schema(stored)[0] == 4
    journal = open_sqlite(stored)
    assert journal.orders(NOW + DAY) == (before[1], *taken)
    journal.put_orders([capped(8, "Dan")])
    assert journal.orders(NOW + DAY)[-1] == capped(8, "Dan")
    journal.close()


def test_a_desk_that_was_open_before_the_upgrade_goes_on_after_it(path: Path) -> None:
    """A governor that starts meanwhile upgrades the journal, and what the desk then writes is stored in full."""
    unpack_schema_4(path.parent.parent / "root")
    stored = path.parent.parent / "root" / "state" / "capital_governor.sqlite3"
    desk = open_sqlite(stored, upgrade=False)
    open_sqlite(stored).close()
    desk.put_orders([capped(1, "Bob", share_out=True), capped(2, "Dan")])
    assert desk.orders(NOW + DAY)[-2:] == (capped(1, "Bob", share_out=True), capped(2, "Dan"))
    desk.close()


OPENER = """
import sys
from pathlib import Path
from capital_governor.core.orders import Order, OrderKind
from capital_governor.journal.sqlite.sqlite_driver import in_memory, open_sqlite
print("ready", flush=True)
sys.stdin.readline()
journal = open_sqlite(Path(sys.argv[1]), busy_seconds=20.0)
journal.put_orders([Order(key=sys.argv[2], kind=OrderKind.HOLD, author="anna", given_at=1.0)])
journal.close()
"""


@pytest.mark.parametrize("fixture", ["path", "old"])
def test_processes_that_open_it_at_once_all_get_it(request: pytest.FixtureRequest, fixture: str) -> None:
    """A first start and commands beside it make, or upgrade, one journal together, and none loses its order."""
    path: Path = request.getfixturevalue(fixture)
    path.parent.mkdir(exist_ok=True)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPENER, str(path), f"k{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(6)
    ]
    try:
        for each in processes:
            assert each.stdout is not None
            assert each.stdout.readline() == "ready\n"
        for each in processes:
            assert each.stdin is not None
            each.stdin.write("go\n")
            each.stdin.flush()
        for each in processes:
            _, said = each.communicate(timeout=PATIENCE_SECONDS)
            assert each.returncode == 0, said
    finally:
        for each in processes:
            each.kill()
            each.wait()
    journal = open_sqlite(path)
    assert {found.key for found in journal.orders(2.0)} == {f"k{number}" for number in range(6)}
    journal.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files for others")
def test_what_root_makes_belongs_to_the_owner_of_the_folder(path: Path) -> None:
    """A first order given by root makes a journal that the governor of an ordinary user can use."""
    os.chown(path.parent.parent, 12_345, 12_346)
    journal = open_sqlite(path)
    journal.put_orders([order(1)])
    made = [path.parent, path, Path(f"{path}-wal"), Path(f"{path}-shm")]
    assert [(each.stat().st_uid, each.stat().st_gid) for each in made] == [(12_345, 12_346)] * 4
    journal.close()


def test_an_order_in_words() -> None:
    """As the command that gives it, with author, end and reason."""
    limit = capped(1, "Ada", floor=0.02, until=NOW, reason="new strategy")
    assert limit.text == "limit Ada --max 0.1 --min 0.02 by anna until 2025-11-03 20:00:00 UTC: new strategy"
    assert replace(limit, cap=None, until=None, reason="").text == "limit Ada --min 0.02 by anna"
    assert order(1).text == "hold by anna"
    assert order(1, OrderKind.ACCEPT, accepts="no_agents").text == "accept of no_agents by anna"
