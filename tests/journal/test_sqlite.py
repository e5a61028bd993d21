"""The journal in a SQLite file: its form, what goes wrong with it, and reading beside a writer."""

from __future__ import annotations

import itertools
import json
import os
import re
import sqlite3
import stat
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from capital_governor import __version__
from capital_governor.core.model import (
    Inputs,
    Pause,
    Refusal,
    State,
)
from capital_governor.core.reason import Reason
from capital_governor.journal.codec import decode, encode
from capital_governor.journal.protocol import (
    LIVE,
    Journal,
    JournalCorruptError,
    JournalRefusedError,
    JournalUnavailableError,
)
from capital_governor.journal.sqlite.file import APPLICATION_ID, journal_failures, set_aside
from capital_governor.journal.sqlite.sqlite_driver import SqliteDriver, open_sqlite
from capital_governor.journal.store import Store
from capital_governor.journal.tables import SCHEMA_VERSION
from tests.rigs.cycle_rig import footprint
from tests.rigs.journal_cycles import (
    DAY,
    NOW,
    chain,
    check_chain,
    contents,
    decided,
    held,
    linked,
    moved,
    say,
    seeded,
    state_of,
    stored,
    tell,
)


def test_how_the_database_is_set_up(sqlite: Store) -> None:
    """WAL, every commit on the disk, free pages can be given back, references are checked; little kept in memory."""
    settings_found = {
        name: sqlite._db.rows(f"PRAGMA {name}")[0][0]
        for name in (
            "journal_mode",
            "synchronous",
            "auto_vacuum",
            "foreign_keys",
            "user_version",
            "application_id",
            "cache_size",
        )
    }
    assert settings_found == {
        "journal_mode": "wal",
        "synchronous": 2,
        "auto_vacuum": 2,
        "foreign_keys": 1,
        "user_version": SCHEMA_VERSION,
        "application_id": APPLICATION_ID,
        "cache_size": -512,
    }


def test_only_the_owner_can_read_a_new_journal(path: Path) -> None:
    """The database and what SQLite puts beside it are made with mode 0600, whatever the umask."""
    before = os.umask(0)
    try:
        journal = open_sqlite(path)
        tell(journal, *chain(1))
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
        journal.close()
    finally:
        os.umask(before)
    assert modes == dict.fromkeys((path.name, f"{path.name}-shm", f"{path.name}-wal"), 0o600)


