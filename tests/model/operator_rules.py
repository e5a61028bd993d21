"""What the operator may do in any sequence: orders of every kind, other settings at a start, and both in every hold."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from capital_governor.core.orders import OrderKind
from tests.model import tamper
from tests.model.course import ACCEPTABLE, SEEDS, Course
from tests.model.fleet import NAMES
from tests.oracle.sight import Settings
from tests.oracle.weather import changed_settings

SECONDS: Final = st.sampled_from((None, None, 301.0, 1000.0))
"""How long an order is for; one cycle is 300 s."""
EXPOSURES: Final = st.sampled_from((0.0, 0.3, 0.5, 0.97, 1.0)) | st.floats(0, 1)
AGENTS: Final = st.sampled_from((*NAMES, "*", "*"))
TAKEN_BACK: Final = (OrderKind.HOLD, OrderKind.LIMIT, OrderKind.EXPOSURE)
DAY: Final = 86_400.0
HOLDS: Final = (
    *("stop", "says paused", "pause file", "operator", "folder"),
    *("fetch_failed", "error", "stale", "future", "guardian", "stamp"),
    *("no agents", "faulty", "gone"),
)
"""Ways into a hold: who says stop, what stands in the way of a file, no payload, one that lacks a block, the agents."""
SETTINGS: Final[dict[str, Callable[[Settings], Settings]]] = {
    "MIN_RESERVE": lambda rules: replace(rules, min_reserve=0.6),
    "MAX_ALLOC": lambda rules: replace(rules, min_alloc=min(rules.min_alloc, 0.07), max_alloc=0.07),
    "GROUPS": lambda rules: replace(rules, groups=(("pair", 0.09, ("Atlas", "B*")), ("rest", 0.2, ("*",)))),
}
TIGHTENINGS: Final = ("exposure", "exposure 0", "cap", "cap of everybody", "shared cap", *SETTINGS)


class OperatorRules(Course):
    """What a person orders and sets."""

    @precondition(lambda self: not self.on.journal.lost)
    @rule(seconds=SECONDS)
    def held(self, seconds: float | None) -> None:
        """The operator holds."""
        self.on.order(OrderKind.HOLD, seconds)
        self._cycles(1)

    @precondition(lambda self: not self.on.journal.lost)
    @rule(
        seconds=SECONDS,
        agent=AGENTS,
        limit=st.sampled_from(((0.0, None), (0.03, None), (0.2, None), (None, 0.3), (0.35, 0.1), (0.02, 0.1))),
        share_out=st.booleans(),
        cycles=st.integers(1, 2),
    )
    def limited(
        self,
        seconds: float | None,
        agent: str,
        limit: tuple[float | None, float | None],
        share_out: bool,
        cycles: int,
    ) -> None:
        """The operator sets a cap or a floor for one agent or for everybody."""
        cap, floor = limit
        shared = share_out and cap is not None
        self.on.order(OrderKind.LIMIT, seconds, agent=agent, cap=cap, floor=floor, share_out=shared)
        self._cycles(cycles)

    @precondition(lambda self: not self.on.journal.lost)
    @rule(seconds=SECONDS, most=EXPOSURES)
    def exposure_limited(self, seconds: float | None, most: float) -> None:
        """The operator sets a ceiling on exposure, tighter or looser than one before."""
        self.on.order(OrderKind.EXPOSURE, seconds, cap=most)
        self._cycles(1)

    @precondition(lambda self: not self.on.journal.lost)
    @rule(which=st.integers(0, 5), cycles=st.integers(1, 3))
    def released(self, which: int, cycles: int) -> None:
        """The operator releases an agent, one that is silent if there is any."""
        silent = sorted(self.dashboard.absent | set(self.dashboard.faulty)) or NAMES
        self.on.order(OrderKind.RELEASE, DAY, agent=silent[which % len(silent)])
        self._cycles(cycles)

    @precondition(lambda self: not self.on.journal.lost)
    @rule(about=st.sampled_from(sorted(ACCEPTABLE)))
    def accepted(self, about: str) -> None:
        """The operator accepts what some cycle before has shown, be it over or not."""
        self.on.order(OrderKind.ACCEPT, DAY, accepts=about)
        self._cycles(1)

    @precondition(lambda self: self.on.orders and not self.on.journal.lost)
    @rule(kind=st.sampled_from(TAKEN_BACK), which=st.none() | st.integers(0, 5))
    def taken_back(self, kind: OrderKind, which: int | None) -> None:
        """The operator takes back all orders of a kind, or the limit of one agent."""
        limited = sorted({order.agent for order in self.on.standing(OrderKind.LIMIT)})
        if kind is OrderKind.LIMIT and which is not None and limited:
            self.on.take_back(kind, limited[which % len(limited)])
        else:
            self.on.take_back(kind)
        self._cycles(1)

    @rule(seed=SEEDS, cycles=st.integers(1, 2))
    def set_otherwise(self, seed: int, cycles: int) -> None:
        """The governor starts with another MIN_RESERVE, other GROUPS and another RELEASE_AFTER."""
        rng = random.Random(seed)  # noqa: S311 - the same settings for the same seed
        self._start_with(changed_settings(self.on.rules, rng))
        self._cycles(cycles)

    @precondition(lambda self: not self.on.journal.lost)
    @rule(
        hold=st.sampled_from(HOLDS),
        how=st.sampled_from(TIGHTENINGS),
        agent=st.sampled_from(NAMES),
        seconds=SECONDS,
        more=st.none() | st.sampled_from(TIGHTENINGS),
        leaves=st.booleans(),
    )
    def tightened_in_a_hold(
        self,
        hold: str,
        how: str,
        agent: str,
        seconds: float | None,
        more: str | None,
        leaves: bool,
    ) -> None:
        """A hold begins, the operator tightens one thing or two in it, and all may be well again after it."""
        self._enter(hold)
        self._cycle_in(hold)
        for each in (how, more):
            if each is not None and not self.on.journal.lost:
                self._tighten(each, agent, seconds)
                self._cycle_in(hold)
        if leaves:
            self._mend()
            self._cycles(1)

    def _enter(self, hold: str) -> None:
        world, dashboard = self.on, self.dashboard
        if hold == "stop":
            world.stop.touch()
        elif hold == "pause file":
            tamper.pause(world, "on", "cooling")
        elif hold == "operator":
            world.order(OrderKind.HOLD, None)
        elif hold == "folder":
            tamper.rival(world, "override folder", 0)
        dashboard.paused |= hold == "says paused"
        dashboard.lacks |= {hold} & {"guardian", "stamp"}
        everybody = sorted(dashboard.records)
        if hold == "no agents":
            dashboard.absent = set(everybody)
        elif hold == "faulty":
            dashboard.absent, dashboard.faulty = set(), dict.fromkeys(everybody, "NaN")
        elif hold == "gone":
            dashboard.absent |= set(everybody[::2])

    def _cycle_in(self, hold: str) -> None:
        self._cycle(tamper.odd(self.dashboard, self.on, hold, ()) if hold in tamper.UNUSABLE else self._said())

    def _tighten(self, how: str, agent: str, seconds: float | None) -> None:
        if how in SETTINGS:
            self._start_with(SETTINGS[how](self.on.rules))
        elif how.startswith("exposure"):
            self.on.order(OrderKind.EXPOSURE, seconds, cap=0.0 if how == "exposure 0" else 0.4)
        else:
            whom, shared = "*" if how == "cap of everybody" else agent, how == "shared cap"
            self.on.order(OrderKind.LIMIT, seconds, agent=whom, cap=0.04, share_out=shared)

    def _start_with(self, rules: Settings) -> None:
        self._down(graceful=False)
        self.on.rules = rules
        self._restart()
