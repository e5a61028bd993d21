"""What an operator can do about a fetch of the metrics that failed: the hints for a dashboard, and for the hive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Hints:
    """What an operator can do about a fetch that failed; each is added to what happened.

    Args:
        absent: there is no connection.
        silent: there is one, but no usable answer.
        unexplained: the answer is not 200, and gives no reason.
        foreign: the server has no /meta/metrics.
    """

    absent: str = ""
    silent: str = ""
    unexplained: str = ""
    foreign: str = ""


_ELSEWHERE: Final = "set NEOLIGHT_DASHBOARD_URL to where it is"
DASHBOARD_HINTS: Final = Hints(
    absent=f"start the dashboard, or {_ELSEWHERE} (a fleet without one: CAPITAL_GOVERNOR_HIVE=1)",
    silent=f"see the dashboard's log, or {_ELSEWHERE}",
    unexplained=f"see the dashboard's log, or {_ELSEWHERE}",
)
HIVE_HINTS: Final = Hints(
    absent="the hive is not running: `./neo_light_fix.sh restart` starts it, and logs/hive.log says why it ended",
    silent="see logs/hive.log; `./neo_light_fix.sh restart` starts the hive anew",
    unexplained="see logs/hive.log; if another program has this port, set another one in NEOLIGHT_DASHBOARD_URL",
    foreign="another program than the hive has this port: set another one in NEOLIGHT_DASHBOARD_URL",
)
NO_HINTS: Final = Hints()
