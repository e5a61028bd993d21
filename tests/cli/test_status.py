"""`status`: what it adds from the journal, each agent's distance to the next move, and what is to be done."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from capital_governor.adapters.lock import RootLock
from capital_governor.core.orders import OrderKind
from capital_governor.supervisor.root import GOVERNOR, AgentStanding, Root, lock
from tests.rigs.commands import call, loaded, on_terminal, tree
from tests.rigs.night import FLEET, UNREACHABLE, Night
from tests.rigs.patience import PATIENCE_SECONDS
from tests.rigs.stored_roots import unpack_schema_4

STATUS, LOCK = "runtime/capital_governor_status.json", "runtime/capital_governor.lock"
JOURNAL = "state/capital_governor.sqlite3"


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> Iterator[None]:
    with loaded():
        yield


@pytest.fixture
def night(tmp_path: Path) -> Night:
    """A root whose cycles are as new as a running governor's would be."""
    return recent(tmp_path)


def recent(root: Path, **settings: str) -> Night:
    given = {"INTERVAL": "3000", **settings}  # so that the last of its cycles is not out of date
    return Night(root, {f"CAPITAL_GOVERNOR_{name}": value for name, value in given.items()}, time.time() - 3_000.0)


def seen(night: Night, *arguments: str) -> Any:
    """What `status --json` says while a governor holds the lock."""
    return json.loads(shown(night, "--json", *arguments))


def shown(night: Night, *arguments: str, columns: int = 0) -> str:
    lock = RootLock(night.root / LOCK)
    lock.acquire()
    try:
        if columns:
            return on_terminal(night.root, "status", *arguments, columns=columns, env={"NO_COLOR": "1"})
        return call(night.root, "status", *arguments).out
    finally:
        lock.release()


def rows(document: Any) -> dict[str, Any]:
    return {row["agent"]: row for row in document["agents_now"]}


def test_each_agent_has_its_distance_to_the_next_move(night: Night) -> None:
    """A lower market multiplier, too small a change to move: each plan line is wanted 4 % lower than it is."""
    night.pass_by(2)
    night.pass_by(1, risk=0.96, regime="SIDEWAYS")
    document = seen(night)
    share = document["allocations"]
    assert share["CryptoTrend"] == 0.4
    for agent, row in rows(document).items():
        assert row["share"] == share[agent]
        assert row["wanted"] == pytest.approx(0.96 * share[agent], abs=2e-6)
        assert row["to_move"] == pytest.approx(0.10 - 0.04 * share[agent], abs=2e-6)
    # 0.40 x 0.62 + 0.30 x 0.7 + 0.20 x 0.58 + 0.10 x (1 - 6/20)
    assert rows(document)["CryptoTrend"]["score"] == pytest.approx(0.644)
    assert rows(document)["CryptoTrend"]["limit"] == {"kind": "cap", "value": 0.4, "source": "MAX_ALLOC"}
    assert rows(document)["SmartTrader"]["limit"] is None
    move = document["next_move"]
    assert (move["change"], move["change_of"], move["change_needed"]) == (pytest.approx(0.04, abs=1e-5), "reserve", 0.1)
    assert (move["reserve_rise"], move["reserve_rise_needed"]) == (pytest.approx(0.04, abs=1e-5), 0.05)


def test_what_sets_exposure_and_since_when(night: Night) -> None:
    """Since the first of the cycles with this cause, whatever came between; last known while no payload tells it."""
    night.pass_by(2)
    began = night.now
    night.pass_by(2, risk=0.5, regime="BEAR")
    night.pass_by(1, risk=0.5, regime="BEAR", paused="Manual check")
    night.pass_by(1, risk=0.49, regime="BEAR")
    document = seen(night)
    exposure = document["exposure_now"]
    iso = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began))
    assert (exposure["cause"], exposure["value"], exposure["since"]) == ("market BEAR (risk 0.49)", 0.49, iso)
    assert exposure["last_known_at"] is None
    assert document["published_cause"] == "market BEAR (risk 0.5), exposure 100 -> 50 %"
    night.pass_by(2, refusal=UNREACHABLE)
    exposure = seen(night)["exposure_now"]
    known = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(night.now - 900.0))
    assert (exposure["since"], exposure["last_known_at"]) == (iso, known)
    assert re.search(r"^exposure +50 %: market BEAR .*; last known at \d\d:\d\d UTC", shown(night), re.MULTILINE)


