"""Every scenario on every target that can play it."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("conformance.runner", "conformance.wired")

from helpers.net import Net  # noqa: E402

from conformance import scenario  # noqa: E402
from conformance.runner import play  # noqa: E402
from conformance.scenario import Scenario  # noqa: E402
from conformance.target import Target  # noqa: E402
from conformance.targets import TARGETS  # noqa: E402

SCENARIOS = scenario.load_all()
PAIRS = [(target, one) for target in TARGETS for one in SCENARIOS if one.needs <= target.abilities]


@pytest.mark.root
@pytest.mark.parametrize(("target", "one"), PAIRS, ids=[f"{target.name}-{one.id}" for target, one in PAIRS])
def test_conforms(target: type[Target], one: Scenario, net: Net) -> None:
    play(one, target(net, one.ports, one.bridge))
