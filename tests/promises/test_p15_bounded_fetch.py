"""P15: whatever the dashboard sends or does not send, a fetch ends within its deadline and its byte cap."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from tests.promises.ledger import REPOSITORY, Account, require
from tests.rigs.patience import PATIENCE_SECONDS
from tests.rigs.raw_server import (
    Connection,
    Script,
    Server,
    answer,
    answer_and_hang,
    answer_and_reset,
    hang,
    http,
    repeat,
    stay,
)

DEADLINE_SECONDS: Final = 0.5
MUTANT_PATIENCE_SECONDS: Final = 2.0
"""How long a server goes on with a mutant that may never leave; with the product it goes on until nobody would wait."""
CAP_BYTES: Final = 1_000_000
ROOM_BYTES: Final = 40_000_000
"""What a process may grow over all fetches: caps, buffers and the libraries' own; a mutant takes far more."""
OK: Final = b"HTTP/1.1 200 OK\r\n"
CHUNKED: Final = OK + b"Transfer-Encoding: chunked\r\n\r\n"
BOMB: Final = gzip.compress(gzip.compress(bytes(200_000_000), 1), 9)


def endless_body(connection: Connection) -> None:
    """Send a body without a length, two hundred times the cap, and do not end it."""
    connection.read_head()
    connection.send(OK + b"\r\n")
    for _ in range(200 * CAP_BYTES // 65_536):
        connection.send(b"x" * 65_536)
    stay(connection)


SCRIPTS: Final[Mapping[str, Script]] = {
    "silence": hang,
    "body dripped": repeat(OK + b"Content-Length: 99999\r\n\r\n", b"x", 0.02),
    "headers dripped": repeat(OK, b"A: b\r\n", 0.02),
    "endless headers": repeat(OK, b"A: b\r\n" * 1000),
    "endless 1xx": repeat(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
    "endless body": endless_body,
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
        found = await dashboard.Dashboard(url, deadline, cap).fetch()
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


def fetch_all(
    scripts: Mapping[str, Script],
    prelude: str = "",
    *,
    patience_seconds: float = PATIENCE_SECONDS,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> Bounds:
    """Fetch from each of these servers in a process of its own, which has to stay small and leave each by itself.

    Servers that never end go on for the whole of ``patience_seconds``, many times the deadline: on no machine is it the
    server that ends a fetch of the product.
    """
    servers = [Server(script, patience_seconds=patience_seconds) for script in scripts.values()]
    for server in servers:
        server.__enter__()
    try:
        words = [prelude, str(deadline_seconds), str(CAP_BYTES), *(server.url for server in servers)]
        ended = subprocess.run(
            [sys.executable, "-c", FETCH, *words],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
            timeout=len(scripts) * PATIENCE_SECONDS,
        )
    finally:
        for server in servers:
            server.__exit__(None, None, None)
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)
    for name, server in zip(scripts, servers, strict=True):
        require(server.gave_up == 0, f"{name}: it was the server that had to hang up, after {patience_seconds:.0f} s")
    if not all(server.connections for server in servers):  # the machine was so busy that the deadline came first
        return fetch_all(scripts, prelude, patience_seconds=patience_seconds, deadline_seconds=4 * deadline_seconds)
    grown = said["peak"] - said["before"]
    require(grown < ROOM_BYTES, f"the process grew by {grown / 1e6:.0f} MB")
    require(said["refused"] == len(scripts), f"{len(scripts) - said['refused']} answers were taken for good")
    return Bounds(max(said["seconds"]), grown, said["peak"])


def test_p15_a_fetch_is_bounded_in_time_and_memory(promise: Account) -> None:
    """Twelve hostile servers, of which most never end, are each left by a process that hardly grows."""
    seen = fetch_all(SCRIPTS)
    promise.figure(
        f"{len(SCRIPTS)} hostile servers, deadline {DEADLINE_SECONDS} s: longest {seen.longest_seconds:.2f} s,"
        f" peak RSS {seen.peak_bytes / 1e6:.0f} MB (grown by {seen.grown_bytes / 1e6:.0f} MB)"
    )
    with ThreadPoolExecutor() as pool:
        ends = {
            name: pool.submit(
                fetch_all,
                {met: SCRIPTS[met]},
                prelude,
                patience_seconds=MUTANT_PATIENCE_SECONDS,
                # With a long deadline only what the mutant lacks could end the fetch before the server does.
                deadline_seconds=PATIENCE_SECONDS,
            )
            for name, prelude, met in (
                ("no deadline", NO_DEADLINE, "body dripped"),
                ("no byte cap", NO_CAP, "endless body"),
                ("unpacks what is encoded", UNPACKS, "gzip bomb"),
            )
        }
    for name, end in ends.items():
        with promise.mutant(name):
            end.result()
