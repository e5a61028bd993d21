"""What an operator orders during a soak, by command, and whether it is obeyed: faults of ``faults.FAULTS``."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any, Final

from tests.soak.gateway import SILENT
from tests.soak.stage import Stage, Window

LIMIT: Final = 0.08
CEILING: Final = 0.15
RESERVE: Final = 0.8
PAIR: Final = 0.1
TIGHTER: Final = {
    "CAPITAL_GOVERNOR_MIN_RESERVE": str(RESERVE),
    "CAPITAL_GOVERNOR_GROUPS": f"pair={PAIR}:{','.join(SILENT)}",
}


def knows(command: str) -> bool:
    """Whether this version of the program has the command."""
    line = [sys.executable, "-P", "-m", "capital_governor", command, "--help"]
    return subprocess.run(line, check=False, capture_output=True, timeout=60).returncode == 0


def operate(stage: Stage, *words: str) -> None:
    """Give the governor an order by command. Raises RuntimeError if it is not taken."""
    line = [sys.executable, "-P", "-m", "capital_governor", *words, "--root", str(stage.plant.root)]
    done = subprocess.run(line, check=False, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise RuntimeError(f"{words} ended with {done.returncode}: {done.stderr}")


def hold(stage: Stage, window: Window, seconds: float) -> None:
    """An operator's hold, taken back before it expires, and one that expires: no new shares meanwhile."""
    operate(stage, "hold", "--for", "1h", "--reason", "soak")
    window.fired = stage.saw(window.begin, "operator_hold")
    held = _published(stage)["generation"]
    stage.fleet.order("swing")
    stage.rest(seconds)
    if _published(stage)["generation"] != held:
        stage.found.append(f"generation {_published(stage)['generation']} was published under an operator's hold")
    operate(stage, "resume")
    resumed = time.time()
    stage.until(lambda: stage.decided(resumed))
    again = time.time()
    operate(stage, "hold", "--for", "3s")
    window.fired &= stage.saw(again, "operator_hold")


def limit(stage: Stage, window: Window, seconds: float) -> None:
    """An operator's limit on the largest agent: what it has beyond is withheld until the limit is taken back."""
    shares = _published(stage)["allocations"]
    limited = max(shares, key=lambda name: (shares[name], name))
    window.fired = not _is_within(stage, limited)
    operate(stage, "limit", limited, "--max", str(LIMIT), "--for", "1h", "--reason", "soak")
    try:
        window.fired &= stage.until(lambda: _is_within(stage, limited))
        for _ in range(2):  # the first lets it lose, the second lets it be better than most again
            stage.fleet.order("swing")
            _watch_limit(stage, limited, seconds / 2)
    finally:
        operate(stage, "unlimit", limited)


