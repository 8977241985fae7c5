"""Reading a configuration takes work and memory in proportion to its text, whatever that is: four times as much of the
same costs four times as much, or is refused.

Work is lines of Python that are run, memory the most that was allocated at once; neither depends on the machine.
"""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from types import FrameType
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridge.config.document import FILE_MAX, parse
from bridge.config.lines import DEPTH_MAX, KEYS_MAX, too_deep
from bridge.config.port import parse_port
from bridge.config.table import PROBLEMS_MAX, Report, Table
from bridge.errors import ConfigError

FEW, TIMES = 200, 4
SLACK = 1.3  # what grows with the logarithm, and tables that double
PORT = '[[port]]\nname = "p{}"\nkind = "memory"\nvlan = {{ trunk = [{}] }}\n'


class Cost(NamedTuple):
    """What reading took."""

    lines: int
    peak: int  # bytes


def cost_of(work: Callable[[], object]) -> Cost:
    """Run something that may end in ConfigError."""
    lines = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    tracemalloc.start()
    sys.settrace(trace)
    try:
        work()
    except ConfigError:
        pass
    finally:
        sys.settrace(before)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return Cost(lines, peak)


def assert_linear(text: Callable[[int], str]) -> None:
    few, many = (cost_of(lambda n=n: parse(text(n))) for n in (FEW, FEW * TIMES))
    assert many.lines <= few.lines * TIMES * SLACK + 2000, (few, many)
    assert many.peak <= few.peak * TIMES * SLACK + 200_000, (few, many)


FRAGMENTS = [
    *(
        "a",
        ".",
        ".a",
        "[",
        "]",
        "[[",
        "]]",
        "{",
        "}",
        "=",
        ",",
        "\n",
        "\r\n",
        " ",
        "#",
        '"',
        "'",
        '"""',
        "'''",
        "\\",
    ),
    *(
        '\\"',
        "1",
        "_",
        "-",
        ":",
        "0x1",
        "1.5",
        "1979-05-27",
        "a = 1\n",
        '"a"',
        "'a'",
        "a = [",
        "a = {",
        '"1-4094",',
    ),
    *("[port]\n", "[[port]]\n", "[[fdb]]\n", "[port.vlan]\n", "[bridge]\n", "[[mirror]]\n", "[[budget]]\n"),
    *(
        'name = "p"\n',
        'kind = "memory"\n',
        'vlan = { trunk = ["1-4094"] }\n',
        "trunk = [",
        'mac = "02:00:00:00:00:01"\n',
    ),
]
fragments = st.lists(st.sampled_from(FRAGMENTS), max_size=6).map("".join)


@settings(max_examples=80, deadline=None)
@given(fragments, fragments.filter(len), fragments)
@example("[", "a.", "a]\nb = 1")
@example("", "a.", "a = 1")
@example("a = ", "[", "]")
@example("a = ", "{a=", "1}")
@example("", "[[port]]\n", "")
@example("", "[[fdb]]\n", "")
@example("[[port]]\n[port.vlan]\ntrunk = [", '"1-4094",', "]")
@example("[[port]]\n[port.vlan]\ntrunk = [4094,", '"1-4094",', "]")
def test_whatever_is_repeated(begin: str, repeated: str, end: str) -> None:
    assert_linear(lambda n: begin + repeated * n + end)


