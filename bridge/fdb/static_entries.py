"""Pinned FDB entries: static, sticky and drop, from the configuration or by command.

Job: which there are, and which of them the table has. They are in it while their port carries their VLAN. A sticky one
ages and is flushed like a learned one, has then *lapsed*, and returns with its port or when it is pinned again; static
and drop stay. In a full table a learned entry gives way to them. Thread: control.

Refuses: a pin for which a table full of pinned entries has no room; what was pinned before it stays.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from bridge.config.bridge import StaticEntry
from bridge.config.port import PortConfig
from bridge.core._core import Bridge
from bridge.errors import FramebridgeError
from bridge.mac import format_mac


def make_key(vid: int, mac: int) -> int:
    """Give the key of an address in a VLAN."""
    return vid << 48 | mac


def split_key(key: int) -> tuple[int, int]:
    """Give VLAN and address of a key."""
    return key >> 48, key & (1 << 48) - 1


def no_room(mac: int) -> FramebridgeError:
    """Say that what is set by hand cannot be."""
    return FramebridgeError(
        f"no room for {format_mac(mac)} in the FDB: it is full of entries set by hand; "
        "delete some of them, or raise bridge.fdb_size"
    )


class Pins:
    """The pinned entries of one FDB, by key."""

    def __init__(
        self,
        core: Bridge,
        ports: Callable[[], Mapping[int, PortConfig]],
        drain: Callable[[], None],
        note: Callable[[int, int, str], None],
        strike: Callable[[int], None],
    ) -> None:
        """`ports` gives those that carry traffic, by index; `drain` handles the events that wait.

        `note(key, port, kind)` and `strike(key)` hear of what was put into the table and taken out.
        """
        self._core = core
        self._ports = ports
        self._drain = drain
        self._note = note
        self._strike = strike
        self._pinned: dict[int, StaticEntry] = {}
        self._installed: dict[int, tuple[int, str]] = {}  # those in the table: port, kind
        self._lapsed: set[int] = set()  # sticky ones that aged or were flushed

    def __len__(self) -> int:
        return len(self._pinned)

    def __contains__(self, key: int) -> bool:
        return key in self._pinned

    def pin(self, entry: StaticEntry) -> None:
        """Hold an entry in the table whenever its port is there."""
        key = make_key(entry.vid, entry.mac)
        before = self._pinned.get(key)
        self._pinned[key] = entry
        self._lapsed.discard(key)
        if self._sync([key]):
            self._pinned.pop(key)
            if before is not None:
                self._pinned[key] = before
            raise no_room(entry.mac)

    def unpin(self, vid: int, mac: int) -> bool:
        """Let go of a pinned entry; False: it was none."""
        key = make_key(vid, mac)
        self._lapsed.discard(key)
        if self._pinned.pop(key, None) is None:
            return False
        self._sync([key])
        return True

    def keep(self, names: Iterable[str]) -> None:
        """Let go of entries of ports that do not exist any more."""
        kept = {"", *names}
        for entry in [entry for entry in self._pinned.values() if entry.port not in kept]:
            self.unpin(entry.vid, entry.mac)

    def replaced(self, key: int) -> None:
        """Take note that the table has another entry of this key, which is not pinned."""
        self._pinned.pop(key, None)
        self._installed.pop(key, None)
        self._lapsed.discard(key)

    def restored(self, entry: StaticEntry, port: int) -> None:
        """Take note that the table has this one again."""
        key = make_key(entry.vid, entry.mac)
        self._pinned[key] = entry
        self._installed[key] = port, entry.kind

    def aged(self, key: int) -> None:
        """Take note that an entry aged."""
        if self._installed.pop(key, None):
            self._lapsed.add(key)

    def struck(self, keys: Iterable[int]) -> None:
        """Take note that entries are not in the table any more."""
        for key in keys:
            self._installed.pop(key, None)

    def lapse(self, keys: Collection[int]) -> None:
        """Keep away those of these that are pinned."""
        self._lapsed |= keys & self._pinned.keys()

    def forgive(self, port: str) -> None:
        """Let those of a port that went away return with it."""
        self._lapsed -= {key for key in self._lapsed if self._pinned[key].port == port}

    def sync(self) -> list[StaticEntry]:
        """Put all into the table or take them out, as ports want it; returns those it has no room for."""
        return self._sync([*self._pinned])

    def _sync(self, keys: Iterable[int]) -> list[StaticEntry]:
        carriers = {port.name: (index, port.members) for index, port in self._ports().items()}
        changes = []
        for key in keys:
            place = self._place(key, carriers)
            if place is None:
                self._withdraw(key)
            elif place != self._installed.get(key):
                changes.append((key, *place))
        results = self._core.fdb_set_many([(*split_key(key), port, kind) for key, port, kind in changes])
        if changes:
            self._drain()  # of before, and who gave way: one that is pinned now may be among them
        refused = []
        for (key, port, kind), done in zip(changes, results, strict=True):
            if done:
                self._installed[key] = port, kind
                self._note(key, port, kind)
            else:
                refused.append(self._pinned[key])
        return refused

    def _place(self, key: int, carriers: Mapping[str, tuple[int, frozenset[int]]]) -> tuple[int, str] | None:
        """Find where the table should have an entry, and as what; None: nowhere."""
        entry = self._pinned.get(key)
        if entry is None:
            return None
        if entry.kind == "drop":
            return -1, entry.kind
        index, members = carriers.get(entry.port, (-1, frozenset()))
        return (index, entry.kind) if entry.vid in members and key not in self._lapsed else None

    def _withdraw(self, key: int) -> None:
        if self._installed.pop(key, None):
            self._core.fdb_delete(*split_key(key))
            self._strike(key)
