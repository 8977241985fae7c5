"""What a measurement is, and where the harness finds them all.

A measurement is one small file in bench/measures/ with instances of `Measure` subclasses in MEASURES. It
lists its cases (what is varied), says which systems and sites it wants, and runs one case on one system
once. Repetition, interleaving, medians and ratios are not its business.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from bench.errors import BenchError

from .settings import Settings
from .site import ONE_GUEST, Site, Wish
from .system import System

Case = dict[str, object]  # flat, JSON values; keys in a fixed order per measurement
Values = dict[str, float]


@dataclass(frozen=True, slots=True)
class Metric:
    """One number of a sample. `better`: high | low | none (only context)."""

    name: str
    unit: str
    better: str
    meaning: str


WAKEUPS = Metric("wakeups_per_second", "1/s", "low", "times the system's processes were woken")


@dataclass(slots=True)
class Sample:
    """The outcome of one case on one system once."""

    values: Values
    limits: list[str] = field(default_factory=list)  # parts of the instrument that were the limit
    notes: list[str] = field(default_factory=list)


class Measure(ABC):
    """One measurement."""

    name: str
    title: str
    metrics: tuple[Metric, ...]
    source = ""  # the section of the RFC it follows
    pinned = True  # the system keeps to one CPU, traffic to another
    sweep = False  # a long one: repeated sweep_rounds times, and only on systems that are worth it (System.sweeps)
    long = False  # in full mode so long that it is repeated sweep_rounds times, on every system
    quick = True
    zero = False  # costs are relative to a direct veth: it always takes part
    needs_fdb = False  # only for systems that learn and can forget

    @abstractmethod
    def cases(self, settings: Settings) -> list[Case]:
        """List what is to be measured."""

    @abstractmethod
    def seconds(self, case: Case, settings: Settings) -> float:
        """Estimate how long one run of a case takes."""

    def wish(self, case: Case) -> Wish:
        """Say which site a case runs on."""
        del case
        return ONE_GUEST

    def applies(self, system: System, case: Case) -> bool:
        """Say whether a case makes sense on a system."""
        wish = self.wish(case)
        if self.needs_fdb and not (system.learns and system.flushes):
            return False
        return wish.n_guests <= system.guests_max and (system.carries_tags or not wish.guest_tagged)

    @abstractmethod
    def run(self, site: Site, system: System, case: Case, settings: Settings) -> Sample:
        """Measure a case on a system once."""


def all_measures() -> dict[str, Measure]:
    """Import every file of bench/measures/ and give its measurements by name, in their `order`."""
    import bench.measures as package

    found: dict[str, Measure] = {}
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda module: module.name):
        for measure in getattr(importlib.import_module(f"{package.__name__}.{module.name}"), "MEASURES", ()):
            found[measure.name] = measure
    order = {name: i for i, name in enumerate(package.ORDER)}
    return dict(sorted(found.items(), key=lambda item: order.get(item[0], len(order))))


def choose(names: list[str] | None, settings: Settings) -> list[Measure]:
    """Give the measurements with these names; without names those of the mode."""
    known = all_measures()
    for name in names or []:
        if name not in known:
            raise BenchError(f"no measurement {name!r}; there are {', '.join(known)}")
    if names:
        return [known[name] for name in names]
    return [measure for measure in known.values() if measure.quick or settings.mode == "full"]
