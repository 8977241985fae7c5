"""The `[loop_detection]` table of the configuration. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.config import checks
from bridge.config.key import key, keys, write_keys
from bridge.config.section import Section
from bridge.config.table import Table
from bridge.config.text import listing

TRACKED = 8192  # addresses that moved within it


@dataclass(frozen=True, slots=True)
class LoopDetectionConfig:
    """The `[loop_detection]` table."""

    interval: float = key(0.0, checks.seconds(0.1, 3600))  # seconds between probes of a port; 0: off
    action: str = key("log", checks.choice("log", "block"))  # log | block
    recovery: float = key(
        300, checks.recovery
    )  # seconds a port stays blocked; 0: until it is let back by hand
    moving_addresses: int = key(
        20, checks.integer(0, TRACKED // 2, "a number of addresses")
    )  # back and forth between two ports within a second: a loop; 0: not looked for


NO_DETECTION = LoopDetectionConfig()
OF_A_PAIR = LoopDetectionConfig(interval=0.5, action="block", recovery=30)  # what `[pair]` stands for

KEYS = keys(LoopDetectionConfig)


def read_loop_detection(table: Table) -> LoopDetectionConfig:
    """Read `[loop_detection]`; without the table it is off."""
    fields = table.fields(KEYS, required=("interval",))
    table.refuse_unknown()
    return LoopDetectionConfig(**fields)


def loop_detection_table(config: LoopDetectionConfig) -> dict[str, object]:
    """Return the `[loop_detection]` table."""
    return write_keys(config, KEYS)


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
