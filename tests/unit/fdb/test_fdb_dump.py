"""A table that another process takes over: what was given first and what changed since make the same table there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core import _core
from bridge.core.values import FdbEntry, PortRow

STATIONS = range(0x020000000001, 0x020000000009)
entries = st.builds(
    FdbEntry,
    st.sampled_from((10, 20)),
    st.sampled_from(STATIONS),
    st.integers(0, 1),
    st.just("dynamic"),
    st.integers(0, 0xFFFF),
)
changes = st.lists(st.tuples(st.booleans(), entries), max_size=20)


def bridge() -> tuple[_core.Bridge, list[_core.MemoryPort]]:
    made = _core.Bridge(fdb_capacity=64)
    ports = [made.open_memory(index) for index in range(2)]
    snapshot = _core.Snapshot()
    for port in ports:
        snapshot.add_port(port, PortRow(mode="trunk", vids=[10, 20]))
    made.apply(snapshot)
    return made, ports


def change(made: _core.Bridge, steps: list[tuple[bool, FdbEntry]]) -> None:
    for comes, entry in steps:
        made.fdb_delete(entry.vid, entry.mac)
        if comes:
            assert made.fdb_restore([entry]) == [True]


@given(changes, changes)
def test_a_dump_and_its_changes_are_the_table(
    before: list[tuple[bool, FdbEntry]], after: list[tuple[bool, FdbEntry]]
) -> None:
    (old, _old_ports), (new, _new_ports) = bridge(), bridge()
    change(old, before)
    raw, dump = old.fdb_raw(), old.fdb_dump()
    assert new.fdb_load(dump) == len(old.fdb_entries())
    change(old, after)
    new.fdb_load(old.fdb_dump(raw))
    assert new.fdb_entries() == old.fdb_entries()


def test_what_was_set_by_hand_is_not_replaced_and_nonsense_is_passed_over() -> None:
    made, _ports = bridge()
    made.fdb_set(10, STATIONS[0], 1, "static")
    other, _others = bridge()
    other.fdb_restore([FdbEntry(10, STATIONS[0], 0, "dynamic", 3)])
    assert made.fdb_load(other.fdb_dump()) == 0
    assert [(entry.port, entry.kind) for entry in made.fdb_entries()] == [(1, "static")]
    for nonsense in (b"\xff" * 13, bytes(13), b"\x00\x0a\x01" + bytes(10)):
        assert made.fdb_load(nonsense) == 0
    with pytest.raises(ValueError, match="a dump has 13 bytes an entry"):
        made.fdb_load(bytes(12))
    with pytest.raises(ValueError, match=r"a table of .* slots was"):
        made.fdb_dump(bytes(16))
