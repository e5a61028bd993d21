"""Logs: one line an event, the wording that operators search for, no secret in it, no failure out of it."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, TextIO
from urllib.parse import quote, quote_plus

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from capital_governor.adapters import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOW = 1_762_207_200.9  # 2025-11-03T22:00:00Z
HEAD = "2025-11-03T22:00:00Z [capital_governor] "
TOKEN = "123456789:" + "CANARYtoken" * 3 + "12"
AWKWARD = 'CANARY"quote\\back/slash ümlaut\u202e%&\n end'


@pytest.fixture(autouse=True)
def _undo() -> Iterator[None]:
    """Leave the process's logging as it was found."""
    levels = {name: logging.getLogger(name).level for name in ("httpx", "httpcore")}
    yield
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, logs.Bridge)]:
        root.removeHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def start(
    fmt: logs.Format = "console",
    level: str = "DEBUG",
    *,
    secrets: tuple[str, ...] = (),
    color: bool | None = None,
    now: Callable[[], float] = lambda: NOW,
) -> tuple[io.StringIO, logs.Sink]:
    stream = io.StringIO()
    return stream, logs.configure(level=level, fmt=fmt, secrets=secrets, stream=stream, color=color, now=now)


def start_on(stream: TextIO | None) -> logs.Sink:
    return logs.configure(level="DEBUG", fmt="console", secrets=(), stream=stream, now=lambda: NOW)


def fail(text: str) -> None:
    shouted = text.swapcase()
    raise RuntimeError(f"failed with {shouted.swapcase()}")


# --- what a line looks like -----------------------------------------------------------------------------------------


def test_console_line() -> None:
    """A line is time stamp, tag, level and message, then fields; only values with blanks or quotes are quoted."""
    stream, _ = start()
    log = logs.get_logger()
    log.info("Starting Capital Governor Intelligence @ http://localhost:8100")
    log.warning("100 % of it", generation=41, exposure=0.8, why="no news", quoted='a"b', nothing="", none=None)
    log.error("Override", keys=["a", "b"])
    log.debug("%s and %d", "one", 2)
    assert stream.getvalue().splitlines() == [
        HEAD + "INFO    Starting Capital Governor Intelligence @ http://localhost:8100",
        HEAD + 'WARNING 100 % of it generation=41 exposure=0.8 why="no news" quoted="a\\"b" nothing="" none=None',
        HEAD + "ERROR   Override keys=\"['a', 'b']\"",
        HEAD + "DEBUG   one and 2",
    ]


@pytest.mark.parametrize(
    "wording",
    [
        "Starting Capital Governor Intelligence @ http://localhost:8100",
        "Config: min_alloc=0.05, max_alloc=0.40, threshold=0.10",
        "Meta-metrics fetched successfully",
        "SmartTrader: score=0.7234 (PnL=850.00, Sharpe=1.234, WR=0.650)",
        "Applied risk multiplier: 0.80",
        "Guardian paused - maintaining current allocations",
        "Reallocation triggered (change >= 0.10)",
        "Old: {'SmartTrader': 0.3}",
        "Allocations saved: {'SmartTrader': 0.4}",
        "No reallocation needed",
        "Telegram notification sent",
        "🎯 degraded mode",
    ],
)
def test_wording_survives(wording: str) -> None:
    """What operators search for with grep comes out to the letter, in one line with the tag."""
    stream, _ = start()
    logs.get_logger().info(wording)
    assert stream.getvalue() == f"{HEAD}INFO    {wording}\n"


def test_json_line() -> None:
    """JSON is one object a line, with the fields beside the four fixed keys, and fields of the same names kept."""
    stream, _ = start("json")
    logs.get_logger().warning("Old: ü\n{}", generation=41, shares={"a": 0.5}, level="mine", at=os.fspath)
    (line,) = stream.getvalue().splitlines()
    assert line.isascii()
    document = json.loads(line)
    assert document.pop("at").startswith("<built-in function fspath")
    assert document == {
        "timestamp": "2025-11-03T22:00:00Z",
        "level": "WARNING",
        "event": "Old: ü\n{}",
        "logger": "capital_governor",
        "generation": 41,
        "shares": {"a": 0.5},
        "level_": "mine",
    }


