"""Frames as people write them: `h2 h1 q10.5` is a frame to station 2 from station 1, VLAN 10, PCP 5.

Job: text to bytes (`parse`, `parse_many`) and bytes to text for failure messages (`describe`).

    DESTINATION SOURCE [TAG ...] [type=HHHH] [len=N] [cut=N] [pad]        or   hex=...

    address   hN station (02-00-..), gN group (03-00-..), rNN 01-80-C2-00-00-NN, vNN virtual router (VRRP, VRID NN),
              * broadcast, 0 all zero, or aa:bb:cc:dd:ee:ff
    tag       qVID[.PCP][d] with TPID 0x8100, sVID[.PCP][d] with 0x88a8; d sets DEI; the first one is the outer one
    type      EtherType (88b5, IEEE local experimental, means nothing to any stack)
    len       bytes behind it (46: an untagged frame has 60), counting up from 0
    cut       keep the first N bytes; pad: fill up with zeros to 60 bytes
    {a..b}    a run of numbers: the text stands for one frame each; several runs go in step

Refuses: anything else, as NotationError with the text.
"""

from __future__ import annotations

import re
import struct

from helpers import frames

TPIDS = {"q": frames.TPID_Q, "s": frames.TPID_AD}
VRRP = b"\x00\x00\x5e\x00\x01"  # RFC 5798 section 7.3
TAG = re.compile(r"([qs])(\d+)(?:\.([0-7]))?(d?)")
RUN = re.compile(r"\{(\d+)\.\.(\d+)\}")
LITERAL = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


class NotationError(ValueError):
    """A text that is no frame."""


def expand(text: str) -> list[str]:
    """One text for each number of its runs; a text without runs is itself."""
    runs = [range(int(first), int(last) + 1) for first, last in RUN.findall(text)]
    if not runs:
        return [text]
    if len({len(run) for run in runs}) != 1 or not runs[0]:
        raise NotationError(f"runs of different length, or empty: {text!r}")
    texts = []
    for numbers in zip(*runs, strict=True):
        left = iter(numbers)
        texts.append(RUN.sub(lambda _match: str(next(left)), text))  # noqa: B023 used at once
    return texts


def parse_many(text: str) -> list[bytes]:
    return [parse(one) for one in expand(text)]


def parse(text: str) -> bytes:
    """One frame."""
    if text.startswith("hex="):
        return bytes.fromhex(text.removeprefix("hex="))
    words = text.split()
    if len(words) < 2:
        raise NotationError(f"a frame is DESTINATION SOURCE ...: {text!r}")
    destination, source = (address(word) for word in words[:2])
    tags = []
    options: dict[str, str] = {}
    for word in words[2:]:
        if (match := TAG.fullmatch(word)) and not options:
            kind, vid, pcp, dei = match.groups()
            tags.append(frames.tag(int(vid), int(pcp or 0), int(bool(dei)), TPIDS[kind]))
        elif (name := word.partition("=")[0]) in ("type", "len", "cut", "pad"):
            options[name] = word.partition("=")[2]
        else:
            raise NotationError(f"{word!r} in {text!r}")
    payload = int(options.get("len", "46"))
    ethertype = int(options.get("type", f"{frames.ETHERTYPE:x}"), 16)
    data = frames.ethernet(destination, source, *tags, ethertype=ethertype, payload=payload)
    if "cut" in options:
        data = data[: int(options["cut"])]
    return frames.padded(data) if "pad" in options else data


def address(word: str) -> bytes:
    kind, digits = word[:1], word[1:]
    if word == "*":
        return frames.BROADCAST
    if word == "0":
        return bytes(6)
    if LITERAL.fullmatch(word):
        return bytes.fromhex(word.replace(":", ""))
    if kind in "hg" and digits.isdigit():
        return (frames.host if kind == "h" else frames.group)(int(digits))
    if kind in "rv" and re.fullmatch("[0-9a-f]{2}", digits):
        return frames.reserved(int(digits, 16)) if kind == "r" else VRRP + bytes.fromhex(digits)
    raise NotationError(f"no address: {word!r}")


def name(mac: bytes) -> str:
    """An address the short way."""
    if mac == frames.BROADCAST:
        return "*"
    if mac == bytes(6):
        return "0"
    for kind, head in (("h", b"\x02"), ("g", b"\x03")):
        if mac.startswith(head):
            return f"{kind}{int.from_bytes(mac[1:], 'big')}"
    for kind, head in (("r", frames.reserved(0)[:5]), ("v", VRRP)):
        if mac.startswith(head):
            return f"{kind}{mac[5]:02x}"
    return mac.hex(":")


def describe(data: bytes) -> str:
    """A frame for reading: the notation as far as it goes, and its length."""
    if len(data) < 14:
        return f"hex={data.hex()}"
    words = [name(data[:6]), name(data[6:12])]
    at = 12
    letters = {tpid: letter for letter, tpid in TPIDS.items()}
    while len(data) >= at + 4 and (kind := letters.get(int.from_bytes(data[at : at + 2], "big"))):
        (tci,) = struct.unpack_from("!H", data, at + 2)
        pcp, dei = tci >> 13, tci >> 12 & 1
        words.append(f"{kind}{tci & 0xFFF}" + (f".{pcp}" if pcp else "") + "d" * dei)
        at += 4
    return " ".join([*words, f"type={data[at : at + 2].hex()}", f"({len(data)} bytes)"])
