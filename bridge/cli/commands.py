"""What `framebridge` can do: COMMANDS, in the order of its help.

Each command turns the words after it into a call of the daemon or of another module, and shows what came back.
Invariant: nothing here, nor what is imported here, imports the data plane, pyroute2 or asyncio at the top, so that
commands that only talk to a daemon start fast; what a command needs beyond the client it imports itself.
"""

from __future__ import annotations

from bridge.cli import cost, fdb, life, mdb, mirror, offload, pair, port, trace

COMMANDS = (
    *life.BEGIN,
    *port.COMMANDS,
    *fdb.COMMANDS,
    *mdb.COMMANDS,
    *mirror.COMMANDS,
    *offload.COMMANDS,
    *trace.COMMANDS,
    *pair.COMMANDS,
    *cost.COMMANDS,
    *life.CONFIG,
    *life.LOOK,
)
