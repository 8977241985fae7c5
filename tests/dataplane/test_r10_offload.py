"""R10: what cannot be done to a frame ends it with a reason; what can be done leaves it right.

Offload metadata moves with the addresses; nonsense is dropped; a checksum the egress port cannot leave
open is finished (scapy computes the expected one); super-frames are judged by their segments; a push
needs room.
"""

from __future__ import annotations

import pytest
from helpers import frames
from helpers.bridge import Lab, access, trunk, tunnel
from helpers.frames import Segment
from model import Frame, Offload
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

A, B = frames.host(1), frames.host(2)
ALL = frames.BROADCAST


def partial(segment: Segment) -> Frame:
    """A frame whose checksum somebody further on has to finish."""
    return Frame(segment.data, None, Offload(True, segment.csum_start, segment.csum_offset))


def super_frame(segment: Segment, gso: str, gso_size: int = 1400, hdr_len: int | None = None) -> Frame:
    hdr_len = segment.hdr_len if hdr_len is None else hdr_len
    return Frame(
        segment.data,
        None,
        Offload(True, segment.csum_start, segment.csum_offset, gso, False, gso_size, hdr_len),
    )


def scapy_checksum(data: bytes) -> bytes:
    """The frame with the transport checksum scapy computes."""
    packet = Ether(data)
    layer = packet[TCP] if TCP in packet else packet[UDP]
    del layer.chksum
    return bytes(packet)


BUILDERS = {
    "tcp4": lambda *tags, n=100: frames.tcp(ALL, A, *tags, payload_len=n),
    "tcp6": lambda *tags, n=100: frames.tcp(ALL, A, *tags, payload_len=n, version=6),
    "udp": lambda *tags, n=100: frames.udp(ALL, A, *tags, payload_len=n),
    "udp over IPv6": lambda *tags, n=100: frames.udp(ALL, A, *tags, payload_len=n, version=6),
}
every_kind = pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS.keys())
every_gso = pytest.mark.parametrize(
    ("gso", "build"),
    [("tcp4", BUILDERS["tcp4"]), ("tcp6", BUILDERS["tcp6"]), ("udp", BUILDERS["udp"])],
    ids=["tcp4", "tcp6", "udp"],
)


# -- metadata moves with the addresses


@every_kind
def test_push_and_pop_move_csum_start(build) -> None:
    lab = Lab(access(10), trunk(10), access(10))
    plain, tagged = partial(build()), partial(build(frames.tag(10)))
    assert tagged.offload.csum_start == plain.offload.csum_start + 4
    assert lab.send(0, plain).sent == {1: [tagged], 2: [plain]}
    assert lab.send(1, tagged).sent == {0: [plain], 2: [plain]}


def test_tag_beside_the_frame_does_not_count() -> None:
    """AF_PACKET says 34 where a tap says 38, for the same frame."""
    lab = Lab(trunk(10), trunk(10), access(10))
    plain, tagged = partial(BUILDERS["tcp4"]()), partial(BUILDERS["tcp4"](frames.tag(10)))
    beside = plain._replace(tag=(frames.TPID_Q, 10))
    assert (plain.offload.csum_start, tagged.offload.csum_start) == (34, 38)
    assert lab.send(0, beside).sent == {1: [tagged], 2: [plain]}
    assert lab.send(0, tagged).sent == {1: [tagged], 2: [plain]}


def test_tag_put_back_as_payload_counts() -> None:
    lab = Lab(tunnel(10), tunnel(10))
    inner = (frames.TPID_Q, 20)
    assert lab.send(0, partial(BUILDERS["tcp4"]())._replace(tag=inner)).sent == {
        1: [partial(BUILDERS["tcp4"](frames.tag(20)))]
    }


