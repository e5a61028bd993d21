"""Every event of the log by name, with its level, its sentence and when it is logged. Pure.

An event is logged by its name and fields, ``LogEvent.MOVE_SAVED.line(shares=..., more=0, generation=41)``. The console
shows its sentence, in NeoLight's wording; JSON has name, sentence and fields. Besides these events, only records of
libraries are logged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, unique
from functools import cache
from typing import Any, Final, NamedTuple

from capital_governor.wording.amounts import count_text, ratio_text

WAITING: Final = "generation {generation} is decided, but not in the files yet"

_PLACEHOLDER: Final = re.compile(r"\{(\w+)(?::([^{}]*))?\}")

IN_WORDS: Final[Mapping[str, Callable[[Any], str]]] = {
    "agents": lambda number: count_text(number, "agent"),
    "after colon": lambda text: text and f": {text}",
    "as sentence": lambda text: text if text.endswith((".", "!", "?")) else f"{text}.",
    "cycles": lambda number: count_text(number, "cycle"),
    "dropped": lambda number: (
        (number and f"; {count_text(number, 'older cycle')} did not fit into memory and cannot be looked up any more")
        or ""
    ),
    "log lines": lambda number: "1 log line was" if number == 1 else f"{number} log lines were",
    "more": lambda number: f" and {number} more" if number else "",
    "percents": lambda shares: ", ".join(f"{agent} {share:.1%}" for agent, share in shares.items()),
    "ratio": ratio_text,
    "shares": lambda shares: (
        "{" + ", ".join(f"{agent!r}: {ratio_text(share)}" for agent, share in shares.items()) + "}"
    ),
    "reserve": lambda share: f"; the bounds leave {ratio_text(share)} in reserve" if share > 0 else "",
}
"""How a sentence shows a field that is more than a formatted number: ``{agents:agents}`` is ``1 agent``."""


class _Event(NamedTuple):
    level: str
    sentence: str
    when: str
    more_fields: tuple[str, ...] = ()


@unique
class LogEvent(Enum):
    """Each event that is logged."""

    # start and end
    STARTING = _Event("info", "Starting Capital Governor Intelligence @ {at}", "`run` starts")
    CONFIG = _Event(
        "info",
        "Config: min_alloc={min_alloc:ratio}, max_alloc={max_alloc:ratio}, threshold={threshold:ratio}",
        "`run` starts",
    )
    TELEGRAM_ON = _Event("info", "Telegram is set up: moves and alerts are sent", "`run` starts")
    TELEGRAM_DRY_RUN = _Event("info", "Telegram is set up: a dry run sends nothing", "`run --dry-run` starts")
    TELEGRAM_OFF = _Event("info", "Telegram is not set up: no notifications are sent", "`run` starts")
    START_FOUND = _Event(
        "info",
        "Start: {found}",
        "a start has found what it goes on from: nothing, resumed, adopted or abandoned shares",
    )
    PRIMARY_NOT_ADOPTED = _Event(
        "warning",
        "{path} was not adopted ({problem}): {instead} takes its place",
        "a start finds a primary file that is not the journal's and cannot be adopted",
    )
    PRIMARY_KEPT = _Event("warning", "{path} is kept as {copy}", "a primary file that was not adopted has been copied")
    PRIMARY_NOT_KEPT = _Event(
        "warning",
        "{path} could not be kept as {copy}: {problem}",
        "a primary file that was not adopted could not be copied",
    )
    LEFTOVERS_STAY = _Event("warning", "{problem}", "a start cannot delete leftover temporary files")
    MOVE_TAKEN_BACK = _Event(
        "warning", "{message}", "a start gives up a move that the operator was told of", ("generation",)
    )
    MOVE_GIVEN_UP = _Event(
        "warning",
        "Generation {generation} is given up: a pause began before the agents could see it",
        "a pause begins while a move is not in the primary file yet",
    )
    STOPPED = _Event("info", "Capital Governor stopped", "a signal ends `run`")

    # the payload
    METRICS_FETCHED = _Event("info", "Meta-metrics fetched successfully", "a usable payload has come")
    DEGRADED = _Event(
        "error",
        "Entering degraded mode: no usable meta-metrics in {cycles} cycles in a row",
        "10 cycles in a row had no usable payload",
    )
    RECOVERED = _Event(
        "info",
        "Recovered from degraded mode after {cycles} cycles without usable meta-metrics",
        "the first usable payload comes after that",
    )
    RECOVERED_AFTER_RESTART = _Event(
        "info",
        "Recovered from degraded mode",
        "the first usable payload comes, and an earlier process had entered degraded mode",
    )
    PAYLOAD_ODD = _Event("warning", "{problem}", "a usable payload has a fault of form; once a day")

    # the fleet
    FLEET_RANGE = _Event(
        "info",
        "With {agents:agents} within {min_alloc:ratio} and {max_alloc:ratio}, scores can move a weight between"
        " {lowest:.4f} and {highest:.4f}{forced_reserve:reserve}",
        "the fleet's size changes",
    )
    FLEET_FROZEN = _Event(
        "warning",
        "With {agents:agents} within {min_alloc:ratio} and {max_alloc:ratio}, scores can move a weight between"
        " {lowest:.4f} and {highest:.4f}{forced_reserve:reserve}; that is less than any threshold, so scores alone"
        " never move anything: {remedy}",
        "the fleet's size changes, and scores can no longer move a share far enough",
    )
    AGENT_SCORED = _Event(
        "info",
        "{agent}: score={score:.4f} (PnL={pnl_7d:.2f}, Sharpe={sharpe_30d:.3f}, WR={winrate_30d:.3f})",
        "a cycle decides: one line for each member, at most 20",
    )
    SCORES_LEFT_OUT = _Event(
        "info", "... and {left_out} more scores: `explain AGENT` has each", "a cycle decides for more than 20 members"
    )
    AGENT_UNWELL = _Event("warning", "{agent}: {problem}", "an agent's record becomes faulty or missing")
    AGENT_WELL = _Event("info", "{agent}: no longer faulty or absent", "the agent's record is good again")
    AGENT_LEFT = _Event(
        "info", "{agent}: no longer in the payload", "the agent with the faulty record has left the payload"
    )
    AGENTS_LAPSED = _Event(
        "warning",
        "Lapsed, no record in more than {cycles} decided cycles: {shares:percents}{more:more}. Their shares are 0:"
        " {withheld:.1%} of all capital is withheld in the reserve and goes to nobody. Ends with: {ends_with}",
        "agents lapse; again each day while one is lapsed",
    )
    LAPSE_OVER = _Event(
        "info",
        "Lapse is over: {plan:percents}{more:more} planned, {shares:percents}{more:more} published now",
        "lapsed agents have had three good records in a row",
    )
    NONE_LAPSED = _Event(
        "info",
        "No agent is lapsed any more",
        "a lapse that was told of is over, and it is not known which agents are back, as after a lost journal",
    )
    AGENT_RETIRED = _Event(
        "warning", "{agent}: no longer a member: {cause}", "a member is retired; the next move shares out its part"
    )
    AGENTS_RELEASED = _Event(
        "warning",
        "Released, no longer members: {shares:percents}{more:more}. The next move shares this out among the others",
        "members with a part in the plan are retired",
    )
    AGENT_WITHHELD = _Event(
        "info",
        "{agent}: {withheld:.4f} of its plan {plan:.4f} is withheld: {cause}. Ends with: {ends_with}",
        "a part of an agent's plan begins to be withheld, or something else withholds it; at most 20 lines a cycle",
    )
    AGENT_RESTORED = _Event(
        "info",
        "{agent}: nothing of its plan is withheld any more",
        "nothing of an agent's plan is withheld any more; at most 20 lines a cycle",
    )
    WITHHELD_LEFT_OUT = _Event(
        "info",
        "... and {left_out} more agents: `explain AGENT` says what is withheld from each",
        "this changes for more than 20 agents in a cycle",
    )

    # the decision
    MULTIPLIER_APPLIED = _Event(
        "info",
        "Applied risk multiplier: {value:.2f} ({multiplier}, {origin})",
        "a cycle decides and exposure is below 1: its value and what set it",
    )
    MOVE_MADE = _Event(
        "info",
        "{message}{evidence:after colon}",
        "a move, a cut or a restore is in the primary file: its reason",
        ("reason", "generation"),
    )
    OLD_SHARES = _Event(
        "info",
        "Old: {shares:shares}{more:more}",
        "a move, a cut or a restore is in the primary file: the shares before, the 50 largest",
        ("generation",),
    )
    NEW_SHARES = _Event(
        "info",
        "New: {shares:shares}{more:more}",
        "a move, a cut or a restore is in the primary file: the shares after, the 50 largest",
        ("generation",),
    )
    WITHHELD = _Event(
        "info",
        "Withheld: {shares:shares}{more:more}",
        "a publication is in the primary file and something is withheld: from whom, the 50 largest",
        ("generation",),
    )
    MOVE_WAITS = _Event(
        "warning",
        WAITING[0].upper() + WAITING[1:] + ": agents have {agents_have}",
        "a move is decided and the files cannot be written",
    )
    MOVE_SAVED = _Event(
        "info",
        "Allocations saved: {shares:shares}{more:more} (generation {generation})",
        "the primary file has been written, or written again",
    )
    NO_MOVE = _Event(
        "info", "{message}{nearest:after colon}", "a cycle decides and nothing moves: the largest change", ("reason",)
    )
    HOLD_BEGAN = _Event(
        "warning",
        "{message}: {detail:as sentence} Ends with: {ends_with}",
        "a hold begins; while it lasts, at DEBUG",
        ("reason",),
    )
    AGENTS_HOLD_BEGAN = _Event(
        "warning",
        "{message}: {detail:as sentence} Without a good record: {shares:percents}{more:more}, in all {total:.1%} of all"
        " capital. {then} Ends with: {ends_with}",
        "a hold because of the agents begins, and again each day; while it lasts, at DEBUG",
        ("reason",),
    )
    GATE_REFUSED = _Event(
        "error", "{message}", "the gate begins to refuse proposals; while that lasts, at DEBUG", ("reason",)
    )
    HOLD_OVER = _Event(
        "info",
        "Hold is over: {reason}",
        "nothing holds any more: the last hold, and each one that the operator was told of",
    )

    # the operator's orders
    ORDER_BEGAN = _Event("info", "Operator's order: {order}", "a limit or a ceiling on exposure comes into force")
    ORDER_OVER = _Event(
        "info", "Operator's order is over: {order}", "a limit or a ceiling on exposure is no longer in force"
    )
    ORDER_USED = _Event("info", "Operator's order used: {order}: {detail}", "an accept or a release has been used")
    ORDER_ENDED = _Event(
        "warning", "Operator's order {end}: {order}: {detail}", "an accept or a release ends without having been used"
    )

    # files and journal
    FILES_UNWRITABLE = _Event("error", "{problem}", "an allocation file can no longer be written")
    FILES_WRITABLE = _Event(
        "info", "Both allocation files can be written again", "both allocation files can be written again"
    )
    FILES_INCOMPLETE = _Event(
        "warning",
        "{problem}",
        "a file was written, but its mode, its owner or its safety in a power loss could not be kept",
    )
    FILES_COMPLETE = _Event(
        "info", "The allocation files were written with nothing lost", "the files were written again with all of that"
    )
    OVERRIDE_RIVAL = _Event(
        "warning",
        "Another writer ({writer}) changes the override file; {then}",
        "another program begins to write the override file",
    )
    OVERRIDE_QUIET = _Event(
        "info",
        "Nobody else has written the override file for {seconds:.0f} s",
        "no other program has written it for that time",
    )
    STATUS_UNWRITABLE = _Event("error", "{problem}", "the status file can no longer be written")
    STATUS_WRITABLE = _Event("info", "The status file can be written again", "the status file can be written again")
    STATUS_FAILED = _Event("exception", "The status file could not be made", "the program has a fault")
    JOURNAL_LOST = _Event(
        "error", "Journal cannot be written, memory takes over: {problem}", "the journal can no longer be written"
    )
    JOURNAL_RESTORED = _Event(
        "info",
        "Journal can be written again: {cycles:cycles} written back{dropped:dropped}",
        "the journal can be written again",
    )
    JOURNAL_CONFLICT = _Event(
        "error",
        "Journal conflict: {problem}",
        "another program, such as a second governor, has written to the journal",
    )
    JOURNAL_WRITABLE = _Event(
        "info", "Journal can be written again", "the journal can be written, and an earlier process had lost it"
    )

    # messages and signs of life
    NOTICE_SENT = _Event("info", "Telegram notification sent", "a message was delivered")
    NOTICE_DELAYED = _Event(
        "warning",
        "Telegram notification delayed, trying again in {seconds:.0f} s: {problem}",
        "a message could not be delivered yet; once for each cause",
    )
    NOTICE_REFUSED = _Event(
        "error",
        "Telegram refuses a notification for good, `status` shows it: {problem}",
        "a message will never be delivered",
    )
    CHAT_MOVED = _Event("warning", "Telegram: {problem}", "the group has another chat id than the settings")
    NOTICES_FAILED = _Event(
        "exception",
        "What is to be told by message could not be put down",
        "the journal cannot store a message, or the program has a fault",
    )
    OUTBOX_FAILED = _Event(
        "exception", "Unexpected error in the outbox, going on in {seconds:.0f} s", "the program has a fault"
    )
    HEARTBEAT_FAILED = _Event("warning", "Heartbeat failed: {problem}", "heartbeats begin to fail")
    HEARTBEAT_SUCCEEDS = _Event("info", "Heartbeat succeeds again", "heartbeats succeed again")
    WATCHDOG_SHORT = _Event(
        "warning",
        "systemd's watchdog allows {allowed_seconds:g} s between cycles, INTERVAL is {interval_seconds:g} s: set"
        " WatchdogSec to several intervals",
        "systemd's watchdog is too short for the interval",
    )
    SYSTEMD_UNREACHABLE = _Event("warning", "{problem}", "systemd cannot be told of a cycle; once for each cause")

    # settings
    SETTING_CHANGED = _Event(
        "info", "Setting changed: {change}", "SIGHUP has come: one line for each setting that differs"
    )
    SETTINGS_SAME = _Event(
        "info",
        "Settings reloaded: none has changed (a variable of the process's environment beats .env)",
        "SIGHUP has come and no setting differs",
    )
    SETTINGS_REFUSED = _Event(
        "error", "Settings not reloaded, the old ones stay: {problem}", "SIGHUP has come and a new setting is wrong"
    )
    SETTINGS_FAILED = _Event(
        "exception", "Settings not reloaded, the old ones stay", "SIGHUP has come and the program has a fault"
    )
    SETTINGS_UNRECORDED = _Event(
        "warning",
        "It could not be recorded which settings are in force, so `status` and `reload` cannot tell: {problem}",
        "`run` starts or SIGHUP has come, and the file with the settings in force cannot be written",
    )
    SETTINGS_WAIT = _Event(
        "warning",
        "The new settings wait until the journal can be written again",
        "SIGHUP has come while the journal cannot be written",
    )
    NO_PROXY_IGNORED = _Event(
        "warning",
        "{variable}: '{entry}' is no host, address or network, and is ignored; write it as example.com, 10.0.0.0/8 or"
        " fd00::/8",
        "an entry of NO_PROXY cannot be read",
    )

    # faults of the program
    CYCLE_FAILED = _Event("exception", "{message}: {problem}", "an unexpected error ends a cycle")
    CYCLES_SUCCEED = _Event(
        "info", "Cycles end without an unexpected error again", "a cycle ends without an unexpected error again"
    )
    PROGRAM_FAILED = _Event("critical", "Unexpected error, ending", "an unexpected error ends the program")
    THREAD_FAILED = _Event(
        "critical", "Unexpected error, ending the thread {thread}", "an unexpected error ends a thread"
    )
    EXCEPTION_IGNORED = _Event(
        "error", "{where}", "an unexpected error comes where Python cannot raise it, such as in a destructor"
    )
    LOG_LINES_LOST = _Event(
        "warning", "{count:log lines} lost: {problem}", "lines can be written again after some could not"
    )

    @property
    def level(self) -> str:
        """A method name of the logger; "exception" is an error with the traceback of what is being handled."""
        return self.value.level

    @property
    def sentence(self) -> str:
        """What the console shows, with the fields in braces; some are put in words, see ``IN_WORDS``."""
        return self.value.sentence

    @property
    def when(self) -> str:
        """When it is logged: a clause that goes on after "when", for the manual."""
        return self.value.when

    @property
    def key(self) -> str:
        """The name in the log: ``move_saved``."""
        return self.name.lower()

    @property
    def fields(self) -> tuple[str, ...]:
        """What it is logged with."""
        shown = (match[1] for match in _PLACEHOLDER.finditer(self.sentence))
        return tuple(dict.fromkeys((*shown, *self.value.more_fields)))

    def line(self, **fields: object) -> Line:
        """Return a line with these fields."""
        return Line(self, fields)

    def text(self, fields: Mapping[str, Any]) -> str:
        """Return the sentence with these fields. Raises KeyError if one is missing."""
        return "".join(
            part if isinstance(part, str) else _shown(fields[part[0]], part[1]) for part in _parts(self.sentence)
        )


@cache
def _parts(sentence: str) -> tuple[str | tuple[str, str], ...]:
    """Split a sentence into texts and pairs of a field's name and format."""
    parts: list[str | tuple[str, str]] = []
    end = 0
    for match in _PLACEHOLDER.finditer(sentence):
        parts += [sentence[end : match.start()], (match[1], match[2] or "")]
        end = match.end()
    return (*parts, sentence[end:])


def _shown(value: object, how: str) -> str:
    in_words = IN_WORDS.get(how)
    return format(value, how) if in_words is None else in_words(value)


_BY_KEY: Final = {event.key: event for event in LogEvent}


def log_text(key: str, fields: Mapping[str, Any]) -> str | None:
    """Return the sentence of the event with this name; None if there is none. Raises KeyError for a missing field."""
    event = _BY_KEY.get(key)
    return None if event is None else event.text(fields)


@dataclass(frozen=True, slots=True)
class Line:
    """One log line: an event with its fields.

    A ``repeated`` line was logged in an earlier cycle, and is logged at DEBUG.
    """

    event: LogEvent
    fields: Mapping[str, object]
    repeated: bool = False

    @property
    def level(self) -> str:
        """The logger's method, such as ``warning``."""
        return "debug" if self.repeated else self.event.level

    @property
    def text(self) -> str:
        """The sentence."""
        return self.event.text(self.fields)
