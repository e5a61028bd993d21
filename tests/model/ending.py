"""The end of a sequence: all faults are over, and the governor governs again within a stated number of cycles.

A cycle *governs* if it decides: no hold, no refusal of the gate, the status file says "governing", and both files carry
what is published. A brake that is on only puts off a move: the cycle has decided.

How many cycles that may take follows from the rules. A hold is judged by what the cycle itself sees, and what holds
remember besides keeps no cycle from deciding that finds all well: a pause ends in the first fresh complete payload,
and a lost guardian block or time stamp is back in it. So, by what is well again:

- everything ("mended"): 1 cycle.
- everything but half of the members, who never come back ("renamed"): they may be gone for 4 x MEMBERSHIP_GRACE cycles,
  at least 4, and the next one decides. Other holds do not count, and none is left.
- guardian block, time stamp and half of the members never come back, and the operator accepts that ("accepted"): 4
  cycles. The first shows the first of these three holds; the accept takes effect in the next cycle, which shows the
  next hold, and so on.

Where everything is well, what was withheld comes back besides, once the operator has taken back all orders: three good
records in a row end a lapse, MAX_STEP gives back step by step, and a plan that is above a limit is moved step by step,
each time after CONFIRM_CYCLES requests. A cool-down passes between any two of these cycles.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from capital_governor.core.acceptance import ACCEPTABLE
from capital_governor.core.orders import OrderKind
from capital_governor.core.reason import CUTS, MOVES, STAYS, Reason
from capital_governor.core.trace import Decision
from capital_governor.service.standing import Outcome
from tests.model import documents, tamper
from tests.model.fleet import NAMES, Dashboard, Said
from tests.model.world import World
from tests.oracle.sight import Settings
from tests.promises.ledger import require

Kind = Literal["mended", "renamed", "accepted"]
Starts = Literal["none", "first", "each"]
"""The governor starts again before no healthy cycle, before the first, or before each of them."""
KINDS: Final[tuple[Kind, ...]] = ("mended", "renamed", "accepted")
STARTS: Final[tuple[Starts, ...]] = ("none", "first", "each")
AFTERWARDS: Final = 1
"""So many cycles after the first that governs have to govern too: what an accept let pass must not come back."""


GOOD_IN_A_ROW: Final = 3
"""So many good records in a row end a lapse."""
SMALLEST_STEP: Final = 0.1
"""Of MAX_STEP, where it is waited for that all is given back; it may take 1 / MAX_STEP steps."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a sequence ends: what is well again, see above, and when the governor is killed and started again."""

    kind: Kind = "mended"
    starts: Starts = "none"


def most_cycles(kind: Kind, rules: Settings) -> int:
    """Return the largest number of cycles after the last fault until one governs, that one included."""
    if kind == "renamed":
        return 4 * max(1, rules.membership_grace_cycles) + 1
    return 4 if kind == "accepted" else 1


def mend(world: World, dashboard: Dashboard) -> None:
    """Let everything be as an operator wishes; the journal must be writable."""
    dashboard.heal()
    dashboard.rescore(7, set(NAMES) - set(dashboard.records))
    tamper.pause(world, "gone", "")
    for path in (world.stop, world.primary, world.override, world.cycle.paths.status):
        if path == world.stop or path.is_dir():
            tamper.clear(path)
    if world.standing(OrderKind.HOLD):
        world.take_back(OrderKind.HOLD)


def govern_again(
    world: World,
    dashboard: Dashboard,
    ending: Ending,
    *,
    cycle: Callable[[Said], Outcome | None],
    start: Callable[[], None],
) -> int:
    """Let all be well from now on; return how many cycles it took until one governed, that one included.

    Args:
        world: where all that was at fault is mended; nothing else befalls it.
        dashboard: mended likewise.
        ending: how.
        cycle: lets one cycle pass, and time; None if an unexpected error ended it.
        start: ends the governor and starts another one.
    """
    members = sorted(name for name, memory in world.cycle.state.agents.items() if memory.member)
    _lose(dashboard, ending.kind, members[::2])
    most, met = most_cycles(ending.kind, world.rules), []
    if ending.starts == "first":
        start()
    while True:
        if ending.starts == "each":
            start()
        done = cycle(dashboard.payload(world.now))
        problem = _why_not(world, done)
        met.append(problem)
        if not problem:
            break
        require(len(met) < most, f"{ending} and not governed within {most} cycles: {', '.join(met)}")
        if ending.kind == "accepted" and done is not None and not world.journal.lost:
            _accept(world, done.decision)
    for _ in range(AFTERWARDS):
        problem = _why_not(world, cycle(dashboard.payload(world.now)))
        require(not problem, f"{ending}: governed after {len(met)} cycles, and no more: {problem}")
    return len(met)


