"""The faults of a soak, by name. Each acts for about so many seconds, and says whether it was seen to happen."""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.soak import orders
from tests.soak.processes import freeze, kill_governor, kill_hive, kill_supervisor
from tests.soak.stage import Stage, Window

Act = Callable[[Stage, Window, float], None]
LAST_ROOM_BYTES: Final = 1 << 20
"""Enough for the fleet's files, so that the hive learns of a swing."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind: for how many ``seconds`` it is on where there is time enough, and at least; see ``Window``."""

    act: Act
    seconds: float
    least_seconds: float
    excuses: bool = False


# --- the dashboard ----------------------------------------------------------------------------------------------------


def dashboard(mode: str, end: str, *reasons: str) -> Act:
    """The dashboard answers in this mode; a cycle with one of these reasons shows that."""

    def act(stage: Stage, window: Window, seconds: float) -> None:
        stage.fleet.order(mode)
        try:
            stage.rest(seconds)
            window.fired = stage.saw(window.begin, *reasons)
        finally:
            stage.fleet.order(end)

    return act


# --- what keeps the files as they are ---------------------------------------------------------------------------------


def interlock(name: str, content: str, reason: str) -> Act:
    """A file below the root that forbids to write while it is there, though a move is due."""

    def act(stage: Stage, window: Window, seconds: float) -> None:
        path = stage.plant.root / name
        written = path.with_name(f"{path.name}.new")
        with stage.quiet:
            written.write_text(content)
            written.rename(path)
            try:
                window.fired = stage.saw(window.begin, reason)
                stage.fleet.order("swing")
                stage.watch_stillness(seconds)
            finally:
                path.unlink()

    return act


def disk_full(stage: Stage, window: Window, seconds: float) -> None:
    """Nothing is free on the root's disk, whatever is given back, and a move is due."""
    plant = stage.plant
    try:
        plant.fill(but_bytes=LAST_ROOM_BYTES)
        stage.fleet.order("swing")
        plant.fill()
        stage.rest(1.0)  # whoever was just writing has given up by now
        plant.fill()
        begun, status, full = time.monotonic(), plant.status.stat().st_mtime_ns, 0
        while time.monotonic() < begun + seconds:
            stage.rest(0.5)
            plant.fill()
            full += _is_full(plant.root)
        window.fired = full > 0 and status == plant.status.stat().st_mtime_ns
    finally:
        plant.free()


def _is_full(folder: Path) -> bool:
    probe = folder / "probe"
    try:
        probe.write_bytes(bytes(8_192))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return True
    finally:
        probe.unlink(missing_ok=True)
    return False


# --- the journal ------------------------------------------------------------------------------------------------------


def corrupt_running(stage: Stage, window: Window, seconds: float) -> None:
    """Garbage in the database, its log gone, under a running governor, and a move is due.

    SQLite may have all that it needs in memory, and notice nothing. Then the next start does; what waits to be told is
    in the damaged file alone by then, so the governor is killed when nothing waits.
    """
    aside, unreadable = _set_aside(stage), stage.ledger.unreadable
    with stage.calm:
        stage.fleet.order("still")
        try:
            stage.delivered()
            stage.ledger.copy()
            _spoil(stage.plant.journal, stage.dice)
            window.fired = stage.until(lambda: stage.ledger.unreadable > unreadable or _set_aside(stage) > aside)
            stage.fleet.order("swing")
            stage.rest(seconds)
            noticed = _set_aside(stage) > aside
            stage.noticed[noticed] += 1
            if not noticed:
                if not stage.delivered():
                    raise RuntimeError(
                        "with Telegram well, notices still wait: the damaged journal cannot be done with"
                    )
                kill_governor(stage, window, 0)
            window.fired &= stage.until(lambda: _set_aside(stage) > aside)
        finally:
            stage.fleet.order("well")


def corrupt_at_rest(stage: Stage, window: Window, _: float) -> None:
    """Garbage in the database while nobody runs: the next start begins a new one and adopts the published shares.

    What still waits to be told is in that file alone, so this is done when nothing waits.
    """
    aside = _set_aside(stage)
    with stage.calm:
        for _attempt in range(5):
            stage.delivered()
            stage.plant.stop()
            stage.crashes += 1  # what was on its way is sent again
            stage.ledger.copy(at_rest=True)
            spoilt = stage.ledger.pending() == 0
            if spoilt:
                _spoil(stage.plant.journal, stage.dice)
            stage.plant.start()
            stage.restarts += 1
            if spoilt:
                break
    window.fired = stage.until(lambda: _set_aside(stage) > aside)


def _spoil(journal: Path, dice: random.Random) -> None:
    with journal.open("r+b") as file:
        file.write(dice.randbytes(journal.stat().st_size))
    wal = Path(f"{journal}-wal")
    if wal.exists():
        with wal.open("r+b") as file:
            file.write(bytes(wal.stat().st_size))


def _set_aside(stage: Stage) -> int:
    journal = stage.plant.journal
    return len(list(journal.parent.glob(f"{journal.name}.corrupt-*Z*")))


# --- all of them ------------------------------------------------------------------------------------------------------

_PAUSE: Final = '{"paused": true, "reason": "soak"}'
_SICK: Final = ("payload_refused", "faulty_majority")

FAULTS: Final[dict[str, Fault]] = {
    "dashboard down": Fault(dashboard("down", "up", "fetch_failed"), 25, 5),
    "dashboard drips": Fault(dashboard("drip", "well", "fetch_failed"), 20, 4),
    "dashboard: error with 200": Fault(dashboard("error", "well", "payload_refused"), 12, 3),
    "dashboard: stale": Fault(dashboard("stale", "well", "payload_stale"), 12, 3),
    "dashboard: NaN": Fault(dashboard("nan", "well", *_SICK), 12, 3),
    "dashboard: half of the fleet": Fault(dashboard("half", "well", "members_gone"), 20, 3),
    "pause": Fault(interlock("state/guardian_pause.json", _PAUSE, "paused"), 15, 4),
    "STOP": Fault(interlock("runtime/capital_governor.STOP", "", "stopped"), 15, 4),
    "disk full": Fault(disk_full, 15, 4),
    "hive killed": Fault(kill_hive, 0, 0),
    "governor killed": Fault(kill_governor, 0, 0, excuses=True),
    "supervisor killed": Fault(kill_supervisor, 0, 0, excuses=True),
    "governor frozen": Fault(freeze, 60, 5, excuses=True),
    "journal corrupted, running": Fault(corrupt_running, 15, 4, excuses=True),
    "journal corrupted, at rest": Fault(corrupt_at_rest, 0, 0, excuses=True),
    "operator: hold, resume": Fault(orders.hold, 10, 3),
    "operator: limit, unlimit": Fault(orders.limit, 15, 4),
    "operator: accept": Fault(orders.accept, 8, 3),
    "operator: exposure, dashboard down": Fault(orders.exposure, 10, 3),
    "operator: exposure in a pause": Fault(orders.exposure_in_a_pause, 10, 3),
    "operator: release": Fault(orders.release, 5, 2),
    "agents silent": Fault(orders.silence, 10, 3),
    "settings: reserve and group": Fault(orders.settings, 8, 3, excuses=True),
}
NEEDS: Final = {
    "operator: hold, resume": "hold",
    "operator: limit, unlimit": "limit",
    "operator: accept": "accept",
    "operator: exposure, dashboard down": "exposure",
    "operator: exposure in a pause": "exposure",
    "operator: release": "release",
}
"""Faults that need a command, and which."""
THRICE: Final = "governor killed"
SMALL_DISK: Final = "disk full"
