"""The fetch against real servers on loopback that break every rule of the trade."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import logging
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import httpx
import pytest

from capital_governor import __version__
from capital_governor.adapters import dashboard as adapter
from capital_governor.adapters.dashboard import ATTEMPTS, Dashboard
from capital_governor.adapters.http_get import tls_context
from capital_governor.contracts.payload import parse
from capital_governor.core.model import Refusal
from capital_governor.core.reason import Reason
from tests.faults.surroundings import needs_ipv6
from tests.rigs.patience import PATIENCE_SECONDS
from tests.rigs.raw_server import (
    Connection,
    Script,
    Server,
    answer,
    answer_and_hang,
    answer_and_reset,
    full_backlog,
    hang,
    http,
    repeat,
)
from tests.rigs.relays import CERTIFICATE, TlsFront

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

DEADLINE = 0.4
"""For servers that are to be left at it, which never end by themselves; others have all the time that they need."""
CAP = 200_000
GOOD = b'{"per_agent": {}}'
TOKEN = "CANARY+token/of=tests"  # noqa: S105
JSON = "Content-Type: application/json"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def dashboard(url: str, *, deadline: float = PATIENCE_SECONDS, cap: int = CAP, wait: float = 0.01) -> Dashboard:
    return Dashboard(url, deadline, cap, back_off=lambda _: wait)


def fetch(url: str, *, deadline: float = PATIENCE_SECONDS, wait: float = 0.01) -> bytes | Refusal:
    """Fetch, and hold a refusal to one printable sentence."""
    result = asyncio.run(dashboard(url, deadline=deadline, wait=wait).fetch())
    if isinstance(result, Refusal):
        assert result.detail
        assert result.detail.isprintable()
    return result


def answer_plain(connection: Connection) -> None:
    """Answer a TLS handshake as a web server that knows plain HTTP alone."""
    connection.sock.recv(65_536)
    connection.send(http(b"", status="400 Bad Request"))


def failed(url: str, *, deadline: float = PATIENCE_SECONDS, wait: float = 0.01) -> str:
    result = fetch(url, deadline=deadline, wait=wait)
    assert isinstance(result, Refusal)
    assert result.reason is Reason.FETCH_FAILED
    return result.detail


def open_files() -> int:
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what the server's threads do."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - the event is in a thread, which cannot set an asyncio.Event
            await asyncio.sleep(0.01)


# --- transport -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(hang, id="silence"),
        pytest.param(repeat(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b"x", 0.02), id="body dripped"),
        pytest.param(repeat(b"HTTP/1.1 200 OK\r\n", b"X", 0.02), id="headers dripped"),
        pytest.param(repeat(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n", 0.02), id="header lines dripped"),
        pytest.param(repeat(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), id="endless 1xx, as fast as can be"),
        pytest.param(repeat(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 0.02), id="endless 1xx, slowly"),
        pytest.param(repeat(CHUNKED, b"1\r\nx\r\n", 0.02), id="endless chunks, slowly"),
        pytest.param(answer_and_hang(CHUNKED + b"1\r\nx\r\n0\r\nA: b\r\n"), id="trailer never ends"),
    ],
)
def test_a_server_that_never_ends_is_left_at_the_deadline(script: Script) -> None:
    """Whatever trickles or stays away, the fetch ends at its deadline, and not before."""
    started = time.monotonic()
    with Server(script) as server:
        detail = failed(server.url, deadline=DEADLINE)
        assert detail == f"no answer within {DEADLINE} s from {server.url}/meta/metrics"
        assert time.monotonic() - started >= DEADLINE - 0.05
        assert server.gave_up == 0
        assert server.connections <= 1


@pytest.mark.parametrize(
    ("script", "says"),
    [
        pytest.param(answer_and_reset(b""), "connection reset by http://127.0.0.1:", id="reset"),
        pytest.param(
            answer_and_reset(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"), "connection reset", id="reset in body"
        ),
        pytest.param(answer(b""), "Server disconnected", id="closed at once"),
        pytest.param(answer(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 200_000 + b"\r\n\r\n"), "", id="200 kB header"),
        pytest.param(answer(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 34_000 + b"\r\n"), "", id="200 kB of headers"),
        pytest.param(answer(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + GOOD), "closed", id="short body"),
        pytest.param(answer(CHUNKED + b"63\r\n" + GOOD), "closed", id="chunk cut short"),
        pytest.param(answer(CHUNKED + b"zz\r\n" + GOOD), "chunk", id="chunk length zz"),
        pytest.param(answer(b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\n" + GOOD), "Length", id="length abc"),
        pytest.param(answer(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n" + GOOD), "Length", id="length -1"),
        pytest.param(
            answer(b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\nContent-Length: 18\r\n\r\n" + GOOD),
            "Length",
            id="length twice",
        ),
        pytest.param(answer(b"HTTP/1.1 200 OK\r\nContent-Length: 17, 2\r\n\r\n" + GOOD), "Length", id="length list"),
        pytest.param(answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"), "Transfer", id="other transfer"),
        pytest.param(answer(b"\x15\x03\x03\x00\x02\x02\x28"), "no usable answer", id="TLS alert to plain HTTP"),
        pytest.param(answer(bytes(range(256)) * 40), "no usable answer", id="binary noise"),
        pytest.param(answer(b"HTTP/1.1 101 Other\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n"), "", id="101"),
        pytest.param(answer(b"HTTP/1.1 20\xff\x1b[31m OK\r\n\r\n"), "no usable answer", id="noise in the status line"),
    ],
)
def test_a_broken_answer_is_tried_again_and_then_refused(script: Script, says: str) -> None:
    """What breaks the transport costs at most three attempts and ends as a refusal that says what happened."""
    with Server(script) as server:
        assert says in failed(server.url)
        assert server.connections == ATTEMPTS
        assert len(server.heads) == ATTEMPTS


@pytest.mark.parametrize(
    "lengths",
    [
        pytest.param("Content-Length: 17\r\nContent-Length: 17", id="two lines"),
        pytest.param("Content-Length: 17, 17", id="a list"),
    ],
)
def test_a_length_that_is_said_twice_alike_is_one(lengths: str) -> None:
    """Equal lengths leave no doubt where the body ends, so RFC 9112 section 6.3 lets them count as one."""
    assert len(GOOD) == 17
    with Server(answer_and_hang(f"HTTP/1.1 200 OK\r\n{lengths}\r\n\r\n".encode() + GOOD)) as server:
        assert fetch(server.url) == GOOD
        assert server.connections == 1


def test_a_refused_connection_is_named() -> None:
    """Nobody listens: the refusal says so and names the address."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        assert failed(url) == f"connection refused by {url}/meta/metrics"


