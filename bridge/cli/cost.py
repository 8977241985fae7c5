"""Commands of figures: counters, drops, the bill."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bridge.cli.command import Act, Command, Options, ask, query, show
from bridge.cli.grammar import NUMBER, TEXT, Grammar, Reader, UsageError, match
from bridge.control.client import Client, find_socket
from bridge.control.protocol import Row
from bridge.declared import HISTOGRAMS
from bridge.render import bill as cost_text

COST_WINDOW = {"last": NUMBER, "since": TEXT}
COST_HISTOGRAM = Grammar(keys={"since": TEXT}, flags=dict.fromkeys(HISTOGRAMS, "name"))


def stats(options: Options, words: list[str]) -> int:
    """Show counters; an option adds drops by reason, read at the same moment."""
    rows = ask(options, "StatsShow", {**Grammar(option="port").read(words), "drops": options.details or None})
    if options.style != "text":
        show(options, rows, "blocks")
        return 0
    show(options, [row for row in rows if "reason" not in row], "blocks", "nothing to show")
    if options.details:
        print()
        show(options, [row for row in rows if "reason" in row], "drops", "no frame was dropped")
    return 0


def drops(options: Options, words: list[str]) -> int:
    """Show drops; an option adds those that never happened."""
    Grammar().read(words)
    show(options, ask(options, "DropsShow", {"all": options.all}), "drops", "no frame was dropped")
    return 0


def bill(
    method: str, grammar: Grammar, write: Callable[[Sequence[Row]], str], empty: str = "nothing was spent"
) -> Act:
    """Make a command about the bill: one method, and a function that writes its rows for people."""

    def act(options: Options, words: list[str]) -> int:
        return _show_bill(options, ask(options, method, grammar.read(words)), write, empty)

    return act


def _show_bill(options: Options, rows: list[Row], write: Callable[[Sequence[Row]], str], empty: str) -> int:
    if rows and options.style == "text":
        print(write(rows))
    else:
        show(options, rows, "lines", empty)
    return 0


def _histogram(rows: Sequence[Row]) -> str:
    return cost_text.histogram_text(rows, cost_text.choose_blocks(sys.stdout.encoding))


def cost(options: Options, words: list[str]) -> int:
    """Show the bill, or what would make it smaller."""
    from bridge.account.views import VIEWS

    view = Reader("a view", lambda value: match(value, VIEWS, "view"))
    flags = {**dict.fromkeys(VIEWS, "by"), "what_if": "by", "saved": "by"}  # 'by' may be left out
    values = Grammar(keys=COST_WINDOW | {"by": view, "top": NUMBER}, flags=flags).read(words)
    if options.saved or values.get("by") == "saved":
        show(options, ask(options, "CostSaved"), "saved", "nothing was spared; see `mdb queriers`")
        return 0
    if options.what_if or values.get("by") == "what_if":
        values.pop("by", None)
        empty = "nothing here would save a cycle"
        return _show_bill(options, ask(options, "CostSavings", values), cost_text.savings_text, empty)
    by, blocks = values.get("by") or "stage", cost_text.choose_blocks(sys.stdout.encoding)
    rows = ask(options, "CostShow", values)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    return _show_bill(
        options, rows, lambda rows: cost_text.show_text(rows, by, blocks, width), "nothing was spent"
    )


def record(options: Options, words: list[str]) -> int:
    """Write the bill to a file as time goes on."""
    from bridge.cli import record as cost_record

    keys = {"seconds": NUMBER, "interval": NUMBER}
    values = Grammar(("file",), keys=keys, flags={"append": "mode", "replace": "mode"}).read(words)
    interval, seconds = values.get("interval"), values.get("seconds")
    interval = 1 if interval is None else interval
    if not 1 <= interval <= 3600 or seconds == 0:
        raise UsageError("'interval' is 1 to 3600 seconds, 'seconds' at least 1")
    with Client(find_socket(options.socket)) as client:
        mode = values.get("mode", "new")
        lines = cost_record.record(Path(values["file"]), client.rows, interval, seconds, mode)
    print(f"{values['file']}: {lines} lines", file=sys.stderr)
    return 0


def plot(_: Options, words: list[str]) -> int:
    """Draw a recording."""
    from bridge.cli import plot as cost_plot

    values = Grammar(("file", "picture")).read(words)
    lines = cost_plot.plot(Path(values["file"]), Path(values["picture"]))
    print(f"{values['picture']}: {lines} lines drawn", file=sys.stderr)
    return 0


def top(options: Options, words: list[str]) -> int:
    """Show the bill live."""
    from bridge.cli.top import source as display

    return display.main(options, words)


COMMANDS = (
    Command(
        "stats show",
        "[PORT] [-d]",
        "every counter of every port, and the totals; -d: and drops by reason, of the same moment",
        stats,
    ),
    Command("drops show", "[-a]", "frames dropped, by port and reason; -a: every reason", drops),
    Command(
        "cost show",
        "[by VIEW] [last SECONDS | since NAME] [top N] [--what-if] [--saved]",
        "the bill: CPU cycles by stage, port, vlan, class or talker",
        cost,
        """\
