"""Our core over memory ports, in this process, with the model (tests/model.py) beside it.

The model checks every step as well: bytes, counters, FDB, conservation. Done means: no frame waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import model
from helpers import frames
from helpers.bridge import Lab
from helpers.net import Net
from model import PortConfig

from bridge.config import security as guards
from bridge.config.checks import RESERVED_NAMES
from bridge.config.storm_control import rate
from bridge.mac import parse_mac
from bridge.protect.security import ranges
from conformance.scenario import FLOODS, SECURITY, Entry, FixedEntry, Mirror, Port
from conformance.target import Ports, Target, Vlans

AGE = 300
PLAIN_KEYS = ("priority_tags", "default_pcp", "hairpin", "direction", "mtu")  # called the same by the core


class MemoryTarget(Target):
    name = "memory"
    title = "framebridge, memory ports"
    abilities: ClassVar = frozenset(
        {"native_tagged", "map", "priority_tags", "default_pcp", "horizon", "hairpin", "direction", "mtu"}
        | {"short", "long", "tunnel", "tpid", "isolated", "learning", "flood", "mac_limit", "static_move"}
        | {"mirror", "mirrors"}
        | {
            "pass_reserved",
            "silence",
            "flush",
            "flush port",
            "flush vlan",
            "static",
            "sticky",
            "drop",
            "dynamic",
            "change",
            "carrier",
            *SECURITY,
        }
        | {"storm_control", "address", "mtus"}
        | {"full_table", "bridge mac_limit", "vrrp_aware", "local_first", "vlan mac_limit", "vlan learning"}
    )

    def __init__(self, _net: Net, ports: Ports, bridge: Mapping[str, Any], vlans: Vlans) -> None:
        self._ports = dict(ports)
        self._index = {name: index for index, name in enumerate(ports)}
        self._names = list(ports)
        passed = sum(1 << RESERVED_NAMES[name] for name in bridge.get("pass_reserved", ()))
        self._lab = Lab(
            *(port_config(port) for port in ports.values()),
            slots=4096,
            reserved_pass=passed,
            age_ticks=AGE,
            vlan_limits={vid: keys["mac_limit"] for vid, keys in vlans.items() if "mac_limit" in keys},
            vlans_not_learning=frozenset(
                vid for vid, keys in vlans.items() if not keys.get("learning", True)
            ),
            mirrors=tuple(self._mirror(mirror) for mirror in bridge.get("mirrors", ())),
            own_address=parse_mac(bridge["address"]) if "address" in bridge else 0,
            storms=self._storms(),
            **{key: bridge[key] for key in bridge.keys() - {"pass_reserved", "address", "mirrors"}},
        )

    def _mirror(self, mirror: Mirror) -> model.Mirror:
        sources = mirror.ports or [name for name, port in self._ports.items() if port.mode != "mirror"]
        return model.Mirror(
            self._index[mirror.to_port],
            tuple(self._index[name] for name in sources),
            rx=mirror.direction != "tx",
            tx=mirror.direction != "rx",
            vids=mirror.vlans or None,
            snaplen=mirror.snaplen,
        )

    def send(self, port: str, frames: Sequence[bytes]) -> dict[str, list[bytes]]:
        data = self._lab.send(self._index[port], *frames).data
        return {self._names[index]: sent for index, sent in data.items()}

    def fdb(self) -> set[Entry]:
        return {
            (entry.vid, entry.mac.to_bytes(6, "big"), self._names[entry.port])
            for entry in self._lab.core.fdb_entries()
            if entry.kind == "dynamic"
        }

    def silence(self) -> None:
        self._lab.set_tick(self._lab.core.tick + AGE + 1)
        self._lab.fdb_expire(AGE)

    def flush(self, filters: Mapping[str, Any]) -> None:
        port = self._index[filters["port"]] if "port" in filters else None
        self._lab.fdb_flush(port=port, vid=filters.get("vlan"))

    def add(self, entries: Iterable[FixedEntry]) -> None:
        for vlan, mac, port, kind in entries:
            assert self._lab.fdb_set(vlan, station(mac), -1 if kind == "drop" else self._index[port], kind)

    def forget(self, stations: Iterable[tuple[int, bytes]]) -> None:
        for vlan, mac in stations:
            assert self._lab.fdb_delete(vlan, station(mac))

    def change(self, port: str, to: Mapping[str, Any]) -> None:
        before = self._ports[port].members
        self._ports[port] = self._ports[port].changed(to)
        fields = port_config(self._ports[port]).__dict__
        self._lab.change(self._index[port], **fields)
        self._lab.change_bridge(storms=self._storms())
        for vid in before - self._ports[port].members:  # as bridge.fdb.learning does
            self._lab.fdb_flush(port=self._index[port], vid=vid)

    def carrier(self, port: str, up: bool) -> None:
        self._lab.change(self._index[port], up=up)
        if not up:  # as bridge.fdb.learning does
            self._lab.fdb_flush(port=self._index[port], sticky=False)

    def _storms(self) -> dict[tuple[int, str], int]:
        """Frames that each limit lets pass at once; of a rate that gives none back while a scenario is played."""
        return {
            (self._index[name], flood): max(1, round(rate(limit).limit * 0.1))
            for name, port in self._ports.items()
            for flood, limit in port.keys.get("storm_control", {}).items()
        }


def port_config(port: Port) -> PortConfig:
    """A port's table as the model takes it."""
    if port.mode == "mirror":
        return PortConfig("trunk", direction="egress")
    return PortConfig(
        port.mode,
        port.untagged,
        port.tagged,
        tpid=port.tpid,
        isolated=port.isolated,
        learning=port.keys.get("learning", True),
        mac_limit=port.keys.get("mac_limit", 0),
        native_tagged=port.native_tagged,
        translations=port.translations,
        horizon=port.horizon,
        **{key: port.keys[key] for key in PLAIN_KEYS if key in port.keys},
        **{f"flood_{what}": what in port.flood for what in FLOODS},
        **security(port.keys),
    )


def security(keys: Mapping[str, Any]) -> dict[str, Any]:
    """What `locked`, `allow` and the guards of a port's table come to."""
    allowed = [one for text in keys.get("allow", ()) for one in guards.stations(text)]
    rules = [rule for text in keys.get("source_guard", ()) for rule in guards.rules(text)]
    return {
        "locked": keys.get("locked", False),
        "allow": tuple(ranges(allowed)),
        "rules": tuple(rule.for_core for rule in rules),
        "ra_guard": keys.get("ra_guard", False),
        "dhcp_guard": keys.get("dhcp_guard", False),
    }


def station(mac: bytes) -> int:
    return frames.number(mac) - frames.number(frames.host(0))
