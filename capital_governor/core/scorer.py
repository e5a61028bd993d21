"""Metrics -> a score in [0, 1], and its four parts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from capital_governor.core.model import Metrics, Rules


class Score(NamedTuple):
    """A score and its four parts, each with its weight applied: ``total == pnl + sharpe + winrate + drawdown``."""

    total: float
    pnl: float
    sharpe: float
    winrate: float
    drawdown: float


def clip01(x: float) -> float:
    """Return ``min(1, max(0, x))``."""
    if x > 1.0:
        return 1.0
    if x > 0.0:
        return x
    return 0.0


def totals(metrics: Iterable[Metrics], rules: Rules) -> list[float]:
    """Return the score of each agent: NeoLight's weighted mean of four clipped ratios.

    ``w1*clip01(pnl_7d/pnl_scale) + w2*clip01(sharpe_30d/sharpe_scale) + w3*winrate_30d
    + w4*(1 - clip01(max_dd_30d/drawdown_scale))``, with ``clip01(x) = min(1, max(0, x))``.

    Args:
        metrics: finite; P&L in account currency, Sharpe ratio per decision, win rate 0..1, drawdown in percent.
        rules: the four weights (adding up to 1) and three scales.
    """
    w1, w2, w3, w4 = rules.pnl_weight, rules.sharpe_weight, rules.winrate_weight, rules.drawdown_weight
    pnl_scale, sharpe_scale, drawdown_scale = rules.pnl_scale, rules.sharpe_scale, rules.drawdown_scale_percent
    return [
        w1 * clip01(pnl_7d / pnl_scale)
        + w2 * clip01(sharpe_30d / sharpe_scale)
        + w3 * clip01(winrate_30d)
        + w4 * (1.0 - clip01(max_dd_30d / drawdown_scale))
        for pnl_7d, sharpe_30d, winrate_30d, max_dd_30d in metrics
    ]


def total(metrics: Metrics, rules: Rules) -> float:
    """Return the score of one agent; see ``totals``."""
    return totals((metrics,), rules)[0]


def score(metrics: Metrics, rules: Rules) -> Score:
    """Return the score of one agent with its parts; a part is the total with all other weights 0."""
    none = replace(rules, pnl_weight=0.0, sharpe_weight=0.0, winrate_weight=0.0, drawdown_weight=0.0)
    return Score(
        total=total(metrics, rules),
        pnl=total(metrics, replace(none, pnl_weight=rules.pnl_weight)),
        sharpe=total(metrics, replace(none, sharpe_weight=rules.sharpe_weight)),
        winrate=total(metrics, replace(none, winrate_weight=rules.winrate_weight)),
        drawdown=total(metrics, replace(none, drawdown_weight=rules.drawdown_weight)),
    )
