"""One GET over a new connection, for dashboard and heartbeat: no cookies, no redirects.

It uses httpx's transport without its Client. A Client would parse cookies (a hostile head full of them blocks the event
loop for a tenth of a second), keep state between requests, and log full addresses.
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from capital_governor import __version__
from capital_governor.adapters.partial_imports import remember_absent, without

with without("click", "pygments", "rich"):
    import httpx
remember_absent("sniffio")

__all__ = ["USER_AGENT", "get", "httpx", "tls_context"]  # httpx, without its optional parts

USER_AGENT: Final = f"capital-governor/{__version__}"
_NO_LIMITS: Final = httpx.Limits(max_connections=1, max_keepalive_connections=0)

# At INFO and below both log full addresses, with any secret in them.
for _chatty in ("httpx", "httpcore"):
    logging.getLogger(_chatty).setLevel(logging.WARNING)


def tls_context(target: httpx.URL) -> ssl.SSLContext:
    """Return the TLS context for ``target``, with the system's certificates or those of SSL_CERT_FILE."""
    if target.scheme != "https":
        # Plain HTTP does not use it. Without certificates it is cheap to make and trusts no server.
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context = ssl.create_default_context()
    if not _has_certificates():
        import certifi  # noqa: PLC0415 - only a system without certificates needs it

        context.load_verify_locations(certifi.where())
    return context


def _has_certificates() -> bool:
    """Whether the system or the environment says which certificates to trust."""
    if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"):
        return True
    paths = ssl.get_default_verify_paths()  # None where there is no such file or folder
    return paths.cafile is not None or (paths.capath is not None and any(Path(paths.capath).iterdir()))


@asynccontextmanager
async def get(
    target: httpx.URL, headers: dict[str, str], tls: ssl.SSLContext, proxy: httpx.Proxy | None = None
) -> AsyncIterator[httpx.Response]:
    """Send the request and yield the response, of which only the head was read; close the connection with the block.

    Without ``proxy`` the connection is direct, whatever the environment says. Raises what the transport raises. The
    caller sets the deadline.
    """
    streams: list[Any] = []

    async def note(event: str, info: dict[str, Any]) -> None:
        if event.endswith(".connect_tcp.complete"):  # for a SOCKS proxy the event has another prefix
            streams.append(info["return_value"])

    request = httpx.Request("GET", target, headers=headers, extensions={"trace": note})
    try:
        async with httpx.AsyncHTTPTransport(verify=tls, trust_env=False, limits=_NO_LIMITS, proxy=proxy) as transport:
            response = await transport.handle_async_request(request)
            try:
                yield response
            finally:
                await response.aclose()
    finally:
        # httpcore does not close the socket of a connection that is cancelled in its TLS handshake.
        for stream in streams:
            await stream.aclose()
