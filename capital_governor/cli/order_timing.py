"""When an order takes effect at the latest, and what may keep it back, in words for the answer of a command."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from capital_governor.contracts.instants import read_instant
from capital_governor.contracts.text import clean
from capital_governor.core.acceptance import ACCEPTABLE
from capital_governor.core.hold import EXITS
from capital_governor.core.model import OperatorHold, Rules, signed, utc_text
from capital_governor.core.reason import Reason
from capital_governor.wording.moments import duration_text

_HOLD_BY_EXIT: Final = {text: reason for reason, text in EXITS.items()}
_SHOWN_BY_ITSELF: Final = frozenset({Reason.STOPPED, Reason.FILES_UNWRITABLE, Reason.OPERATOR_HOLD})
"""Holds of which another line says more than the last cycle does."""


class Needs(Enum):
    """What an order needs to take effect."""

    CYCLE = auto()
    """Any cycle."""
    CUT = auto()
    """A cycle that may publish a cut: any but under STOP or with files that cannot be written."""
    ACCEPTANCE = auto()
    """A cycle that holds for what is accepted, and for nothing before that."""
    DECISION = auto()
    """A cycle that decides, after COOLDOWN if a share is to rise."""
    MOVE = auto()
    """A move, which COOLDOWN and CONFIRM_CYCLES may delay."""


@dataclass(frozen=True, slots=True)
class LastCycle:
    """What the status file says of the last cycle.

    Args:
        at: its time, in seconds since 1970 UTC.
        late_from: from then on the governor counts as dead, or hanging.
        hold: the reason of its hold; None if it did not hold.
        detail: the facts of that hold.
        exit: what ends it.
        multipliers: the last known exposure multipliers.
        interval_seconds: between two cycles of that governor; None if its status file does not have it.
    """

    at: float
    late_from: float
    hold: Reason | None
    detail: str
    exit: str
    multipliers: Mapping[str, float]
    interval_seconds: float | None = None


def last_cycle(content: bytes | None) -> LastCycle | None:
    """Return what a status file says of the last cycle; None if it cannot be read, or is of another version."""
    try:
        said: dict[str, Any] = json.loads(content or b"")
        at, until = read_instant(said["timestamp"]), read_instant(said["valid_until"])
        if at is None or until is None:
            return None
        known = {str(name): float(value) for name, value in said["multipliers"].items()}
        exit_, detail = clean(said["exit"], 500), clean(said["detail"], 500)
        interval = said.get("interval_seconds")
        return LastCycle(
            at.earliest,
            until.earliest,
            _HOLD_BY_EXIT.get(said["exit"]),
            detail,
            exit_,
            known,
            None if interval is None else float(interval),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


@dataclass(frozen=True, slots=True)
class Situation:
    """What decides when an order takes effect.

    Args:
        now: in seconds since 1970 UTC.
        running: whether a governor is there to obey; None if that cannot be seen.
        stopped: whether the STOP file is there.
        last: the last cycle; None if it is not known.
        hold: the operator's hold in force.
        moved_at: when the last move was published; None if there was none, or nothing waits for it.
        longest_seconds: between two readings of the orders; None if the settings are faulty.
        rules: of a decision; None if the settings are faulty.
        dry_run: whether all this is of a dry run.
    """

    now: float
    running: bool | None
    stopped: bool
    last: LastCycle | None
    hold: OperatorHold | None
    moved_at: float | None
    longest_seconds: float | None
    rules: Rules | None
    dry_run: bool = False


def when_lines(seen: Situation, needs: Needs) -> Iterator[str]:
    """Yield when an order takes effect at the latest, and each thing that keeps it back."""
    yield _next_cycle(seen, needs)
    if seen.stopped:
        yield "the STOP file is there: nothing changes before the first cycle after it is removed"
    last = seen.last if seen.running else None
    if needs is not Needs.CYCLE and last is not None and last.hold is Reason.FILES_UNWRITABLE:
        yield f"the last cycle could not write a file, and agents see no change until that succeeds: {last.detail}"
    if needs in {Needs.ACCEPTANCE, Needs.DECISION, Needs.MOVE}:
        yield from _delays(seen, last, needs)


def _next_cycle(seen: Situation, needs: Needs) -> str:
    if seen.running is None:
        return "whether a governor is running cannot be seen; it takes effect in the next cycle"
    if not seen.running and seen.dry_run:
        return "no dry run is running: it takes effect when one is, start it with `capital-governor run`"
    if not seen.running:
        return "no governor is running: it takes effect when one is, or with `capital-governor once`"
    if seen.last is not None and seen.now > seen.last.late_from:
        age = duration_text(seen.now - seen.last.at, exact=True)
        late = f"a governor is there, but its last cycle was {age} ago"
        return f"{late}: it takes effect when that goes on, see `capital-governor status`"
    left = seconds_left(seen)
    within = "" if left is None else f", within {duration_text(math.ceil(left), exact=True)}"
    if seen.stopped:
        return f"a governor is running: it reads this in its next cycle{within}"
    always = ", in every hold but STOP" if needs is Needs.CUT else ""
    return f"a governor is running: it takes effect in its next cycle{within}{always}"


def seconds_left(seen: Situation) -> float | None:
    """Return the longest time until the next cycle reads the orders; None without a governor that runs well."""
    longest = seen.longest_seconds
    if longest is None or not seen.running or (seen.last is not None and seen.now > seen.last.late_from):
        return None
    # The status file has its time in whole seconds, rounded down.
    left = longest if seen.last is None else seen.last.at + 1.0 + longest - seen.now
    return left if 0.0 < left < longest else longest


def _delays(seen: Situation, last: LastCycle | None, needs: Needs) -> Iterator[str]:
    """Yield what delays a decision or a move. Nothing rises in a hold."""
    expected = _SHOWN_BY_ITSELF | (ACCEPTABLE if needs is Needs.ACCEPTANCE else frozenset())
    if seen.hold is not None:
        said = signed(seen.hold.author, seen.hold.until, seen.hold.reason)
        yield f"the hold {said} is on: until it ends only cuts are made"
    if last is not None and last.hold is not None and last.hold not in expected:
        yield f"the last cycle held ({last.detail}): until that ends only cuts are made. It ends with: {last.exit}"
    rules = seen.rules
    if rules is None or needs is Needs.ACCEPTANCE:
        return
    if seen.moved_at is not None and seen.now < seen.moved_at + rules.cooldown_seconds:
        yield f"COOLDOWN: nothing rises before {utc_text(math.ceil(seen.moved_at + rules.cooldown_seconds))}"
    if needs is Needs.MOVE and rules.confirm_cycles > 1:
        yield f"CONFIRM_CYCLES: a move comes when {rules.confirm_cycles} decided cycles in a row ask for it"
