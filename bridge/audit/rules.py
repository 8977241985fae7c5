"""The audit: what about a port's device loses frames or costs cycles, and what to do about it.

Job: rules, one short function each; a rule looks at one port and what is known of its device (`Subject`), and yields
findings. Pure; collect.py makes subjects, auditor.py reports findings. Severity says what is at stake:

* error: frames are lost, doubled or sent in circles;
* warning: some frames are lost, or may be;
* notice: all frames arrive, at the price of cycles.

Where the rules come from: tests/platform (MTU of 802.1ad frames, queue of a tap); dev_disable_lro and
virtio_net_hdr_from_skb in the kernel (a packet socket loses what LRO merged); Documentation/networking/
{segmentation-offloads,checksum-offloads}.rst.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bridge.config.port import PortConfig
from bridge.config.vids import format_vids
from bridge.devices.inspection import DeviceInfo

SEVERITIES = ("error", "warning", "notice")
TPID_8021AD = 0x88A8
TAG_LEN = 4
QUEUE_MIN = 100  # frames: less than two bursts of the data plane is lost while it is busy elsewhere
SWITCHING_MASTERS = ("bridge", "openvswitch")
CHECKSUMS = {"tx-checksum-ip-generic", "tx-checksum-ipv4", "tx-checksum-ipv6"}


@dataclass(frozen=True, slots=True)
class Subject:
    """A port and the device it is, or would be, attached to."""

    port: PortConfig
    info: DeviceInfo
    attached: bool = False
    refused: bool = False  # the kernel had super-frames for it that it cannot hand over
    uncut: bool = False  # super-frames were dropped that it cannot be given whole and that could not be cut

    @property
    def is_trunk(self) -> bool:
        """Whether tags pass a device that the kernel uses too."""
        return self.port.can.is_shared and self.port.mode == "trunk"

    @property
    def is_uplink(self) -> bool:
        """Whether it leads to a switch, as far as can be seen: a trunk, or a device that is or stands for a NIC."""
        nic = self.info.kind in (None, "bond", "team", "vlan", "macvlan")
        return self.port.can.is_shared and self.port.mode != "mirror" and (self.is_trunk or nic)

    @property
    def mtu(self) -> int:
        """Layer-3 bytes the port takes."""
        return self.port.mtu or self.info.mtu


class Finding(NamedTuple):
    """What is wrong with a port, in words that can be acted on. `check` names the rule."""

    port: str
    severity: str
    check: str
    finding: str
    advice: str

    def __str__(self) -> str:
        """Render as one line."""
        return f"port {self.port}: {self.finding}; {self.advice}"

    @property
    def row(self) -> dict[str, str]:
        """The finding as a row of the control interface."""
        return {**self._asdict(), "text": f"{self.severity}: {self}"}


Rule = Callable[[Subject], Iterator[tuple[str, str, str]]]  # severity, finding, advice
RULES: dict[str, Rule] = {}


def audit(seen: Sequence[Subject | Finding | None], *, detects_loops: bool = True) -> list[Finding]:
    """Judge ports as `collect` saw them, worst first; ports see each other, so give all of a bridge."""
    subjects = [one for one in seen if isinstance(one, Subject)]
    found = [one for one in seen if isinstance(one, Finding)]
    found += [
        Finding(subject.port.name, severity, check, finding, advice)
        for subject in subjects
        for check, rule in RULES.items()
        for severity, finding, advice in rule(subject)
    ]
    found += _doubled(subjects)
    if not detects_loops:
        found += _second_uplinks(subjects)
    return sorted(found, key=lambda item: (SEVERITIES.index(item.severity), item.port))


def _rule(function: Rule) -> Rule:
    RULES[function.__name__.strip("_")] = function
    return function


def _command(subject: Subject, *words: object) -> str:
    """Write a command as it is typed; it may have to be said in another namespace."""
    netns = subject.port.place[1]
    text = shlex.join([*(("ip", "netns", "exec", netns) if netns else ()), *map(str, words)])
    return f"`{text}`"


def _set_link(subject: Subject, *words: object) -> str:
    return _command(subject, "ip", "link", "set", "dev", subject.info.name, *words)


def _switch(subject: Subject, feature: str, state: str = "on") -> str:
    return _command(subject, "ethtool", "-K", subject.info.name, feature, state)


# -- frames lost, doubled, in circles


@_rule
def _master(subject: Subject) -> Iterator[tuple[str, str, str]]:
    name, kind = subject.info.master, subject.info.master_kind
    if not name or not subject.port.can.is_shared:  # a tap in a kernel bridge is how that joins this one
        return
    free = _set_link(subject, "nomaster")
    if kind in SWITCHING_MASTERS:
        finding = (
            f"{subject.info.name} is also a port of {name}, a kernel {kind}, which forwards the same frames"
        )
        yield "error", finding, f"take it out: {free}"
    else:
        finding = (
            f"{subject.info.name} belongs to {name} ({kind or 'unknown kind'}), which takes its frames too"
        )
        yield "warning", finding, f"make {name} the device of the port, or take it out: {free}"


@_rule
def _lro(subject: Subject) -> Iterator[tuple[str, str, str]]:
    if subject.port.can.is_shared and "rx-lro" in subject.info.on:
        finding = "large receive offload merges frames that cannot be taken apart again; they are lost"
        yield "error", finding, f"switch it off: {_switch(subject, 'lro', 'off')}"


@_rule
def _gro_list(subject: Subject) -> Iterator[tuple[str, str, str]]:
    if subject.port.can.is_shared and "rx-gro-list" in subject.info.on:
        finding = (
            "frame lists (rx-gro-list) are merged without saying where their checksums are; they are lost"
        )
        yield "error", finding, f"switch it off: {_switch(subject, 'rx-gro-list', 'off')}"


@_rule
def _macvlan(subject: Subject) -> Iterator[tuple[str, str, str]]:
    mode = subject.info.mode
    if subject.port.can.is_shared and subject.info.kind == "macvlan" and mode not in ("", "passthru"):
        finding = (
            f"a macvlan in mode {mode} receives only what is sent to its own address, to groups and to all: "
            "frames to stations behind other ports are lost"
        )
        yield "error", finding, "make it again with mode passthru, or bridge the device it is made on"


@_rule
def _promiscuous(subject: Subject) -> Iterator[tuple[str, str, str]]:
    if subject.port.can.is_shared and subject.attached and subject.info.promiscuity == 0:
        finding = "the device is not promiscuous: it drops frames to stations behind other ports"
        yield "error", finding, _set_link(subject, "promisc", "on")


@_rule
def _queue(subject: Subject) -> Iterator[tuple[str, str, str]]:
    length, is_ours = subject.info.queue_len, subject.port.can.reads_queue
    advice = _set_link(subject, "txqueuelen", 1000)
    if is_ours and length == 0:
        yield "error", "the queue of the tap has no room (txqueuelen 0): nothing reaches the bridge", advice
    elif is_ours and length < QUEUE_MIN:
        yield (
            "warning",
            f"the queue of the tap takes {length} frames; what exceeds that in a burst is lost",
            advice,
        )
    elif subject.info.kind is None and length == 0:
        yield "warning", "the NIC has no queue (txqueuelen 0): bursts are lost", advice


# -- super-frames of kinds that cannot cross a port


@_rule
def _refused(subject: Subject) -> Iterator[tuple[str, str, str]]:
    if subject.refused:
        finding = (
            "super-frames came in that the kernel cannot hand over: SCTP segmentation, or UFO; they are lost, and "
            "counted as rx_refused"
        )
        veth = "where they are made, at the far end of the veth: `ethtool -K DEVICE tx-sctp-segmentation off`"
        tap = "have the guest offered neither: `host_ufo=off` for its virtio-net-pci device in QEMU"
        sender = "where they are made: `ethtool -K DEVICE tx-sctp-segmentation off`"
        yield "warning", finding, {"veth": veth, "tun": tap}.get(subject.info.kind or "", sender)


@_rule
def _uncut(subject: Subject) -> Iterator[tuple[str, str, str]]:
    if subject.uncut:
        finding = (
            "super-frames to this port were dropped as gso_unsupported: they are in a tunnel that does not tell how "
            "to cut them (GRE with sequence numbers, MPLS, ESP, ...)"
        )
        yield "warning", finding, "where they are made: `ethtool -K DEVICE gso off tso off`"


# -- frames that do not fit


@_rule
def _mtu(subject: Subject) -> Iterator[tuple[str, str, str]]:
    port, info = subject.port, subject.info
    if port.mtu is not None and port.mtu > info.mtu:
        finding = f"the port takes {port.mtu} bytes, its device {info.mtu}: longer frames are dropped on their way out"
        yield "warning", finding, f"{_set_link(subject, 'mtu', port.mtu)}, or mtu = {info.mtu} for the port"


@_rule
def _tag_room(subject: Subject) -> Iterator[tuple[str, str, str]]:
    room = subject.info.mtu - TAG_LEN
    if subject.is_trunk and subject.port.tpid == TPID_8021AD and room < subject.mtu <= subject.info.mtu:
        finding = (
            f"an 802.1ad tag counts against the MTU of the device: of {subject.info.mtu} bytes "
            f"{room} are left, and longer frames are dropped as oversize"
        )
        wider = f"{_set_link(subject, 'mtu', subject.mtu + TAG_LEN)} with mtu = {subject.mtu} for the port"
        yield "warning", finding, f"{wider}, or mtu = {room} on every port of its VLANs"


# -- frames that do not come


@_rule
def _down(subject: Subject) -> Iterator[tuple[str, str, str]]:
    if not subject.info.up and not (subject.port.can.brings_up and not subject.attached):  # it will be set up
        yield "warning", f"{subject.info.name} is down", _set_link(subject, "up")


@_rule
def _carrier(subject: Subject) -> Iterator[tuple[str, str, str]]:
    info = subject.info
    if info.up and not info.carrier and (not subject.port.can.brings_up or subject.attached):
        finding = f"{info.name} has no carrier"
        far = {"veth": "set its peer up", "tap": "start the program that owns the tap"}
        yield "warning", finding, far.get(info.kind or "", "look at the cable and the far end")


@_rule
def _virtual_function(subject: Subject) -> Iterator[tuple[str, str, str]]:
    if subject.info.is_virtual_function:
        finding = (
            "the NIC is an SR-IOV virtual function; its host may refuse promiscuous mode and foreign senders"
        )
        yield "warning", finding, "on the host: `ip link set dev PF vf N trust on spoofchk off`"


@_rule
def _address(subject: Subject) -> Iterator[tuple[str, str, str]]:
    if subject.port.can.is_shared and subject.info.addresses:
        used = ", ".join(subject.info.addresses)
        finding = (
            f"{subject.info.name} carries the address {used}, which stations behind other ports cannot reach"
        )
        yield (
            "warning",
            finding,
            "give the address to a device that is no port, such as a tap on another port's VLAN",
        )


def _doubled(subjects: Sequence[Subject]) -> Iterator[Finding]:
    """Find a VLAN interface beside its parent that carries the same VLAN: every frame would come twice."""
    parents = {(one.port.netns, one.info.index): one for one in subjects if one.port.can.is_shared}
    for child in subjects:
        parent = parents.get((child.port.netns, child.info.parent))
        if child.port.can.is_shared and parent and child.info.vlan in parent.port.outside:
            finding = (
                f"{child.info.name} is VLAN {child.info.vlan} of {parent.info.name}, "
                f"which port {parent.port.name} carries as well: frames come twice"
            )
            advice = f"remove this port, or VLAN {child.info.vlan} from port {parent.port.name}"
            yield Finding(child.port.name, "error", "doubled", finding, advice)


def _second_uplinks(subjects: Sequence[Subject]) -> Iterator[Finding]:
    """Find VLANs that lead to switches by two ports: a loop if these are one LAN, which nobody looks for."""
    uplinks = [one for one in subjects if one.is_uplink and one.port.direction == "both"]
    for n, one in enumerate(uplinks):
        for earlier in uplinks[:n]:
            shared = one.port.members & earlier.port.members
            if shared and not _keeps_apart(one.port, earlier.port):
                finding = (
                    f"VLAN {format_vids(shared)} leads outside by port {earlier.port.name} as well: if both lead into "
                    "one LAN, frames go in circles, and loop detection is off"
                )
                advice = "write [loop_detection] with interval = 1, or give one of the two other VLANs"
                yield Finding(one.port.name, "warning", "second_uplink", finding, advice)
                break


def _keeps_apart(one: PortConfig, other: PortConfig) -> bool:
    return (one.isolated and other.isolated) or one.horizon == other.horizon != 0


# -- cycles


@_rule
def _rx_vlan(subject: Subject) -> Iterator[tuple[str, str, str]]:
    feature = "rx-vlan-stag-hw-parse" if subject.port.tpid == TPID_8021AD else "rx-vlan-hw-parse"
    if subject.is_trunk and feature in subject.info.off:
        finding = (
            "the device leaves tags in the frames: the kernel takes each one out, and may not merge frames"
        )
        short = "rxvlan" if feature == "rx-vlan-hw-parse" else feature
        yield "notice", finding, _switch(subject, short)


@_rule
def _gro(subject: Subject) -> Iterator[tuple[str, str, str]]:
    if subject.info.kind is None and "rx-gro" in subject.info.off:
        finding = "without generic receive offload no super-frames arrive: each segment costs as much as one"
        yield "notice", finding, _switch(subject, "gro")


@_rule
def _rx_checksum(subject: Subject) -> Iterator[tuple[str, str, str]]:
    if "rx-checksum" in subject.info.off:
        yield "notice", "checksums of received frames are verified in software", _switch(subject, "rx")


@_rule
def _tx_checksum(subject: Subject) -> Iterator[tuple[str, str, str]]:
    if CHECKSUMS & subject.info.off and not CHECKSUMS & subject.info.on:
        finding = "the kernel reads every byte sent to finish checksums, and cuts super-frames in software"
        yield "notice", finding, _switch(subject, "tx")


@_rule
def _scatter_gather(subject: Subject) -> Iterator[tuple[str, str, str]]:
    if "tx-scatter-gather" in subject.info.off:
        finding = "without scatter-gather the kernel copies what it sends, and cuts super-frames in software"
        yield "notice", finding, _switch(subject, "sg")


def _cuts(feature: str, short: str, what: str) -> Rule:
    """Make the rule for one kind of segmentation; what a checksum setting switches off is reported there."""

    def rule(subject: Subject) -> Iterator[tuple[str, str, str]]:
        if feature in subject.info.off:
            yield "notice", f"{what} super-frames are cut in software", _switch(subject, short)

    return rule


RULES["tso4"] = _cuts("tx-tcp-segmentation", "tx-tcp-segmentation", "TCP over IPv4")
RULES["tso6"] = _cuts("tx-tcp6-segmentation", "tx-tcp6-segmentation", "TCP over IPv6")
RULES["uso"] = _cuts("tx-udp-segmentation", "tx-udp-segmentation", "UDP")
