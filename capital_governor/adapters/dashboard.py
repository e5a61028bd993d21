"""The dashboard over HTTP: one request, answered within its deadline by a body or a Refusal, never by an exception.

A broken or hostile server can take only so much. One deadline covers name look-up, connection, TLS, headers, body,
retries and the waits between them. The body has a cap in bytes, and h11 caps the head.

Each attempt makes a new connection, since at one fetch per interval a kept one would mostly be stale. Proxies of the
environment are not used.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from contextlib import aclosing
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final, TypeVar, cast
from urllib.parse import urlsplit

from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, stop_before_delay, wait_random_exponential

from capital_governor.adapters.fetch_hints import DASHBOARD_HINTS, HIVE_HINTS, NO_HINTS, Hints
from capital_governor.adapters.http_failure import failure_text, is_tls
from capital_governor.adapters.http_get import USER_AGENT, get, httpx, tls_context
from capital_governor.adapters.loopback import is_loopback
from capital_governor.contracts.text import clean
from capital_governor.core.model import Refusal
from capital_governor.core.reason import Reason
from capital_governor.settings.load import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from tenacity import RetryCallState

T = TypeVar("T")

ATTEMPTS: Final = 3
_CHUNKS_PER_TURN: Final = 256
_SERVER_ERRORS: Final = range(500, 600)
_OK: Final = 200
_UNAUTHORIZED: Final = (401, 403)
_NOT_FOUND: Final = 404
_HIDDEN: Final = b"********"
_TOKEN: Final = "CAPITAL_GOVERNOR_DASHBOARD_TOKEN"  # noqa: S105 - the name of the setting
_METRICS: Final = b"/meta/metrics"
_METRICS_PORT: Final = 8090
"""Port of NeoLight's dashboard that has the metrics; the one at 8100 has only ``/status``."""
_REASON_SECONDS: Final = 0.5
_REASON_BYTES: Final = 4096
"""Time and size within which the reason in an answer other than 200 is read."""
_HEADERS: Final = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": USER_AGENT,
}


class _ServerError(Exception):
    """The server answered 5xx, perhaps with a reason: worth another attempt."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.reason = reason
        self._status = status

    def text(self, shown: str) -> str:
        """Return the answer in words; ``shown`` is how to name the server."""
        return _answered(self._status, shown, self.reason)


def dashboard_of(settings: Settings) -> Dashboard:
    """Return the dashboard that the settings name."""
    token = "" if settings.dashboard_token is None else settings.dashboard_token.get_secret_value()
    return Dashboard(
        settings.dashboard_url,
        settings.fetch_deadline_seconds,
        settings.fetch_max_bytes,
        token=token,
        hints=HIVE_HINTS if settings.hive else DASHBOARD_HINTS,
    )


def token_warnings(settings: Settings) -> list[str]:
    """Return a warning if the dashboard's token is sent unencrypted to another machine."""
    url = urlsplit(settings.dashboard_url)
    if settings.dashboard_token is None or url.scheme == "https" or is_loopback(url.hostname or ""):
        return []
    return [f"{_TOKEN} goes to {url.hostname} unencrypted, and others on the way can read it: use an https:// URL"]


