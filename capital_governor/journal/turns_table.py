"""Reads the turns of a book and what it published, without a look at the cycles between."""

from __future__ import annotations

import json
from typing import Any, Final

from capital_governor.core.model import Publication
from capital_governor.core.reason import Reason
from capital_governor.journal.codec import unpack
from capital_governor.journal.driver import Driver
from capital_governor.journal.protocol import JournalCorruptError
from capital_governor.journal.quick_reading import read_quickly
from capital_governor.journal.turns import Facts, Turn

_SEEN: Final = """EXISTS (SELECT 1 FROM publications AS seen
    WHERE seen.book = one.book AND seen.generation = one.generation AND seen.reached = 1)"""
_TURNS: Final = f"""SELECT seq, at, reason, generation, {_SEEN}, facts FROM cycles AS one
    WHERE book = ? AND at >= ? AND facts IS NOT NULL ORDER BY at DESC LIMIT ?"""  # noqa: S608 - constants
_EARLIER: Final = f"""SELECT seq, at, reason, generation, {_SEEN}, facts FROM cycles AS one
    WHERE book = ? AND at < ? AND facts IS NOT NULL ORDER BY at DESC LIMIT 1"""  # noqa: S608 - constants
_NEWEST_TURN: Final = """SELECT reason, facts FROM cycles
    WHERE seq = (SELECT max(seq) FROM cycles WHERE book = ? AND facts IS NOT NULL)"""
_PUBLISHED: Final = """SELECT doc FROM publications WHERE book = ? AND reached = 1 AND at >= ?
    ORDER BY generation DESC LIMIT ?"""
_PUBLISHED_BEFORE: Final = """SELECT doc FROM publications WHERE book = ? AND reached = 1 AND at < ?
    ORDER BY generation DESC LIMIT 1"""
_ONE: Final = "SELECT doc FROM publications WHERE book = ? AND reached = 1 AND generation = ?"
_ONE_BEFORE: Final = """SELECT doc FROM publications WHERE book = ? AND reached = 1 AND generation < ?
    ORDER BY generation DESC LIMIT 1"""
_RANGE: Final = "SELECT min(generation), max(generation) FROM publications WHERE book = ? AND reached = 1"
_PUBLISHING: Final = f"""SELECT seq, at, reason, generation, {_SEEN}, facts FROM cycles AS one
    WHERE book = ? AND at BETWEEN ? AND ? AND generation = ? AND facts IS NOT NULL"""  # noqa: S608 - constants
_GAPS: Final = """SELECT at, later FROM (
        SELECT at, lead(at) OVER (ORDER BY at) AS later FROM cycles WHERE book = ? AND at >= ?) AS pairs
    WHERE later - at > ? ORDER BY at"""
_ENDS: Final = "SELECT (SELECT min(at) FROM cycles WHERE book = ?), (SELECT max(at) FROM cycles WHERE book = ?)"


def turns(db: Driver, book: str, since: float, most: int) -> list[Turn]:
    """Return the newest turns from ``since`` on, oldest first, at most ``most``."""
    found = [_turn(db, row) for row in db.rows(_TURNS, book, since, most)]
    return sorted(found, key=lambda turn: turn.seq)


def turn_before(db: Driver, book: str, at: float) -> Turn | None:
    """Return the newest turn before a time; None if there is none."""
    found = db.rows(_EARLIER, book, at)
    return _turn(db, found[0]) if found else None


def newest_turn(db: Driver, book: str) -> tuple[str, Facts] | None:
    """Return reason and facts of the newest turn; None if there is none."""
    found = db.rows(_NEWEST_TURN, book)
    return (found[0][0], json.loads(found[0][1])) if found else None


def publications(db: Driver, book: str, since: float, most: int) -> list[Publication]:
    """See ``Store.publications``."""
    rows = db.rows(_PUBLISHED, book, since, most)
    if len(rows) < most:
        rows += db.rows(_PUBLISHED_BEFORE, book, since)
    return [read_quickly(Publication, unpack(doc)) for (doc,) in reversed(rows)]


def publication(db: Driver, book: str, generation: int) -> Publication | None:
    """See ``Store.publication``."""
    return _first_publication(db.rows(_ONE, book, generation))


def publication_before(db: Driver, book: str, generation: int) -> Publication | None:
    """See ``Store.publication_before``."""
    return _first_publication(db.rows(_ONE_BEFORE, book, generation))


def generations(db: Driver, book: str) -> tuple[int, int] | None:
    """See ``Store.generations``."""
    ((first, last),) = db.rows(_RANGE, book)
    return None if first is None else (first, last)


def publishing_turn(db: Driver, book: str, published: Publication) -> Turn | None:
    """See ``Store.publishing_turn``."""
    # Times go through the database as they are; a second more finds the cycle by the index of times all the same.
    found = db.rows(_PUBLISHING, book, published.at - 1, published.at + 1, published.generation)
    return _turn(db, found[0]) if found else None


def _first_publication(rows: list[tuple[Any, ...]]) -> Publication | None:
    return read_quickly(Publication, unpack(rows[0][0])) if rows else None


def gaps(db: Driver, book: str, since: float, longest: float) -> list[tuple[float, float]]:
    """See ``Store.gaps``."""
    return [(at, later) for at, later in db.rows(_GAPS, book, since, longest)]


def first_and_last_at(db: Driver, book: str) -> tuple[float, float] | None:
    """Return the times of the oldest and the newest entry; None if there is none."""
    ((first, last),) = db.rows(_ENDS, book, book)
    return None if first is None else (first, last)


def _turn(db: Driver, row: tuple[Any, ...]) -> Turn:
    seq, at, reason, generation, reached, facts = row
    try:
        return Turn(
            seq=seq,
            at=at,
            reason=Reason(reason),
            generation=generation,
            reached=bool(reached),
            facts=json.loads(facts),
        )
    except ValueError as error:
        raise JournalCorruptError(f"{db.place} has an entry that cannot be read: {error}") from None
