"""Members of groups, rules M1 to M16 (docs/multicast.md): the core and what decides for it, on a clock of the test.

A scenario names who got a frame: `b r` are the ports that it came out of.
"""

from __future__ import annotations

import pytest
from helpers import frames
from helpers import memberships as messages
from helpers.group_lab import OWN, GroupLab, access, trunk
from helpers.memberships import ALLOW, BLOCK, IS_IN, TO_EX, TO_IN

from bridge.config.group import GroupConfig
from bridge.config.vlan import VlanConfig
from bridge.core._multicast import read_membership

GROUP, OTHER = "239.1.1.1", "239.2.2.2"
GROUP6 = "ff05::1:1"
A, B, C, R = (frames.host(number) for number in (1, 2, 3, 9))
FROM_A, FROM_A6 = messages.data(A, GROUP), messages.data(A, GROUP6)


def lab(**more: object) -> GroupLab:
    """Three guests, and a router on port r, which is an access port, too; this bridge does not ask."""
    ports = more.pop("ports", [access(name) for name in "abcr"])
    return GroupLab(*ports, **{"querier": False, **more})  # type: ignore[misc,arg-type]


def pruning(**more: object) -> GroupLab:
    """The same, pruning: the router asked, b answered."""
    one = lab(**more)
    one.send("r", messages.query(R, "10.0.0.9", tenths=10), messages.mld_query(R, milliseconds=1000))
    one.send("b", messages.join(B, GROUP), messages.join(B, GROUP6))
    one.wait(3)
    assert one.state() == one.state(family=6) == "pruning"
    return one


# -- M1: states


def test_without_a_querier_everything_is_flooded() -> None:
    """1."""
    one = lab()
    one.send("b", messages.join(B, GROUP))
    assert one.reached("a", FROM_A) == "b c r"
    assert one.state() == "quiet"


def test_pruning_begins_when_the_answers_are_due() -> None:
    """2."""
    one = lab()
    one.send("b", messages.join(B, GROUP))
    one.send("r", messages.query(R, "10.0.0.9", tenths=20))
    assert one.reached("a", FROM_A) == "b c r"
    one.send("b", messages.join(B, GROUP))
    one.wait(2)
    assert one.reached("a", FROM_A) == "b c r"
    one.wait(1)
    assert one.reached("a", FROM_A) == "b r"


def test_a_querier_that_fell_silent_ends_pruning() -> None:
    """3."""
    one = pruning()
    one.wait(250)
    assert one.reached("a", FROM_A) == "b r"
    one.wait(10)
    assert one.reached("a", FROM_A) == "b c r"
    assert [row["vlan"] for row in one.told("multicast-quiet")] == [10, 10]
    one.wait(600)
    assert one.members()[GROUP] == {"b"}, "nothing dies in quiet"


# -- M2: who stays, who leaves


def test_a_member_leaves_after_two_queries_it_did_not_answer() -> None:
    one = pruning()
    for n_left in (1, 0):
        one.send("r", messages.query(R, "10.0.0.9", tenths=10))
        one.wait(3)
        assert len(one.members().get(GROUP, ())) == n_left
    assert one.told("mdb-left")[0] | {"time": 0} == {
        "event": "mdb-left",
        "vlan": 10,
        "port": "b",
        "group": GROUP,
        "reason": "unanswered",
        "time": 0,
    }


def test_an_answer_in_between_keeps_a_member() -> None:
    one = pruning()
    for _ in range(4):
        one.send("r", messages.query(R, "10.0.0.9", tenths=10))
        one.wait(3)
        one.send("r", messages.query(R, "10.0.0.9", tenths=10))
        one.send("b", messages.join(B, GROUP))
        one.wait(3)
    assert one.members()[GROUP] == {"b"}


def test_no_member_leaves_because_another_joined_later() -> None:
    one = pruning()
    one.wait(100)
    one.send("c", messages.join(C, GROUP))
    one.wait(60)
    assert one.members()[GROUP] == {"b", "c"}


