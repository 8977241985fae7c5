/*
 * port/memory.c - a port without a file descriptor: two rings of slots in memory.
 *
 * For tests, benchmarks and fuzzers. A slot holds one frame of any size; slots are mapped once and touched on use. Each
 * ring has one writer and one reader: rx is written outside and read by the data thread, tx the other way round.
 * Frames longer than a head buffer spill into a pool tail, as they do on a link, or lie in one piece, as on a tap.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "port/port.h"

enum {
    /* An odd number of cache lines, so that neighbouring slots start in different cache sets. */
    BR_SLOT_LEN = BR_HEAD_CAP + BR_TAIL_CAP,
    BR_SLOT_DATA = BR_SLOT_LEN - BR_HEADROOM,
};

static_assert(BR_SLOT_LEN / 64 % 2 == 1 && BR_SLOT_LEN % 64 == 0, "slots spread over cache sets");

struct br_slots {
    uint8_t *memory;
    struct br_memory_frame *frame;
    uint32_t mask;
    uint32_t head __attribute__((aligned(64))); /* writer */
    uint32_t tail __attribute__((aligned(64))); /* reader */
};

struct br_port_memory {
    struct br_port port;
    struct br_slots rx;
    struct br_slots tx;
    uint32_t rx_taken; /* handed to the pipeline; free for the writer only at the next rx */
};

static struct br_port_memory *br_memory(const struct br_port *port)
{
    return (struct br_port_memory *)port;
}

static uint8_t *br_slot(const struct br_slots *slots, uint32_t at)
{
    return slots->memory + (size_t)(at & slots->mask) * BR_SLOT_LEN;
}

static int br_memory_rx(struct br_port *port, struct br_pool *pool, struct br_frame *frame, uint32_t cap)
{
    struct br_port_memory *memory = br_memory(port);
    struct br_slots *slots = &memory->rx;
    const uint32_t head = __atomic_load_n(&slots->head, __ATOMIC_ACQUIRE);
    uint32_t taken = memory->rx_taken;
    uint32_t n = 0;

    __atomic_store_n(&slots->tail, taken, __ATOMIC_RELEASE);
    for (; n < cap && taken != head; n++, taken++) {
        const struct br_memory_frame *source = &slots->frame[taken & slots->mask];
        struct br_frame *f = &frame[n];

        *f = (struct br_frame){
            .data = br_slot(slots, taken) + source->headroom,
            .len = source->len,
            .headroom = source->headroom,
            .tpid = source->tpid,
            .tci = source->tci,
            .flags = source->tag_beside ? BR_FRAME_TAG_BESIDE : 0,
            .vnet = source->vnet,
        };
        if (source->in_one || f->len <= BR_HEAD_LEN)
            continue;
        f->tail = br_stack_get(&pool->tails);
        if (!f->tail) {
            f->flags |= BR_FRAME_TRUNCATED;
            continue;
        }
        f->tail_len = f->len - BR_HEAD_LEN;
        f->len -= f->tail_len;
        memcpy(f->tail, f->data + f->len, f->tail_len);
    }
    __atomic_store_n(&memory->rx_taken, taken, __ATOMIC_RELAXED);
    return (int)n;
}

static uint32_t br_memory_tx(struct br_port *port, struct br_frame *const *frame, uint32_t n)
{
    struct br_slots *slots = &br_memory(port)->tx;
    const uint32_t tail = __atomic_load_n(&slots->tail, __ATOMIC_ACQUIRE);
    uint32_t head = slots->head;
    uint32_t sent = 0;

    for (uint32_t i = 0; i < n; i++) {
        const struct br_frame *f = frame[i];
        uint8_t *slot = br_slot(slots, head) + BR_HEADROOM;

        if (head - tail > slots->mask || br_frame_len(f) > BR_SLOT_DATA) {
            br_port_refuse(port, frame[i], BR_DROP_tx_full);
            continue;
        }
        memcpy(slot, f->data, f->len);
        if (f->tail_len)
            memcpy(slot + f->len, f->tail, f->tail_len);
        slots->frame[head & slots->mask] = (struct br_memory_frame){
            .data = slot,
            .len = br_frame_len(f),
            .vnet = f->vnet,
        };
        head++;
        sent++;
        br_port_sent(port, &frame[i], 1);
    }
    __atomic_store_n(&slots->head, head, __ATOMIC_RELEASE);
    return sent;
}

static int br_slots_init(struct br_slots *slots, uint32_t n)
{
    slots->mask = n - 1;
    slots->frame = calloc(n, sizeof(*slots->frame));
    slots->memory =
        mmap(NULL, (size_t)n * BR_SLOT_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (slots->memory == MAP_FAILED)
        slots->memory = NULL;
    return slots->frame && slots->memory ? 0 : -ENOMEM;
}

static void br_slots_fini(struct br_slots *slots)
{
    if (slots->memory)
        munmap(slots->memory, (size_t)(slots->mask + 1) * BR_SLOT_LEN);
    free(slots->frame);
}

static void br_memory_close(struct br_port *port)
{
    struct br_port_memory *memory = br_memory(port);

    br_slots_fini(&memory->rx);
    br_slots_fini(&memory->tx);
    free(memory);
}

static const struct br_port_ops br_memory_ops = {
    .rx = br_memory_rx,
    .tx = br_memory_tx,
    .close = br_memory_close,
    .kind = "memory",
};

int br_port_open_memory(struct br_port **port, uint32_t slots, bool vnet)
{
    struct br_port_memory *memory = aligned_alloc(64, sizeof(*memory));
    uint32_t n = 1;

    if (!memory)
        return -ENOMEM;
    while (n < slots)
        n *= 2;
    memset(memory, 0, sizeof(*memory));
    memory->port.ops = &br_memory_ops;
    memory->port.fd = -1;
    memory->port.vnet = vnet;
    memory->port.uso = vnet;
    memory->port.polled = true;
    if (br_slots_init(&memory->rx, n) || br_slots_init(&memory->tx, n)) {
        br_memory_close(&memory->port);
        return -ENOMEM;
    }
    *port = &memory->port;
    return 0;
}

int br_memory_put(struct br_port *port, const struct br_memory_frame *frame)
{
    struct br_slots *slots = &br_memory(port)->rx;
    const uint32_t head = slots->head;

    if (frame->len > BR_SLOT_DATA || frame->headroom > BR_HEADROOM)
        return -EMSGSIZE;
    if (head - __atomic_load_n(&slots->tail, __ATOMIC_ACQUIRE) > slots->mask)
        return -ENOSPC;
    slots->frame[head & slots->mask] = *frame;
    memcpy(br_slot(slots, head) + frame->headroom, frame->data, frame->len);
    __atomic_store_n(&slots->head, head + 1, __ATOMIC_RELEASE);
    return 0;
}

bool br_memory_peek(struct br_port *port, struct br_memory_frame *frame)
{
    const struct br_slots *slots = &br_memory(port)->tx;

    if (__atomic_load_n(&slots->head, __ATOMIC_ACQUIRE) == slots->tail)
        return false;
    *frame = slots->frame[slots->tail & slots->mask];
    return true;
}

void br_memory_next(struct br_port *port)
{
    struct br_slots *slots = &br_memory(port)->tx;

    __atomic_store_n(&slots->tail, slots->tail + 1, __ATOMIC_RELEASE);
}

uint32_t br_memory_pending(const struct br_port *port)
{
    const struct br_port_memory *memory = br_memory(port);

    return memory->rx.head - __atomic_load_n(&memory->rx_taken, __ATOMIC_RELAXED);
}
