"""What the answer of an order says, and that capital then does just that."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from capital_governor.wording.amounts import percent_text
from tests.rigs.daemon import Daemon
from tests.rigs.dashboard import FLEET, fixed, fresh
from tests.rigs.ordered_root import ME, SLOW, Place
from tests.rigs.patience import wait_until

pytestmark = pytest.mark.usefixtures("loaded")
RUNNING = "a governor is running: it takes effect in its next cycle, within [0-9]+ [0-9a-z ]+"
PAUSED = "the last cycle held (the pause file says: Manual check): until that ends only cuts are made. It ends with: "
MOVE_TOO = "a move in the same cycle may change shares as well, within all limits"
DOWN = fixed(b"", status="401 Unauthorized")


def answer(place: Place, *words: str, **own: str) -> list[str]:
    said = place.call(*words, **{f"CAPITAL_GOVERNOR_{name}": value for name, value in own.items()})
    assert said.code == 0, said.err
    return said.answer


def once(place: Place, **own: str) -> Any:
    return place.call("once", "--json", **{f"CAPITAL_GOVERNOR_{name}": value for name, value in own.items()}).json


def foretold(lines: list[str], arrow: str = "") -> dict[str, str]:
    """By agent, and for the reserve, the share that an answer announces."""
    found = re.findall(rf"^(\w+) [0-9.]+{' %' if arrow else ''} -> {arrow}([0-9.]+ %)$", "\n".join(lines), re.MULTILINE)
    return {name: share for name, share in found if name != "exposure"}


def shown(place: Place, *names: str) -> dict[str, str]:
    """The published shares as an answer writes them, of all agents that are named."""
    document = json.loads((place.root / "runtime" / "capital_governor_allocations.json").read_bytes())
    every = document["allocations"] | {"reserve": document["reserve"]}
    return {name: percent_text(every[name]) for name in names}


def pause(place: Place) -> Callable[[], None]:
    """Let Guardian pause; return what ends that."""
    path = place.root / "state" / "guardian_pause.json"
    path.write_text('{"paused": true, "reason": "Manual check"}')
    return path.unlink


# --- beside a running governor ---------------------------------------------------------------------------------------


def test_in_a_pause_a_cut_comes_as_announced_and_nothing_rises(place: Place, governor: Daemon) -> None:
    """The answer to a cut gives the shares that are published in the pause; that of its end says what it waits for."""
    resume = pause(place)
    place.wait_for("paused")
    before = place.shares()
    lines = answer(place, "exposure", "--max", "0.5")
    assert lines[1] == "exposure 100 % -> at most 50 %"
    assert re.fullmatch(f"{RUNNING}, in every hold but STOP", lines[-1])
    assert MOVE_TOO not in lines
    governor.says("Shares cut (exposure is above its ceiling)")
    assert foretold(lines) == shown(place, *before, "reserve")
    lines = answer(place, "exposure", "--lift")
    assert lines[1] == "exposure 50 -> 100 % with the next move; until then no share rises"
    assert re.fullmatch(RUNNING, lines[2])
    assert lines[3].startswith(PAUSED)
    cut = place.shares()
    place.cycles(3)
    assert place.shares() == cut
    resume()
    wait_until(lambda: place.shares() == before, SLOW)


def test_under_stop_an_order_waits_until_it_is_removed(place: Place, governor: Daemon) -> None:
    """The answer says so in place of a time; the first cycle after that obeys."""
    del governor
    stop = place.root / "runtime" / "capital_governor.STOP"
    stop.touch()
    place.wait_for("stopped")
    before = place.files()
    lines = answer(place, "exposure", "--max", "0")
    assert foretold(lines)["reserve"] == "100 %"
    assert re.fullmatch(RUNNING.replace("takes effect", "reads this"), lines[-2])
    assert lines[-1] == "the STOP file is there: nothing changes before the first cycle after it is removed"
    place.cycles(3)
    assert place.files() == before
    stop.unlink()
    wait_until(lambda: set(place.shares().values()) == {0.0}, SLOW)


def test_an_operators_hold_delays_what_is_given_back(place: Place, governor: Daemon) -> None:
    """A cap cuts in the hold; its end waits for the end of the hold, and the answer names that."""
    del governor
    before = place.shares()
    lines = answer(place, "hold", "--reason", "broker migration")
    assert lines[1] == "from then on all shares stay as they are; only `exposure --max` and `limit --max` still cut"
    answer(place, "limit", "RangeTrader", "--max", "0.1")
    wait_until(lambda: place.shares()["RangeTrader"] == 0.1, SLOW)
    lines = answer(place, "unlimit", "RangeTrader")
    assert foretold(lines, "at most ") == {"RangeTrader": percent_text(before["RangeTrader"])}
    assert "reserve 29.4 % -> at least 0 %" in lines
    assert lines[-1] == f"the hold by {ME}: broker migration is on: until it ends only cuts are made"
    place.cycles(3)
    assert place.shares()["RangeTrader"] == 0.1
    lines = answer(place, "resume")
    assert lines[1] == "from then on shares may move again"
    assert re.fullmatch(RUNNING, lines[2])
    assert len(lines) == 3
    wait_until(lambda: place.shares() == before, SLOW)


def test_a_resume_in_a_pause_says_that_the_pause_goes_on(place: Place, governor: Daemon) -> None:
    """It is Guardian's pause then that keeps the shares."""
    del governor
    answer(place, "hold")
    pause(place)
    place.wait_for("paused")
    assert answer(place, "resume")[-1].startswith(PAUSED)


