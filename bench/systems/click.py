"""The Click modular router: its EtherSwitch between two packet sockets (FromDevice, ToDevice)."""

from __future__ import annotations

from bench.errors import SkippedError
from bench.lab import net
from bench.lab.site import Site
from bench.lab.system import System

CONFIGURATION = """
switch :: EtherSwitch;
FromDevice(port0, SNIFFER false, PROMISC true, METHOD LINUX) -> [0] switch;
FromDevice(trunk, SNIFFER false, PROMISC true, METHOD LINUX) -> [1] switch;
switch [0] -> Queue(1000) -> ToDevice(port0, METHOD LINUX);
switch [1] -> Queue(1000) -> ToDevice(trunk, METHOD LINUX);
"""


class Click(System):
    name = "click"
    title = "Click EtherSwitch"
    carries_tags = False
    major = False
    needs = (("click", "none in Debian 12; build it from https://github.com/kohler/click"),)
    guest = "veth"

    def require(self) -> None:
        super().require()
        # Debian's package `click` is a tool for application packages that happens to have the same name.
        if "Click version" not in net.run("sh", "-c", "click --version 2>&1 || true"):
            raise SkippedError(
                "the command click here is not the Click modular router, which Debian 12 does not package"
            )

    def start(self, site: Site) -> None:
        site.add_trunk()
        site.add_guest_veths()
        site.plain_frames()
        file = site.directory / "switch.click"
        file.write_text(CONFIGURATION)
        site.spawn(["click", str(file)])
        site.wait_ready()


SYSTEMS = [Click()]
