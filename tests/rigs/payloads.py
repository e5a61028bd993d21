"""Payloads in bytes, sound and of any values, and what must hold of whatever is made of one."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st

from capital_governor.contracts.payload import parse
from capital_governor.contracts.text import NAME, clean
from capital_governor.core.model import Refusal
from capital_governor.core.reason import Reason

RECORD: dict[str, Any] = {
    "pnl_1d": 125.5,
    "pnl_7d": 850.0,
    "sharpe_30d": 1.234,
    "winrate_30d": 0.65,
    "max_dd_30d": 2.5,
    "total_decisions": 45,
    "revenue_24h": 0.0,
}


PAYLOAD: dict[str, Any] = {
    "timestamp": "2025-11-03T22:00:00+00:00",
    "cache_timestamp": "2025-11-03T22:00:01.123456",
    "per_agent": {"SmartTrader": RECORD, "DropshipAgent": {**RECORD, "pnl_7d": 350}},
    "per_strategy": {"pairs_trading": {"sharpe_30d": 1.8, "trade_count": 0}},
    "guardian": {"is_paused": False, "drawdown": 1.5, "reason": "Normal operation", "extra": [1]},
    "breakers": {"quote_state": "CLOSED"},
    "mode": "TEST_MODE",
    "market_regime": {"regime": "SIDEWAYS", "risk_multiplier": 0.8, "timestamp": "2025-11-03T22:00:00+00:00"},
}


def hold_to_the_promise(body: bytes) -> None:
    result = parse(body)
    if isinstance(result, Refusal):
        assert result.reason is Reason.PAYLOAD_REFUSED
        assert result.detail
        assert result.detail.isprintable()
        assert len(result.detail) < 400
        return
    assert result.at is None or math.isfinite(result.at)
    for name, metrics in result.metrics.items():
        assert NAME.fullmatch(name)
        assert name.casefold() not in {"reserve", "allocations"}
        assert abs(metrics.pnl_7d) <= 1e12
        assert math.isfinite(metrics.sharpe_30d)
        assert 0 <= metrics.winrate_30d <= 1
        assert 0 <= metrics.max_dd_30d < math.inf
    assert list(result.metrics) == sorted(result.metrics)
    assert list(result.faults) == sorted(result.faults)
    assert not result.metrics.keys() & result.faults.keys()
    for text in (*result.faults, *result.faults.values(), *result.warnings):
        assert text
        assert text.isprintable()
        assert len(text) < 400
    if result.guardian:
        assert isinstance(result.guardian.is_paused, bool)
        assert result.guardian.reason == clean(result.guardian.reason)
        assert result.guardian.drawdown_percent is None or 0 <= result.guardian.drawdown_percent < math.inf
    if result.regime:
        assert result.regime.name == clean(result.regime.name)
        assert result.regime.risk_multiplier is None or 0 <= result.regime.risk_multiplier <= 10


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, 1e12, 1.0, 0.5, 0, "NaN", "1_000", "2025-11-03T22:00:00Z", "0001-01-01"])
    | st.floats()
    | st.text(st.characters(), max_size=8),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(st.characters(), max_size=4), children, max_size=3)
    ),
    max_leaves=6,
)
