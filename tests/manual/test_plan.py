"""The chapter "From the plan": the lines, the start and the scenarios of NeoLight's original plan."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.manual.pages import blocks, section
from tests.manual.program import Place, in_shell
from tests.rigs.bot_api import BotApi
from tests.rigs.dashboard import Dashboard, fresh, record
from tests.rigs.patience import PATIENCE_SECONDS, wait_until
from tests.rigs.supervised import Site

PLAN_LINES: Final = (
    "[capital_governor] Starting Capital Governor Intelligence @ 2025-11-03T22:00:00Z",
    "[capital_governor] Config: min_alloc=0.05, max_alloc=0.40, threshold=0.10",
    "[capital_governor] SmartTrader: score=0.",
    " (PnL=850.00, Sharpe=1.234, WR=0.650)",
    "[capital_governor] Applied risk multiplier: 0.80",
    "[capital_governor] Reallocation triggered (change >= 0.10)",
    "[capital_governor] Old: {'",
    "[capital_governor] New: {'",
    "[capital_governor] Allocations saved: {'",
)
"""The plan's log lines, as far as they do not depend on the fleet."""
PRIMARY: Final = "capital_governor_allocations.json"


@pytest.mark.parametrize("line", PLAN_LINES)
def test_grep_finds_the_lines_of_the_plan(line: str, log: str, tmp_path: Path) -> None:
    """``grep -F`` with a line of the plan, tag included, finds it in the log."""
    (tmp_path / "capital_governor.log").write_text(log)
    found = subprocess.run(
        ["/usr/bin/env", "grep", "-c", "-F", "--", line, tmp_path / "capital_governor.log"], check=False
    )
    assert found.returncode == 0


def test_the_chapter_shows_the_log_as_it_is(log: str) -> None:
    """Every line of the chapter's log is one of a real run in which the same happened."""
    (shown,) = blocks(section("plan", "Log and messages"), "log")
    lines = set(log.splitlines())
    assert len(shown.splitlines()) == 8
    for line in shown.splitlines():
        assert re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "2025-11-03T22:00:00Z", line) in lines


def test_the_stand_in_for_the_plans_file(tmp_path: Path) -> None:
    """The plan's start command, with the chapter's one line in its file, becomes the governor and ends with it."""
    site = Site(tmp_path)
    site.govern(None)
    (line,) = blocks(section("plan", "Start"), "python")
    agent = site.root / "agents" / "phase_5700_5900_capital_governor.py"
    agent.parent.mkdir(parents=True)
    agent.write_text(line.replace("/opt/capital-governor", str(site.project)))
    environment = {name: value for name, value in site.environment().items() if name != "NEOLIGHT_ROOT"}
    with (tmp_path / "output").open("wb") as output:
        command = [sys.executable, f"./{agent.relative_to(site.root)}"]
        process = subprocess.Popen(command, cwd=site.root, env=environment, stdout=output, stderr=output)
        try:
            wait_until(lambda: "[capital_governor] Config:" in (tmp_path / "output").read_text())
            process.terminate()
            assert process.wait(PATIENCE_SECONDS) == 0
            assert (site.root / "state" / "capital_governor.sqlite3").exists()
        finally:
            process.kill()
            process.wait()
            site.clear()


READER: Final = """
def load_capital_allocations():
    alloc_file = ROOT / "runtime" / "allocations_override.json"
    if alloc_file.exists():
        try:
            data = json.loads(alloc_file.read_text())
            if data.get("source") == "capital_governor":
                return data.get("allocations", {})
        except:
            pass
    return {}
"""
"""How SmartTrader reads the shares, as the plan has it."""


