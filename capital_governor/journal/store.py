"""The journal in SQL that both SQLite and PostgreSQL understand, on a driver for the database.

Tables: ``cycles`` (one row per cycle), ``heads`` (the end of each book), ``states``, ``rules`` and ``publications``
(each distinct one once), ``notices``, ``orders``. A cycle is stored as its inputs, the state before, the rules, and the
state that was committed, and one that differs from the one before with its facts (``turns``). Trace and scores are not
stored: reading an entry decides again and compares the result with the committed state. Rules are JSON text; all other
documents are JSON compressed by zlib. Rules are never deleted, since there are few.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, Final, Generic, NamedTuple, TypeVar

from capital_governor import __version__
from capital_governor.core.decision import commit, resolve
from capital_governor.core.model import DAY_SECONDS, Inputs, Publication, Rules, State
from capital_governor.core.orders import Order
from capital_governor.core.reason import Reason
from capital_governor.core.trace import Decision, Trace
from capital_governor.journal import newest_entry, notices_table, orders_table, turns_table
from capital_governor.journal.codec import decode, encode, pack, unpack
from capital_governor.journal.driver import Driver
from capital_governor.journal.notices import Backlog, Notice, NoticeState, held_keys
from capital_governor.journal.protocol import (
    LIVE,
    Entry,
    Head,
    JournalConflictError,
    JournalCorruptError,
    JournalError,
    Record,
    written_by_newer,
)
from capital_governor.journal.stored_metrics import with_metrics, with_metrics_apart, without_metrics
from capital_governor.journal.turns import Facts, Turn, changed_rules, facts_of, repeats

T = TypeVar("T")
PRUNE_ROWS: Final = 200
PRUNE_BYTES: Final = 4 * 1024 * 1024
_NEVER: Final = float("inf")
PAGE_ENTRIES: Final = 20

_BEGIN: Final = "INSERT INTO heads (book, key, state) VALUES (?, ?, ?) ON CONFLICT (book) DO NOTHING"
_GO_ON: Final = "UPDATE heads SET key = ?, state = ? WHERE book = ? AND key = ?"
_PUT_HEAD: Final = """INSERT INTO heads (book, key, state) VALUES (?, ?, ?)
    ON CONFLICT (book) DO UPDATE SET key = excluded.key, state = excluded.state"""
_HEAD: Final = """SELECT key, state,
        (SELECT version FROM cycles WHERE cycles.book = heads.book ORDER BY seq DESC LIMIT 1)
    FROM heads WHERE book = ?"""
_INSERT: Final = """INSERT INTO cycles (book, at, reason, generation, published, decided, inputs, decision, rules,
        state_before, state_after, key, previous, unseen, version, facts)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_PUT_STATE: Final = """INSERT INTO states (digest, doc, published) VALUES (?, ?, ?)
    ON CONFLICT (digest) DO NOTHING RETURNING id"""
_PUT_RULES: Final = "INSERT INTO rules (digest, doc) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING RETURNING id"
_PUT_PUBLICATION: Final = """INSERT INTO publications (book, generation, at, reached, digest, doc)
    VALUES (?, ?, ?, 0, ?, ?) ON CONFLICT (book, generation, digest) DO NOTHING RETURNING id"""
_STATE: Final = "SELECT id FROM states WHERE digest = ?"
_RULES: Final = "SELECT id FROM rules WHERE digest = ?"
_LAST_RULES: Final = """SELECT rules.id, rules.doc, rules.digest FROM cycles JOIN rules ON rules.id = cycles.rules
    WHERE cycles.seq = (SELECT max(seq) FROM cycles WHERE book = ?)"""
_PUBLICATION: Final = "SELECT id FROM publications WHERE book = ? AND generation = ? AND digest = ?"
_UNREACH_OTHERS: Final = "UPDATE publications SET reached = 0 WHERE book = ? AND generation = ? AND digest <> ?"
_LAST_REACHED: Final = """SELECT doc FROM publications WHERE book = ? AND reached = 1
    ORDER BY generation DESC LIMIT 1"""
