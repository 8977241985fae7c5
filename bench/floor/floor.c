/*
 * floor.c - the bare loop: what moving frames between two ports costs when nobody bridges them.
 *
 *      floor [--delay-us N] PORT PORT        PORT: tap:NAME (made here) or link:NAME (packet socket on a device)
 *
 * Job: the lower bound that any bridge in userspace with the same ports is compared with: read() from a tap and sendmmsg() to
 *      a packet socket; a TPACKET_V2 ring and write() to a tap. No FDB, no VLANs, no counters. Super-frames cross with their
 *      virtio header, since both kinds of port speak it. One thread; ends on SIGTERM or SIGINT.
 * With --delay-us every frame from a link is held until N microseconds after the kernel received it: a delay that is known,
 *      for checking latency measurements. One frame at a time then, spinning.
 * Refuses nothing and counts nothing: what an egress port does not take is gone.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    FL_BURST = 64,
    FL_BUFFER_LEN = 65536 + 4096 + 192, /* no power of two: buffers shall not share cache sets */
    FL_SLOT_LEN = 2048,
    FL_SLOTS = 2048,
    FL_BLOCK_LEN = 1 << 16,
    FL_SOCKET_BUFFER = 16 << 20,
    FL_VNET_LEN = sizeof(struct virtio_net_hdr),
};

struct fl_port {
    int fd;
    bool is_link;
    uint8_t *ring; /* links only */
    uint32_t slot;
};

struct fl_loop {
    struct fl_port ports[2];
    int signal_fd;
    uint64_t delay_ns;
    struct mmsghdr messages[FL_BURST];
    struct iovec vectors[FL_BURST];
    uint8_t *buffers;
};

static uint8_t *fl_buffer(const struct fl_loop *loop, uint32_t i)
{
    return loop->buffers + (size_t)i * FL_BUFFER_LEN;
}

/* -- out */

static void fl_send(struct fl_loop *loop, struct fl_port *to, uint32_t n)
{
    if (!to->is_link) {
        for (uint32_t i = 0; i < n; i++)
            if (write(to->fd, loop->vectors[i].iov_base, loop->vectors[i].iov_len) < 0)
                continue; /* gone */
        return;
    }
    for (uint32_t done = 0; done < n;) {
        const int taken = sendmmsg(to->fd, loop->messages + done, n - done, MSG_DONTWAIT);
        done += taken > 0 ? (uint32_t)taken : 1;
    }
}

/* -- in */

