"""Tables, page, plots and comparison of reports, and the verbs that show them."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from bench_reports import make_report

from bench import results
from bench.cli import main
from bench.errors import BenchError
from bench.report import compare, page, table

VOID = {"meta", "br", "path", "use", "rect", "line", "circle", "stop"}


class Balance(HTMLParser):
    """Complains when a tag is closed that is not open, or left open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [
            str(value) for name, value in attrs if name in ("src", "href") and not str(value).startswith("#")
        ]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open, f"</{tag}> without a start"
            assert self.open.pop() == tag


def parse(text: str) -> Balance:
    found = Balance()
    found.feed(text)
    assert found.open == []
    return found


@pytest.fixture
def derived() -> results.Report:
    return results.derive(make_report())


def test_the_table_has_a_row_per_system_that_ran(derived: results.Report) -> None:
    head, body = table.rows(derived)
    assert head == ["system", "TCP up Gb/s", "cycles/frame up"]
    assert body[0] == ["Framebridge", "10.1 ±0.1", "2020 ±20"]
    assert body[-1] == ["Direct", "20.2 ±0.2", "-"]
    assert len(body) == 4


def test_the_cost_of_a_frame_stands_beside_wakeups_and_steal(derived: results.Report) -> None:
    head, body = table.cost_rows(derived)
    rows = {row[0]: dict(zip(head, row, strict=True)) for row in body}
    assert len(rows) == 4
    ours = rows["Framebridge"]
    assert (ours["direction"], ours["added cycles/frame"]) == ("up", "2020 ±20")
    assert (ours["wake-ups/s"], ours["own cycles/frame"]) == ("10000 ±0", "-")
    assert ours["CPU stolen"] == "2.0%"
    assert rows["Direct"]["added cycles/frame"] == "-"
    assert "median 1.0%, at worst 2.0% of one CPU in 12 samples" in table.steal_text(derived)
    assert table.steal_text({**derived, "samples": []}) == ""
    assert table.cost_rows({**derived, "results": []})[1] == []


def test_a_single_round_has_no_spread() -> None:
    _, body = table.rows(results.derive(make_report(rounds=1)))
    assert body[0] == ["Framebridge", "10.0", "2000"]


def test_the_text_tells_targets_what_is_missing_and_where_curves_bend(derived: results.Report) -> None:
    text = table.text(derived)
    assert " met  TCP, one stream, up against linux-bridge: 1.00" in text
    assert " NOT  TCP, one stream, up against ovs: 5.00" in text
    assert "Click: skipped, click is not installed" in text
    assert "framebridge by macs: no longer flat at 64000" in text
    assert "INCOMPLETE" not in text
    assert "INCOMPLETE" in table.text({**derived, "complete": False})


def test_the_markdown_carries_its_context(derived: results.Report) -> None:
    lines = table.markdown(derived).splitlines()
    assert lines[0] == "| system | TCP up Gb/s | cycles/frame up |"
    assert lines[1] == "|---|---:|---:|"
    assert "3 interleaved rounds" in lines[-1]
    assert "2 CPUs" in lines[-1]


def test_the_page_is_whole_and_loads_nothing(derived: results.Report) -> None:
    text = page.render(derived)
    assert parse(text).loads == []
    assert "A &lt;fast&gt; CPU" in text
    assert "<script" not in text
    for heading in (
        "Main figures",
        "What a small frame costs",
        "Targets",
        "Plots",
        "Ratios",
        "Everything measured",
        "The instrument",
        "Left out",
    ):
        assert f"<h2>{heading}</h2>" in text


def test_the_page_warns(derived: results.Report) -> None:
    derived["complete"] = False
    derived["selfcheck"][0]["good"] = False
    derived["samples"][0]["notes"] = ["steal"]
    derived["samples"][1]["error"] = "no reply"
    text = page.render(derived)
    assert "This run was interrupted" in text
    assert "Instrument check failed: clean path" in text
    assert "In 1 of " in text
    assert "no reply" in text


def test_plots_are_made_of_what_there_is(derived: results.Report) -> None:
    plots = pytest.importorskip("bench.report.plots", reason="matplotlib is not installed")
    figures = plots.draw(derived)
    assert {"ahead", "tcp", "scaling"} <= set(figures)
    assert "latency" not in figures
    drawing = plots.svg(figures["ahead"][1])
    assert drawing.startswith("<svg")
    parse(drawing)


