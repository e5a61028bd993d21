"""Metrics -> a score in [0, 1] and its four parts."""

from __future__ import annotations

from capital_governor.core.model import Metrics, Rules, of_fields
from capital_governor.core.trace import Score


def clip01(x: float) -> float:
    """Return ``min(1, max(0, x))``."""
    if x < 0.0:
        return 0.0
    return x if x < 1.0 else 1.0  # noqa: FURB136 - a call of min() costs twice as much, four times an agent and cycle


def score(metrics: Metrics, rules: Rules) -> Score:
    """Return the score of one agent: NeoLight's weighted mean of four clipped ratios.

    ``w1*clip01(pnl_7d/pnl_scale) + w2*clip01(sharpe_30d/sharpe_scale) + w3*winrate_30d
    + w4*(1 - clip01(max_dd_30d/drawdown_scale))``, with ``clip01(x) = min(1, max(0, x))``.

    Args:
        metrics: finite; P&L in account currency, Sharpe ratio per decision, win rate 0..1, drawdown in percent.
        rules: the four weights (adding up to 1) and three scales.
    """
    pnl_7d, sharpe_30d, winrate_30d, max_dd_30d = metrics
    pnl = rules.pnl_weight * clip01(pnl_7d / rules.pnl_scale)
    sharpe = rules.sharpe_weight * clip01(sharpe_30d / rules.sharpe_scale)
    winrate = rules.winrate_weight * clip01(winrate_30d)
    drawdown = rules.drawdown_weight * (1.0 - clip01(max_dd_30d / rules.drawdown_scale_percent))
    return of_fields(Score, (pnl + sharpe + winrate + drawdown, pnl, sharpe, winrate, drawdown))