def test_an_outage_says_what_to_do(night: Night) -> None:
    """In this order: alive, to do, why."""
    night.pass_by(1)
    night.pass_by(3, refusal=UNREACHABLE)
    said = shown(night).splitlines()
    assert said[:3] == [
        "Running, holding",
        "act        start the dashboard, or correct NEOLIGHT_DASHBOARD_URL",
        "outcome    held: no metrics could be fetched: connection refused by http://localhost:8100/meta/metrics",
    ]
    assert "not before the hold ends; then it needs a change of 10 % in one share" in "\n".join(said)


def test_a_pause_needs_nobody(night: Night) -> None:
    """It says how it ends."""
    night.pass_by(1)
    night.pass_by(1, paused="Drawdown")
    said = shown(night).splitlines()
    assert said[1] == "act        no action needed: it ends when Guardian lifts the pause (file and dashboard)"
    assert said[2] == "outcome    held: Guardian paused (payload): Drawdown"


def test_an_order_that_is_obeyed_without_metrics_sets_exposure(night: Night) -> None:
    """And not what the market allowed in the last cycle that had metrics."""
    night.pass_by(2)
    night.pass_by(2, refusal=UNREACHABLE)
    ceiling = night.order(OrderKind.EXPOSURE, cap=0.0, reason="panic")
    night.pass_by(2, refusal=UNREACHABLE)
    assert "exposure   0 %: anna's order of at most 0 % (panic), since " in shown(night)
    assert seen(night)["exposure_now"]["last_known_at"] is None
    assert "score, wants and to go are of the last decision, which is older" in shown(night)
    night.take_back(ceiling)
    night.pass_by(1, refusal=UNREACHABLE)
    assert "; that allows 100 %, which is published with the next move" in shown(night)


def test_faults_absences_and_orders_of_an_agent(night: Night) -> None:
    """The row of an agent has its fault, absence, lapse, what is withheld and the orders about it."""
    night.pass_by(1)
    night.order(OrderKind.LIMIT, agent="SmartTrader", cap=0.1, reason="new strategy")
    night.pass_by(1, faults={"NewsScalper": "winrate_30d is 65, not within 0..1"})
    document = seen(night)
    assert rows(document)["NewsScalper"]["fault"] == "winrate_30d is 65, not within 0..1"
    smart = rows(document)["SmartTrader"]
    assert (smart["withheld"], smart["withheld_by"]) == (
        pytest.approx(0.182269),
        "operator's cap by anna: new strategy",
    )
    assert smart["orders"] == ["limit SmartTrader --max 0.1 by anna: new strategy"]
    assert document["act"] == ["see why NewsScalper sends no good record"]
    fewer = {agent: FLEET[agent] for agent in FLEET if agent != "NewsScalper"}
    night.pass_by(2, fleet=fewer)
    assert rows(seen(night))["NewsScalper"]["absent_cycles"] == 2
    assert "NewsScalper: no record in 2 of 3 cycles, so it may not gain" in shown(night)
    night.pass_by(2, fleet=fewer)
    assert rows(seen(night))["NewsScalper"]["lapsed"] is True
    assert "NewsScalper: lapsed, no record for too long; three good records in a row end that" in shown(night)
    night.pass_by(1, fleet={"SmartTrader": FLEET["SmartTrader"]})
    assert "CryptoTrend: no record, so it may not gain" in shown(night)


def test_a_move_that_waits(tmp_path: Path) -> None:
    """What keeps it back, and for how long."""
    night = recent(tmp_path, COOLDOWN="1200", CONFIRM_CYCLES="2")
    night.pass_by(1)
    night.pass_by(1, risk=0.99)
    night.pass_by(1, fleet=FLEET | {"NewsScalper": FLEET["CryptoTrend"]})
    said = seen(night)["next_move"]["waits_for"]
    assert said == "the end of COOLDOWN, in 15 min, and for CONFIRM_CYCLES: asked for in 1 of 2 cycles in a row"
    assert f"next move  wanted, and waits for {said}\n" in shown(night)


