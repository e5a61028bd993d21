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
