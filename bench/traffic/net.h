/*
 * net.h - opening packet sockets on a device of a network namespace.
 *
 * Thread: the one that opens; it leaves its namespace for a moment and comes back, so open before starting threads.
 * Needs CAP_NET_RAW, and CAP_SYS_ADMIN for a namespace other than its own.
 */
#ifndef BT_NET_H
#define BT_NET_H

#include <stddef.h>
#include <stdint.h>

/* Why something failed, for people: set together with a negative result. */
struct bt_problem {
    char text[256];
};

int bt_problem_set(struct bt_problem *problem, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));

/*
 * A socket of a family (AF_PACKET, AF_XDP), not yet bound; `netns` is a name under /run/netns or "" for the caller's own. Returns the descriptor
 * and sets `ifindex`, or returns -errno with `problem` set.
 */
int bt_net_open(int family, const char *netns, const char *device, int *ifindex, struct bt_problem *problem);

/*
 * Enter a named namespace; returns a descriptor of the one left, -1 if there was nothing to do (an empty name), or -errno - 1.
 * The descriptor goes to bt_net_leave(), which returns 0 or -errno.
 */
int bt_net_enter(const char *netns);
int bt_net_leave(int home);

/* Let the device hand up frames for any address as long as the packet socket lives. */
int bt_net_promiscuous(int fd, int ifindex);

/* Bind to the device; `protocol` in host order, 0 receives nothing. */
int bt_net_bind(int fd, int ifindex, uint16_t protocol);

#endif
