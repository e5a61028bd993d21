"""The history of decisions that have left the file: each counts once, on its own day, and what is missing is said."""

from __future__ import annotations

import math
import statistics
from datetime import datetime
from itertools import accumulate, pairwise
from typing import Final

import pytest

from capital_governor.hive.day_sums import day_of
from capital_governor.hive.decisions import DecisionFile, record_of
from capital_governor.hive.metrics import payload
from capital_governor.hive.past import MOST_AGENTS, MOST_GAPS, Past
from capital_governor.hive.past_file import content_of, past_of
from capital_governor.hive.state_files import StateFile, StateFiles
from tests.rigs.busy_fleet import AGENTS, MIDNIGHT, BusyFleet
from tests.rigs.fleet_files import DAY, HOUR, NOW, Document, decision, performance

CAPITAL: Final = 100_000.0


def record(document: Document, now: float) -> DecisionFile:
    found = record_of(document, now)
    assert isinstance(found, DecisionFile)
    return found


def look(past: Past, document: Document, now: float) -> list[str]:
    return past.look(record(document, now).entries, now)


def worth(past: Past, document: Document, now: float) -> dict[str, float]:
    """All that is known of each agent's profits and losses, however it is known."""
    histories = past.histories(record(document, now), now)
    return {
        agent: math.fsum([*(each.pnl for each in found.trades), *(day.pnl for day in found.days.values())])
        for agent, found in histories.items()
    }


def time_of(decided: Document) -> float:
    return datetime.fromisoformat(decided["timestamp"]).timestamp()


def pnls(*of: float, begin: float = 0.0) -> list[Document]:
    """Decisions of one agent, an hour apart, the first one ``begin`` hours after the last midnight but nine."""
    start = MIDNIGHT - 9 * DAY + begin * HOUR
    return [decision("A", 0, pnl, start + hour * HOUR) for hour, pnl in enumerate(of)]


@pytest.mark.parametrize("restarts", [False, True])
def test_every_decision_counts_once_and_on_its_day(restarts: bool) -> None:
    """Of 5 days with 3,000 decisions each, seen by pieces, the sums of each UTC day are those of all decisions.

    Each decision is attributed 50 decisions after it was made. A history that is written and read between two looks
    is the same.
    """
    fleet, past = BusyFleet(MIDNIGHT - 4 * DAY), Past()
    while fleet.at < NOW - HOUR:
        fleet.run(0.2)
        assert look(past, fleet.document(), fleet.at) == []
        if restarts:
            past = past_of(content_of(past))
    for agent, found in past.histories(record(fleet.document(), fleet.at), fleet.at).items():
        assert len(found.days) >= 4
        days: dict[int, list[float]] = {}
        for each in fleet.every:
            if each["agent"] == agent and each["pnl_attributed"]:
                days.setdefault(day_of(time_of(each)), []).append(each["pnl"])
        known: dict[int, list[float]] = {day: [sums.pnl] for day, sums in found.days.items()}
        for trade in found.trades:
            known.setdefault(day_of(trade.at), []).append(trade.pnl)
        assert {day: sum(of) for day, of in known.items()} == {day: sum(of) for day, of in days.items()}
        assert found.total == sum(each["agent"] == agent for each in fleet.every)
    assert past.warnings() == []


def test_the_figures_of_a_busy_fleet_are_those_of_all_its_decisions() -> None:
    """The Sharpe ratio is that of its UTC days, the win rate that of its trades; sums and drawdown are close."""
    fleet, past = BusyFleet(MIDNIGHT - 11 * DAY), Past()
    while fleet.at < NOW - 6 * HOUR:
        fleet.run(11 / 48)
        look(past, fleet.document(), fleet.at)
    now = fleet.at
    found = payload(StateFiles(performance=fleet.file()), now, CAPITAL, past)["per_agent"]
    for agent in AGENTS:
        mine = [each for each in fleet.every if each["agent"] == agent and each["pnl_attributed"]]
        days: dict[int, float] = {}
        for each in mine:
            day = day_of(time_of(each))
            days[day] = days.get(day, 0.0) + each["pnl"] / CAPITAL
        assert len(days) == 12
        ratio = statistics.fmean(days.values()) / statistics.stdev(days.values())
        assert found[agent]["sharpe_30d"] == pytest.approx(ratio)
        assert found[agent]["winrate_30d"] == sum(each["pnl"] > 0 for each in mine) / len(mine)
        week = sum(each["pnl"] for each in mine if time_of(each) > now - 7 * DAY)
        assert found[agent]["pnl_7d"] == pytest.approx(week, rel=0.1)
        equity = list(accumulate((each["pnl"] for each in mine), initial=CAPITAL))
        falls = [100 * (peak - here) / peak for peak, here in zip(accumulate(equity, max), equity, strict=True)]
        assert 0.9 * max(falls) <= found[agent]["max_dd_30d"] <= max(falls) + 1e-9
        assert "problem" not in found[agent]


