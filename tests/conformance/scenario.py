"""Scenarios as values: ports, steps, what must happen, and what other bridges are known to do instead.

Job: read `scenarios/*.toml` and refuse what makes no sense, naming file, scenario and step. A file is a list of

    [[scenario]]
    name = "a priority tag enters the access VLAN and keeps its PCP"
    rule = "R5"                                     # docs/architecture.md
    source = "Open vSwitch tests/ofproto-dpif.at"   # where the case is from; optional
    ports = { A = { access = 10 }, T = { trunk = [10, 20], native = 1 } }    # keys of the product's [[port]]
    bridge = { static_move = "forward" }            # keys of its [bridge]; optional
    vlans = { 10 = { mac_limit = 5 } }              # keys of its [[vlan]]; optional
    mirrors = [{ to_port = "W", ports = ["A"] }]    # its [[mirror]] tables without names; optional
    steps = [ ... ]

A step is one of these; `notation` says how frames are written, entries are `VLAN ADDRESS PORT`:

    { send = "A: h2 h1", expect = { T = "h2 h1 q10" } }   # exactly this; a port not named sends nothing
    { send = [...], times = 300, expect = ... }           # the list so many times, in one burst
    { fdb = ["10 h1 A"] }                                 # exactly these dynamic entries
    { silence = true }                                    # the ageing time passes, nobody speaks
    { flush = { port = "A", vlan = 10 } }                 # these, or mac, or state, or nothing
    { add = "10 h{1..9} A static" }, { forget = "10 h1" } # entries by hand: static, sticky, drop, dynamic
    { change = "A", to = { learning = false } }           # the port's table, merged
    { down = "A" }, { up = "A" }                          # its carrier
    for = { n = [1, 2] }                                  # with any step: once for each value of {n} in its strings

Beside `expect` or `fdb` may stand `differs = { ovs = { expect = ..., why = "..." } }`: what that target does.
"""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conformance import notation

DIRECTORY = Path(__file__).with_name("scenarios")
RULES = {f"R{number}" for number in range(1, 13)}
KINDS = ("send", "fdb", "silence", "flush", "add", "forget", "change", "down", "up")
MODES = ("access", "trunk", "tunnel", "mirror")
PORT_KEYS = {*MODES, "native", "tpid", "isolated", "learning", "flood", "mac_limit"} | {
    *(
        "native_tagged",
        "map",
        "priority_tags",
        "default_pcp",
        "horizon",
        "hairpin",
        "direction",
        "storm_control",
        "mtu",
    )
}
BRIDGE_KEYS = {
    "address",
    "pass_reserved",
    "static_move",
    "full_table",
    "mac_limit",
    "vrrp_aware",
    "local_first",
}
VLAN_KEYS = {"mac_limit", "learning"}
FLUSH_KEYS = {"port", "vlan", "mac", "state"}
SECURITY = ("locked", "allow", "source_guard", "ra_guard", "dhcp_guard")
PORT_KEYS |= {*SECURITY}
MIRROR_KEYS = {"to_port", "ports", "direction", "vlans", "snaplen"}
FLOODS = ("unknown", "multicast", "broadcast")
SHORTEST = 14  # what every kind of wire carries: a header, and (Port.longest) full size with a tag

Frames = tuple[bytes, ...]
Sent = Mapping[str, Frames]
Entry = tuple[int, bytes, str]  # VID, MAC, port
FixedEntry = tuple[int, bytes, str, str]  # and kind


class ScenarioError(ValueError):
    """A scenario that makes no sense, and where."""


