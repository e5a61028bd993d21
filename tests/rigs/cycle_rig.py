"""A governor without its loop: cycles on a real root with a real journal, and a clock that only the test moves."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

from capital_governor.adapters.interlocks import STOP_FILE
from capital_governor.core.model import Refusal, Snapshot
from capital_governor.journal.notices import NoticeState, new_notice
from capital_governor.journal.protocol import Entry
from capital_governor.service.alerts import Alert, Alerts
from capital_governor.service.cycle import PAUSE_FILE, Cycle
from capital_governor.service.event_log import EventLog
from capital_governor.service.open_episodes import open_episodes
from capital_governor.service.standing import Outcome
from capital_governor.settings.load import Settings, load
from capital_governor.wording.log_events import Line
from tests.rigs.builders import FLEET as SCORES
from tests.rigs.builders import INTERVAL, NOW, snapshot
from tests.rigs.journal_cycles import resilient

PLAIN_ENVIRONMENT: Final = {
    "CAPITAL_GOVERNOR_PNL_WEIGHT": "0",
    "CAPITAL_GOVERNOR_SHARPE_WEIGHT": "0",
    "CAPITAL_GOVERNOR_WINRATE_WEIGHT": "1",
    "CAPITAL_GOVERNOR_DRAWDOWN_WEIGHT": "0",
    "CAPITAL_GOVERNOR_NAME": "fleet1",
}
"""An agent's score is its win rate, so that numbers can be computed by hand."""


def settings_of(root: Path, **own: object) -> Settings:
    """Settings for a root: the defaults under PLAIN_ENVIRONMENT, and ``own`` by name without the prefix."""
    environment = {f"CAPITAL_GOVERNOR_{name}": str(value) for name, value in own.items()}
    return load(root, PLAIN_ENVIRONMENT | environment)


class CycleRig:
    """A governor's cycle on a real root with a real journal, and a clock that only the test moves.

    With ``notify`` the journal has the messages to the operator, as with a chat that takes none.

    Attributes:
        now: seconds since 1970 UTC; each ``cycle`` ends by moving it on by one interval.
        lines: what the log was told, over all restarts.
        alerted: the alerts, over all restarts.
        told: what the journal said about being lost and restored.
        found: what the last start found.
    """

    def __init__(
        self, root: Path, *, now: float = NOW, dry_run: bool = False, notify: bool = False, **own: object
    ) -> None:
        self.root = root
        self.settings = settings_of(root, **own)
        self.now = now
        self.lines: list[Line] = []
        self.told: list[object] = []
        self.alerted: list[Alert] = []
        self._journal_told = 0
        self._dry_run, self._notify = dry_run, notify
        self._begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.journal.close()

    @property
    def primary(self) -> Path:
        return self.governor.paths.primary

    @property
    def override(self) -> Path:
        return self.governor.paths.override

    @property
    def stop_file(self) -> Path:
        return self.root / STOP_FILE

    @property
    def pause_file(self) -> Path:
        return self.root / PAUSE_FILE

    def cycle(self, said: Snapshot | Refusal) -> Outcome:
        """Conclude one cycle on this payload."""
        outcome = self.governor.conclude(said)
        self.report.cycle(outcome)
        self.tell_journal()
        self.alerts.cycle(outcome)
        self.now += INTERVAL
        return outcome

    def tell_journal(self) -> None:
        """Alert of what the journal has said about being lost and restored since this was last called."""
        for news in self.told[self._journal_told :]:
            if isinstance(news, str):
                self.alerts.journal_lost(news, self.now)
            elif isinstance(news, int):
                self.alerts.journal_back(self.now, news)
        self._journal_told = len(self.told)

    def see(self, scores: Mapping[str, float] = SCORES, **more: Any) -> Outcome:
        """Conclude one cycle on a fresh payload in which the agents score this."""
        return self.cycle(snapshot(scores, **({"at": self.now} | more)))

    def texts(self, level: str = "") -> list[str]:
        """What the log was told, on this level or on all."""
        return [line.text for line in self.lines if level in ("", line.level)]

    def messages(self, state: NoticeState = NoticeState.PENDING) -> list[str]:
        """The messages in this state, oldest first."""
        return [notice.text for notice in self.journal.notices(state, 1_000)]

    def restart(self) -> None:
        """End without a word, as a kill would, and start again."""
        self.journal.close()
        self._begin()

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.governor.paths.status.read_bytes())
        return found

    def entries(self) -> list[Entry]:
        return list(self.journal.entries(Cycle.book))

    def _begin(self) -> None:
        path = self.settings.journal_path
        self.journal = resilient(path, now=lambda: self.now, on_lost=self.told.append, on_restored=self.told.append)
        self.governor = Cycle(
            self.settings, self.journal, dry_run=self._dry_run, notify=self._notify, clock=lambda: self.now
        )
        earlier = open_episodes(self.journal, Cycle.book, self.now, self.settings.interval_seconds)
        self.report = EventLog(self.lines.append, self.settings.rules(), earlier.told)
        self.alerts = Alerts(self._hear, self.settings, earlier)
        self.found = self.governor.recover()

    def _hear(self, alert: Alert) -> None:
        self.alerted.append(alert)
        if self._notify:
            notice = new_notice(alert.text, self.now, topic=alert.topic, begins=not alert.over)
            self.journal.put_notices([notice])


def footprint(*paths: Path) -> list[tuple[bytes, int, int] | None]:
    """What shows any write to these files: content, modification time in ns and inode; None where there is no file."""
    return [
        (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) if path.exists() else None for path in paths
    ]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep everybody else from writing this journal."""
    other = sqlite3.connect(path, isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")
    finally:
        other.close()
