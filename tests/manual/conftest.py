"""Places that the tests of the manual share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.manual.pages import (
    FLEET_OF_EXAMPLE,
)
from tests.manual.program import Place, as_shown, records
from tests.rigs.dashboard import Dashboard, fixed, fresh
from tests.rigs.patience import wait_until


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with Dashboard(fresh(records(FLEET_OF_EXAMPLE), risk=0.8)) as dashboard:
        yield Place(tmp_path_factory.mktemp("neolight"), dashboard)


@pytest.fixture(scope="session")
def log(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What ``run`` says while happens what the manual's log shows."""
    root = tmp_path_factory.mktemp("logged")
    fleet = records(FLEET_OF_EXAMPLE)
    better = fleet | {"DropshipAgent": fleet["DropshipAgent"] | {"sharpe_30d": 1.0}}
    faulty = fleet | {"NewsScalper": fleet["NewsScalper"] | {"winrate_30d": 65}}
    pause, override = root / "state" / "guardian_pause.json", root / "runtime" / "allocations_override.json"
    with Dashboard(fresh(fleet, risk=0.8)) as dashboard:
        place, path = Place(root, dashboard), root / "log"

        def until(text: str) -> None:
            wait_until(lambda: text in path.read_text())

        with place.running(path, INTERVAL=0.15):
            until("the proposal is what is published")
            dashboard.next(fresh(better, risk=0.8))
            until("largest change 0.0048")
            dashboard.next(fresh(fleet, risk=0.5))
            until("(generation 2)")
            pause.write_text('{"paused": true, "reason": "Manual check"}')
            until("Guardian paused")
            pause.unlink()
            until("Hold is over: paused")
            override.write_text('{"allocations": {"BTC-USD": 1.0}, "source": "rl_inference"}')
            until("Another writer")
            dashboard.next(fresh(faulty, risk=0.5))
            until("faulty record")
            dashboard.next(fresh(fleet, risk=0.5))
            until("no longer faulty")
            dashboard.next(fixed({"error": "cache failed", "timestamp": "2025-11-03T22:00:00Z"}))
            until("Entering degraded mode")
            dashboard.next(fresh(fleet, risk=0.5))
            until("Recovered from degraded mode")
        return as_shown(path.read_text(), place)
