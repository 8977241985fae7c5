"""What a packet socket says when its device goes down or away: ENETDOWN once, then silence.

Down: one recv fails with ENETDOWN, later ones find nothing, sending fails with ENETDOWN every time;
when the device comes up again the same socket goes on working. Removed: one ENETDOWN, then nothing ever
again; sending fails with ENXIO, and a new device of the same name does not bring it back: the port must
be opened anew. Whoever read the error of going down is not told of the removal: it takes netlink, a
look at getsockname(), or a failed send. Decided by net/packet/af_packet.c:packet_notifier (sk_err =
ENETDOWN; on NETDEV_UNREGISTER ifindex = -1; on NETDEV_UP the hook is registered again) and packet_snd
(ENXIO without device, ENETDOWN without IFF_UP).
"""

from __future__ import annotations

import errno

import pytest
from helpers import frames
from helpers.net import HERE, Net, PacketSocket

pytestmark = pytest.mark.root

FRAME = frames.ethernet(frames.host(2), frames.host(1))


def check_one_error_then_silence(sock: PacketSocket) -> None:
    with pytest.raises(OSError, match="down") as refusal:
        sock.receive()
    assert refusal.value.errno == errno.ENETDOWN
    for _again in range(2):
        with pytest.raises(BlockingIOError):
            sock.receive()


def check_send_fails(sock: PacketSocket, number: int) -> None:
    for _again in range(2):
        with pytest.raises(OSError) as refusal:  # noqa: PT011 the number is what is checked
            sock.send(FRAME)
        assert refusal.value.errno == number


def test_down_and_up_again(net: Net) -> None:
    net.veth("a", "b")
    sock, peer = net.packet_socket("a"), net.packet_socket("b")
    HERE.set_link("a", state="down")
    check_one_error_then_silence(sock)
    check_send_fails(sock, errno.ENETDOWN)
    HERE.set_link("a", state="up")
    HERE.wait_carrier("a")
    peer.send(FRAME)
    assert sock.wait().data == FRAME


def test_removal_is_not_told_to_who_has_heard_of_the_loss(net: Net) -> None:
    """A device goes down before it goes away, and only the first is an error; the address tells the rest."""
    net.veth("a", "b")
    sock = net.packet_socket("a")
    HERE.set_link("a", state="down")
    assert sock.clear_error() == errno.ENETDOWN
    HERE.delete_link("a")
    assert sock.clear_error() == 0
    with pytest.raises(BlockingIOError):
        sock.receive()
    assert sock.sock.getsockname()[0] == ""
    check_send_fails(sock, errno.ENXIO)


def test_removed(net: Net) -> None:
    net.veth("a", "b")
    sock = net.packet_socket("a")
    HERE.delete_link("a")
    check_one_error_then_silence(sock)
    check_send_fails(sock, errno.ENXIO)
    net.veth("a", "b")
    check_send_fails(sock, errno.ENXIO)
    with pytest.raises(BlockingIOError):
        sock.receive()
