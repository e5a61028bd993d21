"""Scores worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capital_governor.core.model import Metrics, Rules
from capital_governor.core.scorer import score
from tests.rigs.builders import examples

MODEST = Metrics(pnl_7d=850.0, sharpe_30d=1.234, winrate_30d=0.65, max_dd_30d=2.5)


def test_a_score_and_its_parts_by_hand() -> None:
    """NeoLight's formula with its default weights and scales."""
    # pnl      0.40 * 850 / 10000    = 0.034
    # sharpe   0.30 * 1.234 / 3      = 0.1234
    # winrate  0.20 * 0.65           = 0.13
    # drawdown 0.10 * (1 - 2.5 / 20) = 0.0875
    found = score(MODEST, Rules())
    assert (found.pnl, found.sharpe, found.winrate, found.drawdown) == pytest.approx((0.034, 0.1234, 0.13, 0.0875))
    assert found.total == pytest.approx(0.3749)
    # 0.40 * 0.035 + 0.30 * 0.85 / 3 + 0.20 * 0.72 + 0.10 * (1 - 0.06) = 0.014 + 0.085 + 0.144 + 0.094
    assert score(Metrics(350.0, 0.85, 0.72, 1.2), Rules()).total == pytest.approx(0.337)


@pytest.mark.parametrize(
    ("metrics", "parts"),
    [
        pytest.param(Metrics(-500.0, -1.0, 0.0, 20.0), (0.0, 0.0, 0.0, 0.0), id="the worst of all"),
        pytest.param(Metrics(10_000.0, 3.0, 1.0, 0.0), (0.4, 0.3, 0.2, 0.1), id="the best of all"),
        pytest.param(Metrics(1e12, 99.0, 1.5, 0.0), (0.4, 0.3, 0.2, 0.1), id="beyond the best counts as the best"),
        pytest.param(Metrics(0.0, 0.0, 0.0, 850.0), (0.0, 0.0, 0.0, 0.0), id="a drawdown in currency is the worst"),
    ],
)
def test_every_part_is_clipped(metrics: Metrics, parts: tuple[float, ...]) -> None:
    """No part is below 0 or above its weight, however far off the metric is."""
    found = score(metrics, Rules())
    assert (found.pnl, found.sharpe, found.winrate, found.drawdown) == pytest.approx(parts, abs=1e-15)
    assert found.total == pytest.approx(sum(parts), abs=1e-15)


def test_weights_and_scales_are_settings() -> None:
    """Other weights and scales give another score, again by hand."""
    rules = Rules(
        pnl_weight=0.1,
        sharpe_weight=0.2,
        winrate_weight=0.3,
        drawdown_weight=0.4,
        pnl_scale=1700.0,
        sharpe_scale=2.468,
        drawdown_scale_percent=10.0,
    )
    # 0.1 * 0.5 + 0.2 * 0.5 + 0.3 * 0.65 + 0.4 * 0.75 = 0.05 + 0.1 + 0.195 + 0.3
    assert score(MODEST, rules).total == pytest.approx(0.645)


LARGE = st.floats(-1e12, 1e12)


@examples(300)
@given(LARGE, st.floats(-100.0, 100.0), st.floats(0.0, 1.0), st.floats(0.0, 1e6), st.floats(0.0, 1e3))
def test_a_score_is_0_to_1_and_rises_with_merit(
    pnl: float, sharpe: float, winrate: float, drawdown: float, more: float
) -> None:
    """Every score is within 0..1, the sum of its parts, and no better metric ever lowers it."""
    metrics = Metrics(pnl, sharpe, winrate, drawdown)
    found = score(metrics, Rules())
    assert 0.0 <= found.total <= 1.0 + 1e-15
    assert found.total == found.pnl + found.sharpe + found.winrate + found.drawdown
    better = (
        metrics._replace(pnl_7d=pnl + more),
        metrics._replace(sharpe_30d=sharpe + more),
        metrics._replace(winrate_30d=min(1.0, winrate + more)),
        metrics._replace(max_dd_30d=max(0.0, drawdown - more)),
    )
    assert all(score(other, Rules()).total >= found.total for other in better)
