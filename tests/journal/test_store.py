"""What every journal does, in memory, in a file, and with one to fall back on."""

from __future__ import annotations

import itertools
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capital_governor import __version__
from capital_governor.core.model import (
    Guardian,
    Inputs,
    Metrics,
    Regime,
    Snapshot,
    State,
)
from capital_governor.core.reason import Reason
from capital_governor.core.trace import Trace
from capital_governor.journal.notices import NoticeState, new_notice
from capital_governor.journal.protocol import (
    LIVE,
    Head,
    Journal,
    JournalConflictError,
)
from capital_governor.journal.sqlite.sqlite_driver import in_memory, open_sqlite
from capital_governor.journal.store import Store
from tests.rigs.journal_cycles import (
    DAY,
    GOOD,
    NOW,
    chain,
    check_chain,
    contents,
    decided,
    held,
    moved,
    publication,
    state_of,
    stored,
    tell,
)
from tests.rigs.patience import PATIENCE_SECONDS


def test_an_empty_journal_knows_nothing(journal: Journal) -> None:
    """Every question to an empty journal has an answer, and the answer is: nothing."""
    journal.reached(1)
    assert state_of(journal) is None
    assert journal.unreached(LIVE) is None
    assert journal.last_reached(LIVE) is None
    assert list(journal.entries(LIVE)) == []
    assert journal.first_at(LIVE) is None
    journal.check_head(LIVE, "")
    assert journal.prune(NOW, 90) == 0


def test_a_cycle_comes_back_exactly(journal: Journal) -> None:
    """Entries give back inputs, state, rules, decision and committed state as recorded, with time, reason, number."""
    cycles = chain(4)
    tell(journal, *cycles)
    entries = list(journal.entries(LIVE))
    assert contents(entries) == contents(cycles)
    assert [entry.decision.after for entry in entries] == [cycle.decision.after for cycle in cycles]
    assert [entry.at for entry in entries] == [NOW, NOW + 300, NOW + 600, NOW + 900]
    assert [entry.reason for entry in entries] == [
        Reason.FIRST_ALLOCATION,
        Reason.FETCH_FAILED,
        Reason.FETCH_FAILED,
        Reason.THRESHOLD,
    ]
    assert [entry.generation for entry in entries] == [1, None, None, 4]
    assert [entry.key for entry in entries] == [cycle.key for cycle in cycles]
    assert all(entry.derived and entry.version == __version__ for entry in entries)
    assert journal.head(LIVE) == Head(cycles[-1].key, cycles[-1].after)
    assert journal.first_at(LIVE) == NOW


def test_what_this_version_would_decide_differently_is_said(journal: Journal) -> None:
    """Reason, proposal and states of an entry are as recorded; what led to them is left out, and nothing fails."""
    cycles = chain(2)
    other = replace(cycles[0], decision=replace(cycles[0].decision, reason=Reason.CUT_LIMIT))
    tell(journal, other, cycles[1])
    changed, same = journal.entries(LIVE)
    assert (changed.derived, same.derived) == (False, True)
    assert (changed.reason, changed.generation) == (Reason.CUT_LIMIT, 1)
    assert changed.decision.proposal == cycles[0].decision.proposal
    assert changed.decision.trace == Trace()
    assert (changed.inputs, changed.state, changed.after) == (cycles[0].inputs, cycles[0].state, cycles[0].after)


def test_a_payload_comes_back_whatever_the_state_has_of_it(journal: Journal) -> None:
    """Metrics that the state has taken in are stored once; of an absent or faulty agent it keeps older ones."""
    first = moved(State(), NOW, agents=["a", "b", "c", "d"])
    regime = Regime("BULL", 0.8)
    seen = Snapshot(NOW + 290, {"a": GOOD, "d": GOOD}, {"c": "pnl_7d is missing"}, Guardian(False, 0.0), regime)
    second = decided(first.after, Inputs(NOW + 300, seen))
    paused = decided(second.after, Inputs(NOW + 600, replace(seen, metrics={"a": replace_metrics(2.0)}), stopped=True))
    for cycle in (first, second, paused):
        tell(journal, cycle)
    assert contents(list(journal.entries(LIVE))) == contents([first, second, paused])


