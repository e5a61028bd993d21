"""Name look-ups that hang: they hold up no other name, no loop, and take one thread a name."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import pytest

from capital_governor.adapters.name_lookups import LookupLoop
from tests.rigs.patience import PATIENCE_SECONDS, wait_until

T = TypeVar("T")


class Resolver:
    """Stands for the C library's: hangs for some names until the test is over."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.asked: list[str] = []
        self._real = socket.getaddrinfo

    def __call__(self, host: str, *rest: Any) -> Any:
        self.asked.append(host)
        if host.startswith("hangs"):
            self.release.wait(PATIENCE_SECONDS)
            raise socket.gaierror(socket.EAI_AGAIN, "try again")
        if host == "absent":
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return self._real("127.0.0.1", *rest)


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    made = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", made)
    yield made
    made.release.set()
    for thread in threading.enumerate():
        if thread.name == "lookup":
            thread.join(PATIENCE_SECONDS)


def run(main: Coroutine[Any, Any, T]) -> T:
    loop = LookupLoop()
    try:
        return loop.run_until_complete(asyncio.wait_for(main, PATIENCE_SECONDS))
    finally:
        loop.close()


async def look_up(host: str, seconds: float = 5.0) -> list[Any]:
    async with asyncio.timeout(seconds):
        return await asyncio.get_running_loop().getaddrinfo(host, 80, type=socket.SOCK_STREAM)


def test_answers_and_failures_are_those_of_the_library(resolver: Resolver) -> None:
    """A name's addresses come back, and a failure is raised where they were asked for, each time anew."""

    async def main() -> None:
        for _ in range(2):
            ((family, kind, _, _, address),) = await look_up("here")
            assert (family, kind, address) == (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 80))
            with pytest.raises(socket.gaierror, match="unknown"):
                await look_up("absent")

    run(main())
    assert resolver.asked == ["here", "absent"] * 2


def test_a_hung_name_takes_one_thread_and_holds_up_no_other(resolver: Resolver) -> None:
    """However often a name that hangs is asked for, others are answered; each that hangs has one thread."""

    async def main() -> None:
        for _ in range(20):
            for host in ("hangs-one", "hangs-two"):
                with pytest.raises(TimeoutError):
                    await look_up(host, 0.005)
        assert len(await look_up("here")) == 1

    run(main())
    assert resolver.asked == ["hangs-one", "hangs-two", "here"]
    wait_until(lambda: sum(thread.name == "lookup" and thread.daemon for thread in threading.enumerate()) == 2)


def test_a_name_that_no_thread_could_be_had_for_is_looked_up_the_next_time(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system out of threads fails this look-up at once, and no later one waits for it."""
    start, refused = threading.Thread.start, [True]

    def scarce(thread: threading.Thread) -> None:
        if refused:
            refused.clear()
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", scarce)

    async def main() -> None:
        with pytest.raises(OSError, match="can't start new thread"):
            await look_up("localhost")
        assert (await look_up("localhost"))[0][4][0] == "127.0.0.1"

    run(main())
    assert resolver.asked == ["localhost"]


def test_one_that_gives_up_leaves_the_answer_to_the_others(resolver: Resolver) -> None:
    """Two ask for the same name; the first one's deadline does not end the look-up for the second."""

    async def main() -> None:
        second = asyncio.ensure_future(look_up("hangs"))
        with pytest.raises(TimeoutError):
            await look_up("hangs", 0.02)
        resolver.release.set()
        with pytest.raises(socket.gaierror, match="try again"):
            await second

    run(main())
    assert resolver.asked == ["hangs"]


def test_an_answer_after_the_end_disturbs_nobody(resolver: Resolver, capsys: pytest.CaptureFixture[str]) -> None:
    """A look-up that ends after its loop has closed says nothing."""

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await look_up("hangs", 0.01)

    run(main())
    resolver.release.set()
    for thread in threading.enumerate():
        if thread.name == "lookup":
            thread.join(PATIENCE_SECONDS)
    assert capsys.readouterr().err == ""
