"""Our daemon as people run it: `framebridge run`, ports on veths (kind link) or taps, everything by its control socket.

It is there when a scenario begins (site), and becomes what the scenario wants by a reload.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, ClassVar

import pytest
from helpers.daemon import port as port_table
from helpers.net import Net, wait_until

from bridge.config.text import toml_value
from conformance import notation
from conformance.scenario import SECURITY, Entry, FixedEntry, Mirror, Port
from conformance.site import Site
from conformance.target import Ports, Vlans
from conformance.wired import WiredTarget, bridge_side, host_side, without_fences

AGEING_DONE = 30.0


class LinkTarget(WiredTarget):
    name = "link"
    title = "framebridge, links"
    kind = "link"
    abilities: ClassVar = frozenset(
        {"native_tagged", "map", "priority_tags", "default_pcp", "horizon", "hairpin", "direction", "mtu"}
        | {
            "tunnel",
            "tpid",
            "isolated",
            "learning",
            "flood",
            "mac_limit",
            "static_move",
            "pass_reserved",
            "silence",
            "mirror",
            "mirrors",
        }
        | {"flush", "flush port", "flush vlan", "flush mac", "flush state"}
        | {"static", "sticky", "drop", "change", "carrier"}
        | {"full_table", "bridge mac_limit", "vrrp_aware", "local_first", "vlan mac_limit", "vlan learning"}
        | {"dynamic", "address", "storm_control", "mtus", *SECURITY}
    )

    def __init__(self, net: Net, ports: Ports, bridge: Mapping[str, Any], vlans: Vlans, site: Site) -> None:
        limits = {**bridge, **{key: limit for keys in vlans.values() for key, limit in keys.items()}}
        super().__init__(
            net,
            ports,
            bridge.get("mirrors", ()),
            is_tight="mac_limit" in limits,
            spaces=(site.hosts, site.middle),
        )
        self._bridge = {key: value for key, value in bridge.items() if key != "mirrors"}
        self._vlans = vlans
        self.make_devices()
        self._daemon = site.daemon
        self._reload()
        for name in ports:
            self._daemon.wait_state(name, "up")
        self.open_wires()
        self.settle()

    def make_devices(self) -> None:
        self.make_veths()

    def _tables(self) -> list[str]:
        vlans = [
            "\n".join(
                [
                    "[[vlan]]",
                    *(f"{key} = {toml_value(value)}" for key, value in {"id": vid, **keys}.items()),
                    "",
                ]
            )
            for vid, keys in self._vlans.items()
        ]
        mirrors = [mirror_table(f"m{number}", mirror) for number, mirror in enumerate(self.mirrors)]
        return [*(self.table(name, port) for name, port in self.ports.items()), *vlans, *mirrors]

    def table(self, name: str, port: Port) -> str:
        return port_table(name, self.kind, bridge_side(name), **port.keys)

    def _reload(self, **bridge: Any) -> None:
        self._daemon.write(*self._tables(), **{**self._bridge, **bridge})
        self._daemon.ask("Reload")

    def fdb(self) -> set[Entry]:
        rows = self._daemon.ask("FdbShow")
        return without_fences(
            (row["vlan"], bytes.fromhex(row["mac"].replace(":", "")), row["port"])
            for row in rows
            if row["state"] == "dynamic"
        )

    def silence(self) -> None:
        self._reload(ageing_time=1)
        wait_until(
            lambda: not any(row["state"] == "dynamic" for row in self._daemon.ask("FdbShow")),
            "dynamic entries to age",
            AGEING_DONE,
        )
        self._reload()

    def flush(self, filters: Mapping[str, Any]) -> None:
        given = dict(filters)
        if "mac" in given:
            given["mac"] = notation.address(given["mac"]).hex(":")
        self._daemon.ask("FdbFlush", **given)

    def add(self, entries: Iterable[FixedEntry]) -> None:
        for vlan, mac, port, kind in entries:
            where = {} if kind == "drop" else {"port": port}
            self._daemon.ask("FdbAdd", mac=mac.hex(":"), vlan=vlan, kind=kind, **where)

    def forget(self, stations: Iterable[tuple[int, bytes]]) -> None:
        for vlan, mac in stations:
            self._daemon.ask("FdbDel", mac=mac.hex(":"), vlan=vlan)

    def change(self, port: str, to: Mapping[str, Any]) -> None:
        self.merge(port, to)
        self._reload()

    def wait_port(self, port: str, up: bool) -> None:
        self._daemon.wait_state(port, "up" if up else "down")


def mirror_table(name: str, mirror: Mirror) -> str:
    """The [[mirror]] table of the file."""
    table = {"name": name, **{key: value for key, value in asdict(mirror).items() if value}}
    lines = [
        f"{key} = {toml_value(list(value) if isinstance(value, tuple) else value)}"
        for key, value in table.items()
    ]
    return "\n".join(["[[mirror]]", *lines, ""])


class TapTarget(LinkTarget):
    name = "tap"
    title = "framebridge, taps"
    kind = "tap"
    abilities: ClassVar = LinkTarget.abilities - {"carrier"}

    def make_devices(self) -> None:
        pass  # the daemon makes them

    def table(self, name: str, port: Port) -> str:
        return port_table(name, self.kind, host_side(name), self.hosts, **port.keys)


class OffloadLinkTarget(LinkTarget):
    """The same, with the kernel forwarding what it may."""

    name = "link, offload"
    title = "framebridge, links, offload"
    has_streams = True

    def _reload(self, **bridge: Any) -> None:
        super()._reload(**{"offload": "auto", **bridge})
        if self._daemon.ask("BridgeShow")[0]["offload_state"] != "on":
            pytest.skip(self._daemon.ask("BridgeShow")[0]["offload_state"])


class OffloadTapTarget(OffloadLinkTarget, TapTarget):
    """Taps, as well."""

    name = "tap, offload"
    title = "framebridge, taps, offload"
    kind = "tap"
    abilities: ClassVar = TapTarget.abilities
    make_devices = TapTarget.make_devices
