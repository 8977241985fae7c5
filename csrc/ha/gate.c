/* ha/gate.c - see ha/gate.h. */
#include "ha/gate.h"

#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

_Static_assert(offsetof(struct br_gate_page, sequence) == 24, "the witness reads numbers by their offsets");

struct br_gate_page *br_gate_new(void)
{
    const int fd = memfd_create("framebridge-gate", MFD_CLOEXEC);
    struct br_gate_page *page;

    if (fd < 0)
        return NULL;
    if (ftruncate(fd, sizeof(*page)) < 0) {
        close(fd);
        return NULL;
    }
    page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED) {
        close(fd);
        return NULL;
    }
    page->fd = fd; /* the rest is zero: closed */
    return page;
}

void br_gate_free(struct br_gate_page *page)
{
    if (!page)
        return;
    close(page->fd);
    munmap(page, sizeof(*page));
}
