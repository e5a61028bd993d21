"""One GET over a connection of its own, for those that ask somebody else's server: no cookies, no proxy, no redirects.

httpx's transport is used without its Client on top: a Client would parse cookies (a tenth of a second of blocked loop
for a hostile head full of them), keep state from one request to the next, and log full addresses.
"""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

from capital_governor import __version__
from capital_governor.adapters.wire import clean
from capital_governor.lean import remember_absent, without

with without("click", "pygments", "rich"):
    import httpx
remember_absent("sniffio")

__all__ = ["USER_AGENT", "failure_text", "get", "httpx", "tls_context"]  # httpx itself, loaded the lean way

USER_AGENT: Final = f"capital-governor/{__version__}"
_NO_LIMITS: Final = httpx.Limits(max_connections=1, max_keepalive_connections=0)

# Both write full addresses at INFO and below, secrets in them included.
for _chatty in ("httpx", "httpcore"):
    logging.getLogger(_chatty).setLevel(logging.WARNING)


def tls_context(target: httpx.URL) -> ssl.SSLContext:
    """Return what a connection to ``target`` needs: the system's certificates, or those that SSL_CERT_FILE names."""
    # Plain HTTP never uses it: one without certificates costs little, and trusts nobody.
    return ssl.create_default_context() if target.scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@asynccontextmanager
async def get(target: httpx.URL, headers: dict[str, str], tls: ssl.SSLContext) -> AsyncIterator[httpx.Response]:
    """Ask, and give the response with its head read and its body not; the connection is closed with the block.

    Raises what the transport raises. There is no deadline here: put one around it.
    """
    streams: list[Any] = []

    async def note(event: str, info: dict[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            streams.append(info["return_value"])

    request = httpx.Request("GET", target, headers=headers, extensions={"trace": note})
    try:
        async with httpx.AsyncHTTPTransport(verify=tls, trust_env=False, limits=_NO_LIMITS) as transport:
            response = await transport.handle_async_request(request)
            try:
                yield response
            finally:
                await response.aclose()
    finally:
        # httpcore forgets a connection that is cancelled in its TLS handshake, and with it the socket.
        for stream in streams:
            await stream.aclose()


def failure_text(error: BaseException, shown: str) -> str:
    """Return in words why ``get`` failed; ``shown`` is how to name the server."""
    for cause in _causes(error):
        match cause:
            case ConnectionRefusedError():
                return f"connection refused by {shown}"
            case ConnectionResetError() | BrokenPipeError():
                return f"connection reset by {shown}"
            case socket.gaierror():
                return f"no address found for {shown}: {clean(cause.strerror or str(cause))}"
            case ssl.SSLError():
                return f"TLS failed with {shown}: {clean(str(cause))}"
            case _:
                pass
    return f"no usable answer from {shown}: {clean(str(error)) or type(error).__name__}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and everything that led to it: libraries wrap what the system said up to five times."""
    queue, seen = [error], set[int]()
    while queue:
        cause = queue.pop(0)
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        if isinstance(cause, BaseExceptionGroup):
            queue.extend(cause.exceptions)
        queue.extend(linked for linked in (cause.__cause__, cause.__context__) if linked is not None)
