"""The bare loop: read() and sendmmsg(), ring and write(), no bridging. The floor of what userspace can do."""

from __future__ import annotations

from bench.build import program
from bench.lab import net
from bench.lab.site import Site
from bench.lab.system import System


class BareLoop(System):
    name = "bare-loop"
    title = "bare loop (no bridging)"
    super_frames = True
    sweeps = True
    learns = False
    carries_tags = False

    def start(self, site: Site) -> None:
        site.add_trunk()
        process = site.spawn([program("floor"), "tap:g0", "link:trunk"])
        process.wait_until(lambda: net.device_exists(site.bridge_space, "g0"), "the tap g0")
        site.adopt("g0")
        site.wait_ready()


SYSTEMS = [BareLoop()]
