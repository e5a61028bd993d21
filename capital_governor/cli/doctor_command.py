"""``doctor``: what commonly goes wrong, each with its remedy; nothing is written and nothing is sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from capital_governor.adapters.lock import is_held
from capital_governor.adapters.paths import Paths
from capital_governor.cli.doctor import access, files, machine, outside, processes
from capital_governor.cli.doctor.finding import Finding, Health, parted, wrong, wrong_now
from capital_governor.cli.failures import failure_of
from capital_governor.cli.output import show_json
from capital_governor.cli.readiness import Readiness, examine
from capital_governor.cli.run_command import set_up_logs
from capital_governor.cli.terminal_page import LABEL_COLUMNS, new_page
from capital_governor.contracts.exit_codes import CONFIGURATION, OK
from capital_governor.journal.protocol import JournalRefusedError
from capital_governor.service.daemon import leave
from capital_governor.service.notifications import telegram_of
from capital_governor.settings.faults import SettingsError
from capital_governor.settings.load import Settings, load
from capital_governor.settings.sources import find_place

_STYLES: Final = {Health.WELL: "green", Health.WARNING: "yellow", Health.WRONG: "bold red"}
_HEALTH_COLUMNS: Final = 8


def doctor(root: Path | None, *, as_json: bool) -> int:
    """Look at all that commonly goes wrong; return 78 if a person must mend something, 75 if it may pass, else 0."""
    findings = list(_findings(root))
    code = max(finding.code for finding in findings)
    if as_json:
        show_json(
            {
                "ok": code == OK,
                "exit_code": code,
                "findings": [
                    {
                        "subject": each.subject,
                        "health": each.health.value,
                        "text": each.text,
                        "remedy": each.remedy or None,
                    }
                    for each in findings
                ],
            }
        )
    else:
        _show(findings)
    return leave(code)


def _findings(option: Path | None) -> Iterator[Finding]:
    yield from machine.versions()
    try:
        where = find_place(option)
    except SettingsError as error:
        yield from _wrong_settings(error.faults)
        return
    if where.faults:
        yield from _wrong_settings(where.faults)
    paths, settings = Paths(where.root), None if where.faults else load(option)
    try:
        yield from access.rights(where.root, where.journal_path)
        yield from machine.space(where.root, where.journal_path)
        yield from files.files(paths)
        if settings is not None:
            yield from files.rival(paths, where.journal_path, settings.override)
            yield from _of_settings(settings, option)
        yield from processes.governor(where, option)
        yield from processes.supervisor(where.root, governed=is_held(paths.lock) is True)
    except OSError as error:
        code, (line, *_) = failure_of(error)
        make = wrong if code == CONFIGURATION else wrong_now
        yield make("root", *parted(line, "let the governor's user read and write there"))


def _of_settings(settings: Settings, option: Path | None) -> Iterator[Finding]:
    """Yield what needs settings that are right: journal, dashboard, clock, limits, Telegram."""
    # What a start would log is in the findings.
    sink = set_up_logs(settings.model_copy(update={"log_level": "ERROR"}))
    found, refused = _examined(settings)
    yield outside.journal(found) if refused is None else refused
    yield from outside.metrics(found, option)
    yield from outside.clock_agreement(found)
    yield from outside.room_for_scores(found)
    yield outside.telegram(telegram_of(settings, sink.redact), settings)


def _examined(settings: Settings) -> tuple[Readiness, Finding | None]:
    """Return what ``check`` finds, and what is wrong with a journal with which no governor can start."""
    try:
        return examine(settings), None
    except JournalRefusedError as error:
        text, _, how = str(error).rpartition(": ")
        return examine(settings, str(error)), wrong("journal", text, how)


def _wrong_settings(faults: Sequence[str]) -> Iterator[Finding]:
    for fault in faults:
        yield wrong("settings", *parted(fault, "correct it where it is set"))
    yield Finding(
        "settings",
        Health.WARNING,
        "dashboard, journal and Telegram were not looked at, since they depend on the settings",
        "correct the settings, then run this again",
    )


def _show(findings: Sequence[Finding]) -> None:
    found = Counter(finding.health for finding in findings)
    with new_page() as page:
        for each in findings:
            head = f"{each.health.value:<{_HEALTH_COLUMNS - 1}} "
            page.line(f"{head}{each.subject:<{LABEL_COLUMNS - 1}} {each.text}", _STYLES[each.health], indent=19)
            if each.remedy:
                page.line(f"{'':{_HEALTH_COLUMNS}}-> {each.remedy}", indent=_HEALTH_COLUMNS + 3)
        if found[Health.WRONG]:
            page.line(f"{found[Health.WRONG]} wrong, {found[Health.WARNING]} to look at", "bold red")
        elif found[Health.WARNING]:
            page.line(f"Nothing is wrong, {found[Health.WARNING]} to look at", "bold yellow")
        else:
            page.line("All is well", "bold green")
