"""``check``: settings, dashboard, journal and Telegram, and what a cycle would do now."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capital_governor.adapters.dashboard import token_warnings
from capital_governor.adapters.notifier import Refused, Retry, Sent
from capital_governor.adapters.paths import Paths
from capital_governor.adapters.permissions import denied
from capital_governor.adapters.telegram import Telegram
from capital_governor.cli.failures import explained
from capital_governor.cli.group_catch import group_documents, group_warnings
from capital_governor.cli.once_table import fleet_range_document
from capital_governor.cli.output import show_json
from capital_governor.cli.preview import preview, preview_warnings
from capital_governor.cli.run_command import set_up_logs
from capital_governor.cli.terminal_page import Page, new_page
from capital_governor.cli.typed import retyped
from capital_governor.contracts.exit_codes import CONFIGURATION, OK, TEMPORARY
from capital_governor.contracts.text import valid_name
from capital_governor.core.fleet_range import fleet_range
from capital_governor.core.hold import EXITS
from capital_governor.core.model import FUTURE_TOLERANCE_SECONDS, Agent, Refusal, Rules, Snapshot
from capital_governor.core.reason import PAYLOAD_HOLDS
from capital_governor.journal.protocol import JournalCorruptError, JournalUnavailableError
from capital_governor.journal.sqlite.sqlite_driver import in_memory
from capital_governor.service.daemon import in_loop, leave
from capital_governor.service.notifications import telegram_of
from capital_governor.service.standing import Outcome
from capital_governor.settings.load import Settings, load
from capital_governor.wording.reason_texts import message


def check(root: Path | None, *, notify: bool, as_json: bool) -> int:
    """Check settings and dashboard; return 75 if not ready, 78 if a person must act first."""
    with explained():
        settings = load(root)
    sink = set_up_logs(settings)
    told = in_loop(lambda: _notify(telegram_of(settings, sink.redact))) if notify else None
    rules = settings.rules()
    with explained():
        outcome, up, journal = _checked(settings)
        runtime = denied(Paths(settings.root).lock) or "writable"
    payload, reason, hold = outcome.inputs.payload, outcome.decision.reason, outcome.decision.trace.hold
    snapshot = payload if isinstance(payload, Snapshot) else None
    members = _fleet(outcome, snapshot)
    known = _known(outcome, snapshot)
    document: dict[str, Any] = {
        "root": str(settings.root),
        "dashboard": settings.dashboard_url,
        "status": up.detail if isinstance(up, Refusal) else "up",
        "payload": payload.detail if isinstance(payload, Refusal) else _described(payload, settings),
        "runtime": runtime,
        "journal": journal,
        "telegram": None if told is None else "test message sent" if isinstance(told, Sent) else told.detail,
        "ok": (hold is None or hold.reason not in PAYLOAD_HOLDS)
        and not isinstance(up, Refusal)
        and not isinstance(told, Refused | Retry)
        and runtime == "writable"
        and journal in {"readable", "none yet"},
        "agents": None if snapshot is None else len(snapshot.metrics),
        "faults": {} if snapshot is None else dict(snapshot.faults),
        "warnings": list(
            dict.fromkeys(
                (
                    *token_warnings(settings),
                    *preview_warnings(settings),
                    *(snapshot.warnings if snapshot else ()),
                    *outcome.decision.trace.warnings,
                    *group_warnings(known, rules.groups),
                )
            )
        ),
        "advice": _advice(settings.profile, rules),
        "groups": group_documents(known, rules.groups),
        "next": {
            "reason": reason.value,
            "message": message(reason, rules),
            "hold": None if hold is None else hold.detail,
            "exit": None if hold is None else EXITS[hold.reason],
        },
        "leeway": fleet_range_document(fleet_range(members, rules), rules) if members else None,
    }
    show_json(document) if as_json else show_check(document, root)
    failed = CONFIGURATION if isinstance(told, Refused) else TEMPORARY
    return leave(OK if document["ok"] else failed)


def _advice(profile: str, rules: Rules) -> str:
    """Return what is recommended for real money; empty if a brake is on, or the profile is chosen already."""
    if profile == "steady" or rules.cooldown_seconds or rules.confirm_cycles > 1 or rules.max_step < 1.0:
        return ""
    return "no brake is on; with real money, set CAPITAL_GOVERNOR_PROFILE=steady"


def _checked(settings: Settings) -> tuple[Outcome, int | Refusal, str]:
    """Return the result of ``preview``, and the state of the journal in words. An unreadable one counts as empty.

    Raises JournalRefusedError, since a governor could not start either.
    """
    try:
        outcome, up = preview(settings)
    except (JournalCorruptError, JournalUnavailableError) as error:
        return *preview(settings, in_memory()), str(error)
    problem = denied(settings.journal_path)
    return outcome, up, problem or ("readable" if settings.journal_path.exists() else "none yet")


async def _notify(telegram: Telegram | None) -> Sent | Retry | Refused:
    """Send a test message and return the result."""
    if telegram is None:
        return Refused("not set up: set TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID")
    try:
        return await telegram.send("Capital Governor: this is a test message. Moves and alerts will come here.")
    finally:
        await telegram.close()


def _fleet(outcome: Outcome, snapshot: Snapshot | None) -> int:
    """Return the number of members after this cycle; before the first, the number of good records."""
    if outcome.decision.trace.limits:
        return len(outcome.decision.trace.limits)
    members = sum(memory.member for memory in outcome.decision.after.agents.values())
    return members or (0 if snapshot is None else len(snapshot.metrics))


def _known(outcome: Outcome, snapshot: Snapshot | None) -> list[Agent]:
    """Return the agents in the payload and in what is published, sorted."""
    published = outcome.decision.after.published
    names = set() if published is None else set(published.shares)
    if snapshot is not None:
        names |= snapshot.metrics.keys() | {name for name in snapshot.faults if valid_name(name)}
    return sorted(names)


def _described(payload: Snapshot, settings: Settings) -> str:
    text = f"{len(payload.metrics)} good and {len(payload.faults)} faulty records"
    if payload.at is None:
        return f"{text}, without a time stamp"
    age = time.time() - payload.at
    if age < -FUTURE_TOLERANCE_SECONDS:
        return f"{text}, {-age:.0f} s in the future"
    age = max(0.0, age)
    stale = f", older than {settings.max_age_seconds:.0f} s: stale" if age > settings.max_age_seconds else ""
    return f"{text}, {age:.0f} s old{stale}"


def show_check(document: Mapping[str, Any], option: Path | None) -> None:
    """Print the result of ``check``; ``option`` is its ``--root``."""
    with new_page() as page:
        for label in ("root", "dashboard", "status", "payload"):
            page.labelled(label, document[label])
        if document["runtime"] != "writable":
            page.labelled("runtime", document["runtime"], "red")
        if document["journal"] not in {"readable", "none yet"}:
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
