"""One GET over a connection of its own, for those that ask somebody else's server: no cookies, no redirects.

httpx's transport is used without its Client on top: a Client would parse cookies (a tenth of a second of blocked loop
for a hostile head full of them), keep state from one request to the next, and log full addresses.
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

__all__ = ["USER_AGENT", "get", "httpx", "tls_context"]  # httpx itself, loaded the lean way

USER_AGENT: Final = f"capital-governor/{__version__}"
_NO_LIMITS: Final = httpx.Limits(max_connections=1, max_keepalive_connections=0)

# Both write full addresses at INFO and below, secrets in them included.
for _chatty in ("httpx", "httpcore"):
    logging.getLogger(_chatty).setLevel(logging.WARNING)


def tls_context(target: httpx.URL) -> ssl.SSLContext:
    """Return what a connection to ``target`` needs: the system's certificates, or those that SSL_CERT_FILE names."""
    if target.scheme != "https":
        # Plain HTTP never uses it: one without certificates costs little, and trusts nobody.
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context = ssl.create_default_context()
    if not _has_certificates():
        import certifi  # noqa: PLC0415 - comes with httpx; only a system without any certificates needs it

        context.load_verify_locations(certifi.where())
    return context


def _has_certificates() -> bool:
    """Whether the system, or who set up the environment, chose the certificates to trust."""
    if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"):
        return True
    paths = ssl.get_default_verify_paths()  # None where there is no such file or folder
    return paths.cafile is not None or (paths.capath is not None and any(Path(paths.capath).iterdir()))


@asynccontextmanager
async def get(
    target: httpx.URL, headers: dict[str, str], tls: ssl.SSLContext, proxy: httpx.Proxy | None = None
) -> AsyncIterator[httpx.Response]:
    """Ask, and give the response with its head read and its body not; the connection is closed with the block.

    Without ``proxy`` the server is asked directly, whatever the environment says. Raises what the transport raises.
    There is no deadline here: put one around it.
    """
    streams: list[Any] = []

    async def note(event: str, info: dict[str, Any]) -> None:
        if event.endswith(".connect_tcp.complete"):  # to a proxy of SOCKS by another name
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
        # httpcore forgets a connection that is cancelled in its TLS handshake, and with it the socket.
        for stream in streams:
            await stream.aclose()
