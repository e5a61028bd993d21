"""The file of a SQLite journal: makes, opens and checks it, and sets a damaged one aside."""

from __future__ import annotations

import itertools
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random

from capital_governor import __version__
from capital_governor.adapters.durability import sync_folder
from capital_governor.adapters.permissions import denied, hand_over
from capital_governor.adapters.refusals import remedy
from capital_governor.journal.protocol import JournalCorruptError, JournalRefusedError, JournalUnavailableError
from capital_governor.journal.sqlite.upgrades import OLDER_TABLES, OLDER_WITH_ORDERS, content_digest, statements, views
from capital_governor.journal.tables import SCHEMA_VERSION, TABLES

APPLICATION_ID: Final = 0x43474F56  # "CGOV": marks the file as this program's
QUICK_CHECK_BYTES: Final = 16 * 1024 * 1024  # takes about 0.1 s; more would slow the start
WAL_KEEP_BYTES: Final = 4 * 1024 * 1024
ELSEWHERE: Final = "name a file on a local disk as the journal (CAPITAL_GOVERNOR_JOURNAL)"
JOURNAL_SUFFIXES: Final = frozenset({".sqlite3", ".sqlite", ".db"})
"""A file with such a name that is no database is a damaged journal, and is set aside; any other is another's file."""
CACHE_KIB: Final = 512  # SQLite's default of 2,000 KiB is not faster, even with 10,000 agents


def connect(
    path: Path, *, read_only: bool, upgrade: bool, busy_seconds: float
) -> tuple[sqlite3.Connection, sqlite3.Error | None]:
    """Open the database at ``path``, which has no symlinks; see ``open_sqlite``.

    Also return why a journal of an older schema could not be upgraded and so must not be written; None if it may.
    """
    with journal_failures(f"the journal {path}", path):
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
            connection.create_function("content_digest", 1, content_digest, deterministic=True)
            not_upgraded = _claim(connection, path, read_only=read_only, upgrade=upgrade)
        except BaseException:
            connection.close()
            raise
        return connection, not_upgraded


def connect_memory() -> sqlite3.Connection:
    """Return a connection to an empty journal in memory."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    for statement in statements(0):
        connection.execute(statement)
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def set_aside(path: Path, now: float) -> Path:
    """Move a damaged journal out of the way, to NAME.corrupt-YYYYmmddTHHMMSSZ (UTC of ``now``), and return that path.

    Its ``-wal`` and ``-shm`` are moved too. No process may have it open for writing. Raises OSError.
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
    """Make an empty file for the owner only; an existing file keeps its mode and owner."""
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
    """Return the URI that opens ``path`` for reading without making a file beside it.

    ``mode=ro`` alone would make missing ``-wal`` and ``-shm`` files, perhaps with an owner that locks the writer out.
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


def _claim(connection: sqlite3.Connection, path: Path, *, read_only: bool, upgrade: bool) -> sqlite3.Error | None:
    """Check that this is a journal of this program and, quickly, that it is sound; make the tables of a new one.

    Return why an older schema could not be upgraded now; the journal can be read meanwhile. None if it is up to date.
    """
    version, empty = _schema_of(connection, path)
    if read_only:
        if empty:
            raise JournalUnavailableError(f"the journal {path} is empty")
    else:
        _configure(connection, path, empty=empty)
    as_it_is, not_upgraded = read_only or (not upgrade and version in OLDER_WITH_ORDERS), None
    if not as_it_is and version < SCHEMA_VERSION:
        try:
            _bring_up_to_date(connection)
        except sqlite3.OperationalError as error:
            if empty or error.sqlite_errorcode & 0xFF not in _MAY_BE_OVER:
                raise
            as_it_is, not_upgraded = True, error
    if as_it_is:
        for statement in views(version):
            connection.execute(statement)
    if not read_only and path.stat().st_size <= QUICK_CHECK_BYTES:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise JournalCorruptError(f"the journal {path} is damaged: {verdict}")
    return not_upgraded


_MAY_BE_OVER: Final = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR}
"""SQLite's errors that prevent writing, but not reading."""