@pytest.mark.parametrize(
    "decisions",
    [
        [decision("A", days, pnl) for days, pnl in ((29.9, 5.0), (12.0, -9.0), (2.5, -10.0), (1.5, 10.0), (0.5, 30.0))],
        [decision("A", 41 - index / 10, float(index % 7)) for index in range(410)],
    ],
)
def test_a_file_that_reaches_back_far_enough_has_the_figures_of_the_file(decisions: list[Document]) -> None:
    """With a history that has seen all of it grow, each figure is what it is without one."""
    past = Past()
    for end in range(1, len(decisions) + 1, 30):
        look(past, performance(*decisions[:end]), NOW)
    files = StateFiles(performance=StateFile(performance(*decisions)))
    look(past, performance(*decisions), NOW)
    assert payload(files, NOW, CAPITAL, past) == payload(files, NOW, CAPITAL)


def test_equal_decisions_are_as_many_as_they_are() -> None:
    """Of three decisions that are equal in all fields two leave: all three count, and not one more."""
    same, past = [decision("A", 5, 7.0)] * 3, Past()
    later = pnls(1.0, 2.0, 4.0, 8.0, begin=200)
    look(past, performance(*same, *later[:1]), NOW)
    look(past, performance(*same[:2], *later[:2]), NOW)
    last = performance(same[0], *later)
    for _ in range(3):
        assert look(past, last, NOW) == []
    assert worth(past, last, NOW) == {"A": 3 * 7.0 + 15.0}


def test_a_correction_of_a_decision_in_the_file_is_taken_over() -> None:
    """The newest amount counts, also when the decision has left the file since."""
    past, first = Past(), pnls(1.0, 2.0, 4.0)
    look(past, performance(*first), NOW)
    first[1]["pnl"] = 200.0
    look(past, performance(*first), NOW)
    assert worth(past, performance(*first), NOW) == {"A": 205.0}
    last = performance(first[2])
    look(past, last, NOW)
    assert worth(past, last, NOW) == {"A": 205.0}


def test_a_decision_that_is_taken_out_counts_no_more() -> None:
    """One that vanishes between others was removed: it is said, and no figure has it."""
    past, first = Past(), pnls(1.0, 2.0, 4.0)
    look(past, performance(*first), NOW)
    last = performance(first[0], first[2])
    assert look(past, last, NOW) == [
        "1 decisions were changed in the file or taken out of it: they do not count any more"
    ]
    assert worth(past, last, NOW) == {"A": 5.0}


def test_decisions_that_a_stale_writer_puts_back_for_a_moment_count_once() -> None:
    """Nothing locks the file: an agent may write what it read long ago, and the next one writes all again."""
    past, fleet = Past(), BusyFleet(MIDNIGHT - 3 * DAY)
    fleet.run(1_000 / fleet.a_day)
    look(past, fleet.document(), fleet.at)
    fleet.run(150 / fleet.a_day)
    stale = fleet.document()
    fleet.run(50 / fleet.a_day)
    true = fleet.document()
    for document in (true, stale, true, stale, true):
        look(past, document, fleet.at)
    assert worth(past, true, fleet.at) == {agent: sum(fleet.attributed(agent)) for agent in AGENTS}


def test_a_gap_is_said_and_its_days_make_no_return() -> None:
    """When nothing that was in the file is left in it, the time between is unknown, and no zero is made of it."""
    past, fleet = Past(), BusyFleet(MIDNIGHT - 6 * DAY)
    while fleet.at < MIDNIGHT - 4 * DAY + HOUR:
        fleet.run(0.25)
        look(past, fleet.document(), fleet.at)
    fleet.run(1.0)  # while the hive is off
    (said,) = look(past, fleet.document(), fleet.at)
    assert said.startswith("the history has a gap from 2025-10-30T")
    while fleet.at < NOW - 6 * HOUR:
        fleet.run(0.25)
        assert look(past, fleet.document(), fleet.at) == []
    (warning,) = past.warnings()
    assert warning.startswith("the history of decisions has 1 gap, the last from 2025-10-30T")
    whole = payload(StateFiles(performance=fleet.file()), fleet.at, CAPITAL, past, past.warnings())
    assert warning in whole["warnings"]
    returns = []
    for day in (-6, -5, -3, -2, -1, 0):  # of 2025-10-30 a part is missing
        begin = day_of(MIDNIGHT) + day
        mine = [each for each in fleet.every if each["agent"] == "Agent0" and each["pnl_attributed"]]
        returns.append(sum(each["pnl"] for each in mine if day_of(time_of(each)) == begin) / CAPITAL)
    gapped = {day_of(at) - day_of(MIDNIGHT) for span in past.gaps for at in span}
    kept = [each for day, each in zip((-6, -5, -3, -2, -1, 0), returns, strict=True) if day not in gapped]
    ratio = statistics.fmean(kept) / statistics.stdev(kept)
    assert gapped <= {-4, -3}
    assert whole["per_agent"]["Agent0"]["sharpe_30d"] == pytest.approx(ratio)


