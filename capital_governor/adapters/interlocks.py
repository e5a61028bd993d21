"""The two files that stop the governor: Guardian's pause file and the operator's STOP file.

A file that cannot be read counts as a pause or a stop.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from capital_governor.adapters.bounded_reading import read_bounded
from capital_governor.contracts.allocations import load_object
from capital_governor.contracts.instants import Instant, read_instant
from capital_governor.contracts.text import clean
from capital_governor.core.model import Pause, utc_text

STOP_FILE: Final = Path("runtime", "capital_governor.STOP")
"""Relative to the root."""
PAUSE_MAX_BYTES: Final = 1024 * 1024


def read_pause(path: Path) -> Pause | None:
    """Return what Guardian's pause file says, None if there is none.

    ``until`` is in seconds since 1970 UTC. Without a time zone in the file, the pause lasts until the later of UTC and
    this machine's local time, and ``note`` says so. The file may be UTF-8, UTF-16 or UTF-32, with or without a
    byte-order mark, as editors on Windows write it. A file that cannot be read or understood is a pause, and
    ``problem`` says why in one printable sentence. A bad file raises nothing, and a FIFO does not block.
    """
    try:
        content = read_bounded(path, PAUSE_MAX_BYTES)
    except OSError as error:
        return _unknown(path, error.strerror or "it cannot be read")
    if content is None:
        # A symlink to a missing file counts as a pause: its disk may not be mounted.
        return _unknown(path, "it is a symlink to a file that is missing") if path.is_symlink() else None
    try:
        return _understand(load_object(_utf8(content)))
    except ValueError as error:
        return _unknown(path, str(error))


def stop_present(path: Path) -> bool:
    """Return whether anything is at ``path``: a file, a folder, a broken symlink, or what this user may not see."""
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def _utf8(content: bytes) -> bytes:
    """Return text of any Unicode encoding as UTF-8 without a byte-order mark. Raises ValueError if it is not text."""
    encoding = json.detect_encoding(content)
    if encoding == "utf-8":
        return content
    try:
        return content.decode(encoding).encode()
    except UnicodeError:
        raise ValueError(f"it begins as {encoding.upper()} and is none: save it as UTF-8") from None


def _understand(document: dict[str, object]) -> Pause:
    """Return the pause that a document describes. Raises ValueError if it describes none."""
    paused, until, reason = document.get("paused"), document.get("until"), clean(document.get("reason"))
    if not isinstance(paused, bool):
        raise ValueError("`paused` is neither true nor false")  # noqa: TRY004 - the content is wrong, not a type of ours
    end = read_instant(until)
    end = end if end is not None and end.writable else None
    if paused and until is not None and end is None:
        raise ValueError(f"`until` is no time, such as 2025-11-03T22:30:00Z: {clean(str(until), 40)!r}")
    if end is None:
        return Pause(paused=paused, reason=reason)
    return Pause(paused=paused, until=end.latest, reason=reason, note=_note(end) if paused else "")


def _note(end: Instant) -> str:
    if not end.naive:
        return ""
    how = "the later of UTC and this machine's local time" if end.ambiguous else "UTC"
    return f"`until` has no time zone and counts as {how}, {utc_text(end.latest)}: write an offset or Z"


def _unknown(path: Path, what: str) -> Pause:
    return Pause(
        paused=True, problem=clean(f"{path} cannot be understood ({what}): paused until it is readable or gone", 500)
    )
