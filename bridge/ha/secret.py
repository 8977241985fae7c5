"""The secret of a pair, from its file: whoever can read it can open and close the gates of both members.

Job: read `pair.secret_file`, and make the key of beacons of it. Refuses, as ConfigError: what is no regular file,
belongs to somebody else or may be read by others, is too short to be a secret, or too long to be one that was meant.
"""

from __future__ import annotations

import hashlib
import os
import stat

from bridge.errors import ConfigError, Problem

SHORTEST, LONGEST = 16, 4096  # bytes


def read_secret(path: str) -> bytes:
    """Give the key that both members derive from the contents of the file; white space around them does not count."""
    try:
        # NONBLOCK: a FIFO would keep the daemon waiting.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise _refusal(
            f"{path} cannot be read: {error.strerror}; write a secret of both members there"
        ) from None
    try:
        _check_access(path, os.fstat(fd))
        contents = os.read(fd, LONGEST + 1).strip()
    finally:
        os.close(fd)
    if len(contents) > LONGEST:
        raise _refusal(f"{path} has more than {LONGEST} bytes, which is no secret; name another file")
    if len(contents) < SHORTEST:
        raise _refusal(
            f"{path} has {len(contents)} bytes; a secret has at least {SHORTEST}: "
            f"`head -c 32 /dev/urandom | base64 > {path}`, and copy the file to the other member"
        )
    return hashlib.blake2s(contents, person=b"fb pair").digest()


def _check_access(path: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _refusal(f"{path} is no regular file; write the secret into one")
    if status.st_uid not in (0, os.geteuid()):
        raise _refusal(f"{path} belongs to user {status.st_uid}, who could change it; `chown root {path}`")
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        mode = stat.S_IMODE(status.st_mode)
        raise _refusal(f"{path} has mode {mode:04o}: others may read or write it; `chmod 0600 {path}`")


def _refusal(message: str) -> ConfigError:
    return ConfigError([Problem("pair.secret_file", message)])
