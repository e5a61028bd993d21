"""Writes lines to a file descriptor on a thread, so that a stalled reader does not block the program.

A pipe that is not read, a terminal stopped with Ctrl-S and a disk that hangs all block a write. Here only the thread is
blocked. Lines wait in memory up to a limit; further lines are lost and counted, and a line with the count is written
once writing works again. Standard library only.
"""

from __future__ import annotations

import atexit
import os
import queue
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

MOST_LINES: Final = 2_000
MOST_BYTES: Final = 4 << 20
"""Limits for the lines that wait in memory; a single longer line may wait too."""
FLUSH_SECONDS: Final = 0.4
"""How long the end of the process waits until the last lines are written."""

_BATCH_BYTES: Final = 1 << 16


class Output:
    """Writes to a descriptor without Python's buffers. A line that a full disk cut off is ended before the next one.

    The descriptor's flags are not changed, since other programs may share it.

    Args:
        patient: wait while a non-blocking descriptor is full; otherwise this is an error.

    Attributes:
        written: bytes of the last ``put`` that were written.
    """

    def __init__(self, *, patient: bool) -> None:
        self.written = 0
        self._patient = patient
        self._torn = False

    def put(self, descriptor: int, data: bytes) -> None:
        """Write all of ``data``, which are whole lines. Raises OSError."""
        self.written = -1 if self._torn else 0
        if self._torn:
            data = b"\n" + data
        while data:
            try:
                count = os.write(descriptor, data)
            except BlockingIOError:
                if not self._patient:
                    raise
                _wait_for_room(descriptor)
                continue
            self.written += count
            data = data[count:]
            self._torn = bool(data)


class _Piece(NamedTuple):
    """A waiting line; with ``lost``, the line that says how many were lost."""

    data: bytes
    lost: int = 0


class LineWriter:
    """Takes lines from any thread without waiting, and writes them in order.

    Args:
        descriptor: where to write; it must stay open until the process ends.
        lost_line: makes the line, with its newline, that says how many lines were lost, and why.
        encoding: of the descriptor's reader; other characters are escaped.

    Attributes:
        failures: lines lost so far.
        last_error: why the last of them was lost; "" if none was.
    """

    def __init__(self, descriptor: int, lost_line: Callable[[int, str], str], *, encoding: str = "utf-8") -> None:
        self.lost_line = lost_line
        self.failures = 0
        self.last_error = ""
        self._descriptor = descriptor
        self._encoding = encoding
        self._output = Output(patient=True)
        # Both are reentrant: a destructor or a signal handler may log during a ``write``.
        self._guard = threading.RLock()
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._waiting: deque[_Piece] = deque()
        self._waiting_bytes = 0
        self._writing = 0
        self._unsaid = 0
        self._thread: threading.Thread | None = None

    def write(self, line: str) -> None:
        """Take one line with its newline, or several in one text. Returns at once and never raises."""
        data = line.encode(self._encoding, "backslashreplace")
        with self._guard:
            lines = len(self._waiting) + self._writing
            if lines >= MOST_LINES or (lines and self._waiting_bytes + len(data) > MOST_BYTES):
                self._lose([_Piece(data)], "the reader of the log has stalled")
                return
            if self._unsaid:  # the lost lines belong between the waiting lines and this one
                self._append_lost_line()
            self._append(_Piece(data))
            self._start()
        self._wake.put(None)

    def flush(self, seconds: float = FLUSH_SECONDS) -> bool:
        """Wait until all is written, at most ``seconds``; return whether it is."""
        end = time.monotonic() + seconds
        while self._is_busy():
            if time.monotonic() >= end:
                return False
            time.sleep(0.002)
        return True

    def _is_busy(self) -> bool:
        with self._guard:
            return bool(self._waiting or self._writing)

    def _append(self, piece: _Piece) -> None:
        self._waiting.append(piece)
        self._waiting_bytes += len(piece.data)

    def _append_lost_line(self) -> None:
        count, self._unsaid = self._unsaid, 0
        line = self.lost_line(count, self.last_error)
        self._append(_Piece(line.encode(self._encoding, "backslashreplace"), count))

    def _lose(self, pieces: Sequence[_Piece], why: str) -> None:
        self.failures += sum(not piece.lost for piece in pieces)
        self._unsaid += sum(piece.lost or 1 for piece in pieces)
        self.last_error = why

    def _start(self) -> None:
        if self._thread is not None:
            return
        thread = threading.Thread(target=self._run, name="log", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # too many threads: the next line tries again
            return
        self._thread = thread
        atexit.register(self.flush)

    def _run(self) -> None:
        while True:
            self._wake.get()
            while batch := self._take():
                self._put(batch)

    def _take(self) -> list[_Piece]:
        """Take waiting lines up to a size; many at once, to keep up with a fast writer."""
        batch: list[_Piece] = []
        with self._guard:
            size = 0
            while self._waiting and size < _BATCH_BYTES:
                batch.append(self._waiting.popleft())
                size += len(batch[-1].data)
            self._writing = len(batch)
        return batch

    def _put(self, batch: list[_Piece]) -> None:
        problem = ""
        try:
            self._output.put(self._descriptor, b"".join(piece.data for piece in batch))
        except OSError as error:  # a full disk, a closed pipe
            problem = str(error) or type(error).__name__
        with self._guard:
            if problem:
                self._lose(_unwritten(batch, self._output.written), problem)
            elif self._unsaid and not self._waiting:
                self._append_lost_line()
            self._waiting_bytes -= sum(len(piece.data) for piece in batch)
            self._writing = 0
            if not self._waiting:  # in case a reentrant write was counted wrongly
                self._waiting_bytes = 0


def _unwritten(batch: list[_Piece], written: int) -> list[_Piece]:
    """Return the pieces of a batch that are not completely within the first ``written`` bytes."""
    end = 0
    for number, piece in enumerate(batch):
        end += len(piece.data)
        if end > written:
            return batch[number:]
    return []


def _wait_for_room(descriptor: int) -> None:
    room = select.poll()
    room.register(descriptor, select.POLLOUT)
    room.poll()
