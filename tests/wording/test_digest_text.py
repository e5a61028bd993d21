"""The daily message: orders in percent, what waits, and whether a person must act."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from capital_governor.core.orders import Order, OrderKind
from capital_governor.core.reason import Reason
from capital_governor.core.trace import Brake
from capital_governor.wording.digest_text import Day, Present, digest_lines, order_text
from capital_governor.wording.message_form import Sender
from tests.rigs.builders import NOW, settled

SENDER = Sender("fleet1", program="cg")
CALM = Present(published=settled().published, exposure_by="nothing reduces it")
ACT = ["Act: type this to see what is to be done:", "cg status"]


def order(kind: OrderKind, **own: Any) -> Order:
    return replace(Order(key="k", kind=kind, author="anna", given_at=NOW), **own)


def lines(now: Present) -> list[str]:
    return list(digest_lines(Day(), now, NOW, SENDER))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (order(OrderKind.LIMIT, agent="Ada", cap=0.125), "Ada at most 12.5 %, by anna"),
        (order(OrderKind.LIMIT, agent="Ada", cap=0.3, floor=0.1), "Ada at most 30 % and at least 10 %, by anna"),
        (order(OrderKind.LIMIT, agent="*", cap=0.3, reason="quiet"), "each agent at most 30 %, by anna: quiet"),
        (order(OrderKind.EXPOSURE, cap=0.0, until=NOW + 3_600), "at most 0 % deployed, by anna until 23:00 UTC"),
        (order(OrderKind.HOLD, reason="broker migration"), "hold of all shares, by anna: broker migration"),
        (order(OrderKind.RELEASE, agent="Cyd"), "release of Cyd, by anna"),
        (order(OrderKind.ACCEPT, accepts="guardian_lost"), "accept, by anna"),
    ],
)
def test_an_order_is_told_in_percent(given: Order, told: str) -> None:
    """Who may have how much, by whom, until when and why; no option of a command and no fraction."""
    assert order_text(given, NOW) == told


@pytest.mark.parametrize(
    ("brake", "told"),
    [
        (Brake(Reason.COOLDOWN, True, 600.0, 3_600.0), "A move waits: the cool-down ends at 22:50 UTC."),
        (Brake(Reason.CONFIRMING, True, 10, 12), "A move waits: 2 more cycles must confirm it."),
        (Brake(Reason.CONFIRMING, True, 11, 12), "A move waits: 1 more cycle must confirm it."),
    ],
)
def test_a_move_that_waits_is_told_with_what_it_waits_for(brake: Brake, told: str) -> None:
    """NOW is 22:00 UTC: of an hour of cool-down ten minutes are over."""
    assert lines(replace(CALM, brake=brake))[-2:] == [told, "No action needed."]


@pytest.mark.parametrize(
    ("change", "acts"),
    [
        ({}, False),
        ({"hold": Reason.PAUSED}, False),
        ({"hold": Reason.OPERATOR_HOLD}, False),
        ({"pending": 3}, False),
        ({"hold": Reason.FETCH_FAILED}, True),
        ({"hold": Reason.GATE_LIMIT}, True),
        ({"unwell": {"Cyd": ""}}, True),
        ({"waiting": settled().published}, True),
        ({"refused": 1, "refused_detail": "chat not found"}, True),
    ],
)
def test_whether_a_person_must_act_is_told_last(change: dict[str, Any], acts: bool) -> None:
    """What ends by itself needs nobody; a fault, a silent agent or a refused message needs a look."""
    assert lines(replace(CALM, **change))[-2 if acts else -1 :] == (ACT if acts else ["No action needed."])
