"""Accounting of the whole machine, from texts of /proc whose answer is known."""

from __future__ import annotations

import pytest

from bench.lab import cpu

STAT = """cpu  0 0 0 0 0 0 0 0 0 0
cpu0 {user} 0 0 {idle} 0 0 {softirq} {steal} 0 0
cpu1 0 0 0 {idle1} 0 0 0 0 0 0
intr {intr} 0 0
ctxt {ctxt}
"""
TIMERS = """Timer List Version: v0.10
HRTIMER_MAX_CLOCK_BASES: 8
now at {now} nsecs

cpu: 0
 clock 0:
  .idle_entrytime : {entered} nsecs
  .idle_waketime  : 0 nsecs
  .idle_exittime  : 0 nsecs
  .idle_sleeptime : {slept} nsecs
  .iowait_sleeptime: 0 nsecs
cpu: 1
  .idle_entrytime : 1000000000 nsecs
  .idle_sleeptime : {slept1} nsecs
  .iowait_sleeptime: 0 nsecs
"""


def look(
    now: float, slept: float, *, entered: float = 0.0, user: int = 0, steal: int = 0, count: int = 0
) -> cpu.Look:
    """A machine of two CPUs; the second has been idle since second 1. Times in seconds, `user` and `steal` in ticks."""
    idle0 = slept + (now - entered if entered else 0.0)
    stat = STAT.format(
        user=user,
        idle=int(idle0 * 100),
        softirq=3,
        steal=steal,
        idle1=int((now - 1) * 100),
        intr=count,
        ctxt=10 * count,
    )
    timers = TIMERS.format(
        now=round(now * 1e9), entered=round((entered or now - 0.5) * 1e9), slept=round(slept * 1e9), slept1=0
    )
    return cpu.look(stat, timers)


def test_busy_time_is_what_is_not_idle() -> None:
    usage = cpu.between(look(100.0, 50.0), look(110.0, 57.5, user=250, count=7))
    assert usage.exact
    assert usage.seconds == pytest.approx(10.0)
    assert usage.busy == pytest.approx(2.5)  # of 20 CPU seconds, CPU 1 slept 10 and CPU 0 7.5
    assert usage.classes["user"] == pytest.approx(2.5)
    assert usage.context_switches == 70
    assert usage.interrupts == 7


def test_a_stretch_of_idleness_under_way_counts() -> None:
    """The kernel adds it up when it ends; /proc/stat tells whether there is one."""
    usage = cpu.between(look(100.0, 50.0, entered=99.0), look(110.0, 53.0, entered=105.0))
    assert usage.busy == pytest.approx(10 - ((53 + 5) - (50 + 1)))


def test_stolen_time_is_told_beside() -> None:
    usage = cpu.between(look(100.0, 50.0), look(110.0, 57.5, user=150, steal=100))
    assert usage.steal == pytest.approx(1.0)
    assert usage.busy == pytest.approx(2.5)  # nobody knows how much of it fell into idle time
    assert usage.steal_share == pytest.approx(0.1)


def test_without_the_timer_list_ticks_must_do() -> None:
    text = STAT.format(user=100, idle=500, softirq=0, steal=0, idle1=900, intr=1, ctxt=1)
    found = cpu.look(text, "")
    assert not found.exact
    assert found.idle == pytest.approx(14.0)


@pytest.mark.parametrize(
    ("sleep", "entered", "now", "stat", "expected"),
    [
        (
            5_000_000_000,
            9_000_000_000,
            10_000_000_000,
            5.0,
            5.0,
        ),  # busy since it left a stretch entered at 9 s
        (5_000_000_000, 9_000_000_000, 10_000_000_000, 6.0, 6.0),  # idle since 9 s
        (5_001_000_000, 9_000_000_000, 10_000_000_000, 6.0, 6.001),
    ],
)
def test_the_candidate_that_agrees_with_stat_is_right(
    sleep: int, entered: int, now: int, stat: float, expected: float
) -> None:
    assert cpu.choose_idle(sleep, entered, now, stat) == pytest.approx(expected)


def test_this_machine_can_be_read() -> None:
    before = cpu.look()
    after = cpu.look()
    usage = cpu.between(before, after)
    assert before.n_cpus >= 1
    assert 0 <= usage.busy <= usage.seconds * before.n_cpus + 0.02
    assert set(usage.as_row()) == {"cpu_busy", "cpu_steal", "cpu_softirq", "context_switches_per_second"}


def test_a_process_that_is_gone_has_used_nothing() -> None:
    assert cpu.look_at([2**22 + 5]) == cpu.ProcessLook(0.0, 0, 0)
