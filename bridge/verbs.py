"""What `framebridge` can do: VERBS, in the order of its help.

Each verb turns the words after it into a call of the daemon or of another module, and shows what came back.
Invariant: nothing here, nor what is imported here, imports the data plane, pyroute2 or asyncio at the top, so that
verbs that only talk to a daemon start fast; what a verb needs beyond the client it imports itself.
"""

from __future__ import annotations

from bridge import verbs_cost, verbs_fdb, verbs_life, verbs_mirror, verbs_port

VERBS = (
    *verbs_life.BEGIN,
    *verbs_port.VERBS,
    *verbs_fdb.VERBS,
    *verbs_mirror.VERBS,
    *verbs_cost.VERBS,
    *verbs_life.LOOK,
)
