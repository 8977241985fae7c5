"""What `framebridge` can do: one entry per verb in VERBS, and the function that does it.

Job: turn the words after a verb into a call of the daemon or of another module, and show what came back.
Raises UsageError for words that make no sense, FramebridgeError for what was refused.
Invariant: nothing here imports the data plane, pyroute2 or asyncio at the top, so that verbs that only talk
to a daemon start fast; what a verb needs beyond the client it imports itself.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bridge import cost_text, render
from bridge.client import Client, find_socket
from bridge.errors import ControlError
from bridge.grammar import (
    COST_HISTOGRAMS,
    COST_VIEWS,
    MIRROR_FLAGS,
    MIRROR_KEYS,
    NUMBER,
    PORT_KEYS,
    TEXT,
    VIEW,
    Grammar,
    UsageError,
    mirror_table,
    port_table,
)
from bridge.protocol import Message, Row

if TYPE_CHECKING:
    from bridge.config import Config

Options = argparse.Namespace
Act = Callable[[Options, list[str]], int]


@dataclass(frozen=True, slots=True)
class Verb:
    """One thing the command does: `words` select it; `arguments`, `summary` and `notes` are its help."""

    words: str
    arguments: str
    summary: str
    act: Act
    notes: str = ""
    is_raw: bool = False  # has options of its own: gets everything after its word


# -- what verbs do


def ask(options: Options, method: str, parameters: Message | None = None) -> list[Row]:
    """Call a method of the daemon that the options choose."""
    with Client(find_socket(options.socket)) as client:
        return client.rows(method, parameters)


def show(options: Options, rows: Sequence[Row], layout: str, empty: str = "") -> None:
    """Write rows in the style that the options choose; `empty` tells people that there are none."""
    render.write(rows, layout, sys.stdout, style=options.style)
    if empty and not rows and options.style == "text":
        print(empty, file=sys.stderr)


def query(
    method: str,
    layout: str,
    grammar: Grammar | None = None,
    shape: Callable[[Message], Message] = dict,
    empty: str = "",
) -> Act:
    """Make a verb: one method, called with the words that follow, whose rows are shown."""

    def act(options: Options, words: list[str]) -> int:
        parameters = shape((grammar or Grammar()).read(words))
        if options.style == "json":
            with Client(find_socket(options.socket)) as client:
                render.write_json(client.stream(method, parameters), sys.stdout)
            return 0
        nothing = empty or ("nothing to show" if layout != "lines" else "")
        show(options, ask(options, method, parameters), layout, nothing)
        return 0

    return act


def port_to_add(values: Message) -> Message:
    """Shape the words of `port add` for PortAdd."""
    return {"port": port_table({key: value for key, value in values.items() if value is not None})}


def port_to_set(values: Message) -> Message:
    """Shape the words of `port set` for PortSet."""
    name = values.pop("name")
    if not values:
        raise UsageError("nothing to set")
    return {"port": name, "changes": port_table(values)}


def mirror_to_add(values: Message) -> Message:
    """Shape the words of `mirror add` for MirrorAdd."""
    return {"mirror": mirror_table(values)}


def flushed(options: Options, words: list[str]) -> int:
    """Forget FDB entries and tell how many."""
    rows = ask(options, "FdbFlush", FDB_FILTER.read(words))
    show(options, [{**row, "text": f"{row['flushed']} FDB entries flushed"} for row in rows], "lines")
    return 0


def aged(options: Options, words: list[str]) -> int:
    """Age FDB entries fast and tell how many went."""
    values = Grammar(option="seconds", keys={"port": TEXT, "vlan": NUMBER}).read(
        words if words and words[0].isdigit() else ["", *words]
    )
    seconds = values.pop("seconds")
    rows = ask(options, "FdbAge", {**values, "seconds": int(seconds)} if seconds else values)
    show(options, [{**row, "text": f"{row['aged']} FDB entries aged"} for row in rows], "lines")
    return 0


def drops(options: Options, words: list[str]) -> int:
    """Show drops; an option adds those that never happened."""
    Grammar().read(words)
    show(options, ask(options, "DropsShow", {"all": options.all}), "drops", "no frame was dropped")
    return 0


def bill(
    method: str, grammar: Grammar, write: Callable[[Sequence[Row]], str], empty: str = "nothing was spent"
) -> Act:
    """Make a verb about the bill: one method, and a function that writes its rows for people."""

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
    values = Grammar(keys=COST_WINDOW | {"by": VIEW, "top": NUMBER}, flags=COST_FLAGS).read(words)
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
    from bridge import cost_record

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
    from bridge import cost_plot

    values = Grammar(("file", "picture")).read(words)
    lines = cost_plot.plot(Path(values["file"]), Path(values["picture"]))
    print(f"{values['picture']}: {lines} lines drawn", file=sys.stderr)
    return 0


def run(options: Options, words: list[str]) -> int:
    """Be the daemon."""
    from bridge import daemon

    return daemon.main(Grammar(names=("file",)).read(words)["file"], verbose=options.verbose)


def check(options: Options, words: list[str]) -> int:
    """Validate a file; show the plan from the running configuration, or from nothing if no daemon answers."""
    from bridge import config as configs

    file = Grammar(names=("file",)).read(words)["file"]
    config = configs.load(file)
    path = options.socket or config.bridge.socket_path
    try:
        client = Client(path)
    except ControlError:
        if options.socket:
            raise
        from bridge.plan import plan

        rows = [
            {"action": step.kind, "subject": step.subject, "text": str(step)} for step in plan(None, config)
        ]
        found = _audit_from_here(config)
        origin = f"valid; to be done from nothing (no daemon to ask on {path}):"
    else:
        with client:
            text: Message = {"toml": configs.to_toml(config), "source": file}
            rows = client.rows("CheckPlan", text)
            found = client.rows("CheckAudit", text)
        origin = f"valid; to be done by the daemon on {path}:"
    if options.style == "text":
        print(origin)
    found = [{"action": "audit", "subject": row["port"], **row} for row in found]
    show(options, rows + found, "lines", "nothing")
    return 0


def _audit_from_here(config: Config) -> list[Row]:
    """Audit the devices of a configuration without a daemon."""
    import asyncio

    from bridge.audit import audit_from_here

    return [finding.row for finding in asyncio.run(audit_from_here(config.ports))]


def reload(options: Options, words: list[str]) -> int:
    """Have the daemon read its file again, or put the file named here in force."""
    file = Grammar(option="file").read(words).get("file")
    parameters: Message = {}
    if file:
        try:
            parameters = {"toml": Path(file).read_text(encoding="utf-8-sig"), "source": file}
        except (OSError, UnicodeDecodeError) as error:
            raise ControlError(f"cannot read {file}: {error}") from None
    show(options, ask(options, "Reload", parameters), "lines", "nothing to change")
    return 0


def monitor(options: Options, words: list[str]) -> int:
    """Show events as they come: lines for people, one JSON object per line for programs."""
    Grammar().read(words)
    with Client(find_socket(options.socket)) as client:
        for rows in client.stream("Monitor", forever=True):
            for row in rows:
                text = render.event(row)
                if options.style != "text":
                    text = render.to_json(row, pretty=options.style == "pretty")
                print(text, flush=True)
    return 0


def version(options: Options, words: list[str]) -> int:
    """Show the version of this command and, if one answers, of the daemon."""
    from bridge import __version__  # asks the package metadata, which takes its time

    Grammar().read(words)
    rows: list[Row] = [{"component": "command", "version": __version__}]
    try:
        rows += [{"component": "daemon", **row} for row in ask(options, "Version")]
    except ControlError:
        if options.socket:
            raise
    texts = [f"framebridge {row['version']}" + _origin(row) for row in rows]
    if options.style == "text":
        rows = [{"text": text} for text in texts]
    show(options, rows, "lines")
    return 0


def _origin(row: Row) -> str:
    return f" (daemon of {row['bridge']}, pid {row['pid']})" if "pid" in row else ""


def top(options: Options, words: list[str]) -> int:
    """Show the bill live."""
    from bridge import top as display

    return display.main(options, words)


def lab(_: Options, arguments: list[str]) -> int:
    """Hand over to the lab."""
    from bridge import lab as laboratory

    return laboratory.main(arguments)


# -- the table of verbs

PORT_ARGUMENTS = """\
  kind tap|link|memory  what the port is
  device DEVICE         tap to make or attach to, or network device to bind to
  netns NAME            network namespace that holds the device
  access VID            untagged, in one VLAN
  trunk LIST            tagged: VLAN IDs and ranges like 10,20,100-119
  native VID            with trunk: the VLAN of untagged frames
  native_tagged on|off  with native: its frames leave tagged
  map LIST|none         with trunk: VLANs with other tags on the wire, WIRE:VLAN like 100:10,200.30:20
  mirror on             in no VLAN: takes the copies of mirrors, and nothing it receives enters the bridge
  tunnel VID            untagged, inner tags are payload (dot1q-tunnel)
  tpid 802.1Q|802.1ad   the tag protocol
  mtu BYTES             layer-3 bytes
  flood LIST|all|none   what is flooded to it: unknown, multicast, broadcast
  mac_limit N           most FDB entries, 0 for no limit
  learning on|off       learn source addresses
  locked on|off         only sources that are allowed or known on the port may send
  allow LIST|none       with locked: sources that may, like 02:00:00:00:00:01,00:00:5e:00:01:00/40
  source_guard LIST|none  IP addresses that may be spoken from, like 10.0.0.5,2001:db8::/64,'MAC ADDRESS'
  priority_tags never|if_nonzero|always
                        frames that would leave untagged get a tag with VID 0
  default_pcp 0-7       PCP of frames that come untagged
  isolated on|off       no traffic between isolated ports
  horizon N             no traffic between ports of split-horizon group N, 0 for none
  hairpin on|off        frames may leave by the port they came by
  direction both|ingress|egress
                        ingress: it only receives; egress: it only sends
  enabled on|off        administrative state
  kernel_filter on|off  with link: frames of VLANs not carried end in the kernel, uncounted
  storm_control LIMITS  none, or limits by class: broadcast=1000frames/s,multicast=10Mbit/s,unknown=5%
