"""The `[cost]` table of the configuration: what a core costs. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.config import checks
from bridge.config.section import Section
from bridge.config.table import Keys, Table, plain_table
from bridge.config.text import listing


@dataclass(frozen=True, slots=True)
class CostConfig:
    """The `[cost]` table: what a core costs, so that the bill can be told in money."""

    price_per_core_hour: float | None = None  # in units of the currency; None: no money is told
    currency: str = "EUR"


_COST_KEYS: Keys = {
    "price_per_core_hour": ("price_per_core_hour", checks.price),
    "currency": ("currency", checks.currency),
}


def read_cost(table: Table) -> CostConfig:
    """Read `[cost]`."""
    fields = table.fields(_COST_KEYS)
    table.refuse_unknown()
    return CostConfig(**fields)


def cost_table(cost: CostConfig) -> dict[str, object]:
    """Return the `[cost]` table."""
    return plain_table(cost, _COST_KEYS)


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
