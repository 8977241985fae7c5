/*
 * ha/pair.c - see ha/pair.h. Read it from the foot: each entry first lets a lease lapse that has ended, takes what is
 * new, and then settles into the state that follows.
 */
#include "ha/pair.h"

#include <errno.h>

static bool br_pair_within(uint64_t now, uint64_t when, uint64_t span)
{
    return when && now - when < span;
}

static bool br_pair_is_fresh(const struct br_pair *pair, const struct br_pair_peer *peer, uint64_t now)
{
    return peer->id && br_pair_within(now, peer->heard, br_pair_patience(&pair->config));
}

static bool br_pair_is_better(const struct br_pair_peer *peer, const struct br_pair_config *config)
{
    return peer->priority != config->priority ? peer->priority > config->priority : peer->id > config->self;
}

static bool br_pair_is_eligible(const struct br_pair *pair, uint64_t now)
{
    return pair->healthy && !pair->held && !br_pair_within(now, pair->twin, br_pair_patience(&pair->config));
}

static bool br_pair_may_serve(const struct br_pair *pair, const struct br_pair_peer *peer, uint64_t now)
{
    return br_pair_is_fresh(pair, peer, now) && peer->eligible && peer->hears;
}

/* How long a peer that was heard is waited for; the better of two members opens first. */
static uint64_t br_pair_wait(const struct br_pair *pair, const struct br_pair_peer *peer)
{
    return br_pair_patience(&pair->config) + (br_pair_is_better(peer, &pair->config) ? BR_PAIR_RANK_NS : 0);
}

/* Whether a peer forwards, or will do so before us. */
static bool br_pair_is_before(const struct br_pair *pair, const struct br_pair_peer *peer, uint64_t now)
{
    const uint64_t wait = br_pair_wait(pair, peer);

    if (br_pair_within(now, peer->granted, wait))
        return true;
    if (br_pair_within(now, peer->released, BR_PAIR_RELEASE_NS))
        return false;
    return peer->eligible && br_pair_is_better(peer, &pair->config) && br_pair_within(now, peer->heard, wait);
}

/* Whether a peer may take what we released; it need not have said that it hears us, for it may have heard the release. */
static bool br_pair_may_take(const struct br_pair *pair, const struct br_pair_peer *peer, uint64_t now)
{
    return now < pair->yield && br_pair_is_fresh(pair, peer, now) && peer->eligible;
}

static bool br_pair_may_open(const struct br_pair *pair, uint64_t now)
{
    if (now < pair->listen)
        return false;
    for (int i = 0; i < BR_PAIR_PEERS_MAX; i++) {
        const struct br_pair_peer *peer = &pair->peer[i];

        if (!peer->id)
            continue;
        if (br_pair_is_before(pair, peer, now) || br_pair_may_take(pair, peer, now))
            return false;
    }
    return true;
}

/* ---- changes of state -------------------------------------------------------------------------------------------- */

static uint32_t br_pair_enter(struct br_pair *pair, enum br_pair_state state)
{
    const bool was_active = pair->state == BR_PAIR_active;

    pair->state = state;
    pair->entered = pair->ran;
    pair->repeat = BR_PAIR_REPEAT;
    return BR_PAIR_DO_send | (was_active ? BR_PAIR_DO_close : 0);
}

static uint32_t br_pair_open(struct br_pair *pair, uint64_t now)
{
    uint64_t forwarded = 0;

    for (int i = 0; i < BR_PAIR_PEERS_MAX; i++)
        if (pair->peer[i].id && pair->peer[i].forwarded > forwarded)
            forwarded = pair->peer[i].forwarded;
    pair->gap = forwarded ? now - forwarded : 0;
    pair->epoch = pair->highest += 1;
    pair->yield = 0;
    pair->until = now + pair->config.interval; /* the gate opens when a beacon has left: br_pair_sent() */
    return br_pair_enter(pair, BR_PAIR_active) | BR_PAIR_DO_announce;
}

/* Close, and hand the gate over. */
static uint32_t br_pair_let_go(struct br_pair *pair, uint64_t now, enum br_pair_state state)
{
    pair->yield = now + BR_PAIR_RELEASE_NS;
    return br_pair_enter(pair, state);
}

static void br_pair_listen(struct br_pair *pair, uint64_t until)
{
    if (pair->listen < until)
        pair->listen = until;
}

