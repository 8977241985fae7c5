"""Declarations of csrc/ for Cython: only what bridge/core/_core.pyx uses."""

from libc.stdint cimport int16_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from "<stdlib.h>" nogil:
    void *aligned_alloc(size_t alignment, size_t size)


cdef extern from "frame/frame.h" nogil:
    enum:
        BR_BURST_MAX
        BR_HEADROOM
        BR_HEAD_LEN
        BR_FRAME_MIN
        BR_ETH_HLEN

    struct br_offload:
        uint8_t needs_csum
        uint8_t gso_type
        uint16_t hdr_len
        uint16_t gso_size
        uint16_t csum_start
        uint16_t csum_offset


cdef extern from "frame/vnet.h" nogil:
    enum:
        BR_GSO_NONE
        BR_GSO_TCP4
        BR_GSO_TCP6
        BR_GSO_UDP
        BR_GSO_ECN


cdef extern from "count/counters.h" nogil:
    enum:
        BR_DROP_N
        BR_MISS_N
        BR_STAGE_N
        BR_EVENT_N
        BR_PORT_COUNTER_N
        BR_THREAD_COUNTER_N
        BR_CLASS_N
        BR_HISTOGRAM_N
        BR_WAITING_N
        BR_GUARD_N
        BR_EVENT_source_guard
        BR_STAGE_blocked
        BR_STAGE_polling
        BR_STAGE_control

    struct br_port_counters:
        uint64_t *value
        uint64_t *rx_drops
        uint64_t *tx_drops
        uint64_t *misses

    struct br_thread_counters:
        uint64_t *value
        uint64_t *stage_cycles


cdef extern from "count/limits.h" nogil:
    enum:
        BR_PORTS_MAX
        BR_ANY_PORT
        BR_BUDGETS_MAX
        BR_MIRRORS_MAX
        BR_MIRROR_SNAPLEN_MIN
        BR_ALLOWED_MAX
        BR_GUARD_RULES_MAX
        BR_CAPTURE_LEAST
        BR_CAPTURE_MOST


cdef extern from "count/names.h" nogil:
    struct br_name:
        const char *symbol
        const char *sentence

    const br_name *br_drop_names
    const br_name *br_miss_names
    const br_name *br_stage_names
    const br_name *br_class_names
    const br_name *br_histogram_names
    const br_name *br_waiting_names
    const br_name *br_event_names
    const br_name *br_port_counter_names
    const br_name *br_thread_counter_names
    const br_name *br_guard_names


cdef extern from "count/event.h" nogil:
    struct br_event:
        uint64_t key
        uint16_t port
        uint16_t old_port
        uint16_t kind
        uint16_t error
        uint8_t finding
        uint8_t address_len
        uint8_t *address

    struct br_events:
        int fd
        uint32_t mask

    void br_events_renew(br_events *events)
    uint32_t br_events_waiting(const br_events *events)
    uint64_t br_events_lost(const br_events *events)
    uint32_t br_events_take(br_events *events, br_event *out, uint32_t cap)


cdef extern from "fdb/table.h" nogil:
    enum:
        BR_FDB_DYNAMIC
        BR_FDB_STICKY
        BR_FDB_STATIC
        BR_FDB_DROP

    union br_fdb_value:
        uint64_t word
        uint16_t port
        uint16_t tick
        uint8_t kind

    struct br_fdb_entry:
        uint64_t key
        uint64_t value

    struct br_fdb:
        uint32_t capacity

    uint16_t br_fdb_tick(const br_fdb *fdb)
    void br_fdb_set_tick(br_fdb *fdb, uint16_t tick)
    uint32_t br_fdb_slots(const br_fdb *fdb)
    uint64_t br_fdb_key(uint16_t vid, uint64_t mac)


cdef extern from "fdb/read.h" nogil:
    bint br_fdb_read(const br_fdb *fdb, uint32_t index, br_fdb_entry *copy)
    uint32_t br_fdb_copy(const br_fdb *fdb, br_fdb_entry *out) nogil
    bint br_fdb_read_key(const br_fdb *fdb, uint64_t key, br_fdb_entry *copy)


cdef extern from "port/port.h" nogil:
    struct br_port_ops:
        const char *kind

    struct br_port:
        const br_port_ops *ops
        int fd
        uint32_t serial
        uint16_t index
        bint failed

    struct br_memory_frame:
        const uint8_t *data
        uint32_t len
        uint16_t headroom
        bint in_one
        bint tag_beside
        uint16_t tpid
        uint16_t tci
        br_offload offload

    int br_port_open_memory(br_port **port, uint32_t slots, bint vnet)
    int br_port_open_replay(br_port **port, uint32_t n_frames, uint32_t longest, uint32_t burst)
    int br_port_open_tap(br_port **port, const char *device, uint32_t burst)
    int br_port_open_link(br_port **port, const char *device, uint32_t slots)
    const br_port_counters *br_port_read(br_port *port)
    void br_port_close(br_port *port)
    int br_replay_add(br_port *port, const uint8_t *data, uint32_t len)
    int br_memory_put(br_port *port, const br_memory_frame *frame)
    bint br_memory_peek(br_port *port, br_memory_frame *frame)
    void br_memory_next(br_port *port)
    uint32_t br_memory_pending(const br_port *port)


