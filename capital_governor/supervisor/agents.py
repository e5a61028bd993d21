"""The agents to keep running: the governor, the hive if its setting is 1, and those of the operator's .agents.sh."""

from __future__ import annotations

import codecs
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from capital_governor.supervisor.messages import PERMANENT, SupervisionError, note
from capital_governor.supervisor.missing_commands import missing_command
from capital_governor.supervisor.root import GOVERNOR, SCRIPT, Root

_HIVE: Final = "CAPITAL_GOVERNOR_HIVE"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_WORDS: Final = 4
_MOST_ARGUMENTS: Final = 3

READ_AGENTS: Final = r"""
exec {handover}>&1 >&2
ensure_running() { printf "%s\0" "$#" "${1-}" "${2-}" "${3-}" >&"$handover"; }
ROOT=$NEOLIGHT_ROOT
cd -- "$ROOT"
source "$1"
printf "end\0" >&"$handover"
"""
"""Runs the operator's file in its own shell and prints the arguments of its calls of ensure_running.

The own shell keeps the file from changing or ending the supervisor. The exit status of the file's last line does not
show whether it failed (``[[ -e x ]] && ensure_running ...`` may be false), so the word ``end`` shows that all was run.
"""


@dataclass(frozen=True, slots=True)
class Checkout:
    """The folder of ``neo_light_fix.sh``, with its virtual environment, and the bash that runs the script."""

    folder: Path
    bash: str

    @property
    def python(self) -> str:
        """The Python of the virtual environment."""
        return str(self.folder / ".venv/bin/python")

    def program(self, *arguments: str) -> tuple[str, ...]:
        """Return a command line of the governor's program; -I keeps foreign modules from replacing its own."""
        return (self.python, "-I", "-m", "capital_governor", *arguments)


@dataclass(frozen=True, slots=True)
class SupervisedAgent:
    """A command that is kept running, and the log for its output."""

    name: str
    command: tuple[str, ...]
    log: Path


