"""What the random sequences of every test run have met, beside what the tests of promises show by them."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from capital_governor.core.reason import HOLDS, Reason
from tests.model import running
from tests.model.course import Tally
from tests.model.running import usual_run

pytestmark = pytest.mark.no_cover  # thousands of sequences, which tracing slows down several times

UNTOUCHED = {Reason.STOPPED, Reason.FILES_UNWRITABLE}
"""Holds in which nothing is published."""


def test_a_person_has_tightened_in_every_hold(shared: Path) -> None:
    """Cuts were published in each hold but STOP and files that cannot be written; what is withheld came back."""
    tally = usual_run(shared)
    held = {hold.value for hold in HOLDS - UNTOUCHED - {Reason.INTERNAL_ERROR}}
    assert tally.cuts.keys() == held
    # Three good records in a row, and one step of MAX_STEP or one move for each tenth of a weight.
    assert 3 <= tally.given_back <= 43


def test_the_usual_run_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks while it is made, or later, gets the tally of that run."""
    made: list[Tally] = []

    def run(**_: object) -> Tally:
        made.append(Tally(sequences=len(made) + 1, reasons=Counter(reason.value for reason in running.EVERYDAY)))
        return made[-1]

    monkeypatch.setattr(running, "run", run)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(usual_run, [tmp_path] * 8))
    assert len(made) == 1
    assert found == made * 8
