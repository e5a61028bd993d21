"""The journal: exact, durable, bounded, and never in the way of a cycle."""

from __future__ import annotations

import itertools
import json
import math
import os
import pickle
import random
import resource
import sqlite3
import stat
import struct
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, is_dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capital_governor.core.model import (
    Inputs,
    Latches,
    Limit,
    Memory,
    Metrics,
    Pause,
    Publication,
    Refusal,
    Rules,
    Snapshot,
    State,
)
from capital_governor.core.reason import Reason
from capital_governor.core.trace import Brake, Decision, Trace
from capital_governor.journal.codec import Verdict, decode, encode, with_totals
from capital_governor.journal.fallback import BATCH, ResilientJournal
from capital_governor.journal.memory import MemoryJournal
from capital_governor.journal.protocol import (
    LIVE,
    Entry,
    Journal,
    JournalCorruptError,
    JournalRefusedError,
    JournalUnavailableError,
    Record,
    Summary,
)
from capital_governor.journal.sqlite.file import APPLICATION_ID, set_aside, typed
from capital_governor.journal.sqlite.store import SqliteJournal, open_sqlite

DAY = 86_400.0
NOW = 1_762_200_000.0
RULES = Rules()
GOOD = Metrics(850.0, 1.234, 0.65, 2.5)

# --- builders --------------------------------------------------------------------------------------------------------


def say(figure: object) -> None:
    print(figure)  # noqa: T201 - a promise shows its figure


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - not for secrets


def publication(generation: int, at: float = NOW, share: int = 400_000) -> Publication:
    return Publication(
        generation=generation,
        decision_id=f"d{generation}",
        at=at,
        reason=Reason.THRESHOLD,
        shares={"b": share, "a": 100_000},
        reserve=900_000 - share,
        weights={"b": 0.8, "a": 0.2},
        exposure=0.5,
        scores={"b": 0.7, "a": 0.1},
        min_alloc=0.05,
        max_alloc=0.4,
    )


def held(state: State, now: float, book: str = LIVE) -> Record:
    """A cycle in which the dashboard could not be reached."""
    after = replace(state, asked=state.asked + 1)
    return Record(
        book=book,
        inputs=Inputs(now, Refusal(Reason.FETCH_FAILED, "connection refused")),
        state=state,
        rules=RULES,
        decision=Decision(Reason.FETCH_FAILED, None, after, Trace()),
        after=after,
    )


def moved(state: State, now: float, book: str = LIVE, agents: Sequence[str] = ("a", "b")) -> Record:
    """A cycle that publishes the next generation."""
    proposal = publication(state.generation + 1, now)
    draft = State(
        published=state.published,
        generation=proposal.generation,
        agents={name: Memory(GOOD) for name in agents},
        multipliers={"regime": 0.8},
        moved_at=now,
    )
    trace = Trace(scores=dict.fromkeys(agents, 0.5), exposure=0.8, exposure_by="regime")
    return Record(
        book=book,
        inputs=Inputs(now, Snapshot(now - 3, dict.fromkeys(agents, GOOD))),
        state=state,
        rules=RULES,
        decision=Decision(Reason.THRESHOLD, proposal, draft, trace),
        after=replace(draft, published=proposal),
    )


def chain(count: int, *, book: str = LIVE, state: State | None = None, at: float = NOW, every: int = 3) -> list[Record]:
    """``count`` cycles 300 s apart, each going on from the last; one in ``every`` moves, the others hold."""
    cycles: list[Record] = []
    state = State() if state is None else state
    for number in range(count):
        make = moved if number % every == 0 else held
        cycles.append(make(state, at + 300 * number, book))
        state = cycles[-1].after
    return cycles


def tell(journal: Journal, *cycles: Record) -> None:
    for each in cycles:
        journal.record(each)


def contents(cycles: Sequence[Record]) -> list[str]:
    """All that was recorded, in a form that shows signs of zero, order of keys and types."""
    return [repr((c.book, c.inputs, c.state, c.rules, c.decision, c.after)) for c in cycles]


def stored(path: Path, book: str = LIVE) -> list[Entry]:
    journal = open_sqlite(path, read_only=True)
    try:
        return list(journal.entries(book))
    finally:
        journal.close()


def check_chain(entries: Sequence[Entry]) -> None:
    """Whole transactions only: each entry goes on from the state the one before it left, and none is missing."""
    for earlier, later in itertools.pairwise(entries):
        assert later.seq == earlier.seq + 1
        assert later.state == earlier.after


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.sqlite3"


@pytest.fixture
def sqlite(path: Path) -> Iterator[SqliteJournal]:
    journal = open_sqlite(path, busy_seconds=0.05)
    yield journal
    journal.close()


@pytest.fixture(params=["memory", "sqlite", "resilient"])
def journal(request: pytest.FixtureRequest, path: Path) -> Iterator[Journal]:
    made: Journal
    if request.param == "memory":
        made = MemoryJournal()
    elif request.param == "sqlite":
        made = open_sqlite(path)
    else:
        made = ResilientJournal(
            lambda: open_sqlite(path),
            set_aside=lambda: set_aside(path, NOW),
            on_lost=pytest.fail,
            on_restored=lambda count: pytest.fail(str(count)),
        )
    yield made
    made.close()


