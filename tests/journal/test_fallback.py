"""The journal in memory that takes over: no cycle waits for a disk, and nothing is lost that could be kept."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from capital_governor.core.model import (
    Pause,
    Publication,
    State,
)
from capital_governor.core.orders import Order, OrderKind
from capital_governor.journal.fallback import ResilientJournal
from capital_governor.journal.notices import NoticeState, new_notice
from capital_governor.journal.protocol import (
    LIVE,
    Journal,
    JournalCorruptError,
    JournalRefusedError,
    JournalUnavailableError,
    Record,
)
from capital_governor.journal.sqlite.file import set_aside
from capital_governor.journal.sqlite.sqlite_driver import in_memory, open_sqlite
from capital_governor.journal.store import Store
from capital_governor.journal.tables import SCHEMA_VERSION
from capital_governor.journal.unwritten import BATCH
from tests.rigs.cycle_rig import locked
from tests.rigs.journal_cycles import DAY, NOW, Told, chain, contents, held, moved, seeded, state_of, stored, tell

Resilient = Callable[..., ResilientJournal]


@pytest.fixture
def resilient(path: Path, told: Told) -> Iterator[Resilient]:
    made: list[ResilientJournal] = []

    def make(
        opening: Callable[[], Journal] = lambda: open_sqlite(path, busy_seconds=0.02),
        **bounds: int,
    ) -> ResilientJournal:
        made.append(
            ResilientJournal(
                opening,
                memory=in_memory(),
                set_aside=lambda: set_aside(path, NOW),
                on_lost=told.lost.append,
                on_restored=told.restored.append,
                **bounds,
            )
        )
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_a_locked_journal_is_caught_up_with_later(resilient: Resilient, path: Path, told: Told) -> None:
    """Cycles go on without it, one alert is raised, and afterwards the journal holds every cycle in its order."""
    journal = resilient()
    cycles = chain(12)
    tell(journal, *cycles[:4])
    journal.reached(4)
    with locked(path):
        for cycle in cycles[4:11]:
            tell(journal, cycle)
            assert state_of(journal) == cycle.after
        assert (journal.lost, journal.unwritten) == (True, 7)
        assert journal.unreached(LIVE) == cycles[9].after.published
        assert journal.last_reached(LIVE) == cycles[3].after.published
        journal.reached(10)
        assert journal.unreached(LIVE) is None
        assert journal.prune(NOW, 90) == 0
        assert contents(list(journal.entries(LIVE))) == contents(cycles[4:11])
        assert len(told.lost) == 1
        assert "locked" in told.lost[0]
        assert told.restored == []
    tell(journal, cycles[11])
    assert (journal.lost, journal.unwritten, journal.dropped) == (False, 0, 0)
    assert told.restored == [8]
    assert contents(stored(path)) == contents(cycles)
    assert journal.last_reached(LIVE) == cycles[9].after.published
    assert journal.unreached(LIVE) is None
    with locked(path):
        tell(journal, held(cycles[-1].after, NOW + 9_000))
    assert len(told.lost) == 2


def test_what_was_read_before_an_outage_is_known_in_it(resilient: Resilient, path: Path) -> None:
    """The marks of an earlier process, asked for at the start, still answer when the journal is then lost."""
    before = resilient()
    cycles = chain(5, every=4)  # moves at 0 and 4
    tell(before, *cycles[:3])
    before.reached(1)
    before.close()
    journal = resilient()
    assert state_of(journal) == cycles[2].after
    with locked(path):
        tell(journal, cycles[3])
        assert journal.unreached(LIVE) is None
        assert journal.last_reached(LIVE) == cycles[0].after.published
        tell(journal, cycles[4])
        assert journal.unreached(LIVE) == cycles[4].after.published
        assert journal.last_reached(LIVE) == cycles[0].after.published


def test_orders_are_known_though_the_first_write_fails(resilient: Resilient, path: Path) -> None:
    """A start puts down what the status file says before it asks for orders; that may be what finds the disk full."""
    given, said = (Order(key=key, kind=OrderKind.HOLD, author="anna", given_at=NOW) for key in ("given", "said"))
    store = open_sqlite(path)
    store.put_orders([given])
    store.close()
    journal = resilient()
    with locked(path):
        journal.put_orders([said])
        assert journal.lost
        assert journal.orders(NOW + 1) == (given, said)


def test_a_damaged_last_entry_costs_no_order_and_no_notice(resilient: Resilient, path: Path, told: Told) -> None:
    """What a start sets aside had orders in force and messages not sent: both are obeyed, sent and kept."""
    order = Order(key="given", kind=OrderKind.HOLD, author="anna", given_at=NOW)
    waiting = new_notice("unsent", NOW)
    store = open_sqlite(path)
    tell(store, *chain(2))
    store.put_orders([order])
    store.put_notices([waiting])
    store._db.change("UPDATE cycles SET inputs = x'00' WHERE seq = 2")
    store.close()
    journal = resilient()
    assert "begun anew" in told.lost[0]
    tell(journal, held(chain(2)[-1].after, NOW + 600))
    assert journal.orders(NOW + 600) == (order,)
    assert journal.notices(NoticeState.PENDING, 9) == [waiting]
    journal.close()
    anew = open_sqlite(path, read_only=True)
    assert anew.orders(NOW + 600) == (order,)
    assert anew.notices(NoticeState.PENDING, 9) == [waiting]
    anew.close()


def test_a_long_outage_is_written_back_in_bounded_steps(resilient: Resilient, path: Path, told: Told) -> None:
    """One cycle writes back one batch, so no cycle is late because many were missed."""
    journal = resilient()
    cycles = chain(3 * BATCH)
    with locked(path):
        tell(journal, cycles[0])
        with locked_out(journal):
            tell(journal, *cycles[1:-4])
    lengths = []
    for cycle in cycles[-4:]:
        tell(journal, cycle)
        lengths.append(len(stored(path)))
        assert state_of(journal) == cycle.after
        if journal.lost:
            assert contents(list(journal.entries(LIVE))) == contents(cycles[lengths[-1] : cycles.index(cycle) + 1])
            assert journal.prune(NOW + 400 * DAY, 90) == 0
    assert lengths == [BATCH, 2 * BATCH, 3 * BATCH - 1, 3 * BATCH]
    assert told.restored == [3 * BATCH - 1]
    assert contents(stored(path)) == contents(cycles)


@contextmanager
def locked_out(journal: ResilientJournal) -> Iterator[None]:
    """Opening fails at once, which is quicker than to wait for a lock hundreds of times."""

    def fail() -> Journal:
        raise JournalUnavailableError("no journal today")

    opening = journal._open_journal
    journal._open_journal = fail
    yield
    journal._open_journal = opening


def test_every_move_of_an_outage_is_known_to_have_been_seen(resilient: Resilient, path: Path) -> None:
    """Each generation that reached the primary file is marked so, with the batch that its cycle is written back in."""
    journal = resilient()
    cycles = chain(2 * BATCH + 60, every=1)
    tell(journal, cycles[0])
    journal.reached(1)
    with locked(path):
        tell(journal, cycles[1])
        journal.reached(2)
        with locked_out(journal):
            for number, cycle in enumerate(cycles[2:-2], start=3):
                tell(journal, cycle)
                journal.reached(number)
    for number, cycle in enumerate(cycles[-2:], start=len(cycles) - 1):
        tell(journal, cycle)
        assert journal.lost
        assert seen(path) == set(range(1, BATCH * (number - len(cycles) + 2) + 2))
        journal.reached(number)
    for cycle in (held(cycles[-1].after, NOW + 1e6 + number) for number in range(2)):
        tell(journal, cycle)
    assert not journal.lost
    assert seen(path) == set(range(1, len(cycles) + 1))


def seen(path: Path) -> set[int]:
    """The generations that the durable journal knows to have reached the primary file."""
    plain = sqlite3.connect(path)
    try:
        return {generation for (generation,) in plain.execute("SELECT generation FROM publications WHERE reached = 1")}
    finally:
        plain.close()


def test_large_fleets_are_written_back_in_smaller_steps(resilient: Resilient, path: Path) -> None:
    """A batch is bounded by agents too, but always larger than what comes along in a cycle."""
    journal = resilient()
    agents = [f"agent{number}" for number in range(1_500)]
    cycles = [moved(State(), NOW + number, agents=agents) for number in range(6)]
    with locked_out(journal), locked(path):
        tell(journal, *cycles[:4])
    tell(journal, cycles[4])
    assert (len(stored(path)), journal.unwritten) == (2, 3)
    tell(journal, cycles[5])
    assert (len(stored(path)), journal.unwritten) == (4, 2)


def test_an_outage_longer_than_memory_loses_the_oldest_cycles_only(
    resilient: Resilient, path: Path, told: Told
) -> None:
    """What does not fit is dropped and counted; the newest cycles and the state survive."""
    journal = resilient(capacity=5)
    cycles = chain(12)
    with locked(path):
        tell(journal, *cycles[:11])
        assert state_of(journal) == cycles[10].after
    tell(journal, cycles[11])
    assert journal.dropped == 7
    assert told.restored == [5]
    assert contents(stored(path)) == contents(cycles[7:])


def test_a_journal_that_cannot_be_opened_at_the_start_is_made_later(
    resilient: Resilient, path: Path, told: Told
) -> None:
    """With a file where its folder should be, the governor runs from memory, and recovers when that is gone."""
    path.parent.write_text("in the way")
    journal = resilient()
    cycles = chain(5)
    assert state_of(journal) is None
    tell(journal, *cycles[:4])
    journal.reached(4)
    assert len(told.lost) == 1
    path.parent.unlink()
    tell(journal, cycles[4])
    assert told.restored == [5]
    assert contents(stored(path)) == contents(cycles)
    assert journal.last_reached(LIVE) == cycles[3].after.published


def test_a_garbage_file_is_set_aside_at_the_start(resilient: Resilient, path: Path, told: Told) -> None:
    """The damaged file is kept for inspection, a new journal is begun, and the alert names the place."""
    path.parent.mkdir()
    path.write_bytes(b"garbage" * 1_000)
    journal = resilient()
    assert state_of(journal) is None
    cycles = chain(2)
    tell(journal, *cycles)
    (aside,) = path.parent.glob("*.corrupt-*")
    assert aside.read_bytes() == b"garbage" * 1_000
    assert len(told.lost) == 1
    assert str(aside) in told.lost[0]
    assert told.restored == [1]
    assert contents(stored(path)) == contents(cycles)


def test_damage_in_use_costs_no_state(resilient: Resilient, path: Path, told: Told) -> None:
    """The file is overwritten with garbage under a running governor: state, marks and this cycle are in the new one."""
    journal = resilient()
    cycles = chain(9)
    shadow = chain(3, book="shadow")
    tell(journal, *shadow, *cycles[:8])
    journal.reached(7)
    with path.open("r+b") as file:
        file.write(seeded(5).randbytes(path.stat().st_size))
    with Path(f"{path}-wal").open("r+b") as file:
        file.write(bytes(Path(f"{path}-wal").stat().st_size))
    store = journal._store
    assert isinstance(store, Store)
    store._db.rows("PRAGMA shrink_memory")
    tell(journal, cycles[8])
    assert state_of(journal) == cycles[8].after
    assert state_of(journal, "shadow") == shadow[-1].after
    assert journal.last_reached(LIVE) == cycles[6].after.published
    assert len(told.lost) == len(told.restored) == 1
    assert len(list(path.parent.glob("*.corrupt-*Z"))) == 1
    assert stored(path)[-1].after == state_of(journal)


def test_each_episode_sets_a_damaged_journal_aside(resilient: Resilient, path: Path, told: Told) -> None:
    """A second damage, after the first was mended, is mended too."""
    path.parent.mkdir()
    journal = resilient()
    cycles = chain(6)
    for number in range(2):
        with locked_out(journal), locked(path):
            tell(journal, cycles[3 * number])
        path.write_text("garbage")
        tell(journal, *cycles[3 * number + 1 : 3 * number + 3])
    assert len(list(path.parent.glob("*.corrupt-*"))) == 2
    assert told.restored == [2, 2]
    assert contents(stored(path)) == contents(cycles[3:])


@dataclass
class Fault:
    """A store that fails on demand: before it writes, or after."""

    store: Journal
    error: Exception | None = None
    after_commit: bool = False

    def record(self, *cycles: Record, reached: Sequence[tuple[str, Publication]] = ()) -> None:
        error, self.error = self.error, None
        if error is not None and not self.after_commit:
            raise error
        self.store.record(*cycles, reached=reached)
        if error is not None:
            raise error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


@pytest.mark.parametrize("during", ["record", "write-back"])
def test_a_commit_that_failed_only_seemingly_is_not_written_twice(
    resilient: Resilient, path: Path, told: Told, during: str
) -> None:
    """A disk error after the commit leaves it open whether the cycle stands; the journal itself is asked."""
    faults: list[Exception | None] = [None, JournalUnavailableError("disk I/O error"), None, None]
    if during == "record":
        del faults[0]
    opened = iter(faults)
    journal = resilient(lambda: Fault(open_sqlite(path, busy_seconds=0.02), next(opened), after_commit=True))
    cycles = chain(6)
    if during == "write-back":
        tell(journal, *cycles[:2])
        with locked(path):
            tell(journal, cycles[2])
        tell(journal, *cycles[3:])
    else:
        tell(journal, *cycles)
    assert contents(stored(path)) == contents(cycles)
    assert (len(told.lost), len(told.restored)) == (1, 1)
    assert journal.unwritten == 0


def test_what_is_not_storage_is_not_swallowed(resilient: Resilient, path: Path) -> None:
    """A programming error in the store comes through, and is no episode."""
    journal = resilient(lambda: Fault(open_sqlite(path), ZeroDivisionError("a bug")))
    cycles = chain(2)
    with pytest.raises(ZeroDivisionError):
        tell(journal, cycles[0])
    assert (journal.lost, journal.unwritten) == (False, 0)
    tell(journal, *cycles)
    assert contents(stored(path)) == contents(cycles)


def test_an_unstorable_cycle_does_not_block_the_queue(resilient: Resilient, path: Path) -> None:
    """During an outage too it is refused at once, instead of failing every write-back from then on."""
    journal = resilient()
    cycles = chain(3)
    bad = replace(cycles[1], inputs=replace(cycles[1].inputs, pause=Pause(paused=True, reason="\udcff")))
    with locked(path):
        tell(journal, cycles[0])
        with pytest.raises(ValueError, match="surrogates"):
            tell(journal, bad)
        tell(journal, cycles[1])
    tell(journal, cycles[2])
    assert contents(stored(path)) == contents(cycles)


def test_a_full_disk_is_survived(resilient: Resilient, path: Path, told: Told) -> None:
    """When the file cannot grow the cycle goes on, and what was missed is written when there is room again."""
    journal = resilient()
    cycles = chain(60)
    tell(journal, *cycles[:5])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_192, limits[1]))
    try:
        tell(journal, *cycles[5:50])
        assert journal.lost
        assert state_of(journal) == cycles[49].after
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    tell(journal, *cycles[50:])
    assert len(told.lost) == 1
    assert told.restored == [46]
    assert contents(stored(path)) == contents(cycles)


def test_a_full_database_is_survived(resilient: Resilient, path: Path, told: Told) -> None:
    """SQLite's own "database or disk is full" is a storage reason like any other."""
    journal = resilient()
    cycles = chain(30)
    tell(journal, cycles[0])
    store = journal._store
    assert isinstance(store, Store)
    store._db.rows(f"PRAGMA max_page_count = {store._db.rows('PRAGMA page_count')[0][0]}")
    tell(journal, *cycles[1:])
    assert [message for message in told.lost if "full" in message] == told.lost != []
    assert contents(stored(path)) == contents(cycles)


