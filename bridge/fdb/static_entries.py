"""Entries set by hand: static, sticky and drop, from the configuration or by command.

Job: hold the entries that were set, and keep in the table those whose port is a member of their VLAN, whether or not it
carries traffic now: while it is down nobody else takes the address, and frames for it end as `port_down` (R9). A sticky
one ages and is flushed like a learned one; it is *suspended* then, and returns when its port comes up again or when it
is set again. Static and drop entries stay. In a full table a learned entry gives way to them. Thread: control.

Refuses: an entry for which a table full of entries set by hand has no room; the one that was set before it stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bridge.config.static_entry import StaticEntry
from bridge.core._core import Bridge
from bridge.errors import FramebridgeError
from bridge.fdb.known import KnownEntries, make_key, split_key
from bridge.mac import format_mac


def no_room(mac: int) -> FramebridgeError:
    """Say that what is set by hand cannot be."""
    return FramebridgeError(
        f"no room for {format_mac(mac)} in the FDB: it is full of entries set by hand; "
        "delete some of them, or raise bridge.fdb_size"
    )


class StaticEntries:
    """The entries of one FDB that were set by hand, by key."""

    def __init__(self, core: Bridge, known: KnownEntries) -> None:
        self._core = core
        self._known = known
        self._entries: dict[int, StaticEntry] = {}
        self._installed: dict[int, tuple[int, str]] = {}  # those in the table: port, kind
        self._suspended: set[int] = set()  # sticky ones that aged or were flushed

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def entries(self) -> list[StaticEntry]:
        """All that were set."""
        return [*self._entries.values()]

    def __contains__(self, key: int) -> bool:
        return key in self._entries

    def add(self, entry: StaticEntry) -> None:
        """Hold an entry in the table as long as there is its port."""
        key = make_key(entry.vid, entry.mac)
        self._known.held.discard(key)
        before = self._entries.get(key)
        self._entries[key] = entry
        self._suspended.discard(key)
        if self._sync([key]):
            self._entries.pop(key)
            if before is not None:
                self._entries[key] = before
            raise no_room(entry.mac)

    def remove(self, vid: int, mac: int) -> bool:
        """Let go of an entry; False: there was none."""
        key = make_key(vid, mac)
        self._suspended.discard(key)
        if self._entries.pop(key, None) is None:
            return False
        self._sync([key])
        return True

    def keep(self, names: Iterable[str]) -> None:
        """Let go of the entries of ports that do not exist any more."""
        kept = {"", *names}
        for entry in [entry for entry in self._entries.values() if entry.port not in kept]:
            self.remove(entry.vid, entry.mac)

    def sync(self) -> list[StaticEntry]:
        """Put all into the table or take them out, as ports want it; returns those it has no room for."""
        return self._sync([*self._entries])

    # -- what happened to the table

    def replaced(self, key: int) -> None:
        """Forget an entry: the table has another one of this key, which was not set by hand."""
        self._entries.pop(key, None)
        self._installed.pop(key, None)
        self._suspended.discard(key)

    def restored(self, entry: StaticEntry, port: int) -> None:
        """Note that the table has this one again."""
        key = make_key(entry.vid, entry.mac)
        self._entries[key] = entry
        self._installed[key] = port, entry.kind

    def gone(self, keys: Iterable[int], *, suspend: bool = False) -> None:
        """Note that entries are no longer in the table; `suspend`: those that were set by hand stay out of it.

        What was learned, and stood in the place of one whose port is not in its VLAN, suspends nothing.
        """
        for key in keys:
            if self._installed.pop(key, None) and suspend:
                self._suspended.add(key)

    def resume(self, port: str) -> None:
        """Let the suspended entries of a port that came up return."""
        self._suspended -= {key for key in self._suspended if self._entries[key].port == port}

    # -- the table

    def _sync(self, keys: Iterable[int]) -> list[StaticEntry]:
        carriers = {port.name: (index, port.members) for index, port in self._known.configured.items()}
        changes = []
        for key in keys:
            place = self._place(key, carriers)
            if place is None:
                self._withdraw(key)
            elif place != self._installed.get(key):
                changes.append((key, *place))
        results = self._core.fdb_set_many([(*split_key(key), port, kind) for key, port, kind in changes])
        if changes:
            self._known.drain()  # events of before, and who gave way: an entry of this list may be among them
        refused = []
        for (key, port, kind), done in zip(changes, results, strict=True):
            if done:
                self._installed[key] = port, kind
                self._known.add(key, port, kind)
            else:
                refused.append(self._entries[key])
        return refused

    def _place(self, key: int, carriers: Mapping[str, tuple[int, frozenset[int]]]) -> tuple[int, str] | None:
        """Find where the table should have an entry, and as what; None: nowhere."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.kind == "drop":
            return -1, entry.kind
        index, members = carriers.get(entry.port, (-1, frozenset()))
        return (index, entry.kind) if entry.vid in members and key not in self._suspended else None

    def _withdraw(self, key: int) -> None:
        if self._installed.pop(key, None):
            self._core.fdb_delete(*split_key(key))
            self._known.remove(key)
