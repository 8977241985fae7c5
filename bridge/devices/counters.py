"""What the kernel counts of the devices of a namespace: /proc/net/dev, read without its RTNL lock.

Job: tell how many frames each device did not take from its own side (tx_dropped): of a tap those are the frames that
nobody read from it in time. Any netlink request about them waits for the RTNL lock, for as long as others hold it
(net/core/rtnetlink.c:rtnl_stats_get); this file is written out under RCU (net/core/net-procfs.c:dev_seq_show).
Thread: `open_table` in a thread of the namespace, since the file belongs to that of its opener; the rest in any.
"""

from __future__ import annotations

import os

TABLE = "/proc/thread-self/net/dev"
CHUNK = 1 << 16
TX_DROPPED = 11  # of the numbers of a line: eight of rx, then bytes, packets, errs, drop


class Odometer:
    """How far a count that others keep has come since we look at it, also if they began anew meanwhile."""

    def __init__(self, start: int) -> None:
        self.passed = 0
        self._last = start

    @property
    def last(self) -> int:
        """The last reading."""
        return self._last

    def read(self, count: int) -> int:
        """Take a reading; returns how far it has come."""
        self.passed += count - self._last if count >= self._last else count
        self._last = count
        return self.passed


def open_table() -> int:
    """Open the table of the namespace of this thread."""
    return os.open(TABLE, os.O_RDONLY | os.O_CLOEXEC)


def read_tx_dropped(table: int) -> dict[str, int]:
    """Give `tx_dropped` of each device by name."""
    text = b""
    while chunk := os.pread(table, CHUNK, len(text)):
        text += chunk
    rows = (line.rpartition(b":") for line in text.splitlines()[2:])
    return {os.fsdecode(name.strip()): int(numbers.split()[TX_DROPPED]) for name, _, numbers in rows}


def tx_dropped_here(device: str) -> int:
    """Give `tx_dropped` of one device in the namespace of this thread; 0 if there is none."""
    table = open_table()
    try:
        return read_tx_dropped(table).get(device, 0)
    finally:
        os.close(table)
