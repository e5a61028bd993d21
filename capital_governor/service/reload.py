"""SIGHUP: reads and checks the settings again, for the running governor."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from capital_governor.adapters import logs
from capital_governor.adapters.process_identity import start_of
from capital_governor.service.disk_thread import Disk
from capital_governor.service.event_log import write_line
from capital_governor.service.sender import sender_of
from capital_governor.service.settings_record import SettingsRecord, texts_of
from capital_governor.settings.faults import SettingsError
from capital_governor.settings.load import Settings, load
from capital_governor.wording.log_events import LogEvent
from capital_governor.wording.settings_texts import settings_changed_text, settings_refused_text

_TERMINAL: Final = "/dev/tty"


class Reloads:
    """Reads the settings again on request, in an event loop, and records which are in force.

    Args:
        settings: in force.
        record: the file for the record, see ``SettingsRecord``.
        ready: called when valid settings with a change were found; returns whether they must wait.
        tell: takes a message to the operator.
    """

    def __init__(
        self, settings: Settings, record: Path, ready: Callable[[], bool], tell: Callable[[str], object]
    ) -> None:
        self._log = logs.get_logger()
        self._in_force = settings
        self._new: Settings | None = None
        self._changed: tuple[str, ...] = ()
        self._record_path = record
        self._reads = 0
        self._salt = os.urandom(16).hex()
        self._started = ""
        self._ready = ready
        self._tell = tell
        self._asked, self._recorded = asyncio.Event(), asyncio.Lock()

    def ask(self) -> None:
        """Request another read of the settings. Several requests during a read cause one more."""
        self._asked.set()

    async def run(self) -> None:
        """Record the settings, then read them on each request, until cancelled."""
        await self._record("in force", ())
        while True:
            await self._asked.wait()
            self._asked.clear()
            await self._read()

    def take(self) -> Settings:
        """Put the new settings into force and return them."""
        self._in_force, self._new = self._new or self._in_force, None
        return self._in_force

    async def in_force(self) -> None:
        """Tell the operator of the settings that were taken, now that a governor runs with them."""
        changed, self._changed = self._changed, ()
        if changed:
            self._tell(settings_changed_text(changed, sender_of(self._in_force), time.time()))
        await self._record("in force", changed)

    async def go_back(self, settings: Settings, problem: str) -> None:
        """Note that these settings are in force again, and tell the operator why."""
        self._in_force, self._changed = settings, ()
        await self._refuse((problem,))

    async def _read(self) -> None:
        """Read the settings and log each change. It has a thread of its own, since the root's file system may hang."""
        expected, disk = self._new or self._in_force, Disk()
        self._reads += 1
        try:
            found = await disk(lambda: load(expected.root))
        except SettingsError as error:
            await self._refuse(error.faults)
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
            await self._record("same", ())
            return
        self._new, self._changed = found, changes(self._in_force, found)
        await self._record("accepted", lines)
        if self._ready():
            await self._record("waits", lines)

    async def _refuse(self, problems: Sequence[str]) -> None:
        for problem in problems:
            write_line(self._log, LogEvent.SETTINGS_REFUSED.line(problem=problem))
        self._tell(settings_refused_text(problems, sender_of(self._in_force), time.time()))
        await self._record("refused", problems)

    async def _record(self, outcome: str, lines: Sequence[str]) -> None:
        """Record the settings in force; a failure is only logged, since governing does not need the record."""
        settings, reads, disk = self._in_force, self._reads, Disk()

        def write() -> None:
            self._started = self._started or start_of(os.getpid())
            texts = texts_of(settings.values(), settings.origins, self._salt)
            record = SettingsRecord(os.getpid(), self._started, reads, outcome, tuple(lines), texts, self._salt)
            record.write(self._record_path)

        try:
            async with self._recorded:
                await disk(write)
        except OSError as error:
            write_line(self._log, LogEvent.SETTINGS_UNRECORDED.line(problem=str(error)))
        finally:
            disk.close()


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