def test_a_connection_that_hangs_ends_at_the_deadline() -> None:
    """A full backlog answers nothing at all; the deadline ends it."""
    with full_backlog() as url:
        assert failed(url, deadline=DEADLINE).startswith(f"no answer within {DEADLINE} s")


def test_a_name_that_is_not_found_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed look-up is tried again and then said, with the resolver's own words."""
    lookups = []

    def no_such_name(*arguments: object, **_: object) -> None:
        lookups.append(arguments)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
    assert failed("http://nowhere.invalid:81").startswith("no address found for http://nowhere.invalid:81")
    assert len(lookups) == ATTEMPTS


def test_a_name_lookup_that_hangs_does_not_outlive_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolver blocks its own thread only; the caller gets its refusal in time."""
    looked_up, given_up, release = threading.Event(), threading.Event(), threading.Event()
    ended = []

    def hangs(*_: object, **__: object) -> None:
        looked_up.set()
        if not release.wait(PATIENCE_SECONDS):
            given_up.set()
        raise socket.gaierror(socket.EAI_AGAIN, "released")

    async def in_time() -> bytes | Refusal:
        try:
            return await dashboard("http://slow.invalid", deadline=DEADLINE).fetch()
        finally:
            ended.append(looked_up.is_set() and not given_up.is_set())
            release.set()

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    result = asyncio.run(in_time())
    assert isinstance(result, Refusal)
    assert result.detail.startswith("no answer within")
    assert ended == [True]


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(b"\x15\x03\x03\x00\x02\x02\x28", id="alert: handshake failure"),
        pytest.param(http(GOOD), id="plain HTTP"),
        pytest.param(bytes(range(256)), id="noise"),
    ],
)
def test_a_failed_tls_handshake_is_named(reply: bytes) -> None:
    """A server that refuses the handshake, or knows none, is told apart from one that is away."""

    def script(connection: Connection) -> None:
        connection.server.heads.append(connection.sock.recv(65_536))
        connection.send(reply)

    with Server(script) as server:
        assert failed(server.url.replace("http", "https")).startswith("TLS failed with https://")
        assert server.heads[0].startswith(b"\x16\x03")


def test_a_tls_handshake_that_hangs_ends_at_the_deadline_and_leaves_no_socket() -> None:
    """The half-made connection is closed, not left for the garbage collector to complain of."""
    with Server(hang) as server:
        secure = dashboard(server.url.replace("http", "https"), deadline=DEADLINE)

        async def files_left() -> int:
            before = open_files()
            for _ in range(3):
                result = await secure.fetch()
                assert isinstance(result, Refusal)
                assert result.detail.startswith("no answer within")
            # A script ends, and its socket, when the connection of the fetch is closed.
            await until(lambda: server.finished == server.connections > 0)
            return open_files() - before

        assert asyncio.run(files_left()) == 0
        assert server.gave_up == 0


# --- HTTP ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", id="204"),
        pytest.param(http(GOOD, status="201 Created"), id="201"),
        pytest.param(http(GOOD, "Content-Range: bytes 0-1/2", status="206 Partial Content"), id="206"),
        pytest.param(http(b"", "Location: /elsewhere", status="301 Moved"), id="301"),
        pytest.param(http(b"", "Location: file:///etc/hostname", status="302 Found"), id="302 to a file"),
        pytest.param(http(GOOD, "WWW-Authenticate: Basic realm=x", status="401 Unauthorized"), id="401"),
        pytest.param(http(GOOD, status="404 Not Found"), id="404"),
        pytest.param(http(GOOD, "Retry-After: 86400", status="429 Too Many Requests"), id="429 for a day"),
    ],
)
def test_any_status_but_200_is_a_failed_fetch_at_once(reply: bytes) -> None:
    """Nothing but 200 carries a payload, and what the server means is not asked twice."""
    with Server(answer_and_hang(reply)) as server:
        detail = failed(server.url)
        assert detail.startswith(f"HTTP {reply[9:12].decode()} from {server.url}/meta/metrics")
        assert server.connections == 1


@pytest.mark.parametrize("status", ["500 Internal Server Error", "503 Unavailable", "599 Odd"])
def test_a_server_error_is_tried_again_and_then_named(status: str) -> None:
    """5xx may pass: three attempts, then the refusal says which status it was."""
    with Server(answer(http(GOOD, "Retry-After: 86400", status=status))) as server:
        assert failed(server.url) == f"HTTP {status[:3]} from {server.url}/meta/metrics"
        assert server.connections == ATTEMPTS


@pytest.mark.parametrize("status", ["410 Gone", "503 Unavailable"])
def test_the_reason_that_comes_with_a_status_is_told(status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a JSON body says in ``error``, cleaned and cut, stands behind the status."""
    monkeypatch.setattr(adapter, "_REASON_SECONDS", PATIENCE_SECONDS)
    error = "state/x.json holds no decision\n\x1b[31m" + "!" * 300
    with Server(answer(http(json.dumps({"error": error}).encode(), JSON, status=status))) as server:
        told = f"HTTP {status[:3]} from {server.url}/meta/metrics: state/x.json holds no decision[31m!!"
        detail = failed(server.url)
        assert detail.startswith(told)
        assert len(detail) == len(told) - 36 + 200


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(answer(http(b'{"error": "why"}', status="410 No")), id="no JSON by its type"),
        pytest.param(answer(http(b'{"error": ["why"]}', JSON, status="410 No")), id="no text"),
        pytest.param(answer(http(b"[]", JSON, status="410 No")), id="no object"),
        pytest.param(answer(http(b"[" * 4_000, JSON, status="410 No")), id="too deep"),
        pytest.param(answer(http(b"\xff\xfe", JSON, status="410 No")), id="no text at all"),
        pytest.param(answer(http(b'{"error": "' + b"x" * 5_000 + b'"}', JSON, status="410 No")), id="too long"),
        pytest.param(
            answer(b"HTTP/1.1 410 No\r\n" + JSON.encode() + b'\r\nContent-Length: 50\r\n\r\n{"error"'), id="cut off"
        ),
        pytest.param(
            repeat(b"HTTP/1.1 410 No\r\n" + JSON.encode() + b"\r\nContent-Length: 4000\r\n\r\n", b" ", 0.1),
            id="dripped",
        ),
    ],
)
def test_a_status_whose_reason_cannot_be_read_is_told_without(script: Script) -> None:
    """A body that is no such JSON, or does not come at once, costs neither the status nor the cycle's time."""
    with Server(script) as server:
        assert failed(server.url) == f"HTTP 410 from {server.url}/meta/metrics"
        assert server.gave_up == 0


