"""Where a VLAN ends on the outer device: the IP stack behind it sees untagged frames.

A kernel with 8021q would use a VLAN device; kernels without it (the ones of small virtual machines) have tc
and eBPF more often. Two programs of four instructions do the same: on egress push the tag, on ingress pop
it; checksums and super-frames pass as they do through a VLAN device. Frames sent by the traffic tool bypass
tc, and its sink looks before tc does, so raw tests see the tag as ever. One mechanism for every kernel, so
that numbers of two machines compare. Sources: bpf(2), include/uapi/linux/bpf.h (BPF_FUNC_skb_vlan_push 18,
BPF_FUNC_skb_vlan_pop 19), tc-bpf(8).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Iterator

from bench.errors import SkippedError

from . import net

BPF_PROG_LOAD = 5
BPF_PROG_TYPE_SCHED_CLS = 3
TC_ACT_OK = 0
FUNC_VLAN_PUSH, FUNC_VLAN_POP = 18, 19
TPID_8021Q = 0x8100
BPF_NUMBERS = {"x86_64": 321, "aarch64": 280, "s390x": 351}  # of the system call

_libc = ctypes.CDLL(None, use_errno=True)


def instruction(code: int, dst: int = 0, src: int = 0, value: int = 0) -> bytes:
    """Encode struct bpf_insn with offset 0."""
    registers = dst | src << 4 if sys.byteorder == "little" else dst << 4 | src
    return struct.pack("=BBhi", code, registers, 0, value)


def htons(value: int) -> int:
    """Network order, as the helper wants the TPID."""
    return int.from_bytes(value.to_bytes(2, "big"), sys.byteorder)


MOV, CALL, EXIT = 0xB7, 0x85, 0x95
END = instruction(MOV, 0, 0, TC_ACT_OK) + instruction(EXIT)


def push_program(vid: int) -> bytes:
    """skb_vlan_push(skb, htons(0x8100), vid); r1 is the skb already."""
    return (
        instruction(MOV, 2, 0, htons(TPID_8021Q))
        + instruction(MOV, 3, 0, vid)
        + instruction(CALL, 0, 0, FUNC_VLAN_PUSH)
        + END
    )


def pop_program() -> bytes:
    """skb_vlan_pop(skb)."""
    return instruction(CALL, 0, 0, FUNC_VLAN_POP) + END


def load(program: bytes) -> int:
    """Load a classifier program; returns its descriptor. SkippedError if this kernel cannot."""
    number = BPF_NUMBERS.get(platform.machine())
    if number is None:
        raise SkippedError(f"no number of bpf(2) known for {platform.machine()}")
    code, licence = ctypes.create_string_buffer(program), ctypes.create_string_buffer(b"GPL")
    attributes = struct.pack(
        "=IIQQIIQII16s",
        BPF_PROG_TYPE_SCHED_CLS,
        len(program) // 8,
        ctypes.addressof(code),
        ctypes.addressof(licence),
        0,
        0,
        0,
        0,
        0,
        b"fb_vlan",
    )
    buffer = ctypes.create_string_buffer(attributes, 128)
    fd = int(_libc.syscall(number, BPF_PROG_LOAD, ctypes.byref(buffer), len(buffer)))
    if fd < 0:
        code_number = ctypes.get_errno()
        raise SkippedError(f"this kernel takes no eBPF classifier: {os.strerror(code_number)}")
    return fd


@contextlib.contextmanager
def terminated(space: str, device: str, vid: int) -> Iterator[None]:
    """End VLAN `vid` on a device for the time of the context."""
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    programs = {"egress": push_program(vid), "ingress": pop_program()}

    def attach() -> None:
        with IPRoute() as ipr:
            index = next(iter(ipr.link_lookup(ifname=device)))
            ipr.tc("add", "clsact", index)
            for way, program in programs.items():
                fd = load(program)
                try:
                    parent = "ffff:fff3" if way == "egress" else "ffff:fff2"
                    ipr.tc(
                        "add-filter",
                        "bpf",
                        index,
                        ":1",
                        fd=fd,
                        name=f"vlan-{way}",
                        parent=parent,
                        direct_action=True,
                        flags=1,
                        classid=1,
                    )
                finally:
                    os.close(fd)

    def detach() -> None:
        with IPRoute() as ipr:
            for index in ipr.link_lookup(ifname=device):
                ipr.tc("del", "clsact", index)

    try:
        net.inside(space, attach)
    except NetlinkError as error:
        name = errno.errorcode.get(error.code, str(error.code))
        raise SkippedError(
            f"this kernel has no tc clsact with eBPF ({name}), needed to end a VLAN on {device}"
        ) from error
    try:
        yield
    finally:
        with contextlib.suppress(NetlinkError, OSError):
            net.inside(space, detach)
