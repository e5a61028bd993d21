"""What ``history`` and ``decisions`` have in common: their window, the journal, and lines with times."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from capital_governor.cli.output import fail
from capital_governor.cli.terminal_page import Page
from capital_governor.contracts.exit_codes import USAGE
from capital_governor.contracts.text import clean
from capital_governor.settings.durations import LONGEST_SECONDS, duration_seconds, read_duration

MOST: Final = 1_000_000
"""More turns than any journal has."""
MOST_ON_TERMINAL: Final = 200
"""So many lines at most on a terminal, the newest."""


def beginning(since: str, now: float) -> float:
    """Return when a window begins that is ``since`` long, such as "2d". Raises SystemExit 2."""
    if (read_duration(since) or 0.0) > LONGEST_SECONDS:
        return 0.0
    try:
        return now - duration_seconds(since)
    except ValueError as error:
        fail(USAGE, f"--since {clean(since, 40)!r} {error}")


def day(at: float) -> str:
    """Return the date of a time, in UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"


def clock(at: float) -> str:
    """Return the time of day, in UTC, to the minute."""
    return f"{datetime.fromtimestamp(at, UTC):%H:%M}"


class Diary:
    """Prints lines with times: on a terminal below the day, else each with its date.

    Args:
        page: to print on.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._day = ""

    def line(self, at: float, text: str, style: str = "") -> None:
        """Add a line about what happened at a time."""
        if not self._page.terminal:
            self._page.line(f"{day(at)} {clock(at)}  {text}")
            return
        if day(at) != self._day:
            self._day = day(at)
            self._page.line(self._day, "bold")
        self._page.line(f"{clock(at)}  {text}", style, indent=7)