@every_gso
def test_push_and_pop_move_hdr_len(gso: str, build) -> None:
    lab = Lab(access(10), trunk(10))
    plain, tagged = super_frame(build(n=8000), gso), super_frame(build(frames.tag(10), n=8000), gso)
    assert tagged.offload.hdr_len == plain.offload.hdr_len + 4
    assert lab.send(0, plain).sent == {1: [tagged]}
    assert lab.send(1, tagged).sent == {0: [plain]}


@every_gso
@pytest.mark.parametrize("claimed", [0, 14, 20000])
def test_hdr_len_is_a_hint_and_becomes_the_truth(gso: str, build, claimed: int) -> None:
    """Guests are known to send 0 or the linear length; the kernel wants the end of the headers."""
    lab = Lab(access(10), access(10))
    true = super_frame(build(n=8000), gso)
    assert lab.send(0, super_frame(build(n=8000), gso, hdr_len=claimed)).sent == {1: [true]}


def test_ecn_travels() -> None:
    lab = Lab(access(10), access(10))
    frame = super_frame(BUILDERS["tcp4"](n=8000), "tcp4")
    frame = frame._replace(offload=frame.offload._replace(ecn=True))
    assert lab.send(0, frame).sent == {1: [frame]}


def test_frame_without_requests_has_none_after() -> None:
    lab = Lab(access(10), trunk(10))
    assert lab.send(0, frames.ethernet(ALL, A)).sent[1][0].offload == Offload()


# -- metadata that contradicts the frame


def change(frame: Frame, **offload: object) -> Frame:
    return frame._replace(offload=frame.offload._replace(**offload))


TCP_FRAME = partial(frames.tcp(ALL, A))
SUPER = super_frame(frames.tcp(ALL, A, payload_len=8000), "tcp4")
UDP_SUPER = super_frame(frames.udp(ALL, A, payload_len=8000), "udp")
SHORT_TCP_HEADER = bytearray(SUPER.data)
SHORT_TCP_HEADER[34 + 12] = 4 << 4

NONSENSE = {
    "checksum inside the Ethernet header": change(TCP_FRAME, csum_start=13),
    "checksum from the first byte": change(TCP_FRAME, csum_start=0),
    "checksum field one byte behind the end": change(TCP_FRAME, csum_start=len(TCP_FRAME.data) - 17),
    "checksum starts behind the end": change(TCP_FRAME, csum_start=len(TCP_FRAME.data)),
    "checksum far away": change(TCP_FRAME, csum_start=65535),
    "checksum field far away": change(TCP_FRAME, csum_offset=65535),
    "sum of both wraps 16 bits": change(TCP_FRAME, csum_start=65535, csum_offset=60),
    "segments without checksum": change(SUPER, needs_csum=False),
    "segments of no bytes": change(SUPER, gso_size=0),
    "TCP checksum at the wrong place": change(SUPER, csum_offset=6),
    "UDP checksum at the wrong place": change(UDP_SUPER, csum_offset=16),
    "TCP header shorter than 20 bytes": SUPER._replace(data=bytes(SHORT_TCP_HEADER)),
    "TCP header behind the end": SUPER._replace(data=SUPER.data[:53]),
    "headers and nothing else": SUPER._replace(data=SUPER.data[:54]),
    "UDP headers and nothing else": UDP_SUPER._replace(data=UDP_SUPER.data[:42]),
    "UDP header behind the end": change(UDP_SUPER, csum_start=len(UDP_SUPER.data) - 8),
}


@pytest.mark.parametrize("frame", NONSENSE.values(), ids=NONSENSE.keys())
def test_nonsense_is_dropped(frame: Frame) -> None:
    lab = Lab(access(10), access(10), trunk(10), access(10), no_vnet=[3])
    lab.expect_drop(0, frame, "bad_offload")
    assert lab.fdb() == {}


@pytest.mark.parametrize("frame", NONSENSE.values(), ids=NONSENSE.keys())
def test_nonsense_behind_a_tag_is_dropped(frame: Frame) -> None:
    lab = Lab(trunk(10), access(10))
    lab.expect_drop(0, frame._replace(tag=(frames.TPID_Q, 10)), "bad_offload")


