"""The messages about a governor that has ended, and that governs again. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from capital_governor.supervisor.endings import cause_of

GAVE_UP: Final = 78
_MINUTE: Final = 60.0
_HOUR: Final = 3_600.0


@dataclass(frozen=True, slots=True)
class GovernorEnd:
    """How a governor ended under its supervisor.

    Args:
        at: when, in seconds since 1970 UTC.
        exit_code: with which it ended, or 128 and the number of the signal that ended it.
        restart_seconds: after which it is started again; None: it is not.
        said: the last line of its log; empty if unknown.
        valid_until: until when agents count it as alive, in seconds since 1970 UTC; None if unknown.
    """

    at: float
    exit_code: int
    restart_seconds: float | None
    said: str = ""
    valid_until: float | None = None


def ended_text(end: GovernorEnd, fleet: str, command: str) -> str:
    """Return the message that the governor has ended.

    Args:
        end: how.
        fleet: whose governor.
        command: the start of a command line of ``neo_light_fix.sh``, as it must be typed.
    """
    cause = cause_of(end.exit_code)
    if end.restart_seconds is None:
        lines = [f"🛑 The governor gave up ({cause}). It is not started again."]
    else:
        lines = [
            f"⚠️ The governor ended ({cause}).",
            f"It is started again in {end.restart_seconds:g} s. You get a message when it governs again.",
        ]
    if end.said:
        lines.append(f"Its last line: {end.said}")
    lines.append(_shares_line(end))
    if end.restart_seconds is None:
        lines += ["Act: see what is wrong, put it right, restart:", f"{command} check", f"{command} restart"]
    else:
        lines += ["No action needed, unless that message does not come. Then:", f"{command} logs capital_governor"]
    return "\n".join([*lines, _signature(fleet, end.at)])


def returned_text(ended_at: float, exit_code: int, now: float, fleet: str) -> str:
    """Return the message that the governor has completed a cycle again.

    Args:
        ended_at: when it had ended, in seconds since 1970 UTC.
        exit_code: with which it had ended.
        now: the time, likewise.
        fleet: whose governor.
    """
    return "\n".join(
        [
            f"✅ The governor governs again, after {_duration(now - ended_at)}.",
            f"It had ended at {_clock(ended_at)} ({cause_of(exit_code)}).",
            "Shares move again as it decides. No action needed.",
            _signature(fleet, now),
        ]
    )


def _shares_line(end: GovernorEnd) -> str:
    if end.valid_until is None or end.valid_until <= end.at:
        return "Shares stay as they are, and nobody cuts them while it is gone."
    return (
        f"Shares stay as they are, and nobody cuts them while it is gone. Agents count it as dead from"
        f" {_clock(end.valid_until)} on."
    )


def _duration(seconds: float) -> str:
    if seconds < _MINUTE:
        return f"{max(0.0, seconds):.0f} s"
    if seconds < 2 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _HOUR:.1f} h"


def _clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%H:%M} UTC"


def _signature(fleet: str, at: float) -> str:
    return f"{fleet} · {datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"
