"""Tells the operator that the governor is back, if its supervisor has marked that it ended."""

from __future__ import annotations

import json
from pathlib import Path

from capital_governor.adapters.bounded_reading import read_bounded
from capital_governor.journal.notices import Notice, new_notice
from capital_governor.wording.supervision_texts import returned_text


def end_marker(folder: Path) -> Path:
    """Return the file that the supervisor makes when the governor ends, until the next one has told that it is back."""
    return folder / "capital_governor_end.json"


def return_notice(folder: Path, fleet: str, now: float) -> Notice | None:
    """Return the message that the governor is back, if an end was told; its key is that end's. Raises OSError."""
    content = read_bounded(end_marker(folder))
    if content is None:
        return None
    try:
        document = json.loads(content)
        at, exit_code = float(document["at"]), int(document["exit_code"])
        text = returned_text(at, exit_code, now, fleet)
    except (ValueError, KeyError, TypeError, OverflowError):  # cut short by a full disk
        end_marker(folder).unlink(missing_ok=True)
        return None
    return new_notice(text, now, key=f"governor-back-{at:.3f}")
