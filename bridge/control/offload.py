"""Methods about what the kernel forwards by itself."""

from __future__ import annotations

from bridge.control.context import Context
from bridge.control.methods import method
from bridge.control.protocol import Row


@method()
async def offload_show(context: Context, port: str | None = None) -> list[Row]:
    """One row per port: what the kernel forwards of it, what it leaves to userspace, and why; and one for all."""
    return context.engine.status.offload(context.known_port(port))


@method()
async def offload_left(context: Context, port: str | None = None) -> list[Row]:
    """One row per port and reason for which programs in the kernel left frames to userspace."""
    return context.engine.status.offload_left(context.known_port(port))


@method()
async def offload_check(context: Context, port: str | None = None) -> list[Row]:
    """One row per port and reason why frames it receives or sends are left to userspace."""
    return context.engine.status.offload_check(context.known_port(port))
