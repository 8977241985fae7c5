"""The `[multicast]` table of the configuration: snooping of groups, and the querier. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

from bridge.config import checks
from bridge.config.group_address import group_address
from bridge.config.key import ValueType, key, keys, write_keys
from bridge.config.section import Section
from bridge.config.table import BadValueError, Table, show
from bridge.config.text import listing

SNOOPING = ("off", "watch", "on")
MDB_MAX = 4096  # groups
ROBUSTNESS = 2  # queries that a member may leave unanswered, RFC 3376 section 8.1


def _querier_address(value: object) -> str:
    """Check for the IPv4 address that queries come from."""
    try:
        if not isinstance(value, str):
            raise ValueError
        found = IPv4Address(value)
    except ValueError:
        raise BadValueError(
            f"expected an IPv4 address like '0.0.0.0' or '10.0.0.1', got {show(value)}"
        ) from None
    if found.is_multicast or int(found) == 0xFFFFFFFF:
        raise BadValueError(f"expected the address of one station, got {show(value)}")
    return str(found)


flooded_groups = ValueType(
    lambda value: (group_address(value),),
    write=lambda groups: list(groups) or None,
    syntax="LIST",
    is_list=True,
)


@dataclass(frozen=True, slots=True)
class MulticastConfig:
    """The `[multicast]` table."""

    snooping: str = key("off", checks.choice(*SNOOPING))  # watch: learn and count, and change no frame
    unregistered: str = key("flood", checks.choice("flood", "routers"))  # groups that nobody reported
    querier: bool | None = key(None, checks.boolean)  # None: where snooping is on
    query_interval: float = key(125, checks.seconds(1, 31744))  # seconds
    response_time: float = key(10, checks.seconds(0.1, 3174))  # seconds to answer a query in
    last_member_time: float = key(1, checks.seconds(0.1, 25))  # seconds between the two queries after a leave
    querier_address: str = key("0.0.0.0", _querier_address)
    version: int = key(3, checks.integer(2, 3, "a version of IGMP"))  # of queries; MLD: 1 less
    mdb_size: int = key(MDB_MAX, checks.integer(1, MDB_MAX), needs_restart=True)  # groups
    always_flood: tuple[str, ...] = key((), flooded_groups)  # groups, or their Ethernet addresses

    @property
    def other_querier_time(self) -> float:
        """Seconds after which a querier that fell silent is gone: RFC 3376 section 8.5."""
        return ROBUSTNESS * self.query_interval + self.response_time / 2


NO_SNOOPING = MulticastConfig()

KEYS = keys(MulticastConfig)


def read_multicast(table: Table) -> MulticastConfig:
    """Read `[multicast]`; without the table nothing snoops."""
    fields = table.fields(KEYS)
    table.refuse_unknown()
    config = MulticastConfig(**fields)
    if config.response_time >= config.query_interval:
        table.fail(
            f"hosts would still answer when the next query comes; choose less than query_interval, "
            f"{config.query_interval:g}",
            "response_time",
        )
    return config


def multicast_table(config: MulticastConfig) -> dict[str, object]:
    """Return the `[multicast]` table."""
    return write_keys(config, KEYS)


def _fixed(old: MulticastConfig, new: MulticastConfig) -> dict[str, tuple[object, object]]:
    return {"mdb_size": (old.mdb_size, new.mdb_size)}


SECTION = Section(
    name="multicast",
    field="multicast",
    read=read_multicast,
    write=multicast_table,
    blank=NO_SNOOPING,
    actions=("set_multicast", "set_multicast", "set_multicast"),
    subject=lambda config: f"snooping {config.snooping}",
    describe=lambda config: listing(multicast_table(config), multicast_table(NO_SNOOPING)),
    fixed=_fixed,
)
