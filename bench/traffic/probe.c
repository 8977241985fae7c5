/*
 * probe.c - frames through a tc program and a BPF ring buffer; see source.h. bpf(2), Documentation/bpf/ringbuf.rst.
 *
 * The program sits at the device's ingress (tcx, Linux 6.6), where the kernel has already put the outer tag beside the bytes.
 * It copies the head of every frame that may be ours into a record and drops the frame, so that nobody else spends time on it;
 * everything else goes on untouched. It is assembled here because it is short and needs no compiler then. The kernel takes it
 * off the device when the last descriptor is closed, whatever becomes of this process.
 * Room: a frame that finds the ring full is counted and goes on. Nobody is woken: the reader looks every few milliseconds.
 */
#include "source.h"

#include "assembler.h"
#include "clock.h"
#include "frame.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

enum {
    BT_TCX_INGRESS = 46, /* enum bpf_attach_type; not in the headers of Linux 6.1 */
    BT_TCX_NEXT = -1,
    BT_TCX_DROP = 2,
    BT_LOOK_NS = 4000000,
    BT_RECORD_HLEN = 8, /* length and flags, then an offset; include/uapi/linux/bpf.h: BPF_RINGBUF_HDR_SZ */
};

struct bt_record {
    uint64_t ns;
    uint32_t len;
    uint16_t tci;
    uint16_t tpid; /* network order; 0: no tag beside the bytes */
    uint8_t head[BT_SOURCE_SNAP_LEN];
};

_Static_assert(sizeof(struct bt_record) % 8 == 0, "records of a ring buffer are aligned to eight bytes");

struct bt_probe {
    struct bt_source source;
    int socket; /* keeps the device promiscuous, and tells whether it is there */
    struct ifreq device;
    int ring_fd, drops_fd, program_fd, link_fd;
    size_t ring_len;
    uint64_t *consumer;
    uint64_t *producer; /* then the records, mapped twice in a row, so that none is cut */
    uint64_t *n_drops;
};

/* -- in the kernel */

enum { BT_TO_NEXT, BT_TO_FULL, BT_TO_MAGIC, BT_TO_KEEP, BT_TO_UNTAGGED, BT_TO_FOREIGN };

#define BT_SKB(field) offsetof(struct __sk_buff, field)
#define BT_AT(field) offsetof(struct bt_record, field)

/* r8 = room for a record, with the head of frame r6 in it; r9 = the frame's type in network order. */
static void bt_probe_copy(struct bt_asm *a, int ring_fd)
{
    bt_asm_map(a, 1, BPF_PSEUDO_MAP_FD, ring_fd);
    bt_asm_set(a, 2, sizeof(struct bt_record));
    bt_asm_set(a, 3, 0);
    bt_asm_call(a, BPF_FUNC_ringbuf_reserve);
    bt_asm_emit(a, BPF_JMP | BPF_JNE | BPF_K, 0, 0, 1, 0); /* a pointer is compared as a whole */
    bt_asm_jump(a, BPF_JA, 0, 0, BT_TO_FULL);
    bt_asm_mov(a, 8, 0);
    bt_asm_mov(a, 1, 6);
    bt_asm_set(a, 2, 0);
    bt_asm_mov(a, 3, 8);
    bt_asm_add(a, 3, BT_AT(head));
    bt_asm_mov(a, 4, 7);
    bt_asm_call(a, BPF_FUNC_skb_load_bytes);
    bt_asm_jump(a, BPF_JNE, 0, 0, BT_TO_FOREIGN);
    bt_asm_load(a, BPF_H, 9, 8, BT_AT(head) + 12);
}

/* Tell ours from others: the magic where an untagged frame has it, or any further tag. */
static void bt_probe_choose(struct bt_asm *a)
{
    bt_asm_load(a, BPF_W, 2, 8, BT_AT(head) + BT_ETH_HLEN + BT_IP_LEN + BT_UDP_LEN);
    bt_asm_jump(a, BPF_JEQ, 9, htons(BT_TYPE_IPV4), BT_TO_MAGIC);
    bt_asm_load(a, BPF_W, 2, 8, BT_AT(head) + BT_ETH_HLEN);
    bt_asm_jump(a, BPF_JEQ, 9, htons(BT_TYPE_RAW), BT_TO_MAGIC);
    bt_asm_jump(a, BPF_JEQ, 9, htons(BT_TYPE_8021Q), BT_TO_KEEP);
    bt_asm_jump(a, BPF_JEQ, 9, htons(BT_TYPE_8021AD), BT_TO_KEEP);
    bt_asm_jump(a, BPF_JA, 0, 0, BT_TO_FOREIGN);
    bt_asm_label(a, BT_TO_MAGIC);
    bt_asm_jump(a, BPF_JNE, 2, htonl(BT_FRAME_MAGIC), BT_TO_FOREIGN);
}

