"""What a running bridge answers: rows for the control socket, a state for the metrics.

Job: read, never change. Thread: control. Invariant: counters of one answer come from one batch boundary. Refuses, as
PortError: names of ports that do not exist.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Unpack

from bridge import __version__
from bridge.account.ledger import Ledger, Row, Tally
from bridge.account.meter import Meter
from bridge.config.group_address import Group
from bridge.config.metrics import MetricsConfig
from bridge.config.port import port_row
from bridge.config.vlan import VlanConfig
from bridge.core._core import OFFLOAD_PASSES, Bridge
from bridge.engine.data_plane import DataPlane
from bridge.fdb.learning import Learning
from bridge.fdb.rows import Filters
from bridge.metrics.state import PortState, State
from bridge.multicast.rows import GroupRows
from bridge.offload.counts import Counts
from bridge.offload.offload import Offload
from bridge.ports.attachment import Attachment
from bridge.ports.table import PortTable
from bridge.protect import security as guards


class Status:
    """The answers of one bridge."""

    def __init__(
        self,
        core: Bridge,
        ports: PortTable,
        data_plane: DataPlane,
        learning: Learning,
        ledger: Ledger,
        cost: Meter,
        offload: Offload,
        counts: Counts,
        groups: GroupRows,
    ) -> None:
        self._core = core
        self._ports = ports
        self._data_plane = data_plane
        self._learning = learning
        self._ledger = ledger
        self._cost = cost
        self._offload = offload
        self._counts = counts
        self._groups = groups

    def ports(self, name: str | None = None) -> list[Row]:
        """One row per port: configuration, state, totals."""
        tallies = self._ledger.tallies(self._ports.attached_indexes(name))
        entries = self._learning.rows.count_by_port()
        return [
            _port_row(attachment, tallies[attachment.config.name], entries.get(attachment.index, 0))
            for attachment in self._ports.chosen(name)
        ]

    def guards(self, name: str | None = None) -> list[Row]:
        """One row per port that is locked, guarded or keeps a list: what it allows, how often something else came."""
        tallies = self._ledger.tallies(self._ports.attached_indexes(name))
        ports = [attachment.config for attachment in self._ports.chosen(name)]
        return [guards.row(port, tallies[port.name].rx_drops) for port in ports if guards.has_row(port)]

    def vlans(self) -> list[Row]:
        """One row per VLAN that a port carries or the configuration names."""
        return _vlan_rows(
            self._ports.chosen(None), self._data_plane.vlans, self._learning.rows.count_by_vlan()
        )

    def fdb_stream(
        self, port: str | None = None, vlan: int | None = None, **more: Unpack[Filters]
    ) -> Iterator[Row]:
        """One row per FDB entry that fits every filter given; `older`: silent for so many seconds or more.

        The table is read now; each row is made when it is asked for.
        """
        return self._learning.rows.show(self._ports.index(port), vlan, **more)

    def fdb(self, port: str | None = None, vlan: int | None = None, **more: Unpack[Filters]) -> list[Row]:
        """Give all rows of `fdb_stream`."""
        return [*self.fdb_stream(port, vlan, **more)]

    def stats(self, name: str | None = None, drops: bool = False) -> list[Row]:
        """One row per port with every counter, and for all ports the total with its balance, which is 0.

        `drops`: the rows of `drops` follow, of the same moment.
        """
        rows, dropped = self._ledger.rows(self._ports.attached_indexes(name))
        rows += dropped if drops else []
        return rows if name is None else [row for row in rows if row["port"] == name]

    def drops(self, all: bool = False) -> list[Row]:  # noqa: A002
        """One row per port, direction and reason that has a count, and the total; `all`: every reason."""
        return self._ledger.rows(self._ports.attached_indexes(), every=all)[1]

    def budgets(self) -> list[Row]:
        """One row per budget: what it limits and what became of it."""
        return self._data_plane.budgets.rows(self._core)

    def storms(self, port: str | None = None) -> list[Row]:
        """One row per limit of storm control: what became of it."""
        return self._data_plane.budgets.storm_rows(self._core, port)

    def offload(self, name: str | None = None) -> list[Row]:
        """One row per port: what the kernel forwards of it, and what it left to userspace; and one for all."""
        tallies = self._ledger.tallies(self._ports.attached_indexes(name))
        rows = [
            _offload_row(
                attachment,
                self._offload.way(attachment.config.name),
                self._offload.why(attachment),
                tallies[attachment.config.name],
                self._counts.passes.get(attachment.index, Counter()),
            )
            for attachment in self._ports.chosen(name)
        ]
        return rows if name is not None else [*rows, self._offload_total()]

    def _offload_total(self) -> Row:
        live, waiting = self._offload.usage()
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._offload.since))
        return {
            "port": "total",
            "state": "on" if self._offload.is_on else "off",
            "reason": self._offload.reason or None,
            "live": live,
            "waiting": waiting,
            "since": since if self._offload.is_on else None,
        }

    def offload_left(self, name: str | None = None) -> list[Row]:
        """One row per port and reason for which programs left frames to userspace."""
        self._counts.read()
        return [
            {"port": attachment.config.name, "reason": reason, "frames": passed, "meaning": meaning}
            for attachment in self._ports.chosen(name)
            for reason, meaning in OFFLOAD_PASSES
            if (passed := self._counts.passes.get(attachment.index, Counter())[reason])
        ]

    def offload_check(self, name: str | None = None) -> list[Row]:
        """One row per port and reason why frames that come in by it, or leave by it, are left to userspace."""
        return [
            {"port": attachment.config.name, "frames": way, "reason": reason}
            for attachment in self._ports.chosen(name)
            for way, reasons in zip(("received", "sent"), self._offload.why(attachment), strict=True)
            for reason in reasons
        ]

    def mirrors(self) -> list[Row]:
        """One row per mirror: what it copies and what became of the copies."""
        return self._data_plane.mirrors.rows(self._core)

    def groups(
        self,
        port: str | None = None,
        vlan: int | None = None,
        group: Group | None = None,
        kind: str | None = None,
    ) -> list[Row]:
        """One row per port that is a member of a group, or gets every group of a VLAN."""
        return self._groups.show(vlan, self._ports.index(port), group, kind)

    def saved(self) -> list[Row]:
        """One row per VLAN: what snooping spared it since the start, or would; and rows of who would lose a group."""
        return self._groups.saved(self._cost.rates(self._cost.total()).columns)

    def queriers(self, vlan: int | None = None) -> list[Row]:
        """One row per VLAN and family that snoops: its state, and who asks."""
        return self._groups.queriers(vlan)

    def state(self, metrics: MetricsConfig) -> State:
        """Read everything the metrics report: the counters at one batch boundary, the bill at the next."""
        counters = self._core.counters()
        return State(
            version=__version__,
            bridge=self._data_plane.bridge.name,
            ports=_port_states(self._ports.chosen(None), self._learning.rows.count_by_port()),
            tallies=self._ledger.tallies(self._ports.attached_indexes(), counters),
            thread=counters.thread,
            fdb=counters.fdb,
            bill=self._cost.read(stations=False),
            hz=self._cost.hz,
            limits=metrics,
            budgets=self.budgets(),
            mirrors=self.mirrors(),
            queriers=self.queriers(),
        )


def _port_row(attachment: Attachment, tally: Tally, entries: int) -> Row:
    return {
        "port": attachment.config.name,
        "index": attachment.index,
        "state": attachment.state,
        "reason": attachment.blocked or None,
        **port_row(attachment.config),
        "mtu": attachment.mtu,
        "filter": attachment.filter_state,
        "fdb_entries": entries,
        "rx_frames": tally.values["rx_frames"],
        "tx_frames": tally.values["tx_frames"],
        "drops": tally.drops,
        "rx_missed": tally.values["rx_missed"],
    }


def _offload_row(
    attachment: Attachment, way: str, why: tuple[list[str], list[str]], tally: Tally, passes: Counter[str]
) -> Row:
    takes, gives = why
    if not way:
        state = "off"
    elif takes and gives:
        state = "closed"
    else:
        state = "partly open" if takes or gives else "open"
    return {
        "port": attachment.config.name,
        "state": state,
        "reason": "; ".join(dict.fromkeys(takes + gives)) or None,
        "attached": way or None,
        "offloaded": tally.values["offloaded"],
        "offloaded_tx": tally.values["offloaded_tx"],
        "left": passes.total(),
    }


def _vlan_rows(
    ports: Iterable[Attachment], vlans: Mapping[int, VlanConfig], entries: Mapping[int, int]
) -> list[Row]:
    """One row per VLAN that a port carries or the configuration names; `entries` counts those of the FDB by VLAN."""
    tagged: dict[int, list[str]] = {vid: [] for vid in vlans}
    untagged: dict[int, list[str]] = {}
    for attachment in ports:
        for vid in attachment.config.members:
            side = untagged if vid == attachment.config.untagged else tagged
            side.setdefault(vid, []).append(attachment.config.name)
    return [
        {
            "vlan": vid,
            "name": vlans[vid].name if vid in vlans else "",
            "tagged": tagged.get(vid, []),
            "untagged": untagged.get(vid, []),
            "fdb_entries": entries.get(vid, 0),
            "mac_limit": vlans[vid].mac_limit if vid in vlans else 0,
            "learning": vlans[vid].learning if vid in vlans else True,
        }
        for vid in sorted(tagged.keys() | untagged.keys())
    ]


def _port_states(ports: Iterable[Attachment], entries: Mapping[int, int]) -> dict[str, PortState]:
    """Give what the metrics report of each port beside its counters."""
    return {
        attachment.config.name: PortState(
            kind=attachment.config.kind,
            device=attachment.config.device,
            mode=attachment.config.mode,
            state=attachment.state,
            mtu=attachment.mtu,
            fdb_entries=entries.get(attachment.index, 0),
            is_blocked=bool(attachment.blocked),
        )
        for attachment in ports
    }
