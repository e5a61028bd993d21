"""Metrics in states of older schemas."""

from __future__ import annotations

import pytest

from capital_governor.core.model import Memory, Metrics, State
from capital_governor.journal.codec import decode, encode
from capital_governor.journal.stored_metrics import with_metrics_apart


def test_metrics_are_taken_out_of_the_memory_of_an_older_schema() -> None:
    """Also of agents named like a field; an agent without metrics has none."""
    old = (
        b'{"published":null,"generation":3,"agents":{"Ada":[[1.5,-0.5,0.25,2.0],true,false,7,2,null],'
        b'"Old":[null,false,false,0,0,9.0],"metrics":[[0.0,0.0,0.0,0.0],true,true,0,0,null]},"asked":1}'
    )
    assert decode(State, with_metrics_apart(old)) == State(
        generation=3,
        agents={
            "Ada": Memory(healthy=7, absent=2),
            "Old": Memory(member=False, retired_at=9.0),
            "metrics": Memory(tenured=True),
        },
        metrics={"Ada": Metrics(1.5, -0.5, 0.25, 2.0), "metrics": Metrics(0.0, 0.0, 0.0, 0.0)},
        asked=1,
    )


@pytest.mark.parametrize(
    "doc",
    [
        encode(State(agents={"Ada": Memory()}, metrics={"Ada": Metrics(1.0, 1.0, 0.5, 0.0)})),
        encode(State()),
        b'{"agents": {"Ada": []}}',
        b'{"agents": {"Ada": 5}}',
        b'{"agents": 5}',
        b"{",
        b"\xff",
        b"[]",
    ],
)
def test_any_other_document_stays_as_it_is(doc: bytes) -> None:
    """Today's form, and what is damaged, for which reading it has an error of its own."""
    assert with_metrics_apart(doc) == doc