/* Fill in the rest of the record and hand it over. */
static void bt_probe_keep(struct bt_asm *a)
{
    bt_asm_label(a, BT_TO_KEEP);
    bt_asm_call(a, BPF_FUNC_ktime_get_ns);
    bt_asm_store(a, BPF_DW, 8, BT_AT(ns), 0);
    bt_asm_load(a, BPF_W, 1, 6, BT_SKB(len));
    bt_asm_store(a, BPF_W, 8, BT_AT(len), 1);
    bt_asm_load(a, BPF_W, 1, 6, BT_SKB(vlan_tci));
    bt_asm_store(a, BPF_H, 8, BT_AT(tci), 1);
    bt_asm_load(a, BPF_W, 1, 6, BT_SKB(vlan_present));
    bt_asm_jump(a, BPF_JEQ, 1, 0, BT_TO_UNTAGGED);
    bt_asm_load(a, BPF_W, 1, 6, BT_SKB(vlan_proto));
    bt_asm_label(a, BT_TO_UNTAGGED);
    bt_asm_store(a, BPF_H, 8, BT_AT(tpid), 1);
    bt_asm_mov(a, 1, 8);
    bt_asm_set(a, 2, BPF_RB_NO_WAKEUP);
    bt_asm_call(a, BPF_FUNC_ringbuf_submit);
    bt_asm_return(a, BT_TCX_DROP);
}

/* r6 = frame, r7 = how much of its head is copied. */
static int bt_probe_program(const struct bt_probe *probe)
{
    struct bt_asm a = {.n = 0};

    bt_asm_mov(&a, 6, 1);
    bt_asm_load(&a, BPF_W, 7, 6, BT_SKB(len));
    bt_asm_emit(&a, BPF_JMP | BPF_JLE | BPF_K, 7, 0, 1, BT_SOURCE_SNAP_LEN);
    bt_asm_set(&a, 7, BT_SOURCE_SNAP_LEN);
    bt_asm_emit(&a, BPF_JMP | BPF_JGE | BPF_K, 7, 0, 1, BT_FRAME_MIN_RAW);
    bt_asm_jump(&a, BPF_JA, 0, 0, BT_TO_NEXT);
    bt_probe_copy(&a, probe->ring_fd);
    bt_probe_choose(&a);
    bt_probe_keep(&a);
    bt_asm_label(&a, BT_TO_FULL);
    bt_asm_map(&a, 1, BPF_PSEUDO_MAP_VALUE, probe->drops_fd);
    bt_asm_set(&a, 2, 1);
    bt_asm_emit(&a, BPF_STX | BPF_ATOMIC | BPF_DW, 1, 2, 0, BPF_ADD);
    bt_asm_jump(&a, BPF_JA, 0, 0, BT_TO_NEXT);
    bt_asm_label(&a, BT_TO_FOREIGN);
    bt_asm_mov(&a, 1, 8);
    bt_asm_set(&a, 2, BPF_RB_NO_WAKEUP);
    bt_asm_call(&a, BPF_FUNC_ringbuf_discard);
    bt_asm_label(&a, BT_TO_NEXT);
    bt_asm_return(&a, BT_TCX_NEXT);
    return bt_asm_finish(&a, BPF_PROG_TYPE_SCHED_CLS);
}

/* -- reading */

static int bt_probe_wait(struct bt_source *source)
{
    struct bt_probe *probe = (struct bt_probe *)source;

    bt_sleep_until(bt_now_ns() + BT_LOOK_NS);
    if (ioctl(probe->socket, SIOCGIFFLAGS, &probe->device) < 0)
        return -errno;
    return probe->device.ifr_flags & IFF_UP ? 0 : -ENETDOWN;
}

static void bt_record_take(const struct bt_record *record, bt_arrival_fn *take, void *context)
{
    const struct bt_arrival arrival = {
        .bytes = record->head,
        .snap_len = record->len < BT_SOURCE_SNAP_LEN ? record->len : BT_SOURCE_SNAP_LEN,
        .len = record->len,
        .tag = record->tpid ? (uint32_t)ntohs(record->tpid) << 16 | record->tci : 0,
        .ns = record->ns,
    };

    take(context, &arrival);
}

static uint64_t bt_probe_drain(struct bt_source *source, bt_arrival_fn *take, void *context)
{
    struct bt_probe *probe = (struct bt_probe *)source;
    const uint8_t *records = (const uint8_t *)probe->producer + (size_t)sysconf(_SC_PAGESIZE);
    const uint64_t end = __atomic_load_n(probe->producer, __ATOMIC_ACQUIRE);
    uint64_t at = *probe->consumer, n = 0;

    while (at < end) {
        const uint8_t *header = records + (at & (probe->ring_len - 1));
        const uint32_t flags = __atomic_load_n((const uint32_t *)(const void *)header, __ATOMIC_ACQUIRE);
        if (flags & BPF_RINGBUF_BUSY_BIT)
            break;
        if (!(flags & BPF_RINGBUF_DISCARD_BIT)) {
            bt_record_take((const void *)(header + BT_RECORD_HLEN), take, context);
            n++;
        }
        at += BT_RECORD_HLEN + sizeof(struct bt_record);
        __atomic_store_n(probe->consumer, at, __ATOMIC_RELEASE);
    }
    return n;
}

static void bt_probe_settle(struct bt_source *source)
{
    (void)source; /* a record can be read as soon as it is written */
}

