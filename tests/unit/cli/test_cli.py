"""The command against a real control socket: words, output, exit status, what people read when it fails."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.control import Served, served, write_config

from bridge import __version__
from bridge.cli.commands import COMMANDS
from bridge.cli.grammar import Grammar, UsageError, match
from bridge.cli.main import main
from bridge.cli.port import port_keys, port_table
from bridge.config.multicast import MulticastConfig
from bridge.control import client
from bridge.errors import ControlError

MAC = "02:00:00:00:00:01"
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path)


@pytest.fixture
def server(config: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A daemon that the command finds through the environment."""
    with served(config) as running:
        monkeypatch.setenv("FRAMEBRIDGE_SOCKET", running.path)
        yield running


@pytest.fixture(autouse=True)
def _no_daemon_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FRAMEBRIDGE_SOCKET", raising=False)
    monkeypatch.setattr(client, "RUN_DIRECTORY", str(tmp_path / "run"))


def run(line: str, capsys: Capture) -> tuple[int, str, str]:
    status = main(line.split())
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def shown(line: str, capsys: Capture) -> Any:
    """Run with -j; give the list that came."""
    status, out, err = run(f"-j {line}", capsys)
    assert (status, err) == (0, "")
    return json.loads(out)


# -- looking


def test_tables_are_aligned_under_their_headings(server: Served, capsys: Capture) -> None:
    status, out, err = run("port show -d", capsys)

    heading, *lines = out.splitlines()
    assert (status, err) == (0, "")
    assert [line.split()[0] for line in lines] == ["guests", "uplink"]
    assert [line.split()[6] for line in lines] == ["10", "10,20,100-119"]
    for name in ("kind", "state", "mode"):
        place = heading.index(name)
        assert all(line[place - 1] == " " and line[place] != " " for line in lines)


def test_one_port_is_shown_by_name(server: Served, capsys: Capture) -> None:
    assert [row["port"] for row in shown("port show uplink", capsys)] == ["uplink"]
    assert [row["port"] for row in shown("stats show uplink", capsys)] == ["uplink"]


@pytest.mark.parametrize(
    "line",
    ["port show", "vlan show", "fdb show", "stats show", "stats show -d", "drops show -a", "cost show"],
)
def test_json_is_a_list_of_flat_objects_with_all_the_daemon_said(
    server: Served, capsys: Capture, line: str
) -> None:
    main(f"fdb add {MAC} vlan 10 port guests".split())
    capsys.readouterr()

    rows = shown(line, capsys)
    status, pretty, _ = run(f"-p {line}", capsys)

    assert isinstance(rows, list)
    assert rows
    for row in rows:
        for value in row.values():
            assert not isinstance(value, dict)
            assert not isinstance(value, list) or all(isinstance(item, str) for item in value)
    assert (status, json.loads(pretty)) == (0, rows)
    assert pretty.count("\n") > len(rows)


def test_no_rows_are_an_empty_list_and_a_word_for_people(server: Served, capsys: Capture) -> None:
    assert shown("fdb show", capsys) == []
    assert run("fdb show", capsys) == (0, "", "nothing to show\n")
    assert run("drops show", capsys) == (0, "", "no frame was dropped\n")


def test_stats_are_blocks(server: Served, capsys: Capture) -> None:
    _, out, _ = run("stats show", capsys)

    assert out.startswith("guests\n  rx_frames  7\n  tx_frames  5\n\nuplink\n")
    assert "reason" not in out


def test_stats_with_drops_are_those_of_both_in_one_answer(server: Served, capsys: Capture) -> None:
    both = shown("stats show --drops", capsys)
    assert both == shown("stats show", capsys) + shown("drops show -a", capsys)
    _, out, _ = run("stats show -d", capsys)
    blocks, _, drops = out.partition("port    direction  reason")
    assert blocks.rstrip("\n") + "\n" == run("stats show", capsys)[1]
    assert drops.splitlines()[1].split()[:4] == ["guests", "rx", "runt", "0"]


@pytest.mark.parametrize("line", ["{} fdb show", "fdb {} show", "fdb show {}", "fdb show vlan 10 {}"])
def test_options_may_stand_anywhere(server: Served, capsys: Capture, line: str) -> None:
    assert json.loads(run(line.format("-j"), capsys)[1]) == []
    assert json.loads(run(line.format(f"-j --socket {server.path}"), capsys)[1]) == []