@dataclass(frozen=True)
class Port:
    """A port's table. `members`: its VLANs; `untagged`: the one that untagged frames enter."""

    keys: Mapping[str, Any]

    @property
    def mode(self) -> str:
        return next(mode for mode in MODES if mode in self.keys)

    @property
    def untagged(self) -> int:
        if self.mode == "mirror":
            return 0
        return int(self.keys.get("native", 0) if self.mode == "trunk" else self.keys[self.mode])

    @property
    def tagged(self) -> tuple[int, ...]:
        return tuple(vid for vid in self.keys.get("trunk", ()) if vid != self.untagged)

    @property
    def members(self) -> set[int]:
        return {*self.tagged, self.untagged} - {0}

    @property
    def tpid(self) -> int:
        return 0x88A8 if self.keys.get("tpid") == "802.1ad" else 0x8100

    @property
    def flood(self) -> tuple[str, ...]:
        return tuple(self.keys.get("flood", FLOODS))

    @property
    def isolated(self) -> bool:
        return bool(self.keys.get("isolated"))

    @property
    def native_tagged(self) -> bool:
        return bool(self.keys.get("native_tagged"))

    @property
    def horizon(self) -> int:
        return int(self.keys.get("horizon", 0))

    @property
    def receives(self) -> bool:
        """Whether frames enter by it."""
        return self.mode != "mirror" and self.keys.get("direction") != "egress"

    @property
    def sends(self) -> bool:
        """Whether frames leave by it."""
        return self.keys.get("direction") != "ingress"

    @property
    def mtu(self) -> int:
        return int(self.keys.get("mtu", 1500))

    @property
    def longest(self) -> int:
        """Bytes of the longest frame that its wire carries."""
        return 14 + 4 + self.mtu

    @property
    def limited(self) -> set[str]:
        """Kinds of flood that storm control limits on it."""
        return {kind for kind in self.keys.get("storm_control", {}) if kind in FLOODS}

    @property
    def translations(self) -> tuple[tuple[int, int, int], ...]:
        """VIDs outer and inner (0: none) on the wire, and the VLAN, as `map` lists them."""
        texts = [text.partition(":") for text in self.keys.get("map", ())]
        wires = [(wire.partition("."), int(vid)) for wire, _, vid in texts]
        return tuple((int(outer), int(inner or 0), vid) for (outer, _, inner), vid in wires)

    def tags(self, vid: int) -> tuple[tuple[int, int], ...]:
        """VID and TPID of the tags that frames of a VLAN come in with, the outer one first."""
        if vid == self.untagged:
            return ()
        outer, inner = next((one[:2] for one in self.translations if one[2] == vid), (vid, 0))
        return ((outer, self.tpid), (inner, 0x8100)) if inner else ((outer, self.tpid),)

    def changed(self, to: Mapping[str, Any]) -> Port:
        return Port({**self.keys, **to})


@dataclass(frozen=True)
class Mirror:
    """A [[mirror]] table: copies to a port; no ports or VLANs: all."""

    to_port: str
    ports: tuple[str, ...] = ()
    direction: str = "both"
    vlans: tuple[int, ...] = ()
    snaplen: int = 0

    def copies(self, way: str, port: str, vlan: int) -> bool:
        """Whether frames of a VLAN that come in (rx) or leave (tx) by a port are copied."""
        is_mine = port in self.ports if self.ports else port != self.to_port
        return self.direction in (way, "both") and is_mine and (not self.vlans or vlan in self.vlans)


@dataclass(frozen=True)
class Expectation:
    """What a step shows: frames by port, or entries; as written; and, where another target differs, why we do not."""

    sent: Sent | None = None
    fdb: frozenset[Entry] | None = None
    text: str = ""
    why: str = ""


@dataclass(frozen=True)
class Step:
    """One thing done. `kind` is of KINDS and `about` what it is done to; `text` is the step as written."""

    kind: str
    about: Any
    text: str
    ours: Expectation | None = None
    theirs: Mapping[str, Expectation] = field(default_factory=dict)

    def expectation(self, target: str) -> Expectation | None:
        return self.theirs.get(target, self.ours)


@dataclass(frozen=True)
class Scenario:
    file: str
    name: str
    rule: str
    source: str
    ports: Mapping[str, Port]
    bridge: Mapping[str, Any]  # and, under "mirrors", those of the scenario
    vlans: Mapping[int, Mapping[str, Any]]
    steps: Sequence[Step]

    @property
    def id(self) -> str:
        return f"{self.file}: {self.name}"

    @property
    def needs(self) -> set[str]:
        """Abilities a target must have to play it."""
        needs = {f"bridge {key}" if key == "mac_limit" else key for key in self.bridge}
        needs |= {f"vlan {key}" for keys in self.vlans.values() for key in keys}
        for port in self.ports.values():
            needs |= port_needs(port.keys)
        needs |= {"mtus"} if len({port.mtu for port in self.ports.values()}) > 1 else set()
        for step in self.steps:
            needs |= step_needs(step, self.ports)
        return needs


def port_needs(keys: Mapping[str, Any]) -> set[str]:
    return set(keys) - {"access", "trunk", "native"}


