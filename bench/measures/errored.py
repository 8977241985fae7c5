"""Frames that must not be forwarded: RFC 2889 errored frame filtering, as far as a virtual machine can go.

There are no CRC errors, dribble bits or alignment errors on a tap or veth. There are frames that are too
short, too long, cut inside their tag, or that carry addresses and tags which IEEE 802.1Q does not let
through. A frame shorter than 60 bytes is ordinary for a guest (nobody pads in front of a virtual NIC), so
forwarding it is right and only reported.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from dataclasses import dataclass

from bench.errors import BenchError
from bench.lab import net, patterns
from bench.lab.measure import Case, Measure, Metric, Sample
from bench.lab.settings import Settings
from bench.lab.site import Site
from bench.lab.system import System

ETH_P_ALL = 3
ETH_P_TEST = 0x88B5
WAIT_SECONDS = 1.0
GRACE_SECONDS = 0.05
LONG_MTU = 2000
BODY = bytes(46)


@dataclass(frozen=True, slots=True)
class Kind:
    """A frame, and whether it must stay. `tagged_only`: an error only where guests are in a VLAN."""

    name: str
    meaning: str
    frame: bytes
    forbidden: bool = True
    tagged_only: bool = False


def mac(number: int, kind: int) -> bytes:
    return bytes([2, 0, 0, 0x0B, number, kind])


def frame(
    kind: int, *, dst: bytes = b"", src: bytes = b"", tag: int | None = None, body: bytes = BODY
) -> bytes:
    """Make a frame whose addresses say which kind it is."""
    inline = b"" if tag is None else b"\x81\x00" + tag.to_bytes(2, "big")
    return (dst or mac(1, kind)) + (src or mac(0, kind)) + inline + ETH_P_TEST.to_bytes(2, "big") + body


KINDS: tuple[Kind, ...] = (
    Kind("short_14", "14 bytes, header only", frame(1, body=b""), forbidden=False),
    Kind("short_59", "59 bytes", frame(2, body=bytes(45)), forbidden=False),
    Kind(
        "oversize_1519",
        "1519 bytes without FCS at MTU 1500, room for a tag already used up",
        frame(3, body=bytes(1505)),
    ),
    Kind("oversize_1600", "1600 bytes without FCS at MTU 1500", frame(4, body=bytes(1586))),
    Kind("cut_tag", "16 bytes, ends inside its tag", frame(5, tag=0, body=b"")[:16]),
    Kind("group_source", "group address as source", frame(6, src=b"\x03\0\0\x0b\0\6")),
    Kind("zero_source", "all-zero source", frame(7, src=bytes(6))),
    Kind("own_destination", "source equal to destination", frame(8, dst=mac(0, 8))),
    Kind("reserved_stp", "to 01-80-C2-00-00-00", frame(9, dst=b"\x01\x80\xc2\0\0\0")),
    Kind("reserved_pause", "to 01-80-C2-00-00-01", frame(10, dst=b"\x01\x80\xc2\0\0\1")),
    Kind("reserved_lldp", "to 01-80-C2-00-00-0E", frame(11, dst=b"\x01\x80\xc2\0\0\x0e")),
    Kind("vid_4095", "tagged with VID 4095", frame(12, tag=4095), tagged_only=True),
    Kind("foreign_tag", "a tag of another VLAN on an access port", frame(13, tag=99), tagged_only=True),
)
SENTINEL = frame(200)


class ErroredFrames(Measure):
    name = "errored-frames"
    title = "Frames that must not be forwarded"
    source = "RFC 2889 section 5.9"
    sweep = True
    metrics = (
        Metric("wrongly_forwarded", "kinds", "low", "kinds of frames that came out and must not"),
        *(
            Metric(
                f"forwards_{kind.name}",
                "yes or no",
                "low" if kind.forbidden else "none",
                f"1: forwarded; {kind.meaning}",
            )
            for kind in KINDS
        ),
    )

    def cases(self, settings: Settings) -> list[Case]:
        return [{"direction": "up"}]

    def seconds(self, case: Case, settings: Settings) -> float:
        return 0.5

    def applies(self, system: System, case: Case) -> bool:
        return super().applies(system, case) and system.learns

    def run(self, site: Site, system: System, case: Case, settings: Settings) -> Sample:
        inner, outer = patterns.ends(site, system, "up")
        net.ip(inner.netns, "link", "set", inner.dev, "mtu", str(LONG_MTU))
        try:
            with opened(inner) as guest, opened(outer) as outside:
                seen = exchange(guest, outside)
        finally:
            net.ip(inner.netns, "link", "set", inner.dev, "mtu", str(site.mtu))
        asked = [kind for kind in KINDS if system.tagged or not kind.tagged_only]
        values = {f"forwards_{kind.name}": float(kind.frame[:12] in seen) for kind in asked}
        wrong = sum(values[f"forwards_{kind.name}"] for kind in asked if kind.forbidden)
        return Sample({"wrongly_forwarded": wrong, **values})


def opened(end: patterns.End) -> socket.socket:
    """Open a packet socket on an end of the site."""

    def make() -> socket.socket:
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        made.bind((end.dev, ETH_P_ALL))
        return made

    return net.inside(end.netns, make)


def exchange(guest: socket.socket, outside: socket.socket) -> set[bytes]:
    """Send one frame of each kind; returns the address pairs of all that came out.

    A frame that the guest's own device refuses (a veth does so beyond its peer's MTU) counts as not
    forwarded. A good frame follows, again and again until it comes out: then the others would have, too.
    """
    for kind in KINDS:
        with contextlib.suppress(OSError):
            guest.send(kind.frame)
    seen: set[bytes] = set()
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end and SENTINEL[:12] not in seen:
        guest.send(SENTINEL)
        seen |= received(outside, GRACE_SECONDS)
    if SENTINEL[:12] not in seen:
        raise BenchError("the frame behind the errored ones did not come out")
    return seen | received(outside, GRACE_SECONDS)


def received(outside: socket.socket, seconds: float) -> set[bytes]:
    """Take what arrives within some seconds."""
    seen: set[bytes] = set()
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and select.select([outside], [], [], left)[0]:
        seen.add(outside.recv(65536)[:12])
    return seen


MEASURES = [ErroredFrames()]
