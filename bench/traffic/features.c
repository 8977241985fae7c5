/*
 * features.c - see features.h.
 */
#include "features.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

static int bt_ethtool(int fd, const char *device, void *command)
{
    struct ifreq request = {.ifr_data = command};

    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", device);
    return ioctl(fd, SIOCETHTOOL, &request) < 0 ? -errno : 0;
}

/* The names of all features, in the order of their bits; NULL with `error` set. To be freed. */
static struct ethtool_gstrings *bt_feature_names(int fd, const char *device, int *error)
{
    uint64_t room[(sizeof(struct ethtool_sset_info) + sizeof(uint32_t) + 7) / 8] = {0};
    struct ethtool_sset_info *info = (void *)room;

    info->cmd = ETHTOOL_GSSET_INFO;
    info->sset_mask = 1ull << ETH_SS_FEATURES;
    *error = bt_ethtool(fd, device, info);
    if (*error)
        return NULL;
    struct ethtool_gstrings *names = calloc(1, sizeof(*names) + (size_t)info->data[0] * ETH_GSTRING_LEN);
    *error = -ENOMEM;
    if (!names)
        return NULL;
    names->cmd = ETHTOOL_GSTRINGS;
    names->string_set = ETH_SS_FEATURES;
    names->len = info->data[0];
    *error = bt_ethtool(fd, device, names);
    if (!*error)
        return names;
    free(names);
    return NULL;
}

/* Switch one feature; `was_on` says what it was. */
static int bt_feature_switch(int fd, const char *device, uint32_t n_features, uint32_t bit, bool on, bool *was_on)
{
    const uint32_t n_blocks = (n_features + 31) / 32, block = bit / 32, mask = 1u << bit % 32;
    struct ethtool_gfeatures *now = calloc(1, sizeof(*now) + n_blocks * sizeof(now->features[0]));
    struct ethtool_sfeatures *next = calloc(1, sizeof(*next) + n_blocks * sizeof(next->features[0]));
    int error = -ENOMEM;

    if (now && next) {
        now->cmd = ETHTOOL_GFEATURES;
        now->size = n_blocks;
        next->cmd = ETHTOOL_SFEATURES;
        next->size = n_blocks;
        next->features[block].valid = mask;
        next->features[block].requested = on ? mask : 0;
        error = bt_ethtool(fd, device, now);
        *was_on = now->features[block].active & mask;
        if (!error && *was_on != on)
            error = bt_ethtool(fd, device, next);
    }
    free(now);
    free(next);
    return error;
}

int bt_features_off(int fd, const char *device, const char *const *names, struct bt_features *features)
{
    int error = 0;
    struct ethtool_gstrings *known = bt_feature_names(fd, device, &error);

    for (uint32_t i = 0; known && i < known->len; i++) {
        const char *name = (const char *)known->data + (size_t)i * ETH_GSTRING_LEN;
        bool was_on = false;
        for (const char *const *wanted = names; !error && *wanted; wanted++) {
            if (strncmp(name, *wanted, ETH_GSTRING_LEN) != 0)
                continue;
            error = bt_feature_switch(fd, device, known->len, i, false, &was_on);
            if (!error && was_on)
                features->changed[features->n_changed++] = i;
        }
    }
    free(known);
    return error;
}

void bt_features_restore(int fd, const char *device, const struct bt_features *features)
{
    int error = 0;
    bool was_on = false;
    struct ethtool_gstrings *known = features->n_changed ? bt_feature_names(fd, device, &error) : NULL;

    for (uint32_t i = features->n_changed; known && i-- > 0;)
        bt_feature_switch(fd, device, known->len, features->changed[i], true, &was_on); /* best effort */
    free(known);
}
