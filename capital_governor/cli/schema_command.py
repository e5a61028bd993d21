"""``schema``: the JSON Schema of a file in ``runtime/``."""

from __future__ import annotations

from capital_governor.cli.output import fail, show_json
from capital_governor.contracts.exit_codes import OK, USAGE
from capital_governor.contracts.schema import SCHEMAS
from capital_governor.contracts.text import clean


def schema(name: str, *, as_json: bool) -> int:
    """Show the JSON Schema (draft 2020-12) of the file called ``name``; it is JSON in any case.

    Raises:
        SystemExit: 2, there is no schema of such a file.
    """
    del as_json
    if name not in SCHEMAS:
        fail(USAGE, f"schema: there is no schema of {clean(name, 40)!r}; there is one of {', '.join(SCHEMAS)}")
    show_json(SCHEMAS[name])
    return OK
