"""`framebridge trace` over real devices: what it says of a frame is what the frame then does."""

from __future__ import annotations

import pytest
from helpers import frames
from helpers.lan import Lan

pytestmark = pytest.mark.root


@pytest.mark.smoke
def test_a_frame_does_what_was_foretold(lan: Lan) -> None:
    data = frames.ethernet(frames.BROADCAST, frames.host(1))
    rows = lan.bridge.rows("trace", "a", "hex", data.hex())
    told = {row["port"]: bytes.fromhex(row["frame"]) for row in rows if row["outcome"] == "sent"}
    assert told == {"b": data, "uplink": data[:12] + frames.tag(10) + data[12:]}
    assert lan.bridge.ask("FdbShow") == []

    wires = {name: lan.wire(name) for name in ("b", "outside")}
    lan.wire("a").send(data)
    wires["b"].wait_for(lambda got: (got.data, got.tag) == (told["b"], None))
    wires["outside"].wait_for(lambda got: (got.data, got.tag) == (data, (0x8100, 10)))
    lan.bridge.wait(lambda: lan.bridge.ask("FdbShow"), "the station to be learned")

    again = lan.bridge.cli(
        "trace", "uplink", "02:00:00:00:00:07", "to", "02:00:00:00:00:01", "vlan", "10"
    ).out
    assert "02:00:00:00:00:01 is behind port a (dynamic)" in again
    assert "sent: 60 bytes, untagged (port[a].vlan, line" in again
    lan.bridge.check_books()


def test_a_vlan_that_the_trunk_lacks_is_named_with_its_line(lan: Lan) -> None:
    out = lan.bridge.cli("trace", "uplink", "02:00:00:00:00:07", "to", "ff:ff:ff:ff:ff:ff", "vlan", "77").out
    line = int(out.split("line ")[1].split(")")[0])
    assert "VID not carried by the trunk" in out
    assert lan.bridge.file.read_text().splitlines()[line - 1].startswith("vlan")