def test_queries_in_quick_succession_are_one_round() -> None:
    one = pruning()
    for _ in range(5):
        one.send("r", messages.query(R, "10.0.0.9", tenths=100))
        one.wait(1)
    one.wait(7)
    assert one.members()[GROUP] == {"b"}


# -- M3, M8, M9: reports


@pytest.mark.parametrize("version", [1, 2, 3])
def test_all_versions_join_alike(version: int) -> None:
    """4."""
    one = pruning()
    one.send("c", messages.join(C, OTHER, version), messages.join(C, "ff05::2", max(version, 2)))
    assert one.members()[OTHER] == one.members()["ff05::2"] == {"c"}
    assert one.reached("a", messages.data(A, OTHER)) == "c r"
    assert one.reached("a", messages.data(A, "ff05::2")) == "c r"


def test_records_join_and_leave_without_sources() -> None:
    one = pruning()
    report = messages.v3(
        C,
        [
            (ALLOW, "239.3.0.1", ["10.0.0.7"]),
            (IS_IN, "239.3.0.2", ["10.0.0.7", "10.0.0.8"]),
            (TO_IN, "239.3.0.3", ["10.0.0.7"]),
            (BLOCK, "239.3.0.4", ["10.0.0.7"]),
            (ALLOW, "239.3.0.5", []),
            (99, "239.3.0.6", ["10.0.0.7"]),
            messages.record(TO_EX, "239.3.0.7", ["10.0.0.7"], bytes(8)),
            (TO_EX, "10.1.1.1", []),
            (TO_EX, "224.0.0.9", []),
            (TO_EX, "239.3.0.8", []),
        ],
    )
    one.send("c", report)
    joined = {group for group, ports in one.members().items() if "c" in ports}
    assert joined == {f"239.3.0.{number}" for number in (1, 2, 3, 7, 8)}


def test_a_damaged_report_teaches_nothing_and_is_flooded() -> None:
    """15, 16."""
    one = pruning()
    good = messages.join(C, OTHER)
    bad = good[:40] + bytes([good[40] ^ 1]) + good[41:]
    assert one.reached("c", bad) == "a b r"
    cut = messages.v3(C, [(TO_EX, OTHER, [])])
    assert one.reached("c", cut[:-12]) == "a b r"
    assert OTHER not in one.members()
    assert one.count("c", "igmp_invalid") == 2
    one.send("c", messages.igmp(C, messages.V2, "10.1.1.1", to=GROUP))
    assert set(one.members()) == {GROUP, GROUP6}


def test_a_report_longer_than_a_slot_is_read_whole() -> None:
    one = pruning()
    report = messages.v3(C, [(TO_EX, f"239.9.0.{number}", ["10.0.0.7"]) for number in range(90)])
    assert one.reached("c", report) == "r"
    assert sum(group.startswith("239.9.") for group in one.members()) == 90


# -- M4: what is never pruned


@pytest.mark.parametrize("group", ["224.0.0.18", "224.0.0.5", "224.0.0.251"])
def test_link_local_groups_go_everywhere(group: str) -> None:
    """7."""
    one = pruning(unregistered="routers")
    one.send("b", messages.join(B, group))
    assert one.reached("a", messages.data(A, group)) == "b c r"


@pytest.mark.parametrize("group", ["ff02::12", "ff02::fb", "ff02::1", "ff02::1:ff00:1"])
def test_link_local_groups_of_ipv6_go_everywhere(group: str) -> None:
    """8."""
    one = pruning(unregistered="routers")
    solicitation = messages.ipv6(A, group, b"\x87" + bytes(23), hop_by_hop=b"")
    from_nobody = messages.ipv6(A, group, b"\x87" + bytes(23), hop_by_hop=b"", source="::")
    assert one.reached("a", messages.data(A, group)) == "b c r"
    assert one.reached("a", solicitation) == one.reached("a", from_nobody) == "b c r"


def test_a_group_of_the_same_address_of_ethernet_is_another() -> None:
    """9."""
    one = pruning(unregistered="routers")
    assert one.reached("a", messages.data(A, "238.129.1.1")) == "r"
    assert one.reached("a", FROM_A) == "b r"


