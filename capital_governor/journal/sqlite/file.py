"""The file of the SQLite journal: made, opened, claimed as ours, or set aside when it is damaged."""

from __future__ import annotations

import itertools
import os
import sqlite3
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random

from capital_governor.adapters.durability import sync_folder
from capital_governor.adapters.refusals import remedy
from capital_governor.adapters.rights import denied, hand_over
from capital_governor.journal.protocol import JournalCorruptError, JournalRefusedError, JournalUnavailableError
from capital_governor.journal.sqlite import notices_table, orders_table

SCHEMA_VERSION: Final = 3
"""Raise it with every change of the tables or of what the stored types mean; say in ``_UPGRADES`` how to get there."""
APPLICATION_ID: Final = 0x43474F56  # "CGOV": tells our file from any other program's
QUICK_CHECK_BYTES: Final = 16 * 1024 * 1024  # about 0.1 s; beyond that a start would feel it
WAL_KEEP_BYTES: Final = 4 * 1024 * 1024
ELSEWHERE: Final = "name a file on a local disk as the journal (CAPITAL_GOVERNOR_JOURNAL)"
CACHE_KIB: Final = 512  # a cycle uses few pages twice: SQLite's 2,000 is not faster, with ten thousand agents either

_SCHEMA: Final = (
    """CREATE TABLE states (
        id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used twice, so that a remembered id stays true
        digest BLOB NOT NULL UNIQUE, doc BLOB NOT NULL)""",
    "CREATE TABLE rules (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, doc TEXT NOT NULL)",
    """CREATE TABLE cycles (
        seq INTEGER PRIMARY KEY, book TEXT NOT NULL, at REAL NOT NULL, reason TEXT NOT NULL,
        generation INTEGER,          -- of what was proposed
        published INTEGER,           -- generation that stood afterwards
        decided INTEGER NOT NULL,    -- 1: came as far as scores
        inputs BLOB NOT NULL, decision BLOB NOT NULL,
        rules INTEGER NOT NULL REFERENCES rules (id),
        state_before INTEGER NOT NULL REFERENCES states (id),
        state_after INTEGER NOT NULL REFERENCES states (id),
        state_decided INTEGER REFERENCES states (id))  -- NULL: as state_after, but published as in state_before""",
    """CREATE TABLE publications (
        book TEXT NOT NULL, generation INTEGER NOT NULL, at REAL NOT NULL, reached INTEGER NOT NULL,
        doc TEXT NOT NULL, PRIMARY KEY (book, generation))""",
    "CREATE INDEX cycles_at ON cycles (at)",
    "CREATE INDEX cycles_book ON cycles (book, seq)",
    "CREATE INDEX cycles_decided ON cycles (book, seq) WHERE decided = 1",
    "CREATE INDEX cycles_generation ON cycles (book, reason) WHERE generation IS NOT NULL",
    "CREATE INDEX cycles_state_before ON cycles (state_before)",
    "CREATE INDEX cycles_state_after ON cycles (state_after)",
    "CREATE INDEX cycles_state_decided ON cycles (state_decided) WHERE state_decided IS NOT NULL",
    "CREATE INDEX publications_at ON publications (at)",
    "CREATE INDEX publications_reached ON publications (book, generation) WHERE reached = 1",
    *notices_table.SCHEMA,
    *orders_table.SCHEMA,
)
_UPGRADES: Final[Mapping[int, tuple[str, ...]]] = {1: orders_table.SCHEMA, 2: ()}
"""What makes a journal of each older schema one of the next; from 2 to 3 only the content of rows has changed."""
_TABLES: Final = {
    1: frozenset({"states", "rules", "cycles", "publications", "notices"}),
    2: frozenset({"states", "rules", "cycles", "publications", "notices", "orders"}),
    3: frozenset({"states", "rules", "cycles", "publications", "notices", "orders"}),
}
"""What a journal of each schema holds at least."""


