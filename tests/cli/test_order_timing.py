"""When an order takes effect, by what the answer of a command knows."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final

import pytest

from capital_governor.cli.order_timing import LastCycle, Needs, Situation, last_cycle, when_lines
from capital_governor.core.hold import EXITS
from capital_governor.core.model import Latches, OperatorHold, Rules
from capital_governor.core.reason import Reason
from capital_governor.service.standing import Standing, Vitals, status_document
from tests.rigs.builders import NOW

GOOD: Final = LastCycle(NOW - 100, NOW + 800, None, "", "", {})
SEEN: Final = Situation(
    now=NOW,
    running=True,
    stopped=False,
    last=GOOD,
    hold=None,
    moved_at=None,
    longest_seconds=320.0,
    rules=Rules(),
)
NEXT: Final = "a governor is running: it takes effect in its next cycle, within 3 min 41 s"


def held(reason: Reason, detail: str = "the facts") -> Situation:
    return replace(SEEN, last=replace(GOOD, hold=reason, detail=detail, exit=EXITS[reason]))


def lines(seen: Situation, needs: Needs) -> list[str]:
    return list(when_lines(seen, needs))


@pytest.mark.parametrize(
    ("needs", "more"), [(needs, ", in every hold but STOP" if needs is Needs.CUT else "") for needs in Needs]
)
def test_the_next_cycle_is_an_interval_and_a_fetch_after_the_last(needs: Needs, more: str) -> None:
    """The last cycle was 100 to 101 s ago and the next is at most 320 s after it; a cut names what it passes."""
    assert lines(SEEN, needs) == [f"{NEXT}{more}"]


@pytest.mark.parametrize(
    "last",
    [None, replace(GOOD, at=NOW - 400), replace(GOOD, at=NOW + 50)],
    ids=["unknown", "overdue", "clock set back"],
)
def test_without_a_last_cycle_it_is_the_longest_time(last: LastCycle | None) -> None:
    """If the time of the last cycle says nothing, the bound is that from one cycle to the next."""
    assert lines(replace(SEEN, last=last), Needs.CYCLE) == [NEXT.replace("3 min 41 s", "5 min 20 s")]


def test_with_faulty_settings_no_time_is_given() -> None:
    """The interval is not known then."""
    assert lines(replace(SEEN, longest_seconds=None, rules=None, moved_at=NOW), Needs.MOVE) == [
        "a governor is running: it takes effect in its next cycle"
    ]


def test_a_governor_that_is_late() -> None:
    """No time is promised where the last cycle is older than the status file is valid."""
    (line,) = lines(replace(SEEN, last=replace(GOOD, at=NOW - 1_200, late_from=NOW - 300)), Needs.CUT)
    assert (
        line == "a governor is there, but its last cycle was 20 min ago: it takes effect when that goes on,"
        " see `capital-governor status`"
    )


@pytest.mark.parametrize("needs", Needs)
@pytest.mark.parametrize("running", [False, None])
def test_without_a_governor(needs: Needs, running: bool | None) -> None:
    """What the last cycle held for may be over long since, and is not told."""
    seen = replace(held(Reason.PAUSED), running=running)
    (line,) = lines(seen, needs)
    assert line == (
        "no governor is running: it takes effect when one is, or with `capital-governor once`"
        if running is False
        else "whether a governor is running cannot be seen; it takes effect in the next cycle"
    )


@pytest.mark.parametrize("needs", Needs)
@pytest.mark.parametrize("running", [True, False])
def test_under_stop(needs: Needs, running: bool) -> None:
    """Nothing takes effect before the STOP file is removed."""
    first, second = lines(replace(held(Reason.STOPPED), running=running, stopped=True), needs)
    assert "takes effect in its next cycle" not in first
    assert second == "the STOP file is there: nothing changes before the first cycle after it is removed"


@pytest.mark.parametrize("reason", sorted(EXITS))
def test_what_rises_waits_for_the_end_of_a_hold(reason: Reason) -> None:
    """Every hold delays what needs a decision, with what ends it; a cut only waits for files that can be written."""
    cut, rise = lines(held(reason), Needs.CUT)[1:], lines(held(reason), Needs.DECISION)[1:]
    if reason is Reason.FILES_UNWRITABLE:
        assert (
            cut
            == rise
            == ["the last cycle could not write a file, and agents see no change until that succeeds: the facts"]
        )
        return
    assert cut == []
    shown = reason not in {Reason.STOPPED, Reason.OPERATOR_HOLD}  # the file itself and the order in force say more
    until = f"the last cycle held (the facts): until that ends only cuts are made. It ends with: {EXITS[reason]}"
    assert rise == [until] * shown


def test_an_accept_waits_for_an_earlier_hold_only() -> None:
    """The hold that it ends does not delay it; a pause does."""
    assert lines(held(Reason.MEMBERS_GONE), Needs.ACCEPTANCE)[1:] == []
    (line,) = lines(held(Reason.PAUSED), Needs.ACCEPTANCE)[1:]
    assert line.startswith("the last cycle held (the facts)")


def test_the_operators_hold() -> None:
    """It is named as long as it is in force, whatever the last cycle held for."""
    seen = replace(SEEN, hold=OperatorHold("anna", "broker migration"))
    assert lines(seen, Needs.MOVE)[1:] == ["the hold by anna: broker migration is on: until it ends only cuts are made"]
    assert lines(seen, Needs.CUT)[1:] == lines(seen, Needs.CYCLE)[1:] == []


def test_brakes() -> None:
    """COOLDOWN delays what rises, CONFIRM_CYCLES only a move; neither a cut."""
    rules = Rules(cooldown_seconds=3_600.0, confirm_cycles=3)
    seen = replace(SEEN, moved_at=NOW - 600, rules=rules)
    cooldown = "COOLDOWN: nothing rises before 2025-11-03 22:50:00 UTC"
    confirm = "CONFIRM_CYCLES: a move comes when 3 decided cycles in a row ask for it"
    assert lines(seen, Needs.DECISION)[1:] == [cooldown]
    assert lines(seen, Needs.MOVE)[1:] == [cooldown, confirm]
    assert lines(seen, Needs.CUT)[1:] == lines(seen, Needs.CYCLE)[1:] == []
    assert lines(replace(seen, moved_at=NOW - 3_600), Needs.DECISION)[1:] == []


def written(standing: Standing) -> bytes:
    return status_document(standing, Vitals(), interval_seconds=300, rules=Rules(), dry_run=False, pid=1)


def test_the_last_cycle_in_a_status_file() -> None:
    """Time, validity, the hold behind a cut, and the last known multipliers come out as the governor wrote them."""
    standing = Standing(
        state="holding",
        at=NOW,
        reason=Reason.CUT_LIMIT,
        detail="the pause file says: Manual check",
        exit=EXITS[Reason.PAUSED],
        latches=Latches(paused=True),
        multipliers={"regime": 0.8},
    )
    assert last_cycle(written(standing)) == LastCycle(
        NOW, NOW + 900, Reason.PAUSED, "the pause file says: Manual check", EXITS[Reason.PAUSED], {"regime": 0.8}, 300.0
    )
    governing = last_cycle(written(Standing(state="governing", at=NOW, reason=Reason.UNCHANGED)))
    assert governing is not None
    assert governing.hold is None


def test_a_status_file_of_an_older_version_has_no_interval() -> None:
    """Everything else is read as ever."""
    document = json.loads(written(Standing(at=NOW)))
    whole = last_cycle(json.dumps(document).encode())
    assert whole is not None
    del document["interval_seconds"]
    assert last_cycle(json.dumps(document).encode()) == replace(whole, interval_seconds=None)


@pytest.mark.parametrize(
    "change",
    [{"timestamp": 5}, {"valid_until": None}, {"multipliers": []}, {"exit": []}, {"interval_seconds": "x"}, {}],
)
def test_a_status_file_that_cannot_be_read_says_nothing(change: dict[str, Any]) -> None:
    """An order is given all the same, without a time that is computed from it."""
    document = json.loads(written(Standing(at=NOW)))
    assert last_cycle(json.dumps(document).encode()) is not None
    broken = json.dumps(document | change).encode() if change else b"[" * 100_000
    assert last_cycle(broken) is None
    assert last_cycle(None) is None