def replace_metrics(pnl: float) -> Metrics:
    return GOOD._replace(pnl_7d=pnl)


def test_books_do_not_mix(journal: Journal) -> None:
    """Each book has its own states, entries and publications."""
    live, shadow = chain(5), chain(4, book="shadow:equal", at=NOW + 1, every=1)
    for one, other in itertools.zip_longest(live, shadow):
        tell(journal, *(cycle for cycle in (one, other) if cycle is not None))
    assert contents(list(journal.entries(LIVE))) == contents(live)
    assert contents(list(journal.entries("shadow:equal"))) == contents(shadow)
    assert state_of(journal, "shadow:equal") == shadow[-1].after
    journal.reached(4, "shadow:equal")
    assert journal.last_reached(LIVE) is None
    assert journal.last_reached("shadow:equal") == shadow[-1].after.published


def test_entries_come_oldest_first_and_can_be_cut_at_both_ends(journal: Journal) -> None:
    """``last`` takes the newest, ``after_seq`` what follows a known entry, both together the newest of what follows."""
    cycles = chain(50)
    tell(journal, *cycles)
    entries = list(journal.entries(LIVE))
    check_chain(entries)
    assert contents(entries) == contents(cycles)
    assert list(journal.entries(LIVE, last=45)) == entries[5:]
    assert list(journal.entries(LIVE, last=1)) == entries[-1:]
    assert list(journal.entries(LIVE, last=0)) == []
    assert list(journal.entries(LIVE, last=99)) == entries
    assert list(journal.entries(LIVE, after_seq=entries[9].seq)) == entries[10:]
    assert list(journal.entries(LIVE, after_seq=entries[9].seq, last=3)) == entries[-3:]
    assert list(journal.entries(LIVE, after_seq=entries[-2].seq, last=3)) == entries[-1:]
    assert list(journal.entries(LIVE, after_seq=entries[-1].seq)) == []


def test_recording_goes_on_while_entries_are_read(journal: Journal) -> None:
    """A reader half-way does not disturb the writer, and does not see what came after it began."""
    cycles = chain(60)
    tell(journal, *cycles[:30])
    reading = journal.entries(LIVE)
    first = next(reading)
    tell(journal, *cycles[30:])
    assert contents([first, *reading]) == contents(cycles[:30])


def test_the_last_decided_entry_is_found_behind_holds(sqlite: Store) -> None:
    """Holds have no scores; the newest entry that has some is what ``explain`` shows."""
    cycles = chain(30, every=30)
    tell(sqlite, *cycles)
    found = sqlite.last_decided(LIVE)
    assert found is not None
    assert contents([found]) == contents(cycles[:1])


def test_the_last_publishing_entry_is_found_behind_holds_and_stays(sqlite: Store) -> None:
    """The newest entry that has a generation; none while nothing was published."""
    assert sqlite.last_publishing(LIVE) is None
    cycles = chain(30, every=15)
    tell(sqlite, *cycles)
    found = sqlite.last_publishing(LIVE)
    assert found is not None
    assert contents([found]) == contents([[cycle for cycle in cycles if cycle.generation is not None][-1]])
    assert found.generation == 16


def test_a_publication_is_unreached_until_it_is_said_to_have_reached(journal: Journal) -> None:
    """Committed, then reached: the two questions of a start are answered from these marks alone."""
    first, second = chain(2, every=1)
    tell(journal, first)
    assert journal.unreached(LIVE) == first.after.published
    assert journal.last_reached(LIVE) is None
    journal.reached(1)
    journal.reached(1)
    assert journal.unreached(LIVE) is None
    assert journal.last_reached(LIVE) == first.after.published
    tell(journal, second)
    journal.reached(17)
    assert journal.unreached(LIVE) == second.after.published
    assert journal.last_reached(LIVE) == first.after.published
    journal.reached(2)
    assert journal.unreached(LIVE) is None
    assert journal.last_reached(LIVE) == second.after.published


def test_an_abandoned_publication_is_not_unreached_for_ever(journal: Journal) -> None:
    """Once a cycle stands on an earlier publication again, the one that never reached is history."""
    first, second = chain(2, every=1)
    tell(journal, first)
    journal.reached(1)
    tell(journal, second, held(replace(second.after, published=first.after.published), NOW + 600))
    assert journal.unreached(LIVE) is None
    assert journal.last_reached(LIVE) == first.after.published