def test_an_order_while_the_file_cannot_be_written(place: Place, governor: Daemon) -> None:
    """The order is taken; the answer names the file and says that agents see no change before it can be written."""
    del governor
    primary = place.root / "runtime" / "capital_governor_allocations.json"
    primary.unlink()
    primary.mkdir()
    place.wait_for("files_unwritable")
    lines = answer(place, "exposure", "--max", "0.5")
    assert lines[1] == f"what it cuts cannot be shown: {primary}: is a folder, not a file"
    assert lines[-1].startswith("the last cycle could not write a file, and agents see no change until that succeeds: ")
    assert str(primary) in lines[-1]
    primary.rmdir()
    wait_until(lambda: primary.is_file() and sum(place.shares().values()) <= 0.5, SLOW)


# --- what rises again ------------------------------------------------------------------------------------------------


def test_a_restore_waits_for_the_cooldown_that_the_answer_names(place: Place) -> None:
    """Until then each cycle withholds as much as before."""
    own = {"COOLDOWN": "3600"}
    once(place, **own)
    moved = datetime.fromisoformat(place.status()["published_at"])
    answer(place, "limit", "RangeTrader", "--max", "0.1", **own)
    assert once(place, **own)["reason"] == "cut_limit"
    lines = answer(place, "unlimit", "RangeTrader", **own)
    (until,) = re.findall(r"^COOLDOWN: nothing rises before (\S+ \S+) UTC$", "\n".join(lines), re.MULTILINE)
    waits = datetime.fromisoformat(f"{until}Z") - moved
    assert 3_600 <= waits.total_seconds() <= 3_601  # the status file has whole seconds
    once(place, **own)
    assert place.shares()["RangeTrader"] == 0.1
    once(place)
    assert place.shares()["RangeTrader"] > 0.3


def test_a_rise_of_exposure_waits_for_confirmation(place: Place) -> None:
    """With CONFIRM_CYCLES=2 the first decided cycle after the order's end leaves exposure, the second raises it."""
    own = {"CONFIRM_CYCLES": "2"}
    once(place, **own)
    once(place, **own)
    answer(place, "exposure", "--max", "0.5", **own)
    once(place, **own)
    lines = answer(place, "exposure", "--lift", **own)
    assert lines[-1] == "CONFIRM_CYCLES: a move comes when 2 decided cycles in a row ask for it"
    assert [once(place, **own)["published_exposure"] for _ in range(2)] == [0.5, 1.0]


