"""The `[bridge]` table of the configuration: what holds for the bridge as a whole. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bridge.config import checks
from bridge.config.heartbeats import heartbeat_ports
from bridge.config.key import key, keys, write_keys
from bridge.config.section import Section
from bridge.config.table import Table
from bridge.config.text import listing
from bridge.declared import WAITINGS


@dataclass(frozen=True, slots=True)
class BridgeConfig:
    """The `[bridge]` table."""

    name: str = key("bridge0", checks.name, needs_restart=True)
    ageing_time: float = key(300, checks.ageing_time)  # seconds; 0: entries do not age
    fdb_size: int = key(65536, checks.integer(64, checks.FDB_MAX), needs_restart=True)  # entries
    control_socket: str = key("", checks.socket_path, needs_restart=True)  # "": see socket_path
    learning: str = key("automatic", checks.choice("automatic", "controlled"))
    static_move: str = key("drop", checks.choice("drop", "forward"))
    full_table: str = key(
        "evict", checks.choice("evict", "refuse")
    )  # new stations where the table or a VLAN is full
    mac_limit: int = key(0, checks.mac_limit)  # dynamic and sticky entries in all; 0: as many as fdb_size
    vrrp_aware: bool = key(
        False, checks.boolean
    )  # what backup routers emit does not move the virtual address
    local_first: bool = key(False, checks.boolean)  # entries of access and tunnel ports do not move to trunks
    fdb_file: str = key("", checks.file_path)  # keeps the FDB over a restart; "": nothing does
    mirror_dir: str = key("/var/lib/framebridge/captures", checks.directory)  # of files that mirrors write
    waiting: str = key("balanced", checks.choice(*WAITINGS))
    cpu: tuple[int, ...] = key((), checks.cpus)  # that the data thread may use; none: as the process
    offload: str = key("off", checks.choice("auto", "off", "require"))  # the kernel forwards known unicast
    address: int = key(0, checks.station, needs_restart=True)  # the bridge's own; 0: see own_address
    reserved: int = key(0, checks.reserved, name="pass_reserved")  # bit n set: 01-80-C2-00-00-0n is forwarded
    heartbeat_ports: tuple[int, ...] = key(
        (5404, 5405), heartbeat_ports
    )  # frames to these are of class heartbeat

    @property
    def socket_path(self) -> str:
        """Path of the control socket, configured or default."""
        return self.control_socket or f"/run/framebridge/{self.name}.sock"


KEYS = keys(BridgeConfig)


def read_bridge(table: Table) -> BridgeConfig:
    """Read `[bridge]`."""
    fields = table.fields(KEYS)
    table.refuse_unknown()
    _check_fdb_keys(table, fields)
    return BridgeConfig(**fields)


def _check_fdb_keys(table: Table, fields: Mapping[str, Any]) -> None:
    size = fields.get("fdb_size", BridgeConfig().fdb_size)
    if ("fdb_size" in fields or "fdb_size" not in table) and fields.get("mac_limit", 0) > size:
        table.fail(f"the table has room for {size} entries; lower this limit or raise fdb_size", "mac_limit")
    if "fdb_file" in fields and fields["fdb_file"] == fields.get("control_socket"):
        table.fail("this is the control socket; name a file of its own", "fdb_file")


def bridge_table(bridge: BridgeConfig) -> dict[str, object]:
    """Return the `[bridge]` table."""
    return write_keys(bridge, KEYS)


def _fixed(old: BridgeConfig, new: BridgeConfig) -> dict[str, tuple[object, object]]:
    """Give the keys that only a restart can change, with what they were and what they would be."""
    was, becomes = bridge_table(old), bridge_table(new)
    fixed = [one.name for one in KEYS if one.needs_restart]
    found = {name: (was[name] or "the default", becomes[name] or "the default") for name in fixed}
    del found["control_socket"]
    if old.control_socket or new.control_socket:  # else it follows the name
        found["control_socket"] = (old.socket_path, new.socket_path)
    return found


SECTION = Section(
    name="bridge",
    field="bridge",
    read=read_bridge,
    write=bridge_table,
    blank=BridgeConfig(),
    actions=("set_bridge", "set_bridge", "set_bridge"),
    subject=lambda bridge: bridge.name,
    describe=lambda bridge: listing(bridge_table(bridge), {"name": bridge.name}),
    removed="settings removed",
    at_start=True,
    fixed=_fixed,
)
