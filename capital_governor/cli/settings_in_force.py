"""Whether a running governor has other settings than ``.env``, for ``status``."""

from __future__ import annotations

from capital_governor.adapters.lock import is_held
from capital_governor.adapters.paths import Paths
from capital_governor.service.settings_record import not_in_force, read_record, record_path


def settings_not_in_force(paths: Paths) -> tuple[str, ...]:
    """Return in what a running governor's settings differ from ``.env``: ``VARIABLE: 0.4 in force, 0.5 in .env``.

    Empty if none differs, if no governor runs, or if that is unknown (a governor of an older version or of another
    user, a ``.env`` that cannot be read).
    """
    record = read_record(record_path(paths.folder)) if is_held(paths.lock) else None
    return () if record is None else not_in_force(record, paths.root)
