"""The end of a soak: its figures in a table, and what of them an operator would not accept."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from tests.soak.ledger import Account, alerts_account, cycles_until_governed, longest_gap, moves_account, seen_moves
from tests.soak.plant import Burden
from tests.soak.stage import PATIENCE_SECONDS, Stage

LONGEST_GAP_SECONDS: Final = PATIENCE_SECONDS
"""At an interval of 1 s and a fetch deadline of 3 s: beyond it something hangs, however busy the machine is."""
MOST_CYCLES: Final = 4 * 3 + 1
"""Until one governs after a fault: as long as half of the members may be gone, by MEMBERSHIP_GRACE, and the next."""
MOST_KIB: Final = 80 * 1024
MOST_FILES: Final = 64
MOVES: Final = frozenset(
    {
        *("first_allocation", "limit_breached", "exposure_zero", "member_left", "member_joined"),
        *("below_floor", "threshold", "derisk", "turnover"),
    }
)
CUTS: Final = frozenset({"cut_ceiling", "cut_exposure_zero", "cut_derisk", "cut_limit", "cut_lapse"})


@dataclass(frozen=True, slots=True)
class Findings:
    """All that was counted.

    Args:
        read: the reader's counts, see ``tests.soak.reader``.
        taken: the messages in the chat.
        hive: what came of the questions to the hive, see ``tests.soak.gateway``.
        differ: why the two files do not say at the end what the journal says, empty if they do.
        pending: notices that nobody took though there was time.
        logged: all lines of all logs.
        troubles: those that tell of errors nobody foresaw.
        left: processes after the end.
        skipped: faults that could not be had here, and why.
    """

    minutes: float
    seed: int
    read: dict[str, Any]
    taken: list[str]
    hive: dict[str, int]
    differ: str
    pending: int
    logged: list[str]
    troubles: list[str]
    left: list[str]
    skipped: dict[str, str]


@dataclass(slots=True)
class Verdict:
    """Lines of the table, and what is wrong."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def line(self, name: str, figure: object, wrong: object = "") -> None:
        """Add a figure; ``wrong``, if it is not empty, is why it is not acceptable."""
        self.lines.append((name, str(figure)))
        if wrong:
            self.wrong.append(f"{name}: {wrong if isinstance(wrong, str) else figure}")

    def text(self) -> str:
        """Return the table."""
        width = max(len(name) for name, _ in self.lines)
        return "\n".join(f"{name:<{width}}  {figure}" for name, figure in self.lines)


def judge(stage: Stage, burden: Burden, findings: Findings) -> Verdict:
    """Make the table, and find what is wrong in it."""
    verdict = Verdict()
    verdict.line("minutes", f"{findings.minutes:.1f}, seed {findings.seed}")
    _cycles(verdict, stage)
    liveness_line(verdict, stage)
    hive_line(verdict, findings.hive)
    _faults(verdict, stage, findings.skipped)
    _notifications(verdict, stage, findings)
    read = findings.read
    verdict.line("torn reads / reads", f"{read['torn']} / {read['reads']}", read["torn"] and "; ".join(read["bad"]))
    verdict.line("a rival's override seen / generation went back", f"{read['rivals']} / {read['backwards']}")
    if read["backwards"] or not read["reads"]:
        verdict.wrong.append("reads: none were made, or a generation went back")
    verdict.line("writes while paused or stopped", stage.forbidden_writes, stage.forbidden_writes)
    verdict.line("files and journal at the end", findings.differ or "agree", findings.differ)
    verdict.line("unhandled exceptions in logs", len(findings.troubles), "; ".join(findings.troubles[:5]))
    verdict.line("processes left after stop", len(findings.left), "; ".join(findings.left))
    verdict.line("governor's memory, MiB: start / most / end", burden.text(0, 1024), burden.most(0) > MOST_KIB)
    verdict.line("governor's open files: start / most / end", burden.text(1), burden.most(1) > MOST_FILES)
    verdict.wrong += stage.found
    return verdict


def _cycles(verdict: Verdict, stage: Stage) -> None:
    cycles = stage.ledger.cycles()
    gap = longest_gap(cycles, [(each.begin, each.end) for each in stage.windows if each.excuses])
    reasons = Counter(row.reason for row in cycles)
    moves = sum(reasons[reason] for reason in MOVES)
    cuts = sum(reasons[reason] for reason in CUTS)
    verdict.line("cycles completed", len(cycles), "" if cycles else "none")
    verdict.line("longest gap but for killed, frozen, corrupted, s", f"{gap:.1f}", gap > LONGEST_GAP_SECONDS)
    figures = f"{moves} / {cuts} / {reasons['restore']}"
    verdict.line("moves / cuts / restores", figures, "" if moves else "nothing ever moved")
    verdict.line("cycles by reason", ", ".join(f"{reason} {count}" for reason, count in reasons.most_common()))
    verdict.line("restarts", stage.restarts)
    refusals = sum(count for reason, count in reasons.items() if reason.startswith("gate_"))
    verdict.line("refusals of the gate", refusals, refusals)


