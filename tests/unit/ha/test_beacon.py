"""Beacons as bytes: what is written is read, and what was not written by somebody with the secret is not."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core._ha import PAIR_KEY_MAX, PAIR_KEY_MIN, read_beacon, write_beacon
from bridge.core.values import Beacon

numbers = st.integers(0, 2**64 - 1)
beacons = st.builds(Beacon, *[numbers] * 7, st.integers(0, 255), st.integers(0, 255))
secrets = st.binary(min_size=PAIR_KEY_MIN, max_size=PAIR_KEY_MAX)
BODY, TAG = 14, 16


@given(beacon=beacons, secret=secrets)
def test_what_is_written_is_read(beacon: Beacon, secret: bytes) -> None:
    frame = write_beacon(beacon, source=0x020000000001, secret=secret)
    assert read_beacon(frame, secret=secret) == ("fine", beacon)
    assert read_beacon(frame + bytes(20), secret=secret) == ("fine", beacon)  # padded on its way


@given(beacon=beacons, secret=secrets)
def test_the_tag_is_keyed_blake2s_over_the_body(beacon: Beacon, secret: bytes) -> None:
    frame = write_beacon(beacon, source=1 << 41, secret=secret)
    assert frame[:BODY] == bytes.fromhex("0346424c5001 020000000000 88b5")
    assert frame[-TAG:] == hashlib.blake2s(frame[BODY:-TAG], key=secret, digest_size=TAG).digest()


@given(beacon=beacons, secret=secrets, place=st.integers(BODY + 5, BODY + 79), bit=st.integers(0, 7))
def test_one_bit_changed_is_forged(beacon: Beacon, secret: bytes, place: int, bit: int) -> None:
    frame = bytearray(write_beacon(beacon, source=1 << 41, secret=secret))
    frame[place] ^= 1 << bit
    assert read_beacon(bytes(frame), secret=secret) == ("forged", None)


@given(frame=st.binary(max_size=120))
def test_anything_else_is_no_beacon(frame: bytes) -> None:
    assert read_beacon(frame, secret=bytes(16)) == ("none", None)


def test_faults_have_names() -> None:
    frame = write_beacon(Beacon(*[1] * 9), source=1 << 41, secret=bytes(16))
    assert read_beacon(frame, secret=b"another secret..") == ("forged", None)
    assert read_beacon(frame[:-1], secret=bytes(16)) == ("cut", None)
    assert read_beacon(frame[:18] + b"\2" + frame[19:], secret=bytes(16)) == ("other_version", None)


@pytest.mark.parametrize("length", [0, PAIR_KEY_MIN - 1, PAIR_KEY_MAX + 1])
def test_secrets_have_a_length(length: int) -> None:
    with pytest.raises(ValueError, match="length of a secret"):
        write_beacon(Beacon(*[1] * 9), source=1, secret=bytes(length))