# -- changing


def test_fdb_entries_are_added_shown_and_deleted(server: Served, capsys: Capture) -> None:
    assert run(f"fdb add {MAC} vlan 10 port guests", capsys) == (0, "", "")
    assert run("fdb add 02:00:00:00:00:02 port uplink sticky vlan 20", capsys) == (0, "", "")
    assert run("fdb add 02:00:00:00:00:03 vlan 10 drop", capsys) == (0, "", "")

    assert [row["state"] for row in shown("fdb show", capsys)] == ["static", "drop", "sticky"]
    assert [row["mac"] for row in shown("fdb show port uplink", capsys)] == ["02:00:00:00:00:02"]
    assert len(shown("fdb show vlan 10", capsys)) == 2
    assert len(shown(f"fdb show mac {MAC} vlan 10 port guests", capsys)) == 1
    assert run(f"fdb del {MAC} vlan 10", capsys) == (0, "", "")
    assert run("fdb flush vlan 20", capsys) == (0, "1 FDB entries flushed\n", "")
    assert shown("fdb flush", capsys)[0]["flushed"] == 1


def test_ports_are_added_changed_and_deleted(server: Served, capsys: Capture) -> None:
    add = "port add g2 kind tap device tap7 netns blue access 20 mtu 1400 flood unknown,broadcast enabled off"
    done = "tap tap7 in namespace blue, access 20, mtu 1400, enabled false, flood unknown,broadcast"
    assert run(add, capsys) == (0, f"open port g2: {done}\n", "")
    port = server.engine.config.ports[0]
    assert (port.netns, port.pvid, port.flood_multicast, port.admin_up) == ("blue", 20, False, False)

    line = "port set g2 mtu default isolated on learning off flood none mac-limit 5 enabled on netns default"
    assert run(line, capsys)[0] == 0
    port = server.engine.config.ports[0]
    assert (port.mtu, port.isolated, port.learning, port.mac_limit, port.netns) == (
        None,
        True,
        False,
        5,
        None,
    )
    assert not any((port.flood_unknown, port.flood_multicast, port.flood_broadcast))

    assert run("port set g2 flood all", capsys)[0] == 0
    assert run("port del g2", capsys)[1].startswith("close port g2")
    assert [row["port"] for row in shown("port show", capsys)] == ["guests", "uplink"]


def test_ports_are_locked_and_guarded(server: Served, capsys: Capture) -> None:
    assert run("port guard", capsys) == (0, "", "no port is locked or guarded\n")
    line = f"port set guests locked on allow {MAC},00:00:5e:00:01:00/40 source_guard 10.0.0.5,2001:db8::/64"
    assert run(line, capsys)[0] == 0
    row = {
        "port": "guests",
        "locked": True,
        "allow": ["00:00:5e:00:01:00/40", MAC],
        "locked_drops": 0,
        "source_guard": ["10.0.0.5", "2001:db8::/64"],
        "source_guard_drops": 0,
        "ra_guard": False,
        "ra_guard_drops": 0,
        "dhcp_guard": False,
        "dhcp_guard_drops": 0,
    }
    assert shown("port guard guests", capsys) == [row]
    assert run("port set uplink ra_guard on dhcp-guard on", capsys)[0] == 0
    (uplink,) = shown("port guard uplink", capsys)
    assert (uplink["ra_guard"], uplink["dhcp_guard"], uplink["locked"]) == (True, True, False)
    assert run("port set uplink ra_guard default dhcp_guard off", capsys)[0] == 0
    assert shown("port guard uplink", capsys) == []
    assert run("port set guests locked off", capsys)[0] == 0
    assert shown("port guard guests", capsys) == [{**row, "locked": False}]
    assert run("port set guests allow none source-guard default", capsys)[0] == 0
    assert shown("port guard", capsys) == []
    status, _, err = run(f"port set guests allow {MAC}", capsys)
    assert (status, "add locked = true, or locked = false to keep it for later" in err) == (1, True)
    assert run("port set guests allow ,", capsys)[0] == 2


