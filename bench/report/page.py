"""One HTML page from a report, with everything in it: styles, tables, plots as SVG. Nothing is fetched.

Without matplotlib the page is complete but for the plots, and says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from . import table

Report = dict[str, Any]

CSS = """
:root { --ink: #1b1f24; --soft: #57606a; --line: #d8dee4; --band: #f6f8fa; --ours: #eaf2fb; }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 66rem; margin: 0 auto; }
body { padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.25rem; margin: 2.4rem 0 .6rem; padding-bottom: .2rem; border-bottom: 2px solid var(--line); }
p, ul { margin: .4rem 0; } li { margin: .15rem 0; overflow-wrap: anywhere; }
.context { color: var(--soft); font-size: .92rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .84rem; margin: .4rem 0; }
th { color: var(--soft); font-weight: 600; border-bottom: 2px solid var(--line); vertical-align: bottom; }
th, td { padding: .28rem .55rem; text-align: right; white-space: nowrap; }
td { border-bottom: 1px solid var(--line); }
tbody tr:hover { background: var(--band); }
th:first-child, td:first-child, td.text, th.text { text-align: left; }
tr.ours { font-weight: 600; background: var(--ours); }
.good { color: #116329; } .bad { color: #a40e26; } .unknown { color: var(--soft); }
.warning { background: #fff8e1; padding: .5rem .8rem; border-left: 4px solid #d29922; margin: .5rem 0; }
figure { margin: 1.6rem 0; } figcaption { font-weight: 600; }
figcaption p { font-weight: 400; color: var(--soft); margin: 0; }
figure svg { display: block; width: 100%; min-width: 36rem; max-width: 60rem; height: auto; }
details { margin: .4rem 0; } summary { cursor: pointer; padding: .1rem 0; }
"""


def write(report: Report, target: Path) -> None:
    """Write the page of a report that has its results."""
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_suffix(".html.tmp")
    scratch.write_text(render(report), encoding="utf-8")
    scratch.replace(target)


def render(report: Report) -> str:
    """Give the page as text."""
    parts = [
        head(report),
        warnings(report),
        f"<h2>Main figures</h2>{main_table(report)}",
        cost(report),
        targets(report),
        plots(report),
        ratios(report),
        scaling(report),
        everything(report),
        instrument(report),
        left_out(report),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Bridge benchmark, {escape(report['created'][:10])}</title><style>{CSS}</style></head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body></html>\n"
    )


def grid(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    classes: Sequence[str] = (),
    text_columns: Sequence[int] = (),
) -> str:
    """Make a table; cells are HTML already. `classes` are those of the rows."""

    def cells(tag: str, values: Sequence[str]) -> str:
        return "".join(
            f"<{tag}{' class=text' if i in text_columns else ''}>{value}</{tag}>"
            for i, value in enumerate(values)
        )

    body = "".join(
        f"<tr{f' class={classes[i]}' if i < len(classes) and classes[i] else ''}>{cells('td', row)}</tr>\n"
        for i, row in enumerate(rows)
    )
    top = f"<thead><tr>{cells('th', headings)}</tr></thead>"
    return f'<div class="scroll"><table>{top}<tbody>\n{body}</tbody></table></div>'


def number(value: float | None) -> str:
    """Write a number with the digits that mean something."""
    if value is None:
        return "-"
    size = abs(value)
    if size and size < 0.001:
        return f"{value:.1e}"
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{digits}f}".replace(",", " ")


def case_text(case: Report) -> str:
    """Write a case."""
    return escape(", ".join(f"{key} {value}" for key, value in case.items()))


def head(report: Report) -> str:
    host, settings = report["host"], report["settings"]
    return (
        "<h1>Layer-2 bridges, measured side by side</h1>"
        f"<p class=context>{escape(report['created'])}, {escape(settings['mode'])} mode, "
        f"{settings['rounds']} interleaved rounds, {report['seconds']:.0f} s. "
        f"Linux {escape(host['kernel'])} on {host['cpus']} CPUs ({escape(host['cpu'])}), "
        f"cycle counter {host['cycles_per_second'] / 1e9:.3f} GHz.</p>"
        "<p class=context>Numbers are medians with half the range of the repetitions; ratios were taken pair by pair "
        "within a round. Up is guest to trunk, down trunk to guest. What is measured, and what is not: "
        f"docs/benchmarking.md. {escape(table.steal_text(report))}</p>"
    )


def warnings(report: Report) -> str:
    said = []
    if not report["complete"]:
        said.append("This run was interrupted: the report is incomplete.")
    said += [
        f"Instrument check failed: {row['check']}: {row['text']}"
        for row in report["selfcheck"]
        if not row["good"]
    ]
    stolen = sum("steal" in sample["notes"] for sample in report["samples"])
    if stolen:
        said.append(
            f"In {stolen} of {len(report['samples'])} samples the hypervisor took more than 2 % of a CPU away."
        )
    return "".join(f"<p class=warning>{escape(text)}</p>" for text in said)


def main_table(report: Report) -> str:
    return system_table(report, *table.rows(report))


def system_table(report: Report, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Make a table whose rows begin with the title of a system."""
    titles = {system["title"]: system["name"] for system in report["systems"]}
    classes = ["ours" if titles.get(row[0], "").startswith("framebridge") else "" for row in rows]
    return grid(
        [escape(text) for text in headings], [[escape(text) for text in row] for row in rows], classes
    )


def cost(report: Report) -> str:
    """Show what a frame costs at a load that every serious system carries."""
    headings, rows = table.cost_rows(report)
    if not rows:
        return ""
    return (
        "<h2>What a small frame costs</h2>"
        "<p class=context>60-byte frames at 100 000 a second in bursts of 10; up: guest to trunk. Added: cycles of the "
        "whole machine beyond those of a direct veth; of threads: the same, of the generator's, sink's and system's "
        "threads alone; own: by the system's own account. Wake-ups of the system's processes. Latency from the "
        f"generator to the sink.</p>{system_table(report, headings, rows)}"
    )


def targets(report: Report) -> str:
    rows = []
    counts = [sum(target["met"] is met for target in report["targets"]) for met in (True, False, None)]
    said = f"{counts[0]} met, {counts[1]} not met, {counts[2]} not measured."
    for target in report["targets"]:
        word, style = {True: ("met", "good"), False: ("not met", "bad"), None: ("not measured", "unknown")}[
            target["met"]
        ]
        spread = f"{number(target['low'])} to {number(target['high'])}" if target["n"] else ""
        rows.append(
            [
                escape(target["what"]),
                escape(target["against"] or "(absolute)"),
                f"{target['relation']} {target['bound']:g}",
                number(target["median"]),
                spread,
                f"<span class={style}>{word}</span>",
            ]
        )
    return (
        "<h2>Targets</h2><p class=context>framebridge / rival, medians of pairs; absolute where there is no rival. "
        f"{said}</p>"
        + grid(["what", "against", "target", "measured", "range", ""], rows, text_columns=(1, 2))
    )


def plots(report: Report) -> str:
    try:
        from . import plots as drawing
    except ImportError:
        return (
            "<p class=context>No plots: matplotlib is not installed (pip install 'framebridge[bench]').</p>"
        )
    figures = drawing.draw(report)
    if not figures:
        return ""
    return "<h2>Plots</h2>" + "".join(
        f"<figure><figcaption>{escape(title)}<p>{escape(drawing.EXPLAINED.get(name, ''))}</p></figcaption>"
        f'<div class="scroll">{drawing.svg(figure)}</div></figure>'
        for name, (title, figure) in figures.items()
    )


def ratios(report: Report) -> str:
    rows = sorted(
        report["ratios"],
        key=lambda row: (row["measure"], str(row["case"]), row["metric"], row["system"], row["against"]),
    )
    if not rows:
        return ""
    words = {"ours": ("ahead", "good"), "theirs": ("behind", "bad"), "even": ("even", "unknown")}
    cells = [
        [
            escape(row["measure"]),
            case_text(row["case"]),
            escape(row["metric"]),
            escape(row["system"]),
            escape(row["against"]),
            number(row["median"]),
            f"{number(row['low'])} to {number(row['high'])}",
            str(row["n"]),
            "<span class={1}>{0}</span>".format(*words[row["ahead"]]),
        ]
        for row in rows
    ]
    return (
        "<h2>Ratios</h2><p>ours / theirs. 'even': the range of the pairs contains 1.</p>"
        f"<details><summary>{len(rows)} ratios</summary>"
        + grid(
            ["measurement", "case", "metric", "system", "against", "ratio", "range", "pairs", ""],
            cells,
            text_columns=(1, 2, 3, 4),
        )
        + "</details>"
    )


def scaling(report: Report) -> str:
    said = table.knees(report)
    return (
        "<h2>Where curves stop being flat</h2><ul>"
        + "".join(f"<li>{escape(text)}</li>" for text in said)
        + "</ul>"
        if said
        else ""
    )


def everything(report: Report) -> str:
    parts = []
    for measure in report["measures"]:
        rows = [row for row in report["results"] if row["measure"] == measure["name"]]
        if not rows:
            continue
        meaning = "".join(
            f"<li>{escape(m['name'])} ({escape(m['unit'])}): {escape(m['meaning'])}</li>"
            for m in measure["metrics"]
        )
        rows.sort(key=lambda row: (str(row["case"]), row["metric"], row["system"]))
        cells = [
            [
                case_text(row["case"]),
                escape(row["metric"]),
                escape(row["system"]),
                number(row["median"]),
                number(row["low"]),
                number(row["high"]),
                str(row["n"]),
            ]
            for row in rows
        ]
        source = f" ({escape(measure['source'])})" if measure["source"] else ""
        parts.append(
            f"<details><summary>{escape(measure['title'])}{source}</summary><ul>{meaning}</ul>"
            + grid(["case", "metric", "system", "median", "low", "high", "n"], cells, text_columns=(1, 2))
            + "</details>"
        )
    return "<h2>Everything measured</h2>" + "".join(parts) if parts else ""


def instrument(report: Report) -> str:
    checks = "".join(
        f"<li><span class={'good' if row['good'] else 'bad'}>{'good' if row['good'] else 'bad'}</span> "
        f"{escape(row['check'])}: "
        f"{escape(row['text'])}</li>"
        for row in report["selfcheck"]
    )
    limited = sorted(
        {
            f"{s['measure']} on {s['system']}: {', '.join(s['limits'])}"
            for s in report["samples"]
            if s["limits"]
        }
    )
    text = (
        f"<h2>The instrument</h2><ul>{checks}</ul>"
        if checks
        else "<h2>The instrument</h2><p>Not checked in this run.</p>"
    )
    if limited:
        text += "<p>Where the generator or the sink was the limit, not the system:</p><ul>"
        text += "".join(f"<li>{escape(line)}</li>" for line in limited) + "</ul>"
    return text


def left_out(report: Report) -> str:
    lines = [f"{s['title']}: {s['status']}, {s['reason']}" for s in report["systems"] if s["status"] != "ran"]
    failed = sorted(
        {f"{s['measure']} on {s['system']}: {s['error']}" for s in report["samples"] if "error" in s}
    )
    lost = sorted(
        {
            f"{s['measure']} ({case_text(s['case'])}) on {s['system']}: lost too much to be compared"
            for s in report["samples"]
            if "overloaded" in s["notes"]
        }
    )
    lines += failed + lost
    return (
        "<h2>Left out</h2><ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"
        if lines
        else ""
    )
