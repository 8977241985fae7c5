/* mirror/capture.c - see mirror/capture.h. */
#include "mirror/capture.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "count/cycles.h"
#include "count/names.h"

/* In the ring, in front of the bytes. room 0: go on at the start of the ring. */
struct br_capture_record {
    uint32_t room; /* of the record, this header included; a multiple of 8 */
    uint32_t len;
    uint32_t wire_len;
    uint16_t port;
    uint8_t way;
    uint8_t reason;
    uint64_t stamp;
};

enum {
    BR_RECORD_LEN = sizeof(struct br_capture_record),
    BR_PACKET_BLOCK = 6, /* draft-ietf-opsawg-pcapng, 4.3; options 3.5 */
    BR_OPTION_COMMENT = 1,
    BR_OPTION_FLAGS = 2, /* epb_flags: 1 inbound, 2 outbound */
    BR_CAPTURE_TRIES = 3,
};

/* ---- life, and the clock ----------------------------------------------------------------------------------------- */

/* Compare the cycle counter with the wall clock; of a few tries the one that was interrupted least. */
static void br_capture_sync(struct br_capture *capture)
{
    uint64_t least = UINT64_MAX;

    for (int i = 0; i < BR_CAPTURE_TRIES; i++) {
        struct timespec now;
        const uint64_t before = br_cycles_now();

        clock_gettime(CLOCK_REALTIME, &now);
        const uint64_t took = br_cycles_now() - before;
        if (took >= least)
            continue;
        least = took;
        capture->sync_cycles = before + took / 2;
        capture->sync_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    }
    const uint64_t cycles = capture->sync_cycles - capture->start_cycles;
    const uint64_t ns = capture->sync_ns - capture->start_ns;
    if (capture->start_ns && ns > 1000000 && ns < INT64_MAX && cycles && cycles < INT64_MAX)
        capture->ns_per_cycle = (double)(int64_t)ns / (double)(int64_t)cycles;
}

static uint64_t br_capture_ns(struct br_capture *capture, uint64_t stamp)
{
    const int64_t cycles = (int64_t)(stamp - capture->sync_cycles);
    const uint64_t ns = capture->sync_ns + (uint64_t)(int64_t)((double)cycles * capture->ns_per_cycle);

    if ((int64_t)(ns - capture->last_ns) > 0)
        capture->last_ns = ns;
    return capture->last_ns;
}

int br_capture_init(struct br_capture *capture, uint32_t len)
{
    memset(capture, 0, sizeof(*capture));
    for (capture->cap = BR_CAPTURE_LEAST; capture->cap < len;)
        capture->cap *= 2;
    capture->memory = mmap(NULL, capture->cap, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1,
                           0); /* populated: the data thread shall find its pages */
    capture->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (capture->memory == MAP_FAILED)
        capture->memory = NULL;
    if (!capture->memory || capture->fd < 0) {
        br_capture_fini(capture);
        return -ENOMEM;
    }
    br_capture_sync(capture);
    capture->start_cycles = capture->sync_cycles;
    capture->start_ns = capture->sync_ns;
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL); /* a first rate of the counter; later ones are better */
    br_capture_sync(capture);
    return 0;
}

void br_capture_fini(struct br_capture *capture)
{
    if (capture->memory)
        munmap(capture->memory, capture->cap);
    if (capture->fd >= 0)
        close(capture->fd);
    capture->memory = NULL;
    capture->fd = -1;
}

/* ---- writer ------------------------------------------------------------------------------------------------------ */

bool br_capture_put(struct br_capture *capture, const struct br_capture_copy *copy)
{
    const uint64_t head = capture->head;
    const uint64_t room = (BR_RECORD_LEN + copy->len + 7) & ~7ull;
    const uint64_t left = capture->cap - (head & (capture->cap - 1)); /* to the end of the ring */
    const uint64_t skip = room > left ? left : 0;
    const uint64_t used = head - __atomic_load_n(&capture->tail, __ATOMIC_ACQUIRE);
    uint32_t todo = copy->len;

    if (used + skip + room > capture->cap) {
        br_capture_lose(capture, copy->port);
        return false;
    }
    if (skip)
        memset(capture->memory + (head & (capture->cap - 1)), 0, sizeof(uint32_t));
    uint8_t *at = capture->memory + ((head + skip) & (capture->cap - 1));
    const struct br_capture_record record = {
        .room = (uint32_t)room,
        .len = copy->len,
        .wire_len = copy->wire_len,
        .port = copy->port,
        .way = copy->way,
        .reason = copy->reason,
        .stamp = copy->stamp,
    };
    memcpy(at, &record, sizeof(record));
    at += sizeof(record);
    for (uint32_t i = 0; i < copy->n_pieces && todo; i++) {
        const uint32_t len = copy->piece[i].len < todo ? copy->piece[i].len : todo;

        memcpy(at, copy->piece[i].data, len);
        at += len;
        todo -= len;
    }
    __atomic_store_n(&capture->head, head + skip + room, __ATOMIC_RELEASE);
    capture->pending = true;
    return true;
}

