"""Stores metrics once: in the state after a cycle, and not again in the inputs of that cycle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from operator import is_

from capital_governor.core.model import Agent, Inputs, Metrics, Snapshot, State
from capital_governor.journal.protocol import JournalCorruptError


def without_metrics(inputs: Inputs, after: State) -> tuple[Inputs, list[Agent] | None]:
    """Remove the metrics that the state after the cycle has from the inputs; also return agents that only it has.

    A decided cycle copies the metrics of every good record into its state, so all can be removed; in a hold, none.
    """
    payload = inputs.payload
    if not isinstance(payload, Snapshot) or not payload.metrics:
        return inputs, None
    unseen = [agent for agent in after.metrics if agent not in payload.metrics]
    kept = _but_for(after.metrics, unseen)
    if list(kept) != list(payload.metrics) or not all(map(is_, kept.values(), payload.metrics.values())):
        return inputs, None
    return replace(inputs, payload=replace(payload, metrics={})), unseen


def with_metrics(inputs: Inputs, after: State, unseen: list[Agent]) -> Inputs:
    """Put back what ``without_metrics`` removed."""
    if not isinstance(inputs.payload, Snapshot):
        raise JournalCorruptError("a stored Inputs cannot be read: it has no payload for its metrics")
    return replace(inputs, payload=replace(inputs.payload, metrics=_but_for(after.metrics, unseen)))


def with_metrics_apart(doc: bytes) -> bytes:
    """Return a stored state in today's form: before schema 5, each agent's metrics came first in its memory."""
    try:
        state = json.loads(doc)
        if "metrics" in state or "agents" not in state:
            return doc
        memories = state["agents"].items()
        metrics = {agent: memory[0] for agent, memory in memories if memory[0] is not None}
        agents = {agent: memory[1:] for agent, memory in memories}
    except (ValueError, TypeError, AttributeError, LookupError):
        # It is damaged, or has a form that no version wrote; reading it says so.
        return doc
    return json.dumps({**state, "agents": agents, "metrics": metrics}).encode()


def _but_for(metrics: Mapping[Agent, Metrics], agents: list[Agent]) -> Mapping[Agent, Metrics]:
    left_out = frozenset(agents)
    return {agent: seen for agent, seen in metrics.items() if agent not in left_out} if agents else metrics