def _watch_limit(stage: Stage, limited: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        stage.rest(0.2)
        if not _is_within(stage, limited):
            stage.found.append(f"{limited} is not within a limit of {LIMIT}: {_published(stage)}")


def _is_within(stage: Stage, agent: str) -> bool:
    said = _published(stage)
    return bool(said["allocations"].get(agent, 0.0) <= LIMIT * said["exposure"] + 1e-9)


def exposure(stage: Stage, window: Window, seconds: float) -> None:
    """The dashboard is down, and the operator lowers exposure: it falls in the next cycle, and nobody rises."""
    stage.fleet.order("down")
    try:
        window.fired = stage.saw(window.begin, "fetch_failed")
        window.fired &= _tightened(stage, CEILING)
        stage.rest(seconds)
        _no_more_than(stage, CEILING)
    finally:
        stage.fleet.order("up")
        operate(stage, "exposure", "--lift")


def exposure_in_a_pause(stage: Stage, window: Window, seconds: float) -> None:
    """Guardian has paused, and the operator takes all capital away: that is written, and nothing else is."""
    path = stage.plant.root / "state/guardian_pause.json"
    written = path.with_name(f"{path.name}.new")
    with stage.quiet:
        written.write_text('{"paused": true, "reason": "soak"}')
        written.rename(path)
        try:
            window.fired = stage.saw(window.begin, "paused")
            window.fired &= _tightened(stage, 0.0)
            # Both files have it by the end of the next cycle.
            written_at = time.time()
            stage.until(lambda: stage.ledger.since(written_at))
            stage.fleet.order("swing")
            stage.watch_stillness(seconds)
            _no_more_than(stage, 0.0)
        finally:
            path.unlink()
            operate(stage, "exposure", "--lift")


def _tightened(stage: Stage, most: float) -> bool:
    """Order this exposure; return whether it is published, and find it wrong if that takes more than two cycles."""
    before, begun = _published(stage), time.time()
    operate(stage, "exposure", "--max", str(most), "--reason", "soak")
    ordered = time.time()
    obeyed = stage.until(lambda: stage.ledger.since(begun, ("cut_ceiling",)))
    # A cycle may have read the orders right before, and the command ends a little after the order is given.
    cut = min([row.at for row in stage.ledger.since(begun, ("cut_ceiling",))], default=float("inf"))
    late = [row.reason for row in stage.ledger.since(ordered) if row.at < cut]
    if len(late) > 1:
        stage.found.append(f"exposure --max {most:g} was not obeyed at once: {late}")
    now = _published(stage)["allocations"]
    risen = {name: share for name, share in now.items() if share > before["allocations"].get(name, 0.0)}
    if risen:
        stage.found.append(f"exposure --max {most:g} raised {risen}: {before['allocations']}")
    return obeyed and before["exposure"] > most


def _no_more_than(stage: Stage, most: float) -> None:
    said = _published(stage)
    if said["exposure"] > most or sum(said["allocations"].values()) > most + 1e-9:
        stage.found.append(f"exposure is above {most:g}: {said}")


def silence(stage: Stage, window: Window, seconds: float) -> None:
    """Two agents are silent until they lapse, and have nothing; three good records later they have shares again."""
    stage.fleet.order("silent")
    try:
        window.fired = stage.until(lambda: _have_lapsed(stage, *SILENT))
        stage.rest(seconds)
        if not _have_lapsed(stage, *SILENT):
            stage.found.append(f"{SILENT} are silent, and have shares: {_published(stage)}")
    finally:
        stage.fleet.order("well")
    window.fired &= stage.until(lambda: not _have_lapsed(stage, *SILENT))


def release(stage: Stage, window: Window, seconds: float) -> None:
    """One of two silent agents is released: it has no line any more; it may be back, and joins with the next move."""
    released, other = SILENT
    stage.fleet.order("silent")
    try:
        window.fired = stage.until(lambda: _have_lapsed(stage, *SILENT))
        operate(stage, "release", released)
        window.fired &= stage.until(lambda: released not in _published(stage)["allocations"])
        stage.rest(seconds)
        if not _have_lapsed(stage, other):
            stage.found.append(f"{other} is silent and not released, and has a share: {_published(stage)}")
    finally:
        stage.fleet.order("well")
    joins = time.time()
    stage.until(lambda: stage.decided(joins))
    stage.fleet.order("swing")
    window.fired &= stage.until(lambda: released in _published(stage)["allocations"])


def _have_lapsed(stage: Stage, *agents: str) -> bool:
    said = _published(stage)
    shares, withheld = said["allocations"], said.get("withheld", {})
    return all(shares.get(agent) == 0.0 and withheld.get(agent, 0.0) > 0.0 for agent in agents)


def settings(stage: Stage, window: Window, seconds: float) -> None:
    """The governor starts with a reserve and a group, both of which are kept, and then without them again."""
    former = dict(stage.plant.site.settings)
    restart(stage, former | TIGHTER)
    try:
        window.fired = stage.until(lambda: _is_tight(stage))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            stage.rest(0.2)
            if not _is_tight(stage):
                stage.found.append(f"{TIGHTER} are not kept: {_published(stage)}")
    finally:
        restart(stage, former)


def restart(stage: Stage, settings: dict[str, str]) -> None:
    """Start the governor with these settings."""
    stage.plant.stop()
    stage.crashes += 1  # what was on its way is sent again
    stage.plant.site.settings = settings
    stage.plant.start()
    stage.restarts += 1


def _is_tight(stage: Stage) -> bool:
    said = _published(stage)
    pair = sum(said["allocations"].get(name, 0.0) for name in SILENT)
    return said["exposure"] <= 1 - RESERVE + 1e-9 and bool(pair <= PAIR * said["exposure"] + 1e-9)


def accept(stage: Stage, window: Window, seconds: float) -> None:
    """The guardian block is lost, and the operator accepts that: the governor decides again without it."""
    stage.fleet.order("unguarded")
    try:
        window.fired = stage.saw(window.begin, "guardian_lost")
        operate(stage, "accept")
        accepted = time.time()
        window.fired &= stage.until(lambda: stage.decided(accepted))
        stage.rest(seconds)
    finally:
        stage.fleet.order("well")


def _published(stage: Stage) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(stage.plant.primary.read_bytes())
    return said
