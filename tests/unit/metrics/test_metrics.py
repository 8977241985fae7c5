"""Metrics: names, HELP texts and values come from the data plane's tables; series are bounded and never go back."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.metrics import STATE, samples, value
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from bridge.account.window import Amount, ChargeKey
from bridge.core._core import (
    CLASSES,
    DROP_REASONS,
    HISTOGRAM_BOUNDS,
    HISTOGRAMS,
    PORT_COUNTERS,
    STAGES,
    THREAD_COUNTERS,
)
from bridge.metrics.bounded import Shown
from bridge.metrics.exposition import Exposition
from bridge.metrics.families import families
from bridge.metrics.state import State

DOCS = Path(__file__).parents[3] / "docs"


def page(state: State = STATE) -> bytes:
    return Exposition().write(state)[1]


def test_every_declared_name_is_a_metric_with_its_sentence() -> None:
    text = page().decode()
    for prefix, table in (("port", PORT_COUNTERS), ("thread", THREAD_COUNTERS)):
        for name, sentence in table:
            help_text = re.search(rf"^# HELP framebridge_{prefix}_{name}_total (.*)$", text, re.MULTILINE)
            assert help_text, name
            assert sentence.lower() in help_text[1].lower()
    for metric, table in (
        ("port_drops", DROP_REASONS),
        ("stage_cycles", STAGES),
        ("class_cycles", CLASSES),
        ("class_frames", CLASSES),
    ):
        help_text = re.search(rf"^# HELP framebridge_{metric}_total (.*)$", text, re.MULTILINE)
        assert help_text
        assert all(f"{name}: {sentence}" in help_text[1] for name, sentence in table)


def test_values_and_labels() -> None:
    found = samples(page())
    assert value(found, "build_info", bridge="dmz", version="1.2.3") == 1
    assert value(found, "port_info", port="guests", device="tap0", kind="tap", mode="access") == 1
    assert value(found, "port_rx_frames_total", port="guests") == 7
    assert value(found, "port_rx_frames_total", port="uplink") == 0
    assert value(found, "port_drops_total", port="guests", direction="rx", reason="runt") == 2
    assert value(found, "port_drops_total", port="guests", direction="tx", reason="tx_full") == 1
    assert value(found, "port_drops_total", port="guests", direction="tx", reason="runt") == 0
    assert (value(found, "port_up", port="guests"), value(found, "port_up", port="uplink")) == (1, 0)
    assert (value(found, "port_present", port="guests"), value(found, "port_present", port="uplink")) == (
        1,
        0,
    )
    assert value(found, "port_mtu_bytes", port="uplink") == 9000
    assert value(found, "port_fdb_entries", port="guests") == 3
    assert (value(found, "fdb_entries"), value(found, "fdb_entries_limit")) == (3, 64)
    assert value(found, "stage_cycles_total", stage=STAGES[2][0]) == 2000


def test_what_is_out_of_order() -> None:
    """Ports that are blocked, limits that are spent, mirrors that do not copy."""
    found = samples(page())
    assert [value(found, "port_blocked", port=name) for name in ("guests", "uplink")] == [0, 1]
    assert value(found, "budget_over", budget="noisy", unit="frames") == 0
    assert value(found, "budget_spent_total", budget="noisy", unit="frames") == 100
    assert len([name for name, _ in found if name == "framebridge_budget_over"]) == 1
    limit = {"port": "guests", "flood": "unknown", "unit": "frames"}
    assert value(found, "storm_over", **limit) == 1
    assert value(found, "storm_over_times_total", **limit) == 2
    assert value(found, "storm_dropped_frames_total", **limit) == 5
    assert [value(found, "mirror_up", mirror=name) for name in ("why", "ids")] == [1, 0]
    assert value(found, "mirror_copies_total", mirror="why") == 10
    assert value(found, "mirror_lost_total", mirror="why") == 3
    assert value(found, "mirror_over_rate_total", mirror="why") == 4


def test_the_bill() -> None:
    found = samples(page())
    assert value(found, "class_cycles_total", **{"class": "broadcast", "part": "induced"}) == 5000
    assert value(found, "class_segments_total", **{"class": "known_unicast"}) == 300
    assert value(found, "class_frames_total", **{"class": "arp_nd"}) == 0
    assert value(found, "port_charged_cycles_total", port="guests", part="direct") == 1000
    assert value(found, "vlan_cycles_total", vlan="10", part="direct") == 21000
    assert value(found, "vlan_frames_total", vlan="none") == 1
    assert value(found, "vlan_frames_total", vlan="other") == 0
    assert value(found, "talker_bytes_total", vlan="10", mac="02:00:00:00:00:02") == 9000
    assert not [key for key in found if ("mac", "02:00:00:00:00:01") in key[1]]  # one talker is wanted
    assert value(found, "clock_hertz") == 2.5e9
    assert value(found, "thread_cpu_seconds_total") == 1.5
    assert not [name for name, _ in found if "steal" in name]  # this kernel does not tell


def test_classes_and_what_is_uncharged_add_up_to_the_busy_stages() -> None:
    found = samples(page())
    stages = sum(value(found, "stage_cycles_total", stage=name) for name, _ in STAGES[3:])
    charged = sum(number for (name, _), number in found.items() if name == "framebridge_class_cycles_total")
    assert charged + value(found, "uncharged_cycles") == stages


@pytest.mark.parametrize("name", [name for name, _ in HISTOGRAMS])
def test_a_bucket_counts_what_is_at_most_its_end(name: str) -> None:
    counts = STATE.bill.histograms[name]
    found = {
        dict(labels)["le"]: number
        for (metric, labels), number in samples(page()).items()
        if metric == f"framebridge_{name}_bucket"
    }
    assert found.pop("+Inf") == sum(counts)
    assert len(found) >= 10
    for end, number in found.items():
        assert int(float(end)) + 1 in HISTOGRAM_BOUNDS  # no bucket of the core is cut
        assert number == sum(
            count for count, bound in zip(counts, HISTOGRAM_BOUNDS, strict=True) if bound <= float(end)
        )


def test_series_are_bounded() -> None:
    ports = {f"p{number}": STATE.ports["guests"] for number in range(256)}
    many = {
        ChargeKey(port, vid, "broadcast"): Amount(vid, 0, 1, 1, 60, 1)
        for port in ports
        for vid in range(1, 4095, 40)
    }
    talkers = {(10, mac): ("p0", Amount(mac, 0, 1, 1, 60, 1)) for mac in range(2, 20002)}
    state = replace(
        STATE,
        ports=ports,
        tallies=dict.fromkeys(ports, STATE.tallies["guests"]),
        bill=replace(STATE.bill, charges=many, talkers=talkers),
        limits=replace(STATE.limits, vlans=20, talkers=50),
    )
    found = samples(page(state))
    assert len({labels for name, labels in found if name == "framebridge_vlan_frames_total"}) == 20 + 1
    assert len({labels for name, labels in found if name == "framebridge_talker_frames_total"}) == 50
    assert value(found, "talker_frames_total", vlan="10", mac="00:00:00:00:4e:21") == 1  # the dearest


def test_both_formats_say_the_same() -> None:
    content_type, text = Exposition().write(STATE, openmetrics=True)
    assert content_type.startswith("application/openmetrics-text")
    found = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.name.startswith("framebridge_")
    }
    assert found == {
        key: value for key, value in samples(page()).items() if key[0].startswith("framebridge_")
    }


def test_the_metrics_every_process_has() -> None:
    assert ("process_resident_memory_bytes", frozenset()) in samples(page())


def test_names_follow_the_conventions() -> None:
    for family in families(STATE, Shown()):
        assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", family.name), family.name
        assert family.kind in ("counter", "gauge", "info", "histogram")
        assert family.help.endswith("."), family.name
        assert not family.name.endswith(("_total", "_info"))


def test_promtool_finds_nothing_to_complain_about() -> None:
    promtool = shutil.which("promtool")
    if not promtool:
        pytest.skip("no promtool here: apt-get install prometheus")
    done = subprocess.run([promtool, "check", "metrics"], input=page(), capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_name_from_outside_cannot_break_the_page() -> None:
    ports = {"guests": replace(STATE.ports["guests"], device='a"b\\c\nd')}
    found = samples(page(replace(STATE, ports=ports)))
    assert value(found, "port_info", port="guests", device='a"b\\c\nd', kind="tap", mode="access") == 1


def test_the_documentation_is_up_to_date() -> None:
    generator = runpy.run_path(str(DOCS / "metrics.py"))
    assert (DOCS / "metrics.md").read_text() == generator["page"](), "run `make docs`"
