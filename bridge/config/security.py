"""Port security: which stations may send on a port, and from which addresses. Pure.

Job: the keys `locked`, `allow`, `source_guard`, `ra_guard` and `dhcp_guard` of a `[[port]]` as a value. What they mean
frame by frame is in csrc/protect/ (lock.h, guard.h, server_guard.h), what they come to in a snapshot in
protect/security.py.
Refuses: lists that are longer than the data plane's tables, addresses that no station has, an allow list where nobody
says whether the port is locked: whoever forgets it believes to be protected.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from bridge.config import checks, words
from bridge.config.key import Check, ValueType, key, keys, write_keys
from bridge.config.section import Found
from bridge.config.table import BadValueError, Report, Table, show
from bridge.declared import ALLOWED_MAX, GUARD_RULES_MAX
from bridge.mac import format_mac, is_group

MAC_BITS = 48
PREFIX_MIN = 8  # bits of a MAC prefix
ALLOW_MAX = 1024  # a port
RULES_MAX = 64  # a port: each frame may be compared with all of them


@dataclass(frozen=True, slots=True, order=True)
class Stations:
    """One element of an allow list: a MAC address, or all that begin with the same `length` bits."""

    mac: int
    length: int = MAC_BITS

    def __str__(self) -> str:
        return format_mac(self.mac) + (f"/{self.length}" if self.length < MAC_BITS else "")

    @property
    def range(self) -> tuple[int, int]:
        """The first and the last address."""
        return self.mac, self.mac | (1 << MAC_BITS - self.length) - 1

    def __contains__(self, mac: int) -> bool:
        first, last = self.range
        return first <= mac <= last


@dataclass(frozen=True, slots=True)
class GuardRule:
    """One element of a source guard: addresses that may be spoken from, by whichever station or by one."""

    network: IPv4Network | IPv6Network
    mac: int = 0  # 0: whichever

    def __str__(self) -> str:
        network = str(self.network.network_address) if self._is_one else str(self.network)
        return f"{format_mac(self.mac)} {network}" if self.mac else network

    @property
    def _is_one(self) -> bool:
        return self.network.prefixlen == self.network.max_prefixlen

    def __lt__(self, other: GuardRule) -> bool:
        return self._order < other._order

    @property
    def _order(self) -> tuple[int, int, int, int]:
        return self.network.version, int(self.network.network_address), self.network.prefixlen, self.mac

    @property
    def for_core(self) -> tuple[int, bytes, int]:
        """As `Snapshot.secure_port` takes it."""
        return self.mac, self.network.network_address.packed, self.network.prefixlen


def _stations(value: object) -> Iterable[Stations]:
    """Check for a MAC address, or a prefix of MAC addresses."""
    if not isinstance(value, str):
        raise BadValueError(
            f"expected a MAC address or a prefix like '00:00:5e:00:01:00/40', got {show(value)}"
        )
    address, slash, length = value.partition("/")
    if not slash:
        return (Stations(checks.station(value)),)
    if not re.fullmatch(r"[0-9]{1,2}", length) or not PREFIX_MIN <= int(length) <= MAC_BITS:
        raise BadValueError(f"expected a prefix length from {PREFIX_MIN} to {MAC_BITS}, got {show(value)}")
    found = Stations(checks.address(address), int(length))
    begin = Stations(found.mac >> MAC_BITS - found.length << MAC_BITS - found.length, found.length)
    if begin != found:
        raise BadValueError(f"{show(value)} has bits behind its prefix; write '{begin}'")
    if is_group(found.mac) or (found.length == MAC_BITS and not found.mac):
        raise BadValueError(f"{show(value)} is no address of a station; remove it")
    return (found,)


def _rules(value: object) -> Iterable[GuardRule]:
    """Check for an IP address or prefix, alone or behind the MAC address it is bound to."""
    expected = "an IP address like '10.0.0.5', a prefix like '2001:db8::/64' or 'MAC ADDRESS'"
    words = value.split() if isinstance(value, str) else []
    if not 1 <= len(words) <= 2:
        raise BadValueError(f"expected {expected}, got {show(value)}")
    mac = checks.station(words[0]) if len(words) == 2 else 0
    try:
        network = ip_network(words[-1], strict=False)
    except ValueError:
        hint = (
            "; a MAC address alone belongs in allow" if re.fullmatch(r"(\w\w[:-]){5}\w\w", words[-1]) else ""
        )
        raise BadValueError(f"expected {expected}, got {show(value)}{hint}") from None
    if getattr(network, "scope_id", None) or "%" in words[-1]:
        raise BadValueError(f"{show(value)} names an interface; write the address alone")
    rule = GuardRule(network, mac)
    if (
        "/" in words[-1]
        and network.network_address != ip_network(words[-1].partition("/")[0]).network_address
    ):
        raise BadValueError(f"{show(value)} has bits behind its prefix; write '{rule}', or the address alone")
    if network.is_multicast or (network.prefixlen == network.max_prefixlen and network.is_unspecified):
        raise BadValueError(f"{show(value)} is no address a station speaks from; remove it")
    return (rule,)


def _list_of(check: Check, example: str) -> ValueType:
    return ValueType(
        check,
        write=lambda found: [str(one) for one in found] or None,
        syntax="LIST|none",
        expected=f"none or a list like {example}",
        read=words.texts,
        is_list=True,
    )


stations = _list_of(_stations, "02:00:00:00:00:01,00:00:5e:00:01:00/40")
rules = _list_of(_rules, "10.0.0.5,2001:db8::/64,'MAC ADDRESS'")


@dataclass(frozen=True, slots=True)
class Security:
    """Who may send on a port."""

    locked: bool = key(False, checks.boolean, "only sources that are allowed or known on the port may send")
    allow: tuple[Stations, ...] = key(
        (), stations, "with locked: sources that may, like 02:00:00:00:00:01,00:00:5e:00:01:00/40", row=None
    )
    source_guard: tuple[GuardRule, ...] = key(  # none: any
        (),
        rules,
        "IP addresses that may be spoken from, like 10.0.0.5,2001:db8::/64,'MAC ADDRESS'",
        row=bool,
    )
    ra_guard: bool = key(False, checks.boolean, "it is no router: its router advertisements are dropped")
    dhcp_guard: bool = key(False, checks.boolean, "it is no DHCP server: what only one says is dropped")

    def admits(self, mac: int) -> bool:
        """Tell whether frames of an address that is not known on the port enter."""
        return not self.locked or self.lists(mac)

    def lists(self, mac: int) -> bool:
        """Tell whether an address is in the allow list."""
        return any(mac in one for one in self.allow)

    def withdraws(self, mac: int, before: Security) -> bool:
        """Whether the allow list had an address before and it may not enter any more, so that it must be forgotten."""
        return before.lists(mac) and not self.admits(mac)


KEYS = keys(Security)
OPEN = Security()


def read_security(table: Table) -> Security:
    """Read the keys of a `[[port]]` table that say who may send; what is flawed is left out."""
    problems = len(table.report)
    fields = table.fields(KEYS)
    is_sound = len(table.report) == problems
    allow, guard = fields.get("allow", ()), fields.get("source_guard")
    if (allow or ("allow" in table and not is_sound)) and "locked" not in table:
        table.fail(
            "only a locked port has an allow list; add locked = true, or locked = false to keep it for later",
            "allow",
        )
    if guard is not None and not guard and is_sound:
        table.fail(
            "an empty list would let nothing through; list addresses, or remove the key", "source_guard"
        )
    for name, found, limit in (("allow", allow, ALLOW_MAX), ("source_guard", guard, RULES_MAX)):
        if found and len(found) > limit:
            table.fail(f"{len(found)} elements, but a port has at most {limit}; write prefixes", name)
    return Security(**fields)


# -- writing


def security_table(security: Security) -> dict[str, object]:
    """Return the keys of the `[[port]]` table, absent ones None."""
    table = write_keys(security, KEYS)
    return table if security.locked or security.allow else {**table, "locked": None}


# -- telling


# -- the whole


def check_totals(report: Report, found: Found) -> None:
    """Report the ports whose lists no longer fit beside those of the ports before them."""
    totals = {"allow": 0, "source_guard": 0}
    for path, port in found["ports"]:
        for name, limit in (("allow", ALLOWED_MAX), ("source_guard", GUARD_RULES_MAX)):
            length = len(getattr(port.security, name))
            totals[name] += length
            if totals[name] - length <= limit < totals[name]:
                report.add(
                    (*path, name), f"all ports together have more than {limit} elements; write prefixes"
                )
