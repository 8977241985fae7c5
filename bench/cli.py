"""The command line of the harness: `python -m bench VERB ...`.

Exit status 0 done, 1 could not or incomplete, 2 usage; 130 and 141 after Ctrl-C and a broken pipe.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import build, results
from bench.errors import BenchError

DEFAULT_REPORT = Path("build/bench/report.json")


def run_build(_options: argparse.Namespace) -> int:
    """Compile the C programs."""
    for path in build.build_all():
        print(path)
    return 0


def run_traffic(words: Sequence[str]) -> int:
    """Become the traffic tool, which reads its own command line."""
    tool = build.program("traffic")
    os.execv(tool, [tool, *words])


def run_list(_options: argparse.Namespace) -> int:
    """Say which systems and measurements there are, and what is missing for them."""
    from bench.lab.measure import all_measures
    from bench.lab.system import all_systems

    print("systems")
    for system in all_systems().values():
        try:
            system.require()
            state = f"{system.title} {system.version()}".rstrip()
        except BenchError as error:
            state = f"missing: {error}"
        print(f"  {system.name:22}{state}")
    print("measurements")
    for measure in all_measures().values():
        print(f"  {measure.name:22}{measure.title}{'' if measure.quick else ' (full mode only)'}")
    return 0


def run_selfcheck(options: argparse.Namespace) -> int:
    """Check the instrument."""
    from bench.lab import net
    from bench.selfcheck import check_all

    net.require_root()
    rows = check_all()
    if options.json:
        print(json.dumps(rows, indent=1))
    else:
        for row in rows:
            print(f"{'good' if row['good'] else 'BAD '}  {row['check']}: {row['text']}")
    return 0 if all(row["good"] for row in rows) else 1


def run_lab(options: argparse.Namespace) -> int:
    """Measure."""
    from bench.lab import measure, net, settings, system
    from bench.lab.progress import Progress
    from bench.lab.session import Report, Session
    from bench.report import page, table
    from bench.selfcheck import check_all

    net.require_root()
    for name in net.sweep():
        print(f"removed {name}, left by a run that was killed", file=sys.stderr)
    chosen = settings.choose(options.mode, options.rounds, options.time_scale)
    systems = system.choose(options.system)
    if not options.system:
        systems = [one for one in systems if one.quick or chosen.mode == "full"]
    measures = measure.choose(options.measure, chosen)
    if any(one.zero for one in measures) and not any(one.name == results.ZERO for one in systems):
        systems += system.choose([results.ZERO])

    def keep(report: Report) -> None:
        save(results.derive(report), options.output)

    session = Session(
        systems, measures, chosen, keep, Progress(sys.stderr, quiet=options.quiet), named=bool(options.system)
    )
    complete = session.run(None if options.no_selfcheck else check_all)
    report = load(options.output)
    print(table.text(report))
    if not options.no_html:
        target = options.output.with_suffix(".html")
        page.write(report, target)
        print(f"report: {options.output} and {target}")
    return 0 if complete else 1


def run_scale(options: argparse.Namespace) -> int:
    """Measure a large bridge."""
    from bench.lab import net
    from bench.scale import run
    from bench.scale.place import Size

    net.require_root()
    size = Size(options.ports, options.trunks, options.vlans, entries=options.entries)
    report = run.measure(size, options.measure or (), options.rounds, options.storm_seconds)
    print(run.text(report))
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(report, indent=1) + "\n")
    return 0 if all(row["kept"] is not False for row in report["figures"]) else 1


def run_report(options: argparse.Namespace) -> int:
    """Write the HTML page of a report."""
    from bench.report import page

    target = options.output or options.report.with_suffix(".html")
    derived = results.derive(load(options.report))
    page.write(derived, target)
    print(target)
    if options.png:
        from bench.report import plots

        for path in plots.save(derived, options.png):
            print(path)
    return 0


def run_table(options: argparse.Namespace) -> int:
    """Show a report as text or as Markdown."""
    from bench.report import table

    report = results.derive(load(options.report))
    print(table.markdown(report) if options.markdown else table.text(report))
    return 0


def run_compare(options: argparse.Namespace) -> int:
    """Compare two reports."""
    from bench.report import compare

    rows = compare.compare(
        results.derive(load(options.old)), results.derive(load(options.new)), options.system, options.against
    )
    print(json.dumps(rows, indent=1) if options.json else compare.text(rows))
    return 1 if any(row["verdict"] == "worse" for row in rows) else 0


def load(path: Path) -> results.Report:
    """Read a report and check that it is one."""
    from bench.report import schema

    try:
        report = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BenchError(f"{path}: {error}") from error
    problems = schema.problems(report)
    if problems:
        raise BenchError(f"{path} is no report of this harness: " + "; ".join(problems[:5]))
    return dict(report)


def save(report: results.Report, path: Path) -> None:
    """Write a report as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".tmp")
    scratch.write_text(json.dumps(report, indent=1) + "\n")
    scratch.replace(path)


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    top = argparse.ArgumentParser(
        prog="python -m bench", description="benchmarks of layer-2 bridges, in cycles per frame"
    )
    verbs = top.add_subparsers(required=True, metavar="VERB")

    def verb(name: str, run: object, text: str) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=text, description=text)
        made.set_defaults(run=run)
        return made

    verb("build", run_build, "compile the traffic tool and the bare loop")
    verb("traffic", None, "run the traffic generator and sink on its own; 'traffic --help' says how")
    verb("list", run_list, "list systems and measurements")
    check = verb("selfcheck", run_selfcheck, "check the instrument: losses, delays and cycles that are known")
    check.add_argument("--json", action="store_true")

    lab = verb("lab", run_lab, "measure in namespaces, all systems interleaved (root)")
    lab.add_argument("--mode", default="quick", help="quick (under 10 minutes), full, smoke")
    lab.add_argument("--system", action="append", help="only this system (may be repeated)")
    lab.add_argument("--measure", action="append", help="only this measurement (may be repeated)")
    lab.add_argument("--rounds", type=int, help="repetitions")
    lab.add_argument(
        "--time-scale",
        type=float,
        default=1.0,
        metavar="FACTOR",
        help="trials FACTOR times as long as the mode wants: --mode full --time-scale 0.02 is a dry run",
    )
    lab.add_argument(
        "-o", "--output", type=Path, default=DEFAULT_REPORT, help=f"report (default {DEFAULT_REPORT})"
    )
    lab.add_argument("--no-selfcheck", action="store_true")
    lab.add_argument("--no-html", action="store_true")
    lab.add_argument("-q", "--quiet", action="store_true", help="no progress")

    scale = verb("scale", run_scale, "measure a large bridge, each figure beside its target (root)")
    scale.add_argument("--ports", type=int, default=64)
    scale.add_argument("--trunks", type=int, default=8, help="how many of the ports are trunks of all VLANs")
    scale.add_argument("--vlans", type=int, default=4094)
    scale.add_argument("--entries", type=int, default=65536, help="FDB entries")
    scale.add_argument("--measure", action="append", help="only this one (may be repeated)")
    scale.add_argument("--rounds", type=int, default=1, help="repetitions; medians are shown")
    scale.add_argument("--storm-seconds", type=float, default=60.0, help="length of the storm of moves")
    scale.add_argument("-o", "--output", type=Path, help="report as JSON")

    report = verb("report", run_report, "write the HTML page of a report")
    report.add_argument("report", type=Path)
    report.add_argument("-o", "--output", type=Path)
    report.add_argument("--png", type=Path, metavar="DIRECTORY", help="write the plots as pictures, too")
    table = verb("table", run_table, "show the main figures of a report")
    table.add_argument("report", type=Path)
    table.add_argument("--markdown", action="store_true", help="for a README")
    compare = verb("compare", run_compare, "compare two reports; exit status 1 if something got worse")
    compare.add_argument("old", type=Path)
    compare.add_argument("new", type=Path)
    compare.add_argument("--system", default=results.OURS)
    compare.add_argument(
        "--against", help="yardstick system (default: the first of bare-loop, linux-bridge, ovs in both)"
    )
    compare.add_argument("--json", action="store_true")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words[:1] == ["traffic"]:
            return run_traffic(words[1:])
        options = parser().parse_args(words)
        return int(options.run(options))
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing left to say at exit
        return 141