def step_needs(step: Step, ports: Mapping[str, Port]) -> set[str]:
    if step.kind == "send":
        port, frames = step.about
        lengths = {len(data) for data in frames}
        too_long = max(lengths) > ports[port].longest
        return {"short"} if min(lengths) < SHORTEST else {"long"} if too_long else set()
    if step.kind == "flush":
        return {"flush", *(f"flush {what}" for what in step.about)}
    if step.kind == "add":
        return {kind for _vlan, _mac, _port, kind in step.about}
    if step.kind == "change":
        return {"change", *port_needs(step.about[1])}
    return {"silence": {"silence"}, "down": {"carrier"}, "up": {"carrier"}}.get(step.kind, set())


# -- reading -----------------------------------------------------------------------------------------


def load_all() -> list[Scenario]:
    """Every scenario of the directory, in order; names are unique."""
    scenarios = [one for path in sorted(DIRECTORY.glob("*.toml")) for one in load(path)]
    names = [one.id for one in scenarios]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ScenarioError(f"twice: {', '.join(sorted(twice))}")
    return scenarios


def load(path: Path) -> list[Scenario]:
    return [read(path.stem, table) for table in tomllib.loads(path.read_text())["scenario"]]


def read(file: str, table: Mapping[str, Any]) -> Scenario:
    name = table.get("name", "?")
    try:
        optional = {"source", "bridge", "vlans", "mirrors"}
        check_keys(table, {"name", "rule", "ports", "steps", *optional}, optional)
        if not set(str(table["rule"]).split()) <= RULES:
            raise ScenarioError(f"no rule: {table['rule']!r}")
        ports = {port: read_port(keys) for port, keys in table["ports"].items()}
        bridge = table.get("bridge", {})
        check_keys(bridge, BRIDGE_KEYS, BRIDGE_KEYS)
        vlans = {int(vid): keys for vid, keys in table.get("vlans", {}).items()}
        for keys in vlans.values():
            check_keys(keys, VLAN_KEYS, VLAN_KEYS)
        mirrors = tuple(read_mirror(mirror, ports) for mirror in table.get("mirrors", ()))
        bridge = {**bridge, **({"mirrors": mirrors} if mirrors else {})}
        steps = [
            read_step(one, ports, f"step {number}")
            for number, step in enumerate(table["steps"], 1)
            for one in repeat_for(step)
        ]
    except ValueError as error:
        raise ScenarioError(f"{file}.toml, {name!r}: {error}") from error
    return Scenario(file, name, table["rule"], table.get("source", ""), ports, bridge, vlans, steps)


def check_keys(table: Mapping[str, Any], known: set[str], optional: set[str]) -> None:
    if unknown := set(table) - known:
        raise ScenarioError(f"unknown: {', '.join(sorted(unknown))}")
    if missing := known - optional - set(table):
        raise ScenarioError(f"missing: {', '.join(sorted(missing))}")


def read_port(keys: Mapping[str, Any]) -> Port:
    check_keys(keys, PORT_KEYS, PORT_KEYS)
    if sum(mode in keys for mode in MODES) != 1:
        raise ScenarioError(f"a port is one of {', '.join(MODES)}: {keys}")
    return Port(keys)


def read_mirror(table: Mapping[str, Any], ports: Mapping[str, Port]) -> Mirror:
    check_keys(table, MIRROR_KEYS, MIRROR_KEYS - {"to_port"})
    for port in (table["to_port"], *table.get("ports", ())):
        known(port, ports)
    return Mirror(**{key: tuple(value) if isinstance(value, list) else value for key, value in table.items()})


