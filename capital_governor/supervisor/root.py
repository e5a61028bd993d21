"""The root of a supervisor: its files, locks and settings, and the state that `status` shows."""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import time
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final

from capital_governor.supervisor.linux import start_ticks
from capital_governor.supervisor.messages import PERMANENT, SupervisionError

SCRIPT: Final = "neo_light_fix"
"""The supervisor's own name in lists of agents."""
GOVERNOR: Final = "capital_governor"
"""The governor's."""

_SECONDS: Final = re.compile(r"[0-9]{1,6}(\.[0-9]{1,3})?")
_WHOLE_NUMBER: Final = re.compile(r"[1-9][0-9]{0,11}")
_PAUSE_SECONDS: Final = 0.05
_KEEPERS_SECONDS: Final = 10.0
"""How long a keeper may take beyond its agent's time, for left processes and the last log lines."""


@dataclass(frozen=True, slots=True)
class SupervisionSettings:
    """When agents are started again, how long they may take to end, and how their logs are rotated."""

    backoff_seconds: float
    backoff_max_seconds: float
    healthy_seconds: float
    stop_seconds: float
    log_max_bytes: int
    log_keep: int

    @property
    def patience_seconds(self) -> float:
        """How long all agents together may take to end."""
        return self.stop_seconds + _KEEPERS_SECONDS


def read_settings(environment: Mapping[str, str]) -> SupervisionSettings:
    """Return the settings of supervision; an empty variable counts as unset.

    Raises:
        SupervisionError: one of them is wrong.
    """
    settings = SupervisionSettings(
        backoff_seconds=_seconds(environment, "NEO_LIGHT_BACKOFF_SECONDS", "2"),
        backoff_max_seconds=_seconds(environment, "NEO_LIGHT_BACKOFF_MAX_SECONDS", "60"),
        healthy_seconds=_seconds(environment, "NEO_LIGHT_HEALTHY_SECONDS", "60"),
        stop_seconds=_seconds(environment, "NEO_LIGHT_STOP_SECONDS", "10"),
        log_max_bytes=_whole_number(environment, "NEO_LIGHT_LOG_MAX_BYTES", "10485760"),
        log_keep=_whole_number(environment, "NEO_LIGHT_LOG_KEEP", "5"),
    )
    if not 0 < settings.backoff_seconds <= settings.backoff_max_seconds:
        raise SupervisionError(
            PERMANENT, "NEO_LIGHT_BACKOFF_SECONDS must be above 0 and at most NEO_LIGHT_BACKOFF_MAX_SECONDS"
        )
    return settings


def _seconds(environment: Mapping[str, str], name: str, default: str) -> float:
    value = environment.get(name) or default
    if not _SECONDS.fullmatch(value):
        raise SupervisionError(
            PERMANENT, f"{name} is '{value}': it takes seconds, 0 to 999999, with up to three decimals"
        )
    return float(value)


def _whole_number(environment: Mapping[str, str], name: str, default: str) -> int:
    value = environment.get(name) or default
    if not _WHOLE_NUMBER.fullmatch(value):
        raise SupervisionError(PERMANENT, f"{name} is '{value}': it takes a whole number, 1 or more")
    return int(value)


@dataclass(frozen=True, slots=True)
class AgentStanding:
    """One agent in the state file; times are seconds since 1970.

    Args:
        name: of the agent.
        state: ``running``, ``waiting`` (to be started again), ``stopping`` (to be restarted), ``gave-up`` or
            ``stopped``.
        pid: of the agent, once its keeper has reported it.
        since: when it entered the state.
        due: when a waiting agent is started again.
        exit_code: its last exit code.
    """

    name: str
    state: str
    pid: str = "-"
    since: str = "0"
    due: str = "-"
    exit_code: str = "-"


@dataclass(frozen=True, slots=True)
class RunningSupervisor:
    """The supervisor that holds the lock, since when, and the agents that it keeps."""

    pid: int
    since: str
    agents: tuple[AgentStanding, ...]


