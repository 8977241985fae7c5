/*
 * xdp.c - see xdp.h.
 */
#include "xdp.h"

#include <errno.h>
#include <linux/if_xdp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SOL_XDP
#define SOL_XDP 283
#endif

enum {
    BT_XDP_TX_SLOTS = 512,          /* more than any burst */
    BT_XDP_DONE_SLOTS = 16384,      /* a frame that waits in a socket's queue downstream keeps its completion open */
    BT_XDP_MAX_TX_SKB_BUDGET = 9,   /* option: frames per system call, since Linux 6.17; 32 before */
    BT_XDP_BUDGET = 256,
    BT_XDP_BIND_TRIES = 100,
    BT_XDP_BIND_PAUSE_US = 2000,
    BT_XDP_STUCK = 1 << 20,         /* fruitless calls before the device counts as stuck */
};

struct bt_xdp {
    int fd;
    uint8_t *umem;
    size_t umem_len;
    void *tx_map, *done_map;
    size_t tx_map_len, done_map_len;
    uint32_t *tx_producer, *tx_consumer;
    struct xdp_desc *descriptors;
    uint32_t *done_producer, *done_consumer;
    uint32_t produced;
};

uint8_t *bt_xdp_umem(const struct bt_xdp *xdp)
{
    return xdp->umem;
}

static int bt_xdp_map(struct bt_xdp *xdp)
{
    struct xdp_mmap_offsets offsets;
    socklen_t offsets_len = sizeof(offsets);

    if (getsockopt(xdp->fd, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &offsets_len) < 0)
        return -errno;
    const size_t tx_len = offsets.tx.desc + BT_XDP_TX_SLOTS * sizeof(struct xdp_desc);
    const size_t done_len = offsets.cr.desc + BT_XDP_DONE_SLOTS * sizeof(uint64_t);
    void *tx = mmap(NULL, tx_len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, xdp->fd, XDP_PGOFF_TX_RING);
    if (tx == MAP_FAILED)
        return -errno;
    xdp->tx_map = tx;
    xdp->tx_map_len = tx_len;
    void *done = mmap(NULL, done_len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, xdp->fd,
                      (off_t)XDP_UMEM_PGOFF_COMPLETION_RING);
    if (done == MAP_FAILED)
        return -errno;
    xdp->done_map = done;
    xdp->done_map_len = done_len;
    xdp->tx_producer = (void *)((char *)tx + offsets.tx.producer);
    xdp->tx_consumer = (void *)((char *)tx + offsets.tx.consumer);
    xdp->descriptors = (void *)((char *)tx + offsets.tx.desc);
    xdp->done_producer = (void *)((char *)done + offsets.cr.producer);
    xdp->done_consumer = (void *)((char *)done + offsets.cr.consumer);
    return 0;
}

/* The kernel lets go of the queue of a socket closed a moment ago only after a while (net/xdp/xsk_buff_pool.c:xp_put_pool). */
static int bt_xdp_bind(int fd, const struct sockaddr_xdp *address)
{
    for (int tries = 0; bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0; tries++) {
        if (errno != EBUSY || tries == BT_XDP_BIND_TRIES)
            return -errno;
        usleep(BT_XDP_BIND_PAUSE_US);
    }
    return 0;
}

