"""Every kind of message, whole, as the chat shows it: from a real cycle, through journal and outbox, to a Bot API.

``messages.txt`` has them, a section for each case. To read them aloud is the way to judge a change of them.
"""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar
from unittest.mock import patch

import pytest

from capital_governor.adapters import atomic_replacement
from capital_governor.adapters.telegram import Telegram
from capital_governor.contracts.payload import parse
from capital_governor.core.model import Inputs, Refusal, Rules, State
from capital_governor.core.orders import OrderKind
from capital_governor.core.reason import Reason
from capital_governor.core.trace import Decision
from capital_governor.service.digest import Digest
from capital_governor.service.outbox import Outbox
from capital_governor.service.sender import sender_of
from tests.rigs.bot_api import CHAT, TOKEN, BotApi
from tests.rigs.builders import FLEET, snapshot
from tests.rigs.cycle_rig import CycleRig, locked
from tests.rigs.order_desk import give, take_back

T = TypeVar("T")
Case = Callable[[CycleRig], object]

WRITTEN: Final = Path(__file__).with_name("messages.txt")
SCRIPT: Final = Path(__file__).resolve().parents[2] / "neo_light_fix.sh"
SWAPPED: Final = {"Ada": 0.2, "Bob": 0.3, "Cyd": 0.5}
WITHOUT_CYD: Final = {"Ada": 0.5, "Bob": 0.3}
ONLY_ADA: Final = {"Ada": 0.5}
DOWN: Final = Refusal(Reason.FETCH_FAILED, "connection refused by http://localhost:8100/meta/metrics")
ANGRY: Final = Refusal(Reason.FETCH_FAILED, "HTTP 500 from http://localhost:8100/meta/metrics: cache is empty")
WRONG: Final = Refusal(Reason.PAYLOAD_REFUSED, "per_agent is missing, not an object of agents: another schema")


def moves(rig: CycleRig) -> None:
    rig.see(SWAPPED)
    rig.see({**SWAPPED, "Dan": 0.4})
    give(rig, OrderKind.RELEASE, agent="Dan")
    for _ in range(4):
        rig.see(SWAPPED)


def risk(rig: CycleRig) -> None:
    for risk, drawdown in ((0.5, 0.0), (0.8, 0.0), (1.0, 20.0), (0.0, 20.0), (1.0, 0.0)):
        rig.see(risk=risk, drawdown=drawdown)


def braked(rig: CycleRig) -> None:
    rig.now += 3_600.0
    rig.see(SWAPPED)
    rig.see(SWAPPED, risk=0.5)


def orders(rig: CycleRig) -> None:
    cap = give(rig, OrderKind.LIMIT, agent="Ada", cap=0.1, reason="new strategy")
    rig.see()
    take_back(rig, cap)
    rig.see()
    ceiling = give(rig, OrderKind.EXPOSURE, cap=0.3, reason="election night")
    rig.see()
    take_back(rig, ceiling)
    rig.see()


def silent(rig: CycleRig) -> None:
    for _ in range(4):
        rig.see(WITHOUT_CYD)
    for _ in range(3):
        rig.see()


def back_in_time(rig: CycleRig) -> None:
    for _ in range(3):
        rig.see(WITHOUT_CYD)
    rig.see()


def faulty(rig: CycleRig) -> None:
    for _ in range(3):
        rig.see(WITHOUT_CYD, faulty=["Cyd", "Dan"])
    rig.see({**FLEET, "Dan": 0.1})


def released(rig: CycleRig) -> None:
    for _ in range(4):
        rig.see(WITHOUT_CYD)
    give(rig, OrderKind.RELEASE, agent="Cyd")
    rig.see(WITHOUT_CYD)


def half_gone(rig: CycleRig) -> None:
    for _ in range(13):
        rig.see(ONLY_ADA)


def half_back(rig: CycleRig) -> None:
    for _ in range(3):
        rig.see(ONLY_ADA)
    rig.see()


def half_accepted(rig: CycleRig) -> None:
    rig.see(ONLY_ADA)
    give(rig, OrderKind.ACCEPT, accepts="members_gone")
    rig.see(ONLY_ADA)


def most_faulty(rig: CycleRig) -> None:
    rig.see(ONLY_ADA, faulty=["Bob", "Cyd"])
    rig.see()
    rig.see(ONLY_ADA, faulty=["Bob", "Cyd"])
    give(rig, OrderKind.ACCEPT, accepts="faulty_majority")
    rig.see(ONLY_ADA, faulty=["Bob", "Cyd"])


def nobody(rig: CycleRig) -> None:
    rig.see({})
    rig.see()


