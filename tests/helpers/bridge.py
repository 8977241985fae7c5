"""A bridge of memory ports for tests of the forwarding rules: the core and the model, run side by side.

Job: a test configures ports, sends frames, and says what must come out. Behind its back every step is
done by `bridge.core._core` and by `model.Model`, and everything they show is compared: frames byte for byte
with offload metadata and in order, every counter and drop reason, the FDB, the events. Conservation
(R12) is checked each time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import model
from model import Captured, Config, FdbEntry, Frame, Mirror, PortConfig

from bridge.core import _core
from bridge.core.values import MirrorRow, PortRow
from helpers import frames, pcapng

SECRET = bytes(range(16))  # a fixed hash key: a failing example fails again
DEFAULT_BURST = 64
SECURITY = ("locked", "allow", "rules", "ra_guard", "dhcp_guard")  # what Snapshot.secure_port takes
NEVER = 1e-15  # units a cycle: nothing comes back while a test runs
# counters the model does not predict
UNMODELLED = {"rx_missed", "rx_cycles", "tx_cycles"}
# told at least once, how often is not promised
REPEATABLE = {
    "request",
    "static_move",
    "locked",
    "source_guard",
    "ra_guard",
    "dhcp_guard",
    "refreshed",
    "refused_port_limit",
    "refused_vlan_limit",
    "refused_full",
    "backup_ignored",
    "local_kept",
}

REASONS = dict(_core.DROP_REASONS)

Sendable = Frame | bytes


def access(vid: int, **options: object) -> PortConfig:
    return PortConfig("access", vid, **options)  # type: ignore[arg-type]


def trunk(*vids: int, native: int = 0, **options: object) -> PortConfig:
    return PortConfig("trunk", native, vids, **options)  # type: ignore[arg-type]


def tunnel(vid: int, **options: object) -> PortConfig:
    return PortConfig("tunnel", vid, **options)  # type: ignore[arg-type]


class Verdict(NamedTuple):
    """What became of the frames of one step: what each port sent, drops by (direction, port, reason)."""

    sent: dict[int, list[Frame]]
    drops: dict[tuple[str, int, str], int]

    @property
    def data(self) -> dict[int, list[bytes]]:
        """Bytes only."""
        return {index: [frame.data for frame in sent] for index, sent in self.sent.items()}


class Lab:
    """Core and model with the same ports. `no_vnet`: ports without partial checksums and super-frames."""

    def __init__(
        self,
        *ports: PortConfig,
        no_vnet: Iterable[int] = (),
        burst: int = DEFAULT_BURST,
        fdb_capacity: int = 4096,
        slots: int = 1024,
        **config: object,
    ) -> None:
        self.core = _core.Bridge(fdb_capacity=fdb_capacity, burst=burst, secret=SECRET)
        self.model = model.Model(fdb_capacity=fdb_capacity, burst=burst)
        self.ports: dict[int, _core.MemoryPort] = {}
        self.slots = slots
        self.captures: dict[tuple[int, Mirror], _core.Capture] = {}
        self._ledger: dict[int, _core.PortCounters] = {}  # of ports taken out of the bridge, too
        self.burst = burst
        no_vnet = set(no_vnet)
        for index in range(len(ports)):
            self.open_port(index, vnet=index not in no_vnet)
        self.config = Config({})
        self.apply(Config(dict(enumerate(ports)), **config))  # type: ignore[arg-type]

    # -- configuration

    def open_port(self, index: int, *, vnet: bool = True) -> None:
        self.ports[index] = self.core.open_memory(index, slots=self.slots, vnet=vnet)
        self.model.open_memory(index, slots=self.slots, vnet=vnet)

    def apply(self, config: Config) -> None:
        self.captured()
        self.config = config
        self.model.apply(config)
        snapshot = make_snapshot(config, self.ports)
        self.add_mirrors(snapshot)
        self.core.apply(snapshot)

    def add_mirrors(self, snapshot: _core.Snapshot) -> None:
        for number, mirror in enumerate(self.config.mirrors):
            options = {name: getattr(mirror, name) for name in mirror.__dataclass_fields__}
            if mirror.target is None:
                options["capture"] = self._capture(number, mirror)
            if mirror.ports is None:
                options["ports"] = [index for index in self.ports if index != mirror.target]
            snapshot.add_mirror(MirrorRow(number + 1, **options))

    def _capture(self, number: int, mirror: Mirror) -> _core.Capture:
        if (number, mirror) not in self.captures:
            self.captures[number, mirror] = _core.Capture(size=1 << 22)
        for index in range(len(self.ports)):
            self.captures[number, mirror].set_interface(index, index)
        return self.captures[number, mirror]

    def captured(self) -> dict[int, list[Captured]]:
        """Take what mirrors into files copied since the last call, compare, and give it by number of the mirror."""
        found: dict[int, list[Captured]] = {}
        for number, mirror in enumerate(self.config.mirrors):
            if mirror.target is None:
                taken = self.captures[number, mirror].take(1 << 24)
                assert taken.end == "empty"
                found[number] = [as_captured(packet) for packet in pcapng.packets(bytes(taken.blocks))]
        expected: dict[int, list[Captured]] = {number: [] for number in found}
        for number, packet in self.model.captured:
            expected[number].append(packet)
        self.model.captured.clear()
        assert found == expected
        return found

    def change(self, index: int, **changes: object) -> None:
        """Change one port."""
        self.apply(model.with_changes(self.config, index, **changes))

    def change_bridge(self, **changes: object) -> None:
        self.apply(replace(self.config, **changes))  # type: ignore[arg-type]

    # -- traffic

    def send(self, index: int, *sent: Sendable, headroom: int = 64, in_one: bool = False) -> Verdict:
        """Put frames on one port, let the bridge work until nothing waits, and compare everything."""
        self.inject(index, *sent, headroom=headroom, in_one=in_one)
        return self.settle()

    def inject(self, index: int, *sent: Sendable, headroom: int = 64, in_one: bool = False) -> None:
        """`in_one` makes no difference to the model: how a frame lies in memory is nobody's business."""
        assert self.ports[index].inject(sent, headroom, in_one) == len(sent)
        assert self.model.inject(index, sent, headroom) == len(sent)

    def settle(self) -> Verdict:
        """Turn until idle."""
        before = self._drops()
        while self.turn():
            pass
        drops = Counter(self._drops())
        drops.subtract(before)
        return Verdict(self.drain(), {key: n for key, n in drops.items() if n})

    def turn(self) -> int:
        """One turn of both; everything but the frames that wait to be drained is compared."""
        received = self.core.turn()
        assert received == self.model.turn()
        self.check()
        return received

    def drain(self) -> dict[int, list[Frame]]:
        """Take what every port sent, in both, and compare; ports that sent nothing are left out."""
        self.captured()
        sent = {index: port.drain() for index, port in self.ports.items()}
        assert sent == {index: self.model.drain(index) for index in self.ports}
        return {index: frames for index, frames in sent.items() if frames}

    def originate(self, index: int, vid: int, data: bytes) -> bool:
        """Have the bridge send a frame of its own by one port, and compare."""
        (sent,) = self.core.originate([(index, vid, data)])
        assert sent == self.model.originate(index, vid, data)
        self.check()
        return sent

    # -- short stories

    def learn(self, index: int, *stations: int, vid: int = 0) -> None:
        """Let stations speak once on a port, to a group, so that their addresses are known there."""
        tags = (frames.tag(vid),) if vid else ()
        for station in stations:
            self.send(index, frames.ethernet(frames.group(0), frames.host(station), *tags))

    def expect_drop(self, index: int, frame: Sendable, reason: str, *, headroom: int = 64) -> None:
        """The frame ends at ingress for this one reason, and nothing is sent."""
        assert self.send(index, frame, headroom=headroom) == ({}, {("rx", index, reason): 1})

    def expect_refusal(
        self, index: int, frame: Sendable, egress: int, reason: str, headroom: int = 64
    ) -> None:
        """The only copy of the frame ends at port `egress` for this one reason."""
        assert self.send(index, frame, headroom=headroom) == ({}, {("tx", egress, reason): 1})

    # -- state

    def fdb(self) -> dict[tuple[int, int], tuple[int, str]]:
        """(VID, station number) to (port, kind)."""
        base = frames.number(frames.host(0))
        return {(e.vid, e.mac - base): (e.port, e.kind) for e in self.core.fdb_entries()}

    def fdb_set(self, vid: int, station: int, port: int, kind: str = "static") -> bool:
        mac = frames.number(frames.host(station))
        done = self.core.fdb_set(vid, mac, port, kind)
        assert done == self.model.fdb_set(vid, mac, port, kind)
        self.check()
        return done

    def fdb_delete(self, vid: int, station: int) -> bool:
        mac = frames.number(frames.host(station))
        done = self.core.fdb_delete(vid, mac)
        assert done == self.model.fdb_delete(vid, mac)
        self.check()
        return done

    def fdb_flush(self, *, port: int | None = None, vid: int | None = None, sticky: bool = True) -> None:
        self.core.fdb_flush(port=port, vid=vid, sticky=sticky)
        self.model.fdb_flush(port=port, vid=vid, sticky=sticky)
        self.check()

    def fdb_expire(self, max_age: int) -> int:
        """Expire in both; how many entries went."""
        gone = sorted(map(tuple, self.core.fdb_expire(max_age)))
        assert gone == sorted(map(tuple, self.model.fdb_expire(max_age)))
        self.check()
        return len(gone)

    def set_tick(self, tick: int) -> None:
        self.core.tick = self.model.tick = tick

    def events(self) -> list[tuple[object, ...]]:
        """Events since the last call, repeats left out: (kind, VID, station, port, old port).

        Those of source guard have the finding and the address behind that.
        """
        told, lost = self.core.events()
        assert lost == 0
        events = unrepeated(tuple(event) for event in told if not event.kind.startswith("budget"))
        assert events == unrepeated(tuple(event) for event in self.model.events())
        base = frames.number(frames.host(0))
        return [
            (kind, vid, mac - base, port, old, *(guard if kind == "source_guard" else ()))
            for kind, vid, mac, port, old, _, *guard in events
        ]

    def values(self, index: int) -> dict[str, int]:
        """Counters of one port."""
        return self.core.counters().ports[index].values

    def _drops(self) -> dict[tuple[str, int, str], int]:
        counters = self.core.counters().ports
        return {
            (direction, index, reason): n
            for index, port in counters.items()
            for direction, drops in (("rx", port.rx_drops), ("tx", port.tx_drops))
            for reason, n in drops.items()
        }

    # -- comparison

    def check(self) -> None:
        """Compare counters and FDB of core and model, and check conservation."""
        ports = self.core.counters().ports
        self._ledger |= ports
        check_conservation(self._ledger)
        for index, port in ports.items():
            twin = self.model.ports[index]
            assert port.rx_drops == +twin.rx_drops, f"rx drops of port {index}"
            assert port.tx_drops == +twin.tx_drops, f"tx drops of port {index}"
            counted = {name: n for name, n in port.values.items() if name not in UNMODELLED}
            assert counted == {name: twin.values[name] for name in counted}, f"counters of port {index}"
            assert self.ports[index].pending == len(twin.waiting), f"frames waiting on port {index}"
        entries = {(e.vid, e.mac): FdbEntry(*e) for e in self.core.fdb_entries()}
        assert entries == self.model.fdb
        self._check_bill()

    def _check_bill(self) -> None:
        """What was counted is what the model counts; what was charged is what was spent."""
        bill = self.core.bill()
        counted = {
            (row.port, row.vid, row.frame_class): {
                name: getattr(row, name) for name in ("frames", "segments", "bytes", "copies")
            }
            for row in bill.charges
        }
        assert counted == {key: dict(row) for key, row in self.model.charges.items()}
        check_charges(bill)
        talked = sum(talker.direct + talker.induced for talker in self.core.talkers())
        assert talked + bill.departed <= charged(bill), (
            "talkers pay what their frames were charged, to the cycle"
        )


