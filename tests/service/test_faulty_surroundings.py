"""What still works where a setting is wrong, the root is another user's, or the journal's folder cannot be written."""

from __future__ import annotations

import errno
import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from capital_governor.adapters.paths import Paths
from capital_governor.adapters.permissions import denied
from capital_governor.settings.faults import SettingsError
from capital_governor.settings.sources import find_place
from tests.faults.surroundings import with_own_mounts
from tests.rigs.commands import CommandResult, call, command, environment, run_to_end, tree
from tests.rigs.dashboard import Dashboard, fresh
from tests.rigs.odd_files import STRANGER, open_folder, unprivileged
from tests.rigs.script_machine import BOUND_BY_PERMISSIONS

pytestmark = pytest.mark.usefixtures("loaded")
TYPO: Final = {"CAPITAL_GOVERNOR_INTERVALL": "3"}
NO_JOURNAL: Final = {"CAPITAL_GOVERNOR_JOURNAL": "/proc/nowhere/journal.sqlite3"}


@pytest.fixture(scope="module")
def dashboard() -> Iterator[Dashboard]:
    with Dashboard(fresh(risk=0.8)) as server:
        yield server


def files(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "runtime" / "capital_governor_allocations.json").read_bytes())
    return found


# --- a wrong setting --------------------------------------------------------------------------------------------------


def test_the_operators_hand_works_whatever_else_is_set(tmp_path: Path, dashboard: Dashboard) -> None:
    """One bad line in the shared .env refuses a start, and neither an order nor a look; it is warned of."""
    (tmp_path / ".env").write_text("CAPITAL_GOVERNOR_MIN_ALLOC=0.9\nCAPITAL_GOVERNOR_JOURNAL=own.sqlite3\n")
    assert call(tmp_path, "once", url=dashboard.url).code == 78
    (tmp_path / ".env").write_text("CAPITAL_GOVERNOR_JOURNAL=own.sqlite3\n")
    assert call(tmp_path, "once", url=dashboard.url).code == 0
    for words in (("hold",), ("limit", "SmartTrader", "--max", "0.1"), ("limits",), ("explain", "SmartTrader")):
        said = call(tmp_path, *words, env=TYPO)
        assert said.code == 0, said.err
        assert "warning: CAPITAL_GOVERNOR_INTERVALL (environment) is not a setting" in said.err
        assert "a governor that is started now refuses that" in said.err
    for reason in ("cut_limit", "operator_hold"):  # the cap is published in the hold, once
        assert call(tmp_path, "once", url=dashboard.url).code == 0
        assert files(tmp_path)["allocations"]["SmartTrader"] == 0.08, "the cap of 0.1 times the exposure of 0.8"
        status = call(tmp_path, "status", "--json", env=TYPO)
        document = json.loads(status.out)
        assert (status.code, document["state"], document["reason"]) == (75, "ended", reason)  # none is running
    for words in (("unlimit", "SmartTrader"), ("resume",)):
        assert call(tmp_path, *words, env=TYPO).code == 0
    assert call(tmp_path, "limits").answer == ["No operator orders"]


def test_limits_are_not_compared_with_settings_that_are_not_known(tmp_path: Path) -> None:
    """Where the bounds are not known nothing is said of them."""
    (tmp_path / "runtime").mkdir()
    (tmp_path / "runtime" / "capital_governor_status.json").write_text("{}")
    wide = ("limit", "SmartTrader", "--max", "0.9")
    assert "above MAX_ALLOC 0.4" in call(tmp_path, *wide).err
    assert "MAX_ALLOC" not in call(tmp_path, *wide, env=TYPO).err


def test_an_order_needs_to_know_the_journal(tmp_path: Path) -> None:
    """An order that went elsewhere would be obeyed by nobody."""
    with pytest.raises(SettingsError, match="CAPITAL_GOVERNOR_JOURNAL"):
        find_place(tmp_path, TYPO | {"CAPITAL_GOVERNOR_JOURNAL": "a\0b"})


def test_a_root_that_is_none_is_refused() -> None:
    """There is nothing to look at, and nobody to obey."""
    said = call(Path("/proc/missing"), "hold")
    assert said.code == 78
    assert re.fullmatch(r"capital-governor: --root /proc/missing is not a folder.*\n", said.err)


# --- another user -----------------------------------------------------------------------------------------------------


def ask(root: Path, url: str, *words: str) -> CommandResult:
    """Run a command for which permissions count, whoever runs the tests."""
    return run_to_end([*BOUND_BY_PERMISSIONS, *command(*words, "--root", root)], environment(url), cwd="/")


@pytest.fixture
def open_root() -> Iterator[Path]:
    """A root that every user may look at."""
    with open_folder(0o755) as made:
        yield made


