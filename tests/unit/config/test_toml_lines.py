"""bridge.config.lines: every path tomllib reads has a line, and it is the right one."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from textwrap import dedent

import pytest
from helpers.profiles import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.config.document import key_lines
from bridge.config.lines import KeyPath, error_line, find_line, format_path, line_map


def paths(value: object, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Yield every path inside what tomllib returned."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield (*path, step)
        yield from paths(inner, (*path, step))


def lines_of(text: str) -> dict[str, int]:
    return {format_path(path): line for path, line in line_map(dedent(text)).items()}


def test_tables_and_keys() -> None:
    assert lines_of("""\
        top = 1
        # comment = 2
        [bridge]  # [not.this]
        name = "a" # b = 1

        [bridge.sub]
        x = 1
        """) == {"top": 1, "bridge": 3, "bridge.name": 4, "bridge.sub": 6, "bridge.sub.x": 7}


def test_arrays_of_tables_count_up_and_sub_tables_belong_to_the_newest() -> None:
    assert lines_of("""\
        [[port]]
        name = 1
        [[port]]
        [port.vlan]
        access = 1
        [[port.extra]]
        [[port.extra]]
        [[port]]
        [[port.extra]]
        """) == {
        "port": 1,
        "port[0]": 1,
        "port[0].name": 2,
        "port[1]": 3,
        "port[1].vlan": 4,
        "port[1].vlan.access": 5,
        "port[1].extra": 6,
        "port[1].extra[0]": 6,
        "port[1].extra[1]": 7,
        "port[2]": 8,
        "port[2].extra": 9,
        "port[2].extra[0]": 9,
    }


def test_dotted_and_quoted_keys() -> None:
    assert lines_of("""\
        a . b.c = 1
        "x.y".'z = 1' = 2
        "tab\\tz\\u00e9" = 3
        3.14 = 4
        [ q . "]" ]
        """) == {
        "a": 1,
        "a.b": 1,
        "a.b.c": 1,
        '"x.y"': 2,
        '"x.y"."z = 1"': 2,
        '"tab\\tz\\u00e9"': 3,
        "3": 4,
        "3.14": 4,
        "q": 5,
        'q."]"': 5,
    }


def test_array_elements_have_their_own_lines() -> None:
    assert lines_of("""\
        a = [ 1, # ]
          "2,]",
          [3, [
            4]], { b = 5, c.d = [6,
            7] },
        ]
        z = 1979-05-27 07:32:00.5
        """) == {
        "a": 1,
        "a[0]": 1,
        "a[1]": 2,
        "a[2]": 3,
        "a[2][0]": 3,
        "a[2][1]": 3,
        "a[2][1][0]": 4,
        "a[3]": 4,
        "a[3].b": 4,
        "a[3].c": 4,
        "a[3].c.d": 4,
        "a[3].c.d[0]": 4,
        "a[3].c.d[1]": 5,
        "z": 7,
    }


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    "string",
    [
        '"""\n# no comment\nk = 1\n"""',
        '"""\n\\""" [t]\n"""',
        '"""\n""\n"""""',
        "'''\n'' [t]\n'''''",
        "'''\n\\\n'''",
        '"""\n\\\\"""',
        '"""\n\n\n\n"""',
    ],
)
def test_multi_line_strings(string: str, end: str) -> None:
    text = f"a = {string}\nb = 1".replace("\n", end)
    assert tomllib.loads(text)["b"] == 1
    assert line_map(text) == {("a",): 1, ("b",): text.count("\n") + 1}


@pytest.mark.parametrize("quote", ['"', "'"])
@pytest.mark.parametrize("extra", [0, 1, 2])
def test_quotes_before_the_closing_ones_belong_to_the_string(quote: str, extra: int) -> None:
    string = quote * 3 + "x" + quote * (3 + extra)
    text = f"a = [{string}, {quote}],{quote}, 3]\nb = 1"
    assert list(line_map(text)) == [("a",), ("a", 0), ("a", 1), ("a", 2), ("b",)]


def test_windows_line_ends() -> None:
    text = "\r\n[a]\r\n\r\nb = [\r\n1,\r\n]\r\n[[c]]\r\n"
    assert line_map(text) == {("a",): 2, ("a", "b"): 4, ("a", "b", 0): 5, ("c",): 7, ("c", 0): 7}


def test_the_nearest_table_stands_in_for_a_missing_key() -> None:
    lines = line_map("[[port]]\nname = 1\n[[port]]\n")
    assert find_line(lines, ("port", 1, "vlan", "access")) == 3
    assert find_line(lines, ("port", 0, "name")) == 2
    assert find_line(lines, ("fdb",)) is None
    assert find_line(lines, ()) is None


