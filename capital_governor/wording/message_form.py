"""The form of a message to the phone: icon, fleet, time, lines that fit, commands as they are typed. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from capital_governor.core.model import DAY_SECONDS, WHOLE, Agent, Ppm, Publication

LONGEST_MESSAGE: Final = 4096
"""The longest Telegram message, counted in UTF-16 units, which are never fewer than characters."""
NAMED: Final = 5
"""So many agents are named in a sentence, the largest shares first."""
LONGEST_LINE: Final = 700
"""UTF-16 units of one line that another program has a part in, such as an error."""

_PARSER: Final = re.compile(r"not strict JSON: [^()]*")
NO_ACTION: Final = "No action needed."
BEGINS: Final = "⚠️"
OVER: Final = "✅"


@dataclass(frozen=True, slots=True)
class Sender:
    """Whose messages these are, and how their reader types a command.

    Args:
        fleet: the fleet's name.
        root: the root's folder.
        program: the program, as it is typed.
        option: what goes behind the command, such as ``--root DIR``; empty if nothing does.
        interval_seconds: between two cycles.
    """

    fleet: str
    root: str = "."
    program: str = "capital-governor"
    option: str = ""
    interval_seconds: float = 300.0

    def command(self, words: str) -> str:
        """Return a command of the program as it is typed."""
        return " ".join(filter(None, (self.program, words, self.option)))

    def message(self, icon: str, at: float, lines: Iterable[str]) -> str:
        """Return a message: a head with fleet and time, and these lines as far as they fit.

        Args:
            icon: what the message begins with.
            at: when that happened, in seconds since 1970 UTC.
            lines: empty ones are left out.
        """
        return fitted([f"{icon} {self.fleet} · {minute_text(at)}", *lines])


def agent_word(agent: Agent) -> str:
    """Return an agent's name, or ``*`` for all agents, as a shell takes it."""
    return shlex.quote(agent)


def fitted(lines: Iterable[str]) -> str:
    """Return the lines that are not empty, in at most LONGEST_MESSAGE units; what does not fit is cut."""
    kept: list[str] = []
    room = LONGEST_MESSAGE
    for line in filter(None, lines):
        shown = shortened(line, LONGEST_LINE)
        room -= units(shown)
        if room < 0:
            break
        kept.append(shown)
    return "\n".join(kept)


def sentence(text: str) -> str:
    """Return a text of another program or module with exactly one full stop, without a parser's own words."""
    return f"{_PARSER.sub('not JSON', text).rstrip('. ')}."


def units(*lines: str) -> int:
    """Return the length of these lines in UTF-16 units, line ends included."""
    return sum(len(line.encode("utf-16-le", "surrogatepass")) // 2 + 1 for line in lines)


def shortened(text: str, most: int) -> str:
    """Return the text, cut to at most so many UTF-16 units."""
    if units(text) <= most:
        return text
    cut = text.encode("utf-16-le", "surrogatepass")[: 2 * (most - 4)].decode("utf-16-le", "ignore")
    return f"{cut}..."


def minute_text(at: float) -> str:
    """Return a moment to the minute: ``2025-11-03 22:05 UTC``."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"


def moment_text(at: float, now: float) -> str:
    """Return a moment for a sentence: only its clock time within a day of ``now``."""
    if abs(at - now) >= DAY_SECONDS:
        return minute_text(at)
    return f"{datetime.fromtimestamp(at, UTC):%H:%M} UTC"


def duration_text(seconds: float) -> str:
    """Return a length of time in words: ``40 s``, ``14 min``, ``2 h 5 min``, ``3 days 4 h``."""
    seconds = max(0.0, seconds)
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    if minutes < 60:  # noqa: PLR2004 - an hour
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:  # noqa: PLR2004 - two days
        return f"{hours} h" + (f" {minutes} min" if minutes else "")
    days, hours = divmod(hours, 24)
    return f"{days} days" + (f" {hours} h" if hours else "")


def after_text(seconds: float | None) -> str:
    """Return `` after 14 min``; nothing for a length of time that is not known."""
    return "" if seconds is None else f" after {duration_text(seconds)}"


def percent_text(share: Ppm | float) -> str:
    """Return a share with at most one decimal: ``14.6 %``. Integers are millionths, floats 0..1."""
    return f"{_number(share)} %"


def change_text(before: Ppm | float, after: Ppm | float) -> str:
    """Return a change of a share: ``100 -> 50 %``."""
    return f"{_number(before)} -> {_number(after)} %"


def _number(share: Ppm | float) -> str:
    ratio = share / WHOLE if isinstance(share, int) else share
    return f"{100 * ratio:.1f}".removesuffix(".0")


def largest_first(shares: Mapping[Agent, Ppm]) -> list[Agent]:
    """Return the agents by falling share, then by name."""
    return sorted(shares, key=lambda agent: (-shares[agent], agent))


def names_text(agents: Iterable[Agent], shares: Mapping[Agent, Ppm], most: int = NAMED) -> str:
    """Return the names of agents, those with the largest shares first, and how many more there are."""
    ranked = largest_first({agent: shares.get(agent, 0) for agent in agents})
    named = ", ".join(ranked[:most])
    return named + (f" and {len(ranked) - most} more" if len(ranked) > most else "")


def shares_text(agents: Iterable[Agent], shares: Mapping[Agent, Ppm], most: int = NAMED) -> str:
    """Return agents with their shares, the largest first, and the sum of the rest."""
    ranked = largest_first({agent: shares.get(agent, 0) for agent in agents})
    parts = [f"{agent} {percent_text(shares.get(agent, 0))}" for agent in ranked[:most]]
    if len(ranked) > most:
        rest = sum(shares.get(agent, 0) for agent in ranked[most:])
        parts.append(f"{len(ranked) - most} more with {percent_text(rest)}")
    return ", ".join(parts)


def shares_of(published: Publication | None) -> Mapping[Agent, Ppm]:
    """Return the published shares; none if nothing is published."""
    return {} if published is None else published.shares


def standing_text(published: Publication | None) -> str:
    """Return what stays as it is while nothing is decided: how much is deployed, and the reserve."""
    if published is None:
        return "Nothing is published yet, and nothing will be until this is over."
    deployed = percent_text(WHOLE - published.reserve)
    return f"Shares stay as they are: {deployed} deployed, {percent_text(published.reserve)} in reserve."
