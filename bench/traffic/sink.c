/*
 * sink.c - see sink.h. packet(7), Documentation/networking/packet_mmap.rst (TPACKET_V3).
 */
#include "sink.h"

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
    BT_SNAP_LEN = 96, /* covers two tags and the mark behind IPv4 and UDP */
    BT_BLOCK_LEN = 128 << 10,
    BT_RETIRE_MS = 8,
    BT_POLL_MS = 20,
    BT_FLOWS = 1 << 16,
    BT_WORDS_FIRST = 1 << 12,
};

struct bt_sink {
    struct bt_sink_spec spec;
    struct bt_sink_result result;
    int fd;
    uint8_t *ring;
    uint32_t n_blocks;
    uint32_t block;
    uint64_t realtime_offset;
    struct bt_stream *last;
    _Atomic uint64_t progress;
};

/* -- set-up */

/* Lets through what bt_frame_find() may know: the magic where an untagged frame has it, or any further tag. */
static int bt_sink_filter(int fd)
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
        BPF_STMT(BPF_RET | BPF_K, BT_SNAP_LEN),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    const struct sock_fprog program = {.len = sizeof(code) / sizeof(*code), .filter = code};

    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ? -errno : 0;
}

static int bt_sink_map(struct bt_sink *sink)
{
    const int version = TPACKET_V3, one = 1;
    struct tpacket_req3 request = {
        .tp_block_size = BT_BLOCK_LEN,
        .tp_block_nr = (sink->spec.ring_mib << 20) / BT_BLOCK_LEN,
        .tp_frame_size = 2048,
        .tp_retire_blk_tov = BT_RETIRE_MS,
    };

    request.tp_frame_nr = request.tp_block_nr * (BT_BLOCK_LEN / request.tp_frame_size);
    sink->n_blocks = request.tp_block_nr;
    if (setsockopt(sink->fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) < 0 ||
        setsockopt(sink->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) < 0 ||
        setsockopt(sink->fd, SOL_PACKET, PACKET_RX_RING, &request, sizeof(request)) < 0)
        return -errno;
    void *ring = mmap(NULL, (size_t)sink->n_blocks * BT_BLOCK_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, sink->fd, 0);
    if (ring == MAP_FAILED)
        return -errno;
    sink->ring = ring;
    return 0;
}

static int bt_sink_connect(struct bt_sink *sink, struct bt_problem *problem)
{
    const struct bt_sink_spec *spec = &sink->spec;
    int ifindex = 0;

    sink->fd = bt_net_open(AF_PACKET, spec->netns, spec->device, &ifindex, problem);
    if (sink->fd < 0)
        return sink->fd;
    const struct packet_mreq promiscuous = {.mr_ifindex = ifindex, .mr_type = PACKET_MR_PROMISC};
    int error = bt_sink_filter(sink->fd);
    if (!error)
        error = bt_sink_map(sink);
    if (!error && setsockopt(sink->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof(promiscuous)) < 0)
        error = -errno;
    if (!error)
        error = bt_net_bind(sink->fd, ifindex, ETH_P_ALL);
    return error ? bt_problem_set(problem, error, "cannot receive on %s: %s", spec->device, strerror(-error)) : 0;
}

struct bt_sink *bt_sink_open(const struct bt_sink_spec *spec, struct bt_problem *problem)
{
    struct bt_sink *sink = calloc(1, sizeof(*sink));

    if (!sink) {
        bt_problem_set(problem, -ENOMEM, "out of memory");
        return NULL;
    }
    sink->spec = *spec;
    sink->fd = -1;
    if (bt_sink_connect(sink, problem) < 0) {
        bt_sink_close(sink);
        return NULL;
    }
    if (spec->interval_ms) {
        const double n = spec->expect_seconds * 1e3 / spec->interval_ms + 1;
        sink->result.n_intervals = n < BT_INTERVALS_MAX ? (uint32_t)n : BT_INTERVALS_MAX;
        sink->result.intervals = calloc(sink->result.n_intervals, sizeof(*sink->result.intervals));
        if (!sink->result.intervals) {
            bt_problem_set(problem, -ENOMEM, "out of memory for the time line");
            bt_sink_close(sink);
            return NULL;
        }
    }
    return sink;
}

/* -- counting */

bool bt_sink_expects(const struct bt_sink_spec *spec, uint16_t id)
{
    for (uint32_t i = 0; i < spec->n_expected; i++)
        if (spec->expected[i] == id)
            return true;
    return !spec->n_expected;
}

