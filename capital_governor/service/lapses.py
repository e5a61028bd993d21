"""What is told of lapses: who lapses, is back or is released, and each day who is lapsed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from capital_governor.core.model import DAY_SECONDS, FUTURE_TOLERANCE_SECONDS, Rules, State
from capital_governor.core.trace import Decision
from capital_governor.wording.log_events import Line, LogEvent
from capital_governor.wording.log_lines import lapse_over_line, lapsed_line, released_line

LAPSED: Final = "lapsed"
"""The topic of the episode that begins with a lapse and is over when no agent is lapsed any more."""
BACK: Final = "lapse over"
RELEASED: Final = "released"


def lapse_lines(
    decision: Decision, before: State, rules: Rules, *, now: float, told_at: float | None
) -> tuple[Line, ...]:
    """Return which agents are released, are back after a lapse, or lapse, all as alerts; daily who is lapsed.

    Args:
        decision: of this cycle.
        before: the state before.
        rules: of the cycle.
        now: its time, seconds since 1970 UTC.
        told_at: when the operator was last told that agents are lapsed; None if that episode is over.
    """
    published = decision.proposal or decision.after.published
    was, lapsed = _lapsed(before), _lapsed(decision.after)
    lines = []
    released = released_line(decision, before)
    if released is not None:
        lines.append(released.ends(RELEASED))
    if back := was - lapsed - set(decision.trace.retired):
        lines.append(lapse_over_line(back, published).ends(BACK))
    if told_at is not None and not lapsed:
        over = lines.pop() if lines else LogEvent.NONE_LAPSED.line()
        lines.append(over.ends(LAPSED))
    new = lapsed - was
    if lapsed and (new or told_at is None or is_due(now, told_at)):
        lines.append(lapsed_line(new or lapsed, published, rules).begins(LAPSED))
    return tuple(lines)


def told_after(lines: Sequence[Line], now: float, told_at: float | None) -> float | None:
    """Return when the operator was last told that agents are lapsed, after these lines; None if none is lapsed."""
    for line in lines:
        if line.topic == LAPSED:
            return None if line.over else now
    return told_at


def is_due(now: float, told_at: float) -> bool:
    """Return whether a message that is repeated daily is due: also if the clock was set back since it was sent."""
    return not -FUTURE_TOLERANCE_SECONDS <= now - told_at < DAY_SECONDS


def _lapsed(state: State) -> set[str]:
    return {agent for agent, memory in state.agents.items() if memory.lapsed}
