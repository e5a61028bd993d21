"""Shares, numbers, counts and names as text, the same in log, messages and commands. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from capital_governor.core.model import WHOLE, Agent, Ppm

NAMED: Final = 5
"""So many agents are named in a sentence."""


def ratio_text(value: float) -> str:
    """Return a ratio with two to six digits, as many as it has: 0.10, 0.125."""
    whole = f"{value:.6f}".rstrip("0")
    return whole if len(whole) - whole.index(".") > 2 else f"{value:.2f}"  # noqa: PLR2004 - the two digits above


def count_text(number: int, what: str) -> str:
    """Return a number of things: ``1 cycle``, ``2 cycles``."""
    return f"{number} {what}" + ("" if number == 1 else "s")


def percent_text(share: Ppm | float) -> str:
    """Return a share with at most one decimal, two below one percent: ``50 %``, ``29.3 %``, ``0.25 %``.

    Args:
        share: an integer in millionths, else 0..1.
    """
    return f"{_percents(share)} %"


def change_text(before: Ppm | float, after: Ppm | float) -> str:
    """Return a change of a share, given as for ``percent_text``: ``29.3 -> 14.6 %``."""
    return f"{_percents(before)} -> {percent_text(after)}"


def _percents(share: Ppm | float) -> str:
    percents = 100 * (share / WHOLE if isinstance(share, int) else share)
    text = f"{percents:.{1 if abs(percents) >= 1 else 2}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def largest_first(shares: Mapping[Agent, Ppm]) -> list[Agent]:
    """Return the agents by falling share, then by name."""
    return sorted(shares, key=lambda agent: (-shares[agent], agent))


def names_text(agents: Iterable[Agent], shares: Mapping[Agent, Ppm] | None = None) -> str:
    """Return the names of NAMED agents at most, and how many more there are.

    Args:
        agents: in the order of their names in the text, unless there are shares.
        shares: of these agents; those with the largest are named first.
    """
    ranked = list(agents) if shares is None else largest_first({agent: shares.get(agent, 0) for agent in agents})
    more = f" and {len(ranked) - NAMED} more" if len(ranked) > NAMED else ""
    return ", ".join(ranked[:NAMED]) + more


def shares_text(agents: Iterable[Agent], shares: Mapping[Agent, Ppm], most: int = NAMED) -> str:
    """Return agents with their shares, the largest first, and the sum of the rest."""
    ranked = largest_first({agent: shares.get(agent, 0) for agent in agents})
    parts = [f"{agent} {percent_text(shares.get(agent, 0))}" for agent in ranked[:most]]
    if len(ranked) > most:
        rest = sum(shares.get(agent, 0) for agent in ranked[most:])
        parts.append(f"{len(ranked) - most} more with {percent_text(rest)}")
    return ", ".join(parts)