def test_the_plans_readers_of_the_files(place: Place) -> None:
    """SmartTrader's function of the plan gets the published shares, and ``python3 -m json.tool`` shows the primary."""
    place.json("once")
    published = place.file(PRIMARY)["allocations"]
    there: dict[str, Any] = {"ROOT": place.root, "json": json}
    exec(READER, there)  # noqa: S102 - the plan's own code
    assert there["load_capital_allocations"]() == published
    shown = in_shell(f"cat runtime/{PRIMARY} | python3 -m json.tool", place.root)
    assert json.loads(shown)["allocations"] == published


# --- the four scenarios -----------------------------------------------------------------------------------------------


def fleet(strong: float, others: float = 0.5) -> dict[str, Any]:
    """SmartTrader among four agents; win rates alone tell them apart."""
    rates = {"SmartTrader": strong, "DropshipAgent": others, "SportsBettingAgent": others, "GridBot": others}
    return {name: record(pnl=0.0, sharpe=0.0, winrate=rate, drawdown=20.0) for name, rate in rates.items()}


def test_a_strong_agent_rises_to_the_maximum_and_telegram_is_told(tmp_path: Path) -> None:
    """Scenario 1: from a share of 0.25 SmartTrader rises to 0.40, and the message says so."""
    with BotApi() as api, Dashboard(fresh(fleet(0.5))) as dashboard:
        (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in api.environment.items()))
        place = Place(tmp_path, dashboard)
        assert place.json("once")["reason"] == "first_allocation"
        dashboard.next(fresh(fleet(1.0, 0.2)))
        place.json("once")
        assert place.file(PRIMARY)["allocations"]["SmartTrader"] == 0.40
        _, told = api.wait_for(2)
    head, first, *_ = told.splitlines()
    assert head == "🎯 Capital Reallocation:"
    assert first == "SmartTrader: 40.0% (was 25.0%)"


@pytest.mark.parametrize("paused_by", ["file", "payload"])
def test_a_pause_keeps_the_shares_and_the_log_says_so(paused_by: str, tmp_path: Path) -> None:
    """Scenario 2: while Guardian pauses, a change that would move everything moves nothing."""
    with Dashboard(fresh(fleet(0.5))) as dashboard:
        place = Place(tmp_path, dashboard)
        place.json("once")
        before = (tmp_path / "runtime" / PRIMARY).read_bytes()
        dashboard.next(fresh(fleet(1.0, 0.2), paused=paused_by == "payload"))
        if paused_by == "file":
            (tmp_path / "state").mkdir(exist_ok=True)
            (tmp_path / "state" / "guardian_pause.json").write_text(json.dumps({"paused": True}))
        log = place.govern("once").stderr
    assert "[capital_governor] Guardian paused - maintaining current allocations" in log
    assert (tmp_path / "runtime" / PRIMARY).read_bytes() == before


def test_a_risk_multiplier_halves_all_shares(tmp_path: Path) -> None:
    """Scenario 3: with 0.5 every share is half of what it was, and the rest is reserve."""
    with Dashboard(fresh(fleet(0.5))) as dashboard:
        place = Place(tmp_path, dashboard)
        place.json("once")
        before = place.file(PRIMARY)["allocations"]
        dashboard.next(fresh(fleet(0.5), risk=0.5))
        log = place.govern("once").stderr
        after = place.file(PRIMARY)
    assert "[capital_governor] Applied risk multiplier: 0.50" in log
    assert after["allocations"] == {agent: share / 2 for agent, share in before.items()}
    assert after["reserve"] == 0.5


def test_a_small_change_moves_nothing_and_one_of_ten_points_does(tmp_path: Path) -> None:
    """Scenario 4: a change of 7.5 points moves nothing, one of exactly 10 points is enough."""
    with Dashboard(fresh(fleet(0.5))) as dashboard:
        place = Place(tmp_path, dashboard)
        place.json("once")
        dashboard.next(fresh(fleet(0.65, 0.45)))
        small = place.json("once")
        dashboard.next(fresh(fleet(0.7, 1.3 / 3)))
        large = place.json("once")
    assert (small["reason"], large["reason"]) == ("below_threshold", "threshold")
