"""P15: whatever the dashboard sends or does not send, a fetch ends within its deadline and its byte cap."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tests.adapters.hostile import Script, Server, answer, answer_and_hang, answer_and_reset, hang, http, repeat
from tests.promises.ledger import REPOSITORY, Account, require

DEADLINE_SECONDS: Final = 0.5
SLACK_SECONDS: Final = 1.5
"""What a busy machine may take to notice; the mutant without a deadline takes ten times the deadline."""
CAP_BYTES: Final = 1_000_000
ROOM_BYTES: Final = 40_000_000
"""What a process may grow over all fetches: caps, buffers and the libraries' own; a mutant takes far more."""
OK: Final = b"HTTP/1.1 200 OK\r\n"
CHUNKED: Final = OK + b"Transfer-Encoding: chunked\r\n\r\n"
BOMB: Final = gzip.compress(gzip.compress(bytes(200_000_000), 1), 9)

SCRIPTS: Final[Mapping[str, Script]] = {
    "silence": hang,
    "body dripped": repeat(OK + b"Content-Length: 99999\r\n\r\n", b"x", 0.02),
    "headers dripped": repeat(OK, b"A: b\r\n", 0.02),
    "endless headers": repeat(OK, b"A: b\r\n" * 1000),
    "endless 1xx": repeat(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
    "endless body": repeat(OK + b"\r\n", b"x" * 65_536),
    "endless chunks": repeat(CHUNKED, b"10000\r\n" + b"x" * 65_536 + b"\r\n"),
    "chunks of a byte": repeat(CHUNKED, b"1\r\nx\r\n" * 5000),
    "gzip bomb": answer(http(BOMB, "Content-Encoding: gzip, gzip")),
    "wrong length": answer_and_hang(http(b"[]")[:-1]),
    "reset": answer_and_reset(OK),
    "TLS alert": answer(b"\x15\x03\x01\x00\x02\x02\x28"),
}

FETCH: Final = """
import asyncio, json, pathlib, re, sys, time
from capital_governor.adapters import dashboard
from capital_governor.core.model import Refusal

exec(sys.argv[1])
deadline, cap = float(sys.argv[2]), int(sys.argv[3])


def peak():
    # Not ru_maxrss, which a process inherits from the one that started it.
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())[1]) * 1024


async def main():
    before, seconds, refused = peak(), [], 0
    for url in sys.argv[4:]:
        started = time.monotonic()
        try:
            async with asyncio.timeout(10 * deadline):  # for mutants
                found = await dashboard.Dashboard(url, deadline, cap).fetch()
        except TimeoutError:
            found = b""
        seconds.append(time.monotonic() - started)
        refused += isinstance(found, Refusal)
    print(json.dumps({"seconds": seconds, "refused": refused, "before": before, "peak": peak()}))


asyncio.run(main())
"""
NO_DEADLINE: Final = """
real = asyncio.timeout
class Endless:
    def timeout(self, _):
        return real(None)
    def __getattr__(self, name):
        return getattr(asyncio, name)
dashboard.asyncio = Endless()
"""
NO_CAP: Final = """
async def whole(self, response):
    return b"".join([chunk async for chunk in response.aiter_raw()])
dashboard.Dashboard._body = whole
"""
UNPACKS: Final = """
async def unpacked(self, response):
    return await response.aread()
dashboard.Dashboard._body = unpacked
"""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The longest fetch and the growth of the process that fetched."""

    longest_seconds: float
    grown_bytes: int
    peak_bytes: int


def fetch_all(scripts: Mapping[str, Script], prelude: str = "") -> Bounds:
    """Fetch from each of these servers in a process of its own, which has to stay small and come back each time."""
    servers = [Server(script) for script in scripts.values()]
    for server in servers:
        server.__enter__()
    try:
        words = [prelude, str(DEADLINE_SECONDS), str(CAP_BYTES), *(server.url for server in servers)]
        ended = subprocess.run(
            [sys.executable, "-c", FETCH, *words],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    finally:
        for server in servers:
            server.__exit__(None, None, None)
    assert ended.returncode == 0, ended.stderr
    assert all(server.connections for server in servers), "a server was never asked"
    said = json.loads(ended.stdout)
    for name, seconds in zip(scripts, said["seconds"], strict=True):
        require(seconds < DEADLINE_SECONDS + SLACK_SECONDS, f"{name} took {seconds:.1f} s")
    grown = said["peak"] - said["before"]
    require(grown < ROOM_BYTES, f"the process grew by {grown / 1e6:.0f} MB")
    require(said["refused"] == len(scripts), f"{len(scripts) - said['refused']} answers were taken for good")
    return Bounds(max(said["seconds"]), grown, said["peak"])


def test_p15_a_fetch_is_bounded_in_time_and_memory(promise: Account) -> None:
    """Twelve hostile servers are each left within the deadline, by a process that hardly grows."""
    seen = fetch_all(SCRIPTS)
    promise.figure(
        f"{len(SCRIPTS)} hostile servers, deadline {DEADLINE_SECONDS} s: longest {seen.longest_seconds:.2f} s,"
        f" peak RSS {seen.peak_bytes / 1e6:.0f} MB (grown by {seen.grown_bytes / 1e6:.0f} MB)"
    )
    for name, prelude, met in (
        ("no deadline", NO_DEADLINE, "body dripped"),
        ("no byte cap", NO_CAP, "endless body"),
        ("unpacks what is encoded", UNPACKS, "gzip bomb"),
    ):
        with promise.mutant(name):
            fetch_all({met: SCRIPTS[met]}, prelude)
