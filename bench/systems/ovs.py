"""Open vSwitch with its userspace datapath (netdev): guests on its taps, trunk on an AF_PACKET port.

Everything it writes goes to the site's directory; no daemon of the machine is touched. It is given one main
thread, which is what polls taps and AF_PACKET devices (lib/netdev-linux.c: is_pmd is false for them).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from bench.errors import BenchError, SkippedError
from bench.lab import net
from bench.lab.site import Site
from bench.lab.system import System

PACKAGE = "openvswitch-switch"
SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")


class OpenVSwitch(System):
    name = "ovs"
    title = "Open vSwitch netdev"
    needs = (
        ("ovs-vswitchd", PACKAGE),
        ("ovsdb-server", PACKAGE),
        ("ovsdb-tool", "openvswitch-common"),
        ("ovs-vsctl", "openvswitch-common"),
    )
    tagged = True
    sweeps = True
    guests_max = 64
    flushes = True
    other_config: tuple[str, ...] = ()

    def require(self) -> None:
        super().require()
        if not SCHEMA.exists():
            raise SkippedError(f"{SCHEMA} is missing (Debian package {PACKAGE})")

    def version(self) -> str:
        return net.run("ovs-vswitchd", "--version").splitlines()[0].rpartition(" ")[2]

    def start(self, site: Site) -> None:
        site.add_trunk()
        home = site.directory
        environment = {f"OVS_{what}": str(home) for what in ("RUNDIR", "LOGDIR", "DBDIR", "SYSCONFDIR")}
        socket = home / "db.sock"
        net.run("ovsdb-tool", "create", str(home / "conf.db"), str(SCHEMA))
        quiet = ("-vconsole:warn", "-vsyslog:off", "-vfile:off")
        server = site.spawn(
            [
                "ovsdb-server",
                str(home / "conf.db"),
                f"--remote=punix:{socket}",
                f"--unixctl={home}/ovsdb.ctl",
                *quiet,
            ],
            environment,
        )
        server.wait_until(socket.exists, "the database socket of Open vSwitch")
        vsctl = ("ovs-vsctl", f"--db=unix:{socket}", "--timeout=10")
        net.run(*vsctl, "--no-wait", "init", *self._settings())
        switch = site.spawn(
            ["ovs-vswitchd", f"unix:{socket}", f"--unixctl={home}/vswitchd.ctl", *quiet], environment
        )
        vids = ",".join(map(str, site.vids))
        changes = ["add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev"]
        changes += ["--", "add-port", "br0", "trunk", f"trunks={vids}"]
        membership = f"trunks={vids}" if site.guest_tagged else f"tag={site.vid}"
        for guest in site.guests:
            changes += [
                "--",
                "add-port",
                "br0",
                guest,
                membership,
                "--",
                "set",
                "interface",
                guest,
                "type=tap",
            ]
        try:
            net.run(*vsctl, *changes)
        except BenchError as error:
            switch.check()
            raise error
        for guest in site.guests:
            switch.wait_until(partial(net.device_exists, site.bridge_space, guest), f"the tap {guest}")
            site.adopt(guest)
        if not self.super_frames:
            site.plain_frames()
        site.wait_ready()

    def flush(self, site: Site) -> None:
        net.run("ovs-appctl", "-t", str(site.directory / "vswitchd.ctl"), "fdb/flush", "br0")

    def _settings(self) -> list[str]:
        settings = [f"other_config:{setting}" for setting in self.other_config]
        return ["--", "set", "Open_vSwitch", ".", *settings] if settings else []


class OpenVSwitchTso(OpenVSwitch):
    name = "ovs-tso"
    title = "Open vSwitch netdev, userspace-tso"
    super_frames = True
    quick = False
    major = False
    sweeps = False
    other_config = ("userspace-tso-enable=true",)


SYSTEMS = [OpenVSwitch(), OpenVSwitchTso()]
