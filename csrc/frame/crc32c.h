/*
 * frame/crc32c.h - the checksum of SCTP (RFC 9260 section 6.8 and appendix A), one byte at a time.
 *
 * It starts with BR_CRC32C_BEGIN; the complement of what comes out is stored least significant byte first.
 */
#ifndef BR_CRC32C_H
#define BR_CRC32C_H

#include <stdint.h>

#define BR_CRC32C_BEGIN 0xffffffffu

uint32_t br_crc32c_add(uint32_t crc, const uint8_t *bytes, uint32_t len);

#endif
