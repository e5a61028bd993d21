"""neo_light_fix.sh in an environment that was made for other scripts, by old shells, and among few or foreign tools."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.rigs.patience import PATIENCE_SECONDS, wait_until
from tests.rigs.script_machine import REPOSITORY, Machine, program_call
from tests.rigs.supervised import Site

# --- the environment --------------------------------------------------------------------------------------------------


def exported(tmp_path: Path) -> dict[str, str]:
    """What an operator may export for other scripts; nothing of it is for this one."""
    start_file = tmp_path / "start file"
    start_file.write_text("shopt -s nocasematch; set -f; cd() { :; }; printf() { echo of the start file; }\n")
    return {
        "BASH_ENV": str(start_file),
        "BASH_FUNC_flock%%": "() {  echo stands in for flock; return 1; }",
        "BASH_FUNC_printf%%": "() {  echo stands in for printf; }",
        "BASH_FUNC_note%%": "() {  echo stands in for note; }",
        "CDPATH": f"{tmp_path}:/",
        "GLOBIGNORE": "*",
        "SHELLOPTS": "noglob:allexport",
        "BASHOPTS": "nocasematch:failglob",
        "POSIXLY_CORRECT": "1",
    }


def test_nothing_that_was_exported_for_bash_reaches_the_script(machine: Machine, tmp_path: Path) -> None:
    """Functions, options, search paths and a start file change neither what it does nor what it prints."""
    assert machine.run("once", environment=exported(tmp_path)).code == 0
    machine.calls()
    run = machine.run("once", "a b", environment=exported(tmp_path))
    assert (run.code, run.out, run.err) == (0, "out of python\n", "")
    assert machine.calls() == [program_call("once", "a b")]
    assert machine.run("help", environment=exported(tmp_path)).out == machine.run("help").out


@pytest.mark.parametrize("shell", ["sh", "dash", "bash --posix"])
def test_another_shell_hands_the_script_to_bash(machine: Machine, shell: str) -> None:
    """As `sh neo_light_fix.sh` it works, whatever shell `sh` is."""
    name, *options = shell.split()
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"there is no {name}")
    run = subprocess.run(
        [found, *options, machine.script, "help"],
        env={"PATH": str(machine.home / "tools")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == machine.run("help").out


def test_agents_have_the_operators_environment(site: Site, tmp_path: Path) -> None:
    """What was exported for Python, pip and bash is the agents'; governor and hive work in spite of it."""
    stand_in = tmp_path / "stand-in"
    stand_in.mkdir()
    (stand_in / "platform.py").write_text("x = 1\n")
    start_file = tmp_path / "start file"
    start_file.write_text("greeting='from the start file'\n")
    given = {
        "PYTHONPATH": str(stand_in),
        "PYTHONHOME": "/nonexistent",
        "PYTHONSTARTUP": "x",
        "PIP_USER": "1",
        "CDPATH": "/",
        "BASH_ENV": str(start_file),
        "BASH_FUNC_greet%%": "() {  echo greetings $greeting\n}",
        "BASH_FUNC_flock%%": "() {  return 1\n}",
    }
    site.settings |= given | {"CAPITAL_GOVERNOR_HIVE": "1"}
    site.govern(None)
    site.agents("ensure_running a 'greet >said; env -0 >environment; echo $- >options; exec sleep 900'")
    with site.started() as supervisor:
        wait_until((site.root / "options").exists)
        wait_until(lambda: "Config:" in site.log("capital_governor"))
        site.pid("hive")
        supervisor.terminate()
        supervisor.wait(PATIENCE_SECONDS)
    assert (site.root / "said").read_text() == "greetings from the start file\n"
    assert (site.root / "options").read_text() == "hBc\n"
    found = dict(word.split("=", 1) for word in (site.root / "environment").read_text().split("\0") if word)
    assert {name: found.get(name) for name in given} == given
    assert "Traceback" not in site.log("capital_governor") + site.log("hive")