def test_what_does_not_go_by_an_ip_group_is_flooded() -> None:
    """10, and the load balancers of trap 4."""
    one = pruning(unregistered="routers")
    foreign = frames.ethernet(messages.mac(GROUP), A)
    balanced = messages.data(A, GROUP, destination=bytes.fromhex("03bf0a000001"))
    unicast = messages.data(A, "10.0.0.77", destination=messages.mac(GROUP))
    assert one.reached("a", foreign) == one.reached("a", balanced) == one.reached("a", unicast) == "b c r"
    assert one.reached("a", messages.data(A, GROUP, destination=frames.BROADCAST)) == "b c r"


def test_what_is_behind_another_tag_is_flooded() -> None:
    one = lab(ports=[trunk(name, 10) for name in "abcr"], unregistered="routers")
    outer = frames.tag(10)
    query, report = messages.query(R, "10.0.0.9", tenths=10), messages.join(B, GROUP)
    one.send("r", query[:12] + outer + query[12:])
    one.send("b", report[:12] + outer + report[12:])
    one.wait(3)
    assert one.reached("a", FROM_A[:12] + outer + FROM_A[12:]) == "b r"
    assert one.reached("a", FROM_A[:12] + outer + frames.tag(7) + FROM_A[12:]) == "b c r"


def test_groups_that_the_configuration_floods() -> None:
    one = pruning(unregistered="routers", always_flood=("224.0.1.129", "01:00:5e:02:02:02"))
    assert one.reached("a", messages.data(A, "224.0.1.129")) == "b c r"
    assert one.reached("a", messages.data(A, OTHER)) == "b c r"
    assert one.reached("a", messages.data(A, "239.2.2.3")) == "r"


def test_a_tunnel_port_gets_and_gives_everything() -> None:
    one = pruning(ports=[*[access(name) for name in "abr"], access("c", mode="tunnel")])
    assert one.reached("a", FROM_A) == "b c r"
    assert one.reached("c", messages.data(C, GROUP)) == "a b r"
    one.send("c", messages.join(C, OTHER))
    assert OTHER not in one.members()


# -- M5: unregistered groups


def test_unregistered_groups_are_flooded_or_go_to_routers() -> None:
    assert pruning().reached("a", messages.data(A, OTHER)) == "b c r"
    one = pruning(unregistered="routers")
    assert one.reached("a", messages.data(A, OTHER)) == "r"
    assert one.reached("r", messages.data(R, OTHER)) == ""
    assert one.drops("r") == {"no_member": 1}
    assert one.reached("a", messages.data(A, OTHER, port=5405)) == "b c r", "a heartbeat is flooded"


# -- M6: routers


def test_a_query_from_nobody_makes_no_router() -> None:
    """12."""
    one = lab()
    one.send("c", messages.query(C, "0.0.0.0", tenths=10))
    one.send("b", messages.join(B, GROUP))
    one.wait(3)
    assert one.reached("a", FROM_A) == "b"
    assert one.reached("b", messages.join(B, GROUP)) == "c"


def test_hellos_make_a_router() -> None:
    """13."""
    one = pruning()
    one.send("c", messages.pim_hello(C, 20))
    assert one.reached("a", FROM_A) == "b c r"
    one.wait(21)
    assert one.reached("a", FROM_A) == "b r"
    one.send("c", messages.mrd(C))
    assert one.reached("a", FROM_A) == "b c r"
    one.send("c", messages.pim_hello(C, 0))
    assert one.reached("a", FROM_A) == "b r"


def test_a_port_that_is_no_router_teaches_nothing() -> None:
    """14."""
    one = lab(ports=[access("a"), access("b"), access("c", multicast_router="never"), access("r")])
    assert one.reached("c", messages.query(C, "10.0.0.1"), messages.pim_hello(C), messages.mrd(C)) == ""
    assert one.drops("c") == {"multicast_guard": 3}
    assert one.state() == "quiet"
    assert one.members("router") == {}


