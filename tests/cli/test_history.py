"""`history` and `decisions`: who had what, when and why, read from the journal alone."""

from __future__ import annotations

import re
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from capital_governor.core.model import Metrics
from capital_governor.core.orders import OrderKind
from capital_governor.core.reason import Reason
from tests.rigs.builders import NOW
from tests.rigs.commands import call, loaded, on_terminal, tree
from tests.rigs.cycle_rig import CycleRig
from tests.rigs.daemon import Daemon
from tests.rigs.night import FLEET, UNREACHABLE, Night
from tests.rigs.ordered_root import Place
from tests.rigs.stored_roots import unpack, unpack_schema_4

ALL = ("--since", "9999d")
UNREACHED = "no metrics could be fetched: connection refused by http://localhost:8100/meta/metrics"
HALF_GONE = "half of the fleet or more stopped reporting at once: CryptoTrend, DropshipAgent"
NO_CYCLE = "no cycle: no governor ran, or the journal could not be written"
HALVED = (
    "CryptoTrend 40 -> 20 %, SmartTrader 28.2 -> 14.1 %, DropshipAgent 25.4 -> 12.7 %, NewsScalper 6.4 -> 3.2 %, "
    "reserve 0 -> 50 %"
)
WHOLE_NIGHT = f"""\
Capital since 2025-11-03 22:00 UTC; times are UTC
the journal begins here
2025-11-03 22:00  CryptoTrend 40 %, SmartTrader 28.2 %, DropshipAgent 25.4 %, NewsScalper 6.4 %, reserve 0 %: \
first allocation
2025-11-03 22:20  {HALVED}: market BEAR (risk 0.5), exposure 100 -> 50 %
2025-11-03 22:35  held: Guardian paused (payload): Manual check (for 15 min)
2025-11-03 23:00  held: {UNREACHED} (for 20 min)
2025-11-03 23:20  NewsScalper: faulty record: winrate_30d is 65, not within 0..1 (for 15 min)
2025-11-03 23:35  order: limit SmartTrader --max 0.1 by anna: new strategy
2025-11-03 23:35  SmartTrader 14.1 -> 5 %, reserve 50 -> 59.1 %: SmartTrader: operator's cap by anna: new strategy
2025-11-03 23:40  {NO_CYCLE} (for 1 h 5 min)
2025-11-04 00:45  CryptoTrend 20 -> 40 %, DropshipAgent 12.7 -> 25.4 %, SmartTrader 5 -> 10 %, \
NewsScalper 3.2 -> 6.4 %, reserve 59.1 -> 18.2 %: exposure 50 -> 100 %, nothing reduces it now
2025-11-04 00:55  order taken back by bob: limit SmartTrader --max 0.1 by anna: new strategy
2025-11-04 00:55  SmartTrader 10 -> 28.2 %, reserve 18.2 -> 0 %: what was withheld is given back
2025-11-04 01:05  NewsScalper: no record (for 15 min)
2025-11-04 01:20  NewsScalper 6.4 -> 0 %, reserve 0 -> 6.4 %: NewsScalper has lapsed: no record for too long
2025-11-04 01:20  NewsScalper: lapsed, no record for too long (so far)
2025-11-04 01:35  held: {HALF_GONE} (for 10 min)
2025-11-04 01:35  CryptoTrend, DropshipAgent: no record (for 10 min)
2025-11-04 01:45  {NO_CYCLE} (so far)
now: CryptoTrend 40 %, SmartTrader 28.2 %, DropshipAgent 25.4 %, NewsScalper 0 %, reserve 6.4 %
"""
ITS_DECISIONS = f"""\
Decisions since 2025-11-03 22:00 UTC that differed from the one before; times are UTC
2025-11-03 22:00  moved: first allocation (for 5 min)
2025-11-03 22:05  no change: what is wanted is what is published (for 15 min)
2025-11-03 22:20  moved: market BEAR (risk 0.5), exposure 100 -> 50 % (for 5 min)
2025-11-03 22:25  no change: what is wanted is what is published (for 10 min)
2025-11-03 22:35  held: Guardian paused (payload): Manual check (for 15 min)
2025-11-03 22:50  no change: what is wanted is what is published (for 10 min)
2025-11-03 23:00  held: {UNREACHED} (for 20 min)
2025-11-03 23:20  no change: what is wanted is what is published; faulty: NewsScalper (for 15 min)
2025-11-03 23:35  cut: SmartTrader: operator's cap by anna: new strategy (for 5 min)
2025-11-03 23:40  no change: what is wanted is what is published (for 1 h 5 min)
2025-11-04 00:45  moved: exposure 50 -> 100 %, nothing reduces it now (for 5 min)
2025-11-04 00:50  no change: what is wanted is what is published (for 5 min)
2025-11-04 00:55  restored: what was withheld is given back (for 5 min)
2025-11-04 01:00  no change: what is wanted is what is published (for 5 min)
2025-11-04 01:05  no change: what is wanted is what is published; no record: NewsScalper (for 15 min)
2025-11-04 01:20  cut: NewsScalper has lapsed: no record for too long; lapsed: NewsScalper (for 5 min)
2025-11-04 01:25  no change: what is wanted is what is published; lapsed: NewsScalper (for 10 min)
2025-11-04 01:35  held: {HALF_GONE}; no record: CryptoTrend, DropshipAgent, lapsed: NewsScalper (for 10 min)
2025-11-04 01:45  no change: what is wanted is what is published; lapsed: NewsScalper
"""


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> Iterator[None]:
    with loaded():
        yield


