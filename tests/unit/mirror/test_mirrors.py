"""The `[[mirror]]` table: what it says, what is refused and why, and that it is written as it was read."""

from __future__ import annotations

import pytest

from bridge.config.document import parse
from bridge.config.edit import with_mirror, without_mirror, without_port
from bridge.config.mirror import MirrorConfig
from bridge.config.plan import plan
from bridge.config.rates import Rate
from bridge.config.whole import Config
from bridge.config.write import to_toml
from bridge.errors import ConfigError

PORTS = """\
[[port]]
name = "a"
kind = "memory"
vlan = { access = 10 }
[[port]]
name = "t"
kind = "memory"
vlan = { trunk = [10, 20] }
[[port]]
name = "w"
kind = "memory"
vlan = { mirror = true }
"""
FULL = """\
[[mirror]]
name = "look"
ports = ["t", "a"]
direction = "rx"
vlans = [10, "20-22"]
what = "all"
file = "/var/tmp/x.pcapng"
snaplen = 256
file_size = "100 MB"
files = 5
replace = true
rate = "10 Mbit/s"
"""


def mirror(text: str) -> MirrorConfig:
    (one,) = parse(f'{PORTS}[[mirror]]\nname = "m"\n{text}\n').mirrors
    return one


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(PORTS + text)
    return str(caught.value)


def test_every_key_is_read() -> None:
    (one,) = parse(PORTS + FULL).mirrors
    assert one == MirrorConfig(
        name="look",
        ports=("a", "t"),
        direction="rx",
        vids=(10, 20, 21, 22),
        what="all",
        file="/var/tmp/x.pcapng",
        snaplen=256,
        file_size=100_000_000,
        files=5,
        replace=True,
        rate=Rate("bits", 1e7),
    )


@pytest.mark.parametrize(
    "text",
    [FULL, '[[mirror]]\nname = "m"\nto_port = "w"\nrate = "1500.5 frames/s"\n', ""],
    ids=["file", "port", "none"],
)
def test_what_is_written_reads_the_same(text: str) -> None:
    config = parse(PORTS + text)
    assert parse(to_toml(config)) == config


@pytest.mark.parametrize(
    ("text", "rate"), [("10 Mbit/s", Rate("bits", 1e7)), ("1000 frames/s", Rate("frames", 1000.0))]
)
def test_rates(text: str, rate: Rate) -> None:
    assert mirror(f'to_port = "w"\nrate = "{text}"').rate == rate


@pytest.mark.parametrize(
    ("text", "size"), [('"1 MB"', 1_000_000), ('"1MiB"', 1 << 20), ('"2 GB"', 2 * 10**9), ("300000", 300_000)]
)
def test_sizes(text: str, size: int) -> None:
    assert mirror(f'file = "/x"\nfile_size = {text}').file_size == size


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "exactly one of to_port"),
        ('to_port = "w"\nfile = "/x"', "exactly one of to_port"),
        ('to_port = "w"\nfiles = 2', "writes no file"),
        ('to_port = "a"', "has traffic of its own, VLAN 10"),
        ('to_port = "wx"', "there is no port 'wx'; did you mean 'w'?"),
        ('to_port = "w"\nports = ["w"]', "mirrored to itself"),
        ('file = "/x"\nports = ["w"]', "which are not mirrored again"),
        ('file = "/x"\nports = ["b"]', "there is no port 'b'"),
        ('file = "/x"\nports = []', "an empty list mirrors nothing"),
        ('file = "/x/"', "the path of a file, got '/x/'; take the '/' at its end away"),
        ('file = "../x"', "leads back; write the path without '..'"),
        ('file = "/var/lib/framebridge/captures/../x"', "leads back"),
        ('file = "/x"\nsnaplen = 10', "at least 64 bytes"),
        ('file = "/x"\nfile_size = "1 kB"', "a size like '100 MB'"),
        ('file = "/x"\nfile_size = true', "a size like '100 MB'"),
        ('file = "/x"\nrate = "10 Mbps"', "one of frames/s, bit/s, kbit/s, Mbit/s, Gbit/s"),
        ('file = "/x"\nrate = "0 bit/s"', "a limit of 0.001 to 1e+13 bit/s"),
        ('file = "/x"\nrate = "5 %"', "one of frames/s"),
        ('file = "/x"\nwhat = "drop"', "did you mean 'drops'?"),
        ('file = "/x"\nvlans = [4095]', "a VLAN ID"),
    ],
)
def test_refusals(text: str, why: str) -> None:
    assert why in refusal(f'[[mirror]]\nname = "m"\n{text}\n')