void br_capture_notify(struct br_capture *capture)
{
    const uint64_t one = 1;

    if (!capture->pending)
        return;
    capture->pending = false;
    if (!__atomic_exchange_n(&capture->notified, true, __ATOMIC_ACQ_REL) && write(capture->fd, &one, sizeof(one)) < 0)
        __atomic_store_n(&capture->notified, false, __ATOMIC_RELEASE); /* cannot happen: the counter is 0 or 1 */
}

/* ---- reader ------------------------------------------------------------------------------------------------------ */

static uint8_t *br_block_word(uint8_t *at, uint32_t word)
{
    memcpy(at, &word, sizeof(word));
    return at + sizeof(word);
}

/* An option, padded to four bytes. */
static uint8_t *br_block_option(uint8_t *at, uint16_t code, const void *value, uint16_t len)
{
    const uint16_t head[2] = {code, len};
    const uint32_t padding = -(uint32_t)len & 3;

    memcpy(at, head, sizeof(head));
    at += sizeof(head);
    if (len)
        memcpy(at, value, len);
    memset(at + len, 0, padding);
    return at + len + padding;
}

/* One packet block; returns its length. */
static uint32_t br_block_packet(uint8_t *out, uint32_t interface, const struct br_capture_record *record,
                                const uint8_t *data, uint64_t ns)
{
    const uint32_t padding = -record->len & 3;
    const uint32_t flags = record->way == BR_RX ? 1 : 2;
    uint8_t *at = out + 2 * sizeof(uint32_t);

    at = br_block_word(at, interface);
    at = br_block_word(at, (uint32_t)(ns >> 32));
    at = br_block_word(at, (uint32_t)ns);
    at = br_block_word(at, record->len);
    at = br_block_word(at, record->wire_len);
    memcpy(at, data, record->len);
    memset(at + record->len, 0, padding);
    at = br_block_option(at + record->len + padding, BR_OPTION_FLAGS, &flags, sizeof(flags));
    if (record->reason < BR_DROP_N) {
        const struct br_name *name = &br_drop_names[record->reason];
        char comment[BR_CAPTURE_BLOCK_LEN - 64];
        int len = snprintf(comment, sizeof(comment), "dropped: %s: %s", name->symbol, name->sentence);

        if (len >= (int)sizeof(comment))
            len = sizeof(comment) - 1;
        at = br_block_option(at, BR_OPTION_COMMENT, comment, (uint16_t)len);
    }
    at = br_block_option(at, 0, NULL, 0);
    const uint32_t len = (uint32_t)(at - out) + sizeof(uint32_t);
    br_block_word(at, len);
    br_block_word(br_block_word(out, BR_PACKET_BLOCK), len);
    return len;
}

uint32_t br_capture_take(struct br_capture *capture, const uint32_t interface[BR_PORTS_MAX], uint8_t *out, uint32_t cap,
                         enum br_capture_end *end, uint16_t *port)
{
    const uint64_t head = __atomic_load_n(&capture->head, __ATOMIC_ACQUIRE);
    uint64_t tail = capture->tail;
    uint32_t done = 0;

    br_capture_sync(capture);
    *end = BR_CAPTURE_EMPTY;
    while (tail != head) {
        const uint8_t *at = capture->memory + (tail & (capture->cap - 1));
        struct br_capture_record record;

        memcpy(&record.room, at, sizeof(record.room));
        if (record.room == 0) {
            tail += capture->cap - (tail & (capture->cap - 1));
            continue;
        }
        memcpy(&record, at, sizeof(record));
        *port = record.port;
        if (interface[record.port] == BR_NO_INTERFACE)
            *end = BR_CAPTURE_UNKNOWN;
        else if (record.len + BR_CAPTURE_BLOCK_LEN > cap - done)
            *end = BR_CAPTURE_FULL;
        if (*end != BR_CAPTURE_EMPTY)
            break;
        done += br_block_packet(out + done, interface[record.port], &record, at + sizeof(record),
                                br_capture_ns(capture, record.stamp));
        __atomic_store_n(&capture->taken[record.port], capture->taken[record.port] + 1, __ATOMIC_RELAXED);
        tail += record.room;
    }
    __atomic_store_n(&capture->tail, tail, __ATOMIC_RELEASE);
    return done;
}

bool br_capture_wait(struct br_capture *capture, int milliseconds)
{
    struct pollfd wait = {.fd = capture->fd, .events = POLLIN};
    uint64_t count;

    if (poll(&wait, 1, milliseconds) <= 0)
        return false;
    /* Clear before looking: what is put after this look notifies again. */
    if (read(capture->fd, &count, sizeof(count)) > 0)
        (void)__atomic_exchange_n(&capture->notified, false, __ATOMIC_ACQ_REL); /* who found it set was seen to put */
    return true;
}

void br_capture_wake(struct br_capture *capture)
{
    const uint64_t one = 1;

    if (write(capture->fd, &one, sizeof(one)) < 0) {
        /* EAGAIN: the counter is full, so the reader is being woken already */
    }
}
