"""State files -> the Phase 5600 payload. Pure: the same files and the same ``now`` always give the same payload.

What cannot be known is null and said so, never zero: the reader of a null must hold on to what it knew, where a zero
would look like a bad agent, or a quiet one.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from capital_governor.hive.decisions import History, Record, Trade, instant, number, record_of
from capital_governor.hive.state_files import PERFORMANCE, REGIME, StateFile, StateFiles

DAY_SECONDS: Final = 86_400.0
WINDOW_DAYS: Final = 30
FEWEST_DAYS: Final = 2
SILENT_SECONDS: Final = DAY_SECONDS
"""Nothing recorded for longer than this is taken for a dead recorder, not for a quiet fleet."""
REGIME_AGE_SECONDS: Final = 900.0
"""Three times the interval at which NeoLight's regime detector writes."""


def payload(files: StateFiles, now: float, capital: float) -> dict[str, Any]:
    """Return the payload of ``GET /meta/metrics``, or ``{"error": ..., "timestamp": ..., "sources": ...}``.

    An error is whatever could make an unhealthy fleet look healthy: the decisions cannot be read, hold no agent or
    have not been added to for a day; the market regime is there and cannot be read.

    Args:
        files: as they were found.
        now: seconds since 1970 UTC; every window ends here.
        capital: what the fleet's account held 30 days ago, in account currency.
    """
    record = _record(files.performance, now)
    if isinstance(record, str):
        return _refusal(f"{PERFORMANCE} {record}", files, now)
    if files.regime.problem and not files.regime.missing:
        return _refusal(f"{REGIME}: {files.regime.problem}", files, now)
    listed = {agent: history for agent, history in record.agents.items() if _recent(history, now)}
    if not listed:
        return _refusal(f"{PERFORMANCE} holds no decision of the last {WINDOW_DAYS} days", files, now)
    revenue = _revenue(files.revenue)
    per_agent = {agent: _agent(history, revenue.get(agent), now, capital) for agent, history in listed.items()}
    per_strategy = _strategies(files.strategies)
    return {
        "timestamp": _iso(now),
        "cache_timestamp": _iso(now),
        "per_agent": per_agent,
        "per_strategy": per_strategy,
        "guardian": _guardian(files.pause, listed, now, capital),
        "market_regime": dict(files.regime.document or {}),
        "summary": {
            "total_agents": len(per_agent),
            "total_strategies": len(per_strategy),
            "top_agent": _top(per_agent, "pnl_7d"),
            "top_strategy": _top(per_strategy, "score"),
        },
        "source": "capital_governor_hive",
        "sources": _sources(files),
        "warnings": [*record.warnings, *_regime_warnings(files.regime, now)],
    }


def windowed(trades: Sequence[Trade], now: float, days: float) -> list[Trade]:
    """Return the trades of the last ``days`` x 24 h: ``now - days < at``; oldest first, as they came.

    One that is dated a few seconds ahead counts as made now.
    """
    return list(trades[bisect_right(trades, now - days * DAY_SECONDS, key=lambda trade: trade.at) :])


def daily_sharpe(trades: Sequence[Trade], now: float, capital: float) -> float | None:
    """Return the daily Sharpe ratio over at most 30 days, not annualised; None where it is not defined.

    ``mean(r) / stdev(r)`` of the daily returns ``r = profit of the day / capital``, with the sample deviation (n - 1)
    and a riskless rate of 0 (Sharpe 1994, "The Sharpe Ratio", ex post). Days are 24 hours long and counted back from
    ``now``; days without a trade count as 0; days before the first trade do not count. It needs two days, and returns
    that are not all alike (all zero: the ratio is 0). Times sqrt(365) it is the usual annual figure.
    """
    recent = windowed(trades, now, WINDOW_DAYS)
    if not recent:
        return None
    count = min(WINDOW_DAYS, max(1, math.ceil((now - recent[0].at) / DAY_SECONDS)))
    if len(recent) < len(trades):  # it traded before the window, so it was there on all its days
        count = WINDOW_DAYS
    if count < FEWEST_DAYS:
        return None
    profits: list[list[float]] = [[] for _ in range(count)]
    for trade in recent:
        profits[min(count - 1, max(0, math.floor((now - trade.at) / DAY_SECONDS)))].append(trade.pnl)
    returns = [math.fsum(day) / capital for day in profits]
    mean = math.fsum(returns) / count
    deviation = math.sqrt(math.fsum((each - mean) ** 2 for each in returns) / (count - 1))
    if deviation <= 1e-12 * max(map(abs, returns)):  # all alike but for the last digits
        return 0.0 if mean == 0.0 else None
    return mean / deviation


def win_rate(trades: Sequence[Trade]) -> float | None:
    """Return the part of trades with a profit above 0, 0..1; None without trades."""
    return sum(trade.pnl > 0 for trade in trades) / len(trades) if trades else None


def max_drawdown_percent(trades: Iterable[Trade], capital: float) -> float:
    """Return the deepest fall of the equity curve below its highest point so far, in percent of that point.

    The curve begins at ``capital`` and rises or falls with each trade. 0 without a loss; above 100 only where more
    than everything was lost.
    """
    return max((100.0 * (peak - equity) / peak for peak, equity in _curve(trades, capital)), default=0.0)


def drawdown_percent(trades: Iterable[Trade], capital: float) -> float:
    """Return how far the equity curve stands below its highest point now, in percent of that point."""
    last = deque(_curve(trades, capital), maxlen=1)
    return sum(100.0 * (peak - equity) / peak for peak, equity in last)


