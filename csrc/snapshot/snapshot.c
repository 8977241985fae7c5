/* snapshot/snapshot.c - see snapshot/snapshot.h. */
#include "snapshot/snapshot.h"

const struct br_snapshot br_snapshot_none;
