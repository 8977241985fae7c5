"""Methods about the pair."""

from __future__ import annotations

from bridge.control.context import Context
from bridge.control.methods import method
from bridge.control.protocol import Row


@method()
async def pair_show(context: Context) -> list[Row]:
    """One row for this member of the pair, and one for each other it has heard; none: it is in no pair."""
    return context.engine.member.rows()


@method(changes=True)
async def pair_switch(context: Context) -> list[Row]:
    """Hand the gate to the other member, which must be able to forward. Rows as for PairShow."""
    await context.engine.member.switch()
    return context.engine.member.rows()


@method(changes=True)
async def pair_hold(context: Context) -> list[Row]:
    """Keep this member from forwarding until PairResume or the end of the daemon. Rows as for PairShow."""
    context.engine.member.hold(True)
    return context.engine.member.rows()


@method(changes=True)
async def pair_resume(context: Context) -> list[Row]:
    """Let this member forward again when its turn comes. Rows as for PairShow."""
    context.engine.member.hold(False)
    return context.engine.member.rows()
