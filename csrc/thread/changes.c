/* thread/changes.c - see thread/changes.h. */
#include "thread/changes.h"

#include <errno.h>
#include <stdlib.h>

#include "fdb/fdb.h"
#include "pipeline/stages.h"
#include "port/port.h"
#include "thread/call.h"

struct br_apply_call {
    struct br_call call;
    const struct br_snapshot *snapshot;
    int error;
};

static bool br_apply_step(struct br_bridge *bridge, struct br_call *call)
{
    struct br_apply_call *apply = (struct br_apply_call *)call;
    struct br_thread *thread = &bridge->thread;
    const struct br_snapshot *old = thread->batch.snapshot;

    apply->error = br_loop_watch(bridge, old, apply->snapshot);
    if (!apply->error) {
        br_budget_carry(&thread->budgets, old, apply->snapshot);
        br_mirror_carry(&thread->mirror, &old->mirrors, &apply->snapshot->mirrors);
        thread->batch.snapshot = apply->snapshot;
    }
    bridge->loop.busy = true; /* look at every port once before sleeping */
    return true;
}

int br_bridge_apply(struct br_bridge *bridge, const struct br_snapshot *snapshot)
{
    struct br_apply_call apply = {.call.step = br_apply_step, .snapshot = snapshot ? snapshot : &br_snapshot_none};

    br_bridge_call(bridge, &apply.call);
    return apply.error;
}

struct br_originate_call {
    struct br_call call;
    struct br_origination *frame;
    uint32_t n;
    uint32_t done;
};

enum { BR_ORIGINATE_SLICE = 16 }; /* frames between two looks at the ports */

static bool br_originate_step(struct br_bridge *bridge, struct br_call *call)
{
    struct br_originate_call *own = (struct br_originate_call *)call;
    const bool gated = bridge->gate && !br_gate_is_open(bridge->gate, br_gate_clock());

    for (int i = 0; i < BR_ORIGINATE_SLICE && own->done < own->n; i++, own->done++)
        own->frame[own->done].result = gated ? -EHOSTDOWN : (int16_t)br_originate(&bridge->thread.batch, &own->frame[own->done]);
    return own->done == own->n;
}

void br_bridge_originate(struct br_bridge *bridge, struct br_origination *frame, uint32_t n)
{
    struct br_originate_call own = {.call.step = br_originate_step, .frame = frame, .n = n};

    br_bridge_call(bridge, &own.call);
}

struct br_shift_call {
    struct br_call call;
    int64_t cycles;
};

static bool br_shift_step(struct br_bridge *bridge, struct br_call *call)
{
    const uint64_t cycles = (uint64_t)((struct br_shift_call *)call)->cycles;
    struct br_thread *thread = &bridge->thread;

    thread->batch.stamp -= cycles;
    for (uint32_t i = 0; i < thread->batch.snapshot->n_budgets; i++) {
        thread->budgets.state[i].bucket.stamp -= cycles;
        thread->budgets.state[i].last_over -= cycles;
    }
    br_heartbeat_shift(&thread->heartbeats, cycles);
    return true;
}

void br_bridge_shift_clock(struct br_bridge *bridge, int64_t cycles)
{
    struct br_shift_call shift = {.call.step = br_shift_step, .cycles = cycles};

    br_bridge_call(bridge, &shift.call);
}

struct br_share_call {
    struct br_call call;
    struct br_offload_maps *offload;
    struct br_fdb_entry *memory; /* where the table goes, and what is free then */
};

static bool br_share_step(struct br_bridge *bridge, struct br_call *call)
{
    struct br_share_call *share = (struct br_share_call *)call;
    struct br_thread *thread = &bridge->thread;

    share->memory = br_fdb_move(&thread->fdb, share->offload, share->memory);
    thread->bill.entry = thread->fdb.entry;
    br_handover_begin(&bridge->handover, share->offload ? share->offload->page : NULL);
    return true;
}

