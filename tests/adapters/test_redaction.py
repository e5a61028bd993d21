"""No secret is in a line, whatever form it has there."""

from __future__ import annotations

import json
import logging
import re
import time
from typing import Final
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capital_governor.adapters import logs
from capital_governor.adapters.log_format import Format
from capital_governor.adapters.redaction import Redaction
from tests.rigs.log_in_memory import AWKWARD, HEAD, TOKEN, fail, start

FORMATS: Final[tuple[Format, ...]] = ("console", "json")

pytestmark = pytest.mark.usefixtures("logging_as_before")


@pytest.mark.parametrize("fmt", ["console", "json"])
@pytest.mark.parametrize("secret", [TOKEN, AWKWARD, "CANARY ${x} 'single'", "\\CANARY\\", "https://h/CANARY?a=ü&b=1"])
def test_redaction(fmt: Format, secret: str) -> None:
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
        HEAD
        + "INFO    [capital_governor] https://api.telegram.org/bot********/getMe url=http://********@h:1/x odd=http://********@h"
    )
    assert second == HEAD + "INFO    [capital_governor] ********"
    assert third == HEAD + "INFO    [capital_governor] mail a@b.example, see http://h/a@b, 12:30, 123456:short"
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
def test_any_secret_is_hidden(secret: str, fmt: Format) -> None:
    """Any text of four or more characters can be declared a secret, and then is in no line."""
    marker = f"CANARY{secret}CANARY"
    stream, sink = start(fmt, secrets=(marker,))
    logs.get_logger().info(marker, value=marker, listed=[marker], number=1)
    assert sink.failures == 0
    assert "CANARY" not in stream.getvalue()


def test_redaction_stays_fast_on_hostile_text() -> None:
    """Sixteen times as long a text, made to slow pattern matching down, costs some sixteen times as much."""
    start(secrets=(TOKEN,))
    log = logs.get_logger()

    def seconds(times: int) -> float:
        """Of the processor, the least of three."""
        texts = ("1" * times, "://" * times, "://x" + "y" * times, "a" * times, "://\u200b" * times)
        taken = []
        for _ in range(3):
            begun = time.thread_time()
            for text in texts:
                log.info("@%s", text)
                log.info("%s@", text)
            taken.append(time.thread_time() - begun)
        return min(taken)

    # Matching that grows with the square would take 256 times as long.
    assert seconds(64_000) < 80 * seconds(4_000)


@pytest.mark.parametrize("secret", ["event", "level", "timestamp", "agent", "2025", "INFO", "info", "1234"])
def test_a_secret_that_is_an_ordinary_word_fails_no_line(secret: str) -> None:
    """Whatever is declared a secret, each line is written, and in JSON has its keys."""
    fields = {"agent": "Ada", "score": 1234.5, "listed": [1234, {"agent": secret}], "pair": (secret, 1)}
    for fmt in FORMATS:
        stream, sink = start(fmt, secrets=(secret,))
        logs.get_logger().info(f"{secret} of {secret}", **fields)
        (line,) = stream.getvalue().splitlines()
        assert sink.failures == 0
        if fmt == "json":
            document = json.loads(line)
            assert {"timestamp", "level", "event", "logger"} <= document.keys()
            assert document["event"] == "******** of ********"
            assert document["pair"] == ["********", 1]


def test_fields_keep_their_kind_where_nothing_is_hidden() -> None:
    """Redaction changes the texts that have a secret, and leaves numbers, lists and names as they are."""
    redaction = Redaction(["CANARY"])
    event = {"event": "x CANARY", "number": 0.5, "listed": ["a", {"CANARY": "b", 1: None}], "of_CANARY": True}
    assert redaction(None, "info", event) == {
        "event": "x ********",
        "number": 0.5,
        "listed": ["a", {"********": "b", 1: None}],
        "of_********": True,
    }