def test_a_start_file_that_prints_does_not_disturb_the_agents_file(site: Site, tmp_path: Path) -> None:
    """The list of agents is read without what BASH_ENV says or exported functions do."""
    start_file = tmp_path / "start file"
    start_file.write_text("echo noise\n")
    site.settings |= {"BASH_ENV": str(start_file), "BASH_FUNC_printf%%": "() {  echo no; }"}
    site.agents("ensure_running a 'exec sleep 900'")
    shown = site.run("status")
    assert shown.code == 3
    assert re.search(r"^a +stopped$", shown.out, flags=re.MULTILINE), shown.err


PROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "capital-governor"
version = "0.1.0"
"""

BACKEND = """\
from pathlib import Path
from zipfile import ZipFile


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    name, info = "capital_governor-0.1.0-py3-none-any.whl", "capital_governor-0.1.0.dist-info"
    with ZipFile(Path(wheel_directory, name), "w") as wheel:
        wheel.writestr("here.pth", str(Path.cwd()))
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: capital-governor\\nVersion: 0.1.0\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return name
"""


def locked_wheel(folder: Path) -> str:
    """Make a package ``locked`` in a folder and return the line of a lock file that names it, with its hash."""
    wheel = folder / "locked-1.0-py3-none-any.whl"
    info = "locked-1.0.dist-info"
    folder.mkdir()
    with ZipFile(wheel, "w") as file:
        file.writestr("locked.py", "")
        file.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: locked\nVersion: 1.0\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")
    return f"locked==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


@pytest.mark.parametrize("genuine", [True, False])
def test_packages_go_into_the_environment_whatever_the_operator_has_told_pip(tmp_path: Path, genuine: bool) -> None:
    """The real pip, told by environment and file to install elsewhere, in part or for another Python, fills .venv.

    Only with what is locked: a package whose hash is another one is refused, and the program is not started.
    """
    project, elsewhere, stand_in = tmp_path / "pro ject", tmp_path / "elsewhere", tmp_path / "stand-in"
    (project / "capital_governor").mkdir(parents=True)
    stand_in.mkdir()
    shutil.copy(REPOSITORY / "neo_light_fix.sh", project)
    (project / "pyproject.toml").write_text(PROJECT)
    line = locked_wheel(tmp_path / "wheels")
    (project / ".ci").mkdir()
    shutil.copy(REPOSITORY / ".ci/environment.py", project / ".ci")
    (project / ".ci/requirements.txt").write_text(line if genuine else line[:-9] + "00000000\n")
    (tmp_path / "constraints").write_text("locked==2.0\n")
    (project / "backend.py").write_text(BACKEND)
    (project / "capital_governor/__init__.py").touch()
    (project / "capital_governor/__main__.py").write_text("import platform, sys\nprint(platform.system(), sys.path)\n")
    (stand_in / "platform.py").write_text("raise ImportError('of another program')\n")
    (tmp_path / "pip.conf").write_text(f"[install]\nuser = yes\nprefix = {elsewhere}\nroot = {elsewhere}\n")
    python = Path(sys.executable).resolve().parent
    environment = {
        "PATH": f"{python}{os.pathsep}/usr/bin{os.pathsep}/bin",
        "HOME": str(elsewhere),
        "PYTHONPATH": str(stand_in),
        "PYTHONUSERBASE": str(elsewhere),
        "PYTHONSTARTUP": str(elsewhere),
        "PYTHONHOME": "/nonexistent",
        "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"),
        "PIP_USER": "1",
        "PIP_TARGET": str(elsewhere),
        "PIP_PREFIX": str(elsewhere),
        "PIP_DRY_RUN": "1",
        "PIP_PYTHON": "/nonexistent/python",
        "PIP_REQUIRE_VIRTUALENV": "1",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path / "wheels"),
        "PIP_CONSTRAINT": str(tmp_path / "constraints"),
    }
    done = subprocess.run(
        [project / "neo_light_fix.sh", "once"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    if not genuine:
        assert (done.returncode, done.stdout) == (75, "")
        assert "THESE PACKAGES DO NOT MATCH THE HASHES" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    assert list((project / ".venv").rglob("locked-1.0.dist-info"))
    assert done.stdout.startswith("Linux [")
    assert str(stand_in) not in done.stdout
    assert list((project / ".venv").rglob("capital_governor-0.1.0.dist-info"))
    assert not list(elsewhere.rglob("capital_governor*"))


def test_what_says_where_packages_come_from_is_the_operators(machine: Machine) -> None:
    """Index, links, certificate and proxies reach pip as they are."""
    own = {
        "PIP_INDEX_URL": "i",
        "PIP_FIND_LINKS": "f",
        "PIP_CERT": "c",
        "PIP_CONFIG_FILE": "x",
        "https_proxy": "p",
    }
    elsewhere = {"PIP_TARGET": "t", "PIP_PREFIX": "t", "PIP_ROOT": "t", "PIP_USER": "1", "PIP_CONSTRAINT": "k"}
    assert machine.run("once", environment=own | elsewhere).code == 0
    pip = machine.environment_of("python", "pip")
    assert pip.items() >= own.items()
    assert {name: pip.get(name) for name in elsewhere} == {
        "PIP_TARGET": None,
        "PIP_PREFIX": None,
        "PIP_ROOT": None,
        "PIP_USER": "0",
        "PIP_CONSTRAINT": "/dev/null",
    }


def test_settings_of_python_do_not_reach_the_checks(machine: Machine) -> None:
    """ruff, mypy, pytest and what they start have none of what was exported for other Pythons."""
    given = {"PYTHONPATH": "p", "PYTHONHOME": "h", "PYTHONSTARTUP": "s", "PYTHONUSERBASE": "u", "PYTHONOPTIMIZE": "2"}
    assert machine.run("test", environment=given).code == 0
    for checker in ("mypy", "pytest"):
        assert not given.keys() & machine.environment_of(checker).keys()


# --- old shells -------------------------------------------------------------------------------------------------------

# What bash 3.2 does with what is newer, as far as a newer bash can be made to: it has no associative arrays, no
# 'mapfile', no times in 'printf' and no 'printf -v' of an element. macOS before 12.3 has no 'readlink -f'.
BASH_3_2 = """\
declare() {
    case " $* " in *' -A'* | *' -g'*) echo 'declare: -A: invalid option' >&2; return 2 ;; esac
    builtin declare "$@"
}
mapfile() { echo 'mapfile: command not found' >&2; return 127; }
readarray() { echo 'readarray: command not found' >&2; return 127; }
printf() {
    case "$*" in *'%('*) echo 'printf: `(: invalid format character' >&2; return 1 ;; esac
    case "$*" in '-v '*'['*) echo 'printf: not a valid identifier' >&2; return 2 ;; esac
    builtin printf "$@"
}
readlink() {
    [[ $1 != -f ]] || { echo 'readlink: illegal option -- f' >&2; return 1; }
    command readlink "$@"
}
"""


@pytest.fixture
def mac(machine: Machine) -> Machine:
    """A machine whose bash acts as version 3.2 does; the tools of Linux are on no machine of these tests."""
    first, rest = machine.script.read_text().split("\n", 1)
    machine.script.write_text(f"{first}\n{BASH_3_2}{rest}")
    return machine


def test_an_old_bash_runs_what_does_not_supervise(mac: Machine, tmp_path: Path) -> None:
    """help, once, run, hive and demo work from any folder and through a link, and nothing is said."""
    link = tmp_path / "gover nor"
    link.symlink_to(Path(os.path.relpath(mac.script, tmp_path)))
    help_text = (REPOSITORY / "neo_light_fix.sh").read_text().partition("<<'HELP'\n")[2].partition("HELP\n")[0]
    assert mac.run("help").out == help_text
    assert mac.run("once", "--json", script=link, cwd=tmp_path).code == 0
    mac.calls()
    for command in ("once", "run", "hive", "docs", "demo"):
        run = mac.run(command, "a b", "*", script=link, cwd=tmp_path)
        assert (run.code, run.out, run.err) == (0, "out of python\n", "")
        assert mac.calls() == [program_call(command, "a b", "*")]
        assert mac.run(command).code == 0
        assert mac.calls() == [program_call(command)]
    assert mac.run("test", "-k", "x y").code == 0
    assert mac.calls()[-1][-2:] == ["-k", "x y"]


def test_an_old_bash_supervises(site: Site) -> None:
    """What supervises is not bash, so the bash that starts it may be any."""
    script = site.project / "neo_light_fix.sh"
    first, rest = script.read_text().split("\n", 1)
    script.write_text(f"{first}\n{BASH_3_2}{rest}")
    site.agents("ensure_running a 'exec sleep 900'")
    assert site.run("start").code == 0
    pid = site.pid("a")
    assert f"running, pid {pid}" in wait_until(lambda: (shown := site.run("status").out) * (str(pid) in shown))
    assert site.run("stop").code == 0


@pytest.mark.parametrize("command", ["", "start", "stop", "restart", "status", "logs", "_demo"])
def test_another_system_than_linux_cannot_supervise(mac: Machine, command: str) -> None:
    """One line names the system that is needed and the one that is there; nothing is made."""
    run = mac.run(*command.split(), environment={"OSTYPE": "darwin22"})
    assert (run.code, run.out, run.err.count("\n")) == (78, "", 1), run.err
    assert "supervising needs Linux, and this is darwin22; run, once and hive work without" in run.err
    assert not mac.venv.exists()


def test_the_script_is_written_for_the_parser_of_bash_3_2() -> None:
    """Every line is read by the oldest bash, whether it is reached or not: none has what that cannot parse."""
    text = (REPOSITORY / "neo_light_fix.sh").read_text()
    code = "\n".join(line for line in text.partition("<<'HELP'")[0].splitlines() if not line.lstrip().startswith("#"))
    newer = {
        "&>> and |&": r"&>>|\|&",
        ";& and ;;&": r";;?&",
        "changes of case": r"\$\{\w+(\[[^]]*\])?[,^]{1,2}\}",
        "declared references": r"(local|declare) -n",
        "a pattern with blanks or parentheses after =~": r"=~ [^$]*[ (].*\]\]",
        "a case inside $( )": r"\$\(\s*case",
        "tables": r"declare -\w*A",
        "a descriptor whose number goes into a variable": r"\{\w+\}[<>]",
    }
    assert {name: found for name, pattern in newer.items() if (found := re.findall(pattern, code))} == {}


# --- other tools ------------------------------------------------------------------------------------------------------


def stand_in(site: Site, name: str, script: str) -> None:
    """Put a tool first on the site's PATH."""
    folder = site.home / "tools"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    site.settings |= {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def test_supervising_needs_no_tool_but_bash_and_python(site: Site) -> None:
    """Locks and sessions are Python's: flock and setsid may be busybox's, another's or missing."""
    for tool in ("flock", "setsid", "mv", "stat"):
        stand_in(site, tool, "exit 127")
    assert [site.run(command).code for command in ("start", "start", "restart", "stop")] == [0, 0, 0, 0]


REFUSES_LOCKS = """
import errno, fcntl, os
flock = fcntl.flock
def refusing(file, how):
    if os.readlink(f"/proc/self/fd/{{file}}").endswith("/{name}"):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
    flock(file, how)
fcntl.flock = refusing
"""


@pytest.mark.parametrize("refuses", ["neo_light_fix.lock", "neo_light_fix.agents.lock"])
def test_a_file_system_without_locks_is_named(site: Site, refuses: str) -> None:
    """Where a lock fails for another reason than somebody else's lock, the file is named, and nobody is blamed."""
    site.change_supervisor(REFUSES_LOCKS.format(name=refuses))
    with site.started() as script:
        assert script.wait(PATIENCE_SECONDS) == 78
    assert f"cannot lock {site.root}/runtime/{refuses} (No locks available)" in site.said()
    assert "a file system without locks cannot have it" in site.said()
    assert "another supervisor" not in site.said()


def test_a_project_on_a_file_system_without_locks_is_set_up(machine: Machine) -> None:
    """The first use is then not guarded against another at the same time, and works."""
    machine.let("no-locks", 1)
    assert machine.run("once").code == 0


def test_the_own_log_is_rotated(site: Site) -> None:
    """A full one is renamed before the next message, as an agent's is, and the last message stands in the new one."""
    site.agents("ensure_running brief 'exit 1'")
    (site.root / "logs").mkdir()
    (site.root / "logs/neo_light_fix.log").write_text("old\n" * 100)
    site.settings |= {"NEO_LIGHT_LOG_MAX_BYTES": "200", "NEO_LIGHT_LOG_KEEP": "2"}
    assert site.run("start").code == 0
    wait_until((site.root / "logs/neo_light_fix.log.2").exists)
    assert site.run("stop").code == 0
    names = sorted(path.name for path in (site.root / "logs").glob("neo_light_fix.log*"))
    assert names == ["neo_light_fix.log", "neo_light_fix.log.1", "neo_light_fix.log.2"]
    assert site.log("neo_light_fix").endswith(": stopped\n")


def test_an_own_log_that_is_a_pipe_is_written_and_never_read(site: Site) -> None:
    """`start` and the rotation do not wait for what is in a FIFO; its reader gets the supervisor's messages."""
    (site.root / "logs").mkdir()
    path = site.root / "logs/neo_light_fix.log"
    os.mkfifo(path)
    with path.open("r+b", buffering=0) as reader:
        assert site.run("start").code == 0
        assert b"capital_governor runs" in reader.read(1 << 16)
        assert site.run("stop").code == 0
    assert (site.run("start").code, site.run("stop").code) == (0, 0)  # also when nobody reads it
    assert path.is_fifo()


def test_a_state_that_cannot_be_written_is_one_sentence(site: Site) -> None:
    """The supervisor goes on, and nothing else is said beside its sentence."""
    (site.root / "runtime/neo_light_fix.state/in its place").mkdir(parents=True)
    with site.started() as supervisor:
        site.pid("capital_governor")
        wait_until(lambda: "runtime/neo_light_fix.state: 'status' and 'stop' may not know" in site.said())
        supervisor.terminate()
        supervisor.wait(PATIENCE_SECONDS)
    assert all(" neo_light_fix.sh: " in line for line in site.said().splitlines())


def test_a_lock_file_that_cannot_be_read_is_no_supervisor(site: Site) -> None:
    """Whoever may not read it could not have started what holds it."""
    site.bound = True
    (site.root / "runtime").mkdir()
    lock = site.root / "runtime/neo_light_fix.lock"
    lock.touch()
    lock.chmod(0)
    stopped = site.run("stop")
    assert (stopped.code, stopped.err) == (0, f"neo_light_fix.sh: no supervisor runs on {site.root}\n")


def test_a_clone_with_windows_line_ends_has_none(tmp_path: Path) -> None:
    """Where git is set to write the line ends of Windows, the script is checked out with those that bash can read."""
    git = shutil.which("git")
    if git is None:
        pytest.skip("there is no git")
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    identity = ["-c", "user.name=x", "-c", "user.email=x@localhost", "-c", "core.autocrlf=false"]
    subprocess.run([git, "init", "-q", origin], check=True)
    for name in (".gitattributes", "neo_light_fix.sh"):
        shutil.copy(REPOSITORY / name, origin)
    subprocess.run([git, *identity, "add", "."], cwd=origin, check=True)
    subprocess.run([git, *identity, "commit", "-qm", "x"], cwd=origin, check=True)
    windows = ["-c", "core.autocrlf=true", "-c", "core.eol=crlf"]
    subprocess.run([git, *windows, "clone", "-q", *windows, origin, clone], check=True)
    script = clone / "neo_light_fix.sh"
    assert b"\r" not in script.read_bytes()
    assert subprocess.run([script, "help"], capture_output=True, check=False).returncode == 0
