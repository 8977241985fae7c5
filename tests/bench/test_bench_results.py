"""What is derived from samples: added cost, ratios, targets; and what takes no part."""

from __future__ import annotations

import copy

import pytest
from bench_reports import COST, UP, make_report

from bench import results
from bench.report import schema


def find(rows: list[dict[str, object]], **wanted: object) -> dict[str, object]:
    (row,) = [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]
    return row


def test_results_are_medians_over_rounds() -> None:
    row = find(results.derive(make_report())["results"], measure="tcp", system="ovs", metric="gbps")
    assert (row["median"], row["low"], row["high"], row["n"]) == pytest.approx((2.02, 2.0, 2.04, 3))
    assert (row["unit"], row["better"], row["case"]) == ("Gb/s", "high", UP)


def test_added_cost_is_taken_from_the_direct_veth_of_the_same_round() -> None:
    row = find(
        results.derive(make_report())["results"],
        measure="cost",
        system="ovs",
        metric="added_cycles_per_frame",
    )
    assert (row["low"], row["high"]) == pytest.approx((5000, 5100))


def test_the_direct_veth_adds_nothing_to_itself() -> None:
    rows = results.derive(make_report())["results"]
    assert not [
        row for row in rows if row["system"] == "direct" and row["metric"] == "added_cycles_per_frame"
    ]


def test_ratios_are_ours_over_theirs_with_who_is_ahead() -> None:
    ratios = results.derive(make_report())["ratios"]
    fast = find(ratios, measure="tcp", metric="gbps", against="ovs", system="framebridge")
    assert fast["median"] == pytest.approx(5.0)
    assert fast["ahead"] == "ours"
    dear = find(ratios, measure="cost", metric="added_cycles_per_frame", against="linux-bridge")
    assert dear["median"] == pytest.approx(4 / 3)
    assert dear["ahead"] == "theirs"
    assert find(ratios, measure="tcp", metric="gbps", against="linux-bridge")["ahead"] == "even"


def test_targets_are_met_missed_or_not_measured() -> None:
    targets = results.derive(make_report())["targets"]
    kernel = find(targets, what="TCP, one stream, up", against="linux-bridge")
    assert (kernel["met"], kernel["median"]) == (True, pytest.approx(1.0))
    assert find(targets, what="TCP, one stream, up", against="ovs")["met"] is False  # 5, at least 6 wanted
    cost = find(targets, what="CPU added per frame at 100 kpps, up", against="ovs")
    assert (cost["met"], cost["median"]) == (True, pytest.approx(0.4))
    assert find(targets, what="TCP, one stream, down", against="ovs")["met"] is None


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ({"error": "it broke"}, 2),
        ({"notes": ["overloaded"]}, 2),
        ({"limits": ["sink"]}, 2),
        ({"limits": ["generator"]}, 3),  # it could not offer enough: what came out is still what it is
        ({"notes": ["steal"]}, 3),
    ],
)
def test_samples_that_say_something_else_take_no_part(change: dict[str, object], left: int) -> None:
    report = make_report()
    for sample in report["samples"]:
        if sample["system"] == "ovs" and sample["measure"] == "cost" and sample["round"] == 1:
            sample.update(change)
    row = find(results.derive(report)["results"], measure="cost", system="ovs", metric="cycles_per_frame")
    assert row["n"] == left


def test_loss_is_kept_of_overloaded_samples_too() -> None:
    report = make_report()
    for sample in report["samples"]:
        sample["notes"] = ["overloaded"]
    rows = results.derive(report)["results"]
    assert {row["metric"] for row in rows} == {"loss"}


def test_derived_numbers_can_be_worked_out_again() -> None:
    report = make_report()
    once = results.derive(copy.deepcopy(report))
    assert results.derive(once) == once
    assert report == make_report()  # not changed in place


def test_a_report_of_nothing_has_no_results() -> None:
    report = {**make_report(), "samples": []}
    derived = results.derive(report)
    assert (derived["results"], derived["ratios"]) == ([], [])
    assert all(target["met"] is None for target in derived["targets"])
    assert not schema.problems(derived)


def test_the_schema_accepts_what_it_describes() -> None:
    assert schema.problems(make_report()) == []
    assert schema.problems(results.derive(make_report())) == []


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("schema",), "framebridge-bench/0", "schema is 'framebridge-bench/0'"),
        (("complete",), "yes", "complete is str"),
        (("samples",), None, "samples is NoneType"),
        (("samples", 0, "round"), True, "samples[0]: round is bool"),
        (("samples", 0, "system"), "nobody", "samples[0] is of an unknown system"),
        (("samples", 0, "values"), {"gbps": "fast"}, "gbps is no number"),
        (("systems", 0, "status"), "sleeping", "status 'sleeping'"),
        (("measures", 0, "metrics", 0, "better"), "up", "better is 'up'"),
    ],
)
def test_the_schema_names_what_is_wrong(path: tuple[str | int, ...], value: object, complaint: str) -> None:
    report = make_report()
    place = report
    for step in path[:-1]:
        place = place[step]  # type: ignore[index]
    place[path[-1]] = value  # type: ignore[index]
    assert any(complaint in problem for problem in schema.problems(report)), schema.problems(report)


def test_the_schema_refuses_what_is_no_object() -> None:
    assert schema.problems([]) == ["not a JSON object"]
    assert schema.problems({})[0].startswith("schema is None")


def test_cases_are_the_same_whatever_the_order_of_their_keys() -> None:
    assert results.case_key(COST) == results.case_key(dict(reversed(COST.items())))
