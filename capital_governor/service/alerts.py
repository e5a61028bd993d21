"""Outcomes -> alerts to the operator: each episode at its beginning and its end, also over restarts.

An episode has a topic. The journal knows which are open, so that a new process does not tell one again, and tells its
end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from capital_governor.core.model import Agent, Publication, Refusal, Snapshot
from capital_governor.core.reason import AGENT_HOLDS, GATE_REFUSALS, Reason
from capital_governor.service.lapses import is_due
from capital_governor.service.open_episodes import AGENTS, FILES, METRICS, NONE_OPEN, OpenEpisodes
from capital_governor.service.sender import sender_of
from capital_governor.service.standing import Outcome
from capital_governor.settings.load import Settings
from capital_governor.wording import agent_alerts, fault_alerts
from capital_governor.wording.hold_alerts import SeenCycle, hold_begins, hold_over
from capital_governor.wording.message_form import BEGINS, OVER

RIVAL: Final = "rival"
JOURNAL: Final = "journal"
ERROR: Final = "internal_error"

QUIET_SECONDS: Final = 600.0
"""After so long without a write of another program, that problem counts as over."""

_WATCHED: Final = (
    Reason.STOPPED,
    Reason.PAUSED,
    Reason.OPERATOR_HOLD,
    Reason.GUARDIAN_LOST,
    Reason.TIMESTAMP_LOST,
    *sorted(AGENT_HOLDS),
)
"""Holds with a message of their own; lost metrics and unwritable files have theirs below."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One message: that the episode of this topic begins, goes on, or is ``over``; ``at`` is when, since 1970 UTC."""

    topic: str
    text: str
    at: float
    over: bool = False