def test_json_survives_odd_values() -> None:
    """NaN, circles, odd keys and values that cannot describe themselves still make one line of valid JSON each."""

    class Mute:
        def __repr__(self) -> str:
            raise ValueError

    stream, _ = start("json")
    log = logs.get_logger()
    circle: list[object] = []
    circle.append(circle)
    for value in (float("nan"), {"x": [float("inf")]}, circle, {(1, 2): 3}, Mute(), {"deep": Mute()}, b"\xff"):
        log.info("odd", value=value)
    documents = [json.loads(line, parse_constant=pytest.fail) for line in stream.getvalue().splitlines()]
    assert [document["value"] for document in documents] == [
        "nan",
        "{'x': [inf]}",
        "[[...]]",
        "{(1, 2): 3}",
        "<unprintable Mute>",
        {"deep": "<unprintable Mute>"},
        "b'\\xff'",
    ]


def test_a_mute_value_in_the_console() -> None:
    """A value whose repr fails does not fail the line, nor its caller."""

    class Mute:
        def __repr__(self) -> str:
            raise ValueError

    stream, _ = start()
    logs.get_logger().info("odd", value=Mute())
    assert stream.getvalue() == HEAD + 'INFO    odd value="<unprintable Mute>"\n'


@pytest.mark.parametrize(("level", "heard"), [("DEBUG", "DIWE"), ("INFO", "IWE"), ("WARNING", "WE"), ("ERROR", "E")])
def test_levels(level: str, heard: str) -> None:
    """Only events of the level and above are written."""
    stream, _ = start(level=level)
    log = logs.get_logger()
    log.debug("D"), log.info("I"), log.warning("W"), log.error("E")
    assert "".join(line[-1] for line in stream.getvalue().splitlines()) == heard


def test_the_stamp_follows_the_clock() -> None:
    """The time stamp is that of the event, in UTC."""
    times = iter([0.0, 0.9, 1.0, 951_782_400.0])
    stream, _ = start(now=lambda: next(times))
    for _ in range(4):
        logs.get_logger().info("x")
    assert [line.split(" ")[0] for line in stream.getvalue().splitlines()] == [
        "1970-01-01T00:00:00Z",
        "1970-01-01T00:00:00Z",
        "1970-01-01T00:00:01Z",
        "2000-02-29T00:00:00Z",
    ]


# --- nothing breaks, colours or hides in a line ---------------------------------------------------------------------

TEXT = st.text(alphabet=st.characters(codec=None, categories=None), max_size=40) | st.sampled_from(
    [
        "a\nb",
        "\r\n",
        "\x1b[31mred",
        "\x85\u2028\u2029\x0b\x0c\x1c",
        "\u202eevil",
        "a\u200bb",
        "\ufeff",
        "\ud800",
        "\0\x7f\x9b",
        "x\u3164",
        "x\ufe0f\n",
    ]
)


@given(TEXT, TEXT, TEXT)
def test_one_line_per_event(message: str, key: str, value: str) -> None:
    """Whatever message, field names and values contain, the console gets one printable line that ends it."""
    stream, sink = start()
    logs.get_logger().warning(message, **{f"k{key}": value, "list": [value]})
    text = stream.getvalue()
    assert sink.failures == 0
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert text[:-1].isprintable()
    assert not re.search("[\u034f\u115f\u1160\u3164\ufe0f\uffa0\u2800]", text)
    assert text.startswith(HEAD + "WARNING ")


@given(TEXT, TEXT)
def test_one_object_per_event(message: str, value: str) -> None:
    """Whatever message and values contain, JSON gets one line of ASCII that reads back the same."""
    stream, _ = start("json")
    logs.get_logger().warning(message, field=value)
    (line,) = stream.getvalue().split("\n")[:-1]
    assert line.isascii()
    assert line.isprintable()
    document = json.loads(line)
    assert (document["event"], document["field"]) == (message, value)


