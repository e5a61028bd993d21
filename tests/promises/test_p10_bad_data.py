"""P10: bad data never adds capital, over random sequences of all that may befall a governor.

These are the sequences of the model of the whole loop, which checks everything else after each cycle too: see
``tests.model.machine``. MODEL_SEQUENCES, MODEL_STEPS and MODEL_SEED say how many, how long and which ones. Random days
of silent fleets come in addition, in which each faulty record is compared with that agent's last good one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from capital_governor.core.exposure import Exposure, expose
from capital_governor.core.model import REGIME, Snapshot
from tests.model import decided
from tests.model.running import EVERYDAY, run_mutant, usual_run
from tests.promises.counterfactual import bad_data_adds_nothing
from tests.promises.ledger import Account
from tests.promises.silent_days import SEED, Tally, beside_the_oracle
from tests.rigs.silence_mutants import BAD_RECORDS

pytestmark = pytest.mark.no_cover  # thousands of sequences, which tracing slows down several times

DAYS: Final = 300
"""Sequences of random days."""
FIRST: Final = SEED + 10_000
"""Other days than those of P27."""


def test_p10_bad_data_never_adds_capital(promise: Account, shared: Path) -> None:
    """No bad record lifts anybody, no missing or old regime lifts exposure, and all else that is checked holds."""
    tally = usual_run(shared)
    promise.figure(f"{tally}; violations 0")
    # Each of these is met often enough to mean something.
    missed = {reason.value for reason in EVERYDAY if not tally.reasons[reason.value]}
    assert not missed, f"the model never meets {sorted(missed)}"


def check_days(sequences: int) -> Tally:
    """Compare each cycle of so many sequences with one in which bad records are those agents' last good ones."""
    tally = Tally()
    for seed in range(FIRST, FIRST + sequences):
        tally.add(beside_the_oracle(seed, bad_data_adds_nothing))
    return tally


def test_p10_no_share_is_larger_than_with_the_last_good_records(promise: Account) -> None:
    """No share rises above both its published value and what it would be, had each bad record been a good one."""
    tally = check_days(DAYS)
    promise.figure(f"last good records in place of bad ones: {tally}, violations 0")
    assert tally.parted <= DAYS // 50
    assert tally.raised > DAYS, "nothing moves while records are bad"


def _no_regime_is_the_best(snapshot: Snapshot, known: Mapping[str, float], *others: Any) -> Exposure:
    forgotten = {name: value for name, value in known.items() if name != REGIME or snapshot.regime is not None}
    return expose(snapshot, forgotten, *others)


def _no_regime_is_too_old(snapshot: Snapshot, *others: Any) -> Exposure:
    regime = None if snapshot.regime is None else replace(snapshot.regime, at=None)
    return expose(replace(snapshot, regime=regime), *others)


MUTANTS: Final[Mapping[str, tuple[str, object]]] = {
    **BAD_RECORDS,
    "a missing regime counts as the best": ("core.decision.expose", _no_regime_is_the_best),
    "a regime counts however old it is": ("core.decision.expose", _no_regime_is_too_old),
}
IN_THE_MODEL: Final = {
    "agents without a good record may gain": "has no good record and rises",
    "agents without a good record are not in the plan": "had good records",
    "agents without a good record have the worst score": "had good records",
    "a missing regime counts as the best": "",
    "a regime counts however old it is": "",
}
"""With words of what the model finds; with a wrong regime it finds other things first as well."""


def _mutate(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Break a part of the decision, and let no gate stand behind: it would refuse some of these."""
    where, part = MUTANTS[name]
    monkeypatch.setattr(f"capital_governor.{where}", part)
    monkeypatch.setattr("capital_governor.service.cycle.gate", lambda *_: None)
    monkeypatch.setattr("capital_governor.core.decision.gate", lambda *_: None)


@pytest.mark.parametrize("name", IN_THE_MODEL)
def test_p10_mutants_in_the_model(promise: Account, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The model sees bad data add capital, where the decision lets it."""
    _mutate(monkeypatch, name)
    if found := IN_THE_MODEL[name]:
        monkeypatch.setattr(decided, "DECIDED", (decided.adds_no_capital, decided.depends_on_nobody_else))
    with promise.mutant(f"{name}, in the model", found):
        run_mutant(2_000)


@pytest.mark.parametrize("name", MUTANTS)
def test_p10_mutants_beside_the_oracle(promise: Account, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """So do the random days beside the last good records."""
    _mutate(monkeypatch, name)
    with promise.mutant(name):
        check_days(10 * DAYS)
