"""The language of the control socket: framing and message shapes. No I/O, no asyncio; both ends use it.

Shape: varlink (https://varlink.org/Method-Call): each message is one JSON object followed by a NUL byte. A
call names a method and carries parameters; a reply carries parameters or a named error.

Invariants: `Decoder` gives the same messages, then the same error, however the byte stream is cut; it buffers
at most MESSAGE_MAX bytes of an unfinished message plus what it was last fed; its only exception is
ProtocolError, and that is final, for the stream has no place to resume from. No reply is longer than
MESSAGE_MAX either: long tables go out in several replies to a caller that set `more`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from bridge.errors import ControlError

Message = dict[str, Any]
Row = dict[str, Any]

INTERFACE = "org.framebridge"
SERVICE = "org.varlink.service"
MESSAGE_MAX = 1 << 20  # bytes of one message without its NUL, in both directions
TEXT_MAX = 50_000  # characters of an error's text when the whole is too long
GROUP = 64  # rows rendered in one go
CHUNK = 1 << 16  # bytes of rows after which a reply to a `more` call is sent

# Errors by name. The ones of varlink itself keep varlink's names.
METHOD_NOT_FOUND = f"{SERVICE}.MethodNotFound"
INTERFACE_NOT_FOUND = f"{SERVICE}.InterfaceNotFound"
INVALID_PARAMETER = f"{SERVICE}.InvalidParameter"
PERMISSION_DENIED = f"{SERVICE}.PermissionDenied"
EXPECTED_MORE = f"{SERVICE}.ExpectedMore"
NO_SUCH_PORT = f"{INTERFACE}.NoSuchPort"
NO_SUCH_ENTRY = f"{INTERFACE}.NoSuchEntry"
CONFIG_INVALID = f"{INTERFACE}.ConfigInvalid"
REFUSED = f"{INTERFACE}.Refused"
BAD_MESSAGE = f"{INTERFACE}.BadMessage"
BUSY = f"{INTERFACE}.Busy"
INTERNAL = f"{INTERFACE}.InternalError"

# What each error carries besides `message`, in varlink's notation.
ERRORS: dict[str, tuple[str, ...]] = {
    METHOD_NOT_FOUND: ("method: string",),
    INTERFACE_NOT_FOUND: ("interface: string",),
    INVALID_PARAMETER: ("parameter: string",),
    PERMISSION_DENIED: (),
    EXPECTED_MORE: (),
    NO_SUCH_PORT: ("port: string",),
    NO_SUCH_ENTRY: ("mac: string", "vlan: int"),
    CONFIG_INVALID: ("source: string", "problems: [](path: string, message: string, line: ?int)"),
    REFUSED: (),
    BAD_MESSAGE: (),
    BUSY: (),
    INTERNAL: (),
}


class ProtocolError(ControlError):
    """Bytes that are no message, or a message that is no call or reply. The stream cannot go on."""

    def __init__(self, message: str) -> None:
        super().__init__(message, BAD_MESSAGE)


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is not JSON")


def decode(data: bytes | bytearray) -> Message:
    """Parse one message without its NUL."""
    try:
        value = json.loads(data.decode(), parse_constant=_no_constant)
    except RecursionError:
        raise ProtocolError("the message is nested too deeply") from None
    except ValueError as error:  # also UnicodeDecodeError, JSONDecodeError, integers of absurd length
        raise ProtocolError(f"the message is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ProtocolError("the message is not a JSON object")
    return value


def encode(message: Mapping[str, Any]) -> bytes:
    """Render one message with its NUL; ProtocolError if it is longer than MESSAGE_MAX."""
    data = _dump(message)
    if len(data) > MESSAGE_MAX:
        raise ProtocolError(f"a message of {len(data)} bytes: the limit is {MESSAGE_MAX}")
    return data + b"\0"


# ASCII output: no lone surrogate can break the encoding, and no NUL can appear inside a message.
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def _dump(value: object) -> bytes:
    return _encode(value).encode("ascii")


class Decoder:
    """Bytes in by `feed`, messages out by `messages`."""

    def __init__(self, limit: int = MESSAGE_MAX) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._searched = (
            0  # bytes at the front known to hold no NUL: slow senders must not cost quadratic time
        )
        self._failure = ""

    @property
    def pending(self) -> int:
        """Bytes of the unfinished message."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Append what the socket gave; ask `messages` before feeding more."""
        if not self._failure:
            self._buffer += data

    def messages(self) -> Iterator[Message]:
        """Yield each complete message, oldest first; ProtocolError where the stream goes wrong."""
        try:
            while (data := self._next()) is not None:
                yield decode(data)
        except ProtocolError as error:
            self._failure = str(error)
            self._buffer.clear()
            raise

    def _next(self) -> bytearray | None:
        if self._failure:
            raise ProtocolError(self._failure)
        end = self._buffer.find(0, self._searched, self._limit + 1)
        if end < 0:
            self._searched = min(len(self._buffer), self._limit + 1)
            if len(self._buffer) > self._limit:
                raise ProtocolError(f"the message is longer than {self._limit} bytes")
            return None
        data = self._buffer[:end]
        del self._buffer[: end + 1]
        self._searched = 0
        return data


