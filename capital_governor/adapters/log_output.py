"""Writes log lines to a stream; if it fails, blocks or is closed, lines are counted as lost and nothing else stops."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Iterable
from typing import TextIO

from capital_governor.adapters.line_writer import LineWriter, Output
from capital_governor.adapters.printable import escape
from capital_governor.adapters.redaction import Redaction


class Sink:
    """Takes all log lines of the process and writes each in one call.

    It bypasses Python's buffers: a line that cannot be written is lost and not kept for a later flush, so that a full
    disk changes neither memory nor exit code. With a ``LineWriter``, lines wait for their reader on a thread, and the
    caller does not wait.

    Args:
        secrets: texts that must not appear, see ``Redaction``.
        stream: where to write; None is the ``sys.stderr`` of the moment.

    Attributes:
        redaction: hides the secrets, before lines come here.
        writer: writes the lines in the background; None: each is written at once.
        lost_line: makes the line that says how many lines were lost, and why.
    """

    def __init__(self, secrets: Iterable[str] = (), stream: TextIO | None = None) -> None:
        self.redaction = Redaction(secrets)
        self.writer: LineWriter | None = None
        self.lost_line: Callable[[int, str], str] = lambda count, why: escape(f"{count} log lines lost: {why}")
        self._stream = stream
        self._output = Output(patient=False)
        self._failures = 0
        self._last_error = ""

    @property
    def failures(self) -> int:
        """Lines that could not be written so far."""
        return self._failures + (0 if self.writer is None else self.writer.failures)

    @property
    def last_error(self) -> str:
        """Why the last of them could not be written; "" if there is none."""
        return self.redact("" if self.writer is None else self.writer.last_error) or self._last_error

    def redact(self, text: str) -> str:
        """Return the text without any secret, see ``Redaction``."""
        return self.redaction.hide(text)

    def write(self, text: str) -> None:
        """Write one rendered event. Never raises if the stream fails."""
        line = text + "\n"
        if self.writer is not None:
            self.writer.write(line)
            return
        try:
            self._put(sys.stderr if self._stream is None else self._stream, line)
        except (OSError, ValueError, RuntimeError, AttributeError) as error:
            # Full disk, closed pipe or file, reentrant call from a signal handler, or no stderr.
            self._failures += 1
            self._last_error = self.redact(str(error) or type(error).__name__)

    debug = info = warning = warn = error = critical = fatal = exception = msg = log = write

    def flush(self) -> None:
        """Wait a moment until all lines are written, before the process ends."""
        if self.writer is not None:
            self.writer.flush()

    def write_in_background(self, former: LineWriter | None = None) -> None:
        """Write lines on a thread from now on, if the stream is a file or terminal.

        Args:
            former: the writer to use instead of a new one, with its waiting lines.
        """
        stream = sys.stderr if self._stream is None else self._stream
        if former is not None:
            former.lost_line = self._lost_line
            self.writer = former
        elif stream is not None:
            with contextlib.suppress(OSError, ValueError):  # a stream in memory, or a closed one
                self.writer = LineWriter(stream.fileno(), self._lost_line, encoding=stream.encoding or "utf-8")

    def _lost_line(self, count: int, why: str) -> str:
        return self.lost_line(count, why) + "\n"

    def _put(self, stream: TextIO, line: str) -> None:
        try:
            descriptor = stream.fileno()
        except (io.UnsupportedOperation, AttributeError):  # a stream in memory
            stream.write(line)
            stream.flush()
            return
        self._output.put(descriptor, line.encode(stream.encoding or "utf-8", "backslashreplace"))
