"""The heartbeat: one GET to a dead man's switch after each completed cycle, in the background.

Such a service alarms when it has not been asked for a while, so that a machine that is gone is noticed from outside.
Its URL is a key, and is in nothing that is said here. A proxy of the environment is asked for it; of an https URL such
a proxy sees the host alone.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Final

from capital_governor.adapters.http_failure import failure_text, proxy_text, wants_proxy_password
from capital_governor.adapters.http_get import USER_AGENT, get, httpx, tls_context
from capital_governor.adapters.proxies import ProxyUnusableError, Route, route_to

DEADLINE_SECONDS: Final = 10.0
_SERVER: Final = "the heartbeat's server"
_HEADERS: Final = {"Accept-Encoding": "identity", "Connection": "close", "User-Agent": USER_AGENT}


class Heartbeat:
    """One dead man's switch. Used in an event loop.

    Args:
        url: http or https; all of it is secret.
        tell: called after each beat with why it failed, "" if it did not.
        deadline_seconds: for one beat.

    Attributes:
        failures: beats that failed so far.
        problem: why the last beat failed; empty if it did not.
    """

    def __init__(self, url: str, tell: Callable[[str], object], *, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self.failures = 0
        self.problem = ""
        self._url = url
        self._tell = tell
        self._deadline_seconds = deadline_seconds
        self._tls: ssl.SSLContext | None = None
        self._route: Route | None = None
        self._task: asyncio.Task[None] | None = None

    def beat(self) -> None:
        """Start a beat in the background, unless one is still running."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._beat(), name="heartbeat")

    async def flush(self) -> None:
        """Wait for a running beat."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def close(self) -> None:
        """Cancel a running beat."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _beat(self) -> None:
        self.problem = await self._ask()
        self.failures += bool(self.problem)
        self._tell(self.problem)

    async def _ask(self) -> str:
        """Send one request; return what went wrong, empty if nothing did."""
        via = ""
        try:
            self._route = self._route or route_to(self._url)
            via = self._route.via
            async with asyncio.timeout(self._deadline_seconds):
                target = httpx.URL(self._url)
                self._tls = self._tls or tls_context(target)
                async with get(target, _HEADERS, self._tls, self._route.proxy) as response:
                    if via and wants_proxy_password(status := str(response.status_code)):
                        return proxy_text(via, status)
                    return "" if response.is_success else f"HTTP {response.status_code}"
        except TimeoutError:
            return f"no answer within {self._deadline_seconds:g} s" + (f" through {via}" if via else "")
        except ProxyUnusableError as error:
            return str(error)
        except httpx.InvalidURL:
            return "the URL is not a valid one"  # the library's text quotes it
        except Exception as error:  # noqa: BLE001 - any error is a failed beat
            return failure_text(error, _SERVER, via)