# --- the codec -------------------------------------------------------------------------------------------------------


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of ``kind``, by its annotations: extreme floats, any text but lone surrogates, empty and full maps."""
    simple: dict[Any, st.SearchStrategy[Any]] = {
        float: st.floats(allow_nan=False),
        int: st.integers(-(2**70), 2**70),
        bool: st.booleans(),
        str: st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        type(None): st.none(),
    }
    origin, arguments = get_origin(kind), get_args(kind)
    if kind in simple:
        found = simple[kind]
    elif origin is types.UnionType:
        found = st.one_of([values(each) for each in arguments])
    elif origin is tuple:
        found = st.lists(values(arguments[0]), max_size=2).map(tuple)
    elif origin is not None and issubclass(origin, Mapping):
        found = st.dictionaries(values(arguments[0]), values(arguments[1]), max_size=3)
    elif isinstance(kind, type) and issubclass(kind, Enum):
        found = st.sampled_from(list(kind))
    else:
        assert is_dataclass(kind) or issubclass(kind, tuple), kind
        found = st.builds(kind, **{name: values(hint) for name, hint in get_type_hints(kind).items()})
    return found


@pytest.mark.parametrize("kind", [Inputs, State, Rules, Trace, Publication, Decision])
def test_whatever_is_encoded_comes_back_the_same(kind: Any) -> None:
    """A value and what is decoded of its bytes are equal, signs of zero and order of keys included."""
    seen = 0

    @settings(max_examples=60)
    @given(values(kind))
    def same(value: Any) -> None:
        nonlocal seen
        seen += 1
        blob = encode(value)
        back = decode(kind, blob)
        assert back == value
        assert repr(back) == repr(value)
        assert encode(back) == blob
        json.loads(blob)

    same()
    say(f"{kind.__name__}: {seen} values")


def test_a_hundred_thousand_floats_come_back_bit_for_bit() -> None:
    """No float of any exponent changes a bit on its way through the journal."""
    rng = seeded(7)
    floats = [value for value in (struct.unpack("d", rng.randbytes(8))[0] for _ in range(100_000)) if value == value]  # noqa: PLR0124 - leaves out NaN
    state = State(multipliers={str(number): value for number, value in enumerate(floats)})
    back = decode(State, encode(state))
    assert struct.pack(f"{len(floats)}d", *back.multipliers.values()) == struct.pack(f"{len(floats)}d", *floats)


def test_an_infinity_is_not_taken_for_unknown() -> None:
    """Infinity stays infinity, also where None would be allowed."""
    limit = Limit("a", "me", cap=math.inf, until=-math.inf)
    inputs = Inputs(NOW, Refusal(Reason.FETCH_FAILED, ""), limits=(limit,))
    assert decode(Inputs, encode(inputs)).limits == (limit,)
    trace = Trace(brakes=(Brake(Reason.COOLDOWN, active=False, value=math.inf, limit=0.0),))
    assert decode(Trace, encode(trace)) == trace


def test_a_score_that_was_stored_with_its_parts_is_read_as_its_total() -> None:
    """A verdict of the program before this one is read; of each score what it adds up to is kept."""
    verdict = Verdict(Reason.UNCHANGED, None, Trace(scores={"Ada": 0.375, "Bob": 0.1}, exposure=float("inf")))
    old = (
        encode(verdict).replace(b"0.375", b"[0.375,0.2,0.1,0.05,0.025]").replace(b'"Bob":0.1', b'"Bob":[0.1,0,0,0,0.1]')
    )
    assert old != encode(verdict)
    assert decode(Verdict, with_totals(old)) == decode(Verdict, with_totals(encode(verdict))) == verdict
    for damaged in (b"", b"[]", b'{"trace": {"scores": {"Ada": []}}}'):
        with pytest.raises(JournalCorruptError):
            decode(Verdict, with_totals(damaged))


@pytest.mark.parametrize(
    ("kind", "blob"),
    [
        (State, b""),
        (State, b"null"),
        (State, b"[]"),
        (State, b"{}, {}"),
        (State, encode(State())[:-1]),
        (State, b'{"asked": "1"}'),
        (State, b'{"asked": true}'),
        (State, b'{"asked": 1.5}'),
        (State, b'{"unheard_of": 1}'),
        (State, b'{"latches": {"unheard_of": 1}}'),
        (State, b'{"moved_at": "soon"}'),
        (State, b"\xff\xfe"),
        (Inputs, b'{"now": 1.0, "payload": {}}'),
        (Inputs, b'{"now": 1.0, "payload": {"reason": "no_such_reason", "detail": ""}}'),
        (Publication, b"{}"),
    ],
)
def test_a_damaged_document_is_a_typed_error(kind: type[State], blob: bytes) -> None:
    """What is not of the shape, or has a field that would be lost, is refused as damaged."""
    with pytest.raises(JournalCorruptError, match=kind.__name__):
        decode(kind, blob)


@pytest.mark.parametrize("wrong", [State(asked="1"), State(latches=Latches(accepted=("\ud800",)))])  # type: ignore[arg-type]
def test_what_cannot_be_stored_is_the_callers_fault(wrong: State) -> None:
    """A value of a wrong type, or text that has no UTF-8, is a ValueError and not a storage failure."""
    with pytest.raises(ValueError, match="erializ"):
        encode(wrong)


# --- what every journal does -----------------------------------------------------------------------------------------


def test_an_empty_journal_knows_nothing(journal: Journal) -> None:
    """Every question to an empty journal has an answer, and the answer is: nothing."""
    journal.reached(1)
    assert journal.state(LIVE) is None
    assert journal.unreached(LIVE) is None
    assert journal.last_reached(LIVE) is None
    assert journal.last_decided(LIVE) is None
    assert list(journal.entries(LIVE)) == []
    assert replace(journal.summary(LIVE), size_bytes=0) == Summary(0, 0, None, None, 0)
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
        Reason.THRESHOLD,
        Reason.FETCH_FAILED,
        Reason.FETCH_FAILED,
        Reason.THRESHOLD,
    ]
    assert [entry.generation for entry in entries] == [1, None, None, 2]
    assert journal.state(LIVE) == cycles[-1].after


def test_a_committed_state_unlike_the_decided_one_is_kept_beside_it(journal: Journal) -> None:
    """Both the decision's state and the committed one come back, however they differ."""
    cycle = moved(State(), NOW)
    odd = replace(cycle, after=replace(cycle.after, asked=7), decision=replace(cycle.decision, after=State(asked=5)))
    tell(journal, odd)
    (entry,) = journal.entries(LIVE)
    assert (entry.after.asked, entry.decision.after) == (7, State(asked=5))


def test_books_do_not_mix(journal: Journal) -> None:
    """Each book has its own states, entries and publications."""
    live, shadow = chain(5), chain(4, book="shadow:equal", at=NOW + 1, every=1)
    for one, other in itertools.zip_longest(live, shadow):
        tell(journal, *(cycle for cycle in (one, other) if cycle is not None))
    assert contents(list(journal.entries(LIVE))) == contents(live)
    assert contents(list(journal.entries("shadow:equal"))) == contents(shadow)
    assert journal.state("shadow:equal") == shadow[-1].after
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


