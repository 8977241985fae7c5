/*
 * options.c - see options.h. One table row per key; a row's function reads the value into its place.
 *
 * Refuses: unknown keys, values that do not parse to the end, sizes too small for the mark, numbers out of range.
 */
#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char bt_usage[] =
    "usage: traffic run [--drain MS] [--events FD] [--send KEY=VALUE,...]... [--sink KEY=VALUE,...]...\n"
    "       traffic burn [--events FD] cycles=N,rate=R,seconds=S[,cpu=N]\n"
    "       traffic clock\n"
    "\n"
    "run     send numbered and stamped frames into devices, count what arrives at others. Senders end by themselves;\n"
    "        Ctrl-C ends them early, and ends sinks that run without a sender. Both give a whole report.\n"
    "burn    spin N cycles R times a second: something known for whoever accounts for CPU time\n"
    "clock   measure the cycles per second of the cycle counter\n"
    "\n"
    "--send, where:  dev=NAME             network device to send into\n"
    "                netns=NAME           its network namespace, a name under /run/netns (this one)\n"
    "                cpu=N                CPU of the sending thread (any)\n"
    "  how many:     rate=R               frames per second, 0: as many as possible (1000)\n"
    "                rate=R@S+R@S...      phases of S seconds each\n"
    "                seconds=S count=N    bounds, both always on (1, 2^31)\n"
    "                burst=N              frames handed over at once, 1-256 (1)\n"
    "                pace=spin|sleep      keep time to a microsecond and take a CPU, or leave idle time idle (spin)\n"
    "                stage=N              stages 0-15 run one after the other (0)\n"
    "  what:         stream=N             number by which a sink knows the sender, 0-65535, one sender each (0)\n"
    "                size=N               bytes without FCS and tag, 60-9230 (60)\n"
    "                size=N:WEIGHT+...    a mixture; size=imix is 60:7+590:4+1514:1\n"
    "                dst=MAC[*N] src=MAC[*N]   N addresses counting up from MAC (02:00:00:00:00:01, ...:02)\n"
    "                tag=VID[-VID] pcp=N tpid=0x8100|0x88a8   an inline tag (untagged)\n"
    "                order=seq|random     of addresses and VLANs (seq)\n"
    "                layout=udp|raw       raw, without IPv4 and UDP, goes down to 32 bytes (udp)\n"
    "  which way:    queue=direct|qdisc   packet socket, past or through the queueing discipline (direct)\n"
    "                queue=xdp            AF_XDP: a third cheaper, one sender per device\n"
    "                queue=gso            buffers that the stack cuts into frames: the cheapest; one size and address\n"
    "                queue=fast           the cheapest that works\n"
    "  faults:       skip=N repeat=N swap=N    every N-th number not sent, sent twice, sent after its successor\n"
    "--sink, where:  dev=NAME netns=NAME cpu=N\n"
    "                streams=N+N...       what belongs here; other streams count as strays (all belong)\n"
    "                tag=any|none|VID[-VID]    what is right for a frame here (any)\n"
    "                interval=MS          also give a time line of arrivals\n"
    "                ring=MIB             room for what is not counted yet (32)\n"
    "                way=probe|packet|fast     tc program, packet socket, the cheaper that works (fast)\n"
    "--drain MS      wait that long after the last arrival (100)\n"
    "--events FD     tell a socket when frames start and end; see main.c\n"
    "\n"
    "Needs root. One JSON object on stdout: \"limits\" names parts of this tool that were the limit, \"senders\" what was offered\n"
    "and lost, \"sinks\" what arrived, by stream, with latencies. Exit status 0 done, 1 could not, 2 usage.\n"
    "\n"
    "example: half a million frames through a bridge, from namespace left to VLAN 10 in namespace right\n"
    "  traffic run --send netns=left,dev=g0,stream=1,rate=100000,seconds=5 --sink netns=right,dev=ext,streams=1,tag=10\n";

/* -- values */

static bool bt_read_double(const char *text, double least, double most, double *value)
{
    char *end = NULL;

    errno = 0;
    *value = strtod(text, &end);
    return !errno && end != text && !*end && *value >= least && *value <= most;
}

