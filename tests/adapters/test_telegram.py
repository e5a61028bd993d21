"""The real python-telegram-bot against a Bot API on loopback: what each answer comes to, and that nothing leaks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from datetime import timedelta

import pytest

from capital_governor.adapters.outbox import Delivery, Refused, Retry, Sent
from capital_governor.adapters.telegram import LONGEST_TEXT, Telegram
from tests.botapi import (
    CHAT,
    TOKEN,
    Answer,
    BotApi,
    bad_gateway,
    hang,
    malformed,
    ok,
    pause,
    refuse,
    reset,
)

SECRET = TOKEN.partition(":")[2]


@pytest.fixture
def api() -> Iterator[BotApi]:
    with BotApi() as made:
        yield made


def send(api: BotApi, *texts: str, deadline: float = 5.0, url: str = "") -> list[Delivery]:
    async def all_of_them() -> list[Delivery]:
        telegram = Telegram(TOKEN, CHAT, url or api.base_url, redact=str, deadline_seconds=deadline)
        try:
            return [await telegram.send(text) for text in texts]
        finally:
            await telegram.close()

    return asyncio.run(all_of_them())


def test_a_text_arrives_as_it_is(api: BotApi) -> None:
    """Text reaches the chat unchanged, whatever markup it looks like, at the address made of URL and token."""
    text = "🎯 Capital Reallocation:\nSmart_Trader*: 40.0%\n<b>&amp;"
    assert send(api, text, "again") == [Sent(), Sent()]
    assert api.taken == [text, "again"]
    assert api.asked == [f"/bot{TOKEN}/sendMessage"] * 2
    assert api.chats == [CHAT] * 2


def test_a_text_that_is_too_long_is_cut(api: BotApi) -> None:
    """What a message cannot hold is cut rather than refused."""
    assert send(api, "x" * 5_000) == [Sent()]
    assert api.taken == ["x" * LONGEST_TEXT]


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (refuse(400, "Bad Request: chat not found"), "Chat not found: check TELEGRAM_CHAT_ID"),
        (refuse(403, "Forbidden: bot was kicked"), "bot was kicked: check TELEGRAM_CHAT_ID"),
        (refuse(401, "Unauthorized"), "check TELEGRAM_BOT_TOKEN"),
        (refuse(404, "Not Found"), "check TELEGRAM_BOT_TOKEN"),
        (refuse(400), "/bot********/sendMessage: check TELEGRAM_CHAT_ID"),
    ],
)
def test_what_no_further_attempt_can_mend_is_refused(api: BotApi, answer: Answer, detail: str) -> None:
    """400, 401, 403 and 404 are for good, and say what to look at."""
    api.next(answer)
    (told,) = send(api, "text")
    assert isinstance(told, Refused)
    assert detail in told.detail
    assert SECRET not in told.detail


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (bad_gateway, "Bad Gateway (502)"),
        (refuse(500, "Internal Server Error"), "Internal Server Error"),
        (refuse(409, "Conflict"), "Conflict"),
        (reset, "ReadError"),
        (malformed, "JSONDecodeError"),
        (lambda exchange: exchange.answer([]), "TypeError"),
        (lambda exchange: exchange.answer({"ok": True}), "KeyError"),
    ],
)
def test_what_may_pass_is_tried_again(api: BotApi, answer: Answer, detail: str) -> None:
    """Broken connections and answers, and failures of the server, leave the notice for another attempt."""
    api.next(answer)
    assert send(api, "text") == [Retry(detail)]


def test_a_group_that_moved_is_named(api: BotApi) -> None:
    """A group that became a supergroup has another id, which the operator is told."""
    body = {"ok": False, "error_code": 400, "description": "moved", "parameters": {"migrate_to_chat_id": -100777}}
    api.next(lambda exchange: exchange.answer(body, "400 Bad Request"))
    assert send(api, "text") == [Refused("the group has a new chat id: set TELEGRAM_CHAT_ID=-100777")]


@pytest.mark.parametrize(("asked", "waits"), [(1, 1.0), (30, 30.0), (86_400, 86_400.0), (2.5, 2.5)])
def test_a_pause_is_told_in_seconds(api: BotApi, asked: float, waits: float) -> None:
    """However long Telegram wants to be left alone, and without a warning of the library."""
    api.next(pause(asked))
    assert send(api, "text") == [Retry("Telegram asks for a pause", waits)]


@pytest.mark.parametrize("asked", ["soon", [], {}, 1e300, -1, True])
def test_a_pause_that_is_none_raises_nothing(api: BotApi, asked: object) -> None:
    """Whatever stands where the seconds should be, it is one more failed attempt."""
    api.next(pause(asked))
    (told,) = send(api, "text")
    assert isinstance(told, Retry)


def test_silence_ends_with_the_deadline(api: BotApi) -> None:
    """A server that never answers is given up, and the next attempt gets through."""
    api.next(hang, ok)
    assert send(api, "one", "two", deadline=0.3) == [Retry("no answer within 0 s"), Sent()]
    assert api.taken == ["two"]


def test_nobody_there_is_tried_again() -> None:
    """A refused connection leaves the notice for another attempt."""
    with BotApi() as api:
        gone = api.base_url
    assert send(api, "text", url=gone) == [Retry("ConnectError")]


def test_a_proxy_of_the_environment_is_not_for_loopback(api: BotApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes to this machine goes there directly."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert send(api, "text") == [Sent()]


def test_no_failure_shows_the_token(api: BotApi, caplog: pytest.LogCaptureFixture) -> None:
    """Neither what is said of a failure nor any library's log above INFO has the token or its secret half."""
    caplog.set_level(logging.WARNING)
    answers = [refuse(code) for code in (400, 401, 403, 404, 409, 500)]
    answers += [malformed, bad_gateway, reset, pause(1)]
    api.next(*answers, ok)
    told = send(api, *["text"] * len(answers))
    assert Sent() not in told
    assert SECRET not in repr(told) + caplog.text


def test_a_pause_may_be_a_number_or_a_span() -> None:
    """Both forms that versions of the library give mean the same."""
    from capital_governor.adapters.telegram import _seconds  # noqa: PLC0415 - only this test looks inside

    assert _seconds(90) == _seconds(timedelta(minutes=1, seconds=30)) == 90.0
