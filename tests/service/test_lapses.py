"""What is told of lapses, returns and releases: when agents can see it, daily while it lasts, over restarts."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from capital_governor.adapters import atomic_replacement, file_convergence
from capital_governor.core.orders import OrderKind
from capital_governor.core.reason import Reason
from capital_governor.journal.notices import NoticeState
from tests.rigs.builders import FLEET, INTERVAL
from tests.rigs.cycle_rig import CycleRig
from tests.rigs.order_desk import Restarting, give

WITHOUT_CYD: Final = {"Ada": 0.5, "Bob": 0.3}
WITHOUT_TWO: Final = {"Ada": 0.5}
DAY: Final = 86_400.0
LAPSED: Final = (
    "⚠️ Lapsed, no record in more than 3 decided cycles: Cyd 24.0%. Their shares are 0: 24.0% of all capital is"
    " withheld in the reserve and goes to nobody. Ends with: 3 good records in a row, or"
    " `capital-governor release Cyd`"
)
BACK: Final = "✅ Lapse is over: Cyd 24.0% planned, Cyd 24.0% published now"
RELEASED: Final = "✅ Released, no longer members: Cyd 24.0%. The next move shares this out among the others"
NONE_LAPSED: Final = "✅ No agent is lapsed any more"
CUT: Final = (
    "🎯 Capital Reallocation:\nAda: 40.0%\nBob: 36.0%\nCyd: 0.0%\nReserve: 24.0%\n"
    "Withheld, in the reserve: Cyd 24.0% (lapsed)\n"
    "Shares cut (an agent has lapsed or left the fleet): Cyd 0.2400 to 0.0000, 0.2400 more in reserve"
)
RESTORE: Final = (
    "🎯 Capital Reallocation:\nAda: 40.0%\nBob: 36.0%\nCyd: 24.0%\n"
    "Shares restored (less is withheld): Cyd 0.0000 to 0.2400, 0.2400 less in reserve"
)
LEFT: Final = (
    "🎯 Capital Reallocation:\nAda: 40.0%\nBob: 40.0%\nReserve: 20.0%\n"
    "Reallocation triggered (an agent with a share left the fleet): Cyd"
)


@pytest.fixture(params=[False, True], ids=["one process", "a fresh process each cycle"])
def rig(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[CycleRig]:
    """A governor with a chat, with 0.40, 0.36, 0.24 published; in half of the runs each cycle is a process's first."""
    with (Restarting if request.param else CycleRig)(tmp_path, notify=True) as made:
        made.see()
        yield made


def news(rig: CycleRig) -> list[str]:
    """The messages after the first allocation's."""
    return rig.messages()[1:]


# --- each once, with names and shares ---------------------------------------------------------------------------------


def test_a_lapse_is_told_daily_until_it_is_over(rig: CycleRig) -> None:
    """With names and shares, at once and each day after, whatever restarts there are, and so is its end."""
    for _ in range(6):
        rig.see(WITHOUT_CYD)
    assert news(rig) == [CUT, LAPSED]
    for day in (1, 2):
        rig.now += DAY - 4 * INTERVAL
        rig.see(WITHOUT_CYD)
        assert news(rig) == [CUT, *[LAPSED] * day], "a day is not over"
        for _ in range(3):
            rig.see(WITHOUT_CYD)
        assert news(rig) == [CUT, *[LAPSED] * (day + 1)]
    for _ in range(6):
        rig.see()
    assert news(rig) == [CUT, *[LAPSED] * 3, RESTORE, BACK]
    assert "lapsed" not in rig.journal.open_topics()


def test_a_released_agent_is_told_with_its_share(rig: CycleRig) -> None:
    """The move that shares its part out is a message too, and the episode is over."""
    for _ in range(4):
        rig.see(WITHOUT_CYD)
    give(rig, OrderKind.RELEASE, agent="Cyd")
    for _ in range(3):
        rig.see(WITHOUT_CYD)
    assert news(rig) == [CUT, LAPSED, LEFT, RELEASED]
    rig.now += 2 * DAY
    rig.see(WITHOUT_CYD)
    assert len(news(rig)) == 4


def test_a_return_of_one_of_two_leaves_the_other_lapsed(rig: CycleRig) -> None:
    """Two of three are gone: the hold is told daily, then its end and one lapse of both, then each return."""
    rig.see(WITHOUT_TWO)
    rig.now += DAY
    for _ in range(15):  # cycles 2 to 12 of the hold, then 4 that decide
        rig.see(WITHOUT_TWO)
    gone, again, over, cut, lapsed = news(rig)
    assert gone.startswith("⚠️ Half of the fleet or more is gone - maintaining current allocations: 2 of 3 members are")
    assert "Without a good record: Bob 36.0%, Cyd 24.0%, in all 60.0% of all capital" in gone
    assert again.partition(" cycle ")[0] == gone.partition(" cycle ")[0]
    assert over == "✅ Hold is over: members_gone"
    assert cut.endswith("Bob 0.3600 to 0.0000, Cyd 0.2400 to 0.0000, 0.6000 more in reserve")
    assert "Bob 36.0%, Cyd 24.0%. Their shares are 0: 60.0% of all capital" in lapsed
    for _ in range(3):
        rig.see(WITHOUT_CYD)
    assert news(rig)[6:] == ["✅ Lapse is over: Bob 36.0% planned, Bob 36.0% published now"]
    assert "lapsed" in rig.journal.open_topics()
    for _ in range(3):
        rig.see()
    assert news(rig)[7:] == [RESTORE, BACK]


