/*
 * world.h - a bridge for the fuzzers: drawn configurations and frames, and what must hold after every turn.
 *
 * Holds: the ledger of count/counters.h, for each port and over all; buffers are back in their pools; the bill has every
 *      busy cycle once; what leaves by a port has a form that the port takes.
 * Memory: what lies behind a received frame is poisoned until the next turn, so a stage that reads beyond it is found
 *      also where a port keeps its frames in one large buffer.
 */
#ifndef FUZZ_WORLD_H
#define FUZZ_WORLD_H

#include <sanitizer/asan_interface.h>

#include "account/bill.h"
#include "fdb/fdb.h"
#include "frame/vnet.h"
#include "input.h"
#include "mirror/capture.h"
#include "port/port.h"
#include "protect/probe.h"
#include "snapshot/may_leave.h"
#include "snapshot/snapshot.h"
#include "snapshot/translation.h"
#include "thread/bridge.h"
#include "thread/changes.h"
#include "thread/readout.h"

enum {
    WORLD_PORTS = 6,
    WORLD_SLOTS = 16,
    WORLD_STATIONS = 12,
    WORLD_LONGEST = 66000,
    WORLD_POISON = 64,
};

static const uint16_t world_vids[] = {1, 2, 10, 100, 4094, 4095, 0};

/* A port, and what stands between it and the bridge. */
struct world_port {
    struct br_port *port;
    const struct br_port_ops *ops; /* its own */
    struct br_port_ops seen;       /* the same, but for rx */
    bool is_memory;
    int outside;                   /* the other end of its descriptor, -1: none */
};

struct world {
    struct br_bridge bridge;
    struct br_snapshot *snapshot;
    struct br_capture capture;
    struct world_port port[WORLD_PORTS];
    struct br_port_counters gone; /* of ports that left, added up */
    uint32_t serial;
};

static struct world world_storage; /* all of it in place, so that a run costs no page faults */
static struct br_snapshot world_snapshots[2];
static struct world *const world_now = &world_storage; /* rx of a port is told its port only */
static volatile uint8_t world_seen;

/* Freed memory is kept from use for a short time only: runs are many, and what one frees is large. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "quarantine_size_mb=2";
}

/* ---- what a bridge reads of a frame, and no more ----------------------------------------------------------------- */

struct world_shadow {
    uint8_t *at;
    size_t len;
};
static struct world_shadow world_poisoned[BR_BURST_MAX];
static uint32_t world_n_poisoned;

static void world_heal(void)
{
    for (uint32_t i = 0; i < world_n_poisoned; i++)
        ASAN_UNPOISON_MEMORY_REGION(world_poisoned[i].at, world_poisoned[i].len);
    world_n_poisoned = 0;
}

/* frame.h: BR_FRAME_ROOM bytes are writable from `data`. A line that the frame does not reach may be another one's. */
static void world_poison(const struct br_frame *frame)
{
    uint8_t *at = frame->data + (frame->len < BR_FRAME_ROOM ? BR_FRAME_ROOM : frame->len);
    const uintptr_t used = (uintptr_t)frame->data + (frame->len < BR_FRAME_MIN ? BR_FRAME_MIN : frame->len);
    uint8_t *end = (uint8_t *)((used + WORLD_POISON - 1) / WORLD_POISON * WORLD_POISON);

    if (at >= end)
        return;
    ASAN_POISON_MEMORY_REGION(at, (size_t)(end - at));
    world_poisoned[world_n_poisoned++] = (struct world_shadow){at, (size_t)(end - at)};
}

static struct world_port *world_port_of(const struct br_port *port)
{
    for (uint32_t i = 0; i < WORLD_PORTS; i++)
        if (world_now->port[i].port == port)
            return &world_now->port[i];
    abort();
}

/* A burst was received. */
static int world_watched(const struct br_frame *frame, int n, uint32_t cap)
{
    FUZZ_CHECK(n <= (int)cap);
    for (int i = 0; i < n; i++)
        world_poison(&frame[i]);
    return n;
}

