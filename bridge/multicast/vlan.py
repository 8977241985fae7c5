"""Snooping in one VLAN and family (IPv4 or IPv6): its state, who asks, and which ports get every group.

Pure: time is handed in, and nothing is sent from here. What the data plane is to be told is `rules`; what is to be done
is asked by `snooping`.

States: *quiet*: no querier was heard, so nobody knows who is a member, and everything is flooded. *learning*: a query
was heard or sent; until it must be answered everything is flooded. *pruning*: groups go to their members.

Queriers: the lower address wins, 0.0.0.0 yields to any; of two with the same the lower MAC goes on (RFC 3376 section
6.6.2). One that falls silent is gone after `MulticastConfig.other_querier_time`.

A port in *grace* gets every group: it came up, joined the VLAN, or has a station that moved there, which will not
report anew until it is asked. It is asked at once, and grace ends when the answer is due; where this bridge must not
ask, when the next query of another is answered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from bridge.config.multicast import MulticastConfig
from bridge.config.port import PortConfig
from bridge.core.values import SnoopRules

SLACK = 1.0  # seconds an answer may be late
GROUP_ROUND_MAX = 10.0  # seconds: so long a round of one group is put off by further queries
STARTUP = 4  # the second query comes after a quarter of the interval: RFC 3376 section 8.6


class Heard(NamedTuple):
    """A querier, or a port of one."""

    address: bytes
    mac: int
    port: int
    at: float

    @property
    def rank(self) -> tuple[bool, bytes, int]:
        """Give what the election goes by: the least wins."""
        return not any(self.address), self.address, self.mac


@dataclass(slots=True)
class Leaving:
    """A port that said it leaves a group, and is being asked whether others stay."""

    at: float  # the next query
    left: int  # queries


@dataclass(slots=True)
class SnoopedVlan:
    """One VLAN and family. Ports by index; times are those of the clock."""

    vid: int
    family: int
    snooping: str
    config: MulticastConfig
    may_query: bool
    group_limit: int
    own: Heard  # this bridge as a querier
    ports: Mapping[int, PortConfig] = field(default_factory=dict)  # that carry the VLAN
    state: str = "quiet"
    since: float = 0.0
    other: Heard | None = None  # the querier that this one yields to
    last_query: float = -inf  # heard or sent
    learned_at: float = inf  # when pruning begins
    round_end: float = inf
    next_query: float = inf
    sent: int = 0
    routers: dict[int, float] = field(default_factory=dict)  # until when
    unnamed: dict[int, float] = field(default_factory=dict)  # ports of queries from 0.0.0.0
    grace: dict[int, float] = field(default_factory=dict)  # inf: until a round is over
    rounds: dict[bytes, tuple[float, float]] = field(default_factory=dict)  # of groups: end, latest end
    leaving: dict[tuple[bytes, int], Leaving] = field(default_factory=dict)

    @property
    def is_querier(self) -> bool:
        """Whether this bridge asks here."""
        return self.may_query and self.other is None

    @property
    def rules(self) -> SnoopRules:
        """What the data plane is to do."""
        fixed = {index for index, port in self.ports.items() if port.multicast_router == "always"}
        routers = (self.routers.keys() | fixed) & self.ports.keys()
        tunnels = {index for index, port in self.ports.items() if port.mode == "tunnel"}
        reports = routers | (self.unnamed.keys() & self.ports.keys())
        if not reports:
            reports = {index for index, port in self.ports.items() if port.mode == "trunk"}
        return SnoopRules(
            self.snooping,
            self.state == "pruning",
            self.config.unregistered == "routers",
            self.group_limit,
            tuple(sorted(routers | tunnels | (self.grace.keys() & self.ports.keys()))),
            tuple(sorted(reports)),
            tuple(sorted(index for index, port in self.ports.items() if port.multicast_router == "never")),
        )

    # -- what happens

    def asked(self, now: float, response: float) -> None:
        """Note that all members are being asked, by whomever."""
        self.last_query = now
        if self.round_end == inf:
            self.round_end = now + response + SLACK
        if self.state == "quiet":
            self.state, self.since = "learning", now
            self.learned_at = now + response + SLACK

    def query_heard(self, now: float, who: Heard, response: float) -> set[str]:
        """Note a general query; returns what is new: querier, router."""
        if who.mac == self.own.mac:
            return set()  # our own, which came back
        self.asked(now, response)
        until = now + self.config.other_querier_time
        if not any(who.address):
            self.unnamed[who.port] = until
        news = {"router"} if any(who.address) and self.hold_router(who.port, until) else set()
        before = self.other
        rivals = [one.rank for one in (before, self.own if self.may_query else None) if one is not None]
        is_same = before is not None and (before.address, before.mac) == (who.address, who.mac)
        if is_same or not rivals or who.rank < min(rivals):
            self.other = who
        return news if is_same or self.other is not who else news | {"querier"}

    def hold_router(self, port: int, until: float) -> bool:
        """Note that a multicast router is behind a port; True: it was not known."""
        is_new = port not in self.routers
        self.routers[port] = until
        return is_new

    def group_asked(self, now: float, group: bytes, response: float) -> None:
        """Note that the members of one group are being asked."""
        latest = self.rounds.get(group, (0.0, now + GROUP_ROUND_MAX))[1]
        self.rounds[group] = min(now + response + SLACK, latest), latest

    def favour(self, now: float, ports: Iterable[int]) -> set[int]:
        """Put ports in grace; returns those that are to be asked, as they were not in it a moment ago."""
        until = now + self.config.response_time + SLACK if self.may_query else inf
        fresh = set()
        for port in ports:
            if self.grace.get(port, -inf) < now + self.config.response_time / 2 + SLACK:
                fresh.add(port)
                self.grace[port] = until
        return fresh

    def lose(self, ports: Iterable[int]) -> None:
        """Forget ports that carry the VLAN no more; if the querier was there, this bridge asks at once."""
        for port in ports:
            for known in (self.routers, self.unnamed, self.grace):
                known.pop(port, None)
            for key in [key for key in self.leaving if key[1] == port]:
                del self.leaving[key]
            if self.other is not None and self.other.port == port:
                self.take_over()

    def take_over(self) -> None:
        """Ask from now on, if that is allowed."""
        self.other = None
        if self.may_query:
            self.next_query, self.sent = -inf, 0

    def query_sent(self, now: float) -> None:
        """Note that this bridge asked all members."""
        self.asked(now, self.config.response_time)
        self.sent += 1
        pause = self.config.query_interval / STARTUP if self.sent < 2 else self.config.query_interval
        self.next_query = now + pause

    # -- time

    def expire(self, now: float) -> list[str]:
        """Let time pass; returns what changed: querier, quiet, router, grace, pruning."""
        news = []
        if self.other is not None and now > self.other.at + self.config.other_querier_time:
            self.take_over()
            news.append("querier")
        if self.state != "quiet" and now > self.last_query + self.config.other_querier_time:
            self.state, self.since, self.learned_at, self.round_end = "quiet", now, inf, inf
            news.append("quiet")
        if self.state == "learning" and now >= self.learned_at:
            self.state, self.since, self.learned_at = "pruning", now, inf
            news.append("pruning")
        for known, word in ((self.routers, "router"), (self.unnamed, "router"), (self.grace, "grace")):
            for port in [port for port, until in known.items() if until <= now]:
                del known[port]
                news.append(word)
        return news

    def round_over(self, now: float) -> bool:
        """Whether those that did not answer a general query are to be counted now; it is told once."""
        if now < self.round_end:
            return False
        self.round_end = inf
        for port in [port for port, until in self.grace.items() if until == inf]:
            del self.grace[port]
        return True

    def rounds_over(self, now: float) -> list[bytes]:
        """Give the groups whose rounds end, once."""
        over = [group for group, (end, _) in self.rounds.items() if end <= now]
        for group in over:
            del self.rounds[group]
        return over

    def questions(self, now: float) -> list[tuple[bytes, int]]:
        """Give the groups to be asked for on ports again, once."""
        due = [key for key, leaving in self.leaving.items() if leaving.at <= now]
        for key in due:
            leaving = self.leaving[key]
            leaving.left -= 1
            leaving.at = now + self.config.last_member_time
            if leaving.left == 0:
                del self.leaving[key]
        return due

    def begin_leave(self, now: float, group: bytes, port: int) -> bool:
        """Note that a port leaves a group, unless it is being asked already; True: ask it now."""
        if (group, port) in self.leaving:
            return False
        self.leaving[group, port] = Leaving(now + self.config.last_member_time, 1)
        return True
