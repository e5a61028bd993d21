"""Notices in every journal: put down with the decision, once each, kept until they are settled, lost by nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from capital_governor.core.model import State
from capital_governor.journal.fallback import NOTICE_CAPACITY, ResilientJournal
from capital_governor.journal.notices import Backlog, Notice, NoticeState, lapse_notice, move_notice, new_notice
from capital_governor.journal.protocol import Journal
from capital_governor.journal.sqlite.sqlite_driver import in_memory, open_sqlite
from tests.rigs.builders import publication
from tests.rigs.journal_cycles import held, resilient, state_of, tell

NOW = 1_762_200_000.0
DAY = 86_400.0
HELD = NoticeState.HELD


def made(number: int, topic: str = "", *, begins: bool = True) -> Notice:
    return Notice(key=f"k{number}", created_at=NOW + number, text=f"text {number}", topic=topic, begins=begins)


def hold(journal: Journal, number: int, *notices: Notice) -> None:
    """Record one held cycle with these notices."""
    state = state_of(journal) or State()
    tell(journal, replace(held(state, NOW + 300 * number), notices=notices))


def texts(notices: list[Notice]) -> list[str]:
    return [notice.text for notice in notices]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


Opening = Callable[[], ResilientJournal]


@pytest.fixture
def opening(path: Path) -> Iterator[Opening]:
    opened: list[ResilientJournal] = []

    def opening() -> ResilientJournal:
        opened.append(resilient(path, busy_seconds=0.02))
        return opened[-1]

    yield opening
    for each in opened:
        each.close()


@pytest.fixture(params=["memory", "sqlite", "resilient"])
def journal(request: pytest.FixtureRequest, path: Path, opening: Opening) -> Iterator[Journal]:
    makers: dict[str, Callable[[], Journal]] = {
        "memory": in_memory,
        "sqlite": lambda: open_sqlite(path),
        "resilient": opening,
    }
    made = makers[request.param]()
    yield made
    made.close()


# --- what every journal does ------------------------------------------------------------------------------------------


def test_an_empty_journal_has_nothing_to_tell(journal: Journal) -> None:
    """Without notices every question has an empty answer."""
    assert journal.notices(NoticeState.PENDING, 5) == []
    assert journal.notices(NoticeState.REFUSED, 5) == []
    assert journal.backlog() == Backlog(0, 0, "")
    assert journal.open_topics() == {}


def test_a_notice_comes_back_exactly_and_in_order(journal: Journal) -> None:
    """Notices of cycles and of their own are pending oldest first, with every field as it was put down."""
    first, second, third = made(1), made(2, "paused"), replace(made(0), due_at=NOW + 9, attempts=3, detail="odd — 🎯")
    hold(journal, 1, first)
    journal.put_notices((second, third))
    assert journal.notices(NoticeState.PENDING, 9) == [first, second, third]
    assert journal.notices(NoticeState.PENDING, 1) == [first]
    assert len(list(journal.entries("live"))) == 1


def test_what_was_sent_or_refused_is_pending_no_more(journal: Journal) -> None:
    """Sent ones are gone, refused ones are dead letters with their reason, postponed ones stay at their place."""
    one, two, three, four = (made(number) for number in range(4))
    journal.put_notices((one, two, three, four))
    journal.put_notices((one.sent(),))
    journal.put_notices((two.refused("chat not found"), four.refused("blocked")))
    journal.put_notices((three.postponed(NOW + 5, "reset"),))
    assert journal.notices(NoticeState.PENDING, 9) == [replace(three, attempts=1, due_at=NOW + 5, detail="reset")]
    assert texts(journal.notices(NoticeState.REFUSED, 9)) == ["text 1", "text 3"]
    assert texts(journal.notices(NoticeState.REFUSED, 1)) == ["text 1"]
    assert journal.backlog() == Backlog(1, 2, "blocked", "reset")


def test_the_same_notice_twice_is_one(journal: Journal) -> None:
    """A key that is known is not added again, and what is settled is never pending again."""
    notice = made(1)
    hold(journal, 1, notice)
    hold(journal, 2, notice)
    assert journal.notices(NoticeState.PENDING, 9) == [notice]
    journal.put_notices((notice.sent(),))
    journal.put_notices((notice,))
    hold(journal, 3, notice)
    assert journal.notices(NoticeState.PENDING, 9) == []


def test_an_episode_is_open_until_its_end_is_told(journal: Journal) -> None:
    """A topic is open while its newest notice is a beginning, whatever became of the sending."""
    journal.put_notices((made(1, "paused"), made(2, "rival"), made(3)))
    journal.put_notices((made(1, "paused").sent(), made(2, "rival").refused("no")))
    assert journal.open_topics().keys() == {"paused", "rival"}
    journal.put_notices((made(4, "paused", begins=False),))
    assert journal.open_topics().keys() == {"rival"}
    journal.put_notices((made(5, "paused"),))
    assert journal.open_topics() == {"paused": NOW + 5, "rival": NOW + 2}


def test_a_withdrawn_notice_neither_opens_nor_ends_an_episode(journal: Journal) -> None:
    """Nobody was told, so the notice before it counts; once old it is deleted, and what counts is not."""
    one, two = replace(made(2, "lapsed", begins=False), state=HELD), replace(made(3, "new"), state=HELD)
    journal.put_notices((made(1, "lapsed").sent(), one, two))
    assert journal.open_topics() == {"new": NOW + 3}
    journal.put_notices((one.withdrawn(), two.withdrawn()))
    assert journal.open_topics() == {"lapsed": NOW + 1}
    hold(journal, 1)
    journal.prune(NOW + 10 * DAY, 5)
    assert journal.notices(NoticeState.WITHDRAWN, 9) == []
    assert journal.open_topics() == {"lapsed": NOW + 1}


def test_all_notices_of_a_publication_are_released_with_it(journal: Journal) -> None:
    """The move's and those about lapses wait for its generation, in their order; those of another stay held."""
    new, other = publication({"Ada": 100_000}), publication({"Ada": 1}, generation=2)
    notices = [
        move_notice(new, "a move"),
        *(
            lapse_notice(new, text, NOW, place=place, topic=text, begins=False)
            for place, text in enumerate(("a release", "a return", "a lapse"))
        ),
        lapse_notice(other, "another", NOW, place=0, topic="", begins=True),
    ]
    tell(journal, replace(held(State(published=new, generation=1), NOW), notices=tuple(notices)))
    assert journal.notices(NoticeState.PENDING, 9) == []
    journal.reached(1)
    assert texts(journal.notices(NoticeState.PENDING, 9)) == ["a move", "a release", "a return", "a lapse"]
    assert texts(journal.notices(HELD, 9)) == ["another"]


