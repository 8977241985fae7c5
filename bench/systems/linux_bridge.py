"""The Linux kernel bridge, untagged: guests on veths, since a tap needs a program at its other end."""

from __future__ import annotations

import platform

from bench.lab.site import Site
from bench.lab.system import System


class LinuxBridge(System):
    name = "linux-bridge"
    title = "Linux kernel bridge"
    guest = "veth"
    super_frames = True
    sweeps = True
    guests_max = 64
    flushes = True

    def version(self) -> str:
        return platform.release()

    def start(self, site: Site) -> None:
        site.add_trunk()
        site.add_guest_veths()
        site.ip("link", "add", "name", "br0", "type", "bridge")
        for device in ("trunk", *site.ports):
            site.ip("link", "set", device, "master", "br0")
        site.ip("link", "set", "br0", "up")
        site.wait_ready()

    def flush(self, site: Site) -> None:
        site.ip("link", "set", "dev", "br0", "type", "bridge", "fdb_flush")


SYSTEMS = [LinuxBridge()]