def test_a_port_that_is_always_a_router() -> None:
    one = pruning(ports=[access("a"), access("b"), access("c", multicast_router="always"), access("r")])
    assert one.reached("a", FROM_A) == "b c r"
    assert one.reached("b", messages.join(B, GROUP)) == "c r"


# -- M7: where reports go


def test_reports_go_to_routers_alone() -> None:
    """5."""
    one = pruning()
    assert (
        one.reached("b", messages.join(B, GROUP), messages.join(B, GROUP, 3), messages.leave(B, GROUP)) == "r"
    )


def test_without_a_router_reports_go_to_trunks_and_never_to_hosts() -> None:
    """6."""
    one = lab(ports=[access("a"), access("b"), trunk("t", 10)])
    assert one.reached("a", messages.join(A, GROUP)) == "t"
    bare = lab(ports=[access("a"), access("b")])
    assert bare.reached("a", messages.join(A, GROUP)) == ""
    assert bare.drops("a") == {"no_member": 1}


# -- M10: leaving


def test_a_leave_is_asked_about_twice_where_this_bridge_is_the_querier() -> None:
    """20."""
    one = GroupLab(*[access(name) for name in "abc"])
    one.send("b", messages.join(B, GROUP))
    one.wait(12)
    assert one.state() == "pruning"
    one.asked.clear()
    one.send("b", messages.leave(B, GROUP, 3))
    one.wait(1)
    asked = [(port, read_membership(frame).group) for port, frame in one.asked]
    assert asked == [("b", bytes([239, 1, 1, 1]))] * 2
    assert one.members()[GROUP] == {"b"}
    one.wait(4)
    assert one.members() == {}


def test_a_leave_of_one_of_two_hosts_changes_nothing() -> None:
    """21."""
    one = GroupLab(*[access(name) for name in "abc"])
    one.send("b", messages.join(B, GROUP))
    one.wait(12)
    one.send("b", messages.leave(B, GROUP))
    one.send("b", messages.join(frames.host(22), GROUP))
    one.wait(6)
    assert one.members()[GROUP] == {"b"}


def test_a_fast_leave_ends_a_membership_at_once() -> None:
    """22."""
    one = GroupLab(access("a"), access("b", fast_leave=True), access("c"))
    one.send("b", messages.join(B, GROUP))
    one.send("b", messages.leave(B, GROUP))
    assert one.members() == {}
    assert one.told("mdb-left")[0]["reason"] == "leave"


def test_a_leave_waits_for_the_querier() -> None:
    one = pruning()
    one.asked.clear()
    one.send("b", messages.leave(B, GROUP))
    one.wait(6)
    assert one.members()[GROUP] == {"b"}
    assert one.asked == []
    for _ in range(2):
        one.send("r", messages.query(R, "10.0.0.9", tenths=10, group=GROUP))
        one.wait(1)
    one.wait(3)
    assert GROUP not in one.members()


def test_leaves_do_not_count_beside_a_version_1_reporter() -> None:
    one = GroupLab(access("a"), access("b", fast_leave=True), access("c"))
    one.send("b", messages.join(B, GROUP, 1))
    one.send("b", messages.leave(frames.host(22), GROUP))
    assert one.members()[GROUP] == {"b"}


# -- M11: the querier


def test_the_querier_asks_at_start_after_31_seconds_and_then_each_interval() -> None:
    one = GroupLab(access("a"), trunk("t", 10))
    at = []
    for _ in range(300):
        one.asked.clear()
        one.wait(1)
        if any(port == "a" for port, _ in one.asked):
            at.append(round(one.clock.now()))
    assert at == [1, 33, 158, 283]


