"""The value of a setting as text. Standard library only, so that quick commands can compare settings."""

from __future__ import annotations

from typing import Any, Final

from capital_governor.settings.faults import HIDDEN, plain
from capital_governor.settings.group_list import groups_text
from capital_governor.settings.kinds import UNITS
from capital_governor.settings.variables import VARIABLES

NOT_SET: Final = "(not set)"


def value_text(field: str, value: Any) -> str:  # noqa: ANN401 - values have many types
    """Return the value of the setting ``field`` as text; a secret is hidden."""
    if field == "release_after_cycles" and value is None:
        return "never"
    if value is None or value == ():
        return NOT_SET
    if field in VARIABLES and VARIABLES[field].secret:
        return HIDDEN
    if field == "groups":
        return groups_text(value)
    if field == "fetch_max_bytes" and value % UNITS["MIB"] == 0:
        return f"{value >> 20} MiB"
    return plain(value)
