"""The journal: every cycle with all its inputs, so that each decision can be made again, byte for byte.

This module has the protocol, the stored types and the errors. ``store`` implements the protocol in SQL, on a driver for
the database. ``fallback`` uses a store in memory while the one on disk cannot be written.

A journal holds several *books*: the live one, and one for each policy that only shadows it. A book is a chain: each
entry names the entry before, from which its state came, and is recorded only if that is still the newest. Journals are
synchronous and used by one thread at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from capital_governor import __version__
from capital_governor.core.model import Inputs, Publication, Rules, State
from capital_governor.core.orders import Order
from capital_governor.core.reason import Reason
from capital_governor.core.trace import Decision
from capital_governor.journal.notices import Backlog, Notice, NoticeState
from capital_governor.journal.turns import Turn

LIVE: Final = "live"
"""The book whose publications reach the two allocation files."""


class JournalError(Exception):
    """The journal failed. Every failure is one of the kinds below."""


class JournalUnavailableError(JournalError):
    """The journal cannot be read or written now (locked, disk full, no permission, moved); later it may work."""


class JournalCorruptError(JournalError):
    """The journal is damaged or has impossible values; waiting does not help."""


class JournalRefusedError(JournalError):
    """The journal is sound, but it was written by a newer version or by another program."""


class JournalConflictError(JournalError):
    """Another program has recorded a cycle after the entry that this state came from; nothing was recorded."""


def written_by_newer(what: str, detail: str, version: str = "") -> JournalRefusedError:
    """Return the error for stored data that this version does not know.

    Args:
        what: the kind of data.
        detail: what is unknown.
        version: the version that wrote it; empty if unknown.
    """
    writer = f"version {version}" if version and version != __version__ else "a newer version"
    return JournalRefusedError(
        f"{what} in the journal was written by {writer}, this is version {__version__}: {detail}; "
        "run the newer version again, or name another file as the journal"
    )


def new_key() -> str:
    """Return a unique key."""
    return os.urandom(12).hex()


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One cycle to be recorded.

    Args:
        book: the book to which it is added.
        previous: the key of the entry that ``state`` came from; empty if the book had none.
        inputs: what the decision was based on.
        state: the state before.
        rules: the settings of the decision.
        decision: the result of ``resolve(inputs, state, rules)``.
        after: ``commit(decision)``.
        notices: stored in the same transaction, so that no decision is recorded without its message. An entry that is
            read back does not have them.
        orders: stored likewise: the operator's orders that ended with this cycle, such as an accept that it used.
        key: unique among all cycles.
    """

    book: str
    previous: str = ""
    inputs: Inputs
    state: State
    rules: Rules
    decision: Decision
    after: State
    notices: tuple[Notice, ...] = ()
    orders: tuple[Order, ...] = ()
    key: str = field(default_factory=new_key)

    @property
    def at(self) -> float:
        """The time of the decision, in seconds since 1970 UTC."""
        return self.inputs.now

    @property
    def reason(self) -> Reason:
        """Why the cycle ended as it did."""
        return self.decision.reason

    @property
    def generation(self) -> int | None:
        """The generation that was proposed; None if the cycle stayed or held."""
        return None if self.decision.proposal is None else self.decision.proposal.generation

    @property
    def decided(self) -> bool:
        """Whether the cycle computed scores, instead of a hold before that."""
        return bool(self.decision.trace.scores)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry(Record):
    """A recorded cycle.

    Args:
        seq: increases over all books of a journal.
        version: of the program that decided; empty if unknown.
        derived: whether ``decision`` is complete. If this version would decide differently, it is False: reason,
            proposal and states are as recorded, and the trace is empty.
    """

    seq: int
    version: str = ""
    derived: bool = True


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a book: the key of its newest entry, and the state after it."""

    key: str
    state: State


class Journal(Protocol):
    """A journal. Any method may raise a JournalError."""

    def head(self, book: str) -> Head | None:
        """Return the end of ``book``; None if it has no entry."""

    def record(self, *cycles: Record, reached: Sequence[tuple[str, Publication]] = ()) -> None:
        """Record cycles in order, and (book, publication) pairs as reached, in one transaction.

        It is on disk when this returns. Raises JournalConflictError if the newest entry of a book is
        not the one that a record names as ``previous``.
        """

    def check_head(self, book: str, key: str) -> None:
        """Raise JournalConflictError if the newest entry of ``book`` has another key (empty: if there is one)."""

    def reached(self, generation: int, book: str = LIVE) -> None:
        """Mark ``generation`` as in the primary file; called after every cycle in which it is there.

        In the same transaction its held notices become pending. A power loss may undo both until the next commit: then
        the start finds the generation in the file and marks it again. A generation that the book does not know (yet)
        is ignored.
        """

    def unreached(self, book: str) -> Publication | None:
        """Return the publication in the state of ``head(book)``, if it has not reached the primary file."""

    def last_reached(self, book: str) -> Publication | None:
        """Return the publication with the largest generation that has reached the primary file."""

    def entries(self, book: str, *, last: int | None = None, after_seq: int = 0) -> Iterator[Entry]:
        """Yield the entries with ``seq > after_seq``, oldest first; only the newest ``last`` of them (None: all)."""

    def last_decided(self, book: str) -> Entry | None:
        """Return the newest entry with scores; None if there is none."""

    def timeline(self, book: str, since: float) -> list[tuple[float, Reason]]:
        """Return times and reasons of the entries after ``since`` (seconds since 1970 UTC), oldest first.

        A move or cut that has not reached the primary file counts as FILES_UNWRITABLE, since no agent has seen it.
        """

    def turns(self, book: str, since: float, most: int) -> list[Turn]:
        """Return the newest turns from ``since`` on (seconds since 1970 UTC), oldest first, at most ``most``."""

    def first_at(self, book: str) -> float | None:
        """Return the time of the oldest stored entry, seconds since 1970 UTC; None if there is none."""

    def prune(self, now: float, days: float) -> int:
        """Delete some entries and publications older than ``days``; return the number of entries deleted.

        One call does a limited amount of work, so a backlog takes several. For each book, the newest entry, the newest
        decided entry, the current publication and the last one that reached the primary file are always kept. Only
        finished notices are deleted, but never the newest of a topic; and only orders that have ended.
        """

    def put_notices(self, notices: Sequence[Notice]) -> None:
        """Add these notices, or update those with the same keys, as far as ``Notice.may_become`` allows."""

    def notices(self, state: NoticeState, count: int) -> list[Notice]:
        """Return the oldest notices in this state."""

    def backlog(self) -> Backlog:
        """Return how many notices were not sent, and why."""

    def knows_notice(self, key: str) -> bool:
        """Whether a notice with this key is stored."""

    def open_topics(self) -> Mapping[str, float]:
        """Return the topics whose newest notice is about the beginning of an episode, and the time of that notice.

        Notices that were withdrawn do not count.
        """

    def put_orders(self, orders: Sequence[Order]) -> None:
        """Add these orders, or store the end of known ones; an order that has ended stays ended."""

    def orders(self, now: float) -> tuple[Order, ...]:
        """Return the orders in force at ``now``, seconds since 1970 UTC, oldest first."""

    def order(self, key: str) -> Order | None:
        """Return the order with this key, in force or ended; None if it is not known."""

    def close(self) -> None:
        """Release what is open. Nothing else may be called afterwards."""
