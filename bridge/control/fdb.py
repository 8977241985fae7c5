"""Methods about the FDB."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bridge.config import checks
from bridge.config.key import Check
from bridge.control.context import Context
from bridge.control.methods import invalid, method
from bridge.control.parameters import checked, station, vid
from bridge.control.protocol import NO_SUCH_ENTRY, Row
from bridge.errors import ControlError
from bridge.fdb.known import FLUSHABLE

# What an FDB entry may be asked to be; every filter given has to fit.
FDB_FILTERS = {"port": "string", "vlan": "int", "mac": "string", "state": "string", "older": "int"}
FORWARD_DELAY = 15  # seconds; IEEE 802.1Q-2022 table 13-5: an entry may be so silent after a topology change

_state = checks.choice("dynamic", "sticky", "held", "static", "drop")
_flushable = checks.choice(*FLUSHABLE)
_age = checks.integer(0, 1_000_000, "seconds")
_entry_kind = checks.choice("static", "sticky", "drop", "dynamic")


@method(options=FDB_FILTERS)
async def fdb_show(context: Context, **filters: Any) -> Iterable[Row]:
    """One row per FDB entry that fits every parameter given; `older`: silent for so many seconds or more."""
    return context.engine.status.fdb_stream(**_filters(context, _state, **filters))


@method(changes=True)
async def fdb_add(
    context: Context, mac: str, vlan: int, port: str | None = None, kind: str = "static"
) -> list[Row]:
    """Add or replace an FDB entry: static, sticky, drop or dynamic. No rows."""
    checked("kind", _entry_kind, kind)
    if (kind == "drop" and port is not None) or (kind in ("static", "sticky") and port is None):
        raise invalid("port", f"a {kind} entry {'has no' if port else 'needs a'} port")
    await context.engine.fdb_add(vid(vlan), station(mac), context.known_port(port) or "", kind)
    return []


@method(changes=True)
async def fdb_del(context: Context, mac: str, vlan: int) -> list[Row]:
    """Remove one FDB entry of any kind. No rows."""
    if not await context.engine.fdb_delete(vid(vlan), station(mac)):
        raise ControlError(f"no FDB entry {mac} in VLAN {vlan}", NO_SUCH_ENTRY, {"mac": mac, "vlan": vlan})
    return []


@method(changes=True, options=FDB_FILTERS)
async def fdb_flush(context: Context, **filters: Any) -> list[Row]:
    """Forget dynamic and sticky FDB entries that fit every parameter given. One row: how many."""
    return [{"flushed": await context.engine.fdb_flush(**_filters(context, _flushable, **filters))}]


@method(changes=True)
async def fdb_age(
    context: Context, seconds: int = FORWARD_DELAY, port: str | None = None, vlan: int | None = None
) -> list[Row]:
    """Forget dynamic and sticky FDB entries silent for so long: 802.1Q's fast ageing. One row: how many."""
    checked("seconds", _age, seconds)
    return [
        {"aged": await context.engine.fdb_flush(**_filters(context, _flushable, port, vlan, older=seconds))}
    ]


def _filters(
    context: Context,
    states: Check,
    port: str | None = None,
    vlan: int | None = None,
    mac: str | None = None,
    state: str | None = None,
    older: int | None = None,
) -> dict[str, Any]:
    """Check FDB_FILTERS; which states there are depends on the question."""
    return {
        "state": None if state is None else checked("state", states, state),
        "older": None if older is None else checked("older", _age, older),
        "port": context.known_port(port),
        "vlan": vid(vlan),
        "mac": station(mac),
    }


@method(changes=True)
async def fdb_announce(context: Context, vlan: int | None = None) -> list[Row]:
    """Tell the switches once where the stations of a VLAN, or all, are. One row: how many frames left, `announced`."""
    return [{"announced": await context.engine.member.announce(vid(vlan))}]
