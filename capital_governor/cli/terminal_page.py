"""Lines and tables of the commands, for people.

A terminal gets colours, wrapped lines, and of a large fleet only the largest shares. A pipe or a file gets plain text
in which nothing is wrapped or left out, so that it can be searched and compared.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from typing import Any, Final, NamedTuple

from capital_governor.cli.output import write_stdout
from capital_governor.cli.wrapping import terminal_columns, wrapped

WIDTH_WITHOUT_TERMINAL: Final = 1_000
"""More than the widest line, so that nothing is wrapped."""
ROWS_ON_TERMINAL: Final = 40
"""The largest number of agents shown on a terminal."""
NARROW_COLUMNS: Final = 64
"""On narrower terminals ``once`` and ``status`` leave out columns, and ``show-config`` has no table."""
LABEL_COLUMNS: Final = 11
GAP: Final = "   "
"""Between two columns of a table."""
STYLES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}
"""By style, the terminal's code."""


class Cell(NamedTuple):
    """One cell of a table."""

    text: str
    style: str = ""


class Page:
    """Lines and tables, written at once at the end. A style has words of ``STYLES``."""

    def __init__(self) -> None:
        self.terminal = sys.stdout is not None and sys.stdout.isatty()
        self.width = terminal_columns() if self.terminal else WIDTH_WITHOUT_TERMINAL
        self.drawn = _is_sayable("\N{BOX DRAWINGS LIGHT HORIZONTAL}\N{BLACK SQUARE}")
        self.lines: list[str] = []
        dumb = os.environ.get("TERM", "") in {"dumb", "unknown"}
        self._colored = self.terminal and not dumb and not os.environ.get("NO_COLOR")

    def line(self, text: str, style: str = "", *, indent: int = 0) -> None:
        """Add text; on a terminal it is wrapped, with ``indent`` for further lines."""
        if self.terminal:
            text = wrapped(text, self.width, indent)
        self.lines += [self._styled(part.rstrip(), style) for part in text.split("\n")]

    def labelled(self, label: str, text: str, style: str = "") -> None:
        """Add ``label      text``."""
        self.line(f"{label:<{LABEL_COLUMNS - 1}} {text}", style, indent=LABEL_COLUMNS)

    def table(
        self,
        names: Sequence[str],
        rows: Sequence[Sequence[Cell]],
        footer: Sequence[str] = (),
        *,
        left: Collection[str] = ("agent", "limit"),
        folded: str = "agent",
    ) -> None:
        """Add a table with columns as wide as needed.

        Args:
            names: of the columns.
            rows: one cell per column.
            footer: a last row below a rule; none if empty.
            left: the columns that are aligned left.
            folded: the column that is wrapped if the terminal is too narrow.
        """
        texts = [names, *([cell.text for cell in row] for row in rows), *([footer] if footer else [])]
        widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
        place = names.index(folded)
        widths[place] = max(min(widths[place], self.width - sum(widths) + widths[place] - _gaps(names)), 1)
        rule = ("\N{BOX DRAWINGS LIGHT HORIZONTAL}" if self.drawn else "-") * (sum(widths) + _gaps(names))
        right = [name not in left for name in names]
        self._row([Cell(name, "bold") for name in names], widths, right)
        self.lines.append(rule)
        for row in rows:
            self._row(row, widths, right)
        if footer:
            self.lines.append(rule)
            self._row([Cell(text, "bold") for text in footer], widths, right)

    def _row(self, cells: Sequence[Cell], widths: Sequence[int], right: Sequence[bool]) -> None:
        parts = [
            textwrap.wrap(cell.text, width) if len(cell.text) > width else [cell.text]
            for cell, width in zip(cells, widths, strict=True)
        ]
        for texts in zip_longest(*parts, fillvalue=""):
            placed = [
                self._styled(f"{text:>{width}}" if at_right else f"{text:<{width}}", cell.style if text else "")
                for text, width, at_right, cell in zip(texts, widths, right, cells, strict=True)
            ]
            self.lines.append(GAP.join(placed).rstrip())

    def _styled(self, text: str, style: str) -> str:
        codes = ";".join(STYLES[word] for word in style.split())
        return f"\x1b[{codes}m{text}\x1b[0m" if self._colored and codes and text else text


def _is_sayable(text: str) -> bool:
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _gaps(names: Sequence[str]) -> int:
    return len(GAP) * (len(names) - 1)


@contextmanager
def new_page() -> Iterator[Page]:
    """Yield a page, which is written at the end of the block."""
    page = Page()
    yield page
    write_stdout("".join(f"{line}\n" for line in page.lines))


def show_lines(lines: Iterable[str]) -> None:
    """Print lines of text."""
    with new_page() as page:
        for line in lines:
            page.line(line, indent=2)


def largest(page: Page, rows: Sequence[Any]) -> tuple[Sequence[Any], str]:
    """Return the rows to show, and a line about the others."""
    if not page.terminal or len(rows) <= ROWS_ON_TERMINAL:
        return rows, ""
    return rows[:ROWS_ON_TERMINAL], f"... and {len(rows) - ROWS_ON_TERMINAL} more agents: --json or a pipe lists all"
