"""The control socket with real clients: methods, errors, misbehaviour, monitors, permissions, its path."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import inspect
import json
import logging
import os
import re
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.control import CONFIG, Served, Wire, served, write_config
from helpers.fake_engine import QUEUE_CAP, FakeEngine, FakeStatus
from hypothesis import given
from hypothesis import strategies as st

from bridge import __version__
from bridge.config.document import load, parse
from bridge.control.protocol import ERRORS, INTERNAL, MESSAGE_MAX, Call, encode_error
from bridge.control.server import Limits
from bridge.control.service import METHODS, Service
from bridge.control.socket_path import SocketPath, peer_of
from bridge.engine.engine import Engine
from bridge.engine.status import Status
from bridge.errors import ConfigError, ControlError

DOCUMENT = Path(__file__).parents[3] / "docs" / "control-protocol.md"
NOBODY = 65534
MAC = "02:00:00:00:00:01"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path)


@pytest.fixture
def server(config: Path) -> Iterator[Served]:
    with served(config) as running:
        yield running


@pytest.fixture
def wire(server: Served) -> Iterator[Wire]:
    with Wire(server.path) as client:
        yield client


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.005)


def rows(reply: dict[str, Any]) -> list[dict[str, Any]]:
    assert "error" not in reply, reply
    return reply["parameters"]["rows"]


def error(reply: dict[str, Any] | None) -> str:
    assert reply is not None
    assert reply["parameters"]["message"]
    assert reply["error"] in ERRORS
    return reply["error"].rpartition(".")[2]


# -- methods


def test_looking_gives_rows_of_the_engine(wire: Wire) -> None:
    assert rows(wire.call("BridgeShow"))[0].items() >= {"bridge": "dmz", "waiting": "balanced"}.items()
    assert [row["port"] for row in rows(wire.call("PortShow"))] == ["guests", "uplink"]
    assert [row["port"] for row in rows(wire.call("PortShow", port="uplink"))] == ["uplink"]
    assert rows(wire.call("VlanShow"))[1]["untagged"] == ["guests"]
    assert rows(wire.call("StatsShow"))[-1]["balance"] == 0
    assert [row["port"] for row in rows(wire.call("OffloadShow"))] == ["guests", "uplink"]
    assert rows(wire.call("OffloadLeft", port="uplink"))[0]["reason"] == "group"
    assert rows(wire.call("OffloadCheck", port="guests"))[0]["frames"] == "sent"
    assert rows(wire.call("DropsShow")) == []
    assert rows(wire.call("DropsShow", all=True))[0]["reason"] == "runt"
    assert rows(wire.call("Version")) == [{"version": __version__, "bridge": "dmz", "pid": os.getpid()}]


def test_the_bill_is_shown_and_cleared(wire: Wire) -> None:
    before = rows(wire.call("CostSummary"))[0]["busy_cycles"]

    assert rows(wire.call("CostClear")) == []

    assert (before, rows(wire.call("CostSummary"))[0]["busy_cycles"]) == (900, 0)


def test_fdb_entries_come_and_go(wire: Wire) -> None:
    wire.call("FdbAdd", mac=MAC, vlan=10, port="guests")
    wire.call("FdbAdd", mac="02-00-00-00-00-02", vlan=10, port="uplink", kind="sticky")
    wire.call("FdbAdd", mac="02:00:00:00:00:66", vlan=20, kind="drop")

    shown = [(row["mac"], row["vlan"], row["port"], row["state"]) for row in rows(wire.call("FdbShow"))]
    assert shown == [
        (MAC, 10, "guests", "static"),
        ("02:00:00:00:00:02", 10, "uplink", "sticky"),
        ("02:00:00:00:00:66", 20, None, "drop"),
    ]
    assert len(rows(wire.call("FdbShow", vlan=10, port="guests"))) == 1
    assert len(rows(wire.call("FdbShow", mac=MAC.upper()))) == 1
    assert rows(wire.call("FdbDel", mac=MAC, vlan=10)) == []
    assert rows(wire.call("FdbFlush", vlan=10)) == [{"flushed": 1}]
    assert error(wire.call("FdbDel", mac=MAC, vlan=10)) == "NoSuchEntry"


def test_ports_are_added_changed_and_removed(wire: Wire, server: Served) -> None:
    table = {"name": "new", "kind": "tap", "device": "tap9", "vlan": {"tunnel": 30, "tpid": "802.1ad"}}

    added = rows(wire.call("PortAdd", port=table))
    changed = rows(wire.call("PortSet", port="new", changes={"mtu": 9000, "vlan": {"access": 40}}))
    port = server.engine.config.ports[1]
    removed = rows(wire.call("PortDel", port="new"))

    assert [(row["action"], row["subject"]) for row in added] == [("open_port", "new")]
    assert (
        changed[0]["text"]
        == "set port new: mtu default -> 9000, vlan tunnel 30 tpid 802.1ad -> access 40 tpid 802.1ad"
    )
    assert (port.mode, port.pvid, port.mtu, port.tpid) == ("access", 40, 9000, 0x88A8)
    assert [row["action"] for row in removed] == ["close_port"]
    assert [port.name for port in server.engine.config.ports] == ["guests", "uplink"]


@pytest.mark.parametrize(
    ("change", "vids", "native", "tpid"),
    [
        ({"native": 20}, (10, 20, *range(100, 120)), 20, 0x8100),
        ({"native": None}, (10, 20, *range(100, 120)), 0, 0x8100),
        ({"trunk": [5]}, (5,), 1, 0x8100),
        ({"trunk": [5], "native": None}, (5,), 0, 0x8100),
        ({"access": 5}, (), 5, 0x8100),
        ({"tpid": "802.1ad"}, (10, 20, *range(100, 120)), 1, 0x88A8),
    ],
    ids=str,
)
def test_a_change_of_membership_keeps_what_it_does_not_name(
    wire: Wire, server: Served, change: dict[str, Any], vids: tuple[int, ...], native: int, tpid: int
) -> None:
    rows(wire.call("PortSet", port="uplink", changes={"vlan": change}))

    port = server.engine.config.ports[1]
    assert (port.vids, port.pvid, port.tpid) == (vids, native, tpid)


def test_reload_reads_the_file_again_or_takes_a_text(wire: Wire, server: Served, config: Path) -> None:
    assert rows(wire.call("Reload")) == []
    text = config.read_text().replace("access = 10", "access = 11")
    config.write_text(text)

    plan = rows(wire.call("CheckPlan", toml=text))
    assert server.engine.config.ports[0].pvid == 10
    assert rows(wire.call("Reload")) == plan != []
    assert server.engine.config.ports[0].pvid == 11

    rows(wire.call("Reload", toml=text.replace("access = 11", "access = 12"), source="other.toml"))
    assert server.engine.config.ports[0].pvid == 12


def test_what_was_changed_live_is_told_and_who_asked_for_it(
    wire: Wire, config: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is in force can be had as a file; what differs from the daemon's own is what a reload undoes."""
    with caplog.at_level("INFO", "bridge"):
        assert rows(wire.call("ConfigDiff")) == []
        wire.call("PortSet", port="guests", changes={"isolated": True})
        (row,) = rows(wire.call("ConfigShow"))
        assert [one["action"] for one in rows(wire.call("ConfigDiff"))] == ["set_port"]
        assert parse(row["toml"]) != load(str(config))
        wire.call("Reload")
        assert rows(wire.call("ConfigDiff")) == []
        asked = [one.message for one in caplog.records if "asked by" in one.message]
    who = f"asked by uid {os.geteuid()}, pid {os.getpid()}"
    assert asked == [f"PortSet(port='guests', changes={{'isolated': True}}) {who}", f"Reload() {who}"]


