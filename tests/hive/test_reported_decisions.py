"""What agents report themselves: read as it grows, counted once, whatever stands between the lines."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capital_governor.client import MOST_DECISION_BYTES, record
from capital_governor.contracts.payload import parse
from capital_governor.core.model import Snapshot
from capital_governor.hive import reported_decisions
from capital_governor.hive.metrics import payload
from capital_governor.hive.past import Past
from capital_governor.hive.past_file import HistoryFile
from capital_governor.hive.reported_decisions import FOLDER, LONGEST_LINE, Reported, ReportedDecisions
from capital_governor.hive.state_files import StateFiles
from tests.rigs.busy_fleet import AGENTS, MIDNIGHT, BusyFleet
from tests.rigs.fleet_files import DAY, HOUR, NOW, Document, decision, files, performance, stamp, two_agents

CAPITAL: Final = 1_000.0
FILE: Final = "A.2025-11.jsonl"


def line(agent: str, days_ago: float, pnl: object, now: float = NOW, **more: object) -> bytes:
    return json.dumps({"agent": agent, "pnl": pnl, "timestamp": stamp(days_ago, now)} | more).encode() + b"\n"


def put(root: Path, content: bytes, name: str = FILE) -> Path:
    path = root / FOLDER / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def add(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


def read(root: Path, now: float = NOW) -> Reported:
    return ReportedDecisions(root).read(now, {})


def shown(reported: Reported, now: float = NOW, **documents: object) -> dict[str, Any]:
    """The hive's answer; ``documents`` are the other state files."""
    return payload(files(**documents), now, CAPITAL, reported=reported)


def pnls(reported: Reported) -> dict[str, list[float]]:
    """The profits and losses that are known one by one, by agent."""
    found: dict[str, list[float]] = {}
    for each in reported.past.left:
        if each.pnl is not None:
            found.setdefault(each.agent, []).append(each.pnl)
    return found


def lines_of(document: Document) -> bytes:
    """The decisions of NeoLight's file as agents would report them."""
    return b"".join(
        json.dumps({key: each[key] for key in ("agent", "pnl", "timestamp")}).encode() + b"\n"
        for each in document["decisions"]
    )


# --- the figures ------------------------------------------------------------------------------------------------------


def test_a_fleet_that_reports_itself(tmp_path: Path) -> None:
    """Each figure of an agent is that of its lines, computed by hand; the governor takes the answer."""
    trades = ((2.5, -10.0), (1.5, 10.0), (0.5, 30.0))
    put(tmp_path, b"".join(line("SmartTrader", days, pnl) for days, pnl in trades) + line("SmartTrader", 0.1, None))
    whole = shown(read(tmp_path))
    found = whole["per_agent"]["SmartTrader"]
    assert (found["pnl_1d"], found["pnl_7d"], found["total_decisions"]) == (30.0, 30.0, 4)
    assert (found["winrate_30d"], found["max_dd_30d"]) == (pytest.approx(2 / 3), pytest.approx(1.0))
    assert found["sharpe_30d"] == pytest.approx(0.01 / 0.02)  # returns -0.01, 0.01, 0.03
    assert whole["guardian"]["drawdown"] == 0.0
    assert whole["sources"][str(FOLDER)] == "read"
    snapshot = parse(json.dumps(whole, allow_nan=False).encode())
    assert isinstance(snapshot, Snapshot)
    assert snapshot.metrics.keys() == {"SmartTrader"}


TRADES: Final = st.lists(
    st.tuples(
        st.sampled_from(("A", "B", "C")),
        st.floats(0.001, 29.9).map(lambda days: round(days, 4)),
        st.integers(-90, 110),
    ),
    min_size=1,
    max_size=40,
    unique_by=lambda trade: trade[:2],
)


