"""Change under traffic: `reload` and the live verbs touch what they name, and nobody else loses a frame."""

from __future__ import annotations

import signal

import pytest
from helpers import frames
from helpers.daemon import link, tap
from helpers.hosts import seen_until, stream
from helpers.lan import Lan
from helpers.net import Net, Received

pytestmark = pytest.mark.root


def station(number: int, vid: int) -> Received:
    """The broadcast of a station as the trunk carries it."""
    return Received(frames.ethernet(frames.BROADCAST, frames.host(number)), (frames.TPID_Q, vid))


def tagged(frame: bytes, vid: int) -> bytes:
    return frame[:12] + frames.tag(vid) + frame[12:]


@pytest.mark.smoke
def test_a_reload_changes_what_it_names_and_others_lose_nothing(lan: Lan) -> None:
    guest, external, wire = lan.guest("a", 1), lan.external(10), lan.wire("outside")
    with stream(guest, external) as out, stream(external, guest) as back:
        before = lan.bridge.stats("a")
        lan.rewrite(b=tap("b", lan.spaces["b"], access=20, mtu=1400), c=None)
        done = lan.bridge.rows("reload")
        out.wait_more()
        back.wait_more()

    assert [row["text"] for row in done] == [
        f"close port c: tap tap0 in namespace {lan.spaces['c'].name}, access 20",
        "set port b: mtu default -> 1400, vlan access 10 -> access 20",
    ]
    after = lan.bridge.stats("a")
    assert after["rx_frames"] >= before["rx_frames"] + 50
    assert after["tx_frames"] >= before["tx_frames"] + 50
    assert lan.bridge.drops() == {}
    assert lan.spaces["c"].devices() == {"lo"}
    assert (lan.spaces["b"].link("tap0") or {})["mtu"] == 1400
    lan.wire("b").send(frames.ethernet(frames.BROADCAST, frames.host(2)))
    wire.wait_for(lambda frame: frame == station(2, 20))


def test_reloads_there_and_back_again_lose_nothing(lan: Lan) -> None:
    """Ports are opened, closed and changed all the time; one between two others does not notice."""
    guest, external = lan.guest("a", 1), lan.external(10)
    shape = lan.shape()
    with stream(guest, external) as out, stream(external, guest) as back:
        for _ in range(10):
            lan.rewrite(b=tap("b", lan.spaces["b"], access=20, isolated=True), c=None)
            assert len(lan.bridge.ask("Reload")) == 2
            lan.rewrite()
            assert len(lan.bridge.ask("Reload")) == 2
        out.wait_more()
        back.wait_more()

    assert lan.shape() == shape
    assert lan.bridge.drops() == {}


def test_a_port_of_the_new_file_is_there_at_once(net: Net, lan: Lan) -> None:
    newcomer = net.namespace()
    lan.rewrite(d=tap("d", newcomer, access=10))
    lan.bridge.program.signal(signal.SIGHUP)
    lan.bridge.wait_log("reloaded")

    wire = net.packet_socket("tap0", newcomer)
    lan.wire("a").send(frames.ethernet(frames.BROADCAST, frames.host(1)))
    assert wire.wait().data == frames.ethernet(frames.BROADCAST, frames.host(1))


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (link("x", "eth7", access=10), "port 'x': device 'eth7': cannot use it: No such device; create"),
        ('[[port]]\nname = "x"\nkind = "tap"\n', "line 26: port[3]: a tap port needs a device; add device"),
        ("[[port", "not valid TOML"),
    ],
    ids=["a device that is missing", "a key that is missing", "no TOML"],
)
def test_a_refused_reload_changes_nothing(lan: Lan, extra: str, message: str) -> None:
    """It would close c and set b before it fails at the new port: all of that is undone, or never begun."""
    guest, external = lan.guest("a", 1), lan.external(10)
    shape = lan.shape()
    with stream(guest, external) as out, stream(external, guest) as back:
        lan.rewrite(b=tap("b", lan.spaces["b"], access=20, mtu=1400), c=None, spare=extra)
        refusal = lan.bridge.refused("reload")
        out.wait_more()
        back.wait_more()

    assert message in refusal
    assert lan.shape() == shape
    assert {name: lan.spaces[name].devices() for name in "abc"} == {name: {"lo", "tap0"} for name in "abc"}
    twenty, wire = lan.wire("c"), lan.wire("outside")
    twenty.send(frames.ethernet(frames.BROADCAST, frames.host(3)))
    wire.wait_for(lambda frame: frame == station(3, 20))


def test_a_refused_reload_by_signal_is_logged_and_changes_nothing(lan: Lan) -> None:
    shape = lan.shape()
    lan.rewrite(b=tap("b", lan.spaces["b"], access=4095))

    lan.bridge.program.signal(signal.SIGHUP)

    said = lan.bridge.wait_log(r"reload refused, nothing was changed: .*")
    assert "port[1].vlan.access: expected a VLAN ID from 1 to 4094, got 4095" in said
    assert lan.shape() == shape


# -- live verbs --------------------------------------------------------------------------------------


