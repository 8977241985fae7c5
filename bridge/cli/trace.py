"""The command that tells what would become of a frame."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.cli import frame
from bridge.cli.command import Command, Options, ask, show
from bridge.cli.grammar import NUMBER, Grammar, UsageError

ARROWS = ("to", ">", "->")


def read(words: Sequence[str]) -> tuple[str, bytes]:
    """Read `[port] NAME` and the words of a frame; returns the name and the bytes."""
    rest = list(words)
    if len(rest) > 1 and rest[0] == "port":
        rest.pop(0)
    if len(rest) < 2:
        raise UsageError(
            "PORT is missing" if not rest else "the frame is missing: SOURCE to DESTINATION, hex or file"
        )
    name, first, *rest = rest
    if first in ("hex", "file"):
        if not rest:
            raise UsageError(f"{first!r} needs a value")
        value = rest.pop(0)
        if first == "hex":
            Grammar().read(rest)
            return name, frame.from_hex(value)
        return name, frame.from_capture(value, Grammar(keys={"number": NUMBER}).read(rest).get("number", 1))
    if rest and rest[0] in ARROWS:
        rest.pop(0)
    if not rest:
        raise UsageError(
            f"DESTINATION is missing: {first} to WHOM? (in a shell '>' wants quotes, 'to' does not)"
        )
    destination = rest.pop(0)
    return name, frame.build(first, destination, Grammar(keys=frame.KEYS, flags=frame.FLAGS).read(rest))


def trace(options: Options, words: list[str]) -> int:
    """Ask what would become of a frame, and show it."""
    name, data = read(words)
    show(options, ask(options, "TraceFrame", {"port": name, "frame": data.hex()}), "trace")
    return 0


COMMANDS = (
    Command(
        "trace",
        "[port] PORT SOURCE to DESTINATION [vlan N] [pcp N] [arp | ip] [sender IP] [target IP] [udp PORT] ...",
        "what would become of a frame that came in by a port, stage by stage; none is sent",
        trace,
        """\
The frame goes through a copy of the data plane, with the rules, the FDB and the limits of now: what it says is what
would happen. Each line tells what a stage does, the key that decides it and its line in the daemon's file.

  vlan N, pcp N         the frame is tagged
  arp, ip               an ARP request, or an IP packet (UDP unless told otherwise)
  sender IP, target IP  addresses that ARP or IP speaks of; those of IPv6 make it an IPv6 packet
  udp PORT, protocol N  what IP carries: UDP to this port, or another protocol (112: VRRP)
  ethertype N           of a frame that carries nothing known, 0x88b5 by default
  length BYTES          without FCS; 60 at least

The frame may be given as bytes or taken from a capture file, too:
  trace PORT hex BYTES
  trace PORT file CAPTURE [number N]

examples:
  framebridge trace guests 02:00:00:00:00:01 to ff:ff:ff:ff:ff:ff arp sender 10.0.0.1 target 10.0.0.2
  framebridge trace uplink 02:00:00:00:00:07 to 02:00:00:00:00:01 vlan 10
""",
    ),
)
