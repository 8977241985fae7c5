"""Storm control as the data plane keeps it: a budget (csrc/account/budget.h) for each limit of a port. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from bridge.config.budget import BudgetConfig
from bridge.config.storm_control import StormControl


def storm_budgets(port: str, control: StormControl, hz: float) -> Iterator[BudgetConfig]:
    """Yield the budgets that keep a port to its limits; `hz` are the cycles of a core per second."""
    for flood, limit in control.limits.items():
        percent = limit.unit == "percent"
        yield BudgetConfig(
            name=f"{port} storm {flood}",  # no `[[budget]]` can be called so
            unit="cycles" if percent else limit.unit,
            limit=limit.limit / 100 * hz if percent else limit.limit,
            burst=control.burst,
            port=port,
            exempt=control.exempt,
            floods=(flood,),
        )
