"""Outcomes -> the log, saying each thing once: a hold when its reason changes, an episode at its start and end."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

from capital_governor.adapters.file_convergence import Convergence, FileOutcome
from capital_governor.core.fleet_range import leeway
from capital_governor.core.model import DAY_SECONDS, Agent, Rules, Snapshot
from capital_governor.core.orders import Order, OrderEnd, OrderKind
from capital_governor.core.reason import AGENT_HOLDS, GATE_REFUSALS, Reason
from capital_governor.service.standing import Outcome
from capital_governor.wording.messages import (
    MESSAGES,
    Announcement,
    Line,
    announcement_lines,
    decided_lines,
    hold_line,
    leeway_line,
    message,
    shares_text,
    unwell_texts,
    waiting_line,
)

DEGRADED_AFTER: Final = 10
"""Cycles in a row without a usable payload."""


QUIET_SECONDS: Final = 600.0
"""Without a word from a rival writer for so long, its episode is over."""


ALERTED_HOLDS: Final = (
    AGENT_HOLDS | GATE_REFUSALS | {Reason.PAUSED, Reason.OPERATOR_HOLD, Reason.GUARDIAN_LOST, Reason.TIMESTAMP_LOST}
)
"""Holds that the operator is told of when they begin; of files that cannot be written the report tells apart."""


class Report:
    """Tells the log what happened, and marks as alerts the lines that the operator should be told of.

    Args:
        say: where each line goes.
        rules: for thresholds and limits in the text.
        told: the topics of the episodes of which an earlier process has told the operator; see ``NoticeStore``.
    """

    def __init__(self, say: Callable[[Line], object], rules: Rules, told: Iterable[str] = ()) -> None:
        self._say = say
        self._rules = rules
        self._hold: Reason | None = None
        self._failures = 0
        self._fleet: int | None = None
        self._unwell: set[Agent] = set()
        self._episodes: dict[str, str] = {}
        self._warned: dict[str, float] = {}
        self._rival_at: float | None = None
        self._told = set(told)
        self._broken = False
        self._limits: dict[str, Order] = {}

    def cycle(self, outcome: Outcome) -> None:
        """Tell of one completed cycle."""
        decision, payload = outcome.decision, outcome.inputs.payload
        if outcome.fetched:
            self._say(Line("info", "Meta-metrics fetched successfully"))
        self._count_failures(fetched=outcome.fetched)
        hold = None if decision.trace.hold is None else decision.trace.hold.reason
        if decision.reason in GATE_REFUSALS:
            hold = decision.reason
        late = [told for told in outcome.announcements if told.publication is not decision.proposal]
        for told in late:  # decided in an earlier cycle
            self._say_all(announcement_lines(told, self._rules))
        self._tell_orders(outcome)
        self._tell_hold(hold, hold_line(decision, self._rules))
        if isinstance(payload, Snapshot) and outcome.fetched:
            self._tell_daily(decision.trace.warnings, outcome.inputs.now)
            if decision.trace.hold is None or decision.trace.hold.reason in AGENT_HOLDS:
                # No other hold calls the roll: who is missing or faulty, and who no longer is, it does not say.
                self._tell_unwell(unwell_texts(decision, payload), payload, decision.trace.retired)
        if decision.trace.limits:
            self._tell_fleet(len(decision.trace.limits))
        if decision.trace.hold is None or decision.proposal is not None:
            self._say_all(decided_lines(decision, self._rules))
        self._tell_move(outcome, outcome.announcements[len(late) :])
        self._tell_files(outcome)
        if self._broken or "internal_error" in self._told:
            text = "Cycles end without an unexpected error again"
            self._say(Line("info", text, self._end("internal_error"), over=True))
            self._broken = False

    def _tell_move(self, outcome: Outcome, announcements: Iterable[Announcement]) -> None:
        """Tell of the move or cut that this cycle decided, or that it waits."""
        for told in announcements:
            self._say_all(announcement_lines(told, self._rules))
        proposed = outcome.decision.proposal
        if proposed is not None and outcome.waiting is proposed:
            self._say(waiting_line(proposed, outcome.visible))

    def _say_all(self, lines: Iterable[Line]) -> None:
        for line in lines:
            self._say(line)

    def broken(self, error: str) -> None:
        """Tell of a cycle that an unexpected error ended, while that is being handled; the operator once an episode."""
        text = f"{MESSAGES[Reason.INTERNAL_ERROR]}: {error}"
        self._say(Line("exception", text, self._begin("internal_error")))
        self._broken = True

    def episode(self, topic: str, problem: str, over: str, *, level: str = "error", alert: bool = False) -> None:
        """Tell of a lasting problem once when it begins or changes, and once when it is over (``problem`` empty).

        With ``alert`` the operator is told of the beginning and of the end, and of an end also where an earlier process
        told of the beginning.
        """
        before = self._episodes.get(topic, "")
        if problem and problem != before:
            self._say(Line(level, problem, self._begin(topic) if alert else ""))
            self._episodes[topic] = problem
        elif not problem and (before or topic in self._told):
            self._say(Line("info", over, self._end(topic), over=True))
            self._episodes.pop(topic, None)

    def _begin(self, topic: str) -> str:
        """Return the topic as that of an alert, or nothing if the operator knows."""
        if topic in self._told:
            return ""
        self._told.add(topic)
        return topic

    def _end(self, topic: str) -> str:
        """Return the topic as that of an alert, or nothing if the operator never knew."""
        if topic not in self._told:
            return ""
        self._told.remove(topic)
        return topic

    def _count_failures(self, *, fetched: bool) -> None:
        failures, self._failures = self._failures, 0 if fetched else self._failures + 1
        if fetched and (failures >= DEGRADED_AFTER or "degraded" in self._told):
            since = f" after {failures} cycles without usable meta-metrics" if failures >= DEGRADED_AFTER else ""
            self._say(Line("info", f"Recovered from degraded mode{since}", self._end("degraded"), over=True))
        if self._failures == DEGRADED_AFTER:
            text = f"Entering degraded mode: no usable meta-metrics in {DEGRADED_AFTER} cycles in a row"
            self._say(Line("error", text, self._begin("degraded")))

    def _tell_hold(self, hold: Reason | None, line: Line) -> None:
        """Tell of a hold when its reason changes; the operator once for each reason until nothing holds any more."""
        if hold is None:
            known = [reason for reason in ALERTED_HOLDS if reason.value in self._told]
            if self._hold is not None and self._hold not in known:
                known.append(self._hold)
            for reason in sorted(known):
                self._say(Line("info", f"Hold is over: {reason.value}", self._end(reason.value), over=True))
        else:
            topic = self._begin(hold.value) if hold in ALERTED_HOLDS else ""
            level = line.level if hold is not self._hold or topic else "debug"
            self._say(Line(level, line.text, topic))
        self._hold = hold

    def _tell_orders(self, outcome: Outcome) -> None:
        """Tell of each limit when it begins and when it is over, and of what became of an accept."""
        limits = {order.key: order for order in outcome.orders if order.kind is OrderKind.LIMIT}
        for key in self._limits.keys() - limits.keys():
            self._say(Line("info", f"Operator's order is over: {self._limits[key].text}"))
        for key in limits.keys() - self._limits.keys():
            self._say(Line("info", f"Operator's order: {limits[key].text}"))
        self._limits = limits
        for order in outcome.settled:
            level = "info" if order.end is OrderEnd.USED else "warning"
            what = order.end.value if order.end is not None else "over"
            self._say(Line(level, f"Operator's order {what}: {order.text}: {order.end_detail}"))

    def _tell_daily(self, warnings: Iterable[str], now: float) -> None:
        """Tell each warning once a day: it stands in each payload."""
        for warning in warnings:
            if now - self._warned.get(warning, -DAY_SECONDS) >= DAY_SECONDS:
                self._say(Line("warning", warning))
                self._warned[warning] = now
        if self._warned and min(self._warned.values()) < now - DAY_SECONDS:
            self._warned = {text: at for text, at in self._warned.items() if at > now - DAY_SECONDS}

    def _tell_unwell(self, texts: Mapping[Agent, str], payload: Snapshot, retired: Collection[Agent]) -> None:
        """Tell of each agent once when it becomes faulty or absent, and once when it no longer is.

        That a member was retired is told as such; a stranger with a faulty record may be gone with it.
        """
        for agent in sorted(texts.keys() - self._unwell):
            self._say(Line("warning", f"{agent}: {texts[agent]}"))
        for agent in sorted(self._unwell - texts.keys() - set(retired)):
            over = "no longer faulty or absent" if agent in payload.metrics else "no longer in the payload"
            self._say(Line("info", f"{agent}: {over}"))
        self._unwell = set(texts)

    def _tell_fleet(self, agents: int) -> None:
        if agents != self._fleet:
            self._say(leeway_line(leeway(agents, self._rules), self._rules))
            self._fleet = agents

    def _tell_files(self, outcome: Outcome) -> None:
        self.episode("status", outcome.status_problem, "The status file can be written again")
        convergence, visible, hold = outcome.convergence, outcome.visible, outcome.decision.trace.hold
        problem = outcome.files_problem
        if not problem and hold is not None and hold.reason is Reason.FILES_UNWRITABLE:
            problem = message(hold.reason, self._rules) + f": {hold.detail}"
        if problem or (convergence is not None and not outcome.was_stopped):
            self.episode("files", problem, "Both allocation files can be written again", alert=True)
        if convergence is not None and FileOutcome.WRITTEN in {
            convergence.primary.outcome,
            convergence.override.outcome,
        }:
            over = "The allocation files were written with nothing lost"
            self.episode("kept", convergence.warning, over, level="warning")
        if convergence is None or visible is None:
            return
        if convergence.primary.outcome is FileOutcome.WRITTEN:
            self._say(
                Line("info", f"Allocations saved: {shares_text(visible.shares)} (generation {visible.generation})")
            )
        self._tell_rival(convergence, outcome.inputs.now)

    def _tell_rival(self, convergence: Convergence, now: float) -> None:
        """Tell of another writer once, and again only after a quiet time: it may write every few seconds."""
        if convergence.rival:
            did = "rewritten" if convergence.override.outcome is FileOutcome.WRITTEN else "left as it is"
            problem = f"Another writer ({convergence.found or 'no source'}) changes the override file; {did}"
            self.episode("rival", self._episodes.get("rival", problem), "", level="warning", alert=True)
        if convergence.rival or self._rival_at is None:
            self._rival_at = now
        elif now - self._rival_at >= QUIET_SECONDS:
            self.episode("rival", "", f"Nobody else has written the override file for {QUIET_SECONDS:.0f} s")
