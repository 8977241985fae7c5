"""The `[bridge]` table of the configuration: what holds for the bridge as a whole. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bridge.config import checks
from bridge.config.section import Section
from bridge.config.table import Keys, Table, plain_table
from bridge.config.text import listing
from bridge.config.vids import vid_runs
from bridge.declared import WAITINGS
from bridge.mac import format_mac, parse_mac


@dataclass(frozen=True, slots=True)
class BridgeConfig:
    """The `[bridge]` table."""

    name: str = "bridge0"
    ageing_time: float = 300  # seconds; 0: entries do not age
    fdb_size: int = 65536  # entries
    control_socket: str = ""  # "": see socket_path
    learning: str = "automatic"  # automatic | controlled
    static_move: str = "drop"  # drop | forward
    waiting: str = "balanced"  # latency | balanced | throughput
    reserved: int = 0  # bit n set: 01-80-C2-00-00-0n is forwarded
    heartbeat_ports: tuple[int, ...] = (5404, 5405)  # UDP; frames to them are of class heartbeat
    full_table: str = "evict"  # evict | refuse: new stations where the table or a VLAN is full
    mac_limit: int = 0  # dynamic and sticky entries in all; 0: as many as fdb_size
    vrrp_aware: bool = False  # what backup routers emit does not move the virtual address
    local_first: bool = False  # entries of access and tunnel ports do not move to trunks
    fdb_file: str = ""  # keeps the FDB over a restart; "": nothing does
    mirror_dir: str = "/var/lib/framebridge/captures"  # of files that mirrors write
    offload: str = "off"  # auto | off | require: the kernel forwards known unicast (bridge/offload)
    address: int = 0  # the bridge's own; 0: see own_address

    @property
    def socket_path(self) -> str:
        """Path of the control socket, configured or default."""
        return self.control_socket or f"/run/framebridge/{self.name}.sock"


_BRIDGE_KEYS: Keys = {
    "name": ("name", checks.name),
    "ageing_time": ("ageing_time", checks.ageing_time),
    "fdb_size": ("fdb_size", checks.integer(64, checks.FDB_MAX)),
    "control_socket": ("control_socket", checks.socket_path),
    "learning": ("learning", checks.choice("automatic", "controlled")),
    "static_move": ("static_move", checks.choice("drop", "forward")),
    "full_table": ("full_table", checks.choice("evict", "refuse")),
    "mac_limit": ("mac_limit", checks.mac_limit),
    "vrrp_aware": ("vrrp_aware", checks.boolean),
    "local_first": ("local_first", checks.boolean),
    "fdb_file": ("fdb_file", checks.file_path),
    "mirror_dir": ("mirror_dir", checks.directory),
    "waiting": ("waiting", checks.choice(*WAITINGS)),
    "offload": ("offload", checks.choice("auto", "off", "require")),
    "address": ("address", checks.station),
}


def read_bridge(table: Table) -> BridgeConfig:
    """Read `[bridge]`."""
    fields = table.fields(_BRIDGE_KEYS)
    passed = table.union("pass_reserved", checks.reserved) or set()
    heartbeat = table.union("heartbeat_ports", checks.udp_ports)
    table.refuse_unknown()
    _check_fdb_keys(table, fields)
    if heartbeat is not None:
        fields["heartbeat_ports"] = tuple(sorted(heartbeat))
    return BridgeConfig(**fields, reserved=sum(1 << (parse_mac(mac) & 0xF) for mac in passed))


def _check_fdb_keys(table: Table, fields: Mapping[str, Any]) -> None:
    size = fields.get("fdb_size", BridgeConfig().fdb_size)
    if ("fdb_size" in fields or "fdb_size" not in table) and fields.get("mac_limit", 0) > size:
        table.fail(f"the table has room for {size} entries; lower this limit or raise fdb_size", "mac_limit")
    if "fdb_file" in fields and fields["fdb_file"] == fields.get("control_socket"):
        table.fail("this is the control socket; name a file of its own", "fdb_file")


def bridge_table(bridge: BridgeConfig) -> dict[str, object]:
    """Return the `[bridge]` table."""
    names = {number: name for name, number in checks.RESERVED_NAMES.items()}
    passed = [number for number in range(16) if bridge.reserved >> number & 1]
    table = plain_table(bridge, _BRIDGE_KEYS)
    return table | {
        "address": format_mac(bridge.address) if bridge.address else None,
        "pass_reserved": [names.get(n) or format_mac(checks.RESERVED_BASE + n) for n in passed],
        "heartbeat_ports": [
            first if first == last else f"{first}-{last}" for first, last in vid_runs(bridge.heartbeat_ports)
        ],
    }


def _fixed(old: BridgeConfig, new: BridgeConfig) -> dict[str, tuple[object, object]]:
    """Give the keys that only a restart can change, with what they were and what they would be."""
    was, becomes = bridge_table(old), bridge_table(new)
    found = {
        key: (was[key] or "the default", becomes[key] or "the default")
        for key in ("name", "fdb_size", "address")
    }
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
