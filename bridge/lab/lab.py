"""The lab: a guest on a tap, the bridge, an 802.1Q trunk and an external host, on one machine.

Job: build it in network namespaces of its own, start the real daemon in it, send real traffic (ping, iperf3),
read what the daemon counted, check that it adds up, and take everything down again, whatever happens.

    guest namespace          bridge namespace                       external namespace
    [ tap0 10.99.10.1 ]══[ framebridge: guest│uplink ]══ veth ══[ eth0 ── VLAN 10: 10.99.10.2 ]
                             access 10    trunk 10,20              a kernel VLAN interface if there is 8021q,
                                                                   else a second framebridge: trunk ── tap

Thread: control, blocking; the daemons are processes. Refuses, before it makes anything: not root, a program
missing.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2 import netns as kernel_netns
from pyroute2.netlink.exceptions import NetlinkError

from bridge.control.client import Client
from bridge.control.protocol import Row
from bridge.errors import ControlError, FramebridgeError
from bridge.render import bill as cost_text
from bridge.render import table as render

VLAN = 10
GUEST = "10.99.10.1"
EXTERNAL = "10.99.10.2"
PREFIX = 24
READY_SECONDS = 60.0  # only a daemon that hangs takes that long, or an emulated processor
FULL_SIZE = 1472  # ICMP payload of a 1500-byte IPv4 packet
TALKERS = 5  # shown of the bill

# The programs the lab runs and the Debian packages that have them.
PROGRAMS = {"ip": "iproute2", "ping": "iputils-ping", "iperf3": "iperf3"}

BRIDGE_CONFIG = """\
[bridge]
name = "lab"
control_socket = "{socket}"

[[port]]
name = "guest"
kind = "tap"
device = "tap0"
netns = "{guest}"
vlan = {{ access = {vlan} }}

[[port]]
name = "uplink"
kind = "link"
device = "eth1"
vlan = {{ trunk = [{vlan}, 20] }}
"""

TERMINATION_CONFIG = """\
[bridge]
name = "termination"
control_socket = "{socket}"

[[port]]
name = "trunk"
kind = "link"
device = "eth0"
vlan = {{ trunk = [{vlan}] }}

[[port]]
name = "host"
kind = "tap"
device = "eth0.{vlan}"
vlan = {{ access = {vlan} }}
"""


def run(*, pings: int = 20, seconds: float = 3.0) -> dict[str, Any]:
    """Build the lab, measure, take it down; returns what was measured (see `measure`)."""
    check_prerequisites()
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="framebridge-lab-")))
        token = secrets.token_hex(3)
        guest, middle, external = (
            stack.enter_context(namespace(f"fb-lab-{token}-{role}"))
            for role in ("guest", "bridge", "external")
        )
        connect(middle, "eth1", external, "eth0")
        socket = stack.enter_context(daemon(directory / "lab", middle, BRIDGE_CONFIG, guest=guest))
        termination = stack.enter_context(terminate_vlan(directory, external))
        configure(guest, "tap0", GUEST)
        configure(external, f"eth0.{VLAN}", EXTERNAL)
        return measure(socket, guest, external, termination, pings, seconds)


def check_prerequisites() -> None:
    """Refuse with one sentence for everything that is missing."""
    if os.geteuid() != 0:
        raise FramebridgeError("the lab makes network namespaces: run it as root (sudo framebridge lab)")
    missing = [package for program, package in PROGRAMS.items() if not shutil.which(program)]
    if missing:
        raise FramebridgeError(
            f"the lab needs programs that are not here: apt-get install {' '.join(missing)}"
        )


# -- the place


@contextlib.contextmanager
def namespace(name: str) -> Iterator[str]:
    """Make a network namespace with its loopback up; it is gone afterwards, with all devices in it."""
    kernel_netns.create(name)
    try:
        with IPRoute(netns=name) as ipr:
            ipr.link("set", index=1, state="up")
        yield name
    finally:
        kernel_netns.remove(name)


def connect(left: str, left_device: str, right: str, right_device: str) -> None:
    """Join two namespaces by a veth pair, both ends up."""
    with IPRoute(netns=left) as ipr:
        peer = {"ifname": right_device, "net_ns_fd": right}
        ipr.link("add", ifname=left_device, kind="veth", peer=peer)
    for where, device in ((left, left_device), (right, right_device)):
        with IPRoute(netns=where) as ipr:
            ipr.link("set", index=ipr.link_lookup(ifname=device)[0], state="up")


def configure(where: str, device: str, address: str) -> None:
    """Give a device an address and bring it up."""
    with IPRoute(netns=where) as ipr:
        index = ipr.link_lookup(ifname=device)[0]
        ipr.addr("add", index=index, address=address, prefixlen=PREFIX)
        ipr.link("set", index=index, state="up")


@contextlib.contextmanager
def terminate_vlan(directory: Path, where: str) -> Iterator[str]:
    """Make eth0.VLAN in the external namespace; yields how: `8021q` or `framebridge`."""
    try:
        with IPRoute(netns=where) as ipr:
            parent = ipr.link_lookup(ifname="eth0")[0]
            ipr.link("add", ifname=f"eth0.{VLAN}", kind="vlan", link=parent, vlan_id=VLAN)
    except NetlinkError as error:
        if error.code != errno.EOPNOTSUPP:
            raise
    else:
        yield "8021q"
        return
    with daemon(directory / "termination", where, TERMINATION_CONFIG):
        yield "framebridge"


# -- the daemons


@contextlib.contextmanager
def daemon(path: Path, where: str, template: str, **names: str) -> Iterator[str]:
    """Run a daemon in a namespace until the block ends; yields its control socket once that answers."""
    config, socket, log = (path.with_suffix(suffix) for suffix in (".toml", ".sock", ".log"))
    config.write_text(template.format(socket=socket, vlan=VLAN, **names))
    with log.open("w") as stderr:
        process = subprocess.Popen(
            ["ip", "netns", "exec", where, sys.executable, "-m", "bridge", "run", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
        )
    try:
        await_ready(process, str(socket), log)
        yield str(socket)
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def await_ready(process: subprocess.Popen[bytes], socket: str, log: Path) -> None:
    """Return when the daemon answers; raise with its own words when it ends first or takes too long."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(ControlError), Client(socket) as client:
            client.rows("Version")
            return
        time.sleep(0.02)
    state = "is not ready" if process.poll() is None else f"ended with status {process.returncode}"
    raise FramebridgeError(f"the daemon {state}: {log.read_text().strip() or 'it said nothing'}")


