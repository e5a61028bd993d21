"""start, stop, restart, status and logs of ``neo_light_fix.sh``."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final, NoReturn

from capital_governor.supervisor.agents import Agents, Checkout, SupervisedAgent
from capital_governor.supervisor.governor_news import GovernorNews
from capital_governor.supervisor.messages import (
    NOT_RUNNING,
    PERMANENT,
    TRY_LATER,
    USAGE,
    Messages,
    SupervisionError,
    note,
)
from capital_governor.supervisor.restart_requests import ask, forget, request_path
from capital_governor.supervisor.root import (
    SCRIPT,
    AgentStanding,
    Root,
    RunningSupervisor,
    SupervisionSettings,
    is_locked,
)
from capital_governor.supervisor.status_text import agent_standing_text, date_text, ended_text
from capital_governor.supervisor.supervise import supervise

_POLL_SECONDS: Final = 0.1
_BEYOND_SECONDS: Final = 5.0
"""How much longer than the agents may take to end ``stop`` waits."""

_SETTLE_SECONDS: Final = 1.0
"""After which ``restart NAME`` looks whether the agent has ended again."""


@dataclass(frozen=True, slots=True)
class Commands:
    """The commands on one root; each method is a command and raises SupervisionError."""

    checkout: Checkout
    script: str
    root: Root
    settings: SupervisionSettings

    def supervise(self, *, background: bool = False, demo: bool = False) -> None:
        """Keep the agents running until a signal."""
        agents = self._prepared(demo=demo)
        messages = Messages(
            self.root.own_log if background else None,
            max_bytes=self.settings.log_max_bytes,
            keep=self.settings.log_keep,
        )
        news = None if demo else GovernorNews(self.checkout.python, self.root, self.root.script, messages.report)
        supervise(self.checkout, self.root, self.settings, agents, messages, news)

    def start(self) -> None:
        """Start a supervisor in the background; return when it runs. If one runs already, say so."""
        if (supervisor := self.root.running_supervisor()) is not None:
            note(
                f"a supervisor runs on {self.root.path} already, pid {supervisor.pid}: {self.root.typed('status')}"
                f" shows it, {self.root.typed('restart')} starts all anew"
            )
            return
        self._prepared()
        self._launch()

    def stop(self) -> None:
        """End the supervisor; return when none of its agents is left."""
        path = self.root.path
        if (supervisor := self.root.running_supervisor()) is not None:
            with contextlib.suppress(OSError):  # it has just ended, or belongs to another user
                os.kill(supervisor.pid, signal.SIGTERM)
            self._await_the_end()
            note("stopped")
        elif is_locked(self.root.supervisor_lock):
            raise SupervisionError(TRY_LATER, f"the supervisor on {path} is just starting: try again in a moment")
        elif is_locked(self.root.agents_lock):
            note("the supervisor was killed, its agents are ending")
            self._await_the_end()
            note("stopped")
        else:
            note(f"no supervisor runs on {path}")

    def restart(self, name: str = "") -> None:
        """Stop, then start: all agents, or the one called ``name``. Errors that prevent the start are found before."""
        try:
            agents = self._prepared()
        except SupervisionError as error:
            raise SupervisionError(error.code, f"{error}; nothing was stopped") from error
        if name and name not in agents.names.split():
            raise SupervisionError(USAGE, f"no agent is called {name}: there are {agents.names}")
        self._demand_settings()
        if name:
            self._restart_one(next(agent for agent in agents if agent.name == name))
        else:
            self.stop()
            self._launch()

    def status(self, *, ready: bool) -> int:
        """Print the state of supervisor, agents and governor; return the exit code, for a watchdog.

        It is 3 without a supervisor, 78 if an agent gave up, else that of the governor's own report: 0 if it governs.

        Args:
            ready: the virtual environment can run the governor's command.
        """
        supervisor = self.root.running_supervisor()
        if supervisor is not None:
            lines = [("supervisor", f"running, pid {supervisor.pid}, since {date_text(supervisor.since)}")]
            agents = supervisor.agents
            lines += [(standing.name, agent_standing_text(standing, self.root.script)) for standing in agents]
        else:
            lines = [("supervisor", ended_text(self.root)), *((agent.name, "stopped") for agent in self._known())]
        report = 0
        sys.stdout.write("".join(f"{_shown(f'{name:24} {said}')}\n" for name, said in lines) + "\n")
        sys.stdout.flush()
        if supervisor is None and is_locked(self.root.agents_lock):
            note("the supervisor was killed, some of its agents are still ending")
        if ready:
            report = subprocess.run(self.checkout.program("status"), check=False).returncode  # noqa: S603 - our program
        else:
            start = self.root.typed("start")
            note(f"the environment is not ready, so the governor cannot be asked: {start} makes it")
        if supervisor is None:
            return NOT_RUNNING
        gave_up = any(standing.state == "gave-up" for standing in supervisor.agents)
        return PERMANENT if gave_up else report

    def logs(self, wanted: str = "") -> NoReturn:
        """Replace this process by a ``tail`` of one agent's log, or of all logs."""
        agents = self._known()
        files = [agent.log for agent in agents if wanted in {"", agent.name}]
        if wanted == SCRIPT or (not wanted and self.root.own_log.exists()):
            files.append(self.root.own_log)
        if not files:
            raise SupervisionError(USAGE, f"no agent is called {wanted}: there are {agents.names} {SCRIPT}")
        os.execvp("tail", ["tail", "-n", "20", "-F", "--", *map(str, files)])  # noqa: S606, S607 - tail is found on PATH

    # --- shared steps ---------------------------------------------------------------------------------------------

    def _prepared(self, *, demo: bool = False) -> Agents:
        """Find errors that prevent the start of a supervisor, before anything is stopped or started."""
        self.root.prepare()
        agents = Agents(self.checkout, self.root, demo=demo)
        agents.demand_commands()
        agents.add_hive()
        return agents

    def _known(self) -> Agents:
        """Return the agents that would be kept; without the library for ``.env``, the hive is left out."""
        agents = Agents(self.checkout, self.root)
        if find_spec("dotenv") is not None:
            agents.add_hive()
        return agents

    def _demand_settings(self) -> None:
        """Refuse settings that the governor would refuse, which is shown. Raises SupervisionError."""
        if code := self._checked_settings():
            raise SupervisionError(code, "nothing was stopped: put the settings right, then try again")

    def _checked_settings(self) -> int:
        """Show what the governor would refuse about the settings; return its exit code, 0 if they are right."""
        shown = subprocess.run(self.checkout.program("show-config"), stdout=subprocess.DEVNULL, check=False)  # noqa: S603
        return shown.returncode

    def _restart_one(self, agent: SupervisedAgent) -> None:
        root, name = self.root, agent.name
        if (supervisor := root.running_supervisor()) is None:
            raise SupervisionError(NOT_RUNNING, f"no supervisor runs on {root.path}: {root.typed('start')} starts all")
        before = _standing_of(supervisor, name)
        ask(root, supervisor.pid, agent)
        if (after := self._await_the_restart(supervisor.pid, name)) is not None and after.state == "running":
            time.sleep(_SETTLE_SECONDS)
            after = self._await_the_restart(supervisor.pid, name)
        if after is None or (after.state == "running" and before is not None and after.pid == before.pid):
            raise SupervisionError(TRY_LATER, f"{name} was not restarted: {root.own_log} says why")
        if after.state != "running":
            code = PERMANENT if after.state == "gave-up" else TRY_LATER
            raise SupervisionError(
                code, f"{name} was restarted and has ended again: {agent_standing_text(after, root.script)}"
            )
        note(f"{name} was restarted, pid {after.pid}")

    def _await_the_restart(self, supervisor_pid: int, name: str) -> AgentStanding | None:
        """Return the standing of an agent whose restart was asked for, when it has come; None if it is not kept."""
        now = time.monotonic()
        taken_by, done_by = now + _BEYOND_SECONDS, now + self.settings.patience_seconds + _BEYOND_SECONDS
        path = request_path(self.root, name)
        while True:
            waits = path.exists()
            if waits and time.monotonic() >= taken_by:
                forget(path)
                raise SupervisionError(
                    TRY_LATER,
                    f"the supervisor (pid {supervisor_pid}) does not restart single agents: it hangs, or was started by"
                    f" an older version; {self.root.typed('restart')} restarts all",
                )
            supervisor = self.root.running_supervisor()
            found = None if supervisor is None else _standing_of(supervisor, name)
            under_way = found is not None and (
                found.state == "stopping"
                or (found.state == "running" and found.pid == "-")
                or (found.state == "waiting" and found.due == "-")
            )
            if not waits and not under_way:
                return found
            if time.monotonic() >= done_by:
                raise SupervisionError(
                    TRY_LATER, f"{name} has not been restarted yet: {self.root.typed('status')} shows it"
                )
            time.sleep(_POLL_SECONDS)

    def _launch(self) -> None:
        root, log = self.root, self.root.own_log
        if is_locked(root.supervisor_lock):
            raise SupervisionError(
                TRY_LATER, f"a supervisor runs on {root.path} already: {root.typed('status')} shows it"
            )
        with contextlib.ExitStack() as stack:
            try:
                if log.is_fifo():  # a FIFO without a reader cannot be opened for writing
                    reader = os.open(log, os.O_RDWR)
                    stack.callback(os.close, reader)
                output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            except OSError:
                raise SupervisionError(
                    PERMANENT, f"cannot write to {log}: let this user write there, or move away what is in its place"
                ) from None
            stack.callback(os.close, output)
            before = _size(output)
            command = [self.checkout.python, "-I", "-m", "capital_governor.supervisor"]
            child = subprocess.Popen(  # noqa: S603 - the governor's program
                [*command, self.checkout.bash, self.script, "_background"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=output,
                start_new_session=True,
            )
            while (found := root.running_supervisor()) is None or found.pid != child.pid:
                if (code := child.poll()) is not None:
                    self._show_own_log(before)
                    raise SupervisionError(
                        (code if code > 0 else 128 - code) or TRY_LATER, "the supervisor did not start: see above"
                    )
                time.sleep(_POLL_SECONDS)
        note(
            f"the supervisor runs, pid {child.pid}; it writes to {log}, its agents to {root.path}/logs/NAME.log"
            f" ({root.typed('logs')} follows them, {root.typed('status')} shows how they are)"
        )
        # Check the settings now, while the operator reads this; the governor would only log the errors.
        if self._checked_settings():
            note(
                "so the governor does not govern; all other agents run. Put the setting right, then"
                f" {root.typed('restart')}"
            )

    def _show_own_log(self, position: int) -> None:
        log = self.root.own_log
        if log.is_file():
            with log.open("rb") as file:
                file.seek(position)
                sys.stderr.buffer.write(file.read())
                sys.stderr.flush()

    def _await_the_end(self) -> None:
        """Return when neither a supervisor nor any of its agents is left."""
        deadline = time.monotonic() + self.settings.patience_seconds + _BEYOND_SECONDS
        while is_locked(self.root.supervisor_lock) or is_locked(self.root.agents_lock):
            if time.monotonic() >= deadline:
                raise SupervisionError(
                    TRY_LATER, f"not all has ended yet on {self.root.path}: {self.root.typed('status')} shows more"
                )
            time.sleep(_POLL_SECONDS)


def _shown(line: str) -> str:
    """Return a line in those that fit the terminal, if it goes to one."""
    if not sys.stdout.isatty():
        return line
    columns = max(20, shutil.get_terminal_size().columns)
    return textwrap.fill(line, columns, subsequent_indent="    ", break_on_hyphens=False)


def _size(file: int) -> int:
    found = os.fstat(file)
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def _standing_of(supervisor: RunningSupervisor, name: str) -> AgentStanding | None:
    return next((standing for standing in supervisor.agents if standing.name == name), None)
