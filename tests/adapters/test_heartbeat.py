"""The heartbeat against real servers: one GET, bounded, counted, and its URL nowhere."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest

from capital_governor.adapters.heartbeat import DEADLINE_SECONDS, Heartbeat
from tests.rigs.patience import PATIENCE_SECONDS
from tests.rigs.raw_server import Script, Server, answer, answer_and_reset, hang, http, repeat

KEY: Final = "CANARY-0123456789abcdef"
PATH: Final = f"/ping/{KEY}?source=governor"


def beat(url: str, times: int = 1, *, deadline: float = PATIENCE_SECONDS) -> tuple[Heartbeat, list[str]]:
    """Beat so often, each time waiting for the end; return the heartbeat and what it told."""
    told: list[str] = []

    async def beating() -> Heartbeat:
        heart = Heartbeat(url, told.append, deadline_seconds=deadline)
        for _ in range(times):
            heart.beat()
            await heart.flush()
        return heart

    return asyncio.run(beating()), told


def test_a_beat_is_one_get_of_the_whole_url() -> None:
    """Path and query arrive as they are set, with GET, on a connection of its own each time."""
    with Server(answer(http(b"OK"))) as server:
        heart, told = beat(server.url + PATH, 2)
    assert [head.partition(b"\r\n")[0].decode() for head in server.heads] == [f"GET {PATH} HTTP/1.1"] * 2
    assert (heart.failures, heart.problem, told) == (0, "", ["", ""])


REDIRECT: Final = http(b"", f"Location: /elsewhere/{KEY}", status="302 Found")


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        (answer(http(b"", status="500 Internal Server Error")), "HTTP 500"),
        (answer(http(b"", status=f"404 No /ping/{KEY}")), "HTTP 404"),
        (answer(REDIRECT), "HTTP 302"),
        (hang, "no answer within 0.3 s"),
        (repeat(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", 0.01), "no answer within 0.3 s"),
        (answer(b"nonsense\r\n\r\n"), "no usable answer from the heartbeat's server"),
        (answer_and_reset(b""), "heartbeat's server"),
    ],
)
def test_a_failure_is_counted_and_said_without_the_url(script: Script, problem: str) -> None:
    """Whatever a server does, a beat ends as one failure, its URL unsaid and no redirect followed."""
    late = "no answer" in problem
    with Server(script) as server:
        heart, told = beat(server.url + PATH, 2, deadline=0.3 if late else PATIENCE_SECONDS)
        assert server.gave_up == 0
        assert len(server.heads) <= server.connections <= 2
        assert late or server.connections == 2
    assert heart.failures == 2
    assert problem in heart.problem
    assert told == [heart.problem] * 2
    assert KEY not in heart.problem
    assert "/ping" not in heart.problem


def test_a_server_that_is_not_there_is_a_failure_until_it_is() -> None:
    """A refused connection counts, and the next good beat ends the problem, not the count."""
    with Server(answer(http(b""))) as server:
        url = server.url
    heart, _ = beat(url + PATH)
    assert heart.problem == "connection refused by the heartbeat's server"
    with Server(answer(http(b"", status="503 Later")), answer(http(b"", status="204 No Content"))) as server:
        heart, told = beat(server.url, 2)
    assert (heart.failures, heart.problem, told) == (1, "", ["HTTP 503", ""])


def test_there_is_one_beat_at_a_time_and_nothing_waits_for_it() -> None:
    """While a beat hangs, beats return at once and ask nobody; the end does not wait for it either."""
    assert DEADLINE_SECONDS == 10

    async def beating(server: Server) -> None:
        heart = Heartbeat(server.url, lambda _: None, deadline_seconds=10 * PATIENCE_SECONDS)
        for _ in range(50):
            heart.beat()
            await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not server.connections:  # noqa: ASYNC110 - the event is in a thread, which cannot set an asyncio.Event
                await asyncio.sleep(0.01)
        for _ in range(50):
            heart.beat()
            await asyncio.sleep(0)
        await heart.close()
        assert heart.failures == 0

    with Server(hang) as server:
        asyncio.run(asyncio.wait_for(beating(server), 2 * PATIENCE_SECONDS))
        assert (server.connections, server.gave_up) == (1, 0)


def test_a_proxy_of_the_environment_is_not_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes to this machine goes there directly."""
    with Server(answer(http(b""))) as server, Server(answer(http(b""))) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        heart, _ = beat(server.url)
        assert (heart.failures, server.connections, proxy.connections) == (0, 1, 0)
