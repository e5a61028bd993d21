"""What a run says, and how often: each thing once, through a real dashboard, journal, status file and log."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gzip
import io
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Self, cast

import pytest
import structlog

from capital_governor.adapters import atomic_replacement, logs
from capital_governor.adapters.name_lookups import LookupLoop
from capital_governor.contracts.payload import parse
from capital_governor.core.decision import score_of
from capital_governor.core.model import Refusal, Rules
from capital_governor.core.orders import OrderKind
from capital_governor.core.reason import Reason
from capital_governor.journal.sqlite.sqlite_driver import open_sqlite
from capital_governor.service import daemon
from capital_governor.service.daemon import repeat as govern
from capital_governor.service.daemon import schedule
from capital_governor.service.event_log import DEGRADED_AFTER, EventLog
from capital_governor.service.governor import Governor, open_governor
from capital_governor.service.standing import Outcome
from capital_governor.wording.log_events import log_text
from capital_governor.wording.reason_texts import message
from tests.rigs.builders import snapshot
from tests.rigs.cycle_rig import CycleRig, footprint, settings_of
from tests.rigs.dashboard import FLEET, Dashboard, fixed, fresh, payload, record
from tests.rigs.order_desk import give
from tests.rigs.patience import PATIENCE_SECONDS
from tests.rigs.raw_server import (
    Connection,
    Script,
    answer,
    answer_and_hang,
    answer_and_reset,
    full_backlog,
    hang,
    http,
    repeat,
)

DEADLINE: Final = 0.4
"""For what is to be left at it; all else has the time that it needs."""
CAP: Final = 2 * 1024 * 1024
GONE: Final = Refusal(Reason.FETCH_FAILED, "connection refused")
HELD: Final = "maintaining current allocations"


@pytest.fixture(autouse=True)
def _undo() -> Iterator[None]:
    """Leave the process's logging as it was found."""
    yield
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, logs.Bridge)]:
        root.removeHandler(handler)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def test_a_publication_that_the_end_overtakes_is_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal in the middle of a publication gives up the tick, not the publication: the log tells of it too."""
    entered, go_on, real = threading.Event(), threading.Event(), atomic_replacement.replace_all

    def held_up(*arguments: Any, **more: Any) -> Any:
        entered.set()
        assert go_on.wait(PATIENCE_SECONDS)
        return real(*arguments, **more)

    async def overtaken(governor: Governor) -> None:
        tick = asyncio.ensure_future(governor.guarded_tick())
        assert await asyncio.to_thread(entered.wait, PATIENCE_SECONDS)
        tick.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await tick
        go_on.set()

    monkeypatch.setattr(atomic_replacement, "replace_all", held_up)
    monkeypatch.setattr("capital_governor.service.governor.GRACE_SECONDS", PATIENCE_SECONDS)
    with Dashboard() as dashboard, Run(tmp_path, dashboard.url) as run:
        run._loop.run_until_complete(overtaken(run.governor))
        assert not [line for line in run.lines() if "Reallocation triggered" in line]
    told = [line.partition("INFO    [capital_governor] ")[2].partition(" (")[0] for line in run.lines()]
    assert told.count("Reallocation triggered") == 1
    assert len([line for line in run.lines() if "Allocations saved" in line]) == 1
    assert json.loads((tmp_path / "runtime" / "capital_governor_status.json").read_bytes())["generation"] == 1


class Run:
    """A whole governor against a dashboard, tick by tick, with its log in memory."""

    def __init__(self, root: Path, url: str, **own: object) -> None:
        self.root = root
        limits = {"FETCH_DEADLINE": PATIENCE_SECONDS, "FETCH_MAX_BYTES": CAP}
        # The dashboard's address has no prefix, so it cannot be told like the others.
        base = settings_of(root, **(limits | own))
        self.settings = base.model_copy(update={"dashboard_url": url})
        self.log = io.StringIO()
        self.sink = logs.configure(
            level="INFO", fmt="console", words=log_text, secrets=("hunter2-secret",), stream=self.log, color=False
        )
        self._loop = LookupLoop()  # as a running governor has it
        self.governor = self._loop.run_until_complete(open_governor(self.settings, self.sink))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run_until_complete(self.governor.close())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def tick(self) -> bool:
        """One tick; whether it had a usable payload."""
        return self._loop.run_until_complete(self.governor.guarded_tick())

    def allow(self, seconds: float) -> None:
        """Let the fetches that follow have this deadline."""
        self.governor._dashboard._deadline_seconds = seconds

    def govern(self, interval_seconds: float, *before: Callable[[], object]) -> list[float]:
        """Run the real loop for as many cycles, calling each before its cycle, and return when they began."""
        stop, begun, governor = asyncio.Event(), list[float](), self.governor

        class Watched:
            async def guarded_tick(self) -> bool:
                begun.append(time.monotonic())
                before[len(begun) - 1]()
                if len(begun) < len(before):
                    return await governor.guarded_tick()
                stop.set()
                return True

        self._loop.run_until_complete(govern(cast("Governor", Watched()), interval_seconds, stop))
        return begun

    def lines(self) -> list[str]:
        return self.log.getvalue().splitlines()

    def files(self) -> list[tuple[bytes, int, int] | None]:
        runtime = self.root / "runtime"
        return footprint(runtime / "capital_governor_allocations.json", runtime / "allocations_override.json")

    def shares(self) -> dict[str, float]:
        found: dict[str, float] = json.loads(
            (self.root / "runtime" / "capital_governor_allocations.json").read_bytes()
        )["allocations"]
        return found

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.root / "runtime" / "capital_governor_status.json").read_bytes())
        return found

    def reasons(self) -> list[Reason]:
        journal = open_sqlite(self.settings.journal_path, read_only=True)
        try:
            return [entry.reason for entry in journal.entries("live")]
        finally:
            journal.close()


# --- inputs that hold -------------------------------------------------------------------------------------------------


def spoilt(change: Callable[[dict[str, Any]], object]) -> Script:
    return fresh(change=change)


def text(body: bytes, *headers: str, status: str = "200 OK") -> Script:
    return fixed(body, *headers, status=status)


GOOD: Final = json.dumps(payload()).encode()
FAILED, REFUSED = Reason.FETCH_FAILED, Reason.PAYLOAD_REFUSED
CHUNKED: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
DRIP: Final = repeat(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b"x", 0.05)
HOLDS: Final[dict[str, tuple[Script, Reason]]] = {
    # transport
    "silence": (hang, FAILED),
    "reset": (answer_and_reset(b"HTTP/1.1 200 OK\r\n"), FAILED),
    "body dripped": (DRIP, FAILED),
    "headers dripped": (repeat(b"HTTP/1.1 200 OK\r\n", b"X", 0.05), FAILED),
    "endless chunks": (repeat(CHUNKED, b"c350\r\n" + b"x" * 50_000 + b"\r\n"), REFUSED),
    "a header of 200 kB": (answer(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 200_000 + b"\r\n\r\n{}"), FAILED),
    "JSON cut by the peer": (answer(b"HTTP/1.1 200 OK\r\n\r\n" + GOOD[:-40]), REFUSED),
    "endless 1xx": (repeat(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), FAILED),
    "body shorter than said": (answer(http(GOOD)[:-40]), FAILED),
    "body that never ends": (answer_and_hang(http(GOOD)[:-40]), FAILED),
    "length that is no number": (answer(b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\n{}"), FAILED),
    "length below zero": (answer(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}"), FAILED),
    "two lengths": (answer(http(GOOD, f"Content-Length: {len(GOOD) + 1}")), FAILED),
    "a TLS alert": (answer(b"\x15\x03\x03\x00\x02\x02\x28"), FAILED),
    "binary noise": (answer(bytes(range(256)) * 8), FAILED),
    # HTTP
    "204": (text(b"", status="204 No Content"), FAILED),
    "301": (text(b"", "Location: /elsewhere", status="301 Moved Permanently"), FAILED),
    "302 to another host": (text(b"", "Location: http://127.0.0.2:9/", status="302 Found"), FAILED),
    "302 to a file": (text(b"", "Location: file:///etc/passwd", status="302 Found"), FAILED),
    "401": (text(b"", status="401 Unauthorized"), FAILED),
    "404": (text(b"", status="404 Not Found"), FAILED),
    "429 for a day": (text(b"", "Retry-After: 86400", status="429 Too Many Requests"), FAILED),
    "500": (text(b"", status="500 Internal Server Error"), FAILED),
    "HTML": (text(b"<html><body>502</body></html>", "Content-Type: text/html"), REFUSED),
    "gzip": (text(gzip.compress(GOOD), "Content-Encoding: gzip"), REFUSED),
    "a gzip bomb": (text(gzip.compress(bytes(2 * CAP)), "Content-Encoding: gzip"), REFUSED),
    "another encoding": (text(GOOD, "Content-Encoding: br"), REFUSED),
    "over the cap": (text(b" " * (CAP + 1)), REFUSED),
    "an error as 200": (fixed({"error": "cache \x1b[31mempty\nnow", "timestamp": "2025-11-03T22:00:00"}), REFUSED),
    # JSON
    "empty": (text(b""), REFUSED),
    "null": (text(b"null"), REFUSED),
    "a list": (text(b"[]"), REFUSED),
    "a text": (text(b'"payload"'), REFUSED),
    "trailing bytes": (text(GOOD + b"x"), REFUSED),
    "a leading zero": (text(GOOD.replace(b": 45", b": 045")), REFUSED),
    "two documents": (text(GOOD + GOOD), REFUSED),
    "a comment": (text(b"// hi\n" + GOOD), REFUSED),
    "a key twice": (text(b'{"mode": 1, "mode": 1, ' + GOOD[1:]), REFUSED),
    "a key twice where nobody reads": (
        text(GOOD.replace(b'"pairs_trading": {', b'"pairs_trading": {"score": 1, ')),
        REFUSED,
    ),
    "a key twice in a record": (text(GOOD.replace(b'"pnl_7d"', b'"pnl_1d"', 1)), REFUSED),
    "not UTF-8": (text(GOOD.replace(b"SmartTrader", b"Smart\xff")), REFUSED),
    "UTF-16": (text(GOOD.decode().encode("utf-16")), REFUSED),
    "a byte-order mark": (text(b"\xef\xbb\xbf" + GOOD), REFUSED),
    "half a surrogate": (text(GOOD.replace(b"SIDEWAYS", b"\\ud800")), REFUSED),
    "5,000 levels": (text(b"[" * 5_000), REFUSED),
    "a number of a million digits": (text(GOOD.replace(b": 45", b": " + b"4" * 1_000_000, 1)), REFUSED),
    "10,001 agents": (fresh({str(number): {} for number in range(10_001)}), REFUSED),
    # values that concern everybody
    "is_paused is a text": (spoilt(lambda said: said["guardian"].update(is_paused="false")), REFUSED),
    "drawdown is negative": (spoilt(lambda said: said["guardian"].update(drawdown=-1)), REFUSED),
    "drawdown is a text": (spoilt(lambda said: said["guardian"].update(drawdown="1.5")), REFUSED),
    "multiplier is NaN": (spoilt(lambda said: said["market_regime"].update(risk_multiplier=float("nan"))), REFUSED),
    "multiplier is negative": (spoilt(lambda said: said["market_regime"].update(risk_multiplier=-0.1)), REFUSED),
    "multiplier above 10": (spoilt(lambda said: said["market_regime"].update(risk_multiplier=11)), REFUSED),
    # meaning
    "another schema": (fixed({"type": "telemetry", "equity": 100_000.0}), REFUSED),
    "no agents": (fresh({}), Reason.NO_AGENTS),
    "no guardian": (spoilt(lambda said: said.pop("guardian")), Reason.GUARDIAN_LOST),
    "no time stamp": (spoilt(lambda said: said.pop("timestamp")), Reason.TIMESTAMP_LOST),
    "no time at all": (spoilt(lambda said: said.update(timestamp="yesterday")), REFUSED),
    "stale": (fixed(payload(at=time.time() - 3_600)), Reason.PAYLOAD_STALE),
    "from the future": (fixed(payload(at=time.time() + 3_600)), Reason.PAYLOAD_FUTURE),
    "half of the agents gone": (fresh({"SmartTrader": record(), "ScoutBot": record()}), Reason.MEMBERS_GONE),
    "most agents faulty": (fresh({agent: {} for agent in FLEET} | {"ScoutBot": record()}), Reason.FAULTY_MAJORITY),
    "paused": (fresh(paused=True, said="Drawdown\n\x1b[2J" + "x" * 500), Reason.PAUSED),
}


NEVER_END: Final = {"silence", "body dripped", "headers dripped", "endless 1xx", "body that never ends"}


@pytest.mark.parametrize("name", HOLDS)
def test_a_bad_input_holds_and_is_told_once(tmp_path: Path, name: str) -> None:
    """Both files stay to the byte, the reason is in journal, status and log (there once), and the next cycle is due."""
    script, reason = HOLDS[name]
    with Dashboard() as dashboard, Run(tmp_path, dashboard.url) as run:

        def spoil() -> None:
            dashboard.next(script)
            run.allow(DEADLINE if name in NEVER_END else PATIENCE_SECONDS)

        def mend() -> None:
            dashboard.next(fresh())
            run.allow(PATIENCE_SECONDS)

        detail = assert_held(run, reason, spoil, mend)
        assert detail.startswith("no answer within") == (name in NEVER_END)
        assert dashboard.gave_up == 0


def assert_held(run: Run, reason: Reason, spoil: Callable[[], object], mend: Callable[[], object]) -> str:
    """Publish, spoil the dashboard for two cycles, mend it for one, and return how the hold is told in the status."""
    assert run.tick()
    before = run.files()
    assert None not in before
    spoil()
    for _ in range(2):
        assert run.tick() == (reason not in {FAILED, REFUSED, Reason.PAYLOAD_STALE, Reason.PAYLOAD_FUTURE})
        assert run.files() == before
        status = run.status()
        assert (status["state"], status["reason"]) == ("holding", reason.value)
        assert status["detail"]
        assert status["detail"].isprintable()
    mend()
    assert run.tick()
    assert run.files() == before
    assert run.reasons() == [Reason.FIRST_ALLOCATION, reason, reason, Reason.UNCHANGED]
    told = [line for line in run.lines() if message(reason, Rules()) in line]
    assert len(told) == 1
    assert "Ends with: " in told[0]
    assert sum("Hold is over: " in line for line in run.lines()) == 1
    assert not any("Traceback" in line for line in run.lines())
    assert all("[capital_governor]" in line and line.isprintable() for line in run.lines())
    assert all(len(line) < 1_000 for line in run.lines())
    return str(status["detail"])


class Resolver:
    """Stands for the C library's: every name is this machine, is unknown, or hangs; nothing is asked of a network."""

    def __init__(self) -> None:
        self.mood = "answers"
        self.release = threading.Event()
        self._real = socket.getaddrinfo

    def __call__(self, _host: str, *rest: Any) -> Any:
        if self.mood == "hangs":
            self.release.wait(PATIENCE_SECONDS)
        if self.mood == "knows nothing":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self._real("127.0.0.1", *rest)

    def be(self, mood: str) -> None:
        """Change the mood; who hung in the one before is answered by the new one."""
        self.mood = mood
        if mood == "hangs":
            self.release.clear()
        else:
            self.release.set()


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    made = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", made)
    yield made
    made.be("answers")
    for thread in threading.enumerate():
        if thread.name == "lookup":
            thread.join(PATIENCE_SECONDS)


