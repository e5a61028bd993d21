"""The process of the governor: start, loop and end. ``govern`` repeats ticks, ``govern_once`` runs a single one."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final, TypeVar

from capital_governor.adapters import logs
from capital_governor.adapters.lock import RootLock
from capital_governor.adapters.log_output import Sink
from capital_governor.adapters.name_lookups import LookupLoop
from capital_governor.adapters.paths import Paths
from capital_governor.contracts.exit_codes import UNEXPECTED
from capital_governor.journal.protocol import JournalRefusedError
from capital_governor.service import disk_thread
from capital_governor.service.event_log import write_line
from capital_governor.service.governor import Governor, open_governor
from capital_governor.service.reload import Reloads, has_terminal
from capital_governor.service.settings_record import record_path
from capital_governor.service.signals import end_at_signals, wait_with_reloads
from capital_governor.service.standing import Outcome
from capital_governor.service.watchdog import SignsOfLife
from capital_governor.settings.load import Settings
from capital_governor.wording.log_events import LogEvent, log_text
from capital_governor.wording.log_lines import start_lines

RETRY_SECONDS: Final = 15.0
"""Until the first success, a tick begins this often, or every interval if that is shorter."""

T = TypeVar("T")


def schedule(start: float, interval: float, now: float) -> float:
    """Return the next time after ``now`` that is a whole number of intervals after ``start``; missed ones are skipped.

    All arguments are seconds of one monotonic clock.
    """
    beat = now + interval - math.fmod(now - start, interval)
    return max(beat, math.nextafter(now, math.inf))


async def repeat(
    governor: Governor, interval_seconds: float, stop: asyncio.Event, over: asyncio.Event | None = None
) -> None:
    """Run ticks until ``stop`` is set: the first at once, then soon again until one succeeds, then every interval.

    ``stop`` also cancels the tick in progress. ``over``, which must be set with it, lets that tick end.
    """
    loop, over = asyncio.get_running_loop(), over or stop
    beat: float | None = None
    while not over.is_set():
        started = loop.time()
        usable = await _unless(stop, governor.guarded_tick())
        if usable is None:
            return
        gc.collect()  # nothing waits now; within a cycle it hardly ever runs, see the governor's threshold
        if beat is None and usable:
            beat = started
        if beat is None:
            wake = max(started + min(RETRY_SECONDS, interval_seconds), loop.time())
        else:
            wake = schedule(beat, interval_seconds, loop.time())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(wake):
                await over.wait()


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Return the result of ``work``; if ``stop`` is set first, cancel it and return None."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if working.done():
        return working.result()
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working
    return None


def govern(settings: Settings, sink: Sink, *, dry_run: bool = False) -> int:
    """Govern until SIGTERM or SIGINT; return the exit code, or exit with it if a thread hangs.

    SIGHUP reads the settings again, see ``Reloads``.

    Raises:
        LockHeldError: another governor runs on this root.
        OSError: the runtime folder cannot be made, or the lock cannot be taken.
        JournalRefusedError: the journal is another program's, or of a newer version.
    """
    wait_with_reloads()
    end_at_signals(sink.flush)
    with _holding(settings, sink, dry_run=dry_run):
        code = in_loop(lambda: _Life(settings, sink, dry_run=dry_run).live())
        # Before the lock is released: a thread that hangs on the disk must not write beside another governor.
        return leave(code, sink.flush)


def govern_once(settings: Settings, sink: Sink) -> Outcome:
    """Run one cycle, publish what it decides, and return its outcome.

    Raises:
        SystemExit: SIGINT or SIGTERM came; with 128 + its number, after all writes have ended.
        Exception: as ``govern`` does.
    """
    heard: list[int] = []

    async def single() -> Outcome | None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()

        def hear(number: int) -> None:
            heard.append(number)
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, hear, number)
        governor = await _unless(stop, open_governor(settings, sink))
        if governor is None:
            return None
        try:
            return await _unless(stop, tick(governor))
        finally:
            await governor.close()

    async def tick(governor: Governor) -> Outcome:
        outcome = await governor.tick()
        await governor.flush()
        return outcome

    with _signals_as_before():
        end_at_signals(sink.flush, as_code=True)
        with _holding(settings, sink, dry_run=False):
            outcome = in_loop(single)
            if outcome is None:
                raise SystemExit(leave(128 + heard[0], sink.flush))
        sink.flush()  # the process may end without a clean-up, see ``leave``
        return outcome


class _Life:
    """Runs a governor in the event loop, and a new one after each change of its settings."""

    def __init__(self, settings: Settings, sink: Sink, *, dry_run: bool) -> None:
        self._log = logs.get_logger()
        self._settings = settings
        self._sink = sink
        self._dry_run = dry_run
        self._stop, self._over = asyncio.Event(), asyncio.Event()
        self._governor: Governor | None = None
        record = record_path(Paths(settings.root, dry_run).folder)
        self._reloads = Reloads(settings, record, self._change, self._tell)
        self._untold: list[str] = []
        self._change_waits = False
        self._terminal = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and has_terminal()
        self._signs = SignsOfLife(settings)

    async def live(self) -> int:
        """Govern until a signal ends it; return the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])
        telegram = self._settings.telegram_bot_token is not None
        for line in start_lines(self._settings.rules(), time.time(), telegram=telegram, dry_run=self._dry_run):
            write_line(self._log, line)
        reloading = asyncio.create_task(self._reloads.run(), name="reloads")
        try:
            governor = await self._open()
            while governor is not None:
                governor = await self._govern(governor)
        finally:
            self._signs.stopping()
            reloading.cancel()
            await asyncio.wait([reloading])
            write_line(self._log, LogEvent.STOPPED.line())
        return 0

    async def _govern(self, governor: Governor) -> Governor | None:
        """Govern until a signal comes; return the next governor, with new settings, or None at the end."""
        self._governor = governor
        try:
            self._signs.ready()
            governor.start()
            while self._untold:
                governor.tell(self._untold.pop(0))
            await repeat(governor, self._settings.interval_seconds, self._stop, self._over)
        finally:
            self._governor = None
            await governor.close(goes_on=self._over.is_set() and not self._stop.is_set())
        if self._stop.is_set():
            return None
        # Two threads must never write to one root, so wait for one that hangs. No cycle could run meanwhile anyway.
        if await _unless(self._stop, _alone()) is None:
            return None
        return await self._reopen()

    async def _reopen(self) -> Governor | None:
        """Return a governor with the new settings; with the old ones if the new journal is another program's."""
        former = self._settings
        self._over.clear()
        self._take(self._reloads.take())
        try:
            governor = await self._open()
        except JournalRefusedError as error:
            await self._reloads.go_back(former, str(error))
            self._take(former)
            return await self._open()
        if governor is not None:
            await self._reloads.in_force()
        return governor

    def _take(self, settings: Settings) -> None:
        self._settings = settings
        self._sink = open_log_sink(settings, background=True, former=self._sink)
        self._signs = SignsOfLife(settings)

    async def _open(self) -> Governor | None:
        opening = open_governor(self._settings, self._sink, dry_run=self._dry_run, completed=self._completed)
        return await _unless(self._stop, opening)

    def _tell(self, text: str) -> None:
        """Send the operator a message, through the governor that runs or the next one."""
        if self._governor is None:
            self._untold.append(text)
        else:
            self._governor.tell(text)

    def _completed(self, outcome: Outcome) -> None:
        self._signs.completed(outcome)
        if self._change_waits:
            self._change()

    def _change(self) -> bool:
        """Use the new settings after this tick; wait while the journal is lost, since memory has the only record.

        Return whether they wait.
        """
        waited, self._change_waits = self._change_waits, self._governor is not None and self._governor.journal_lost
        if not self._change_waits:
            self._over.set()
        elif not waited:
            write_line(self._log, LogEvent.SETTINGS_WAIT.line())
        return self._change_waits

    def _end(self) -> None:
        self._stop.set()
        self._over.set()

    def _hang_up(self) -> None:
        """Handle SIGHUP: reload the settings, or end if the terminal was closed."""
        if self._terminal and not has_terminal():
            self._end()
        else:
            self._reloads.ask()


