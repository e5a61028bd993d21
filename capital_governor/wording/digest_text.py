"""The daily message: shares, exposure and its cause, what happened in 24 hours, what is wrong, what waits. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from capital_governor.core.model import EVERYBODY, WHOLE, Agent, Publication
from capital_governor.core.orders import Order, OrderKind
from capital_governor.core.reason import CUTS, GATE_REFUSALS, HOLDS, MOVES, Reason
from capital_governor.core.trace import Brake
from capital_governor.wording.amounts import NAMED, count_text, names_text, percent_text, shares_text
from capital_governor.wording.cause_texts import act_text
from capital_governor.wording.hold_alerts import HOLD_NAMES
from capital_governor.wording.message_form import NO_ACTION, Sender, shares_of
from capital_governor.wording.moments import duration_text, moment_text

NAMED_SHARES: Final = 10
"""So many shares are in the daily message."""


@dataclass(frozen=True, slots=True)
class Day:
    """The last 24 hours.

    Args:
        moves: moves that reached the agents.
        cuts: cuts that did.
        restores: restores that did.
        held_seconds: by hold, how long it was on.
    """

    moves: int = 0
    cuts: int = 0
    restores: int = 0
    held_seconds: Mapping[Reason, float] = field(default_factory=dict)


def past_day(timeline: Sequence[tuple[float, Reason]], now: float, longest_seconds: float) -> Day:
    """Return what happened in the 24 hours before ``now``.

    A hold lasts from its cycle to the next one. A cut that is published in a hold counts as a cut; the hold goes on.

    Args:
        timeline: time and reason of each cycle of that time, oldest first.
        now: seconds since 1970 UTC.
        longest_seconds: a cycle that comes later than this after another was not governed in between.
    """
    held: dict[Reason, float] = {}
    on: Reason | None = None
    for place, (at, reason) in enumerate(timeline):
        end = timeline[place + 1][0] if place + 1 < len(timeline) else now
        if reason not in CUTS:
            on = reason if reason in HOLDS | GATE_REFUSALS else None
        if on is not None:
            held[on] = held.get(on, 0.0) + min(longest_seconds, max(0.0, end - at))
    reasons = [reason for _, reason in timeline]
    return Day(
        moves=sum(reason in MOVES for reason in reasons),
        cuts=sum(reason in CUTS for reason in reasons),
        restores=sum(reason is Reason.RESTORE for reason in reasons),
        held_seconds=held,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """What holds now.

    Args:
        published: what the agents see.
        exposure_by: what sets exposure.
        hold: the hold that is on; None if none is.
        unwell: agents that are faulty, silent or lapsed, and what is wrong.
        orders: the operator's orders in force.
        brake: the brake for which a move waits; None if none does.
        withheld: what is withheld from whom and by what, in words.
        waiting: what is decided and not in the files yet.
        pending: messages that wait to be sent.
        refused: messages that Telegram refused for good.
        refused_detail: why the last of them was.
    """

    published: Publication | None
    exposure_by: str
    hold: Reason | None = None
    unwell: Mapping[Agent, str] = field(default_factory=dict)
    orders: Sequence[Order] = ()
    brake: Brake | None = None
    withheld: str = ""
    waiting: Publication | None = None
    pending: int = 0
    refused: int = 0
    refused_detail: str = ""


def digest_lines(day: Day, now: Present, at: float, sender: Sender) -> Iterator[str]:
    """Yield the lines of the daily message, which is of ``at``, in seconds since 1970 UTC."""
    hold, published, orders = now.hold, now.published, now.orders
    yield "Alive, and governing." if hold is None else f"Alive, on hold: {_hold_name(hold)}."
    if published is None:
        yield "Nothing is published yet."
    else:
        yield f"Shares: {shares_text(published.shares, published.shares, NAMED_SHARES)}."
        reserve = percent_text(published.reserve)
        deployed = percent_text(WHOLE - published.reserve)
        yield f"Deployed {deployed}, reserve {reserve} (generation {published.generation})."
        yield f"Exposure {percent_text(published.exposure)}: {now.exposure_by}."
        if now.withheld:
            yield f"Withheld, in the reserve: {now.withheld}."
    counts = [count_text(day.moves, "move")]
    counts += [count_text(number, what) for number, what in ((day.cuts, "cut"), (day.restores, "restore")) if number]
    yield f"In 24 h: {', '.join(counts)}."
    held = sorted(day.held_seconds.items(), key=lambda item: (-item[1], item[0]))
    yield (
        "Holds: "
        + ("; ".join(f"{_hold_name(reason)} {duration_text(lasted)}" for reason, lasted in held) or "none")
        + "."
    )
    yield "Faulty or silent: " + (_unwell_text(now.unwell, published) or "none") + "."
    if orders:
        more = f"; and {len(orders) - NAMED} more" if len(orders) > NAMED else ""
        yield f"Orders in force: {'; '.join(order_text(order, at) for order in orders[:NAMED])}{more}."
    if now.brake is not None:
        yield f"A move waits: {_brake_text(now.brake, at)}."
    if now.waiting is not None:
        yield f"Waiting for the files: generation {now.waiting.generation}."
    if now.pending:
        yield f"Waiting to be sent: {count_text(now.pending, 'message')}."
    if now.refused:
        yield f"Telegram refused {count_text(now.refused, 'message')}: {now.refused_detail}."
    if now.unwell or now.waiting is not None or now.refused or act_text(hold)[0]:
        yield "Act: type this to see what is to be done:"
        yield sender.command("status")
    else:
        yield NO_ACTION


def order_text(order: Order, now: float) -> str:
    """Return an order in words, with shares in percent: ``Ada at most 30 %, by anna until 10:00 UTC: new strategy``."""
    bounds = [
        f"at {name} {percent_text(value)}"
        for name, value in (("most", order.cap), ("least", order.floor))
        if value is not None
    ]
    whom = "each agent" if order.agent == EVERYBODY else order.agent
    what = {
        OrderKind.LIMIT: f"{whom} {' and '.join(bounds)}",
        OrderKind.EXPOSURE: f"{' '.join(bounds)} deployed",
        OrderKind.HOLD: "hold of all shares",
        OrderKind.RELEASE: f"release of {whom}",
        OrderKind.ACCEPT: "accept",
    }[order.kind]
    until = "" if order.until is None else f" until {moment_text(order.until, now)}"
    return f"{what}, by {order.author}{until}" + (f": {order.reason}" if order.reason else "")


def _brake_text(brake: Brake, now: float) -> str:
    left = brake.limit - brake.value
    if brake.reason is Reason.COOLDOWN:
        return f"the cool-down ends at {moment_text(now + left, now)}"
    return f"{count_text(round(left), 'more cycle')} must confirm it"


def _hold_name(reason: Reason) -> str:
    return HOLD_NAMES.get(reason, "decisions refused as wrong")


def _unwell_text(unwell: Mapping[Agent, str], published: Publication | None) -> str:
    if not unwell:
        return ""
    if len(unwell) > NAMED:
        return names_text(unwell, shares_of(published))
    return "; ".join(f"{agent} ({problem or 'silent'})" for agent, problem in sorted(unwell.items()))
