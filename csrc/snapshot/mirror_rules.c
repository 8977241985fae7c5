/* snapshot/mirror_rules.c - see snapshot/mirror_rules.h. */
#include "snapshot/mirror_rules.h"

#include <stddef.h>

uint8_t br_mirror_add(struct br_mirrors *mirrors, const struct br_mirror *mirror)
{
    const uint8_t place = (uint8_t)mirrors->n++;
    uint8_t queue = 0;

    if (!mirror->capture)
        mirrors->to_port |= (uint8_t)(1u << place);
    while (queue < place && (mirror->capture || mirrors->mirror[queue].capture || mirrors->mirror[queue].target != mirror->target))
        queue++;
    mirrors->mirror[place] = *mirror;
    mirrors->mirror[place].queue = queue;
    return (uint8_t)(1u << place);
}