def test_the_mode_of_an_existing_journal_is_the_operators(path: Path) -> None:
    """Opening it again changes no mode."""
    open_sqlite(path).close()
    path.chmod(0o640)
    open_sqlite(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_any_sqlite_tool_can_list_the_cycles(path: Path) -> None:
    """Time, reason and generation are plain columns, rules JSON, publications JSON under zlib, each stored once."""
    journal = open_sqlite(path)
    cycles = chain(6)
    tell(journal, *cycles)
    journal.close()
    plain = sqlite3.connect(path)
    try:
        rows = plain.execute("SELECT book, at, reason, generation FROM cycles WHERE at >= ?", (NOW + 600,)).fetchall()
        rules = plain.execute("SELECT json_extract(doc, '$.max_alloc') FROM rules").fetchall()
        docs = plain.execute("SELECT generation, doc FROM publications").fetchall()
        ((states,),) = plain.execute("SELECT count(*) FROM states")
    finally:
        plain.close()
    assert rows[:2] == [(LIVE, NOW + 600, "fetch_failed", None), (LIVE, NOW + 900, "threshold", 4)]
    assert rules == [(0.4,)]
    found = [(number, json.loads(zlib.decompress(doc))["shares"]["b"]) for number, doc in docs]
    assert found == [(1, 320_000), (4, 160_000)]
    assert states == 7  # the first, and one after each cycle


def test_a_state_that_does_not_change_takes_no_room(sqlite: Store) -> None:
    """Cycles that leave the state as it is refer to one row, also when it is an equal object and not the same."""
    state = moved(State(), NOW).after
    for number in range(10):
        same = replace(decode(State, encode(state)))
        tell(sqlite, decided(same, Inputs(NOW + number, Refusal(Reason.FETCH_FAILED, "refused"))))
    assert sqlite._db.rows("SELECT count(*) FROM states") == [(1,)]


def test_a_fresh_process_finds_the_state(path: Path) -> None:
    """What one process recorded, another reads, to the last digit, publication and marks included."""
    journal = open_sqlite(path)
    cycles = chain(8)
    tell(journal, *cycles)
    journal.reached(4)
    journal.close()
    script = (
        "import sys; from pathlib import Path\n"
        "from capital_governor.journal.sqlite.sqlite_driver import in_memory, open_sqlite\n"
        "j = open_sqlite(Path(sys.argv[1]))\n"
        "print(repr((j.head('live').state, j.unreached('live'), j.last_reached('live'))))\n"
        "j.close()"
    )
    found = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == repr((cycles[-1].after, cycles[-1].after.published, cycles[3].after.published))


def test_threads_may_take_turns(sqlite: Store) -> None:
    """The journal is opened in one thread and used in another."""
    cycles = chain(3)
    with ThreadPoolExecutor(1) as executor:
        executor.submit(tell, sqlite, *cycles).result()
    assert state_of(sqlite) == cycles[-1].after


def test_deleted_cycles_give_their_room_back(path: Path) -> None:
    """After retention the file shrinks, by a bounded number of pages and entries a call."""
    journal = open_sqlite(path)
    rng = seeded(3)
    cycles, state = [], State()
    for number in range(900):
        cycles.append(held(state, NOW + number, detail=rng.randbytes(2_500).hex()))
        state = cycles[-1].after
    journal.record(*linked(cycles))
    journal.close()
    full = path.stat().st_size
    journal = open_sqlite(path)
    try:
        sizes, deleted = [], []
        for _ in range(6):
            deleted.append(journal.prune(NOW + 100 * DAY, 90))
            journal._db.rows("PRAGMA wal_checkpoint(TRUNCATE)")
            sizes.append(path.stat().st_size)
        ((states,),) = journal._db.rows("SELECT count(*) FROM states")
        assert state_of(journal) == state
    finally:
        journal.close()
    say(f"size {full} -> {sizes}, deleted {deleted}")
    assert deleted == [200, 200, 200, 200, 99, 0]
    assert states == 2  # before and after the newest
    assert all(0 <= earlier - later <= 1_100 * 4_096 for earlier, later in itertools.pairwise([full, *sizes]))
    assert sizes[-1] < 1_500_000 < full


def test_retention_bounds_bytes_too(sqlite: Store) -> None:
    """Large entries are deleted a few at a time."""
    rng = seeded(3)
    state = State()
    for number in range(14):
        cycle = held(state, NOW + number, detail=rng.randbytes(500_000).hex())
        tell(sqlite, cycle)
        state = cycle.after
    deleted = [sqlite.prune(NOW + 100 * DAY, 90) for _ in range(3)]
    assert sum(deleted) == 13
    assert 5 <= deleted[0] <= 10


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_an_empty_file_becomes_a_journal(path: Path) -> None:
    """A file of no bytes, as a crash between making and filling leaves it, is filled."""
    path.parent.mkdir()
    path.touch()
    open_sqlite(path).close()
    assert stored(path) == []


@pytest.mark.parametrize("damage", ["garbage", "text", "truncated", "page", "zlib", "json", "table"])
def test_damage_is_a_typed_error(path: Path, damage: str) -> None:
    """Whatever is wrong with the file, opening or reading it says that it is damaged."""
    journal = open_sqlite(path)
    journal.record(*linked(chain(200)))
    journal.close()
    content = path.read_bytes()
    if damage == "garbage":
        path.write_bytes(seeded(1).randbytes(50_000))
    elif damage == "text":
        path.write_text("this is no database\n" * 200)
    elif damage == "truncated":
        path.write_bytes(content[: len(content) // 2 // 4_096 * 4_096])
    elif damage == "page":
        middle = len(content) // 2 // 4_096 * 4_096
        path.write_bytes(content[:middle] + b"\x5a" * 4_096 + content[middle + 4_096 :])
    else:
        plain = sqlite3.connect(path)
        statement = {
            "zlib": "UPDATE states SET doc = x'00112233'",
            "json": "UPDATE publications SET doc = '{}'",
            "table": "DROP TABLE publications",
        }[damage]
        plain.execute("PRAGMA foreign_keys = OFF")
        plain.execute(statement)
        plain.execute("UPDATE publications SET reached = 1") if damage == "json" else None
        plain.commit()
        plain.close()
    with pytest.raises(JournalCorruptError):  # noqa: PT012 - which of the calls notices depends on the damage
        journal = open_sqlite(path)
        try:
            state_of(journal)
            journal.last_reached(LIVE)
        finally:
            journal.close()


def test_a_newer_journal_is_refused_and_left_alone(path: Path) -> None:
    """A schema this version does not know is no damage: the error says what to do, and no byte changes."""
    open_sqlite(path).close()
    plain = sqlite3.connect(path)
    plain.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    plain.close()
    before = path.read_bytes()
    for read_only in (False, True):
        with pytest.raises(JournalRefusedError, match=rf"schema {SCHEMA_VERSION + 1}.*{__version__}.*newer version"):
            open_sqlite(path, read_only=read_only)
    assert path.read_bytes() == before


def test_another_programs_database_is_refused_and_left_alone(path: Path) -> None:
    """A path that names a foreign database by mistake costs that program nothing."""
    path.parent.mkdir()
    plain = sqlite3.connect(path)
    plain.execute("CREATE TABLE trades (id)")
    plain.close()
    before = path.read_bytes()
    with pytest.raises(JournalRefusedError, match="another program"):
        open_sqlite(path)
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("what", ["folder", "fifo", "below a file"])
def test_a_place_that_is_no_file_is_unavailable(path: Path, what: str) -> None:
    """A folder, a FIFO or a file in the way is said in a JournalUnavailableError, without hanging."""
    if what == "below a file":
        path.parent.write_text("")
    else:
        path.parent.mkdir()
        path.mkdir() if what == "folder" else os.mkfifo(path)
    with pytest.raises(
        JournalUnavailableError, match="File exists" if what == "below a file" else "not a regular file"
    ):
        open_sqlite(path)


def test_every_kind_of_damage_sqlite_tells_apart_is_damage(path: Path) -> None:
    """SQLite refines "malformed" into finer codes; each of them means that waiting does not help."""
    error = sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT_INDEX
    with pytest.raises(JournalCorruptError, match="malformed"), journal_failures("the journal", path):
        raise error


def test_a_lock_is_waited_for_briefly(sqlite: Store, path: Path) -> None:
    """Someone else's transaction makes recording fail with a typed error after a while, and nothing is written."""
    cycles = chain(2)
    tell(sqlite, cycles[0])
    other = sqlite3.connect(path, isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        begin = time.perf_counter()
        with pytest.raises(JournalUnavailableError, match="locked"):
            tell(sqlite, cycles[1])
        waited = time.perf_counter() - begin
        assert state_of(sqlite) == cycles[0].after
        other.execute("ROLLBACK")
    finally:
        other.close()
    say(f"waited {waited:.3f} s")
    tell(sqlite, cycles[1])
    assert contents(list(sqlite.entries(LIVE))) == contents(cycles)


@pytest.mark.parametrize("journal", ["sqlite", "resilient"], indirect=True)
def test_what_cannot_be_encoded_leaves_no_trace(journal: Journal) -> None:
    """A fault of the caller is a ValueError, and the transaction it was in is undone as a whole."""
    cycles = chain(3)
    bad = replace(cycles[2], inputs=replace(cycles[2].inputs, pause=Pause(paused=True, reason="\udcff")))
    with pytest.raises(ValueError, match="surrogates"):
        journal.record(*linked([*cycles[:2], bad]))
    assert list(journal.entries(LIVE)) == []
    tell(journal, *cycles[1:])
    journal.reached(1)
    assert contents(list(journal.entries(LIVE))) == contents(cycles[1:])
    assert journal.last_reached(LIVE) == cycles[0].after.published


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_a_journal_that_was_taken_away_is_noticed(sqlite: Store, path: Path, how: str) -> None:
    """A commit into a deleted or replaced file would be lost, so it is refused."""
    cycles = chain(2)
    tell(sqlite, cycles[0])
    path.unlink()
    if how == "replaced":
        path.write_bytes(b"")
    with pytest.raises(JournalUnavailableError):
        tell(sqlite, cycles[1])


@pytest.mark.parametrize("read_only", [True, False])
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, *, read_only: bool) -> None:
    """A path that names a script or a document by mistake costs nothing, and nothing is made beside it."""
    script = tmp_path / "agent.py"
    script.write_text("print('an agent')\n" * 200)
    before = footprint(script)
    with pytest.raises(JournalRefusedError, match=r"agent[.]py is not a database: name another file"):
        open_sqlite(script, read_only=read_only)
    assert footprint(script) == before
    assert list(tmp_path.iterdir()) == [script]


def test_wrong_use_is_not_taken_for_a_storage_failure(path: Path) -> None:
    """A closed journal is a fault of the program: sqlite3's own error comes through."""
    journal = open_sqlite(path)
    journal.close()
    with pytest.raises(sqlite3.ProgrammingError):
        state_of(journal)


def test_damaged_journals_are_set_aside_under_names_of_their_own(path: Path) -> None:
    """The name says when in UTC, the companions go along, and nothing that lies there is overwritten."""
    path.parent.mkdir()
    places = []
    for number in range(3):
        path.write_text(f"garbage {number}")
        Path(f"{path}-wal").write_text(f"wal {number}")
        places.append(set_aside(path, NOW))
    base = "journal.sqlite3.corrupt-20251103T200000Z"
    assert [place.name for place in places] == [base, f"{base}-2", f"{base}-3"]
    assert [place.read_text() for place in places] == ["garbage 0", "garbage 1", "garbage 2"]
    assert [Path(f"{place}-wal").read_text() for place in places] == ["wal 0", "wal 1", "wal 2"]
    assert not path.exists()


WRITER = """
import sys
from pathlib import Path
from capital_governor.core.model import State
from capital_governor.journal.sqlite.sqlite_driver import SqliteDriver, open_sqlite
from tests.rigs.journal_cycles import NOW, held, tell
journal = open_sqlite(Path(sys.argv[1]))
while True:
    head = journal.head("live")
    cycle = held(State() if head is None else head.state, NOW)
    tell(journal, cycle)
    print(cycle.after.generation, flush=True)
"""


@contextmanager
def writer(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that records cycles as fast as it can, saying the number of each when it is durable."""
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_killed_writer_leaves_whole_transactions_only(path: Path) -> None:
    """After kill -9 at a random moment the journal opens, and holds every cycle that was said to be durable."""
    rng = seeded(11)
    kills = recorded = 0
    for _ in range(6):
        with writer(path) as process:
            assert process.stdout is not None
            said = int(process.stdout.readline())
            time.sleep(rng.uniform(0.0, 0.15))
            process.kill()
            said = max([said, *(int(line) for line in process.stdout.read().split(b"\n")[:-1])])
        kills += 1
        looked = stored(path)  # a reader before any writer has recovered it
        journal = open_sqlite(path)
        try:
            entries = list(journal.entries(LIVE))
            assert journal._db.rows("PRAGMA integrity_check") == [("ok",)]
            assert journal._db.rows("PRAGMA foreign_key_check") == []
            assert state_of(journal) == entries[-1].after
        finally:
            journal.close()
        assert looked == entries
        check_chain(entries)
        recorded = len(entries)
        assert entries[-1].after.generation == recorded
        assert said <= recorded <= said + 1
    say(f"{kills} kills, {recorded} cycles, none torn, none lost")


# --- reading beside a writer ------------------------------------------------------------------------------------------


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    return {each.name: (each.stat().st_size, each.stat().st_mtime_ns) for each in folder.iterdir()}


def test_a_reader_beside_a_busy_writer_sees_whole_cycles(path: Path) -> None:
    """Reading neither fails nor blocks the writer, and what is seen only grows."""
    with writer(path) as process:
        assert process.stdout is not None
        process.stdout.readline()
        counts = []
        for _ in range(15):
            journal = open_sqlite(path, read_only=True)
            try:
                entries = list(journal.entries(LIVE, last=60))
                state = state_of(journal)
                assert state is not None
                counts.append(journal._db.rows("SELECT count(*) FROM cycles")[0][0])
            finally:
                journal.close()
            check_chain(entries)
            assert entries[-1].after.generation <= state.generation <= counts[-1]
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]
    say(f"15 looks while the writer went from {counts[0]} to {counts[-1]}")


@pytest.mark.parametrize("when", ["open", "closed", "killed"])
def test_a_reader_changes_nothing(path: Path, when: str) -> None:
    """No file is made or touched by looking, be the writer running, gone or dead."""
    cycles = chain(3)
    journal = open_sqlite(path)
    tell(journal, *cycles)
    if when == "closed":
        journal.close()
    if when == "killed":
        journal.close()
        with writer(path) as process:
            assert process.stdout is not None
            process.stdout.readline()
        process.wait()
    before = listing(path.parent)
    found = stored(path)
    assert listing(path.parent) == before
    assert contents(found[:3]) == contents(cycles)
    assert len(before) == (1 if when == "closed" else 3)
    journal.close()


def test_a_reader_of_nothing_makes_nothing(path: Path) -> None:
    """Looking for a journal that is not there is an error and leaves no folder behind."""
    with pytest.raises(JournalUnavailableError, match="no journal"):
        open_sqlite(path, read_only=True)
    assert not path.parent.exists()


def test_a_reader_cannot_write(path: Path) -> None:
    """A journal opened for reading refuses to record."""
    open_sqlite(path).close()
    journal = open_sqlite(path, read_only=True)
    try:
        with pytest.raises(JournalUnavailableError, match="readonly"):
            tell(journal, *chain(1))
    finally:
        journal.close()


# --- what grows with the journal --------------------------------------------------------------------------------------


def test_no_question_of_a_cycle_reads_the_whole_journal(sqlite: Store) -> None:
    """Whatever a cycle, a start and the digest ask is found by an index, and sorted by none but what it returns."""
    asked: set[str] = set()
    driver = sqlite._db
    assert isinstance(driver, SqliteDriver)
    tell(sqlite, *chain(3))
    driver._db.set_trace_callback(asked.add)
    tell(sqlite, *chain(2, state=state_of(sqlite), at=NOW + 900))
    sqlite.reached(4)
    sqlite.unreached(LIVE)
    sqlite.last_reached(LIVE)
    sqlite.last_decided(LIVE)
    list(sqlite.entries(LIVE, last=1))
    sqlite.timeline(LIVE, NOW)
    sqlite.first_at(LIVE)
    sqlite.prune(NOW + 100 * DAY, 90)
    driver._db.set_trace_callback(None)
    plans = {
        sql: [row[3] for row in driver.rows(f"EXPLAIN QUERY PLAN {sql}")]
        for sql in asked
        if sql.split()[0] in {"SELECT", "UPDATE", "DELETE"}
    }
    assert len(plans) > 20
    scans = {
        sql: plan
        for sql, plan in plans.items()
        if any(re.match(r"SCAN (?!heads\b|wanted\b|CONSTANT|orders\b|pragma_table_info\b)", step) for step in plan)
    }
    assert scans == {}