def test_a_page_without_matplotlib_says_so(derived: results.Report, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "bench.report.plots", None)
    monkeypatch.delattr("bench.report.plots", raising=False)
    assert "No plots: matplotlib is not installed" in page.render(derived)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.00001, "1.0e-05"), (1234567.0, "1 234 567"), (0.5, "0.500"), (12.34, "12.3")],
)
def test_numbers_have_the_digits_that_mean_something(value: float | None, text: str) -> None:
    assert page.number(value) == text


# -- comparison


def verdicts(rows: list[compare.Report]) -> dict[tuple[str, str], str]:
    return {(row["measure"], row["metric"]): row["verdict"] for row in rows}


def test_a_report_is_the_same_as_itself(derived: results.Report) -> None:
    rows = compare.compare(derived, derived, "framebridge")
    assert {row["verdict"] for row in rows} == {"same"}
    assert {row["against"] for row in rows} == {"linux-bridge", ""}  # nobody else has the scaling curve


def test_what_got_faster_is_better_and_the_other_way_round_worse(derived: results.Report) -> None:
    faster = results.derive(make_report(scale=1.3))
    found = verdicts(compare.compare(derived, faster, "framebridge"))
    assert found["tcp", "gbps"] == "better"
    assert found["cost", "added_cycles_per_frame"] == "better"
    found = verdicts(compare.compare(faster, derived, "framebridge"))
    assert found["tcp", "gbps"] == "worse"
    assert found["cost", "added_cycles_per_frame"] == "worse"


def test_a_machine_that_is_twice_as_fast_changes_nothing(derived: results.Report) -> None:
    other = make_report()
    for sample in other["samples"]:
        if sample["measure"] == "tcp":
            sample["values"]["gbps"] *= 2
    rows = compare.compare(derived, results.derive(other), "framebridge", "linux-bridge")
    (row,) = [row for row in rows if row["metric"] == "gbps"]
    assert row["verdict"] == "same"
    assert row["new_absolute"] == pytest.approx(2 * row["old_absolute"])


def test_ranges_that_touch_decide_nothing(derived: results.Report) -> None:
    noisy = make_report()
    ours = [s for s in noisy["samples"] if s["measure"] == "tcp" and s["system"] == "framebridge"]
    for sample, factor in zip(ours, (0.7, 1.4, 1.6), strict=True):
        sample["values"]["gbps"] *= factor
    (row,) = [
        row
        for row in compare.compare(derived, results.derive(noisy), "framebridge")
        if row["metric"] == "gbps"
    ]
    assert row["verdict"] == "unclear"
    assert row["shaky"]


def test_reports_without_anything_in_common_cannot_be_compared(derived: results.Report) -> None:
    with pytest.raises(BenchError, match="in common"):
        compare.compare(derived, results.derive({**make_report(), "samples": []}), "framebridge")
    with pytest.raises(BenchError, match="in common"):
        compare.compare(derived, derived, "nobody")


def test_the_comparison_in_words_shows_the_worst_first(derived: results.Report) -> None:
    text = compare.text(compare.compare(results.derive(make_report(scale=1.3)), derived, "framebridge"))
    assert text.splitlines()[1].startswith("worse")
    assert "2 worse" in text.splitlines()[-1] or "3 worse" in text.splitlines()[-1]


# -- verbs


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(json.dumps(make_report(scale=1.3)))
    new.write_text(json.dumps(make_report()))
    return old, new


def test_compare_fails_when_something_got_worse(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = map(str, files)
    assert main(["compare", old, old]) == 0
    assert main(["compare", old, new]) == 1
    capsys.readouterr()
    assert main(["compare", "--json", new, old]) == 0
    assert {row["verdict"] for row in json.loads(capsys.readouterr().out)} == {"better", "same"}


def test_report_and_table_work_from_the_file(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    target = files[0].with_name("page.html")
    assert main(["report", str(files[0]), "-o", str(target)]) == 0
    assert target.read_text().startswith("<!doctype html>")
    assert main(["table", "--markdown", str(files[0])]) == 0
    assert "| Framebridge |" in capsys.readouterr().out


def test_pictures_are_written(files: tuple[Path, Path]) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    target = files[0].with_name("pictures")
    assert (
        main(["report", str(files[0]), "-o", str(files[0].with_suffix(".html")), "--png", str(target)]) == 0
    )
    assert (target / "ahead.png").read_bytes().startswith(b"\x89PNG")


def test_a_file_that_is_no_report_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.json"
    assert main(["table", str(path)]) == 1
    path.write_text("{}")
    assert main(["table", str(path)]) == 1
    assert "is no report of this harness" in capsys.readouterr().err
