"""The environment that neo_light_fix.sh makes for itself, and what it starts in it."""

from __future__ import annotations

import os
import re
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from tests.rigs.commands import CommandResult
from tests.rigs.patience import PATIENCE_SECONDS
from tests.rigs.script_machine import Machine, finish, install_calls, make_venv_call, program_call


@pytest.mark.parametrize("command", ["run", "once", "test"])
def test_without_a_recent_python_one_sentence_names_the_remedy(bare: Machine, command: str) -> None:
    """A machine whose Pythons are older than 3.11 gets one sentence and the exit code of a permanent failure."""
    bare.add_python("python3", (3, 10, 13))
    run = bare.run(command)
    assert run.code == 78
    assert run.err.count("\n") == 1
    assert "Python 3.11 or newer is needed, and python3 is 3.10: install a newer one beside it" in run.err
    assert "apt-get install python3.11 python3.11-venv" in run.err
    assert not bare.venv.exists()


def test_without_any_python_one_sentence_names_the_packages(bare: Machine) -> None:
    """A machine that has none gets the distribution's own."""
    run = bare.run("once")
    assert (run.code, run.err.count("\n")) == (78, 1)
    assert "none was found on PATH" in run.err
    assert "apt-get install python3 python3-venv" in run.err


def attempt(left: int) -> str:
    """What pip says of an attempt that got no answer."""
    tries = f"Retry(total={left}, connect=None, read=None, redirect=None, status=None)"
    return f"WARNING: Retrying ({tries}) after connection broken by 'NewConnectionError(...)': /simple/httpx/\n"


def test_without_a_network_one_sentence_says_so(machine: Machine) -> None:
    """Twenty lines of pip would not name it; its output is kept, and the same command may work later."""
    machine.let(
        "pip-says", "".join(attempt(left) for left in (4, 3, 2, 1, 0)) + "ERROR: No matching distribution found"
    )
    machine.let("pip-exits", 1)
    run = machine.run("once")
    assert run.code == 75
    assert "the package index cannot be reached: give this machine a network" in run.err
    assert "Retrying" not in run.err
    log = machine.venv / "neo_light_fix.log"
    assert str(log) in run.err
    assert "Retrying" in log.read_text()


def test_a_network_that_only_stumbled_is_not_blamed(machine: Machine) -> None:
    """Where a later attempt got its answer, pip failed for another reason, which is shown."""
    machine.let("pip-says", attempt(4) + "ERROR: No space left on device")
    machine.let("pip-exits", 1)
    run = machine.run("once")
    assert run.code == 75
    assert "the package index" not in run.err
    assert "ERROR: No space left on device" in run.err


def test_a_clone_that_may_not_be_written_is_for_a_person_to_mend(machine: Machine) -> None:
    """One sentence names the folder and both ways out, and nothing is tried."""
    machine.project.chmod(0o555)
    run = replace(machine, bound=True).run("once")
    assert (run.code, run.out, run.err.count("\n")) == (78, "", 1)
    assert f"cannot write to {machine.project}, where" in run.err
    assert "let this user write there, or run this once as the one who may" in run.err
    assert machine.calls() == []


@pytest.mark.parametrize("change", ["requirements", "moved"])
def test_another_users_environment_serves_until_it_must_be_renewed(machine: Machine, change: str) -> None:
    """Who may not write it can use it; where it has to be renewed one sentence says who can, and it stays as it is."""
    machine.run("once")
    machine.calls()
    machine.venv.chmod(0o555)
    assert replace(machine, bound=True).run("once") == CommandResult(0, "out of python\n", "")
    after = machine
    if change == "moved":
        after = Machine(machine.home, machine.home / "moved here")
        machine.project.rename(after.project)
    else:
        (machine.project / "pyproject.toml").write_text("[project] # changed\n")
    machine.calls()
    run = replace(after, bound=True).run("once")
    after.venv.chmod(0o755)
    assert (run.code, run.out, run.err.count("\n")) == (78, "", 1)
    assert f"cannot write to {after.venv}, where" in run.err
    assert after.calls() == []
    assert (after.venv / "bin/python").exists()


def test_a_script_that_is_changed_while_it_runs_ends_as_it_began(machine: Machine) -> None:
    """What is written into the file, by an editor say, is for the next run."""
    machine.let("program-sleeps", 0.5)
    with machine.start("test") as process:
        machine.wait_for_call("check")
        for script in (machine.script, machine.project / ".ci/checks"):
            text = script.read_text()
            with script.open("w") as file:  # the same file, as an editor or rsync --inplace writes it
                file.write(text.replace("set -Eeuo pipefail", "# more\n" * 40 + "set -Eeuo pipefail") + "((( ;;\n")
        run = finish(process)
    assert run.code == 0
    assert "syntax error" not in run.err


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


