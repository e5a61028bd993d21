"""The demo on a terminal: fleet, scenes and lines in one frame, all from the journal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from capital_governor.cli.demo.progress import Progress
from capital_governor.cli.demo.scenes import DAYS, SCENES
from capital_governor.cli.share_bar import BAR_COLUMNS, bar
from capital_governor.cli.wrapping import wrapped
from capital_governor.core.model import RESERVE, WHOLE, Publication, Snapshot
from capital_governor.core.reason import Reason
from capital_governor.wording.amounts import percent_text

LINES: Final = 7
WIDEST_COLUMNS: Final = 110
_FRAME_COLUMNS: Final = 4
_TIME_COLUMNS: Final = 9

_STYLES: Final = {"scene": "bold", "seen": "green", "move": "cyan", "hold": "yellow", "fault": "red", "stay": "dim"}


def demo_frame(progress: Progress, columns: int) -> RenderableType:
    """Return the current frame: 22 lines, at most ``columns`` wide, which should be 80 or more."""
    width = min(columns, WIDEST_COLUMNS)
    upper = Table.grid(padding=(0, 3))
    upper.add_row(_fleet(progress), _scenes(progress))
    return Panel(
        Group(_heading(progress), Text(), upper, Text(), _said(progress, width), Text(), _next(progress)),
        title="Capital Governor demo",
        subtitle="Ctrl-C ends it",
        box=box.ROUNDED,
        width=width,
    )


def _heading(progress: Progress) -> Text:
    entry = progress.entry
    parts = [f"day {progress.day:4.1f} of {DAYS:.0f}", f"seed {progress.seed}"]
    if entry is not None and isinstance(entry.inputs.payload, Snapshot) and entry.inputs.payload.regime is not None:
        parts.append(f"market {entry.inputs.payload.regime.name}")
    if entry is not None and entry.after.published is not None:
        parts.append(f"deployed {percent_text(entry.after.published.exposure)}")
    heading = Text("   ".join(parts), "bold")
    if _is_paused(progress):
        heading.append("   PAUSED", "bold yellow")
    return heading


def _is_paused(progress: Progress) -> bool:
    return progress.entry is not None and progress.entry.reason is Reason.PAUSED


def _fleet(progress: Progress) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    for name in ("agent", "score", "asks for", "share"):
        table.add_column(name, justify="left" if name == "agent" else "right", no_wrap=True, min_width=7)
    table.add_column("", min_width=BAR_COLUMNS, no_wrap=True)
    entry = progress.entry
    published = None if entry is None else entry.after.published
    if entry is None or published is None:
        table.add_row("no capital yet", "", "", "", "", style="dim")
        return table
    faulty, paused = entry.decision.trace.faulty, _is_paused(progress)
    scores = entry.decision.trace.scores
    for agent, share in sorted(published.shares.items(), key=lambda line: (-line[1], line[0])):
        score = scores[agent] if agent in scores else published.scores.get(agent)
        ill, asked = agent in faulty, progress.asked.get(agent)
        asks = "faulty" if ill else "paused" if paused else "" if asked is None else f"{100 * asked / WHOLE:.2f}%"
        table.add_row(
            Text(agent, "red" if ill else ""),
            "" if score is None else f"{score:.3f}",
            Text(asks, "red" if ill else "yellow" if paused else ""),
            f"{100 * share / WHOLE:.2f}%",
            Text(bar(share), "red" if ill else "cyan"),
        )
    table.add_row(*_reserve(published), style="dim")
    return table


def _reserve(published: Publication) -> Iterator[RenderableType]:
    yield from (RESERVE, "", "", f"{100 * published.reserve / WHOLE:.2f}%", Text(bar(published.reserve), "yellow"))


def _scenes(progress: Progress) -> Table:
    table = Table.grid(padding=(0, 1))
    for number, scene in enumerate(SCENES):
        if number < progress.playing or (number == progress.playing and progress.seen):
            table.add_row(Text("✓", "green"), Text(scene.name, "green"))
        elif number == progress.playing:
            table.add_row(Text("▸", "bold"), Text(scene.name, "bold"))
        else:
            table.add_row(Text("·", "dim"), Text(scene.name, "dim"))
    return table


def _said(progress: Progress, columns: int) -> Group:
    """Return the last lines of what was said, each whole."""
    texts = [
        Text(part, _STYLES[line.kind])
        for line in progress.said[-LINES:]
        for part in wrapped(f"{line.seconds:5.1f} s  {line.text}", columns - _FRAME_COLUMNS, _TIME_COLUMNS).split("\n")
    ][-LINES:]
    return Group(*texts, *(Text() for _ in range(LINES - len(texts))))


def _next(progress: Progress) -> Text:
    coming = progress.upcoming
    happens = "the end: everything stays in the folder to be looked at" if coming is None else coming.happens
    return Text.assemble(("next     ", "dim"), happens, no_wrap=True, overflow="ellipsis")
