"""What an operator is told to do about a fetch that failed: it fits the cause, and whether the hive is on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import pytest

from capital_governor.adapters.dashboard import dashboard_of
from capital_governor.adapters.fetch_hints import DASHBOARD_HINTS, HIVE_HINTS, Hints
from capital_governor.core.model import Refusal
from capital_governor.settings.load import load
from tests.rigs.raw_server import Connection, Script, Server, answer, hang, http

JSON: Final = "Content-Type: application/json"


def told(root: Path, url: str, *, hive: bool, path: str = "/meta/metrics", deadline: float = 60.0) -> str:
    """What a governor with these settings says of a failed request."""
    own = {"CAPITAL_GOVERNOR_HIVE": str(int(hive)), "CAPITAL_GOVERNOR_FETCH_DEADLINE": str(deadline)}
    asked = dashboard_of(load(root, {"NEOLIGHT_DASHBOARD_URL": url} | own))
    found = asyncio.run(asked.fetch() if path == "/meta/metrics" else asked.status())
    assert isinstance(found, Refusal)
    return found.detail


def hints(*, hive: bool) -> Hints:
    return HIVE_HINTS if hive else DASHBOARD_HINTS


@pytest.mark.parametrize("hive", [False, True])
def test_nobody_listens(tmp_path: Path, hive: bool) -> None:
    """The dashboard, or the hive where it is on, must be started; /status repeats no hint."""
    refused = "connection refused by http://127.0.0.1:1"
    assert told(tmp_path, "http://127.0.0.1:1", hive=hive) == f"{refused}/meta/metrics; {hints(hive=hive).absent}"
    assert told(tmp_path, "http://127.0.0.1:1", hive=hive, path="/status") == f"{refused}/status"


@pytest.mark.parametrize("hive", [False, True])
def test_a_server_that_does_not_answer(tmp_path: Path, hive: bool) -> None:
    """It runs, so it is not to be started; its log has more."""
    with Server(hang) as server:
        detail = told(tmp_path, server.url, hive=hive, deadline=0.3)
    assert detail == f"no answer within 0.3 s from {server.url}/meta/metrics; {hints(hive=hive).silent}"


@pytest.mark.parametrize("hive", [False, True])
@pytest.mark.parametrize(
    ("script", "said"),
    [
        (
            answer(http(b'{"error": "state/x.json: torn"}', JSON, status="503 No")),
            "HTTP 503 from {}: state/x.json: torn",
        ),
        (answer(http(b'{"error": "no right"}', JSON, status="410 No")), "HTTP 410 from {}: no right"),
        (answer(http(b"oops", status="503 No")), "HTTP 503 from {}; {unexplained}"),
        (answer(http(b"oops", status="410 No")), "HTTP 410 from {}; {unexplained}"),
    ],
)
def test_an_answer_with_a_reason_needs_no_hint(tmp_path: Path, hive: bool, script: Script, said: str) -> None:
    """The server's own reason is the hint; without one it is where to look."""
    with Server(script) as server:
        detail = told(tmp_path, server.url, hive=hive)
    assert detail == said.format(f"{server.url}/meta/metrics", unexplained=hints(hive=hive).unexplained)


def test_another_server_at_the_port_of_the_hive(tmp_path: Path) -> None:
    """With the hive on, a server without metrics is not a wrong dashboard but a taken port."""
    with Server(answer(http(b"<html>", status="404 Not Found"))) as server:
        detail = told(tmp_path, server.url, hive=True)
        assert detail == f"HTTP 404 from {server.url}/meta/metrics; {HIVE_HINTS.foreign}"
        assert "this server has no /meta/metrics" in told(tmp_path, server.url, hive=False)


@pytest.mark.parametrize("hive", [False, True])
def test_tls_has_hints_of_its_own(tmp_path: Path, hive: bool) -> None:
    """To a wrong scheme nothing is added."""

    def answer_plain(connection: Connection) -> None:
        connection.sock.recv(65_536)
        connection.send(http(b"", status="400 Bad Request"))

    with Server(answer_plain) as server:
        detail = told(tmp_path, server.url.replace("http:", "https:"), hive=hive)
    assert detail.endswith("it does not speak TLS there; is its URL http:// rather than https://?")


def test_with_the_hive_on_nobody_is_told_of_a_dashboard() -> None:
    """No hint of the hive speaks of a dashboard, except in the name of the setting."""
    for hint in (HIVE_HINTS.absent, HIVE_HINTS.silent, HIVE_HINTS.unexplained, HIVE_HINTS.foreign):
        assert "dashboard" not in hint.replace("NEOLIGHT_DASHBOARD_URL", "").lower()
        assert hint
