"""docs/configuration.md has a row for every key of every table, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bridge.config.document import parse
from bridge.errors import ConfigError

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"
UNKNOWN = "there_is_no_such_key"
TABLES = {  # heading on the page: the table with an unknown key
    "`[bridge]`": f"[bridge]\n{UNKNOWN} = 1",
    "`[[port]]`": f"[[port]]\n{UNKNOWN} = 1",
    "`storm_control` of a port": f"[[port]]\nstorm_control = {{ {UNKNOWN} = 1 }}",
    "`vlan` of a port": f"[[port]]\nvlan = {{ {UNKNOWN} = 1 }}",
    "`[[vlan]]`": f"[[vlan]]\n{UNKNOWN} = 1",
    "`[[fdb]]`": f"[[fdb]]\n{UNKNOWN} = 1",
    "`[multicast]`": f"[multicast]\n{UNKNOWN} = 1",
    "`[[group]]`": f"[[group]]\n{UNKNOWN} = 1",
    "`[[budget]]`": f"[[budget]]\n{UNKNOWN} = 1",
    "`[[mirror]]`": f"[[mirror]]\n{UNKNOWN} = 1",
    "`[move_guard]`": f"[move_guard]\n{UNKNOWN} = 1",
    "`[loop_detection]`": f"[loop_detection]\n{UNKNOWN} = 1",
    "`[heartbeats]`": f"[heartbeats]\n{UNKNOWN} = 1",
    "`[pair]`": f"[pair]\n{UNKNOWN} = 1",
    "`[cost]`": f"[cost]\n{UNKNOWN} = 1",
    "`[metrics]`": f"[metrics]\n{UNKNOWN} = 1",
}


def sections() -> dict[str, set[str]]:
    """Keys in the first column of the tables, by heading."""
    found: dict[str, set[str]] = {}
    for part in re.split(r"^##+ ", PAGE.read_text(), flags=re.M)[1:]:
        heading, _, body = part.partition("\n")
        cells = re.findall(r"^\| (`[^|]*) \|", body, flags=re.M)
        found[heading] = {key for cell in cells for key in re.findall(r"`([a-z_]+)`", cell)}
    return found


def known_keys(text: str) -> set[str]:
    """What the program says it knows when it meets a key it does not."""
    with pytest.raises(ConfigError) as refusal:
        parse(text)
    listing = next(problem.message for problem in refusal.value.problems if "known keys" in problem.message)
    return {*listing.partition("known keys: ")[2].split(", ")}


@pytest.mark.parametrize("heading", TABLES)
def test_every_key_has_a_row(heading: str) -> None:
    assert sections()[heading] == known_keys(TABLES[heading])


def test_every_table_of_a_file_has_a_section() -> None:
    tables = known_keys(f"{UNKNOWN} = 1")
    assert {re.sub(r"[^a-z_]", "", heading) for heading in sections() if heading.startswith("`[")} == tables
