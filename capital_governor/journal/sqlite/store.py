"""The durable journal: one SQLite file in WAL mode, every commit on the disk before it counts.

Tables: ``cycles`` (one row a cycle), ``states`` and ``rules`` (each distinct one once), ``publications``, ``notices``
(see ``notices_table``), ``orders`` (see ``orders_table``). Rules and publications are JSON text; states, inputs and
decisions are JSON under zlib. Rules are never deleted: there are few.
"""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from capital_governor.core.model import DAY_SECONDS, Inputs, Publication, Rules, State
from capital_governor.core.orders import Order
from capital_governor.core.reason import CUTS, MOVES, Reason
from capital_governor.core.trace import Decision
from capital_governor.journal.codec import Verdict, decode, encode, with_totals
from capital_governor.journal.notices import Backlog, Notice, move_key
from capital_governor.journal.protocol import LIVE, Entry, JournalCorruptError, JournalUnavailableError, Record, Summary
from capital_governor.journal.sqlite import notices_table, orders_table
from capital_governor.journal.sqlite.file import connect, inode, typed

ZLIB_LEVEL: Final = 1  # level 6 saves a tenth of the bytes for three times the time
PRUNE_ROWS: Final = 2_000
PRUNE_BYTES: Final = 8 * 1024 * 1024
VACUUM_PAGES: Final = 1_000
SPARE_PAGES: Final = 256  # free pages left in place: the next cycles use them
PAGE_ENTRIES: Final = 20

_PUBLISH: Final = """INSERT INTO publications (book, generation, at, reached, doc) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (book, generation) DO UPDATE SET
        at = excluded.at, doc = excluded.doc, reached = excluded.reached OR (reached AND doc = excluded.doc)"""
_EXPIRED: Final = """SELECT seq, length(inputs) + length(decision), state_before, state_after, state_decided
    FROM cycles AS old WHERE at < ?
    AND seq <> (SELECT max(seq) FROM cycles WHERE book = old.book)
    AND seq IS NOT (SELECT max(seq) FROM cycles WHERE book = old.book AND decided = 1)
    ORDER BY at LIMIT ?"""
_EXPIRED_PUBLICATIONS: Final = """SELECT rowid FROM publications AS old WHERE at < ?
    AND generation IS NOT (SELECT published FROM cycles WHERE book = old.book ORDER BY seq DESC LIMIT 1)
    AND generation IS NOT (SELECT max(generation) FROM publications WHERE book = old.book AND reached = 1)
    LIMIT ?"""
_REASONS: Final = """SELECT iif(generation IS NULL OR EXISTS (SELECT 1 FROM publications AS seen
        WHERE seen.book = one.book AND seen.generation = one.generation AND seen.reached = 1), reason, ?)
    FROM cycles AS one WHERE book = ? AND at > ? ORDER BY seq"""
_FORGET_STATE: Final = """DELETE FROM states WHERE id = ?1
    AND NOT EXISTS (SELECT 1 FROM cycles WHERE state_before = ?1)
    AND NOT EXISTS (SELECT 1 FROM cycles WHERE state_after = ?1)
    AND NOT EXISTS (SELECT 1 FROM cycles WHERE state_decided = ?1)"""
_ENTRY_COLUMNS: Final = "seq, inputs, decision, rules, state_before, state_after, state_decided"
_NEWEST: Final = "SELECT state_after FROM cycles WHERE book = ? ORDER BY seq DESC LIMIT 1"


def open_sqlite(path: Path, *, read_only: bool = False, busy_seconds: float = 2.0) -> SqliteJournal:
    """Open the journal at ``path``; made if there is none, with its folder, readable by its owner only.

    Args:
        path: the database; SQLite keeps ``-wal`` and ``-shm`` beside it.
        read_only: for one look beside (or without) a running writer: makes and changes nothing, and sees what was
            committed. Keep it for one command, not for the life of a process.
        busy_seconds: how long a locked database is waited for, at each transaction.

    Raises:
        JournalUnavailableError: it cannot be opened now; read-only: there is none.
        JournalCorruptError: it is no database, or a damaged one. A small file is checked in full, a large one as it is
            used, so that a start stays quick.
        JournalRefusedError: it is another program's, or of a newer version of this one.
    """
    real = Path(os.path.realpath(path))
    return SqliteJournal(connect(real, read_only=read_only, busy_seconds=busy_seconds), real)


