"""Every metric of the hive's payload against numbers computed by hand."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capital_governor.contracts.payload import parse
from capital_governor.core.model import Guardian, Regime, Snapshot
from capital_governor.hive.decisions import record_of
from capital_governor.hive.metrics import payload
from capital_governor.hive.state_files import PERFORMANCE
from tests.rigs.fleet_files import DAY, HOUR, NOW, decision, files, performance, regime, stamp, two_agents

CAPITAL: Final = 1_000.0


def agents(*decisions: dict[str, Any]) -> Any:
    """The agents of the payload made of these decisions."""
    return payload(files(performance=performance(*decisions)), NOW, CAPITAL)["per_agent"]


# --- the payload ------------------------------------------------------------------------------------------------------


def test_an_agents_record() -> None:
    """Sums of a day and a week, and ratios of a month, each over its own window and attributed trades only."""
    found = agents(
        decision("SmartTrader", 40, 1_000.0),
        decision("SmartTrader", 20, -100.0),
        decision("SmartTrader", 6, 40.0),
        decision("SmartTrader", 0.5, 25.0),
        decision("SmartTrader", 0.2, None),
        decision("SmartTrader", 0.1, 500.0, pnl_attributed=False),
    )["SmartTrader"]
    assert found["pnl_1d"] == 25.0
    assert found["pnl_7d"] == 65.0
    assert found["winrate_30d"] == pytest.approx(2 / 3)
    assert found["max_dd_30d"] == pytest.approx(10.0)
    assert found["total_decisions"] == 6
    # 30 returns of which three are not 0: -0.1, 0.04, 0.025; their sum is -0.035, the sum of their squares 0.012225
    mean, squares = -0.035 / 30, 0.0100 + 0.0016 + 0.000625
    assert found["sharpe_30d"] == pytest.approx(mean / math.sqrt((squares - 30 * mean**2) / 29))
    assert "problem" not in found


def test_the_governor_takes_the_payload() -> None:
    """The governor's own parser reads every figure, guardian and regime out of the hive's answer."""
    whole = payload(files(performance=two_agents(), regime=regime()), NOW, CAPITAL)
    found = parse(json.dumps(whole, allow_nan=False).encode())
    assert isinstance(found, Snapshot)
    assert found.at == NOW
    smart = found.metrics["SmartTrader"]
    assert (smart.pnl_7d, smart.max_dd_30d) == (30.0, 1.0)
    assert (smart.sharpe_30d, smart.winrate_30d) == pytest.approx((0.5, 2 / 3))
    assert found.metrics["DropshipAgent"].max_dd_30d == pytest.approx(100 * 2 / 1006)
    assert (found.faults, found.warnings, found.regime) == ({}, (), Regime("SIDEWAYS", 0.8, NOW))
    # The fleet's curve: 1000, 990, 995, 1005, 1006, 1036, 1034.
    assert isinstance(found.guardian, Guardian)
    assert not found.guardian.is_paused
    assert found.guardian.drawdown_percent == pytest.approx(100 * 2 / 1036)


def test_what_cannot_be_known_is_null() -> None:
    """An agent without two days of attributed trades, or without any in the window, has nulls, and a sentence why."""
    found = agents(
        decision("Fresh", 0.5, 10.0),
        decision("Waiting", 0.5, None),
        decision("Idle", 31, 10.0),
        decision("Idle", 1, None),
        decision("Gone", 31, 10.0),
    )
    assert found.keys() == {"Fresh", "Waiting", "Idle"}
    assert (found["Fresh"]["sharpe_30d"], found["Fresh"]["pnl_1d"]) == (None, 10.0)
    for agent in ("Waiting", "Idle"):
        assert {found[agent][key] for key in ("pnl_1d", "pnl_7d", "sharpe_30d", "winrate_30d", "max_dd_30d")} == {None}
        assert found[agent]["problem"] == ("no attributed decision in 30 days: it has 1 in the file not attributed yet")
    assert found["Fresh"]["problem"] == (
        "no Sharpe ratio: its attributed decisions reach back 12.0 h, and it needs two days: the second one begins in"
        " 12.0 h"
    )


@pytest.mark.parametrize(
    "spoilt",
    [
        decision("Bad", 1, "NaN"),
        decision("Bad", 1, True),
        decision("Bad", 1, 1e13),
        decision("Bad", 1, None, pnl_attributed=True),
        decision("Bad", 1, 5.0, pnl_attributed="yes"),
        decision("Bad", 1, 5.0, timestamp="yesterday"),
        decision("Bad", 1, 5.0, timestamp=None),
    ],
)
def test_an_unreadable_decision_is_its_agents_fault_alone(spoilt: dict[str, Any]) -> None:
    """One decision that cannot be understood makes its agent faulty to the governor, and nobody else."""
    document = two_agents()
    document["decisions"] += [decision("Bad", 2, 5.0), decision("Bad", 3, -5.0), spoilt]
    whole = payload(files(performance=document), NOW, CAPITAL)
    found = parse(json.dumps(whole, allow_nan=False).encode())
    assert isinstance(found, Snapshot)
    assert found.faults.keys() == {"Bad"}
    assert found.metrics.keys() == {"SmartTrader", "DropshipAgent"}
    assert "decision's" in whole["per_agent"]["Bad"]["problem"]


def test_an_agent_without_a_readable_time_is_listed_as_faulty() -> None:
    """It may have decided just now, so it is not taken for one that is gone."""
    found = agents(decision("Good", 1, 5.0), decision("Odd", 1, 5.0, timestamp="yesterday"))
    assert found["Odd"]["problem"] == "a decision's timestamp is 'yesterday', not a time"
    assert found["Odd"]["pnl_7d"] is None


def test_decisions_of_nobody_and_of_the_future_are_left_out_and_counted() -> None:
    """They change no figure, and a warning says how many they are; a clock a little ahead is borne."""
    document = two_agents()
    plain = payload(files(performance=document), NOW, CAPITAL)
    document["decisions"] += [{"pnl": 5.0}, 7, decision("SmartTrader", -1, 900.0)]
    odd = payload(files(performance=document), NOW, CAPITAL)
    assert odd["warnings"] == [
        "2 of 9 decisions name no agent and are left out",
        "1 of 9 decisions are dated in the future and are left out",
    ]
    odd["per_agent"]["SmartTrader"]["total_decisions"] -= 1
    assert odd["per_agent"] == plain["per_agent"]
    document["decisions"].append(decision("SmartTrader", -30 / DAY, 100.0))
    ahead = payload(files(performance=document), NOW, CAPITAL)
    assert ahead["per_agent"]["SmartTrader"]["pnl_1d"] == 130.0


@given(st.permutations(two_agents()["decisions"]))
def test_the_order_in_the_file_does_not_matter(decisions: list[dict[str, Any]]) -> None:
    """Decisions are put in the order of their times."""
    assert agents(*decisions) == payload(files(performance=two_agents()), NOW, CAPITAL)["per_agent"]


def test_revenue() -> None:
    """The total is said; the last day's is known where it is said, or where nothing came in since; else null."""
    revenue = {
        "agents": {
            "SmartTrader": {"total_revenue": 350.0, "last_transaction": stamp(1.5)},
            "DropshipAgent": {"total_revenue": 80, "last_transaction": stamp(0.5)},
        }
    }
    found = payload(files(performance=two_agents(), revenue=revenue), NOW, CAPITAL)["per_agent"]
    assert (found["SmartTrader"]["revenue_24h"], found["SmartTrader"]["revenue_total"]) == (0.0, 350.0)
    assert (found["DropshipAgent"]["revenue_24h"], found["DropshipAgent"]["revenue_total"]) == (None, 80.0)
    revenue["agents"]["DropshipAgent"]["revenue_24h"] = 20.0
    found = payload(files(performance=two_agents(), revenue=revenue), NOW, CAPITAL)["per_agent"]
    assert found["DropshipAgent"]["revenue_24h"] == 20.0