def connect(path: Path, *, read_only: bool, busy_seconds: float) -> sqlite3.Connection:
    """Open the database at ``path``, a resolved one, as ``open_sqlite`` says."""
    with typed(path):
        if not read_only:
            _make_file(path)
        where = _reading_uri(path) if read_only else str(path)
        connection = sqlite3.connect(
            where,
            uri=read_only,
            timeout=busy_seconds,
            isolation_level=None,
            check_same_thread=False,
            factory=_Reader if read_only else sqlite3.Connection,
        )
        try:
            _claim(connection, path, read_only=read_only)
        except BaseException:
            connection.close()
            raise
        return connection


def set_aside(path: Path, now: float) -> Path:
    """Move a damaged journal out of the way, to NAME.corrupt-YYYYmmddTHHMMSSZ (UTC of ``now``), and return that path.

    Its ``-wal`` and ``-shm`` go with it. Nothing may have it open for writing. Raises OSError.
    """
    path = Path(os.path.realpath(path))
    base = f"{path.name}.corrupt-{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}"
    names = itertools.chain([base], (f"{base}-{number}" for number in itertools.count(2)))
    aside = next(place for place in map(path.with_name, names) if not os.path.lexists(place))
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        companion = Path(f"{path}{suffix}")
        if companion.exists():
            companion.rename(f"{aside}{suffix}")
    sync_folder(path.parent)
    return aside


def _make_file(path: Path) -> None:
    """Make an empty file for the owner only, unless there is one; its mode and owner stay as they are then."""
    _make_folder(path.parent)
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        if not stat.S_ISREG(path.stat().st_mode):
            raise JournalUnavailableError(f"{path} is not a regular file: move it, or name another journal") from None
        return
    os.close(handle)
    hand_over(path)
    sync_folder(path.parent)


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        hand_over(folder)


def _reading_uri(path: Path) -> str:
    """Return how to open ``path`` without making a file beside it.

    ``mode=ro`` alone makes ``-wal`` and ``-shm`` where there are none, perhaps of an owner that locks the writer out.
    """
    wal, shm = Path(f"{path}-wal"), Path(f"{path}-shm")
    if not path.is_file():
        raise JournalUnavailableError(f"there is no journal at {path}")
    if wal.exists() and shm.exists():
        return f"{path.as_uri()}?mode=ro&readonly_shm=1"
    if wal.exists() and wal.stat().st_size:
        raise JournalUnavailableError(
            f"{wal} has commits but no {shm.name} beside it: start the governor to recover it"
        )
    return f"{path.as_uri()}?mode=ro&immutable=1"


def _claim(connection: sqlite3.Connection, path: Path, *, read_only: bool) -> None:
    """Make sure that this is a journal of ours, sound as far as that can be seen quickly; lay down a new one."""
    connection.execute("BEGIN")  # one look at all three: another process may be laying it down
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    connection.execute("ROLLBACK")
    empty = not tables and version == 0
    if empty and read_only:
        raise JournalUnavailableError(f"the journal {path} is empty")
    if not empty and owner != APPLICATION_ID:
        raise JournalRefusedError(f"{path} is the database of another program: name another file as the journal")
    if version > SCHEMA_VERSION:
        raise JournalRefusedError(
            f"the journal {path} has schema {version}, this version knows up to {SCHEMA_VERSION}: "
            "run the newer version again, or name another file as the journal"
        )
    if not empty and (missing := _TABLES.get(version, frozenset({"its version"})) - tables):
        raise JournalCorruptError(f"the journal {path} lacks {', '.join(sorted(missing))}")
    if read_only:
        return
    _configure(connection, path, empty=empty)
    if version < SCHEMA_VERSION:
        _bring_up_to_date(connection)
    if path.stat().st_size <= QUICK_CHECK_BYTES:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise JournalCorruptError(f"the journal {path} is damaged: {verdict}")


