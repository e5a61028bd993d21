"""The texts of messages to the operator: moves, cuts, restores, alerts and the digest. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from capital_governor.core.model import WHOLE, Agent, Ppm, Publication, Rules, State
from capital_governor.core.reason import Reason
from capital_governor.core.trace import Decision, WithheldBy
from capital_governor.wording.amounts import count_text
from capital_governor.wording.log_events import Line
from capital_governor.wording.reason_texts import evidence, message
from capital_governor.wording.withheld_texts import withheld_text

LONGEST_NOTICE: Final = 4096
"""The longest Telegram message, counted in UTF-16 units, which are never fewer than characters."""


def has_notice(decision: Decision, before: State) -> bool:
    """Return whether the operator gets a message about what this decision publishes.

    Not if no share changes, only what is withheld; nor about a step of MAX_STEP on the way to a whole restore, whose
    last step is told. The log has both.
    """
    new, old = decision.proposal, before.published
    if new is None:
        return False
    if old is None:
        return True
    if new.shares == old.shares:
        return False
    if decision.reason is not Reason.RESTORE:
        return True
    risen = [agent for agent, share in new.shares.items() if share > old.shares.get(agent, 0)]
    withheld = decision.trace.withheld
    return not all(agent in withheld and withheld[agent].by is WithheldBy.STEP for agent in risen)


def telegram_text(decision: Decision, before: State, rules: Rules) -> str:
    """Return the message about a move, cut or restore, in at most LONGEST_NOTICE characters.

    A line for each agent by falling share, one for the reserve if there is any, one for what is withheld, and one that
    says what drove it. Of a fleet that does not fit, the smallest shares are added up in one line.
    """
    new = decision.proposal
    if new is None:
        raise ValueError(f"a decision that publishes nothing is no move: {decision.reason}")
    tail = [f"Reserve: {_percent(new.reserve)}"] if new.reserve else []
    if new.withheld:
        tail.append(f"Withheld, in the reserve: {withheld_text(new, decision.trace)}")
    tail.append(message(decision.reason, rules) + evidence(decision, before))
    return _shares_notice("🎯 Capital Reallocation:", new, tail)


def taken_back_text(given_up: Publication, visible: Publication | None) -> str:
    """Return the message that a move or cut of which the operator was told is abandoned.

    Args:
        given_up: what no agent has, and never will.
        visible: what the agents have instead; None: nothing of this governor's.
    """
    when = f"{datetime.fromtimestamp(given_up.at, UTC):%Y-%m-%d %H:%M} UTC"
    head = f"↩️ Capital Reallocation taken back: generation {given_up.generation} of {when} is not in force"
    if visible is None:
        return f"{head}. Agents have no shares from this governor yet."
    return _shares_notice(f"{head}. Agents have:", visible, [f"Reserve: {_percent(visible.reserve)}"])


def _shares_notice(head: str, published: Publication, tail: list[str]) -> str:
    """Return head, a line per agent by falling share, and tail, in at most LONGEST_NOTICE characters."""
    ranked = sorted(published.shares.items(), key=lambda item: (-item[1], item[0]))
    lines, room = [head], LONGEST_NOTICE - _length(head, *tail)
    whole = _length(*(_share_line(agent, share) for agent, share in ranked)) <= room
    room -= 0 if whole else _length(f"... and {len(ranked)} more: 100.0%")
    for place, (agent, share) in enumerate(ranked):
        line = _share_line(agent, share)
        room -= _length(line)
        if room < 0:
            rest = ranked[place:]
            lines.append(f"... and {len(rest)} more: {_percent(sum(share for _, share in rest))}")
            break
        lines.append(line)
    return "\n".join(lines + tail)


def digest_text(generation: int | None, *, moves: int, cuts: int, restores: int, holds: int) -> str:
    """Return the daily message about the last 24 hours; cuts and restores are only named if there were any."""
    published = "nothing published" if generation is None else f"generation {generation}"
    counts = [count_text(moves, "move")]
    counts += [count_text(number, what) for number, what in ((cuts, "cut"), (restores, "restore")) if number]
    counts.append(count_text(holds, "hold"))
    return f"☀️ Capital Governor: alive, {published}, {', '.join(counts)} in 24 h"


def alert_text(line: Line) -> str:
    """Return the message of an alert."""
    return f"{'✅' if line.over else '⚠️'} {line.text}"


def _share_line(agent: Agent, share: Ppm) -> str:
    return f"{agent}: {_percent(share)}"


def _percent(share: Ppm) -> str:
    return f"{100 * share / WHOLE:.1f}%"


def _length(*lines: str) -> int:
    """Return the length of these lines, line ends included."""
    return sum(len(line.encode("utf-16-le")) // 2 + 1 for line in lines)