@pytest.mark.parametrize(
    ("mood", "says"),
    [
        (
            "knows nothing",
            "no address found for http://dashboard.invalid:{port}/meta/metrics: Name or service not known",
        ),
        ("hangs", "no answer within 0.4 s from http://dashboard.invalid:{port}/meta/metrics"),
    ],
    ids=["not found", "hangs"],
)
def test_a_name_that_gets_lost_holds_and_is_told_once(tmp_path: Path, resolver: Resolver, mood: str, says: str) -> None:
    """A dashboard's name that was known is no longer, or its look-up hangs: a hold like any other."""
    with Dashboard() as dashboard, Run(tmp_path, f"http://dashboard.invalid:{dashboard.port}") as run:

        def turn(to: str, deadline: float) -> None:
            resolver.be(to)
            run.allow(deadline)

        deadline = DEADLINE if mood == "hangs" else PATIENCE_SECONDS
        detail = assert_held(run, FAILED, lambda: turn(mood, deadline), lambda: turn("answers", PATIENCE_SECONDS))
        assert detail.partition("; ")[0] == says.format(port=dashboard.port)


@pytest.mark.parametrize(
    ("there", "says"),
    [
        (contextlib.nullcontext, "connection refused by http://127.0.0.1:{port}/meta/metrics"),
        (full_backlog, "no answer within 0.4 s from http://127.0.0.1:{port}/meta/metrics"),
    ],
    ids=["nobody listens", "nobody accepts"],
)
def test_a_dashboard_that_goes_away_holds_and_is_told_once(
    tmp_path: Path, there: Callable[[int], contextlib.AbstractContextManager[object]], says: str
) -> None:
    """After a publication the dashboard ends, or a connection to it hangs: a hold until it is there again."""
    with contextlib.ExitStack() as now:
        dashboard = now.enter_context(Dashboard())
        port = dashboard.port

        def spoil() -> None:
            now.close()
            now.enter_context(there(port))
            run.allow(DEADLINE if there is full_backlog else PATIENCE_SECONDS)

        def mend() -> None:
            now.close()
            now.enter_context(Dashboard(port=port))
            run.allow(PATIENCE_SECONDS)

        with Run(tmp_path, dashboard.url) as run:
            detail = assert_held(run, FAILED, spoil, mend)
            assert detail.partition("; ")[0] == says.format(port=port)