static int bt_xdp_set_up(struct bt_xdp *xdp, int ifindex, uint32_t n_chunks)
{
    const int fill_slots = 64, done_slots = BT_XDP_DONE_SLOTS, tx_slots = BT_XDP_TX_SLOTS, budget = BT_XDP_BUDGET;
    const struct sockaddr_xdp address = {
        .sxdp_family = AF_XDP, .sxdp_flags = XDP_COPY, .sxdp_ifindex = (uint32_t)ifindex, .sxdp_queue_id = 0};

    xdp->umem_len = (size_t)n_chunks * BT_XDP_CHUNK_LEN;
    void *umem = mmap(NULL, xdp->umem_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (umem == MAP_FAILED)
        return -errno;
    xdp->umem = umem;
    const struct xdp_umem_reg registration = {
        .addr = (uint64_t)(uintptr_t)umem, .len = xdp->umem_len, .chunk_size = BT_XDP_CHUNK_LEN};
    if (setsockopt(xdp->fd, SOL_XDP, XDP_UMEM_REG, &registration, sizeof(registration)) < 0 ||
        setsockopt(xdp->fd, SOL_XDP, XDP_UMEM_FILL_RING, &fill_slots, sizeof(fill_slots)) < 0 ||
        setsockopt(xdp->fd, SOL_XDP, XDP_UMEM_COMPLETION_RING, &done_slots, sizeof(done_slots)) < 0 ||
        setsockopt(xdp->fd, SOL_XDP, XDP_TX_RING, &tx_slots, sizeof(tx_slots)) < 0)
        return -errno;
    setsockopt(xdp->fd, SOL_XDP, BT_XDP_MAX_TX_SKB_BUDGET, &budget, sizeof(budget)); /* best effort */
    const int error = bt_xdp_map(xdp);
    if (error)
        return error;
    return bt_xdp_bind(xdp->fd, &address);
}

int bt_xdp_open(struct bt_xdp **result, int fd, int ifindex, uint32_t n_chunks)
{
    struct bt_xdp *xdp = calloc(1, sizeof(*xdp));

    if (!xdp) {
        close(fd);
        return -ENOMEM;
    }
    xdp->fd = fd;
    const int error = bt_xdp_set_up(xdp, ifindex, n_chunks);
    if (error) {
        bt_xdp_close(xdp);
        return error;
    }
    *result = xdp;
    return 0;
}

/* Completions only have to be taken out of the way: in copy mode a chunk is free before its frame is. */
static void bt_xdp_forget_done(struct bt_xdp *xdp)
{
    const uint32_t produced = __atomic_load_n(xdp->done_producer, __ATOMIC_ACQUIRE);

    __atomic_store_n(xdp->done_consumer, produced, __ATOMIC_RELEASE);
}

int bt_xdp_push(struct bt_xdp *xdp, uint32_t first, uint32_t n, const uint32_t *lens)
{
    uint32_t n_refused = 0, n_fruitless = 0;

    bt_xdp_forget_done(xdp);
    for (uint32_t i = 0; i < n; i++)
        xdp->descriptors[(xdp->produced + i) % BT_XDP_TX_SLOTS] =
            (struct xdp_desc){.addr = (uint64_t)(first + i) * BT_XDP_CHUNK_LEN, .len = lens[first + i]};
    xdp->produced += n;
    __atomic_store_n(xdp->tx_producer, xdp->produced, __ATOMIC_RELEASE);
    for (;;) {
        const uint32_t consumed = __atomic_load_n(xdp->tx_consumer, __ATOMIC_ACQUIRE);
        if (consumed == xdp->produced)
            return (int)n_refused;
        if (sendto(xdp->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) >= 0)
            continue;
        if (errno == EBUSY || errno == ENOBUFS) { /* the device dropped one; its descriptor is used up */
            n_refused++;
        } else if (errno == EAGAIN) { /* the budget of one call, or a full completion ring */
            bt_xdp_forget_done(xdp);
        } else if (errno != EINTR) {
            return -errno;
        }
        n_fruitless = __atomic_load_n(xdp->tx_consumer, __ATOMIC_ACQUIRE) == consumed ? n_fruitless + 1 : 0;
        if (n_fruitless > BT_XDP_STUCK)
            return -ETIMEDOUT;
    }
}

void bt_xdp_close(struct bt_xdp *xdp)
{
    if (xdp->tx_map)
        munmap(xdp->tx_map, xdp->tx_map_len);
    if (xdp->done_map)
        munmap(xdp->done_map, xdp->done_map_len);
    close(xdp->fd);
    if (xdp->umem)
        munmap(xdp->umem, xdp->umem_len);
    free(xdp);
}
