"""neo_light_fix.sh, run as a process in a copy of the project whose Python is a recorder.

Only the tools linked into the machine's ``tools`` folder are on PATH, so a Python of the real machine plays no part.
The recorder executes the script's own probes, with the version and the modules that it pretends to have.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
TOOLS = ("bash", "cat", "cksum", "dirname", "env", "flock", "mkdir", "mv", "readlink", "rm", "tail")
CHECKERS = ("ruff", "mypy", "lint-imports", "shellcheck", "pytest")
PATIENCE_SECONDS = 20.0

Call: TypeAlias = list[str]
Env: TypeAlias = dict[str, str]

RECORDER = """\
#!{real_python} -IS
import json, os, shutil, sys, time, types
from pathlib import Path

me, arguments = Path(sys.argv[0]), sys.argv[1:]


def setting(name):
    path = Path({settings!r}) / name
    return path.read_text() if path.exists() else ""


if "-c" in arguments:
    sys.version_info = {version!r}
    sys.modules["pip"] = types.ModuleType("pip")
    if not {has_venv!r}:
        sys.modules["ensurepip"] = None
    exec(arguments[arguments.index("-c") + 1])
    sys.exit(0)

entry = {{"call": [me.name, *arguments], "cwd": os.getcwd(), "environment": dict(os.environ)}}
with open({journal!r}, "a") as journal:
    journal.write(json.dumps(entry) + "\\n")

if "venv" in arguments:
    (Path(arguments[-1]) / "bin").mkdir(parents=True)
    shutil.copy(me, Path(arguments[-1]) / "bin" / "python")
elif "pip" in arguments:
    print("pip prints this")
    time.sleep(float(setting("pip-sleeps") or 0))
    for checker in {checkers!r}:
        shutil.copy(me, me.with_name(checker))
    sys.exit(int(setting("pip-exits") or 0))
else:
    print("out of", me.name)
    time.sleep(float(setting("program-sleeps") or 0))
    sys.exit(int(setting(me.name + "-exits") or 0))
