"""Lets the operator's phone know that the governor has ended: the governor itself can no longer tell.

A process of its own sends the message, since the supervisor has neither threads nor libraries. A file in runtime/ marks
the end until the next governor has completed a cycle, and has told that it is back. While it is there, further ends are
not told, except that the governor gave up.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from capital_governor.supervisor.endings import UNSEEN
from capital_governor.supervisor.messages import PERMANENT
from capital_governor.supervisor.root import Root

_SENDER: Final = "capital_governor.service.governor_end"
_PATIENCE_SECONDS: Final = 5.0


class GovernorNews:
    """Starts a sender for each end of the governor that is news.

    Args:
        python: of the virtual environment.
        root: of the governor.
        command: the start of a command line of the script, as the operator must type it.
        report: takes messages for the supervisor's log.
    """

    def __init__(self, python: str, root: Root, command: str, report: Callable[[str], object]) -> None:
        self._python = python
        self._root = root
        self._marker = root.state_file.with_name("capital_governor_end.json")
        self._status = root.state_file.with_name("capital_governor_status.json")
        self._command = command
        self._report = report
        self._senders: list[subprocess.Popen[bytes]] = []

    def begin(self) -> None:
        """Mark the end of a governor whose supervisor was killed, so that the next one tells that it is back."""
        last = self._root.last_supervisor()
        if last is None or all(standing.state == "stopped" for standing in last.agents):
            return
        try:
            written = self._status.stat().st_mtime
        except OSError:  # it has completed no cycle
            return
        self._mark(written, UNSEEN)

    def ended(self, exit_code: int, log: Path, restart_seconds: float | None) -> None:
        """Tell that the governor has just ended; it is started again after ``restart_seconds``, None: never."""
        at = time.time()
        if not self._mark(at, exit_code):
            return
        command = [self._python, "-I", "-m", _SENDER, "--parent", str(os.getpid())]
        command += ["--exit-code", str(exit_code), "--at", f"{at:.3f}", "--log", str(log), "--command", self._command]
        if restart_seconds is not None:
            command += ["--restart-seconds", str(restart_seconds)]
        self._senders = [sender for sender in self._senders if sender.poll() is None]
        try:
            self._senders.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL))  # noqa: S603 - our program
        except OSError as error:
            self._report(f"the operator cannot be told that the governor ended: {self._python}: {error.strerror}")

    def close(self) -> None:
        """End the senders; what they could not send waits in the journal."""
        for sender in self._senders:
            sender.terminate()
        deadline = time.monotonic() + _PATIENCE_SECONDS
        for sender in self._senders:
            try:
                sender.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                sender.kill()
                sender.wait()

    def _mark(self, at: float, exit_code: int) -> bool:
        """Make the marker; return whether this end is news. The time of the first end stays."""
        try:
            known = json.loads(self._marker.read_bytes())
            first, told = float(known["at"]), int(known["exit_code"])
        except (OSError, ValueError, KeyError, TypeError):
            first, told = at, None
        news = told is None or (exit_code == PERMANENT != told)
        if news:
            new = self._marker.with_name(f".{self._marker.name}.new")
            try:
                new.write_text(json.dumps({"at": first, "exit_code": exit_code}))
                new.replace(self._marker)
            except OSError as error:
                self._report(f"cannot write {self._marker} ({error.strerror}): nobody tells that the governor is back")
        return news