def test_a_user_who_may_only_read_sees_how_it_stands(open_root: Path, dashboard: Dashboard) -> None:
    """A watchdog of another user asks `status` and `limits`, and nothing changes by that."""
    assert call(open_root, "once", url=dashboard.url).code == 0
    for file in open_root.rglob("*.*"):
        file.chmod(0o444)
    folders = [open_root, open_root / "state", open_root / "runtime"]
    for folder in folders:
        folder.chmod(0o555)
    try:
        look_as_a_reader(open_root, dashboard)
    finally:
        for folder in folders:
            folder.chmod(0o755)  # so that it can be cleared away


def look_as_a_reader(open_root: Path, dashboard: Dashboard) -> None:
    """What only looks works, `once` says what it may not do, and nothing changes."""
    before = tree(open_root)
    status, limits, once = (ask(open_root, dashboard.url, name) for name in ("status", "limits", "once"))
    assert (status.code, status.err) == (75, "")
    assert "Stopped normally" in status.out
    assert (limits.code, limits.answer) == (0, ["No operator orders"])
    for words in (("once", "--dry-run"), ("show-config",), ("explain", "SmartTrader")):
        assert ask(open_root, dashboard.url, *words).code == 0, words
    check = ask(open_root, dashboard.url, "check", "--json")
    document = json.loads(check.out)
    assert (check.code, document["status"], document["agents"], document["ok"]) == (75, "up", 4, False)
    lock = open_root / "runtime" / "capital_governor.lock"
    assert document["runtime"].startswith(f"{lock} cannot be written to by this user")
    runtime = open_root / "runtime"
    line = f"{runtime} cannot be written to (Permission denied): let the governor's user write there"
    assert (once.code, once.err) == (78, f"capital-governor: {line}\n")
    assert tree(open_root) == before


# --- a read-only root -------------------------------------------------------------------------------------------------

READ_ONLY: Final = """
set -e
root=$1 folders=$2
shift 2
mount --bind "$root" "$root"
for folder in $folders; do mount --bind "$root/$folder" "$root/$folder"; done
mount -o remount,ro,bind "$root"
exec "$@"
"""


def ask_read_only(root: Path, writable: str, url: str, *words: str) -> CommandResult:
    """Run a command where the root is mounted read-only, but for these folders below it."""
    name, *rest = words
    alone = [*with_own_mounts(), "bash", "-c", READ_ONLY, "bash", str(root), writable]
    return run_to_end([*alone, *command(name, "--root", root, *rest)], environment(url, {"PATH": os.environ["PATH"]}))


def test_a_read_only_root_with_writable_folders_is_governed(tmp_path: Path, dashboard: Dashboard) -> None:
    """A container's root may be read-only where runtime/ and state/ are not: nothing is written elsewhere."""
    for name in ("runtime", "state"):
        (tmp_path / name).mkdir()

    def said(*words: str) -> CommandResult:
        return ask_read_only(tmp_path, "runtime state", dashboard.url, *words)

    for words in (("check",), ("once", "--dry-run"), ("show-config",)):
        assert said(*words).code == 0, words
    assert not [*(tmp_path / "runtime").iterdir(), *(tmp_path / "state").iterdir()]
    once = said("once")
    assert once.code == 0, once.err
    assert files(tmp_path)["generation"] == 1
    for words in (("explain", "SmartTrader"), ("hold",), ("limits",), ("resume",)):
        assert said(*words).code == 0, words
    assert (said("status").code, "Stopped normally" in said("status").out) == (75, True)  # none is running


def test_a_root_that_is_read_only_all_through_can_be_looked_at(tmp_path: Path, dashboard: Dashboard) -> None:
    """What only looks works; a start and an order name the folder, or the journal, and what to do; nothing changes."""
    assert call(tmp_path, "once", url=dashboard.url).code == 0
    before = tree(tmp_path)

    def said(*words: str) -> CommandResult:
        return ask_read_only(tmp_path, "", dashboard.url, *words)

    for words in (("once", "--dry-run"), ("show-config",), ("explain", "SmartTrader"), ("limits",)):
        assert said(*words).code == 0, words
    assert "Stopped normally" in said("status").out
    check = json.loads(said("check", "--json").out)
    lock = tmp_path / "runtime" / "capital_governor.lock"
    assert check["runtime"] == f"{lock} is on a read-only file system: remount the file system writable"
    assert (check["status"], check["agents"], check["ok"]) == ("up", 4, False)
    for name in ("run", "once"):
        started = said(name)
        line = f"{tmp_path}/runtime cannot be written to (Read-only file system): remount the file system writable"
        assert (started.code, started.err) == (78, f"capital-governor: {line}\n")
    hold = said("hold")
    assert hold.code == 75
    assert re.search(r"state/capital_governor.sqlite3.* is on a read-only file system: remount", hold.err)
    assert tree(tmp_path) == before


