"""Notices: messages to the operator. The journal stores them, the outbox sends them.

Each notice has a unique key, so that storing it a second time changes nothing. The journal on disk and the one in
memory can hold the same notice, and no notice is doubled by a commit that was reported as failed but was not.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from capital_governor.core.model import Publication

NOTICE_CAPACITY: Final = 1_000
"""Notices kept in memory while the journal on disk is lost: at most about 5 MB."""
DETAIL_CHARACTERS: Final = 300


class NoticeState(StrEnum):
    """The state of a notice.

    The notices of a move or cut are held until it is in the primary file, and withdrawn if it is abandoned.
    """

    HELD = "held"
    PENDING = "pending"
    SENT = "sent"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"


UNFINISHED: Final = frozenset({NoticeState.HELD, NoticeState.PENDING})
"""A notice in one of these states may still be sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One message to the operator.

    Args:
        key: unique among all notices.
        created_at: seconds since 1970 UTC.
        text: the message.
        topic: the episode that an alert is about; empty for other notices.
        begins: whether an alert is about the beginning of the episode, or about its end.
        state: whether it waits, was sent, and so on.
        attempts: failed attempts to send it.
        due_at: when it may be sent (again), seconds since 1970 UTC.
        detail: why the last attempt failed.
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
        """Return the notice as sent."""
        return replace(self, state=NoticeState.SENT, detail="")

    def released(self) -> Notice:
        """Return a held notice as pending."""
        return replace(self, state=NoticeState.PENDING)

    def withdrawn(self) -> Notice:
        """Return a held notice as one that is never sent."""
        return replace(self, state=NoticeState.WITHDRAWN)

    def may_become(self, state: NoticeState) -> bool:
        """Whether the state may change to ``state``: from held to pending to a finished one, never back."""
        return self.state is NoticeState.HELD or (self.state is NoticeState.PENDING and state is not NoticeState.HELD)

    def postponed(self, due_at: float, detail: str) -> Notice:
        """Return the notice with one more failed attempt, due again at ``due_at``."""
        return replace(self, attempts=self.attempts + 1, due_at=due_at, detail=detail[:DETAIL_CHARACTERS])

    def refused(self, detail: str) -> Notice:
        """Return the notice as one that Telegram has refused for good."""
        return replace(self, state=NoticeState.REFUSED, detail=detail[:DETAIL_CHARACTERS])


def new_notice(text: str, now: float, *, topic: str = "", begins: bool = True, key: str = "") -> Notice:
    """Return a notice; without ``key`` it gets a unique one."""
    return Notice(key=key or os.urandom(12).hex(), created_at=now, text=_storable(text), topic=topic, begins=begins)


def move_notice(publication: Publication, text: str) -> Notice:
    """Return the notice of a move or a cut: held until the agents can see it (``Journal.reached``)."""
    return Notice(key=move_key(publication), created_at=publication.at, text=_storable(text), state=NoticeState.HELD)


def move_key(publication: Publication) -> str:
    """Return the key of the notice of a move or a cut."""
    return f"move-{publication.decision_id}"


def lapse_notice(
    publication: Publication | None, text: str, now: float, *, place: int, topic: str, begins: bool
) -> Notice:
    """Return a notice about lapses: held until the agents can see the publication, if there is one.

    Args:
        publication: what the same decision publishes; None: nothing.
        text: the message.
        now: the time of the decision, in seconds since 1970 UTC.
        place: 0, 1 or 2, among the notices about lapses of this decision.
        topic: the episode.
        begins: whether it is about the beginning of the episode.
    """
    if publication is None:
        return new_notice(text, now, topic=topic, begins=begins)
    notice = new_notice(text, now, topic=topic, begins=begins, key=_lapse_keys(publication)[place])
    return replace(notice, state=NoticeState.HELD)


def held_keys(publication: Publication) -> tuple[str, ...]:
    """Return the keys of all notices that may be held until the agents can see this."""
    return (move_key(publication), *_lapse_keys(publication))


def _lapse_keys(publication: Publication) -> tuple[str, str, str]:
    """Return the keys of the notices about lapses: of a release, a return and a lapse in one decision."""
    which = publication.decision_id
    return f"lapse-1-{which}", f"lapse-2-{which}", f"lapse-3-{which}"


def _storable(text: str) -> str:
    """Return the text without lone surrogates, which can be neither stored nor sent."""
    return text.encode("utf-8", "replace").decode()


@dataclass(frozen=True, slots=True)
class Backlog:
    """Notices that were not sent.

    Args:
        pending: how many wait.
        refused: how many were refused for good.
        refused_detail: why the last of these was refused.
        pending_detail: why the oldest that waits could not be sent; empty if it was not tried yet.
    """

    pending: int = 0
    refused: int = 0
    refused_detail: str = ""
    pending_detail: str = ""
