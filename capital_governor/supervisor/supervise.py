"""Keeps agents running: each has a keeper, which is started again when it ends, until a signal ends all.

``keeper.py`` describes how nothing outlives the supervisor. The supervisor has no threads, since for the kernel the end
of the thread that started a keeper counts as the death of its parent.

All modules are imported at the start, so a ``git pull`` does not change a running supervisor. A keeper is a separate
program that a ``git pull`` may change, so its command line must stay compatible between versions.
"""

from __future__ import annotations

import math
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterable
from types import FrameType
from typing import Final

from capital_governor.supervisor.agents import Agents, Checkout, SupervisedAgent
from capital_governor.supervisor.endings import cause_of
from capital_governor.supervisor.governor_news import GovernorNews
from capital_governor.supervisor.keeper import NOT_EXECUTABLE
from capital_governor.supervisor.kept_agent import KeptAgent
from capital_governor.supervisor.messages import PERMANENT, TRY_LATER, Messages, SupervisionError
from capital_governor.supervisor.restart_requests import ASK, forget, request_path, requested
from capital_governor.supervisor.root import GOVERNOR, AgentStanding, Root, SupervisionSettings, lock

_ENDINGS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_LOOKERS_SECONDS: Final = 1.0
"""How long to try for the lock, since a command that looks at it holds it for a moment."""
_END_POLL_SECONDS: Final = 0.05
_CHUNK_BYTES: Final = 1 << 16
_KILLED_SECONDS: Final = 1.0
"""How long a killed keeper may take to end before it is killed again."""


def supervise(
    checkout: Checkout,
    root: Root,
    settings: SupervisionSettings,
    agents: Agents,
    messages: Messages,
    news: GovernorNews | None,
) -> None:
    """Keep the agents running until SIGTERM, SIGINT or SIGHUP; return when none of them is left.

    With ``news`` the operator is told when the governor ends.

    Raises:
        SupervisionError: another supervisor has the root, or its agents have not ended yet.
    """
    # As a shell does, so that agents see the root by the name under which it was given.
    os.chdir(root.path)
    os.environ["PWD"] = str(root.path)
    supervisor_lock, agents_lock = root.open_locks()
    if not lock(supervisor_lock, root.supervisor_lock, patience_seconds=_LOOKERS_SECONDS):
        raise SupervisionError(TRY_LATER, f"another supervisor runs on {root.path}: {root.typed('status')} shows it")
    if not lock(agents_lock, root.agents_lock, patience_seconds=0):
        messages.report("waiting for the agents of a supervisor that was killed to end")
        if not lock(agents_lock, root.agents_lock, patience_seconds=settings.patience_seconds + 1):
            raise SupervisionError(
                TRY_LATER, f"the agents of a supervisor that was killed still run on {root.path}: try again later"
            )
    if news is not None:
        news.begin()
    try:
        Supervisor(checkout, root, settings, agents, messages, agents_lock, news).run()
    finally:
        if news is not None:
            news.close()