def test_what_is_logged_changes_live(wire: Wire) -> None:
    logger = logging.getLogger("bridge.control")
    before = logger.level
    try:
        assert rows(wire.call("LogLevel", level="debug", logger="bridge.control")) == []
        assert logger.level == logging.DEBUG
        for wrong in (
            {"level": "loud"},
            {"level": "info", "logger": "asyncio"},
            {"level": "info", "logger": "bridge.no"},
        ):
            assert error(wire.call("LogLevel", **wrong)) == "InvalidParameter"
        assert logger.level == logging.DEBUG
    finally:
        logger.setLevel(before)


def test_a_full_file_system_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("bridge.control.socket_path.os.open", full)
    with pytest.raises(
        ConfigError, match=r"No space left on device; make room in that file system \(`df`, `df -i`\)"
    ):
        SocketPath(str(tmp_path / "full.sock"))


def test_a_bad_configuration_is_refused_whole_with_every_problem(
    wire: Wire, server: Served, config: Path
) -> None:
    before = server.engine.config
    config.write_text(config.read_text().replace("access = 10", "access = 0") + "colour = 1\n")

    for reply in (wire.call("Reload"), wire.call("CheckPlan", toml=config.read_text(), source=str(config))):
        assert error(reply) == "ConfigInvalid"
        problems = reply["parameters"]["problems"]
        assert reply["parameters"]["source"] == str(config)
        assert [(p["path"], p["line"]) for p in problems] == [
            ("port[0].vlan.access", 8),
            ("port[1].colour", 14),
        ]
        assert all(p["message"] for p in problems)
    assert server.engine.config is before


def test_what_needs_a_restart_is_refused(wire: Wire, config: Path) -> None:
    reply = wire.call("Reload", toml=config.read_text().replace('name = "dmz"', 'name = "lan"'))

    assert error(reply) == "ConfigInvalid"
    assert "restart" in reply["parameters"]["message"]


def test_what_the_engine_cannot_do_is_refused_and_nothing_changes(wire: Wire, server: Served) -> None:
    table = {"name": "new", "kind": "tap", "device": "absent0", "vlan": {"access": 1}}

    reply = wire.call("PortAdd", port=table)

    assert error(reply) == "Refused"
    assert "absent0" in reply["parameters"]["message"]
    assert len(server.engine.config.ports) == 2


def test_simultaneous_changes_do_not_undo_each_other(server: Served) -> None:
    clients = [Wire(server.path) for _ in range(8)]
    for number, client in enumerate(clients):
        table = {"name": f"p{number}", "kind": "memory", "vlan": {"access": 1}}
        client.send({"method": "org.framebridge.PortAdd", "parameters": {"port": table}})
    for client in clients:
        assert rows(client.receive() or {})
        client.socket.close()

    assert len(server.engine.config.ports) == 10