def test_a_notice_about_lapses_without_a_publication_is_pending(journal: Journal) -> None:
    """Where nothing is published, there is nothing that agents would have to see first."""
    journal.put_notices([lapse_notice(None, "a lapse", NOW, place=0, topic="lapsed", begins=True)])
    assert texts(journal.notices(NoticeState.PENDING, 9)) == ["a lapse"]
    assert journal.open_topics() == {"lapsed": NOW}


def test_retention_takes_settled_notices_by_age_and_pending_ones_never(journal: Journal) -> None:
    """Sent and refused ones go when they are old; what waits stays, and so does the knowledge of open episodes."""
    journal.put_notices([made(number) for number in range(3)])
    journal.put_notices((made(0).sent(), made(1).refused("no"), made(3, "paused").sent()))
    late = replace(made(4), created_at=NOW + 9 * DAY)
    journal.put_notices((late.refused("late"),))
    journal.prune(NOW + 10 * DAY, 5)
    assert journal.notices(NoticeState.PENDING, 9) == [made(2)]
    assert texts(journal.notices(NoticeState.REFUSED, 9)) == ["text 4"]
    assert journal.open_topics().keys() == {"paused"}


def test_a_text_that_utf8_cannot_say_is_still_a_notice(journal: Journal) -> None:
    """Half a surrogate pair is replaced when the notice is made, so that it can be kept and sent."""
    journal.put_notices((new_notice("Ada \ud83c", NOW),))
    assert texts(journal.notices(NoticeState.PENDING, 1)) == ["Ada ?"]


# --- memory -----------------------------------------------------------------------------------------------------------


def test_memory_is_bounded_and_settled_notices_make_room_first() -> None:
    """Beyond the capacity settled ones go first, then the oldest."""
    memory = in_memory()
    memory.put_notices([made(number) for number in range(3)])
    memory.put_notices((made(1).sent(), made(3)))
    memory.forget_notices(keep=3)
    assert texts(memory.notices(NoticeState.PENDING, 9)) == ["text 0", "text 2", "text 3"]
    memory.put_notices((made(4),))
    memory.forget_notices(keep=3)
    assert texts(memory.notices(NoticeState.PENDING, 9)) == ["text 2", "text 3", "text 4"]
    assert not memory.knows_notice("k1")
    memory.close()


