"""The daily digest: a message at the first completed cycle after a set hour that the governor is alive."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from capital_governor.core.model import DAY_SECONDS, Snapshot
from capital_governor.core.reason import GATE_REFUSALS
from capital_governor.journal.notices import Notice
from capital_governor.journal.protocol import Journal
from capital_governor.service.standing import Outcome
from capital_governor.wording.agent_alerts import unwell_agents
from capital_governor.wording.digest_text import Present, digest_lines, past_day
from capital_governor.wording.exposure_texts import cause_in_cycle
from capital_governor.wording.message_form import Sender
from capital_governor.wording.withheld_texts import withheld_text

ICON: Final = "☀️"
TOPIC: Final = "digest"
"""Digests have a topic so that the newest one is never deleted for its age."""


class Digest:
    """Puts the digest into the journal when it is due; the journal knows which was sent, also after a restart.

    Args:
        journal: has what was published and the holds, and stores the digest until it is sent.
        book: the book of the journal.
        hour: 0..23, UTC.
        sender: whose message this is.
        redact: hides secrets in the text.
    """

    def __init__(self, journal: Journal, book: str, hour: int, sender: Sender, redact: Callable[[str], str]) -> None:
        self._journal = journal
        self._book = book
        self._hour = hour
        self._sender = sender
        self._redact = redact
        self._seen = ""

    def put(self, outcome: Outcome) -> None:
        """Store the digest if one is due after this cycle.

        If digests were missed while no governor ran, only the last one is sent, late. None is due before the hour comes
        for the first time since the journal's first entry.
        """
        now = outcome.inputs.now
        due = self._last_due(now)
        key = f"digest-{due:%Y-%m-%d}"
        if key == self._seen:
            return
        first_at = self._journal.first_at(self._book)
        if first_at is None or first_at >= due.timestamp():
            return  # may be wrong while the journal is lost, so the next cycle asks again
        if not self._journal.knows_notice(key):
            text = self._text(outcome)
            self._journal.put_notices([Notice(key=key, created_at=now, text=text, topic=TOPIC, begins=False)])
        self._seen = key

    def _last_due(self, now: float) -> datetime:
        """Return the last time at which the hour began."""
        moment = datetime.fromtimestamp(now, UTC)
        today = moment.replace(hour=self._hour, minute=0, second=0, microsecond=0)
        return today if today <= moment else today - timedelta(days=1)

    def _text(self, outcome: Outcome) -> str:
        inputs, decision, now = outcome.inputs, outcome.decision, outcome.inputs.now
        hold, payload, backlog = decision.trace.hold, inputs.payload, self._journal.backlog()
        longest = max(60.0, 3 * self._sender.interval_seconds)  # as ``valid_until`` has it
        reason = decision.reason if decision.reason in GATE_REFUSALS else None
        lines = digest_lines(
            past_day(self._journal.timeline(self._book, now - DAY_SECONDS), now, longest),
            Present(
                published=outcome.visible,
                exposure_by=cause_in_cycle(decision, inputs),
                hold=reason if hold is None else hold.reason,
                unwell=unwell_agents(decision, payload) if isinstance(payload, Snapshot) else {},
                orders=outcome.orders,
                brake=next((brake for brake in decision.trace.brakes if brake.reason is decision.reason), None),
                withheld="" if outcome.visible is None else withheld_text(outcome.visible, decision.trace),
                waiting=outcome.waiting,
                pending=backlog.pending,
                refused=backlog.refused,
                refused_detail=backlog.refused_detail,
            ),
            now,
            self._sender,
        )
        return self._redact(self._sender.message(ICON, now, lines))