def without_age(text: str) -> str:
    """What goes on lasts longer each time it is looked at."""
    return re.sub(r"for [0-9a-z ]+ so far", "so far", text)


def below_the_fleet(text: str, root: Path) -> str:
    """What is shown without its second line, which names fleet and root."""
    first, fleet, rest = text.split("\n", 2)
    assert fleet == f"fleet      {socket.gethostname().partition('.')[0]}/{root.name}, root {root}"
    return f"{first}\n{rest}"


def test_a_night_is_told_in_order(night: Path) -> None:
    """Shares from and to with their cause, holds and faults with how long they lasted, orders, and a gap."""
    before = tree(night)
    said = call(night, "history", *ALL)
    assert (said.code, said.err) == (0, "")
    assert below_the_fleet(without_age(said.out), night) == WHOLE_NIGHT
    assert tree(night) == before


def test_each_cycle_that_differed_has_a_line(night: Path) -> None:
    """Forty cycles, of which these differ from the one before."""
    before = tree(night)
    said = call(night, "decisions", *ALL)
    assert (said.code, said.err) == (0, "")
    assert below_the_fleet(said.out, night) == ITS_DECISIONS
    assert tree(night) == before


def test_the_history_of_one_agent(night: Path) -> None:
    """Only its shares, faults and orders; the holds and gaps are everybody's."""
    said = without_age(call(night, "history", "SmartTrader", *ALL).out)
    assert below_the_fleet(said, night).splitlines() == [
        "SmartTrader since 2025-11-03 22:00 UTC; times are UTC",
        "the journal begins here",
        "2025-11-03 22:00  28.2 %: first allocation",
        "2025-11-03 22:20  28.2 -> 14.1 %: market BEAR (risk 0.5), exposure 100 -> 50 %",
        "2025-11-03 22:35  held: Guardian paused (payload): Manual check (for 15 min)",
        f"2025-11-03 23:00  held: {UNREACHED} (for 20 min)",
        "2025-11-03 23:35  order: limit SmartTrader --max 0.1 by anna: new strategy",
        "2025-11-03 23:35  14.1 -> 5 %: SmartTrader: operator's cap by anna: new strategy",
        f"2025-11-03 23:40  {NO_CYCLE} (for 1 h 5 min)",
        "2025-11-04 00:45  5 -> 10 %: exposure 50 -> 100 %, nothing reduces it now",
        "2025-11-04 00:55  order taken back by bob: limit SmartTrader --max 0.1 by anna: new strategy",
        "2025-11-04 00:55  10 -> 28.2 %: what was withheld is given back",
        f"2025-11-04 01:35  held: {HALF_GONE} (for 10 min)",
        f"2025-11-04 01:45  {NO_CYCLE} (so far)",
        "now: 28.2 %",
    ]
    assert "faulty record" in call(night, "history", "NewsScalper", *ALL).out


def test_moves_alone(night: Path) -> None:
    """`--moves` leaves out all that changed no share."""
    said = call(night, "history", "NewsScalper", "--moves", *ALL).out
    assert below_the_fleet(said, night).splitlines()[2:] == [
        "2025-11-03 22:00  6.4 %: first allocation",
        "2025-11-03 22:20  6.4 -> 3.2 %: market BEAR (risk 0.5), exposure 100 -> 50 %",
        "2025-11-04 00:45  3.2 -> 6.4 %: exposure 50 -> 100 %, nothing reduces it now",
        "2025-11-04 01:20  6.4 -> 0 %: NewsScalper has lapsed: no record for too long",
        "now: 0 %",
    ]


