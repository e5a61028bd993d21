"""The plant of a soak: a private root on a small disk, supervisor, hive and governor, and what these take."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.rigs.supervised import Site

DISK_BYTES: Final = 192 * 1024 * 1024
TRIES: Final = 4
FAULTY_WORDS: Final = ("Traceback", "Unexpected error", "failed unexpectedly")
GOVERNOR: Final = "capital_governor"
HIVE: Final = "hive"
COMMANDS: Final = {GOVERNOR: "run", HIVE: "hive"}
"""Agents of the supervisor by name, and what each is told."""
SETTINGS: Final = {
    "CAPITAL_GOVERNOR_INTERVAL": "1",
    "CAPITAL_GOVERNOR_FETCH_DEADLINE": "3",
    "CAPITAL_GOVERNOR_HIVE_CAPITAL": "1000000",  # so much that a drawdown cuts at times, and not always
    **{f"CAPITAL_GOVERNOR_ALERT_{name}": "0.05" for name in ("UNREACHABLE", "ERROR", "STALE", "AGENT")},  # 3 s
    "NEO_LIGHT_STOP_SECONDS": "4",
}


class Plant:
    """The real ``neo_light_fix.sh`` with the real governor and hive, on a root below ``home``.

    Args:
        home: an empty folder.
        environment: where dashboard and Bot API are.
        hive_url: where the hive is to serve: not where the governor asks, so it is an agent like any other.
        small_disk: give the root a file system of its own, which can be filled; needs a mount namespace of our own.
    """

    def __init__(self, home: Path, environment: Mapping[str, str], hive_url: str, *, small_disk: bool) -> None:
        # Governor and hive are known by their command lines.
        self.site = Site(home, plain=True)
        self.root = self.site.root
        self._small_disk = small_disk
        if small_disk:
            size = f"size={DISK_BYTES},mode=755"
            subprocess.run(["/usr/bin/mount", "-t", "tmpfs", "-o", size, "soak", self.root], check=True)
        self.site.govern(None)
        python = self.site.project / ".venv/bin/python"
        hive = f"NEOLIGHT_DASHBOARD_URL={hive_url} exec '{python}' -P -m capital_governor {COMMANDS[HIVE]}"
        self.site.agents(f'ensure_running {HIVE} "{hive}"')
        self.site.settings = SETTINGS | {"NEOLIGHT_DASHBOARD_URL": environment["NEOLIGHT_DASHBOARD_URL"]}
        own = {name: value for name, value in environment.items() if name.startswith("TELEGRAM_")}
        (self.root / ".env").write_text("".join(f"{name}={value}\n" for name, value in own.items()))
        (self.root / "state").mkdir()
        self.primary = self.root / "runtime/capital_governor_allocations.json"
        self.override = self.root / "runtime/allocations_override.json"
        self.status = self.root / "runtime/capital_governor_status.json"
        self.journal = self.root / "state/capital_governor.sqlite3"
        self.filler = self.root / "filler"

    def clear(self) -> None:
        """End what is left of all processes, and take the small disk away."""
        self.site.clear()
        if self._small_disk:
            subprocess.run(["/usr/bin/umount", "--lazy", self.root], check=True)

    def start(self) -> None:
        """Start the supervisor in the background; one that was killed leaves agents, which end first."""
        said = ""
        for _ in range(TRIES):
            run = self.site.run("start")
            if run.code == 0:
                return
            said += run.err
            time.sleep(1)
        raise RuntimeError(f"'neo_light_fix.sh start' does not succeed: {said}")

    def stop(self) -> None:
        """Stop the supervisor and all that it keeps."""
        run = self.site.run("stop")
        if run.code:
            raise RuntimeError(f"'neo_light_fix.sh stop' ended with {run.code}: {run.err}")

    def pid(self, agent: str) -> int | None:
        """Return the pid of the governor or the hive, as their supervisor knows it, if it is running that program."""
        try:
            lines = (self.root / "runtime/neo_light_fix.state").read_text().splitlines()
        except FileNotFoundError:
            return None
        for line in lines:
            name, state, pid, *_ = [*line.split("\t"), "", ""]
            if name == agent and state == "running" and pid.isdigit():
                return int(pid) if runs(int(pid), COMMANDS[agent]) else None
        return None

    def standing(self) -> dict[str, Any]:
        """Return the status file."""
        said: dict[str, Any] = json.loads(self.status.read_bytes())
        return said

    def kill_supervisor(self) -> None:
        """``kill -9`` the supervisor; what it kept ends by itself."""
        for pid in self.site.supervisors():
            os.kill(pid, signal.SIGKILL)

    def fill(self, but_bytes: int = 0) -> None:
        """Take all that is free of the disk, and give so much of it back."""
        with self.filler.open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                piece = bytes(size)
                try:
                    while True:
                        if file.write(piece) < size:
                            break
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
            file.truncate(max(0, file.tell() - but_bytes))

    def free(self) -> None:
        """Give back what ``fill`` took."""
        self.filler.unlink(missing_ok=True)

    def troubles(self) -> list[str]:
        """Return the lines of all logs that tell of an error nobody foresaw."""
        return [line for line in self.logged() if any(word in line for word in FAULTY_WORDS)]

    def logged(self) -> list[str]:
        """Return all lines of all logs."""
        logs = sorted((self.root / "logs").glob("*.log*"))
        return [line for log in logs for line in log.read_text(errors="replace").splitlines()]


def runs(pid: int, command: str) -> bool:
    """Whether this process is the program with this command."""
    try:
        return f"capital_governor\0{command}\0".encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def is_stopped(pid: int) -> bool:
    """Whether this process is stopped by a signal."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@dataclass(slots=True)
class Burden:
    """What governors take, one sample a second: memory in KiB, and open file descriptors."""

    samples: list[tuple[int, int]] = field(default_factory=list)
    pids: list[int] = field(default_factory=list)

    def sample(self, pid: int) -> None:
        """Add one of this process, unless it has just ended."""
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        except (FileNotFoundError, ProcessLookupError):
            return
        resident = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")]
        if resident:
            self.samples.append((int(resident[0]), files))
            if pid not in self.pids[-1:]:
                self.pids.append(pid)

    def text(self, which: int, unit: int = 1) -> str:
        """Return one figure at start, maximum and end; the start is the 10th sample, when all is loaded."""
        values = [sample[which] / unit for sample in self.samples] or [0.0]
        return f"{values[min(9, len(values) - 1)]:.0f} / {max(values):.0f} / {values[-1]:.0f}"

    def most(self, which: int) -> int:
        """Return the largest figure."""
        return max((sample[which] for sample in self.samples), default=0)


class Beat(threading.Thread):
    """Calls something again and again; what it raises is kept, and raised where the thread is joined."""

    def __init__(self, every_seconds: float, *calls: Callable[[], object]) -> None:
        super().__init__()
        self._every_seconds = every_seconds
        self._calls = calls
        self._over = threading.Event()
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._over.wait(self._every_seconds):
                for call in self._calls:
                    call()
        except BaseException as error:  # noqa: BLE001 - raised by end()
            self._error = error

    def end(self) -> None:
        """Let the call in progress finish."""
        self._over.set()
        self.join(60)
        if self._error is not None:
            raise self._error
