"""Options that several commands have, and the place that they name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from capital_governor.cli.failures import warn
from capital_governor.settings.load import Settings, load_place


def _folder(text: str) -> Path:
    """Take the root as given, but not nothing: a variable that is not set must not mean the current folder."""
    if not text:
        raise typer.BadParameter("is empty; name a folder, or leave the option out")
    return Path(text)


Root = Annotated[
    Path | None,
    typer.Option(
        "--root",
        parser=_folder,
        metavar="<path>",
        help="The NeoLight folder; else NEOLIGHT_ROOT, else this folder.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
OfDryRun = Annotated[bool, typer.Option("--dry-run", help="Of `run --dry-run`, below runtime/dry_run.")]


def place(root: Path | None) -> tuple[Settings, bool]:
    """Return the settings for a command that must work whatever is wrong with them, and whether they are sound.

    What is wrong is said as a warning. Raises SettingsError where root or journal cannot be told.
    """
    settings, faults = load_place(root)
    for fault in faults:
        warn(f"{fault}; a governor that is started now refuses that")
    return settings, not faults