def test_an_adopted_publication_is_known_from_the_first_cycle_on(journal: Journal) -> None:
    """A publication that came from a file, not from a decision here, can be marked like any other."""
    adopted = State(published=publication(41), generation=41)
    tell(journal, held(adopted, NOW))
    assert journal.unreached(LIVE) == publication(41)
    journal.reached(41)
    assert journal.last_reached(LIVE) == publication(41)


def test_other_content_under_a_reached_number_has_not_reached(journal: Journal) -> None:
    """A mark belongs to the content: what replaces it under the same generation must reach the file again."""
    tell(journal, held(State(published=publication(5)), NOW))
    journal.reached(5)
    other = publication(5, share=150_000)
    tell(journal, held(State(published=other), NOW + 300))
    assert journal.unreached(LIVE) == other
    assert journal.last_reached(LIVE) is None


def test_a_timeline_is_of_one_book_after_a_time(journal: Journal) -> None:
    """What happened is told oldest first, without another book's, and without what is exactly as old as asked.

    A move counts as such once its generation has reached the primary file.
    """
    tell(journal, *chain(2, book="shadow:old", every=1))
    cycles = chain(5)
    cut = replace(cycles[3], decision=replace(cycles[3].decision, reason=Reason.CUT_LIMIT))
    tell(journal, *cycles[:3], cut, cycles[4])
    unseen = Reason.FILES_UNWRITABLE

    def reasons() -> list[Reason]:
        return [reason for _, reason in journal.timeline(LIVE, 0.0)]

    assert reasons() == [unseen, cycles[1].reason, cycles[2].reason, unseen, cycles[4].reason]
    journal.reached(1)
    assert reasons()[:4] == [cycles[0].reason, cycles[1].reason, cycles[2].reason, unseen]
    journal.reached(4)
    assert journal.timeline(LIVE, cycles[2].at) == [
        (cycles[3].at, Reason.CUT_LIMIT),
        (cycles[4].at, cycles[4].reason),
    ]
    assert journal.timeline("nobody's", 0.0) == []


def test_retention_keeps_what_the_next_start_needs(journal: Journal) -> None:
    """However old: the newest entry of each book and its newest decided one, current and last reached publication."""
    tell(journal, *chain(2, book="shadow:old", every=1))
    cycles = chain(30, every=10)  # moves at 0, 10, 20
    tell(journal, *cycles[:20])
    journal.reached(1)
    tell(journal, *cycles[20:])
    deleted = journal.prune(NOW + 400 * DAY, 90)
    assert deleted == 29
    assert contents(list(journal.entries(LIVE))) == contents([cycles[20], cycles[29]])
    assert state_of(journal) == cycles[-1].after
    assert journal.unreached(LIVE) == cycles[20].after.published
    assert journal.last_reached(LIVE) == cycles[0].after.published
    assert state_of(journal, "shadow:old") is not None
    assert journal.prune(NOW + 400 * DAY, 90) == 0
    journal.reached(21)
    assert journal.last_reached(LIVE) == cycles[20].after.published
    again = held(cycles[-1].after, NOW + 400 * DAY)
    tell(journal, again)
    assert state_of(journal) == again.after
    assert journal.unreached(LIVE) is None


def test_retention_goes_by_age(journal: Journal) -> None:
    """What is younger than the days asked for stays."""
    cycles = chain(10)
    tell(journal, *cycles)
    assert journal.prune(NOW + 90 * DAY + 5 * 300, 90) == 5
    assert contents(list(journal.entries(LIVE))) == contents(cycles[5:])


@dataclass(frozen=True)
class Step:
    what: str
    book: str
    number: int


STEPS = st.lists(
    st.builds(
        Step,
        st.sampled_from(["hold", "move", "back", "reach", "prune", "reopen"]),
        st.sampled_from([LIVE, "shadow"]),
        st.integers(0, 6),
    ),
    max_size=25,
)


