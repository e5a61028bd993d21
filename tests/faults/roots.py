"""Roots with a publication behind them and a known one ahead, and what their files may say in between."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from capital_governor.adapters.bounded_reading import read_bounded
from capital_governor.adapters.paths import Paths
from tests.faults.publisher import publish_first, publish_next
from tests.promises.ledger import require
from tests.rigs.cycle_rig import CycleRig

Pair = tuple[bytes | None, bytes | None]


def pair(root: Path) -> Pair:
    """The contents of primary and override."""
    paths = Paths(root)
    return read_bounded(paths.primary), read_bounded(paths.override)


def shares(content: bytes | None) -> Any:
    """What an agent learns from a file: its generation and all shares."""
    assert content is not None
    document = json.loads(content)
    return document["generation"], document["allocations"]


@dataclass(frozen=True, slots=True)
class Roots:
    """Copies of one root with generation 1 published, and what both files say before and after the next move."""

    base: Path
    old: Pair
    new: Pair

    @classmethod
    def below(cls, folder: Path) -> Self:
        """Make the first root; the injected clock makes all contents known beforehand."""
        base = folder / "base"
        base.mkdir()
        publish_first(base)
        made = cls(base, pair(base), (None, None))
        root = made.fresh()
        with publish_next(root):
            new = pair(root)
        assert [shares(content)[0] for content in (*made.old, *new)] == [1, 1, 2, 2]
        return cls(base, made.old, new)

    def fresh(self) -> Path:
        """Return a root like the first one; the one before is gone."""
        root = self.base.with_name("root")
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(self.base, root, symlinks=True)
        return root

    @property
    def whole(self) -> tuple[Pair, ...]:
        """What both files may hold at any time: all of the old or the new content, the primary first."""
        return self.old, (self.new[0], self.old[1]), self.new


def require_convergence(rig: CycleRig, where: str) -> None:
    """Both files say what the journal says, and no temporary lies beside them."""
    found, published = pair(rig.root), rig.governor.state.published
    assert published is not None
    said = [shares(content) for content in found]
    require(said[0] == said[1], f"{where}, the files differ after the next cycle: {said}")
    require(said[0][0] == published.generation == 2, f"{where}, {said[0]} is not generation 2")
    known = rig.journal.head("live")
    require(known is not None and known.state.published == published, f"{where}, the journal does not know of it")
    require(not rig.journal.lost, f"{where}, the journal is lost")
    left = [path.name for path in (rig.root / "runtime").glob(".*")]
    require(not left, f"{where}, {left} were left")
