"""All sections of a configuration. Invariant: what a section refers to comes before it.

Hence this is the order in which sections are read, written, changed and added; they are removed the other way round.
"""

from __future__ import annotations

from typing import Any

from bridge.config import (
    bridge,
    budget,
    cost,
    group,
    heartbeats,
    loop_detection,
    metrics,
    mirror,
    move_guard,
    multicast,
    pair,
    port,
    static_entry,
    vlan,
)
from bridge.config.section import Section

SECTIONS: tuple[Section[Any], ...] = (
    bridge.SECTION,
    cost.SECTION,
    multicast.SECTION,
    vlan.SECTION,
    port.SECTION,
    static_entry.SECTION,
    group.SECTION,
    budget.SECTION,
    mirror.SECTION,
    metrics.SECTION,
    move_guard.SECTION,
    loop_detection.SECTION,
    heartbeats.SECTION,
    pair.SECTION,
)
BY_TYPE: dict[type, Section[Any]] = {type(section.blank): section for section in SECTIONS}
