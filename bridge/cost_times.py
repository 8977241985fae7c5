"""What the kernel knows of one thread of this process: its CPU time, its waiting for a CPU; and stolen time.

Job: read them into `Times`. Costs three short system calls or reads. Thread: any. What a kernel does not tell
(no schedstats, no /proc) is None, never an error.

Sources: the clock ID of a thread's CPU clock is made from its TID as in Linux include/linux/posix-timers_types.h
(CPUCLOCK_PERTHREAD | CPUCLOCK_SCHED); unlike pthread_getcpuclockid() it may be asked of a thread that has ended.
/proc/PID/task/TID/schedstat: Documentation/scheduler/sched-stats.rst, second number: nanoseconds spent waiting on
a run queue. /proc/stat: proc_stat(5), eighth number of the line `cpu`, in clock ticks.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from bridge.cost import Times

_CPUCLOCK_PERTHREAD_SCHED = 4 | 2
_NANO = 1e-9
_STEAL_FIELD = 8
_STAT_HEAD = 512  # bytes that hold the first line


def read_times(thread_id: int | None, proc: Path = Path("/proc")) -> Times:
    """Read the times of a thread; None: it does not run, and only `steal` is known."""
    if thread_id is None:
        return Times(steal=_steal(proc))
    return Times(_cpu(thread_id), _preempted(proc, thread_id), _steal(proc))


def _cpu(thread_id: int) -> float | None:
    try:
        return time.clock_gettime_ns(~thread_id << 3 | _CPUCLOCK_PERTHREAD_SCHED) * _NANO
    except OSError:
        return None


def _preempted(proc: Path, thread_id: int) -> float | None:
    try:
        return int((proc / f"self/task/{thread_id}/schedstat").read_bytes().split()[1]) * _NANO
    except (OSError, ValueError, IndexError):
        return None


def _steal(proc: Path) -> float | None:
    try:
        with (proc / "stat").open("rb", buffering=0) as stat:
            fields = stat.read(_STAT_HEAD).split(b"\n", 1)[0].split()
        return int(fields[_STEAL_FIELD]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None
