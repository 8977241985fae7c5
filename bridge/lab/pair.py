"""Two bridges as a pair between two LANs with a switch each, on one machine, and what a takeover costs.

    guest, silent ══[ switch ]══ a: guests│uplink ══[ switch ]══ outside
                        ╚═══════ b: guests│uplink ══════╝

Job: build it (`built`), bring something about (`CASES`) while numbered frames flow, tell what became of them (`play`),
and take everything down again. The switches are bridges of the kernel. Thread: the caller's, blocking; the daemons are
processes. Frames flow both ways, towards a guest that never speaks, and from the guest to everybody.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bridge.control.client import Client
from bridge.errors import ControlError
from bridge.lab import netns
from bridge.lab.streams import BROADCAST, Loss, Stream, Traffic
from bridge.lab.topology import READY_SECONDS, await_ready, check_root, launch

MEMBERS = ("a", "b")
HOSTS = {"guest": "guests", "silent": "guests", "outside": "uplink"}
LANS = ("guests", "uplink")
PROBE_INTERVAL = 0.005  # seconds between the frames of a stream
BEFORE, AFTER = 0.5, 1.5  # seconds of traffic around what happens

CONFIG = """\
[bridge]
name = "{name}"
control_socket = "{socket}"

[[port]]
name = "guests"
kind = "link"
device = "guests"
vlan = {{ access = {vlan} }}

[[port]]
name = "uplink"
kind = "link"
device = "uplink"
vlan = {{ access = {vlan} }}

[pair]
id = "lab"
secret_file = "{secret}"
"""


@dataclass
class PairLab:
    """The lab as it stands; namespaces by role."""

    directory: Path
    spaces: dict[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    # -- members

    def socket(self, name: str) -> str:
        """Path of the control socket of a member."""
        return str(self.directory / f"{name}.sock")

    def start(self, name: str) -> None:
        """Start a member and wait until it answers."""
        secret = self.directory / "secret"
        process, socket, log = launch(
            self.directory / name, self.spaces[name], CONFIG, name=name, secret=str(secret)
        )
        self.processes[name] = process
        await_ready(process, socket, log)

    def end(self, name: str) -> None:
        """Kill a member, if it runs."""
        if (process := self.processes.pop(name, None)) is not None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Ask a member for `pair show`; none: it does not answer."""
        with contextlib.suppress(ControlError, OSError), Client(self.socket(name)) as client:
            return client.rows("PairShow")
        return []

    def state(self, name: str) -> str:
        """Give the state of a member, or gone."""
        rows = self.rows(name)
        return str(rows[0]["state"]) if rows else "gone"

    def settle(self) -> tuple[str, str]:
        """Wait until one forwards and the other one stands by with its FDB; give (active, standby)."""
        for name in MEMBERS:
            if name not in self.processes:
                self.start(name)

        def found() -> tuple[str, str] | None:
            for active, standby in (MEMBERS, MEMBERS[::-1]):
                rows = self.rows(standby)
                is_warm = bool(rows) and rows[0]["state"] == "standby" and rows[0]["synced"] is not None
                if is_warm and self.state(active) == "active":
                    return active, standby
            return None

        both = netns.wait_until(found, "one member forwards, the other one stands by", READY_SECONDS)
        assert both is not None
        return both

    # -- cables and hosts

    def set_cable(self, name: str, lan: str, *, up: bool) -> None:
        """Switch the port of a switch that leads to a member."""
        netns.set_link(self.spaces["switch"], f"{name}-{lan}", state="up" if up else "down")

    def mac(self, host: str) -> bytes:
        """Give the MAC address of a host."""
        text = netns.netlink(
            self.spaces[host],
            lambda ipr: next(iter(ipr.link("get", ifname="eth0"))).get_attr("IFLA_ADDRESS"),
        )
        return bytes.fromhex(text.replace(":", ""))

    def traffic(self) -> Traffic:
        """Make the streams of the matrix."""
        where = {host: self.spaces[host] for host in HOSTS}
        streams = [
            Stream("out", 1, where["guest"], self.mac("outside"), where["outside"]),
            Stream("in", 2, where["outside"], self.mac("guest"), where["guest"]),
            Stream("silent", 3, where["outside"], self.mac("silent"), where["silent"]),
            Stream("broadcast", 4, where["guest"], BROADCAST, where["outside"]),
        ]
        return Traffic(dict.fromkeys(where.values(), "eth0"), streams, PROBE_INTERVAL)

    def introduce(self) -> None:
        """Let the silent guest say one word, so that it is known, as one is that was started once."""
        hello = Stream("hello", 9, self.spaces["silent"], BROADCAST, self.spaces["outside"])
        traffic = Traffic({self.spaces[host]: "eth0" for host in ("silent", "outside")}, [hello], 0.02)

        def known() -> bool:
            active, standby = self.settle()
            return all(self._knows(name, self.mac("silent")) for name in (active, standby))

        with traffic.flowing():
            netns.wait_until(known, "the silent guest to be known", READY_SECONDS)

    def _knows(self, name: str, mac: bytes) -> bool:
        with Client(self.socket(name)) as client:
            return any(row["mac"] == mac.hex(":") for row in client.rows("FdbShow"))


