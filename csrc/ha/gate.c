/* ha/gate.c - see ha/gate.h. */
#include "ha/gate.h"

#include <sys/mman.h>

struct br_gate_page *br_gate_new(void)
{
    void *page = mmap(NULL, sizeof(struct br_gate_page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    return page == MAP_FAILED ? NULL : page; /* all zero: closed */
}

void br_gate_free(struct br_gate_page *page)
{
    if (page)
        munmap(page, sizeof(*page));
}
