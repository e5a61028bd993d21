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
_SCRIPT: Final = Path(__file__).resolve().parents[2] / "neo_light_fix.sh"
LAPSED: Final = (
    "⚠️ Lapsed, silent for more than 15 min (3 cycles): Cyd 24 %.\n"
    "Its share is 0 now: 24 % of capital waits in the reserve.\n"
    "The others stay as they are and get nothing of it.\nIt gets its share back after 3 good records in a row.\n"
    "Act: see why it is silent. Or let the others have it:\nrelease Cyd"
)
BACK: Final = "✅ Reporting again after a lapse: Cyd 24 %.\nIt has its share again. No action needed."
RELEASED: Final = (
    "✅ No longer in the fleet: Cyd 24 %.\nThe others share it out, within their limits. No action needed."
)
NONE_LAPSED: Final = "✅ No agent is lapsed any more. No action needed."
CUT: Final = (
    "🎯 Capital Reallocation:\nAda: 40.0%\nBob: 36.0%\nCyd: 0.0% (was 24.0%)\nReserve: 24.0% (was 0.0%)\n"
    "Deployed 100 -> 76 %.\n"
    "Cyd 24 -> 0 %: silent for too long. 24 % waits in the reserve.\n"
    "The next message says what can be done."
)
RESTORE: Final = (
    "🎯 Capital Reallocation:\nAda: 40.0%\nBob: 36.0%\nCyd: 24.0% (was 0.0%)\nReserve: 0.0% (was 24.0%)\n"
    "Deployed 76 -> 100 %.\nGiven back what was withheld: Cyd 0 -> 24 %."
)
LEFT: Final = (
    "🎯 Capital Reallocation:\nAda: 40.0%\nBob: 40.0% (was 36.0%)\nReserve: 20.0% (was 24.0%)\n"
    "Deployed 76 -> 80 %.\nNo longer in the fleet: Cyd 24 %. The others share it out."
)
IN_THE_LOG: Final = {
    LAPSED: "Lapsed, no record in more than 3 decided cycles: Cyd 24.0%. Their shares are 0: 24.0% of all capital is"
    " withheld in the reserve and goes to nobody. Ends with: 3 good records in a row, or"
    " `capital-governor release Cyd`",
    BACK: "Lapse is over: Cyd 24.0% planned, Cyd 24.0% published now",
    RELEASED: "Released, no longer members: Cyd 24.0%. The next move shares this out among the others",
    NONE_LAPSED: "No agent is lapsed any more",
}
"""By message, the log line about the same."""


@pytest.fixture(params=[False, True], ids=["one process", "a fresh process each cycle"])
def rig(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[CycleRig]:
    """A governor with a chat, with 0.40, 0.36, 0.24 published; in half of the runs each cycle is a process's first."""
    with (Restarting if request.param else CycleRig)(tmp_path, notify=True) as made:
        made.see()
        yield made


def plain(rig: CycleRig, text: str) -> str:
    """Return a message without fleet, times and the root's name, which are not what these tests are about."""
    root = f" --root {rig.root}"
    lines = text.replace(root, "").replace(f"{_SCRIPT} ", "").splitlines()
    if lines[0].startswith("🎯"):
        return "\n".join(line for line in lines[:-1] if not line.startswith("No action needed."))
    icon, _, _ = lines[0].partition(" fleet1 · ")
    return f"{icon} " + "\n".join(lines[1:])


def told_of(rig: CycleRig, state: NoticeState = NoticeState.PENDING) -> list[str]:
    """Return the messages but those about silent agents, which come before a lapse and after it."""
    texts = [plain(rig, text) for text in rig.messages(state)]
    return [text for text in texts if " has been silent for " not in text and " reports again" not in text]


def news(rig: CycleRig) -> list[str]:
    """The messages after the first allocation's."""
    return told_of(rig)[1:]


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
    assert gone.startswith("⚠️ Bob, Cyd (60 % of capital) stopped reporting at once.\n")
    assert again.partition("If")[0] == gone.partition("If")[0]
    assert over.startswith("⚠️ Still silent after 25 h: Bob, Cyd (60 % of capital). The hold for them is over.\n")
    assert "Deployed 100 -> 40 %.\nBob 36 -> 0 %: silent for too long." in cut
    assert "Bob 36 %, Cyd 24 %.\nTheir shares are 0 now: 60 % of capital waits in the reserve." in lapsed
    for _ in range(3):
        rig.see(WITHOUT_CYD)
    assert news(rig)[6:] == [BACK.replace("Cyd 24 %", "Bob 36 %")]
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


@events
def test_what_agents_cannot_see_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, event: Event) -> None:
    """While the primary cannot be written the messages are held, for days too; with the write they are sent once."""
    with CycleRig(tmp_path, notify=True) as rig:
        event.prepare(rig)
        before, real = told_of(rig), atomic_replacement._make

        def full(path: Path, *arguments: Any) -> Any:
            if path == rig.primary:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(path, *arguments)

        monkeypatch.setattr(atomic_replacement, "_make", full)
        assert rig.see(event.scores).decision.reason is event.reason
        for seconds in (0.0, 2 * DAY, 2 * DAY):
            rig.now += seconds
            assert rig.see(event.scores).decision.reason is Reason.FILES_UNWRITABLE
            told = [text for text in told_of(rig)[len(before) :] if "No space left" not in text]
            assert told == []
            assert told_of(rig, NoticeState.HELD) == event.told
            assert IN_THE_LOG[event.told[-1]] not in rig.texts()
        monkeypatch.undo()
        rig.see(event.scores)
        told = [text for text in told_of(rig)[len(before) :] if " allocation file" not in text]
        daily = [LAPSED] if event.told[-1] == LAPSED else []  # two days have passed meanwhile
        assert sorted(told) == sorted(event.told + daily)
        assert told_of(rig, NoticeState.HELD) == []
        assert rig.texts().count(IN_THE_LOG[event.told[-1]]) == 1 + len(daily)


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
        before = len(told_of(rig))

        def kill(*_: object, **__: object) -> None:
            raise SystemExit(9)

        monkeypatch.setattr(file_convergence, "converge", kill)
        with pytest.raises(SystemExit):
            rig.see(event.scores)
        monkeypatch.undo()
        rig.restart()
        assert told_of(rig)[before:] == []
        assert told_of(rig, NoticeState.HELD) == event.told
        if late:
            rig.now += 1_000.0
            rig.restart()
            assert told_of(rig, NoticeState.WITHDRAWN) == event.told
        for _ in range(3):
            rig.see(event.scores)
            rig.restart()
        assert told_of(rig)[before:] == (event.afterwards if late else event.told)
        assert told_of(rig, NoticeState.HELD) == []
