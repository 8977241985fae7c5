"""Every scenario on every target that can play it."""

from __future__ import annotations

from collections.abc import Callable

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


def played_on(target: type[Target]) -> Callable[..., None]:
    """A test of a target with every scenario it has the abilities for."""
    playable = [one for one in SCENARIOS if one.needs <= target.abilities]

    @pytest.mark.parametrize("one", playable, ids=[one.id for one in playable])
    def test(one: Scenario, net: Net) -> None:
        play(one, target(net, one.ports, one.bridge, one.vlans))

    return test


test_memory_ports = played_on(MemoryTarget)
test_links = pytest.mark.root(pytest.mark.slow(played_on(LinkTarget)))
test_taps = pytest.mark.root(pytest.mark.slow(played_on(TapTarget)))
test_open_vswitch = pytest.mark.root(pytest.mark.wide(played_on(OvsTarget)))
test_linux_bridge = pytest.mark.root(pytest.mark.wide(played_on(LinuxBridgeTarget)))
