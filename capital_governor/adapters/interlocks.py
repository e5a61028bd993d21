"""The two files by which others stop the governor: Guardian's pause file and the operator's STOP file.

Whatever cannot be read counts as "do not move": a pause for the one, a stop for the other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from capital_governor.adapters.files import read
from capital_governor.adapters.primary import instant, load_object
from capital_governor.adapters.wire import clean
from capital_governor.core.model import Pause

PAUSE_MAX_BYTES: Final = 1024 * 1024


def read_pause(path: Path) -> Pause | None:
    """Return what Guardian's pause file says, None if there is none.

    ``until`` is in seconds since 1970 UTC (a time without zone is taken as UTC). A file that cannot be read or
    understood is a pause whose ``problem`` says why in one printable sentence. Nothing is raised for a bad file, and
    a FIFO does not block.
    """
    try:
        content = read(path, PAUSE_MAX_BYTES)
    except OSError as error:
        return _unknown(path, error.strerror or "it cannot be read")
    if content is None:
        # A symlink to nothing is there, but whoever set it up meant a file (on a disk not mounted, say).
        return _unknown(path, "it is a symlink to a file that is missing") if path.is_symlink() else None
    try:
        return _understand(load_object(content))
    except ValueError as error:
        return _unknown(path, str(error))


def stop_present(path: Path) -> bool:
    """Return whether anything is at ``path``: a file, a folder, a symlink to nothing, or what may not be looked at."""
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def _understand(document: dict[str, object]) -> Pause:
    """Return the pause a document stands for. Raises ValueError if it does not say."""
    paused, until, reason = document.get("paused"), document.get("until"), clean(document.get("reason"))
    if not isinstance(paused, bool):
        raise ValueError("`paused` is neither true nor false")  # noqa: TRY004 - the content is at fault, not a type
    end = instant(until)
    if paused and until is not None and end is None:
        raise ValueError(f"`until` is no time: {clean(str(until), 40)!r}")
    return Pause(paused=paused, until=end, reason=reason)


def _unknown(path: Path, what: str) -> Pause:
    return Pause(
        paused=True, problem=clean(f"{path} cannot be understood ({what}): paused until it is readable or gone", 500)
    )