def _schema_of(connection: sqlite3.Connection, path: Path) -> tuple[int, bool]:
    """Return a journal's schema, 0 if it has none yet, and whether the file is empty. Check whose it is."""
    connection.execute("BEGIN")  # reads all three at once, since another process may be making the tables
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    connection.execute("ROLLBACK")
    empty = not tables and version == 0
    if not empty and owner != APPLICATION_ID:
        raise JournalRefusedError(f"{path} is the database of another program: name another file as the journal")
    if version > SCHEMA_VERSION:
        raise JournalRefusedError(
            f"the journal {path} has schema {version}, this version ({__version__}) knows up to {SCHEMA_VERSION}: "
            "run the newer version again, or name another file as the journal"
        )
    known = {**OLDER_TABLES, SCHEMA_VERSION: TABLES}
    if not empty and (missing := known.get(version, frozenset({"its version"})) - tables):
        raise JournalCorruptError(f"the journal {path} lacks {', '.join(sorted(missing))}")
    return version, empty


def _configure(connection: sqlite3.Connection, path: Path, *, empty: bool) -> None:
    """Set the pragmas of this connection, and in an ``empty`` file also those of the file."""
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

    While the writer changes the index of its WAL, SQLite may report that the journal needs recovery, which a reader
    cannot do. A moment later it can be read.
    """

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:  # noqa: ANN401 - the signature of the library
        """Execute a statement; try again for up to a second while the journal seems to need recovery."""
        return _when_consistent(super().execute, sql, parameters)


_when_consistent: Final = Retrying(
    retry=retry_if_exception(lambda error: getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY_RECOVERY),
    stop=stop_after_delay(1.0),
    wait=wait_random(0.001, 0.02),
    reraise=True,
)


# SQLite does not wait if another process turns on WAL mode at the same moment, since both might wait for each other.
_when_not_busy: Final = Retrying(
    retry=retry_if_exception(lambda error: getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY),
    stop=stop_after_delay(1.0),
    wait=wait_random(0.01, 0.05),
    reraise=True,
)


def _bring_up_to_date(connection: sqlite3.Connection) -> None:
    """Make the tables of a new journal, or upgrade an older schema, in one transaction.

    Another process may have done so a moment ago, so the version is read again under the lock.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        for statement in statements(version):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


@contextmanager
def journal_failures(place: str, path: Path | None) -> Iterator[None]:
    """Turn storage failures into JournalErrors that name ``place``; errors of wrong use are passed on."""
    try:
        yield
    except (sqlite3.ProgrammingError, sqlite3.InterfaceError, sqlite3.NotSupportedError):
        raise
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)  # no code: a text is not UTF-8
        if code & 0xFF == sqlite3.SQLITE_NOTADB and path is not None and path.suffix not in JOURNAL_SUFFIXES:
            raise JournalRefusedError(
                f"{path} is not a database: name another file as the journal (CAPITAL_GOVERNOR_JOURNAL); if it was the "
                "journal, it is damaged: move it away"
            ) from error
        damaged = code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
        kind = JournalCorruptError if damaged else JournalUnavailableError
        name = getattr(error, "sqlite_errorname", "no code")
        clause = "" if damaged or path is None else _remedy(path, name)
        raise kind(f"{place}: {error} ({name}){clause and f'; {clause}'}") from error
    except OSError as error:
        clause = f"{remedy(error)}, or {ELSEWHERE}" if remedy(error) else ELSEWHERE
        raise JournalUnavailableError(f"{place}: {error.strerror or error}; {clause}") from error


def _remedy(path: Path, name: str) -> str:
    """Return what a person can do about an error of SQLite, by its name, as one clause."""
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
    """Return device and inode, which differ if another file has taken this name."""
    found = path.stat()
    return found.st_dev, found.st_ino