@pytest.mark.parametrize(
    ("method", "parameters", "name", "culprit"),
    [
        ("PortShow", {"port": "x"}, "NoSuchPort", ("port", "x")),
        ("FdbShow", {"port": "x"}, "NoSuchPort", ("port", "x")),
        ("StatsShow", {"port": "x"}, "NoSuchPort", ("port", "x")),
        ("PortDel", {"port": "x"}, "NoSuchPort", ("port", "x")),
        ("PortSet", {"port": "x", "changes": {"mtu": 1500}}, "NoSuchPort", ("port", "x")),
        ("FdbAdd", {"mac": MAC, "vlan": 1, "port": "x"}, "NoSuchPort", ("port", "x")),
        ("FdbFlush", {"port": "x"}, "NoSuchPort", ("port", "x")),
        ("PortShow", {"prot": "x"}, "InvalidParameter", ("parameter", "prot")),
        ("PortShow", {"port": 1}, "InvalidParameter", ("parameter", "port")),
        ("PortDel", {}, "InvalidParameter", ("parameter", "port")),
        ("PortDel", {"port": None}, "InvalidParameter", ("parameter", "port")),
        ("PortAdd", {"port": "new"}, "InvalidParameter", ("parameter", "port")),
        ("PortAdd", {"port": {"name": "a b"}}, "ConfigInvalid", ("source", "")),
        (
            "PortAdd",
            {"port": {"name": "guests", "kind": "memory", "vlan": {"access": 1}}},
            "ConfigInvalid",
            ("source", ""),
        ),
        ("PortSet", {"port": "guests", "changes": {"name": "other"}}, "ConfigInvalid", ("source", "")),
        ("PortSet", {"port": "guests", "changes": {"vlan": 5}}, "ConfigInvalid", ("source", "")),
        ("FdbShow", {"vlan": True}, "InvalidParameter", ("parameter", "vlan")),
        ("FdbShow", {"vlan": 4095}, "InvalidParameter", ("parameter", "vlan")),
        ("FdbShow", {"mac": "02:00"}, "InvalidParameter", ("parameter", "mac")),
        ("FdbAdd", {"mac": MAC, "vlan": 0, "kind": "drop"}, "InvalidParameter", ("parameter", "vlan")),
        (
            "FdbAdd",
            {"mac": "01:00:5e:00:00:01", "vlan": 1, "kind": "drop"},
            "InvalidParameter",
            ("parameter", "mac"),
        ),
        ("FdbAdd", {"mac": MAC, "vlan": 1, "kind": "odd"}, "InvalidParameter", ("parameter", "kind")),
        (
            "FdbAdd",
            {"mac": MAC, "vlan": 1, "kind": "drop", "port": "guests"},
            "InvalidParameter",
            ("parameter", "port"),
        ),
        ("FdbAdd", {"mac": MAC, "vlan": 1}, "InvalidParameter", ("parameter", "port")),
        ("FdbDel", {"mac": MAC, "vlan": 1}, "NoSuchEntry", ("mac", MAC)),
        ("DropsShow", {"all": 1}, "InvalidParameter", ("parameter", "all")),
        ("Monitor", {}, "ExpectedMore", ("message", "a stream of replies needs 'more': true")),
        ("Nothing", {}, "MethodNotFound", ("method", "org.framebridge.Nothing")),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_cannot_be_done_is_a_named_error_and_the_connection_goes_on(
    wire: Wire, method: str, parameters: dict[str, Any], name: str, culprit: tuple[str, str]
) -> None:
    reply = wire.call(method, **parameters)

    assert error(reply) == name
    assert reply["parameters"][culprit[0]] == culprit[1]
    assert rows(wire.call("Version"))


def test_an_unforeseen_failure_is_logged_and_told_and_not_more(
    wire: Wire, server: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server.engine.status, "vlans", lambda: 1 // 0)

    reply = wire.call("VlanShow")

    assert error(reply) == "InternalError"
    assert "ZeroDivisionError" in reply["parameters"]["message"]
    assert "Traceback" in caplog.text
    assert rows(wire.call("Version"))


texts = st.text(max_size=8) | st.sampled_from(["guests", "tap", MAC, "\ud800", "\0", "x" * 3000])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
tables = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("name", "kind", "device", "netns", "mtu", "flood", "vlan", "enabled"), values)
)


FUZZED = parse(CONFIG.format(socket="/nowhere"))


@given(st.data())
def test_no_parameters_whatever_make_a_method_fail_unforeseen(data: st.DataObject) -> None:
    method = data.draw(st.sampled_from(sorted(METHODS.values(), key=lambda method: method.name)))
    names = st.sampled_from(sorted(method.parameters)) | texts if method.parameters else texts
    call = Call(method.name, data.draw(st.dictionaries(names, values | tables, max_size=4)), more=True)

    async def answer() -> str:
        engine = FakeEngine(FUZZED)
        await engine.start()
        try:
            await Service(engine).call(call, may_change=True)
        except ControlError as caught:
            encode_error(caught)
            return caught.name
        return ""

    assert asyncio.run(answer()) in {"", *ERRORS} - {INTERNAL}


def test_the_service_describes_itself(wire: Wire) -> None:
    wire.send({"method": "org.varlink.service.GetInfo"})
    info = wire.receive()
    wire.send(
        {
            "method": "org.varlink.service.GetInterfaceDescription",
            "parameters": {"interface": "org.framebridge"},
        }
    )
    described = wire.receive()
    wire.send({"method": "org.varlink.service.GetInterfaceDescription", "parameters": {"interface": "a.b"}})
    unknown = wire.receive()
    wire.send({"method": "com.example.Call"})

    assert info is not None
    assert described is not None
    assert info["parameters"]["interfaces"] == ["org.varlink.service", "org.framebridge"]
    text = described["parameters"]["description"]
    assert "\ninterface org.framebridge\n" in text
    assert (
        "\nmethod FdbAdd(mac: string, vlan: int, port: ?string, kind: ?string) -> (rows: []object)\n" in text
    )
    assert "\nerror NoSuchPort (port: string, message: string)\n" in text
    assert error(unknown) == error(wire.receive()) == "InterfaceNotFound"


def signature(verb: Callable[..., object]) -> tuple[object, ...]:
    parameters = inspect.signature(verb).parameters.values()
    told = [(p.name, p.default) for p in parameters if p.kind is not p.VAR_KEYWORD]
    return told, inspect.iscoroutinefunction(verb)


def test_the_engine_of_these_tests_is_shaped_like_the_real_one() -> None:
    for fake, real in ((FakeEngine, Engine), (FakeStatus, Status)):
        for name, verb in inspect.getmembers(fake, inspect.isfunction):
            if not name.startswith("_"):
                assert signature(verb) == signature(getattr(real, name)), name


# -- the document


def test_the_document_has_every_method_with_its_parameters_and_no_other() -> None:
    text = DOCUMENT.read_text()
    sections = dict(re.findall(r"^### `([\w.]+)`\n(.*?)(?=^##)", text + "\n##", re.MULTILINE | re.DOTALL))

    assert sections.keys() == METHODS.keys()
    for name, method in METHODS.items():
        documented = re.findall(r"^\| `(\w+)` \| (\??\w+) \|", sections[name], re.MULTILINE)
        assert documented == [(p.name, str(p).partition(": ")[2]) for p in method.parameters.values()], name
        assert ("Changes something" in sections[name]) == method.changes, name


def test_the_document_has_the_limits() -> None:
    limits = Limits()

    rows = re.findall(r"^\| [^|]+ \| (\d+)(?: Mi?B)?(?: s)? \|", DOCUMENT.read_text(), re.MULTILINE)

    patience = [limits.half_message, limits.idle, limits.send, limits.farewell]
    room = [limits.connections, limits.kept, limits.reserve, limits.patience]
    kept = [*room, MESSAGE_MAX >> 20, *patience]
    assert [float(number) for number in rows] == kept


def test_the_document_has_every_error_and_no_other() -> None:
    documented = re.findall(r"^\| `(org\.[\w.]+)` \|([^|]*)\|", DOCUMENT.read_text(), re.MULTILINE)

    assert {name for name, _ in documented} == ERRORS.keys()
    for name, carries in documented:
        assert re.findall(r"`(\w+)`", carries) == [field.partition(":")[0] for field in ERRORS[name]], name


def test_the_examples_of_the_document_are_what_the_daemon_says(wire: Wire) -> None:
    examples = re.findall(r"^(-->|<--) (\{.*\})$", DOCUMENT.read_text(), re.MULTILINE)
    asked = 0
    for direction, text in examples:
        message = json.loads(text)
        if direction == "-->":
            wire.send(message)
            asked += 1
            continue
        reply = wire.receive()
        assert reply is not None
        assert shape(message) == shape(reply), text
    assert asked >= 5


def shape(message: object) -> object:
    """Reduce a message to what must agree: keys, error names and types, not counts and texts."""
    if isinstance(message, dict):
        return {
            key: value if key in ("error", "continues") else shape(value) for key, value in message.items()
        }
    if isinstance(message, list):
        return [shape(item) for item in message][:1]
    return type(message).__name__ if message is not None else "None"


# -- framing on the wire


def test_calls_may_be_sent_ahead_and_are_answered_in_order(wire: Wire) -> None:
    wire.send(
        {"method": "org.framebridge.PortShow"},
        {"method": "org.framebridge.CostClear", "oneway": True},
        {"method": "org.framebridge.Nothing", "oneway": True},
        {"method": "org.framebridge.Nothing"},
        {"method": "org.framebridge.Version"},
    )

    assert len(rows(wire.receive() or {})) == 2
    assert error(wire.receive()) == "MethodNotFound"
    assert rows(wire.receive() or {})[0]["bridge"] == "dmz"


def test_a_client_that_closed_its_sending_side_is_still_answered(wire: Wire) -> None:
    wire.send({"method": "org.framebridge.Version"})
    wire.socket.shutdown(socket.SHUT_WR)

    assert rows(wire.receive() or {})
    assert wire.receive() is None


def test_a_message_may_come_byte_by_byte(wire: Wire) -> None:
    for byte in b'{"method":"org.framebridge.Version"}\0':
        wire.socket.sendall(bytes([byte]))

    assert rows(wire.receive() or {})


def test_long_tables_come_in_parts_to_those_who_ask_for_more(wire: Wire, server: Served) -> None:
    server.engine.fdb = {(10, 0x020000000000 + n): ("guests", "static") for n in range(20_000)}
    wire.send({"method": "org.framebridge.FdbShow", "more": True})

    macs, replies, continues = [], 0, True
    while continues:
        reply = wire.receive() or {}
        macs += [row["mac"] for row in rows(reply)]
        replies, continues = replies + 1, reply.get("continues", False)

    assert len(set(macs)) == len(macs) == 20_000
    assert macs == sorted(macs)
    assert replies > 10
    assert error(wire.call("FdbShow")) == "Refused"
    assert rows(wire.call("FdbShow", mac=macs[7]))


# -- misbehaviour


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n\0",
        b"\0",
        b"[]\0",
        b"{}\0",
        b'{"method":1}\0',
        b'{"method":"org.framebridge.Version","parameters":[]}\0',
        b'{"method":"org.framebridge.Version","more":"yes"}\0',
        b'{"method":"org.framebridge.Version","upgrade":true}\0',
        b'{"method":"\xff"}\0',
        b'{"method":NaN}\0',
        b"[" * 100_000 + b"\0",
        b'{"method":"' + b"x" * MESSAGE_MAX + b'"}\0',
    ],
    ids=lambda data: repr(data[:24]),
)
def test_garbage_is_answered_with_an_error_and_a_closed_connection(server: Served, data: bytes) -> None:
    with Wire(server.path) as good, Wire(server.path) as bad:
        try:
            bad.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            assert len(data) > MESSAGE_MAX

        assert error(bad.receive()) == "BadMessage"
        assert bad.receive() is None
        assert rows(good.call("Version"))