static bool bt_read_u64(const char *text, uint64_t least, uint64_t most, uint64_t *value)
{
    char *end = NULL;

    errno = 0;
    *value = strtoull(text, &end, 0);
    return !errno && end != text && !*end && *text != '-' && *value >= least && *value <= most;
}

static bool bt_read_u32(const char *text, uint32_t least, uint32_t most, uint32_t *value)
{
    uint64_t wide = 0;
    const bool good = bt_read_u64(text, least, most, &wide);

    *value = (uint32_t)wide;
    return good;
}

static bool bt_read_u16(const char *text, uint16_t most, uint16_t *value)
{
    uint32_t wide = 0;
    const bool good = bt_read_u32(text, 0, most, &wide);

    *value = (uint16_t)wide;
    return good;
}

static bool bt_read_cpu(const char *text, int *cpu)
{
    uint32_t value = 0;
    const bool good = bt_read_u32(text, 0, 1023, &value);

    *cpu = (int)value;
    return good;
}

static bool bt_read_choice(const char *text, const char *first, const char *second, bool *is_second)
{
    *is_second = !strcmp(text, second);
    return *is_second || !strcmp(text, first);
}

/* MAC or MAC*N */
static bool bt_read_macs(char *text, uint64_t *mac, uint32_t *n)
{
    char *star = strchr(text, '*');
    unsigned int b[6];
    int used = 0;

    if (star)
        *star++ = 0;
    if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &used) != 6 || text[used])
        return false;
    *mac = 0;
    for (int i = 0; i < 6; i++)
        *mac = *mac << 8 | b[i];
    return !star || bt_read_u32(star, 1, 1u << 24, n);
}

/* VID or VID-VID */
static bool bt_read_vids(char *text, uint32_t *first, uint32_t *last)
{
    char *dash = strchr(text, '-');

    if (dash)
        *dash++ = 0;
    return bt_read_u32(text, 0, 4095, first) && bt_read_u32(dash ? dash : text, *first, 4095, last);
}

static bool bt_read_sizes(char *text, struct bt_sender_spec *spec)
{
    static const struct bt_size imix[] = {{60, 7}, {590, 4}, {1514, 1}}; /* 64, 594, 1518 with FCS, as 7:4:1 */
    char *rest = NULL;

    spec->n_sizes = 0;
    if (!strcmp(text, "imix")) {
        memcpy(spec->sizes, imix, sizeof(imix));
        spec->n_sizes = 3;
        return true;
    }
    for (char *part = strtok_r(text, "+", &rest); part; part = strtok_r(NULL, "+", &rest)) {
        struct bt_size *size = &spec->sizes[spec->n_sizes];
        char *colon = strchr(part, ':');
        if (colon)
            *colon++ = 0;
        if (spec->n_sizes == BT_SIZES_MAX || !bt_read_u32(part, BT_FRAME_MIN_RAW, BT_FRAME_MAX, &size->len) ||
            !bt_read_u32(colon ? colon : "1", 1, BT_WEIGHT_MAX, &size->weight))
            return false;
        spec->n_sizes++;
    }
    return spec->n_sizes > 0;
}

/* R, or R@S+R@S; a phase without its own seconds gets 0 here and the sender's later. */
static bool bt_read_phases(char *text, struct bt_sender_spec *spec)
{
    char *rest = NULL;

    spec->n_phases = 0;
    for (char *part = strtok_r(text, "+", &rest); part; part = strtok_r(NULL, "+", &rest)) {
        struct bt_phase *phase = &spec->phases[spec->n_phases];
        char *at = strchr(part, '@');
        if (at)
            *at++ = 0;
        if (spec->n_phases == BT_PHASES_MAX || !bt_read_double(part, 0, 1e8, &phase->rate) ||
            (at && !bt_read_double(at, 1e-4, 86400, &phase->seconds)))
            return false;
        spec->n_phases++;
    }
    return spec->n_phases > 0;
}

static bool bt_read_streams(char *text, struct bt_sink_spec *spec)
{
    char *rest = NULL;

    for (char *part = strtok_r(text, "+", &rest); part; part = strtok_r(NULL, "+", &rest))
        if (spec->n_expected == BT_STREAMS_MAX || !bt_read_u16(part, UINT16_MAX, &spec->expected[spec->n_expected++]))
            return false;
    return spec->n_expected > 0;
}

