"""``python -m capital_governor`` and the command ``capital-governor``.

``run``, which lives for months, is started from here without loading the libraries of the command line.
"""

from __future__ import annotations

import os
import sys

from capital_governor.cli.import_path import isolate

# Before anything else is imported: what is imported then comes from where `isolate` allows.
if __name__ == "__main__":
    isolate(started_by=os.curdir)
elif os.path.basename(sys.argv[0]) == "capital-governor":  # noqa: PTH119 - pathlib is not safe to import yet
    isolate(started_by=os.path.dirname(sys.argv[0]))  # noqa: PTH120

from capital_governor.service.signals import end_at_signals, wait_with_reloads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path


def main() -> None:
    """Run the command of ``sys.argv``. Raises SystemExit with its code."""
    if sys.argv[1:2] == ["run"]:
        wait_with_reloads()
        end_at_signals()
    plain = _plain_run(sys.argv[1:])
    if plain is None:
        from capital_governor.cli.commands import app  # noqa: PLC0415 - Typer and rich, which `run` must not load

        app()
        return
    from capital_governor.cli.start_governor import govern  # noqa: PLC0415 - `--help` needs none of it

    root, dry_run = plain
    raise SystemExit(govern(root, dry_run=dry_run))


def _plain_run(arguments: list[str]) -> tuple[Path | None, bool] | None:
    """Return root and dry run of a ``run`` that needs no parser; None for everything else, help and errors included."""
    if arguments[:1] != ["run"]:
        return None
    from pathlib import Path  # noqa: PLC0415 - takes some milliseconds in which no signal is heard yet

    root, dry_run, rest = None, False, arguments[1:]
    while rest:
        word = rest.pop(0)
        if word == "--dry-run":
            dry_run = True
        elif word == "--root" and rest and rest[0] and not rest[0].startswith("-"):
            root = Path(rest.pop(0))
        elif word.startswith("--root=") and word != "--root=":
            root = Path(word.removeprefix("--root="))
        else:
            return None
    return root, dry_run


if __name__ == "__main__":
    main()
