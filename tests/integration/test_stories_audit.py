"""The audit on real devices: what ethtool and ip do to a veth or tap is found, told once, and gone when undone."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import frames
from helpers.daemon import Daemon, link, run_command, tap
from helpers.net import HERE, Namespace, Net

from bridge.lab.netns import find_index

pytestmark = pytest.mark.root

Start = Callable[..., Daemon]


def ethtool(space: Namespace, device: str, *words: str) -> None:
    """Change features as an administrator does."""
    space.run(subprocess.run, ["ethtool", "-K", device, *words], check=True, capture_output=True)


def found(bridge: Daemon) -> dict[str, list[str]]:
    """Checks that found something, by port."""
    result: dict[str, list[str]] = {}
    for row in bridge.ask("PortAudit"):
        result.setdefault(row["port"], []).append(row["check"])
    return result


@pytest.fixture
def middle(net: Net) -> Namespace:
    """A namespace with `eth1`, one end of a veth pair."""
    space, outside = net.namespace(), net.namespace()
    net.veth("eth1", "eth0", space, outside)
    return space


@pytest.fixture
def bridge(middle: Namespace, start: Start) -> Daemon:
    return start(middle, link("uplink", "eth1", trunk=[10, 20]), tap("guests", middle, access=10))


def test_sound_devices_are_left_in_peace(bridge: Daemon) -> None:
    assert found(bridge) == {}
    status, out, err = bridge.cli("port", "audit")
    assert (status, out) == (0, "")
    assert err == "nothing found that would hurt\n"
    assert "WARNING" not in bridge.log


@pytest.mark.parametrize(
    ("switched", "checks"),
    [
        (["rxvlan", "off"], ["rx_vlan"]),
        (["rx", "off"], ["rx_checksum"]),
        (["tx", "off"], ["tx_checksum"]),
        (["sg", "off"], ["scatter_gather"]),
        (["tso", "off"], ["tso4", "tso6"]),
        (["tx-udp-segmentation", "off"], ["uso"]),
        (["gro", "on"], []),
    ],
    ids=["rxvlan", "rx", "tx", "sg", "tso", "uso", "gro"],
)
def test_offloads_switched_off_are_found(
    middle: Namespace, bridge: Daemon, switched: list[str], checks: list[str]
) -> None:
    ethtool(middle, "eth1", *switched)
    assert found(bridge).get("uplink", []) == checks
    assert {row["severity"] for row in bridge.ask("PortAudit")} <= {"notice"}


@pytest.mark.parametrize("device", ["eth1", "tap0"])
def test_the_advice_taken_ends_the_finding(middle: Namespace, bridge: Daemon, device: str) -> None:
    ethtool(middle, device, "tso", "off")
    while rows := bridge.ask("PortAudit"):
        command = rows[0]["advice"].strip("`")
        middle.run(subprocess.run, command.split(), check=True, capture_output=True)
        assert rows[0] not in bridge.ask("PortAudit")


def test_a_link_that_a_kernel_bridge_takes_too(middle: Namespace, bridge: Daemon) -> None:
    def enslave(ipr: Any) -> None:
        ipr.link("add", ifname="br0", kind="bridge")
        ipr.link("set", index=find_index(ipr, "eth1"), master=find_index(ipr, "br0"))

    middle.netlink(enslave)
    (row,) = bridge.rows("port", "audit", "uplink")
    assert (row["severity"], row["check"]) == ("error", "master")
    assert "eth1 is also a port of br0, a kernel bridge" in row["finding"]
    assert bridge.ask("PortAudit", port="guests") == []


def test_an_802_1ad_trunk_loses_its_longest_frames_as_the_audit_says(
    net: Net, middle: Namespace, start: Start
) -> None:
    trunk = link("uplink", "eth1", trunk=[10], tpid=frames.TPID_AD)
    bridge = start(middle, trunk, tap("guests", middle, access=10))
    bridge.wait_log("of 1500 bytes 1496 are left")
    guest = net.packet_socket("tap0", middle)
    for size in (1496, 1497, 1500):
        guest.send(frames.sized(frames.BROADCAST, frames.host(1), size))
    bridge.wait(lambda: bridge.drops().get(("uplink", "tx", "oversize")) == 2, "two frames too long")
    assert found(bridge) == {"uplink": ["tag_room"]}

    middle.set_link("eth1", mtu=1504)
    bridge.rows("port", "set", "uplink", "mtu", "1500")
    assert found(bridge) == {}
    guest.send(frames.sized(frames.BROADCAST, frames.host(1), 1500))
    bridge.wait(lambda: bridge.port("uplink")["tx_frames"] == 2, "the longest frame to leave")


def test_a_tap_whose_queue_has_no_room(net: Net, middle: Namespace, bridge: Daemon) -> None:
    middle.set_link("tap0", txqlen=0)
    assert found(bridge) == {"guests": ["queue"]}
    guest = net.packet_socket("tap0", middle)
    guest.send(frames.ethernet(frames.BROADCAST, frames.host(1)))
    middle.set_link("tap0", txqlen=10)
    assert found(bridge) == {"guests": ["queue"]}
    guest.send(frames.ethernet(frames.BROADCAST, frames.host(2)))
    bridge.wait(lambda: bridge.fdb(), "the second frame")
    assert [mac for _, mac in bridge.fdb()] == ["02:00:00:00:00:02"]


def test_addresses_mtu_and_carrier(middle: Namespace, bridge: Daemon) -> None:
    middle.add_address("eth1", "192.0.2.1", 24)
    bridge.rows("port", "set", "uplink", "mtu", "9000")
    assert found(bridge) == {"uplink": ["mtu", "address"]}
    middle.set_link("eth1", state="down")
    assert found(bridge) == {"uplink": ["mtu", "down", "address"]}


def test_a_finding_is_told_once_as_long_as_it_lasts_and_again_when_it_returns(
    middle: Namespace, bridge: Daemon
) -> None:
    def told() -> int:
        return bridge.log.count("takes 9000 bytes, its device 1500")

    for times in (1, 2):
        bridge.rows("port", "set", "uplink", "mtu", "9000")
        bridge.wait(lambda times=times: told() == times, "the finding in the log")
        bridge.rows("port", "set", "uplink", "isolated", "on")
        bridge.rows("port", "set", "uplink", "isolated", "off", "mtu", "1400")
        bridge.rows("port", "set", "guests", "mtu", "9000")
        bridge.wait(lambda: middle.link("tap0")["mtu"] == 9000, "the mtu of the tap")
        middle.set_link("tap0", mtu=1300 + times)
        pattern = f"takes 9000 bytes, its device {1300 + times}"
        bridge.wait(lambda pattern=pattern: pattern in bridge.log, "a later audit")
        assert told() == times
        bridge.rows("port", "set", "guests", "mtu", "default")


def test_check_tells_findings_with_and_without_a_daemon(
    middle: Namespace, bridge: Daemon, directory: Path
) -> None:
    ethtool(middle, "eth1", "tso", "off")
    finding = "notice: port uplink: TCP over IPv4 super-frames are cut in software; `ethtool -K eth1"
    asked = bridge.cli("check", str(bridge.file))
    assert asked.status == 0
    assert finding in asked.out

    alone = directory / "alone.toml"
    alone.write_text(
        f'[bridge]\ncontrol_socket = "{directory}/none.sock"\n' + link("uplink", "eth1", trunk=[10, 20])
    )
    here = run_command("check", str(alone), space=middle)
    assert (here.status, here.err) == (0, "")
    assert "open port uplink" in here.out
    assert finding in here.out
    assert HERE.devices() == {"lo"}


def test_a_device_that_is_missing_is_found_before_a_reload_refuses_it_and_when_it_went(
    middle: Namespace, bridge: Daemon, tmp_path: Path
) -> None:
    other = tmp_path / "other.toml"
    bridge.write(
        link("uplink", "eth1", trunk=[10, 20]),
        link("gone", "eth7", access=10),
        tap("guests", middle, device="eth1x", access=10),  # it would be made
    )
    other.write_text(bridge.file.read_text().replace('device = "eth1"', 'device = "eth9"'))
    for file, missing in ((bridge.file, ["gone"]), (other, ["gone", "uplink"])):
        rows = bridge.rows("check", str(file))
        assert [row["port"] for row in rows if row.get("check") == "missing"] == missing
    assert "No such device; create the device first" in bridge.refused("reload")

    middle.delete_link("eth1")
    bridge.wait_state("uplink", "missing")
    (row,) = bridge.rows("port", "audit", "uplink")
    assert (row["severity"], row["check"]) == ("error", "missing")
    assert row["finding"] == "its device 'eth1' is gone"


@pytest.mark.parametrize(("mode", "checks"), [("bridge", ["macvlan"]), ("passthru", [])])
def test_a_macvlan_has_to_pass_all_through(
    middle: Namespace, start: Start, mode: str, checks: list[str]
) -> None:
    words = f"ip link add link eth1 name mac0 up type macvlan mode {mode}".split()
    middle.run(subprocess.run, words, check=True, capture_output=True)
    bridge = start(middle, link("uplink", "mac0", access=10))
    assert found(bridge).get("uplink", []) == checks


def test_a_second_uplink_without_loop_detection_is_told(net: Net, middle: Namespace, start: Start) -> None:
    net.veth("eth2", "eth0", middle, net.namespace())
    ports = link("uplink", "eth1", trunk=[10, 20]), link("second", "eth2", trunk=[20])
    bridge = start(middle, *ports)
    assert found(bridge) == {"uplink": ["second_uplink"]}
    bridge.write(*ports, "[loop_detection]\ninterval = 1")
    bridge.rows("reload")
    assert found(bridge) == {}
