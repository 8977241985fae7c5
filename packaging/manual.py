"""Manual pages, made of what the program says itself: `python packaging/manual.py DIRECTORY`.

framebridge(8) and a page for each object of the command line are made of the command table (bridge/cli/commands.py),
with the keys that the help of a command lists; framebridge.toml(5) is docs/configuration.md, which a test compares with
the keys that there are. So nothing is said here that could be wrong later. Source: man(7), groff_man(7).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from bridge import __version__
from bridge.cli.command import Command
from bridge.cli.commands import COMMANDS
from bridge.cli.main import CONVENTIONS, INTRODUCTION, USAGE

CONFIGURATION = Path(__file__).parents[1] / "docs" / "configuration.md"
FILES = {
    "/etc/framebridge/NAME.toml": "configuration of the bridge that the unit framebridge@NAME runs",
    "/run/framebridge/NAME.sock": "its control socket; who is in its group may change the bridge",
    "/var/lib/framebridge/captures": "what mirrors write",
}


def objects() -> dict[str, list[Command]]:
    """The commands of each object, in the order of the help."""
    found: dict[str, list[Command]] = {}
    for command in COMMANDS:
        found.setdefault(command.words.split()[0], []).append(command)
    return found


def pages() -> dict[str, str]:
    """Every page by the name of its file."""
    made = {"framebridge.8": overview(), "framebridge.toml.5": configuration(CONFIGURATION.read_text())}
    return made | {
        f"framebridge-{name}.8": object_page(name, commands) for name, commands in objects().items()
    }


# -- roff


def escape(text: str) -> str:
    """Text as it stands, for a line of its own or a part of one."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("~", "\\(ti").replace("^", "\\(ha")
    return "\n".join("\\&" + line if line[:1] in (".", "'") else line for line in text.splitlines())


def verbatim(text: str) -> str:
    """Lines that stay as they are."""
    lines = [escape(line) or "." for line in text.rstrip("\n").splitlines()]
    return "\n".join([".nf", *(".PP" if line == "." else line for line in lines), ".fi"])


def header(name: str, section: int, what: str) -> str:
    """The beginning of a page."""
    title = escape(name)
    return f'.TH "{title.upper()}" {section} "" "framebridge {__version__}"\n.SH NAME\n{title} \\- {escape(what)}\n'


def see_also(names: Iterable[tuple[str, int]]) -> str:
    """The end of a page."""
    return (
        ".SH SEE ALSO\n" + ",\n".join(f"\\fB{escape(name)}\\fR({section})" for name, section in names) + "\n"
    )


# -- pages of commands


def overview() -> str:
    """framebridge(8)."""
    parts = [
        header("framebridge", 8, "layer-2 frame bridge in userspace that shows its bill"),
        f".SH SYNOPSIS\n\\fBframebridge\\fR {escape(USAGE.partition(' ')[2])} OBJECT [COMMAND] [ARGUMENT]...\n",
        f".SH DESCRIPTION\n{escape(INTRODUCTION.strip())}\n",
        ".SH COMMANDS\n",
        *(f".TP\n\\fB{escape(one.words)}\\fR\n{escape(one.summary)}\n" for one in COMMANDS),
        f".SH CONVENTIONS\n{verbatim(CONVENTIONS)}\n",
        ".SH FILES\n",
        *(f".TP\n.I {escape(file)}\n{escape(what)}\n" for file, what in FILES.items()),
        see_also([*((f"framebridge-{name}", 8) for name in objects()), ("framebridge.toml", 5)]),
    ]
    return "".join(parts)


def object_page(name: str, commands: list[Command]) -> str:
    """The page of one object."""
    what = commands[0].summary if len(commands) == 1 else f"framebridge's commands of {name}"
    parts = [header(f"framebridge-{name}", 8, what), ".SH SYNOPSIS\n"]
    for number, command in enumerate(commands):
        parts.append(".br\n" if number else "")
        parts.append(
            f"\\fBframebridge {escape(command.words)}\\fR {escape(command.arguments)}".rstrip() + "\n"
        )
    parts.append(".SH DESCRIPTION\n")
    for command in commands:
        parts.append(f".SS {escape(command.words)}\n" if len(commands) > 1 else "")
        parts.append(f"{escape(command.summary[0].upper() + command.summary[1:])}.\n")
        if command.notes:
            parts.append(f".PP\n{verbatim(command.explanation)}\n")
    return "".join([*parts, see_also([("framebridge", 8), ("framebridge.toml", 5)])])


# -- a page of Markdown


def configuration(text: str) -> str:
    """framebridge.toml(5)."""
    title, _, body = text.partition("\n")
    assert title.startswith("# "), title
    name = header("framebridge.toml", 5, "configuration of a bridge of framebridge")
    end = see_also([("framebridge", 8), ("framebridge-check", 8)])
    return name + markdown(f"## DESCRIPTION\n{body}") + end


def inline(text: str) -> str:
    """A line of prose, with code, emphasis and links."""

    def mark(found: re.Match[str]) -> str:
        code, label, emphasis = found.groups()
        if label is not None:
            return inline(label)
        return f"\\fB{escape(code)}\\fR" if code is not None else f"\\fI{escape(emphasis)}\\fR"

    pattern = r"`([^`]+)`|\[((?:`[^`]*`|[^\]`])*)\]\([^)]*\)|(?<!\w)\*([^*\s][^*]*)\*"
    done, place = "", 0
    for found in re.finditer(pattern, text):
        done += escape(text[place : found.start()]) + mark(found)
        place = found.end()
    done += escape(text[place:])
    return "\\&" + done if done[:1] in (".", "'") else done


def markdown(text: str) -> str:
    """Headings, paragraphs, tables, lists and code as roff."""
    page = "".join(f"{block}\n" for block in _blocks(iter(text.splitlines())))
    return re.sub(r"^(\.S[HS] .*\n|\.PP\n)(?:\.PP\n)+|^\.PP\n(?=\.S[HS] |\.TP)", r"\1", page, flags=re.M)


def _blocks(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if not line.strip():
            continue
        if line.startswith("```"):
            yield ".PP\n.RS 4\n" + verbatim("\n".join(_until_fence(lines))) + "\n.RE\n.PP"
        elif heading := re.match(r"(#+) (.*)", line):
            yield (".SH " if len(heading[1]) == 2 else ".SS ") + inline(heading[2])
        elif line.startswith("|"):
            yield from _table([line, *_while(lines, "|")])
        elif item := re.match(r"[*-] (.*)", line):
            yield f".IP \\(bu 2\n{inline(item[1])}"
        elif line.startswith("  "):
            yield inline(line.strip())
        else:
            yield "\n".join([".PP", inline(line), *(inline(one) for one in _paragraph(lines))])


def _until_fence(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if line.startswith("```"):
            return
        yield line


def _while(lines: Iterator[str], begin: str) -> Iterator[str]:
    for line in lines:
        if not line.startswith(begin):
            assert not line.strip(), f"a blank line is missing before {line!r}"
            return
        yield line


def _paragraph(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if not line.strip():
            return
        yield line


def _table(rows: list[str]) -> Iterator[str]:
    """A row as a term and what is said of it."""
    for row in rows[2:]:
        term, *cells = (cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip().strip("|")))
        cells = [cell.replace("\\|", "|") for cell in cells]
        yield f".TP\n{inline(term)}\n" + "; ".join(inline(cell) for cell in cells if cell)


def main(directory: Path) -> None:
    """Write all pages."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (directory / name).write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
