/*
 * sender.c - see sender.h. packet(7), sendmmsg(2).
 *
 * Frames live in `n_slots` prepared buffers, used round and round; only addresses and mark are written per frame. A TX ring of
 * the packet socket is not used: over veth and tap it hands back slots whose pages are still in flight. AF_XDP in copy mode
 * has no such trouble and is cheaper; a GSO buffer that the stack cuts into frames is cheaper still (gso.h).
 */
#include "sender.h"

#include "clock.h"
#include "gso.h"
#include "xdp.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BT_SNDBUF = 256 << 20,      /* the device's queue is to be the limit, not the socket's accounting */
    BT_ARREARS_NS = 1000000,
    BT_CLOCK_CHECK_NS = 20000000, /* sleep at most this long between looks at the stop flag */
    BT_GSO_BURST_MIN = 16,        /* shorter bursts are cheaper through AF_XDP */
};

/* Where the next sequence number comes from; see struct bt_faults. */
struct bt_numbering {
    uint32_t next;
    bool repeat;        /* the number before `next` is due once more */
    bool swapped_first; /* `next` + 1 has gone ahead of `next` */
};

struct bt_sender {
    struct bt_sender_spec spec;
    struct bt_sender_result result;
    int fd;
    uint32_t n_slots;
    uint32_t cursor; /* slot of the next frame */
    uint32_t n_addresses;
    uint64_t address; /* index of the next address combination */
    uint64_t random;
    struct bt_numbering numbering;
    uint32_t *lens; /* on the wire, per slot */
    uint8_t **frames;
    struct mmsghdr *messages; /* packet socket */
    struct iovec *vectors;
    uint8_t *bytes;
    struct bt_xdp *xdp; /* AF_XDP: the frames are in its chunks */
    struct bt_gso *gso; /* GSO: the frames are in its buffer, on `fd` */
};

