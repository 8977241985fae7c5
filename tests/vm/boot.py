"""Run pytest in a virtual machine with Debian's kernel: `python tests/vm/boot.py PYTEST-ARGUMENT...`

Job: boot the kernel that tests/vm/prepare unpacked, over this very file system (read-only; virtme-ng), without KVM;
show what pytest says while it says it; end with pytest's status. Inside, everything is root's.
Refuses: no kernel, no virtme-ng. An emulated processor is slow: a minute passes before the first test, and every test
takes twenty times as long as here.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
DIRECTORY = CHECKOUT / "build" / "vm"
SHARE = DIRECTORY / "share"
CONSOLE = DIRECTORY / "console.log"
MEMORY = "1500M"
PROCESSORS = "2"
LIMIT = 3600.0  # seconds for everything
BOOT_LIMIT = 600.0  # of them until the first test is looked for


def main(arguments: list[str]) -> int:
    kernels = sorted((DIRECTORY / "linux" / "boot").glob("vmlinuz-*"))
    vng = Path(sys.executable).with_name("vng")
    if not kernels or not vng.exists():
        print("no kernel or no virtme-ng here: `make test-vm` gets both", file=sys.stderr)
        return 2
    SHARE.mkdir(parents=True, exist_ok=True)
    output, status = SHARE / "output", SHARE / "status"
    for file in (output, status):
        file.unlink(missing_ok=True)
    # Not as words of the command: virtme-ng puts that into the kernel's, which takes 2,047 bytes and dies of more.
    (SHARE / "arguments").write_bytes(b"".join(argument.encode() + b"\0" for argument in arguments))
    with CONSOLE.open("wb") as console:
        machine = subprocess.Popen(
            command(str(vng), kernels[-1]),
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            cwd=CHECKOUT,
            env={**os.environ, "PATH": f"{vng.parent}:{os.environ['PATH']}"},
            start_new_session=True,  # virtme-ng and QEMU end together
        )
        try:
            follow(machine, output)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(machine.pid, signal.SIGTERM)
            machine.wait()
    if not status.exists():
        print(f"the virtual machine ended before its tests; the end of {CONSOLE}:", file=sys.stderr)
        print(CONSOLE.read_text(errors="replace")[-2000:], file=sys.stderr)
        return 1
    return int(status.read_text())


def command(vng: str, kernel: Path) -> list[str]:
    """The command line of virtme-ng."""
    inside = shlex.join([str(CHECKOUT / "tests/vm/inside"), str(CHECKOUT), str(SHARE)])
    host = "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap"
    qemu = f"-fsdev {host} -device virtio-9p-pci,fsdev=host,mount_tag=host"
    return [
        *(vng, "--verbose", "--run", str(kernel), "--disable-kvm", "--user", "root"),
        *("--cpus", PROCESSORS, "--memory", MEMORY, "--append", "mitigations=off"),
        *(f"--rwdir={SHARE}", f"--qemu-opts={qemu}", "--exec", inside),
    ]


def follow(machine: subprocess.Popen[bytes], output: Path) -> None:
    """Copy what pytest writes to stdout until the machine ends."""
    start = time.monotonic()
    shown = 0
    while True:
        ended = machine.poll() is not None
        if output.exists():
            with output.open("rb") as file:
                file.seek(shown)
                text = file.read()
            shown += len(text)
            sys.stdout.buffer.write(text)
            sys.stdout.flush()
        if ended:
            return
        limit = LIMIT if output.exists() else BOOT_LIMIT
        if time.monotonic() - start > limit:
            print(f"\nnot done after {limit:g} s: given up", file=sys.stderr)
            return
        time.sleep(0.2)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the machine ends first
    sys.exit(main(sys.argv[1:]))
