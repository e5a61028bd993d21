"""P27: silence gives capital to nobody, until a person says so or RELEASE_AFTER is over.

Each sequence is checked in two ways: cycle by cycle against an independent reading of the rules, and as a whole against
the program itself without the silence. SILENCE_SEQUENCES and SILENCE_SEED say how many and which ones.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

from tests.model import decided
from tests.model.running import run_mutant, usual_run
from tests.promises.counterfactual import silence_gives_nothing
from tests.promises.ledger import Account
from tests.promises.silent_days import SEED, Tally, beside_itself, beside_the_oracle
from tests.rigs.silence_mutants import BAD_RECORDS, SILENCE

pytestmark = pytest.mark.no_cover  # thousands of sequences, which tracing slows down several times

SEQUENCES: Final = int(os.environ.get("SILENCE_SEQUENCES", "500"))
MUTANTS: Final = {**BAD_RECORDS, **SILENCE}
FOUND_BY_THE_MODEL: Final = (
    "lapsed agents are not in the plan",
    "an absent agent retires when its grace is over",
)


def check_days(sequences: int) -> tuple[Tally, int]:
    """Run so many sequences; return what they met, and the cycles in which silence made no difference to others."""
    tally, equal = Tally(), 0
    for seed in range(SEED, SEED + sequences):
        tally.add(beside_the_oracle(seed, silence_gives_nothing))
        equal += beside_itself(seed)
    return tally, equal


def test_p27_silence_gives_capital_to_nobody(promise: Account) -> None:
    """Nobody's share rises since another agent is faulty, absent or gone: it is as if that one had reported."""
    tally, equal = check_days(SEQUENCES)
    promise.figure(f"{tally}, violations 0; all others' shares equal to a run without silence in {equal:,} cycles")
    assert tally.parted <= SEQUENCES // 50
    assert min(tally.lapses, tally.raised, equal) > SEQUENCES, "nobody falls silent any more, or nothing moves then"


def test_p27_silence_gives_nothing_in_the_model(promise: Account, shared: Path) -> None:
    """Nor does it where all else befalls the whole governor: kills, restarts, lost journals, orders, other holds."""
    tally = usual_run(shared)
    promise.figure(f"in the model {tally.sequences:,} sequences, {tally.cycles:,} cycles, violations 0")


def _mutate(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Break a part of the decision, and let no gate stand behind: it would refuse some of these."""
    where, part = MUTANTS[name]
    monkeypatch.setattr(f"capital_governor.{where}", part)
    monkeypatch.setattr("capital_governor.service.cycle.gate", lambda *_: None)
    monkeypatch.setattr("capital_governor.core.decision.gate", lambda *_: None)


@pytest.mark.parametrize("name", MUTANTS)
def test_p27_mutants(promise: Account, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The same check sees it where a silent agent's capital goes to others, or it has capital again too early."""
    _mutate(monkeypatch, name)
    with promise.mutant(name):
        check_days(6 * SEQUENCES)


@pytest.mark.parametrize("name", FOUND_BY_THE_MODEL)
def test_p27_mutants_in_the_model(promise: Account, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """So does the model, where it checks of a decision no more than this promise."""
    _mutate(monkeypatch, name)
    monkeypatch.setattr(decided, "DECIDED", (decided.depends_on_nobody_else,))
    with promise.mutant(f"{name}, in the model", "had good records"):
        run_mutant(2_000)
