"""Where log lines go: a stream that may fail, block or be gone without anybody but a counter noticing."""

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
    """Where every line ends up, in one write.

    A file or terminal is written to below Python's buffers: a line that could not be written is lost rather than kept
    for a later flush, so that a full disk costs no memory and no exit code. Where ``LineWriter`` does the writing, a
    line waits until its reader takes it, and the caller does not.

    Args:
        secrets: texts that must not appear, see ``Redaction``.
        stream: where to; None is whatever ``sys.stderr`` is at the time.

    Attributes:
        redaction: hides the secrets; lines come here with nothing secret in them.
        writer: what writes the lines in the background; None: each is written at once.
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
        """How many lines could not be written so far."""
        return self._failures + (0 if self.writer is None else self.writer.failures)

    @property
    def last_error(self) -> str:
        """Why the last of them could not; "" if all could."""
        return self.redact("" if self.writer is None else self.writer.last_error) or self._last_error

    def redact(self, text: str) -> str:
        """Return the text without any secret, see ``Redaction``."""
        return self.redaction.hide(text)

    def write(self, text: str) -> None:
        """Write one event, as it is rendered. Never raises for what the stream does."""
        line = text + "\n"
        if self.writer is not None:
            self.writer.write(line)
            return
        try:
            self._put(sys.stderr if self._stream is None else self._stream, line)
        except (OSError, ValueError, RuntimeError, AttributeError) as error:
            # Full disk, closed pipe or file, re-entry from a signal handler, or no stderr at all.
            self._failures += 1
            self._last_error = self.redact(str(error) or type(error).__name__)

    debug = info = warning = warn = error = critical = fatal = exception = msg = log = write

    def flush(self) -> None:
        """Wait a moment until what was said is written: for the end of the process."""
        if self.writer is not None:
            self.writer.flush()

    def write_in_background(self, former: LineWriter | None = None) -> None:
        """Have lines written by a thread from now on, if there is a file or terminal at all.

        Args:
            former: goes on instead of a new one, with the lines that wait in it.
        """
        stream = sys.stderr if self._stream is None else self._stream
        if former is not None:
            former.confess = self._confess
            self.writer = former
        elif stream is not None:
            with contextlib.suppress(OSError, ValueError):  # a stream in memory, or a closed one
                self.writer = LineWriter(stream.fileno(), self._confess, encoding=stream.encoding or "utf-8")

    def _confess(self, count: int, why: str) -> str:
        return self.lost_line(count, why) + "\n"

    def _put(self, stream: TextIO, line: str) -> None:
        try:
            descriptor = stream.fileno()
        except (io.UnsupportedOperation, AttributeError):  # a stream in memory
            stream.write(line)
            stream.flush()
            return
        self._output.put(descriptor, line.encode(stream.encoding or "utf-8", "backslashreplace"))
