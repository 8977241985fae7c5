"""Which VLANs and talkers get series of their own, and how no counter jumps when that changes. Pure.

Theory of operation. A counter of Prometheus may only grow. If the series `other` were what remains once the dearest
VLANs are taken away, it would leap by a VLAN's whole past when that leaves the dearest, and fall when it returns.
So what a VLAN spends while it has no series of its own is added to `other` for good, and its own series is what it
spent while it had one: both only grow, whoever comes and goes. As long as nobody left, all series add up to the total.

Who is most expensive is decided by the cycles of the last minutes. One that has a series loses it only to one that
spends twice as much, so equals do not take turns.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from bridge.account.window import VID_NONE, VID_OTHER, Amount, total

HALF_LIFE = 600.0  # seconds until cycles count half
MARGIN = 2.0  # how much dearer a challenger must be


class Shown:
    """The VLANs with series of their own, from one page to the next."""

    def __init__(self) -> None:
        self._time = 0.0
        self._last: dict[int, Amount] = {}
        self._hidden: dict[int, Amount] = {}  # spent without a series of its own
        self._weight: dict[int, float] = {}
        self._shown: set[int] = set()

    def update(self, now: float, amounts: Mapping[int, Amount], most: int) -> dict[str, Amount]:
        """Take what each VLAN has spent so far; give at most `most` of them by name, and `other`."""
        grown = {vid: amount.since(self._last.get(vid, Amount())) for vid, amount in amounts.items()}
        decay = 0.5 ** (max(0.0, now - self._time) / HALF_LIFE)
        self._weight = {
            vid: self._weight.get(vid, 0.0) * decay + amount.cycles for vid, amount in grown.items()
        }
        before, self._shown = self._shown, self._chosen(most)
        for vid, amount in grown.items():
            had_series = vid in (before if vid in self._last else self._shown)
            if not had_series:
                self._hidden[vid] = self._hidden.get(vid, Amount()).plus(amount)
        self._last, self._time = dict(amounts), now
        named = {
            "none" if vid == VID_NONE else str(vid): amounts[vid].since(self._hidden.get(vid, Amount()))
            for vid in sorted(self._shown)
        }
        return {**named, "other": total([Amount(), *self._hidden.values()])}

    def _chosen(self, most: int) -> set[int]:
        """Keep who is shown, fill up with the dearest, and let a much dearer one take the place of the cheapest."""
        weight = self._weight
        ranked = sorted((vid for vid in weight if vid != VID_OTHER), key=weight.__getitem__, reverse=True)
        kept = [vid for vid in ranked if vid in self._shown][:most]
        waiting = [vid for vid in ranked if vid not in kept]
        room = most - len(kept)
        kept, waiting = [*kept, *waiting[:room]], waiting[room:]
        kept.sort(key=weight.__getitem__)
        for place, challenger in enumerate(waiting[: len(kept)]):
            if weight[challenger] <= MARGIN * weight[kept[place]]:
                break
            kept[place] = challenger
        return {*kept}


def dearest_talkers(
    talkers: Mapping[tuple[int, int], tuple[str, Amount]], most: int
) -> list[tuple[tuple[int, int], Amount]]:
    """Give the stations (VLAN, MAC) that spent most since they were learned."""
    if not most:
        return []
    ranked = heapq.nlargest(most, talkers.items(), key=lambda item: item[1][1].cycles)
    return [(station, amount) for station, (_, amount) in ranked]
