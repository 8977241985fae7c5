"""What would make the bill smaller: estimates, each a row, the best first. Pure.

Job: price the copies a measure would spare at what a copy out of those ports cost in the window (tx cycles of the
port per copy it was offered), but at no more than copies of such frames were charged: a port that mostly sends
super-frames has dear copies, and a broadcast is none. Measures overlap (a quieter talker floods less), so their
savings do not add up.

* unknown_unicast, broadcast, arp_nd: flooding of this class in a VLAN suppressed, so that one copy is left.
  For unknown unicast that is what happens once the destination is learned; for ARP and ND what a proxy does.
* vlan_off_port: a VLAN is taken off a port where nothing was heard from it in the window; floods skip the port.
* quieter_talker: a source sends half of what it sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING

from bridge.account.views import Rates, Row, by_talker, charges
from bridge.account.window import REMOVED, VID_NONE, VID_OTHER, Amount, ChargeKey, Egress, Window, total

if TYPE_CHECKING:
    from bridge.config.port import PortConfig

TALKERS = 10  # asked to be quieter
QUIETER = 0.5
SUPPRESSIBLE = {
    "unknown_unicast": "flood no unknown unicast",
    "broadcast": "suppress broadcasts other than ARP",
    "arp_nd": "answer ARP and ND instead of flooding them",
}
# The flag of a port that lets it have a flooded frame of a class; classes that are not here are not flooded.
FLOOD_FLAGS = {
    "unknown_unicast": "flood_unknown",
    "broadcast": "flood_broadcast",
    "arp_nd": "flood_broadcast",
    "igmp_mld": "flood_multicast",
    "first_hop": "flood_multicast",
    "heartbeat": "flood_multicast",
    "multicast": "flood_multicast",
    "reserved": "flood_multicast",
}


def savings_rows(window: Window, rates: Rates, ports: Sequence[PortConfig]) -> list[Row]:
    """One row per measure that would have saved something in this window."""
    charged = charges(window)
    found = [
        *_suppressions(window, charged, ports),
        *_vlans_off_ports(window, charged, ports),
        *_quieter_talkers(window),
    ]
    busy = window.busy
    rows = [
        {**row, "cycles": cycles, "share": round(cycles / busy, 4), **rates.columns(cycles)}
        for row, cycles in sorted(found, key=lambda item: -item[1])
        if cycles and busy
    ]
    return [{**row, "text": row.pop("text")} for row in rows]


Found = Iterator[tuple[Row, int]]


def _suppressions(window: Window, charged: Mapping[ChargeKey, Amount], ports: Sequence[PortConfig]) -> Found:
    groups: dict[tuple[str, int], Amount] = {}
    for key, amount in charged.items():
        if key.frame_class in SUPPRESSIBLE:
            group = key.frame_class, key.vid
            groups[group] = groups.get(group, Amount()).plus(amount)
    for (frame_class, vid), amount in groups.items():
        per_copy = _mean_cost(
            [window.egress[port.name] for port in ports if port.name in window.egress and vid in port.members]
            or [*window.egress.values()]
        )
        spared = max(0, amount.copies - amount.frames)
        saved = min(round(spared * per_copy), amount.induced)
        where = f"in VLAN {vid}" if vid not in (VID_NONE, VID_OTHER) else "in the other VLANs"
        row = _row(frame_class, vlan=vid, copies=spared, cycles_per_copy=per_copy)
        yield {**row, "text": f"{SUPPRESSIBLE[frame_class]} {where}"}, saved


def _vlans_off_ports(
    window: Window, charged: Mapping[ChargeKey, Amount], ports: Sequence[PortConfig]
) -> Found:
    heard = {(key.port, key.vid) for key, amount in charged.items() if amount.frames}
    flooded: dict[int, list[tuple[ChargeKey, Amount]]] = {}
    for key, amount in charged.items():
        if key.frame_class in FLOOD_FLAGS and amount.frames and key.port != REMOVED:
            flooded.setdefault(key.vid, []).append((key, amount))
    for port in ports:
        egress = window.egress.get(port.name)
        if not egress or not egress.offered:
            continue
        for vid in port.members & flooded.keys():
            if (port.name, vid) in heard:
                continue
            takes = [
                (key, amount) for key, amount in flooded[vid] if getattr(port, FLOOD_FLAGS[key.frame_class])
            ]
            copies = min(sum(amount.frames for _, amount in takes), egress.offered)
            most = sum(amount.cycles for _, amount in takes)
            per_copy = min(egress.cycles_per_copy, _cost_of_another(amount for _, amount in takes))
            row = _row("vlan_off_port", vid, port.name, copies=copies, cycles_per_copy=per_copy)
            text = f"take VLAN {vid} off port {port.name}, where nobody of it was heard"
            yield {**row, "text": text}, min(round(copies * per_copy), most)


def _quieter_talkers(window: Window) -> Found:
    ranked, _ = by_talker(window)
    for key, amount in ranked[:TALKERS]:
        saved = round(amount.cycles * QUIETER)
        row = {**_row("quieter_talker"), **key, "copies": round(amount.copies * QUIETER)}
        place = f"VLAN {key['vlan']}, port {key['port'] or '-'}"
        yield {**row, "text": f"let {key['mac']} ({place}) send half as much"}, saved


def _row(
    measure: str,
    vlan: int | None = None,
    port: str | None = None,
    mac: str | None = None,
    copies: int = 0,
    cycles_per_copy: float | None = None,
) -> Row:
    per_copy = None if cycles_per_copy is None else round(cycles_per_copy, 1)
    return {
        "measure": measure,
        "vlan": None if vlan in (VID_NONE, VID_OTHER) else vlan,
        "port": port,
        "mac": mac,
        "copies": copies,
        "cycles_per_copy": per_copy,
    }


def _cost_of_another(amounts: Iterable[Amount]) -> float:
    """Return what one copy beyond the first of such frames was charged; without any, no bound."""
    flooded = total(amounts)
    spared = flooded.copies - flooded.frames
    return flooded.induced / spared if spared > 0 else inf


def _mean_cost(egresses: Sequence[Egress]) -> float:
    """Return the mean cost of one copy out of several ports, each port counting once, as a flood does."""
    used = [egress.cycles_per_copy for egress in egresses if egress.offered]
    return sum(used) / len(used) if used else 0.0
