"""docs/catalogue.md: cases of the test suites of other switches, and what plays them here.

Job: scenarios by their `source`, and the cases of catalogue.toml, as one page: `PYTHONPATH=tests python -m
conformance.catalogue`. A test that is not there, and a case that says neither test nor reason, fail a test.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from conformance.scenario import load_all
from conformance.targets.daemon import LinkTarget, TapTarget
from conformance.targets.linux_bridge import LinuxBridgeTarget
from conformance.targets.memory import MemoryTarget
from conformance.targets.ovs import OvsTarget

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "catalogue.md"
CASES = Path(__file__).with_name("catalogue.toml")
TARGETS = (MemoryTarget, LinkTarget, TapTarget, OvsTarget, LinuxBridgeTarget)

INTRODUCTION = """\
# What is tested as other switches test it

Made by `make docs`: cases from the test suites, sources and test plans of other switches, and the tests that play them
here. Where these switches behave otherwise is in [differences.md](differences.md).

## Scenarios

`tests/conformance/scenarios/` play the same frames on every target that has what they need: memory ports, links and
taps of framebridge, Open vSwitch, and the Linux bridge with vlan_filtering (`make test-conformance`, `make test-vm`).

| source | scenario | played on |
|---|---|---|
"""
ELSEWHERE = """
## Other tests

| source | tests | what is not there |
|---|---|---|
"""


@dataclass(frozen=True)
class Case:
    """`tests` as pytest names them; `why` something of the case is not played."""

    source: str
    tests: tuple[str, ...] = ()
    why: str = ""


def cases() -> list[Case]:
    tables = tomllib.loads(CASES.read_text())["case"]
    return [Case(**{**table, "tests": tuple(table.get("tests", ()))}) for table in tables]


def lines() -> Iterator[str]:
    """Yield the page, piece by piece."""
    yield INTRODUCTION
    for one in sorted(load_all(), key=lambda one: one.source):
        if one.source:
            played = [target.name for target in TARGETS if one.needs <= target.abilities]
            yield f"| {one.source} | {one.name} | {', '.join(played)} |\n"
    yield ELSEWHERE
    for case in sorted(cases(), key=lambda case: case.source):
        yield f"| {case.source} | {'<br>'.join(f'`{test}`' for test in case.tests)} | {case.why} |\n"


def page() -> str:
    """Return the text of docs/catalogue.md."""
    return "".join(lines())


if __name__ == "__main__":
    PAGE.write_text(page())
