"""R9 under the two policies that keep an entry where it is: vrrp_aware and local_first."""

from __future__ import annotations

import pytest
from helpers import frames, router_frames
from helpers.bridge import Lab, access, trunk, tunnel
from helpers.router_frames import OF_ACTIVE, OF_BACKUPS, VIRTUAL, VIRTUAL_6

GROUPS = {
    "VRRP": VIRTUAL,
    "VRRP on IPv6": VIRTUAL_6,
    "HSRP": bytes.fromhex("00000c07ac01"),
    "HSRP version 2": bytes.fromhex("00000c9ff001"),
    "HSRP on IPv6": bytes.fromhex("000573a00001"),
    "GLBP": bytes.fromhex("0007b4000101"),
}


def place(lab: Lab, address: bytes = VIRTUAL) -> int:
    """The port that has the address."""
    entry = lab.core.fdb_find(10, frames.number(address))
    assert entry is not None
    return entry.port


def active_and_backup(**config: object) -> Lab:
    """Port 0 has the active router, port 1 a backup, port 2 listens."""
    lab = Lab(access(10), access(10), access(10), **config)
    lab.send(0, OF_ACTIVE["VRRP advertisement"](frames.group(18), VIRTUAL))
    lab.events()
    return lab


@pytest.mark.parametrize("what", OF_BACKUPS)
def test_what_a_backup_emits_moves_nothing_and_is_forwarded(what: str) -> None:
    lab = active_and_backup(vrrp_aware=True)
    assert set(lab.send(1, OF_BACKUPS[what](frames.group(22), VIRTUAL)).sent) == {0, 2}
    assert place(lab) == 0
    assert lab.values(1)["backup_ignored"] == 1
    assert [event[0] for event in lab.events()] == ["backup_ignored"]


@pytest.mark.parametrize("what", OF_ACTIVE)
def test_what_an_active_router_emits_moves_its_address_at_once(what: str) -> None:
    lab = active_and_backup(vrrp_aware=True)
    for turn in range(4):
        lab.send(1 - turn % 2, OF_ACTIVE[what](frames.group(18), VIRTUAL))
        assert place(lab) == 1 - turn % 2


@pytest.mark.parametrize("what", [*OF_BACKUPS, *OF_ACTIVE])
def test_by_default_every_frame_moves_it(what: str) -> None:
    lab = active_and_backup()
    lab.send(1, (OF_BACKUPS | OF_ACTIVE)[what](frames.group(18), VIRTUAL))
    assert place(lab) == 1


@pytest.mark.parametrize("protocol", GROUPS)
def test_every_protocol_with_virtual_addresses(protocol: str) -> None:
    lab = Lab(access(10), access(10), vrrp_aware=True)
    lab.learn(0, 1)
    lab.send(0, OF_ACTIVE["data"](frames.BROADCAST, GROUPS[protocol]))
    lab.send(1, OF_BACKUPS["MLDv2 report"](frames.group(22), GROUPS[protocol]))
    assert place(lab, GROUPS[protocol]) == 0


def test_other_addresses_move_by_any_frame() -> None:
    lab = Lab(access(10), access(10), vrrp_aware=True)
    lab.learn(0, 1)
    lab.send(1, OF_BACKUPS["IGMPv2 report"](frames.group(22), frames.host(1)))
    assert lab.fdb() == {(10, 1): (1, "dynamic")}


@pytest.mark.parametrize("make", router_frames.ALL)
def test_frames_cut_anywhere_are_judged_like_the_model_does(make: router_frames.Make) -> None:
    lab = active_and_backup(vrrp_aware=True)
    whole = make(frames.group(22), VIRTUAL)
    lab.send(1, *(whole[:length] for length in range(14, len(whole))))
    lab.events()