/* A step begins. If the thread did not run for a while, what happened since is not known yet; a lease may have ended. */
static uint32_t br_pair_begin(struct br_pair *pair, uint64_t now)
{
    if (now - pair->ran > pair->config.interval * 3 / 2)
        br_pair_listen(pair, now + BR_PAIR_RANK_NS);
    pair->ran = now;
    if (pair->state != BR_PAIR_active || now < pair->until)
        return 0;
    br_pair_listen(pair, now + br_pair_patience(&pair->config));
    return br_pair_enter(pair, BR_PAIR_standby);
}

/* Eligible only now; a peer may become so in the same moment, and must hear of it before either opens. */
static uint32_t br_pair_stand_by(struct br_pair *pair, uint64_t now)
{
    pair->eligible_since = now;
    br_pair_listen(pair, now + BR_PAIR_RANK_NS);
    return br_pair_enter(pair, BR_PAIR_standby);
}

static uint32_t br_pair_settle(struct br_pair *pair, uint64_t now)
{
    const bool eligible = br_pair_is_eligible(pair, now);
    uint32_t todo = 0;

    if (pair->state == BR_PAIR_active && !eligible)
        todo |= br_pair_let_go(pair, now, BR_PAIR_ineligible);
    if (pair->state == BR_PAIR_standby && !eligible)
        todo |= br_pair_enter(pair, BR_PAIR_ineligible);
    if (pair->state == BR_PAIR_ineligible && eligible) {
        todo |= br_pair_stand_by(pair, now);
    }
    if (pair->state == BR_PAIR_standby && br_pair_may_open(pair, now))
        todo |= br_pair_open(pair, now);
    return todo;
}

/* ---- what is heard ----------------------------------------------------------------------------------------------- */

/* The peer of that id, else a free place or that of a peer long silent, else NULL. */
static struct br_pair_peer *br_pair_find(struct br_pair *pair, uint64_t id, uint64_t now)
{
    struct br_pair_peer *place = NULL;

    for (int i = 0; i < BR_PAIR_PEERS_MAX; i++) {
        struct br_pair_peer *peer = &pair->peer[i];

        if (peer->id == id)
            return peer;
        if (!place && (!peer->id || !br_pair_within(now, peer->heard, BR_PAIR_RELEASE_NS)))
            place = peer;
    }
    if (place)
        *place = (struct br_pair_peer){.id = id};
    return place;
}

/* False: a replay, or the same beacon by a second path. */
static bool br_pair_is_news(struct br_pair_peer *peer, const struct br_beacon *beacon)
{
    if (beacon->session < peer->session || (beacon->session == peer->session && beacon->sequence <= peer->sequence))
        return false;
    if (beacon->session > peer->session)
        *peer = (struct br_pair_peer){.id = peer->id, .session = beacon->session, .forwarded = peer->forwarded};
    peer->sequence = beacon->sequence;
    return true;
}

/* The same beacon by a second path, or overtaken by the ones after it. */
static bool br_pair_is_late(const struct br_pair_peer *peer, const struct br_beacon *beacon)
{
    return beacon->session == peer->session && peer->sequence - beacon->sequence < BR_PAIR_LATE;
}

static void br_pair_take(struct br_pair *pair, struct br_pair_peer *peer, uint64_t now, const struct br_beacon *beacon)
{
    const struct br_pair_config *config = &pair->config;

    peer->heard = now;
    peer->lost = false;
    peer->epoch = beacon->epoch;
    peer->priority = beacon->priority;
    peer->eligible = beacon->flags & BR_BEACON_ELIGIBLE;
    peer->wants = beacon->flags & BR_BEACON_WANTS;
    peer->left = beacon->flags & BR_BEACON_LEFT;
    peer->hears = beacon->heard_sender == config->self && beacon->heard_session == config->session;
    peer->granted = beacon->flags & BR_BEACON_GRANTED ? now : 0;
    if (peer->granted)
        peer->forwarded = now;
    if (!(beacon->flags & BR_BEACON_RELEASED))
        peer->released = 0;
    else if (!peer->released)
        peer->released = now;
    if (beacon->epoch > pair->highest)
        pair->highest = beacon->epoch;
}

/* We forward, and so does the peer. Who gives way says so, and the other announces once more: switches may have learned
 * stations from both. */
