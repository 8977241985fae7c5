"""One `[[vlan]]` of the configuration: a name and limits. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bridge.config import checks
from bridge.config.key import REQUIRED, key, keys, write_keys
from bridge.config.multicast import MDB_MAX, SNOOPING
from bridge.config.section import Section, Unique
from bridge.config.table import Table
from bridge.config.text import listing

_group_limit = replace(checks.integer(0, MDB_MAX), write=lambda value: value or None)


@dataclass(frozen=True, slots=True)
class VlanConfig:
    """One `[[vlan]]`: a name and a limit. A VLAN needs no such table to be used."""

    vid: int = key(REQUIRED, checks.vid, name="id")
    name: str = key("", checks.name)
    mac_limit: int = key(0, checks.mac_limit)  # FDB entries; 0: no limit
    learning: bool = key(True, checks.boolean)
    snooping: str = key("", checks.choice(*SNOOPING))  # "": as [multicast]
    querier: bool | None = key(None, checks.boolean)  # None: as [multicast]
    group_limit: int = key(0, _group_limit)  # groups; 0: no limit


KEYS = keys(VlanConfig)


def read_vlan(table: Table) -> VlanConfig:
    """Read one `[[vlan]]`."""
    fields = table.fields(KEYS, required=("id",))
    table.refuse_unknown()
    return VlanConfig(**{"vid": 0, **fields})


def vlan_table(vlan: VlanConfig) -> dict[str, object]:
    """Return the `[[vlan]]` table."""
    return write_keys(vlan, KEYS)


SECTION = Section(
    name="vlan",
    field="vlans",
    read=read_vlan,
    write=vlan_table,
    blank=VlanConfig(0),
    actions=("set_vlan", "set_vlan", "set_vlan"),
    subject=lambda vlan: str(vlan.vid),
    describe=lambda vlan: listing(vlan_table(vlan), {"id": vlan.vid}),
    removed="settings removed",
    identity=lambda vlan: vlan.vid,
    label=lambda vlan: str(vlan.vid),
    limit=checks.VID_MAX,
    unique=(
        Unique("id", lambda vlan: vlan.vid, "keep one table per VLAN"),
        Unique("name", lambda vlan: vlan.name, "give each VLAN its own name"),
    ),
)