@given(trades=TRADES)
def test_the_same_decisions_give_the_same_figures_from_either_source(trades: list[tuple[str, float, int]]) -> None:
    """Whether NeoLight records a fleet's decisions or the agents report them, in any order: the figures are equal."""
    document = performance(*(decision(agent, days, float(pnl)) for agent, days, pnl in trades), decision("Z", 0.0, 1.0))
    with tempfile.TemporaryDirectory() as folder:
        put(Path(folder), lines_of(document))
        ours = shown(read(Path(folder)))
    theirs = payload(files(performance=document), NOW, CAPITAL)
    assert ours["per_agent"] == theirs["per_agent"]
    assert ours["guardian"] == theirs["guardian"]


def test_a_large_fleet_keeps_sums_of_what_is_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the number that is kept one by one, each agent's profit, wins and count are still those of all lines."""
    monkeypatch.setattr(reported_decisions, "KEPT_ONE_BY_ONE", 50)
    fleet = BusyFleet(NOW - 3 * DAY, a_day=200)
    for each in range(600):
        at = fleet.at + each * DAY / 200
        fleet.every.append(decision(AGENTS[each % 3], 0, float(fleet.dice.randint(-90, 110)), at))
    put(tmp_path, lines_of({"decisions": fleet.every}))
    reported = read(tmp_path)
    assert len(reported.past.left) == 50
    for agent, found in shown(reported)["per_agent"].items():
        amounts = [each["pnl"] for each in fleet.every if each["agent"] == agent]
        assert (found["pnl_7d"], found["total_decisions"]) == (math.fsum(amounts), 200)
        assert found["winrate_30d"] == pytest.approx(sum(pnl > 0 for pnl in amounts) / 200)


# --- once -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds_later", [-30, 0, 30])
def test_an_agent_that_is_recorded_twice_counts_once(tmp_path: Path, seconds_later: float) -> None:
    """From its first reported trade on, what NeoLight has of an agent does not count; before, and of others, it does.

    The two may give one trade times that are half a minute apart.
    """
    document, later = two_agents(), seconds_later / DAY
    put(tmp_path, line("SmartTrader", 1.5 - later, 10.0) + line("SmartTrader", 0.5 - later, 30.0))
    alone, both = shown(Reported(), performance=document), shown(read(tmp_path), performance=document)
    assert both["per_agent"] == alone["per_agent"]
    assert both["guardian"] == alone["guardian"]
    add(tmp_path / FOLDER / FILE, line("SmartTrader", 0.2, 5.0))
    assert shown(read(tmp_path), performance=document)["per_agent"]["SmartTrader"]["pnl_7d"] == 35.0


@pytest.mark.parametrize("back_days", [0.0, 1.0, 2.0])
def test_a_busy_agent_that_begins_to_report_counts_once(tmp_path: Path, back_days: float) -> None:
    """Of a fleet whose decisions NeoLight also records and soon forgets, every trade counts once, before and after.

    On the third day all agents begin to report, also trades that were made ``back_days`` before, of which the hive
    already knows some by their sums only.
    """
    fleet, hive = BusyFleet(MIDNIGHT - 4 * DAY), HistoryFile(tmp_path, lambda _: None)
    (tmp_path / FOLDER).mkdir(parents=True)
    reported, begin = 0, MIDNIGHT - 1.5 * DAY
    while fleet.at < NOW - HOUR:
        fleet.run(0.2)
        for each in fleet.every:
            each |= {"pnl": each["worth"], "pnl_attributed": True}
        if fleet.at > begin:
            first = 0 if reported else int((begin - (MIDNIGHT - 4 * DAY)) / DAY * fleet.a_day - back_days * fleet.a_day)
            new = {"decisions": fleet.every[max(reported, first) :]}
            with (tmp_path / FOLDER / FILE).open("ab") as file:
                file.write(lines_of(new))
            reported = len(fleet.every)
        with hive.look(lambda: StateFiles(performance=fleet.file()), fleet.at) as (found, past, warnings):
            whole = payload(found, fleet.at, 1e6, past, warnings, hive.reported)
        for agent in AGENTS:
            shown = whole["per_agent"][agent]
            amounts = fleet.attributed(agent)
            assert (shown["pnl_7d"], shown["total_decisions"]) == (math.fsum(amounts), len(amounts))