# -- the measurement


def measure(
    socket: str, guest: str, external: str, termination: str, pings: int, seconds: float
) -> dict[str, Any]:
    """Send the traffic and read the counters.

    Returns `ping` and `tcp` by direction (round trip in ms, throughput in Gb/s), `ports`, `drops`, `fdb` and
    `cost` (by stage, by class, by talker and in sum) as the control socket gives them, `conservation`, and the busy
    cycles of the data thread per frame received (a super-frame is one) and per wire frame.
    """
    result: dict[str, Any] = {
        "termination": termination,
        "ping": {
            "guest_to_external": ping(guest, EXTERNAL, pings),
            "external_to_guest": ping(external, GUEST, pings),
            "full_size": ping(guest, EXTERNAL, 5, FULL_SIZE),
        },
        "tcp": {
            "guest_to_external_gbps": tcp(external, guest, EXTERNAL, seconds),
            "external_to_guest_gbps": tcp(guest, external, GUEST, seconds),
        },
    }
    with Client(socket) as client:
        books = read_books(client)
        result["ports"], result["drops"] = ([row for row in rows if row["port"] != "total"] for rows in books)
        result["fdb"] = client.rows("FdbShow")
        result["cost"] = client.rows("CostShow")
        result["cost_by_class"] = client.rows("CostShow", {"by": "class"})
        result["cost_by_talker"] = client.rows("CostShow", {"by": "talker", "top": TALKERS})
        (result["cost_summary"],) = client.rows("CostSummary")
    result["conservation"] = conservation(result["ports"])
    result["frames"] = sum(row["rx_frames"] for row in result["ports"])
    busy = sum(row["cycles"] for row in result["cost"] if row["busy"])
    result["wire_frames"] = sum(row["rx_segments"] for row in result["ports"])
    for unit in ("frame", "wire_frame"):
        count = result[f"{unit}s"]
        result[f"cycles_per_{unit}"] = round(busy / count, 1) if count else None
    return result


def read_books(client: Client) -> tuple[list[Row], list[Row]]:
    """Return counters and drops of one moment: nothing was dropped between the drops before and after."""
    before = client.rows("DropsShow")
    while True:
        stats, drops = client.rows("StatsShow"), client.rows("DropsShow")
        if drops == before:
            return stats, drops
        before = drops


def ping(where: str, address: str, count: int, size: int = 56) -> dict[str, Any]:
    """Ping with Don't-Fragment set; returns sent, received and the mean round trip in ms (None: no reply)."""
    command = [
        "ping",
        "-q",
        "-n",
        "-M",
        "do",
        "-c",
        str(count),
        "-i",
        "0.02",
        "-W",
        "1",
        "-s",
        str(size),
        address,
    ]
    output = execute(where, command, timeout=30 + count).stdout
    sent, received = re.search(r"(\d+) packets transmitted, (\d+) received", output).groups()  # type: ignore[union-attr]
    rtt = re.search(r"= [\d.]+/([\d.]+)/", output)
    return {"sent": int(sent), "received": int(received), "rtt_mean_ms": float(rtt[1]) if rtt else None}


