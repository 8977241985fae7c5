"""Core events reach their owners, in the order of the ring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bridge.config.budget import BudgetConfig
from bridge.core._core import EVENTS, Event
from bridge.engine.events import SLICE, CoreEvents

FDB = ["learned", "moved", "refreshed", "evicted", "static_move", "backup_ignored", "local_kept"]
OWNERS = {
    **dict.fromkeys(FDB, "fdb"),
    **dict.fromkeys(["refused_port_limit", "refused_vlan_limit", "refused_full"], "fdb"),
    "request": "request",
    "locked": "lock_out",
    "source_guard": "guard",
    "ra_guard": "guard_server",
    "dhcp_guard": "guard_server",
    "budget_over": "budget",
    "budget_under": "budget",
    "probe": "probed",
    "port_error": "port_failed",
    "rx_refused": "rx_refused",
    **dict.fromkeys([name for name, _ in EVENTS if name.startswith("group_")], "groups"),
    "pair": "pair",
}


def event(kind: str, mac: int = 0) -> Event:
    return Event(kind, 10, mac, 1, -1, 77)


class Ring:
    """The core's ring of events."""

    def __init__(self, events: Sequence[Event], lost: int = 0) -> None:
        self.waiting = [*events]
        self.lost = lost

    @property
    def events_waiting(self) -> int:
        return len(self.waiting)

    def events(self, most: int) -> tuple[list[Event], int]:
        taken, self.waiting = self.waiting[:most], self.waiting[most:]
        lost, self.lost = self.lost, 0
        return taken, lost


class Groups:
    """The snooping, which is handed events by names that others have, too."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner

    def handle(self, event: Event) -> None:
        self.owner.handed.append(("groups", event))

    def backup_spoke(self, event: Event) -> None:
        self.owner.groups.append(event)

    def take_over(self) -> None:
        self.owner.handed.append(("take over", None))

    def resync(self) -> None:
        self.owner.handed.append(("resync", None))


class Owner:
    """All owners in one: notes who was handed what."""

    def __init__(self, ring: Ring) -> None:
        self.handed: list[tuple[str, Any]] = []
        self.emitted: list[tuple[str, dict[str, object]]] = []
        self.lost = 0
        self.requests = self
        self.events = CoreEvents(ring, self.emit)  # type: ignore[arg-type]
        self.state = "standby"
        self.groups: list[Event] = []
        owners = dict.fromkeys(("fdb", "protection", "budgets", "ports", "member"), self)
        self.events.connect(**owners, snooping=Groups(self))  # type: ignore[arg-type]

    def emit(self, event: str, /, **fields: object) -> None:
        self.emitted.append((event, fields))

    def handle(self, events: Sequence[Event], lost: int = 0) -> None:
        self.handed += [("fdb", one) for one in events]
        self.lost += lost

    def request(self, event: Event) -> None:
        self.handed.append(("request", event))

    def lock_out(self, event: Event) -> None:
        self.handed.append(("lock_out", event))

    def guard(self, event: Event) -> None:
        self.handed.append(("guard", event))

    def guard_server(self, event: Event) -> None:
        self.handed.append(("guard_server", event))

    def stepped(self, event: Event) -> None:
        self.handed.append(("pair", event))
        self.state = ("ineligible", "standby", "active")[event.port]

    def probed(self, vid: int, nonce: int, port: int) -> None:
        self.handed.append(("probed", (vid, nonce, port)))

    def port_failed(self, index: int, errno: int) -> None:
        self.handed.append(("port_failed", (index, errno)))

    def names(self) -> dict[int, str]:
        return {1: "uplink"}

    def rx_refused(self, index: int) -> str | None:
        self.handed.append(("rx_refused", index))
        return "uplink" if index == 1 else None

    def at(self, place: int) -> BudgetConfig | None:
        self.handed.append(("budget", place))
        floods = ("unknown",) if place == 1 else ()
        return None if place == 2 else BudgetConfig("noisy", "frames", 1.0, port="a", floods=floods)


def test_every_kind_of_core_event_has_an_owner() -> None:
    assert {name for name, _ in EVENTS} == {*OWNERS, "heartbeat_limit"}
    for kind, owner in OWNERS.items():
        heard = Owner(Ring([event(kind)]))
        heard.events.take()
        assert [who for who, _ in heard.handed] == [owner], kind


def test_who_forwards_from_now_on_knows_of_no_members_of_groups() -> None:
    steps = [event("pair")._replace(port=state) for state in (2, 2, 1)]
    heard = Owner(Ring(steps))
    heard.events.take()
    assert heard.handed == [("pair", steps[0]), ("take over", None), ("pair", steps[1]), ("pair", steps[2])]


def test_what_is_no_move_for_the_table_is_one_for_groups() -> None:
    spoke = event("backup_ignored")
    heard = Owner(Ring([spoke]))
    heard.events.take()
    assert (heard.handed, heard.groups) == ([("fdb", spoke)], [spoke])


def test_lost_events_concern_groups_too() -> None:
    heard = Owner(Ring([], lost=3))
    heard.events.take()
    assert heard.handed == [("resync", None)]


def test_heartbeats_above_a_limit_are_told_with_the_name_of_their_port() -> None:
    heard = Owner(
        Ring([event("heartbeat_limit")._replace(port=1), event("heartbeat_limit")._replace(port=7)])
    )
    heard.events.take()
    assert heard.emitted == [("heartbeat-limit", {"port": "uplink"})]


def test_owners_get_events_in_the_order_of_the_ring() -> None:
    kinds = ["probe", "learned", "moved", "port_error", "learned", "request", "evicted"]
    heard = Owner(Ring([event(kind, mac) for mac, kind in enumerate(kinds)], lost=3))
    heard.events.take()
    assert heard.handed == [
        ("probed", (10, 0, 1)),
        ("fdb", event("learned", 1)),
        ("fdb", event("moved", 2)),
        ("port_failed", (1, 77)),
        ("fdb", event("learned", 4)),
        ("request", event("request", 5)),
        ("fdb", event("evicted", 6)),
        ("resync", None),
    ]
    assert heard.lost == 3


def test_events_are_taken_in_slices_and_drained_to_the_last() -> None:
    ring = Ring([event("learned", mac) for mac in range(2 * SLICE + 1)])
    heard = Owner(ring)
    heard.events.take()
    assert len(heard.handed) == SLICE
    heard.events.drain()
    assert ([one.mac for _, one in heard.handed], ring.waiting) == ([*range(2 * SLICE + 1)], [])


def test_a_budget_that_is_over_and_within_again_is_emitted_and_one_that_is_gone_is_not() -> None:
    kinds = [
        ("budget_over", 0),
        ("budget_under", 0),
        ("budget_over", 1),
        ("budget_under", 1),
        ("budget_over", 2),
    ]
    heard = Owner(Ring([event(kind, place) for kind, place in kinds]))
    heard.events.drain()
    assert heard.emitted == [
        ("budget-over", {"budget": "noisy"}),
        ("budget-under", {"budget": "noisy"}),
        ("storm-begin", {"port": "a", "flood": "unknown"}),
        ("storm-end", {"port": "a", "flood": "unknown"}),
    ]
