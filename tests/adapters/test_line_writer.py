"""Lines that wait for their reader in a thread of their own: order, limits, losses, and the end."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from capital_governor.adapters.line_writer import MOST_BYTES, MOST_LINES, LineWriter
from tests.rigs.patience import PATIENCE_SECONDS
from tests.rigs.preludes import PATIENT_FLUSH


def confession(count: int, why: str) -> str:
    return f"lost {count}: {why}\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A small pipe: read end, write end."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    yield reading, writing
    for end in (reading, writing):
        os.close(end)


def read_all(reading: int, writer: LineWriter) -> bytes:
    """Read until nothing waits any more."""
    text, end = b"", time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        done = writer.flush(0.0)
        readable, _, _ = select.select([reading], [], [], 0.0 if done else 0.01)
        if readable:
            text += os.read(reading, 1 << 16)
        elif done:
            return text
    pytest.fail("lines still wait")


def test_lines_come_in_order_and_whole(pipe: tuple[int, int]) -> None:
    """What fits into memory comes out to the letter, however slow the reader is."""
    reading, writing = pipe
    writer = LineWriter(writing, confession)
    lines = [f"{number} {'x' * 400}\n" for number in range(MOST_LINES)]
    for line in lines:
        writer.write(line)
    assert not writer.flush(0.0)
    assert read_all(reading, writer).decode() == "".join(lines)
    assert (writer.failures, writer.last_error) == (0, "")


@pytest.mark.parametrize(("size", "kept"), [(10, MOST_LINES), (MOST_BYTES // 8, 8)])
def test_what_exceeds_the_limits_is_lost_and_said(pipe: tuple[int, int], size: int, kept: int) -> None:
    """Neither more lines nor more bytes than may wait are kept; what is lost is counted, and said in its place."""
    reading, writing = pipe
    os.write(writing, b"x" * 4095 + b"\n")  # full, so that none is on its way
    writer = LineWriter(writing, confession)
    for number in range(kept + 50):
        writer.write(f"{number:06}".ljust(size - 1, "x") + "\n")
    assert writer.failures in {50, 51}  # a piece that the thread has taken counts as waiting
    lost = writer.failures
    text = read_all(reading, writer).decode().splitlines()[1:]
    assert [int(line[:6]) for line in text[:-1]] == list(range(kept + 50 - lost))
    assert text[-1] == f"lost {lost}: the reader of the log has stalled"
    writer.write("after\n")
    assert read_all(reading, writer) == b"after\n"
    assert writer.failures == lost


def test_a_line_longer_than_all_that_may_wait_is_written(pipe: tuple[int, int]) -> None:
    """The limit is for what waits behind it."""
    reading, writing = pipe
    writer = LineWriter(writing, confession)
    writer.write("x" * (2 * MOST_BYTES) + "\n")
    assert len(read_all(reading, writer)) == 2 * MOST_BYTES + 1
    assert writer.failures == 0


def test_a_descriptor_that_does_not_block_is_waited_for(pipe: tuple[int, int]) -> None:
    """Another program's O_NONBLOCK on the same terminal or pipe costs no line, and stays as it is."""
    reading, writing = pipe
    os.set_blocking(writing, False)
    writer = LineWriter(writing, confession)
    for number in range(100):
        writer.write(f"{number} {'x' * 400}\n")
    assert len(read_all(reading, writer).splitlines()) == 100
    assert writer.failures == 0
    assert not os.get_blocking(writing)


def test_the_flags_of_a_blocking_descriptor_stay(pipe: tuple[int, int]) -> None:
    """A terminal or pipe that blocks is shared with programs that rely on that."""
    _, writing = pipe
    writer = LineWriter(writing, confession)
    writer.write("x\n")
    assert writer.flush(PATIENCE_SECONDS)
    assert os.get_blocking(writing)


def test_a_full_disk_is_counted_line_by_line() -> None:
    """Each line counts once, whatever was tried to be said of it."""
    with Path("/dev/full").open("wb") as full:
        writer = LineWriter(full.fileno(), confession)
        for _ in range(300):
            writer.write("x" * 100 + "\n")
            writer.write("y\n")
        assert writer.flush(PATIENCE_SECONDS)
        assert writer.failures == 600
        assert os.strerror(errno.ENOSPC) in writer.last_error


def test_lines_of_many_threads(tmp_path: Path) -> None:
    """None is lost or torn."""
    with (tmp_path / "log").open("ab") as log:
        writer = LineWriter(log.fileno(), confession)

        def chatter(number: int) -> None:
            for _ in range(200):
                writer.write(f"{number}" * 300 + "\n")

        threads = [threading.Thread(target=chatter, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert writer.flush(PATIENCE_SECONDS)
    lines = (tmp_path / "log").read_text().splitlines()
    assert sorted(lines) == sorted(f"{number}" * 300 for number in range(8) for _ in range(200))


ENDING: Final = """
import os, sys
from capital_governor.adapters.line_writer import LineWriter
writer = LineWriter(2, lambda count, why: f"lost {count}\\n")
for number in range(1000):
    writer.write(f"{number} " + "x" * 100 + "\\n")
print("all given", flush=True)
"""


def test_the_end_of_a_process_waits_for_its_last_lines() -> None:
    """With a reader that reads, all that was said before a normal end is there."""
    done = subprocess.run(
        [sys.executable, "-c", PATIENT_FLUSH + ENDING], capture_output=True, text=True, check=True, timeout=60
    )
    assert [int(line.split()[0]) for line in done.stderr.splitlines()] == list(range(1000))


def test_the_end_of_a_process_does_not_wait_for_a_stalled_reader(pipe: tuple[int, int]) -> None:
    """It ends though its reader never reads."""
    _, writing = pipe
    done = subprocess.run(
        [sys.executable, "-c", ENDING], stdout=subprocess.PIPE, stderr=writing, check=True, timeout=PATIENCE_SECONDS
    )
    assert done.stdout == b"all given\n"


def test_a_stopped_terminal_goes_on() -> None:
    """What was said while a terminal's output was stopped appears when it goes on."""
    master, slave = os.openpty()
    try:
        termios.tcflow(slave, termios.TCOOFF)
        writer = LineWriter(slave, confession)
        for number in range(1500):
            writer.write(f"{number} {'x' * 100}\n")
        assert writer.failures == 0
        termios.tcflow(slave, termios.TCOON)
        lines = read_all(master, writer).decode().splitlines()
        assert [int(line.split()[0]) for line in lines] == list(range(1500))
    finally:
        os.close(slave)
        os.close(master)
