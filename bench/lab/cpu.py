"""What the whole machine spends: busy CPU time, as cycles, between two looks.

Busy is what is left of the time of all CPUs when idle time is taken away: user, system, interrupts and
softirqs all count, wherever the kernel charges them. Idle time is exact (the kernel keeps it in nanoseconds,
/proc/timer_list); the classes of /proc/stat are sampled by the tick and only show where the time went.
Steal is time the hypervisor took. What it took of an idle CPU is in the idle time, what it took of a busy one
is in the busy time, and nobody says how much that was: so it is left in and reported beside, for a sample with
much of it is a bad one. Cycles are busy seconds times the rate of the cycle counter, not core cycles:
frequency scaling is not seen.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bench.build import program
from bench.lab.net import run

TIMER_LIST = Path("/proc/timer_list")
STAT = Path("/proc/stat")
TICK = os.sysconf("SC_CLK_TCK")
CLASSES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")

_CPU_LINE = re.compile(r"^cpu(\d+) (.*)$", re.MULTILINE)
_NOW = re.compile(r"^now at (\d+) nsecs", re.MULTILINE)
_TIMER_CPU = re.compile(
    r"^cpu: (\d+)$.*?\.idle_entrytime : (\d+) nsecs"
    r".*?\.idle_sleeptime : (\d+) nsecs\s+\.iowait_sleeptime: (\d+) nsecs",
    re.MULTILINE | re.DOTALL,
)


@cache
def cycles_per_second() -> float:
    """Measure the rate of the cycle counter, once."""
    return float(json.loads(run(program("traffic"), "clock"))["cycles_per_second"])


@dataclass(frozen=True, slots=True)
class Look:
    """The machine's clocks at one moment: seconds, summed over CPUs except `now`."""

    now: float
    n_cpus: int
    idle: float
    steal: float
    classes: dict[str, float]
    context_switches: int
    interrupts: int
    exact: bool


@dataclass(frozen=True, slots=True)
class Usage:
    """What happened between two looks. `busy` in CPU seconds; 1.0 per second is one whole CPU."""

    seconds: float
    busy: float
    steal: float
    classes: dict[str, float]
    context_switches: int
    interrupts: int
    exact: bool

    @property
    def cycles(self) -> float:
        """Busy cycles."""
        return self.busy * cycles_per_second()

    @property
    def steal_share(self) -> float:
        """Stolen time as a share of the time of one CPU."""
        return self.steal / self.seconds if self.seconds else 0.0

    def as_row(self) -> dict[str, float]:
        """Give the figures worth keeping with a sample."""
        return {
            "cpu_busy": self.busy / self.seconds if self.seconds else 0.0,
            "cpu_steal": self.steal_share,
            "cpu_softirq": self.classes["softirq"] / self.seconds if self.seconds else 0.0,
            "context_switches_per_second": self.context_switches / self.seconds if self.seconds else 0.0,
        }


def choose_idle(sleep: int, entered: int, now: int, stat_idle: float) -> float:
    """Total idle seconds of a CPU from /proc/timer_list.

    The kernel adds a stretch of idleness when it ends; it does not print whether one is under way. Of the
    two candidates the one closer to what /proc/stat says (exact, but cut to a tick) is right, unless they
    differ by less than that.
    """
    ended, under_way = sleep * 1e-9, (sleep + now - entered) * 1e-9
    middle = stat_idle + 0.5 / TICK  # /proc/stat rounds down
    return ended if abs(ended - middle) <= abs(under_way - middle) else under_way


def look(stat: str | None = None, timers: str | None = None) -> Look:
    """Read the machine's clocks now (or from texts given, for tests)."""
    if timers is None:
        timers = TIMER_LIST.read_text() if os.access(TIMER_LIST, os.R_OK) else ""
    stat = STAT.read_text() if stat is None else stat
    per_cpu = {
        int(cpu): dict(zip(CLASSES, (int(n) / TICK for n in values.split()), strict=False))
        for cpu, values in _CPU_LINE.findall(stat)
    }
    classes = {name: sum(cpu.get(name, 0.0) for cpu in per_cpu.values()) for name in CLASSES}
    found = {int(m[1]): m for m in _TIMER_CPU.finditer(timers)}
    moment = _NOW.search(timers)
    exact = moment is not None and set(found) == set(per_cpu)
    now = int(moment[1]) * 1e-9 if exact and moment else float(Path("/proc/uptime").read_text().split()[0])
    if exact and moment:
        idle = sum(
            choose_idle(int(m[3]), int(m[2]), int(moment[1]), per_cpu[cpu]["idle"]) + int(m[4]) * 1e-9
            for cpu, m in found.items()
        )
    else:
        idle = classes["idle"] + classes["iowait"]
    counts = dict(re.findall(r"^(ctxt|intr) (\d+)", stat, re.MULTILINE))
    return Look(
        now, len(per_cpu), idle, classes["steal"], classes, int(counts["ctxt"]), int(counts["intr"]), exact
    )


def between(before: Look, after: Look) -> Usage:
    """Return what the machine did from one look to the other."""
    seconds = after.now - before.now
    steal = after.steal - before.steal
    busy = max(0.0, seconds * before.n_cpus - (after.idle - before.idle))
    return Usage(
        seconds,
        busy,
        steal,
        {name: after.classes[name] - before.classes[name] for name in CLASSES},
        after.context_switches - before.context_switches,
        after.interrupts - before.interrupts,
        before.exact and after.exact,
    )


# -- single processes


@dataclass(frozen=True, slots=True)
class ProcessLook:
    """CPU seconds, voluntary context switches (wake-ups) and resident bytes of processes, all threads."""

    cpu: float
    wakeups: int
    resident: int


def look_at(pids: list[int]) -> ProcessLook:
    """Read what processes have used so far; those that are gone count as nothing."""
    cpu, wakeups, resident = 0.0, 0, 0
    for pid in pids:
        try:
            for task in Path("/proc", str(pid), "task").iterdir():
                cpu += int((task / "schedstat").read_text().split()[0]) * 1e-9
                found = re.search(
                    r"^voluntary_ctxt_switches:\s+(\d+)", (task / "status").read_text(), re.MULTILINE
                )
                wakeups += int(found[1]) if found else 0
            found = re.search(
                r"^VmRSS:\s+(\d+) kB", Path("/proc", str(pid), "status").read_text(), re.MULTILINE
            )
            resident += int(found[1]) * 1024 if found else 0
        except (FileNotFoundError, ProcessLookupError):
            continue
    return ProcessLook(cpu, wakeups, resident)
