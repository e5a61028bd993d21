"""``schema``: the JSON Schema of a file in ``runtime/``."""

from __future__ import annotations

from capital_governor.cli.output import show_json
from capital_governor.contracts.exit_codes import OK
from capital_governor.contracts.schema import SCHEMAS


def schema(name: str) -> int:
    """Show the JSON Schema (draft 2020-12) of the file called ``name``."""
    show_json(SCHEMAS[name])
    return OK
