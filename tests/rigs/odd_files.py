"""Files that are none, users that may not, and what a folder holds: for tests of what reads and writes files."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534
STRANGER = 23456
"""The number of a user and of a group that the one who writes is not in."""


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def never() -> bool:
    return False


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Turn a call that blocks into a failure."""

    def expired(*_: object) -> None:
        raise TimeoutError("it blocked")

    before = signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def open_folder(mode: int) -> Iterator[Path]:
    """A folder of this mode below folders that everybody may enter, as those of pytest are not."""
    made = Path(tempfile.mkdtemp(dir="/tmp"))
    made.chmod(mode)
    try:
        yield made
    finally:
        shutil.rmtree(made)


@contextmanager
def unprivileged() -> Iterator[None]:
    """Take root's way around permissions away, where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def make_odd(kind: str, path: Path) -> None:
    """Put something in the place of a file: a folder, a FIFO, a socket, a link to nothing or ("loop") to itself."""
    if kind == "folder":
        path.mkdir()
    elif kind == "dangling":
        path.symlink_to("nothing")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        folder = os.open(path.parent, os.O_RDONLY)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"/proc/self/fd/{folder}/{path.name}")  # a socket's path may have 107 characters only
        os.close(folder)
    else:
        path.symlink_to(path.name)


def old_file(uid: int, gid: int, mode: int) -> os.stat_result:
    return os.stat_result((stat.S_IFREG | mode, 1, 1, 1, uid, gid, 3, 0, 0, 0))