def test_hints_are_commands_to_type(night: Night) -> None:
    """With the root that this command line has, in the text and as JSON."""
    night.pass_by(1)
    night.pass_by(1, fleet={"SmartTrader": FLEET["SmartTrader"]})
    hint = f"see why they are silent; `capital-governor accept --root {night.root}` goes on without them"
    assert seen(night)["act"] == [hint]
    text = shown(night)
    assert f"act        {hint}\n" in text
    assert re.search(rf"^ends with  .*or `capital-governor accept --root {night.root}`, or ", text, re.MULTILINE)
    night.order(OrderKind.HOLD)
    night.pass_by(1)
    resume = f"or with `capital-governor resume --root {night.root}`"
    assert f"act        no action needed: it ends as ordered, {resume}\n" in shown(night)


def test_fleet_and_root_are_named(night: Night) -> None:
    """By CAPITAL_GOVERNOR_NAME, else by host and folder."""
    night.pass_by(1)
    host = socket.gethostname().partition(".")[0]
    assert f"fleet      {host}/{night.root.name}, root {night.root}\n" in shown(night)
    (night.root / ".env").write_text("CAPITAL_GOVERNOR_NAME=night shift\n")
    assert f"fleet      night shift, root {night.root}\n" in shown(night)
    document = seen(night)
    assert (document["fleet"], document["root"]) == ("night shift", str(night.root))
    explained = call(night.root, "explain", "SmartTrader")
    assert f"fleet      night shift, root {night.root}\n" in explained.out


@contextmanager
def supervised(root: Path, **governor: str) -> Iterator[None]:
    """This process is the supervisor, with a governor in this state."""
    folder = Root(root)
    folder.prepare()
    locks = folder.open_locks()
    assert lock(locks[0], folder.supervisor_lock, patience_seconds=PATIENCE_SECONDS)
    folder.write_state(int(time.time()), [AgentStanding("other", "running"), AgentStanding(GOVERNOR, **governor)])
    try:
        yield
    finally:
        for each in locks:
            os.close(each)


def test_what_its_supervisor_knows(night: Night) -> None:
    """Why the governor ended, in words, and when it is started again; what gave up needs a person."""
    night.pass_by(1)
    keep = r"; agents keep their shares until .* UTC"
    soon, since = str(int(time.time()) + 3_600), str(int(time.time()))
    command = rf"`NEOLIGHT_ROOT={night.root} \S*/neo_light_fix\.sh"
    with supervised(night.root, state="waiting", exit_code="137", due=soon, since=since):
        said, found = call(night.root, "status"), call(night.root, "status", "--json").json
    first, act, *_ = said.out.splitlines()
    assert said.code == 75
    assert re.fullmatch(rf"CRASHED \(killed, exit 137: often out of memory\); restarting in 3[56]\d\d s{keep}", first)
    assert re.fullmatch(rf"act +none if it comes back; why it ended: {command} logs capital_governor`", act)
    assert (found["standing"], found["supervisor"]["state"], found["supervisor"]["exit_code"]) == (
        "dead",
        "waiting",
        137,
    )
    with supervised(night.root, state="gave-up", exit_code="78", since=since):
        first, act, *_ = call(night.root, "status").out.splitlines()
    assert re.match(r"GAVE UP \(exit 78: a person must act\) at .* UTC: ", first)
    assert re.fullmatch(rf"act +put right what the end of its log says, then {command} restart capital_governor`", act)
    with supervised(night.root, state="running", since=since):
        first, act, *_ = call(night.root, "status").out.splitlines()
    assert re.fullmatch(rf"Starting: its process is there, and governs soon{keep}", first)
    assert act == "act        no action needed"
    first, act, *_ = call(night.root, "status").out.splitlines()
    assert re.fullmatch(rf"CRASHED OR KILLED after its cycle at \d\d:\d\d UTC{keep}", first)
    assert re.fullmatch(rf"act +see the end of its log, then start it again: {command} start`", act)


def test_a_governor_that_hangs(tmp_path: Path) -> None:
    """Its last cycle is too old: it is named late, and how it is restarted."""
    night = Night(tmp_path, {}, time.time() - 100_000.0)
    night.pass_by(1)
    with supervised(night.root, state="running", since="1"):
        first, act, *_ = shown(night).splitlines()
    assert first.startswith("LATE: a governor is there, but its last cycle was at ")
    command = rf"`NEOLIGHT_ROOT={night.root} \S*/neo_light_fix\.sh restart capital_governor`"
    assert re.fullmatch(rf"act +if no cycle comes soon, see the end of its log and restart it: {command}", act)
    assert shown(night).splitlines()[1].endswith("see the end of its log and restart it")


