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
 * Slots go back to the kernel at the next rx, which the loop makes before it sleeps.
 * Facts: tests/platform/.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

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
    BR_LINK_SAME_LEN = 64,     /* bytes by which a frame is recognised: addresses, IP and TCP numbers */
};

struct br_port_link {
    struct br_port port; /* its fd is the receiving socket */
    int tx_fd;
    uint8_t *ring;
    uint32_t slot_mask;
    uint32_t taken;    /* next slot to look at */
    uint32_t released; /* next slot to give back */
    uint64_t n_missed;
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

static void br_link_release(struct br_port_link *link)
{
    for (; link->released != link->taken; link->released++)
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
    frame->offload = br_vnet_read(data - BR_VNET_HLEN);
}

static int br_link_rx(struct br_port *port, struct br_pool *pool, struct br_frame *frame, uint32_t cap)
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
        n_bytes += slot->tp_len;
    }
    port->more = n_bytes >= BR_PORT_BURST_BYTES;
    return (int)n;
}

static void br_link_message(struct br_port_link *link, uint32_t i, const struct br_frame *frame)
{
    struct iovec *piece = link->piece[i];
    const int n = br_port_pieces(piece, link->vnet[i], frame);

    link->message[i].msg_hdr.msg_iov = piece;
    link->message[i].msg_hdr.msg_iovlen = (size_t)n;
}

static uint32_t br_link_tx(struct br_port *port, struct br_frame *const *frame, uint32_t n)
{
    struct br_port_link *link = br_link(port);
    uint32_t n_sent = 0;

    for (uint32_t i = 0; i < n; i++)
        br_link_message(link, i, frame[i]);
    for (uint32_t i = 0; i < n;) {
        const int done = sendmmsg(link->tx_fd, &link->message[i], n - i, MSG_DONTWAIT);

        if (done <= 0) { /* the first of the rest was refused: it ends here, the others get their chance */
            if (errno != EINTR) {
                br_port_refuse(port, frame[i], br_port_tx_reason(errno));
                i++;
            }
            continue;
        }
        br_port_sent(port, &frame[i], (uint32_t)done);
        i += (uint32_t)done;
        n_sent += (uint32_t)done;
    }
    return n_sent;
}

/* PACKET_STATISTICS clears as it reads. */
static uint64_t br_link_missed(struct br_port *port)
{
    struct tpacket_stats stats = {0};
    socklen_t len = sizeof(stats);

    if (getsockopt(port->fd, SOL_PACKET, PACKET_STATISTICS, &stats, &len) == 0)
        br_link(port)->n_missed += stats.tp_drops;
    return br_link(port)->n_missed;
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

    if (link->ring)
        munmap(link->ring, (size_t)(link->slot_mask + 1) * BR_LINK_SLOT_LEN);
    if (link->tx_fd >= 0)
        close(link->tx_fd);
    if (port->fd >= 0)
        close(port->fd);
    free(link);
}

static const struct br_port_ops br_link_ops = {
    .rx = br_link_rx,
    .tx = br_link_tx,
    .missed = br_link_missed,
    .failure = br_link_failure,
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
    void *ring = mmap(NULL, (size_t)request.tp_frame_nr * BR_LINK_SLOT_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (ring == MAP_FAILED)
        return -errno;
    link->ring = ring;
    return 0;
}

static int br_link_bind(int fd, int ifindex, uint16_t protocol)
{
    const struct sockaddr_ll address = {
        .sll_family = AF_PACKET, .sll_protocol = htons(protocol), .sll_ifindex = ifindex};

    return bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
}

static int br_link_open_rx(struct br_port_link *link, int ifindex, uint32_t slots)
{
    const struct packet_mreq promiscuous = {.mr_ifindex = ifindex, .mr_type = PACKET_MR_PROMISC};
    const int fd = link->port.fd;
    int error = br_link_set(fd, SOL_PACKET, PACKET_VNET_HDR, 1);

    if (!error)
        error = br_link_open_ring(link, slots);
    if (!error)
        error = br_link_set(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
    if (!error && setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof(promiscuous)) < 0)
        error = -errno;
    if (!error)
        error = br_link_bind(fd, ifindex, ETH_P_ALL);
    br_link_set(fd, SOL_SOCKET, SO_RCVBUFFORCE, BR_LINK_RCVBUF); /* best effort: needs CAP_NET_ADMIN */
    return error;
}

/* Protocol 0: it receives nothing. */
static int br_link_open_tx(struct br_port_link *link, int ifindex)
{
    int error = br_link_set(link->tx_fd, SOL_PACKET, PACKET_VNET_HDR, 1);

    if (!error)
        error = br_link_bind(link->tx_fd, ifindex, 0);
    br_link_set(link->tx_fd, SOL_SOCKET, SO_SNDBUFFORCE, BR_LINK_SNDBUF);
    return error;
}

int br_port_open_link(struct br_port **port, const char *device, uint32_t slots)
{
    const unsigned int ifindex = if_nametoindex(device);

    if (!ifindex)
        return -errno;
    struct br_port_link *link = aligned_alloc(64, sizeof(*link));
    if (!link)
        return -ENOMEM;
    memset(link, 0, sizeof(*link));
    link->port.ops = &br_link_ops;
    link->port.vnet = true;
    link->port.polled = true;
    link->port.fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    link->tx_fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int error = link->port.fd < 0 || link->tx_fd < 0 ? -errno : 0;
    if (!error)
        error = br_link_open_rx(link, (int)ifindex, slots);
    if (!error)
        error = br_link_open_tx(link, (int)ifindex);
    if (error) {
        br_link_close(&link->port);
        return error;
    }
    *port = &link->port;
    return 0;
}