@contextlib.contextmanager
def built() -> Iterator[PairLab]:
    """Build the lab; it is taken down when the block ends."""
    check_root()
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="framebridge-pair-")))
        token = secrets.token_hex(3)
        spaces = {
            role: stack.enter_context(netns.namespace(f"fb-pair-{token}-{role}", ipv6=False))
            for role in ("switch", *MEMBERS, *HOSTS)
        }
        secret = directory / "secret"
        secret.touch(mode=0o600)
        secret.write_text(secrets.token_hex(32))
        lab = PairLab(directory, spaces)
        for lan in LANS:
            _make_switch(lab, lan)
            for member in MEMBERS:
                _plug(lab, lan, f"{member}-{lan}", member, lan)
        for host, lan in HOSTS.items():
            _plug(lab, lan, host, host, "eth0")
        try:
            yield lab
        finally:
            for name in [*lab.processes]:
                lab.end(name)


def _make_switch(lab: PairLab, lan: str) -> None:
    switch = lab.spaces["switch"]
    netns.netlink(switch, lambda ipr: ipr.link("add", ifname=lan, kind="bridge"))
    netns.set_link(switch, lan, state="up")


def _plug(lab: PairLab, lan: str, port: str, role: str, device: str) -> None:
    switch = lab.spaces["switch"]
    netns.connect(switch, port, lab.spaces[role], device)
    netns.netlink(
        switch,
        lambda ipr: ipr.link("set", index=netns.find_index(ipr, port), master=netns.find_index(ipr, lan)),
    )


# -- what happens


def _kill(lab: PairLab, active: str, standby: str) -> None:
    lab.processes[active].kill()


def _stop(lab: PairLab, active: str, standby: str) -> None:
    lab.processes[active].send_signal(signal.SIGSTOP)


def _lose_node(lab: PairLab, active: str, standby: str) -> None:
    """Take the power: nobody of this node says anything more, and its links are dead."""
    programs = netns.programs(lab.spaces[active])
    for pid in programs:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    for lan in LANS:
        lab.set_cable(active, lan, up=False)
    for pid in programs:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _lose_uplink(lab: PairLab, active: str, standby: str) -> None:
    lab.set_cable(active, "uplink", up=False)


def _switch(lab: PairLab, active: str, standby: str) -> None:
    with Client(lab.socket(active)) as client:
        client.rows("PairSwitch")


def _kill_standby(lab: PairLab, active: str, standby: str) -> None:
    lab.processes[standby].kill()


def _nothing(lab: PairLab, active: str, standby: str) -> None:
    """Let everything be."""


