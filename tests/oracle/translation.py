"""What the oracle sees and is set to, in the words of the program."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache

from capital_governor.core.model import (
    Ceiling,
    Group,
    Guardian,
    Inputs,
    Limit,
    Metrics,
    OperatorHold,
    Pause,
    Refusal,
    Regime,
    Rules,
    Snapshot,
)
from capital_governor.core.reason import Reason
from tests.oracle.sight import Observation, Settings


def inputs_of(seen: Observation) -> Inputs:
    """Say what the oracle sees in the words of the program."""
    file, held = seen.pause_file, seen.operator_hold_until
    return Inputs(
        now=seen.now,
        payload=payload_of(seen),
        pause=None
        if file is None
        else Pause(file.paused, finite(file.until), file.reason, "" if file.readable else "torn"),
        stopped=seen.stopped,
        hold=None if held is None else OperatorHold("ann", until=finite(held)),
        limits=tuple(
            Limit(
                limit.agent,
                "ann",
                cap=None if limit.cap >= 1 else limit.cap,
                floor=None if limit.floor <= 0 else limit.floor,
                until=finite(limit.until),
                share_out=limit.share_out,
            )
            for limit in seen.operator_limits
        ),
        accept=seen.accept,
        accept_only=Reason(seen.accept_about) if seen.accept_about else None,
        known_generation=seen.known_generation,
        files_problem="a folder lies in the way" if seen.files_unwritable else "",
        ceiling=None if seen.ceiling is None else Ceiling(seen.ceiling[0], "ann", until=finite(seen.ceiling[1])),
        released=tuple(sorted(seen.release)),
    )


@cache
def rules_of(settings: Settings) -> Rules:
    """Say the oracle's settings in the words of the program."""
    given = asdict(settings) | {"release_after_cycles": settings.release_after}
    del given["release_after"]
    return Rules(**given | {"groups": tuple(Group(*group) for group in settings.groups)})


def payload_of(seen: Observation) -> Snapshot | Refusal:
    payload = seen.payload
    if isinstance(payload, str):
        return Refusal(Reason(payload), "a sentence")
    block = payload.guardian
    return Snapshot(
        at=payload.at,
        metrics={name: Metrics(**record) for name, record in payload.records.items() if record is not None},
        faults={name: "a fault" for name, record in payload.records.items() if record is None},
        guardian=None if block is None else Guardian(block.paused, block.drawdown, block.reason),
        regime=None if payload.multiplier is None else Regime("BULL", payload.multiplier, payload.regime_at),
    )


def finite(until: float) -> float | None:
    return None if until == float("inf") else until
