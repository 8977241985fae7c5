"""The sockets that beacons and what belongs to them travel by.

Job: open a packet socket on a device that gets nothing but frames of the product with one magic number
(csrc/ha/beacon.h has their layout), and sends whatever it is given. Thread: one that is in the namespace of the device.
Theory of operation. Bound to the EtherType, not to all of them: no frame of other traffic so much as looks at the
socket, and neither filters of ports nor a ring that is full concern it. The filter stands before the socket is bound,
so no frame comes in without it. The group of beacons is joined, for a NIC that is not promiscuous.
"""

from __future__ import annotations

import socket
import struct

from bridge.ports import vlan_filter
from bridge.ports.vlan_filter import ALL_BYTES, JUMP_EQUAL, LOAD_WORD, RETURN, Instruction

ETHERTYPE = 0x88B5  # BR_BEACON_TYPE, csrc/ha/beacon.h
GROUP = 0x0346424C5001  # BR_BEACON_DESTINATION
BEACON = 0x46424841  # BR_BEACON_MAGIC: "FBHA"
SYNC = 0x46424846  # "FBHF": of bridge.ha.sync
MAGIC_AT = 14  # behind the Ethernet header

SOL_PACKET, PACKET_ADD_MEMBERSHIP, PACKET_MR_MULTICAST = 263, 1, 0  # include/uapi/linux/if_packet.h
QUEUE = 1 << 18  # bytes: thousands of beacons, before those of a flood are lost


def open_path(device: str, magic: int = BEACON) -> socket.socket:
    """Open a path on a device of this thread's namespace; raises OSError."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    try:
        vlan_filter.attach(
            sock.fileno(),
            (
                Instruction(LOAD_WORD, 0, 0, MAGIC_AT),
                Instruction(JUMP_EQUAL, 0, 1, magic),
                Instruction(RETURN, 0, 0, ALL_BYTES),
                Instruction(RETURN, 0, 0, 0),
            ),
        )
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, QUEUE)
        sock.bind((device, ETHERTYPE))
        index = socket.if_nametoindex(device)
        group = struct.pack("=iHH8s", index, PACKET_MR_MULTICAST, 6, GROUP.to_bytes(6, "big"))
        sock.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, group)
    except OSError:
        sock.close()
        raise
    return sock
