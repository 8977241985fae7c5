"""A root file system of a handful of files, as the archive a Linux kernel unpacks at boot.

Format: cpio "newc", see Documentation/driver-api/early-userspace/buffer-format.rst of the kernel.
"""

from __future__ import annotations

import stat
from pathlib import Path

MAGIC = "070701"
TRAILER = "TRAILER!!!"


def member(number: int, name: str, mode: int, data: bytes = b"") -> bytes:
    """One file: header of 13 hexadecimal fields, name, data, each part filled up to four bytes."""
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = MAGIC + "".join(f"{field:08x}" for field in fields) + name + "\0"
    return fill(head.encode()) + fill(data)


def fill(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def archive(programs: dict[str, bytes]) -> bytes:
    """Executable files by path, and the directories above them."""
    directories = {str(parent) for path in programs for parent in Path(path).parents} - {"."}
    parts = [(path, stat.S_IFDIR | 0o755, b"") for path in sorted(directories)]
    parts += [(path, stat.S_IFREG | 0o755, data) for path, data in programs.items()]
    members = [member(number, *part) for number, part in enumerate(parts, 1)]
    return b"".join([*members, member(0, TRAILER, 0)])
