"""A site to supervise: a copy of neo_light_fix.sh with a ready environment, a root, and agents that tests write."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.rigs.commands import CommandResult
from tests.rigs.patience import PATIENCE_SECONDS, wait_until
from tests.rigs.preludes import MAIN, PATIENT_FLUSH
from tests.rigs.script_machine import BOUND_BY_PERMISSIONS, REPOSITORY

# The environment's Python: this one, but for the governor, which is what the test has written. The real governor and
# the hive get PATIENT_FLUSH, so that their logs have the last lines when they have ended.
PYTHON = """\
#!/bin/bash
case "$*" in
    "-I -m capital_governor run") [[ ! -e {governor} ]] || exec /bin/bash {governor} ;;
    "-I -m capital_governor status") [[ ! -e {governor} ]] || exec echo "the governor's own report" ;;
esac
case "$*" in
    "-I -m capital_governor run" | "-I -m capital_governor hive") {plain} || exec {python} -I -c {program} "$4" ;;
    "-I -m capital_governor.supervisor "*) [[ ! -e {changed} ]] || exec {python} -I {changed} "${{@:4}}" ;;
esac
exec {python} "$@"
"""

QUICK = {
    "NEO_LIGHT_BACKOFF_SECONDS": "0.2",
    "NEO_LIGHT_BACKOFF_MAX_SECONDS": "0.8",
    # On no machine does it take so long to end a brief agent or a polite one.
    "NEO_LIGHT_HEALTHY_SECONDS": str(PATIENCE_SECONDS),
    "NEO_LIGHT_STOP_SECONDS": str(PATIENCE_SECONDS),
    "NEOLIGHT_DASHBOARD_URL": "http://127.0.0.1:1",
}


@dataclass(slots=True)
class Site:
    """A project folder and a root below ``home``, and all processes that come from it, known by a marker of theirs."""

    home: Path
    marker: str = field(default_factory=lambda: f"SUPERVISED_BY={uuid.uuid4()}")
    settings: dict[str, str] = field(default_factory=dict)
    bound: bool = False
    """Whether permissions count for the script, whoever runs the tests."""
    plain: bool = False
    """Whether governor and hive run by their very command lines, and so without PATIENT_FLUSH."""

    def __post_init__(self) -> None:
        (self.project / ".venv/bin").mkdir(parents=True)
        self.root.mkdir()
        shutil.copy(REPOSITORY / "neo_light_fix.sh", self.project)
        (self.project / "capital_governor").symlink_to(REPOSITORY / "capital_governor")
        (self.project / "pyproject.toml").write_text("[project]\n")
        self.govern("exec sleep 1000")
        python = self.project / ".venv/bin/python"
        python.write_text(
            PYTHON.format(
                python=sys.executable,
                governor=f"'{self.home / 'governor'}'",
                changed=f"'{self.home / 'changed supervisor'}'",
                program=shlex.quote(PATIENT_FLUSH + MAIN),
                plain=str(self.plain).lower(),
            )
        )
        python.chmod(0o755)
        (self.project / ".ci").mkdir()
        shutil.copy(REPOSITORY / ".ci/environment.py", self.project / ".ci")
        (self.project / ".ci/requirements.txt").write_text("# nothing\n")
        needed = b"[project]\n# nothing\n"
        stamp = f"{self.project}\ninstalled {zlib.crc32(needed)} {len(needed)} []\n"
        (self.project / ".venv/neo_light_fix.stamp").write_text(stamp)

    @property
    def project(self) -> Path:
        return self.home / "pro ject"

    @property
    def root(self) -> Path:
        return self.home / "ro ot"

    def govern(self, script: str | None) -> None:
        """Let the governor be a line of bash; None: the real one."""
        path = self.home / "governor"
        path.unlink() if script is None else path.write_text(f"{script}\n")

    def change_supervisor(self, *lines: str) -> None:
        """Let the supervisor run these lines of Python before it begins."""
        program = (*lines, "from capital_governor.supervisor.__main__ import main", "main()")
        (self.home / "changed supervisor").write_text("".join(f"{line}\n" for line in program))

    def agents(self, *lines: str) -> None:
        (self.project / ".agents.sh").write_text("".join(f"{line}\n" for line in lines))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the script, without arguments as the supervisor, whose messages go to ``home/said``."""
        with (self.home / "said").open("a") as said:
            return subprocess.Popen(
                [*(BOUND_BY_PERMISSIONS if self.bound else ()), self.project / "neo_light_fix.sh", *arguments],
                cwd=self.home,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if arguments else said,
                stderr=subprocess.PIPE if arguments else said,
                text=True,
                start_new_session=True,
            )

    @contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Start the script for a block; a test that fails does not wait for its end."""
        with self.start(*arguments) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    def run(self, *arguments: str) -> CommandResult:
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=PATIENCE_SECONDS)
        return CommandResult(process.returncode, out or "", err or "")

    def environment(self) -> dict[str, str]:
        name, _, value = self.marker.partition("=")
        inherited = {"PATH": os.environ["PATH"], "HOME": str(self.home), name: value}
        return inherited | QUICK | {"NEOLIGHT_ROOT": str(self.root)} | self.settings

    def said(self) -> str:
        return (self.home / "said").read_text()

    def log(self, name: str) -> str:
        path = self.root / "logs" / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def pids(self, name: str) -> list[int]:
        """Return the pids that an agent has had, as the supervisor told them."""
        own = self.log("neo_light_fix")
        return [int(pid) for pid in re.findall(rf" {name} runs, pid (\d+)$", self.said() + own, flags=re.MULTILINE)]

    def pid(self, name: str, *, nth: int = 1) -> int:
        """Wait until an agent has been started ``nth`` times and return its pid then."""
        return wait_until(lambda: self.pids(name)[nth - 1 : nth])[0]

    def processes(self) -> dict[int, str]:
        """Return the command lines of all living processes that come from this site, whoever is their parent now."""
        found = {}
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and self.marker.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue  # it has just ended, or is not ours to look at
        return found

    def running(self, command: str) -> list[int]:
        """Return the pids of the living processes whose command line begins so."""
        return sorted(pid for pid, line in self.processes().items() if line.startswith(command))

    def supervisors(self) -> list[int]:
        """Return the pids of the supervisors in the background."""
        return sorted(pid for pid, line in self.processes().items() if "neo_light_fix.sh _background" in line)

    def keepers(self, name: str) -> list[int]:
        """Return the pids of an agent's keeper and writer, in this order (the writer is the keeper's child)."""
        mark = f" -m capital_governor.supervisor.keeper --name {name} "
        return sorted(pid for pid, line in self.processes().items() if mark in line)

    def clear(self) -> None:
        """Kill what a failed test has left."""
        while left := self.processes():
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue  # it has just ended
            time.sleep(0.05)


def logged(path: Path) -> list[bytes]:
    """Return the content of all files of a log, oldest first."""
    numbers = sorted((int(other.name.rpartition(".")[2]) for other in path.parent.glob(f"{path.name}.*")), reverse=True)
    files = [path.with_name(f"{path.name}.{number}") for number in numbers]
    return [file.read_bytes() for file in [*files, path] if file.exists()]