OVER_100: Final = "max_dd_30d is above 100 percent, counted as the worst drawdown"
ON_TIME: Final = ("body dripped", "silence", "reset", "endless chunks", "429 for a day")


def test_after_a_hold_the_next_cycle_begins_on_its_beat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the real timer, whatever a peer does to a cycle, the next one waits for the next beat of the first."""
    interval = 0.5
    beats: list[tuple[float, float]] = []

    def recorded(start: float, interval_seconds: float, now: float) -> float:
        wake = schedule(start, interval_seconds, now)
        beats.append((now, wake))
        return wake

    def play(name: str) -> None:
        dashboard.next(HOLDS[name][0])
        run.allow(DEADLINE if name in NEVER_END else PATIENCE_SECONDS)

    monkeypatch.setattr(daemon, "schedule", recorded)
    with Dashboard() as dashboard, Run(tmp_path, dashboard.url) as run:
        plays = [functools.partial(play, name) for name in ON_TIME]
        begun = run.govern(interval, lambda: None, *plays, lambda: None)
        assert len(beats) == len(begun)
        for (now, wake), next_begun in zip(beats[:-1], begun[1:], strict=True):
            assert now < wake <= now + interval + 1e-6
            assert wake <= next_begun + 0.01
            beat = (wake - beats[0][1]) / interval
            assert beat == pytest.approx(round(beat), abs=1e-6)
        assert run.reasons() == [Reason.FIRST_ALLOCATION, *(HOLDS[name][1] for name in ON_TIME)]


def test_without_any_dashboard_nothing_is_published(tmp_path: Path) -> None:
    """Where nobody listens from the start, the two files are not made, and the hold is in journal, status and log."""
    with Dashboard() as gone:
        closed = gone.url
    with Run(tmp_path, closed) as run:
        assert run.tick() is False
        assert run.tick() is False
        assert run.files() == [None, None]
        assert run.reasons() == [FAILED, FAILED]
        status = run.status()
        assert (status["state"], status["generation"], status["failures_in_row"]) == ("holding", None, 2)
        assert status["detail"].startswith(f"connection refused by {closed}/meta/metrics; start the dashboard, or ")
        assert sum(message(FAILED, Rules()) in line for line in run.lines()) == 1


# --- inputs that concern one agent ------------------------------------------------------------------------------------

FAULTS: Final[dict[str, Callable[[dict[str, Any]], object]]] = {
    "NaN": lambda record: record.update(sharpe_30d=float("nan")),
    "Infinity": lambda record: record.update(pnl_7d=float("inf")),
    "1e400": lambda record: record.update(pnl_7d="bare 1e400"),
    "a text": lambda record: record.update(sharpe_30d="1.5"),
    "NaN as a text": lambda record: record.update(sharpe_30d="NaN"),
    "a text with a line": lambda record: record.update(pnl_7d="1_000"),
    "true": lambda record: record.update(winrate_30d=True),
    "null": lambda record: record.update(max_dd_30d=None),
    "missing": lambda record: record.pop("pnl_7d"),
    "percent for a ratio": lambda record: record.update(winrate_30d=65),
    "a negative ratio": lambda record: record.update(winrate_30d=-0.1),
    "a negative drawdown": lambda record: record.update(max_dd_30d=-5),
    "a huge PnL": lambda record: record.update(pnl_7d=2e12),
    "a huge loss": lambda record: record.update(pnl_7d=-2e12),
}


def bare(agents: dict[str, Any], change: Callable[[dict[str, Any]], object]) -> Script:
    """Answer a spoilt payload in which a number may stand that Python would not write."""

    def script(connection: Connection) -> None:
        document = payload(agents)
        change(document)
        fixed(json.dumps(document).encode().replace(b'"bare 1e400"', b"1e400"))(connection)

    return script


@pytest.mark.parametrize("name", FAULTS)
def test_a_bad_record_keeps_its_agent_from_gaining_and_nobody_else(tmp_path: Path, name: str) -> None:
    """An agent whose record is impossible cannot gain, the others go on, and both are told once."""

    def spoil(said: dict[str, Any]) -> None:
        for agent in FLEET:
            said["per_agent"][agent]["winrate_30d"] = 0.05
        said["per_agent"]["ScoutBot"] = record(winrate=0.9)
        FAULTS[name](said["per_agent"]["ScoutBot"])

    with Dashboard() as dashboard, Run(tmp_path, dashboard.url) as run:
        run.tick()
        share = run.shares()["ScoutBot"]
        assert share < 0.25
        dashboard.next(bare({agent: dict(record()) for agent in FLEET}, spoil))
        for _ in range(3):
            assert run.tick()
            assert run.shares()["ScoutBot"] <= share
            assert run.status()["state"] == "governing"
        assert sum("ScoutBot: faulty record, may not gain: " in line for line in run.lines()) == 1
        dashboard.next(fresh())
        run.tick()
        assert sum("ScoutBot: no longer faulty or absent" in line for line in run.lines()) == 1


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("evil\nINFO Reallocation", r"evil\nINFO Reallocation"),
        ("\x1b[2Jred", r"\x1b[2Jred"),
        ("../x", "../x"),
        ("nul\0", r"nul\x00"),
        ("Smаrt", r"Sm\u0430rt"),  # noqa: RUF001 - a Cyrillic letter is what is tested
        ("<b>", "<b>"),
        ("zero\u200bwidth", r"zero\u200bwidth"),
        ("bidi\u202e", r"bidi\u202e"),
        ("reserve", "reserve"),
        ("Allocations", "Allocations"),
    ],
)
def test_a_bad_name_is_not_admitted_and_told_escaped(tmp_path: Path, name: str, shown: str) -> None:
    """Who is called what no agent may be called gets no line, and cannot break the log's."""
    with Dashboard(fresh({**FLEET, name: record()})) as dashboard, Run(tmp_path, dashboard.url) as run:
        run.tick()
        run.tick()
        assert run.shares().keys() == FLEET.keys()
        told = [line for line in run.lines() if "not admitted" in line]
        assert len(told) == 1
        assert f"{shown}: faulty record, not admitted: " in told[0]


