"""Every hold in which a governor can be, made on a real root: what its payload is, and what else holds it."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Final

from capital_governor.core.model import Refusal, Snapshot
from capital_governor.core.orders import Order, OrderEnd, OrderKind
from capital_governor.core.reason import Reason
from capital_governor.journal.protocol import new_key
from capital_governor.journal.sqlite.sqlite_driver import open_sqlite
from tests.model.steps import every_step
from tests.rigs.builders import FLEET, snapshot
from tests.rigs.cycle_rig import CycleRig

Heard = Snapshot | Refusal
EAGER: Final[Mapping[str, float]] = {"Ada": 0.2, "Bob": 0.3, "Cyd": 0.5}
"""Scores that ask for a move: Ada and Cyd of ``builders.FLEET`` have changed places."""


def eager(now: float) -> Snapshot:
    """A fresh, complete payload that asks for a move and for all exposure."""
    return snapshot(EAGER, at=now, risk=1.0)


def calm(now: float) -> Snapshot:
    """A fresh, complete payload that asks for what is published at an exposure of 0.8."""
    return snapshot(FLEET, at=now, risk=0.8)


PAYLOADS: Final[Mapping[Reason | None, Callable[[float], Heard]]] = {
    None: eager,
    Reason.PAUSED: lambda now: snapshot(EAGER, at=now, risk=1.0, paused=True),
    Reason.FETCH_FAILED: lambda _: Refusal(Reason.FETCH_FAILED, "connection refused"),
    Reason.PAYLOAD_REFUSED: lambda _: Refusal(Reason.PAYLOAD_REFUSED, "the payload is no JSON"),
    Reason.PAYLOAD_STALE: lambda now: eager(now - 901),
    Reason.PAYLOAD_FUTURE: lambda now: eager(now + 61),
    Reason.GUARDIAN_LOST: lambda now: replace(eager(now), guardian=None),
    Reason.TIMESTAMP_LOST: lambda now: replace(eager(now), at=None),
    Reason.NO_AGENTS: lambda now: snapshot({}, at=now, risk=1.0),
    Reason.FAULTY_MAJORITY: lambda now: snapshot({"Cyd": 0.5}, at=now, risk=1.0, faulty=["Ada", "Bob"]),
    Reason.MEMBERS_GONE: lambda now: snapshot({"Cyd": 0.5}, at=now, risk=1.0),
}
"""A payload for each hold that a payload can cause, by its reason; None: it causes none."""


def nothing(_: CycleRig) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Hold:
    """One hold.

    Args:
        name: what holds, and what the payload is.
        reason: the hold's; None: nothing holds.
        payload: what the dashboard sends at a time.
        begin: what befalls the root.
        settings: what is set, such as a brake.
        around: around each cycle, such as a full disk.
        lift: what ends all that keeps the two files from being written; None: they can be written.
    """

    name: str
    reason: Reason | None
    payload: Callable[[float], Heard]
    begin: Callable[[CycleRig], object] = nothing
    settings: Mapping[str, Any] = field(default_factory=dict)
    around: Callable[[], AbstractContextManager[None]] = nullcontext
    lift: Callable[[CycleRig], object] | None = None

    @property
    def decides_nothing(self) -> bool:
        """Whether not even a cut is decided."""
        return self.reason in {Reason.STOPPED, Reason.FILES_UNWRITABLE}


def _paused_by_file(rig: CycleRig) -> None:
    rig.pause_file.write_text('{"paused": true, "reason": "cooling down"}')


def _unreadable_pause(rig: CycleRig) -> None:
    rig.pause_file.write_text('{"paused": fal')


def _once_paused(rig: CycleRig) -> None:
    """A pause that has been taken back."""
    rig.see(EAGER, paused=True)


def _held(rig: CycleRig) -> None:
    give(rig, OrderKind.HOLD, reason="broker migration")


def _stopped(rig: CycleRig) -> None:
    rig.stop_file.touch()


def _started(rig: CycleRig) -> None:
    rig.stop_file.unlink()


def _folder(rig: CycleRig) -> None:
    rig.override.unlink()
    rig.override.mkdir()


def _no_folder(rig: CycleRig) -> None:
    rig.override.rmdir()


@contextmanager
def full_disk() -> Iterator[None]:
    """Let nothing be written to the two files and the status file; the journal works."""

    def refuse(step: str) -> None:
        if step == "before write":
            raise OSError(errno.ENOSPC, "No space left on device")

    with every_step(refuse):
        yield


def holds() -> list[Hold]:
    """Return every hold, with every payload that leaves it in force."""
    without = {reason: said for reason, said in PAYLOADS.items() if reason is not None}
    # These two are complete, so that they end a pause that is taken back, and a hold of their own comes instead.
    unfinished = without.keys() - {Reason.PAUSED, Reason.FAULTY_MAJORITY, Reason.MEMBERS_GONE}
    made = [Hold(f"payload {reason.value}", reason, said) for reason, said in without.items()]
    for reason, said in PAYLOADS.items():
        about = "good payload" if reason is None else f"payload {reason.value}"
        made.append(Hold(f"pause file, {about}", Reason.PAUSED, said, _paused_by_file))
        made.append(Hold(f"unreadable pause file, {about}", Reason.PAUSED, said, _unreadable_pause))
        held = Reason.PAUSED if reason is Reason.PAUSED else Reason.OPERATOR_HOLD
        made.append(Hold(f"operator's hold, {about}", held, said, _held))
        if reason in unfinished:
            made.append(Hold(f"pause taken back, {about}", Reason.PAUSED, said, _once_paused))
        if reason is not None:
            made.append(Hold(f"STOP, {about}", Reason.STOPPED, said, _stopped, lift=_started))
            stuck = Reason.PAUSED if reason is Reason.PAUSED else Reason.FILES_UNWRITABLE
            made.append(Hold(f"folder for a file, {about}", stuck, said, _folder, lift=_no_folder))
            made.append(Hold(f"full disk, {about}", reason, said, around=full_disk, lift=nothing))
    return made


BRAKES: Final = (
    Hold("cool-down", None, eager, settings={"COOLDOWN": 86_400}),
    Hold("not yet confirmed", None, eager, settings={"CONFIRM_CYCLES": 9}),
)
"""No holds, but a brake keeps back the move that the payload asks for."""
NO_HOLD: Final = Hold("no hold", None, calm)
"""No hold and no brake, and nothing to be moved."""


# --- orders ----------------------------------------------------------------------------------------------------------


def give(rig: CycleRig, kind: OrderKind, seconds: float | None = None, **more: Any) -> Order:
    """Give an order as a command does: into the journal, which is opened a second time."""
    until = None if seconds is None else rig.now + seconds
    order = Order(key=new_key(), kind=kind, author="anna", given_at=rig.now, until=until, **more)
    with closing(open_sqlite(rig.settings.journal_path)) as journal:
        journal.put_orders([order])
    return order


def take_back(rig: CycleRig, *orders: Order) -> None:
    """Take these orders back."""
    with closing(open_sqlite(rig.settings.journal_path)) as journal:
        journal.put_orders([order.ended(rig.now, OrderEnd.TAKEN_BACK, "bert") for order in orders])
