"""The `[cost]` table of the configuration: what a core costs. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.config import checks
from bridge.config.key import key, keys, write_keys
from bridge.config.section import Section
from bridge.config.table import Table
from bridge.config.text import listing


@dataclass(frozen=True, slots=True)
class CostConfig:
    """The `[cost]` table: what a core costs, so that the bill can be shown in money."""

    price_per_core_hour: float | None = key(
        None, checks.price
    )  # in units of the currency; None: no money is shown
    currency: str = key("EUR", checks.currency)


KEYS = keys(CostConfig)


def read_cost(table: Table) -> CostConfig:
    """Read `[cost]`."""
    fields = table.fields(KEYS)
    table.refuse_unknown()
    return CostConfig(**fields)


def cost_table(cost: CostConfig) -> dict[str, object]:
    """Return the `[cost]` table."""
    return write_keys(cost, KEYS)


SECTION = Section(
    name="cost",
    field="cost",
    read=read_cost,
    write=cost_table,
    blank=CostConfig(),
    actions=("set_cost", "set_cost", "set_cost"),
    subject=lambda cost: "prices",
    describe=lambda cost: listing(cost_table(cost)),
)
