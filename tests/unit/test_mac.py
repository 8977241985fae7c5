"""bridge.mac: one integer, three notations, nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.mac import format_mac, is_group, parse_mac

MACS = st.integers(0, (1 << 48) - 1)


@pytest.mark.parametrize(
    "text",
    ["02:00:5e:00:ab:01", "02:00:5E:00:AB:01", "02-00-5e-00-ab-01", "0200.5e00.ab01", "0200.5E00.AB01"],
)
def test_every_notation_gives_the_same_number(text: str) -> None:
    assert parse_mac(text) == 0x02005E00AB01


@pytest.mark.parametrize(
    "text",
    [
        "",
        "02:00:5e:00:ab",
        "02:00:5e:00:ab:01:02",
        "02:00:5e:00:ab:0g",
        "2:0:5e:0:ab:1",
        "02:00-5e:00:ab:01",
        "02005e00ab01",
        " 02:00:5e:00:ab:01",
        "02:00:5e:00:ab:01\n",
        "0200:5e00:ab01",
        "٠٢:00:5e:00:ab:01",
    ],
)
def test_anything_else_is_refused_with_the_notation_to_use(text: str) -> None:
    with pytest.raises(ValueError, match="is not a MAC address; write it like '02:00:5e:00:00:01'"):
        parse_mac(text)


def test_a_long_text_is_shortened_in_the_message() -> None:
    with pytest.raises(ValueError, match=r"^'x{40}\.\.\.' is not"):
        parse_mac("x" * 10_000)


@given(MACS)
def test_written_addresses_read_back(mac: int) -> None:
    assert parse_mac(format_mac(mac)) == mac


def test_the_first_byte_on_the_wire_comes_first() -> None:
    assert format_mac(0x010203040506) == "01:02:03:04:05:06"


@pytest.mark.parametrize("number", [-1, 1 << 48])
def test_numbers_beyond_48_bits_are_refused(number: int) -> None:
    with pytest.raises(ValueError, match="48 bits"):
        format_mac(number)


@pytest.mark.parametrize(
    ("mac", "group"),
    [
        ("01:00:5e:00:00:12", True),
        ("ff:ff:ff:ff:ff:ff", True),
        ("33:33:00:00:00:01", True),
        ("02:00:5e:00:00:01", False),
        ("00:00:00:00:00:00", False),
        ("fe:ff:ff:ff:ff:ff", False),
    ],
)
def test_group_addresses(mac: str, group: bool) -> None:
    assert is_group(parse_mac(mac)) is group
