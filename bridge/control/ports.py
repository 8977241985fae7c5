"""Methods about ports and the VLANs they carry."""

from __future__ import annotations

from bridge.config import checks, edit, words
from bridge.config.port import MODES, PortConfig, parse_port, port_table, update_port
from bridge.config.vids import format_vids, written_runs
from bridge.config.whole import Config
from bridge.control import parameters
from bridge.control.context import Context
from bridge.control.methods import invalid, method
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
async def vlan_show(context: Context, vlan: int | None = None) -> list[Row]:
    """One row per VLAN: the ports that carry it, tagged and untagged."""
    vid = parameters.vid(vlan)
    return [row for row in context.engine.status.vlans() if vid in (None, row["vlan"])]


@method(changes=True)
async def vlan_add(context: Context, port: str, vlans: str, native: bool = False) -> list[Row]:
    """Have a trunk carry more VLANs, like 10,20-29; `native`: and untagged frames in the one. Rows: what was done."""
    added = _vids(vlans)
    if native and len(added) > 1:
        raise invalid("vlans", "a trunk has one native VLAN; name one")

    def changed(config: Config) -> Config:
        before = _trunk(context.port(port))
        change: Message = {"trunk": written_runs(frozenset(before.vids) | added)}
        change |= {"native": min(added)} if native else {}
        return edit.replace_port(config, update_port(before, merge_vlan(before, {"vlan": change})))

    return await context.change(changed)


@method(changes=True)
async def vlan_del(context: Context, port: str, vlans: str) -> list[Row]:
    """Have a trunk carry some VLANs no more; what it said of them goes with them. Rows: what was done."""
    removed = _vids(vlans)

    def changed(config: Config) -> Config:
        before = _trunk(context.port(port))
        if missing := removed - before.members:
            raise ControlError(f"port {port!r} does not carry {format_vids(missing)}", REFUSED)
        change: Message = {
            "trunk": written_runs(frozenset(before.vids) - removed),
            "map": [str(one) for one in before.translations if one.vid not in removed] or None,
        }
        change |= {"native": None} if before.pvid in removed else {}
        return edit.replace_port(config, update_port(before, merge_vlan(before, {"vlan": change})))

    return await context.change(changed)


def _vids(text: str) -> frozenset[int]:
    try:
        given = words.numbers(text)
    except ValueError:
        raise invalid("vlans", f"expected {checks.vids.expected}") from None
    return frozenset(vid for one in given for vid in parameters.checked("vlans", checks.vids, one))


def _trunk(port: PortConfig) -> PortConfig:
    if port.mode != "trunk":
        remedy = f"'port set {port.name} {port.mode} VID' gives it another"
        raise ControlError(f"port {port.name!r} is no trunk and carries one VLAN; {remedy}", REFUSED)
    return port


def merge_vlan(port: PortConfig, changes: Message) -> Message:
    """Let a change of `vlan` keep what it does not name: `native` alone, or the TPID of a port that moves."""
    change, kept = changes.get("vlan"), port_table(port)["vlan"]
    if not isinstance(change, dict) or not isinstance(kept, dict):
        return changes
    if change.keys() & set(MODES):
        keys = ("native", "native_tagged", "map", "tpid") if "trunk" in change else ("tpid",)
        kept = {key: value for key, value in kept.items() if key in keys}
    if "native" in change and change["native"] is None:
        kept = {key: value for key, value in kept.items() if key != "native_tagged"}
    vlan = {key: value for key, value in {**kept, **change}.items() if value is not None}
    return {**changes, "vlan": vlan}