def pauses(rig: CycleRig) -> None:
    for _ in range(2):
        rig.see(paused=True)
    rig.see()
    rig.pause_file.parent.mkdir(exist_ok=True)
    rig.pause_file.write_text('{"paused": true, "reason": "Auto rate-limit cooldown", "until": "2025-11-03T22:28:00Z"}')
    for _ in range(3):
        rig.see()
    rig.pause_file.write_text('{"paused": tr')
    rig.see()
    rig.pause_file.unlink()
    rig.see()


def holds(rig: CycleRig) -> None:
    hold = give(rig, OrderKind.HOLD, reason="broker migration")
    rig.see()
    rig.see()
    take_back(rig, hold)
    rig.see()
    give(rig, OrderKind.HOLD, 600.0)
    for _ in range(3):
        rig.see()


def stops(rig: CycleRig) -> None:
    rig.stop_file.touch()
    rig.see()
    rig.see()
    rig.stop_file.unlink()
    rig.see()


def stop_behind_a_pause(rig: CycleRig) -> None:
    rig.stop_file.touch()
    rig.see(paused=True)
    rig.stop_file.unlink()
    rig.see(paused=True)
    rig.see()


def lost_guardian(rig: CycleRig) -> None:
    rig.cycle(replace(snapshot(at=rig.now), guardian=None))
    rig.see()
    rig.cycle(replace(snapshot(at=rig.now), guardian=None))
    give(rig, OrderKind.ACCEPT, accepts="guardian_lost")
    rig.cycle(replace(snapshot(at=rig.now), guardian=None))


def lost_time(rig: CycleRig) -> None:
    rig.see(at=None)
    rig.see()
    rig.see(at=None)
    give(rig, OrderKind.ACCEPT, accepts="timestamp_lost")
    rig.see(at=None)


def lost_metrics(rig: CycleRig) -> None:
    for said in (DOWN, ANGRY, WRONG):
        for _ in range(4):
            rig.cycle(said)
        rig.see()
    for _ in range(4):
        rig.see(at=rig.now - 3_000)
    rig.see()
    for _ in range(4):
        rig.see(at=rig.now + 3_000)
    rig.see()


def a_cause_that_changes(rig: CycleRig) -> None:
    for said in (DOWN, ANGRY, DOWN):
        for _ in range(4):
            rig.cycle(said)
    rig.see()


@contextmanager
def full_disk(rig: CycleRig) -> Iterator[None]:
    real = atomic_replacement._make

    def full(path: Path, *arguments: Any) -> Any:
        if path == rig.primary:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, *arguments)

    with patch.object(atomic_replacement, "_make", full):
        yield


def files(rig: CycleRig) -> None:
    with full_disk(rig):
        rig.see(SWAPPED)
        rig.see(SWAPPED)
    rig.see(SWAPPED)


def rival(rig: CycleRig) -> None:
    rig.override.write_text(json.dumps({"allocations": {}, "source": "rl_inference"}))
    for _ in range(3):
        rig.see()


def gate(rig: CycleRig) -> None:
    def refusing(decision: Decision, _inputs: Inputs, _state: State, _rules: Rules) -> Reason | None:
        return Reason.GATE_LIMIT if decision.proposal is not None else None

    with patch("capital_governor.service.cycle.gate", refusing):
        for _ in range(2):
            rig.see(SWAPPED)
    rig.see()


def program_fault(rig: CycleRig) -> None:
    rig.alerts.broken("KeyError: 'mood'", rig.now, visible=rig.governor.standing.published)
    rig.now += 300.0
    rig.see()
    rig.alerts.broken("a later cycle is in the journal", rig.now, visible=None, conflict=True)


def lost_journal(rig: CycleRig) -> None:
    with locked(rig.settings.journal_path):
        rig.see()
        rig.see()
    rig.see()
    rig.tell_journal()


def digest(rig: CycleRig) -> None:
    written = Digest(rig.journal, "live", 8, sender_of(rig.settings), str)
    rig.see(paused=True)
    rig.see(paused=True)
    give(rig, OrderKind.LIMIT, agent="Ada", cap=0.3, reason="new strategy")
    for _ in range(3):
        rig.see(WITHOUT_CYD, risk=0.8)
    rig.cycle(DOWN)
    rig.now += 36_000.0
    written.put(rig.see(WITHOUT_CYD, faulty=["Dan"], risk=0.8))


def digest_in_a_hold(rig: CycleRig) -> None:
    written = Digest(rig.journal, "live", 8, sender_of(rig.settings), str)
    give(rig, OrderKind.EXPOSURE, cap=0.0, reason="panic")
    for _ in range(120):
        written.put(rig.cycle(DOWN))


