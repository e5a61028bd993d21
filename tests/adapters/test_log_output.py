"""A log that cannot be written harms nobody: losses are counted."""

from __future__ import annotations

import errno
import io
import logging
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import TextIO

import pytest

from capital_governor.adapters import logs
from tests.rigs.log_in_memory import HEAD, start_on

pytestmark = pytest.mark.usefixtures("logging_as_before")


class Failing(io.StringIO):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error: Exception | None = error

    def write(self, text: str) -> int:
        if self.error is not None:
            raise self.error
        return super().write(text)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        BrokenPipeError(errno.EPIPE, "Broken pipe"),
        BlockingIOError(errno.EAGAIN, "again", 3),
        ValueError("I/O operation on closed file"),
        RuntimeError("reentrant call inside <_io.BufferedWriter>"),
    ],
)
def test_failures_are_counted(error: Exception) -> None:
    """A stream's failure reaches nobody but the counter, and the next line is tried again."""
    stream = Failing(error)
    sink = start_on(stream)
    log = logs.get_logger()
    log.info("lost")
    logging.getLogger("x").error("lost")
    assert (sink.failures, sink.last_error) == (2, str(error))
    stream.error = None
    log.info("kept")
    assert sink.failures == 2
    assert stream.getvalue() == HEAD + "INFO    [capital_governor] kept\n"


def test_closed_and_missing_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed file, or no stderr at all, is a counted failure."""
    with (tmp_path / "log").open("w") as stream:
        sink = start_on(stream)
    logs.get_logger().info("lost")
    assert (sink.failures, sink.last_error) == (1, "I/O operation on closed file")
    monkeypatch.setattr(sys, "stderr", None)
    sink = start_on(None)
    logs.get_logger().info("lost")
    assert sink.failures == 1


def test_each_line_is_one_write(tmp_path: Path) -> None:
    """Lines written at once by many threads, tracebacks included, come out whole."""
    path = tmp_path / "log"
    with path.open("a") as stream:
        start_on(stream)
        threads = [threading.Thread(target=_chatter, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        lines = path.read_text().splitlines()  # before the file is closed: nothing waits in a buffer
    assert len(lines) == 8 * 200
    assert all(re.fullmatch(re.escape(HEAD) + r"INFO    \[capital_governor\] (\d)\1{299}", line) for line in lines)


def _chatter(number: int) -> None:
    log = logs.get_logger()
    for _ in range(200):
        log.info(str(number) * 300)


def test_a_full_pipe() -> None:
    """A pipe nobody reads loses lines instead of stopping the writer; a line cut off ends before the next one."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with os.fdopen(writer, "w", encoding="utf-8") as stream, os.fdopen(reader, "rb", buffering=0) as end:
        sink = start_on(stream)
        for _ in range(100):
            logs.get_logger().info("x" * 9000)
        assert sink.failures > 0
        assert "temporarily unavailable" in sink.last_error
        read = end.read(1 << 20)
        logs.get_logger().info("after")
        read += end.read(1 << 20)
    lines = read.decode().splitlines()
    assert lines[-1] == HEAD + "INFO    [capital_governor] after"
    assert len(lines[-2]) < 9000
    assert all(line == HEAD + "INFO    [capital_governor] " + "x" * 9000 for line in lines[:-2])


def test_ascii_terminal(tmp_path: Path) -> None:
    """A stream that cannot hold a character gets its escape instead."""
    path = tmp_path / "log"
    with path.open("w", encoding="ascii") as stream:
        sink = start_on(stream)
        logs.get_logger().info("🎯 ü")
    assert path.read_text() == HEAD + "INFO    [capital_governor] \\U0001f3af \\xfc\n"
    assert sink.failures == 0


PROGRAM = """
import logging, sys
from capital_governor.adapters import logs
sink = logs.configure(level="INFO", fmt="console", secrets=())
log = logs.get_logger()
for number in range(3000):
    log.info("x" * 100)
logging.getLogger("x").error("y")
print(sink.failures, sink.last_error, flush=True)
"""


def run(stderr: int | TextIO) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=stderr, text=True, check=False, timeout=60
    )


def test_full_disk() -> None:
    """With stderr on a full device all goes on, every loss is counted, and the exit code is that of success."""
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = run(full)
    assert done.stdout == "3001 [Errno 28] No space left on device\n"
    assert done.returncode == 0


def test_broken_pipe() -> None:
    """With nobody at the other end of stderr all goes on likewise."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = run(writer)
    finally:
        os.close(writer)
    assert done.stdout == "3001 [Errno 32] Broken pipe\n"
    assert done.returncode == 0
