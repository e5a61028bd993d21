"""The cycles that differed from the one before: which they are, their facts, and what agents have seen between."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from capital_governor.core.decision import commit, resolve
from capital_governor.core.model import (
    Ceiling,
    Group,
    Guardian,
    Inputs,
    Limit,
    Metrics,
    Refusal,
    Regime,
    Rules,
    Snapshot,
    State,
)
from capital_governor.core.reason import Reason
from capital_governor.journal import turns_table
from capital_governor.journal.protocol import LIVE
from capital_governor.journal.sqlite.sqlite_driver import in_memory, open_sqlite
from capital_governor.journal.store import Store
from capital_governor.journal.turns import Facts, facts_of
from tests.rigs.journal_cycles import GOOD, NOW, chain, decided, held, moved, tell
from tests.rigs.stored_roots import unpack, unpack_schema_4, unpack_schema_5

MANY = 1_000


def shown(journal: Store, since: float = 0.0) -> list[tuple[float, Reason]]:
    return [(turn.at - NOW, turn.reason) for turn in journal.turns(LIVE, since, MANY)]


def look(now: float, *, risk: float = 1.0, drawdown: float = 0.0, good: Metrics = GOOD, **more: object) -> Inputs:
    snapshot = Snapshot(
        now - 3, {"a": good, "b": GOOD}, guardian=Guardian(False, drawdown), regime=Regime("BEAR", risk)
    )
    return replace(Inputs(now, snapshot), **more)  # type: ignore[arg-type]


def facts(inputs: Inputs, state: State, rules: Rules | None = None) -> Facts:
    return facts_of(inputs, resolve(inputs, state, rules or Rules()), state.published)


def after(inputs: Inputs, state: State | None = None) -> State:
    return commit(resolve(inputs, State() if state is None else state, Rules()))


def test_a_cycle_like_the_one_before_is_no_turn() -> None:
    """Of a hold only the first cycle is one, though its text has another age each time; each publication is one."""
    journal = in_memory()
    state = State()
    for number, make in enumerate((moved, held, held, held, moved, moved)):
        extra = {"detail": f"the payload is {900 + number} s old"} if make is held else {}
        tell(journal, cycle := make(state, NOW + number, **extra))
        state = cycle.after
    assert shown(journal) == [
        (0, Reason.FIRST_ALLOCATION),
        (1, Reason.FETCH_FAILED),
        (4, Reason.THRESHOLD),
        (5, Reason.THRESHOLD),
    ]


def test_a_hold_for_another_cause_is_a_turn() -> None:
    """The reason is the same, its facts are not."""
    journal = in_memory()
    tell(journal, held(State(), NOW, detail="connection refused"), held(State(), NOW + 1, detail="timed out"))
    assert [turn.facts["hold"] for turn in journal.turns(LIVE, 0.0, MANY)] == ["connection refused", "timed out"]


@pytest.mark.parametrize("reopened", [False, True])
def test_the_first_cycle_under_other_settings_is_a_turn(tmp_path: Path, *, reopened: bool) -> None:
    """It names what has changed, after a reload and after a restart; with equal rules read anew nothing has."""
    journal = open_sqlite(tmp_path / "journal")
    groups = (Group("crypto", 0.5, ("a", "b*")),)
    for number, rules in enumerate(
        (Rules(), Rules(), Rules(max_alloc=0.3, groups=groups), Rules(max_alloc=0.3, groups=groups))
    ):
        if reopened:
            journal.close()
            journal = open_sqlite(tmp_path / "journal")
        tell(journal, replace(held(State(), NOW + number), rules=rules))
    first, changed = journal.turns(LIVE, 0.0, MANY)
    assert (first.at, changed.at) == (NOW, NOW + 2)
    assert "settings" not in first.facts
    assert changed.facts["settings"] == {
        "max_alloc": ["0.4", "0.3"],
        "groups": ["(not set)", "crypto=0.5:a,b*"],
    }
    journal.close()


@pytest.mark.parametrize("reopened", [False, True])
def test_a_restart_makes_no_turn(tmp_path: Path, *, reopened: bool) -> None:
    """The next governor goes on with the hold of the one before, and a deletion of old entries changes nothing."""
    journal = open_sqlite(tmp_path / "journal")
    tell(journal, held(State(), NOW), held(State(), NOW + 1))
    if reopened:
        journal.close()
        journal = open_sqlite(tmp_path / "journal")
    journal.prune(NOW, 1)
    tell(journal, held(State(), NOW + 2))
    assert shown(journal) == [(0, Reason.FETCH_FAILED)]
    journal.close()


def test_books_have_turns_of_their_own() -> None:
    """A cycle of another book between two equal ones makes neither a turn."""
    journal = in_memory()
    tell(journal, held(State(), NOW), moved(State(), NOW + 1, "shadow"), held(State(), NOW + 2))
    assert shown(journal) == [(0, Reason.FETCH_FAILED)]
    assert [turn.reason for turn in journal.turns("shadow", 0.0, MANY)] == [Reason.FIRST_ALLOCATION]


def test_an_agent_that_falls_silent_is_a_turn() -> None:
    """And so is its return, though no share changes."""
    journal, state = in_memory(), State()
    for number, agents in enumerate((("a", "b", "c"), ("a", "b", "c"), ("a", "b"), ("a", "b"), ("a", "b", "c"))):
        seen = Snapshot(
            NOW + number, dict.fromkeys(agents, GOOD), guardian=Guardian(False, 0.0), regime=Regime("", 1.0)
        )
        tell(journal, cycle := decided(state, Inputs(NOW + number, seen)))
        state = cycle.after
    assert [(turn.at - NOW, turn.facts.get("absent")) for turn in journal.turns(LIVE, 0.0, MANY)] == [
        (0, None),
        (1, None),
        (2, {"c": 1}),
        (4, None),
    ]


def test_the_window_of_turns() -> None:
    """From a time on, the newest first if there are too many, and the one before them."""
    journal = in_memory()
    tell(journal, *chain(6, every=1))
    assert [at for at, _ in shown(journal, NOW + 600)] == [600, 900, 1200, 1500]
    assert [turn.at - NOW for turn in journal.turns(LIVE, NOW + 600, 2)] == [1200, 1500]
    before = journal.turn_before(LIVE, NOW + 600)
    assert before is not None
    assert before.at == NOW + 300
    assert journal.turn_before(LIVE, NOW) is None
    assert journal.first_and_last_at(LIVE) == (NOW, NOW + 1500)
    assert journal.first_and_last_at("nobody") is None


def test_what_agents_have_seen() -> None:
    """Only what reached the primary file, with the one from which it changed; a turn says whether it did."""
    journal = in_memory()
    for number, cycle in enumerate(chain(4, every=1)):
        tell(journal, cycle)
        if number != 2:
            journal.reached(number + 1)
    assert [turn.reached for turn in journal.turns(LIVE, 0.0, MANY)] == [True, True, False, True]
    assert [each.generation for each in journal.publications(LIVE, 0.0, MANY)] == [1, 2, 4]
    assert [each.generation for each in journal.publications(LIVE, NOW + 600, MANY)] == [2, 4]
    assert [each.generation for each in journal.publications(LIVE, 0.0, 1)] == [4]
    assert [each.generation for each in journal.publications(LIVE, NOW + 9_999, MANY)] == [4]


def test_the_facts_of_a_move() -> None:
    """What set exposure, and the trigger with the scores of the agent that it is about."""
    state = after(look(NOW))
    assert facts(look(NOW + 1, risk=0.5), state) == {
        "exposure": {"value": 0.5, "by": "regime", "origin": "payload", "raw": 0.5, "name": "BEAR"},
        "trigger": {"reason": "threshold", "value": 400_000, "limit": 100_000, "subject": "reserve"},
    }
    better = look(NOW + 1, good=Metrics(-5_000.0, -1.0, 0.1, 20.0), drawdown=10.0)
    found = facts(better, state, Rules(max_alloc=1.0))
    assert found["exposure"] == {"value": 0.625, "by": "drawdown", "origin": "payload", "raw": 10.0}
    assert found["trigger"]["subject"] == "a"
    assert found["trigger"]["scores"] == pytest.approx([0.3749, 0.2 * 0.1])


def test_the_facts_of_an_order() -> None:
    """A ceiling with its author, end and reason; a cap that withholds, with who ordered it."""
    state = after(look(NOW))
    ceiling = Ceiling(0.3, "anna", "election night", NOW + 60)
    assert facts(look(NOW + 1, ceiling=ceiling), state)["exposure"] == {
        "value": 0.3,
        "by": "operator",
        "origin": "order",
        "author": "anna",
        "until": NOW + 60,
        "order_reason": "election night",
    }
    capped = facts(look(NOW + 1, limits=(Limit("a", "anna", cap=0.1, reason="new strategy"),)), state)
    assert capped["withheld"] == {"a": ["operator's cap", "by anna: new strategy"]}


def test_the_facts_of_a_hold_and_of_faults() -> None:
    """The text of the hold; what is wrong with each faulty record."""
    assert facts(Inputs(NOW, Refusal(Reason.FETCH_FAILED, "connection refused")), State()) == {
        "hold": "connection refused"
    }
    state = after(look(NOW))
    seen = Snapshot(
        NOW + 1, {"a": GOOD}, faults={"b": "no number"}, guardian=Guardian(False, 0.0), regime=Regime("", 1.0)
    )
    assert facts(Inputs(NOW + 1, seen), state)["faulty"] == {"b": "no number"}


def test_facts_of_a_large_fleet_are_few() -> None:
    """Of the agents that fall silent at once, twenty are named."""
    fleet = [f"Agent{number:03}" for number in range(100)]
    rules = Rules(min_alloc=0.0)
    start = Snapshot(NOW, dict.fromkeys(fleet, GOOD))
    state = commit(resolve(Inputs(NOW, start), State(), rules))
    found = facts(Inputs(NOW + 1, Snapshot(NOW + 1, dict.fromkeys(fleet[:60], GOOD))), state, rules)
    assert sorted(found["absent"]) == fleet[60:80]


@pytest.mark.parametrize(
    ("older", "expected"),
    [
        (
            unpack,
            [
                Reason.FIRST_ALLOCATION,
                Reason.THRESHOLD,
                Reason.FETCH_FAILED,
                Reason.PAUSED,
                Reason.UNCHANGED,
                Reason.OPERATOR_HOLD,
                Reason.LIMIT_BREACHED,
                Reason.UNCHANGED,
            ],
        ),
        (unpack_schema_4, None),
        (unpack_schema_5, None),
    ],
)
def test_an_older_journal_has_turns_without_facts(
    tmp_path: Path, older: Callable[[Path], None], expected: list[Reason] | None
) -> None:
    """Read as it is, without a change, and after the upgrade it has the same: where the reason changed, and moves."""
    older(tmp_path)
    path = tmp_path / "state" / "capital_governor.sqlite3"
    found = []
    for read_only in (True, False, True):
        before = path.read_bytes()
        journal = open_sqlite(path, read_only=read_only)
        found.append([(turn.at, turn.reason, turn.generation, turn.reached) for turn in journal.turns(LIVE, 0.0, MANY)])
        assert all(turn.facts == {} for turn in journal.turns(LIVE, 0.0, MANY))
        assert journal.publications(LIVE, 0.0, MANY)[-1] == journal.last_reached(LIVE)
        journal.close()
        assert not read_only or path.read_bytes() == before
    assert found[0] == found[1] == found[2]
    journal = open_sqlite(path)
    entries = list(journal.entries(LIVE))
    changed = [
        (entry.at, entry.reason)
        for entry, before in zip(entries, [None, *entries[:-1]], strict=True)
        if before is None or entry.generation is not None or entry.reason is not before.reason
    ]
    assert [(at, reason) for at, reason, *_ in found[0]] == changed
    if expected is not None:
        assert [reason for _, reason in changed] == expected
    # The next cycle is told from the last one of the older version, of which only the reason is known.
    tell(journal, replace(held(entries[-1].after, entries[-1].at + 300), rules=entries[-1].rules))
    assert journal.turns(LIVE, 0.0, MANY)[-1].facts == {"hold": "connection refused"}
    journal.close()


def test_the_facts_are_read_by_an_index(tmp_path: Path) -> None:
    """Neither turns nor publications make SQLite look at every cycle."""
    path = tmp_path / "journal"
    open_sqlite(path).close()
    plain = sqlite3.connect(path)
    for query in (turns_table._TURNS, turns_table._EARLIER, turns_table._NEWEST_TURN, turns_table._PUBLISHED):
        parameters = ["live", 0.0, 5][: query.count("?")]
        plan = [row[3] for row in plain.execute(f"EXPLAIN QUERY PLAN {query}", parameters)]
        assert not [step for step in plan if step.startswith("SCAN")], (query, plan)
    plain.close()
