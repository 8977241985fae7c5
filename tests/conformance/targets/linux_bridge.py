"""The Linux kernel's bridge with vlan_filtering; see bridge(8). Many kernels of virtual machines are without it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from subprocess import run
from typing import Any, ClassVar

import pytest
from helpers.net import Net, wait_until

from conformance.scenario import Entry, FixedEntry, Port
from conformance.target import Ports, Vlans
from conformance.wired import WiredTarget, bridge_side, without_fences

SETTINGS = ("vlan_filtering", "1", "vlan_default_pvid", "0", "mcast_snooping", "0")
AGEING = "30000"  # hundredths of a second, its default
FLOODS = {"unknown": "flood", "multicast": "mcast_flood", "broadcast": "bcast_flood"}


class LinuxBridgeTarget(WiredTarget):
    name = "linux"
    title = "Linux bridge"
    abilities: ClassVar = frozenset(
        {
            "native_tagged",
            "hairpin",
            "isolated",
            "learning",
            "flood",
            "silence",
            "flush",
            "flush port",
            "flush vlan",
            "static",
            "sticky",
        }
        | {"carrier", "change", "dynamic", "locked", "mtu", "mtus"}
    )

    def __init__(self, net: Net, ports: Ports, _bridge: Mapping[str, Any], _vlans: Vlans) -> None:
        super().__init__(net, ports)
        self._fixed: dict[tuple[int, bytes], str] = {}  # devices of entries by hand
        self._make_bridge()
        self.make_veths()
        self._batch("ip", [f"link set {bridge_side(name)} master br0" for name in ports])
        for name in ports:
            self._set_flags(name)
            self._set_vlans(name)
        self._run("ip", "link", "set", "br0", "up")
        self.open_wires()
        for name in ports:
            self.wait_port(name, True)
        self.settle()

    def _make_bridge(self) -> None:
        command = ["ip", "link", "add", "br0", "type", "bridge", *SETTINGS]
        done = self.middle.run(run, command, capture_output=True, text=True, timeout=60)
        if "not supported" in done.stderr or "Unknown device type" in done.stderr:
            pytest.skip(f"Linux bridge with vlan_filtering: {done.stderr.strip()} (see make test-vm)")
        assert done.returncode == 0, done.stderr

    def _run(self, *command: str) -> str:
        done = self.middle.run(run, command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return str(done.stdout)

    def _batch(self, program: str, lines: list[str]) -> None:
        text = "\n".join(lines) + "\n"
        command = [program, "-batch", "-"]
        done = self.middle.run(run, command, input=text, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{text}: {done.stderr}"

    def _set_flags(self, name: str) -> None:
        port = self.ports[name]
        flags = {
            "isolated": port.isolated,
            "hairpin": port.keys.get("hairpin", False),
            "learning": port.keys.get("learning", True),
        }
        flags |= {flag: what in port.flood for what, flag in FLOODS.items()}
        flags |= {"locked": port.keys["locked"]} if "locked" in port.keys else {}
        words = " ".join(f"{flag} {'on' if on else 'off'}" for flag, on in flags.items())
        self._batch("bridge", [f"link set dev {bridge_side(name)} {words}"])

    def _set_vlans(self, name: str) -> None:
        device, port = bridge_side(name), self.ports[name]
        table = json.loads(self._run("bridge", "-j", "vlan", "show", "dev", device) or "[]")
        old = {entry["vlan"] for row in table for entry in row.get("vlans", ())}
        lines = [f"vlan del dev {device} vid {vid}" for vid in old - port.members]
        lines += [f"vlan add dev {device} vid {vid}" for vid in port.tagged]
        form = "" if port.native_tagged else " untagged"
        lines += [f"vlan add dev {device} vid {port.untagged} pvid{form}"] if port.untagged else []
        self._batch("bridge", lines)

    def fdb(self) -> set[Entry]:
        names = {bridge_side(name): name for name in self.ports}
        return without_fences(
            (row["vlan"], bytes.fromhex(row["mac"].replace(":", "")), names[row["ifname"]])
            for row in json.loads(self._run("bridge", "-j", "fdb", "show", "br", "br0"))
            if row["state"] == "" and row.get("ifname") in names and "vlan" in row
        )

    def silence(self) -> None:
        self._run("ip", "link", "set", "br0", "type", "bridge", "ageing_time", "10")
        wait_until(lambda: not self.fdb(), "entries of the Linux bridge to age", 60.0)
        self._run("ip", "link", "set", "br0", "type", "bridge", "ageing_time", AGEING)

    def flush(self, filters: Mapping[str, Any]) -> None:
        where = ["brport", bridge_side(filters["port"])] if "port" in filters else []
        where += ["vlan", str(filters["vlan"])] if "vlan" in filters else []
        self._run("bridge", "fdb", "flush", "dev", "br0", *where, "nopermanent", "nostatic")

    def add(self, entries: Iterable[FixedEntry]) -> None:
        lines = []
        for vlan, mac, port, kind in entries:
            self._fixed[vlan, mac] = bridge_side(port)
            state = {"dynamic": "dynamic", "sticky": "static sticky"}.get(kind, "static")
            lines.append(f"fdb add {mac.hex(':')} dev {bridge_side(port)} master {state} vlan {vlan}")
        self._batch("bridge", lines)

    def forget(self, stations: Iterable[tuple[int, bytes]]) -> None:
        self._batch(
            "bridge",
            [
                f"fdb del {mac.hex(':')} dev {self._fixed.pop((vlan, mac))} master vlan {vlan}"
                for vlan, mac in stations
            ],
        )

    def change(self, port: str, to: Mapping[str, Any]) -> None:
        before, after = self.ports[port], self.merge(port, to)
        self._set_flags(port)
        if set_of_vlans(before) != set_of_vlans(after):
            self._set_vlans(port)

    def wait_port(self, port: str, up: bool) -> None:
        state = "forwarding" if up else "disabled"
        show = ("ip", "-j", "-d", "link", "show", "dev", bridge_side(port))
        wait_until(lambda: port_state(self._run(*show)) == state, f"port {port} {state}")


def set_of_vlans(port: Port) -> tuple[object, ...]:
    """What `bridge vlan` is told of a port."""
    return port.tagged, port.untagged, port.native_tagged


def port_state(shown: str) -> str:
    """The state of a bridge port in the JSON of `ip -d link show`."""
    return str(json.loads(shown)[0]["linkinfo"]["info_slave_data"]["state"])
