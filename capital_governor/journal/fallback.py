"""A journal that never stops the cycle: while the durable one is lost, one in memory takes over, and is written back.

An *episode* begins when the durable journal cannot be opened, read or written, and ends when nothing is unwritten any
more. A damaged journal is set aside and begun anew, once an episode.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from capital_governor.core.model import Publication
from capital_governor.core.orders import Order
from capital_governor.core.reason import Reason
from capital_governor.journal.notices import Backlog, Notice, NoticeState, move_key
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
from capital_governor.journal.unwritten import AGENT_CAPACITY, CAPACITY, UnwrittenCycles

NOTICE_CAPACITY: Final = 1_000
"""Notices kept in memory: at most some 5 MB."""
MARKS: Final = 100
_STORAGE: Final = (JournalError, OSError)
T = TypeVar("T")
U = TypeVar("U")
R = TypeVar("R", bound=Record)


@dataclass(slots=True)
class _Book:
    """What is known of a book: where it goes on, what reached last, and whether the durable journal says so too."""

    head: Head
    reached: Publication | None
    durable: bool = True

    def reach(self, generation: int) -> Publication | None:
        """Note that the generation reached, if it is the one that stands and was not known to; return it then."""
        published = self.head.state.published
        if published is None or published.generation != generation or published is self.reached:
            return None
        self.reached = published
        return published


class ResilientJournal:
    """A ``Journal`` whose ``record`` raises nothing for reasons of storage; a fault of the caller is a ValueError.

    Notices that may still be sent are in memory too, also while the durable journal is whole: so they can be delivered
    in an episode, and even damage costs none. What became of them is written back before the cycles. The operator's
    orders that were read last are obeyed in an episode, and put into a journal that is begun anew.

    Each ``record`` during an episode opens the journal again if need be and writes back the oldest cycles. Reads answer
    from the durable journal while it is whole, and during an episode from what this process has read and recorded.

    A JournalConflictError comes through: another program writes the journal. Cycles that are not written back by then
    are given up, since they do not go on from what it has recorded.

    Args:
        open_journal: opens the durable journal.
        memory: an empty journal in memory, which takes over.
        set_aside: moves a damaged durable journal away and says where to.
        on_lost: called once at the beginning of an episode, with what happened in one sentence.
        on_restored: called at its end, with the number of cycles written back.
        capacity: cycles kept in memory.
        agent_capacity: the sum of agents over these, which is what memory goes by; one cycle always stays.

    Raises:
        JournalRefusedError: at the start, where going on without the journal would be an operator's mistake made worse.
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
        """How many cycles were forgotten unwritten, over the life of the process, because an outage lasted too long."""
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
            list(self._store.entries(LIVE, last=1))  # a newer version's is found now, not by the first cycle
            # Before anything is written, which may fail: as of 1970 no order is over by its time.
            self._memory.put_orders(self._store.orders(0.0))
        except JournalRefusedError:
            raise
        except _STORAGE as error:
            self._lose(error)
        self._memory.put_notices([*self.notices(NoticeState.PENDING, NOTICE_CAPACITY), *self._held()])

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
        """See ``Journal``; during an episode what another program records cannot be seen."""
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
        """See ``Journal``; during an episode those that are not written back yet, with numbers of their own."""
        # Read at once: one that turns out to be damaged half-way must not leave the rest unsaid.
        found = self._try(lambda journal: list(journal.entries(book, last=last, after_seq=after_seq)), None)
        yield from self._memory.entries(book, last=last, after_seq=after_seq) if found is None else found

    def reasons(self, book: str, since: float) -> list[Reason]:
        """See ``Journal``; during an episode those that are not written back yet."""
        found = self._try(lambda journal: journal.reasons(book, since), None)
        return self._memory.reasons(book, since) if found is None else found

    def first_at(self, book: str) -> float | None:
        """See ``Journal``; during an episode None, since it cannot be known."""
        return self._try(lambda journal: journal.first_at(book), None)

    def prune(self, now: float, days: float) -> int:
        """See ``Journal``; during an episode nothing is deleted."""
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
        found = self._try(lambda journal: journal.notices(state, count), None)
        return self._memory.notices(state, count) if found is None else found

    def backlog(self) -> Backlog:
        """See ``Journal``."""
        found = self._try(lambda journal: journal.backlog(), None)
        return self._memory.backlog() if found is None else found

    def knows_notice(self, key: str) -> bool:
        """See ``Journal``."""
        found = self._try(lambda journal: journal.knows_notice(key), None)
        return self._memory.knows_notice(key) if found is None else found

    def open_topics(self) -> frozenset[str]:
        """See ``Journal``."""
        found = self._try(lambda journal: journal.open_topics(), None)
        return self._memory.open_topics() if found is None else found

    def put_orders(self, orders: Sequence[Order]) -> None:
        """See ``Journal``."""
        self._memory.put_orders(orders)
        self._try(lambda journal: journal.put_orders(orders), None)

    def orders(self, now: float) -> tuple[Order, ...]:
        """See ``Journal``; during an episode those that were read last."""
        found = self._try(lambda journal: journal.orders(now), None)
        if found is None:
            return self._memory.orders(now)
        self._note_orders(found)
        return found

    def close(self) -> None:
        """Write back one batch more if an episode is about to end, and close. ``unwritten`` says what was lost."""
        if self._store is not None and self._lost:
            with suppress(JournalConflictError):
                self._write_back(self._store)
        if self._store is not None:
            self._store.close()
            self._store = None
        self._memory.close()

    # --- how it works ---

    def _try(self, question: Callable[[Journal], T], otherwise: U) -> T | U:
        """Answer ``question`` from the durable journal, or with ``otherwise`` while that is lost."""
        if self._store is not None and not self._lost:
            try:
                return question(self._store)
            except JournalConflictError:
                raise
            except _STORAGE as error:
                self._lose(error)
        return otherwise

    def _ask(self, book: str, question: Callable[[Journal], T]) -> T:
        """Answer ``question`` from the durable journal if it knows all of ``book``, else from memory."""
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
        """Return where the durable journal goes on, and remember it."""
        head = store.head(book)
        self._bases[book] = "" if head is None else head.key
        if head is not None:
            self._books[book] = _Book(head, store.last_reached(book))
        return head

    def _note(self, cycles: Sequence[Record], reached: Sequence[tuple[str, Publication]]) -> None:
        """Know what was just made durable, without keeping it."""
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
        """Let its book go on from ``cycle``."""
        known = self._books.get(cycle.book)
        head = Head(cycle.key, cycle.after)
        if known is None:
            self._books[cycle.book] = _Book(head, None, durable=False)
        else:
            known.head = head

    def _keep(self, cycles: Sequence[Record], reached: Sequence[tuple[str, Publication]]) -> None:
        """Queue what is to be written; what could never be written does not get in, for it would block the queue."""
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

    def _hold(self, notices: Sequence[Notice]) -> None:
        """Keep these in memory, where the oldest make room, finished ones first."""
        self._memory.put_notices(notices)
        self._memory.forget_notices(keep=NOTICE_CAPACITY)

    def _held(self) -> list[Notice]:
        return self.notices(NoticeState.HELD, NOTICE_CAPACITY)

    def _release(self, publication: Publication) -> None:
        """Let the notice of a move or a cut be sent from memory too."""
        held = self._memory.notices(NoticeState.HELD, NOTICE_CAPACITY)
        self._memory.put_notices([each.released() for each in held if each.key == move_key(publication)])

    def _mark(self, book: str, publication: Publication) -> None:
        """Queue that ``publication`` has reached the primary file."""
        self._marks[book, publication.generation] = publication
        if len(self._marks) > MARKS:
            del self._marks[next(iter(self._marks))]

    def _note_orders(self, orders: tuple[Order, ...]) -> None:
        """Know these orders and no others."""
        if orders != self._memory.order_history():
            self._memory.replace_orders(orders)

    def _lose(self, error: Exception) -> None:
        """Begin an episode, or go on with it: let go of the durable journal, and begin a damaged one anew."""
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
        """Set the damaged journal aside and open a new one; return what came of it."""
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
        """Write the oldest of what is unwritten, in one transaction; end the episode if that was all."""
        try:
            self._drop_what_stands(store)
            batch = self._oldest(self._queue.batch())
            everything = len(batch) == len(self._queue.cycles)
            marks = [(book, publication) for (book, _), publication in self._marks.items()] if everything else []
            # All notices with the first batch: a kill before the last one must not cost what was told meanwhile.
            store.put_notices(self._memory.all_notices())
            # Orders too: one that was used meanwhile must not come into force again, and a new journal must know all.
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
        if everything:
            self._end_episode()

    def _oldest(self, count: int) -> list[Entry]:
        """Return the oldest cycles that are in memory only, of all books."""
        per_book = Counter(cycle.book for cycle in islice(self._queue.cycles, count))
        found = [entry for book, number in per_book.items() for entry in islice(self._memory.entries(book), number)]
        return sorted(found, key=lambda entry: entry.seq)

    def _based(self, store: Journal, cycles: Sequence[R], *, again: bool = False) -> list[R]:
        """Let the first of each book go on from what the durable journal is known to have.

        Where that was never read, or was begun anew, it is whatever is there; one that is empty now was deleted, not
        written by another program. ``again``: cycles that waited in memory, where the one before may have had to make
        room.
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
        """Drop what a failed commit has written after all: an error from the disk does not say which it was."""
        keys = [cycle.key for cycle in self._queue.cycles]
        heads = [store.head(book) for book in {cycle.book for cycle in self._queue.cycles}]
        stands = max((keys.index(head.key) + 1 for head in heads if head is not None and head.key in keys), default=0)
        self._discard(stands)

    def _discard(self, count: int) -> None:
        """Forget the oldest cycles, which are durable now."""
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
        """Forget the cycles in memory, since another program's have taken their place; return what to say of it."""
        count = self.unwritten
        self._books.clear()
        self._bases.clear()
        self._end_episode()
        return JournalConflictError(f"{error}; {count} of its cycles waited in memory, and are given up")
