"""Governors that start at the same moment: this process loads the program once, and forks them.

    python -m tests.faults.racer ROOT [PRELUDE]

Each line on stdin is a number of governors to start at once; their pids are printed. PRELUDE is executed first.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from capital_governor.cli.run_command import run


def main() -> None:
    """Serve until stdin ends; reap whoever has ended by then."""
    root = Path(sys.argv[1])
    for prelude in sys.argv[2:]:
        exec(prelude)  # noqa: S102 - the mutant of a test
    for line in sys.stdin:
        waiting, go = os.pipe()
        pids = []
        for _ in range(int(line)):
            pid = os.fork()
            if pid == 0:
                os.close(go)
                os.read(waiting, 1)  # ends for all at once, when the other end is closed
                _govern(root)
            pids.append(pid)
        os.close(go)
        os.close(waiting)
        sys.stdout.write(f"{' '.join(map(str, pids))}\n")
        sys.stdout.flush()


def _govern(root: Path) -> None:
    try:
        code = run(root)
    except SystemExit as ended:
        code = int(ended.code or 0)
    os._exit(code)


if __name__ == "__main__":
    main()
