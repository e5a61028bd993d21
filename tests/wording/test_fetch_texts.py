"""A failed fetch in two parts, what happened and what to do, for a dashboard and for the hive."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import pytest

from capital_governor.adapters.dashboard import dashboard_of
from capital_governor.adapters.fetch_hints import DASHBOARD_HINTS, HIVE_HINTS
from capital_governor.core.model import Refusal
from capital_governor.core.reason import Reason
from capital_governor.core.trace import Hold
from capital_governor.settings.load import load
from capital_governor.wording.cause_texts import act_text, hold_cause
from capital_governor.wording.fault_alerts import metrics_lost
from capital_governor.wording.fetch_texts import fetch_act, fetch_problem
from capital_governor.wording.message_form import Sender
from tests.rigs.raw_server import Server, answer, http

URL: Final = "http://localhost:8100/meta/metrics"
PUT_RIGHT: Final = "put right what it says, or correct NEOLIGHT_DASHBOARD_URL"
NOBODY_REPORTS: Final = f"HTTP 503 from {URL}: no agent has reported a decision: there is neither a.json nor b/; see c"


@pytest.mark.parametrize(
    ("detail", "problem", "act"),
    [
        (
            f"connection refused by {URL}; {HIVE_HINTS.absent}",
            f"connection refused by {URL}",
            HIVE_HINTS.absent,
        ),
        (
            f"no answer within 20 s from {URL}; {HIVE_HINTS.silent}",
            f"no answer within 20 s from {URL}",
            HIVE_HINTS.silent,
        ),
        (f"HTTP 503 from {URL}; {HIVE_HINTS.unexplained}", f"HTTP 503 from {URL}", HIVE_HINTS.unexplained),
        (f"HTTP 404 from {URL}; {HIVE_HINTS.foreign}", f"HTTP 404 from {URL}", HIVE_HINTS.foreign),
        (
            f"HTTP 302 from {URL}, a redirect, which is not followed; {DASHBOARD_HINTS.unexplained}",
            f"HTTP 302 from {URL}, a redirect, which is not followed",
            DASHBOARD_HINTS.unexplained,
        ),
        (NOBODY_REPORTS, NOBODY_REPORTS, PUT_RIGHT),
        (
            f"TLS failed with {URL}: it does not speak TLS there; is its URL http:// rather than https://?",
            f"TLS failed with {URL}: it does not speak TLS there; is its URL http:// rather than https://?",
            PUT_RIGHT,
        ),
        (
            "connection refused",
            "connection refused",
            "start the dashboard, or correct NEOLIGHT_DASHBOARD_URL",
        ),
    ],
)
def test_what_happened_and_what_to_do(detail: str, problem: str, act: str) -> None:
    """The hint behind the semicolon is what to do; a reason that the server gives is not parted."""
    assert (fetch_problem(detail), fetch_act(detail)) == (problem, act)
    assert act_text(Reason.FETCH_FAILED, detail) == (True, act)
    assert hold_cause(Reason.FETCH_FAILED, {"hold": detail}) == f"no metrics could be fetched: {problem}"


def refused(root: Path, url: str, *, hive: bool) -> Hold:
    """The hold of a governor with these settings that asks this address."""
    settings = load(root, {"NEOLIGHT_DASHBOARD_URL": url, "CAPITAL_GOVERNOR_HIVE": str(int(hive))})
    found = asyncio.run(dashboard_of(settings).fetch())
    assert isinstance(found, Refusal)
    return Hold(found.reason, found.detail)


def told(hold: Hold) -> str:
    sender = Sender(fleet="fleet1", program="cg")
    return "\n".join(metrics_lost(hold, 900.0, None, None, sender))


def test_the_message_names_the_hive_where_it_is_on(tmp_path: Path) -> None:
    """Nobody is told to start a dashboard that they do not have; cause and remedy are each said once."""
    message = told(refused(tmp_path, "http://127.0.0.1:1", hive=True))
    assert "Dashboard unreachable for 15 min: connection refused by http://127.0.0.1:1/meta/metrics.\n" in message
    assert f"Act: {HIVE_HINTS.absent}. To test it:\ncg check" in message
    assert "start the dashboard" not in message
    message = told(refused(tmp_path, "http://127.0.0.1:1", hive=False))
    assert f"Act: {DASHBOARD_HINTS.absent}. To test it:\ncg check" in message
    assert message.count("start the dashboard") == 1


def test_the_message_repeats_the_reason_that_the_server_gives(tmp_path: Path) -> None:
    """What the hive says is missing is what is to be put right."""
    body = b'{"error": "no agent has reported a decision"}'
    with Server(answer(http(body, "Content-Type: application/json", status="503 No"))) as server:
        message = told(refused(tmp_path, server.url, hive=True))
    assert f"HTTP 503 from {server.url}/meta/metrics: no agent has reported a decision.\n" in message
    assert f"Act: {PUT_RIGHT}. To test it:" in message