@pytest.mark.parametrize(
    ("path", "status", "token", "hint"),
    [
        (
            "/meta/metrics",
            404,
            "",
            (
                "; this server has no /meta/metrics: set NEOLIGHT_DASHBOARD_URL to the dashboard that has it "
                "(NeoLight's, often at port 8090)"
            ),
        ),
        ("/meta/metrics", 401, "", "; it wants a token: set CAPITAL_GOVERNOR_DASHBOARD_TOKEN"),
        ("/meta/metrics", 403, TOKEN, "; it does not take this CAPITAL_GOVERNOR_DASHBOARD_TOKEN: correct it"),
        ("/status", 401, TOKEN, "; it does not take this CAPITAL_GOVERNOR_DASHBOARD_TOKEN: correct it"),
        ("/status", 404, "", ""),
    ],
)
def test_a_status_that_an_operator_can_mend_says_how(path: str, status: int, token: str, hint: str) -> None:
    """A server without metrics, and one that wants another token or one at all, name the setting to look at."""
    with Server(answer(http(b"<html>No</html>", status=f"{status} No"))) as server:
        asked = Dashboard(server.url, 60, CAP, token=token)
        found = asyncio.run(asked.status() if path == "/status" else asked.fetch())
    assert found == Refusal(Reason.FETCH_FAILED, f"HTTP {status} from {server.url}{path}{hint}")


