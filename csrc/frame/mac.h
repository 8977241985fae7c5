/*
 * frame/mac.h - MAC addresses as numbers: six bytes in the low 48 bits, the first byte on the wire most significant.
 *
 * Job: read one, and say which addresses are special: those that bridges do not pass, and those of router groups.
 */
#ifndef BR_MAC_H
#define BR_MAC_H

#include <stdbool.h>
#include <stdint.h>

/* The six address bytes at `bytes`, first byte on the wire most significant; reads eight bytes. */
static inline uint64_t br_mac_read(const uint8_t *bytes)
{
    uint64_t word;

    __builtin_memcpy(&word, bytes, sizeof(word));
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word >> 16;
}

#define BR_MAC_BROADCAST 0xffffffffffffull

/* Whether an address is a group's, all stations included; IEEE 802 clause 8.2.2. */
static inline bool br_mac_is_group(uint64_t mac)
{
    return mac >> 40 & 1;
}

/* 01-80-C2-00-00-00..0F; IEEE 802.1Q-2022 table 8-1. */
static inline bool br_mac_is_reserved(uint64_t mac)
{
    return mac >> 4 == 0x0180c200000;
}

/* Whether an address is that of a router group, not of a router. */
static inline bool br_mac_is_virtual_router(uint64_t mac)
{
    return mac >> 8 == 0x00005e0001 ||  /* VRRP on IPv4, RFC 9568 section 7.3; CARP uses the same */
           mac >> 8 == 0x00005e0002 ||  /* VRRP on IPv6 */
           mac >> 8 == 0x00000c07ac ||  /* HSRP, RFC 2281 section 5.3 */
           mac >> 12 == 0x00000c9ff ||  /* HSRP version 2 */
           mac >> 12 == 0x000573a00 ||  /* HSRP on IPv6 */
           mac >> 24 == 0x0007b4;       /* GLBP */
}

#endif
