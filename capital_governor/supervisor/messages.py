"""Messages of the supervisor and its commands on stderr, and their exit codes."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from capital_governor.supervisor.linux import die_with, fork
from capital_governor.supervisor.log_rotation import shift

USAGE: Final = 2
NOT_RUNNING: Final = 3
TRY_LATER: Final = 75
PERMANENT: Final = 78

_STDERR: Final = 2
_PATIENCE_SECONDS: Final = 1.0
_PATIENCE_AFTER_A_LOSS_SECONDS: Final = 0.05


class SupervisionError(Exception):
    """The command cannot be done; the sentence says why and what to do, ``code`` is the exit code."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def note(sentence: str) -> None:
    """Write a sentence to stderr, with the name of the script."""
    print(f"neo_light_fix.sh: {sentence}", file=sys.stderr, flush=True)  # noqa: T201 - a message to the user


class Messages:
    """The supervisor's messages, with their time in UTC.

    Neither a full disk nor a closed terminal ends the supervisor. A stalled reader (a paused pager, a terminal stopped
    with Ctrl-S) does not block it: a child writes the message and is killed after a second. Messages that could not be
    written are counted, and the next message that can be written has the count.

    Args:
        own_log: the file to which stderr goes, if it is to be rotated.
        max_bytes: the size at which it is renamed before the next message.
        keep: how many renamed files are kept.
    """

    def __init__(self, own_log: Path | None, *, max_bytes: int, keep: int) -> None:
        self._own_log = own_log
        self._max_bytes = max_bytes
        self._keep = keep
        self._lost = 0

    def report(self, sentence: str) -> None:
        """Write one message; never raises OSError."""
        if self._own_log is not None:
            self._rotate(self._own_log)
        text, patience = _line(sentence), _PATIENCE_SECONDS
        if self._lost:
            text = _line(f"messages that could not be written: {self._lost}") + text
            patience = _PATIENCE_AFTER_A_LOSS_SECONDS
        with suppress(OSError):  # no pipe or process is available
            if _written(text, patience):
                self._lost = 0
                return
        self._lost += 1

    def _rotate(self, log: Path) -> None:
        with suppress(OSError):  # a log that cannot be renamed grows further
            if log.is_file() and log.stat().st_size >= self._max_bytes:
                shift(log, self._keep)
                new = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
                os.dup2(new, _STDERR)
                os.close(new)


def _line(sentence: str) -> bytes:
    return os.fsencode(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} neo_light_fix.sh: {sentence}\n")


def _written(text: bytes, patience_seconds: float) -> bool:
    """Whether a child could write the text to stderr in time."""
    parent = os.getpid()
    answer, answering = os.pipe()

    def write() -> None:
        die_with(parent, signal.SIGKILL)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        rest = text
        with suppress(OSError):
            while rest:
                rest = rest[os.write(_STDERR, rest) :]
            os.write(answering, b".")

    try:
        child = fork(write)
        os.close(answering)
        ready, _, _ = select.select((answer,), (), (), patience_seconds)
        written = bool(ready) and os.read(answer, 1) == b"."
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return written
    finally:
        os.close(answer)
