"""Giving up capabilities: what is kept, for whom, and that it is for good; sentences about what is missing."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from bridge import privileges

EVERYTHING = frozenset(privileges.NUMBERS)


def in_a_process(code: str) -> str:
    """What code prints that may do what it likes to its own process."""
    program = f"from bridge import privileges\nimport os, subprocess, sys, threading\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


@pytest.fixture(autouse=True)
def as_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, who has capabilities to give up")


def test_numbers_are_those_of_the_kernel() -> None:
    assert {name: privileges.NUMBERS[name] for name in ("CAP_CHOWN", "CAP_NET_ADMIN", "CAP_NET_RAW")} == {
        "CAP_CHOWN": 0,
        "CAP_NET_ADMIN": 12,
        "CAP_NET_RAW": 13,
    }
    assert [privileges.NUMBERS[f"CAP_{name}"] for name in ("SYS_ADMIN", "PERFMON", "BPF")] == [21, 38, 39]
    assert privileges.NUMBERS["CAP_CHECKPOINT_RESTORE"] == 40


def test_what_is_given_up_does_not_come_back_with_another_program() -> None:
    code = """
privileges.restrict(privileges.PORTS)
print(*sorted(privileges.held()))
words = ["grep", "-E", "^(Cap(Eff|Prm|Bnd|Amb|Inh)|NoNewPrivs)", "/proc/self/status"]
print(subprocess.run(words, capture_output=True, text=True).stdout)
"""
    names, *lines = in_a_process(code).splitlines()

    kept = f"{1 << 2 | 1 << 12 | 1 << 13:016x}"
    nothing = f"{0:016x}"
    assert names == "CAP_DAC_READ_SEARCH CAP_NET_ADMIN CAP_NET_RAW"
    found = dict(line.split(":\t") for line in lines)
    assert found == {"CapInh": nothing, "CapAmb": nothing, "NoNewPrivs": "1"} | dict.fromkeys(
        ("CapEff", "CapPrm", "CapBnd"), kept
    )


def test_what_was_never_held_is_not_asked_for() -> None:
    code = """
privileges.restrict({"CAP_NET_RAW"})
print(*sorted(privileges.restrict(privileges.PORTS | privileges.OFFLOAD)))
"""
    assert in_a_process(code) == "CAP_DAC_READ_SEARCH CAP_NET_RAW"


def test_a_thread_drops_all_and_the_others_keep_theirs() -> None:
    found: list[frozenset[str]] = []

    def drop() -> None:
        privileges.drop_all()
        found.append(privileges.held())

    before = privileges.held()
    thread = threading.Thread(target=drop)
    thread.start()
    thread.join()

    assert (found, privileges.held()) == ([frozenset()], before)


@pytest.mark.parametrize(
    ("held", "needed", "said"),
    [
        (
            frozenset(),
            privileges.PORTS,
            "lacks the capabilities CAP_NET_ADMIN and CAP_NET_RAW: start it as root",
        ),
        ({"CAP_NET_RAW"}, privileges.PORTS, "lacks the capability CAP_NET_ADMIN: start it as root"),
        (
            privileges.PORTS,
            privileges.NAMESPACES,
            "lacks the capability CAP_SYS_ADMIN: start it with a config",
        ),
        (
            privileges.PORTS,
            privileges.OFFLOAD,
            "lacks the capability CAP_BPF: start it with `offload` in its",
        ),
        (
            EVERYTHING,
            privileges.PORTS,
            "holds CAP_NET_ADMIN and CAP_NET_RAW: the container or a security module",
        ),
    ],
)
def test_the_way_out_names_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, held: frozenset[str], needed: frozenset[str], said: str
) -> None:
    monkeypatch.setattr(privileges, "held", lambda: frozenset(held))

    assert privileges.way_out(needed).startswith(f"; framebridge {said}")


def test_facts_of_a_thread() -> None:
    facts = privileges.facts(threading.get_native_id())

    assert facts["user"] == "root"
    assert facts["capabilities"] == facts["data_thread_capabilities"] == sorted(privileges.held())
    assert privileges.facts(None)["data_thread_capabilities"] is None
