"""What `framebridge` can do: VERBS, in the order of its help.

Each verb turns the words after it into a call of the daemon or of another module, and shows what came back.
Invariant: nothing here, nor what is imported here, imports the data plane, pyroute2 or asyncio at the top, so that
verbs that only talk to a daemon start fast; what a verb needs beyond the client it imports itself.
"""

from __future__ import annotations

from bridge.cli import cost as verbs_cost
from bridge.cli import fdb as verbs_fdb
from bridge.cli import life as verbs_life
from bridge.cli import mirror as verbs_mirror
from bridge.cli import offload as verbs_offload
from bridge.cli import port as verbs_port

VERBS = (
    *verbs_life.BEGIN,
    *verbs_port.VERBS,
    *verbs_fdb.VERBS,
    *verbs_mirror.VERBS,
    *verbs_offload.VERBS,
    *verbs_cost.VERBS,
    *verbs_life.LOOK,
)
