"""Numbers and structures of the kernel's packet and tap interfaces, spelled out once for all tests.

Job: constants, `struct` layouts and thin system-call wrappers. No namespaces, no life cycle (see
`net`).
Sources: include/uapi/linux/{if_packet,if_tun,virtio_net,if_ether,ethtool}.h, asm-generic/errno.h.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from typing import NamedTuple

ETH_P_ALL = 0x0003
ETH_P_8021Q = 0x8100
ETH_P_8021AD = 0x88A8

# include/uapi/linux/if_tun.h
TUNSETIFF = 0x400454CA
TUNSETPERSIST = 0x400454CB
TUNGETFEATURES = 0x800454CF
TUNSETOFFLOAD = 0x400454D0
TUNSETVNETHDRSZ = 0x400454D8
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000
IFF_VNET_HDR = 0x4000
TUN_F_CSUM = 0x01
TUN_F_TSO4 = 0x02
TUN_F_TSO6 = 0x04

# include/uapi/linux/if_packet.h
SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP = 1
PACKET_RX_RING = 5
PACKET_STATISTICS = 6
PACKET_COPY_THRESH = 7
PACKET_AUXDATA = 8
PACKET_VERSION = 10
PACKET_VNET_HDR = 15
PACKET_IGNORE_OUTGOING = 23
PACKET_MR_PROMISC = 1
TPACKET_V2 = 1
TP_STATUS_USER = 1 << 0
TP_STATUS_COPY = 1 << 1
TP_STATUS_VLAN_VALID = 1 << 4
TP_STATUS_VLAN_TPID_VALID = 1 << 6

# include/uapi/linux/virtio_net.h
VNET_NEEDS_CSUM = 1
VNET_GSO_NONE = 0
VNET_GSO_TCPV4 = 1
VNET_GSO_UDP = 3
VNET_GSO_TCPV6 = 4
VNET_GSO_UDP_L4 = 5
VNET_GSO_ECN = 0x80

EBADFD = 77  # include/uapi/asm-generic/errno.h; the `errno` module does not name it
SO_RCVBUFFORCE = 33  # include/uapi/asm-generic/socket.h; Python does not name it

SIOCETHTOOL = 0x8946
ETHTOOL_STXCSUM = 0x17
ETHTOOL_STSO = 0x1F

CLONE_NEWNET = 0x40000000

_LIBC = ctypes.CDLL(None, use_errno=True)


class VnetHeader(NamedTuple):
    """struct virtio_net_hdr; host byte order, as tap and AF_PACKET use it by default."""

    flags: int = 0
    gso_type: int = VNET_GSO_NONE
    hdr_len: int = 0
    gso_size: int = 0
    csum_start: int = 0
    csum_offset: int = 0

    LAYOUT = struct.Struct("=BBHHHH")

    def pack(self) -> bytes:
        return self.LAYOUT.pack(*self)

    @classmethod
    def parse(cls, data: bytes) -> VnetHeader:
        return cls(*cls.LAYOUT.unpack_from(data))


class RingHeader(NamedTuple):
    """struct tpacket2_hdr: what the kernel writes at the head of a slot of a TPACKET_V2 ring."""

    status: int
    len: int
    snaplen: int
    mac: int
    net: int
    sec: int
    nsec: int
    vlan_tci: int
    vlan_tpid: int

    LAYOUT = struct.Struct("=IIIHHIIHH4x")

    @classmethod
    def parse(cls, data: bytes | memoryview, offset: int) -> RingHeader:
        return cls(*cls.LAYOUT.unpack_from(data, offset))


def parse_auxdata(ancillary: list[tuple[int, int, bytes]]) -> tuple[int, int] | None:
    """Find struct tpacket_auxdata among control messages; returns its tag as (tpid, tci), None: no tag."""
    for level, kind, data in ancillary:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, _len, _snaplen, _mac, _net, tci, tpid = struct.unpack("=IIIHHHH", data[:20])
            if status & TP_STATUS_VLAN_VALID:
                assert status & TP_STATUS_VLAN_TPID_VALID, "the kernel reports a TCI without its TPID"
                return tpid, tci
    return None


def leave_for_new_namespace() -> None:
    """Move the calling thread into a fresh network namespace that ends with its last thread and socket."""
    if _LIBC.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare: " + os.strerror(ctypes.get_errno()))


def set_ethtool_value(device: str, command: int, value: int) -> None:
    """Run a legacy ethtool set command (struct ethtool_value) on a device of the current namespace."""
    value_buffer = ctypes.create_string_buffer(struct.pack("=II", command, value))
    request = struct.pack("16sP", device.encode(), ctypes.addressof(value_buffer))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCETHTOOL, request.ljust(40, b"\0"))