def test_an_id_counts_once(tmp_path: Path) -> None:
    """Of an agent's lines with the same id, in whichever of its files, the first counts; another agent's is another."""
    path = put(tmp_path, line("A", 1, 5.0, id="7") + line("A", 0.9, 5.0, id="7") + line("B", 1, 3.0, id="7"))
    put(tmp_path, line("A", 0.8, 5.0, id="7") + line("A", 0.7, 2.0, id="8"), "A.2025-12.jsonl")
    folder = ReportedDecisions(tmp_path)
    assert pnls(folder.read(NOW, {})) == {"A": [5.0, 2.0], "B": [3.0]}
    add(path, line("A", 0.6, 2.0, id="8") + line("A", 0.6, 2.0) + line("A", 0.6, 2.0))
    assert pnls(folder.read(NOW, {})) == {"A": [5.0, 2.0, 2.0, 2.0], "B": [3.0]}


# --- as it grows ------------------------------------------------------------------------------------------------------


@given(data=st.data())
def test_a_file_may_be_read_at_any_moment(data: st.DataObject) -> None:
    """However a file's bytes arrive, the decisions after each reading are those of the whole lines, each once."""
    content = b"".join(line("A", 1, float(number)) for number in range(6))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=8)))
    with tempfile.TemporaryDirectory() as place:
        path, folder = put(Path(place), b""), ReportedDecisions(Path(place))
        for begin, end in zip([0, *cuts], [*cuts, len(content)], strict=True):
            add(path, content[begin:end])
            reported = folder.read(NOW, {})
            whole = [float(number) for number in range(content[: end + 1].count(b"\n"))]
            assert pnls(reported).get("A", []) == whole[: len(whole)]
            assert reported.warnings == ()


@pytest.mark.parametrize("torn", range(1, len(line("A", 1, 7.0)) - 1))
def test_half_a_line_hides_nothing(tmp_path: Path, torn: int) -> None:
    """Whatever part of a line a killed writer left, the lines before and after it count, and a warning names it."""
    whole = line("A", 1, 7.0, more={"a": {"agent": "B"}})
    path, folder = put(tmp_path, line("A", 1, 5.0) + whole[:torn]), ReportedDecisions(tmp_path)
    assert pnls(folder.read(NOW, {})) == {"A": [5.0]}
    assert folder.read(NOW, {}).warnings == ()  # a writer may be writing it
    add(path, line("A", 0.5, 9.0))
    reported = folder.read(NOW, {})
    assert pnls(reported) == pnls(read(tmp_path)) == {"A": [5.0, 9.0]}
    assert reported.faults == {}
    assert reported.warnings == (f"{FOLDER / FILE}, line 2: torn or not JSON, and left out",)


def test_a_line_without_its_end_counts_when_it_is_whole(tmp_path: Path) -> None:
    """A writer that ends no line is understood; several decisions may stand on one line."""
    path, folder = put(tmp_path, line("A", 1, 5.0).strip()), ReportedDecisions(tmp_path)
    assert pnls(folder.read(NOW, {})) == {"A": [5.0]}
    add(path, line("A", 1, 6.0).strip())
    assert pnls(folder.read(NOW, {})) == {"A": [5.0, 6.0]}
    add(path, b"\r\n\n \n" + line("A", 1, 7.0).strip() + b" " + line("A", 1, 8.0))
    assert pnls(folder.read(NOW, {})) == pnls(read(tmp_path)) == {"A": [5.0, 6.0, 7.0, 8.0]}
    assert folder.read(NOW, {}).warnings == ()


