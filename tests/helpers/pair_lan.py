"""Two bridges as a pair between two LANs, each with a switch of its own, and hosts on both.

    guest (10.99.10.1) ══╗                              ╔══ outside (10.99.10.2)
                  [ guests ]══ a: guests│uplink ══[ outside ]
                        ╚═══════ b: guests│uplink ═══════╝

The switches are the kernel's bridges; their ports (`a-guests`, `b-uplink`, ...) are where a test cuts a cable. Nobody
sends a frame that a test did not ask for: IPv6 is silent.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bridge.config.text import toml_value
from helpers.daemon import Daemon, link
from helpers.hosts import Host, host
from helpers.net import Net, PacketSocket, capability, wait_until

VLAN = 10
LANS = ("guests", "uplink")
SECRET = b"the secret of this pair, and of no other\n"


class PairLan:
    """`spaces` by name: a, b, switch, guest, outside. `daemons`: those that run."""

    def __init__(self, net: Net, start: Callable[..., Daemon], directory: Path) -> None:
        self.net = net
        self._start = start
        self.spaces = {name: net.namespace() for name in ("a", "b", "switch", "guest", "outside")}
        self.secret = directory / "secret"
        self.secret.write_bytes(SECRET)
        self.secret.chmod(0o600)
        self.daemons: dict[str, Daemon] = {}
        with capability("kernel bridge"):
            for lan in LANS:
                self._make_switch(lan)

    def _make_switch(self, lan: str) -> None:
        switch = self.spaces["switch"]
        switch.netlink(lambda ipr: ipr.link("add", ifname=lan, kind="bridge"))
        switch.set_link(lan, state="up")
        for name in ("a", "b"):
            self._plug(lan, f"{name}-{lan}", name, lan)
        host_space = "guest" if lan == "guests" else "outside"
        self._plug(lan, f"{host_space}0", host_space, "eth0")

    def _plug(self, lan: str, device: str, space: str, its_device: str) -> None:
        switch = self.spaces["switch"]
        self.net.veth(device, its_device, switch, self.spaces[space])
        found = switch.link(lan)
        assert found is not None
        switch.set_link(device, master=int(found["index"]))

    # -- members

    def tables(self, name: str, *, more: str = "", **keys: Any) -> list[str]:
        """The ports and the `[pair]` table of a member; no `id`: no such table."""
        pair = {"id": "lan", "secret_file": str(self.secret), "interval": 0.1, **keys}
        lines = [f"{key} = {toml_value(value)}" for key, value in pair.items()]
        ports = [link(lan, lan, access=VLAN) for lan in LANS]
        return [*ports, more, *(["\n".join(["[pair]", *lines, ""])] if pair["id"] else [])]

    def start(
        self, name: str, *, more: str = "", bridge: dict[str, Any] | None = None, **keys: Any
    ) -> Daemon:
        tables = self.tables(name, more=more, **keys)
        self.daemons[name] = self._start(self.spaces[name], *tables, name=name, **(bridge or {}))
        return self.daemons[name]

    def start_both(self, **keys: Any) -> tuple[Daemon, Daemon]:
        """Both, of which `a` forwards."""
        one, other = self.start("a", priority=200, **keys), self.start("b", **keys)
        self.wait_state("a", "active")
        self.wait_state("b", "standby")
        one.wait(
            lambda: len(self.rows("a")) == 2 and self.rows("a")[1]["hears"], "the members to hear each other"
        )
        return one, other

    def rows(self, name: str) -> list[dict[str, Any]]:
        return self.daemons[name].ask("PairShow")

    def state(self, name: str) -> str:
        return str(self.rows(name)[0]["state"])

    def wait_state(self, name: str, state: str) -> None:
        self.daemons[name].wait(lambda: self.state(name) == state, f"member {name} {state}")

    # -- cables and hosts

    def set_cable(self, name: str, lan: str, *, up: bool) -> None:
        self.spaces["switch"].set_link(f"{name}-{lan}", state="up" if up else "down")

    def hosts(self) -> tuple[Host, Host]:
        return host(self.spaces["guest"], "eth0", VLAN, 1), host(self.spaces["outside"], "eth0", VLAN, 2)

    def wire(self, name: str) -> PacketSocket:
        """Send and receive as the guest, or outside."""
        return self.net.packet_socket("eth0", self.spaces[name])

    def wait_ping(self, one: Host, other: Host) -> None:
        wait_until(lambda: one.ping(other) == (3, 3), "pings to cross")
