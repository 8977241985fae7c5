"""All VLANs on all trunks of a bridge of 64 ports, against the model; what a port forgets of many VLANs at once."""

from __future__ import annotations

import pytest
from helpers import frames
from helpers.bridge import Lab, access, trunk

EVERY_VLAN = range(1, 4095)
TRUNKS, GUESTS = 8, 56  # trunks have the indexes 0 to 7, guest n is port 8 + n
SPOTS = (1, 63, 64, 65, 100, 155, 156, 2047, 2048, 4093, 4094)


def large() -> Lab:
    return Lab(
        *[trunk(*EVERY_VLAN) for _ in range(TRUNKS)], *[access(100 + number) for number in range(GUESTS)]
    )


def test_every_vlan_reaches_its_members_and_nobody_else() -> None:
    lab = large()
    for vid in SPOTS:
        sent = lab.send(0, frames.ethernet(frames.BROADCAST, frames.host(1), frames.tag(vid))).sent
        members = {*range(1, TRUNKS)} | ({TRUNKS + vid - 100} if 100 <= vid < 100 + GUESTS else set())
        assert set(sent) == members, vid
    assert len(lab.fdb()) == len(SPOTS)  # one address, an entry in each VLAN


def test_a_reply_in_each_vlan_goes_to_one_port() -> None:
    lab = large()
    for vid in SPOTS:
        lab.send(3, frames.ethernet(frames.BROADCAST, frames.host(1), frames.tag(vid)))
        assert set(lab.send(0, frames.ethernet(frames.host(1), frames.host(2), frames.tag(vid))).sent) == {3}


@pytest.mark.parametrize("vids", [(), (10,), (10, 30), (4094,), tuple(EVERY_VLAN)])
def test_a_port_forgets_what_it_knew_of_many_vlans_and_nothing_else(vids: tuple[int, ...]) -> None:
    lab = Lab(trunk(10, 20, 30), trunk(10, 20, 30))
    core = lab.core
    entries = {
        (vid, station, port, kind)
        for vid in (10, 20, 30)
        for station, port, kind in ((1, 0, "dynamic"), (2, 1, "dynamic"), (3, 0, "static"), (4, 0, "sticky"))
    }
    assert all(core.fdb_set_many((vid, 0x020000000000 + n, port, kind) for vid, n, port, kind in entries))
    core.fdb_forget(0, vids)
    kept = {entry for entry in entries if entry[2] == 1 or entry[3] == "static" or entry[0] not in vids}
    assert {(e.vid, e.mac & 0xFF, e.port, e.kind) for e in core.fdb_entries()} == kept


def test_the_table_comes_sorted() -> None:
    lab = Lab(trunk(*EVERY_VLAN), access(10))
    macs = [
        (vid, 0x020000000000 + (vid * 7919 + n * 104729) % 65536, 0, "dynamic")
        for vid in SPOTS
        for n in range(50)
    ]
    assert all(lab.core.fdb_set_many(macs))
    listed = [(entry.vid, entry.mac) for entry in lab.core.fdb_entries()]
    assert listed == sorted({(vid, mac) for vid, mac, _, _ in macs})


@pytest.mark.parametrize("vid", [0, 4095])
def test_forgetting_refuses_what_is_no_vlan(vid: int) -> None:
    with pytest.raises(ValueError, match="VID must be 1"):
        Lab(access(10)).core.fdb_forget(0, (vid,))
