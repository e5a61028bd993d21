"""What the random sequences of every test run have met, beside what the tests of promises show by them."""

from __future__ import annotations

import pytest

from capital_governor.core.reason import HOLDS, Reason
from tests.model.running import usual_run

pytestmark = [
    pytest.mark.no_cover,  # thousands of sequences, which tracing slows down several times
    pytest.mark.xdist_group("usual run of the model"),  # which is made once in a process
]

UNTOUCHED = {Reason.STOPPED, Reason.FILES_UNWRITABLE}
"""Holds in which nothing is published."""


def test_a_person_has_tightened_in_every_hold() -> None:
    """Cuts were published in each hold but STOP and files that cannot be written; what is withheld came back."""
    tally = usual_run()
    held = {hold.value for hold in HOLDS - UNTOUCHED - {Reason.INTERNAL_ERROR}}
    assert tally.cuts.keys() == held
    # Three good records in a row, and one step of MAX_STEP or one move for each tenth of a weight.
    assert 3 <= tally.given_back <= 43
