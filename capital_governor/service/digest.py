"""The daily digest: a message at the first completed cycle after a set hour that the governor is alive."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Final

from capital_governor.core.model import DAY_SECONDS, Publication
from capital_governor.core.reason import CUTS, GATE_REFUSALS, HOLDS, MOVES, Reason
from capital_governor.journal.notices import Notice
from capital_governor.journal.protocol import Journal
from capital_governor.wording.notice_texts import digest_text

TOPIC: Final = "digest"
"""Digests have a topic so that the newest one is never deleted for its age."""


class Digest:
    """Puts the digest into the journal when it is due; the journal knows which was sent, also after a restart.

    Args:
        journal: has what was published and the holds, and stores the digest until it is sent.
        book: the book of the journal.
        hour: 0..23, UTC.
    """

    def __init__(self, journal: Journal, book: str, hour: int) -> None:
        self._journal = journal
        self._book = book
        self._hour = hour
        self._seen = ""

    def put(self, now: float, published: Publication | None) -> None:
        """Store the digest if one is due at ``now`` (seconds since 1970 UTC).

        If digests were missed while no governor ran, only the last one is sent, late. None is due before the hour comes
        for the first time since the journal's first entry.
        """
        due = self._last_due(now)
        key = f"digest-{due:%Y-%m-%d}"
        if key == self._seen:
            return
        first_at = self._journal.first_at(self._book)
        if first_at is None or first_at >= due.timestamp():
            return  # may be wrong while the journal is lost, so the next cycle asks again
        if not self._journal.knows_notice(key):
            text = self._text(now, published)
            self._journal.put_notices([Notice(key=key, created_at=now, text=text, topic=TOPIC, begins=False)])
        self._seen = key

    def _last_due(self, now: float) -> datetime:
        """Return the last time at which the hour began."""
        moment = datetime.fromtimestamp(now, UTC)
        today = moment.replace(hour=self._hour, minute=0, second=0, microsecond=0)
        return today if today <= moment else today - timedelta(days=1)

    def _text(self, now: float, published: Publication | None) -> str:
        """Return the text; cycles in a row with the same reason are one hold, in which cuts may be published."""
        reasons = self._journal.reasons(self._book, now - DAY_SECONDS)
        uncut = [reason for reason in reasons if reason not in CUTS]
        return digest_text(
            None if published is None else published.generation,
            moves=sum(reason in MOVES for reason in reasons),
            cuts=sum(reason in CUTS for reason in reasons),
            restores=sum(reason is Reason.RESTORE for reason in reasons),
            holds=sum(reason in HOLDS | GATE_REFUSALS for reason, _ in groupby(uncut)),
        )