static int world_rx(struct br_port *port, struct br_pool *pool, struct br_frame *frame, uint32_t cap)
{
    world_heal();
    return world_watched(frame, world_port_of(port)->ops->rx(port, pool, frame, cap), cap);
}

static int world_rx_lane(struct br_port *port, struct br_pool *pool, struct br_frame *frame, uint32_t cap)
{
    world_heal();
    return world_watched(frame, world_port_of(port)->ops->rx_lane(port, pool, frame, cap), cap);
}

/* A port that the bridge was given: from now on its frames are watched. */
static void world_adopt(struct world *world, uint32_t index, struct br_port *port, int outside)
{
    struct world_port *place = &world->port[index];

    port->index = (uint16_t)index;
    port->serial = ++world->bridge.last_serial;
    *place = (struct world_port){.port = port, .ops = port->ops, .seen = *port->ops, .outside = outside};
    place->is_memory = outside < 0;
    place->seen.rx = world_rx;
    if (port->ops->rx_lane)
        place->seen.rx_lane = world_rx_lane;
    port->ops = &place->seen;
}

/* ---- configuration ----------------------------------------------------------------------------------------------- */

static uint64_t world_mac(struct input *in)
{
    static const uint64_t special[] = {
        0xffffffffffff, 0x01005e000012, 0x333300000012, 0x0180c2000000, 0x0180c200000e, 0x0180c2000010,
        0,              0x00005e000101, 0x00005e000201, 0x0346424c5000, 0x0346424c5001, 0x0200000000fe,
    };
    const uint8_t choice = in_8(in);

    if (choice < 0xc0)
        return 0x020000000000 | (choice % WORLD_STATIONS + 1u);
    return choice < 0xf0 ? special[choice % (sizeof(special) / sizeof(*special))] : in_bytes(in, 6);
}

/* Of the few that make things meet; without 0 and 4095. */
static uint16_t world_vid(struct input *in)
{
    return world_vids[in_one_of(in, 5)];
}

static void world_translate(struct input *in, struct br_snapshot *snapshot, struct br_port_config *config)
{
    config->translation = calloc(1, sizeof(*config->translation));
    for (uint32_t i = 0; i < 5; i++) {
        const uint16_t vid = world_vids[i];
        const uint16_t inner = in_bit(in) ? world_vid(in) : 0;
        const uint16_t outer = in_bit(in) ? world_vid(in) : vid;

        if (br_set_has(&snapshot->vlan[vid], config->port->index))
            br_translation_add(config->translation, outer, inner, vid);
    }
}

static void world_vlans(struct input *in, struct br_snapshot *snapshot, struct br_port_config *config)
{
    config->mode = (uint8_t)in_one_of(in, 3);
    config->pvid = config->mode == BR_MODE_TRUNK && in_bit(in) ? 0 : world_vid(in);
    if (config->pvid)
        br_set_add(&snapshot->vlan[config->pvid], config->port->index);
    for (uint32_t i = 0; i < 5 && config->mode == BR_MODE_TRUNK; i++)
        if (in_bit(in))
            br_set_add(&snapshot->vlan[world_vids[i]], config->port->index);
    config->tpid = in_bit(in) ? BR_TPID_8021AD : BR_TPID_8021Q;
    config->untagged_vid = in_bit(in) ? 0 : config->pvid;
    config->untagged_tci = (uint16_t)(in_one_of(in, 8) << 13);
    config->priority_tags = (uint8_t)in_one_of(in, 3);
    if (config->mode == BR_MODE_TRUNK && in_bit(in))
        world_translate(in, snapshot, config);
}

