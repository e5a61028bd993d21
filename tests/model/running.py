"""How the model is run: so many sequences of so many rules, the same ones for the same seed."""

from __future__ import annotations

import os
from typing import Final

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import Loop, Tally

SEQUENCES: Final = int(os.environ.get("MODEL_SEQUENCES", "2000"))
STEPS: Final = int(os.environ.get("MODEL_STEPS", "8"))
SEED: Final = int(os.environ.get("MODEL_SEED", "0"))
CHUNK: Final = 400
"""Sequences by one seed: hypothesis keeps a record of all that it tried."""


def run(sequences: int = SEQUENCES, steps: int = STEPS, *, first_seed: int = SEED, shrink: bool = True) -> Tally:
    """Run the model; what fails is made as short as it goes, if ``shrink``, and shown rule by rule.

    Args:
        sequences: at least so many, in chunks.
        steps: rules in each, after its beginning.
        first_seed: of the first chunk; the next chunk has the next one.
        shrink: whether to look for a shorter failure.
    """

    class Counted(Loop):
        tally = Tally()

    phases = [Phase.generate, Phase.shrink] if shrink else [Phase.generate]
    how = settings(
        max_examples=CHUNK,
        stateful_step_count=steps,
        phases=phases,
        deadline=None,
        database=None,
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    for chunk in range(sequences):
        run_state_machine_as_test(seed(first_seed + chunk)(Counted), settings=how)
        if Counted.tally.sequences >= sequences:
            break
    return Counted.tally
