"""bridge.config: what a file means, what is wrong with it and where, and the helpers of the live verbs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import TypeVar

import pytest
from config_strategies import NARROW, configs
from helpers.profiles import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge import declared
from bridge.config.bridge import BridgeConfig
from bridge.config.cost import CostConfig
from bridge.config.document import load, parse
from bridge.config.edit import replace_port, with_port, without_port
from bridge.config.metrics import MetricsConfig
from bridge.config.port import PortConfig, parse_port, port_table, update_port
from bridge.config.static_entry import StaticEntry
from bridge.config.vids import format_vids, vid_runs
from bridge.config.vlan import VlanConfig
from bridge.config.whole import Config
from bridge.config.write import to_toml
from bridge.errors import ConfigError

T = TypeVar("T")
V = TypeVar("V")
PORT = '[[port]]\nname = "p"\nkind = "link"\ndevice = "eth0"\n'
ENTRY = f"{PORT}vlan = {{ access = 10 }}\n[[fdb]]\n"
GUESTS = PortConfig("guests", "tap", "tap0", pvid=10)
UPLINK = PortConfig("uplink", "link", "eth1", mode="trunk", vids=(10, 20))
BASE = Config(ports=(GUESTS, UPLINK), entries=(StaticEntry(10, 0x02005E000001, "static", "guests"),))


def problems(text: str) -> list[str]:
    """Return what `parse` says about a bad file, line by line."""
    with pytest.raises(ConfigError) as caught:
        parse(dedent(text))
    return [str(problem) for problem in caught.value.problems]


def the_problem(text: str) -> str:
    found = problems(text)
    assert len(found) == 1, found
    return found[0]


# -- good files


def test_the_configuration_needs_neither_the_core_nor_asyncio() -> None:
    code = (
        "import pkgutil, sys\n"
        "import bridge.config\n"
        "for module in pkgutil.iter_modules(bridge.config.__path__, 'bridge.config.'):\n"
        "    __import__(module.name)\n"
        "bridge.config.document.parse('[[budget]]\\nname = \"a\"\\nframes_per_second = 1')\n"
        "print(*sys.modules)\n"
    )
    loaded = set(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True, text=True
        ).stdout.split()
    )
    mine = {name.split(".")[1] for name in loaded if name.startswith("bridge.")}
    assert mine == {"config", "declared", "errors", "mac"}
    assert not loaded & {"asyncio", "pyroute2"}


def test_what_the_build_writes_down_is_what_the_core_has() -> None:
    from bridge.core import _core, _ha

    core = vars(_core) | vars(_ha)
    written = {name: value for name, value in vars(declared).items() if name.isupper()}
    limits = {name: value for name, value in written.items() if isinstance(value, int)}
    assert limits == {name: core[name] for name in limits}
    names = {name: value for name, value in written.items() if name not in limits}
    assert names == {name: tuple(symbol for symbol, _ in core[name]) for name in names}
    assert {"PORTS_MAX", "BUDGETS_MAX", "MIRRORS_MAX", "CLASSES", "WAITINGS"} <= written.keys()


def test_without_the_client_library_metrics_are_no_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `run` would refuse is refused by `check`."""
    text = "[metrics]\naddress = '127.0.0.1:9464'\n"
    assert parse(text).metrics.address
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    assert "line 1: metrics: the Python package prometheus-client is not installed; install" in the_problem(
        text
    )
    assert parse("") == Config()


def test_an_empty_file_is_a_bridge_without_ports() -> None:
    assert parse("") == Config()
    assert parse("").bridge.socket_path == "/run/framebridge/bridge0.sock"


def test_a_whole_file() -> None:
    text = dedent("""\
        [bridge]
        name = "dmz"
        ageing_time = 60
        fdb_size = 1024
        control_socket = "/run/dmz.sock"
        learning = "controlled"
        static_move = "forward"
        full_table = "refuse"
        mac_limit = 1000
        vrrp_aware = true
        local_first = true
        fdb_file = "/var/lib/framebridge/dmz.fdb"
        waiting = "latency"
        pass_reserved = ["lldp", "01-80-C2-00-00-05"]

        [[port]]
        name = "uplink"
        kind = "link"
        device = "eth1"
        mtu = 9000
        vlan = { trunk = [20, "100-103", 10], native = 1, tpid = 0x88a8 }
        isolated = true
        kernel_filter = false

        [[port]]
        name = "guests"
        kind = "tap"
        device = "tap0"
        netns = "guest1"
        vlan.access = 10
        learning = false
        flood = ["broadcast"]
        mac_limit = 8
        enabled = false

        [[port]]
        name = "test"
        kind = "memory"
        vlan = { tunnel = 30, tpid = "802.1Q" }

        [[vlan]]
        id = 20
        mac_limit = 100
        learning = false
        [[vlan]]
        id = 10
        name = "web"

        [[fdb]]
        mac = "02:00:5E:00:00:02"
        vlan = 100
        kind = "sticky"
        port = "uplink"
        [[fdb]]
        mac = "0200.5e00.0001"
        vlan = 10
        port = "guests"
        [[fdb]]
        mac = "02:00:5e:00:00:01"
        vlan = 99
        kind = "drop"

        [cost]
        price_per_core_hour = 0.04
        currency = "CHF"

        [metrics]
        address = "127.0.0.1:9464"
        vlans = 20
        talkers = 5
        """)
    guests = PortConfig(
        name="guests",
        kind="tap",
        device="tap0",
        netns="guest1",
        pvid=10,
        learning=False,
        flood_unknown=False,
        flood_multicast=False,
        mac_limit=8,
        admin_up=False,
    )
    uplink = PortConfig(
        name="uplink",
        kind="link",
        device="eth1",
        mode="trunk",
        pvid=1,
        vids=(10, 20, 100, 101, 102, 103),
        tpid=0x88A8,
        mtu=9000,
        isolated=True,
        kernel_filter=False,
    )
    assert parse(text) == Config(
        bridge=BridgeConfig(
            "dmz",
            60.0,
            1024,
            "/run/dmz.sock",
            learning="controlled",
            static_move="forward",
            waiting="latency",
            reserved=1 << 14 | 1 << 5,
            full_table="refuse",
            mac_limit=1000,
            vrrp_aware=True,
            local_first=True,
            fdb_file="/var/lib/framebridge/dmz.fdb",
        ),
        ports=(guests, PortConfig("test", "memory", mode="tunnel", pvid=30), uplink),
        vlans=(VlanConfig(10, "web"), VlanConfig(20, "", 100, learning=False)),
        entries=(
            StaticEntry(10, 0x02005E000001, "static", "guests"),
            StaticEntry(99, 0x02005E000001, "drop"),
            StaticEntry(100, 0x02005E000002, "sticky", "uplink"),
        ),
        cost=CostConfig(0.04, "CHF"),
        metrics=MetricsConfig("127.0.0.1:9464", 20, 5),
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("price_per_core_hour = -1", "expected a price from 0 to 1000000, got -1"),
        ("price_per_core_hour = nan", "expected a price"),
        ("price_per_core_hour = true", "expected a price from 0 to 1000000, got true"),
        ("currency = ''", "expected a currency like 'EUR', got ''"),
        ("currency = 'US dollars'", "expected a currency like 'EUR'"),
        ("price = 1", "unknown key"),
    ],
)
def test_prices(line: str, message: str) -> None:
    assert message in the_problem(f"[cost]\n{line}\n")


