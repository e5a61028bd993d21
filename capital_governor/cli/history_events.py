"""What happened to capital, from the journal: shares, and the holds, faults, orders and gaps between. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from capital_governor.core.model import EVERYBODY, WHOLE, Agent, Publication
from capital_governor.core.orders import Order, OrderEnd
from capital_governor.core.reason import AGENT_HOLDS, CUTS, GATE_REFUSALS, Reason
from capital_governor.journal.protocol import Entry
from capital_governor.journal.turns import Turn, facts_of, without_numbers
from capital_governor.settings.variables import PREFIX, VARIABLES
from capital_governor.wording.amounts import change_text, names_text, percent_text
from capital_governor.wording.cause_texts import PLAIN, hold_cause, move_cause, stay_cause, stored_order_text
from capital_governor.wording.moments import duration_text

NAMED_CHANGES: Final = 6
"""So many shares are named in one line, the largest changes first; ``--json`` has all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened.

    Args:
        at: when, or when it began; seconds since 1970 UTC.
        kind: move, cut, restore, hold, refused, order, settings, fault, absence, lapse or gap.
        text: it in words, with its cause.
        until: when it was over; None if it is a moment or goes on.
        lasts: it is something that goes on for a while.
        more: plain data for ``--json``.
    """

    at: float
    kind: str
    text: str
    until: float | None = None
    lasts: bool = False
    more: Mapping[str, Any]


def publication_kind(reason: Reason) -> str:
    """Return what a publication is: move, cut or restore."""
    if reason in CUTS:
        return "cut"
    return "restore" if reason is Reason.RESTORE else "move"


def moves(
    published: Sequence[Publication], turns: Iterable[Turn], since: float, agent: Agent | None
) -> Iterator[Event]:
    """Yield what changed the shares that agents see, of the whole fleet or of one agent.

    Args:
        published: what agents have seen, oldest first; the first may be from before ``since``.
        turns: with the facts of these publications.
        since: the beginning.
        agent: only changes of its share; None: of any.
    """
    facts = {turn.generation: turn.facts for turn in turns if turn.generation is not None}
    for old, new in pairwise([None, *published]):
        if new is None or new.at < since:
            continue
        changes = _changes(old, new)
        if agent is not None and agent not in changes:
            continue
        before = None if old is None else old.exposure
        cause = move_cause(new.reason, facts.get(new.generation, {}), before, new.exposure)
        shown = changes if agent is None else {agent: changes[agent]}
        yield Event(
            at=new.at,
            kind=publication_kind(new.reason),
            text=f"{_changes_text(shown, old, new, whole=agent is None)}: {cause}",
            more={
                "generation": new.generation,
                "reason": new.reason.value,
                "cause": cause,
                "exposure": [before, new.exposure],
                "reserve": [None if old is None else old.reserve / WHOLE, new.reserve / WHOLE],
                "shares": {name: [was / WHOLE, now / WHOLE] for name, (was, now) in shown.items()},
            },
        )


def _changes(old: Publication | None, new: Publication) -> dict[Agent, tuple[int, int]]:
    before = {} if old is None else old.shares
    pairs = {agent: (before.get(agent, 0), new.shares.get(agent, 0)) for agent in {**before, **new.shares}}
    changed = [agent for agent, (was, now) in pairs.items() if was != now or agent not in before]
    return {
        agent: pairs[agent] for agent in sorted(changed, key=lambda name: (-abs(pairs[name][1] - pairs[name][0]), name))
    }


def _changes_text(
    changes: Mapping[Agent, tuple[int, int]], old: Publication | None, new: Publication, *, whole: bool
) -> str:
    if not whole:
        ((was, now),) = changes.values()
        return percent_text(now) if old is None else change_text(was, now)
    named = list(changes.items())[:NAMED_CHANGES]
    if old is None:
        parts = [f"{agent} {percent_text(now)}" for agent, (_, now) in named]
    else:
        parts = [f"{agent} {change_text(was, now)}" for agent, (was, now) in named]
    if len(changes) > NAMED_CHANGES:
        parts.append(f"{len(changes) - NAMED_CHANGES} more")
    if old is None:
        parts.append(f"reserve {percent_text(new.reserve)}")
    elif old.reserve != new.reserve:
        parts.append(f"reserve {change_text(old.reserve, new.reserve)}")
    return ", ".join(parts) or "only what is withheld changed"


def holds(turns: Sequence[Turn], since: float) -> Iterator[Event]:
    """Yield each hold, and each refusal of the program's own check, with its end.

    One that began before ``since`` and went on counts.
    """
    first: Turn | None = None
    for turn in turns:
        if first is not None and _goes_on(first, turn):
            continue
        if first is not None and turn.at >= since:
            yield _hold(first, turn.at)
        first = None if _stopped_by(turn) is None else turn
    if first is not None:
        yield _hold(first, None)


def _hold(first: Turn, until: float | None) -> Event:
    reason = _stopped_by(first) or first.reason
    return Event(
        at=first.at,
        kind="refused" if reason in GATE_REFUSALS else "hold",
        text=f"held: {hold_cause(reason, first.facts)}" if reason is not Reason.OPERATOR_HOLD else "held: by order",
        until=until,
        lasts=True,
        more={"reason": reason.value, "detail": first.facts.get("hold", "")},
    )


def _stopped_by(turn: Turn) -> Reason | None:
    return turn.reason if turn.reason in GATE_REFUSALS else turn.hold


def _goes_on(first: Turn, later: Turn) -> bool:
    """Whether a turn belongs to the hold of an earlier one."""
    texts = [without_numbers(turn.facts.get("hold", "")) for turn in (first, later)]
    return _stopped_by(first) is _stopped_by(later) and (texts[0] == texts[1] or not all(texts))


def faults(turns: Iterable[Turn], since: float, agent: Agent | None) -> Iterator[Event]:
    """Yield which agents were faulty, silent or lapsed, each with its end, as cycles with a usable payload saw it.

    Agents with the same trouble at the same time share an event.
    """
    began: dict[tuple[str, str, Agent], float] = {}
    found: dict[tuple[str, str, float, float | None], list[Agent]] = {}
    for turn in turns:
        if not turn.facts or (turn.hold is not None and turn.hold not in AGENT_HOLDS):
            continue
        seen = _unwell(turn)
        for kind, text, name in [key for key in began if key not in seen]:
            at = began.pop((kind, text, name))
            if turn.at >= since:
                found.setdefault((kind, text, at, turn.at), []).append(name)
        for key in seen:
            began.setdefault(key, turn.at)
    for (kind, text, name), at in began.items():
        found.setdefault((kind, text, at, None), []).append(name)
    for (kind, text, at, until), agents in found.items():
        if agent is None or agent in agents:
            yield Event(
                at=at,
                kind=kind,
                text=f"{names_text(agents if agent is None else [agent])}: {text}",
                until=until,
                lasts=True,
                more={"agents": agents, "detail": text},
            )


def _unwell(turn: Turn) -> list[tuple[str, str, Agent]]:
    """Return kind and text of each trouble, with the agent's name."""
    lapsed = turn.facts.get("lapsed", [])
    return [
        *(("fault", f"faulty record: {what}", agent) for agent, what in turn.facts.get("faulty", {}).items()),
        *(("absence", "no record", agent) for agent in turn.facts.get("absent", {}) if agent not in lapsed),
        *(("lapse", "lapsed, no record for too long", agent) for agent in lapsed),
    ]


