"""The file that keeps the FDB over a restart: what is written, what is restored, what is refused."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.config.bridge import BridgeConfig
from bridge.config.port import PortConfig
from bridge.config.security import Security, Stations
from bridge.config.vlan import VlanConfig
from bridge.config.whole import Config
from bridge.fdb.file import VERSION, FdbFile, FdbFileError, Record, read_text, replace_file, write_text
from bridge.fdb.store import Saved

NOW = 1_800_000_000
MAC = 0x020000000001


class Table:
    """What a FdbFile wants of a `Store`: entries, and which ports carry traffic."""

    def __init__(self) -> None:
        self.entries: list[Saved] = []
        self.port_names = {"a": True, "b": False}

    def remember(self) -> list[Saved]:
        return self.entries

    def restore(self, saved: Iterable[Saved]) -> int:
        restored = [*saved]
        self.entries += restored
        return len(restored)


class Keeper:
    """A file, a table and a clock on the wall."""

    def __init__(self, path: Path, **bridge: object) -> None:
        self.path = path
        self.table = Table()
        ports = (PortConfig("a", "memory", pvid=10), PortConfig("b", "memory", pvid=10))
        self.config = Config(BridgeConfig("dmz", fdb_file=str(path), **bridge), ports)  # type: ignore[arg-type]
        self.now = float(NOW)
        self.file = FdbFile(self.table, lambda: self.config, lambda: self.now)  # type: ignore[arg-type]

    def save(self) -> None:
        asyncio.run(self.file.save())

    def lines(self) -> list[object]:
        return list(json.loads(self.path.read_text())["entries"])

    def write(self, *records: Record, bridge: str = "dmz", learning: str = "automatic") -> None:
        self.path.write_text(write_text([*records], bridge, learning))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "dmz.fdb"


def record(number: int = 1, port: str = "a", kind: str = "dynamic", silent: int = 0) -> Record:
    return Record(MAC + number - 1, 10, port, kind, NOW - silent)


records = st.builds(
    Record,
    st.integers(1, (1 << 40) - 1),
    st.integers(1, 4094),
    st.text("abcXYZ019_.-", min_size=1, max_size=32).filter(lambda name: name[0] != "-"),
    st.sampled_from(["dynamic", "sticky"]),
    st.integers(0, 1 << 40),
)


@given(st.lists(records, max_size=20), st.sampled_from(["automatic", "controlled"]))
def test_what_is_written_is_read(written: list[Record], learning: str) -> None:
    text = write_text(written, "dmz", learning)
    assert read_text(text, "dmz") == (written, learning)
    assert text.count("\n") == len(written) + 2 + (not written)


def test_the_file_of_the_documentation() -> None:
    text = write_text([Record(MAC, 10, "guests", "dynamic", 1763841000)], "dmz", "automatic")
    assert text == (
        '{"format": "framebridge-fdb", "version": 1, "bridge": "dmz", "learning": "automatic", "entries": [\n'
        '["02:00:00:00:00:01", 10, "guests", "dynamic", 1763841000]\n]}\n'
    )


GOOD = write_text([record()], "dmz", "automatic")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "damaged: Expecting value"),
        (GOOD[:-5], "damaged: Expecting"),
        ("[]", "not the FDB of a framebridge"),
        ('{"format": "other"}', "not the FDB of a framebridge"),
        (GOOD.replace(f'"version": {VERSION}', '"version": 2'), "of version 2, this one reads 1"),
        (GOOD.replace('"dmz"', '"lan"'), "of the bridge 'lan', not of 'dmz'"),
        (GOOD.replace("entries", "rows"), "damaged: it has no entries"),
        (GOOD.replace("02:00:00:00:00:01", "03:00:00:00:00:01"), "is a group address"),
        (GOOD.replace(" 10,", " 4095,"), "expected a VLAN ID from 1 to 4094"),
        (GOOD.replace('"a"', '"a/b"'), "expected a name of"),
        (GOOD.replace('"dynamic"', '"static"'), "expected 'dynamic' or 'sticky', got 'static'"),
        (GOOD.replace(str(NOW), '"now"'), "expected seconds from 0"),
        (GOOD.replace(f", {NOW}", ""), "damaged: an array: not enough values"),
        ("[" * 100_000, "damaged"),
    ],
)
def test_what_is_no_such_file_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(FdbFileError) as raised:
        read_text(text, "dmz")
    assert message in str(raised.value)


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 127))
def test_a_damaged_byte_is_refused_or_still_a_record(at: int, value: int) -> None:
    try:
        found, _ = read_text(GOOD[:at] + chr(value) + GOOD[at + 1 :], "dmz")
    except FdbFileError:
        return
    assert len(found) == 1


def test_a_file_is_replaced_as_a_whole_and_nothing_else_is_left(path: Path) -> None:
    replace_file(path, "one")
    replace_file(path, "two")
    assert path.read_text() == "two"
    assert [*path.parent.iterdir()] == [path]
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_restart_brings_back_what_is_young(path: Path) -> None:
    before = Keeper(path)
    before.file.open()
    before.table.entries = [
        Saved(10, MAC, "a", "dynamic", 10.0),
        Saved(10, MAC + 1, "a", "sticky", 250.0),
        Saved(10, MAC + 2, "a", "dynamic", 295.0),
    ]
    before.save()
    after = Keeper(path)
    after.now += 20
    after.file.open()
    assert after.table.entries == [Saved(10, MAC, "a", "dynamic", 30), Saved(10, MAC + 1, "a", "sticky", 270)]


def test_without_ageing_all_come_back(path: Path) -> None:
    before = Keeper(path, ageing_time=0)
    before.file.open()
    before.table.entries = [Saved(10, MAC, "a", "dynamic", 0.0)]
    before.save()
    assert before.lines() == [["02:00:00:00:00:01", 10, "a", "dynamic", 0]]
    after = Keeper(path, ageing_time=0)
    after.now += 1_000_000
    after.file.open()
    assert len(after.table.entries) == 1


def test_a_clock_that_was_set_back_makes_nothing_older_than_now(path: Path) -> None:
    path.parent.mkdir()
    keeper = Keeper(path)
    keeper.write(record(silent=-5000))
    keeper.file.open()
    assert keeper.table.entries == [Saved(10, MAC, "a", "dynamic", 0.0)]


def test_a_port_that_comes_later_gets_its_entries_then_and_once(path: Path) -> None:
    path.parent.mkdir()
    keeper = Keeper(path)
    keeper.write(record(1), record(2, "b"), record(3, "b", silent=200), record(4, "gone"))
    keeper.file.open()
    assert [one.port for one in keeper.table.entries] == ["a"]
    keeper.save()
    assert [line[2] for line in keeper.lines()] == ["a", "b", "b"]  # type: ignore[index]
    keeper.now += 150
    keeper.table.port_names["b"] = True
    assert keeper.file.restore() == 1
    assert keeper.file.restore() == 0
    assert [one.mac - MAC + 1 for one in keeper.table.entries] == [1, 2]


def test_sticky_entries_do_not_wait_for_their_port(path: Path) -> None:
    path.parent.mkdir()
    keeper = Keeper(path)
    keeper.write(record(1, "b", kind="sticky"), record(2, "b"), record(3, "gone", kind="sticky"))
    keeper.file.open()
    assert [(one.mac - MAC + 1, one.kind) for one in keeper.table.entries] == [(1, "sticky")]
    keeper.table.port_names["b"] = True
    assert keeper.file.restore() == 1
    assert [one.mac - MAC + 1 for one in keeper.table.entries] == [1, 2]


def test_what_does_not_learn_gets_nothing_back(path: Path) -> None:
    path.parent.mkdir()
    keeper = Keeper(path)
    keeper.write(record(1), record(2, kind="sticky"))
    keeper.config = replace(keeper.config, vlans=(VlanConfig(10, learning=False),))
    keeper.file.open()
    assert [one.kind for one in keeper.table.entries] == ["sticky"]


@pytest.mark.parametrize(("was", "restored"), [("automatic", 0), ("controlled", 1)])
def test_a_controlled_bridge_takes_only_what_was_let_in(path: Path, was: str, restored: int) -> None:
    path.parent.mkdir()
    keeper = Keeper(path, learning="controlled")
    keeper.write(record(1), learning=was)
    keeper.file.open()
    assert len(keeper.table.entries) == restored


def test_a_locked_port_takes_back_only_whom_it_allows(path: Path) -> None:
    """Who was let in by hand knocks again: the file does not tell them from those of an open port."""
    path.parent.mkdir()
    keeper = Keeper(path)
    locked = replace(keeper.config.ports[0], security=Security(True, (Stations(MAC),)))
    keeper.config = replace(keeper.config, ports=(locked, keeper.config.ports[1]))
    keeper.write(record(1), record(2), record(3, kind="sticky"))
    keeper.file.open()
    assert [entry.mac for entry in keeper.table.entries] == [MAC, MAC + 2]


def test_only_changes_are_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr("bridge.fdb.file.replace_file", lambda _path, text: written.append(text))
    keeper = Keeper(path)
    keeper.save()
    assert written == [], "before it was read it must not be overwritten"
    keeper.file.open()
    for silent in (5.0, 5.0, 6.0):
        keeper.table.entries = [Saved(10, MAC, "a", "dynamic", silent)]
        keeper.save()
    assert len(written) == 2


@pytest.mark.parametrize("damage", ["damaged", "foreign", "directory", "bytes"])
def test_a_bad_file_is_told_and_the_table_begins_empty(
    path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    keeper = Keeper(path)
    match damage:
        case "damaged":
            path.write_text(GOOD[:40])
        case "foreign":
            keeper.write(record(), bridge="lan")
        case "directory":
            path.mkdir()
        case "bytes":
            path.write_bytes(b"\xff\xfe")
    with caplog.at_level(logging.WARNING):
        keeper.file.open()
    assert f"the FDB begins empty: {path}: " in caplog.text
    assert keeper.table.entries == []


@pytest.mark.parametrize(
    ("text", "is_kept"),
    [
        ('[bridge]\nname = "dmz"\n', True),
        ("[]", True),
        ("", False),
        ("{", False),
        ("\0" * 99, False),
        (GOOD[:60], False),
    ],
)
def test_a_file_of_something_else_is_never_overwritten(
    path: Path, text: str, is_kept: bool, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    path.write_text(text)
    keeper = Keeper(path)
    keeper.file.open()
    keeper.save()
    assert (path.read_text() == text) == is_kept
    told = f"the FDB is not saved: {path}: it is no FDB of a framebridge; move it away, or name another file"
    assert (told in caplog.text) == is_kept


def test_a_place_that_cannot_be_written_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    keeper = Keeper(tmp_path / "file" / "dmz.fdb")
    keeper.file.open()
    caplog.clear()
    for number in range(3):
        keeper.table.entries = [Saved(10, MAC + number, "a", "dynamic", 0.0)]
        keeper.save()
    assert caplog.text.count("the FDB is not saved") == 1


def test_a_full_disk_leaves_the_file_of_before_and_is_over_when_there_is_room(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = Keeper(path)
    keeper.table.entries = [Saved(10, MAC, "a", "dynamic", 0.0)]
    keeper.file.open()
    keeper.save()
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    keeper.table.entries.append(Saved(10, MAC + 1, "a", "dynamic", 0.0))
    with monkeypatch.context() as disk:
        disk.setattr("bridge.fdb.file.os.fsync", full)
        keeper.save()
        keeper.save()
    assert path.read_bytes() == before
    assert [*path.parent.iterdir()] == [path]
    assert [record.message for record in caplog.records] == [
        f"the FDB is not saved: {path}: No space left on device"
    ]
    keeper.save()
    assert len(keeper.lines()) == 2