def test_the_reason_of_the_server_stands_before_the_hint() -> None:
    """What a server says of its 404 is not lost."""
    with Server(answer(http(b'{"error": "no such page"}', JSON, status="404 Not Found"))) as server:
        assert "/meta/metrics: no such page; this server has no /meta/metrics: set " in failed(server.url, deadline=60)


# --- the token --------------------------------------------------------------------------------------------------------


def test_the_token_goes_to_both_paths_and_nothing_else_is_authorized() -> None:
    """With a token each question has it as a bearer; without one there is no such header."""
    with Server(answer(http(b"{}"))) as server:
        for token in (TOKEN, ""):
            asked = Dashboard(server.url, 60, CAP, token=token)
            assert asyncio.run(asked.fetch()) == b"{}"
            assert asyncio.run(asked.status()) == 200
    sent = [re.findall(rb"(?im)^authorization: (.*)\r$", head) for head in server.heads]
    assert sent == [[b"Bearer " + TOKEN.encode()]] * 2 + [[]] * 2


def test_a_redirect_does_not_get_the_token() -> None:
    """Wherever a dashboard sends its clients, the token stays with it."""
    with Server(answer(http(b"{}"))) as other:
        moved = answer(http(b"", f"Location: {other.url}/meta/metrics", status="307 Moved"))
        with Server(moved) as server:
            found = asyncio.run(Dashboard(server.url, 60, CAP, token=TOKEN).fetch())
        assert isinstance(found, Refusal)
        assert other.connections == 0


@pytest.mark.parametrize("token", [TOKEN, 'quote"back\\slash/CANARY'])
@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(lambda said: http(said, status="200 OK"), id="in the metrics"),
        pytest.param(lambda said: http(said, JSON, status="401 Unauthorized"), id="in a refusal"),
        pytest.param(lambda said: http(said, JSON, status="500 Broken"), id="in a failure"),
        pytest.param(lambda said: b"HTTP/1.1 2" + said + b"\r\n\r\n", id="in a broken head"),
        pytest.param(lambda said: http(b"", b"Content-Encoding: ".decode() + said.decode()), id="in an encoding"),
    ],
)
def test_a_token_that_is_sent_back_is_not_passed_on(reply: Callable[[bytes], bytes], token: str) -> None:
    """A dashboard that repeats the token brings it into no log and no file."""
    said = json.dumps({"error": f"{'x' * 190} {token}"}).encode()
    with Server(answer(reply(said))) as server:
        found = asyncio.run(Dashboard(server.url, 60, CAP, token=token, back_off=lambda _: 0.0).fetch())
    shown = found.decode() if isinstance(found, bytes) else found.detail
    assert "CANARY" not in shown
    assert "xxxx" in shown or "Content-Encoding" in shown


