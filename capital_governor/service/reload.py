"""SIGHUP: the settings are read again, checked, and taken over by the governor that runs."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from typing import Final

from capital_governor.adapters import logs
from capital_governor.service.disk_thread import Disk
from capital_governor.service.event_log import write_line
from capital_governor.settings.faults import SettingsError
from capital_governor.settings.load import Settings, load
from capital_governor.wording.log_events import LogEvent

_TERMINAL: Final = "/dev/tty"


class Reloads:
    """Takes SIGHUPs in an event loop, and has new settings ready when a correct change was found.

    Args:
        settings: in force.
        ready: called when there are new ones.
    """

    def __init__(self, settings: Settings, ready: Callable[[], object]) -> None:
        self._log = logs.get_logger()
        self._in_force = settings
        self._new: Settings | None = None
        self._ready = ready
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Have the settings read again. Several requests during a read cause one more read."""
        self._asked.set()

    async def run(self) -> None:
        """Read the settings whenever that is asked for, until this is cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            await self._read()

    def take(self) -> Settings:
        """Return the settings from now on in force."""
        self._in_force, self._new = self._new or self._in_force, None
        return self._in_force

    def go_back(self, settings: Settings) -> None:
        """Take note that these are in force again."""
        self._in_force = settings

    async def _read(self) -> None:
        """Tell what has changed, and whether it is taken over. A root that hangs holds up nobody else."""
        expected, disk = self._new or self._in_force, Disk()
        try:
            found = await disk(lambda: load(expected.root))
        except SettingsError as error:
            for fault in error.faults:
                write_line(self._log, LogEvent.SETTINGS_REFUSED.line(problem=fault))
            return
        except Exception:  # noqa: BLE001 - whatever it is, the governor goes on
            write_line(self._log, LogEvent.SETTINGS_FAILED.line())
            return
        finally:
            disk.close()
        lines = changes(expected, found)
        for line in lines:
            write_line(self._log, LogEvent.SETTING_CHANGED.line(change=line))
        if not lines:
            write_line(self._log, LogEvent.SETTINGS_SAME.line())
            return
        self._new = found
        self._ready()


def changes(old: Settings, new: Settings) -> tuple[str, ...]:
    """Return ``VARIABLE: old -> new`` for each setting that differs, secrets masked."""
    before, after = old.masked(), new.masked()
    fields = type(old).model_fields
    return tuple(
        f"{name}: {before[name]} -> {after[name]}" + (" (another one)" if before[name] == after[name] else "")
        for field, name in zip(fields, before, strict=True)
        if getattr(old, field) != getattr(new, field) or before[name] != after[name]
    )


def has_terminal() -> bool:
    """Whether this process has a controlling terminal. When that is closed, SIGHUP says so, too."""
    try:
        os.close(os.open(_TERMINAL, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY))
    except OSError as error:
        return error.errno not in {errno.ENXIO, errno.ENOENT, errno.EIO}
    return True
