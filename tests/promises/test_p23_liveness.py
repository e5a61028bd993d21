"""P23: after the last fault the governor governs again within a stated number of cycles, whatever state it is in.

A governor that holds for ever keeps all the other promises. ``tests.model.ending`` says what *governs* means, how many
cycles it may take and why: 1 where all is well again, 4 x MEMBERSHIP_GRACE + 1 (at least 5) where half of the members
never come back, 4 where guardian block, time stamp and half of the members never do and an operator accepts it. Every
random sequence of the model ends like this, and so does every state of ``tests.model.far_states``.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from capital_governor.adapters import file_convergence
from capital_governor.adapters.file_convergence import FileOutcome, FileResult
from capital_governor.core import hold
from capital_governor.core.acceptance import apply_accept
from capital_governor.core.decision import decide
from capital_governor.core.gate import gate
from capital_governor.core.hold import judge
from capital_governor.core.model import Latches, State
from capital_governor.core.reason import Reason
from capital_governor.core.trace import Hold
from capital_governor.journal.fallback import ResilientJournal
from capital_governor.journal.protocol import Head
from capital_governor.service.cycle import Cycle
from tests.model.ending import KINDS, STARTS, Ending
from tests.model.far_states import STATES, Case
from tests.model.running import run, run_mutant, usual_run
from tests.promises.ledger import Account

pytestmark = pytest.mark.no_cover  # thousands of sequences, which tracing slows down several times

LONG_SEQUENCES: Final = int(os.environ.get("LIVENESS_SEQUENCES", "100"))
Mutant = Callable[[pytest.MonkeyPatch], None]


def check_states(*names: str, every: bool = False) -> tuple[int, Counter[str]]:
    """Get into these states, all if none are named, and let each end; return how many ends, and the most cycles each.

    Each ends in every kind; with a start before no cycle, the first, or each, by turns, or (``every``) all of them.
    """
    ends, slowest = 0, Counter[str]()
    for number, name in enumerate(names or STATES):
        for turn, kind in enumerate(KINDS):
            for starts in STARTS if every else (STARTS[(number + turn) % len(STARTS)],):
                case = Case()
                with closing(case.world):
                    STATES[name](case)
                    try:
                        took = case.govern_again(Ending(kind, starts))
                    except AssertionError as error:
                        error.add_note(f"state: {name}")
                        raise
                ends, slowest[kind] = ends + 1, max(took, slowest[kind])
    return ends, slowest


def said(slowest: Counter[str]) -> str:
    words = {
        "mended": "all well again",
        "renamed": "half of the members gone for good",
        "accepted": "what is lost accepted",
    }
    return ", ".join(f"{words[kind]} {slowest[kind]}" for kind in KINDS)


def test_p23_every_sequence_ends_governed(promise: Account, shared: Path) -> None:
    """The sequences of the model, whatever they had: all is well again, and it governs within so many cycles."""
    tally = usual_run(shared)
    figure = f"{tally.sequences:,} sequences, MEMBERSHIP_GRACE 0 to 4, most cycles until it governed"
    promise.figure(f"{figure}: {said(tally.slowest)}")
    # The bound is met and not only kept: 4 is the largest MEMBERSHIP_GRACE of the model.
    assert tally.slowest == {"mended": 1, "renamed": 17, "accepted": 4}


def test_p23_every_far_state_ends_governed(promise: Account) -> None:
    """What random sequences do not meet: each such state is left within as many cycles."""
    ends, slowest = check_states()
    promise.figure(f"{len(STATES)} far states, MEMBERSHIP_GRACE 1, {ends} ends: {said(slowest)}")


@pytest.mark.long
def test_p23_long_sequences_end_governed(promise: Account) -> None:
    """Twice as many rules in each sequence, and every start before every end of every far state."""
    tally = run(LONG_SEQUENCES, steps=16, first_seed=1_000)
    ends, slowest = check_states(every=True)
    promise.figure(
        f"long form: {tally.sequences:,} sequences of {tally.cycles:,} cycles: {said(tally.slowest)};"
        f" {ends} ends of far states: {said(slowest)}"
    )


# --- governors that hold for ever -------------------------------------------------------------------------------------


def _pause_never_ends(mutating: pytest.MonkeyPatch) -> None:
    judged = hold._pause

    def latched(inputs: Any, latches: Latches, problem: Any) -> Hold | None:
        return Hold(Reason.PAUSED, "once is for ever") if latches.paused else judged(inputs, latches, problem)

    mutating.setattr(hold, "_pause", latched)


def _loss_is_never_accepted(mutating: pytest.MonkeyPatch) -> None:
    """An accept lets the cycle pass that uses it; that there was a guardian block stays known."""
    watched = hold._watch_blocks

    def latched(inputs: Any, latches: Latches, problem: Any) -> tuple[Latches, tuple[str, ...]]:
        after, accepted = watched(inputs, latches, problem)
        return replace(after, guardian_seen=after.guardian_seen or latches.guardian_seen), accepted

    mutating.setattr(hold, "_watch_blocks", latched)


def _loss_never_ends(mutating: pytest.MonkeyPatch) -> None:
    """A guardian block that was lost once is lost for ever, though it is back."""
    found = hold._payload_problem
    lost: dict[str, Hold] = {}

    def latched(inputs: Any, latches: Latches, rules: Any) -> Hold | None:
        problem = found(inputs, latches, rules)
        if problem is not None and problem.reason is Reason.GUARDIAN_LOST:
            lost["block"] = problem
        return problem or lost.get("block")

    mutating.setattr(hold, "_payload_problem", latched)


def _gone_is_not_counted(mutating: pytest.MonkeyPatch) -> None:
    def uncounted(inputs: Any, state: State, rules: Any) -> Any:
        verdict = judge(inputs, state, rules)
        return replace(verdict, latches=replace(verdict.latches, gone_cycles=0))

    mutating.setattr("capital_governor.core.decision.judge", uncounted)


def _gone_is_counted_anew_by_each_start(mutating: pytest.MonkeyPatch) -> None:
    remembered = ResilientJournal.head

    def forgetful(journal: ResilientJournal, book: str) -> Head | None:
        head = remembered(journal, book)
        return (
            None
            if head is None
            else replace(head, state=replace(head.state, latches=replace(head.state.latches, gone_cycles=0)))
        )

    mutating.setattr(ResilientJournal, "head", forgetful)


def _files_never_mended(mutating: pytest.MonkeyPatch) -> None:
    gathered = Cycle._gather
    problems: dict[int, str] = {}

    def latched(cycle: Cycle, *arguments: Any, **more: Any) -> Any:
        inputs = gathered(cycle, *arguments, **more)
        problem = problems.setdefault(id(cycle), inputs.files_problem) or inputs.files_problem
        problems[id(cycle)] = problem
        return replace(inputs, files_problem=problem)

    mutating.setattr(Cycle, "_gather", latched)


def _accept_blocks(mutating: pytest.MonkeyPatch) -> None:
    """While an accept waits nothing is decided, and what nothing uses waits."""

    def blocking(order: Any, inputs: Any, decided: Any) -> Any:
        found = apply_accept(order, inputs, decided)
        return found if found[0].accept else (inputs, decided(replace(inputs, stopped=True)), ())

    mutating.setattr("capital_governor.service.cycle.apply_accept", blocking)


def _error_for_ever(mutating: pytest.MonkeyPatch) -> None:
    """What a pause has left behind is more than a decision can bear."""

    def broken(inputs: Any, state: State, rules: Any) -> Any:
        if state.latches.paused:
            raise ValueError("a latch that nobody foresaw")
        return decide(inputs, state, rules)

    mutating.setattr("capital_governor.service.cycle.decide", broken)


def _refused_for_ever(mutating: pytest.MonkeyPatch) -> None:
    """The gate takes a number that a rival has signed for one that cannot be passed."""

    def strict(decision: Any, inputs: Any, state: State, rules: Any) -> Reason | None:
        if decision.proposal is not None and decision.proposal.generation > 2**52:
            return Reason.GATE_GENERATION
        return gate(decision, inputs, state, rules)

    mutating.setattr("capital_governor.service.cycle.gate", strict)


def _clock_is_never_set_back(mutating: pytest.MonkeyPatch) -> None:
    """Nothing is decided before the time at which the last publication says that it was."""

    def behind(inputs: Any, state: State, rules: Any) -> Any:
        late = state.published is not None and state.published.at > inputs.now
        return judge(replace(inputs, files_problem="the clock is behind") if late else inputs, state, rules)

    mutating.setattr("capital_governor.core.decision.judge", behind)


def _nothing_is_written(mutating: pytest.MonkeyPatch) -> None:
    """What is decided and said is well, and the files never have it."""
    settled = FileResult(FileOutcome.UNCHANGED)
    mutating.setattr(file_convergence, "converge", lambda *_, **__: file_convergence.Convergence(settled, settled))


MUTANTS: Final[dict[str, tuple[Mutant, str]]] = {
    "a pause never ends": (_pause_never_ends, "paused_without_agents"),
    "a lost block stays lost": (_loss_never_ends, "accept_waits"),
    "a lost block is never accepted": (_loss_is_never_accepted, "all_faulty"),
    "cycles without half of the members are not counted": (_gone_is_not_counted, "gone_nearly_for_good"),
    "each start counts them anew": (_gone_is_counted_anew_by_each_start, "gone_nearly_for_good"),
    "a file once unwritable stays so": (_files_never_mended, "folders"),
    "an accept that waits blocks": (_accept_blocks, "accept_waits"),
    "an unexpected error for ever": (_error_for_ever, "everybody_says_stop"),
    "the gate refuses each number above a rival's": (_refused_for_ever, "generation 2^52"),
    "a clock set back holds until it is late again": (_clock_is_never_set_back, "braked_and_clock_back"),
    "nothing is written": (_nothing_is_written, "never_reached"),
}
BY_SEQUENCES: Final = ("a pause never ends", "cycles without half of the members are not counted")
"""Mutants that the random sequences have to catch, too: the same check stands at the end of each."""


@pytest.mark.parametrize("name", MUTANTS)
def test_p23_mutants_that_hold_for_ever(promise: Account, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A governor that some state holds for ever is found by what it does not do."""
    mutate, state = MUTANTS[name]
    mutate(monkeypatch)
    with promise.mutant(name):
        check_states(state, every=True)
    if name in BY_SEQUENCES:
        with promise.mutant(f"{name} (by sequences)"):
            run_mutant(2_000)