# --- addresses and certificates ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("served", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("known", [["127.0.0.1"], ["::1"], ["::1", "127.0.0.1"], ["127.0.0.1", "::1"]])
def test_localhost_is_found_wherever_it_is(served: str, known: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with an IPv4 and an IPv6 address is reached where the server listens, and refused where it does not."""
    if served == "::1" or known == ["::1"]:
        needs_ipv6()
    families = {"127.0.0.1": socket.AF_INET, "::1": socket.AF_INET6}

    def look_up(_: object, port: int, *__: object, **___: object) -> list[object]:
        return [(families[each], socket.SOCK_STREAM, 6, "", (each, port)) for each in known]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with Server(answer(http(GOOD)), host=served) as server:
        found = asyncio.run(dashboard(f"http://localhost:{server.port}", deadline=60).fetch())
    if served in known:
        assert found == GOOD
    else:
        assert isinstance(found, Refusal)
        assert found.detail == f"connection refused by http://localhost:{server.port}/meta/metrics"


def test_a_certificate_of_ones_own_is_trusted_by_name_of_its_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A certificate that nobody vouches for is refused with the remedy, which is SSL_CERT_FILE."""
    with Server(answer(http(GOOD))) as plain, TlsFront(plain) as server:

        def said() -> str:
            return failed(server.url, deadline=60).removeprefix(f"TLS failed with {server.url}/meta/metrics: ")

        for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
            monkeypatch.delenv(name, raising=False)
        remedy = "if you trust it, name the file with its authority's certificate (PEM) in SSL_CERT_FILE"
        assert said() == f"self-signed certificate: {remedy}"
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "absent"))
        assert said().endswith(f": SSL_CERT_FILE={tmp_path}/absent cannot be read")
        (tmp_path / "other").write_text("no certificate")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "other"))
        assert said().endswith(f": its authority's certificate is not in SSL_CERT_FILE={tmp_path}/other")
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        assert fetch(server.url, deadline=60) == GOOD
        here = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: here)
        other_name = failed(f"https://other.example.test:{server.port}", deadline=60)
        assert other_name.endswith(": use the name that its certificate is for")


def test_https_where_there_is_only_http_says_so() -> None:
    """A URL with one letter too many is told from a certificate that is not trusted."""
    with Server(answer_plain) as server:
        url = server.url.replace("http", "https")
        assert failed(url, deadline=60) == (
            f"TLS failed with {url}/meta/metrics: it does not speak TLS there; is its URL http:// rather than https://?"
        )