cdef extern from "count/cycles.h" nogil:
    uint64_t br_cycles_now()


cdef extern from "frame/way.h" nogil:
    enum:
        BR_RX
        BR_TX


cdef extern from "frame/classify.h" nogil:
    struct br_udp_ports:
        pass

    void br_udp_ports_add(br_udp_ports *set, uint16_t port)


cdef extern from "count/histogram.h" nogil:
    enum:
        BR_HISTOGRAM_BUCKETS

    struct br_histogram:
        uint64_t *bucket

    uint64_t br_histogram_bound(uint32_t index)


cdef extern from "account/bill.h" nogil:
    enum:
        BR_VID_OTHER

    struct br_sum:
        uint64_t direct
        uint64_t induced
        uint64_t frames
        uint64_t segments
        uint64_t bytes
        uint64_t copies

    struct br_charge:
        uint32_t serial
        uint16_t port
        uint16_t vid
        uint8_t frame_class "class"
        br_sum sum

    struct br_talker:
        uint64_t key
        br_sum sum

    struct br_slow:
        uint64_t stamp
        uint64_t cycles
        uint64_t *stage
        uint32_t frames
        uint16_t port

    struct br_bill:
        br_talker *talker
        uint64_t talked

    struct br_bill_copy:
        uint64_t stamp
        br_thread_counters thread
        long long uncharged
        uint64_t talked
        uint32_t n_charges
        uint32_t n_slow
        br_histogram *histogram
        br_slow *slow
        br_charge *charge

    bint br_talker_present(const br_bill *bill, const br_fdb *fdb, uint32_t index, br_fdb_entry *entry, br_talker *copy)
    uint64_t br_talkers_present(const br_bill *bill, const br_fdb *fdb)


cdef extern from "snapshot/budget_rules.h" nogil:
    enum:
        BR_BUDGET_CYCLES
        BR_BUDGET_FRAMES
        BR_BUDGET_BITS
        BR_BUDGET_COUNT
        BR_BUDGET_DROP
        BR_BUDGET_STOP_LEARNING

    struct br_budget:
        uint32_t serial
        uint16_t port
        uint16_t vid
        uint64_t talker
        uint16_t classes
        uint8_t unit
        uint8_t action
        uint8_t floods
        double rate
        double burst
        uint64_t calm


cdef extern from "account/budget.h" nogil:
    struct br_budget_state:
        uint32_t serial
        bint told
        double tokens
        uint64_t spent
        uint64_t dropped
        uint64_t n_over


cdef extern from "snapshot/translation.h" nogil:
    struct br_translation:
        pass

    int br_translation_add(br_translation *translation, uint16_t outer, uint16_t inner, uint16_t vid)


cdef extern from "frame/mac.h" nogil:
    bint br_mac_is_virtual_router(uint64_t mac)


cdef extern from "protect/probe.h" nogil:
    struct br_probe:
        uint64_t source
        uint64_t instance
        uint64_t nonce
        uint16_t port
        uint16_t vid
        uint32_t sequence

    void br_probe_write(uint8_t *frame, const br_probe *probe)


cdef extern from "snapshot/guard_rules.h" nogil:
    struct br_mac_range:
        uint64_t first
        uint64_t last

    struct br_guard_rule:
        uint64_t *address
        uint64_t *mask
        uint64_t mac

    struct br_guard_port:
        uint16_t allowed
        uint16_t n_allowed
        uint16_t rule
        uint16_t n_ipv4
        uint16_t n_ipv6

    struct br_guards:
        uint16_t n_allowed
        uint16_t n_rules
        br_guard_port *port
        br_mac_range *allowed
        br_guard_rule *rule


cdef extern from "mirror/capture.h" nogil:
    enum:
        BR_CAPTURE_BLOCK_LEN
        BR_NO_INTERFACE
        BR_CAPTURE_EMPTY
        BR_CAPTURE_FULL
        BR_CAPTURE_UNKNOWN

    # The type of enum br_capture_end, for a pointer to it.
    ctypedef int br_capture_end "enum br_capture_end"

    struct br_capture:
        int fd

    int br_capture_init(br_capture *capture, uint32_t len)
    void br_capture_fini(br_capture *capture)
    uint32_t br_capture_take(br_capture *capture, const uint32_t *interface, uint8_t *out, uint32_t cap,
                             br_capture_end *end, uint16_t *port)
    bint br_capture_wait(br_capture *capture, int milliseconds)
    void br_capture_wake(br_capture *capture)
    void br_capture_stop(br_capture *capture)
    void br_capture_counts(const br_capture *capture, uint16_t port, uint64_t *taken, uint64_t *lost)


cdef extern from "snapshot/mirror_rules.h" nogil:
    struct br_mirror:
        uint32_t serial
        uint32_t snaplen
        br_capture *capture
        uint16_t target
        uint8_t queue
        bint by_frames
        double rate
        double burst

    struct br_mirrors:
        uint32_t n
        uint8_t to_port
        uint8_t frames
        uint8_t drops
        uint8_t[2][256] at
        uint8_t *vlan
        br_mirror *mirror


