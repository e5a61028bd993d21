"""The outbox in virtual time: at least once, in order, patient, and stopped by nothing."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from capital_governor.adapters.notifier import Delivery, Refused, Retry, Sent
from capital_governor.journal.notices import Notice, NoticeState, new_notice
from capital_governor.journal.sqlite.sqlite_driver import in_memory
from capital_governor.service.outbox import LONGEST_WISH_SECONDS, Outbox
from tests.rigs.virtual_time import VirtualLoop

T = TypeVar("T")
NOW = 1_762_207_200.0


class Post:
    """An outbox over a journal in memory, a script of outcomes, and a clock that moves while everybody sleeps."""

    def __init__(self, *outcomes: Delivery | Exception) -> None:
        self.loop = VirtualLoop()
        self.journal = in_memory()
        self.outcomes = list(outcomes)
        self.sent: list[tuple[float, str]] = []
        self.said: list[tuple[str, str]] = []
        self.settled = 0
        self.jump = 0.0
        self.outbox: Outbox | None = None

    def now(self) -> float:
        return NOW + self.jump + self.loop.time()

    async def send(self, text: str) -> Delivery:
        self.sent.append((round(self.loop.time(), 3), text))
        outcome = self.outcomes.pop(0) if self.outcomes else Sent()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def close(self) -> None:
        """Nothing is open."""

    def add(self, *texts: str) -> None:
        self.journal.put_notices([new_notice(text, self.now()) for text in texts])
        if self.outbox is not None:
            self.outbox.wake()

    def run(self, seconds: float, meanwhile: Callable[[], Awaitable[object]] | None = None) -> None:
        """Let so much time pass."""

        async def on_disk(work: Callable[[], T]) -> T:
            return work()

        async def settled() -> None:
            self.settled += 1

        async def life() -> None:
            self.outbox = Outbox(
                self.journal,
                on_disk,
                self,
                say=lambda line: self.said.append((line.level, line.text)),
                now=self.now,
                on_finished=settled,
            )
            task = asyncio.create_task(self.outbox.run())
            if meanwhile is not None:
                await meanwhile()
            await asyncio.sleep(seconds)
            task.cancel()
            await asyncio.wait([task])

        try:
            self.loop.run_until_complete(life())
        finally:
            self.loop.close()


def test_notices_go_out_in_order_and_once() -> None:
    """What waits is sent oldest first, and what is added later when it comes."""
    post = Post()
    post.add("one", "two")

    async def later() -> None:
        await asyncio.sleep(7)
        post.add("three")

    post.run(1, later)
    assert post.sent == [(0.0, "one"), (0.0, "two"), (7.0, "three")]
    assert post.journal.backlog().pending == 0
    assert post.settled == 3
    assert post.said == [("info", "Telegram notification sent")] * 3


def test_each_new_trouble_is_told_once() -> None:
    """While a message cannot be sent the log has each reason when it begins, and not again."""
    post = Post(Retry("no such proxy"), Retry("no such proxy"), Retry("reset"), Retry("reset"), Sent(), Retry("reset"))
    post.add("one", "two")
    post.run(1_000)
    assert [text.partition(": ")[2] for level, text in post.said if level == "warning"] == [
        *("no such proxy", "reset", "reset"),
    ]


def test_failures_are_waited_out_twice_as_long_each_time_up_to_five_minutes() -> None:
    """2, 4, 8 ... 256, then 300 s lie between attempts; the next notice waits behind the first; said once."""
    post = Post(*[Retry("reset")] * 11)
    post.add("one", "two")
    post.run(5_000)
    times = [at for at, text in post.sent if text == "one"]
    assert [after - before for before, after in itertools.pairwise(times)] == [
        *(2, 4, 8, 16, 32, 64, 128, 256),
        *(300, 300, 300),
    ]
    assert post.sent[-1] == (times[-1], "two")
    assert [text for level, text in post.said if level == "warning"] == [
        "Telegram notification delayed, trying again in 2 s: reset"
    ]


@pytest.mark.parametrize(
    ("wish", "waits"),
    [(30.0, 30.0), (86_400.0, 86_400.0), (0.0, 2.0), (-5.0, 2.0), (1e12, LONGEST_WISH_SECONDS)],
)
def test_what_the_other_side_asks_for_is_honoured(wish: float, waits: float) -> None:
    """A pause that is asked for is kept to the second, but never less than the own wait nor more than a week."""
    post = Post(Retry("Telegram asks for a pause", wish))
    post.add("one")
    post.run(LONGEST_WISH_SECONDS + 10)
    assert [at for at, _ in post.sent] == [0.0, waits]


def test_waking_does_not_shorten_a_pause() -> None:
    """New notices during a pause that was asked for wait with the others."""
    post = Post(Retry("pause", 100.0))
    post.add("one")

    async def more() -> None:
        for number in range(5):
            await asyncio.sleep(10)
            post.add(f"more {number}")

    post.run(100, more)
    assert [at for at, _ in post.sent] == [0.0] + [100.0] * 6


def test_a_refused_notice_does_not_stand_in_the_way() -> None:
    """What is refused for good becomes a dead letter at once, and the next one is sent."""
    post = Post(Refused("chat not found"), Sent())
    post.add("one", "two")
    post.run(1)
    assert [text for _, text in post.sent] == ["one", "two"]
    (dead,) = post.journal.notices(NoticeState.REFUSED, 9)
    assert (dead.text, dead.state, dead.detail) == ("one", NoticeState.REFUSED, "chat not found")
    assert ("error", "Telegram refuses a notification for good, `status` shows it: chat not found") in post.said


def test_an_unexpected_error_is_logged_and_the_work_goes_on() -> None:
    """A fault of the program costs a pause, and the notice is tried again."""
    post = Post(ValueError("odd"))
    post.add("one")
    post.run(400)
    assert [at for at, _ in post.sent] == [0.0, 300.0]
    assert post.said[0][0] == "exception"
    assert post.journal.backlog().pending == 0


def test_a_clock_that_was_wrong_delays_nothing_for_years() -> None:
    """A notice that was postponed by a clock years ahead is due."""
    post = Post()
    post.journal.put_notices((new_notice("one", NOW).postponed(NOW + 1e8, "reset"),))
    post.run(1)
    assert [text for _, text in post.sent] == ["one"]


def test_a_clock_that_is_set_is_seen_within_five_minutes() -> None:
    """The wait goes by the clock on the wall, which is looked at again and again."""
    post = Post(Retry("pause", 86_400.0))
    post.add("one")

    async def jump() -> None:
        await asyncio.sleep(10)
        post.jump = 90_000.0

    post.run(400, jump)
    assert [at for at, _ in post.sent] == [0.0, 300.0]


def test_a_flush_ends_with_the_first_failure_or_with_nothing_left() -> None:
    """What a command leaves behind is what could not be delivered."""
    post = Post(Sent(), Retry("reset"))
    post.add("one", "two", "three")

    async def flush() -> None:
        await Outbox(post.journal, _at_once, post, say=lambda _: None, now=post.now, on_finished=_nothing).flush()

    try:
        post.loop.run_until_complete(flush())
    finally:
        post.loop.close()
    left: list[Notice] = post.journal.notices(NoticeState.PENDING, 9)
    assert [(notice.text, notice.attempts) for notice in left] == [("two", 1), ("three", 0)]


async def _at_once(work: Callable[[], T]) -> T:
    return work()


async def _nothing() -> None:
    pass
