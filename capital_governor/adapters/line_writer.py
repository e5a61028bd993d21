"""Lines for a file descriptor, written by a thread of its own, so that no reader can stop whoever writes them.

A pipe that nobody empties, a terminal stopped with Ctrl-S and a disk that hangs all block a write for as long as they
like. Here that blocks one daemon thread and nothing else: lines wait in memory up to a limit, those beyond are lost and
counted, and once lines can be written again one of them says how many were lost. Standard library only.
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
"""What may wait in memory: so many lines, and together so many bytes, unless a single line is longer."""
FLUSH_SECONDS: Final = 0.4
"""How long the end of a process waits until its last lines are written."""

_BATCH_BYTES: Final = 1 << 16


class Output:
    """Writes to a descriptor below Python's buffers, and ends a line that a full disk cut off before the next begins.

    The descriptor's flags stay as they are, since other programs may share it.

    Args:
        patient: wait where a descriptor that does not block is full; else that is an error as any other.

    Attributes:
        written: how many bytes of the last ``put`` were written.
    """

    def __init__(self, *, patient: bool) -> None:
        self.written = 0
        self._patient = patient
        self._torn = False

    def put(self, descriptor: int, data: bytes) -> None:
        """Write all of ``data``, which is whole lines. Raises OSError."""
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
    """A line that waits, or, with ``lost``, the one that says that so many were lost."""

    data: bytes
    lost: int = 0


class LineWriter:
    """Takes lines from any thread at once, and writes them in order.

    Args:
        descriptor: where to; it has to stay open as long as the process lives.
        confess: makes the line, with its newline, that says how many lines were lost, and why.
        encoding: of the descriptor's reader; it gets an escape for what it cannot have.

    Attributes:
        failures: how many lines were lost so far.
        last_error: why the last of them was; "" if none was.
    """

    def __init__(self, descriptor: int, confess: Callable[[int, str], str], *, encoding: str = "utf-8") -> None:
        self.confess = confess
        self.failures = 0
        self.last_error = ""
        self._descriptor = descriptor
        self._encoding = encoding
        self._output = Output(patient=True)
        # Both are reentrant: a destructor or a signal handler may have something to say in the midst of a ``write``.
        self._guard = threading.RLock()
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._waiting: deque[_Piece] = deque()
        self._waiting_bytes = 0
        self._writing = 0
        self._unsaid = 0
        self._thread: threading.Thread | None = None

    def write(self, line: str) -> None:
        """Take one line with its newline, or several that belong together. Returns at once and never raises."""
        data = line.encode(self._encoding, "backslashreplace")
        with self._guard:
            lines = len(self._waiting) + self._writing
            if lines >= MOST_LINES or (lines and self._waiting_bytes + len(data) > MOST_BYTES):
                self._lose([_Piece(data)], "the reader of the log has stalled")
                return
            if self._unsaid:  # what was lost came between what waits and this line
                self._append_confession()
            self._append(_Piece(data))
            self._start()
        self._wake.put(None)

    def flush(self, seconds: float = FLUSH_SECONDS) -> bool:
        """Wait until all is written, but no longer than that; return whether it is."""
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

    def _append_confession(self) -> None:
        count, self._unsaid = self._unsaid, 0
        line = self.confess(count, self.last_error)
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
        except RuntimeError:  # there are too many threads just now: the next line tries again
            return
        self._thread = thread
        atexit.register(self.flush)

    def _run(self) -> None:
        while True:
            self._wake.get()
            while batch := self._take():
                self._put(batch)

    def _take(self) -> list[_Piece]:
        """Take what waits, or a good part of it: where lines come faster than this thread's turns, it keeps up."""
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
                self._append_confession()
            self._waiting_bytes -= sum(len(piece.data) for piece in batch)
            self._writing = 0
            if not self._waiting:  # should a line that came in the midst of another have been counted wrongly
                self._waiting_bytes = 0


def _unwritten(batch: list[_Piece], written: int) -> list[_Piece]:
    """Return what of a batch is not, or not all of it, among the first so many bytes."""
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
