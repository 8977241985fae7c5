"""The Click modular router: its EtherSwitch between two packet sockets (FromDevice, ToDevice)."""

from __future__ import annotations

import re

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


REASON = (
    "the Click modular router is not here, and Debian 12 does not package it (its package click is a tool for "
    "application packages): build it from https://github.com/kohler/click with --enable-userlevel --enable-etherswitch"
)


class Click(System):
    name = "click"
    title = "Click EtherSwitch"
    carries_tags = False
    major = False
    guest = "veth"

    def require(self) -> None:
        if not self.version():
            raise SkippedError(REASON)

    def version(self) -> str:
        said = net.run("sh", "-c", "click --version 2>&1 || true")
        found = re.search(r"^click \(Click\) (\S+)", said, re.MULTILINE | re.IGNORECASE)
        return found[1] if found else ""

    def start(self, site: Site) -> None:
        site.add_trunk()
        site.add_guest_veths()
        site.plain_frames()
        file = site.directory / "switch.click"
        file.write_text(CONFIGURATION)
        site.spawn(["click", str(file)])
        site.wait_ready()


SYSTEMS = [Click()]