@dataclass(frozen=True)
class Case:
    """One row of the failure matrix."""

    words: str
    act: Callable[[PairLab, str, str], None]
    takes_over: bool = True


CASES = {
    "killed": Case("the one that forwards is killed (SIGKILL)", _kill),
    "hung": Case("it is stopped (SIGSTOP), and goes on a second later", _stop),
    "node": Case("its node is gone, with all links", _lose_node),
    "uplink": Case("it loses its uplink", _lose_uplink),
    "switch": Case("planned: pair switch", _switch),
    "standby": Case("the other one is killed", _kill_standby, takes_over=False),
    "nothing": Case("nothing happens", _nothing, takes_over=False),
}


@dataclass(frozen=True)
class Played:
    """What one play of a case came to; `happened`: time.monotonic_ns()."""

    case: str
    old: str
    new: str
    happened: int
    streams: dict[str, Loss]
    gap_ms: float | None  # as the member saw it that took over


def play(lab: PairLab, name: str) -> Played:
    """Bring a case about while frames flow, wait until all is well, and put everything back."""
    case = CASES[name]
    active, standby = lab.settle()
    new = standby if case.takes_over else active
    traffic = lab.traffic()
    with traffic.flowing():
        time.sleep(BEFORE)
        happened = time.monotonic_ns()
        case.act(lab, active, standby)
        if case.takes_over:
            netns.wait_until(lambda: lab.state(new) == "active", f"{new} to take over", READY_SECONDS)
        time.sleep(AFTER / 2)
        if name == "hung":
            lab.processes[active].send_signal(signal.SIGCONT)
        time.sleep(AFTER / 2)
    rows = lab.rows(new)
    gap = rows[0]["gap_ms"] if rows and case.takes_over else None
    _mend(lab)
    return Played(name, active, new, happened, traffic.results(), gap)


def _mend(lab: PairLab) -> None:
    for name in MEMBERS:
        if name in lab.processes and lab.processes[name].poll() is not None:
            lab.end(name)
        for lan in LANS:
            lab.set_cable(name, lan, up=True)


def faults(played: Played) -> Iterator[str]:
    """Name what must never be, however busy the machine is."""
    for stream, loss in played.streams.items():
        if loss.duplicated:
            yield f"{played.case}: {loss.duplicated} frames of {stream} came twice"
        if loss.sent and not loss.ended and loss.began:
            yield f"{played.case}: {stream} never came back"


def timeline(played: Played) -> list[str]:
    """Tell people what happened when."""
    case = CASES[played.case]
    lines = [f"{case.words}: {played.old} -> {played.new}"]
    for stream, loss in played.streams.items():
        if not loss.lost:
            lines.append(f"  {stream:<10} {loss.sent} frames, none lost")
            continue
        last, first = ((at - played.happened) / 1e6 for at in (loss.began, loss.ended or played.happened))
        back = f"first by {played.new} {first:+.1f} ms" if loss.ended else "none since"
        lines.append(
            f"  {stream:<10} {loss.sent} frames, {loss.lost} lost, {loss.duplicated} twice; last by {played.old} "
            f"{last:+.1f} ms, {back}"
        )
    if played.gap_ms is not None:
        lines.append(
            f"  {played.new} opened its gate {played.gap_ms} ms after the last beacon of {played.old}"
        )
    return lines


def demonstrate() -> int:
    """Show it: two bridges, traffic, one is killed; returns 0 if nothing came twice and every stream came back."""
    with built() as lab:
        active, standby = lab.settle()
        lab.introduce()
        print(f"two bridges between two switches; {active} forwards, {standby} stands by with its FDB")
        print(
            f"a frame each {PROBE_INTERVAL * 1000:g} ms on each of four streams; times are since the event\n"
        )
        failed: list[str] = []
        for case in ("killed", "switch"):
            played = play(lab, case)
            print("\n".join(timeline(played)), end="\n\n")
            failed += faults(played)
    for line in failed:
        print(f"framebridge lab: failed: {line}")
    return 1 if failed else 0
