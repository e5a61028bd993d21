"""How a hint names a command: as this user has started the program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from capital_governor.cli.typed import SCRIPT, retyped, typed

HINT = "from capital_governor.cli.typed import typed; print(typed('status'))"


@pytest.mark.parametrize(
    ("started", "name"),
    [("capital-governor", "capital-governor"), (".venv/bin/capital-governor", ".venv/bin/capital-governor")],
)
def test_a_program_is_named_as_it_was_typed(monkeypatch: pytest.MonkeyPatch, started: str, name: str) -> None:
    """With --root and --dry-run of this command line, which the next one needs too."""
    monkeypatch.setattr(sys, "argv", [started, "hold"])
    assert typed("status") == f"`{name} status`"
    assert typed("resume", Path("my fleet"), dry_run=True) == f"`{name} resume --root 'my fleet' --dry-run`"
    assert retyped("it ends, or `capital-governor accept`", Path("/a")) == f"it ends, or `{name} accept --root /a`"
    assert retyped("no `accept` here") == "no `accept` here"


@pytest.mark.parametrize("isolated", [True, False])
def test_the_script_is_named_where_it_started_the_program(tmp_path: Path, isolated: bool) -> None:
    """The script starts Python with -I and the package by -m; from its folder it is typed as ./, elsewhere in full."""
    program = f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r}); sys.argv[0] = '/x/__main__.py'; {HINT}"
    for folder, shown in ((SCRIPT.parent, f"./{SCRIPT.name}"), (tmp_path, str(SCRIPT))):
        options = ["-I"] if isolated else ["-P"]
        done = subprocess.run(
            [sys.executable, *options, "-c", program], cwd=folder, capture_output=True, text=True, check=True
        )
        if isolated:
            assert done.stdout == f"`{shown} status`\n"
        else:
            assert done.stdout.endswith(" -m capital_governor status`\n")


def test_a_root_of_the_environment_is_named_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """NEOLIGHT_ROOT may be set for this one command only, and what cannot be seen is escaped."""
    monkeypatch.setattr(sys, "argv", ["capital-governor", "hold"])
    monkeypatch.setenv("NEOLIGHT_ROOT", "/a b")
    assert typed("status") == "`capital-governor status --root '/a b'`"
    assert typed("status", Path("/c")) == "`capital-governor status --root /c`"
    monkeypatch.setenv("NEOLIGHT_ROOT", "/a\x1b[2J")
    assert typed("status") == r"`capital-governor status --root '/a\x1b[2J'`"


def test_the_root_that_the_script_sets_is_not_named(tmp_path: Path) -> None:
    """It sets its own folder where the user has set none, and the next command does the same."""
    program = f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r}); sys.argv[0] = '/x/__main__.py'; {HINT}"
    for root, option in ((SCRIPT.parent, ""), (tmp_path, f" --root {tmp_path}")):
        done = subprocess.run(
            [sys.executable, "-I", "-c", program],
            env={"NEOLIGHT_ROOT": str(root)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == f"`{SCRIPT} status{option}`\n"