_STANDING: Final = """SELECT id, reached FROM publications AS one WHERE book = ? AND generation = ?
    ORDER BY CASE WHEN id = (SELECT states.published FROM heads JOIN states ON states.id = heads.state
        WHERE heads.book = one.book) THEN 0 ELSE 1 END, id DESC LIMIT 1"""
_COLUMNS: Final = "seq, key, previous, reason, generation, inputs, rules, state_before, state_after, unseen, version"
_PAGE: Final = f"SELECT {_COLUMNS} FROM cycles WHERE book = ? AND seq >= ? AND seq <= ? ORDER BY seq LIMIT ?"  # noqa: S608 - constants
_SEEN: Final = """EXISTS (SELECT 1 FROM publications AS seen
    WHERE seen.book = one.book AND seen.generation = one.generation AND seen.reached = 1)"""
_TIMELINE: Final = f"""SELECT seq, at, CASE WHEN generation IS NULL OR {_SEEN} THEN reason ELSE ? END, version
    FROM cycles AS one WHERE book = ? AND at > ? ORDER BY at"""  # noqa: S608 - constants
_EXPIRED: Final = """SELECT seq, length(inputs), state_before, state_after, state_decided
    FROM cycles AS old WHERE book = ? AND at < ?
    AND seq <> (SELECT max(seq) FROM cycles WHERE book = old.book)
    AND seq <> (SELECT coalesce(max(seq), 0) FROM cycles WHERE book = old.book AND decided = 1)
    ORDER BY at LIMIT ?"""
_EXPIRED_PUBLICATIONS: Final = """SELECT id FROM publications AS old WHERE at < ?
    AND NOT EXISTS (SELECT 1 FROM states WHERE published = old.id)
    AND generation <> (SELECT coalesce(max(published), -1) FROM cycles
        WHERE seq = (SELECT max(seq) FROM cycles WHERE book = old.book))
    AND generation <> (SELECT coalesce(max(generation), -1) FROM publications
        WHERE book = old.book AND reached = 1)
    LIMIT ?"""
_FORGET_STATE: Final = """DELETE FROM states WHERE id = ?
    AND NOT EXISTS (SELECT 1 FROM cycles WHERE state_before = states.id)
    AND NOT EXISTS (SELECT 1 FROM cycles WHERE state_after = states.id)
    AND NOT EXISTS (SELECT 1 FROM cycles WHERE state_decided = states.id)
    AND NOT EXISTS (SELECT 1 FROM heads WHERE state = states.id)"""


class _Row(NamedTuple):
    """A row of ``cycles``, by ``_COLUMNS``."""

    seq: int
    key: str
    previous: str
    reason: str
    generation: int | None
    inputs: bytes
    rules: int
    before: int
    after: int
    unseen: str | None
    version: str


@dataclass(frozen=True, slots=True)
class _Known(Generic[T]):
    """A state, rules or a publication, its row, and the digest of its content."""

    value: T
    number: int
    digest: bytes


@dataclass(slots=True)
class _Memo:
    """What was stored last, so that the same object is not encoded again; replaced after each commit."""

    states: dict[str, _Known[State]] = field(default_factory=dict)
    rules: dict[str, _Known[Rules]] = field(default_factory=dict)
    published: dict[str, _Known[Publication]] = field(default_factory=dict)
    turns: dict[str, tuple[str, Facts]] = field(default_factory=dict)

    def copy(self) -> _Memo:
        """Return a copy to change during a transaction that may still fail."""
        return _Memo(dict(self.states), dict(self.rules), dict(self.published), dict(self.turns))


