/*
 * ring.c - frames through a TPACKET_V3 ring of heads; see source.h. packet(7), Documentation/networking/packet_mmap.rst.
 *
 * A socket filter lets in nothing but test frames, cut short. The kernel stamps arrivals with CLOCK_REALTIME, which is brought
 * to CLOCK_MONOTONIC with an offset taken anew at each look; the ring may be read late.
 */
#include "source.h"

#include "clock.h"
#include "frame.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BT_BLOCK_LEN = 128 << 10,
    BT_RETIRE_MS = 8,
    BT_POLL_MS = 20,
};

struct bt_ring {
    struct bt_source source;
    int fd;
    uint8_t *blocks;
    uint32_t n_blocks;
    uint32_t block; /* the next to be read */
};

/* Lets through what bt_frame_find() may know: the magic where an untagged frame has it, or any further tag. */
static int bt_ring_filter(int fd)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 12),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, BT_TYPE_IPV4, 0, 2),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, BT_ETH_HLEN + BT_IP_LEN + BT_UDP_LEN),
        BPF_JUMP(BPF_JMP | BPF_JA, 2, 0, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, BT_TYPE_RAW, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, BT_ETH_HLEN),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, BT_FRAME_MAGIC, 3, 0),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, BT_TYPE_8021Q, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, BT_TYPE_8021AD, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, BT_SOURCE_SNAP_LEN),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    const struct sock_fprog program = {.len = sizeof(code) / sizeof(*code), .filter = code};

    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ? -errno : 0;
}

static int bt_ring_map(struct bt_ring *ring, uint32_t ring_mib)
{
    const int version = TPACKET_V3, one = 1;
    struct tpacket_req3 request = {
        .tp_block_size = BT_BLOCK_LEN,
        .tp_block_nr = (ring_mib << 20) / BT_BLOCK_LEN,
        .tp_frame_size = 2048,
        .tp_retire_blk_tov = BT_RETIRE_MS,
    };

    request.tp_frame_nr = request.tp_block_nr * (BT_BLOCK_LEN / request.tp_frame_size);
    ring->n_blocks = request.tp_block_nr;
    if (setsockopt(ring->fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) < 0 ||
        setsockopt(ring->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) < 0 ||
        setsockopt(ring->fd, SOL_PACKET, PACKET_RX_RING, &request, sizeof(request)) < 0)
        return -errno;
    void *blocks = mmap(NULL, (size_t)ring->n_blocks * BT_BLOCK_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, 0);
    if (blocks == MAP_FAILED)
        return -errno;
    ring->blocks = blocks;
    return 0;
}

/* CLOCK_REALTIME less CLOCK_MONOTONIC. A pause between the two readings makes it too small, so the largest of a few is right. */
static uint64_t bt_realtime_offset(void)
{
    uint64_t largest = 0;

    for (int i = 0; i < 3; i++) {
        const uint64_t realtime = bt_clock_read(CLOCK_REALTIME);
        const uint64_t offset = realtime - bt_now_ns();
        largest = offset > largest ? offset : largest;
    }
    return largest;
}

static int bt_ring_wait(struct bt_source *source)
{
    struct pollfd poll_fd = {.fd = ((struct bt_ring *)source)->fd, .events = POLLIN};

    poll(&poll_fd, 1, BT_POLL_MS);
    return poll_fd.revents & POLLERR ? -ENETDOWN : 0;
}

static uint64_t bt_ring_block(const struct tpacket_block_desc *block, uint64_t offset, bt_arrival_fn *take, void *context)
{
    const struct tpacket3_hdr *header = (const void *)((const uint8_t *)block + block->hdr.bh1.offset_to_first_pkt);

    for (uint32_t i = 0; i < block->hdr.bh1.num_pkts; i++) {
        const bool tagged = header->tp_status & TP_STATUS_VLAN_VALID; /* the kernel keeps the outer tag beside the bytes */
        const struct bt_arrival arrival = {
            .bytes = (const uint8_t *)header + header->tp_mac,
            .snap_len = header->tp_snaplen,
            .len = header->tp_len,
            .tag = tagged ? (uint32_t)header->hv1.tp_vlan_tpid << 16 | header->hv1.tp_vlan_tci : 0,
            .ns = (uint64_t)header->tp_sec * 1000000000u + header->tp_nsec - offset,
        };
        take(context, &arrival);
        header = (const void *)((const uint8_t *)header + header->tp_next_offset);
    }
    return block->hdr.bh1.num_pkts;
}

static uint64_t bt_ring_drain(struct bt_source *source, bt_arrival_fn *take, void *context)
{
    struct bt_ring *ring = (struct bt_ring *)source;
    const uint64_t offset = bt_realtime_offset();
    uint64_t n = 0;

    for (;;) {
        struct tpacket_block_desc *block = (void *)(ring->blocks + (size_t)ring->block * BT_BLOCK_LEN);
        if (!(__atomic_load_n(&block->hdr.bh1.block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
            return n;
        n += bt_ring_block(block, offset, take, context);
        __atomic_store_n(&block->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
        ring->block = ring->block + 1 < ring->n_blocks ? ring->block + 1 : 0;
    }
}

static void bt_ring_settle(struct bt_source *source)
{
    struct pollfd poll_fd = {.fd = ((struct bt_ring *)source)->fd, .events = POLLIN};

    poll(&poll_fd, 1, 2 * BT_RETIRE_MS); /* the block being filled retires */
}

static uint64_t bt_ring_drops(struct bt_source *source)
{
    struct tpacket_stats_v3 stats = {0};
    socklen_t stats_len = sizeof(stats);

    getsockopt(((struct bt_ring *)source)->fd, SOL_PACKET, PACKET_STATISTICS, &stats, &stats_len);
    return stats.tp_drops;
}

static void bt_ring_close(struct bt_source *source)
{
    struct bt_ring *ring = (struct bt_ring *)source;

    if (ring->blocks)
        munmap(ring->blocks, (size_t)ring->n_blocks * BT_BLOCK_LEN);
    if (ring->fd >= 0)
        close(ring->fd);
    free(ring);
}

static const struct bt_source_ops bt_ring_ops = {
    .name = "packet",
    .wait = bt_ring_wait,
    .drain = bt_ring_drain,
    .settle = bt_ring_settle,
    .drops = bt_ring_drops,
    .close = bt_ring_close,
};

struct bt_source *bt_ring_open(const char *netns, const char *device, uint32_t ring_mib, struct bt_problem *problem)
{
    struct bt_ring *ring = calloc(1, sizeof(*ring));
    int ifindex = 0;

    if (!ring) {
        bt_problem_set(problem, -ENOMEM, "out of memory");
        return NULL;
    }
    ring->source.ops = &bt_ring_ops;
    ring->fd = bt_net_open(AF_PACKET, netns, device, &ifindex, problem);
    int error = ring->fd < 0 ? ring->fd : bt_ring_filter(ring->fd);
    if (!error)
        error = bt_ring_map(ring, ring_mib);
    if (!error)
        error = bt_net_promiscuous(ring->fd, ifindex);
    if (!error)
        error = bt_net_bind(ring->fd, ifindex, ETH_P_ALL);
    if (!error)
        return &ring->source;
    if (ring->fd >= 0)
        bt_problem_set(problem, error, "cannot receive on %s: %s", device, strerror(-error));
    bt_ring_close(&ring->source);
    return NULL;
}