static void world_security(struct input *in, struct br_guards *guards, struct br_port_config *config)
{
    struct br_guard_port *place = &guards->port[config->port->index];

    config->locked = in_bit(in);
    config->guards = in_8(in) & (BR_GUARD_BIT_SOURCE | BR_GUARD_BIT_RA | BR_GUARD_BIT_DHCP);
    place->allowed = guards->n_allowed;
    place->rule = guards->n_rules;
    if (in_bit(in)) {
        guards->allowed[guards->n_allowed++] = (struct br_mac_range){0x020000000001, 0x020000000003};
        place->n_allowed = 1;
    }
    for (uint32_t i = 0; i < 2 && config->guards & BR_GUARD_BIT_SOURCE; i++) {
        struct br_guard_rule *rule = &guards->rule[guards->n_rules++];

        rule->mask[0] = i ? UINT64_MAX : 0xffffff0000000000;
        rule->address[0] = (i ? 0x20010db800000000 : 0x0a00000000000000) & rule->mask[0];
        rule->mac = in_bit(in) ? world_mac(in) : 0;
        *(i ? &place->n_ipv6 : &place->n_ipv4) += 1;
    }
}

static void world_add_port(struct input *in, struct br_snapshot *snapshot, struct br_port *port)
{
    static const uint32_t mtus[] = {1500, 68, 576, 9000, 65535};
    struct br_port_config *config = &snapshot->port[port->index];
    const uint8_t switches = in_8(in);

    config->port = port;
    config->mtu = mtus[in_one_of(in, 5)];
    config->mac_limit = in_one_of(in, 4);
    config->learning = !(switches & 1);
    config->isolated = switches & 2;
    config->hairpin = switches & 4;
    config->up = (switches & 0x18) != 0x18;
    config->blocked = !config->up && switches & 0x20;
    config->horizon = switches >> 6 & 1;
    config->direction = (uint8_t)(switches & 0x80 ? in_one_of(in, 3) : BR_DIRECTION_BOTH);
    world_vlans(in, snapshot, config);
    world_security(in, &snapshot->guards, config);
    config->simple = config->up && !config->translation && config->priority_tags == BR_PRIORITY_TAGS_NEVER;
    for (int flood = 0; flood < BR_FLOOD_CLASSES; flood++)
        if (config->up && in_one_of(in, 8))
            br_set_add(&snapshot->flood[flood], port->index);
    snapshot->port_index[snapshot->n_ports++] = port->index;
    br_may_leave_add(snapshot, port->index);
}

static void world_add_budget(struct input *in, struct br_snapshot *snapshot, uint32_t serial)
{
    const struct br_budget budget = {
        .serial = serial,
        .port = in_bit(in) ? (uint16_t)in_one_of(in, WORLD_PORTS) : BR_ANY_PORT,
        .vid = in_bit(in) ? world_vid(in) : 0,
        .talker = in_bit(in) ? world_mac(in) : 0,
        .classes = in_16(in) & ((1u << BR_CLASS_N) - 1),
        .unit = (uint8_t)in_one_of(in, 3),
        .action = (uint8_t)in_one_of(in, 3),
        .floods = in_8(in) & ((1u << BR_FLOOD_CLASSES) - 1),
        .rate = 1e-12 * (1 + in_8(in)),
        .burst = 1 + in_8(in),
        .hold_off = in_16(in),
    };

    br_budget_add(snapshot, &budget);
}

static void world_add_mirror(struct input *in, struct world *world, struct br_snapshot *snapshot)
{
    struct br_mirrors *mirrors = &snapshot->mirrors;
    const uint16_t target = (uint16_t)in_one_of(in, WORLD_PORTS);
    const bool to_port = in_bit(in) && snapshot->port[target].port;
    const uint8_t what = in_8(in);
    const uint8_t bit = br_mirror_add(mirrors, &(struct br_mirror){
                                                   .serial = ++world->serial,
                                                   .snaplen = what & 1 ? BR_MIRROR_SNAPLEN_MIN + in_8(in) : 0,
                                                   .capture = to_port ? NULL : &world->capture,
                                                   .target = to_port ? target : 0,
                                                   .by_frames = what & 2,
                                                   .rate = what & 4 ? 1e-9 : 0,
                                                   .burst = 1 + in_8(in),
                                               });
    for (uint32_t i = 0; i < WORLD_PORTS; i++) {
        const uint8_t ways = to_port && i == target ? 0 : in_8(in);

        mirrors->at[BR_RX][i] |= ways & 1 ? bit : 0;
        mirrors->at[BR_TX][i] |= ways & 2 ? bit : 0;
    }
    for (uint32_t vid = 0; vid < BR_VLANS; vid++)
        mirrors->vlan[vid] |= what & 8 && vid != world_vids[what >> 6] ? 0 : bit;
    mirrors->frames |= what & 16 ? bit : 0;
    mirrors->drops |= what & 32 ? bit : 0;
}

