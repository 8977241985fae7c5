"""What the engine answers about ports and VLANs: rows for the control socket, states for the metrics. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bridge.berth import Berth
from bridge.checks import TPIDS
from bridge.config import VlanConfig
from bridge.ledger import Row, Tally
from bridge.metrics import PortState
from bridge.storm_control import NO_LIMITS
from bridge.vids import format_vids

_TPID_NAMES = {number: name for name, number in TPIDS.items()}


def port_rows(berths: Iterable[Berth], tallies: Mapping[str, Tally], entries: Mapping[int, int]) -> list[Row]:
    """One row per port: configuration, state, totals; `entries` counts those of the FDB by port index."""
    return [_port_row(berth, tallies[berth.config.name], entries.get(berth.index, 0)) for berth in berths]


def _port_row(berth: Berth, tally: Tally, entries: int) -> Row:
    config = berth.config
    trunk = config.mode == "trunk"
    return {
        "port": config.name,
        "index": berth.index,
        "kind": config.kind,
        "device": config.device,
        "netns": config.netns,
        "state": berth.state,
        "reason": berth.blocked or None,
        "mode": config.mode,
        "vlan": format_vids(config.vids) if trunk else config.pvid,
        "native": (config.pvid or None) if trunk else None,
        "native_tagged": config.native_tagged,
        "map": ",".join(map(str, config.translations)) or None,
        "tpid": _TPID_NAMES[config.tpid],
        "priority_tags": config.priority_tags,
        "default_pcp": config.default_pcp,
        "enabled": config.admin_up,
        "learning": config.learning,
        "mac_limit": config.mac_limit,
        "flood": config.flood or None,
        "isolated": config.isolated,
        "horizon": config.horizon or None,
        "hairpin": config.hairpin,
        "direction": config.direction,
        "locked": config.locked,
        "source_guard": bool(config.source_guard),
        "storm_control": config.storm_control != NO_LIMITS,
        "mtu": berth.mtu,
        "filter": berth.filter_state,
        "fdb_entries": entries,
        "rx_frames": tally.values["rx_frames"],
        "tx_frames": tally.values["tx_frames"],
        "drops": tally.drops,
    }


def vlan_rows(
    berths: Iterable[Berth], vlans: Mapping[int, VlanConfig], entries: Mapping[int, int]
) -> list[Row]:
    """One row per VLAN that a port carries or the configuration names; `entries` counts those of the FDB by VLAN."""
    tagged: dict[int, list[str]] = {vid: [] for vid in vlans}
    untagged: dict[int, list[str]] = {}
    for berth in berths:
        for vid in berth.config.members:
            side = untagged if vid == berth.config.untagged else tagged
            side.setdefault(vid, []).append(berth.config.name)
    return [
        {
            "vlan": vid,
            "name": vlans[vid].name if vid in vlans else "",
            "tagged": tagged.get(vid, []),
            "untagged": untagged.get(vid, []),
            "fdb_entries": entries.get(vid, 0),
            "mac_limit": vlans[vid].mac_limit if vid in vlans else 0,
            "learning": vlans[vid].learning if vid in vlans else True,
        }
        for vid in sorted(tagged.keys() | untagged.keys())
    ]


def port_states(berths: Iterable[Berth], entries: Mapping[int, int]) -> dict[str, PortState]:
    """Give what the metrics tell of each port beside its counters."""
    return {
        berth.config.name: PortState(
            kind=berth.config.kind,
            device=berth.config.device,
            mode=berth.config.mode,
            state=berth.state,
            mtu=berth.mtu,
            fdb_entries=entries.get(berth.index, 0),
        )
        for berth in berths
    }
