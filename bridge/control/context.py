"""What the methods of the control interface act on: one engine, and the one way its configuration changes.

Invariant: changes happen one after the other, and each is judged as a whole configuration, exactly like a file.
Thread: control.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING

from bridge.config.port import PortConfig
from bridge.config.whole import Config
from bridge.control.parameters import action_rows
from bridge.control.protocol import NO_SUCH_PORT, Row
from bridge.errors import ControlError
from bridge.systemd.notify import Notifier

if TYPE_CHECKING:
    from bridge.engine.engine import Engine

logger = logging.getLogger(__package__)

GiveAway = Callable[[socket.socket], Awaitable[None]]  # the bridge, to the process at the other end
TRUSTED: ContextVar[bool] = ContextVar("TRUSTED", default=False)  # the caller that is answered in this task


class Context:
    """One running bridge. `config_path` is the file that a reload reads again."""

    def __init__(self, engine: Engine, config_path: str, notifier: Notifier) -> None:
        self.engine = engine
        self.config_path = config_path
        self.notifier = notifier
        self.give_away: GiveAway | None = None  # set by the daemon
        self._changing = asyncio.Lock()

    async def change(self, edit: Callable[[Config], Config]) -> list[Row]:
        """Edit the configuration in force. Rows: what was done."""
        async with self._changing:  # what is edited is what is in force, and nothing comes between
            actions = await self.engine.apply(await asyncio.to_thread(edit, self.engine.config))
        for action in actions:
            logger.info("%s", action)
        return action_rows(actions)

    def port(self, name: str) -> PortConfig:
        """Find a port of the configuration in force; ControlError: there is none of that name."""
        ports = {port.name: port for port in self.engine.config.ports}
        if name not in ports:
            known = ", ".join(ports) or "none"
            raise ControlError(f"no port {name!r}; there are: {known}", NO_SUCH_PORT, {"port": name})
        return ports[name]

    def known_port(self, name: str | None) -> str | None:
        """Check the name of a port, if one is given."""
        return None if name is None else self.port(name).name


def status_line(engine: Engine) -> str:
    """One line on the state of the bridge, for `systemctl status`."""
    rows = engine.status.ports()
    return f"{engine.config.bridge.name}: {sum(row['state'] == 'up' for row in rows)} of {len(rows)} ports up"
