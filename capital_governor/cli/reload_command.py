"""``reload``: a running governor takes over what has changed in ``.env``."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Final, NoReturn

from capital_governor.adapters.lock import is_held
from capital_governor.adapters.paths import Paths
from capital_governor.cli.failures import explained
from capital_governor.cli.known_root import demand_governor
from capital_governor.cli.output import fail, show_json, write_stdout
from capital_governor.contracts.exit_codes import CONFIGURATION, OK, TEMPORARY
from capital_governor.service.settings_record import SettingsRecord, not_in_force, read_record, record_path
from capital_governor.settings.faults import SettingsError
from capital_governor.settings.load import load
from capital_governor.settings.sources import find_place

_ANSWER_SECONDS: Final = 15.0
"""How long to wait until the governor has read its settings."""
_CYCLE_SECONDS: Final = 5.0
"""How much longer to wait until the cycle in progress has ended and the new settings are in force."""
_POLL_SECONDS: Final = 0.05

_SAID: Final = {
    "in force": "In force now",
    "accepted": "Accepted: in force as soon as the cycle in progress has ended",
    "waits": "Accepted: in force as soon as the journal can be written again",
    "same": "Nothing to change: the governor has these settings (a variable of its own environment beats .env)",
}


def reload(root: Path | None, *, dry_run: bool, as_json: bool) -> int:
    """Signal the running governor to read its settings again, and show what it found.

    Raises:
        SystemExit: 78 if the settings are wrong or no governor has ever run there, 75 if none runs now or it does not
            answer.
    """
    with explained():
        demand_governor(root, find_place(root))
        try:
            settings = load(root)
        except SettingsError as error:
            fail(CONFIGURATION, *error.faults, "nothing was changed: a running governor goes on with what it had")
        paths = Paths(settings.root, dry_run)
        path = record_path(paths.folder)
        before = read_record(path)
        if is_held(paths.lock) is False:
            fail(TEMPORARY, f"no governor runs on {settings.root}: the next start takes over what is in .env")
        if before is None:
            _cannot_ask(settings.root, path)
        try:
            os.kill(before.pid, signal.SIGHUP)
        except PermissionError:
            fail(CONFIGURATION, f"the governor (process {before.pid}) belongs to another user: run this as that user")
        except ProcessLookupError:
            fail(TEMPORARY, f"the governor on {settings.root} has just ended")
        answer = _answer(path, before)
    if answer.outcome == "refused":
        fail(CONFIGURATION, *answer.lines, "the governor goes on with the settings that it had")
    left = not_in_force(answer, settings.root) if answer.outcome in {"in force", "same"} else ()
    if as_json:
        show_json({"outcome": answer.outcome, "changes": list(answer.lines), "not_in_force": list(left)})
    else:
        write_stdout("".join(f"{line}\n" for line in (*answer.lines, f"{_SAID[answer.outcome]}.")))
    return OK


def _answer(path: Path, before: SettingsRecord) -> SettingsRecord:
    """Return what the governor has found; wait a little longer until that is in force. Raises SystemExit 75."""
    deadline = time.monotonic() + _ANSWER_SECONDS
    accepted: SettingsRecord | None = None
    while time.monotonic() < deadline:
        found = read_record(path)
        if found is not None and found.reads > before.reads:
            if found.outcome != "accepted":
                return found
            if accepted is None:
                accepted, deadline = found, time.monotonic() + _CYCLE_SECONDS
        time.sleep(_POLL_SECONDS)
    if accepted is None:
        fail(TEMPORARY, f"the governor (process {before.pid}) was asked and has not answered yet: its log says more")
    return accepted


def _cannot_ask(root: Path, path: Path) -> NoReturn:
    fail(
        TEMPORARY,
        f"a governor runs on {root}, but {path} does not say which process it is: it is just starting, is of an older"
        " version, or belongs to another user; `kill -HUP` with its pid does the same",
    )
