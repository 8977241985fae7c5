/*
 * port/tap.c - a port that owns one queue of a tap device (Documentation/networking/tuntap.rst).
 *
 * rx: one read per frame, each with room for the longest super-frame, packed one behind the other: a burst of small
 *      frames lies in two pages, not in 64, which saves 3 to 7 % of all cycles of a small frame. Only the pages that
 *      are used become resident. (readv into a small head and a shared tail costs a tenth more per small frame: 2850
 *      against 2590 cycles.) Tags stay inline. tx: one write per frame, its vnet header in the headroom in front of it.
 *      There is no system call for several frames of a tap.
 * Offloads: the kernel may hand us partial checksums and super-frames (TUNSETOFFLOAD), and takes both back.
 * Facts: tests/platform/.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "frame/vnet.h"
#include "port/port.h"

#ifndef TUN_F_USO4 /* Linux 6.2 */
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

enum { BR_TAP_HOLDS = 4096 }; /* frames: the queue of the device and what a qdisc keeps in front, by default 500 to 1000 each */

struct br_port_tap {
    struct br_port port;
    struct br_read_buffer buffer;
};

static struct br_port_tap *br_tap(struct br_port *port)
{
    return (struct br_port_tap *)port;
}

static int br_tap_rx(struct br_port *port, struct br_pool *pool, struct br_frame *frame, uint32_t cap)
{
    const struct br_read_buffer *buffer = &br_tap(port)->buffer;
    uint8_t *at = buffer->bytes;
    uint32_t n_bytes = 0;
    uint32_t n = 0;
    (void)pool;

    for (uint32_t n_reads = 0; n_reads < cap && n_reads < buffer->burst && n_bytes < BR_PORT_BURST_BYTES; n_reads++) {
        const ssize_t len = read(port->fd, at + BR_READ_AT, BR_READ_LEN);

        if (len < 0 && errno == EINVAL) { /* tun_put_user: a super-frame whose kind has no number; the next may do */
            port->counters.misses[BR_MISS_refused]++;
            continue;
        }
        if (len < 0 && n == 0 && errno != EAGAIN && errno != EINTR)
            return -errno;
        if (len < 0)
            break;
        frame[n] = br_read_frame(at, len);
        n_bytes += br_burst_weight(frame[n].len, &frame[n].vnet);
        at += br_read_room(frame[n].len);
        n++;
    }
    port->more = n_bytes >= BR_PORT_BURST_BYTES;
    return (int)n;
}

/* 0 or errno. */
static int br_tap_write(const struct br_port *port, const struct br_frame *frame)
{
    uint8_t vnet[BR_VNET_HLEN];
    struct iovec piece[BR_PORT_PIECES];
    const int n = br_port_pieces(piece, vnet, frame);
    const ssize_t len = n == 1 ? write(port->fd, piece[0].iov_base, piece[0].iov_len) : writev(port->fd, piece, n);
    return len < 0 ? errno : 0;
}

static uint32_t br_tap_tx(struct br_port *port, struct br_frame *const *frame, uint32_t n)
{
    uint32_t sent = 0;

    for (uint32_t i = 0; i < n; i++) {
        const int error = br_tap_write(port, frame[i]);

        if (error) {
            br_port_refuse(port, frame[i], br_port_tx_reason(error));
            continue;
        }
        br_port_sent(port, &frame[i], 1);
        sent++;
    }
    return sent;
}

/* After EPOLLERR: the device is gone (tun_chr_poll). */
static int br_tap_failure(struct br_port *port)
{
    (void)port;
    return -EBADFD;
}

static void br_tap_close(struct br_port *port)
{
    if (port->fd >= 0)
        close(port->fd);
    br_read_buffer_close(&br_tap(port)->buffer);
    free(port);
}

static int br_tap_place(struct br_port *port, struct br_port_place *place)
{
    *place = (struct br_port_place){.fd = {port->fd, -1, -1}, .n_fds = 1};
    return 0;
}

/* The kernel keeps all there is to know: the queue of the device. */
static int br_tap_resume(struct br_port *port, const struct br_port_place *place)
{
    (void)port;
    return place->slots ? -EINVAL : 0;
}

static const struct br_port_ops br_tap_ops = {
    .rx = br_tap_rx,
    .tx = br_tap_tx,
    .failure = br_tap_failure,
    .place = br_tap_place,
    .resume = br_tap_resume,
    .close = br_tap_close,
    .kind = "tap",
};

/* What the kernel may leave to us, best first: USO came with Linux 6.2. */
static int br_tap_set_vnet(int fd)
{
    const unsigned int tso = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;

    if (ioctl(fd, TUNSETOFFLOAD, tso | TUN_F_USO4 | TUN_F_USO6) == 0)
        return 0;
    return ioctl(fd, TUNSETOFFLOAD, tso) < 0 ? -errno : 0;
}

static int br_tap_attach(int fd, const char *device)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    const int vnet_len = BR_VNET_HLEN;
    const int sndbuf = INT_MAX; /* a write must not wait for the guest to take earlier frames */

    strncpy(request.ifr_name, device, IFNAMSIZ - 1);
    if (ioctl(fd, TUNSETIFF, &request) < 0 || ioctl(fd, TUNSETVNETHDRSZ, &vnet_len) < 0 ||
        ioctl(fd, TUNSETSNDBUF, &sndbuf) < 0)
        return -errno;
    return br_tap_set_vnet(fd);
}

static struct br_port_tap *br_tap_make(uint32_t burst)
{
    struct br_port_tap *tap = aligned_alloc(64, sizeof(*tap));

    if (!tap)
        return NULL;
    memset(tap, 0, sizeof(*tap));
    tap->port.ops = &br_tap_ops;
    tap->port.vnet = true;
    tap->port.uso = br_port_takes_uso();
    tap->port.holds = BR_TAP_HOLDS;
    tap->port.fd = -1;
    if (br_read_buffer_open(&tap->buffer, burst) == 0)
        return tap;
    br_tap_close(&tap->port);
    return NULL;
}

int br_port_open_tap(struct br_port **port, const char *device, uint32_t burst)
{
    struct br_port_tap *tap = br_tap_make(burst);

    if (!tap)
        return -ENOMEM;
    tap->port.fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    const int error = tap->port.fd < 0 ? -errno : br_tap_attach(tap->port.fd, device);
    if (error) {
        br_tap_close(&tap->port);
        return error;
    }
    *port = &tap->port;
    return 0;
}

/* Whether a descriptor is a tap's as br_tap_attach leaves it. */
static bool br_tap_is_ours(int fd)
{
    struct ifreq request = {0};
    int vnet_len = 0;
    const short flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;

    return ioctl(fd, TUNGETIFF, &request) == 0 && (request.ifr_flags & flags) == flags &&
           ioctl(fd, TUNGETVNETHDRSZ, &vnet_len) == 0 && vnet_len == BR_VNET_HLEN &&
           fcntl(fd, F_GETFL) & O_NONBLOCK;
}

int br_port_adopt_tap(struct br_port **port, int fd, uint32_t burst)
{
    if (!br_tap_is_ours(fd))
        return -EBADF;
    struct br_port_tap *tap = br_tap_make(burst);
    if (!tap)
        return -ENOMEM;
    tap->port.fd = fd;
    *port = &tap->port;
    return 0;
}
