"""Checks of the instrument itself: what was put in on purpose must come out, and nothing else.

* a direct veth loses, repeats and reorders nothing, and what the generator leaves out, sends twice or swaps
  is found exactly;
* a tag is recognised, and a frame without the right one is counted as wrong; frames of another stream are
  counted as strays;
* a delay that a relay adds is found again in the difference of two delays;
* cycles that a loop burns are found again in the accounting of the whole machine;
* generator and sink together overload the bare loop, the fastest thing they are to measure.

Each check is a row {"check", "good", "text", ...figures}. Cycles and speed need a machine with nothing else to
do: the rows say how busy it was.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from bench.build import program
from bench.lab import cpu, net, patterns, settings, traffic
from bench.lab.session import STEAL_MAX
from bench.lab.site import Site
from bench.lab.system import all_systems

Row = dict[str, Any]

CYCLES_TOLERANCE = 0.05
DELAY_TOLERANCE = 0.01
RATE_SECONDS = 0.7
OVERLOAD_MIN = 1.05  # what the generator offers, as a multiple of what the bare loop forwards
QUIET_CPU = 0.05  # CPUs busy with other things
DELAYS_US = (1_000, 11_000)
BURN_TRIES = 3
BURN_SECONDS_EACH = 0.005


def row(check: str, good: bool, text: str, **figures: object) -> Row:
    return {"check": check, "good": bool(good), "text": text, **figures}


def background(seconds: float = 0.5) -> cpu.Usage:
    """Return what the machine spends while the harness does nothing."""
    before = cpu.look()
    time.sleep(seconds)
    return cpu.between(before, cpu.look())


def check_quiet() -> Row:
    usage = background()
    good = usage.busy / usage.seconds < QUIET_CPU and usage.steal_share < STEAL_MAX
    text = f"{usage.busy / usage.seconds:.3f} CPUs busy and {usage.steal_share:.3f} stolen before the start"
    return row(
        "quiet machine",
        good,
        text + ("" if good else "; figures of cost will be disturbed"),
        cpus=usage.busy / usage.seconds,
    )


def check_cycles() -> Row:
    """Burn cycles half of the time on one CPU, and find them again; the median of a few tries."""
    shares = [burned_share() for _ in range(BURN_TRIES)]
    share = statistics.median(shares)
    good = abs(share - 1) <= CYCLES_TOLERANCE
    return row(
        "cycles of a busy loop",
        good,
        f"{share:.3f} of the cycles burned were found",
        share=share,
        shares=shares,
    )


def burned_share() -> float:
    """Find cycles that a loop burns; returns the share found, less what the machine does anyhow."""
    each = cpu.cycles_per_second() * BURN_SECONDS_EACH
    before = background(0.25)
    outcome = traffic.burn(each, 0.5 / BURN_SECONDS_EACH, 1.0)
    after = background(0.25)
    idle = (before.cycles / before.seconds + after.cycles / after.seconds) / 2
    return (outcome.usage.cycles - idle * outcome.usage.seconds) / float(outcome.report["cycles"])


def stream(site: Site, **changes: object) -> traffic.Stream:
    return traffic.Stream(site.guest_space, "g0", rate=20_000, seconds=0.5, burst=1).with_changes(**changes)


def sink(site: Site, streams: tuple[int, ...] = (1,), tag: str = "none") -> traffic.Sink:
    return traffic.Sink(site.outer_space, "ext", streams, tag=tag)


def check_faults(site: Site) -> Row:
    """Leave out, repeat and swap known numbers of frames."""
    faults: dict[str, object] = {"skip": 101, "repeat": 97, "swap": 89}
    outcome = traffic.run([stream(site, extra=faults)], [sink(site)])
    sent, got = outcome.sender(), outcome.received()
    pairs = {
        "lost": (sent["skipped"], sent["lost"]),
        "duplicates": (sent["repeated"], got["duplicates"]),
        "reordered": (sent["swapped"], got["reordered"]),
    }
    good = all(put == found and put for put, found in pairs.values())
    text = ", ".join(f"{name} {found} of {put} put in" for name, (put, found) in pairs.items())
    return row("faults put in", good, text, **{name: found for name, (_, found) in pairs.items()})


def check_clean(site: Site) -> Row:
    """Send frames of many sizes, addresses and VLANs that must all arrive as they were."""
    outcome = traffic.run(
        [stream(site, size="imix", tag="10-19", dst=f"{traffic.OUTER_MAC}*100", order="random")],
        [sink(site, tag="10-19")],
    )
    sent, got = outcome.sender(), outcome.received()
    wrong = {name: got[name] for name in ("duplicates", "reordered", "wrong_tag")} | {"lost": sent["lost"]}
    same_bytes = got["bytes"] == sent["bytes"] - 4 * sent["sent"] or got["bytes"] == sent["bytes"]
    good = not any(wrong.values()) and got["unique"] == sent["sent"] and same_bytes
    return row(
        "clean path",
        good,
        f"{got['unique']} of {sent['sent']} frames, " + ", ".join(f"{n} {v}" for n, v in wrong.items()),
    )


def check_tags_and_strays(site: Site) -> Row:
    """Send a second stream that does not belong, and tags that are wrong."""
    outcome = traffic.run(
        [stream(site, tag="11", count=100), stream(site, stream=2, count=50)], [sink(site, tag="10")]
    )
    got, strays = outcome.received(), outcome.report["sinks"][0]["strays"]
    good = got["wrong_tag"] == got["frames"] == 100 and strays == 50
    return row("wrong tags and strays", good, f"{got['wrong_tag']} of 100 wrong tags, {strays} of 50 strays")


def check_rate(site: Site) -> Row:
    """Compare the generator and sink, a CPU each, with the fastest that any system in userspace can be.

    What they do depends on the machine. What counts is that they overload the bare loop both ways, and lose nothing of
    what goes over a direct veth.
    """
    chosen = settings.choose("smoke")
    outcome = traffic.run(
        [stream(site, cpu=chosen.generator_cpu, queue="fast", rate=0, burst=64, seconds=RATE_SECONDS)],
        [traffic.Sink(site.outer_space, "ext", (1,), cpu=chosen.system_cpu, ring=64)],
    )
    sent = outcome.sender()
    rate = sent["offered_pps"]
    margins = []
    floor = all_systems()["bare-loop"]
    with Site() as other:
        floor.start(other)
        if chosen.system_cpu is not None:
            other.pin({chosen.system_cpu})
        for direction in patterns.DIRECTIONS:
            _, sample = patterns.measure(
                other, floor, direction, chosen, rate=0, burst=64, seconds=RATE_SECONDS
            )
            margins.append(sample.values["offered_pps"] / max(1.0, sample.values["forwarded_pps"]))
    good = min(margins) >= OVERLOAD_MIN and not sent["lost"]
    paid = sent["offered"] / max(sent["cpu_seconds"], 1e-9)
    text = f"{rate / 1e6:.2f} M frames/s over a direct veth through {sent['engine']} ({paid / 1e6:.2f} M per second of "
    text += f"CPU time), {sent['lost']} lost; "
    text += f"{margins[0]:.1f} and {margins[1]:.1f} times what the bare loop forwards up and down"
    return row("speed of generator and sink", good, text, pps=rate, per_cpu_second=paid, margins=margins)


def said_ready(relay: net.Process) -> bool:
    return "ready" in relay.log.read_text()


def check_delay() -> Row:
    """Hold frames for two known times in a relay: the shortest latencies must differ by the difference.

    The shortest, since each frame also waits for the relay to wake up, which is nobody's known delay.
    """
    shortest = []
    for delay in DELAYS_US:
        with Site() as site:
            site.add_trunk()
            site.add_guest_veths()
            relay = site.spawn([program("floor"), "--delay-us", str(delay), "link:port0", "link:trunk"])
            relay.wait_until(partial(said_ready, relay), "the relay")
            site.wait_ready()
            outcome = traffic.run([stream(site, rate=50, seconds=0.6)], [sink(site)])
            shortest.append(outcome.received()["latency_us"]["min"])
            if shortest[-1] < delay:
                return row(
                    "known delay", False, f"{shortest[-1]:.1f} us measured where {delay} us were certain"
                )
    asked = DELAYS_US[1] - DELAYS_US[0]
    found = shortest[1] - shortest[0]
    good = abs(found / asked - 1) <= DELAY_TOLERANCE
    return row(
        "known delay", good, f"{found:.1f} us more between relays {asked} us apart", microseconds=found
    )


def check_all() -> list[Row]:
    """Run every check."""
    rows = [check_quiet(), check_cycles()]
    on_direct: tuple[Callable[[Site], Row], ...] = (
        check_clean,
        check_faults,
        check_tags_and_strays,
        check_rate,
    )
    with Site() as site:
        all_systems()["direct"].start(site)
        rows += [check(site) for check in on_direct]
    return [*rows, check_delay()]