async def _alone() -> bool:
    """Wait until no disk thread runs that could write; return True."""
    while disk_thread.at_work():  # noqa: ASYNC110 - the threads do not set an event
        await asyncio.sleep(0.02)
    return True


def open_log_sink(settings: Settings, *, background: bool = False, former: Sink | None = None) -> Sink:
    """Set up the logs as the settings say, and return their sink.

    Args:
        settings: validated.
        background: write on a thread, so that a stalled reader of the log does not stop this process.
        former: the sink so far: its secrets stay hidden, and its waiting lines are still written.
    """
    secrets = (*settings.secrets(), *(() if former is None else former.redaction.secrets))
    sink = logs.configure(level=settings.log_level, fmt=settings.log_format, secrets=secrets, words=log_text)
    if background:
        sink.write_in_background(None if former is None else former.writer)
    return sink


@contextlib.contextmanager
def _holding(settings: Settings, sink: Sink, *, dry_run: bool) -> Iterator[None]:
    """Hold the root's lock, and release it only when no thread of this process can write any more.

    If a thread hangs, the lock is held until the process ends, which does not wait for that thread: see ``leave``.
    """
    paths = Paths(settings.root, dry_run)
    paths.make_folder()
    lock = RootLock(paths.lock)
    lock.acquire()
    try:
        yield
    except BaseException as error:
        if not isinstance(error, SystemExit) and _hanging():
            sys.excepthook(type(error), error, error.__traceback__)
            sink.flush()
            os._exit(UNEXPECTED)
        sink.flush()  # the caller shows the error, and a supervisor sends the last line of the log to the phone
        raise
    finally:
        if _hanging():
            _KEPT.append(lock)
        else:
            lock.release()


_KEPT: Final[list[RootLock]] = []
"""Locks held until the process ends. Without this reference the garbage collector would release them early."""


def in_loop(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """As ``asyncio.run``, but hanging name look-ups do not block, and it does not wait for the default executor.

    Afterwards signals are handled as they were before.
    """
    with _signals_as_before():
        loop = LookupLoop()
        asyncio.set_event_loop(loop)
        try:
            return loop.run_until_complete(main())
        finally:
            asyncio.set_event_loop(None)
            loop.close()


@contextlib.contextmanager
def _signals_as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave(code: int, flush: Callable[[], object] = lambda: None) -> int:
    """Return ``code`` for a normal exit, or exit at once if a thread hangs for which the interpreter would wait."""
    if _hanging():
        if sys.stdout is not None:
            sys.stdout.flush()
        flush()
        os._exit(code)
    return code


def _hanging() -> bool:
    """Whether a thread that could write still runs after a moment."""
    for thread in _others():
        thread.join(0.1)
    return bool(_others())


def _others() -> list[threading.Thread]:
    """Return the threads for which the interpreter waits at its end, among them the disk threads."""
    return [each for each in threading.enumerate() if each is not threading.main_thread() and not each.daemon]