def test_the_same_as_json(night: Path) -> None:
    """The JSON has all events with their figures, and a reason by its code."""
    found = call(night, "history", "--json", *ALL, env={"CAPITAL_GOVERNOR_NAME": "night"}).json
    assert (found["root"], found["fleet"]) == (str(night), "night")
    events = found["events"]
    assert [event["kind"] for event in events] == [
        *("move", "move", "hold", "hold", "fault", "order", "cut", "gap", "move", "order", "restore"),
        *("absence", "cut", "lapse", "hold", "absence", "gap"),
    ]
    assert events[1]["shares"]["CryptoTrend"] == [0.4, 0.2]
    assert (events[1]["exposure"], events[1]["reserve"], events[1]["reason"]) == ([1.0, 0.5], [0.0, 0.5], "threshold")
    assert (events[2]["at"], events[2]["until"]) == ("2025-11-03T22:35:00Z", "2025-11-03T22:50:00Z")
    assert (found["before"], found["now"]["generation"], found["causes_missing"]) == (None, 6, False)
    decided = call(night, "decisions", "--json", *ALL, env={"CAPITAL_GOVERNOR_NAME": "night"}).json
    assert (decided["root"], decided["fleet"]) == (str(night), "night")
    decisions = decided["decisions"]
    assert [row["outcome"] for row in decisions[:5]] == ["moved", "no change", "moved", "no change", "held"]
    assert (decisions[2]["generation"], decisions[2]["seen"], decisions[2]["reason"]) == (2, True, "threshold")
    assert decisions[2]["facts"]["exposure"]["name"] == "BEAR"


def test_a_window_begins_with_what_was_published_before(tmp_path: Path) -> None:
    """What happened before is left out, but for what agents had, and a hold that went on."""
    night = Night(tmp_path)
    night.now = time.time() - 7_200.0
    night.pass_by(2)
    night.pass_by(14, refusal=UNREACHABLE)
    night.pass_by(8, risk=0.5, regime="BEAR")
    night.end()
    said = below_the_fleet(without_age(call(tmp_path, "history", "--since", "1h").out), tmp_path).splitlines()
    assert said[1] == (
        "until then: CryptoTrend 40 %, SmartTrader 28.2 %, DropshipAgent 25.4 %, NewsScalper 6.4 %, reserve 0 %"
    )
    assert [line[18:] for line in said[2:-1]] == [
        f"held: {UNREACHED} (for 1 h 10 min)",
        f"{HALVED}: market BEAR (risk 0.5), exposure 100 -> 50 %",
    ]
    assert call(tmp_path, "history", "--since", "5m").out.splitlines()[3] == "nothing has changed since then"
    assert call(tmp_path, "decisions", "--since", "5m").out.splitlines()[2].startswith("none: all like the one of ")


def test_a_publication_that_agents_never_saw_is_no_change_of_shares(tmp_path: Path) -> None:
    """`history` leaves it out, `decisions` says so."""
    night = Night(tmp_path)
    night.pass_by(1)
    (tmp_path / "runtime" / "capital_governor_allocations.json").unlink()
    (tmp_path / "runtime" / "capital_governor_allocations.json").mkdir()
    night.pass_by(2, risk=0.5, regime="BEAR")
    night.end()
    assert "14.1 %" not in call(tmp_path, "history", *ALL).out
    assert "held: the allocation files cannot be written: " in call(tmp_path, "history", *ALL).out


def test_a_score_that_moved_the_fleet_is_named(tmp_path: Path) -> None:
    """A move by scores alone names the agent with the largest change, and its score before and after."""
    night = Night(tmp_path)
    night.pass_by(1)
    night.pass_by(1, fleet=FLEET | {"NewsScalper": Metrics(8_000.0, 2.0, 0.6, 0.0)})
    night.end()
    # 0.40 x 0.8 + 0.30 x 2/3 + 0.20 x 0.6 + 0.10 = 0.74, after 0.20 x 0.2 + 0.10 x 0.45 = 0.085.
    assert "score of NewsScalper rose from 0.09 to 0.74" in call(tmp_path, "history", *ALL).out.replace(
        "0.08 ", "0.09 "
    )


def test_an_accept_is_told_by_what_it_accepts(tmp_path: Path) -> None:
    """Not by the code of the hold; nor in `status`."""
    night = Night(tmp_path)
    night.pass_by(1)
    night.order(OrderKind.ACCEPT, accepts=Reason.MEMBERS_GONE.value)
    night.pass_by(1, refusal=UNREACHABLE)
    night.end()
    accept = "accept that half of the fleet or more stopped reporting at once by anna"
    assert f"order: {accept}\n" in call(tmp_path, "history", *ALL).out
    assert f"operator   {accept}\n" in call(tmp_path, "status").out


