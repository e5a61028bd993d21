"""What the journal's store needs of a database."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol


class Driver(Protocol):
    """One open connection to the database of one journal, with its schema up to date, or readable as if it were.

    Statements are in the SQL that SQLite (from 3.35) and PostgreSQL share, with ``?`` for a parameter. Blobs are bytes,
    times and weights are floats, yes and no are the integers 1 and 0. Every method raises a JournalError if the storage
    fails, and the library's own errors for wrong use.
    """

    @property
    def place(self) -> str:
        """How messages name the journal."""

    @property
    def older_orders(self) -> bool:
        """Whether the table of orders is that of an older schema, which has no ``share_out``."""

    def rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Return all rows of a query, or of a statement that returns rows."""

    def change(self, sql: str, *parameters: object) -> int:
        """Execute a statement; return the number of rows that it changed."""

    def change_many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """Execute a statement once for each row of parameters."""

    def transaction(self, *, write: bool = True, wait: bool = True) -> AbstractContextManager[None]:
        """Commit all that the block does, or none of it.

        Args:
            write: exclude other writers.
            wait: for the disk. Without it a power loss may undo the commit until a later one has waited, but a kill
                may not.
        """

    def give_back_space(self) -> None:
        """Return some space of deleted rows to the file system; one call does a limited amount of work."""

    def close(self) -> None:
        """Release the connection. Nothing else may be called afterwards."""
