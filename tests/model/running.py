"""How the model is run: so many sequences of so many rules, the same ones for the same seed."""

from __future__ import annotations

import fcntl
import math
import os
import pickle
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from capital_governor.core.reason import Reason
from tests.model.course import Tally
from tests.model.machine import Loop

SEQUENCES: Final = int(os.environ.get("MODEL_SEQUENCES", "2000"))
STEPS: Final = int(os.environ.get("MODEL_STEPS", "8"))
SEED: Final = int(os.environ.get("MODEL_SEED", "0"))
CHUNK: Final = 340
"""Sequences by one seed, at least: hypothesis keeps a record of all that it tried."""


EVERYDAY: Final = frozenset(
    reason for reason in Reason if reason is not Reason.INTERNAL_ERROR and not reason.name.startswith("GATE_")
)
"""The reasons that a cycle ends with where nothing is broken in the program itself."""
MOST_RUNS: Final = 4


def usual_run(shared: Path) -> Tally:
    """Return what the sequences of every test run have met; several promises are shown by them.

    They take minutes, so the first process that asks runs them, and the others wait and read what it has stored.

    Args:
        shared: the folder that all processes of this test run share.
    """
    stored = shared / "usual_run_of_the_model"
    with stored.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stored.exists():
            stored.write_bytes(pickle.dumps(_run_until_each_reason_is_met()))
    tally: Tally = pickle.loads(stored.read_bytes())  # noqa: S301 - stored above
    return tally


def _run_until_each_reason_is_met() -> Tally:
    """Run the model once, or more often where a reason was not met.

    Some reasons are met once in some hundred sequences, and hypothesis chooses other sequences whenever the source
    of the program changes. So there are more of them, up to MOST_RUNS times as many, until each reason was met.
    """
    tally, runs = run(), 1
    while runs < MOST_RUNS and any(not tally.reasons[reason.value] for reason in EVERYDAY):
        tally.add(run(first_seed=SEED + 1_000 * runs))
        runs += 1
    return tally


def run(sequences: int = SEQUENCES, steps: int = STEPS, *, first_seed: int = SEED) -> Tally:
    """Run the model; what fails is made as short as it goes and shown rule by rule.

    Each chunk has a process of its own, on every core one: hypothesis picks values from the sources of all modules
    that are loaded, so the sequences of a seed would depend on the tests that ran before.

    Args:
        sequences: at least so many, in chunks.
        steps: rules in each, after its beginning.
        first_seed: of the first chunk; the next chunk has the next one.
    """
    tally = Tally()
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), max_tasks_per_child=1) as pool:
        while tally.sequences < sequences:
            chunks = math.ceil((sequences - tally.sequences) / CHUNK)
            for part in pool.map(partial(run_chunk, steps=steps), range(first_seed, first_seed + chunks)):
                tally.add(part)
            first_seed += chunks
    return tally


def run_mutant(sequences: int) -> None:
    """Run the model on a mutant of the product, in this process, until it breaks a promise or has done so many."""
    done, first_seed = 0, 0
    while done < sequences:
        done += run_chunk(first_seed, STEPS, mutant=True).sequences
        first_seed += 1


def run_chunk(first_seed: int, steps: int, *, mutant: bool = False) -> Tally:
    """Run the sequences of one seed; those of a mutant end where it parts with the oracle, and are not shortened."""

    class Counted(Loop):
        tally = Tally()
        parts_with_oracle = mutant

    how = settings(
        max_examples=CHUNK,
        stateful_step_count=steps,
        phases=[Phase.generate] if mutant else [Phase.generate, Phase.shrink],
        deadline=None,
        database=None,
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(seed(first_seed)(Counted), settings=how)
    except AssertionError as error:
        error.add_note(f"the sequences of MODEL_SEED={first_seed}")
        raise
    return Counted.tally
