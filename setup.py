"""Build of the one extension file, `bridge.core._core`: Cython, in parts, over everything in csrc/.

The programs that the kernel runs for us are compiled beside it, where clang and the headers of libbpf are there.

Beside it bridge/declared.py is written: the limits and names that csrc/ declares, for Python without the core.
Metadata is in pyproject.toml. FRAMEBRIDGE_STRICT=1, as the Makefile says, makes warnings of the compilers and
performance hints of Cython errors: for those who change the code, not for those who install it with a compiler of
their own. FRAMEBRIDGE_SANITIZE=1 builds with ASan and UBSan (see `make debug`); FRAMEBRIDGE_NO_ACCOUNTING=1 without
stamps and bill, only to measure what they cost.
"""

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

from Cython.Compiler import Errors, Options

STRICT = os.environ.get("FRAMEBRIDGE_STRICT") == "1"

if STRICT:  # before the compiler's modules are loaded, which import the function by name
    Options.warning_errors = True
    Errors.performance_hint = lambda position, message, env: Errors.error(
        position, f"performance hint: {message}"
    )

from Cython.Build import cythonize  # noqa: E402
from setuptools import Extension, setup  # noqa: E402
from setuptools.command.build_ext import build_ext  # noqa: E402

SANITIZE = os.environ.get("FRAMEBRIDGE_SANITIZE") == "1"

PARTS = ("_core", "_handles", "_offload", "_snapshot", "_ha", "_multicast")
PROGRAM = Path("csrc/offload/unicast.bpf.c")  # for the kernel, not for the extension
SOURCES = sorted(str(path) for path in set(Path("csrc").glob("*/*.c")) - {PROGRAM})
HEADERS = sorted(str(path) for path in Path("csrc").glob("*/*.h"))

# Cython's generated code is not ours to keep free of these; everything in csrc/ is.
CFLAGS = [
    "-std=gnu11",
    "-Wall",
    "-Wextra",
    *(["-Werror"] if STRICT else []),
    "-Wno-unused-parameter",
    "-Wno-missing-field-initializers",
    "-fno-strict-aliasing",
    "-fvisibility=hidden",
]
OPTIMISE = ["-O3", "-g"]
CHECKS = "-fsanitize=address,undefined"
SANITIZERS = ["-O1", "-g", CHECKS, "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]

MACROS = [("_GNU_SOURCE", "1")]
if os.environ.get("FRAMEBRIDGE_NO_ACCOUNTING") == "1":
    MACROS.append(("BR_NO_ACCOUNTING", "1"))

# The verifier lets only CAP_PERFMON write over a pointer that was saved on the stack, so slots are not shared; clang 14
# needs v3 for atomic operations.
BPF_FLAGS = ["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-ffreestanding", "-Wall", "-Wextra"]
BPF_FLAGS += [
    "-mllvm",
    "-no-stack-coloring",
    "-mllvm",
    "-no-stack-slot-sharing",
    *(["-Werror"] if STRICT else []),
]


class Build(build_ext):
    """The extension, and beside it `bridge/offload/unicast.bpf.o`."""

    def run(self):
        """Build the extension, then the program."""
        super().run()
        self.build_program(Path("." if self.inplace else self.build_lib) / "bridge/offload/unicast.bpf.o")

    def build_program(self, target):
        """Compile the program, or say what is missing; one of before is not left in its place."""
        missing = [] if shutil.which("clang") else ["clang"]
        missing += [] if Path("/usr/include/bpf/bpf_helpers.h").exists() else ["libbpf-dev"]
        if missing:
            self.announce(f"no offload to the kernel in this build: install {' and '.join(missing)}", level=3)
            target.unlink(missing_ok=True)
            return
        includes = ["-Icsrc", f"-I/usr/include/{sysconfig.get_config_var('MULTIARCH')}"]
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["clang", *BPF_FLAGS, *includes, "-c", str(PROGRAM), "-o", str(target)], check=True)
        strip = shutil.which("llvm-strip")
        if strip:  # DWARF is of no use there; the types (BTF) stay
            subprocess.run([strip, "-g", str(target)], check=True)


# Each part is a module of its own; their code goes into one file, which alone links csrc/ (bridge/core/__init__.py).
parts = cythonize(
    [Extension(f"bridge.core.{part}", [f"bridge/core/{part}.pyx"]) for part in PARTS],
    compiler_directives={"language_level": 3, "boundscheck": False, "wraparound": False},
)
core = Extension(
    "bridge.core._core",
    sources=[*(part.sources[0] for part in parts), *SOURCES],
    depends=HEADERS,
    include_dirs=["csrc"],
    define_macros=MACROS,
    extra_compile_args=CFLAGS + (SANITIZERS if SANITIZE else OPTIMISE),
    extra_link_args=[CHECKS] if SANITIZE else [],
)

LIMIT = re.compile(r"\bBR_(\w+) = (\d+(?: << \d+)?),")
SYMBOL = re.compile(r"X\((\w+),")
LISTS = re.compile(r"^#define BR_(\w+)\(X\)((?:.*\\\n)+.*)$", re.MULTILINE)


def declared() -> str:
    """Write what csrc/ declares as a Python module: each limit a number, each list of names a tuple."""
    limits = LIMIT.findall(Path("csrc/count/limits.h").read_text())
    lists = LISTS.findall(Path("csrc/count/counters.h").read_text())
    lines = [
        '"""What csrc/count/limits.h and counters.h declare. Written by setup.py with each build."""',
        "",
    ]
    lines += [f"{name} = {value}" for name, value in limits]
    lines += [f"{name} = {tuple(SYMBOL.findall(body))}" for name, body in lists]
    return "\n".join(lines) + "\n"


Path("bridge/declared.py").write_text(declared())

setup(cmdclass={"build_ext": Build}, ext_modules=[core])
