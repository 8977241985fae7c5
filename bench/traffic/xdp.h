/*
 * xdp.h - sending through an AF_XDP socket in copy mode: about a third cheaper per frame than sendmmsg() on a packet socket.
 *
 * Job: frames lie in chunks of shared memory (`umem`); pushing hands descriptors to the kernel, which copies each frame into
 *      a socket buffer of its own and gives it straight to the device. A chunk is free again as soon as push returns.
 * Thread: the sender's. One such socket per device queue: a second sender on the same device cannot have one.
 * Refuses: devices and kernels without AF_XDP, a queue that is taken. include/uapi/linux/if_xdp.h, net/xdp/xsk.c
 *      (xsk_generic_xmit), Documentation/networking/af_xdp.rst.
 */
#ifndef BT_XDP_H
#define BT_XDP_H

#include <stdint.h>

enum { BT_XDP_CHUNK_LEN = 2048 };

struct bt_xdp;

/* `fd` is an AF_XDP socket made in the device's namespace; it belongs to the result. Returns 0 or -errno. */
int bt_xdp_open(struct bt_xdp **xdp, int fd, int ifindex, uint32_t n_chunks);

uint8_t *bt_xdp_umem(const struct bt_xdp *xdp);

/* Send chunks first .. first + n - 1 with these lengths. Returns how many the device refused, or -errno. */
int bt_xdp_push(struct bt_xdp *xdp, uint32_t first, uint32_t n, const uint32_t *lens);

void bt_xdp_close(struct bt_xdp *xdp);

#endif
