"""What a database must offer so that the journal's store works on it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol


class Driver(Protocol):
    """One connection to one journal's database, opened, claimed and brought up to date.

    Statements are in the SQL that SQLite (from 3.35) and PostgreSQL share, with ``?`` for a parameter. Blobs are bytes,
    times and weights floats, yes and no the integers 1 and 0. Every method raises a JournalError for what the storage
    does, and lets errors of the caller pass.
    """

    @property
    def place(self) -> str:
        """The journal as a message names it."""

    def rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Return all rows of a query, or those that a statement returns."""

    def change(self, sql: str, *parameters: object) -> int:
        """Execute a statement; return the number of rows that it changed."""

    def change_many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """Execute a statement once for each row of parameters."""

    def transaction(self, *, write: bool = True) -> AbstractContextManager[None]:
        """Commit what the block does, durably, or nothing of it; with ``write`` nobody else writes meanwhile."""

    def give_back_space(self) -> None:
        """Return some of the space of deleted rows to the file system; the work of one call is bounded."""

    def close(self) -> None:
        """Release the connection. Nothing else may be called afterwards."""