def test_strategies_and_summary() -> None:
    """Strategies are taken from both lists; the summary names the best of each kind."""
    ranked = [{"strategy": "pairs_trading", "sharpe": 1.8, "drawdown": 8.0, "score": 1.048}, {"strategy": 7}, None]
    active = [{"strategy": "momentum", "sharpe": "NaN", "drawdown": 3, "score": 0.4}]
    strategies = {"ranked_strategies": ranked, "active_strategies": active}
    whole = payload(files(performance=two_agents(), strategies=strategies), NOW, CAPITAL)
    assert whole["per_strategy"]["pairs_trading"]["sharpe_30d"] == 1.8
    assert whole["per_strategy"]["momentum"]["sharpe_30d"] is None
    assert whole["summary"] == {
        "total_agents": 2,
        "total_strategies": 2,
        "top_agent": "SmartTrader",
        "top_strategy": "pairs_trading",
    }


@pytest.mark.parametrize(
    ("pause", "paused"),
    [
        (None, False),
        ({"paused": False}, False),
        ({"paused": True, "reason": "cooldown"}, True),
        ({"paused": True, "until": stamp(-0.01)}, True),
        ({"paused": True, "until": stamp(0.01)}, False),
        ({"paused": True, "until": "soon"}, True),
        ({"paused": "yes"}, True),
        ({}, True),
        ("torn or no JSON", True),
    ],
)
def test_guardian(pause: object, paused: bool) -> None:
    """A pause is one until its time is over; a pause file that cannot be understood is one as well."""
    more = {} if pause is None else {"pause": pause}
    guardian = payload(files(performance=two_agents(), **more), NOW, CAPITAL)["guardian"]
    assert guardian["is_paused"] is paused
    assert (guardian["reason"] == "Normal operation") is not paused


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        ({}, "there is neither state/performance_attribution.json nor state/decisions/"),
        ({"performance": "torn or no JSON"}, "cannot be used: torn"),
        ({"performance": {}}, "no list of decisions"),
        ({"performance": {"decisions": {}}}, "no list of decisions"),
        ({"performance": performance()}, "no decision of the last 30 days"),
        ({"performance": performance(decision("Gone", 31, 1.0))}, "no decision of the last 30 days"),
        ({"performance": two_agents(NOW - 25 * HOUR)}, "was last added to 25 h ago"),
        ({"performance": {"decisions": two_agents(NOW - 2 * DAY)["decisions"]}}, "was last added to 58 h ago"),
        ({"performance": two_agents(), "regime": "torn or no JSON"}, "market_regime.json: torn"),
    ],
)
def test_what_cannot_be_answered_is_an_error_and_never_a_healthy_looking_payload(
    documents: dict[str, object], said: str
) -> None:
    """Without usable decisions, or with a torn regime, the governor's parser refuses the answer with the reason."""
    whole = payload(files(**documents), NOW, CAPITAL)
    assert said in whole["error"]
    assert "per_agent" not in whole
    refusal = parse(json.dumps(whole, allow_nan=False).encode())
    assert not isinstance(refusal, Snapshot)
    assert whole["error"][:60] in refusal.detail


