"""The journal: every cycle with all that went into it, so that each decision can be taken again, byte for byte.

Here are the protocol, what it stores, what can go wrong with it, and the codec. The stores are ``sqlite.store``, which
is durable, and ``memory``, which is bounded; ``fallback`` puts the second in place of the first while that cannot be
written.

A journal holds several *books*: the live one, and one for each policy that only shadows it. A book is a chain: the
state before a cycle is the state after the cycle before it. Journals are synchronous, and for one thread at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from capital_governor.core.model import Inputs, Publication, Rules, State
from capital_governor.core.orders import Order
from capital_governor.core.reason import Reason
from capital_governor.core.trace import Decision
from capital_governor.journal.notices import Notice, NoticeStore

LIVE: Final = "live"
"""The book whose publications reach the two allocation files."""


class JournalError(Exception):
    """The journal could not do what was asked. Every storage failure is one of the three kinds below."""


class JournalUnavailableError(JournalError):
    """The journal cannot be read or written now (locked, disk full, no permission, moved); later it may be."""


class JournalCorruptError(JournalError):
    """The journal is damaged, or says what cannot be; waiting does not mend it."""


class JournalRefusedError(JournalError):
    """The file is sound, but not this program's to write: of a newer version, or of another program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One cycle as it is recorded.

    ``state`` is the state before, ``after`` the state that was committed: ``decision.after`` with the publication in
    it. ``decision`` is exactly what ``decide`` (and the gate) answered, so ``decide(inputs, state, rules)`` can be
    compared with it, and ``commit(decision)`` with ``after``. ``notices`` are put down with it, so that a decision is
    never recorded without what the operator is to be told of it; they are no part of it, and no entry gives them back.
    The same goes for ``orders``: those of the operator that ended with this cycle, an accept that it used above all.
    """

    book: str
    inputs: Inputs
    state: State
    rules: Rules
    decision: Decision
    after: State
    notices: tuple[Notice, ...] = ()
    orders: tuple[Order, ...] = ()

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
    """A recorded cycle. ``seq`` grows over all books of a journal."""

    seq: int


@dataclass(frozen=True, slots=True)
class Summary:
    """What a book holds: entries, moves and cuts among them, times of the first and last entry, size of the journal."""

    cycles: int
    moves: int
    first_at: float | None
    last_at: float | None
    size_bytes: int


def new_key() -> str:
    """Return a key that nothing else has."""
    return os.urandom(12).hex()


class OrderStore(Protocol):
    """Where orders stand: every journal is one. Any method may raise a JournalError."""

    def put_orders(self, orders: Sequence[Order]) -> None:
        """Add these, or put down the end of those that are known; an order that has ended stays ended."""

    def orders(self, now: float) -> tuple[Order, ...]:
        """Return those in force at ``now``, seconds since 1970 UTC, oldest first."""


class Journal(NoticeStore, OrderStore, Protocol):
    """What every journal does, besides keeping notices and orders. Any method may raise a JournalError."""

    def state(self, book: str) -> State | None:
        """Return the state after the last recorded cycle of ``book``; None if there is none."""

    def record(self, record: Record) -> None:
        """Record one cycle, in one transaction, durable when this returns."""

    def record_all(self, cycles: Sequence[Record], reached: Sequence[tuple[str, Publication]] = ()) -> None:
        """Record many cycles in their order, and (book, publication) pairs as reached, all in one transaction."""

    def reached(self, generation: int, book: str = LIVE) -> None:
        """Remember that ``generation`` has reached the primary file; say it after every cycle in which it stands there.

        In the same transaction its notice, held until then, becomes pending. A generation that the book does not know
        (yet) is ignored.
        """

    def unreached(self, book: str) -> Publication | None:
        """Return what ``state(book)`` has as published, if that has not reached the primary file, else None."""

    def last_reached(self, book: str) -> Publication | None:
        """Return the publication of the largest generation that has reached the primary file."""

    def entries(self, book: str, *, last: int | None = None, after_seq: int = 0) -> Iterator[Entry]:
        """Yield the entries with ``seq > after_seq``, of them the newest ``last`` (None: all), oldest first."""

    def last_decided(self, book: str) -> Entry | None:
        """Return the newest entry that came as far as scores."""

    def reasons(self, book: str, since: float) -> list[Reason]:
        """Return the reasons of the entries after ``since`` (seconds since 1970 UTC), oldest first.

        That of a move or a cut that has not reached the primary file is FILES_UNWRITABLE: no agent has seen it.
        """

    def summary(self, book: str) -> Summary:
        """Return how much the book holds."""

    def prune(self, now: float, days: float) -> int:
        """Delete some entries and publications older than ``days``; return the number of entries deleted.

        The work of one call is bounded, so a backlog takes several. What is kept whatever its age: the newest entry of
        each book and its newest decided one, its current publication and the last one that reached the primary file.
        Of the notices only settled ones go, and never the newest of a topic; of the orders only those that are over.
        """

    def close(self) -> None:
        """Release what is open. Nothing else may be called afterwards."""
