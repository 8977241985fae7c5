/*
 * parsers.c - what reads bytes that a stranger has written: packet.h, source guard, the guards against servers, loop
 * probes, beacons.
 *
 * The bytes lie in memory of exactly their length (sixty at least, as frame.h promises), so a read beyond is found.
 * What a parser says must be possible: offsets inside the frame, and the same answer for the same bytes.
 */
#include "frame/packet.h"
#include "frame/vnet.h"
#include "ha/beacon.h"
#include "input.h"
#include "protect/guard.h"
#include "protect/probe.h"
#include "protect/server_guard.h"

static const struct br_beacon_key key = {.len = 16, .byte = "0123456789abcdef"};

static void check_packet(const uint8_t *data, uint32_t len)
{
    struct br_packet packet;
    uint16_t type;
    uint32_t at;

    if (br_packet_unwrap(data, len, &type, &at))
        FUZZ_CHECK(at >= BR_ETH_HLEN && at <= len);
    if (!br_packet_walk(data, len, &packet))
        return;
    FUZZ_CHECK(packet.network >= BR_ETH_HLEN && packet.network <= len && packet.end <= len);
    FUZZ_CHECK(packet.n_tags <= BR_PACKET_TAGS_MAX);
    FUZZ_CHECK(!packet.transport || (packet.transport > packet.network && packet.transport <= packet.end));
    FUZZ_CHECK(!packet.is_later || packet.is_fragment);
}

/* A frame is what admit lets through: a header at least; the rest of it may be in a tail. */
static void check_guards(const struct br_frame *frame)
{
    static struct br_guards guards = {.n_rules = 2};
    struct br_guard_claim claim;
    struct br_guard_claim again;

    guards.port[0] = (struct br_guard_port){.n_ipv4 = 1, .n_ipv6 = 1};
    guards.rule[0] = (struct br_guard_rule){.address = {0x0a00000000000000}, .mask = {0xffffff0000000000}};
    guards.rule[1] = (struct br_guard_rule){.address = {0x20010db800000000}, .mask = {UINT64_MAX}, .mac = 0x020000000001};
    const enum br_guard_finding finding = br_guard_judge(&guards, frame, &claim);
    FUZZ_CHECK(finding < BR_GUARD_N);
    FUZZ_CHECK(br_guard_judge(&guards, frame, &again) == finding);
    if (finding != BR_GUARD_passed)
        FUZZ_CHECK(claim.len == 0 || claim.len == 4 || claim.len == 16);
    const enum br_drop both = br_server_guard_judge(frame, BR_GUARD_BIT_RA | BR_GUARD_BIT_DHCP);
    const enum br_drop ra = br_server_guard_judge(frame, BR_GUARD_BIT_RA);
    const enum br_drop dhcp = br_server_guard_judge(frame, BR_GUARD_BIT_DHCP);
    FUZZ_CHECK((both == BR_PASS) == (ra == BR_PASS && dhcp == BR_PASS));
    FUZZ_CHECK(ra == BR_PASS || ra == BR_DROP_ra_guard);
    FUZZ_CHECK(dhcp == BR_PASS || dhcp == BR_DROP_dhcp_guard);
}

static void check_beacon(const uint8_t *data, uint32_t len)
{
    struct br_beacon beacon;
    uint8_t written[BR_BEACON_LEN];

    if (br_beacon_read(data, len, &key, &beacon) != BR_BEACON_FINE)
        return;
    br_beacon_write(written, 0, &beacon, &key);
    FUZZ_CHECK(memcmp(written + BR_ETH_HLEN, data + BR_ETH_HLEN, BR_BEACON_LEN - BR_ETH_HLEN) == 0);
}

/* What was written is read again, whatever the value. */
static void check_round(struct input in)
{
    const struct br_probe probe = {.instance = in_bytes(&in, 8), .nonce = in_bytes(&in, 6), .port = in_16(&in)};
    const struct br_beacon beacon = {.pair = in_bytes(&in, 8), .session = in_bytes(&in, 8), .priority = in_8(&in)};
    uint8_t bytes[BR_BEACON_LEN];
    struct br_beacon read;
    uint64_t nonce;

    br_probe_write(bytes, &probe);
    FUZZ_CHECK(br_probe_read(&(struct br_frame){.data = bytes, .len = BR_FRAME_MIN}, probe.instance, &nonce));
    FUZZ_CHECK(nonce == probe.nonce);
    br_beacon_write(bytes, 1, &beacon, &key);
    FUZZ_CHECK(br_beacon_read(bytes, sizeof(bytes), &key, &read) == BR_BEACON_FINE);
    FUZZ_CHECK(read.pair == beacon.pair && read.session == beacon.session && read.priority == beacon.priority);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 + BR_ETH_HLEN || size > BR_HEAD_LEN)
        return 0;
    const uint32_t len = (uint32_t)size - 2;
    const uint32_t room = len < BR_FRAME_MIN ? BR_FRAME_MIN : len;
    uint8_t *bytes = calloc(1, room);
    struct br_frame frame = {.data = bytes, .len = len, .segments = 1};
    uint64_t nonce;

    memcpy(bytes, data + 2, len);
    if (data[0] & 1) { /* a part of it in a tail, all of it for who has only the head */
        frame.tail_len = 1 + data[1];
        frame.tail = bytes;
    }
    check_packet(bytes, len);
    check_guards(&frame);
    br_probe_read(&frame, 0, &nonce);
    check_beacon(bytes, len);
    check_round((struct input){data, size});
    free(bytes);
    return 0;
}
