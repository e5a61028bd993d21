"""The journal's driver for SQLite: one file in WAL mode, with an fsync at nearly every commit; or in memory."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

from capital_governor.journal.protocol import JournalUnavailableError
from capital_governor.journal.sqlite.file import connect, connect_memory, inode, journal_failures
from capital_governor.journal.store import Store

IN_MEMORY: Final = "the journal in memory"
VACUUM_PAGES: Final = 1_000
SPARE_PAGES: Final = 256  # free pages that stay for the next cycles


def open_sqlite(path: Path, *, read_only: bool = False, upgrade: bool = True, busy_seconds: float = 2.0) -> Store:
    """Open the journal at ``path``. If there is none, make it and its folder, readable by the owner only.

    Args:
        path: the database; SQLite keeps ``-wal`` and ``-shm`` beside it.
        read_only: make and change nothing, and see what was committed. For one command, with or without a running
            governor; not for the life of a process.
        upgrade: upgrade a journal of an older schema. If the disk refuses that, the journal can be read, and writing
            raises JournalUnavailableError. Without ``upgrade`` such a journal can be read, and orders that
            a governor of the older version obeys can be written, while it runs.
        busy_seconds: how long each transaction waits for a locked database.

    Raises:
        JournalUnavailableError: it cannot be opened now; or, if read-only, there is none.
        JournalCorruptError: it is not a database or is damaged. A small file is checked in full. A large one is only
            checked as it is read, so that the start stays quick.
        JournalRefusedError: it is another program's, or of a newer version of this one.
    """
    real = Path(os.path.realpath(path))
    connection, not_upgraded = connect(real, read_only=read_only, upgrade=upgrade, busy_seconds=busy_seconds)
    return Store(SqliteDriver(connection, real, not_upgraded))


def in_memory() -> Store:
    """Return an empty journal in memory."""
    return Store(SqliteDriver(connect_memory(), None))


class SqliteDriver:
    """A ``Driver`` for SQLite.

    Args:
        connection: made by ``connect`` or ``connect_memory``.
        path: of the database; None: in memory.
        not_upgraded: why a journal of an older schema can only be read; each write raises it. None: it can be written.
    """

    def __init__(
        self, connection: sqlite3.Connection, path: Path | None, not_upgraded: sqlite3.Error | None = None
    ) -> None:
        self._db = connection
        self._path = path
        self._not_upgraded = not_upgraded
        self._inode = None if path is None else inode(path)
        self._older_orders = True  # until asked

    @property
    def place(self) -> str:
        """See ``Driver``."""
        return IN_MEMORY if self._path is None else f"the journal {self._path}"

    @property
    def older_orders(self) -> bool:
        """See ``Driver``. Asked anew while it is, since a governor that starts beside this may upgrade the journal."""
        if self._older_orders:
            self._older_orders = not self.rows("SELECT 1 FROM pragma_table_info('orders') WHERE name = 'share_out'")
        return self._older_orders

    def rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """See ``Driver``."""
        with journal_failures(self.place, self._path):
            return self._db.execute(sql, parameters).fetchall()

    def change(self, sql: str, *parameters: object) -> int:
        """See ``Driver``."""
        with journal_failures(self.place, self._path):
            return self._db.execute(sql, parameters).rowcount

    def change_many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """See ``Driver``."""
        if rows:
            with journal_failures(self.place, self._path):
                self._db.executemany(sql, rows)

    @contextmanager
    def transaction(self, *, write: bool = True, wait: bool = True) -> Iterator[None]:
        """See ``Driver``."""
        with journal_failures(self.place, self._path), nullcontext() if wait else self._not_waiting():
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

    @contextmanager
    def _not_waiting(self) -> Iterator[None]:
        """In WAL mode commits are in order: one that waits makes those before it durable too."""
        self._db.execute("PRAGMA synchronous = NORMAL")
        try:
            yield
        finally:
            self._db.execute("PRAGMA synchronous = FULL")

    def give_back_space(self) -> None:
        """See ``Driver``. One call gives back at most 1,000 pages."""
        if self._path is None:
            return
        ((free,),) = self.rows("PRAGMA freelist_count")
        if free > SPARE_PAGES:
            with journal_failures(self.place, self._path):  # execute() would stop after one page
                self._db.executescript(f"PRAGMA incremental_vacuum({min(VACUUM_PAGES, free - SPARE_PAGES)})")

    def close(self) -> None:
        """See ``Driver``."""
        with journal_failures(self.place, self._path):
            self._db.close()
