"""socat between a tap and a packet socket: a frame per read, a write per frame, no FDB."""

from __future__ import annotations

from bench.lab import net
from bench.lab.site import Site
from bench.lab.system import System


class Socat(System):
    name = "socat"
    title = "socat"
    carries_tags = False
    major = False
    needs = (("socat", "socat"),)
    learns = False

    def version(self) -> str:
        found = [line for line in net.run("socat", "-V").splitlines() if line.startswith("socat version")]
        return found[0].split()[2]

    def start(self, site: Site) -> None:
        site.add_trunk()
        process = site.spawn(["socat", "TUN,tun-type=tap,iff-no-pi,tun-name=g0", "INTERFACE:trunk"])
        process.wait_until(lambda: net.device_exists(site.bridge_space, "g0"), "the tap g0")
        site.adopt("g0")
        site.plain_frames()
        site.wait_ready()


SYSTEMS = [Socat()]
