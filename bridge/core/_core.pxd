"""Declarations for bridge/core/_core.pyx: those of csrc/, by folder, and one of the C library."""

from bridge.core.account cimport *
from bridge.core.count cimport *
from bridge.core.fdb cimport *
from bridge.core.frame cimport *
from bridge.core.mirror cimport *
from bridge.core.pipeline cimport *
from bridge.core.port cimport *
from bridge.core.protect cimport *
from bridge.core.snapshot cimport *
from bridge.core.thread cimport *


cdef extern from "<stdlib.h>" nogil:
    void *aligned_alloc(size_t alignment, size_t size)
