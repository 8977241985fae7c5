"""The books of an engine, as tests ask for them."""

from __future__ import annotations

from bridge.account.ledger import TOTAL, Row
from bridge.engine.engine import Engine


def ended(engine: Engine, reason: str) -> list[Row]:
    """Rows of `drops show` for one reason, of the ports there are."""
    return [row for row in engine.status.drops() if row["port"] != TOTAL and row["reason"] == reason]
