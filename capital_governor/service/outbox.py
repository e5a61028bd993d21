"""Sends the notices in the journal: at least once, in order, without delaying a cycle."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

from capital_governor.adapters.notifier import Delivery, Notifier, Refused, Retry, Sent
from capital_governor.journal.notices import Notice, NoticeState
from capital_governor.journal.protocol import Journal
from capital_governor.wording.log_events import Line, LogEvent

FIRST_WAIT_SECONDS: Final = 2.0
LONGEST_WAIT_SECONDS: Final = 300.0
LONGEST_WISH_SECONDS: Final = 7 * 86_400.0
"""The longest pause that Telegram may ask for. A notice that is due later was postponed by a wrong clock."""

T = TypeVar("T")


class OnDisk(Protocol):
    """Runs a call on the thread for files and journal."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]:
        """Return what ``work`` returns."""


class Outbox:
    """Sends notices one at a time, oldest first; while one waits for another attempt, the others wait too.

    Args:
        store: the journal with the notices.
        on_disk: runs a call to the journal on its thread.
        notifier: sends them.
        say: takes lines for the log.
        now: the clock, seconds since 1970 UTC.
        on_finished: awaited after a notice was sent or refused.
    """

    def __init__(
        self,
        store: Journal,
        on_disk: OnDisk,
        notifier: Notifier,
        *,
        say: Callable[[Line], object],
        now: Callable[[], float],
        on_finished: Callable[[], Awaitable[object]],
    ) -> None:
        self._store = store
        self._on_disk = on_disk
        self._notifier = notifier
        self._say = say
        self._now = now
        self._on_finished = on_finished
        self._work = asyncio.Event()
        self._trouble = ""

    def wake(self) -> None:
        """Look for new notices now."""
        self._work.set()

    async def run(self) -> None:
        """Send notices until cancelled. After an unexpected error, log it and go on after a pause."""
        while True:
            try:
                while True:
                    await self._step()
            except Exception:  # noqa: BLE001 - the next notice may well be sent
                self._say(LogEvent.OUTBOX_FAILED.line(seconds=LONGEST_WAIT_SECONDS))
                await asyncio.sleep(LONGEST_WAIT_SECONDS)

    async def flush(self) -> None:
        """Send what is due; return when nothing is due any more, or when a notice could not be sent."""
        while (notice := await self._next()) is not None and self._wait(notice) <= 0:
            if not await self._deliver(notice):
                return

    async def _step(self) -> None:
        self._work.clear()
        notice = await self._next()
        if notice is not None and (wait := self._wait(notice)) <= 0:
            await self._deliver(notice)
            return
        # If the clock is set, a notice must not wait for years: look again after the longest wait.
        within = None if notice is None else min(wait, LONGEST_WAIT_SECONDS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._work.wait()

    def _wait(self, notice: Notice) -> float:
        wait = notice.due_at - self._now()
        return 0.0 if wait > LONGEST_WISH_SECONDS else wait

    async def _next(self) -> Notice | None:
        return next(iter(await self._on_disk(lambda: self._store.notices(NoticeState.PENDING, 1))), None)

    async def _deliver(self, notice: Notice) -> bool:
        """Send a notice and store the result; return whether it needs no further attempt."""
        delivery = await self._notifier.send(notice.text)
        after = self._after(notice, delivery)
        await self._on_disk(lambda: self._store.put_notices((after,)))
        self._tell(after, delivery)
        if after.state is NoticeState.PENDING:
            return False
        await self._on_finished()
        return True

    def _after(self, notice: Notice, delivery: Delivery) -> Notice:
        match delivery:
            case Sent():
                return notice.sent()
            case Refused(detail):
                return notice.refused(detail)
            case Retry(detail, wish):
                wait = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0 ** min(notice.attempts, 10))
                if wish is not None:
                    wait = min(max(wait, wish), LONGEST_WISH_SECONDS)
                return notice.postponed(self._now() + wait, detail)

    def _tell(self, after: Notice, delivery: Delivery) -> None:
        if isinstance(delivery, Sent):
            self._say(LogEvent.NOTICE_SENT.line())
            self._trouble = ""
        elif isinstance(delivery, Refused):
            self._say(LogEvent.NOTICE_REFUSED.line(problem=after.detail))
        elif after.detail != self._trouble:
            wait = after.due_at - self._now()
            self._say(LogEvent.NOTICE_DELAYED.line(seconds=wait, problem=after.detail))
            self._trouble = after.detail
