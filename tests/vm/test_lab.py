"""`framebridge lab` where the kernel has VLAN interfaces: the external VLAN ends in one."""

from __future__ import annotations

import json

import pytest
from helpers.daemon import COMMAND
from helpers.net import HERE, Net
from helpers.vlan_interface import add_vlan_interface

pytestmark = [pytest.mark.root, pytest.mark.timeout(600)]


def test_the_lab_ends_its_vlan_in_the_kernel(net: Net) -> None:
    net.veth("one", "two")
    add_vlan_interface(HERE, "one", 1)  # or skip
    lab = net.program([*COMMAND, "lab", "-j", "--pings", "5", "--seconds", "1"])
    assert lab.wait_exit(500.0) == 0, lab.output

    result = json.loads(lab.output)
    assert result["termination"] == "8021q"
    assert {(row["sent"], row["received"]) for row in result["ping"].values()} == {(5, 5)}
    assert min(result["tcp"].values()) > 0
    assert result["conservation"]["holds"]