@dataclass(frozen=True, slots=True)
class Call:
    """One method call. `more`: several replies are welcome; `oneway`: none is."""

    method: str
    parameters: Message = field(default_factory=dict)
    more: bool = False
    oneway: bool = False

    @classmethod
    def from_message(cls, message: Message) -> Call:
        """Check the shape of a call; what the method and parameters mean is the server's business."""
        method, parameters = message.get("method"), message.get("parameters")
        if not isinstance(method, str):
            raise ProtocolError("a call needs a method name: a string under the key 'method'")
        if parameters is None:  # varlink allows null and absence alike
            parameters = {}
        if not isinstance(parameters, dict):
            raise ProtocolError("the parameters of a call must be an object")
        flags = {name: message.get(name) or False for name in ("more", "oneway", "upgrade")}
        if wrong := next((name for name, value in flags.items() if not isinstance(value, bool)), None):
            raise ProtocolError(f"{wrong!r} must be true or false")
        if flags["upgrade"]:
            raise ProtocolError("this service has no protocol to upgrade to")
        return cls(method, parameters, flags["more"], flags["oneway"])

    def message(self) -> Message:
        """Render as the wire object, leaving out what has its default."""
        message: Message = {"method": self.method}
        if self.parameters:
            message["parameters"] = self.parameters
        return message | {name: True for name in ("more", "oneway") if getattr(self, name)}


def encode_error(error: ControlError) -> bytes:
    """Render an error as a reply; its text travels as the parameter `message`, cut if that is too long."""
    name, text = error.name or INTERNAL, str(error)
    try:
        return encode({"error": name, "parameters": {**error.parameters, "message": text}})
    except ProtocolError:
        return encode({"error": name, "parameters": {"message": f"{text[:TEXT_MAX]}... (cut)"}})


def reply_parameters(message: Message) -> tuple[Message, bool]:
    """Split a reply into (parameters, continues); an error reply is raised as the ControlError it carries."""
    parameters = message.get("parameters", {})
    if not isinstance(parameters, dict):
        raise ProtocolError("the parameters of a reply must be an object")
    name = message.get("error")
    if name is not None:
        raise ControlError(str(parameters.get("message", name)), str(name), parameters)
    return parameters, message.get("continues") is True


def row_replies(rows: Iterable[Row], *, more: bool) -> Iterator[bytes]:
    """Render rows as one reply or, to a caller that set `more`, as replies of about CHUNK bytes each."""
    parts: list[bytes] = []
    size = 0
    for part in _row_pieces(rows):
        if more and parts and size + len(part) > CHUNK:
            yield _rows_message(parts, continues=True)
            parts, size = [], 0
        parts.append(part)
        size += len(part) + 1
    yield _rows_message(parts, continues=False)


def _row_pieces(rows: Iterable[Row]) -> Iterator[bytes]:
    """Render rows, a few in one go, which is twice as fast as each by itself; long ones one by one."""
    rest = iter(rows)
    while group := [*islice(rest, GROUP)]:
        piece = _dump(group)[1:-1]
        if len(piece) > CHUNK // 4:
            yield from map(_dump, group)
        else:
            yield piece


def _rows_message(parts: list[bytes], *, continues: bool) -> bytes:
    tail = b',"continues":true}' if continues else b"}"
    data = b'{"parameters":{"rows":[' + b",".join(parts) + b"]}" + tail
    if len(data) > MESSAGE_MAX:
        raise ControlError("the rows do not fit in one reply: call with 'more': true", REFUSED)
    return data + b"\0"