def test_escapes_read_well() -> None:
    """Escapes are those of Python's source: a newline becomes backslash n."""
    stream, _ = start()
    logs.get_logger().info("a\nb\t\x1b[0m\u202e\U000e0001", name="x\ny")
    assert stream.getvalue() == HEAD + 'INFO    a\\nb\\t\\x1b[0m\\u202e\\U000e0001 name="x\\ny"\n'


def test_color_marks_the_level_only() -> None:
    """Colour is for the level, and no more."""
    stream, _ = start(color=True)
    logs.get_logger().warning("careful")
    assert stream.getvalue() == HEAD + "\x1b[33mWARNING\x1b[0m careful\n"


@pytest.mark.parametrize(("no_color", "colored"), [(None, True), ("", True), ("1", False), ("0", False)])
def test_color_on_a_terminal(monkeypatch: pytest.MonkeyPatch, no_color: str | None, *, colored: bool) -> None:
    """A terminal gets colour unless NO_COLOR is there and not empty; anything else gets none."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color is not None:
        monkeypatch.setenv("NO_COLOR", no_color)
    master, slave = os.openpty()
    with os.fdopen(slave, "w", encoding="utf-8") as terminal, os.fdopen(master, "rb", buffering=0) as screen:
        logs.configure(level="INFO", fmt="console", secrets=(), stream=terminal)
        logs.get_logger().error("red")
        assert (b"\x1b[31mERROR\x1b[0m" in screen.read(200)) is colored
    stream, _ = start()
    logs.get_logger().error("plain")
    assert "\x1b" not in stream.getvalue()


# --- exceptions -----------------------------------------------------------------------------------------------------


def test_traceback_in_the_console() -> None:
    """A traceback follows its line, every row with stamp, tag and level, and without the values of variables."""
    stream, _ = start()
    try:
        fail("two\nrows\x1b[31m")
    except RuntimeError:
        logs.get_logger().exception("Cycle failed", generation=41)
    rows = stream.getvalue().splitlines()
    assert rows[0] == HEAD + "ERROR   Cycle failed generation=41"
    assert rows[1] == HEAD + "ERROR     | Traceback (most recent call last):"
    assert rows[-2:] == [HEAD + "ERROR     | RuntimeError: failed with two", HEAD + "ERROR     | rows\\x1b[31m"]
    assert all(row.startswith(HEAD) and row.isprintable() for row in rows)
    assert "TWO" not in stream.getvalue()


def test_traceback_in_json() -> None:
    """In JSON the traceback is one field, with its causes; an exception object or no exception are fine too."""
    stream, _ = start("json")
    log = logs.get_logger()
    try:
        try:
            fail("x")
        except RuntimeError as error:
            raise OSError(28, "No space left on device") from error
    except OSError as error:
        log.warning("given", exc_info=error)
    log.error("none", exc_info=True)  # noqa: LOG014 - the point
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first["exception"].startswith("Traceback (most recent call last):\n")
    assert "RuntimeError: failed with x" in first["exception"]
    assert first["exception"].endswith("OSError: [Errno 28] No space left on device")
    assert "exc_info" not in first
    assert "exception" not in second


# --- secrets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fmt", ["console", "json"])
@pytest.mark.parametrize("secret", [TOKEN, AWKWARD, "CANARY ${x} 'single'", "\\CANARY\\", "https://h/CANARY?a=ü&b=1"])
def test_redaction(fmt: logs.Format, secret: str) -> None:
    """A secret is hidden wherever it occurs: message, key, value, repr, URL-encoded, JSON, traceback, other loggers."""
    stream, _ = start(fmt, secrets=(secret,))
    log = logs.get_logger()
    log.info(secret)
    log.info("x%sx", secret)
    log.info("fields", **{secret: secret}, listed=[secret, {"deep": secret}], dumped=json.dumps({"a": secret}))
    for encoded in (quote(secret), quote(secret, safe=""), quote_plus(secret)):
        log.info(encoded)
        log.info(re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), encoded))
    try:
        fail(secret)
    except RuntimeError:
        log.exception("failed")
        logging.getLogger("asyncio").exception("also %s", secret)
    logging.getLogger("telegram").warning("POST %r", f"https://api.telegram.org/bot{secret}/sendMessage")
    text = stream.getvalue()
    assert "CANARY" not in text
    assert text.count("********") >= 10
    if fmt == "json":
        assert [json.loads(line)["level"] for line in text.splitlines()]


def test_redaction_of_what_only_looks_secret() -> None:
    """Bot tokens and URL passwords that nobody declared are hidden too, and ordinary text is left alone."""
    stream, sink = start()
    log = logs.get_logger()
    log.info("https://api.telegram.org/bot%s/getMe", TOKEN, url="http://user:CANARY@h:1/x", odd="http://CANARY@h")
    log.info(TOKEN.replace(":", "%3A"))
    log.info("mail a@b.example, see http://h/a@b, 12:30, 123456:short")
    first, second, third = stream.getvalue().splitlines()
    assert first == (
        HEAD + "INFO    https://api.telegram.org/bot********/getMe url=http://********@h:1/x odd=http://********@h"
    )
    assert second == HEAD + "INFO    ********"
    assert third == HEAD + "INFO    mail a@b.example, see http://h/a@b, 12:30, 123456:short"
    assert sink.redact(f"x {TOKEN}") == "x ********"


@pytest.mark.parametrize("message", [f"\u2028{TOKEN}", f"\u00fc{TOKEN}\n", f"\n{TOKEN}", f'"{TOKEN}"', f"\\{TOKEN}"])
def test_redaction_leaves_valid_json(message: str) -> None:
    """Hiding a token that touches an escape sequence still leaves JSON that can be read."""
    stream, _ = start("json")
    logs.get_logger().info(message, url="http://u:CANARY@h", mail=["a@b"])
    (line,) = stream.getvalue().splitlines()
    document = json.loads(line)
    assert "CANARY" not in line
    assert document["url"] == "http://********@h"
    assert "a@b" in document["mail"]


@given(st.text(min_size=4, max_size=20), st.sampled_from(["console", "json"]))
def test_any_secret_is_hidden(secret: str, fmt: logs.Format) -> None:
    """Any text of four or more characters can be declared a secret, and then is in no line."""
    marker = f"CANARY{secret}CANARY"
    stream, sink = start(fmt, secrets=(marker,))
    logs.get_logger().info(marker, value=marker, listed=[marker], number=1)
    assert sink.failures == 0
    assert "CANARY" not in stream.getvalue()


def test_redaction_stays_fast_on_hostile_text() -> None:
    """Sixteen times as long a text, made to slow pattern matching down, costs some sixteen times as much."""
    _, sink = start(secrets=(TOKEN,))

    def seconds(times: int) -> float:
        """Of the processor, the least of three."""
        texts = ("1" * times, "://" * times, "://x" + "y" * times, "a" * times, "://\u200b" * times)
        taken = []
        for _ in range(3):
            begun = time.thread_time()
            for text in texts:
                sink.write(f"@{text}")
                sink.write(f"{text}@")
            taken.append(time.thread_time() - begun)
        return min(taken)

    # Matching that grows with the square would take 256 times as long.
    assert seconds(64_000) < 80 * seconds(4_000)


# --- the standard library's logging ---------------------------------------------------------------------------------


def test_standard_library_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of other libraries from WARNING on come in our form, with their source; those below do not."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own raise what formatting a record raises
    stream, _ = start(level="DEBUG")
    logging.getLogger("some.library").warning("a\n%s", "b")
    monkeypatch.setattr(logging.getLogger(), "level", logging.DEBUG)
    logging.getLogger("some.library").info("not heard")
    for name in ("httpx", "httpcore", "httpcore.http11"):
        logging.getLogger(name).info("HTTP Request: POST %s", TOKEN)
        assert not logging.getLogger(name).isEnabledFor(logging.INFO)
    logging.getLogger("broken").error("%d", "CANARY")
    assert stream.getvalue().splitlines() == [
        HEAD + "WARNING a\\nb source=some.library",
        HEAD + "ERROR   %d source=broken",
    ]


def test_warnings_come_along() -> None:
    """A Python warning is a line like any other."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        stream, _ = start(secrets=("CANARY",))
        warnings.warn("CANARY is old", UserWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    (line,) = stream.getvalue().splitlines()
    assert line.startswith(HEAD + "WARNING ")
    assert "UserWarning: ******** is old" in line
    assert line.endswith(" source=py.warnings")


def test_a_lost_task_exception_is_redacted(capfd: pytest.CaptureFixture[str]) -> None:
    """What asyncio says of an exception nobody took goes through the sink, not to stderr."""
    stream, _ = start(secrets=(TOKEN,))

    async def run() -> None:
        asyncio.get_running_loop().call_exception_handler({"message": "lost", "exception": RuntimeError(TOKEN)})
        await asyncio.sleep(0)

    asyncio.run(run())
    assert HEAD + "ERROR   lost source=asyncio" in stream.getvalue()
    assert HEAD + "ERROR     | RuntimeError: ********" in stream.getvalue()
    assert capfd.readouterr().err == ""


def test_configure_again_replaces() -> None:
    """A second set-up takes the place of the first, for loggers made before it too, and nothing piles up."""
    log = logs.get_logger()
    first, _ = start()
    for _ in range(5):
        second, _ = start("json", level="ERROR")
    log.error("own")
    log.warning("below")
    logging.getLogger("x").error("other")
    logging.getLogger("x").warning("below")
    assert first.getvalue() == ""
    assert [json.loads(line)["event"] for line in second.getvalue().splitlines()] == ["own", "other"]
    assert sum(isinstance(handler, logs.Bridge) for handler in logging.getLogger().handlers) == 1


def test_before_configure(capsys: pytest.CaptureFixture[str]) -> None:
    """A logger used before the set-up writes safe lines to stderr, from INFO on, and nothing to stdout."""
    log = logs.get_logger()
    log.info("early\n%s", TOKEN)
    log.debug("too early")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(r"\S+Z \[capital_governor\] INFO    early\\n\*{8}\n", captured.err)


# --- a stream that fails --------------------------------------------------------------------------------------------


class Failing(io.StringIO):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error: Exception | None = error

    def write(self, text: str) -> int:
        if self.error is not None:
            raise self.error
        return super().write(text)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        BrokenPipeError(errno.EPIPE, "Broken pipe"),
        BlockingIOError(errno.EAGAIN, "again", 3),
        ValueError("I/O operation on closed file"),
        RuntimeError("reentrant call inside <_io.BufferedWriter>"),
    ],
)
def test_failures_are_counted(error: Exception) -> None:
    """A stream's failure reaches nobody but the counter, and the next line is tried again."""
    stream = Failing(error)
    sink = start_on(stream)
    log = logs.get_logger()
    log.info("lost")
    logging.getLogger("x").error("lost")
    assert (sink.failures, sink.last_error) == (2, str(error))
    stream.error = None
    log.info("kept")
    assert sink.failures == 2
    assert stream.getvalue() == HEAD + "INFO    kept\n"