@settings(max_examples=40)
@given(steps=STEPS)
def test_both_stores_agree_whatever_happens(tmp_path_factory: pytest.TempPathFactory, steps: list[Step]) -> None:
    """Any sequence of cycles, marks, retention and restarts leaves the two journals with the same answers."""
    path = tmp_path_factory.mktemp("agree") / "journal.sqlite3"
    memory, durable = in_memory(), open_sqlite(path)
    now = NOW
    try:
        for step in steps:
            now += 10 * DAY
            state = state_of(memory, step.book) or State()
            cycle = None
            if step.what == "hold":
                cycle = held(state, now, step.book)
            elif step.what == "move":
                cycle = moved(state, now, step.book)
            elif step.what == "back":
                cycle = held(replace(state, published=memory.last_reached(step.book)), now, step.book)
            elif step.what == "reach":
                published = state.published
                for each in (memory, durable):
                    each.reached(step.number if published is None else published.generation, step.book)
            elif step.what == "prune":
                assert memory.prune(now, 25.0) == durable.prune(now, 25.0)
            else:
                durable.close()
                durable = open_sqlite(path)
            if cycle is not None:
                tell(memory, cycle)
                tell(durable, cycle)
            for book in (LIVE, "shadow"):
                assert state_of(durable, book) == state_of(memory, book)
                assert durable.unreached(book) == memory.unreached(book)
                assert durable.last_reached(book) == memory.last_reached(book)
                one, other = durable.last_decided(book), memory.last_decided(book)
                assert contents([one] if one else []) == contents([other] if other else [])
                assert contents(list(durable.entries(book))) == contents(list(memory.entries(book)))
                assert durable.first_at(book) == memory.first_at(book)
                assert durable.timeline(book, 0.0) == memory.timeline(book, 0.0)
    finally:
        durable.close()


# --- one chain -------------------------------------------------------------------------------------------------------


def test_two_connections_cannot_both_record_the_first_generation(path: Path) -> None:
    """A record says which entry its state came from; where that is not the newest any more, nothing is written."""
    one, other = open_sqlite(path), open_sqlite(path)
    first, rival = moved(State(), NOW), moved(State(), NOW + 1)
    try:
        one.record(first)
        with pytest.raises(JournalConflictError, match=r"another program.*CAPITAL_GOVERNOR_JOURNAL"):
            other.record(replace(rival, notices=(new_notice("moved", NOW),)))
        assert contents(stored(path)) == contents([first])
        assert other.notices(NoticeState.PENDING, 9) == []
        assert other.head(LIVE) == Head(first.key, first.after)
        second = replace(held(first.after, NOW + 300), previous=first.key)
        other.record(second)
        with pytest.raises(JournalConflictError):
            one.record(replace(held(first.after, NOW + 301), previous=first.key))
        with pytest.raises(JournalConflictError):
            one.check_head(LIVE, first.key)
        one.check_head(LIVE, second.key)
    finally:
        one.close()
        other.close()
    assert contents(stored(path)) == contents([first, second])


RACER = """
import sys
from pathlib import Path
from capital_governor.core.model import State
from capital_governor.journal.protocol import JournalConflictError
from capital_governor.journal.sqlite.sqlite_driver import open_sqlite
from tests.rigs.journal_cycles import NOW, moved
journal = open_sqlite(Path(sys.argv[1]), busy_seconds=20.0)
cycle = moved(State(), NOW)
print("ready", flush=True)
sys.stdin.readline()
try:
    journal.record(cycle)
    print("recorded")
except JournalConflictError:
    print("conflict")
"""


def test_of_many_processes_one_records_the_first_generation(path: Path) -> None:
    """They start from the same empty journal and record at once: one cycle is written, the others are told."""
    open_sqlite(path).close()
    command = [sys.executable, "-c", RACER, str(path)]
    pipe = subprocess.PIPE
    racers = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(5)]
    try:
        for each in racers:
            assert each.stdout is not None
            assert each.stdout.readline() == "ready\n"
        said = [each.communicate("go\n", timeout=PATIENCE_SECONDS)[0].strip() for each in racers]
    finally:
        for each in racers:
            each.kill()
            each.wait()
    assert sorted(said) == ["conflict"] * 4 + ["recorded"]
    assert [entry.generation for entry in stored(path)] == [1]
