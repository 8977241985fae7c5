"""Completion for bash, zsh and fish, made of the command table: `python packaging/completion.py DIRECTORY`.

What may follow a command is what its usage says: words in small letters, a file where it says FILE, the name of a port
where it says PORT; for commands that take keys of the configuration, the keys and choices that their help lists.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

from bridge.cli.command import Command
from bridge.cli.commands import COMMANDS
from bridge.cli.main import Parser

PLACES = {"FILE": "files", "PICTURE": "files", "PORT": "ports"}
PORTS = (
    """framebridge -j port show 2>/dev/null | tr ',{' '\\n\\n' | sed -n 's/^"port":"\\([^"]*\\)"$/\\1/p'"""
)


@dataclass
class Follows:
    """What may follow a command."""

    words: list[str] = field(default_factory=list)
    choices: dict[str, list[str]] = field(default_factory=dict)  # after a key
    places: set[str] = field(default_factory=set)  # files | ports


def follows(command: Command) -> Follows:
    """Read the usage of a command, and the keys in its help."""
    found = Follows()
    for token in re.findall(r"--?[a-z][a-z-]*|[A-Za-z_0-9]+(?:\|[A-Za-z_0-9]+)*", command.arguments):
        found.words += [word for word in token.split("|") if re.fullmatch("[a-z][a-z_0-9]*|--[a-z-]+", word)]
        found.places |= {PLACES[word] for word in token.split("|") if word in PLACES}
    if "KEY" in command.arguments:
        for name, syntax in re.findall(r"^  ([a-z][a-z_0-9]*) (\S+)(?: |$)", command.explanation, re.M):
            found.words.append(name)
            found.choices[name] = [word for word in syntax.split("|") if not re.fullmatch("[A-Z]+", word)]
            if "FILE" in syntax or "PORT" in syntax:
                found.places.add(PLACES[syntax.split("|")[0]])
    found.words = list(dict.fromkeys(found.words))
    return found


def tree() -> dict[str, dict[str, Follows]]:
    """Objects, their commands ("": the object is one), and what follows."""
    found: dict[str, dict[str, Follows]] = {}
    for command in COMMANDS:
        name, _, verb = command.words.partition(" ")
        found.setdefault(name, {})[verb] = follows(command)
    return found


def options() -> list[str]:
    """Every option of the command."""
    return [name for action in Parser()._actions for name in action.option_strings]


def valued() -> list[str]:
    """Options that a value follows."""
    return [name for action in Parser()._actions if action.nargs is None for name in action.option_strings]


def _cases() -> tuple[list[tuple[str, str]], list[tuple[str, Follows]], list[tuple[str, str]]]:
    """Commands of an object, what follows a command, and choices of a key, each by the words before."""
    commands, after, choices = [], [], []
    for name, verbs in tree().items():
        if "" not in verbs:
            commands.append((name, " ".join(verbs)))
        for verb, one in verbs.items():
            place = f"{name} {verb}".strip()
            after.append((place, one))
            choices += [(f"{place} {key}", " ".join(words)) for key, words in one.choices.items() if words]
    return commands, after, choices


def _shell(reply: str, files: str) -> str:
    """The part that bash and zsh have in common; `reply` offers $words, `files` files."""
    commands, after, choices = _cases()
    single = "|".join(name for name, verbs in tree().items() if "" in verbs)
    lines = [
        "    local current=$1 previous=$2 object='' command='' words='' files='' ports='' word skip=''; shift 2",
        '    for word in "$@"; do',
        "        if [[ -n $skip ]]; then skip=''; continue; fi",
        '        case "$word" in',
        f"            {'|'.join(valued())}) skip=1 ;;",
        "            -*) ;;",
        "            *) if [[ -z $object ]]; then object=$word; elif [[ -z $command ]]; then command=$word; fi ;;",
        "        esac",
        "    done",
        f'    case "$object" in {single}) command="" ;; esac',
        '    case "$previous" in -s|--socket) files=1 ;; esac',
        '    case "$object${command:+ $command} $previous" in',
        *(f"        '{place}') words='{found}' ;;" for place, found in choices),
        "    esac",
        '    if [[ -z $words$files ]]; then case "$object${command:+ $command}" in',
        f"        '') words='{' '.join(tree())}' ;;",
        *(f"        '{name}') words='{found}' ;;" for name, found in commands),
    ]
    for place, one in after:
        more = "".join(f" {kind}=1" for kind in sorted(one.places))
        lines.append(f"        '{place}') words='{' '.join(one.words)}'{more} ;;")
    lines += [
        "    esac; fi",
        f"    if [[ $current == -* ]]; then words='{' '.join(options())}' files='' ports=''; fi",
        f'    if [[ -n $ports ]]; then words="$words $({PORTS})"; fi',
        f"    {reply}",
        f"    if [[ -n $files ]]; then {files}; fi",
    ]
    return "\n".join(lines)


def bash() -> str:
    """The file for bash."""
    files = 'COMPREPLY+=($(compgen -f -- "$current")); compopt -o filenames'
    body = _shell('COMPREPLY=($(compgen -W "$words" -- "$current"))', files)
    return f"""\
