"""Ports and capture rings as objects."""

from collections.abc import Iterable
from typing import final

from bridge.core.values import Frame, PortPlace, Taken

class Port:
    """An open port. Traffic flows once a snapshot that names it is applied."""

    index: int
    kind: str
    device: str
    @property
    def fd(self) -> int: ...
    @property
    def spare_fd(self) -> int:
        """A second socket that may take over from `fd`, and wants the same filter; -1: there is none."""
    def place(self) -> PortPlace:
        """Tell what another process needs to take the port over; its descriptors stay ours. OSError: it cannot be."""
    def resume(self, place: PortPlace) -> None:
        """Read on from there; before a data thread does."""
    @property
    def lane_fd(self) -> int:
        """The socket of the lane, for heartbeats (bridge.ports.lane); -1: there is none."""
    @property
    def failed(self) -> bool:
        """The data thread gave up on it (event `port_error`); it wants to be closed and opened again."""
    @property
    def closed(self) -> bool: ...

@final
class MemoryPort(Port):
    """A port without a file descriptor: two rings in memory."""

    def inject(self, frames: Iterable[Frame | bytes], headroom: int = 64, in_one: bool = False) -> int:
        """Queue frames for rx; returns how many fitted.

        `in_one`: frames longer than a head buffer lie in one piece, as a tap reads them, not in two, as a link does.
        """
    def drain(self) -> list[Frame]:
        """Take what the bridge sent, oldest first."""
    @property
    def pending(self) -> int:
        """Injected frames the bridge has not taken yet."""

@final
class Capture:
    """A ring of bytes that a mirror fills and one thread empties. Packets lost in between are counted by port."""

    def __init__(self, *, size: int = ...) -> None:
        """Make room for `size` bytes, rounded up to a power of two."""
    def set_interface(self, port: int, number: int) -> None:
        """Name the interface block of a port; -1: none, and `take` stops at its next packet."""
    def take(self, limit: int = ...) -> Taken:
        """Take what is there, as blocks of at most `limit` bytes together."""
    def wait(self, milliseconds: int) -> bool:
        """Sleep until there is something to take, or somebody calls `wake`; False: nothing for so long."""
    def wake(self) -> None:
        """End a wait of the other thread."""
    def stop(self) -> None:
        """Want no more: what the mirror would copy from now on is passed over."""
    def counts(self, port: int) -> tuple[int, int]:
        """Packets of a port that were taken, and that were lost."""
