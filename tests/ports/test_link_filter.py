"""The filter of a link in the kernel: the largest programs are taken, and judge frames as the rule says."""

from __future__ import annotations

import pytest
from helpers import frames
from helpers.net import Net

from bridge.config.port import PortConfig
from bridge.ports import vlan_filter

pytestmark = pytest.mark.root

A, B = frames.host(1), frames.host(2)
PROBES = [1, 2, 31, 32, 33, 63, 64, 2047, 2048, 4063, 4093, 4094, 4095]
SETS = {
    "few": (10, 20, *range(100, 120)),
    "odd": tuple(range(1, 4095, 2)),
    "no two words alike": tuple(vid for vid in range(1, 4095) if vid.bit_count() % 2),
    "all but one": tuple(vid for vid in range(1, 4095) if vid != 64),
}


def trunk(vids: tuple[int, ...], **options: int) -> PortConfig:
    return PortConfig("p", "link", device="b", mode="trunk", vids=vids, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("tpid", [frames.TPID_Q, frames.TPID_AD], ids=["802.1Q", "802.1ad"])
@pytest.mark.parametrize("native", [0, 7])
@pytest.mark.parametrize("members", SETS.values(), ids=SETS)
def test_the_kernel_lets_through_what_the_port_carries(
    net: Net, members: tuple[int, ...], native: int, tpid: int
) -> None:
    port = trunk(members, pvid=native, tpid=tpid)
    net.veth("a", "b")
    sender, receiver = net.packet_socket("a"), net.packet_socket("b")
    instructions = vlan_filter.program(port)
    assert instructions is not None
    vlan_filter.attach(receiver.fd, instructions)
    other = frames.TPID_Q ^ frames.TPID_AD ^ tpid
    sent = {vid: (frames.tag(vid, pcp=7, tpid=tpid),) for vid in PROBES}
    sent |= {0: (frames.tag(0, tpid=tpid),), -1: (), -2: (frames.tag(10, tpid=other),)}
    for tags in sent.values():
        sender.send(frames.ethernet(B, A, *tags))
    expected = [
        tags for vid, tags in sent.items() if vid == 4095 or (vid in port.members if vid > 0 else native)
    ]
    wanted = [frames.ethernet(B, A, *tags) for tags in expected]
    assert [receiver.wait_inline() for _ in wanted] == wanted
    assert receiver.waiting() == []

    vlan_filter.detach(receiver.fd)
    sender.send(frames.ethernet(B, A, frames.tag(64, tpid=tpid)))
    assert receiver.wait_inline() == frames.ethernet(B, A, frames.tag(64, tpid=tpid))