def test_closed_and_missing_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed file, or no stderr at all, is a counted failure."""
    with (tmp_path / "log").open("w") as stream:
        sink = start_on(stream)
    logs.get_logger().info("lost")
    assert (sink.failures, sink.last_error) == (1, "I/O operation on closed file")
    monkeypatch.setattr(sys, "stderr", None)
    sink = start_on(None)
    logs.get_logger().info("lost")
    assert sink.failures == 1


def test_each_line_is_one_write(tmp_path: Path) -> None:
    """Lines written at once by many threads, tracebacks included, come out whole."""
    path = tmp_path / "log"
    with path.open("a") as stream:
        start_on(stream)
        threads = [threading.Thread(target=_chatter, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        lines = path.read_text().splitlines()  # before the file is closed: nothing waits in a buffer
    assert len(lines) == 8 * 200
    assert all(re.fullmatch(re.escape(HEAD) + r"INFO    (\d)\1{299}", line) for line in lines)


def _chatter(number: int) -> None:
    log = logs.get_logger()
    for _ in range(200):
        log.info(str(number) * 300)


def test_a_full_pipe() -> None:
    """A pipe nobody reads loses lines instead of stopping the writer; a line cut off ends before the next one."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with os.fdopen(writer, "w", encoding="utf-8") as stream, os.fdopen(reader, "rb", buffering=0) as end:
        sink = start_on(stream)
        for _ in range(100):
            logs.get_logger().info("x" * 9000)
        assert sink.failures > 0
        assert "temporarily unavailable" in sink.last_error
        read = end.read(1 << 20)
        logs.get_logger().info("after")
        read += end.read(1 << 20)
    lines = read.decode().splitlines()
    assert lines[-1] == HEAD + "INFO    after"
    assert len(lines[-2]) < 9000
    assert all(line == HEAD + "INFO    " + "x" * 9000 for line in lines[:-2])