def test_trunks_take_lists_a_native_vlan_and_a_protocol(server: Served, capsys: Capture) -> None:
    assert run("port add t kind link device eth7 trunk 5,7-9 native 1 tpid 802.1ad", capsys)[0] == 0
    port = next(port for port in server.engine.config.ports if port.name == "t")
    assert (port.mode, port.vids, port.pvid, port.tpid) == ("trunk", (5, 7, 8, 9), 1, 0x88A8)

    assert run("port set t native default", capsys)[0] == 0
    assert run("port set t tpid 0x8100", capsys)[0] == 0
    port = next(port for port in server.engine.config.ports if port.name == "t")
    assert (port.vids, port.pvid, port.tpid) == ((5, 7, 8, 9), 0, 0x8100)


def test_the_bill_is_cleared(server: Served, capsys: Capture) -> None:
    assert shown("cost summary", capsys)[0]["busy_cycles"] == 900
    assert run("cost clear", capsys) == (0, "", "")
    assert shown("cost summary", capsys)[0]["busy_cycles"] == 0
    assert run("cost show talker", capsys) == (0, "", "nothing was spent\n")
    assert run("cost slow", capsys) == (0, "", "no batch yet\n")


def test_the_bill_has_views_windows_and_baselines(server: Served, capsys: Capture) -> None:
    (row,) = shown("cost show by talker last 10 top 5", capsys)
    assert (row["mac"], row["vlan"], row["port"], row["cycles"]) == ("02:00:00:00:00:01", 10, "guests", 900)
    assert shown("cost show ta", capsys) == [row]  # 'by' may be left out
    status, out, _ = run("cost show class", capsys)
    assert (status, out.split()[:2]) == (0, ["class", "cycles"])
    assert run("cost sum", capsys)[1].startswith("window     1.0 s until ")

    assert run("cost clear before", capsys) == (0, "", "")
    assert shown("cost show class since before", capsys) == []
    assert shown("cost show class", capsys)[0]["cycles"] == 900
    status, _, err = run("cost show since befroe", capsys)
    assert (status, err) == (1, "framebridge: parameter 'since': no baseline 'befroe'; there are: before\n")


@pytest.mark.parametrize("line", ["cost show --what-if", "cost show what-if", "cost --what-if show last 60"])
def test_what_would_make_the_bill_smaller(server: Served, capsys: Capture, line: str) -> None:
    assert [row["measure"] for row in shown(line, capsys)] == ["quieter_talker"]
    assert "let 02:00:00:00:00:01 (VLAN 10, port guests) send half as much" in run(line, capsys)[1]


def test_a_bill_is_recorded_and_drawn(server: Served, capsys: Capture, tmp_path: Path) -> None:
    file, picture = tmp_path / "bill.jsonl", tmp_path / "bill.svg"
    assert run(f"cost record {file} seconds 1", capsys) == (0, "", f"{file}: 1 lines\n")
    assert run(f"cost record {file} seconds 1", capsys)[0] == 1
    assert run(f"cost record {file} seconds 1 append", capsys)[0] == 0
    assert run(f"cost plot {file} {picture}", capsys) == (0, "", f"{picture}: 2 lines drawn\n")
    assert "known_unicast" in picture.read_text()


def test_reload_reads_the_daemons_file_or_the_one_named(
    server: Served, config: Path, capsys: Capture
) -> None:
    assert run("reload", capsys) == (0, "", "nothing to change\n")
    config.write_text(config.read_text().replace("access = 10", "access = 30"))
    assert run("reload", capsys) == (0, "set port guests: vlan access 10 -> access 30\n", "")

    other = config.with_name("other.toml")
    other.write_text(config.read_text().replace("access = 30", "access = 31"))
    assert shown(f"reload {other}", capsys)[0]["subject"] == "guests"
    assert server.engine.config.ports[0].pvid == 31


def test_a_reload_with_problems_lists_them_all_and_changes_nothing(
    server: Served, config: Path, capsys: Capture
) -> None:
    before = server.engine.config
    config.write_text(config.read_text().replace("access = 10", "access = 0") + "colour = 1\n")

    status, out, err = run("reload", capsys)

    assert (status, out) == (1, "")
    first, second = err.splitlines()
    assert first.startswith(f"framebridge: {config}: line 8: port[0].vlan.access: ")
    assert second.startswith(f"framebridge: {config}: line 14: port[1].colour: ")
    assert server.engine.config is before