def give_back(world: World, dashboard: Dashboard, cycle: Callable[[Said], Outcome | None]) -> int:
    """Let nothing be ordered any more, all being well; return how many cycles it took until nothing was withheld.

    Args: see ``govern_again``.
    """
    for kind in (OrderKind.LIMIT, OrderKind.EXPOSURE):
        world.take_back(kind)
    rules, took = world.rules, 0
    steps = math.ceil(1 / rules.max_step)
    most = GOOD_IN_A_ROW + (1 + rules.confirm_cycles) * steps
    while True:
        problem = _why_not(world, cycle(dashboard.payload(world.now)))
        require(not problem, f"while all is given back: {problem}")
        took += 1
        withheld = world.status()["withheld"]
        lapsed = [name for name, memory in world.cycle.state.agents.items() if memory.lapsed]
        if not withheld and not lapsed:
            return took
        require(took < most, f"after {took} cycles withheld is {withheld}, lapsed are {lapsed}")
        world.now += rules.cooldown_seconds


def let_pass(world: World, said: Said, seconds: float) -> Outcome | None:
    """Let one cycle and so much time pass, as the loop does: no exception leaves it. None if there was one."""
    try:
        return world.conclude(said)
    except Exception as error:  # noqa: BLE001 - whatever it is, the loop goes on after it
        with suppress(Exception):  # the loop goes on without a status file, too
            world.cycle.fail(repr(error))
        return None
    finally:
        world.now += seconds


def _lose(dashboard: Dashboard, kind: Kind, lost: list[str]) -> None:
    """Let these agents be gone for good."""
    if kind == "renamed":
        dashboard.records = {name: record for name, record in dashboard.records.items() if name not in lost}
        dashboard.rescore(8, {f"{name} II" for name in lost})
    elif kind == "accepted":
        dashboard.absent, dashboard.lacks = set(lost), {"guardian", "stamp"}


def _accept(world: World, decision: Decision) -> None:
    """Accept what this cycle shows, as the command does: also behind a pause."""
    for hold in (decision.trace.hold, decision.trace.unusable):
        if hold is not None and hold.reason in ACCEPTABLE:
            world.order(OrderKind.ACCEPT, 86_400.0, accepts=hold.reason.value)
            return


def _why_not(world: World, done: Outcome | None) -> str:
    """Return why this cycle did not govern; empty if it did."""
    status = world.status()
    if done is None:
        return f"unexpected error: {status.get('detail')}"
    decision = done.decision
    if decision.trace.hold is not None:
        return f"held: {decision.trace.hold.reason}"
    if decision.reason not in MOVES | CUTS | STAYS | {Reason.RESTORE}:
        return f"refused: {decision.reason}"
    if status["state"] != "governing":
        return f"status: {status['state']}, {status['reason']}, {status['detail']}"
    wrong = [path.name for path in _files(world) if not _carries(world, path)]
    return f"what is published is not in {', '.join(wrong)}" if wrong else ""


def _files(world: World) -> list[Path]:
    """Return the files that the governor writes by its policy."""
    return [world.primary, world.override] if world.policy == "assert" else [world.primary]


def _carries(world: World, path: Path) -> bool:
    """Whether a file carries what is published; what another program published the override need not."""
    published = world.cycle.state.published
    if published is None or (published.generation == 0 and path == world.override):
        return True
    if published.generation == 0:
        return documents.read(path) is not None
    found = documents.load(path) or {}
    return (found.get("source"), found.get("generation")) == ("capital_governor", published.generation)
