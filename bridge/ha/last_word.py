"""The witness of a member of a pair: a process that outlives the daemon by a moment, and says that it is dead.

Job: wait until the daemon has ended; if its gate was open, send `released` beacons in its name, so that the other
member opens at once instead of after three intervals of silence. Until then answer whoever connects, with a line of
JSON about the gate, from its page: without the daemon's event loop, whatever that is busy with.

Safe, because:
* The daemon is dead when its pidfd says so: all its threads have ended, so none of them will forward again. One that is
  stopped, hangs, or is being traced lives, and nothing is said about it.
* The witness never opens a gate. It closes that of the dead, so that no other reader of the page takes it for open.
* What it says has a greater sequence than anything the daemon said, and no `granted`: an old beacon that is still under
  way is one older than was heard (csrc/ha/pair.h).
* It holds no device, only paths for beacons; when it is killed, the other member waits as if there were none.

Runs as a program of its own, with nothing but the standard library: small, and no fork of a process with threads. A
line of JSON on its standard input says what it needs, descriptors are inherited. It ends when its daemon has. Signals
that ask a service to end are the daemon's: it closes the gate itself, and leaves nothing to be said.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import selectors
import signal
import socket
import struct
import sys
import time
from typing import Any

Told = dict[str, Any]

PAGE = struct.Struct("=QQQQ")  # until, epoch, progress, sequence; csrc/ha/gate.h
BEACON = struct.Struct("!IBBBB7Q")  # csrc/ha/beacon.h, behind the EtherType
MAGIC, VERSION, RELEASED, TAG_LEN = 0x46424841, 1, 1 << 2, 16
HEADER = bytes.fromhex("0346424c5001")
ETHERTYPE = bytes.fromhex("88b5")
AHEAD = 64  # sequences: the daemon may have died between a beacon and its note in the page
REPEATS = 3  # in a row; one is enough, if it arrives


def last_word(told: Told, epoch: int, sequence: int) -> bytes:
    """Write a beacon that hands the gate over."""
    body = BEACON.pack(
        *(MAGIC, VERSION, RELEASED, told["priority"], 0),
        *(told["pair"], told["member"], told["session"], sequence, epoch, 0, 0),
    )
    tag = hashlib.blake2s(body, key=bytes.fromhex(told["secret"]), digest_size=TAG_LEN).digest()
    source: bytes = told["member"].to_bytes(6, "big")
    return HEADER + source + ETHERTYPE + body + tag


def state_of(page: mmap.mmap, told: Told, *, is_dead: bool = False) -> dict[str, object]:
    """Say what the page says."""
    until, epoch, progress, _ = PAGE.unpack_from(page)
    now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    is_open = until > now and not is_dead
    silent = now - progress
    health = "dead" if is_dead else "hung" if silent > told["hang"] * 1e9 else "fine"
    return {
        "health": health,
        "gate": "open" if is_open else "closed",
        "epoch": epoch,
        "lease_ms": (until - now) // 1_000_000 if is_open else None,
        "progress_ms": silent // 1_000_000,
        "pid": told["pid"],
    }


def release(page: mmap.mmap, told: Told) -> int:
    """Hand over the gate of a daemon that is dead, if it was open; returns how many beacons left."""
    until, epoch, progress, sequence = PAGE.unpack_from(page)
    if until <= time.clock_gettime_ns(time.CLOCK_BOOTTIME):
        return 0  # the lease is over: it was stopped or cut off before, and others may forward by now
    PAGE.pack_into(page, 0, 0, epoch, progress, sequence)
    sent = 0
    for repeat in range(REPEATS):
        frame = last_word(told, epoch, sequence + AHEAD + repeat)
        for fd in told["paths"]:
            with contextlib.suppress(OSError):
                sent += os.write(fd, frame) == len(frame)
    return sent


def answer(listener: socket.socket, page: mmap.mmap, told: Told) -> None:
    """Answer one client; a line fits any socket buffer, so nobody is waited for."""
    with contextlib.suppress(OSError):
        client, _ = listener.accept()
        with client:
            client.setblocking(False)
            client.send(json.dumps(state_of(page, told)).encode() + b"\n")


def main() -> None:
    """Be the witness of the daemon that started this process."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    told = json.loads(sys.stdin.readline())
    page = mmap.mmap(told["page"], PAGE.size)
    with selectors.DefaultSelector() as selector:
        selector.register(told["pidfd"], selectors.EVENT_READ)
        listener = None
        if told["listener"] >= 0:
            listener = socket.socket(fileno=told["listener"])
            listener.setblocking(False)
            selector.register(listener, selectors.EVENT_READ)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if told["pidfd"] in ready:
                release(page, told)
                return
            if listener is not None and listener in ready:
                answer(listener, page, told)


if __name__ == "__main__":
    main()
