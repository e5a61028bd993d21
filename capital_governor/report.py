"""Outcomes -> the log, saying each thing once: a hold when its reason changes, an episode at its start and end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from capital_governor.adapters.files import Convergence
from capital_governor.adapters.files import Outcome as FileOutcome
from capital_governor.core.leeway import leeway
from capital_governor.core.model import DAY_SECONDS, GATE_REFUSALS, Agent, Reason, Rules, Snapshot
from capital_governor.messages import Line, decided_lines, hold_line, leeway_line, shares_text, unwell_texts
from capital_governor.status import Outcome

DEGRADED_AFTER: Final = 10
"""Cycles in a row without a usable payload."""


QUIET_SECONDS: Final = 600.0
"""Without a word from a rival writer for so long, its episode is over."""


class Report:
    """Tells the log what happened.

    Args:
        say: where each line goes.
        rules: for thresholds and limits in the text.
    """

    def __init__(self, say: Callable[[Line], object], rules: Rules) -> None:
        self._say = say
        self._rules = rules
        self._hold: Reason | None = None
        self._failures = 0
        self._fleet: int | None = None
        self._unwell: set[Agent] = set()
        self._episodes: dict[str, str] = {}
        self._warned: dict[str, float] = {}
        self._rival_at = 0.0

    def cycle(self, outcome: Outcome) -> None:
        """Tell of one completed cycle."""
        decision, payload = outcome.decision, outcome.inputs.payload
        if outcome.fetched:
            self._say(Line("info", "Meta-metrics fetched successfully"))
        self._count_failures(fetched=outcome.fetched)
        hold = None if decision.trace.hold is None else decision.trace.hold.reason
        if decision.reason in GATE_REFUSALS:
            hold = decision.reason
        self._tell_hold(hold, hold_line(decision, self._rules))
        if isinstance(payload, Snapshot) and outcome.fetched:
            self._tell_daily(decision.trace.warnings, outcome.inputs.now)
            self._tell_unwell(unwell_texts(decision, payload))
        if decision.trace.limits:
            self._tell_fleet(len(decision.trace.limits))
        if decision.trace.hold is None or decision.proposal is not None:
            for line in decided_lines(decision, outcome.before, self._rules):
                self._say(line)
        self._tell_files(outcome)

    def episode(self, topic: str, problem: str, over: str, *, level: str = "error") -> None:
        """Tell of a lasting problem once when it begins or changes, and once when it is over (``problem`` empty)."""
        before = self._episodes.get(topic, "")
        if problem and problem != before:
            self._say(Line(level, problem))
            self._episodes[topic] = problem
        elif before and not problem:
            self._say(Line("info", over))
            del self._episodes[topic]

    def _count_failures(self, *, fetched: bool) -> None:
        if fetched and self._failures >= DEGRADED_AFTER:
            self._say(
                Line("info", f"Recovered from degraded mode after {self._failures} cycles without usable meta-metrics")
            )
        self._failures = 0 if fetched else self._failures + 1
        if self._failures == DEGRADED_AFTER:
            self._say(
                Line("error", f"Entering degraded mode: no usable meta-metrics in {DEGRADED_AFTER} cycles in a row")
            )

    def _tell_hold(self, hold: Reason | None, line: Line) -> None:
        if hold is None and self._hold is not None:
            self._say(Line("info", f"Hold is over: {self._hold.value}"))
        elif hold is not None:
            self._say(line if hold is not self._hold else Line("debug", line.text))
        self._hold = hold

    def _tell_daily(self, warnings: Iterable[str], now: float) -> None:
        """Tell each warning once a day: it stands in each payload."""
        for warning in warnings:
            if now - self._warned.get(warning, -DAY_SECONDS) >= DAY_SECONDS:
                self._say(Line("warning", warning))
                self._warned[warning] = now
        if self._warned and min(self._warned.values()) < now - DAY_SECONDS:
            self._warned = {text: at for text, at in self._warned.items() if at > now - DAY_SECONDS}

    def _tell_unwell(self, texts: Mapping[Agent, str]) -> None:
        """Tell of each agent once when it becomes faulty or absent, and once when it no longer is."""
        for agent in sorted(texts.keys() - self._unwell):
            self._say(Line("warning", f"{agent}: {texts[agent]}"))
        for agent in sorted(self._unwell - texts.keys()):
            self._say(Line("info", f"{agent}: no longer faulty or absent"))
        self._unwell = set(texts)

    def _tell_fleet(self, agents: int) -> None:
        if agents != self._fleet:
            self._say(leeway_line(leeway(agents, self._rules), self._rules))
            self._fleet = agents

    def _tell_files(self, outcome: Outcome) -> None:
        self.episode("status", outcome.status_problem, "The status file can be written again")
        convergence, published = outcome.convergence, outcome.published
        if convergence is None or published is None:
            return
        if convergence.primary.outcome is FileOutcome.WRITTEN:
            self._say(
                Line("info", f"Allocations saved: {shares_text(published.shares)} (generation {published.generation})")
            )
        self.episode("files", outcome.files_problem, "Both allocation files can be written again")
        self._tell_rival(convergence, outcome.inputs.now)

    def _tell_rival(self, convergence: Convergence, now: float) -> None:
        """Tell of another writer once, and again only after a quiet time: it may write every few seconds."""
        if convergence.rival:
            self._rival_at = now
            did = "rewritten" if convergence.override.outcome is FileOutcome.WRITTEN else "left as it is"
            problem = f"Another writer ({convergence.found or 'no source'}) changes the override file; {did}"
            self.episode("rival", self._episodes.get("rival", problem), "", level="warning")
        elif now - self._rival_at >= QUIET_SECONDS:
            self.episode("rival", "", f"Nobody else has written the override file for {QUIET_SECONDS:.0f} s")
