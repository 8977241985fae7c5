"""docs/differences.md, written from the `differs` of the scenarios: `PYTHONPATH=tests python -m conformance.page`.

Nothing on the page is typed in twice: the scenarios are played on every target, so a row that is no longer true fails
a test, and a test compares the page with what would be written now.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from conformance.scenario import Port, Scenario, Step, load_all

PAGE = Path(__file__).parents[2] / "docs" / "differences.md"
TITLES = {"ovs": "Open vSwitch 3.1, userspace datapath", "linux": "Linux 6.1 bridge with vlan_filtering"}

INTRODUCTION = """\
# Where framebridge differs from the switches people trust

Made by `make docs` from `tests/conformance/scenarios/`, where the same frames go through framebridge (memory ports,
links, taps), Open vSwitch and the Linux bridge (`make test-conformance`, `make test-vm`). Whatever is not listed here
behaved the same in {count} scenarios. The rule that decides is in [architecture.md](architecture.md). A row that is no
longer true fails a test.

Frames are `DESTINATION SOURCE TAGS`: `h1` station 1, `g1` group 1, `*` broadcast, `r0e` 01-80-C2-00-00-0E, `q10.5d` a
tag with VLAN 10, PCP 5, DEI, `s10` one with TPID 0x88a8. `A:` is the port. Entries are `VLAN STATION PORT`.

One difference is none of single frames and so no row: Open vSwitch keeps decisions in flows, and a station that moves
is followed when these are revalidated (`max-revalidator`, 500 ms by default); here it is on its first frame (R9). The
scenarios empty that cache after every step.
"""

HEAD = "| rule | ports | sent or asked | framebridge | there | because |\n|---|---|---|---|---|---|\n"


def lines() -> Iterator[str]:
    """Yield the page, piece by piece."""
    scenarios = load_all()
    yield INTRODUCTION.format(count=len(scenarios))
    for target, title in TITLES.items():
        yield f"\n## {title}\n\n{HEAD}"
        for scenario in scenarios:
            yield from rows(target, scenario)


def rows(target: str, scenario: Scenario) -> Iterator[str]:
    """One row for each reason a scenario names: the first step that has it stands for the others."""
    told = set()
    for step in scenario.steps:
        other = step.theirs.get(target)
        if other is None or other.why in told:
            continue
        told.add(other.why)
        assert step.ours is not None
        shown = "; ".join(f"{name} {describe(port)}" for name, port in scenario.ports.items())
        cells = (scenario.rule, shown, asked(step), f"`{step.ours.text}`", f"`{other.text}`", other.why)
        yield f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |\n"


def describe(port: Port) -> str:
    """A port in a few words."""
    vids = ",".join(map(str, port.tagged)) if port.mode == "trunk" else str(port.untagged)
    native = f" native {port.untagged}" if port.mode == "trunk" and port.untagged else ""
    others = {key: value for key, value in port.keys.items() if key not in (port.mode, "native")}
    more = "".join(f" {key}" + (f" {value}" if type(value) is int else "") for key, value in others.items())
    return f"{port.mode} {vids}{native}{more}"


def asked(step: Step) -> str:
    return f"`{step.text}`" if step.kind == "send" else "what it knows then"


def page() -> str:
    """Return the text of docs/differences.md."""
    return "".join(lines())


if __name__ == "__main__":
    PAGE.write_text(page())