def test_ascii_terminal(tmp_path: Path) -> None:
    """A stream that cannot hold a character gets its escape instead."""
    path = tmp_path / "log"
    with path.open("w", encoding="ascii") as stream:
        sink = start_on(stream)
        logs.get_logger().info("🎯 ü")
    assert path.read_text() == HEAD + "INFO    \\U0001f3af \\xfc\n"
    assert sink.failures == 0


PROGRAM = """
import logging, sys
from capital_governor.adapters import logs
sink = logs.configure(level="INFO", fmt="console", secrets=())
log = logs.get_logger()
for number in range(3000):
    log.info("x" * 100)
logging.getLogger("x").error("y")
print(sink.failures, sink.last_error, flush=True)
"""


def run(stderr: int | TextIO) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=stderr, text=True, check=False, timeout=60
    )


def test_full_disk() -> None:
    """With stderr on a full device all goes on, every loss is counted, and the exit code is that of success."""
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = run(full)
    assert done.stdout == "3001 [Errno 28] No space left on device\n"
    assert done.returncode == 0


def test_broken_pipe() -> None:
    """With nobody at the other end of stderr all goes on likewise."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = run(writer)
    finally:
        os.close(writer)
    assert done.stdout == "3001 [Errno 32] Broken pipe\n"
    assert done.returncode == 0


UNCAUGHT = """
import asyncio, os, sys, threading, warnings
from capital_governor.adapters import logs
logs.configure(level="INFO", fmt=sys.argv[1], secrets=("CANARY-secret",))
logs.catch_uncaught()
def fail(*_):
    raise ValueError("CANARY-secret\\nhttps://me:CANARY-password@host/ 123456789:CANARY" + "x" * 30)
