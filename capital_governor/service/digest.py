"""The daily digest: once a day, at the first completed cycle from a set hour on, that the governor is alive."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Final

from capital_governor.core.model import DAY_SECONDS, Publication
from capital_governor.core.reason import CUTS, GATE_REFUSALS, HOLDS, MOVES
from capital_governor.journal.notices import Notice
from capital_governor.journal.protocol import Journal
from capital_governor.wording.notice_texts import digest_text

TOPIC: Final = "digest"
"""Of an episode that never begins: so that the newest digest is never deleted for its age."""


class Digest:
    """Puts the digest into the journal when it is due; whether it was is known from there, so also after a restart.

    Args:
        journal: where moves and holds are counted, and the digest waits to be sent.
        book: which of its books.
        hour: 0..23, UTC.
    """

    def __init__(self, journal: Journal, book: str, hour: int) -> None:
        self._journal = journal
        self._book = book
        self._hour = hour
        self._seen = ""

    def put(self, now: float, published: Publication | None) -> None:
        """Put the digest down if one is due at ``now`` (seconds since 1970 UTC).

        What was missed while nobody governed is told late, the last one only. Before the hour has come for the first
        time in the journal's life nothing is due.
        """
        due = self._last_due(now)
        key = f"digest-{due:%Y-%m-%d}"
        if key == self._seen:
            return
        first_at = self._journal.first_at(self._book)
        if first_at is None or first_at >= due.timestamp():
            return  # or so it seems, while the journal is lost: asked again in the next cycle
        if not self._journal.knows_notice(key):
            text = self._text(now, published)
            self._journal.put_notices([Notice(key=key, created_at=now, text=text, topic=TOPIC, begins=False)])
        self._seen = key

    def _last_due(self, now: float) -> datetime:
        """Return the newest moment of this hour of the day that has come."""
        moment = datetime.fromtimestamp(now, UTC)
        today = moment.replace(hour=self._hour, minute=0, second=0, microsecond=0)
        return today if today <= moment else today - timedelta(days=1)

    def _text(self, now: float, published: Publication | None) -> str:
        """A hold counts once for as long as its reason lasts, a cut as a move."""
        reasons = self._journal.reasons(self._book, now - DAY_SECONDS)
        moves = sum(reason in MOVES | CUTS for reason in reasons)
        holds = sum(reason in HOLDS | GATE_REFUSALS for reason, _ in groupby(reasons))
        return digest_text(None if published is None else published.generation, moves, holds)
