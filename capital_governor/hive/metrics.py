"""State files -> the Phase 5600 payload. Pure: the same files and the same ``now`` always give the same payload.

An unknown figure is null, never zero: with a null the governor keeps the last known value, while a zero would look like
a bad or inactive agent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from capital_governor.contracts.instants import Instant, read_instant
from capital_governor.hive.day_sums import DAY_SECONDS
from capital_governor.hive.decisions import KEPT_DECISIONS, DecisionFile, History, number
from capital_governor.hive.joined_decisions import NO_ZONE, gaps_of, joined, nobody, usable_record
from capital_governor.hive.past import Past, iso
from capital_governor.hive.reported_decisions import FOLDER, Reported
from capital_governor.hive.state_files import PAUSE, REGIME, REVENUE, StateFile, StateFiles
from capital_governor.hive.trade_statistics import (
    WINDOW_DAYS,
    Gap,
    daily_sharpe,
    drawdown_percent,
    in_order,
    max_drawdown_percent,
    profit,
    win_rate,
    windowed,
    windowed_days,
)

REGIME_AGE_SECONDS: Final = 900.0
"""Three times the interval at which NeoLight's regime detector writes."""
NOTHING: Final = Reported()


def payload(
    files: StateFiles,
    now: float,
    capital: float,
    past: Past | None = None,
    warnings: Sequence[str] = (),
    reported: Reported = NOTHING,
) -> dict[str, Any]:
    """Return the payload of ``GET /meta/metrics``, or ``{"error": ..., "timestamp": ..., "sources": ...}``.

    The result is an error if an unhealthy fleet could look healthy: the decisions cannot be read, have no agent, or
    had no addition for a day; or the file of the market regime exists and cannot be read.

    Args:
        files: the state files.
        now: seconds since 1970 UTC; every window ends here.
        capital: what the fleet's account held 30 days ago, in account currency.
        past: history of decisions that are no longer in the file; None: nothing is known.
        warnings: about ``past``, copied into the payload.
        reported: what agents have reported themselves.
    """
    whole = past or Past()
    record = usable_record(files.performance, whole, reported, now)
    if isinstance(record, str):
        return _refusal(record, files, reported, now)
    if files.regime.problem and not files.regime.missing:
        return _refusal(f"{REGIME}: {files.regime.problem}", files, reported, now)
    listed = joined(record, whole, reported, now)
    if not listed:
        return _refusal(nobody(record, reported), files, reported, now)
    revenue = _revenue(files.revenue)
    per_agent = {
        agent: _agent(history, gaps_of(agent, whole, reported), now, capital) | _revenue_of(revenue.get(agent), now)
        for agent, history in listed.items()
    }
    per_strategy = _strategies(files.strategies)
    return {
        "timestamp": _iso(now),
        "cache_timestamp": _iso(now),
        "per_agent": per_agent,
        "per_strategy": per_strategy,
        "guardian": _guardian(files.pause, listed, (whole, reported.past), now, capital),
        "market_regime": dict(files.regime.document or {}),
        "summary": {
            "total_agents": len(per_agent),
            "total_strategies": len(per_strategy),
            "top_agent": _top(per_agent, "pnl_7d"),
            "top_strategy": _top(per_strategy, "score"),
        },
        "source": "capital_governor_hive",
        "sources": _sources(files, reported),
        "warnings": [
            *record.warnings,
            *_beginning(record, past, now),
            *warnings,
            *reported.warnings,
            *_regime_warnings(files.regime, now),
            *_naive(files),
        ],
    }


# --- the parts of the payload -----------------------------------------------------------------------------------------


def _agent(history: History, gaps: Sequence[Gap], now: float, capital: float) -> dict[str, Any]:
    month, days = windowed(history.trades, now, WINDOW_DAYS), windowed_days(history.days, now, WINDOW_DAYS)
    record: dict[str, Any] = dict.fromkeys(("pnl_1d", "pnl_7d", "sharpe_30d", "winrate_30d", "max_dd_30d"))
    problem = history.problem
    if not problem and (month or days):
        record["pnl_1d"] = profit(history.trades, now, 1, history.days)
        record["pnl_7d"] = profit(history.trades, now, 7, history.days)
        record["winrate_30d"] = win_rate(month, days)
        record["max_dd_30d"] = max_drawdown_percent(in_order(days, month), capital)
        sharpe = daily_sharpe(history.trades, now, capital, history.days, history.first_at, gaps)
        if isinstance(sharpe, str):
            problem = f"no Sharpe ratio: {sharpe}"
        else:
            record["sharpe_30d"] = sharpe
    elif not problem:
        problem = _without_trades(history)
    record["total_decisions"] = history.total
    return record | ({"problem": problem} if problem else {})


def _without_trades(history: History) -> str:
    counts = (
        (history.waiting, "in the file not attributed yet"),
        (history.lost, "that left the file before they were attributed"),
    )
    known = ", ".join(f"{count} {what}" for count, what in counts if count)
    return f"no attributed decision in {WINDOW_DAYS} days" + (f": it has {known}" if known else "")