def test_a_system_without_certificates_trusts_those_of_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may have none at all; unless the environment names some, the public authorities are known then."""
    nothing = SimpleNamespace(cafile=None, capath=None)
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: nothing)
    monkeypatch.setattr(ssl, "create_default_context", lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    target = httpx.URL("https://api.example")
    assert tls_context(target).cert_store_stats()["x509_ca"] > 50
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    assert tls_context(target).cert_store_stats()["x509_ca"] == 0


def test_a_redirect_to_another_host_is_not_followed_and_its_target_not_told() -> None:
    """The other host never sees a connection, and what its address carries never reaches a log."""
    with Server(answer(http(GOOD))) as other:
        target = f"Location: http://user:canary@127.0.0.1:{other.port}/?token=canary"
        with Server(answer(http(b"", target, status="302 Found"))) as server:
            detail = failed(server.url)
            assert detail.startswith("HTTP 302")
            assert "redirect" in detail
            assert "canary" not in detail
            assert server.connections == 1
        assert other.connections == 0


def test_html_is_fetched_and_refused_by_the_parser() -> None:
    """A page with status 200 is bytes to the fetch and no payload to the parser."""
    page = b"<!doctype html><title>Sign in</title>"
    with Server(answer(http(page, "Content-Type: text/html"))) as server:
        assert fetch(server.url) == page
    assert isinstance(parse(page), Refusal)


def test_json_cut_by_the_peer_is_refused_by_the_parser() -> None:
    """A body that ends with the connection may be cut anywhere; the parser notices."""
    with Server(answer(b"HTTP/1.1 200 OK\r\n\r\n" + GOOD[:-3])) as server:
        body = fetch(server.url)
    assert isinstance(body, bytes)
    assert isinstance(parse(body), Refusal)


@pytest.mark.parametrize(
    "encoding", ["gzip", "gzip, gzip", "deflate", "br", "zstd", "x-\x1b[31m", "identity, gzip", ""]
)
def test_an_encoded_body_is_refused_unread(encoding: str) -> None:
    """No decoder ever sees a body: an encoding that was not asked for is refused from the head alone."""
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: 1000\r\n\r\n".encode()
    with Server(answer_and_hang(head)) as server:
        result = fetch(server.url)
        assert isinstance(result, Refusal)
        assert server.gave_up == 0
        assert server.connections == 1
        if encoding.isprintable():
            assert result.reason is Reason.PAYLOAD_REFUSED
            assert "Content-Encoding" in result.detail


def test_a_gzip_bomb_stays_packed() -> None:
    """A hundred thousand to one: refused before a byte of it is unpacked."""
    bomb = gzip.compress(gzip.compress(bytes(50_000_000), 9), 9)
    assert len(bomb) < 5_000
    with Server(answer(http(bomb, "Content-Encoding: gzip, gzip"))) as server:
        result = fetch(server.url)
        assert isinstance(result, Refusal)
        assert result.reason is Reason.PAYLOAD_REFUSED


def test_the_encoding_identity_is_none() -> None:
    """A server that spells out that it did not encode is believed."""
    with Server(answer(http(GOOD, "Content-Encoding: Identity"))) as server:
        assert fetch(server.url) == GOOD


def test_a_declared_length_over_the_cap_is_refused_unread() -> None:
    """The head says too much: nothing of the body is waited for."""
    with Server(answer_and_hang(f"HTTP/1.1 200 OK\r\nContent-Length: {CAP + 1}\r\n\r\n".encode())) as server:
        result = fetch(server.url)
        assert server.gave_up == 0
    assert result == Refusal(Reason.PAYLOAD_REFUSED, f"the body is {CAP + 1} bytes, more than {CAP}")


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(repeat(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 50_000), id="until close"),
        pytest.param(repeat(CHUNKED, b"c350\r\n" + b"x" * 50_000 + b"\r\n"), id="endless chunks"),
    ],
)
def test_an_endless_body_ends_at_the_cap(script: Script) -> None:
    """A body of undeclared length is read up to the cap and not further."""
    with Server(script) as server:
        result = fetch(server.url)
        assert result == Refusal(Reason.PAYLOAD_REFUSED, f"the body is more than {CAP} bytes")
        assert server.connections == 1


def test_chunks_of_a_byte_do_not_hold_up_the_deadline() -> None:
    """Ten thousand chunks in one read are still interrupted in time."""
    with Server(repeat(CHUNKED, b"1\r\nx\r\n" * 10_000)) as server:
        result = asyncio.run(dashboard(server.url, deadline=DEADLINE, cap=1 << 40).fetch())
        assert isinstance(result, Refusal)
        assert result.detail.startswith("no answer within")
        assert server.gave_up == 0


def test_a_body_that_is_always_ready_leaves_others_their_turn() -> None:
    """While pieces are read that need no waiting, a deadline or a signal has its turn before the end."""
    others_had_their_turn = []

    class Ready(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            turn = asyncio.Event()
            asyncio.get_running_loop().call_soon(turn.set)
            for _ in range(10_000):
                yield b"x"
            others_had_their_turn.append(turn.is_set())

    body = asyncio.run(dashboard("http://127.0.0.1")._body(httpx.Response(200, stream=Ready())))
    assert body == b"x" * 10_000
    assert others_had_their_turn == [True]


def test_a_body_of_exactly_the_cap_is_accepted() -> None:
    """The cap is the largest length that passes."""
    with Server(answer(http(b"x" * CAP))) as server:
        assert fetch(server.url) == b"x" * CAP


# --- retries, cancellation, what is sent -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(answer(http(b"", status="500 Oops")), id="500"),
        pytest.param(answer_and_reset(b""), id="reset"),
        pytest.param(answer(b""), id="closed"),
    ],
)
def test_a_fault_that_passes_costs_nothing(first: Script) -> None:
    """One bad answer followed by a good one is a good fetch."""
    with Server(first, answer(http(GOOD))) as server:
        assert fetch(server.url) == GOOD
        assert server.connections == 2


def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    """Rather than sleep into its deadline, the fetch returns at once with the true cause."""
    with Server(answer(http(b"", status="503 Busy"))) as server:
        assert failed(server.url, wait=10 * PATIENCE_SECONDS).startswith("HTTP 503")
        assert server.connections == 1


def test_the_waits_between_attempts_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its own back-off, the waits between three failed attempts are under a second in all."""
    waits, sleep = [], asyncio.sleep

    async def recorded(seconds: float) -> None:
        if seconds > 0:
            waits.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", recorded)
    with Server(answer(http(b"", status="503 Busy"))) as server:
        result = asyncio.run(Dashboard(server.url, PATIENCE_SECONDS, CAP).fetch())
        assert isinstance(result, Refusal)
        assert server.connections == ATTEMPTS
    assert len(waits) == ATTEMPTS - 1
    assert sum(waits) < 1.0


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_cancelled_fetch_ends_at_once_and_closes_its_connection(scheme: str) -> None:
    """Shutdown does not wait for the network: the cancellation goes through and the peer sees the end."""
    asked, seen_end = threading.Event(), threading.Event()

    def script(connection: Connection) -> None:
        while connection.sock.recv(65_536):
            asked.set()
        seen_end.set()

    async def cancelled() -> None:
        asking = dashboard(server.url.replace("http", scheme), deadline=10 * PATIENCE_SECONDS)
        task = asyncio.create_task(asking.fetch())
        await until(asked.is_set)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    with Server(script) as server:
        asyncio.run(asyncio.wait_for(cancelled(), PATIENCE_SECONDS))
        assert seen_end.wait(PATIENCE_SECONDS)


