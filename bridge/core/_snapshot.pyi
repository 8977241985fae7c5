"""A snapshot: the whole configuration of the data plane, written down piece by piece and then applied as one."""

from collections.abc import Collection, Iterable
from typing import final

from bridge.core._handles import Port
from bridge.core.values import MirrorRow, PortRow

@final
class Snapshot:
    """Immutable once applied: the whole configuration of the data plane."""

    def __init__(
        self,
        *,
        reserved_pass: int = 0,
        static_move: str = "drop",
        controlled: bool = False,
        age_ticks: int = 300,
        heartbeat_ports: Iterable[int] = (5404, 5405),
        broadcast_ports: Collection[int] = (),
        heartbeat_rate: float = 0,
        heartbeat_burst: float = 0,
        waiting: str = "balanced",
        full_table: str = "evict",
        mac_limit: int = 0,
        vrrp_aware: bool = False,
        local_first: bool = False,
        own_address: int = 0,
        instance: int = 0,
    ) -> None:
        """`reserved_pass`: bit n passes 01-80-C2-00-00-0n. `static_move`: drop | forward (R9).

        `full_table`: evict | refuse, where the table, `mac_limit` or a VLAN's limit is full (csrc/fdb/evict.c).
        `mac_limit`: dynamic and sticky entries at most, 0: none. `vrrp_aware`, `local_first`: csrc/pipeline/moves.h.

        `heartbeat_ports`: UDP destination ports whose frames are of class heartbeat, broadcasts excepted; those to
        `broadcast_ports` are with their broadcasts. `heartbeat_rate`, `heartbeat_burst`: of each port, heartbeats a
        second and at once; more are ordinary frames (csrc/multicast/heartbeat.h). Burst 0: there is no limit.
        `waiting`: a name of WAITINGS.
        `own_address`: of the bridge, never learned; 0: none. `instance`: 64 bits in its loop probes.
        """
    def add_port(self, port: Port, row: PortRow) -> None:
        """Have the port carry traffic as its row says, once a port."""
    def secure_port(
        self,
        port: Port,
        *,
        locked: bool = False,
        allow: Iterable[tuple[int, int]] = (),  # MACs from first to last; ascending and apart
        rules: Iterable[tuple[int, bytes, int]] = (),  # MAC or 0, IP address of 4 or 16 bytes, prefix length
        ra_guard: bool = False,
        dhcp_guard: bool = False,
    ) -> None:
        """Say who may send what on a port of the snapshot, once a port; rules switch source guard on.

        See protect/lock.h, protect/guard.h and protect/server_guard.h.
        """
    def reaches(self, ingress: int, egress: int) -> bool:
        """Tell whether frames of a port may leave by another (isolation, split horizon, direction)."""
    def set_vlan_mac_limit(self, vid: int, limit: int) -> None: ...
    def set_vlan_learning(self, vid: int, learning: bool) -> None: ...
    def add_budget(
        self,
        serial: int,
        *,
        unit: str,  # cycles | frames (wire frames) | bits
        rate: float,  # units a cycle of cycles_now()
        burst: float,  # units
        action: str,  # count | drop | stop_learning
        classes: Iterable[str] = ...,  # names of CLASSES that spend and are dropped; default all
        port: int | None = None,  # index of the ingress port; None: all of them together
        vid: int = 0,  # 0: all VLANs together
        talker: int = 0,  # MAC address; 0: all of them together
        floods: Iterable[str] = (),  # of unknown, multicast, broadcast; none: flooded or not
        calm: int = 0,  # cycles without being over until it is no longer called so
    ) -> None:
        """Limit what frames spend, at most BUDGETS_MAX times.

        The state of a budget goes by its `serial` (1..2**31-1) and stays when another snapshot has one of the same.
        Dropped frames spend nothing; with `floods` their reason is `storm`, else `over_budget`.
        An event budget_over or budget_under has its place, from 0, as `mac`.
        """

    def add_mirror(self, row: MirrorRow) -> None:
        """Copy frames, at most MIRRORS_MAX times; csrc/mirror/mirror.h says which and in what form.

        The state of a mirror goes by its `serial` (1..2**31-1) and stays when another snapshot has one of the same.
        """
