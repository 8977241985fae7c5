"""Port security in the configuration: what may be written, what it comes to, and how mistakes are told."""

from __future__ import annotations

import pytest

from bridge.config.document import parse
from bridge.config.port import PortConfig, parse_port, port_table, update_port
from bridge.config.security import ALLOW_MAX, OPEN, RULES_MAX, Security, Stations, rules, stations
from bridge.config.table import BadValueError
from bridge.config.whole import Config
from bridge.config.write import to_toml
from bridge.errors import ConfigError
from bridge.protect.security import ranges, row

TABLE = {"name": "guests", "kind": "memory", "vlan": {"access": 10}}


def port(**keys: object) -> PortConfig:
    return parse_port({**TABLE, **keys})


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return [str(problem) for problem in caught.value.problems]


def test_what_is_written_is_what_is_meant() -> None:
    allow = ["02-00-00-00-00-01", "00:00:5e:00:01:00/40"]
    guard = ["02:00:00:00:00:01  10.0.0.5", "2001:db8::/64", "10.0.0.0/24", "2001:DB8:0::9"]
    table = port_table(port(locked=True, allow=allow, source_guard=guard))
    assert table["allow"] == ["00:00:5e:00:01:00/40", "02:00:00:00:00:01"]
    assert table["source_guard"] == [
        *("10.0.0.0/24", "02:00:00:00:00:01 10.0.0.5"),
        *("2001:db8::/64", "2001:db8::9"),
    ]
    assert port_table(port())["allow"] is None


def test_a_file_reads_back_as_it_was_written() -> None:
    text = (
        "[[port]]\nname = 'a'\nkind = 'memory'\nvlan = { access = 10 }\nlocked = true\n"
        "allow = ['02:00:00:00:00:01']\nsource_guard = ['10.0.0.5']\n"
    )
    assert parse(to_toml(parse(text))) == parse(text)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (5, "expected a MAC address or a prefix like '00:00:5e:00:01:00/40', got 5"),
        ("02:00:00:00:00", "'02:00:00:00:00' is not a MAC address"),
        ("01:00:5e:00:00:01", "is a group address"),
        ("01:00:5e:00:00:00/24", "is no address of a station"),
        ("00:00:00:00:00:00/48", "is no address of a station"),
        ("02:00:00:00:00:00/7", "expected a prefix length from 8 to 48"),
        ("02:00:00:00:00:00/x", "expected a prefix length from 8 to 48"),
        ("00:00:5e:00:01:0a/40", "has bits behind its prefix; write '00:00:5e:00:01:00/40'"),
    ],
)
def test_what_no_allow_list_has(value: object, message: str) -> None:
    with pytest.raises(BadValueError) as caught:
        stations(value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (5, "expected an IP address like '10.0.0.5'"),
        ("", "expected an IP address"),
        ("10.0.0", "expected an IP address"),
        ("10.0.0.5 10.0.0.6", "is not a MAC address"),
        ("02:00:00:00:00:01", "a MAC address alone belongs in allow"),
        ("a b c", "expected an IP address"),
        ("fe80::1%eth0", "names an interface"),
        ("10.0.0.5/24", "has bits behind its prefix; write '10.0.0.0/24', or the address alone"),
        ("02:00:00:00:00:01 10.0.0.5/24", "write '02:00:00:00:00:01 10.0.0.0/24'"),
        ("224.0.0.18", "is no address a station speaks from"),
        ("ff02::/16", "is no address a station speaks from"),
        ("0.0.0.0", "is no address a station speaks from"),
        ("::", "is no address a station speaks from"),
        ("01:00:5e:00:00:01 10.0.0.5", "is a group address"),
    ],
)
def test_what_no_source_guard_has(value: object, message: str) -> None:
    with pytest.raises(BadValueError) as caught:
        rules(value)
    assert message in str(caught.value)


def test_every_mistake_is_told_at_once_with_its_line() -> None:
    text = """\
[[port]]
name = "a"
kind = "memory"
vlan = { access = 10 }
locked = 1
allow = ["x", "02:00:00:00:00:01", "02-00-00-00-00-01"]
source_guard = [
  "10.0.0.5/8",
  "ff02::1",
]
"""
    told = problems(text)
    assert [problem.partition(": ")[0] for problem in told] == [
        "line 5",
        "line 6",
        "line 6",
        "line 8",
        "line 9",
    ]
    assert "port[0].locked: expected true or false, got 1" in told[0]
    assert "is listed twice" in told[2]


