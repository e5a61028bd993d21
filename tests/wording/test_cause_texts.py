"""Causes in plain words: each reason has some, none is told by its code, and figures are in percent."""

from __future__ import annotations

from typing import Any

import pytest

from capital_governor.core.reason import CUTS, GATE_REFUSALS, HOLDS, MOVES, Reason
from capital_governor.wording.cause_texts import (
    PLAIN,
    act_text,
    hold_cause,
    move_cause,
    stay_cause,
)

CODES = [reason.value for reason in Reason if "_" in reason.value]


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_words_without_a_code(reason: Reason) -> None:
    """Without any facts, as of an older journal."""
    said = [PLAIN[reason], act_text(reason)[1], hold_cause(reason, {}), stay_cause(reason, {})]
    said += [move_cause(reason, {}, None, 1.0), move_cause(reason, {}, 1.0, 0.5)]
    assert not [code for code in CODES for text in said if code in text]
    assert all(said[2:])


def test_who_must_act() -> None:
    """A pause and an operator's hold end by others; after a decision nobody must act; other holds need somebody."""
    assert {reason for reason in Reason if act_text(reason)[0]} == (
        (HOLDS | GATE_REFUSALS) - {Reason.PAUSED, Reason.OPERATOR_HOLD}
    )
    assert act_text(Reason.PAUSED) == (False, "it ends when Guardian lifts the pause (file and dashboard)")
    assert act_text(Reason.UNCHANGED) == act_text(None) == (False, "")


@pytest.mark.parametrize(
    ("reason", "facts", "text"),
    [
        (Reason.PAUSED, {"hold": "the pause file says: paused"}, "Guardian paused (pause file): no reason given"),
        (Reason.PAUSED, {"hold": "the payload says: Drawdown"}, "Guardian paused (payload): Drawdown"),
        (Reason.OPERATOR_HOLD, {"hold": "held by anna: night"}, "by anna: night"),
        (
            Reason.FETCH_FAILED,
            {"hold": "connection refused"},
            "no metrics could be fetched: connection refused",
        ),
        (
            Reason.MEMBERS_GONE,
            {"hold": "2 of 3 members are gone at once, cycle 1 of 12", "absent": {"B": 0, "A": 0}},
            "half of the fleet or more stopped reporting at once: A, B",
        ),
        (
            Reason.FAULTY_MAJORITY,
            {"hold": "2 of 3 agents have a faulty record"},
            "most agents report faulty records: 2 of 3 agents have a faulty record",
        ),
        (Reason.STOPPED, {"hold": "the STOP file exists"}, "the STOP file is there"),
    ],
)
def test_what_holds(reason: Reason, facts: dict[str, Any], text: str) -> None:
    """With the facts, but once only."""
    assert hold_cause(reason, facts) == text


def trigger(reason: str, **more: Any) -> dict[str, Any]:
    return {"trigger": {"reason": reason, "value": 150_000, "limit": 100_000, **more}}


REGIME = {"exposure": {"value": 0.5, "by": "regime", "origin": "payload", "raw": 0.5, "name": "BEAR"}}


@pytest.mark.parametrize(
    ("reason", "facts", "exposures", "text"),
    [
        (Reason.THRESHOLD, REGIME, (1.0, 0.5), "market BEAR (risk 0.5), exposure 100 -> 50 %"),
        (Reason.CUT_DERISK, REGIME, (0.8, 0.5), "market BEAR (risk 0.5), exposure 80 -> 50 %"),
        (Reason.THRESHOLD, {"exposure": {"value": 1.0}}, (0.5, 1.0), "exposure 50 -> 100 %, nothing reduces it now"),
        (
            Reason.THRESHOLD,
            REGIME | trigger("threshold", subject="A", scores=[0.25, 0.5]),
            (0.5, 0.5),
            "score of A rose from 0.25 to 0.50",
        ),
        (
            Reason.THRESHOLD,
            trigger("threshold", subject="A", scores=[None, 0.5]),
            (0.5, 0.5),
            "scores changed, most for A",
        ),
        (Reason.MEMBER_JOINED, {"trigger": {"value": 2, "subject": "A"}}, (1.0, 1.0), "A and 1 more joined the fleet"),
        (
            Reason.LIMIT_BREACHED,
            {"trigger": {"value": 1, "subject": "A", "cap_by": "operator's cap", "cap_detail": "by anna: new"}},
            (1.0, 1.0),
            "A was above the operator's cap by anna: new",
        ),
        (
            Reason.CUT_LIMIT,
            {"withheld": {"A": ["operator's cap", "by anna: new"]}},
            (1.0, 1.0),
            "A: operator's cap by anna: new",
        ),
        (Reason.CUT_LAPSE, {"withheld": {"A": ["lapsed", ""]}}, (1.0, 1.0), "A has lapsed: no record for too long"),
        (
            Reason.CUT_LAPSE,
            {"withheld": {"A": ["lapsed", ""], "B": ["operator's cap", "by anna"], "C": ["lapsed", ""]}},
            (1.0, 1.0),
            "A, C have lapsed: no record for too long, B: operator's cap by anna",
        ),
        (Reason.RESTORE, {}, (1.0, 1.0), "what was withheld is given back"),
    ],
)
def test_what_moves(reason: Reason, facts: dict[str, Any], exposures: tuple[float, float], text: str) -> None:
    """The cause comes before what it does to exposure."""
    assert reason in MOVES | CUTS | {Reason.RESTORE}
    assert move_cause(reason, facts, *exposures) == text


def test_what_is_too_small_to_move() -> None:
    """The largest wanted change, whose it is, and what a move needs."""
    facts = {"trigger": {"value": 71_000, "limit": 100_000, "subject": "SmartTrader"}}
    said = "the largest wanted change is 7.1 % (SmartTrader), a move needs 10 %"
    assert stay_cause(Reason.BELOW_THRESHOLD, facts) == said
    assert stay_cause(Reason.COOLDOWN, facts) == "a move is wanted, and waits for the end of COOLDOWN"