static bool bt_read_rule(char *text, struct bt_sink_spec *spec)
{
    spec->tag_rule = !strcmp(text, "any") ? BT_TAG_ANY : !strcmp(text, "none") ? BT_TAG_NONE : BT_TAG_RANGE;
    return spec->tag_rule != BT_TAG_RANGE || bt_read_vids(text, &spec->vid_min, &spec->vid_max);
}

/* The place of a word in a list that ends with NULL. */
static bool bt_read_word(const char *text, const char *const *words, uint32_t *place)
{
    for (uint32_t i = 0; words[i]; i++) {
        if (!strcmp(text, words[i])) {
            *place = i;
            return true;
        }
    }
    return false;
}

static bool bt_read_queue(const char *text, enum bt_queue *queue)
{
    static const char *const words[] = {[BT_QUEUE_DIRECT] = "direct", [BT_QUEUE_QDISC] = "qdisc", [BT_QUEUE_XDP] = "xdp",
                                        [BT_QUEUE_GSO] = "gso",       [BT_QUEUE_FAST] = "fast",   NULL};
    uint32_t place = 0;
    const bool good = bt_read_word(text, words, &place);

    *queue = (enum bt_queue)place;
    return good;
}

static bool bt_read_way(const char *text, enum bt_way *way)
{
    static const char *const words[] = {[BT_WAY_FAST] = "fast", [BT_WAY_PROBE] = "probe", [BT_WAY_PACKET] = "packet", NULL};
    uint32_t place = 0;
    const bool good = bt_read_word(text, words, &place);

    *way = (enum bt_way)place;
    return good;
}

/* -- keys */

