"""Announcements as bytes."""

from __future__ import annotations

from bridge.ha.announce import own, rarp

MAC = 0x020000000A0B


def test_own_is_of_the_group_that_no_bridge_of_this_kind_forwards() -> None:
    assert own(MAC) == bytes.fromhex("0346424c5001 020000000a0b 88b5") + b"FBAN" + bytes(42)
    assert len(own(MAC)) == 60


def test_rarp_asks_for_the_address_of_its_sender() -> None:
    head = bytes.fromhex("ffffffffffff 020000000a0b 8035 0001 0800 06 04 0003")
    body = bytes.fromhex("020000000a0b 00000000 020000000a0b 00000000")
    assert rarp(MAC) == (head + body).ljust(60, b"\0")