static uint64_t bt_probe_drops(struct bt_source *source)
{
    return __atomic_load_n(((struct bt_probe *)source)->n_drops, __ATOMIC_RELAXED);
}

/* -- opening and closing */

static void bt_unmap(void *address, size_t len)
{
    if (address && address != MAP_FAILED)
        munmap(address, len);
}

static void bt_probe_close(struct bt_source *source)
{
    struct bt_probe *probe = (struct bt_probe *)source;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const int fds[] = {probe->link_fd, probe->program_fd, probe->ring_fd, probe->drops_fd, probe->socket};

    for (uint32_t i = 0; i < sizeof(fds) / sizeof(*fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    bt_unmap(probe->consumer, page);
    bt_unmap(probe->producer, page + 2 * probe->ring_len);
    bt_unmap(probe->n_drops, page);
    free(probe);
}

static const struct bt_source_ops bt_probe_ops = {
    .name = "probe",
    .wait = bt_probe_wait,
    .drain = bt_probe_drain,
    .settle = bt_probe_settle,
    .drops = bt_probe_drops,
    .close = bt_probe_close,
};

static int bt_map_make(enum bpf_map_type type, uint32_t key_len, uint32_t value_len, uint32_t n, uint32_t flags)
{
    union bpf_attr attributes;

    memset(&attributes, 0, sizeof(attributes));
    attributes.map_type = type;
    attributes.key_size = key_len;
    attributes.value_size = value_len;
    attributes.max_entries = n;
    attributes.map_flags = flags;
    return bt_bpf(BPF_MAP_CREATE, &attributes);
}

static int bt_probe_maps(struct bt_probe *probe)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);

    probe->ring_fd = bt_map_make(BPF_MAP_TYPE_RINGBUF, 0, 0, (uint32_t)probe->ring_len, 0);
    probe->drops_fd = bt_map_make(BPF_MAP_TYPE_ARRAY, sizeof(uint32_t), sizeof(uint64_t), 1, BPF_F_MMAPABLE);
    if (probe->ring_fd < 0 || probe->drops_fd < 0)
        return probe->ring_fd < 0 ? probe->ring_fd : probe->drops_fd;
    probe->consumer = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, probe->ring_fd, 0);
    probe->producer = mmap(NULL, page + 2 * probe->ring_len, PROT_READ, MAP_SHARED, probe->ring_fd, (off_t)page);
    probe->n_drops = mmap(NULL, page, PROT_READ, MAP_SHARED, probe->drops_fd, 0);
    return probe->consumer == MAP_FAILED || probe->producer == MAP_FAILED || probe->n_drops == MAP_FAILED ? -errno : 0;
}

/* Attach the program; the link belongs to the device's network namespace, so this enters it for a moment. */
static int bt_probe_attach(struct bt_probe *probe, const char *netns, int ifindex)
{
    union bpf_attr attributes;
    const int home = bt_net_enter(netns);

    if (home < -1)
        return home + 1;
    memset(&attributes, 0, sizeof(attributes));
    attributes.link_create.prog_fd = (uint32_t)probe->program_fd;
    attributes.link_create.target_ifindex = (uint32_t)ifindex;
    attributes.link_create.attach_type = BT_TCX_INGRESS;
    probe->link_fd = bt_bpf(BPF_LINK_CREATE, &attributes);
    const int error = bt_net_leave(home);
    return error ? error : probe->link_fd < 0 ? probe->link_fd : 0;
}

static int bt_probe_set_up(struct bt_probe *probe, const char *netns, int ifindex)
{
    int error = bt_net_promiscuous(probe->socket, ifindex);

    if (!error)
        error = bt_probe_maps(probe);
    if (!error) {
        probe->program_fd = bt_probe_program(probe);
        error = probe->program_fd < 0 ? probe->program_fd : 0;
    }
    return error ? error : bt_probe_attach(probe, netns, ifindex);
}

static size_t bt_power_of_two(size_t least)
{
    size_t value = 1;

    while (value < least)
        value *= 2;
    return value;
}

struct bt_source *bt_probe_open(const char *netns, const char *device, uint32_t ring_mib, struct bt_problem *problem)
{
    struct bt_probe *probe = calloc(1, sizeof(*probe));
    int ifindex = 0;

    if (!probe) {
        bt_problem_set(problem, -ENOMEM, "out of memory");
        return NULL;
    }
    probe->source.ops = &bt_probe_ops;
    probe->ring_fd = probe->drops_fd = probe->program_fd = probe->link_fd = -1;
    probe->ring_len = bt_power_of_two((size_t)ring_mib << 20);
    snprintf(probe->device.ifr_name, sizeof(probe->device.ifr_name), "%s", device);
    probe->socket = bt_net_open(AF_PACKET, netns, device, &ifindex, problem);
    if (probe->socket >= 0) {
        const int error = bt_probe_set_up(probe, netns, ifindex);
        if (!error)
            return &probe->source;
        bt_problem_set(problem, error, "no tc program on %s: %s", device, strerror(-error));
    }
    bt_probe_close(&probe->source);
    return NULL;
}