def _configure(connection: sqlite3.Connection, path: Path, *, empty: bool) -> None:
    """Set what this connection needs; in an ``empty`` file also what stays with it."""
    if empty:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # only possible before the first table
    (mode,) = _when_not_busy(lambda: connection.execute("PRAGMA journal_mode = WAL").fetchone())
    if mode != "wal":
        raise JournalUnavailableError(f"the file system of {path} cannot hold a WAL journal ({mode}): {ELSEWHERE}")
    for setting in (
        "synchronous = FULL",
        "foreign_keys = ON",
        f"journal_size_limit = {WAL_KEEP_BYTES}",
        f"cache_size = -{CACHE_KIB}",  # negative: in KiB, not in pages
    ):
        connection.execute(f"PRAGMA {setting}").fetchall()


class _Reader(sqlite3.Connection):
    """A connection that only reads, beside a process that writes.

    Where the writer is just changing the index of its WAL and has done so a moment later, SQLite takes the journal for
    one that has to be recovered, and says that a reader cannot.
    """

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:  # noqa: ANN401 - as the library has it
        """Execute a statement, again for a second where the journal seems to want recovery."""
        return _when_consistent(super().execute, sql, parameters)


_when_consistent: Final = Retrying(
    retry=retry_if_exception(lambda error: getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY_RECOVERY),
    stop=stop_after_delay(1.0),
    wait=wait_random(0.001, 0.02),
    reraise=True,
)


# SQLite does not wait by itself for whoever else turns on the WAL at this moment: both might wait for each other.
_when_not_busy: Final = Retrying(
    retry=retry_if_exception(lambda error: getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY),
    stop=stop_after_delay(1.0),
    wait=wait_random(0.01, 0.05),
    reraise=True,
)


def _bring_up_to_date(connection: sqlite3.Connection) -> None:
    """Lay down the tables of a new journal, or add what an older schema lacks; all of it or nothing.

    Another process may have done so a moment ago, so the version is asked again under the lock.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        statements = _SCHEMA if version == 0 else _upgrade_from(version)
        for statement in statements:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def _upgrade_from(version: int) -> Iterator[str]:
    for older in range(version, SCHEMA_VERSION):
        yield from _UPGRADES[older]


@contextmanager
def typed(path: Path) -> Iterator[None]:
    """Turn storage failures into JournalErrors; wrong use of the library stays what it is."""
    try:
        yield
    except (sqlite3.ProgrammingError, sqlite3.InterfaceError, sqlite3.NotSupportedError):
        raise
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)  # without: a text that is not UTF-8
        damaged = code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
        kind = JournalCorruptError if damaged else JournalUnavailableError
        name = getattr(error, "sqlite_errorname", "no code")
        clause = "" if damaged else _remedy(path, name)
        raise kind(f"the journal {path}: {error} ({name}){clause and f'; {clause}'}") from error
    except OSError as error:
        clause = f"{remedy(error)}, or {ELSEWHERE}" if remedy(error) else ELSEWHERE
        raise JournalUnavailableError(f"the journal {path}: {error.strerror or error}; {clause}") from error


def _remedy(path: Path, name: str) -> str:
    """Return what a person does about an error of SQLite's, by its name, as one clause."""
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM")):
        return denied(path) or f"let the governor's user write to it and to its folder, or {ELSEWHERE}"
    if name.startswith("SQLITE_BUSY"):
        return f"end the program that holds it; if none does, its file system cannot lock files: {ELSEWHERE}"
    if name.startswith(("SQLITE_PROTOCOL", "SQLITE_NOLFS", "SQLITE_IOERR_SHM")) or name in _NO_LOCKS:
        return f"its file system cannot lock or share files as SQLite needs it: {ELSEWHERE}"
    if name.startswith("SQLITE_FULL"):
        return "free some space"
    return "check the disk" if name.startswith("SQLITE_IOERR") else ""


_NO_LOCKS: Final = {f"SQLITE_IOERR_{what}" for what in ("LOCK", "UNLOCK", "RDLOCK", "CHECKRESERVEDLOCK")}


def inode(path: Path) -> tuple[int, int]:
    """Return what tells this file from another that took its name."""
    found = path.stat()
    return found.st_dev, found.st_ino
