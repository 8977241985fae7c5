"""Methods about the bridge as a whole: settings, counters, checks of a configuration, reload, events."""

from __future__ import annotations

import asyncio
import logging
import os
import platform

from bridge import __version__, privileges
from bridge.config import document as configs
from bridge.config.bridge import bridge_table
from bridge.config.edit import refuse_new_places
from bridge.config.plan import plan
from bridge.config.table import show
from bridge.config.whole import Config
from bridge.config.write import to_toml
from bridge.control.context import TRUSTED, Context, status_line
from bridge.control.methods import invalid, method
from bridge.control.parameters import action_rows
from bridge.control.protocol import REFUSED, Row
from bridge.errors import ControlError
from bridge.events import Subscription
from bridge.mac import format_mac

LEVELS = ("debug", "info", "warning", "error")


@method()
async def version(context: Context) -> list[Row]:
    """Version, bridge name and process of the daemon."""
    return [{"version": __version__, "bridge": context.engine.config.bridge.name, "pid": os.getpid()}]


@method()
async def facts(context: Context) -> list[Row]:
    """Say what the daemon runs on, as whom, and which capabilities it holds."""
    engine = context.engine
    return [
        {
            "version": __version__,
            "bridge": engine.config.bridge.name,
            "pid": os.getpid(),
            "python": platform.python_version(),
            "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
            **privileges.facts(engine.thread_number),
            "offload_state": engine.offload.state,
        }
    ]


@method()
async def bridge_show(context: Context) -> list[Row]:
    """Give the settings of the bridge as a whole that are in force: the `[bridge]` table."""
    bridge = context.engine.config.bridge
    shown = {
        "control_socket": bridge.socket_path,
        "address": format_mac(context.engine.own_address),
        "offload_state": context.engine.offload.state,
    }
    return [{"bridge": bridge.name, **bridge_table(bridge), **shown}]


@method()
async def stats_show(context: Context, port: str | None = None, drops: bool = False) -> list[Row]:
    """One row per port with every counter; without `port`, a row with the totals; `drops`: those of DropsShow."""
    return context.engine.status.stats(context.known_port(port), drops)


@method()
async def drops_show(context: Context, all: bool = False) -> list[Row]:  # noqa: A002
    """One row per port, direction and drop reason that has a count; `all`: every reason."""
    return context.engine.status.drops(all)


@method(is_costly=True)
async def check_plan(context: Context, toml: str, source: str = "") -> list[Row]:
    """Validate the text of a configuration file. Rows: what a reload with it would do."""
    before = context.engine.config
    return await asyncio.to_thread(lambda: action_rows(plan(before, configs.parse(toml, source))))


@method(is_costly=True)
async def check_audit(context: Context, toml: str, source: str = "") -> list[Row]:
    """Audit the ports of a configuration file, as the daemon sees their devices. Rows as for PortAudit."""
    config = await asyncio.to_thread(configs.parse, toml, source)
    return [finding.row for finding in await context.engine.audit(config)]


@method(changes=True)
async def reload(context: Context, toml: str | None = None, source: str = "") -> list[Row]:
    """Put a configuration in force: this text or, without it, the daemon's file. Rows: what was done.

    Ports whose device was missing are tried again: `attach_port` and `missing_port` tell what became of them.
    """
    is_trusted = TRUSTED.get()

    def read(before: Config) -> Config:
        if toml is not None:
            after = configs.parse(toml, source)
            if not is_trusted:
                refuse_new_places(before, after, source)
            return after
        if not context.config_path:
            raise ControlError("this daemon was not started from a file: name one", REFUSED)
        return configs.load(context.config_path)

    context.notifier.reloading()
    try:
        rows = await context.change(read)
        return rows + [_attached(*one) for one in await context.engine.attach_missing()]
    finally:
        context.notifier.ready(status_line(context.engine))


@method()
async def config_show(context: Context) -> list[Row]:
    """Give the configuration in force as the text of a file, live changes included: one row, `toml`."""
    return [{"toml": to_toml(context.engine.config)}]


@method()
async def config_diff(context: Context) -> list[Row]:
    """Compare what is in force with the daemon's file: rows of what was changed live, and a reload would undo."""
    if not context.config_path:
        raise ControlError("this daemon was not started from a file", REFUSED)
    running = context.engine.config
    return await asyncio.to_thread(lambda: action_rows(plan(configs.load(context.config_path), running)))


@method(changes=True)
async def log_level(context: Context, level: str, logger: str = "bridge") -> list[Row]:
    """Log from now on what is at least so important: debug, info, warning, error; `logger`: of one package."""
    if level not in LEVELS:
        raise invalid("level", f"expected {', '.join(LEVELS)}, not {show(level)}")
    if logger.split(".")[0] != "bridge" or logger not in logging.root.manager.loggerDict:
        known = sorted(name for name in logging.root.manager.loggerDict if name.split(".")[0] == "bridge")
        raise invalid("logger", f"no logger {show(logger)}; there are: {', '.join(known)}")
    logging.getLogger(logger).setLevel(level.upper())
    return []


def _attached(port: str, trouble: str) -> Row:
    action, text = "attach_port", f"attach port {port}: its device is there"
    if trouble:
        action, text = "missing_port", f"port {port} is not attached: {trouble}"
    return {"action": action, "subject": port, "text": text}


@method()
async def monitor(context: Context) -> Subscription:
    """Stream events, one row each, until either side hangs up. A first reply without rows: it began."""
    return context.engine.subscribe()
