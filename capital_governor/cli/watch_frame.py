"""The frame of ``status --watch``: what ``status`` shows, in as many lines as the terminal has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from capital_governor.cli.decisions_command import DECISION_STYLES
from capital_governor.cli.figures import ago, fleet_text, percent
from capital_governor.cli.share_bar import bar
from capital_governor.cli.status_details import next_move_text
from capital_governor.cli.status_page import metrics_text, reason_of, troubles, when
from capital_governor.cli.terminal_page import LABEL_COLUMNS
from capital_governor.cli.wrapping import wrapped
from capital_governor.core.model import WHOLE
from capital_governor.core.reason import HOLDS
from capital_governor.wording.amounts import percent_text
from capital_governor.wording.cause_texts import stored_order_text

LEAST_COLUMNS: Final = 80
LEAST_ROWS: Final = 24
WIDEST_COLUMNS: Final = 120
BAR_COLUMNS: Final = 20
FULL_BARS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0)
"""The shares at which bars may be full: the first that no agent exceeds, so that the scale seldom changes."""
LONGEST_NAME: Final = 24
MOST_DECISIONS: Final = 40
"""So many decisions are enough for the tallest terminal."""
_FEW_AGENTS: Final = 4
"""The table gives way to nothing else below this many agents."""
_FEW_DECISIONS: Final = 3
_MOST_LINES: Final = 3
"""So many lines of the terminal are for one text."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is shown.

    Args:
        document: of ``status --json``; empty if there is none, and then ``problem`` says why.
        decisions: as in ``decisions --json``, each with its ``line``; oldest first.
        ending: how a state ends in which nobody must act, behind a colon; empty if it need not.
        problem: why there is no document; empty if there is one.
    """

    document: Mapping[str, Any] = field(default_factory=dict)
    decisions: Sequence[Mapping[str, Any]] = ()
    ending: str = ""
    problem: str = ""


def frame(seen: Seen, columns: int, rows: int, now: float, *, drawn: bool = True) -> list[Text]:
    """Return the lines of the frame, none wider than the terminal and not more of them than it has.

    Args:
        seen: what is shown.
        columns: of the terminal.
        rows: of the terminal.
        now: in seconds since 1970 UTC.
        drawn: the terminal can draw bars.
    """
    if columns < LEAST_COLUMNS or rows < LEAST_ROWS:
        need = f"This needs {LEAST_COLUMNS} columns and {LEAST_ROWS} lines; the terminal has {columns} and {rows}."
        return _wrapped(need, "yellow", columns)[:rows]
    width = min(columns, WIDEST_COLUMNS)
    if seen.problem:
        above, below = _wrapped(seen.problem, "bold yellow", width), []
    else:
        above, below = list(_above(seen, width, now)), list(_below(seen.document, width, now))
    foot = _foot(seen.document, width, now)
    left = rows - len(above) - len(below) - 4  # head and reserve of the table, a blank line, the foot
    if seen.problem or not seen.document["allocations"]:
        return [*above, *below, *_decisions(seen, width, left), foot][:rows]
    agents = _agents(seen.document)
    shown = min(len(agents), max(_FEW_AGENTS, left - min(_FEW_DECISIONS + 1, len(seen.decisions) + 1)))
    table = list(_table(seen.document, _most_telling(agents, shown), width, drawn=drawn))
    if len(agents) > shown:
        table.insert(-1, Text(f"... and {len(agents) - shown} more agents: a taller terminal has room for them", "dim"))
    used = len(above) + len(table) + len(below) + 2
    lines = [*above, Text(), *table, *below, *_decisions(seen, width, rows - used)]
    return [*lines[: rows - 1], foot]


def _wrapped(text: str, style: str, width: int, label: str = "") -> list[Text]:
    """Return a text in up to three lines, the last of which ends with an ellipsis if there are more."""
    head = f"{label:<{LABEL_COLUMNS - 1}} " if label else ""
    lines = wrapped(f"{head}{text}", width, len(head)).split("\n")
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES - 1 :] = [f"{lines[_MOST_LINES - 1][: width - 4]} ..."]
    found = [Text(line, style) for line in lines]
    for line in found:  # a letter may take two columns
        line.truncate(width, overflow="ellipsis")
    return found


def _foot(document: Mapping[str, Any], width: int, now: float) -> Text:
    """Return the last line: the time, how to end this, and whose fleet it is."""
    whose = f"  {fleet_text(document['fleet'], document['root'])}" if document else ""
    line = Text(f"{datetime.fromtimestamp(now, UTC):%H:%M:%S} UTC  Ctrl-C ends this{whose}", "dim")
    line.truncate(width, overflow="ellipsis")
    return line


def _above(seen: Seen, width: int, now: float) -> Iterator[Text]:
    """Yield the lines above the table: alive, to do, outcome, what is published."""
    document = seen.document
    running = document["standing"] == "running"
    color = {"governing": "green"}.get(document["state"], "yellow") if running else "red"
    yield from _wrapped(document["headline"], f"bold {color}", width)
    for act in document["act"][:2]:
        yield from _wrapped(act, "bold yellow", width, "act")
    if not document["act"]:
        yield from _wrapped(f"no action needed{seen.ending}", "green", width, "act")
    if document["outcome"]:
        yield from _wrapped(document["outcome"], "", width, "outcome")
    if document["generation"] is not None:
        since = f"since {when(document['published_at'], now)}, {ago(document['published_at'], now)}"
        cause = f": {document['published_cause']}" if document["published_cause"] else ""
        yield from _wrapped(f"generation {document['generation']}, {since}{cause}", "", width, "published")


def _below(document: Mapping[str, Any], width: int, now: float) -> Iterator[Text]:
    """Yield the lines below the table: exposure, next move, orders, metrics, troubles."""
    if document["exposure"] is not None:
        known = document["exposure_now"]
        cause = f": {known['cause']}" if known else ""
        yield _one_line(f"{percent_text(document['exposure'])}{cause}", "", width, "exposure")
    if document["next_move"]:
        held = reason_of(document["reason"]) in HOLDS
        text = next_move_text(document["next_move"])
        yield from _wrapped(f"when the hold is over: {text}" if held else text, "", width, "next move")
    orders = [stored_order_text(order["text"], order["accepts"]) for order in document["orders"]]
    if orders:
        more = f" (and {len(orders) - 1} more)" if len(orders) > 1 else ""
        yield _one_line(f"{orders[0]}{more}", "yellow", width, "operator")
    failing = bool(document["failures_in_row"])
    cycle = f", last cycle {ago(document['timestamp'], now)}" if document["reason"] else ""
    yield _one_line(f"{metrics_text(document, now)}{cycle}", "yellow" if failing else "", width, "metrics")
    for label, text, style in list(troubles(document))[:2]:
        yield _one_line(text, style, width, label)


def _one_line(text: str, style: str, width: int, label: str) -> Text:
    line = Text(f"{label:<{LABEL_COLUMNS - 1}} {text}", style)
    line.truncate(width, overflow="ellipsis")
    return line


def _decisions(seen: Seen, width: int, lines: int) -> Iterator[Text]:
    """Yield the newest decisions, below a blank line, in so many lines."""
    newest = list(seen.decisions)[-(lines - 1) :] if lines > 1 else []
    if newest:
        yield Text()
    for row in newest:
        line = Text(f"{row['at'][11:16]}  {row['line']}", DECISION_STYLES.get(row["outcome"], "dim"))
        line.truncate(width, overflow="ellipsis")
        yield line


# --- the table --------------------------------------------------------------------------------------------------------


def _agents(document: Mapping[str, Any]) -> list[tuple[str, float, Mapping[str, Any]]]:
    """Return each agent with its share and what the journal knows of it, by falling share."""
    known = {row["agent"]: row for row in document["agents_now"]}
    ranked = sorted(document["allocations"].items(), key=lambda item: (-item[1], item[0]))
    return [(agent, share, known.get(agent, {})) for agent, share in ranked]


def _most_telling(
    agents: Sequence[tuple[str, float, Mapping[str, Any]]], count: int
) -> list[tuple[str, float, Mapping[str, Any]]]:
    """Return so many agents in their order: those with which something is wrong, then the largest shares."""
    well = [not _note(said)[1] for _, _, said in agents]
    places = sorted(range(len(agents)), key=lambda place: (well[place], place))[:count]
    return [agents[place] for place in sorted(places)]


def _table(
    document: Mapping[str, Any], agents: Sequence[tuple[str, float, Mapping[str, Any]]], width: int, *, drawn: bool
) -> Iterator[Text]:
    """Yield the head, a line for each agent, and the reserve."""
    names = [agent for agent, _, _ in agents]
    column = min(LONGEST_NAME, max(map(cell_len, [*names, "reserve"])))
    full = next(size for size in FULL_BARS if size >= max(share for _, share, _ in agents))
    scale = f"0 to {percent_text(full)}"
    head = f"{'agent':<{column}}  {'share':>7}  {scale:<{BAR_COLUMNS}}  {'score':>6}  {'wants':>7}  {'to go':>6}"
    yield Text(head, "bold")
    for agent, share, said in agents:
        note, style = _note(said)
        score = said.get("score")
        line = Text(f"{_cut(agent, column)}  ", style)
        line.append(f"{percent(share):>7}", "bold")
        line.append(f"  {_bar(share, full, drawn=drawn):<{BAR_COLUMNS}}", style or "cyan")
        line.append(f"  {'' if score is None else f'{score:.3f}':>6}  {percent(said.get('wanted')):>7}")
        line.append(f"  {percent(said.get('to_move')):>6}")
        line.append(f"  {note}", style or "dim")
        line.truncate(width, overflow="ellipsis")
        yield line
    reserve = document["reserve"] or 0.0
    yield Text(f"{'reserve':<{column}}  {percent(reserve):>7}  {_bar(reserve, full, drawn=drawn)}", "dim")


def _cut(name: str, columns: int) -> str:
    """Return a name in exactly so many columns."""
    return set_cell_size(name if cell_len(name) <= columns else f"{set_cell_size(name, columns - 1)}~", columns)


def _bar(share: float, full: float, *, drawn: bool) -> str:
    text = bar(round(share * WHOLE), BAR_COLUMNS, round(full * WHOLE))
    return text if drawn else "#" * len(text)


def _note(said: Mapping[str, Any]) -> tuple[str, str]:
    """Return what is to be known of an agent, and the style of its line; the worst comes first."""
    if not said:
        return "", ""
    if said["lapsed"]:
        return "lapsed", "red"
    if said["fault"]:
        return "faulty", "red"
    if said["absent_cycles"] is not None:
        return "silent", "yellow"
    if said["withheld"]:
        return "withheld", "yellow"
    limit = said["limit"]
    return ("", "") if limit is None else (f"{limit['kind']} {percent_text(limit['value'])}", "")
