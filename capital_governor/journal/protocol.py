"""The journal: every cycle with all that went into it, so that each decision can be taken again, byte for byte.

Here are the protocol, what it stores and what can go wrong with it. ``store`` implements it in SQL, on a driver for
the database; ``fallback`` puts a bounded store in memory in place of the durable one while that cannot be written.

A journal holds several *books*: the live one, and one for each policy that only shadows it. A book is a chain: each
entry names the one that its state came from, and is recorded only while that is the newest. Journals are synchronous,
and for one thread at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from capital_governor import __version__
from capital_governor.core.model import Inputs, Publication, Rules, State
from capital_governor.core.orders import Order
from capital_governor.core.reason import Reason
from capital_governor.core.trace import Decision
from capital_governor.journal.notices import Backlog, Notice, NoticeState

LIVE: Final = "live"
"""The book whose publications reach the two allocation files."""


class JournalError(Exception):
    """The journal could not do what was asked. Every failure is one of the kinds below."""


class JournalUnavailableError(JournalError):
    """The journal cannot be read or written now (locked, disk full, no permission, moved); later it may be."""


class JournalCorruptError(JournalError):
    """The journal is damaged, or says what cannot be; waiting does not mend it."""


class JournalRefusedError(JournalError):
    """The journal is sound, but not this program's to use: of a newer version, or of another program."""


class JournalConflictError(JournalError):
    """Another program has recorded a cycle since the entry that this one's state came from; nothing was recorded."""


def written_by_newer(what: str, detail: str, version: str = "") -> JournalRefusedError:
    """Return the error for something stored that this version does not know.

    Args:
        what: what holds it.
        detail: what is unknown.
        version: the one that wrote it, empty where that is not known.
    """
    writer = f"version {version}" if version and version != __version__ else "a newer version"
    return JournalRefusedError(
        f"{what} in the journal was written by {writer}, this is version {__version__}: {detail}; "
        "run the newer version again, or name another file as the journal"
    )


def new_key() -> str:
    """Return a key that nothing else has."""
    return os.urandom(12).hex()


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One cycle as it is recorded.

    Args:
        book: the chain that it goes on.
        previous: the key of the entry that ``state`` came from; empty if the book had none.
        inputs: all that the decision could know.
        state: the state before.
        rules: how it was decided.
        decision: exactly what ``resolve(inputs, state, rules)`` answered.
        after: ``commit(decision)``.
        notices: put down with it, so that a decision is never recorded without what the operator is to be told of it;
            no part of it, and no entry gives them back.
        orders: likewise, those of the operator that ended with this cycle, an accept that it used above all.
        key: tells it from every other cycle ever recorded.
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
        """Whether the cycle came as far as scores, instead of being held before."""
        return bool(self.decision.trace.scores)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry(Record):
    """A recorded cycle.

    Args:
        seq: grows over all books of a journal.
        version: of the program that decided; empty if that is not known.
        derived: whether ``decision`` is complete. False where this version would decide differently: reason, proposal
            and states are as recorded then, and the trace is empty.
    """

    seq: int
    version: str = ""
    derived: bool = True


@dataclass(frozen=True, slots=True)
class Head:
    """Where a book goes on: the key of its newest entry, and the state after it."""

    key: str
    state: State


class Journal(Protocol):
    """What the governor asks of a journal. Any method may raise a JournalError."""

    def head(self, book: str) -> Head | None:
        """Return where ``book`` goes on; None if nothing was recorded in it."""

    def record(self, *cycles: Record, reached: Sequence[tuple[str, Publication]] = ()) -> None:
        """Record cycles in their order, and (book, publication) pairs as reached.

        All in one transaction, durable when this returns. Raises JournalConflictError if the newest entry of a book is
        not the one that a record names as ``previous``.
        """

    def check_head(self, book: str, key: str) -> None:
        """Raise JournalConflictError if the newest entry of ``book`` has another key (empty: if there is one)."""

    def reached(self, generation: int, book: str = LIVE) -> None:
        """Remember that ``generation`` has reached the primary file; say it after every cycle in which it stands there.

        In the same transaction its notice, held until then, becomes pending. A generation that the book does not know
        (yet) is ignored.
        """

    def unreached(self, book: str) -> Publication | None:
        """Return what the state of ``head(book)`` has as published, if that has not reached the primary file."""

    def last_reached(self, book: str) -> Publication | None:
        """Return the publication of the largest generation that has reached the primary file."""

    def entries(self, book: str, *, last: int | None = None, after_seq: int = 0) -> Iterator[Entry]:
        """Yield the entries with ``seq > after_seq``, of them the newest ``last`` (None: all), oldest first."""

    def reasons(self, book: str, since: float) -> list[Reason]:
        """Return the reasons of the entries after ``since`` (seconds since 1970 UTC), oldest first.

        That of a move or a cut that has not reached the primary file is FILES_UNWRITABLE: no agent has seen it.
        """

    def first_at(self, book: str) -> float | None:
        """Return the time of the oldest entry that is kept, seconds since 1970 UTC; None if there is none."""

    def prune(self, now: float, days: float) -> int:
        """Delete some entries and publications older than ``days``; return the number of entries deleted.

        The work of one call is bounded, so a backlog takes several. What is kept whatever its age: the newest entry of
        each book and its newest decided one, its current publication and the last one that reached the primary file.
        Of the notices only finished ones go, and never the newest of a topic; of the orders only those that are over.
        """

    def put_notices(self, notices: Sequence[Notice]) -> None:
        """Add these, or bring up to date what is known under their keys, as far as ``Notice.may_become`` allows."""

    def notices(self, state: NoticeState, count: int) -> list[Notice]:
        """Return the oldest notices in this state."""

    def backlog(self) -> Backlog:
        """Return how many notices have not been taken."""

    def knows_notice(self, key: str) -> bool:
        """Whether a notice of this key was ever put here, and not deleted for its age since."""

    def open_topics(self) -> frozenset[str]:
        """Return the topics whose newest notice is a beginning: told, and not known to be over."""

    def put_orders(self, orders: Sequence[Order]) -> None:
        """Add these, or put down the end of those that are known; an order that has ended stays ended."""

    def orders(self, now: float) -> tuple[Order, ...]:
        """Return those in force at ``now``, seconds since 1970 UTC, oldest first."""

    def close(self) -> None:
        """Release what is open. Nothing else may be called afterwards."""