@pytest.mark.parametrize("command", ["run", "once", "hive", "docs", "demo"])
def test_first_use_makes_the_environment_and_starts_the_program(machine: Machine, command: str) -> None:
    """The arguments arrive unchanged, stdout is the program's alone, and its exit code is the script's."""
    machine.let("python-exits", 7)
    run = machine.run(command, "--json", "two words", "*")
    assert (run.code, run.out) == (7, "out of python\n")
    assert machine.calls() == [
        make_venv_call(machine),
        *install_calls(machine),
        program_call(command, "--json", "two words", "*"),
    ]


def test_later_uses_install_nothing(machine: Machine) -> None:
    """The second use only starts the program, and says nothing of its own."""
    machine.run("once")
    machine.calls()
    assert machine.run("once") == CommandResult(0, "out of python\n", "")
    assert machine.calls() == [program_call("once")]


@pytest.mark.parametrize("name", ["pyproject.toml", ".ci/requirements.txt"])
def test_changed_requirements_are_installed_into_the_same_environment(machine: Machine, name: str) -> None:
    """After a change of pyproject.toml or of the lock file pip runs once more, and the environment is kept."""
    machine.run("once")
    machine.calls()
    (machine.project / name).write_text("# changed\n")
    machine.run("once")
    machine.run("once")
    assert machine.calls() == [*install_calls(machine), program_call("once"), program_call("once")]


def test_the_test_extra_is_added_once_and_serves_a_run_too(machine: Machine) -> None:
    """`test` adds its tools to an environment without them; neither it nor `once` then installs again."""
    machine.run("once")
    machine.calls()
    for command in ("test", "once", "test"):
        machine.run(command)
    assert [call for call in machine.calls() if "pip" in call] == install_calls(machine, "test")


def test_uv_installs_where_it_is_there(machine: Machine) -> None:
    """It gets the same lock file and installs into the same environment; pip is not asked."""
    machine.add_python("uv")
    for command, extra in (("once", ""), ("test", "test")):
        assert machine.run(command).code == 0
        assert [call for call in machine.calls() if "pip" in call] == install_calls(machine, extra, uv=True)


def test_what_uv_cannot_do_pip_may(machine: Machine) -> None:
    """A uv that fails keeps nobody from starting; one that does not know the operator's index is not asked."""
    machine.add_python("uv")
    machine.let("uv-exits", 2)
    assert machine.run("once").code == 0
    calls = [install_calls(machine, uv=True)[0], *install_calls(machine)]
    assert machine.calls() == [make_venv_call(machine), *calls, program_call("once")]
    (machine.project / ".ci/requirements.txt").write_text("# changed\n")
    assert machine.run("once", environment={"PIP_INDEX_URL": "i"}).code == 0
    assert machine.calls() == [*install_calls(machine), program_call("once")]


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
    assert machine.calls()[:3] == [make_venv_call(machine), *install_calls(machine)]
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
    assert machine.calls() == [make_venv_call(machine), *install_calls(machine), program_call("once")]
    assert not debris.exists()


@pytest.mark.parametrize("how", ["moved", "python gone", "python too old", "pip gone", "stamp torn", "empty"])
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
            (machine.venv / "bin/python").unlink()
            shutil.copy(machine.home / "tools/old", machine.venv / "bin/python")
        case "pip gone":  # as after Python was replaced by another version
            shutil.rmtree(machine.venv / "site-packages")
        case "stamp torn":
            (machine.venv / "neo_light_fix.stamp").write_text("")
        case _:
            shutil.rmtree(machine.venv)
            machine.venv.mkdir()
    assert after.run("once").code == 0
    assert after.calls() == [make_venv_call(after), *install_calls(after), program_call("once")]


def test_an_environment_that_proves_unusable_late_is_made_anew(machine: Machine) -> None:
    """Its own Python, which waited only to fill it, replaces it when the installation before was interrupted."""
    machine.run("once")
    machine.calls()
    (machine.venv / "neo_light_fix.stamp").write_text(f"{machine.project}\ninstalling\n")
    program = (str(machine.project / ".ci/environment.py"), "prepare", "")
    run = machine.run("-I", *program, script=machine.venv / "bin/python")
    assert (run.code, machine.calls()) == (0, [make_venv_call(machine), *install_calls(machine)]), run.err
    assert machine.run("once") == CommandResult(0, "out of python\n", "")


