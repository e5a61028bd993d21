"""The arithmetic of a decision, read a second time: scores, projection, exposure, rounding.

Nothing here comes from the program under test. Weights and ratios are 0..1, shares are integers in millionths of all
capital. The projection looks at every point where an agent meets one of its limits and interpolates between two of
them, or, with groups, halves the range of the factor until nothing is left of it, which is slow and plain.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

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


Team: TypeAlias = tuple[float, set[str]]
"""The cap on the sum of some weights, and whose they are; nobody is in two teams."""


def project(
    scores: Mapping[str, float], low: Mapping[str, float], high: Mapping[str, float], teams: Sequence[Team] = ()
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the weights for ``scores`` inside the limits and the teams' caps, and the floors as far as they fit."""
    floors = dict(low)
    for cap, team in teams:
        floors |= _scaled_to({name: floors[name] for name in team}, cap)
    if math.fsum(floors.values()) > 1 + 1e-9:
        floors = _scaled_to(floors, 1.0)
        return dict(floors), floors
    bound = [(cap, team) for cap, team in teams if math.fsum(high[name] for name in team) > cap]
    if not bound:
        return _share_out(scores, floors, high, 1.0), floors
    return _share_out_in_teams(scores, floors, high, bound), floors


def _scaled_to(floors: Mapping[str, float], most: float) -> dict[str, float]:
    total = math.fsum(floors.values())
    return {name: value * most / total for name, value in floors.items()} if total > most else dict(floors)


def _share_out(
    scores: Mapping[str, float], low: Mapping[str, float], high: Mapping[str, float], total: float
) -> dict[str, float]:
    """Return the weights inside the limits that add up to ``total``, or as near to it as the upper limits allow."""
    if math.fsum(high[name] for name in low) < total:
        return {name: high[name] for name in low}
    winners = {name: scores[name] for name in low if scores[name] > 0}
    losers = [name for name in low if name not in winners]
    if math.fsum(high[name] if name in winners else low[name] for name in low) >= total:
        # Those without a score wait at their floors until all the others are at their limits.
        weights = {name: low[name] for name in losers}
        return weights | _fill(winners, low, high, total - math.fsum(weights.values()))
    weights = {name: high[name] for name in winners}
    return weights | _fill(dict.fromkeys(losers, 1.0), low, high, total - math.fsum(weights.values()))


def _share_out_in_teams(
    scores: Mapping[str, float], low: Mapping[str, float], high: Mapping[str, float], teams: Sequence[Team]
) -> dict[str, float]:
    """Return the weights that add up to 1 where no team may have more than its cap.

    All have the same factor t, but for the teams that would have too much with it: these have their caps. The range of
    t is halved until two neighbouring floats are left. Those without a score stay at their floors as long as the others
    can use up all; if these cannot, they get what they can, and those without a score rise together.
    """
    full = [(cap, team, _share_out(scores, {name: low[name] for name in team}, high, cap)) for cap, team in teams]

    def capped(weights: dict[str, float]) -> dict[str, float]:
        for cap, team, at_cap in full:
            if math.fsum([weights[name] for name in team]) > cap:
                weights |= at_cap
        return weights

    def with_factor(t: float) -> dict[str, float]:
        return capped(
            {
                name: min(high[name], max(low[name], t * score)) if score > 0 else low[name]
                for name, score in scores.items()
            }
        )

    def with_losers_at(level: float) -> dict[str, float]:
        return capped(
            {
                name: high[name] if score > 0 else min(high[name], max(low[name], level))
                for name, score in scores.items()
            }
        )

    if math.fsum(with_factor(math.inf).values()) >= 1:
        most = max((high[name] / score for name, score in scores.items() if score > 0), default=0.0)
        return _where_one(with_factor, 2 * most)
    return _where_one(with_losers_at, 1.0)


def _where_one(weights: Callable[[float], dict[str, float]], most: float) -> dict[str, float]:
    """Return the weights that add up to 1, or those at ``most`` if they never do; they rise with their argument."""
    below, above = 0.0, most
    if math.fsum(weights(above).values()) <= 1:
        return weights(above)
    while below < (middle := (below + above) / 2) < above:
        if math.fsum(weights(middle).values()) > 1:
            above = middle
        else:
            below = middle
    return weights(below)


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
    weights: Mapping[str, float], high: Mapping[str, float], exposure: float, teams: Sequence[Team] = ()
) -> tuple[dict[str, int], bool]:
    """Return the shares, and whether the last digit of a float could have moved a millionth of them."""
    exact = {name: weight * exposure * MILLION for name, weight in weights.items()}
    total = math.fsum(weights.values()) * exposure * MILLION
    shares = {name: math.floor(value) for name, value in exact.items()}
    left = math.floor(total + CRUMB) - sum(shares.values())
    fraction = {name: exact[name] - shares[name] for name in shares}
    queue = sorted(
        (name for name in shares if shares[name] + 1 <= millionths(high[name], exposure)),
        key=lambda name: (-fraction[name], name),
    )
    lucky: list[str] = []
    for name in queue:
        if len(lucky) < left and not any(name in team and _is_full(shares, team, cap, exposure) for cap, team in teams):
            shares[name] += 1
            lucky.append(name)
    # A value that misses a whole number only by its last digit gets a millionth of the remainder, if there is room; and
    # where more is left than can be given, such a value gets two, or one.
    whole = {name for name, value in exact.items() if abs(value - round(value)) < NOISE}
    delicate = on_the_edge(total) or any(shares[name] != round(exact[name]) for name in whole)
    delicate |= bool(whole) and left > len(lucky)
    delicate |= any(team & whole and _is_full(shares, team, cap, exposure) for cap, team in teams)
    others = [name for name in queue if name not in lucky]
    delicate |= any(abs(fraction[name] - fraction[other]) < NOISE for name in lucky for other in others)
    return shares, delicate


def _is_full(shares: Mapping[str, int], team: set[str], cap: float, exposure: float) -> bool:
    return sum(shares[name] for name in team) >= millionths(cap, exposure)


def on_the_edge(value: float) -> bool:
    """Whether rounding ``value`` down, with the crumb, hangs on the last digit of a float."""
    return abs(value + CRUMB - round(value + CRUMB)) < NOISE
