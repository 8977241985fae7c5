"""The books: counters of the data plane as rows, carried on over all that happens to ports.

Job: a port's counters live in the data plane only as long as it is attached. Here they are carried on when a
device is lost and returns, and kept in the total when a port is removed: the total of a bridge's whole life
balances exactly (R12). Clearing is done by subtraction, so the data thread never stops for it.
Thread: control. Invariant: every row comes from one reading at one batch boundary. Names and meanings come
from the data plane's own tables.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from bridge.account.window import Egress
from bridge.core._core import DROP_REASONS, PORT_COUNTERS, Bridge, Counters, PortCounters

Row = dict[str, object]

_NAMES = [name for name, _ in PORT_COUNTERS]
_REASONS = [name for name, _ in DROP_REASONS]
_MEANINGS = dict(DROP_REASONS)


@dataclass(slots=True)
class Tally:
    """Counters that can be added up."""

    values: Counter[str] = field(default_factory=Counter)
    rx_drops: Counter[str] = field(default_factory=Counter)
    tx_drops: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally | PortCounters) -> Tally:
        """Add in place."""
        self.values.update(other.values)
        self.rx_drops.update(other.rx_drops)
        self.tx_drops.update(other.tx_drops)
        return self

    @property
    def drops(self) -> int:
        """Frames and copies that ended here."""
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


class Ledger:
    """The books of one bridge; `ports` map the names of ports to their indexes, None: not attached."""

    def __init__(self, core: Bridge) -> None:
        self._core = core
        self._past: dict[str, Tally] = {}  # of ports, from before they were last attached
        self._removed = Tally()

    def carry(self, ports: Mapping[str, int]) -> None:
        """Keep the counters of ports that are about to leave the snapshot; they must be quiet already."""
        live = self._core.counters().ports
        for name, index in ports.items():
            self._past.setdefault(name, Tally()).add(live[index])

    def close(self, name: str) -> None:
        """Move the counters of a port that is no more to the total."""
        self._removed.add(self._past.pop(name, Tally()))

    @property
    def names(self) -> list[str]:
        """Ports with counters carried on."""
        return list(self._past)

    def tallies(self, ports: Mapping[str, int | None], counters: Counters | None = None) -> dict[str, Tally]:
        """Give the counters of ports: as they were read, or read now."""
        live = (counters or self._core.counters()).ports
        tallies = {}
        for name, index in ports.items():
            tallies[name] = Tally().add(self._past.get(name, Tally()))
            if index in live:
                tallies[name].add(live[index])
        return tallies

    def egress(self, ports: Mapping[str, int | None]) -> dict[str, Egress]:
        """Give what each port sent, and what that took."""
        return {
            name: Egress(tally.values["offered"], tally.values["tx_cycles"])
            for name, tally in self.tallies(ports).items()
        }

    def stats_rows(self, ports: Mapping[str, int | None]) -> list[Row]:
        """One row per port and a last one with the total, removed ports included, and its balance."""
        tallies = self.tallies(ports)
        total = Tally().add(self._removed)
        for tally in tallies.values():
            total.add(tally)
        rows = [tally.row(name) for name, tally in tallies.items()]
        return [*rows, {**total.row("total"), "balance": total.balance}]

    def drops_rows(self, ports: Mapping[str, int | None], *, every: bool = False) -> list[Row]:
        """One row per port, direction and reason that has a count, or for every reason."""
        return [
            {
                "port": name,
                "direction": direction,
                "reason": reason,
                "frames": drops[reason],
                "meaning": _MEANINGS[reason],
            }
            for name, tally in self.tallies(ports).items()
            for direction, drops in (("rx", tally.rx_drops), ("tx", tally.tx_drops))
            for reason in _REASONS
            if every or drops[reason]
        ]
