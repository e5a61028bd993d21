"""`deploy systemd`: a unit that systemd reads, and under whose restrictions a governor can govern."""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from capital_governor.contracts import exit_codes
from tests.faults.surroundings import with_own_mounts
from tests.rigs.commands import call, environment, loaded, run_to_end
from tests.rigs.dashboard import Dashboard
from tests.rigs.patience import PATIENCE_SECONDS, wait_until
from tests.rigs.script_machine import REPOSITORY
from tests.rigs.service_manager import listening

ODD = "ro ot 100%d $HOME"
CHAPTER = REPOSITORY / "capital_governor/docs/supervising.md"
RESTRICTED = """
set -e
root=$1 count=$2
shift 2
mount --bind "$root" "$root"
while [ "$count" -gt 0 ]; do
    mount --bind "$1" "$1"
    shift
    count=$((count - 1))
done
mount -o remount,bind,ro "$root"
umask 0022
exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
"""
"""Only the folders in ReadWritePaths can be written in the root, and the process has no capabilities."""
NO_NEW_CODE = """
import ctypes, os, sys
PR_SET_MDWE, REFUSE_EXEC_GAIN = 65, 1
if ctypes.CDLL(None).prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0) == 0:
    print("no new code", flush=True)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""MemoryDenyWriteExecute, where the kernel has it (6.3)."""


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> Iterator[None]:
    with loaded():
        yield


def printed(root: Path, **own: str) -> str:
    said = call(root, "deploy", "systemd", env=own)
    assert said.code == 0, said.err
    return said.out