def test_a_torn_pause_file_is_told_in_one_sentence(tmp_path: Path) -> None:
    """Half a pause file pauses: the log says that, why and until when, with one full stop, and once."""
    (tmp_path / "state").mkdir()
    with Dashboard() as dashboard, Run(tmp_path, dashboard.url) as run:
        (tmp_path / "state" / "guardian_pause.json").write_text('{"paused": fal')
        run.tick()
        run.tick()
        (told,) = [line for line in run.lines() if message(Reason.PAUSED, Rules()) in line]
        assert "paused until it is readable or gone. Ends with: payload and " in told
        assert run.files() == [None, None]


def test_a_journal_that_was_away_is_told_at_both_ends(tmp_path: Path) -> None:
    """Something stands in the journal's place at the start: the first cycle after that is the one written back."""
    place = tmp_path / "state" / "capital_governor.sqlite3"
    place.mkdir(parents=True)
    with Dashboard() as dashboard, Run(tmp_path, dashboard.url) as run:
        place.rmdir()
        run.tick()
        assert sum("Journal cannot be written, memory takes over: " in line for line in run.lines()) == 1
        assert sum(line.endswith("Journal can be written again: 1 cycle written back") for line in run.lines()) == 1
        assert run.reasons() == [Reason.FIRST_ALLOCATION]