def test_queries_are_made_as_the_standards_say() -> None:
    one = GroupLab(access("a"), trunk("t", 10))
    one.wait(1)
    ours = {port: [frame for name, frame in one.asked if name == port] for port in "at"}
    igmp, mld = ours["a"]
    found = read_membership(igmp)
    assert (found.kind, found.version, found.is_general, found.time) == ("query", 3, True, 100)
    assert igmp[:6] == messages.mac("224.0.0.1")
    assert (igmp[14 + 1], igmp[14 + 8], igmp[34:38]) == (0xC0, 1, b"\x94\x04\0\0")
    assert messages.checksum(igmp[14:38]) == 0
    found = read_membership(mld)
    assert (found.kind, found.version, found.is_general, found.time) == ("query", 2, True, 100)
    assert found.source == bytes.fromhex("fe80000000000000000000fffe00ff01")
    assert mld[14 + 7] == 1
    assert ours["t"][0] == igmp[:12] + frames.tag(10) + igmp[12:]


def test_the_lower_address_asks_and_the_other_comes_back_after_its_silence() -> None:
    """29."""
    one = GroupLab(access("a"), access("r"), querier_address="10.9.0.5")
    one.wait(1)
    one.send("r", messages.query(R, "10.9.0.1"))
    one.asked.clear()
    one.wait(250)
    assert [frame for _, frame in one.asked if frame[12:14] == b"\x08\x00"] == []
    assert one.rows.queriers()[0]["querier"] == "10.9.0.1"
    one.wait(10)
    assert [frame for _, frame in one.asked if frame[12:14] == b"\x08\x00"] != []
    assert one.rows.queriers()[0]["querier"] == "10.9.0.5"


def test_a_higher_address_does_not_silence_the_querier() -> None:
    one = GroupLab(access("a"), access("r"), querier_address="10.9.0.5")
    one.send("r", messages.query(R, "10.9.0.6"))
    assert one.rows.queriers()[0]["querier"] == "10.9.0.5"
    one.send("r", messages.query(R, "0.0.0.0"))
    assert one.rows.queriers()[0]["querier"] == "10.9.0.5"


@pytest.mark.parametrize(("other", "goes_on"), [(OWN + 1, True), (OWN - 1, False)])
def test_of_two_without_an_address_the_lower_mac_goes_on(other: int, goes_on: bool) -> None:
    """30."""
    one = GroupLab(access("a"), access("r"))
    one.wait(1)
    one.send("r", messages.query(other.to_bytes(6, "big"), "0.0.0.0"))
    one.asked.clear()
    one.wait(60)
    assert any(frame[12:14] == b"\x08\x00" for _, frame in one.asked) is goes_on


def test_a_bridge_without_a_querier_yields_to_any() -> None:
    one = pruning()
    assert one.rows.queriers()[0]["querier"] == "10.0.0.9"
    assert one.asked == []


# -- M12, M13: changes


def test_a_port_that_comes_up_gets_everything_until_it_was_asked() -> None:
    """24."""
    one = GroupLab(access("a"), access("b"), access("c"))
    one.send("b", messages.join(B, GROUP))
    one.wait(12)
    assert one.reached("a", FROM_A) == "b"
    one.carrier("b", False)
    assert one.members() == {}
    one.asked.clear()
    one.carrier("b", True)
    assert {port for port, _ in one.asked} == {"b"}
    assert one.reached("a", FROM_A) == "b c", "unregistered, until b reports"
    one.send("c", messages.join(C, GROUP))
    assert one.reached("a", FROM_A) == "b c", "in grace"
    one.wait(12)
    assert one.reached("a", FROM_A) == "c"


def test_grace_lasts_until_the_next_query_where_this_bridge_must_not_ask() -> None:
    one = pruning()
    one.send("c", messages.join(C, GROUP))
    one.carrier("b", False)
    one.carrier("b", True)
    one.wait(60)
    assert one.asked == []
    assert one.reached("a", FROM_A) == "b c r"
    one.send("r", messages.query(R, "10.0.0.9", tenths=10))
    one.send("c", messages.join(C, GROUP))
    one.wait(3)
    assert one.reached("a", FROM_A) == "c r"


