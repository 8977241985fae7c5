"""Methods about mirrors."""

from __future__ import annotations

from bridge.config import edit
from bridge.config.mirror import parse_mirror
from bridge.config.whole import Config
from bridge.control.context import Context
from bridge.control.methods import method
from bridge.control.protocol import Message, Row


@method()
async def mirror_show(context: Context) -> list[Row]:
    """One row per mirror: what it copies, where to, its state, what became of the copies."""
    return context.engine.status.mirrors()


@method(changes=True)
async def mirror_add(context: Context, mirror: Message) -> list[Row]:
    """Add a mirror, written like a [[mirror]] table of the file. Rows: what was done."""

    def with_it(config: Config) -> Config:
        after = edit.with_mirror(config, parse_mirror(mirror))
        edit.refuse_new_places(config, after)
        return after

    return await context.change(with_it)


@method(changes=True)
async def mirror_del(context: Context, mirror: str) -> list[Row]:
    """Remove a mirror; its file is ended and stays. Rows: what was done."""
    return await context.change(lambda config: edit.without_mirror(config, mirror))
