"""Two daemons as a pair: one forwards, and the other one does as soon as it must.

What is asked is who forwards and that no frame is there twice; how long it takes is for `bench pair`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import frames
from helpers.daemon import Daemon, run_command
from helpers.net import DEADLINE, Net, wait_until
from helpers.pair_lan import PairLan

pytestmark = pytest.mark.root

TOKEN = b"numbered broadcast"


@pytest.fixture
def lan(net: Net, start: Callable[..., Daemon], directory: Path) -> PairLan:
    return PairLan(net, start, directory)


def shout(lan: PairLan, numbers: range) -> None:
    wire = lan.wire("guest")
    for number in numbers:
        wire.send(
            frames.ethernet(frames.BROADCAST, frames.host(0x77), payload=TOKEN + number.to_bytes(4, "big"))
        )


def heard(wire: object) -> Counter[int]:
    """Numbers that came in, and how often."""
    found: Counter[int] = Counter()
    for frame in wire.waiting():  # type: ignore[attr-defined]
        if TOKEN in frame.data:
            at = frame.data.index(TOKEN) + len(TOKEN)
            found[int.from_bytes(frame.data[at : at + 4], "big")] += 1
    return found


@pytest.mark.smoke
def test_one_forwards_and_the_other_one_after_it_was_killed(lan: PairLan) -> None:
    one, other = lan.start_both()
    guest, outside = lan.hosts()
    lan.wait_ping(guest, outside)
    standby = {key: count for key, count in other.drops().items() if key[2] == "standby"}
    assert standby
    other.wait(lambda: one.fdb() and other.fdb() == one.fdb(), "the standby to know the stations")
    own, peer = lan.rows("b")
    assert (own["who"], own["gate"], peer["state"], peer["priority"]) == ("self", "closed", "active", 200)
    one.end(signal.SIGKILL)
    lan.wait_state("b", "active")
    lan.wait_ping(guest, outside)
    assert lan.rows("b")[0]["gap_ms"] > 0


def test_a_planned_switch_and_hold_keeps_a_member_out(lan: PairLan) -> None:
    one, other = lan.start_both()
    guest, outside = lan.hosts()
    lan.wait_ping(guest, outside)
    assert "does not forward" in other.refused("pair", "switch")
    one.rows("pair", "switch")
    lan.wait_state("b", "active")
    lan.wait_ping(guest, outside)
    one.rows("pair", "hold")
    lan.wait_state("a", "ineligible")
    assert lan.rows("a")[0]["reason"] == "held by `pair hold`"
    other.wait(lambda: not lan.rows("b")[1]["eligible"], "the hold to be heard of")
    assert "no other member" in other.refused("pair", "switch")
    one.rows("pair", "resume")
    lan.wait_state("a", "standby")


def test_who_lost_its_uplink_hands_over(lan: PairLan) -> None:
    lan.start_both()
    guest, outside = lan.hosts()
    lan.wait_ping(guest, outside)
    lan.set_cable("a", "uplink", up=False)
    lan.wait_state("b", "active")
    lan.wait_state("a", "ineligible")
    assert lan.rows("a")[0]["reason"] == "port uplink has no carrier"
    lan.wait_ping(guest, outside)
    lan.set_cable("a", "uplink", up=True)
    lan.wait_state("a", "standby")
    assert lan.state("b") == "active"


def test_who_was_stopped_comes_back_as_standby_and_sends_no_stale_frame(lan: PairLan) -> None:
    one, _ = lan.start_both()
    wire = lan.wire("outside")
    one.program.signal(signal.SIGSTOP)
    try:
        lan.wait_state("b", "active")
        shout(lan, range(200))
    finally:
        one.program.signal(signal.SIGCONT)
    lan.wait_state("a", "standby")
    shout(lan, range(200, 210))
    found: Counter[int] = Counter()
    wait_until(lambda: found.update(heard(wire)) or found[209], "the last number")
    one.wait(
        lambda: sum(n for key, n in one.drops().items() if key[2] == "standby") >= 200, "stale frames to end"
    )
    found.update(heard(wire))
    assert found == Counter(range(210))


def test_both_end_in_order_and_start_again(lan: PairLan) -> None:
    one, other = lan.start_both()
    assert one.end() == 0
    lan.wait_state("b", "active")
    lan.start("a", priority=200)
    lan.wait_state("a", "standby")
    assert other.end() == 0
    lan.wait_state("a", "active")


def test_the_better_one_asks_for_the_gate_if_it_shall(lan: PairLan) -> None:
    one, _ = lan.start_both(preempt_delay=0.3)
    one.rows("pair", "hold")
    lan.wait_state("b", "active")
    one.rows("pair", "resume")
    lan.wait_state("a", "active")
    lan.wait_state("b", "standby")


def test_a_reload_joins_changes_and_leaves(lan: PairLan) -> None:
    one = lan.start("a", id="")
    guest, outside = lan.hosts()
    lan.wait_ping(guest, outside)
    assert one.rows("pair", "show") == []
    one.write(*lan.tables("a", priority=7), name="a")
    texts = [row["text"] for row in one.rows("reload")]
    assert any(text.startswith("set pair lan:") for text in texts), texts
    lan.wait_state("a", "active")
    lan.wait_ping(guest, outside)
    one.write(*lan.tables("a", priority=9, paths=["uplink"]), name="a")
    one.rows("reload")
    lan.wait_state("a", "active")
    assert lan.rows("a")[0]["priority"] == 9
    lan.set_cable("a", "guests", up=False)
    one.wait_state("guests", "down")
    assert lan.state("a") == "active"  # only paths count
    lan.set_cable("a", "guests", up=True)
    lan.secret.chmod(0o644)
    one.write(*lan.tables("a", priority=10), name="a")
    assert "has mode 0644: others may read or write it" in one.refused("reload")
    assert lan.rows("a")[0]["priority"] == 9
    one.write(*lan.tables("a", id=""), name="a")
    one.rows("reload")
    assert one.rows("pair", "show") == []
    lan.wait_ping(guest, outside)


def test_a_device_that_comes_back_carries_beacons_again(lan: PairLan) -> None:
    lan.start_both()
    lan.spaces["a"].delete_link("uplink")
    lan.wait_state("b", "active")
    assert lan.rows("a")[0]["reason"] == "port uplink is missing its device"
    lan._plug("uplink", "a-uplink", "a", "uplink")
    lan.wait_state("a", "standby")
    lan.set_cable("b", "guests", up=False)
    lan.wait_state("a", "active")
    lan.set_cable("a", "guests", up=False)  # beacons by the new device only
    lan.set_cable("b", "guests", up=True)
    lan.wait_state("b", "active")


def test_a_secret_that_is_none_is_refused(lan: PairLan) -> None:
    lan.secret.write_bytes(b"too short")
    text = "\n".join(['[bridge]\ncontrol_socket = "/run/none.sock"', *lan.tables("a")])
    file = lan.secret.with_name("refused.toml")
    file.write_text(text)
    status, _, err = run_command("run", str(file), space=lan.spaces["a"])
    assert status == 1
    assert "pair.secret_file" in err
    assert "has 9 bytes; a secret has at least 16" in err


def ask_gate(lan: PairLan, name: str) -> dict[str, object]:
    """What the witness of a member answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(DEADLINE)
        client.connect(f"{lan.daemons[name].socket}.gate")
        return dict(json.loads(client.makefile().readline()))


