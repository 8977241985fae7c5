"""Kernel VLAN interfaces (module 8021q): `eth0.10`, and `eth0.10.20` on top of it."""

from __future__ import annotations

import errno

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from bridge.lab.netns import find_index
from helpers.net import Namespace


def add_vlan_interface(space: Namespace, parent: str, vid: int) -> str:
    """Make `parent.vid` and bring it up; returns its name. Skips with the kernel's message where there is no 8021q."""
    device = f"{parent}.{vid}"
    try:
        space.netlink(
            lambda ipr: ipr.link("add", ifname=device, kind="vlan", link=find_index(ipr, parent), vlan_id=vid)
        )
    except NetlinkError as error:
        if error.code != errno.EOPNOTSUPP:
            raise
        pytest.skip(f"802.1Q interfaces: {error.args[1]} (module 8021q; see make test-vm)")
    space.set_link(device, state="up")
    return device
