"""Every scenario on every target that can play it."""

from __future__ import annotations

import pytest
from helpers.net import Net

from conformance import scenario
from conformance.runner import play
from conformance.scenario import Scenario
from conformance.target import Target
from conformance.targets import TARGETS

SCENARIOS = scenario.load_all()
PAIRS = [(target, one) for target in TARGETS for one in SCENARIOS if one.needs <= target.abilities]


@pytest.mark.root
@pytest.mark.parametrize(("target", "one"), PAIRS, ids=[f"{target.name}-{one.id}" for target, one in PAIRS])
def test_conforms(target: type[Target], one: Scenario, net: Net) -> None:
    play(one, target(net, one.ports, one.bridge))
