"""What ``doctor`` finds about dashboard, metrics, clock, limits and Telegram."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from capital_governor.adapters.dashboard import dashboard_of
from capital_governor.adapters.notifier import Refused, Retry
from capital_governor.adapters.telegram import Telegram
from capital_governor.cli.doctor.finding import Finding, parted, warned, well, wrong, wrong_now
from capital_governor.cli.readiness import NO_JOURNAL, READABLE, Readiness
from capital_governor.cli.typed import retyped, typed
from capital_governor.core.model import FUTURE_TOLERANCE_SECONDS, Refusal, Snapshot
from capital_governor.core.reason import PAYLOAD_HOLDS
from capital_governor.service.daemon import in_loop
from capital_governor.settings.load import Settings
from capital_governor.wording.cause_texts import PLAIN, act_text
from capital_governor.wording.fleet_range_texts import fleet_range_text
from capital_governor.wording.reason_texts import message

CLOCK_SECONDS: Final = 5.0
"""A larger difference of clocks is a warning; from FUTURE_TOLERANCE_SECONDS on, payloads may be refused: wrong."""
MOST_FAULTS: Final = 5
"""So many faulty records get a line of their own."""
_SET_CLOCKS: Final = "set the clock of this machine and the dashboard's by NTP (`timedatectl` shows this one's)"


def journal(found: Readiness) -> Finding:
    """Return whether the journal can be read, if a governor could start with it."""
    if found.journal in {READABLE, NO_JOURNAL}:
        return well("journal", found.journal)
    return wrong_now("journal", *parted(found.journal, "let the governor's user read and write it, or check its disk"))


def metrics(found: Readiness, option: Path | None) -> Iterator[Finding]:
    """Yield whether dashboard and metrics are there, usable and fresh, and what the next cycle would do."""
    payload, url = found.payload, found.settings.dashboard_url
    if isinstance(payload, Refusal):
        text, how = parted(payload.detail, act_text(payload.reason, payload.detail)[1])
        yield wrong_now("dashboard", text, how)
    elif isinstance(found.up, Refusal):
        yield wrong_now("dashboard", *parted(found.up.detail, "see the dashboard's log: its /status does not answer"))
    else:
        yield well("dashboard", f"up, {url}")
    hold = found.hold
    if not isinstance(payload, Refusal):
        if hold is not None and hold.reason in PAYLOAD_HOLDS:
            how = retyped(act_text(hold.reason, hold.detail)[1], option)
            yield wrong_now("metrics", f"{PLAIN[hold.reason]}: {found.payload_text}", how)
        else:
            yield well("metrics", found.payload_text)
        yield from _faults(payload, option)
    # What a running governor has otherwise is a finding about the governor.
    for warning in (each for each in found.warnings if each not in found.other_settings):
        yield warned("metrics", *parted(warning, f"see the manual: {typed('docs dashboard')}"))
    if hold is not None and hold.reason not in PAYLOAD_HOLDS:
        how = retyped(act_text(hold.reason, hold.detail)[1], option)
        yield warned("next cycle", f"held: {hold.detail or PLAIN[hold.reason]}", how)
    elif hold is None:
        yield well("next cycle", message(found.outcome.decision.reason, found.rules))


def _faults(payload: Snapshot, option: Path | None) -> Iterator[Finding]:
    faults = list(payload.faults.items())
    for agent, fault in faults[:MOST_FAULTS]:
        yield warned("metrics", f"faulty record of {agent}: {fault}", "see why the agent or the dashboard says so")
    if len(faults) > MOST_FAULTS:
        more = f"{len(faults) - MOST_FAULTS} more faulty records"
        yield warned("metrics", more, f"{typed('check --json', option)} lists all")


def room_for_scores(found: Readiness) -> Iterator[Finding]:
    """Yield whether MIN_ALLOC and MAX_ALLOC leave scores any room, with this number of agents."""
    room = found.room
    if room is None:
        return
    text = fleet_range_text(room, found.rules)
    if room.freezes(found.rules):
        said, _, how = text.rpartition(". ")
        yield warned("limits", said, how)
    else:
        yield well("limits", text)


def clock_agreement(found: Readiness) -> Iterator[Finding]:
    """Yield whether this machine's clock agrees with the dashboard's; nothing if the dashboard cannot be asked."""
    if isinstance(found.up, Refusal):  # asked again, it would take as long again
        return
    ahead = in_loop(dashboard_of(found.settings).clock_ahead_seconds)
    if isinstance(ahead, Refusal):
        return
    at = None if found.snapshot is None else found.snapshot.at
    early = 0.0 if at is None else at - found.outcome.inputs.now
    if ahead is None:
        known = "the dashboard does not send its time (no Date header)"
        if early <= FUTURE_TOLERANCE_SECONDS:
            yield well("clock", f"{known}, and its metrics are not from the future")
            return
    elif abs(ahead) > CLOCK_SECONDS:
        text = f"the dashboard's clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this machine's"
        make = wrong_now if abs(ahead) > FUTURE_TOLERANCE_SECONDS else warned
        yield make("clock", text, _SET_CLOCKS)
        return
    if early > FUTURE_TOLERANCE_SECONDS:
        agree = "" if ahead is None else "both clocks agree, and "
        yield wrong_now(
            "clock",
            f"{agree}the metrics' time stamp is {early:.0f} s in the future",
            _SET_CLOCKS if ahead is None else "let the dashboard send its time with its zone (Z or an offset)",
        )
    elif ahead is not None:
        yield well("clock", "it agrees with the dashboard's")


def telegram(chat: Telegram | None, settings: Settings) -> Finding:
    """Return whether the bot's token and the chat are right; nothing is sent."""
    if chat is None:
        return well("telegram", "not set up, so that nobody gets messages")
    told = in_loop(lambda: _look(chat))
    match told:
        case Refused():
            return wrong("telegram", *_parted_at_colon(told.detail))
        case Retry():
            how = f"see whether this machine reaches {settings.telegram_api_base_url}; messages wait until then"
            return wrong_now("telegram", *parted(told.detail, how))
        case _:
            return well("telegram", told)


async def _look(chat: Telegram) -> str | Retry | Refused:
    try:
        return await chat.look()
    finally:
        await chat.close()


def _parted_at_colon(text: str) -> tuple[str, str]:
    """Return a refusal and what to do, which it has behind its last ``: check``."""
    said, found, rest = text.rpartition(": check ")
    return (said, f"check {rest}") if found else (text, "check TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID")
