"""The commands of neo_light_fix.sh, its help and its checks, in a copy of the project whose Python is a recorder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from capital_governor.cli.parser import make_parser
from tests.rigs.script_machine import CHECKERS, REPOSITORY, Machine

OWN = {"start", "stop", "restart", "status", "logs", "test", "help"}


def commands_of_the_script() -> list[str]:
    dispatcher = (REPOSITORY / "neo_light_fix.sh").read_text().partition("\nmain() {")[2]
    labels = re.findall(r"^        ([a-z][a-z |-]*)\)", dispatcher, flags=re.MULTILINE)
    return [word for label in labels for word in label.split(" | ") if not word.startswith("-")]


def test_help_has_every_command(bare: Machine) -> None:
    """`help` needs no Python: a line for each command of the script's own, and the program's commands in groups."""
    run = bare.run("help")
    assert (run.code, run.err) == (0, "")
    own = set(re.findall(r"^  ([a-z]+) (?:\[?[A-Z-].*?)? {2,}[a-z]", run.out, flags=re.MULTILINE)) - {"look", "order"}
    groups = re.findall(r"^  (?:look|order|govern|try|print) +([a-z, -]+)(?::.*)?$", run.out, flags=re.MULTILINE)
    forwarded = [name for group in groups for name in group.split(", ")]
    assert len(groups) == 5
    assert sorted(own - {"govern", "try", "print"}) == sorted(OWN)
    assert sorted(commands_of_the_script()) == sorted(OWN | set(forwarded))
    assert all(len(line) <= 120 for line in run.out.splitlines())


def test_every_command_of_the_program_is_forwarded() -> None:
    """There is one front: only `status` is the script's own, has the program's in it, and is it with an option."""
    assert set(make_parser().commands) <= set(commands_of_the_script())


@pytest.mark.parametrize(
    "words",
    [
        ("limits",),
        ("history", "--since", "2d"),
        ("status", "--watch"),
        ("hold", "--for", "2h", "--reason", "two words"),
        ("reload",),
        ("check", "--json"),
        ("--version",),
    ],
)
def test_a_command_is_forwarded_with_the_scripts_root(machine: Machine, words: tuple[str, ...]) -> None:
    """Its arguments and its exit code are unchanged; the root is the script's folder, or what the environment says."""
    machine.let("python-exits", 75)
    for environment, root in (({}, str(machine.project)), ({"NEOLIGHT_ROOT": "/srv"}, "/srv")):
        run = machine.run(*words, environment=environment)
        assert run.code == 75
        assert machine.environment_of("python", words[0])["NEOLIGHT_ROOT"] == root
        assert machine.calls()[-1] == ["python", "-I", "-m", "capital_governor", *words]


@pytest.mark.parametrize("command", ["start", "status", "check"])
def test_a_copy_of_the_script_alone_is_refused(bare: Machine, command: str) -> None:
    """Exit code 78 and what to do instead; nothing is made."""
    (bare.project / ".ci/environment.py").unlink()
    before = sorted(bare.project.rglob("*"))
    run = bare.run(command)
    assert (run.code, run.out) == (78, "")
    assert run.err == (
        f"neo_light_fix.sh: the project is not beside {bare.project}/neo_light_fix.sh: link to the script in the"
        " project, do not copy it\n"
    )
    assert sorted(bare.project.rglob("*")) == before


@pytest.mark.parametrize("arguments", [("frobnicate",), ("--root", "x")])
def test_an_unknown_command_is_wrong_usage(machine: Machine, arguments: tuple[str, ...]) -> None:
    """To an unknown command the help goes to stderr, the exit code is 2, and nothing is made."""
    run = machine.run(*arguments)
    assert (run.code, run.out) == (2, "")
    assert "Usage: neo_light_fix.sh" in run.err
    assert f"unknown command: {arguments[0]}" in run.err
    assert not machine.venv.exists()


@pytest.mark.parametrize("arguments", [("start", "x"), ("stop", "x"), ("restart", "x", "y"), ("logs", "x", "y")])
def test_an_argument_too_many_is_wrong_usage(machine: Machine, arguments: tuple[str, ...]) -> None:
    """A command that cannot use an argument says so, and does nothing."""
    run = machine.run(*arguments)
    assert (run.code, run.out) == (2, "")
    assert f"{arguments[0]} takes no such argument: {arguments[-1]}" in run.err
    assert sorted(path.name for path in machine.project.iterdir()) == [".ci", "neo_light_fix.sh", "pyproject.toml"]


def test_the_checks_run_in_order_from_the_project_folder(machine: Machine) -> None:
    """Each check has its heading and runs in the project's folder, whatever the caller's; arguments go to pytest."""
    run = machine.run("test", "-k", "two words")
    assert run.code == 0
    assert {entry["cwd"] for entry in machine.entries()[3:]} == {str(machine.project)}
    assert re.findall(r"^== (.+)", run.out, flags=re.MULTILINE) == [
        "ruff format",
        "ruff check",
        "mypy",
        "lint-imports",
        "shellcheck",
        "pytest",
    ]
    assert machine.calls()[3:] == [
        ["ruff", "format", "--check"],
        ["ruff", "check"],
        ["mypy"],
        ["lint-imports"],
        ["shellcheck", "neo_light_fix.sh", ".ci/checks", ".ci/run"],
        ["pytest", "-W", "error", "-m", "not bench", "-k", "two words"],
    ]


