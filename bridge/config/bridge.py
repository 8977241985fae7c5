"""The small tables of a configuration: `[bridge]`, `[[vlan]]`, `[[fdb]]`, `[cost]`, `[metrics]`.

Each is a frozen value, the keys it may be written with, a reader and a writer. Pure. Flaws are told to the report of
the table and leave their field blank. Ports, budgets, mirrors and protection have files of their own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bridge.config import checks
from bridge.config.checks import Keys, Table, plain_table
from bridge.config.vids import vid_runs
from bridge.mac import format_mac, parse_mac

# The data plane's; tests compare them with bridge.core._core.WAITINGS.
WAITINGS = ("latency", "balanced", "throughput")


# -- [bridge]


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


# -- [[vlan]]


@dataclass(frozen=True, slots=True)
class VlanConfig:
    """One `[[vlan]]`: a name and a limit. A VLAN needs no such table to be used."""

    vid: int
    name: str = ""
    mac_limit: int = 0  # FDB entries; 0: no limit
    learning: bool = True


_VLAN_KEYS: Keys = {
    "id": ("vid", checks.vid),
    "name": ("name", checks.name),
    "mac_limit": ("mac_limit", checks.mac_limit),
    "learning": ("learning", checks.boolean),
}


def read_vlan(table: Table) -> VlanConfig:
    """Read one `[[vlan]]`."""
    fields = table.fields(_VLAN_KEYS, required=("id",))
    table.refuse_unknown()
    return VlanConfig(**{"vid": 0, **fields})


def vlan_table(vlan: VlanConfig) -> dict[str, object]:
    """Return the `[[vlan]]` table."""
    return plain_table(vlan, _VLAN_KEYS)


# -- [[fdb]]


@dataclass(frozen=True, slots=True)
class StaticEntry:
    """One `[[fdb]]`: an FDB entry that is not learned."""

    vid: int
    mac: int
    kind: str = "static"  # static | sticky | drop
    port: str = ""  # "" for drop


_ENTRY_KEYS: Keys = {
    "mac": ("mac", checks.station),
    "vlan": ("vid", checks.vid),
    "kind": ("kind", checks.choice("static", "sticky", "drop")),
    "port": ("port", checks.name),
}


def read_entry(table: Table) -> StaticEntry:
    """Read one `[[fdb]]`."""
    fields = table.fields(_ENTRY_KEYS, required=("mac", "vlan"))
    table.refuse_unknown()
    kind = fields.get("kind", "" if "kind" in table else "static")
    if kind == "drop" and "port" in table:
        table.fail("a drop entry holds on every port; remove this key", "port")
    elif kind in ("static", "sticky") and "port" not in table:
        table.fail(f"a {kind} entry needs a port; add port = '...'")
    return StaticEntry(**{"vid": 0, "mac": 0, **fields})


def entry_table(entry: StaticEntry) -> dict[str, object]:
    """Return the `[[fdb]]` table."""
    return plain_table(entry, _ENTRY_KEYS) | {"mac": format_mac(entry.mac)}


# -- [cost]


@dataclass(frozen=True, slots=True)
class CostConfig:
    """The `[cost]` table: what a core costs, so that the bill can be told in money."""

    price_per_core_hour: float | None = None  # in units of the currency; None: no money is told
    currency: str = "EUR"


_COST_KEYS: Keys = {
    "price_per_core_hour": ("price_per_core_hour", checks.price),
    "currency": ("currency", checks.currency),
}


def read_cost(table: Table) -> CostConfig:
    """Read `[cost]`."""
    fields = table.fields(_COST_KEYS)
    table.refuse_unknown()
    return CostConfig(**fields)


def cost_table(cost: CostConfig) -> dict[str, object]:
    """Return the `[cost]` table."""
    return plain_table(cost, _COST_KEYS)


# -- [metrics]


@dataclass(frozen=True, slots=True)
class MetricsConfig:
    """The `[metrics]` table: metrics for Prometheus over HTTP."""

    address: str = ""  # 127.0.0.1:9464 or [::1]:9464; "": off
    vlans: int = 100  # VLANs with series of their own at most, the dearest; the others are summed up
    talkers: int = 0  # the same for source addresses, which are not summed up


_METRICS_KEYS: Keys = {
    "address": ("address", checks.listen_address),
    "vlans": ("vlans", checks.integer(0, checks.VID_MAX)),
    "talkers": ("talkers", checks.integer(0, 1000)),
}


def read_metrics(table: Table, *, present: bool) -> MetricsConfig:
    """Read `[metrics]`; it says where, if it is there."""
    fields = table.fields(_METRICS_KEYS, required=("address",) if present else ())
    table.refuse_unknown()
    return MetricsConfig(**fields)


def metrics_table(metrics: MetricsConfig) -> dict[str, object]:
    """Return the `[metrics]` table."""
    return plain_table(metrics, _METRICS_KEYS)


# -- for all tables


def toml_value(value: object) -> str:
    """Write one value of a table inline."""
    match value:
        case dict():
            return "{ " + ", ".join(f"{key} = {toml_value(item)}" for key, item in value.items()) + " }"
        case list():
            return "[" + ", ".join(toml_value(item) for item in value) + "]"
        case float() if value.is_integer():
            return str(int(value))
        case _:  # JSON agrees with TOML on numbers, booleans and printable strings
            return json.dumps(value, ensure_ascii=False)
