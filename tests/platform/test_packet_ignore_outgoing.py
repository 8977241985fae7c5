"""PACKET_IGNORE_OUTGOING keeps a packet socket from receiving what its own host sends through the device.

Without it a bridge would read back every frame another program sends there. Decided by
net/core/dev.c:dev_queue_xmit_nit and packet_type.ignore_outgoing (Linux 4.20). What the socket itself
sends never comes back to it (skb_loop_sk), with or without the option.
"""

from __future__ import annotations

import pytest
from helpers import frames
from helpers.net import Net

pytestmark = pytest.mark.root

MINE = frames.ethernet(frames.host(2), frames.host(1))
THEIRS = frames.ethernet(frames.host(1), frames.host(2))


@pytest.mark.parametrize("ignore", [True, False])
def test_what_the_host_sends(net: Net, ignore: bool) -> None:
    net.veth("a", "b")
    bridge = net.packet_socket("a", ignore_outgoing=ignore)
    net.packet_socket("a").send(MINE)  # another program on the same device
    bridge.send(MINE)
    net.packet_socket("b").send(THEIRS)
    expected = [THEIRS] if ignore else [MINE, THEIRS]
    assert [bridge.wait().data for _frame in expected] == expected
    assert bridge.waiting() == []
