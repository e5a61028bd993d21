"""The soak's agent: reads both allocation files as fast as it may, and judges each read.

Run as ``python -m tests.soak.reader PRIMARY OVERRIDE``. Orders: ``stats``.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.soak.station import obey

EVERY_SECONDS: Final = 0.004
RIVAL: Final = "rl_inference"
WHOLE: Final = 1_000_000
SHOWN: Final = 5


def fault_of(content: bytes, *, rivals: bool) -> str:
    """Return what is wrong with an allocation file, empty if nothing is; ``rivals`` may have written it, too."""
    try:
        said: dict[str, Any] = json.loads(content)
        source = said["source"]
        if source == "capital_governor":
            return _fault_of_lines([*said["allocations"].values(), said["reserve"]], said)
    except (ValueError, KeyError, TypeError) as error:
        return f"torn: {error!r}"
    return "" if rivals and source == RIVAL else f"source is {source!r}"


def _fault_of_lines(lines: list[float], said: dict[str, Any]) -> str:
    """Judge the shares and, as the last line, the reserve."""
    millionths = [round(line * WHOLE) for line in lines]
    most = said["exposure"] * said.get("max_allocation", 1.0) * WHOLE + 1
    if any(abs(line * WHOLE - whole) > 1e-6 or line < 0 for line, whole in zip(lines, millionths, strict=True)):
        return f"a share is no whole number of millionths: {lines}"
    if sum(millionths) != WHOLE:
        return f"shares and reserve add up to {sum(millionths)} millionths"
    withheld = sum(round(part * WHOLE) for part in said.get("withheld", {}).values())
    if withheld > millionths[-1]:
        return f"{withheld} millionths are withheld, the reserve is {millionths[-1]}"
    if sum(millionths[:-1]) + withheld > said["exposure"] * WHOLE + 1:
        return f"more is planned than exposure {said['exposure']} allows"
    if max(millionths[:-1], default=0) > most:
        return f"a share is above its limit of {most:.0f} millionths"
    return ""


@dataclass(slots=True)
class Reader:
    """Reads two files and counts.

    Attributes:
        bad: what was wrong, the first few.
        generations: of the primary, each with its shares and reserve in millionths, as first seen.
    """

    primary: Path
    override: Path
    reads: int = 0
    torn: int = 0
    rivals: int = 0
    backwards: int = 0
    bad: list[str] = field(default_factory=list)
    generations: dict[int, tuple[dict[str, int], int]] = field(default_factory=dict)
    _last: dict[Path, bytes] = field(default_factory=dict)
    _newest: int = 0

    def look(self) -> None:
        """Read both files once."""
        for path in (self.primary, self.override):
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                if path in self._last:
                    self._condemn(f"{path.name} is gone")
                continue
            self.reads += 1
            if content != self._last.get(path):
                self._judge(path, content)
            self._last[path] = content

    def _judge(self, path: Path, content: bytes) -> None:
        fault = fault_of(content, rivals=path == self.override)
        if fault:
            self._condemn(f"{path.name}: {fault}: {content[:300]!r}")
            return
        said = json.loads(content)
        if said["source"] == RIVAL:
            self.rivals += 1
        elif path == self.primary:
            if said["generation"] < self._newest:
                self.backwards += 1
            self._newest = said["generation"]
            shares = {agent: round(share * WHOLE) for agent, share in said["allocations"].items()}
            self.generations.setdefault(said["generation"], (shares, round(said["reserve"] * WHOLE)))

    def _condemn(self, what: str) -> None:
        self.torn += 1
        if len(self.bad) < SHOWN:
            self.bad.append(what)

    def stats(self) -> dict[str, object]:
        """Return what has been counted."""
        return {
            "reads": self.reads,
            "torn": self.torn,
            "rivals": self.rivals,
            "backwards": self.backwards,
            "bad": list(self.bad),
            "generations": dict(self.generations),
        }


def _hammer(reader: Reader, stop: threading.Event) -> None:
    while not stop.is_set():
        reader.look()
        time.sleep(EVERY_SECONDS)


if __name__ == "__main__":
    agent, over = Reader(Path(sys.argv[1]), Path(sys.argv[2])), threading.Event()
    thread = threading.Thread(target=_hammer, args=(agent, over))
    thread.start()
    try:
        obey(lambda _: agent.stats())
    finally:
        over.set()
        thread.join()
