"""A trunk over a bad line (netem: delay, loss, duplicates): hosts get along, and our books still balance."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest
from helpers.daemon import Daemon, link, tap
from helpers.hosts import Host, bulk_tcp, host
from helpers.net import Namespace, Net
from helpers.vlan_interface import add_vlan_interface

pytestmark = pytest.mark.root

SIZE = 256 << 10


def spoil(space: Namespace, device: str, *how: str) -> None:
    """Put netem on what a device sends; skips with tc's message where the kernel has none."""
    command = ["tc", "qdisc", "replace", "dev", device, "root", "netem", *how]
    done = space.run(subprocess.run, command, capture_output=True, text=True, timeout=60)
    if "qdisc kind is unknown" in done.stderr:
        pytest.skip(f"netem: {done.stderr.strip()} (module sch_netem; see make test-vm)")
    assert done.returncode == 0, done.stderr


@pytest.fixture
def line(net: Net, start: Callable[..., Daemon]) -> tuple[Host, Host, Namespace, Namespace]:
    """A guest, an external host on a VLAN interface, and the namespaces of both ends of the trunk."""
    guest, middle, outside = (net.namespace() for _ in range(3))
    net.veth("eth1", "eth0", middle, outside)
    device = add_vlan_interface(outside, "eth0", 10)
    bridge = start(middle, tap("guest", guest, access=10), link("uplink", "eth1", trunk=[10]))
    bridge.wait_state("uplink", "up")
    return host(guest, "tap0", 10, 1), host(outside, device, 10, 9), middle, outside


def test_delay(line: tuple[Host, Host, Namespace, Namespace]) -> None:
    near, far, middle, outside = line
    spoil(middle, "eth1", "delay", "50ms")
    spoil(outside, "eth0", "delay", "50ms")

    assert near.ping(far) == (3, 3)
    bulk_tcp(near, far, 4, SIZE)


def test_loss_and_duplicates(line: tuple[Host, Host, Namespace, Namespace]) -> None:
    """TCP repairs what the line breaks; what it carries is unharmed."""
    near, far, middle, outside = line
    assert near.ping(far) == (3, 3)  # neighbours are known
    for space, device in ((middle, "eth1"), (outside, "eth0")):
        spoil(space, device, "loss", "3%", "duplicate", "3%", "delay", "1ms")

    bulk_tcp(near, far, 4, SIZE)
    assert near.csum_errors() == far.csum_errors() == {}
