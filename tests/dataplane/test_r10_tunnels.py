"""R10: super-frames inside tunnels are cut, with every outer header right; the oracle says how each segment looks.

No port takes them whole: the kernel would be told of an inner segment as if it were the frame's own.
"""

from __future__ import annotations

import pytest
from helpers import frames, tunnels
from helpers.bridge import Lab, access, trunk
from helpers.frames import Segment
from model import Frame, Offload
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE, Ether
from scapy.layers.vxlan import VXLAN

A, B = frames.host(1), frames.host(2)
PAYLOAD_LEN, GSO_SIZE = 20_001, 1300
N_SEGMENTS = -(-PAYLOAD_LEN // GSO_SIZE)
INNER = {
    "tcp4": lambda: frames.tcp(B, A, payload_len=PAYLOAD_LEN, options=12),
    "tcp6": lambda: frames.tcp(B, A, payload_len=PAYLOAD_LEN, version=6),
    "udp": lambda: frames.udp(B, A, payload_len=PAYLOAD_LEN),
}
every_kind = pytest.mark.parametrize("wrap", tunnels.KINDS.values(), ids=tunnels.KINDS)
every_inner = pytest.mark.parametrize("gso", INNER)


def super_frame(segment: Segment, gso: str) -> Frame:
    offload = Offload(True, segment.csum_start, segment.csum_offset, gso, False, GSO_SIZE, segment.hdr_len)
    return Frame(segment.data, None, offload)


@every_kind
@every_inner
@pytest.mark.parametrize("in_one", [False, True], ids=["link", "tap"])
def test_is_cut_for_every_port(wrap: tunnels.Wrap, gso: str, in_one: bool) -> None:
    """For one that takes no super-frames its checksums are finished, for others the inner one is left open."""
    lab = Lab(access(10), access(10), trunk(10), access(10), no_vnet=[3])
    segment = wrap(INNER[gso]())
    sent = lab.send(0, super_frame(segment, gso), in_one=in_one).sent
    is_datagrams = sent[1][0].offload.gso == "udp"
    assert [len(sent[port]) for port in (1, 2, 3)] == [*2 * [1 if is_datagrams else N_SEGMENTS], N_SEGMENTS]
    assert all(piece.offload.needs_csum for piece in sent[1] + sent[2])
    assert not any(piece.offload.needs_csum for piece in sent[3])
    assert [lab.values(port)["tx_segments"] for port in (1, 2, 3)] == 3 * [N_SEGMENTS]
    assert [lab.values(port)["tx_segmented"] for port in (1, 2, 3)] == [1, 1, 1]
    assert lab.values(0)["rx_segments"] == N_SEGMENTS


DATAGRAMS = {"vxlan with checksum", "vxlan over IPv6", "geneve with options"}


@pytest.mark.parametrize("name", tunnels.KINDS)
@pytest.mark.parametrize(("payload_len", "n_sent"), [(2600, 1), (47 * 1300, 1), (49 * 1300, 2), (64_000, 2)])
def test_datagrams_of_a_tunnel_leave_together(name: str, payload_len: int, n_sent: int) -> None:
    """Those that have a checksum: as many as IP can say the length of, the rest behind them, one alone as a frame."""
    lab = Lab(access(10), access(10))
    segment = tunnels.KINDS[name](frames.tcp(B, A, payload_len=payload_len))
    sent = lab.send(0, super_frame(segment, "tcp4")).sent[1]
    n_segments = -(-payload_len // GSO_SIZE)
    assert len(sent) == (n_sent if name in DATAGRAMS else n_segments)
    assert (sent[0].offload.gso == "udp") == (name in DATAGRAMS)
    assert lab.values(1)["tx_segments"] == n_segments


@pytest.mark.parametrize(
    "name", ["vxlan with checksum", "vxlan over IPv6", "gre with checksum and key", "ip in IPv6", "gretap"]
)
def test_scapy_agrees(name: str) -> None:
    """A second opinion on lengths and checksums, inner and outer."""
    lab = Lab(access(10), access(10), no_vnet=[1])
    segment = tunnels.KINDS[name](INNER["tcp4"]())
    payload = b""
    for n, piece in enumerate(lab.send(0, super_frame(segment, "tcp4")).sent[1]):
        packet = Ether(piece.data)
        assert bytes(rebuilt(packet)) == piece.data
        payload += bytes(packet.getlayer(TCP).payload)
        if IP in packet:
            assert packet[IP].id == 1 + n
    assert payload == segment.data[segment.hdr_len :]


def rebuilt(packet: Ether) -> Ether:
    """The same, with all lengths and checksums as scapy computes them."""
    packet = packet.copy()
    layer = packet
    while layer:
        if isinstance(layer, (IP, IPv6, UDP, TCP, GRE, VXLAN)):
            for name in ("len", "plen", "chksum"):
                if name in layer.fields and not (
                    isinstance(layer, UDP) and name == "chksum" and layer.chksum == 0
                ):
                    delattr(layer, name)
        layer = layer.payload
    return packet


def broken(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


VXLAN_FRAME = super_frame(tunnels.KINDS["vxlan"](INNER["tcp4"]()), "tcp4")
GRE_FRAME = super_frame(tunnels.KINDS["gre"](INNER["tcp4"]()), "tcp4")
UNKNOWN = {
    "GRE with sequence numbers": super_frame(tunnels.gre(4, sequence=True)(INNER["tcp4"]()), "tcp4"),
    "GRE version 1": GRE_FRAME._replace(data=broken(GRE_FRAME.data, 35, b"\1")),
    "a tunnel that is none": VXLAN_FRAME._replace(data=broken(VXLAN_FRAME.data, 23, bytes([50]))),
    "outer packet a fragment": VXLAN_FRAME._replace(data=broken(VXLAN_FRAME.data, 20, b"\x20\0")),
    "inner length wrong": VXLAN_FRAME._replace(data=broken(VXLAN_FRAME.data, 66, b"\0\x28")),
    "inner protocol wrong": VXLAN_FRAME._replace(data=broken(VXLAN_FRAME.data, 73, bytes([17]))),
    "not IP": VXLAN_FRAME._replace(data=broken(VXLAN_FRAME.data, 12, b"\x88\x47")),
    "own header of another kind": super_frame(INNER["udp"](), "tcp4")._replace(
        offload=Offload(True, 34, 16, "tcp4", False, GSO_SIZE, 54)
    ),
}


@pytest.mark.parametrize("frame", UNKNOWN.values(), ids=UNKNOWN)
def test_what_leads_nowhere_is_refused_by_every_port(frame: Frame) -> None:
    lab = Lab(access(10), access(10), access(10), no_vnet=[2])
    sent, drops = lab.send(0, frame)
    assert sent == {}
    assert drops in (
        {("tx", 1, "gso_unsupported"): 1, ("tx", 2, "gso_unsupported"): 1},
        {("rx", 0, "bad_offload"): 1},
    )


@every_kind
def test_an_open_checksum_in_a_tunnel_stays_or_is_finished(wrap: tunnels.Wrap) -> None:
    """One packet: whatever checksum is outside is its sender's affair, for it knows what the inner one will come to."""
    lab = Lab(access(10), access(10), access(10), no_vnet=[2])
    segment = wrap(frames.tcp(B, A, payload_len=1000))
    frame = Frame(segment.data, None, Offload(True, segment.csum_start, segment.csum_offset))
    assert lab.send(0, frame).sent == {1: [Frame(segment.finished)], 2: [Frame(segment.finished)]}


def test_a_tunnel_among_others_keeps_its_place() -> None:
    """Cut ones and whole ones in one batch leave in the order they came in."""
    lab = Lab(access(10), access(10), trunk(10))
    first, second, third = (Frame(frames.ethernet(B, A, payload=bytes([i]) * 60)) for i in range(3))
    own = super_frame(INNER["tcp4"](), "tcp4")
    sent = lab.send(0, first, VXLAN_FRAME, second, own, third).sent
    assert (sent[1][0], sent[1][N_SEGMENTS + 1 :]) == (first, [second, own, third])
    assert len(sent[2]) == N_SEGMENTS + 4
