"""Prevents modules of other programs from replacing this program's. It runs first and imports almost nothing.

NeoLight's supervisor exports PYTHONPATH with its own root, for its own agents. A ``telegram.py`` or ``platform.py``
there would be imported in place of the library or of Python's own module of that name. ``neo_light_fix.sh`` starts
Python with ``-I``, which prevents that. ``capital-governor`` and ``python -m capital_governor`` may be started without
``-I``, so they correct their import path themselves.
"""

from __future__ import annotations

import os
import site
import sys

CONFIGURATION = 78
"""As in ``exit_codes``, which cannot be imported before the import path is corrected."""

_PARENT = os.path.realpath(os.path.join(os.path.dirname(__file__), os.pardir, os.pardir))  # noqa: PTH118, PTH120 - no pathlib yet
_START_FILES = frozenset({"sitecustomize", "usercustomize"})


def isolate(*, started_by: str | None = None) -> None:
    """Remove foreign folders from ``sys.path``: those of PYTHONPATH, the user's site-packages, and ``started_by``.

    A folder with this program in it (``pip install --user`` or ``--target``) is moved to the end instead: it has the
    dependencies too, but nothing in it replaces a module of Python.

    Args:
        started_by: the folder that Python put first: the current one for ``-m``, else that of the script; None if it
            put none there, or it must stay.

    Raises:
        SystemExit: 78, after one line on stderr, if a module of Python was already imported from such a folder.
    """
    if sys.flags.isolated:
        return
    given = os.environ.get("PYTHONPATH", "")
    foreign = {os.path.abspath(folder) for folder in given.split(os.pathsep) if given}  # noqa: PTH100
    if site.ENABLE_USER_SITE and site.USER_SITE:
        foreign.add(os.path.abspath(site.USER_SITE))  # noqa: PTH100
    if started_by is not None and not sys.flags.safe_path:
        foreign.add(os.path.abspath(started_by))  # noqa: PTH100
    if not foreign:
        return
    taken = [folder for folder in sys.path if os.path.abspath(folder) in foreign]  # noqa: PTH100
    _demand_own_modules({os.path.abspath(folder) for folder in taken})  # noqa: PTH100
    sys.path[:] = [folder for folder in sys.path if folder not in taken]
    sys.path += [folder for folder in dict.fromkeys(taken) if _has_the_program(folder)]


def _has_the_program(folder: str) -> bool:
    if os.path.realpath(folder) == _PARENT:
        return True
    try:
        return any(name.startswith("capital_governor-") for name in os.listdir(folder))  # noqa: PTH208
    except OSError:
        return False


def _demand_own_modules(foreign: set[str]) -> None:
    for name, module in list(sys.modules.items()):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names or top in _START_FILES:
            continue
        file = getattr(module, "__file__", None) or ""
        folders = [folder for folder in foreign if file.startswith(os.path.join(folder, ""))]  # noqa: PTH118
        if folders:
            folder = max(folders, key=len)  # one may be inside another
            print(  # noqa: T201 - the error message
                f"capital-governor: {file} was imported in place of Python's own module {top}: start it without"
                f" {folder} in PYTHONPATH, or as {sys.executable} -I -m capital_governor",
                file=sys.stderr,
            )
            raise SystemExit(CONFIGURATION)
