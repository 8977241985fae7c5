"""The program `framebridge`: from a command line to a command and an exit status. `main` is the entry point.

Exit status: 0 done; 1 refused, or no daemon; 2 a command line that makes no sense; 130 after Ctrl-C and 141
after a broken pipe, as shells count signals. Errors go to stderr, output to stdout.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from bridge.cli.command import Command, Options
from bridge.cli.commands import COMMANDS
from bridge.cli.grammar import UsageError, match
from bridge.errors import FramebridgeError
from bridge.render.fill import fill

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}  # what is to be shown goes to a file
USAGE = "framebridge [-j | -p] [-s SOCKET]"

INTRODUCTION = """\
A layer-2 frame bridge in userspace: guest LANs on taps, external VLANs on an 802.1Q trunk.
"""

CONVENTIONS = """\
Objects, commands and keys may be shortened as long as they are unique: `framebridge fd sh`. An object alone
means its show. `framebridge OBJECT COMMAND -h` explains a command.

options:
  -s, --socket SOCKET  control socket of the daemon (default: $FRAMEBRIDGE_SOCKET, or the only one in
                       /run/framebridge)
  -d, --details        all columns, however wide (`stats show`: with drops); else those that fit the terminal
  -br, --brief         few columns
  -c, --colour         states in colour
  -j, --json           JSON: a list of flat objects (monitor: one object per line)
  -p, --pretty         the same, indented
  -batch FILE          do the commands of FILE (-: of standard input), a line each, until one fails; -force: all of them
  -h, --help           this help

exit status: 0 done, 1 refused or no daemon, 2 wrong usage

examples:
  framebridge check dmz.toml && framebridge run dmz.toml
  framebridge port add guests2 kind tap device tap1 access 20
  framebridge drops show