@pytest.mark.parametrize("how", ["shorter", "same length", "longer", "another file", "removed"])
def test_a_file_that_was_corrected_counts_as_it_is_now(tmp_path: Path, how: str) -> None:
    """A person may correct a file in any way; nothing of before counts any more."""
    old = [line("A", 1, 5.0), line("A", 1, 6.0)]
    path, folder = put(tmp_path, b"".join(old)), ReportedDecisions(tmp_path)
    put(tmp_path, line("B", 1, 1.0), "B.jsonl")
    assert pnls(folder.read(NOW, {})) == {"A": [5.0, 6.0], "B": [1.0]}
    if how == "another file":
        path.unlink()
        put(tmp_path, line("A", 1, 7.0) * 3)
    elif how == "removed":
        path.unlink()
    else:
        changed = {"shorter": old[0], "same length": old[0] * 2, "longer": line("A", 1, -50.0) + old[0]}[how]
        path.write_bytes(changed)
        os.utime(path, ns=(1, path.stat().st_mtime_ns + 1_000))
    expected = {"shorter": [5.0], "same length": [5.0, 5.0], "longer": [-50.0, 5.0], "another file": [7.0] * 3}
    found = pnls(folder.read(NOW, {}))
    assert found == ({"A": expected[how]} if how in expected else {}) | {"B": [1.0]}


def test_old_files_leave_without_a_trace(tmp_path: Path) -> None:
    """A file of a month that no window reaches is removed by the client; the decisions of others stay."""
    old = put(tmp_path, line("A", 40, 5.0), "A.2025-09.jsonl")
    put(tmp_path, line("A", 1, 6.0))
    folder = ReportedDecisions(tmp_path)
    assert pnls(folder.read(NOW, {})) == {"A": [6.0]}
    old.unlink()
    assert pnls(folder.read(NOW, {})) == {"A": [6.0]}


# --- what is wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spoilt",
    [
        b'{"agent": "A", "pnl": "12.5", "timestamp": "2025-11-03T21:00:00Z"}',
        b'{"agent": "A", "pnl": NaN, "timestamp": "2025-11-03T21:00:00Z"}',
        b'{"agent": "A", "pnl": 1e13, "timestamp": "2025-11-03T21:00:00Z"}',
        b'{"agent": "A", "pnl": true, "timestamp": "2025-11-03T21:00:00Z"}',
        b'{"agent": "A", "pnl": 5, "timestamp": "yesterday"}',
        b'{"agent": "A", "pnl": 5}',
    ],
)
def test_a_line_that_cannot_be_understood_is_its_agents_fault_alone(tmp_path: Path, spoilt: bytes) -> None:
    """The agent is faulty to the governor, with file and line, until the line is corrected; nobody else is."""
    good = line("A", 2, 5.0) + line("A", 1, -2.0)
    path = put(tmp_path, good + spoilt + b"\n")
    put(tmp_path, line("B", 2, 1.0) + line("B", 1, 2.0), "B.jsonl")
    folder = ReportedDecisions(tmp_path)
    whole = shown(folder.read(NOW, {}))
    assert f"{FOLDER / FILE}, line 3: " in whole["per_agent"]["A"]["problem"]
    snapshot = parse(json.dumps(whole, allow_nan=False).encode())
    assert isinstance(snapshot, Snapshot)
    assert snapshot.faults.keys() == {"A"}
    assert snapshot.metrics.keys() == {"B"}
    path.write_bytes(good)
    assert "problem" not in shown(folder.read(NOW, {}))["per_agent"]["A"]