def test_a_cancellation_during_the_wait_between_attempts_goes_through() -> None:
    """Sleeping off a failure is no reason to be late for the shutdown."""
    waiting = []

    def back_off(_: object) -> float:
        waiting.append(server.connections)
        return 10 * PATIENCE_SECONDS

    async def cancelled() -> None:
        task = asyncio.create_task(Dashboard(server.url, 100 * PATIENCE_SECONDS, CAP, back_off=back_off).fetch())
        await until(lambda: bool(waiting))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with Server(answer(http(b"", status="500 Oops"))) as server:
        asyncio.run(asyncio.wait_for(cancelled(), PATIENCE_SECONDS))
        assert server.connections == 1


def test_the_request_says_who_asks_and_wants_no_encoding() -> None:
    """One plain GET below the base path, without cookies, credentials or compression."""
    with Server(answer(http(GOOD, "Set-Cookie: canary=1"))) as server:
        both = dashboard(f"{server.url}/base/path/?query=1#part")

        async def twice() -> None:
            assert await both.fetch() == GOOD
            assert await both.fetch() == GOOD

        asyncio.run(twice())
    head = server.heads[1].decode().lower()
    assert head.startswith("get /base/path/meta/metrics http/1.1\r\n")
    assert f"host: 127.0.0.1:{server.port}\r\n" in head
    assert "accept-encoding: identity\r\n" in head
    assert f"user-agent: capital-governor/{__version__}\r\n" in head
    assert "cookie" not in head
    assert "authorization" not in head


