"""Names and free text that others wrote: what an agent may be called, and what is fit for a log line or a message."""

from __future__ import annotations

import hashlib
import re
from itertools import islice
from typing import Final
from unicodedata import category

from capital_governor.core.model import RESERVE

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.:-]{0,63}")
"""What an agent may be called; always used with ``fullmatch`` (see :func:`valid_name`)."""
RESERVED_NAMES: Final = frozenset({"allocations", RESERVE})
"""Names that would be mistaken for lines of our own files, in any case."""


def valid_name(name: str) -> bool:
    """Say whether an agent may be called so. Reserved names have the right form; they are refused separately."""
    return NAME.fullmatch(name) is not None


def escape_name(name: str) -> str:
    r"""Return a printable ASCII stand-in for any name, at most 73 characters long.

    A valid name stands for itself. No two names share a stand-in, and none of an invalid name is a valid one: ``\`` is
    itself escaped, the empty name has an escape of its own, and a name that is cut ends in a digest of the whole.
    """
    if not name:
        return "\\empty"
    escaped = name.encode("unicode_escape").decode("ascii")
    if len(escaped) <= 64:  # noqa: PLR2004 - the length that NAME allows
        return escaped
    return f"{escaped[:64]}~{hashlib.sha256(escaped.encode()).hexdigest()[:8]}"


def clean(text: object, limit: int = 200) -> str:
    """Return free text fit for a log line or a message: printable, one line, at most ``limit`` characters.

    Removed is what Unicode calls control, format (bidi, zero width), surrogate, private or unassigned, and separators
    of lines and paragraphs; every kind of space becomes a plain one. What is not a string gives "".
    """
    if not isinstance(text, str):
        return ""
    # The slice: a megabyte of control characters shall not cost a megabyte of work.
    kept = ((char, category(char) == "Zs") for char in text[: 20 * limit])
    return "".join(islice((" " if space else char for char, space in kept if space or char.isprintable()), limit))


# --- the bytes -------------------------------------------------------------------------------------------------------