def test_files_that_no_decision_needs_are_reported_and_no_reason_to_hold() -> None:
    """Missing or torn revenue and strategies are said, and the agents' figures come as ever."""
    whole = payload(files(performance=two_agents(), revenue="torn", strategies="torn"), NOW, CAPITAL)
    assert whole["sources"] == {
        "state/performance_attribution.json": "read",
        "state/strategy_performance.json": "torn",
        "state/revenue_by_agent.json": "torn",
        "runtime/market_regime.json": "missing",
        "state/guardian_pause.json": "missing",
        "state/decisions": "missing",
    }
    assert whole["per_agent"]["SmartTrader"]["revenue_total"] is None
    assert whole["market_regime"] == {}


def test_a_regime_that_nobody_renews_is_said() -> None:
    """A market regime older than three of its detector's intervals is passed on with a warning."""
    whole = payload(files(performance=two_agents(), regime=regime(timestamp=stamp(1))), NOW, CAPITAL)
    assert whole["market_regime"]["risk_multiplier"] == 0.8
    assert whole["warnings"] == [
        "runtime/market_regime.json is 86400 s old: what detects the market regime seems to be dead"
    ]


NEW_YORK: Final = "America/New_York"
TOKYO: Final = "Asia/Tokyo"


def naive(at: float) -> str:
    """A time without a zone, as UTC has it."""
    return datetime.fromtimestamp(at, UTC).replace(tzinfo=None).isoformat()


@pytest.mark.parametrize(
    ("zone", "until", "paused"),
    [
        (NEW_YORK, NOW - 4 * HOUR, True),  # an hour to go if it is local time
        (NEW_YORK, NOW - 6 * HOUR, False),
        (TOKYO, NOW + HOUR, True),  # an hour to go if it is UTC
        (TOKYO, NOW - HOUR, False),
    ],
    indirect=["zone"],
)
@pytest.mark.usefixtures("zone")
def test_a_pause_without_a_zone_lasts_until_the_later_reading(until: float, paused: bool) -> None:
    """Whether it was written in UTC or in local time, the pause is not over too soon, and a warning says so."""
    pause = {"paused": True, "reason": "cooldown", "until": naive(until)}
    whole = payload(files(performance=two_agents(), pause=pause), NOW, CAPITAL)
    assert whole["guardian"]["is_paused"] is paused
    assert whole["warnings"] == [
        "state/guardian_pause.json: until has no time zone: it counts until the later of UTC and local time"
    ]


