"""The books: counters of the data plane as rows, carried on over all that happens to ports.

Job: a port's counters live in the data plane only as long as it is attached. Here they are carried on when a
device is lost and returns, and kept in the total when a port is removed: the total of a bridge's whole life
balances exactly (R12). Clearing is done by subtraction, so the data thread never stops for it.
Thread: control. Invariant: every row comes from one reading at one batch boundary. Names and meanings come
from the data plane's own tables.

What the kernel dropped in front of ports stands beside the balance, as `misses`: such frames never came in. Those of
rings are the data plane's, those of taps are read here, right after the batch boundary.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from bridge.account.window import Egress
from bridge.core._core import DROP_REASONS, MISSES, PORT_COUNTERS, Bridge, Counters, Port, PortCounters

Row = dict[str, object]

_NAMES = [name for name, _ in PORT_COUNTERS]
TOTAL = "total"  # in place of a port's name


@dataclass(slots=True)
class Tally:
    """Counters that can be added up."""

    values: Counter[str] = field(default_factory=Counter)
    rx_drops: Counter[str] = field(default_factory=Counter)
    tx_drops: Counter[str] = field(default_factory=Counter)
    misses: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally | PortCounters | Counted) -> Tally:
        """Add in place."""
        self.values.update(other.values)
        self.rx_drops.update(other.rx_drops)
        self.tx_drops.update(other.tx_drops)
        self.misses.update(other.misses)
        return self

    def miss(self, reason: str, frames: int) -> None:
        """Add frames that the kernel dropped, of which the data plane does not know."""
        if frames:
            self.misses[reason] += frames
            self.values["rx_missed"] += frames

    @property
    def drops(self) -> int:
        """Frames and copies that were dropped here."""
        return self.rx_drops.total() + self.tx_drops.total()

    @property
    def balance(self) -> int:
        """R12 over a whole bridge: what came in and was made, less what went out and was dropped."""
        came = self.values["rx_frames"] + self.values["copies"] + self.values["originated"]
        return came - self.values["tx_frames"] - self.drops

    def row(self, port: str) -> Row:
        """Give all counters, flat."""
        counters = {name: self.values[name] for name in _NAMES}
        return {
            "port": port,
            **counters,
            "rx_drops": self.rx_drops.total(),
            "tx_drops": self.tx_drops.total(),
        }

    def reasons(self, port: str, *, every: bool) -> Iterator[Row]:
        """Give a row for each direction and reason that has a count, or for every one."""
        for direction, counts, reasons in (
            ("rx", self.rx_drops, DROP_REASONS),
            ("tx", self.tx_drops, DROP_REASONS),
            ("missed", self.misses, MISSES),
        ):
            for reason, meaning in reasons:
                if every or counts[reason]:
                    yield {
                        "port": port,
                        "direction": direction,
                        "reason": reason,
                        "frames": counts[reason],
                        "meaning": meaning,
                    }


class CountsAsWell(Protocol):
    """Somebody else who forwards frames of ports, by index: the kernel (bridge.offload.counts)."""

    def read(self) -> None:
        """Bring all counts up to date."""

    def port(self, index: int) -> Counted:
        """Give what a port did there."""

    def take_port(self, index: int) -> Counted:
        """Give what a port that leaves did there, and forget it."""


class Counted(Protocol):
    """Counters by name."""

    @property
    def values(self) -> Mapping[str, int]:
        """Of a port."""

    @property
    def rx_drops(self) -> Mapping[str, int]:
        """By reason."""

    @property
    def tx_drops(self) -> Mapping[str, int]:
        """By reason."""

    @property
    def misses(self) -> Mapping[str, int]:
        """By reason."""


class Ledger:
    """The books of one bridge; `ports` map the names of ports to their indexes, None: not attached.

    A frame that the kernel forwards is in the same counters as any other, and in `offloaded` as well.
    """

    def __init__(
        self, core: Bridge, dropped: Callable[[], Mapping[str, int]], kernel: CountsAsWell | None = None
    ) -> None:
        """Hear from `dropped`, by name, how many frames the kernel dropped in front of taps while they are attached."""
        self._core = core
        self._dropped = dropped
        self._kernel = kernel
        self._past: dict[str, Tally] = {}  # of ports, from before they were last attached
        self._removed = Tally()

    def carry(self, ports: Mapping[str, Port]) -> None:
        """Keep the counters of ports that just left the snapshot."""
        dropped = self._dropped()
        for name, port in ports.items():
            tally = self._past.setdefault(name, Tally()).add(self._core.final_counters(port))
            if self._kernel:
                tally.add(self._kernel.take_port(port.index))
            tally.miss("tap_full", dropped.get(name, 0))

    @property
    def removed(self) -> Tally:
        """What ports did that are no more."""
        return self._removed

    def continue_from(self, name: str, tally: Tally) -> None:
        """Add to a port what was counted of it by another process."""
        self._past.setdefault(name, Tally()).add(tally)

    def close(self, name: str) -> None:
        """Move the counters of a port that is no more to the total."""
        self._removed.add(self._past.pop(name, Tally()))

    @property
    def names(self) -> list[str]:
        """Ports with counters carried on."""
        return list(self._past)

    def tallies(self, ports: Mapping[str, int | None], counters: Counters | None = None) -> dict[str, Tally]:
        """Give the counters of ports: as they were read, or read now."""
        if self._kernel:
            self._kernel.read()
        tallies = self._counted(ports, (counters or self._core.counters()).ports)
        for name, frames in self._dropped().items():
            if name in tallies:
                tallies[name].miss("tap_full", frames)
        return tallies

    def _counted(self, ports: Mapping[str, int | None], live: Mapping[int, PortCounters]) -> dict[str, Tally]:
        """Give what the data plane counted of ports, with what is carried on."""
        tallies = {}
        for name, index in ports.items():
            tallies[name] = Tally().add(self._past.get(name, Tally()))
            if index is not None and index in live:
                tallies[name].add(live[index])
                if self._kernel:
                    tallies[name].add(self._kernel.port(index))
        return tallies

    def egress(self, ports: Mapping[str, int | None]) -> dict[str, Egress]:
        """Give what each port sent, and what that took."""
        return {
            name: Egress(tally.values["offered"], tally.values["tx_cycles"])
            for name, tally in self._counted(ports, self._core.counters().ports).items()
        }

    def rows(self, ports: Mapping[str, int | None], *, every: bool = False) -> tuple[list[Row], list[Row]]:
        """Give counters and drops of one moment; last in both is the total, of all ports there are or were.

        Counters are one row per port, that of the total with its balance; drops one per port, direction and reason
        that has a count, or for every reason.
        """
        tallies = self.tallies(ports)
        total = Tally().add(self._removed)
        for tally in tallies.values():
            total.add(tally)
        stats = [tally.row(name) for name, tally in tallies.items()]
        named = [*tallies.items(), (TOTAL, total)]
        drops = [row for name, tally in named for row in tally.reasons(name, every=every)]
        return [*stats, {**total.row(TOTAL), "balance": total.balance}], drops
