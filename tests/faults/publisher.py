"""A process that publishes on demand, for system-call faults: loaded once, it forks for each job.

    python -m tests.faults.publisher [MUTANT]

Each line on stdin is a ``Job``, as JSON. A child is made for it, its pid is printed once it waits for SIGUSR1, so that
strace can take hold of it first. It then starts a governor on the root (or has started it before) and takes its cycles
with ``NEXT``: the first is a move to generation 2, the others have to mend what it had to leave. Its exit code, or
minus the signal that killed it, is printed in turn.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import json
import os
import re
import signal
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypedDict

from tests.faults.mutants import MUTANTS
from tests.rigs.builders import INTERVAL, NOW
from tests.rigs.cycle_rig import CycleRig

FIRST: Final[Mapping[str, float]] = {"Ada": 0.5, "Bob": 0.3, "Cyd": 0.2}
NEXT: Final[Mapping[str, float]] = {"Ada": 0.1, "Bob": 0.3, "Cyd": 0.6}

TORN: Final = 2
"""A file was neither old nor new after a cycle."""
ESCAPED: Final = 3
"""An exception left the governor."""
LEAKED: Final = 4
"""A file descriptor more than before is open."""
_PR_SET_PTRACER: Final = 0x59616D61


class Job(TypedDict):
    """What one child has to do."""

    root: str
    cycles: int
    started: bool
    """Whether the governor starts before strace takes hold, so that only its cycles meet faults."""
    whole: list[list[str]]
    """What primary and override may hold after each cycle; nothing is looked at where this is empty."""


def publish_first(root: Path) -> None:
    """Make a root whose generation 1 is published and whose governor has ended."""
    with CycleRig(root) as rig:
        rig.see(FIRST)


def start_late(root: Path, late: int = 1) -> CycleRig:
    """Start on the root, so many intervals after the first publication."""
    return CycleRig(root, now=NOW + late * INTERVAL)


def publish_next(root: Path, *, late: int = 1) -> CycleRig:
    """Start on the root and take one cycle on NEXT."""
    rig = start_late(root, late)
    rig.see(NEXT)
    return rig


def _do(job: Job) -> int:
    root = Path(job["root"])
    try:
        rig = start_late(root) if job["started"] else None
        before = _open_files()
        _tell("pid", os.getpid())
        signal.sigwait({signal.SIGUSR1})
        rig = rig or start_late(root)
        for _ in range(job["cycles"]):
            rig.see(NEXT)
            if not _whole(rig, job["whole"]):
                return TORN
        # Not where a whole start is traced: the looking would count as the governor's calls.
        after = _open_files() if job["started"] else before
        rig.journal.close()
    except Exception:  # noqa: BLE001 - the exit code says that it escaped, whatever it was
        traceback.print_exc()
        return ESCAPED
    return LEAKED if after > before else 0


def _tell(what: str, number: int) -> None:
    sys.stdout.write(f"{what} {number}\n")
    sys.stdout.flush()


def _open_files() -> int:
    """Count without opening anything, which would be counted, and fail, with the governor's calls."""
    count = 0
    for fd in range(256):
        with contextlib.suppress(OSError):
            fcntl.fcntl(fd, fcntl.F_GETFD)
            count += 1
    return count


def _whole(rig: CycleRig, allowed: list[list[str]]) -> bool:
    for path, texts in zip((rig.primary, rig.override), allowed, strict=False):
        if undated(path.read_text()) not in map(undated, texts):
            return False
    return True


def undated(text: str) -> str:
    """A file's text but for when it was decided: a fault may put a move off."""
    return re.sub(r'"(timestamp|decision_id)": "[^"]*"', "", text)


def main() -> None:
    """Serve until stdin ends."""
    for name in sys.argv[1:]:
        MUTANTS[name]()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    gc.freeze()  # so that no child goes through all that is loaded, which took half of its time
    for line in sys.stdin:
        job: Job = json.loads(line)
        pid = os.fork()
        if pid == 0:
            # Where the kernel lets only ancestors trace (Yama), strace is none: let it all the same.
            ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(-1), 0, 0, 0)
            os._exit(_do(job))
        _, status = os.waitpid(pid, 0)
        _tell("code", os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
