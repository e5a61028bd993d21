"""A governor without any safety, as the former one was: what the whole durable cycle is measured against.

Two requests through a common HTTP library, each on a connection of its own, a plain parse, the score, clip and
normalise, two files written over what was there, and a log line for each agent. Nothing is checked, remembered or made
durable.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Final, TextIO

import httpx

MIN_ALLOC: Final = 0.05
MAX_ALLOC: Final = 0.40


def new_client(url: str) -> httpx.Client:
    """Return what asks the dashboard; like the governor's, it opens a connection for each request."""
    return httpx.Client(base_url=url, trust_env=False, headers={"Connection": "close"}, timeout=10)


def unsafe_cycle(client: httpx.Client, primary: Path, override: Path, log: TextIO) -> float:
    """Ask, decide and write; return the seconds it took."""
    start = time.perf_counter()
    client.get("/status")
    payload = json.loads(client.get("/meta/metrics").content)
    multiplier = min(1.0, payload["market_regime"]["risk_multiplier"])
    scores = {agent: score(record) * multiplier for agent, record in payload["per_agent"].items()}
    clipped = {agent: max(MIN_ALLOC, min(MAX_ALLOC, value)) for agent, value in scores.items()}
    total = sum(clipped.values())
    allocations = {agent: round(value / total, 4) for agent, value in clipped.items()}
    document = {"allocations": allocations, "source": "capital_governor", "timestamp": time.time()}
    write(primary, document | {"min_allocation": MIN_ALLOC, "max_allocation": MAX_ALLOC})
    write(override, document)
    for agent, record in payload["per_agent"].items():
        parts = f"PnL={record['pnl_7d']:.2f}, Sharpe={record['sharpe_30d']:.3f}, WR={record['winrate_30d']:.3f}"
        print(f"[capital_governor] {agent}: score={scores[agent]:.4f} ({parts})", file=log, flush=True)
    return time.perf_counter() - start


def score(record: dict[str, float]) -> float:
    """Return NeoLight's score of one agent."""
    pnl = max(0.0, min(1.0, record["pnl_7d"] / 10_000.0))
    sharpe = max(0.0, min(1.0, record["sharpe_30d"] / 3.0))
    drawdown = max(0.0, 1.0 - record["max_dd_30d"] / 20.0)
    return 0.40 * pnl + 0.30 * sharpe + 0.20 * record["winrate_30d"] + 0.10 * drawdown


def write(path: Path, document: dict[str, Any]) -> None:
    """Write a file over what was there."""
    path.write_text(json.dumps(document, indent=2))
