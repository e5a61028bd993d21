"""The messages about a governor that has ended, and that is back. Pure."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from capital_governor.supervisor.endings import UNSEEN, cause_of
from capital_governor.wording.amounts import percent_text
from capital_governor.wording.message_form import BEGINS, OVER, Sender, sentence
from capital_governor.wording.moments import duration_text, moment_text

GAVE_UP: Final = "🛑"
_PROGRAM: Final = "capital-governor: "
_FROM_OUTSIDE: Final = frozenset({128 + signal.SIGKILL, 128 + signal.SIGTERM})
"""After these the log's last line says nothing about the cause."""


@dataclass(frozen=True, slots=True)
class GovernorEnd:
    """How a governor ended under its supervisor.

    Args:
        at: when, in seconds since 1970 UTC.
        exit_code: with which it ended, or 128 and the number of the signal that ended it.
        restart_seconds: after which it is started again; None: it is not.
        said: the last line of its log; empty if unknown.
        valid_until: until when agents count it as alive, in seconds since 1970 UTC; None if unknown.
        reserve: the part of all capital that no agent has, 0..1; None if unknown.
    """

    at: float
    exit_code: int
    restart_seconds: float | None
    said: str = ""
    valid_until: float | None = None
    reserve: float | None = None


def governor_ended_text(end: GovernorEnd, fleet: str, command: str) -> str:
    """Return the message that the governor has ended.

    Args:
        end: how.
        fleet: whose governor.
        command: the start of a command line of ``neo_light_fix.sh``, as it must be typed.
    """
    icon = GAVE_UP if end.restart_seconds is None else BEGINS
    return Sender(fleet).message(icon, end.at, _ended_lines(end, command))


def returned_text(ended_at: float, exit_code: int, now: float, fleet: str) -> str:
    """Return the message that the governor has completed a cycle again.

    Args:
        ended_at: when it had ended, or was last seen alive, in seconds since 1970 UTC.
        exit_code: with which it had ended; ``UNSEEN``: that was not seen.
        now: the time, likewise.
        fleet: whose governor.
    """
    known = "It was last seen" if exit_code == UNSEEN else "It had ended"
    lines = (
        f"The governor is back after {duration_text(now - ended_at)}: it has completed a cycle.",
        f"{known} at {moment_text(ended_at, now)} ({cause_of(exit_code)}).",
        "Shares move again as it decides. No action needed.",
    )
    return Sender(fleet).message(OVER, now, lines)


def _ended_lines(end: GovernorEnd, command: str) -> Iterator[str]:
    cause = cause_of(end.exit_code)
    if end.restart_seconds is None:
        yield f"The governor gave up ({cause}). It is not started again by itself."
    else:
        yield f"The governor ended ({cause})."
    if end.said and end.exit_code not in _FROM_OUTSIDE:
        yield f"Its last line: {end.said.removeprefix(_PROGRAM)}"
    shares = ""
    if end.reserve is not None:
        shares = f": {percent_text(1.0 - end.reserve)} deployed, {percent_text(end.reserve)} in reserve"
    yield f"Shares stay as they are{shares}. While it is gone, nobody cuts risk."
    if end.valid_until is not None and end.valid_until > end.at:
        until = moment_text(end.valid_until, end.at)
        if end.restart_seconds is None:
            yield f"From {until} on, agents count it as dead and use their fallback."
        else:
            yield f"If it is not back by {until}, agents count it as dead and use their fallback."
    if end.restart_seconds is None:
        yield "Act: see what is wrong, correct it, restart:"
        yield f"{command} check"
        yield f"{command} restart capital_governor"
    else:
        yield sentence(f"It is started again in {end.restart_seconds:g} s, with a message when it is back")
        yield "No action needed, unless that message does not come. Then see why:"
        yield f"{command} logs capital_governor"
