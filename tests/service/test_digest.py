"""The daily digest: one a day, whatever restarts and outages there are, with what the journal counts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from capital_governor.core.model import Refusal
from capital_governor.core.orders import Order, OrderEnd, OrderKind
from capital_governor.core.reason import Reason
from capital_governor.journal.notices import Notice, NoticeState
from capital_governor.service.digest import Digest
from capital_governor.wording.message_form import Sender
from tests.rigs.cycle_rig import CycleRig, locked

HOUR: Final = 3_600.0
DAY: Final = 24 * HOUR
SENDER: Final = Sender("fleet1")
GONE: Final = Refusal(Reason.FETCH_FAILED, "connection refused")


class Days:
    """A governor that begins on 2025-11-03 at 22:00 UTC, and whose digests are put down at 08:00."""

    def __init__(self, rig: CycleRig) -> None:
        self.rig = rig
        self.digest = Digest(rig.journal, "live", 8, SENDER, str)

    def at(self, day: int, clock: str, *, gone: bool = False, **more: Any) -> None:
        """Take a cycle on this day of November 2025 at this time, and put down a digest if one is due."""
        self.rig.now = datetime.fromisoformat(f"2025-11-{day:02}T{clock}:00+00:00").timestamp()
        outcome = self.rig.cycle(GONE) if gone else self.rig.see(**more)
        self.digest.put(outcome)

    def restart(self) -> None:
        self.rig.restart()
        self.digest = Digest(self.rig.journal, "live", 8, SENDER, str)

    def told(self) -> list[Notice]:
        return self.rig.journal.notices(NoticeState.PENDING, 100)

    def times(self) -> list[str]:
        return [f"{datetime.fromtimestamp(notice.created_at, UTC):%d %H:%M}" for notice in self.told()]


@pytest.fixture
def days(tmp_path: Path) -> Iterator[Days]:
    with CycleRig(tmp_path, MEMBERSHIP_GRACE=0) as rig:
        yield Days(rig)


def test_it_comes_once_a_day_from_the_hour_on(days: Days) -> None:
    """The first cycle at or after the hour tells, on each day, and no other does."""
    for day in (3, 4, 5, 6):
        for clock in ("07:59", "08:00", "08:01", "12:00", "23:59"):
            if day > 3 or clock == "23:59":
                days.at(day, clock)
    assert days.times() == ["04 08:00", "05 08:00", "06 08:00"]


def test_a_new_governor_waits_for_the_hour(days: Days) -> None:
    """The hour that was before the first cycle ever is nobody's: nothing is due until it comes again."""
    days.at(3, "22:00")
    days.at(4, "07:55")
    assert days.told() == []
    days.at(4, "08:02")
    assert days.times() == ["04 08:02"]


def test_what_it_counts_is_of_the_24_hours_before(days: Days) -> None:
    """Moves are counted, and a hold once for as long as its reason lasts; older ones are not."""
    days.at(3, "07:00", gone=True)
    days.at(3, "07:10")  # a move, older than a day
    days.at(3, "09:00", risk=0.5)  # a move
    days.at(3, "09:10", risk=0.5)
    for minute in (20, 30, 40):
        days.at(3, f"09:{minute}", paused=True)  # a hold
    days.at(3, "09:50", risk=0.5)
    days.at(3, "10:00", gone=True)  # another
    days.at(3, "10:10", paused=True)  # and, another reason, a third
    days.at(3, "11:00", risk=1.0)  # a move
    days.at(4, "08:00", risk=1.0)
    first, second = days.told()
    assert first.created_at < second.created_at
    assert second.text.splitlines() == [
        "☀️ fleet1 · 2025-11-04 08:00 UTC",
        "Alive, and governing.",
        "Shares: Ada 40 %, Bob 36 %, Cyd 24 %.",
        "Deployed 100 %, reserve 0 % (generation 3).",
        "Exposure 100 %: nothing reduces it.",
        "In 24 h: 2 moves.",
        "Holds: Guardian's pause 45 min; no answer from the dashboard 10 min.",
        "Faulty or silent: none.",
        "Waiting to be sent: 1 message.",
        "No action needed.",
    ]


def test_cuts_and_restores_are_counted_apart_from_moves(days: Days) -> None:
    """A cap that is ordered in a pause cuts there, and the pause stays one hold; its end is a restore, no move."""
    days.at(3, "07:00")  # more than a day before the digest
    days.at(3, "09:00", paused=True)
    days.rig.journal.put_orders(
        [cap := Order(key="k", kind=OrderKind.LIMIT, author="anna", given_at=0, agent="Ada", cap=0.1)]
    )
    for clock in ("09:10", "09:20"):
        days.at(3, clock, paused=True)
    days.at(3, "09:30")
    days.rig.journal.put_orders([cap.ended(1.0, OrderEnd.TAKEN_BACK, "anna")])
    days.at(3, "09:40")
    days.at(3, "09:50", risk=0.5)  # a move
    days.at(4, "08:00", risk=0.5)
    _, second = days.told()
    assert [entry.reason for entry in days.rig.entries()][1:6] == [
        Reason.PAUSED,
        Reason.CUT_LIMIT,
        Reason.PAUSED,
        Reason.UNCHANGED,
        Reason.RESTORE,
    ]
    assert second.text.splitlines()[2:] == [
        "Shares: Ada 20 %, Bob 18 %, Cyd 12 %.",
        "Deployed 50 %, reserve 50 % (generation 4).",
        "Exposure 50 %: market SIDEWAYS (risk 0.5).",
        "In 24 h: 1 move, 1 cut, 1 restore.",
        "Holds: Guardian's pause 30 min.",
        "Faulty or silent: none.",
        "Waiting to be sent: 1 message.",
        "No action needed.",
    ]