# Completion of framebridge for bash. Made by packaging/completion.py.
_framebridge_words() {{
{body}
}}
_framebridge() {{
    local at=$COMP_CWORD
    _framebridge_words "${{COMP_WORDS[at]}}" "${{COMP_WORDS[at - 1]}}" "${{COMP_WORDS[@]:1:at - 1}}"
}}
complete -F _framebridge framebridge
"""


def zsh() -> str:
    """The file for zsh."""
    body = _shell("compadd -- ${=words}", "_files")
    return f"""\
#compdef framebridge
# Completion of framebridge for zsh. Made by packaging/completion.py.
_framebridge_words() {{
{body}
}}
local -a before
before=("${{(@)words[2,CURRENT-1]}}")
_framebridge_words "${{words[CURRENT]}}" "${{words[CURRENT-1]}}" "${{before[@]}}"
"""


def fish() -> str:
    """The file for fish."""
    commands, after, choices = _cases()
    lines = [
        "# Completion of framebridge for fish. Made by packaging/completion.py.",
        "function __framebridge_place",
        "    set -l place",
        "    set -l skip 0",
        "    for word in (commandline -opc)[2..-1]",
        "        if test $skip = 1; set skip 0; continue; end",
        f"        switch $word; case {' '.join(valued())}; set skip 1; case '-*'; case '*'; set -a place $word; end",
        "    end",
        "    echo -- $place",
        "end",
        "function __framebridge_at",
        "    set -l place (__framebridge_place)",
        '    test "$place" = "$argv"; or string match -q -- "$argv *" "$place"',
        "end",
        "function __framebridge_key",
        "    set -l place (__framebridge_place)",
        '    string match -q -- "$argv[1]*" "$place"; and test (commandline -opc)[-1] = $argv[2]',
        "end",
        "function __framebridge_ports",
        f"    {PORTS}",
        "end",
        "complete -c framebridge -f",
        f"complete -c framebridge -n 'test -z (__framebridge_place)' -a '{' '.join(tree())}'",
    ]
    for name, found in commands:
        lines.append(f"complete -c framebridge -n 'test (__framebridge_place) = {name}' -a '{found}'")
    for place, one in after:
        if one.words:
            lines.append(f"complete -c framebridge -n '__framebridge_at {place}' -a '{' '.join(one.words)}'")
        if "files" in one.places:
            lines.append(f"complete -c framebridge -n '__framebridge_at {place}' -F")
        if "ports" in one.places:
            lines.append(f"complete -c framebridge -n '__framebridge_at {place}' -a '(__framebridge_ports)'")
    for place, found in choices:
        before, _, key = place.rpartition(" ")
        lines.append(f"complete -c framebridge -n '__framebridge_key \"{before}\" {key}' -a '{found}'")
    for name in options():
        kind, value = ("l", name[2:]) if name.startswith("--") else ("s", name[1:])
        lines.append(f"complete -c framebridge -{kind} {value}{' -r' if name in valued() else ''}")
    return "\n".join(lines) + "\n"


FILES = {"framebridge": bash, "_framebridge": zsh, "framebridge.fish": fish}


def main(directory: Path) -> None:
    """Write a file for each shell."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, make in FILES.items():
        (directory / name).write_text(make())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
