"""Tells the operator that the governor has ended, for its supervisor.

``python -m capital_governor.service.governor_end --exit-code N ...``, with the root in NEOLIGHT_ROOT. It must work with
wrong settings and with a journal that cannot be opened, since these are why a governor gives up. It sends the message
itself, since no governor runs, and puts it into the journal afterwards, sent or refused: the outbox of the next
governor never sees one that is under way. Only if that one runs before the message could be sent, it gets it to send.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from capital_governor.adapters.bounded_reading import read_bounded
from capital_governor.adapters.lock import is_held
from capital_governor.adapters.notifier import Refused, Retry, Sent
from capital_governor.adapters.paths import Paths
from capital_governor.adapters.redaction import Redaction
from capital_governor.adapters.telegram import Telegram
from capital_governor.contracts.instants import read_instant
from capital_governor.contracts.text import clean
from capital_governor.journal.notices import Notice, new_notice
from capital_governor.journal.protocol import JournalError
from capital_governor.journal.sqlite.sqlite_driver import open_sqlite
from capital_governor.journal.store import Store
from capital_governor.service.outbox import FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS
from capital_governor.settings.faults import telling_parts
from capital_governor.settings.fleet_name import fleet_name
from capital_governor.settings.sources import find
from capital_governor.settings.variables import VARIABLES
from capital_governor.supervisor.linux import die_with
from capital_governor.wording.supervision_texts import GovernorEnd, governor_ended_text

_LAST_LINE_CHARACTERS: Final = 300
_TAIL_BYTES: Final = 8_192


def main() -> None:
    """Tell of the end that the command line describes. Raises SystemExit: 0 if nothing is left to be sent."""
    parser = argparse.ArgumentParser(description="Tells that the governor has ended, for neo_light_fix.sh.")
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--exit-code", type=int, required=True)
    parser.add_argument("--at", type=float, required=True)
    parser.add_argument("--restart-seconds", type=float)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--command", required=True)
    given = parser.parse_args()
    die_with(given.parent, signal.SIGTERM)
    found = find()
    if not (found.values["telegram_bot_token"] and found.values["telegram_chat_id"]):
        why = [fault for fault in found.faults if fault.startswith(("TELEGRAM_", f"{found.values['root']}/.env "))]
        for fault in why:
            _note(f"the operator cannot be told that the governor has ended: {fault}")
        raise SystemExit(0)
    values, root = found.values, found.values["root"]
    paths, hide = Paths(root), Redaction(_secrets(values)).hide
    last_line, (valid_until, reserve) = hide(_last_line(given.log)), _published(paths.status)
    end = GovernorEnd(given.at, given.exit_code, given.restart_seconds, last_line, valid_until, reserve)
    text = hide(governor_ended_text(end, fleet_name(values["name"], root), given.command))
    notice = new_notice(text, given.at, key=f"governor-end-{given.at:.3f}-{given.exit_code}")
    telegram = Telegram(
        values["telegram_bot_token"],
        values["telegram_chat_id"],
        values["telegram_api_base_url"],
        topic_id=values["telegram_topic_id"],
        redact=hide,
    )
    raise SystemExit(asyncio.run(_deliver(notice, telegram, paths, root / values["journal"])))


async def _deliver(notice: Notice, telegram: Telegram, paths: Paths, journal: Path) -> int:
    """Send the notice and store it; return the exit code. SIGTERM leaves it in the journal for the next governor."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    with _opened(journal) as store:
        if store is not None and store.knows_notice(notice.key):
            return 0
    wait, problem = FIRST_WAIT_SECONDS, ""
    while not stop.is_set():
        match await telegram.send(notice.text):
            case Sent():
                _note("told the operator that the governor has ended")
                _store(journal, notice.sent())
                return 0
            case Refused(detail):
                _note(f"Telegram refuses the message that the governor has ended: {detail}")
                _store(journal, notice.refused(detail))
                return 1
            case Retry(detail, wish):
                if detail != problem:
                    _note(f"the message that the governor has ended cannot be sent yet: {detail}")
                problem = detail
                if is_held(paths.lock) and _store(journal, notice):
                    return 0  # the governor that runs now sends it
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), max(wait, wish or 0.0))
                wait = min(2 * wait, LONGEST_WAIT_SECONDS)
    return 0 if _store(journal, notice) else 1


def _store(journal: Path, notice: Notice) -> bool:
    """Put the notice into the journal; return whether that could be done."""
    with _opened(journal) as store:
        if store is None:
            return False
        try:
            store.put_notices((notice,))
        except JournalError as error:
            _note(f"the message is not in the journal: {error}")
            return False
        return True


@contextlib.contextmanager
def _opened(journal: Path) -> Iterator[Store | None]:
    """Open the journal for as long as it is needed; None if there is none or it cannot be opened."""
    try:
        store = open_sqlite(journal, upgrade=False) if journal.exists() else None
    except (JournalError, OSError):  # perhaps why the governor gave up, and then in its own last line
        store = None
    if store is None:
        yield None
        return
    with closing(store):
        yield store


def _last_line(log: Path) -> str:
    """Return the last line of a log that is not blank, printable and short; empty if it cannot be read."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return clean(next((line.strip() for line in reversed(lines) if line.strip()), ""), _LAST_LINE_CHARACTERS)


def _published(status: Path) -> tuple[float | None, float | None]:
    """Return until when the status file counts the governor as alive, and the reserve; None: unknown."""
    try:
        document = json.loads(read_bounded(status) or b"{}")
        until, reserve = read_instant(document.get("valid_until")), document.get("reserve")
    except (OSError, ValueError, AttributeError):
        return None, None
    return None if until is None else until.earliest, reserve if isinstance(reserve, float) else None


def _secrets(values: Mapping[str, Any]) -> list[str]:
    given = [values[field] for field, variable in VARIABLES.items() if variable.secret and values[field]]
    return [text for secret in given for text in (secret, *telling_parts(secret))]


def _note(sentence: str) -> None:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    print(f"{at} neo_light_fix.sh: {sentence}", file=sys.stderr, flush=True)  # noqa: T201 - the supervisor's log


if __name__ == "__main__":
    main()
