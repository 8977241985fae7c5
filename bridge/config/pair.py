"""The `[pair]` table of the configuration: this bridge is one of two, of which one forwards. Pure.

What the members decide by it is in csrc/ha/pair.h. Refuses: paths that are no link ports, or none at all, and an
offload that is required.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bridge.config import checks, words
from bridge.config.key import Check, ValueType, key, keys, write_keys
from bridge.config.port import PortConfig
from bridge.config.section import Found, Section
from bridge.config.table import Report, Table, did_you_mean
from bridge.config.text import listing
from bridge.declared import MEMBER_PATHS

ANNOUNCEMENTS = ("own", "rarp")

_device = checks.text("a device name", 15, " /:%")
_announcement = checks.choice(*ANNOUNCEMENTS)


def _list_of(check: Check) -> ValueType:
    return ValueType(
        lambda value: (check(value),),
        write=lambda values: list(values) or None,
        syntax="LIST",
        expected="names like a,b",
        read=words.texts,
        is_list=True,
    )


@dataclass(frozen=True, slots=True)
class PairConfig:
    """The `[pair]` table; without an `id` the bridge is in no pair."""

    id: str = key("", checks.name)  # the same on both members
    secret_file: str = key("", checks.file_path)  # the same contents on both
    priority: int = key(100, checks.integer(0, 255))  # the greater one opens first, and stays in a contest
    interval: float = key(0.1, checks.seconds(0.02, 10))  # seconds between beacons
    paths: tuple[str, ...] = key((), _list_of(checks.name))  # link ports that carry beacons; none: all
    control: tuple[str, ...] = key((), _list_of(_device))  # devices that carry beacons beside the ports
    preempt_delay: float = key(0.0, checks.seconds(0, 86400))  # a better member asks after it; 0: never
    hang: float = key(0.2, checks.seconds(0.1, 60))  # seconds without a turn after which `health` says hung
    announce: tuple[str, ...] = key(("own",), _list_of(_announcement))  # what tells switches of a takeover

    def is_path(self, port: PortConfig) -> bool:
        """Check whether a port carries beacons, and so has to have a carrier."""
        return port.can.leads_on and (not self.paths or port.name in self.paths)


NO_PAIR = PairConfig()

KEYS = keys(PairConfig)


def read_pair(table: Table) -> PairConfig:
    """Read `[pair]`; without the table the bridge is in no pair."""
    fields = table.fields(KEYS, required=("id", "secret_file"))
    table.refuse_unknown()
    return PairConfig(**fields)


def pair_table(pair: PairConfig) -> dict[str, object]:
    """Return the `[pair]` table."""
    return write_keys(pair, KEYS)


def _check(report: Report, found: Found) -> None:
    """Report paths that are not there, cannot carry beacons or are too many, and what cannot be beside a pair."""
    ports = {port.name: port for _, port in found["ports"]}
    for path, pair in found["pair"]:
        if not pair.id or "" in ports:
            continue
        for name in pair.paths:
            if name not in ports:
                hint = did_you_mean(name, ports) or "; add it, or take it out of this list"
                report.add((*path, "paths"), f"there is no port {name!r}{hint}")
            elif not ports[name].can.leads_on:
                kind = ports[name].kind
                report.add(
                    (*path, "paths"), f"port {name!r} is a {kind}, which leads to no other bridge; name links"
                )
        n_paths = _count_paths(pair, ports.values())
        if not n_paths:
            report.add(
                path, "a pair needs a link port that leads to the other bridge, or a device in control"
            )
        elif n_paths > MEMBER_PATHS:
            report.add(
                (*path, "paths"), f"{n_paths} paths, but there are at most {MEMBER_PATHS}; name fewer ports"
            )
        if any(bridge.offload == "require" for _, bridge in found["bridge"]):
            report.add(
                path,
                'the kernel forwards nothing for a bridge of a pair; write offload = "auto" or "off" in [bridge]',
            )


def _count_paths(pair: PairConfig, ports: Iterable[PortConfig]) -> int:
    return len(pair.control) + sum(pair.is_path(port) for port in ports)


SECTION = Section(
    name="pair",
    field="pair",
    read=read_pair,
    write=pair_table,
    blank=NO_PAIR,
    actions=("set_pair", "set_pair", "set_pair"),
    subject=lambda pair: pair.id or "none",
    describe=lambda pair: listing(pair_table(pair), {"id": pair.id}),
    check=_check,
)