def test_coverage_is_measured_on_demand(machine: Machine) -> None:
    """With ``--coverage`` in front the checks are the same, pytest also measures which lines it reaches."""
    assert machine.run("test", "--coverage", "-k", "two words").code == 0
    calls = machine.calls()
    assert [call[0] for call in calls[-6:]] == ["ruff", "ruff", "mypy", "lint-imports", "shellcheck", "pytest"]
    assert calls[-1] == [
        *("pytest", "-W", "error", "-m", "not bench"),
        *("--cov", "--cov-branch", "--cov-report=term:skip-covered"),
        *("-k", "two words"),
    ]


@pytest.mark.parametrize("failing", CHECKERS)
def test_the_first_failing_check_ends_the_run(machine: Machine, failing: str) -> None:
    """The failing check is named, its exit code is the script's, and nothing runs after it."""
    machine.let(f"{failing}-exits", 9)
    run = machine.run("test")
    assert run.code == 9
    assert re.search(rf"{failing}.*: failed with exit code 9", run.err)
    assert machine.calls()[-1][0] == failing


def tool(machine: Machine, name: str, *lines: str) -> None:
    path = machine.home / "tools" / name
    path.write_text("\n".join(["#!/bin/bash", *lines, ""]))
    path.chmod(0o755)


def test_root_gets_the_tools_of_the_tests_installed(machine: Machine) -> None:
    """Missing Debian packages are installed by root, package lists renewed if need be, and then the checks run."""
    asked = machine.home / "asked"
    tool(machine, "id", "echo 0")
    tool(machine, "strace")
    tool(machine, "apt-get", f'echo "$*" >>"{asked}"', f'[[ $1 == update ]] || (($(grep -c . "{asked}") > 1))')
    (machine.home / "tools/grep").symlink_to("/bin/grep")
    run = machine.run("test")
    install = "install -y --no-install-recommends faketime util-linux systemd zsh"
    assert asked.read_text().splitlines() == [install, "update", install]
    assert "installing for the tests: faketime util-linux systemd zsh" in run.err
    assert "skipped" not in run.err
    assert run.code == 0
    assert machine.calls()[-1][0] == "pytest"


@pytest.mark.parametrize("user", [1000, 0])
def test_without_the_tools_of_the_tests_the_command_is_named(machine: Machine, user: int) -> None:
    """Who may not install, or fails to, is told the exact command, and the checks run all the same."""
    tool(machine, "id", f"echo {user}")
    tool(machine, "apt-get", "echo no network", "exit 100")
    run = machine.run("test")
    assert "apt-get install strace faketime util-linux systemd zsh, as root" in run.err
    assert run.code == 0
    assert machine.calls()[-1][0] == "pytest"
    log = machine.venv / "neo_light_fix.log"
    assert log.read_text().count("no network") == (2 if user == 0 else 0)


def test_nothing_is_said_where_the_tools_of_the_tests_are_there(machine: Machine) -> None:
    """A machine that has them all hears nothing of it."""
    for name in ("strace", "faketime", "unshare", "systemd-analyze", "zsh"):
        tool(machine, name)
    assert machine.run("test").err.count("fault") == 0


def test_bench_runs_the_benchmarks_and_nothing_else(machine: Machine) -> None:
    """`test --bench` is one pytest run over the benchmarks that shows what they print, without coverage."""
    assert machine.run("test", "--bench", "-x").code == 0
    assert machine.calls()[3:] == [["pytest", "tests/benchmarks", "-m", "bench", "-s", "-x"]]


def test_soak_runs_the_soak_and_nothing_else(machine: Machine) -> None:
    """`test --soak` is the soak alone, with its arguments and its exit code, and without the operator's settings."""
    machine.let("python-exits", 1)
    run = machine.run("test", "--soak", "3", "--seed", "7", environment={"TELEGRAM_BOT_TOKEN": "t"})
    assert "TELEGRAM_BOT_TOKEN" not in machine.environment_of("python", "tests.soak")
    assert machine.calls()[3:] == [["python", "-m", "tests.soak", "3", "--seed", "7"]]
    assert run.code == 1


@pytest.mark.parametrize("arguments", [(), ("--bench",)])
def test_the_operators_settings_do_not_reach_the_tests(machine: Machine, arguments: tuple[str, ...]) -> None:
    """Settings, tokens and proxies are unset for pytest alone: pip keeps the proxies, and its own variables."""
    hidden = {
        "CAPITAL_GOVERNOR_INTERVAL": "1",
        "NEOLIGHT_ROOT": "/srv",
        "NEO_LIGHT_LOG_KEEP": "1",
        "TELEGRAM_BOT_TOKEN": "t",
    }
    hidden |= {"https_proxy": "p", "HTTP_PROXY": "p", "NO_PROXY": "p"}
    kept = {"PIP_INDEX_URL": "i", "LANG": "C", "MY_TELEGRAM_X": "k"}
    assert machine.run("test", *arguments, environment=hidden | kept).code == 0
    assert machine.environment_of("python", "pip").items() >= (hidden | kept).items()
    tests = machine.environment_of("pytest")
    assert not hidden.keys() & tests.keys()
    assert tests.items() >= kept.items()


def test_the_ci_entry_is_the_test_command(machine: Machine, tmp_path: Path) -> None:
    """`.ci/run` runs every check from any folder and ends as they end."""
    entry = machine.project / ".ci/run"
    machine.let("pytest-exits", 4)
    run = machine.run(script=entry, cwd=tmp_path)
    assert run.code == 4
    assert machine.environment_of("pytest")["CI"] == "true"


def test_the_ci_entry_holds_nothing_but_the_test_command() -> None:
    """What a continuous-integration run checks is what everybody's `test` checks."""
    lines = (REPOSITORY / ".ci/run").read_text().splitlines()
    assert [line for line in lines if not line.startswith(("#", "set ", "cd "))] == [
        "exec env CI=true ./neo_light_fix.sh test"
    ]
