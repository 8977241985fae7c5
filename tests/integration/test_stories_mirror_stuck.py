"""A disk that hangs while a mirror writes to it: copies are lost and counted, nothing else waits, nothing is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers import frames, pcapng
from helpers.lan import Lan
from helpers.stuck import Stuck, stuck

pytestmark = pytest.mark.root

SIZE = 1 << 18
RING = 4 << 20
DATA = frames.ethernet(frames.BROADCAST, frames.host(1), payload=1400)
BATCH = 64


def row(lan: Lan) -> dict[str, Any]:
    (found,) = lan.bridge.ask("MirrorShow")
    return found


def record(lan: Lan, file: Path) -> None:
    words = f"mirror add look file {file} files 3 file_size {SIZE}B ports a direction rx"
    lan.bridge.rows(*words.split())


def fill(lan: Lan, disk: Stuck) -> int:
    """Send until the next file is waited for and the ring is full; returns how many frames."""
    wire = lan.wire("a")
    sent = 0
    while not (disk.has_victim() and row(lan)["lost"]):
        assert sent < 100 * RING // len(DATA)
        for _ in range(BATCH):
            wire.send(DATA)
        sent += BATCH
        lan.bridge.wait(lambda n=sent: lan.bridge.stats("a")["rx_frames"] >= n, "the frames to be taken")
    return sent


def test_a_disk_that_hangs_costs_copies_and_nothing_else(lan: Lan, tmp_path: Path) -> None:
    file = tmp_path / "look"
    record(lan, file)
    with stuck(tmp_path) as disk:
        sent = fill(lan, disk)
        assert lan.guest("a", 1).ping(lan.external(10)) == (3, 3)
        lan.bridge.check_books()
        assert lan.bridge.drops() == {}
        told = row(lan)
        assert told["state"] == "recording"
        assert told["mirrored"] + told["lost"] == lan.bridge.stats("a")["rx_frames"]
        lan.bridge.rows("port", "set", "c", "mtu", "1400")
    lan.bridge.wait(lambda: row(lan)["files"] >= 2, "the disk to be back")
    lan.bridge.rows("mirror", "del", "look")
    assert sum(len(pcapng.read(one.read_bytes()).packets) for one in tmp_path.iterdir()) > SIZE // len(DATA)
    assert lan.bridge.stats("b")["tx_frames"] >= sent


def test_a_mirror_on_a_disk_that_hangs_can_be_removed(lan: Lan, tmp_path: Path) -> None:
    """And its file be written by another one when the disk is back."""
    file = tmp_path / "look"
    record(lan, file)
    with stuck(tmp_path) as disk:
        fill(lan, disk)
        lan.bridge.rows("mirror", "del", "look")
        assert lan.bridge.ask("MirrorShow") == []
        lan.bridge.wait_log("a write does not end")
        assert lan.guest("a", 1).ping(lan.external(10)) == (3, 3)
    lan.bridge.wait_log("mirror look: closed")
    record(lan, file)
    lan.bridge.rows("mirror", "del", "look")


def test_the_daemon_ends_while_a_disk_hangs(lan: Lan, tmp_path: Path) -> None:
    record(lan, tmp_path / "look")
    with stuck(tmp_path) as disk:
        fill(lan, disk)
        assert lan.bridge.end() == 0
        assert not lan.bridge.socket.exists()
