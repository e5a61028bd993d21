"""Breaks lines for a terminal."""

from __future__ import annotations

import re
import shutil
import textwrap
from typing import Final

NARROWEST: Final = 22
"""So many columns are assumed at least."""
_NO_BREAK: Final = "\N{NO-BREAK SPACE}"
_JOINED: Final = re.compile(r"(?<=[0-9]) (?=(?:s|min|h|days|UTC|%|->)(?![A-Za-z]))|(?<=[0-9] ->) (?=[0-9])")
"""A blank at which no line is broken."""


def terminal_columns() -> int:
    """Return the width of the terminal, or what COLUMNS says."""
    return shutil.get_terminal_size().columns


def wrapped(text: str, columns: int, indent: int) -> str:
    """Return a text in lines of ``columns``, the further ones indented.

    A number stays with its unit, a change on one line, and a name, path or option whole.
    """
    joined = _JOINED.sub(_NO_BREAK, text)
    lines = textwrap.fill(joined, max(columns, NARROWEST), subsequent_indent=" " * indent, break_on_hyphens=False)
    return lines.replace(_NO_BREAK, " ")
