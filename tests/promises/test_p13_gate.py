"""P13: the gate refuses a wrong allocation, whatever part of the decision went wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from capital_governor.core import gate
from capital_governor.core.decision import decide
from capital_governor.core.model import Inputs
from capital_governor.core.reason import GATE_REFUSALS, Reason
from capital_governor.core.trace import Decision
from tests.promises.ledger import Account, require
from tests.rigs.broken_deciders import BROKEN, CORE

_whole_gate = gate.gate


def _without_stop(decision: Decision, inputs: Inputs, *others: Any) -> Reason | None:
    return _whole_gate(decision, replace(inputs, stopped=False), *others)


BLIND: dict[str, tuple[str, Callable[..., object]]] = {
    "sums unchecked": ("_adds_up", lambda *_: True),
    "limits unchecked": ("_within_limits", lambda *_: True),
    "gains of the faulty unchecked": ("_no_gain_unwell", lambda *_: True),
    "groups unchecked": ("_groups_fit", lambda *_: True),
    "strangers and the lapsed unchecked": ("_none_for_the_silent", lambda *_: True),
    "rises unchecked": ("_nothing_rises", lambda *_: True),
    "brakes forgotten": ("_rises_rightly", lambda *_, **__: True),
    "pauses and holds forgotten": ("_is_held", lambda *_: False),
    "STOP forgotten": ("gate", _without_stop),
    "multipliers forgotten": ("_most_exposure", lambda *_, **__: 2.0),
    "exposure never too much": ("ppm", lambda *_: 10**9),
}
"""Parts of the gate that see nothing any more."""


def check_refused() -> int:
    """Break one part of the decision after the other; return how many wrong proposals the gate refused, all of them."""
    for broken in BROKEN:
        with pytest.MonkeyPatch.context() as breaking:
            for part, by in {broken.part: broken.by, **broken.too}.items():
                breaking.setattr(CORE + part, by)
            found = decide(broken.inputs, broken.state, broken.rules)
        assert found.proposal is not None, f"a broken {broken.part} proposes nothing"
        said = gate.gate(found, broken.inputs, broken.state, broken.rules)
        require(said is broken.reason, f"of a proposal by a broken {broken.part} the gate says {said}")
    return len(BROKEN)


def test_p13_the_gate_refuses_what_the_allocator_got_wrong(promise: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every broken part, every line of the gate; and a gate that is blind in one of them is found out."""
    refused = check_refused()
    lines = {broken.reason for broken in BROKEN}
    assert lines == GATE_REFUSALS, "a line of the gate without a broken part"
    promise.figure(f"broken deciders refused {refused}/{len(BROKEN)}, lines of the gate broken {len(lines)}")
    for name, (part, blind) in BLIND.items():
        with monkeypatch.context() as mutating, promise.mutant(name):
            mutating.setattr(f"capital_governor.core.gate.{part}", blind)
            check_refused()