The value 'default' puts a key back to its default.
"""

COST_WINDOW = {"last": NUMBER, "since": TEXT}
COST_FLAGS = {**dict.fromkeys(COST_VIEWS, "by"), "what_if": "by"}  # 'by' may be left out
COST_HISTOGRAM = Grammar(keys={"since": TEXT}, flags=dict.fromkeys(COST_HISTOGRAMS, "name"))

FDB_FILTER = Grammar(
    keys={"port": TEXT, "vlan": NUMBER, "mac": TEXT, "state": TEXT, "older": NUMBER},
)
FDB_WORDS = Grammar(
    names=("mac",),
    keys={"vlan": NUMBER, "port": TEXT},
    flags={"static": "kind", "sticky": "kind", "drop": "kind", "dynamic": "kind"},
    required=("vlan",),
)

VERBS = (
    Verb(
        "run",
        "FILE",
        "be the bridge that FILE describes, in the foreground",
        run,
        """\
It is ready when its control socket exists. SIGTERM or Ctrl-C ends it and removes what it made; SIGHUP makes
it read FILE again. -v logs more.

example:
  framebridge run /etc/framebridge/dmz.toml
""",
    ),
    Verb(
        "check",
        "FILE",
        "validate FILE and show what it would do",
        check,
        """\
