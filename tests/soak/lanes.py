"""The schedule of a soak: three lanes, each a thread with its own seeded dice, that go on side by side.

The main lane has one fault after another, each kind once in a round, the rounds shuffled. Beside it Telegram fails in
one way after another, and a rival writes the override file in some periods.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from typing import Final

from tests.soak.faults import FAULTS, THRICE
from tests.soak.reader import RIVAL
from tests.soak.stage import SoakOver, Stage

RIVAL_SECONDS: Final = 5.0
RIVAL_WRITES: Final = 4
LONGEST_TELEGRAM_SECONDS: Final = 120.0
CALM_SECONDS: Final = (3.0, 10.0)
ENOUGH_SECONDS: Final = 540.0
"""A round in full length takes about so long; where there is less, each fault is shortened alike."""


def rounds(kinds: Sequence[str], dice: random.Random) -> list[str]:
    """Return one round: each kind once, the killed governor three times, in any order."""
    deck = [*kinds, *([THRICE] * 2 if THRICE in kinds else [])]
    dice.shuffle(deck)
    return deck


def main_lane(stage: Stage, kinds: Sequence[str], seconds: float, say: Callable[[str], object]) -> None:
    """Have faults for so many seconds; one that has begun is ended in order."""
    end = time.monotonic() + seconds
    part = min(1.0, seconds / ENOUGH_SECONDS)
    deck: list[str] = []
    while time.monotonic() < end and not stage.over.is_set():
        deck = deck or rounds(kinds, stage.dice)
        kind = deck.pop()
        fault = FAULTS[kind]
        say(kind)
        with stage.fault(kind, excuses=fault.excuses) as window:
            fault.act(stage, window, max(fault.least_seconds, part * fault.seconds))
        if not window.fired or not window.recovered:
            stage.found.append(f"{kind}: " + ("no recovery" if window.fired else "it was not seen to happen"))
        say("")
        stage.rest(max(CALM_SECONDS[0], part * stage.dice.uniform(*CALM_SECONDS)))


def telegram_lane(stage: Stage, dice: random.Random, part: float) -> None:
    """Let Telegram be down, hang, ask for a pause, or be a broken proxy; each until an attempt has failed by it."""
    modes: list[str] = []
    while True:
        stage.rest(max(5.0, part * dice.uniform(15, 60)))
        modes = modes or dice.sample(["down", "hang", "busy", "proxy"], 4)
        mode = modes.pop()
        with stage.calm, stage.fault(f"Telegram: {mode}", disturbs=False) as window:
            failed = stage.ledger.attempts()
            stage.chat.order(mode)
            try:
                stage.rest(max(4.0, part * dice.uniform(10, 40)))
                if not stage.until(lambda failed=failed: stage.ledger.attempts() > failed, 10):  # type: ignore[misc]
                    stage.fleet.order("swing")  # nothing was to be told: have a move
                    stage.until(lambda failed=failed: stage.ledger.attempts() > failed, LONGEST_TELEGRAM_SECONDS)  # type: ignore[misc]
                window.fired = stage.ledger.attempts() > failed
            finally:
                stage.chat.order("up" if mode == "down" else "well")
        if not window.fired:
            stage.found.append(f"{window.kind}: it was not seen to happen")


def rival_lane(stage: Stage, dice: random.Random, part: float) -> None:
    """Let another program write the override every five seconds, some times, and see whether that is mended."""
    while True:
        stage.rest(max(5.0, part * dice.uniform(20, 60)))
        with stage.fault("rival writer", disturbs=False) as window:
            for _ in range(RIVAL_WRITES):
                with stage.quiet:
                    rewrite(stage)
                stage.rest(RIVAL_SECONDS)
                said = json.loads(stage.plant.override.read_bytes())
                window.fired |= said["source"] != RIVAL


def rewrite(stage: Stage) -> None:
    """Write as NeoLight's weights bridge does, but whole: a torn read would be this writer's fault."""
    written = stage.plant.override.with_name("rival.new")
    document = {"allocations": {"BTC-USD": 0.6, "ETH-USD": 0.4}, "source": RIVAL, "timestamp": "2025-11-03T22:00:00Z"}
    try:
        written.write_text(json.dumps(document))
        written.replace(stage.plant.override)
    except OSError:
        written.unlink(missing_ok=True)  # the disk is full: a rival meets that too


def lane(stage: Stage, run: Callable[[], object]) -> None:
    """Run a lane to its end; what it raises ends the soak and is found wrong."""
    try:
        run()
    except SoakOver:
        return
    except Exception as error:  # noqa: BLE001 - whatever it is, the soak failed, and its table says by what
        stage.found.append(f"a lane ended with {error!r}")
        stage.over.set()