static void world_bridge_options(struct input *in, struct br_snapshot *snapshot)
{
    const uint16_t switches = in_16(in);

    snapshot->reserved_pass = switches & 0x4000 ? 0x4001 : 0;
    snapshot->age_ticks = switches & 1 ? 0 : 300;
    snapshot->static_forward = switches & 2;
    snapshot->controlled = (switches & 0xc) == 0xc;
    snapshot->evict = switches & 0x10;
    snapshot->vrrp_aware = switches & 0x20;
    snapshot->local_first = switches & 0x40;
    snapshot->waiting = (uint8_t)(switches >> 7 & 3) % BR_WAITING_N;
    snapshot->mac_limit = switches & 0x200 ? 5 : 0;
    snapshot->own_address = switches & 0x400 ? 0x0200000000fe : 0;
    snapshot->instance = switches & 0x800;
    if (switches & 0x1000)
        snapshot->vlan_limit[world_vid(in)] = 3;
    if (switches & 0x2000)
        snapshot->vlan_learning_off[0] = in_16(in);
    br_beat_ports_begin(&snapshot->heartbeat.ports);
    br_beat_ports_add(&snapshot->heartbeat.ports, 5405, false);
}

/* Nobody reads it any more, until it is drawn again. */
static void world_drop_snapshot(struct br_snapshot *snapshot)
{
    if (!snapshot)
        return;
    for (uint32_t i = 0; i < WORLD_PORTS; i++)
        free(snapshot->port[i].translation);
    ASAN_POISON_MEMORY_REGION(snapshot, sizeof(*snapshot));
}

static void world_configure(struct world *world, struct input *in)
{
    struct br_snapshot *old = world->snapshot;
    struct br_snapshot *snapshot = &world_snapshots[old == world_snapshots];

    ASAN_UNPOISON_MEMORY_REGION(snapshot, sizeof(*snapshot));
    memset(snapshot, 0, sizeof(*snapshot));
    world_bridge_options(in, snapshot);
    for (uint32_t i = 0; i < WORLD_PORTS; i++)
        if (world->port[i].port)
            world_add_port(in, snapshot, world->port[i].port);
    for (uint32_t n = in_one_of(in, 4); n; n--) /* a serial that stays keeps its state */
        world_add_budget(in, snapshot, in_bit(in) ? n : ++world->serial + 8);
    for (uint32_t n = in_one_of(in, 4); n; n--)
        world_add_mirror(in, world, snapshot);
    world_heal();
    FUZZ_CHECK(br_bridge_apply(&world->bridge, snapshot) == 0);
    world->snapshot = snapshot;
    world_drop_snapshot(old);
}

/* ---- what must hold ---------------------------------------------------------------------------------------------- */

static uint64_t world_sum(const uint64_t *value, int n)
{
    uint64_t sum = 0;

    for (int i = 0; i < n; i++)
        sum += value[i];
    return sum;
}

static void world_check_port(const struct br_port_counters *counters)
{
    FUZZ_CHECK(counters->rx_frames + counters->copies ==
               counters->forwarded + world_sum(counters->rx_drops, BR_DROP_N));
    FUZZ_CHECK(counters->offered == counters->tx_frames + world_sum(counters->tx_drops, BR_DROP_N));
    FUZZ_CHECK(counters->rx_segments >= counters->rx_frames && counters->tx_segments >= counters->tx_frames);
}

