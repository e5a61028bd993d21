"""The table of notices in the SQLite journal. The journal calls these inside its transactions, or typed by it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Final

from capital_governor.journal.notices import Backlog, Notice, NoticeState

SCHEMA: Final = (
    """CREATE TABLE notices (
        id INTEGER PRIMARY KEY AUTOINCREMENT,  -- the order in which they were made
        key TEXT NOT NULL UNIQUE, created_at REAL NOT NULL, text TEXT NOT NULL,
        topic TEXT NOT NULL,         -- of an alert: its episode
        begins INTEGER NOT NULL,     -- of an alert: 1 where the episode begins, 0 where it is over
        state TEXT NOT NULL,         -- held, pending, sent, refused or withdrawn
        attempts INTEGER NOT NULL, due_at REAL NOT NULL, detail TEXT NOT NULL)""",
    "CREATE INDEX notices_state ON notices (state, id)",
    "CREATE INDEX notices_at ON notices (created_at) WHERE state <> 'pending'",
    "CREATE INDEX notices_topic ON notices (topic, id) WHERE topic <> ''",
)
_COLUMNS: Final = "key, created_at, text, topic, begins, state, attempts, due_at, detail"
_PUT: Final = f"""INSERT INTO notices ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET
        state = excluded.state, attempts = excluded.attempts, due_at = excluded.due_at, detail = excluded.detail
    WHERE state = '{NoticeState.HELD}'
        OR (state = '{NoticeState.PENDING}' AND excluded.state <> '{NoticeState.HELD}')"""  # noqa: S608 - constants
_RELEASE: Final = f"""UPDATE notices SET state = '{NoticeState.PENDING}'
    WHERE key = ? AND state = '{NoticeState.HELD}'"""  # noqa: S608 - constants
_NEWEST_OF_TOPIC: Final = "(SELECT max(id) FROM notices WHERE topic <> '' AND topic = one.topic)"
_EXPIRED: Final = f"""SELECT id FROM notices AS one WHERE state <> 'pending' AND state <> 'held' AND created_at < ?
    AND (topic = '' OR id <> {_NEWEST_OF_TOPIC}) LIMIT ?"""  # noqa: S608 - a constant


def put(db: sqlite3.Connection, notices: Iterable[Notice]) -> None:
    """See ``NoticeStore.put_notices``; only inside a transaction."""
    db.executemany(
        _PUT,
        [
            (
                each.key,
                each.created_at,
                each.text,
                each.topic,
                int(each.begins),
                each.state.value,
                each.attempts,
                each.due_at,
                each.detail,
            )
            for each in notices
        ],
    )


def release(db: sqlite3.Connection, key: str) -> None:
    """Let a held notice be sent, if there is one of this key; only inside a transaction."""
    db.execute(_RELEASE, (key,))


def pending(db: sqlite3.Connection, count: int) -> list[Notice]:
    """See ``NoticeStore.pending_notices``."""
    return _of(db, NoticeState.PENDING, "id", count)


def held(db: sqlite3.Connection) -> list[Notice]:
    """See ``NoticeStore.held_notices``."""
    return _of(db, NoticeState.HELD, "id", -1)


def dead_letters(db: sqlite3.Connection, count: int) -> list[Notice]:
    """See ``NoticeStore.dead_letters``."""
    return _of(db, NoticeState.REFUSED, "id DESC", count)


def backlog(db: sqlite3.Connection) -> Backlog:
    """See ``NoticeStore.backlog``."""
    (waiting,), (refused,) = (
        db.execute("SELECT count(*) FROM notices WHERE state = ?", (state.value,)).fetchone()
        for state in (NoticeState.PENDING, NoticeState.REFUSED)
    )
    newest = dead_letters(db, 1) if refused else []
    oldest = pending(db, 1) if waiting else []
    return Backlog(waiting, refused, newest[0].detail if newest else "", oldest[0].detail if oldest else "")


def open_topics(db: sqlite3.Connection) -> frozenset[str]:
    """See ``NoticeStore.open_topics``."""
    which = f"SELECT topic FROM notices AS one WHERE topic <> '' AND begins = 1 AND id = {_NEWEST_OF_TOPIC}"  # noqa: S608
    return frozenset(topic for (topic,) in db.execute(which))


def expired(db: sqlite3.Connection, cutoff: float, count: int) -> list[tuple[int]]:
    """Return the ids of settled notices from before ``cutoff``; the newest of each topic tells of an episode, so stays.

    Nothing that may still be sent ever expires.
    """
    return db.execute(_EXPIRED, (cutoff, count)).fetchall()


def _of(db: sqlite3.Connection, state: NoticeState, order: str, count: int) -> list[Notice]:
    which = f"SELECT {_COLUMNS} FROM notices WHERE state = ? ORDER BY {order} LIMIT ?"  # noqa: S608 - constants
    return [
        Notice(
            key=key,
            created_at=created_at,
            text=text,
            topic=topic,
            begins=bool(begins),
            state=NoticeState(value),
            attempts=attempts,
            due_at=due_at,
            detail=detail,
        )
        for key, created_at, text, topic, begins, value, attempts, due_at, detail in db.execute(which, (state, count))
    ]
