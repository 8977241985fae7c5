"""The FDB as people meet it: over a restart, filters and fast ageing by command, limits and policies changed live."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import frames
from helpers.daemon import Daemon, document
from helpers.lan import Lan
from helpers.net import Net

pytestmark = pytest.mark.root

Start = Callable[..., Daemon]


def speak(lan: Lan, name: str, *stations: int) -> None:
    """Let stations of a guest speak to all, and wait until they are known."""
    wire = lan.wire(name)
    for number in stations:
        wire.send(frames.ethernet(frames.BROADCAST, frames.host(number)))
    wanted = {frames.host(number).hex(":") for number in stations}
    lan.bridge.wait(lambda: wanted <= known(lan, port=name), f"{name} to be learned")


def known(lan: Lan, **filters: object) -> set[str]:
    return {row["mac"] for row in lan.bridge.ask("FdbShow", **filters)}


@pytest.fixture
def kept(lan: Lan, directory: Path) -> Path:
    """The site, with a file for its FDB."""
    file = directory / "state" / "lan.fdb"
    lan.bridge.write(*lan.ports.values(), fdb_file=str(file))
    assert lan.bridge.cli("reload").status == 0
    return file


@pytest.mark.smoke
def test_after_a_restart_known_unicast_is_not_flooded(lan: Lan, kept: Path, start: Start) -> None:
    speak(lan, "a", 1)
    speak(lan, "b", 2)
    assert lan.bridge.end() == 0
    assert {line[0] for line in json.loads(kept.read_text())["entries"]} == {
        "02:00:00:00:00:01",
        "02:00:00:00:00:02",
    }

    again = start(lan.spaces["middle"], *lan.ports.values(), socket=lan.bridge.socket, fdb_file=str(kept))

    assert {row["mac"]: row["port"] for row in again.rows("fdb", "show")} == {
        "02:00:00:00:00:01": "a",
        "02:00:00:00:00:02": "b",
    }
    hears, outside = lan.wire("b"), lan.wire("outside")
    wire = lan.wire("a")
    wire.send(frames.ethernet(frames.host(2), frames.host(1)))
    wire.send(frames.ethernet(frames.BROADCAST, frames.host(1)))  # behind it: what came before it is all
    assert hears.wait_inline(10.0)[:6] == frames.host(2)
    assert outside.wait_inline(10.0)[:6] == frames.BROADCAST
    assert again.stats("a")["flooded"] == 1
    again.finish()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\x00" * 100, b'{"format": "framebridge-fdb", "version": 9}']
)
def test_a_damaged_file_is_told_and_the_bridge_starts(
    lan: Lan, kept: Path, start: Start, content: bytes
) -> None:
    assert lan.bridge.end() == 0
    kept.write_bytes(content)

    again = start(lan.spaces["middle"], *lan.ports.values(), socket=lan.bridge.socket, fdb_file=str(kept))

    assert f"the FDB begins empty: {kept}: " in again.log
    assert again.rows("fdb", "show") == []
    again.finish()
    assert json.loads(kept.read_text())["entries"] == []


def test_a_port_that_comes_up_after_the_start_gets_its_entries_then(
    lan: Lan, kept: Path, start: Start
) -> None:
    outside = lan.wire("outside")
    outside.send(frames.ethernet(frames.BROADCAST, frames.host(9), frames.tag(10)))
    lan.bridge.wait(lambda: known(lan, port="uplink"), "the station outside")
    assert lan.bridge.end() == 0
    lan.spaces["outside"].set_link("eth0", state="down")

    again = start(lan.spaces["middle"], *lan.ports.values(), socket=lan.bridge.socket, fdb_file=str(kept))

    assert again.rows("fdb", "show") == []
    lan.spaces["outside"].set_link("eth0", state="up")
    again.wait(lambda: [row["port"] for row in again.ask("FdbShow")] == ["uplink"], "its entry to return")
    again.finish()


def test_flush_show_and_age_take_filters_and_nothing_is_success(lan: Lan) -> None:
    speak(lan, "a", 1, 2)
    speak(lan, "b", 3)
    lan.bridge.rows("fdb", "add", "02:00:00:00:00:08", "vlan", "10", "port", "a", "sticky")

    assert [row["mac"][-1] for row in lan.bridge.rows("fdb", "show", "port", "a", "state", "dynamic")] == [
        "1",
        "2",
    ]
    assert lan.bridge.cli("fdb", "flush", "mac", "02:00:00:00:00:01", "port", "b") == (
        0,
        "0 FDB entries flushed\n",
        "",
    )
    assert lan.bridge.ask("FdbFlush", state="sticky", vlan=10) == [{"flushed": 1}]
    assert lan.bridge.ask("FdbAge", seconds=3600) == [{"aged": 0}]
    assert lan.bridge.cli("fdb", "age", "0", "port", "a").out == "2 FDB entries aged\n"
    assert known(lan) == {"02:00:00:00:00:03"}
    assert lan.bridge.cli("fdb", "age", "port", "b").out == "0 FDB entries aged\n"
    assert "'state': expected 'dynamic' or 'sticky' or 'held', got 'static'" in lan.bridge.refused(
        "fdb", "flush", "state", "static"
    )


def test_limits_and_policies_change_live_and_leave_traffic_alone(lan: Lan) -> None:
    """The table may hold two: who floods pays; then refuse; then a VLAN that does not learn."""
    ports = lan.ports.values()
    speak(lan, "b", 1)
    before = lan.bridge.stats("b")["rx_frames"]

    def reload(*tables: str, **bridge: object) -> None:
        lan.bridge.file.write_text(document(lan.bridge.socket, *ports, *tables, **bridge))
        result = lan.bridge.cli("reload")
        assert result.status == 0, result.err

    reload(mac_limit=3)
    speak(lan, "a", 11)
    speak(lan, "a", 12)
    wire = lan.wire("a")
    wire.send(frames.ethernet(frames.BROADCAST, frames.host(13)))
    lan.bridge.wait(lambda: lan.bridge.stats("a")["evicted"] == 1, "a station to give way")
    assert "02:00:00:00:00:01" in known(lan)
    assert len(known(lan)) == 3
    reload(mac_limit=3, full_table="refuse")
    wire.send(frames.ethernet(frames.BROADCAST, frames.host(14)))
    lan.bridge.wait(lambda: lan.bridge.stats("a")["not_learned"] == 1, "a station to be refused")
    lan.bridge.rows("fdb", "flush", "port", "a")
    reload("[[vlan]]\nid = 10\nlearning = false\n", mac_limit=3)
    rx_frames = lan.bridge.stats("a")["rx_frames"]
    wire.send(frames.ethernet(frames.BROADCAST, frames.host(15)))
    lan.bridge.wait(lambda: lan.bridge.stats("a")["rx_frames"] > rx_frames, "the frame")
    assert known(lan) == {"02:00:00:00:00:01"}
    assert lan.bridge.stats("b")["rx_frames"] == before
    assert [row["learning"] for row in lan.bridge.rows("vlan", "show") if row["vlan"] == 10] == [False]


def test_what_was_set_by_hand_stays_without_its_port(lan: Lan, kept: Path, start: Start, net: Net) -> None:
    """No carrier, no device, a reload, a restart: nobody else gets the frames, and nobody takes the address (R9)."""
    static, sticky, learned = (frames.host(number).hex(":") for number in (1, 2, 3))
    bridge, middle, outside = lan.bridge, lan.spaces["middle"], lan.spaces["outside"]
    bridge.rows("fdb", "add", static, "vlan", "10", "port", "uplink")
    bridge.rows("fdb", "add", sticky, "vlan", "10", "port", "uplink", "sticky")
    lan.wire("outside").send(frames.ethernet(frames.BROADCAST, frames.host(3), frames.tag(10)))
    by_hand = {(10, static): ("uplink", "static"), (10, sticky): ("uplink", "sticky")}
    bridge.wait(lambda: bridge.fdb() == {**by_hand, (10, learned): ("uplink", "dynamic")}, "the learned one")
    a, b = lan.wire("a"), lan.wire("b")

    def silent(reader: Daemon, **drops: int) -> None:
        """Frames to all three of them: only the one to who was learned is flooded."""
        for number in (1, 2, 3):
            a.send(frames.ethernet(frames.host(number), frames.host(9)))
        assert b.wait_for(lambda frame: frame.data[:6] == frames.host(3))
        assert not [frame for frame in b.waiting() if frame.data[:6] in (frames.host(1), frames.host(2))]
        ended = {f"{port}_{way}": n for (port, way, why), n in reader.drops().items() if why == "port_down"}
        assert ended == drops

    outside.set_link("eth0", state="down")
    bridge.wait_state("uplink", "down")
    silent(bridge, uplink_tx=2)
    for number in (1, 2):
        b.send(frames.ethernet(frames.BROADCAST, frames.host(number)))
    bridge.wait(lambda: bridge.drops().get(("b", "rx", "static_move")) == 2, "impostors to be dropped")
    middle.delete_link("eth1")
    bridge.wait_state("uplink", "missing")
    silent(bridge, uplink_tx=2, a_rx=2)
    assert [row["action"] for row in bridge.rows("reload")] == ["missing_port"]
    assert {key: value for key, value in bridge.fdb().items() if value[1] != "dynamic"} == by_hand

    net.veth("eth1", "eth0", middle, outside)
    outside.set_link("eth0", state="down")
    assert bridge.end() == 0
    again = start(middle, *lan.ports.values(), socket=bridge.socket, fdb_file=str(kept))
    assert again.port("uplink")["state"] == "down"
    assert {key: value for key, value in again.fdb().items() if value[0] == "uplink"} == {
        (10, sticky): ("uplink", "sticky")
    }
    lan.wire("b").send(frames.ethernet(frames.BROADCAST, frames.host(2)))
    again.wait(lambda: again.drops().get(("b", "rx", "static_move")) == 1, "the impostor to be dropped")