def test_a_lapse_of_an_agent_that_had_nothing_is_told_at_once(rig: CycleRig) -> None:
    """A cap of 0 has cut it already: no share changes, and the message says what would be its own."""
    give(rig, OrderKind.LIMIT, agent="Cyd", cap=0.0)
    for _ in range(4):
        rig.see(WITHOUT_CYD)
    assert rig.entries()[-1].generation is None
    assert news(rig)[1:] == [LAPSED]


def test_the_daily_message_survives_a_clock_that_was_a_year_ahead(rig: CycleRig) -> None:
    """Where it was sent at a time that is in the future now, it is sent once more, and again a day after that."""
    rig.now += 365 * DAY
    for _ in range(4):
        rig.see(WITHOUT_CYD)
    assert news(rig) == [CUT, LAPSED]
    rig.now -= 365 * DAY
    for _ in range(2):
        rig.see(WITHOUT_CYD)
    assert news(rig) == [CUT, LAPSED, LAPSED]
    rig.now += DAY
    for _ in range(2):
        rig.see(WITHOUT_CYD)
    assert news(rig) == [CUT, LAPSED, LAPSED, LAPSED]


# --- when agents can see it -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Event:
    """A decision about a lapse.

    Args:
        prepare: brings a rig to the cycle before it.
        scores: what the payload of that cycle says.
        reason: why it publishes.
        told: its messages.
        afterwards: its messages where it is taken back and decided again.
    """

    prepare: Callable[[CycleRig], None]
    scores: dict[str, float]
    reason: Reason
    told: list[str]
    afterwards: list[str]


def _absent(rig: CycleRig) -> None:
    rig.see()
    for _ in range(3):
        rig.see(WITHOUT_CYD)


def _returning(rig: CycleRig) -> None:
    _absent(rig)
    rig.see(WITHOUT_CYD)
    rig.see()
    rig.see()


def _to_be_released(rig: CycleRig) -> None:
    _absent(rig)
    rig.see(WITHOUT_CYD)
    give(rig, OrderKind.RELEASE, agent="Cyd")


EVENTS: Final = {
    "lapse": Event(_absent, WITHOUT_CYD, Reason.CUT_LAPSE, [CUT, LAPSED], [CUT, LAPSED]),
    "return": Event(_returning, dict(FLEET), Reason.RESTORE, [RESTORE, BACK], [RESTORE, NONE_LAPSED]),
    "release": Event(_to_be_released, WITHOUT_CYD, Reason.MEMBER_LEFT, [LEFT, RELEASED], [LEFT, NONE_LAPSED]),
}
events = pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS.keys())


def sentence(message: str) -> str:
    """What the log has of an alert."""
    return message.partition(" ")[2]


@events
def test_what_agents_cannot_see_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, event: Event) -> None:
    """While the primary cannot be written the messages are held, for days too; with the write they are sent once."""
    with CycleRig(tmp_path, notify=True) as rig:
        event.prepare(rig)
        before, real = rig.messages(), atomic_replacement._make

        def full(path: Path, *arguments: Any) -> Any:
            if path == rig.primary:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(path, *arguments)

        monkeypatch.setattr(atomic_replacement, "_make", full)
        assert rig.see(event.scores).decision.reason is event.reason
        for seconds in (0.0, 2 * DAY, 2 * DAY):
            rig.now += seconds
            assert rig.see(event.scores).decision.reason is Reason.FILES_UNWRITABLE
            told = [text for text in rig.messages()[len(before) :] if "No space left" not in text]
            assert told == []
            assert rig.messages(NoticeState.HELD) == event.told
            assert sentence(event.told[-1]) not in rig.texts()
        monkeypatch.undo()
        rig.see(event.scores)
        told = [text for text in rig.messages()[len(before) :] if "files" not in text and "No space" not in text]
        daily = [LAPSED] if event.told[-1] == LAPSED else []  # two days have passed meanwhile
        assert sorted(told) == sorted(event.told + daily)
        assert rig.messages(NoticeState.HELD) == []
        assert rig.texts().count(sentence(event.told[-1])) == 1 + len(daily)


@events
@pytest.mark.parametrize("late", [False, True], ids=["carried out", "taken back"])
def test_what_a_kill_overtakes_is_told_when_it_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, event: Event, late: bool
) -> None:
    """A governor that is killed before the rename tells once it is carried out; what is given up is not told.

    Decided again, it is told with the new generation. Of the agents that are back only the restore names them then.
    """
    with CycleRig(tmp_path, notify=True) as rig:
        event.prepare(rig)
        before = len(rig.messages())

        def kill(*_: object, **__: object) -> None:
            raise SystemExit(9)

        monkeypatch.setattr(file_convergence, "converge", kill)
        with pytest.raises(SystemExit):
            rig.see(event.scores)
        monkeypatch.undo()
        rig.restart()
        assert rig.messages()[before:] == []
        assert rig.messages(NoticeState.HELD) == event.told
        if late:
            rig.now += 1_000.0
            rig.restart()
            assert rig.messages(NoticeState.WITHDRAWN) == event.told
        for _ in range(3):
            rig.see(event.scores)
            rig.restart()
        assert rig.messages()[before:] == (event.afterwards if late else event.told)
        assert rig.messages(NoticeState.HELD) == []