def test_what_came_before_garbage_is_answered(wire: Wire) -> None:
    wire.socket.sendall(
        b'{"method":"org.framebridge.Version"}\0garbage\0{"method":"org.framebridge.Version"}\0'
    )

    assert rows(wire.receive() or {})
    assert error(wire.receive()) == "BadMessage"
    assert wire.receive() is None


def test_a_connection_that_ends_inside_a_message_is_told(wire: Wire) -> None:
    wire.socket.sendall(b'{"method":')
    wire.socket.shutdown(socket.SHUT_WR)

    assert error(wire.receive()) == "BadMessage"
    assert wire.receive() is None


def test_half_a_message_has_a_deadline_that_dripping_does_not_move(config: Path) -> None:
    with served(config, half_message=0.3) as server, Wire(server.path) as slow, Wire(server.path) as good:
        rows(slow.call("Version"))
        slow.socket.settimeout(0.02)
        reply, deadline = None, time.monotonic() + 10
        while reply is None and time.monotonic() < deadline:
            try:
                slow.socket.sendall(b"x")
                reply = slow.receive()
            except TimeoutError:
                continue

        assert error(reply) == "BadMessage"
        assert "0.3 s" in (reply or {})["parameters"]["message"]
        assert rows(good.call("Version"))


def test_the_deadline_is_one_of_each_message(config: Path) -> None:
    call = b'{"method":"org.framebridge.Version"}\0'
    with served(config, half_message=2.0) as server, Wire(server.path) as steady:
        end = time.monotonic() + 3.0
        steady.socket.sendall(call[:10])
        while time.monotonic() < end:  # always in the middle of a message, never long in one
            time.sleep(0.02)
            steady.socket.sendall(call[10:] + call[:10])
            assert rows(steady.receive() or {})


