"""The outcome of a cycle, the governor's state after it, and the status file. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from capital_governor import __version__
from capital_governor.adapters.file_convergence import Convergence, FileOutcome
from capital_governor.contracts.status import LATCHES, order_document
from capital_governor.core.hold import EXITS
from capital_governor.core.model import WHOLE, Inputs, Latches, Publication, Rules, State, iso_text
from capital_governor.core.orders import Order
from capital_governor.core.publication import withheld_document
from capital_governor.core.reason import HOLDS, PAYLOAD_HOLDS, Reason
from capital_governor.core.trace import Decision
from capital_governor.journal.notices import Backlog
from capital_governor.wording.log_events import Line
from capital_governor.wording.reason_texts import Announcement, message, reason_kind, waiting_text


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one cycle.

    Args:
        inputs: what the decision was based on.
        before: the state before.
        decision: what was decided.
        convergence: what was done with the files; None if they were not to be written.
        status_problem: why the status file could not be written; empty if it could.
        orders: the operator's orders in force.
        ended_orders: an accept that this cycle used or that lapsed in it.
        journal_problem: why the cycle is recorded in memory only; empty if it is on disk.
        visible: what the agents see after it.
        announcements: the moves and cuts that became visible since the cycle before, oldest first.
        lapses: lines about lapses, of a cycle that publishes nothing; others are announced with the publication.
        lifted_orders: the operator's orders that have expired or were taken back since the cycle before.
        refused: what the gate refused; None if it refused nothing.
    """

    inputs: Inputs
    before: State
    decision: Decision
    convergence: Convergence | None = None
    status_problem: str = ""
    orders: tuple[Order, ...] = ()
    ended_orders: tuple[Order, ...] = ()
    journal_problem: str = ""
    visible: Publication | None = None
    announcements: tuple[Announcement, ...] = ()
    lapses: tuple[Line, ...] = ()
    lifted_orders: tuple[Order, ...] = ()
    refused: Publication | None = None

    @property
    def fetched(self) -> bool:
        """Whether this cycle had a readable payload that is neither stale nor from the future."""
        unusable = self.decision.trace.unusable
        return unusable is None or unusable.reason not in PAYLOAD_HOLDS

    @property
    def published(self) -> Publication | None:
        """What is published after this cycle, whether the agents can see it yet or not."""
        return self.decision.proposal or self.decision.after.published

    @property
    def waiting(self) -> Publication | None:
        """What is published and not visible yet; None if the agents see it."""
        decided = self.published
        known = None if self.visible is None else self.visible.generation
        return None if decided is None or decided.generation == known else decided

    @property
    def waiting_text(self) -> str:
        """A sentence about a publication that is not visible yet; empty if there is none."""
        waiting = self.waiting
        return "" if waiting is None else waiting_text(waiting.generation)

    @property
    def files_problem(self) -> str:
        """Why a file could not be read or written; empty if both could."""
        if self.convergence is None:
            return ""
        return self.convergence.primary.problem or self.convergence.override.problem

    @property
    def was_stopped(self) -> bool:
        """Whether STOP appeared while the files were being written."""
        return self.convergence is not None and FileOutcome.STOPPED in {
            self.convergence.primary.outcome,
            self.convergence.override.outcome,
        }


@dataclass(frozen=True, slots=True)
class Vitals:
    """The state of journal, log, heartbeat and messages.

    Args:
        journal_problem: why the journal cannot be written; empty if it can.
        journal_dropped: cycles lost in an outage of the journal, since the start.
        log_failures: log lines that could not be written.
        heartbeat_failures: heartbeats that failed.
        heartbeat_problem: why the last heartbeat failed; empty if it did not.
        notices: messages that wait or were refused.
    """

    journal_problem: str = ""
    journal_dropped: int = 0
    log_failures: int = 0
    heartbeat_failures: int = 0
    heartbeat_problem: str = ""
    notices: Backlog = field(default_factory=Backlog)