def test_an_environment_that_cannot_be_removed_is_named(machine: Machine) -> None:
    """One sentence has the file that is in the way; it may be gone at the next use."""
    kept = machine.venv / "kept"
    kept.mkdir(parents=True)
    (kept / "file").touch()
    kept.chmod(0o555)
    run = replace(machine, bound=True).run("once")
    kept.chmod(0o755)
    assert (run.code, run.out, machine.calls()) == (75, "", [])
    assert run.err.splitlines()[0] == "neo_light_fix.sh: making .venv with python3"
    assert re.fullmatch(
        rf"neo_light_fix.sh: cannot write {re.escape(str(machine.venv))} \(.*Permission denied: .*\): mend that and run"
        " this again",
        run.err.splitlines()[1],
    )


@pytest.mark.parametrize("name", ["pyproject.toml", ".ci/requirements.txt"])
def test_an_environment_is_kept_where_a_file_is_missing_that_says_what_it_needs(machine: Machine, name: str) -> None:
    """What is missing is for pip to say."""
    machine.run("once")
    machine.calls()
    (machine.project / name).unlink()
    machine.let("pip-exits", 1)
    assert machine.run("once").code == 75
    assert machine.calls() == [install_calls(machine)[0]]


def test_an_environment_of_an_older_version_is_kept(machine: Machine) -> None:
    """Its stamp has another checksum: pip runs once more, and finds all packages there."""
    machine.run("once")
    machine.calls()
    (machine.venv / "neo_light_fix.stamp").write_text(f"{machine.project}\ninstalled 2532831133 33662 []\n")
    assert machine.run("once").code == machine.run("once").code == 0
    assert machine.calls() == [*install_calls(machine), program_call("once"), program_call("once")]


def test_an_environment_made_by_hand_is_kept(machine: Machine) -> None:
    """A sound .venv that this script did not make is installed into, never removed."""
    machine.run("once")
    machine.calls()
    (machine.venv / "neo_light_fix.stamp").unlink()
    treasure = machine.venv / "treasure"
    treasure.touch()
    assert machine.run("once").code == 0
    assert machine.calls() == [*install_calls(machine), program_call("once")]
    assert treasure.exists()


def test_a_failing_pip_is_shown_and_tried_again(machine: Machine) -> None:
    """What pip said, and where all of it is, comes with exit code 75; the next use repeats pip, and only pip."""
    machine.let("pip-exits", 3)
    run = machine.run("once")
    assert (run.code, run.out) == (75, "")
    assert "pip prints this" in run.err
    assert "exit code 3" in run.err
    assert str(machine.venv / "neo_light_fix.log") in run.err
    assert machine.calls() == [make_venv_call(machine), install_calls(machine)[0]]
    machine.let("pip-exits", 0)
    assert machine.run("once").code == 0
    assert machine.calls() == [*install_calls(machine), program_call("once")]


def test_a_killed_pip_is_told_as_a_shell_tells_it(machine: Machine) -> None:
    """A signal is 128 more than its number, as for a pip that the kernel killed for want of memory."""
    machine.let("pip-exits", -9)
    run = machine.run("once")
    assert run.code == 75
    assert "pip failed with exit code 137" in run.err


def test_an_interrupt_ends_a_first_use_without_a_message(machine: Machine) -> None:
    """After Ctrl-C there is no traceback, and the script has ended by the signal."""
    machine.let("pip-sleeps", 60)
    with machine.start("once") as process:
        machine.wait_for_call("pip")
        os.killpg(process.pid, signal.SIGINT)
        run = finish(process)
    assert run.code == -signal.SIGINT
    assert [line.partition(" (")[0] for line in run.err.splitlines()] == [
        "neo_light_fix.sh: making .venv with python3",
        "neo_light_fix.sh: installing into .venv",
    ]


def test_a_pip_that_outlives_a_killed_script_keeps_others_waiting(machine: Machine) -> None:
    """While it still writes into the environment, another use waits, and then makes that anew."""
    machine.let("pip-sleeps", PATIENCE_SECONDS)
    with machine.start("once") as process:
        machine.wait_for_call("pip")
        pip, installer = machine.entries()[-1]["pid"], machine.entries()[-1]["parent"]
        assert isinstance(pip, int)
        assert isinstance(installer, int)
        os.kill(process.pid, signal.SIGKILL)
        os.kill(installer, signal.SIGKILL)
        process.wait(PATIENCE_SECONDS)
        machine.calls()
        machine.let("pip-sleeps", 0)
        with machine.start("once") as second:
            assert second.stderr
            assert second.stderr.readline() == (
                "neo_light_fix.sh: waiting for another neo_light_fix.sh that is preparing .venv\n"
            )
            assert machine.calls() == []
            os.kill(pip, signal.SIGKILL)
            assert finish(second).code == 0
    assert machine.calls() == [make_venv_call(machine), *install_calls(machine), program_call("once")]


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
        [make_venv_call(machine), *install_calls(machine), *[program_call("once")] * 5],
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
    assert (run.code, machine.calls()) == (0, [*install_calls(machine), program_call("once")])
    assert "waiting" not in run.err
