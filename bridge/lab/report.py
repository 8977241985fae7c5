"""The measurement of the lab as text for people. Pure."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from bridge.lab.measure import PINGS, STREAMS
from bridge.lab.topology import VLAN
from bridge.render import bill as cost_text
from bridge.render import table as render


def report(result: Mapping[str, Any]) -> str:
    """Tell people what was measured."""
    ping, tcp_, check = result["ping"], result["tcp"], result["conservation"]
    termination = {"8021q": "a kernel VLAN interface", "framebridge": "a second framebridge (no 8021q here)"}
    lines = [f"external VLAN {VLAN} ends in {termination[result['termination']]}", ""]
    for name, what in PINGS.items():
        row = ping[name]
        rtt = "no reply" if row["rtt_mean_ms"] is None else f"{row['rtt_mean_ms']:.3f} ms"
        lines.append(f"{what:<24} {row['received']}/{row['sent']} replies, mean {rtt}")
    lines += [f"{what:<24} {tcp_[name]:.2f} Gb/s" for name, what in STREAMS.items()]
    blocks = cost_text.choose_blocks(sys.stdout.encoding)
    columns = ("port", "rx_frames", "rx_segments", "tx_frames", "tx_segments", "rx_drops", "tx_drops")
    for title, table in (
        ("frames by port", render.table(result["ports"], columns)),
        ("forwarding information base", render.to_text(result["fdb"], "fdb")),
        ("drops", render.to_text(result["drops"], "drops") or "none"),
        ("the bill by stage", cost_text.show_text(result["cost"], "stage", blocks)),
        ("the bill by class of frames", cost_text.show_text(result["cost_by_class"], "class", blocks)),
        ("the bill by talker", cost_text.show_text(result["cost_by_talker"], "talker", blocks)),
        ("the data thread", cost_text.summary_text([result["cost_summary"]])),
    ):
        lines += ["", f"-- {title}", table]
    verdict = "holds" if check["holds"] else "IS VIOLATED"
    lines += [
        "",
        f"conservation {verdict}: {check['received_and_copied']} received and copied,"
        f" {check['sent_and_dropped']} sent and dropped",
        f"{result['frames']} frames at {result['cycles_per_frame']} busy cycles each;"
        f" they stand for {result['wire_frames']} wire frames at {result['cycles_per_wire_frame']}",
    ]
    return "\n".join(lines)