def _curve(trades: Iterable[Trade], capital: float) -> Iterable[tuple[float, float]]:
    """Yield the highest point so far and the equity after each trade."""
    equity = peak = capital
    for trade in trades:
        equity += trade.pnl
        peak = max(peak, equity)
        yield peak, equity


# --- the parts of the payload -----------------------------------------------------------------------------------------


def _record(file: StateFile, now: float) -> Record | str:
    if file.document is None:
        return f"cannot be used: {file.problem}"
    record = record_of(file.document, now)
    if isinstance(record, str) or record.updated_at is None:
        return record if isinstance(record, str) else "holds no decision"
    silent = now - record.updated_at
    if silent > SILENT_SECONDS:
        return f"was last added to {silent / 3600:.0f} h ago: what records decisions seems to be dead"
    return record


def _recent(history: History, now: float) -> bool:
    """Whether the agent decided anything in the window; one with an unreadable time may have."""
    latest = history.latest_at
    return bool(history.problem) or (latest is not None and now - latest < WINDOW_DAYS * DAY_SECONDS)


def _agent(history: History, revenue: Mapping[str, Any] | None, now: float, capital: float) -> dict[str, Any]:
    month = windowed(history.trades, now, WINDOW_DAYS)
    record: dict[str, Any] = dict.fromkeys(("pnl_1d", "pnl_7d", "sharpe_30d", "winrate_30d", "max_dd_30d"))
    problem = history.problem
    if not problem and month:
        record["pnl_1d"] = _pnl(history.trades, now, 1)
        record["pnl_7d"] = _pnl(history.trades, now, 7)
        record["sharpe_30d"] = daily_sharpe(history.trades, now, capital)
        record["winrate_30d"] = win_rate(month)
        record["max_dd_30d"] = max_drawdown_percent(month, capital)
        if record["sharpe_30d"] is None:
            problem = "no Sharpe ratio: it needs two days of attributed decisions, and returns that are not all alike"
    elif not problem:
        problem = f"no attributed decision in {WINDOW_DAYS} days"
    record["total_decisions"] = history.total
    record |= _revenue_of(revenue, now)
    return record | ({"problem": problem} if problem else {})


def _pnl(trades: Sequence[Trade], now: float, days: float) -> float:
    return math.fsum(trade.pnl for trade in windowed(trades, now, days))


def _revenue(file: StateFile) -> Mapping[str, Any]:
    agents = (file.document or {}).get("agents")
    return agents if isinstance(agents, dict) else {}


def _revenue_of(entry: object, now: float) -> dict[str, float | None]:
    """Return revenue in account currency. Of the last 24 hours it is known if said, or if nothing came in since."""
    if not isinstance(entry, Mapping):
        return {"revenue_24h": None, "revenue_total": None}
    day, last = number(entry.get("revenue_24h")), instant(entry.get("last_transaction"))
    if day is None and last is not None and now - last >= DAY_SECONDS:
        day = 0.0
    return {"revenue_24h": day, "revenue_total": number(entry.get("total_revenue"))}


def _strategies(file: StateFile) -> dict[str, Any]:
    """Return what the file says of each strategy; what it does not say is null."""
    found: dict[str, Any] = {}
    for group in ("ranked_strategies", "active_strategies"):
        entries = (file.document or {}).get(group)
        for entry in entries if isinstance(entries, list) else []:
            name = entry.get("strategy") if isinstance(entry, dict) else None
            if isinstance(name, str) and name.isprintable() and name:
                found[name] = {
                    "pnl_1d": None,
                    "pnl_7d": None,
                    "sharpe_30d": number(entry.get("sharpe")),
                    "winrate_30d": None,
                    "max_dd_30d": number(entry.get("drawdown")),
                    "trade_count": None,
                    "score": number(entry.get("score")),
                }
    return found


def _guardian(file: StateFile, agents: Mapping[str, History], now: float, capital: float) -> dict[str, Any]:
    """Return the pause, over once its ``until`` is past, and the whole fleet's drawdown."""
    trades = sorted((each for history in agents.values() for each in history.trades), key=lambda trade: trade.at)
    reason = _pause(file, now)
    fallen = drawdown_percent(windowed(trades, now, WINDOW_DAYS), capital)
    return {"is_paused": bool(reason), "drawdown": fallen, "reason": reason or "Normal operation"}


def _pause(file: StateFile, now: float) -> str:
    """Return why the fleet is paused; empty if it is not. What cannot be understood is a pause."""
    document = {"paused": False} if file.missing else file.document
    if document is None:
        return f"the pause file cannot be understood: {file.problem}"
    paused, until, reason = document.get("paused"), document.get("until"), document.get("reason")
    if not isinstance(paused, bool):
        return "the pause file cannot be understood: it does not say whether it is paused"
    end = instant(until)
    if paused and until is not None and end is None:
        return "the pause file cannot be understood: its until is no time"
    if not paused or (end is not None and end <= now):
        return ""
    return reason if isinstance(reason, str) and reason else "Guardian intervention"


def _regime_warnings(file: StateFile, now: float) -> list[str]:
    at = instant((file.document or {}).get("timestamp"))
    if at is None or now - at <= REGIME_AGE_SECONDS:
        return []
    return [f"{REGIME} is {now - at:.0f} s old: what detects the market regime seems to be dead"]


def _sources(files: StateFiles) -> dict[str, str]:
    return {path: file.problem or "read" for path, file in files.by_path.items()}


def _refusal(error: str, files: StateFiles, now: float) -> dict[str, Any]:
    return {"error": error, "timestamp": _iso(now), "sources": _sources(files)}


def _top(records: Mapping[str, Mapping[str, Any]], field: str) -> str | None:
    known = {name: record[field] for name, record in records.items() if record[field] is not None}
    return max(known, key=lambda name: known[name], default=None)


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat()