@dataclass(frozen=True, slots=True)
class Standing:
    """The governor's state, as the status file shows it.

    Args:
        state: "starting", "governing", "holding" or "ended".
        at: time of the last completed cycle, seconds since 1970 UTC; if there was none, of the first failure.
        reason: of the last cycle.
        detail: the facts of the hold.
        exit: what ends the hold; empty without one.
        published: what the agents see.
        last_success: when the last usable payload came.
        failures_in_row: cycles without a usable payload since then.
        warnings: of the last cycle.
        orders: of the operator, in force after the last cycle.
        latches: the state of the holds, so that no pause ends if the journal is lost.
        multipliers: the last known exposure multipliers, for the same reason.
    """

    state: str = "starting"
    at: float = 0.0
    reason: Reason | None = None
    detail: str = ""
    exit: str = ""
    published: Publication | None = None
    last_success: float | None = None
    failures_in_row: int = 0
    warnings: tuple[str, ...] = ()
    orders: tuple[Order, ...] = ()
    latches: Latches = field(default_factory=Latches)
    multipliers: Mapping[str, float] = field(default_factory=dict)

    def after(self, done: Outcome) -> Standing:
        """Return the state after a cycle."""
        decision = done.decision
        reason, hold = decision.reason, decision.trace.hold
        detail, way_out = ("", "") if hold is None else (hold.detail, EXITS[hold.reason])
        if reason_kind(reason) == "refused":
            way_out = "the next cycle, which decides anew"
        if done.files_problem:
            reason, detail, way_out = Reason.FILES_UNWRITABLE, done.files_problem, EXITS[Reason.FILES_UNWRITABLE]
        elif done.was_stopped:
            reason, detail = Reason.STOPPED, "the STOP file appeared while the files were being written"
            way_out = EXITS[Reason.STOPPED]
        detail = "; ".join(filter(None, (detail, done.waiting_text)))
        return replace(
            self,
            state="holding" if reason in HOLDS or reason_kind(reason) == "refused" or hold is not None else "governing",
            at=done.inputs.now,
            reason=reason,
            detail=detail,
            exit=way_out,
            published=done.visible,
            last_success=done.inputs.now if done.fetched else self.last_success,
            failures_in_row=0 if done.fetched else self.failures_in_row + 1,
            warnings=decision.trace.warnings,
            orders=tuple(order for order in done.orders if order.key not in {ended.key for ended in done.ended_orders}),
            latches=decision.after.latches,
            multipliers=decision.after.multipliers,
        )

    def failed(self, now: float, error: str) -> Standing:
        """Return the state after a cycle that an unexpected error ended.

        Its time stays, since the cycle was not completed: it may have missed a pause of Guardian, so that agents must
        not rely on this governor for longer than ``valid_until``.
        """
        return replace(
            self,
            state="holding",
            at=self.at or now,
            reason=Reason.INTERNAL_ERROR,
            detail=error,
            exit=EXITS[Reason.INTERNAL_ERROR],
            failures_in_row=self.failures_in_row + 1,
        )


def status_document(
    standing: Standing, vitals: Vitals, *, interval_seconds: float, rules: Rules, dry_run: bool, pid: int
) -> bytes:
    """Return the status file: one JSON object, times as ISO 8601 in UTC, shares 0..1.

    From ``valid_until`` on a reader must assume that the governor is dead. It is the larger of 60 s and three intervals
    after the last cycle. A governor that ends leaves it, so that a quick restart causes no alarm.
    """
    published = standing.published
    document = {
        "state": standing.state,
        "reason": None if standing.reason is None else standing.reason.value,
        "message": None if standing.reason is None else message(standing.reason, rules),
        "detail": standing.detail,
        "exit": standing.exit,
        "timestamp": iso_text(standing.at),
        "valid_until": iso_text(standing.at + max(60.0, 3 * interval_seconds)),
        "interval_seconds": interval_seconds,
        "last_success": None if standing.last_success is None else iso_text(standing.last_success),
        "failures_in_row": standing.failures_in_row,
        "generation": None if published is None else published.generation,
        "published_at": None if published is None else iso_text(published.at),
        "published_reason": None if published is None else published.reason.value,
        "agents": None if published is None else len(published.shares),
        "reserve": None if published is None else published.reserve / WHOLE,
        "exposure": None if published is None else published.exposure,
        "floor_scale": None if published is None else published.floor_scale,
        "withheld": None if published is None else withheld_document(published),
        "orders": [order_document(order) for order in standing.orders],
        "latches": {name: getattr(standing.latches, name) for name in LATCHES},
        "multipliers": dict(standing.multipliers),
        "warnings": list(standing.warnings),
        "journal_problem": vitals.journal_problem,
        "journal_dropped": vitals.journal_dropped,
        "log_failures": vitals.log_failures,
        "heartbeat_failures": vitals.heartbeat_failures,
        "heartbeat_problem": vitals.heartbeat_problem,
        "notices_pending": vitals.notices.pending,
        "notices_pending_detail": vitals.notices.pending_detail,
        "notices_refused": vitals.notices.refused,
        "notices_refused_detail": vitals.notices.refused_detail,
        "dry_run": dry_run,
        "pid": pid,
        "version": __version__,
    }
    return f"{json.dumps(document, indent=2)}\n".encode()
