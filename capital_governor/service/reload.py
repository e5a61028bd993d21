"""SIGHUP: reads and checks the settings again, for the running governor."""

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
    """Reads the settings again on request, in an event loop.

    Args:
        settings: in force.
        ready: called when valid settings with a change were found.
    """

    def __init__(self, settings: Settings, ready: Callable[[], object]) -> None:
        self._log = logs.get_logger()
        self._in_force = settings
        self._new: Settings | None = None
        self._ready = ready
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Request another read of the settings. Several requests during a read cause one more."""
        self._asked.set()

    async def run(self) -> None:
        """Read the settings on each request, until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            await self._read()

    def take(self) -> Settings:
        """Put the new settings into force and return them."""
        self._in_force, self._new = self._new or self._in_force, None
        return self._in_force

    def go_back(self, settings: Settings) -> None:
        """Note that these settings are in force again."""
        self._in_force = settings

    async def _read(self) -> None:
        """Read the settings and log each change. It has a thread of its own, since the root's file system may hang."""
        expected, disk = self._new or self._in_force, Disk()
        try:
            found = await disk(lambda: load(expected.root))
        except SettingsError as error:
            for fault in error.faults:
                write_line(self._log, LogEvent.SETTINGS_REFUSED.line(problem=fault))
            return
        except Exception:  # noqa: BLE001 - the governor continues with the old settings
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
    """Whether this process has a controlling terminal, whose end is also signalled by SIGHUP."""
    try:
        os.close(os.open(_TERMINAL, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY))
    except OSError as error:
        return error.errno not in {errno.ENXIO, errno.ENOENT, errno.EIO}
    return True