"""


@dataclass(frozen=True, slots=True)
class Run:
    """How one call of the script ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine with few tools, the Pythons it is given, and a copy of the script in ``project``."""

    home: Path
    project: Path

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

    def let(self, setting: str, value: float) -> None:
        (self.home / setting).write_text(str(value))

    def start(
        self, *arguments: str, script: Path | None = None, cwd: Path | None = None, environment: Env | None = None
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [script or self.script, *arguments],
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
    ) -> Run:
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
        deadline = time.monotonic() + PATIENCE_SECONDS
        journal = self.home / "journal"
        while not (journal.exists() and f'"{word}"' in journal.read_text()):
            assert time.monotonic() < deadline, f"{word} was not started"
            time.sleep(0.01)


def finish(process: subprocess.Popen[str]) -> Run:
    try:
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return Run(process.returncode, out, err)


def make_venv_call(machine: Machine, python: str = "python3") -> Call:
    return [python, "-I", "-m", "venv", str(machine.venv)]


def pip_call(extra: str = "") -> Call:
    return ["python", "-I", "-m", "pip", "install", "--editable", f".{extra}"]


def program_call(*arguments: str) -> Call:
    return ["python", "-P", "-m", "capital_governor", *arguments]


@pytest.fixture
def bare(tmp_path: Path) -> Machine:
    """A machine without Python; spaces and brackets are in every path."""
    home = tmp_path / "my machine [1]"
    machine = Machine(home, home / "neo light [2]")
    (home / "tools").mkdir(parents=True)
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found, f"these tests need {tool}"
        (home / "tools" / tool).symlink_to(found)
    machine.project.mkdir()
    shutil.copy(REPOSITORY / "neo_light_fix.sh", machine.script)
    (machine.project / "pyproject.toml").write_text("[project]\n")
    return machine


@pytest.fixture
def machine(bare: Machine) -> Machine:
    """A machine with one good Python."""
    bare.add_python("python3")
    return bare


def commands_of_the_script() -> list[str]:
    dispatcher = (REPOSITORY / "neo_light_fix.sh").read_text().partition("\nmain() {")[2]
    labels = re.findall(r"^        ([a-z][a-z |-]*)\)", dispatcher, flags=re.MULTILINE)
    return [word for label in labels for word in label.split(" | ") if not word.startswith("-")]


def test_help_has_one_aligned_line_for_each_command(bare: Machine) -> None:
    """`help` needs no Python and gives every command that the script knows a line, all descriptions in one column."""
    run = bare.run("help")
    lines = [line for line in run.out.splitlines() if re.match(r"  [a-z]", line)]
    assert (run.code, run.err) == (0, "")
    assert set(commands_of_the_script()) == {line.split()[0] for line in lines} == {"run", "once", "test", "help"}
    assert len({line.rindex("  ") for line in lines}) == 1


@pytest.mark.parametrize("arguments", [(), ("frobnicate",), ("--root", "x")])
def test_a_missing_or_unknown_command_is_wrong_usage(machine: Machine, arguments: tuple[str, ...]) -> None:
    """Without a known command the help goes to stderr, the exit code is 2, and nothing is made."""
    run = machine.run(*arguments)
    assert (run.code, run.out) == (2, "")
    assert "Usage: neo_light_fix.sh" in run.err
    assert not arguments or f"unknown command: {arguments[0]}" in run.err
    assert not machine.venv.exists()


@pytest.mark.parametrize("command", ["run", "once", "test"])
def test_without_a_recent_python_one_sentence_names_the_remedy(bare: Machine, command: str) -> None:
    """A machine whose Pythons are older than 3.11 gets one sentence and the exit code of a permanent failure."""
    bare.add_python("python3", (3, 10, 13))
    run = bare.run(command)
    assert run.code == 78
    assert run.err.count("\n") == 1
    assert "Python 3.11 or newer is needed" in run.err
    assert "apt-get install python3 python3-venv" in run.err
    assert not bare.venv.exists()


def test_without_the_venv_module_one_sentence_names_the_package(bare: Machine) -> None:
    """A recent Python that cannot make environments, as Debian ships it, is answered with the package to install."""
    bare.add_python("python3.12", has_venv=False)
    bare.add_python("python3", (3, 10, 13))
    run = bare.run("once")
    assert run.code == 78
    assert run.err.count("\n") == 1
    assert "apt-get install python3.12-venv" in run.err
    assert not bare.venv.exists()


def test_a_python_that_cannot_serve_is_passed_over(bare: Machine) -> None:
    """A name without a Python behind it, and a Python without venv, do not keep the next one from being used."""
    shim = bare.home / "tools" / "python3.13"
    shim.write_text("#!/bin/sh\necho 'python3.13: command not found' >&2\nexit 127\n")
    shim.chmod(0o755)
    bare.add_python("python3.12", has_venv=False)
    bare.add_python("python3.11", (3, 11, 0))
    bare.add_python("python3", (3, 14, 0))
    assert bare.run("once").code == 0
    assert bare.calls()[0] == make_venv_call(bare, "python3.11")


@pytest.mark.parametrize("command", ["run", "once"])
def test_first_use_makes_the_environment_and_starts_the_program(machine: Machine, command: str) -> None:
    """The arguments arrive unchanged, stdout is the program's alone, and its exit code is the script's."""
    machine.let("python-exits", 7)
    run = machine.run(command, "--json", "two words", "*")
    assert (run.code, run.out) == (7, "out of python\n")
    assert machine.calls() == [
        make_venv_call(machine),
        pip_call(),
        program_call(command, "--json", "two words", "*"),
    ]


def test_later_uses_install_nothing(machine: Machine) -> None:
    """The second use only starts the program, and says nothing of its own."""
    machine.run("once")
    machine.calls()
    assert machine.run("once") == Run(0, "out of python\n", "")
    assert machine.calls() == [program_call("once")]


def test_changed_requirements_are_installed_into_the_same_environment(machine: Machine) -> None:
    """After a change of pyproject.toml pip runs once more, and the environment is kept."""
    machine.run("once")
    machine.calls()
    (machine.project / "pyproject.toml").write_text("[project] # changed\n")
    machine.run("once")
    machine.run("once")
    assert machine.calls() == [pip_call(), program_call("once"), program_call("once")]


def test_the_test_extra_is_added_once_and_serves_a_run_too(machine: Machine) -> None:
    """`test` adds its tools to an environment without them; neither it nor `once` then installs again."""
    machine.run("once")
    machine.calls()
    for command in ("test", "once", "test"):
        machine.run(command)
    assert [call for call in machine.calls() if "pip" in call] == [pip_call("[test]")]


@pytest.mark.parametrize("through_link", [False, True])
def test_the_script_works_from_any_folder_and_through_a_link(
    machine: Machine, tmp_path: Path, through_link: bool
) -> None:
    """Its own folder is the project's, however it was found; the program keeps the folder of the caller."""
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    link = elsewhere / "governor"
    link.symlink_to(Path(os.path.relpath(machine.script, elsewhere)))
    run = machine.run("once", script=link if through_link else machine.script, cwd=elsewhere)
    assert (run.code, machine.entries()[-1]["cwd"]) == (0, str(elsewhere))
    assert machine.entries()[1]["cwd"] == str(machine.project)
    assert machine.calls()[:2] == [make_venv_call(machine), pip_call()]
    assert list(elsewhere.iterdir()) == [link]


