"""Every scenario on every target that can play it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from helpers.net import Net

from conformance import scenario
from conformance.runner import play
from conformance.scenario import Scenario
from conformance.site import Site, Sites
from conformance.target import Target
from conformance.targets.daemon import LinkTarget, OffloadLinkTarget, OffloadTapTarget, TapTarget
from conformance.targets.linux_bridge import LinuxBridgeTarget
from conformance.targets.memory import MemoryTarget
from conformance.targets.ovs import OvsTarget

SCENARIOS = scenario.load_all()
WIRES = (LinkTarget, OffloadLinkTarget, TapTarget, OffloadTapTarget)


def playable(target: type[Target]) -> list[Scenario]:
    """The scenarios that it has the abilities for."""
    return [one for one in SCENARIOS if one.needs <= target.abilities]


def played_on(target: type[Target]) -> Callable[..., None]:
    """A test of a target with every scenario it can play."""
    scenarios = playable(target)

    @pytest.mark.parametrize("one", scenarios, ids=[one.id for one in scenarios])
    def test(one: Scenario, net: Net) -> None:
        play(one, target(net, one.ports, one.bridge, one.vlans))

    return test


def wired() -> Iterator[object]:
    """Every scenario on every wire that can play it; one of them is enough for `make test`, and they take turns."""
    for number, one in enumerate(SCENARIOS):
        able = [target for target in WIRES if one.needs <= target.abilities]
        for place, target in enumerate(able):
            mark = pytest.mark.slow if place == number % len(able) else pytest.mark.wide
            yield pytest.param(target, one, id=f"{target.name}: {one.id}", marks=mark)


@pytest.fixture(scope="session")
def sites() -> Iterator[Sites]:
    sites = Sites()
    yield sites
    sites.finish()


@pytest.fixture
def site(one: Scenario, net: Net, sites: Sites) -> Iterator[Site]:
    """Cleared before `net` takes the devices away."""
    with sites.one(one.bridge) as site:
        yield site


@pytest.mark.root
@pytest.mark.parametrize(("target", "one"), [*wired()])
def test_framebridge(target: type[LinkTarget], one: Scenario, net: Net, site: Site) -> None:
    play(one, target(net, one.ports, one.bridge, one.vlans, site))


test_memory_ports = played_on(MemoryTarget)
test_open_vswitch = pytest.mark.root(pytest.mark.wide(played_on(OvsTarget)))
test_linux_bridge = pytest.mark.root(pytest.mark.wide(played_on(LinuxBridgeTarget)))
