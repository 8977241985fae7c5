"""Port kinds: what a port of each kind is and can do, one row a kind.

Whoever wants to know whether a port has a device, or who else uses it, asks its row; nobody compares the name of a
kind. How a port of each kind gets its device is in ports/kinds.py; how frames travel, in csrc/port/. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PortKind:
    """One kind of port."""

    name: str  # in the configuration
    has_device: bool  # it needs a device of the kernel, in any network namespace
    is_shared: bool = (
        False  # the kernel goes on using the device: its stack, a master, VLAN interfaces, offloads
    )
    is_made: bool = False  # its device is made where there is none, with `mac` and `persist`
    is_pair: bool = (
        False  # `device` and `netns` are the guest's end of a pair; the port is on the other one, here
    )
    is_held: bool = False  # the descriptor is the device's other side, and leads to it wherever it goes
    brings_up: bool = False  # attaching sets the device up, and is its carrier
    reads_queue: bool = (
        False  # frames come out of the device's transmit queue, which has to have room for bursts
    )
    sets_mtu: bool = False  # `mtu` is given to the device, which has its own back when the key goes
    offloads: str = ""  # where programs decide for the kernel (bridge/offload): at its `socket`, or `queue`
    leads_on: bool = False  # to switches, which hear announcements, and to the other bridge of a pair
    takes_filter: bool = False  # the kernel can hold back frames in front of the port (ports/vlan_filter.py)


KINDS = {
    kind.name: kind
    for kind in (
        PortKind(
            "tap",
            has_device=True,
            is_made=True,
            is_held=True,
            brings_up=True,
            reads_queue=True,
            sets_mtu=True,
            offloads="queue",
        ),
        PortKind(
            "link", has_device=True, is_shared=True, leads_on=True, takes_filter=True, offloads="socket"
        ),
        PortKind(
            "veth",
            has_device=True,
            is_made=True,
            is_pair=True,
            is_shared=True,
            brings_up=True,
            sets_mtu=True,
            takes_filter=True,
            offloads="socket",
        ),
        PortKind("memory", has_device=False),
    )
}