static uint64_t bt_random(uint64_t *state)
{
    uint64_t x = *state;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

/* -- set-up */

/* The order of sizes in a cycle: each as often as its weight, shuffled with a fixed seed. Returns the cycle's length. */
static uint32_t bt_size_cycle(const struct bt_sender_spec *spec, uint32_t cycle[BT_SIZES_MAX * BT_WEIGHT_MAX])
{
    uint64_t random = 88172645463325252u;
    uint32_t n = 0;

    for (uint32_t i = 0; i < spec->n_sizes; i++)
        for (uint32_t j = 0; j < spec->sizes[i].weight; j++)
            cycle[n++] = spec->sizes[i].len;
    for (uint32_t i = n; i > 1; i--) {
        const uint32_t j = (uint32_t)(bt_random(&random) % i);
        const uint32_t kept = cycle[i - 1];
        cycle[i - 1] = cycle[j];
        cycle[j] = kept;
    }
    return n;
}

static uint32_t bt_max(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static void bt_sender_address(struct bt_sender *sender, uint8_t *bytes)
{
    const struct bt_sender_spec *spec = &sender->spec;
    const uint64_t i = spec->random ? bt_random(&sender->random) % sender->n_addresses : sender->address;
    const struct bt_addresses addresses = {
        .dst = spec->dst + i % spec->n_dst,
        .src = spec->src + i % spec->n_src,
        .tci = spec->pcp << 13 | (uint32_t)(spec->vid + i % spec->n_vids),
    };

    bt_frame_address(bytes, spec->layout, spec->tpid, &addresses);
    sender->address = sender->address + 1 < sender->n_addresses ? sender->address + 1 : 0;
}

/* Lay out the slots; `bytes` holds them `stride` apart (GSO: in its own buffer, where headers are not per frame). */
static bool bt_sender_fill(struct bt_sender *sender, const uint32_t *cycle, uint32_t n_cycle, uint8_t *bytes, uint32_t stride)
{
    const struct bt_sender_spec *spec = &sender->spec;

    sender->lens = calloc(sender->n_slots, sizeof(*sender->lens));
    sender->frames = calloc(sender->n_slots, sizeof(*sender->frames));
    sender->messages = calloc(sender->n_slots, sizeof(*sender->messages));
    sender->vectors = calloc(sender->n_slots, sizeof(*sender->vectors));
    if (!sender->lens || !sender->frames || !sender->messages || !sender->vectors)
        return false;
    for (uint32_t i = 0; i < sender->n_slots; i++) {
        const uint32_t len = cycle[i % n_cycle];
        sender->lens[i] = len + (spec->tpid ? BT_TAG_LEN : 0);
        sender->frames[i] = sender->gso ? bt_gso_frame(sender->gso, i) : bytes + (size_t)i * stride;
        if (sender->gso)
            continue;
        bt_frame_prepare(sender->frames[i], len, spec->layout, spec->tpid);
        bt_sender_address(sender, sender->frames[i]);
        sender->vectors[i] = (struct iovec){.iov_base = sender->frames[i], .iov_len = sender->lens[i]};
        sender->messages[i].msg_hdr.msg_iov = &sender->vectors[i];
        sender->messages[i].msg_hdr.msg_iovlen = 1;
    }
    sender->address = 0;
    return true;
}

static int bt_sender_open_packet(struct bt_sender *sender, bool bypass, struct bt_problem *problem)
{
    const struct bt_sender_spec *spec = &sender->spec;
    const int one = 1, sndbuf = BT_SNDBUF;
    int ifindex = 0;

    sender->fd = bt_net_open(AF_PACKET, spec->netns, spec->device, &ifindex, problem);
    if (sender->fd < 0)
        return sender->fd;
    if (bypass && setsockopt(sender->fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one)) < 0)
        return bt_problem_set(problem, -errno, "PACKET_QDISC_BYPASS on %s: %s", spec->device, strerror(errno));
    setsockopt(sender->fd, SOL_SOCKET, SO_SNDBUFFORCE, &sndbuf, sizeof(sndbuf)); /* best effort: needs CAP_NET_ADMIN */
    const int error = bt_net_bind(sender->fd, ifindex, 0);
    return error ? bt_problem_set(problem, error, "cannot bind to %s: %s", spec->device, strerror(-error)) : 0;
}

static int bt_sender_open_xdp(struct bt_sender *sender, struct bt_problem *problem)
{
    const struct bt_sender_spec *spec = &sender->spec;
    const int sndbuf = BT_SNDBUF;
    int ifindex = 0;
    const int fd = bt_net_open(AF_XDP, spec->netns, spec->device, &ifindex, problem);

    if (fd < 0)
        return fd;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &sndbuf, sizeof(sndbuf));
    const int error = bt_xdp_open(&sender->xdp, fd, ifindex, sender->n_slots);
    return error ? bt_problem_set(problem, error, "no AF_XDP on %s: %s", spec->device, strerror(-error)) : 0;
}

/* Frames of one buffer share their header: one size, one pair of addresses, one tag. */
static bool bt_sender_is_uniform(const struct bt_sender *sender)
{
    const struct bt_sender_spec *spec = &sender->spec;

    return spec->n_sizes == 1 && sender->n_addresses == 1 && spec->layout == BT_LAYOUT_UDP;
}

/* A buffer that needs segmentation does not pass PACKET_QDISC_BYPASS (net/core/dev.c:__dev_direct_xmit). */
static int bt_sender_open_gso(struct bt_sender *sender, struct bt_problem *problem)
{
    const struct bt_sender_spec *spec = &sender->spec;
    const uint32_t header_len = bt_frame_header_len(spec->tpid);
    const uint32_t payload_len = spec->sizes[0].len + (spec->tpid ? BT_TAG_LEN : 0) - header_len;
    uint8_t bytes[BT_FRAME_MAX + BT_TAG_LEN];
    int error = bt_sender_open_packet(sender, false, problem);

    if (error)
        return error;
    bt_frame_prepare(bytes, spec->sizes[0].len, spec->layout, spec->tpid);
    bt_sender_address(sender, bytes);
    error = bt_gso_open(&sender->gso, sender->fd, spec->device, bytes, header_len, payload_len, sender->n_slots);
    if (!error)
        return 0;
    close(sender->fd);
    sender->fd = -1;
    return bt_problem_set(problem, error, "no segmentation of UDP in front of %s: %s", spec->device, strerror(-error));
}

