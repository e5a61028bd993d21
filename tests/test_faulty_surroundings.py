"""What still works where a setting is wrong, the root is another user's, or the journal's folder cannot be written."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from capital_governor.adapters.sqlite_file import denied
from capital_governor.settings import SettingsError, load_place
from tests.adapters.test_files import unprivileged
from tests.script_machine import BOUND_BY_PERMISSIONS
from tests.serving import Dashboard, fresh
from tests.test_cli import Said, call, environment, loaded, tree

pytestmark = pytest.mark.usefixtures(loaded.__name__)
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
    assert call(tmp_path, "once", url=dashboard.url).code == 0
    status = call(tmp_path, "status", "--json", env=TYPO)
    assert (status.code, json.loads(status.out)["reason"]) == (75, "operator_hold")  # none is running
    for words in (("unlimit", "SmartTrader"), ("resume",)):
        assert call(tmp_path, *words, env=TYPO).code == 0
    assert call(tmp_path, "limits").out == "The operator has ordered nothing\n"


def test_limits_are_not_compared_with_settings_that_are_not_known(tmp_path: Path) -> None:
    """Where the bounds are not known nothing is said of them."""
    wide = ("limit", "SmartTrader", "--max", "0.9")
    assert "above MAX_ALLOC 0.4" in call(tmp_path, *wide).err
    assert "MAX_ALLOC" not in call(tmp_path, *wide, env=TYPO).err


def test_an_order_needs_to_know_the_journal(tmp_path: Path) -> None:
    """An order that went elsewhere would be obeyed by nobody."""
    with pytest.raises(SettingsError, match="CAPITAL_GOVERNOR_JOURNAL"):
        load_place(tmp_path, TYPO | {"CAPITAL_GOVERNOR_JOURNAL": "a\0b"})


def test_a_root_that_is_none_is_refused(tmp_path: Path) -> None:
    """There is nothing to look at, and nobody to obey."""
    said = call(tmp_path / "missing", "hold")
    assert said.code == 78
    assert re.fullmatch(r"capital-governor: --root \S+/missing is not a folder.*\n", said.err)


# --- another user -----------------------------------------------------------------------------------------------------


def ask(root: Path, url: str, *words: str) -> Said:
    """Run a command for which permissions count, whoever runs the tests."""
    done = subprocess.run(
        [*BOUND_BY_PERMISSIONS, sys.executable, "-P", "-m", "capital_governor", *words, "--root", root],
        env=environment(url),
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def open_root() -> Iterator[Path]:
    """A root that every user may look at."""
    root = Path(tempfile.mkdtemp())
    root.chmod(0o755)
    try:
        yield root
    finally:
        shutil.rmtree(root)


def test_a_user_who_may_only_read_sees_how_it_stands(open_root: Path, dashboard: Dashboard) -> None:
    """A watchdog of another user asks `status` and `limits`, and nothing changes by that."""
    assert call(open_root, "once", url=dashboard.url).code == 0
    for file in open_root.rglob("*.*"):
        file.chmod(0o444)
    folders = [open_root, open_root / "state", open_root / "runtime"]
    for folder in folders:
        folder.chmod(0o555)
    before = tree(open_root)
    status, limits, once = (ask(open_root, dashboard.url, name) for name in ("status", "limits", "once"))
    assert (status.code, status.err) == (75, "")
    assert "ended" in status.out
    assert (limits.code, limits.out) == (0, "The operator has ordered nothing\n")
    assert once.code == 78
    assert "cannot be written to" in once.err
    assert tree(open_root) == before
    for folder in folders:
        folder.chmod(0o755)  # so that it can be cleared away


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