@pytest.mark.parametrize(
    ("given", "arguments", "expected"),
    [
        (None, (), "project"),
        ("", (), "project"),
        ("/srv/x", (), "/srv/x"),
        (None, ("--root", "y"), None),
        (None, ("--root=y",), None),
        ("/srv/x", ("--root=y",), "/srv/x"),
    ],
)
def test_the_root_is_the_project_unless_somebody_says_otherwise(
    machine: Machine, given: str | None, arguments: tuple[str, ...], expected: str | None
) -> None:
    """NEOLIGHT_ROOT becomes the script's folder only where neither the environment nor --root names one."""
    machine.run("once", *arguments, environment={} if given is None else {"NEOLIGHT_ROOT": given})
    root = machine.environment_of("python", "capital_governor").get("NEOLIGHT_ROOT")
    assert root == (str(machine.project) if expected == "project" else expected)


def test_the_env_file_is_never_executed(machine: Machine) -> None:
    """The shared .env belongs to the program's own parser: the script neither runs it nor exports from it."""
    (machine.project / ".env").write_text("export TELEGRAM_CHAT_ID=5\n: >executed\n")
    machine.run("once", cwd=machine.project)
    assert "TELEGRAM_CHAT_ID" not in machine.environment_of("python", "capital_governor")
    assert not (machine.project / "executed").exists()


def test_an_interrupted_installation_is_made_anew(machine: Machine) -> None:
    """A first use that was killed half-way leaves an environment that the next use replaces as a whole."""
    machine.let("pip-sleeps", 60)
    with machine.start("once") as process:
        machine.wait_for_call("pip")
        os.killpg(process.pid, signal.SIGKILL)
    machine.calls()
    debris = machine.venv / "half-written"
    debris.touch()
    machine.let("pip-sleeps", 0)
    assert machine.run("once").code == 0
    assert machine.calls() == [make_venv_call(machine), pip_call(), program_call("once")]
    assert not debris.exists()


@pytest.mark.parametrize("how", ["moved", "python gone", "python too old", "stamp torn", "empty"])
def test_an_unusable_environment_is_made_anew(machine: Machine, how: str) -> None:
    """An environment that was made elsewhere, or whose Python no longer serves, is replaced without a question."""
    machine.run("once")
    machine.calls()
    after = machine
    match how:
        case "moved":
            after = Machine(machine.home, machine.home / "moved here")
            machine.project.rename(after.project)
        case "python gone":
            (machine.venv / "bin/python").unlink()
        case "python too old":
            machine.add_python("old", (3, 10, 0))
            shutil.copy(machine.home / "tools/old", machine.venv / "bin/python")
        case "stamp torn":
            (machine.venv / "neo_light_fix.stamp").write_text("")
        case _:
            shutil.rmtree(machine.venv)
            machine.venv.mkdir()
    assert after.run("once").code == 0
    assert after.calls() == [make_venv_call(after), pip_call(), program_call("once")]


def test_an_environment_made_by_hand_is_kept(machine: Machine) -> None:
    """A sound .venv that this script did not make is installed into, never removed."""
    machine.run("once")
    machine.calls()
    (machine.venv / "neo_light_fix.stamp").unlink()
    treasure = machine.venv / "treasure"
    treasure.touch()
    assert machine.run("once").code == 0
    assert machine.calls() == [pip_call(), program_call("once")]
    assert treasure.exists()


def test_a_failing_pip_is_shown_and_tried_again(machine: Machine) -> None:
    """What pip said, and where all of it is, comes with exit code 75; the next use repeats pip, and only pip."""
    machine.let("pip-exits", 3)
    run = machine.run("once")
    assert (run.code, run.out) == (75, "")
    assert "pip prints this" in run.err
    assert "exit code 3" in run.err
    assert str(machine.venv / "neo_light_fix.log") in run.err
    assert machine.calls() == [make_venv_call(machine), pip_call()]
    machine.let("pip-exits", 0)
    assert machine.run("once").code == 0
    assert machine.calls() == [pip_call(), program_call("once")]


def test_simultaneous_first_uses_make_one_environment(machine: Machine) -> None:
    """Of five first uses at once one makes the environment; the others wait for it, and all start the program."""
    machine.let("pip-sleeps", 0.5)
    processes = [machine.start("once") for _ in range(5)]
    runs = []
    for process in processes:
        with process:
            runs.append(finish(process))
    assert [run.code for run in runs] == [0] * 5
    assert sum("waiting for another" in run.err for run in runs) >= 1
    assert sorted(machine.calls()) == sorted(
        [make_venv_call(machine), pip_call(), *[program_call("once")] * 5],
    )


