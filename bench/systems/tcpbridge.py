"""tcpbridge of tcpreplay: libpcap on two devices, one call per frame, a static table of sources."""

from __future__ import annotations

import re

from bench.lab import net
from bench.lab.site import Site
from bench.lab.system import System


class Tcpbridge(System):
    name = "tcpbridge"
    title = "tcpbridge"
    needs = (("tcpbridge", "tcpreplay"),)
    guest = "veth"

    def version(self) -> str:
        found = re.search(r"version: (\S+)", net.run("sh", "-c", "tcpbridge --version 2>&1"))
        return found[1] if found else ""

    def start(self, site: Site) -> None:
        site.add_trunk()
        site.add_guest_veths()
        site.plain_frames()
        site.spawn(["tcpbridge", "--intf1", "port0", "--intf2", "trunk"])
        site.wait_ready()


SYSTEMS = [Tcpbridge()]
