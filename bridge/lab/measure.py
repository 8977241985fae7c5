"""The measurement of the lab: ping and TCP through it, what the daemon counted, and whether that adds up."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bridge.control.client import Client
from bridge.errors import FramebridgeError
from bridge.lab.topology import EXTERNAL, GUEST, READY_SECONDS, Topology, in_namespace

FULL_SIZE = 1472  # ICMP payload of a 1500-byte IPv4 packet
TALKERS = 5  # shown of the bill
PINGS = {
    "guest_to_external": "ping guest -> external",
    "external_to_guest": "ping external -> guest",
    "full_size": f"ping {FULL_SIZE + 28} bytes",
}
STREAMS = {
    "guest_to_external_gbps": "TCP guest -> external",
    "external_to_guest_gbps": "TCP external -> guest",
}


def measure(topology: Topology, pings: int, seconds: float) -> dict[str, Any]:
    """Send the traffic and read the counters.

    Returns `ping` and `tcp` by direction (round trip in ms, throughput in Gb/s), `ports`, `drops`, `fdb` and
    `cost` (by stage, by class, by talker and in sum) as the control socket gives them, `conservation`, and the busy
    cycles of the data thread per frame received (a super-frame is one) and per wire frame.
    """
    socket, guest, external, termination = topology
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
        books = [row for row in client.rows("StatsShow", {"drops": True}) if row["port"] != "total"]
        result["drops"] = [row for row in books if "reason" in row]
        result["ports"] = [row for row in books if "reason" not in row]
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


def ping(where: str, address: str, count: int, size: int = 56) -> dict[str, Any]:
    """Ping with Don't-Fragment set; returns sent, received and the mean round trip in ms (None: no reply).

    The interval is also how long ping waits for the last reply once it had another (iputils ping_common.c): a daemon
    that waits for a busy CPU needs some of it.
    """
    command = ["ping", "-q", "-n", "-M", "do", "-i", "0.05", "-W", "5", "-c", str(count), "-s", str(size)]
    done = execute(where, [*command, address], timeout=30 + count)
    counts = re.search(r"(\d+) packets transmitted, (\d+) received", done.stdout)
    if counts is None:
        raise FramebridgeError(f"ping {address}: {(done.stderr or done.stdout).strip() or 'it said nothing'}")
    rtt = re.search(r"= [\d.]+/([\d.]+)/", done.stdout)
    return {
        "sent": int(counts[1]),
        "received": int(counts[2]),
        "rtt_mean_ms": float(rtt[1]) if rtt else None,
    }


def tcp(server: str, client: str, address: str, seconds: float) -> float:
    """Move one TCP stream from `client` to `server` with iperf3; returns what arrived in Gb/s."""
    listener = subprocess.Popen(
        in_namespace(server, "iperf3", "-s", "-1", "-B", address),
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
        in_namespace(where, *command),
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


def failures(result: Mapping[str, Any]) -> Iterator[str]:
    """Tell what did not arrive and what does not add up, a line each."""
    for name, what in PINGS.items():
        row = result["ping"][name]
        if row["received"] != row["sent"]:
            yield f"{what}: {row['received']} replies to {row['sent']} requests"
    for name, what in STREAMS.items():
        if not result["tcp"][name]:
            yield f"{what}: nothing arrived"
    check = result["conservation"]
    if not check["holds"]:
        yield (
            f"conservation: {check['received_and_copied']} frames received and copied, "
            f"{check['sent_and_dropped']} sent and dropped, or a port that does not balance"
        )