def test_members_include_the_native_vlan() -> None:
    assert replace(UPLINK, pvid=1).members == {1, 10, 20}
    assert UPLINK.members == {10, 20}
    assert GUESTS.members == {10}


def test_a_trunk_of_its_native_vlan_alone() -> None:
    assert parse(PORT + "vlan = { trunk = [], native = 7 }").ports[0].members == {7}


def test_one_device_name_in_two_namespaces_is_two_devices() -> None:
    other = '[[port]]\nname = "q"\nkind = "link"\ndevice = "eth0"\nnetns = "n"\n'
    text = f"{PORT}vlan.access = 1\n{other}vlan.access = 1\n"
    assert len(parse(text).ports) == 2


@given(configs())
def test_what_is_written_reads_back(config: Config) -> None:
    assert parse(to_toml(config)) == config


@given(configs())
def test_a_port_table_reads_back(config: Config) -> None:
    for port in config.ports:
        assert update_port(port, {}) == port


def test_defaults_are_not_written() -> None:
    assert to_toml(BASE) == dedent("""\
        [bridge]

        [[port]]
        name = "guests"
        kind = "tap"
        device = "tap0"
        vlan = { access = 10 }

        [[port]]
        name = "uplink"
        kind = "link"
        device = "eth1"
        vlan = { trunk = [10, 20] }

        [[fdb]]
        mac = "02:00:5e:00:00:01"
        vlan = 10
        port = "guests"
        """)


def test_runs_of_vids() -> None:
    assert vid_runs([7, 3, 2, 1, 9]) == [(1, 3), (7, 7), (9, 9)]
    assert format_vids({10, 20, *range(100, 120)}) == "10,20,100-119"
    assert format_vids(()) == ""


# -- files that are no configuration at all


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: no such file; check the path$"):
        load(tmp_path / "absent.toml")


