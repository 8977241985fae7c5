"""The `[loop_detection]` table of the configuration. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.config import checks
from bridge.config.section import Section
from bridge.config.table import Keys, Table, plain_table
from bridge.config.text import listing

TRACKED = 8192  # addresses that moved within it


@dataclass(frozen=True, slots=True)
class LoopDetectionConfig:
    """The `[loop_detection]` table."""

    interval: float = 0.0  # seconds between probes of a port; 0: off
    action: str = "log"  # log | block
    recovery: float = 300  # seconds a port stays blocked; 0: until it is let back by hand
    moving_addresses: int = 20  # back and forth between two ports within a second: a loop; 0: not looked for


NO_DETECTION = LoopDetectionConfig()

_KEYS: Keys = {
    "interval": ("interval", checks.seconds(0.1, 3600)),
    "action": ("action", checks.choice("log", "block")),
    "recovery": ("recovery", checks.recovery),
    "moving_addresses": ("moving_addresses", checks.integer(0, TRACKED // 2, "a number of addresses")),
}


def read_loop_detection(table: Table) -> LoopDetectionConfig:
    """Read `[loop_detection]`; without the table it is off."""
    fields = table.fields(_KEYS, required=("interval",))
    table.refuse_unknown()
    return LoopDetectionConfig(**fields)


def loop_detection_table(config: LoopDetectionConfig) -> dict[str, object]:
    """Return the `[loop_detection]` table."""
    return plain_table(config, _KEYS)


SECTION = Section(
    name="loop_detection",
    field="loop_detection",
    read=read_loop_detection,
    write=loop_detection_table,
    blank=NO_DETECTION,
    actions=("set_loop_detection", "set_loop_detection", "set_loop_detection"),
    subject=lambda detection: f"every {detection.interval:g} s" if detection.interval else "off",
    describe=lambda detection: listing(loop_detection_table(detection)),
)
