"""``check``: settings, dashboard, journal and Telegram, and what a cycle would do now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capital_governor.adapters.notifier import Refused, Retry, Sent
from capital_governor.adapters.telegram import Telegram
from capital_governor.cli.failures import explained
from capital_governor.cli.output import show_json
from capital_governor.cli.readiness import NO_JOURNAL, READABLE, WRITABLE, examine
from capital_governor.cli.run_command import set_up_logs
from capital_governor.cli.terminal_page import Page, new_page
from capital_governor.cli.typed import retyped
from capital_governor.contracts.exit_codes import CONFIGURATION, OK, TEMPORARY
from capital_governor.service.daemon import in_loop, leave
from capital_governor.service.notifications import telegram_of
from capital_governor.settings.load import load


def check(root: Path | None, *, notify: bool, as_json: bool) -> int:
    """Check settings and dashboard; return 75 if not ready, 78 if a person must act first."""
    with explained():
        settings = load(root)
    sink = set_up_logs(settings)
    told = in_loop(lambda: _notify(telegram_of(settings, sink.redact))) if notify else None
    with explained():
        found = examine(settings)
    document = found.document() | {
        "telegram": None if told is None else "test message sent" if isinstance(told, Sent) else told.detail,
        "ok": found.ok and not isinstance(told, Refused | Retry),
    }
    show_json(document) if as_json else show_check(document, root)
    failed = CONFIGURATION if isinstance(told, Refused) else TEMPORARY
    return leave(OK if document["ok"] else failed)


async def _notify(telegram: Telegram | None) -> Sent | Retry | Refused:
    """Send a test message and return the result."""
    if telegram is None:
        return Refused("not set up: set TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID")
    try:
        return await telegram.send("Capital Governor: this is a test message. Moves and alerts will come here.")
    finally:
        await telegram.close()


def show_check(document: Mapping[str, Any], option: Path | None) -> None:
    """Print the result of ``check``; ``option`` is its ``--root``."""
    with new_page() as page:
        for label in ("root", "dashboard", "status", "payload"):
            page.labelled(label, document[label])
        if document["runtime"] != WRITABLE:
            page.labelled("runtime", document["runtime"], "red")
        if document["journal"] not in {READABLE, NO_JOURNAL}:
            page.labelled("journal", document["journal"], "red")
        if document["telegram"] is not None:
            page.labelled("telegram", document["telegram"])
        _show_findings(page, document)
        if document["advice"]:
            page.labelled("advice", document["advice"])
        room = document["leeway"]
        if room is not None:
            page.labelled("leeway", room["text"], "yellow" if room["frozen"] else "")
        upcoming = document["next"]
        held = "" if upcoming["hold"] is None else f": {upcoming['hold']}"
        page.labelled("next cycle", upcoming["message"] + held, "yellow" if held else "")
        if upcoming["exit"] is not None:
            page.labelled("ends with", retyped(upcoming["exit"], option))
        if document["ok"]:
            page.line("Ready" + (", but held" if held else ""), "bold yellow" if held else "bold green")
        else:
            page.line("Not ready", "bold red")


def _show_findings(page: Page, document: Mapping[str, Any]) -> None:
    """Print faulty records, groups and warnings."""
    for agent, fault in document["faults"].items():
        page.labelled("faulty", f"{agent}: {fault}", "yellow")
    for group in document["groups"]:
        page.labelled("group", f"{group['name']} at most {group['cap']:g}: {', '.join(group['agents']) or 'no agent'}")
    for warning in document["warnings"]:
        page.labelled("warning", warning, "yellow")