static uint32_t br_pair_contend(struct br_pair *pair, const struct br_pair_peer *peer, uint64_t now)
{
    const bool greater = peer->epoch != pair->epoch ? peer->epoch > pair->epoch : br_pair_is_better(peer, &pair->config);
    const uint32_t sign = peer->hears ? BR_PAIR_DO_conflict : BR_PAIR_DO_deaf;

    if (peer->hears && !greater)
        return BR_PAIR_DO_send | sign;
    pair->left = now;
    return br_pair_enter(pair, BR_PAIR_standby) | sign;
}

static uint32_t br_pair_answer(struct br_pair *pair, const struct br_pair_peer *peer, uint64_t now, bool just_left)
{
    if (pair->state != BR_PAIR_active)
        return 0;
    if (peer->granted)
        return br_pair_contend(pair, peer, now);
    if (just_left)
        return BR_PAIR_DO_announce;
    if (peer->wants && br_pair_may_serve(pair, peer, now) && br_pair_is_better(peer, &pair->config))
        return br_pair_let_go(pair, now, BR_PAIR_standby);
    return 0;
}

static uint32_t br_pair_crowd(const struct br_pair *pair, uint64_t now)
{
    int n = 0;

    for (int i = 0; i < BR_PAIR_PEERS_MAX; i++)
        n += br_pair_is_fresh(pair, &pair->peer[i], now);
    return n > 1 ? BR_PAIR_DO_crowd : 0;
}

/* Somebody else under our id. Of two such members each takes the beacons of the one that started earlier for its own past. */
static uint32_t br_pair_hear_self(struct br_pair *pair, uint64_t now, const struct br_beacon *beacon)
{
    if (beacon->session == pair->config.session)
        return BR_PAIR_DO_reflected;
    if (beacon->session < pair->config.session)
        return BR_PAIR_DO_replayed;
    pair->twin = now;
    return BR_PAIR_DO_crowd;
}

static uint32_t br_pair_hear_peer(struct br_pair *pair, uint64_t now, const struct br_beacon *beacon)
{
    struct br_pair_peer *peer = br_pair_find(pair, beacon->sender, now);

    if (!peer)
        return BR_PAIR_DO_crowd;
    if (!br_pair_is_news(peer, beacon))
        return br_pair_is_late(peer, beacon) ? 0 : BR_PAIR_DO_replayed;
    const bool had_left = peer->left;

    br_pair_take(pair, peer, now, beacon);
    return br_pair_answer(pair, peer, now, peer->left && !had_left) | br_pair_crowd(pair, now);
}

/* ---- entries ----------------------------------------------------------------------------------------------------- */

void br_pair_init(struct br_pair *pair, const struct br_pair_config *config, uint64_t now)
{
    *pair = (struct br_pair){.config = *config, .due = now, .ran = now, .entered = now, .listen = now + br_pair_patience(config)};
}

void br_pair_remember(struct br_pair *pair, uint64_t id, uint64_t session, uint64_t sequence)
{
    struct br_pair_peer *peer = br_pair_find(pair, id, 0);

    if (!peer)
        return;
    peer->session = session;
    peer->sequence = sequence;
}

uint32_t br_pair_hear(struct br_pair *pair, uint64_t now, const struct br_beacon *beacon)
{
    uint32_t todo = br_pair_begin(pair, now);

    if (beacon->pair != pair->config.pair)
        return todo | BR_PAIR_DO_foreign;
    todo |= beacon->sender == pair->config.self ? br_pair_hear_self(pair, now, beacon)
                                                : br_pair_hear_peer(pair, now, beacon);
    return todo | br_pair_settle(pair, now);
}

uint32_t br_pair_tick(struct br_pair *pair, uint64_t now)
{
    uint32_t todo = br_pair_begin(pair, now);

    for (int i = 0; i < BR_PAIR_PEERS_MAX; i++) {
        struct br_pair_peer *peer = &pair->peer[i];

        if (peer->heard && !peer->lost && !br_pair_is_fresh(pair, peer, now)) {
            peer->lost = true;
            todo |= BR_PAIR_DO_lost;
        }
    }
    todo |= br_pair_settle(pair, now);
    return todo | (pair->repeat || now >= pair->due ? BR_PAIR_DO_send : 0);
}

