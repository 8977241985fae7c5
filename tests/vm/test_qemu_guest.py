"""A real guest: QEMU owns the tap, our bridge attaches it as a `link` port, and a VLAN connects it to the outside.

The guest is Debian's kernel with a busybox and the modules of a virtio NIC in memory, emulated. It says on its console
how far it got; then it serves.
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from helpers.daemon import Daemon, link
from helpers.hosts import Host, host
from helpers.net import Net
from helpers.termination import end_vlan

from vm.initramfs import archive

pytestmark = [pytest.mark.root, pytest.mark.timeout(600)]

KERNELS = Path(__file__).parents[2] / "build" / "vm" / "linux"
QEMU = "qemu-system-x86_64"
BUSYBOX = "/bin/busybox"
NIC = "kernel/drivers/net/virtio_net.ko", "kernel/drivers/virtio/virtio_pci.ko"
SIZE = 4 << 20
BOOT_SECONDS = 240.0

INIT = """\
#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /bin /www
/bin/busybox --install /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
for module in {modules}; do insmod /modules/$module; done
echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6
while ! ip link set eth0 up; do usleep 100000; done
ip addr add {own}/24 dev eth0
ping -c 3 -W 10 {far} && echo guest: pinged
wget -q -O /www/file http://{far}:8000/file && echo guest: fetched $(sha256sum < /www/file)
httpd -h /www && echo guest: serves
while true; do sleep 1000; done
"""


@pytest.fixture
def kernel() -> Path:
    """The kernel that `make test-vm` unpacks."""
    images = sorted((KERNELS / "boot").glob("vmlinuz-*"))
    if os.environ.get("FRAMEBRIDGE_VM"):
        pytest.skip("a guest inside an emulated machine takes minutes to boot; it runs on the host")
    for what, where in ((QEMU, shutil.which(QEMU)), (BUSYBOX, shutil.which(BUSYBOX)), ("a kernel", images)):
        if not where:
            pytest.skip(f"{what} is not here (make test-vm gets it)")
    return images[-1]


def modules(kernel: Path) -> list[Path]:
    """The modules of the NIC in the order in which they can be loaded."""
    root = KERNELS / "lib" / "modules" / kernel.name.removeprefix("vmlinuz-")
    needs = dict(line.split(":", 1) for line in (root / "modules.dep").read_text().splitlines())
    order: list[str] = []
    for module in NIC:
        order += [name for name in [*reversed(needs[module].split()), module] if name not in order]
    return [root / name for name in order]


def write_initramfs(path: Path, kernel: Path, own: str, far: str) -> None:
    files = modules(kernel)
    names = " ".join(file.name for file in files)
    programs = {"bin/busybox": Path(BUSYBOX).read_bytes()}
    programs |= {f"modules/{file.name}": file.read_bytes() for file in files}
    programs["init"] = INIT.format(modules=names, own=own, far=far).encode()
    path.write_bytes(archive(programs))


@pytest.fixture
def served(directory: Path) -> Iterator[Callable[[Host], bytes]]:
    """`served(host)` serves a file at port 8000 of a host; returns its content."""
    servers = []

    def serve(far: Host) -> bytes:
        content = os.urandom(SIZE)
        (directory / "file").write_bytes(content)
        handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(directory))
        server = far.space.run(http.server.ThreadingHTTPServer, (far.ip, 8000), handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return content

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_guest_of_qemu(
    net: Net,
    start: Callable[..., Daemon],
    kernel: Path,
    directory: Path,
    served: Callable[[Host], bytes],
) -> None:
    middle, outside = net.namespace(), net.namespace()
    net.veth("eth1", "eth0", middle, outside)
    far = host(outside, end_vlan(net, outside, "eth0", 10), 10, 9)
    content = served(far)
    guest = Host(middle, "tap0", 10, 1)
    write_initramfs(directory / "root.cpio", kernel, guest.ip, far.ip)
    machine = ["-M", "q35", "-cpu", "qemu64", "-m", "256", "-display", "none", "-no-reboot", "-nodefaults"]
    files = ["-kernel", str(kernel), "-initrd", str(directory / "root.cpio"), "-serial", "stdio"]
    files += ["-append", "console=ttyS0 panic=-1 quiet mitigations=off"]
    nic = ["-netdev", "tap,id=n,ifname=tap0,script=no,downscript=no", "-device", "virtio-net-pci,netdev=n"]
    qemu = net.program([QEMU, *machine, *files, *nic], middle)
    qemu.wait_ready(lambda: middle.link("tap0"), "QEMU to make its tap")
    middle.set_link("tap0", state="up")
    bridge = start(middle, link("guest", "tap0", access=10), link("uplink", "eth1", trunk=[10]))
    bridge.wait_state("guest", "up")

    qemu.wait_output("guest: pinged", BOOT_SECONDS)
    digest = qemu.wait_output(r"guest: fetched (\w+)", BOOT_SECONDS)[1]
    assert digest == hashlib.sha256(content).hexdigest()
    qemu.wait_output("guest: serves", BOOT_SECONDS)
    back = outside.run(lambda: urlopen(f"http://{guest.ip}/file", timeout=60).read())
    assert back == content
    assert far.ping(guest) == (3, 3)

    assert far.csum_errors() == {}
    assert {(vid, port) for (vid, _mac), (port, _state) in bridge.fdb().items()} == {
        (10, "guest"),
        (10, "uplink"),
    }
    assert not re.search(r"Kernel panic", qemu.output)
