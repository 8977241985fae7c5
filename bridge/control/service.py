"""The control interface put together: all its methods, and the one way they are called.

Job: find the method, check its parameters, let it ask or change the engine, give rows (flat dicts) or raise
ControlError with the name of a varlink error. No sockets here (server.py). Thread: control.
The methods are in general, ports, mirrors, offload, pair, fdb, groups, cost and trace: each a function whose name,
signature and docstring are the name, parameters and description of the method; docs/control-protocol.md is tested
against them.
Configurations are read and judged in a worker thread, for one may be long; those of onlookers one at a time, with a
rest after each, so that they have at most a part of a core.
Refuses: what methods.py refuses; parameters that no file could have; ports and FDB entries that do not exist.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING

from bridge import __version__
from bridge.control import cost, fdb, general, groups, mirrors, offload, pair, ports, takeover, trace
from bridge.control.context import TRUSTED, Context, GiveAway
from bridge.control.methods import describe, find_method, method, published
from bridge.control.protocol import (
    CONFIG_INVALID,
    EXPECTED_MORE,
    INTERFACE,
    INTERFACE_NOT_FOUND,
    INTERNAL,
    PERMISSION_DENIED,
    REFUSED,
    SERVICE,
    Call,
    Message,
    Row,
)
from bridge.control.takeover import Upgrade
from bridge.errors import ConfigError, ControlError, FramebridgeError
from bridge.events import Subscription
from bridge.systemd.notify import Notifier

if TYPE_CHECKING:
    from bridge.engine.engine import Engine

logger = logging.getLogger(__package__)

REST = 4.0  # of onlookers between two costly calls, in times of what the first one took


@method(SERVICE)
async def get_info(_: Context) -> Message:
    """Say who answers, as every varlink service does."""
    who = {"vendor": "framebridge", "product": "framebridge", "version": __version__, "url": ""}
    return {**who, "interfaces": [SERVICE, INTERFACE]}


@method(SERVICE)
async def get_interface_description(_: Context, interface: str) -> Message:
    """Describe an interface in varlink's definition language."""
    if interface != INTERFACE:
        raise ControlError(f"no interface {interface!r}", INTERFACE_NOT_FOUND, {"interface": interface})
    return {"description": describe(METHODS)}


METHODS = {one.name: one for one in (get_info, get_interface_description)} | published(
    general, ports, mirrors, offload, pair, fdb, groups, cost, trace, takeover
)


class Service:
    """The methods over one engine. `config_path` is the file that a reload reads again."""

    def __init__(self, engine: Engine, config_path: str = "", notifier: Notifier | None = None) -> None:
        self._context = Context(engine, config_path, notifier or Notifier())
        self._onlooking = asyncio.Lock()
        self._rested = 0.0  # time of the loop

    @staticmethod
    def changes(name: str) -> bool:
        """Tell whether a method changes something."""
        return name in METHODS and METHODS[name].changes

    def set_give_away(self, give_away: GiveAway) -> None:
        """Say how the bridge is given to another process."""
        self._context.give_away = give_away

    async def call(
        self, call: Call, *, may_change: bool, is_trusted: bool = False
    ) -> Iterable[Row] | Message | Subscription | Upgrade:
        """Answer a call with rows, other parameters, or a stream of events. Raises ControlError only.

        A caller who `is_trusted` could write the configuration file: a text of such a one is as good as the file.
        """
        TRUSTED.set(is_trusted)
        known = find_method(METHODS, call.method)
        if known.changes and not may_change:
            raise ControlError("you may look, but not change anything", PERMISSION_DENIED)
        if known is general.monitor and (call.oneway or not call.more):
            raise ControlError("a stream of replies needs 'more': true", EXPECTED_MORE)
        parameters = known.checked(call.parameters)
        turn = self._turn() if known.is_costly and not may_change else contextlib.nullcontext()
        try:
            async with turn:
                answer: Iterable[Row] | Message | Subscription | Upgrade = await known.function(
                    self._context, **parameters
                )
        except ControlError:
            raise
        except ConfigError as error:
            problems = [{"path": p.path, "message": p.message, "line": p.line} for p in error.problems]
            raise ControlError(
                str(error), CONFIG_INVALID, {"source": error.source, "problems": problems}
            ) from error
        except FramebridgeError as error:
            raise ControlError(str(error), REFUSED) from error
        except Exception as error:
            logger.exception("%s failed", call.method)
            raise ControlError(
                f"{type(error).__name__}: {error} (the daemon's log has more)", INTERNAL
            ) from error
        return answer

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Keep the costly calls of onlookers apart."""
        now = asyncio.get_running_loop().time
        async with self._onlooking:
            await asyncio.sleep(self._rested - now())
            began = now()
            try:
                yield
            finally:
                self._rested = now() + REST * (now() - began)
