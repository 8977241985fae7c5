/* port.c - what the port kinds that talk to the kernel share; see port.h. */
#include "port.h"

#include <errno.h>

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
