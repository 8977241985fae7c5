/*
 * core.c - the data plane over memory ports: an input is a configuration, batches, and changes between them.
 *
 * After each turn the ledger, the pools and the bill must hold (world.h). Operations: frames into a port, a turn, what
 * ports have sent taken out and looked at, FDB changes, another configuration, ports that leave and come, frames of
 * the bridge itself, time that passes.
 */
#include "world.h"

static void core_open(struct world *world, struct input *in, uint32_t index)
{
    struct br_port *port = NULL;

    FUZZ_CHECK(br_port_open_memory(&port, WORLD_SLOTS, in_bit(in)) == 0);
    port->uso = port->vnet && in_bit(in);
    world_adopt(world, index, port, -1);
}

static void core_put(struct world *world, struct input *in)
{
    struct br_port *port = world->port[in_one_of(in, WORLD_PORTS)].port;
    struct world_frame frame = world_frame(in);
    const uint8_t how = in_8(in);
    const struct br_memory_frame put = {
        .data = frame.data,
        .len = frame.len,
        .headroom = how & 1 ? BR_HEADROOM : how >> 3,
        .in_one = how & 2,
        .tag_beside = how & 4,
        .tpid = in_bit(in) ? BR_TPID_8021AD : BR_TPID_8021Q,
        .tci = world_vids[in_one_of(in, 7)],
        .vnet = frame.vnet,
    };

    world_heal();
    if (port)
        br_memory_put(port, &put);
    free(frame.data);
}

static void core_drain(struct world *world)
{
    struct br_memory_frame frame;

    for (uint32_t i = 0; i < WORLD_PORTS; i++)
        for (struct br_port *port = world->port[i].port; port && br_memory_peek(port, &frame); br_memory_next(port))
            world_check_sent(world, port, frame.data, frame.len, &frame.vnet);
}

static void core_change_fdb(struct world *world, struct input *in)
{
    const uint8_t verb = (uint8_t)in_one_of(in, BR_FDB_FLUSH_ALL + 1);
    struct br_fdb_change change = {
        .key = verb == BR_FDB_FLUSH_VLAN ? world_vid(in) : br_fdb_key(world_vid(in), world_mac(in) & ~BR_FDB_GROUP),
        .port = (uint16_t)in_one_of(in, WORLD_PORTS),
        .tick = in_16(in),
        .verb = verb,
        .kind = (uint8_t)(verb == BR_FDB_RESTORE ? (in_bit(in) ? BR_FDB_STICKY : BR_FDB_DYNAMIC) : in_one_of(in, 4)),
    };

    world_heal();
    br_bridge_fdb(&world->bridge, &change, 1);
}

static void core_change_port(struct world *world, struct input *in)
{
    const uint32_t index = in_one_of(in, WORLD_PORTS);
    struct br_port *port = world->port[index].port;

    if (!port) {
        core_open(world, in, index);
        world_configure(world, in);
        return;
    }
    world->port[index].port = NULL; /* no longer in the configuration, and then closed */
    const struct br_port_ops *ops = world->port[index].ops;
    port->ops = ops;
    world_configure(world, in);
    world->port[index].port = port;
    world_close(world, index);
}

static void core_originate(struct world *world, struct input *in)
{
    uint8_t data[BR_FRAME_MIN];
    struct br_origination own = {
        .data = data, .len = sizeof(data), .port = (uint16_t)in_one_of(in, WORLD_PORTS), .vid = world_vid(in)};

    br_probe_write(data, &(struct br_probe){.source = 0x0200000000fe, .nonce = 7, .vid = own.vid});
    br_bridge_originate(&world->bridge, &own, 1);
}

static void core_pass_time(struct world *world, struct input *in)
{
    struct br_event event[16];

    br_fdb_set_tick(&world->bridge.thread.fdb, in_16(in));
    br_bridge_shift_clock(&world->bridge, (int64_t)in_bytes(in, 5));
    br_events_renew(&world->bridge.events);
    br_events_take(&world->bridge.events, event, in_one_of(in, 17));
}

static void core_read_capture(struct world *world)
{
    static uint8_t blocks[1 << 17];
    uint32_t interface[BR_PORTS_MAX] = {0};
    enum br_capture_end end = BR_CAPTURE_FULL;
    uint16_t port;

    while (end == BR_CAPTURE_FULL)
        br_capture_take(&world->capture, interface, blocks, sizeof(blocks), &end, &port);
}

static void core_step(struct world *world, struct input *in)
{
    switch (in_one_of(in, 16)) {
    case 0:
        core_change_fdb(world, in);
        break;
    case 1:
        world_configure(world, in);
        break;
    case 2:
        core_change_port(world, in);
        break;
    case 3:
        core_originate(world, in);
        break;
    case 4:
        core_pass_time(world, in);
        break;
    case 5:
        core_read_capture(world);
        break;
    case 6:
        core_drain(world);
        break;
    case 7:
    case 8:
    case 9:
        world_turn(world);
        break;
    default:
        core_put(world, in);
    }
    world_check(world);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    const uint32_t burst = 1 + in_8(&in) % 64;
    struct world *world = world_new(4 + in_8(&in), burst);
    const uint32_t n_ports = 2 + in_one_of(&in, WORLD_PORTS - 1);

    for (uint32_t i = 0; i < n_ports; i++)
        core_open(world, &in, i);
    world_configure(world, &in);
    while (in.left)
        core_step(world, &in);
    world_turn(world);
    core_drain(world);
    world_end(world);
    return 0;
}
