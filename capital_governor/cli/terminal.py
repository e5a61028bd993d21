"""What the commands write: one JSON document, or lines and tables for people.

A terminal gets colours, lines wrapped at its width, and of a large fleet the largest shares. Everything else (a pipe, a
file) gets plain text in which nothing is wrapped, cut or left out, so that it can be searched and compared.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from capital_governor.cli.failures import fail
from capital_governor.contracts.exit_codes import TEMPORARY
from capital_governor.contracts.instants import read_instant

WIDTH_WITHOUT_TERMINAL: Final = 1_000
"""More than the widest line: nothing is wrapped, and a table takes no more than it needs."""
ROWS_ON_TERMINAL: Final = 40
"""Agents that a terminal gets; what a person looks for after that is not found by scrolling."""
NARROW_COLUMNS: Final = 64
"""Below this, ``once`` leaves out how a share came about (``explain`` has it), ``status`` its bars."""
LABEL_COLUMNS: Final = 11


def write(text: str) -> None:
    """Write to stdout. A reader that has gone, or a stdout that is closed, is nobody's fault and ends nothing.

    Raises:
        SystemExit: 75, with one line on stderr, if it cannot be written for another reason (disk full).
    """
    if sys.stdout is None:
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a reason may have letters that the terminal lacks
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # What is left in the buffer must not be tried again at exit, where nobody could catch its failure.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            fail(TEMPORARY, f"standard output: {error.strerror}")


def show_json(document: object) -> None:
    """Write one JSON document to stdout."""
    write(f"{json.dumps(document, indent=2)}\n")


class _Sheet(io.StringIO):
    """Takes what a console prints; its encoding, which decides between drawn and typed rules, is that of stdout."""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(sys.stdout, "encoding", None) or "utf-8"


class Page:
    """Lines and tables, collected for one ``write``."""

    def __init__(self) -> None:
        self.terminal = sys.stdout is not None and sys.stdout.isatty()
        self.sheet = _Sheet()
        self.console = Console(
            file=self.sheet,
            width=shutil.get_terminal_size().columns if self.terminal else WIDTH_WITHOUT_TERMINAL,
            force_terminal=self.terminal,
            color_system="auto" if self.terminal and not os.environ.get("NO_COLOR") else None,
            highlight=False,
        )

    @property
    def width(self) -> int:
        """Columns of the terminal, or as many as a line needs."""
        return self.console.width

    def line(self, text: str, style: str = "", *, indent: int = 0) -> None:
        """Print text as it is, brackets included; what does not fit a terminal goes on below, indented."""
        if self.terminal:
            text = textwrap.fill(text, max(self.width, 2 * LABEL_COLUMNS), subsequent_indent=" " * indent)
        self.console.print(Text(text, style), soft_wrap=True)

    def labelled(self, label: str, text: str, style: str = "") -> None:
        """Print ``label      text``."""
        self.line(f"{label:<{LABEL_COLUMNS - 1}} {text}", style, indent=LABEL_COLUMNS)


@contextmanager
def new_page() -> Iterator[Page]:
    """Give a page to fill; it is written at the end of the block."""
    page = Page()
    yield page
    write("".join(f"{line.rstrip()}\n" for line in page.sheet.getvalue().removesuffix("\n").split("\n")))


def new_table(*names: str) -> Table:
    """Return a table of numbers, but for its first column."""
    table = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1), show_footer=True, show_edge=False)
    for name in names:
        if name in {"agent", "limit"}:
            table.add_column(name, overflow="fold")
        else:
            table.add_column(name, justify="right", no_wrap=True)
    return table


def largest(page: Page, rows: Sequence[Any]) -> tuple[Sequence[Any], str]:
    """Return the rows to show, and what to say of the others."""
    if not page.terminal or len(rows) <= ROWS_ON_TERMINAL:
        return rows, ""
    return rows[:ROWS_ON_TERMINAL], f"... and {len(rows) - ROWS_ON_TERMINAL} more agents: --json or a pipe lists all"


# --- numbers ----------------------------------------------------------------------------------------------------------


def percent(share: float | None) -> str:
    """Return a share of 0..1 in percent; nothing for none."""
    return "" if share is None else f"{share:.2%}"


def signed_percent(change: float | None) -> str:
    """Return the change of a share with its sign; nothing for none."""
    return f"{change:+.2%}" if change else ""


def number(value: float | None) -> str:
    """Return a score or weight; nothing for none."""
    return "" if value is None else f"{value:.4f}"


def moment(at: float) -> str:
    """Return a time, given in seconds since 1970 UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def ago(iso: str, now: float) -> str:
    """Return how long ago a time of the status file was, as people say it."""
    at = read_instant(iso)
    return "at an unknown time" if at is None else f"{span(now - at.earliest)} ago"


def span(seconds: float) -> str:
    """Return a duration in its two largest units; what lies ahead (a clock set back) is negative."""
    whole = abs(int(seconds))
    units = (("d", whole // 86_400), ("h", whole // 3_600 % 24), ("min", whole // 60 % 60), ("s", whole % 60))
    first = next((place for place, (_, count) in enumerate(units) if count), len(units) - 1)
    said = [f"{count} {unit}" for unit, count in units[first : first + 2] if count] or ["0 s"]
    return ("-" if seconds <= -1 else "") + " ".join(said)
