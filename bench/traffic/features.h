/*
 * features.h - switch off what a device would do instead of the kernel's stack, and switch it on again.
 *
 * Job: make the stack itself segment and checksum what is sent to a device, for as long as a sender wants ready frames.
 * Thread: any; `fd` is any socket of the device's namespace. ethtool's features by name: Documentation/networking/
 *      netdev-features.rst, include/uapi/linux/ethtool.h (ETHTOOL_GFEATURES).
 */
#ifndef BT_FEATURES_H
#define BT_FEATURES_H

#include <stdint.h>

enum { BT_FEATURES_MAX = 8 };

/* Which features bt_features_off() has switched off: those that were on. */
struct bt_features {
    uint32_t changed[BT_FEATURES_MAX]; /* bit numbers */
    uint32_t n_changed;
};

/* Switch off the features with these names (a list ended by NULL, at most BT_FEATURES_MAX). Returns 0 or -errno. */
int bt_features_off(int fd, const char *device, const char *const *names, struct bt_features *features);

/* Switch on again what was on. */
void bt_features_restore(int fd, const char *device, const struct bt_features *features);

#endif
