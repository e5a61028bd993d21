"""Exit codes: what a supervisor reads, and the one line that a person gets with it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from capital_governor.adapters.lock import LockHeldError
from capital_governor.cli.failures import explained
from capital_governor.cli.output import fail
from capital_governor.contracts.exit_codes import CONFIGURATION, OK, TEMPORARY, UNEXPECTED, USAGE
from capital_governor.journal.protocol import JournalCorruptError, JournalRefusedError, JournalUnavailableError
from capital_governor.settings.faults import SettingsError
from tests.rigs.commands import start

TOKEN = "123456:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"  # noqa: S105 - a canary, not a secret


def test_the_codes_are_those_of_sysexits() -> None:
    """The codes are what supervisors know: 75 and 78 are EX_TEMPFAIL and EX_CONFIG, 2 is a shell's usage error."""
    assert (OK, UNEXPECTED, USAGE) == (0, 1, 2)
    assert (TEMPORARY, CONFIGURATION) == (os.EX_TEMPFAIL, os.EX_CONFIG)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (LockHeldError("another governor runs"), 75, "another governor runs"),
        (JournalUnavailableError("the journal is locked"), 75, "the journal is locked"),
        (JournalCorruptError("the journal is damaged"), 75, "the journal is damaged"),
        (JournalRefusedError("the journal is another program's"), 78, "the journal is another program's"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/r/runtime"),
            75,
            "/r/runtime: No space left on device; free some space",
        ),
        (
            OSError(errno.EDQUOT, "Quota exceeded", "/r/runtime"),
            75,
            "/r/runtime: Quota exceeded; free some space or raise the quota",
        ),
        (OSError(errno.EIO, "Input/output error"), 75, "the file system: Input/output error; check the disk"),
        (
            PermissionError(errno.EACCES, "Permission denied", "/r/runtime"),
            78,
            "/r/runtime: Permission denied; let the governor's user write to the folder /r",
        ),
        (
            FileExistsError(errno.EEXIST, "File exists", "/r/runtime"),
            78,
            "/r/runtime: File exists; move away what is in the place of its folder",
        ),
        (OSError("no number at all"), 78, "the file system: no number at all"),
    ],
)
def test_each_failure_of_a_start_has_its_code_and_one_line(
    error: Exception, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What may pass by itself exits 75, what only a person can mend 78; either says one line, on stderr."""
    with pytest.raises(SystemExit) as ended, explained():
        raise error
    assert ended.value.code == code
    assert capsys.readouterr() == ("", f"capital-governor: {line}\n")


def test_refused_settings_have_a_line_for_each_fault(capsys: pytest.CaptureFixture[str]) -> None:
    """All that is wrong with the settings is said at once, a line each, and exits 78."""
    with pytest.raises(SystemExit) as ended, explained():
        raise SettingsError(("A=1 is wrong", "B=2 is wrong"))
    assert ended.value.code == 78
    assert capsys.readouterr().err == "capital-governor: A=1 is wrong\ncapital-governor: B=2 is wrong\n"


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyError("a bug"), KeyboardInterrupt(), SystemExit(3)])
def test_what_nobody_foresaw_is_not_explained_away(error: BaseException) -> None:
    """A bug, Ctrl-C and an exit that was already decided pass through as they are."""
    with pytest.raises(type(error)) as ended, explained():
        raise error
    assert ended.value is error


def test_nothing_wrong_exits_nowhere(capsys: pytest.CaptureFixture[str]) -> None:
    """A start without a failure goes on, in silence."""
    with explained():
        reached = True
    assert reached
    assert capsys.readouterr() == ("", "")


def test_fail_says_its_lines_and_exits(capsys: pytest.CaptureFixture[str]) -> None:
    """`fail` puts the program's name before each line and exits with the code."""
    with pytest.raises(SystemExit) as ended:
        fail(75, "one", "two")
    assert ended.value.code == 75
    assert capsys.readouterr() == ("", "capital-governor: one\ncapital-governor: two\n")


@pytest.mark.parametrize("name", ["run", "once"])
def test_bad_settings_write_nothing(tmp_path: Path, name: str) -> None:
    """Bad settings exit 78 with one line a fault and no secret in any, and the root stays empty."""
    done = start(
        tmp_path,
        name,
        env={
            "CAPITAL_GOVERNOR_MIN_ALLOC": "0.5",
            "CAPITAL_GOVERNOR_INTERVAL": "nan",
            "CAPITAL_GOVERNOR_THRESHHOLD": "0.2",
            "TELEGRAM_BOT_TOKEN": TOKEN,
        },
    )
    assert (done.code, done.out) == (78, "")
    lines = done.err.splitlines()
    assert all(line.startswith("capital-governor: ") for line in lines)
    expected = (
        "CAPITAL_GOVERNOR_INTERVAL=nan",
        "CAPITAL_GOVERNOR_MIN_ALLOC=0.5 is above CAPITAL_GOVERNOR_MAX_ALLOC=0.4",
        "did you mean CAPITAL_GOVERNOR_THRESHOLD?",
        "TELEGRAM_CHAT_ID is not",
    )
    assert [sum(part in line for line in lines) for part in expected] == [1] * 4
    assert len(lines) == 4
    assert TOKEN.partition(":")[2] not in done.err
    assert list(tmp_path.iterdir()) == []


A_URL = "it takes an http:// or https:// URL without user and password, query and fragment"


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("CAPITAL_GOVERNOR_MIN_ALLOC=-0.1", "is out of range; it takes a number from 0 to 1"),
        (
            "CAPITAL_GOVERNOR_COOLDOWN=-1",
            "is out of range; it takes seconds, 0 or more, or a duration such as 90s, 5m or 2h",
        ),
        (
            "CAPITAL_GOVERNOR_INTERVAL=0",
            "is out of range; it takes seconds above 0, at most 31,536,000, or a duration such as 90s, 5m or 2h",
        ),
        ("CAPITAL_GOVERNOR_THRESHOLD=1.5", "is out of range; it takes a number from 0 to 1"),
        ("NEOLIGHT_DASHBOARD_URL=ftp://127.0.0.1:1", f"is not an http:// or https:// URL; {A_URL}"),
        ("NEOLIGHT_DASHBOARD_URL=http://operator:canary@127.0.0.1:1", f"has a user or password in it; {A_URL}"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_in_one_line(tmp_path: Path, given: str, problem: str) -> None:
    """A start with it exits 78, names the variable and what that takes, keeps a password, and writes nothing."""
    name, _, value = given.partition("=")
    done = start(tmp_path, "run", env={name: value})
    shown = "********" if "canary" in value else value
    line = f"capital-governor: {name}={shown} (environment) {problem}\n"
    assert (done.code, done.out, done.err) == (78, "", line)
    assert list(tmp_path.iterdir()) == []


def test_weights_that_do_not_add_up_are_refused_in_one_line(tmp_path: Path) -> None:
    """One weight raised alone: all four are named with what they add up to, and nothing is written."""
    done = start(tmp_path, "run", env={"CAPITAL_GOVERNOR_PNL_WEIGHT": "0.5"})
    assert (done.code, done.out) == (78, "")
    (line,) = done.err.splitlines()
    assert line.startswith("capital-governor: CAPITAL_GOVERNOR_PNL_WEIGHT=0.5 + CAPITAL_GOVERNOR_SHARPE_WEIGHT=0.3 + ")
    assert line.endswith(" add up to 1.1; they must add up to 1")
    assert list(tmp_path.iterdir()) == []


def test_a_root_that_is_a_file(tmp_path: Path) -> None:
    """A root that is a file exits 78 in one line, and the file is left as it was."""
    root = tmp_path / "root"
    root.write_text("in the way")
    done = start(root, "run")
    line = f"--root {root} is not a folder; it takes the folder with runtime/, state/, logs/ and .env"
    assert (done.code, done.out, done.err) == (78, "", f"capital-governor: {line}\n")
    assert root.read_text() == "in the way"
    assert list(tmp_path.iterdir()) == [root]


def test_a_root_that_is_none(tmp_path: Path) -> None:
    """A root that is missing exits 78 in one line, and is not made."""
    done = start(tmp_path / "missing", "run")
    assert done.code == 78
    assert done.err.count("\n") == 1
    assert str(tmp_path / "missing") in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_the_runtime_folder(tmp_path: Path) -> None:
    """A file where the runtime folder belongs is for a person to mend: 78, one line that names it."""
    (tmp_path / "runtime").write_text("in the way")
    done = start(tmp_path, "once")
    assert (done.code, done.out) == (78, "")
    assert (
        done.err
        == f"capital-governor: {tmp_path / 'runtime'}: File exists; move away what is in the place of its folder\n"
    )
    assert (tmp_path / "runtime").read_text() == "in the way"