static struct bt_stream *bt_sink_find(const struct bt_sink *sink, uint16_t id)
{
    for (uint32_t i = 0; i < sink->result.n_streams; i++)
        if (sink->result.streams[i]->id == id)
            return sink->result.streams[i];
    return NULL;
}

/* NULL: too many streams, or no memory; `error` says so. */
static struct bt_stream *bt_sink_add(struct bt_sink *sink, uint16_t id)
{
    struct bt_stream *stream = sink->result.n_streams < BT_STREAMS_MAX ? calloc(1, sizeof(*stream)) : NULL;

    if (stream)
        stream->flows = calloc(BT_FLOWS, sizeof(*stream->flows));
    if (!stream || !stream->flows) {
        free(stream);
        sink->result.error = ENOMEM;
        return NULL;
    }
    stream->id = id;
    stream->expected = bt_sink_expects(&sink->spec, id);
    sink->result.streams[sink->result.n_streams++] = stream;
    return stream;
}

/* Make room for the bit of `sequence`. */
static bool bt_stream_reach(struct bt_stream *stream, uint32_t sequence)
{
    const uint64_t word = sequence / 64;
    uint64_t words = stream->seen_words ? stream->seen_words : BT_WORDS_FIRST;

    if (word < stream->seen_words)
        return true;
    if (sequence >= BT_SEQUENCES_MAX)
        return false;
    while (words <= word)
        words *= 2;
    uint64_t *seen = realloc(stream->seen, words * sizeof(*seen));
    if (!seen)
        return false;
    memset(seen + stream->seen_words, 0, (words - stream->seen_words) * sizeof(*seen));
    stream->seen = seen;
    stream->seen_words = words;
    return true;
}

/* Returns whether the number is new. */
static bool bt_stream_number(struct bt_stream *stream, uint32_t sequence, uint32_t flow)
{
    if (!bt_stream_reach(stream, sequence)) {
        stream->n_beyond++;
        return true;
    }
    uint64_t *const word = &stream->seen[sequence / 64];
    uint32_t *const previous = &stream->flows[(flow ^ flow >> 16) & (BT_FLOWS - 1)];
    const uint64_t bit = 1ull << sequence % 64;
    if (*word & bit) {
        stream->n_duplicates++;
        return false;
    }
    *word |= bit;
    stream->n_unique++;
    stream->n_reordered_stream += sequence < stream->sequence_max;
    stream->n_reordered += sequence + 1 < *previous;
    *previous = sequence + 1 > *previous ? sequence + 1 : *previous;
    stream->sequence_max = sequence > stream->sequence_max ? sequence : stream->sequence_max;
    return true;
}

static bool bt_sink_tag_fits(const struct bt_sink_spec *spec, uint32_t tag)
{
    const uint32_t vid = tag & 0xfff;

    return spec->tag_rule == BT_TAG_ANY || (spec->tag_rule == BT_TAG_NONE && !tag) ||
           (spec->tag_rule == BT_TAG_RANGE && tag && vid >= spec->vid_min && vid <= spec->vid_max);
}

static void bt_sink_interval(struct bt_sink *sink, uint64_t ns)
{
    const uint64_t start = sink->result.start_ns;
    const uint64_t i = ns > start ? (ns - start) / 1000000 / sink->spec.interval_ms : 0;

    if (i < sink->result.n_intervals)
        sink->result.intervals[i]++;
}

