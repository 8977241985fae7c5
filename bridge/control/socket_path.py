"""The path of the control socket: one living daemon per path, and who is at the other end of a connection.

Job: take the path before anything else is touched, make the socket there, give both back. Thread: control.
Invariants: a path is claimed through a lock on a file beside it, which the kernel drops with the process, so
neither a crash nor two daemons started at once confuse it; the socket appears with mode 0660 and already
listening. Refuses: a path that a living daemon holds, or that is not a socket.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bridge.errors import ConfigError, Problem

BACKLOG = 128  # connections that wait to be accepted
PATH_MAX = 107  # bytes of sun_path without its NUL, unix(7)
REMEDY = "run as root, or set bridge.control_socket to a path you may write"
REMEDIES = {  # nothing is wrong with the path, or with who writes
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room in that file system (`df`, `df -i`)"),
    errno.EROFS: "set bridge.control_socket to a path in a file system that can be written",
}
NEW = "~"  # ends the name of a socket that does not listen yet
SO_PEERGROUPS = 59  # include/uapi/asm-generic/socket.h; Python does not name it


class SocketPath:
    """The right to one socket path, taken when made and held until `release`; a context manager."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._lock_path = f"{path}.lock"
        self._listening: os.stat_result | None = None
        self._listener: socket.socket | None = None
        if len(os.fsencode(path + NEW)) > PATH_MAX:
            raise _socket_problem(f"{path} is longer than {PATH_MAX - len(NEW)} bytes; choose a shorter path")
        with _blamed_on(path):
            self._make_directory()
            self._lock = self._take_lock()
        try:
            self._check_path()
        except BaseException:
            self.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    @classmethod
    def taken_over(cls, path: str, lock: int, listener: int) -> Self:
        """Make the right of another process ours, which it gives up without a trace: its lock and its socket."""
        made = cls.__new__(cls)
        made.path, made._lock_path = path, f"{path}.lock"
        made._lock, made._listening = lock, Path(path).lstat()
        made._listener = socket.socket(fileno=listener)
        os.ftruncate(lock, 0)
        os.pwrite(lock, b"%d\n" % os.getpid(), 0)
        return made

    def descriptors(self) -> list[int]:
        """Give the lock and the socket, for another process that takes them over."""
        return [self._lock] if self._listener is None else [self._lock, self._listener.fileno()]

    def give_up(self) -> None:
        """Let go of the path without a trace: it is another process's."""
        if self._lock >= 0:
            os.close(self._lock)
        self._lock, self._listening = -1, None

    def _make_directory(self) -> None:
        with _umask(0o022):
            Path(self.path).parent.mkdir(mode=0o755, parents=True, exist_ok=True)

    def _take_lock(self) -> int:
        # 0600: whoever can open the file can lock it, and so keep a daemon from starting.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        while True:
            lock = os.open(self._lock_path, flags, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_at(os.fstat(lock), self._lock_path):  # not the file of a daemon that just removed it
                    os.ftruncate(lock, 0)
                    os.write(lock, b"%d\n" % os.getpid())
                    return lock
            except BlockingIOError:
                owner = os.read(lock, 20).decode(errors="replace").strip()
                os.close(lock)
                raise _already_running(self.path, owner) from None
            except BaseException:
                os.close(lock)
                raise
            os.close(lock)

    def _check_path(self) -> None:
        """Refuse a path that something else uses; what a dead daemon left there is replaced by `listen`."""
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(os.lstat(self.path).st_mode):
                raise _socket_problem(f"{self.path} is there and no socket; remove it or choose another path")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)  # a listener with a full backlog answers EAGAIN at once: living
            try:
                probe.connect(self.path)
            except (FileNotFoundError, ConnectionRefusedError):
                return
            except BlockingIOError:
                raise _already_running(self.path, "") from None
            except OSError as error:
                raise _cannot_use(self.path, error) from error
            raise _already_running(self.path, str(peer_of(probe).pid))

    def listen(self) -> socket.socket:
        """Make the socket, mode 0660 from its first moment, and put it in its place ready to answer."""
        if self._listener is not None:  # taken over
            return self._listener
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _blamed_on(self.path), _umask(0o117):
                new = Path(self.path + NEW)
                new.unlink(missing_ok=True)
                listener.bind(str(new))
                listener.listen(BACKLOG)
                new.rename(self.path)
                self._listening = Path(self.path).lstat()
        except BaseException:
            listener.close()
            raise
        self._listener = listener
        return listener

    def is_there(self) -> bool:
        """Whether the path leads to our socket, and nobody else can claim it; true while we do not listen."""
        if self._listening is None:
            return True
        return _is_at(self._listening, self.path) and _is_at(os.fstat(self._lock), self._lock_path)

    def listen_again(self) -> socket.socket:
        """Claim the path again and make another socket there; ConfigError: it cannot be, or is another daemon's."""
        with _blamed_on(self.path):
            self._make_directory()
            if not _is_at(os.fstat(self._lock), self._lock_path):
                lock = self._take_lock()
                os.close(self._lock)
                self._lock = lock
        self._check_path_again()
        self._listener = None
        return self.listen()

    def _check_path_again(self) -> None:
        """Refuse to replace what somebody else put there meanwhile."""
        with contextlib.suppress(FileNotFoundError):
            if self._listening is not None and not os.path.samestat(self._listening, os.lstat(self.path)):
                self._check_path()

    def withdraw(self) -> None:
        """Remove the socket, unless it is somebody else's by now; the path stays claimed."""
        if self._listening and _is_at(self._listening, self.path):
            Path(self.path).unlink(missing_ok=True)
        self._listening = None

    def release(self) -> None:
        """Remove what was made, and let the path go; idempotent."""
        if self._lock < 0:
            return
        self.withdraw()
        if _is_at(os.fstat(self._lock), self._lock_path):
            Path(self._lock_path).unlink(missing_ok=True)
        os.close(self._lock)
        self._lock = -1


def _is_at(status: os.stat_result, path: str) -> bool:
    try:
        return os.path.samestat(status, Path(path).lstat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@contextlib.contextmanager
def _blamed_on(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _cannot_use(path, error) from error


def _cannot_use(path: str, error: OSError) -> ConfigError:
    remedy = REMEDIES.get(error.errno or 0, REMEDY)
    return _socket_problem(f"cannot make {path}: {error.strerror or error}; {remedy}")


def _already_running(path: str, pid: str) -> ConfigError:
    owner = f" (pid {pid})" if pid else ""
    return _socket_problem(f"already running{owner}: a daemon holds {path}; stop it or choose another path")


def _socket_problem(message: str) -> ConfigError:
    return ConfigError([Problem("bridge.control_socket", message)])


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end, as the kernel saw it when it connected (unix(7), SO_PEERCRED)."""

    pid: int
    uid: int
    groups: tuple[int, ...]

    @property
    def is_trusted(self) -> bool:
        """Whether the peer is root or this user, who could do all that this process can."""
        return self.uid in (0, os.geteuid())

    def may_change(self, socket_group: int) -> bool:
        """Tell whether the peer is root, this user, or a member of the socket's group."""
        return self.is_trusted or socket_group in self.groups


def peer_of(connection: socket.socket) -> Peer:
    """Read the credentials of a connected peer, supplementary groups included."""
    pid, uid, gid = struct.unpack("iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    groups: tuple[int, ...] = ()
    # It fails for more than 256 groups, and before Linux 4.13: then only the primary group counts.
    with contextlib.suppress(OSError):
        data = connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, 1024)
        groups = struct.unpack(f"{len(data) // 4}I", data)
    return Peer(pid, uid, (gid, *groups))