# --- odd, and no fault ------------------------------------------------------------------------------------------------


def test_an_agent_that_comes_and_goes_moves_nothing(rig: CycleRig) -> None:
    """A member that is there in every second cycle only never moves a share, whatever restarts come in between."""
    rig.see()
    before = footprint(rig.primary, rig.override)
    for number in range(16):
        outcome = rig.see({"Ada": 0.5, "Bob": 0.3, "Cyd": 0.2} if number % 2 else {"Ada": 0.5, "Bob": 0.3})
        assert outcome.decision.proposal is None
        assert outcome.decision.trace.hold is None
        if number in {6, 9}:  # after a cycle without it, and after one with it
            rig.restart()
    assert footprint(rig.primary, rig.override) == before
    assert len(rig.entries()) == 17
    assert [entry.generation for entry in rig.entries()] == [1] + [None] * 16


def test_a_stranger_that_comes_and_goes_moves_shares_once(rig: CycleRig) -> None:
    """Who is new and there in every second cycle only joins once, and is a member from then on."""
    rig.see()
    for number in range(16):
        rig.see({"Ada": 0.5, "Bob": 0.3, "Cyd": 0.2} | ({"Dan": 0.25} if number % 2 else {}))
        if number in {6, 9}:
            rig.restart()
    moves = [entry.reason for entry in rig.entries() if entry.generation is not None]
    assert moves == [Reason.FIRST_ALLOCATION, Reason.MEMBER_JOINED]