def test_a_gap_is_found_in_spite_of_a_decision_dated_in_the_future() -> None:
    """A wrong date ahead of all others does not hide that everything else has gone."""
    past, first = Past(), pnls(1.0, 2.0)
    look(past, performance(*first, decision("A", -400, 5.0)), NOW)
    later = performance(*pnls(4.0, 8.0, begin=30))
    (said,) = look(past, later, NOW)
    assert said.startswith("the history has a gap from 2025-10-25T01:00:00+00:00 to 2025-10-26T06:00:00+00:00")
    assert worth(past, later, NOW) == {"A": 15.0}


def test_a_file_that_is_put_back_counts_once() -> None:
    """After yesterday's file is restored, decisions in it count once, although the history had summed them."""
    past, fleet = Past(), BusyFleet(MIDNIGHT - 5 * DAY)
    while fleet.at < MIDNIGHT:
        fleet.run(0.25)
        look(past, fleet.document(), fleet.at)
        if fleet.at < MIDNIGHT - 1.5 * DAY:
            backup = fleet.document()
    (said,) = look(past, backup, fleet.at)
    assert said.startswith("the file was put back to an earlier state")
    until = time_of(backup["decisions"][-1])
    expected = dict.fromkeys(AGENTS, 0.0)
    begin = day_of(time_of(backup["decisions"][0]))
    in_backup = {id(each): each for each in backup["decisions"]}
    for each in fleet.every:
        if each["pnl_attributed"] and day_of(time_of(each)) < begin:
            expected[each["agent"]] += each["pnl"]
    for each in in_backup.values():
        if each["pnl_attributed"]:
            expected[each["agent"]] += each["pnl"]
    assert worth(past, backup, fleet.at) == expected
    assert past.gaps[-1][0] == until


def test_a_file_that_is_put_back_and_added_to_counts_once() -> None:
    """A decision that was made between the restore and the look hides nothing: 999 of the backup, and a new one.

    What came after the backup is a gap.
    """
    past, fleet = Past(), BusyFleet(MIDNIGHT - 3 * DAY)
    while len(fleet.every) < 5_000:
        fleet.run(500 / fleet.a_day)
        assert look(past, fleet.document(), fleet.at) == []
    backup, lost_until = fleet.every[1_000:1_999], time_of(fleet.every[-1])
    fleet.run(1 / fleet.a_day)
    restored = performance(*backup, fleet.every[-1], now=fleet.at)
    (said,) = look(past, restored, fleet.at)
    assert said.startswith("the file was put back to an earlier state")
    histories = past.histories(record(restored, fleet.at), fleet.at)
    begin = day_of(time_of(backup[0]))
    before = sum(day_of(time_of(each)) < begin for each in fleet.every)
    assert sum(each.total for each in histories.values()) == before + 1_000
    assert past.gaps[-1] == (time_of(backup[-1]), lost_until)


def test_a_file_whose_times_are_all_new_is_no_history() -> None:
    """Decisions that are dated anew take the place of those that were there: nothing counts twice."""
    past, first = Past(), pnls(1.0, 2.0, 4.0)
    look(past, performance(*first), NOW)
    again = performance(*pnls(1.0, 2.0, 4.0, begin=0.01))
    (said,) = look(past, again, NOW)
    assert said.startswith("3 decisions were changed")
    assert worth(past, again, NOW) == {"A": 7.0}


def test_a_clock_that_is_wrong_for_a_moment_costs_nothing() -> None:
    """A look a year ahead forgets nothing."""
    past, fleet = Past(), BusyFleet(MIDNIGHT - 3 * DAY)
    for _ in range(12):
        fleet.run(0.25)
        look(past, fleet.document(), fleet.at)
    before = worth(past, fleet.document(), fleet.at)
    look(past, fleet.document(), fleet.at + 400 * DAY)
    assert worth(past, fleet.document(), fleet.at) == before


