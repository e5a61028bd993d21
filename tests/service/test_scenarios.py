"""What an operator sees, end to end: a real governor, a dashboard and a Bot API on loopback, and the two files.

Every number is computed by hand. An agent at level x has a record in which each of the four parts of the score is x of
its best, so that it scores x under the default settings.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from tests.rigs.bot_api import BotApi
from tests.rigs.daemon import Daemon
from tests.rigs.dashboard import Dashboard, Record, fresh, record
from tests.rigs.patience import wait_until
from tests.rigs.raw_server import Script

PAUSED: Final = "Guardian paused - maintaining current allocations"


def level(score: float) -> Record:
    """A record that scores this: 0.40 x + 0.30 x + 0.20 x + 0.10 x."""
    return record(pnl=10_000 * score, sharpe=3 * score, winrate=score, drawdown=20 * (1 - score))


def fleet(smart: float, range_: float, dropship: float, scout: float, *, risk: float = 1.0) -> Script:
    """A dashboard whose four agents score this."""
    names = ("SmartTrader", "RangeTrader", "DropshipAgent", "ScoutBot")
    return fresh(
        {name: level(score) for name, score in zip(names, (smart, range_, dropship, scout), strict=True)}, risk=risk
    )


@pytest.fixture
def root(tmp_path: Path, api: BotApi) -> Path:
    """A root whose .env names the bot, as an operator does."""
    made = tmp_path / "root"
    (made / "state").mkdir(parents=True)
    (made / ".env").write_text("".join(f"{name}={value}\n" for name, value in api.environment.items()))
    return made


def documents(root: Path) -> list[dict[str, Any]]:
    """Both allocation files; none before the first allocation."""
    paths = [root / "runtime" / f"{name}.json" for name in ("capital_governor_allocations", "allocations_override")]
    return [json.loads(path.read_bytes()) for path in paths if path.exists()]


def published(root: Path, generation: int) -> dict[str, float]:
    """Wait for a generation in both files, and return its lines, which are the same in both, with the reserve."""
    wait_until(lambda: [each["generation"] for each in documents(root)] == [generation] * 2)
    primary, override = documents(root)
    lines: Mapping[str, float] = primary["allocations"]
    assert override["allocations"] == lines
    assert override["reserve"] == primary["reserve"]
    assert primary["source"] == override["source"] == "capital_governor"
    return {**lines, "reserve": primary["reserve"]}


@pytest.mark.parametrize(
    ("before", "first", "rise"),
    [
        ((0.6, 0.5, 0.5, 0.4), (0.3, 0.25, 0.25, 0.2), "SmartTrader +0.1000"),
        ((0.5, 0.5, 0.5, 0.5), (0.25, 0.25, 0.25, 0.25), "SmartTrader +0.1500"),
    ],
)
def test_a_high_performer_rises_to_its_maximum_and_telegram_is_told(
    root: Path,
    dashboard: Dashboard,
    api: BotApi,
    before: tuple[float, float, float, float],
    first: tuple[float, ...],
    rise: str,
) -> None:
    """From 0.30 or below an agent that scores half of all points gets 0.40, in the files and in the chat."""
    dashboard.next(fleet(*before))
    with Daemon(root, dashboard.url, interval=0.2) as daemon:
        assert tuple(published(root, 1).values()) == pytest.approx((first[2], first[1], first[3], first[0], 0))
        dashboard.next(fleet(0.9, 0.3, 0.3, 0.3))  # 0.9 of 1.8 is 0.50, cut to 0.40; the other 0.60 in three
        risen = published(root, 2)
        assert risen == {
            "SmartTrader": 0.4,
            "RangeTrader": 0.2,
            "DropshipAgent": 0.2,
            "ScoutBot": 0.2,
            "reserve": 0.0,
        }
        told = api.wait_for(2)
        daemon.says("Telegram notification sent", 2)
        daemon.end()
    assert len(told) == 2
    was = [f"{100 * share:.1f}" for share in first]
    scout = "" if was[3] == "20.0" else f" (was {was[3]}%)"
    assert told[1].splitlines()[:-2] == [
        "🎯 Capital Reallocation:",
        f"SmartTrader: 40.0% (was {was[0]}%)",
        f"DropshipAgent: 20.0% (was {was[2]}%)",
        f"RangeTrader: 20.0% (was {was[1]}%)",
        f"ScoutBot: 20.0%{scout}",
        f"Scores changed. Largest change: SmartTrader {100 * first[0]:.0f} -> 40 %; 10 % is enough for a move.",
    ]
    log = daemon.log.read_text()
    assert "SmartTrader: score=0.9000 (PnL=9000.00, Sharpe=2.700, WR=0.900)" in log
    assert f"Reallocation triggered (change >= 0.10): {rise} against 0.1000" in log
    assert "Traceback" not in log


def test_a_guardian_pause_keeps_both_files_as_they_are_and_its_end_resumes(
    root: Path, dashboard: Dashboard, api: BotApi
) -> None:
    """While the pause file says so neither file is written, however much scores change; removing it resumes."""
    pause = root / "state" / "guardian_pause.json"
    dashboard.next(fleet(0.6, 0.5, 0.5, 0.4))
    with Daemon(root, dashboard.url, interval=0.2) as daemon:
        published(root, 1)
        before = daemon.files()
        written = pause.with_suffix(".new")
        written.write_text('{"paused": true, "reason": "Drawdown watch"}')
        written.rename(pause)
        daemon.says(PAUSED)
        dashboard.next(fleet(0.9, 0.3, 0.3, 0.3, risk=0.5))
        dashboard.wait_for(len(dashboard.asked) + 5)
        assert daemon.files() == before
        status = daemon.status()
        assert (status["state"], status["reason"], status["generation"]) == ("holding", "paused", 1)
        pause.unlink()
        resumed = published(root, 2)
        assert resumed["SmartTrader"] == 0.2
        assert resumed["reserve"] == 0.5
        daemon.says("Hold is over: paused")
        api.wait_for(4)
        daemon.end()
    assert daemon.log.read_text().count(f"{PAUSED}: the pause file says: Drawdown watch") == 1
    starts = [text.partition(":")[0] for text in api.taken]
    assert starts.count("🎯 Capital Reallocation") == 2
    said = [text.partition("\n")[2] for text in api.taken]
    assert len([text for text in said if text.startswith("Guardian paused: Drawdown watch.\n")]) == 1
    assert len([text for text in said if text.startswith("Guardian's pause ended after ")]) == 1


def test_a_risk_multiplier_of_one_half_halves_every_share(root: Path, dashboard: Dashboard, api: BotApi) -> None:
    """At 0.5 each share is half of that at 1.0, rounded to millionths, and the other half of all capital is reserve."""
    dashboard.next(fleet(0.6, 0.5, 0.35, 0.2))  # of 1.65: 0.363636.., 0.303030.., 0.212121.., 0.121212..
    with Daemon(root, dashboard.url, interval=0.2) as daemon:
        assert published(root, 1) == {
            "SmartTrader": 0.363637,  # the largest fraction gets the millionth that rounding down leaves
            "RangeTrader": 0.30303,
            "DropshipAgent": 0.212121,
            "ScoutBot": 0.121212,
            "reserve": 0.0,
        }
        dashboard.next(fleet(0.6, 0.5, 0.35, 0.2, risk=0.5))
        assert published(root, 2) == {
            "SmartTrader": 0.181818,
            "RangeTrader": 0.151515,
            "DropshipAgent": 0.106061,  # here that is this one
            "ScoutBot": 0.060606,
            "reserve": 0.5,
        }
        told = api.wait_for(2)
        daemon.end()
    assert told[1].splitlines()[:-2] == [
        "🎯 Capital Reallocation:",
        "SmartTrader: 18.2% (was 36.4%)",
        "RangeTrader: 15.2% (was 30.3%)",
        "DropshipAgent: 10.6% (was 21.2%)",
        "ScoutBot: 6.1% (was 12.1%)",
        "Reserve: 50.0% (was 0.0%)",
        "Risk cut: market SIDEWAYS (risk 0.5). Deployed 100 -> 50 %. Each share halved.",
    ]
    assert "Applied risk multiplier: 0.50 (regime, payload)" in daemon.log.read_text()


def test_a_few_points_move_nothing_and_more_than_ten_do(root: Path, dashboard: Dashboard, api: BotApi) -> None:
    """A change of three points of capital touches neither file and tells nobody; one of twelve is published."""
    dashboard.next(fleet(0.6, 0.5, 0.5, 0.4))
    with Daemon(root, dashboard.url, interval=0.2) as daemon:
        published(root, 1)
        api.wait_for(1)
        before = daemon.files()
        dashboard.next(fleet(0.66, 0.5, 0.5, 0.34))  # of 2.00 again: 0.33 and 0.17
        daemon.says("No reallocation needed (no change is worth a move): largest change 0.0300", 4)
        assert daemon.files() == before
        dashboard.next(fleet(0.36, 0.5, 0.5, 0.64))
        assert published(root, 2) == pytest.approx(
            {"SmartTrader": 0.18, "RangeTrader": 0.25, "DropshipAgent": 0.25, "ScoutBot": 0.32, "reserve": 0}
        )
        told = api.wait_for(2)
        daemon.end()
    assert len(told) == 2
    assert told[1].startswith("🎯 Capital Reallocation:\nScoutBot: 32.0% (was 20.0%)\n")
