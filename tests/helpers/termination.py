"""Where a VLAN ends outside: an untagged device `eth0.10` over a trunk device, on any kernel.

Kernels of small virtual machines have no 8021q, but tc and eBPF. A veth pair in one namespace is the device
and its inner end; what the device sends arrives at the inner end, gets its tag and goes out by the trunk
device; what arrives there with that tag loses it and goes to the device. Checksums and super-frames pass as
they do through a kernel VLAN interface, and sniffers on the trunk device see the tags. With the offloads of
the inner end switched off, whatever arrives is cut and its checksums are finished before the device gets it,
so that the stack behind the device checks them for real.
Sources: bpf(2), include/uapi/linux/bpf.h (helpers, struct __sk_buff), tc-bpf(8).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from bridge.lab.netns import find_index
from helpers.frames import TPID_Q, tci
from helpers.net import Namespace, Net, capability

BPF_PROG_LOAD = 5
BPF_PROG_TYPE_SCHED_CLS = 3
BPF_NUMBERS = {"x86_64": 321, "aarch64": 280, "s390x": 351}  # of the system call
TC_ACT_UNSPEC = -1
VLAN_TCI_AT = 24  # offsetof(struct __sk_buff, vlan_tci)
VLAN_PUSH, VLAN_POP, REDIRECT = 18, 19, 23
MOV, MOV_REGISTER, LOAD_WORD, AND, JUMP_UNEQUAL, CALL, EXIT = 0xB7, 0xBF, 0x61, 0x57, 0x55, 0x85, 0x95

_libc = ctypes.CDLL(None, use_errno=True)


def instruction(code: int, dst: int = 0, value: int = 0, *, src: int = 0, offset: int = 0) -> bytes:
    """struct bpf_insn."""
    registers = dst | src << 4 if sys.byteorder == "little" else dst << 4 | src
    return struct.pack("=BBhi", code, registers, offset, value)


def redirect_to(index: int) -> bytes:
    """return bpf_redirect(index, 0)."""
    call = instruction(CALL, value=REDIRECT)
    return instruction(MOV, 1, index) + instruction(MOV, 2, 0) + call + instruction(EXIT)


def push_program(vid: int, pcp: int, index: int, tpid: int) -> bytes:
    """if vid: bpf_skb_vlan_push(skb, htons(tpid), tci); then out by device `index`."""
    if not vid:
        return redirect_to(index)
    swapped = int.from_bytes(tpid.to_bytes(2, "big"), sys.byteorder)
    arguments = instruction(MOV, 2, swapped) + instruction(MOV, 3, tci(vid, pcp))
    return arguments + instruction(CALL, value=VLAN_PUSH) + redirect_to(index)


def pop_program(vid: int, index: int) -> bytes:
    """if (skb->vlan_tci & 0xfff) == vid: if vid: bpf_skb_vlan_pop(skb); out by device `index`; else: pass."""
    found = (instruction(CALL, value=VLAN_POP) if vid else b"") + redirect_to(index)
    return (
        instruction(MOV_REGISTER, 6, src=1)
        + instruction(LOAD_WORD, 2, src=6, offset=VLAN_TCI_AT)
        + instruction(AND, 2, 0xFFF)
        + instruction(JUMP_UNEQUAL, 2, vid, offset=len(found) // 8)
        + found
        + instruction(MOV, 0, TC_ACT_UNSPEC)
        + instruction(EXIT)
    )


def load(program: bytes) -> int:
    """Load a classifier; returns its descriptor."""
    code, licence = ctypes.create_string_buffer(program), ctypes.create_string_buffer(b"GPL")
    head = (BPF_PROG_TYPE_SCHED_CLS, len(program) // 8, ctypes.addressof(code), ctypes.addressof(licence))
    attributes = struct.pack("=IIQQIIQII16s", *head, 0, 0, 0, 0, 0, b"vlan_end")
    buffer = ctypes.create_string_buffer(attributes, 128)
    number = BPF_NUMBERS[platform.machine()]
    fd = int(_libc.syscall(number, BPF_PROG_LOAD, ctypes.byref(buffer), len(buffer)))
    if fd < 0:
        raise OSError(ctypes.get_errno(), "bpf: " + os.strerror(ctypes.get_errno()))
    return fd


def classify(space: Namespace, device: str, program: bytes, priority: int) -> None:
    """Run a program on every frame that arrives at a device."""

    def attach(ipr: IPRoute) -> None:
        index = find_index(ipr, device)
        try:
            ipr.tc("add", "clsact", index)
        except NetlinkError as error:
            if error.code != errno.EEXIST:
                raise OSError(error.code, str(error)) from error
        fd = load(program)
        try:
            options = {"name": "vlan", "parent": "ffff:fff2", "direct_action": True, "classid": 1}
            ipr.tc("add-filter", "bpf", index, f":{priority}", fd=fd, prio=priority, **options)
        finally:
            os.close(fd)

    space.netlink(attach)


def inner_end(device: str) -> str:
    """The inner end of a device made by `end_vlan`."""
    trunk, _, vid = device.rpartition(".")
    return f"{trunk}-{vid}"


def end_vlan(
    net: Net, space: Namespace, trunk: str, vid: int, *, pcp: int = 0, mtu: int = 1500, tpid: int = TPID_Q
) -> str:
    """End VLAN `vid` (0: untagged) of a trunk device in a device of its own; returns its name.

    It goes with the test.
    """
    device = f"{trunk}.{vid}"
    inner = inner_end(device)
    net.veth(device, inner, space, space, mtu=mtu)
    index = {name: int((space.link(name) or {})["index"]) for name in (trunk, inner)}
    with capability("VLAN termination by tc and eBPF"):
        classify(space, inner, push_program(vid, pcp, index[trunk], tpid), 1)
        classify(space, trunk, pop_program(vid, index[inner]), vid or 4095)
    return device