def charged(bill: _core.Bill) -> int:
    """Cycles on a bill."""
    return sum(row.direct + row.induced for row in bill.charges)


def busy(stages: Mapping[str, int]) -> int:
    """Cycles of the busy stages."""
    names = [name for name, _ in _core.STAGES]
    return sum(stages[name] for name in names[names.index("control") + 1 :])


def check_charges(bill: _core.Bill) -> None:
    """Every busy cycle is on the bill once, but for rounding and the writing of the last bill."""
    assert charged(bill) + bill.uncharged == busy(bill.stages)
    assert abs(bill.uncharged) <= 0.01 * busy(bill.stages) + bill.stages["account"]


def check_conservation(ports: dict[int, _core.PortCounters]) -> None:
    """R12 at a batch boundary: nothing is in flight, so every ledger balances exactly."""
    total_forwarded = total_originated = total_offered = 0
    for index, (values, rx_drops, tx_drops, misses) in ports.items():
        assert values["rx_missed"] + values["rx_refused"] == sum(misses.values())
        came, went = values["rx_frames"] + values["copies"], values["forwarded"] + sum(rx_drops.values())
        assert came == went, f"R12: port {index} took in {came} and accounts for {went}"
        offered, ended = values["offered"], values["tx_frames"] + sum(tx_drops.values())
        assert offered == ended, f"R12: port {index} was offered {offered} and accounts for {ended}"
        total_forwarded += values["forwarded"]
        total_originated += values["originated"]
        total_offered += offered
    assert total_forwarded + total_originated == total_offered, "R12: copies were lost between ports"