def test_the_last_decided_entry_is_found_behind_holds(journal: Journal) -> None:
    """Holds have no scores; the newest entry that has some is what ``explain`` shows."""
    cycles = chain(30, every=30)
    tell(journal, *cycles)
    decided = journal.last_decided(LIVE)
    assert decided is not None
    assert contents([decided]) == contents(cycles[:1])


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
    other = publication(5, share=300_000)
    tell(journal, held(State(published=other), NOW + 300))
    assert journal.unreached(LIVE) == other
    assert journal.last_reached(LIVE) is None


def test_a_summary_counts_moves_and_cuts_but_no_refused_proposals(journal: Journal) -> None:
    """What the gate refused was proposed but never moved anything."""
    cycles = chain(7)
    refused = replace(cycles[-1], decision=replace(cycles[-1].decision, reason=Reason.GATE_LIMIT))
    cut = replace(cycles[3], decision=replace(cycles[3].decision, reason=Reason.CUT_LIMIT))
    tell(journal, *cycles[:3], cut, *cycles[4:6], refused)
    assert replace(journal.summary(LIVE), size_bytes=0) == Summary(7, 2, NOW, NOW + 1_800, 0)


def test_reasons_are_those_of_one_book_after_a_time(journal: Journal) -> None:
    """What happened is told oldest first, without another book's, and without what is exactly as old as asked.

    A move counts as such once its generation has reached the primary file.
    """
    tell(journal, *chain(2, book="shadow:old", every=1))
    cycles = chain(5)
    cut = replace(cycles[3], decision=replace(cycles[3].decision, reason=Reason.CUT_LIMIT))
    tell(journal, *cycles[:3], cut, cycles[4])
    unseen = Reason.FILES_UNWRITABLE
    assert journal.reasons(LIVE, 0.0) == [unseen, cycles[1].reason, cycles[2].reason, unseen, cycles[4].reason]
    journal.reached(1)
    assert journal.reasons(LIVE, 0.0)[:4] == [cycles[0].reason, cycles[1].reason, cycles[2].reason, unseen]
    journal.reached(2)
    assert journal.reasons(LIVE, cycles[2].at) == [Reason.CUT_LIMIT, cycles[4].reason]
    assert journal.reasons("nobody's", 0.0) == []


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
    assert journal.state(LIVE) == cycles[-1].after
    assert journal.unreached(LIVE) == cycles[20].after.published
    assert journal.last_reached(LIVE) == cycles[0].after.published
    assert journal.state("shadow:old") is not None
    journal.reached(2)  # too old, and never more than an intent
    assert journal.last_reached(LIVE) == cycles[0].after.published
    assert journal.prune(NOW + 400 * DAY, 90) == 0
    journal.reached(3)
    assert journal.last_reached(LIVE) == cycles[20].after.published
    again = held(cycles[-1].after, NOW + 400 * DAY)
    tell(journal, again)
    assert journal.state(LIVE) == again.after
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
    memory, durable = MemoryJournal(), open_sqlite(path)
    now = NOW
    try:
        for step in steps:
            now += 10 * DAY
            state = memory.state(step.book) or State()
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
                assert durable.state(book) == memory.state(book)
                assert durable.unreached(book) == memory.unreached(book)
                assert durable.last_reached(book) == memory.last_reached(book)
                one, other = durable.last_decided(book), memory.last_decided(book)
                assert contents([one] if one else []) == contents([other] if other else [])
                assert contents(list(durable.entries(book))) == contents(list(memory.entries(book)))
                assert replace(durable.summary(book), size_bytes=0) == memory.summary(book)
    finally:
        durable.close()


# --- memory ----------------------------------------------------------------------------------------------------------


def test_memory_is_bounded_by_entries() -> None:
    """The oldest entries make room; state and publication outlive them."""
    journal = MemoryJournal(capacity=10)
    cycles = chain(25, every=25)
    tell(journal, *cycles)
    assert contents(list(journal.entries(LIVE))) == contents(cycles[15:])
    assert journal.dropped == 15
    assert journal.unreached(LIVE) == cycles[0].after.published


def test_memory_is_bounded_by_agents() -> None:
    """A thousand agents fill the memory with few entries, but one always stays."""
    journal = MemoryJournal(agent_capacity=3_500)
    state = State()
    for number in range(6):
        tell(journal, moved(state, NOW + number, agents=[f"agent{each}" for each in range(1_000)]))
    assert len(journal) == 3
    small = MemoryJournal(agent_capacity=1)
    tell(small, *chain(2))
    assert len(small) == 1


def test_memory_of_unreached_publications_is_bounded() -> None:
    """Moves that never reach the file do not pile up."""
    journal = MemoryJournal(capacity=1)
    cycles = chain(300, every=1)
    tell(journal, *cycles)
    assert len(journal._book(LIVE).publications) == 100
    assert journal.unreached(LIVE) == cycles[-1].after.published


# --- SQLite: form ----------------------------------------------------------------------------------------------------


def test_how_the_database_is_set_up(sqlite: SqliteJournal) -> None:
    """WAL, every commit on the disk, free pages can be given back, references are checked; little kept in memory."""
    settings_found = {
        name: sqlite._all(f"PRAGMA {name}")[0][0]
        for name in (
            "journal_mode",
            "synchronous",
            "auto_vacuum",
            "foreign_keys",
            "user_version",
            "application_id",
            "cache_size",
        )
    }
    assert settings_found == {
        "journal_mode": "wal",
        "synchronous": 2,
        "auto_vacuum": 2,
        "foreign_keys": 1,
        "user_version": 3,
        "application_id": APPLICATION_ID,
        "cache_size": -512,
    }


def test_only_the_owner_can_read_a_new_journal(path: Path) -> None:
    """The database and what SQLite puts beside it are made with mode 0600, whatever the umask."""
    before = os.umask(0)
    try:
        journal = open_sqlite(path)
        tell(journal, *chain(1))
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
        journal.close()
    finally:
        os.umask(before)
    assert modes == dict.fromkeys((path.name, f"{path.name}-shm", f"{path.name}-wal"), 0o600)