def test_a_newer_journal_stops_the_start_but_not_a_running_governor(
    resilient: Resilient, path: Path, told: Told
) -> None:
    """At the start the operator must decide; in mid-run the governor goes on from memory."""
    journal = resilient()
    cycles = chain(4)
    tell(journal, *cycles[:2])
    with locked_out(journal), locked(path):
        tell(journal, cycles[2])
    plain = sqlite3.connect(path)
    plain.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    plain.close()
    tell(journal, cycles[3])
    assert journal.lost
    assert state_of(journal) == cycles[3].after
    assert len(told.lost) == 1
    with pytest.raises(JournalRefusedError):
        resilient()
    assert list(path.parent.glob("*.corrupt-*")) == []


def test_a_disk_that_damages_everything_does_not_fill_up_with_copies(
    resilient: Resilient, path: Path, told: Told
) -> None:
    """A journal is set aside once an episode; if the new one is damaged too, memory keeps going."""

    def always_damaged() -> Journal:
        path.parent.mkdir(exist_ok=True)
        path.write_text("damaged")
        raise JournalCorruptError("damaged")

    journal = resilient(always_damaged)
    cycles = chain(10)
    tell(journal, *cycles)
    assert state_of(journal) == cycles[-1].after
    assert len(told.lost) == 1
    assert len(list(path.parent.glob("*.corrupt-*"))) == 1


def test_a_journal_that_cannot_be_set_aside_is_left(resilient: Resilient, path: Path, told: Told) -> None:
    """If the damaged file cannot be moved the governor goes on from memory, and says so."""
    path.parent.mkdir()

    def damaged() -> Journal:
        raise JournalCorruptError("damaged")

    journal = resilient(damaged)
    tell(journal, *chain(2))
    assert journal.unwritten == 2
    assert len(told.lost) == 1
    assert "could not be set aside" in told.lost[0]


def test_closing_writes_back_what_it_can(resilient: Resilient, path: Path) -> None:
    """What is left at shutdown goes to the journal if that is open, and ``unwritten`` tells what did not."""
    journal = resilient()
    cycles = chain(BATCH + 20)
    with locked_out(journal), locked(path):
        tell(journal, *cycles[:-1])
    tell(journal, cycles[-1])
    assert journal.unwritten == 20
    journal.close()
    assert journal.unwritten == 0
    assert contents(stored(path)) == contents(cycles)