static void world_check_ledger(const struct world *world)
{
    uint64_t forwarded = world->gone.forwarded + world->gone.originated;
    uint64_t offered = world->gone.offered;

    for (uint32_t i = 0; i < WORLD_PORTS; i++) {
        if (!world->port[i].port)
            continue;
        const struct br_port_counters *counters = &world->port[i].port->counters;

        world_check_port(counters);
        forwarded += counters->forwarded + counters->originated;
        offered += counters->offered;
    }
    FUZZ_CHECK(forwarded == offered);
}

/* A link of ours holds no tail between turns: those in reserve are there for the time of a batch. */
static void world_check_pools(const struct br_thread *thread)
{
    const struct br_stack *stacks[] = {&thread->batch.pool.heads, &thread->batch.pool.tails, &thread->mirror.pool.heads,
                                       &thread->mirror.pool.tails};

    for (size_t i = 0; i < sizeof(stacks) / sizeof(*stacks); i++)
        FUZZ_CHECK(stacks[i]->n == stacks[i]->cap);
    FUZZ_CHECK(thread->batch.n_touched == 0);
    for (uint32_t i = 0; i < WORLD_PORTS; i++)
        FUZZ_CHECK(thread->batch.queue[i].n == 0);
}

static void world_check_bill(const struct br_thread *thread)
{
    const struct br_bill *bill = &thread->bill;
    uint64_t charged = (uint64_t)bill->uncharged;
    uint64_t busy = 0;

    for (uint32_t i = 0; i < bill->n_charges; i++)
        charged += bill->charge[i].sum.direct + bill->charge[i].sum.induced;
    for (int stage = BR_STAGE_BUSY; stage < BR_STAGE_N; stage++) {
        charged += thread->batch.counters.stage_cycles[stage] - bill->stage_seen[stage];
        busy += thread->batch.counters.stage_cycles[stage];
    }
    FUZZ_CHECK(charged == busy);
}

static void world_check(const struct world *world)
{
    world_check_ledger(world);
    world_check_pools(&world->bridge.thread);
    world_check_bill(&world->bridge.thread);
}

/* R1, R2, R10: a frame as a port without offloads gets it, one that takes them may ask for more. */
static void world_check_sent(const struct world *world, const struct br_port *port, const uint8_t *data, uint32_t len,
                             const struct br_vnet *vnet)
{
    FUZZ_CHECK(len >= BR_FRAME_MIN || vnet->gso_type);
    FUZZ_CHECK(port->vnet || br_vnet_none(vnet));
    if (vnet->needs_csum)
        FUZZ_CHECK((uint32_t)vnet->csum_start + vnet->csum_offset + 2 <= len);
    if (vnet->gso_type)
        FUZZ_CHECK(vnet->gso_size && vnet->hdr_len >= BR_ETH_HLEN && vnet->hdr_len <= len);
    if (world->snapshot->port[port->index].port == port && !vnet->gso_type)
        FUZZ_CHECK(len <= BR_ETH_HLEN + 65535 + 2 * BR_TAG_LEN);
    world_seen = 0;
    for (uint32_t i = 0; i < len; i++) /* every byte may be read */
        world_seen ^= data[i];
}

