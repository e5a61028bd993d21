"""The progress of the demo: the current scene, and what happened so far. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from capital_governor.cli.demo.scenes import SCENES, Scene
from capital_governor.cli.history_events import cycle_text, outcome_text
from capital_governor.core.model import RESERVE, Snapshot
from capital_governor.core.reason import CUTS, HOLDS, MOVES, STAYS, Reason
from capital_governor.journal.protocol import Entry
from capital_governor.wording.amounts import percent_text
from capital_governor.wording.log_lines import unwell_texts

NAMED_SHARES: Final = 2


@dataclass(frozen=True, slots=True)
class Said:
    """One line: its time in seconds since the demo began, its text and its kind.

    Kinds are "scene", "seen" and those of a cycle: "move", "hold", "stay" and "fault".
    """

    seconds: float
    text: str
    kind: str


@dataclass(slots=True)
class Progress:
    """The state of the demo.

    Args:
        seed: of the fleet.
        day: of the fleet's clock.
        playing: index of the current scene; the number of scenes after the last one.
        seen: whether the journal has the cycle that the scene waits for.
        since: when the scene began, in seconds since the demo began.
        entry: the newest journalled cycle.
        asked: the share that each agent's score asked for in the last decision, in millionths.
        said: all lines so far.
    """

    seed: int
    day: float = 0.0
    playing: int = -1
    seen: bool = True
    since: float = 0.0
    entry: Entry | None = None
    asked: Mapping[str, int] = field(default_factory=dict)
    said: list[Said] = field(default_factory=list)
    _reason: Reason | None = None
    _unwell: dict[str, str] = field(default_factory=dict)

    @property
    def scene(self) -> Scene | None:
        """The current scene; None before the first and after the last."""
        return SCENES[self.playing] if 0 <= self.playing < len(SCENES) else None

    @property
    def upcoming(self) -> Scene | None:
        """The next scene; None if there is none."""
        return SCENES[self.playing + 1] if self.playing + 1 < len(SCENES) else None

    @property
    def over(self) -> bool:
        """Whether all scenes are over."""
        return self.playing >= len(SCENES)

    def begin(self, seconds: float) -> None:
        """Go to the next scene."""
        self.playing += 1
        if self.scene is not None:
            self.seen, self.since = False, seconds
            numbered = f"Scene {self.playing + 1} of {len(SCENES)}: {self.scene.happens}"
            self.said.append(Said(seconds, numbered, "scene"))

    def hear(self, entry: Entry, seconds: float) -> None:
        """Add one journalled cycle, and check whether it is the one that the scene waits for."""
        self.said += [Said(seconds, text, kind) for text, kind in self._news(entry)]
        self.entry = entry
        if entry.decision.trace.target:
            self.asked = entry.decision.trace.target
        if self.scene is not None and not self.seen and self.scene.proven_by(entry):
            self.seen = True
            waited = seconds - self.since
            text = f"Seen after {waited:.1f} s: {self.scene.name}"
            self.said.append(Said(seconds, text, "seen"))

    def _news(self, entry: Entry) -> Iterator[tuple[str, str]]:
        """Yield a move with its shares, a hold or a stay when it begins, a fault when it begins or ends."""
        payload, reason, sentence = entry.inputs.payload, entry.reason, outcome_text(*cycle_text(entry))
        if isinstance(payload, Snapshot) and entry.decided:
            unwell = unwell_texts(entry.decision, payload)
            yield from ((f"{agent}: {text}", "fault") for agent, text in unwell.items() if agent not in self._unwell)
            yield from ((f"{agent}: healthy again", "stay") for agent in self._unwell if agent not in unwell)
            self._unwell = unwell
        if reason in MOVES | CUTS | {Reason.RESTORE}:
            yield sentence, "move"
            yield published_text(entry), "move"
        elif reason is not self._reason and not {reason, self._reason} <= STAYS:
            yield sentence, "hold" if reason in HOLDS else "stay"
        self._reason = reason


def published_text(entry: Entry) -> str:
    """Return what is published after a cycle: the largest shares, how many more, the reserve."""
    published = entry.after.published
    if published is None:
        return "nothing is published"
    ranked = sorted(published.shares.items(), key=lambda line: (-line[1], line[0]))
    lines = [*ranked[:NAMED_SHARES], (RESERVE, published.reserve)]
    more = f" and {len(ranked) - NAMED_SHARES} more" if len(ranked) > NAMED_SHARES else ""
    shown = [f"{name} {percent_text(share)}" for name, share in lines]
    return f"{', '.join(shown[:-1])}{more}; {shown[-1]}"
