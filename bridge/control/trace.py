"""Methods that tell what would become of a frame."""

from __future__ import annotations

import asyncio

from bridge.config import document
from bridge.control.context import Context
from bridge.control.methods import invalid, method
from bridge.control.protocol import Row
from bridge.engine.rehearsal import Outcome
from bridge.errors import ConfigError

HEX_MAX = 2 * 65535  # digits


@method(is_costly=True)
async def trace_frame(context: Context, port: str, frame: str) -> list[Row]:
    """Tell what would become of a frame (its bytes in hexadecimal, without FCS) that came in by a port; none is sent.

    One row per thing that a stage does, with what decides it in the configuration and the line of the daemon's file.
    """
    name = context.port(port).name
    outcome = await context.engine.rehearse(name, _bytes(frame))
    rows = [step.row for step in outcome.steps] + _cost(context, name, outcome)
    lines = await asyncio.to_thread(_lines, context.config_path)
    return [{**row, "line": lines.get(str(row["decided_by"]))} for row in rows]


def _bytes(text: str) -> bytes:
    if len(text) > HEX_MAX:
        raise invalid("frame", f"{len(text)} digits; a frame has at most {HEX_MAX}")
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise invalid(
            "frame", "expected the bytes of a frame in hexadecimal, like 'ffffffffffff0200...'"
        ) from None


def _cost(context: Context, port: str, outcome: Outcome) -> list[Row]:
    blank = dict.fromkeys(("reason", "decided_by", "frame"))
    what = f"{outcome.frame_class} from port {port}"
    found = context.engine.cost.price_of(port, outcome.frame_class)
    if found is None:
        text = f"not measured: no frame of class {what} so far"
        return [{"stage": "cost", "port": port, "outcome": "unknown", "text": text, **blank}]
    frame, copy = found
    further = max(0, outcome.copies - 1)
    text = f"{frame + further * copy:.0f} cycles, as frames of class {what} so far"
    if further:
        text += f": {frame:.0f}, and {copy:.0f} for each of {further} further copies"
    return [{"stage": "cost", "port": port, "outcome": "measured", "text": text, **blank}]


def _lines(path: str) -> dict[str, int]:
    """Find out where the daemon's file has each key; nowhere, if it is no configuration any more."""
    if not path:
        return {}
    try:
        return document.key_lines(document.read_text(path))
    except ConfigError:
        return {}