def values(unit: str, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", unit, re.MULTILINE)


def words(text: str) -> list[str]:
    """The words of a setting as systemd reads them."""
    return [word.replace("%%", "%") for word in shlex.split(text)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / ODD
    (path / "runtime").mkdir(parents=True)
    (path / "state").mkdir()
    return path


def test_systemd_takes_it(root: Path, tmp_path: Path) -> None:
    """Its own tool finds nothing wrong, whatever is in the paths, and its exposure is the one that the manual has."""
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("there is no systemd-analyze here")
    for number, place in enumerate((root, tmp_path)):
        path = tmp_path / f"{number}" / "capital-governor.service"
        path.parent.mkdir()
        path.write_text(printed(place))
        verified = run_to_end([tool, "verify", path])
        assert (verified.code, verified.out, verified.err) == (0, "", "")
    # As for a root of a user of its own, which is not in /tmp.
    unit = re.sub("^User=.*$", "User=daemon", path.read_text(), flags=re.MULTILINE)
    path.write_text(unit.replace("PrivateTmp=no", "PrivateTmp=yes"))
    analyzed = run_to_end([tool, "security", "--offline=true", path])
    (exposure,) = re.findall(r"Overall exposure level for \S+: ([0-9.]+) ", analyzed.out)
    assert float(exposure) < 2  # what the tool calls OK
    ((version, told),) = re.findall(r"of systemd (\d+) gives it the exposure level ([0-9.]+) ", CHAPTER.read_text())
    if run_to_end([tool, "--version"]).out.startswith(f"systemd {version} "):  # each version weighs a little otherwise
        assert exposure == told


def test_what_is_in_it(root: Path) -> None:
    """Program, root, user and folders are those in use; the watchdog allows three intervals and a fetch."""
    (root / ".env").write_text("CAPITAL_GOVERNOR_INTERVAL=2m\nCAPITAL_GOVERNOR_FETCH_DEADLINE=7\n")
    unit = printed(root)
    (start,) = values(unit, "ExecStart")
    command = [word.replace("$$", "$") for word in words(start)]
    assert command == [sys.executable, "-I", "-m", "capital_governor", "run", "--root", str(root)]
    assert values(unit, "Type") == ["notify"]
    assert values(unit, "WatchdogSec") == ["367"]
    assert values(unit, "User") == [pwd.getpwuid(root.stat().st_uid).pw_name]
    assert words(values(unit, "ReadWritePaths")[0]) == [f"{root}/runtime", f"{root}/state"]
    assert values(unit, "ExecReload") == ["/bin/kill -HUP $MAINPID"]
    codes = {exit_codes.USAGE, exit_codes.CONFIGURATION}
    assert set(map(int, values(unit, "RestartPreventExitStatus")[0].split())) == codes
    (root / ".env").write_text("CAPITAL_GOVERNOR_INTERVAL=1\n")
    assert values(printed(root), "WatchdogSec") == ["60"]


def test_files_elsewhere_can_be_written(root: Path, tmp_path: Path) -> None:
    """The folder of a journal outside the root, and that to which a file is a link."""
    for name in ("journals", "shared"):
        (tmp_path / name).mkdir()
    (root / "runtime/allocations_override.json").symlink_to(tmp_path / "shared/override.json")
    (root / ".env").write_text(f"CAPITAL_GOVERNOR_JOURNAL={tmp_path}/journals/j.sqlite3\n")
    (line,) = values(printed(root), "ReadWritePaths")
    assert words(line) == [f"{root}/runtime", f"{tmp_path}/shared", f"{tmp_path}/journals"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to give a folder away")
def test_the_user_is_the_owner_of_the_root(root: Path) -> None:
    """A root that belongs to root gets a warning; a user without a name is a number."""
    assert "and so the service would run as root: give it to a user of its own" in call(root, "deploy", "systemd").err
    os.chown(root, 65_534, -1)
    assert values(printed(root), "User") == [pwd.getpwuid(65_534).pw_name]
    os.chown(root, 54_321, -1)
    said = call(root, "deploy", "systemd")
    assert values(said.out, "User") == ["54321"]
    assert "run as root" not in said.err


def test_what_only_this_shell_has_is_told(root: Path) -> None:
    """A service has no environment but .env; the value is not shown."""
    said = call(root, "deploy", "systemd", env={"CAPITAL_GOVERNOR_DASHBOARD_TOKEN": "secret-of-ours"})
    assert f"CAPITAL_GOVERNOR_DASHBOARD_TOKEN is set in this shell only: put it into {root}/.env" in said.err
    assert "secret-of-ours" not in said.out + said.err


def test_wrong_usage_and_wrong_settings(root: Path, tmp_path: Path) -> None:
    """Another template is 2; wrong settings, and a path that would end a line of the unit, are 78."""
    said = call(root, "deploy", "windows")
    assert (said.code, said.out) == (2, "")
    assert said.err == "capital-governor: deploy: there is no template 'windows': give systemd\n"
    assert call(root, "deploy", "systemd", env={"CAPITAL_GOVERNOR_INTERVAL": "x"}).code == 78
    evil = tmp_path / "x\nExecStartPre=+evil"
    evil.mkdir()
    said = call(evil, "deploy", "systemd")
    assert (said.code, said.out) == (78, "")
    assert "cannot be in a unit" in said.err


def test_a_governor_governs_under_its_restrictions(root: Path, tmp_path: Path) -> None:
    """The root is read-only but for ReadWritePaths, and it has no capabilities and no new code: it publishes."""
    unit = printed(root)
    command = [word.replace("$$", "$") for word in words(values(unit, "ExecStart")[0])]
    writable = words(values(unit, "ReadWritePaths")[0])
    confined = [*with_own_mounts(), "/bin/sh", "-c", RESTRICTED, "sh", str(root), str(len(writable)), *writable]
    place = tmp_path / "notify"
    with Dashboard() as dashboard, listening(place) as said, (tmp_path / "log").open("wb") as log:
        env = environment(dashboard.url, {"NOTIFY_SOCKET": str(place), "PATH": os.environ["PATH"]})
        process = subprocess.Popen(
            [*confined, sys.executable, "-I", "-c", NO_NEW_CODE, *command], env=env, stdout=log, stderr=log
        )
        try:
            wait_until(lambda: any(each.startswith("WATCHDOG=1") for each in said()))
            assert said()[0] == "READY=1"
            wait_until((root / "runtime/capital_governor_allocations.json").exists)
            assert (root / "state/capital_governor.sqlite3").exists()
        finally:
            process.terminate()
            code = process.wait(PATIENCE_SECONDS)
    assert code == 0, (tmp_path / "log").read_text()
