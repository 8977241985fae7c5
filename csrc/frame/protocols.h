/*
 * frame/protocols.h - numbers of protocols, for who looks into headers: the core (frame/packet.h, frame/classify.h) and the
 * programs in the kernel (offload/unicast.bpf.c).
 */
#ifndef BR_PROTOCOLS_H
#define BR_PROTOCOLS_H

enum {
    BR_TYPE_IPV4 = 0x0800,
    BR_TYPE_ARP = 0x0806,
    BR_TYPE_RARP = 0x8035,
    BR_TYPE_IPV6 = 0x86dd,
    BR_TYPE_LEAST = 0x0600, /* below: a length, and LLC behind it; IEEE 802.3 clause 3.2.6 */
    BR_SNAP_LEN = 8,
    BR_IP_HOP_BY_HOP = 0, /* IANA protocol numbers */
    BR_IP_IGMP = 2,
    BR_IP_IPV4 = 4,
    BR_IP_TCP = 6,
    BR_IP_UDP = 17,
    BR_IP_IPV6 = 41,
    BR_IP_ROUTING = 43,
    BR_IP_FRAGMENT = 44,
    BR_IP_GRE = 47,
    BR_IP_AH = 51,
    BR_IP_ICMPV6 = 58,
    BR_IP_OPTIONS = 60,
    BR_IP_OSPF = 89,
    BR_IP_VRRP = 112, /* CARP is the same to whoever does not look further */
    BR_IP_SCTP = 132,
    BR_IPV4_HLEN = 20, /* RFC 791: total length at 2, identification at 4, checksum at 10, addresses at 12 */
    BR_IPV6_HLEN = 40, /* RFC 8200: payload length at 4, addresses at 8 */
    BR_HSRP_PORT = 1985, /* RFC 2281 section 3; IPv6: 2029 */
    BR_HSRP6_PORT = 2029,
    BR_GLBP_PORT = 3222,
    BR_BFD_PORT = 3784, /* RFC 5881 section 4; echo: 3785, over several hops, RFC 5883: 4784 */
    BR_BFD_ECHO_PORT = 3785,
    BR_BFD_MULTIHOP_PORT = 4784,
    BR_MLD_QUERY = 130, /* RFC 2710 section 3.1 */
    BR_MLD_REPORT = 131,
    BR_MLD_DONE = 132,
    BR_MLD2_REPORT = 143, /* RFC 3810 section 5.2 */
    BR_ND_RS = 133,       /* RFC 4861 section 4 */
    BR_ND_NS = 135,
    BR_ND_NA = 136,
    BR_ND_REDIRECT = 137,
};

#endif