def test_headers_that_point_beyond_the_frame_decide_nothing() -> None:
    lab = active_and_backup(vrrp_aware=True)
    for at, value in ((14, 0x4F), (14, 0x40), (20, 0x3F)):  # IHL; a later fragment
        damaged = bytearray(OF_BACKUPS["IGMPv2 report"](frames.group(22), VIRTUAL))
        damaged[at] = value
        lab.send(1, bytes(damaged))
    far = bytearray(OF_BACKUPS["MLDv2 report"](frames.group(22), VIRTUAL))
    far[55] = 255  # length of the hop-by-hop header
    lab.send(1, bytes(far))
    lab.events()


# -- local_first


def test_a_local_station_stays_when_a_trunk_brings_its_address() -> None:
    lab = Lab(access(10), trunk(10), access(10), local_first=True)
    lab.learn(0, 1)
    lab.events()
    assert set(lab.send(1, frames.ethernet(frames.BROADCAST, frames.host(1), frames.tag(10))).sent) == {0, 2}
    assert lab.fdb() == {(10, 1): (0, "dynamic")}
    assert lab.values(1)["local_kept"] == 1
    assert lab.events() == [("local_kept", 10, 1, 1, -1)]
    assert set(lab.send(2, frames.ethernet(frames.host(1), frames.host(3))).sent) == {0}


def test_of_a_tunnel_port_too() -> None:
    lab = Lab(tunnel(10), trunk(10), local_first=True)
    lab.learn(0, 1)
    lab.learn(1, 1, vid=10)
    assert lab.fdb() == {(10, 1): (0, "dynamic")}


def test_without_the_policy_the_last_frame_wins() -> None:
    lab = Lab(access(10), trunk(10))
    lab.learn(0, 1)
    lab.learn(1, 1, vid=10)
    assert lab.fdb() == {(10, 1): (1, "dynamic")}


def test_between_equals_and_from_a_trunk_to_a_local_port_the_last_frame_wins() -> None:
    lab = Lab(access(10), access(10), trunk(10), trunk(10), local_first=True)
    lab.learn(2, 1, vid=10)
    lab.learn(3, 1, vid=10)
    assert lab.fdb()[10, 1][0] == 3
    lab.learn(0, 1)
    assert lab.fdb()[10, 1][0] == 0
    lab.learn(1, 1)
    assert lab.fdb()[10, 1][0] == 1


def test_an_entry_past_its_age_does_not_stay() -> None:
    lab = Lab(access(10), trunk(10), local_first=True, age_ticks=5)
    lab.learn(0, 1)
    lab.set_tick(5)
    lab.learn(1, 1, vid=10)
    assert lab.fdb()[10, 1][0] == 0
    lab.set_tick(6)
    lab.learn(1, 1, vid=10)
    assert lab.fdb()[10, 1][0] == 1


def test_virtual_addresses_are_exempt() -> None:
    lab = Lab(access(10), trunk(10), local_first=True)
    lab.send(0, OF_ACTIVE["data"](frames.BROADCAST, VIRTUAL))
    lab.send(1, OF_ACTIVE["data"](frames.BROADCAST, VIRTUAL, frames.tag(10)))
    assert place(lab) == 1


# -- learning off in a VLAN


def test_a_vlan_that_does_not_learn_floods_and_leaves_others_alone() -> None:
    lab = Lab(trunk(10, 20), trunk(10, 20), vlans_not_learning=frozenset({10}))
    lab.learn(0, 1, vid=10)
    lab.learn(0, 1, vid=20)
    assert lab.fdb().keys() == {(20, 1)}


def test_a_vlan_that_does_not_learn_honours_entries_by_hand_and_refreshes_nothing() -> None:
    lab = Lab(access(10), access(10), access(10))
    lab.learn(0, 1)
    lab.fdb_set(10, 2, 0, "static")
    lab.fdb_set(10, 3, -1, "drop")
    lab.change_bridge(vlans_not_learning=frozenset({10}))
    lab.set_tick(5)
    lab.learn(0, 1)
    assert lab.fdb_expire(4) == 1
    lab.expect_drop(1, frames.ethernet(frames.BROADCAST, frames.host(2)), "static_move")
    lab.expect_drop(1, frames.ethernet(frames.BROADCAST, frames.host(3)), "fdb_drop")
