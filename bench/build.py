"""Builds the C programs of the harness: the traffic tool and the bare loop.

Job: `program(name)` is the path of an executable that is up to date with its sources; it is compiled when
needed. The sources of a program are the C files of the directory of its name. Two processes may build at
once: the result is moved into place as a whole. Refuses (BenchError): no compiler, sources that do not
compile.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from bench.errors import BenchError

SOURCE = Path(__file__).parent
PROGRAMS = ("traffic", "floor")
CFLAGS = ("-std=c11", "-D_GNU_SOURCE", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-pthread")


def directory() -> Path:
    """Where programs are put: FRAMEBRIDGE_BENCH_BUILD, else build/bench next to the package."""
    return Path(os.environ.get("FRAMEBRIDGE_BENCH_BUILD") or SOURCE.parent / "build" / "bench")


def sources(name: str) -> list[Path]:
    """List the files a program is made of, headers included."""
    cycles = SOURCE.parent / "csrc" / "count" / "cycles.h"
    return sorted([*(SOURCE / name).glob("*.c"), *(SOURCE / name).glob("*.h"), cycles])


@cache
def program(name: str) -> str:
    """Return the path of a program, compiled now if a source is newer."""
    target = directory() / name
    newest = max(path.stat().st_mtime_ns for path in sources(name))
    if not target.exists() or target.stat().st_mtime_ns <= newest:
        compile_program(name, target)
    return str(target)


def compile_program(name: str, target: Path) -> None:
    """Compile a program into `target`."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        raise BenchError("no C compiler: install gcc, or name one in CC")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        made = Path(scratch) / name
        units = [str(path) for path in sources(name) if path.suffix == ".c"]
        done = subprocess.run(
            [compiler, *CFLAGS, *units, "-o", str(made)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise BenchError(f"{name} does not compile:\n{done.stderr}")
        made.replace(target)


def build_all() -> list[str]:
    """Bring every program up to date; returns their paths."""
    return [program(name) for name in PROGRAMS]