Every problem is listed with its key and line. If the daemon of FILE (or of -s) answers, the plan starts from
what it runs now, otherwise from nothing. Below the plan stands what `port audit` would find. Nothing is changed.
""",
    ),
    Verb(
        "reload",
        "[FILE]",
        "have the daemon read its file again, or put FILE in force",
        reload,
        """\
All or nothing: with any problem the configuration stays as it is, and the exit status is 1. Ports that do not
change keep their traffic, counters and FDB entries.
""",
    ),
    Verb(
        "bridge show",
        "",
        "settings of the bridge as a whole",
        query("BridgeShow", "blocks"),
        """\
They are the [bridge] table of the file; a reload changes all but name, fdb_size, address and control_socket.
""",
    ),
    Verb(
        "port show",
        "[PORT]",
        "ports: configuration, state, totals",
        query("PortShow", "port", Grammar(option="port")),
    ),
    Verb(
        "port add",
        "PORT kind KIND [KEY VALUE]...",
        "add a port",
        query("PortAdd", "lines", Grammar(("name",), keys=PORT_KEYS, required=("kind",)), port_to_add),
        f"""\
{PORT_ARGUMENTS}
The port is gone after a restart or reload unless the file has it too.

examples:
  framebridge port add guests kind tap device tap0 access 10
  framebridge port add uplink kind link device eth1 trunk 10,20,100-119 native 1
