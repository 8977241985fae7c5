"""libbpf as far as we need it: programs and maps from an object file, and the few calls of bpf(2) around them.

Job: find the library when it is wanted (it is not needed to run), and turn its failures into OffloadError.
Thread: any; `attach_tcx` in one that is in the namespace of the device.
Source: the headers of libbpf 1.0, bpf/libbpf.h and bpf/bpf.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from ctypes import c_char_p, c_int, c_size_t, c_uint32, c_void_p
from pathlib import Path
from typing import Any

from bridge import privileges
from bridge.errors import FramebridgeError

SONAME = "libbpf.so.1"
TCX_INGRESS, TCX_EGRESS = 46, 47  # enum bpf_attach_type, include/uapi/linux/bpf.h
LOG_MAX = 2000  # characters of what the verifier said


class OffloadError(FramebridgeError):
    """Why the kernel does not forward for us, and the way out."""


_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "bpf_object__open_file": (c_void_p, (c_char_p, c_void_p)),
    "bpf_object__load": (c_int, (c_void_p,)),
    "bpf_object__close": (None, (c_void_p,)),
    "bpf_object__find_map_by_name": (c_void_p, (c_void_p, c_char_p)),
    "bpf_object__next_map": (c_void_p, (c_void_p, c_void_p)),
    "bpf_object__next_program": (c_void_p, (c_void_p, c_void_p)),
    "bpf_map__name": (c_char_p, (c_void_p,)),
    "bpf_map__set_max_entries": (c_int, (c_void_p, c_uint32)),
    "bpf_map__set_initial_value": (c_int, (c_void_p, c_void_p, c_size_t)),
    "bpf_map__reuse_fd": (c_int, (c_void_p, c_int)),
    "bpf_map__fd": (c_int, (c_void_p,)),
    "bpf_map__key_size": (c_uint32, (c_void_p,)),
    "bpf_map__value_size": (c_uint32, (c_void_p,)),
    "bpf_program__name": (c_char_p, (c_void_p,)),
    "bpf_program__set_autoload": (c_int, (c_void_p, ctypes.c_bool)),
    "bpf_program__fd": (c_int, (c_void_p,)),
    "bpf_link_create": (c_int, (c_int, c_int, c_int, c_void_p)),
    "bpf_map_lookup_elem": (c_int, (c_int, c_void_p, c_void_p)),
    "bpf_map_update_elem": (c_int, (c_int, c_void_p, c_void_p, ctypes.c_uint64)),
    "bpf_map_get_next_key": (c_int, (c_int, c_void_p, c_void_p)),
    "libbpf_num_possible_cpus": (c_int, ()),
    "libbpf_set_print": (c_void_p, (c_void_p,)),
}
_PRINT = ctypes.CFUNCTYPE(c_int, c_int, c_char_p, c_void_p)


class Libbpf:
    """The library, loaded; raises OffloadError if it is not there."""

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL(SONAME, use_errno=True)
        except OSError as error:
            raise OffloadError(f"{SONAME} is not there: install the package libbpf1") from error
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(self._library, name)
            function.restype, function.argtypes = result, arguments
        self._quiet = _PRINT(lambda level, text, arguments: 0)
        self.call("libbpf_set_print", ctypes.cast(self._quiet, c_void_p))

    def call(self, name: str, *arguments: object) -> Any:
        """Call a function as it is."""
        return getattr(self._library, name)(*arguments)

    def check(self, name: str, *arguments: object) -> int:
        """Call a function that returns a negative errno; raises OSError."""
        result: int = self.call(name, *arguments)
        if result < 0:
            code = -result if result != -1 else ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return result

    @property
    def cpus(self) -> int:
        """CPUs that may ever be: values of a map for each CPU have so many parts."""
        return self.check("libbpf_num_possible_cpus")


class Map:
    """A map by its descriptor, which is ours."""

    def __init__(self, library: Libbpf, fd: int, key_size: int, value_size: int) -> None:
        self._library = library
        self.fd = fd
        self._key_size, self._value_size = key_size, value_size

    def close(self) -> None:
        """Let go of it."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def keys(self) -> Iterator[bytes]:
        """Give every key; one that is added meanwhile may be missed."""
        before, key = None, ctypes.create_string_buffer(self._key_size)
        while self._library.call("bpf_map_get_next_key", self.fd, before, key) == 0:
            yield key.raw
            before = ctypes.create_string_buffer(key.raw, self._key_size)

    def per_cpu(self, key: bytes) -> bytes | None:
        """Give the values of a key, one for each CPU, 8 bytes aligned; None: there is none."""
        value = ctypes.create_string_buffer((self._value_size + 7) // 8 * 8 * self._library.cpus)
        if self._library.call("bpf_map_lookup_elem", self.fd, key, value) != 0:
            return None
        return value.raw


class Object:
    """An object file, opened; its maps and programs come to be with `load`."""

    def __init__(self, library: Libbpf, path: Path) -> None:
        self._library = library
        self._raw = library.call("bpf_object__open_file", os.fsencode(path), None)
        if not self._raw:
            raise OffloadError(f"cannot open {path}: {os.strerror(ctypes.get_errno())}")

    def close(self) -> None:
        """Free it; programs that are attached stay."""
        raw, self._raw = self._raw, None
        if raw:
            self._library.call("bpf_object__close", raw)

    def _map(self, name: str) -> Any:
        found = self._library.call("bpf_object__find_map_by_name", self._raw, name.encode())
        if not found:
            raise OffloadError(f"the program has no map {name!r}; build it again")
        return found

    def resize(self, sizes: Mapping[str, int]) -> None:
        """Give maps so many entries; before `load`."""
        for name, size in sizes.items():
            self._library.check("bpf_map__set_max_entries", self._map(name), size)

    def set_constants(self, value: bytes) -> None:
        """Set the constants (.rodata), which begin with these bytes; before `load`."""
        found = None
        while found := self._library.call("bpf_object__next_map", self._raw, found):
            if self._library.call("bpf_map__name", found).endswith(b".rodata"):
                size = self._library.call("bpf_map__value_size", found)
                self._library.check("bpf_map__set_initial_value", found, value.ljust(size, b"\0"), size)

    def share(self, maps: Mapping[str, Map]) -> None:
        """Use these maps in place of new ones; before `load`."""
        for name, one in maps.items():
            self._library.check("bpf_map__reuse_fd", self._map(name), one.fd)

    def choose(self, programs: Sequence[str]) -> None:
        """Load no other programs than these."""
        found = None
        while found := self._library.call("bpf_object__next_program", self._raw, found):
            name = self._library.call("bpf_program__name", found).decode()
            self._library.check("bpf_program__set_autoload", found, name in programs)

    def load(self) -> None:
        """Have the kernel take it; raises OffloadError."""
        try:
            self._library.check("bpf_object__load", self._raw)
        except OSError as error:
            raise OffloadError(f"the kernel does not take the program: {_reason(error)}") from error

    def program(self, name: str) -> int:
        """Give the descriptor of a program, which lives as long as this object."""
        found = None
        while found := self._library.call("bpf_object__next_program", self._raw, found):
            if self._library.call("bpf_program__name", found).decode() == name:
                return self._library.check("bpf_program__fd", found)
        raise OffloadError(f"the program has no part {name!r}; build it again")

    def take_map(self, name: str) -> Map:
        """Give a map with a descriptor of its own."""
        found = self._map(name)
        fd = os.dup(self._library.check("bpf_map__fd", found))
        size = self._library.call
        return Map(self._library, fd, size("bpf_map__key_size", found), size("bpf_map__value_size", found))


def _reason(error: OSError) -> str:
    if error.errno in (errno.EPERM, errno.EACCES):
        return f"{error.strerror}{privileges.way_out(privileges.OFFLOAD | privileges.PORTS)}"
    if error.errno in (errno.EINVAL, errno.ENOTSUP):
        return f"{error.strerror}; Linux 5.17 or newer is needed"
    return error.strerror or str(error)


def attach_tcx(library: Libbpf, program: int, ifindex: int, *, egress: bool) -> int:
    """Attach a program to a device of this thread's namespace; it goes with the descriptor. Raises OSError."""
    return library.check("bpf_link_create", program, ifindex, TCX_EGRESS if egress else TCX_INGRESS, None)
