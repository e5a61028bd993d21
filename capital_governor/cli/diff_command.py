"""``diff``: two generations side by side, with what changed between them, from the journal."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from capital_governor.adapters.paths import Paths
from capital_governor.cli.failures import explained
from capital_governor.cli.figures import fleet_text, percent
from capital_governor.cli.history_events import Event, orders
from capital_governor.cli.looking_back import Diary
from capital_governor.cli.output import fail, show_json
from capital_governor.cli.place import place
from capital_governor.cli.terminal_page import Cell, Page, largest, new_page
from capital_governor.contracts.exit_codes import OK, USAGE
from capital_governor.core.model import WHOLE, Publication, iso_text
from capital_governor.journal.protocol import LIVE
from capital_governor.journal.sqlite.sqlite_driver import open_sqlite
from capital_governor.journal.store import Store
from capital_governor.wording.amounts import change_text, names_text, percent_text
from capital_governor.wording.cause_texts import move_cause

_SHARE_DIGITS: Final = 6
_RISE: Final = "green"
_FALL: Final = "yellow"


def diff(before: int, after: int, root: Path | None, *, dry_run: bool, as_json: bool) -> int:
    """Show two generations side by side; return 2 if the journal does not have one of them."""
    with explained():
        where = place(root)
        with closing(open_sqlite(Paths(where.root, dry_run).journal(where.journal_path), read_only=True)) as journal:
            old, new = _published(journal, before), _published(journal, after)
            document = {
                "root": str(where.root),
                "before": _one(journal, old),
                "after": _one(journal, new),
                "exposure_change": _points(new.exposure - old.exposure),
                "reserve_change": (new.reserve - old.reserve) / WHOLE,
                "agents": _agents(old, new),
                "joined": sorted(new.shares.keys() - old.shares.keys()),
                "left": sorted(old.shares.keys() - new.shares.keys()),
            }
            between = _orders(journal, *sorted((old.at, new.at)))
    if as_json:
        told = [{"at": iso_text(event.at), "text": event.text, **event.more} for event in between]
        show_json(document | {"orders": told})
    else:
        _show(document, between, fleet_text(where.fleet_name, where.root))
    return OK


def _published(journal: Store, generation: int) -> Publication:
    """Return a generation that agents have seen. Raises SystemExit 2 with the range there is."""
    found = journal.publication(LIVE, generation)
    if found is None:
        fail(USAGE, _unknown(generation, journal.generations(LIVE)))
    return found


def _unknown(generation: int, known: tuple[int, int] | None) -> str:
    """Return that a generation is not in the journal, and the first and the last that are."""
    if known is None:
        return f"there is no generation {generation}: agents have not seen any yet"
    first, last = known
    there = f"the journal has {first} to {last}" if last > first else f"the journal has only {first}"
    if generation < first:
        return f"generation {generation} is not in the journal any more, or never was: {there}"
    unseen = ", but agents have not seen each number between" if generation < last else ""
    return f"there is no generation {generation} that agents have seen: {there}{unseen}"


def _one(journal: Store, published: Publication) -> dict[str, Any]:
    """Return plain data about one generation, with its cause."""
    turn, before = journal.publishing_turn(LIVE, published), journal.publication_before(LIVE, published.generation)
    facts = {} if turn is None else turn.facts
    return {
        "generation": published.generation,
        "published_at": iso_text(published.at),
        "reason": published.reason.value,
        "cause": move_cause(published.reason, facts, None if before is None else before.exposure, published.exposure),
        "exposure": published.exposure,
        "reserve": published.reserve / WHOLE,
        "withheld": sum(published.withheld.values()) / WHOLE,
    }


def _agents(old: Publication, new: Publication) -> list[dict[str, Any]]:
    """Return a row for each agent of either generation, the largest changes first."""
    rows = []
    for agent in {**old.shares, **new.shares}:
        was, now = old.shares.get(agent), new.shares.get(agent)
        rows.append(
            {
                "agent": agent,
                "before": None if was is None else was / WHOLE,
                "after": None if now is None else now / WHOLE,
                "change": ((now or 0) - (was or 0)) / WHOLE,
                "scores": [old.scores.get(agent), new.scores.get(agent)],
            }
        )
    return sorted(rows, key=lambda row: (-abs(row["change"]), -(row["after"] or 0), row["agent"]))


def _points(change: float) -> float:
    """Return the change of an exposure without what the subtraction of floats adds."""
    return round(change, _SHARE_DIGITS)


def _orders(journal: Store, since: float, until: float) -> list[Event]:
    """Return when orders were given and ended between two times, oldest first."""
    found = orders(journal.order_history(), since, until, None)
    return sorted((event for event in found if event.at <= until), key=lambda event: event.at)


def _show(document: Mapping[str, Any], between: list[Event], fleet: str) -> None:
    old, new = document["before"], document["after"]
    with new_page() as page:
        page.line(f"Generation {old['generation']} and {new['generation']}; times are UTC", "bold")
        for one in (old, new):
            published = f"{one['published_at'][:10]} {one['published_at'][11:16]}"
            page.labelled(str(one["generation"]), f"{published}  {one['cause']}")
        page.line("")
        _show_shares(page, document)
        page.line("")
        for label, names in (("joined", document["joined"]), ("left", document["left"])):
            if names:
                page.labelled(label, names_text(names))
        if not between:
            page.labelled("orders", "none between")
        else:
            page.line("Orders between:", "bold")
            diary = Diary(page)
            for event in between:
                diary.line(event.at, event.text)
        page.labelled("fleet", fleet)


def _show_shares(page: Page, document: Mapping[str, Any]) -> None:
    """Print shares, reserve, what is withheld and exposure, each with its change in points."""
    old, new = document["before"], document["after"]
    names = ("agent", str(old["generation"]), str(new["generation"]), "points")
    rows, others = largest(page, document["agents"])
    cells = [
        [
            Cell(row["agent"]),
            Cell(percent(row["before"])),
            Cell(percent(row["after"]), "bold"),
            Cell(_signed(row["change"]), "" if not row["change"] else _RISE if row["change"] > 0 else _FALL),
        ]
        for row in rows
    ]
    page.table(
        names, cells, ("reserve", percent(old["reserve"]), percent(new["reserve"]), _signed(document["reserve_change"]))
    )
    if others:
        page.line(others, "dim")
    page.labelled("exposure", _from_to(old["exposure"], new["exposure"]))
    if old["withheld"] or new["withheld"]:
        page.labelled("withheld", _from_to(old["withheld"], new["withheld"]))


def _signed(change: float) -> str:
    """Return a change in points of percent; empty for none."""
    return f"{100 * change:+.2f}" if change else ""


def _from_to(old: float, new: float) -> str:
    """Return two parts of all capital, with the change in points of percent."""
    if old == new:
        return percent_text(new)
    return f"{change_text(old, new)}, {_signed(new - old)} points"
