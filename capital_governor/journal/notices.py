"""Notices: texts on their way to the operator. The journal keeps them, the outbox delivers them.

A notice carries a key of its own, so that putting it into a store a second time changes nothing: the store in memory
and the one on the disk can hold the same notice, and a commit that only seemed to fail doubles none.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from capital_governor.core.model import Publication

NOTICE_CAPACITY: Final = 1_000
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
        """Whether a store may put ``state`` in place of this one's: held, then pending, then finished; never back."""
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