def test_a_rise_below_the_threshold_moves_nothing_by_itself(place: Place) -> None:
    """The answer says so, and exposure stays until something else moves."""
    once(place)
    answer(place, "exposure", "--max", "0.95")
    once(place)
    lines = answer(place, "exposure", "--lift")
    assert lines[1:3] == [
        "exposure 95 -> 100 % with the next move; until then no share rises",
        "that rise alone causes no move: 5 % is below the threshold, 10 %",
    ]
    assert once(place)["published_exposure"] == 0.95


def test_the_end_of_an_order_that_the_market_undercuts(place: Place) -> None:
    """Exposure is lower than the order for another reason, so that its end changes nothing."""
    place.dashboard.next(*[fresh(risk=0.4)] * 9)
    once(place)
    answer(place, "exposure", "--max", "0.5")
    assert once(place)["published_exposure"] == 0.4
    lines = answer(place, "exposure", "--lift")
    assert lines[1] == "published exposure is 40 %, and market, drawdown and settings allow 40 %: nothing changes now"
    assert once(place)["moved"] is False


def test_a_higher_ceiling_says_how_far_exposure_may_rise(place: Place) -> None:
    """It cuts nothing, and the next move rises to it."""
    once(place)
    answer(place, "exposure", "--max", "0.5")
    once(place)
    lines = answer(place, "exposure", "--max", "0.8")
    assert lines[2:4] == [
        "no published share is above it: nothing is cut",
        "exposure 50 -> 80 % with the next move; until then no share rises",
    ]
    assert once(place)["published_exposure"] == 0.8


# --- limits ----------------------------------------------------------------------------------------------------------


def test_a_looser_cap_gives_back_up_to_itself(place: Place) -> None:
    """The answer has both figures, and the cycle publishes them."""
    once(place)
    answer(place, "limit", "RangeTrader", "--max", "0.1")
    once(place)
    lines = answer(place, "limit", "RangeTrader", "--max", "0.2")
    assert foretold(lines, "at most ") == {"RangeTrader": "20 %"}
    assert "nothing rises before a cycle that decides, nor before COOLDOWN is over" in lines
    once(place)
    assert shown(place, "RangeTrader") == {"RangeTrader": "20 %"}


def test_a_cap_that_is_shared_out_goes_to_the_others_with_the_move(place: Place) -> None:
    """Until a brake lets that move come, what it takes is in the reserve; so the answer."""
    own = {"CONFIRM_CYCLES": "2"}
    once(place, **own)
    once(place, **own)
    lines = answer(place, "limit", "RangeTrader", "--max", "0.1", "--share-out", **own)
    assert foretold(lines) == {"RangeTrader": "10 %", "reserve": "29.4 %"}
    assert "what it takes goes to the others with the next move, and to the reserve until then" in lines
    once(place, **own)
    assert shown(place, "RangeTrader", "reserve") == {"RangeTrader": "10 %", "reserve": "29.4 %"}
    once(place, **own)
    assert shown(place, "RangeTrader", "reserve") == {"RangeTrader": "10 %", "reserve": "0 %"}
    lines = answer(place, "unlimit", "RangeTrader", **own)
    assert lines[1] == "a share that the former cap kept low may rise with the next move"
    assert lines[-1].startswith("CONFIRM_CYCLES: ")


def test_a_withheld_cap_that_is_shared_out_later(place: Place) -> None:
    """Nothing more is cut, and what was withheld goes to the others instead of back to the agent."""
    once(place)
    answer(place, "limit", "RangeTrader", "--max", "0.1")
    once(place)
    lines = answer(place, "limit", "RangeTrader", "--max", "0.1", "--share-out")
    assert lines[2:4] == [
        "no published share is above it: nothing is cut",
        "what it takes goes to the others with the next move, and to the reserve until then",
    ]
    assert foretold(lines, "at most ") == {}
    once(place)
    assert shown(place, "RangeTrader", "reserve") == {"RangeTrader": "10 %", "reserve": "0 %"}


