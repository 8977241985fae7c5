"""What the kernel knows of one thread of this process: its CPU time, its waiting for a CPU; and stolen time.

Job: read them into `Times`, once a second, so without pathlib, which takes longer than the read. Thread: any. What a
kernel does not tell (no schedstats, no /proc) is None, never an error.

Sources: the clock ID of a thread's CPU clock is made from its TID as in Linux include/linux/posix-timers_types.h
(CPUCLOCK_PERTHREAD | CPUCLOCK_SCHED); unlike pthread_getcpuclockid() it may be asked of a thread that has ended.
/proc/PID/task/TID/schedstat: Documentation/scheduler/sched-stats.rst, second number: nanoseconds spent waiting on
a run queue. /proc/stat: proc_stat(5), eighth number of the line `cpu`, in clock ticks.
"""

from __future__ import annotations

import os
import time

from bridge.account.window import Times

_CPUCLOCK_PERTHREAD_SCHED = 4 | 2
_NANO = 1e-9
_STEAL_FIELD = 8
_HEAD = 512  # bytes that hold the first line


def read_times(thread_id: int | None, proc: str = "/proc") -> Times:
    """Read the times of a thread; None: it does not run, and only `steal` is known."""
    if thread_id is None:
        return Times(steal=_steal(proc))
    return Times(_cpu(thread_id), _preempted(proc, thread_id), _steal(proc))


def _cpu(thread_id: int) -> float | None:
    try:
        return time.clock_gettime_ns(~thread_id << 3 | _CPUCLOCK_PERTHREAD_SCHED) * _NANO
    except OSError:
        return None


def _preempted(proc: str, thread_id: int) -> float | None:
    try:
        with open(f"{proc}/self/task/{thread_id}/schedstat", "rb", buffering=0) as schedstat:  # noqa: PTH123
            return int(schedstat.read(_HEAD).split()[1]) * _NANO
    except (OSError, ValueError, IndexError):
        return None


def _steal(proc: str) -> float | None:
    try:
        with open(f"{proc}/stat", "rb", buffering=0) as stat:  # noqa: PTH123
            fields = stat.read(_HEAD).split(b"\n", 1)[0].split()
        return int(fields[_STEAL_FIELD]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None
