"""Mirrors over real devices: to a tap somebody listens on, into files that others can read, and in trouble."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import frames, pcapng
from helpers.hosts import stream
from helpers.lan import Lan
from helpers.net import Net, wait_until
from scapy.layers.l2 import Dot1Q
from scapy.utils import PcapNgReader

pytestmark = pytest.mark.root

PINGS = 5


def row(lan: Lan, name: str) -> dict[str, Any]:
    return next(row for row in lan.bridge.ask("MirrorShow") if row["mirror"] == name)


def wait_state(lan: Lan, name: str, state: str) -> dict[str, Any]:
    lan.bridge.wait(lambda: row(lan, name)["state"] == state, f"mirror {name} to be {state}")
    return row(lan, name)


def end(lan: Lan, name: str, file: Path) -> pcapng.File:
    """Remove a mirror and read what it wrote."""
    lan.bridge.rows("mirror", "del", name)
    return pcapng.read(file.read_bytes())


@pytest.fixture
def watcher(lan: Lan, net: Net) -> Any:
    """A tap that takes copies, and what arrives there."""
    lan.spaces["watch"] = net.namespace()
    name = lan.spaces["watch"].name
    lan.bridge.rows(*f"port add watch kind tap device tap0 netns {name} mirror on".split())
    return net.packet_socket("tap0", lan.spaces["watch"])


def pings(lan: Lan) -> None:
    guest, external = lan.guest("a", 1), lan.external(10)
    assert guest.ping(external, PINGS) == (PINGS, PINGS)


@pytest.mark.smoke
def test_a_ping_is_seen_on_a_second_tap(lan: Lan, watcher: Any) -> None:
    lan.bridge.rows("mirror", "add", "ids", "to_port", "watch", "direction", "rx", "ports", "a,uplink")
    sent = frames.ethernet(frames.BROADCAST, frames.host(1), payload=100)
    wire = lan.wire("a")
    wire.send(sent)
    watcher.wait_for(lambda got: (got.data, got.tag) == (sent, None))
    lan.wire("outside").send(sent[:12] + frames.tag(10, pcp=3) + sent[12:])
    watcher.wait_for(lambda got: (got.data, got.tag) == (sent, (0x8100, 3 << 13 | 10)))
    assert row(lan, "ids")["mirrored"] >= 2
    lan.bridge.check_books()


def test_what_a_watching_port_sends_goes_nowhere(lan: Lan, watcher: Any) -> None:
    outside = lan.wire("outside")
    watcher.send(frames.ethernet(frames.BROADCAST, frames.host(7)))
    lan.bridge.wait(lambda: lan.bridge.drops().get(("watch", "rx", "egress_only")), "the drop")
    assert outside.waiting() == []


def test_a_file_has_both_directions_and_opens_elsewhere(lan: Lan, tmp_path: Path) -> None:
    file = tmp_path / "ping.pcapng"
    lan.bridge.rows("mirror", "add", "look", "file", str(file), "vlans", "10")
    pings(lan)
    found = end(lan, "look", file)

    echo = [name for name, packet in zip(found.names, found.packets, strict=True) if len(packet.data) >= 98]
    assert {name: echo.count(name) for name in {*echo}} == {"a": 2 * PINGS, "uplink": 2 * PINGS}
    times = [packet.ns for packet in found.packets]
    assert times == sorted(times)
    assert abs(times[-1] - file.stat().st_mtime_ns) < 60 * 10**9
    assert file.stat().st_mode & 0o777 == 0o600
    assert sum(counts[8] for counts in found.statistics.values()) == len(found.packets)
    with PcapNgReader(str(file)) as reader:
        assert len([*reader]) == len(found.packets)
    on_trunk = [p.data for n, p in zip(found.names, found.packets, strict=True) if n == "uplink"]
    assert {data[12:14] for data in on_trunk} == {b"\x81\x00"}
    assert Dot1Q(on_trunk[0][14:18]).vlan == 10


def test_tshark_reads_a_file(lan: Lan, tmp_path: Path) -> None:
    if not shutil.which("tshark"):
        pytest.skip("tshark is not installed: apt-get install tshark")
    file = tmp_path / "ping.pcapng"
    lan.bridge.rows("mirror", "add", "look", "file", str(file), "what", "all")
    lan.wire("a").send(frames.ethernet(frames.reserved(0), frames.host(1)))
    pings(lan)
    found = end(lan, "look", file)
    fields = ("frame.interface_name", "frame.comment", "frame.packet_flags_direction")
    arguments = [word for field in fields for word in ("-e", field)]
    done = subprocess.run(
        ["tshark", "-n", "-r", str(file), "-T", "fields", *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == found.names
    assert [line[1] for line in lines] == [packet.comment for packet in found.packets]
    assert "The file" not in done.stderr


def test_dropped_frames_have_their_reason(lan: Lan, tmp_path: Path) -> None:
    file = tmp_path / "why.pcapng"
    lan.bridge.rows("mirror", "add", "why", "file", str(file), "what", "drops")
    sent = frames.ethernet(frames.reserved(0), frames.host(1))
    lan.wire("a").send(sent)
    lan.bridge.wait(lambda: row(lan, "why")["mirrored"], "the drop to be captured")
    found = end(lan, "why", file)
    (packet,) = [packet for packet in found.packets if packet.data == sent]
    assert packet.comment.startswith("dropped: reserved: ")
    assert packet.inbound


def test_a_target_that_goes_away_and_comes_back(lan: Lan, watcher: Any) -> None:
    lan.bridge.rows("mirror", "add", "ids", "to_port", "watch", "ports", "a", "direction", "rx")
    wire = lan.wire("a")
    sent = frames.ethernet(frames.BROADCAST, frames.host(1))
    wire.send(sent)
    lan.bridge.wait(lambda: row(lan, "ids")["mirrored"] == 1, "the first copy")
    lan.spaces["watch"].delete_link("tap0")
    wait_state(lan, "ids", "absent")
    pings(lan)
    lan.bridge.check_books()
    assert row(lan, "ids")["mirrored"] >= 1


def test_files_that_are_there_are_not_touched(lan: Lan, tmp_path: Path) -> None:
    file = tmp_path / "kept"
    file.write_bytes(b"precious")
    link, fifo = tmp_path / "link", tmp_path / "fifo"
    link.symlink_to(file)
    os.mkfifo(fifo)
    for path, why in [
        (file, "has 8 bytes in it"),
        (link, "is a symbolic link"),
        (fifo, "is no regular file"),
        (Path("/dev/full"), "is not beneath"),
        (tmp_path / "absent" / "file", "No such file"),
    ]:
        assert why in lan.bridge.refused("mirror", "add", "look", "file", str(path))
    assert lan.bridge.ask("MirrorShow") == []
    assert file.read_bytes() == b"precious"
    lan.bridge.rows("mirror", "add", "look", "file", str(file), "replace")
    assert end(lan, "look", file).packets == []
    pings(lan)


def test_a_file_is_full_or_the_next_one_begins(lan: Lan, tmp_path: Path) -> None:
    full, rotated = tmp_path / "full", tmp_path / "rotated"
    size = 1 << 18
    lan.bridge.rows("mirror", "add", "full", "file", str(full), "file_size", f"{size}B")
    lan.bridge.rows("mirror", "add", "next", "file", str(rotated), "file_size", f"{size}B", "files", "2")
    wire = lan.wire("a")
    data = frames.ethernet(frames.BROADCAST, frames.host(1), payload=1400)
    for _ in range(400):
        wire.send(data)
    wait_state(lan, "full", "full")
    lan.bridge.wait(lambda: row(lan, "next")["files"] > 1, "the second file")
    for name in ("full", "next"):
        lan.bridge.rows("mirror", "del", name)
    for file in (full, rotated, tmp_path / "rotated.1"):
        found = pcapng.read(file.read_bytes())
        assert file.stat().st_size <= size
        assert sum(counts[8] for counts in found.statistics.values()) == len(found.packets) > 0
    assert not (tmp_path / "rotated.2").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", str(place).encode(), b"tmpfs", 0, b"size=512k"):
        pytest.skip(f"no tmpfs: {os.strerror(ctypes.get_errno())}")
    yield place
    libc.umount2(str(place).encode(), 2)


def test_a_full_disk_costs_the_mirror_and_nothing_else(lan: Lan, small_disk: Path) -> None:
    file = small_disk / "look"
    lan.bridge.rows("mirror", "add", "look", "file", str(file))
    wire = lan.wire("a")
    data = frames.ethernet(frames.BROADCAST, frames.host(1), payload=1400)
    for _ in range(600):
        wire.send(data)
    assert wait_state(lan, "look", "failed")["reason"] == "No space left on device"
    assert len(pcapng.read(file.read_bytes()).packets) > 100
    lan.bridge.check_books()
    pings(lan)


def test_a_file_that_is_removed_ends_the_mirror(lan: Lan, tmp_path: Path) -> None:
    file = tmp_path / "look"
    lan.bridge.rows("mirror", "add", "look", "file", str(file))
    file.unlink()
    assert wait_state(lan, "look", "failed")["reason"] == "the file was removed"
    lan.bridge.rows("mirror", "del", "look")


def test_a_reload_keeps_a_mirror_and_a_restart_survives_its_file(lan: Lan, tmp_path: Path) -> None:
    file = tmp_path / "look"
    table = f'[[mirror]]\nname = "look"\nfile = "{file}"\nports = ["a"]\n'
    lan.rewrite(mirror=table)
    lan.bridge.rows("reload")
    lan.wire("a").send(frames.ethernet(frames.BROADCAST, frames.host(1)))
    lan.bridge.wait(lambda: row(lan, "look")["mirrored"], "a copy")
    before = row(lan, "look")["mirrored"]
    lan.rewrite(mirror=table + "snaplen = 64\n")
    lan.bridge.rows("reload")
    assert row(lan, "look")["mirrored"] >= before
    lan.rewrite(mirror=table + 'to_port = "a"\n')
    assert "exactly one of" in lan.bridge.refused("reload")
    lan.rewrite()
    lan.bridge.rows("reload")
    assert pcapng.read(file.read_bytes()).packets != []


def test_a_mirror_to_a_port_with_traffic_is_refused(lan: Lan) -> None:
    assert "has traffic of its own, VLAN 10" in lan.bridge.refused("mirror", "add", "m", "to_port", "b")
    assert "mirrored to itself" in lan.bridge.refused("mirror", "add", "m", "to_port", "b", "ports", "b")


def test_under_overload_copies_are_lost_and_no_frame(lan: Lan, tmp_path: Path) -> None:
    """A rate that is far too low, and a stream that arrives as a whole."""
    lan.bridge.rows("mirror", "add", "look", "file", str(tmp_path / "look"), "rate", "10 frames/s")
    guest, external = lan.guest("a", 1), lan.external(10)
    with stream(guest, external) as running:
        running.wait_more(500)
    assert row(lan, "look")["over_rate"] > 100
    wait_until(lambda: row(lan, "look")["file_bytes"], "something to be written")
    lan.bridge.check_books()


def test_a_port_in_the_place_of_another_is_another_interface(lan: Lan, tmp_path: Path) -> None:
    """Of each the statistics tell its own packets."""
    file = tmp_path / "look"
    lan.bridge.rows("mirror", "add", "look", "file", str(file), "vlans", "20", "direction", "rx")
    sent = frames.ethernet(frames.BROADCAST, frames.host(1))
    index, space = lan.bridge.port("c")["index"], lan.spaces["c"].name
    for n, name in ((3, "c"), (5, "d")):
        wire = lan.wire("c")
        for _ in range(n):
            wire.send(sent)
        lan.bridge.wait(lambda n=n, name=name: lan.bridge.stats(name)["rx_frames"] == n, "the frames")
        if name == "c":
            lan.bridge.rows("port", "del", "c")
            lan.bridge.rows(*f"port add d kind tap device tap0 netns {space} access 20".split())
    assert lan.bridge.port("d")["index"] == index
    found = end(lan, "look", file)
    assert found.names == 3 * ["c"] + 5 * ["d"]
    written = [(found.interfaces[n], counts[8]) for n, counts in found.statistics.items() if counts[8]]
    assert written == [("c", 3), ("d", 5)]


def test_a_mirror_that_takes_over_the_file_of_another_is_refused(lan: Lan, tmp_path: Path) -> None:
    """In one reload: the other one is ended only when nothing can fail any more."""
    file = tmp_path / "look"
    table = '[[mirror]]\nname = "{}"\nfile = "' + str(file) + '"\nreplace = true\n'
    lan.rewrite(mirror=table.format("one"))
    lan.bridge.rows("reload")
    lan.rewrite(mirror=table.format("other"))
    assert "a mirror is writing to it; end that one first" in lan.bridge.refused("reload")
    lan.wire("a").send(frames.ethernet(frames.BROADCAST, frames.host(1)))
    lan.bridge.wait(lambda: row(lan, "one")["mirrored"] == 3, "copies to the one of before")
    assert len(end(lan, "one", file).packets) == 3


def test_the_configuration_file_may_name_other_places_than_the_socket(
    lan: Lan, tmp_path: Path, directory: Path
) -> None:
    file, table = directory / "elsewhere", '[[mirror]]\nname = "look"\nfile = "{}"\n'
    hostname = Path("/proc/sys/kernel/hostname")
    before = hostname.read_text()
    for other in (file, hostname, Path("/etc/cron.d/framebridge-test"), tmp_path / ".." / "elsewhere"):
        lan.bridge.refused("mirror", "add", "look", "file", str(other), "replace")
    (tmp_path / "link").symlink_to(directory)
    assert "is a link or none" in lan.bridge.refused("mirror", "add", "look", "file", "link/elsewhere")
    assert hostname.read_text() == before
    assert not file.exists()

    lan.bridge.write(*lan.ports.values(), table.format(file))
    lan.bridge.rows("reload")
    pings(lan)
    lan.bridge.wait(lambda: row(lan, "look")["mirrored"] >= 2 * PINGS, "copies")
    assert end(lan, "look", file).packets

    lan.bridge.rows("mirror", "add", "look", "file", "beneath")
    assert row(lan, "look")["to"] == str(tmp_path / "beneath")
    assert end(lan, "look", tmp_path / "beneath").packets == []