def test_directory(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a directory; name the TOML file in it"):
        load(tmp_path)


def test_what_has_no_end(tmp_path: Path) -> None:
    """A daemon that reads its file again must not wait for a writer, nor read on until memory ends."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "zero").symlink_to("/dev/zero")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 32)
    for name, why in (
        ("fifo", "is no regular file"),
        ("zero", "is no regular file"),
        ("large", "has 4294967296 bytes; a configuration has at most 16777216"),
    ):
        with pytest.raises(ConfigError, match=why):
            load(tmp_path / name)


def test_path_through_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be read: Not a directory"):
        load(tmp_path / "file" / "x.toml")


def test_path_with_a_nul() -> None:
    with pytest.raises(ConfigError, match="is not a path"):
        load("a\0b")


def test_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "latin1.toml"
    path.write_bytes(b'[bridge]\n\nname = "caf\xe9"\n')
    with pytest.raises(ConfigError, match="line 3: byte 0xe9 is not UTF-8; save the file as UTF-8"):
        load(path)


def test_the_source_stands_before_every_problem(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("x = 1\n[bridge]\nfdb_size = 1\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert caught.value.source == str(path)
    assert [line.partition(": line ")[0] for line in str(caught.value).splitlines()] == [str(path)] * 2


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "bom.toml"
    path.write_bytes(b'\xef\xbb\xbf[bridge]\nname = "x"\n')
    assert load(path).bridge.name == "x"


@pytest.mark.parametrize(
    ("text", "line"),
    [("[bridge]\nname = \n", 2), ("[bridge]\n[bridge]", 2), ("a = [\n1,\n", 3), ("a = 1\na = 2", 2)],
)
def test_malformed_toml_tells_the_line(text: str, line: int) -> None:
    assert the_problem(text).startswith(f"line {line}: not valid TOML: ")


def test_nesting_beyond_all_measure() -> None:
    assert "nested too deeply" in the_problem("a = " + "[" * 100_000)


# -- one problem each: the text, its key path and line, and a part of the message that helps


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("brigde = {}", "line 1: brigde", "unknown key; did you mean 'bridge'?"),
        (
            "x = {}",
            "line 1: x",
            "unknown key; known keys: bridge, budget, cost, fdb, group, heartbeats, loop_detection, metrics, ",
        ),
        ("bridge = 1", "line 1: bridge", "expected a table, got 1"),
        ("[[bridge]]", "line 1: bridge", "expected a table, got an array"),
        ("port = 1979-05-27", "line 1: port", "expected an array, got a date; write [[port]]"),
        ("[port]", "line 1: port", "expected an array, got a table; write [[port]] above each of its tables"),
        ("port = [\n1]", "line 2: port[0]", "expected a table, got 1"),
        ("[vlan]\nid = 1", "line 1: vlan", "write [[vlan]]"),
        ("[fdb]", "line 1: fdb", "write [[fdb]]"),
    ],
)
def test_top_level(text: str, place: str, message: str) -> None:
    found = problems(text)
    assert found[0].startswith(f"{place}: ")
    assert message in found[0]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("vlans = 5", "metrics: the key 'address' is missing; add it"),
        ("address = ''", "metrics.address: expected an address like '127.0.0.1:9464' or '[::1]:9464'"),
        (
            "address = 9464",
            "metrics.address: expected an address like '127.0.0.1:9464' or '[::1]:9464', got 9464",
        ),
        ("address = ':9464'", "metrics.address: expected an address like"),
        ("address = '::1:9464'", "with a port of 1 to 65535, got '::1:9464'"),
        ("address = '127.0.0.1'", "with a port of 1 to 65535, got '127.0.0.1'"),
        ("address = '127.0.0.1:0'", "with a port of 1 to 65535, got '127.0.0.1:0'"),
        ("address = '127.0.0.1:65536'", "with a port of 1 to 65535"),
        ("address = '127.0.0.1:\\uff19464'", "with a port of 1 to 65535"),
        ("address = 'localhost:9464'", "an IP address, not a name, got 'localhost:9464'"),
        ("address = '[127.0.0.1]:9464'", "an IP address, not a name"),
        (
            "address = '[::1]:9464'\nvlans = -1",
            "metrics.vlans: expected a whole number from 0 to 4094, got -1",
        ),
        ("address = '[::1]:9464'\ntalkers = 1001", "metrics.talkers: expected a whole number from 0 to 1000"),
        ("address = '[::1]:9464'\nport = 1", "metrics.port: unknown key"),
    ],
)
def test_metrics(lines: str, message: str) -> None:
    found = the_problem(f"[metrics]\n{lines}\n")
    assert message in found
    assert found.startswith("line ")


def test_an_address_is_kept_in_one_form() -> None:
    assert parse("[metrics]\naddress = '[0:0::1]:09464'").metrics == MetricsConfig("[::1]:9464")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nmae = 'x'", "nmae: unknown key; did you mean 'name'?"),
        ("name = '-j'", "name: '-j' would be an option of the command; begin it with another letter"),
        ("name = 1", "name: expected a name of 1 to 32 letters, digits, '_', '.' or '-', got 1"),
        ("name = ''", "name: expected a name"),
        ("name = 'a b'", "name: expected a name"),
        (f"name = '{'x' * 33}'", "name: expected a name"),
        ('name = "x\\n"', "name: expected a name"),
        ("ageing_time = -1", "ageing_time: expected 0 (never) or 1 to 1000000 seconds, got -1"),
        ("ageing_time = 0.5", "ageing_time: expected 0 (never)"),
        ("ageing_time = 1000001", "ageing_time: expected 0 (never)"),
        ("ageing_time = nan", "ageing_time: expected 0 (never) or 1 to 1000000 seconds, got nan"),
        ("ageing_time = inf", "ageing_time: expected 0 (never)"),
        ("ageing_time = true", "ageing_time: expected 0 (never) or 1 to 1000000 seconds, got true"),
        ("ageing_time = '5'", "ageing_time: expected 0 (never) or 1 to 1000000 seconds, got '5'"),
        ("fdb_size = 63", "fdb_size: expected a whole number from 64 to 1048576, got 63"),
        ("fdb_size = 1048577", "fdb_size: expected a whole number"),
        ("fdb_size = 64.0", "fdb_size: expected a whole number from 64 to 1048576, got 64.0"),
        ("fdb_size = true", "fdb_size: expected a whole number from 64 to 1048576, got true"),
        (f"fdb_size = 0x{'f' * 5000}", "got a number beyond 64 bits"),
        ("fdb_size = []", "got an array"),
        ("fdb_size = {}", "got a table"),
        (
            "control_socket = 'a.sock'",
            "control_socket: expected an absolute path, got 'a.sock'; begin it with '/'",
        ),
        (f"control_socket = '/{'x' * 107}'", "control_socket: '/xxx"),
        ('control_socket = "/a\\u0000"', "it cannot be '.' or '..' or contain control characters"),
        ("control_socket = ''", "control_socket: expected a socket path, got ''"),
        (
            "learning = 'controled'",
            "learning: expected 'automatic' or 'controlled', got 'controled'; did you mean",
        ),
        ("learning = true", "learning: expected 'automatic' or 'controlled', got true"),
        ("static_move = 'pass'", "static_move: expected 'drop' or 'forward', got 'pass'"),
        ("full_table = 'full'", "full_table: expected 'evict' or 'refuse', got 'full'"),
        ("mac_limit = 1048577", "mac_limit: expected a whole number from 0 to 1048576, got 1048577"),
        (
            "mac_limit = 101\nfdb_size = 100",
            "mac_limit: the table has room for 100 entries; lower this limit or raise fdb_size",
        ),
        ("mac_limit = 65537", "mac_limit: the table has room for 65536 entries; lower"),
        ("vrrp_aware = 1", "vrrp_aware: expected true or false, got 1"),
        ("local_first = 'yes'", "local_first: expected true or false, got 'yes'"),
        ("fdb_file = 'dmz.fdb'", "fdb_file: expected an absolute path of a file, got 'dmz.fdb'; begin it"),
        ("fdb_file = '/var/lib/'", "fdb_file: expected an absolute path of a file, got '/var/lib/'"),
        (
            "fdb_file = '/run/x'\ncontrol_socket = '/run/x'",
            "fdb_file: this is the control socket; name a file of its own",
        ),
        ("waiting = 'slow'", "waiting: expected 'latency' or 'balanced' or 'throughput', got 'slow'"),
        (
            "pass_reserved = 'lldp'",
            "pass_reserved: expected an array, got 'lldp'; write pass_reserved = [...]",
        ),
        ("pass_reserved = ['ldp']", "pass_reserved[0]: expected 'stp' or 'pause' or"),
        (
            "pass_reserved = ['ldp']",
            "or 'lldp', or an address from 01:80:c2:00:00:00 to 0f, got 'ldp'; did you mean",
        ),
        ("pass_reserved = ['ptp']", "its peer delay messages have the address of 'lldp': write that"),
        ("pass_reserved = ['RSTP']", "its frames have the address of 'stp': write that"),
        (
            "pass_reserved = ['stp', 'stp']",
            "pass_reserved[1]: 01:80:c2:00:00:00 is listed twice; list it once",
        ),
        (
            "pass_reserved = ['lldp', '01:80:c2:00:00:0e']",
            "pass_reserved[1]: 01:80:c2:00:00:0e is listed twice",
        ),
        (
            "pass_reserved = ['01:80:c2:00:00:10']",
            "is outside 01:80:c2:00:00:00 to 0f and not held back; remove it",
        ),
        ("pass_reserved = ['01:80:c2:00:00']", "is not a MAC address; write it like"),
        ("pass_reserved = [14]", "pass_reserved[0]: expected 'stp'"),
    ],
)
def test_bridge(line: str, message: str) -> None:
    found = the_problem(f"[bridge]\n\n{line}\n")
    assert found.startswith("line 3: bridge.")
    assert message in found


@pytest.mark.parametrize(
    ("lines", "line", "message"),
    [
        ("kind = 'memory'", 1, "port[0]: the key 'name' is missing; add it"),
        ("name = 'p'", 1, "port[0]: the key 'kind' is missing; add it"),
        ("name = 'p/q'\nkind = 'memory'", 2, "port[0].name: expected a name of 1 to 32"),
        (
            "name = 'p'\nkind = 'tup'",
            3,
            "port[0].kind: expected 'tap' or 'link' or 'veth' or 'memory', got 'tup'; did you mean",
        ),
        ("name = 'p'\nkind = 'tap'", 1, "port[0]: a tap port needs a device; add device = '...'"),
        ("name = 'p'\nkind = 'link'", 1, "port[0]: a link port needs a device"),
        (
            "name = 'p'\nkind = 'memory'\ndevice = 'x'",
            4,
            "port[0].device: a memory port has no device; remove this",
        ),
        (
            "name = 'p'\nkind = 'memory'\nnetns = 'x'",
            4,
            "port[0].netns: a memory port has no device; remove this",
        ),
        (
            "name = 'p'\nkind = 'tap'\ndevice = 'abcdefghijklmnop'",
            4,
            "'abcdefghijklmnop' has 16 bytes; a device name",
        ),
        (
            "name = 'p'\nkind = 'tap'\ndevice = 'éééééééé'",
            4,
            "has 16 bytes; a device name has at most 15, shorten it",
        ),
        ("name = 'p'\nkind = 'tap'\ndevice = 'a/b'", 4, "port[0].device: 'a/b' is not a device name"),
        ("name = 'p'\nkind = 'tap'\ndevice = 'a b'", 4, "port[0].device: 'a b' is not a device name"),
        ("name = 'p'\nkind = 'tap'\ndevice = 'tap%d'", 4, "port[0].device: 'tap%d' is not a device name"),
        ("name = 'p'\nkind = 'tap'\ndevice = '..'", 4, "port[0].device: '..' is not a device name"),
        ("name = 'p'\nkind = 'tap'\ndevice = ''", 4, "port[0].device: expected a device name, got ''"),
        ("name = 'p'\nkind = 'tap'\ndevice = 7", 4, "port[0].device: expected a device name, got 7"),
        ("name = 'p'\nkind = 'tap'\ndevice = 'x'\nnetns = 'a/b'", 5, "'a/b' is not a network namespace"),
        (
            "name = 'p'\nkind = 'memory'\nmtu = 67",
            4,
            "port[0].mtu: expected a whole number from 68 to 65521, got 67",
        ),
        ("name = 'p'\nkind = 'memory'\nmtu = 65522", 4, "port[0].mtu: expected a whole number"),
        ("name = 'p'\nkind = 'memory'\nmtu = '1500'", 4, "from 68 to 65521, got '1500'"),
        ("name = 'p'\nkind = 'memory'\nlearning = 1", 4, "port[0].learning: expected true or false, got 1"),
        (
            "name = 'p'\nkind = 'memory'\nenabled = 'yes'",
            4,
            "port[0].enabled: expected true or false, got 'yes'",
        ),
        (
            "name = 'p'\nkind = 'memory'\nmac_limit = -1",
            4,
            "port[0].mac_limit: expected a whole number from 0",
        ),
        ("name = 'p'\nkind = 'memory'\nflood = ['unknow']", 4, "port[0].flood[0]: expected 'unknown' or"),
        (
            "name = 'p'\nkind = 'memory'\nflood = ['unknown', 'unknown']",
            4,
            "flood[1]: unknown is listed twice",
        ),
        ("name = 'p'\nkind = 'memory'\nflood = true", 4, "port[0].flood: expected an array, got true"),
        (
            "name = 'p'\nkind = 'memory'\ntrunk = [1]",
            4,
            "port[0].trunk: unknown key; known keys: ",
        ),
        ("name = 'p'\nkind = 'memory'\nis_olated = true", 4, "unknown key; did you mean 'isolated'?"),
    ],
)
def test_port(lines: str, line: int, message: str) -> None:
    found = the_problem(f"[[port]]\n{lines}\nvlan = {{ access = 10 }}\n")
    assert found.startswith(f"line {line}: port[0]")
    assert message in found


@pytest.mark.parametrize(
    ("vlan", "message"),
    [
        ("10", "vlan: expected a table, got 10"),
        ("{}", "vlan: write exactly one of access = VID, tunnel = VID, trunk = [VID, ...] or mirror = true"),
        ("{ native = 1 }", "vlan: write exactly one of"),
        ("{ access = 1, trunk = [2] }", "vlan: write exactly one of"),
        ("{ acess = 10 }", "vlan.acess: unknown key; did you mean 'access'?"),
        ("{ access = 0 }", "vlan.access: expected a VLAN ID from 1 to 4094, got 0"),
        ("{ access = 4095 }", "vlan.access: expected a VLAN ID from 1 to 4094, got 4095"),
        ("{ access = -1 }", "vlan.access: expected a VLAN ID from 1 to 4094, got -1"),
        ("{ access = true }", "vlan.access: expected a VLAN ID from 1 to 4094, got true"),
        ("{ access = 10.0 }", "vlan.access: expected a VLAN ID from 1 to 4094, got 10.0"),
        ("{ access = '10' }", "vlan.access: expected a VLAN ID from 1 to 4094, got '10'"),
        ("{ access = [10] }", "vlan.access: expected a VLAN ID from 1 to 4094, got an array"),
        ("{ tunnel = 0 }", "vlan.tunnel: expected a VLAN ID from 1 to 4094, got 0"),
        ("{ trunk = [1], native = 4095 }", "vlan.native: expected a VLAN ID from 1 to 4094, got 4095"),
        (
            "{ access = 1, native = 2 }",
            "vlan.native: only a trunk has a native VLAN; remove this key or replace acc",
        ),
        ("{ trunk = [] }", "vlan.trunk: a trunk carries at least one VLAN; list it"),
        ("{ trunk = 10 }", "vlan.trunk: expected an array, got 10; write trunk = [...]"),
        ("{ trunk = ['10-5'] }", "vlan.trunk[0]: the range '10-5' runs backwards; write '5-10'"),
        ("{ trunk = ['0-5'] }", "vlan.trunk[0]: expected a VLAN ID from 1 to 4094, got 0"),
        ("{ trunk = ['5-4095'] }", "vlan.trunk[0]: expected a VLAN ID from 1 to 4094, got 4095"),
        ("{ trunk = ['5'] }", "vlan.trunk[0]: expected a VLAN ID like 10 or a range like '100-119', got '5'"),
        ("{ trunk = ['1-2-3'] }", "vlan.trunk[0]: expected a VLAN ID like 10"),
        ("{ trunk = ['1 - 2'] }", "vlan.trunk[0]: expected a VLAN ID like 10"),
        ("{ trunk = [1, 0] }", "vlan.trunk[1]: expected a VLAN ID from 1 to 4094, got 0"),
        ("{ trunk = [1, 4095] }", "vlan.trunk[1]: expected a VLAN ID from 1 to 4094, got 4095"),
        ("{ trunk = [1, true] }", "vlan.trunk[1]: expected a VLAN ID from 1 to 4094, got true"),
        ("{ trunk = [1, 2.0] }", "vlan.trunk[1]: expected a VLAN ID from 1 to 4094, got 2.0"),
        ("{ trunk = [1, 1] }", "vlan.trunk[1]: 1 is listed twice; list it once"),
        ("{ trunk = [9, '5-12'] }", "vlan.trunk[1]: 9 is listed twice"),
        (
            "{ access = 1, tpid = '802.1X' }",
            "vlan.tpid: expected '802.1Q' (0x8100) or '802.1ad' (0x88a8), got '802.1X'",
        ),
        (
            "{ access = 1, tpid = 0x9100 }",
            "vlan.tpid: expected '802.1Q' (0x8100) or '802.1ad' (0x88a8), got 37120",
        ),
        ("{ access = 1, tpid = true }", "vlan.tpid: expected '802.1Q'"),
        ("{ access = 1, tpid = [] }", "vlan.tpid: expected '802.1Q'"),
    ],
)
def test_membership(vlan: str, message: str) -> None:
    assert the_problem(f"{PORT}vlan = {vlan}\n").startswith(f"line 5: port[0].{message}")


def test_a_port_without_vlan() -> None:
    assert the_problem(PORT).startswith("line 1: port[0].vlan: write exactly one of access = VID")


@pytest.mark.parametrize(
    ("lines", "place", "message"),
    [
        ("name = 'a'", "line 1: vlan[0]", "the key 'id' is missing; add it"),
        ("id = 0", "line 2: vlan[0].id", "expected a VLAN ID from 1 to 4094, got 0"),
        ("id = '10'", "line 2: vlan[0].id", "got '10'"),
        ("id = 1\nname = ''", "line 3: vlan[0].name", "expected a name"),
        ("id = 1\nmac_limit = 1048577", "line 3: vlan[0].mac_limit", "from 0 to 1048576, got 1048577"),
        ("id = 1\nmaclimit = 1", "line 3: vlan[0].maclimit", "did you mean 'mac_limit'?"),
        (
            "id = 1\n[[vlan]]\nid = 1",
            "line 4: vlan[1].id",
            "already taken by vlan[0] (line 1); keep one table per",
        ),
        (
            "id = 1\nname='a'\n[[vlan]]\nid = 2\nname='a'",
            "line 6: vlan[1].name",
            "already taken by vlan[0] (line 1)",
        ),
    ],
)
def test_vlan(lines: str, place: str, message: str) -> None:
    found = the_problem(f"[[vlan]]\n{lines}\n")
    assert found.startswith(f"{place}: ")
    assert message in found


@pytest.mark.parametrize(
    ("lines", "place", "message"),
    [
        ("vlan = 10\nport = 'p'", "line 6: fdb[0]", "the key 'mac' is missing; add it"),
        ("mac = '02:00:00:00:00:01'\nport = 'p'", "line 6: fdb[0]", "the key 'vlan' is missing; add it"),
        (
            "mac = '02:00:00:00:00:01'\nvlan = 10",
            "line 6: fdb[0]",
            "a static entry needs a port; add port = '...'",
        ),
        (
            "mac = '02:00:00:00:00:01'\nvlan = 10\nkind = 'sticky'",
            "line 6: fdb[0]",
            "a sticky entry needs a port",
        ),
        (
            "mac = '2:0'\nvlan = 10\nport = 'p'",
            "line 7: fdb[0].mac",
            "'2:0' is not a MAC address; write it like",
        ),
        (
            "mac = 5\nvlan = 10\nport = 'p'",
            "line 7: fdb[0].mac",
            "expected a MAC address like '02:00:5e:00:00:01', got 5",
        ),
        (
            "mac = '01:00:5e:00:00:01'\nvlan = 10\nport = 'p'",
            "line 7: fdb[0].mac",
            "is a group address; an FDB entry",
        ),
        ("mac = 'ff:ff:ff:ff:ff:ff'\nvlan = 10\nkind = 'drop'", "line 7: fdb[0].mac", "is a group address"),
        ("mac = '00:00:00:00:00:00'\nvlan = 10\nport = 'p'", "line 7: fdb[0].mac", "is no address"),
        (
            "mac = '02:00:00:00:00:01'\nvlan = 0\nport = 'p'",
            "line 8: fdb[0].vlan",
            "expected a VLAN ID from 1 to 4094",
        ),
        (
            "mac = '02:00:00:00:00:01'\nvlan = 11\nport = 'p'",
            "line 8: fdb[0].vlan",
            "port 'p' carries 10, not VLAN 11",
        ),
        (
            "mac = '02:00:00:00:00:01'\nvlan = 10\nport = 'q'",
            "line 9: fdb[0].port",
            "there is no port 'q'; add it, or",
        ),
        (
            "mac = '02:00:00:00:00:01'\nvlan = 10\nport = 'pp'",
            "line 9: fdb[0].port",
            "no port 'pp'; did you mean 'p'?",
        ),
        ("mac = '02:00:00:00:00:01'\nvlan = 10\nport = 1", "line 9: fdb[0].port", "expected a name"),
        (
            "mac = '02:00:00:00:00:01'\nvlan = 10\nkind = 'drop'\nport = 'p'",
            "line 10: fdb[0].port",
            "a drop entry holds on every port; remove this key",
        ),
        (
            "mac = '02:00:00:00:00:01'\nvlan = 10\nkind = 'stick'",
            "line 9: fdb[0].kind",
            "expected 'static' or 'sticky' or 'drop', got 'stick'; did you mean 'sticky'?",
        ),
        (
            "mac = '02:00:00:00:00:01'\nvlan = 10\nport = 'p'\n"
            "[[fdb]]\nvlan = 10\nkind = 'drop'\nmac = '02-00-00-00-00-01'",
            "line 13: fdb[1].mac",
            "already taken by fdb[0] (line 6); keep one entry per VLAN and address",
        ),
    ],
)
def test_entry(lines: str, place: str, message: str) -> None:
    found = the_problem(f"{ENTRY}{lines}\n")
    assert found.startswith(f"{place}: ")
    assert message in found


def two_ports(first: str, second: str) -> str:
    return f"[[port]]\n{first}\n[[port]]\n{second}\n"


def test_two_ports_of_one_name() -> None:
    memory = "name = 'p'\nkind = 'memory'\nvlan.access = 1"
    assert the_problem(two_ports(memory, memory)) == (
        "line 6: port[1].name: already taken by port[0] (line 1); give each port its own name"
    )


@pytest.mark.parametrize("kinds", [("tap", "tap"), ("link", "link"), ("tap", "link")])
@pytest.mark.parametrize("vlan", ["access = 20", "trunk = [20]"])
def test_two_ports_on_one_device(kinds: tuple[str, str], vlan: str) -> None:
    first, second = (f"name = '{kind}{n}'\nkind = '{kind}'\ndevice = 'x'" for n, kind in enumerate(kinds))
    assert the_problem(two_ports(f"{first}\nvlan.access = 10", f"{second}\nvlan.{vlan}")) == (
        "line 9: port[1].device: already taken by port[0] (line 1); "
        "a device is one port, which vlan = { trunk = [...] } lets carry several VLANs"
    )


def test_two_ports_on_one_device_of_a_namespace() -> None:
    port = "kind = 'link'\ndevice = 'x'\nnetns = 'n'\nvlan.access = 1"
    assert "port[1].device: already taken" in the_problem(
        two_ports(f"name = 'a'\n{port}", f"name = 'b'\n{port}")
    )


def test_too_many_ports() -> None:
    def ports(count: int) -> str:
        return "".join(f"[[port]]\nname = 'p{n}'\nkind = 'memory'\nvlan.access = 1\n" for n in range(count))

    assert len(parse(ports(256)).ports) == 256
    assert (
        the_problem(ports(258))
        == "line 1025: port[256]: 258 ports, but a bridge has at most 256; remove some"
    )


def test_every_problem_at_once_in_the_order_of_the_file() -> None:
    assert [problem.partition(": ")[::2] for problem in problems("""\
        [[port]]
        name = "a"
        kind = "tap"
        vlan = { trunk = [
          0,
          "9-1",
        ], native = 5000 }
        vlna = 1

        [[fdb]]
        mac = "x"
        vlan = 1
        port = "b"
        [bridge]
        fdb_size = 0
        """)] == [
        ("line 1", "port[0]: a tap port needs a device; add device = '...'"),
        ("line 5", "port[0].vlan.trunk[0]: expected a VLAN ID from 1 to 4094, got 0"),
        ("line 6", "port[0].vlan.trunk[1]: the range '9-1' runs backwards; write '1-9'"),
        ("line 7", "port[0].vlan.native: expected a VLAN ID from 1 to 4094, got 5000"),
        ("line 8", "port[0].vlna: unknown key; did you mean 'vlan'?"),
        ("line 11", "fdb[0].mac: 'x' is not a MAC address; write it like '02:00:5e:00:00:01'"),
        ("line 13", "fdb[0].port: there is no port 'b'; add it, or remove the entry"),
        ("line 15", "bridge.fdb_size: expected a whole number from 64 to 1048576, got 0"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        f"{PORT}vlan.access = 0\n[[fdb]]\nmac = '02:00:00:00:00:01'\nvlan = 7\nport = 'p'",
        "[[port]]\nname = ''\nkind = 'memory'\nvlan.access = 1\n"
        "[[fdb]]\nmac = '02:00:00:00:00:01'\nvlan = 1\nport = 'p'",
        f"{PORT}vlan.access = 1\n"
        "[[port]]\nname = 'q'\nkind = 'link'\ndevice = 'eth0'\nnetns = '/'\nvlan.access = 1",
        f"{PORT}vlan.access = 1\n[[port]]\nname = ''\nkind = 'memory'\nvlan.access = 1",
    ],
)
def test_one_mistake_is_reported_once(text: str) -> None:
    the_problem(text)


# -- whatever comes


def words(text: str) -> st.SearchStrategy[str]:
    return st.sampled_from(text.split())


HEADERS = words("[bridge] [[port]] [[vlan]] [[fdb]] [port] [port.vlan] [x]")
KEYS = words(
    "name kind device netns vlan vlan.access vlan.trunk vlan.native mtu learning flood id mac mac_limit port "
    "tpid pass_reserved ageing_time fdb_size control_socket 'é'"
)
VALUES = words(
    "1 -1 0 4095 1.5 nan true '' 'a' 'é' 'tap' 'memory' 'drop' '1-5' '5-1' [] [1] [[1]] {} [{}] {access=1} "
    "{trunk=[1,'2-9']} '02:00:00:00:00:01' 1979-05-27 07:32:00 'lldp' ['lldp'] ['01:80:c2:00:00:0e'] "
    '"\\u0000" "\\u2028"'
) | st.just(f"0x{'f' * 4000}")
ROWS = HEADERS | st.builds("{} = {}".format, KEYS, VALUES)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def attempt(read: Callable[[T], V], source: T) -> V | ConfigError:
    """Return what was read or the one error that may be raised."""
    try:
        return read(source)
    except ConfigError as error:
        return error


def assert_reads_or_explains(text: str) -> None:
    result = attempt(parse, text)
    if isinstance(result, ConfigError):
        assert all(problem.message.encode() for problem in result.problems)
        assert str(result).encode()
    else:
        assert parse(to_toml(result)) == result


@settings(max_examples=examples(200))
@given(st.text() | st.text(alphabet="[]{}=.,\"'\\#\n abport1\ud800\0"))
def test_arbitrary_text(text: str) -> None:
    assert_reads_or_explains(text)


@settings(max_examples=examples(200))
@given(st.lists(ROWS, max_size=14).map("\n".join))
def test_arbitrary_rows(text: str) -> None:
    assert_reads_or_explains(text)


@settings(max_examples=examples(200))
@given(st.dictionaries(st.sampled_from(sorted(port_table(GUESTS))) | st.text(), JSON, max_size=8))
def test_arbitrary_port_objects(table: Mapping[str, object]) -> None:
    result = attempt(parse_port, table)
    if isinstance(result, ConfigError):
        assert all(problem.message.encode() for problem in result.problems)
    else:
        assert update_port(result, {}) == result


# -- live verbs


def live_problems(call: Callable[..., object], *args: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        call(*args)
    return [str(problem) for problem in caught.value.problems]


def test_a_port_from_an_object() -> None:
    table = {"name": "guests", "kind": "tap", "device": "tap0", "vlan": {"access": 10}}
    assert parse_port(table) == GUESTS


def test_a_bad_object_tells_every_problem_under_the_name_it_was_given() -> None:
    table = {"name": "x", "kind": "memory", "mtu": 1, "vlan": {"access": 0}, "\ud800": None}
    *found, unknown = live_problems(parse_port, table, "params.port")
    assert found == [
        "params.port.mtu: expected a whole number from 68 to 65521, got 1",
        "params.port.vlan.access: expected a VLAN ID from 1 to 4094, got 0",
    ]
    assert unknown.startswith('params.port."\\ud800": unknown key; known keys: ')


def test_changes_replace_keys_and_none_puts_them_back() -> None:
    changed = update_port(GUESTS, {"mtu": 9000, "vlan": {"trunk": [10, 20]}, "flood": ["unknown"]})
    assert changed == replace(
        GUESTS, mtu=9000, mode="trunk", pvid=0, vids=(10, 20), flood_multicast=False, flood_broadcast=False
    )
    assert update_port(changed, {"mtu": None, "vlan": {"access": 10}, "flood": None}) == GUESTS


def test_changes_are_checked() -> None:
    assert live_problems(update_port, GUESTS, {"mtuu": 9000}) == [
        "port.mtuu: unknown key; did you mean 'mtu'?"
    ]
    assert live_problems(update_port, GUESTS, {"device": None}) == [
        "port: a tap port needs a device; add device = '...'"
    ]


@pytest.mark.parametrize("name", ["other", None])
def test_a_port_keeps_its_name(name: str | None) -> None:
    assert live_problems(update_port, GUESTS, {"name": name}) == [
        "port.name: a port keeps its name; delete it and add another"
    ]


def test_adding_a_port_keeps_the_order() -> None:
    new = PortConfig("lab", "memory", pvid=10)
    assert with_port(BASE, new) == replace(BASE, ports=(GUESTS, new, UPLINK))


def test_adding_what_is_there_is_refused() -> None:
    assert live_problems(with_port, BASE, GUESTS) == [
        "port.guests.name: already taken by port.guests; give each port its own name",
        "port.guests.device: already taken by port.guests; "
        "a device is one port, which vlan = { trunk = [...] } lets carry several VLANs",
    ]
    assert live_problems(with_port, BASE, replace(GUESTS, name="new")) == [
        "port.new.device: already taken by port.guests; "
        "a device is one port, which vlan = { trunk = [...] } lets carry several VLANs",
    ]


def test_the_limit_of_ports_holds_for_live_ports() -> None:
    full = Config(ports=tuple(PortConfig(f"p{n:03}", "memory", pvid=1) for n in range(256)))
    assert live_problems(with_port, full, GUESTS) == [
        "port.guests: 257 ports, but a bridge has at most 256; remove some"
    ]


def test_replacing_a_port() -> None:
    changed = replace(GUESTS, mtu=9000)
    assert replace_port(BASE, changed) == replace(BASE, ports=(changed, UPLINK))


def test_replacing_a_port_does_not_strand_an_entry() -> None:
    assert live_problems(replace_port, BASE, replace(GUESTS, pvid=20)) == [
        "fdb.\"02:00:5e:00:00:01\".vlan: port 'guests' carries 20, not VLAN 10; "
        "add it to the port or correct the entry"
    ]


def test_removing_a_port_removes_its_entries() -> None:
    assert without_port(BASE, "guests") == Config(ports=(UPLINK,))
    assert without_port(BASE, "uplink") == replace(BASE, ports=(GUESTS,))


@pytest.mark.parametrize(
    "call", [without_port, lambda config, name: replace_port(config, replace(GUESTS, name=name))]
)
def test_a_port_that_is_not_there(call: Callable[..., object]) -> None:
    assert live_problems(call, BASE, "guest") == ["there is no port 'guest'; did you mean 'guests'?"]
    assert live_problems(call, BASE, "xyz") == ["there is no port 'xyz'"]


@given(configs(NARROW), st.data())
def test_taking_a_port_out_and_putting_it_back(config: Config, data: st.DataObject) -> None:
    if not config.ports:
        return
    port = data.draw(st.sampled_from(config.ports))
    bare = replace(config, entries=())
    assert with_port(without_port(bare, port.name), port) == bare


PAIR = 'port = [{ name = "up", kind = "link", device = "eth1", vlan = { trunk = [10] } }]\n'
PAIRED = '[pair]\nid = "lan"\nsecret_file = "/etc/secret"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[pair]\nid = "lan"', "the key 'secret_file' is missing"),
        (PAIRED.replace("/etc/secret", "secret"), "expected an absolute path"),
        (PAIRED + "interval = 0.001", "expected 0.02 to 10 seconds"),
        (PAIRED + "priority = 256", "from 0 to 255"),
        (PAIRED + 'announce = ["garp"]', "expected 'own' or 'rarp'"),
        (PAIRED, "a pair needs a link port that leads to the other bridge"),
        (PAIR + PAIRED + 'paths = ["upp"]', "there is no port 'upp'; did you mean 'up'?"),
        (
            'port = [{ name = "m", kind = "memory", vlan = { access = 1 } }]\n' + PAIRED + 'paths = ["m"]',
            "port 'm' is a memory, which leads to no other bridge",
        ),
        (PAIR + '[bridge]\noffload = "require"\n' + PAIRED, 'write offload = "auto" or "off"'),
        (PAIR + PAIRED + f"control = {[f'c{n}' for n in range(8)]}", "9 paths, but there are at most 8"),
    ],
)
def test_a_pair_that_could_not_work_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        parse(text)
    assert message in str(refusal.value)


def test_a_pair_uses_all_links_unless_paths_are_named() -> None:
    config = parse(PAIR + PAIRED)
    assert [port.name for port in config.ports if config.pair.is_path(port)] == ["up"]
    assert parse(to_toml(config)) == config
