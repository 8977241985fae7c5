"""What programs in the kernel counted, as totals that only grow.

Job: read their maps, add up the CPUs, and keep what each row grew by since it was read last, by row and by port.
Rows in the kernel are never taken away while programs run, so nothing is lost between two readings; a port that leaves
takes its totals along (`take_port`), and who gets its index begins at nothing. Thread: control.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from bridge.core._core import CLASSES, OFFLOAD_PASSES, PORTS_MAX
from bridge.offload.libbpf import Map
from bridge.offload.program import Programs

_CLASS_NAMES = tuple(name for name, _ in CLASSES)
_PASS_NAMES = tuple(name for name, _ in OFFLOAD_PASSES)
DROPS = ("handover", "no_buffer", "tx_error")  # BR_OFFLOAD_DROPS of csrc/offload/shared.h

_KEY = struct.Struct("=HHHH")
_ROW = struct.Struct("=QQQQQ")
_NUMBER = struct.Struct("=Q")


class RowKey(NamedTuple):
    """From which port (by index) to which, in which VLAN, of which class."""

    ingress: int
    egress: int
    vid: int
    frame_class: str


class Amount(NamedTuple):
    """What was forwarded, or dropped: then nothing left."""

    frames: int = 0
    segments: int = 0
    super_frames: int = 0
    rx_bytes: int = 0
    tx_bytes: int = 0

    def plus(self, other: Amount) -> Amount:
        """Add."""
        return Amount(*(a + b for a, b in zip(self, other, strict=True)))

    def less(self, other: Amount) -> Amount:
        """Subtract."""
        return Amount(*(a - b for a, b in zip(self, other, strict=True)))


class PortCounts(NamedTuple):
    """Counters of one port as the data plane names them, to be added to its own."""

    values: Counter[str]
    rx_drops: Counter[str]
    tx_drops: Counter[str]
    misses: Counter[str]


def no_counts() -> PortCounts:
    """Give counters of a port that did nothing."""
    return PortCounts(Counter(), Counter(), Counter(), Counter())


class Counts:
    """What programs counted since the start of the bridge."""

    def __init__(self, programs: Programs | None = None) -> None:
        self.rows: dict[RowKey, Amount] = {}
        self.passes: dict[int, Counter[str]] = {}  # by port index
        self._ports: dict[int, PortCounts] = {}
        self._seen: dict[bytes, Amount] = {}
        self._dropped: dict[bytes, Amount] = {}
        self._passed: dict[bytes, int] = {}
        self._maps: dict[str, Map] = {}
        self._cpus = 0
        self._indexes: set[int] = set()
        if programs is not None:
            self.begin(programs)

    def begin(self, programs: Programs) -> None:
        """Read these maps from now on, which begin at nothing."""
        self._seen, self._dropped, self._passed = {}, {}, {}
        self._maps, self._cpus = programs.counting, programs.cpus

    def end(self) -> None:
        """Read them once more, and then no more."""
        self.read()
        self._maps = {}

    def watch_port(self, index: int) -> None:
        """Read what is counted by the port from now on."""
        self._indexes.add(index)

    def read(self) -> None:
        """Bring everything up to date."""
        if not self._maps:
            return
        for key in self._maps["rows"].keys():  # noqa: SIM118
            grown = self._grown("rows", key, self._seen)
            if grown.frames:
                ingress, egress, vid, frame_class = _KEY.unpack(key)
                self._forwarded(RowKey(ingress, egress, vid, _CLASS_NAMES[frame_class]), grown)
        for index in self._indexes or range(PORTS_MAX):
            self._read_port(index)

    def _read_port(self, index: int) -> None:
        for number, reason in enumerate(DROPS):
            grown = self._grown("drops", _place(index * len(DROPS) + number), self._dropped)
            if grown.frames:
                port = self._port(index)
                port.values.update(_received(grown))
                port.rx_drops[reason] += grown.frames
        for number, reason in enumerate(_PASS_NAMES):
            key = _place(index * len(_PASS_NAMES) + number)
            now = sum(value for (value,) in _NUMBER.iter_unpack(self._maps["passes"].per_cpu(key) or b""))
            if grown_by := now - self._passed.get(key, 0):
                self._passed[key] = now
                self.passes.setdefault(index, Counter())[reason] += grown_by

    def _grown(self, name: str, key: bytes, seen: dict[bytes, Amount]) -> Amount:
        now = _total(_ROW.iter_unpack(self._maps[name].per_cpu(key) or b""))
        grown = now.less(seen.get(key, Amount()))
        if grown.frames:
            seen[key] = now
        return grown

    def _forwarded(self, key: RowKey, grown: Amount) -> None:
        self.rows[key] = self.rows.get(key, Amount()).plus(grown)
        self._port(key.ingress).values.update(
            {**_received(grown), "forwarded": grown.frames, "offloaded": grown.frames}
        )
        self._port(key.egress).values.update(
            {
                "offered": grown.frames,
                "offloaded_tx": grown.frames,
                "tx_frames": grown.frames,
                "tx_bytes": grown.tx_bytes,
                "tx_segments": grown.segments,
                "tx_super_frames": grown.super_frames,
            }
        )

    def _port(self, index: int) -> PortCounts:
        return self._ports.setdefault(index, no_counts())

    def port(self, index: int) -> PortCounts:
        """Give what a port did by the kernel, as of the last `read`."""
        return self._ports.get(index) or no_counts()

    def take_port(self, index: int) -> PortCounts:
        """Give what a port that leaves did, and forget it: its index may go to another."""
        self.read()
        self.passes.pop(index, None)
        self._indexes.discard(index)
        return self._ports.pop(index, None) or no_counts()


def _place(number: int) -> bytes:
    return struct.pack("=I", number)


def _total(parts: Iterable[tuple[int, ...]]) -> Amount:
    total = Amount()
    for part in parts:
        total = total.plus(Amount(*part))
    return total


def _received(grown: Amount) -> dict[str, int]:
    return {
        "rx_frames": grown.frames,
        "rx_bytes": grown.rx_bytes,
        "rx_segments": grown.segments,
        "rx_super_frames": grown.super_frames,
    }
