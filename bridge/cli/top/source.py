"""`framebridge top`: who burns the CPU, live. Words and options to a source of samples and a way to show them.

A terminal gets the application (bridge.top_app, which needs the package textual, extra `top`); a pipe, a dumb
terminal and --once get one plain page, which needs nothing. Only the control socket is used. Thread: any.

Refuses: views and intervals that make no sense (UsageError), a daemon that does not answer at the start
(ControlError); one that goes away later is waited for by the application.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import sys
from collections.abc import Sequence

from bridge.cli.grammar import Grammar, UsageError, match
from bridge.control.client import Client, find_socket
from bridge.errors import FramebridgeError
from bridge.render import table as render
from bridge.render.page import VIEWS, Sample, page

INTERVAL = 1.0  # seconds
INTERVAL_MIN, INTERVAL_MAX = 0.2, 3600.0
ROWS = 200  # per view
ANSWER_SECONDS = 5.0
MISSING = (
    "the live display needs the Python package textual; install it with: pip install 'framebridge[top]'; "
    "`framebridge top --once` works without it"
)


class Source:
    """A daemon to ask; one connection for as long as it lasts. `seconds`: the window that is asked for."""

    def __init__(self, path: str, seconds: float) -> None:
        self.seconds = seconds
        self._path = path
        self._client: Client | None = None

    def read(self, view: str) -> Sample:
        """Ask for everything a view shows; raises ControlError, and the next call tries a new connection."""
        last = min(math.ceil(self.seconds), int(INTERVAL_MAX))
        try:
            client = self._client = self._client or Client(self._path, ANSWER_SECONDS)
            return Sample(
                bridge=str(client.rows("Version")[0]["bridge"]),
                ports=client.rows("PortShow"),
                summary=client.rows("CostSummary", {"last": last})[0],
                view=view,
                rows=client.rows("CostShow", {"by": view, "last": last, "top": ROWS}),
            )
        except FramebridgeError:
            self.close()
            raise

    def close(self) -> None:
        """Hang up; idempotent."""
        client, self._client = self._client, None
        if client is not None:
            client.close()


def main(options: argparse.Namespace, words: Sequence[str]) -> int:
    """Show the bill, once or live; returns the exit status."""
    view = match(Grammar(option="view").read(words).get("view", VIEWS[0]), VIEWS, "view")
    interval = read_interval(options.interval)
    with contextlib.closing(Source(find_socket(options.socket), interval)) as source:
        first = source.read(view)
        if options.style != "text":
            render.write(first.rows, "", sys.stdout, style=options.style)
        elif options.once or not is_terminal():
            print(page(first))
        else:
            return run_live(source, view, interval)
    return 0


def run_live(source: Source, view: str, interval: float) -> int:
    """Run the application; returns its exit status."""
    try:
        from bridge.cli.top.app import TopApp
    except ImportError as error:
        raise FramebridgeError(MISSING) from error
    app = TopApp(source, view, interval)
    app.run()
    return app.return_code or 0


def read_interval(text: str | None) -> float:
    """Check the seconds between refreshes."""
    try:
        seconds = INTERVAL if text is None else float(text)
    except ValueError:
        seconds = math.nan
    if not INTERVAL_MIN <= seconds <= INTERVAL_MAX:
        raise UsageError(f"--interval needs {INTERVAL_MIN:g} to {INTERVAL_MAX:g} seconds, not {text!r}")
    return seconds


def is_terminal() -> bool:
    """Tell whether there is a terminal that can move its cursor, at both ends."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