def test_a_file_that_cannot_be_read_is_named(server: Served, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "latin.toml").write_bytes(b"\xff")

    for name in ("absent.toml", "latin.toml"):
        for command in ("reload", "check"):
            status, out, err = run(f"{command} {tmp_path / name}", capsys)
            assert (status, out) == (1, "")
            assert name in err


# -- check


def test_check_without_a_daemon_plans_from_nothing(config: Path, capsys: Capture) -> None:
    status, out, err = run(f"check {config}", capsys)

    lines = out.splitlines()
    assert (status, err) == (0, "")
    assert "from nothing" in lines[0]
    assert [line.split(":")[0] for line in lines[1:]] == [
        "set bridge dmz",
        "open port guests",
        "open port uplink",
    ]
    assert [row["action"] for row in shown(f"check {config}", capsys)] == [
        "set_bridge",
        "open_port",
        "open_port",
    ]


def test_check_with_a_daemon_plans_from_what_runs(server: Served, config: Path, capsys: Capture) -> None:
    before = server.engine.config
    assert run(f"check {config}", capsys)[1:] == (
        f"valid; to be done by the daemon on {server.path}:\n",
        "nothing\n",
    )

    config.write_text(config.read_text().replace("access = 10", "access = 30"))

    assert shown(f"check {config}", capsys) == [
        {"action": "set_port", "subject": "guests", "text": "set port guests: vlan access 10 -> access 30"}
    ]
    assert server.engine.config is before


def test_check_lists_every_problem(config: Path, capsys: Capture) -> None:
    config.write_text(config.read_text().replace("access = 10", "access = 0") + "colour = 1\n")

    status, out, err = run(f"check {config}", capsys)

    assert (status, out) == (1, "")
    assert [line.split(":")[2] for line in err.splitlines()] == [" line 8", " line 14"]


def test_check_against_a_named_daemon_needs_that_daemon(
    config: Path, tmp_path: Path, capsys: Capture
) -> None:
    status, _, err = run(f"check {config} -s {tmp_path}/other.sock", capsys)

    assert status == 1
    assert f"no daemon answers on {tmp_path}/other.sock" in err


def test_check_tells_what_only_a_restart_can_change(server: Served, config: Path, capsys: Capture) -> None:
    config.write_text(config.read_text().replace('name = "dmz"', 'name = "lan"'))

    status, out, err = run(f"check {config}", capsys)

    assert (status, out) == (1, "")
    assert "bridge.name" in err
    assert "restart" in err


# -- refusals


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("port show x", "no port 'x'; there are: guests, uplink"),
        ("fdb show port x", "no port 'x'"),
        (f"fdb del {MAC} vlan 10", f"no FDB entry {MAC} in VLAN 10"),
        ("fdb add 02:00 vlan 10 port guests", "parameter 'mac'"),
        (f"fdb add {MAC} vlan 10", "needs a port"),
        (f"fdb add {MAC} vlan 9999 drop", "parameter 'vlan'"),
        ("port add x kind tap device absent0 access 1", "no device absent0"),
        ("port add x kind wire access 1", "port.kind"),
        ("port add x kind memory trunk 10-5", "port.vlan.trunk"),
        ("port set guests access 5 trunk 6", "port.vlan"),
        ("port set uplink trunk 10,x-y", "port.vlan.trunk"),
        ("port set guests mtu 5", "port.mtu"),
    ],
)
def test_what_the_daemon_refuses_is_one_line_and_status_1(
    server: Served, capsys: Capture, line: str, complaint: str
) -> None:
    status, out, err = run(line, capsys)

    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("framebridge: ")
    assert complaint in err


def test_without_a_daemon_the_message_names_the_socket_and_the_way_out(
    tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "gone.sock"
    for line in (f"-s {path} port show", f"-s {path} version"):
        status, _, err = run(line, capsys)
        assert status == 1
        assert f"no daemon answers on {path}: start it with 'framebridge run FILE'" in err

    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert run(f"-s {path} port show", capsys)[0] == 1
    status, _, err = run("port show", capsys)
    assert status == 1
    assert f"nothing answers in {tmp_path}/run; start it with 'framebridge run FILE'" in err


def test_the_only_socket_in_the_run_directory_is_the_default(tmp_path: Path, capsys: Capture) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    with served(write_config(directory)):
        assert len(shown("port show", capsys)) == 2
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(directory / "lan.sock"))
            other.listen()
            status, _, err = run("port show", capsys)

    assert status == 1
    assert f"choose one with -s: {directory}/dmz.sock {directory}/lan.sock" in err


