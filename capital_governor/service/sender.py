"""Whose messages those of a root are, for their heads and commands."""

from __future__ import annotations

from capital_governor.adapters.typed_command import typed_program
from capital_governor.settings.load import Settings
from capital_governor.wording.message_form import Sender


def sender_of(settings: Settings) -> Sender:
    """Return the sender of the messages of the settings' root."""
    program, option = typed_program(settings.root)
    root = str(settings.root.absolute())
    return Sender(settings.fleet_name, root, program, option, settings.interval_seconds)