def orders(given: Iterable[Order], since: float, now: float, agent: Agent | None) -> Iterator[Event]:
    """Yield when orders were given and when they ended."""
    for order in given:
        if agent is not None and order.agent not in {"", EVERYBODY, agent}:
            continue
        text = stored_order_text(order.text, order.accepts)
        more = {"key": order.key, "order": order.kind.value, "author": order.author, "text": text}
        if order.given_at >= since:
            yield Event(at=order.given_at, kind="order", text=f"order: {text}", more={**more, "event": "given"})
        ended, how = order.ended_at, _end_text(order)
        if ended is None and order.until is not None and order.until <= now:
            ended, how = order.until, "expired"
        if ended is not None and ended >= since:
            told = f"order {how}: {text}"
            yield Event(at=ended, kind="order", text=told, more={**more, "event": "ended"})


def _end_text(order: Order) -> str:
    who = "" if order.ended_by in {"", "governor"} else f" by {order.ended_by}"
    detail = f" ({order.end_detail})" if order.end_detail else ""
    if order.end is OrderEnd.LAPSED:
        return f"lapsed, no longer needed{detail}"
    return ("ended" if order.end is None else order.end.value) + who + detail


def settings_events(turns: Iterable[Turn]) -> Iterator[Event]:
    """Yield when a governor went on with other settings that decisions depend on."""
    for turn in turns:
        if changed := turn.facts.get("settings"):
            yield Event(at=turn.at, kind="settings", text=settings_text(turn), more={"settings": dict(changed)})


