"""A journal in memory: bounded, for back-tests and tests, and in place of the durable one while that is lost."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from capital_governor.core.model import DAY_SECONDS, Publication, State
from capital_governor.core.orders import Order
from capital_governor.core.reason import CUTS, MOVES, Reason
from capital_governor.journal.notices import UNSETTLED, Backlog, Notice, NoticeState, move_key
from capital_governor.journal.protocol import LIVE, Entry, Record, Summary

CAPACITY: Final = 1_000
AGENT_CAPACITY: Final = 32_000
"""Entries times agents: one agent of one entry takes about a kilobyte, so this is some 30 MB."""
_PUBLICATIONS: Final = 100
"""Publications remembered by book while none of them reaches the primary file."""


@dataclass(slots=True)
class _Book:
    """What is known of a book besides its entries."""

    state: State | None = None
    decided: Entry | None = None
    reached: Publication | None = None
    publications: dict[int, Publication] = field(default_factory=dict)

    def publish(self, publication: Publication | None) -> None:
        """Know ``publication``, so that it can be marked by its number; one that was replaced has not reached."""
        if publication is None:
            return
        if self.reached is not None and self.reached.generation == publication.generation:
            if self.reached == publication:
                return
            self.reached = None
        self.publications[publication.generation] = publication
        if len(self.publications) > _PUBLICATIONS:
            del self.publications[min(self.publications)]

    def reach(self, generation: int) -> Publication | None:
        """Mark ``generation`` if it is known, and return it; earlier ones cannot become the last any more."""
        publication = self.publications.get(generation)
        if publication is not None:
            if self.reached is None or self.reached.generation <= generation:
                self.reached = publication
            self.publications = {number: kept for number, kept in self.publications.items() if number > generation}
        return publication

    def forget(self, cutoff: float) -> None:
        """Forget publications from before ``cutoff`` that never reached, but for the current one."""
        current = None if self.state is None or self.state.published is None else self.state.published.generation
        self.publications = {
            number: kept for number, kept in self.publications.items() if kept.at >= cutoff or number == current
        }


class MemoryJournal:
    """The newest entries of all books, at most ``capacity`` of them, and of ``agent_capacity`` agents in all.

    State, last decided entry, publications, notices and orders are kept apart from the entries, so they outlive them.

    Args:
        capacity: entries kept, over all books.
        agent_capacity: the sum of agents over the kept entries, which is what memory goes by; one entry always stays.
    """

    def __init__(self, *, capacity: int = CAPACITY, agent_capacity: int = AGENT_CAPACITY) -> None:
        self.dropped = 0
        self.notices = MemoryNotices()
        self.standing_orders = MemoryOrders()
        self._capacity = capacity
        self._agent_capacity = agent_capacity
        self._entries: deque[Entry] = deque()
        self._agents = 0
        self._books: dict[str, _Book] = {}
        self._numbers = itertools.count(1)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def books(self) -> frozenset[str]:
        """The books of which anything is known."""
        return frozenset(self._books)

    def state(self, book: str) -> State | None:
        """See ``Journal``."""
        return self._book(book).state

    def record(self, record: Record) -> None:
        """See ``Journal``; durable as long as the process lives."""
        self.add(record)

    def record_all(self, cycles: Sequence[Record], reached: Sequence[tuple[str, Publication]] = ()) -> None:
        """See ``Journal``."""
        for cycle in cycles:
            self.add(cycle)
        for book, publication in reached:
            self._books.setdefault(book, _Book()).publish(publication)
            self.reached(publication.generation, book)

    def add(self, cycle: Record) -> None:
        """Record ``cycle``; the oldest entries make room for it and are counted in ``dropped``."""
        entry = self.note(cycle)
        self._entries.append(entry)
        self._agents += _agents(entry)
        while len(self._entries) > self._capacity or (self._agents > self._agent_capacity and len(self._entries) > 1):
            self.discard_oldest(1)
            self.dropped += 1

    def note(self, cycle: Record) -> Entry:
        """Take over state, publication, notices and orders of ``cycle`` without keeping it among the entries."""
        entry = Entry(
            seq=next(self._numbers),
            book=cycle.book,
            inputs=cycle.inputs,
            state=cycle.state,
            rules=cycle.rules,
            decision=cycle.decision,
            after=cycle.after,
        )
        self.notices.put(cycle.notices)
        self.standing_orders.put(cycle.orders)
        book = self._books.setdefault(cycle.book, _Book())
        book.state = cycle.after
        book.publish(cycle.after.published)
        if entry.decided:
            book.decided = entry
        return entry

    def prime(self, book: str, state: State, reached: Publication | None) -> None:
        """Know of ``book`` what another journal says of it."""
        known = self._books.setdefault(book, _Book())
        known.state = state
        if reached is not None:
            known.publish(reached)
            known.reach(reached.generation)
        known.publish(state.published)

    def all_entries(self) -> tuple[Entry, ...]:
        """Return the kept entries of all books, oldest first."""
        return tuple(self._entries)

    def oldest(self, count: int, agents: int) -> list[Entry]:
        """Return the ``count`` oldest entries of all books, fewer if they have over ``agents`` agents, but at least 2.

        Two, so that a backlog shrinks even if one entry comes along each time.
        """
        batch: list[Entry] = []
        total = 0
        for entry in itertools.islice(self._entries, count):
            total += _agents(entry)
            if total > agents and len(batch) >= 2:  # noqa: PLR2004 - said above
                break
            batch.append(entry)
        return batch

    def discard_oldest(self, count: int) -> None:
        """Forget the ``count`` oldest entries of all books."""
        for _ in range(count):
            self._agents -= _agents(self._entries.popleft())

    def reached(self, generation: int, book: str = LIVE) -> None:
        """See ``Journal``."""
        publication = self._book(book).reach(generation)
        if publication is not None:
            self.notices.release(publication)

    def unreached(self, book: str) -> Publication | None:
        """See ``Journal``."""
        known = self._book(book)
        published = None if known.state is None else known.state.published
        return published if published is not None and published.generation in known.publications else None

    def last_reached(self, book: str) -> Publication | None:
        """See ``Journal``."""
        return self._book(book).reached

    def entries(self, book: str, *, last: int | None = None, after_seq: int = 0) -> Iterator[Entry]:
        """See ``Journal``."""
        found = [entry for entry in self._entries if entry.book == book and entry.seq > after_seq]
        yield from found if last is None else found[max(0, len(found) - last) :]

    def last_decided(self, book: str) -> Entry | None:
        """See ``Journal``."""
        return self._book(book).decided

    def reasons(self, book: str, since: float) -> list[Reason]:
        """See ``Journal``."""
        unseen = self._book(book).publications
        found = (entry for entry in self._entries if entry.book == book and entry.at > since)
        return [Reason.FILES_UNWRITABLE if entry.generation in unseen else entry.reason for entry in found]

    def summary(self, book: str) -> Summary:
        """See ``Journal``; the size is 0, there being no file."""
        found = list(self.entries(book))
        moves = sum(entry.reason in MOVES or entry.reason in CUTS for entry in found)
        return Summary(len(found), moves, found[0].at if found else None, found[-1].at if found else None, 0)

    def prune(self, now: float, days: float) -> int:
        """See ``Journal``."""
        cutoff = now - days * DAY_SECONDS
        for book in self._books.values():
            book.forget(cutoff)
        self.notices.forget_settled(cutoff)
        if not self._entries or self._entries[0].at >= cutoff:
            return 0
        newest = {entry.book: entry.seq for entry in self._entries}
        decided = {entry.book: entry.seq for entry in self._entries if entry.decided}
        kept = deque(
            entry
            for entry in self._entries
            if entry.at >= cutoff or entry.seq in (newest[entry.book], decided.get(entry.book))
        )
        deleted = len(self._entries) - len(kept)
        self._entries = kept
        self._agents = sum(_agents(entry) for entry in kept)
        return deleted

    def put_notices(self, notices: Sequence[Notice]) -> None:
        """See ``NoticeStore``."""
        self.notices.put(notices)

    def pending_notices(self, count: int) -> list[Notice]:
        """See ``NoticeStore``."""
        return self.notices.pending(count)

    def held_notices(self) -> list[Notice]:
        """See ``NoticeStore``."""
        return self.notices.held()

    def dead_letters(self, count: int) -> list[Notice]:
        """See ``NoticeStore``."""
        return self.notices.dead_letters(count)

    def backlog(self) -> Backlog:
        """See ``NoticeStore``."""
        return self.notices.backlog()

    def knows_notice(self, key: str) -> bool:
        """See ``NoticeStore``."""
        return self.notices.knows(key)

    def open_topics(self) -> frozenset[str]:
        """See ``NoticeStore``."""
        return self.notices.open_topics()

    def put_orders(self, orders: Sequence[Order]) -> None:
        """See ``OrderStore``."""
        self.standing_orders.put(orders)

    def orders(self, now: float) -> tuple[Order, ...]:
        """See ``OrderStore``."""
        return self.standing_orders.in_force(now)

    def close(self) -> None:
        """See ``Journal``; there is nothing to release."""

    def _book(self, book: str) -> _Book:
        return self._books.get(book) or _Book()


def _agents(cycle: Record) -> int:
    """Return how many agents a cycle is about, for reckoning its size."""
    return len(cycle.after.agents) + 1


class MemoryOrders:
    """Orders in memory, by key; those that have ended until ``forget_ended``."""

    def __init__(self) -> None:
        self._orders: dict[str, Order] = {}

    def put(self, orders: Iterable[Order]) -> None:
        """See ``OrderStore.put_orders``."""
        for order in orders:
            known = self._orders.get(order.key)
            if known is None:
                self._orders[order.key] = order
            elif known.ended_at is None and order.ended_at is not None:
                self._orders[order.key] = replace(
                    known,
                    ended_at=order.ended_at,
                    ended_by=order.ended_by,
                    end=order.end,
                    end_detail=order.end_detail,
                )

    def in_force(self, now: float) -> tuple[Order, ...]:
        """See ``OrderStore.orders``."""
        found = [order for order in self._orders.values() if order.in_force(now)]
        return tuple(sorted(found, key=lambda order: order.given_at))

    def all(self) -> tuple[Order, ...]:
        """Return all that are known, ended ones too."""
        return tuple(self._orders.values())

    def replace(self, orders: Iterable[Order]) -> None:
        """Know these and nothing else."""
        self._orders = {order.key: order for order in orders}

    def forget_ended(self) -> None:
        """Forget those that have ended."""
        self._orders = {key: order for key, order in self._orders.items() if order.ended_at is None}


class MemoryNotices:
    """The newest notices, at most ``capacity`` of them; the oldest make room, settled ones first.

    Attributes:
        dropped: unsettled ones that had to make room.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.dropped = 0
        self._capacity = capacity
        self._notices: dict[str, Notice] = {}
        self._topics: dict[str, bool] = {}

    def __len__(self) -> int:
        return len(self._notices)

    def put(self, notices: Iterable[Notice]) -> None:
        """See ``NoticeStore.put_notices``."""
        for notice in notices:
            known = self._notices.get(notice.key)
            if known is None and notice.topic:
                self._topics[notice.topic] = notice.begins
            if known is None or known.may_become(notice.state):
                self._notices[notice.key] = notice
        while len(self._notices) > self._capacity:
            self._make_room()

    def pending(self, count: int) -> list[Notice]:
        """See ``NoticeStore.pending_notices``."""
        return self._of(NoticeState.PENDING)[:count]

    def held(self) -> list[Notice]:
        """See ``NoticeStore.held_notices``."""
        return self._of(NoticeState.HELD)

    def release(self, publication: Publication) -> None:
        """Let the notice of a move or a cut be sent, if it is held here."""
        notice = self._notices.get(move_key(publication))
        if notice is not None and notice.state is NoticeState.HELD:
            self._notices[notice.key] = notice.released()

    def dead_letters(self, count: int) -> list[Notice]:
        """See ``NoticeStore.dead_letters``."""
        return self._of(NoticeState.REFUSED)[::-1][:count]

    def backlog(self) -> Backlog:
        """See ``NoticeStore.backlog``."""
        waiting, refused = self._of(NoticeState.PENDING), self._of(NoticeState.REFUSED)
        return Backlog(
            len(waiting),
            len(refused),
            refused[-1].detail if refused else "",
            waiting[0].detail if waiting else "",
        )

    def open_topics(self) -> frozenset[str]:
        """See ``NoticeStore.open_topics``."""
        return frozenset(topic for topic, begins in self._topics.items() if begins)

    def knows(self, key: str) -> bool:
        """See ``NoticeStore.knows_notice``."""
        return key in self._notices

    def all(self) -> list[Notice]:
        """Return every notice, oldest first."""
        return list(self._notices.values())

    def forget_settled(self, before: float | None = None) -> None:
        """Forget those that were sent or refused; with ``before`` (seconds since 1970 UTC) only the older ones."""
        self._notices = {
            key: notice
            for key, notice in self._notices.items()
            if notice.state in UNSETTLED or (before is not None and notice.created_at >= before)
        }

    def _of(self, state: NoticeState) -> list[Notice]:
        return [notice for notice in self._notices.values() if notice.state is state]

    def _make_room(self) -> None:
        settled = (key for key, notice in self._notices.items() if notice.state not in UNSETTLED)
        key = next(settled, None)
        if key is None:
            key = next(iter(self._notices))
            self.dropped += 1
        del self._notices[key]
