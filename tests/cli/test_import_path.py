"""Folders of other programs on the import path: they never stand in for the program's own modules."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.rigs.bot_api import BotApi
from tests.rigs.commands import NOWHERE, environment, run_to_end
from tests.rigs.dashboard import Dashboard, fresh

CONSOLE_SCRIPT = str(Path(sys.executable).with_name("capital-governor"))
STARTS = {
    "-m": [sys.executable, "-m", "capital_governor"],
    "-P -m": [sys.executable, "-P", "-m", "capital_governor"],
    "console script": [CONSOLE_SCRIPT],
}
STAND_INS = ("telegram", "platform", "logging", "token", "email")


@pytest.fixture
def neolight(tmp_path: Path) -> Path:
    """A folder of another program, whose modules are named as modules that the governor needs."""
    folder = tmp_path / "neo light"
    folder.mkdir()
    for name in STAND_INS:
        (folder / f"{name}.py").write_text("def send(text): pass\n")
    return folder


@pytest.mark.parametrize("way", STARTS)
def test_modules_of_pythonpath_replace_none_of_the_programs(tmp_path: Path, neolight: Path, way: str) -> None:
    """With such a folder in PYTHONPATH a cycle is published and Telegram is reached, however the program is started."""
    with Dashboard(fresh()) as dashboard, BotApi() as api:
        env = {"PYTHONPATH": f"{neolight}{os.pathsep}", "NEOLIGHT_DASHBOARD_URL": dashboard.url} | api.environment
        once = run_to_end([*STARTS[way], "once", "--json", "--root", tmp_path], environment(NOWHERE, env), cwd=tmp_path)
        check = run_to_end(
            [*STARTS[way], "check", "--notify", "--root", tmp_path], environment(NOWHERE, env), cwd=tmp_path
        )
        assert (once.code, check.code) == (0, 0), once.err + check.err
        assert json.loads(once.out)["moved"] is True
        assert len(api.wait_for(2)) == 2  # the move, and the test message


def test_modules_of_the_current_folder_replace_none_of_the_programs(tmp_path: Path, neolight: Path) -> None:
    """`python -m capital_governor` in a folder with a `platform.py` uses Python's own."""
    with Dashboard(fresh()) as dashboard:
        env = {"NEOLIGHT_DASHBOARD_URL": dashboard.url}
        once = run_to_end([*STARTS["-m"], "once", "--root", tmp_path], environment(NOWHERE, env), cwd=neolight)
    assert once.code == 0, once.err


def test_a_module_that_was_taken_already_is_one_sentence(tmp_path: Path) -> None:
    """Where Python's own module was replaced before the program began, it names the file and how to start it."""
    stranger = tmp_path / "neolight" / "colorsys.py"
    stranger.parent.mkdir()
    stranger.write_text("x = 1\n")
    script = tmp_path / "capital-governor"
    script.write_text("import colorsys\nfrom capital_governor.__main__ import main\nmain()\n")
    done = run_to_end(
        [sys.executable, script, "--version"], environment(NOWHERE, {"PYTHONPATH": str(stranger.parent)}), cwd=tmp_path
    )
    assert (done.code, done.out, done.err.count("\n")) == (78, "", 1), done.err
    assert f"{stranger} was imported in place of Python's own module colorsys" in done.err
    assert f"start it without {stranger.parent} in PYTHONPATH, or as {sys.executable} -I -m" in done.err


def test_a_folder_with_the_program_in_it_comes_last(tmp_path: Path) -> None:
    """What `pip install --target` put into a folder of PYTHONPATH stays importable, after all else; others go."""
    here, other = tmp_path / "here", tmp_path / "other"
    (here / "capital_governor-0.1.0.dist-info").mkdir(parents=True)
    other.mkdir()
    code = "import sys; from capital_governor.cli.import_path import isolate; isolate(); print(sys.path)"
    env = {"PYTHONPATH": f"{other}{os.pathsep}{here}"}
    done = run_to_end([sys.executable, "-P", "-c", code], environment(NOWHERE, env), cwd=tmp_path)
    path = eval(done.out)  # noqa: S307 - a list of texts
    assert path[-1] == str(here)
    assert str(other) not in path


def test_the_users_own_site_folder_is_left_out(tmp_path: Path) -> None:
    """What somebody has installed for himself with `pip install --user` does not reach the program."""
    code = (
        "import site, sys; site.ENABLE_USER_SITE, site.USER_SITE = True, sys.argv[1]; sys.path.insert(0, sys.argv[1])\n"
        "from capital_governor.cli.import_path import isolate; isolate(); print(sys.argv[1] in sys.path)"
    )
    done = run_to_end([sys.executable, "-P", "-c", code, tmp_path], environment(NOWHERE, {}), cwd=tmp_path)
    assert done.out == "False\n", done.err


def test_an_import_alone_changes_no_path(tmp_path: Path) -> None:
    """Who imports the entry point as a module keeps the path that he has."""
    code = "import sys; before = sys.path[:]; import capital_governor.__main__; print(sys.path == before)"
    done = run_to_end([sys.executable, "-c", code], environment(NOWHERE, {"PYTHONPATH": str(tmp_path)}), cwd=tmp_path)
    assert done.out == "True\n", done.err
