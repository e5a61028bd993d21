"""The form of a message to the phone: icon, fleet, time, lines that fit, commands as they are typed. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from capital_governor.core.model import WHOLE, Agent, Ppm, Publication
from capital_governor.wording.amounts import percent_text
from capital_governor.wording.moments import minute_text

LONGEST_MESSAGE: Final = 4096
"""The longest Telegram message, counted in UTF-16 units, which are never fewer than characters."""
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


def shares_of(published: Publication | None) -> Mapping[Agent, Ppm]:
    """Return the published shares; none if nothing is published."""
    return {} if published is None else published.shares


def standing_text(published: Publication | None) -> str:
    """Return what stays as it is while nothing is decided: how much is deployed, and the reserve."""
    if published is None:
        return "Nothing is published yet, and nothing will be until this is over."
    deployed = percent_text(WHOLE - published.reserve)
    return f"Shares stay as they are: {deployed} deployed, {percent_text(published.reserve)} in reserve."
