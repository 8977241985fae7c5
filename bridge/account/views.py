"""The bill as rows: a window by stage, port, VLAN, class or talker, and in one line. Pure.

Invariant: whatever it is shown by, the cycles of the busy rows add up to the window's busy cycles exactly, and no
number is negative. What cannot be told apart has a row of its own, whose `rest` says what it stands for:

* other: what is not listed, because there are too many rows
* departed: talkers that lost their FDB entry (talker)
* unlearned: frames whose source has no FDB entry, dropped ones above all (talker)
* no_vlan: frames that were dropped before their VLAN was known (vlan)
* removed: ports that are no more (port)
* uncharged: cycles of a batch that were not spread over frames yet; a rounding

Two readings of talkers and charges are not taken at the same instant, so what talkers spent may exceed the bill by
what happened in between: then all of them are scaled down to it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from bridge.account.window import NOT_BUSY, REMOVED, VID_NONE, VID_OTHER, Amount, ChargeKey, Window, total
from bridge.mac import format_mac

Row = dict[str, object]

RESTS = ("other", "departed", "unlearned", "no_vlan", "removed", "uncharged")
ASLEEP = "blocked"  # the stage that uses no CPU
VIEWS = ("stage", "port", "vlan", "class", "talker")
NOISE = 0.001  # share of the bill below which `departed` is the time between two reads
HOURS_PER_MONTH = 730.0
SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Price:
    """What a core costs for an hour; None: not shown."""

    per_core_hour: float | None = None
    currency: str = "EUR"


@dataclass(frozen=True, slots=True)
class Rates:
    """What turns cycles of a window into other units. `hz`: cycles per second, None while it is not known."""

    seconds: float
    hz: float | None
    price: Price = Price()

    def columns(self, cycles: float) -> Row:
        """Cycles as a rate, as CPU time, as a share of a core, and as money."""
        cpu = cycles / self.hz if self.hz else None
        cores = cpu / self.seconds if cpu is not None and self.seconds else None
        hourly = self.price.per_core_hour
        known = cpu is not None and hourly is not None
        month = cores * hourly * HOURS_PER_MONTH if cores is not None and hourly is not None else None
        return {
            "cycles_per_second": _ratio(cycles, self.seconds),
            "cpu_seconds": _rounded(cpu, 9),
            "cores": _rounded(cores, 6),
            "money": _rounded(cpu * hourly / SECONDS_PER_HOUR, 9) if known and cpu and hourly else None,
            "money_per_month": _rounded(month, 6),
            "currency": self.price.currency if hourly is not None else None,
            "seconds": round(self.seconds, 3),
        }

    def no_columns(self, cycles: float) -> Row:
        """Cycles that passed without using a CPU."""
        return {
            **self.columns(cycles),
            **dict.fromkeys(("cpu_seconds", "cores", "money", "money_per_month")),
        }


def show(window: Window, by: str, rates: Rates, top: int | None = None) -> list[Row]:
    """Rows of a view of VIEWS, dearest first; with `top` only so many, the rest in a row `other`."""
    if by == "stage":
        return stage_rows(window, rates)
    ranked, rests = TABLES[by](window)
    if top is not None and len(ranked) > top:
        kept, cut = ranked[:top], ranked[top:]
        rests["other"] = rests.get("other", Amount()).plus(total(amount for _, amount in cut))
        ranked = kept
    blank: Row = dict.fromkeys(KEYS[by])
    rows: list[tuple[Row, str | None, Amount]] = [(key, None, amount) for key, amount in ranked]
    rows += [(blank, rest, rests[rest]) for rest in RESTS if rest in rests]
    return [
        {
            **key,
            "rest": rest,
            **amount_columns(amount, window, rates),
            **(egress_columns(window, key["port"]) if by == "port" else {}),
        }
        for key, rest, amount in rows
    ]


def stage_rows(window: Window, rates: Rates) -> list[Row]:
    """One row per stage, in the order a frame goes through them; shares are of the busy cycles."""
    frames, busy = window.total, window.busy
    everything = sum(window.stages.values())
    return [
        {
            "stage": stage,
            "busy": stage not in NOT_BUSY,
            "cycles": cycles,
            "share": _ratio(cycles, busy, 4) or 0.0 if stage not in NOT_BUSY else None,
            "time_share": _ratio(cycles, everything, 4) or 0.0,
            "cycles_per_frame": _ratio(cycles, frames.frames),
            "cycles_per_wire_frame": _ratio(cycles, frames.segments),
            **(rates.columns(cycles) if stage != ASLEEP else rates.no_columns(cycles)),
        }
        for stage, cycles in window.stages.items()
    ]


# -- attribution

KEYS: Mapping[str, tuple[str, ...]] = {
    "port": ("port",),
    "vlan": ("vlan",),
    "class": ("class",),
    "talker": ("mac", "vlan", "port"),
}
Ranked = tuple[list[tuple[Row, Amount]], dict[str, Amount]]


def by_port(window: Window) -> Ranked:
    """Ingress ports, also those that brought nothing, and the ones that are no more."""
    groups: dict[Hashable, Amount] = dict.fromkeys(window.egress, Amount())
    groups |= _grouped(window, lambda key: key.port)
    rests = {"removed": groups.pop(REMOVED)} if REMOVED in groups else {}
    return _ranked(groups, "port"), _with_uncharged(window, rests)


def by_vlan(window: Window) -> Ranked:
    """VLANs, and frames without one."""
    groups = _grouped(window, lambda key: key.vid)
    rests = {
        rest: groups.pop(vid) for vid, rest in ((VID_OTHER, "other"), (VID_NONE, "no_vlan")) if vid in groups
    }
    return _ranked(groups, "vlan"), _with_uncharged(window, rests)


def by_class(window: Window) -> Ranked:
    """Classes of frames."""
    return _ranked(_grouped(window, lambda key: key.frame_class), "class"), _with_uncharged(window, {})


def by_talker(window: Window) -> Ranked:
    """Source addresses, those not listed, and what has none."""
    charged = total(charges(window).values())
    groups: dict[tuple[int, int], Amount] = {}
    places: dict[tuple[int, int], str] = {}
    for key, amount in window.talkers.items():
        station = key.vid, key.mac
        groups[station] = groups.get(station, Amount()).plus(amount)
        places[station] = key.port
    gone = window.departed if window.departed > charged.cycles * NOISE else 0
    parts = [*groups.values(), window.others, Amount(gone)]
    *talkers, others, departed = _fitted(parts, charged.cycles)
    known = total(talkers).cycles + others.cycles + departed.cycles
    rests = {
        rest: amount
        for rest, amount in (
            ("other", others),
            ("departed", departed),
            ("unlearned", Amount(charged.cycles - known)),
        )
        if amount.cycles
    }
    ranked = sorted(zip(groups, talkers, strict=True), key=lambda item: (-item[1].cycles, item[0]))
    listed: list[tuple[Row, Amount]] = [
        ({"mac": format_mac(mac), "vlan": vid, "port": places[vid, mac] or None}, amount)
        for (vid, mac), amount in ranked
    ]
    return listed, _with_uncharged(window, rests)


TABLES: Mapping[str, Callable[[Window], Ranked]] = {
    "port": by_port,
    "vlan": by_vlan,
    "class": by_class,
    "talker": by_talker,
}


def charges(window: Window) -> dict[ChargeKey, Amount]:
    """Return the charges, which are never more than the busy cycles: what rounding left over is charged later."""
    amounts = _fitted([*window.charges.values()], window.busy)
    return dict(zip(window.charges, amounts, strict=True))


def _fitted(amounts: Sequence[Amount], most: int) -> list[Amount]:
    """Scale cycles down to what they may be together."""
    sum_ = sum(amount.cycles for amount in amounts)
    if sum_ <= most:
        return [*amounts]
    return [
        amount._replace(direct=amount.direct * most // sum_, induced=amount.induced * most // sum_)
        for amount in amounts
    ]


def _grouped(window: Window, group: Callable[[ChargeKey], Hashable]) -> dict[Hashable, Amount]:
    groups: dict[Hashable, Amount] = {}
    for key, amount in charges(window).items():
        groups[group(key)] = groups.get(group(key), Amount()).plus(amount)
    return groups


def _ranked(groups: Mapping[Hashable, Amount], column: str) -> list[tuple[Row, Amount]]:
    ranked = sorted(groups.items(), key=lambda item: (-item[1].cycles, str(item[0])))
    return [({column: key}, amount) for key, amount in ranked]


def _with_uncharged(window: Window, rests: dict[str, Amount]) -> dict[str, Amount]:
    left = window.busy - total(charges(window).values()).cycles
    return {**rests, "uncharged": Amount(left)} if left else rests


def amount_columns(amount: Amount, window: Window, rates: Rates) -> Row:
    """Columns of an amount; where only its cycles are known the others are null."""
    is_known = amount.frames > 0 or not amount.cycles
    columns: Row = {"cycles": amount.cycles, "share": _ratio(amount.cycles, window.busy, 4) or 0.0}
    for name in ("direct", "induced", "frames", "segments", "bytes", "copies"):
        columns[name] = getattr(amount, name) if is_known else None
    return {
        **columns,
        "cycles_per_frame": _ratio(amount.cycles, amount.frames),
        "cycles_per_wire_frame": _ratio(amount.cycles, amount.segments),
        "frames_per_second": _ratio(amount.frames, rates.seconds) if is_known else None,
        **rates.columns(amount.cycles),
    }


def egress_columns(window: Window, port: object) -> Row:
    """Tell what it costs to send one copy out of a port."""
    egress = window.egress.get(port) if isinstance(port, str) else None
    return {
        "offered": egress.offered if egress else None,
        "tx_cycles": egress.tx_cycles if egress else None,
        "cycles_per_copy": round(egress.cycles_per_copy, 1) if egress and egress.offered else None,
    }


# -- in one line


def summary_row(window: Window, rates: Rates) -> Row:
    """Tell the whole window: where the data thread's time went, and what the kernel says of it.

    `accounted_seconds` are its busy, polling and control cycles as time; the CPU clock (`cpu_seconds`) does not run
    while the thread is preempted, which is shown apart, as is time stolen from the machine.
    """
    frames, busy = window.total, window.busy
    parts = {name: window.stages.get(name, 0) for name in NOT_BUSY}
    working = busy + parts["polling"] + parts["control"]
    accounted = working / rates.hz if rates.hz else None
    cpu = window.times.cpu
    rate = rates.columns(busy)
    return {
        "seconds": round(rates.seconds, 3),
        "hz": round(rates.hz) if rates.hz else None,
        "busy_cycles": busy,
        **{f"{name}_cycles": cycles for name, cycles in parts.items()},
        "charged_cycles": min(frames.cycles, busy),
        "uncharged_cycles": max(0, busy - frames.cycles),
        **{
            f"{name}_cores": rates.columns(cycles)["cores"]
            for name, cycles in {"busy": busy, **parts}.items()
            if name != ASLEEP
        },
        "cpu_seconds": _rounded(cpu, 6),
        "accounted_seconds": _rounded(accounted, 6),
        "accounted_per_cpu": _ratio(accounted, cpu, 4) if accounted is not None and cpu else None,
        "preempted_seconds": _rounded(window.times.preempted, 6),
        "steal_seconds": _rounded(window.times.steal, 6),
        "clock_jumps": window.clock_jumps,
        "frames": frames.frames,
        "segments": frames.segments,
        "bytes": frames.bytes,
        "copies": frames.copies,
        "cycles_per_frame": _ratio(busy, frames.frames),
        "cycles_per_wire_frame": _ratio(busy, frames.segments),
        "frames_per_second": _ratio(frames.frames, rates.seconds),
        "price_per_core_hour": rates.price.per_core_hour,
        **{name: rate[name] for name in ("currency", "money", "money_per_month")},
    }


# -- histograms


def histogram_rows(bounds: Sequence[int], histograms: Mapping[str, Iterable[int]]) -> list[Row]:
    """One row per bucket from the first to the last that has a count; `to` is exclusive, null: no end."""
    rows: list[Row] = []
    for name, values in histograms.items():
        counts = [*values]
        filled = [place for place, count in enumerate(counts) if count]
        if not filled:
            continue
        ends: dict[int, int] = dict(pairwise(bounds))
        everything = sum(counts)
        for place in range(filled[0], filled[-1] + 1):
            low = bounds[place]
            rows.append(
                {
                    "histogram": name,
                    "from": low,
                    "to": ends.get(low),
                    "count": counts[place],
                    "share": round(counts[place] / everything, 6),
                }
            )
    return rows


def _ratio(part: float | None, whole: float | None, digits: int = 1) -> float | None:
    return round(part / whole, digits) if whole and part is not None else None


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
