"""The messages about settings that were read again. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from capital_governor.wording.amounts import count_text
from capital_governor.wording.message_form import BEGINS, Sender

CHANGED: Final = "🔧"
_MOST_LINES: Final = 20


def settings_changed_text(changes: Sequence[str], sender: Sender, now: float) -> str:
    """Return the message that new settings count.

    Args:
        changes: ``VARIABLE: old -> new``, without secrets.
        sender: whose message this is.
        now: when they were read, in seconds since 1970 UTC.
    """
    lines = (
        f"{count_text(len(changes), 'setting')} changed:",
        *_shown(changes),
        "They count from the next cycle on. Shares move only if that cycle decides so.",
        "No action needed if this was you. Otherwise correct .env, then:",
        sender.command("reload"),
    )
    return sender.message(CHANGED, now, lines)


def settings_refused_text(problems: Sequence[str], sender: Sender, now: float) -> str:
    """Return the message that new settings are wrong and the old ones stay; the arguments as above."""
    lines = (
        f".env is wrong ({count_text(len(problems), 'problem')}): no setting was changed.",
        *_shown(problems),
        "The governor goes on with the settings that it had. A restart would fail until .env is right.",
        "Act: correct .env, then:",
        sender.command("reload"),
    )
    return sender.message(BEGINS, now, lines)


def _shown(lines: Sequence[str]) -> list[str]:
    more = [f"... and {len(lines) - _MOST_LINES} more"] if len(lines) > _MOST_LINES else []
    return [*lines[:_MOST_LINES], *more]