int br_bridge_share(struct br_bridge *bridge, struct br_offload_maps *offload)
{
    struct br_share_call share = {.call.step = br_share_step, .offload = offload};

    if (offload && bridge->gate) /* programs in the kernel know of no gate */
        return -EBUSY;
    if (!offload) {
        share.memory = br_fdb_allocate(br_fdb_slots(&bridge->thread.fdb));
        if (!share.memory)
            return -ENOMEM;
    }
    br_bridge_call(bridge, &share.call);
    free(share.memory);
    return 0;
}

struct br_close_call {
    struct br_call call;
    uint32_t serial;
};

static bool br_close_step(struct br_bridge *bridge, struct br_call *call)
{
    br_bill_close(&bridge->thread.bill, ((struct br_close_call *)call)->serial);
    return true;
}

void br_bridge_close(struct br_bridge *bridge, struct br_port *port)
{
    struct br_close_call close = {.call.step = br_close_step, .serial = port->serial};

    br_bridge_call(bridge, &close.call);
    br_port_close(port);
}

enum { BR_FDB_SLICE = 64 }; /* changes between two looks at the ports */

struct br_fdb_call {
    struct br_call call;
    struct br_fdb_change *change;
    uint32_t n;
    uint32_t done;
};

static int br_fdb_restore_change(struct br_bridge *bridge, const struct br_fdb_change *change,
                                 struct br_learned *learned)
{
    const struct br_snapshot *snapshot = bridge->thread.batch.snapshot;
    const struct br_port_config *port = &snapshot->port[change->port];
    const uint16_t vid = (uint16_t)(change->key >> 48);

    if (change->kind == BR_FDB_STICKY) /* set by hand: it waits in the table for its port, and no limit holds for it */
        return br_fdb_restore(&bridge->thread.fdb, change->key, &(struct br_learn_rules){.port = change->port},
                              BR_FDB_STICKY, change->tick, learned);
    if (!port->port || !port->up || !br_set_has(&snapshot->vlan[vid], change->port))
        return -EPERM;
    const struct br_learn_rules rules = br_learn_rules(snapshot, port, vid);
    return br_fdb_restore(&bridge->thread.fdb, change->key, &rules, (enum br_fdb_kind)change->kind, change->tick,
                          learned);
}

static int br_fdb_change(struct br_bridge *bridge, const struct br_fdb_change *change, struct br_learned *learned)
{
    struct br_fdb *fdb = &bridge->thread.fdb;

    switch ((enum br_fdb_verb)change->verb) {
    case BR_FDB_SET:
        return br_fdb_set(fdb, change->key, change->port, (enum br_fdb_kind)change->kind, learned);
    case BR_FDB_DELETE:
        return br_fdb_delete(fdb, change->key);
    case BR_FDB_FORGET:
        return br_fdb_forget(fdb, change->key, change->port);
    case BR_FDB_EXPIRE:
        return br_fdb_expire(fdb, change->key, change->tick);
    case BR_FDB_RESTORE:
        return br_fdb_restore_change(bridge, change, learned);
    case BR_FDB_FLUSH_PORT:
        br_fdb_flush_port(fdb, change->port);
        return 0;
    case BR_FDB_FLUSH_VLAN:
        br_fdb_flush_vlan(fdb, (uint16_t)change->key);
        return 0;
    case BR_FDB_FLUSH_ALL:
        br_fdb_flush_all(fdb);
        return 0;
    }
    return -EINVAL;
}

static bool br_fdb_step(struct br_bridge *bridge, struct br_call *call)
{
    struct br_fdb_call *changes = (struct br_fdb_call *)call;

    for (int i = 0; i < BR_FDB_SLICE && changes->done < changes->n; i++) {
        struct br_fdb_change *change = &changes->change[changes->done++];
        struct br_learned learned = {0};

        change->result = (int16_t)br_fdb_change(bridge, change, &learned);
        br_learn_evicted(&bridge->thread.batch, &learned, change->kind == BR_FDB_DROP ? UINT16_MAX : change->port);
    }
    return changes->done == changes->n;
}

void br_bridge_fdb(struct br_bridge *bridge, struct br_fdb_change *change, uint32_t n)
{
    struct br_fdb_call changes = {.call.step = br_fdb_step, .change = change, .n = n};

    br_bridge_call(bridge, &changes.call);
}
