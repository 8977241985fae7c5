"""VDE: vde_switch with a tap for the guest (access VLAN) and a tap for the trunk (tagged).

The trunk is a tap because vde_pcapplug, VDE's way to a real netdev, opens libpcap without a timeout: with
today's libpcap (TPACKET_V3) frames then wait until a block of the ring is full.
"""

from __future__ import annotations

from functools import partial

from bench.lab import net
from bench.lab.site import Site
from bench.lab.system import System


def said_more(switch: net.Process, times: int) -> bool:
    """Say whether the console has confirmed more commands than so many."""
    return switch.log.read_text().count("1000 Success") > times


class Vde(System):
    name = "vde"
    title = "VDE switch"
    carries_tags = False
    major = False
    needs = (("vde_switch", "vde-switch"),)
    tagged = True

    def version(self) -> str:
        return net.run("vde_switch", "--version").splitlines()[0].partition("VDE ")[2]

    def start(self, site: Site) -> None:
        socket = site.directory / "vde"
        switch = site.spawn(["vde_switch", "--sock", str(socket), "--tap", "g0", "--tap", "ext"])
        for device in ("g0", "ext"):
            switch.wait_until(partial(net.device_exists, site.bridge_space, device), f"the tap {device}")
        # Ports are numbered in the order of the options. The console takes one command per read().
        for command in (
            f"vlan/create {site.vid}",
            f"port/setvlan 1 {site.vid}",
            f"vlan/addport {site.vid} 2",
        ):
            done = switch.log.read_text().count("1000 Success")
            switch.stdin.write(f"{command}\n".encode())
            switch.stdin.flush()
            switch.wait_until(partial(said_more, switch, done), command)
        site.adopt("g0")
        site.adopt("ext", outer=True)
        site.wait_ready()


SYSTEMS = [Vde()]