cdef extern from "mirror/mirror.h" nogil:
    struct br_mirror_state:
        uint32_t serial
        uint64_t copies
        uint64_t bytes
        uint64_t lost
        uint64_t over_rate


cdef extern from "snapshot/port_config.h" nogil:
    enum:
        BR_MODE_ACCESS
        BR_MODE_TRUNK
        BR_MODE_TUNNEL
        BR_PRIORITY_TAGS_NEVER
        BR_PRIORITY_TAGS_IF_NONZERO
        BR_PRIORITY_TAGS_ALWAYS
        BR_DIRECTION_BOTH
        BR_DIRECTION_INGRESS
        BR_DIRECTION_EGRESS
        BR_FLOOD_UNKNOWN
        BR_FLOOD_MULTICAST
        BR_FLOOD_BROADCAST

    struct br_port_set:
        pass

    void br_set_add(br_port_set *set, uint16_t port)

    struct br_port_config:
        br_port *port
        uint32_t mtu
        uint32_t mac_limit
        uint16_t pvid
        uint16_t tpid
        uint8_t mode
        bint up
        bint learning
        bint isolated
        br_translation *translation
        uint16_t bare
        uint16_t untagged_tci
        uint16_t horizon
        uint8_t priority_tags
        uint8_t direction
        bint hairpin
        bint plain
        bint locked
        bint guarded
        bint blocked


cdef extern from "snapshot/snapshot.h" nogil:
    struct br_snapshot:
        uint16_t n_ports
        uint16_t *port_index
        uint16_t reserved_pass
        uint16_t age_ticks
        bint static_forward
        uint8_t waiting
        bint controlled
        bint evict
        bint vrrp_aware
        bint local_first
        uint32_t mac_limit
        br_port_set *flood
        br_port_config *port
        br_port_set *vlan
        uint32_t *vlan_limit
        uint64_t *vlan_learning_off
        br_udp_ports heartbeat
        br_guards guards
        uint64_t own_address
        uint64_t instance
        uint32_t n_budgets
        br_mirrors mirrors


cdef extern from "snapshot/budget_rules.h" nogil:
    void br_budget_add(br_snapshot *snapshot, const br_budget *budget)


cdef extern from "pipeline/state.h" nogil:
    struct br_thread:
        br_thread_counters counters "batch.counters"
        br_bill bill
        uint32_t burst "batch.burst"


cdef extern from "pipeline/originate.h" nogil:
    struct br_origination:
        const uint8_t *data
        uint32_t len
        uint16_t port
        uint16_t vid
        int16_t result


cdef extern from "thread/bridge.h" nogil:
    struct br_bridge:
        br_thread thread
        br_fdb fdb "thread.fdb"
        br_events events
        bint running
        uint32_t last_serial

    int br_bridge_init(br_bridge *bridge, uint32_t fdb_capacity, uint32_t burst, uint32_t events,
                       const uint64_t *secret)
    void br_bridge_fini(br_bridge *bridge)
    int br_bridge_run(br_bridge *bridge)
    void br_bridge_stop(br_bridge *bridge)
    int br_bridge_turn(br_bridge *bridge)
    void br_bridge_wake(br_bridge *bridge)
    uint64_t br_bridge_progress(const br_bridge *bridge)


cdef extern from "thread/changes.h" nogil:
    enum:
        BR_FDB_SET
        BR_FDB_DELETE
        BR_FDB_FORGET
        BR_FDB_EXPIRE
        BR_FDB_RESTORE
        BR_FDB_FLUSH_PORT
        BR_FDB_FLUSH_VLAN
        BR_FDB_FLUSH_ALL

    struct br_fdb_change:
        uint64_t key
        uint16_t port
        uint16_t tick
        uint8_t verb
        uint8_t kind
        int16_t result

    int br_bridge_apply(br_bridge *bridge, const br_snapshot *snapshot)
    void br_bridge_originate(br_bridge *bridge, br_origination *frame, uint32_t n)
    void br_bridge_shift_clock(br_bridge *bridge, long long cycles)
    void br_bridge_close(br_bridge *bridge, br_port *port)
    void br_bridge_fdb(br_bridge *bridge, br_fdb_change *change, uint32_t n)


cdef extern from "thread/readout.h" nogil:
    uint32_t br_bridge_counters(br_bridge *bridge, const uint16_t *index, uint32_t n, br_port_counters *out,
                            br_thread_counters *thread)
    void br_bridge_bill(br_bridge *bridge, br_bill_copy *copy)
    void br_bridge_clear_slow(br_bridge *bridge)
    void br_bridge_budgets(br_bridge *bridge, br_budget_state *out)
    void br_bridge_mirrors(br_bridge *bridge, br_mirror_state *out)


cdef extern from "snapshot/may_leave.h" nogil:
    void br_reach_add(br_snapshot *snapshot, uint16_t index)
