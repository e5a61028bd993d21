"""Random days of a fleet: what a governor may see, cycle by cycle, the odd things often enough to be met."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from math import inf

from tests.oracle.sight import GuardianBlock, Observation, OperatorLimit, PauseFile, Payload, Settings

NAMES = ("Atlas", "Bolt", "Crest", "Drop Ship", "Echo", "Flux", "Gale", "Hive-2", "Iris", "Juno", "Kite", "Lumen")
PATTERNS = ("Atlas", "Bolt", "?r*", "D*", "[E-G]*", "*-2", "*o*", "*")
INTERVAL = 300
ODD_STEPS = (0, 1, 61, 900, 3600, 40_000, 86_400, 100_000, -400, -90_000)
MISHAPS = (
    "stop",
    "file",
    "says_paused",
    "hold",
    "refused",
    "stale",
    "future",
    "no_guardian",
    "no_stamp",
    "empty",
    "faulty",
    "gone",
    "no_regime",
    "no_drawdown",
    "files",
    "old_regime",
    "early_regime",
)


def some_settings(rng: random.Random) -> Settings:
    """Return settings from all over their ranges, the usual ones most often."""
    floor, cap = sorted(
        (rng.choice((0.0, 0.02, 0.05, 0.05, 0.1, 0.2, 0.3)), rng.choice((0.1, 0.25, 0.4, 0.4, 0.6, 1.0)))
    )
    raw = [rng.choice((0.0, rng.random(), 1.0)) for _ in range(3)] + [0.1]
    parts = (0.40, 0.30, 0.20, 0.10) if rng.random() < 0.5 else tuple(part / sum(raw) for part in raw)
    start, end = rng.choice(((5.0, 15.0), (0.0, 8.0), (3.0, 3.5), (10.0, 60.0)))
    return Settings(
        min_alloc=floor,
        max_alloc=cap,
        threshold=rng.choice((0.0, 0.01, 0.05, 0.1, 0.1, 0.2, 0.5, 1.0)),
        derisk_threshold=rng.choice((0.0, 0.01, 0.05, 0.05, 0.1, 0.3, 1.0)),
        turnover_threshold=rng.choice((0.0, 0.03, 0.1, 0.2, 0.2, 0.5, 1.0)),
        cooldown_seconds=rng.choice((0.0, 0.0, 0.0, 600.0, 1000.0, 90_000.0)),
        confirm_cycles=rng.choice((1, 1, 1, 2, 3)),
        max_step=rng.choice((1.0, 1.0, 1.0, 0.3, 0.1, 0.04, 0.001)),
        probation_cycles=rng.choice((0, 0, 1, 2, 4)),
        membership_grace_cycles=rng.randint(0, 4),
        max_age_seconds=rng.choice((900.0, 600.0, 3600.0)),
        pnl_weight=parts[0],
        sharpe_weight=parts[1],
        winrate_weight=parts[2],
        drawdown_weight=parts[3],
        pnl_scale=rng.choice((10_000.0, 500.0)),
        sharpe_scale=rng.choice((3.0, 1.0)),
        drawdown_scale_percent=rng.choice((20.0, 50.0)),
        drawdown_cut_start_percent=start,
        drawdown_cut_end_percent=end,
        drawdown_cut_floor=rng.choice((0.25, 0.25, 0.0, 0.6, 1.0)),
        min_reserve=rng.choice((0.0, 0.0, 0.0, 0.03, 0.2, 0.5)),
        release_after=rng.choice((None, None, 0, 1, 4, 12)),
        groups=some_groups(rng),
    )


TOGETHER = (
    ("min_alloc", "max_alloc"),
    ("threshold", "derisk_threshold", "turnover_threshold"),
    ("cooldown_seconds", "confirm_cycles"),
    ("max_step",),
    ("probation_cycles", "membership_grace_cycles"),
    ("max_age_seconds",),
    ("pnl_weight", "sharpe_weight", "winrate_weight", "drawdown_weight"),
    ("drawdown_cut_start_percent", "drawdown_cut_end_percent", "drawdown_cut_floor"),
    ("min_reserve",),
    ("release_after",),
    ("groups",),
)
"""Settings that must fit each other."""


def changed_settings(settings: Settings, rng: random.Random) -> Settings:
    """Return settings of which some are others: what an operator changes at a restart."""
    other = some_settings(rng)
    changed = [name for names in rng.sample(TOGETHER, rng.randint(1, 4)) for name in names]
    return replace(settings, **{name: getattr(other, name) for name in changed})


def some_groups(rng: random.Random) -> tuple[tuple[str, float, tuple[str, ...]], ...]:
    """Return no group, one or two, often with agents that the patterns of both match."""
    team = tuple(rng.sample(PATTERNS, rng.randint(1, 3)))
    rest = tuple(rng.sample(PATTERNS, rng.randint(1, 2)))
    caps = [rng.choice((0.0, 0.1, 0.3, 1 / 3, 0.5, 0.9, 1.0)) for _ in range(2)]
    groups = (("first", caps[0], team), ("second", caps[1], rest))
    return groups[: rng.choice((0, 0, 1, 2))]


def some_record(rng: random.Random) -> dict[str, float]:
    """Return a good record: round numbers, wild ones, and one that scores nothing."""
    kind = rng.random()
    if kind < 0.15:
        return {"pnl_7d": -rng.random(), "sharpe_30d": -1.0, "winrate_30d": 0.0, "max_dd_30d": 250.0}
    if kind < 0.4:
        return {
            "pnl_7d": rng.choice((0.0, 1000.0, 5000.0)),
            "sharpe_30d": rng.choice((0.0, 1.5, 3.0)),
            "winrate_30d": rng.choice((0.0, 0.5, 1.0)),
            "max_dd_30d": rng.choice((0.0, 10.0)),
        }
    return {
        "pnl_7d": rng.uniform(-3000, 13_000),
        "sharpe_30d": rng.uniform(-1, 4),
        "winrate_30d": rng.random(),
        "max_dd_30d": rng.uniform(0, 25),
    }


@dataclass(slots=True)
class Weather:
    """One fleet and what befalls it. Mishaps begin at a rate that differs from fleet to fleet, and last a while."""

    rng: random.Random
    now: float = 1_760_000_000
    records: dict[str, dict[str, float]] = field(default_factory=dict)
    faulty: set[str] = field(default_factory=set)
    absent: set[str] = field(default_factory=set)
    mishaps: set[str] = field(default_factory=set)
    file: PauseFile | None = None
    limits: tuple[OperatorLimit, ...] = ()
    hold_until: float | None = None
    ceiling: tuple[float, float] | None = None
    drawdown: float = 0.0
    multiplier: float = 1.0
    unrest: float = 0.1
    onset: float = 0.01
    jumps: float = 0.05
    returns: float = 0.25

    def __post_init__(self) -> None:
        """Choose the fleet and how restless it is."""
        rng = self.rng
        for name in rng.sample(NAMES, rng.choice((1, 2, 3, 4, 5, 6, 8, 12))):
            self.records[name] = some_record(rng)
        self.unrest = rng.choice((0.0, 0.05, 0.2, 0.5))
        self.onset = rng.choice((0.0, 0.005, 0.02, 0.05))
        self.jumps = rng.choice((0.0, 0.05, 0.2))
        self.multiplier = rng.choice((1.0, 0.8, 1.2))
        self.returns = rng.choice((0.25, 0.25, 0.1))

    def next(self) -> Observation:
        """Let one interval pass and return what is seen then."""
        self._pass_time()
        self._change_fleet()
        self._change_mishaps()
        self._change_operator()
        rng = self.rng
        return Observation(
            now=self.now,
            payload=self._payload(),
            pause_file=self.file,
            stopped="stop" in self.mishaps,
            operator_hold_until=self.hold_until if "hold" in self.mishaps else None,
            operator_limits=self.limits,
            accept=rng.random() < (0.15 if self.mishaps else 0.01),
            known_generation=rng.choice((0, 0, 0, 0, 3, 50)),
            files_unwritable="files" in self.mishaps,
            accept_about=rng.choice(("", "", "guardian_lost", "timestamp_lost", "faulty_majority", "members_gone")),
            ceiling=self.ceiling,
            release=self._released(),
        )

    def _pass_time(self) -> None:
        rng = self.rng
        self.now += rng.choice(ODD_STEPS) if rng.random() < self.jumps else INTERVAL

    def _change_fleet(self) -> None:
        rng = self.rng
        for name in self.records:
            if rng.random() < self.unrest:
                self.records[name] = some_record(rng)
            self.faulty ^= {name} if rng.random() < (0.3 if name in self.faulty else self.onset) else set()
            self.absent ^= {name} if rng.random() < (self.returns if name in self.absent else self.onset) else set()
        if rng.random() < self.onset:
            self.records[rng.choice(NAMES)] = some_record(rng)
        if rng.random() < 0.1 * self.unrest + self.onset:
            self.drawdown = rng.choice((0.0, 3.0, 5.0, 7.5, 12.0, 15.0, 40.0, rng.uniform(0, 20)))
        if rng.random() < 0.1 * self.unrest + self.onset:
            self.multiplier = rng.choice((0.0, 0.5, 0.8, 0.93, 1.0, 1.2, 10.0, rng.random()))

    def _change_mishaps(self) -> None:
        rng = self.rng
        for mishap in MISHAPS:
            if mishap in self.mishaps:
                self.mishaps -= {mishap} if rng.random() < 0.3 else set()
            elif rng.random() < self.onset:
                self.mishaps.add(mishap)
                self._begin(mishap)
        if "file" not in self.mishaps:
            self.file = None if rng.random() < 0.9 else PauseFile(readable=True, paused=False, until=inf, reason="over")

    def _begin(self, mishap: str) -> None:
        rng, names = self.rng, list(self.records)
        if mishap == "file":
            until = rng.choice((inf, self.now - 1000, self.now, self.now + 700))
            reason = rng.choice(("", "cooling", "losses"))
            self.file = PauseFile(readable=rng.random() < 0.8, paused=rng.random() < 0.9, until=until, reason=reason)
        elif mishap == "hold":
            self.hold_until = rng.choice((inf, self.now, self.now - 5, self.now + 800))
        elif mishap == "faulty":
            self.faulty = set(rng.sample(names, rng.randint(1 + len(names) // 2, len(names))))
        elif mishap == "gone":
            self.absent = set(rng.sample(names, (len(names) + 1) // 2))

    def _change_operator(self) -> None:
        """Order something at times, and more often while there is a mishap: in most holds, orders take effect."""
        rng, rate = self.rng, 0.15 if self.mishaps else 2 * self.onset
        if rng.random() < rate:
            self.limits = (*self.limits[-3:], self._limit())
        if self.limits and rng.random() < rate / 2:
            self.limits = self.limits[1:]
        if rng.random() < rate / 2:
            most = rng.choice((0.0, 0.3, 0.5, 0.97, 1.0, rng.random()))
            self.ceiling = rng.choice((None, (most, rng.choice((inf, self.now + 900, self.now - 10)))))

    def _limit(self) -> OperatorLimit:
        rng = self.rng
        floor, cap = sorted((rng.choice((0.0, 0.0, 0.1, 0.3)), rng.choice((0.0, 0.03, 0.2, 0.35, 1.0))))
        until = rng.choice((inf, self.now + 900, self.now - 10))
        agent = rng.choice((*NAMES, "*", "*"))
        limit = OperatorLimit(agent, cap=cap, floor=floor, until=until, share_out=rng.random() < 0.4)
        if rng.random() < 0.3:
            limit = replace(limit, floor=0.0) if rng.random() < 0.5 else replace(limit, cap=1.0)
        return limit

    def _released(self) -> frozenset[str]:
        rng = self.rng
        silent = sorted(self.absent | self.faulty)
        wanted = rng.random() < (0.05 if silent else self.onset / 10)
        return frozenset({rng.choice((*silent, rng.choice(NAMES)))} if wanted else ())

    def _payload(self) -> Payload | str:
        rng, mishaps = self.rng, self.mishaps
        if "refused" in mishaps:
            return rng.choice(("fetch_failed", "payload_refused"))
        at: float | None = self.now - rng.choice((0, 10, 299, 600, -60))
        if "stale" in mishaps:
            at = self.now - rng.choice((601, 900, 901, 10_000))
        if "future" in mishaps:
            at = self.now + rng.choice((60, 61, 5000))
        records: dict[str, dict[str, float] | None] = {
            name: None if name in self.faulty else record
            for name, record in self.records.items()
            if name not in self.absent
        }
        if rng.random() < self.onset:
            records["\\u202eevil"] = None
        guardian = GuardianBlock(
            paused="says_paused" in mishaps,
            drawdown=None if "no_drawdown" in mishaps else self.drawdown,
            reason=rng.choice(("", "cooling", "cooling", "losses")),
        )
        return Payload(
            at=None if "no_stamp" in mishaps else at,
            records={} if "empty" in mishaps else records,
            guardian=None if "no_guardian" in mishaps else guardian,
            multiplier=None if "no_regime" in mishaps else self.multiplier,
            regime_at=self._regime_at(),
        )

    def _regime_at(self) -> float | None:
        rng = self.rng
        if "old_regime" in self.mishaps:
            return self.now - rng.choice((599, 600, 601, 900, 901, 3601, 200_000))
        if "early_regime" in self.mishaps:
            return self.now + rng.choice((60, 61, 5000))
        return rng.choice((None, self.now, self.now - 300))
