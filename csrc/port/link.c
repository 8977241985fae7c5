/*
 * port/link.c - a port on any network device through a packet socket (packet(7),
 * Documentation/networking/packet_mmap.rst).
 *
 * rx: a TPACKET_V2 ring shared with the kernel. A frame that fits its slot is used where it lies; the kernel has taken
 *      its outer tag out, TPID and TCI are in the slot's header (net/packet/af_packet.c:tpacket_rcv), and there is room
 *      for a tag and a vnet header in front. A longer one (super-frame) is queued whole on the socket
 *      (PACKET_COPY_THRESH, TP_STATUS_COPY): its first part is in the slot, recvmsg brings the rest into a tail.
 * tx: one sendmmsg for the burst, the tag inline, a vnet header in front of each frame. The kernel segments what the
 *      device cannot. A socket of its own, for nobody waits on it: one that is in an epoll set runs the set's wake-up,
 *      two locks, for every frame whose buffer comes back (net/core/sock.c:sock_def_write_space).
 * Slots go back to the kernel at the next rx, which the loop makes before it sleeps; all but the last one taken, so
 * that an edge-triggered set hears of drops, too (packet_poll).
 *
 * Refused: the kernel drops a super-frame whose kind has no virtio number (UFO from whoever writes to a tap, SCTP
 * segmentation), and a TPACKET_V2 ring never takes another frame after that: the slot was marked as taken before.
 * The drop wakes us, the ring is empty, and frames are missed that it had room for: then it is wedged. A second socket
 * without a ring stands by; it is bound, a filter silences the first one, and receiving goes on at once, one recvmsg a
 * frame, where refused frames cost only themselves. Frames that came between the refused one and this are lost, and
 * counted (rx_missed). The ring comes back when the port is opened again.
 *
 * The lane: heartbeats have a socket of their own, so that no flood fills the queue they wait in. Both sockets are of
 * one fanout group (PACKET_FANOUT_CBPF): its program (bridge/ports/lane.py), not two filters, says which of them gets a
 * frame, so each frame is delivered once, also while the program changes. Its places are BR_LINK_AT_*: sockets are in
 * the order in which they joined, and after their device was down in that in which they were made. Until it is of a
 * group the lane gets nothing. It has no ring, which a single frame could wedge. What the socket that sends has no room
 * for leaves by the lane's, if it is a heartbeat: that room is theirs alone.
 * Facts: tests/platform/.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "frame/classify.h"
#include "frame/vnet.h"
#include "port/port.h"
#include "frame/vlan.h"

#ifndef PACKET_IGNORE_OUTGOING /* Linux 4.20 */
#define PACKET_IGNORE_OUTGOING 23
#endif

enum {
    BR_LINK_SLOT_LEN = 2048,
    BR_LINK_BLOCK_LEN = 65536,
    BR_LINK_SNDBUF = 8 << 20,
    BR_LINK_RCVBUF = 16 << 20, /* super-frames that wait to be fetched */
    BR_LINK_PLAIN_RCVBUF = 3 << 19, /* without a ring; the kernel doubles it: at most BR_LOOP_DISCARD small frames */
    BR_LINK_PLAIN_HOLDS = 1 << 16, /* small frames that BR_LINK_RCVBUF has room for, and more */
    BR_LINK_LANE_RCVBUF = 1 << 19, /* doubled: at most BR_LANE_HOLDS small frames */
    BR_LINK_LANE_PRIORITY = 7,  /* TC_PRIO_CONTROL: the first band of most queueing disciplines */
    BR_LINK_AT_PLAIN = 2,       /* place in the fanout group; the ring is at 0, the lane at 1 */
    BR_LINK_SAME_LEN = 64,     /* bytes by which a frame is recognised: addresses, IP and TCP numbers */
};

struct br_port_link {
    struct br_port port; /* its fd is ring_fd or plain_fd, whichever receives */
    int ring_fd;
    int plain_fd; /* stands by: receives without a ring once that one is wedged */
    int tx_fd;
    int ifindex;
    bool wedged;
    uint8_t *ring;
    uint32_t slot_mask;
    uint32_t taken;    /* next slot to look at */
    uint32_t released; /* next slot to give back */
    uint32_t taken_seen;  /* both as they were when the ring was last found empty against expectation */
    uint64_t missed_seen;
    struct br_read_buffer buffer; /* for frames of plain_fd */
    uint8_t vnet[BR_BURST_MAX][BR_VNET_HLEN];
    struct iovec piece[BR_BURST_MAX][BR_PORT_PIECES];
    struct mmsghdr message[BR_BURST_MAX];
};

