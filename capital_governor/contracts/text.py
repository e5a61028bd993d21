"""Names and texts from other programs: which names agents may have, and how to make text safe for a log line."""

from __future__ import annotations

import hashlib
import re
from itertools import islice
from typing import Final
from unicodedata import category

from capital_governor.core.model import RESERVE

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.:-]{0,63}")
"""The form of an agent's name; use with ``fullmatch`` (see :func:`valid_name`)."""
RESERVED_NAMES: Final = frozenset({"allocations", RESERVE})
"""Names that no agent may have, in upper or lower case: they are keys of the allocation files."""


def valid_name(name: str) -> bool:
    """Return whether an agent's name has the right form. Reserved names have; they are refused separately."""
    return NAME.fullmatch(name) is not None


def escape_name(name: str) -> str:
    r"""Return a printable ASCII form of any name, at most 73 characters long.

    A valid name stays as it is. The form is unique, and that of an invalid name is never a valid name: ``\`` is escaped
    too, the empty name has its own escape, and a name that is cut ends with a digest of the whole.
    """
    if not name:
        return "\\empty"
    escaped = name.encode("unicode_escape").decode("ascii")
    if len(escaped) <= 64:  # noqa: PLR2004 - the length that NAME allows
        return escaped
    return f"{escaped[:64]}~{hashlib.sha256(escaped.encode()).hexdigest()[:8]}"


def clean(text: object, limit: int = 200) -> str:
    """Return text that is safe for a log line or a message: printable, one line, at most ``limit`` characters.

    Control, format (bidi, zero width), surrogate, private and unassigned characters and separators of lines and
    paragraphs are removed; every kind of space becomes a plain one. Anything but a string gives "".
    """
    if not isinstance(text, str):
        return ""
    # The slice limits the work for a huge text of control characters.
    kept = ((char, category(char) == "Zs") for char in text[: 20 * limit])
    return "".join(islice((" " if space else char for char, space in kept if space or char.isprintable()), limit))


# --- the bytes -------------------------------------------------------------------------------------------------------
