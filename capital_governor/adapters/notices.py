"""Notices: texts on their way to the operator. The journal keeps them, the outbox delivers them.

A notice carries a key of its own, so that putting it into a store a second time changes nothing: the store in memory
and the one on the disk can hold the same notice, and a commit that only seemed to fail doubles none.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Protocol

from capital_governor.core.model import Publication

CAPACITY: Final = 1_000
"""Notices kept in memory while the durable journal cannot take them: at most some 5 MB."""
DETAIL_CHARACTERS: Final = 300


class NoticeState(StrEnum):
    """What became of a notice.

    That of a move or a cut is held until the primary file carries it, and withdrawn if it is given up before.
    """

    HELD = "held"
    PENDING = "pending"
    SENT = "sent"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"


UNSETTLED: Final = frozenset({NoticeState.HELD, NoticeState.PENDING})
"""A notice in one of these states may still be sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One text for the operator.

    Args:
        key: tells it from every other notice ever made.
        created_at: seconds since 1970 UTC.
        text: what is sent.
        topic: of an alert: the episode that it is about; empty for all else.
        begins: of an alert: whether the episode begins with it, or is over.
        state: what became of it.
        attempts: how often sending it has failed.
        due_at: when it may be sent (again), seconds since 1970 UTC.
        detail: why it could not be sent the last time.
    """

    key: str
    created_at: float
    text: str
    topic: str = ""
    begins: bool = True
    state: NoticeState = NoticeState.PENDING
    attempts: int = 0
    due_at: float = 0.0
    detail: str = ""

    def sent(self) -> Notice:
        """Return it as one that was taken."""
        return replace(self, state=NoticeState.SENT, detail="")

    def released(self) -> Notice:
        """Return a held one as pending."""
        return replace(self, state=NoticeState.PENDING)

    def withdrawn(self) -> Notice:
        """Return a held one as one that is never sent."""
        return replace(self, state=NoticeState.WITHDRAWN)

    def may_become(self, state: NoticeState) -> bool:
        """Whether a store may put ``state`` in place of this one's: held, then pending, then settled; never back."""
        return self.state is NoticeState.HELD or (self.state is NoticeState.PENDING and state is not NoticeState.HELD)

    def postponed(self, due_at: float, detail: str) -> Notice:
        """Return it with one failed attempt more, due again at ``due_at``."""
        return replace(self, attempts=self.attempts + 1, due_at=due_at, detail=detail[:DETAIL_CHARACTERS])

    def refused(self, detail: str) -> Notice:
        """Return it as a dead letter."""
        return replace(self, state=NoticeState.REFUSED, detail=detail[:DETAIL_CHARACTERS])


def new_notice(text: str, now: float, *, topic: str = "", begins: bool = True, key: str = "") -> Notice:
    """Return a notice; without ``key`` it gets one that nothing else has."""
    return Notice(key=key or os.urandom(12).hex(), created_at=now, text=_storable(text), topic=topic, begins=begins)


def move_notice(publication: Publication, text: str) -> Notice:
    """Return the notice of a move or a cut: held until the agents can see it (``Journal.reached``)."""
    return Notice(key=move_key(publication), created_at=publication.at, text=_storable(text), state=NoticeState.HELD)


def move_key(publication: Publication) -> str:
    """Return the key of the notice of a move or a cut."""
    return f"move-{publication.decision_id}"


def _storable(text: str) -> str:
    """Return the text without half surrogate pairs, which could be neither kept nor sent."""
    return text.encode("utf-8", "replace").decode()


@dataclass(frozen=True, slots=True)
class Backlog:
    """What has not been taken: how many wait, how many were refused for good, and why the last of those was.

    Also why the oldest of those that wait could not be sent; empty if it was not tried yet.
    """

    pending: int = 0
    refused: int = 0
    refused_detail: str = ""
    pending_detail: str = ""


class NoticeStore(Protocol):
    """Where notices wait: every journal is one. Any method may raise a JournalError."""

    def put_notices(self, notices: Sequence[Notice]) -> None:
        """Add these, or bring up to date what is known under their keys, as far as ``Notice.may_become`` allows."""

    def pending_notices(self, count: int) -> list[Notice]:
        """Return the oldest that are to be sent."""

    def held_notices(self) -> list[Notice]:
        """Return those of moves and cuts that no agent has seen yet, oldest first: hardly ever more than one."""

    def dead_letters(self, count: int) -> list[Notice]:
        """Return the newest that were refused for good, newest first."""

    def backlog(self) -> Backlog:
        """Return how many have not been taken."""

    def knows_notice(self, key: str) -> bool:
        """Whether a notice of this key was ever put here, and not deleted for its age since."""

    def open_topics(self) -> frozenset[str]:
        """Return the topics whose newest notice is a beginning: told, and not known to be over."""


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
