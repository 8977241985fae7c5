"""Privileges: a daemon of a user of its own with exactly the capabilities it needs, and what it says without one."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from helpers import daemon as daemons
from helpers.daemon import COMMAND, Daemon, document, link, run_command, tap
from helpers.daemon import port as table
from helpers.net import Namespace, Net, wait_until

ROOT = Path(__file__).parents[2]
NOBODY = 65534
BASIC = ("net_admin", "net_raw")
DELIVERED = bytes.fromhex("ffffffffffff 020000000001 9000") + bytes(46)

pytestmark = pytest.mark.smoke


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that nobody may write, with the checkout beneath it for those who enter a `mounted` namespace."""
    with tempfile.TemporaryDirectory(prefix="fb-") as path:
        Path(path).chmod(0o777)
        (Path(path) / "checkout").mkdir(mode=0o755)
        yield Path(path)


def nobody(public: Path, capabilities: Sequence[str], *words: str) -> list[str]:
    """`framebridge run` as nobody with exactly these capabilities; the checkout may lie where nobody may look."""
    held = ",".join(["-all", *(f"+{name}" for name in capabilities)])
    place, tun = public / "checkout", public / "tun"
    if not tun.exists():  # as udev makes it; here it may have another mode
        os.mknod(tun, stat.S_IFCHR | 0o666, Path("/dev/net/tun").stat().st_rdev)
        tun.chmod(0o666)
    script = f'mount --bind {ROOT} {place} && mount --bind {tun} /dev/net/tun && cd {place} && exec "$@"'
    drop = ("--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups")
    sets = (f"--inh-caps={held}", f"--ambient-caps={held}", f"--bounding-set={held}")
    run = (COMMAND[0].replace(str(ROOT), str(place)), *COMMAND[1:], "run", *words)
    return ["unshare", "--mount", "sh", "-c", script, "sh", "setpriv", *drop, *sets, *run]


@contextlib.contextmanager
def running(
    space: Namespace, public: Path, command: Sequence[str], *ports: str, **bridge: str
) -> Iterator[Daemon]:
    socket = public / "d.sock"
    with daemons.daemon(public, space, document(socket, *ports, **bridge), socket, command=command) as one:
        yield one
        one.finish()


