"""The real python-telegram-bot against a Bot API on loopback: what each answer comes to, and that nothing leaks."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import timedelta

import pytest

from capital_governor.adapters.notifier import Delivery, Refused, Retry, Sent
from capital_governor.adapters.telegram import LONGEST_TEXT, Telegram
from tests.rigs.bot_api import (
    CHAT,
    TOKEN,
    Answer,
    BotApi,
    Exchange,
    bad_gateway,
    hang,
    malformed,
    migrate,
    ok,
    pause,
    refuse,
    reset,
)
from tests.rigs.patience import PATIENCE_SECONDS

SECRET = TOKEN.partition(":")[2]
LOOK = "check TELEGRAM_API_BASE_URL"


def web_page(status: str) -> Answer:
    """Answer as a web server that is no Bot API."""

    def script(exchange: Exchange) -> None:
        exchange.answer(f"<html>{TOKEN}</html>".encode(), status)

    return script


def send(
    api: BotApi, *texts: str, deadline: float = PATIENCE_SECONDS, url: str = "", topic: int | None = None
) -> list[Delivery]:
    async def all_of_them() -> list[Delivery]:
        telegram = Telegram(TOKEN, CHAT, url or api.base_url, topic_id=topic, redact=str, deadline_seconds=deadline)
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
    assert api.topics == [""] * 2


def test_a_name_that_looks_like_a_link_has_no_preview(api: BotApi) -> None:
    """Telegram makes a link of an agent's name such as a.com; no page of a stranger is shown below the message."""
    api.next(migrate(-100777), ok)
    assert send(api, "a.com: 40.0%", "b.org (12 %) has been silent for 10 min.") == [Sent(), Sent()]
    assert [json.loads(asked) for asked in api.previews] == [{"is_disabled": True}] * 3


def test_a_text_goes_to_the_topic(api: BotApi) -> None:
    """With a topic the message is sent into that topic of the chat."""
    assert send(api, "text", topic=42) == [Sent()]
    assert (api.chats, api.topics, api.taken) == ([CHAT], ["42"], ["text"])


@pytest.mark.parametrize("said", ["Bad Request: message thread not found", "Bad Request: TOPIC_CLOSED"])
def test_a_topic_that_is_not_there_is_named(api: BotApi, said: str) -> None:
    """A refusal that is about the topic names its setting; without a topic it is the chat's."""
    api.next(refuse(400, said))
    (told,) = send(api, "text", topic=42)
    assert isinstance(told, Refused)
    assert told.detail.endswith(": check TELEGRAM_TOPIC_ID, a topic of the chat in TELEGRAM_CHAT_ID")
    (told,) = send(api, "text")
    assert isinstance(told, Refused)
    assert "check TELEGRAM_CHAT_ID" in told.detail


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
        (bad_gateway, "SERVER answers: Bad Gateway (502)"),
        (refuse(500, "Internal Server Error"), "SERVER answers: Internal Server Error"),
        (refuse(409, "Conflict"), "SERVER answers: Conflict"),
        (reset, "connection reset by SERVER"),
        (lambda _: None, "no usable answer from SERVER: Server disconnected without sending a response."),
        (malformed, f"the answer of SERVER is not one of Telegram's (Invalid server response): {LOOK}"),
        (web_page("404 Not Found"), f"the answer of SERVER is not one of Telegram's (Not Found (404)): {LOOK}"),
        (web_page("403 Forbidden"), f"the answer of SERVER is not one of Telegram's (Forbidden (403)): {LOOK}"),
        (lambda exchange: exchange.answer([]), f"the answer of SERVER is not one of Telegram's: {LOOK}"),
        (lambda exchange: exchange.answer({"ok": True}), f"the answer of SERVER is not one of Telegram's: {LOOK}"),
        (
            lambda exchange: exchange.answer({"ok": True, "result": {"message_id": 1}}),
            f"the answer of SERVER is not one of Telegram's: {LOOK}",
        ),
        (
            lambda exchange: exchange.answer([1], "400 Bad Request"),
            f"the answer of SERVER is not one of Telegram's: {LOOK}",
        ),
        (migrate("elsewhere"), f"the answer of SERVER is not one of Telegram's: {LOOK}"),
        (migrate(True), f"the answer of SERVER is not one of Telegram's: {LOOK}"),
    ],
)
def test_what_may_pass_is_tried_again(api: BotApi, answer: Answer, detail: str) -> None:
    """What is broken, no answer of Telegram's or a failure of its server may pass; a sentence says which it was."""
    api.next(answer)
    assert send(api, "text") == [Retry(detail.replace("SERVER", f"the Bot API at 127.0.0.1:{api.port}"))]


def test_a_group_that_moved_is_followed(api: BotApi, capsys: pytest.CaptureFixture[str]) -> None:
    """What a group that became a supergroup refuses goes to its new id at once, as all later messages; it is said once.

    After a restart the same again: no message is lost, and none refused.
    """
    api.next(migrate(-100777), ok)
    assert send(api, "one", "two", topic=7) == [Sent(), Sent()]
    assert api.chats == [CHAT, "-100777", "-100777"]
    assert api.topics == ["7"] * 3
    assert api.taken == ["one", "two"]
    said = capsys.readouterr().err
    assert said.count("the group has a new chat id: set TELEGRAM_CHAT_ID=-100777") == said.count("\n") == 1
    api.next(migrate(-100777), ok)
    assert send(api, "three") == [Sent()]
    assert api.chats[3:] == [CHAT, "-100777"]


@pytest.mark.parametrize("new", [int(CHAT), -100777])
def test_a_group_that_moves_in_circles_is_tried_again(api: BotApi, new: int) -> None:
    """An id that is never the last is no reason to refuse a message, nor to ask without end."""
    api.next(migrate(new))
    assert send(api, "text") == [Retry(f"the group has a new chat id: set TELEGRAM_CHAT_ID={new}")]
    assert len(api.asked) <= 2


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

    async def both() -> list[Delivery]:
        telegram = Telegram(TOKEN, CHAT, api.base_url, redact=str, deadline_seconds=0.3)
        try:
            first = await telegram.send("one")
            telegram._deadline_seconds = PATIENCE_SECONDS
            return [first, await telegram.send("two")]
        finally:
            await telegram.close()

    api.next(hang, ok)
    silent = Retry(f"no answer within 0.3 s from the Bot API at 127.0.0.1:{api.port}")
    assert asyncio.run(both()) == [silent, Sent()]
    assert api.taken == ["two"]


def test_nobody_there_is_tried_again() -> None:
    """A refused connection leaves the notice for another attempt."""
    with BotApi() as api:
        gone = api.base_url
    assert send(api, "text", url=gone) == [Retry(f"connection refused by the Bot API at 127.0.0.1:{api.port}")]


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
