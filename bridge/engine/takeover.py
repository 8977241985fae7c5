"""What one process gives another that takes its bridge over: ports that stay open, the FDB, the counters.

Job: make an offer of the ports of a running bridge (`make_offer`), write its state when its data thread stands still
(`make_state`), and read both in the process that goes on (`read_offer`, `read_state`, `restore`). How the two talk is
in daemon/takeover.py; docs/take-over.md has the format. Thread: control.

Invariant: whoever reads believes nothing: an offer or a state that is not what it should be is refused whole, as
TakeOverError, and the process that made it goes on. Frames that wait meanwhile stay in the queues of taps and in rings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.account.ledger import Tally
from bridge.config import checks
from bridge.config.static_entry import StaticEntry
from bridge.config.table import BadValueError
from bridge.core._core import PORTS_MAX
from bridge.core.values import PortPlace
from bridge.devices.counters import Odometer
from bridge.errors import FramebridgeError
from bridge.mac import format_mac, parse_mac
from bridge.ports.attachment import Offered

if TYPE_CHECKING:
    from bridge.engine.parts import Parts

FORMAT, VERSION = "framebridge-take-over", 1
Message = dict[str, Any]


class TakeOverError(FramebridgeError):
    """A bridge that cannot be taken over, or not like this."""


class Offer(NamedTuple):
    """The ports of a bridge, by name."""

    ports: dict[str, Offered]
    indexes: dict[str, int]


@dataclass(frozen=True, slots=True)
class State:
    """A bridge at the moment when its data thread stood still."""

    tick: int
    ages: list[float]  # of the ticks that entries may carry, in seconds, the oldest first
    places: dict[str, PortPlace]  # of ports; without descriptors
    tx_dropped: dict[str, int]  # of taps, as last read
    tallies: dict[str, Tally]
    removed: Tally
    counted: dict[str, int]  # what happened to the FDB
    by_hand: list[StaticEntry]
    fdb: bytes


# -- giving


def make_offer(parts: Parts) -> tuple[Message, list[int]]:
    """Describe the ports that can be taken over; the descriptors they are stand beside, in their order."""
    rows: list[Message] = []
    descriptors: list[int] = []
    for one in parts.ports:
        kind, device, netns = one.config.attachment
        row: Message = {"name": one.config.name, "index": one.index}
        row |= {"kind": kind, "device": device, "netns": netns}
        if one.port is not None and one.device is not None and one.home is not None:
            place = one.port.place()
            row["identity"] = [*one.home, one.device.index]
            row |= {"stray": one.is_stray, "made": one.made is not None, "own_mtu": one.own_mtu}
            row |= {"fds": len(place.fds), "slots": place.slots, "claim": one.claim is not None}
            descriptors += [*place.fds, *([one.claim.fileno()] if one.claim else [])]
        rows.append(row)
    head = {"format": FORMAT, "version": VERSION, "bridge": parts.config.bridge.name}
    return {**head, "ports": rows}, descriptors


def make_state(parts: Parts, fdb_before: bytes) -> tuple[Message, bytes]:
    """Write down a bridge whose data thread stands still; what changed of the FDB since `fdb_before` is apart."""
    tallies = parts.ledger.tallies(parts.ports.attached_indexes())
    ports: Message = {}
    for one in parts.ports:
        row: Message = {"tally": _write_tally(tallies[one.config.name])}
        if one.port is not None and one.config.can.has_device:
            row["place"] = [*one.port.place()[1:]]
        if one.dropped is not None:
            row["tx_dropped"] = one.dropped.last
        ports[one.config.name] = row
    by_hand = [
        [entry.vid, format_mac(entry.mac), entry.kind, entry.port]
        for entry in parts.learning.static.entries
        if entry not in parts.config.entries
    ]
    ticks = parts.learning.ticks
    state: Message = {
        "tick": parts.core.tick,
        "ages": ticks.ages,
        "ports": ports,
        "removed": _write_tally(parts.ledger.removed),
        "fdb_counters": asdict(parts.learning.counters),
        "by_hand": by_hand,
    }
    return state, parts.core.fdb_dump(fdb_before)


def _write_tally(tally: Tally) -> Message:
    return {one.name: dict(getattr(tally, one.name)) for one in fields(tally)}


# -- taking


def read_offer(message: Message, descriptors: Sequence[int], bridge: str) -> Offer:
    """Read an offer of the bridge of this name; raises TakeOverError."""
    if message.get("format") != FORMAT or message.get("version") != VERSION:
        raise TakeOverError(f"it offers version {message.get('version')!r}, this one takes {VERSION}")
    if message.get("bridge") != bridge:
        raise TakeOverError(f"it is the bridge {message.get('bridge')!r}, not {bridge!r}")
    left = [*descriptors]
    try:
        rows = [_read_port(row, left) for row in message["ports"]]
    except (KeyError, TypeError, ValueError, IndexError, BadValueError) as error:
        raise TakeOverError(f"its offer makes no sense: {error!r}") from None
    if left:
        raise TakeOverError(f"its offer has {len(left)} descriptors too many")
    indexes = {name: index for name, index, _ in rows}
    if len(indexes) != len(rows) or len({*indexes.values()}) != len(rows):
        raise TakeOverError("its offer has a port twice")
    return Offer({name: offered for name, _, offered in rows if offered is not None}, indexes)


def _read_port(row: Message, left: list[int]) -> tuple[str, int, Offered | None]:
    name, index = checks.name(row["name"]), checks.integer(0, PORTS_MAX - 1)(row["index"])
    if "identity" not in row:
        return name, index, None
    count = checks.integer(1, 4)(row["fds"])
    taken = [left.pop(0) for _ in range(count + bool(row["claim"]))]
    device, inode, ifindex = (checks.integer(0, (1 << 64) - 1)(number) for number in row["identity"])
    own_mtu = None if row["own_mtu"] is None else checks.integer(0, 1 << 31)(row["own_mtu"])
    place = PortPlace(tuple(taken[:count]), slots=checks.integer(0, 1 << 20)(row["slots"]))
    return (
        name,
        index,
        Offered(
            attachment=(str(row["kind"]), str(row["device"]), row["netns"]),
            home=(device, inode),
            ifindex=ifindex,
            place=place,
            claim=taken[count] if row["claim"] else -1,
            is_made=bool(row["made"]),
            is_stray=bool(row["stray"]),
            own_mtu=own_mtu,
        ),
    )


def read_state(message: Message, fdb: bytes) -> State:
    """Read a state; raises TakeOverError."""
    try:
        ports = dict(message["ports"])
        tallies = {checks.name(name): _read_tally(row["tally"]) for name, row in ports.items()}
        places = {name: _read_place(row["place"]) for name, row in ports.items() if "place" in row}
        dropped = {name: int(row["tx_dropped"]) for name, row in ports.items() if "tx_dropped" in row}
        by_hand = [
            StaticEntry(checks.vid(vid), parse_mac(mac), kind, port)
            for vid, mac, kind, port in message["by_hand"]
        ]
        ages = [float(age) for age in message["ages"]]
        counted = {str(name): int(count) for name, count in message["fdb_counters"].items()}
        tick = checks.integer(0, 0xFFFF)(message["tick"])
        removed = _read_tally(message["removed"])
    except (KeyError, TypeError, ValueError, AttributeError, BadValueError) as error:
        raise TakeOverError(f"its state makes no sense: {error!r}") from None
    if not ages or ages != sorted(ages, reverse=True):
        raise TakeOverError("its state makes no sense: the ages of its ticks")
    return State(tick, ages, places, dropped, tallies, removed, counted, by_hand, fdb)


def _read_place(numbers: Sequence[object]) -> PortPlace:
    slots, taken, released, taken_seen, wedged, missed_seen = numbers
    word, long = checks.integer(0, (1 << 32) - 1), checks.integer(0, (1 << 64) - 1)
    return PortPlace(
        (), word(slots), word(taken), word(released), word(taken_seen), bool(wedged), long(missed_seen)
    )


def _read_tally(row: Mapping[str, Mapping[str, int]]) -> Tally:
    values = {
        one.name: Counter({str(name): int(count) for name, count in row[one.name].items()})
        for one in fields(Tally)
    }
    return Tally(**values)


def restore(parts: Parts, state: State) -> int:
    """Go on where another process stopped; before the data thread runs. Returns how many FDB entries it has."""
    try:
        for one in parts.ports:
            if one.was_adopted and one.port is not None and one.config.name in state.places:
                one.port.resume(state.places[one.config.name])
        parts.core.tick = state.tick
        parts.learning.ticks.continue_from(state.ages)
        restored = parts.core.fdb_load(state.fdb)
    except (OSError, OverflowError, ValueError) as error:
        raise TakeOverError(f"its state does not fit: {error}") from error
    return restored


def restore_rest(parts: Parts, state: State) -> list[str]:
    """Take over what no frame waits for; returns what could not be."""
    left = []
    for one in parts.ports:
        if one.was_adopted and one.config.name in state.tx_dropped and one.dropped is not None:
            one.dropped = Odometer(state.tx_dropped[one.config.name])
        one.was_adopted = False
    removed = state.removed
    for name, tally in state.tallies.items():
        if name in parts.ports:
            parts.ledger.continue_from(name, tally)
        else:
            removed.add(tally)
    parts.ledger.removed.add(removed)
    for name, count in state.counted.items():
        if hasattr(parts.learning.counters, name):
            setattr(parts.learning.counters, name, count)
    for entry in state.by_hand:
        try:
            parts.learning.static.add(entry)
        except FramebridgeError as error:
            left.append(str(error))
    parts.learning.known.is_stale = True
    return left
