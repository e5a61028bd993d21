"""Finds the commands of ``.agents.sh`` that do not exist: those for which bash would end with exit code 127.

Only a line whose first word is written out is checked, so that nothing is refused that bash could run: words with an
expansion, and lines that go on after a command that is missing (``;``, ``|``, ``||``), are left to bash.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

_VALUE: Final = r"""(?:[^\s;&|<>()'"\\`$]|\$(?!['"(])|'[^']*'|"(?:[^"`\\$]|\$(?!\())*")*"""
_ASSIGNMENT: Final = rf"[A-Za-z_][A-Za-z0-9_]*={_VALUE}\s+"
_WORD: Final = r"""(?!-)(?:[A-Za-z0-9_./+:@%,-]|'[^'\\\n]+'|"[^"$`\\!\n]+")+"""
_REST: Final = r"""(?:[^;&|\n()'"\\`#]|'[^']*'|"[^"`\\]*"|\\[^\n]|&&(?!\s*\Z)|>&|&>)*"""
_LINE: Final = re.compile(
    rf"[ \t]*(?P<assignments>(?:{_ASSIGNMENT})*+)(?:exec[ \t]+)?(?P<word>{_WORD})(?P<rest>(?:[ \t]{_REST})?)[ \t\n]*"
)
_FINDS: Final = 'type -t -- "$1" || type -t -- command_not_found_handle'
"""Asks bash itself: about its keywords and builtins, functions of the environment, and PATH."""


def missing_command(line: str, *, bash: str, folder: Path) -> str:
    """Return the first word of a line of bash if it is a command that does not exist; empty if bash could run it.

    Args:
        line: to be run by ``bash -c`` in this process's environment.
        bash: the bash that would run it.
        folder: in which it would run.
    """
    found = _LINE.fullmatch(line)
    if found is None or re.search(r"(?:^|\s)PATH=", found["assignments"]):
        return ""
    word = re.sub("['\"]", "", found["word"])
    if "/" in word:
        return "" if _exists(folder / word) else word
    asked = subprocess.run(  # noqa: S603 - the bash that runs the agents
        [bash, "-c", _FINDS, bash, word],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return word if asked.returncode and shutil.which(word, mode=os.F_OK) is None else ""


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError:
        return True  # bash would end with another code, and says why
    return True