def test_a_drawdown_above_100_is_warned_of_once_an_agent_and_day(rig: CycleRig) -> None:
    """Two agents send currency for percent: each is told once, and again when a day has passed, whatever it sends."""

    def sent(drawdown: float) -> Outcome:
        agents = {**FLEET, "ScoutBot": record(drawdown=drawdown), "RangeTrader": record(drawdown=2 * drawdown)}
        return rig.cycle(parse(json.dumps(payload(agents, at=rig.now)).encode()))

    def told() -> dict[str, int]:
        return {agent: rig.texts("warning").count(f"{agent}: {OVER_100}") for agent in FLEET}

    start, hour = rig.now, 3_600.0
    once_each = {"SmartTrader": 0, "DropshipAgent": 0, "ScoutBot": 1, "RangeTrader": 1}
    for hours in (0.0, 0.1, 12.0, 23.9):
        rig.now = start + hours * hour
        done = sent(850.0 + hours)
        assert done.fetched
        assert done.decision.trace.hold is None
        assert done.decision.trace.faulty == {}
        score = score_of("ScoutBot", done.decision, Rules())
        assert score is not None
        assert score.drawdown == 0.0
        assert told() == once_each
    for hours in (24.1, 24.2, 47.9):
        rig.now = start + hours * hour
        sent(900.0)
        assert told() == {agent: 2 * times for agent, times in once_each.items()}


