"""The maps that programs in the kernel share with the data plane."""

from collections.abc import Iterable, Sequence
from typing import final

@final
class OffloadMaps:
    """The maps that programs in the kernel share with the data plane (csrc/offload/shared.h)."""

    def __init__(self, fds: Sequence[int], slots: int) -> None:
        """Map those of OFFLOAD_MAPS; `slots` of the FDB that is to lie in them (`Bridge.fdb_hash`)."""
    def close_port(self, index: int) -> None:
        """Leave all frames of the port to userspace from now on."""
    def open_port(
        self,
        index: int,
        *,
        takes: bool,  # frames that come in by it may be forwarded by the kernel
        gives: bool,  # frames may leave by it
        trunk: bool,
        filters: bool,  # frames of VLANs it does not carry do not reach userspace
        ifindex: int,
        mtu: int,
        pvid: int,
        bare: int,  # VLAN whose frames leave without a tag, 0: none
        tpid: int,
        default_pcp: int = 0,
        delivery: str = "egress",  # egress | ingress (of a tap) | peer (of a veth)
        peer_mac: bytes = b"",
        reaches: Iterable[int] = (),  # ports
    ) -> None: ...
    def set_vlan(self, vid: int, ports: Iterable[int], is_open: bool) -> None: ...
    def set_heartbeat(self, udp_ports: Iterable[int]) -> None: ...
    def usage(self) -> tuple[int, int]:
        """Count the entries that the kernel uses, and those it waits to use."""
    @property
    def handed_over(self) -> tuple[int, int]:
        """Frames that programs left to userspace, and how many of them the data thread is done with; modulo 2**32."""