def test_a_port_that_joins_a_vlan_is_asked() -> None:
    one = GroupLab(access("a"), access("b"), trunk("t", 20))
    one.send("b", messages.join(B, GROUP))
    one.wait(12)
    one.asked.clear()
    one.change("t", trunk("t", 10, 20))
    assert {port for port, _ in one.asked} == {"t"}
    assert one.reached("a", FROM_A) == "b t"
    one.change("t", trunk("t", 20))
    assert one.reached("a", FROM_A) == "b"


def test_members_leave_with_the_vlan_of_their_port() -> None:
    one = GroupLab(access("a"), trunk("t", 10, 20))
    for vid in (10, 20):
        report = messages.join(B, GROUP)
        one.send("t", report[:12] + frames.tag(vid) + report[12:])
    one.change("t", trunk("t", 20))
    assert {row["vlan"] for row in one.rows.show() if row["state"] == "member"} == {20}


def test_the_port_of_the_querier_lost_is_a_reason_to_ask() -> None:
    one = GroupLab(access("a"), access("r"), querier_address="10.9.0.5")
    one.wait(1)
    one.send("r", messages.query(R, "10.9.0.1"))
    one.asked.clear()
    one.carrier("r", False)
    one.wait(1)
    assert [port for port, frame in one.asked if frame[12:14] == b"\x08\x00"] == ["a"]


def test_a_station_that_moves_has_its_groups_where_it_is_now() -> None:
    one = GroupLab(access("a"), access("b"), access("c"))
    one.send("b", messages.join(B, GROUP))
    one.wait(12)
    one.asked.clear()
    announcement = frames.ethernet(frames.BROADCAST, B, ethertype=0x8035, payload=46)
    one.send("c", announcement)
    assert {port for port, _ in one.asked} == {"c"}
    assert one.reached("a", FROM_A) == "b c"
    one.send("c", messages.join(B, GROUP))
    one.wait(12)
    assert one.reached("a", FROM_A) == "b c"


# -- M14: limits


def test_a_port_over_its_limit_gets_every_group() -> None:
    """26."""
    one = pruning(ports=[access("a"), access("b"), access("c", group_limit=3), access("r")])
    one.send("c", *(messages.join(C, f"239.5.0.{number}") for number in range(4)))
    assert one.reached("a", FROM_A) == "b c r"
    assert sum(group.startswith("239.5.") for group in one.members()) == 3
    assert one.members("limit") == {"*": {"c"}}
    assert one.count("c", "mdb_refused") == 1
    assert [row["reason"] for row in one.told("mdb-limit")] == ["port-limit"]
    one.send("b", messages.join(B, OTHER))
    assert one.reached("a", messages.data(A, "239.5.0.1")) == "c r", "others are pruned as before"


def test_a_port_within_its_limit_again_is_pruned_again() -> None:
    one = pruning(ports=[access("a"), access("b"), access("c", group_limit=1), access("r")])
    one.send("c", messages.join(C, "239.5.0.1"), messages.join(C, "239.5.0.2"))
    for _ in range(2):
        one.send("r", messages.query(R, "10.0.0.9", tenths=10))
        one.send("c", messages.join(C, "239.5.0.1"))
        one.send("b", messages.join(B, GROUP))
        assert one.members("limit") == {"*": {"c"}}
        one.wait(3)
    assert one.members("limit") == {}
    assert one.reached("a", FROM_A) == "b r"


def test_too_many_new_groups_within_a_second_count_as_a_limit() -> None:
    one = pruning()
    one.send("c", *(messages.join(C, f"239.6.0.{number}") for number in range(120)))
    assert sum(group.startswith("239.6.") for group in one.members()) == 100
    assert one.members("limit") == {"*": {"c"}}
    one.wait(1)
    one.send("c", *(messages.join(C, f"239.6.0.{number}") for number in range(120)))
    assert sum(group.startswith("239.6.") for group in one.members()) == 120


def test_where_the_table_is_full_unregistered_groups_are_flooded() -> None:
    """27."""
    one = pruning(mdb_size=4, unregistered="routers")
    one.send("c", *(messages.join(C, f"239.5.0.{number}") for number in range(3)))
    assert one.reached("a", messages.data(A, "239.5.0.2")) == "b c r"
    assert one.reached("a", messages.data(A, "239.5.0.1")) == "c r", "what is known is pruned"
    assert one.rows.queriers()[0]["full"] is True