class Store:
    """A ``Journal`` in a database. Any thread may use it, one at a time.

    Args:
        driver: the connection to the database.
    """

    def __init__(self, driver: Driver) -> None:
        self._db = driver
        self._memo = _Memo()

    # --- ends of books ---

    def head(self, book: str) -> Head | None:
        """See ``Journal``."""
        found = self._db.rows(_HEAD, book)
        if not found:
            return None
        ((key, number, version),) = found
        known = self._memo.states.get(book)
        if known is None or known.number != number:
            state = self._state(number, version or "")
            self._memo.states[book] = known = _Known(state, number, _state_digest(state))
        return Head(key, known.value)

    def check_head(self, book: str, key: str) -> None:
        """See ``Journal``."""
        found = self._db.rows("SELECT key FROM heads WHERE book = ?", book)
        if (found[0][0] if found else "") != key:
            raise self._conflict()

    def go_on_from(self, book: str, head: Head, reached: Publication | None) -> None:
        """Continue ``book`` from the end of another journal: its head, and its last reached publication."""
        memo = self._memo.copy()
        with self._db.transaction():
            if reached is not None:
                self._reach(book, reached, memo)
            memo.states[book] = known = self._put_state(book, head.state, memo)
            self._db.change(_PUT_HEAD, book, head.key, known.number)
        self._memo = memo

    # --- recording ---

    def record(self, *cycles: Record, reached: Sequence[tuple[str, Publication]] = ()) -> None:
        """See ``Journal``."""
        memo = self._memo.copy()
        with self._db.transaction():
            for cycle in cycles:
                self._insert(cycle, memo)
                notices_table.put_notices(self._db, cycle.notices)
                orders_table.put_orders(self._db, cycle.orders)
            for book, publication in reached:
                self._reach(book, publication, memo)
                notices_table.release_notices(self._db, held_keys(publication))
        self._memo = memo

    def reached(self, generation: int, book: str = LIVE) -> None:
        """See ``Journal``."""
        found = self._db.rows(_STANDING, book, generation)
        if found and not found[0][1]:
            number = found[0][0]
            known = self._memo.published.get(book)
            if known is not None and known.number == number:
                publication = known.value
            else:
                (doc,) = self._stored("publications", "doc", number)
                publication = decode(Publication, unpack(doc))
            keys = held_keys(publication)
            with self._db.transaction(wait=False):
                self._db.change("UPDATE publications SET reached = 1 WHERE id = ?", number)
                notices_table.release_notices(self._db, keys)

    # --- reading ---

    def unreached(self, book: str) -> Publication | None:
        """See ``Journal``."""
        head = self.head(book)
        published = None if head is None else head.state.published
        if published is None:
            return None
        which = "SELECT 1 FROM publications WHERE book = ? AND generation = ? AND digest = ? AND reached = 1"
        return None if self._db.rows(which, book, published.generation, _digest(encode(published))) else published

    def last_reached(self, book: str) -> Publication | None:
        """See ``Journal``."""
        found = self._db.rows(_LAST_REACHED, book)
        return decode(Publication, unpack(found[0][0])) if found else None

    def entries(self, book: str, *, last: int | None = None, after_seq: int = 0) -> Iterator[Entry]:
        """See ``Journal``. Entries recorded after the first was requested are not included.

        They are read in pages, so that no read transaction stays open while the caller works.
        """
        which = "SELECT seq FROM cycles WHERE book = ? AND seq > ? ORDER BY seq DESC"
        limits: tuple[int, ...] = () if last is None else (last,)
        limited = f"SELECT min(seq), max(seq) FROM ({which}{' LIMIT ?' * len(limits)}) AS wanted"  # noqa: S608 - constants
        ((first, newest),) = self._db.rows(limited, book, after_seq, *limits)
        states: dict[int, State] = {}
        while first is not None:
            page = self._page(book, first, newest, states)
            yield from page
            first = page[-1].seq + 1 if page else None

    def last_decided(self, book: str) -> Entry | None:
        """See ``Journal``."""
        ((seq,),) = self._db.rows("SELECT max(seq) FROM cycles WHERE book = ? AND decided = 1", book)
        return None if seq is None else next(iter(self._page(book, seq, seq, {})), None)

    def last_publishing(self, book: str) -> Entry | None:
        """Return the newest entry that published something."""
        ((seq,),) = self._db.rows("SELECT max(seq) FROM cycles WHERE book = ? AND generation IS NOT NULL", book)
        return None if seq is None else next(iter(self._page(book, seq, seq, {})), None)

    def timeline(self, book: str, since: float) -> list[tuple[float, Reason]]:
        """See ``Journal``."""
        found = sorted(self._db.rows(_TIMELINE, Reason.FILES_UNWRITABLE.value, book, since))
        return [(at, self._reason(reason, version)) for _, at, reason, version in found]

    def first_at(self, book: str) -> float | None:
        """See ``Journal``."""
        found = self._db.rows("SELECT at FROM cycles WHERE book = ? ORDER BY seq LIMIT 1", book)
        return found[0][0] if found else None

    def newest_entry(self, book: str, *, decided: bool = False) -> Entry | None:
        """Return the newest entry, or the newest with scores, for a look only; None if there is none."""
        return newest_entry.newest_entry(self._db, book, decided=decided)

    def turns(self, book: str, since: float, most: int) -> list[Turn]:
        """See ``Journal``."""
        return turns_table.turns(self._db, book, since, most)

    def turn_before(self, book: str, at: float) -> Turn | None:
        """Return the newest turn before a time; None if there is none."""
        return turns_table.turn_before(self._db, book, at)

    def publications(self, book: str, since: float, most: int) -> list[Publication]:
        """Return what agents have seen: the last before ``since``, and at most ``most`` from then on; oldest first."""
        return turns_table.publications(self._db, book, since, most)

    def publication(self, book: str, generation: int) -> Publication | None:
        """Return a generation that agents have seen; None if there is none of this number, or none any more."""
        return turns_table.publication(self._db, book, generation)

    def publication_before(self, book: str, generation: int) -> Publication | None:
        """Return what agents saw before a generation; None if that is not known."""
        return turns_table.publication_before(self._db, book, generation)

    def generations(self, book: str) -> tuple[int, int] | None:
        """Return the first and the last generation that agents have seen and the journal still has; None: none."""
        return turns_table.generations(self._db, book)

    def publishing_turn(self, book: str, published: Publication) -> Turn | None:
        """Return the turn that decided a publication; None if the journal does not have it."""
        return turns_table.publishing_turn(self._db, book, published)

    def gaps(self, book: str, since: float, longest: float) -> list[tuple[float, float]]:
        """Return where there is no entry for more than ``longest`` seconds: the times of the entries around it."""
        return turns_table.gaps(self._db, book, since, longest)

    def first_and_last_at(self, book: str) -> tuple[float, float] | None:
        """Return the times of the oldest and the newest entry; None if there is none."""
        return turns_table.first_and_last_at(self._db, book)

    # --- deleting ---

    def prune(self, now: float, days: float) -> int:
        """See ``Journal``. One call deletes at most 200 entries or 4 MiB."""
        cutoff = now - days * DAY_SECONDS
        books = [book for (book,) in self._db.rows("SELECT book FROM heads")]
        seqs: list[tuple[int]] = []
        orphans: set[tuple[int]] = set()
        size = 0
        for book in books:
            for seq, length, *states in self._db.rows(_EXPIRED, book, cutoff, PRUNE_ROWS - len(seqs)):
                if size > PRUNE_BYTES:
                    break
                size += length
                seqs.append((seq,))
                orphans.update((number,) for number in states if number is not None)
        notices = notices_table.expired_notices(self._db, cutoff, PRUNE_ROWS)
        orders = orders_table.expired_orders(self._db, cutoff, PRUNE_ROWS)
        publications = self._db.rows(_EXPIRED_PUBLICATIONS, cutoff, PRUNE_ROWS)
        if seqs or publications or notices or orders:
            with self._db.transaction():
                self._delete(seqs, orphans)
                self._delete_publications(publications)
                notices_table.delete_notices(self._db, notices)
                orders_table.delete_orders(self._db, orders)
        self._db.give_back_space()
        return len(seqs)

    def forget(self, key: str) -> None:
        """Delete one entry, whatever its age; the head of its book stays."""
        found = self._db.rows("SELECT seq, state_before, state_after FROM cycles WHERE key = ?", key)
        with self._db.transaction():
            for seq, *states in found:
                self._delete([(seq,)], {(number,) for number in states})
            gone = self._db.rows(_EXPIRED_PUBLICATIONS, _NEVER, PRUNE_ROWS)
            self._delete_publications(gone)

    def forget_cycles(self) -> None:
        """Delete all books; notices and orders stay."""
        with self._db.transaction():
            for table in ("heads", "cycles", "states", "publications", "rules"):
                self._db.change(f"DELETE FROM {table}")  # noqa: S608 - a constant
        self._memo = _Memo()

    def replace_orders(self, orders: Sequence[Order]) -> None:
        """Replace all orders by these."""
        with self._db.transaction():
            self._db.change("DELETE FROM orders")
            orders_table.put_orders(self._db, orders)

    def forget_notices(self, keep: int | None = None) -> None:
        """Delete all finished notices but the newest of each topic; with ``keep``, the oldest beyond that number."""
        count = notices_table.count(self._db)
        if keep is None:
            ids = notices_table.expired_notices(self._db, _NEVER, count)
        else:
            ids = notices_table.oldest(self._db, count - keep) if count > keep else []
        if ids:
            with self._db.transaction():
                notices_table.delete_notices(self._db, ids)

    def _delete(self, seqs: Sequence[tuple[int]], orphans: set[tuple[int]]) -> None:
        self._db.change_many("DELETE FROM cycles WHERE seq = ?", seqs)
        self._memo.turns.clear()  # the newest may be among them
        self._db.change_many(_FORGET_STATE, sorted(orphans))
        # A deleted state may be stored again under another number.
        gone = {number for (number,) in orphans}
        self._memo.states = {book: known for book, known in self._memo.states.items() if known.number not in gone}

    def _delete_publications(self, ids: Sequence[tuple[int]]) -> None:
        self._db.change_many("DELETE FROM publications WHERE id = ?", ids)
        gone = {number for (number,) in ids}
        self._memo.published = {book: known for book, known in self._memo.published.items() if known.number not in gone}

    # --- notices and orders ---

    def put_notices(self, notices: Sequence[Notice]) -> None:
        """See ``Journal``."""
        with self._db.transaction():
            notices_table.put_notices(self._db, notices)

    def notices(self, state: NoticeState, count: int) -> list[Notice]:
        """See ``Journal``."""
        return notices_table.of_state(self._db, state, count)

    def all_notices(self) -> list[Notice]:
        """Return every notice, oldest first within its state."""
        return notices_table.all_of(self._db)

    def backlog(self) -> Backlog:
        """See ``Journal``."""
        return notices_table.backlog(self._db)

    def knows_notice(self, key: str) -> bool:
        """See ``Journal``."""
        return bool(self._db.rows("SELECT 1 FROM notices WHERE key = ?", key))

    def open_topics(self) -> Mapping[str, float]:
        """See ``Journal``."""
        return notices_table.open_topics(self._db)

    def put_orders(self, orders: Sequence[Order]) -> None:
        """See ``Journal``."""
        with self._db.transaction():
            orders_table.put_orders(self._db, orders)

    def orders(self, now: float) -> tuple[Order, ...]:
        """See ``Journal``."""
        return orders_table.in_force(self._db, now)

    def order(self, key: str) -> Order | None:
        """See ``Journal``."""
        return orders_table.of_key(self._db, key)

    def order_history(self) -> tuple[Order, ...]:
        """Return all stored orders, ended ones too, oldest first."""
        return orders_table.all_orders(self._db)

    def change_orders(
        self, now: float, ends: Callable[[Order], Order | None], given: Order | None = None
    ) -> tuple[Order, ...]:
        """End orders and store ``given`` in one transaction; return the ended ones as they were before.

        Args:
            now: seconds since 1970 UTC.
            ends: returns an order as ended, or None if it stays in force; called for each order in force.
            given: the new order, if any.
        """
        with self._db.transaction():
            before = orders_table.in_force(self._db, now)
            over = {order.key: ended for order in before if (ended := ends(order)) is not None}
            orders_table.put_orders(self._db, over.values())
            if given is not None:
                orders_table.put_orders(self._db, (given,))
        return tuple(order for order in before if order.key in over)

    def close(self) -> None:
        """See ``Journal``."""
        self._db.close()

    # --- one row ---

    def _insert(self, cycle: Record, memo: _Memo) -> None:
        """Insert ``cycle`` with its state, rules and publication, if its ``previous`` is still the newest entry."""
        book, after = cycle.book, cycle.after
        rules_before = memo.rules.get(book) or self._last_rules(book)
        if rules_before is None or rules_before.value is not cycle.rules:
            memo.rules[book] = self._put_rules(cycle.rules)
        before = self._put_state(book, cycle.state, memo)
        memo.states[book] = stored = before if after is cycle.state else self._put_state(book, after, memo)
        inputs, unseen = without_metrics(cycle.inputs, after)
        self._take_head(cycle, stored.number)
        self._db.change(
            _INSERT,
            book,
            cycle.at,
            cycle.reason.value,
            cycle.generation,
            None if after.published is None else after.published.generation,
            int(cycle.decided),
            pack(encode(inputs)),
            b"",
            memo.rules[book].number,
            before.number,
            stored.number,
            cycle.key,
            cycle.previous,
            None if unseen is None else json.dumps(unseen),
            __version__,
            self._facts(cycle, memo, None if rules_before is None else rules_before.value),
        )

    def _facts(self, cycle: Record, memo: _Memo, rules_before: Rules | None) -> str | None:
        """Return the facts of a cycle as JSON; None if it is like the newest of its book."""
        changed = None if rules_before in {None, cycle.rules} else changed_rules(rules_before, cycle.rules)
        facts = facts_of(cycle.inputs, cycle.decision, cycle.state.published, changed)
        known = memo.turns.get(cycle.book) or turns_table.newest_turn(self._db, cycle.book)
        memo.turns[cycle.book] = cycle.reason.value, facts
        if known is not None and cycle.generation is None and repeats(*known, cycle.reason.value, facts):
            return None
        return json.dumps(facts)

    def _take_head(self, cycle: Record, state: int) -> None:
        """Make ``cycle`` the head of its book, in place of its ``previous``."""
        if cycle.previous:
            done = self._db.change(_GO_ON, cycle.key, state, cycle.book, cycle.previous)
        else:
            done = self._db.change(_BEGIN, cycle.book, cycle.key, state)
        if not done:
            raise self._conflict()

    def _conflict(self) -> JournalConflictError:
        return JournalConflictError(
            f"another program has recorded a cycle in {self._db.place}: two governors use the same journal, and this "
            "one did not publish; end one of the two, or give each a journal of its own (CAPITAL_GOVERNOR_JOURNAL)"
        )

    def _put_state(self, book: str, state: State, memo: _Memo) -> _Known[State]:
        known = memo.states.get(book)
        if known is not None and known.value is state:
            return known
        published = None if state.published is None else self._put_publication(book, state.published, memo)
        doc, digest = _content(state, None if published is None else published.digest)
        row = digest, pack(doc), None if published is None else published.number
        ((number,),) = self._db.rows(_PUT_STATE, *row) or self._db.rows(_STATE, digest)
        return _Known(state, number, digest)

    def _put_rules(self, rules: Rules) -> _Known[Rules]:
        doc = encode(rules)
        digest = _digest(doc)
        ((number,),) = self._db.rows(_PUT_RULES, digest, doc.decode()) or self._db.rows(_RULES, digest)
        return _Known(rules, int(number), digest)

    def _last_rules(self, book: str) -> _Known[Rules] | None:
        """Return the rules of the newest entry; None if there is none, or if they cannot be read.

        They are only compared with those of the next cycle, which must be recorded in any case.
        """
        for number, doc, digest in self._db.rows(_LAST_RULES, book):
            with contextlib.suppress(JournalError):
                return _Known(decode(Rules, doc.encode()), number, digest)
        return None

    def _put_publication(self, book: str, publication: Publication, memo: _Memo) -> _Known[Publication]:
        known = memo.published.get(book)
        if known is not None and known.value is publication:
            return known
        doc = encode(publication)
        digest = _digest(doc)
        which = book, publication.generation, digest
        found = self._db.rows(_PUT_PUBLICATION, book, publication.generation, publication.at, digest, pack(doc))
        if found:
            self._db.change(_UNREACH_OTHERS, *which)
        else:
            found = self._db.rows(_PUBLICATION, *which)
        memo.published[book] = stored = _Known(publication, int(found[0][0]), digest)
        return stored

    def _reach(self, book: str, publication: Publication, memo: _Memo) -> None:
        stored = self._put_publication(book, publication, memo)
        self._db.change("UPDATE publications SET reached = 1 WHERE id = ?", stored.number)

    def _page(self, book: str, first: int, newest: int, states: dict[int, State]) -> list[Entry]:
        """Return the next entries from ``first`` on; ``states`` caches the decoded states of the last page."""
        used: dict[int, State] = {}
        rules: dict[int, Rules] = {}
        with self._db.transaction(write=False):
            rows = [_Row(*row) for row in self._db.rows(_PAGE, book, first, newest, PAGE_ENTRIES)]
            for row in rows:
                for number in (row.before, row.after):
                    if number not in used:
                        used[number] = states.get(number) or self._state(number, row.version)
                if row.rules not in rules:
                    (doc,) = self._stored("rules", "doc", row.rules)
                    rules[row.rules] = decode(Rules, doc.encode(), row.version)
        states.clear()
        states.update(used)
        return [self._entry(book, row, used[row.before], used[row.after], rules[row.rules]) for row in rows]

    def _entry(self, book: str, row: _Row, before: State, after: State, rules: Rules) -> Entry:
        seen = decode(Inputs, unpack(row.inputs), row.version)
        if row.unseen is not None:
            seen = with_metrics(seen, after, json.loads(row.unseen))
        decision = resolve(seen, before, rules)
        again = None if decision.proposal is None else decision.proposal.generation
        same = (decision.reason.value, again) == (row.reason, row.generation)
        derived = same and encode(commit(decision)) == encode(after)
        if not derived:
            proposal = None if row.generation is None else after.published
            draft = replace(after, published=before.published, generation=before.generation) if proposal else after
            decision = Decision(self._reason(row.reason, row.version), proposal, draft, Trace())
        return Entry(
            seq=row.seq,
            key=row.key or f"entry-{row.seq}",
            book=book,
            previous=row.previous,
            inputs=seen,
            state=before,
            rules=rules,
            decision=decision,
            after=after,
            version=row.version,
            derived=derived,
        )

    def _state(self, number: int, version: str) -> State:
        """Return a stored state with its publication; ``version`` wrote it, if that is known."""
        doc, published = self._stored("states", "doc, published", number)
        state = decode(State, with_metrics_apart(unpack(doc)), version)
        if published is None:
            return state
        (publication,) = self._stored("publications", "doc", published)
        return replace(state, published=decode(Publication, unpack(publication), version))

    def _reason(self, reason: str, version: str) -> Reason:
        """Return the reason of an entry; an unknown one is damage, unless another version wrote it."""
        try:
            return Reason(reason)
        except ValueError as error:
            if version not in {"", __version__}:
                raise written_by_newer("an entry", str(error), version) from None
            raise JournalCorruptError(f"{self._db.place} has an entry of an unknown reason: {error}") from None

    def _stored(self, table: str, columns: str, number: int) -> tuple[Any, ...]:
        found = self._db.rows(f"SELECT {columns} FROM {table} WHERE id = ?", number)  # noqa: S608 - constants
        if not found:
            raise JournalCorruptError(f"{self._db.place} refers to something it does not hold: {table} {number}")
        return found[0]


def _content(state: State, published: bytes | None) -> tuple[bytes, bytes]:
    """Return a state's document without its publication, and the digest of both; ``published`` is the latter's."""
    doc = encode(replace(state, published=None))
    return doc, _digest(doc, published or b"")


def _state_digest(state: State) -> bytes:
    published = None if state.published is None else _digest(encode(state.published))
    return _content(state, published)[1]


def _digest(*parts: bytes) -> bytes:
    return blake2b(b"\0".join(parts), digest_size=16).digest()