static struct br_port_link *br_link(struct br_port *port)
{
    return (struct br_port_link *)port;
}

static struct tpacket2_hdr *br_link_slot(const struct br_port_link *link, uint32_t at)
{
    return (struct tpacket2_hdr *)(link->ring + (size_t)(at & link->slot_mask) * BR_LINK_SLOT_LEN);
}

/* All but the last one taken. */
static void br_link_release(struct br_port_link *link)
{
    for (; link->released + 1 != link->taken; link->released++)
        __atomic_store_n(&br_link_slot(link, link->released)->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
}

/*
 * Fetch a frame that was too long for its slot: vnet header and head over the slot's copy, the rest into a tail. Slots
 * and queue have the same order, but an error that was pending on the socket (ENETDOWN) fails one read and leaves the
 * frame where it is, so what was fetched is compared with what the slot had, and a frame that is not this one is let
 * go.
 */
static bool br_link_fetch(struct br_port *port, struct br_pool *pool, struct br_frame *frame, uint32_t frame_len)
{
    uint8_t *tail = br_stack_get(&pool->tails);
    uint8_t start[BR_LINK_SAME_LEN];
    struct iovec piece[2] = {
        {.iov_base = frame->data - BR_VNET_HLEN, .iov_len = frame->len + BR_VNET_HLEN},
        {.iov_base = tail, .iov_len = tail ? BR_TAIL_CAP : 0},
    };
    struct msghdr message = {.msg_iov = piece, .msg_iovlen = 2};
    bool had_error = false;

    memcpy(start, frame->data, sizeof(start));
    for (;;) {
        const ssize_t len = recvmsg(port->fd, &message, MSG_DONTWAIT);

        if (len < 0 && (errno == EAGAIN || had_error))
            break;
        had_error = had_error || len < 0;
        if (len < 0 || memcmp(start, frame->data, sizeof(start)) != 0)
            continue;
        if (!tail || len != (ssize_t)frame_len + BR_VNET_HLEN || message.msg_flags & MSG_TRUNC)
            break;
        frame->tail = tail;
        frame->tail_len = frame_len - frame->len;
        return true;
    }
    if (tail)
        br_stack_put(&pool->tails, tail);
    return false;
}

static void br_link_take(struct br_port *port, struct br_pool *pool, struct tpacket2_hdr *slot, uint32_t status,
                         struct br_frame *frame)
{
    uint8_t *data = (uint8_t *)slot + slot->tp_mac;

    *frame = (struct br_frame){
        .data = data,
        .len = slot->tp_snaplen,
        .headroom = (uint16_t)(slot->tp_mac - sizeof(*slot)),
    };
    if (status & TP_STATUS_VLAN_VALID) {
        frame->flags = BR_FRAME_TAG_BESIDE;
        frame->tci = slot->tp_vlan_tci;
        frame->tpid = status & TP_STATUS_VLAN_TPID_VALID ? slot->tp_vlan_tpid : BR_TPID_8021Q;
    }
    if (slot->tp_len > slot->tp_snaplen &&
        (!(status & TP_STATUS_COPY) || !br_link_fetch(port, pool, frame, slot->tp_len)))
        frame->flags |= BR_FRAME_TRUNCATED;
    frame->vnet = br_vnet_read(data - BR_VNET_HLEN);
}

/* PACKET_STATISTICS clears as it reads. */
static void br_link_missed(struct br_port *port)
{
    struct tpacket_stats stats = {0};
    socklen_t len = sizeof(stats);

    if (getsockopt(port->fd, SOL_PACKET, PACKET_STATISTICS, &stats, &len) == 0)
        port->counters.misses[BR_MISS_ring_full] += stats.tp_drops;
    len = sizeof(stats);
    if (getsockopt(port->lane_fd, SOL_PACKET, PACKET_STATISTICS, &stats, &len) == 0)
        port->counters.misses[BR_MISS_lane_full] += stats.tp_drops;
}

/*
 * There is no frame in the ring. If frames were missed since this was last asked, the ring was either full, and has
 * brought all its slots since, or it is wedged. Asked when epoll named the port for nothing, a moment after each burst
 * (thread/loop.c), and as soon as the ring may have been full: what is missed after that is not taken for the same.
 */
static __attribute__((noinline, cold)) bool br_link_is_wedged(struct br_port_link *link)
{
    const uint32_t n_taken = link->taken - link->taken_seen;
    const uint64_t *n_missed = &link->port.counters.misses[BR_MISS_ring_full];

    br_link_missed(&link->port);
    const bool missed = *n_missed != link->missed_seen;

    link->taken_seen = link->taken;
    link->missed_seen = *n_missed;
    link->wedged = link->wedged || (missed && n_taken < link->slot_mask);
    return link->wedged;
}

static int br_link_rx_ring(struct br_port *port, struct br_pool *pool, struct br_frame *frame, uint32_t cap)
{
    struct br_port_link *link = br_link(port);
    uint32_t n_bytes = 0;
    uint32_t n = 0;

    br_link_release(link);
    for (; n < cap && n_bytes < BR_PORT_BURST_BYTES; n++, link->taken++) {
        struct tpacket2_hdr *slot = br_link_slot(link, link->taken);
        const uint32_t status = __atomic_load_n(&slot->tp_status, __ATOMIC_ACQUIRE);

        if (!(status & TP_STATUS_USER))
            break;
        br_link_take(port, pool, slot, status, &frame[n]);
        n_bytes += br_burst_weight(slot->tp_len, &frame[n].vnet);
    }
    port->more = n_bytes >= BR_PORT_BURST_BYTES;
    if (n == 0 && (port->ready || link->taken - link->taken_seen > link->slot_mask / 2) && br_link_is_wedged(link))
        return -ESTALE;
    return (int)n;
}

/* The tag that the kernel took out, from the control message of a frame. */
static void br_link_take_tag(struct msghdr *message, struct br_frame *frame)
{
    for (struct cmsghdr *control = CMSG_FIRSTHDR(message); control; control = CMSG_NXTHDR(message, control)) {
        struct tpacket_auxdata about;

        if (control->cmsg_level != SOL_PACKET || control->cmsg_type != PACKET_AUXDATA)
            continue;
        memcpy(&about, CMSG_DATA(control), sizeof(about));
        if (!(about.tp_status & TP_STATUS_VLAN_VALID))
            continue;
        frame->flags |= BR_FRAME_TAG_BESIDE;
        frame->tci = about.tp_vlan_tci;
        frame->tpid = about.tp_status & TP_STATUS_VLAN_TPID_VALID ? about.tp_vlan_tpid : BR_TPID_8021Q;
    }
}

/* One frame of the socket without a ring; 0 or errno. */
static int br_link_read(int fd, uint8_t *at, struct br_frame *frame)
{
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
    struct iovec piece = {.iov_base = at + BR_READ_AT, .iov_len = BR_READ_LEN};
    struct msghdr message = {
        .msg_iov = &piece, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    const ssize_t len = recvmsg(fd, &message, MSG_DONTWAIT);

    if (len < 0)
        return errno;
    *frame = br_read_frame(at, len);
    if (message.msg_flags & MSG_TRUNC)
        frame->flags |= BR_FRAME_TRUNCATED;
    br_link_take_tag(&message, frame);
    return 0;
}

/* A burst of a socket without a ring; `weight` is that of its bytes. */
static uint32_t br_link_rx_fd(struct br_port *port, int fd, struct br_frame *frame, uint32_t cap, uint32_t *weight)
{
    const struct br_read_buffer *buffer = &br_link(port)->buffer;
    uint8_t *at = buffer->bytes;
    uint32_t n_bytes = 0;
    uint32_t n = 0;

    for (uint32_t n_reads = 0; n_reads < cap && n_reads < buffer->burst && n_bytes < BR_PORT_BURST_BYTES; n_reads++) {
        const int error = br_link_read(fd, at, &frame[n]);

        if (error == EINVAL) { /* packet_rcv_vnet: its kind has no number */
            port->counters.misses[BR_MISS_refused]++;
            continue;
        }
        if (error) /* ENETDOWN: the device will be back, or netlink says that it is gone */
            break;
        n_bytes += br_burst_weight(frame[n].len, &frame[n].vnet);
        at += br_read_room(frame[n].len);
        n++;
    }
    *weight = n_bytes;
    return n;
}

static int br_link_rx_plain(struct br_port *port, struct br_pool *pool, struct br_frame *frame, uint32_t cap)
{
    uint32_t n_bytes;
    const uint32_t n = br_link_rx_fd(port, port->fd, frame, cap, &n_bytes);
    (void)pool;

    port->more = n_bytes >= BR_PORT_BURST_BYTES;
    return (int)n;
}

static int br_link_rx_lane(struct br_port *port, struct br_pool *pool, struct br_frame *frame, uint32_t cap)
{
    uint32_t n_bytes;
    (void)pool;

    return (int)br_link_rx_fd(port, port->lane_fd, frame, cap, &n_bytes);
}

static void br_link_message(struct br_port_link *link, uint32_t i, const struct br_frame *frame)
{
    struct iovec *piece = link->piece[i];
    const int n = br_port_pieces(piece, link->vnet[i], frame);

    link->message[i].msg_hdr.msg_iov = piece;
    link->message[i].msg_hdr.msg_iovlen = (size_t)n;
}

/* A heartbeat that was refused for want of room, by the socket with room of its own. */
static bool br_link_reserve(struct br_port_link *link, uint32_t i, const struct br_frame *frame, int error)
{
    if ((error != EAGAIN && error != ENOBUFS) || !br_class_is_beat((enum br_class)frame->class))
        return false;
    return sendmsg(link->port.lane_fd, &link->message[i].msg_hdr, MSG_DONTWAIT) >= 0;
}

static uint32_t br_link_tx(struct br_port *port, struct br_frame *const *frame, uint32_t n)
{
    struct br_port_link *link = br_link(port);
    uint32_t n_sent = 0;

    for (uint32_t i = 0; i < n; i++)
        br_link_message(link, i, frame[i]);
    for (uint32_t i = 0; i < n;) {
        const int done = sendmmsg(link->tx_fd, &link->message[i], n - i, MSG_DONTWAIT);

        if (done <= 0) { /* the first of the rest was refused: it is dropped, the others get their chance */
            const int error = errno;

            if (error == EINTR)
                continue;
            if (br_link_reserve(link, i, frame[i], error)) {
                br_port_sent(port, &frame[i], 1);
                n_sent++;
            } else {
                br_port_refuse(port, frame[i], br_port_tx_reason(error));
            }
            i++;
            continue;
        }
        br_port_sent(port, &frame[i], (uint32_t)done);
        i += (uint32_t)done;
        n_sent += (uint32_t)done;
    }
    return n_sent;
}

/* After EPOLLERR: reading SO_ERROR clears it. A device that is only down comes back by itself; one that is gone left
 * -1. */
static int br_link_failure(struct br_port *port)
{
    struct sockaddr_ll address = {0};
    socklen_t address_len = sizeof(address);
    int error = 0;
    socklen_t error_len = sizeof(error);

    getsockopt(port->fd, SOL_SOCKET, SO_ERROR, &error, &error_len);
    if (getsockname(port->fd, (struct sockaddr *)&address, &address_len) < 0 || address.sll_ifindex <= 0)
        return error ? -error : -ENETDOWN;
    return 0;
}

static void br_link_close(struct br_port *port)
{
    struct br_port_link *link = br_link(port);

    const int fds[] = {link->tx_fd, link->plain_fd, link->port.lane_fd, link->ring_fd};

    if (link->ring)
        munmap(link->ring, (size_t)(link->slot_mask + 1) * BR_LINK_SLOT_LEN);
    br_read_buffer_close(&link->buffer);
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(link);
}

static int br_link_bind(int fd, int ifindex, uint16_t protocol)
{
    const struct sockaddr_ll address = {
        .sll_family = AF_PACKET, .sll_protocol = htons(protocol), .sll_ifindex = ifindex};

    return bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
}

/*
 * The socket filter of the ring (classic BPF) is that of the other socket from now on; none is none. A program of the
 * offload cannot be read back; whoever put it on the ring put it on the other socket as well (br_link_spare).
 */
static int br_link_copy_filter(const struct br_port_link *link)
{
    struct sock_filter instruction[BPF_MAXINSNS];
    socklen_t n = BPF_MAXINSNS; /* both ways in instructions, not bytes; net/core/filter.c:sk_get_filter */

    if (getsockopt(link->ring_fd, SOL_SOCKET, SO_GET_FILTER, instruction, &n) < 0)
        return errno == EACCES ? 0 : -errno;
    if (n == 0)
        setsockopt(link->plain_fd, SOL_SOCKET, SO_DETACH_FILTER, &n, sizeof(n)); /* ENOENT: it has none either */
    const struct sock_fprog program = {.len = (unsigned short)n, .filter = instruction};
    return n && setsockopt(link->plain_fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ? -errno : 0;
}

/* A socket gets nothing. */
static int br_link_silence(int fd)
{
    struct sock_filter refuse = BPF_STMT(BPF_RET | BPF_K, 0);
    const struct sock_fprog program = {.len = 1, .filter = &refuse};

    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ? -errno : 0;
}

/* All frames of the fanout group go to the socket at a place. */
static void br_link_direct(const struct br_port_link *link, uint32_t place)
{
    struct sock_filter to = BPF_STMT(BPF_RET | BPF_K, place);
    const struct sock_fprog program = {.len = 1, .filter = &to};

    setsockopt(link->ring_fd, SOL_PACKET, PACKET_FANOUT_DATA, &program, sizeof(program));
}

/* From the wedged ring to the socket that stands by, which joins the ring's group, if that is of one: until the control
 * thread directs heartbeats to the lane again, they go with all the others. */
static int br_link_bind_plain(struct br_port_link *link)
{
    uint32_t group = 0;
    socklen_t len = sizeof(group);

    getsockopt(link->ring_fd, SOL_PACKET, PACKET_FANOUT, &group, &len); /* number, type and flags, as it is set; 0: none */
    if (group)
        br_link_direct(link, 0);
    const int error = br_link_bind(link->plain_fd, link->ifindex, ETH_P_ALL);
    if (!error && group && setsockopt(link->plain_fd, SOL_PACKET, PACKET_FANOUT, &group, sizeof(group)) == 0)
        br_link_direct(link, BR_LINK_AT_PLAIN);
    return error;
}

/* The socket that stands by. */
static int br_link_spare(struct br_port *port)
{
    return br_link(port)->plain_fd;
}

static const struct br_port_ops br_link_plain_ops;

static int br_link_place(struct br_port *port, struct br_port_place *place)
{
    const struct br_port_link *link = br_link(port);

    *place = (struct br_port_place){
        .fd = {link->ring_fd, link->plain_fd, link->tx_fd, link->port.lane_fd},
        .n_fds = BR_PORT_FDS,
        .slots = link->slot_mask + 1,
        .taken = link->taken,
        .released = link->released,
        .taken_seen = link->taken_seen,
        .wedged = port->ops == &br_link_plain_ops,
        .missed_seen = link->missed_seen,
    };
    return 0;
}

/* Receiving goes by the socket that stood by. */
static void br_link_go_plain(struct br_port_link *link)
{
    link->port.ops = &br_link_plain_ops;
    link->port.fd = link->plain_fd;
    link->port.polled = false;
    link->port.edge = false;
    link->port.holds = BR_LINK_PLAIN_HOLDS;
}

static int br_link_resume(struct br_port *port, const struct br_port_place *place)
{
    struct br_port_link *link = br_link(port);

    if (place->slots != link->slot_mask + 1)
        return -EINVAL;
    link->taken = place->taken;
    link->released = place->released;
    link->taken_seen = place->taken_seen;
    link->missed_seen = place->missed_seen;
    link->wedged = place->wedged;
    if (place->wedged)
        br_link_go_plain(link);
    return 0;
}

/* From the wedged ring to the socket that stands by. */
static int br_link_renew(struct br_port *port)
{
    struct br_port_link *link = br_link(port);
    int error = br_link_copy_filter(link);

    if (!error)
        error = br_link_bind_plain(link);
    if (error)
        return error;
    br_link_silence(link->ring_fd); /* closing it would wait for all CPUs (synchronize_net) */
    br_link_missed(port);
    port->counters.misses[BR_MISS_ring_full]--; /* the one that was refused */
    port->counters.misses[BR_MISS_refused]++;
    br_link_go_plain(link);
    return 0;
}

static const struct br_port_ops br_link_ops = {
    .rx = br_link_rx_ring,
    .rx_lane = br_link_rx_lane,
    .tx = br_link_tx,
    .renew = br_link_renew,
    .spare = br_link_spare,
    .missed = br_link_missed,
    .failure = br_link_failure,
    .place = br_link_place,
    .resume = br_link_resume,
    .close = br_link_close,
    .kind = "link",
};

static const struct br_port_ops br_link_plain_ops = {
    .rx = br_link_rx_plain,
    .rx_lane = br_link_rx_lane,
    .tx = br_link_tx,
    .missed = br_link_missed,
    .failure = br_link_failure,
    .place = br_link_place,
    .resume = br_link_resume,
    .close = br_link_close,
    .kind = "link",
};

static int br_link_set(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

static int br_link_open_ring(struct br_port_link *link, uint32_t slots)
{
    const int fd = link->port.fd;
    struct tpacket_req request = {.tp_block_size = BR_LINK_BLOCK_LEN, .tp_frame_size = BR_LINK_SLOT_LEN};
    int error = br_link_set(fd, SOL_PACKET, PACKET_VERSION, TPACKET_V2);

    request.tp_frame_nr = BR_LINK_BLOCK_LEN / BR_LINK_SLOT_LEN;
    while (request.tp_frame_nr < slots)
        request.tp_frame_nr *= 2;
    request.tp_block_nr = request.tp_frame_nr / (BR_LINK_BLOCK_LEN / BR_LINK_SLOT_LEN);
    if (!error)
        error = br_link_set(fd, SOL_PACKET, PACKET_COPY_THRESH, 1);
    if (!error && setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &request, sizeof(request)) < 0)
        error = -errno;
    if (error)
        return error;
    link->slot_mask = request.tp_frame_nr - 1;
    link->port.holds = request.tp_frame_nr;
    void *ring = mmap(NULL, (size_t)request.tp_frame_nr * BR_LINK_SLOT_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (ring == MAP_FAILED)
        return -errno;
    link->ring = ring;
    br_link_slot(link, link->released)->tp_status = TP_STATUS_USER; /* as if it had been taken */
    return 0;
}

static int br_link_open_rx(struct br_port_link *link, uint32_t slots)
{
    const struct packet_mreq promiscuous = {.mr_ifindex = link->ifindex, .mr_type = PACKET_MR_PROMISC};
    const int fd = link->ring_fd;
    int error = br_link_set(fd, SOL_PACKET, PACKET_VNET_HDR, 1);

    if (!error)
        error = br_link_open_ring(link, slots);
    if (!error)
        error = br_link_set(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
    if (!error && setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof(promiscuous)) < 0)
        error = -errno;
    if (!error)
        error = br_link_bind(fd, link->ifindex, ETH_P_ALL);
    br_link_set(fd, SOL_SOCKET, SO_RCVBUFFORCE, BR_LINK_RCVBUF); /* best effort: needs CAP_NET_ADMIN */
    return error;
}

/* A socket without a ring, all but bound. */
static int br_link_open_plain(int fd, int rcvbuf)
{
    const int option[] = {PACKET_VNET_HDR, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING};
    int error = 0;

    for (size_t i = 0; i < sizeof(option) / sizeof(option[0]) && !error; i++)
        error = br_link_set(fd, SOL_PACKET, option[i], 1);
    br_link_set(fd, SOL_SOCKET, SO_RCVBUFFORCE, rcvbuf);
    return error;
}

/* It gets nothing before it is of a fanout group and its filter is lifted. */
static int br_link_open_lane(struct br_port_link *link)
{
    const int fd = link->port.lane_fd;
    int error = br_link_open_plain(fd, BR_LINK_LANE_RCVBUF);

    br_link_set(fd, SOL_SOCKET, SO_PRIORITY, BR_LINK_LANE_PRIORITY);
    if (!error)
        error = br_link_silence(fd);
    return error ? error : br_link_bind(fd, link->ifindex, ETH_P_ALL);
}

/* Protocol 0: it receives nothing. */
static int br_link_open_tx(struct br_port_link *link)
{
    int error = br_link_set(link->tx_fd, SOL_PACKET, PACKET_VNET_HDR, 1);

    if (!error)
        error = br_link_bind(link->tx_fd, link->ifindex, 0);
    br_link_set(link->tx_fd, SOL_SOCKET, SO_SNDBUFFORCE, BR_LINK_SNDBUF);
    return error;
}

static int br_link_socket(void)
{
    return socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

static int br_link_open(struct br_port_link *link, uint32_t slots)
{
    int *const fds[] = {&link->ring_fd, &link->port.lane_fd, &link->plain_fd, &link->tx_fd}; /* in this order */
    int error = br_read_buffer_open(&link->buffer, BR_BURST_MAX);

    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]) && !error; i++)
        if ((*fds[i] = br_link_socket()) < 0)
            error = -errno;
    link->port.fd = link->ring_fd;
    if (!error)
        error = br_link_open_plain(link->plain_fd, BR_LINK_PLAIN_RCVBUF);
    if (!error)
        error = br_link_open_rx(link, slots);
    if (!error)
        error = br_link_open_lane(link);
    return error ? error : br_link_open_tx(link);
}

static struct br_port_link *br_link_make(int ifindex)
{
    struct br_port_link *link = aligned_alloc(64, sizeof(*link));

    if (!link)
        return NULL;
    memset(link, 0, sizeof(*link));
    link->port.ops = &br_link_ops;
    link->port.vnet = true;
    link->port.uso = br_port_takes_uso();
    link->port.polled = true;
    link->port.edge = true;
    link->ifindex = ifindex;
    link->released = UINT32_MAX; /* one behind `taken` */
    link->ring_fd = link->port.lane_fd = link->plain_fd = link->tx_fd = link->port.fd = -1;
    return link;
}

int br_port_open_link(struct br_port **port, const char *device, uint32_t slots)
{
    const unsigned int ifindex = if_nametoindex(device);

    if (!ifindex)
        return -errno;
    struct br_port_link *link = br_link_make((int)ifindex);
    if (!link)
        return -ENOMEM;
    const int error = br_link_open(link, slots);
    if (error) {
        br_link_close(&link->port);
        return error;
    }
    *port = &link->port;
    return 0;
}

/* What a packet socket of ours is bound to: an ifindex, 0: nothing (it stands by), -EBADF: it is no such socket. */
static int br_link_bound_to(int fd)
{
    struct sockaddr_ll address = {0};
    socklen_t address_len = sizeof(address);
    int type = 0;
    int has_vnet = 0;
    socklen_t len = sizeof(type);

    if (getsockname(fd, (struct sockaddr *)&address, &address_len) < 0 || address.sll_family != AF_PACKET ||
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_RAW ||
        getsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &has_vnet, &len) < 0 || !has_vnet || address.sll_ifindex < 0)
        return -EBADF;
    return address.sll_ifindex;
}

static bool br_link_has_ring(int fd)
{
    int version = 0;
    socklen_t len = sizeof(version);

    return getsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, &len) == 0 && version == TPACKET_V2;
}

