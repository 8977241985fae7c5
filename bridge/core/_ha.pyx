"""The gate and the pair: the decisions of a member by themselves, and what the control thread does with those of a bridge.

What each name means is in _ha.pyi. Compiled into the extension file of _core (see setup.py).
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memset

from bridge.core._core cimport Bridge
from bridge.core._handles cimport check_range, fail, lookup, names
from bridge.core.count cimport *
from bridge.core.ha cimport *

from bridge.core.values import Beacon, PairPeer, PairState

PAIR_RANK_NS = BR_PAIR_RANK_NS
MEMBER_PATHS = BR_MEMBER_PATHS
PAIR_KEY_MIN = BR_BEACON_KEY_MIN
PAIR_KEY_MAX = BR_BEACON_KEY_MAX
BEACON_GRANTED = BR_BEACON_GRANTED
BEACON_ELIGIBLE = BR_BEACON_ELIGIBLE
BEACON_RELEASED = BR_BEACON_RELEASED
BEACON_WANTS = BR_BEACON_WANTS
BEACON_LEFT = BR_BEACON_LEFT

PAIR_STATES = names(br_pair_state_names, BR_PAIR_STATE_N)
PAIR_STEPS = names(br_pair_step_names, BR_PAIR_STEP_N)
MEMBER_COUNTERS = names(br_member_counter_names, BR_MEMBER_COUNTER_N)
cdef tuple STATE_NAMES = tuple(name for name, _ in PAIR_STATES)
cdef tuple COUNTER_NAMES = tuple(name for name, _ in MEMBER_COUNTERS)
cdef dict VERBS = {
    "read": BR_PAIR_READ,
    "healthy": BR_PAIR_HEALTHY,
    "sick": BR_PAIR_SICK,
    "hold": BR_PAIR_HOLD,
    "resume": BR_PAIR_RESUME,
    "switch": BR_PAIR_SWITCH,
}
cdef tuple FAULTS = ("fine", "none", "cut", "other_version", "forged")


cdef br_beacon beacon_to_c(object beacon) except *:
    cdef br_beacon raw
    raw.pair, raw.sender, raw.session, raw.sequence = beacon.pair, beacon.sender, beacon.session, beacon.sequence
    raw.epoch, raw.heard_sender, raw.heard_session = beacon.epoch, beacon.heard_sender, beacon.heard_session
    raw.flags, raw.priority = beacon.flags, beacon.priority
    return raw


cdef object beacon_from_c(const br_beacon *raw):
    return Beacon(raw.pair, raw.sender, raw.session, raw.sequence, raw.epoch, raw.heard_sender, raw.heard_session,
                  raw.flags, raw.priority)


cdef int key_to_c(bytes secret, br_beacon_key *key) except -1:
    check_range("length of a secret", len(secret), BR_BEACON_KEY_MIN, BR_BEACON_KEY_MAX)
    memset(key, 0, sizeof(br_beacon_key))
    key.len = len(secret)
    memcpy(key.byte, <const char *>secret, len(secret))
    return 0


cdef int config_to_c(br_pair_config *raw, uint64_t pair, uint64_t member, uint64_t session, uint64_t interval,
                     uint64_t preempt, int priority) except -1:
    check_range("priority", priority, 0, 255)
    if not member or not interval:
        raise ValueError("a member has an id and an interval that are not 0")
    raw.pair, raw.self, raw.session, raw.interval, raw.preempt = pair, member, session, interval, preempt
    raw.priority = priority
    return 0


def write_beacon(object beacon, *, uint64_t source, bytes secret):
    cdef unsigned char frame[BR_BEACON_LEN]
    cdef br_beacon raw = beacon_to_c(beacon)
    cdef br_beacon_key key
    key_to_c(secret, &key)
    br_beacon_write(frame, source, &raw, &key)
    return frame[:BR_BEACON_LEN]


def read_beacon(bytes frame, *, bytes secret):
    cdef br_beacon raw
    cdef br_beacon_key key
    key_to_c(secret, &key)
    cdef int fault = br_beacon_read(<const unsigned char *>frame, len(frame), &key, &raw)
    return (FAULTS[fault], beacon_from_c(&raw) if fault == BR_BEACON_FINE else None)


cdef class Pair:
    cdef br_pair raw

    def __init__(self, *, uint64_t pair, uint64_t member, uint64_t session, uint64_t interval, uint64_t now,
                 uint64_t preempt=0, int priority=100):
        cdef br_pair_config config
        config_to_c(&config, pair, member, session, interval, preempt, priority)
        br_pair_init(&self.raw, &config, now)

    def remember(self, uint64_t member, uint64_t session, uint64_t sequence):
        br_pair_remember(&self.raw, member, session, sequence)

    def hear(self, uint64_t now, object beacon):
        cdef br_beacon raw = beacon_to_c(beacon)
        return br_pair_hear(&self.raw, now, &raw)

    def tick(self, uint64_t now):
        return br_pair_tick(&self.raw, now)

    def set_health(self, uint64_t now, bint healthy):
        return br_pair_set_health(&self.raw, now, healthy)

    def hold(self, uint64_t now, bint held):
        return br_pair_hold(&self.raw, now, held)

    def release(self, uint64_t now):
        cdef uint32_t todo = 0
        cdef int error = br_pair_release(&self.raw, now, &todo)
        return error, todo

    def write(self, uint64_t now):
        cdef br_beacon raw
        br_pair_write(&self.raw, now, &raw)
        return beacon_from_c(&raw)

    def sent(self, uint64_t now, uint32_t n):
        br_pair_sent(&self.raw, now, n)

    def next(self, uint64_t now):
        return br_pair_next(&self.raw, now)

    @property
    def state(self):
        return STATE_NAMES[self.raw.state]

    @property
    def until(self):
        return self.raw.until


# -- of a bridge ----------------------------------------------------------------------------------------


def boot_clock():
    return br_gate_clock()


cdef br_gate_page *page_of(Bridge bridge) except NULL:
    cdef br_gate_page *page = br_bridge_gate_page(bridge.raw)
    if page is NULL:
        raise RuntimeError("the bridge has no gate")
    return page


def set_gate(Bridge bridge not None, bint gated):
    cdef int error
    with nogil:
        error = br_bridge_gate(bridge.raw, gated)
    if error:
        raise fail(error)


def open_gate(Bridge bridge not None, uint64_t epoch, uint64_t until):
    br_gate_open(page_of(bridge), epoch, until)


def close_gate(Bridge bridge not None):
    br_gate_close(page_of(bridge))


def read_gate(Bridge bridge not None):
    cdef br_gate_page *page = page_of(bridge)
    return br_gate_until(page), br_gate_epoch(page), br_gate_progress(page)


def gate_fd(Bridge bridge not None):
    return page_of(bridge).fd


def start_pair(Bridge bridge not None, *, uint64_t pair, uint64_t member, uint64_t session, uint64_t interval,
               bytes secret, uint64_t source, paths, uint64_t preempt=0, int priority=100, remembered=()):
    cdef br_pair_start start
    cdef int error
    cdef list fds = list(paths)
    cdef list known = list(remembered)[:BR_PAIR_PEERS_MAX]

    memset(&start, 0, sizeof(start))
    config_to_c(&start.config, pair, member, session, interval, preempt, priority)
    key_to_c(secret, &start.key)
    check_range("number of paths", len(fds), 1, BR_MEMBER_PATHS)
    start.source, start.n_paths, start.n_remembered = source, len(fds), len(known)
    for i, fd in enumerate(fds):
        start.path[i] = fd
    for i, peer in enumerate(known):
        start.remembered[i][0], start.remembered[i][1], start.remembered[i][2] = peer
    with nogil:
        error = br_bridge_pair_start(bridge.raw, &start)
    if error:
        raise fail(error)


def set_pair_paths(Bridge bridge not None, paths):
    cdef int raw[BR_MEMBER_PATHS]
    cdef list fds = list(paths)
    cdef uint32_t n = len(fds)
    cdef int error

    check_range("number of paths", len(fds), 1, BR_MEMBER_PATHS)
    for i, fd in enumerate(fds):
        raw[i] = fd
    with nogil:
        error = br_bridge_pair_paths(bridge.raw, raw, n)
    if error:
        raise fail(error)


def stop_pair(Bridge bridge not None):
    with nogil:
        br_bridge_pair_stop(bridge.raw)


def drive_pair(Bridge bridge not None, str verb="read"):
    cdef br_pair_state_copy copy
    cdef int number = lookup(VERBS, "verb", verb)
    cdef int error
    cdef int i

    with nogil:
        error = br_bridge_pair(bridge.raw, number, &copy)
    if error:
        raise fail(error)
    peers = tuple(
        PairPeer(copy.pair.peer[i].id, copy.pair.peer[i].session, copy.pair.peer[i].sequence, copy.pair.peer[i].epoch,
                 copy.pair.peer[i].heard, copy.pair.peer[i].granted != 0, copy.pair.peer[i].priority,
                 bool(copy.pair.peer[i].eligible), bool(copy.pair.peer[i].hears), bool(copy.pair.peer[i].lost))
        for i in range(BR_PAIR_PEERS_MAX)
        if copy.pair.peer[i].id and copy.pair.peer[i].heard
    )
    counters = {COUNTER_NAMES[i]: copy.counters.value[i] for i in range(BR_MEMBER_COUNTER_N)}
    return PairState(STATE_NAMES[copy.pair.state], copy.pair.epoch, copy.pair.until, copy.pair.entered, copy.pair.gap,
                     bool(copy.pair.healthy), bool(copy.pair.held), peers, counters)