def test_what_waits_through_an_outage_is_bounded(opening: Opening, locker: Callable[[], sqlite3.Connection]) -> None:
    """A thousand notices wait in memory; of more the oldest are given up."""
    journal = opening()
    locker()
    hold(journal, 1)
    journal.put_notices([made(number) for number in range(NOTICE_CAPACITY + 5)])
    assert texts(journal.notices(NoticeState.PENDING, 1)) == ["text 5"]
    assert journal.backlog().pending == NOTICE_CAPACITY


# --- durable ----------------------------------------------------------------------------------------------------------


def test_a_notice_stands_or_falls_with_its_decision(path: Path) -> None:
    """Where the cycle cannot be recorded its notice is not there either, and where it can both are on the disk."""
    journal = open_sqlite(path)
    journal._db.change("CREATE TRIGGER refuse BEFORE INSERT ON notices BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(Exception, match="no"):
        hold(journal, 1, made(1))
    assert list(journal.entries("live")) == []
    journal._db.change("DROP TRIGGER refuse")
    hold(journal, 1, made(1))
    plain = sqlite3.connect(path)
    try:
        assert plain.execute("SELECT count(*) FROM cycles").fetchone() == (1,)
        assert plain.execute("SELECT text, state FROM notices").fetchall() == [("text 1", "pending")]
    finally:
        plain.close()
        journal.close()


# --- an outage of the journal -----------------------------------------------------------------------------------------


@pytest.fixture
def locker(path: Path) -> Iterator[Callable[[], sqlite3.Connection]]:
    held: list[sqlite3.Connection] = []

    def lock() -> sqlite3.Connection:
        held.append(sqlite3.connect(path, isolation_level=None))
        held[-1].execute("BEGIN EXCLUSIVE")
        return held[-1]

    yield lock
    for each in held:
        each.close()


def test_notices_of_an_outage_are_delivered_from_memory_and_written_back(
    path: Path, opening: Opening, locker: Callable[[], sqlite3.Connection]
) -> None:
    """While the journal is lost they wait in memory; what was sent meanwhile is not pending in it afterwards."""
    journal = opening()
    hold(journal, 1, made(1))
    lock = locker()
    hold(journal, 2, made(2))
    journal.put_notices((made(3, "journal"),))
    assert journal.lost
    assert texts(journal.notices(NoticeState.PENDING, 9)) == ["text 1", "text 2", "text 3"]
    assert journal.backlog() == Backlog(3, 0, "")
    journal.put_notices((made(1).sent(), made(2).refused("blocked")))
    assert journal.backlog() == Backlog(1, 1, "blocked")
    lock.execute("ROLLBACK")
    hold(journal, 3)
    assert not journal.lost
    stored = open_sqlite(path, read_only=True)
    try:
        assert texts(stored.notices(NoticeState.PENDING, 9)) == ["text 3"]
        assert texts(stored.notices(NoticeState.REFUSED, 9)) == ["text 2"]
        assert stored.open_topics().keys() == {"journal"}
    finally:
        stored.close()
    assert [notice.key for notice in journal._memory.all_notices()] == ["k3"]


def test_what_an_earlier_process_left_is_delivered_even_while_the_journal_is_lost(
    opening: Opening, locker: Callable[[], sqlite3.Connection]
) -> None:
    """Pending notices that were read at the start are known in an outage that comes later."""
    before = opening()
    hold(before, 1, made(1))
    before.close()
    journal = opening()
    locker()
    hold(journal, 2)
    assert journal.lost
    assert texts(journal.notices(NoticeState.PENDING, 9)) == ["text 1"]


def test_damage_costs_no_notice(path: Path, opening: Opening) -> None:
    """A journal that is set aside takes no pending notice with it: the new one has them."""
    journal = opening()
    hold(journal, 1, made(1), made(2))
    journal.put_notices((made(1).sent(),))
    assert journal._store is not None
    journal._store.close()
    path.write_bytes(b"garbage" * 2_000)
    Path(f"{path}-wal").unlink(missing_ok=True)
    journal._store = None
    journal._lost = True
    hold(journal, 2, made(3))
    assert not journal.lost
    assert len(list(path.parent.glob("*.corrupt-*Z"))) == 1
    assert texts(journal.notices(NoticeState.PENDING, 9)) == ["text 2", "text 3"]