@dataclass(slots=True)
class _Memo:
    """What was stored last, so that an object at hand is not encoded again. True once the transaction stands."""

    states: dict[str, tuple[State, int]] = field(default_factory=dict)
    rules: tuple[Rules, int] | None = None
    published: dict[str, Publication] = field(default_factory=dict)


class SqliteJournal:
    """A ``Journal`` in SQLite; ``open_sqlite`` makes it. Any thread may use it, one at a time."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._db = connection
        self._path = path
        self._inode = inode(path)
        self._memo = _Memo()
        with typed(path):
            self._has_orders = orders_table.exists(connection)

    def state(self, book: str) -> State | None:
        """See ``Journal``."""
        newest = self._all(_NEWEST, book)
        if not newest:
            return None
        (number,) = newest[0]
        known = self._memo.states.get(book)
        if known is None or known[1] != number:
            (doc,) = self._stored("SELECT doc FROM states WHERE id = ?", number)
            known = (decode(State, _unpack(doc)), number)
            self._memo.states[book] = known
            if known[0].published is not None:
                self._memo.published[book] = known[0].published
        return known[0]

    def record(self, record: Record) -> None:
        """See ``Journal``."""
        self.record_all((record,))

    def record_all(self, cycles: Sequence[Record], reached: Sequence[tuple[str, Publication]] = ()) -> None:
        """See ``Journal``."""
        memo = _Memo(dict(self._memo.states), self._memo.rules, dict(self._memo.published))
        with self._transaction():
            for cycle in cycles:
                self._insert(cycle, memo)
                notices_table.put(self._db, cycle.notices)
                orders_table.put(self._db, cycle.orders)
            for book, publication in reached:
                self._publish(book, publication, reached=True)
                notices_table.release(self._db, move_key(publication))
        self._memo = memo

    def reached(self, generation: int, book: str = LIVE) -> None:
        """See ``Journal``."""
        which = "book = ? AND generation = ? AND reached = 0"
        found = self._all(f"SELECT doc FROM publications WHERE {which}", book, generation)  # noqa: S608 - a constant
        if found:
            key = move_key(decode(Publication, found[0][0].encode()))
            with self._transaction():
                self._db.execute(f"UPDATE publications SET reached = 1 WHERE {which}", (book, generation))  # noqa: S608
                notices_table.release(self._db, key)

    def unreached(self, book: str) -> Publication | None:
        """See ``Journal``."""
        state = self.state(book)
        if state is None or state.published is None:
            return None
        which = "SELECT 1 FROM publications WHERE book = ? AND generation = ? AND reached = 1"
        return None if self._all(which, book, state.published.generation) else state.published

    def last_reached(self, book: str) -> Publication | None:
        """See ``Journal``."""
        which = "SELECT doc FROM publications WHERE book = ? AND reached = 1 ORDER BY generation DESC LIMIT 1"
        found = self._all(which, book)
        return decode(Publication, found[0][0].encode()) if found else None

    def entries(self, book: str, *, last: int | None = None, after_seq: int = 0) -> Iterator[Entry]:
        """See ``Journal``. Entries recorded after the first was asked for are not among them.

        They are read by the page, so no read transaction stays open while the caller works with one.
        """
        which = "SELECT seq FROM cycles WHERE book = ? AND seq > ? ORDER BY seq DESC LIMIT ?"
        limit = -1 if last is None else last
        ((first, newest),) = self._all(f"SELECT min(seq), max(seq) FROM ({which})", book, after_seq, limit)  # noqa: S608
        states: dict[int, State] = {}
        while first is not None:
            page = self._page(book, first, newest, states)
            yield from page
            first = page[-1].seq + 1 if page else None

    def last_decided(self, book: str) -> Entry | None:
        """See ``Journal``."""
        ((seq,),) = self._all("SELECT max(seq) FROM cycles WHERE book = ? AND decided = 1", book)
        return None if seq is None else next(iter(self._page(book, seq, seq, {})), None)

    def reasons(self, book: str, since: float) -> list[Reason]:
        """See ``Journal``."""
        found = self._all(_REASONS, Reason.FILES_UNWRITABLE.value, book, since)
        try:
            return [Reason(reason) for (reason,) in found]
        except ValueError as error:
            raise JournalCorruptError(f"the journal {self._path} has an entry of an unknown reason: {error}") from None

    def summary(self, book: str) -> Summary:
        """See ``Journal``; the size is that of the database and its ``-wal``."""
        one_book = "FROM cycles WHERE book = ?"
        ((cycles,),) = self._all(f"SELECT count(*) {one_book}", book)
        marks = ", ".join("?" * len(MOVES | CUTS))
        counted = f"SELECT count(*) {one_book} AND generation IS NOT NULL AND reason IN ({marks})"
        ((moves,),) = self._all(counted, book, *sorted(MOVES | CUTS))
        first = self._all(f"SELECT at {one_book} ORDER BY seq LIMIT 1", book)
        last = self._all(f"SELECT at {one_book} ORDER BY seq DESC LIMIT 1", book)
        files = (self._path, Path(f"{self._path}-wal"))
        size = sum(file.stat().st_size for file in files if file.exists())
        return Summary(cycles, moves, first[0][0] if first else None, last[0][0] if last else None, size)

    def prune(self, now: float, days: float) -> int:
        """See ``Journal``. One call deletes at most 2,000 entries or 8 MiB, and gives back at most 1,000 pages."""
        cutoff = now - days * DAY_SECONDS
        seqs: list[tuple[int]] = []
        orphans: set[tuple[int]] = set()
        size = 0
        for seq, length, *states in self._all(_EXPIRED, cutoff, PRUNE_ROWS):
            if size > PRUNE_BYTES:
                break
            size += length
            seqs.append((seq,))
            orphans.update((number,) for number in states if number is not None)
        publications = self._all(_EXPIRED_PUBLICATIONS, cutoff, PRUNE_ROWS)
        with typed(self._path):
            notices = notices_table.expired(self._db, cutoff, PRUNE_ROWS)
            orders = orders_table.expired(self._db, cutoff, PRUNE_ROWS)
        if seqs or publications or notices or orders:
            with self._transaction():
                self._db.executemany("DELETE FROM cycles WHERE seq = ?", seqs)
                self._db.executemany(_FORGET_STATE, sorted(orphans))
                self._db.executemany("DELETE FROM publications WHERE rowid = ?", publications)
                self._db.executemany("DELETE FROM notices WHERE id = ?", notices)
                self._db.executemany("DELETE FROM orders WHERE id = ?", orders)
        ((free,),) = self._all("PRAGMA freelist_count")
        if free > SPARE_PAGES:
            with typed(self._path):  # a script, for that is run to its end: execute would stop after the first page
                self._db.executescript(f"PRAGMA incremental_vacuum({min(VACUUM_PAGES, free - SPARE_PAGES)})")
        return len(seqs)

    def put_notices(self, notices: Sequence[Notice]) -> None:
        """See ``NoticeStore``."""
        with self._transaction():
            notices_table.put(self._db, notices)

    def pending_notices(self, count: int) -> list[Notice]:
        """See ``NoticeStore``."""
        with typed(self._path):
            return notices_table.pending(self._db, count)

    def held_notices(self) -> list[Notice]:
        """See ``NoticeStore``."""
        with typed(self._path):
            return notices_table.held(self._db)

    def dead_letters(self, count: int) -> list[Notice]:
        """See ``NoticeStore``."""
        with typed(self._path):
            return notices_table.dead_letters(self._db, count)

    def backlog(self) -> Backlog:
        """See ``NoticeStore``."""
        with typed(self._path):
            return notices_table.backlog(self._db)

    def knows_notice(self, key: str) -> bool:
        """See ``NoticeStore``."""
        return bool(self._all("SELECT 1 FROM notices WHERE key = ?", key))

    def open_topics(self) -> frozenset[str]:
        """See ``NoticeStore``."""
        with typed(self._path):
            return notices_table.open_topics(self._db)

    def put_orders(self, orders: Sequence[Order]) -> None:
        """See ``OrderStore``."""
        with self._transaction():
            orders_table.put(self._db, orders)

    def orders(self, now: float) -> tuple[Order, ...]:
        """See ``OrderStore``; none in a journal of an older version that is only read."""
        with typed(self._path):
            return orders_table.in_force(self._db, now) if self._has_orders else ()

    def order_history(self) -> tuple[Order, ...]:
        """Return every order that is kept, oldest first, those that are over too."""
        with typed(self._path):
            return orders_table.history(self._db) if self._has_orders else ()

    def change_orders(
        self, now: float, ends: Callable[[Order], Order | None], given: Order | None = None
    ) -> tuple[Order, ...]:
        """End orders and put ``given`` in one transaction; return those that ended, as they were.

        Args:
            now: seconds since 1970 UTC.
            ends: returns for each order that is in force how it ends, or None if it goes on.
            given: the new order, if any.
        """
        with self._transaction():
            before = orders_table.in_force(self._db, now)
            over = {order.key: ended for order in before if (ended := ends(order)) is not None}
            orders_table.put(self._db, over.values())
            if given is not None:
                orders_table.put(self._db, (given,))
        return tuple(order for order in before if order.key in over)

    def close(self) -> None:
        """See ``Journal``."""
        with typed(self._path):
            self._db.close()

    # --- one row ---

    def _insert(self, cycle: Record, memo: _Memo) -> None:
        """Insert ``cycle`` with what it refers to; only inside a transaction."""
        book, decision, after = cycle.book, cycle.decision, cycle.after
        if memo.rules is None or memo.rules[0] is not cycle.rules:
            memo.rules = (cycle.rules, self._rules_id(cycle.rules))
        known = memo.states.get(book)
        before_id = known[1] if known is not None and known[0] is cycle.state else self._state_id(cycle.state)
        after_id = before_id if after is cycle.state else self._state_id(after)
        decided_id = None if _derivable(cycle) else self._state_id(decision.after)
        published = after.published
        if published is not None and memo.published.get(book) is not published:
            self._publish(book, published, reached=False)
            memo.published[book] = published
        memo.states[book] = (after, after_id)
        self._db.execute(
            "INSERT INTO cycles (book, at, reason, generation, published, decided, inputs, decision, rules,"
            " state_before, state_after, state_decided) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                book,
                cycle.at,
                cycle.reason.value,
                cycle.generation,
                None if published is None else published.generation,
                int(cycle.decided),
                _pack(encode(cycle.inputs)),
                _pack(encode(Verdict(decision.reason, decision.proposal, decision.trace))),
                memo.rules[1],
                before_id,
                after_id,
                decided_id,
            ),
        )

    def _state_id(self, state: State) -> int:
        doc = encode(state)
        digest = _digest(doc)
        found = self._db.execute("SELECT id FROM states WHERE digest = ?", (digest,)).fetchone()
        if found is None:
            made = self._db.execute("INSERT INTO states (digest, doc) VALUES (?, ?)", (digest, _pack(doc)))
            return int(made.lastrowid or 0)
        return int(found[0])

    def _rules_id(self, rules: Rules) -> int:
        doc = encode(rules)
        self._db.execute(
            "INSERT INTO rules (digest, doc) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING",
            (_digest(doc), doc.decode()),
        )
        return int(self._db.execute("SELECT id FROM rules WHERE digest = ?", (_digest(doc),)).fetchone()[0])

    def _publish(self, book: str, publication: Publication, *, reached: bool) -> None:
        doc = encode(publication).decode()
        self._db.execute(_PUBLISH, (book, publication.generation, publication.at, int(reached), doc))

    def _page(self, book: str, first: int, newest: int, states: dict[int, State]) -> list[Entry]:
        """Return the next entries from ``first`` on; ``states`` is what has been decoded, renewed to what they use."""
        which = f"SELECT {_ENTRY_COLUMNS} FROM cycles WHERE book = ? AND seq BETWEEN ? AND ? ORDER BY seq LIMIT ?"  # noqa: S608
        with self._transaction("BEGIN"):
            rows = self._db.execute(which, (book, first, newest, PAGE_ENTRIES)).fetchall()
            wanted = {number for row in rows for number in row[4:] if number is not None}
            fresh = {
                number: self._stored("SELECT doc FROM states WHERE id = ?", number)[0]
                for number in wanted - set(states)
            }
            rules = {row[3]: self._stored("SELECT doc FROM rules WHERE id = ?", row[3])[0] for row in rows}
        kept = {number: state for number, state in states.items() if number in wanted}
        states.clear()
        states.update(kept)
        states.update((number, decode(State, _unpack(doc))) for number, doc in fresh.items())
        known_rules = {number: decode(Rules, doc.encode()) for number, doc in rules.items()}
        return [_entry(book, row, states, known_rules[row[3]]) for row in rows]

    # --- the connection ---

    def _all(self, sql: str, *parameters: object) -> list[Any]:
        with typed(self._path):
            return self._db.execute(sql, parameters).fetchall()

    def _stored(self, sql: str, number: int) -> tuple[Any, ...]:
        found: list[tuple[Any, ...]] = self._all(sql, number)
        if not found:
            raise JournalCorruptError(
                f"the journal {self._path} refers to something it does not hold: {sql} [{number}]"
            )
        return found[0]

    @contextmanager
    def _transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
        """Commit what the block does, or nothing of it."""
        with typed(self._path):
            if inode(self._path) != self._inode:
                raise JournalUnavailableError(f"the journal {self._path} was replaced by another file while in use")
            self._db.execute(begin)
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise


def _derivable(cycle: Record) -> bool:
    """Whether ``decision.after`` is ``after`` but for ``published``, to the byte: then it takes no row."""
    draft, derived = cycle.decision.after, replace(cycle.after, published=cycle.state.published)
    same = all(getattr(draft, each.name) is getattr(derived, each.name) for each in fields(State))
    return same or encode(draft) == encode(derived)


def _entry(book: str, row: tuple[Any, ...], states: dict[int, State], rules: Rules) -> Entry:
    seq, inputs, decision, _, before_id, after_id, decided_id = row
    before, after = states[before_id], states[after_id]
    draft = replace(after, published=before.published) if decided_id is None else states[decided_id]
    verdict = decode(Verdict, with_totals(_unpack(decision)))
    return Entry(
        seq=seq,
        book=book,
        inputs=decode(Inputs, _unpack(inputs)),
        state=before,
        rules=rules,
        decision=Decision(verdict.reason, verdict.proposal, draft, verdict.trace),
        after=after,
    )


def _pack(doc: bytes) -> bytes:
    return zlib.compress(doc, ZLIB_LEVEL)


def _unpack(blob: bytes) -> bytes:
    try:
        return zlib.decompress(blob)
    except (zlib.error, TypeError) as error:
        raise JournalCorruptError(f"a stored document cannot be unpacked: {error}") from error


def _digest(doc: bytes) -> bytes:
    return blake2b(doc, digest_size=16).digest()