class Agents:
    """The agents to keep, in the order in which they are started.

    Args:
        checkout: with the governor to run.
        root: where agents run.
        demo: leave out the operator's own agents.

    Raises:
        SupervisionError: the operator's .agents.sh is faulty.
    """

    def __init__(self, checkout: Checkout, root: Root, *, demo: bool = False) -> None:
        self._checkout = checkout
        self._root = root
        self._all: list[SupervisedAgent] = []
        self._add(GOVERNOR, checkout.program("run"))
        file = checkout.folder / ".agents.sh"
        if not demo and file.exists():
            for count, name, command, log in self._calls_in(file):
                if int(count) > _MOST_ARGUMENTS:
                    raise SupervisionError(
                        PERMANENT,
                        f"ensure_running {name}: {count} arguments are too many: put the command, with all its own,"
                        " in quotes",
                    )
                self._add(name, (checkout.bash, "-c", command) if command else (), log)

    def __iter__(self) -> Iterator[SupervisedAgent]:
        return iter(self._all)

    @property
    def names(self) -> str:
        """All names in one line."""
        return " ".join(agent.name for agent in self._all)

    def add_hive(self) -> None:
        """Add the hive if its setting is 1, before the operator's agents, which may need it."""
        if hive_is_on(self._root):
            self._add("hive", self._checkout.program("hive"))
            self._all.insert(1, self._all.pop())

    def demand_commands(self) -> None:
        """Refuse an agent of the operator whose command does not exist. Raises SupervisionError.

        Only for a command that starts agents: another may run with a different PATH.
        """
        for agent in self._all:
            shell, option, line = agent.command[:3]
            if (shell, option) != (self._checkout.bash, "-c"):
                continue
            if word := missing_command(line, bash=shell, folder=self._root.path):
                where = f"there is no {self._root.path / word}" if "/" in word else "no folder of PATH has it"
                raise SupervisionError(
                    PERMANENT,
                    f"ensure_running {agent.name}: its command '{word}' does not exist ({where}): put its name right in"
                    " .agents.sh, or install it",
                )

    def _add(self, name: str, command: tuple[str, ...], log: str = "") -> None:
        if not _NAME.fullmatch(name):
            raise SupervisionError(
                PERMANENT, f"ensure_running '{name}': a name is 1 to 64 letters, digits, '_', '.' or '-'"
            )
        if not command:
            raise SupervisionError(PERMANENT, f"ensure_running {name}: its second argument, the command, is missing")
        if name == SCRIPT or name in {agent.name for agent in self._all}:
            raise SupervisionError(PERMANENT, f"ensure_running {name}: this name is taken")
        path = self._root.path / (log or f"logs/{name}.log")
        if path.is_dir():
            raise SupervisionError(PERMANENT, f"ensure_running {name}: {path} is a folder: name a file as its log")
        writers = {agent.log: agent.name for agent in self._all} | {self._root.own_log: SCRIPT}
        if path in writers:
            raise SupervisionError(PERMANENT, f"ensure_running {name}: {writers[path]} writes to {path} already")
        self._all.append(SupervisedAgent(name, command, path))

    def _calls_in(self, file: Path) -> list[tuple[str, str, str, str]]:
        """Return the calls of ensure_running in the operator's file: number of arguments, and the first three."""
        _demand_plain_text(file)
        bash = self._checkout.bash
        if subprocess.run([bash, "-n", file], check=False).returncode:  # noqa: S603 - the operator's own file
            raise SupervisionError(PERMANENT, f"{file} is not valid bash: see above")
        ran = subprocess.run(  # noqa: S603 - as above
            [bash, "-p", "-c", READ_AGENTS, file.name, file],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            check=False,
        )
        words = [os.fsdecode(word) for word in ran.stdout.split(b"\0")]
        calls, ending = words[:-2], words[-2:]
        if len(calls) % _WORDS or ending != ["end", ""]:
            raise SupervisionError(
                PERMANENT,
                f"{file} ended before its last line: it may not use 'exit', and with 'set -e' no command in it may"
                " fail",
            )
        return list(zip(*(iter(calls),) * _WORDS, strict=True))


def hive_is_on(root: Root) -> bool:
    """Whether the hive's setting is 1: in the environment, else in the root's ``.env``.

    A setting that cannot be read is reported and counts as 0: the governor refuses this ``.env``, but the other agents
    must run.
    """
    env_file, value, faults = root.env_file, os.environ.get(_HIVE, ""), list[str]()
    if not value and os.path.lexists(env_file):
        from capital_governor.settings.dotenv import read_env_file  # noqa: PLC0415 - only needed with a .env

        values, faults = read_env_file(env_file, {_HIVE}, _HIVE)
        value = values.get(_HIVE, "")
    if not faults and value in {"", "0", "1"}:
        return value == "1"
    for fault in faults:
        note(fault)
    problem = "the line above says why" if faults else f"it is '{value}' and takes 0 or 1"
    note(
        f"whether to keep the hive cannot be told from {_HIVE} ({problem}), so it is not kept: put that right, then"
        f" {root.typed('restart')}"
    )
    return False


def _demand_plain_text(file: Path) -> None:
    """Refuse a file that an editor of another system has saved: errors of bash would not name the cause."""
    try:
        content = file.read_bytes() if file.is_file() else b""
    except OSError:
        return  # bash reports the error
    if b"\0" in content:
        raise SupervisionError(PERMANENT, f"{file} is no plain text (it may be UTF-16): save it as UTF-8")
    if content.startswith(codecs.BOM_UTF8):
        raise SupervisionError(
            PERMANENT,
            f"{file} begins with a byte-order mark, which bash takes for a command: save it as UTF-8 without one (sed"
            " -i '1s/^...//' does it, with LC_ALL=C)",
        )
    if b"\r\n" in content:
        raise SupervisionError(
            PERMANENT,
            f"{file} has the line ends of Windows, which bash takes for a part of each command: save it with those of"
            r" Unix (sed -i 's/\r$//' does it)",
        )