"""


# -- from the command line to a command


class Parser(argparse.ArgumentParser):
    """Options, wherever they stand; its errors are UsageErrors."""

    def __init__(self) -> None:
        super().__init__(prog="framebridge", add_help=False)
        self.add_argument("words", nargs="*")
        self.add_argument("-s", "--socket")
        self.add_argument("-j", "--json", dest="style", action="store_const", const="json", default="text")
        self.add_argument("-p", "--pretty", dest="style", action="store_const", const="pretty")
        self.add_argument("-a", "--all", action="store_true")
        self.add_argument("-d", "--details", "--drops", dest="details", action="store_true")
        self.add_argument("-br", "--brief", action="store_true")
        self.add_argument("-c", "--colour", "--color", dest="colour", action="store_true")
        self.add_argument("--what-if", action="store_true")
        self.add_argument("--saved", action="store_true")
        self.add_argument("-v", "--verbose", action="store_true")
        self.add_argument("-i", "--interval")
        self.add_argument("--once", action="store_true")
        self.add_argument("--keep")
        self.add_argument("--strict", action="store_true")
        self.add_argument("--take-over", action="store_true")
        self.add_argument("-h", "--help", action="store_true")
        self.add_argument("-V", "--version", action="store_true")
        self.add_argument("-batch", "--batch", metavar="FILE")
        self.add_argument("-force", "--force", action="store_true")

    def error(self, message: str) -> NoReturn:
        """Raise instead of exiting."""
        raise UsageError(message)


def select(words: Sequence[str]) -> tuple[list[Command], list[str]]:
    """Find the commands that the first words mean, and give back the words after them."""
    objects = dict.fromkeys(command.words.split()[0] for command in COMMANDS)
    chosen = match(words[0], objects, "object")
    commands = {
        command.words.partition(" ")[2]: command for command in COMMANDS if command.words.split()[0] == chosen
    }
    if "" in commands:
        return [commands[""]], list(words[1:])
    if len(words) == 1:
        return list(commands.values()), []
    return [commands[match(words[1], commands, f"{chosen} command")]], list(words[2:])


def overview() -> str:
    """List all commands, a line each."""
    width = max(len(command.words) for command in COMMANDS)
    lines = [f"  {command.words:<{width}}  {command.summary}\n" for command in COMMANDS]
    return f"usage: {USAGE} OBJECT [COMMAND] [ARGUMENT]...\n\n{''.join(lines)}"


def explanation(commands: Sequence[Command]) -> str:
    """Explain the commands of one object, a single one in full."""
    usages = [f"{USAGE} {command.words} {command.arguments}".rstrip() for command in commands]
    if len(commands) == 1:
        notes = f"\n{commands[0].explanation}" if commands[0].notes else ""
        return f"usage: {usages[0]}\n\n{commands[0].summary}\n{notes}"
    return "\n".join(
        f"{usage}\n    {command.summary}\n" for usage, command in zip(usages, commands, strict=True)
    )


def _fitting(text: str) -> str:
    return fill(text, shutil.get_terminal_size().columns)


def dispatch(argv: Sequence[str]) -> int:
    """Do what a command line says; raises UsageError or FramebridgeError."""
    if (raw := raw_arguments(argv)) is not None:
        return raw[0].act(Options(), raw[1])
    options = Parser().parse_intermixed_args(argv)
    if options.batch is not None:
        return run_batch(options)
    words = ["version"] if options.version else options.words
    if len(words) > 1 and words[-1] == "help":  # as `ip link help`
        words, options.help = words[:-1], True
    if not words and not options.help:
        raise UsageError(f"an object is missing\n{overview()}")
    if not words or words == ["help"]:
        print(_fitting(f"{INTRODUCTION}\n{overview()}\n{CONVENTIONS}"), end="")
        return 0
    commands, rest = select(words)
    if options.help:
        print(_fitting(explanation(commands)), end="")
        return 0
    command = next(command for command in commands if len(commands) == 1 or command.words.endswith(" show"))
    try:
        return command.act(options, rest)
    except UsageError as error:
        raise UsageError(
            f"{command.words}: {error}\nusage: framebridge {command.words} {command.arguments}"
        ) from None


def run_batch(options: Options) -> int:
    """Do the commands of a file, each with the options of this command line; returns the first status that is not 0."""
    if options.words:
        raise UsageError(
            f"-batch takes commands from {options.batch}, and none beside: {' '.join(options.words)}"
        )
    common = [
        *(("-s", options.socket) if options.socket else ()),
        *(("-j",) if options.style == "json" else ()),
    ]
    first = 0
    for number, line in enumerate(_lines(options.batch), 1):
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            raise UsageError(f"{options.batch}: line {number}: {error}") from None
        if not words:
            continue
        try:
            status = dispatch([*common, *words])
        except (UsageError, FramebridgeError) as error:
            print(f"framebridge: {options.batch}: line {number}: {error}", file=sys.stderr)
            status = 2 if isinstance(error, UsageError) else 1
        first = first or status
        if status and not options.force:
            break
    return first


def _lines(path: str) -> Iterator[str]:
    """Give the lines of a file; of standard input as they come."""
    if path == "-":
        yield from sys.stdin
        return
    try:
        yield from Path(path).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def raw_arguments(argv: Sequence[str]) -> tuple[Command, list[str]] | None:
    """Return a command that reads its own arguments, with these, if the command line names one."""
    for place, (last, word) in enumerate(zip(["", *argv], argv, strict=False)):
        if not word.startswith("-") and last not in ("-s", "--socket"):
            with contextlib.suppress(UsageError):
                command = select([word])[0][0]
                return (command, [*argv[:place], *argv[place + 1 :]]) if command.is_raw else None
            return None
    return None


def drop_output() -> None:
    """Forget what is still buffered, which must not fail again when the interpreter ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    if sys.stdout is None:  # closed by whoever started it
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = dispatch(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except UsageError as error:
        print(f"framebridge: {error}", file=sys.stderr)
        return 2
    except FramebridgeError as error:
        for line in str(error).splitlines():
            print(f"framebridge: {line}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        drop_output()
        return 141
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        drop_output()
        print(f"framebridge: cannot write what is to be shown: {error.strerror}", file=sys.stderr)
        return 1
    return status
