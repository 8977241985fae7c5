"""Commands of the daemon's life: what begins and changes it, and what looks at it as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge import __version__
from bridge.cli.command import Command, Options, ask, query, show
from bridge.cli.grammar import Grammar, UsageError
from bridge.control.client import Client, find_socket
from bridge.control.protocol import Message, Row
from bridge.errors import ControlError
from bridge.render import table as render

if TYPE_CHECKING:
    from bridge.config.whole import Config


def run(options: Options, words: list[str]) -> int:
    """Be the daemon."""
    from bridge.daemon import daemon

    keep = options.keep.split(",") if options.keep else ()
    for word in keep:
        if word not in daemon.KEEPING:
            raise UsageError(
                f"--keep takes words of {', '.join(daemon.KEEPING)}, with commas between, not {word!r}"
            )
    file = Grammar(names=("file",)).read(words)["file"]
    return daemon.main(
        file, verbose=options.verbose, keep=keep, strict=options.strict, take_over=options.take_over
    )


def check(options: Options, words: list[str]) -> int:
    """Validate a file; show the plan from the running configuration, or from nothing if no daemon answers."""
    from bridge.config.document import load

    file = Grammar(names=("file",)).read(words)["file"]
    config = load(file)
    path = options.socket or config.bridge.socket_path
    try:
        client = Client(path)
    except ControlError:
        if options.socket:
            raise
        from bridge.config.plan import plan

        rows = [
            {"action": step.kind, "subject": step.subject, "text": str(step)} for step in plan(None, config)
        ]
        found = _audit_from_here(config)
        origin = f"valid; to be done from nothing (no daemon to ask on {path}):"
    else:
        from bridge.config.write import to_toml

        with client:
            text: Message = {"toml": to_toml(config), "source": file}
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

    from bridge.audit.collect import audit_from_here

    return [finding.row for finding in asyncio.run(audit_from_here(config))]


def reload(options: Options, words: list[str]) -> int:
    """Have the daemon read its file again, or put the file named here in force."""
    file = Grammar(option="file").read(words).get("file")
    parameters: Message = {}
    if file:
        from bridge.config.document import read_text

        parameters = {"toml": read_text(file), "source": file}
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


def lab(_: Options, arguments: list[str]) -> int:
    """Hand over to the lab."""
    from bridge.lab import lab as laboratory

    return laboratory.main(arguments)


def config_show(options: Options, words: list[str]) -> int:
    """Print what is in force as a file."""
    Grammar().read(words)
    rows = ask(options, "ConfigShow")
    if options.style == "text":
        print(rows[0]["toml"], end="")
        return 0
    show(options, rows, "lines")
    return 0


BEGIN = (
    Command(
        "run",
        "FILE [--strict] [--take-over] [--keep netns,offload]",
        "be the bridge that FILE describes, in the foreground",
        run,
        """\
It is ready when its control socket exists. A port whose device or namespace is missing is attached when that
appears; with --strict a missing one is refused. With --take-over it goes on with the ports, the FDB and the
counters of the daemon that answers on the control socket of FILE, which ends then; no guest notices.
SIGTERM or Ctrl-C ends it and removes what it made; SIGHUP makes it read FILE again. -v logs more.

It needs CAP_NET_ADMIN and CAP_NET_RAW, for ports with a `netns` CAP_SYS_ADMIN, for [bridge] offload CAP_BPF, and
gives up at its start what FILE does not ask for. --keep netns, --keep offload: a later configuration may ask for it.

example:
  framebridge run /etc/framebridge/dmz.toml
""",
    ),
    Command(
        "check",
        "FILE",
        "validate FILE and show what it would do",
        check,
        """\
Every problem is listed with its key and line. If the daemon of FILE (or of -s) answers, the plan starts from
what it runs now, otherwise from nothing. Below the plan stands what `port audit` would find. Nothing is changed.
""",
    ),
    Command(
        "reload",
        "[FILE]",
        "have the daemon read its file again, or put FILE in force",
        reload,
        """\
All or nothing: with any problem the configuration stays as it is, and the exit status is 1. Ports that do not
change keep their traffic, counters and FDB entries.
""",
    ),
)

CONFIG = (
    Command(
        "config show",
        "",
        "print the configuration in force as a file, live changes included",
        config_show,
    ),
    Command(
        "config diff",
        "",
        "what was changed live and is not in the file of the daemon: a reload would undo it",
        query("ConfigDiff", "lines", empty="what is in force is what the file says"),
    ),
    Command(
        "log level",
        "LEVEL [LOGGER]",
        "log from now on what is at least so important",
        query("LogLevel", "lines", Grammar(names=("level",), option="logger")),
        """\
LEVEL is debug, info, warning or error. LOGGER is one package of the daemon, like bridge.engine or bridge.fdb (all).
""",
    ),
)

LOOK = (
    Command("monitor", "", "show events as they happen, until Ctrl-C", monitor),
    Command(
        "lab",
        "[ARGUMENT]...",
        "build a network, run the bridge in it, show it at work, clean up",
        lab,
        is_raw=True,
    ),
    Command("version", "", "the version of this command and of the daemon", version),
)