def test_a_governor_that_never_completed_a_cycle(night: Night) -> None:
    """Without a status file, its supervisor knows more."""
    (night.root / STATUS).unlink(missing_ok=True)
    said = call(night.root, "status")
    assert (said.code, said.out) == (75, "")
    assert said.err.endswith(
        f"no governor has completed a cycle here yet; `capital-governor run --root {night.root}` starts one\n"
    )
    with supervised(night.root, state="gave-up", exit_code="78", since="1"):
        said = call(night.root, "status")
    assert "no governor has completed a cycle here yet; its supervisor says: GAVE UP (exit 78: " in said.err


@pytest.mark.parametrize("damage", ["gone", "no database", "another program's"])
def test_without_a_journal_it_still_answers(night: Night, damage: str) -> None:
    """Whether it runs and each share are there; the text says what is missing and why; nothing is written."""
    night.pass_by(2)
    night.journal.close()
    path = night.root / JOURNAL
    for each in path.parent.glob(f"{path.name}*"):
        each.unlink()
    if damage != "gone":
        path.write_bytes(b"no database at all" * 100 if damage == "no database" else b"")
    before = tree(night.root / "state")
    document, text = seen(night), shown(night)
    assert (document["standing"], document["agents_now"], document["next_move"]) == ("running", [], None)
    assert str(path) in document["agents_problem"]
    assert text.startswith("Running, governing\nact        no action needed\n")
    assert re.search(r"^CryptoTrend +40.00%$", text, re.MULTILINE)
    assert f"(i) {document['agents_problem']}" in text
    assert tree(night.root / "state") == before


def test_a_decision_of_another_version_says_so(tmp_path: Path) -> None:
    """A root of schema 4, whose last decision this version would take differently; nothing is written."""
    unpack_schema_4(tmp_path)
    (tmp_path / STATUS).unlink(missing_ok=True)
    before = tree(tmp_path)
    said = call(tmp_path, "status")
    assert said.code == 75
    assert tree(tmp_path) == before


def test_it_looks_without_writing(night: Night) -> None:
    """Not a byte and no time stamp changes, beside an open journal."""
    night.pass_by(3)
    before = tree(night.root)
    assert call(night.root, "status").code == 75
    assert tree(night.root) == before


@pytest.mark.parametrize("columns", [80, 45])
def test_all_is_there_at_the_width_of_a_phone(night: Night, columns: int) -> None:
    """Share, score, wanted share and distance of each agent, and the limit that it has reached."""
    night.pass_by(2)
    night.order(OrderKind.EXPOSURE, cap=0.6, reason="election night")
    night.pass_by(1, faults={"NewsScalper": "winrate_30d is 65, not within 0..1"})
    text = shown(night, columns=columns)
    assert max(map(len, text.splitlines())) <= columns
    number = r" +[0-9.]+%?"
    assert len(re.findall(rf"^\w+{number * 4}( +(cap|floor) [0-9.]+ %)?$", text, re.MULTILINE)) == len(FLEET)
    flat = " ".join(text.split())
    assert ("cap 40 %" if columns == 80 else "at cap 40 %: CryptoTrend") in flat
    assert "NewsScalper: faulty record, so it may not gain: winrate_30d is 65" in flat
    assert "exposure 60 %: anna's order of at most 60 % (election night), since " in flat


def test_a_fleet_of_many(tmp_path: Path) -> None:
    """On a terminal the forty largest; of a hundred that fail, ten are told one by one."""
    night = recent(tmp_path, MIN_ALLOC="0")
    fleet = {f"Agent{number:03}": FLEET["SmartTrader"] for number in range(300)}
    night.pass_by(1, fleet=fleet)
    night.pass_by(1, fleet=fleet, faults={f"Agent{number:03}": "no number" for number in range(100)})
    assert len(rows(seen(night))) == 300
    text = shown(night, columns=80)
    assert len(re.findall(r"^Agent\d{3} ", text, re.MULTILINE)) == 40
    assert len(re.findall(r"^Agent\d{3}: faulty record", text, re.MULTILINE)) == 10
    assert "... and 90 more: --json lists all" in text
    assert "see why Agent000, Agent001, Agent002, Agent003, Agent004 and 95 more send no good record" in " ".join(
        text.split()
    )