def settings_text(turn: Turn) -> str:
    """Return which settings have changed since the cycle before; empty if none."""
    changed = turn.facts.get("settings", {})
    told = [f"{_variable(name)} {old} -> {new}" for name, (old, new) in changed.items()]
    return f"settings changed: {', '.join(told)}" if told else ""


def _variable(name: str) -> str:
    """Return the variable of a field of ``Rules``, without its prefix."""
    known = VARIABLES.get(name) or VARIABLES[name.replace("_seconds", "_set_seconds")]
    return known.name.removeprefix(PREFIX)


def gap_events(found: Iterable[tuple[float, float]], last: float | None, now: float, longest: float) -> Iterator[Event]:
    """Yield when no cycle was recorded; ``last`` is the time of the newest."""
    text = "no cycle: no governor ran, or the journal could not be written"
    for at, later in found:
        yield Event(at=at, kind="gap", text=text, until=later, lasts=True, more={})
    if last is not None and now - last > longest:
        yield Event(at=last, kind="gap", text=text, lasts=True, more={})


def cycle_text(entry: Entry) -> tuple[str, str]:
    """Return the same as ``decision_text`` for a recorded cycle."""
    before, proposal = entry.state.published, entry.decision.proposal
    turn = Turn(
        seq=entry.seq,
        at=entry.at,
        reason=entry.reason,
        generation=entry.generation,
        reached=True,
        facts=facts_of(entry.inputs, entry.decision, before),
    )
    return decision_text(
        turn, None if before is None else before.exposure, None if proposal is None else proposal.exposure
    )


def decision_text(turn: Turn, before: float | None, now: float | None) -> tuple[str, str]:
    """Return the outcome of a turn in a word, and its cause; ``before`` and ``now`` are exposure around a move."""
    if turn.generation is not None:
        kind = publication_kind(turn.reason)
        exposure = turn.facts.get("exposure", {}).get("value", 1.0) if now is None else now
        told = {"move": "moved", "cut": "cut", "restore": "restored"}[kind]
        unseen = "" if turn.reached else "; agents have not seen it"
        return told, move_cause(turn.reason, turn.facts, before, exposure) + unseen
    if turn.reason in GATE_REFUSALS:
        return "refused", PLAIN[turn.reason]
    if turn.hold is not None:
        return "held", hold_cause(turn.hold, turn.facts)
    wants = turn.reason in {Reason.COOLDOWN, Reason.CONFIRMING}
    return "waits" if wants else "no change", stay_cause(turn.reason, turn.facts)


def outcome_text(outcome: str, text: str) -> str:
    """Return both results of ``decision_text`` as one clause: ``held by anna``, ``moved: first allocation``."""
    return f"{outcome} {text}" if text.startswith("by ") else f"{outcome}: {text}"


def unwell_text(turn: Turn) -> str:
    """Return which agents were faulty, silent or lapsed in a turn; empty if none."""
    lapsed = turn.facts.get("lapsed", [])
    silent = [agent for agent in turn.facts.get("absent", {}) if agent not in lapsed]
    groups = (("faulty", turn.facts.get("faulty", {})), ("no record", silent), ("lapsed", lapsed))
    return ", ".join(f"{said}: {names_text(sorted(agents))}" for said, agents in groups if agents)


def lasting(event: Event, now: float) -> str:
    """Return how long something lasted, or has lasted; empty for a moment."""
    if not event.lasts:
        return ""
    until, so_far = (now, " so far") if event.until is None else (event.until, "")
    return f"for {duration_text(until - event.at, exact=True)}{so_far}"
