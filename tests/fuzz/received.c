/*
 * received.c - what the kernel hands to taps and links: headers in front of frames, tags beside them, frames longer than
 * a slot, and what becomes of all that at ports that take no offloads.
 *
 * The kernel's side is played by socket pairs that keep the bounds of messages, as a tap does, and by a ring in memory
 * that is filled as packet sockets fill theirs (net/packet/af_packet.c:tpacket_rcv). The ports are the real ones, from
 * their source, but for opening a device. Port 0: a tap, 1: a link with its ring, 2: a link after its ring was given
 * up (both with a lane, which gets one length of four), 3: a memory port that takes no offloads, 4: one that does.
 */
#include <fcntl.h>
#include <sys/socket.h>

#include "world.h"

#define br_port_open_tap unused_open_tap
#define br_port_open_link unused_open_link
#include "../../csrc/port/link.c"
#include "../../csrc/port/tap.c"

enum { RECEIVED_SLOTS = 8, RECEIVED_MAC = 96 /* where a frame begins in a slot: behind its header, and room */ };

static int received_lane[2]; /* the kernel's side of the lanes of ports 1 and 2 */

static void received_pair(int *ours, int *outside)
{
    const int size = 4 << 20;
    int fd[2];

    FUZZ_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) == 0);
    for (int i = 0; i < 2; i++)
        setsockopt(fd[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    *ours = fd[0];
    *outside = fd[1];
}

static void received_open_tap(struct world *world, uint32_t index)
{
    struct br_port_tap *tap = aligned_alloc(64, sizeof(*tap));
    int outside;

    memset(tap, 0, sizeof(*tap));
    tap->port.ops = &br_tap_ops;
    tap->port.vnet = true;
    received_pair(&tap->port.fd, &outside);
    FUZZ_CHECK(br_read_buffer_open(&tap->buffer, 16) == 0);
    world_adopt(world, index, &tap->port, outside);
}

static struct br_port_link *received_open_link(struct world *world, uint32_t index, bool has_ring)
{
    struct br_port_link *link = aligned_alloc(64, (sizeof(*link) + 63) / 64 * 64);
    int outside;

    memset(link, 0, sizeof(*link));
    link->port.ops = has_ring ? &br_link_ops : &br_link_plain_ops;
    link->port.vnet = true;
    link->port.uso = true;
    link->plain_fd = -1;
    link->tx_fd = -1;
    link->released = UINT32_MAX;
    link->slot_mask = RECEIVED_SLOTS - 1;
    received_pair(&link->ring_fd, &outside);
    received_pair(&link->port.lane_fd, &received_lane[index - 1]);
    link->port.fd = link->ring_fd;
    link->port.polled = has_ring;
    link->tx_fd = fcntl(link->ring_fd, F_DUPFD_CLOEXEC, 0);
    FUZZ_CHECK(br_read_buffer_open(&link->buffer, BR_BURST_MAX) == 0);
    if (has_ring) {
        link->ring = mmap(NULL, RECEIVED_SLOTS * BR_LINK_SLOT_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        br_link_slot(link, link->released)->tp_status = TP_STATUS_USER;
    }
    world_adopt(world, index, &link->port, outside);
    return link;
}

/* A message as a tap or packet socket gives it: its header, and the frame. */
static void received_message(int outside, const struct world_frame *frame)
{
    uint8_t header[BR_VNET_HLEN];
    struct iovec piece[2] = {{header, sizeof(header)}, {frame->data, frame->len}};

    br_vnet_write(header, &frame->vnet);
    if (writev(outside, piece, 2) < 0) {
        /* EAGAIN: its queue is full, and the frame is lost, as any is */
    }
}

/* A slot as tpacket_rcv fills it, if there is a free one; a frame that does not fit it is queued whole as well. */
static void received_slot(struct world *world, struct input *in, uint32_t *next, const struct world_frame *frame)
{
    struct world_port *place = &world->port[1];
    struct br_port_link *link = br_link(place->port);
    struct tpacket2_hdr *slot = br_link_slot(link, *next);
    const uint32_t most = BR_LINK_SLOT_LEN - RECEIVED_MAC;
    const uint8_t tag = in_8(in);

    if (slot->tp_status != TP_STATUS_KERNEL || frame->len < BR_ETH_HLEN)
        return;
    const uint32_t len = frame->len < most ? frame->len : most;
    br_vnet_write((uint8_t *)slot + RECEIVED_MAC - BR_VNET_HLEN, &frame->vnet);
    memcpy((uint8_t *)slot + RECEIVED_MAC, frame->data, len);
    slot->tp_mac = RECEIVED_MAC;
    slot->tp_snaplen = len;
    slot->tp_len = frame->len;
    slot->tp_vlan_tci = tag & 1 ? world_vids[in_one_of(in, 7)] : 0;
    slot->tp_vlan_tpid = in_bit(in) ? BR_TPID_8021AD : BR_TPID_8021Q;
    slot->tp_status = TP_STATUS_USER | (tag & 1 ? TP_STATUS_VLAN_VALID : 0) | (tag & 2 ? TP_STATUS_VLAN_TPID_VALID : 0);
    if (frame->len > len && !(tag & 4)) {
        slot->tp_status |= TP_STATUS_COPY;
        received_message(place->outside, frame);
    }
    ++*next;
}

static void received_put(struct world *world, struct input *in, uint32_t *next)
{
    const uint32_t index = in_one_of(in, 3);
    struct world_frame frame = world_frame(in);

    world_heal();
    if (index > 0 && frame.len % 4 == 3)
        received_message(received_lane[index - 1], &frame);
    else if (index == 1)
        received_slot(world, in, next, &frame);
    else
        received_message(world->port[index].outside, &frame);
    free(frame.data);
}

static void received_drain_fd(struct world *world, const struct br_port *port, int outside)
{
    static uint8_t bytes[BR_READ_LEN];
    ssize_t len;

    while ((len = read(outside, bytes, sizeof(bytes))) > 0) {
        FUZZ_CHECK(len >= BR_VNET_HLEN + BR_ETH_HLEN);
        const struct br_vnet vnet = br_vnet_read(bytes);
        world_check_sent(world, port, bytes + BR_VNET_HLEN, (uint32_t)len - BR_VNET_HLEN, &vnet);
    }
}

/* What a tap and links were given, header first, and what memory ports have. */
static void received_drain(struct world *world)
{
    struct br_memory_frame frame;

    for (uint32_t i = 0; i < 3; i++)
        received_drain_fd(world, world->port[i].port, world->port[i].outside);
    for (uint32_t i = 1; i < 3; i++)
        received_drain_fd(world, world->port[i].port, received_lane[i - 1]);
    for (uint32_t i = 3; i < 5; i++)
        for (struct br_port *port = world->port[i].port; br_memory_peek(port, &frame); br_memory_next(port))
            world_check_sent(world, port, frame.data, frame.len, &frame.vnet);
}

static struct world *received_world(struct input *in)
{
    struct world *world = world_new(64, 1 + in_8(in) % 16);

    received_open_tap(world, 0);
    received_open_link(world, 1, true);
    received_open_link(world, 2, false);
    for (uint32_t i = 3; i < 5; i++) {
        struct br_port *port = NULL;

        FUZZ_CHECK(br_port_open_memory(&port, 1024, i == 4) == 0);
        world_adopt(world, i, port, -1);
    }
    return world;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct world *world = received_world(&in);
    uint32_t next = 0;
    int outside[3];

    for (int i = 0; i < 3; i++)
        outside[i] = world->port[i].outside;
    world_configure(world, &in);
    while (in.left)
        switch (in_one_of(&in, 8)) {
        case 0:
            world_turn(world);
            break;
        case 1:
            received_drain(world);
            break;
        default:
            received_put(world, &in, &next);
        }
    world_turn(world);
    world_turn(world);
    received_drain(world);
    world_end(world);
    for (int i = 0; i < 3; i++)
        close(outside[i]);
    for (int i = 0; i < 2; i++)
        close(received_lane[i]);
    return 0;
}