static void fl_hold(const struct fl_loop *loop, const struct tpacket2_hdr *header)
{
    const uint64_t until = (uint64_t)header->tp_sec * 1000000000u + header->tp_nsec + loop->delay_ns;
    struct timespec now;

    do
        clock_gettime(CLOCK_REALTIME, &now);
    while (loop->delay_ns && (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec < until);
}

/* Read a burst from a tap, hand it on. Returns how many there were. */
static uint32_t fl_from_tap(struct fl_loop *loop, struct fl_port *from, struct fl_port *to)
{
    uint32_t n = 0;

    for (; n < FL_BURST; n++) {
        const ssize_t len = read(from->fd, fl_buffer(loop, n), FL_BUFFER_LEN);
        if (len <= 0)
            break;
        loop->vectors[n] = (struct iovec){.iov_base = fl_buffer(loop, n), .iov_len = (size_t)len};
    }
    fl_send(loop, to, n);
    return n;
}

/* A burst from the ring. The kernel puts the virtio header right before the frame (net/packet/af_packet.c:tpacket_rcv). */
static uint32_t fl_from_link(struct fl_loop *loop, struct fl_port *from, struct fl_port *to)
{
    const uint32_t first = from->slot, burst = loop->delay_ns ? 1 : FL_BURST;
    uint32_t n = 0;

    for (; n < burst; n++) {
        struct tpacket2_hdr *header = (void *)(from->ring + (size_t)((first + n) % FL_SLOTS) * FL_SLOT_LEN);
        const uint32_t status = __atomic_load_n(&header->tp_status, __ATOMIC_ACQUIRE);
        if (!(status & TP_STATUS_USER))
            break;
        if (status & TP_STATUS_COPY) { /* too large for a slot: it waits in the socket's queue */
            const ssize_t len = recv(from->fd, fl_buffer(loop, n), FL_BUFFER_LEN, MSG_DONTWAIT);
            loop->vectors[n] = (struct iovec){.iov_base = fl_buffer(loop, n), .iov_len = len > 0 ? (size_t)len : 0};
        } else {
            loop->vectors[n] = (struct iovec){.iov_base = (uint8_t *)header + header->tp_mac - FL_VNET_LEN,
                                              .iov_len = header->tp_snaplen + FL_VNET_LEN};
        }
        if (loop->delay_ns)
            fl_hold(loop, header);
    }
    fl_send(loop, to, n);
    for (uint32_t i = 0; i < n; i++) {
        struct tpacket2_hdr *header = (void *)(from->ring + (size_t)((first + i) % FL_SLOTS) * FL_SLOT_LEN);
        __atomic_store_n(&header->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
    }
    from->slot = (first + n) % FL_SLOTS;
    return n;
}

static uint32_t fl_move(struct fl_loop *loop, uint32_t from, uint32_t to)
{
    return (loop->ports[from].is_link ? fl_from_link : fl_from_tap)(loop, &loop->ports[from], &loop->ports[to]);
}

static void fl_run(struct fl_loop *loop)
{
    struct pollfd fds[3] = {{.fd = loop->ports[0].fd, .events = POLLIN},
                            {.fd = loop->ports[1].fd, .events = POLLIN},
                            {.fd = loop->signal_fd, .events = POLLIN}};

    for (;;) {
        const uint32_t n = fl_move(loop, 0, 1) + fl_move(loop, 1, 0);
        poll(fds, 3, n ? 0 : -1);
        if (fds[2].revents)
            return;
    }
}

/* -- ports */

static int fl_open_tap(struct fl_port *port, const char *device)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    const int header_len = FL_VNET_LEN;

    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", device);
    port->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    return port->fd < 0 || ioctl(port->fd, TUNSETIFF, &request) < 0 || ioctl(port->fd, TUNSETVNETHDRSZ, &header_len) < 0 ||
                   ioctl(port->fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) < 0
               ? -1
               : 0;
}

static int fl_set(int fd, int option, int value)
{
    return setsockopt(fd, SOL_PACKET, option, &value, sizeof(value));
}

static int fl_open_link(struct fl_port *port, const char *device)
{
    const struct tpacket_req request = {.tp_block_size = FL_BLOCK_LEN, .tp_frame_size = FL_SLOT_LEN, .tp_frame_nr = FL_SLOTS,
                                        .tp_block_nr = FL_SLOTS / (FL_BLOCK_LEN / FL_SLOT_LEN)};
    const int ifindex = (int)if_nametoindex(device), buffer = FL_SOCKET_BUFFER;
    const struct packet_mreq promiscuous = {.mr_ifindex = ifindex, .mr_type = PACKET_MR_PROMISC};
    const struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = ifindex};

    port->is_link = true;
    port->fd = ifindex ? socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) : -1;
    if (port->fd < 0 || fl_set(port->fd, PACKET_VERSION, TPACKET_V2) < 0 || fl_set(port->fd, PACKET_VNET_HDR, 1) < 0 ||
        fl_set(port->fd, PACKET_COPY_THRESH, 1) < 0 || fl_set(port->fd, PACKET_IGNORE_OUTGOING, 1) < 0 ||
        setsockopt(port->fd, SOL_PACKET, PACKET_RX_RING, &request, sizeof(request)) < 0)
        return -1;
    setsockopt(port->fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer));
    setsockopt(port->fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer));
    void *ring = mmap(NULL, (size_t)FL_SLOTS * FL_SLOT_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, port->fd, 0);
    if (ring == MAP_FAILED || setsockopt(port->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof(promiscuous)) < 0)
        return -1;
    port->ring = ring;
    return bind(port->fd, (const struct sockaddr *)&address, sizeof(address));
}

static int fl_open(struct fl_port *port, const char *name)
{
    if (!strncmp(name, "tap:", 4))
        return fl_open_tap(port, name + 4);
    if (!strncmp(name, "link:", 5))
        return fl_open_link(port, name + 5);
    errno = EINVAL;
    return -1;
}

static bool fl_prepare(struct fl_loop *loop)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    loop->signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
    loop->buffers = malloc((size_t)FL_BURST * FL_BUFFER_LEN);
    for (uint32_t i = 0; i < FL_BURST; i++) {
        loop->messages[i].msg_hdr.msg_iov = &loop->vectors[i];
        loop->messages[i].msg_hdr.msg_iovlen = 1;
    }
    return loop->signal_fd >= 0 && loop->buffers;
}

int main(int argc, char **argv)
{
    struct fl_loop *loop = calloc(1, sizeof(*loop));
    int at = 1;

    if (loop && argc > 2 && !strcmp(argv[1], "--delay-us")) {
        loop->delay_ns = strtoull(argv[2], NULL, 10) * 1000;
        at = 3;
    }
    if (!loop || argc != at + 2) {
        fputs("usage: floor [--delay-us N] tap:NAME|link:NAME tap:NAME|link:NAME\n", stderr);
        return 2;
    }
    for (int i = 0; i < 2; i++) {
        if (fl_open(&loop->ports[i], argv[at + i]) < 0) {
            fprintf(stderr, "floor: %s: %s\n", argv[at + i], strerror(errno));
            return 1;
        }
    }
    if (!fl_prepare(loop))
        return 1;
    puts("ready");
    fflush(stdout);
    fl_run(loop);
    free(loop->buffers);
    free(loop);
    return 0;
}