static void bt_sink_count(struct bt_sink *sink, const struct tpacket3_hdr *header)
{
    const uint64_t ns = (uint64_t)header->tp_sec * 1000000000u + header->tp_nsec - sink->realtime_offset;
    struct bt_found found;

    if (!bt_frame_find((const uint8_t *)header + header->tp_mac, header->tp_snaplen, &found)) {
        sink->result.n_ignored++;
        return;
    }
    if (header->tp_status & TP_STATUS_VLAN_VALID) /* the kernel keeps the outer tag beside the bytes */
        found.tag = (uint32_t)header->hv1.tp_vlan_tpid << 16 | header->hv1.tp_vlan_tci;
    struct bt_stream *stream = sink->last;
    if (!stream || stream->id != found.mark.stream) {
        stream = bt_sink_find(sink, found.mark.stream);
        stream = stream ? stream : bt_sink_add(sink, found.mark.stream);
        if (!stream)
            return;
        sink->last = stream;
    }
    stream->first_ns = stream->n_frames++ ? stream->first_ns : ns;
    stream->last_ns = ns > stream->last_ns ? ns : stream->last_ns;
    stream->n_bytes += header->tp_len;
    stream->n_wrong_tag += !bt_sink_tag_fits(&sink->spec, found.tag);
    if (bt_stream_number(stream, found.mark.sequence, found.flow))
        bt_histogram_add(&stream->latency, ns > found.mark.stamp_ns ? ns - found.mark.stamp_ns : 0);
    if (stream->expected && sink->spec.interval_ms)
        bt_sink_interval(sink, ns);
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

/* Work off the retired blocks; returns how many there were. */
static uint32_t bt_sink_drain(struct bt_sink *sink)
{
    uint64_t n_unique = 0;
    uint32_t n_blocks = 0;

    sink->realtime_offset = bt_realtime_offset();
    for (;;) {
        struct tpacket_block_desc *block = (void *)(sink->ring + (size_t)sink->block * BT_BLOCK_LEN);
        if (!(__atomic_load_n(&block->hdr.bh1.block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
            break;
        const struct tpacket3_hdr *header = (const void *)((uint8_t *)block + block->hdr.bh1.offset_to_first_pkt);
        for (uint32_t i = 0; i < block->hdr.bh1.num_pkts; i++) {
            bt_sink_count(sink, header);
            header = (const void *)((const uint8_t *)header + header->tp_next_offset);
        }
        __atomic_store_n(&block->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
        sink->block = sink->block + 1 < sink->n_blocks ? sink->block + 1 : 0;
        n_blocks++;
    }
    for (uint32_t i = 0; n_blocks && i < sink->result.n_streams; i++)
        n_unique += sink->result.streams[i]->expected ? sink->result.streams[i]->n_unique : 0;
    if (n_blocks)
        atomic_store_explicit(&sink->progress, n_unique, memory_order_relaxed);
    return n_blocks;
}

void bt_sink_run(struct bt_sink *sink, const atomic_bool *stop)
{
    struct pollfd poll_fd = {.fd = sink->fd, .events = POLLIN};
    struct tpacket_stats_v3 stats = {0};
    socklen_t stats_len = sizeof(stats);

    sink->result.start_ns = bt_now_ns();
    while (!atomic_load_explicit(stop, memory_order_acquire) && !sink->result.error) {
        poll(&poll_fd, 1, BT_POLL_MS);
        sink->result.n_looks++;
        bt_sink_drain(sink);
        if (poll_fd.revents & POLLERR)
            sink->result.error = ENETDOWN;
    }
    poll(&poll_fd, 1, 2 * BT_RETIRE_MS); /* the block being filled retires */
    bt_sink_drain(sink);
    if (getsockopt(sink->fd, SOL_PACKET, PACKET_STATISTICS, &stats, &stats_len) == 0)
        sink->result.n_ring_drops = stats.tp_drops;
    sink->result.cpu_ns = bt_clock_read(CLOCK_THREAD_CPUTIME_ID);
}

/* -- answers */

uint64_t bt_sink_progress(const struct bt_sink *sink)
{
    return atomic_load_explicit(&sink->progress, memory_order_relaxed);
}

const struct bt_sink_spec *bt_sink_spec(const struct bt_sink *sink)
{
    return &sink->spec;
}

const struct bt_sink_result *bt_sink_result(const struct bt_sink *sink)
{
    return &sink->result;
}

const struct bt_stream *bt_sink_stream(const struct bt_sink *sink, uint16_t id)
{
    return bt_sink_find(sink, id);
}

uint64_t bt_stream_lost(const struct bt_stream *stream, uint32_t first, uint32_t n, uint32_t *last)
{
    uint64_t n_lost = 0;

    for (uint64_t i = first; i < (uint64_t)first + n; i++) {
        const bool seen = stream && i / 64 < stream->seen_words && stream->seen[i / 64] >> i % 64 & 1;
        if (!seen)
            *last = (uint32_t)i;
        n_lost += !seen;
    }
    return n_lost;
}

void bt_sink_close(struct bt_sink *sink)
{
    if (sink->ring)
        munmap(sink->ring, (size_t)sink->n_blocks * BT_BLOCK_LEN);
    if (sink->fd >= 0)
        close(sink->fd);
    for (uint32_t i = 0; i < sink->result.n_streams; i++) {
        free(sink->result.streams[i]->seen);
        free(sink->result.streams[i]->flows);
        free(sink->result.streams[i]);
    }
    free(sink->result.intervals);
    free(sink);
}