def tcp(server: str, client: str, address: str, seconds: float) -> float:
    """Move one TCP stream from `client` to `server` with iperf3; returns what arrived in Gb/s."""
    listener = subprocess.Popen(
        ["ip", "netns", "exec", server, "iperf3", "-s", "-1", "-B", address],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    command = ["iperf3", "-J", "-c", address, "-t", str(seconds), "--connect-timeout", "1000"]
    deadline = time.monotonic() + READY_SECONDS
    try:
        while "error" in (report := json.loads(execute(client, command, timeout=seconds + 30).stdout)):
            if time.monotonic() > deadline or listener.poll() is not None:
                raise FramebridgeError(f"iperf3: {report['error']}")
            time.sleep(0.05)  # it does not listen yet
    finally:
        listener.kill()
        listener.wait()
    bits: float = report["end"]["sum_received"]["bits_per_second"]
    return round(bits / 1e9, 3)


def execute(where: str, command: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str]:
    """Run a program in a namespace to its end and catch what it prints."""
    return subprocess.run(
        ["ip", "netns", "exec", where, *command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def conservation(ports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Check R12, per port and in total: frames and copies in equal frames out and drops."""
    received = sum(row["rx_frames"] + row["copies"] + row["originated"] for row in ports)
    accounted = sum(row["tx_frames"] + row["rx_drops"] + row["tx_drops"] for row in ports)
    holds = received == accounted and all(
        row["rx_frames"] + row["copies"] == row["forwarded"] + row["rx_drops"]
        and row["offered"] == row["tx_frames"] + row["tx_drops"]
        for row in ports
    )
    return {"holds": holds, "received_and_copied": received, "sent_and_dropped": accounted}


# -- the command


def report(result: Mapping[str, Any]) -> str:
    """Tell people what was measured."""
    ping, tcp_, check = result["ping"], result["tcp"], result["conservation"]
    termination = {"8021q": "a kernel VLAN interface", "framebridge": "a second framebridge (no 8021q here)"}
    rows = {
        "ping guest -> external": ping["guest_to_external"],
        "ping external -> guest": ping["external_to_guest"],
        f"ping {FULL_SIZE + 28} bytes": ping["full_size"],
    }
    lines = [f"external VLAN {VLAN} ends in {termination[result['termination']]}", ""]
    for what, row in rows.items():
        rtt = "no reply" if row["rtt_mean_ms"] is None else f"{row['rtt_mean_ms']:.3f} ms"
        lines.append(f"{what:<24} {row['received']}/{row['sent']} replies, mean {rtt}")
    lines.append(f"{'TCP guest -> external':<24} {tcp_['guest_to_external_gbps']:.2f} Gb/s")
    lines.append(f"{'TCP external -> guest':<24} {tcp_['external_to_guest_gbps']:.2f} Gb/s")
    blocks = cost_text.choose_blocks(sys.stdout.encoding)
    columns = ("port", "rx_frames", "rx_segments", "tx_frames", "tx_segments", "rx_drops", "tx_drops")
    for title, table in (
        ("frames by port", render.table(result["ports"], columns)),
        ("forwarding information base", render.to_text(result["fdb"], "fdb")),
        ("drops", render.to_text(result["drops"], "drops") or "none"),
        ("the bill by stage", cost_text.show_text(result["cost"], "stage", blocks)),
        ("the bill by class of frames", cost_text.show_text(result["cost_by_class"], "class", blocks)),
        ("the bill by talker", cost_text.show_text(result["cost_by_talker"], "talker", blocks)),
        ("the data thread", cost_text.summary_text([result["cost_summary"]])),
    ):
        lines += ["", f"-- {title}", table]
    verdict = "holds" if check["holds"] else "IS VIOLATED"
    lines += [
        "",
        f"conservation {verdict}: {check['received_and_copied']} received and copied,"
        f" {check['sent_and_dropped']} sent and dropped",
        f"{result['frames']} frames at {result['cycles_per_frame']} busy cycles each;"
        f" they stand for {result['wire_frames']} wire frames at {result['cycles_per_wire_frame']}",
    ]
    return "\n".join(lines)


def is_sound(result: Mapping[str, Any]) -> bool:
    """Whether everything arrived and the books balance."""
    pings = result["ping"].values()
    return (
        all(row["received"] == row["sent"] for row in pings)
        and min(result["tcp"].values()) > 0
        and result["conservation"]["holds"]
    )


def main(arguments: Sequence[str] = ()) -> int:
    """`framebridge lab`: returns 0 when everything crossed and the books balance, else 1."""
    parser = argparse.ArgumentParser(prog="framebridge lab", description=__doc__.splitlines()[0])
    parser.add_argument("-j", "--json", action="store_true", help="one JSON object instead of text")
    parser.add_argument("-p", "--pretty", action="store_true", help="the same, indented")
    parser.add_argument("--pings", type=int, default=20, metavar="N", help="pings each way (default 20)")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each TCP run (default 3)")
    options = parser.parse_args(arguments)
    if not 1 <= options.pings <= 10_000 or not 1 <= options.seconds <= 3600:
        parser.error("--pings must be 1..10000 and --seconds 1..3600")
    with ends_like_an_error():
        result = run(pings=options.pings, seconds=options.seconds)
    if options.json or options.pretty:
        print(render.to_json(result, pretty=options.pretty))
    else:
        print(report(result))
    return 0 if is_sound(result) else 1


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
