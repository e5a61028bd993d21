"""The hive as a server: the state files of a root, over HTTP on loopback."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from capital_governor.adapters.line_writer import LineWriter
from capital_governor.hive.metrics import payload
from capital_governor.hive.past_file import BUSY, LONGEST_SECONDS, HistoryFile
from capital_governor.hive.reported_decisions import FOLDER
from capital_governor.hive.sampler import Sampler
from capital_governor.hive.state_files import (
    PERFORMANCE,
    REGIME,
    StateFile,
    StateFiles,
    Watch,
    read_all,
    read_state_file,
)

HOST: Final = "127.0.0.1"
OWN_HOSTS: Final = frozenset({"localhost", HOST})
GRACE_SECONDS: Final = 2
"""How long the end waits for answers that are being sent."""

HTTP_OK: Final = 200
UNAVAILABLE: Final = 503


class Log(logging.Handler):
    """The hive's log on standard error, with its libraries' records from WARNING on; written on a thread."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        # Without standard error there is no log.
        self._writer = None if sys.stderr is None else LineWriter(sys.stderr.fileno(), _lost, encoding="utf-8")
        logging.getLogger().addHandler(self)
        logging.captureWarnings(capture=True)

    def say(self, sentence: str) -> None:
        """Write one line."""
        if self._writer is not None:
            self._writer.write(_line(sentence))

    def flush(self) -> None:
        """Wait a moment until all lines are written."""
        if self._writer is not None:
            self._writer.flush()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record of a library, with its traceback."""
        for sentence in self.format(record).splitlines():
            self.say(sentence)


def _line(sentence: str) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} [hive] {sentence}\n"


def _lost(count: int, why: str) -> str:
    return _line(f"lines of this log that were lost: {count} ({why})")


class HiveError(Exception):
    """The hive cannot serve with these settings; the text is one sentence with the remedy."""


@dataclass(slots=True)
class Hive:
    """Answers requests; each answer is made from the files and the history.

    Args:
        root: the folder with ``state/`` and ``runtime/``.
        capital: in account currency.
        say: takes a sentence for the log.
        clock: seconds since 1970 UTC.
    """

    root: Path
    capital: float
    say: Callable[[str], object]
    clock: Callable[[], float] = time.time
    _watch: Watch = field(default_factory=Watch)
    _memory: HistoryFile = field(init=False)
    _warned: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._memory = HistoryFile(self.root, self.say)

    def app(self) -> Starlette:
        """Return the application."""
        pages = {
            "/status": self.status,
            "/meta/metrics": self.metrics,
            "/meta/performance": self.performance,
            "/meta/regime": self.regime,
        }
        return Starlette(routes=[Route(path, page, methods=["GET"]) for path, page in pages.items()])

    # No page is a coroutine: Starlette runs them on threads, since they read files.

    def status(self, _: Request) -> Response:
        """Answer 200: the hive is up, whatever is in the files."""
        files = read_all(self.root)
        found = {path: file.problem or "read" for path, file in files.by_path.items()}
        found[str(FOLDER)] = self._memory.reported.problem or "read"
        return _answer(HTTP_OK, {"status": "up", "source": "capital_governor_hive", "sources": found})

    def metrics(self, _: Request) -> Response:
        """Answer the Phase 5600 payload, or 503 and why there is none."""
        now = self.clock()
        with self._memory.look(lambda: read_all(self.root), now) as (files, past, warnings):
            for sentence in self._watch.news(files):
                self.say(sentence)
            if BUSY in warnings:
                self._warn([BUSY])
                return _answer(UNAVAILABLE, {"error": BUSY})
            document = payload(files, now, self.capital, past, warnings, self._memory.reported)
            self._warn(document.get("warnings", ()))
        return _answer(UNAVAILABLE if "error" in document else HTTP_OK, document)

    def sample(self) -> float:
        """Add the decisions to the history; return in how many seconds to do so again."""
        with self._memory.look(lambda: StateFiles(performance=read_state_file(self.root / PERFORMANCE)), self.clock()):
            return self._memory.seconds_to_next()

    def _warn(self, warnings: Iterable[str]) -> None:
        """Log each new warning; one with other figures only is not new."""
        kinds = {re.sub(r"[\dT:.+-]+", "#", warning): warning for warning in warnings}
        for kind in kinds.keys() - self._warned:
            self.say(f"warning: {kinds[kind]}")
        self._warned = set(kinds)

    def performance(self, _: Request) -> Response:
        """Answer the content of ``state/performance_attribution.json``, or 503."""
        return _content(PERFORMANCE, read_state_file(self.root / PERFORMANCE))

    def regime(self, _: Request) -> Response:
        """Answer the content of ``runtime/market_regime.json``, or 503."""
        return _content(REGIME, read_state_file(self.root / REGIME))


def address(dashboard_url: str) -> int:
    """Return the port of this machine in a dashboard's URL.

    Raises:
        HiveError: the URL is of another machine, is https or has a path.
    """
    parts = urlsplit(dashboard_url)
    if parts.hostname not in OWN_HOSTS or parts.scheme != "http" or parts.path.strip("/"):
        raise HiveError(
            f"NEOLIGHT_DASHBOARD_URL is {dashboard_url}, and the hive serves only http://{HOST}:PORT: set it to such a"
            " URL, or leave the hive off"
        )
    return parts.port or 80


def bind(port: int, *, others: bool = False) -> socket.socket:
    """Return a socket that listens on 127.0.0.1; the port must be free.

    Args:
        port: 0 for any free one.
        others: also check whether a server answers at ::1, which clients try first for "localhost".

    Raises:
        HiveError: the port is taken, or this user may not use it.
    """
    taken = f"port {port} is taken: if that is a dashboard, set CAPITAL_GOVERNOR_HIVE=0 and use it; else set another\
 port in NEOLIGHT_DASHBOARD_URL"
    if others and _answers("::1", port):
        raise HiveError(taken)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Allows a restart to use the port while old connections time out, but not a port on which a server listens.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise HiveError(taken) from None
        problem = f"cannot listen at {HOST}:{port} ({error.strerror}): set another port in NEOLIGHT_DASHBOARD_URL"
        raise HiveError(problem) from None
    return listener


def serve(root: Path, dashboard_url: str, capital: float) -> None:
    """Serve until SIGTERM or SIGINT. It returns even if a thread hangs.

    Args:
        root: the folder with ``state/`` and ``runtime/``.
        dashboard_url: the URL that the governor asks.
        capital: in account currency.

    Raises:
        HiveError: it cannot serve there.
    """
    listener = bind(address(dashboard_url), others=urlsplit(dashboard_url).hostname == "localhost")
    log = Log()
    say = log.say
    hive = Hive(root, capital, say)
    config = uvicorn.Config(
        hive.app(),
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=100,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = uvicorn.Server(config)
    with contextlib.closing(listener), _ended_by_signals(server):
        say(f"serving {root} at http://{HOST}:{listener.getsockname()[1]}/meta/metrics")
        with Sampler(hive.sample, say, LONGEST_SECONDS):
            server.run(sockets=[listener])
    say("stopped")
    log.flush()


@contextlib.contextmanager
def _ended_by_signals(server: uvicorn.Server) -> Iterator[None]:
    """Let SIGTERM and SIGINT end the server also before it runs, and let it handle both itself at its end.

    uvicorn handles them only while it runs, and then raises them again, which would kill the process.
    """
    before = {number: signal.signal(number, server.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _content(path: Path, file: StateFile) -> Response:
    if file.document is None:
        return _answer(UNAVAILABLE, {"error": f"{path}: {file.problem}"})
    return _answer(HTTP_OK, file.document)


def _answer(status: int, document: dict[str, Any]) -> Response:
    # ASCII, so that a lone surrogate from a file is escaped. No NaN, which is not JSON.
    return Response(json.dumps(document, allow_nan=False), status, media_type="application/json")


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False