static bool bt_sender_key(struct bt_sender_spec *spec, const char *key, char *value, double *seconds)
{
    const struct {
        const char *key;
        uint32_t least, most;
        uint32_t *place;
    } numbers[] = {
        {"stage", 0, 15, &spec->stage},
        {"pcp", 0, 7, &spec->pcp},
        {"burst", 1, BT_BURST_MAX, &spec->burst},
        {"skip", 2, UINT32_MAX, &spec->faults.skip_every},
        {"repeat", 2, UINT32_MAX, &spec->faults.repeat_every},
        {"swap", 3, UINT32_MAX, &spec->faults.swap_every},
    };
    bool is_raw = false;

    for (uint32_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
        if (!strcmp(key, numbers[i].key))
            return bt_read_u32(value, numbers[i].least, numbers[i].most, numbers[i].place);
    if (!strcmp(key, "dev"))
        return *(spec->device = value) != 0;
    if (!strcmp(key, "netns"))
        return *(spec->netns = value) != 0;
    if (!strcmp(key, "cpu"))
        return bt_read_cpu(value, &spec->cpu);
    if (!strcmp(key, "stream"))
        return bt_read_u16(value, UINT16_MAX, &spec->stream);
    if (!strcmp(key, "tpid"))
        return bt_read_u16(value, UINT16_MAX, &spec->tpid);
    if (!strcmp(key, "count"))
        return bt_read_u64(value, 1, BT_SEQUENCES_MAX, &spec->count_max);
    if (!strcmp(key, "seconds"))
        return bt_read_double(value, 1e-4, 86400, seconds);
    if (!strcmp(key, "rate"))
        return bt_read_phases(value, spec);
    if (!strcmp(key, "size"))
        return bt_read_sizes(value, spec);
    if (!strcmp(key, "dst"))
        return bt_read_macs(value, &spec->dst, &spec->n_dst);
    if (!strcmp(key, "src"))
        return bt_read_macs(value, &spec->src, &spec->n_src);
    if (!strcmp(key, "order"))
        return bt_read_choice(value, "seq", "random", &spec->random);
    if (!strcmp(key, "pace"))
        return bt_read_choice(value, "spin", "sleep", &spec->sleep);
    if (!strcmp(key, "queue"))
        return bt_read_queue(value, &spec->queue);
    if (!strcmp(key, "layout") && bt_read_choice(value, "udp", "raw", &is_raw)) {
        spec->layout = is_raw ? BT_LAYOUT_RAW : BT_LAYOUT_UDP;
        return true;
    }
    if (!strcmp(key, "tag")) {
        uint32_t last = 0;
        spec->tpid = spec->tpid ? spec->tpid : BT_TYPE_8021Q;
        const bool good = bt_read_vids(value, &spec->vid, &last);
        spec->n_vids = last - spec->vid + 1;
        return good;
    }
    return false;
}

static bool bt_sink_key(struct bt_sink_spec *spec, const char *key, char *value)
{
    if (!strcmp(key, "dev"))
        return *(spec->device = value) != 0;
    if (!strcmp(key, "netns"))
        return *(spec->netns = value) != 0;
    if (!strcmp(key, "cpu"))
        return bt_read_cpu(value, &spec->cpu);
    if (!strcmp(key, "ring"))
        return bt_read_u32(value, 1, 4096, &spec->ring_mib);
    if (!strcmp(key, "interval"))
        return bt_read_u32(value, 1, 60000, &spec->interval_ms);
    if (!strcmp(key, "streams"))
        return bt_read_streams(value, spec);
    if (!strcmp(key, "way"))
        return bt_read_way(value, &spec->way);
    return !strcmp(key, "tag") && bt_read_rule(value, spec);
}

static bool bt_burn_key(struct bt_burn_spec *spec, const char *key, char *value)
{
    if (!strcmp(key, "cycles"))
        return bt_read_double(value, 0, 1e12, &spec->cycles);
    if (!strcmp(key, "rate"))
        return bt_read_double(value, 1e-3, 1e6, &spec->rate);
    if (!strcmp(key, "seconds"))
        return bt_read_double(value, 1e-3, 3600, &spec->seconds);
    return !strcmp(key, "cpu") && bt_read_cpu(value, &spec->cpu);
}

/* The next KEY=VALUE of a comma list; false at the end. `value` NULL: there was no '='. */
static bool bt_next_pair(char **rest, char **key, char **value)
{
    *key = strsep(rest, ",");
    if (!*key)
        return false;
    *value = strchr(*key, '=');
    if (*value)
        *(*value)++ = 0;
    return true;
}

static int bt_refuse(struct bt_problem *problem, const char *what, const char *key, const char *value)
{
    if (!value)
        return bt_problem_set(problem, -EINVAL, "%s: %s has no value; write %s=...", what, key, key);
    return bt_problem_set(problem, -EINVAL, "%s: %s=%s is no key, or no value, that I know (a value is shown up to where I read it)",
                          what, key, value);
}

static int bt_sender_parse(struct bt_sender_spec *spec, char *text, struct bt_problem *problem)
{
    double seconds = 1;
    char *key, *value;

    *spec = (struct bt_sender_spec){
        .netns = "", .device = "", .cpu = -1, .dst = 0x020000000001, .src = 0x020000000002, .n_dst = 1, .n_src = 1, .n_vids = 1,
        .burst = 1, .count_max = BT_SEQUENCES_MAX, .sizes = {{60, 1}}, .n_sizes = 1, .phases = {{1000, 0}}, .n_phases = 1,
    };
    while (bt_next_pair(&text, &key, &value))
        if (!value || !bt_sender_key(spec, key, value, &seconds))
            return bt_refuse(problem, "--send", key, value);
    if (!*spec->device)
        return bt_problem_set(problem, -EINVAL, "--send: dev is missing");
    for (uint32_t i = 0; i < spec->n_phases; i++)
        spec->phases[i].seconds = spec->phases[i].seconds > 0 ? spec->phases[i].seconds : seconds;
    for (uint32_t i = 0; i < spec->n_sizes; i++)
        if (spec->layout == BT_LAYOUT_UDP && spec->sizes[i].len < BT_FRAME_MIN_UDP)
            return bt_problem_set(problem, -EINVAL, "--send: size %u is below %d; layout=raw goes down to %d", spec->sizes[i].len,
                                  BT_FRAME_MIN_UDP, BT_FRAME_MIN_RAW);
    return 0;
}

static int bt_sink_parse(struct bt_sink_spec *spec, char *text, struct bt_problem *problem)
{
    char *key, *value;

    *spec = (struct bt_sink_spec){.netns = "", .device = "", .cpu = -1, .ring_mib = 32};
    while (bt_next_pair(&text, &key, &value))
        if (!value || !bt_sink_key(spec, key, value))
            return bt_refuse(problem, "--sink", key, value);
    return *spec->device ? 0 : bt_problem_set(problem, -EINVAL, "--sink: dev is missing");
}

/* A probe ends what it has counted: two sinks on one device both need packet sockets. */
static void bt_sinks_share(struct bt_sink_spec *one, struct bt_sink_spec *other)
{
    if (strcmp(one->device, other->device) || strcmp(one->netns, other->netns))
        return;
    one->way = one->way == BT_WAY_FAST ? BT_WAY_PACKET : one->way;
    other->way = other->way == BT_WAY_FAST ? BT_WAY_PACKET : other->way;
}

/* A stream has one sender, and time lines must be long enough for all of them. */
static int bt_options_check(struct bt_options *options, struct bt_problem *problem)
{
    double stage_seconds[16] = {0}, seconds = 2;

    for (uint32_t i = 0; i < options->n_senders; i++) {
        const struct bt_sender_spec *spec = &options->senders[i];
        double own = 0;
        for (uint32_t j = 0; j < i; j++)
            if (options->senders[j].stream == spec->stream)
                return bt_problem_set(problem, -EINVAL, "--send: two senders have stream=%u", spec->stream);
        for (uint32_t j = 0; j < spec->n_phases; j++)
            own += spec->phases[j].seconds;
        stage_seconds[spec->stage] = own > stage_seconds[spec->stage] ? own : stage_seconds[spec->stage];
    }
    for (uint32_t i = 0; i < 16; i++)
        seconds += stage_seconds[i];
    for (uint32_t i = 0; i < options->n_sinks; i++) {
        options->sinks[i].expect_seconds = seconds;
        for (uint32_t j = 0; j < i; j++)
            bt_sinks_share(&options->sinks[j], &options->sinks[i]);
    }
    if (!options->n_senders && !options->n_sinks)
        return bt_problem_set(problem, -EINVAL, "nothing to do: no --send and no --sink");
    return 0;
}

static int bt_option(struct bt_options *options, const char *name, char *value, struct bt_problem *problem)
{
    uint32_t number = 0;

    if (!value)
        return bt_problem_set(problem, -EINVAL, "%s needs a value", name);
    if (!strcmp(name, "--events") && bt_read_u32(value, 0, 1 << 20, &number)) {
        options->events_fd = (int)number;
        return 0;
    }
    if (!strcmp(name, "--drain") && bt_read_u32(value, 0, 60000, &options->drain_ms))
        return 0;
    if (!strcmp(name, "--send"))
        return options->n_senders < BT_WORKERS_MAX ? bt_sender_parse(&options->senders[options->n_senders++], value, problem)
                                                   : bt_problem_set(problem, -EINVAL, "more than %d senders", BT_WORKERS_MAX);
    if (!strcmp(name, "--sink"))
        return options->n_sinks < BT_WORKERS_MAX ? bt_sink_parse(&options->sinks[options->n_sinks++], value, problem)
                                                 : bt_problem_set(problem, -EINVAL, "more than %d sinks", BT_WORKERS_MAX);
    return bt_problem_set(problem, -EINVAL, "%s %s: not known", name, value);
}

int bt_options_parse_run(struct bt_options *options, char **arguments, struct bt_problem *problem)
{
    int error = 0;

    options->events_fd = -1;
    options->drain_ms = 100;
    for (; !error && arguments[0]; arguments += arguments[1] ? 2 : 1)
        error = bt_option(options, arguments[0], arguments[1], problem);
    return error ? error : bt_options_check(options, problem);
}

int bt_options_parse_burn(struct bt_options *options, char **arguments, struct bt_problem *problem)
{
    char *key, *value;
    int error = 0;

    options->events_fd = -1;
    options->burn = (struct bt_burn_spec){.cycles = 1e6, .rate = 500, .seconds = 1, .cpu = -1};
    for (; !error && arguments[0] && !strncmp(arguments[0], "--", 2); arguments += arguments[1] ? 2 : 1)
        error = bt_option(options, arguments[0], arguments[1], problem);
    for (char *text = error ? NULL : arguments[0]; bt_next_pair(&text, &key, &value);)
        if (!value || !bt_burn_key(&options->burn, key, value))
            return bt_refuse(problem, "burn", key, value);
    return error;
}
