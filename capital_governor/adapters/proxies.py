"""The proxy for a URL, from the environment; for Telegram and the heartbeat. Loopback never has one.

httpx does not read the environment here: it would send loopback requests through a proxy, and fail all requests if it
cannot parse one entry of NO_PROXY.
"""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final, TypeAlias
from urllib.parse import SplitResult, unquote, urlsplit

from capital_governor.adapters import logs
from capital_governor.adapters.http_get import httpx, tls_context
from capital_governor.adapters.loopback import is_loopback
from capital_governor.contracts.text import clean

__all__ = ["ProxyUnusableError", "Route", "route_to"]

_SOCKS: Final = ("socks5", "socks5h")
_SCHEMES: Final = ("http", "https", *_SOCKS)
_PORTS: Final = {"http": 80, "https": 443}
_HOST: Final = re.compile(r"(?:\*?\.)?[\w-]+(?:\.[\w-]+)*\.?")
_HOST_OR_ADDRESS: Final = re.compile(r"[\w.:%-]+")
_LONGEST_SHOWN: Final = 60

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_told: set[str] = set()
"""Entries of NO_PROXY for which a warning was logged, so that each is logged once."""


class ProxyUnusableError(Exception):
    """The proxy that the environment names cannot be used; the text says why and what to do, without its password."""


@dataclass(frozen=True, slots=True)
class Route:
    """How a URL is reached.

    Args:
        proxy: the proxy to use; None: directly.
        via: how messages name the proxy and its variable, without user and password; empty without a proxy.
    """

    proxy: httpx.Proxy | None = None
    via: str = ""


@dataclass(frozen=True, slots=True)
class _Bypass:
    """One entry of NO_PROXY: a network or the end of a name ("": any host), with or without scheme and port."""

    network: Network | None = None
    name: str = ""
    scheme: str = ""
    port: int | None = None

    def covers(self, parts: SplitResult) -> bool:
        if self.scheme and self.scheme != parts.scheme:
            return False
        if self.port is not None and self.port != (parts.port or _PORTS.get(parts.scheme)):
            return False
        host = (parts.hostname or "").rstrip(".")
        if self.network is None:
            return not self.name or host == self.name or host.endswith(f".{self.name}")
        try:
            return ipaddress.ip_address(host) in self.network
        except ValueError:
            return False


def route_to(url: str, environ: Mapping[str, str] | None = None) -> Route:
    """Return how a URL is reached.

    HTTPS_PROXY or HTTP_PROXY by the URL's scheme, else ALL_PROXY; each also in lower case, which wins. NO_PROXY lists
    exceptions, separated by commas or blanks: ``*``, hosts and their subdomains, addresses, networks such as
    ``fd00::/8``, each also with a port. An entry that cannot be read is ignored, with one warning in the log.

    Args:
        url: http or https, with a host.
        environ: the environment; None is that of the process.

    Raises:
        ProxyUnusableError: the proxy for this URL cannot be used.
    """
    environ = os.environ if environ is None else environ
    parts = urlsplit(url)
    if is_loopback(parts.hostname or ""):
        return Route()
    for name in (f"{parts.scheme}_proxy", "all_proxy"):
        variable, value = _variable(name, environ)
        if value:
            break
    else:
        return Route()
    if any(each.covers(parts) for each in _bypasses(environ)):
        return Route()
    return _route(variable, value)


def _variable(name: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the spelling of a variable that counts, and its value; an empty one in lower case unsets the other."""
    variable = name if name in environ else name.upper()
    return variable, environ.get(variable, "").strip()


# --- the proxy --------------------------------------------------------------------------------------------------------


def _route(variable: str, value: str) -> Route:
    refused = f"{variable} is not the URL of a proxy: write {variable}=http://HOST:PORT"
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ProxyUnusableError(refused) from None
    if not parts.scheme or not _HOST_OR_ADDRESS.fullmatch(host):
        raise ProxyUnusableError(refused)
    address = (f"[{host}]" if ":" in host else host) + ("" if port is None else f":{port}")
    shown = f"{clean(parts.scheme, 20)}://{address}"
    if parts.scheme not in _SCHEMES:
        raise ProxyUnusableError(
            f"{variable}={shown} is a proxy of a kind that is not known here: "
            f"use one of http://, https://, socks5:// or socks5h://"
        )
    if parts.scheme in _SOCKS and find_spec("socksio") is None:
        raise ProxyUnusableError(
            f"{variable}={shown} needs the package socksio: "
            f"run {sys.prefix}/bin/pip install 'httpx[socks]', or name an http:// proxy"
        )
    auth = None
    if parts.username is not None:
        auth = (unquote(parts.username), unquote(parts.password or ""))
    try:
        context = _tls(shown) if parts.scheme == "https" else None
        return Route(httpx.Proxy(shown, auth=auth, ssl_context=context), f"the proxy {shown} of {variable}")
    except (httpx.InvalidURL, ValueError):
        raise ProxyUnusableError(refused) from None


def _tls(url: str) -> ssl.SSLContext:
    return tls_context(httpx.URL(url))


# --- NO_PROXY ---------------------------------------------------------------------------------------------------------


def _bypasses(environ: Mapping[str, str]) -> Iterator[_Bypass]:
    variable, value = _variable("no_proxy", environ)
    for entry in value.replace(",", " ").split():
        found = _bypass(entry.lower())
        if found is not None:
            yield found
        elif entry not in _told:
            _told.add(entry)
            shown = clean(entry.rpartition("@")[2], _LONGEST_SHOWN)
            logs.get_logger().warning("no_proxy_ignored", variable=variable, entry=shown)


def _bypass(entry: str) -> _Bypass | None:
    """Read one entry, in lower case; None if it cannot be read."""
    scheme, slashes, rest = entry.partition("://")
    if not slashes:
        scheme, rest = "", entry
    scheme = "" if scheme == "all" else scheme
    rest = rest.rstrip("/") if slashes else rest
    if (network := _network(rest)) is not None:
        return _Bypass(network, scheme=scheme)
    host, port = _host_and_port(rest)
    if port == 0:
        return None
    if (network := _network(host)) is not None:
        return _Bypass(network, scheme=scheme, port=port)
    if host == "*":
        return _Bypass(scheme=scheme, port=port)
    if not _HOST.fullmatch(host):
        return None
    return _Bypass(name=host.removeprefix("*").strip("."), scheme=scheme, port=port)


def _network(text: str) -> Network | None:
    """Return a network, or the network of a single address; None if the text is neither."""
    try:
        return ipaddress.ip_network(text[1:-1] if re.fullmatch(r"\[.*\]", text) else text, strict=False)
    except ValueError:
        return None


def _host_and_port(text: str) -> tuple[str, int | None]:
    """Split an entry; the port is None if there is none, and 0 if it is not valid."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        return text, None
    return host, int(port) if re.fullmatch("[0-9]{1,5}", port, re.ASCII) and int(port) < 1 << 16 else 0
