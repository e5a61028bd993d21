"""The result of ``once``: as the document of ``once --json``, or as a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from capital_governor.cli.figures import four_digits, percent, signed_percent
from capital_governor.cli.terminal_page import NARROW_COLUMNS, Cell, Page, largest, new_page
from capital_governor.cli.typed import retyped
from capital_governor.contracts.status import order_document
from capital_governor.core.fleet_range import FleetRange, fleet_range
from capital_governor.core.hold import EXITS
from capital_governor.core.model import WHOLE, Agent, Rules
from capital_governor.core.trace import Decision
from capital_governor.service.standing import Outcome
from capital_governor.wording.amounts import percent_text
from capital_governor.wording.fleet_range_texts import fleet_range_text
from capital_governor.wording.reason_texts import message, reason_kind, waiting_text
from capital_governor.wording.withheld_texts import cause_text

MOST_WITHHELD: Final = 20
"""So many agents are listed from which something is withheld, the largest amounts first."""
_ROUNDING: Final = 1e-9
"""A weight may be above its cap by this much through float rounding."""
_COLORS: Final = {
    "move": "green",
    "cut": "yellow",
    "restore": "green",
    "hold": "yellow",
    "refused": "red",
    "stay": "",
}


def once_document(root: Path, done: Outcome, rules: Rules, *, dry_run: bool) -> dict[str, Any]:
    """Return the result of ``once`` in ``root`` as ``once --json`` shows it.

    ``reason``, ``message`` and ``outcome`` (move, cut, restore, stay, hold, refused) say how the cycle ended; for a
    hold, ``hold`` has the facts and ``exit`` what ends it. ``generation``, ``published_exposure``, ``reserve`` and each
    ``share`` are what the agents see afterwards (in a dry run: would see). ``moved`` says whether that changed in this
    cycle; ``waiting`` is a generation that is decided and not in the files yet.
    ``exposure``, ``exposure_by``, and each agent's ``score``, ``weight``, ``limit`` (the one that its weight has
    reached) and ``wanted`` (the share before any threshold) are of this cycle's decision. ``change`` is that of the
    published share, ``fault`` why an agent may not gain, ``withheld`` what its plan line has more than its share, and
    ``withheld_by`` what withholds that, as far as this cycle knows. Shares, weights, scores and changes are 0..1; null
    means none. Agents are sorted by falling share. ``leeway`` is as in ``check``; ``orders`` are the orders in force.
    """
    decision, published = done.decision, done.visible
    before = done.announcements[0].before if done.announcements else done.before.published
    trace, hold = decision.trace, decision.trace.hold
    old, new = before.shares if before else {}, published.shares if published else {}
    agents = sorted(trace.limits.keys() | new.keys() | old.keys(), key=lambda name: (-new.get(name, 0), name))
    return {
        "root": str(root),
        "dry_run": dry_run,
        "reason": decision.reason.value,
        "message": message(decision.reason, rules),
        "outcome": reason_kind(decision.reason),
        "hold": None if hold is None else hold.detail,
        "exit": None if hold is None else EXITS[hold.reason],
        "generation": None if published is None else published.generation,
        "moved": bool(done.announcements) or (dry_run and decision.proposal is not None),
        "waiting": None if done.waiting is None else done.waiting.generation,
        "exposure": trace.exposure if trace.multipliers else None,
        "exposure_by": trace.exposure_by or None,
        "published_exposure": None if published is None else published.exposure,
        "reserve": None if published is None else published.reserve / WHOLE,
        "reserve_change": None if published is None or before is None else (published.reserve - before.reserve) / WHOLE,
        "files_problem": done.files_problem or None,
        "journal_problem": done.journal_problem or None,
        "orders": [order_document(order) for order in done.orders],
        "warnings": list(trace.warnings),
        "leeway": fleet_range_document(fleet_range(len(trace.limits), rules), rules) if trace.limits else None,
        "agents": [
            {
                "agent": agent,
                "score": trace.scores.get(agent),
                "weight": trace.weights.get(agent),
                "limit": _binding(decision, agent),
                "wanted": trace.target[agent] / WHOLE if agent in trace.target else None,
                "share": new[agent] / WHOLE if agent in new else None,
                "change": (new.get(agent, 0) - old.get(agent, 0)) / WHOLE,
                "fault": trace.faulty.get(agent) or ("no record" if agent in trace.absent else None),
                "withheld": (0 if published is None else published.withheld.get(agent, 0)) / WHOLE,
                "withheld_by": cause_text(trace.withheld[agent]) if agent in trace.withheld else None,
            }
            for agent in agents
        ],
    }


def fleet_range_document(room: FleetRange, rules: Rules) -> dict[str, Any]:
    """Return how far scores can move a weight, 0..1; ``frozen``: less than any threshold."""
    return {
        "agents": room.agents,
        "lowest_weight": room.lowest,
        "highest_weight": room.highest,
        "forced_reserve": room.forced_reserve,
        "frozen": room.freezes(rules),
        "text": fleet_range_text(room, rules),
    }


def _binding(decision: Decision, agent: Agent) -> str | None:
    """Return the limit that an agent's weight has reached; None between its limits."""
    limits, weight = decision.trace.limits.get(agent), decision.trace.weights.get(agent)
    if limits is None or weight is None:
        return None
    if weight > limits.hi + _ROUNDING:
        return None  # a proposal that the gate refuses
    if weight >= limits.hi:
        return limits.hi_by.source.value
    return limits.lo_by.source.value if weight <= limits.lo * decision.trace.floor_scale else None


