"""``python -m capital_governor`` and the command ``capital-governor``."""

from __future__ import annotations

import os
import sys

from capital_governor.cli.import_path import isolate

# Before any other import, so that no foreign module can replace one of this program's.
if __name__ == "__main__":
    isolate(started_by=os.curdir)
elif os.path.basename(sys.argv[0]) == "capital-governor":  # noqa: PTH119 - pathlib is not safe to import yet
    isolate(started_by=os.path.dirname(sys.argv[0]))  # noqa: PTH120

from capital_governor.service.signals import end_at_signals, wait_with_reloads

_INTERRUPTED = 130


def main() -> None:
    """Run the command of ``sys.argv``. Raises SystemExit with its code."""
    if sys.argv[1:2] == ["run"]:
        wait_with_reloads()
        end_at_signals()
    from capital_governor.cli.parser import execute  # noqa: PLC0415 - slow, so only after the signals are handled

    try:
        code = execute(sys.argv[1:])
    except KeyboardInterrupt:
        raise SystemExit(_INTERRUPTED) from None
    raise SystemExit(code)


if __name__ == "__main__":
    main()
