"""The unit with which systemd keeps a governor running, hardened: it can write two folders, and nothing else."""

from __future__ import annotations

import math
import os
import pwd
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from capital_governor.adapters.paths import Paths
from capital_governor.adapters.typed_command import typed_program
from capital_governor.contracts.exit_codes import CONFIGURATION, USAGE
from capital_governor.settings.faults import SettingsError
from capital_governor.settings.load import Settings

UNIT: Final = "capital-governor.service"
_SHORTEST_WATCHDOG_SECONDS: Final = 60
_HOMES: Final = (Path("/home"), Path("/root"), Path("/run/user"))
_TEMPORARY: Final = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - nothing is written there

_UNIT: Final = """\
# {unit}: the governor of {root}
# Made by the command in the second line; make it anew when the root, the project or INTERVAL has changed.
#
#   sudo -u {user} mkdir -p {made}
#   {command} > {unit}
#   sudo install -m 644 {unit} /etc/systemd/system/
#   sudo systemctl daemon-reload && sudo systemctl enable --now capital-governor
#
# The settings are those of {root}/.env alone. `systemctl reload capital-governor` takes over a changed one.
# Do not start it by neo_light_fix.sh too: a root has one governor.

[Unit]
Description=Capital Governor of {name}
Wants=network-online.target
After=network-online.target time-sync.target
RequiresMountsFor={mounts}
# It is started again as long as it ends; only what a person must mend ends that, see RestartPreventExitStatus.
StartLimitIntervalSec=0

[Service]
# READY=1 when settings, lock and journal are good; WATCHDOG=1 after each completed cycle.
Type=notify
ExecStart={python} -I -m capital_governor run --root {quoted_root}
ExecReload=/bin/kill -HUP $MAINPID
WatchdogSec={watchdog}
TimeoutStartSec=60
TimeoutStopSec=30
Restart=always
RestartSec=2
RestartPreventExitStatus={usage} {configuration}
User={user}
# New files can be read by agents of other users; a file that is replaced keeps its mode.
UMask=0022

# It writes here, and nowhere else.
ProtectSystem=strict
ReadWritePaths={writable}
ProtectHome={home}
PrivateTmp={temporary}
PrivateDevices=yes
PrivateMounts=yes

# It needs no rights beyond those of its user, and no part of the kernel but files, time and network.
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
ProtectProc=invisible
ProcSubset=pid
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RemoveIPC=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
# A replaced file keeps its group, as far as its user may give it that one.
SystemCallFilter=@chown
# A core dump would have the token in it.
LimitCORE=0

[Install]
WantedBy=multi-user.target
"""


def systemd_unit(settings: Settings, python: Path) -> str:
    """Return the unit for a root; ``python`` has this program.

    Raises:
        SettingsError: a path has a character that would end a line of the unit.
    """
    root = settings.root
    user = owner(root)
    writable = written_folders(settings)
    places = (root, python, *writable)
    for place in places:
        if not str(place).isprintable():
            raise SettingsError((f"{str(place)!a} cannot be in a unit: give it a name of printable characters",))
    program, option = typed_program(root)
    return _UNIT.format(
        unit=UNIT,
        root=root,
        command=f"{program} deploy systemd {option}".rstrip(),
        made=shlex.join(map(str, writable)),
        name=settings.fleet_name.replace("%", "%%"),
        mounts=_quoted(root),
        python=_argument(python),
        quoted_root=_argument(root),
        watchdog=watchdog_seconds(settings),
        usage=USAGE,
        configuration=CONFIGURATION,
        user=user,
        writable=" ".join(map(_quoted, writable)),
        home="read-only" if _below(places, _HOMES) else "yes",
        temporary="no" if _below(places, _TEMPORARY) else "yes",
    )


def watchdog_seconds(settings: Settings) -> int:
    """Return after how long without a completed cycle systemd starts it anew: three intervals and a fetch."""
    return max(_SHORTEST_WATCHDOG_SECONDS, math.ceil(3 * settings.interval_seconds + settings.fetch_deadline_seconds))


def written_folders(settings: Settings) -> list[Path]:
    """Return the folders that a governor writes, also those to which its files are links."""
    paths = Paths(settings.root)
    files = (paths.primary, paths.override, paths.status, settings.journal_path)
    return list(dict.fromkeys([paths.folder, *(Path(os.path.realpath(file)).parent for file in files)]))


def owner(root: Path) -> str:
    """Return the user to whom the root belongs, by name if it has one."""
    number = root.stat().st_uid
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _below(places: Sequence[Path], folders: Sequence[Path]) -> bool:
    return any(place.is_relative_to(folder) for place in places for folder in folders)


def _quoted(path: Path) -> str:
    """Return a path for a setting that takes several: in quotes, ``%`` doubled since it begins a specifier."""
    text = re.sub(r'(["\\])', r"\\\1", str(path)).replace("%", "%%")
    return f'"{text}"' if re.search(r"""[\s"'\\;]""", text) else text


def _argument(path: Path) -> str:
    """Return a path as a word of a command line, in which ``$`` begins a variable."""
    return _quoted(path).replace("$", "$$")
