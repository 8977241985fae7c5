"""Framing and message shapes: any cut of a stream gives the same messages; garbage only a ProtocolError."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.control.protocol import (
    CHUNK,
    ERRORS,
    MESSAGE_MAX,
    NO_SUCH_PORT,
    REFUSED,
    Call,
    Decoder,
    ProtocolError,
    decode,
    encode,
    encode_error,
    reply_parameters,
    row_replies,
)
from bridge.errors import ControlError

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
messages = st.dictionaries(st.text(max_size=8), json_values, max_size=4)
garbage = st.binary(max_size=200) | st.text(alphabet='{}[]":,\\u0123nulltrue\0', max_size=60).map(str.encode)


def outcome(pieces: list[bytes], limit: int = 100) -> tuple[list[Any], str]:
    """Feed a stream in pieces; give the messages and the error that ended them, if any."""
    decoder, found = Decoder(limit), []
    for piece in pieces:
        decoder.feed(piece)
        try:
            found.extend(decoder.messages())
        except ProtocolError as error:
            return found, str(error)
    return found, ""


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@given(st.lists(messages, max_size=5), st.lists(st.integers(min_value=0)))
def test_any_cut_of_a_stream_gives_the_messages_that_went_in(sent: list[Any], places: list[int]) -> None:
    stream = b"".join(map(encode, sent))

    assert outcome(cut(stream, places), MESSAGE_MAX) == (sent, "")


@given(st.lists(messages.map(encode) | garbage).map(b"".join), st.lists(st.integers(min_value=0)))
def test_any_cut_of_garbage_gives_the_same_messages_and_the_same_error(
    stream: bytes, places: list[int]
) -> None:
    whole = [stream]
    bytewise = [stream[place : place + 1] for place in range(len(stream))]

    assert outcome(whole) == outcome(cut(stream, places)) == outcome(bytewise)


@given(garbage)
def test_garbage_raises_nothing_but_protocol_error(data: bytes) -> None:
    try:
        message = decode(data)
    except ProtocolError:
        return
    assert isinstance(message, dict)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "not JSON"),
        (b"hello", "not JSON"),
        (b'{"a":1', "not JSON"),
        (b'{"a":NaN}', "not JSON"),
        (b'{"a":-Infinity}', "not JSON"),
        (b'{"a":"\xff"}', "not JSON"),
        (b'{"a":' + b"9" * 5000 + b"}", "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
    ],
    ids=lambda value: repr(value[:12]),
)
def test_what_is_no_message_is_named(data: bytes, complaint: str) -> None:
    with pytest.raises(ProtocolError, match=complaint):
        decode(data)


@pytest.mark.parametrize("excess", [0, 1])
def test_the_limit_counts_the_bytes_before_the_nul(excess: int) -> None:
    message = b'{"a":"' + b"x" * (100 - 8 + excess) + b'"}'

    found, error = outcome([message + b"\0"])

    assert (len(found), error) == ((1, "") if not excess else (0, "the message is longer than 100 bytes"))


def test_an_endless_message_is_refused_before_its_end() -> None:
    decoder = Decoder(limit=100)
    decoder.feed(b"x" * 101)

    with pytest.raises(ProtocolError, match="longer than 100"):
        list(decoder.messages())
    decoder.feed(b'\0{"a":1}\0')

    assert decoder.pending == 0
    with pytest.raises(ProtocolError, match="longer than 100"):
        list(decoder.messages())


def test_pending_counts_the_unfinished_message() -> None:
    decoder = Decoder()
    decoder.feed(b'{"a":1}\0{"b')

    assert (list(decoder.messages()), decoder.pending) == ([{"a": 1}], 3)


def test_encoded_text_holds_no_nul_and_survives_lone_surrogates() -> None:
    message = {"text": "a\0b\ud800ü"}

    data = encode(message)

    assert data.count(b"\0") == 1
    assert decode(data[:-1]) == message


def test_a_message_beyond_the_limit_is_not_sent() -> None:
    with pytest.raises(ProtocolError, match="the limit is 1048576"):
        encode({"toml": "x" * MESSAGE_MAX})


@pytest.mark.parametrize(
    "call",
    [Call("a.B"), Call("a.B", {"c": 1}), Call("a.B", {}, more=True), Call("a.B", {"c": None}, oneway=True)],
)
def test_calls_survive_the_wire(call: Call) -> None:
    assert Call.from_message(decode(encode(call.message())[:-1])) == call


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ({}, "method name"),
        ({"method": 7}, "method name"),
        ({"method": "a.B", "parameters": []}, "must be an object"),
        ({"method": "a.B", "more": 1}, "'more' must be true or false"),
        ({"method": "a.B", "oneway": "yes"}, "'oneway' must be true or false"),
        ({"method": "a.B", "upgrade": True}, "upgrade"),
    ],
)
def test_messages_that_are_no_calls(message: Any, complaint: str) -> None:
    with pytest.raises(ProtocolError, match=complaint):
        Call.from_message(message)


def test_null_stands_for_absence_in_a_call() -> None:
    message = {"method": "a.B", "parameters": None, "more": None}

    assert Call.from_message(message) == Call("a.B")


def test_an_error_reply_is_raised_as_the_error_it_carries() -> None:
    sent = ControlError("no port 'x'", NO_SUCH_PORT, {"port": "x"})

    with pytest.raises(ControlError, match="no port 'x'") as caught:
        reply_parameters(decode(encode_error(sent)[:-1]))

    assert (caught.value.name, caught.value.parameters["port"]) == (NO_SUCH_PORT, "x")


def test_an_error_too_long_for_a_message_is_cut() -> None:
    error = ControlError("\U0001f600" * MESSAGE_MAX, NO_SUCH_PORT, {"port": "x" * MESSAGE_MAX})

    message = decode(encode_error(error)[:-1])

    assert message["error"] == NO_SUCH_PORT
    assert message["parameters"]["message"].endswith("\U0001f600... (cut)")


def test_replies_are_split_into_parameters_and_continuation() -> None:
    assert reply_parameters({"parameters": {"rows": []}, "continues": True}) == ({"rows": []}, True)
    assert reply_parameters({}) == ({}, False)
    with pytest.raises(ProtocolError, match="must be an object"):
        reply_parameters({"parameters": [1]})


@pytest.mark.parametrize("count", [0, 1, 5000])
def test_rows_come_back_whole_and_in_order_from_bounded_replies(count: int) -> None:
    rows = [{"mac": f"02:00:00:00:{n >> 8:02x}:{n & 255:02x}", "vlan": 10} for n in range(count)]

    replies = list(row_replies(rows, more=True))
    parts = [reply_parameters(decode(reply[:-1])) for reply in replies]

    assert [row for parameters, _ in parts for row in parameters["rows"]] == rows
    assert [continues for _, continues in parts] == [True] * (len(parts) - 1) + [False]
    assert max(map(len, replies)) < CHUNK + 200
    assert (len(replies) > 1) == (count == 5000)


def test_a_table_too_long_for_one_reply_asks_for_more() -> None:
    rows = [{"name": "x" * 1000}] * 2000

    with pytest.raises(ControlError, match="'more': true") as caught:
        list(row_replies(rows, more=False))

    assert caught.value.name == REFUSED
    assert len(list(row_replies(rows[:10], more=False))) == 1


def test_error_names_are_unique_and_qualified() -> None:
    assert all(name.startswith(("org.framebridge.", "org.varlink.service.")) for name in ERRORS)
    assert len({name.rpartition(".")[2] for name in ERRORS}) == len(ERRORS)
    assert json.dumps(ERRORS)
