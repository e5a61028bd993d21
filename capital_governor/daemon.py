"""The governor's life: start-up, the loop, the end. ``run`` repeats the tick, ``once`` takes a single one."""

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
from capital_governor.adapters.files import Paths
from capital_governor.adapters.lock import RootLock
from capital_governor.adapters.lookups import LookupLoop
from capital_governor.adapters.systemd import ServiceManager
from capital_governor.early_end import end_at_signals
from capital_governor.governor import Governor, open_governor
from capital_governor.messages import message, start_lines
from capital_governor.settings import Settings
from capital_governor.status import Outcome

RETRY_SECONDS: Final = 15.0
"""Until the first success, the loop asks this often, or every interval where that is shorter."""

T = TypeVar("T")


def schedule(start: float, interval: float, now: float) -> float:
    """Return the next beat after ``now`` of a metronome that began at ``start``: late beats are dropped, not made up.

    All three are seconds of one monotonic clock.
    """
    beat = now + interval - math.fmod(now - start, interval)
    return max(beat, math.nextafter(now, math.inf))


async def repeat(governor: Governor, interval_seconds: float, stop: asyncio.Event) -> None:
    """Tick until ``stop`` is set: at once, soon again until the first success, then on a beat without drift."""
    loop = asyncio.get_running_loop()
    beat: float | None = None
    while not stop.is_set():
        started = loop.time()
        usable = await _unless(stop, governor.guarded_tick())
        if usable is None:
            return
        gc.collect()  # now nobody waits; within a cycle it hardly ever runs (see the governor's threshold)
        if beat is None and usable:
            beat = started
        if beat is None:
            wake = max(started + min(RETRY_SECONDS, interval_seconds), loop.time())
        else:
            wake = schedule(beat, interval_seconds, loop.time())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(wake):
                await stop.wait()


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Return what ``work`` returns; None if ``stop`` is set before, and then it is cancelled."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if working.done():
        return working.result()
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working
    return None


def run(settings: Settings, sink: logs.Sink, *, dry_run: bool = False) -> int:
    """Govern until SIGTERM or SIGINT; return the exit code, or exit with it where a thread hangs.

    Raises:
        LockHeldError: another governor runs on this root.
        OSError: the runtime folder cannot be made.
        JournalRefusedError: the journal is another program's, or of a newer version.
    """
    with _holding(settings, dry_run=dry_run):
        code = in_loop(lambda: _live(settings, sink, dry_run=dry_run))
        end_at_signals()  # the loop's own handlers have ended with it
        # Before the lock is let go: a thread that hangs in the disk must not wake up beside another governor.
        return leave(code)


def once(settings: Settings, sink: logs.Sink) -> Outcome:
    """Take one tick for good and return what came of it. Raises as ``run`` does."""

    async def single() -> Outcome:
        governor = await open_governor(settings, sink)
        try:
            outcome = await governor.tick()
            await governor.flush()
            return outcome
        finally:
            await governor.close()

    with _holding(settings, dry_run=False):
        return in_loop(single)


async def _live(settings: Settings, sink: logs.Sink, *, dry_run: bool) -> int:
    log = logs.get_logger()
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    telegram = settings.telegram_bot_token is not None
    for line in start_lines(settings.rules(), time.time(), telegram=telegram, dry_run=dry_run):
        getattr(log, line.level)(line.text)
    signs = SignsOfLife(settings)
    governor = await _unless(stop, open_governor(settings, sink, dry_run=dry_run, completed=signs.completed))
    try:
        if governor is not None:
            signs.ready()
            governor.start()
            await repeat(governor, settings.interval_seconds, stop)
    finally:
        signs.stopping()
        if governor is not None:
            await governor.close()
        log.info("Capital Governor stopped")
    return 0


class SignsOfLife:
    """What systemd is told, if it started this process with ``Type=notify``; a failure is logged, once, and no more.

    Only a completed cycle counts as a sign of life: a process that lives and completes none is restarted.
    """

    def __init__(self, settings: Settings) -> None:
        self._log = logs.get_logger()
        self._rules = settings.rules()
        self._manager = ServiceManager(os.environ.get("NOTIFY_SOCKET", ""))
        self._problem = ""
        allowed = os.environ.get("WATCHDOG_USEC", "")
        if allowed.isdecimal() and int(allowed) / 1e6 < 2 * settings.interval_seconds:
            text = f"systemd's watchdog allows {int(allowed) / 1e6:g} s between cycles, INTERVAL is"
            self._log.warning(f"{text} {settings.interval_seconds:g} s: set WatchdogSec to several intervals")

    def ready(self) -> None:
        """Say that the start is over: settings, lock and journal are fine. Cycles are the watchdog's business."""
        self._tell("READY=1")

    def completed(self, outcome: Outcome) -> None:
        """Give a sign of life, and say how it stands."""
        published = outcome.visible
        generation = "" if published is None else f"generation {published.generation}: "
        self._tell("WATCHDOG=1", f"STATUS={generation}{message(outcome.decision.reason, self._rules)}")

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._tell("STOPPING=1")

    def _tell(self, *assignments: str) -> None:
        problem = self._manager.notify(*assignments)
        if problem and problem != self._problem:
            self._log.warning(problem)
        self._problem = problem


@contextlib.contextmanager
def _holding(settings: Settings, *, dry_run: bool) -> Iterator[None]:
    paths = Paths(settings.root, dry_run)
    paths.make_folder()
    lock = RootLock(paths.lock)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def in_loop(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Like ``asyncio.run``, but name look-ups cannot hang the loop, and nobody waits for its default executor."""
    loop = LookupLoop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(main())
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def leave(code: int) -> int:
    """Return ``code`` for a normal exit, or exit right here if a thread hangs for which the interpreter would wait."""
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join(0.1)
            if thread.is_alive():
                sys.stdout.flush()
                os._exit(code)
    return code
