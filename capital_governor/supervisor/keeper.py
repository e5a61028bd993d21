"""Runs one agent for the supervisor, writes its log, and leaves no process behind.

Two processes run beside an agent, both of this program (the second is a fork, which shares memory)::

    supervisor -- keeper --+-- agent    has its own session and process group; its output goes into a pipe
                           +-- writer   copies that pipe to the log

When a process dies:

- the supervisor, by ``kill -9`` too: the kernel sends SIGTERM to the keeper (PR_SET_PDEATHSIG), which ends the agent;
- the keeper: the kernel kills the agent, and the writer, which sees the end of a pipe of the keeper, kills the agent's
  process group. This happens at once, since the supervisor soon starts a new keeper, and two copies of an agent must
  never trade;
- the writer: the keeper, which holds the pipe open, starts another; the agent is not affected;
- the agent: the keeper ends all processes that it left, and exits with its exit code.

The keeper is a "child subreaper": every process that the agent starts becomes a child of the keeper when its own parent
dies, even a daemon in its own session. So the keeper finds all processes as its own children. It signals only pids that
it has not reaped yet, which cannot belong to another process.

Standard library only; Linux only.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from capital_governor.supervisor.linux import adopt_orphans, children_of, die_with, fork
from capital_governor.supervisor.log_rotation import LogFile, pump

NOT_EXECUTABLE: Final = 127

_ENDINGS: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
_WATCHED: Final = _ENDINGS | {signal.SIGCHLD}
_PIPE_BYTES: Final = 1 << 20
_STDERR: Final = 2
_POLL_SECONDS: Final = 0.05
_DRAIN_SECONDS: Final = 5.0
_WRITER_PAUSE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class KeeperArguments:
    """What the supervisor tells a keeper: which agent to run, and how.

    Args:
        name: the agent's name.
        parent: pid of the supervisor.
        tell: descriptor for one line ``NAME PID;`` once the agent is started.
        stop_seconds: how long the agent may take to end after SIGTERM before it is killed.
        log: the log file.
        max_bytes: size at which the log is rotated.
        keep: number of rotated logs.
        command: program and arguments.
    """

    name: str
    parent: int
    tell: int
    stop_seconds: float
    log: Path
    max_bytes: int
    keep: int
    command: tuple[str, ...]


class Keeper:
    """Starts the agent and the writer of its log, and runs until both have ended.

    Must be made and run in the main thread of a process without other threads, since it forks and for the kernel the
    end of the forking *thread* counts as the death of the parent.
    """

    def __init__(self, arguments: KeeperArguments) -> None:
        self._arguments = arguments
        self._pid = os.getpid()
        self._agent = self._writer = 0
        self._writer_started = -_WRITER_PAUSE_SECONDS
        self._agent_status: int | None = None
        self._group_told = False
        self._out, self._in = os.pipe()
        self._alive_out, self._alive_in = os.pipe()
        self._ready_out, self._ready_in = os.pipe()
        with suppress(OSError):  # the default size will do if the user's limit of pipe memory is reached
            fcntl.fcntl(self._in, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def run(self) -> int:
        """Run the agent until it ends or a signal comes; return its exit code, or 128 + the signal that ended it."""
        self._agent = fork(self._become_agent)
        os.close(self._ready_in)
        os.read(self._ready_out, 1)  # from here on the agent's group exists
        self._start_writer()
        os.close(self._in)
        os.write(self._arguments.tell, f"{self._arguments.name} {self._agent};\n".encode())
        self._watch()
        self._end_agent()
        self._end_writer()
        code = os.waitstatus_to_exitcode(self._agent_status or 0)
        return code if code >= 0 else 128 - code

    def _watch(self) -> None:
        """Wait until the agent has ended, or a signal says that it must."""
        while self._agent_status is None:
            if signal.sigwait(_WATCHED) in _ENDINGS:
                return
            self._reap()
            if not self._writer:
                self._start_writer()

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                if pid == self._agent:
                    self._agent_status = status
                elif pid == self._writer:
                    self._writer = 0

    # --- the agent ------------------------------------------------------------------------------------------------

    def _become_agent(self) -> None:
        os.setsid()
        os.write(self._ready_in, b".")
        for number in (*_ENDINGS, signal.SIGQUIT, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(
                number, signal.SIG_DFL
            )  # may be ignored: SIGINT by a shell in the background, SIGPIPE by Python
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        die_with(self._pid, signal.SIGKILL)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (self._in, 1), (self._in, 2)):
            os.dup2(source, target)
        try:
            os.execvp(self._arguments.command[0], self._arguments.command)  # noqa: S606 - the operator's own command
        except OSError as error:
            os.write(2, f"{self._arguments.command[0]}: {error.strerror}\n".encode())
            os._exit(NOT_EXECUTABLE)

    def _end_agent(self) -> None:
        """Send SIGTERM to the agent and its processes, SIGKILL after the deadline; wait until all have ended."""
        deadline = time.monotonic() + self._arguments.stop_seconds
        if self._agent_status is None:
            # The agent is not reaped, so the group's number is still its own.
            os.killpg(self._agent, signal.SIGTERM)
            self._group_told = True
        told: set[int] = set()
        while others := self._others():
            if time.monotonic() >= deadline:
                self._signal(others, signal.SIGKILL)
            else:
                self._signal({pid for pid in others - told if not self._was_told(pid)}, signal.SIGTERM)
                told |= others
            signal.sigtimedwait(_WATCHED, _POLL_SECONDS)
            self._reap()
            if not self._writer:
                self._start_writer()

    def _others(self) -> set[int]:
        return children_of(self._pid) - {self._writer}

    def _signal(self, pids: set[int], number: signal.Signals) -> None:
        for pid in pids:
            os.kill(pid, number)  # not reaped, so at least a zombie receives it

    def _was_told(self, pid: int) -> bool:
        return self._group_told and os.getpgid(pid) == self._agent

    # --- the writer -----------------------------------------------------------------------------------------------

    def _start_writer(self) -> None:
        # At most one per second, if each ends at once. Signals wait meanwhile.
        time.sleep(max(0.0, self._writer_started + _WRITER_PAUSE_SECONDS - time.monotonic()))
        self._writer_started = time.monotonic()
        self._writer = fork(self._become_writer)

    def _become_writer(self) -> None:
        os.close(self._alive_in)
        with suppress(OSError):  # already closed if this is not the first writer
            os.close(self._in)
        given = self._arguments
        log = LogFile(given.log, max_bytes=given.max_bytes, keep=given.keep)
        try:
            pump(self._out, self._alive_out, log, on_orphaned=self._kill_group)
        finally:
            log.close()

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._agent, signal.SIGKILL)

    def _end_writer(self) -> None:
        """Wait until all output is in the log, but not for a disk that hangs."""
        deadline = time.monotonic() + _DRAIN_SECONDS
        while self._writer and time.monotonic() < deadline:
            signal.sigtimedwait({signal.SIGCHLD}, _POLL_SECONDS)
            self._reap()
        if self._writer:
            os.kill(self._writer, signal.SIGKILL)
            os.waitpid(self._writer, 0)


def _parse(words: list[str]) -> KeeperArguments:
    parser = argparse.ArgumentParser(
        "capital_governor.supervisor.keeper", description="Runs one agent for neo_light_fix.sh."
    )
    parser.add_argument("--name", required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--tell", type=int, required=True)
    parser.add_argument("--stop-seconds", type=float, required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--max-bytes", type=int, required=True)
    parser.add_argument("--keep", type=int, required=True)
    parser.add_argument("command", nargs="+")
    given = vars(parser.parse_args(words))
    return KeeperArguments(**(given | {"command": tuple(given["command"])}))


def run_keeper() -> NoReturn:
    """Keep the agent that the command line names. Raises SystemExit with the agent's exit code."""
    arguments = _parse(sys.argv[1:])
    # Signals are blocked and waited for, so that they interrupt nothing.
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    for number in _WATCHED:
        signal.signal(number, signal.SIG_DFL)
    die_with(arguments.parent, signal.SIGTERM)
    adopt_orphans()
    # A session of its own, so that only the supervisor gets Ctrl-C and ends its agents in order.
    os.setsid()
    # The agent must not inherit the supervisor's locks and pipe, since it could keep them open.
    for entry in list(Path("/proc/self/fd").iterdir()):
        with suppress(OSError):  # the descriptor of the listing itself is closed
            os.set_inheritable(int(entry.name), int(entry.name) <= _STDERR)
    raise SystemExit(Keeper(arguments).run())


if __name__ == "__main__":
    run_keeper()
