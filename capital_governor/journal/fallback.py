"""A journal whose failures stop no cycle: while the one on disk is lost, one in memory replaces it.

An *episode* begins when the durable journal, the one on disk, cannot be opened, read or written. It ends when all
cycles in memory are written back. A damaged journal is set aside and a new one begun, once per episode.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from capital_governor.core.model import Publication
from capital_governor.core.orders import Order
from capital_governor.core.reason import Reason
from capital_governor.journal.notices import Backlog, Notice, NoticeState, held_keys
from capital_governor.journal.protocol import (
    LIVE,
    Entry,
    Head,
    Journal,
    JournalConflictError,
    JournalCorruptError,
    JournalError,
    JournalRefusedError,
    Record,
)
from capital_governor.journal.store import Store
from capital_governor.journal.turns import Turn
from capital_governor.journal.unwritten import AGENT_CAPACITY, CAPACITY, UnwrittenCycles

NOTICE_CAPACITY: Final = 1_000
"""Notices kept in memory: at most about 5 MB."""
_STORAGE: Final = (JournalError, OSError)
T = TypeVar("T")
U = TypeVar("U")
R = TypeVar("R", bound=Record)


@dataclass(slots=True)
class _Book:
    """The end of a book, its last reached publication, and whether the durable journal has all of it."""

    head: Head
    reached: Publication | None
    durable: bool = True

    def reach(self, generation: int) -> Publication | None:
        """Note that the published generation has reached the file; return it if that is new."""
        published = self.head.state.published
        if published is None or published.generation != generation or published is self.reached:
            return None
        self.reached = published
        return published


class ResilientJournal:
    """A ``Journal`` whose ``record`` does not raise if the storage fails; an error of the caller is a ValueError.

    Unfinished notices are always kept in memory too, so that they can be sent during an episode and no damage loses
    them. Their state is written back before the cycles. The orders that were last read from the durable journal are
    obeyed during an episode, and put into a new journal.

    During an episode each ``record`` opens the journal again if needed and writes back the oldest cycles. Reads use the
    durable journal; during an episode, what this process has read and recorded.

    A JournalConflictError is passed on: another program writes to the journal. Cycles not written back by then are
    dropped, since they do not follow what that program has recorded.

    Args:
        open_journal: opens the durable journal.
        memory: an empty journal in memory.
        set_aside: moves a damaged durable journal away and returns its new path.
        on_lost: called at the beginning of an episode, with what happened in one sentence.
        on_restored: called at its end, with the number of cycles written back.
        capacity: cycles kept in memory.
        agent_capacity: limit for the sum of agents over these cycles; one cycle is always kept.

    Raises:
        JournalRefusedError: at the start only: the journal is of a newer version or another program, and an operator
            must act.
    """

    def __init__(
        self,
        open_journal: Callable[[], Journal],
        *,
        memory: Store,
        set_aside: Callable[[], Path],
        on_lost: Callable[[str], None],
        on_restored: Callable[[int], None],
        capacity: int = CAPACITY,
        agent_capacity: int = AGENT_CAPACITY,
    ) -> None:
        self.dropped = 0
        """How many cycles were dropped unwritten since the start, because an outage lasted too long."""
        self._open_journal = open_journal
        self._set_aside = set_aside
        self._on_lost = on_lost
        self._on_restored = on_restored
        self._memory = memory
        self._capacity, self._agent_capacity = capacity, agent_capacity
        self._store: Journal | None = None
        self._lost = False
        self._written = 0
        self._queue = UnwrittenCycles()
        self._books: dict[str, _Book] = {}
        self._bases: dict[str, str] = {}
        self._marks: dict[tuple[str, int], Publication] = {}
        self._was_set_aside = False
        try:
            self._store = open_journal()
            self._take_in(LIVE, self._store)
            # Before what may fail: the first write, or an entry that is damaged. As of 1970 no order has expired.
            self._memory.put_orders(self._store.orders(0.0))
            for state in (NoticeState.PENDING, NoticeState.HELD):
                self._memory.put_notices(self._store.notices(state, NOTICE_CAPACITY))
            list(self._store.entries(LIVE, last=1))  # finds a newer version's entry now instead of in the first cycle
        except JournalRefusedError:
            raise
        except _STORAGE as error:
            self._lose(error)

    @property
    def lost(self) -> bool:
        """Whether an episode is going on."""
        return self._lost

    @property
    def unwritten(self) -> int:
        """How many cycles are in memory only."""
        return len(self._queue.cycles)

    # --- cycles ---

    def head(self, book: str) -> Head | None:
        """See ``Journal``."""
        known = self._books.get(book)
        if known is not None and not known.durable:
            return known.head
        if self._store is not None and not self._lost:
            try:
                return self._take_in(book, self._store)
            except _STORAGE as error:
                self._lose(error)
        return self._memory.head(book)

    def check_head(self, book: str, key: str) -> None:
        """See ``Journal``; during an episode nothing is checked."""
        if book in self._bases:
            self._try(lambda journal: journal.check_head(book, key), None)

    def record(self, *cycles: Record, reached: Sequence[tuple[str, Publication]] = ()) -> None:
        """See ``Journal``; durable unless ``lost``."""
        if self._store is not None and not self._lost:
            try:
                self._store.record(*self._based(self._store, cycles), reached=reached)
            except JournalConflictError:
                raise
            except _STORAGE as error:
                self._lose(error)
                self._keep(cycles, reached)
            else:
                self._note(cycles, reached)
                return
        else:
            self._keep(cycles, reached)
            if self._store is None:
                self._reopen()
        if self._store is not None:
            self._write_back(self._store)

    def reached(self, generation: int, book: str = LIVE) -> None:
        """See ``Journal``."""
        known = self._books.get(book)
        news = None if known is None else known.reach(generation)
        if self._store is not None and not self._lost:
            try:
                self._store.reached(generation, book)
            except _STORAGE as error:
                self._lose(error)
            else:
                if news is not None:
                    self._release(news)
                return
        self._memory.reached(generation, book)
        if news is not None:
            self._mark(book, news)

    def unreached(self, book: str) -> Publication | None:
        """See ``Journal``."""
        return self._ask(book, lambda journal: journal.unreached(book))

    def last_reached(self, book: str) -> Publication | None:
        """See ``Journal``."""
        return self._ask(book, lambda journal: journal.last_reached(book))

    def entries(self, book: str, *, last: int | None = None, after_seq: int = 0) -> Iterator[Entry]:
        """See ``Journal``; during an episode the entries that are not written back yet, with other sequence numbers."""
        # All are read first: damage found half-way must not leave the caller with only some of them.
        yield from self._read(lambda journal: list(journal.entries(book, last=last, after_seq=after_seq)))

    def last_decided(self, book: str) -> Entry | None:
        """See ``Journal``."""
        return self._ask(book, lambda journal: journal.last_decided(book))

    def timeline(self, book: str, since: float) -> list[tuple[float, Reason]]:
        """See ``Journal``; during an episode what is not written back yet."""
        return self._read(lambda journal: journal.timeline(book, since))

    def turns(self, book: str, since: float, most: int) -> list[Turn]:
        """See ``Journal``; none during an episode."""
        return self._try(lambda journal: journal.turns(book, since, most), [])

    def first_at(self, book: str) -> float | None:
        """See ``Journal``; None during an episode."""
        return self._try(lambda journal: journal.first_at(book), None)

    def prune(self, now: float, days: float) -> int:
        """See ``Journal``; deletes nothing during an episode."""
        return self._try(lambda journal: journal.prune(now, days), 0)

    # --- notices and orders ---

    def put_notices(self, notices: Sequence[Notice]) -> None:
        """See ``Journal``."""
        self._hold(notices)
        if self._store is not None and not self._lost:
            try:
                self._store.put_notices(notices)
            except _STORAGE as error:
                self._lose(error)
            else:
                self._memory.forget_notices()

    def notices(self, state: NoticeState, count: int) -> list[Notice]:
        """See ``Journal``."""
        return self._read(lambda journal: journal.notices(state, count))

    def backlog(self) -> Backlog:
        """See ``Journal``."""
        return self._read(lambda journal: journal.backlog())

    def knows_notice(self, key: str) -> bool:
        """See ``Journal``."""
        return self._read(lambda journal: journal.knows_notice(key))

    def open_topics(self) -> Mapping[str, float]:
        """See ``Journal``."""
        return self._read(lambda journal: journal.open_topics())

    def put_orders(self, orders: Sequence[Order]) -> None:
        """See ``Journal``."""
        self._memory.put_orders(orders)
        self._try(lambda journal: journal.put_orders(orders), None)

    def orders(self, now: float) -> tuple[Order, ...]:
        """See ``Journal``; during an episode the orders that were read last."""
        found = self._try(lambda journal: journal.orders(now), None)
        if found is None:
            return self._memory.orders(now)
        self._note_orders(found)
        return found

    def order(self, key: str) -> Order | None:
        """See ``Journal``; None during an episode."""
        return self._try(lambda journal: journal.order(key), None)

    def close(self) -> None:
        """Write back one more batch if possible, and close. ``unwritten`` is how many cycles are lost."""
        if self._store is not None and self._lost:
            with suppress(JournalConflictError):
                self._write_back(self._store)
        if self._store is not None:
            self._store.close()
            self._store = None
        self._memory.close()

    # --- how it works ---

    def _try(self, question: Callable[[Journal], T], otherwise: U) -> T | U:
        """Return the durable journal's answer, or ``otherwise`` while it is lost."""
        if self._store is not None and not self._lost:
            try:
                return question(self._store)
            except JournalConflictError:
                raise
            except _STORAGE as error:
                self._lose(error)
        return otherwise

    def _read(self, question: Callable[[Journal], T]) -> T:
        """Return the durable journal's answer, or that of the journal in memory while it is lost."""
        found = self._try(question, None)
        return question(self._memory) if found is None else found

    def _ask(self, book: str, question: Callable[[Journal], T]) -> T:
        """Return the durable journal's answer if it has all of ``book``, else that of the journal in memory."""
        known = self._books.get(book)
        if self._store is not None and not self._lost:
            if known is not None and not known.durable:
                self._memory.go_on_from(book, known.head, known.reached)
                return question(self._memory)
            try:
                return question(self._store)
            except _STORAGE as error:
                self._lose(error)
        return question(self._memory)

    def _take_in(self, book: str, store: Journal) -> Head | None:
        """Return the end of the book in the durable journal, and remember it."""
        head = store.head(book)
        self._bases[book] = "" if head is None else head.key
        if head is not None:
            self._books[book] = _Book(head, store.last_reached(book))
        return head

    def _note(self, cycles: Sequence[Record], reached: Sequence[tuple[str, Publication]]) -> None:
        """Note what was just written to the durable journal."""
        for cycle in cycles:
            self._advance(cycle)
            self._books[cycle.book].durable = True
            self._bases[cycle.book] = cycle.key
            if cycle.notices:
                self._hold(cycle.notices)
            if cycle.orders:
                self._memory.put_orders(cycle.orders)
        for book, publication in reached:
            self._books[book].reached = publication
            self._release(publication)

    def _advance(self, cycle: Record) -> None:
        """Make ``cycle`` the end of its book."""
        known = self._books.get(cycle.book)
        head = Head(cycle.key, cycle.after)
        if known is None:
            self._books[cycle.book] = _Book(head, None, durable=False)
        else:
            known.head = head

    def _keep(self, cycles: Sequence[Record], reached: Sequence[tuple[str, Publication]]) -> None:
        """Queue what is to be written. Values that can never be written raise first, so they do not block the queue."""
        self._memory.record(*cycles, reached=reached)
        for cycle in cycles:
            self._advance(cycle)
            self._queue.add(cycle)
        for book, publication in reached:
            self._books[book].reached = publication
            self._mark(book, publication)
        while len(self._queue.cycles) > self._capacity or (
            self._queue.agents > self._agent_capacity and len(self._queue.cycles) > 1
        ):
            self._memory.forget(self._queue.drop().key)
            self.dropped += 1
        # A cycle publishes once at most, and what was published before the episode may reach the file in it.
        while len(self._marks) > len(self._queue.cycles) + len(self._books):
            del self._marks[next(iter(self._marks))]

    def _hold(self, notices: Sequence[Notice]) -> None:
        """Keep these notices in memory; beyond the capacity the oldest are dropped, finished ones first."""
        self._memory.put_notices(notices)
        self._memory.forget_notices(keep=NOTICE_CAPACITY)

    def _release(self, publication: Publication) -> None:
        """Make the held notices of a move or cut pending in memory too."""
        held, keys = self._memory.notices(NoticeState.HELD, NOTICE_CAPACITY), held_keys(publication)
        if released := [each.released() for each in held if each.key in keys]:
            self._memory.put_notices(released)

    def _mark(self, book: str, publication: Publication) -> None:
        """Queue that ``publication`` has reached the primary file."""
        self._marks[book, publication.generation] = publication

    def _note_orders(self, orders: tuple[Order, ...]) -> None:
        """Keep exactly these orders in memory."""
        if orders != self._memory.order_history():
            self._memory.replace_orders(orders)

    def _lose(self, error: Exception) -> None:
        """Begin or continue an episode: close the durable journal, and replace it if it is damaged."""
        what = str(error)
        try:
            if self._store is not None:
                self._store.close()
        except _STORAGE as closing:
            what += f"; closing it: {closing}"
        self._store = None
        if not self._lost:
            for book, known in self._books.items():
                self._memory.go_on_from(book, known.head, known.reached)
        if isinstance(error, JournalCorruptError) and not self._was_set_aside:
            what += self._begin_anew()
        if not self._lost:
            self._lost = True
            self._on_lost(what)

    def _begin_anew(self) -> str:
        """Set the damaged journal aside and open a new one; return the result in words."""
        self._was_set_aside = True
        try:
            place = self._set_aside()
        except _STORAGE as error:
            return f"; it could not be set aside: {error}"
        self._bases.clear()
        for book, known in self._books.items():
            known.durable = False
            if known.reached is not None:
                self._mark(book, known.reached)
        try:
            self._store = self._open_journal()
        except _STORAGE as error:
            return f"; set aside as {place}; a new one could not be made: {error}"
        return f"; set aside as {place} and begun anew"

    def _reopen(self) -> None:
        try:
            self._store = self._open_journal()
        except _STORAGE as error:
            self._lose(error)

    def _write_back(self, store: Journal) -> None:
        """Write back the oldest cycles in one transaction; end the episode if these were all."""
        try:
            self._drop_what_stands(store)
            batch = self._oldest(self._queue.batch())
            everything = len(batch) == len(self._queue.cycles)
            marks = self._marks_up_to(batch, everything=everything)
            # All notices go with the first batch, so that a kill before the last batch loses no state of a notice.
            store.put_notices(self._memory.all_notices())
            # Orders too: a used one must not come into force again, and a new journal must have all of them.
            store.put_orders(self._memory.order_history())
            store.record(*self._based(store, batch, again=True), reached=marks)
            orders = store.orders(batch[-1].at) if batch else None
        except JournalConflictError as error:
            raise self._give_up(error) from None
        except _STORAGE as error:
            self._lose(error)
            return
        self._memory.forget_notices()
        if orders is not None:
            self._note_orders(orders)
        self._discard(len(batch))
        for book, publication in marks:
            del self._marks[book, publication.generation]
        if everything:
            self._end_episode()

    def _marks_up_to(self, batch: Sequence[Entry], *, everything: bool) -> list[tuple[str, Publication]]:
        """Return the marks of what was published up to the end of the batch; all of them with the last batch."""
        newest = {entry.book: entry.after.published.generation for entry in batch if entry.after.published is not None}
        return [
            (book, publication)
            for (book, generation), publication in self._marks.items()
            if everything or generation <= newest.get(book, -1)
        ]

    def _oldest(self, count: int) -> list[Entry]:
        """Return the oldest cycles that are in memory only, of all books."""
        per_book = Counter(cycle.book for cycle in islice(self._queue.cycles, count))
        found = [entry for book, number in per_book.items() for entry in islice(self._memory.entries(book), number)]
        return sorted(found, key=lambda entry: entry.seq)

    def _based(self, store: Journal, cycles: Sequence[R], *, again: bool = False) -> list[R]:
        """Set ``previous`` of the first cycle of each book to the last entry that the durable journal is known to have.

        If the journal was never read or is new, that is whatever entry it has. If it is empty now, it was deleted, and
        not written by another program.

        Args:
            store: the durable journal.
            cycles: to be recorded.
            again: they waited in memory, where the cycle before may have been dropped.
        """
        based: list[R] = []
        seen: set[str] = set()
        for cycle in cycles:
            book = cycle.book
            if book in seen or (book in self._bases and not again):
                based.append(cycle)
            else:
                head = store.head(book)
                key = "" if head is None else head.key
                if not key or book not in self._bases:
                    self._bases[book] = key
                based.append(replace(cycle, previous=self._bases[book]))
            seen.add(book)
        return based

    def _drop_what_stands(self, store: Journal) -> None:
        """Drop cycles that the durable journal has: a commit may have succeeded although the disk reported an error."""
        keys = [cycle.key for cycle in self._queue.cycles]
        heads = [store.head(book) for book in {cycle.book for cycle in self._queue.cycles}]
        stands = max((keys.index(head.key) + 1 for head in heads if head is not None and head.key in keys), default=0)
        self._discard(stands)

    def _discard(self, count: int) -> None:
        """Drop the oldest cycles from memory, since they are on disk now."""
        for _ in range(count):
            gone = self._queue.drop()
            self._memory.forget(gone.key)
            self._bases[gone.book] = gone.key
            self._books[gone.book].durable = True
        self._written += count

    def _end_episode(self) -> None:
        written, self._written = self._written, 0
        self._queue = UnwrittenCycles()
        self._marks.clear()
        self._memory.forget_cycles()
        self._lost = self._was_set_aside = False
        self._on_restored(written)

    def _give_up(self, error: JournalConflictError) -> JournalConflictError:
        """Drop the cycles in memory, since another program has recorded others; return the error to raise."""
        count = self.unwritten
        self._books.clear()
        self._bases.clear()
        self._end_episode()
        return JournalConflictError(f"{error}; {count} of its cycles waited in memory, and are given up")
