"""What a test process leaves when it is killed: its namespaces, and the programs in them.

    python reaper.py PREFIX        waits until its stdin ends, that is, until whoever started it is gone

Job: a process of its own that outlives the tests, for SIGKILL (of the process, or by xdist, which gives a worker ten
seconds) asks nobody. It hears no signal that is meant for the session, and finds nothing to do after a session that
ended as it should.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[2]
DEAF = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def begin(prefix: str) -> IO[bytes]:
    """Start one for the namespaces of this process; it works when what this returns is closed, by whatever."""
    process: subprocess.Popen[Any] = subprocess.Popen(
        [sys.executable, "-SP", __file__, prefix],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        start_new_session=True,
    )
    assert process.stdin
    process.returncode = 0  # it ends after us: nobody waits for it
    return process.stdin


def wait_and_remove(prefix: str) -> None:
    for number in DEAF:
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    from bridge.lab import netns  # only when it is needed: it takes a while to load

    for path in netns.NETNS_DIR.glob(f"{prefix}-*"):
        netns.remove(path.name, with_programs=True)


if __name__ == "__main__":
    wait_and_remove(sys.argv[1])