def test_an_idle_connection_is_closed_but_not_one_that_monitors(config: Path) -> None:
    with served(config, idle=0.2) as server, Wire(server.path) as idle, Wire(server.path) as monitor:
        monitor.send({"method": "org.framebridge.Monitor", "more": True})
        assert monitor.receive() == {"parameters": {"rows": []}, "continues": True}

        assert idle.receive() is None
        server.do(server.engine.events.emit, "warning")
        assert rows(monitor.receive() or {})[0]["event"] == "warning"


def test_connections_are_limited_and_a_place_becomes_free(config: Path) -> None:
    with served(config, connections=2) as server:
        with Wire(server.path) as first, Wire(server.path) as second, Wire(server.path) as third:
            assert rows(first.call("Version"))
            assert rows(second.call("Version"))
            assert error(third.receive()) == "Busy"
            assert third.receive() is None

        def answers() -> bool:
            with Wire(server.path) as later:
                return "error" not in later.call("Version")

        until(answers, "a free place")


def test_many_clients_that_come_and_go_leave_nothing(server: Served) -> None:
    for number in range(300):
        with Wire(server.path) as client:
            if number % 3:
                client.socket.sendall(b'{"method":"org.framebridge.Version"}\0'[: 36 - number % 2])

    def answers() -> bool:
        with Wire(server.path) as client:
            return "error" not in client.call("Version")

    until(answers, "an answer")
    until(lambda: not server.do(lambda: len(server.server.connections)), "the connections to end")


def test_a_client_that_does_not_read_its_replies_is_cut_off(config: Path) -> None:
    with served(config, send=0.2) as server, Wire(server.path) as deaf, Wire(server.path) as good:
        server.engine.fdb = {(10, 0x020000000000 + n): ("guests", "static") for n in range(20_000)}
        deaf.send({"method": "org.framebridge.FdbShow", "more": True})

        until(lambda: server.do(lambda: len(server.server.connections)) == 1, "the deaf client to be cut off")

        assert rows(good.call("Version"))


# -- monitors


def monitoring(path: str) -> Wire:
    wire = Wire(path)
    wire.send({"method": "org.framebridge.Monitor", "more": True})
    assert wire.receive() == {"parameters": {"rows": []}, "continues": True}
    return wire


def test_monitors_hear_of_changes(server: Served, wire: Wire) -> None:
    with monitoring(server.path) as first, monitoring(server.path) as second:
        wire.call("PortSet", port="guests", changes={"mtu": 9000})

        for monitor in (first, second):
            reply = monitor.receive() or {}
            assert reply["continues"] is True
            assert rows(reply)[0]["event"] == "reload"


def subscriptions(server: Served) -> int:
    return int(server.do(lambda: len(server.engine.events._subscriptions)))


def test_a_monitor_that_leaves_is_forgotten(server: Served) -> None:
    with monitoring(server.path):
        assert subscriptions(server) == 1

    until(lambda: subscriptions(server) == 0, "the subscription to end")


def test_a_monitor_that_calls_again_is_refused(server: Served) -> None:
    with monitoring(server.path) as monitor:
        monitor.send({"method": "org.framebridge.Version"})

        reply = monitor.receive()
        assert error(reply) == "BadMessage"
        assert "takes no further calls" in (reply or {})["parameters"]["message"]
        assert monitor.receive() is None
    assert subscriptions(server) == 0


def flood(server: Served, count: int) -> None:
    """Emit numbered events in pieces, letting the server work in between."""
    for first in range(0, count, 50):
        server.do(
            lambda first=first: [
                server.engine.events.emit("warning", n=n, text="x" * 1000) for n in range(first, first + 50)
            ]
        )


def test_a_slow_monitor_loses_events_is_told_how_many_and_holds_nobody_up(server: Served, wire: Wire) -> None:
    count = 5000
    with monitoring(server.path) as slow, monitoring(server.path) as quick:
        flood(server, 50)
        assert [rows(quick.receive() or {})[0]["n"] for _ in range(50)] == list(range(50))
        flood(server, count)
        assert rows(wire.call("Version"))

        seen, lost = [], 0
        while len(seen) + lost < count + 50:
            event = rows(slow.receive() or {})[0]
            if event["event"] == "lost":
                lost += event["lost"]
            else:
                seen.append(event["n"])

    assert lost > count / 2
    assert len(seen) < count / 2 + QUEUE_CAP
    assert len(seen) + lost == count + 50


def test_a_monitor_that_stays_blocked_is_cut_off(config: Path) -> None:
    with served(config, send=0.3) as server, monitoring(server.path), Wire(server.path) as good:
        flood(server, 2000)

        until(lambda: subscriptions(server) == 0, "the blocked monitor to be cut off")

        assert rows(good.call("Version"))


def test_monitors_are_told_when_the_daemon_ends(config: Path) -> None:
    with served(config) as server:
        monitor, idle = monitoring(server.path), Wire(server.path)
        assert rows(idle.call("Version"))
        server.stop()  # waits for nobody

        assert monitor.receive() == {"parameters": {"rows": []}}
        assert monitor.receive() is None
        assert idle.receive() is None
        monitor.socket.close()
        idle.socket.close()


