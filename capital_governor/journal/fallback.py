"""A journal that never stops the cycle: while the durable one is lost, one in memory takes over, and is written back.

An *episode* begins when the durable journal cannot be opened, read or written, and ends when nothing is unwritten any
more. A damaged journal is set aside and begun anew, once an episode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

from capital_governor.core.model import Publication, State
from capital_governor.core.orders import Order
from capital_governor.core.reason import Reason
from capital_governor.journal.codec import check_storable
from capital_governor.journal.memory import MemoryJournal
from capital_governor.journal.notices import NOTICE_CAPACITY, Backlog, Notice
from capital_governor.journal.protocol import (
    LIVE,
    Entry,
    Journal,
    JournalCorruptError,
    JournalError,
    JournalRefusedError,
    Record,
    Summary,
)

BATCH: Final = 100
"""Cycles written back in one transaction, which is what one cycle pays for the end of an outage."""
BATCH_AGENTS: Final = 2_000
MARKS: Final = 100
_STORAGE: Final = (JournalError, OSError)
T = TypeVar("T")


class ResilientJournal:
    """A ``Journal`` whose ``record`` raises nothing for reasons of storage; a fault of the caller is a ValueError.

    Notices that may still be sent are in memory too, also while the durable journal is whole: so they can be delivered
    in an episode, and even damage costs none. What became of them is written back before the cycles. The operator's
    orders that were read last are obeyed in an episode, and put into a journal that is begun anew.

    Each ``record`` during an episode opens the journal again if need be and writes back the oldest cycles. Reads answer
    from the durable journal while it is whole, and during an episode from what this process has read and recorded.

    Args:
        open_journal: opens the durable journal.
        set_aside: moves a damaged one away and says where to.
        on_lost: called once at the beginning of an episode, with what happened in one sentence.
        on_restored: called at its end, with the number of cycles written back.
        memory: what takes over; its capacity bounds what an outage can keep.

    Raises:
        JournalRefusedError: at the start, where going on without the journal would be an operator's mistake made worse.
    """

    def __init__(
        self,
        open_journal: Callable[[], Journal],
        *,
        set_aside: Callable[[], Path],
        on_lost: Callable[[str], None],
        on_restored: Callable[[int], None],
        memory: MemoryJournal | None = None,
    ) -> None:
        self._open_journal = open_journal
        self._set_aside = set_aside
        self._on_lost = on_lost
        self._on_restored = on_restored
        self._memory = MemoryJournal() if memory is None else memory
        self._store: Journal | None = None
        self._lost = False
        self._written = 0
        self._marks: dict[tuple[str, int], Publication] = {}
        self._unstored: frozenset[str] = frozenset()
        self._doubtful: Record | None = None
        self._was_set_aside = False
        try:
            self._store = open_journal()
        except JournalRefusedError:
            raise
        except _STORAGE as error:
            self._lose(error)
        self._memory.notices.put([*self.pending_notices(NOTICE_CAPACITY), *self.held_notices()])

    @property
    def lost(self) -> bool:
        """Whether an episode is going on."""
        return self._lost

    @property
    def unwritten(self) -> int:
        """How many cycles are in memory only."""
        return len(self._memory)

    @property
    def dropped(self) -> int:
        """How many cycles were forgotten unwritten, over the life of the process, because an outage lasted too long."""
        return self._memory.dropped

    def record(self, record: Record) -> None:
        """See ``Journal``; durable unless ``lost``."""
        self.record_all((record,))

    def record_all(self, cycles: Sequence[Record], reached: Sequence[tuple[str, Publication]] = ()) -> None:
        """See ``Journal``; durable unless ``lost``."""
        if self._store is not None and not self._lost:
            try:
                self._store.record_all(cycles, reached)
            except _STORAGE as error:
                self._keep(cycles, reached)
                self._doubtful = cycles[-1] if cycles else None
                self._lose(error)
                if self._store is not None:  # damaged, set aside, begun anew
                    self._write_back()
            else:
                self._note(cycles, reached)
            return
        self._keep(cycles, reached)
        if self._store is None:
            self._reopen()
        if self._store is not None:
            self._write_back()

    def state(self, book: str) -> State | None:
        """See ``Journal``."""
        state = self._ask(book, lambda journal: journal.state(book))
        if state is not None and book not in self._memory.books:
            self._memory.prime(book, state, self._ask(book, lambda journal: journal.last_reached(book)))
        return state

    def reached(self, generation: int, book: str = LIVE) -> None:
        """See ``Journal``."""
        self._memory.reached(generation, book)
        if self._store is not None and not self._lost:
            try:
                self._store.reached(generation, book)
            except _STORAGE as error:
                self._mark(book, generation)
                self._lose(error)
        else:
            self._mark(book, generation)

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

    def last_decided(self, book: str) -> Entry | None:
        """See ``Journal``; during an episode the newest that this process has recorded."""
        return self._try(lambda journal: journal.last_decided(book), self._memory.last_decided(book))

    def reasons(self, book: str, since: float) -> list[Reason]:
        """See ``Journal``; during an episode those that are not written back yet."""
        return self._try(lambda journal: journal.reasons(book, since), self._memory.reasons(book, since))

    def summary(self, book: str) -> Summary:
        """See ``Journal``."""
        return self._try(lambda journal: journal.summary(book), self._memory.summary(book))

    def prune(self, now: float, days: float) -> int:
        """See ``Journal``; during an episode nothing is deleted."""
        if self._store is None or self._lost:
            return 0
        try:
            return self._store.prune(now, days)
        except _STORAGE as error:
            self._lose(error)
            return 0

    def put_notices(self, notices: Sequence[Notice]) -> None:
        """See ``NoticeStore``."""
        self._memory.notices.put(notices)
        if self._store is not None and not self._lost:
            try:
                self._store.put_notices(notices)
            except _STORAGE as error:
                self._lose(error)
            else:
                self._memory.notices.forget_settled()

    def pending_notices(self, count: int) -> list[Notice]:
        """See ``NoticeStore``."""
        return self._try(lambda journal: journal.pending_notices(count), self._memory.pending_notices(count))

    def held_notices(self) -> list[Notice]:
        """See ``NoticeStore``."""
        return self._try(lambda journal: journal.held_notices(), self._memory.held_notices())

    def dead_letters(self, count: int) -> list[Notice]:
        """See ``NoticeStore``."""
        return self._try(lambda journal: journal.dead_letters(count), self._memory.dead_letters(count))

    def backlog(self) -> Backlog:
        """See ``NoticeStore``."""
        return self._try(lambda journal: journal.backlog(), self._memory.backlog())

    def knows_notice(self, key: str) -> bool:
        """See ``NoticeStore``."""
        return self._try(lambda journal: journal.knows_notice(key), self._memory.knows_notice(key))

    def open_topics(self) -> frozenset[str]:
        """See ``NoticeStore``."""
        return self._try(lambda journal: journal.open_topics(), self._memory.open_topics())

    def put_orders(self, orders: Sequence[Order]) -> None:
        """See ``OrderStore``."""
        self._memory.put_orders(orders)
        self._try(lambda journal: journal.put_orders(orders), None)

    def orders(self, now: float) -> tuple[Order, ...]:
        """See ``OrderStore``; during an episode those that were read last."""
        found = self._try(lambda journal: journal.orders(now), None)
        if found is not None:
            self._memory.standing_orders.replace(found)
        return self._memory.orders(now)

    def close(self) -> None:
        """Write back one batch more if an episode is about to end, and close. ``unwritten`` says what was lost."""
        if self._store is not None and self._lost:
            self._write_back()
        if self._store is not None:
            self._store.close()
            self._store = None

    # --- how it works ---

    def _try(self, question: Callable[[Journal], T], otherwise: T) -> T:
        """Answer ``question`` from the durable journal, or with what memory says while that is lost."""
        if self._store is not None and not self._lost:
            try:
                return question(self._store)
            except _STORAGE as error:
                self._lose(error)
        return otherwise

    def _ask(self, book: str, question: Callable[[Journal], T]) -> T:
        """Answer ``question`` from the durable journal if it knows all of ``book``, else from memory."""
        if self._store is not None and not self._lost and book not in self._unstored:
            try:
                return question(self._store)
            except _STORAGE as error:
                self._lose(error)
        return question(self._memory)

    def _note(self, cycles: Sequence[Record], reached: Sequence[tuple[str, Publication]]) -> None:
        """Know what was just made durable, without keeping it."""
        for cycle in cycles:
            self._memory.note(cycle)
        self._memory.record_all((), reached)
        self._memory.standing_orders.forget_ended()
        self._unstored -= {cycle.book for cycle in cycles}

    def _keep(self, cycles: Sequence[Record], reached: Sequence[tuple[str, Publication]]) -> None:
        """Queue what is to be written; what could never be written must not get in, for it would block the queue."""
        for cycle in cycles:
            check_storable(cycle)
        self._memory.record_all(cycles, reached)
        for book, publication in reached:
            self._mark(book, publication.generation)

    def _mark(self, book: str, generation: int) -> None:
        """Queue "``generation`` has reached the primary file"; one that this process never saw is not known either."""
        publication = self._memory.last_reached(book)
        if publication is not None and publication.generation == generation:
            self._marks[book, generation] = publication
            if len(self._marks) > MARKS:
                del self._marks[next(iter(self._marks))]

    def _lose(self, error: Exception) -> None:
        """Begin an episode, or go on with it: let go of the durable journal, and begin a damaged one anew."""
        what = str(error)
        try:
            if self._store is not None:
                self._store.close()
        except _STORAGE as closing:
            what += f"; closing it: {closing}"
        self._store = None
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
        self._doubtful = None
        self._unstored = self._memory.books
        for book in self._memory.books:
            publication = self._memory.last_reached(book)
            if publication is not None:
                self._mark(book, publication.generation)
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

    def _write_back(self) -> None:
        """Write the oldest of what is unwritten, in one transaction; end the episode if that was all."""
        if self._store is None:
            return
        batch: list[Entry] = []
        try:
            self._drop_what_stands(self._store)
            batch = self._memory.oldest(BATCH, BATCH_AGENTS)
            everything = len(batch) == len(self._memory)
            marks = [(book, publication) for (book, _), publication in self._marks.items()] if everything else []
            # All notices with the first batch: a kill before the last one must not cost what was told meanwhile.
            self._store.put_notices(self._memory.notices.all())
            # Orders too: one that was used meanwhile must not come into force again, and a new journal must know all.
            self._store.put_orders(self._memory.standing_orders.all())
            self._store.record_all(batch, marks)
            orders = self._store.orders(batch[-1].at) if batch else None
        except _STORAGE as error:
            self._doubtful = batch[-1] if batch else self._doubtful
            self._lose(error)
            return
        self._memory.discard_oldest(len(batch))
        self._memory.notices.forget_settled()
        if orders is not None:
            self._memory.standing_orders.replace(orders)
        self._written += len(batch)
        self._unstored -= {entry.book for entry in batch}
        if everything:
            written, self._written = self._written, 0
            self._marks.clear()
            self._lost = self._was_set_aside = False
            self._on_restored(written)

    def _drop_what_stands(self, store: Journal) -> None:
        """Drop what a failed commit has written after all: an error from the disk does not say which it was."""
        doubtful = self._doubtful
        if doubtful is None:
            return
        newest = next(store.entries(doubtful.book, last=1), None)
        self._doubtful = None
        if newest is None or not _same(newest, doubtful):
            return
        for position, entry in enumerate(self._memory.all_entries(), start=1):
            if _same(entry, doubtful):
                self._memory.discard_oldest(position)
                self._written += position
                return


def _same(one: Record, other: Record) -> bool:
    """Whether two records are of the same cycle."""
    return (one.book, one.inputs, one.state, one.rules, one.decision, one.after) == (
        (other.book, other.inputs, other.state, other.rules, other.decision, other.after)
    )
