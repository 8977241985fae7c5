"""How long and how often to measure: the quick and the full mode as values, and where threads run."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace

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
    overload_seconds: float
    sizes: tuple[int | str, ...]
    loads: tuple[int, ...]  # frames per second
    latency_rates: tuple[int, ...]
    macs: tuple[int, ...]
    vlans: tuple[int, ...]
    ports: tuple[int, ...]
    copies: tuple[int, ...]
    bursts: tuple[int, ...]
    search_resolution: float  # of a binary search, as a share of the upper end
    generator_cpu: int = 0
    system_cpu: int | None = None

    def as_row(self) -> dict[str, object]:
        """Give the values as they are kept in a report."""
        return asdict(self)


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
    overload_seconds=1.0,
    sizes=(60,),
    loads=(100_000,),
    latency_rates=(1_000,),
    macs=(1, 1_000, 16_000),
    vlans=(1, 100),
    ports=(2, 16),
    copies=(1, 8),
    bursts=(1, 32),
    search_resolution=0.06,
)
# The frame sizes of RFC 2544 section 9.1 less the FCS, and one jumbo frame of 9018 with it.
FULL = replace(
    QUICK,
    mode="full",
    rounds=5,
    sweep_rounds=1,
    tcp_seconds=10,
    ping_count=5_000,
    saturation_seconds=5.0,
    cost_seconds=5.0,
    latency_seconds=5.0,
    trial_seconds=2.0,
    final_seconds=60.0,
    overload_seconds=60.0,
    sizes=(60, 124, 252, 508, 1020, 1276, 1514, 9014, "imix"),
    loads=(1_000, 10_000, 30_000, 100_000, 200_000, 300_000, 500_000),
    latency_rates=(1_000, 10_000, 100_000),
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
    overload_seconds=0.3,
    macs=(1, 1_000),
    vlans=(1, 10),
    ports=(2, 4),
    copies=(1, 4),
    bursts=(1, 32),
    search_resolution=0.2,
)
MODES = {settings.mode: settings for settings in (QUICK, FULL, SMOKE)}


def choose(mode: str, rounds: int | None = None) -> Settings:
    """Give the settings of a mode with CPUs of this machine: traffic on the first, systems on the last."""
    if mode not in MODES:
        raise BenchError(f"no mode {mode!r}; there are {', '.join(MODES)}")
    cpus = sorted(os.sched_getaffinity(0))
    settings = replace(MODES[mode], generator_cpu=cpus[0], system_cpu=cpus[-1] if len(cpus) > 1 else None)
    return (
        replace(settings, rounds=rounds, sweep_rounds=min(rounds, settings.sweep_rounds))
        if rounds
        else settings
    )
