"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Root = Annotated[Path | None, typer.Option("--root", help="The NeoLight folder; else NEOLIGHT_ROOT, else this folder.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
OfDryRun = Annotated[bool, typer.Option("--dry-run", help="Of `run --dry-run`, below runtime/dry_run.")]