class Dashboard:
    """One dashboard.

    Args:
        url: http or https, with or without a base path, without user and password. For https the system's
            certificates are used, or those of SSL_CERT_FILE.
        deadline_seconds: for one request in all, retries included.
        max_bytes: a longer body is refused.
        token: sent as ``Authorization: Bearer ...``; printable ASCII without blanks. It is removed from all answers.
        hints: what to add to a refusal of ``fetch``.
        back_off: returns the seconds to wait before another attempt, from tenacity's state of the call.
    """

    def __init__(
        self,
        url: str,
        deadline_seconds: float,
        max_bytes: int,
        *,
        token: str = "",
        hints: Hints = NO_HINTS,
        back_off: Callable[[RetryCallState], float] | None = None,
    ) -> None:
        self._url = url
        self._deadline_seconds = deadline_seconds
        self._max_bytes = max_bytes
        self._token = token
        self._hints = hints
        self._hidden = _forms(token)
        self._headers = _HEADERS | ({"Authorization": f"Bearer {token}"} if token else {})
        self._back_off = back_off or wait_random_exponential(multiplier=0.25, max=2.0)
        self._tls: ssl.SSLContext | None = None
        self._targets: dict[bytes, httpx.URL] = {}

    async def fetch(self) -> bytes | Refusal:
        """Return the body of ``GET {url}/meta/metrics`` as it came, at most ``max_bytes`` long, or a Refusal."""
        return await self._ask(_METRICS, self._body)

    async def status(self) -> int | Refusal:
        """Return 200, the status of ``GET {url}/status``, if the dashboard is up; else a Refusal."""
        return await self._ask(b"/status", _status)

    async def clock_ahead_seconds(self) -> float | Refusal | None:
        """Return by how much the dashboard's clock is ahead of this machine's, by the Date of ``GET {url}/status``.

        That has whole seconds, and the answer takes time: the smallest difference is returned that explains it, so that
        0 means that they may agree. None without such a header; a Refusal if there is no answer 200.
        """
        asked_at = time.time()
        shown = await self._ask(b"/status", _date)
        if shown is None or isinstance(shown, Refusal):
            return shown
        lowest, highest = shown - time.time(), shown + 1 - asked_at
        return lowest if lowest > 0 else min(highest, 0.0)

    async def _ask(self, path: bytes, read: Callable[[httpx.Response], Awaitable[T | Refusal]]) -> T | Refusal:
        answer = await self._answer(path, read)
        if isinstance(answer, Refusal) and self._token:  # an error's text may quote headers, and so the token
            return replace(answer, detail=self._hide(answer.detail.encode()).decode())
        return answer

    async def _answer(self, path: bytes, read: Callable[[httpx.Response], Awaitable[T | Refusal]]) -> T | Refusal:
        shown = "the dashboard"
        try:
            async with asyncio.timeout(self._deadline_seconds) as deadline:
                target = self._target(path)
                if target.userinfo:
                    return Refusal(Reason.FETCH_FAILED, "the dashboard's URL must not carry a user and a password")
                shown = clean(str(target))
                return await self._retrying()(self._attempt, target, read)
        except httpx.InvalidURL:
            # The text of the error quotes the URL, which may contain a password.
            return Refusal(Reason.FETCH_FAILED, "the dashboard's URL is not a valid one")
        except Exception as error:  # noqa: BLE001 - any error means that this cycle has no payload
            if isinstance(error, TimeoutError) and deadline.expired():
                said, hint = f"no answer within {self._deadline_seconds:g} s from {shown}", self._hints.silent
            elif isinstance(error, _ServerError):
                said, hint = error.text(shown), "" if error.reason else self._hints.unexplained
            else:
                said, hint = failure_text(error, shown), self._hint_of(error)
            return _refusal(said, hint if path == _METRICS else "")

    def _hint_of(self, error: Exception) -> str:
        if is_tls(error):  # the text of the failure has its own
            return ""
        return self._hints.absent if isinstance(error, httpx.ConnectError) else self._hints.silent

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
        async with get(target, self._headers, self._tls) as response:
            if response.status_code == _OK:
                return await read(response)
            return self._rejected(response, target, await self._reason_of(response))

    async def _body(self, response: httpx.Response) -> bytes | Refusal:
        encoding = response.headers.get("content-encoding", "identity")
        if encoding.strip().lower() != "identity":
            return Refusal(Reason.PAYLOAD_REFUSED, f"Content-Encoding {clean(encoding, 40)} was not asked for")
        declared = int(response.headers.get("content-length", "0"))
        if declared > self._max_bytes:
            return Refusal(Reason.PAYLOAD_REFUSED, f"the body is {declared} bytes, more than {self._max_bytes}")
        body = await _raw(response, self._max_bytes)
        if body is None:
            return Refusal(Reason.PAYLOAD_REFUSED, f"the body is more than {self._max_bytes} bytes")
        return self._hide(body)

    def _hide(self, body: bytes) -> bytes:
        """Return a body without the token, since parts of it go to logs and files."""
        for form in self._hidden:
            body = body.replace(form, _HIDDEN)
        return body

    def _rejected(self, response: httpx.Response, target: httpx.URL, reason: str) -> Refusal:
        status = response.status_code
        if status in _SERVER_ERRORS:
            raise _ServerError(status, reason)
        # The target of a redirect is not shown, since it may contain secrets.
        note = ", a redirect, which is not followed" if response.has_redirect_location else ""
        said = _answered(status, clean(str(target)) + note, reason)
        return _refusal(said, self._hint(status, target, explained=bool(reason)))

    async def _reason_of(self, response: httpx.Response) -> str:
        """Return the ``error`` of a JSON body, as the hive sends it, if it comes at once; else ""."""
        if not response.headers.get("content-type", "").startswith("application/json"):
            return ""
        try:
            async with asyncio.timeout(_REASON_SECONDS):
                body = await _raw(response, _REASON_BYTES)
            document = None if body is None else json.loads(self._hide(body))
        except (TimeoutError, httpx.TransportError, ValueError, RecursionError):
            return ""
        return clean(document.get("error")) if isinstance(document, dict) else ""

    def _hint(self, status: int, target: httpx.URL, *, explained: bool) -> str:
        """Return what an operator can do about a status; empty if nothing special."""
        if status in _UNAUTHORIZED:
            return f"it does not take this {_TOKEN}: correct it" if self._token else f"it wants a token: set {_TOKEN}"
        if not target.raw_path.endswith(_METRICS):
            return ""
        if status == _NOT_FOUND:
            often = "" if target.port == _METRICS_PORT else f", often at port {_METRICS_PORT}"
            return self._hints.foreign or (
                "this server has no /meta/metrics: set NEOLIGHT_DASHBOARD_URL to the dashboard that has it "
                f"(NeoLight's{often})"
            )
        return "" if explained else self._hints.unexplained