class Alerts:
    """Tells the operator what begins and what is over.

    Args:
        tell: takes each alert.
        settings: with rules, fleet, delays, and what is done about another writer.
        earlier: the episodes that an earlier process has seen begin.
    """

    def __init__(
        self,
        tell: Callable[[Alert], object],
        settings: Settings,
        earlier: OpenEpisodes = NONE_OPEN,
    ) -> None:
        self._tell = tell
        self._rules = settings.rules()
        self._sender = sender_of(settings)
        self._settings = settings
        told, since = earlier.told, {**earlier.told, **earlier.since}
        self._told = dict(told)
        self._since = {topic: min(at, told.get(topic, at)) for topic, at in since.items()}
        self._causes: set[str] | None = None if METRICS in told else set()
        self._agents = dict(earlier.agents_since)
        self._agents_told: set[Agent] | None = None if AGENTS in told else set()
        self._rival_at: float | None = None

    def cycle(self, outcome: Outcome) -> None:
        """Tell what one completed cycle begins or ends."""
        now = outcome.inputs.now
        self._follow_error(outcome)
        self._follow_metrics(outcome)
        for reason in _WATCHED:
            self._follow_hold(reason, _is_on(reason, outcome), outcome)
        self._follow_gate(outcome)
        self._follow_agents(outcome)
        self._follow_files(outcome)
        self._follow_rival(outcome, now)

    def broken(self, error: str, now: float, *, visible: Publication | None, conflict: bool = False) -> None:
        """Tell that an error ended a cycle; with ``conflict`` since another program has written to the journal."""
        self._since.setdefault(ERROR, now)
        if ERROR in self._told:
            return
        if conflict:
            lines = fault_alerts.journal_conflict(error, self._sender)
        else:
            lines = fault_alerts.error_begins(visible, now, self._sender)
        self._begin(ERROR, now, lines)

    def journal_lost(self, problem: str, now: float) -> None:
        """Tell that the journal cannot be written."""
        if JOURNAL not in self._told:
            self._since[JOURNAL] = now
            self._begin(JOURNAL, now, fault_alerts.journal_lost(problem, self._settings.journal_days, self._sender))

    def journal_back(self, now: float, cycles: int | None = None, dropped: int = 0) -> None:
        """Tell that the journal can be written again, if the operator was told that it could not."""
        if JOURNAL in self._told:
            self._end(JOURNAL, now, fault_alerts.journal_back(self._lasted(JOURNAL, now), cycles, dropped))

    def _delay_seconds(self, cause: str) -> float:
        """Return how long metrics are lost for this cause before it is told."""
        settings = self._settings
        return (
            60
            * {
                fault_alerts.UNREACHABLE: settings.unreachable_minutes,
                fault_alerts.ERROR: settings.error_minutes,
                fault_alerts.STALE: settings.stale_minutes,
            }[cause]
        )

    # --- episodes ---

    def _begin(self, topic: str, now: float, lines: Iterable[str]) -> None:
        self._told[topic] = now
        self._tell(Alert(topic, self._sender.message(BEGINS, now, lines), now))

    def _end(self, topic: str, now: float, lines: Iterable[str]) -> None:
        self._told.pop(topic, None)
        self._since.pop(topic, None)
        told = tuple(lines)
        asks = any(line.startswith("Act: ") for line in told)  # a tick would say that all is well
        self._tell(Alert(topic, self._sender.message(BEGINS if asks else OVER, now, told), now, over=True))

    def _lasted(self, topic: str, now: float) -> float | None:
        return now - self._since[topic] if topic in self._since else None

    def _follow_error(self, outcome: Outcome) -> None:
        now = outcome.inputs.now
        if ERROR in self._told:
            lines = fault_alerts.error_over(self._lasted(ERROR, now), outcome.decision, outcome.visible)
            self._end(ERROR, now, lines)
        self._since.pop(ERROR, None)

    def _follow_metrics(self, outcome: Outcome) -> None:
        """Tell of lost metrics once for each cause, and of their return once."""
        now, unusable = outcome.inputs.now, outcome.decision.trace.unusable
        if outcome.fetched or unusable is None:
            if METRICS in self._told:
                lines = fault_alerts.metrics_back(self._lasted(METRICS, now), outcome.decision, outcome.visible)
                self._end(METRICS, now, lines)
            self._since.pop(METRICS, None)
            self._causes = set()
            return
        began, cause = self._since.setdefault(METRICS, now), fault_alerts.metrics_cause(unusable)
        if self._causes is None:  # an earlier process told of it, and this is the likeliest cause
            self._causes = {cause}
        if cause not in self._causes and now - began >= self._delay_seconds(cause):
            self._causes.add(cause)
            payload = outcome.inputs.payload
            age = None if isinstance(payload, Refusal) or payload.at is None else now - payload.at
            lines = fault_alerts.metrics_lost(unusable, now - began, age, outcome.visible, self._sender)
            self._begin(METRICS, now, lines)

    def _follow_hold(self, reason: Reason, on: bool | None, outcome: Outcome) -> None:  # noqa: FBT001 - None: unknown
        """Tell of a hold, also behind another one, at both ends; daily of a hold because of the agents."""
        topic, now = reason.value, outcome.inputs.now
        if on:
            self._since.setdefault(topic, now)
            again = reason in AGENT_HOLDS and topic in self._told and is_due(now, self._told[topic])
            if topic not in self._told or again:
                lines = hold_begins(reason, self._seen(outcome))
                self._begin(topic, now, lines)
        elif on is False:
            if topic in self._told:
                ended = (*outcome.ended_orders, *outcome.lifted_orders)
                lasted = self._lasted(topic, now)
                lines = hold_over(reason, lasted, ended, self._seen(outcome))
                self._end(topic, now, lines)
                if reason in AGENT_HOLDS and self._agents_told is not None:  # that message names who still is
                    self._agents_told |= {*outcome.decision.trace.absent, *outcome.decision.trace.faulty}
            self._since.pop(topic, None)

    def _seen(self, outcome: Outcome) -> SeenCycle:
        return SeenCycle(outcome.decision, outcome.inputs, outcome.visible, self._rules, self._sender)

    def _follow_gate(self, outcome: Outcome) -> None:
        now, reason = outcome.inputs.now, outcome.decision.reason
        if reason in GATE_REFUSALS:
            self._since.setdefault(reason.value, now)
            if reason.value not in self._told:
                payload = outcome.inputs.payload
                lines = fault_alerts.gate_refuses(
                    outcome.decision,
                    outcome.refused,
                    outcome.before,
                    payload if isinstance(payload, Snapshot) else None,
                    self._sender,
                )
                self._begin(reason.value, now, lines)
            return
        if outcome.decision.trace.hold is not None:
            return  # the gate had nothing to check
        for each in sorted(GATE_REFUSALS):
            if each.value in self._told:
                lasted = self._lasted(each.value, now)
                self._end(each.value, now, fault_alerts.gate_passes(lasted, outcome.decision, outcome.visible))
            self._since.pop(each.value, None)

    def _follow_agents(self, outcome: Outcome) -> None:
        """Tell of agents that are faulty or silent for long enough, all at once, and of those that are no longer."""
        decision, payload, now = outcome.decision, outcome.inputs.payload, outcome.inputs.now
        hold = decision.trace.hold
        if isinstance(payload, Refusal) or not outcome.fetched or (hold is not None and hold.reason not in AGENT_HOLDS):
            return  # it is not known who is faulty or silent
        unwell = agent_alerts.unwell_agents(decision, payload)
        before = outcome.before.agents
        # The journal does not say of a lapsed agent whether it reports again; its good records in a row do.
        known = {agent: at for agent, at in self._agents.items() if agent not in before or not before[agent].returned}
        self._agents = {
            agent: known[agent] if agent in known else self._silent_since(agent, outcome) for agent in unwell
        }
        delay = 60 * self._settings.agent_minutes
        if self._agents_told is None:  # an earlier process told of those that had been so for long enough by then
            silent = {agent for agent, memory in before.items() if memory.member and memory.absent}
            untold = {agent for agent, since in known.items() if since + delay > self._told[AGENTS]}
            self._agents_told = (silent | unwell.keys() | known.keys()) - untold
        still = self._agents_told & unwell.keys()
        back = {agent for agent in self._agents_told - still if agent in payload.metrics}
        if back:
            lines = agent_alerts.well_text(back, known, still, decision, outcome.visible, now, self._sender)
            if still:
                self._tell(Alert(AGENTS, self._sender.message(OVER, now, lines), now))
            else:
                self._end(AGENTS, now, lines)
        self._agents_told = still
        lapsed = set(decision.trace.lapsed)
        if hold is not None:
            return  # its message names them
        due = {
            agent: problem
            for agent, problem in unwell.items()
            if agent not in still and agent not in lapsed and now - self._agents[agent] >= delay
        }
        if due:
            lines = agent_alerts.unwell_lines(
                due, self._agents, decision, outcome.visible, now, self._rules, self._sender
            )
            self._begin(AGENTS, now, lines)
        # Who lapses has the message of the lapse, and is told of when it reports again.
        self._agents_told |= due.keys() | (lapsed & unwell.keys())

    def _silent_since(self, agent: Agent, outcome: Outcome) -> float:
        """Return since when an agent has been silent by the cycles that were counted, also by earlier processes."""
        cycles = outcome.decision.trace.absent.get(agent, 0)
        return outcome.inputs.now - max(0, cycles - 1) * self._settings.interval_seconds

    def _follow_files(self, outcome: Outcome) -> None:
        convergence, hold, now = outcome.convergence, outcome.decision.trace.hold, outcome.inputs.now
        problem = outcome.files_problem
        if not problem and hold is not None and hold.reason is Reason.FILES_UNWRITABLE:
            problem = hold.detail
        if problem:
            self._since.setdefault(FILES, now)
            if FILES not in self._told:
                self._begin(FILES, now, fault_alerts.files_lost(problem, outcome.visible, outcome.waiting))
        elif convergence is not None and not outcome.was_stopped:
            if FILES in self._told:
                self._end(FILES, now, fault_alerts.files_back(self._lasted(FILES, now), outcome.visible))
            self._since.pop(FILES, None)

    def _follow_rival(self, outcome: Outcome, now: float) -> None:
        """Tell of another writer of the override once, and again only after a quiet time: it may write often."""
        convergence = outcome.convergence
        if convergence is None or outcome.visible is None:
            return
        if convergence.rival:
            if RIVAL not in self._told:
                self._begin(RIVAL, now, fault_alerts.rival_found(convergence.found, self._settings.override))
            self._rival_at = now
        elif self._rival_at is None:
            self._rival_at = now
        elif now - self._rival_at >= QUIET_SECONDS and RIVAL in self._told:
            self._end(RIVAL, now, fault_alerts.rival_gone(QUIET_SECONDS))


def _is_on(reason: Reason, outcome: Outcome) -> bool | None:
    """Return whether a hold is on in this cycle, also behind another; None if this cycle cannot tell."""
    inputs, decision = outcome.inputs, outcome.decision
    hold, unusable = decision.trace.hold, decision.trace.unusable
    if reason is Reason.STOPPED:
        return inputs.stopped or outcome.was_stopped
    if reason is Reason.PAUSED:
        return decision.after.latches.paused
    if reason is Reason.OPERATOR_HOLD:
        held = inputs.hold
        return held is not None and (held.until is None or inputs.now < held.until)
    if reason in AGENT_HOLDS:
        return (
            None if hold is not None and hold.reason not in AGENT_HOLDS else hold is not None and hold.reason is reason
        )
    if unusable is None or unusable.reason is reason:
        return unusable is not None
    # The guardian block is checked before the time stamp: if the latter is lost, the former is there.
    return False if reason is Reason.GUARDIAN_LOST and unusable.reason is Reason.TIMESTAMP_LOST else None
