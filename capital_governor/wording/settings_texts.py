"""The messages about settings that were read again. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

_MOST_LINES: Final = 20


def settings_changed_text(changes: Sequence[str], fleet: str, now: float) -> str:
    """Return the message that new settings count.

    Args:
        changes: ``VARIABLE: old -> new``, without secrets.
        fleet: whose settings.
        now: when they were read, in seconds since 1970 UTC.
    """
    return _text(
        f"🔧 Settings changed: {_counted(changes, 'setting')}",
        changes,
        "They count from the next cycle on. Shares move only if that cycle decides so.",
        "No action needed, if this was you.",
        f"{fleet} · {_minute(now)}",
    )


def settings_refused_text(problems: Sequence[str], fleet: str, now: float) -> str:
    """Return the message that new settings are wrong and the old ones stay; the arguments as above."""
    return _text(
        f"⚠️ Settings not changed: .env is wrong ({_counted(problems, 'problem')})",
        problems,
        "The governor goes on with the settings that it had.",
        "Act: put .env right, then `./neo_light_fix.sh reload`. A restart would fail until then.",
        f"{fleet} · {_minute(now)}",
    )


def _text(head: str, lines: Sequence[str], *tail: str) -> str:
    shown = list(lines[:_MOST_LINES])
    if len(lines) > _MOST_LINES:
        shown.append(f"... and {len(lines) - _MOST_LINES} more")
    return "\n".join([head, *shown, *tail])


def _counted(lines: Sequence[str], what: str) -> str:
    return f"{len(lines)} {what}{'' if len(lines) == 1 else 's'}"


def _minute(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"
