"""Why an HTTP request failed, in words with cause and next step; for dashboard, heartbeat and Telegram.

The texts have neither a URL's path nor a header, since both may be secret.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

from capital_governor.adapters.http_get import httpx
from capital_governor.contracts.text import clean

__all__ = ["failure_text", "is_tls", "proxy_text", "wants_proxy_password"]

E = TypeVar("E", bound=BaseException)

_OUT_OF_TIME: Final = {9, 10}  # OpenSSL's X509_V_ERR_...: not yet valid, expired
_OTHER_NAME: Final = {62, 64}  # for another host name, for another address
_PLAIN_TEXT: Final = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"}


def failure_text(error: BaseException, shown: str, via: str = "") -> str:
    """Return in words why a request failed.

    Args:
        error: what ``http_get.get`` or a client of httpx raised.
        shown: how to name the server.
        via: how to name the proxy between, with its variable; empty without one.
    """
    causes = list(_causes(error))
    asked = via or shown  # the server to which the connection was made
    through = f" through {via}" if via else ""
    if insecure := _first(causes, ssl.SSLError):
        return f"TLS failed with {shown}{through}: {_tls_text(insecure)}"
    if refused := _first(causes, httpx.ProxyError):
        return proxy_text(via or "the proxy", clean(str(refused)))
    if unreached := _system_text(causes, asked):
        return unreached
    if _first(causes, httpx.TimeoutException):
        return f"no answer in time from {shown}{through}"
    return f"no usable answer from {shown}{through}: {_words(error)}"


def is_tls(error: BaseException) -> bool:
    """Whether a request failed because of TLS; then ``failure_text`` says what to do."""
    return _first(list(_causes(error)), ssl.SSLError) is not None


def _system_text(causes: Sequence[BaseException], asked: str) -> str:
    """Return the operating system's error of a connection in words; empty if there is none."""
    # A name may have several addresses: a refusal by one says more than that another cannot be reached.
    if _first(causes, ConnectionRefusedError):
        return f"connection refused by {asked}"
    if _first(causes, ConnectionResetError, BrokenPipeError):
        return f"connection reset by {asked}"
    if unknown := _first(causes, socket.gaierror):
        return f"no address found for {asked}: {clean(unknown.strerror or str(unknown))}"
    said = (cause.strerror for cause in causes if isinstance(cause, OSError) and cause.errno is not None)
    return next((f"no connection to {asked}: {clean(text)}" for text in said if text), "")


def proxy_text(via: str, answer: str) -> str:
    """Return in words that a proxy refused a request; ``answer`` is its status and reason."""
    if wants_proxy_password(answer):
        return f"{via} answers {answer}: it wants a user and a password, as in http://USER:PASSWORD@HOST:PORT"
    return f"{via} answers {answer or 'nothing that a proxy says'}: see its log, or except the host with NO_PROXY"


def wants_proxy_password(answer: str) -> bool:
    """Whether an answer is a proxy's 407, written as httpx or as python-telegram-bot does."""
    return f"{answer} ".startswith(("407 ", "Proxy Authentication Required (407) "))


def _tls_text(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{clean(error.verify_message)}: {_certificate_remedy(error.verify_code)}"
    if error.reason in _PLAIN_TEXT:
        return "it does not speak TLS there; is its URL http:// rather than https://?"
    return clean((error.reason or "").replace("_", " ").lower() or str(error))


def _certificate_remedy(code: int) -> str:
    if code in _OUT_OF_TIME:
        return "renew its certificate, or correct the clock that is wrong"
    if code in _OTHER_NAME:
        return "use the name that its certificate is for"
    file = os.environ.get("SSL_CERT_FILE", "")
    if not file:
        return "if you trust it, name the file with its authority's certificate (PEM) in SSL_CERT_FILE"
    if not os.access(Path(file), os.R_OK):
        return f"SSL_CERT_FILE={clean(file)} cannot be read"
    return f"its authority's certificate is not in SSL_CERT_FILE={clean(file)}"


def _words(error: BaseException) -> str:
    match error:
        case httpx.LocalProtocolError():
            return "what was to be sent is not valid HTTP"  # the library's text repeats it, and it may be a secret
        case httpx.NetworkError():
            return clean(str(error)) or "the connection broke off"
        case httpx.HTTPError() | OSError():
            return clean(str(error)) or "it broke off"
        case _:
            return f"unexpected error ({type(error).__name__}: {clean(str(error))})"


def _first(causes: Sequence[BaseException], *kinds: type[E]) -> E | None:
    return next((cause for cause in causes if isinstance(cause, kinds)), None)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and all its causes: libraries wrap the system's error up to five times."""
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
