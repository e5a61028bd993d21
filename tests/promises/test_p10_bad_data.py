"""P10: bad data never adds capital, over random sequences of all that may befall a governor.

These are the sequences of the model of the whole loop, which checks everything else after each cycle too: see
``tests.model.machine``. MODEL_SEQUENCES, MODEL_STEPS and MODEL_SEED say how many, how long and which ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from capital_governor.core.exposure import Exposure, expose
from capital_governor.core.model import REGIME, Snapshot
from tests.model.running import EVERYDAY, run_mutant, usual_run
from tests.promises.ledger import Account

pytestmark = [
    pytest.mark.no_cover,  # thousands of sequences, which tracing slows down several times
    pytest.mark.xdist_group("usual run of the model"),  # which is made once in a process
]


def test_p10_bad_data_never_adds_capital(promise: Account) -> None:
    """No bad record lifts anybody, no missing or old regime lifts exposure, and all else that is checked holds."""
    tally = usual_run()
    promise.figure(f"{tally}; violations 0")
    # Each of these is met often enough to mean something.
    missed = {reason.value for reason in EVERYDAY if not tally.reasons[reason.value]}
    assert not missed, f"the model never meets {sorted(missed)}"


def _no_regime_is_the_best(snapshot: Snapshot, known: Any, now: float, rules: Any) -> Exposure:
    forgotten = {name: value for name, value in known.items() if name != REGIME or snapshot.regime is not None}
    return expose(snapshot, forgotten, now, rules)


def _no_regime_is_too_old(snapshot: Snapshot, known: Any, now: float, rules: Any) -> Exposure:
    regime = None if snapshot.regime is None else replace(snapshot.regime, at=None)
    return expose(replace(snapshot, regime=regime), known, now, rules)


def _unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate would refuse some of these: this is about what the decision does."""
    monkeypatch.setattr("capital_governor.service.cycle.gate", lambda *_: None)


@pytest.mark.parametrize(
    ("name", "where", "part"),
    [
        ("faulty agents may gain", "capital_governor.core.decision._gains", lambda *_: {}),
        ("a missing regime counts as the best", "capital_governor.core.decision.expose", _no_regime_is_the_best),
        ("a regime counts however old it is", "capital_governor.core.decision.expose", _no_regime_is_too_old),
    ],
)
def test_p10_mutants_of_the_decision(
    promise: Account, monkeypatch: pytest.MonkeyPatch, name: str, where: str, part: Callable[..., object]
) -> None:
    """The model sees bad data add capital, where the decision lets it and no gate stands behind."""
    _unchecked(monkeypatch)
    monkeypatch.setattr(where, part)
    with promise.mutant(name):
        run_mutant(2_000)