def repeat_for(step: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The step once for each combination of the values in its `for`."""
    loops = step.get("for", {})
    body = {key: value for key, value in step.items() if key != "for"}
    for values in itertools.product(*loops.values()):
        yield substitute(body, dict(zip(loops, values, strict=True)))


def substitute(value: Any, names: Mapping[str, Any]) -> Any:
    if isinstance(value, str):
        for name, text in names.items():
            value = value.replace("{" + name + "}", str(text))
        return value
    if isinstance(value, Mapping):
        return {substitute(key, names): substitute(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [substitute(item, names) for item in value]
    return value


def read_step(step: Mapping[str, Any], ports: Mapping[str, Port], where: str) -> Step:
    kinds = [kind for kind in KINDS if kind in step]
    if len(kinds) != 1:
        raise ScenarioError(f"{where} must be one of {', '.join(KINDS)}")
    kind = kinds[0]
    try:
        check_keys(step, {kind, *EXTRAS.get(kind, ())}, {"times", "expect", "differs"})
        about = ABOUT[kind](step, ports)
        shown = {"send": "expect", "fdb": "fdb"}.get(kind)
        if shown not in step:
            return Step(kind, about, str(step[kind]))
        ours = expectation(step, ports)
        theirs = {who: expectation(other, ports) for who, other in step.get("differs", {}).items()}
    except (ValueError, KeyError) as error:
        raise ScenarioError(f"{where}: {error}") from error
    for who, other in theirs.items():
        if (other.sent, other.fdb) == (ours.sent, ours.fdb) or not other.why:
            raise ScenarioError(f"{where}: {who} does not differ, or nobody says why")
    return Step(kind, about, str(step[kind]), ours, theirs)


EXTRAS = {"send": ("times", "expect", "differs"), "fdb": ("differs",), "change": ("to",)}


def read_send(step: Mapping[str, Any], ports: Mapping[str, Port]) -> tuple[str, Frames]:
    texts = [step["send"]] if isinstance(step["send"], str) else step["send"]
    pairs = [text.partition(": ") for text in texts]
    origins = {known(port, ports) for port, _, _ in pairs}
    if len(origins) != 1:
        raise ScenarioError(f"frames of one step come from one port: {texts}")
    return origins.pop(), frames_of([text for _, _, text in pairs], step.get("times", 1))


def read_change(step: Mapping[str, Any], ports: Mapping[str, Port]) -> tuple[str, Mapping[str, Any]]:
    name = known(step["change"], ports)
    read_port({**ports[name].keys, **step["to"]})
    return name, step["to"]


def read_flush(step: Mapping[str, Any], ports: Mapping[str, Port]) -> Mapping[str, Any]:
    check_keys(step["flush"], FLUSH_KEYS, FLUSH_KEYS)
    if "port" in step["flush"]:
        known(step["flush"]["port"], ports)
    return dict(step["flush"])


def read_add(step: Mapping[str, Any], ports: Mapping[str, Port]) -> list[FixedEntry]:
    text, _, kind = step["add"].rpartition(" ")
    if kind not in ("static", "sticky", "drop", "dynamic"):
        raise ScenarioError(f"VLAN ADDRESS PORT static|sticky|drop|dynamic: {step['add']!r}")
    return [(*read_entry(one, ports), kind) for one in notation.expand(text)]


def read_forget(step: Mapping[str, Any], _ports: Mapping[str, Port]) -> list[tuple[int, bytes]]:
    pairs = [one.split() for one in notation.expand(step["forget"])]
    return [(int(vid), notation.address(mac)) for vid, mac in pairs]


def read_port_name(kind: str) -> Any:
    return lambda step, ports: known(step[kind], ports)


ABOUT: Mapping[str, Any] = {
    "send": read_send,
    "fdb": lambda _step, _ports: None,
    "silence": lambda _step, _ports: None,
    "flush": read_flush,
    "add": read_add,
    "forget": read_forget,
    "change": read_change,
    "down": read_port_name("down"),
    "up": read_port_name("up"),
}


def expectation(table: Mapping[str, Any], ports: Mapping[str, Port]) -> Expectation:
    sent = fdb = None
    if "expect" in table:
        times = table.get("times", 1)
        sent = {known(name, ports): frames_of(texts, times) for name, texts in table["expect"].items()}
    if "fdb" in table:
        entries = [read_entry(one, ports) for text in table["fdb"] for one in notation.expand(text)]
        fdb = frozenset(entries)
    if (sent is None) == (fdb is None):
        raise ScenarioError("either `expect` or `fdb`")
    return Expectation(sent, fdb, as_text(table), table.get("why", ""))


def as_text(table: Mapping[str, Any]) -> str:
    """An expectation for people."""
    if "fdb" in table:
        return ", ".join(table["fdb"]) or "no entry"
    return "; ".join(f"{port}: {frames}" for port, frames in table["expect"].items()) or "nothing"


def frames_of(texts: str | Sequence[str], times: int) -> Frames:
    texts = [texts] if isinstance(texts, str) else texts
    return tuple(data for text in texts for data in notation.parse_many(text)) * times


def read_entry(text: str, ports: Mapping[str, Port]) -> Entry:
    vid, mac, port = text.split()
    return int(vid), notation.address(mac), known(port, ports)


def known(port: str, ports: Mapping[str, Port]) -> str:
    if port not in ports:
        raise ScenarioError(f"no port {port!r}")
    return port
