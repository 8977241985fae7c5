"""The place of the lab: namespaces, devices, daemons, and how an external VLAN ends.

    guest namespace          bridge namespace                       external namespace
    [ tap0 10.99.10.1 ]══[ framebridge: guest│uplink ]══ veth ══[ eth0 ── VLAN 10: 10.99.10.2 ]
                             access 10    trunk 10,20              a kernel VLAN interface if there is 8021q,
                                                                   else a second framebridge: trunk ── tap

Everything is a context manager: what it made is gone when the block ends, whatever happens. Refuses, before it makes
anything: not root, a program missing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pyroute2.netlink.exceptions import NetlinkError

from bridge.control.client import Client
from bridge.errors import ControlError, FramebridgeError
from bridge.lab import netns

VLAN = 10
GUEST = "10.99.10.1"
EXTERNAL = "10.99.10.2"
PREFIX = 24
READY_SECONDS = 60.0  # only a daemon that hangs takes that long, or an emulated processor

# The programs the lab runs and the Debian packages that have them.
PROGRAMS = {"nsenter": "util-linux", "ping": "iputils-ping", "iperf3": "iperf3"}

BRIDGE_CONFIG = """\
[bridge]
name = "lab"
control_socket = "{socket}"

[[port]]
name = "guest"
kind = "tap"
device = "tap0"
netns = "{guest}"
vlan = {{ access = {vlan} }}

[[port]]
name = "uplink"
kind = "link"
device = "eth1"
vlan = {{ trunk = [{vlan}, 20] }}
"""

TERMINATION_CONFIG = """\
[bridge]
name = "termination"
control_socket = "{socket}"

[[port]]
name = "trunk"
kind = "link"
device = "eth0"
vlan = {{ trunk = [{vlan}] }}

[[port]]
name = "host"
kind = "tap"
device = "eth0.{vlan}"
vlan = {{ access = {vlan} }}
"""


class Topology(NamedTuple):
    """The lab as it stands."""

    socket: str  # of the bridge
    guest: str  # namespace
    external: str  # namespace
    termination: str  # how the external VLAN ends: `8021q` or `framebridge`


@contextlib.contextmanager
def built() -> Iterator[Topology]:
    """Build the lab; it is taken down when the block ends."""
    check_prerequisites()
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="framebridge-lab-")))
        token = secrets.token_hex(3)
        guest, middle, external = (
            stack.enter_context(netns.namespace(f"fb-lab-{token}-{role}"))
            for role in ("guest", "bridge", "external")
        )
        netns.connect(middle, "eth1", external, "eth0")
        socket = stack.enter_context(daemon(directory / "lab", middle, BRIDGE_CONFIG, guest=guest))
        termination = stack.enter_context(terminate_vlan(directory, external))
        for where, device, address in ((guest, "tap0", GUEST), (external, f"eth0.{VLAN}", EXTERNAL)):
            netns.add_address(where, device, address, PREFIX)
            netns.set_link(where, device, state="up")
        yield Topology(socket, guest, external, termination)


def check_prerequisites() -> None:
    """Refuse with one sentence for everything that is missing."""
    check_root()
    missing = [package for program, package in PROGRAMS.items() if not shutil.which(program)]
    if missing:
        raise FramebridgeError(
            f"the lab needs programs that are not here: apt-get install {' '.join(missing)}"
        )


def check_root() -> None:
    """Refuse who may not make network namespaces."""
    if os.geteuid() != 0:
        raise FramebridgeError("the lab makes network namespaces: run it as root (sudo framebridge lab)")


def in_namespace(where: str, *command: str) -> list[str]:
    """Give a command that runs in a namespace.

    Unlike `ip netns exec`, which mounts another /sys, it works in a chroot whose root is no mount point.
    """
    return ["nsenter", f"--net={netns.NETNS_DIR / where}", *command]


@contextlib.contextmanager
def terminate_vlan(directory: Path, where: str) -> Iterator[str]:
    """Make eth0.VLAN in the external namespace; yields how: `8021q` or `framebridge`."""
    try:
        name, kind = f"eth0.{VLAN}", "vlan"
        netns.netlink(
            where,
            lambda ipr: ipr.link(
                "add", ifname=name, kind=kind, link=netns.find_index(ipr, "eth0"), vlan_id=VLAN
            ),
        )
    except NetlinkError as error:
        if error.code != errno.EOPNOTSUPP:
            raise
    else:
        yield "8021q"
        return
    with daemon(directory / "termination", where, TERMINATION_CONFIG):
        yield "framebridge"


@contextlib.contextmanager
def daemon(path: Path, where: str, template: str, **names: str) -> Iterator[str]:
    """Run a daemon in a namespace until the block ends; yields its control socket once that answers."""
    process, socket, log = launch(path, where, template, **names)
    try:
        await_ready(process, socket, log)
        yield socket
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def launch(path: Path, where: str, template: str, **names: str) -> tuple[subprocess.Popen[bytes], str, Path]:
    """Start a daemon in a namespace; give the process, its control socket, and the file it logs to."""
    config, socket, log = (path.with_suffix(suffix) for suffix in (".toml", ".sock", ".log"))
    config.write_text(template.format(socket=socket, vlan=VLAN, **names))
    with log.open("w") as stderr:
        process = subprocess.Popen(
            in_namespace(where, sys.executable, "-m", "bridge", "run", str(config)),
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
        )
    return process, str(socket), log


def await_ready(process: subprocess.Popen[bytes], socket: str, log: Path) -> None:
    """Return when the daemon answers; raise with its own words when it ends first or takes too long."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(ControlError), Client(socket) as client:
            client.rows("Version")
            return
        time.sleep(0.02)
    state = "is not ready" if process.poll() is None else f"ended with status {process.returncode}"
    raise FramebridgeError(f"the daemon {state}: {log.read_text().strip() or 'it said nothing'}")