# --- each thing once --------------------------------------------------------------------------------------------------


def test_a_hold_is_told_when_its_reason_changes_and_not_otherwise(rig: CycleRig) -> None:
    """Five cycles of one hold are one line; another hold is another; the end is told with what ended."""
    rig.see()
    for _ in range(5):
        rig.cycle(GONE)
    for _ in range(3):
        rig.see(paused=True)
    rig.cycle(GONE)  # still paused: the pause outlives it
    rig.see()
    held = [line for line in rig.texts("warning") if HELD in line]
    assert [line.split(" - ")[0] for line in held] == ["Meta-metrics not fetched", "Guardian paused"]
    assert [line for line in rig.texts() if line.startswith("Hold is over")] == ["Hold is over: paused"]


def test_degraded_mode_is_told_once_and_its_end_once(rig: CycleRig) -> None:
    """After ten cycles without a usable payload the mode is named once; the first good one ends it."""
    rig.see()
    for _ in range(3 * DEGRADED_AFTER):
        rig.cycle(GONE)
    rig.see()
    rig.see()
    for _ in range(DEGRADED_AFTER - 1):
        rig.cycle(GONE)
    rig.see()
    assert [line for line in rig.texts() if "degraded mode" in line] == [
        "Entering degraded mode: no usable meta-metrics in 10 cycles in a row",
        "Recovered from degraded mode after 30 cycles without usable meta-metrics",
    ]


def test_a_lasting_oddity_is_told_once_a_day(rig: CycleRig) -> None:
    """What stands in every payload is told when first seen, and again a day later."""
    odd = "timestamp has no time zone and counts as UTC: let its producer write an offset or Z"
    for hours in (0, 1, 23, 24.5, 25):
        rig.now = 1_762_207_200.0 + hours * 3_600
        rig.cycle(replace(snapshot(at=rig.now), warnings=(odd,)))
    assert rig.texts("warning").count(odd) == 2


def test_who_is_absent_is_told_at_both_ends(rig: CycleRig) -> None:
    """An agent that stays away is told once, its lapse once, and its return at the first and third good record."""
    rig.see()
    for _ in range(6):
        rig.see({"Ada": 0.5, "Bob": 0.3})
    for _ in range(3):
        rig.see()
    told = [line for line in rig.texts() if line.startswith("Cyd: ") and "score" not in line]
    assert told == [
        "Cyd: no record, may not gain",
        (
            "Cyd: 0.2400 of its plan 0.2400 is withheld: lapsed. Ends with: 3 good records in a row, or"
            " `capital-governor release Cyd`"
        ),
        "Cyd: no longer faulty or absent",
        "Cyd: nothing of its plan is withheld any more",
    ]


def test_a_cut_in_a_hold_is_logged_with_what_it_withholds(rig: CycleRig) -> None:
    """Cyd's plan rises to 0.40 while its record is faulty; that is not told again when a hold cuts Ada from 0.30."""
    rig.see()
    rig.see({"Ada": 0.1, "Bob": 0.1}, faulty=["Cyd"])
    give(rig, OrderKind.LIMIT, agent="Ada", cap=0.1)
    for _ in range(3):
        rig.cycle(GONE)
    cyd, ada = [line.split(". Ends with: ") for line in rig.texts() if "is withheld" in line]
    assert cyd == [
        "Cyd: 0.1600 of its plan 0.4000 is withheld: its record is faulty or missing",
        "its next good record",
    ]
    assert ada == [
        "Ada: 0.2000 of its plan 0.3000 is withheld: operator's cap by anna",
        "the end of the order, or `capital-governor unlimit Ada`",
    ]
    (hold,) = [line for line in rig.texts("warning") if HELD in line]
    assert hold.startswith("Meta-metrics not fetched")
    rig.see({"Ada": 0.1, "Bob": 0.1}, faulty=["Cyd"])
    assert len([line for line in rig.texts() if "is withheld" in line]) == 2


