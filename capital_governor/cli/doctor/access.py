"""What ``doctor`` finds about the rights on the root: who else can read secrets, or write what agents obey."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from capital_governor.adapters.paths import Paths
from capital_governor.cli.doctor.finding import Finding, parted, warned, well, wrong
from capital_governor.settings.dotenv import read_env_file
from capital_governor.settings.variables import PREFIX, ROOT, VARIABLES, variables

_READS_FOLDER: Final = stat.S_IROTH | stat.S_IXOTH


def rights(root: Path, journal: Path) -> Iterator[Finding]:
    """Yield whether this user can write the files, and whether every user can read secrets or write the files."""
    if problem := Paths(root).unwritable():
        yield wrong("root", *parted(problem.replace(": ", "; ", 1), "let the governor's user write there"))
    else:
        yield well("root", str(root))
    findings = [*_written_by_others(root, journal), *_read_by_others(root)]
    yield from findings or [well("rights", "other users of this machine can neither read nor write it")]


def _written_by_others(root: Path, journal: Path) -> Iterator[Finding]:
    paths = Paths(root)
    places = (root, root / ".env", paths.folder, paths.primary, paths.override, journal.parent, journal)
    open_ones = [path for path in dict.fromkeys(places) if _lets_others(path, stat.S_IWOTH)]
    if open_ones:
        some = " ".join(shlex.quote(str(path)) for path in open_ones)
        shared = any(path.stat().st_mode & stat.S_ISVTX for path in open_ones)  # /tmp has to stay as it is
        how = "take a folder of its own as the root" if shared else f"chmod o-w {some}"
        yield wrong("rights", f"every user of this machine can write {some}, and so move capital", how)


def _read_by_others(root: Path) -> Iterator[Finding]:
    env = root / ".env"
    if _lets_others(env, stat.S_IROTH):
        found, _ = read_env_file(env, set(variables()) - {ROOT}, PREFIX)
        secrets = sorted(each.name for each in VARIABLES.values() if each.secret and found.get(each.name))
        if secrets:
            told = f"every user of this machine can read {env}, which has {', '.join(secrets)}"
            yield wrong("rights", told, f"chmod 600 {shlex.quote(str(env))}, and replace what others may have read")
    if _lets_others(root, _READS_FOLDER):
        yield warned(
            "rights",
            f"every user of this machine can look into {root}: shares, scores and logs",
            f"chmod o-rwx {shlex.quote(str(root))} (agents of other users then need its group)",
        )


def _lets_others(path: Path, bits: int) -> bool:
    """Return whether a path has these bits, and users without any right but those of others can get there."""
    try:
        real = Path(os.path.realpath(path))
        if real.stat().st_mode & bits != bits:
            return False
        return all(folder.stat().st_mode & stat.S_IXOTH for folder in real.parents)
    except OSError:  # it is not there, or even this user cannot see it
        return False