def liveness_line(verdict: Verdict, stage: Stage) -> None:
    """Add how many cycles it took after each fault until one governed; a run that ends in a hold is found wrong."""
    cycles = stage.ledger.cycles()
    last = cycles_until_governed(cycles, stage.rested)
    over = [each.over for each in stage.windows if each.disturbs and each.over < stage.rested]
    took = [cycles_until_governed(cycles, moment) for moment in over]
    longest = max((count for count in took if count is not None), default=0)
    wrong = "" if last is not None else f"none governed: {', '.join(row.reason for row in cycles[-5:])}"
    if last is not None and max(last, longest) > MOST_CYCLES:
        wrong = f"{max(last, longest)}, at most {MOST_CYCLES} are due"
    figures = f"{'none' if last is None else last} / {longest}"
    verdict.line("cycles until it governed: after the last fault / longest after one", figures, wrong)


def hive_line(verdict: Verdict, hive: dict[str, int]) -> None:
    """Add what came of the questions to the hive.

    Its files are always whole and its fleet never ceases to trade, so it has no reason to refuse.
    """
    kinds = ("relayed", "changed", "refused", "silent")
    figures = " / ".join(str(hive[kind]) for kind in kinds)
    wrong = "none was relayed" if not hive["relayed"] else f"{hive['refused']} were refused" if hive["refused"] else ""
    verdict.line("the hive's answers: relayed / made lies / refusals / silent", figures, wrong)


def _faults(verdict: Verdict, stage: Stage, skipped: dict[str, str]) -> None:
    ended = [each for each in stage.windows if each.end != float("inf")]
    for kind, count in sorted(Counter(each.kind for each in ended).items()):
        fired = sum(each.fired for each in ended if each.kind == kind)
        longest = max(each.end - each.begin for each in ended if each.kind == kind)
        wrong = "" if fired else "never seen to happen"
        verdict.line(f"fault: {kind}", f"{fired} of {count}, longest {longest:.0f} s", wrong)
    running, later = stage.noticed[True], stage.noticed[False]
    verdict.line("damaged journal noticed: running / at the next start", f"{running} / {later}")
    for kind, why in skipped.items():
        verdict.line(f"fault: {kind}", f"SKIPPED: {why}")


def _notifications(verdict: Verdict, stage: Stage, findings: Findings) -> None:
    made = [*stage.ledger.moves(), *seen_moves(findings.read["generations"])]
    moves = moves_account(made, findings.taken)
    unread = [(each.begin, each.end) for each in stage.windows if each.kind.startswith("journal corrupted")]
    alerts = alerts_account(stage.ledger.notices(), findings.logged, findings.taken, unread)
    for name, account in (("moves", moves), ("alerts", alerts)):
        lost, doubled = account.lost.total(), account.doubled.total()
        figures = f"{account.sent} / {lost} / {doubled}, of {account.made}"
        verdict.line(f"{name} told: sent / lost / doubled", figures, _first(account))
    doubled = moves.doubled.total() + alerts.doubled.total()
    verdict.line(
        "doubled / crashes, which may double one each", f"{doubled} / {stage.crashes}", doubled > stage.crashes
    )
    verdict.line("notices pending at the end", findings.pending, findings.pending)


def _first(account: Account) -> str:
    """Return a message that was lost, or that tells of what never was."""
    for what, texts in (("lost", account.lost), ("invented", account.invented)):
        if texts:
            return f"{what}: " + " | ".join(repr(text) for text in list(texts)[:3])
    return ""


def differ(stage: Stage) -> str:
    """Return how the two files differ from the newest publication of the journal, empty if they do not."""
    moves = stage.ledger.moves()
    if not moves:
        return "the journal has no publication"
    newest = max(moves)
    for path in (stage.plant.primary, stage.plant.override):
        found = _published(path.read_bytes())
        if found != newest:
            return f"{path.name} has {found}, the journal {newest}"
    return ""


def _published(content: bytes) -> object:
    said: dict[str, Any] = json.loads(content)
    shares = tuple(sorted((agent, round(share * 1_000_000)) for agent, share in said["allocations"].items()))
    return said["generation"], shares, round(said["reserve"] * 1_000_000)
