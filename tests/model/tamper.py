"""What others do to a root: settings, payloads that are none, pause files, rivals, lost journals."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Any, Final

from capital_governor.service.cycle import PAUSE_FILE
from tests.model import documents
from tests.model.fleet import NAMES, Dashboard, Said
from tests.model.world import World
from tests.oracle.sight import PauseFile, Settings
from tests.oracle.weather import some_settings
from tests.rigs.allocation_files import document, previous

RIVALS: Final = (
    "override foreign",
    "override symbols",
    "override torn",
    "override gone",
    "override newer",
    "override folder",
    "primary torn",
    "primary gone",
    "primary newer",
    "primary folder",
)
UNUSABLE: Final = frozenset({"fetch_failed", "error", "torn", "schema", "stale", "future"})
"""The kinds of ``odd`` payloads that no cycle can use."""
FOREIGN: Final = {"allocations": {"SmartTrader": 0.9}, "source": "rl_inference", "timestamp": "2025-11-03T22:00:00Z"}
SYMBOLS: Final = {"allocations": {"BTC-USD": 1.0}, "source": "strategy_lab"}


def rules(seed: int) -> Settings:
    """Return settings from all over their ranges, brakes more often than operators set them."""
    rng = random.Random(seed)  # noqa: S311 - the same settings for the same seed
    found = some_settings(rng)
    return found if rng.random() < 0.5 else replace(found, cooldown_seconds=rng.choice((301.0, 700.0, 3_600.0)))


DEFAULTS: Final = replace(
    rules(0),
    min_alloc=0.05,
    max_alloc=0.4,
    threshold=0.1,
    derisk_threshold=0.05,
    turnover_threshold=0.2,
    cooldown_seconds=0.0,
    confirm_cycles=1,
    max_step=1.0,
    probation_cycles=0,
    membership_grace_cycles=1,
    max_age_seconds=900.0,
    min_reserve=0.0,
    release_after=None,
    groups=(),
)
"""What a far state begins with: the defaults of the settings, and no brake."""


def iso(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"


def odd(dashboard: Dashboard, world: World, kind: str, earlier: Sequence[Said]) -> Said:
    """Return a payload of this kind: refused, of another time, or one that was sent before."""
    age = {"stale": world.rules.max_age_seconds + 1, "edge": world.rules.max_age_seconds, "future": -61.0}
    if kind in age:
        return dashboard.payload(world.now - age[kind])
    now = dashboard.payload(world.now)
    if kind == "reordered":
        return earlier[0] if earlier else now
    bodies = {
        "fetch_failed": b"",
        "error": b'{"error": "no cache", "timestamp": "2025-11-03T22:00:00"}',
        "torn": now.body[:-9],
        "schema": b'{"type": "telemetry", "equity": 100000.0}',
        "regime": now.body.replace(b'"risk_multiplier": ', b'"risk_multiplier": -'),
    }
    if kind == "regime" and (b'"risk_multiplier": -' not in bodies[kind] or dashboard.multiplier == 0):
        return now
    return Said(bodies[kind], "fetch_failed" if kind == "fetch_failed" else "payload_refused")


def pause(world: World, kind: str, reason: str) -> None:
    """Write the Guardian's pause file, or remove it."""
    path = world.root / PAUSE_FILE
    path.unlink(missing_ok=True)
    world.pause_file = None
    if kind == "gone":
        return
    spoilt = {"torn": '{"pau', "empty": "", "endless": '{"paused": true, "until": "soon"}'}
    if kind in spoilt:
        path.write_text(spoilt[kind])
        world.pause_file = PauseFile(readable=False, paused=True, until=inf, reason="")
        return
    said: dict[str, Any] = {"paused": kind != "off", "reason": reason}
    until = {"until": world.now + 700, "over": world.now - 1}.get(kind)
    if until is not None:
        said["until"] = iso(until)
    path.write_text(json.dumps(said))
    end = inf if until is None else until
    world.pause_file = PauseFile(readable=True, paused=kind != "off", until=end, reason=reason)


def rival(world: World, kind: str, seed: int) -> None:
    """Let somebody else write, tear or remove an allocation file, or put a folder in its place."""
    which, what = kind.split()
    path = world.primary if which == "primary" else world.override
    if what == "newer":
        leave_primary(world, "ours", seed, path)
        return
    content = path.read_bytes() if path.is_file() else b""
    clear(path)
    if what == "torn":
        path.write_bytes(content[: len(content) // 2])
    elif what == "folder":
        path.mkdir()
    elif what != "gone":
        path.write_text(json.dumps(FOREIGN if what == "foreign" else SYMBOLS))


def leave_primary(world: World, kind: str, seed: int, path: Path | None = None) -> None:
    """Write a sound allocation file, of ours or of the previous program, in the place of what is there."""
    rng = random.Random(seed)  # noqa: S311 - the same file for the same seed
    names = sorted(rng.sample(NAMES, rng.randint(1, len(NAMES))))
    exposure = rng.choice((1.0, 0.8, 0.5)) if kind == "ours" else 1.0
    weights = {name: rng.choice((0, 50_000, 400_000, 900_000)) // len(names) / 1_000_000 for name in names}
    shares = {name: round(weight * exposure * 1_000_000 - 0.5) for name, weight in weights.items()}
    shares = {name: max(0, share) for name, share in shares.items()}
    if kind == "previous":
        # No two of its files are the same, so each is news.
        world.left += 1
        shares[names[0]] += world.left
    kept = {name: rng.randint(0, share) for name, share in shares.items() if kind == "ours" and rng.random() < 0.3}
    withheld = {name: part for name, part in kept.items() if part}
    shares = {name: share - withheld.get(name, 0) for name, share in shares.items()}
    allocations = {name: share / 1_000_000 for name, share in shares.items()}
    stamp = iso(world.now - rng.choice((10, 2_000)))
    used = 0 if world.oracle.published is None else world.oracle.published.generation
    made = (
        document(
            allocations=allocations,
            reserve=(1_000_000 - sum(shares.values())) / 1_000_000,
            weights=weights,
            exposure=exposure,
            scores={},
            withheld={name: part / 1_000_000 for name, part in withheld.items()} or ...,
            generation=max(1, used + rng.randint(0, 3)),
            timestamp=stamp,
        )
        if kind == "ours"
        else previous(allocations=allocations, timestamp=stamp)
    )
    place = world.primary if path is None else path
    clear(place)
    place.write_text(json.dumps(made))


def clear(path: Path) -> None:
    """Let nothing be at ``path``."""
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def lose_journal(world: World, *, garbage: bool) -> None:
    """Delete the journal, or put another file in its place."""
    for suffix in ("", "-wal", "-shm"):
        Path(f"{world.journal_path}{suffix}").unlink(missing_ok=True)
    if garbage:
        world.journal_path.write_bytes(b"not a database, but long enough to be read as one" * 40)


def regular(world: World) -> list[Path]:
    """Return those of the two files that no folder stands in for."""
    return [path for path in (world.primary, world.override) if not path.is_dir()]


def documents_of(world: World) -> list[documents.Document | None]:
    return [documents.read(path) for path in (world.primary, world.override)]
