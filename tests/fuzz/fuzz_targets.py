"""The fuzzers, each for its part of FRAMEBRIDGE_FUZZ_SECONDS (60 for all of them). `make fuzz` builds and runs them.

A target begins with the inputs under corpus/ and findings/, which are kept in the repository, and with what earlier
runs in this checkout found to be new (build/fuzz/corpus). An input that breaks something is written to
build/fuzz/findings; mended, it moves to findings/ here, and what it shows becomes a test.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build" / "fuzz"
C_TARGETS = {"core": 1984, "received": 1984, "parsers": 400}  # and the longest input
PYTHON_TARGETS = {"toml": 2000, "fdb_file": 1000, "control": 2000}
ALL_SECONDS = float(os.environ.get("FRAMEBRIDGE_FUZZ_SECONDS", "60"))
SECONDS = ALL_SECONDS / len(C_TARGETS | PYTHON_TARGETS)
SEED = 1 if ALL_SECONDS <= 60 else 0  # 0: other inputs each time; a minute is the same minute each time
ONE_INPUT = 30  # seconds; longer is a finding, too


def without_clang() -> str:
    """Why the fuzzers of C cannot be had; empty: they can."""
    if not shutil.which("clang"):
        return "the fuzzers of csrc/ are skipped: no clang here (Debian: clang, libclang-rt-dev)"
    if not all((BUILD / target).exists() for target in C_TARGETS):
        return "the fuzzers of csrc/ are skipped: clang has no libFuzzer here (Debian: libclang-rt-dev)"
    return ""


def run(name: str, longest: int, *command: str) -> None:
    """Run a target until its time is over; fail with what it says when it found something."""
    corpora = [BUILD / "corpus" / name, HERE / "corpus" / name, HERE / "findings" / name]
    findings = BUILD / "findings" / name
    for folder in (*corpora[:1], findings):
        folder.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={max(1, round(SECONDS))}",
        f"-max_len={longest}",
        f"-seed={SEED}",
        f"-timeout={ONE_INPUT}",
        f"-artifact_prefix={findings}/",
        "-len_control=0",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
    ]
    done = subprocess.run(
        [*command, *options, *(str(corpus) for corpus in corpora if corpus.exists())],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=SECONDS + 600,
    )
    assert done.returncode == 0, f"{name} found something, see {findings}:\n{done.stdout[-8000:]}"
    print(*(line for line in done.stdout.splitlines() if line.startswith("stat::number_of_executed")), name)


@pytest.mark.timeout(SECONDS + 660)
@pytest.mark.parametrize("name", C_TARGETS)
def test_the_core_stands_whatever_comes(name: str) -> None:
    if missing := without_clang():
        pytest.skip(missing)
    run(name, C_TARGETS[name], str(BUILD / name))


@pytest.mark.timeout(SECONDS + 660)
@pytest.mark.parametrize("name", PYTHON_TARGETS)
def test_the_control_plane_stands_whatever_it_is_told(name: str) -> None:
    if not importlib.util.find_spec("atheris"):
        pytest.skip("the fuzzers of bridge/ are skipped: no atheris for this Python")
    BUILD.mkdir(parents=True, exist_ok=True)
    run(
        name,
        PYTHON_TARGETS[name],
        sys.executable,
        str(HERE / "documents.py"),
        name,
        str(BUILD / f"{name}.words"),
    )
