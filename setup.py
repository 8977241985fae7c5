"""Build of the one extension file, `bridge.core._core`: Cython, in parts, over everything in csrc/.

Beside it bridge/declared.py is written: the limits and names that csrc/ declares, for Python without the core.
Metadata is in pyproject.toml. FRAMEBRIDGE_STRICT=1, as the Makefile says, makes warnings of the compilers and
performance hints of Cython errors: for those who change the code, not for those who install it with a compiler of
their own. FRAMEBRIDGE_SANITIZE=1 builds with ASan and UBSan (see `make debug`); FRAMEBRIDGE_NO_ACCOUNTING=1 without
stamps and bill, only to measure what they cost.
"""

import os
import re
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

SANITIZE = os.environ.get("FRAMEBRIDGE_SANITIZE") == "1"

PARTS = ("_core", "_handles", "_snapshot", "_ha")
SOURCES = sorted(str(path) for path in Path("csrc").glob("*/*.c"))
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

setup(ext_modules=[core])