""",
    ),
    Verb(
        "port set",
        "PORT KEY VALUE...",
        "change a port in place",
        query("PortSet", "lines", Grammar(("name",), keys=PORT_KEYS), port_to_set),
        f"""\
{PORT_ARGUMENTS}
examples:
  framebridge port set guests mtu 9000 isolated on
  framebridge port set uplink native default
""",
    ),
    Verb("port del", "PORT", "remove a port", query("PortDel", "lines", Grammar(("port",)))),
    Verb(
        "port unblock",
        "PORT",
        "let a blocked port forward again",
        query("PortUnblock", "lines", Grammar(("port",))),
        """\
A port is blocked when a loop is found behind it, or an address moves too often ([loop_detection], [move_guard]). It
comes back by itself after the recovery time; 'port show' tells which is, and why.
""",
    ),
    Verb(
        "port storm",
        "[PORT]",
        "what storm control limits, and what became of it",
        query(
            "PortStorm", "storm", Grammar(option="port"), empty="no limits; see 'port set PORT storm_control'"
        ),
    ),
    Verb(
        "port audit",
        "[PORT]",
        "what about the devices of ports loses frames or costs cycles, and what to do",
        query("PortAudit", "lines", Grammar(option="port"), empty="nothing found that would hurt"),
        """\
error: frames are lost, doubled or sent in circles. warning: some are lost, or may be. notice: all arrive, at the
price of cycles. The daemon looks whenever a port or its device changes, and logs what is new.
""",
    ),
    Verb(
        "port guard",
        "[PORT]",
        "who may send on locked and guarded ports, from which addresses, and how often others tried",
        query("PortGuard", "table", Grammar(option="port"), empty="no port is locked or guarded"),
        """\
A station that a locked port kept out shows in `monitor` as fdb-locked; let it in for as long as it keeps talking:
  framebridge fdb add 02:00:00:00:00:01 vlan 10 dynamic
or for good:
  framebridge port set guests locked on allow 02:00:00:00:00:01
""",
    ),
    Verb("vlan show", "", "VLANs and the ports that carry them", query("VlanShow", "vlan")),
    Verb(
        "fdb show",
        "[port PORT] [vlan VID] [mac MAC] [state STATE] [older SECONDS]",
        "the forwarding database: which address is on which port",
        query("FdbShow", "fdb", FDB_FILTER),
        """\
Every filter given has to fit. STATE is dynamic, sticky, static or drop; older: silent for so long, or longer.

examples:
  framebridge fdb show vlan 10
  framebridge -j fdb show port uplink | jq -r '.[].mac'
""",
    ),
    Verb(
        "fdb add",
        "MAC vlan VID [port PORT] [static|sticky|drop|dynamic]",
        "add or replace an FDB entry",
        query("FdbAdd", "lines", FDB_WORDS),
        """\
static (the default): never ages, never moves. sticky: ages, never moves. drop: frames from and to this
address are dropped on every port; it takes no port. dynamic: as if learned; with learning = "controlled"
this lets an address in, by default on the port where it was seen.

examples:
  framebridge fdb add 02:00:00:00:00:01 vlan 10 port guests
  framebridge fdb add 02:00:00:00:00:66 vlan 10 drop
""",
    ),
    Verb(
        "fdb del",
        "MAC vlan VID",
        "remove an FDB entry",
        query("FdbDel", "lines", Grammar(("mac",), keys={"vlan": NUMBER}, required=("vlan",))),
    ),
    Verb(
        "fdb flush",
        "[port PORT] [vlan VID] [mac MAC] [state dynamic|sticky|held] [older SECONDS]",
        "forget learned FDB entries",
        flushed,
        """\
Every filter given has to fit. Static and drop entries stay; use fdb del. That nothing fits is no error.

example:
  framebridge fdb flush vlan 10 older 60
""",
    ),
    Verb(
        "fdb age",
        "[SECONDS] [port PORT] [vlan VID]",
        "forget learned FDB entries that were silent for SECONDS (15) or longer",
        aged,
        """\
What a switch does when the topology changes: who speaks stays, who may be elsewhere by now is looked for again. 15
seconds are 802.1Q's forward delay. The ageing time of the bridge stays as it is.

example:
  framebridge fdb age 5 port uplink
