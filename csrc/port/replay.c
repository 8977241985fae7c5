/*
 * port/replay.c - a port that plays the same frames over and over and forgets what it is asked to send.
 *
 * For benchmarks: a source and sink so cheap that what is left is the pipeline. rx copies the next frames, in order and
 * round again, into the heads of the burst (the pipeline edits in place); tx only counts. Frames fit one head buffer
 * and keep their tag inline.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "port/port.h"

struct br_port_replay {
    struct br_port port;
    uint32_t n_frames;
    uint32_t next;
    uint32_t burst;
    uint32_t stride; /* bytes a stored frame takes */
    uint32_t *len;   /* of each frame */
    uint8_t *stored;
    uint8_t *head; /* heads of the burst, BR_REPLAY_HEAD_LEN apart */
};

enum { BR_REPLAY_HEAD_LEN = BR_HEAD_CAP + 64 };

static struct br_port_replay *br_replay(struct br_port *port)
{
    return (struct br_port_replay *)port;
}

static int br_replay_rx(struct br_port *port, struct br_pool *pool, struct br_frame *frame, uint32_t cap)
{
    struct br_port_replay *replay = br_replay(port);
    const uint32_t n = replay->n_frames ? (cap < replay->burst ? cap : replay->burst) : 0;
    (void)pool;

    for (uint32_t i = 0; i < n; i++) {
        uint8_t *data = replay->head + (size_t)i * BR_REPLAY_HEAD_LEN + BR_HEADROOM;
        const uint32_t len = replay->len[replay->next];

        memcpy(data, replay->stored + (size_t)replay->next * replay->stride, len);
        frame[i] = (struct br_frame){.data = data, .len = len, .headroom = BR_HEADROOM};
        if (++replay->next == replay->n_frames)
            replay->next = 0;
    }
    return (int)n;
}

static uint32_t br_replay_tx(struct br_port *port, struct br_frame *const *frame, uint32_t n)
{
    br_port_sent(port, frame, n);
    return n;
}

static void br_replay_close(struct br_port *port)
{
    struct br_port_replay *replay = br_replay(port);

    free(replay->len);
    free(replay->stored);
    free(replay->head);
    free(replay);
}

static const struct br_port_ops br_replay_ops = {
    .rx = br_replay_rx,
    .tx = br_replay_tx,
    .close = br_replay_close,
    .kind = "replay",
};

int br_port_open_replay(struct br_port **port, uint32_t n_frames, uint32_t longest, uint32_t burst)
{
    struct br_port_replay *replay = aligned_alloc(64, sizeof(*replay));

    if (!replay)
        return -ENOMEM;
    memset(replay, 0, sizeof(*replay));
    replay->port.ops = &br_replay_ops;
    replay->port.fd = -1;
    replay->port.vnet = true;
    replay->port.uso = true;
    replay->port.polled = true;
    replay->burst = burst;
    replay->stride = (longest + 63) & ~63u;
    replay->len = calloc(n_frames + 1, sizeof(*replay->len));
    replay->stored = calloc(n_frames + 1, replay->stride + 1);
    replay->head = aligned_alloc(64, (size_t)burst * BR_REPLAY_HEAD_LEN);
    if (!replay->len || !replay->stored || !replay->head) {
        br_replay_close(&replay->port);
        return -ENOMEM;
    }
    *port = &replay->port;
    return 0;
}

int br_replay_add(struct br_port *port, const uint8_t *data, uint32_t len)
{
    struct br_port_replay *replay = br_replay(port);

    if (len > BR_HEAD_LEN || len > replay->stride)
        return -EMSGSIZE;
    memcpy(replay->stored + (size_t)replay->n_frames * replay->stride, data, len);
    replay->len[replay->n_frames++] = len;
    return 0;
}