static void world_turn(struct world *world)
{
    FUZZ_CHECK(br_bridge_turn(&world->bridge) >= 0);
    world_check(world);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static void world_remember(struct world *world, const struct br_port_counters *counters)
{
    world_check_port(counters);
    world->gone.forwarded += counters->forwarded;
    world->gone.originated += counters->originated;
    world->gone.offered += counters->offered;
}

static void world_close(struct world *world, uint32_t index)
{
    struct world_port *place = &world->port[index];

    world_heal();
    world_remember(world, &place->port->counters);
    br_bridge_close(&world->bridge, place->port);
    place->port = NULL;
}

static struct world *world_new(uint32_t fdb_capacity, uint32_t burst)
{
    static const uint64_t secret[2] = {0x0123456789abcdef, 0xfedcba9876543210};
    struct world *world = &world_storage;

    world->snapshot = NULL;
    memset(world->port, 0, sizeof(world->port));
    memset(&world->gone, 0, sizeof(world->gone));
    world->serial = 0;
    FUZZ_CHECK(br_bridge_init(&world->bridge, fdb_capacity, burst, 64, secret) == 0);
    FUZZ_CHECK(br_capture_init(&world->capture, BR_CAPTURE_LEAST) == 0);
    return world;
}

static void world_end(struct world *world)
{
    world_heal();
    FUZZ_CHECK(br_bridge_apply(&world->bridge, NULL) == 0);
    world_check(world);
    for (uint32_t i = 0; i < WORLD_PORTS; i++)
        if (world->port[i].port)
            world_close(world, i);
    world_check(world);
    br_bridge_fini(&world->bridge);
    br_capture_fini(&world->capture);
    world_drop_snapshot(world->snapshot);
}

/* ---- frames ------------------------------------------------------------------------------------------------------ */

/* Headers of what stacks send, from the EtherType on, so that an input needs few bytes to go deep. */
struct world_template {
    const char *bytes;
    uint8_t len;
    uint8_t transport; /* of the innermost layer 4, from the beginning of the frame; 0: none */
    uint8_t gso_type;
    uint8_t csum_offset;
    uint8_t header;    /* bytes of that header */
};

#define IPV4(protocol, total) "\x45\0" total "\x12\x34\0\0\x40" protocol "\0\0\x0a\0\0\x05\x0a\0\0\x06"
#define IPV6(protocol, payload)                                                                                      \
    "\x60\0\0\0" payload protocol "\x40\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x05\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x06"
#define TCP "\x12\x34\0\x50\0\0\0\x01\0\0\0\0\x50\x18\x10\0\0\0\0\0"
#define UDP(port) "\x12\x34" port "\0\0\0\0"
#define TEMPLATE(bytes, ...) {bytes, sizeof(bytes) - 1, __VA_ARGS__}

static const struct world_template world_templates[] = {
    TEMPLATE("", 0),
    TEMPLATE("\x08\0" IPV4("\x06", "\0\0") TCP, 34, BR_GSO_TCP4, 16, 20),
    TEMPLATE("\x86\xdd" IPV6("\x06", "\0\0") TCP, 54, BR_GSO_TCP6, 16, 20),
    TEMPLATE("\x08\0" IPV4("\x11", "\0\0") UDP("\x15\x1d"), 34, BR_GSO_UDP, 6, 8),
    TEMPLATE("\x86\xdd" IPV6("\x11", "\0\0") UDP("\x02\x22"), 54, BR_GSO_UDP, 6, 8),
    TEMPLATE("\x08\0" IPV4("\x84", "\0\0") "\x12\x34\0\x50\0\0\0\0\0\0\0\0", 34, 0, 8, 12),
    TEMPLATE("\x08\x06\0\x01\x08\0\x06\x04\0\x01\x02\0\0\0\0\x01\x0a\0\0\x05\0\0\0\0\0\0\x0a\0\0\x06", 0),
    TEMPLATE("\x86\xdd" IPV6("\x3a", "\0\x20") "\x88\0\0\0\x60\0\0\0\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x05\x02\x01\x02\0\0\0\0\x01", 0),
    TEMPLATE("\x86\xdd" IPV6("\0", "\0\x20") "\x3a\0\x05\x02\0\0\x01\0\x86\0\0\0\x40\0\0\0\0\0\0\0", 0),
    TEMPLATE("\x08\0" IPV4("\x11", "\0\0") UDP("\x12\xb5") "\x08\0\0\0\0\0\x01\0" "\x02\0\0\0\0\x02\x02\0\0\0\0\x01\x08\0"
             IPV4("\x06", "\0\0") TCP, 34 + 8 + 8 + 14 + 20, BR_GSO_TCP4, 16, 20),
    TEMPLATE("\x08\0" IPV4("\x2f", "\0\0") "\0\0\x08\0" IPV4("\x06", "\0\0") TCP, 34 + 4 + 20, BR_GSO_TCP4, 16, 20),
    TEMPLATE("\x08\0" IPV4("\x29", "\0\0") IPV6("\x06", "\0\0") TCP, 34 + 40, BR_GSO_TCP6, 16, 20),
    TEMPLATE("\x88\xb5" "FBLP" "\0\0\0\0\0\0\x08\0\0\0\0\0\0\x07\0\x01\0\x0a\0\0\0\x01", 0),
    TEMPLATE("\x81\0\0\x0a\x08\0" IPV4("\x06", "\0\0") TCP, 38, BR_GSO_TCP4, 16, 20),
    TEMPLATE("\x08\0" IPV4("\x70", "\0\0") "\x21\x01\x64\0\0\x01", 0),
};

struct world_frame {
    uint8_t *data;
    uint32_t len;
    struct br_vnet vnet;
};

static void world_write_mac(uint8_t *at, uint64_t mac)
{
    for (int i = 0; i < BR_ETH_ALEN; i++)
        at[i] = (uint8_t)(mac >> (40 - 8 * i));
}

/* Metadata that fits the template, or whatever ten bytes say. */
static struct br_vnet world_vnet(struct input *in, const struct world_template *template, uint32_t tags)
{
    uint8_t bytes[BR_VNET_HLEN];
    const uint8_t choice = in_8(in);

    if (choice < 0x40)
        return (struct br_vnet){0};
    if (choice >= 0xe0) {
        for (int i = 0; i < BR_VNET_HLEN; i++)
            bytes[i] = in_8(in);
        return br_vnet_read(bytes);
    }
    if (!template->transport)
        return (struct br_vnet){0};
    const uint16_t start = (uint16_t)(template->transport + tags);
    const bool is_super = choice & 1 && template->gso_type;
    return (struct br_vnet){
        .needs_csum = 1,
        .gso_type = is_super ? template->gso_type : 0,
        .hdr_len = (uint16_t)(start + template->header),
        .gso_size = is_super ? in_16(in) : 0,
        .csum_start = start,
        .csum_offset = template->csum_offset,
    };
}

/* A frame as a sender would make it, and then wrong in a few places; to be freed. */
static struct world_frame world_frame(struct input *in)
{
    static const uint32_t lengths[] = {60, 64, 128, 1514, 1518, 9014, 3000, 65549};
    const struct world_template *template =
        &world_templates[in_one_of(in, sizeof(world_templates) / sizeof(*world_templates))];
    struct world_frame frame = {.data = calloc(1, WORLD_LONGEST + 64)};
    uint32_t at = 2 * BR_ETH_ALEN;
    uint32_t tags = 0;

    world_write_mac(frame.data, world_mac(in));
    world_write_mac(frame.data + BR_ETH_ALEN, world_mac(in));
    for (uint32_t n = in_one_of(in, 8); n >= 5; n--, at += BR_TAG_LEN, tags += BR_TAG_LEN) {
        br_be16_write(frame.data + at, in_bit(in) ? BR_TPID_8021AD : BR_TPID_8021Q);
        br_be16_write(frame.data + at + 2, (uint16_t)(in_8(in) << 12 | world_vids[in_one_of(in, 7)]));
    }
    memcpy(frame.data + at, template->bytes, template->len);
    at += template->len;
    const uint8_t length = in_8(in);
    frame.len = length < 0x80 ? lengths[length % 8] : length < 0xc0 ? at + in_8(in) : in_16(in);
    frame.vnet = world_vnet(in, template, tags);
    for (uint32_t n = in_one_of(in, 8); n >= 4; n--)
        frame.data[in_one_of(in, at ? at : 1)] = in_8(in);
    return frame;
}

#endif
