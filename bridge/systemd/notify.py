"""Words to the service manager: sd_notify(3) in one datagram each, without libsystemd.

Job: tell systemd (Type=notify) what the daemon is doing, and keep its watchdog fed. Thread: control.
Without NOTIFY_SOCKET in the environment every call does nothing. A manager that does not listen never harms
the daemon: failures are logged at debug level and a send waits at most SEND_SECONDS.
Refuses: vsock addresses (they are for a manager outside the machine).
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections.abc import Mapping

SEND_SECONDS = 0.5

logger = logging.getLogger(__package__)


class Notifier:
    """The sending end. `watchdog`: seconds within which the manager wants a sign of life, or None."""

    def __init__(self, address: str = "", watchdog: float | None = None) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.watchdog = watchdog

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Notifier:
        """Read NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID as systemd sets them."""
        address = environ.get("NOTIFY_SOCKET", "")
        if address and address[0] not in "/@":
            logger.warning("NOTIFY_SOCKET=%s is neither a path nor an abstract name: not used", address)
            address = ""
        return cls(address, _watchdog_seconds(environ) if address else None)

    def ready(self, status: str) -> None:
        """Tell that startup or a reload is over."""
        self._send(READY=1, STATUS=status)

    def reloading(self) -> None:
        """Tell that a reload begins, which `ready` ends. Type=notify-reload wants MONOTONIC_USEC."""
        self._send(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000)

    def stopping(self) -> None:
        """Tell that the daemon is on its way out."""
        self._send(STOPPING=1)

    def status(self, status: str) -> None:
        """Give one line for `systemctl status`."""
        self._send(STATUS=status)

    def feed_watchdog(self) -> None:
        """Tell that the data thread moves."""
        self._send(WATCHDOG=1)

    def _send(self, **fields: object) -> None:
        if not self._address:
            return
        # A newline would start another assignment.
        text = "\n".join(f"{key}={str(value).replace(chr(10), ' ')}" for key, value in fields.items())
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.settimeout(SEND_SECONDS)
            try:
                sender.sendto(text.encode(errors="replace"), self._address)
            except OSError as error:
                logger.debug("the service manager was not told %r: %s", text, error)


def _watchdog_seconds(environ: Mapping[str, str]) -> float | None:
    """Seconds of the watchdog if it is meant for this process, as sd_watchdog_enabled(3) decides it."""
    with contextlib.suppress(ValueError):
        seconds = int(environ.get("WATCHDOG_USEC", "")) / 1e6
        if seconds > 0 and int(environ.get("WATCHDOG_PID") or os.getpid()) == os.getpid():
            return seconds
    return None
