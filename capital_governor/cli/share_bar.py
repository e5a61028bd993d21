"""A share as a bar, for the demo and for ``status --watch``."""

from __future__ import annotations

from typing import Final

BAR_COLUMNS: Final = 12
FULL_BAR: Final = 500_000
"""The share that fills a bar, in millionths."""


def bar(share: int, columns: int = BAR_COLUMNS, full: int = FULL_BAR) -> str:
    """Return a share as a bar, exact to an eighth of a column; it has all its columns from ``full`` on.

    Both are in millionths of all capital.
    """
    eighths = min(8 * columns, round(8 * columns * share / full))
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()
