"""Commands of the offload: what the kernel forwards, and why it does not."""

from __future__ import annotations

from bridge.cli.command import Command, query
from bridge.cli.grammar import Grammar

COMMANDS = (
    Command(
        "offload show",
        "[PORT]",
        "what the kernel forwards by itself, and what it leaves to userspace",
        query("OffloadShow", "offload", Grammar(option="port")),
        """\
Ports are `open` where the kernel may forward known unicast, `partly open` where it may for frames that come in, or for
those that leave, `closed` for now, `off` without programs. `live` are stations of the FDB the kernel uses, `waiting`
those it takes over as soon as userspace is done with their last frames. `left` are frames that went to userspace.
""",
    ),
    Command(
        "offload left",
        "[PORT]",
        "frames that programs left to userspace, by port and reason",
        query("OffloadLeft", "offload_left", Grammar(option="port"), empty="none"),
    ),
    Command(
        "offload check",
        "[PORT]",
        "why frames of ports are left to userspace",
        query(
            "OffloadCheck",
            "offload_check",
            Grammar(option="port"),
            empty="the kernel may forward for all ports",
        ),
    ),
)