/* Open the way asked for, or the best one that works. */
static int bt_sender_open_way(struct bt_sender *sender, uint32_t longest, struct bt_problem *problem)
{
    const enum bt_queue queue = sender->spec.queue;
    const bool fast = queue == BT_QUEUE_FAST;
    int error = -EINVAL;

    if (queue == BT_QUEUE_GSO && !bt_sender_is_uniform(sender))
        return bt_problem_set(problem, error, "queue=gso takes frames of one size and one pair of addresses, in layout udp");
    if (queue == BT_QUEUE_XDP && longest > BT_XDP_CHUNK_LEN)
        return bt_problem_set(problem, error, "queue=xdp takes frames of up to %d bytes", BT_XDP_CHUNK_LEN - BT_TAG_LEN);
    if (queue == BT_QUEUE_GSO || (fast && bt_sender_is_uniform(sender) && sender->spec.burst >= BT_GSO_BURST_MIN))
        error = bt_sender_open_gso(sender, problem);
    if (error && (queue == BT_QUEUE_XDP || (fast && longest <= BT_XDP_CHUNK_LEN)))
        error = bt_sender_open_xdp(sender, problem);
    if (error && queue != BT_QUEUE_XDP && queue != BT_QUEUE_GSO)
        error = bt_sender_open_packet(sender, queue != BT_QUEUE_QDISC, problem);
    return error;
}

/* Where the frames lie, `stride` apart. */
static uint8_t *bt_sender_room(struct bt_sender *sender, uint32_t longest, uint32_t *stride)
{
    *stride = sender->xdp ? BT_XDP_CHUNK_LEN : (longest + 63) & ~63u;
    if (sender->xdp)
        return bt_xdp_umem(sender->xdp);
    return sender->bytes = aligned_alloc(64, (size_t)sender->n_slots * *stride);
}

static int bt_sender_prepare(struct bt_sender *sender, struct bt_problem *problem)
{
    const struct bt_sender_spec *spec = &sender->spec;
    uint32_t cycle[BT_SIZES_MAX * BT_WEIGHT_MAX];
    const uint32_t n_cycle = bt_size_cycle(spec, cycle);
    uint32_t longest = 0, stride = 0;

    for (uint32_t i = 0; i < n_cycle; i++)
        longest = bt_max(longest, cycle[i] + BT_TAG_LEN);
    sender->n_slots = n_cycle * ((BT_BURST_MAX + n_cycle - 1) / n_cycle);
    sender->n_addresses = bt_max(bt_max(spec->n_dst, spec->n_src), spec->n_vids);
    sender->random = 0x2545f4914f6cdd1d;
    const int error = bt_sender_open_way(sender, longest, problem);
    if (error)
        return error;
    uint8_t *bytes = sender->gso ? NULL : bt_sender_room(sender, longest, &stride);
    if ((!sender->gso && !bytes) || !bt_sender_fill(sender, cycle, n_cycle, bytes, stride))
        return bt_problem_set(problem, -ENOMEM, "out of memory for the frames of stream %u", spec->stream);
    return 0;
}

struct bt_sender *bt_sender_open(const struct bt_sender_spec *spec, struct bt_problem *problem)
{
    struct bt_sender *sender = calloc(1, sizeof(*sender));

    if (!sender) {
        bt_problem_set(problem, -ENOMEM, "out of memory");
        return NULL;
    }
    sender->spec = *spec;
    sender->fd = -1;
    if (bt_sender_prepare(sender, problem) < 0) {
        bt_sender_close(sender);
        return NULL;
    }
    return sender;
}

/* -- the loop */

static uint32_t bt_sender_number(struct bt_sender *sender)
{
    const struct bt_faults *faults = &sender->spec.faults;
    struct bt_numbering *numbering = &sender->numbering;

    if (numbering->repeat) {
        numbering->repeat = false;
        sender->result.n_repeated++;
        return numbering->next - 1;
    }
    if (numbering->swapped_first) {
        numbering->swapped_first = false;
        numbering->next += 2;
        return numbering->next - 2;
    }
    if (faults->skip_every && numbering->next % faults->skip_every == faults->skip_every - 1) {
        sender->result.n_skipped++;
        numbering->next++;
    }
    if (faults->swap_every && numbering->next % faults->swap_every == faults->swap_every - 1) {
        sender->result.n_swapped++;
        numbering->swapped_first = true;
        return numbering->next + 1;
    }
    numbering->repeat = faults->repeat_every && numbering->next % faults->repeat_every == faults->repeat_every - 1;
    return numbering->next++;
}