VIEW is stage (the default), port (of ingress), vlan, class or talker (source address); 'by' may be left out. What is
shown adds up to the busy cycles since the last clearing, of the last SECONDS (at most 3600), or since a baseline.
--what-if shows what would make the bill smaller, and by how much. --saved shows what multicast snooping spared each
VLAN since the start, or would spare it (watch), and which members it would lose.

examples:
  framebridge cost show by talker last 60 top 10
  framebridge -j cost show class | jq '.[] | select(.class == "broadcast").share'
  framebridge cost show --what-if last 600
""",
    ),
    Command(
        "cost summary",
        "[last SECONDS | since NAME]",
        "the time of the data thread: busy, polling, blocked; the CPU clock beside it",
        bill("CostSummary", Grammar(keys=COST_WINDOW), cost_text.summary_text),
    ),
    Command(
        "cost clear",
        "[NAME]",
        "count cycles from zero again, or keep this moment as the baseline NAME",
        query("CostClear", "lines", Grammar(option="name")),
        """\
Nothing is reset but the log of slow batches: what was counted so far is subtracted from what is shown. With NAME
nothing is subtracted; 'cost show since NAME' and others show what was spent from here on.
""",
    ),
    Command(
        "cost slow",
        "",
        "the slowest batches since the last clearing, and where their time went",
        bill("CostSlow", Grammar(), cost_text.slow_text, "no batch yet"),
    ),
    Command(
        "cost budgets",
        "",
        "what the configured budgets limit, and what became of them",
        query("CostBudgets", "budget", empty="no budgets; add [[budget]] tables to the configuration"),
    ),
    Command(
        "cost histogram",
        "[NAME] [since BASELINE]",
        "how cycles and frames of batches are spread: batch_cycles, batch_frames, frame_cycles",
        bill("CostHistogram", COST_HISTOGRAM, _histogram, "no batch yet"),
    ),
    Command(
        "cost record",
        "FILE [seconds N] [interval S] [append | replace]",
        "write the bill to FILE, a line of JSON every S seconds (1), until Ctrl-C",
        record,
    ),
    Command(
        "cost plot",
        "FILE PICTURE",
        "draw a recording as PICTURE (.png or .svg): cycles by class over time, top talkers",
        plot,
        """\
Needs matplotlib: pip install 'framebridge[plot]'.

example:
  framebridge cost record day.jsonl seconds 86400 interval 60 && framebridge cost plot day.jsonl day.png
""",
    ),
    Command(
        "top",
        "[class|port|vlan|talker|stage] [-i SECONDS] [--once]",
        "who burns the CPU, live",
        top,
        """\
Keys: c p v t s switch the view, < > and r sort, space pauses, + - change the interval, ? explains, q quits.
--once, -j, or output that is no terminal: one page of the last -i SECONDS (1), nothing live.

examples:
  framebridge top
  framebridge top talker -i 5
  framebridge top vlan --once -i 60 | head
""",
    ),
)