@pytest.mark.parametrize(
    ("zone", "hours", "dead"),
    [(NEW_YORK, 25, True), (NEW_YORK, 23, False), (TOKYO, 16, True), (TOKYO, 14, False)],
    indirect=["zone"],
)
@pytest.mark.usefixtures("zone")
def test_a_last_update_without_a_zone_is_the_older_reading(hours: float, dead: bool) -> None:
    """A dead recorder is not taken for a living one; east of Greenwich that may come nine hours too soon."""
    document = two_agents() | {"last_update": naive(NOW - hours * HOUR)}
    whole = payload(files(performance=document), NOW, CAPITAL)
    assert ("error" in whole) is dead
    if dead:
        assert "was last added to 25 h ago" in whole["error"]
        assert "has no time zone" in whole["error"]
    else:
        assert whole["warnings"] == [
            f"{PERFORMANCE}: last_update has no time zone: the older of UTC and local time counts",
        ]


@pytest.mark.parametrize("zone", [TOKYO], indirect=True)
@pytest.mark.usefixtures("zone")
def test_a_regime_and_decisions_without_a_zone() -> None:
    """A regime is as old as the older reading says; a decision's time is UTC; both are said."""
    document = performance(*(decision("A", days, 1.0, timestamp=naive(NOW - days * DAY)) for days in (0.9, 0.5)))
    whole = payload(files(performance=document, regime=regime(timestamp=naive(NOW))), NOW, CAPITAL)
    assert whole["per_agent"]["A"]["pnl_1d"] == 2.0
    assert whole["warnings"] == [
        "2 of 2 decisions have a timestamp without a time zone, which is taken as UTC",
        "runtime/market_regime.json is 32400 s old: what detects the market regime seems to be dead",
        "runtime/market_regime.json: timestamp has no time zone: the older of UTC and local time counts",
    ]


def test_what_is_wrong_with_a_pause_file_names_it_and_the_remedy() -> None:
    """The reason of such a pause tells what to do."""
    for pause in ("torn or no JSON", {"paused": True, "until": "soon"}, {"paused": "yes"}):
        reason = payload(files(performance=two_agents(), pause=pause), NOW, CAPITAL)["guardian"]["reason"]
        assert reason.startswith("state/guardian_pause.json ")
        assert reason.endswith("remove it to end the pause")


def test_a_full_file_is_said() -> None:
    """A file with as many decisions as are ever kept may reach back less than a window."""
    document = performance(*(decision("SmartTrader", day / 100, 1.0) for day in range(1000)))
    assert "all that is kept" in payload(files(performance=document), NOW, CAPITAL)["warnings"][0]


JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
ENTRY: Final = st.fixed_dictionaries(
    {},
    optional={
        "agent": st.sampled_from(["A", "B", "\ud800"]) | JSON,
        "timestamp": st.sampled_from([stamp(1), stamp(3), "0001-01-01T00:00:00+23:00"]) | JSON,
        "pnl": st.floats(-1e13, 1e13) | JSON,
        "pnl_attributed": st.booleans() | JSON,
    },
)
OBJECT: Final = st.dictionaries(st.text(max_size=12), JSON, max_size=4)


@given(
    st.lists(ENTRY | JSON, max_size=12),
    st.fixed_dictionaries({}, optional={"paused": JSON, "until": JSON, "reason": JSON}),
    st.fixed_dictionaries({}, optional={"agents": JSON}),
    OBJECT,
)
def test_no_content_breaks_the_answer(
    decisions: list[Any], pause: dict[str, Any], revenue: dict[str, Any], market: dict[str, Any]
) -> None:
    """Whatever JSON stands in the files, the answer is a payload or an error, and JSON."""
    document = {"decisions": decisions, "last_update": stamp(0)}
    found = files(performance=document, pause=pause, revenue=revenue, strategies=revenue, regime=market)
    whole = payload(found, NOW, CAPITAL)
    assert ("error" in whole) != ("per_agent" in whole)
    json.dumps(whole, allow_nan=False)
    assert isinstance(record_of(document, NOW), str) or "error" in whole or whole["per_agent"]
