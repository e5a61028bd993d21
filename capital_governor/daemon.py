"""The governor's life: start-up, the loop, the end. ``run`` repeats the tick, ``once`` takes a single one."""

from __future__ import annotations

import asyncio
import contextlib
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
from capital_governor.governor import Governor
from capital_governor.messages import start_lines
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
        tick = asyncio.ensure_future(governor.guarded_tick())
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait([tick, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not tick.done():
            tick.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await tick
            return
        if beat is None and tick.result():
            beat = started
        if beat is None:
            wake = max(started + min(RETRY_SECONDS, interval_seconds), loop.time())
        else:
            wake = schedule(beat, interval_seconds, loop.time())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(wake):
                await stop.wait()


def run(settings: Settings, sink: logs.Sink, *, dry_run: bool = False) -> int:
    """Govern until SIGTERM or SIGINT; return the exit code.

    Raises:
        LockHeldError: another governor runs on this root.
        OSError: the runtime folder cannot be made.
    """
    with _holding(settings, dry_run=dry_run):
        return in_loop(lambda: _live(settings, sink, dry_run=dry_run))


def once(settings: Settings, sink: logs.Sink) -> Outcome:
    """Take one tick for good and return what came of it. Raises as ``run`` does."""

    async def single() -> Outcome:
        governor = Governor(settings, sink)
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
    governor = Governor(settings, sink, dry_run=dry_run)
    telegram = settings.telegram_bot_token is not None
    for line in start_lines(settings.rules(), time.time(), telegram=telegram, dry_run=dry_run):
        getattr(log, line.level)(line.text)
    try:
        governor.start()
        await repeat(governor, settings.interval_seconds, stop)
    finally:
        await governor.close()
        log.info("Capital Governor stopped")
    return 0


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
    """Like ``asyncio.run``, but without its wait for the default executor, which a hung name look-up makes endless."""
    loop = asyncio.new_event_loop()
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
