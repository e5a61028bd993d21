"""A machine for neo_light_fix.sh: a copy of the project whose Python is a recorder, and few tools on PATH.

Only the tools linked into the machine's ``tools`` folder are on PATH, so a Python of the real machine plays no part.
The recorder executes the script's own probes and .ci/environment.py, with the version and the modules that it pretends
to have.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.rigs.commands import CommandResult
from tests.rigs.patience import PATIENCE_SECONDS, wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
TOOLS = ("bash", "cat", "dirname", "env", "readlink")
CHECKERS = ("ruff", "mypy", "lint-imports", "shellcheck", "pytest")

Call: TypeAlias = list[str]
Env: TypeAlias = dict[str, str]

NO_OVERRIDE = "-dac_override,-dac_read_search"
BOUND_BY_PERMISSIONS: Call = (
    [shutil.which("setpriv") or "setpriv", f"--inh-caps={NO_OVERRIDE}", f"--bounding-set={NO_OVERRIDE}"]
    if os.geteuid() == 0
    else []
)
"""What starts a command for which permissions count, though root may run the tests."""

RECORDER = """\
#!{real_python} -IS
import errno, fcntl, json, os, runpy, shutil, sys, time
from pathlib import Path

me, arguments = Path(sys.argv[0]), sys.argv[1:]


def setting(name):
    path = Path({settings!r}) / name
    return path.read_text() if path.exists() else ""


def refuse(*_):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


if "-c" in arguments:
    sys.version_info = {version!r}
    if not {has_venv!r}:
        sys.modules["ensurepip"] = None
    exec(arguments[arguments.index("-c") + 1])
    sys.exit(0)

if len(arguments) > 1 and arguments[1].endswith("/.ci/environment.py"):
    sys.version_info = {version!r}
    sys.executable, sys.argv = str(me), arguments[1:]
    sys.path.append(str(me.parents[1] / "site-packages"))
    if setting("no-locks"):
        fcntl.flock = refuse
    runpy.run_path(arguments[1], run_name="__main__")

entry = {{"call": [me.name, *arguments], "cwd": os.getcwd(), "environment": dict(os.environ)}}
entry |= {{"pid": os.getpid(), "parent": os.getppid()}}
with open({journal!r}, "a") as journal:
    journal.write(json.dumps(entry) + "\\n")

if "venv" in arguments:
    (Path(arguments[-1]) / "bin").mkdir(parents=True)
    (Path(arguments[-1]) / "site-packages/pip").mkdir(parents=True)
    (Path(arguments[-1]) / "bin/python").symlink_to(me.resolve())
elif "pip" in arguments:
    print(setting("pip-says") or "pip prints this")
    time.sleep(float(setting("pip-sleeps") or 0))
    python = Path(arguments[arguments.index("--python") + 1]) if "--python" in arguments else me
    for checker in {checkers!r}:
        shutil.copy(me, python.with_name(checker))
    code = int(setting("uv-exits" if me.name == "uv" else "pip-exits") or 0)
    if code < 0:
        os.kill(os.getpid(), -code)
    sys.exit(code)
else:
    print("out of", me.name)
    time.sleep(float(setting("program-sleeps") or 0))
    sys.exit(int(setting(me.name + "-exits") or 0))
"""


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine with few tools, the Pythons it is given, and a copy of the script in ``project``.

    Where it is ``bound``, permissions count for the script whoever runs the tests.
    """

    home: Path
    project: Path
    bound: bool = False

    @property
    def script(self) -> Path:
        return self.project / "neo_light_fix.sh"

    @property
    def venv(self) -> Path:
        return self.project / ".venv"

    def add_python(self, name: str, version: tuple[int, int, int] = (3, 12, 1), *, has_venv: bool = True) -> None:
        executable = self.home / "tools" / name
        executable.write_text(
            RECORDER.format(
                real_python=Path(sys.executable).resolve(),
                settings=str(self.home),
                journal=str(self.home / "journal"),
                version=version,
                has_venv=has_venv,
                checkers=CHECKERS,
            )
        )
        executable.chmod(0o755)

    def let(self, setting: str, value: float | str) -> None:
        (self.home / setting).write_text(str(value))

    def start(
        self, *arguments: str, script: Path | None = None, cwd: Path | None = None, environment: Env | None = None
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*(BOUND_BY_PERMISSIONS if self.bound else ()), script or self.script, *arguments],
            cwd=cwd or self.home,
            env={"PATH": str(self.home / "tools"), "HOME": str(self.home)} | (environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(
        self, *arguments: str, script: Path | None = None, cwd: Path | None = None, environment: Env | None = None
    ) -> CommandResult:
        with self.start(*arguments, script=script, cwd=cwd, environment=environment) as process:
            return finish(process)

    def entries(self) -> list[dict[str, object]]:
        journal = self.home / "journal"
        return [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []

    def calls(self) -> list[Call]:
        """What was started since the last look: name and arguments, each time."""
        calls = [[str(word) for word in entry["call"]] for entry in self.entries() if isinstance(entry["call"], list)]
        (self.home / "journal").unlink(missing_ok=True)
        return calls

    def environment_of(self, name: str, word: str = "") -> dict[str, str]:
        """Return the environment in which ``name`` was started with ``word`` among its arguments."""
        for entry in self.entries():
            call, environment = entry["call"], entry["environment"]
            assert isinstance(call, list)
            assert isinstance(environment, dict)
            if call[0] == name and (not word or word in call):
                return environment
        pytest.fail(f"{name} {word} was never started")

    def wait_for_call(self, word: str) -> None:
        """Wait until something was started with this argument."""
        journal = self.home / "journal"
        wait_until(lambda: journal.exists() and f'"{word}"' in journal.read_text())


def finish(process: subprocess.Popen[str]) -> CommandResult:
    try:
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return CommandResult(process.returncode, out, err)


def make_venv_call(machine: Machine, python: str = "python3") -> Call:
    return [python, "-I", "-m", "venv", str(machine.venv)]


def install_calls(machine: Machine, extra: str = "", *, uv: bool = False) -> list[Call]:
    """What is locked, with its hashes, then the project itself, which fetches and resolves nothing more."""
    # However the operator has set up pip, it installs into the environment.
    where = ["--no-user", "--target=", "--root=/", f"--prefix={machine.venv}"]
    install = ["python", "-I", "-m", "pip", "install", *where]
    if uv:
        install = ["uv", "pip", "install", "--python", str(machine.venv / "bin/python")]
    lock = f".ci/requirements{extra and '-'}{extra}.txt"
    return [
        [*install, "--require-hashes", "-r", lock],
        [*install, "--no-deps", "--no-build-isolation", "-e", "."],
    ]


def program_call(*arguments: str) -> Call:
    return ["python", "-I", "-m", "capital_governor", *arguments]


def bare_machine(tmp_path: Path) -> Machine:
    """Return a machine without Python; spaces and brackets are in every path."""
    home = tmp_path / "my machine [1]"
    machine = Machine(home, home / "neo light [2]")
    (home / "tools").mkdir(parents=True)
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found, f"these tests need {tool}"
        (home / "tools" / tool).symlink_to(found)
    machine.project.mkdir()
    shutil.copy(REPOSITORY / "neo_light_fix.sh", machine.script)
    shutil.copytree(REPOSITORY / ".ci", machine.project / ".ci")
    (machine.project / "pyproject.toml").write_text("[project]\n")
    return machine
