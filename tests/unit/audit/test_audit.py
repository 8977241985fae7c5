"""The rules of the audit over info as values: what each one says, and what a sound port is spared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridge.audit.rules import RULES, SEVERITIES, Finding, Subject, audit
from bridge.config.port import PortConfig
from bridge.devices import inspection as info
from bridge.devices.inspection import DeviceInfo

GOOD = frozenset(
    {"rx-gro", "rx-checksum", "tx-checksum-ip-generic", "tx-scatter-gather", "tx-tcp-segmentation"}
)
NIC = DeviceInfo(7, "eth1", None, mtu=1500, up=True, carrier=True, promiscuity=1, queue_len=1000, on=GOOD)
VETH = replace(NIC, kind="veth")
TAP = replace(NIC, name="tap0", kind="tun")
TRUNK = PortConfig("up", "link", device="eth1", mode="trunk", vids=(10, 20))
ACCESS = PortConfig("up", "link", device="eth1", pvid=10)
SERVICE = replace(TRUNK, tpid=0x88A8)
GUESTS = PortConfig("guests", "tap", device="tap0", pvid=10)


def found(port: PortConfig, seen: DeviceInfo, attached: bool = True) -> list[tuple[str, str]]:
    return [(item.severity, item.check) for item in audit([Subject(port, seen, attached)])]


def off(*features: str, of: DeviceInfo = NIC) -> DeviceInfo:
    return replace(of, on=of.on - {*features}, off=frozenset(features))


@pytest.mark.parametrize("port", [TRUNK, ACCESS, replace(TRUNK, mtu=1500), replace(SERVICE, mtu=1496)])
@pytest.mark.parametrize("info", [NIC, VETH])
def test_a_sound_link_is_left_in_peace(port: PortConfig, info: DeviceInfo) -> None:
    assert found(port, info) == []


CASES = [
    (TRUNK, replace(NIC, master="br0", master_kind="bridge"), "error", "master"),
    (TRUNK, replace(NIC, master="ovs-system", master_kind="openvswitch"), "error", "master"),
    (TRUNK, replace(NIC, master="bond0", master_kind="bond"), "warning", "master"),
    (TRUNK, replace(NIC, on=GOOD | {"rx-lro"}), "error", "lro"),
    (TRUNK, replace(NIC, on=GOOD | {"rx-gro-list"}), "error", "gro_list"),
    (TRUNK, replace(NIC, kind="macvlan", mode="bridge"), "error", "macvlan"),
    (ACCESS, replace(NIC, kind="macvlan", mode="vepa"), "error", "macvlan"),
    (TRUNK, replace(NIC, promiscuity=0), "error", "promiscuous"),
    (GUESTS, replace(TAP, queue_len=0), "error", "queue"),
    (GUESTS, replace(TAP, queue_len=99), "warning", "queue"),
    (TRUNK, replace(NIC, queue_len=0), "warning", "queue"),
    (replace(TRUNK, mtu=9000), NIC, "warning", "mtu"),
    (replace(GUESTS, mtu=9000), TAP, "warning", "mtu"),
    (SERVICE, NIC, "warning", "tag_room"),
    (replace(SERVICE, mtu=1497), NIC, "warning", "tag_room"),
    (TRUNK, replace(NIC, up=False, carrier=False), "warning", "down"),
    (GUESTS, replace(TAP, up=False, carrier=False), "warning", "down"),
    (TRUNK, replace(NIC, carrier=False), "warning", "carrier"),
    (TRUNK, replace(NIC, is_virtual_function=True), "warning", "virtual_function"),
    (TRUNK, replace(NIC, addresses=("192.0.2.1",)), "warning", "address"),
    (TRUNK, off("rx-vlan-hw-parse"), "notice", "rx_vlan"),
    (replace(SERVICE, mtu=1496), off("rx-vlan-stag-hw-parse"), "notice", "rx_vlan"),
    (TRUNK, off("rx-gro"), "notice", "gro"),
    (TRUNK, off("rx-checksum"), "notice", "rx_checksum"),
    (TRUNK, off("tx-checksum-ip-generic"), "notice", "tx_checksum"),
    (TRUNK, off("tx-scatter-gather"), "notice", "scatter_gather"),
    (TRUNK, off("tx-tcp-segmentation"), "notice", "tso4"),
    (TRUNK, off("tx-tcp6-segmentation"), "notice", "tso6"),
    (GUESTS, off("tx-udp-segmentation", of=TAP), "notice", "uso"),
]


@pytest.mark.parametrize(
    ("info", "where"),
    [
        (VETH, "far end of the veth"),
        (replace(VETH, kind="tun"), "host_ufo=off"),
        (NIC, "tx-sctp-segmentation off"),
    ],
)
def test_super_frames_that_cannot_cross_are_named(info: DeviceInfo, where: str) -> None:
    (refused,) = audit([Subject(TRUNK, info, True, refused=True)])
    assert (refused.severity, refused.check) == ("warning", "refused")
    assert "SCTP" in refused.finding
    assert "UFO" in refused.finding
    assert where in refused.advice
    (uncut,) = audit([Subject(TRUNK, info, True, uncut=True)])
    assert (uncut.severity, uncut.check) == ("warning", "uncut")
    assert "ethtool -K DEVICE gso off" in uncut.advice


@pytest.mark.parametrize(("port", "info", "severity", "check"), CASES)
def test_what_hurts_is_found_once_with_a_way_out(
    port: PortConfig, info: DeviceInfo, severity: str, check: str
) -> None:
    (finding,) = audit([Subject(port, info, True)])
    assert (finding.port, finding.severity, finding.check) == (port.name, severity, check)
    assert finding.advice
    assert str(finding) == f"port {port.name}: {finding.finding}; {finding.advice}"
    assert finding.row["text"] == f"{severity}: {finding}"


def test_every_rule_has_a_case() -> None:
    assert {check for *_, check in CASES} | {"refused", "uncut"} == RULES.keys()


@pytest.mark.parametrize(
    ("port", "info", "attached"),
    [
        (TRUNK, replace(NIC, promiscuity=0), False),
        (GUESTS, replace(TAP, up=False, carrier=False), False),
        (GUESTS, replace(TAP, carrier=False), False),
        (GUESTS, replace(TAP, master="br0", master_kind="bridge"), True),
        (GUESTS, replace(TAP, addresses=("192.0.2.1",)), True),
        (TRUNK, replace(VETH, queue_len=0), True),
        (TRUNK, off("rx-gro", of=VETH), True),
        (ACCESS, off("rx-vlan-hw-parse"), True),
        (TRUNK, off("rx-vlan-stag-hw-parse"), True),
        (TRUNK, off("tx-checksum-ipv6"), True),
        (replace(SERVICE, mtu=1500), replace(NIC, mtu=1504), True),
        (replace(ACCESS, tpid=0x88A8), NIC, True),
        (TRUNK, replace(NIC, kind="macvlan", mode="passthru"), True),
    ],
    ids=[
        "promiscuous before it is attached",
        "a tap that will be set up",
        "a tap nobody has attached to yet",
        "a tap in a kernel bridge, which joins that LAN",
        "a guest's address on its side of the tap",
        "a veth, which needs no queue",
        "a veth, where super-frames come from the peer",
        "an access port, which takes no tags",
        "the tag of the other protocol",
        "one checksum of several",
        "room for the 802.1ad tag",
        "an access port sends no tag",
        "a macvlan that passes all through",
    ],
)
def test_what_does_not_hurt_is_not_told(port: PortConfig, info: DeviceInfo, attached: bool) -> None:
    assert found(port, info, attached) == []


def test_a_vlan_interface_beside_a_trunk_that_carries_its_vlan() -> None:
    child = replace(NIC, index=9, name="eth1.10", kind="vlan", parent=7, vlan=10)
    port = PortConfig("ten", "link", device="eth1.10", pvid=1)
    (finding,) = audit([Subject(TRUNK, NIC, True), Subject(port, child, True)])
    assert finding[:3] == ("ten", "error", "doubled")
    assert "VLAN 10 of eth1, which port up carries as well" in finding.finding

    elsewhere = replace(TRUNK, netns="other")
    for parent in (replace(TRUNK, vids=(20,)), elsewhere):
        assert audit([Subject(parent, NIC, True), Subject(port, child, True)]) == []


def test_commands_are_said_in_the_namespace_of_the_device() -> None:
    port = replace(TRUNK, netns="dmz")
    (finding,) = audit([Subject(port, off("tx-tcp-segmentation"), True)])
    assert finding.advice == "`ip netns exec dmz ethtool -K eth1 tx-tcp-segmentation on`"


def test_the_worst_comes_first() -> None:
    bad = replace(off("rx-gro"), master="br0", master_kind="bridge", carrier=False)
    severities = [item.severity for item in audit([Subject(TRUNK, bad, True), Subject(SERVICE, NIC, True)])]
    assert severities == sorted(severities, key=SEVERITIES.index)
    assert {*severities} == {*SEVERITIES}


def test_a_finding_is_a_value() -> None:
    subject = Subject(SERVICE, NIC, True)
    assert audit([subject]) == audit([subject])
    assert isinstance(audit([subject])[0], Finding)


def test_a_virtual_function_is_known_by_its_bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(info, "BUS_DEVICES", f"{tmp_path}/{{bus}}/{{name}}")
    for name in ("pf", "vf"):
        (tmp_path / "pci" / name).mkdir(parents=True)
    (tmp_path / "pci" / "vf" / "physfn").symlink_to("../pf")
    devices = [{"parent_dev_bus_name": "pci", "parent_dev_name": name} for name in ("pf", "vf")]
    assert [info.is_virtual_function(device) for device in [*devices, {}]] == [False, True, False]


SECOND = replace(TRUNK, name="up2", device="eth2", vids=(20, 30))


@pytest.mark.parametrize(
    ("one", "other", "device"),
    [
        (TRUNK, SECOND, NIC),
        (TRUNK, SECOND, VETH),
        (replace(ACCESS, pvid=20), replace(ACCESS, name="up2", device="eth2", pvid=20), NIC),
        (TRUNK, replace(SECOND, isolated=True), NIC),
    ],
    ids=["NICs", "trunks on veths", "access ports on NICs", "one isolated"],
)
def test_two_ways_out_of_a_vlan_want_loop_detection(
    one: PortConfig, other: PortConfig, device: DeviceInfo
) -> None:
    subjects = [Subject(one, device, True), Subject(other, replace(device, index=8, name="eth2"), True)]
    (finding,) = audit(subjects, detects_loops=False)
    assert finding[:3] == ("up2", "warning", "second_uplink")
    assert "VLAN 20 leads outside by port up as well" in finding.finding
    assert audit(subjects, detects_loops=True) == []


@pytest.mark.parametrize(
    ("one", "other", "device"),
    [
        (TRUNK, replace(SECOND, vids=(30,)), NIC),
        (replace(TRUNK, isolated=True), replace(SECOND, isolated=True), NIC),
        (replace(TRUNK, horizon=1), replace(SECOND, horizon=1), NIC),
        (TRUNK, replace(SECOND, direction="egress"), NIC),
        (TRUNK, replace(ACCESS, name="guest", device="eth2"), VETH),
    ],
    ids=["other VLANs", "both isolated", "one horizon", "one way only", "a guest's veth"],
)
def test_where_nothing_can_go_in_circles(one: PortConfig, other: PortConfig, device: DeviceInfo) -> None:
    subjects = [Subject(one, device, True), Subject(other, replace(device, index=8, name="eth2"), True)]
    assert audit(subjects, detects_loops=False) == []


class Kernel:
    """Links by index, as rtnetlink gives them."""

    def __init__(self, *links: dict[Any, Any]) -> None:
        self._links = [Message(link) for link in links]

    def link(self, command: str, **wanted: int) -> list[Message]:
        (name, value), *_ = wanted.items()
        return [link for link in self._links if command == "dump" or link[name] == value]


class Message(dict[Any, Any]):
    """A link: attributes by name, or by path."""


@pytest.mark.parametrize(
    ("below", "at_work"),
    [((), set()), (("rx-gro",), set()), (("rx-lro",), {"rx-lro"}), (("rx-gro-list", "x"), {"rx-gro-list"})],
)
@pytest.mark.parametrize("device", ["bond0", "bond0.5", "macvlan0"])
def test_members_say_what_merges_frames(
    monkeypatch: pytest.MonkeyPatch, below: tuple[str, ...], at_work: set[str], device: str
) -> None:
    """A bond says of itself that large receive offload is on, also where its members have it off."""
    kind = ("linkinfo", "kind")
    links = [
        {"index": 1, "ifname": "eth0", "master": 9},
        {"index": 2, "ifname": "eth1", "master": 9},
        {"index": 3, "ifname": "eth2"},
        {"index": 9, "ifname": "bond0", kind: "bond"},
        {"index": 10, "ifname": "bond0.5", kind: "vlan", "link": 9},
        {"index": 11, "ifname": "macvlan0", kind: "macvlan", "link": 10},
    ]
    features = {
        "eth1": below,
        "eth2": ("rx-lro",),
        "bond0": ("rx-lro",),
        "bond0.5": ("rx-lro", "rx-gro-list"),
    }
    monkeypatch.setattr(info, "_read_features", lambda name: (frozenset(features.get(name, ())), frozenset()))
    (message,) = [Message(link) for link in links if link["ifname"] == device]

    assert info._read_merging(Kernel(*links), message) == at_work  # type: ignore[arg-type]
