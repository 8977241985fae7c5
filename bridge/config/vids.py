"""VLAN IDs, and other numbers, as runs of neighbours: for people and for files. Pure."""

from __future__ import annotations

from collections.abc import Iterable


def vid_runs(vids: Iterable[int]) -> list[tuple[int, int]]:
    """Return the first and last VID of every run of neighbours: {10, 20, 21} is 10-10, 20-21."""
    runs: list[tuple[int, int]] = []
    for vid in sorted(vids):
        if runs and vid == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], vid)
        else:
            runs.append((vid, vid))
    return runs


def format_vids(vids: Iterable[int]) -> str:
    """Write VIDs for people: `10,20,100-119`."""
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in vid_runs(vids))


def written_runs(numbers: Iterable[int]) -> list[int | str]:
    """Write numbers for a file: `[10, 20, "100-119"]`."""
    return [first if first == last else f"{first}-{last}" for first, last in vid_runs(numbers)]
