"""Every scenario on every target that can play it."""

from __future__ import annotations

import pytest
from helpers.net import Net

from conformance import scenario
from conformance.runner import play
from conformance.scenario import Scenario
from conformance.target import Target
from conformance.targets.daemon import LinkTarget, TapTarget
from conformance.targets.linux_bridge import LinuxBridgeTarget
from conformance.targets.memory import MemoryTarget
from conformance.targets.ovs import OvsTarget

SCENARIOS = scenario.load_all()


def scenarios_for(target: type[Target]) -> pytest.MarkDecorator:
    """The scenarios a target has the abilities for."""
    playable = [one for one in SCENARIOS if one.needs <= target.abilities]
    return pytest.mark.parametrize("one", playable, ids=[one.id for one in playable])


@scenarios_for(MemoryTarget)
def test_memory_ports(one: Scenario, net: Net) -> None:
    play(one, MemoryTarget(net, one.ports, one.bridge))


@pytest.mark.root
@scenarios_for(LinkTarget)
def test_links(one: Scenario, net: Net) -> None:
    play(one, LinkTarget(net, one.ports, one.bridge))


@pytest.mark.root
@scenarios_for(TapTarget)
def test_taps(one: Scenario, net: Net) -> None:
    play(one, TapTarget(net, one.ports, one.bridge))


@pytest.mark.root
@scenarios_for(OvsTarget)
def test_open_vswitch(one: Scenario, net: Net) -> None:
    play(one, OvsTarget(net, one.ports, one.bridge))


@pytest.mark.root
@scenarios_for(LinuxBridgeTarget)
def test_linux_bridge(one: Scenario, net: Net) -> None:
    play(one, LinuxBridgeTarget(net, one.ports, one.bridge))