def test_one_of_each_is_singular_and_nothing_is_said_so(days: Days) -> None:
    """One move is a move, and a governor that never published says that."""
    days.at(3, "22:00", gone=True)
    days.at(4, "08:00", gone=True)
    days.at(4, "09:00")
    days.at(5, "08:00")
    first, second = [notice.text.splitlines()[1:] for notice in days.told()]
    assert first == [
        "Alive, on hold: no answer from the dashboard.",
        "Nothing is published yet.",
        "In 24 h: 0 moves.",
        "Holds: no answer from the dashboard 15 min.",
        "Faulty or silent: none.",
        "Act: type this to see what is to be done:",
        "capital-governor status",
    ]
    assert second[-5:-2] == ["In 24 h: 1 move.", "Holds: none.", "Faulty or silent: none."]


def test_restarts_around_the_hour_double_nothing(days: Days) -> None:
    """A governor killed after every cycle tells once a day all the same."""
    for day in (3, 4, 5):
        for clock in ("07:58", "08:00", "08:01", "08:02", "09:00"):
            days.at(day, clock)
            days.restart()
    assert days.times() == ["03 08:00", "04 08:00", "05 08:00"]


def test_a_journal_that_is_lost_at_the_hour_delays_it(days: Days) -> None:
    """Where only a later cycle can tell that one is due, it comes then and not a day later."""
    days.at(3, "22:00")
    days.at(4, "07:55")
    with locked(days.rig.settings.journal_path):
        days.at(4, "08:00")
        assert days.rig.journal.lost
    for clock in ("08:05", "08:10", "08:15"):
        days.at(4, clock)
    assert len(days.times()) == 1


def test_a_damaged_entry_does_not_keep_it_back(days: Days) -> None:
    """What cannot be counted is damage of the journal, which is begun anew: the digest tells what is known."""
    days.at(3, "22:00")
    days.at(4, "07:55")
    plain = sqlite3.connect(days.rig.settings.journal_path, isolation_level=None)
    plain.execute("UPDATE cycles SET reason = 'mood' WHERE seq = 1")
    plain.close()
    days.at(4, "08:00")
    assert days.times() == ["04 08:00"]
    assert list(days.rig.settings.journal_path.parent.glob("*.corrupt-*")), "the damage was met"
    days.at(4, "08:05")
    assert days.times() == ["04 08:00"]
    assert not days.rig.journal.lost


def test_what_was_missed_comes_late_and_once(days: Days) -> None:
    """Down at the hour, it tells with the first cycle afterwards; of three missed days only of the last."""
    days.at(3, "22:00")
    days.restart()
    days.at(4, "15:00")
    days.at(4, "15:05")
    days.restart()
    days.at(8, "07:00")
    days.at(8, "07:05")
    days.at(8, "08:00")
    assert days.times() == ["04 15:00", "08 07:00", "08 08:00"]


def test_one_that_was_sent_is_not_sent_again_though_the_journal_forgets(days: Days) -> None:
    """Where the journal looks back less than a day, the newest digest is still known after a restart."""
    days.at(3, "07:00")
    days.at(3, "08:00")
    (notice,) = days.told()
    days.rig.journal.put_notices([notice.sent()])
    days.restart()
    days.at(3, "23:00")
    days.rig.journal.prune(days.rig.now, 0.01)
    assert len(days.rig.entries()) == 1
    days.restart()
    days.at(3, "23:30")
    days.at(4, "07:59")
    assert days.told() == []


def test_one_that_waits_keeps_its_attempts(days: Days) -> None:
    """A digest that Telegram has not taken yet is not put down anew by a restart: its pause stands."""
    days.at(3, "07:00")
    days.at(3, "08:00")
    (notice,) = days.told()
    days.rig.journal.put_notices([notice.postponed(notice.created_at + 300, "time-out")])
    days.restart()
    days.at(3, "08:01")
    (waiting,) = days.told()
    assert (waiting.attempts, waiting.detail) == (1, "time-out")


def test_a_digest_opens_no_episode(days: Days) -> None:
    """Alerts are told from the journal's open topics after a restart; a digest is none."""
    days.at(3, "07:00")
    days.at(3, "08:00")
    assert days.told()[0].topic
    assert days.rig.journal.open_topics() == {}