def test_a_call_in_progress_is_answered_when_the_daemon_ends(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(config) as server, Wire(server.path) as wire:
        begun, go_on = threading.Event(), threading.Event()

        async def slow_flush(**_: object) -> int:
            begun.set()
            while not go_on.is_set():
                await asyncio.sleep(0.01)
            return 7

        monkeypatch.setattr(server.engine, "fdb_flush", lambda **_: slow_flush())
        wire.send({"method": "org.framebridge.FdbFlush"}, {"method": "org.framebridge.Version"})
        assert begun.wait(10)
        stopper = threading.Thread(target=server.stop)
        stopper.start()
        until(lambda: not Path(server.path).exists(), "the socket to go")
        go_on.set()
        stopper.join(10)

        assert rows(wire.receive() or {}) == [{"flushed": 7}]
        assert wire.receive() is None


# -- long work


@pytest.mark.parametrize(
    ("method", "parameters"),
    [("CheckPlan", {"toml": ""}), ("CheckAudit", {"toml": ""}), ("Reload", {"toml": ""}), ("Reload", {})],
)
def test_a_configuration_that_takes_long_to_judge_holds_nobody_up(
    server: Served, wire: Wire, monkeypatch: pytest.MonkeyPatch, method: str, parameters: dict[str, Any]
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow_parse(text: str, source: str = "") -> Any:
        begun.set()
        assert go_on.wait(10)
        return parse(server.config_path.read_text())

    monkeypatch.setattr("bridge.config.document.parse", slow_parse)
    with Wire(server.path) as other:
        wire.send({"method": f"org.framebridge.{method}", "parameters": parameters})
        assert begun.wait(10)
        try:
            assert rows(other.call("Version"))
        finally:
            go_on.set()
        assert rows(wire.receive() or {}) == []


# -- permissions


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that other users reach, unlike tmp_path."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become other users")
    directory = Path(tempfile.mkdtemp(prefix="framebridge-", dir="/tmp"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def as_user(uid: int, gid: int, groups: list[int], work: Callable[[], object]) -> Any:
    """Run something as another user in a process of its own; give what it returns."""
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.setgroups(groups)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            os.write(writing, json.dumps(work()).encode())
        except BaseException as caught:
            os.write(writing, json.dumps(repr(caught)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as file:
        return json.load(file)


def look_and_change(path: str) -> list[str]:
    with Wire(path) as wire:
        replies = [wire.call("Version"), wire.call("CostClear")]
    return [reply.get("error", "done").rpartition(".")[2] for reply in replies]


def test_the_mode_of_the_socket_keeps_strangers_out(public: Path) -> None:
    with served(write_config(public)) as server:
        assert Path(server.path).stat().st_mode & 0o7777 == 0o660
        assert "PermissionError" in as_user(NOBODY, NOBODY, [], lambda: look_and_change(server.path))


@pytest.mark.parametrize(
    ("gid", "groups", "answers"),
    [
        (NOBODY, [], ["done", "PermissionDenied"]),
        (NOBODY, [40000], ["done", "done"]),
        (40000, [], ["done", "done"]),
        (NOBODY, [40001, 40002], ["done", "PermissionDenied"]),
    ],
    ids=["stranger", "member", "primary", "other groups"],
)
def test_an_opened_socket_lets_strangers_look_and_members_change(
    public: Path, gid: int, groups: list[int], answers: list[str]
) -> None:
    with served(write_config(public)) as server:
        os.chown(server.path, 0, 40000)  # after the start, as an administrator would
        Path(server.path).chmod(0o666)

        assert as_user(NOBODY, gid, groups, lambda: look_and_change(server.path)) == answers


@contextlib.contextmanager
def connected_as(uid: int, path: str, count: int) -> Iterator[None]:
    """So many idle connections of another user."""
    held, release = os.pipe(), os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            os.close(release[1])
            wires = [Wire(path) for _ in range(count)]
            os.write(held[1], b"%d" % len(wires))
            os.read(release[0], 1)
        finally:
            os._exit(0)
    try:
        os.close(held[1])
        assert os.read(held[0], 10) == b"%d" % count
        yield
    finally:
        for end in (held[0], *release):
            os.close(end)
        os.waitpid(child, 0)


OUTSIDE = ["/proc/sys/kernel/hostname", "/etc/cron.d/x", "/var/lib/framebridge/captures2/x", "/x"]


@pytest.mark.parametrize("file", OUTSIDE)
def test_a_mirror_of_the_socket_writes_beneath_its_directory_whoever_asks(
    server: Served, wire: Wire, file: str
) -> None:
    reply = wire.call("MirrorAdd", mirror={"name": "m", "file": file})

    assert error(reply) == "ConfigInvalid"
    assert "is not beneath /var/lib/framebridge/captures (mirror_dir)" in reply["parameters"]["message"]
    assert server.engine.config.mirrors == ()


@pytest.mark.parametrize("file", ["x", "a/x", "/var/lib/framebridge/captures/a/x"])
def test_a_mirror_of_the_socket_may_name_what_is_beneath(server: Served, wire: Wire, file: str) -> None:
    rows(wire.call("MirrorAdd", mirror={"name": "m", "file": file}))

    (mirror,) = server.engine.config.mirrors
    assert mirror.directory == "/var/lib/framebridge/captures"
    assert mirror.file == f"{mirror.directory}/{file.removeprefix(mirror.directory + '/')}"


MEMBER = 40000


@pytest.mark.parametrize(
    ("before", "after", "path"),
    [
        ("", '[[mirror]]\nname = "m"\nfile = "/etc/cron.d/x"\n', "mirror.m.file"),
        ('[[mirror]]\nname = "m"\nfile = "/y"\n', '[[mirror]]\nname = "m"\nfile = "/z"\n', "mirror.m.file"),
        ("", 'mirror_dir = "/etc"\n', "bridge.mirror_dir"),
        ("", 'fdb_file = "/etc/cron.d/x"\n', "bridge.fdb_file"),
        ('fdb_file = "/x"\n', "", "bridge.fdb_file"),
        ("", '[[mirror]]\nname = "m"\nfile = "x"\n', None),
        ('[[mirror]]\nname = "m"\nfile = "/y"\n', '[[mirror]]\nname = "m"\nfile = "/y"\nfiles = 2\n', None),
    ],
)
def test_a_text_of_a_member_of_the_group_names_no_new_places(
    public: Path, before: str, after: str, path: str | None
) -> None:
    """Root, who could write the configuration file, may send any text; the file itself may say anything."""

    def text(more: str) -> str:
        keys, table = ("", more) if more.startswith("[") else (more, "")
        return CONFIG.replace("\n\n", f"\n{keys}\n", 1).format(socket=public / "dmz.sock") + table

    file = write_config(public)
    file.write_text(text(before))
    with served(file) as server:
        os.chown(server.path, 0, MEMBER)

        def reload(**parameters: str) -> Any:
            with Wire(server.path) as wire:
                return wire.call("Reload", **parameters)

        reply = as_user(NOBODY, MEMBER, [], lambda: reload(toml=text(after)))
        problems = reply["parameters"].get("problems", [])
        assert [problem["path"] for problem in problems] == ([path] if path else [])
        assert ("error" in reply) == bool(path)
        assert "error" not in reload(toml=text(before))
        assert "error" not in reload(toml=text(after))
        file.write_text(text(before))
        assert "error" not in as_user(NOBODY, MEMBER, [], reload)


def test_costly_calls_of_onlookers_take_turns_and_nobody_else_waits_for_them(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(config) as server:
        service = server.server._service
        running: list[str] = []
        go_on = threading.Event()

        def slow_parse(text: str, source: str = "") -> Any:
            running.append(source)
            assert go_on.wait(10)
            return parse(config.read_text())

        def check(who: str) -> asyncio.Task[Any]:
            call = Call("org.framebridge.CheckPlan", {"toml": "", "source": who})
            return asyncio.ensure_future(service.call(call, may_change=who == "root"))

        async def story() -> list[Any]:
            tasks = [check(who) for who in ("one", "two", "three", "root")]
            while len(running) < 2:
                await asyncio.sleep(0.001)
            assert sorted(running) == ["one", "root"]
            go_on.set()
            return await asyncio.gather(*tasks)

        monkeypatch.setattr("bridge.config.document.parse", slow_parse)
        assert server.do(story) == [[]] * 4
        assert running[2:] == ["two", "three"]


def test_idle_onlookers_do_not_lock_out_who_may_change_things(public: Path) -> None:
    with served(write_config(public), patience=300.0) as server:
        Path(server.path).chmod(0o666)
        with connected_as(NOBODY, server.path, 64), contextlib.ExitStack() as stack:
            for _ in range(16):
                wire = stack.enter_context(Wire(server.path))
                assert rows(wire.call("CostClear")) == []
            assert server.do(lambda: len(server.server.connections)) == 64
            assert error(stack.enter_context(Wire(server.path)).receive()) == "Busy"


def test_an_idle_client_makes_room_for_a_new_one(config: Path) -> None:
    with (
        served(config, connections=2, kept=0, patience=0.0) as server,
        Wire(server.path) as idle,
        monitoring(server.path) as monitor,
        Wire(server.path) as third,
    ):
        assert rows(third.call("Version"))
        assert idle.receive() is None
        server.do(server.engine.events.emit, "warning")
        assert rows(monitor.receive() or {})[0]["event"] == "warning"


def test_the_kernel_says_who_connects() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        peer = peer_of(ours)

    assert (peer.pid, peer.uid, peer.groups[0]) == (os.getpid(), os.geteuid(), os.getegid())


# -- ownership of the path


def connects(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(path) == 0


def test_the_socket_appears_with_listen_in_a_directory_made_for_it(tmp_path: Path) -> None:
    path = tmp_path / "run" / "framebridge" / "a.sock"
    before = os.umask(0o077)
    try:
        with SocketPath(str(path)) as claim:
            assert not path.exists()
            with claim.listen():
                assert connects(str(path))
                assert path.stat().st_mode & 0o7777 == 0o660
                assert path.parent.stat().st_mode & 0o7777 == 0o755
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)
    assert list(path.parent.iterdir()) == []


def test_a_living_daemon_keeps_its_path_listening_or_not(tmp_path: Path) -> None:
    path = str(tmp_path / "a.sock")
    with SocketPath(path) as claim:
        with pytest.raises(ConfigError, match=rf"already running \(pid {os.getpid()}\)"):
            SocketPath(path)
        with claim.listen():
            with pytest.raises(ConfigError, match=rf"already running \(pid {os.getpid()}\)"):
                SocketPath(path)
            assert connects(path)
    SocketPath(path).release()


def test_a_listener_without_a_lock_is_living_too(tmp_path: Path) -> None:
    path = str(tmp_path / "a.sock")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen(0)
        with pytest.raises(ConfigError, match=rf"already running \(pid {os.getpid()}\)"):
            SocketPath(path)
        with pytest.raises(ConfigError, match="already running"):  # its backlog is full now
            SocketPath(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.sock"]


def test_what_a_dead_daemon_left_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "a.sock")
    if (child := os.fork()) == 0:
        claim = SocketPath(path)
        claim.listen()
        os._exit(9)
    os.waitpid(child, 0)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.sock", "a.sock.lock"]
    assert not connects(path)

    with SocketPath(path) as claim, claim.listen():
        assert connects(path)

    assert list(tmp_path.iterdir()) == []


def test_of_many_daemons_started_at_once_one_gets_the_path(tmp_path: Path) -> None:
    path = str(tmp_path / "a.sock")
    Path(path + ".lock").write_text("12345\n")
    start, hold, results = os.pipe(), os.pipe(), os.pipe()
    children = []
    for _ in range(12):
        if (child := os.fork()) == 0:
            os.close(start[1])
            os.close(hold[1])
            os.read(start[0], 1)  # returns when the parent closes its end
            try:
                SocketPath(path)
                os.write(results[1], b"+")
                os.read(hold[0], 1)
            except ConfigError:
                os.write(results[1], b"-")
            finally:
                os._exit(0)
        children.append(child)
    os.close(start[1])

    outcomes = b"".join(os.read(results[0], 1) for _ in children)

    os.close(hold[1])
    for child in children:
        os.waitpid(child, 0)
    for end in (start[0], hold[0], *results):
        os.close(end)
    assert sorted(outcomes) == sorted(b"+" + b"-" * 11)


def test_a_lock_file_removed_while_it_is_taken_counts_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "a.sock")
    predecessor = [SocketPath(path)]
    flock = fcntl.flock

    def flock_after_the_predecessor_left(lock: int, operation: int) -> None:
        if predecessor:
            predecessor.pop().release()
        flock(lock, operation)

    monkeypatch.setattr(fcntl, "flock", flock_after_the_predecessor_left)

    with SocketPath(path), pytest.raises(ConfigError, match="already running"):
        SocketPath(path)


def test_a_successor_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    claim = SocketPath(str(path))
    with claim.listen(), socket.socket(socket.AF_UNIX) as other:
        path.unlink()
        other.bind(str(path))
        claim.release()
        claim.release()

        assert path.is_socket()


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        (
            "/sys/framebridge/a.sock",
            "cannot make /sys/framebridge/a.sock: .*; run as root, or set bridge.control_socket",
        ),
        ("/dev/null/a.sock", "cannot make /dev/null/a.sock: .*; run as root, or set bridge.control_socket"),
        ("/tmp/" + "x" * 102, "longer than 106 bytes; choose a shorter path"),
        ("{tmp}/file", "file is there and no socket; remove it or choose another path"),
        ("{tmp}/folder", "folder is there and no socket"),
    ],
    ids=["forbidden", "below a file", "long", "file", "folder"],
)
def test_a_path_that_cannot_be_used_is_named_with_the_way_out(
    tmp_path: Path, path: str, complaint: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()

    with pytest.raises(ConfigError, match=complaint) as caught:
        SocketPath(path.format(tmp=tmp_path))

    assert caught.value.problems[0].path == "bridge.control_socket"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder"]


def test_a_trace_has_the_line_of_the_key_and_the_cost_of_the_class(wire: Wire) -> None:
    found = rows(wire.call("TraceFrame", port="guests", frame="ff" * 60))
    assert [row["text"] for row in found] == [
        "60 bytes in VLAN 10",
        "not measured: no frame of class broadcast from port guests so far",
    ]
    text = CONFIG.splitlines()
    assert text[found[0]["line"] - 1].startswith("vlan")
    assert found[1]["line"] is None


@pytest.mark.parametrize(
    ("frame", "why"), [("0g", "hexadecimal"), ("f", "hexadecimal"), ("00" * 65536, "at most")]
)
def test_a_trace_of_no_frame_is_refused(wire: Wire, frame: str, why: str) -> None:
    assert why in wire.call("TraceFrame", port="guests", frame=frame)["parameters"]["message"]


def test_a_trunk_gets_and_loses_vlans_without_naming_the_others(wire: Wire) -> None:
    def vlan() -> tuple[object, object]:
        row = rows(wire.call("PortShow", port="uplink"))[0]
        return row["vlan"], row["native"]

    before = vlan()
    assert rows(wire.call("VlanAdd", port="uplink", vlans="30,40-42"))
    assert vlan() == ("10,20,30,40-42,100-119", 1)
    assert rows(wire.call("VlanAdd", port="uplink", vlans="30", native=True))
    assert vlan()[1] == 30
    assert rows(wire.call("VlanDel", port="uplink", vlans="30,40-42"))
    assert vlan() == (before[0], None)
    assert [row["vlan"] for row in rows(wire.call("VlanShow", vlan=20))] == [20]


def test_what_a_vlan_says_of_a_port_goes_with_it(wire: Wire, server: Served) -> None:
    changes = {"vlan": {"trunk": [10, 20], "native": 30, "native_tagged": True, "map": ["200:20", "100:10"]}}
    assert rows(wire.call("PortSet", port="uplink", changes=changes))
    assert rows(wire.call("VlanDel", port="uplink", vlans="20,30"))
    (port,) = (port for port in server.engine.config.ports if port.name == "uplink")
    assert (port.vids, port.pvid, port.native_tagged, [*map(str, port.translations)]) == (
        (10,),
        0,
        False,
        ["100:10"],
    )


@pytest.mark.parametrize(
    ("method", "parameters", "why"),
    [
        ("VlanAdd", {"port": "guests", "vlans": "20"}, "'port set guests access VID'"),
        ("VlanAdd", {"port": "uplink", "vlans": "4095"}, "1 to 4094"),
        ("VlanAdd", {"port": "uplink", "vlans": "some"}, "VLAN IDs and ranges"),
        ("VlanAdd", {"port": "uplink", "vlans": "30,31", "native": True}, "name one"),
        ("VlanDel", {"port": "uplink", "vlans": "77"}, "does not carry 77"),
        ("VlanShow", {"vlan": 5000}, "1 to 4094"),
    ],
)
def test_vlans_that_make_no_sense_change_nothing(
    wire: Wire, method: str, parameters: dict[str, Any], why: str
) -> None:
    before = rows(wire.call("PortShow"))
    assert why in wire.call(method, **parameters)["parameters"]["message"]
    assert rows(wire.call("PortShow")) == before
