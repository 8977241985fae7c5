"""Write docs/counters.md from the tables of csrc/count/counters.h, as the built extension has them.

`python docs/counters.py` writes the file; a test compares it with what would be written now.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bridge.core import _core

PAGE = Path(__file__).with_name("counters.md")

INTRODUCTION = """\
# Counters

Made by `make docs` from `csrc/count/counters.h`, where each name is declared once with its sentence. What they add up
to, at every moment at which they can be read:

    per port    rx_frames + copies = forwarded + all rx drops
                offered            = tx_frames + all tx drops
    in total    rx_frames + copies = tx_frames + all drops

Frames that never came in stand beside that, by reasons of their own: what the kernel dropped in front of a port while
it was attached. `rx_missed + rx_refused` is their sum, `drops show` lists them with direction `missed`. With them,
`rx_frames + rx_missed + rx_refused` is what a guest sent, as soon as its queue is empty. Frames that a NIC or a driver
lost before the kernel had them are in the statistics of the device only (`ip -s -s link`). Ports that are no more stay
in the totals of both commands; what still waited in their queues when they left is there as `port_down`.

A super-frame (GSO) counts as one frame; `rx_segments` and `tx_segments` tell the wire frames it stands for.
"""

SECTIONS = (
    ("Of a port (`framebridge stats show`)", _core.PORT_COUNTERS),
    ("Why frames end (`framebridge drops show`)", _core.DROP_REASONS),
    ("Why frames never came in (`framebridge drops show`, direction `missed`)", _core.MISSES),
    ("Stages of the data thread, in cycles (`framebridge cost show`)", _core.STAGES),
    ("Of the data thread", _core.THREAD_COUNTERS),
    ("Events to the control thread", _core.EVENTS),
)


def lines() -> Iterator[str]:
    """Yield the page, piece by piece."""
    yield INTRODUCTION
    for title, table in SECTIONS:
        yield f"\n## {title}\n\n| name | meaning |\n|---|---|\n"
        for name, sentence in table:
            yield f"| `{name}` | {sentence} |\n"


def page() -> str:
    """Return the text of docs/counters.md."""
    return "".join(lines())


if __name__ == "__main__":
    PAGE.write_text(page())
