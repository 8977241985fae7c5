"""Where our daemon is put to the test: two namespaces and the daemon, for one scenario after the other.

Job: start it once, give it to a target (targets.daemon), and take it back empty: no port, no entry, books that balance.
What a scenario wants comes by reload. A site that does not come back as it went is thrown away and the next one is new.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from helpers.daemon import daemon, document
from helpers.net import KEPT, Namespace, Net

FIXED = ("address",)  # keys of [bridge] that only a restart can change


class Site:
    """`hosts` for the stations, `middle` for the daemon; `fixed`: keys of [bridge] from its start to its end."""

    def __init__(self, fixed: dict[str, Any]) -> None:
        self._net = Net()
        self.hosts: Namespace = self._net.namespace()
        self.middle: Namespace = self._net.namespace()
        KEPT.update((str(self.hosts.name), str(self.middle.name)))
        directory = Path(self._net.enter_context(tempfile.TemporaryDirectory(prefix="fb-")))
        socket = directory / "b.sock"
        running = daemon(directory, self.middle, document(socket, **fixed), socket, fixed)
        self.daemon = self._net.enter_context(running)

    def clear(self) -> None:
        """Take everything out again; raises AssertionError when something stays."""
        self.daemon.check_books()
        self.daemon.write()
        self.daemon.ask("Reload")
        for row in self.daemon.ask("FdbShow"):
            assert row["state"] == "drop", row  # they have no port to go with
            self.daemon.ask("FdbDel", mac=row["mac"], vlan=row["vlan"])
        assert self.daemon.ask("PortShow") == []
        assert "Traceback" not in self.daemon.log, self.daemon.log

    def close(self) -> None:
        KEPT.difference_update((str(self.hosts.name), str(self.middle.name)))
        self._net.close()

    def finish(self) -> None:
        """The end of one that is empty: the daemon ends without a complaint."""
        try:
            self.daemon.finish()
        finally:
            self.close()


class Sites:
    """The site that was given back, or a new one; one with fixed keys is for a single scenario."""

    def __init__(self) -> None:
        self._free: Site | None = None

    @contextmanager
    def one(self, bridge: Mapping[str, Any]) -> Iterator[Site]:
        """A site without ports for a scenario with these keys; kept if it is without ports again at the end."""
        fixed = {key: bridge[key] for key in FIXED if key in bridge}
        if fixed:
            self.finish()
        site, self._free = self._free or Site(fixed), None
        try:
            yield site
            site.clear()
        except BaseException:
            site.close()
            raise
        self._free = site
        if fixed:
            self.finish()

    def finish(self) -> None:
        site, self._free = self._free, None
        if site:
            site.finish()
