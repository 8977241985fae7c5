/*
 * gso.c - see gso.h.
 */
#include "gso.h"

#include "features.h"
#include "frame.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5 /* virtio 1.2 section 5.1.6 */
#endif

enum {
    BT_GSO_BUFFER_MAX = 65535 - BT_IP_LEN - BT_UDP_LEN, /* payload of one IPv4 packet */
    BT_GSO_HEADER_MAX = BT_ETH_HLEN + BT_TAG_LEN + BT_IP_LEN + BT_UDP_LEN,
    BT_UDP_CHECK_OFFSET = 6,
};

struct bt_gso {
    int fd;
    const char *device;
    struct bt_features features;
    uint8_t header[BT_GSO_HEADER_MAX];
    uint32_t header_len;
    uint32_t payload_len;
    uint32_t segments_max;
    uint8_t *bytes; /* room for one header, then the payloads */
};

int bt_gso_open(struct bt_gso **result, int fd, const char *device, const uint8_t *header, uint32_t header_len,
                uint32_t payload_len, uint32_t n_slots)
{
    static const char *const features[] = {"tx-udp-segmentation", "tx-checksum-ip-generic", NULL};
    const int one = 1;
    const uint32_t fit = BT_GSO_BUFFER_MAX / payload_len;
    struct bt_gso *gso = calloc(1, sizeof(*gso));

    if (!gso)
        return -ENOMEM;
    gso->fd = fd;
    gso->device = device;
    gso->header_len = header_len;
    gso->payload_len = payload_len;
    gso->segments_max = fit < BT_GSO_SEGMENTS_MAX ? fit : BT_GSO_SEGMENTS_MAX;
    memcpy(gso->header, header, header_len);
    gso->bytes = calloc(1, header_len + (size_t)n_slots * payload_len);
    int error = gso->bytes ? 0 : -ENOMEM;
    if (!error && setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) < 0)
        error = -errno;
    if (!error)
        error = bt_features_off(fd, device, features, &gso->features);
    if (error) {
        bt_gso_close(gso);
        return error;
    }
    *result = gso;
    return 0;
}

uint8_t *bt_gso_frame(const struct bt_gso *gso, uint32_t slot)
{
    return gso->bytes + (size_t)slot * gso->payload_len;
}

/* Returns how many frames were refused (all or none), or -errno. */
static int bt_gso_send(struct bt_gso *gso, uint32_t first, uint32_t n)
{
    const uint32_t udp = gso->header_len - BT_UDP_LEN, payload = n * gso->payload_len;
    struct virtio_net_hdr vnet = {0};
    struct iovec parts[] = {
        {.iov_base = &vnet, .iov_len = sizeof(vnet)},
        {.iov_base = gso->header, .iov_len = gso->header_len},
        {.iov_base = bt_gso_frame(gso, first) + gso->header_len, .iov_len = payload},
    };
    const struct msghdr message = {.msg_iov = parts, .msg_iovlen = 3};

    if (n > 1) {
        vnet.gso_type = VIRTIO_NET_HDR_GSO_UDP_L4;
        vnet.gso_size = (uint16_t)gso->payload_len;
    }
    vnet.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
    vnet.hdr_len = (uint16_t)gso->header_len;
    vnet.csum_start = (uint16_t)udp;
    vnet.csum_offset = BT_UDP_CHECK_OFFSET;
    bt_frame_lengthen(gso->header, udp - BT_IP_LEN, payload);
    while (sendmsg(gso->fd, &message, 0) < 0) {
        if (errno == ENOBUFS || errno == EAGAIN)
            return (int)n;
        if (errno != EINTR)
            return -errno;
    }
    return 0;
}

int bt_gso_push(struct bt_gso *gso, uint32_t first, uint32_t n)
{
    int n_refused = 0;

    for (uint32_t done = 0; done < n;) {
        const uint32_t part = n - done < gso->segments_max ? n - done : gso->segments_max;
        const int refused = bt_gso_send(gso, first + done, part);
        if (refused < 0)
            return refused;
        n_refused += refused;
        done += part;
    }
    return n_refused;
}

void bt_gso_close(struct bt_gso *gso)
{
    bt_features_restore(gso->fd, gso->device, &gso->features);
    free(gso->bytes);
    free(gso);
}
