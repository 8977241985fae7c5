"""Memory at an address that is a multiple of a cache line, which Cython's libc does not declare."""


cdef extern from "<stdlib.h>" nogil:
    void *aligned_alloc(size_t alignment, size_t size)
