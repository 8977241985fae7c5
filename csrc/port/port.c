/* port/port.c - what the port kinds that talk to the kernel share; see port/port.h. */
#include "port/port.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/utsname.h>

#include "frame/vnet.h"

/* What a frame takes of a buffer beside its bytes, at most. */
enum { BR_READ_SPARE = BR_HEADROOM + BR_FRAME_ROOM + BR_READ_LINE };

/* VIRTIO_NET_HDR_GSO_UDP_L4 came with Linux 6.2 (include/linux/virtio_net.h); before, it is EINVAL. */
bool br_port_takes_uso(void)
{
    struct utsname kernel;
    unsigned int major = 0;
    unsigned int minor = 0;

    if (uname(&kernel) < 0 || sscanf(kernel.release, "%u.%u", &major, &minor) != 2)
        return false;
    return major > 6 || (major == 6 && minor >= 2);
}

enum br_drop br_port_tx_reason(int error)
{
    switch (error) {
    case EAGAIN:
    case ENOBUFS:
        return BR_DROP_tx_full;
    case EMSGSIZE:
        return BR_DROP_oversize;
    case EIO: /* a tap whose interface is down, drivers/net/tun.c:tun_get_user */
    case EBADFD:
    case ENETDOWN:
    case ENXIO:
        return BR_DROP_port_down;
    default:
        return BR_DROP_tx_error;
    }
}

const struct br_port_counters *br_port_read(struct br_port *port)
{
    struct br_port_counters *counters = &port->counters;

    if (port->ops->missed)
        port->ops->missed(port);
    counters->rx_refused = counters->misses[BR_MISS_refused];
    counters->rx_missed = counters->misses[BR_MISS_ring_full] + counters->misses[BR_MISS_tap_full] +
                          counters->misses[BR_MISS_lane_full];
    return counters;
}

int br_port_pieces(struct iovec piece[BR_PORT_PIECES], uint8_t *vnet, const struct br_frame *frame)
{
    int n = 0;

    if (BR_LIKELY(frame->headroom >= BR_VNET_HLEN)) {
        br_vnet_write(frame->data - BR_VNET_HLEN, &frame->vnet);
        piece[n++] = (struct iovec){frame->data - BR_VNET_HLEN, frame->len + BR_VNET_HLEN};
    } else {
        br_vnet_write(vnet, &frame->vnet);
        piece[n++] = (struct iovec){vnet, BR_VNET_HLEN};
        piece[n++] = (struct iovec){frame->data, frame->len};
    }
    if (frame->tail_len)
        piece[n++] = (struct iovec){frame->tail, frame->tail_len};
    return n;
}

int br_read_buffer_open(struct br_read_buffer *buffer, uint32_t burst)
{
    const size_t len = (size_t)burst * BR_READ_SPARE + BR_PORT_BURST_BYTES + BR_READ_LEN;
    void *bytes = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (bytes == MAP_FAILED)
        return -errno;
    *buffer = (struct br_read_buffer){.bytes = bytes, .len = len, .burst = burst};
    return 0;
}

void br_read_buffer_close(struct br_read_buffer *buffer)
{
    if (buffer->bytes)
        munmap(buffer->bytes, buffer->len);
}

int br_port_place(struct br_port *port, struct br_port_place *place)
{
    return port->ops->place ? port->ops->place(port, place) : -EOPNOTSUPP;
}

int br_port_resume(struct br_port *port, const struct br_port_place *place)
{
    return port->ops->resume ? port->ops->resume(port, place) : -EOPNOTSUPP;
}
