"""The traffic tool and the accounting on real devices: what was put in comes out, exactly.

Short runs; nothing here depends on how fast or how busy the machine is.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench import build, selfcheck
from bench.errors import BenchError, SkippedError
from bench.lab import net, traffic
from bench.lab.site import GUEST_ADDRESS, OUTER_ADDRESS, Site, Wish
from bench.lab.system import all_systems
from bench.lab.termination import terminated

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def direct() -> Iterator[Site]:
    """A guest and an outer namespace with a veth between them."""
    with Site() as site:
        all_systems()["direct"].start(site)
        yield site
    assert net.leftovers() == []


def send(site: Site, **changes: object) -> traffic.Stream:
    return traffic.Stream(site.guest_space, "g0", rate=5_000, seconds=5.0, count=200).with_changes(**changes)


def receive(site: Site, *streams: int, tag: str = "any") -> traffic.Sink:
    return traffic.Sink(site.outer_space, "ext", streams, tag=tag, ring=4)


def test_a_clean_path_is_clean(direct: Site) -> None:
    assert selfcheck.check_clean(direct)["good"]


def test_faults_are_found_exactly(direct: Site) -> None:
    faults: dict[str, object] = {"skip": 7, "repeat": 11, "swap": 13}
    outcome = traffic.run([send(direct, count=1000, extra=faults)], [receive(direct)])
    sent, got = outcome.sender(), outcome.received()
    assert sent["skipped"] == sent["lost"] > 100
    assert sent["repeated"] == got["duplicates"] > 50
    assert sent["swapped"] == got["reordered"] > 50
    assert sent["offered"] == sent["sent"] == got["frames"] == 1000
    assert sent["sequences"] == 1000 + sent["skipped"] - sent["repeated"]


def test_tags_and_strays_are_told_apart(direct: Site) -> None:
    assert selfcheck.check_tags_and_strays(direct)["good"]


@pytest.mark.parametrize("tag", ["", "5", "4094", "0"])
def test_tags_arrive_as_sent(direct: Site, tag: str) -> None:
    outcome = traffic.run([send(direct, tag=tag)], [receive(direct, tag=tag or "none")])
    assert outcome.received()["wrong_tag"] == 0
    assert outcome.received()["unique"] == 200


@pytest.mark.parametrize(("size", "bytes_each"), [(60, 60), (1514, 1514), ("imix", None), ("60:1+124:1", 92)])
def test_sizes_arrive_as_sent(direct: Site, size: object, bytes_each: int | None) -> None:
    outcome = traffic.run([send(direct, size=size, count=240)], [receive(direct)])
    sent, got = outcome.sender(), outcome.received()
    assert sent["bytes"] == got["bytes"]
    if bytes_each:
        assert got["bytes"] == 240 * bytes_each
    else:
        assert got["bytes"] == 20 * (7 * 60 + 4 * 590 + 1514)


def test_frames_below_sixty_bytes_need_the_raw_layout(direct: Site) -> None:
    with pytest.raises(BenchError, match="layout=raw goes down to 32"):
        traffic.run([send(direct, size=59)], [receive(direct)])
    outcome = traffic.run([send(direct, size=32, layout="raw")], [receive(direct)])
    assert outcome.received()["bytes"] == 200 * 32


@pytest.mark.parametrize("queue", ["direct", "qdisc", "fast"])
def test_every_way_of_sending_sends_the_same(direct: Site, queue: str) -> None:
    faults: dict[str, object] = {"skip": 9, "repeat": 10}
    stream = send(
        direct,
        rate=0,
        burst=64,
        count=5000,
        queue=queue,
        tag="10-19",
        dst="02:00:00:00:00:10*50",
        extra=faults,
    )
    outcome = traffic.run([stream.with_changes(size="60:2+200:1")], [receive(direct, tag="10-19")])
    sent, got = outcome.sender(), outcome.received()
    assert sent["offered"] == 5000 == got["frames"] + sent["refused"]
    assert sent["lost"] == sent["skipped"] + sent["refused"]
    assert got["duplicates"] == sent["repeated"]
    assert got["reordered_stream"] == got["wrong_tag"] == 0
    assert sent["engine"] == ("packet" if queue != "fast" else sent["engine"])


def udp_sum(packet: bytes) -> int:
    """Sum a UDP datagram with its pseudo header; 0xffff: its checksum is right (RFC 768)."""
    length = int.from_bytes(packet[24:26], "big")
    words = packet[12:20] + bytes([0, packet[9]]) + packet[24:26] + packet[20 : 20 + length]
    total = sum(int.from_bytes(words[i : i + 2], "big") for i in range(0, len(words), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@pytest.mark.parametrize("tag", ["", "10"])
def test_frames_cut_from_one_buffer_are_whole(direct: Site, tag: str) -> None:
    stream = send(direct, rate=0, burst=100, count=100, size=200, queue="gso", tag=tag)
    with net.inside(direct.outer_space, open_packets) as sniffer:
        sniffer.bind(("ext", 3))
        traffic.run([stream])
        frames = [sniffer.recv(512) for _ in range(100)]
    assert {len(frame) for frame in frames} == {200}
    assert {udp_sum(frame[14:]) for frame in frames} == {0xFFFF}
    assert [int.from_bytes(frame[48:52], "big") for frame in frames] == list(range(100))


def test_frames_of_one_buffer_are_counted_one_by_one(direct: Site) -> None:
    faults: dict[str, object] = {"skip": 9, "repeat": 10, "swap": 31}
    stream = send(direct, rate=0, burst=150, count=5000, queue="gso", tag="10", extra=faults)
    outcome = traffic.run([stream], [receive(direct, tag="10")])
    sent, got = outcome.sender(), outcome.received()
    assert (sent["engine"], sent["sent"], got["frames"]) == ("gso", 5000, 5000)
    assert (sent["lost"], got["duplicates"]) == (sent["skipped"], sent["repeated"])
    assert got["reordered"] == sent["swapped"] > 100
    assert (got["wrong_tag"], got["bytes"]) == (0, sent["bytes"] - 4 * 5000)


def features(site: Site) -> str:
    return net.run("ethtool", "-k", "g0", namespace=site.guest_space)


def test_a_device_gets_its_features_back(direct: Site) -> None:
    before = features(direct)
    assert "tx-udp-segmentation: on" in before
    traffic.run([send(direct, rate=0, burst=64, queue="gso")], [receive(direct)])
    assert features(direct) == before


@pytest.mark.parametrize("way", ["probe", "packet"])
def test_every_way_of_receiving_finds_the_same(direct: Site, way: str) -> None:
    faults: dict[str, object] = {"skip": 7, "repeat": 11, "swap": 13}
    streams = [
        send(direct, count=1000, size="60:2+200:1", tag="10-19", extra=faults),
        send(direct, stream=2, count=50, layout="raw", size=32),
        send(direct, stream=3, count=30, tag="9", extra={"tpid": "0x88a8"}),
    ]
    sink = traffic.Sink(direct.outer_space, "ext", (1, 2), tag="10-19", ring=4, way=way)
    outcome = traffic.run(streams, [sink])
    sent, got, raw = outcome.sender(), outcome.received(), outcome.received(2)
    assert outcome.report["sinks"][0]["engine"] == way
    assert (sent["skipped"], sent["repeated"]) == (sent["lost"], got["duplicates"])
    assert (sent["swapped"], got["wrong_tag"]) == (got["reordered"], 0)
    assert got["bytes"] == sent["bytes"] - 4 * 1000
    assert (raw["frames"], raw["bytes"], raw["wrong_tag"]) == (50, 50 * 32, 50)
    assert outcome.report["sinks"][0]["strays"] == 30
    assert 0 < got["latency_us"]["min"] <= got["latency_us"]["p50"]


def test_two_sinks_at_one_device_both_count(direct: Site) -> None:
    outcome = traffic.run([send(direct)], [receive(direct), receive(direct)])
    assert [outcome.received(1, sink=i)["frames"] for i in range(2)] == [200, 200]


@pytest.mark.parametrize("way", ["probe", "packet"])
def test_a_sink_without_room_says_so(direct: Site, way: str) -> None:
    """A sink that is stopped while frames arrive loses some, and is named as the limit."""
    sink = traffic.Sink(direct.outer_space, "ext", (1,), ring=1, way=way)
    stream = send(direct, rate=0, burst=64, count=60_000, queue="fast")
    with frozen_sink(sink) as finish:
        traffic.run([stream])
        report = finish()
    assert report["limits"] == ["sink"]
    found = report["sinks"][0]
    assert found["ring_drops"] + found["frames"] == 60_000
    assert found["ring_drops"] > 10_000


@contextlib.contextmanager
def frozen_sink(sink: traffic.Sink) -> Iterator[Callable[[], traffic.Report]]:
    """A sink in a process of its own that sleeps until it is asked for its report."""
    tool = subprocess.Popen(
        [build.program("traffic"), "run", "--sink", sink.arguments()], stdout=subprocess.PIPE
    )
    try:
        net.wait_until(lambda: len(list(Path("/proc", str(tool.pid), "task").iterdir())) == 2, "the sink")
        tool.send_signal(signal.SIGSTOP)

        def finish() -> traffic.Report:
            tool.send_signal(signal.SIGINT)
            tool.send_signal(signal.SIGCONT)
            return dict(json.loads(tool.communicate(timeout=10)[0]))

        yield finish
    finally:
        tool.kill()
        tool.wait()


def test_one_sender_after_the_other_gets_the_same_engine(direct: Site) -> None:
    """A queue is let go of late by the kernel; a run must not depend on what ran before it."""
    engines = {traffic.run([send(direct, queue="fast")]).sender()["engine"] for _ in range(4)}
    assert len(engines) == 1


def test_every_address_of_a_range_is_used(direct: Site) -> None:
    with net.inside(direct.outer_space, open_packets) as sniffer:
        sniffer.bind(("ext", 3))
        traffic.run(
            [send(direct, dst="02:00:00:00:00:10*16", src="02:00:00:00:01:00*4", tag="7-8", count=16)]
        )
        frames = [sniffer.recv(128) for _ in range(16)]
    assert sorted(frame[:6] for frame in frames) == [bytes([2, 0, 0, 0, 0, 0x10 + i]) for i in range(16)]
    assert [frame[11] for frame in frames] == [0, 1, 2, 3] * 4


def open_packets() -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    made.settimeout(2.0)
    return made


def test_the_ip_header_is_valid(direct: Site) -> None:
    with net.inside(direct.outer_space, open_packets) as sniffer:
        sniffer.bind(("ext", 3))
        traffic.run([send(direct, dst="02:00:00:12:34:56", size=200, count=1)])
        frame = sniffer.recv(256)
    words = [int.from_bytes(frame[i : i + 2], "big") for i in range(14, 34, 2)]
    total = sum(words)
    assert (total & 0xFFFF) + (total >> 16) == 0xFFFF  # RFC 1071
    assert words[1] == len(frame) - 14 == 186
    assert frame[30:34] == bytes([10, 0x12, 0x34, 0x56])


def test_phases_have_their_own_counts(direct: Site) -> None:
    outcome = traffic.run(
        [send(direct, rate="2000@0.2+500@0.2", count=0, extra={"skip": 10})], [receive(direct)]
    )
    sender = outcome.sender()
    first, second = sender["phases"]
    assert (first["rate"], second["rate"]) == (2000, 500)
    assert first["offered"] + second["offered"] == sender["offered"]
    assert first["lost"] + second["lost"] == sender["lost"] == sender["skipped"] > 0
    assert 0 <= second["last_lost_after"] <= second["seconds"]


def test_stages_run_one_after_the_other(direct: Site) -> None:
    outcome = traffic.run(
        [send(direct, count=50), send(direct, stream=2, stage=1, count=50)], [receive(direct, 1, 2)]
    )
    assert outcome.received(1)["unique"] == outcome.received(2)["unique"] == 50
    assert [sender["stage"] for sender in outcome.report["senders"]] == [0, 1]


def test_a_generator_that_cannot_keep_up_says_so(direct: Site) -> None:
    outcome = traffic.run([send(direct, rate=50_000_000, count=0, seconds=0.05, burst=64)], [receive(direct)])
    assert "generator" in outcome.limits
    assert outcome.sender()["short"]


def test_a_time_line_adds_up(direct: Site) -> None:
    sink = traffic.Sink(direct.outer_space, "ext", (1,), interval=10, ring=4)
    outcome = traffic.run([send(direct)], [sink])
    assert sum(outcome.report["sinks"][0]["intervals"]) == 200


def test_percentiles_are_in_order(direct: Site) -> None:
    latency = traffic.run([send(direct)], [receive(direct)]).received()["latency_us"]
    ranks = [latency[name] for name in ("min", "p10", "p50", "p90", "p99", "p99_9", "max")]
    assert ranks == sorted(ranks)
    assert latency["n"] == 200
    assert 0 < latency["min"] <= latency["mean"] <= latency["max"]


def test_a_known_delay_is_never_undercut() -> None:
    """A relay holds frames for 2 ms: nothing may arrive sooner."""
    with Site() as site:
        site.add_trunk()
        site.add_guest_veths()
        relay = site.spawn([build.program("floor"), "--delay-us", "2000", "link:port0", "link:trunk"])
        relay.wait_until(lambda: "ready" in relay.log.read_text(), "the relay")
        site.wait_ready()
        outcome = traffic.run([send(site, rate=200, count=40)], [receive(site)])
    latency = outcome.received()["latency_us"]
    assert latency["n"] == 40
    assert latency["min"] >= 2000


def test_burned_cycles_are_reported_as_burned() -> None:
    outcome = traffic.burn(1_000_000, 100, 0.2)
    assert outcome.report["cycles"] >= 1_000_000 * outcome.report["times"] > 0


def test_the_tool_refuses_nonsense(direct: Site) -> None:
    cases = [
        (["run"], "nothing to do"),
        (["run", "--send", "dev=g0,colour=red"], "colour=red"),
        (["run", "--send", "rate=5"], "dev is missing"),
        (["run", "--send", "dev=g0,size=20"], "size=20"),
        (["run", "--send", "dev=g0,dst=02:00"], "dst=02:00"),
        (["run", "--send", "dev=g0,tag=5000"], "tag=5000"),
        (["run", "--send", "dev=g0", "--send", "dev=g0"], "two senders have stream=0"),
        (["run", "--send", "dev"], "has no value"),
        (["run", "--frobnicate", "1"], "not known"),
        (["run", "--sink"], "needs a value"),
        (["run", "--sink", "dev=g0,way=none"], "way=none"),
    ]
    for words, complaint in cases:
        done = subprocess.run([build.program("traffic"), *words], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, ""), words
        assert complaint in done.stderr, words
    for words, complaint in [
        (["run", "--send", "dev=nosuch"], "no device nosuch"),
        (["run", "--sink", "dev=g0,netns=nowhere"], "network namespace nowhere"),
        (["run", "--send", "dev=lo,queue=gso,dst=02:00:00:00:00:01*2"], "one size and one pair"),
    ]:
        done = subprocess.run([build.program("traffic"), *words], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert complaint in done.stderr


def test_the_tool_stands_on_its_own(direct: Site) -> None:
    """As a person starts it: help, a run, and what a run with a mistake says."""

    def bench(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "bench", "traffic", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    helped = bench("--help")
    assert (helped.returncode, helped.stderr) == (0, "")
    assert "--send, where:" in helped.stdout
    run = bench("run", "--send", send(direct).arguments(), "--sink", receive(direct, 1).arguments())
    assert run.returncode == 0
    assert json.loads(run.stdout)["sinks"][0]["frames"] == 200
    wrong = bench("run", "--send", "dev=g0,size=2")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "size=2" in wrong.stderr


def test_frames_that_do_not_fit_are_an_error(direct: Site) -> None:
    with pytest.raises(BenchError, match="traffic on g0: Message too long"):
        traffic.run([send(direct, size=2000)], [receive(direct)])


def test_an_interrupted_run_reports_what_was_sent(direct: Site) -> None:
    words = [
        "run",
        "--send",
        send(direct, count=0, seconds=30).arguments(),
        "--sink",
        receive(direct).arguments(),
    ]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        tool = subprocess.Popen(
            [build.program("traffic"), *words, "--events", str(theirs.fileno())],
            stdout=subprocess.PIPE,
            pass_fds=[theirs.fileno()],
        )
        ours.settimeout(10.0)
        assert ours.recv(16) == b"start\n"
        ours.send(b".")
        tool.send_signal(signal.SIGINT)
        assert ours.recv(16) == b"end\n"
        ours.send(b".")
        report = json.loads(tool.communicate(timeout=10)[0])
    assert report["interrupted"] is True
    assert report["senders"][0]["offered"] == report["sinks"][0]["frames"]


def test_a_sink_alone_runs_until_it_is_stopped(direct: Site) -> None:
    tool = subprocess.Popen(
        [build.program("traffic"), "run", "--sink", receive(direct).arguments()], stdout=subprocess.PIPE
    )
    try:
        waiting = f"/proc/{tool.pid}/task"
        net.wait_until(lambda: len(net.run("ls", waiting).split()) == 2, "the sink to listen")
        traffic.run([send(direct)])
        tool.send_signal(signal.SIGTERM)
        report = json.loads(tool.communicate(timeout=10)[0])
    finally:
        tool.kill()
        tool.wait()
    assert report["sinks"][0]["frames"] == 200


def test_a_vlan_ends_where_it_should(direct: Site) -> None:
    """One end tags and the other does not: silence. Both: replies, and the tag is on the wire."""

    def ping() -> bool:
        net.ip(direct.guest_space, "neighbour", "flush", "dev", "g0")
        words = ("ping", "-c", "1", "-W", "1", "-q", OUTER_ADDRESS)
        return "1 received" in net.run("sh", "-c", '"$@" || true', "sh", *words, namespace=direct.guest_space)

    try:
        with direct.addressed(tagged=True):
            assert not ping()
            with (
                terminated(direct.guest_space, "g0", direct.vid),
                net.inside(direct.outer_space, open_packets) as sniffer,
            ):
                sniffer.bind(("ext", 3))
                sniffer.setsockopt(263, 8, 1)  # PACKET_AUXDATA: the kernel keeps the tag beside the bytes
                assert ping()
                _, auxiliary, _, _ = sniffer.recvmsg(128, 128)
                status, tci = (
                    int.from_bytes(auxiliary[0][2][:4], "little"),
                    int.from_bytes(auxiliary[0][2][16:18], "little"),
                )
                assert status & 0x10
                assert tci == direct.vid
        with direct.addressed(tagged=False):
            assert ping()
    except SkippedError as error:
        pytest.skip(str(error))
    assert GUEST_ADDRESS not in net.ip(direct.guest_space, "address")


def test_sites_with_the_same_wish_do_not_meet() -> None:
    before = net.leftovers()
    with Site(Wish(n_guests=2)) as one, Site(Wish(n_guests=2)) as other:
        assert not {one.guest_space, one.bridge_space, one.outer_space} & {
            other.guest_space,
            other.bridge_space,
        }
        one.add_guest_veths()
        assert one.guests == ["g0", "g1"]
        assert net.device_exists(one.guest_space, "g1")
        assert not net.device_exists(other.guest_space, "g1")
    assert net.leftovers() == before


def test_what_a_killed_run_left_is_swept() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    name = f"{net.PREFIX}-{gone.pid}-0-guest"
    net.run("ip", "netns", "add", name)
    directory = Path(tempfile.gettempdir(), f"{net.PREFIX}-{gone.pid}-abc")
    directory.mkdir()
    assert {name, directory.name} <= set(net.sweep())
    assert not (net.netns.NETNS_DIR / name).exists()
    assert not directory.exists()