def test_a_clock_that_is_behind_for_a_moment_costs_nothing() -> None:
    """A look in 1970, when all decisions seem to be of the future, learns nothing, and the next one learns all."""
    past, fleet = Past(), BusyFleet(MIDNIGHT - 3 * DAY)
    for _ in range(12):
        fleet.run(0.25)
        assert look(past, fleet.document(), 0.0) == []
        assert look(past, fleet.document(), fleet.at) == []
    assert worth(past, fleet.document(), fleet.at) == {agent: sum(fleet.attributed(agent)) for agent in AGENTS}
    assert past.warnings() == []


def test_an_agent_that_decides_seldom_in_a_busy_fleet_stays() -> None:
    """Its last decision left the file a day ago: it is still listed, and has its figures."""
    past, fleet = Past(), BusyFleet(MIDNIGHT - 4 * DAY)
    for day in range(5):
        if day in {1, 3}:
            fleet.every.append(decision("Quiet", 0, 10.0 * day, fleet.at, worth=10.0 * day))
        for _ in range(4):
            fleet.run(0.25)
            look(past, fleet.document(), fleet.at)
    found = payload(StateFiles(performance=fleet.file()), fleet.at, CAPITAL, past)["per_agent"]["Quiet"]
    assert (found["pnl_7d"], found["total_decisions"], found["winrate_30d"]) == (40.0, 2, 1.0)
    assert found["sharpe_30d"] is not None
    assert "Quiet" not in {each["agent"] for each in fleet.document()["decisions"]}


def test_decisions_that_leave_before_they_are_attributed_are_the_cause_that_is_told() -> None:
    """Where attribution comes later than the file is long, the sentence says so."""
    past, fleet = Past(), BusyFleet(MIDNIGHT - 2 * DAY, late=5_000)
    for _ in range(8):
        fleet.run(0.25)
        look(past, fleet.document(), fleet.at)
    found = payload(StateFiles(performance=fleet.file()), fleet.at, CAPITAL, past)["per_agent"]["Agent0"]
    assert found["problem"] == (
        "no attributed decision in 30 days: it has 333 in the file not attributed yet, 1667 that left the file before"
        " they were attributed"
    )


def test_an_unreadable_decision_that_left_is_counted() -> None:
    """Its agent is no longer faulty, and a warning says that figures lack something."""
    past, every = Past(), pnls(1.0, 2.0, 4.0)
    every[0]["pnl"] = "n/a"
    look(past, performance(*every), NOW)
    look(past, performance(*every[1:]), NOW)
    assert past.warnings() == ["1 decisions that could not be understood have left the file: no figure has them"]


def test_it_stays_small() -> None:
    """Days, gaps and agents are bounded, whatever comes."""
    past = Past()
    for day in range(400):
        now = NOW + day * DAY
        entries = [decision(f"Of{day}", 0, 1.0, now - index) for index in range(3)]
        look(past, performance(*entries, now=now), now)
    assert len(past.left) <= 1_000
    assert len(past.gaps) <= MOST_GAPS
    assert len(past.agents) <= 31
    assert all(len(each.days) <= 31 for each in past.agents.values())
    many, some = MOST_AGENTS + 2_000, 500
    for first, second in pairwise(range(0, many + some, some)):
        now = NOW + 401 * DAY + first / 10
        look(past, performance(*(decision(f"N{n}", 0, 1.0, now - 1) for n in range(first, second)), now=now), now)
    assert len(past.agents) == MOST_AGENTS
    assert any("left out" in said for said in past.warnings())
    now += 40 * DAY  # those that were left out are beyond all windows now, as all others are
    look(past, performance(decision("Late", 0, 1.0, now), now=now), now)
    assert not any("left out" in said for said in past.warnings())


def test_an_agent_of_a_name_that_the_governor_refuses_is_not_summed_up() -> None:
    """Names are bounded too, or the history would outgrow its file."""
    past, names = Past(), ("A" * 64, "B" * 65)
    for hour in range(0, 60, 10):
        now = NOW + hour * HOUR
        decisions = [decision(name, 0, 1.0, now - index) for index in range(500) for name in names]
        look(past, performance(*decisions, now=now), now)
    assert past.agents.keys() == {"A" * 64}


def test_an_empty_list_of_decisions_teaches_nothing() -> None:
    """A recorder that has just begun anew does not cost what was known."""
    past, first = Past(), pnls(1.0, 2.0)
    look(past, performance(*first), NOW)
    assert look(past, performance(), NOW) == []
    assert worth(past, performance(*first), NOW) == {"A": 3.0}


def test_a_decision_of_long_ago_is_no_gap() -> None:
    """One that is dated long ago and added today does not look like a file begun anew."""
    past = Past()
    old, new = decision("A", 20, 5.0), pnls(1.0, 2.0)
    look(past, performance(*new, old), NOW)
    document = performance(new[1], old, *pnls(4.0, begin=3))
    assert look(past, document, NOW) == []
    assert worth(past, document, NOW) == {"A": 12.0}