""",
    ),
    Verb(
        "mirror show",
        "",
        "mirrors: what they copy, where to, what became of the copies",
        query("MirrorShow", "mirror", empty="no mirrors; add one with `mirror add`"),
    ),
    Verb(
        "mirror add",
        "MIRROR to_port PORT | file FILE [KEY VALUE]... [replace]",
        "copy frames to a port or into a pcapng file",
        query("MirrorAdd", "lines", Grammar(("name",), keys=MIRROR_KEYS, flags=MIRROR_FLAGS), mirror_to_add),
        """\
  to_port PORT          a port with `mirror on`
  file FILE             absolute path; a file with something in it is refused unless you say replace, or files
  ports LIST            only frames of these ports
  direction rx|tx|both  frames that arrive there, or leave, or both (the default)
  vlans LIST            only frames of these VLANs
  what frames|drops|all frames that go on (the default), frames that are dropped, or both
  snaplen BYTES         cut copies to so many bytes
  file_size SIZE        of a file, like 100MB (the default): then it is full, or
  files N               the next one begins; so many are kept
  rate RATE             like 10Mbit/s or 1000frames/s; what exceeds it is counted, not copied

The mirror is gone after a restart or reload unless the file has it too.

examples:
  framebridge mirror add ids to_port tap-ids vlans 10
  framebridge mirror add why file /var/tmp/drops.pcapng what drops ports uplink
""",
    ),
    Verb(
        "mirror del",
        "MIRROR",
        "remove a mirror; its file stays",
        query("MirrorDel", "lines", Grammar(("mirror",))),
    ),
    Verb(
        "stats show",
        "[PORT]",
        "every counter of every port, and the totals",
        query("StatsShow", "blocks", Grammar(option="port")),
    ),
    Verb("drops show", "[-a]", "frames dropped, by port and reason; -a: every reason", drops),
    Verb(
        "cost show",
        "[by VIEW] [last SECONDS | since NAME] [top N] [--what-if]",
        "the bill: CPU cycles by stage, port, vlan, class or talker",
        cost,
        """\
VIEW is stage (the default), port (of ingress), vlan, class or talker (source address); 'by' may be left out. What is
shown adds up to the busy cycles since the last clearing, of the last SECONDS (at most 3600), or since a baseline.
--what-if shows what would make the bill smaller, and by how much.

examples:
  framebridge cost show by talker last 60 top 10
  framebridge -j cost show class | jq '.[] | select(.class == "broadcast").share'
  framebridge cost show --what-if last 600
""",
    ),
    Verb(
        "cost summary",
        "[last SECONDS | since NAME]",
        "the time of the data thread: busy, polling, blocked; the CPU clock beside it",
        bill("CostSummary", Grammar(keys=COST_WINDOW), cost_text.summary_text),
    ),
    Verb(
        "cost clear",
        "[NAME]",
        "count cycles from zero again, or keep this moment as the baseline NAME",
        query("CostClear", "lines", Grammar(option="name")),
        """\
Nothing is reset but the log of slow batches: what was counted so far is subtracted from what is shown. With NAME
nothing is subtracted; 'cost show since NAME' and others show what was spent from here on.
""",
    ),
    Verb(
        "cost slow",
        "",
        "the slowest batches since the last clearing, and where their time went",
        bill("CostSlow", Grammar(), cost_text.slow_text, "no batch yet"),
    ),
    Verb(
        "cost budgets",
        "",
        "what the configured budgets limit, and what became of them",
        query("CostBudgets", "budget", empty="no budgets; add [[budget]] tables to the configuration"),
    ),
    Verb(
        "cost histogram",
        "[NAME] [since BASELINE]",
        "how cycles and frames of batches are spread: batch_cycles, batch_frames, frame_cycles",
        bill("CostHistogram", COST_HISTOGRAM, _histogram, "no batch yet"),
    ),
    Verb(
        "cost record",
        "FILE [seconds N] [interval S] [append | replace]",
        "write the bill to FILE, a line of JSON every S seconds (1), until Ctrl-C",
        record,
    ),
    Verb(
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
    Verb(
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
    Verb("monitor", "", "show events as they happen, until Ctrl-C", monitor),
    Verb(
        "lab",
        "[ARGUMENT]...",
        "build a network, run the bridge in it, show it at work, clean up",
        lab,
        is_raw=True,
    ),
    Verb("version", "", "the version of this command and of the daemon", version),
)