def test_a_read_only_root_without_the_folder_says_what_to_make(tmp_path: Path, dashboard: Dashboard) -> None:
    """Where runtime/ has to be made first, the line names the root and that folder."""
    (tmp_path / "state").mkdir()
    for words in (("once",), ("run", "--dry-run")):
        started = ask_read_only(tmp_path, "state", dashboard.url, *words)
        assert started.code == 78
        assert f"{tmp_path} cannot be written to (Read-only file system): remount" in started.err
        assert f", or make {tmp_path}/runtime" in started.err


def test_a_journal_on_a_read_only_file_system_costs_the_memory_alone(tmp_path: Path, dashboard: Dashboard) -> None:
    """With runtime/ writable and state/ not, memory takes over: it publishes, and says how to have a journal."""
    for name in ("runtime", "state"):
        (tmp_path / name).mkdir()
    said = ask_read_only(tmp_path, "runtime", dashboard.url, "once", "--json")
    assert (said.code, files(tmp_path)["generation"]) == (75, 1)
    assert json.loads(said.out)["journal_problem"] == (
        f"the journal {tmp_path}/state/capital_governor.sqlite3: Read-only file system;"
        " remount the file system writable, or name a file on a local disk as the journal (CAPITAL_GOVERNOR_JOURNAL)"
    )


def test_a_full_disk_is_no_lack_of_a_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full at the start may have room in the next cycle: the start goes on."""

    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    assert Paths(tmp_path).unwritable() == ""


def test_a_lock_of_another_user_is_named(open_root: Path, dashboard: Dashboard) -> None:
    """Where the folder can be written to and the lock of an earlier user's governor cannot, the line says so."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to make a file of another user")
    lock = open_root / "runtime" / "capital_governor.lock"
    lock.parent.mkdir(mode=0o755)
    lock.touch(mode=0o600)
    os.chown(lock, STRANGER, STRANGER)
    once = ask(open_root, dashboard.url, "once")
    assert once.code == 78
    remedy = "let the governor's user write to it, or remove it while no governor runs here"
    assert once.err == f"capital-governor: {lock}: the lock cannot be taken (Permission denied): {remedy}\n"


# --- a journal that cannot be written ---------------------------------------------------------------------------------


def test_once_that_nothing_will_remember_exits_75(tmp_path: Path, dashboard: Dashboard) -> None:
    """It publishes, and says that its journal was kept in memory only: the next knows nothing of this cycle."""
    said = call(tmp_path, "once", url=dashboard.url, env=NO_JOURNAL)
    assert said.code == 75
    assert files(tmp_path)["generation"] == 1
    assert "kept in memory only, and gone now" in said.out
    again = json.loads(call(tmp_path, "once", "--json", url=dashboard.url, env=NO_JOURNAL).out)
    assert "/proc/nowhere" in again["journal_problem"]
    good = call(tmp_path, "once", "--json", url=dashboard.url)
    assert (good.code, json.loads(good.out)["journal_problem"]) == (0, None)


def test_a_journal_that_this_user_may_not_write_is_found_before_it_is_needed(open_root: Path) -> None:
    """Asked of the file, of its folder and of the first folder above that there is."""
    folder = open_root / "state"
    folder.mkdir(mode=0o555)
    journal = folder / "journal.sqlite3"
    with unprivileged():
        assert denied(journal).startswith(f"{folder} cannot be written to by this user")
        assert denied(folder / "more" / "journal.sqlite3").startswith(f"{folder} cannot be written")
    folder.chmod(0o777)
    journal.touch(mode=0o444)
    with unprivileged():
        assert denied(journal).startswith(f"{journal} cannot be written")
        assert denied(folder / "another.sqlite3") == ""
    journal.chmod(0o666)
    with unprivileged():
        assert denied(journal) == ""


def test_check_is_not_ready_where_the_journal_cannot_be_written(open_root: Path, dashboard: Dashboard) -> None:
    """What would take the memory off the next cycle is said before that cycle."""
    open_root.chmod(0o777)
    state = open_root / "state"
    state.mkdir(mode=0o555)
    said = ask(open_root, dashboard.url, "check", "--json")
    document = json.loads(said.out)
    assert (said.code, document["ok"]) == (75, False)
    assert document["journal"].startswith(f"{state} cannot be written to by this user")
    state.rmdir()
    well = ask(open_root, dashboard.url, "check", "--json")
    assert (well.code, json.loads(well.out)["journal"]) == (0, "none yet")
