"""A log file that is rotated by size between lines, and whose errors never reach the writer. Standard library only.

A full file is renamed, never truncated: FILE becomes FILE.1, FILE.1 becomes FILE.2, and so on up to the number to keep;
``tail -F FILE`` follows. If the disk refuses writes, lines are dropped and counted, and the count is written as soon as
writing works again.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

_CHUNK_BYTES: Final = 1 << 16
_POLL_SECONDS: Final = 0.05
_DRAIN_SECONDS: Final = 5.0
_TAG: Final = "[neo_light_fix]"
# Non-blocking, so that opening a FIFO in place of the log fails. It has no effect on a regular file.
_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOCTTY | os.O_NONBLOCK


class LogFile:
    """Appends bytes to a file; for one writer at a time.

    A line is only split between files if it is longer than ``max_bytes``. A file is at most twice as large as that.

    Args:
        path: the file; a missing folder is made.
        max_bytes: the size, above 0, above which the next line starts a new file.
        keep: how many full files are kept beside the current one, at least 1.
    """

    def __init__(self, path: Path, *, max_bytes: int, keep: int) -> None:
        if max_bytes < 1 or keep < 1:
            raise ValueError(f"max_bytes ({max_bytes}) and keep ({keep}) must be at least 1")
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._fd: int | None = None
        self._identity = (0, 0)
        self._size = 0
        self._in_line = False
        self._dropped_lines = 0
        self._dropping_line = False
        self._why_dropped = ""
        self._rotation_failed = False

    def write(self, data: bytes) -> None:
        """Append all of ``data``, whole lines or not. Never raises OSError; lines that are not written are counted."""
        rest = self._without_dropped_line(data)
        try:
            self._open_if_needed()
            if self._dropped_lines and rest:
                self._put_count()
            while rest:
                rest = rest[self._put(self._piece(rest)) :]
        except OSError as error:
            self._drop(rest, error)

    def close(self) -> None:
        """Write how many lines were dropped, if that is possible now, and close the file."""
        if self._dropping_line:
            self._dropping_line = False
            self._dropped_lines += 1
        try:
            if self._dropped_lines:
                self._open_if_needed()
                self._put_count()
        except OSError as error:
            self._drop(b"", error)
        self._close()

    # --- writing --------------------------------------------------------------------------------------------------

    def _piece(self, rest: bytes) -> bytes:
        """Return the part of ``rest`` for the current file; start a new file first if the current one is full."""
        room = self._max_bytes - self._size
        if len(rest) <= room:
            return rest
        whole_lines = rest.rfind(b"\n", 0, max(room, 0)) + 1
        if whole_lines:
            return rest[:whole_lines]
        # The next line does not fit. It may only begin here if the file is empty, or continue if it began here.
        split = self._size >= 2 * self._max_bytes
        if self._size and (split or not self._in_line):
            return self._piece(rest) if self._rotate() else rest
        line = rest.find(b"\n") + 1 or len(rest)
        return rest[: min(line, 2 * self._max_bytes - self._size)]

    def _put(self, piece: bytes) -> int:
        if self._fd is None:
            raise AssertionError("a file is open whenever something is written")
        written = os.write(self._fd, piece)
        self._size += written
        self._in_line = not piece[:written].endswith(b"\n")
        return written

    def _put_line(self, text: str) -> None:
        line = f"{_TAG} {text}\n".encode()
        if self._in_line:
            line = b"\n" + line
        while line:
            line = line[self._put(line) :]

    # --- dropped lines --------------------------------------------------------------------------------------------

    def _drop(self, rest: bytes, error: OSError) -> None:
        self._dropped_lines += rest.count(b"\n")
        self._dropping_line = bool(rest) and not rest.endswith(b"\n")
        self._why_dropped = error.strerror or str(error)

    def _without_dropped_line(self, data: bytes) -> bytes:
        """Return ``data`` without the rest of a line whose beginning was dropped."""
        if not self._dropping_line:
            return data
        end = data.find(b"\n") + 1
        if not end:
            return b""
        self._dropping_line = False
        self._dropped_lines += 1
        return data[end:]

    def _put_count(self) -> None:
        self._put_line(f"{self._dropped_lines} lines were lost here: {self._why_dropped}")
        self._dropped_lines = 0

    # --- the files ------------------------------------------------------------------------------------------------

    def _open_if_needed(self) -> None:
        """Open the file; open it again if it was moved or deleted."""
        if self._fd is not None:
            with contextlib.suppress(FileNotFoundError):
                if self._identity == _identity(self._path.stat()):
                    return
        self._open()

    def _open(self) -> None:
        self._close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(self._path, _FLAGS, 0o666)
        found = os.fstat(self._fd)
        self._identity, self._size = _identity(found), found.st_size
        self._in_line = self._size > 0 and not self._ends_a_line()
        if self._in_line:  # the last writer was killed within a line
            self._put(b"\n")

    def _ends_a_line(self) -> bool:
        """Whether the last byte of the file is a line end; a file that cannot be read counts as having one."""
        with contextlib.suppress(OSError), self._path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"
        return True

    def _close(self) -> None:
        if self._fd is not None:
            fd, self._fd = self._fd, None
            # close() may report a late write error. The descriptor is closed anyway, and the data is lost.
            with contextlib.suppress(OSError):
                os.close(fd)

    def _rotate(self) -> bool:
        """Start a new file; return False if the full one cannot be renamed and so grows further."""
        try:
            shift(self._path, self._keep)
        except OSError as error:
            if not self._rotation_failed:
                self._put_line(f"this file cannot be rotated and grows on: {error.strerror or error}")
            self._rotation_failed = True
            return False
        self._rotation_failed = False
        self._open()
        return True


def shift(path: Path, keep: int) -> None:
    """Rename FILE to FILE.1, FILE.1 to FILE.2 and so on, up to the first free number, at most ``keep``.

    A missing FILE is no error.

    Raises:
        OSError: a file cannot be renamed.
    """
    number = 1
    while number < keep and os.path.lexists(_numbered(path, number)):
        number += 1
    for full in range(number - 1, 0, -1):
        _numbered(path, full).replace(_numbered(path, full + 1))
    with contextlib.suppress(FileNotFoundError):
        path.replace(_numbered(path, 1))


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def pump(source: int, alive: int, log: LogFile, *, on_orphaned: Callable[[], None]) -> None:
    """Copy bytes from the pipe ``source`` to ``log`` until all its writers have closed it.

    Args:
        source: read end of the agent's output.
        alive: read end of a pipe without data that is closed when the keeper ends.
        log: receives the bytes.
        on_orphaned: called once if ``alive`` ends first; the rest of the output is then read for up to 5 s.
    """
    deadline: float | None = None
    watched = [source, alive]
    while deadline is None or time.monotonic() < deadline:
        ready, _, _ = select.select(watched, (), (), None if deadline is None else _POLL_SECONDS)
        if alive in ready:
            watched, deadline = [source], time.monotonic() + _DRAIN_SECONDS
            on_orphaned()
        if source in ready:
            data = os.read(source, _CHUNK_BYTES)
            if not data:
                return
            log.write(data)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
