"""A directory whose files nobody gets open: what a dead NFS server or a broken disk is to a program.

fanotify(7): whoever opens a file under a FAN_OPEN_PERM mark sleeps in open(2) until the listener answers, here when the
block ends and the listener is closed. Needs CAP_SYS_ADMIN and CONFIG_FANOTIFY_ACCESS_PERMISSIONS.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

# include/uapi/linux/fanotify.h
FAN_CLOEXEC, FAN_NONBLOCK, FAN_CLASS_CONTENT = 1, 2, 4
FAN_MARK_ADD = 1
FAN_OPEN_PERM, FAN_EVENT_ON_CHILD = 0x00010000, 0x08000000
AT_FDCWD = -100

libc = ctypes.CDLL(None, use_errno=True)


class Stuck:
    """Who waits for a file of a directory."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def has_victim(self) -> bool:
        """Whether somebody is waiting."""
        return bool(select.select([self._fd], [], [], 0)[0])


@contextlib.contextmanager
def stuck(directory: Path) -> Iterator[Stuck]:
    """Keep whoever opens a file of the directory waiting; at the end of the block they get it."""
    fd = libc.fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC | FAN_NONBLOCK, os.O_RDONLY)
    if fd < 0:
        pytest.skip(f"no fanotify: {os.strerror(ctypes.get_errno())}")
    try:
        mask = ctypes.c_uint64(FAN_OPEN_PERM | FAN_EVENT_ON_CHILD)
        if libc.fanotify_mark(fd, FAN_MARK_ADD, mask, AT_FDCWD, os.fsencode(directory)):
            pytest.skip(f"no fanotify permissions: {os.strerror(ctypes.get_errno())}")
        yield Stuck(fd)
    finally:
        os.close(fd)
