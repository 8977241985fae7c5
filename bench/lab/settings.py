"""How long and how often to measure: the quick and the full mode as values, and where threads run."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from typing import Any

from bench.errors import BenchError


@dataclass(frozen=True, slots=True)
class Settings:
    """Every length is in seconds; every list is a sweep."""

    mode: str
    rounds: int  # repetitions of everything, interleaved
    sweep_rounds: int  # repetitions of long searches and sweeps
    tcp_seconds: int
    ping_count: int
    saturation_seconds: float
    cost_seconds: float
    latency_seconds: float
    trial_seconds: float  # of a search step
    final_seconds: float  # of the last trial of a search: RFC 2544 wants 60
    loss_seconds: float
    overload_seconds: float
    stations: int  # addresses that a search for the capacity of an FDB goes up to
    sizes: tuple[int | str, ...]
    loss_sizes: tuple[int | str, ...]
    loads: tuple[int, ...]  # frames per second
    latency_rates: tuple[int, ...]
    macs: tuple[int, ...]
    vlans: tuple[int, ...]
    ports: tuple[int, ...]
    copies: tuple[int, ...]
    bursts: tuple[int, ...]
    search_resolution: float  # of a binary search, as a share of the upper end
    time_scale: float = 1.0  # trials are so many times as long as the mode wants
    generator_cpu: int = 0
    system_cpu: int | None = None

    def as_row(self) -> dict[str, object]:
        """Give the values as they are kept in a report."""
        return asdict(self)

    def scaled(self, factor: float) -> Settings:
        """Return the settings with trials `factor` times as long, but never too short to mean anything."""
        if not factor > 0:
            raise BenchError(f"a time scale is above 0, not {factor:g}")
        changes: dict[str, Any] = {
            name: max(least, getattr(self, name) * factor) for name, least in SECONDS_LEAST.items()
        }
        changes |= {
            name: max(least, round(getattr(self, name) * factor)) for name, least in COUNTS_LEAST.items()
        }
        return replace(self, time_scale=self.time_scale * factor, **changes)


SECONDS_LEAST = {
    "saturation_seconds": 0.2,
    "cost_seconds": 0.3,
    "latency_seconds": 0.2,
    "trial_seconds": 0.1,
    "final_seconds": 0.2,
    "loss_seconds": 0.1,
    "overload_seconds": 0.3,
}
COUNTS_LEAST = {"tcp_seconds": 1, "ping_count": 50, "stations": 2_000}

QUICK = Settings(
    mode="quick",
    rounds=3,
    sweep_rounds=1,
    tcp_seconds=2,
    ping_count=500,
    saturation_seconds=0.8,
    cost_seconds=1.2,
    latency_seconds=0.5,
    trial_seconds=0.25,
    final_seconds=0.5,
    loss_seconds=0.25,
    overload_seconds=1.0,
    stations=12_000,
    sizes=(60,),
    loss_sizes=(60,),
    loads=(100_000,),
    latency_rates=(1_000,),
    macs=(1, 1_000, 16_000),
    vlans=(1, 100),
    ports=(2, 16),
    copies=(1, 8),
    bursts=(1, 32),
    search_resolution=0.06,
)
# Frame sizes of RFC 2544 section 9.1 less the FCS, and one jumbo frame of 9018 with it. Lengths: RFC 2544 sections 24
# (60 s for the trial that counts), 26.2 (120 s), 26.5 (60 s); RFC 2889 section 5.6.2 (30 s).
FULL = replace(
    QUICK,
    mode="full",
    rounds=3,
    sweep_rounds=1,
    tcp_seconds=10,
    ping_count=5_000,
    saturation_seconds=30.0,
    cost_seconds=5.0,
    latency_seconds=120.0,
    trial_seconds=2.0,
    final_seconds=60.0,
    loss_seconds=60.0,
    overload_seconds=60.0,
    stations=100_000,
    sizes=(60, 124, 252, 508, 1020, 1276, 1514, 9014, "imix"),
    loss_sizes=(60, 1514, "imix"),
    loads=(1_000, 10_000, 30_000, 100_000, 200_000, 300_000, 500_000),
    latency_rates=(1_000, 100_000),
    macs=(1, 100, 1_000, 4_000, 16_000, 64_000),
    vlans=(1, 10, 100),
    ports=(2, 4, 8, 16, 32, 64),
    copies=(1, 2, 4, 8, 16, 32, 63),
    bursts=(1, 4, 16, 64, 256),
    search_resolution=0.01,
)
# A minute, to see that everything works; its numbers mean little.
SMOKE = replace(
    QUICK,
    mode="smoke",
    rounds=1,
    tcp_seconds=1,
    ping_count=50,
    saturation_seconds=0.2,
    cost_seconds=0.3,
    latency_seconds=0.2,
    trial_seconds=0.1,
    final_seconds=0.2,
    loss_seconds=0.1,
    overload_seconds=0.3,
    stations=2_000,
    macs=(1, 1_000),
    vlans=(1, 10),
    ports=(2, 4),
    copies=(1, 4),
    bursts=(1, 32),
    search_resolution=0.2,
)
MODES = {settings.mode: settings for settings in (QUICK, FULL, SMOKE)}


def choose(mode: str, rounds: int | None = None, time_scale: float = 1.0) -> Settings:
    """Give the settings of a mode with CPUs of this machine: traffic on the first, systems on the last."""
    if mode not in MODES:
        raise BenchError(f"no mode {mode!r}; there are {', '.join(MODES)}")
    cpus = sorted(os.sched_getaffinity(0))
    settings = MODES[mode].scaled(time_scale) if time_scale != 1.0 else MODES[mode]
    settings = replace(settings, generator_cpu=cpus[0], system_cpu=cpus[-1] if len(cpus) > 1 else None)
    return (
        replace(settings, rounds=rounds, sweep_rounds=min(rounds, settings.sweep_rounds))
        if rounds
        else settings
    )
