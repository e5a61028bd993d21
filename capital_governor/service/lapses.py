"""What is told of lapses: who lapses, is back or is released, and each day who is lapsed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from capital_governor.core.model import DAY_SECONDS, FUTURE_TOLERANCE_SECONDS, Rules, State
from capital_governor.core.trace import Decision
from capital_governor.wording.agent_alerts import back_text, lapsed_text, none_lapsed_text, released_text
from capital_governor.wording.log_events import Line, LogEvent
from capital_governor.wording.log_lines import lapse_over_line, lapsed_line, released_line
from capital_governor.wording.message_form import BEGINS, OVER, Sender

LAPSED: Final = "lapsed"
"""The topic of the episode that begins with a lapse and is over when no agent is lapsed any more."""
BACK: Final = "lapse over"
RELEASED: Final = "released"


@dataclass(frozen=True, slots=True)
class LapseNews:
    """A line for the log about lapses, and the message to the operator; see ``Notice`` for topic and end."""

    line: Line
    text: str
    topic: str
    over: bool = False


def lapse_news(
    decision: Decision, before: State, rules: Rules, sender: Sender, *, now: float, told_at: float | None
) -> tuple[LapseNews, ...]:
    """Return which agents are released, are back after a lapse, or lapse; daily who is lapsed.

    Args:
        decision: of this cycle.
        before: the state before.
        rules: of the cycle.
        sender: whose messages these are.
        now: its time, seconds since 1970 UTC.
        told_at: when the operator was last told that agents are lapsed; None if that episode is over.
    """

    def over(line: Line, topic: str, lines: Iterable[str]) -> LapseNews:
        return LapseNews(line, sender.message(OVER, now, lines), topic, over=True)

    published = decision.proposal or decision.after.published
    was, lapsed = _lapsed(before), _lapsed(decision.after)
    news = []
    gone = released_line(decision, before)
    if gone is not None:
        old = {} if before.published is None else before.published.plan
        parts = {agent: old[agent] for agent in decision.trace.retired if old.get(agent, 0)}
        news.append(over(gone, RELEASED, released_text(parts)))
    if back := was - lapsed - set(decision.trace.retired):
        news.append(over(lapse_over_line(back, published), BACK, back_text(back, published)))
    if told_at is not None and not lapsed:
        last = news.pop() if news else over(LogEvent.NONE_LAPSED.line(), LAPSED, none_lapsed_text())
        news.append(replace(last, topic=LAPSED))
    new = lapsed - was
    if lapsed and (new or told_at is None or is_due(now, told_at)):
        who = new or lapsed
        text = sender.message(BEGINS, now, lapsed_text(who, published, rules, sender))
        news.append(LapseNews(lapsed_line(who, published, rules), text, LAPSED))
    return tuple(news)


def told_after(news: Sequence[LapseNews], now: float, told_at: float | None) -> float | None:
    """Return when the operator was last told that agents are lapsed, after this news; None if none is lapsed."""
    for each in news:
        if each.topic == LAPSED:
            return None if each.over else now
    return told_at


def is_due(now: float, told_at: float) -> bool:
    """Return whether a message that is repeated daily is due: also if the clock was set back since it was sent."""
    return not -FUTURE_TOLERANCE_SECONDS <= now - told_at < DAY_SECONDS


def _lapsed(state: State) -> set[str]:
    return {agent for agent, memory in state.agents.items() if memory.lapsed}