def test_a_port_is_added_and_removed_by_hand(net: Net, lan: Lan) -> None:
    newcomer = net.namespace()
    guest, external = lan.guest("a", 1), lan.external(10)
    with stream(guest, external):
        words = ["kind", "tap", "device", "tap0", "netns", str(newcomer.name), "access", "10"]
        added = lan.bridge.rows("port", "add", "d", *words)
        wire = net.packet_socket("tap0", newcomer)
        wire.send(frames.ethernet(frames.BROADCAST, frames.host(4)))
        lan.bridge.wait(lambda: lan.bridge.port("d")["fdb_entries"] == 1, "the newcomer to be learned")
        removed = lan.bridge.rows("port", "del", "d")

    assert [row["text"] for row in (*added, *removed)] == [
        f"open port d: tap tap0 in namespace {newcomer.name}, access 10",
        f"close port d: tap tap0 in namespace {newcomer.name}, access 10",
    ]
    assert newcomer.devices() == {"lo"}
    assert (10, "02:00:00:00:00:04") not in lan.bridge.fdb()
    assert "no port 'd'; there are: a, b, c, uplink" in lan.bridge.refused("port", "show", "d")


def test_a_port_is_changed_in_place(lan: Lan) -> None:
    """Another VLAN: the address it had in the old one is forgotten, its counters go on, tags are right."""
    guest, wire = lan.wire("a"), lan.wire("outside")
    for vid in (10, 20):
        lan.bridge.rows("port", "set", "a", "access", str(vid))
        guest.send(frames.ethernet(frames.BROADCAST, frames.host(1)))
        assert wire.wait().tag == (frames.TPID_Q, vid)

        assert lan.bridge.fdb() == {(vid, "02:00:00:00:00:01"): ("a", "dynamic")}
    assert lan.bridge.stats("a")["rx_frames"] == 2


def test_a_port_is_switched_off_and_on(lan: Lan) -> None:
    one, other, wire = lan.wire("a"), lan.wire("b"), lan.wire("outside")
    lan.bridge.rows("port", "set", "a", "enabled", "off")
    assert lan.bridge.port("a")["state"] == "down"
    one.send(frames.ethernet(frames.BROADCAST, frames.host(1)))
    unheard, last = (frames.ethernet(frames.BROADCAST, frames.host(n)) for n in (8, 9))
    wire.send(tagged(unheard, 10))
    assert other.wait().data == unheard

    lan.bridge.rows("port", "set", "a", "enabled", "default")
    wire.send(tagged(last, 10))

    assert (seen_until(one, last), seen_until(other, last)) == ([], [])
    assert lan.bridge.port("a")["state"] == "up"
    assert lan.bridge.drops() == {("a", "rx", "port_down"): 1}  # what it said meanwhile is not said later


def test_static_and_drop_entries_by_hand(lan: Lan) -> None:
    """A static entry takes unicast to one port that never spoke; without it the frame goes everywhere."""
    one, other, wire = lan.wire("a"), lan.wire("b"), lan.wire("outside")
    silent, sent = "02:00:00:00:00:05", frames.ethernet(frames.host(5), frames.host(9))

    lan.bridge.rows("fdb", "add", silent, "vlan", "10", "port", "a")
    wire.send(tagged(sent, 10))
    assert one.wait().data == sent
    row = {"mac": silent, "vlan": 10, "port": "a", "state": "static", "age": None}
    assert lan.bridge.rows("fdb", "show", "mac", silent) == [row]

    lan.bridge.rows("fdb", "add", silent, "vlan", "10", "drop")
    wire.send(tagged(sent, 10))
    lan.bridge.wait(lambda: lan.bridge.drops() == {("uplink", "rx", "fdb_drop"): 1}, "the drop")

    lan.bridge.rows("fdb", "del", silent, "vlan", "10")
    wire.send(tagged(sent, 10))
    assert (one.wait().data, other.wait().data) == (sent, sent)
    refusal = lan.bridge.refused("fdb", "del", silent, "vlan", "10")
    assert f"no FDB entry {silent} in VLAN 10" in refusal


def test_flush_forgets_what_it_is_told_to(lan: Lan) -> None:
    for name, number in (("a", 1), ("b", 2), ("c", 3)):
        lan.wire(name).send(frames.ethernet(frames.BROADCAST, frames.host(number)))
    lan.bridge.wait(lambda: len(lan.bridge.fdb()) == 3, "three addresses to be learned")
    lan.bridge.rows("fdb", "add", "02:00:00:00:00:07", "vlan", "10", "port", "a")
    static = {(10, "02:00:00:00:00:07"): ("a", "static")}

    def flush(*words: str) -> int:
        return int(lan.bridge.rows("fdb", "flush", *words)[0]["flushed"])

    assert flush("port", "a") == 1
    assert lan.bridge.fdb() == static | {
        (10, "02:00:00:00:00:02"): ("b", "dynamic"),
        (20, "02:00:00:00:00:03"): ("c", "dynamic"),
    }
    assert (flush("vlan", "20"), flush()) == (1, 1)
    assert lan.bridge.fdb() == static


def test_the_way_to_wait_changes_under_traffic(lan: Lan) -> None:
    guest, external = lan.guest("a", 1), lan.external(10)
    name = lan.bridge.rows("bridge", "show")[0]["bridge"]
    with stream(guest, external) as out, stream(external, guest) as back:
        was = "balanced"
        for waiting in ("latency", "throughput", "balanced"):
            lan.bridge.write(*lan.ports.values(), waiting=waiting)
            done = lan.bridge.rows("reload")
            assert [row["text"] for row in done] == [f"set bridge {name}: waiting {was} -> {waiting}"]
            assert lan.bridge.rows("bridge", "show")[0]["waiting"] == waiting
            out.wait_more()
            back.wait_more()
            was = waiting
    assert lan.bridge.drops() == {}
