"""Counts of the kernel: how far they came, whatever becomes of them, and the table they are read from."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from bridge.devices import counters
from bridge.devices.counters import Odometer, open_table, read_tx_dropped, tx_dropped_here

COUNTS = st.integers(0, 2**64 - 1)


@given(start=COUNTS, steps=st.lists(st.integers(0, 10**6)))
def test_what_was_counted_before_is_not_ours(start: int, steps: list[int]) -> None:
    odometer = Odometer(start)
    count = start
    for done, step in enumerate(steps, 1):
        count += step
        assert odometer.read(count) == sum(steps[:done])


@given(start=COUNTS, after=st.lists(st.integers(0, 10**6), min_size=1))
def test_a_count_that_began_anew_is_added(start: int, after: list[int]) -> None:
    odometer = Odometer(start)
    total = odometer.read(start + 5)
    last = start + 5
    for count in after:
        total += count - last if count >= last else count
        last = count
        assert odometer.read(count) == total


def test_the_table_of_the_kernel() -> None:
    table = open_table()
    try:
        assert read_tx_dropped(table)["lo"] == tx_dropped_here("lo")
        assert "lo" in read_tx_dropped(table)  # again, from the start
    finally:
        os.close(table)
    assert tx_dropped_here("no such device") == 0


def test_a_table_longer_than_a_page_is_read_to_its_end(tmp_path: Path) -> None:
    file = tmp_path / "dev"
    lines = [f"{f'tap{n}':>6}: 1 2 3 4 5 6 7 8 9 10 11 {n} 13 14 15 16" for n in range(3000)]
    file.write_text("\n".join(["Inter-|   Receive", " face |bytes", *lines, ""]))
    with file.open() as opened:
        found = read_tx_dropped(opened.fileno())
    assert len(file.read_bytes()) > 2 * counters.CHUNK
    assert found == {f"tap{n}": n for n in range(3000)}