def test_sockets_of_dead_daemons_do_not_count(tmp_path: Path, capsys: Capture) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    for name in ("dead", "gone"):
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(directory / f"{name}.sock"))

    status, _, err = run("port show", capsys)
    assert status == 1
    assert f"nothing answers in {directory}" in err
    with served(write_config(directory)):
        assert len(shown("port show", capsys)) == 2


def test_a_given_socket_wins_over_the_environment(tmp_path: Path) -> None:
    environ = {"FRAMEBRIDGE_SOCKET": "/from/environment"}

    assert client.find_socket("/given", environ) == "/given"
    assert client.find_socket(None, environ) == "/from/environment"


def answer_once(listener: socket.socket, answer: bytes) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(1 << 16)
        connection.sendall(answer)


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"", "hung up"),
        (b'{"parameters":', "hung up"),
        (b"HTTP/1.1 400\0", "not JSON"),
        (b'{"parameters":[]}\0', "must be an object"),
        (b'{"parameters":{"rows":[]},"continues":true}\0', "hung up"),
        (b'{"error":"a.B"}\0', "a.B"),
    ],
)
def test_a_daemon_that_talks_nonsense_is_an_error(
    tmp_path: Path, capsys: Capture, answer: bytes, complaint: str
) -> None:
    path = str(tmp_path / "odd.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        thread = threading.Thread(target=answer_once, args=(listener, answer))
        thread.start()
        status, out, err = run(f"-s {path} fdb show", capsys)
        thread.join(10)

    assert (status, out) == (1, "")
    assert complaint in err


def test_a_daemon_that_does_not_answer_is_given_up(tmp_path: Path) -> None:
    path = str(tmp_path / "mute.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        with (
            client.Client(path, timeout=0.1) as mute,
            pytest.raises(ControlError, match=r"did not answer in 0\.1 s"),
        ):
            mute.rows("Version")


def test_the_reason_why_a_daemon_hung_up_is_told(config: Path, tmp_path: Path, capsys: Capture) -> None:
    with served(config, connections=0) as server:
        status, _, err = run(f"-s {server.path} port show", capsys)
    assert status == 1
    assert "0 clients are connected" in err

    path = str(tmp_path / "busy.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        with client.Client(path) as late:
            connection, _ = listener.accept()
            connection.sendall(b'{"error":"org.framebridge.Busy","parameters":{"message":"full"}}\0')
            connection.close()  # before the call is sent
            with pytest.raises(ControlError, match="full"):
                late.rows("Version")


def test_events_may_come_much_later_than_replies(tmp_path: Path) -> None:
    path = str(tmp_path / "quiet.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        with client.Client(path, timeout=0.1) as patient:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b'{"parameters":{"rows":[]},"continues":true}\0')
                stream = patient.stream("Monitor", forever=True)
                assert next(stream) == []
                event = b'{"parameters":{"rows":[{"event":"reload"}]},"continues":true}\0'
                timer = threading.Timer(0.4, connection.sendall, [event])
                timer.start()
                assert next(stream) == [{"event": "reload"}]
                timer.join()


# -- words


@pytest.mark.parametrize(
    ("line", "full"),
    [
        ("fd sh", "fdb show"),
        ("fdb s", "fdb show"),
        ("po", "port show"),
        ("port", "port show"),
        ("vl", "vlan show"),
        ("s", "stats show"),
        ("d", "drops show"),
        ("cos sh", "cost show"),
    ],
)
def test_words_may_be_shortened_and_show_left_out(
    server: Served, capsys: Capture, line: str, full: str
) -> None:
    assert run(line, capsys) == run(full, capsys)


def test_keys_may_be_shortened(server: Served, capsys: Capture) -> None:
    assert run(f"fd ad {MAC} v 10 p guests sti", capsys)[0] == 0
    assert shown("fdb show", capsys)[0]["state"] == "sticky"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("", "an object is missing"),
        ("c", "object 'c' is ambiguous: check, cost"),
        ("v", "object 'v' is ambiguous: vlan, version"),
        ("r", "object 'r' is ambiguous: run, reload"),
        ("bogus", "unknown object 'bogus'; there are: run, check"),
        (
            "port bogus",
            "unknown port command 'bogus'; there are: show, add, set, del, unblock, storm, audit, guard",
        ),
        ("port s", "port command 's' is ambiguous: show, set"),
        ("cost sl x", "one word too many: 'x'"),
        ("cost show by colour", "unknown view 'colour'; there are: stage, port"),
        ("cost show by port vlan", "'by' is given twice"),
        ("cost record", "FILE is missing"),
        ("cost record x interval 0", "'interval' is 1 to 3600 seconds"),
        ("cost plot x", "PICTURE is missing"),
        ("vlan show x", "'vlan' needs a number, not 'x'"),
        ("port show a b", "one word too many: 'b'"),
        ("port del", "PORT is missing"),
        ("port add", "NAME is missing"),
        ("port add x", "'kind' is missing"),
        ("port add x kind", "'kind' needs a value"),
        ("port add x kind tap kind tap", "'kind' is given twice"),
        ("port add x kind tap m 5", "word 'm' is ambiguous: map, mirror, mtu, mac, mac_limit"),
        ("port add x kind tap colour 5", "unknown word 'colour'; there are: kind, device"),
        ("fdb age -5", "unknown word '-5'; there are: port, vlan"),
        ("port set x", "nothing to set"),
        ("port set x mtu big", "'mtu' needs a number, not 'big'"),
        ("port set x isolated maybe", "'isolated' needs on or off (true, false, yes, no), not 'maybe'"),
        ("port set x trunk 1,,2", "'trunk' needs VLAN IDs and ranges"),
        ("port set x tpid 0xzz", "'tpid' needs 802.1Q or 802.1ad"),
        ("port set x flood sun", "unknown flood class 'sun'"),
        (f"fdb add {MAC}", "'vlan' is missing"),
        (f"fdb add {MAC} vlan 1 static drop", "'kind' is given twice"),
        (f"fdb add {MAC} vlan 1 st", "word 'st' is ambiguous: static, sticky"),
        ("fdb show vlan x", "'vlan' needs a number"),
        ("run", "FILE is missing"),
        ("check a b", "one word too many: 'b'"),
        ("--bogus", "--bogus"),
        ("-s", "expected one argument"),
    ],
)
def test_a_line_that_makes_no_sense_is_status_2_and_says_why(
    capsys: Capture, line: str, complaint: str
) -> None:
    status, out, err = run(line, capsys)

    assert (status, out) == (2, "")
    assert err.startswith("framebridge: ")
    assert complaint in err


def test_a_wrong_argument_brings_the_usage_of_its_command(capsys: Capture) -> None:
    _, _, err = run("fdb add", capsys)

    assert (
        err.splitlines()[1]
        == "usage: framebridge fdb add MAC vlan VID [port PORT] [static|sticky|drop|dynamic]"
    )


def test_an_exact_word_wins_over_longer_ones() -> None:
    assert match("a", ["ab", "a"], "word") == "a"
    with pytest.raises(UsageError, match="unknown word 'x'"):
        match("x", [], "word")


def test_a_grammar_gives_values_by_key() -> None:
    grammar = Grammar(names=("name",), keys=port_keys())

    values = grammar.read(["a", "trunk", "1,5-7", "native", "2", "mtu", "default", "tpid", "0x88A8"])

    assert values == {"name": "a", "trunk": [1, "5-7"], "native": 2, "mtu": None, "tpid": 0x88A8}
    assert port_table(values) == {
        "name": "a",
        "mtu": None,
        "vlan": {"trunk": [1, "5-7"], "native": 2, "tpid": 0x88A8},
    }


def test_default_is_a_word_of_settings_only(server: Served, capsys: Capture) -> None:
    """Else 'fdb flush port default' would flush everything."""
    known = server.engine.fdb
    assert run(f"fdb add {MAC} vlan 10 port guests", capsys)[0] == 0
    before = dict(known)
    status, _, err = run("fdb flush port default", capsys)
    assert (status, "no port 'default'" in err) == (1, True)
    status, _, err = run("fdb flush vlan default", capsys)
    assert (status, "'vlan' needs a number, not 'default'" in err) == (2, True)
    assert server.engine.fdb == before
    assert run("port add default kind memory access 10", capsys)[0] == 0
    assert run("fdb show port default", capsys) == (0, "", "nothing to show\n")


# -- help and version


@pytest.mark.parametrize("line", ["-h", "--help", "help"])
def test_the_help_names_every_command(capsys: Capture, line: str) -> None:
    status, out, err = run(line, capsys)

    assert (status, err) == (0, "")
    filled = " ".join(out.split())
    assert all(f"  {command.words}" in out and command.summary in filled for command in COMMANDS)
    assert "FRAMEBRIDGE_SOCKET" in out
    assert max(map(len, out.splitlines())) <= 110


def test_the_help_of_an_object_and_of_a_command(capsys: Capture) -> None:
    _, out, _ = run("fdb -h", capsys)
    usages = [
        line.partition("] fdb ")[2].split()[0] for line in out.splitlines() if line.startswith("framebridge")
    ]
    assert usages == ["show", "add", "del", "flush", "announce", "age"]

    status, out, _ = run("port add -h", capsys)
    assert status == 0
    assert out.startswith("usage: framebridge [-j | -p] [-s SOCKET] port add PORT kind KIND")
    assert all(key in out for key in port_keys())


def examples() -> list[str]:
    lines = [line.strip() for command in COMMANDS for line in command.explanation.splitlines()]
    return [
        line.removeprefix("framebridge ")
        for line in lines
        if line.startswith("framebridge ") and " run " not in line and " record " not in line
    ]


@pytest.mark.parametrize("line", examples())
def test_the_examples_of_the_help_work(server: Served, capsys: Capture, line: str) -> None:
    if "add uplink" in line:
        main(["port", "del", "uplink"])
    if "add guests" in line:
        main(["port", "del", "guests"])
    if "mdb add" in line:
        server.engine.config = replace(server.engine.config, multicast=MulticastConfig(snooping="on"))
    if "mirror add ids" in line:
        main(["port", "add", "tap-ids", "kind", "tap", "device", "tap9", "mirror", "on"])
    capsys.readouterr()

    status, _, err = run(line.partition(" | ")[0], capsys)

    assert (status, err.replace("nothing to show\n", "")) == (0, "")


def test_version_is_the_commands_and_the_daemons(server: Served, capsys: Capture, tmp_path: Path) -> None:
    expected = f"framebridge {__version__}\nframebridge {__version__} (daemon of dmz, pid {os.getpid()})\n"
    for line in ("version", "--version", "ve"):
        assert run(line, capsys) == (0, expected, "")
    assert [row["component"] for row in shown("version", capsys)] == ["command", "daemon"]


def test_version_does_not_need_a_daemon(capsys: Capture) -> None:
    assert run("version", capsys) == (0, f"framebridge {__version__}\n", "")


def test_the_lab_gets_its_arguments_untouched(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    from bridge.lab import lab

    seen: list[list[str]] = []
    monkeypatch.setattr(lab, "main", lambda arguments: seen.append(arguments) or 7)

    assert run("lab --pings 3 -h", capsys)[0] == 7
    assert run("-j la", capsys)[0] == 7
    assert seen == [["--pings", "3", "-h"], ["-j"]]


# -- as a process


def framebridge(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bridge", *arguments]
    pipe = subprocess.PIPE
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environ)


def test_commands_for_a_daemon_import_nothing_heavy(server: Served) -> None:
    code = (
        "import sys; from bridge.cli.main import main\n"
        "assert main(['version']) == main(['-j', 'port', 'show']) == main(['fdb', '-h']) == 0\n"
        "heavy = {'asyncio', 'importlib.metadata', 'pyroute2', 'bridge.core', 'bridge.engine', 'bridge.lab'}\n"
        "heavy |= {'bridge.config.table', 'bridge.account.views'}\n"
        "print(heavy & sys.modules.keys(), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stderr == "set()\n"


def test_a_reader_that_leaves_is_no_error(server: Served) -> None:
    server.engine.fdb = {(10, 0x020000000000 + n): ("guests", "static") for n in range(5000)}
    process = framebridge("fdb", "show")
    assert process.stdout is not None
    assert process.stderr is not None

    process.stdout.readline()
    process.stdout.close()

    assert process.wait(30) == 141
    assert process.stderr.read() == ""
    process.stderr.close()


@contextlib.contextmanager
def monitor(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = framebridge("monitor", *arguments)
    with process:
        yield process
        process.kill()


def subscribed(server: Served) -> None:
    done = threading.Event()

    def look() -> bool:
        return bool(server.engine.events._subscriptions)

    for _ in range(2000):
        if server.do(look):
            return
        done.wait(0.005)
    raise AssertionError("the monitor did not subscribe")


def test_monitor_shows_events_as_they_come_until_interrupted(server: Served) -> None:
    with monitor() as process:
        subscribed(server)
        server.do(server.engine.events.emit, "fdb-moved")

        assert process.stdout is not None
        assert process.stdout.readline().endswith(" fdb-moved\n")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_monitor_in_json_is_one_object_a_line_and_ends_with_the_daemon(server: Served) -> None:
    with monitor("-j") as process:
        subscribed(server)
        main(["port", "set", "guests", "mtu", "9000"])
        assert process.stdout is not None
        event = json.loads(process.stdout.readline())
        server.stop()

        assert (event["event"], event["actions"]) == ("reload", 1)
        assert process.wait(30) == 0


def test_a_monitor_whose_daemon_is_killed_says_so(tmp_path: Path, capsys: Capture) -> None:
    path = str(tmp_path / "odd.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        answer = b'{"parameters":{"rows":[{"event":"port-up","time":0}]},"continues":true}\0'
        thread = threading.Thread(target=answer_once, args=(listener, answer))
        thread.start()
        status, out, err = run(f"-s {path} monitor", capsys)
        thread.join(10)

    assert (status, out.split()[1]) == (1, "port-up")
    assert "hung up" in err


@pytest.mark.parametrize("words", ["port show", "-j port show", "-h"])
def test_output_that_cannot_be_written(server: Served, words: str) -> None:
    """A full disk is told of in one line; who closed stdout does not want to know."""
    command = [sys.executable, "-m", "bridge", "-s", server.path, *words.split()]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    told = "framebridge: cannot write what is to be shown: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, told)
    closed = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
    done = subprocess.run(closed, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


# -- many commands at once, and words of iproute2


def test_a_batch_does_the_commands_of_a_file(server: Served, capsys: Capture, tmp_path: Path) -> None:
    file = tmp_path / "commands"
    file.write_text(
        "# first a VLAN\nvlan add port uplink vid 30\n\nport set guests isolated yes # then a switch\nvlan show 30\n"
    )
    status, out, err = run(f"-j -batch {file}", capsys)
    assert (status, err) == (0, "")
    assert json.loads(out.splitlines()[-1])[0]["tagged"] == ["uplink"]
    assert next(port for port in server.engine.config.ports if port.name == "guests").isolated


@pytest.mark.parametrize(("options", "vlans"), [("", "10,20,100-119"), ("-force", "10,20,30,100-119")])
def test_a_batch_ends_at_the_first_failure_unless_it_is_forced(
    server: Served, capsys: Capture, tmp_path: Path, options: str, vlans: str
) -> None:
    file = tmp_path / "commands"
    file.write_text("port show\nvlan del port uplink vid 77\nvlan add port uplink vid 30\n")
    status, _, err = run(f"{options} -batch {file}", capsys)
    assert status == 1
    assert f"{file}: line 2: port 'uplink' does not carry 77" in err
    assert server.engine.status.ports("uplink")[0]["vlan"] == vlans


@pytest.mark.parametrize(
    ("text", "status", "why"),
    [
        ("port shw\n", 2, "line 1"),
        ("port 'show\n", 2, "line 1: No closing quotation"),
        (None, 2, "cannot be read"),
    ],
)
def test_a_batch_that_makes_no_sense_says_where(
    server: Served, capsys: Capture, tmp_path: Path, text: str | None, status: int, why: str
) -> None:
    file = tmp_path / "commands"
    if text is not None:
        file.write_text(text)
    found, _, err = run(f"-batch {file}", capsys)
    assert found == status
    assert why in err


@pytest.mark.parametrize("words", ["port help", "port set help", "trace help"])
def test_help_is_a_word(capsys: Capture, words: str) -> None:
    assert run(words, capsys) == run(words.replace("help", "-h"), capsys)


def test_a_native_vlan_is_cleared(server: Served, capsys: Capture) -> None:
    assert run("port set uplink native_tagged on", capsys)[0] == 0
    assert run("port set uplink native none", capsys)[0] == 0
    assert server.engine.status.ports("uplink")[0]["native"] is None