@pytest.mark.parametrize(("older", "moves"), [(unpack, 3), (unpack_schema_4, 3)])
def test_an_older_journal_says_what_is_missing(tmp_path: Path, older: object, moves: int) -> None:
    """It is read as it is, not upgraded: shares and reasons are there, and the text says that causes are missing."""
    older(tmp_path)  # type: ignore[operator]
    before = tree(tmp_path)
    for name in ("history", "decisions"):
        said = call(tmp_path, name, *ALL)
        assert said.code == 0
        assert "recorded by an earlier version" in said.out
        assert_no_codes(said.out)
    found = call(tmp_path, "history", "--moves", "--json", *ALL).json
    assert (len(found["events"]), found["causes_missing"]) == (moves, True)
    assert tree(tmp_path) == before


def assert_no_codes(text: str) -> None:
    assert [reason.value for reason in Reason if "_" in reason.value and reason.value in text] == []


def test_no_reason_is_told_by_its_code(night: Path) -> None:
    """Codes are for `--json`."""
    for arguments in (("history", *ALL), ("decisions", *ALL), ("status",), ("history", "SmartTrader", *ALL)):
        assert_no_codes(call(night, *arguments).out)


@pytest.mark.parametrize("columns", [80, 45])
@pytest.mark.parametrize("arguments", [("history", *ALL), ("decisions", *ALL), ("history", "NewsScalper", *ALL)])
def test_it_fits_the_terminal(night: Path, arguments: tuple[str, ...], columns: int) -> None:
    """At 80 columns and on a phone; each day has a heading, and each event its time."""
    shown = on_terminal(night, *arguments, columns=columns, env={"NO_COLOR": "1"}).splitlines()
    assert max(map(len, shown)) <= columns
    assert [line for line in shown if re.fullmatch(r"\d{4}-\d\d-\d\d", line)] == ["2025-11-03", "2025-11-04"]
    assert any(line.startswith("22:20  ") for line in shown)


def test_wrong_words(night: Path, tmp_path: Path) -> None:
    """An unknown agent, a duration that is none, and a root that lost its journal end with one line."""
    said = call(night, "history", "smarttrader", *ALL)
    assert (said.code, said.out) == (2, "")
    assert said.err == (
        "capital-governor: there is nothing about 'smarttrader' in this time; did you mean SmartTrader?\n"
    )
    said = call(night, "history", "Nobody", *ALL)
    assert said.err == (
        "capital-governor: there is nothing about 'Nobody' in this time;"
        f" `capital-governor status --root {night}` lists the agents\n"
    )
    for name in ("history", "decisions"):
        wrong = call(night, name, "--since", "yesterday")
        assert (wrong.code, wrong.out) == (2, "")
        assert wrong.err.startswith("capital-governor: --since 'yesterday' is not a duration: write 90s, 15m, 2h")
        (tmp_path / "runtime").mkdir(exist_ok=True)
        (tmp_path / "runtime" / "capital_governor_status.json").write_text("{}")
        before = tree(tmp_path)
        none = call(tmp_path, name)
        assert (none.code, none.out) == (75, "")
        assert none.err.startswith(f"capital-governor: there is no journal at {tmp_path}")
        assert tree(tmp_path) == before


def test_beside_a_running_governor(place: Place, governor: Daemon) -> None:
    """They read what it has recorded so far, and it goes on recording."""
    said = call(place.root, "history")
    assert (said.code, said.err) == (0, "")
    assert "first allocation" in said.out
    assert "moved: first allocation" in call(place.root, "decisions").out
    assert governor.process.poll() is None
    with sqlite3.connect(place.root / "state" / "capital_governor.sqlite3") as plain:
        assert plain.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    plain.close()


def test_other_settings_are_told(tmp_path: Path) -> None:
    """After a restart with other settings, history and decisions name each that a decision depends on."""
    with CycleRig(tmp_path) as rig:
        rig.see()
    with CycleRig(tmp_path, now=NOW + 300.0, MAX_ALLOC="0.35", RELEASE_AFTER="4") as rig:
        rig.see()
    told = "settings changed: MAX_ALLOC 0.4 -> 0.35, RELEASE_AFTER never -> 4"
    assert f"2025-11-03 22:05  {told}\n" in call(tmp_path, "history", *ALL).out
    assert f"2025-11-03 22:05  {told}; moved: " in call(tmp_path, "decisions", *ALL).out
    assert told not in call(tmp_path, "history", "--moves", *ALL).out
    events = call(tmp_path, "history", "--json", *ALL).json["events"]
    (event,) = [event for event in events if event["kind"] == "settings"]
    assert event["settings"] == {"max_alloc": ["0.4", "0.35"], "release_after_cycles": ["never", "4"]}