def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """The dashboard is asked directly, whatever proxy other programs use."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{unused.getsockname()[1]}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        with Server(answer(http(GOOD))) as server:
            assert fetch(server.url) == GOOD


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1",
        "http://",
        "http:///x",
        "ftp://127.0.0.1",
        "file:///etc/hostname",
        "http://127.0.0.1:99999999",
        "http://user:canary@127.0.0.1:1",
        "http://user:canary/2@127.0.0.1:1",
        "http://127.0.0.1\x00:1",
        "http://[::1",
        "http://a..b:1",
        f"http://{'a' * 70}.invalid",
        "http://\ud800:1",
    ],
)
def test_an_impossible_url_is_a_refusal_that_tells_no_secret(url: str) -> None:
    """A URL that cannot be asked is a failed fetch, and nothing of a password is repeated."""
    assert "canary" not in failed(url)


def test_the_status_is_200_when_the_dashboard_is_up() -> None:
    """Any 200 means up, whatever its body; nothing but the head is read."""
    with Server(answer_and_hang(http(b"", "Content-Encoding: gzip")), answer(http(b"x" * (CAP + 1)))) as server:
        assert asyncio.run(dashboard(server.url).status()) == 200
        assert asyncio.run(dashboard(server.url).status()) == 200
        assert server.heads[0].startswith(b"GET /status HTTP/1.1\r\n")


def test_the_status_of_a_dashboard_that_is_down_is_a_refusal() -> None:
    """The question has the same bounds as the fetch."""
    with Server(answer(http(b"", status="404 Not Found")), hang) as server:
        result = asyncio.run(dashboard(server.url).status())
        assert result == Refusal(Reason.FETCH_FAILED, f"HTTP 404 from {server.url}/status")
        result = asyncio.run(dashboard(server.url, deadline=DEADLINE).status())
        assert result == Refusal(Reason.FETCH_FAILED, f"no answer within {DEADLINE} s from {server.url}/status")
        assert server.gave_up == 0


def test_nothing_of_the_http_libraries_reaches_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Even at DEBUG their records, which carry full addresses, are not made."""
    with caplog.at_level(logging.DEBUG), Server(answer(http(GOOD))) as server:
        assert fetch(f"{server.url}/canary") == GOOD
    assert [record for record in caplog.records if record.name.startswith(("httpx", "httpcore"))] == []


def test_fetches_leave_no_socket_and_no_task_behind() -> None:
    """After any number of good, cut and late fetches everything they opened is closed."""

    async def left() -> tuple[int, int]:
        in_time, late = dashboard(server.url), dashboard(dripping.url, deadline=0.1)
        await in_time.fetch()
        before = open_files()
        for _ in range(60):
            await in_time.fetch()
        await late.fetch()
        while not dripping.connections:  # on a machine so busy that the deadline passes first
            await late.fetch()
        await until(lambda: server.finished == server.connections)
        await until(lambda: dripping.finished == dripping.connections)
        return open_files() - before, len(asyncio.all_tasks())

    good = answer(http(GOOD))
    drips = repeat(b"HTTP/1.1 200 OK\r\n", b"X", 0.02)
    with (
        Server(good, answer_and_reset(b"HTTP"), answer(http(b"x" * (CAP + 1))), good) as server,
        Server(drips) as dripping,
    ):
        assert asyncio.run(left()) == (0, 1)
        assert server.connections > 60
        assert dripping.gave_up == 0


# --- what is loaded --------------------------------------------------------------------------------------------------


def run_python(code: str) -> None:
    subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        check=True,
        timeout=PATIENCE_SECONDS,
        cwd=Path(__file__).parents[2],
        env={},
    )


def test_importing_the_dashboard_loads_no_command_line_and_no_colours() -> None:
    """What httpx would drag in stays out, and whoever needs it later can still have it."""
    run_python(
        "import sys, capital_governor.adapters.dashboard\n"
        "heavy = {'rich', 'click', 'pygments', 'typer', 'telegram', 'numpy', 'uvicorn', 'starlette'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "import rich.console, click, pygments.lexers\n"
        "rich.console.Console()\n"
    )


def test_a_module_that_is_loaded_stays_loaded() -> None:
    """Leaning on an import never takes away what another part of the program holds."""
    run_python(
        "import sys, rich.console\n"
        "from capital_governor.adapters.partial_imports import without\n"
        "before = sys.modules['rich']\n"
        "with without('rich', 'click'):\n"
        "    import rich.table\n"
        "    try:\n"
        "        import click\n"
        "    except ImportError:\n"
        "        pass\n"
        "    else:\n"
        "        raise SystemExit('click was not hidden')\n"
        "assert sys.modules['rich'] is before\n"
        "import click\n"
    )


def test_what_was_hidden_comes_back_after_an_error() -> None:
    """An import that fails inside the block leaves no marker behind."""
    run_python(
        "from capital_governor.adapters.partial_imports import without\n"
        "try:\n"
        "    with without('rich'):\n"
        "        raise RuntimeError\n"
        "except RuntimeError:\n"
        "    import rich\n"
    )