def _revenue(file: StateFile) -> Mapping[str, Any]:
    agents = (file.document or {}).get("agents")
    return agents if isinstance(agents, dict) else {}


def _revenue_of(entry: object, now: float) -> dict[str, float | None]:
    """Return revenue in account currency; that of the last 24 hours is 0 if the last transaction is older."""
    if not isinstance(entry, Mapping):
        return {"revenue_24h": None, "revenue_total": None}
    day, last = number(entry.get("revenue_24h")), read_instant(entry.get("last_transaction"))
    if day is None and last is not None and now - last.latest >= DAY_SECONDS:
        day = 0.0
    return {"revenue_24h": day, "revenue_total": number(entry.get("total_revenue"))}


def _strategies(file: StateFile) -> dict[str, Any]:
    """Return the figures of each strategy; missing ones are null."""
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


def _guardian(
    file: StateFile, agents: Mapping[str, History], pasts: Iterable[Past], now: float, capital: float
) -> dict[str, Any]:
    """Return the pause, which ends at its ``until``, and the drawdown of the whole fleet."""
    trades = sorted((each for history in agents.values() for each in history.trades), key=lambda trade: trade.at)
    reason = _pause(file, now)
    days = [sums for past in pasts for sums in windowed_days(past.fleet, now, WINDOW_DAYS)]
    fallen = drawdown_percent(in_order(days, windowed(trades, now, WINDOW_DAYS)), capital)
    return {"is_paused": bool(reason), "drawdown": fallen, "reason": reason or "Normal operation"}


def _pause(file: StateFile, now: float) -> str:
    """Return why the fleet is paused; empty if it is not. A file that cannot be read is a pause."""
    document = {"paused": False} if file.missing else file.document
    if document is None:
        return f"{PAUSE} cannot be understood ({file.problem}): correct it, or remove it to end the pause"
    paused, until, reason = document.get("paused"), document.get("until"), document.get("reason")
    if not isinstance(paused, bool):
        return f"{PAUSE} does not say whether it is paused: write true or false, or remove it to end the pause"
    end = read_instant(until)
    if paused and until is not None and end is None:
        return f"{PAUSE} has an until that is no time: correct it, or remove it to end the pause"
    if not paused or (end is not None and end.latest <= now):
        return ""
    return reason if isinstance(reason, str) and reason else "Guardian intervention"


def _regime_warnings(file: StateFile, now: float) -> list[str]:
    at = read_instant((file.document or {}).get("timestamp"))
    if at is None or now - at.earliest <= REGIME_AGE_SECONDS:
        return []
    return [f"{REGIME} is {now - at.earliest:.0f} s old: what detects the market regime seems to be dead"]


def _beginning(record: DecisionFile, past: Past | None, now: float) -> list[str]:
    """Warn that windows are shorter than 30 days, if the file is full and the history began recently."""
    known = [at for at in (record.oldest_at, past.since if past else None) if at is not None]
    begin = min(known, default=now)
    if len(record.entries) < KEPT_DECISIONS or begin <= now - WINDOW_DAYS * DAY_SECONDS:
        return []
    sentence = (
        f"the file holds {len(record.entries)} decisions, which is all that is kept, and none from before {iso(begin)}"
        " is known: windows that begin sooner are cut short"
    )
    return [sentence]


def _naive(files: StateFiles) -> list[str]:
    """Warn of times without a zone and how they are read; ``record_of`` warns of those of decisions."""
    until = read_instant((files.pause.document or {}).get("until"))
    regime = read_instant((files.regime.document or {}).get("timestamp"))
    sales = [entry.get("last_transaction") for entry in _revenue(files.revenue).values() if isinstance(entry, dict)]
    said = []
    if _has_no_zone(until):
        said.append(f"{PAUSE}: until {NO_ZONE}: it counts until the later of UTC and local time")
    if _has_no_zone(regime):
        said.append(f"{REGIME}: timestamp {NO_ZONE}: the older of UTC and local time counts")
    if any(_has_no_zone(read_instant(sale)) for sale in sales):
        said.append(f"{REVENUE}: a last_transaction {NO_ZONE}: the later of UTC and local time counts")
    return said


def _has_no_zone(at: Instant | None) -> bool:
    return at is not None and at.naive


def _sources(files: StateFiles, reported: Reported) -> dict[str, str]:
    found = {path: file.problem or "read" for path, file in files.by_path.items()}
    return found | {str(FOLDER): reported.problem or "read"}


def _refusal(error: str, files: StateFiles, reported: Reported, now: float) -> dict[str, Any]:
    return {"error": error, "timestamp": _iso(now), "sources": _sources(files, reported)}


def _top(records: Mapping[str, Mapping[str, Any]], field: str) -> str | None:
    known = {name: record[field] for name, record in records.items() if record[field] is not None}
    return max(known, key=lambda name: known[name], default=None)


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat()
