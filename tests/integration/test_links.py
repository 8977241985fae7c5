"""Devices in real namespaces: found, made, changed, removed, watched; and how a refusal reads."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from helpers.aio import story, until
from helpers.net import Namespace, Net, attach_tap, make_name, named
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl.ifinfmsg import tuntap

from bridge import privileges
from bridge.devices import device as module
from bridge.devices.device import Created, Device, DeviceError, explain
from bridge.devices.devices import Devices
from bridge.devices.netlink import set_persist

pytestmark = pytest.mark.root


class Watch(list[tuple[str | None, Device, bool]]):
    """What a watcher was told, in order."""

    def __call__(self, netns: str | None, link: Device, present: bool) -> None:
        self.append((netns, link, present))

    def names(self, netns: str | None) -> list[str]:
        """The story of a namespace: `name` for a link that came or changed, `-name` for one gone."""
        told = [(link.name, present) for where, link, present in self if where == netns]
        return [name if present else f"-{name}" for name, present in told if name != "lo"]

    def last(self, netns: str | None, device: str) -> Device | None:
        """The latest word on a device; None: gone or never seen."""
        for where, link, present in reversed(self):
            if (where, link.name) == (netns, device):
                return link if present else None
        return None


@asynccontextmanager
async def opened(**options: Any) -> AsyncIterator[tuple[Devices, Watch]]:
    links, watch = Devices(interval=0.02, **options), Watch()
    links.watch(watch)
    await links.open()
    try:
        yield links, watch
    finally:
        await links.close()


def own_namespace() -> int:
    return Path("/proc/thread-self/ns/net").stat().st_ino


# -- looking up and making -------------------------------------------------------------------------


@story
async def test_a_missing_device_is_none_and_a_present_one_a_value(net: Net) -> None:
    space = net.namespace()
    net.veth("one", "two", space, space, mtu=1400)
    async with opened() as (links, _):
        assert await links.get("three", space.name) is None
        link = await links.get("one", space.name)
        assert link == Device(link.index if link else 0, "one", 1400, True, True, "veth")
        assert await links.get("one") is None


@story
async def test_an_absent_tap_is_made_with_its_mtu_and_vanishes_with_its_descriptor(net: Net) -> None:
    space = net.namespace()
    async with opened() as (links, watch):
        link, made = await links.ensure_tap("tap0", space.name, 9000)
        assert made
        assert link == Device(link.index, "tap0", 9000, True, False, "tap")  # no carrier: nobody holds it
        again = await links.ensure_tap("tap0", space.name, 1400)
        assert again == Created(Device(link.index, "tap0", 1400, True, False, "tap"), made=False)

        fd = await links.run_in(space.name, attach_tap, "tap0")
        await until(lambda: getattr(watch.last(space.name, "tap0"), "carrier", False), "carrier of tap0")
        set_persist(fd, False)
        os.close(fd)
        await until(lambda: watch.last(space.name, "tap0") is None, "tap0 gone")
        assert space.devices() == {"lo"}


@story
async def test_a_tap_that_may_not_be_made_is_missed(net: Net) -> None:
    space = net.namespace()
    async with opened() as (links, _):
        with pytest.raises(
            DeviceError, match=r"'tap0' in namespace .*No such device; create the device first"
        ):
            await links.ensure_tap("tap0", space.name, create=False)
        assert space.devices() == {"lo"}


@story
async def test_a_tap_with_an_impossible_mtu_is_not_left_behind(net: Net) -> None:
    space = net.namespace()
    async with opened() as (links, _):
        with pytest.raises(
            DeviceError, match=r"device 'tap0' in namespace .*: cannot set the tap up: Invalid"
        ):
            await links.ensure_tap("tap0", space.name, 20)
        assert space.devices() == {"lo"}


@story
async def test_a_veth_is_no_tap(net: Net) -> None:
    space = net.namespace()
    net.veth("one", "two", space, space)
    async with opened() as (links, _):
        with pytest.raises(DeviceError, match='it is no tap but veth; bridge it with kind = "link"'):
            await links.ensure_tap("one", space.name)


@story
async def test_changes_and_removal(net: Net) -> None:
    space = net.namespace()
    net.veth("one", "two", space, space)
    async with opened() as (links, _):
        await links.set_mtu("one", space.name, 1300)
        await links.set_up("one", space.name, up=False)
        link = await links.get("one", space.name)
        assert link is not None
        assert (link.mtu, link.up, link.carrier) == (1300, False, False)
        await links.set_up("one", space.name)
        assert (await links.get("one", space.name)) == Device(link.index, "one", 1300, True, True, "veth")

        assert not await links.delete("one", space.name, index=link.index + 100)  # another device's name now
        assert await links.delete("one", space.name, index=link.index)
        assert not await links.delete("one", space.name)
        assert space.devices() == {"lo"}


@story
async def test_changes_of_a_device_that_vanished(net: Net) -> None:
    space = net.namespace()
    async with opened() as (links, _):
        with pytest.raises(DeviceError, match=r"'gone' in namespace .*: cannot set mtu 1400: No such device"):
            await links.set_mtu("gone", space.name, 1400)
        with pytest.raises(DeviceError, match="cannot set it up: No such device"):
            await links.set_up("gone", space.name)


# -- VLAN interfaces -------------------------------------------------------------------------------


@story
async def test_a_missing_link_without_a_parent_is_missed(net: Net) -> None:
    space = net.namespace()
    net.veth("one", "two", space, space)
    async with opened() as (links, _):
        for device in ("nope", "nope.100", "one.", "one.x", "one.0", "one.4095", ".5"):
            with pytest.raises(DeviceError, match=f"'{device}' in namespace .*No such device"):
                await links.ensure_link(device, space.name)
        assert (await links.ensure_link("one", space.name)).made is False


def has_vlan_interfaces(space: Namespace) -> bool:
    """Whether this kernel makes 802.1Q interfaces (module 8021q)."""

    def probe(ipr: Any) -> bool:
        try:
            ipr.link("add", ifname="probe.1", kind="vlan", link=ipr.link_lookup(ifname="one")[0], vlan_id=1)
        except NetlinkError as error:
            if error.code == errno.EOPNOTSUPP:
                return False
            raise
        ipr.link("del", ifname="probe.1")
        return True

    return space.netlink(probe)


@story
async def test_a_missing_vlan_interface_is_made(net: Net) -> None:
    space = net.namespace()
    net.veth("one", "two", space, space)
    if not has_vlan_interfaces(space):
        pytest.skip("this kernel has no 802.1Q interfaces: Operation not supported")
    async with opened() as (links, _):
        link, made = await links.ensure_link("one.100", space.name)
        assert (link.name, link.kind, link.up, made) == ("one.100", "vlan", True, True)
        assert (await links.ensure_link("one.100", space.name)).made is False
        assert await links.delete("one.100", space.name, link.index)

        await links.set_up("one", space.name, up=False)
        assert (await links.ensure_link("one.7", space.name)).link.up is False  # comes up with its parent
        assert await links.delete("one.7", space.name)


@story
async def test_a_kernel_without_vlan_interfaces_is_told_with_the_way_out(net: Net) -> None:
    space = net.namespace()
    net.veth("one", "two", space, space)
    if has_vlan_interfaces(space):
        pytest.skip("this kernel has 802.1Q interfaces")
    async with opened() as (links, _):
        way = r"a trunk port on 'one' with vlan = { trunk = \[100\] } needs none"
        with pytest.raises(DeviceError, match=f"'one.100' in .*no module 8021q.*{way}"):
            await links.ensure_link("one.100", space.name)
        assert space.devices() == {"lo", "one", "two"}


# -- refusals --------------------------------------------------------------------------------------


@story
async def test_a_missing_namespace_is_told_with_the_command_that_makes_it(net: Net) -> None:
    name = make_name()
    async with opened() as (links, _):
        with pytest.raises(DeviceError, match=f"^namespace '{name}': there is none.*`ip netns add {name}`"):
            await links.get("tap0", name)
        space = net.enter_context(named(name))
        assert await links.get("lo", space.name) is not None


@story
async def test_a_file_that_is_no_namespace(net: Net) -> None:
    net.namespace()  # has /run/netns made
    path = Path("/run/netns", make_name())
    path.touch()
    try:
        async with opened() as (links, _):
            with pytest.raises(
                DeviceError, match=f"namespace '{path.name}': cannot enter it: Invalid argument"
            ):
                await links.get("lo", path.name)
    finally:
        path.unlink()


@story
async def test_a_busy_tap_is_told_by_explain(net: Net) -> None:
    space = net.namespace()
    net.tap("tap0", space)
    async with opened() as (links, _):
        with pytest.raises(OSError, match="busy") as caught:
            await links.run_in(space.name, attach_tap, "tap0")
        message = str(explain(caught.value, "tap0", space.name, "attach to it"))
        assert message == (
            f"device 'tap0' in namespace '{space.name}': cannot attach to it: Device or resource busy; "
            'another program owns it: stop that program, or bridge its tap with kind = "link"'
        )


@story
async def test_a_machine_without_tun(net: Net) -> None:
    space = net.namespace()
    patch = pytest.MonkeyPatch()
    patch.setattr(tuntap, "TUNDEV", "/dev/net/no-such-tun")
    async with opened() as (links, _):
        try:
            with pytest.raises(DeviceError, match="/dev/net/tun is missing: `modprobe tun`"):
                await links.ensure_tap("tap0", space.name)
        finally:
            patch.undo()


@pytest.mark.parametrize("error", [OSError(errno.EPERM, "no"), NetlinkError(errno.EPERM, "no")])
def test_without_privilege_the_capabilities_are_named(
    error: OSError | NetlinkError, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(privileges, "held", frozenset)
    assert str(explain(error, "eth0", None, "set it up")) == (
        "device 'eth0': cannot set it up: Operation not permitted; "
        "framebridge lacks the capabilities CAP_NET_ADMIN and CAP_NET_RAW: "
        "start it as root or as the unit framebridge@.service does"
    )
    monkeypatch.setattr(privileges, "held", lambda: frozenset({"CAP_NET_ADMIN"}))
    assert "lacks the capability CAP_NET_RAW:" in str(explain(error, "eth0", None, "set it up"))
    monkeypatch.setattr(privileges, "held", lambda: privileges.PORTS)
    assert str(explain(error, "eth0", None, "set it up")).endswith(
        "; framebridge holds CAP_NET_ADMIN and CAP_NET_RAW: the container or a security module forbids it"
    )


def test_with_all_capabilities_the_mode_of_the_tun_device_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tun = tmp_path / "tun"
    tun.touch(mode=0o600)
    monkeypatch.setattr(module, "TUN", str(tun))
    monkeypatch.setattr(os, "access", lambda path, mode, effective_ids: path != str(tun))
    error = OSError(errno.EACCES, "no")

    assert str(explain(error, "tap0", None, "set the tap up")) == (
        f"device 'tap0': cannot set the tap up: Permission denied; {tun} has mode 0600: let this user read and "
        f"write it (`chmod 0666 {tun}`, or a udev rule)"
    )
    monkeypatch.setattr(privileges, "held", frozenset)
    assert "lacks the capabilities CAP_NET_ADMIN and CAP_NET_RAW:" in str(
        explain(error, "tap0", None, "set the tap up")
    )


def test_a_process_without_capabilities_is_told_so(net: Net) -> None:
    """A child without privileges: looking is allowed, changing and entering are refused with the way out."""
    space = net.namespace()
    code = f"""
