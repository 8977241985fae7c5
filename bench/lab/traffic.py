"""Running the traffic tool: streams and sinks as values, one run as a function.

Job: turn specifications into the tool's command line, run it with a hard limit of time, read its report,
and look at the machine's clocks exactly when the frames start and when they end. Refuses (BenchError): what
the tool refuses.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bench.build import program
from bench.errors import BenchError

from . import cpu

Report = dict[str, Any]

GUEST_MAC = "02:00:00:01:00:00"
OUTER_MAC = "02:00:00:02:00:00"


def make_mac(base: int, index: int = 0) -> str:
    """Return a locally administered address: 02:00:00, the base in one byte, then two bytes of index."""
    value = (0x02 << 40) | (base << 16) | index
    return ":".join(f"{value >> shift & 0xFF:02x}" for shift in range(40, -8, -8))


@dataclass(frozen=True, slots=True)
class Stream:
    """One sender; the fields are the keys of `traffic run --send`."""

    netns: str
    dev: str
    rate: float | str = 1000
    seconds: float = 1.0
    stream: int = 1
    size: int | str = 60
    tag: str = ""
    dst: str = OUTER_MAC
    src: str = GUEST_MAC
    order: str = "seq"
    burst: int = 1
    pace: str = "spin"
    queue: str = "direct"
    layout: str = "udp"
    count: int = 0
    stage: int = 0
    cpu: int | None = None
    extra: dict[str, object] = field(default_factory=dict)

    def arguments(self) -> str:
        """Write the stream as the tool reads it."""
        values = {
            name: getattr(self, name)
            for name in self.__slots__
            if name not in ("extra", "cpu", "count", "tag")
        }
        values |= {"cpu": self.cpu} if self.cpu is not None else {}
        values |= {"count": self.count} if self.count else {}
        values |= {"tag": self.tag} if self.tag else {}
        return ",".join(f"{name}={value}" for name, value in (values | self.extra).items())

    @property
    def length(self) -> float:
        """How long it may take, in seconds."""
        if isinstance(self.rate, str) and "@" in self.rate:
            return sum(float(phase.partition("@")[2]) for phase in self.rate.split("+"))
        return self.seconds

    def with_changes(self, **changes: Any) -> Stream:
        """Return the stream with other values."""
        return replace(self, **changes)


@dataclass(frozen=True, slots=True)
class Sink:
    """One receiver; the fields are the keys of `traffic run --sink`."""

    netns: str
    dev: str
    streams: tuple[int, ...] = ()
    tag: str = "any"
    interval: int = 0
    ring: int = 32
    way: str = "fast"
    cpu: int | None = None

    def arguments(self) -> str:
        """Write the sink as the tool reads it."""
        values: dict[str, object] = {
            name: getattr(self, name) for name in ("netns", "dev", "tag", "ring", "way")
        }
        values |= {"streams": "+".join(map(str, self.streams))} if self.streams else {}
        values |= {"interval": self.interval} if self.interval else {}
        values |= {"cpu": self.cpu} if self.cpu is not None else {}
        return ",".join(f"{name}={value}" for name, value in values.items())


@dataclass(frozen=True, slots=True)
class Outcome:
    """The tool's report and what the machine spent while the last stage was sending."""

    report: Report
    usage: cpu.Usage

    @property
    def limits(self) -> list[str]:
        """Parts of the instrument that were the limit, none of them in a good run."""
        return list(self.report["limits"])

    def sender(self, stream: int = 1) -> Report:
        """Return the part of the report about the sender of a stream."""
        return next(sender for sender in self.report["senders"] if sender["stream"] == stream)

    def received(self, stream: int = 1, sink: int | None = None) -> Report:
        """Return the part about a stream's arrival where it belongs, or at the given sink; zeros if none."""
        sinks = self.report["sinks"] if sink is None else [self.report["sinks"][sink]]
        for one in sinks:
            for found in one["streams"]:
                if found["stream"] == stream and (found["expected"] or sink is not None):
                    return dict(found)
        return {**dict.fromkeys(ARRIVAL_COUNTS, 0), "latency_us": {"n": 0}}


ARRIVAL_COUNTS = ("frames", "unique", "bytes", "duplicates", "reordered", "wrong_tag", "seconds", "pps")


def run(
    streams: Sequence[Stream],
    sinks: Sequence[Sink] = (),
    *,
    drain: int = 100,
    around: Callable[[str], None] | None = None,
) -> Outcome:
    """Run senders and sinks until all is sent and nothing arrives any more.

    `around` is called with "start" and "end" at the edges of the last stage, when nothing is being sent.
    """
    words = ["run", "--drain", str(drain)]
    for sink in sinks:
        words += ["--sink", sink.arguments()]
    for stream in streams:
        words += ["--send", stream.arguments()]
    stages: dict[int, float] = {}
    for stream in streams:
        stages[stream.stage] = max(stages.get(stream.stage, 0.0), stream.length)
    limit = sum(stages.values()) + 5.0 * (len(stages) + 1) + 5.0
    outcome = call_tool(words, limit, around)
    for part in (*outcome.report["senders"], *outcome.report["sinks"]):
        if "error" in part:
            raise BenchError(f"traffic on {part['device']}: {part['error']}")
    return outcome


def burn(cycles: float, rate: float, seconds: float, cpu_number: int | None = None) -> Outcome:
    """Spin a known number of cycles `rate` times a second."""
    pin = f",cpu={cpu_number}" if cpu_number is not None else ""
    return call_tool(
        ["burn"], seconds + 5.0, None, [f"cycles={cycles:.0f},rate={rate},seconds={seconds}{pin}"]
    )


def call_tool(
    words: list[str], limit: float, around: Callable[[str], None] | None, last: Sequence[str] = ()
) -> Outcome:
    """Run the tool with an event socket; looks at the clocks happen while it waits for an answer."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [program("traffic"), *words, "--events", str(theirs.fileno()), *last]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        try:
            looks = follow(ours, limit, around)
            output, complaint = process.communicate(timeout=limit)
        except (subprocess.TimeoutExpired, TimeoutError):
            raise BenchError(
                f"the traffic tool did not end within {limit:g} s: {' '.join(command)}"
            ) from None
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
                process.communicate()
    if process.returncode or len(looks) != 2:
        raise BenchError(f"{complaint.strip() or 'the traffic tool ended early'} ({' '.join(command)})")
    return Outcome(json.loads(output), cpu.between(*looks))


def follow(events: socket.socket, limit: float, around: Callable[[str], None] | None) -> list[cpu.Look]:
    """Answer the tool's events, looking at the clocks each time."""
    looks: list[cpu.Look] = []
    end = time.monotonic() + limit
    while len(looks) < 2:
        ready, _, _ = select.select([events], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            raise TimeoutError
        event = events.recv(64)
        if not event:
            break
        name = event.decode().strip()
        if around and name == "start":
            around(name)
        looks.append(cpu.look())
        if around and name == "end":
            around(name)
        with contextlib.suppress(BrokenPipeError):
            events.send(b".")
    return looks
