"""How the operator of a root types a command of this program, from any folder."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Final

_PROJECT: Final = Path(__file__).resolve().parents[2]
_SCRIPT: Final = _PROJECT / "neo_light_fix.sh"


def typed_program(root: Path) -> tuple[str, str]:
    """Return the program, and the option that goes behind the command; empty if the program knows the root itself.

    The script beside this package, else the program beside this Python, else its name alone.
    """
    root = root.absolute()
    if _SCRIPT.is_file():
        return shlex.quote(str(_SCRIPT)), "" if root == _PROJECT else f"--root {shlex.quote(str(root))}"
    installed = Path(sys.executable).with_name("capital-governor")
    program = shlex.quote(str(installed)) if installed.is_file() else "capital-governor"
    return program, f"--root {shlex.quote(str(root))}"