uint32_t br_pair_set_health(struct br_pair *pair, uint64_t now, bool healthy)
{
    const uint32_t todo = br_pair_begin(pair, now);

    pair->healthy = healthy;
    return todo | br_pair_settle(pair, now);
}

uint32_t br_pair_hold(struct br_pair *pair, uint64_t now, bool held)
{
    const uint32_t todo = br_pair_begin(pair, now);

    pair->held = held;
    return todo | br_pair_settle(pair, now);
}

int br_pair_release(struct br_pair *pair, uint64_t now, uint32_t *todo)
{
    *todo = br_pair_begin(pair, now);
    if (pair->state != BR_PAIR_active)
        return -EPERM;
    for (int i = 0; i < BR_PAIR_PEERS_MAX; i++) {
        if (!br_pair_may_serve(pair, &pair->peer[i], now))
            continue;
        *todo |= br_pair_let_go(pair, now, BR_PAIR_standby);
        return 0;
    }
    return -ENOLINK;
}

/* Better than a peer that forwards and hears us, and eligible for long enough. */
static bool br_pair_wants(const struct br_pair *pair, uint64_t now)
{
    if (!pair->config.preempt || pair->state != BR_PAIR_standby || now < pair->yield ||
        now - pair->eligible_since < pair->config.preempt)
        return false;
    for (int i = 0; i < BR_PAIR_PEERS_MAX; i++) {
        const struct br_pair_peer *peer = &pair->peer[i];

        if (br_pair_is_fresh(pair, peer, now) && peer->granted && peer->hears && !br_pair_is_better(peer, &pair->config))
            return true;
    }
    return false;
}

/* Whom to tell that it is heard: one that forwards first. */
static const struct br_pair_peer *br_pair_heard(const struct br_pair *pair, uint64_t now)
{
    const struct br_pair_peer *heard = NULL;

    for (int i = 0; i < BR_PAIR_PEERS_MAX; i++) {
        const struct br_pair_peer *peer = &pair->peer[i];

        if (br_pair_is_fresh(pair, peer, now) && (!heard || peer->granted > heard->granted))
            heard = peer;
    }
    return heard;
}

void br_pair_write(struct br_pair *pair, uint64_t now, struct br_beacon *beacon)
{
    const struct br_pair_peer *heard = br_pair_heard(pair, now);

    pair->due = now + pair->config.interval;
    pair->repeat -= pair->repeat > 0;
    *beacon = (struct br_beacon){
        .pair = pair->config.pair,
        .sender = pair->config.self,
        .session = pair->config.session,
        .sequence = ++pair->sequence,
        .epoch = pair->epoch,
        .heard_sender = heard ? heard->id : 0,
        .heard_session = heard ? heard->session : 0,
        .priority = pair->config.priority,
    };
    if (pair->state == BR_PAIR_active)
        beacon->flags |= BR_BEACON_GRANTED;
    else if (now < pair->yield)
        beacon->flags |= BR_BEACON_RELEASED;
    if (pair->state != BR_PAIR_ineligible)
        beacon->flags |= BR_BEACON_ELIGIBLE;
    if (br_pair_wants(pair, now))
        beacon->flags |= BR_BEACON_WANTS;
    if (br_pair_within(now, pair->left, BR_PAIR_LEFT_NS))
        beacon->flags |= BR_BEACON_LEFT;
}

void br_pair_sent(struct br_pair *pair, uint64_t now, uint32_t n)
{
    if (pair->state == BR_PAIR_active && n)
        pair->until = now + br_pair_lease(&pair->config);
}

static uint64_t br_pair_sooner(uint64_t next, uint64_t now, uint64_t when)
{
    return when > now && when < next ? when : next;
}

uint64_t br_pair_next(const struct br_pair *pair, uint64_t now)
{
    uint64_t next = pair->due;

    if (pair->repeat || next <= now)
        return now;
    next = br_pair_sooner(next, now, pair->listen);
    next = br_pair_sooner(next, now, pair->yield);
    if (pair->state == BR_PAIR_active)
        next = br_pair_sooner(next, now, pair->until);
    for (int i = 0; i < BR_PAIR_PEERS_MAX; i++) {
        const struct br_pair_peer *peer = &pair->peer[i];

        if (peer->id && peer->heard)
            next = br_pair_sooner(next, now, peer->heard + br_pair_wait(pair, peer));
    }
    return next;
}