def test_a_cap_for_everybody(place: Place) -> None:
    """Each agent above it is cut as the answer says, and gets back as much when it ends."""
    once(place)
    before = shown(place, *FLEET)
    lines = answer(place, "limit", "*", "--max", "0.2")
    assert foretold(lines).keys() == {"RangeTrader", "SmartTrader", "DropshipAgent", "reserve"}
    once(place)
    assert foretold(lines) == shown(place, *foretold(lines))
    lines = answer(place, "unlimit", "*")
    assert foretold(lines, "at most ") == {
        name: before[name] for name in ("RangeTrader", "SmartTrader", "DropshipAgent")
    }
    once(place)
    assert shown(place, *FLEET) == before


def test_a_floor_raises_with_the_next_move(place: Place) -> None:
    """A planned share below the floor rises in the next decided cycle; one that is not below it changes nothing."""
    once(place)
    lines = answer(place, "limit", "ScoutBot", "--min", "0.3")
    assert lines[1:3] == [
        "with the next move, as far as floors and caps of all agents allow:",
        "ScoutBot 11 % -> at least 30 %",
    ]
    once(place)
    assert shown(place, "ScoutBot") == {"ScoutBot": "30 %"}
    lines = answer(place, "limit", "ScoutBot", "--min", "0.2")
    assert lines[2:4] == [
        "no planned share is below that floor: nothing rises now",
        "a share that the former floor kept up may fall with the next move",
    ]
    once(place)
    assert shown(place, "ScoutBot") == {"ScoutBot": "20 %"}
    assert (
        answer(place, "unlimit", "ScoutBot")[1] == "a share that the former floor kept up may fall with the next move"
    )


def test_a_limit_that_changed_nothing(place: Place) -> None:
    """Its end changes nothing either, and the answer says so."""
    once(place)
    lines = answer(place, "limit", "ScoutBot", "--max", "0.3")
    assert lines[1] == "no published share is above it: nothing is cut"
    lines = answer(place, "unlimit", "ScoutBot")
    assert lines[1] == "it has not changed a published share: nothing changes now"


@pytest.mark.parametrize(
    "words", ["limit Ada --max 0.1", "limit Ada --min 0.1", "limit * --max 0.1", "exposure --max 0.5"]
)
def test_before_the_first_allocation(place: Place, words: str) -> None:
    """There is no share yet to change."""
    place.begin()
    lines = answer(place, *words.split())
    assert lines[1:] == [
        "nothing is published yet: it applies from the first allocation on",
        f"no governor is running: it takes effect when one is, or with {place.typed('once')}",
    ]


# --- release and accept ----------------------------------------------------------------------------------------------


def without(*names: str) -> Callable[..., None]:
    return fresh({name: record for name, record in FLEET.items() if name not in names})


def cycles_until_gone(place: Place, agent: str) -> int:
    """How many more cycles it takes until an agent has no line."""
    taken = 0
    while agent in place.shares():
        once(place)
        taken += 1
        assert taken < 10
    return taken


@pytest.mark.parametrize("absent", [1, 2, 3])
def test_a_release_counts_the_cycles_that_are_left(place: Place, absent: int) -> None:
    """Of the grace of three cycles as many are left as the answer says; in the last of them the others get the part."""
    once(place)
    place.dashboard.next(*[without("RangeTrader")] * 9)
    for _ in range(absent):
        once(place)
    line = answer(place, "release", "RangeTrader")[1]
    (left,) = re.findall(r"in (\d) cycles? that decides?, unless a good record comes first$", line)
    assert int(left) == 4 - absent == cycles_until_gone(place, "RangeTrader")
    assert shown(place, "reserve") == {"reserve": "0 %"}