def test_the_mode_of_an_existing_journal_is_the_operators(path: Path) -> None:
    """Opening it again changes no mode."""
    open_sqlite(path).close()
    path.chmod(0o640)
    open_sqlite(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_any_sqlite_tool_can_list_the_cycles(path: Path) -> None:
    """Time, reason and generation are plain columns, rules and publications plain JSON, each stored once."""
    journal = open_sqlite(path)
    cycles = chain(6)
    tell(journal, *cycles)
    journal.close()
    plain = sqlite3.connect(path)
    try:
        rows = plain.execute("SELECT book, at, reason, generation FROM cycles WHERE at >= ?", (NOW + 600,)).fetchall()
        rules = plain.execute("SELECT json_extract(doc, '$.max_alloc') FROM rules").fetchall()
        docs = plain.execute("SELECT generation, json_extract(doc, '$.shares.b') FROM publications").fetchall()
        ((states,),) = plain.execute("SELECT count(*) FROM states")
    finally:
        plain.close()
    assert rows[:2] == [(LIVE, NOW + 600, "fetch_failed", None), (LIVE, NOW + 900, "threshold", 2)]
    assert rules == [(0.4,)]
    assert docs == [(1, 400_000), (2, 400_000)]
    assert states == 7  # the first, and one after each cycle


def test_a_state_that_does_not_change_takes_no_room(sqlite: SqliteJournal) -> None:
    """Cycles that leave the state as it is refer to one row, also when it is an equal object and not the same."""
    state = moved(State(), NOW).after
    for number in range(10):
        same = decode(State, encode(state))
        tell(
            sqlite, replace(held(same, NOW + number), after=same, decision=Decision(Reason.PAUSED, None, same, Trace()))
        )
    assert sqlite._all("SELECT count(*) FROM states") == [(1,)]


def test_a_fresh_process_finds_the_state(path: Path) -> None:
    """What one process recorded, another reads, to the last digit, publication and marks included."""
    journal = open_sqlite(path)
    cycles = chain(8)
    tell(journal, *cycles)
    journal.reached(2)
    journal.close()
    script = (
        "import sys; from pathlib import Path\n"
        "from capital_governor.journal.sqlite.store import open_sqlite\n"
        "j = open_sqlite(Path(sys.argv[1]))\n"
        "print(repr((j.state('live'), j.unreached('live'), j.last_reached('live'))))\n"
        "j.close()"
    )
    found = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == repr((cycles[-1].after, cycles[-1].after.published, cycles[3].after.published))


def test_threads_may_take_turns(sqlite: SqliteJournal) -> None:
    """The journal is opened in one thread and used in another."""
    cycles = chain(3)
    with ThreadPoolExecutor(1) as executor:
        executor.submit(tell, sqlite, *cycles).result()
    assert sqlite.state(LIVE) == cycles[-1].after


def test_deleted_cycles_give_their_room_back(path: Path) -> None:
    """After retention the file shrinks, by a bounded number of pages and entries a call."""
    journal = open_sqlite(path)
    rng = seeded(3)
    cycles, state = [], State()
    for number in range(2_300):
        detail = rng.randbytes(1_000).hex()
        cycle = held(state, NOW + number)
        cycles.append(replace(cycle, inputs=replace(cycle.inputs, payload=Refusal(Reason.FETCH_FAILED, detail))))
        state = cycle.after
    journal.record_all(cycles)
    journal.close()
    full = path.stat().st_size
    journal = open_sqlite(path)
    try:
        sizes, deleted = [], []
        for _ in range(6):
            deleted.append(journal.prune(NOW + 100 * DAY, 90))
            journal._all("PRAGMA wal_checkpoint(TRUNCATE)")
            sizes.append(path.stat().st_size)
        ((states,),) = journal._all("SELECT count(*) FROM states")
        assert journal.state(LIVE) == state
    finally:
        journal.close()
    say(f"size {full} -> {sizes}, deleted {deleted}")
    assert deleted == [2_000, 299, 0, 0, 0, 0]
    assert states == 2  # before and after the newest
    assert all(0 <= earlier - later <= 1_100 * 4_096 for earlier, later in itertools.pairwise([full, *sizes]))
    assert sizes[-1] < 1_500_000 < full


def test_retention_bounds_bytes_too(sqlite: SqliteJournal) -> None:
    """Large entries are deleted a few at a time."""
    rng = seeded(3)
    state = State()
    for number in range(14):
        cycle = held(state, NOW + number)
        payload = Refusal(Reason.FETCH_FAILED, rng.randbytes(1_000_000).hex())
        tell(sqlite, replace(cycle, inputs=replace(cycle.inputs, payload=payload)))
        state = cycle.after
    deleted = [sqlite.prune(NOW + 100 * DAY, 90) for _ in range(3)]
    assert sum(deleted) == 13
    assert 5 <= deleted[0] <= 10


# --- SQLite: what goes wrong -----------------------------------------------------------------------------------------


def test_an_empty_file_becomes_a_journal(path: Path) -> None:
    """A file of no bytes, as a crash between making and filling leaves it, is filled."""
    path.parent.mkdir()
    path.touch()
    open_sqlite(path).close()
    assert stored(path) == []


@pytest.mark.parametrize("damage", ["garbage", "text", "truncated", "page", "zlib", "json", "table"])
def test_damage_is_a_typed_error(path: Path, damage: str) -> None:
    """Whatever is wrong with the file, opening or reading it says that it is damaged."""
    journal = open_sqlite(path)
    journal.record_all(chain(200))
    journal.close()
    content = path.read_bytes()
    if damage == "garbage":
        path.write_bytes(seeded(1).randbytes(50_000))
    elif damage == "text":
        path.write_text("this is no database\n" * 200)
    elif damage == "truncated":
        path.write_bytes(content[: len(content) // 2 // 4_096 * 4_096])
    elif damage == "page":
        middle = len(content) // 2 // 4_096 * 4_096
        path.write_bytes(content[:middle] + b"\x5a" * 4_096 + content[middle + 4_096 :])
    else:
        plain = sqlite3.connect(path)
        statement = {
            "zlib": "UPDATE states SET doc = x'00112233'",
            "json": "UPDATE publications SET doc = '{}'",
            "table": "DROP TABLE publications",
        }[damage]
        plain.execute("PRAGMA foreign_keys = OFF")
        plain.execute(statement)
        plain.execute("UPDATE publications SET reached = 1") if damage == "json" else None
        plain.commit()
        plain.close()
    with pytest.raises(JournalCorruptError):  # noqa: PT012 - which of the calls notices depends on the damage
        journal = open_sqlite(path)
        try:
            journal.state(LIVE)
            journal.last_reached(LIVE)
        finally:
            journal.close()


def test_a_newer_journal_is_refused_and_left_alone(path: Path) -> None:
    """A schema this version does not know is no damage: the error says what to do, and no byte changes."""
    open_sqlite(path).close()
    plain = sqlite3.connect(path)
    plain.execute("PRAGMA user_version = 4")
    plain.close()
    before = path.read_bytes()
    for read_only in (False, True):
        with pytest.raises(JournalRefusedError, match=r"schema 4.*newer version"):
            open_sqlite(path, read_only=read_only)
    assert path.read_bytes() == before


def test_another_programs_database_is_refused_and_left_alone(path: Path) -> None:
    """A path that names a foreign database by mistake costs that program nothing."""
    path.parent.mkdir()
    plain = sqlite3.connect(path)
    plain.execute("CREATE TABLE trades (id)")
    plain.close()
    before = path.read_bytes()
    with pytest.raises(JournalRefusedError, match="another program"):
        open_sqlite(path)
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("what", ["folder", "fifo", "below a file"])
def test_a_place_that_is_no_file_is_unavailable(path: Path, what: str) -> None:
    """A folder, a FIFO or a file in the way is said in a JournalUnavailableError, without hanging."""
    if what == "below a file":
        path.parent.write_text("")
    else:
        path.parent.mkdir()
        path.mkdir() if what == "folder" else os.mkfifo(path)
    with pytest.raises(
        JournalUnavailableError, match="File exists" if what == "below a file" else "not a regular file"
    ):
        open_sqlite(path)


def test_every_kind_of_damage_sqlite_tells_apart_is_damage(path: Path) -> None:
    """SQLite refines "malformed" into finer codes; each of them means that waiting does not help."""
    error = sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT_INDEX
    with pytest.raises(JournalCorruptError, match="malformed"), typed(path):
        raise error


def test_a_lock_is_waited_for_briefly(sqlite: SqliteJournal, path: Path) -> None:
    """Someone else's transaction makes recording fail with a typed error after a while, and nothing is written."""
    cycles = chain(2)
    tell(sqlite, cycles[0])
    other = sqlite3.connect(path, isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        begin = time.perf_counter()
        with pytest.raises(JournalUnavailableError, match="locked"):
            tell(sqlite, cycles[1])
        waited = time.perf_counter() - begin
        assert sqlite.state(LIVE) == cycles[0].after
        other.execute("ROLLBACK")
    finally:
        other.close()
    say(f"waited {waited:.3f} s")
    tell(sqlite, cycles[1])
    assert contents(list(sqlite.entries(LIVE))) == contents(cycles)


@pytest.mark.parametrize("journal", ["sqlite", "resilient"], indirect=True)
def test_what_cannot_be_encoded_leaves_no_trace(journal: Journal) -> None:
    """A fault of the caller is a ValueError, and the transaction it was in is undone as a whole."""
    cycles = chain(3)
    bad = replace(cycles[2], inputs=replace(cycles[2].inputs, pause=Pause(paused=True, reason="\udcff")))
    with pytest.raises(ValueError, match="surrogates"):
        journal.record_all([*cycles[:2], bad])
    assert list(journal.entries(LIVE)) == []
    tell(journal, *cycles[1:])
    journal.reached(1)
    assert contents(list(journal.entries(LIVE))) == contents(cycles[1:])
    assert journal.last_reached(LIVE) == cycles[0].after.published


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_a_journal_that_was_taken_away_is_noticed(sqlite: SqliteJournal, path: Path, how: str) -> None:
    """A commit into a deleted or replaced file would be lost, so it is refused."""
    cycles = chain(2)
    tell(sqlite, cycles[0])
    path.unlink()
    if how == "replaced":
        path.write_bytes(b"")
    with pytest.raises(JournalUnavailableError):
        tell(sqlite, cycles[1])


def test_wrong_use_is_not_taken_for_a_storage_failure(path: Path) -> None:
    """A closed journal is a fault of the program: sqlite3's own error comes through."""
    journal = open_sqlite(path)
    journal.close()
    with pytest.raises(sqlite3.ProgrammingError):
        journal.state(LIVE)


def test_damaged_journals_are_set_aside_under_names_of_their_own(path: Path) -> None:
    """The name says when in UTC, the companions go along, and nothing that lies there is overwritten."""
    path.parent.mkdir()
    places = []
    for number in range(3):
        path.write_text(f"garbage {number}")
        Path(f"{path}-wal").write_text(f"wal {number}")
        places.append(set_aside(path, NOW))
    base = "journal.sqlite3.corrupt-20251103T200000Z"
    assert [place.name for place in places] == [base, f"{base}-2", f"{base}-3"]
    assert [place.read_text() for place in places] == ["garbage 0", "garbage 1", "garbage 2"]
    assert [Path(f"{place}-wal").read_text() for place in places] == ["wal 0", "wal 1", "wal 2"]
    assert not path.exists()


WRITER = """
import pickle, sys
from dataclasses import replace
from pathlib import Path
from capital_governor.journal.sqlite.store import open_sqlite
cycle, limit = pickle.load(sys.stdin.buffer)
journal = open_sqlite(Path(sys.argv[1]))
state = journal.state("live") or cycle.state
for _ in range(limit):
    after = replace(state, asked=state.asked + 1)
    decision = replace(cycle.decision, after=after)
    journal.record(replace(cycle, state=state, decision=decision, after=after))
    state = after
    print(state.asked, flush=True)
journal.close()
"""


@contextmanager
def writer(path: Path, limit: int = 10**9) -> Iterator[subprocess.Popen[bytes]]:
    """A process that records cycles as fast as it can, saying the number of each when it is durable."""
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(pickle.dumps((held(State(), NOW), limit)))
        process.stdin.close()
        try:
            yield process
        finally:
            process.kill()


def test_a_killed_writer_leaves_whole_transactions_only(path: Path) -> None:
    """After kill -9 at a random moment the journal opens, and holds every cycle that was said to be durable."""
    rng = seeded(11)
    kills = recorded = 0
    for _ in range(6):
        with writer(path) as process:
            assert process.stdout is not None
            said = int(process.stdout.readline())
            time.sleep(rng.uniform(0.0, 0.15))
            process.kill()
            said = max([said, *(int(line) for line in process.stdout.read().split(b"\n")[:-1])])
        kills += 1
        looked = stored(path)  # a reader before any writer has recovered it
        journal = open_sqlite(path)
        try:
            entries = list(journal.entries(LIVE))
            assert journal._all("PRAGMA integrity_check") == [("ok",)]
            assert journal._all("PRAGMA foreign_key_check") == []
            assert journal.state(LIVE) == entries[-1].after
        finally:
            journal.close()
        assert looked == entries
        check_chain(entries)
        recorded = len(entries)
        assert entries[-1].after.asked == recorded
        assert said <= recorded <= said + 1
    say(f"{kills} kills, {recorded} cycles, none torn, none lost")


# --- SQLite: reading beside a writer ---------------------------------------------------------------------------------


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    return {each.name: (each.stat().st_size, each.stat().st_mtime_ns) for each in folder.iterdir()}


def test_a_reader_beside_a_busy_writer_sees_whole_cycles(path: Path) -> None:
    """Reading neither fails nor blocks the writer, and what is seen only grows."""
    with writer(path) as process:
        assert process.stdout is not None
        process.stdout.readline()
        counts = []
        for _ in range(15):
            journal = open_sqlite(path, read_only=True)
            try:
                entries = list(journal.entries(LIVE, last=60))
                state = journal.state(LIVE)
                assert state is not None
                counts.append(journal.summary(LIVE).cycles)
            finally:
                journal.close()
            check_chain(entries)
            assert entries[-1].after.asked <= state.asked <= counts[-1]
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]
    say(f"15 looks while the writer went from {counts[0]} to {counts[-1]}")


@pytest.mark.parametrize("when", ["open", "closed", "killed"])
def test_a_reader_changes_nothing(path: Path, when: str) -> None:
    """No file is made or touched by looking, be the writer running, gone or dead."""
    cycles = chain(3)
    journal = open_sqlite(path)
    tell(journal, *cycles)
    if when == "closed":
        journal.close()
    if when == "killed":
        journal.close()
        with writer(path) as process:
            assert process.stdout is not None
            process.stdout.readline()
        process.wait()
    before = listing(path.parent)
    found = stored(path)
    assert listing(path.parent) == before
    assert contents(found[:3]) == contents(cycles)
    assert len(before) == (1 if when == "closed" else 3)
    journal.close()


def test_a_reader_of_nothing_makes_nothing(path: Path) -> None:
    """Looking for a journal that is not there is an error and leaves no folder behind."""
    with pytest.raises(JournalUnavailableError, match="no journal"):
        open_sqlite(path, read_only=True)
    assert not path.parent.exists()


def test_a_reader_cannot_write(path: Path) -> None:
    """A journal opened for reading refuses to record."""
    open_sqlite(path).close()
    journal = open_sqlite(path, read_only=True)
    try:
        with pytest.raises(JournalUnavailableError, match="readonly"):
            tell(journal, *chain(1))
    finally:
        journal.close()


# --- the fallback ----------------------------------------------------------------------------------------------------


@dataclass
class Told:
    """What the operator was told."""

    lost: list[str] = field(default_factory=list)
    restored: list[int] = field(default_factory=list)


@pytest.fixture
def told() -> Told:
    return Told()


Resilient = Callable[..., ResilientJournal]


@pytest.fixture
def resilient(path: Path, told: Told) -> Iterator[Resilient]:
    made: list[ResilientJournal] = []

    def make(
        opening: Callable[[], Journal] = lambda: open_sqlite(path, busy_seconds=0.02),
        memory: MemoryJournal | None = None,
    ) -> ResilientJournal:
        made.append(
            ResilientJournal(
                opening,
                set_aside=lambda: set_aside(path, NOW),
                on_lost=told.lost.append,
                on_restored=told.restored.append,
                memory=memory,
            )
        )
        return made[-1]

    yield make
    for each in made:
        each.close()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    other = sqlite3.connect(path, isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")
    finally:
        other.close()


def test_a_locked_journal_is_caught_up_with_later(resilient: Resilient, path: Path, told: Told) -> None:
    """Cycles go on without it, one alert is raised, and afterwards the journal holds every cycle in its order."""
    journal = resilient()
    cycles = chain(12)
    tell(journal, *cycles[:4])
    journal.reached(2)
    with locked(path):
        for cycle in cycles[4:11]:
            tell(journal, cycle)
            assert journal.state(LIVE) == cycle.after
        assert (journal.lost, journal.unwritten) == (True, 7)
        assert journal.unreached(LIVE) == cycles[9].after.published
        assert journal.last_reached(LIVE) == cycles[3].after.published
        journal.reached(4)
        assert journal.unreached(LIVE) is None
        assert journal.prune(NOW, 90) == 0
        assert contents(list(journal.entries(LIVE))) == contents(cycles[4:11])
        assert len(told.lost) == 1
        assert "locked" in told.lost[0]
        assert told.restored == []
    tell(journal, cycles[11])
    assert (journal.lost, journal.unwritten, journal.dropped) == (False, 0, 0)
    assert told.restored == [8]
    assert contents(stored(path)) == contents(cycles)
    assert journal.last_reached(LIVE) == cycles[9].after.published
    assert journal.unreached(LIVE) is None
    with locked(path):
        tell(journal, held(cycles[-1].after, NOW + 9_000))
    assert len(told.lost) == 2


def test_what_was_read_before_an_outage_is_known_in_it(resilient: Resilient, path: Path) -> None:
    """The marks of an earlier process, asked for at the start, still answer when the journal is then lost."""
    before = resilient()
    cycles = chain(5, every=4)  # moves at 0 and 4
    tell(before, *cycles[:3])
    before.reached(1)
    before.close()
    journal = resilient()
    assert journal.state(LIVE) == cycles[2].after
    with locked(path):
        tell(journal, cycles[3])
        assert journal.unreached(LIVE) is None
        assert journal.last_reached(LIVE) == cycles[0].after.published
        tell(journal, cycles[4])
        assert journal.unreached(LIVE) == cycles[4].after.published
        assert journal.last_reached(LIVE) == cycles[0].after.published


def test_a_long_outage_is_written_back_in_bounded_steps(resilient: Resilient, path: Path, told: Told) -> None:
    """One cycle writes back one batch, so no cycle is late because many were missed."""
    journal = resilient()
    cycles = chain(3 * BATCH)
    with locked(path):
        tell(journal, cycles[0])
        with locked_out(journal):
            tell(journal, *cycles[1:-4])
    lengths = []
    for cycle in cycles[-4:]:
        tell(journal, cycle)
        lengths.append(len(stored(path)))
        assert journal.state(LIVE) == cycle.after
        if journal.lost:
            assert contents(list(journal.entries(LIVE))) == contents(cycles[lengths[-1] : cycles.index(cycle) + 1])
            assert journal.prune(NOW + 400 * DAY, 90) == 0
    assert lengths == [BATCH, 2 * BATCH, 3 * BATCH - 1, 3 * BATCH]
    assert told.restored == [3 * BATCH - 1]
    assert contents(stored(path)) == contents(cycles)


@contextmanager
def locked_out(journal: ResilientJournal) -> Iterator[None]:
    """Opening fails at once, which is quicker than to wait for a lock hundreds of times."""

    def fail() -> Journal:
        raise JournalUnavailableError("no journal today")

    opening = journal._open_journal
    journal._open_journal = fail
    yield
    journal._open_journal = opening


def test_large_fleets_are_written_back_in_smaller_steps(resilient: Resilient, path: Path) -> None:
    """A batch is bounded by agents too, but always larger than what comes along in a cycle."""
    journal = resilient()
    agents = [f"agent{number}" for number in range(1_500)]
    cycles = [moved(State(), NOW + number, agents=agents) for number in range(6)]
    with locked_out(journal), locked(path):
        tell(journal, *cycles[:4])
    tell(journal, cycles[4])
    assert (len(stored(path)), journal.unwritten) == (2, 3)
    tell(journal, cycles[5])
    assert (len(stored(path)), journal.unwritten) == (4, 2)


def test_an_outage_longer_than_memory_loses_the_oldest_cycles_only(
    resilient: Resilient, path: Path, told: Told
) -> None:
    """What does not fit is dropped and counted; the newest cycles and the state survive."""
    journal = resilient(memory=MemoryJournal(capacity=5))
    cycles = chain(12)
    with locked(path):
        tell(journal, *cycles[:11])
        assert journal.state(LIVE) == cycles[10].after
    tell(journal, cycles[11])
    assert journal.dropped == 7
    assert told.restored == [5]
    assert contents(stored(path)) == contents(cycles[7:])


def test_a_journal_that_cannot_be_opened_at_the_start_is_made_later(
    resilient: Resilient, path: Path, told: Told
) -> None:
    """With a file where its folder should be, the governor runs from memory, and recovers when that is gone."""
    path.parent.write_text("in the way")
    journal = resilient()
    cycles = chain(5)
    assert journal.state(LIVE) is None
    tell(journal, *cycles[:4])
    journal.reached(2)
    assert len(told.lost) == 1
    path.parent.unlink()
    tell(journal, cycles[4])
    assert told.restored == [5]
    assert contents(stored(path)) == contents(cycles)
    assert journal.last_reached(LIVE) == cycles[3].after.published


def test_a_garbage_file_is_set_aside_at_the_start(resilient: Resilient, path: Path, told: Told) -> None:
    """The damaged file is kept for inspection, a new journal is begun, and the alert names the place."""
    path.parent.mkdir()
    path.write_bytes(b"garbage" * 1_000)
    journal = resilient()
    assert journal.state(LIVE) is None
    cycles = chain(2)
    tell(journal, *cycles)
    (aside,) = path.parent.glob("*.corrupt-*")
    assert aside.read_bytes() == b"garbage" * 1_000
    assert len(told.lost) == 1
    assert str(aside) in told.lost[0]
    assert told.restored == [1]
    assert contents(stored(path)) == contents(cycles)


def test_damage_in_use_costs_no_state(resilient: Resilient, path: Path, told: Told) -> None:
    """The file is overwritten with garbage under a running governor: state, marks and this cycle are in the new one."""
    journal = resilient()
    cycles = chain(9)
    shadow = chain(3, book="shadow")
    tell(journal, *shadow, *cycles[:8])
    journal.reached(2)
    with path.open("r+b") as file:
        file.write(seeded(5).randbytes(path.stat().st_size))
    with Path(f"{path}-wal").open("r+b") as file:
        file.write(bytes(Path(f"{path}-wal").stat().st_size))
    store = journal._store
    assert isinstance(store, SqliteJournal)
    store._db.execute("PRAGMA shrink_memory")
    tell(journal, cycles[8])
    assert journal.state(LIVE) == cycles[8].after
    assert journal.state("shadow") == shadow[-1].after
    assert journal.last_reached(LIVE) == cycles[3].after.published
    assert len(told.lost) == len(told.restored) == 1
    assert len(list(path.parent.glob("*.corrupt-*Z"))) == 1
    assert stored(path)[-1].after == journal.state(LIVE)


def test_each_episode_sets_a_damaged_journal_aside(resilient: Resilient, path: Path, told: Told) -> None:
    """A second damage, after the first was mended, is mended too."""
    path.parent.mkdir()
    journal = resilient()
    cycles = chain(6)
    for number in range(2):
        with locked_out(journal), locked(path):
            tell(journal, cycles[3 * number])
        path.write_text("garbage")
        tell(journal, *cycles[3 * number + 1 : 3 * number + 3])
    assert len(list(path.parent.glob("*.corrupt-*"))) == 2
    assert told.restored == [2, 2]
    assert contents(stored(path)) == contents(cycles[3:])


@dataclass
class Fault:
    """A store that fails on demand: before it writes, or after."""

    store: Journal
    error: Exception | None = None
    after_commit: bool = False

    def record_all(self, cycles: Sequence[Record], reached: Sequence[tuple[str, Publication]] = ()) -> None:
        error, self.error = self.error, None
        if error is not None and not self.after_commit:
            raise error
        self.store.record_all(cycles, reached)
        if error is not None:
            raise error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


@pytest.mark.parametrize("during", ["record", "write-back"])
def test_a_commit_that_failed_only_seemingly_is_not_written_twice(
    resilient: Resilient, path: Path, told: Told, during: str
) -> None:
    """A disk error after the commit leaves it open whether the cycle stands; the journal itself is asked."""
    faults: list[Exception | None] = [None, JournalUnavailableError("disk I/O error"), None, None]
    if during == "record":
        del faults[0]
    opened = iter(faults)
    journal = resilient(lambda: Fault(open_sqlite(path, busy_seconds=0.02), next(opened), after_commit=True))
    cycles = chain(6)
    if during == "write-back":
        tell(journal, *cycles[:2])
        with locked(path):
            tell(journal, cycles[2])
        tell(journal, *cycles[3:])
    else:
        tell(journal, *cycles)
    assert contents(stored(path)) == contents(cycles)
    assert (len(told.lost), len(told.restored)) == (1, 1)
    assert journal.unwritten == 0


def test_what_is_not_storage_is_not_swallowed(resilient: Resilient, path: Path) -> None:
    """A programming error in the store comes through, and is no episode."""
    journal = resilient(lambda: Fault(open_sqlite(path), ZeroDivisionError("a bug")))
    cycles = chain(2)
    with pytest.raises(ZeroDivisionError):
        tell(journal, cycles[0])
    assert (journal.lost, journal.unwritten) == (False, 0)
    tell(journal, *cycles)
    assert contents(stored(path)) == contents(cycles)


def test_an_unstorable_cycle_does_not_block_the_queue(resilient: Resilient, path: Path) -> None:
    """During an outage too it is refused at once, instead of failing every write-back from then on."""
    journal = resilient()
    cycles = chain(3)
    bad = replace(cycles[1], inputs=replace(cycles[1].inputs, pause=Pause(paused=True, reason="\udcff")))
    with locked(path):
        tell(journal, cycles[0])
        with pytest.raises(ValueError, match="surrogates"):
            tell(journal, bad)
        tell(journal, cycles[1])
    tell(journal, cycles[2])
    assert contents(stored(path)) == contents(cycles)


def test_a_full_disk_is_survived(resilient: Resilient, path: Path, told: Told) -> None:
    """When the file cannot grow the cycle goes on, and what was missed is written when there is room again."""
    journal = resilient()
    cycles = chain(60)
    tell(journal, *cycles[:5])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_192, limits[1]))
    try:
        tell(journal, *cycles[5:50])
        assert journal.lost
        assert journal.state(LIVE) == cycles[49].after
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    tell(journal, *cycles[50:])
    assert len(told.lost) == 1
    assert told.restored == [46]
    assert contents(stored(path)) == contents(cycles)


def test_a_full_database_is_survived(resilient: Resilient, path: Path, told: Told) -> None:
    """SQLite's own "database or disk is full" is a storage reason like any other."""
    journal = resilient()
    cycles = chain(30)
    tell(journal, cycles[0])
    store = journal._store
    assert isinstance(store, SqliteJournal)
    store._all(f"PRAGMA max_page_count = {store._all('PRAGMA page_count')[0][0]}")
    tell(journal, *cycles[1:])
    assert [message for message in told.lost if "full" in message] == told.lost != []
    assert contents(stored(path)) == contents(cycles)


def test_a_newer_journal_stops_the_start_but_not_a_running_governor(
    resilient: Resilient, path: Path, told: Told
) -> None:
    """At the start the operator must decide; in mid-run the governor goes on from memory."""
    journal = resilient()
    cycles = chain(4)
    tell(journal, *cycles[:2])
    with locked_out(journal), locked(path):
        tell(journal, cycles[2])
    plain = sqlite3.connect(path)
    plain.execute("PRAGMA user_version = 4")
    plain.close()
    tell(journal, cycles[3])
    assert journal.lost
    assert journal.state(LIVE) == cycles[3].after
    assert len(told.lost) == 1
    with pytest.raises(JournalRefusedError):
        resilient()
    assert list(path.parent.glob("*.corrupt-*")) == []


def test_a_disk_that_damages_everything_does_not_fill_up_with_copies(
    resilient: Resilient, path: Path, told: Told
) -> None:
    """A journal is set aside once an episode; if the new one is damaged too, memory keeps going."""

    def always_damaged() -> Journal:
        path.parent.mkdir(exist_ok=True)
        path.write_text("damaged")
        raise JournalCorruptError("damaged")

    journal = resilient(always_damaged)
    cycles = chain(10)
    tell(journal, *cycles)
    assert journal.state(LIVE) == cycles[-1].after
    assert len(told.lost) == 1
    assert len(list(path.parent.glob("*.corrupt-*"))) == 1


def test_a_journal_that_cannot_be_set_aside_is_left(resilient: Resilient, path: Path, told: Told) -> None:
    """If the damaged file cannot be moved the governor goes on from memory, and says so."""
    path.parent.mkdir()

    def damaged() -> Journal:
        raise JournalCorruptError("damaged")

    journal = resilient(damaged)
    tell(journal, *chain(2))
    assert journal.unwritten == 2
    assert len(told.lost) == 1
    assert "could not be set aside" in told.lost[0]


def test_closing_writes_back_what_it_can(resilient: Resilient, path: Path) -> None:
    """What is left at shutdown goes to the journal if that is open, and ``unwritten`` tells what did not."""
    journal = resilient()
    cycles = chain(BATCH + 20)
    with locked_out(journal), locked(path):
        tell(journal, *cycles[:-1])
    tell(journal, cycles[-1])
    assert journal.unwritten == 20
    journal.close()
    assert journal.unwritten == 0
    assert contents(stored(path)) == contents(cycles)
