"""Notifies systemd's watchdog after each completed cycle."""

from __future__ import annotations

import os

from capital_governor.adapters import logs
from capital_governor.adapters.systemd import ServiceManager
from capital_governor.service.event_log import write_line
from capital_governor.service.standing import Outcome
from capital_governor.settings.load import Settings
from capital_governor.wording.log_events import LogEvent
from capital_governor.wording.reason_texts import message


class SignsOfLife:
    """Notifies systemd, if it started this process with ``Type=notify``. A failure is logged once.

    Only a completed cycle is a sign of life, so that systemd restarts a process that completes none.
    """

    def __init__(self, settings: Settings) -> None:
        self._log = logs.get_logger()
        self._rules = settings.rules()
        self._manager = ServiceManager(os.environ.get("NOTIFY_SOCKET", ""))
        self._problem = ""
        allowed = os.environ.get("WATCHDOG_USEC", "")
        if allowed.isdecimal() and int(allowed) / 1e6 < 2 * settings.interval_seconds:
            line = LogEvent.WATCHDOG_SHORT.line(
                allowed_seconds=int(allowed) / 1e6, interval_seconds=settings.interval_seconds
            )
            write_line(self._log, line)

    def ready(self) -> None:
        """Notify that the start is over: settings, lock and journal are fine."""
        self._tell("READY=1")

    def completed(self, outcome: Outcome) -> None:
        """Notify that a cycle was completed, with its reason."""
        visible = outcome.visible
        generation = "" if visible is None else f"generation {visible.generation}: "
        said = outcome.waiting_text or message(outcome.decision.reason, self._rules)
        self._tell("WATCHDOG=1", f"STATUS={generation}{said}")

    def stopping(self) -> None:
        """Notify that the end has begun."""
        self._tell("STOPPING=1")

    def _tell(self, *assignments: str) -> None:
        problem = self._manager.notify(*assignments)
        if problem and problem != self._problem:
            write_line(self._log, LogEvent.SYSTEMD_UNREACHABLE.line(problem=problem))
        self._problem = problem
