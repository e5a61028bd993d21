"""Commands as this user must type them here: every hint of a command is made by ``typed``.

Texts that are stored (reasons, ends of holds) name a command as ```capital-governor accept```; ``retyped`` makes that a
command for this user.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from capital_governor.adapters.printable import escape
from capital_governor.settings.variables import ROOT

SCRIPT: Final = Path(__file__).resolve().parents[2] / "neo_light_fix.sh"
"""It starts this program with ``python -I -m``, so that its name is not in ``sys.argv``."""
_MODULE: Final = "__main__.py"
_STORED: Final = re.compile(r"`capital-governor ([^`]*)`")


def typed(words: str, root: Path | None = None, *, dry_run: bool = False) -> str:
    """Return a command as it must be typed here, in backticks.

    Args:
        words: the command and its own arguments.
        root: the ``--root`` of this command line, which the next one needs too; None if it has none. Then NEOLIGHT_ROOT
            takes its place, since it may be set for this one command only.
        dry_run: whether this command line has ``--dry-run``, which the next one needs too.
    """
    given = root or _root_of_environment()
    option = "" if given is None else f" --root {shlex.quote(str(given))}"
    return escape(f"`{_program()} {words}{option}{' --dry-run' if dry_run else ''}`")


def typed_again(root: Path) -> str:
    """Return this command line with another root."""
    return typed(shlex.join(_without_root(sys.argv[1:])), root)


def retyped(text: str, root: Path | None = None, *, dry_run: bool = False) -> str:
    """Return a stored text with its commands as they must be typed here; the arguments are those of ``typed``."""
    return _STORED.sub(lambda found: typed(found[1], root, dry_run=dry_run), text)


def _root_of_environment() -> Path | None:
    """Return NEOLIGHT_ROOT; None if it is not set, or is what the script sets by itself."""
    given = os.environ.get(ROOT)
    return None if not given or (_by_script() and given == str(SCRIPT.parent)) else Path(given)


def _by_script() -> bool:
    return _started() == _MODULE and bool(sys.flags.isolated) and SCRIPT.is_file()


def _started() -> str:
    return os.path.basename(sys.argv[0])  # noqa: PTH119 - a word, not a path


def _program() -> str:
    started, name = sys.argv[0], _started()
    if name != _MODULE:
        return name if os.sep not in started or shutil.which(name) == started else shlex.quote(started)
    if _by_script():
        return shlex.quote(_from_here(SCRIPT))
    python = Path(sys.executable)
    here = python.name if shutil.which(python.name) == str(python) else shlex.quote(_from_here(python))
    return f"{here} -m capital_governor"


def _from_here(path: Path) -> str:
    """Return a path below the current folder as ``./NAME``, another one in full."""
    try:
        return f"./{path.relative_to(Path.cwd())}"
    except (ValueError, OSError):  # elsewhere, or the current folder is gone
        return str(path)


def _without_root(words: Sequence[str]) -> Iterator[str]:
    """Yield the words of a command line without ``--root``."""
    skipped = False
    for word in words:
        if not skipped and word != "--root" and not word.startswith("--root="):
            yield word
        skipped = not skipped and word == "--root"
