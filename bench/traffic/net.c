/*
 * net.c - see net.h. packet(7), network_namespaces(7), setns(2).
 */
#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int bt_problem_set(struct bt_problem *problem, int error, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(problem->text, sizeof(problem->text), format, arguments);
    va_end(arguments);
    return error;
}

int bt_net_enter(const char *netns)
{
    char path[128];

    if (!*netns)
        return -1;
    snprintf(path, sizeof(path), "/run/netns/%s", netns);
    const int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    const int there = open(path, O_RDONLY | O_CLOEXEC);
    int error = home < 0 || there < 0 ? errno : 0;
    if (!error && setns(there, CLONE_NEWNET) < 0)
        error = errno;
    if (there >= 0)
        close(there);
    if (error && home >= 0)
        close(home);
    return error ? -error - 1 : home;
}

int bt_net_leave(int home)
{
    if (home < 0)
        return 0;
    const int error = setns(home, CLONE_NEWNET) < 0 ? -errno : 0;
    close(home);
    return error;
}

int bt_net_open(int family, const char *netns, const char *device, int *ifindex, struct bt_problem *problem)
{
    const int home = bt_net_enter(netns);

    if (home < -1)
        return bt_problem_set(problem, home + 1, "network namespace %s: %s", netns, strerror(-home - 1));
    const int fd = socket(family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int error = errno;
    *ifindex = (int)if_nametoindex(device);
    const int left = bt_net_leave(home);
    if (left) {
        if (fd >= 0)
            close(fd);
        return bt_problem_set(problem, left, "cannot return from network namespace %s: %s", netns, strerror(-left));
    }
    if (fd < 0)
        return bt_problem_set(problem, -error, "%s socket: %s", family == AF_PACKET ? "packet" : "AF_XDP",
                              strerror(error));
    if (!*ifindex) {
        close(fd);
        return bt_problem_set(problem, -ENODEV, "no device %s%s%s", device, *netns ? " in network namespace " : "", netns);
    }
    return fd;
}

int bt_net_bind(int fd, int ifindex, uint16_t protocol)
{
    const struct sockaddr_ll address = {
        .sll_family = AF_PACKET, .sll_protocol = htons(protocol), .sll_ifindex = ifindex};

    return bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
}

int bt_net_promiscuous(int fd, int ifindex)
{
    const struct packet_mreq promiscuous = {.mr_ifindex = ifindex, .mr_type = PACKET_MR_PROMISC};

    return setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof(promiscuous)) < 0 ? -errno : 0;
}