int br_port_adopt_link(struct br_port **port, const struct br_port_place *place)
{
    const int ifindex = br_link_bound_to(place->fd[2]);
    const int plain = br_link_bound_to(place->fd[1]);

    if (ifindex <= 0 || br_link_bound_to(place->fd[0]) != ifindex || br_link_bound_to(place->fd[3]) != ifindex ||
        (plain != 0 && plain != ifindex) ||
        !br_link_has_ring(place->fd[0]) || place->slots < 1 || place->slots & (place->slots - 1))
        return -EBADF;
    struct br_port_link *link = br_link_make(ifindex);
    if (!link)
        return -ENOMEM;
    link->slot_mask = place->slots - 1;
    link->port.holds = place->slots;
    /* The kernel takes no other length than the ring has. */
    void *ring = mmap(NULL, (size_t)place->slots * BR_LINK_SLOT_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, place->fd[0], 0);
    link->ring = ring == MAP_FAILED ? NULL : ring;
    if (!link->ring || br_read_buffer_open(&link->buffer, BR_BURST_MAX)) {
        const int error = link->ring ? -ENOMEM : -EBADF;

        br_link_close(&link->port);
        return error;
    }
    link->ring_fd = link->port.fd = place->fd[0];
    link->plain_fd = place->fd[1];
    link->tx_fd = place->fd[2];
    link->port.lane_fd = place->fd[3];
    *port = &link->port;
    return 0;
}
