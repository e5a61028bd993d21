"""The arithmetic of a decision, read a second time: scores, projection, exposure, rounding.

Nothing here comes from the program under test. Weights and ratios are 0..1, shares are integers in millionths of all
capital. The projection looks at every point where an agent meets one of its limits and interpolates between two of
them, which is slow and plain.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from tests.oracle.sight import Settings

MILLION = 1_000_000
CRUMB = 1e-6
"""A millionth of a millionth: what is added before rounding down."""
NOISE = 1e-7
"""In millionths: two numbers nearer than this may change places by the last digit of a float."""


def millionths(weight: float, exposure: float) -> int:
    """Return the share that ``weight`` is at ``exposure``, rounded down."""
    return math.floor(weight * exposure * MILLION + CRUMB)


def threshold(ratio: float) -> int:
    """Return a threshold in millionths: rounded, and never 0, for no change is not a change."""
    return max(1, round(ratio * MILLION))


def clip01(value: float) -> float:
    """Return ``value`` clipped to 0..1."""
    return min(1.0, max(0.0, value))


def score(record: Mapping[str, float], settings: Settings) -> float:
    """Return the score of one good record, 0..1."""
    profit = clip01(record["pnl_7d"] / settings.pnl_scale)
    sharpe = clip01(record["sharpe_30d"] / settings.sharpe_scale)
    safety = 1 - clip01(record["max_dd_30d"] / settings.drawdown_scale_percent)
    return math.fsum(
        [
            settings.pnl_weight * profit,
            settings.sharpe_weight * sharpe,
            settings.winrate_weight * record["winrate_30d"],
            settings.drawdown_weight * safety,
        ]
    )


def drawdown_multiplier(percent: float, settings: Settings) -> float:
    """Return 1 up to the start of the line, its floor from the end on, and the straight line between."""
    start, end = settings.drawdown_cut_start_percent, settings.drawdown_cut_end_percent
    if percent <= start:
        return 1.0
    if percent >= end:
        return settings.drawdown_cut_floor
    way = (percent - start) / (end - start)
    return 1.0 - way * (1.0 - settings.drawdown_cut_floor)


def project(
    scores: Mapping[str, float], low: Mapping[str, float], high: Mapping[str, float]
) -> tuple[dict[str, float], float]:
    """Return the weights for ``scores`` inside the limits, and the factor by which floors that do not fit shrink."""
    floors = math.fsum(low.values())
    if floors > 1 + 1e-9:
        return {name: value / floors for name, value in low.items()}, 1 / floors
    if math.fsum(high.values()) < 1:
        return dict(high), 1.0
    winners = {name: value for name, value in scores.items() if value > 0}
    if math.fsum(high[name] if name in winners else low[name] for name in low) >= 1:
        # Those without a score wait at their floors until all the others are at their limits.
        weights = {name: low[name] for name in low if name not in winners}
        rest = 1 - math.fsum(weights.values())
        return weights | _fill(winners, low, high, rest), 1.0
    weights = {name: high[name] for name in winners}
    rest = 1 - math.fsum(weights.values())
    return weights | _fill({name: 1.0 for name in low if name not in winners}, low, high, rest), 1.0


def _fill(
    scores: Mapping[str, float], low: Mapping[str, float], high: Mapping[str, float], total: float
) -> dict[str, float]:
    """Return ``clip(t * score, low, high)`` for the ``t`` at which these add up to ``total``."""

    def at(t: float) -> dict[str, float]:
        return {name: min(high[name], max(low[name], t * value)) for name, value in scores.items()}

    if not scores:
        return {}
    turns = sorted(
        {0.0}
        | {low[name] / value for name, value in scores.items()}
        | {high[name] / value for name, value in scores.items()}
    )
    before = turns[0]
    for turn in turns:
        if math.fsum(at(turn).values()) >= total:
            break
        before = turn
    else:
        return at(turns[-1])
    below, above = math.fsum(at(before).values()), math.fsum(at(turn).values())
    if above <= below:
        return at(turn)
    return at(before + (turn - before) * (total - below) / (above - below))


def round_shares(
    weights: Mapping[str, float], high: Mapping[str, float], exposure: float
) -> tuple[dict[str, int], bool]:
    """Return the shares, and whether the last digit of a float could have moved a millionth of them."""
    exact = {name: weight * exposure * MILLION for name, weight in weights.items()}
    total = math.fsum(weights.values()) * exposure * MILLION
    shares = {name: math.floor(value + CRUMB) for name, value in exact.items()}
    left = math.floor(total + CRUMB) - sum(shares.values())
    fraction = {name: exact[name] - shares[name] for name in shares}
    queue = sorted(
        (name for name in shares if shares[name] + 1 <= millionths(high[name], exposure)),
        key=lambda name: (-fraction[name], name),
    )
    for name in queue[: max(0, left)]:
        shares[name] += 1
    delicate = any(on_the_edge(value) for value in [*exact.values(), total])
    if 0 < left < len(queue):
        delicate |= fraction[queue[left - 1]] - fraction[queue[left]] < NOISE
    # Whether a whole number has a fraction at all hangs on its last digit.
    delicate |= any(abs(fraction[name]) < NOISE for name in queue[: max(0, left)])
    return shares, delicate


def on_the_edge(value: float) -> bool:
    """Whether rounding ``value`` down, with the crumb, hangs on the last digit of a float."""
    return abs(value + CRUMB - round(value + CRUMB)) < NOISE
