"""The journal's driver for SQLite: one file in WAL mode, every commit on the disk before it counts; or memory."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from capital_governor.journal.protocol import JournalUnavailableError
from capital_governor.journal.sqlite.file import connect, connect_memory, inode, typed
from capital_governor.journal.store import Store

IN_MEMORY: Final = "the journal in memory"
VACUUM_PAGES: Final = 1_000
SPARE_PAGES: Final = 256  # free pages left in place: the next cycles use them


def open_sqlite(path: Path, *, read_only: bool = False, upgrade: bool = True, busy_seconds: float = 2.0) -> Store:
    """Open the journal at ``path``; made if there is none, with its folder, readable by its owner only.

    Args:
        path: the database; SQLite keeps ``-wal`` and ``-shm`` beside it.
        read_only: for one look beside (or without) a running writer: makes and changes nothing, and sees what was
            committed. Keep it for one command, not for the life of a process.
        upgrade: bring a journal of an older schema up to date; where the disk does not take that, it can be read, and
            writing raises JournalUnavailableError. Without, its orders can be read and written, and all else be read,
            while a governor of the older version writes it.
        busy_seconds: how long a locked database is waited for, at each transaction.

    Raises:
        JournalUnavailableError: it cannot be opened now; read-only: there is none.
        JournalCorruptError: it is no database, or a damaged one. A small file is checked in full, a large one as it is
            used, so that a start stays quick.
        JournalRefusedError: it is another program's, or of a newer version of this one.
    """
    real = Path(os.path.realpath(path))
    connection, not_upgraded = connect(real, read_only=read_only, upgrade=upgrade, busy_seconds=busy_seconds)
    return Store(SqliteDriver(connection, real, not_upgraded))


def in_memory() -> Store:
    """Return an empty journal that lasts as long as it is open."""
    return Store(SqliteDriver(connect_memory(), None))


class SqliteDriver:
    """A ``Driver`` for SQLite.

    Args:
        connection: made by ``connect`` or ``connect_memory``.
        path: of the database; None: it is in memory.
        not_upgraded: why one of an older schema is only to be read; each write fails with it.
    """

    def __init__(
        self, connection: sqlite3.Connection, path: Path | None, not_upgraded: sqlite3.Error | None = None
    ) -> None:
        self._db = connection
        self._path = path
        self._not_upgraded = not_upgraded
        self._inode = None if path is None else inode(path)

    @property
    def place(self) -> str:
        """See ``Driver``."""
        return IN_MEMORY if self._path is None else f"the journal {self._path}"

    def rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """See ``Driver``."""
        with typed(self.place, self._path):
            return self._db.execute(sql, parameters).fetchall()

    def change(self, sql: str, *parameters: object) -> int:
        """See ``Driver``."""
        with typed(self.place, self._path):
            return self._db.execute(sql, parameters).rowcount

    def change_many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """See ``Driver``."""
        if rows:
            with typed(self.place, self._path):
                self._db.executemany(sql, rows)

    @contextmanager
    def transaction(self, *, write: bool = True) -> Iterator[None]:
        """See ``Driver``."""
        with typed(self.place, self._path):
            if self._path is not None and inode(self._path) != self._inode:
                raise JournalUnavailableError(f"{self.place} was replaced by another file while in use")
            if write and self._not_upgraded is not None:
                raise self._not_upgraded
            self._db.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def give_back_space(self) -> None:
        """See ``Driver``. One call gives back at most 1,000 pages."""
        if self._path is None:
            return
        ((free,),) = self.rows("PRAGMA freelist_count")
        if free > SPARE_PAGES:
            with typed(self.place, self._path):  # a script, for that is run to its end: execute stops after a page
                self._db.executescript(f"PRAGMA incremental_vacuum({min(VACUUM_PAGES, free - SPARE_PAGES)})")

    def close(self) -> None:
        """See ``Driver``."""
        with typed(self.place, self._path):
            self._db.close()
