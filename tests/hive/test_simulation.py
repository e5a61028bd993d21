"""The simulated fleet: repeatable, whole files, and a story that the governor answers as it should."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest

from capital_governor.contracts.payload import parse
from capital_governor.core.model import Snapshot
from capital_governor.hive import simulation
from capital_governor.hive.metrics import payload
from capital_governor.hive.simulation import (
    CALM_DAY,
    CRASH_DAY,
    FADES_DAY,
    FAULTY,
    FAULTY_DAYS,
    FLEET,
    JOINS_DAY,
    PAUSED_DAYS,
    Fleet,
)
from capital_governor.hive.state_files import (
    PAUSE,
    PERFORMANCE,
    REGIME,
    StateFile,
    StateFiles,
    read_all,
    read_state_file,
)
from tests.rigs.fleet_files import NOW
from tests.rigs.patience import PATIENCE_SECONDS

CAPITAL = 100_000.0


def at(day: float, seed: int = 7) -> Fleet:
    fleet = Fleet(seed)
    fleet.run_to(day)
    return fleet


def texts(fleet: Fleet, now: float) -> str:
    """All files in one text, without what is a time."""
    whole = json.dumps([[str(path), content] for path, content in fleet.documents(now).items()])
    return re.sub(r'"\d{4}-\d\d-\d\dT[^"]*"', '"TIME"', whole)


def seen(fleet: Fleet) -> dict[str, Any]:
    """What the hive makes of the files."""
    found = (StateFile(document, "" if document else "missing") for document in fleet.documents(NOW).values())
    return payload(StateFiles(*found), NOW, CAPITAL)


def test_the_same_seed_gives_the_same_files() -> None:
    """Seed and day decide every byte but the times, however many steps led there and whenever it is."""
    slow = Fleet(7)
    for tenth in range(141):
        slow.run_to(tenth / 10)
    assert texts(slow, NOW) == texts(at(14.0), NOW + 12_345.0)
    first, second = ([entry["pnl"] for entry in seen_decisions(at(14.0, seed))] for seed in (7, 8))
    assert sum(one == other for one, other in zip(first, second, strict=True)) < len(first) / 10


def test_one_agents_luck_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an agent earns does not depend on who else is in the fleet."""

    def profits() -> list[float]:
        return [entry["pnl"] for entry in seen_decisions(at(3)) if entry["agent"] == "GridKeeper"]

    among_all = profits()
    monkeypatch.setattr(simulation, "FLEET", {"GridKeeper": FLEET["GridKeeper"]})
    assert profits() == among_all
    assert len(set(among_all)) > 100


def seen_decisions(fleet: Fleet) -> list[dict[str, Any]]:
    document = fleet.documents(NOW)[PERFORMANCE]
    assert document is not None
    return list(document["decisions"])


def test_thirty_days_lie_behind_it() -> None:
    """From the first moment there are five agents with a month of trades that ends now, and no more than are kept."""
    for day in (0.0, 10.0, 26.0):
        decisions = seen_decisions(at(day))
        assert len(decisions) <= 1_000
        assert {entry["agent"] for entry in decisions} >= FLEET.keys() - {"LateJoiner"}
        found = parse(json.dumps(seen(at(day))).encode())
        assert isinstance(found, Snapshot)
        assert found.faults == {}


def test_characters() -> None:
    """The steady agent has the better Sharpe ratio of the two, the losing one loses, the decaying one decays."""
    early, late = (seen(at(day))["per_agent"] for day in (FADES_DAY, FADES_DAY + 6))
    assert early["GridKeeper"]["sharpe_30d"] > early["TrendRider"]["sharpe_30d"]
    assert early["TrendRider"]["max_dd_30d"] > early["GridKeeper"]["max_dd_30d"]
    assert early["NewsScalper"]["pnl_7d"] < 0
    assert early["MomentumFox"]["pnl_7d"] > 3_000
    assert late["MomentumFox"]["pnl_7d"] < 0
    assert early["DropshipAgent"]["revenue_total"] > 0


def test_the_story() -> None:
    """Pause, crash, fault, newcomer and calm come on their days and end on theirs."""
    regimes = [seen(at(day))["market_regime"]["risk_multiplier"] for day in (0, CRASH_DAY, CALM_DAY)]
    assert regimes == [1.2, 0.5, 0.8]
    for (begin, end), told in (
        (PAUSED_DAYS, lambda day: seen(at(day))["guardian"]["is_paused"]),
        (FAULTY_DAYS, lambda day: "problem" in seen(at(day))["per_agent"][FAULTY]),
        ((JOINS_DAY, 99), lambda day: "LateJoiner" in seen(at(day))["per_agent"]),
    ):
        assert [told(day) for day in (begin - 0.25, begin, begin + 0.25, end - 0.25, end)] in (
            [False, True, True, True, False],
            [False, False, True, True, False],  # the newest trade is still open
            [False, True, True, True, True],
        )
    joined = seen(at(JOINS_DAY))["per_agent"]["LateJoiner"]
    assert "problem" not in joined


@pytest.mark.parametrize("seed", range(8))
def test_the_fleets_drawdown_stays_a_simulation_not_a_catastrophe(seed: int) -> None:
    """No seed brings the fleet to where nothing but Guardian's drawdown decides."""
    for day in (0, 8, 16, 24):
        assert seen(at(day, seed))["guardian"]["drawdown"] < 15.0


def test_files_are_replaced_whole(tmp_path: Path) -> None:
    """A reader that never stops reading sees whole files only; the pause file goes when the pause is over."""
    fleet, done, problems = Fleet(7), threading.Event(), set[str]()
    fleet.write(tmp_path, NOW)

    def watch() -> None:
        while not done.is_set():
            problems.add(read_state_file(tmp_path / PERFORMANCE).problem)
            problems.add(read_state_file(tmp_path / REGIME).problem)

    reader = threading.Thread(target=watch)
    reader.start()
    try:
        for day in (2, 5, PAUSED_DAYS[0], PAUSED_DAYS[1], 20):
            fleet.run_to(day)
            fleet.write(tmp_path, NOW)
            assert (tmp_path / PAUSE).exists() is (day == PAUSED_DAYS[0])
    finally:
        done.set()
        reader.join(PATIENCE_SECONDS)
    assert problems == {""}
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == [
        "performance_attribution.json",
        "revenue_by_agent.json",
        "strategy_performance.json",
    ]
    assert "error" not in payload(read_all(tmp_path), NOW, CAPITAL)