def test_names_files_and_the_number_of_mirrors() -> None:
    table = '[[mirror]]\nname = "{}"\nfile = "/{}"\n'
    assert "give each mirror its own name" in refusal(table.format("m", 1) + table.format("m", 2))
    assert "give each mirror its own file" in refusal(table.format("m", 1) + table.format("n", 1))
    assert "9 mirrors, but a bridge has at most 8" in refusal(
        "".join(table.format(f"m{n}", n) for n in range(9))
    )


@pytest.mark.parametrize(
    ("file", "path", "directory"),
    [
        ("x.pcapng", "/captures/x.pcapng", "/captures"),
        ("./a//x", "/captures/a/x", "/captures"),
        ("/captures/a/x", "/captures/a/x", "/captures"),
        ("/captures", "/captures", ""),
        ("/captures2/x", "/captures2/x", ""),
        ("/x", "/x", ""),
    ],
)
def test_where_a_file_lies(file: str, path: str, directory: str) -> None:
    bridge = '[bridge]\nmirror_dir = "/captures/"\n'
    config = parse(f'{bridge}[[mirror]]\nname = "m"\nfile = "{file}"\n')
    (one,) = config.mirrors
    assert (one.file, one.directory) == (path, directory)
    assert parse(to_toml(config)) == config


def test_two_names_of_one_file() -> None:
    table = '[[mirror]]\nname = "{}"\nfile = "{}"\n'
    both = table.format("m", "x") + table.format("n", "/var/lib/framebridge/captures/x")
    assert "give each mirror its own file" in refusal(both)


@pytest.mark.parametrize(
    "line", ['direction = "ingress"', "isolated = true", "horizon = 3", "mac_limit = 1", "default_pcp = 2"]
)
def test_a_port_that_takes_copies_has_no_other_role(line: str) -> None:
    port = f'[[port]]\nname = "x"\nkind = "memory"\nvlan = {{ mirror = true }}\n{line}\n'
    assert "takes copies is in no VLAN" in refusal(port)


@pytest.mark.parametrize(
    "vlan", ["mirror = true, access = 10", "mirror = true, native = 10", "mirror = false"]
)
def test_a_port_that_takes_copies_is_in_no_vlan(vlan: str) -> None:
    assert "vlan" in refusal(f'[[port]]\nname = "x"\nkind = "memory"\nvlan = {{ {vlan} }}\n')


def test_mirrors_come_and_go_and_leave_with_their_ports() -> None:
    config = parse(PORTS)
    one, other = MirrorConfig("m", ports=("a", "t"), to_port="w"), MirrorConfig("n", ports=("a",), file="/n")
    both = with_mirror(with_mirror(config, other), one)
    assert both.mirrors == (one, other)
    assert without_mirror(both, "n").mirrors == (one,)
    assert without_port(both, "a").mirrors == (MirrorConfig("m", ports=("t",), to_port="w"),)
    assert without_port(both, "w").mirrors == (other,)
    with pytest.raises(ConfigError, match="did you mean 'm'"):
        without_mirror(both, "mm")


def test_plans_add_mirrors_last_and_remove_them_first() -> None:
    old, new = Config(), parse(f'{PORTS}[[mirror]]\nname = "m"\nto_port = "w"\n')
    there, back = plan(old, new), plan(new, old)
    assert (there[-1].kind, str(there[-1])) == ("add_mirror", "add mirror m: to_port w")
    assert back[0].kind == "delete_mirror"
    assert {action.inverse for action in back} == {*there}
