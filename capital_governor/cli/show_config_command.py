"""``show-config``: every setting with its value and source."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from capital_governor.cli.failures import explained
from capital_governor.cli.output import show_json
from capital_governor.cli.terminal_page import NARROW_COLUMNS, Cell, new_page
from capital_governor.contracts.exit_codes import OK
from capital_governor.settings.load import load


def show_config(root: Path | None, *, as_json: bool) -> int:
    """Show every setting with its source; secrets are masked."""
    with explained():
        settings = load(root)
    rows = {name: {"value": value, "from": settings.origins[name]} for name, value in settings.masked().items()}
    show_json(rows) if as_json else _show(rows)
    return OK


def _show(rows: Mapping[str, Mapping[str, str]]) -> None:
    names = ("setting", "value", "from")
    cells = []
    for name, row in rows.items():
        given = "" if row["from"] == "default" else "bold"
        cells.append((Cell(name), Cell(row["value"], given), Cell(row["from"], given or "dim")))
    with new_page() as page:
        if page.width < NARROW_COLUMNS:
            for name, row in rows.items():
                page.line(name)
                page.line(f"    {row['value']} ({row['from']})", "" if row["from"] == "default" else "bold", indent=4)
            return
        page.table(names, cells, left=names, folded="value")