async def _raw(response: httpx.Response, max_bytes: int) -> bytes | None:
    """Return the body as it came; None if it is longer than ``max_bytes``."""
    body, count = bytearray(), 0
    # Closed explicitly: the garbage collector would close it in a task that nothing waits for.
    async with aclosing(cast("AsyncGenerator[bytes]", response.aiter_raw())) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) > max_bytes:
                return None
            count += 1
            if count % _CHUNKS_PER_TURN == 0:
                # One read may hold ten thousand chunks of one byte: let the event loop handle deadline and signals.
                await asyncio.sleep(0)
    return bytes(body)


async def _status(response: httpx.Response) -> int:
    return response.status_code


async def _date(response: httpx.Response) -> float | None:
    """Return the time of an answer's head, in seconds since 1970 UTC; None without one."""
    try:
        return parsedate_to_datetime(response.headers.get("date", "")).timestamp()
    except (ValueError, OverflowError):
        return None


def _refusal(said: str, hint: str = "") -> Refusal:
    return Refusal(Reason.FETCH_FAILED, f"{said}; {hint}" if hint else said)


def _forms(token: str) -> tuple[bytes, ...]:
    """Return the forms in which JSON may contain a token."""
    escaped = json.dumps(token)[1:-1]
    return tuple({form.encode() for form in (token, escaped, escaped.replace("/", "\\/")) if form})


def _answered(status: int, shown: str, reason: str) -> str:
    return f"HTTP {status} from {shown}" + (f": {reason}" if reason else "")


def _worth_another_attempt(error: BaseException) -> bool:
    if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        return False
    return isinstance(error, httpx.TransportError | _ServerError)
