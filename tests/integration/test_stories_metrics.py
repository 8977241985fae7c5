"""Metrics of a daemon: switched on and off by reload, refused where they must be, monotonous whatever happens."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable

import pytest
from helpers.daemon import Daemon, link, tap
from helpers.hosts import host
from helpers.metrics import Samples, samples, value
from helpers.net import Namespace, Net

from bridge.account.window import NOT_BUSY

pytestmark = pytest.mark.root

ADDRESS = "127.0.0.1:9464"


def metrics(address: str = ADDRESS, **keys: int) -> str:
    more = "".join(f"{key} = {value}\n" for key, value in keys.items())
    return f'[metrics]\naddress = "{address}"\n{more}'


def scrape(space: Namespace, address: str = ADDRESS) -> Samples:
    def fetch() -> bytes:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as page:
            return bytes(page.read())

    return samples(space.run(fetch))


@pytest.fixture
def middle(net: Net) -> Namespace:
    space = net.namespace()
    space.set_link("lo", state="up")
    return space


@pytest.mark.smoke
def test_metrics_agree_with_the_command_and_survive_a_lost_device(
    net: Net, middle: Namespace, start: Callable[..., Daemon]
) -> None:
    inside, outside = net.namespace(), net.namespace()
    net.veth("eth1", "eth0", middle, outside)
    bridge = start(middle, tap("one", inside, access=10), link("far", "eth1", access=10), metrics())
    guest, far = host(inside, "tap0", 10, 1), host(outside, "eth0", 10, 9)
    assert guest.ping(far) == (3, 3)

    before, mac = scrape(middle), far.mac
    row = bridge.stats("far")
    assert 3 <= value(before, "port_rx_frames_total", port="far") <= row["rx_frames"]
    assert value(before, "port_info", port="far", device="eth1", kind="link", mode="access") == 1
    assert value(before, "fdb_entries") == len(bridge.fdb())

    middle.delete_link("eth1")
    bridge.wait_state("far", "missing")

    def tells_of_the_loss() -> Samples | None:  # a page may be half a second old
        found = scrape(middle)
        return found if value(found, "port_present", port="far") == 0 else None

    lost = bridge.wait(tells_of_the_loss, "a page without the device")
    assert value(lost, "port_up", port="far") == 0
    net.veth("eth1", "eth0", middle, outside)
    bridge.wait_state("far", "up")
    outside.set_link("eth0", address=mac)
    assert guest.ping(host(outside, "eth0", 10, 9)) == (3, 3)
    counted = value(before, "port_rx_frames_total", port="far")

    def counts_on() -> Samples | None:
        found = scrape(middle)
        return found if value(found, "port_rx_frames_total", port="far") >= counted + 3 else None

    after = bridge.wait(counts_on, "a page with the frames from before and after")
    assert value(after, "port_present", port="far") == 1
    assert before.keys() == lost.keys() == after.keys()
    check_growth(before, lost)
    check_growth(lost, after)


def test_the_bill_adds_up_and_outlives_its_ports(
    net: Net, middle: Namespace, start: Callable[..., Daemon]
) -> None:
    one, two = net.namespace(), net.namespace()
    bridge = start(middle, tap("one", one, access=10), tap("two", two, access=10), metrics(talkers=5))
    guest, other = host(one, "tap0", 10, 1), host(two, "tap0", 10, 2)
    assert guest.ping(other) == (3, 3)
    mac = guest.mac

    def has_talker() -> Samples | None:  # talkers are sampled once a second
        found = scrape(middle)
        return found if total(found, "talker_frames_total", mac=mac) >= 3 else None

    before = bridge.wait(has_talker, "a page with the guest as a talker")
    check_sum(before)
    assert total(before, "class_frames_total", **{"class": "known_unicast"}) >= 6
    assert total(before, "port_charged_cycles_total") == total(before, "class_cycles_total")
    assert total(before, "vlan_cycles_total") == total(before, "class_cycles_total")
    assert value(before, "batch_frames_bucket", le="+Inf") <= value(before, "thread_batches_total")

    bridge.rows("cost", "clear")
    bridge.rows("port", "del", "two")

    def lacks_port() -> Samples | None:
        found = scrape(middle)
        return found if not total(found, "port_up", port="two") else None

    after = bridge.wait(lacks_port, "a page without the port")
    check_sum(after)
    check_growth(before, after)
    assert not [key for key in after if ("port", "two") in key[1]]


def total(found: Samples, name: str, **labels: str) -> float:
    """The sum of all series of a metric that have these labels."""
    return sum(
        number
        for (metric, have), number in found.items()
        if metric == f"framebridge_{name}" and labels.items() <= dict(have).items()
    )


def check_sum(found: Samples) -> None:
    """What is charged, and what is not yet, are the busy cycles."""
    idle = sum(value(found, "stage_cycles_total", stage=stage) for stage in NOT_BUSY)
    busy = total(found, "stage_cycles_total") - idle
    assert total(found, "class_cycles_total") + value(found, "uncharged_cycles") == busy > 0


def check_growth(earlier: Samples, later: Samples) -> None:
    """No counter that is on both pages went backwards."""
    for key in earlier.keys() & later.keys():
        if key[0].startswith("framebridge_") and key[0].endswith(("_total", "_bucket")):
            assert later[key] >= earlier[key], key


def test_a_reload_switches_them_on_changes_them_and_switches_them_off(
    middle: Namespace, start: Callable[..., Daemon]
) -> None:
    bridge = start(middle, link("lo", "lo", access=10))
    with pytest.raises(OSError, match="refused"):
        scrape(middle)

    def reload(*tables: str) -> list[str]:
        bridge.write(link("lo", "lo", access=10), *tables)
        return [row["text"] for row in bridge.rows("reload")]

    assert reload(metrics()) == ["set metrics 127.0.0.1:9464: address default -> 127.0.0.1:9464"]
    assert value(scrape(middle), "port_up", port="lo") == 1
    assert reload(metrics("127.0.0.1:9465", talkers=3)) == [
        "set metrics 127.0.0.1:9465: address 127.0.0.1:9464 -> 127.0.0.1:9465, talkers 0 -> 3"
    ]
    assert value(scrape(middle, "127.0.0.1:9465"), "port_up", port="lo") == 1
    with pytest.raises(OSError, match="refused"):
        scrape(middle)
    assert reload() == ["set metrics off: address 127.0.0.1:9465 -> default, talkers 3 -> 0"]
    with pytest.raises(OSError, match="refused"):
        scrape(middle, "127.0.0.1:9465")


def test_an_address_that_cannot_be_had_refuses_the_whole_reload(
    middle: Namespace, start: Callable[..., Daemon]
) -> None:
    bridge = start(middle, link("lo", "lo", access=10), metrics())
    bridge.write(link("lo", "lo", access=20), metrics("192.0.2.1:9464"))
    assert bridge.refused("reload") == (
        "framebridge: metrics.address: cannot listen on 192.0.2.1:9464: Cannot assign requested address; "
        "choose an address of this machine and a free port, or remove [metrics]; "
        "the configuration before is in force again\n"
    )
    assert bridge.port("lo")["vlan"] == 10
    assert value(scrape(middle), "port_up", port="lo") == 1
