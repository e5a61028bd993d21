"""A decision of the program beside the oracle's."""

from __future__ import annotations

from capital_governor.core.model import (
    WHOLE,
    Publication,
)
from capital_governor.core.reason import CUTS, GATE_REFUSALS, HOLDS, MOVES, Reason
from capital_governor.core.trace import Decision
from tests.oracle.sight import Outcome, Published


def as_published(publication: Publication) -> Published:
    return Published(
        publication.generation,
        dict(publication.shares),
        publication.reserve,
        dict(publication.weights),
        publication.exposure,
        {name: part for name, part in publication.withheld.items() if part > 0},
    )


def assert_same(expected: Outcome, decision: Decision) -> bool:
    """Assert that the program answers as the oracle does; return whether a millionth lay between them."""
    assert kind_of(decision.reason) == expected.kind, (decision.reason, expected)
    assert decision.reason in expected.reasons, (decision.reason, expected.reasons)
    proposal, ours = decision.proposal, expected.published
    assert (proposal is None) == (ours is None)
    if proposal is None or ours is None:
        return False
    assert proposal.generation == ours.generation
    assert abs(proposal.exposure - ours.exposure) <= 1e-12
    assert proposal.shares.keys() == ours.shares.keys()
    assert proposal.reserve + sum(proposal.shares.values()) == WHOLE
    slack = 1 if expected.delicate else 0
    for name, share in ours.shares.items():
        assert abs(proposal.shares[name] - share) <= slack, (name, proposal.shares, ours.shares)
    assert proposal.weights.keys() == ours.weights.keys()
    withheld = {name: part for name, part in proposal.withheld.items() if part > 0}
    for name in withheld.keys() | ours.withheld.keys():
        assert abs(withheld.get(name, 0) - ours.withheld.get(name, 0)) <= slack, (name, withheld, ours.withheld)
    for name, weight in ours.weights.items():
        allowed = 1e-9 + 2e-6 * slack / max(ours.exposure, 1e-6)
        assert abs(proposal.weights[name] - weight) <= allowed, (name, proposal.weights, ours.weights)
    return dict(proposal.shares) != ours.shares


def kind_of(reason: Reason) -> str:
    for kind, reasons in (
        ("move", MOVES),
        ("cut", CUTS),
        ("restore", {Reason.RESTORE}),
        ("hold", HOLDS),
        ("refusal", GATE_REFUSALS),
    ):
        if reason in reasons:
            return kind
    return "stay"
