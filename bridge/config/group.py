"""One `[[group]]` of the configuration: ports that get a group whether or not anybody reports it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from bridge.config import checks
from bridge.config.group_address import group_address
from bridge.config.key import REQUIRED, key, keys, write_keys
from bridge.config.mirror import names
from bridge.config.multicast import MDB_MAX
from bridge.config.section import Found, Section, Unique
from bridge.config.table import Report, Table, did_you_mean, read_alone
from bridge.config.text import listing
from bridge.config.vids import format_vids


@dataclass(frozen=True, slots=True)
class GroupConfig:
    """One `[[group]]`."""

    group: str = key(REQUIRED, group_address)  # canonical
    vid: int = key(REQUIRED, checks.vid, name="vlan")
    ports: tuple[str, ...] = key((), names)
    only: bool = key(False, checks.boolean)  # these ports, and none that reports the group


KEYS = keys(GroupConfig)


def parse_group_table(table: Mapping[str, object], where: str = "group") -> GroupConfig:
    """Validate one group given as an object shaped like a `[[group]]` table; `where` begins every key path."""
    return read_alone(read_group, table, where)


def read_group(table: Table) -> GroupConfig:
    """Read one `[[group]]`."""
    fields = table.fields(KEYS, required=("group", "vlan"))
    table.refuse_unknown()
    if not fields.get("ports") and not (fields.get("only") or "ports" in table):
        table.fail("names the ports that get the group; add ports = ['...']")
    return GroupConfig(**{"group": "", "vid": 0, **fields})


def group_table(group: GroupConfig) -> dict[str, object]:
    """Return the `[[group]]` table."""
    return write_keys(group, KEYS)


def _check(report: Report, found: Found) -> None:
    """Report groups of VLANs that do not snoop, and ports that do not exist or do not carry the VLAN."""
    [(_, multicast)] = found["multicast"]
    own = {vlan.vid: vlan.snooping for _, vlan in found["vlans"]}
    by_name = {port.name: port for _, port in found["ports"]}
    for path, group in found["groups"]:
        if group.vid and (own.get(group.vid) or multicast.snooping) == "off":
            report.add(
                (*path, "vlan"), f"VLAN {group.vid} does not snoop; set snooping there, or remove the group"
            )
        for name in group.ports:
            port = by_name.get(name)
            if port is None and "" not in by_name:
                hint = did_you_mean(name, by_name) or "; add it, or remove it here"
                report.add((*path, "ports"), f"there is no port {name!r}{hint}")
            elif port is not None and group.vid and port.members and group.vid not in port.members:
                carried = f"port {name!r} carries {format_vids(port.members)}"
                report.add(
                    (*path, "ports"), f"{carried}, not VLAN {group.vid}; add it to the port or remove it here"
                )


def without_port(groups: Iterable[GroupConfig], name: str) -> tuple[GroupConfig, ...]:
    """Return the groups that stay when a port leaves: not those of it alone, unless they say `only`."""
    kept = []
    for group in groups:
        ports = tuple(port for port in group.ports if port != name)
        if ports or group.only or not group.ports:
            kept.append(replace(group, ports=ports))
    return tuple(kept)


SECTION = Section(
    name="group",
    field="groups",
    read=read_group,
    write=group_table,
    blank=GroupConfig("", 0),
    actions=("set_group", "set_group", "delete_group"),
    subject=lambda group: f"{group.group} vlan {group.vid}",
    describe=lambda group: listing(
        group_table(group), {"group": group.group, "vlan": group.vid, "only": False}
    ),
    identity=lambda group: (group.vid, group.group),
    label=lambda group: group.group,
    limit=MDB_MAX,
    unique=(
        Unique(
            "group",
            lambda group: group.vid and group.group and (group.vid, group.group),
            "keep one table per VLAN and group",
        ),
    ),
    check=_check,
)
