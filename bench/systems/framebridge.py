"""framebridge, started as its users start it: a TOML file and `framebridge run`.

Two forms: with a tagged trunk, and, for comparison with systems that know no VLANs, without any tag.
"""

from __future__ import annotations

import importlib.util
import sys
from functools import partial
from pathlib import Path

from bench.errors import SkippedError
from bench.lab import net
from bench.lab.site import Site
from bench.lab.system import System

FRAME_STAGES_LEFT_OUT = ("blocked", "polling", "control")


def command() -> list[str]:
    """Say how to start it: the command next to this interpreter, else the package as the interpreter finds it."""
    beside = Path(sys.executable).parent / "framebridge"
    return [str(beside)] if beside.exists() else [sys.executable, "-m", "bridge"]


class Framebridge(System):
    name = "framebridge"
    title = "framebridge"
    tagged = True
    super_frames = True
    sweeps = True
    guests_max = 64
    flushes = True

    def require(self) -> None:
        for module in ("bridge", "bridge.core._core"):
            if importlib.util.find_spec(module) is None:
                raise SkippedError(f"{module} is not there for this Python: run make build")

    def version(self) -> str:
        import bridge

        return str(bridge.__version__)

    def configuration(self, site: Site) -> str:
        """Write the TOML file: one tap per guest, one trunk."""
        vids = f'{{ trunk = ["{site.vids[0]}-{site.vids[-1]}"] }}'
        one = f"{{ access = {site.vid} }}"
        text = (
            f'[bridge]\nname = "bench"\nfdb_size = 131072\ncontrol_socket = "{site.directory}/bench.sock"\n'
        )
        for guest in site.guests:
            text += f'[[port]]\nname = "{guest}"\nkind = "tap"\ndevice = "{guest}"\n'
            text += f'netns = "{site.guest_space}"\n'
            text += f"mtu = {site.mtu}\nvlan = {vids if site.guest_tagged else one}\n"
        return (
            text
            + f'[[port]]\nname = "trunk"\nkind = "link"\ndevice = "trunk"\nvlan = {vids if self.tagged else one}\n'
        )

    def start(self, site: Site) -> None:
        site.add_trunk()
        file = site.directory / "bench.toml"
        file.write_text(self.configuration(site))
        socket = site.directory / "bench.sock"
        process = site.spawn([*command(), "run", str(file)])
        process.wait_until(socket.exists, "the control socket of framebridge", 20.0)
        for guest in site.guests:
            process.wait_until(partial(net.device_exists, site.guest_space, guest), f"the tap {guest}")
            site.adopt(guest, move=False)
        site.wait_ready()

    def own_cycles(self, site: Site) -> dict[str, float] | None:
        from bridge.control.client import Client

        with Client(str(site.directory / "bench.sock")) as client:
            stages = client.rows("CostShow")
            ports = client.rows("StatsShow")
        busy = sum(row["cycles"] for row in stages if row["stage"] not in FRAME_STAGES_LEFT_OUT)
        frames = sum(row["rx_frames"] for row in ports if row["port"] != "total")
        return {"cycles": float(busy), "frames": float(frames)}

    def flush(self, site: Site) -> None:
        from bridge.control.client import Client

        with Client(str(site.directory / "bench.sock")) as client:
            client.rows("FdbFlush")


class FramebridgeUntagged(Framebridge):
    name = "framebridge-untagged"
    title = "framebridge, untagged"
    tagged = False
    carries_tags = False
    major = False
    sweeps = False


SYSTEMS = [Framebridge(), FramebridgeUntagged()]
