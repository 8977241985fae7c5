"""`framebridge lab`: a guest on a tap, the bridge, an 802.1Q trunk and an external host, on one machine.

Job: build the lab (topology), send real traffic through the real daemon (measure), say what came of it (report), and
take everything down again, whatever happens. Thread: control, blocking; the daemons are processes.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from bridge.errors import FramebridgeError
from bridge.lab.measure import failures, measure
from bridge.lab.pair import demonstrate
from bridge.lab.report import report
from bridge.lab.topology import built
from bridge.render import table as render


def run(*, pings: int = 20, seconds: float = 3.0) -> dict[str, Any]:
    """Build the lab, measure, take it down; returns what was measured (see `measure`)."""
    with built() as topology:
        return measure(topology, pings, seconds)


def main(arguments: Sequence[str] = ()) -> int:
    """`framebridge lab`: returns 0 when everything crossed and the books balance, else 1."""
    parser = argparse.ArgumentParser(prog="framebridge lab", description=__doc__.splitlines()[0])
    parser.add_argument("-j", "--json", action="store_true", help="one JSON object instead of text")
    parser.add_argument("-p", "--pretty", action="store_true", help="the same, indented")
    parser.add_argument(
        "--pair",
        action="store_true",
        help="two bridges as a pair, of which one is killed: what it costs, when",
    )
    parser.add_argument("--pings", type=int, default=20, metavar="N", help="pings each way (default 20)")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each TCP run (default 3)")
    options = parser.parse_args(arguments)
    if not 1 <= options.pings <= 10_000 or not 1 <= options.seconds <= 3600:
        parser.error("--pings must be 1..10000 and --seconds 1..3600")
    if options.pair:
        with ends_like_an_error():
            return demonstrate()
    with ends_like_an_error():
        result = run(pings=options.pings, seconds=options.seconds)
    if options.json or options.pretty:
        print(render.to_json(result, pretty=options.pretty))
    else:
        print(report(result))
    failed = [*failures(result)]
    for line in failed:
        print(f"framebridge lab: failed: {line}", file=sys.stderr)
    return 1 if failed else 0


@contextlib.contextmanager
def ends_like_an_error() -> Iterator[None]:
    """Turn SIGTERM into an exception while the lab stands, so that it is taken down."""
    owner = os.getpid()

    def end(number: int, _: object) -> None:
        if os.getpid() != owner:  # pyroute2 forks to open sockets in a namespace, and ends its children so
            os._exit(0)
        raise FramebridgeError(f"ended by {signal.Signals(number).name}")

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
