"""The dashboard over HTTP: one bounded question, one answer or a Refusal; never an exception, never late.

Everything that a broken, hostile or merely absent server can do is bounded here: the time by one deadline around name
look-up, connection, TLS, headers, body, retries and their waits; the memory by a cap on the body, and by h11's on the
head.

Each attempt makes a connection of its own: at one fetch per interval a kept one would mostly be stale.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, TypeVar, cast

from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, stop_before_delay, wait_random_exponential

from capital_governor.adapters.http_failure import failure_text
from capital_governor.adapters.http_get import USER_AGENT, get, httpx, tls_context
from capital_governor.adapters.wire import clean
from capital_governor.core.model import Refusal
from capital_governor.core.reason import Reason

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from tenacity import RetryCallState

T = TypeVar("T")

ATTEMPTS: Final = 3
_CHUNKS_PER_TURN: Final = 256
_SERVER_ERRORS: Final = range(500, 600)
_OK: Final = 200
_REASON_SECONDS: Final = 0.5
_REASON_BYTES: Final = 4096
"""An answer other than 200 gets so much time and room to say why."""
_HEADERS: Final = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": USER_AGENT,
}


class _ServerError(Exception):
    """The server answered 5xx, and may have said why: worth another attempt."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self._status, self._reason = status, reason

    def text(self, shown: str) -> str:
        """Return what to tell of it; ``shown`` is how to name the server."""
        return _answered(self._status, shown, self._reason)


class Dashboard:
    """One dashboard.

    Args:
        url: http or https, with or without a base path, without user and password. For https the system's
            certificates count, or those that SSL_CERT_FILE names.
        deadline_seconds: within this an answer or a Refusal is there, whatever happens.
        max_bytes: a longer body is refused.
        back_off: seconds to wait before another attempt; it is given tenacity's state of the call.
    """

    def __init__(
        self,
        url: str,
        deadline_seconds: float,
        max_bytes: int,
        *,
        back_off: Callable[[RetryCallState], float] | None = None,
    ) -> None:
        self._url = url
        self._deadline_seconds = deadline_seconds
        self._max_bytes = max_bytes
        self._back_off = back_off or wait_random_exponential(multiplier=0.25, max=2.0)
        self._tls: ssl.SSLContext | None = None
        self._targets: dict[bytes, httpx.URL] = {}

    async def fetch(self) -> bytes | Refusal:
        """Return the body of ``GET {url}/meta/metrics`` as it came, at most ``max_bytes`` long, or a Refusal."""
        return await self._ask(b"/meta/metrics", self._body)

    async def status(self) -> int | Refusal:
        """Return the status of ``GET {url}/status``, which is 200: the dashboard is up; or a Refusal."""
        return await self._ask(b"/status", _status)

    async def _ask(self, path: bytes, read: Callable[[httpx.Response], Awaitable[T | Refusal]]) -> T | Refusal:
        shown = "the dashboard"
        try:
            async with asyncio.timeout(self._deadline_seconds) as deadline:
                target = self._target(path)
                if target.userinfo:
                    return Refusal(Reason.FETCH_FAILED, "the dashboard's URL must not carry a user and a password")
                shown = clean(str(target))
                return await self._retrying()(self._attempt, target, read)
        except TimeoutError as error:
            if deadline.expired():
                return Refusal(Reason.FETCH_FAILED, f"no answer within {self._deadline_seconds:g} s from {shown}")
            return Refusal(Reason.FETCH_FAILED, failure_text(error, shown))
        except httpx.InvalidURL:
            # Its text quotes the URL, of which a part may be a password.
            return Refusal(Reason.FETCH_FAILED, "the dashboard's URL is not a valid one")
        except Exception as error:  # noqa: BLE001 - whatever the libraries let through, this cycle has no payload
            return Refusal(
                Reason.FETCH_FAILED,
                error.text(shown) if isinstance(error, _ServerError) else failure_text(error, shown),
            )

    def _target(self, path: bytes) -> httpx.URL:
        if path not in self._targets:
            base = httpx.URL(self._url)
            below = base.raw_path.partition(b"?")[0].rstrip(b"/") + path
            self._targets[path] = base.copy_with(raw_path=below, fragment=None)
        return self._targets[path]

    def _retrying(self) -> AsyncRetrying:
        return AsyncRetrying(
            stop=stop_after_attempt(ATTEMPTS) | stop_before_delay(self._deadline_seconds),
            wait=self._back_off,
            retry=retry_if_exception(_worth_another_attempt),
            reraise=True,
        )

    async def _attempt(
        self, target: httpx.URL, read: Callable[[httpx.Response], Awaitable[T | Refusal]]
    ) -> T | Refusal:
        self._tls = self._tls or tls_context(target)
        async with get(target, _HEADERS, self._tls) as response:
            if response.status_code == _OK:
                return await read(response)
            return _rejected(response, target, await _reason_of(response))

    async def _body(self, response: httpx.Response) -> bytes | Refusal:
        encoding = response.headers.get("content-encoding", "identity")
        if encoding.strip().lower() != "identity":
            return Refusal(Reason.PAYLOAD_REFUSED, f"Content-Encoding {clean(encoding, 40)} was not asked for")
        declared = int(response.headers.get("content-length", "0"))
        if declared > self._max_bytes:
            return Refusal(Reason.PAYLOAD_REFUSED, f"the body is {declared} bytes, more than {self._max_bytes}")
        body = await _raw(response, self._max_bytes)
        return (
            Refusal(Reason.PAYLOAD_REFUSED, f"the body is more than {self._max_bytes} bytes") if body is None else body
        )


async def _raw(response: httpx.Response, max_bytes: int) -> bytes | None:
    """Return the body as it came, None if it is longer than ``max_bytes``; no more than that is kept of it."""
    body, count = bytearray(), 0
    # Closed here and now: left to the garbage collector, it would be closed by a task nobody waits for.
    async with aclosing(cast("AsyncGenerator[bytes]", response.aiter_raw())) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) > max_bytes:
                return None
            count += 1
            if count % _CHUNKS_PER_TURN == 0:
                # One read may hold ten thousand chunks of a byte each; deadline and signals must get their turn.
                await asyncio.sleep(0)
    return bytes(body)


async def _status(response: httpx.Response) -> int:
    return response.status_code


async def _reason_of(response: httpx.Response) -> str:
    """Return why it is no 200, where its body is JSON and says so at once in ``error``, as the hive's; else nothing."""
    if not response.headers.get("content-type", "").startswith("application/json"):
        return ""
    try:
        async with asyncio.timeout(_REASON_SECONDS):
            body = await _raw(response, _REASON_BYTES)
        document = None if body is None else json.loads(body)
    except (TimeoutError, httpx.TransportError, ValueError, RecursionError):
        return ""
    return clean(document.get("error")) if isinstance(document, dict) else ""


def _rejected(response: httpx.Response, target: httpx.URL, reason: str) -> Refusal:
    status = response.status_code
    if status in _SERVER_ERRORS:
        raise _ServerError(status, reason)
    # Where a redirect points to is not said: the target may carry secrets.
    note = ", a redirect, which is not followed" if response.has_redirect_location else ""
    return Refusal(Reason.FETCH_FAILED, _answered(status, clean(str(target)) + note, reason))


def _answered(status: int, shown: str, reason: str) -> str:
    return f"HTTP {status} from {shown}" + (f": {reason}" if reason else "")


def _worth_another_attempt(error: BaseException) -> bool:
    if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        return False
    return isinstance(error, httpx.TransportError | _ServerError)
