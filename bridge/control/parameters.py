"""Parameters that several methods have, checked as the configuration file checks them; and rows of actions. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bridge.config import checks
from bridge.config.actions import Action
from bridge.config.key import Check
from bridge.config.table import BadValueError
from bridge.control.methods import invalid
from bridge.control.protocol import Row


def checked(parameter: str, check: Check, value: object) -> Any:
    """Apply a check of the configuration file to a parameter."""
    try:
        return check(value)
    except BadValueError as error:
        raise invalid(parameter, str(error)) from None


def vid(vlan: int | None) -> Any:
    """Check a VLAN, if one is given."""
    return None if vlan is None else checked("vlan", checks.vid, vlan)


def station(mac: str | None) -> Any:
    """Check the address of a station, if one is given."""
    return None if mac is None else checked("mac", checks.station, mac)


def action_rows(actions: Iterable[Action]) -> list[Row]:
    """Render actions as rows; `text` is the readable line."""
    return [{"action": action.kind, "subject": action.subject, "text": str(action)} for action in actions]
