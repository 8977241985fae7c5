"""The gate and the pair: decisions by themselves (`Pair`), and what the control thread does with those of a bridge.

Times are nanoseconds of CLOCK_BOOTTIME. `Pair` has the rules (csrc/ha/pair.h) and nothing else: each method returns a
set, bit n of which is PAIR_STEPS[n].
"""

from collections.abc import Iterable
from typing import Literal, final

from bridge.core._core import Bridge
from bridge.core.values import Beacon, PairState

PAIR_RANK_NS: int
MEMBER_PATHS: int
PAIR_KEY_MIN: int
PAIR_KEY_MAX: int
BEACON_GRANTED: int
BEACON_ELIGIBLE: int
BEACON_RELEASED: int
BEACON_WANTS: int
BEACON_LEFT: int
# Declared once, in csrc/count/counters.h: (name, sentence).
PAIR_STATES: tuple[tuple[str, str], ...]
PAIR_STEPS: tuple[tuple[str, str], ...]
MEMBER_COUNTERS: tuple[tuple[str, str], ...]

def boot_clock() -> int: ...
def write_beacon(beacon: Beacon, *, source: int, secret: bytes) -> bytes:
    """Give the frame; `source` is its MAC address. ValueError: a secret has PAIR_KEY_MIN to PAIR_KEY_MAX bytes."""

def read_beacon(frame: bytes, *, secret: bytes) -> tuple[str, Beacon | None]:
    """Give `fine` and what a frame says, or why it is not taken: none, cut, other_version, forged."""

@final
class Pair:
    """The decisions of one member."""

    def __init__(
        self,
        *,
        pair: int,
        member: int,
        session: int,
        interval: int,
        now: int,
        preempt: int = 0,
        priority: int = 100,
    ) -> None: ...
    def remember(self, member: int, session: int, sequence: int) -> None:
        """Take older beacons of a peer for replays: what was heard of it in an earlier run."""
    def hear(self, now: int, beacon: Beacon) -> int: ...
    def tick(self, now: int) -> int: ...
    def set_health(self, now: int, healthy: bool) -> int: ...
    def hold(self, now: int, held: bool) -> int: ...
    def release(self, now: int) -> tuple[int, int]:
        """Hand the gate over: 0 or a negative errno, and the steps."""
    def write(self, now: int) -> Beacon:
        """Give the beacon to send now."""
    def sent(self, now: int, n: int) -> None:
        """Say that it left by n paths: an active member's lease is renewed."""
    def next(self, now: int) -> int:
        """Say when `tick` is due."""
    @property
    def state(self) -> str:
        """A name of PAIR_STATES."""
    @property
    def until(self) -> int:
        """End of the lease of an active member."""

# Each OSError has the errno of thread/ha.h.
def set_gate(bridge: Bridge, gated: bool) -> None:
    """Put a gate, closed, before a bridge, or take it away. OSError: EBUSY, a pair keeps it."""

def open_gate(bridge: Bridge, epoch: int, until: int) -> None:
    """Let a bridge forward until then: a store, with no call to the data thread. RuntimeError: it has no gate."""

def close_gate(bridge: Bridge) -> None: ...
def read_gate(bridge: Bridge) -> tuple[int, int, int]:
    """Give until when the gate is open, its epoch, and the last turn of the data thread of a pair."""

def gate_fd(bridge: Bridge) -> int:
    """Give the descriptor of the gate's page (csrc/ha/gate.h), which stays the bridge's."""

def start_pair(
    bridge: Bridge,
    *,
    pair: int,
    member: int,
    session: int,
    interval: int,
    secret: bytes,
    source: int,
    paths: Iterable[int],
    preempt: int = 0,
    priority: int = 100,
    remembered: Iterable[tuple[int, int, int]] = (),
) -> None:
    """Join a pair, behind a gate; `paths` are descriptors of packet sockets, which the bridge closes from then on.

    OSError: EBUSY, it is in a pair; EPERM, there is no gate.
    """

def set_pair_paths(bridge: Bridge, paths: Iterable[int]) -> None:
    """Use other paths, which the bridge closes from then on. OSError: ESRCH, no pair; they are the caller's then."""

def stop_pair(bridge: Bridge) -> None:
    """Leave: hand the gate over, close the paths."""

def drive_pair(
    bridge: Bridge, verb: Literal["read", "healthy", "sick", "hold", "resume", "switch"] = "read"
) -> PairState:
    """Do it, and give what is the case then.

    OSError: ESRCH, no pair; of `switch` EPERM, it does not forward, ENOLINK, no eligible peer hears it.
    """
