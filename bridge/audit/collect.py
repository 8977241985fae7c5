"""Subjects of an audit: a port and what the kernel knows of its device."""

from __future__ import annotations

from bridge.audit.rules import Finding, Subject, audit
from bridge.config.port import PortConfig
from bridge.config.whole import Config
from bridge.devices.device import DeviceError
from bridge.devices.devices import Devices
from bridge.ports.kinds import check


async def collect(
    devices: Devices, port: PortConfig, attached: int | None = None
) -> Subject | Finding | None:
    """Look at the device of a port, whose index is known if it is attached.

    A Finding: it is missing; None: there is none yet, or none that may be seen.
    """
    if not port.device:
        return None
    try:
        if attached is None:
            await check(devices, port)
        device, netns = port.place
        info = await devices.inspect(attached or device, netns)
    except DeviceError as error:
        if isinstance(error.__cause__, PermissionError):
            return None
        finding, _, advice = str(error).partition("; ")
        if error.is_missing:
            advice += "; a bridge that starts runs without it and attaches it when it appears"
        return Finding(port.name, "error", "missing", finding, advice)
    return Subject(port, info, attached is not None) if info else None


async def audit_from_here(config: Config) -> list[Finding]:
    """Judge ports of a configuration as this process sees their devices, before anything is attached to them."""
    devices = Devices()
    try:
        subjects = [await collect(devices, port) for port in config.ports]
    finally:
        await devices.close()
    return audit(subjects, detects_loops=bool(config.loop_detection.interval))
