"""Where the file of a mirror lies: a directory that is held open, and a name in it.

Job: enter the directory, open and rotate the file there, and let neither a link nor somebody else's file lead the
daemon, which may be root, to where nobody wanted it. Thread: whichever has the recorder.

Theory of operation. A file beneath `mirror_dir` is one that clients of the control socket may name: each directory on
the way is entered from the one before, links are not followed and nothing leads out (openat2(2), RESOLVE_BENEATH and
RESOLVE_NO_SYMLINKS; where the kernel has no such call, one step at a time with O_NOFOLLOW, which comes to the same
because a path has no `..`). Other places stand in the configuration file; its directories may be links, for an
administrator named them. The directory is held open from then on: whoever renames or replaces it moves the file or
nothing. The file itself is opened by its last name in that directory, never through a link.

Refuses, as MirrorError: what is no regular file, files of another user, files with a second name, files of the kernel
(/proc, /sys and the like: they are regular to look at), files that another recorder writes (a lock tells).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import logging
import os
import stat
import struct
from pathlib import Path

from bridge.errors import MirrorError

log = logging.getLogger(__package__)

OPENAT2 = 437  # of every architecture; include/uapi/asm-generic/unistd.h
RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH = 0x02, 0x04, 0x08  # include/uapi/linux/openat2.h
DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
OF_THE_KERNEL = {
    *(
        "autofs",
        "binder",
        "binfmt_misc",
        "bpf",
        "cgroup",
        "cgroup2",
        "configfs",
        "debugfs",
        "devpts",
        "efivarfs",
    ),
    *(
        "fusectl",
        "mqueue",
        "nsfs",
        "proc",
        "pstore",
        "resctrl",
        "securityfs",
        "selinuxfs",
        "smackfs",
        "sysfs",
        "tracefs",
    ),
}
MOUNTS = "/proc/self/mountinfo"


class Place:
    """The place of one file; `beneath` is the directory it may not lead out of, none if it may be anywhere."""

    def __init__(self, path: str, beneath: str = "") -> None:
        self.path = path
        self._beneath = beneath
        self._name = Path(path).name
        self._directory = -1

    def enter(self) -> None:
        """Open the directory; raises MirrorError and OSError."""
        self.leave()
        if not self._beneath:
            self._directory = os.open(Path(self.path).parent, DIRECTORY)
        else:
            Path(self._beneath).mkdir(mode=0o700, parents=True, exist_ok=True)
            way = Path(self.path).parent.relative_to(self._beneath).parts
            base = os.open(self._beneath, DIRECTORY)
            try:
                self._directory = _enter_beneath(base, way)
            except OSError as error:
                if error.errno not in (errno.ELOOP, errno.ENOTDIR, errno.EXDEV):
                    raise
                raise MirrorError(
                    f"{self.path}: a directory on the way from {self._beneath} is a link or none; name the way itself"
                ) from None
            finally:
                os.close(base)
        self._refuse_kernel(self._directory)

    def leave(self) -> None:
        """Let go of the directory. Idempotent."""
        directory, self._directory = self._directory, -1
        if directory >= 0:
            os.close(directory)

    def open(self) -> int:
        """Open the file for writing, made if it is not there; raises MirrorError and OSError."""
        mode = self._mode(self._name)
        if stat.S_ISLNK(mode):
            raise MirrorError(f"{self.path}: is a symbolic link; name the file itself")
        if mode and not stat.S_ISREG(mode):
            raise self._no_file()
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(self._name, flags, 0o600, dir_fd=self._directory)
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise self._no_file()
            self._refuse_kernel(fd)
            if found.st_uid not in (0, os.geteuid()):
                raise MirrorError(
                    f"{self.path}: belongs to user {found.st_uid}; move it away, or name another"
                )
            self._lock(fd)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def empty(self, fd: int, *, replace: bool) -> None:
        """Make the open file ready to be begun; MirrorError if that would harm what is there."""
        found = os.fstat(fd)
        if found.st_size and not replace:
            raise MirrorError(
                f"{self.path}: has {found.st_size} bytes in it; move it away, say replace, or rotate with files"
            )
        if found.st_nlink > 1:
            raise MirrorError(
                f"{self.path}: has {found.st_nlink} names (hard links); move it away, or name another"
            )
        os.ftruncate(fd, 0)

    def shift(self, files: int) -> None:
        """Make room for the next file: FILE becomes FILE.1, and so on; what was the last of `files` is gone."""
        names = [self._name, *(f"{self._name}.{n}" for n in range(1, files))]
        modes = [self._mode(name) for name in names]
        for name, mode in zip(names, modes, strict=True):
            if mode and not stat.S_ISREG(mode):
                path = Path(self.path).with_name(name)
                raise MirrorError(f"{path}: is no regular file, which rotation would move; move it away")
        for older, mode, name in zip(names[-2::-1], modes[-2::-1], names[:0:-1], strict=True):
            if mode:
                os.replace(older, name, src_dir_fd=self._directory, dst_dir_fd=self._directory)

    def _mode(self, name: str) -> int:
        """Type and mode of what has a name here, 0: nothing has."""
        try:
            return os.stat(name, dir_fd=self._directory, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return 0

    def _no_file(self) -> MirrorError:
        return MirrorError(f"{self.path}: is no regular file; name one, or one that does not exist")

    def _refuse_kernel(self, fd: int) -> None:
        kind = _file_system(os.fstat(fd).st_dev)
        if kind in OF_THE_KERNEL:
            raise MirrorError(
                f"{self.path}: is no regular file but one of the kernel ({kind}); name another place"
            )

    def _lock(self, fd: int) -> None:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno == errno.EWOULDBLOCK:
                raise MirrorError(f"{self.path}: a mirror is writing to it; end that one first") from None
            # A file system without locks.
            log.debug("%s: %s; nothing keeps other mirrors away", self.path, error.strerror)


def _enter_beneath(base: int, way: tuple[str, ...]) -> int:
    if not way:
        return os.dup(base)
    try:
        return _openat2(base, "/".join(way))
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM):  # before Linux 5.6, or a filter of system calls
            raise
    return _walk(base, way)


def _openat2(base: int, way: str) -> int:
    """Call openat2(2), which the C library has no function for."""
    how = struct.pack("=QQQ", DIRECTORY, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long
    numbers = [ctypes.c_long(number) for number in (OPENAT2, base)]
    fd = int(
        syscall(*numbers, ctypes.c_char_p(os.fsencode(way)), ctypes.c_char_p(how), ctypes.c_size_t(len(how)))
    )
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), way)
    return fd


def _walk(base: int, way: tuple[str, ...]) -> int:
    """Do what openat2 does one step at a time; none of them is `..`."""
    here = os.dup(base)
    for step in way:
        try:
            inner = os.open(step, DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
        finally:
            os.close(here)
        here = inner
    return here


def _file_system(device: int) -> str:
    """Name the type of a file system, as far as the table of mounts has it."""
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        mounts = Path(MOUNTS).read_text(errors="replace").splitlines()
    except OSError:
        return ""
    for mount in mounts:  # 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw
        fields, _, kind = mount.partition(" - ")
        if fields.split(" ")[2:3] == [number]:
            return kind.split(" ")[0]
    return ""
