"""The meter: reads the bill of a running data plane once a second, keeps its recent past, answers with rows.

Job: take readings (window), keep them as a history (history) and as baselines, and answer the control methods (views,
savings). Thread: control. Nothing is ever reset in the data plane but the log of slow batches: clearing is a reading
to subtract.

Invariants: charges are kept under the name of the port that made them, also after another port got its index.
Taking samples needs at most SAMPLE_SHARE of a core: where one takes longer, because the FDB is large, they come less
often; stations are not read at all while no frame comes. Memory: the history's, and for each baseline and the last
reading about 400 bytes for each talker in the FDB.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bridge.account.clock_rate import CycleRate
from bridge.account.history import History
from bridge.account.savings import savings_rows
from bridge.account.times import read_times
from bridge.account.views import Price, Rates, Row, histogram_rows, show, summary_row
from bridge.account.window import (
    REMOVED,
    Amount,
    ChargeKey,
    Egress,
    Reading,
    Window,
    difference,
    growth,
    total,
    without_port,
)
from bridge.clock import Clock
from bridge.errors import FramebridgeError

if TYPE_CHECKING:
    from bridge.config.port import PortConfig
    from bridge.core._core import Bridge, Charge, SlowBatch, Talker

SAMPLE_SHARE = 0.01
BASELINES = 4  # with names
CALIBRATIONS = 5  # tries
LAST_MAX = 3600  # seconds


class Meter:
    """The bill of one bridge.

    `names` gives the ports by index, `egress` what each of them sent, by name; `cycles_now` is the data plane's
    cycle counter, `bounds` the lower bounds of the buckets of its histograms; `wall` gives Unix seconds,
    `effort` seconds of CPU time of this thread.
    """

    def __init__(
        self,
        core: Bridge,
        clock: Clock,
        names: Callable[[], Mapping[int, str]],
        egress: Callable[[], Mapping[str, Egress]],
        cycles_now: Callable[[], int],
        bounds: Sequence[int],
        wall: Callable[[], float] = time.time,
        effort: Callable[[], float] = time.thread_time,
    ) -> None:
        self.price = Price()
        self._core = core
        self._clock = clock
        self._names = names
        self._egress = egress
        self._cycles_now = cycles_now
        self._bounds = bounds
        self._wall = wall
        self._effort = effort
        self._rate = CycleRate(*self._pair())
        self._carried: dict[ChargeKey, Amount] = {}  # charges of ports from before they were last attached
        self._start = Reading(clock.now(), times=replace(read_times(None), cpu=0.0, preempted=0.0))
        self._last = self._start
        self._baselines = {"": self._start}
        self._history = History()
        self._due = 0.0

    # -- reading -----------------------------------------------------------------------------------

    def sample(self) -> None:
        """Let time pass: call it once a second."""
        if self._clock.now() < self._due:
            return
        began = self._effort()
        reading = self.read()
        self._history.append(difference(self._last, reading))
        self._last = reading
        self._due = self._clock.now() + (self._effort() - began) / SAMPLE_SHARE - 0.5

    def read(self, *, stations: bool = True) -> Reading:
        """Read everything now; without `stations` what they spent, and ports sent, is of the last sample."""
        self._rate.note(*self._pair())
        bill, last = self._core.bill(), self._last
        charges = self._charges(bill.charges)
        if not stations or (charges == last.charges and bill.departed == last.departed):
            talkers, egress = last.talkers, last.egress
        else:
            talkers, egress = self._talkers(), self._egress()
        return Reading(
            time=self._clock.now(),
            stages=bill.stages,
            charges=charges,
            talkers=talkers,
            departed=bill.departed,
            egress=egress,
            histograms={name: tuple(counts) for name, counts in bill.histograms.items()},
            times=read_times(self._core.thread_id),
            clock_jumps=bill.clock_jumps,
        )

    def price_of(self, port: str, frame_class: str) -> tuple[float, float] | None:
        """Tell what frames of a port and class cost so far: cycles a frame, and a further copy; None: none came."""
        charges = self.read(stations=False).charges
        amounts = [amount for key, amount in charges.items() if key[::2] == (port, frame_class)]
        spent = total(amounts)
        if not spent.frames:
            return None
        return spent.direct / spent.frames, spent.induced / max(1, spent.copies - spent.frames)

    async def calibrate(self) -> None:
        """Wait until the cycles per second are known; they may not be just after the start."""
        for _ in range(CALIBRATIONS):
            self._rate.note(*self._pair())
            if self.hz is not None:
                return
            await self._clock.sleep(2 * CycleRate.SHORTEST)

    def carry(self, names: Mapping[int, str]) -> None:
        """Keep the charges of ports, by index, about to be closed: the data plane will only know their sum."""
        for charge in self._core.bill().charges:
            if (name := names.get(charge.port)) is not None:
                _put(self._carried, ChargeKey(name, charge.vid, charge.frame_class), _amount(charge))

    def retire(self, name: str) -> None:
        """Take note that this port is no more: another of its name begins at 0."""
        self._carried = without_port(self._carried, name)
        self._last = self._last.without_port(name)
        for kept, reading in self._baselines.items():
            self._baselines[kept] = reading.without_port(name)

    def _charges(self, charges: Sequence[Charge]) -> dict[ChargeKey, Amount]:
        """Name the ports. What the data plane knows of closed ports in sum only is known here in detail."""
        names = self._names()
        found = dict(self._carried)
        known: dict[str, Amount] = {}
        for key, amount in found.items():
            known[key.frame_class] = known.get(key.frame_class, Amount()).plus(amount)
        for charge in charges:
            amount, frame_class = _amount(charge), charge.frame_class
            if charge.port < 0:
                amount = amount.since(known.get(frame_class, Amount()))
            name = names.get(charge.port, REMOVED)
            if any(amount):
                _put(found, ChargeKey(name, charge.vid, frame_class), amount)
        return found

    def _talkers(self) -> dict[tuple[int, int], tuple[str, Amount]]:
        names = self._names()
        make = Amount._make  # spelled out: there may be 65536 of them
        return {
            (talker.vid, talker.mac): (names.get(talker.port, REMOVED), make(talker[3:9]))
            for talker in self._core.talkers()
        }

    def _pair(self) -> tuple[float, int]:
        """Read the clock and the cycle counter at the same moment, as nearly as three tries get it."""
        pairs = []
        for _ in range(3):
            before, now, after = self._cycles_now(), self._clock.now(), self._cycles_now()
            pairs.append((growth(before, after), now, before))
        distance, now, before = min(pairs)
        return now, before + distance // 2

    # -- windows -----------------------------------------------------------------------------------

    @property
    def hz(self) -> float | None:
        """Cycles per second; None during the first moments."""
        return self._rate.hz

    @property
    def histograms(self) -> list[str]:
        """Names of the histograms."""
        return [*self._core.bill().histograms]

    @property
    def baselines(self) -> list[str]:
        """Names of the readings that were kept."""
        return [name for name in self._baselines if name]

    def window(self, last: int | None = None, since: str = "") -> Window:
        """Give about the last so many seconds, or all from a baseline (the last clearing) until now."""
        if last is not None and (found := self._history.last(last)) is not None:
            return found
        return difference(self._baselines[since], self.read())

    def total(self) -> Window:
        """Give all since the bridge was made, whatever was cleared."""
        return difference(self._start, self.read())

    def clear(self, name: str = "") -> None:
        """Count from zero again or, with a name, only keep a baseline; refused if there are too many."""
        if name and name not in self._baselines and len(self.baselines) >= BASELINES:
            kept = ", ".join(self.baselines)
            raise FramebridgeError(f"{BASELINES} baselines are kept already, reuse a name: {kept}")
        self._baselines[name] = self.read()
        if not name:
            self._core.clear_slow()

    def rates(self, window: Window) -> Rates:
        """Give what turns the cycles of a window into other units."""
        return Rates(window.seconds, self.hz, self.price)

    # -- rows --------------------------------------------------------------------------------------

    def show_rows(
        self, by: str = "stage", last: int | None = None, since: str = "", top: int | None = None
    ) -> list[Row]:
        """Rows of a view of bridge.cost_views.VIEWS."""
        window = self.window(last, since)
        return show(window, by, self.rates(window), top)

    def summary_rows(self, last: int | None = None, since: str = "") -> list[Row]:
        """One row: where the data thread's time went."""
        window = self.window(last, since)
        until = self._wall() - (self._clock.now() - window.until)
        return [{"until": round(until, 3), **summary_row(window, self.rates(window))}]

    def saving_rows(
        self,
        ports: Sequence[PortConfig],
        last: int | None = None,
        since: str = "",
        top: int | None = None,
    ) -> list[Row]:
        """One row per measure that would save cycles, the best first."""
        window = self.window(last, since)
        return savings_rows(window, self.rates(window), ports)[:top]

    def slow_rows(self) -> list[Row]:
        """One row per slowest batch since the last clearing, slowest first."""
        now, cycles, names, hz = self._wall(), self._cycles_now(), self._names(), self.hz
        return [_slow_row(batch, now, cycles, names, hz) for batch in self._core.bill().slow]

    def histogram_rows(self, name: str | None = None, since: str = "") -> list[Row]:
        """One row per bucket of all histograms or of one, since a baseline."""
        before, after = self._baselines[since].histograms, self.read().histograms
        grown = {
            key: [
                growth(was, now) for was, now in zip(before.get(key, (0,) * len(counts)), counts, strict=True)
            ]
            for key, counts in after.items()
            if name in (None, key)
        }
        return histogram_rows(self._bounds, grown)


def _amount(counted: Charge | Talker) -> Amount:
    return Amount._make(counted[3:9])  # of both: the fields of Amount, as a test says


def _put(found: dict[ChargeKey, Amount], key: ChargeKey, amount: Amount) -> None:
    found[key] = found[key].plus(amount) if key in found else amount


def _slow_row(batch: SlowBatch, now: float, cycles: int, names: Mapping[int, str], hz: float | None) -> Row:
    age = growth(batch.stamp, cycles) / hz if hz else None
    return {
        "time": None if age is None else round(now - age, 3),
        "port": names.get(batch.port),
        "frames": batch.frames,
        "cycles": batch.cycles,
        "microseconds": round(batch.cycles / hz * 1e6, 1) if hz else None,
        **batch.stages,
    }
