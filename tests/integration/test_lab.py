"""`framebridge lab`: what it measures adds up, and whatever happens it leaves nothing behind."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.daemon import COMMAND, NOBODY
from helpers.net import NETNS_DIR, Net, Program, wait_until

pytestmark = pytest.mark.root


class Traces:
    """What belongs to one lab: processes know it by TMPDIR, namespaces by who lives in them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.env = {"TMPDIR": str(directory)}
        self._namespaces: set[str] = set()

    def processes(self) -> dict[int, str]:
        """Living processes of the lab: command line by process id."""
        mark = f"TMPDIR={self.directory}".encode()
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (path / "environ").read_bytes().split(b"\0"):
                    found[int(path.name)] = (path / "cmdline").read_text().replace("\0", " ")
            except OSError:  # it ended meanwhile
                continue
        return found

    def namespaces(self) -> set[str]:
        """Named namespaces in which a process of the lab was ever seen, as far as they are there now."""
        inhabited = set()
        for pid in self.processes():
            try:
                inhabited.add(Path(f"/proc/{pid}/ns/net").stat().st_ino)
            except OSError:
                continue
        here = {path.name: path.stat().st_ino for path in NETNS_DIR.glob("fb-lab-*")}
        self._namespaces |= {name for name, inode in here.items() if inode in inhabited}
        tokens = {name.rpartition("-")[0] for name in self._namespaces}
        self._namespaces |= {name for name in here if name.rpartition("-")[0] in tokens}
        return self._namespaces & here.keys()

    def stand(self) -> bool:
        """Whether the lab is complete: guest, bridge and external namespaces, and ping or iperf3 at work."""
        names = {name.rpartition("-")[2] for name in self.namespaces()}
        commands = " ".join(self.processes().values())
        return names == {"guest", "bridge", "external"} and ("ping -q" in commands or "iperf3" in commands)

    def check_gone(self) -> None:
        wait_until(lambda: not self.processes(), "the processes of the lab to end")
        assert self.namespaces() == set()
        assert list(self.directory.iterdir()) == []


@pytest.fixture
def traces(directory: Path) -> Iterator[Traces]:
    """What a lab run with this environment leaves; nothing, when the test is over."""
    traces = Traces(directory)
    yield traces
    traces.check_gone()


def run_lab(net: Net, traces: Traces, *words: str) -> Program:
    lab = net.program([*COMMAND, "lab", *words], env=traces.env)
    lab.wait_ready(traces.stand, "the lab to stand", 60.0)
    return lab


def test_the_lab_in_json(net: Net, traces: Traces) -> None:
    lab = run_lab(net, traces, "-j", "--pings", "5", "--seconds", "1")
    assert lab.wait_exit(90.0) == 0, lab.output
    result = json.loads(lab.output)

    assert {name: (row["sent"], row["received"]) for name, row in result["ping"].items()} == {
        "guest_to_external": (5, 5),
        "external_to_guest": (5, 5),
        "full_size": (5, 5),
    }
    assert all(row["rtt_mean_ms"] > 0 for row in result["ping"].values())
    assert result["tcp"].keys() == {"guest_to_external_gbps", "external_to_guest_gbps"}
    assert min(result["tcp"].values()) > 0.01
    assert {row["port"] for row in result["ports"]} == {"guest", "uplink"}
    assert {(row["vlan"], row["port"], row["state"]) for row in result["fdb"]} == {
        (10, "guest", "dynamic"),
        (10, "uplink", "dynamic"),
    }
    check_books(result)


CHROOT = """\
set -e
for name in $(ls -A /); do
    if [ -L "/$name" ]; then cp -P "/$name" "$0/$name"
    elif [ -d "/$name" ] && [ "$name" != tmp ]; then mkdir "$0/$name"; mount --rbind "/$name" "$0/$name"; fi
done
mkdir -m 1777 "$0/tmp"
exec chroot "$0" "$@"
"""


def test_the_lab_in_a_chroot_whose_root_is_no_mount_point(net: Net, directory: Path) -> None:
    root = directory / "root"
    root.mkdir()
    command = [*COMMAND, "lab", "-j", "--pings", "1", "--seconds", "1"]
    lab = net.program(["unshare", "--mount", "sh", "-c", CHROOT, str(root), *command], env={"TMPDIR": "/tmp"})
    status = lab.wait_exit(90.0)
    if "unshare failed" in lab.output:
        pytest.skip(lab.output.strip())

    assert status == 0, lab.output
    assert json.loads(lab.output)["conservation"]["holds"]
    assert [path.name for path in (root / "tmp").iterdir()] == []


def check_books(result: dict[str, Any]) -> None:
    """Conservation as the lab says it, and as its numbers say."""
    balance = result["conservation"]
    assert balance["holds"] is True
    assert balance["received_and_copied"] == balance["sent_and_dropped"] > 100
    drops = {(row["port"], way): row[f"{way}_drops"] for row in result["ports"] for way in ("rx", "tx")}
    for row in result["drops"]:
        drops[row["port"], row["direction"]] -= row["frames"]
    assert set(drops.values()) == {0}
    for row in result["ports"]:
        assert row["rx_frames"] + row["copies"] == row["forwarded"] + row["rx_drops"]
        assert row["offered"] == row["tx_frames"] + row["tx_drops"]
    assert result["frames"] == sum(row["rx_frames"] for row in result["ports"])
    busy = sum(row["cycles"] for row in result["cost"] if row["busy"])
    assert result["cycles_per_frame"] == pytest.approx(busy / result["frames"], abs=0.1)
    views = [sum(row["cycles"] for row in result[view]) for view in ("cost_by_class", "cost_by_talker")]
    spent = [busy, *views, result["cost_summary"]["busy_cycles"]]  # asked for one after the other
    assert spent == sorted(spent)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_lab_that_is_stopped_in_the_middle_leaves_nothing(net: Net, traces: Traces, number: int) -> None:
    lab = run_lab(net, traces, "--pings", "1000")

    lab.signal(number)

    assert lab.wait_exit(30.0) == {signal.SIGTERM: 1, signal.SIGINT: 130}[number]
    assert "Traceback" not in lab.output


def test_a_lab_without_root_is_refused_before_it_makes_anything(net: Net, traces: Traces) -> None:
    lab = net.program([*NOBODY, "lab"], env=traces.env)

    assert lab.wait_exit() == 1
    assert lab.output == (
        "framebridge: the lab makes network namespaces: run it as root (sudo framebridge lab)\n"
    )
