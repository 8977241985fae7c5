"""A TPACKET_V2 receive ring in a few lines, to probe what the kernel writes into it.

Source: Documentation/networking/packet_mmap.rst and net/packet/af_packet.c:tpacket_rcv.
"""

from __future__ import annotations

import mmap
import select
import socket
import struct

from helpers import kernel
from helpers.kernel import RingHeader, VnetHeader
from helpers.net import DEADLINE


class Ring:
    """Receive ring of `n_slots` slots of `slot_len` bytes on an existing packet socket."""

    def __init__(self, sock: socket.socket, *, slot_len: int = 2048, n_slots: int = 8) -> None:
        self._sock, self._slot_len, self._n_slots, self._next = sock, slot_len, n_slots, 0
        size = slot_len * n_slots
        sock.setsockopt(
            kernel.SOL_PACKET, kernel.PACKET_RX_RING, struct.pack("IIII", size, 1, slot_len, n_slots)
        )
        self._memory = mmap.mmap(sock.fileno(), size)

    def wait(self, timeout: float = DEADLINE) -> tuple[RingHeader, bytes, VnetHeader]:
        """Take the next slot: its header, its bytes, and the offload header that lies in front of them."""
        poller = select.poll()
        poller.register(self._sock, select.POLLIN)
        offset = self._next * self._slot_len
        while not (header := RingHeader.parse(self._memory, offset)).status & kernel.TP_STATUS_USER:
            assert poller.poll(timeout * 1000), f"no frame in the ring within {timeout} s"
        start = offset + header.mac
        data = self._memory[start : start + header.snaplen]
        vnet = VnetHeader.parse(self._memory[start - VnetHeader.LAYOUT.size : start])
        struct.pack_into("=I", self._memory, offset, 0)
        self._next = (self._next + 1) % self._n_slots
        return header, data, vnet

    @property
    def is_ready(self) -> bool:
        """Whether the next slot has a frame."""
        header = RingHeader.parse(self._memory, self._next * self._slot_len)
        return bool(header.status & kernel.TP_STATUS_USER)

    def keep_slot_before(self) -> None:
        """Keep the slot before the next one from the kernel."""
        at = (self._next - 1) % self._n_slots * self._slot_len
        struct.pack_into("=I", self._memory, at, kernel.TP_STATUS_USER)

    def close(self) -> None:
        self._memory.close()


def set_ring_version(sock: socket.socket) -> None:
    """Choose TPACKET_V2; before PACKET_RX_RING."""
    sock.setsockopt(kernel.SOL_PACKET, kernel.PACKET_VERSION, kernel.TPACKET_V2)
