"""The programs of csrc/offload/unicast.bpf.c in the kernel: loaded, attached to ports, and gone again.

Job: `Programs` makes the maps that the data plane and all programs share; `PortProgram` is one port's share of them,
with the port as a constant. Which frames may pass is no matter of this file (bridge.offload.policy).
Thread: control; `attach` and `detach` in the thread of the device's namespace, for a number of a device means something
there only.

Attaching. Linux 6.6 has tcx, which ends with our descriptor, so nothing is left when the process is killed. Before
that a clsact filter stays behind. For a link that does no harm: without our packet socket there is no decision to
obey. For a tap the filter is `tap_gate`, which calls the program through a map that is ours: when the process ends, it
is emptied (kernel/bpf/arraymap.c:prog_array_map_clear), and every frame passes. Leftovers are replaced when a port is
attached again.

Refuses, as OffloadError with the way out: whatever the library, the object or the kernel lacks.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import socket
import struct
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from bridge.core._core import OFFLOAD_MAPS, Bridge, OffloadMaps
from bridge.offload.libbpf import Libbpf, Map, Object, OffloadError, attach_tcx

OBJECT = Path(__file__).with_name("unicast.bpf.o")
SO_ATTACH_BPF = 50  # include/uapi/asm-generic/socket.h; the same on x86, arm64 and s390x
COUNTING_MAPS = ("rows", "passes", "drops")
WAYS = 4  # slots of a bucket: csrc/offload/fdb_entry.h

CLSACT = 0xFFFF_0000  # TC_H_CLSACT; include/uapi/linux/pkt_sched.h
INGRESS, EGRESS = 0xFFFF_FFF2, 0xFFFF_FFF3  # parents of its filters
PRIORITY = 1
HANDLE = 1
ETH_P_ALL = 0x0003


class Programs:
    """What one bridge has in the kernel: maps, and an object to load programs from."""

    def __init__(self, core: Bridge) -> None:
        """Make the maps and move the FDB of `core` into them."""
        if not OBJECT.exists():
            raise OffloadError(
                "framebridge was built without it: install clang and libbpf-dev, and build it again"
            )
        self._library = Libbpf()
        self._slots, *self._secret = core.fdb_hash
        self._magic = secrets.randbits(32) | 1
        self._maps = self._make_maps()
        try:
            self.shared = OffloadMaps([self._maps[name].fd for name in OFFLOAD_MAPS], self._slots)
            core.share(self.shared)
        except BaseException:
            self._close_maps()
            raise

    @property
    def counting(self) -> dict[str, Map]:
        """The maps that programs count in."""
        return {name: self._maps[name] for name in COUNTING_MAPS}

    @property
    def cpus(self) -> int:
        """Parts of a value for each CPU."""
        return self._library.cpus

    def close(self, core: Bridge) -> None:
        """Move the FDB back; every PortProgram has been closed."""
        core.share(None)
        self._close_maps()

    def _make_maps(self) -> dict[str, Map]:
        made = Object(self._library, OBJECT)
        try:
            made.resize({"table": self._slots // WAYS, "states": self._slots})
            made.choose(())
            made.load()
            return {name: made.take_map(name) for name in (*OFFLOAD_MAPS, *COUNTING_MAPS)}
        finally:
            made.close()

    def _close_maps(self) -> None:
        for one in self._maps.values():
            one.close()

    def load(self, index: int, place: str) -> PortProgram:
        """Load what a port needs that is judged at its `socket`, or at the `queue` of its device."""
        names = ("link_filter", "link_in") if place == "socket" else ("tap_out", "tap_gate")
        loaded = Object(self._library, OBJECT)
        try:
            loaded.share(self._maps)
            loaded.set_constants(
                struct.pack("=IIQQI", index, self._slots // WAYS - 1, *self._secret, self._magic)
            )
            loaded.choose(names)
            loaded.load()
        except BaseException:
            loaded.close()
            raise
        return PortProgram(self._library, loaded, is_tap=place == "queue")


class PortProgram:
    """The programs of one port."""

    def __init__(self, library: Libbpf, loaded: Object, *, is_tap: bool) -> None:
        self._library = library
        self._loaded = loaded
        self._is_tap = is_tap
        self._link = -1  # of tcx
        self._gate: Map | None = None
        self.way = ""  # how it is attached: tcx | clsact

    def attach(self, ifindex: int) -> None:
        """Attach to the device, in place of what another process left there; raises OffloadError."""
        remove_leftover(ifindex, egress=self._is_tap)
        program = self._loaded.program("tap_out" if self._is_tap else "link_in")
        try:
            self._link = attach_tcx(self._library, program, ifindex, egress=self._is_tap)
            self.way = "tcx"
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP):
                raise OffloadError(f"the kernel does not attach the program: {error.strerror}") from error
            self._attach_clsact(program, ifindex)

    def _attach_clsact(self, program: int, ifindex: int) -> None:
        if self._is_tap:
            self._gate = self._loaded.take_map("gate")
            place, value = ctypes.c_uint32(0), ctypes.c_int(program)
            self._library.check(
                "bpf_map_update_elem", self._gate.fd, ctypes.byref(place), ctypes.byref(value), 0
            )
            program = self._loaded.program("tap_gate")
        try:
            attach_clsact(program, ifindex, "tap_gate" if self._is_tap else "link_in", egress=self._is_tap)
        except NetlinkError as error:
            raise OffloadError(
                f"the kernel does not attach the program: {os.strerror(error.code)}"
            ) from error
        self.way = "clsact"

    def filter(self, fd: int) -> None:
        """Put the filter on the packet socket of a link, in place of any other; raises OSError."""
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0, fileno=os.dup(fd)) as sock:
            sock.setsockopt(
                socket.SOL_SOCKET, SO_ATTACH_BPF, struct.pack("i", self._loaded.program("link_filter"))
            )

    def detach(self, ifindex: int | None) -> None:
        """Take the program from the device, if that is still there."""
        if self._link >= 0:
            os.close(self._link)
        elif self.way and ifindex is not None:
            remove_leftover(ifindex, egress=self._is_tap)
        if self._gate is not None:
            self._gate.close()
        self._link, self._gate, self.way = -1, None, ""

    def close(self) -> None:
        """Let go of the programs; those that are attached by clsact stay, and do nothing."""
        self.detach(None)
        self._loaded.close()


# -- clsact


def attach_clsact(program: int, ifindex: int, name: str, *, egress: bool) -> None:
    """Attach a program as the one filter of ours; raises NetlinkError."""
    with IPRoute() as ipr:
        try:
            ipr.tc("add", "clsact", ifindex, handle=CLSACT, parent=0xFFFF_FFF1)
        except NetlinkError as error:
            if error.code != errno.EEXIST:
                raise
        ipr.tc(
            "add-filter",
            "bpf",
            ifindex,
            handle=HANDLE,
            fd=program,
            name=name,
            parent=EGRESS if egress else INGRESS,
            prio=PRIORITY,
            protocol=socket.htons(ETH_P_ALL),
            direct_action=True,
        )


def remove_leftover(ifindex: int, *, egress: bool) -> bool:
    """Remove a filter of ours; False: there is none."""
    ours = "tap_gate" if egress else "link_in"
    parent = EGRESS if egress else INGRESS
    with IPRoute() as ipr:
        try:
            found = [
                one
                for one in ipr.get_filters(index=ifindex, parent=parent)
                if (options := one.get_attr("TCA_OPTIONS")) is not None
                and str(options.get_attr("TCA_BPF_NAME") or "").startswith(ours)
            ]
            for one in found:
                ipr.tc("del-filter", "bpf", ifindex, parent=parent, info=one["info"], handle=one["handle"])
        except NetlinkError as error:
            if error.code not in (errno.ENODEV, errno.ENOENT, errno.EINVAL, errno.EOPNOTSUPP):
                raise
            return False
    return bool(found)