def test_who_is_well_again_is_told_so_and_who_is_gone_is_not(rig: CycleRig) -> None:
    """A good record ends it; a stranger with a faulty record that is gone was never well."""
    rig.see()
    rig.see({"Ada": 0.5, "Bob": 0.3}, faulty=["Cyd", "Zed"])
    rig.see()
    told = [line for line in rig.texts("info") if "longer" in line]
    assert told == ["Cyd: no longer faulty or absent", "Zed: no longer in the payload"]


def test_a_hold_in_which_nobody_is_counted_says_nothing_of_the_agents(rig: CycleRig) -> None:
    """An agent that is absent when Guardian pauses is not said to be back by that, nor a faulty member a stranger."""
    rig.see()
    rig.see({"Ada": 0.5, "Bob": 0.3})
    rig.see({"Ada": 0.5}, faulty=["Bob"], paused=True)
    rig.see({"Ada": 0.5, "Bob": 0.3})
    assert [line for line in rig.texts() if "absent" in line or "faulty" in line or "no record" in line] == [
        "Cyd: no record, may not gain"
    ]


def test_the_fleet_is_told_when_its_size_changes(rig: CycleRig) -> None:
    """How far scores can move a share is said at the start and for a fleet of another size."""
    rig.see()
    rig.see()
    rig.see({"Ada": 0.5, "Bob": 0.3, "Cyd": 0.2, "Dan": 0.2})
    assert [line.split(",")[0] for line in rig.texts() if line.startswith("With ")] == [
        "With 3 agents within 0.05 and 0.40",
        "With 4 agents within 0.05 and 0.40",
    ]


def test_a_move_is_followed_by_what_was_saved(rig: CycleRig) -> None:
    """After a move the log has the shares that are on disk now, and after a stay it has not."""
    rig.see()
    rig.see()
    assert [line for line in rig.texts() if line.startswith("Allocations saved")] == [
        "Allocations saved: {'Ada': 0.40, 'Bob': 0.36, 'Cyd': 0.24} (generation 1)"
    ]


def test_the_end_of_an_episode_that_an_earlier_process_told_is_logged(rig: CycleRig) -> None:
    """What was told to the operator before a restart, and is over now, has its line in the log too."""
    rig.see()
    ends = {
        "paused": "Hold is over: paused",
        "degraded": "Recovered from degraded mode",
        "files": "Both allocation files can be written again",
        "internal_error": "Cycles end without an unexpected error again",
    }
    rig.restart()
    rig.report = EventLog(rig.lines.append, rig.settings.rules(), dict.fromkeys(ends, rig.now))
    (rig.primary).unlink()
    rig.see()
    rig.see()
    assert [line for line in rig.texts() if line in ends.values()].count("Hold is over: paused") == 1
    assert sorted(line for line in rig.texts() if line in ends.values()) == sorted(ends.values())


# --- the unexpected ---------------------------------------------------------------------------------------------------


def test_an_unexpected_error_ends_no_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of the program costs one cycle: it is in log and status, secrets hidden, and the files stay."""
    with Dashboard() as dashboard, Run(tmp_path, dashboard.url) as run:
        run.tick()
        before = run.files()

        def broken(_: bytes) -> object:
            raise KeyError("hunter2-secret\nat https://me:password@host/")

        monkeypatch.setattr("capital_governor.service.cycle.parse", broken)
        assert run.tick() is False
        assert run.files() == before
        status = run.status()
        assert (status["state"], status["reason"], status["generation"]) == ("holding", "internal_error", 1)
        assert status["detail"].startswith("KeyError: ")
        told = [line for line in run.lines() if "Unexpected error - maintaining current allocations" in line]
        assert len(told) == 1
        monkeypatch.undo()
        assert run.tick() is True
        assert run.status()["state"] == "governing"
        everything = run.log.getvalue() + json.dumps(status)
        assert "hunter2" not in everything
        assert "password@" not in everything
        assert all("[capital_governor]" in line for line in run.lines())


def test_an_error_in_telling_of_an_error_ends_no_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where the status document itself cannot be made, the loop goes on."""
    with Dashboard() as dashboard, Run(tmp_path, dashboard.url) as run:
        run.tick()

        def broken(*_: object, **__: object) -> bytes:
            raise ValueError("year 0 is out of range")

        monkeypatch.setattr("capital_governor.service.cycle.status_document", broken)
        try:
            assert run.tick() is False
        finally:
            monkeypatch.undo()