/* Write addresses and marks of the next `n` slots. */
static void bt_sender_stamp(struct bt_sender *sender, uint32_t n)
{
    const struct bt_sender_spec *spec = &sender->spec;
    struct bt_mark mark = {.stream = spec->stream};

    if (sender->n_addresses > 1)
        for (uint32_t i = 0; i < n; i++)
            bt_sender_address(sender, sender->frames[sender->cursor + i]);
    mark.stamp_ns = bt_now_ns();
    for (uint32_t i = 0; i < n; i++) {
        mark.sequence = bt_sender_number(sender);
        bt_frame_mark(sender->frames[sender->cursor + i], spec->layout, spec->tpid, &mark);
    }
}

static void bt_sender_push_packet(struct bt_sender *sender, uint32_t n)
{
    struct bt_sender_result *result = &sender->result;

    for (uint32_t done = 0; done < n && !result->error;) {
        const int taken = sendmmsg(sender->fd, sender->messages + sender->cursor + done, n - done, 0);
        if (taken > 0) {
            for (int i = 0; i < taken; i++)
                result->n_bytes += sender->lens[sender->cursor + done + (uint32_t)i];
            result->n_sent += (uint64_t)taken;
            done += (uint32_t)taken;
        } else if (errno == ENOBUFS || errno == EAGAIN) {
            result->n_refused++;
            done++;
        } else if (errno != EINTR) {
            result->error = errno;
        }
    }
}