@pytest.mark.parametrize(("text", "line"), [("a = 1\nb =\n", 2), ("\n\na = [1,\n2", 4), ("a = 1\na = 2", 2)])
def test_line_of_a_toml_error(text: str, line: int) -> None:
    with pytest.raises(tomllib.TOMLDecodeError) as caught:
        tomllib.loads(text)
    assert error_line(caught.value, text) == line


def test_no_line_in_another_error() -> None:
    assert error_line(ValueError("something else"), "a = 1") is None


# -- random documents: every key is new, so the first line that has it is where it stands

SCALARS = st.sampled_from(
    ["1", "-1.5e3", "true", "1979-05-27T07:32:00Z", "07:32:00", '"], # ="', "'} = ['", '"\\"]"', '""', "inf"]
)
MULTI_LINE = st.sampled_from(['"""\n[x]\n"""', "'''\n=,\n'''", '"""\n"" # \n"""""', '"""\\\n  a"""'])
SEPARATORS = st.sampled_from([",", ", ", ",\n", ",  # a ] comment\n  ", "\n,\n"])
Draw = Callable[[st.SearchStrategy[str]], str]


class Writer:
    """Writes random TOML in which no key is used twice."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.keys = 0

    def pick(self, *options: str) -> str:
        return self.draw(st.sampled_from(options))

    def key(self) -> str:
        self.keys += 1
        return self.pick(f"key{self.keys}_", f'"key{self.keys}_"', f"'key{self.keys}_'")

    def dotted(self) -> str:
        return self.pick(".", " . ").join(self.key() for _ in range(int(self.pick("1", "1", "2", "3"))))

    def value(self, depth: int) -> str:
        kind = self.pick("scalar", "scalar", "string", "array", "inline") if depth else "scalar"
        if kind == "array":
            items = [self.value(depth - 1) for _ in range(int(self.pick("0", "1", "3")))]
            return (
                "["
                + self.pick("", "\n")
                + self.draw(SEPARATORS).join(items)
                + self.pick("", "\n", " # ]\n")
                + "]"
            )
        if kind == "inline":
            return (
                "{"
                + ", ".join(self.assignment(depth - 1) for _ in range(int(self.pick("0", "1", "2"))))
                + "}"
            )
        return self.draw(MULTI_LINE if kind == "string" else SCALARS)

    def assignment(self, depth: int) -> str:
        return f"{self.dotted()} = {self.value(depth)}"

    def block(self) -> str:
        header = self.dotted()
        count = int(self.pick("0", "1", "2"))
        headers = [f"[{header}]"] if not count else [f"[[{header}]]"] * count
        headers += [f"[{header}.{self.key()}]"] if self.pick("", "sub") else []
        return "".join(f"{line}\n" + self.statements() for line in headers)

    def statements(self) -> str:
        return "".join(
            self.assignment(2) + self.pick("\n", " # x = 1\n", "\n\n") for _ in self.pick("", "1", "12")
        )


@st.composite
def documents(draw: Draw) -> str:
    writer = Writer(draw)
    return writer.statements() + "".join(writer.block() for _ in range(int(writer.pick("0", "1", "3"))))


@settings(max_examples=examples(300))
@given(documents())
def test_random_documents(text: str) -> None:
    lines = line_map(text)
    assert set(lines) == set(paths(tomllib.loads(text)))
    rows = text.split("\n")
    for path, line in lines.items():
        if isinstance(path[-1], str):
            assert line == next(number for number, row in enumerate(rows, 1) if path[-1] in row)


def test_keys_are_found_by_the_names_that_messages_call_them() -> None:
    text = """\
[bridge]
name = "x"

[[port]]
name = "a"
vlan.access = 10

[[port]]
name = "t"
vlan = { trunk = [10] }
[port.storm_control]
broadcast = "5%"

[[fdb]]
vlan = 10
mac = "0200.0000.0001"
kind = "drop"

[[fdb]]
mac = "nobody"
"""
    lines = key_lines(text)
    assert lines["bridge.name"] == 2
    assert (lines["port[a].name"], lines["port[a].vlan"]) == (5, 6)
    assert (lines["port[t].vlan"], lines["port[t].storm_control"]) == (10, 11)
    assert lines["fdb[02:00:00:00:00:01 vlan 10]"] == 14
    assert "port[a].storm_control" not in lines


@pytest.mark.parametrize(
    "text", ["port = 3", "port = [1, 2]", "fdb = [[1], {}]", "fdb = 'x'", "[[port]]\nname = []"]
)
def test_a_file_of_other_shapes_has_lines_too(text: str) -> None:
    assert key_lines(text)