SMALL = [36, 48, 88, 216, 500, 536, 1208, 1220]  # an MSS that some stack makes, with and without timestamps


@pytest.mark.parametrize("gso_size", SMALL)
@pytest.mark.parametrize("n_segments", [2, 3, 50, 512])
@every_gso
def test_a_small_mss_passes(gso: str, build, n_segments: int, gso_size: int) -> None:
    lab = Lab(access(10), access(10))
    payload_len = min(n_segments * gso_size, 64000)
    frame = super_frame(build(n=payload_len), gso, gso_size)
    assert lab.send(0, frame) == ({1: [frame]}, {})
    assert lab.values(0)["rx_segments"] == -(-payload_len // gso_size)


@pytest.mark.parametrize("gso_size", [1, 2, 8, 30, 35, 36, 124])
@every_gso
def test_more_work_than_the_bytes_justify_is_dropped(gso: str, build, gso_size: int) -> None:
    """64 KB with a gso_size of 1 are 64000 wire frames: 1.3 million a second for 10 Mb/s."""
    lab = Lab(access(10), access(10), trunk(10), access(10), no_vnet=[3])
    lab.expect_drop(0, super_frame(build(n=64000), gso, gso_size), "bad_offload")
    assert lab.values(0)["rx_segments"] == 1


@pytest.mark.parametrize(("gso_size", "passes"), [(36, False), (120, False), (300, False), (400, True)])
def test_headers_repeated_for_next_to_nothing_are_dropped(gso_size: int, passes: bool) -> None:
    """1304 bytes of options before 120 of payload, 500 times: 12 bytes out for one in."""
    lab = Lab(access(10, mtu=9000), access(10, mtu=9000))
    segment = frames.tcp(ALL, A, payload_len=60000, version=6)
    options = bytes([6, 1304 // 8 - 1]) + bytes(1302)
    data = segment.data[:20] + b"\x3c" + segment.data[21:54] + options + segment.data[54:]
    frame = Frame(data, None, Offload(True, 54 + 1304, 16, "tcp6", False, gso_size, 54 + 1304 + 20))
    if passes:
        assert lab.send(0, frame) == ({1: [frame]}, {})
    else:
        lab.expect_drop(0, frame, "bad_offload")


@pytest.mark.parametrize("start", [1965, 3000, 65520])
def test_headers_that_no_buffer_for_headers_holds_are_dropped(start: int) -> None:
    """A tap delivers 64 KB in one piece; what points far into it would be copied as so many bytes of headers."""
    lab = Lab(access(10), access(10), trunk(10), access(10), no_vnet=[3])
    data = bytearray(SUPER.data.ljust(65600, b"\0"))
    data[start + 12] = 5 << 4
    far = Frame(bytes(data), None, SUPER.offload._replace(csum_start=start))
    assert lab.send(0, far, in_one=True) == ({}, {("rx", 0, "bad_offload"): 1})
    plain = change(far, gso="none", gso_size=0, csum_start=start + 4)
    assert lab.send(0, plain, in_one=True) == ({}, {("rx", 0, "bad_offload"): 1})


def test_checksum_start_inside_a_tag_that_is_popped() -> None:
    """What points between the addresses and the payload points nowhere once the tag is gone."""
    lab = Lab(trunk(10), access(10))
    tagged = partial(frames.tcp(ALL, A, frames.tag(10)))
    for start in range(18):
        lab.expect_drop(0, change(tagged, csum_start=start), "bad_offload")


def test_checksum_at_the_very_edges() -> None:
    lab = Lab(access(10), access(10))
    frame = frames.ethernet(ALL, A, payload=46)
    first = Frame(frame, None, Offload(True, 14, 0))
    last = Frame(frame, None, Offload(True, 42, 16))
    assert lab.send(0, first, last).sent == {1: [first, last]}


@pytest.mark.parametrize("hdr_len", [1, 3, 61, 60000, 65535])
def test_hdr_len_of_a_plain_frame_does_no_harm(hdr_len: int) -> None:
    """The kernel refuses a frame whose hdr_len is beyond its end (drivers/net/tun.c:tun_get_user: EINVAL)."""
    lab = Lab(trunk(10), access(10), trunk(10))
    segment = frames.tcp(ALL, A, frames.tag(10), payload_len=1)
    offload = Offload(True, segment.csum_start, segment.csum_offset, hdr_len=hdr_len)
    lab.ports[0].inject([Frame(segment.data, None, offload)])
    lab.core.turn()
    for index in (1, 2):
        for frame in lab.ports[index].drain():
            assert frame.offload.hdr_len <= len(frame.data)


# -- checksums finished in software


@every_kind
@pytest.mark.parametrize("payload_len", [0, 1, 2, 3, 17, 100, 101, 1400])
def test_port_without_offload_gets_a_finished_checksum(build, payload_len: int) -> None:
    lab = Lab(access(10), access(10), no_vnet=[1])
    segment = build(n=payload_len)
    expected = frames.padded(scapy_checksum(segment.data))
    assert segment.finished == scapy_checksum(segment.data)
    assert lab.send(0, partial(segment)).sent == {1: [Frame(expected)]}
    assert lab.values(1)["tx_checksums"] == 1


@every_kind
def test_finished_under_every_tag_form(build) -> None:
    lab = Lab(access(10), trunk(10), trunk(10, tpid=frames.TPID_AD), access(10), no_vnet=[1, 2, 3])
    segment = build()
    done = scapy_checksum(segment.data)
    assert lab.send(0, partial(segment)).data == {
        1: [done[:12] + frames.tag(10) + done[12:]],
        2: [done[:12] + frames.tag(10, tpid=frames.TPID_AD) + done[12:]],
        3: [done],
    }


@pytest.mark.parametrize("payload_len", [1900, 1915, 1916, 1917, 1931, 4001, 60000])
def test_finished_over_the_seam_between_two_buffers(payload_len: int) -> None:
    """Head and tail of a long frame are summed as one, also when the head has an odd number of bytes."""
    lab = Lab(access(10, mtu=65521), access(10, mtu=65521), trunk(10, mtu=65521), no_vnet=[1])
    for tags in ((), (frames.tag(10),)):
        segment = frames.tcp(ALL, A, *tags, payload_len=payload_len)
        expected = frames.tcp(ALL, A, payload_len=payload_len).finished
        assert lab.send(2 if tags else 0, partial(segment)).data[1] == [expected]


def test_zero_is_not_a_checksum() -> None:
    """A sum that comes out zero is stored as ones: in UDP zero says "no checksum" (RFC 768)."""
    lab = Lab(access(10), access(10), no_vnet=[1])
    segment = frames.udp(ALL, A, payload_len=2)
    at = segment.csum_start + segment.csum_offset
    rest = segment.data[segment.csum_start :]
    wanted = 0xFFFF ^ frames.sum16(rest[:-2])  # a payload that brings the sum to all ones
    data = segment.data[:-2] + wanted.to_bytes(2, "big")
    (frame,) = lab.send(0, Frame(data, None, Offload(True, segment.csum_start, 6))).data[1]
    assert frame[at : at + 2] == b"\xff\xff"


def test_finished_once_for_a_whole_flood() -> None:
    """A finished checksum is right for every port; ports with and without offload get the same bytes."""
    lab = Lab(access(10), access(10), access(10), access(10), no_vnet=[2, 3])
    segment = BUILDERS["tcp4"]()
    verdict = lab.send(0, partial(segment))
    assert {frame.data for sent in verdict.sent.values() for frame in sent} == {scapy_checksum(segment.data)}
    assert sum(lab.values(index)["tx_checksums"] for index in (1, 2, 3)) == 1


def test_ports_with_offload_are_left_to_it() -> None:
    lab = Lab(access(10), access(10), no_vnet=[0])
    frame = partial(BUILDERS["tcp4"]())
    assert lab.send(0, frame).sent == {1: [frame]}
    assert lab.values(1)["tx_checksums"] == 0


# -- super-frames


@every_gso
@pytest.mark.parametrize("payload_len", [3000, 60000])
def test_super_frame_passes_whole(gso: str, build, payload_len: int) -> None:
    lab = Lab(access(10), access(10), trunk(10))
    plain = super_frame(build(n=payload_len), gso, 1000)
    tagged = super_frame(build(frames.tag(10), n=payload_len), gso, 1000)
    assert lab.send(0, plain).sent == {1: [plain], 2: [tagged]}
    n_segments = -(-payload_len // 1000)
    received, sent = lab.values(0), lab.values(2)
    assert (received["rx_super_frames"], received["rx_segments"]) == (1, n_segments)
    assert (sent["tx_super_frames"], sent["tx_segments"]) == (1, n_segments)
    assert received["rx_bytes"] == len(plain.data)
    assert sent["tx_bytes"] == len(tagged.data)


@pytest.mark.parametrize("options", [0, 12, 40])
def test_super_frame_is_judged_by_its_segments(options: int) -> None:
    """IP and TCP headers with their options and one full segment behind them must fit the MTU."""
    lab = Lab(access(10), access(10))
    largest = 1500 - 20 - 20 - options
    segment = frames.tcp(ALL, A, payload_len=20000, options=options)
    assert set(lab.send(0, super_frame(segment, "tcp4", largest)).sent) == {1}
    lab.expect_drop(0, super_frame(segment, "tcp4", largest + 1), "oversize")


def test_super_frame_is_judged_by_its_segments_for_udp_and_ipv6() -> None:
    lab = Lab(access(10), access(10))
    udp, tcp6 = frames.udp(ALL, A, payload_len=20000), frames.tcp(ALL, A, payload_len=20000, version=6)
    assert set(lab.send(0, super_frame(udp, "udp", 1500 - 28)).sent) == {1}
    lab.expect_drop(0, super_frame(udp, "udp", 1500 - 27), "oversize")
    assert set(lab.send(0, super_frame(tcp6, "tcp6", 1500 - 60)).sent) == {1}
    lab.expect_drop(0, super_frame(tcp6, "tcp6", 1500 - 59), "oversize")


def test_super_frame_with_a_second_tag() -> None:
    """The inner tag is payload of each segment and counts."""
    lab = Lab(trunk(10), trunk(10))
    segment = frames.tcp(ALL, A, frames.tag(10), frames.tag(20), payload_len=20000)
    assert set(lab.send(0, super_frame(segment, "tcp4", 1456)).sent) == {1}
    lab.expect_drop(0, super_frame(segment, "tcp4", 1457), "oversize")


def test_super_frame_of_one_short_segment() -> None:
    """A segment is never longer than the frame, whatever gso_size says."""
    lab = Lab(access(10), access(10))
    frame = super_frame(frames.tcp(ALL, A, payload_len=100), "tcp4", 9000)
    assert lab.send(0, frame).sent == {1: [frame]}
    assert lab.values(0)["rx_segments"] == 1


def test_super_frame_to_a_port_with_a_smaller_mtu() -> None:
    lab = Lab(access(10, mtu=9000), access(10, mtu=9000), access(10))
    frame = super_frame(frames.tcp(ALL, A, payload_len=20000), "tcp4", 8000)
    assert lab.send(0, frame) == ({1: [frame]}, {("tx", 2, "oversize"): 1})


def test_super_frame_to_a_port_that_takes_none() -> None:
    lab = Lab(access(10), access(10), access(10), no_vnet=[2])
    frame = super_frame(frames.tcp(ALL, A, payload_len=20000), "tcp4")
    sent = lab.send(0, frame).sent
    assert sent[1] == [frame]
    assert len(sent[2]) == -(-20000 // 1400)
    assert lab.values(2)["tx_segmented"] == 1


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("tags", [0, 1, 2])
@pytest.mark.parametrize("in_one", [False, True], ids=["link", "tap"])
@pytest.mark.parametrize(
    ("size", "total"),
    [(36, 2125), (100, 6050), (1357, 25000), (5001, 25000), (1200, 24001), (1000, 3005)],
    ids=lambda n: str(n),
)
def test_software_segmentation_is_what_scapy_makes_of_it(
    version: int, protocol: str, tags: int, in_one: bool, size: int, total: int
) -> None:
    """Every segment has the right lengths and checksums; all together are the payload, in order.

    A last segment of a byte or five, shorter than a frame may be, is padded behind its payload.
    """
    inner = [frames.tag(77)] if tags == 2 else []
    make = frames.tcp if protocol == "tcp" else frames.udp
    segment = make(ALL, A, *inner, payload_len=total, version=version)
    egress = trunk(10, mtu=9000) if tags else access(10, mtu=9000)
    lab = Lab(tunnel(10, mtu=9000), egress, no_vnet=[1])
    frame = super_frame(segment, f"tcp{version}" if protocol == "tcp" else "udp", size)
    pieces = lab.send(0, frame, headroom=64 if tags else 0, in_one=in_one).sent[1]
    assert len(pieces) == -(-total // size)
    payload = b""
    for piece in pieces:
        assert scapy_checksum(piece.data) == piece.data
        packet = Ether(piece.data)
        if version == 4:
            assert frames.sum16(bytes(packet[IP])[:20]) == 0xFFFF
        if protocol == "tcp":
            assert packet[TCP].seq == 1 + len(payload)
        l3_len = packet[IP].len if version == 4 else packet[IPv6].plen + 40
        l3_start = 14 + 4 * tags
        payload += piece.data[segment.hdr_len + 4 * (tags > 0) : l3_start + l3_len]
    assert payload == segment.data[segment.hdr_len :]


def test_super_frame_that_is_not_ip_is_refused_by_a_port_that_takes_none() -> None:
    lab = Lab(access(10), access(10), no_vnet=[1])
    segment = frames.tcp(ALL, A, payload_len=3000)
    odd = segment._replace(data=segment.data[:12] + b"\x88\xb5" + segment.data[14:])
    assert lab.send(0, super_frame(odd, "tcp4")) == ({}, {("tx", 1, "gso_unsupported"): 1})


def test_super_frame_is_never_padded() -> None:
    """Padding would become payload of a segment."""
    lab = Lab(access(10), access(10), trunk(10))
    frame = super_frame(frames.tcp(ALL, A, payload_len=1), "tcp4", 1)
    assert len(frame.data) == 55
    assert lab.send(0, frame).sent[1] == [frame]


# -- a push needs room


def test_push_without_headroom() -> None:
    lab = Lab(access(10), trunk(10))
    frame = frames.ethernet(B, A)
    lab.learn(1, 2, vid=10)
    for headroom in range(4):
        lab.expect_refusal(0, frame, 1, "no_headroom", headroom=headroom)
    for headroom in (4, 5, 64):
        assert lab.send(0, frame, headroom=headroom).data == {
            1: [frames.ethernet(B, A, frames.tag(10))],
        }


def test_a_popped_tag_makes_room() -> None:
    lab = Lab(trunk(10), trunk(10, tpid=frames.TPID_AD), access(10))
    frame = frames.ethernet(ALL, A, frames.tag(10))
    assert lab.send(0, frame, headroom=0).data == {
        1: [frames.ethernet(ALL, A, frames.tag(10, tpid=frames.TPID_AD))],
        2: [frames.ethernet(ALL, A)],
    }


def test_untagged_egress_needs_no_room() -> None:
    lab = Lab(access(10), access(10))
    frame = frames.ethernet(ALL, A)
    assert lab.send(0, frame, headroom=0).data == {1: [frame]}


def test_no_tag_leaks_where_none_could_be_pushed() -> None:
    """Whatever happens to the copies without room, no untagged copy goes out of a trunk (house rule 3)."""
    lab = Lab(access(10), access(10), trunk(10), trunk(10, tpid=frames.TPID_AD))
    sent = lab.send(0, frames.ethernet(ALL, A), headroom=0).data
    assert sent[1] == [frames.ethernet(ALL, A)]
    assert all(frame[12:14] == b"\x81\x00" for frame in sent.get(2, []))
    assert all(frame[12:14] == b"\x88\xa8" for frame in sent.get(3, []))


def test_scapy_agrees_with_the_frame_builders() -> None:
    """Guards the builders this file leans on."""
    for build in BUILDERS.values():
        packet = Ether(build(n=10).finished)
        assert packet.src == "02:00:00:00:00:01"
        assert bytes(packet[TCP].payload if TCP in packet else packet[UDP].payload)[:10] == bytes(
            i * 7 & 0xFF for i in range(10)
        )
    assert IPv6 in Ether(BUILDERS["tcp6"]().data)


# -- checksums that are no Internet checksum


def crc32c_by_hand(data: bytes) -> bytes:
    """Of what a frame holds from `data` on, as it lies in the packet (RFC 9260 appendix A)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return (crc ^ 0xFFFFFFFF).to_bytes(4, "little")


def test_crc32c_of_the_book() -> None:
    """RFC 7143 appendix A.4: of 32 zeros it is aa 36 91 8a."""
    assert crc32c_by_hand(bytes(32)) == bytes.fromhex("aa36918a")


@pytest.mark.parametrize("payload_len", [0, 1, 2, 3, 30, 1400, 8900])
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("in_one", [False, True], ids=["link", "tap"])
@pytest.mark.parametrize("tags", [(), (frames.tag(10),)], ids=["untagged", "tagged"])
def test_an_open_sctp_checksum_is_finished_on_receipt(
    tags: tuple[bytes, ...], in_one: bool, version: int, payload_len: int
) -> None:
    """It is a CRC32c, of which nobody else knows; an Internet checksum in its place would break the packet."""
    lab = Lab(trunk(10, native=10, mtu=9000), access(10, mtu=9000), access(10, mtu=9000), no_vnet=[2])
    segment = frames.sctp(ALL, A, *tags, payload_len=payload_len, version=version)
    plain = frames.sctp(ALL, A, payload_len=payload_len, version=version)
    start = plain.csum_start
    crc = crc32c_by_hand(plain.data[start:])
    wanted = Frame(frames.padded(plain.data[: start + 8] + crc + plain.data[start + 12 :]))
    assert lab.send(0, partial(segment), in_one=in_one).sent == {1: [wanted], 2: [wanted]}
    assert lab.values(0)["rx_checksums"] == 1
    assert lab.values(2)["tx_checksums"] == 0


def test_padding_is_no_part_of_an_sctp_packet() -> None:
    lab = Lab(access(10), access(10))
    short = frames.sctp(ALL, A, payload_len=0)
    padded = short._replace(data=short.data + b"\xee" * 9)
    sent = lab.send(0, partial(padded)).sent[1][0].data
    assert sent[42:46] == crc32c_by_hand(short.data[34:])


def test_what_only_looks_like_sctp_is_left_alone() -> None:
    """A checksum field at the same place in another protocol, a fragment, a header cut short."""
    lab = Lab(access(10), access(10))
    sctp = frames.sctp(ALL, A)
    others = {
        "protocol": sctp.data[:23] + b"\x21" + sctp.data[24:],
        "fragment": sctp.data[:20] + b"\x20\0" + sctp.data[22:],
        "length": sctp.data[:16] + b"\0\x1e" + sctp.data[18:],
    }
    for name, data in others.items():
        frame = Frame(data, None, Offload(True, 34, 8))
        assert lab.send(0, frame).sent == {1: [frame]}, name
    assert lab.values(0)["rx_checksums"] == 0
