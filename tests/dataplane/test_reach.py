"""Where frames of a port may go: hairpin, split horizon, direction (R8, R11, R12)."""

from __future__ import annotations

import pytest
from helpers import frames
from helpers.bridge import Lab, access, trunk

A, B = frames.host(1), frames.host(2)
BROADCAST = frames.ethernet(frames.BROADCAST, A)


# -- hairpin


def test_hairpin_sends_known_unicast_back() -> None:
    lab = Lab(access(10, hairpin=True), access(10))
    lab.learn(0, 2)
    sent = frames.ethernet(B, A)
    assert lab.send(0, sent).data == {0: [sent]}


def test_hairpin_floods_back() -> None:
    lab = Lab(access(10, hairpin=True), access(10))
    unknown = frames.ethernet(B, A)
    assert lab.send(0, BROADCAST, unknown).data == {0: [BROADCAST, unknown], 1: [BROADCAST, unknown]}
    assert lab.send(1, BROADCAST).data == {0: [BROADCAST]}


def test_hairpin_respects_flood_flags_and_vlans() -> None:
    lab = Lab(trunk(10, 20, hairpin=True, flood_broadcast=False), access(10))
    tagged = frames.ethernet(frames.BROADCAST, A, frames.tag(10))
    assert lab.send(0, tagged).data == {1: [BROADCAST]}
    lab.expect_drop(0, frames.ethernet(frames.BROADCAST, A, frames.tag(20)), "no_egress")


def test_hairpin_alone_in_its_vlan() -> None:
    lab = Lab(access(10, hairpin=True), access(20))
    assert lab.send(0, BROADCAST).data == {0: [BROADCAST]}


def test_without_hairpin_nothing_comes_back() -> None:
    lab = Lab(access(10), access(10))
    lab.learn(0, 2)
    lab.expect_drop(0, frames.ethernet(B, A), "same_port")


@pytest.mark.parametrize("options", [{"isolated": True}, {"horizon": 1}])
def test_isolation_is_between_ports(options: dict[str, object]) -> None:
    lab = Lab(access(10, hairpin=True, **options), access(10, **options), access(10))
    assert lab.send(0, BROADCAST).data == {0: [BROADCAST], 2: [BROADCAST]}


# -- split horizon


@pytest.mark.parametrize(
    ("ingress", "egress"),
    [(0, [2, 3, 4, 5]), (1, [2, 3, 4, 5]), (2, [0, 1, 4, 5]), (4, [0, 1, 2, 3, 5]), (5, [0, 1, 2, 3, 4])],
)
def test_split_horizon_groups(ingress: int, egress: list[int]) -> None:
    """Groups 1 and 2, two ports each, and two ports of none: between members of a group nothing passes."""
    lab = Lab(*(access(10, horizon=group) for group in (1, 1, 2, 2, 0, 0)))
    assert sorted(lab.send(ingress, BROADCAST).sent) == egress


def test_split_horizon_of_known_unicast() -> None:
    lab = Lab(access(10, horizon=1), access(10, horizon=1), access(10, horizon=2))
    lab.learn(1, 2)
    lab.learn(2, 3)
    lab.expect_drop(0, frames.ethernet(B, A), "split_horizon")
    assert set(lab.send(0, frames.ethernet(frames.host(3), A)).sent) == {2}


def test_isolated_and_split_horizon_together() -> None:
    """Each forbids what it forbids; the reason is the stricter setting's, isolation."""
    both = {"isolated": True, "horizon": 1}
    lab = Lab(
        access(10, **both), access(10, **both), access(10, isolated=True), access(10, horizon=1), access(10)
    )
    assert set(lab.send(0, BROADCAST).sent) == {4}
    lab.learn(1, 2)
    lab.expect_drop(0, frames.ethernet(B, A), "isolated")


# -- direction


def test_an_egress_only_port_takes_nothing_and_learns_nothing() -> None:
    lab = Lab(access(10, direction="egress"), access(10))
    lab.expect_drop(0, BROADCAST, "egress_only")
    lab.expect_drop(0, b"\xff" * 9, "egress_only")
    assert lab.fdb() == {}
    assert lab.send(1, BROADCAST).data == {0: [BROADCAST]}
    lab.learn(1, 2)
    lab.fdb_set(10, 7, 0)
    assert set(lab.send(1, frames.ethernet(frames.host(7), B)).sent) == {0}


def test_an_egress_only_port_is_billed_for_what_it_drops() -> None:
    lab = Lab(access(10, direction="egress"), access(10), burst=8)
    lab.send(0, *[BROADCAST] * 20)
    (row,) = lab.core.bill().charges
    assert (row.port, row.vid, row.frame_class, row.frames) == (0, 0, "dropped", 20)
    assert row.direct > 0


def test_nothing_is_sent_to_an_ingress_only_port() -> None:
    lab = Lab(access(10), access(10, direction="ingress"), access(10))
    assert set(lab.send(0, BROADCAST).sent) == {2}
    lab.learn(1, 2)
    assert lab.fdb()[10, 2] == (1, "dynamic")
    lab.expect_drop(0, frames.ethernet(B, A), "ingress_only")
    assert set(lab.send(1, BROADCAST).sent) == {0, 2}


def test_direction_changes_live() -> None:
    lab = Lab(access(10), access(10, direction="ingress"))
    lab.expect_drop(0, BROADCAST, "no_egress")
    lab.change(1, direction="both")
    assert set(lab.send(0, BROADCAST).sent) == {1}
    lab.change(1, direction="egress")
    lab.expect_drop(1, BROADCAST, "egress_only")


# -- ports whose index is in another word of a set


def test_reach_of_the_last_ports() -> None:
    """256 ports, groups by index: a set has four words, and every pair of them counts."""
    lab = Lab(*(access(10, horizon=1 + index % 2, hairpin=index == 255) for index in range(256)))
    assert sorted(lab.send(255, BROADCAST).sent) == [*range(0, 256, 2), 255]
    assert sorted(lab.send(64, BROADCAST).sent) == list(range(1, 256, 2))
