"""Methods about ports and the VLANs they carry."""

from __future__ import annotations

from bridge.config import edit
from bridge.config.port import MODES, PortConfig, parse_port, port_table, update_port
from bridge.config.whole import Config
from bridge.control.context import Context
from bridge.control.methods import method
from bridge.control.protocol import REFUSED, Message, Row
from bridge.errors import ControlError


@method()
async def port_show(context: Context, port: str | None = None) -> list[Row]:
    """One row per port: its configuration in force, its state, its totals."""
    return context.engine.status.ports(context.known_port(port))


@method(changes=True)
async def port_add(context: Context, port: Message) -> list[Row]:
    """Add a port, written like a [[port]] table of the file. Rows: what was done."""
    return await context.change(lambda config: edit.with_port(config, parse_port(port)))


@method(changes=True)
async def port_del(context: Context, port: str) -> list[Row]:
    """Remove a port and its FDB entries. Rows: what was done."""
    return await context.change(lambda config: edit.without_port(config, context.port(port).name))


@method(changes=True)
async def port_set(context: Context, port: str, changes: Message) -> list[Row]:
    """Change keys of a port's [[port]] table; null is the default of a key. Rows: what was done."""

    def changed(config: Config) -> Config:
        before = context.port(port)
        return edit.replace_port(config, update_port(before, merge_vlan(before, changes)))

    return await context.change(changed)


@method(changes=True)
async def port_unblock(context: Context, port: str) -> list[Row]:
    """Let a port that was blocked because of a loop or a moving address forward again. No rows."""
    if not context.engine.unblock(context.port(port).name):
        raise ControlError(f"port {port!r} is not blocked", REFUSED)
    return []


@method()
async def port_storm(context: Context, port: str | None = None) -> list[Row]:
    """One row per limit of storm control: port and flood class, its state, what was spent and dropped."""
    return context.engine.status.storms(context.known_port(port))


@method()
async def port_audit(context: Context, port: str | None = None) -> list[Row]:
    """One row per finding: what about the device of a port loses frames or costs cycles, and what to do."""
    name = context.known_port(port)
    found = await context.engine.audit(context.engine.config)
    return [finding.row for finding in found if name in (None, finding.port)]


@method()
async def port_guard(context: Context, port: str | None = None) -> list[Row]:
    """One row per port that is locked or guarded: who may send, from which addresses, how often others tried."""
    return context.engine.status.guards(context.known_port(port))


@method()
async def vlan_show(context: Context) -> list[Row]:
    """One row per VLAN: the ports that carry it, tagged and untagged."""
    return context.engine.status.vlans()


def merge_vlan(port: PortConfig, changes: Message) -> Message:
    """Let a change of `vlan` keep what it does not name: `native` alone, or the TPID of a port that moves."""
    change, kept = changes.get("vlan"), port_table(port)["vlan"]
    if not isinstance(change, dict) or not isinstance(kept, dict):
        return changes
    if change.keys() & set(MODES):
        keys = ("native", "native_tagged", "map", "tpid") if "trunk" in change else ("tpid",)
        kept = {key: value for key, value in kept.items() if key in keys}
    vlan = {key: value for key, value in {**kept, **change}.items() if value is not None}
    return {**changes, "vlan": vlan}