def test_a_daemon_that_is_only_stopped_is_never_released(lan: PairLan) -> None:
    """The lease ends by itself; until then nobody else forwards, so no epoch is opened by a last word."""
    one, _ = lan.start_both()
    one.wait(lambda: ask_gate(lan, "a")["health"] == "fine", "the witness to answer")
    assert ask_gate(lan, "a")["gate"] == "open"
    assert ask_gate(lan, "b")["gate"] == "closed"
    one.program.signal(signal.SIGSTOP)
    try:
        lan.wait_state("b", "active")
        assert ask_gate(lan, "a") | {"progress_ms": 0} == {
            "health": "hung",
            "gate": "closed",
            "epoch": 1,
            "lease_ms": None,
            "progress_ms": 0,
            "pid": one.pid,
        }
        assert lan.rows("b")[0]["gap_ms"] >= 300  # three intervals of silence: nobody spoke for it
    finally:
        one.program.signal(signal.SIGCONT)
    lan.wait_state("a", "standby")


def test_a_witness_that_was_killed_is_there_again(lan: PairLan) -> None:
    one, _ = lan.start_both()
    one.wait(lambda: ask_gate(lan, "a")["pid"] == one.pid, "the witness to answer")
    (before,) = witnesses(one.pid)
    os.kill(before, signal.SIGKILL)
    one.wait(lambda: [pid for pid in witnesses(one.pid) if pid != before], "another one")
    assert lan.state("a") == "active"
    assert lan.rows("b")[0]["gap_ms"] is None  # it never had to open


def witnesses(pid: int) -> list[int]:
    """Children of a daemon that live."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    found = {int(child) for child in children}
    for task in Path(f"/proc/{pid}/task").iterdir():
        found |= {int(child) for child in (task / "children").read_text().split()}
    return [one for one in sorted(found) if "last_word" in Path(f"/proc/{one}/cmdline").read_text()]