class Root:
    """The folder with ``runtime/``, ``logs/`` and ``.env``.

    Args:
        path: absolute.
        script: the start of a command line for this root, as its user types it, see ``typed_script``.
    """

    def __init__(self, path: Path, script: str = f"{SCRIPT}.sh") -> None:
        self.path = path
        self.script = script
        self.env_file = path / ".env"
        self.own_log = path / "logs" / f"{SCRIPT}.log"
        self.state_file = path / "runtime" / f"{SCRIPT}.state"
        self.supervisor_lock = path / "runtime" / f"{SCRIPT}.lock"
        """Held by the supervisor alone."""
        self.agents_lock = path / "runtime" / f"{SCRIPT}.agents.lock"
        """Held by the supervisor and its keepers, so that a new supervisor waits for the agents of a killed one."""

    def typed(self, words: str) -> str:
        """Return a command of the script as its user types it, in backticks."""
        return f"`{self.script} {words}`"

    def prepare(self) -> None:
        """Make the folders of a supervisor. Raises SupervisionError if this user cannot write there."""
        folders = (self.path / "runtime", self.path / "logs")
        try:
            for folder in folders:
                folder.mkdir(parents=True, exist_ok=True)
            writable = all(os.access(folder, os.W_OK) for folder in folders)
        except OSError:
            writable = False
        if not writable:
            raise SupervisionError(
                PERMANENT,
                f"cannot write to runtime/ and logs/ in {self.path}: let this user write there, move away what is no"
                " folder, or give another root in NEOLIGHT_ROOT",
            )

    def open_locks(self) -> tuple[int, int]:
        """Return the descriptors of the supervisor's and the agents' lock file, neither of them locked yet."""
        try:
            first, second = (
                os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
                for path in (self.supervisor_lock, self.agents_lock)
            )
        except OSError:
            raise SupervisionError(
                PERMANENT,
                f"cannot write in {self.path}/runtime: let this user write to neo_light_fix.lock and"
                " neo_light_fix.agents.lock there, or move away what is in their place",
            ) from None
        return first, second

    def write_state(self, since: int, agents: list[AgentStanding]) -> None:
        """Replace the state file with this process as the supervisor. Raises OSError."""
        pid = os.getpid()
        lines = [(SCRIPT, str(pid), str(start_ticks(pid)), str(since)), *map(astuple, agents)]
        new = self.state_file.with_name(f"{self.state_file.name}.new")
        new.write_text("".join("\t".join(line) + "\n" for line in lines))
        new.replace(self.state_file)

    def running_supervisor(self) -> RunningSupervisor | None:
        """Return the supervisor that holds the lock; None also if it has not written its state yet."""
        if not is_locked(self.supervisor_lock):
            return None
        found, start = self._read_state()
        # The file of a killed supervisor may have a pid that another process has now.
        started = 0 if found is None else start_ticks(found.pid)
        return found if started and str(started) == start else None

    def last_supervisor(self) -> RunningSupervisor | None:
        """Return the supervisor that wrote the state file, whether or not it runs; None if there is none."""
        return self._read_state()[0]

    def _read_state(self) -> tuple[RunningSupervisor | None, str]:
        """Return the supervisor in the state file, None if that is missing or not valid, and when its process began."""
        try:
            first, *rest = self.state_file.read_text().splitlines()
            name, pid, start, since = first.split("\t")
            found = RunningSupervisor(int(pid), since, tuple(AgentStanding(*line.split("\t")) for line in rest))
        except (OSError, ValueError, TypeError):
            return None, ""
        return (found, start) if name == SCRIPT else (None, "")


def typed_script(script: Path, root: Path, folder: Path | None = None) -> str:
    """Return the start of a command line of the script for a root.

    Args:
        script: the script; a root that is not its folder goes in front, in NEOLIGHT_ROOT.
        root: the root.
        folder: where it is typed; None: anywhere.
    """
    below = folder is not None and script.is_relative_to(folder)
    shown = f"./{script.relative_to(folder)}" if folder is not None and below else str(script)
    other = "" if root == script.parent else f"NEOLIGHT_ROOT={shlex.quote(str(root))} "
    return other + shlex.quote(shown)


def is_locked(path: Path) -> bool:
    """Whether another process holds the lock of a file; False if the file cannot be read.

    It tries a shared lock, so that two processes that look do not see each other.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(file)
    return False


def lock(descriptor: int, path: Path, *, patience_seconds: float) -> bool:
    """Lock an open file for this process; return False if another process holds its lock all the time.

    Raises:
        SupervisionError: it cannot be locked for another reason.
    """
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_PAUSE_SECONDS)
        except OSError as error:
            raise SupervisionError(
                PERMANENT, f"cannot lock {path} ({error.strerror}); a file system without locks cannot have it"
            ) from None
        else:
            return True