def test_a_release_of_a_lapsed_agent(place: Place) -> None:
    """Its part has been in the reserve, and the next cycle that decides shares it out."""
    own = {"MEMBERSHIP_GRACE": "0"}
    once(place, **own)
    share = shown(place, "RangeTrader")["RangeTrader"]
    place.dashboard.next(*[without("RangeTrader")] * 9)
    once(place, **own)
    assert shown(place, "RangeTrader", "reserve") == {"RangeTrader": "0 %", "reserve": share}
    said = "in the next cycle that decides, unless a good record comes first"
    line = answer(place, "release", "RangeTrader", **own)[1]
    assert line == f"RangeTrader: its part of the plan, {share}, is shared out {said}"
    once(place, **own)
    assert "RangeTrader" not in place.shares()
    assert shown(place, "reserve") == {"reserve": "0 %"}


def test_a_release_of_a_faulty_agent(place: Place) -> None:
    """It has a record, so its grace does not begin: it keeps its share, as the answer says."""
    once(place)
    before = shown(place, *FLEET)
    place.dashboard.next(*[fresh({**FLEET, "RangeTrader": {"pnl_7d": "1"}})] * 9)
    once(place)
    line = answer(place, "release", "RangeTrader")[1]
    assert line.startswith("RangeTrader: while faulty records come, it keeps its share; its part of the plan, ")
    for _ in range(5):
        once(place)
    assert shown(place, *FLEET) == before


def test_an_accept_names_whose_part_is_shared_out_and_when(place: Place) -> None:
    """Of members that are gone at once: the answer counts the cycles, and the others then get their parts."""
    once(place)
    place.dashboard.next(*[without("RangeTrader", "ScoutBot")] * 9)
    once(place)
    lines = answer(place, "accept")
    grace = "is shared out when MEMBERSHIP_GRACE is over, in 4 cycles that decide, unless a good record comes first"
    assert lines[1:3] == [
        f"RangeTrader: its part of the plan, 39.4 %, {grace}",
        f"ScoutBot: its part of the plan, 11 %, {grace}",
    ]
    assert cycles_until_gone(place, "RangeTrader") == 4
    assert "ScoutBot" not in place.shares()


def test_an_accept_that_leaves_nobody(place: Place) -> None:
    """Where all members are gone, their parts go to the reserve, and the answer says so."""
    once(place)
    place.dashboard.next(*[fresh({})] * 9)
    once(place)
    assert "no member is left that others' parts could go to: they go to the reserve" in answer(place, "accept")
    cycles_until_gone(place, "RangeTrader")
    assert shown(place, "reserve") == {"reserve": "100 %"}


@pytest.mark.parametrize(
    ("block", "effect"),
    [
        ("guardian", "from then on a payload without a guardian block counts as not paused"),
        ("timestamp", "from then on a payload without a time stamp counts as fresh"),
    ],
)
def test_an_accept_of_a_lost_block(place: Place, block: str, effect: str) -> None:
    """The answer says as what its absence counts from then on, and the next cycle decides."""
    once(place)
    place.dashboard.next(*[fresh(change=lambda said: said.pop(block))] * 9)
    assert once(place)["outcome"] == "hold"
    lines = answer(place, "accept")
    assert lines[1:3] == [effect, "the cycle that uses it decides again, so shares may move"]
    assert once(place)["outcome"] == "stay"


def test_an_accept_in_a_pause_waits(place: Place, governor: Daemon) -> None:
    """The answer names the pause; when that is over, the accept is used."""
    place.dashboard.next(fresh(change=lambda said: said.pop("guardian")))
    place.wait_for("guardian_lost")
    resume = pause(place)
    place.wait_for("paused")
    lines = answer(place, "accept")
    assert "it waits up to a day for a cycle that holds for this, and lapses when that hold ends by itself" in lines
    assert lines[-1].startswith("the last cycle held (")
    place.dashboard.next(fresh())
    resume()
    governor.says("Hold is over: paused")
