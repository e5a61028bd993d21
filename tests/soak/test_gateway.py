"""The gateway between hive and governor: what it hands over, and each of its lies."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest

from tests.rigs.dashboard import FLEET, Dashboard, payload, record
from tests.rigs.patience import PATIENCE_SECONDS
from tests.rigs.raw_server import Server, answer, answer_and_hang, http, repeat
from tests.soak.gateway import LIES, MODES, SILENT, STALE_SECONDS, Gateway, ask, worth

AGENTS = {**FLEET, **dict.fromkeys(SILENT, record(pnl=0.0))}
WHOLE = http(json.dumps(payload(AGENTS)).encode(), "Server: a hive")
REFUSAL = http(b'{"error": "torn"}', status="503 Service Unavailable")


@contextmanager
def gateway(hive: Callable[[], bytes | None], mode: str = "well") -> Iterator[tuple[Gateway, int]]:
    """A gateway to what stands for a hive, and its port."""
    found = Gateway(hive)
    found.enter(mode)
    with Dashboard(found.serve) as dashboard:
        yield found, dashboard.port


def figures(port: int) -> dict[str, Any]:
    said = ask(port, PATIENCE_SECONDS)
    assert said is not None
    found: dict[str, Any] = json.loads(said.partition(b"\r\n\r\n")[2])
    return found


@pytest.mark.parametrize(("said", "kind"), [(WHOLE, "relayed"), (REFUSAL, "refused")])
def test_the_hives_answer_is_handed_over_byte_for_byte(said: bytes, kind: str) -> None:
    """Status and head are the hive's, too; a refusal is counted as one."""
    with gateway(lambda: said) as (found, port):
        assert ask(port, PATIENCE_SECONDS) == said
    assert found.counts == {"relayed": 0, "changed": 0, "refused": 0, "silent": 0} | {kind: 1}


@pytest.mark.parametrize("mode", ["well", *LIES])
def test_without_a_hive_nothing_is_answered(mode: str) -> None:
    """In no mode does the gateway make up a payload of its own."""
    with gateway(lambda: None, mode) as (found, port):
        assert ask(port, PATIENCE_SECONDS) is None
    assert found.counts["silent"] == 1
    with gateway(lambda: REFUSAL, mode) as (found, port):
        assert ask(port, PATIENCE_SECONDS) == REFUSAL
    assert found.counts["refused"] == 1


@pytest.mark.parametrize(
    ("mode", "lost"),
    [
        ("nan", {f"{name}.sharpe_30d" for name in AGENTS}),
        ("half", set(sorted(AGENTS)[::2])),
        ("silent", set(SILENT)),
        ("unguarded", {"guardian"}),
        ("stale", {"timestamp", "cache_timestamp"}),
    ],
)
def test_a_lie_changes_the_hives_payload_and_no_more(mode: str, lost: set[str]) -> None:
    """What the lie is about is gone or another; all else is what the hive said."""

    def lines(said: dict[str, Any]) -> dict[str, str]:
        agents = said["per_agent"]
        found = {name: value for name, value in said.items() if name != "per_agent"} | agents
        if mode == "nan":
            found |= {f"{name}.{metric}": value for name in agents for metric, value in agents[name].items()}
            found = {name: value for name, value in found.items() if name not in agents}
        return {name: json.dumps(value) for name, value in found.items()}

    with gateway(lambda: WHOLE, mode) as (found, port):
        true, told = lines(json.loads(WHOLE.partition(b"\r\n\r\n")[2])), lines(figures(port))
    assert {name for name, value in true.items() if told.get(name) != value} == lost
    assert told.keys() <= true.keys()
    assert found.counts["changed"] == 1


def test_what_is_stale_is_so_old() -> None:
    """The time stamp of mode "stale" is two hours ago."""
    began = time.time()
    with gateway(lambda: WHOLE, "stale") as (_, port):
        at = datetime.fromisoformat(figures(port)["timestamp"]).timestamp()
    assert began <= at + STALE_SECONDS <= time.time()


def test_still_figures_stay_under_fresh_stamps_until_it_looks_again() -> None:
    """The hive goes on, and mode "still" does not; told to look again it has the figures of then, and stays."""
    risks = iter((0.8, 0.6, 0.5))

    def hive() -> bytes:
        return http(json.dumps(payload(risk=next(risks), at=0.0)).encode())

    def seen(port: int) -> float:
        began, said = time.time(), figures(port)
        assert began <= datetime.fromisoformat(said["timestamp"]).timestamp() <= time.time()
        return float(said["market_regime"]["risk_multiplier"])

    with gateway(hive, "still") as (found, port):
        assert [seen(port), seen(port)] == [0.8, 0.8]
        found.look_again()
        assert [seen(port), seen(port)] == [0.6, 0.6]
        found.enter("well")
        assert figures(port)["market_regime"]["risk_multiplier"] == 0.5


def test_broken_modes_ask_no_hive() -> None:
    """An error with status 200, and a body that never ends."""
    with gateway(lambda: WHOLE, "error") as (found, port):
        assert figures(port)["error"] == "cache failed"
        found.enter("drip")
        assert ask(port, 0.5) is None
    assert found.counts.total() == 0
    assert len(set(MODES)) == len(MODES)


@pytest.mark.parametrize(
    "script",
    [
        repeat(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n", bytes(50_000), 0.1),
        answer_and_hang(WHOLE[:-9]),
        answer(WHOLE[:-9]),
    ],
    ids=["drips", "hangs", "torn"],
)
def test_a_hive_has_so_long_for_a_whole_answer(script: Callable[..., None]) -> None:
    """What is not whole in time is no answer, whatever comes meanwhile."""
    with Server(script) as hive:
        assert ask(hive.port, 0.4) is None
        assert hive.gave_up == 0
    assert ask(hive.port, 0.4) is None


def test_leaders_are_the_better_half() -> None:
    """Ranked by the published formula: 0.34 + 0.123 + 0.13 + 0.0875 of 10 000, 1.234, 0.65 and 2.5 %."""
    with gateway(lambda: http(json.dumps(payload()).encode())) as (found, port):
        assert found.leaders() == []
        figures(port)
        assert found.leaders() == ["RangeTrader", "SmartTrader"]
    assert worth(FLEET["SmartTrader"]) == pytest.approx(0.034 + 0.1234 + 0.13 + 0.0875)
    assert worth(FLEET["SmartTrader"] | {"pnl_7d": None}) == 0.0
