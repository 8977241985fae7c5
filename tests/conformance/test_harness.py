"""The instrument itself: frames as text, what scenarios refuse, and that a comparison is as strict as it says."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any, ClassVar

import pytest
from helpers import frames

from conformance import catalogue, notation, page
from conformance.notation import NotationError, parse, parse_many
from conformance.runner import play
from conformance.scenario import Entry, Scenario, ScenarioError, load_all, read
from conformance.target import Target
from conformance.wired import FENCE_TYPE, MAGIC, MARK, fence_serial

A, B = frames.host(1), frames.host(2)


def scenario(*steps: dict[str, Any], **keys: Any) -> Scenario:
    ports = {"A": {"access": 10}, "B": {"access": 10}}
    return read("here", {"name": "one", "rule": "R8", "ports": ports, "steps": list(steps), **keys})


# -- notation


def test_a_frame_as_text() -> None:
    assert parse("h2 h1") == frames.ethernet(B, A)
    assert parse("* h1 q10.5d s20 len=4 type=0800") == frames.ethernet(
        frames.BROADCAST,
        A,
        frames.tag(10, 5, 1),
        frames.tag(20, tpid=frames.TPID_AD),
        ethertype=0x0800,
        payload=4,
    )
    assert parse("r0e v33")[:12] == bytes.fromhex("0180c200000e") + bytes.fromhex("00005e000133")
    assert parse("01:00:0c:cc:cc:cc 0")[:12] == bytes.fromhex("01000ccccccc") + bytes(6)
    assert parse("h2 h1 q10 cut=16") == parse("h2 h1 q10")[:16]
    assert parse("h2 h1 len=0 pad") == frames.padded(parse("h2 h1 len=0"))
    assert parse("hex=0102") == b"\1\2"


def test_runs_go_in_step() -> None:
    assert parse_many("h{1..3} h{7..9}") == [parse("h1 h7"), parse("h2 h8"), parse("h3 h9")]
    with pytest.raises(NotationError, match="different length"):
        parse_many("h{1..3} h{1..2}")


@pytest.mark.parametrize("text", ["h1", "x1 h1", "h1 h2 q", "h1 h2 len=4 q10", "h1 h2 colour=3"])
def test_what_is_no_frame(text: str) -> None:
    with pytest.raises((NotationError, ValueError)):
        parse(text)


def test_descriptions_read_like_the_notation() -> None:
    assert notation.describe(parse("* v33 q10.5d s20")) == "* v33 q10.5d s20 type=88b5 (68 bytes)"
    assert notation.describe(b"\1\2") == "hex=0102"


# -- scenarios


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"send": "C: h1 h2", "expect": {}}, "step 1: no port 'C'"),
        ({"send": ["A: h1 h2", "B: h1 h2"], "expect": {}}, "frames of one step come from one port"),
        ({"send": "A: h1 h2"}, "missing: expect|^$"),
        ({"send": "A: h1 h2", "fdb": []}, "must be one of"),
        ({"wait": 3}, "must be one of"),
        ({"add": "10 h1 A"}, "static.sticky.drop"),
        ({"change": "A", "to": {"colour": 3}}, "unknown: colour"),
        (
            {"send": "A: h1 h2", "expect": {}, "differs": {"ovs": {"expect": {}, "why": "so"}}},
            "does not differ",
        ),
        (
            {"send": "A: h1 h2", "expect": {}, "differs": {"ovs": {"expect": {"B": "h1 h2"}}}},
            "nobody says why",
        ),
    ],
)
def test_a_bad_step_is_refused_with_its_place(step: dict[str, Any], message: str) -> None:
    if message.startswith("missing"):
        assert scenario(step).steps[0].ours is None  # sent, and nobody looks
        return
    with pytest.raises(ScenarioError, match=f"here.toml, 'one': .*{message}"):
        scenario(step)


def test_a_rule_that_does_not_exist() -> None:
    with pytest.raises(ScenarioError, match="no rule: 'R13'"):
        scenario(rule="R13")


def test_for_repeats_a_step_with_each_value() -> None:
    steps = scenario({"for": {"n": [1, 2], "to": ["*", "g1"]}, "send": "A: {to} h{n}", "expect": {}}).steps
    assert [step.text for step in steps] == ["A: * h1", "A: g1 h1", "A: * h2", "A: g1 h2"]


# -- playing


class Fake(Target):
    """Answers what it is told to."""

    name = "fake"
    title = "fake"
    abilities: ClassVar = frozenset({"silence"})

    def __init__(self, sent: dict[str, list[bytes]], entries: set[Entry] | None = None) -> None:
        self._sent, self._entries = sent, entries or set()

    def send(self, port: str, frames: Sequence[bytes]) -> dict[str, list[bytes]]:
        return self._sent

    def fdb(self) -> set[Entry]:
        return self._entries


HUB = {"send": "A: h2 h1", "expect": {"B": "h2 h1"}}
DIFFERS = {**HUB, "differs": {"fake": {"expect": {}, "why": "it drops"}}}


def test_what_is_expected_passes() -> None:
    play(scenario(HUB), Fake({"A": [], "B": [parse("h2 h1")]}))
    play(scenario({"fdb": ["10 h1 A"]}), Fake({}, {(10, A, "A")}))


@pytest.mark.parametrize(
    "sent", [{}, {"B": ["h2 h1", "h2 h1"]}, {"B": ["h2 h1 pad len=3"]}, {"A": ["h2 h1"]}]
)
def test_anything_else_fails(sent: dict[str, list[str]]) -> None:
    answers = {port: [parse(text) for text in texts] for port, texts in sent.items()}
    with pytest.raises(AssertionError, match="expected: B: h2 h1"):
        play(scenario(HUB), Fake(answers))


def test_a_declared_difference_must_be_one() -> None:
    play(scenario(DIFFERS), Fake({}))
    with pytest.raises(AssertionError, match="as declared"):
        play(scenario(DIFFERS), Fake({"B": [parse("h2 h1")]}))


def test_fences_are_told_apart() -> None:
    body = MARK.pack(FENCE_TYPE, MAGIC, 77)
    for tags in ("", "q10", "q10 s20", "q10 q20 q30"):
        data = parse(f"* h1 {tags}")
        assert fence_serial(data) == 0
        assert fence_serial(data[: 12 + 4 * len(tags.split())] + body.ljust(48, b"\0")) == 77


@pytest.mark.parametrize("made", [page, catalogue])
def test_the_page_is_up_to_date(made: ModuleType) -> None:
    assert made.PAGE.read_text() == made.page(), "run `make docs`"


@pytest.mark.parametrize("case", catalogue.cases(), ids=lambda case: case.source)
def test_a_case_has_tests_that_are_there_or_a_reason(case: catalogue.Case) -> None:
    assert case.tests or case.why
    for test in case.tests:
        file, _, name = test.partition("::")
        assert f"def {name}(" in (catalogue.ROOT / file).read_text(), test


def test_every_rule_has_a_scenario() -> None:
    covered = {rule for one in load_all() for rule in one.rule.split()}
    assert covered == {f"R{number}" for number in (1, 2, 3, 4, 5, 6, 7, 8, 9, 11)}
