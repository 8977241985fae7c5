"""Announcements: switches are told by which bridge stations are reached now.

Job: for every station of the FDB a frame with its address as source, by each other port that leads its VLAN to a
switch, at once and again (ROUNDS), when this bridge opens its gate or wins a contest, and when somebody asks. Thread:
control.

* `own`: to the group of beacons, of the product's EtherType; no bridge of this kind forwards it, so none that is still
  open can teach a wrong port with it. * `rarp`: a reverse ARP request (RFC 903), for switches that learn nothing from
  groups they do not know.
* Nothing is sent behind a closed gate: the data plane refuses it. What is known when a round begins is announced.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence

from bridge.core._core import Bridge
from bridge.fdb.known import KnownEntries, split_key
from bridge.ha.paths import ETHERTYPE, GROUP

log = logging.getLogger(__package__)

ROUNDS = (0.0, 0.05, 0.15, 0.3, 0.5)  # seconds after the one before: at 0, 50, 200, 500 ms, 1 s
SLICE = 256  # stations between two looks at other work
MAGIC = b"FBAN"

_BROADCAST = b"\xff" * 6
_RARP = bytes.fromhex("8035 0001 0800 06 04 0003")
_OWN_HEAD, _OWN_TAIL = GROUP.to_bytes(6, "big"), (ETHERTYPE.to_bytes(2, "big") + MAGIC).ljust(48, b"\0")


def own(mac: int) -> bytes:
    """Write an announcement that no bridge of this kind forwards."""
    return _OWN_HEAD + mac.to_bytes(6, "big") + _OWN_TAIL


def rarp(mac: int) -> bytes:
    """Write a reverse ARP request for the address of its sender."""
    station = mac.to_bytes(6, "big")
    return (_BROADCAST + station + _RARP + station + bytes(4) + station + bytes(4)).ljust(60, b"\0")


WRITERS = {"own": own, "rarp": rarp}


class Announcer:
    """The announcements of one bridge."""

    def __init__(self, core: Bridge, known: KnownEntries) -> None:
        self._core = core
        self._known = known
        self._task: asyncio.Task[None] | None = None

    def begin(self, forms: Sequence[str]) -> None:
        """Announce all stations, now and again; what is under way begins anew."""
        self.end()
        self._task = asyncio.get_running_loop().create_task(self._repeat(forms))

    def end(self) -> None:
        """Stop what is under way."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _repeat(self, forms: Sequence[str]) -> None:
        for pause in ROUNDS:
            await asyncio.sleep(pause)
            try:
                await self.announce(forms)
            except Exception:
                log.exception("announcements")

    async def announce(self, forms: Sequence[str], vid: int | None = None) -> int:
        """Announce the stations of a VLAN, or all, once; returns how many frames left."""
        self._known.drain()
        keys = [key for key in self._known.entries if vid in (None, key >> 48)]
        sent = 0
        for first in range(0, len(keys), SLICE):
            sent += sum(self._core.originate(self._frames(keys[first : first + SLICE], forms)))
            await asyncio.sleep(0)
        return sent

    def _frames(self, keys: Sequence[int], forms: Sequence[str]) -> Iterator[tuple[int, int, bytes]]:
        """Write frames with the ports and VLANs they go to: links and trunks, behind which there may be a switch."""
        ports = [(index, port.members) for index, port in self._known.ports.items() if port.can.leads_on]
        for key in keys:
            known = self._known.entries.get(key)
            if known is None or known.kind == "drop":
                continue
            vid, mac = split_key(key)
            for index, members in ports:
                if index != known.port and vid in members:
                    for form in forms:
                        yield index, vid, WRITERS[form](mac)
