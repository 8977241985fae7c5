"""Capabilities of this process: which it holds, which it keeps, and which one is missing where a call was refused.

Job: read and give up, never gain. Capabilities belong to threads, and new ones have those of the thread that makes
them: `restrict` is for a process that has one thread, and `drop_all` for the thread that calls it. Source:
capabilities(7), include/uapi/linux/capability.h; the library calls capget and capset do not know of threads either.
Refuses: nothing; what this process may not give up (a bounding set without CAP_SETPCAP) it keeps.
"""

from __future__ import annotations

import ctypes
import os
import pwd
from collections.abc import Collection, Iterable
from pathlib import Path

NAMES = (
    *("chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap"),
    *(
        "linux_immutable",
        "net_bind_service",
        "net_broadcast",
        "net_admin",
        "net_raw",
        "ipc_lock",
        "ipc_owner",
    ),
    *(
        "sys_module",
        "sys_rawio",
        "sys_chroot",
        "sys_ptrace",
        "sys_pacct",
        "sys_admin",
        "sys_boot",
        "sys_nice",
    ),
    *("sys_resource", "sys_time", "sys_tty_config", "mknod", "lease", "audit_write", "audit_control"),
    *(
        "setfcap",
        "mac_override",
        "mac_admin",
        "syslog",
        "wake_alarm",
        "block_suspend",
        "audit_read",
        "perfmon",
    ),
    *("bpf", "checkpoint_restore"),
)
NUMBERS = {f"CAP_{name.upper()}": number for number, name in enumerate(NAMES)}

PORTS = frozenset({"CAP_NET_ADMIN", "CAP_NET_RAW"})  # taps and netlink; packet sockets
NAMESPACES = frozenset({"CAP_SYS_ADMIN"})  # setns(2)
PROCESSES = frozenset({"CAP_SYS_PTRACE"})  # the namespaces of other processes, as /proc/PID/ns/net
OFFLOAD = frozenset({"CAP_BPF"})  # bpf(2)
LOW_PORTS = frozenset({"CAP_NET_BIND_SERVICE"})  # below 1024

_VERSION_3 = 0x20080522  # _LINUX_CAPABILITY_VERSION_3
_PR_CAPBSET_READ, _PR_CAPBSET_DROP = 23, 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_LOWER = 47, 3

_libc = ctypes.CDLL(None, use_errno=True)


def held(thread: int | str = "self") -> frozenset[str]:
    """Give the effective capabilities of this process, or of a thread of it."""
    return _names(int(_status(thread)["CapEff"], 16))


def missing(needed: Iterable[str]) -> list[str]:
    """Give those that this process does not hold, by name."""
    return sorted(frozenset(needed) - held())


def way_out(needed: Iterable[str]) -> str:
    """Say which capabilities a refused call missed, as the end of a sentence."""
    if lacking := missing(needed):
        noun = "capability" if len(lacking) == 1 else "capabilities"
        return f"; framebridge lacks the {noun} {' and '.join(lacking)}{_how_to_get(lacking)}"
    names = " and ".join(sorted(needed))
    return f"; framebridge holds {names}: the container or a security module forbids it"


def _how_to_get(lacking: Collection[str]) -> str:
    if "CAP_SYS_ADMIN" in lacking and held() >= PORTS:
        return ": start it with a configuration that has a `netns`, or with `run --keep netns`"
    if "CAP_BPF" in lacking and held() >= PORTS:
        return ": start it with `offload` in its configuration, or with `run --keep offload`"
    return ": start it as root or as the unit framebridge@.service does"


def restrict(wanted: Collection[str]) -> frozenset[str]:
    """Give up everything but these, for good, and have no program that is started get any back; gives what is held.

    A process of root's keeps CAP_DAC_READ_SEARCH as well: its code and its file may lie in somebody's home directory.
    """
    keep = frozenset(wanted) & held()
    if os.geteuid() == 0:
        keep |= {"CAP_DAC_READ_SEARCH"} & held()
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    for name, number in NUMBERS.items():
        if name not in keep:
            _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_LOWER, number, 0, 0)
            if _libc.prctl(_PR_CAPBSET_READ, number, 0, 0, 0) == 1:
                _libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)
    _set(keep)
    return held()


def drop_all() -> None:
    """Give up everything in the thread that calls this."""
    _set(frozenset())


def facts(data_thread: int | None) -> dict[str, object]:
    """Say as whom this process runs and what it may; `data_thread`: its number, if there is one."""
    uid = os.geteuid()
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = str(uid)
    return {
        "user": user,
        "capabilities": sorted(held()),
        "data_thread_capabilities": None if data_thread is None else sorted(held(data_thread)),
        "no_new_privs": _status("self")["NoNewPrivs"] == "1",
    }


def _status(thread: int | str) -> dict[str, str]:
    """Read proc_pid_status(5) of a thread."""
    place = "/proc/thread-self/status" if thread == "self" else f"/proc/self/task/{thread}/status"
    lines = Path(place).read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _names(mask: int) -> frozenset[str]:
    known = {name for name, number in NUMBERS.items() if mask >> number & 1}
    unknown = {f"CAP_{number}" for number in range(len(NAMES), mask.bit_length()) if mask >> number & 1}
    return frozenset(known | unknown)


def _set(keep: Collection[str]) -> None:
    """Have these as effective and permitted capabilities of this thread; inheritable ones are at most these."""
    mask = sum(1 << NUMBERS[name] for name in keep)
    inherited = mask & int(_status("self")["CapInh"], 16)
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    words = [word >> shift & 0xFFFFFFFF for shift in (0, 32) for word in (mask, mask, inherited)]
    if _libc.capset(header, (ctypes.c_uint32 * 6)(*words)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"cannot give up capabilities: {os.strerror(code)}")
