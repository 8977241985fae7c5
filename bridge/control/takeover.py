"""The method by which another process takes the bridge over: it gets the connection for a conversation of their own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from socket import socket

from bridge.control.context import TRUSTED, Context
from bridge.control.methods import method
from bridge.control.protocol import PERMISSION_DENIED, REFUSED
from bridge.errors import ControlError


@dataclass(frozen=True, slots=True)
class Upgrade:
    """An answer after which the connection is no longer one of this protocol."""

    serve: Callable[[socket], Awaitable[None]]


@method(changes=True)
async def take_over(context: Context) -> Upgrade:
    """Give the bridge to the calling process, which must be root or this user (docs/take-over.md). No rows."""
    if not TRUSTED.get():
        raise ControlError(
            "only root and the user of this daemon may take its bridge over", PERMISSION_DENIED
        )
    if context.engine.member.is_on:
        raise ControlError(
            "a bridge of a pair is given to nobody: hold this member, restart it, resume it (docs/pair.md)",
            REFUSED,
        )
    if context.give_away is None:
        raise ControlError("this daemon gives its bridge to nobody", REFUSED)
    return Upgrade(context.give_away)
