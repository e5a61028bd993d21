"""The rotated log file: every line once, in order, and never an error for who writes."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capital_governor.supervisor.log_rotation import LogFile
from tests.rigs.supervised import logged


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file grow beyond ``size`` bytes: the kernel then refuses as a full disk does, half-way through a write."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)


lines = st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"") + b"\n"), max_size=30)


@given(lines, st.lists(st.integers(1, 60), min_size=1), st.integers(1, 60))
def test_every_byte_is_kept_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, wanted: list[bytes], sizes: list[int], max_bytes: int
) -> None:
    """However the output is cut into writes, the files together are the output, and only long lines are split."""
    path = tmp_path_factory.mktemp("log") / "a.log"
    log = LogFile(path, max_bytes=max_bytes, keep=10_000)
    rest, turn = b"".join(wanted), 0
    while rest:
        size = sizes[turn % len(sizes)]
        log.write(rest[:size])
        rest, turn = rest[size:], turn + 1
    log.close()
    files = logged(path)
    assert b"".join(files) == b"".join(wanted)
    assert all(len(file) <= 2 * max_bytes for file in files)
    for file in files[:-1]:
        assert file.endswith(b"\n") or len(file) == 2 * max_bytes


def test_only_the_wanted_number_of_full_files_stays(tmp_path: Path) -> None:
    """With two to keep, the newest two full files stand beside the current one."""
    log = LogFile(tmp_path / "a.log", max_bytes=4, keep=2)
    for number in range(9):
        log.write(b"%d..\n" % number)
    log.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.log", "a.log.1", "a.log.2"]
    assert logged(tmp_path / "a.log") == [b"6..\n", b"7..\n", b"8..\n"]


def test_a_file_that_was_there_is_continued(tmp_path: Path) -> None:
    """Nothing of an older run is lost, and a line it left unfinished does not swallow the first new one."""
    path = tmp_path / "a.log"
    path.write_bytes(b"old\nhalf a li")
    log = LogFile(path, max_bytes=100, keep=1)
    log.write(b"new\n")
    log.close()
    assert path.read_bytes() == b"old\nhalf a li\nnew\n"


@pytest.mark.parametrize("how", ["moved", "removed", "folder removed"])
def test_a_file_that_somebody_takes_away_is_made_anew(tmp_path: Path, how: str) -> None:
    """After another program has moved or removed the file, the next line is in a new one."""
    path = tmp_path / "logs" / "a.log"
    log = LogFile(path, max_bytes=100, keep=1)
    log.write(b"before\n")
    if how == "moved":
        path.rename(tmp_path / "elsewhere")
    else:
        path.unlink()
    if how == "folder removed":
        path.parent.rmdir()
    log.write(b"after\n")
    log.close()
    assert path.read_bytes() == b"after\n"
    assert how != "moved" or (tmp_path / "elsewhere").read_bytes() == b"before\n"


def test_a_full_disk_costs_lines_and_they_are_counted(tmp_path: Path) -> None:
    """What does not fit is dropped by whole lines; the next line that fits comes after their number and the cause."""
    path = tmp_path / "a.log"
    log = LogFile(path, max_bytes=10_000, keep=1)
    with largest_file(10):
        log.write(b"one 45\ntwo 45\nthree 45\nfo")  # ten bytes fit: all of the first line and part of the second
        log.write(b"ur 45\nfive 45\nsi")
    log.write(b"x 45\nseven 45\n")
    log.close()
    cause = os.strerror(errno.EFBIG)
    assert path.read_text() == f"one 45\ntwo\n[neo_light_fix] 5 lines were lost here: {cause}\nseven 45\n"


def test_lines_lost_at_the_end_are_counted_on_closing(tmp_path: Path) -> None:
    """An unfinished line counts as one; a disk that is still full at the end raises nothing."""
    path = tmp_path / "a.log"
    log = LogFile(path, max_bytes=10_000, keep=1)
    with largest_file(1):
        log.write(b"abc\ndef")
    log.close()
    assert "2 lines were lost here" in path.read_text()
    full = LogFile(tmp_path / "b.log", max_bytes=10_000, keep=1)
    with largest_file(1):
        full.write(b"abc\n")
        full.close()
    assert (tmp_path / "b.log").read_bytes() == b"a"


def test_a_log_that_cannot_be_opened_raises_nothing(tmp_path: Path) -> None:
    """A folder, or a FIFO without a reader, in the place of the log costs the lines and nothing else."""
    path = tmp_path / "a.log"
    path.mkdir()
    log = LogFile(path, max_bytes=100, keep=1)
    log.write(b"lost\n")
    path.rmdir()
    os.mkfifo(path)
    log.write(b"lost too\n")
    path.unlink()
    log.write(b"kept\n")
    log.close()
    assert path.read_text().splitlines()[1:] == ["kept"]
    assert "2 lines were lost here" in path.read_text()


def test_a_log_that_cannot_be_rotated_grows_on(tmp_path: Path) -> None:
    """No line is lost where a full file cannot be renamed; that is said once, and ends when renaming works again."""
    path, in_the_way = tmp_path / "a.log", tmp_path / "a.log.1"
    in_the_way.mkdir()
    log = LogFile(path, max_bytes=8, keep=1)
    for number in range(6):
        log.write(b"line %d\n" % number)
    text = path.read_text()
    assert [line for line in text.splitlines() if line.startswith("line")] == [f"line {n}" for n in range(6)]
    assert text.count("cannot be rotated") == 1
    in_the_way.rmdir()
    log.write(b"line 6\n")
    log.close()
    assert (path.read_text(), in_the_way.read_text()) == ("line 6\n", text)


@pytest.mark.parametrize(("max_bytes", "keep"), [(0, 1), (1, 0)])
def test_a_log_without_room_is_refused(tmp_path: Path, max_bytes: int, keep: int) -> None:
    """Sizes with which every rotation would lose what is there are a mistake of the caller's."""
    with pytest.raises(ValueError, match="at least 1"):
        LogFile(tmp_path / "a.log", max_bytes=max_bytes, keep=keep)


def test_it_loads_nothing_but_the_standard_library() -> None:
    """A process stands beside every agent, so it must be small: none of the program's libraries is loaded."""
    code = "import sys, capital_governor.supervisor.keeper; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    foreign = set(done.stdout.split()) - sys.stdlib_module_names - {"capital_governor", "__main__"}
    assert {name for name in foreign if not name.startswith(("_", "sitecustomize"))} == set()
