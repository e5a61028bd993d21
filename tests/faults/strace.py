"""System calls that fail, or never happen: strace takes hold of a publisher's child and injects one fault.

    with Publisher() as publisher:
        for name, count in publisher.calls(root()).items():     # what one publication asks of the kernel
            for nth in range(1, count + 1):
                fault = publisher.run(root(), kill(name, nth))
                assert fault.fired

strace counts each system call by its name, so a fault is "the n-th call of this name".
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pytest

from tests.faults.publisher import Job
from tests.faults.roots import Pair
from tests.promises.ledger import REPOSITORY
from tests.rigs.patience import PATIENCE_SECONDS

CHANGING: Final = (
    "openat",
    "mkdir",
    "write",
    "pwrite64",
    "ftruncate",
    "fsync",
    "fdatasync",
    "fchmod",
    "fchown",
    "rename",
    "unlink",
    "close",
)
"""The calls by which a publication changes a disk, or finds what is on it."""


def which(tool: str) -> str:
    """Return where a tool is; skip the test that needs it where it is missing."""
    found = shutil.which(tool)
    if found is None:
        pytest.skip(f"needs {tool}: ./neo_light_fix.sh test says how to get it")
    return found


@dataclass(frozen=True, slots=True)
class Ended:
    """How a publication under a fault ended: ``fired`` says how often the fault happened."""

    code: int
    fired: int
    trace: str


def kill(call: str, nth: int) -> str:
    """Kill -9 before the n-th such call."""
    return f"{call}:signal=KILL:when={nth}"


def fail(call: str, error: str, when: str) -> str:
    """Let such calls fail with this error: ``when`` is "3" for the third, "3+" for it and all that follow."""
    return f"{call}:error={error}:when={when}"


class Publisher:
    """A publisher, or the mutant of this name, while the block lasts."""

    def __init__(self, mutant: str = "") -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.publisher", *([mutant] if mutant else [])],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self._process.communicate(timeout=PATIENCE_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()

    def run(
        self,
        root: Path,
        fault: str = "",
        *,
        trace: str = "none",
        cycles: int = 1,
        started: bool = False,
        whole: Sequence[Pair] = (),
    ) -> Ended:
        """Do a ``publisher.Job``, traced: ``fault`` is an injection of strace's, ``trace`` the calls to be told.

        ``whole`` are pairs of which each file must have its part after each cycle.
        """
        texts = [[(content or b"").decode() for content in contents] for contents in zip(*whole, strict=True)]
        job = Job(root=str(root), cycles=cycles, started=started, whole=texts)
        pid = self._ask("pid", f"{json.dumps(job)}\n")
        called = fault.partition(":")[0] or trace
        inject = ["-e", f"inject={fault}"] if fault else []
        command = [which("strace"), "-p", str(pid), "-e", f"trace={called}", "-e", "signal=none", *inject]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace") as tracer:
            assert tracer.stderr is not None
            told = tracer.stderr.readline()
            if "attached" not in told:
                os.kill(pid, signal.SIGKILL)
                self._ask("code")
                pytest.fail(f"strace cannot trace here: {told}")
            os.kill(pid, signal.SIGUSR1)
            code = self._ask("code")
            try:
                _, rest = tracer.communicate(timeout=PATIENCE_SECONDS)
            finally:
                tracer.kill()
        fired = int(code == -signal.SIGKILL) if ":signal=KILL" in fault else rest.count("(INJECTED)")
        return Ended(code, fired, rest)

    def calls(self, root: Path, of: Sequence[str] = CHANGING, *, started: bool = False) -> dict[str, int]:
        """Publish without a fault; return how often each call was made."""
        ended = self.run(root, trace=",".join(of), started=started)
        assert ended.code == 0, ended.trace
        return dict(Counter(re.findall(r"^(\w+)\(", ended.trace, flags=re.MULTILINE)))

    def _ask(self, what: str, line: str = "") -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line)
        self._process.stdin.flush()
        said, _, number = self._process.stdout.readline().partition(" ")
        assert said == what, f"the publisher said {said!r} {number}"
        return int(number)
