"""scapy's bridge_and_sniff between two veths: what a bridge in pure Python costs."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys

from bench.errors import SkippedError
from bench.lab.site import Site
from bench.lab.system import System

SCRIPT = """
import logging; logging.getLogger("scapy").setLevel(logging.ERROR)
from scapy.all import bridge_and_sniff
print("ready", flush=True)
bridge_and_sniff("port0", "trunk", store=False)
"""


class Scapy(System):
    name = "scapy"
    title = "scapy bridge_and_sniff"
    carries_tags = False
    major = False
    guest = "veth"
    learns = False

    def require(self) -> None:
        if importlib.util.find_spec("scapy") is None:
            raise SkippedError("scapy is not installed for this Python (PyPI package scapy)")

    def version(self) -> str:
        return importlib.metadata.version("scapy")

    def start(self, site: Site) -> None:
        site.add_trunk()
        site.add_guest_veths()
        site.plain_frames()
        process = site.spawn([sys.executable, "-c", SCRIPT])
        process.wait_until(lambda: "ready" in process.log.read_text(), "scapy", 30.0)
        site.wait_ready()


SYSTEMS = [Scapy()]