def test_a_running_program_does_not_hold_the_lock(machine: Machine) -> None:
    """While a governor that was a first use is running, another use can still install what has changed."""
    machine.let("program-sleeps", 60)
    with machine.start("run") as governor:
        machine.wait_for_call("capital_governor")
        machine.calls()
        machine.let("program-sleeps", 0)
        (machine.project / "pyproject.toml").write_text("[project] # changed\n")
        run = machine.run("once")
        assert governor.poll() is None
        os.killpg(governor.pid, signal.SIGKILL)
    assert (run.code, machine.calls()) == (0, [pip_call(), program_call("once")])
    assert "waiting" not in run.err


def test_the_checks_run_in_order_from_the_project_folder(machine: Machine) -> None:
    """Each check has its heading and runs in the project's folder, whatever the caller's; arguments go to pytest."""
    run = machine.run("test", "-k", "two words")
    assert run.code == 0
    assert {entry["cwd"] for entry in machine.entries()[2:]} == {str(machine.project)}
    assert re.findall(r"^== (.+)", run.out, flags=re.MULTILINE) == [
        "ruff format",
        "ruff check",
        "mypy",
        "lint-imports",
        "shellcheck",
        "pytest",
    ]
    assert machine.calls()[2:] == [
        ["ruff", "format", "--check"],
        ["ruff", "check"],
        ["mypy"],
        ["lint-imports"],
        ["shellcheck", "neo_light_fix.sh", ".ci/run"],
        [
            *("pytest", "-W", "error", "-m", "not bench"),
            *("--cov", "--cov-branch", "--cov-report=term:skip-covered"),
            *("-k", "two words"),
        ],
    ]


@pytest.mark.parametrize("failing", CHECKERS)
def test_the_first_failing_check_ends_the_run(machine: Machine, failing: str) -> None:
    """The failing check is named, its exit code is the script's, and nothing runs after it."""
    machine.let(f"{failing}-exits", 9)
    run = machine.run("test")
    assert run.code == 9
    assert re.search(rf"{failing}.*: failed with exit code 9", run.err)
    assert machine.calls()[-1][0] == failing


def test_bench_runs_the_benchmarks_and_nothing_else(machine: Machine) -> None:
    """`test --bench` is one pytest run over the benchmarks that shows what they print, without coverage."""
    assert machine.run("test", "--bench", "-x").code == 0
    assert machine.calls()[2:] == [["pytest", "tests/benchmarks", "-m", "bench", "-s", "-x"]]


@pytest.mark.parametrize("arguments", [(), ("--bench",)])
def test_the_operators_settings_do_not_reach_the_tests(machine: Machine, arguments: tuple[str, ...]) -> None:
    """Settings, tokens and proxies are unset for pytest alone: pip keeps the proxies, and its own variables."""
    hidden = {"CAPITAL_GOVERNOR_INTERVAL": "1", "NEOLIGHT_ROOT": "/srv", "TELEGRAM_BOT_TOKEN": "t"}
    hidden |= {"https_proxy": "p", "HTTP_PROXY": "p", "NO_PROXY": "p"}
    kept = {"PIP_INDEX_URL": "i", "LANG": "C", "MY_TELEGRAM_X": "k"}
    assert machine.run("test", *arguments, environment=hidden | kept).code == 0
    assert machine.environment_of("python", "pip").items() >= (hidden | kept).items()
    tests = machine.environment_of("pytest")
    assert not hidden.keys() & tests.keys()
    assert tests.items() >= kept.items()


def test_the_ci_entry_is_the_test_command(machine: Machine, tmp_path: Path) -> None:
    """`.ci/run` runs every check from any folder and ends as they end."""
    (machine.project / ".ci").mkdir()
    entry = machine.project / ".ci/run"
    shutil.copy(REPOSITORY / ".ci/run", entry)
    machine.let("pytest-exits", 4)
    run = machine.run(script=entry, cwd=tmp_path)
    assert run.code == 4
    assert "pytest" in {call[0] for call in machine.calls()}


def test_the_ci_entry_holds_nothing_but_the_test_command() -> None:
    """What a continuous-integration run checks is what everybody's `test` checks."""
    lines = (REPOSITORY / ".ci/run").read_text().splitlines()
    assert [line for line in lines if not line.startswith(("#", "set ", "cd "))] == ["exec ./neo_light_fix.sh test"]