class Supervisor:
    """Keeps the agents of one root running. Must be made and run in the main thread.

    Args:
        checkout: has the Python for the keepers.
        root: locked by this process.
        settings: of supervision.
        agents: the agents to keep.
        messages: writes the supervisor's messages.
        agents_lock: a descriptor that keepers inherit.
        news: tells the operator when the governor ends; None: nobody does.
    """

    def __init__(
        self,
        checkout: Checkout,
        root: Root,
        settings: SupervisionSettings,
        agents: Iterable[SupervisedAgent],
        messages: Messages,
        agents_lock: int,
        news: GovernorNews | None,
    ) -> None:
        self._python = checkout.python
        self._root = root
        self._settings = settings
        self._report = messages.report
        self._agents_lock = agents_lock
        self._news = news
        self._since = int(time.time())
        self._kept = [KeptAgent(agent, settings.backoff_seconds, self._since) for agent in agents]
        self._ending: signal.Signals | None = None
        self._asked = False
        self._written: list[AgentStanding] = []
        # Keepers report the pids of their agents on one pipe; signals wake this process by the other.
        self._told, self._telling = os.pipe()
        self._woken, self._waking = os.pipe()
        for descriptor in (self._told, self._woken, self._waking):
            os.set_blocking(descriptor, False)
        self._heard = b""

    def run(self) -> None:
        """Keep all agents running until a signal comes, then end them."""
        signal.set_wakeup_fd(self._waking, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.signal(ASK, self._hear_request)
        for number in _ENDINGS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP
                signal.signal(number, self._end)
        self._report(f"supervising on {self._root.path}: {' '.join(kept.agent.name for kept in self._kept)}")
        for agent in requested(self._root)[0]:  # left for an earlier supervisor
            forget(request_path(self._root, agent.name))
        try:
            while self._ending is None:
                self._take_requests()
                for kept in self._kept:
                    self._tend(kept)
                self._write_state()
                self._wait(
                    min((kept.due for kept in self._kept if kept.state in {"waiting", "stopping"}), default=math.inf)
                )
            self._report(f"{self._ending.name}: ending all agents")
        finally:
            self._end_agents()
        self._report("stopped")

    def _end(self, number: int, _frame: FrameType | None) -> None:
        self._ending = signal.Signals(number)

    def _hear_request(self, _number: int, _frame: FrameType | None) -> None:
        self._asked = True

    def _wait(self, until: float) -> None:
        """Wait until the time, a signal or a keeper's report; read the reports."""
        seconds = None if until == math.inf else max(0.0, until - time.monotonic())
        ready, _, _ = select.select((self._told, self._woken), (), (), seconds)
        if self._woken in ready:
            os.read(self._woken, _CHUNK_BYTES)
        if self._told in ready:
            self._hear()

    # --- one agent ------------------------------------------------------------------------------------------------

    def _tend(self, kept: KeptAgent) -> None:
        if kept.state == "running" and not kept.lives():
            self._hear()  # the keeper's report came before its end
            self._conclude(kept, 0 if kept.keeper is None else kept.keeper.returncode)
        elif kept.state == "stopping" and not kept.lives():
            self._hear()
            self._report(f"{kept.agent.name} ended, to be restarted")
            self._launch(kept)
        elif kept.state == "stopping" and time.monotonic() >= kept.due:
            self._kill_keeper(kept)
        elif kept.state == "waiting" and time.monotonic() >= kept.due:
            self._launch(kept)

    def _take_requests(self) -> None:
        """Restart the agents for which ``neo_light_fix.sh restart NAME`` has asked, also one that gave up or is new."""
        asked, self._asked = self._asked, False
        if not asked:
            return
        agents, refused = requested(self._root)
        for sentence in refused:
            self._report(sentence)
        for agent in agents:
            writers = {kept.agent.log: kept.agent.name for kept in self._kept if kept.agent.name != agent.name}
            if agent.log in writers:
                self._report(f"{agent.name} is not restarted: {writers[agent.log]} writes to {agent.log}")
            else:
                self._restart(agent)
        self._write_state()
        for agent in agents:  # only now, since the command looks into the state file when its request is gone
            forget(request_path(self._root, agent.name))

    def _restart(self, agent: SupervisedAgent) -> None:
        self._report(f"{agent.name} is restarted, as asked by restart {agent.name}")
        kept = next((kept for kept in self._kept if kept.agent.name == agent.name), None)
        if kept is None:
            kept = KeptAgent(agent, self._settings.backoff_seconds, int(time.time()))
            self._kept.append(kept)
        kept.agent, kept.wait_seconds = agent, self._settings.backoff_seconds
        if kept.keeper is None:
            kept.due, kept.due_date = 0.0, None
            kept.enter("waiting")
        elif kept.state != "stopping":
            kept.due = time.monotonic() + self._settings.patience_seconds
            kept.enter("stopping")
            kept.keeper.terminate()  # it ends the agent

    def _kill_keeper(self, kept: KeptAgent) -> None:
        """Kill a keeper that hangs; the kernel then kills its agent."""
        kept.due = time.monotonic() + _KILLED_SECONDS
        if kept.keeper is not None:
            kept.keeper.kill()

    def _launch(self, kept: KeptAgent) -> None:
        agent, settings = kept.agent, self._settings
        command = [self._python, "-I", "-m", "capital_governor.supervisor.keeper"]
        command += ["--name", agent.name, "--parent", str(os.getpid()), "--tell", str(self._telling)]
        command += ["--stop-seconds", str(settings.stop_seconds), "--log", str(agent.log)]
        command += ["--max-bytes", str(settings.log_max_bytes), "--keep", str(settings.log_keep), "--", *agent.command]
        kept.pid = None
        kept.started = time.monotonic()
        try:
            kept.keeper = subprocess.Popen(  # noqa: S603 - a program of this package
                command, stdin=subprocess.DEVNULL, pass_fds=(self._telling, self._agents_lock)
            )
        except OSError as error:  # the virtual environment is being renewed, or there are too many processes
            self._report(f"{agent.name} cannot be started: {self._python}: {error.strerror}")
            self._conclude(kept, NOT_EXECUTABLE)
        else:
            kept.enter("running")

    def _conclude(self, kept: KeptAgent, code: int) -> None:
        """Decide when the agent is started again; after exit code 0 too, since it should not end."""
        name = kept.agent.name
        kept.keeper = kept.pid = None
        kept.exit_code = code if code >= 0 else 128 - code
        if kept.exit_code == PERMANENT:
            kept.enter("gave-up")
            self._tell_end(kept, None)
            self._report(
                f"{name} gave up with exit code {kept.exit_code} (a person must mend its configuration, see"
                f" {kept.agent.log}): it is not started again before {self._root.typed('restart')}"
            )
            return
        now, seconds = time.monotonic(), kept.wait_seconds
        if now - kept.started >= self._settings.healthy_seconds:
            seconds = self._settings.backoff_seconds
        kept.due = now + seconds
        kept.enter("waiting")
        kept.due_date = kept.since + math.ceil(seconds)
        kept.wait_seconds = min(2 * seconds, self._settings.backoff_max_seconds)
        self._report(
            f"{name} ended with exit code {kept.exit_code}: started again in {seconds:.3f} s"
            f" ({cause_of(kept.exit_code)})"
        )
        self._tell_end(kept, seconds)

    def _tell_end(self, kept: KeptAgent, restart_seconds: float | None) -> None:
        if self._news is not None and kept.agent.name == GOVERNOR and kept.exit_code is not None:
            self._news.ended(kept.exit_code, kept.agent.log, restart_seconds)

    def _hear(self) -> None:
        """Read the keepers' reports, ``NAME PID;`` per line; an incomplete line waits for its rest."""
        try:
            self._heard += os.read(self._told, _CHUNK_BYTES)
        except BlockingIOError:
            return
        *lines, self._heard = self._heard.split(b"\n")
        for line in lines:
            name, pid = line.decode().rstrip(";").split(" ")
            self._report(f"{name} runs, pid {pid}")
            for kept in self._kept:
                if kept.agent.name == name and kept.state == "running":  # if it has ended since, the pid is out of date
                    kept.pid = int(pid)

    # --- all of them ----------------------------------------------------------------------------------------------

    def _write_state(self) -> None:
        """Write the state file if it has changed. A failure is only reported."""
        standings = [kept.standing() for kept in self._kept]
        if standings == self._written:
            return
        self._written = standings
        try:
            self._root.write_state(self._since, standings)
        except OSError:
            self._report(f"cannot write {self._root.state_file}: 'status' and 'stop' may not know of the last change")

    def _end_agents(self) -> None:
        """End all agents. Keepers kill what does not end in time; a keeper that hangs is killed here."""
        deadline = time.monotonic() + self._settings.patience_seconds
        self._signal_keepers(signal.SIGTERM)
        while any(kept.lives() for kept in self._kept):
            if time.monotonic() >= deadline:
                self._signal_keepers(signal.SIGKILL)  # the kernel then kills its agent
            self._wait(time.monotonic() + _END_POLL_SECONDS)
        for kept in self._kept:
            kept.keeper = kept.pid = None
            kept.enter("stopped")
        self._write_state()

    def _signal_keepers(self, number: signal.Signals) -> None:
        for kept in self._kept:
            if kept.keeper is not None:
                kept.keeper.send_signal(number)  # does nothing if it has ended