/* Which frames of the burst were refused is not told, so their bytes are taken for the burst's mean. */
static void bt_sender_push_bulk(struct bt_sender *sender, uint32_t n)
{
    struct bt_sender_result *result = &sender->result;
    const int refused = sender->gso ? bt_gso_push(sender->gso, sender->cursor, n)
                                    : bt_xdp_push(sender->xdp, sender->cursor, n, sender->lens);
    uint64_t n_bytes = 0;

    if (refused < 0) {
        result->error = -refused;
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        n_bytes += sender->lens[sender->cursor + i];
    result->n_refused += (uint32_t)refused;
    result->n_sent += n - (uint32_t)refused;
    result->n_bytes += n_bytes * (n - (uint32_t)refused) / n;
}

/* Offer the next `n` slots to the device, each exactly once. */
static void bt_sender_push(struct bt_sender *sender, uint32_t n)
{
    bt_sender_stamp(sender, n);
    (sender->xdp || sender->gso ? bt_sender_push_bulk : bt_sender_push_packet)(sender, n);
    sender->result.n_offered += n;
    sender->cursor = sender->cursor + n < sender->n_slots ? sender->cursor + n : 0;
}

static void bt_sender_burst(struct bt_sender *sender, uint32_t n)
{
    while (n) {
        const uint32_t room = sender->n_slots - sender->cursor;
        const uint32_t part = n < room ? n : room;
        bt_sender_push(sender, part);
        n -= part;
    }
}

static uint64_t bt_sender_left(const struct bt_sender *sender)
{
    const uint64_t n = sender->result.n_offered;

    return n < sender->spec.count_max ? sender->spec.count_max - n : 0;
}

static void bt_sender_wait(const struct bt_sender *sender, uint64_t until_ns)
{
    const uint64_t now = bt_now_ns();

    if (sender->spec.sleep && until_ns > now)
        bt_sleep_until(until_ns < now + BT_CLOCK_CHECK_NS ? until_ns : now + BT_CLOCK_CHECK_NS);
}

/* Frames due and not yet offered; what is more than the arrears allowed is forgiven, that is, taken off the schedule. */
static uint64_t bt_sender_due(struct bt_sender *sender, double rate, uint64_t elapsed_ns, uint64_t *n_scheduled)
{
    const uint64_t n_due = (uint64_t)((double)elapsed_ns * 1e-9 * rate) + 1;
    const uint64_t arrears = (uint64_t)(rate * BT_ARREARS_NS * 1e-9) + sender->spec.burst;

    if (n_due <= *n_scheduled)
        return 0;
    const uint64_t n = n_due - *n_scheduled;
    const uint64_t late_ns = (uint64_t)((double)(n - 1) / rate * 1e9);
    if (late_ns > sender->result.late_max_ns)
        sender->result.late_max_ns = late_ns;
    if (n <= arrears)
        return n;
    sender->result.n_forgiven += n - arrears;
    *n_scheduled += n - arrears;
    return arrears;
}

static void bt_sender_paced(struct bt_sender *sender, const struct bt_phase *phase, uint64_t start, const atomic_bool *stop)
{
    const uint64_t length_ns = (uint64_t)(phase->seconds * 1e9);
    const uint32_t burst = sender->spec.burst;
    uint64_t n_scheduled = 0;
    uint64_t elapsed = 0;

    while (!atomic_load_explicit(stop, memory_order_relaxed) && !sender->result.error && bt_sender_left(sender)) {
        elapsed = bt_now_ns() - start;
        if (elapsed >= length_ns)
            return;
        uint64_t n = bt_sender_due(sender, phase->rate, elapsed, &n_scheduled);
        if (n < burst && n < bt_sender_left(sender)) { /* the last frame of the next burst is due at: */
            bt_sender_wait(sender, start + (uint64_t)((double)(n_scheduled + burst - 1) / phase->rate * 1e9));
            continue;
        }
        n -= n % burst && n > burst ? n % burst : 0;
        n = n < BT_BURST_MAX ? n : BT_BURST_MAX;
        n = n < bt_sender_left(sender) ? n : bt_sender_left(sender);
        bt_sender_burst(sender, (uint32_t)n);
        n_scheduled += n;
    }
}

static void bt_sender_flood(struct bt_sender *sender, const struct bt_phase *phase, uint64_t start, const atomic_bool *stop)
{
    const uint64_t length_ns = (uint64_t)(phase->seconds * 1e9);

    while (!atomic_load_explicit(stop, memory_order_relaxed) && !sender->result.error && bt_sender_left(sender) &&
           bt_now_ns() - start < length_ns) {
        const uint64_t left = bt_sender_left(sender);
        bt_sender_burst(sender, left < sender->spec.burst ? (uint32_t)left : sender->spec.burst);
    }
}

void bt_sender_run(struct bt_sender *sender, const atomic_bool *stop)
{
    struct bt_sender_result *result = &sender->result;

    prctl(PR_SET_TIMERSLACK, 1);
    result->start_ns = bt_now_ns();
    result->cpu_ns = bt_clock_read(CLOCK_THREAD_CPUTIME_ID);
    for (uint32_t i = 0; i < sender->spec.n_phases && bt_sender_left(sender) && !result->error; i++) {
        const struct bt_phase *phase = &sender->spec.phases[i];
        struct bt_phase_result *outcome = &result->phases[i];
        const uint64_t start = bt_now_ns();
        const uint64_t n_before = result->n_offered;
        outcome->first_sequence = sender->numbering.next;
        (phase->rate > 0 ? bt_sender_paced : bt_sender_flood)(sender, phase, start, stop);
        outcome->n_sequences = sender->numbering.next - outcome->first_sequence;
        outcome->n_offered = result->n_offered - n_before;
        outcome->seconds = (double)(bt_now_ns() - start) * 1e-9;
    }
    result->end_ns = bt_now_ns();
    result->cpu_ns = bt_clock_read(CLOCK_THREAD_CPUTIME_ID) - result->cpu_ns;
    result->n_sequences = sender->numbering.next;
}

const char *bt_sender_engine(const struct bt_sender *sender)
{
    return sender->gso ? "gso" : sender->xdp ? "xdp" : "packet";
}

const struct bt_sender_spec *bt_sender_spec(const struct bt_sender *sender)
{
    return &sender->spec;
}

const struct bt_sender_result *bt_sender_result(const struct bt_sender *sender)
{
    return &sender->result;
}

void bt_sender_close(struct bt_sender *sender)
{
    if (sender->gso)
        bt_gso_close(sender->gso);
    if (sender->xdp)
        bt_xdp_close(sender->xdp);
    if (sender->fd >= 0)
        close(sender->fd);
    free(sender->lens);
    free(sender->frames);
    free(sender->messages);
    free(sender->vectors);
    free(sender->bytes);
    free(sender);
}