import asyncio, os
from bridge.devices.device import DeviceError
from bridge.devices.devices import Devices
async def main():
    links = Devices()
    await links.open()
    print(await links.get("lo"))
    for attempt in (links.set_mtu("lo", None, 1400), links.get("lo", {space.name!r})):
        try:
            await attempt
        except DeviceError as error:
            print(error)
    await links.close()
os.setgid(65534); os.setuid(65534)
asyncio.run(main())
"""
    child = net.program([sys.executable, "-c", code])
    child.wait_exit()
    assert "Device(index=1, name='lo'" in child.output
    assert "device 'lo': cannot set mtu 1400: Operation not permitted" in child.output
    assert f"namespace '{space.name}': cannot enter it: Operation not permitted" in child.output
    assert child.output.count("framebridge lacks the capabilit") == 2


# -- threads ---------------------------------------------------------------------------------------


@story
async def test_only_the_thread_of_a_namespace_is_in_it(net: Net) -> None:
    space = net.namespace()
    here = own_namespace()
    async with opened() as (links, _):
        inside = await links.run_in(space.name, own_namespace)
        assert inside == Path(f"/run/netns/{space.name}").stat().st_ino != here
        assert await links.run_in(None, own_namespace) == here
        assert await asyncio.to_thread(own_namespace) == here
        assert own_namespace() == here
        assert await links.run_in(space.name, threading.get_ident) == await links.run_in(
            space.name, threading.get_ident
        )


@story
async def test_exceptions_of_a_function_run_inside_pass_unchanged(net: Net) -> None:
    space = net.namespace()
    async with opened() as (links, _):
        with pytest.raises(ZeroDivisionError):
            await links.run_in(space.name, lambda: 1 // 0)
        assert await links.run_in(space.name, lambda: 1) == 1


@story
async def test_nothing_is_left_open(net: Net) -> None:
    space = net.namespace()

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    async def once() -> None:
        async with opened() as (links, _):
            await links.ensure_tap("tap0", space.name)
            await links.delete("tap0", space.name)

    await once()  # what libraries open once and for all
    before, threads = descriptors(), threading.active_count()
    for _ in range(3):
        await once()
    await until(lambda: descriptors() <= before, "descriptors closed")
    assert threading.active_count() <= threads + 3  # workers of asyncio.to_thread stay for reuse
    assert not [thread.name for thread in threading.enumerate() if "netns" in thread.name]


@story
async def test_a_cancelled_request_leaves_no_thread_behind(net: Net) -> None:
    space = net.namespace()
    for rounds in range(12):
        links = Devices()
        request = asyncio.create_task(links.get("lo", space.name))
        for _ in range(rounds):
            await asyncio.sleep(0)
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)
        await links.close()
        assert not [thread.name for thread in threading.enumerate() if "netns" in thread.name]


# -- watching --------------------------------------------------------------------------------------


@story
async def test_links_are_reported_as_they_come_change_and_go(net: Net) -> None:
    space = net.namespace()
    async with opened() as (links, watch):
        await links.get("lo", space.name)
        net.veth("one", "two", space, space)
        await until(lambda: getattr(watch.last(space.name, "one"), "carrier", False), "carrier of one")
        await links.set_up("two", space.name, up=False)
        await until(
            lambda: not getattr(watch.last(space.name, "one"), "carrier", True), "carrier loss of one"
        )
        await links.set_mtu("one", space.name, 1300)
        await until(lambda: getattr(watch.last(space.name, "one"), "mtu", 0) == 1300, "mtu of one")
        await links.delete("one", space.name)
        await until(lambda: watch.names(space.name)[-2:] == ["-one", "-two"], "both ends gone")
        assert all(a != b for a, b in itertools.pairwise(watch))  # never the same news twice


@story
async def test_a_renamed_link_is_news_of_the_same_link(net: Net) -> None:
    space = net.namespace()
    net.veth("one", "two", space, space)
    async with opened() as (links, watch):
        await links.set_up("one", space.name, up=False)
        await until(lambda: not getattr(watch.last(space.name, "two"), "carrier", True), "one down")
        del watch[:]
        space.set_link("one", ifname="new")
        await until(lambda: watch.names(space.name) == ["new"], "the new name")
        await links.delete("new", space.name)


@story
async def test_leaving_a_kernel_bridge_is_not_leaving_the_world(net: Net) -> None:
    space = net.namespace()
    net.veth("one", "two", space, space)
    space.netlink(lambda ipr: ipr.link("add", ifname="br0", kind="bridge"))
    bridge = space.link("br0")
    assert bridge is not None
    async with opened() as (links, watch):
        await links.get("lo", space.name)
        space.set_link("one", master=bridge["index"])
        space.set_link("one", master=0)
        await links.set_mtu("one", space.name, 1300)
        await until(lambda: getattr(watch.last(space.name, "one"), "mtu", 0) == 1300, "mtu of one")
        assert "-one" not in watch.names(space.name)


@story
async def test_a_link_moved_to_another_namespace_goes_here_and_comes_there(net: Net) -> None:
    here, there = net.namespace(), net.namespace()
    net.veth("one", "two", here, here)
    async with opened() as (links, watch):
        await links.get("lo", here.name)
        await links.get("lo", there.name)
        here.set_link("one", net_ns_fd=there.name)
        await until(lambda: watch.last(there.name, "one"), "one there")
        await until(lambda: watch.last(here.name, "one") is None, "one gone here")
        await links.delete("one", there.name)


def test_a_lost_message_costs_a_dump_and_no_truth(net: Net, caplog: pytest.LogCaptureFixture) -> None:
    """A tiny receive buffer and a loop that does not read while 60 links come and 20 go."""
    space = net.namespace()

    def churn(ipr: Any) -> None:
        for number in range(30):
            ipr.link("add", ifname=f"a{number}", kind="veth", peer=f"b{number}")
        for number in range(10):
            ipr.link("del", index=ipr.link_lookup(ifname=f"a{number}")[0])

    async def test() -> None:
        async with opened(rcvbuf=4096) as (links, watch):
            await links.get("lo", space.name)
            space.netlink(churn)  # blocks the loop, on purpose
            await until(lambda: "No buffer space available" in caplog.text, "the loss noticed")
            await until(lambda: watch.last(space.name, "b29"), "the dump after it")
            alive = space.devices() - {"lo"}
            assert alive == {name for name in watch.names(space.name) if watch.last(space.name, name)}
            assert len(alive) == 40

            await links.delete("a29", space.name)  # and watching goes on
            await until(lambda: watch.last(space.name, "b29") is None, "b29 gone")

    asyncio.run(test())


# -- namespaces that end ---------------------------------------------------------------------------


@story
async def test_a_deleted_namespace_is_reported_left_and_found_again(net: Net) -> None:
    space = net.namespace()
    assert space.name is not None
    net.veth("here", "there", Namespace(None), space)
    async with opened() as (links, watch):
        assert await links.get("there", space.name) is not None
        space.remove()
        await until(lambda: watch.last(space.name, "there") is None, "there gone")
        await until(lambda: watch.last(None, "here") is None, "the kernel freed it: the veth pair is gone")
        with pytest.raises(DeviceError, match="there is none of that name"):
            await links.get("there", space.name)

        del watch[:]
        net.enter_context(named(space.name))
        await until(lambda: watch.last(space.name, "lo"), "its return")
        await links.ensure_tap("tap0", space.name)
        await until(lambda: watch.last(space.name, "tap0"), "tap0")


@story
async def test_a_namespace_replaced_at_once_is_another_one(net: Net) -> None:
    space = net.namespace()
    assert space.name is not None
    async with opened() as (links, watch):
        await links.ensure_tap("tap0", space.name)
        space.remove()
        net.enter_context(named(space.name))
        await until(lambda: "-tap0" in watch.names(space.name), "tap0 gone with the old one")
        await until(lambda: watch.last(space.name, "lo"), "the new one entered")
        assert await links.get("tap0", space.name) is None


@story
async def test_a_namespace_no_longer_kept_is_let_go(net: Net) -> None:
    space = net.namespace()
    net.veth("here", "there", Namespace(None), space)
    async with opened() as (links, watch):
        await links.get("there", space.name)
        await links.keep({None})
        del watch[:]
        space.remove()
        await until(lambda: "-here" in watch.names(None), "the kernel freed the namespace")
        assert watch.names(space.name) == []


@story
async def test_closing_twice_is_closing_once(net: Net) -> None:
    links = Devices()
    await links.open()
    await links.close()
    await links.close()
