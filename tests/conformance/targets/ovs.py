"""Open vSwitch (Debian package openvswitch-switch), a daemon of its own with database and sockets in a directory.

Its userspace datapath (netdev) runs anywhere; where the kernel has the module openvswitch, `system` is the kernel's.
The clock of the daemon can be turned (`time/warp`, of its test switch --enable-dummy), so ageing needs no waiting.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from subprocess import run
from typing import Any, ClassVar

import pytest
from helpers.net import Namespace, Net, wait_until

from conformance.scenario import Entry, FixedEntry, Mirror, Port
from conformance.target import Ports, Vlans
from conformance.wired import WiredTarget, bridge_side, without_fences

PROGRAMS = ("ovs-vswitchd", "ovsdb-server", "ovsdb-tool", "ovs-vsctl", "ovs-appctl")
SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
QUIET = ("-vconsole:warn", "-vsyslog:off", "-vfile:off")
AGEING = 300  # seconds, its default


def require() -> None:
    """Skip where it is not installed."""
    missing = [program for program in PROGRAMS if not shutil.which(program, path=PATH)]
    if missing or not SCHEMA.exists():
        pytest.skip(
            f"Open vSwitch: {', '.join(missing) or SCHEMA} is not here (Debian package openvswitch-switch)"
        )


class Switch:
    """A running Open vSwitch in a namespace."""

    def __init__(self, net: Net, space: Namespace) -> None:
        self._home = Path(net.enter_context(tempfile.TemporaryDirectory(prefix="fb-ovs-")))
        self._environment = {
            f"OVS_{what}": str(self._home) for what in ("RUNDIR", "LOGDIR", "DBDIR", "SYSCONFDIR")
        }
        self._environment["PATH"] = PATH
        database, socket = self._home / "conf.db", self._home / "db.sock"
        self._database = f"--db=unix:{socket}"
        self._control = self._home / "vswitchd.ctl"
        self.run("ovsdb-tool", "create", str(database), str(SCHEMA))
        places = [f"--remote=punix:{socket}", f"--unixctl={self._home}/ovsdb.ctl"]
        server = net.program(["ovsdb-server", str(database), *places, *QUIET], space, env=self._environment)
        server.wait_ready(socket.exists, "the database of Open vSwitch")
        self.vsctl("--no-wait", "init")
        program = ["ovs-vswitchd", f"unix:{socket}", f"--unixctl={self._control}", "--enable-dummy", *QUIET]
        self.program = net.program(program, space, env=self._environment)
        self.program.wait_ready(self._control.exists, "Open vSwitch to answer", 60.0)

    def run(self, *command: str) -> str:
        done = run(command, capture_output=True, text=True, env=self._environment, timeout=60, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def vsctl(self, *words: str) -> str:
        return self.run("ovs-vsctl", self._database, "--timeout=50", *words)

    def appctl(self, *words: str) -> str:
        return self.run("ovs-appctl", "-t", str(self._control), *words)


def port_settings(port: Port) -> list[str]:
    """Columns of the table Port; see ovs-vswitchd.conf.db(5)."""
    vids = ",".join(map(str, port.tagged))
    match port.mode:
        case "access":
            columns = [f"tag={port.untagged}", "vlan_mode=access"]
        case "mirror":  # the output port of a mirror has no other traffic, whatever its VLANs
            columns = []
        case "tunnel":
            columns = [f"tag={port.untagged}", "vlan_mode=dot1q-tunnel", "other_config:qinq-ethtype=802.1q"]
        case _ if port.untagged:
            form = "native-tagged" if port.native_tagged else "native-untagged"
            columns = [f"trunks={vids}", f"tag={port.untagged}", f"vlan_mode={form}"]
        case _:
            columns = [f"trunks={vids}", "vlan_mode=trunk"]
    priority_tags = port.keys.get("priority_tags", "never").replace("_", "-")
    columns.append(f"other_config:priority-tags={priority_tags}")
    return [*columns, f"protected={str(port.isolated).lower()}"]


def mirror_words(mirrors: tuple[Mirror, ...], ports: Ports) -> list[str]:
    """What ovs-vsctl takes to make rows of the table Mirror."""
    words = [word for name in ports for word in ("--", f"--id=@{name}", "get", "port", bridge_side(name))]
    for number, mirror in enumerate(mirrors):
        words += [
            "--",
            f"--id=@m{number}",
            "create",
            "mirror",
            f"name=m{number}",
            f"output-port=@{mirror.to_port}",
        ]
        sources = [f"@{name}" for name in mirror.ports or ports if name != mirror.to_port]
        for way, column in (("rx", "select-src-port"), ("tx", "select-dst-port")):
            if mirror.direction in (way, "both"):
                words.append(f"{column}={','.join(sources)}")
        words += [f"select-vlan={','.join(map(str, mirror.vlans))}"] if mirror.vlans else []
        words += [f"snaplen={mirror.snaplen}"] if mirror.snaplen else []
    rows = ",".join(f"@m{number}" for number in range(len(mirrors)))
    return [*words[1:], "--", "set", "bridge", "br0", f"mirrors={rows}"]


class OvsTarget(WiredTarget):
    """No different MTUs ("mtus"): behind a frame too long for a device the rest of the burst is lost, fences too."""

    name = "ovs"
    title = "Open vSwitch netdev"
    datapath = "netdev"
    abilities: ClassVar = frozenset(
        {"native_tagged", "priority_tags"}
        | {"tunnel", "isolated", "silence", "flush", "static", "carrier", "change"}
        | {"bridge mac_limit", "mirror", "mirrors", "address", "mtu"}
    )

    def __init__(self, net: Net, ports: Ports, bridge: Mapping[str, Any], _vlans: Vlans) -> None:
        require()
        super().__init__(net, ports, bridge.get("mirrors", ()), is_tight="mac_limit" in bridge)
        self.make_veths()
        self._switch = Switch(net, self.middle)
        words = ["add-br", "br0", "--", "set", "bridge", "br0", f"datapath_type={self.datapath}"]
        for name, port in ports.items():
            words += ["--", "add-port", "br0", bridge_side(name), *port_settings(port)]
        if any(port.mode == "tunnel" for port in ports.values()):
            words += ["--", "set", "Open_vSwitch", ".", "other_config:vlan-limit=2"]
        if address := bridge.get("address"):
            words += ["--", "set", "bridge", "br0", f'other_config:hwaddr="{address}"']
        if limit := bridge.get("mac_limit"):
            words += ["--", "set", "bridge", "br0", f"other_config:mac-table-size={limit}"]
        self._switch.vsctl(*words)
        if self.mirrors:
            self._switch.vsctl(*mirror_words(self.mirrors, ports))
        net.callback(self._switch.vsctl, "del-br", "br0")  # takes the kernel's datapath along
        self._numbers = {self._ofport(name): name for name in ports}
        self.open_wires()
        self.settle()

    def converge(self) -> None:
        """Cached flows follow the MAC table when the revalidators come round; here they go at once."""
        self._switch.appctl("revalidator/purge")

    def _ofport(self, name: str) -> str:
        number = self._switch.vsctl("get", "Interface", bridge_side(name), "ofport").strip()
        assert number.isdigit(), self._switch.vsctl("get", "Interface", bridge_side(name), "error")
        return number

    def fdb(self) -> set[Entry]:
        rows = [line.split() for line in self._switch.appctl("fdb/show", "br0").splitlines()[1:]]
        return without_fences(
            (int(vid), bytes.fromhex(mac.replace(":", "")), self._numbers[number])
            for number, vid, mac, age in rows
            if age != "static" and number != "LOCAL"
        )

    def silence(self) -> None:
        self._switch.appctl("time/warp", str((AGEING + 1) * 1000))
        wait_until(lambda: not self.fdb(), "entries of Open vSwitch to age")

    def flush(self, filters: Mapping[str, Any]) -> None:
        assert not filters
        self._switch.appctl("fdb/flush", "br0")

    def add(self, entries: Iterable[FixedEntry]) -> None:
        for vlan, mac, port, _static in entries:
            self._switch.appctl("fdb/add", "br0", bridge_side(port), str(vlan), mac.hex(":"))

    def forget(self, stations: Iterable[tuple[int, bytes]]) -> None:
        for vlan, mac in stations:
            self._switch.appctl("fdb/del", "br0", str(vlan), mac.hex(":"))

    def change(self, port: str, to: Mapping[str, Any]) -> None:
        before, after = (port_settings(one) for one in (self.ports[port], self.merge(port, to)))
        changed = [setting for setting in after if setting not in before]
        self._switch.vsctl("set", "port", bridge_side(port), *changed)

    def wait_port(self, port: str, up: bool) -> None:
        state = "up" if up else "down"
        get = ("get", "Interface", bridge_side(port), "link_state")
        wait_until(lambda: self._switch.vsctl(*get).strip() == state, f"port {port} {state}")
