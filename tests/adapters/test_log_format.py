"""What a log line looks like: one line an event, in the wording that operators search for."""

from __future__ import annotations

import json
import logging
import os
import re
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capital_governor.adapters import logs
from capital_governor.wording.log_events import log_text
from tests.rigs.log_in_memory import HEAD, fail, start

pytestmark = pytest.mark.usefixtures("logging_as_before")

SCORE: Final = {"agent": "SmartTrader", "score": 0.72344, "pnl_7d": 850.0, "sharpe_30d": 1.2341, "winrate_30d": 0.65}
SCORED: Final = "SmartTrader: score=0.7234 (PnL=850.00, Sharpe=1.234, WR=0.650)"


# --- what a line looks like -----------------------------------------------------------------------------------------


def test_console_line() -> None:
    """A line is time stamp, level, tag and message, then fields; only values with blanks or quotes are quoted."""
    stream, _ = start()
    log = logs.get_logger()
    log.info("Starting Capital Governor Intelligence @ http://localhost:8100")
    log.warning("100 % of it", generation=41, why="no news", quoted='a"b', nothing="", none=None)
    log.error("Override", keys=["a", "b"])
    log.debug("%s and %d", "one", 2)
    assert stream.getvalue().splitlines() == [
        HEAD + "INFO    [capital_governor] Starting Capital Governor Intelligence @ http://localhost:8100",
        HEAD + 'WARNING [capital_governor] 100 % of it generation=41 why="no news" quoted="a\\"b" nothing="" none=None',
        HEAD + "ERROR   [capital_governor] Override keys=\"['a', 'b']\"",
        HEAD + "DEBUG   [capital_governor] one and 2",
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
    assert stream.getvalue() == f"{HEAD}INFO    [capital_governor] {wording}\n"


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
    assert stream.getvalue() == HEAD + 'INFO    [capital_governor] odd value="<unprintable Mute>"\n'


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


def test_an_event_is_its_sentence_in_the_console() -> None:
    """The console shows the sentence alone, as NeoLight's log has it; name and fields of the event are for JSON."""
    stream, _ = start(words=log_text)
    logs.get_logger().info("agent_scored", **SCORE)
    assert stream.getvalue() == f"{HEAD}INFO    [capital_governor] {SCORED}\n"


def test_an_event_has_name_and_fields_in_json() -> None:
    """JSON has the sentence where it always was, and beside it name and fields of the event, as numbers."""
    stream, _ = start("json", words=log_text)
    logs.get_logger().info("agent_scored", **SCORE)
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line) == {
        "timestamp": "2025-11-03T22:00:00Z",
        "level": "INFO",
        "event": SCORED,
        "logger": "capital_governor",
        "event_name": "agent_scored",
        **SCORE,
    }


@pytest.mark.parametrize(
    ("event", "wrong"),
    [
        ("agent_scored", {}),
        ("agent_scored", {"agent": "Ada", "score": "high"}),
        ("agent_scored", {"agent": "Ada", "score": None}),
        ("hold_began", {"message": "Held", "detail": None, "ends_with": "nothing"}),
    ],
)
def test_a_field_that_is_missing_or_wrong_fails_no_caller(event: str, wrong: dict[str, object]) -> None:
    """Where a sentence cannot be made, the line has the name and the fields as they are."""
    stream, sink = start(words=log_text)
    logs.get_logger().info(event, **wrong)
    fields = "".join(f" {name}={value}" for name, value in wrong.items())
    assert stream.getvalue() == f"{HEAD}INFO    [capital_governor] {event}{fields}\n"
    assert sink.failures == 0


def test_another_librarys_words_are_no_event() -> None:
    """A library that happens to log the name of an event does not get its sentence."""
    stream, _ = start(words=log_text)
    logging.getLogger("x").warning("stopped")
    assert stream.getvalue() == f"{HEAD}WARNING [capital_governor] stopped source=x\n"


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
    assert text.startswith(HEAD + "WARNING [capital_governor] ")


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
    assert stream.getvalue() == HEAD + 'INFO    [capital_governor] a\\nb\\t\\x1b[0m\\u202e\\U000e0001 name="x\\ny"\n'


def test_color_marks_the_level_only() -> None:
    """Colour is for the level, and no more."""
    stream, _ = start(color=True)
    logs.get_logger().warning("careful")
    assert stream.getvalue() == HEAD + "\x1b[33mWARNING\x1b[0m [capital_governor] careful\n"


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
    assert rows[0] == HEAD + "ERROR   [capital_governor] Cycle failed generation=41"
    assert rows[1] == HEAD + "ERROR   [capital_governor]   | Traceback (most recent call last):"
    assert rows[-2:] == [
        HEAD + "ERROR   [capital_governor]   | RuntimeError: failed with two",
        HEAD + "ERROR   [capital_governor]   | rows\\x1b[31m",
    ]
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
