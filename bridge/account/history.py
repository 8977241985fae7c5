"""The recent past of the bill: windows of about a second for the last minutes, coarser ones for an hour.

Job: take the windows as they come, keep them small, add up those of the last so many seconds. Pure.
Invariant: memory is bounded whatever the traffic. A kept window has at most TALKERS talkers and CHARGES charges
(the dearest; the others are summed up), packed at 56 bytes each; with keys that never repeat, which takes a flood
of new addresses for the whole hour, the whole history has at most 30 MB. An idle second has a few hundred bytes.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import replace
from typing import Generic, NamedTuple, TypeVar

from bridge.account.window import WRAP, Amount, ChargeKey, TalkerKey, Window

TALKERS = 256  # per window
CHARGES = 512  # per window
FINE = 180  # windows as they came
COARSE = 240  # windows of at least COARSE_SECONDS
COARSE_SECONDS = 15.0
KEYS = 16384  # known for sharing
WIDTH = len(Amount())

K = TypeVar("K", bound=Hashable)


class Packed(NamedTuple, Generic[K]):
    """A table of amounts: its keys, and six unsigned 64-bit numbers for each."""

    keys: tuple[K, ...]
    numbers: array[int]

    def unpack(self) -> dict[K, Amount]:
        """Return the table."""
        rows = zip(*[iter(self.numbers)] * WIDTH, strict=True)
        return {key: Amount(*row) for key, row in zip(self.keys, rows, strict=True)}


class Kept(NamedTuple):
    """A window at rest: `frame` has all but the tables."""

    frame: Window
    charges: Packed[ChargeKey]
    talkers: Packed[TalkerKey]

    def window(self) -> Window:
        """Return the window."""
        return replace(self.frame, charges=self.charges.unpack(), talkers=self.talkers.unpack())


class History:
    """Windows in the order of time, each beginning where the one before ended."""

    def __init__(self) -> None:
        self._fine: deque[Kept] = deque()
        self._coarse: deque[Kept] = deque(maxlen=COARSE)
        self._gathering = Window()
        self._keys: dict[Hashable, Hashable] = {}

    @property
    def seconds(self) -> float:
        """How far back it goes."""
        return sum(kept.frame.seconds for kept in self._backwards())

    def append(self, window: Window) -> None:
        """Take the window that follows the last one; it is kept as it is or cut to its dearest rows."""
        if len(self._fine) == FINE:
            self._gather(self._fine.popleft().window())
        self._fine.append(self._keep(window))

    def last(self, seconds: float) -> Window | None:
        """Add up the newest windows whose length together is nearest to `seconds`; None: there is none."""
        found: list[Kept] = []
        reached = 0.0
        for kept in self._backwards():
            if found and reached + kept.frame.seconds / 2 >= seconds:
                break
            found.append(kept)
            reached += kept.frame.seconds
        if not found:
            return None
        summed = Window()
        for kept in reversed(found):
            summed.add(kept.window())
        return summed

    def _backwards(self) -> Iterator[Kept]:
        yield from reversed(self._fine)
        if self._gathering.seconds:
            yield self._keep(self._gathering)
        yield from reversed(self._coarse)

    def _gather(self, window: Window) -> None:
        self._gathering.add(window)
        if self._gathering.seconds >= COARSE_SECONDS:
            self._coarse.append(self._keep(self._gathering))
            self._gathering = Window()

    def _keep(self, window: Window) -> Kept:
        small = replace(window).bounded(CHARGES, TALKERS)
        frame = replace(small, charges={}, talkers={}, stages=dict(small.stages), egress=dict(small.egress))
        return Kept(frame, self._pack(small.charges), self._pack(small.talkers))

    def _pack(self, table: dict[K, Amount]) -> Packed[K]:
        numbers = array("Q", [min(number, WRAP - 1) for amount in table.values() for number in amount])
        return Packed(tuple(self._share(key) for key in table), numbers)

    def _share(self, key: K) -> K:
        """Return an equal key that is kept already, if there is one."""
        if len(self._keys) >= KEYS:
            self._keys.clear()
        return self._keys.setdefault(key, key)  # type: ignore[return-value]