def make_snapshot(config: Config, ports: dict[int, _core.MemoryPort]) -> _core.Snapshot:
    """The model's configuration as the core takes it."""
    snapshot = _core.Snapshot(
        reserved_pass=config.reserved_pass,
        static_move=config.static_move,
        controlled=config.controlled,
        age_ticks=config.age_ticks,
        full_table=config.full_table,
        mac_limit=config.mac_limit,
        vrrp_aware=config.vrrp_aware,
        local_first=config.local_first,
        own_address=config.own_address,
        instance=config.instance,
    )
    for index, port in sorted(config.ports.items()):
        options = {name: getattr(port, name) for name in port.__dataclass_fields__}
        security = {name: options.pop(name) for name in SECURITY}
        snapshot.add_port(ports[index], PortRow(**options))
        snapshot.secure_port(ports[index], **security)
    for (index, flood), burst in sorted(config.storms.items()):
        if index in config.ports:
            snapshot.add_budget(
                1 + (burst * _core.PORTS_MAX + index) * len(model.FLOODS) + model.FLOODS.index(flood),
                unit="frames",
                rate=NEVER,
                burst=burst,
                action="drop",
                classes=[name for name, _ in _core.CLASSES if name not in model.STORM_EXEMPT],
                port=index,
                floods=[flood],
            )
    for vid, limit in config.vlan_limits.items():
        snapshot.set_vlan_mac_limit(vid, limit)
    for vid in config.vlans_not_learning:
        snapshot.set_vlan_learning(vid, False)
    return snapshot


def as_captured(packet: pcapng.Packet) -> Captured:
    """A packet as the model tells it; its interface is the index of its port."""
    reason = packet.comment.removeprefix("dropped: ").split(":")[0]
    assert packet.comment in ("", f"dropped: {reason}: {REASONS.get(reason)}")
    return Captured(packet.interface, "rx" if packet.inbound else "tx", reason, packet.data, packet.length)


def unrepeated(events: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Drop second tellings of what may be told more than once; keep the order."""
    seen = set()
    kept = []
    for event in events:
        if event[0] in REPEATABLE and event in seen:
            continue
        seen.add(event)
        kept.append(event)
    return kept