class Doomed:
    def __del__(self):
        fail()
async def main():
    loop = asyncio.get_running_loop()
    loop.call_soon(fail)
    task = loop.create_task(asyncio.to_thread(fail))
    await asyncio.wait([task])
    del task
thread = threading.Thread(target=fail, name="worker")
thread.start()
thread.join()
doomed = Doomed()
del doomed
asyncio.run(main())
fail()
"""


@pytest.mark.parametrize("fmt", ["console", "json"])
def test_what_nothing_catches_is_logged_without_secrets(fmt: str) -> None:
    """In the main thread, another one, a destructor, a callback and a task: tagged, redacted tracebacks, and exit 1."""
    command = [sys.executable, "-c", UNCAUGHT, fmt]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "CANARY-" not in done.stderr
    assert done.stderr.count("Traceback (most recent call last)") >= 5
    lines = done.stderr.splitlines()
    assert all("[capital_governor]" in line if fmt == "console" else json.loads(line)["level"] for line in lines)
    for said in (
        "ending the thread worker",
        "Doomed",
        "Exception in callback fail()",
        "Task exception was never retrieved",
        "Unexpected error, ending",
    ):
        assert said in done.stderr, said


def test_light_import() -> None:
    """The logs load neither rich nor anything else that only a terminal program needs."""
    code = "import sys, capital_governor.adapters.logs; print([m for m in sys.argv[1:] if m in sys.modules])"
    heavy = ["rich", "typer", "click", "telegram", "uvicorn", "starlette", "numpy", "httpx", "pydantic"]
    done = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
