"""The table of notices. The store calls the functions that change it inside its transactions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from capital_governor.journal.driver import Driver
from capital_governor.journal.notices import Backlog, Notice, NoticeState

_COLUMNS: Final = "key, created_at, text, topic, begins, state, attempts, due_at, detail"
_PUT: Final = f"""INSERT INTO notices ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET
        state = excluded.state, attempts = excluded.attempts, due_at = excluded.due_at, detail = excluded.detail
    WHERE notices.state = '{NoticeState.HELD}'
        OR (notices.state = '{NoticeState.PENDING}' AND excluded.state <> '{NoticeState.HELD}')"""  # noqa: S608 - constants
_RELEASE: Final = f"""UPDATE notices SET state = '{NoticeState.PENDING}'
    WHERE key = ? AND state = '{NoticeState.HELD}'"""  # noqa: S608 - constants
_UNFINISHED: Final = f"('{NoticeState.PENDING}', '{NoticeState.HELD}')"
_NEWEST_OF_TOPIC: Final = f"""(SELECT coalesce(max(id), 0) FROM notices
    WHERE topic <> '' AND topic = one.topic AND state <> '{NoticeState.WITHDRAWN}')"""  # noqa: S608 - constants
_EXPIRED: Final = f"""SELECT id FROM notices AS one WHERE state <> 'pending' AND state <> 'held' AND created_at < ?
    AND (topic = '' OR id <> {_NEWEST_OF_TOPIC}) LIMIT ?"""  # noqa: S608 - constants
_DELETE: Final = "DELETE FROM notices WHERE id = ?"
_OLDEST: Final = f"""SELECT id FROM notices
    ORDER BY CASE WHEN state IN {_UNFINISHED} THEN 1 ELSE 0 END, id LIMIT ?"""  # noqa: S608 - constants


def put_notices(db: Driver, notices: Iterable[Notice]) -> None:
    """See ``Journal.put_notices``."""
    db.change_many(
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


def release_notices(db: Driver, keys: Iterable[str]) -> None:
    """Make the held notices with these keys pending, as far as there are any."""
    db.change_many(_RELEASE, [(key,) for key in keys])


def of_state(db: Driver, state: NoticeState, count: int, *, newest: bool = False) -> list[Notice]:
    """Return the oldest notices in this state, or the newest, newest first."""
    order = "id DESC" if newest else "id"
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
        for key, created_at, text, topic, begins, value, attempts, due_at, detail in db.rows(which, state.value, count)
    ]


def all_of(db: Driver) -> list[Notice]:
    """Return every notice, oldest first within its state."""
    return [notice for state in NoticeState for notice in of_state(db, state, count(db))]


def backlog(db: Driver) -> Backlog:
    """See ``Journal.backlog``."""
    ((waiting, refused),) = db.rows(
        "SELECT (SELECT count(*) FROM notices WHERE state = ?), (SELECT count(*) FROM notices WHERE state = ?)",
        NoticeState.PENDING.value,
        NoticeState.REFUSED.value,
    )
    newest = of_state(db, NoticeState.REFUSED, 1, newest=True) if refused else []
    oldest = of_state(db, NoticeState.PENDING, 1) if waiting else []
    return Backlog(waiting, refused, newest[0].detail if newest else "", oldest[0].detail if oldest else "")


def open_topics(db: Driver) -> dict[str, float]:
    """See ``Journal.open_topics``."""
    which = f"""SELECT topic, created_at FROM notices AS one
        WHERE topic <> '' AND begins = 1 AND id = {_NEWEST_OF_TOPIC}"""  # noqa: S608 - constants
    return dict(db.rows(which))


def count(db: Driver) -> int:
    """Return how many notices there are."""
    ((found,),) = db.rows("SELECT count(*) FROM notices")
    return int(found)


def expired_notices(db: Driver, cutoff: float, limit: int) -> list[tuple[int]]:
    """Return the ids of finished notices from before ``cutoff``, but not the newest of each topic.

    That one says whether the episode is still open. A notice that may still be sent never expires.
    """
    return db.rows(_EXPIRED, cutoff, limit)


def oldest(db: Driver, limit: int) -> list[tuple[int]]:
    """Return the ids of the oldest notices, finished ones first."""
    return db.rows(_OLDEST, limit)


def delete_notices(db: Driver, ids: list[tuple[int]]) -> None:
    """Delete the notices with these ids."""
    db.change_many(_DELETE, ids)