@pytest.mark.parametrize(
    "text",
    [
        lambda n: "".join(f"key{i} = 1\n" for i in range(n)),
        lambda n: "".join(f"[table{i}]\n" for i in range(n)),
        lambda n: "".join(f"[a.b.c.d.e.f.g.h{i}]\nx = {{ y = {{ z = [1] }} }}\n" for i in range(n)),
        lambda n: "".join(PORT.format(i, "'1-100'") for i in range(n)),
        lambda n: PORT.format(0, ",".join(f'"{i}-{i}"' for i in range(1, n))),
        lambda n: (
            PORT.format(0, "'1-4094'")
            + "".join(f'[[fdb]]\nmac = "02:00:00:00:00:01"\nvlan = {i + 1}\nport = "p0"\n' for i in range(n))
        ),
        lambda n: (
            "[[mirror]]\nname = 'm'\nfile = '/m'\nports = [" + ",".join(f"'p{i}'" for i in range(n)) + "]"
        ),
    ],
    ids=["keys", "tables", "deep tables", "ports", "VLANs", "entries", "ports of a mirror"],
)
def test_many_different_things(text: Callable[[int], str]) -> None:
    assert_linear(text)


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, "big.toml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "x = 1\n[" + "a." * 20_000 + "a]",
            "line 2: a key of more than 8 parts; nothing here needs more than three",
        ),
        ("a." * 500_000 + "a = 1", "line 1: a key of more than 8 parts; nothing here needs more than three"),
        (
            "\n\na = " + "[" * 500_000,
            "line 3: arrays or tables are nested too deeply; nothing here needs more than three",
        ),
        (
            "a = " + "{a=" * 20_000 + "1" + "}" * 20_000,
            "line 1: arrays or tables are nested too deeply; nothing here needs more than three",
        ),
        ("#" * (FILE_MAX + 1), f"has {FILE_MAX + 1} characters; a configuration has at most {FILE_MAX}"),
    ],
    ids=["header", "key", "arrays", "inline tables", "size"],
)
def test_what_is_too_deep_or_too_big_is_refused_before_it_is_read(text: str, message: str) -> None:
    lines, peak = cost_of(lambda: parse(text))

    assert refusal(text) == f"big.toml: {message}"
    assert lines < 1000
    assert peak < 100_000


def test_as_deep_as_it_may_be() -> None:
    keys = ".".join("a" * KEYS_MAX)
    assert too_deep(f"[{keys}]\n{keys} = " + "[" * DEPTH_MAX + "]" * DEPTH_MAX) is None
    assert too_deep(f"[{keys}.a]") == (1, "a key of more than 8 parts; nothing here needs more than three")
    assert too_deep("\n" + "[" * (DEPTH_MAX + 1) + "]" * (DEPTH_MAX + 1))


@pytest.mark.parametrize(
    "text",
    [
        '"' + "." * 20 + '" = "' + "[" * 20 + '"',
        "'" + "." * 20 + "' = '" + "{" * 20 + "'",
        'a = """' + "[.\n" * 20 + '\\""" "" """',
        "a = '''" + "[.\n'' " * 20 + "'''",
        "# " + "[" * 20 + "." * 20,
        "a = [" + "1.5, " * 20 + "]",
        "[a]\n" * 20 + "b = [[1], [2]]\n" * 20,
    ],
)
def test_strings_comments_numbers_and_what_is_closed_again_are_not_deep(text: str) -> None:
    assert too_deep(text) is None


def test_an_array_of_ranges_costs_what_its_text_does() -> None:
    """A range of a million numbers, which one of them spoils, is never written out."""
    report = Report()
    table = Table({"key": [[500_000, 500_001], *[[0, 1_000_000]] * 100]}, (), report)

    lines, peak = cost_of(lambda: table.union("key", lambda pair: range(*pair)))  # type: ignore[misc]

    assert len(report) == 100
    assert peak < 2_000_000
    assert lines < 10_000


def test_problems_without_end_are_cut_off_and_the_rest_is_not_looked_at() -> None:
    found = refusal("".join(f"key{n} = 1\n" for n in range(5000))).splitlines()

    assert len(found) == PROBLEMS_MAX + 1
    assert found[0].startswith("big.toml: line 1: key0: unknown key")
    assert found[-1] == f"big.toml: more than {PROBLEMS_MAX} problems; mend these and check again"


def test_a_port_of_the_socket_is_bounded_too() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_port({"name": "p", "kind": "memory", "vlan": {"trunk": ["1-4094"] * 20_000}})

    assert len(caught.value.problems) == PROBLEMS_MAX + 1