def test_an_allow_list_needs_a_word_about_the_lock() -> None:
    one = ["02:00:00:00:00:01"]
    with pytest.raises(
        ConfigError, match=r"port\.allow: only a locked port has an allow list; add locked = true, or"
    ):
        port(allow=one)
    with pytest.raises(ConfigError, match="only a locked port has an allow list"):
        update_port(port(), {"allow": one})


def test_an_allow_list_outlives_the_lock() -> None:
    """To unlock a port for a moment, nobody has to type its list again."""
    locked = port(locked=True, allow=["02:00:00:00:00:01"])
    unlocked = update_port(locked, {"locked": False})
    assert unlocked == port(locked=False, allow=["02:00:00:00:00:01"])
    assert not unlocked.security.locked
    assert parse(to_toml(Config(ports=(unlocked,)))).ports == (unlocked,)
    assert update_port(unlocked, {"locked": True}) == locked
    assert update_port(unlocked, {"allow": ["02:00:00:00:00:02"]}).security.allow == (
        Stations(0x020000000002),
    )
    assert update_port(unlocked, {"allow": None}) == port()
    assert row(unlocked, {})["locked"] is False


def test_a_missing_lock_is_told_beside_other_mistakes() -> None:
    told = problems("[[port]]\nname = 'a'\nkind = 'memory'\nvlan = { access = 10 }\nmtu = 5\nallow = ['x']\n")
    assert [one.partition(":")[0] for one in told] == ["line 5", "line 6", "line 6"]


def test_an_empty_guard_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"port\.source_guard: an empty list would let nothing through"):
        port(source_guard=[])


def test_lists_have_an_end() -> None:
    macs = [f"02:00:00:00:{n >> 8:02x}:{n & 255:02x}" for n in range(ALLOW_MAX + 1)]
    addresses = [f"10.0.0.{n}" for n in range(RULES_MAX + 1)]
    assert len(port(locked=True, allow=macs[1:], source_guard=addresses[1:]).security.allow) == ALLOW_MAX
    with pytest.raises(ConfigError) as caught:
        port(locked=True, allow=macs, source_guard=addresses)
    assert [problem.path for problem in caught.value.problems] == ["port.allow", "port.source_guard"]


def test_all_ports_together_have_an_end() -> None:
    addresses = ", ".join(f"'10.0.0.{n}'" for n in range(RULES_MAX))
    block = "[[port]]\nname = 'p{}'\nkind = 'memory'\nvlan = {{ access = 10 }}\nsource_guard = [{}]\n"
    blocks = [block.format(n, addresses) for n in range(67)]
    parse("".join(blocks[:64]))
    assert problems("".join(blocks)) == [
        "line 325: port[64].source_guard: all ports together have more than 4096 elements; write prefixes"
    ]


def test_ranges_are_merged() -> None:
    allow = [Stations(8), Stations(9), Stations(0x10, 44), Stations(0x14), Stations(0x30)]
    assert ranges(allow) == [(8, 9), (0x10, 0x1F), (0x30, 0x30)]
    assert ranges([Stations(0, 40), Stations(0x100, 40), Stations(5)]) == [(0, 0x1FF)]


def test_what_was_withdrawn() -> None:
    before = port(locked=True, allow=["02:00:00:00:00:01", "00:00:5e:00:01:00/40"]).security
    after = port(locked=True, allow=["00:00:5e:00:01:0a"]).security
    assert after.withdraws(0x020000000001, before)
    assert after.withdraws(0x00005E00010B, before)
    assert not after.withdraws(0x00005E00010A, before)
    assert not after.withdraws(0x020000000002, before)
    assert not OPEN.withdraws(0x020000000001, before)


def test_a_row_tells_what_a_port_allows() -> None:
    config = port(locked=True, allow=["02:00:00:00:00:01"], source_guard=["10.0.0.5"])
    assert row(config, {"locked": 3, "runt": 1}) == {
        "port": "guests",
        "locked": True,
        "allow": ["02:00:00:00:00:01"],
        "locked_drops": 3,
        "source_guard": ["10.0.0.5"],
        "source_guard_drops": 0,
        "ra_guard": False,
        "ra_guard_drops": 0,
        "dhcp_guard": False,
        "dhcp_guard_drops": 0,
    }


def test_a_port_that_is_no_server() -> None:
    config = port(ra_guard=True, dhcp_guard=True)
    assert config.security == Security(ra_guard=True, dhcp_guard=True)
    assert {key: port_table(config)[key] for key in ("ra_guard", "dhcp_guard")} == {
        "ra_guard": True,
        "dhcp_guard": True,
    }
    assert port_table(port(dhcp_guard=True))["ra_guard"] is False
    with pytest.raises(ConfigError, match=r"port\.ra_guard: expected true or false, got 1"):
        port(ra_guard=1)