def test_a_vlan_over_its_limit_floods_what_it_does_not_know() -> None:
    one = pruning(unregistered="routers", vlans=[VlanConfig(10, group_limit=2)])
    one.send("c", messages.join(C, "239.5.0.1"), messages.join(C, "239.5.0.2"))
    assert one.reached("a", messages.data(A, "239.5.0.2")) == "b c r"
    assert one.reached("a", messages.data(A, "239.5.0.1")) == "c r"


def test_what_is_set_by_hand_takes_the_place_of_what_was_learned() -> None:
    one = pruning(mdb_size=2)
    assert set(one.members()) == {GROUP, GROUP6}
    one.snooping.set_group(GroupConfig("239.7.7.7", 10, ("c",)))
    assert one.members("static") == {"239.7.7.7": {"c"}}
    assert len(one.members()) == 1


# -- M15: by hand


def test_ports_by_hand_get_a_group_beside_its_members() -> None:
    one = pruning(groups=[GroupConfig(GROUP, 10, ("c",))])
    assert one.reached("a", FROM_A) == "b c r"
    one.snooping.flush(None, None, None)
    assert one.members("static") == {GROUP: {"c"}}


def test_only_is_the_whole_set_in_every_state() -> None:
    """32."""
    one = lab(groups=[GroupConfig(GROUP, 10, ("c",), only=True)])
    assert one.reached("a", FROM_A) == "c"
    one.send("b", messages.join(B, GROUP))
    assert one.reached("a", FROM_A) == "c"
    one.snooping.remove_group(GroupConfig(GROUP, 10))
    assert one.reached("a", FROM_A) == "b c r"


def test_a_group_of_ethernet_by_hand() -> None:
    mac = "03:00:00:00:00:07"
    one = pruning(groups=[GroupConfig(mac, 10, ("c",))])
    assert one.reached("a", frames.ethernet(frames.group(7), A)) == "c r"
    assert one.reached("a", frames.ethernet(frames.group(8), A)) == "b c r"


def test_a_flush_forgets_members_and_asks() -> None:
    one = GroupLab(access("a"), access("b"), access("c"))
    one.send("b", messages.join(B, GROUP))
    one.wait(12)
    one.asked.clear()
    assert one.snooping.flush(10, None, None) == 1
    one.settle()
    assert {port for port, _ in one.asked} == {"a", "b", "c"}
    assert one.members() == {}
    assert one.reached("a", FROM_A) == "b c"


# -- M16 and the rest of the data plane


def test_vlans_do_not_share_members_and_each_port_gets_its_form() -> None:
    """28."""
    ports = [access("a"), access("b"), trunk("t", 10, 20), access("x", 20), access("y", 20)]
    one = pruning(ports=[*ports, access("r")])
    one.send("t", messages.join(C, GROUP)[:12] + frames.tag(10) + messages.join(C, GROUP)[12:])
    sent = one.send("a", FROM_A)
    assert sent == {"b": [FROM_A], "r": [FROM_A], "t": [FROM_A[:12] + frames.tag(10) + FROM_A[12:]]}
    assert one.reached("x", messages.data(frames.host(5), GROUP)) == "t y"


def test_flags_reach_and_storms_hold_for_members_too() -> None:
    one = pruning(
        ports=[
            access("a", isolated=True),
            access("b", isolated=True),
            access("c", flood_multicast=False),
            access("r"),
        ]
    )
    one.send("c", messages.join(C, GROUP))
    assert one.reached("a", FROM_A) == "r"


def test_known_unicast_and_broadcast_are_as_they_were() -> None:
    one = pruning(unregistered="routers")
    one.send("b", frames.ethernet(frames.BROADCAST, B))
    assert one.reached("a", frames.ethernet(B, A)) == "b"
    assert one.reached("a", frames.ethernet(frames.host(99), A)) == "b c r"
    assert one.reached("a", frames.ethernet(frames.BROADCAST, A)) == "b c r"


