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
body { font: 15px/1.45 system-ui, sans-serif; color: #1b1b1b; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; }
h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #ddd; }
p, ul { margin: .4rem 0; }
.context { color: #555; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .88rem; }
th, td { padding: .2rem .6rem; border-bottom: 1px solid #e6e6e6; text-align: right; white-space: nowrap; }
th:first-child, td:first-child, td.text, th.text { text-align: left; white-space: normal; }
tr.ours { font-weight: 600; background: #f4f7fb; }
.good { color: #116329; } .bad { color: #a40e26; } .unknown { color: #666; }
.warning { background: #fff4ce; padding: .5rem .8rem; border-left: 4px solid #d29922; }
figure { margin: 1rem 0; } figure svg { max-width: 100%; height: auto; } figcaption { font-weight: 600; }
details { margin: .5rem 0; } summary { cursor: pointer; }
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
        '<meta name="viewport" content="width=device-width">'
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
        "<p>Numbers are medians with the range of the repetitions; ratios were taken pair by pair within a round. "
        "What is measured, "
        "and what is not, is in docs/benchmarking.md.</p>"
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
    headings, rows = table.rows(report)
    titles = {system["title"]: system["name"] for system in report["systems"]}
    classes = ["ours" if titles.get(row[0], "").startswith("framebridge") else "" for row in rows]
    return grid(
        [escape(text) for text in headings], [[escape(text) for text in row] for row in rows], classes
    )


def targets(report: Report) -> str:
    rows = []
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
    return "<h2>Targets</h2>" + grid(
        ["what", "against", "target", "ratio", "range", ""], rows, text_columns=(1, 2)
    )


def plots(report: Report) -> str:
    try:
        from . import plots as drawing
    except ImportError:
        return (
            "<p class=context>No plots: matplotlib is not installed (pip install 'framebridge[bench]').</p>"
        )
    figures = drawing.draw(report)
    return "".join(
        f"<figure><figcaption>{escape(title)}</figcaption>{drawing.svg(figure)}</figure>"
        for title, figure in figures.values()
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
