"""Methods about groups: who is a member, what is set by hand, who asks."""

from __future__ import annotations

from typing import Any

from bridge.config import checks, edit
from bridge.config.group import parse_group_table
from bridge.config.group_address import Group, group_address, parse_group
from bridge.control.context import Context
from bridge.control.methods import method
from bridge.control.parameters import checked, vid
from bridge.control.protocol import Message, Row

# What a row may be asked to be; every filter given has to fit.
MDB_FILTERS = {"group": "string", "vlan": "int", "port": "string"}

_kind = checks.choice("static", "learned", "routers")


@method(options=MDB_FILTERS | {"kind": "string"})
async def mdb_show(context: Context, **filters: Any) -> list[Row]:
    """One row per port that is a member of a group, or gets every group of a VLAN; `kind`: static, learned, routers."""
    kind = filters.pop("kind", None)
    wanted = None if kind is None else checked("kind", _kind, kind)
    return context.engine.status.groups(**_filters(context, **filters), kind=wanted)


@method()
async def mdb_queriers(context: Context, vlan: int | None = None) -> list[Row]:
    """One row per VLAN and family that snoops: its state, who asks, what was spared."""
    return context.engine.status.queriers(vid(vlan))


@method(changes=True)
async def mdb_add(context: Context, group: Message) -> list[Row]:
    """Add ports to a group by hand, written like a [[group]] table of the file. Rows: what was done."""
    wanted = parse_group_table(group)
    return await context.change(lambda config: edit.with_group_port(config, wanted))


@method(changes=True)
async def mdb_del(context: Context, group: str, vlan: int, port: str | None = None) -> list[Row]:
    """Take a port, or all of them, from a group by hand. Rows: what was done."""
    address, number = _group(group), vid(vlan)
    return await context.change(lambda config: edit.without_group_port(config, number, str(address), port))


@method(changes=True, options=MDB_FILTERS)
async def mdb_flush(context: Context, **filters: Any) -> list[Row]:
    """Forget learned members that fit every parameter given, and ask who is one. One row: how many they were."""
    return [{"flushed": context.engine.mdb_flush(**_filters(context, **filters))}]


def _group(text: str) -> Group:
    return parse_group(checked("group", group_address, text))


def _filters(
    context: Context, group: str | None = None, vlan: int | None = None, port: str | None = None
) -> dict[str, Any]:
    """Check MDB_FILTERS."""
    return {
        "group": None if group is None else _group(group),
        "vlan": vid(vlan),
        "port": context.known_port(port),
    }