def statuses(pid: int) -> dict[str, dict[str, str]]:
    """What the kernel says of each thread, by its name."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it ended meanwhile
            lines = (task / "status").read_text().splitlines()
            fields = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
            found[f"{fields['Name']} {task.name}"] = fields
    return found


def crosses(net: Net, sender: Namespace, receiver: Namespace) -> None:
    """A frame from eth0 of one namespace arrives at eth0 of the other."""
    inside, outside = net.packet_socket("eth0", sender), net.packet_socket("eth0", receiver)
    outside.send(DELIVERED)
    inside.wait_for(lambda frame: frame.data[:14] == DELIVERED[:14])


def test_nobody_with_two_capabilities_runs_a_bridge(net: Net, public: Path) -> None:
    middle, left, right = net.namespace(), net.namespace(), net.namespace()
    net.veth("eth1", "eth0", middle, left)
    net.veth("eth2", "eth0", middle, right)
    ports = (link("a", "eth1", access=10), link("b", "eth2", access=10), table("t", "tap", "tap0", access=10))

    with running(middle, public, nobody(public, BASIC), *ports) as bridge:
        for name in "ab":
            bridge.wait_state(name, "up")
        crosses(net, left, right)
        facts = bridge.rows("facts")[0]
        assert (
            facts.items() >= {"user": "nobody", "data_thread_capabilities": [], "no_new_privs": True}.items()
        )
        assert facts["capabilities"] == ["CAP_NET_ADMIN", "CAP_NET_RAW"]

        middle.delete_link("eth1")
        bridge.wait_state("a", "missing")
        net.veth("eth1", "eth0", middle, left)
        bridge.wait_state("a", "up")  # opened with what is kept, after the start
        crosses(net, left, right)

        threads = statuses(bridge.pid)
    data = next(fields for name, fields in threads.items() if int(fields["CapEff"], 16) == 0)
    assert int(data["CapPrm"], 16) == 0
    for fields in threads.values():
        assert int(fields["CapEff"], 16) & ~(1 << 12 | 1 << 13) == 0
        assert (fields["NoNewPrivs"], fields["Uid"].split()[0]) == ("1", str(NOBODY))


@pytest.mark.parametrize(
    ("held", "kind", "device", "lacking"),
    [
        (("net_admin",), "link", "eth1", "the capability CAP_NET_RAW"),
        (("net_raw",), "tap", "tap0", "the capability CAP_NET_ADMIN"),
        ((), "tap", "tap0", "the capabilities CAP_NET_ADMIN and CAP_NET_RAW"),
    ],
    ids=["no raw", "no admin", "none"],
)
def test_the_capability_that_is_missing_is_named(
    net: Net, public: Path, held: Sequence[str], kind: str, device: str, lacking: str
) -> None:
    middle, guest = net.namespace(), net.namespace()
    net.veth("eth1", "eth0", middle, guest)
    file = public / "d.toml"
    file.write_text(document(public / "d.sock", table("a", kind, device, access=10)))

    status, out, err = run_command(str(file), space=middle, command=nobody(public, held))

    assert (status, out) == (1, "")
    assert f"; framebridge lacks {lacking}: start it as root or as the unit" in err


def test_root_gives_up_what_the_file_does_not_ask_for(net: Net, public: Path) -> None:
    middle, guest = net.namespace(), net.namespace()

    with running(middle, public, (*COMMAND, "run"), table("t", "tap", "tap0", access=10)) as bridge:
        held = bridge.rows("facts")[0]["capabilities"]
        said = bridge.refused(
            "port", "add", "g", "kind", "tap", "device", "t0", "netns", str(guest.name), "access", "10"
        )
        threads = statuses(bridge.pid)

    assert held == ["CAP_DAC_READ_SEARCH", "CAP_NET_ADMIN", "CAP_NET_RAW"]
    assert (
        "lacks the capability CAP_SYS_ADMIN: start it with a configuration that has a `netns`, or with"
        in said
    )
    kept = 1 << 2 | 1 << 12 | 1 << 13
    assert {fields["CapBnd"] for fields in threads.values()} == {f"{kept:016x}"}


@pytest.mark.parametrize("words", [("--keep", "netns"), ()], ids=["kept", "asked for"])
def test_what_is_kept_or_asked_for_serves_later_changes(net: Net, public: Path, words: Sequence[str]) -> None:
    middle, guest = net.namespace(), net.namespace()
    ports = [table("t", "tap", "tap0", access=10)] + ([] if words else [tap("u", guest, "u0", access=10)])

    with running(middle, public, (*COMMAND, "run", *words), *ports) as bridge:
        bridge.rows(
            "port", "add", "g", "kind", "tap", "device", "t0", "netns", str(guest.name), "access", "10"
        )

        assert "CAP_SYS_ADMIN" in bridge.rows("facts")[0]["capabilities"]
        wait_until(lambda: guest.link("t0"), "the tap of the guest")


def test_the_offload_takes_one_capability_more(net: Net, public: Path) -> None:
    if not (ROOT / "bridge/offload/unicast.bpf.o").exists():
        pytest.skip("built without clang and libbpf-dev")
    middle, left, right = net.namespace(), net.namespace(), net.namespace()
    net.veth("eth1", "eth0", middle, left)
    net.veth("eth2", "eth0", middle, right)
    ports = (link("a", "eth1", access=10), link("b", "eth2", access=10))

    with running(middle, public, nobody(public, (*BASIC, "bpf")), *ports, offload="auto") as bridge:
        facts = bridge.rows("facts")[0]
        assert (facts["offload_state"], facts["capabilities"]) == (
            "on",
            ["CAP_BPF", "CAP_NET_ADMIN", "CAP_NET_RAW"],
        )
        crosses(net, left, right)

    with running(middle, public, nobody(public, BASIC), *ports, offload="auto") as bridge:
        bridge.wait_log("no offload to the kernel.*lacks the capability CAP_BPF")
        crosses(net, left, right)


def test_words_to_keep_are_checked(public: Path) -> None:
    status, _, err = run_command("run", "--keep", "everything", str(public / "x.toml"))

    assert status == 2
    assert "--keep takes words of netns, offload, with commas between, not 'everything'" in err
