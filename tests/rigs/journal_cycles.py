"""Cycles for a journal, decided as in life: each goes on from a state, and changes it."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from capital_governor.core.decision import commit, resolve
from capital_governor.core.model import Guardian, Inputs, Metrics, Publication, Refusal, Regime, Rules, Snapshot, State
from capital_governor.core.reason import Reason
from capital_governor.journal.fallback import ResilientJournal
from capital_governor.journal.protocol import LIVE, Entry, Journal, Record
from capital_governor.journal.sqlite.file import set_aside
from capital_governor.journal.sqlite.sqlite_driver import in_memory, open_sqlite

DAY: Final = 86_400.0
NOW: Final = 1_762_200_000.0
RULES: Final = Rules()
GOOD: Final = Metrics(850.0, 1.234, 0.65, 2.5)


def publication(generation: int, at: float = NOW, share: int = 200_000) -> Publication:
    return Publication(
        generation=generation,
        decision_id=f"d{generation}",
        at=at,
        reason=Reason.THRESHOLD,
        shares={"b": share, "a": 100_000},
        reserve=900_000 - share,
        weights={"b": 0.4, "a": 0.2},
        exposure=0.5,
        scores={"b": 0.7, "a": 0.1},
        min_alloc=0.05,
        max_alloc=0.4,
    )


def decided(state: State, inputs: Inputs, book: str = LIVE) -> Record:
    """The cycle that these inputs make of this state."""
    decision = resolve(inputs, state, RULES)
    return Record(book=book, inputs=inputs, state=state, rules=RULES, decision=decision, after=commit(decision))


def held(state: State, now: float, book: str = LIVE, detail: str = "connection refused") -> Record:
    """A cycle in which the dashboard could not be reached, and some file had a generation that counts as used."""
    refusal = Refusal(Reason.FETCH_FAILED, detail)
    return decided(state, Inputs(now, refusal, known_generation=state.generation + 1), book)


def moved(state: State, now: float, book: str = LIVE, agents: Sequence[str] = ("a", "b")) -> Record:
    """A cycle that publishes the next generation: the regime changes all the time."""
    published = state.published
    risk = 0.8 if published is None or published.exposure < 0.8 else 0.4
    seen = Snapshot(now - 3, dict.fromkeys(agents, GOOD), guardian=Guardian(False, 0.0), regime=Regime("BULL", risk))
    made = decided(state, Inputs(now, seen), book)
    assert made.decision.proposal is not None, made.reason
    return made


def chain(count: int, *, book: str = LIVE, state: State | None = None, at: float = NOW, every: int = 3) -> list[Record]:
    """``count`` cycles 300 s apart, each going on from the last; one in ``every`` moves, the others hold.

    From an empty state the generation after a cycle is its number, the first being 1.
    """
    cycles: list[Record] = []
    state = State() if state is None else state
    for number in range(count):
        make = moved if number % every == 0 else held
        cycles.append(make(state, at + 300 * number, book))
        state = cycles[-1].after
    return cycles


def linked(cycles: Sequence[Record]) -> list[Record]:
    """The same, each named as the one before by the next of its book."""
    made: list[Record] = []
    newest: dict[str, str] = {}
    for each in cycles:
        made.append(replace(each, previous=newest.get(each.book, "")))
        newest[each.book] = each.key
    return made


def tell(journal: Journal, *cycles: Record) -> None:
    """Record each as going on from whatever its book ends with."""
    for each in cycles:
        head = journal.head(each.book)
        journal.record(replace(each, previous="" if head is None else head.key))


def resilient(
    path: Path,
    *,
    now: Callable[[], float] = lambda: NOW,
    busy_seconds: float = 0.2,
    on_lost: Callable[[str], None] = lambda _: None,
    on_restored: Callable[[int], None] = lambda _: None,
) -> ResilientJournal:
    """A journal on this file, and in memory while the file fails; ``busy_seconds`` is how long a lock is waited for."""
    return ResilientJournal(
        lambda: open_sqlite(path, busy_seconds=busy_seconds),
        memory=in_memory(),
        set_aside=lambda: set_aside(path, now()),
        on_lost=on_lost,
        on_restored=on_restored,
    )


def state_of(journal: Journal, book: str = LIVE) -> State | None:
    """The state after the newest cycle."""
    head = journal.head(book)
    return None if head is None else head.state


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


@dataclass
class Told:
    """What the operator was told."""

    lost: list[str] = field(default_factory=list)
    restored: list[int] = field(default_factory=list)


def say(figure: object) -> None:
    print(figure)  # noqa: T201 - a promise shows its figure


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - not for secrets