def test_a_vlan_may_snoop_when_others_do_not() -> None:
    one = pruning(
        ports=[
            access("a"),
            access("b"),
            access("c"),
            access("r"),
            access("x", 20),
            access("y", 20),
            access("z", 20),
        ],
        snooping="off",
        vlans=[VlanConfig(10, snooping="on")],
    )
    assert one.reached("a", FROM_A) == "b r"
    one.send("y", messages.join(B, GROUP))
    assert one.reached("x", messages.data(A, GROUP)) == "y z"
    assert one.reached("x", messages.join(A, GROUP)) == "y z"


def test_snooping_may_end_and_begin_again() -> None:
    one = pruning()
    one.configure(snooping="off")
    assert one.reached("a", FROM_A) == "b c r"
    assert one.rows.show() == one.rows.queriers() == []
    one.configure(snooping="on", querier=False)
    assert one.members() == {}
    assert one.state() == "quiet"


# -- watch


def test_watch_changes_nothing_and_counts_what_on_would_spare() -> None:
    """47."""
    spared = {}
    for snooping in ("watch", "on"):
        one = lab(snooping=snooping)
        before = one.send("r", messages.query(R, "10.0.0.9", tenths=10))
        assert set(before) == {"a", "b", "c"}
        reached = [one.reached("b", messages.join(B, GROUP))]
        one.wait(3)
        reached += [one.reached("a", FROM_A), one.reached("a", messages.data(A, OTHER))]
        assert reached == (["a c r", "b c r", "b c r"] if snooping == "watch" else ["r", "b r", "b c r"])
        spared[snooping] = [one.count(name, "mcast_spared") for name in "abcr"]
        assert one.count("a", "mcast_pruned") == (snooping == "on")
        assert one.snooping.spared[10][:2] == (2, 3)
    assert spared["watch"] == spared["on"] == [1, 0, 2, 0]


def test_watch_names_who_would_be_starved() -> None:
    one = lab(snooping="watch")
    one.send("b", messages.join(B, GROUP))
    for _ in range(3):
        one.send("r", messages.query(R, "10.0.0.9", tenths=10))
        one.wait(3)
    one.send("a", FROM_A, messages.data(A, OTHER))
    assert [(str(group), port) for _, group, port in one.snooping.hurt] == [(GROUP, one.index["b"])]
    assert {str(group) for _, group in one.snooping.unregistered} == {GROUP, OTHER}


def test_in_watch_a_report_answers_for_those_it_keeps_silent() -> None:
    """Reports are flooded there, so hosts of version 2 do not repeat each other's."""
    one = lab(snooping="watch")
    one.send("b", messages.join(B, GROUP))
    one.send("c", messages.join(C, GROUP))
    for _ in range(4):
        one.send("r", messages.query(R, "10.0.0.9", tenths=10))
        one.send("b", messages.join(B, GROUP))
        one.wait(3)
    assert one.members()[GROUP] == {"b", "c"}


# -- hostile


def test_leaves_and_joins_without_end_are_bounded() -> None:
    one = GroupLab(access("a"), access("b", fast_leave=True), access("c"), slots=4096)
    for _ in range(20):
        one.send("b", *[messages.join(B, GROUP), messages.leave(B, GROUP)] * 50)
    assert len(one.rows.show()) <= 1


def test_state_is_bounded_whatever_is_reported() -> None:
    one = pruning(slots=4096)
    for second in range(6):
        reports = [
            messages.v3(C, [(TO_EX, f"239.{second}.{batch}.{number}", []) for number in range(100)])
            for batch in range(20)
        ]
        one.send("c", *reports)
        one.wait(1)
    assert one.core.counters().ports[one.index["c"]].values["mdb_refused"] > 10_000
    assert sum("c" in ports for ports in one.members().values()) == 256
    assert len(one.told("mdb-limit")) <= 6 * 32
