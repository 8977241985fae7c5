"""The auditor: judges the ports of a running bridge again and again, and reports what is new about them.

Job: say when an audit is due (rules.py, collect.py), make it, report each finding once; warn, at once, of ports of a
common VLAN that do not take the same frames. Thread: control; takes turns with changes, for no change may let go of a
network namespace that is being looked into.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from bridge.account.ledger import Tally
from bridge.audit.collect import collect
from bridge.audit.rules import Finding, Subject, audit
from bridge.clock import Clock
from bridge.config.whole import Config
from bridge.devices.devices import Devices
from bridge.events import Emit
from bridge.ports.attachment import Attachment, mtu_mismatches
from bridge.ports.table import PortTable
from bridge.systemd.journal import NOTICE

log = logging.getLogger(__package__)

LEVELS = {"error": logging.ERROR, "warning": logging.WARNING, "notice": NOTICE}

PAUSE = 1.0  # seconds between audits
REPORTED_AS_STATE = ("down", "carrier", "missing")  # checks whose findings are events of the port anyway


class Auditor:
    """The auditor of one bridge. `turns` is the lock of whatever changes ports."""

    def __init__(
        self,
        devices: Devices,
        clock: Clock,
        ports: PortTable,
        emit: Emit,
        turns: asyncio.Lock,
        tallies: Callable[[], Mapping[str, Tally]],
    ) -> None:
        """Ask `tallies` for what the data plane counted of each port."""
        self.is_open = False  # nothing may be opened before the bridge has started, and after it has stopped
        self._devices = devices
        self._clock = clock
        self._ports = ports
        self._emit = emit
        self._turns = turns
        self._tallies = tallies
        self._due = asyncio.Event()
        self._found: set[Finding] = set()  # by the last audit
        self._mismatches: set[tuple[str, int, str, int]] = set()

    def ports_changed(self) -> None:
        """Note that something may have changed the verdict."""
        self._check_mtu()
        self._due.set()

    def _check_mtu(self) -> None:
        """Warn of trunks and other ports of a common VLAN that do not take the same frames."""
        found = mtu_mismatches(self._ports)
        for key in found.keys() - self._mismatches:
            name, mtu, trunk_name, trunk_mtu = key
            message = (
                f"MTU differs in VLAN {found[key]}: {mtu} on port {name}, {trunk_mtu} on port {trunk_name}; "
                "frames that are too long for a port are dropped as oversize"
            )
            log.warning("%s", message)
            self._emit("warning", message=message, port=name, vlan=found[key])
        self._mismatches = {*found}

    async def keep(self, config: Callable[[], Config]) -> None:
        """Audit what is in force after whatever may have changed the verdict, and report each finding once."""
        while True:
            await self._due.wait()
            self._due.clear()
            try:
                found = await self.audit(config())
            except Exception:
                log.exception("audit")
                continue
            for finding in found:
                if finding not in self._found and finding.check not in REPORTED_AS_STATE:
                    log.log(LEVELS[finding.severity], "%s", finding)
                    self._emit("warning", message=str(finding), port=finding.port)
            self._found = {*found}
            await self._clock.sleep(PAUSE)

    async def audit(self, config: Config) -> list[Finding]:
        """Judge the ports of a configuration, in force or not, and their devices as they are now."""
        subjects: list[Subject | Finding | None] = []
        tallies = self._tallies()
        for port in config.ports:
            async with self._turns:
                if not self.is_open:
                    return []
                attachment = self._ports.get(port.name)
                is_attached = attachment is not None and attachment.holds(port)
                if (
                    attachment is not None
                    and (finding := _whereabouts(attachment))
                    and attachment.config == port
                ):
                    subjects.append(finding)
                    continue
                device = attachment.device if attachment is not None and is_attached else None
                seen = await collect(self._devices, port, device.index if device else None)
                if isinstance(seen, Subject) and (tally := tallies.get(port.name)):
                    refused, uncut = tally.values["rx_refused"] > 0, tally.tx_drops["gso_unsupported"] > 0
                    seen = replace(seen, refused=refused, uncut=uncut)
                subjects.append(seen)
        async with self._turns:
            await self._devices.keep(self._ports.namespaces)
        return audit(subjects, detects_loops=bool(config.loop_detection.interval))


def _whereabouts(attachment: Attachment) -> Finding | None:
    """Tell of a device that is not where the configuration says, which hides all else about it."""
    config, device = attachment.config, attachment.device
    if attachment.state == "missing":
        finding, _, advice = (attachment.trouble or f"its device {config.device!r} is gone").partition("; ")
        advice = advice or "make it again, or correct `device` and `netns`"
        return Finding(config.name, "error", "missing", finding, f"{advice}; it is attached when it appears")
    if attachment.port is None or device is None:
        return None
    if attachment.is_stray:
        finding = f"its tap is in another network namespace now, as {device.name}, and the port follows it"
        return Finding(
            config.name,
            "notice",
            "moved",
            finding,
            "name that namespace in `netns` to find it after a restart",
        )
    if not device.is_called(config.place[0]):
        finding = f"its device is called {device.name} now, and the port follows it"
        advice = f"a restart would look for {config.device}: correct `device`, or give it that name back"
        return Finding(config.name, "warning", "renamed", finding, advice)
    return None
