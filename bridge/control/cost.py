"""Methods about the bill: where cycles went, budgets, baselines."""

from __future__ import annotations

from bridge.account.meter import LAST_MAX
from bridge.account.views import VIEWS
from bridge.config import checks
from bridge.config.table import show
from bridge.control.context import Context
from bridge.control.methods import invalid, method
from bridge.control.parameters import checked
from bridge.control.protocol import Row

ROWS_MAX = 100_000  # of a view of the bill

_view = checks.choice(*VIEWS)
_seconds = checks.integer(1, LAST_MAX, "seconds")
_rows = checks.integer(1, ROWS_MAX, "a number of rows")


@method()
async def cost_show(
    context: Context,
    by: str = "stage",
    last: int | None = None,
    top: int | None = None,
    since: str | None = None,
) -> list[Row]:
    """One row per stage, port, vlan, class or talker, and rows for the rest; they add up to the busy cycles."""
    checked("by", _view, by)
    return context.engine.cost.show_rows(by, *_span(context, last, since), _top(top))


@method()
async def cost_summary(context: Context, last: int | None = None, since: str | None = None) -> list[Row]:
    """One row: where the time of the data thread went, and what the kernel says of it."""
    return context.engine.cost.summary_rows(*_span(context, last, since))


@method()
async def cost_savings(
    context: Context, last: int | None = None, top: int | None = None, since: str | None = None
) -> list[Row]:
    """One row per measure that would save cycles, the best first: estimates, which do not add up."""
    return context.engine.cost.saving_rows(
        context.engine.config.ports, *_span(context, last, since), _top(top)
    )


@method()
async def cost_saved(context: Context) -> list[Row]:
    """One row per VLAN: what snooping spared it since the start, or would; and rows of who would lose a group."""
    return context.engine.status.saved()


@method()
async def cost_slow(context: Context) -> list[Row]:
    """One row per batch of the slowest since the last clearing, slowest first."""
    return context.engine.cost.slow_rows()


@method()
async def cost_histogram(context: Context, name: str | None = None, since: str | None = None) -> list[Row]:
    """One row per bucket of each histogram, or of one."""
    if name is not None:
        checked("name", checks.choice(*context.engine.cost.histograms), name)
    return context.engine.cost.histogram_rows(name, _span(context, None, since)[1])


@method()
async def cost_budgets(context: Context) -> list[Row]:
    """One row per budget: what it limits, its state, what was spent and dropped."""
    return context.engine.status.budgets()


@method(changes=True)
async def cost_clear(context: Context, name: str | None = None) -> list[Row]:
    """Count cycles from zero again or, with a name, only keep this moment under it. No rows."""
    context.engine.cost.clear("" if name is None else checked("name", checks.name, name))
    return []


def _span(context: Context, last: int | None, since: str | None) -> tuple[int | None, str]:
    """Check which window of the bill is meant."""
    if last is not None and since is not None:
        raise invalid("since", "give either this or 'last'")
    if since is not None and since not in context.engine.cost.baselines:
        known = ", ".join(context.engine.cost.baselines) or "none; make one with 'cost clear NAME'"
        raise invalid("since", f"no baseline {show(since)}; there are: {known}")
    return None if last is None else checked("last", _seconds, last), since or ""


def _top(rows: int | None) -> int | None:
    return None if rows is None else checked("top", _rows, rows)
