"""Parent and child processes on Linux: functions that the standard library lacks. Standard library only."""

from __future__ import annotations

import ctypes
import os
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

ORPHANED: Final = 75
"""Exit code of a process whose parent ended before ``die_with``."""

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36

_prctl = ctypes.CDLL(None, use_errno=True).prctl


def children_of(parent: int) -> set[int]:
    """Return the pids of all children of a process, zombies included."""
    return {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _parent(entry) == parent}


def start_ticks(pid: int) -> int:
    """Return when a process was started, in clock ticks since the boot; 0 if there is no such process.

    Pid and start together identify a process; a pid alone may be used again.
    """
    return _status(Path("/proc", str(pid)))[1]


def _parent(process: Path) -> int:
    return _status(process)[0]


def _status(process: Path) -> tuple[int, int]:
    """Return parent and start of a process; 0 and 0 if it has ended or is hidden from this user."""
    try:
        stat = (process / "stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0, 0
    # "PID (NAME) STATE PPID ...", where NAME may contain anything. See proc(5): fields 4 and 22.
    fields = stat.rpartition(b")")[2].split()
    return int(fields[1]), int(fields[19])


def fork(become: Callable[[], None]) -> int:
    """Return the pid of a child that calls ``become`` and exits: with 0 if it returns, 1 if it raises."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        become()
        code = 0
    except BaseException:  # noqa: BLE001 - a child must never return into its parent's code
        traceback.print_exc()
    finally:
        os._exit(code)


def die_with(parent: int, number: signal.Signals) -> None:
    """Make the kernel send ``number`` to this process when its parent dies; exit if that is dead already."""
    _control(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os._exit(ORPHANED)


def adopt_orphans() -> None:
    """Make this process the parent of every descendant whose own parent dies. Raises OSError if the kernel cannot."""
    _control(_PR_SET_CHILD_SUBREAPER, 1)


def _control(option: int, value: int) -> None:
    if _prctl(option, value, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl({option}): {os.strerror(code)}")
