"""What ``check`` and ``doctor`` know: what a cycle would do now, and whether dashboard, folder and journal allow it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from capital_governor.adapters.dashboard import token_warnings
from capital_governor.adapters.paths import Paths
from capital_governor.adapters.permissions import denied
from capital_governor.cli.group_catch import group_documents, group_warnings
from capital_governor.cli.once_table import fleet_range_document
from capital_governor.cli.preview import preview, preview_warnings
from capital_governor.contracts.text import valid_name
from capital_governor.core.fleet_range import FleetRange, fleet_range
from capital_governor.core.hold import EXITS
from capital_governor.core.model import FUTURE_TOLERANCE_SECONDS, Agent, Refusal, Rules, Snapshot
from capital_governor.core.reason import PAYLOAD_HOLDS
from capital_governor.core.trace import Hold
from capital_governor.journal.protocol import JournalCorruptError, JournalUnavailableError
from capital_governor.journal.sqlite.sqlite_driver import in_memory
from capital_governor.service.standing import Outcome
from capital_governor.settings.load import Settings
from capital_governor.wording.reason_texts import message

WRITABLE: Final = "writable"
READABLE: Final = "readable"
NO_JOURNAL: Final = "none yet"


@dataclass(frozen=True, slots=True)
class Readiness:
    """What was found, without a change to anything.

    Args:
        settings: validated.
        outcome: what a cycle would do now.
        up: the dashboard's answer for /status.
        runtime: WRITABLE, or why this user cannot write there.
        journal: READABLE, NO_JOURNAL, or what is wrong with it.
    """

    settings: Settings
    outcome: Outcome
    up: int | Refusal
    runtime: str
    journal: str

    @property
    def payload(self) -> Snapshot | Refusal:
        """What the dashboard sent."""
        return self.outcome.inputs.payload

    @property
    def snapshot(self) -> Snapshot | None:
        """The payload; None if it was refused."""
        return self.payload if isinstance(self.payload, Snapshot) else None

    @property
    def rules(self) -> Rules:
        """The rules of a decision."""
        return self.settings.rules()

    @property
    def hold(self) -> Hold | None:
        """The hold in which a cycle would end; None without one."""
        return self.outcome.decision.trace.hold

    @property
    def metrics_usable(self) -> bool:
        """Whether the metrics are there, complete and fresh."""
        return self.hold is None or self.hold.reason not in PAYLOAD_HOLDS

    @property
    def ok(self) -> bool:
        """Whether a governor could govern now."""
        return (
            self.metrics_usable
            and not isinstance(self.up, Refusal)
            and self.runtime == WRITABLE
            and self.journal in {READABLE, NO_JOURNAL}
        )

    @property
    def room(self) -> FleetRange | None:
        """How far scores can move a weight; None without an agent."""
        members = _fleet(self.outcome, self.snapshot)
        return fleet_range(members, self.rules) if members else None

    @property
    def advice(self) -> str:
        """What is recommended for real money; empty if a brake is on, or the profile is chosen already."""
        rules, steady = self.rules, self.settings.profile == "steady"
        if steady or rules.cooldown_seconds or rules.confirm_cycles > 1 or rules.max_step < 1.0:
            return ""
        return "no brake is on; with real money, set CAPITAL_GOVERNOR_PROFILE=steady"

    @property
    def other_settings(self) -> list[str]:
        """Why the next cycle of a running governor may decide otherwise."""
        return preview_warnings(self.settings)

    @property
    def warnings(self) -> list[str]:
        """What a person should know, one sentence each."""
        of_payload = () if self.snapshot is None else self.snapshot.warnings
        known = _known(self.outcome, self.snapshot)
        found = (
            *token_warnings(self.settings),
            *self.other_settings,
            *of_payload,
            *self.outcome.decision.trace.warnings,
        )
        return list(dict.fromkeys((*found, *group_warnings(known, self.rules.groups))))

    @property
    def payload_text(self) -> str:
        """How many records the payload has and how old it is, or why it was refused."""
        return _described(self.payload, self.settings) if isinstance(self.payload, Snapshot) else self.payload.detail

    def document(self) -> dict[str, Any]:
        """Return the fields of ``check --json``, but for ``telegram``."""
        rules, reason, hold, room, snapshot = (
            self.rules,
            self.outcome.decision.reason,
            self.hold,
            self.room,
            self.snapshot,
        )
        faults: Mapping[Agent, str] = {} if snapshot is None else snapshot.faults
        return {
            "root": str(self.settings.root),
            "dashboard": self.settings.dashboard_url,
            "status": self.up.detail if isinstance(self.up, Refusal) else "up",
            "payload": self.payload_text,
            "runtime": self.runtime,
            "journal": self.journal,
            "telegram": None,
            "ok": self.ok,
            "agents": None if snapshot is None else len(snapshot.metrics),
            "faults": dict(faults),
            "warnings": self.warnings,
            "advice": self.advice,
            "groups": group_documents(_known(self.outcome, snapshot), rules.groups),
            "next": {
                "reason": reason.value,
                "message": message(reason, rules),
                "hold": None if hold is None else hold.detail,
                "exit": None if hold is None else EXITS[hold.reason],
            },
            "leeway": fleet_range_document(room, rules) if room is not None else None,
        }


def examine(settings: Settings, without_journal: str = "") -> Readiness:
    """Decide as a cycle would now, and look at dashboard, folder and journal. An unreadable journal counts as empty.

    Args:
        settings: validated.
        without_journal: what is wrong with the journal, if that is known already: then it is not read.

    Raises:
        JournalRefusedError: the journal is another program's or a newer version's, so that a governor cannot start.
        OSError: the files of the root cannot be seen.
    """
    try:
        outcome, up = preview(settings, in_memory() if without_journal else None)
        journal = without_journal or denied(settings.journal_path)
        journal = journal or (READABLE if settings.journal_path.exists() else NO_JOURNAL)
    except (JournalCorruptError, JournalUnavailableError) as error:
        outcome, up = preview(settings, in_memory())
        journal = str(error)
    return Readiness(settings, outcome, up, denied(Paths(settings.root).lock) or WRITABLE, journal)


def _fleet(outcome: Outcome, snapshot: Snapshot | None) -> int:
    """Return the number of members after this cycle; before the first, the number of good records."""
    if outcome.decision.trace.limits:
        return len(outcome.decision.trace.limits)
    members = sum(memory.member for memory in outcome.decision.after.agents.values())
    return members or (0 if snapshot is None else len(snapshot.metrics))


def _known(outcome: Outcome, snapshot: Snapshot | None) -> list[Agent]:
    """Return the agents in the payload and in what is published, sorted."""
    published = outcome.decision.after.published
    names = set() if published is None else set(published.shares)
    if snapshot is not None:
        names |= snapshot.metrics.keys() | {name for name in snapshot.faults if valid_name(name)}
    return sorted(names)


def _described(payload: Snapshot, settings: Settings) -> str:
    text = f"{len(payload.metrics)} good and {len(payload.faults)} faulty records"
    if payload.at is None:
        return f"{text}, without a time stamp"
    age = time.time() - payload.at
    if age < -FUTURE_TOLERANCE_SECONDS:
        return f"{text}, {-age:.0f} s in the future"
    age = max(0.0, age)
    stale = f", older than {settings.max_age_seconds:.0f} s: stale" if age > settings.max_age_seconds else ""
    return f"{text}, {age:.0f} s old{stale}"
