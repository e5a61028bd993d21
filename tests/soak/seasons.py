"""The simulated fleet on a fast clock, whose story begins anew each season with other luck, and its state files."""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Final

from capital_governor.hive.simulation import CALM_DAY, Fleet, replace_file
from capital_governor.hive.state_files import PAUSE, PERFORMANCE

DAY_SECONDS: Final = 5.0
"""So long is a day of the fleet's clock."""
SEASON_DAYS: Final = CALM_DAY + 6.0
"""The story of the simulation, and a little: beyond it the market's regime would never change again."""
LUCKS: Final = 1_000_000

Documents = dict[Path, dict[str, Any]]
"""State files by path below the root."""


class Seasons:
    """What the fleet's state files hold; a function of seed, of ``clock`` in seconds, and of who lost when."""

    def __init__(self, seed: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._seed = seed
        self._clock = clock
        self._began = clock()
        self._season = 0
        self._fleet = Fleet(seed * LUCKS)
        self._losers: Collection[str] = ()

    def swing(self, losers: Collection[str]) -> None:
        """Until the season ends these agents lose by all their trades, past ones too, and all others win by theirs."""
        self._losers = losers

    def documents(self, now: float) -> Documents:
        """Return the state files of this moment but for the pause file, which is the soak's own.

        Args:
            now: what their time stamps say, in seconds since 1970 UTC.
        """
        season, day = divmod((self._clock() - self._began) / DAY_SECONDS, SEASON_DAYS)
        if season != self._season:
            self._season, self._fleet, self._losers = int(season), Fleet(self._seed * LUCKS + int(season)), ()
        self._fleet.run_to(day)
        found = {path: said for path, said in self._fleet.documents(now).items() if path != PAUSE and said is not None}
        for decision in found[PERFORMANCE]["decisions"] if self._losers else ():
            if isinstance(decision["pnl"], float):  # a faulty agent's are none
                decision["pnl"] = abs(decision["pnl"]) * (-1 if decision["agent"] in self._losers else 1)
        return found


def write(root: Path, documents: Documents) -> bool:
    """Write each file as a whole; return False if the disk is full. Raises OSError for all else."""
    try:
        for path, said in documents.items():
            replace_file(root / path, json.dumps(said).encode())
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False
    return True
