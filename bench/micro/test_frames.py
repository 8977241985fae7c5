"""Cycles of what is done to a frame's header: parsing (`admit`), and pushing, popping, changing tags (`edit`), by size.

For parsing alone the frames end there: they are dropped by the last rule of admission.
"""

from __future__ import annotations

from typing import Any

import pytest

from .stage import (
    DESTINATIONS,
    SOURCES,
    TRUNK,
    VLAN,
    Benchmark,
    Stage,
    all_dropped,
    ethernet,
    no_drops,
)

RESERVED = 0x0180_C200_0003  # ends in admission, after everything else was looked at
SIZES = [60, 508, 1514]
INNER = b"\x81\x00\x00\x63"
LONGER = {"mtu": 1504}  # a customer's tag is payload

# form: (how the frame is tagged, the options of the port it comes from)
FORMS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "untagged": ({}, {}),
    "priority": ({"vid": 0}, {}),
    "tagged": ({"vid": VLAN}, TRUNK),
    "double": ({"vid": VLAN, "inner": INNER}, TRUNK),
    "802.1ad": ({"vid": VLAN, "tpid": 0x88A8}, {**TRUNK, "tpid": 0x88A8}),
    "tunnel": ({"vid": 99}, {"mode": "tunnel"}),
}
# what happens to the tag: (frame, options of ingress, options of egress)
EDITS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "none": ({}, {}, {}),
    "push": ({}, {}, TRUNK),
    "pop": ({"vid": VLAN}, TRUNK, {}),
    "keep": ({"vid": VLAN}, TRUNK, TRUNK),
    "translate": ({"vid": VLAN}, TRUNK, {**TRUNK, "tpid": 0x88A8}),
    "tunnel": ({"vid": 99}, {"mode": "tunnel", **LONGER}, {**TRUNK, **LONGER}),
}


@pytest.mark.parametrize("form", FORMS)
def test_parse(benchmark: Benchmark, form: str) -> None:
    """Everything before a source is looked at."""
    frame, ingress = FORMS[form]
    stage = Stage([ethernet(RESERVED, SOURCES + i, 60, **frame) for i in range(1000)])
    stage.ingress(**ingress)
    stage.ready(1000)
    stage.measure(benchmark, all_dropped("reserved"), size=60, tags=form)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("edit", EDITS)
def test_tag(benchmark: Benchmark, edit: str, size: int) -> None:
    """Known unicast; the difference to `none` is what the tag costs."""
    frame, ingress, egress = EDITS[edit]
    stage = Stage([ethernet(DESTINATIONS + i, SOURCES + i, size, **frame) for i in range(1000)])
    stage.ingress(**ingress)
    port = stage.egress(**egress)
    stage.ready(1000)
    stage.know(DESTINATIONS, 1000, port)
    stage.measure(benchmark, no_drops, size=size, macs=1000, tags=edit)
