"""Play a scenario on a target and compare every step with what is expected of that target.

Job: the only place that knows what steps do. The first difference ends the story, as an assertion that says which
step, what was expected and what was seen.
"""

from __future__ import annotations

from collections.abc import Iterable

from conformance import notation
from conformance.scenario import Entry, Scenario, Sent, Step
from conformance.target import Target


def play(scenario: Scenario, target: Target) -> None:
    for number, step in enumerate(scenario.steps, 1):
        seen = do(step, target)
        expected = step.expectation(target.name)
        if expected is None:
            continue
        wanted = expected.sent if step.kind == "send" else expected.fdb
        if target.has_streams and step.kind == "send":
            seen, wanted = by_stream(seen), by_stream(wanted)
        if seen != wanted:  # not `assert`: pytest would add pages of bytes
            raise AssertionError(explain(scenario, target, number, step, wanted, seen))


def by_stream(sent: object) -> Sent:
    """Frames of each port in the order of their streams: VLAN and both stations."""
    assert isinstance(sent, dict)
    return {port: tuple(sorted(frames, key=stream)) for port, frames in sent.items()}


def stream(data: bytes) -> bytes:
    """Tell the VLAN as the port has it, and both stations."""
    is_tagged = data[12:14] in (b"\x81\x00", b"\x88\xa8")
    return (bytes((data[14] & 0xF, data[15])) if is_tagged else b"") + data[:12]


def do(step: Step, target: Target) -> Sent | frozenset[Entry] | None:
    """One step; returns what can be compared."""
    match step.kind:
        case "send":
            port, frames = step.about
            return {name: tuple(sent) for name, sent in target.send(port, frames).items() if sent}
        case "fdb":
            return frozenset(target.fdb())
        case "silence":
            target.silence()
        case "flush":
            target.flush(step.about)
        case "add":
            target.add(step.about)
        case "forget":
            target.forget(step.about)
        case "change":
            target.change(*step.about)
        case "down" | "up":
            target.carrier(step.about, step.kind == "up")
    return None


def explain(scenario: Scenario, target: Target, number: int, step: Step, wanted: object, seen: object) -> str:
    declared = " (as declared in `differs`)" if target.name in step.theirs else ""
    return "\n".join(
        [
            f"{target.title}: {scenario.id} ({scenario.rule}), step {number}: {step.kind} {step.text}",
            f"  expected{declared}: {show(wanted)}",
            f"  seen: {show(seen)}",
        ]
    )


def show(value: object) -> str:
    if isinstance(value, frozenset):
        return ", ".join(sorted(f"{vid} {notation.name(mac)} {port}" for vid, mac, port in value)) or "none"
    if isinstance(value, dict):
        return "; ".join(f"{port}: {show_frames(sent)}" for port, sent in sorted(value.items())) or "nothing"
    return repr(value)


def show_frames(sent: Iterable[bytes]) -> str:
    """At most a handful, told apart by their bytes where their names are the same."""
    texts = [f"{notation.describe(data)} [{hash(data) & 0xFFFF:04x}]" for data in sent]
    return ", ".join(texts[:4]) + (f", ... ({len(texts)} frames)" if len(texts) > 4 else "")
