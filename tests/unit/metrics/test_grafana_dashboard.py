"""docs/grafana-dashboard.json: every query names metrics and labels that a page of this bridge has, and parses."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.metrics import STATE, samples

from bridge.metrics.exposition import Exposition

DASHBOARD = json.loads((Path(__file__).parents[3] / "docs" / "grafana-dashboard.json").read_text())
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]

SELECTOR = re.compile(r"([a-z_]\w*)\{([^}]*)\}")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
GROUPING = re.compile(r"\bby \(([^)]*)\)")
PROMETHEUS_LABELS = {"instance", "job"}  # what a server adds

LABELS: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))  # metric: label: values
for name, labels in samples(Exposition().write(STATE)[1]):
    for label, content in labels:
        LABELS[name][label].add(content)
    LABELS[name]  # also one without labels

# These are there on some machines only; the page of the tests has no steal time.
NOT_EVERYWHERE = {"framebridge_host_steal_seconds_total"}


def plain(expression: str) -> str:
    """Replace what Grafana fills in."""
    return expression.replace("$__rate_interval", "1m").replace("$instance", "localhost:9464")


def matchers(text: str) -> Iterator[tuple[str, str, str]]:
    rest = MATCHER.sub("", text).replace(",", "").strip()
    assert rest == "", f"not understood: {rest}"
    yield from MATCHER.findall(text)


@pytest.mark.parametrize(("title", "expression"), QUERIES)
def test_a_query_asks_for_what_there_is(title: str, expression: str) -> None:
    found = SELECTOR.findall(expression)
    assert found
    assert {name for name, _ in found} == set(re.findall(r"framebridge_\w+", expression))
    known = set(PROMETHEUS_LABELS)
    for name, text in found:
        assert name in LABELS or name in NOT_EVERYWHERE, f"there is no metric {name}"
        known |= LABELS[name].keys()
        conditions = list(matchers(text))
        assert ("instance", "=", "$instance") in conditions, "the dashboard shows one bridge"
        for label, operator, wanted in conditions:
            if label in PROMETHEUS_LABELS:
                continue
            assert label in LABELS[name], f"{name} has no label {label}"
            for value in wanted.split("|") if "~" in operator else [wanted]:
                assert value in LABELS[name][label], f"{name} has no {label} {value!r}"
    for labels in GROUPING.findall(expression):
        assert {label.strip() for label in labels.split(",")} <= known


@pytest.mark.parametrize(("title", "expression"), QUERIES)
def test_a_counter_is_asked_for_its_rate(title: str, expression: str) -> None:
    for name, text in SELECTOR.findall(expression):
        is_counter = name.endswith(("_total", "_bucket"))
        is_rated = f"rate({name}{{{text}}}[$__rate_interval])" in expression
        assert is_rated == is_counter, name


def test_legends_use_labels_that_the_query_leaves() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            used = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            left = {word.strip() for group in GROUPING.findall(target["expr"]) for word in group.split(",")}
            if not GROUPING.search(target["expr"]):
                left = {label for name, _ in SELECTOR.findall(target["expr"]) for label in LABELS[name]}
            assert used <= left, (panel["title"], target["expr"])


def test_the_list_of_bridges_is_asked_of_a_metric_that_exists() -> None:
    (query,) = [entry for entry in DASHBOARD["templating"]["list"] if entry["name"] == "instance"]
    name, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", query["query"]["query"]).groups()  # type: ignore[union-attr]
    assert name in LABELS
    assert label in PROMETHEUS_LABELS
    assert query["definition"] == query["query"]["query"]


def test_what_the_dashboard_is_to_show_is_there() -> None:
    asked = " ".join(expression for _, expression in QUERIES)
    for metric in (
        *("stage_cycles", "class_cycles", "port_charged_cycles", "vlan_cycles", "talker_cycles"),
        *("port_drops", "host_steal_seconds", "thread_cpu_seconds"),
    ):
        assert f"framebridge_{metric}_total" in asked
    assert "framebridge_fdb_entries{" in asked


def test_panels_do_not_overlap_and_have_their_own_numbers() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(numbers) == len(set(numbers))


def test_prometheus_understands_every_query(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if not promtool:
        pytest.skip("no promtool here: apt-get install prometheus")
    rules = [
        {"record": f"query:{number}", "expr": plain(expression)}
        for number, (_, expression) in enumerate(QUERIES)
    ]
    file = tmp_path / "rules.json"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run([promtool, "check", "rules", str(file)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(QUERIES)} rules found" in done.stdout
