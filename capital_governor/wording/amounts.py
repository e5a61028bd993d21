"""Numbers and counts as text, the same in log, messages and tables. Pure."""

from __future__ import annotations


def ratio_text(value: float) -> str:
    """Return a ratio with two to six digits, as many as it has: 0.10, 0.125."""
    whole = f"{value:.6f}".rstrip("0")
    return whole if len(whole) - whole.index(".") > 2 else f"{value:.2f}"  # noqa: PLR2004 - the two digits above


def count_text(number: int, what: str) -> str:
    """Return a number of things: ``1 cycle``, ``2 cycles``."""
    return f"{number} {what}" + ("" if number == 1 else "s")
