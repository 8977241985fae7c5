/* port/port.c - what the port kinds that talk to the kernel share; see port/port.h. */
#include "port/port.h"

#include <errno.h>

#include "frame/vnet.h"

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

int br_port_pieces(struct iovec piece[BR_PORT_PIECES], uint8_t *vnet, const struct br_frame *frame)
{
    int n = 0;

    if (BR_LIKELY(frame->headroom >= BR_VNET_HLEN)) {
        br_vnet_write(frame->data - BR_VNET_HLEN, &frame->offload);
        piece[n++] = (struct iovec){frame->data - BR_VNET_HLEN, frame->len + BR_VNET_HLEN};
    } else {
        br_vnet_write(vnet, &frame->offload);
        piece[n++] = (struct iovec){vnet, BR_VNET_HLEN};
        piece[n++] = (struct iovec){frame->data, frame->len};
    }
    if (frame->tail_len)
        piece[n++] = (struct iovec){frame->tail, frame->tail_len};
    return n;
}