def hostile(rig: CycleRig) -> None:
    """What other programs send is in the payload, as it came."""
    said = "\u202e<b>*x*</b>\n@everyone https://evil.example/ " + "y" * 500
    good = {"pnl_7d": 0, "sharpe_30d": 0, "winrate_30d": 0.2, "max_dd_30d": 0}
    agents = {name: good | {"winrate_30d": score} for name, score in FLEET.items()}
    agents |= {"No action needed.": good, "b:1.5 _x_": good, "\u202e\nAda: 99.0%": good, "<b>" * 40: good}

    def see(**guardian: object) -> None:
        document = {
            "timestamp": datetime.fromtimestamp(rig.now, UTC).isoformat(),
            "per_agent": agents,
            "guardian": {"is_paused": False, "drawdown": 0.0, "reason": said} | guardian,
            "market_regime": {"regime": said, "risk_multiplier": 0.5},
        }
        rig.cycle(parse(json.dumps(document).encode()))

    for _ in range(3):
        see()
    see(is_paused=True)


CASES: Final[dict[str, tuple[Case, dict[str, Any]]]] = {
    "Moves": (moves, {"MEMBERSHIP_GRACE": 0}),
    "Risk cuts": (risk, {}),
    "A cut while the cool-down lasts": (braked, {"COOLDOWN": 3_600}),
    "Orders": (orders, {}),
    "A silent agent lapses and comes back": (silent, {}),
    "A silent agent comes back in time": (back_in_time, {}),
    "Faulty records": (faulty, {}),
    "A silent agent is released": (released, {}),
    "Half of the fleet goes silent": (half_gone, {}),
    "Half of the fleet comes back": (half_back, {}),
    "Half of the fleet is accepted as silent": (half_accepted, {}),
    "Half of the fleet goes silent, and others get its part": (half_gone, {"RELEASE_AFTER": 0}),
    "Most records are faulty": (most_faulty, {}),
    "No agents": (nobody, {}),
    "Guardian pauses": (pauses, {}),
    "An operator holds": (holds, {}),
    "STOP": (stops, {}),
    "STOP behind a pause": (stop_behind_a_pause, {}),
    "Guardian's data are missing": (lost_guardian, {}),
    "The time stamp is missing": (lost_time, {}),
    "No metrics": (lost_metrics, {}),
    "No metrics, and the cause changes": (a_cause_that_changes, {}),
    "Files": (files, {}),
    "Another writer": (rival, {}),
    "Another writer is only reported": (rival, {"OVERRIDE": "report"}),
    "The gate": (gate, {}),
    "Faults of the program": (program_fault, {}),
    "The journal": (lost_journal, {}),
    "Digest": (digest, {}),
    "Digest while the dashboard is down": (digest_in_a_hold, {}),
    "Hostile texts": (hostile, {}),
}


def send(rig: CycleRig, api: BotApi) -> list[str]:
    """Send what the journal has to the chat, and return what it shows."""

    async def on_disk(work: Callable[[], T]) -> T:
        return work()

    async def finished() -> None:
        """Nothing more is to be done."""

    async def flush() -> None:
        telegram = Telegram(TOKEN, CHAT, api.base_url, redact=str)
        done: Callable[[], Awaitable[object]] = finished
        outbox = Outbox(rig.journal, on_disk, telegram, say=rig.lines.append, now=lambda: rig.now, on_finished=done)
        try:
            await outbox.flush()
        finally:
            await telegram.close()

    asyncio.run(flush())
    return list(api.taken)


def told(root: Path, api: BotApi, case: Case, **own: Any) -> list[str]:
    """Return what the chat shows after the first allocation, with ``cg`` for the program and ROOT for the root."""
    with CycleRig(root, notify=True, **own) as rig:
        rig.see()
        case(rig)
        texts = send(rig, api)
    assert all(len(text.encode("utf-16-le")) // 2 <= 4096 for text in texts)
    assert len(texts) > 1
    short = [
        text.replace(f"{SCRIPT} ", "cg ").replace(f" --root {root}", "").replace(str(root), "ROOT") for text in texts
    ]
    return short[1:]


def sections() -> dict[str, str]:
    """Return the messages of each case, as they are written down."""
    parts = WRITTEN.read_text(encoding="utf-8").split("\n=== ")[1:]
    return {part.partition("\n")[0]: part.partition("\n")[2].strip("\n") for part in parts}


@pytest.mark.parametrize("name", CASES)
def test_messages_arrive_as_they_are_written_down(tmp_path: Path, api: BotApi, name: str) -> None:
    """The chat shows exactly these messages, in this order."""
    case, own = CASES[name]
    assert "\n\n".join(told(tmp_path, api, case, **own)) == sections()[name]


def test_all_that_is_written_down_is_tested() -> None:
    """No section is left of a case that is gone."""
    assert [*sections()] == [*CASES]
