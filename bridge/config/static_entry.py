"""One `[[fdb]]` of the configuration: an FDB entry that is not learned. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.config import checks
from bridge.config.key import REQUIRED, key, keys, write_keys
from bridge.config.section import Found, Section, Unique
from bridge.config.table import Report, Table, did_you_mean
from bridge.config.vids import format_vids
from bridge.mac import format_mac


@dataclass(frozen=True, slots=True)
class StaticEntry:
    """One `[[fdb]]`: an FDB entry that is not learned."""

    vid: int = key(REQUIRED, checks.vid, name="vlan")
    mac: int = key(REQUIRED, checks.station)
    kind: str = key("static", checks.choice("static", "sticky", "drop"))
    port: str = key("", checks.name)  # "" for drop


KEYS = keys(StaticEntry)


def read_entry(table: Table) -> StaticEntry:
    """Read one `[[fdb]]`."""
    fields = table.fields(KEYS, required=("mac", "vlan"))
    table.refuse_unknown()
    kind = fields.get("kind", "" if "kind" in table else "static")
    if kind == "drop" and "port" in table:
        table.fail("a drop entry holds on every port; remove this key", "port")
    elif kind in ("static", "sticky") and "port" not in table:
        table.fail(f"a {kind} entry needs a port; add port = '...'")
    return StaticEntry(**{"vid": 0, "mac": 0, **fields})


def entry_table(entry: StaticEntry) -> dict[str, object]:
    """Return the `[[fdb]]` table."""
    table = write_keys(entry, KEYS)
    return {"mac": table.pop("mac"), **table}


def _check(report: Report, found: Found) -> None:
    """Report entries on ports that do not exist or do not carry the VLAN; blanks may stand for anything."""
    [(_, bridge)] = found["bridge"]
    by_name = {port.name: port for _, port in found["ports"]}
    for path, entry in found["entries"]:
        if bridge.address and entry.mac == bridge.address:
            report.add((*path, "mac"), "this is bridge.address, which never has an entry; remove the entry")
        port = by_name.get(entry.port)
        if not entry.port or entry.kind == "drop":
            continue
        if port is None:
            if "" not in by_name:
                hint = did_you_mean(entry.port, by_name) or "; add it, or remove the entry"
                report.add((*path, "port"), f"there is no port {entry.port!r}{hint}")
        elif entry.vid and port.members and entry.vid not in port.members:
            carried = f"port {port.name!r} carries {format_vids(port.members)}"
            report.add(
                (*path, "vlan"), f"{carried}, not VLAN {entry.vid}; add it to the port or correct the entry"
            )


SECTION = Section(
    name="fdb",
    field="entries",
    read=read_entry,
    write=entry_table,
    blank=StaticEntry(0, 0),
    actions=("add_entry", "", "delete_entry"),  # entries are never changed in place
    subject=lambda entry: f"{format_mac(entry.mac)} vlan {entry.vid}",
    describe=lambda entry: f"{entry.kind} on {entry.port}" if entry.port else entry.kind,
    identity=lambda entry: (entry.vid, entry.mac),
    label=lambda entry: format_mac(entry.mac),
    limit=checks.FDB_MAX,
    unique=(
        Unique(
            "mac",
            lambda entry: entry.vid and entry.mac and (entry.vid, entry.mac),
            "keep one entry per VLAN and address",
        ),
    ),
    is_changeable=lambda before, after: before == after,
    follows_port=True,
    check=_check,
)
