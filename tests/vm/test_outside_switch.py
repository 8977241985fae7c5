"""Open vSwitch's kernel datapath as the switch our trunk is plugged into."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conformance.targets.ovs import Switch, require
from helpers.daemon import Daemon, link, tap
from helpers.hosts import bulk_tcp, host, sweep_udp
from helpers.net import Net

pytestmark = pytest.mark.root


def test_a_guest_and_hosts_behind_open_vswitch(net: Net, start: Callable[..., Daemon]) -> None:
    """guest (access 10) = framebridge = trunk 10, 20 = Open vSwitch = access 10, access 20."""
    require()
    if not Path("/sys/module/openvswitch").exists():
        pytest.skip("this kernel has no datapath of Open vSwitch (module openvswitch; see make test-vm)")
    guest, middle, closet, ten, twenty = (net.namespace() for _ in range(5))
    net.veth("eth1", "trunk", middle, closet)
    net.veth("eth0", "ten", ten, closet)
    net.veth("eth0", "twenty", twenty, closet)
    switch = Switch(net, closet)
    ports = [("trunk", "trunks=10,20"), ("ten", "tag=10"), ("twenty", "tag=20")]
    changes = [word for name, vlan in ports for word in ("--", "add-port", "br0", name, vlan)]
    switch.vsctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=system", *changes)
    net.callback(switch.vsctl, "del-br", "br0")
    bridge = start(middle, tap("guest", guest, access=10), link("uplink", "eth1", trunk=[10, 20]))
    bridge.wait_state("uplink", "up")
    near, far = host(guest, "tap0", 10, 1), host(ten, "eth0", 10, 9)
    stranger = host(twenty, "eth0", 10, 8)  # same subnet, other VLAN

    assert near.ping(far) == far.ping(near) == (3, 3)
    sweep_udp(near, far, 4, (0, 18, 1472))
    bulk_tcp(near, far, 4, 1 << 20)
    assert stranger.neighbours() == {}
    assert near.csum_errors() == far.csum_errors() == {}

    assert bridge.fdb() == {(10, near.mac): ("guest", "dynamic"), (10, far.mac): ("uplink", "dynamic")}
    rows = [line.split() for line in switch.appctl("fdb/show", "br0").splitlines()[1:]]
    assert {(int(vid), mac) for _port, vid, mac, _age in rows} == {(10, near.mac), (10, far.mac)}