def show_once(document: Mapping[str, Any], option: Path | None) -> None:
    """Print the result of ``once``; ``option`` is its ``--root``."""
    with new_page() as page:
        page.line(document["message"], f"bold {_COLORS[document['outcome']]}".strip())
        if document["waiting"]:
            page.labelled("waiting", waiting_text(document["waiting"]), "red")
        if document["hold"]:
            page.labelled("because", document["hold"])
            page.labelled("ends with", retyped(document["exit"], option))
        for order in document["orders"]:
            page.labelled("operator", order["text"], "yellow")
        if document["agents"]:
            _show_agents(page, document)
        _show_faults(page, document)
        _show_withheld(page, document, option)
        if document["leeway"]:
            page.line(document["leeway"]["text"], "yellow" if document["leeway"]["frozen"] else "dim", indent=2)
        for warning in document["warnings"]:
            page.labelled("warning", warning, "yellow")
        if document["files_problem"]:
            page.labelled("files", document["files_problem"], "red")
        if document["journal_problem"]:
            page.labelled("journal", f"kept in memory only, and gone now: {document['journal_problem']}", "red")
        page.labelled("root", document["root"])
        if document["dry_run"]:
            page.line("Dry run: nothing was written", "bold")


def _show_agents(page: Page, document: Mapping[str, Any]) -> None:
    names = ["agent", "score", "weight", "limit", "share", "change"]
    if any(row["wanted"] not in {None, row["share"]} for row in document["agents"]):
        names.insert(4, "wanted")
    if page.width < NARROW_COLUMNS:
        names = [name for name in names if name not in {"weight", "limit", "wanted"}]
    rows, others = largest(page, document["agents"])
    total = {
        "agent": "reserve",
        "share": percent(document["reserve"]),
        "change": signed_percent(document["reserve_change"]),
    }
    cells = [[made[name] for name in names] for made in map(_cells, rows)]
    page.line("")
    page.table(names, cells, [total.get(name, "") for name in names])
    if others:
        page.line(others, "dim")
    announced = " (not published)" if document["dry_run"] and document["moved"] else ""
    said = [f"generation {document['generation'] or 'none'}{announced}"]
    said += _exposure_texts(document)
    page.line(", ".join(said), "dim", indent=2)


def _exposure_texts(document: Mapping[str, Any]) -> list[str]:
    """Return the published exposure, and this cycle's if it differs, with its cause."""
    published, now = document["published_exposure"], document["exposure"]
    if now is None:
        return [] if published is None else [f"exposure {percent_text(published)}"]
    by = f"set by {document['exposure_by']}" if now < 1.0 else "nothing reduces it"
    if published is None or published == now:
        return [f"exposure {percent_text(now)}", by]
    return [f"exposure {percent_text(published)}", f"this cycle's {percent_text(now)}", by]


def _cells(row: Mapping[str, Any]) -> dict[str, Cell]:
    return {
        "agent": Cell(row["agent"] + (" (!)" if row["fault"] else ""), "yellow" if row["fault"] else ""),
        "score": Cell(four_digits(row["score"])),
        "weight": Cell(four_digits(row["weight"])),
        "limit": Cell(row["limit"] or "", "dim"),
        "wanted": Cell(percent(row["wanted"])),
        "share": Cell(percent(row["share"]), "bold"),
        "change": Cell(signed_percent(row["change"]), "green" if row["change"] > 0 else "red"),
    }


def _show_faults(page: Page, document: Mapping[str, Any]) -> None:
    faulty = [row for row in document["agents"] if row["fault"]]
    for row in faulty:
        page.line(f"(!) {row['agent']}: {row['fault']}", "yellow", indent=4)
    if faulty:
        page.line("    (!) may not gain until its record is good again", "dim", indent=4)


def _show_withheld(page: Page, document: Mapping[str, Any], option: Path | None) -> None:
    withheld = sorted((row for row in document["agents"] if row["withheld"]), key=lambda row: -row["withheld"])
    for row in withheld[:MOST_WITHHELD]:
        by = f": {retyped(row['withheld_by'], option)}" if row["withheld_by"] else ""
        page.line(f"{row['agent']}: {percent_text(row['withheld'])} of its plan is withheld{by}", "yellow", indent=4)
    if len(withheld) > MOST_WITHHELD:
        page.line(f"... and {len(withheld) - MOST_WITHHELD} more agents: --json lists all", "dim")