@pytest.mark.parametrize("what", ["no right", "too large", "long line", "folder", "fifo"])
def test_a_file_that_cannot_be_read_is_its_agents_fault(tmp_path: Path, what: str) -> None:
    """An agent whose newer losses may be in a file that cannot be read is faulty, and a warning names the file."""
    path = put(tmp_path, line("A", 2, 5.0) + line("A", 1, -2.0))
    put(tmp_path, line("B", 2, 1.0) + line("B", 1, 2.0), "B.jsonl")
    folder = ReportedDecisions(tmp_path)
    assert folder.read(NOW, {}).faults == {}
    if what == "too large":
        with path.open("ab") as file:  # lines of 32 KiB
            for _ in range(MOST_DECISION_BYTES // (LONGEST_LINE // 2) + 40):
                file.write(b" " * (LONGEST_LINE // 2 - 1) + b"\n")
    elif what == "long line":
        add(path, b"x" * (LONGEST_LINE + 1))
    else:
        path.unlink()
        if what == "folder":
            path.mkdir()
        elif what == "fifo":
            os.mkfifo(path)
        else:
            path.symlink_to(path.name)  # ELOOP, also for a user who may read everything
    reported = folder.read(NOW, {})
    assert any(str(FOLDER / FILE) in warning for warning in reported.warnings)
    whole = shown(reported)
    assert "problem" not in whole["per_agent"]["B"]
    assert str(FOLDER / FILE) in whole["per_agent"]["A"]["problem"]
    again = shown(read(tmp_path))["per_agent"]
    assert "problem" not in again["B"]
    assert str(FOLDER / FILE) in again["A"]["problem"]


def test_what_is_no_decision_is_left_out_and_said(tmp_path: Path) -> None:
    """Lines that are no JSON object or name no agent, and times without a zone, are named in the warnings."""
    path = put(tmp_path, b"[1]\n5\nhallo\n" + line("A", 1, 5.0))
    add(path, b'{"pnl": 5}\n{"agent": 5}\n{"agent": "A", "pnl": 1, "timestamp": "2025-11-03T12:00:00"}\n')
    add(path, line("A", -1, 9.0))
    reported = read(tmp_path)
    assert pnls(reported) == {"A": [5.0, 1.0]}
    assert reported.warnings == (
        f"{FOLDER / FILE}: 3 lines are torn or not JSON, and left out; the last is line 3",
        f"{FOLDER / FILE}: 2 decisions name no agent and are left out",
        f"{FOLDER / FILE}: 1 decisions have a timestamp without a time zone, taken as UTC",
        "1 reported decisions are dated in the future and are left out",
    )


def test_a_decision_dated_ahead_counts_when_its_time_has_come(tmp_path: Path) -> None:
    """A clock that is ahead loses no decision."""
    put(tmp_path, line("A", 1, 5.0) + line("A", -0.5, 9.0))
    folder = ReportedDecisions(tmp_path)
    assert pnls(folder.read(NOW, {})) == {"A": [5.0]}
    assert pnls(folder.read(NOW + DAY, {})) == {"A": [5.0, 9.0]}
    assert folder.read(NOW + DAY, {}).warnings == ()


@pytest.mark.parametrize(
    ("reported", "neolight", "said"),
    [
        (None, None, "no agent has reported a decision"),
        (b"", None, "state/decisions holds no decision of the last 30 days"),
        (b"hallo\n", None, "state/decisions/A.2025-11.jsonl, line 1: torn or not JSON, and left out"),
        (line("A", 31, 5.0), None, "state/decisions holds no decision of the last 30 days"),
        (line("A", 1.1, 5.0), None, "state/decisions/ was last added to 26 h ago"),
        (line("A", 1.1, 5.0), two_agents(NOW - 25 * HOUR), "performance_attribution.json was last added to 25 h ago"),
        (line("A", 0.1, 5.0), two_agents(NOW - 25 * HOUR), "performance_attribution.json was last added to 25 h ago"),
        (line("A", 0.1, 5.0), "torn or no JSON", "performance_attribution.json cannot be used: torn"),
        (line("A", 1.1, 5.0), two_agents(NOW - 40 * DAY), "state/decisions/ was last added to 26 h ago"),
        (line("A", 1.1, 5.0), two_agents(), ""),
        (line("A", 0.1, 5.0), two_agents(NOW - 40 * DAY), ""),
        (line("A", 0.1, 5.0), None, ""),
        (line("A", 0.1, 5.0), performance(), ""),
    ],
)
def test_a_recorder_that_is_dead_is_found_whichever_it_is(
    tmp_path: Path, reported: bytes | None, neolight: object, said: str
) -> None:
    """While NeoLight's agents need its file, that must be alive; if all report themselves, one of them must."""
    if reported is not None:
        put(tmp_path, reported)
    documents = {} if neolight is None else {"performance": neolight}
    whole = payload(files(**documents), NOW, CAPITAL, reported=read(tmp_path))
    assert said in whole.get("error", "") if said else "error" not in whole


@pytest.mark.parametrize("how", ["missing", "emptied"])
def test_a_lost_file_of_neolight_is_an_error(tmp_path: Path, how: str) -> None:
    """Agents that it had do not vanish, nor lose what they lost; unless they report themselves, or it is long ago."""
    (tmp_path / "state").mkdir()
    path = put(tmp_path, line("A", 2, 1.0) + line("A", 0.1, 5.0))
    hive = HistoryFile(tmp_path, lambda _: None)

    def answer(now: float, **documents: object) -> dict[str, Any]:
        with hive.look(lambda: files(**documents), now) as (found, past, warnings):
            return payload(found, now, CAPITAL, past, warnings, hive.reported)

    gone: dict[str, object] = {} if how == "missing" else {"performance": performance()}
    assert answer(NOW, performance=two_agents())["per_agent"].keys() == {"A", "SmartTrader", "DropshipAgent"}
    lost = answer(NOW, **gone)["error"]
    assert lost.startswith("state/performance_attribution.json has nothing of DropshipAgent, SmartTrader any more:")
    assert answer(NOW, performance=two_agents())["per_agent"].keys() == {"A", "SmartTrader", "DropshipAgent"}
    add(path, line("DropshipAgent", 2.5, 1.0) + line("SmartTrader", 2.5, 1.0))
    assert answer(NOW, **gone)["per_agent"].keys() == {"A", "SmartTrader", "DropshipAgent"}
    path.write_bytes(line("A", -39, 5.0))
    assert answer(NOW + 40 * DAY, **gone)["per_agent"].keys() == {"A"}


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """Then any agent's losses may be unknown."""
    (tmp_path / "state").mkdir()
    (tmp_path / FOLDER).write_text("a file")
    assert shown(read(tmp_path), performance=two_agents())["error"] == "state/decisions cannot be read: Not a directory"


def test_what_the_client_records_is_read(tmp_path: Path) -> None:
    """The client's lines are decisions with their amounts and times, under every name that the governor takes."""
    (tmp_path / "state").mkdir()
    now = datetime.now(UTC)
    names = ("Grid Bot", "a.b:c-d_e", "A" * 64, "1")
    for agent in names:
        record(agent, -1.25, root=tmp_path, at=now)
    reported = read(tmp_path, now.timestamp())
    assert pnls(reported) == {agent: [-1.25] for agent in names}
    assert reported.first_at == dict.fromkeys(names, pytest.approx(now.timestamp(), abs=1e-5))


def test_past_adds_in_the_order_of_time() -> None:
    """A decision that is reported late stands where it belongs."""
    past, now = Past(kept=2), NOW
    folder = ReportedDecisions(Path("/nonexistent"))
    assert folder.read(now, {}) == Reported()
    entries = [each for days in (1, 3, 2) for each in _entries(line("A", days, 1.0))]
    past.add(entries, now)
    assert [each.at for each in past.left] == [NOW - 2 * DAY, NOW - DAY]
    assert past.summed_until() == {"A": NOW - 3 * DAY}


def _entries(content: bytes) -> Iterable[Any]:
    with tempfile.TemporaryDirectory() as folder:
        put(Path(folder), content)
        return list(read(Path(folder)).past.left)
