"""Outcomes -> log lines, each once: a hold when its reason changes, a lasting problem at its beginning and end."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from capital_governor.adapters.file_convergence import Convergence, FileOutcome
from capital_governor.adapters.logs import Logger
from capital_governor.core.fleet_range import fleet_range
from capital_governor.core.model import DAY_SECONDS, Agent, Rules, Snapshot
from capital_governor.core.orders import Order, OrderEnd, OrderKind
from capital_governor.core.reason import AGENT_HOLDS, GATE_REFUSALS, Reason
from capital_governor.service.alerts import ERROR, QUIET_SECONDS, RIVAL
from capital_governor.service.lapses import is_due
from capital_governor.service.open_episodes import FILES, METRICS
from capital_governor.service.standing import Outcome
from capital_governor.wording.log_events import Line, LogEvent
from capital_governor.wording.log_lines import (
    announcement_lines,
    decided_lines,
    fleet_range_line,
    hold_line,
    retired_lines,
    shown_shares,
    unwell_texts,
    waiting_line,
    withheld_lines,
)
from capital_governor.wording.reason_texts import MESSAGES, Announcement, message
from capital_governor.wording.withheld_texts import causes_after

DEGRADED_AFTER: Final = 10
"""So many cycles in a row without a usable payload are logged as degraded mode."""


LASTING_HOLDS: Final = (
    AGENT_HOLDS | GATE_REFUSALS | {Reason.PAUSED, Reason.OPERATOR_HOLD, Reason.GUARDIAN_LOST, Reason.TIMESTAMP_LOST}
)
"""Holds whose end is logged though others came between, or a restart."""


def write_line(log: Logger, line: Line) -> None:
    """Log a line by the name of its event and its fields."""
    getattr(log, line.level)(line.event.key, **line.fields)


class EventLog:
    """Makes the log lines of each cycle.

    Args:
        say: takes each line.
        rules: for thresholds and limits in the text.
        told: the open episodes of which an earlier process has sent an alert, by topic, and when: their end is logged.
        interval_seconds: between cycles, for times in the text; None: they are told in cycles only.
    """

    def __init__(
        self,
        say: Callable[[Line], object],
        rules: Rules,
        told: Mapping[str, float] = MappingProxyType({}),
        *,
        interval_seconds: float | None = None,
    ) -> None:
        self._say = say
        self._rules = rules
        self._hold: Reason | None = None
        self._failures = 0
        self._fleet: int | None = None
        self._unwell: set[Agent] = set()
        self._episodes: dict[str, Line] = {}
        self._warned: dict[str, float] = {}
        self._rival_at: float | None = None
        self._told = set(told)
        self._broken = False
        self._orders: dict[str, Order] = {}
        self._interval_seconds = interval_seconds
        self._withheld: dict[Agent, str] = {}
        self._daily = dict(told)

    def cycle(self, outcome: Outcome) -> None:
        """Log one completed cycle."""
        decision, payload = outcome.decision, outcome.inputs.payload
        if outcome.fetched:
            self._say(LogEvent.METRICS_FETCHED.line())
        self._count_failures(fetched=outcome.fetched)
        hold = None if decision.trace.hold is None else decision.trace.hold.reason
        if decision.reason in GATE_REFUSALS:
            hold = decision.reason
        late = [told for told in outcome.announcements if told.publication is not decision.proposal]
        for told in late:  # decided in an earlier cycle
            self._announce(told)
        self._tell_orders(outcome)
        now = outcome.inputs.now
        line = hold_line(
            decision, self._rules, visible=outcome.visible, now=now, interval_seconds=self._interval_seconds
        )
        self._tell_hold(hold, line, now)
        if isinstance(payload, Snapshot) and outcome.fetched:
            self._tell_daily(decision.trace.warnings, outcome.inputs.now)
            if decision.trace.hold is None or decision.trace.hold.reason in AGENT_HOLDS:
                # Only here it is known which agents are missing or faulty: other holds come before that check.
                self._tell_unwell(unwell_texts(decision, payload), payload, decision.trace.retired)
        self._say_all(retired_lines(decision, outcome.before, self._rules))
        self._log_lapses(outcome.lapses)
        if decision.trace.limits:
            self._tell_fleet(len(decision.trace.limits))
        if decision.trace.hold is None or decision.proposal is not None:
            self._say_all(decided_lines(decision, self._rules))
        self._tell_move(outcome, outcome.announcements[len(late) :])
        if decision.trace.hold is None or decision.proposal is not None:
            self._say_all(withheld_lines(decision, self._withheld, self._rules))
            self._withheld = causes_after(decision.trace, self._withheld)
        self._tell_files(outcome)
        if self._broken or ERROR in self._told:
            self._say(LogEvent.CYCLES_SUCCEED.line())
            self._told.discard(ERROR)
            self._broken = False

    def _tell_move(self, outcome: Outcome, announcements: Iterable[Announcement]) -> None:
        """Log the move, cut or restore that this cycle decided, or that the agents cannot see it yet."""
        for told in announcements:
            self._announce(told)
        proposed = outcome.decision.proposal
        if proposed is not None and outcome.waiting is proposed:
            self._say(waiting_line(proposed, outcome.visible))

    def _announce(self, told: Announcement) -> None:
        self._say_all(announcement_lines(told, self._rules))
        self._log_lapses(told.lapses)

    def _log_lapses(self, lines: Iterable[Line]) -> None:
        self._say_all(lines)

    def _say_all(self, lines: Iterable[Line]) -> None:
        for line in lines:
            self._say(line)

    def broken(self, error: str, *, conflict: bool = False) -> None:
        """Log a cycle that an error ended, from its ``except`` block.

        With ``conflict`` it was ended because another program has written to the journal.
        """
        if conflict:
            line = LogEvent.JOURNAL_CONFLICT.line(problem=error)
        else:
            line = LogEvent.CYCLE_FAILED.line(message=MESSAGES[Reason.INTERNAL_ERROR], problem=error)
        self._say(line)
        self._broken = True

    def episode(self, topic: str, problem: Line | None, over: Line) -> None:
        """Log a lasting problem once when it begins or changes, and once when it is over (``problem`` is None).

        The end is also logged if an earlier process has told the beginning to the operator.
        """
        before = self._episodes.get(topic)
        if problem is not None and problem != before:
            self._say(problem)
            self._episodes[topic] = problem
        elif problem is None and (before is not None or topic in self._told):
            self._say(over)
            self._told.discard(topic)
            self._episodes.pop(topic, None)

    def status_file(self, problem: str) -> None:
        """Log that the status file cannot be written, and when it can be again (``problem`` is empty)."""
        begun = LogEvent.STATUS_UNWRITABLE.line(problem=problem) if problem else None
        self.episode("status", begun, LogEvent.STATUS_WRITABLE.line())

    def _count_failures(self, *, fetched: bool) -> None:
        failures, self._failures = self._failures, 0 if fetched else self._failures + 1
        if fetched and (failures >= DEGRADED_AFTER or METRICS in self._told):
            entered_here = failures >= DEGRADED_AFTER
            line = LogEvent.RECOVERED.line(cycles=failures) if entered_here else LogEvent.RECOVERED_AFTER_RESTART.line()
            self._say(line)
            self._told.discard(METRICS)
        if self._failures == DEGRADED_AFTER:
            self._say(LogEvent.DEGRADED.line(cycles=DEGRADED_AFTER))

    def _tell_hold(self, hold: Reason | None, line: Line, now: float) -> None:
        """Log a hold when its reason changes, and its end once no hold is left; daily a hold because of the agents."""
        if hold is None:
            known = [reason for reason in LASTING_HOLDS if reason.value in self._told]
            if self._hold is not None and self._hold not in known:
                known.append(self._hold)
            for reason in sorted(known):
                self._say(LogEvent.HOLD_OVER.line(reason=reason.value))
                self._told.discard(reason.value)
        else:
            is_new = hold is not self._hold
            if hold in AGENT_HOLDS and (hold.value not in self._told or is_due(now, self._daily[hold.value])):
                self._daily[hold.value], is_new = now, True
            if hold in LASTING_HOLDS:
                self._told.add(hold.value)
            self._say(replace(line, repeated=not is_new))
        self._hold = hold

    def _tell_orders(self, outcome: Outcome) -> None:
        """Log the beginning and end of each limit and ceiling, and whether an accept or a release was used."""
        kinds = {OrderKind.LIMIT, OrderKind.EXPOSURE}
        orders = {order.key: order for order in outcome.orders if order.kind in kinds}
        for key in self._orders.keys() - orders.keys():
            self._say(LogEvent.ORDER_OVER.line(order=self._orders[key].text))
        for key in orders.keys() - self._orders.keys():
            self._say(LogEvent.ORDER_BEGAN.line(order=orders[key].text))
        self._orders = orders
        for order in outcome.ended_orders:
            if order.end is OrderEnd.USED:
                self._say(LogEvent.ORDER_USED.line(order=order.text, detail=order.end_detail))
            else:
                end = "over" if order.end is None else order.end.value
                self._say(LogEvent.ORDER_ENDED.line(end=end, order=order.text, detail=order.end_detail))

    def _tell_daily(self, warnings: Iterable[str], now: float) -> None:
        """Log each warning once a day, since each payload repeats it."""
        for warning in warnings:
            if now - self._warned.get(warning, -DAY_SECONDS) >= DAY_SECONDS:
                self._say(LogEvent.PAYLOAD_ODD.line(problem=warning))
                self._warned[warning] = now
        if self._warned and min(self._warned.values()) < now - DAY_SECONDS:
            self._warned = {text: at for text, at in self._warned.items() if at > now - DAY_SECONDS}

    def _tell_unwell(self, texts: Mapping[Agent, str], payload: Snapshot, retired: Collection[Agent]) -> None:
        """Log each agent once when it becomes faulty or absent, and once when it no longer is.

        A retired member has its own line. An agent that is no member and had a faulty record may just have left.
        """
        for agent in sorted(texts.keys() - self._unwell):
            self._say(LogEvent.AGENT_UNWELL.line(agent=agent, problem=texts[agent]))
        for agent in sorted(self._unwell - texts.keys() - set(retired)):
            is_here = agent in payload.metrics
            self._say(LogEvent.AGENT_WELL.line(agent=agent) if is_here else LogEvent.AGENT_LEFT.line(agent=agent))
        self._unwell = set(texts)

    def _tell_fleet(self, agents: int) -> None:
        if agents != self._fleet:
            self._say(fleet_range_line(fleet_range(agents, self._rules), self._rules))
            self._fleet = agents

    def _tell_files(self, outcome: Outcome) -> None:
        self.status_file(outcome.status_problem)
        convergence, visible, hold = outcome.convergence, outcome.visible, outcome.decision.trace.hold
        problem = outcome.files_problem
        if not problem and hold is not None and hold.reason is Reason.FILES_UNWRITABLE:
            problem = message(hold.reason, self._rules) + f": {hold.detail}"
        if problem or (convergence is not None and not outcome.was_stopped):
            begun = LogEvent.FILES_UNWRITABLE.line(problem=problem) if problem else None
            self.episode(FILES, begun, LogEvent.FILES_WRITABLE.line())
        if convergence is not None and FileOutcome.WRITTEN in {
            convergence.primary.outcome,
            convergence.override.outcome,
        }:
            lacks = convergence.warning
            begun = LogEvent.FILES_INCOMPLETE.line(problem=lacks) if lacks else None
            self.episode("kept", begun, LogEvent.FILES_COMPLETE.line())
        if convergence is None or visible is None:
            return
        if convergence.primary.outcome is FileOutcome.WRITTEN:
            shares, more = shown_shares(visible.shares)
            self._say(LogEvent.MOVE_SAVED.line(shares=shares, more=more, generation=visible.generation))
        self._tell_rival(convergence, outcome.inputs.now)

    def _tell_rival(self, convergence: Convergence, now: float) -> None:
        """Log another writer of the override once, and again only after a quiet time: it may write often."""
        quiet = LogEvent.OVERRIDE_QUIET.line(seconds=QUIET_SECONDS)
        if convergence.rival:
            then = "rewritten" if convergence.override.outcome is FileOutcome.WRITTEN else "left as it is"
            problem = LogEvent.OVERRIDE_RIVAL.line(writer=convergence.found or "no source", then=then)
            self.episode(RIVAL, self._episodes.get(RIVAL, problem), quiet)
        if convergence.rival or self._rival_at is None:
            self._rival_at = now
        elif now - self._rival_at >= QUIET_SECONDS:
            self.episode(RIVAL, None, quiet)
